"""Bring your own: a head answered by any sequence classifier in the layout of the Hugging Face hub.

A model is a folder with config.json and either model.onnx and tokenizer.json (run with onnxruntime)
or weights that `transformers` reads (extra `torch`), or the id of one on the hub with the commit it
is pinned to. An id is looked up in the local cache only, unless `download` is set. No code of a
model is ever run. Libraries are imported and files are read at the first text.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from .base import BINARY_HEADS, SENTIMENTS, STAGES, ModelMissing
from .encoder import Floats
from .replaced import EVERY
from .runners import (
    ONNX_FILES,
    BadModel,
    Layout,
    Open,
    Runner,
    has_weights,
    listed,
    open_runner,
    read_layout,
)

logger = logging.getLogger(__name__)

NO, YES = "0", "1"
LABELS: dict[str, tuple[str, ...]] = {
    "stage": STAGES,
    "sentiment": SENTIMENTS,
    **dict.fromkeys(BINARY_HEADS, (NO, YES)),
}
"""What a model's labels can be mapped to, for each head that can be replaced."""

_HASHED = (".json", ".txt", ".model", ".onnx", ".onnx_data", ".data", ".safetensors", ".bin")
_SMALL = ("*.json", "*.txt", "*.model", "*.onnx_data")
# One after the other until there are weights: only what is needed is downloaded.
_DOWNLOADS = ((*_SMALL, *ONNX_FILES), (*_SMALL, "*.safetensors"), (*_SMALL, "pytorch_model*.bin"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which model answers for a head.

    `model` is a folder or the id of a model on the hub, which `revision` pins to a commit. `labels`
    maps the model's labels to those of the head (see `LABELS`; the model's may share one); a label
    that has the name it needs may be left out. `langs` are the languages it answers for.
    `threshold` is the probability from which a yes/no head says yes.
    """

    head: str
    model: str | Path
    revision: str = ""
    labels: Mapping[str, str]
    langs: frozenset[str] = frozenset({EVERY})
    threshold: float = 0.5
    download: bool = False


class HubHead:
    """A head that a model from elsewhere answers for; a `Head` of `ReplacedTagger`."""

    latin = False

    def __init__(
        self,
        choice: Choice,
        *,
        threads: int = 2,
        batch_size: int = 16,
        opens: Open = open_runner,
    ) -> None:
        self._choice = choice
        self._threads = threads
        self._batch_size = batch_size
        self._open = opens

    @cached_property
    def version(self) -> str:
        """The id with its commit, or a hash of the folder's files; and how labels are mapped.

        Raises ModelMissing for a folder that is not there.
        """
        chosen = self._choice
        if isinstance(chosen.model, Path):
            what = _hash_of(_folder(chosen.model, chosen.head))
        else:
            what = f"{chosen.model}@{chosen.revision}"
        return f"{what} {sorted(chosen.labels.items())} {sorted(chosen.langs)} {chosen.threshold}"

    @property
    def langs(self) -> frozenset[str]:
        """See `Head`."""
        return self._choice.langs

    def threshold(self, lang: str) -> float:
        """The configured one, in every language."""
        return self._choice.threshold

    def probabilities(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """See `Head`. Raises ModelMissing or BadModel; never because of a text."""
        places, runner = self._places, self._runner
        scores = self._scores(runner, [_clean(text) for text in texts])
        head = self._choice.head
        sums = np.zeros((len(texts), len(LABELS[head])), dtype=np.float32)
        for column, place in enumerate(places):
            sums[:, place] += scores[:, column]
        if head in BINARY_HEADS:
            return [{YES: yes} for yes in sums[:, 1].tolist()]
        return [dict(zip(LABELS[head], row, strict=True)) for row in sums.tolist()]

    @cached_property
    def _home(self) -> Path:
        chosen = self._choice
        if isinstance(chosen.model, Path):
            return _folder(chosen.model, chosen.head)
        return _cached(chosen.model, chosen.revision, chosen.head, download=chosen.download)

    @cached_property
    def _layout(self) -> Layout:
        return read_layout(self._home)

    @cached_property
    def _places(self) -> list[int]:
        """For each of the model's labels the place of the head's label it stands for."""
        return label_places(self._choice, self._layout.labels)

    @cached_property
    def _runner(self) -> Runner:
        logger.info("loading the model for %s", self._choice.head)
        return self._open(self._home, self._layout, self._threads)

    def _scores(self, runner: Runner, texts: Sequence[str]) -> Floats:
        """Probabilities (n, model's labels).

        Equal texts are computed once; texts of like length share a batch.
        """
        distinct = {text: at for at, text in enumerate(dict.fromkeys(texts))}
        tokens = runner.encode(list(distinct)) if distinct else []
        layout = self._layout
        found = np.zeros((len(distinct), len(layout.labels)), dtype=np.float32)
        order = sorted(range(len(tokens)), key=lambda at: -len(tokens[at]))
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            width = max(1, len(tokens[batch[0]]))
            ids = np.full((len(batch), width), layout.pad, dtype=np.int64)
            mask = np.zeros((len(batch), width), dtype=np.int64)
            for row, at in enumerate(batch):
                ids[row, : len(tokens[at])] = tokens[at]
                mask[row, : len(tokens[at])] = 1
            logits = np.asarray(runner.logits(ids, mask), dtype=np.float32)
            if logits.shape != (len(batch), len(layout.labels)):
                raise BadModel(
                    f"the model for {self._choice.head} gives {logits.shape[1:]} numbers a text, "
                    f"yet its config.json names {len(layout.labels)} labels: "
                    "it has to be a sequence classifier"
                )
            found[batch] = _sigmoid(logits) if layout.independent else _softmax(logits)
        return found[[distinct[text] for text in texts]]


def label_places(choice: Choice, names: Sequence[str]) -> list[int]:
    """For each label `names` of a model, the place in `LABELS[choice.head]` of what it stands for.

    Raises BadModel, which lists both sides, where they do not fit.
    """
    own = LABELS[choice.head]
    meant = {name: choice.labels.get(name, name) for name in names}
    unknown = [name for name in choice.labels if name not in meant]
    unmapped = [name for name, label in meant.items() if label not in own]
    lost = choice.head in BINARY_HEADS and YES not in meant.values()
    if unknown or unmapped or lost:
        section = f"[nlp.heads.{choice.head}] labels"
        faults = [f"the model has no label {listed(unknown)}"] if unknown else []
        faults += [f"nothing is said of {listed(unmapped)}"] if unmapped else []
        faults += [f'no label means "{YES}" (yes)'] if lost else []
        raise BadModel(
            f"{section} does not fit the model: {'; '.join(faults)}. "
            f"The model's labels: {listed(names)}. "
            f"Mapped: {listed(choice.labels) or 'none'}. "
            f"Map each of the model's labels to one of {listed(own)}"
        )
    return [own.index(label) for label in meant.values()]


def _folder(path: Path, head: str) -> Path:
    if not path.is_dir():
        raise ModelMissing(
            f"there is no folder {path}: save the model there, or correct [nlp.heads.{head}] model"
        )
    return path


def _cached(model: str, revision: str, head: str, *, download: bool) -> Path:
    """The folder of the local cache that holds this commit of a model of the hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = snapshot_download(
            model, revision=revision, local_files_only=True, allow_patterns=["config.json"]
        )
    except LocalEntryNotFoundError:
        found = ""
    if found and has_weights(Path(found)):
        return Path(found)
    if not download:
        raise ModelMissing(
            f"{model} at {revision} is not in the local cache, and nothing is downloaded unasked: "
            "set download = true in [nlp] for one run, fetch it with "
            f"`hf download {model} --revision {revision}`, "
            f"or name a folder in [nlp.heads.{head}] model"
        )
    logger.info("downloading the model for %s", head)
    try:
        for patterns in _DOWNLOADS:
            found = snapshot_download(model, revision=revision, allow_patterns=list(patterns))
            if has_weights(Path(found)):
                return Path(found)
    except (OSError, ValueError) as error:
        raise ModelMissing(
            f"{model} at {revision} cannot be downloaded ({error}): check its id and revision "
            "and the network, or put its files into a folder and name that"
        ) from error
    raise ModelMissing(f"{model} at {revision} has no weights that can be read: choose another")


def _hash_of(folder: Path) -> str:
    """A hash of the names and contents of the model's files."""
    total = hashlib.sha256()
    for path in sorted((*folder.glob("*"), *folder.glob("onnx/*"))):
        if path.suffix in _HASHED and path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()[:16]


def _clean(text: str) -> str:
    """Valid Unicode: lone surrogates, which tokenizers refuse, are replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _sigmoid(logits: Floats) -> Floats:
    shares = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
    return shares.astype(np.float32)


def _softmax(logits: Floats) -> Floats:
    power = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    shares: Floats = power / power.sum(axis=1, keepdims=True)
    return shares
