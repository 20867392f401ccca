"""Makes `nlp/models/first_stage.npz`: `python -m nlp.training.first_stage --help`. Needs no torch.

The encoder reads unlabelled posts, and a linear model learns what it makes of them. No labelled
post is learned from, so all are free to choose the cut: the highest at which the share of skipped
`early` posts is at most 1 % with 90 % confidence, in each language (fixed-sequence testing as in
Angelopoulos et al. 2021, "Learn then Test", with the bound of Clopper and Pearson 1934).
"""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from scipy.stats import beta

from nlp.base import LANGUAGES, NlpError
from nlp.encoder import MODEL_FOLDER, Encoder, Floats, columns
from nlp.first_stage import FILE, LONGEST, OUTPUTS, FirstStage, features, score

from .data import Row, read_labels, same_text, unmarked
from .own import read_own
from .raw import read_raw, teach

logger = logging.getLogger(__name__)

LOST, CONFIDENCE = 0.01, 0.9
"""At most this share of early posts is skipped, with this confidence."""
POSTS = 60_000
HELD_SHARE = 0.04
"""Share of the general posts that is never learned from, by their ids (hexadecimal digests)."""
GENERAL = frozenset({"es_mx_tweets", "es_youtube", "es_offendes", "semeval2017_A_2013-2016"})
"""Sources that were not chosen for being about products."""
_GRID = np.linspace(0.001, 0.5, 500)
_EPOCHS, _BATCH, _RATE, _RIDGE, _SEED = 8, 1024, 0.03, 1e-5, 20_240_229
_EXCLUSIVE = slice(4, 7)


def material(labels: Path, data: Path) -> tuple[list[Row], list[Row], list[Row]]:
    """(labelled posts for the cut, unlabelled posts to learn from, general ones held out)."""
    dev, train = read_labels(labels / "dev.jsonl"), read_labels(labels / "train.jsonl")
    labelled = [*train, *read_own(data)[0]]
    only_dev = {row.source for row in dev} - {row.source for row in train}
    raw = read_raw(
        data,
        [row.text for row in (*dev, *labelled)],
        frozenset(source.partition("/")[2] for source in only_dev) - {""},
    )
    random.Random(_SEED).shuffle(raw)
    held = f"{int(HELD_SHARE * 16**4):04x}"
    general = [row for row in raw if row.source in GENERAL and row.id < held]
    # Some copies of a post differ in the marks only.
    apart = {same_text(unmarked(row.text)) for row in (*dev, *labelled, *general)}
    learned = [row for row in raw if same_text(unmarked(row.text)) not in apart]
    return [_plain(row) for row in labelled], learned, [_plain(row) for row in general]


def _plain(row: Row) -> Row:
    return replace(row, text=unmarked(row.text))


def targets(chances: Floats) -> Floats:
    """What the linear model has to say (n, 7), from probabilities of the encoder (n, 20)."""
    intent, early = chances[:, columns("intent").start], chances[:, columns("early").start]
    wants = np.maximum(intent, early)
    signal = chances[:, columns("signal")].max(1)
    concerns = np.maximum.reduce([1 - chances[:, columns("stage").start], wants, signal])
    promo = chances[:, columns("promo").start]
    return np.column_stack([concerns, wants, early, promo, chances[:, columns("sentiment")]])


def fit(texts: Sequence[str], aims: Floats) -> tuple[Floats, Floats]:
    """Weights (features, 7) and bias (7,) that come closest to `aims` (n, 7).

    Cross-entropy with L2, by Adam (Kingma and Ba 2015) with a falling rate.
    """
    known = features(texts)
    rng = np.random.default_rng(_SEED)
    # The last row is the bias.
    weights = np.zeros((known.shape[1] + 1, len(OUTPUTS)), np.float32)
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    starts = range(0, len(texts), _BATCH)
    total = _EPOCHS * len(starts)
    for step in range(total):
        if step % len(starts) == 0:
            order = rng.permutation(len(texts))
        rows = order[starts[step % len(starts)] :][:_BATCH]
        batch = known[rows]
        errors = (_chances(batch @ weights[:-1] + weights[-1]) - aims[rows]) / len(rows)
        slope = np.vstack([batch.T @ errors + _RIDGE * weights[:-1], errors.sum(0)])
        mean += 0.1 * (slope - mean)
        square += 0.001 * (slope**2 - square)
        rate = _RATE * (1 - step / total) / (1 - 0.9 ** (step + 1))
        weights -= rate * mean / (np.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8)
    return weights[:-1], weights[-1]


def _chances(logits: Floats) -> Floats:
    out: Floats = expit(logits)
    out[:, _EXCLUSIVE] = softmax(logits[:, _EXCLUSIVE], axis=1)
    return out


def highest_cut(early: Floats) -> float:
    """The highest cut below which at most `LOST` of such posts lie, given the scores of early ones.

    Tested from the lowest cut up, until the upper bound of the share passes `LOST`; 0 (nothing is
    skipped) where the posts are too few to say.
    """
    best = 0.0
    for cut in _GRID:
        missed = int((early < cut).sum())
        if missed >= len(early) or beta.ppf(CONFIDENCE, missed + 1, len(early) - missed) > LOST:
            break
        best = float(cut)
    return best


def distil(learned: Sequence[Row], chances: Floats, cutting: Sequence[Row], to: str) -> FirstStage:
    """A first stage in place of the model of version `to`, whose probabilities are `chances`."""
    weights, bias = fit([row.text for row in learned], targets(chances))
    scale = np.maximum(np.abs(weights).max(0), 1e-6) / 127
    stored: NDArray[np.int8] = np.rint(weights / scale).astype(np.int8)
    open_ended = FirstStage(stored, scale, bias, {}, np.zeros(chances.shape[1], np.float32), to)
    early = columns("early").start - columns("intent").start
    cuts = {}
    for lang in LANGUAGES:
        own = [row.text for row in cutting if row.lang == lang and row.flags[early]]
        own = [text for text in own if len(text) <= LONGEST]
        cuts[lang] = highest_cut(score(open_ended.logits(own)))
        logger.info("%s: cut %.3f from %d early posts", lang, cuts[lang], len(own))
    final = FirstStage(stored, scale, bias, cuts, open_ended.usual, to)
    skipped, _ = final.judge(
        [row.text for row in learned], [row.lang for row in learned], [()] * len(learned)
    )
    usual = chances[skipped if skipped.any() else ~skipped].mean(0)
    return FirstStage(stored, scale, bias, cuts, usual, to)


def build(labels: Path, data: Path, work: Path, model: Path, posts: int = POSTS) -> FirstStage:
    """Everything from the posts to the first stage; `work` keeps what the encoder said."""
    cutting, learned, _ = material(labels, data)
    learned = [row for row in learned if len(row.text) <= LONGEST][:posts]
    encoder = Encoder(model)
    logger.info("the encoder reads %d posts", len(learned))
    learned = teach(learned, encoder, work)
    chances = encoder.heads.probabilities(
        np.array([row.teacher for row in learned], np.float32), [row.lang for row in learned]
    )
    learned = [_plain(row) for row in learned]
    return distil(learned, chances, cutting, encoder.heads.version)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m nlp.training.first_stage", description=__doc__)
    parser.add_argument("--labels", type=Path, required=True, help="folder of the label files")
    parser.add_argument("--data", type=Path, required=True, help="folder with sentiment/ and raw/")
    parser.add_argument("--work", type=Path, required=True, help="folder for what the model said")
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER, help="folder of the model")
    parser.add_argument("--posts", type=int, default=POSTS, help="at most so many posts are read")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        stage = build(given.labels, given.data, given.work, given.model, given.posts)
    except (OSError, NlpError) as error:
        parser.error(f"{error}; name the folders of the labels, the texts and the model")
    stage.save(given.model / FILE)
    print(f"first stage {stage.version} is in {given.model}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
