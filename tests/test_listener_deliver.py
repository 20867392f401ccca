from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

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
from listener.channels import Later, Refused
from listener.config import Config
from listener.deliver import (
    deliver,
    digest_period,
    enqueue_digest,
    local_day,
    preview_digest,
)
from listener.links import CHOICES, Purpose, open_signer
from listener.steps import Stopped
from listener.store import Store, StoreError

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
        def send(self, message: EmailMessage, *, key: str) -> None:
            super().send(message, key=key)
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


def test_waits_grow_to_four_hours_and_end_after_five_days(
    store: Store, channel: MemoryChannel
) -> None:
    only_ben = config(RECIPIENTS.replace('receives = ["alerts", "digest"]', ""))
    alarm(store, settings=only_ben)
    channel.answers = [Later("no connection")] * 1000
    now, waits = NOW, []
    while statuses(store) == {"ben@example.com": "waiting"}:
        assert deliver(store, only_ben, {"outbox": channel}, now=now)
        waits.append(next_try(store) - now)
        assert deliver(store, only_ben, {"outbox": channel}, now=now) == {}
        now = next_try(store)
    assert waits[:8] == [timedelta(minutes=2**n) for n in range(1, 8)] + [timedelta(hours=4)]
    assert set(waits[8:]) == {timedelta(hours=4)}
    assert statuses(store) == {"ben@example.com": "refused"}
    assert timedelta(days=5) < now - waits[-1] - NOW < timedelta(days=5, hours=5)
    error = store.value("SELECT error FROM deliveries")
    assert error == "given up after 5 days: no connection"
    assert channel.sent == []


def test_a_passing_fault_is_made_up_for(store: Store, channel: MemoryChannel) -> None:
    alarm(store)
    channel.answers = [Later("busy")]
    assert send(store, channel) == {"waiting": 1, "sent": 1}
    assert store.value("SELECT error FROM deliveries WHERE status = 'waiting'") == "busy"
    assert send(store, channel, hours=1) == {"sent": 1}
    assert store.value("SELECT count(*) FROM deliveries WHERE error IS NOT NULL") == 0


def test_a_refused_message_is_not_tried_again(store: Store, channel: MemoryChannel) -> None:
    alarm(store)
    channel.answers = [Refused("the mail server answers 550")]
    assert send(store, channel) == {"refused": 1, "sent": 1}
    assert statuses(store) == {"ana@example.com": "refused", "ben@example.com": "sent"}
    assert send(store, channel, hours=100) == {}


def test_one_message_that_fails_does_not_keep_the_others_back(store: Store) -> None:
    alarm(store)

    class Odd(MemoryChannel):
        def send(self, message: EmailMessage, *, key: str) -> None:
            if message["To"] == "ana@example.com":
                raise KeyError(f"private {key}")
            super().send(message, key=key)

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
        def send(self, message: EmailMessage, *, key: str) -> None:
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
    assert digest_period(store, settings, DAY, "ana@example.com", NOW).since == at(-24)
    enqueue_digest(store, settings, DAY, now=at(0.5))
    enqueue_digest(store, settings, date(2026, 3, 12), now=at(49))
    day = date(2026, 3, 13)
    assert digest_period(store, settings, day, "ana@example.com", until).since == at(49)
    assert digest_period(store, settings, day, "ben@example.com", until).since == at(48)
    assert digest_period(store, settings, date(2026, 3, 12), "ana@example.com", at(49)).since == at(
        0.5
    )
    enqueue_digest(store, settings, day, now=at(49))
    assert digest_period(store, settings, day, "cleo@example.com", at(49)).since == at(0.5)
    far = date(2026, 4, 10)
    assert digest_period(store, settings, far, "ana@example.com", at(24 * 31)).since == at(24 * 24)


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
        purpose: Purpose = "audit" if "digest" in str(message["List-Id"]) else "feedback"
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
