"""Other models for single heads: labels, batches, both runtimes, the cache, and what is missing."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from nlp.base import ModelMissing
from nlp.hub import Choice, HubHead, label_places
from nlp.runners import BadModel, Layout, read_layout

WORDS = {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3, "plain": 4}
SCORES = [[0, 0, 0], [0, 0, 0], [0, 0, 4], [4, 0, 0], [0, 4, 0]]
NAMES = {"0": "negative", "1": "neutral", "2": "positive"}
LABELS = {"negative": "neg", "neutral": "neu", "positive": "pos"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")


def choice(model: Path | str, **given: object) -> Choice:
    return Choice(**{"head": "sentiment", "model": model, "labels": LABELS} | given)  # type: ignore[arg-type]  # any field


def config(folder: Path, **more: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    given = {"id2label": NAMES, "max_position_embeddings": 12, "pad_token_id": 0} | more
    (folder / "config.json").write_text(json.dumps(given))
    return folder


def words(folder: Path) -> Path:
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_padding(length=64)  # as many exports have it; it must not be used
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def field(number: int, value: bytes | int) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def node(kind: str, inputs: Sequence[str], output: str, **attributes: int) -> bytes:
    body = b"".join(field(1, name.encode()) for name in inputs) + field(2, output.encode())
    body += field(4, kind.encode())
    for name, value in attributes.items():
        body += field(5, field(1, name.encode()) + field(3, value) + field(20, 2))
    return field(1, body)


def tensor(name: str, shape: Sequence[int], kind: int, raw: bytes) -> bytes:
    dims = b"".join(field(1, size) for size in shape)
    return field(5, dims + field(2, kind) + field(8, name.encode()) + field(9, raw))


def value(number: int, name: str, kind: int, dims: Sequence[str]) -> bytes:
    shape = b"".join(field(1, field(2, one.encode())) for one in dims)
    described = field(1, field(1, kind) + field(2, shape))
    return field(number, field(1, name.encode()) + field(2, described))


def onnx_model(folder: Path, extra: str = "token_type_ids") -> Path:
    """An ONNX file made by hand: the logits of a text are the sums of those of its words."""
    table = struct.pack("<15f", *(one for row in SCORES for one in row))
    graph = b"".join(
        [
            node("Gather", ["table", "input_ids"], "each"),
            node("Cast", ["attention_mask"], "kept", to=1),
            node("Unsqueeze", ["kept", "last"], "mask"),
            node("Mul", ["each", "mask"], "masked"),
            node("ReduceSum", ["masked", "middle"], "logits", keepdims=0),
            field(2, b"tiny"),
            tensor("table", [5, 3], 1, table),
            tensor("last", [1], 7, struct.pack("<q", 2)),
            tensor("middle", [1], 7, struct.pack("<q", 1)),
            *(value(11, name, 7, ["n", "t"]) for name in ("input_ids", "attention_mask", extra)),
            value(12, "logits", 1, ["n", "labels"]),
        ]
    )
    model = field(1, 8) + field(7, graph) + field(8, field(2, 13))
    (folder / "model.onnx").write_bytes(model)
    return folder


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return onnx_model(words(config(tmp_path / "exported")))


class Fake:
    """One token a word; the logits of a text say how many tokens it has. Keeps its batches."""

    def __init__(self, folder: Path, layout: Layout, threads: int) -> None:
        self.layout, self.shapes, self.encoded = layout, list[tuple[int, int]](), 0

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        self.encoded += len(texts)
        return [[7] * len(text.split()) for text in texts]

    def logits(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        assert ((ids == 7) == (mask == 1)).all()
        assert (ids[mask == 0] == self.layout.pad).all()
        self.shapes.append(ids.shape)
        return np.stack([mask.sum(1), 0 * mask.sum(1), 0 * mask.sum(1)], axis=1).astype(np.float32)


def test_batches_are_of_like_length_and_equal_texts_are_read_once(tmp_path: Path) -> None:
    runners: list[Fake] = []

    def opens(folder: Path, layout: Layout, threads: int) -> Fake:
        runners.append(Fake(folder, layout, threads))
        return runners[0]

    head = HubHead(choice(config(tmp_path, pad_token_id=1)), batch_size=2, opens=opens)
    texts = ["a b c d e f", "a", "a b", "", "a", "a b c d e", "a b", "\ud83d", "a b"]
    found = head.probabilities(texts)
    (runner,) = runners
    assert runner.encoded == 6
    assert runner.shapes == [(2, 6), (2, 2), (2, 1)]
    logits = [6, 1, 2, 0, 1, 5, 2, 1, 2]
    expected = [np.exp(one) / (np.exp(one) + 2) for one in logits]
    assert [row["neg"] for row in found] == pytest.approx(expected)
    assert all(sum(row.values()) == pytest.approx(1) for row in found)
    assert head.probabilities([]) == []
    assert len(runners) == 1


def test_yes_no_heads_take_one_logit_or_two(tmp_path: Path) -> None:
    class One(Fake):
        def logits(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
            return super().logits(ids, mask)[:, :1]

    single = config(tmp_path / "one", id2label={"0": "buys"})
    head = HubHead(choice(single, head="intent", labels={"buys": "1"}, threshold=0.3), opens=One)
    assert head.probabilities(["a b"]) == [{"1": pytest.approx(1 / (1 + np.exp(-2)))}]
    assert head.threshold("es") == 0.3
    three = {"negative": "1", "neutral": "0", "positive": "1"}
    head = HubHead(choice(config(tmp_path / "two"), head="early", labels=three), opens=Fake)
    power = np.exp(2)
    assert head.probabilities(["a b"]) == [{"1": pytest.approx((power + 1) / (power + 2))}]


def test_labels_that_do_not_fit_are_listed_on_both_sides() -> None:
    given = choice("x/y", labels={"negative": "neg", "positiv": "pos"})
    with pytest.raises(BadModel) as caught:
        label_places(given, ["negative", "neutral", "positive"])
    for words_ in (
        "[nlp.heads.sentiment] labels", "the model has no label `positiv`",
        "nothing is said of `neutral`, `positive`",
        "The model's labels: `negative`, `neutral`, `positive`", "Mapped: `negative`, `positiv`",
        "`neg`, `neu`, `pos`",
    ):  # fmt: skip
        assert words_ in str(caught.value)
    with pytest.raises(BadModel, match='no label means "1"'):
        label_places(choice("x/y", head="early", labels={"a": "0", "b": "0"}), ["a", "b"])
    assert label_places(choice("x/y", labels={}), ["pos", "neg"]) == [2, 0]
    stars = {"1 star": "neg", "2 stars": "neg", "3 stars": "neu", "5 stars": "pos"}
    assert label_places(choice("x/y", labels=stars), list(stars)) == [0, 0, 1, 2]


def test_wrong_number_of_logits_is_told(tmp_path: Path) -> None:
    two = config(tmp_path, id2label={"0": "neg", "1": "pos"})
    with pytest.raises(BadModel, match="names 2 labels"):
        HubHead(choice(two, labels={}), opens=Fake).probabilities(["a"])


def test_layout_is_what_the_files_say(tmp_path: Path) -> None:
    assert read_layout(config(tmp_path / "a")) == Layout(
        labels=("negative", "neutral", "positive"), pad=0, max_tokens=10, independent=False
    )
    bare = tmp_path / "b"
    bare.mkdir()
    with pytest.raises(ModelMissing, match=r"no config\.json"):
        read_layout(bare)
    (bare / "config.json").write_text('{"problem_type": "multi_label_classification"}')
    (bare / "tokenizer_config.json").write_text('{"model_max_length": 1e30}')
    assert read_layout(bare) == Layout(("LABEL_0", "LABEL_1"), 0, 512, independent=True)
    (bare / "tokenizer_config.json").write_text('{"model_max_length": 128}')
    assert read_layout(bare).max_tokens == 128


def test_onnx_needs_no_torch_and_cuts_long_texts(exported: Path) -> None:
    head = HubHead(choice(exported), batch_size=2)
    texts = ["good good", "bad", "plain plain plain", "", "unheard words", "\ud800 bad " * 9_000]
    found = head.probabilities(texts)
    tops = [max(row, key=row.__getitem__) for row in found[:3]]
    assert tops == ["pos", "neg", "neu"]
    assert found[0]["pos"] == pytest.approx(np.exp(8) / (np.exp(8) + 2))
    assert found[3] == pytest.approx(dict.fromkeys(("neg", "neu", "pos"), 1 / 3))
    # Of the long text ten tokens are read, every other one a word of 4 points.
    assert found[5]["neg"] == pytest.approx(np.exp(20) / (np.exp(20) + 2))
    alone = [head.probabilities([text])[0] for text in texts]
    assert [list(row.values()) for row in alone] == [
        pytest.approx(list(row.values())) for row in found
    ]


def test_onnx_files_that_cannot_work_are_told(exported: Path) -> None:
    onnx_model(exported, extra="pixel_values")
    with pytest.raises(BadModel, match="pixel_values"):
        HubHead(choice(exported)).probabilities(["good"])
    (exported / "model.onnx").write_bytes(b"broken")
    with pytest.raises(ModelMissing, match="export it again"):
        HubHead(choice(exported)).probabilities(["good"])
    (exported / "tokenizer.json").unlink()
    with pytest.raises(ModelMissing, match=r"tokenizer\.json is missing"):
        HubHead(choice(exported)).probabilities(["good"])


def test_version_follows_files_and_labels(exported: Path) -> None:
    versions = {HubHead(choice(exported)).version}
    (exported / "notes.md").write_text("no part of the model")
    assert HubHead(choice(exported)).version in versions
    versions.add(HubHead(choice(exported, labels=LABELS | {"neutral": "neg"})).version)
    versions.add(HubHead(choice(exported, langs=frozenset({"en"}))).version)
    with (exported / "model.onnx").open("ab") as file:
        file.write(b"\0")
    versions.add(HubHead(choice(exported)).version)
    assert len(versions) == 4
    assert COMMIT in HubHead(choice("acme/tiny", revision=COMMIT)).version


def test_missing_models_are_told_with_the_fix(tmp_path: Path) -> None:
    absent = HubHead(choice(tmp_path / "absent"))
    with pytest.raises(ModelMissing, match="there is no folder"):
        absent.probabilities(["x"])
    with pytest.raises(ModelMissing, match=r"\[nlp\.heads\.sentiment\] model"):
        absent.version  # noqa: B018  # reading it hashes the files
    with pytest.raises(ModelMissing, match="holds no weights"):
        HubHead(choice(config(tmp_path / "empty"))).probabilities(["x"])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no way out of this machine."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path / "hub"


def test_a_hub_model_comes_from_the_cache_alone(cache: Path) -> None:
    given = choice("acme/tiny", revision=COMMIT)
    with pytest.raises(ModelMissing) as caught:
        HubHead(given).probabilities(["good"])
    for fix in ("download = true", f"hf download acme/tiny --revision {COMMIT}", "name a folder"):
        assert fix in str(caught.value)
    snapshot = cache / "models--acme--tiny" / "snapshots" / COMMIT
    onnx_model(words(config(snapshot)))
    (found,) = HubHead(given).probabilities(["good"])
    assert max(found, key=found.__getitem__) == "pos"


def test_a_download_fetches_no_more_than_is_needed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    folder = cache / "fetched"

    def fetch(model: str, **given: object) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        if given.get("local_files_only"):
            raise LocalEntryNotFoundError("empty")
        patterns = given["allow_patterns"]
        assert isinstance(patterns, list)
        assert (model, given["revision"]) == ("acme/tiny", COMMIT)
        asked.append(patterns)
        config(folder)
        if "*.safetensors" in patterns:
            (folder / "model.safetensors").write_bytes(b"weights")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    head = HubHead(choice("acme/tiny", revision=COMMIT, download=True), opens=Fake)
    assert head.probabilities(["a b"])[0]["neg"] == pytest.approx(np.exp(2) / (np.exp(2) + 2))
    assert [patterns[-1] for patterns in asked] == ["onnx/model.onnx", "*.safetensors"]


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_the_fix_is_told(tmp_path: Path) -> None:
    folder = config(tmp_path)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelMissing, match=r"proactive-listener\[torch\]"):
        HubHead(choice(folder)).probabilities(["x"])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A BERT of two layers and its tokenizer, as transformers saves them."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path / "saved"
    torch.manual_seed(1)
    settings = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=12, initializer_range=1.0,
        id2label={int(at): name for at, name in NAMES.items()},
        label2id={name: int(at) for at, name in NAMES.items()},
    )  # fmt: skip
    BertForSequenceClassification(settings).save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    return folder


@needs_torch
def test_transformers_models_give_what_transformers_gives(saved: Path, cache: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    head = HubHead(choice(saved), batch_size=3)
    texts = ["good", "bad plain good", "", "plain " * 40, "good bad", "bad bad bad bad"]
    found = head.probabilities(texts)
    model = AutoModelForSequenceClassification.from_pretrained(saved).eval()
    for text, row in zip(texts, found, strict=True):
        ids = [WORDS[word] for word in text.split()][:10]
        if ids:
            with torch.inference_mode():
                own = model(input_ids=torch.tensor([ids])).logits.softmax(-1)[0].tolist()
            assert list(row.values()) == pytest.approx(own, abs=1e-5)
        assert sum(row.values()) == pytest.approx(1)
    assert len({tuple(round(one, 2) for one in row.values()) for row in found}) > 3


@needs_torch
def test_weights_without_a_classifier_are_refused(saved: Path) -> None:
    from transformers import BertModel

    BertModel.from_pretrained(saved).save_pretrained(saved)
    given = json.loads((saved / "config.json").read_text()) | {"id2label": NAMES}
    (saved / "config.json").write_text(json.dumps(given))
    with pytest.raises(BadModel, match="classifier"):
        HubHead(choice(saved)).probabilities(["good"])
    (saved / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelMissing, match="save model and tokenizer there again"):
        HubHead(choice(saved)).probabilities(["good"])
