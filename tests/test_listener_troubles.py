from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from builders import NOW, at, config, store_in

from listener.collect import Collected, record
from listener.config import Config
from listener.store import Store, stamp
from listener.trouble_mail import trouble_mail
from listener.troubles import (
    Trouble,
    find,
    is_quiet,
    note_refusals,
    open_troubles,
    silence,
    tell,
)

SETTINGS = """
[[recipients]]
name = "Olga"
email = "olga@example.com"
language = "es"
receives = ["operator"]
[[recipients]]
name = "Cleo"
email = "cleo@example.com"
[sources.sample]
enabled = false
[sources.hackernews]
enabled = true
every_minutes = 30
"""
HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


# -- silence


def hours(share: float, *, days: int = 28, night: bool = False, seed: int = 1) -> list[datetime]:
    """Active hours before NOW, each with the same chance; at `night` (22 to 8) there are none."""
    chance = random.Random(seed)
    every = [NOW - n * HOUR for n in range(1, days * 24)]
    awake = [hour for hour in every if not night or 8 <= hour.hour < 22]
    return [hour for hour in awake if chance.random() < share]


def test_silence_multiplies_what_was_usual_at_these_hours() -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    # Active at every hour of one week.
    active = [start + n * HOUR for n in range(168)]
    silent, probability = silence(active, since=start, now=start + 171 * HOUR)
    assert silent == 3
    assert probability == pytest.approx(0.001**3)
    silent, probability = silence(active[::2], since=start, now=start + 170 * HOUR)
    # Sunday 23 has not come before. Monday 00 was active in the one week there was, 01 was not.
    overall = 84 / 167
    assert silent == 3
    expected = (1 - overall) * (1 - (1 + overall) / 2) * (1 - overall / 2)
    assert probability == pytest.approx(expected)
    assert silence([], since=start, now=NOW) == (0, 1.0)


@pytest.mark.parametrize(
    ("share", "night", "after", "quiet"),
    [
        (0.9, False, 2, False),
        (0.9, False, 10, True),
        (0.1, False, 10, False),
        (0.1, False, 240, True),
        # A night without posts is as usual; a day after it is not.
        (0.95, True, 11, False),
        (0.95, True, 20, True),
    ],
)
def test_a_source_is_quiet_when_its_silence_is_unlike_it(
    share: float, night: bool, after: int, quiet: bool
) -> None:
    evening = NOW - timedelta(hours=15)
    active = [hour for hour in hours(share, night=night) if hour <= evening]
    since = NOW - timedelta(days=28)
    assert is_quiet(active, since=since, now=max(active) + (after + 1) * HOUR) is quiet


def test_a_source_is_rarely_quiet_by_chance() -> None:
    """Asked every hour of a week, for twenty sources of every share of active hours."""
    alarms = asked = 0
    for seed in range(20):
        active = hours(0.05 + seed / 22, days=35, seed=seed)
        for n in range(168):
            now = NOW - n * HOUR
            since = now - timedelta(days=28)
            alarms += is_quiet([one for one in active if since <= one < now], since=since, now=now)
            asked += 1
    assert asked == 3360
    assert alarms <= 5


@pytest.mark.parametrize("active", [hours(0.9, days=5), hours(0.02)])
def test_nothing_is_said_with_little_history(active: list[datetime]) -> None:
    assert not is_quiet(active, since=min(active), now=NOW + timedelta(days=30))


# -- what is found


def ran(store: Store, when: datetime, status: str = "ok", error: str | None = None) -> None:
    record(store, Collected(source="hackernews", query="", status=status, error=error), when)


def heard(store: Store, when: datetime, new: int = 1) -> None:
    with store.write() as connection:
        connection.execute(
            "INSERT INTO coverage (hour, source, query, new) VALUES (?, 'hackernews', 'q', ?)",
            (stamp(when)[:13], new),
        )


def kinds(store: Store, now: datetime = NOW, settings: str = SETTINGS) -> list[tuple[str, str]]:
    return [(one.kind, one.subject) for one in find(store, config(settings), now=now)]


def test_five_failures_in_a_row_are_a_trouble(store: Store) -> None:
    for n in range(5):
        assert kinds(store) == []
        ran(store, at(n - 9), "failed", "no network")
    (found,) = find(store, config(SETTINGS), now=NOW)
    assert (found.kind, found.subject) == ("failing", "hackernews")
    assert found.detail == {"times": 5, "since": stamp(at(-9)), "error": "no network"}
    ran(store, at(-1))
    assert kinds(store) == []


def test_what_asks_for_a_person_is_told_of_at_once(store: Store) -> None:
    def result(**more: Any) -> Collected:
        return Collected(source="hackernews:part", query="", **more)

    note_refusals(store, [result(status="failed", error="unexpected KeyError")])
    note_refusals(store, [result(status="failed", error="no network", passing=True)])
    assert kinds(store) == []
    note_refusals(store, [result(), result(status="failed", error="sign in again")])
    (found,) = find(store, config(SETTINGS), now=NOW)
    assert (found.kind, found.detail) == ("refused", {"error": "sign in again"})
    note_refusals(store, [result()])
    assert kinds(store) == []


def test_a_source_that_answers_but_brings_nothing_is_a_trouble(store: Store) -> None:
    for hour in hours(0.9):
        heard(store, hour)
    ran(store, at(19.5))
    assert kinds(store, at(20)) == [("quiet", "hackernews")]
    assert kinds(store, at(40)) == [], "nobody has asked it for a day"
    ran(store, at(20), "failed", "no network")
    heard(store, at(20))
    assert kinds(store, at(21)) == []


def test_jobs_that_keep_failing_and_a_full_disk_are_troubles(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write() as connection:
        connection.execute(
            'INSERT INTO state VALUES (\'job:analyse\', \'{"error": "KeyError", "failures": 5}\')'
        )

    class Usage(NamedTuple):
        free: int = 400_000_000

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage())
    assert kinds(store) == [("disk", ""), ("job", "analyse")]
    assert kinds(store, settings="") == [("disk", ""), ("job", "analyse")]


# -- telling


FAILING = Trouble(kind="failing", subject="hackernews", detail={"times": 5, "error": "no network"})
QUIET = Trouble(kind="quiet", subject="hackernews", detail={"hours": 20, "last": stamp(at(-20))})


def mails(store: Store) -> list[tuple[str, str]]:
    rows = store.rows("SELECT ref, recipient FROM deliveries WHERE kind = 'operator' ORDER BY id")
    return [(row["ref"], row["recipient"]) for row in rows]


def told(store: Store, *found: Trouble, hour: float, settings: str = SETTINGS) -> int:
    return tell(store, config(settings), found, now=at(hour))


def test_a_trouble_is_told_once_and_once_when_it_is_over(store: Store) -> None:
    assert told(store, FAILING, hour=0) == 1
    assert told(store, FAILING, hour=1) == 0
    assert [row["kind"] for row in open_troubles(store)] == ["failing"]
    assert told(store, hour=2) == 1
    assert told(store, hour=3) == 0
    assert told(store, FAILING, hour=4) == 1
    assert mails(store) == [
        ("1:began", "olga@example.com"),
        ("1:ended", "olga@example.com"),
        ("2:began", "olga@example.com"),
    ]


def test_silence_ends_with_a_post_and_not_when_nobody_asked(store: Store) -> None:
    told(store, QUIET, hour=0)
    assert told(store, hour=1) == 0
    assert len(open_troubles(store)) == 1
    heard(store, at(2))
    assert told(store, hour=2) == 1
    assert open_troubles(store) == []


def test_a_trouble_that_becomes_another_does_not_work_again(store: Store) -> None:
    told(store, FAILING, hour=0)
    refused = Trouble(kind="refused", subject="hackernews", detail={"error": "sign in"})
    told(store, refused, hour=1)
    assert [ref for ref, _ in mails(store)] == ["1:began", "2:began"]
    assert [row["kind"] for row in open_troubles(store)] == ["refused"]


def test_a_source_that_is_switched_off_ends_its_troubles_without_a_word(store: Store) -> None:
    told(store, QUIET, hour=0)
    off = SETTINGS.replace("enabled = true", "enabled = false")
    assert told(store, hour=1, settings=off) == 0
    assert open_troubles(store) == []


def test_without_an_operator_it_is_kept_all_the_same(store: Store) -> None:
    assert told(store, FAILING, hour=0, settings="") == 0
    assert len(open_troubles(store)) == 1
    assert mails(store) == []


# -- the mail


@pytest.mark.parametrize("language", ["en", "es", "fr"])
@pytest.mark.parametrize("state", ["began", "ended"])
@pytest.mark.parametrize(
    "trouble",
    [
        FAILING,
        QUIET,
        Trouble(kind="refused", subject="x", detail={"error": "<b>sign in</b>\r\nBcc: a@b.c"}),
        Trouble(kind="job", subject="analyse", detail={"error": "KeyError", "times": 7}),
        Trouble(kind="disk", subject="", detail={"free_mb": 123}),
    ],
    ids=lambda one: one.kind,
)
def test_the_mail_says_what_is_wrong(
    store: Store, trouble: Trouble, state: str, language: str
) -> None:
    told(store, trouble, hour=0)
    with store.write() as connection:
        connection.execute("UPDATE troubles SET ended_at = ?", (stamp(at(3)),))
    mail = trouble_mail(store, f"1:{state}", language=language, timezone="Europe/Madrid")
    assert mail is not None
    rendered = mail.rendered
    assert rendered.subject.startswith("Listener: ")
    assert trouble.subject in rendered.subject
    assert "{" not in rendered.text
    assert "<b>" not in rendered.html
    assert "\n" not in rendered.subject
    if state == "began":
        facts = [str(one) for key, one in trouble.detail.items() if key in ("hours", "free_mb")]
        assert all(fact in rendered.text for fact in facts)
    else:
        assert "16:00" in rendered.text, "12:00 UTC and 3 hours, in Madrid"
    assert ("Recibes" in rendered.text) is (language == "es")
    assert (mail.data["state"], mail.data["trouble"]) == (state, trouble.kind)


def test_a_trouble_that_is_gone_makes_no_mail(store: Store) -> None:
    assert trouble_mail(store, "7:began", language="en", timezone="UTC") is None


def test_an_operator_is_a_recipient_of_its_own(tmp_path: Path) -> None:
    settings: Config = config(SETTINGS)
    assert [one.name for one in settings.receiving("operator")] == ["Olga"]
    assert [one.name for one in settings.receiving("digest")] == ["Cleo"]
