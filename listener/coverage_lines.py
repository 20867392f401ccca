"""The coverage statement of the digest in words."""

from __future__ import annotations

from collections.abc import Sequence

from . import i18n
from .hostile import clean
from .statement import SourceCoverage

_ERROR = 160


def coverage_line(language: str, rows: Sequence[SourceCoverage]) -> str:
    """How many sources were heard without a gap, as a sentence."""
    whole, total = sum(row.whole for row in rows), len(rows)
    if not total:
        return i18n.say(language, "coverage.none")
    if whole == total:
        return i18n.say(language, "coverage.whole", n=total)
    if not whole:
        return i18n.say(language, "coverage.gaps", n=total)
    return i18n.say(language, "coverage.some", n=whole, total=i18n.number(language, total))


def nothing_line(language: str, rows: Sequence[SourceCoverage]) -> str:
    """That there is nothing new, and whether that can be believed."""
    doubtful = sum(not row.whole for row in rows)
    if doubtful:
        return i18n.say(language, "digest.nothing_doubt", n=doubtful)
    return i18n.say(language, "digest.nothing")


def gap_line(language: str, row: SourceCoverage, *, timezone: str) -> str:
    """What a source did not hear, and why; empty when it heard everything.

    Raises `ValueError` for a state without a text.
    """
    if row.whole:
        return ""
    why = _why(language, row, timezone)
    parts = [why] if why else []
    if row.blind_minutes:
        blind = i18n.say(
            language, "coverage.blind", span=i18n.duration(language, row.blind_minutes)
        )
        if row.blind_searches < row.searches:
            total = i18n.number(language, row.searches)
            blind += " " + i18n.say(
                language, "coverage.searches", n=row.blind_searches, total=total
            )
        parts = [f"{blind} ({why})" if why else blind]
    if row.cut:
        parts.append(i18n.say(language, "coverage.cut", n=row.cut))
    line = ", ".join(parts)
    return line[:1].upper() + line[1:]


def _why(language: str, row: SourceCoverage, timezone: str) -> str:
    # That the budget ended is told in plain words, by the number of searches.
    if row.state == "partial" and row.cut:
        return ""
    if row.state == "ok" and row.blind_minutes == row.lost_minutes:
        return i18n.say(language, "coverage.lost")
    if row.state == "ok" and row.covered_until is not None:
        time = i18n.moment(language, row.covered_until, timezone)
        return i18n.say(language, "coverage.late", time=time)
    if row.state == "ok":
        return ""
    if row.state == "waiting" and row.waits_until is not None:
        time = i18n.moment(language, row.waits_until, timezone)
        return i18n.say(language, "coverage.waits", time=time)
    state = i18n.say(language, f"state.{row.state}")
    return f"{state}: {clean(row.failed, _ERROR)}" if row.failed else state


def money_line(language: str, row: SourceCoverage) -> str:
    """What a source has cost this month, and of how much; empty for one that costs nothing."""
    spent = i18n.dollars(language, row.spent)
    if row.cap is not None:
        return i18n.say(language, "coverage.cap", spent=spent, cap=i18n.dollars(language, row.cap))
    return i18n.say(language, "coverage.spent", spent=spent) if row.spent else ""
