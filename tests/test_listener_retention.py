from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders import (
    ASKS,
    RECIPIENTS,
    FakeTagger,
    MemoryChannel,
    analyse,
    at,
    config,
    mention,
    put,
    store_in,
)

from listener import retention
from listener.alerts import find, save
from listener.config import Retention
from listener.deliver import deliver
from listener.retention import prune
from listener.steps import Stopped
from listener.store import Store, stamp

ASK = "Which espresso machine is good?"
TAGGER = FakeTagger({ASK: ASKS})
DAY = 24.0
TWO_DAYS = Retention(mentions_days=2, raw_days=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def silent(_: int) -> None:
    """Nobody looks on."""


def outbox(store: Store) -> Path:
    return store.path.parent / "outbox"


def age(
    store: Store, days: float, settings: Retention = TWO_DAYS, tick: Callable[[int], None] = silent
) -> int:
    return prune(store, settings, outbox=outbox(store), now=at(days * DAY), tick=tick)


def ids(store: Store, where: str = "true") -> list[str]:
    rows = store.rows(f"SELECT native_id FROM mentions WHERE {where} ORDER BY native_id")
    return [row["native_id"] for row in rows]


def count(store: Store, table: str) -> int:
    return int(store.value(f"SELECT count(*) FROM {table}"))


def test_age_counts_from_first_sight(store: Store) -> None:
    put(store, mention("published long ago", published_at=at(-900 * DAY)), now=at(DAY))
    put(store, mention("seen long ago", published_at=at(900 * DAY)), now=at(0))
    put(store, mention("seen long ago"), now=at(DAY))
    assert age(store, 2) == 0
    assert age(store, 2.5) == 1
    assert ids(store) == ["published long ago"]
    assert age(store, 4) == 1
    assert ids(store) == []


def test_raw_records_go_first(store: Store) -> None:
    put(store, mention("1", raw={"a": 1}), now=at(0))
    put(store, mention("2", raw={"a": 1}), now=at(DAY))
    assert age(store, 1.5) == 0
    assert ids(store) == ["1", "2"]
    assert ids(store, "raw IS NOT NULL") == ["2"]


def test_zero_keeps_for_ever(store: Store) -> None:
    put(store, mention("1", raw={"a": 1}))
    assert age(store, 9999, Retention(mentions_days=0, raw_days=0)) == 0
    assert ids(store, "raw IS NOT NULL") == ["1"]
    assert age(store, 9999, Retention(mentions_days=0, raw_days=1)) == 0
    assert ids(store, "raw IS NULL") == ["1"]


def test_everything_about_it_goes(store: Store) -> None:
    put(store, mention("1", ASK, by="ana", raw={"a": 1}))
    analyse(store, TAGGER)
    save(store, find(store, config(), now=at(0)), config(), now=at(0))
    assert age(store, 3) == 1
    for table in (
        *("mentions", "authors", "conversations", "conversation_events", "alerts"),
        *("matches", "tags", "work"),
    ):
        assert count(store, table) == 0, table
    assert store.rows("SELECT rowid FROM mentions_fts WHERE mentions_fts MATCH 'espresso'") == []
    assert store.rows("SELECT hour FROM rollup_stale") != []


def test_authors_with_other_posts_stay(store: Store) -> None:
    put(store, mention("1", by="ana"), mention("2", by="ben"), now=at(0))
    put(store, mention("3", by="ana"), now=at(DAY))
    age(store, 2.5)
    assert [row["handle"] for row in store.rows("SELECT handle FROM authors")] == ["@ana"]


def test_a_thinned_conversation_is_judged_again(store: Store) -> None:
    put(store, mention("1", ASK, by="ana"), now=at(0))
    put(
        store,
        mention("2", "no idea", by="ben", parent_id="1", published_at=at(1)),
        mention("3", "me neither", by="cleo", parent_id="1", published_at=at(2)),
        now=at(DAY),
    )
    analyse(store, TAGGER)
    assert store.value("SELECT state FROM conversations") == "early"
    assert age(store, 2.5) == 1
    analyse(store, TAGGER)
    (row,) = store.rows("SELECT * FROM conversations")
    assert (row["state"], row["mentions"], row["authors"]) == ("quiet", 2, 2)
    assert row["early_mention_id"] is None
    assert row["started_at"] == "2026-03-10T13:00:00Z"


def test_a_message_about_what_has_gone_is_not_sent(store: Store) -> None:
    put(store, mention("1", ASK))
    analyse(store, TAGGER)
    settings = config(RECIPIENTS)
    save(store, find(store, settings, now=at(0)), settings, now=at(0))
    age(store, 3)
    channel = MemoryChannel()
    assert deliver(store, settings, {"outbox": channel}, now=at(3 * DAY)) == {"stale": 2}
    assert channel.sent == []


@pytest.mark.parametrize("size", [1, 2, 100])
def test_batches(store: Store, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(retention, "_BATCH", size)
    put(store, mention("0"), *(mention(str(n), by=f"a{n}", parent_id="0") for n in range(1, 5)))
    analyse(store, TAGGER)
    ticks: list[int] = []
    assert age(store, 3, tick=ticks.append) == 5
    assert sum(ticks) == 5
    assert max(ticks) <= size
    assert ids(store) == []
    assert count(store, "conversations") == count(store, "authors") == 0


def test_a_stop_in_the_middle_leaves_a_sound_database(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)
    put(store, mention("0", ASK), *(mention(str(n), parent_id="0") for n in range(1, 5)))
    analyse(store, TAGGER)

    def stop(_: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        age(store, 3, tick=stop)
    assert count(store, "mentions") == 3
    analyse(store, TAGGER)
    assert store.value("SELECT mentions FROM conversations") == 3
    assert age(store, 3) == 3
    assert store.rows("PRAGMA foreign_key_check") == []


# -- records of what was done


LOGS = Retention(mentions_days=0, raw_days=0, log_days=2)


def test_records_go_by_their_age_and_the_money_stays(store: Store) -> None:
    with store.write() as connection:
        for days in (0, 3):
            when = {"at": stamp(at(days * DAY)), "hour": stamp(at(days * DAY))[:13]}
            for table, sql in {
                "runs": "(source, query, started_at, status, pages, returned, kept, new, warnings) "
                "VALUES ('s', '', :at, 'ok', 1, 1, 1, 1, 0)",
                "spend": "(at, source, query, requests, resources, micro_dollars) "
                "VALUES (:at, 's', '', 1, 1, 5)",
                "coverage": "(hour, source, query) VALUES (:hour, 's', '')",
                "coverage_gaps": "VALUES ('s', '', :at, :at)",
                "coverage_places": "(source, query, since, asked_at) VALUES (:at, '', :at, :at)",
                "job_runs": "VALUES ('digest', :at, :at, :at, 'done', NULL)",
            }.items():
                connection.execute(f"INSERT INTO {table} {sql}", when)
        connection.execute(
            "INSERT INTO job_runs VALUES ('old', 'x', '2020-01-01T00:00:00Z', NULL, 'done', NULL)"
        )
    age(store, 4, LOGS)
    tables = ("runs", "coverage", "coverage_gaps", "coverage_places", "job_runs", "spend")
    assert [count(store, table) for table in tables] == [1, 1, 1, 1, 2, 2]
    age(store, 400, Retention(mentions_days=0, raw_days=0, log_days=0))
    assert count(store, "runs") == 1


def test_sent_messages_go_and_waiting_ones_stay(store: Store) -> None:
    with store.write() as connection:
        for recipient, status in (("a", "sent"), ("b", "waiting"), ("c", "refused")):
            connection.execute(
                "INSERT INTO deliveries (kind, ref, recipient, message_id, status, created_at, "
                "next_try_at) VALUES ('alert', '1', ?, 'm', ?, ?, ?)",
                (recipient, status, stamp(at(0)), stamp(at(0))),
            )
    age(store, 3, LOGS)
    assert store.value("SELECT group_concat(recipient) FROM deliveries") == "b"


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        (Retention(mentions_days=0, raw_days=0, log_days=0), 4),
        (Retention(mentions_days=0, raw_days=0, log_days=2), 2),
        (Retention(mentions_days=2, raw_days=0, log_days=0), 2),
        (Retention(mentions_days=9, raw_days=0, log_days=2), 2),
    ],
)
def test_files_of_mails_are_kept_no_longer_than_what_they_quote(
    store: Store, settings: Retention, left: int
) -> None:
    folder = outbox(store)
    folder.mkdir()
    for name, days in (("alert-1-a", 0), ("digest-2026-03-10-a", 3)):
        for ending in (".eml", ".html"):
            (folder / f"{name}{ending}").write_text("post")
            os.utime(folder / f"{name}{ending}", (at(days * DAY).timestamp(),) * 2)
    (folder / "mine.eml").write_text("mine")
    os.utime(folder / "mine.eml", (0, 0))
    age(store, 4, settings)
    assert len(list(folder.iterdir())) == left + 1
    assert (folder / "mine.eml").exists()


def test_words_of_what_has_gone_leave_the_file(store: Store) -> None:
    for n in range(300):
        put(store, mention(str(n), f"zanzibar{n}end", by=f"quetzal{n}"), now=at(n % 2 * 2 * DAY))
    put(store, mention("raw", raw={"said": "tucan"}), now=at(2 * DAY))
    assert age(store, 3.5) == 150
    log = store.path.with_name(store.path.name + "-wal")
    data = store.path.read_bytes() + log.read_bytes()
    for word in (rb"zanzibar(\d+)end", rb"@quetzal(\d+)"):
        assert {int(one) % 2 for one in re.findall(word, data)} == {1}
    assert b"tucan" not in data
    assert b"zanzibar299end" in data
