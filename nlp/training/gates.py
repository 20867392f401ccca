"""What a new model is held to: what 8 bits may cost, how far `early` may be from calibrated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nlp.base import LANGUAGES
from nlp.evaluation import Report

MOST_LOST = 0.5
"""Points that a figure may lose to 8 bits."""
MOST_ECE = 0.04
FIGURES = (
    "early average precision",
    "intent average precision",
    "stage macro-F1",
    "sentiment macro-F1",
)
"""The figures that 8 bits are to keep; those of the other heads rest on few rows."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A figure in a language, what it came to (rounded as in the card) and the most it may be."""

    name: str
    lang: str
    value: float
    most: float

    @property
    def met(self) -> bool:
        """Whether the figure keeps to its bound."""
        return self.value <= self.most

    def __str__(self) -> str:
        return f"{self.name}, {self.lang}: {self.value:zg}, at most {self.most:g}"


def gates(report: Report, int8: Sequence[tuple[str, str, float, float]]) -> list[Gate]:
    """A gate for each of `FIGURES` and for the ECE of `early`, in each language.

    `int8` are (figure, language, int8, fp32), the report is that of `nlp.evaluation`.
    """
    found = {(name, lang): 100 * (full - small) for name, lang, small, full in int8}
    lost = [
        Gate(f"points of {name} lost to 8 bits", lang, round(found[name, lang], 2), MOST_LOST)
        for name in FIGURES
        for lang in LANGUAGES
    ]
    ece = [
        Gate("ECE of early", lang, round(report["early"][lang]["ece"], 3), MOST_ECE)
        for lang in LANGUAGES
    ]
    return lost + ece


def line(found: Sequence[Gate]) -> str:
    """One line of Markdown with every gate and its figure, those that were missed first."""
    missed = [f"**missed**: {one}" for one in found if not one.met]
    met = [f"met: {one}" for one in found if one.met]
    return f"Gates: {'; '.join(missed + met)}."
