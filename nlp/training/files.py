"""The files beside the weights: tokenizer, heads, and the version that names all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlp.encoder import GENERATION, POOLED, columns
from nlp.encoder import HEADS as LABELS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MODEL, TOKENIZER, HEADS, CARD = "model.onnx", "tokenizer.json", "heads.json", "README.md"
PREFIX = "query: "
"""What multilingual-e5 was trained to see before a text."""
MAX_TOKENS, HEAD_TOKENS = 192, 128


def write_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Compact JSON; scores keep six digits, which is what their 32 bits hold."""
    data = json.loads(tokenizer.to_str())
    vocab = data["model"]["vocab"]
    data["model"]["vocab"] = [[piece, round(score, 6)] for piece, score in vocab]
    path.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")), "utf-8")


def heads_body(
    calibration: Mapping[str, Any], thresholds: Mapping[str, Any], toward: float = 1.0
) -> dict[str, Any]:
    """`heads.json` without its version."""
    return {
        "prefix": PREFIX,
        "max_tokens": MAX_TOKENS,
        "head_tokens": HEAD_TOKENS,
        "heads": {
            head: {"columns": [columns(head).start, columns(head).stop], "labels": list(labels)}
            for head, labels in LABELS.items()
        },
        "calibration": calibration,
        "thresholds": thresholds,
        "toward": toward,
    }


def plain_calibration() -> dict[str, Any]:
    """Calibration that leaves logits as they are."""
    return {
        head: {POOLED: {"scale": [1.0] * len(labels), "bias": [0.0] * len(labels)}}
        for head, labels in LABELS.items()
    }


def write_heads(folder: Path, body: Mapping[str, Any]) -> str:
    """Writes `heads.json` and returns the version: a digest of all that decides the tags."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode())
    for name in (MODEL, TOKENIZER):
        digest.update((folder / name).read_bytes())
    version = f"{GENERATION}.{digest.hexdigest()[:10]}"
    text = json.dumps({"version": version, **body}, indent=1)
    (folder / HEADS).write_text(text + "\n", "utf-8")
    return version
