from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from sqlite3 import Connection, Row

import pytest
from builders import (
    ASKS,
    DECIDES,
    NOW,
    RECIPIENTS,
    FakeTagger,
    Labels,
    MemoryChannel,
    analyse,
    at,
    config,
    mention,
    put,
    store_in,
)

from listener.alerts import find, save
from listener.channels import Later, Parcel, Refused
from listener.config import Config, Recipient
from listener.deliver import deliver
from listener.letters import Letter, preview_digest
from listener.links import CHOICES, Judged, open_signer
from listener.outbox import missed
from listener.recipients import suppress, suppressions
from listener.slots import digest_period, enqueue_digest, enqueue_due_digests, local_day
from listener.steps import Stopped
from listener.store import Store, StoreError, moment
from listener.triage import mail_now

ASK = "Which espresso machine is good?"
BUY = "I bought it"
TAGGER = FakeTagger({ASK: ASKS, BUY: DECIDES})
DAY = date(2026, 3, 10)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


@pytest.fixture
def channel() -> MemoryChannel:
    return MemoryChannel()


def alarm(store: Store, *, settings: Config | None = None) -> None:
    """One alert, in the outbox of Ana and Ben."""
    put(store, mention("1", ASK, by="ana", published_at=at(-1)))
    analyse(store, TAGGER)
    chosen = settings or config()
    assert save(store, find(store, chosen, now=NOW), chosen, now=NOW) == (1, 1)


def send(
    store: Store, channel: MemoryChannel, *, hours: float = 0, settings: Config | None = None
) -> Mapping[str, int]:
    return deliver(store, settings or config(), {"outbox": channel}, now=at(hours))


def statuses(store: Store) -> dict[str, str]:
    return {row["recipient"]: row["status"] for row in store.rows("SELECT * FROM deliveries")}


def next_try(store: Store) -> datetime:
    return datetime.fromisoformat(store.value("SELECT min(next_try_at) FROM deliveries"))


# -- once


def test_each_gets_a_message_once(store: Store, channel: MemoryChannel) -> None:
    alarm(store)
    assert send(store, channel) == {"sent": 2}
    assert channel.to() == ["ana@example.com", "ben@example.com"]
    assert send(store, channel, hours=9) == {}
    assert len(channel.sent) == 2
    (row, _) = store.rows("SELECT * FROM deliveries ORDER BY id")
    assert (row["status"], row["attempts"], row["sent_at"]) == ("sent", 1, "2026-03-10T12:00:00Z")
    assert channel.sent[0]["Message-ID"] == row["message_id"]


def test_each_reads_the_alert_in_the_own_language(store: Store, channel: MemoryChannel) -> None:
    alarm(store)
    send(store, channel)
    spanish, english = (str(message["Subject"]) for message in channel.sent)
    assert spanish != english
    languages = [re.search(r'lang="(\w+)"', page(message)) for message in channel.sent]
    assert [found[1] for found in languages if found] == ["es", "en"]


def page(message: EmailMessage) -> str:
    body = message.get_body(("html",))
    assert body is not None
    return str(body.get_content())


class Crash(BaseException):
    """The process ends here."""


def test_after_a_crash_the_same_message_goes_out_again(store: Store) -> None:
    alarm(store)

    class Falling(MemoryChannel):
        def send(self, parcel: Parcel) -> None:
            super().send(parcel)
            raise Crash

    falling, steady = Falling(), MemoryChannel()
    with pytest.raises(Crash):
        send(store, falling)
    assert send(store, steady, hours=1) == {"sent": 2}
    assert [m["Message-ID"] for m in falling.sent] == [steady.sent[0]["Message-ID"]]
    assert steady.to() == ["ana@example.com", "ben@example.com"]


def test_a_stop_keeps_note_of_what_went_out(store: Store, channel: MemoryChannel) -> None:
    alarm(store)

    def stop(_: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        deliver(store, config(), {"outbox": channel}, now=NOW, progress=lambda _n, _t: stop)
    assert send(store, channel) == {"sent": 1}
    assert channel.to() == ["ana@example.com", "ben@example.com"]


def test_others_can_write_while_a_message_is_on_its_way(
    store: Store, channel: MemoryChannel
) -> None:
    alarm(store)

    def collect() -> None:
        with Store(store.path) as other:
            put(other, mention(f"new {len(channel.sent)}"))

    channel.meanwhile = collect
    assert send(store, channel) == {"sent": 2}
    assert store.value("SELECT count(*) FROM mentions") == 3


# -- what goes wrong


def test_waits_double_up_to_four_hours_give_or_take_a_quarter(
    store: Store, channel: MemoryChannel
) -> None:
    only_cleo = config(
        RECIPIENTS.replace('receives = ["alerts", "digest"]', 'receives = ["alerts"]')
    )
    enqueue_digest(store, only_cleo, DAY, now=NOW)
    channel.answers = [Later("no connection", down=True)] * 1000
    now, waits = NOW, []
    while statuses(store) == {"cleo@example.com": "waiting"}:
        assert deliver(store, only_cleo, {"outbox": channel}, now=now)
        waits.append((next_try(store) - now) / timedelta(minutes=1))
        assert deliver(store, only_cleo, {"outbox": channel}, now=now) == {}
        now = max(next_try(store), now + timedelta(minutes=1))
    usual = [2, 4, 8, 16, 32, 64, 128] + [240] * (len(waits) - 8)
    ratios = [wait / full for wait, full in zip(waits[:-1], usual, strict=True)]
    assert 0.74 < min(ratios) < 0.9
    assert 1.1 < max(ratios) < 1.26
    assert len(waits) > 30
    assert statuses(store) == {"cleo@example.com": "refused"}
    assert timedelta(hours=120) < now - NOW < timedelta(hours=126)
    error = store.value("SELECT error FROM deliveries")
    assert error == "given up after 120 hours: no connection"
    assert channel.sent == []


def test_what_failed_together_is_tried_apart_and_each_time_the_same(tmp_path: Path) -> None:
    tries = []
    for name in ("one", "two"):
        channel = MemoryChannel(answers=[Later("busy")] * 2)
        with Store(tmp_path / name) as store:
            alarm(store)
            assert send(store, channel) == {"waiting": 2}
            tries.append([row[0] for row in store.rows("SELECT next_try_at FROM deliveries")])
    assert tries[0] == tries[1]
    assert len(set(tries[0])) == 2


def test_a_time_that_the_other_side_names_is_kept_up_to_a_day(
    store: Store, channel: MemoryChannel
) -> None:
    alarm(store)
    channel.answers = [Later("busy", when=at(3)), Later("busy", when=at(24 * 400))]
    assert send(store, channel) == {"waiting": 2}
    rows = store.rows("SELECT next_try_at FROM deliveries ORDER BY id")
    assert [row[0] for row in rows] == ["2026-03-10T15:00:00Z", "2026-03-11T12:00:00Z"]


def test_what_a_clock_that_stood_ahead_put_off_is_due_when_it_is_set_back(
    store: Store, channel: MemoryChannel
) -> None:
    enqueue_digest(store, config(), DAY, now=NOW)
    channel.answers = [Later("busy"), Later("busy")]
    assert send(store, channel, hours=100) == {"waiting": 2}
    assert send(store, channel, hours=1) == {"sent": 2}


# -- a channel that is down


def test_a_dead_channel_costs_one_try_a_round_and_delays_nobody_else(store: Store) -> None:
    people = RECIPIENTS.replace('name = "Cleo"', 'name = "Cleo"\nchannel = "smtp"')
    people = people.replace('name = "Ana"', 'name = "Ana"\nchannel = "smtp"')
    settings = config(people + "[channels.smtp]\nenabled = true\nhost = 'localhost'\n")
    dead = MemoryChannel(name="smtp", answers=[Later("no connection", down=True)] * 9)
    well = MemoryChannel()
    alarm(store, settings=settings)
    enqueue_digest(store, settings, DAY, now=NOW)
    outcome = deliver(store, settings, {"smtp": dead, "outbox": well}, now=NOW)
    assert outcome == {"waiting": 3, "sent": 1}
    assert well.to() == ["ben@example.com"]
    assert len(dead.answers) == 8
    tried = store.rows("SELECT attempts FROM deliveries WHERE status = 'waiting' ORDER BY id")
    assert [row[0] for row in tried] == [1, 0, 0]
    dead.answers = []
    assert deliver(store, settings, {"smtp": dead}, now=at(1)) == {"sent": 3}


def test_a_channel_that_asks_to_wait_is_not_asked_again_before(
    store: Store, channel: MemoryChannel
) -> None:
    alarm(store)
    channel.answers = [Later("too many", down=True, when=at(2))]
    assert send(store, channel) == {"waiting": 2}
    assert send(store, channel, hours=1.9) == {}
    assert send(store, channel, hours=2.1) == {"sent": 2}
    rows = store.rows("SELECT attempts FROM deliveries ORDER BY id")
    assert [row[0] for row in rows] == [2, 1]


def test_channels_are_closed_after_each_round(store: Store) -> None:
    closed = []

    class Closing(MemoryChannel):
        def close(self) -> None:
            closed.append(len(self.sent))

    alarm(store)
    send(store, Closing())
    assert closed == [2]
    send(store, Closing(), hours=1)
    assert closed == [2, 0]


def plain_letter(
    _: Store, __: Config, ___: object, person: Recipient, row: Row, *, now: datetime
) -> Letter:
    """A letter without its text, which takes long to render and does not matter here."""
    message = EmailMessage()
    message["To"], message["Message-ID"] = person.email, row["message_id"]
    return Letter(message=message, data={})


def test_a_server_that_is_dead_for_two_days_loses_and_doubles_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.deliver.letter", plain_letter)
    settings = config(RECIPIENTS + "[alerts]\nmax_age_hours = 24\nmax_per_day = 100\n")
    channel = MemoryChannel()
    wanted = 0
    for quarter in range(4 * 96):
        hours = quarter / 4
        down = 10 <= hours < 58
        channel.answers = [Later("no connection", down=True)] if down else []
        if hours % 6 == 0:
            name = f"{hours:.0f}"
            put(store, mention(name, ASK, by=name, published_at=at(hours)), now=at(hours))
            wanted += 2
        if quarter % 16 == 0:
            analyse(store, TAGGER)
            save(store, find(store, settings, now=at(hours)), settings, now=at(hours))
        enqueue_due_digests(store, settings, now=at(hours))
        deliver(store, settings, {"outbox": channel}, now=at(hours))
    ids = [str(message["Message-ID"]) for message in channel.sent]
    assert len(ids) == len(set(ids))
    rows = store.rows("SELECT kind, status, count(*) AS n FROM deliveries GROUP BY kind, status")
    ends = {(row["kind"], row["status"]): row["n"] for row in rows}
    assert ends.keys() == {("alert", "sent"), ("alert", "stale"), ("digest", "sent")}
    assert ends["digest", "sent"] == 2 * 4
    assert ends["alert", "sent"] + ends["alert", "stale"] == wanted
    assert ends["alert", "sent"] + ends["digest", "sent"] == len(ids)
    late = store.rows(
        "SELECT m.at, d.sent_at FROM deliveries d JOIN alerts a ON a.id = CAST(d.ref AS INTEGER) "
        "JOIN mentions m ON m.id = a.mention_id WHERE d.kind = 'alert' AND d.sent_at IS NOT NULL"
    )
    assert max(moment(row["sent_at"]) - moment(row["at"]) for row in late) <= timedelta(hours=24)
    told, other = (
        missed(store, f"{name}@example.com", since=NOW, until=at(96)) for name in ("ana", "ben")
    )
    assert len(told) + len(other) == ends["alert", "stale"] > 6
    fates = store.rows("SELECT DISTINCT fate FROM alert_recipients WHERE alert_id = ?", (told[0],))
    assert [row[0] for row in fates] == ["listed"]


def test_a_passing_fault_is_made_up_for(store: Store, channel: MemoryChannel) -> None:
    alarm(store)
    channel.answers = [Later("busy")]
    assert send(store, channel) == {"waiting": 1, "sent": 1}
    assert store.value("SELECT error FROM deliveries WHERE status = 'waiting'") == "busy"
    assert send(store, channel, hours=1) == {"sent": 1}
    assert store.value("SELECT count(*) FROM deliveries WHERE error IS NOT NULL") == 0


def test_a_refused_message_is_not_tried_again(store: Store, channel: MemoryChannel) -> None:
    alarm(store)
    channel.answers = [Refused("the mail server answers 554", code="554")]
    assert send(store, channel) == {"refused": 1, "sent": 1}
    assert statuses(store) == {"ana@example.com": "refused", "ben@example.com": "sent"}
    assert send(store, channel, hours=100) == {}
    assert missed(store, "ana@example.com", since=at(-1), until=NOW) == [1]
    assert suppressions(store) == {}


def test_an_address_that_is_gone_gets_nothing_more(store: Store, channel: MemoryChannel) -> None:
    alarm(store)
    enqueue_digest(store, config(), DAY, now=NOW)
    channel.answers = [Refused("the mail server answers 550", gone=True, code="550 5.1.1")]
    assert send(store, channel) == {"refused": 1, "sent": 2}
    assert channel.to() == ["ben@example.com", "cleo@example.com"]
    (row,) = suppressions(store)["ana@example.com"]
    assert (row["what"], row["reason"], row["detail"]) == ("all", "refused", "550 5.1.1")
    assert set(statuses_of(store, "digest")) == {"refused", "sent"}
    assert enqueue_digest(store, config(), date(2026, 3, 11), now=at(24)) == 1
    fates = store.rows("SELECT recipient, fate FROM alert_recipients ORDER BY recipient")
    assert [tuple(row) for row in fates] == [
        ("ana@example.com", "listed"),
        ("ben@example.com", "mailed"),
    ]


def test_who_is_suppressed_during_a_round_gets_none_of_the_rest(store: Store) -> None:
    alarm(store)
    enqueue_digest(store, config(), DAY, now=NOW)

    class Leaving(MemoryChannel):
        def send(self, parcel: Parcel) -> None:
            with Store(store.path) as other, other.write() as connection:
                suppress(connection, "Ana@Example.com", "digest", "unsubscribed", now=NOW)
            super().send(parcel)

    channel = Leaving()
    assert send(store, channel) == {"sent": 3}
    assert channel.to() == ["ana@example.com", "ben@example.com", "cleo@example.com"]
    assert store.value("SELECT error FROM deliveries WHERE status = 'refused'") == (
        "withdrawn: unsubscribed"
    )


def test_one_message_that_fails_does_not_keep_the_others_back(store: Store) -> None:
    alarm(store)

    class Odd(MemoryChannel):
        def send(self, parcel: Parcel) -> None:
            if parcel.message["To"] == "ana@example.com":
                raise KeyError(f"private {parcel.key}")
            super().send(parcel)

    odd = Odd()
    assert send(store, odd) == {"waiting": 1, "sent": 1}
    assert odd.to() == ["ben@example.com"]
    error = store.value("SELECT error FROM deliveries WHERE status = 'waiting'")
    assert "KeyError" in error
    assert "private" not in error
    assert send(store, MemoryChannel(), hours=1) == {"sent": 1}


def test_a_store_that_fails_ends_the_delivery(store: Store) -> None:
    alarm(store)

    class Filling(MemoryChannel):
        def send(self, parcel: Parcel) -> None:
            raise StoreError("the disk is full")

    with pytest.raises(StoreError):
        send(store, Filling())
    assert set(statuses(store).values()) == {"waiting"}


def test_an_alert_whose_conversation_closed_is_stale(store: Store, channel: MemoryChannel) -> None:
    alarm(store)
    put(store, mention("2", BUY, by="ana", parent_id="1"))
    analyse(store, TAGGER)
    assert send(store, channel) == {"stale": 2}
    assert channel.sent == []
    assert send(store, channel, hours=9) == {}
    assert missed(store, "ben@example.com", since=at(-1), until=NOW) == [1]
    assert missed(store, "ben@example.com", since=NOW, until=at(9)) == []


def test_an_alert_that_grew_too_old_is_left_to_the_digest(
    store: Store, channel: MemoryChannel
) -> None:
    alarm(store)
    channel.answers = [Later("no connection", down=True)]
    assert send(store, channel) == {"waiting": 2}
    assert send(store, channel, hours=71.5) == {"stale": 2}
    assert channel.sent == []
    assert missed(store, "ana@example.com", since=at(71), until=at(72)) == [1]
    assert store.value("SELECT count(*) FROM alert_recipients WHERE mailed_at IS NULL") == 2


def test_an_old_alert_that_was_asked_for_by_name_is_sent(
    store: Store, channel: MemoryChannel
) -> None:
    put(store, mention("1", ASK, by="ana", published_at=at(-200)))
    analyse(store, TAGGER)
    save(store, find(store, config(), now=NOW), config(), now=NOW)
    assert send(store, channel) == {}
    mail_now(store, config(), 1, now=NOW)
    assert deliver(store, config(), {"outbox": channel}, now=NOW, alert=1) == {"sent": 2}


def test_an_alert_that_went_stale_can_be_sent_by_name(store: Store, channel: MemoryChannel) -> None:
    alarm(store)
    assert send(store, channel, hours=71.5) == {"stale": 2}
    assert len(mail_now(store, config(), 1, now=at(72))) == 2
    assert send(store, channel, hours=72) == {"sent": 2}
    assert missed(store, "ana@example.com", since=NOW, until=at(99)) == []


NIGHT = RECIPIENTS.replace('name = "Ben"', 'name = "Ben"\nquiet_hours = "12:30-15:00"')


def test_a_mail_that_waits_when_the_quiet_hours_begin_waits_for_their_end(
    store: Store, channel: MemoryChannel
) -> None:
    settings = config(NIGHT)
    put(store, mention("1", ASK, by="ana", published_at=at(-2)), now=at(-2))
    analyse(store, TAGGER)
    save(store, find(store, settings, now=at(-1)), settings, now=at(-1))  # 12:00 in Madrid
    assert send(store, channel, settings=settings) == {"sent": 1, "waiting": 1}
    assert channel.to() == ["ana@example.com"]
    assert next_try_of(store, "ben@example.com") == at(2)
    assert store.value("SELECT attempts FROM deliveries WHERE status = 'waiting'") == 0
    assert send(store, channel, hours=1.9, settings=settings) == {}
    assert send(store, channel, hours=2, settings=settings) == {"sent": 1}


def test_an_alert_asked_for_by_name_goes_out_in_quiet_hours(
    store: Store, channel: MemoryChannel
) -> None:
    settings = config(NIGHT)
    put(store, mention("1", ASK, by="ana", published_at=at(-1)))
    analyse(store, TAGGER)
    save(store, find(store, settings, now=NOW), settings, now=NOW)
    assert [one.name for one in mail_now(store, settings, 1, now=NOW)] == ["Ben"]
    outcome = deliver(store, settings, {"outbox": channel}, now=NOW, alert=1)
    assert outcome == {"sent": 2}


def next_try_of(store: Store, email: str) -> datetime:
    return moment(store.value("SELECT next_try_at FROM deliveries WHERE recipient = ?", (email,)))


@pytest.mark.parametrize(
    "change", ["acknowledged_at = '2026-03-10T12:00:00Z'", "snoozed_until = '2026-03-11T12:00:00Z'"]
)
def test_what_was_seen_or_snoozed_meanwhile_is_not_sent(
    store: Store, channel: MemoryChannel, change: str
) -> None:
    alarm(store)
    with store.write() as connection:
        connection.execute(f"UPDATE alerts SET {change}")
    assert send(store, channel) == {"stale": 2}
    assert channel.sent == []


def test_a_database_that_cannot_be_written_sends_nothing(
    store: Store, channel: MemoryChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarm(store)

    @contextmanager
    def full() -> Iterator[Connection]:
        raise StoreError("the disk is full")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(store, "write", full)
        with pytest.raises(StoreError):
            send(store, channel)
    assert channel.sent == []
    assert send(store, channel) == {"sent": 2}


def test_what_was_sent_but_could_not_be_noted_is_not_sent_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarm(store)
    channel, write = MemoryChannel(), store.write

    @contextmanager
    def full() -> Iterator[Connection]:
        if channel.sent:
            raise StoreError("the disk is full")
        with write() as connection:
            yield connection

    monkeypatch.setattr(store, "write", full)
    for _ in range(2):
        with pytest.raises(StoreError):
            send(store, channel)
    assert channel.to() == ["ana@example.com"]
    monkeypatch.setattr(store, "write", write)
    assert send(store, channel, hours=1) == {"sent": 1}
    assert channel.to() == ["ana@example.com", "ben@example.com"]
    assert set(statuses(store).values()) == {"sent"}


def test_a_round_can_be_kept_short_and_alerts_go_first(
    store: Store, channel: MemoryChannel
) -> None:
    enqueue_digest(store, config(), DAY, now=NOW)
    alarm(store)
    outcomes = [deliver(store, config(), {"outbox": channel}, now=NOW, most=3) for _ in range(3)]
    assert outcomes == [{"sent": 3}, {"sent": 1}, {}]
    kinds = [str(message["List-Id"]).partition(".")[0] for message in channel.sent]
    assert kinds == ["<alert", "<alert", "<digest", "<digest"]


def test_no_transaction_of_a_backlog_holds_the_lock_for_long(
    store: Store, channel: MemoryChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = "".join(
        f"[[recipients]]\nname = 'P{n}'\nemail = 'p{n}@example.com'\n" for n in range(150)
    )
    settings = config(people)
    rows: list[int] = []
    write = store.write

    @contextmanager
    def counted() -> Iterator[Connection]:
        with write() as connection:
            before = connection.total_changes
            yield connection
            rows.append(connection.total_changes - before)

    enqueue_digest(store, settings, DAY, now=NOW)
    monkeypatch.setattr(store, "write", counted)
    monkeypatch.setattr("listener.deliver.letter", plain_letter)
    assert deliver(store, settings, {}, now=NOW) == {"waiting": 150}
    assert rows == [100, 50]
    assert send(store, channel, hours=1, settings=settings) == {"sent": 150}
    assert set(rows[2:]) == {1}
    assert len(rows) == 2 + 300


def test_only_one_alert_can_be_sent(store: Store, channel: MemoryChannel) -> None:
    alarm(store)
    enqueue_digest(store, config(), DAY, now=NOW)
    assert deliver(store, config(), {"outbox": channel}, now=NOW, alert=99) == {}
    assert deliver(store, config(), {"outbox": channel}, now=NOW, alert=1) == {"sent": 2}
    assert statuses_of(store, "digest") == {"waiting"}


def statuses_of(store: Store, kind: str) -> set[str]:
    rows = store.rows("SELECT status FROM deliveries WHERE kind = ?", (kind,))
    return {row["status"] for row in rows}


def test_a_digest_counts_what_its_reader_is_kept_from(store: Store, channel: MemoryChannel) -> None:
    put(store, *(mention(f"{n}", ASK, by=f"u{n}", published_at=at(-1)) for n in range(4)))
    analyse(store, TAGGER)
    people = RECIPIENTS.replace('name = "Ana"', 'name = "Ana"\nmax_alerts_per_day = 1')
    settings = config(people)
    save(store, find(store, settings, now=NOW), settings, now=NOW)
    enqueue_digest(store, settings, DAY, now=NOW)
    send(store, channel, settings=settings)
    last = {str(message["To"]): page(message) for message in channel.sent}
    assert "3 avisos más" in last["ana@example.com"]
    assert "held back" not in last["cleo@example.com"]


def test_who_left_the_configuration_gets_nothing(store: Store, channel: MemoryChannel) -> None:
    alarm(store)
    left = config(RECIPIENTS.replace("ben@", "other@"))
    assert send(store, channel, settings=left) == {"sent": 1, "refused": 1}
    assert channel.to() == ["ana@example.com"]
    error = store.value("SELECT error FROM deliveries WHERE status = 'refused'")
    assert "no longer a recipient" in error


def test_a_channel_that_is_off_is_waited_for(store: Store, channel: MemoryChannel) -> None:
    alarm(store)
    assert deliver(store, config(), {}, now=NOW) == {"waiting": 2}
    assert store.value("SELECT error FROM deliveries") == "channel outbox is not enabled"
    assert send(store, channel, hours=1) == {"sent": 2}


# -- digests


def test_a_digest_is_made_once_a_day_for_each(store: Store, channel: MemoryChannel) -> None:
    assert enqueue_digest(store, config(), DAY, now=NOW) == 2
    assert enqueue_digest(store, config(), DAY, now=at(1)) == 0
    assert enqueue_digest(store, config(), date(2026, 3, 11), now=at(24)) == 2
    assert send(store, channel, hours=24) == {"sent": 4}
    assert channel.to() == ["ana@example.com", "cleo@example.com"] * 2
    assert enqueue_digest(store, config(), DAY, now=at(30)) == 0


def test_digests_speak_the_language_of_their_reader(store: Store, channel: MemoryChannel) -> None:
    enqueue_digest(store, config(), DAY, now=NOW)
    send(store, channel)
    assert ['lang="es"' in page(message) for message in channel.sent] == [True, False]
    assert ['lang="en"' in page(message) for message in channel.sent] == [False, True]


def test_a_digest_goes_on_where_the_last_one_of_its_reader_ended(store: Store) -> None:
    settings = config()
    until = at(72)
    ana, ben, cleo = settings.recipients
    assert digest_period(store, settings, DAY, ana, NOW).since == at(-24)
    enqueue_digest(store, settings, DAY, now=at(0.5))
    enqueue_digest(store, settings, date(2026, 3, 12), now=at(49))
    day = date(2026, 3, 13)
    assert digest_period(store, settings, day, ana, until).since == at(49)
    assert digest_period(store, settings, day, ben, until).since == at(48)
    assert digest_period(store, settings, date(2026, 3, 12), ana, at(49)).since == at(0.5)
    enqueue_digest(store, settings, day, now=at(49))
    assert digest_period(store, settings, day, cleo, at(49)).since == at(0.5)
    far = date(2026, 4, 10)
    assert digest_period(store, settings, far, ana, at(24 * 31)).since == at(24 * 24)


def test_a_late_digest_tells_of_the_time_until_it_was_due(
    store: Store, channel: MemoryChannel
) -> None:
    """What is published between writing it down and sending it belongs to the next."""
    put(store, mention("1", "a Lumora", published_at=at(-1)))
    enqueue_digest(store, config(), DAY, now=NOW)
    put(store, mention("2", "a Lumora", published_at=at(1)), now=at(1))
    analyse(store, FakeTagger({"a Lumora": Labels(signals={"praise": 0.9}, sentiment="pos")}))
    send(store, channel, hours=3)
    assert page(channel.sent[1]).count("a Lumora") == 1


@pytest.mark.parametrize(
    ("zone", "day"), [("Europe/Madrid", 10), ("Pacific/Auckland", 11), ("America/Bogota", 10)]
)
def test_the_day_is_that_of_the_zone(zone: str, day: int) -> None:
    settings = config(f"[digest]\ntimezone = '{zone}'")
    assert local_day(settings, NOW) == date(2026, 3, day)


def test_a_preview_sends_nothing(store: Store) -> None:
    put(store, mention("1", "a Lumora", published_at=at(-1)))
    analyse(store, FakeTagger({"a Lumora": Labels(signals={"praise": 0.9}, sentiment="pos")}))
    shown = preview_digest(store, config(), DAY, language=None, now=NOW)
    assert 'lang="es"' in shown
    assert "a Lumora" in shown
    other = preview_digest(store, config(""), DAY, language=None, now=NOW)
    assert 'lang="en"' in other
    earlier = preview_digest(store, config(), date(2026, 3, 9), language="en", now=NOW)
    assert "a Lumora" not in earlier
    assert store.value("SELECT count(*) FROM deliveries") == 0


# -- verdicts


WEB = RECIPIENTS + '[web]\nbase_url = "https://listener.example.com"\n'


def text(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def drawn(store: Store) -> None:
    """A post without an alert is in the audit sample."""
    put(store, mention("2", "Nobody answers me about <b>Lumora</b>"), now=at(-9))
    with store.write() as connection:
        connection.execute(
            "INSERT INTO audit (mention_id, stratum, probability, weight, drawn_at) "
            "SELECT id, 0, 0.1, 50, '' FROM mentions WHERE native_id = '2'"
        )


def test_mails_ask_their_reader_for_a_verdict(store: Store, channel: MemoryChannel) -> None:
    alarm(store)
    drawn(store)
    settings = config(WEB)
    enqueue_digest(store, settings, date(2026, 3, 10), now=NOW)
    send(store, channel, settings=settings)
    signer = open_signer(settings, store.path, {})
    for message in channel.sent:
        links = set(re.findall(r"https://listener\.example\.com/(\w+)/(.+)\?v=(.+)", text(message)))
        purpose: Judged = "audit" if "digest" in str(message["List-Id"]) else "feedback"
        assert {kind for kind, _, _ in links} == {purpose}
        assert {choice for _, _, choice in links} == set(CHOICES[purpose])
        for kind, token, choice in links:
            ticket = signer.read(token, purpose, now=NOW)
            assert signer.is_for(ticket, str(message["To"]))
            assert f"/{kind}/{token}?v={choice}" in page(message)


def test_without_a_web_address_the_digest_names_the_command(
    store: Store, channel: MemoryChannel
) -> None:
    drawn(store)
    enqueue_digest(store, config(), date(2026, 3, 10), now=NOW)
    send(store, channel)
    for message in channel.sent:
        assert "listener audit judge 1 missed|right" in text(message)
        assert "<b>Lumora</b>" not in page(message)
        assert "&lt;b&gt;Lumora" in page(message)
