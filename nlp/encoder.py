"""The shipped model at run time: one forward pass gives every head and a vector of each text.

`Encoder` turns texts into logits and vectors, `FunnelTagger` turns logits into
calibrated probabilities and tags. Both read `nlp/models/`, which `python -m nlp.training` writes.
Model libraries are imported at first use, so importing this module is cheap.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .abstain import kept, share_read
from .base import BINARY_HEADS, SENTIMENTS, SIGNALS, STAGES, ModelMissing, NlpError, Tag
from .batches import Batch, Tokens, each, grouped, padded
from .reading import Span, aligned, covered, is_seen, moved, prepare, shorten
from .runtime import Choice, Model, open_model

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Floats = NDArray[np.float32]

MODEL_FOLDER = Path(__file__).parent / "models"
HEADS: dict[str, tuple[str, ...]] = {
    "stage": STAGES,
    **dict.fromkeys(BINARY_HEADS, ("1",)),
    "signal": SIGNALS,
    "sentiment": SENTIMENTS,
}
"""Labels of each head, in the order of the columns of the logits."""
WIDTH = sum(len(labels) for labels in HEADS.values())
VECTOR = 384
GENERATION = 3
"""First part of the version of a model: goes up when the same files would be read otherwise."""
POOLED = "*"
"""Key of the calibration for languages that have none of their own."""

_TOKENS_A_POST = 64
_PROBES = (
    (
        "Any good headphones under 80?",
        "¿Qué portátil me compro para la universidad?",
        "The parcel came late and nobody answers the phone.",
        "Muy contentos con la aspiradora nueva, la recomiendo.",
    ),
    ("I have read a dozen reviews and still cannot choose; llevo semanas así, ayuda. " * 8,) * 2,
)
"""Two batches by which runtimes are compared."""


@dataclass(frozen=True, slots=True)
class Heads:
    """What `heads.json` holds: how to feed the model and how to read its logits.

    `scale` and `bias` give per language (or `POOLED`) one number for each of the 20 columns;
    `thresholds` give per head, per language (or `POOLED`), one probability for each label.
    `toward` is the scale of the logits of the sentiment toward a target, alike for all languages;
    None for a model without that head.
    A text of more than `max_tokens` tokens keeps its first `head_tokens` and its last ones.
    """

    version: str
    prefix: str
    max_tokens: int
    head_tokens: int
    scale: dict[str, Floats]
    bias: dict[str, Floats]
    thresholds: dict[str, dict[str, dict[str, float]]]
    toward: float | None

    def probabilities(self, logits: Floats, langs: Sequence[str]) -> Floats:
        """Calibrated probabilities [n, 20] of logits [n, 20]; softmax heads sum to 1."""
        known = [lang if lang in self.scale else POOLED for lang in langs]
        scale = np.array([self.scale[lang] for lang in known]).reshape(-1, WIDTH)
        bias = np.array([self.bias[lang] for lang in known]).reshape(-1, WIDTH)
        scores = logits * scale + bias
        out = 1 / (1 + np.exp(-np.clip(scores, -60, 60)))
        for head in ("stage", "sentiment"):
            out[:, columns(head)] = _softmax(scores[:, columns(head)])
        result: Floats = out.astype(np.float32)
        return result

    def threshold(self, head: str, lang: str, label: str) -> float:
        """Recommended probability from which `label` of a yes/no head or a signal holds."""
        by_lang = self.thresholds[head]
        return by_lang.get(lang, by_lang[POOLED])[label]


def _softmax(scores: Floats) -> Floats:
    power = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
    shares: Floats = power / power.sum(axis=1, keepdims=True)
    return shares


def columns(head: str) -> slice:
    """Columns of `head` in the logits."""
    start = 0
    for name, labels in HEADS.items():
        if name == head:
            return slice(start, start + len(labels))
        start += len(labels)
    raise KeyError(head)


def read_heads(path: Path) -> Heads:
    """`heads.json` parsed; `ModelMissing` when it is absent, damaged or of another generation."""
    with _loading(path):
        heads = parse_heads(json.loads(path.read_text("utf-8")))
    if heads.version.partition(".")[0] != str(GENERATION):
        raise ModelMissing(
            f"the model {heads.version} in {path.parent} was made for another version of Listener; "
            "build it again with `make model`, or use the one that ships (no `[nlp] model`)"
        )
    return heads


def parse_heads(data: dict[str, Any]) -> Heads:
    """What the JSON of `heads.json` says."""
    calibration: dict[str, dict[str, dict[str, list[float]]]] = data["calibration"]

    def row(lang: str, key: str) -> Floats:
        return np.array([one for head in HEADS for one in calibration[head][lang][key]], np.float32)

    langs = sorted(calibration["stage"])
    return Heads(
        version=data["version"],
        prefix=data["prefix"],
        max_tokens=data["max_tokens"],
        head_tokens=data["head_tokens"],
        scale={lang: row(lang, "scale") for lang in langs},
        bias={lang: row(lang, "bias") for lang in langs},
        thresholds=data["thresholds"],
        toward=data.get("toward"),
    )


class Encoder:
    """Texts to logits and vectors. Files are read at first use and kept.

    `threads` batches run at the same time, each on one core. A batch holds about `batch_size` posts
    of average length: fewer long ones, more short ones. `runtime`: see `nlp.runtime.open_model`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        threads: int = 2,
        batch_size: int = 16,
        runtime: Choice = "onnxruntime",
    ) -> None:
        self._folder = folder or MODEL_FOLDER
        self._threads = threads
        self._budget = batch_size * _TOKENS_A_POST
        self._most = batch_size * 4
        self._runtime = runtime

    @cached_property
    def heads(self) -> Heads:
        """Calibration and thresholds; `ModelMissing` when the files are absent."""
        return read_heads(self._folder / "heads.json")

    def run(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Logits [n, 20] and vectors [n, 384] of the texts, in their order.

        Identical texts are computed once, and what a text gets does not depend on its company.
        Raises `ModelMissing` when the files are absent, BadRuntime, and never because of a text.
        """
        logits, vectors, _ = self.run_targets(texts, [()] * len(texts))
        return logits, vectors

    def run_targets(
        self, texts: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> tuple[Floats, Floats, list[Floats]]:
        """As `run`, and per text [spans, 3] logits of the sentiment toward what its spans name.

        Spans are code points of the texts as given, end exclusive; the logits of one that the model
        does not get to see (it reads the beginning and the end of a long text) are NaN, as are all
        of a model without that head.
        """
        if not texts:
            return np.zeros((0, WIDTH), np.float32), np.zeros((0, VECTOR), np.float32), []
        run = self.model.run  # opened here, not by two threads at once
        aims = self.heads.toward is not None
        sought = [aims and bool(one) for one in spans]
        prepared = [prepare(text) for text in texts]
        place = {text: at for at, text in enumerate(dict.fromkeys(prepared))}
        named = {place[text] for text, wanted in zip(prepared, sought, strict=True) if wanted}
        logits = np.zeros((len(place), WIDTH), np.float32)
        vectors = np.zeros((len(place), VECTOR), np.float32)
        tones: dict[int, tuple[Tokens, Floats]] = {}

        def fill(batch: Batch) -> None:
            rows = list(batch)
            outputs = ["logits", "embedding"] + ["tones"] * (not named.isdisjoint(rows))
            found = run(outputs, *padded([one.ids for one in batch.values()]))
            logits[rows], vectors[rows] = found[:2]
            for at, row in enumerate(rows):
                if row in named:
                    tones[row] = batch[row], found[2][at]

        batches = self.batches(list(place), named)
        each(fill, batches, threads=min(self._threads, len(place)))
        rows = [place[text] for text in prepared]
        toward = [
            self._toward(text, one, tones.get(row))
            for text, one, row in zip(texts, spans, rows, strict=True)
        ]
        return logits[rows], vectors[rows], toward

    def meanings(self, texts: Sequence[str]) -> Floats:
        """Vectors [n, 384] of what the texts are about, in their order.

        Those of `run` are fitted to buying stages: unlike things that are asked for alike lie close
        together. These are the mean of many layers. Raises as `run`.
        """
        prepared = [prepare(text) for text in texts]
        place = {text: at for at, text in enumerate(dict.fromkeys(prepared))}
        vectors = np.zeros((len(place), VECTOR), np.float32)
        if not texts:
            return vectors
        run = self.model.run

        def fill(batch: Batch) -> None:
            ids, mask = padded([one.ids for one in batch.values()])
            (vectors[list(batch)],) = run(["meaning"], ids, mask)

        each(fill, self.batches(list(place)), threads=min(self._threads, len(place)))
        return vectors[[place[text] for text in prepared]]

    def _toward(
        self, text: str, spans: Sequence[Span], tones: tuple[Tokens, Floats] | None
    ) -> Floats:
        """[spans, 3]: for each span the mean over its tokens."""
        out = np.full((len(spans), len(SENTIMENTS)), np.nan, np.float32)
        if tones is None or not spans:
            return out
        tokens, scores = tones
        _, origins = aligned(text)
        shift = len(self.heads.prefix)
        for at, (start, end) in enumerate(spans):
            first, last = moved(origins, start, end)
            inside = covered(tokens.spans, first + shift, last + shift)
            if inside:
                out[at] = scores[inside].mean(0)
        return out

    def batches(
        self, texts: Sequence[str], named: Collection[int] = ()
    ) -> Generator[Batch, None, None]:
        """What the model gets to run for prepared texts, by their places, longest first.

        Few texts are cut into tokens at a time, so that this goes on while the model runs those
        before; what fills no batch waits for the next ones. Those at `named` get their bounds.
        """
        order = sorted(range(len(texts)), key=lambda at: (-len(texts[at]), texts[at]))
        rest: Batch = {}
        for start in range(0, len(order), self._most):
            few = order[start : start + self._most]
            ready = grouped(
                rest | self._tokenize(few, texts, named), budget=self._budget, most=self._most
            )
            rest = ready.pop()
            yield from ready
        if rest:
            yield rest

    def _tokenize(self, places: list[int], texts: Sequence[str], named: Collection[int]) -> Batch:
        heads = self.heads
        most, first = heads.max_tokens, heads.head_tokens
        out = {}
        found = self._tokenizer.encode_batch([heads.prefix + texts[at] for at in places])
        for at, one in zip(places, found, strict=True):
            bounds: list[Span] = one.offsets if at in named else []
            out[at] = Tokens(shorten(one.ids, most, first), shorten(bounds, most, first))
        return out

    @cached_property
    def model(self) -> Model:
        """The model, open."""
        probes = [[self._tokenize([0], [text], ())[0].ids for text in some] for some in _PROBES]
        path = self._folder / "model.onnx"
        with _loading(path):
            return open_model(
                path, self._runtime, threads=self._threads, probes=[padded(rows) for rows in probes]
            )

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        path = self._folder / "tokenizer.json"
        with _loading(path):
            return Tokenizer.from_file(str(path))


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    """`ModelMissing` for a file that is not there or cannot be read."""
    fix = "reinstall the package, or correct the folder in `[nlp] model`"
    if not path.is_file():
        raise ModelMissing(f"{path.name} is not in {path.parent}; {fix}")
    try:
        yield
    except NlpError:
        raise
    except Exception as error:  # of json, tokenizers and onnxruntime, which have no common base
        raise ModelMissing(f"{path} cannot be loaded ({error!r}); {fix}") from error


class FunnelTagger:
    """Stage, intent, early, promo, signals and sentiment with calibrated probabilities."""

    name = "funnel"

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def version(self) -> str:
        """Version of the model files; changes with weights, tokenizer and calibration."""
        return self._encoder.heads.version

    @property
    def thresholds(self) -> dict[str, float]:
        """Recommended probability of `early` per language; `"*"` is for every other language."""
        return {lang: one["1"] for lang, one in self._encoder.heads.thresholds["early"].items()}

    def threshold(self, head: str, lang: str, label: str) -> float:
        """Recommended probability from which `label` of a yes/no head or a signal holds."""
        return self._encoder.heads.threshold(head, lang, label)

    def probabilities(
        self, texts: Sequence[str], langs: Sequence[str]
    ) -> list[dict[str, dict[str, float]]]:
        """Per text `{head: {label: probability}}`; intent, early and promo have the label "1".

        A text without a letter says nothing of a purchase: all heads but sentiment read it as "".
        """
        rows, _ = self._rows(texts, langs, [()] * len(texts))
        return rows

    def _rows(
        self, texts: Sequence[str], langs: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> tuple[list[dict[str, dict[str, float]]], list[Floats]]:
        """Probabilities, and per text [spans, 3] those of the sentiment toward each (or NaN)."""
        logits, _, toward = self._encoder.run_targets([*texts, ""], [*spans, ()])
        empty, logits = logits[-1], logits[:-1]
        silent = [at for at, text in enumerate(texts) if not any(map(str.isalpha, text))]
        funnel = slice(0, columns("sentiment").start)
        logits[silent, funnel] = empty[funnel]
        heads = self._encoder.heads
        rows = [
            {
                head: dict(zip(labels, row[columns(head)].tolist(), strict=True))
                for head, labels in HEADS.items()
            }
            for row in heads.probabilities(logits, langs)
        ]
        return rows, [_softmax(one * (heads.toward or 1.0)) for one in toward[:-1]]

    def tag(self, texts: Sequence[str], langs: Sequence[str]) -> list[tuple[Tag, ...]]:
        """Tags of each text, all about the whole of it.

        The likeliest stage and sentiment; intent, early and promo always (a low score means no); a
        signal where its probability reaches the recommended threshold. Fewer or none of them where
        part of the text is in another alphabet than the Latin one: see `abstain.kept`.
        """
        return self.tag_targets(texts, langs, [()] * len(texts))

    def tag_targets(
        self, texts: Sequence[str], langs: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> list[tuple[Tag, ...]]:
        """As `tag`, and for each span the likeliest "sentiment_target" toward what it names.

        None for a span in the middle of a long text, which the model does not read, and for one
        that holds no character of the text.
        """
        rows, toward = self._rows(texts, langs, spans)
        return [
            kept(
                tags(row, self.threshold, lang) + _target_tags(text, places, scores),
                share_read(text),
            )
            for text, row, lang, places, scores in zip(
                texts, rows, langs, spans, toward, strict=True
            )
        ]


def tags(
    row: dict[str, dict[str, float]], threshold: Callable[[str, str, str], float], lang: str
) -> tuple[Tag, ...]:
    """Tags of the probabilities of one text that is wholly read: see `FunnelTagger.tag`."""
    top = {head: max(row[head], key=row[head].__getitem__) for head in ("stage", "sentiment")}
    labels = {**top, **dict.fromkeys(BINARY_HEADS, "1")}
    out = [Tag(kind=head, label=one, score=row[head][one]) for head, one in labels.items()]
    out += [
        Tag(kind="signal", label=signal, score=score)
        for signal, score in row["signal"].items()
        if score >= threshold("signal", lang, signal)
    ]
    return tuple(out)


def _target_tags(text: str, spans: Sequence[Span], scores: Floats) -> tuple[Tag, ...]:
    tags = []
    for (start, end), row in zip(spans, scores, strict=True):
        if is_seen(text, start, end) and not np.isnan(row[0]):
            best = int(row.argmax())
            label, score = SENTIMENTS[best], float(row[best])
            tags.append(
                Tag(kind="sentiment_target", label=label, score=score, start=start, end=end)
            )
    return tuple(tags)
