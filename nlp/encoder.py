"""The shipped model at run time: one forward pass gives every head and a vector of each text.

`Encoder` turns texts into logits and vectors with onnxruntime, `FunnelTagger` turns logits into
calibrated probabilities and tags. Both read `nlp/models/`, which `python -m nlp.training` writes.
Model libraries are imported at first use, so importing this module is cheap.
"""

from __future__ import annotations

import html
import json
import re
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
_SHORTENER = "t.co"


@dataclass(frozen=True, slots=True)
class Heads:
    """What `heads.json` holds: how to feed the model and how to read its logits.

    `scale` and `bias` give per language (or `POOLED`) one number for each of the 20 columns;
    `thresholds` give per head, per language (or `POOLED`), one probability for each label.
    A text of more than `max_tokens` tokens keeps its first `head_tokens` and its last ones.
    """

    version: str
    prefix: str
    max_tokens: int
    head_tokens: int
    scale: dict[str, Floats]
    bias: dict[str, Floats]
    thresholds: dict[str, dict[str, dict[str, float]]]

    def probabilities(self, logits: Floats, langs: Sequence[str]) -> Floats:
        """Calibrated probabilities [n, 20] of logits [n, 20]; softmax heads sum to 1."""
        known = [lang if lang in self.scale else POOLED for lang in langs]
        scale = np.array([self.scale[lang] for lang in known]).reshape(-1, WIDTH)
        bias = np.array([self.bias[lang] for lang in known]).reshape(-1, WIDTH)
        scores = logits * scale + bias
        out = 1 / (1 + np.exp(-np.clip(scores, -60, 60)))
        for head in ("stage", "sentiment"):
            part = scores[:, columns(head)]
            power = np.exp(part - part.max(axis=1, keepdims=True, initial=-np.inf))
            out[:, columns(head)] = power / power.sum(axis=1, keepdims=True)
        result: Floats = out.astype(np.float32)
        return result

    def threshold(self, head: str, lang: str, label: str) -> float:
        """Recommended probability from which `label` of a yes/no head or a signal holds."""
        by_lang = self.thresholds[head]
        return by_lang.get(lang, by_lang[POOLED])[label]


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
        prepared = [prepare(text) for text in texts]
        place = {text: at for at, text in enumerate(dict.fromkeys(prepared))}
        ids = self._tokenize(list(place))
        logits = np.zeros((len(ids), WIDTH), np.float32)
        vectors = np.zeros((len(ids), VECTOR), np.float32)

        def fill(batch: list[int]) -> None:
            logits[batch], vectors[batch] = self._forward([ids[at] for at in batch])

        batches = list(self._batches(ids))
        if self._threads > 1 and len(batches) > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(fill, batches))
        else:
            for batch in batches:
                fill(batch)
        rows = [place[text] for text in prepared]
        return logits[rows], vectors[rows]

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        heads = self.heads
        encodings = self._tokenizer.encode_batch_fast([heads.prefix + text for text in texts])
        return [shorten(one.ids, heads.max_tokens, heads.head_tokens) for one in encodings]

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

    def _forward(self, rows: list[list[int]]) -> tuple[Floats, Floats]:
        shape = (len(rows), max(map(len, rows)))
        ids = np.ones(shape, np.int64)  # 1 is the pad token
        mask = np.zeros(shape, np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
            mask[at, : len(row)] = 1
        logits, vectors = self._session.run(
            ["logits", "embedding"], {"input_ids": ids, "attention_mask": mask}
        )
        return logits, vectors

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
        logits, _ = self._encoder.run([*texts, ""])
        empty, logits = logits[-1], logits[:-1]
        silent = [at for at, text in enumerate(texts) if not any(map(str.isalpha, text))]
        funnel = slice(0, columns("sentiment").start)
        logits[silent, funnel] = empty[funnel]
        rows = self._encoder.heads.probabilities(logits, langs)
        return [
            {
                head: dict(zip(labels, row[columns(head)].tolist(), strict=True))
                for head, labels in HEADS.items()
            }
            for row in rows
        ]

    def tag(self, texts: Sequence[str], langs: Sequence[str]) -> list[tuple[Tag, ...]]:
        """Tags of each text, all about the whole of it.

        The likeliest stage and sentiment; intent, early and promo always (a low score means no); a
        signal where its probability reaches the recommended threshold.
        """
        rows = zip(self.probabilities(texts, langs), langs, strict=True)
        return [self._tags(row, lang) for row, lang in rows]

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
