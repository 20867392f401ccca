"""The reliability diagram of the model card: what share of posts holds what the model says of them.

Colours are those of Okabe and Ito (2008), which people with any colour vision tell apart; markers
and strokes tell the languages, too. The ground is white, for light and dark pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nlp.base import LANGUAGES
from nlp.encoder import Floats, columns

from .data import Row
from .measure import truth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DIAGRAM = "reliability.svg"
HEADS = ("early", "intent")
BINS = 10
LEVEL = 0.9

_INCH = 96
_WIDTH, _HEIGHT = 700, 410
_POINTS = 72 / 96
"""Points to a CSS pixel."""
_INK, _MUTED, _LINE = "#1f2933", "#52606d", "#c3cad1"
# The last number keeps the bars of the languages from covering each other.
_LOOKS = (
    ("English", "#0072b2", "o", "-", -0.006),
    ("Spanish", "#d55e00", "s", "--", 0.006),
)


class Bin(NamedTuple):
    """Rows with a probability from `low` up: its mean, the share of positives, their number.

    `floor` and `ceiling` bound the share with a confidence of `LEVEL` (Wilson, 1927).
    """

    low: float
    mean: float
    share: float
    rows: int
    floor: float
    ceiling: float


def bins(rows: Sequence[Row], probabilities: Floats, head: str, lang: str) -> list[Bin]:
    """`BINS` bins of equal width for a yes/no head on rows of a language; empty ones left out."""
    from scipy.stats import binomtest

    mine = np.array([row.lang == lang for row in rows], bool)
    true, score = truth(rows, head)[mine], probabilities[mine][:, columns(head)][:, 0]
    place = np.minimum((score * BINS).astype(int), BINS - 1)
    found = []
    for at in np.unique(place):
        part = place == at
        count, positives = int(part.sum()), int(true[part].sum())
        ends = binomtest(positives, count).proportion_ci(LEVEL, "wilson")
        low, mean = float(at) / BINS, float(score[part].mean())
        found.append(Bin(low, mean, positives / count, count, float(ends.low), float(ends.high)))
    return found


def draw(folder: Path, rows: Sequence[Row], probabilities: Floats) -> None:
    """Writes `reliability.svg` in `folder`: `HEADS` side by side, a line for each language.

    `probabilities` [rows, 20] are calibrated. The same figures make the same file.
    """
    # Imported when there is something to draw: matplotlib takes a second to load. No pyplot, which
    # keeps every figure.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(
        {"svg.hashsalt": "reliability", "svg.fonttype": "path", "font.family": "DejaVu Sans"}
    ):
        figure = Figure(figsize=(_WIDTH / _INCH, _HEIGHT / _INCH), dpi=_INCH, facecolor="white")
        for at, head in enumerate(HEADS):
            axes = figure.add_axes((0.115 + 0.465 * at, 0.225, 0.405, 0.64))
            found = {lang: bins(rows, probabilities, head, lang) for lang in LANGUAGES}
            _panel(axes, head, found, first=at == 0)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="upper center",
            ncols=len(handles),
            frameon=False,
            labelcolor=_INK,
            prop={"size": 12 * _POINTS},
        )
        figure.savefig(folder / DIAGRAM, format="svg", metadata={"Date": None, "Creator": None})


def _panel(axes: Axes, head: str, found: Mapping[str, Sequence[Bin]], *, first: bool) -> None:
    axes.plot((0, 1), (0, 1), color=_MUTED, linewidth=1, linestyle=":", label="as it should be")
    for row, (own, look) in enumerate(zip(found.values(), _LOOKS, strict=True)):
        name, colour, marker, stroke, aside = look
        bars = (
            [one.share - one.floor for one in own],
            [one.ceiling - one.share for one in own],
        )
        axes.errorbar(
            [one.mean + aside for one in own],
            [one.share for one in own],
            yerr=bars,
            color=colour,
            marker=marker,
            markersize=5,
            linestyle=stroke,
            linewidth=1.5,
            elinewidth=1,
            capsize=2.5,
            label=name,
        )
        height = -0.225 - 0.075 * row
        for one in own:
            axes.text(
                one.low + 0.5 / BINS,
                height,
                str(one.rows),
                ha="center",
                va="center",
                size=10.5 * _POINTS,
                color=colour,
            )
        if first:
            axes.text(
                -0.03, height, name, ha="right", va="center", size=10.5 * _POINTS, color=colour
            )
    axes.set_title(head, size=13 * _POINTS, color=_INK, fontweight="bold", pad=5)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.03, 1.03)
    ticks = [at / 5 for at in range(6)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks] if first else [""] * len(ticks))
    axes.set_xticks([at / BINS for at in range(BINS + 1)], minor=True)
    axes.set_xlabel("probability; below: rows in each tenth", size=11 * _POINTS, color=_INK)
    axes.xaxis.set_label_coords(0.5, -0.1)
    if first:
        axes.set_ylabel("positives among the rows", size=11 * _POINTS, color=_INK)
    axes.tick_params(labelsize=11 * _POINTS, labelcolor=_INK, color=_LINE, length=3)
    axes.grid(color=_LINE, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(_LINE)
