"""Why an alert is one, in the reader's language: reasons, parts of the score, events, outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from . import i18n
from .hostile import clean
from .scoring import Part


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One part of the explanation; `reason_line` says it in the reader's language.

    `code` and what `value` holds: early_probability (0 to 1), stage (a stage), matched (name of
    the entity, `quote` is the surface found), signal (its name), replies, negatives, waiting
    (hours), praises and copies (counts), usual (a mean). `quote` may stand with any.
    """

    code: str
    value: str | float | None
    quote: str | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened in a conversation `at` an aware time; `entity` "" where of none."""

    at: datetime
    kind: str
    entity: str
    author: str | None
    quote: str | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a conversation ended: ours, competitor, other, none or unknown; of what, where known."""

    outcome: str
    entity: str | None
    quote: str | None


_COUNTS = frozenset({"replies", "negatives", "waiting", "praises", "copies"})
_TOLD_BY_PARTS = frozenset({"early_probability", "replies", "stage"})


def reason_line(language: str, reason: Reason) -> str:
    """`reason` as a short sentence without a full stop.

    Raises `ValueError` for a code, stage or signal without text and for a value of the wrong type.
    """
    say = partial(i18n.say, language)
    value = reason.value
    match reason.code, value:
        case "early_probability", float() | int():
            line = _chance(language, "why.early_probability", value)
        case "stage", str():
            line = say("why.stage", stage=say(f"stage.{value}"))
        case "matched", str():
            line = say("why.matched", value=clean(value, 60))
        case "signal", str():
            line = say(f"signal.{value}")
        case "replies", 0:
            line = say("why.replies_none")
        case "usual", float() | int():
            line = say("why.usual", value=i18n.decimal(language, value))
        case code, float() | int() if code in _COUNTS:
            line = say(f"why.{code}", n=round(value))
        case _:
            raise ValueError(
                f"no text for reason {reason.code!r} with {type(value).__name__}; "
                "add it to reason_line and to listener/wording.py"
            )
    return _with_quote(language, line, reason.quote, beside=str(value))


def chance_line(language: str, kind: str, probability: float) -> str:
    """What an alert of type `kind` is sure of, and how sure: The choice is still open: likely."""
    return _chance(language, f"part.probability.{kind}", probability)


def part_line(language: str, kind: str, part: Part) -> str:
    """`part` of the score of an alert of type `kind`, its points first: +5 · Posted 3 hours ago.

    Raises `ValueError` for a code, fit or type without text and for a value of the wrong type.
    """
    say = partial(i18n.say, language)
    value = part.value
    match part.code, value:
        case "probability", float() | int():
            line = chance_line(language, kind, value)
        case "age", float() | int():
            line = say("part.age", age=i18n.age(language, value))
        case "replies" | "options", 0:
            line = say(f"part.{part.code}.none")
        case "replies" | "options" | "reach", float() | int():
            line = say(f"part.{part.code}", n=round(value))
        case "fit", str():
            line = say(f"fit.{value}")
        case "urgent" | "limit", None:
            line = say(f"part.{part.code}")
        case _:
            raise ValueError(
                f"no text for part {part.code!r} with {type(value).__name__}; "
                "add it to part_line and to listener/wording.py"
            )
    points = f"{part.points:+d}".replace("-", "\u2212")
    return f"{points} · {_with_quote(language, line, part.quote)}"


def why_lines(
    language: str, kind: str, parts: Sequence[Part], reasons: Sequence[Reason], copies: int
) -> list[str]:
    """Everything behind an alert: the parts that count, then what no part of the score says."""
    lines = [part_line(language, kind, part) for part in parts if part.points]
    if copies:
        lines.append(reason_line(language, Reason(code="copies", value=copies, quote=None)))
    told = _TOLD_BY_PARTS if parts else frozenset({"stage", "replies"})
    return lines + [reason_line(language, one) for one in reasons if one.code not in told]


def event_line(language: str, event: Event, *, moment: Callable[[datetime], str]) -> str:
    """`event` as a line: when, who, what, and the quoted words."""
    say = partial(i18n.say, language)
    entity = clean(event.entity, 60)
    if event.kind in ("option", "recommendation"):
        what = say(f"event.{event.kind}", entity=entity or say("event.something"))
    else:
        what = say(f"event.{event.kind}")
        if entity:
            what = say("event.with", what=what, entity=entity)
    who = clean(event.author or say("anonymous"), 40)
    return f"{moment(event.at)} · {who}: {_with_quote(language, what, event.quote, beside=entity)}"


def outcome_line(language: str, outcome: Outcome) -> str:
    """How it ended, of what, and the quoted words."""
    line = i18n.say(language, f"outcome.{outcome.outcome}")
    if outcome.entity:
        line = i18n.say(language, "event.with", what=line, entity=clean(outcome.entity, 60))
    return _with_quote(language, line, outcome.quote)


def _chance(language: str, key: str, probability: float) -> str:
    return i18n.say(
        language,
        key,
        chance=i18n.chance(language, probability),
        percent=i18n.percent(language, probability),
    )


def _with_quote(language: str, line: str, quote: str | None, *, beside: str = "") -> str:
    """`line` with the quoted words, unless they only repeat what the line names."""
    words = clean(quote or "", 120)
    if not words or words.casefold() == beside.casefold():
        return line
    return f"{line}: {i18n.quoted(language, words)}"
