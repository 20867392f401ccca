from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import (
    DECIDES,
    NOW,
    RECIPIENTS,
    FakeTagger,
    Labels,
    analyse,
    at,
    config,
    mention,
    put,
    store_in,
    tombstone,
)

from connectors.base import Mention
from listener.alerts import enqueue, find, listing, message_id, save
from listener.config import Config
from listener.store import Store

ASK = "Which espresso machine or Moketto is good for a small office, please?"
PREGUNTA = "¿Qué cafetera me recomendáis para una oficina pequeña?"
BUY = "I bought it"
TAGGER = FakeTagger(
    {
        ASK: Labels(stage="consideration", early=0.8, signals={"comparison": 0.6}),
        PREGUNTA: Labels(stage="awareness", early=0.9),
        BUY: DECIDES,
    }
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def heard(store: Store, *mentions: Mention) -> None:
    put(store, *mentions)
    analyse(store, TAGGER)


def fire(store: Store, settings: Config | None = None, *, hours: float = 1) -> tuple[int, int]:
    chosen = settings or config()
    return save(store, find(store, chosen, now=at(hours)), chosen, now=at(hours))


def outbox(store: Store) -> list[tuple[str, str]]:
    return [
        (row["ref"], row["recipient"]) for row in store.rows("SELECT * FROM deliveries ORDER BY id")
    ]


def test_an_open_conversation_fires_once_for_each_who_wants_alerts(store: Store) -> None:
    heard(store, mention("1", ASK, by="ana"), mention("2", "just talk"))
    assert fire(store) == (1, 1)
    (alert,) = store.rows("SELECT * FROM alerts")
    assert alert["key"] == "early-funnel:forum:1"
    assert (alert["probability"], alert["fate"]) == (0.8, "mailed")
    assert outbox(store) == [
        (str(alert["id"]), "ana@example.com"),
        (str(alert["id"]), "ben@example.com"),
    ]
    assert fire(store) == (0, 0)
    assert len(outbox(store)) == 2


def test_strongest_first(store: Store) -> None:
    heard(store, mention("1", ASK), mention("2", PREGUNTA))
    assert [alert.probability for alert in find(store, config(), now=NOW)] == [0.9, 0.8]
    fire(store)
    assert [row["native_id"] for row in listing(store, limit=9)] == ["2", "1"]
    assert len(listing(store, limit=1)) == 1


def test_judging_again_fires_nothing_new(store: Store) -> None:
    heard(store, mention("1", ASK, by="ana", published_at=at(-1)))
    fire(store)
    heard(store, mention("2", BUY, by="ana", parent_id="1"))
    assert fire(store) == (0, 0)
    heard(store, mention("3", ASK, by="ana", parent_id="1", published_at=at(1)))
    assert store.value("SELECT state FROM conversations") == "early"
    assert fire(store, hours=2) == (0, 0)
    assert store.value("SELECT count(*) FROM alerts") == 1


def test_decided_conversations_do_not_fire(store: Store) -> None:
    heard(
        store,
        mention("1", ASK, by="ana", published_at=at(-1)),
        mention("2", BUY, by="ana", parent_id="1"),
    )
    assert find(store, config(), now=NOW) == []


@pytest.mark.parametrize(("hours", "mailed"), [(71, 1), (72, 1), (73, 0)])
def test_old_conversations_are_listed_and_not_mailed(
    store: Store, hours: float, mailed: int
) -> None:
    heard(store, mention("1", ASK))
    assert fire(store, hours=hours) == (1, mailed)
    assert len(outbox(store)) == 2 * mailed
    assert [row["fate"] for row in listing(store, limit=9)] == ["mailed" if mailed else "listed"]
    assert fire(store, hours=hours) == (0, 0)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("[alerts]\nsources = ['other']", ["3"]),
        ("[alerts]\nlanguages = ['es']", ["2"]),
        ("[alerts]\nlanguages = ['en', 'es']\nsources = ['forum']", ["2", "1"]),
        ("[alerts]\nmax_age_hours = 1", ["2", "1", "3"]),
    ],
)
def test_filters(store: Store, settings: str, expected: list[str]) -> None:
    heard(
        store,
        mention("1", ASK),
        mention("2", PREGUNTA),
        mention("3", ASK, source="other"),
    )
    chosen = config(settings)
    fire(store, chosen)
    assert [row["native_id"] for row in listing(store, limit=9)] == expected


def test_reasons_quote_the_post_word_by_word(store: Store) -> None:
    heard(
        store,
        mention(
            "1", "☕ MOKETTO o una Brisa?", title="¿Qué Cafetera 👍🏽 me recomendáis hoy?", by="ana"
        ),
        mention("2", "no idea", parent_id="1", published_at=at(1)),
    )
    title_and_text = "¿Qué Cafetera 👍🏽 me recomendáis hoy?\n☕ MOKETTO o una Brisa?"
    tags = Labels(
        stage="consideration", early=0.87654, signals={"switching": 0.4, "comparison": 0.9}
    )
    analyse(store, FakeTagger({title_and_text: tags}, version="2"))
    (alert,) = find(store, config(), now=NOW)
    codes = [(reason["code"], reason["value"]) for reason in alert.reasons]
    assert codes[:2] == [("early_probability", 0.877), ("stage", "consideration")]
    assert codes[-3:] == [("signal", "comparison"), ("signal", "switching"), ("replies", 1)]
    quotes = {r["value"]: r["quote"] for r in alert.reasons if r["code"] == "matched"}
    assert quotes == {
        "espresso machine": "Cafetera",
        "Moketto": "MOKETTO",
        "Lumora Brisa": "Brisa",
    }
    assert all(quote in title_and_text for quote in quotes.values())
    save(store, [alert], config(), now=NOW)
    stored = json.loads(store.value("SELECT reasons FROM alerts"))
    assert tuple(stored) == alert.reasons


def test_the_first_place_is_quoted(store: Store) -> None:
    text = "LUMORA or another: is lumora good, is Lumora loud?"
    put(store, mention("1", text))
    analyse(store, FakeTagger({text: Labels(stage="awareness", early=0.8)}))
    (alert,) = find(store, config(), now=NOW)
    assert [r["quote"] for r in alert.reasons if r["code"] == "matched"] == ["LUMORA"]


def test_nobody_to_mail(store: Store) -> None:
    heard(store, mention("1", ASK))
    only_digests = RECIPIENTS.replace('"alerts", ', "").replace('["alerts"]', '["digest"]')
    assert fire(store, config(only_digests)) == (1, 0)
    assert outbox(store) == []
    assert fire(store) == (0, 0)


def test_alert_and_outbox_are_written_together(store: Store) -> None:
    heard(store, mention("1", ASK))
    with store.write() as connection:
        connection.execute(
            "CREATE TRIGGER fault BEFORE INSERT ON deliveries WHEN new.recipient LIKE 'ben%' "
            "BEGIN SELECT RAISE(ABORT, 'no more'); END"
        )
    with pytest.raises(sqlite3.IntegrityError, match="no more"):
        fire(store)
    assert store.value("SELECT count(*) FROM alerts") == 0
    assert outbox(store) == []
    with store.write() as connection:
        connection.execute("DROP TRIGGER fault")
    assert fire(store) == (1, 1)
    assert len(outbox(store)) == 2


def test_an_alert_after_one_that_was_erased_is_mailed_too(store: Store) -> None:
    heard(store, mention("1", ASK))
    fire(store)
    put(store, updates=[tombstone("1")])
    heard(store, mention("2", PREGUNTA))
    assert fire(store) == (1, 1)
    assert len({ref for ref, _ in outbox(store)}) == 2
    assert len(outbox(store)) == 4


def test_enqueue_is_once_per_message_and_person(store: Store) -> None:
    ana, ben, _ = config().recipients
    with store.write() as connection:
        assert enqueue(connection, "alert", "7", ana, now=NOW)
        assert not enqueue(connection, "alert", "7", ana, now=at(1))
        assert enqueue(connection, "alert", "7", ben, now=NOW)
        assert enqueue(connection, "digest", "7", ana, now=NOW)
    rows = store.rows("SELECT message_id FROM deliveries")
    assert len({row["message_id"] for row in rows}) == 3


def test_message_ids_are_stable_and_tell_nothing() -> None:
    one = message_id("alert", "7", "ana@example.com")
    assert one == message_id("alert", "7", "ana@example.com")
    assert one != message_id("alert", "7", "ben@example.com")
    assert "ana" not in one
    assert (one[0], one[-1]) == ("<", ">")
