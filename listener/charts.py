"""The two charts of the digest, as PNG files for e-mails.

Colours are those of Okabe and Ito (2008), which people with any colour vision tell apart; what is
good and what is bad is told by a pattern and a sign, too. The ground is white, so that a chart can
be read in light and dark mode.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 400
"""CSS pixels in which a chart is drawn; it holds twice as many."""

_DPI = 192
_INK, _MUTED = "#1f2933", "#52606d"
_BLUE, _VERMILLION, _LIGHT, _DARK = "#0072b2", "#d55e00", "#c3cad1", "#7b8794"
_POINTS = 72 / 96
"""Points to a CSS pixel."""
_LONGEST = 24
_FONT = "DejaVu Sans"  # matplotlib brings it along


class Bar(NamedTuple):
    """One day: its label, and mentions by sentiment."""

    label: str
    positive: int
    neutral: int
    negative: int


class Share(NamedTuple):
    """One maker: its name, its mentions, what stands at its bar, and whether it is the brand."""

    name: str
    mentions: int
    label: str
    ours: bool


def volume(bars: Sequence[Bar], *, positive: str, neutral: str, negative: str) -> bytes:
    """A stacked column for each of `bars` with its sum above it, as PNG.

    The three words name the sentiments. Negative stands at the bottom, where heights compare best.
    """
    figure, axes = _paper(height=210)
    axes.set_position((0.03, 0.13, 0.94, 0.68))
    places = range(len(bars))
    floor = [0] * len(bars)
    for words, sign, counts, colour, hatch in (
        (negative, "▼", [bar.negative for bar in bars], _VERMILLION, "////"),
        (neutral, "●", [bar.neutral for bar in bars], _LIGHT, ""),
        (positive, "▲", [bar.positive for bar in bars], _BLUE, ""),
    ):
        axes.bar(
            places,
            counts,
            bottom=floor,
            width=0.74,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
            label=f"{sign} {words}",
        )
        floor = [low + count for low, count in zip(floor, counts, strict=True)]
    top = max(max(floor, default=0), 1)
    for place, total in zip(places, floor, strict=True):
        if total:
            axes.text(
                place,
                total + top * 0.02,
                str(total) if total < 10_000 else f"{total // 1000}k",
                ha="center",
                va="bottom",
                size=11 * _POINTS,
                color=_MUTED,
            )
    axes.set_xlim(-0.6, len(bars) - 0.4)
    axes.set_ylim(0, top * 1.12)
    axes.set_xticks(list(places), [bar.label for bar in bars], size=11 * _POINTS, color=_MUTED)
    axes.axhline(0, color=_MUTED, linewidth=0.8)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles[::-1],
        labels[::-1],
        loc="upper left",
        bbox_to_anchor=(0.015, 0.99),
        ncols=3,
        frameon=False,
        prop={"size": 12 * _POINTS},
        labelcolor=_INK,
        handlelength=1.2,
        handleheight=1.0,
        columnspacing=1.4,
        handletextpad=0.5,
    )
    return _png(figure)


def voice(shares: Sequence[Share]) -> bytes:
    """A bar for each of `shares` with name and label, longest as wide as the chart, as PNG."""
    figure, axes = _paper(height=14 + 40 * len(shares))
    axes.set_position((0.03, 0.02, 0.94, 0.96))
    most = max((share.mentions for share in shares), default=1) or 1
    for place, share in enumerate(shares):
        colour = _BLUE if share.ours else _DARK
        axes.barh(place + 0.24, share.mentions, height=0.3, color=colour)
        weight = "bold" if share.ours else "normal"
        name = share.name if len(share.name) <= _LONGEST else f"{share.name[: _LONGEST - 1]}…"
        for x, words, side in ((0, name, "left"), (most, share.label, "right")):
            axes.text(
                x,
                place - 0.12,
                words,
                ha=side,
                va="center",
                size=13 * _POINTS,
                family=_FONT,
                weight=weight,
                color=_INK,
                # A name may hold dollar signs, which would be read as mathematics.
                parse_math=False,
            )
    axes.set_xlim(0, most)
    axes.set_ylim(len(shares) - 0.45, -0.45)
    axes.set_xticks([])
    return _png(figure)


def drawable(text: str) -> bool:
    """Whether the font of the charts has every character of `text` (it has no Chinese, say)."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties(family=_FONT))).get_charmap()
    return all(ord(char) in known for char in text)


def _paper(height: int) -> tuple[Figure, Axes]:
    """A white sheet of `WIDTH` x `height` CSS pixels, and axes without a frame."""
    # Imported when there is something to draw: matplotlib takes a second to load. No pyplot, which
    # keeps every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 96, height / 96), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_facecolor("none")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_yticks([])
    axes.tick_params(length=0)
    return figure, axes


def _png(figure: Figure) -> bytes:
    """The figure as a PNG of at most 64 colours, without a date, so that it is the same again."""
    from PIL import Image

    file, small = io.BytesIO(), io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    with Image.open(file) as image:
        image.convert("RGB").quantize(64).save(small, "PNG", optimize=True)
    return small.getvalue()
