from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import (
    ASKS,
    NOW,
    PLACE,
    FakeTagger,
    analyse,
    at,
    edit,
    mention,
    put,
    store_in,
    tombstone,
)

from connectors.base import Author, Cost, Counts, Mention, Update
from listener import steps
from listener.ingest import Place, postpone, read_cursor, save_page
from listener.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def count(store: Store, table: str) -> int:
    return int(store.value(f"SELECT count(*) FROM {table}"))


def row(store: Store, native_id: str) -> sqlite3.Row:
    (found,) = store.rows("SELECT * FROM mentions WHERE native_id = ?", (native_id,))
    return found


def found(store: Store, word: str) -> list[str]:
    rows = store.rows(
        "SELECT m.native_id FROM mentions_fts f JOIN mentions m ON m.id = f.rowid "
        "WHERE mentions_fts MATCH ? ORDER BY m.native_id",
        (word,),
    )
    return [one["native_id"] for one in rows]


def index(store: Store) -> list[tuple[Any, ...]]:
    """The stored full-text index, byte for byte."""
    return [tuple(one) for one in store.rows("SELECT id, block FROM mentions_fts_data")]


def work(store: Store, step: str) -> list[str]:
    rows = store.rows(
        "SELECT m.native_id FROM work w JOIN mentions m ON m.id = w.mention_id "
        "WHERE w.step = ? ORDER BY m.native_id",
        (step,),
    )
    return [one["native_id"] for one in rows]


def metrics(native_id: str, hours: float, **counts: int) -> Update:
    return Update(
        source="forum",
        native_id=native_id,
        kind="metrics",
        at=at(hours),
        counts=Counts(**counts),
    )


# -- one page


def test_a_page_is_stored_with_cursor_authors_and_spend(store: Store) -> None:
    one = Mention(
        source="forum",
        native_id="1",
        url="https://forum.example/1",
        title="Help",
        text="Which cafetera?",
        published_at=at(-1),
        author=Author(source="forum", native_id="u1", handle="@ana", name="Ana", followers=7),
        lang="es",
        parent_id="0",
        root_id="0",
        counts=Counts(likes=1, replies=2, shares=3, views=4),
        raw={"at": NOW, "emoji": "☕"},
    )
    cost = Cost(requests=2, resources=10, micro_dollars=500)
    assert save_page(store, PLACE, [one], cursor={"since": "1"}, cost=cost, now=NOW) == 1
    stored = row(store, "1")
    assert stored["published_at"] == "2026-03-10T11:00:00Z"
    assert stored["first_seen_at"] == "2026-03-10T12:00:00Z"
    assert [stored[key] for key in ("likes", "replies", "shares", "views")] == [1, 2, 3, 4]
    assert [stored[key] for key in ("title", "declared_language", "parent_id", "root_id")] == [
        "Help",
        "es",
        "0",
        "0",
    ]
    assert "2026-03-10" in stored["raw"]
    (writer,) = store.rows("SELECT * FROM authors")
    assert (writer["id"], writer["handle"], writer["followers"]) == (stored["author_id"], "@ana", 7)
    (spent,) = store.rows("SELECT requests, resources, micro_dollars FROM spend")
    assert tuple(spent) == (2, 10, 500)
    assert read_cursor(store, PLACE) == ({"since": "1"}, None)


@pytest.mark.parametrize("table", ["mentions", "cursors", "spend"])
def test_a_failure_in_the_middle_keeps_nothing(store: Store, table: str) -> None:
    put(store, mention("old", by="ana"))
    with store.write() as connection:
        connection.execute(
            f"CREATE TRIGGER fault BEFORE INSERT ON {table} "
            "BEGIN SELECT RAISE(ABORT, 'no more'); END"
        )
    with pytest.raises(sqlite3.IntegrityError, match="no more"):
        save_page(
            store,
            PLACE,
            [mention("new", by="ben"), mention("old", "edited", by="ana")],
            updates=[tombstone("other")],
            cursor={"since": "new"},
            cost=Cost(requests=1),
            now=NOW,
        )
    assert (row(store, "old")["text"], count(store, "mentions")) == ("Which espresso machine?", 1)
    assert count(store, "authors") == 1
    assert count(store, "tombstones") == count(store, "spend") == 0
    assert read_cursor(store, PLACE) == (None, None)


def test_an_empty_page_moves_the_cursor_and_costs_nothing(store: Store) -> None:
    assert save_page(store, PLACE, [], cursor={"page": 2}, now=NOW) == 0
    assert read_cursor(store, PLACE)[0] == {"page": 2}
    assert count(store, "spend") == 0


def test_cursors_of_places_are_apart(store: Store) -> None:
    save_page(store, Place("a", "x"), [], cursor={"n": 1}, now=NOW)
    save_page(store, Place("a", "y"), [], cursor={"n": 2}, now=NOW)
    assert read_cursor(store, Place("a", "x"))[0] == {"n": 1}
    assert read_cursor(store, Place("a", "z")) == (None, None)


def test_a_wait_is_remembered_until_the_next_page(store: Store) -> None:
    save_page(store, PLACE, [], cursor={"n": 1}, now=NOW)
    postpone(store, PLACE, at(1), now=NOW)
    assert read_cursor(store, PLACE) == ({"n": 1}, "2026-03-10T13:00:00Z")
    save_page(store, PLACE, [], cursor={"n": 2}, now=at(2))
    assert read_cursor(store, PLACE) == ({"n": 2}, None)


# -- again


def test_duplicates_are_stored_once_whatever_brings_them(store: Store) -> None:
    one, two = mention("1", by="ana"), mention("2", by="ana")
    assert put(store, one, one, two) == 2
    assert put(store, two, mention("3")) == 1
    assert put(store, one, two) == 0
    assert count(store, "mentions") == 3
    assert count(store, "authors") == 1
    assert count(store, "mentions_fts") == 3


def test_the_same_id_at_another_source_is_another_post(store: Store) -> None:
    assert put(store, mention("1"), mention("1", source="other")) == 2


def test_refreshed_figures_touch_neither_index_nor_work(store: Store) -> None:
    steps.announce(store, "match", "1")
    put(store, mention("1", counts=Counts(likes=1, views=9)))
    with store.write() as connection:
        steps.done(connection, "match", [row(store, "1")["id"]])
    before = index(store)
    put(store, mention("1", counts=Counts(likes=5)), now=at(9))
    put(store, updates=[metrics("1", 1, replies=3)])
    stored = row(store, "1")
    assert [stored[key] for key in ("likes", "replies", "views")] == [5, 3, 9]
    assert stored["first_seen_at"] == "2026-03-10T12:00:00Z"
    assert index(store) == before
    assert work(store, "match") == []


def test_metric_samples_are_kept_by_time(store: Store) -> None:
    put(store, mention("1"))
    put(store, updates=[metrics("1", 1, likes=1), metrics("1", 2, likes=2)])
    put(store, updates=[metrics("1", 2, likes=3), metrics("unknown", 2, likes=3)])
    rows = store.rows("SELECT captured_at, likes FROM metrics ORDER BY captured_at")
    assert [tuple(one) for one in rows] == [
        ("2026-03-10T13:00:00Z", 1),
        ("2026-03-10T14:00:00Z", 3),
    ]


def test_an_edit_changes_text_index_and_work(store: Store) -> None:
    for step in ("match", "watch"):
        steps.announce(store, step, "1")
    put(store, mention("1", "about tea", title="Drinks"), mention("2", "about tea"))
    with store.write() as connection:
        connection.execute("DELETE FROM work")
    put(store, updates=[edit("1", "about café")])
    assert row(store, "1")["title"] == "Drinks"
    assert (found(store, "tea"), found(store, "cafe"), found(store, "drinks")) == (
        ["2"],
        ["1"],
        ["1"],
    )
    assert (work(store, "match"), work(store, "watch")) == (["1"], ["1"])
    put(store, mention("2", "about mate"))
    assert found(store, "tea") == []
    assert work(store, "match") == ["1", "2"]


def test_an_edit_that_changes_nothing_makes_no_work(store: Store) -> None:
    steps.announce(store, "match", "1")
    put(store, mention("1", "same", title="t"))
    with store.write() as connection:
        connection.execute("DELETE FROM work")
    put(store, mention("1", "same", title="t"), updates=[edit("1", "same"), edit("9", "new")])
    assert work(store, "match") == []
    assert count(store, "mentions") == 1


def test_known_authors_get_newer_figures_and_lose_none(store: Store) -> None:
    def by(**known: Any) -> Mention:
        return Mention(
            source="forum",
            native_id="1",
            text="x",
            published_at=NOW,
            author=Author(source="forum", native_id="u", **known),
        )

    put(store, by(handle="@old", name="Ana", followers=10))
    put(store, by(handle="@new", followers=20))
    (writer,) = store.rows("SELECT handle, name, followers FROM authors")
    assert tuple(writer) == ("@new", "Ana", 20)


# -- gone


def everything(store: Store) -> str:
    """All that the tables hold; FTS5 drops words of its own when it merges its segments."""
    tables = store.rows(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'mentions_fts%'"
    )
    return "\n".join(
        str(tuple(one)) for table in tables for one in store.rows(f"SELECT * FROM {table['name']}")
    )


def test_a_tombstone_wipes_what_the_person_said(store: Store) -> None:
    said = mention(
        "1",
        "Which espresso machine? zanzibar",
        by="ana",
        title="quetzal",
        url="https://forum.example/ana",
        raw={"text": "zanzibar"},
        counts=Counts(likes=3),
    )
    put(store, said, mention("2", "a Lumora reply", by="ben", parent_id="1"))
    put(store, updates=[metrics("1", 1, likes=4)])
    tagger = FakeTagger({"quetzal\nWhich espresso machine? zanzibar": ASKS})
    analyse(store, tagger)
    put(store, updates=[tombstone("1"), metrics("1", 2, likes=5), edit("1", "zanzibar")])
    wiped = row(store, "1")
    assert wiped["text"] == ""
    for key in ("title", "url", "author_id", "raw", "declared_language"):
        assert wiped[key] is None
    for table in ("matches", "tags", "metrics", "conversation_events"):
        assert store.rows(f"SELECT 1 FROM {table} WHERE mention_id = ?", (wiped["id"],)) == []
    assert found(store, "zanzibar") == []
    analyse(store, tagger)
    left = everything(store)
    assert "zanzibar" not in left
    assert "quetzal" not in left
    assert "ana" not in left
    assert [one["handle"] for one in store.rows("SELECT handle FROM authors")] == ["@ben"]


def test_what_was_taken_down_does_not_come_back(store: Store) -> None:
    said = mention("1", "gone for good", by="ana", counts=Counts(likes=3))
    put(store, said)
    put(store, updates=[tombstone("1")])
    assert put(store, said, mention("2", "stays", by="ben")) == 1
    put(store, said, updates=[edit("1", "gone for good"), metrics("1", 1, likes=9)])
    assert row(store, "1")["text"] == ""
    assert row(store, "1")["likes"] == 3
    assert found(store, "gone") == []
    assert [one["handle"] for one in store.rows("SELECT handle FROM authors")] == ["@ben"]
    assert count(store, "metrics") == 0


def test_a_tombstone_for_an_unknown_post_keeps_it_out(store: Store) -> None:
    put(store, updates=[tombstone("1")])
    assert put(store, mention("1", by="ana")) == 0
    assert count(store, "mentions") == count(store, "authors") == 0


def test_a_page_that_brings_a_post_and_its_end_keeps_nothing_of_it(store: Store) -> None:
    put(store, mention("1", "short life", by="ana"), updates=[tombstone("1")])
    assert row(store, "1")["text"] == ""
    assert count(store, "authors") == 0


def test_authors_of_other_posts_stay(store: Store) -> None:
    put(store, mention("1", by="ana"), mention("2", by="ana"))
    put(store, updates=[tombstone("1")])
    assert count(store, "authors") == 1
    put(store, updates=[tombstone("2"), tombstone("2")])
    assert count(store, "authors") == 0
    assert count(store, "tombstones") == 2


# -- hostile input


def test_text_that_sqlite_cannot_hold_is_cleaned(store: Store) -> None:
    hostile = "nul \x00 and lone \ud800 surrogate"
    one = Mention(
        source="forum",
        native_id="1\x00\udfff",
        text=hostile,
        title=hostile,
        url=hostile,
        lang="e\ud800s",
        parent_id=hostile,
        root_id=hostile,
        published_at=NOW,
        author=Author(source="forum", native_id="u\x00\ud800", handle=hostile, name=hostile),
        raw={"text": hostile, hostile: [hostile]},
    )
    assert put(store, one) == 1
    (stored,) = store.rows("SELECT * FROM mentions")
    assert stored["text"] == "nul  and lone ? surrogate"
    assert stored["author_id"] is not None
    assert found(store, "surrogate") == ["1?"]
    put(
        store,
        updates=[
            Update(source="forum", native_id="1\x00\udfff", kind="edit", at=NOW, text="new \ud800"),
        ],
    )
    assert store.value("SELECT text FROM mentions") == "new ?"
    put(
        store,
        updates=[
            Update(
                source="forum", native_id="1\x00\udfff", kind="tombstone", at=NOW, reason=hostile
            )
        ],
    )
    assert store.value("SELECT text FROM mentions") == ""


@pytest.mark.parametrize("text", ["", "☕" * 50_000, "a" * 50_000, "'; DROP TABLE mentions; --"])
def test_texts_come_back_as_they_were(store: Store, text: str) -> None:
    put(store, mention("1", text))
    assert row(store, "1")["text"] == text
    assert store.value("SELECT count(*) FROM mentions") == 1


def test_times_far_away_are_kept_as_given(store: Store) -> None:
    put(store, mention("1", published_at=NOW + timedelta(days=3000)))
    assert row(store, "1")["published_at"] == "2034-05-27T12:00:00Z"


def test_reading_goes_on_while_a_page_is_written(store: Store) -> None:
    put(store, mention("1"))
    with Store(store.path) as reader, store.write() as connection:
        connection.execute("UPDATE mentions SET text = 'changed'")
        assert row(reader, "1")["text"] == "Which espresso machine?"
    assert row(store, "1")["text"] == "changed"
