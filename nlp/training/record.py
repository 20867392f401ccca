"""How a model came about, as a file beside it: configuration and log of each phase, versions."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .files import HEADS

RECORD = "training.json"
BEFORE, SECOND = "before", "second"
"""Folders of a training's teachers: the model of before, and the one after the second phase."""
PHASES = TAUGHT, RUN, LAST, AIMED = "taught", "run", "last", "aimed"
"""Folders of its phases."""
PACKAGES = ("torch", "transformers", "tokenizers", "onnx")
"""Those whose version can change the weights."""


def record(work: Path) -> dict[str, Any]:
    """What `training.json` holds, from the work folder of a finished training.

    {"teacher": version, "packages": {name: version installed here}, "phases": {each of `PHASES`:
    {"config": as given to `fit`, "log": [figures of each epoch]}}}; no date, so that the same
    training gives the same file but for its seconds.
    """
    return {
        "teacher": json.loads((work / BEFORE / HEADS).read_text("utf-8"))["version"],
        "packages": {name: version(name) for name in PACKAGES},
        "phases": {phase: _phase(work / phase) for phase in PHASES},
    }


def write_record(work: Path, folder: Path) -> None:
    """`training.json` in `folder`."""
    text = json.dumps(record(work), indent=1)
    (folder / RECORD).write_text(text + "\n", "utf-8")


def _phase(folder: Path) -> dict[str, Any]:
    lines = (folder / "log.jsonl").read_text("utf-8").splitlines()
    return {
        "config": json.loads((folder / "config.json").read_text("utf-8")),
        "log": [json.loads(line) for line in lines],
    }
