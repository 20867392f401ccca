"""Learning and export of a tiny model; skipped where the extra `train` is not installed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from training_rows import PIECES, row

from nlp.encoder import Encoder, Floats
from nlp.training.convert import tokenizer
from nlp.training.data import NO_LABEL, Row
from nlp.training.files import (
    TOKENIZER,
    heads_body,
    plain_calibration,
    write_heads,
    write_tokenizer,
)
from nlp.training.measure import selection

if TYPE_CHECKING:
    from nlp.training.train import Funnel


def test_quantized_products_are_near_and_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    onnx = pytest.importorskip("onnx", reason="the extra `train` is not installed")
    import onnxruntime

    from nlp.training.export import quantize

    rng = np.random.default_rng(1)
    weight = rng.normal(size=(16, 8)).astype(np.float32)
    source = onnx.helper.make_model(
        onnx.parser.parse_graph("g (float[n, 16] x) => (float[n, 8] y) { y = MatMul(x, w) }"),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )
    source.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    session = onnxruntime.InferenceSession(quantize(source).SerializeToString())
    x = rng.normal(size=(5, 16)).astype(np.float32)
    x[4] *= 1_000
    (found,) = session.run(["y"], {"x": x})
    np.testing.assert_allclose(found[:4], x[:4] @ weight, atol=0.25)
    (alone,) = session.run(["y"], {"x": x[:1]})
    np.testing.assert_allclose(alone, found[:1], atol=1e-5)


def tiny() -> Funnel:
    """An untrained model of one layer, always with the same weights."""
    import torch
    from transformers import BertConfig, BertModel

    from nlp.training.train import Funnel

    torch.manual_seed(1)
    bert = BertConfig(
        vocab_size=len(PIECES), hidden_size=384, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=192,
    )  # fmt: skip
    return Funnel(BertModel(bert, add_pooling_layer=False), 0.1)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the threads of torch, which are as before after the test."""
    torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "tolerance"), [(1, 1e-6), (2, 0.02)])
def test_a_run_that_was_stopped_ends_like_an_unbroken_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    threads: Callable[[int], None],
    count: int,
    tolerance: float,
) -> None:
    """Exactly in one thread; in two, dropout and sums depend on which part of a batch is first."""
    from nlp.training import train

    threads(count)
    words = tokenizer(PIECES)
    config = train.Config(epochs=2, batch=8, sentiment_per_class=2, silent_rows=4)
    rows = [row(at, text="casa" if at % 2 else "house") for at in range(24)]
    tones = [row(at, stage=NO_LABEL, flags=(), text="añ") for at in range(6)]
    given = (words, rows, tones, rows, config)
    unbroken = train.fit(tiny(), *given, tmp_path / "unbroken").state_dict()

    calls = []

    def stopped(held: Sequence[Row], logits: Floats) -> dict[str, float]:
        calls.append(held)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return selection(held, logits)

    with monkeypatch.context() as patch:
        patch.setattr(train, "selection", stopped)
        with pytest.raises(KeyboardInterrupt):
            train.fit(tiny(), *given, tmp_path / "run")
    log = tmp_path / "run" / "log.jsonl"
    assert len(log.read_text().splitlines()) == 1
    model = train.fit(tiny(), *given, tmp_path / "run")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    whole = (tmp_path / "unbroken" / "log.jsonl").read_text().splitlines()
    for line, other in zip(lines, map(json.loads, whole), strict=True):
        assert line["loss"] == pytest.approx(other["loss"], abs=10 * tolerance)
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, unbroken[name], atol=tolerance, rtol=0, err_msg=name)


def test_a_tiny_model_learns_exports_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    pytest.importorskip("onnx", reason="the extra `train` is not installed")
    from nlp.training.export import export_fp32, export_int8
    from nlp.training.train import Config, fit, predict, predict_targets

    words = tokenizer(PIECES)
    config = Config(epochs=2, batch=8, sentiment_per_class=2, silent_rows=4)
    rows = [row(at, text="casa" if at % 2 else "house") for at in range(24)]
    tones = [row(at, stage=NO_LABEL, flags=(), text="añ") for at in range(6)]
    trained = fit(tiny(), words, rows, tones, rows, config, tmp_path / "run")
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [1, 2]
    again = fit(tiny(), words, rows, tones, rows, config, tmp_path / "run")
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2
    texts = ["casa", "house casa", ""]
    np.testing.assert_allclose(predict(again, words, texts), predict(trained, words, texts))
    with pytest.raises(ValueError, match="another configuration"):
        fit(tiny(), words, rows, tones, rows, Config(epochs=3), tmp_path / "run")

    export_fp32(trained, tmp_path / "fp32.onnx")
    export_int8(tmp_path / "fp32.onnx", tmp_path / "model.onnx")
    write_tokenizer(words, tmp_path / TOKENIZER)
    write_heads(tmp_path, heads_body(plain_calibration(), {}))
    logits, vectors, toward = Encoder(tmp_path).run_targets(texts, [[(0, 4)], [(6, 10)], []])
    aimed = [
        row(0, text=text, targets=((*span, 0),))
        for text, span in zip(texts, ((0, 4), (6, 10)), strict=False)
    ]
    np.testing.assert_allclose(
        np.concatenate(toward), predict_targets(trained, words, aimed), atol=0.1
    )
    np.testing.assert_allclose(logits, predict(trained, words, texts), atol=0.15)
    assert vectors.shape == (3, 384)


def test_new_layers_learn_faster_than_those_there_were() -> None:
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    from transformers import BertConfig, BertModel

    from nlp.training.train import Config, Funnel, parameter_groups

    bert = BertConfig(
        vocab_size=8, hidden_size=384, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=8,
    )  # fmt: skip
    model = Funnel(BertModel(bert, add_pooling_layer=False), 0.1)
    config = Config()
    rates = {
        id(parameter): group["lr"]
        for group in parameter_groups(model, config)
        for parameter in group["params"]
    }
    assert rates[id(model.heads.weight)] == config.head_lr
    assert rates[id(model.tones.weight)] == rates[id(model.tones.bias)] == config.head_lr
    last, first = model.bert.encoder.layer[1], model.bert.encoder.layer[0]
    assert rates[id(last.output.dense.weight)] == config.lr
    assert rates[id(first.output.dense.weight)] == pytest.approx(config.lr * config.layer_decay)
