"""Sequence classifiers in the layout of the Hugging Face hub, loaded from a folder.

By onnxruntime where the folder has model.onnx and tokenizer.json, by transformers (extra `torch`)
where it has weights. No code that lies beside a model is ever run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .base import ModelMissing, NlpError
from .encoder import Floats

Ids = NDArray[np.int64]

ONNX_FILES = ("model.onnx", "onnx/model.onnx")

_DEFAULT_TOKENS = 512
# Models without a limit of their own write 10**30.
_NO_LIMIT = 100_000
_WEIGHTS = (
    *ONNX_FILES,
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)


class BadModel(NlpError):
    """A model that does not fit the head it is to answer for; the text says what to change."""


class Runner(Protocol):
    """A loaded model."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut to the model's limit, not padded."""
        ...

    def logits(self, ids: Ids, mask: Ids) -> Floats:
        """One number per label, (n, labels), of padded ids (n, tokens)."""
        ...


@dataclass(frozen=True, slots=True)
class Layout:
    """What config.json says: the model's labels in the order of its logits, padding, limit."""

    labels: tuple[str, ...]
    pad: int
    max_tokens: int
    independent: bool


Open = Callable[[Path, Layout, int], Runner]


def open_runner(folder: Path, layout: Layout, threads: int) -> Runner:
    """The model in `folder`: by onnxruntime where it has model.onnx, else by transformers."""
    for name in ONNX_FILES:
        if (folder / name).is_file():
            return OnnxRunner(folder, folder / name, layout, threads)
    return TorchRunner(folder, layout, threads)


def read_layout(folder: Path) -> Layout:
    """What config.json and tokenizer_config.json in `folder` say; raises ModelMissing."""
    config = _json(folder / "config.json")
    if config is None:
        raise ModelMissing(
            f"{folder} has no config.json that can be read: save the model there with "
            "save_pretrained(), or export it with all of its files"
        )
    # transformers leaves the names of two unnamed labels out of the file.
    names = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    labels = tuple(str(names[place]) for place in sorted(names, key=int))
    limit = (_json(folder / "tokenizer_config.json") or {}).get("model_max_length")
    positions = config.get("max_position_embeddings")
    limits = [one for one in (limit,) if isinstance(one, int | float) and one < _NO_LIMIT]
    # RoBERTa and its kin have two positions that no token can take; two tokens less hurt nobody.
    limits += [positions - 2] if isinstance(positions, int) and positions > 2 else []
    return Layout(
        labels=labels,
        pad=config.get("pad_token_id") or 0,
        max_tokens=int(min(limits, default=_DEFAULT_TOKENS)),
        independent=len(labels) == 1 or config.get("problem_type") == "multi_label_classification",
    )


class OnnxRunner:
    """model.onnx with tokenizer.json, run by onnxruntime; needs no torch."""

    def __init__(self, folder: Path, model: Path, layout: Layout, threads: int) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        tokens = folder / "tokenizer.json"
        if not tokens.is_file():
            raise ModelMissing(f"{tokens} is missing: save the tokenizer beside model.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._tokenizer = Tokenizer.from_file(str(tokens))
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # both libraries raise classes of their own, without a base
            raise ModelMissing(f"{folder} cannot be loaded ({error}): export it again") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(layout.max_tokens)
        self._inputs = [one.name for one in self._session.get_inputs()]
        unknown = set(self._inputs) - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown:
            raise BadModel(
                f"{model} wants {listed(sorted(unknown))}, which texts do not give: "
                "export it for text-classification"
            )

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """See `Runner`."""
        return [one.ids for one in self._tokenizer.encode_batch_fast(list(texts))]

    def logits(self, ids: Ids, mask: Ids) -> Floats:
        """See `Runner`."""
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        found: Floats = self._session.run(None, {name: given[name] for name in self._inputs})[0]
        return found


class TorchRunner:
    """Weights and tokenizer as transformers saves them, in 32 bits on the processor."""

    def __init__(self, folder: Path, layout: Layout, threads: int) -> None:
        if not has_weights(folder):
            raise ModelMissing(
                f"{folder} holds no weights: put model.safetensors there, "
                "or model.onnx and tokenizer.json"
            )
        try:
            import torch
            from safetensors import SafetensorError
            from transformers import AutoModelForSequenceClassification, AutoTokenizer
            from transformers.utils import logging
        except ImportError as error:
            raise ModelMissing(
                f"{folder} needs torch: install it with pip install 'proactive-listener[torch]', "
                "or export the model to ONNX (model.onnx and tokenizer.json) into that folder"
            ) from error
        without_bars: Callable[[], None] = logging.disable_progress_bar
        without_bars()
        torch.set_num_threads(threads)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model, loaded = AutoModelForSequenceClassification.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
        except (
            OSError, ValueError, ImportError, KeyError, RuntimeError, SafetensorError
        ) as error:  # fmt: skip
            raise ModelMissing(
                f"{folder} cannot be loaded ({error}): save model and tokenizer there again"
            ) from error
        if loaded["missing_keys"]:
            # transformers would fill them with chance.
            raise BadModel(
                f"{folder} has no weights for {listed(sorted(loaded['missing_keys'])[:3])}: "
                "it has to be a sequence classifier that was fine-tuned"
            )
        self._torch = torch
        self._model = model.float().eval()
        self._max_tokens = layout.max_tokens

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """See `Runner`."""
        found = self._tokenizer(list(texts), truncation=True, max_length=self._max_tokens)
        ids: list[list[int]] = found["input_ids"]
        return ids

    def logits(self, ids: Ids, mask: Ids) -> Floats:
        """See `Runner`."""
        torch = self._torch
        with torch.inference_mode():
            found = self._model(
                input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
            )
        logits: Floats = found.logits.numpy()
        return logits


def has_weights(folder: Path) -> bool:
    """Whether the folder holds a model in one of the forms that can be read."""
    return any((folder / name).is_file() for name in _WEIGHTS)


def _json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def listed(names: Iterable[str]) -> str:
    """The names as an error shows them."""
    return ", ".join(f"`{name}`" for name in names)
