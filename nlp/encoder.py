"""The shipped model at run time: one forward pass gives every head and a vector of each text.

`Encoder` turns texts into logits and vectors with onnxruntime, `FunnelTagger` turns logits into
calibrated probabilities and tags. Both read `nlp/models/`, which `python -m nlp.training` writes.
Model libraries are imported at first use, so importing this module is cheap.
"""

from __future__ import annotations

import html
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .base import BINARY_HEADS, SENTIMENTS, SIGNALS, STAGES, ModelMissing, Tag

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

Floats = NDArray[np.float32]
Span = tuple[int, int]

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
POOLED = "*"
"""Key of the calibration for languages that have none of their own."""

# 192 tokens are about 800 characters of prose; the rest of a longer cut only costs time.
_HEAD_CHARS, _TAIL_CHARS = 2_000, 1_000
_TOKENS_A_POST = 64
_URL = re.compile(r"(?:https?://|www\.)(?:www\.)?([^\s/?#]+)\S*", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)")
_SHORTENER = "t.co"


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
    """`heads.json` parsed; `ModelMissing` when it is absent."""
    return parse_heads(json.loads(_present(path).read_text("utf-8")))


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


def prepare(text: str) -> str:
    """The text as the model reads it: bounded, valid Unicode, entities decoded, URLs as hosts."""
    if len(text) > _HEAD_CHARS + _TAIL_CHARS:
        text = f"{text[:_HEAD_CHARS]} {text[-_TAIL_CHARS:]}"
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates; halves of one pair are joined
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _URL.sub(_host, html.unescape(text)).strip()


def aligned(text: str) -> tuple[str, list[int]]:
    """`prepare(text)`, and for each of its characters the offset in `text` that it comes from.

    Slower than `prepare`; for texts in which places matter.
    """
    if len(text) > _HEAD_CHARS + _TAIL_CHARS:
        cut = len(text) - _TAIL_CHARS
        origins = [*range(_HEAD_CHARS), _HEAD_CHARS, *range(cut, len(text))]
        text = f"{text[:_HEAD_CHARS]} {text[cut:]}"
    else:
        origins = list(range(len(text)))
    signs = [sign if not "\ud800" <= sign <= "\udfff" else "\ufffd" for sign in text]
    text = "".join(signs)
    for pattern, change in ((_ENTITY, _unescaped), (_URL, _host)):
        parts: list[str] = []
        places: list[int] = []
        done = 0
        for match in pattern.finditer(text):
            new = change(match)
            parts += (text[done : match.start()], new)
            places += origins[done : match.start()]
            places += [origins[match.start()]] * len(new)
            done = match.end()
        text, origins = "".join((*parts, text[done:])), [*places, *origins[done:]]
    start = len(text) - len(text.lstrip())
    text = text.strip()
    return text, origins[start : start + len(text)]


def moved(origins: Sequence[int], start: int, end: int) -> Span:
    """Bounds in a prepared text (see `aligned`) of start..end in the text as given."""
    before = max(bisect_right(origins, start) - 1, 0)
    first = bisect_left(origins, origins[before]) if origins else 0
    return first, max(bisect_left(origins, end), first + 1)


def _unescaped(match: re.Match[str]) -> str:
    return html.unescape(match[0])


def _host(match: re.Match[str]) -> str:
    host = match[1].lower()
    return "http" if host == _SHORTENER else host


def shorten(ids: list[int], max_tokens: int, head_tokens: int) -> list[int]:
    """At most `max_tokens` ids: the first `head_tokens` and the last of the rest.

    Requests stand in the title or at the end of long posts, seldom in the middle.
    """
    if len(ids) <= max_tokens:
        return ids
    return ids[:head_tokens] + ids[head_tokens - max_tokens :]


def covered(spans: Sequence[tuple[int, int]], start: int, end: int) -> list[int]:
    """Places of the tokens (bounds in `spans`) that share a character with start..end."""
    return [at for at, (a, b) in enumerate(spans) if a < end and start < b]


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Ids of a text, and where it matters the bounds of each in the text with its prefix."""

    ids: list[int]
    spans: Sequence[Span] = ()


class Encoder:
    """Texts to logits and vectors. Files are read at first use and kept.

    `threads` batches run at the same time, each on one core. A batch holds about `batch_size` posts
    of average length: fewer long ones, more short ones.
    """

    def __init__(
        self, folder: Path | None = None, *, threads: int = 2, batch_size: int = 16
    ) -> None:
        self._folder = folder or MODEL_FOLDER
        self._threads = threads
        self._budget = batch_size * _TOKENS_A_POST
        self._most = batch_size * 4

    @cached_property
    def heads(self) -> Heads:
        """Calibration and thresholds; `ModelMissing` when the files are absent."""
        return read_heads(self._folder / "heads.json")

    def run(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Logits [n, 20] and vectors [n, 384] of the texts, in their order.

        Identical texts are computed once, and what a text gets does not depend on its company.
        Raises `ModelMissing` when the files are absent, and never because of a text.
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
        aims = self.heads.toward is not None
        sought = [aims and bool(one) for one in spans]
        prepared = [prepare(text) for text in texts]
        place = {text: at for at, text in enumerate(dict.fromkeys(prepared))}
        named = {place[text] for text, wanted in zip(prepared, sought, strict=True) if wanted}
        tokens = self._tokenize(list(place), named)
        logits = np.zeros((len(tokens), WIDTH), np.float32)
        vectors = np.zeros((len(tokens), VECTOR), np.float32)
        tones: dict[int, Floats] = {}

        def fill(batch: list[int]) -> None:
            outputs = ["logits", "embedding"] + ["tones"] * (not named.isdisjoint(batch))
            found = self._forward([tokens[at].ids for at in batch], outputs)
            logits[batch], vectors[batch] = found[:2]
            for row, at in enumerate(batch):
                if at in named:
                    tones[at] = found[2][row]

        batches = list(self._batches([one.ids for one in tokens]))
        if self._threads > 1 and len(batches) > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(fill, batches))
        else:
            for batch in batches:
                fill(batch)
        rows = [place[text] for text in prepared]
        toward = [
            self._toward(text, one, tokens[row], tones.get(row))
            for text, one, row in zip(texts, spans, rows, strict=True)
        ]
        return logits[rows], vectors[rows], toward

    def _toward(
        self, text: str, spans: Sequence[Span], tokens: _Tokens, tones: Floats | None
    ) -> Floats:
        """[spans, 3]: for each span the mean over its tokens."""
        out = np.full((len(spans), len(SENTIMENTS)), np.nan, np.float32)
        if tones is None or not spans:
            return out
        _, origins = aligned(text)
        shift = len(self.heads.prefix)
        for at, (start, end) in enumerate(spans):
            first, last = moved(origins, start, end)
            inside = covered(tokens.spans, first + shift, last + shift)
            if inside:
                out[at] = tones[inside].mean(0)
        return out

    def _tokenize(self, texts: list[str], named: set[int]) -> list[_Tokens]:
        """Tokens of prepared texts, with their bounds where `named` says so (that is slower)."""
        heads = self.heads
        most, first = heads.max_tokens, heads.head_tokens
        given = [heads.prefix + text for text in texts]
        out = [
            _Tokens(shorten(one.ids, most, first))
            for one in self._tokenizer.encode_batch_fast(given)
        ]
        order = sorted(named)
        for at, one in zip(
            order, self._tokenizer.encode_batch([given[at] for at in order]), strict=True
        ):
            places = shorten(list(range(len(one.ids))), most, first)
            out[at] = _Tokens(out[at].ids, [one.offsets[place] for place in places])
        return out

    def _batches(self, ids: list[list[int]]) -> Iterator[list[int]]:
        """Places of texts of like length, longest first so that the threads end together."""
        batch: list[int] = []
        for at in sorted(range(len(ids)), key=lambda at: (-len(ids[at]), ids[at])):
            longest = len(ids[batch[0]]) if batch else 0
            if batch and (len(batch) == self._most or (len(batch) + 1) * longest > self._budget):
                yield batch
                batch = []
            batch.append(at)
        if batch:
            yield batch

    def _forward(self, rows: list[list[int]], outputs: list[str]) -> list[Floats]:
        shape = (len(rows), max(map(len, rows)))
        ids = np.ones(shape, np.int64)  # 1 is the pad token
        mask = np.zeros(shape, np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
            mask[at, : len(row)] = 1
        found: list[Floats] = self._session.run(outputs, {"input_ids": ids, "attention_mask": mask})
        return found

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(_present(self._folder / "tokenizer.json")))

    @cached_property
    def _session(self) -> InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # One core a batch and as many batches as threads: less waiting than two cores on one batch.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = _present(self._folder / "model.onnx")
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _present(path: Path) -> Path:
    if not path.is_file():
        raise ModelMissing(
            f"{path.name} is not in {path.parent}; reinstall the package, "
            "or build the model with `python -m nlp.training`"
        )
    return path


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
        signal where its probability reaches the recommended threshold.
        """
        return self.tag_targets(texts, langs, [()] * len(texts))

    def tag_targets(
        self, texts: Sequence[str], langs: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> list[tuple[Tag, ...]]:
        """As `tag`, and for each span the likeliest "sentiment_target" toward what it names.

        None for a span in the middle of a long text, which the model does not read.
        """
        rows, toward = self._rows(texts, langs, spans)
        return [
            self._tags(row, lang) + _target_tags(places, scores)
            for row, lang, places, scores in zip(rows, langs, spans, toward, strict=True)
        ]

    def _tags(self, row: dict[str, dict[str, float]], lang: str) -> tuple[Tag, ...]:
        heads = self._encoder.heads
        top = {head: max(row[head], key=row[head].__getitem__) for head in ("stage", "sentiment")}
        labels = {**top, **dict.fromkeys(BINARY_HEADS, "1")}
        tags = [Tag(kind=head, label=one, score=row[head][one]) for head, one in labels.items()]
        tags += [
            Tag(kind="signal", label=signal, score=score)
            for signal, score in row["signal"].items()
            if score >= heads.threshold("signal", lang, signal)
        ]
        return tuple(tags)


def _target_tags(spans: Sequence[Span], scores: Floats) -> tuple[Tag, ...]:
    tags = []
    for (start, end), row in zip(spans, scores, strict=True):
        if not np.isnan(row[0]):
            best = int(row.argmax())
            label, score = SENTIMENTS[best], float(row[best])
            tags.append(
                Tag(kind="sentiment_target", label=label, score=score, start=start, end=end)
            )
    return tuple(tags)
