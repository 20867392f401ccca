"""How often a promised precision of 0.8 is broken, by our threshold and by the plain maximum.

Run from the root of the project: `python -m benchmarks.promise`. Populations are invented, draws
seeded; a promise is broken when the true precision at the chosen threshold is below 0.8.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from listener.promise import promised_threshold

DRAWS = 2_000
PRECISION = 0.8
POINTS = np.arange(40, 101)
Floats = NDArray[np.float64]
_FEW_HIGH: Floats = np.exp(-(POINTS - 40) / 20)
_EVEN: Floats = np.ones(len(POINTS))
# How often each score comes, and how likely an alert of that score is useful.
POPULATIONS: dict[str, tuple[Floats, Floats]] = {
    "slope": (_FEW_HIGH, 1 / (1 + np.exp(-(POINTS - 62) / 9))),
    "gentle slope": (_FEW_HIGH, 0.6 + 0.39 * (POINTS - 40) / 60),
    "cliff at 70": (_EVEN, np.where(POINTS >= 70, 0.93, 0.3)),
    "0.88 everywhere": (_EVEN, np.full(len(POINTS), 0.88)),
    "0.79 everywhere": (_EVEN, np.full(len(POINTS), 0.79)),
    "ten scores only": (1.0 * (POINTS % 10 == 0), 0.6 + 0.39 * (POINTS - 40) / 60),
}


def plain_maximum(scores: NDArray[np.int_], useful: NDArray[np.bool_]) -> int | None:
    """The lowest threshold at which the share of useful ones among the labels is high enough."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    kept = np.flatnonzero(np.cumsum(useful[order])[ends] >= PRECISION * (ends + 1))
    return int(scores[order][ends[kept[-1]]]) if len(kept) else None


def simulate(often: Floats, useful: Floats, labels: int) -> tuple[float, float, float]:
    """Shares of draws: ours breaks its promise, the plain maximum does, ours promises at all."""
    true = np.cumsum((often * useful)[::-1])[::-1] / np.cumsum(often[::-1])[::-1]
    chance = np.random.default_rng(11)
    ours = plain = made = 0
    for _ in range(DRAWS):
        at = chance.choice(len(POINTS), labels, p=often / often.sum())
        scores, said = POINTS[at], chance.random(labels) < useful[at]
        found = promised_threshold(scores.tolist(), said.tolist(), precision=PRECISION).threshold
        made += found is not None
        ours += found is not None and true[found - 40] < PRECISION
        chosen = plain_maximum(scores, said)
        plain += chosen is not None and true[chosen - 40] < PRECISION
    return ours / DRAWS, plain / DRAWS, made / DRAWS


def main() -> None:
    """Prints one line for each population and number of labels."""
    print(f"{'precision by score':<18} {'labels':>6} {'broken':>7} {'plain':>6} {'promised':>9}")
    for name, (often, useful) in POPULATIONS.items():
        for labels in (40, 100, 300):
            ours, plain, made = simulate(often, useful, labels)
            print(f"{name:<18} {labels:>6} {ours:>7.3f} {plain:>6.3f} {made:>9.2f}")


if __name__ == "__main__":
    main()
