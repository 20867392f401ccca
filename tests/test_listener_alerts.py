from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

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

from connectors.base import Counts, Mention
from listener.alerts import Alert, find, listing, promised, save
from listener.attention import held_back
from listener.config import Config
from listener.outbox import enqueue, message_id
from listener.pipeline import Round
from listener.rules import rules_of
from listener.status import status_rows
from listener.store import Store
from listener.summary import show

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


def fates(store: Store) -> dict[tuple[str, str], tuple[str, str | None]]:
    """By native id of the post and address: what became of the alert, and when it was mailed."""
    return {
        (row["native_id"], row["recipient"]): (row["fate"], row["mailed_at"])
        for row in store.rows(
            "SELECT m.native_id, r.* FROM alert_recipients r JOIN alerts a ON a.id = r.alert_id "
            "JOIN mentions m ON m.id = a.mention_id"
        )
    }


def listed(store: Store, *, hours: float = 1, **filters: Any) -> list[str]:
    rows = listing(store, limit=9, now=at(hours), **filters)
    return [row["native_id"] for row in rows]


def test_an_open_conversation_fires_once_for_each_who_wants_alerts(store: Store) -> None:
    heard(store, mention("1", ASK, by="ana"), mention("2", "just talk"))
    assert fire(store) == (1, 1)
    (alert,) = store.rows("SELECT * FROM alerts")
    assert alert["key"] == "early-funnel:forum:1"
    assert (alert["type"], alert["stage"], alert["urgent"]) == ("early-funnel", "consideration", 0)
    assert alert["probability"] == 0.8
    assert alert["score"] == sum(part["points"] for part in json.loads(alert["parts"]))
    assert fates(store) == {
        ("1", "ana@example.com"): ("mailed", "2026-03-10T13:00:00Z"),
        ("1", "ben@example.com"): ("mailed", "2026-03-10T13:00:00Z"),
    }
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
    assert listed(store) == ["2", "1"]
    assert len(listing(store, limit=1, now=NOW)) == 1


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
    (row,) = listing(store, limit=9, now=at(hours))
    assert row["fate"] == ("mailed" if mailed else "listed")
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
    assert listed(store) == expected


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


# -- the score


def alert(store: Store, settings: Config | None = None, *, hours: float = 1) -> Alert:
    (only,) = find(store, settings or config(), now=at(hours))
    return only


def parts(found: Alert) -> dict[str, tuple[int, Any, str | None]]:
    return {part.code: (part.points, part.value, part.quote) for part in found.score.parts}


def test_the_parts_come_from_the_conversation(store: Store) -> None:
    heard(
        store,
        mention("1", ASK, by="ana"),
        mention("2", "Get a Moketto", by="ben", parent_id="1", published_at=at(0.2)),
        mention("3", "yes, please", by="ana", parent_id="1", published_at=at(0.3)),
    )
    with store.write() as connection:
        connection.execute("UPDATE authors SET followers = 3000 WHERE handle = '@ana'")
        connection.execute("DELETE FROM conversation_events")
        connection.execute(
            "INSERT INTO conversation_events SELECT conversation_id, id, 'recommendation', "
            "'competitor', 'Moketto', published_at, 0.9, 6, 13 FROM mentions WHERE native_id = '2'"
        )
    found = alert(store, hours=2)
    assert parts(found) == {
        "probability": (80, 0.8, None),
        "age": (-2, 2.0, None),
        "replies": (-1, 1, None),
        "options": (-2, 1, "Moketto"),
        "reach": (5, 3000, None),
        "fit": (3, "asked", "espresso machine"),
    }
    assert found.score.points == 83


def test_what_the_asker_names_is_no_option_taken(store: Store) -> None:
    heard(store, mention("1", ASK, by="ana"), mention("2", ASK, by="ana", parent_id="1"))
    with store.write() as connection:
        connection.execute("DELETE FROM conversation_events")
        connection.execute(
            "INSERT INTO conversation_events SELECT conversation_id, id, 'option', 'competitor', "
            "'Moketto', published_at, 0.9, 0, 0 FROM mentions"
        )
    assert parts(alert(store))["options"] == (0, 0, None)
    assert parts(alert(store))["replies"] == (0, 0, None)


def test_replies_that_only_the_platform_knows_count(store: Store) -> None:
    heard(store, mention("1", ASK, counts=Counts(replies=40)))
    assert parts(alert(store))["replies"] == (-9, 40, None)


def test_urgency_is_quoted(store: Store) -> None:
    heard(store, mention("1", f"{ASK}"))
    start = ASK.index("small office")
    with store.write() as connection:
        connection.execute("UPDATE conversations SET urgent = 1")
        connection.execute(
            "INSERT INTO tags VALUES (1, 'phrases', 'urgency', 'deadline', 0.9, ?, ?)",
            (start, start + 12),
        )
    found = alert(store)
    assert found.urgent
    assert parts(found)["urgent"] == (5, None, "small office")


def test_every_quote_is_a_literal_part_of_a_post(store: Store) -> None:
    heard(store, mention("1", ASK, title="¿Cafetera 👍🏽 o Brisa?"))
    analyse(
        store,
        FakeTagger(
            {f"¿Cafetera 👍🏽 o Brisa?\n{ASK}": Labels(stage="awareness", early=0.7)}, version="2"
        ),
    )
    found = alert(store)
    quotes = [part.quote for part in found.score.parts if part.quote]
    assert quotes == ["Brisa"]
    save(store, [found], config(), now=NOW)
    stored = json.loads(store.value("SELECT parts FROM alerts"))
    assert [part["quote"] for part in stored if part["quote"]] == ["Brisa"]
    assert sum(part["points"] for part in stored) == found.score.points


# -- once, and again when it moves


def test_a_stage_that_moves_forward_alerts_again_once(store: Store) -> None:
    heard(store, mention("1", PREGUNTA, by="ana", published_at=at(-2)))
    assert fire(store) == (1, 1)
    asks_on = FakeTagger({PREGUNTA: Labels(stage="consideration", early=0.9)}, version="2")
    analyse(store, asks_on)
    assert fire(store) == (1, 1)
    analyse(store, replace(asks_on, labels=TAGGER.labels, version="3"))
    assert fire(store) == (0, 0)
    keys = [row["key"] for row in store.rows("SELECT key FROM alerts ORDER BY id")]
    assert keys == ["early-funnel:forum:1", "early-funnel:forum:1:consideration"]


def test_what_turns_urgent_alerts_again_once(store: Store) -> None:
    heard(store, mention("1", ASK, by="ana"))
    fire(store)
    with store.write() as connection:
        connection.execute("UPDATE conversations SET urgent = 1")
    assert fire(store) == (1, 1)
    assert fire(store) == (0, 0)
    assert store.value("SELECT max(key) FROM alerts") == "early-funnel:forum:1:urgent"


def test_a_later_alert_takes_the_place_of_one_that_waits(store: Store) -> None:
    one_a_day = config(RECIPIENTS + "[alerts]\nmax_per_day = 1\n")
    heard(store, mention("1", ASK, by="ana"), mention("2", PREGUNTA, by="eva"))
    assert fire(store, one_a_day) == (2, 1)
    with store.write() as connection:
        connection.execute("UPDATE conversations SET urgent = 1 WHERE root_id = '1'")
    assert fire(store, one_a_day, hours=2) == (1, 0)
    assert fire(store, one_a_day, hours=26) == (0, 1)
    assert fire(store, one_a_day, hours=51) == (0, 0)
    assert sorted(fate for fate, _ in fates_by_key(store, "ana@example.com")) == [
        "early-funnel:forum:1:urgent",
        "early-funnel:forum:2",
    ]


def fates_by_key(store: Store, recipient: str) -> list[tuple[str, str]]:
    """Keys and times of what a person was mailed."""
    return [
        (row["key"], row["mailed_at"])
        for row in store.rows(
            "SELECT a.key, r.mailed_at FROM alert_recipients r JOIN alerts a ON a.id = r.alert_id "
            "WHERE r.recipient = ? AND r.fate = 'mailed'",
            (recipient,),
        )
    ]


# -- copies


def copy_of(store: Store, native_id: str, original: str) -> None:
    with store.write() as connection:
        connection.execute(
            "INSERT INTO copies SELECT c.id, o.id FROM mentions c, mentions o "
            "WHERE c.native_id = ? AND o.native_id = ?",
            (native_id, original),
        )


def test_copies_make_one_alert_with_their_number(store: Store) -> None:
    heard(store, *(mention(n, ASK, by=f"u{n}") for n in "1234"))
    copy_of(store, "1", "3")
    copy_of(store, "2", "3")
    assert fire(store) == (2, 2)
    found = {row["native_id"]: row["copies"] for row in listing(store, limit=9, now=at(1))}
    assert found == {"3": 2, "4": 0}
    assert fire(store) == (0, 0)


def test_a_copy_of_what_was_told_of_before_is_silent(store: Store) -> None:
    heard(store, mention("1", ASK, by="u1"))
    fire(store)
    heard(store, mention("2", ASK, by="u2"))
    copy_of(store, "2", "1")
    assert fire(store) == (0, 0)
    (row,) = listing(store, limit=9, now=at(1))
    assert row["copies"] == 1


def test_copies_of_a_post_that_raises_nothing_make_one_alert(store: Store) -> None:
    heard(store, mention("0", "just talk"), mention("1", ASK, by="u1"), mention("2", ASK, by="u2"))
    copy_of(store, "1", "0")
    copy_of(store, "2", "0")
    assert fire(store) == (1, 1)


def test_an_original_that_moves_alerts_again_though_it_has_copies(store: Store) -> None:
    heard(store, mention("1", ASK, by="u1"), mention("2", ASK, by="u2"))
    copy_of(store, "2", "1")
    fire(store)
    with store.write() as connection:
        connection.execute("UPDATE conversations SET urgent = 1")
    assert fire(store) == (1, 1)


# -- several rules and readers

TWO_RULES = """
[[alerts.rules]]
name = "spanish"
languages = ["es"]
recipients = ["Ana"]
[[alerts.rules]]
name = "sure"
minimum = { en = 0.75, es = 0.95 }
recipients = ["ben@example.com"]
"""


def test_each_rule_tells_its_own_readers(store: Store) -> None:
    heard(store, mention("1", ASK), mention("2", PREGUNTA))
    assert fire(store, config(RECIPIENTS + TWO_RULES)) == (2, 2)
    assert {(post, who) for post, who in fates(store)} == {
        ("1", "ben@example.com"),
        ("2", "ana@example.com"),
    }


def test_the_models_threshold_holds_where_a_rule_is_silent(store: Store) -> None:
    heard(store, mention("1", ASK), mention("2", PREGUNTA))
    model = {"en": 0.85, "*": 0.5}
    assert [a.mention_id for a in find(store, config(), thresholds=model, now=NOW)] == [2]
    own = config("[alerts]\nminimum = { en = 0.3 }")
    assert len(find(store, own, thresholds=model, now=NOW)) == 2


def test_a_person_has_a_limit_of_ones_own(store: Store) -> None:
    people = RECIPIENTS.replace('name = "Ben"', 'name = "Ben"\nmax_alerts_per_day = 1')
    settings = config(people + "[alerts]\nmax_per_day = 2\n")
    heard(store, *(mention(f"{n}", ASK, by=f"u{n}") for n in range(4)))
    assert fire(store, settings) == (4, 2)
    sent = [who for (_, who), (fate, _) in fates(store).items() if fate == "mailed"]
    assert sorted(sent) == ["ana@example.com", "ana@example.com", "ben@example.com"]
    assert held_back(store, settings, ["ana@example.com"], now=at(1)) == 2
    assert held_back(store, settings, ["ben@example.com"], now=at(1)) == 3
    assert held_back(store, settings, ["cleo@example.com"], now=at(1)) == 0
    everybody = [person.email for person in settings.recipients]
    assert held_back(store, settings, everybody, now=at(1)) == 3


def test_what_is_held_is_mailed_when_there_is_room_while_open_and_recent(store: Store) -> None:
    settings = config(RECIPIENTS + "[alerts]\nmax_per_day = 1\nmax_age_hours = 60\n")
    heard(store, *(mention(f"{n}", ASK, by=f"u{n}", published_at=at(-n)) for n in range(4)))
    assert fire(store, settings, hours=0) == (4, 1)
    heard(store, mention("9", BUY, by="u1", parent_id="1", published_at=at(1)))
    assert fire(store, settings, hours=24) == (0, 1)
    assert fire(store, settings, hours=48) == (0, 1)
    sent = {post for (post, _), (fate, _) in fates(store).items() if fate == "mailed"}
    assert sent == {"0", "2", "3"}
    heard(store, mention("5", ASK, by="u5", published_at=at(48)))
    assert fire(store, settings, hours=49) == (1, 0)
    assert fire(store, settings, hours=48 + 61) == (0, 0)


def test_mails_wait_for_the_morning(store: Store) -> None:
    quiet = '[[alerts.rules]]\nname = "r"\nquiet_hours = "12:00-15:00"\n'
    settings = config(RECIPIENTS + quiet)  # Madrid is an hour ahead of UTC in March
    heard(store, mention("1", ASK, by="ana"))
    assert fire(store, settings, hours=0) == (1, 0)
    assert held_back(store, settings, ["ana@example.com"], now=at(0)) == 1
    assert fire(store, settings, hours=1.9) == (0, 0)
    assert fire(store, settings, hours=2) == (0, 1)


def test_an_author_who_was_told_of_is_left_alone_for_a_while(store: Store) -> None:
    settings = config(RECIPIENTS + '[[alerts.rules]]\nname = "r"\ncooldown_hours = 10\n')
    heard(store, mention("1", ASK, by="ana"), mention("2", ASK, by="eva"))
    fire(store, settings)
    heard(store, mention("x", PREGUNTA, by="ana", source="other"))
    with store.write() as connection:
        connection.execute("UPDATE mentions SET author_id = 1 WHERE native_id = 'x'")
    assert fire(store, settings, hours=2) == (1, 0)
    assert fire(store, settings, hours=10.9) == (0, 0)
    assert fire(store, settings, hours=11) == (0, 1)


def test_a_reader_who_is_no_longer_named_gets_nothing_that_was_held(store: Store) -> None:
    rule = '[alerts]\nmax_per_day = 1\n[[alerts.rules]]\nname = "r"\n'
    heard(store, mention("1", ASK, by="u1"), mention("2", ASK, by="u2"))
    assert fire(store, config(RECIPIENTS + rule)) == (2, 1)
    assert fire(store, config(RECIPIENTS + rule + "recipients = ['Ben']"), hours=30) == (0, 1)
    assert len(fates_by_key(store, "ana@example.com")) == 1
    assert len(fates_by_key(store, "ben@example.com")) == 2


# -- what people did


@pytest.mark.parametrize(
    ("column", "value", "mailed"),
    [
        ("acknowledged_at", "2026-03-10T12:30:00Z", 0),
        ("snoozed_until", "2026-03-12T00:00:00Z", 0),
        ("snoozed_until", "2026-03-11T00:00:00Z", 1),
    ],
)
def test_snoozed_and_acknowledged_alerts_are_not_mailed(
    store: Store, column: str, value: str, mailed: int
) -> None:
    settings = config(RECIPIENTS + "[alerts]\nmax_per_day = 1\n")
    heard(store, mention("1", ASK, by="u1"), mention("2", PREGUNTA, by="u2"))
    fire(store, settings)
    with store.write() as connection:
        connection.execute(f"UPDATE alerts SET {column} = ? WHERE key LIKE '%:1'", (value,))
    assert held_back(store, settings, ["ana@example.com"], now=at(25)) == mailed
    assert fire(store, settings, hours=25) == (0, mailed)


def test_lists_by_state_rule_and_person(store: Store) -> None:
    heard(store, *(mention(n, ASK, by=f"u{n}", published_at=at(-1)) for n in "12345"))
    fire(store)
    heard(store, mention("9", BUY, by="u5", parent_id="5"))
    with store.write() as connection:
        for native, change in (
            ("2", "acknowledged_at = '2026-03-10T12:30:00Z'"),
            ("3", "snoozed_until = '2026-03-10T14:00:00Z', assignee = 'Eva'"),
            ("4", "assignee = 'Eva'"),
        ):
            connection.execute(f"UPDATE alerts SET {change} WHERE key LIKE '%:{native}'")
    assert listed(store, state="open") == ["1", "4"]
    assert listed(store, state="snoozed") == ["3"]
    assert listed(store, state="open", hours=2) == ["1", "3", "4"]
    assert listed(store, state="snoozed", hours=2) == []
    assert listed(store, state="acknowledged") == ["2"]
    assert listed(store) == ["1", "2", "3", "4", "5"]
    assert listed(store, assignee="eva") == ["3", "4"]
    assert listed(store, rule="Early-Funnel", assignee="Eva", state="open") == ["4"]
    assert listed(store, rule="other") == []
    choices = {row["native_id"]: row["choice"] for row in listing(store, limit=9, now=NOW)}
    assert choices == dict.fromkeys("1234", "open") | {"5": "closed"}


# -- what is said of them


def test_status_and_summary_count_each_alert_once(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config(RECIPIENTS + "[alerts]\nmax_per_day = 1\n")
    old = mention("4", ASK, by="u4", published_at=at(-100))
    heard(store, *(mention(n, ASK, by=f"u{n}") for n in "123"), old)
    fire(store, settings)
    told = {row["what"]: row["value"] for row in status_rows(store, now=at(1))}
    assert (told["alerts"], told["alerts held back"]) == (4, 2)
    show(store, settings, Round(alerts=4))
    said = capsys.readouterr().out
    assert "1 were mailed (at most 1 a day for each), 2 held back for the digest" in said
    assert "1 only listed (older than 72 hours" in said


# -- hostile and large


def test_hostile_names_stay_out_of_keys_and_sql(store: Store) -> None:
    name = "r'; DROP TABLE alerts; --:%"
    settings = config(RECIPIENTS + f'[[alerts.rules]]\nname = "{name}"\n')
    heard(store, mention("1'; --", ASK, by="an'a"))
    assert fire(store, settings) == (1, 1)
    assert fire(store, settings) == (0, 0)
    assert listed(store, rule=name) == ["1'; --"]
    assert listed(store, assignee="' OR 1=1 --") == []


def test_many_candidates_and_many_readers(store: Store) -> None:
    people = "".join(
        f'[[recipients]]\nname = "P{n}"\nemail = "p{n}@example.com"\nreceives = ["alerts"]\n'
        for n in range(30)
    )
    settings = config(people + "[alerts]\nmax_per_day = 3\n")
    heard(store, *(mention(f"{n}", ASK, by=f"u{n}") for n in range(100)))
    assert fire(store, settings) == (100, 3)
    assert store.value("SELECT count(*) FROM alert_recipients") == 3000
    assert store.value("SELECT count(*) FROM deliveries") == 90


def test_a_promised_precision_lifts_the_bar_once_verdicts_bear_it(store: Store) -> None:
    chosen = config(RECIPIENTS + '\n[[alerts.rules]]\nname = "sure"\nprecision = 0.8\n')
    (rule,) = rules_of(chosen)
    assert promised(store, [rule]) == {}

    def judged(count: int, score: int, verdict: str) -> None:
        with store.write() as connection:
            connection.executemany(
                "INSERT INTO feedback (rule, score, verdict, given_by, channel, at) "
                "VALUES ('sure', ?, ?, 'Ana', 'csv', '')",
                [(score, verdict)] * count,
            )

    judged(10, 90, "useful")
    assert promised(store, [rule]) == {}, "ten labels cannot bear it"
    judged(20, 90, "useful")
    judged(20, 80, "not-useful")
    assert promised(store, [rule]) == {"sure": 90}
    heard(store, mention("1", ASK), mention("2", PREGUNTA))
    best, other = find(store, chosen, now=at(1))
    assert best.score.points >= 90 > other.score.points
    save(store, [best, other], chosen, now=at(1))
    fates = {row["conversation_id"]: row["fate"] for row in listing(store, limit=9, now=at(1))}
    assert fates == {best.conversation_id: "mailed", other.conversation_id: "listed"}


def test_the_reranker_orders_the_mails(store: Store) -> None:
    heard(store, mention("1", ASK), mention("2", PREGUNTA))
    chosen = config(RECIPIENTS + "\n[alerts]\nmax_per_day = 1\n")
    better, worse = find(store, chosen, now=at(1))
    assert better.score.points > worse.score.points
    save(store, [replace(better, worth=0.1), replace(worse, worth=0.9)], chosen, now=at(1))
    mailed = {row["conversation_id"]: row["fate"] for row in listing(store, limit=9, now=at(1))}
    assert mailed == {better.conversation_id: "held", worse.conversation_id: "mailed"}
