"""What fewer layers cost and save: students of the trained model with some of its layers.

`python -m nlp.training.depths` follows a finished `python -m nlp.training` with the same arguments
and prints a row for each depth. A student keeps layers evenly spread from first to last and learns
from the labels and from the logits of the whole model.
"""

from __future__ import annotations

import copy
import json
import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from nlp.encoder import Encoder, Floats, columns

from .__main__ import options
from .build import Material, read_material, read_package, start
from .calibrate import cross_fitted
from .card import cross_fitted_f1, speed
from .data import Row, balanced
from .export import write_model
from .files import MODEL
from .measure import average_precision, macro_f1, truth
from .train import Config, Funnel, fit, predict

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DEPTHS = (12, 6, 8, 4)
"""Numbers of layers that are compared; the first is the whole model."""
_EPOCHS = 1

_logger = logging.getLogger(__name__)


def student(teacher: Funnel, depth: int) -> Funnel:
    """A copy with `depth` of its layers, evenly spread, the first and the last among them."""
    small = copy.deepcopy(teacher)
    layers = small.bert.encoder.layer
    kept = np.linspace(0, len(layers) - 1, depth).round().astype(int)
    small.bert.encoder.layer = nn.ModuleList([layers[at] for at in kept])
    small.bert.config.num_hidden_layers = depth
    return small


def taught(teacher: Funnel, tokenizer: Tokenizer, rows: Sequence[Row]) -> list[Row]:
    """The rows with the teacher's logits."""
    logits = predict(teacher, tokenizer, [row.text for row in rows])
    return [
        replace(row, teacher=tuple(one)) for row, one in zip(rows, logits.tolist(), strict=True)
    ]


def compare(material: Material, teacher: Funnel, tokenizer: Tokenizer, work: Path) -> None:
    """Trains, exports and measures each depth; a row that is in depths.jsonl already stays."""
    config = Config(epochs=_EPOCHS, sentiment_per_class=1_000, teacher_weight=1.0)
    path = work / "depths.jsonl"
    known = path.read_text("utf-8").splitlines() if path.exists() else []
    done = {json.loads(line)["layers"] for line in known}
    learn = tones = None
    for depth in DEPTHS:
        if depth in done:
            continue
        folder = work / f"depth-{depth}"
        model = teacher
        if depth < DEPTHS[0]:
            if learn is None or tones is None:
                learn = taught(teacher, tokenizer, material.learn)
                drawn = balanced(material.tones, config.sentiment_per_class, random.Random(1))
                tones = taught(teacher, tokenizer, drawn)
            model = fit(
                student(teacher, depth), tokenizer, learn, tones, material.choosing, config, folder
            )
        row = {"layers": depth, **measured(model, tokenizer, material, folder)}
        with path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
        _logger.info("%s", row)


def measured(
    model: Funnel, tokenizer: Tokenizer, material: Material, folder: Path
) -> dict[str, Any]:
    """Figures of the exported 8-bit model on dev.jsonl, its size and its speed on two threads."""
    write_model(model, tokenizer, folder)
    encoder = Encoder(folder)
    dev, held = material.dev, material.calibrating
    logits, _ = encoder.run([row.text for row in dev])
    held_logits, _ = encoder.run([row.text for row in held])
    probabilities, heads = cross_fitted(held, held_logits, dev, logits)
    early = cross_fitted_f1(dev, probabilities, heads)["early"]
    out: dict[str, Any] = {}
    for lang, f1 in early.items():
        places = [at for at, row in enumerate(dev) if row.lang == lang]
        rows, found = [dev[at] for at in places], probabilities[places]
        out |= {
            f"early_ap_{lang}": _precision(rows, found),
            f"early_f1_{lang}": f1,
            f"stage_f1_{lang}": _macro(rows, found, "stage"),
            f"sentiment_f1_{lang}": _macro(rows, found, "sentiment"),
        }
    figures = speed(folder, [row.text for row in (*dev, *held)])
    out |= {"posts_a_second": figures["posts_a_second"]}
    out |= {"model_mb": (folder / MODEL).stat().st_size / 1e6}
    return {name: round(value, 4) for name, value in out.items()}


def _precision(rows: Sequence[Row], found: Floats) -> float:
    return average_precision(truth(rows, "early"), found[:, columns("early")][:, 0])


def _macro(rows: Sequence[Row], found: Floats, head: str) -> float:
    return macro_f1(truth(rows, head), found[:, columns(head)].argmax(1))


def main() -> None:
    """Command line; needs the work folder of a finished training."""
    given = options(__doc__).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    material = read_material(given.labels, given.data)
    teacher, words, _ = start(read_package(given.wheel), material, given.work, Config())
    teacher.load_state_dict(torch.load(given.work / "final.pt"))
    compare(material, teacher, words, given.work)
    print((given.work / "depths.jsonl").read_text("utf-8"), end="")


if __name__ == "__main__":
    main()
