"""Scores, thresholds and calibration."""

from __future__ import annotations

import numpy as np
import pytest
from training_rows import row

from nlp.encoder import POOLED, WIDTH, columns, parse_heads
from nlp.training.calibrate import calibrated, cross_fitted, fit_platt, fit_toward, fold
from nlp.training.data import (
    NO_LABEL,
    Row,
)
from nlp.training.measure import best_threshold, f1, macro_f1, selection, truth


def test_the_scale_toward_targets_undoes_overconfidence() -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(4_000, 3))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    tones = [int(rng.choice(3, p=one)) for one in chances]
    rows = [row(at, targets=((0, 1, tone),)) for at, tone in enumerate(tones)]
    assert fit_toward(rows, (logits * 4).astype(np.float32)) == pytest.approx(0.25, rel=0.15)


def test_truth_and_scores() -> None:
    rows = [row(at, flags=(1, 0, 0) + (0,) * 8 + (1,)) for at in range(4)]
    assert truth(rows, "intent").tolist() == [1] * 4
    assert truth(rows, "promo").tolist() == [0] * 4
    assert truth(rows, "signal")[:, -1].tolist() == [1] * 4
    assert truth(rows, "stage").tolist() == [0, 1, 2, 3]
    yes, no = np.array([True, True, False]), np.array([True, False, True])
    assert f1(yes, no) == pytest.approx(0.5)
    assert f1(~yes & yes, ~yes & yes) == 0
    assert macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1])) == pytest.approx(2 / 3)


def test_threshold_lies_between_the_classes() -> None:
    true = np.array([0] * 50 + [1] * 20)
    score = np.array([0.2] * 50 + [0.8] * 20, np.float32)
    assert 0.4 < best_threshold(true, score) < 0.6
    assert best_threshold(true * 0, score) == 0.5
    assert best_threshold(true, score * 0.3, 0.4, 0.6) <= 0.6
    assert best_threshold(true, score * 0.3) < 0.3


def overconfident(count: int) -> tuple[list[Row], np.ndarray]:
    """Rows whose flags follow a probability, and logits three times too steep and shifted."""
    rng = np.random.default_rng(4)
    chance = rng.uniform(0.02, 0.98, count)
    flags = (rng.uniform(size=count) < chance).astype(int)
    rows = [
        row(at, flags=(int(flag),) * 12, stage=int(flag) * 2, sentiment=int(flag) * 2)
        for at, flag in enumerate(flags)
    ]
    logit = 3 * np.log(chance / (1 - chance)) + 2
    logits = np.repeat(logit[:, None], WIDTH, axis=1)
    for head in ("stage", "sentiment"):
        part = columns(head)
        logits[:, part] = -9.0
        logits[:, part.start] = 0.0
        logits[:, part.start + 2] = logit
    return rows, logits.astype(np.float32)


def test_platt_undoes_scale_and_shift() -> None:
    rows, logits = overconfident(4_000)
    found = fit_platt(logits[:, columns("early").start], truth(rows, "early"), np.zeros(2))
    assert np.exp(found[0]) == pytest.approx(1 / 3, rel=0.15)
    assert found[1] == pytest.approx(-2 / 3, abs=0.15)


def test_calibration_makes_probabilities_of_logits() -> None:
    rows, logits = overconfident(1_500)
    body = calibrated(rows, logits)
    heads = parse_heads({"version": "t", **body})
    out = heads.probabilities(logits, [one.lang for one in rows])
    early = out[:, columns("early")][:, 0]
    high = (early > 0.6) & (early < 0.9)
    assert truth(rows, "early")[high].mean() == pytest.approx(early[high].mean(), abs=0.06)
    np.testing.assert_allclose(out[:, columns("stage")].sum(1), 1, atol=1e-5)
    for head in ("intent", "early", "promo"):
        assert set(body["thresholds"][head]) == {"en", "es", POOLED}
        assert 0.3 < heads.threshold(head, "en", "1") < 0.7


def test_a_head_without_positives_stays_sober() -> None:
    rows, logits = overconfident(300)
    rows = [row(at, flags=(0,) * 12, stage=0, sentiment=1) for at in range(len(rows))]
    out = parse_heads({"version": "t", **calibrated(rows, logits)}).probabilities(
        logits, ["es"] * len(rows)
    )
    assert np.isfinite(out).all()
    assert out[:, columns("promo")].mean() < 0.1


def test_cross_fitting_never_uses_the_own_fold() -> None:
    rows, logits = overconfident(400)
    held, dev = rows[:100], rows[100:]
    out, used = cross_fitted(held, logits[:100], dev, logits[100:])
    assert out.shape == (300, WIDTH)
    one = fold(dev[0])
    changed = [
        row(at, flags=(1,) * 12, id=old.id, lang=old.lang, stage=old.stage, sentiment=old.sentiment)
        if fold(old) == one
        else old
        for at, old in enumerate(dev)
    ]
    again, _ = cross_fitted(held, logits[:100], changed, logits[100:])
    mine = np.array([fold(old) == one for old in dev])
    np.testing.assert_allclose(again[mine], out[mine])
    assert not np.allclose(again[~mine], out[~mine])
    assert len(used) == 300


def test_selection_prefers_right_logits() -> None:
    rows, logits = overconfident(300)
    rows[0] = row(0, stage=NO_LABEL, flags=(), sentiment=1)
    good, bad = selection(rows, logits), selection(rows, -logits)
    assert good["early_ap_es"] > bad["early_ap_es"]
    assert good["score"] > bad["score"]
