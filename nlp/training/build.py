"""All steps from the pinned package file and the labels to the model files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nlp.encoder import Encoder, columns, parse_heads

from . import card
from .calibrate import calibrated, cross_fitted
from .convert import encoder, parse, read_pinned, tokenizer
from .data import Row, read_labels, read_sentiment, same_text, split
from .export import export_fp32, export_int8
from .files import (
    CARD,
    HEADS,
    MAX_TOKENS,
    MODEL,
    TOKENIZER,
    heads_body,
    write_heads,
    write_tokenizer,
)
from .own import read_own
from .train import Config, Funnel, fit, predict
from .vocabulary import SIZE, frequencies, prune

HELD_SHARE = 0.1


def build(
    wheel: Path, labels: Path, data: Path, work: Path, out: Path, config: Config
) -> dict[str, Any]:
    """Makes the model files in `out`; returns the facts that the model card tells."""
    sentiment = data / "sentiment" / "sentiment.jsonl.gz"
    work.mkdir(parents=True, exist_ok=True)
    package = parse(read_pinned(wheel))

    dev = read_labels(labels / "dev.jsonl")
    own, unfound = read_own(data)
    learn, held = split([*read_labels(labels / "train.jsonl"), *own], HELD_SHARE)
    written = read_labels(labels / "written.jsonl")
    kept_apart = [row.text for row in (*dev, *held)]
    tones = read_sentiment(sentiment, "train", kept_apart)
    held_tones = read_sentiment(sentiment, "dev", [row.text for row in dev])

    kept = _vocabulary(work / "vocabulary.json", package.pieces, [*learn, *written, *tones])
    words = tokenizer([package.pieces[at] for at in kept])

    torch.manual_seed(config.seed)
    model = Funnel(encoder(package, kept, MAX_TOKENS), config.dropout)
    run = work / "run"
    model = fit(model, words, [*learn, *written], tones, [*held, *held_tones], config, run)

    folder = work / "model"
    folder.mkdir(exist_ok=True)
    export_fp32(model, work / "fp32.onnx")
    export_int8(work / "fp32.onnx", folder / MODEL)
    write_tokenizer(words, folder / TOKENIZER)
    facts = _calibrate(folder, [*held, *held_tones], dev)
    logits = facts.pop("logits")
    full = predict(model, words, [row.text for row in dev])
    texts = [row.text for row in (*dev, *held)]
    facts |= {
        "report": card.report(labels, facts["probabilities"], facts["heads"]),
        "int8": card.compare(dev, logits, full),
        "speed": card.speed(folder, texts),
        "kept": f"{len(kept):,}",
        "epochs": config.epochs,
        "settings": _settings(config, run),
        "learn": f"{len(learn):,}",
        "own": f"{len(own):,}",
        "unfound": unfound,
        "written": f"{len(written):,}",
        "sentiment": f"{len(tones):,}",
        "sentiment_drawn": _drawn(tones, config),
        "held": len(held),
        "sentiment_held": len(held_tones),
        "dev": len(dev),
        "overlap": _overlap(dev, [*learn, *written, *tones]),
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


def _calibrate(folder: Path, held: Sequence[Row], dev: Sequence[Row]) -> dict[str, Any]:
    """Writes `heads.json`, fitted on all rows given; figures of dev are cross-fitted."""
    write_heads(folder, heads_body(_PLAIN, {}))
    reader = Encoder(folder)
    held_logits, _ = reader.run([row.text for row in held])
    logits, _ = reader.run([row.text for row in dev])
    body = calibrated([*held, *dev], np.concatenate([held_logits, logits]))
    version = write_heads(folder, body)
    probabilities, used = cross_fitted(held, held_logits, dev, logits)
    return {
        "version": version,
        "heads": parse_heads({"version": version, **body}),
        "logits": logits,
        "probabilities": probabilities,
        "cross_fitted": card.cross_fitted_f1(dev, probabilities, used),
        "reliability": card.reliability(dev, probabilities),
    }


_PLAIN = {
    head: {"*": {"scale": [1.0] * width, "bias": [0.0] * width}}
    for head, width in (
        (name, columns(name).stop - columns(name).start)
        for name in ("stage", "intent", "early", "promo", "signal", "sentiment")
    )
}


def _settings(config: Config, run: Path) -> str:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    best = max(lines, key=lambda line: line["score"])
    words = "learned" if config.learn_words else "frozen"
    return (
        f"  Epoch {best['epoch']} was chosen. Learning rate {config.lr:g}, times "
        f"{config.layer_decay:g} for each layer nearer the input;\n"
        f"  heads {config.head_lr:g}; batches of {config.batch}; seed {config.seed}; bf16; "
        f"word table {words}."
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
