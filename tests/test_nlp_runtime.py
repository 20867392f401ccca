"""Which runtime is chosen, and batches that are made while others run."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.encoder import read
from listener.config import parse
from listener.models import Models
from nlp import runtime
from nlp.batches import Ids, Tokens, each, grouped, padded
from nlp.encoder import MODEL_FOLDER
from nlp.runtime import TOLERANCE, BadRuntime, Floats, Run, open_model

MODEL = MODEL_FOLDER / "model.onnx"
PROBES = [padded([[0, 9, 2], [0, 2]]), padded([[0, *range(5, 20), 2]])]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(runtime, "perf_counter", made)
    return made


def fake(clock: Clock, seconds: float, off: float = 0.0) -> Run:
    def run(outputs: Sequence[str], ids: Ids, mask: Ids) -> list[Floats]:
        clock.now += seconds
        return [np.full((len(ids), 20), 1 + off, np.float32) for _ in outputs]

    return run


class FakeSession:
    def __init__(self, run: Run) -> None:
        self._run = run

    def run(self, outputs: Sequence[str], fed: dict[str, Ids]) -> list[Floats]:
        return self._run(outputs, fed["input_ids"], fed["attention_mask"])


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Callable[[float, float], None]:
    """Two runtimes: onnxruntime takes a second a run, OpenVINO as said."""

    def put(seconds: float, off: float) -> None:
        session = FakeSession(fake(clock, 1.0))
        monkeypatch.setattr(runtime, "onnx_session", lambda path: session)
        other = "OpenVINO 1", fake(clock, seconds, off)
        monkeypatch.setattr(runtime, "_openvino", lambda path, threads: other)

    return put


@pytest.mark.parametrize(
    ("seconds", "off", "chosen", "reason"),
    [
        (0.5, 0.0, "OpenVINO 1", "runs in OpenVINO"),
        (0.5, TOLERANCE / 2, "OpenVINO 1", "runs in OpenVINO"),
        (0.5, TOLERANCE * 2, "onnxruntime", "differ by 0.5, more than 0.25"),
        (0.5, float("nan"), "onnxruntime", "differ by nan"),
        (2.0, 0.0, "onnxruntime", "has 0.5 times its speed"),
        (0.95, 0.0, "onnxruntime", "has 1.1 times its speed"),
    ],
)
def test_the_faster_one_is_taken_where_both_agree(
    both: Callable[[float, float], None],
    caplog: pytest.LogCaptureFixture,
    seconds: float,
    off: float,
    chosen: str,
    reason: str,
) -> None:
    both(seconds, off)
    with caplog.at_level(logging.INFO, "nlp.runtime"):
        model = open_model(MODEL, "auto", threads=2, probes=PROBES)
    assert model.runtime.startswith(chosen)
    assert reason in caplog.text
    (logits,) = model.run(["logits"], *PROBES[0])
    assert logits[0, 0] == np.float32(1 + off if chosen == "OpenVINO 1" else 1)


def test_openvino_by_name_may_be_slower_and_may_not_differ(
    both: Callable[[float, float], None],
) -> None:
    both(9.0, 0.0)
    assert open_model(MODEL, "openvino", threads=2, probes=PROBES).runtime == "OpenVINO 1"
    both(0.1, 1.0)
    with pytest.raises(BadRuntime, match=r'differ.*set runtime = "onnxruntime"'):
        open_model(MODEL, "openvino", threads=2, probes=PROBES)


def test_without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    model = open_model(MODEL, "auto", threads=2, probes=PROBES)
    assert model.runtime.startswith("onnxruntime ")
    assert model.runtime.endswith("(OpenVINO is not installed)")
    with pytest.raises(BadRuntime, match=r"pip install 'proactive-listener\[openvino\]'"):
        open_model(MODEL, "openvino", threads=2, probes=PROBES)


def test_an_openvino_that_cannot_run_the_model(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, threads: int) -> None:
        raise RuntimeError("no such\n operation")

    monkeypatch.setattr(runtime, "_openvino", refuse)
    with caplog.at_level(logging.INFO, "nlp.runtime"):
        model = open_model(MODEL, "auto", threads=2, probes=PROBES)
    assert "onnxruntime" in model.runtime
    assert "OpenVINO cannot run the model (no such operation)" in caplog.text
    with pytest.raises(BadRuntime, match="no such operation"):
        open_model(MODEL, "openvino", threads=2, probes=PROBES)


def test_onnxruntime_by_name_measures_nothing(
    both: Callable[[float, float], None], clock: Clock
) -> None:
    both(0.1, 0.0)
    model = open_model(MODEL, "onnxruntime", threads=2, probes=PROBES)
    assert model.runtime.startswith("onnxruntime ")
    assert clock.now == 0


def test_the_real_openvino_agrees() -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    model = open_model(MODEL, "openvino", threads=1, probes=PROBES)
    usual = open_model(MODEL, "onnxruntime", threads=1, probes=PROBES)
    assert model.runtime.startswith("OpenVINO ")
    outputs = ["logits", "embedding", "tones"]
    for found, wanted in zip(
        model.run(outputs, *PROBES[1]), usual.run(outputs, *PROBES[1]), strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE)


def test_the_configuration_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    texts = '[brand]\nname = "Lumora"\n[nlp]\nruntime = "{}"\n'

    def models(name: str) -> Models:
        return Models(parse(texts.format(name), file="test", folder=tmp_path))

    assert models("auto").encoder.model.runtime.endswith("(OpenVINO is not installed)")
    assert "(" not in models("onnxruntime").encoder.model.runtime
    with pytest.raises(BadRuntime):
        models("openvino").tagger.tag(["hola"], ["es"])
    shipped = json.loads((MODEL_FOLDER / "heads.json").read_text("utf-8"))["version"]
    assert models("openvino").tagger.version == models("onnxruntime").tagger.version == shipped


def test_batches_hold_texts_of_like_length() -> None:
    lengths = [10] * 300 + [190] * 40 + [60] * 50 + [2000]
    tokens = {at: Tokens([7] * length) for at, length in enumerate(lengths)}
    batches = grouped(tokens, budget=1024, most=64)
    assert sorted(at for batch in batches for at in batch) == list(range(len(lengths)))
    assert list(batches[0]) == [len(lengths) - 1]
    for batch in batches[1:]:
        assert max(lengths[at] for at in batch) * len(batch) <= 1024
        assert len(batch) <= 64
    assert max(map(len, batches)) == 64
    longest = [max(lengths[at] for at in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_padding_is_masked() -> None:
    ids, mask = padded([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize("threads", [1, 3])
def test_each_item_is_worked_on_once(threads: int) -> None:
    seen: list[int] = []
    each(seen.append, (at for at in range(50)), threads=threads)
    assert sorted(seen) == list(range(50))


def test_items_are_made_beside_the_work_and_not_ahead_of_it() -> None:
    working, made = threading.Event(), threading.Event()
    alive: list[int] = []
    most = 0

    def items() -> Generator[int, None, None]:
        nonlocal most
        for at in range(8):
            if at == 1:
                assert working.wait(10)  # the work on the first goes on
                made.set()
            alive.append(at)
            most = max(most, len(alive))
            yield at

    def work(at: int) -> None:
        if at == 0:
            working.set()
            assert made.wait(10)
        alive.remove(at)

    each(work, items(), threads=2)
    assert not alive
    assert most <= 2


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("broken", ["item", "work"])
def test_the_first_error_ends_it(threads: int, broken: str) -> None:
    begun: list[int] = []

    def items() -> Generator[int, None, None]:
        for at in range(10_000):
            if broken == "item" and at == 5:
                raise OSError("item")
            yield at

    def work(at: int) -> None:
        begun.append(at)
        if broken == "work" and at == 5:
            raise OSError("work")

    with pytest.raises(OSError, match=broken):
        each(work, items(), threads=threads)
    assert len(begun) < 10_000


def test_the_benchmark_reads_lines_that_hold_other_line_signs(tmp_path: Path) -> None:
    texts = ["one\u2028two", "tres\x85cuatro"]
    path = tmp_path / "posts.jsonl"
    path.write_text("".join(f'{{"text": "{text}"}}\n' for text in texts), "utf-8")
    assert read(path, None) == texts
