from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from builders import (
    ASKS,
    NOW,
    RECIPIENTS,
    FakeTagger,
    analyse,
    at,
    config,
    mention,
    put,
    store_in,
)

from listener.alerts import find, save
from listener.config import Config, ConfigError
from listener.outbox import enqueue, missed
from listener.recipients import (
    Mail,
    Reason,
    What,
    asleep_until,
    digest_time,
    is_suppressed,
    restore,
    suppress,
    suppressions,
    unheard,
    zone_of,
)
from listener.rules import rules_of
from listener.slots import due_day, enqueue_digest, enqueue_due_digests, next_digest
from listener.store import Store
from listener.triage import TriageError, mail_now

ASK = "Which espresso machine is good?"
TAGGER = FakeTagger({ASK: ASKS})
MADRID = ZoneInfo("Europe/Madrid")
ANA = "ana@example.com"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def end_mail(
    store: Store, who: str = ANA, what: What = "all", reason: Reason = "paused", detail: str = ""
) -> None:
    with store.write() as connection:
        suppress(connection, who, what, reason, detail, now=NOW)


def begin_mail(store: Store, what: What = "all", reason: Reason | None = None) -> bool:
    with store.write() as connection:
        return restore(connection, ANA, what, reason=reason)


def alarm(store: Store, settings: Config, *, name: str = "1", hours: float = 0) -> tuple[int, int]:
    put(store, mention(name, ASK, by=name, published_at=at(hours - 1)), now=at(hours))
    analyse(store, TAGGER)
    return save(store, find(store, settings, now=at(hours)), settings, now=at(hours))


def fates(store: Store) -> dict[str, str]:
    rows = store.rows("SELECT recipient, fate FROM alert_recipients ORDER BY alert_id")
    return {row["recipient"]: row["fate"] for row in rows}


def person(extra: str, *, digest: str = "") -> Config:
    who = '[[recipients]]\nname = "Ana"\nemail = "ana@example.com"\n'
    return config(f"{who}receives = ['digest', 'alerts']\n{extra}\n[digest]\n{digest}\n")


# -- suppression


@pytest.mark.parametrize(
    ("what", "digest", "alerts"),
    [("digest", True, False), ("alerts", False, True), ("all", True, True)],
)
def test_each_kind_can_be_ended_alone(store: Store, what: What, digest: bool, alerts: bool) -> None:
    end_mail(store, " Ana@Example.COM ", what)
    kinds: tuple[Mail, ...] = ("digest", "alerts")
    assert [is_suppressed(store, ANA, kind) for kind in kinds] == [digest, alerts]
    assert is_suppressed(store, ANA, "operator") == (what == "all")
    assert not is_suppressed(store, "ben@example.com", "digest")
    assert begin_mail(store, what)
    assert not is_suppressed(store, ANA, "digest")
    assert not begin_mail(store, what)


def test_all_ends_every_suppression_and_a_reason_only_its_own(store: Store) -> None:
    end_mail(store, what="digest", reason="unsubscribed")
    end_mail(store, what="alerts")
    assert not begin_mail(store, "digest", reason="paused")
    assert begin_mail(store, reason="paused")
    assert [row["what"] for row in suppressions(store)[ANA]] == ["digest"]
    end_mail(store, what="all")
    assert begin_mail(store)
    assert suppressions(store) == {}


def test_a_pause_does_not_replace_what_a_person_or_a_server_said(store: Store) -> None:
    end_mail(store, reason="refused", detail="550 5.1.1")
    end_mail(store, reason="paused")
    (row,) = suppressions(store)[ANA]
    assert (row["reason"], row["detail"], row["at"]) == (
        "refused",
        "550 5.1.1",
        "2026-03-10T12:00:00Z",
    )
    end_mail(store, reason="unsubscribed")
    assert suppressions(store)[ANA][0]["reason"] == "unsubscribed"


def test_what_waits_for_a_suppressed_person_is_withdrawn(store: Store) -> None:
    settings = config()
    assert alarm(store, settings) == (1, 1)
    enqueue_digest(store, settings, date(2026, 3, 10), now=NOW)
    end_mail(store, what="alerts", reason="unsubscribed")
    rows = store.rows("SELECT kind, recipient, status, error FROM deliveries ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("alert", ANA, "refused", "withdrawn: unsubscribed"),
        ("alert", "ben@example.com", "waiting", None),
        ("digest", ANA, "waiting", None),
        ("digest", "cleo@example.com", "waiting", None),
    ]
    assert fates(store) == {ANA: "listed", "ben@example.com": "mailed"}
    assert missed(store, ANA, since=at(-1), until=NOW) == [1]


def test_alerts_of_a_suppressed_person_are_listed_and_reach_the_others(store: Store) -> None:
    end_mail(store, what="alerts")
    assert alarm(store, config()) == (1, 1)
    assert fates(store) == {ANA: "listed", "ben@example.com": "mailed"}
    assert [row[0] for row in store.rows("SELECT recipient FROM deliveries")] == ["ben@example.com"]
    with store.write() as connection:
        assert not enqueue(connection, "alert", "1", config().recipients[0], now=NOW)
        assert enqueue(connection, "digest", "2026-03-10", config().recipients[0], now=NOW)


def test_an_alert_is_not_mailed_by_name_to_who_gets_no_mail(store: Store) -> None:
    for who in (ANA, "ben@example.com"):
        end_mail(store, who, what="alerts", reason="unsubscribed")
    assert alarm(store, config()) == (1, 0)
    with pytest.raises(TriageError, match="get no more mail"):
        mail_now(store, config(), 1, now=NOW)
    assert begin_mail(store, "alerts")
    assert [one.name for one in mail_now(store, config(), 1, now=NOW)] == ["Ana"]


def test_when_nobody_is_left_it_is_said(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    settings = config()
    assert unheard(store, settings) == ()
    end_mail(store, what="all", reason="refused")
    assert unheard(store, settings) == ()
    end_mail(store, "ben@example.com", what="alerts")
    assert unheard(store, settings) == ("early-funnel",)
    assert alarm(store, settings) == (1, 0)
    assert "nobody is mailed alerts of the rule early-funnel" in caplog.text
    assert "example.com" not in caplog.text
    end_mail(store, "cleo@example.com", what="digest")
    assert unheard(store, settings) == ("early-funnel", "digest")
    assert unheard(store, config(RECIPIENTS + "[digest]\nenabled = false\n")) == ("early-funnel",)


# -- who gets which rule


RULES = """
[[alerts.rules]]
name = "Open"
[[alerts.rules]]
name = "Asked"
type = "unanswered"
recipients = ["Ben"]
"""


def chosen(rules: str, *, who: str = "Ben") -> Config:
    return config(RECIPIENTS.replace(f'name = "{who}"', f'name = "{who}"\nrules = {rules}') + RULES)


@pytest.mark.parametrize(
    ("rules", "readers"),
    [
        ("[]", {"Open": ["Ana", "Ben"], "Asked": ["Ben"]}),
        ('["asked"]', {"Open": ["Ana"], "Asked": ["Ben"]}),
        ('["Open"]', {"Open": ["Ana", "Ben"], "Asked": []}),
    ],
)
def test_a_person_chooses_rules(rules: str, readers: dict[str, list[str]]) -> None:
    found = rules_of(chosen(rules))
    assert {rule.name: [one.name for one in rule.recipients] for rule in found} == readers


@pytest.mark.parametrize(
    ("rules", "who", "said"),
    [
        ('["Opne"]', "Ben", "no rule is called `Opne`"),
        ('["Asked"]', "Ana", "`Asked` is for other people"),
    ],
)
def test_a_rule_that_cannot_reach_the_person_is_a_fault(rules: str, who: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen(rules, who=who)
    assert said in str(caught.value)
    assert "rules" in str(caught.value)


def test_without_rules_there_is_one_to_choose() -> None:
    assert rules_of(person("rules = ['early-funnel']"))[0].recipients
    with pytest.raises(ConfigError, match="no rule is called"):
        person("rules = ['other']")


# -- quiet hours of a person


@pytest.mark.parametrize(
    ("zone", "hours", "now", "until"),
    [
        ("Europe/Madrid", "22:00-08:00", "2026-07-01T21:59", None),
        ("Europe/Madrid", "22:00-08:00", "2026-07-01T22:00", "2026-07-02T08:00"),
        ("Europe/Madrid", "22:00-08:00", "2026-07-02T07:59", "2026-07-02T08:00"),
        ("Europe/Madrid", "22:00-08:00", "2026-07-02T08:00", None),
        ("America/Bogota", "14:00-16:00", "2026-07-01T15:00", "2026-07-01T16:00"),
        ("America/Bogota", "14:00-16:00", "2026-07-01T16:00", None),
    ],
)
def test_quiet_hours_are_of_the_persons_zone(
    zone: str, hours: str, now: str, until: str | None
) -> None:
    settings = person(f"timezone = '{zone}'\nquiet_hours = '{hours}'")
    here = ZoneInfo(zone)
    moment = datetime.fromisoformat(now).replace(tzinfo=here).astimezone(UTC)
    end = datetime.fromisoformat(until).replace(tzinfo=here) if until else None
    assert asleep_until(settings, settings.recipients[0], moment) == end


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_quiet_hours_end_on_days_of_a_clock_change(day: str) -> None:
    settings = person("quiet_hours = '22:00-02:30'")
    now = datetime.fromisoformat(f"{day}T01:00").replace(tzinfo=MADRID).astimezone(UTC)
    asleep = []
    for _ in range(16):
        until = asleep_until(settings, settings.recipients[0], now)
        if until is not None:
            assert until > now
        asleep.append(until is not None)
        now += timedelta(minutes=15)
    assert asleep[0]
    assert not any(asleep[-4:])


def test_alerts_wait_for_the_end_and_what_grew_too_old_goes_to_the_digest(store: Store) -> None:
    settings = config(
        RECIPIENTS.replace('name = "Ben"', 'name = "Ben"\nquiet_hours = "12:00-20:00"')
        + "[alerts]\nmax_age_hours = 5\n"
    )
    assert alarm(store, settings) == (1, 1)  # 13:00 in Madrid, an hour old
    assert alarm(store, settings, name="2", hours=3) == (1, 1)
    assert fates_of(store, 1) == {ANA: "mailed", "ben@example.com": "held"}
    assert save(store, [], settings, now=at(5)) == (0, 0)
    assert missed(store, "ben@example.com", since=NOW, until=at(5)) == [1]
    assert missed(store, ANA, since=NOW, until=at(5)) == []
    assert save(store, [], settings, now=at(7)) == (0, 1)
    assert fates_of(store, 1) == {ANA: "mailed", "ben@example.com": "listed"}
    assert fates_of(store, 2) == {ANA: "mailed", "ben@example.com": "mailed"}


def fates_of(store: Store, alert: int) -> dict[str, str]:
    rows = store.rows("SELECT recipient, fate FROM alert_recipients WHERE alert_id = ?", (alert,))
    return {row["recipient"]: row["fate"] for row in rows}


# -- when digests are due


def test_what_a_person_leaves_out_is_as_in_the_digest() -> None:
    usual = person("", digest="hour = 9\nminute = 30\ntimezone = 'America/Bogota'")
    (ana,) = usual.recipients
    assert (str(zone_of(usual, ana)), digest_time(usual, ana)) == ("America/Bogota", time(9, 30))
    own = person("digest_hour = 7", digest="hour = 9\nminute = 30")
    assert digest_time(own, own.recipients[0]) == time(7)
    minute = person("digest_minute = 5", digest="hour = 9\nminute = 30")
    assert digest_time(minute, minute.recipients[0]) == time(9, 5)


def test_each_gets_a_digest_at_the_own_hour_of_the_own_day(store: Store) -> None:
    people = RECIPIENTS.replace(
        'name = "Ana"', 'name = "Ana"\ntimezone = "Pacific/Auckland"\ndigest_hour = 7'
    )
    settings = config(people)
    got: dict[str, list[tuple[str, str]]] = {}
    for minute in range(0, 3 * 24 * 60, 10):
        now = NOW + timedelta(minutes=minute)
        enqueue_due_digests(store, settings, now=now)
    for row in store.rows("SELECT recipient, ref, created_at FROM deliveries ORDER BY id"):
        got.setdefault(row["recipient"], []).append((row["ref"], row["created_at"]))
    assert got == {
        ANA: [
            ("2026-03-11", "2026-03-10T18:00:00Z"),
            ("2026-03-12", "2026-03-11T18:00:00Z"),
            ("2026-03-13", "2026-03-12T18:00:00Z"),
        ],
        "cleo@example.com": [
            ("2026-03-11", "2026-03-11T07:00:00Z"),
            ("2026-03-12", "2026-03-12T07:00:00Z"),
            ("2026-03-13", "2026-03-13T07:00:00Z"),
        ],
    }


def run(store: Store, settings: Config, start: datetime, hours: float, step: int = 10) -> int:
    return sum(
        enqueue_due_digests(store, settings, now=start + timedelta(minutes=minute))
        for minute in range(0, int(hours * 60), step)
    )


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_an_hour_that_comes_twice_or_never_gives_one_digest(store: Store, day: str) -> None:
    settings = person("digest_hour = 2\ndigest_minute = 30")
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=MADRID).astimezone(UTC)
    assert run(store, settings, noon - timedelta(hours=48), 24 * 5) == 5
    refs = [row["ref"] for row in store.rows("SELECT ref FROM deliveries ORDER BY id")]
    first = date.fromisoformat(day) - timedelta(days=1)
    assert refs == [(first + timedelta(days=n)).isoformat() for n in range(5)]


def test_a_first_start_owes_nothing_and_of_missed_days_the_latest_is_made_up(store: Store) -> None:
    settings = person("")
    assert enqueue_due_digests(store, settings, now=NOW) == 0
    assert enqueue_due_digests(store, settings, now=at(20)) == 1
    assert enqueue_due_digests(store, settings, now=at(20 + 3 * 24)) == 1
    assert enqueue_due_digests(store, settings, now=at(20 + 3 * 24)) == 0
    refs = [row["ref"] for row in store.rows("SELECT ref FROM deliveries ORDER BY id")]
    assert refs == ["2026-03-11", "2026-03-14"]


def test_what_is_not_ready_waits_and_nothing_is_lost(store: Store) -> None:
    settings = person("")
    assert enqueue_due_digests(store, settings, now=NOW, ready=False) == 0
    assert enqueue_due_digests(store, settings, now=at(20), ready=False) == 0
    assert enqueue_due_digests(store, settings, now=at(21)) == 1


def test_a_day_is_made_once_though_its_record_is_gone(store: Store) -> None:
    settings = person("")
    enqueue_due_digests(store, settings, now=NOW)
    assert enqueue_due_digests(store, settings, now=at(20)) == 1
    with store.write() as connection:
        connection.execute("DELETE FROM deliveries")
    assert enqueue_due_digests(store, settings, now=at(21)) == 0
    assert enqueue_digest(store, settings, None, now=at(21)) == 1


@pytest.mark.parametrize(
    ("hours", "made"),
    [
        ([0, 20, 24 * 400 + 20, 21, 44, 20, 68], [0, 1, 1, 0, 1, 0, 1]),
        ([0, 20, 20 + 48, 21, 44, 68, 92], [0, 1, 1, 0, 1, 0, 1]),
    ],
)
def test_a_clock_that_jumps_and_is_set_back_leaves_each_day_once(
    store: Store, hours: list[float], made: list[int]
) -> None:
    settings = person("")
    assert [enqueue_due_digests(store, settings, now=at(hour)) for hour in hours] == made


def test_whoever_moves_has_each_day_once(store: Store) -> None:
    east = person("timezone = 'Asia/Tokyo'")
    west = person("timezone = 'America/Los_Angeles'")
    start = datetime(2026, 3, 10, 23, 30, tzinfo=UTC)  # 08:30 of the 11th in Tokyo
    assert enqueue_due_digests(store, east, now=start - timedelta(hours=1)) == 0
    assert enqueue_due_digests(store, east, now=start) == 1
    assert run(store, west, start, 24) == 0
    assert run(store, west, start + timedelta(hours=24), 24) == 1
    refs = [row["ref"] for row in store.rows("SELECT ref FROM deliveries ORDER BY id")]
    assert refs == ["2026-03-11", "2026-03-12"]


def test_days_of_a_suppressed_person_pass(store: Store) -> None:
    settings = person("")
    enqueue_due_digests(store, settings, now=NOW)
    end_mail(store)
    assert enqueue_due_digests(store, settings, now=at(20)) == 0
    assert begin_mail(store)
    assert enqueue_due_digests(store, settings, now=at(21)) == 0
    assert enqueue_due_digests(store, settings, now=at(44)) == 1


def test_a_digest_that_is_off_is_not_made(store: Store) -> None:
    off = person("", digest="enabled = false")
    assert run(store, off, NOW, 72, step=60) == 0
    assert store.value("SELECT count(*) FROM job_runs") == 0


def test_the_next_digest_is_told_in_the_persons_zone() -> None:
    settings = person("timezone = 'America/Bogota'\ndigest_hour = 7\ndigest_minute = 15")
    (ana,) = settings.recipients
    assert next_digest(settings, ana, NOW).isoformat() == "2026-03-10T07:15:00-05:00"
    assert next_digest(settings, ana, at(1)).isoformat() == "2026-03-11T07:15:00-05:00"


def test_a_time_is_due_from_its_minute_on() -> None:
    for minute, day in ((59, 9), (60, 10)):
        now = datetime(2026, 3, 10, 7, tzinfo=MADRID) + timedelta(minutes=minute)
        assert due_day(time(8), MADRID, now.astimezone(UTC)) == date(2026, 3, day)
