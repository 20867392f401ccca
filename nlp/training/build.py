"""All steps from the pinned package file and the labels to the model files."""

from __future__ import annotations

import json
import logging
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nlp.encoder import MODEL_FOLDER, Encoder, columns, parse_heads

from . import card, diagram
from .calibrate import calibrated, cross_fitted, fit_toward
from .convert import Package, encoder, parse, read_pinned, tokenizer
from .data import (
    Row,
    read_labels,
    read_sentiment,
    read_slots,
    read_targets,
    same_text,
    split,
    without,
)
from .export import write_model
from .files import (
    CARD,
    HEADS,
    MAX_TOKENS,
    MODEL,
    TOKENIZER,
    write_heads,
)
from .gates import gates
from .labelled import HELD_SHARE
from .own import NAMES, SHORT, SLOTS, TARGETS, read_own, read_tones
from .raw import mean_taught, read_raw, teach, telling
from .record import AIMED, BEFORE, LAST, RECORD, RUN, SECOND, write_record
from .record import TAUGHT as FIRST
from .train import Config, Funnel, fit, predict
from .vocabulary import SIZE, frequencies, prune

if TYPE_CHECKING:
    from tokenizers import Tokenizer

RAW_POSTS = 56_000
"""Posts without labels that the first epoch learns from a model of before."""
SLOT_COPIES = 2
"""How many texts each text with slots for names becomes."""
TAUGHT: dict[str, Any] = {
    "epochs": 1,
    "lr": 1e-4,
    "sentiment_per_class": 700,
    "teacher_weight": 1.0,
    "learn_words": True,
}
"""How the first epoch, which follows a teacher, differs from those after it."""
TWICE_TAUGHT: dict[str, Any] = {
    "epochs": 2,
    "lr": 8e-5,
    "sentiment_per_class": 4_000,
    "teacher_weight": 1.0,
}
"""How the last epochs differ, which follow the mean of the model of before and the one so far.

The logits of the two together rank better than those of either (Hinton et al., 2015, "Distilling
the knowledge in a neural network"; Furlanello et al., 2018, "Born-again neural networks").
"""
TWICE_TAUGHT_POSTS = 8_000
"""How many of the posts without labels take part."""
TOWARD: dict[str, Any] = {"epochs": 1, "lr": 5e-5, "sentiment_per_class": 700}
"""How the epoch for targets differs, which shows the rows with targets several times.

Its weights are averaged with those before it: half of the way keeps what the other heads know.
"""
TOWARD_COPIES, TOWARD_OTHERS = 3, 8_000
"""How often each row with targets is shown, and how many labelled ones beside them."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """All rows, by what they are for: to learn from, to choose the epoch, to calibrate.

    `held_own` are held out of labels.tsv and choose the epoch only: they were picked for being
    hard, and would teach probabilities modesty.
    """

    labelled: list[Row]
    written: list[Row]
    aimed: list[Row]
    tones: list[Row]
    raw: list[Row]
    held: list[Row]
    held_own: list[Row]
    held_tones: list[Row]
    held_aimed: list[Row]
    dev: list[Row]
    own: int
    unfound: int

    @property
    def learn(self) -> list[Row]:
        """Rows of every epoch; of `tones` each draws its share."""
        return [*self.labelled, *self.written, *self.aimed]

    @property
    def choosing(self) -> list[Row]:
        """Rows that choose the epoch."""
        return [*self.held, *self.held_own, *self.held_tones, *self.held_aimed]

    @property
    def calibrating(self) -> list[Row]:
        """Rows that take part in calibration besides dev.jsonl."""
        return [*self.held, *self.held_tones]


def read_material(labels: Path, data: Path) -> Material:
    """Reads and splits everything; no text of dev.jsonl or a held-out one is learned from."""
    sentiment = data / "sentiment" / "sentiment.jsonl.gz"
    dev = read_labels(labels / "dev.jsonl")
    own, unfound = read_own(data)
    train = read_labels(labels / "train.jsonl")
    learn, held = split(train, HELD_SHARE)
    learn_own, held_own = split(own, HELD_SHARE)
    written = [*read_labels(labels / "written.jsonl"), *read_labels(SHORT)]
    aimed, held_aimed = split(read_targets(TARGETS), HELD_SHARE)
    tones = [*read_sentiment(sentiment, "train"), *read_tones(data)]
    raw = read_raw(
        data,
        [row.text for row in (*dev, *train, *written, *held_own)],
        frozenset(_subreddits(dev) - _subreddits(train)),
    )
    return Material(
        labelled=learn + learn_own,
        written=written,
        aimed=[*aimed, *read_slots(SLOTS, NAMES, SLOT_COPIES)],
        tones=without(tones, [row.text for row in (*dev, *held, *held_own)]),
        raw=raw,
        held=held,
        held_own=held_own,
        held_tones=without(read_sentiment(sentiment, "dev"), [row.text for row in dev]),
        held_aimed=held_aimed,
        dev=dev,
        own=len(own),
        unfound=unfound,
    )


def _subreddits(rows: Sequence[Row]) -> set[str]:
    return {row.source.partition("/")[2] for row in rows} - {""}


def read_package(wheel: Path) -> Package:
    """The pinned package file."""
    return parse(read_pinned(wheel))


def start(
    package: Package, material: Material, work: Path, config: Config
) -> tuple[Funnel, Tokenizer, int]:
    """The untrained model, its tokenizer, and how many pieces that has."""
    rows = [*material.labelled, *material.written, *material.tones]
    kept = _vocabulary(work / "vocabulary.json", package.pieces, rows)
    words = tokenizer([package.pieces[at] for at in kept])
    torch.manual_seed(config.seed)
    return Funnel(encoder(package, kept, MAX_TOKENS), config.dropout), words, len(kept)


def build(
    wheel: Path, labels: Path, data: Path, work: Path, out: Path, config: Config
) -> dict[str, Any]:
    """Makes the model files in `out`; returns the facts that the model card tells.

    A gate that the model misses is a warning in the log and told in the card.
    """
    package = read_package(wheel)  # first, for it is quickly told that it is missing
    work.mkdir(parents=True, exist_ok=True)
    material = read_material(labels, data)
    model, words, pieces = start(package, material, work, config)
    if not (work / BEFORE).exists():  # `out` may be the same folder
        shutil.copytree(MODEL_FOLDER, work / BEFORE)
    teacher = Encoder(work / BEFORE)
    rng = random.Random(config.seed)
    taught = telling(teach(material.raw, teacher, work / "teacher"), RAW_POSTS, rng)
    learn, tones, choosing = material.learn, material.tones, material.choosing
    first = replace(config, **TAUGHT)
    model = fit(model, words, [*learn, *taught], tones, choosing, first, work / FIRST)
    model = fit(model, words, learn, tones, choosing, config, work / RUN)
    write_model(model, words, work / SECOND)
    few = rng.sample(taught, min(TWICE_TAUGHT_POSTS, len(taught)))
    again = mean_taught(few, teach(few, Encoder(work / SECOND), work / "teacher"))
    last = replace(config, **TWICE_TAUGHT)
    model = fit(model, words, [*learn, *again], tones, choosing, last, work / LAST)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = material.aimed * TOWARD_COPIES
    rows += rng.sample(material.labelled, min(TOWARD_OTHERS, len(material.labelled)))
    toward = replace(config, **TOWARD)
    model = fit(model, words, rows, tones, choosing, toward, work / AIMED)
    after = model.state_dict()
    model.load_state_dict({name: torch.lerp(before[name], after[name], 0.5) for name in after})
    torch.save(model.state_dict(), work / "final.pt")
    dev = material.dev

    folder = work / "model"
    write_model(model, words, folder)
    facts = _calibrate(folder, material)
    logits = facts.pop("logits")
    full = predict(model, words, [row.text for row in dev])
    facts |= {
        "report": card.report(labels, facts["probabilities"], facts["heads"], data),
        "int8": card.compare(dev, logits, full),
        "speed": card.speed(folder, [row.text for row in (*dev, *material.held)]),
        "kept": f"{pieces:,}",
        "raw": f"{min(RAW_POSTS, len(material.raw)):,} of {len(material.raw):,}",
        "settings": _settings(config, work / LAST, teacher.heads.version),
        "learn": f"{len(material.labelled):,}",
        "own": f"{material.own:,}",
        "unfound": material.unfound,
        "written": f"{len(material.written):,}",
        "sentiment_drawn": _drawn(material.tones, last),
        "tones": f"{len(material.tones):,}",
        "aimed": f"{len(material.aimed):,}",
        "held": len(material.held),
        "held_own": len(material.held_own),
        "sentiment_held": len(material.held_tones),
        "dev": len(dev),
        "overlap": _overlap(dev, [*material.learn, *material.tones]),
    }
    facts["gates"] = gates(facts["report"], facts["int8"])
    for gate in facts["gates"]:
        if not gate.met:
            _logger.warning("gate missed: %s", gate)
    diagram.draw(folder, dev, facts["probabilities"])
    card.write(folder, facts)
    write_record(work, folder)
    out.mkdir(exist_ok=True)
    for name in (MODEL, TOKENIZER, HEADS, CARD, RECORD, diagram.DIAGRAM):
        shutil.copyfile(folder / name, out / name)
    return facts


def _vocabulary(path: Path, pieces: Sequence[tuple[str, float]], rows: Sequence[Row]) -> list[int]:
    if not path.exists():
        texts: dict[str, list[str]] = {}
        for row in rows:
            texts.setdefault(row.lang, []).append(row.text)
        kept = prune(pieces, frequencies(tokenizer(pieces), texts), SIZE)
        path.write_text(json.dumps(kept), "utf-8")
    found: list[int] = json.loads(path.read_text("utf-8"))
    return found


def _calibrate(folder: Path, material: Material) -> dict[str, Any]:
    """Writes `heads.json`, fitted on the rows for that and dev; dev's figures are cross-fitted."""
    held, dev, aimed = material.calibrating, material.dev, material.held_aimed
    reader = Encoder(folder)
    held_logits, _ = reader.run([row.text for row in held])
    logits, _ = reader.run([row.text for row in dev])
    texts, spans = [row.text for row in aimed], [[one[:2] for one in row.targets] for row in aimed]
    posts, _, found = reader.run_targets(texts, spans)
    toward = np.concatenate(found)
    scale = fit_toward(aimed, toward)
    body = calibrated([*held, *dev], np.concatenate([held_logits, logits]), scale)
    version = write_heads(folder, body)
    probabilities, used = cross_fitted(held, held_logits, dev, logits)
    return {
        "version": version,
        "heads": parse_heads({"version": version, **body}),
        "logits": logits,
        "probabilities": probabilities,
        "cross_fitted": card.cross_fitted_f1(dev, probabilities, used),
        "reliability": card.reliability(dev, probabilities),
        "targets": card.targets(aimed, toward, posts[:, columns("sentiment")]),
    }


def _settings(config: Config, run: Path, teacher: str) -> str:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    best = max(lines, key=lambda line: line["score"])
    return (
        f"  First an epoch of all this and {RAW_POSTS:,} posts without labels, which follows the "
        f"logits of\n  the model {teacher}; then {config.epochs} of the labels alone; then "
        f"{TWICE_TAUGHT['epochs']} of the labels, more of\n  the sentiment and "
        f"{TWICE_TAUGHT_POSTS:,} of those posts, which follow the mean of {teacher} and the\n"
        f"  model so far; of these epoch {best['epoch']} was chosen; then one with the rows with "
        f"targets {TOWARD_COPIES}\n  times and {TOWARD_OTHERS:,} others, whose weights are "
        "averaged with those before it.\n"
        f"  Learning rate {config.lr:g}, times {config.layer_decay:g} for each layer nearer the "
        f"input, new layers {config.head_lr:g};\n"
        f"  batches of {config.batch}; seed {config.seed}; bf16; the word table learns in the "
        "first epoch only."
    )


def _overlap(dev: Sequence[Row], learned: Sequence[Row]) -> int:
    """How many texts of dev are among those learned from."""
    known = {same_text(row.text) for row in learned}
    return sum(same_text(row.text) in known for row in dev)


def _drawn(rows: Sequence[Row], config: Config) -> str:
    groups: dict[tuple[str, int], int] = {}
    for row in rows:
        groups[row.lang, row.sentiment] = groups.get((row.lang, row.sentiment), 0) + 1
    most = config.sentiment_per_class * config.epochs
    return f"{sum(min(count, most) for count in groups.values()):,}"
