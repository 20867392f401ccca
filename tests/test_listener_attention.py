"""What one person is mailed now: the pure choice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from builders import NOW, RECIPIENTS, at, config

from listener.attention import Sent, Waiting, choose
from listener.rules import Rule, rules_of

MADRID = ZoneInfo("Europe/Madrid")
RULES = """
[[alerts.rules]]
name = "open"
cooldown_hours = 6
[[alerts.rules]]
name = "night"
quiet_hours = "22:00-08:00"
[[alerts.rules]]
name = "siesta"
quiet_hours = "14:00-16:00"
[[alerts.rules]]
name = "asked"
type = "unanswered"
cooldown_hours = 6
"""
BY_NAME = {rule.name: rule for rule in rules_of(config(RECIPIENTS + RULES))}


def waits(
    alert: int, score: int = 50, *, rule: str = "plain", author: int | None = None
) -> Waiting:
    return Waiting(alert=alert, rule=rule, worth=score / 100, author=author)


def chosen(
    *waiting: Waiting,
    sent: tuple[Sent, ...] = (),
    most: int = 3,
    now: datetime = NOW,
    rules: dict[str, Rule] | None = None,
) -> list[int]:
    known = rules or {**BY_NAME, "plain": replace(BY_NAME["night"], name="plain", quiet_hours=None)}
    return [one.alert for one in choose(waiting, sent, known, most=most, zone=MADRID, now=now)]


def test_the_best_go_first_and_the_rest_waits() -> None:
    waiting = [waits(n, score) for n, score in ((1, 40), (2, 90), (3, 60), (4, 90), (5, 10))]
    assert chosen(*waiting) == [2, 4, 3]
    assert chosen(*waiting[::-1]) == [2, 4, 3]
    assert chosen(*waiting, most=1) == [2]


@pytest.mark.parametrize(("hours", "left"), [(0.0, 1), (23.9, 1), (24.0, 3), (30.0, 3)])
def test_the_budget_is_of_the_last_24_hours(hours: float, left: int) -> None:
    sent = tuple(Sent(rule="gone", author=n, at=at(-hours)) for n in range(2))
    assert len(chosen(*map(waits, range(9)), sent=sent)) == left


def test_a_full_budget_mails_nothing() -> None:
    sent = tuple(Sent(rule="plain", author=n, at=at(-1)) for n in range(5))
    assert chosen(waits(1, 100), sent=sent) == []


@pytest.mark.parametrize(
    ("hour", "minute", "night", "siesta"),
    [
        (21, 59, True, True),
        (22, 0, False, True),
        (3, 0, False, True),
        (7, 59, False, True),
        (8, 0, True, True),
        (14, 0, True, False),
        (15, 59, True, False),
        (16, 0, True, True),
    ],
)
def test_quiet_hours_are_of_the_zone_and_end_on_time(
    hour: int, minute: int, night: bool, siesta: bool
) -> None:
    now = datetime(2026, 7, 1, hour, minute, tzinfo=MADRID).astimezone(UTC)
    got = chosen(waits(1, rule="night"), waits(2, rule="siesta"), now=now)
    assert got == [number for number, awake in ((1, night), (2, siesta)) if awake]


def test_what_is_quiet_leaves_its_room_to_others() -> None:
    now = datetime(2026, 7, 1, 23, tzinfo=MADRID)
    assert chosen(waits(1, 99, rule="night"), waits(2, 10), most=1, now=now) == [2]


@pytest.mark.parametrize(("hours", "mailed"), [(0.0, []), (5.9, []), (6.0, [1])])
def test_cooldown_for_an_author(hours: float, mailed: list[int]) -> None:
    sent = (Sent(rule="open", author=7, at=at(-hours)),)
    assert chosen(waits(1, rule="open", author=7), sent=sent) == mailed
    assert chosen(waits(1, rule="open", author=8), sent=sent) == [1]
    assert chosen(waits(1, rule="plain", author=7), sent=sent) == [1]


def test_cooldown_counts_from_the_latest_mail_whatever_the_order() -> None:
    old, new = (Sent(rule="open", author=7, at=at(-hours)) for hours in (20, 1))
    assert chosen(waits(1, rule="open", author=7), sent=(old, new)) == []
    assert chosen(waits(1, rule="open", author=7), sent=(new, old)) == []


def test_cooldown_holds_within_one_choice() -> None:
    waiting = [waits(n, n, rule="open", author=7) for n in (1, 2)]
    assert chosen(*waiting) == [2]


def test_an_unknown_author_is_nobodys_second() -> None:
    sent = (Sent(rule="open", author=None, at=at(-1)),)
    waiting = [waits(n, rule="open", author=None) for n in (1, 2)]
    assert chosen(*waiting, sent=sent) == [1, 2]


def test_questions_cool_down_for_the_brand() -> None:
    sent = (Sent(rule="asked", author=1, at=at(-1)),)
    assert chosen(waits(1, rule="asked", author=2), sent=sent) == []
    assert chosen(waits(1, rule="asked", author=None), sent=sent) == []
    assert chosen(waits(1, rule="asked", author=2), waits(2, rule="asked", author=3)) == [1]


def test_a_rule_that_is_gone_mails_nothing() -> None:
    assert chosen(waits(1, 100, rule="gone"), waits(2, rule="plain")) == [2]


def test_two_cooldowns_are_two_lengths() -> None:
    longer = replace(BY_NAME["open"], name="long", cooldown=timedelta(hours=48))
    sent = (Sent(rule="long", author=7, at=at(-30)), Sent(rule="open", author=7, at=at(-30)))
    rules = {"open": BY_NAME["open"], "long": longer}
    got = chosen(
        waits(1, rule="long", author=7), waits(2, rule="open", author=7), sent=sent, rules=rules
    )
    assert got == [2]
