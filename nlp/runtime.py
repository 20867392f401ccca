"""The runtime of the shipped model: onnxruntime, or OpenVINO (extra `openvino`) where it is faster.

Both are imported when a model is opened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .base import NlpError
from .batches import Ids

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Choice = Literal["auto", "onnxruntime", "openvino"]
Run = Callable[[Sequence[str], Ids, Ids], list[Floats]]
"""The named outputs of ids and mask [n, tokens]; several threads may call it at once."""

TOLERANCE = 0.25
"""By how much a logit may differ between two runtimes.

Both calculate alike but for the order of sums, which puts some numbers on the other side of a
rounding to 8 bits: by up to 0.12 on the shipped model, whose logits reach from -5 to 5. A wrong
kernel is off by whole numbers.
"""
_ROUNDS = 3
_GAIN = 1.1
"""Times faster that OpenVINO has to be: a smaller lead may be chance."""


class BadRuntime(NlpError):
    """The runtime that the configuration names cannot be used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Model:
    """An open model; `runtime` names what runs it, with its version and why it was chosen."""

    runtime: str
    run: Run


def open_model(
    path: Path, choice: Choice, *, threads: int, probes: Sequence[tuple[Ids, Ids]]
) -> Model:
    """The model in `path`, to be run by so many threads at once.

    OpenVINO is used only if its logits of the `probes` (ids and mask) differ by no more than
    `TOLERANCE` from those of onnxruntime, and with "auto" only if it is faster on them too. Raises
    BadRuntime where "openvino" is asked for and cannot be used.
    """
    import onnxruntime

    session = onnx_session(path)

    def run(outputs: Sequence[str], ids: Ids, mask: Ids) -> list[Floats]:
        found: list[Floats] = session.run(outputs, {"input_ids": ids, "attention_mask": mask})
        return found

    usual = f"onnxruntime {onnxruntime.__version__}"
    if choice == "onnxruntime":
        return Model(usual, run)
    fix = 'set runtime = "onnxruntime" under [nlp]'
    try:
        name, other = _openvino(path, threads)
        fault = _fault(run, other, probes, by_speed=choice == "auto")
    except ImportError:
        fault = "OpenVINO is not installed"
        fix = f"pip install 'proactive-listener[openvino]', or {fix}"
    except RuntimeError as error:  # the only class that OpenVINO raises
        fault = f"OpenVINO cannot run the model ({' '.join(str(error).split())})"
    if not fault:
        logger.info("the model runs in %s", name)
        return Model(name, other)
    if choice == "openvino":
        raise BadRuntime(f"{fault}: {fix}")
    logger.info("the model runs in onnxruntime: %s", fault)
    return Model(f"{usual} ({fault})", run)


def onnx_session(path: Path) -> InferenceSession:
    """The model in onnxruntime, each call on the one core of its caller.

    One core a batch and as many batches as threads: less waiting than two cores on one batch.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _openvino(path: Path, threads: int) -> tuple[str, Run]:
    """Name with version, and the model in OpenVINO; a stream, and with it a core, for each call."""
    import openvino

    core = openvino.Core()
    settings = {
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # 16 bits, its choice on some processors, differ
    }
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    free: SimpleQueue[Any] = SimpleQueue()
    for _ in range(threads):
        free.put(compiled.create_infer_request())

    def run(outputs: Sequence[str], ids: Ids, mask: Ids) -> list[Floats]:
        request = free.get()
        try:
            found = request.infer({"input_ids": ids, "attention_mask": mask})
            return [found[name] for name in outputs]
        finally:
            free.put(request)

    return f"OpenVINO {openvino.__version__.partition('-')[0]}", run


def _fault(one: Run, other: Run, probes: Sequence[tuple[Ids, Ids]], *, by_speed: bool) -> str:
    """Why `other` should not stand in for `one`; empty if it may."""
    apart = max(
        float(np.abs(one(["logits"], *probe)[0] - other(["logits"], *probe)[0]).max())
        for probe in probes
    )
    if not apart <= TOLERANCE:  # NaN is no agreement either
        return f"logits of OpenVINO differ by {apart:.2g}, more than {TOLERANCE}"
    if by_speed:
        times = sum(_seconds(one, probe) for probe in probes) / sum(
            _seconds(other, probe) for probe in probes
        )
        if times < _GAIN:
            return f"OpenVINO has {times:.1f} times its speed here"
    return ""


def _seconds(run: Run, probe: tuple[Ids, Ids]) -> float:
    """The shortest of a few runs."""
    spent = []
    for _ in range(_ROUNDS):
        start = perf_counter()
        run(["logits", "embedding"], *probe)
        spent.append(perf_counter() - start)
    return min(spent)
