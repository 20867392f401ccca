from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
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
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import Author, Cost, Counts, Mention, Update
from connectors.twarc import page_mentions
from listener import steps
from listener.ingest import Place, postpone, read_cursor, save_page
from listener.store import Store, stamp


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


# -- revisions


def revisions(store: Store, native_id: str = "1") -> list[tuple[Any, ...]]:
    rows = store.rows(
        "SELECT r.replaced_at, r.title, r.text FROM revisions r "
        "JOIN mentions m ON m.id = r.mention_id WHERE m.native_id = ? ORDER BY r.id",
        (native_id,),
    )
    return [tuple(one) for one in rows]


def test_an_edit_keeps_what_was_said_before(store: Store) -> None:
    tally = Counter[str]()
    put(store, mention("1", "one", title="t"))
    said = Update(source="forum", native_id="1", kind="edit", at=at(2), text="two")
    new = save_page(store, PLACE, [], updates=[said], cursor=None, tally=tally, now=at(5))
    assert (new, tally["edited"]) == (0, 1)
    assert revisions(store) == [("2026-03-10T14:00:00Z", "t", "one")]
    assert put(store, mention("1", "three", title="u"), now=at(9)) == 0
    assert revisions(store)[1:] == [("2026-03-10T21:00:00Z", "t", "two")]
    stored = row(store, "1")
    assert (stored["title"], stored["text"]) == ("u", "three")
    assert stored["first_seen_at"] == "2026-03-10T12:00:00Z"


def test_the_same_text_again_is_no_revision(store: Store) -> None:
    put(store, mention("1", "one"))
    put(store, mention("1", "one"), updates=[edit("1", "one")], now=at(1))
    assert revisions(store) == []
    put(store, mention("1", "two"), updates=[edit("1", "two")], now=at(2))
    put(store, mention("1", "two"), now=at(3))
    assert [text for _, _, text in revisions(store)] == ["one"]


def test_a_removal_takes_the_revisions_along(store: Store) -> None:
    put(store, mention("1", "one"))
    put(store, mention("1", "two"), now=at(1))
    put(store, updates=[tombstone("1")], now=at(2))
    assert count(store, "revisions") == 0


def test_an_older_edit_that_comes_late_changes_nothing(store: Store) -> None:
    def says(text: str, hours: float) -> Update:
        return Update(source="forum", native_id="1", kind="edit", at=at(hours), text=text)

    put(store, mention("1", "one"))
    put(store, updates=[says("three", 3), says("two", 2)], now=at(5))
    assert row(store, "1")["text"] == "three"
    assert [text for _, _, text in revisions(store)] == ["one"]
    # A clock that runs ahead must not keep later edits out.
    put(store, updates=[says("four", 9999)], now=at(6))
    put(store, updates=[says("five", 7)], now=at(8))
    assert row(store, "1")["text"] == "five"


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"edited_at": None}, {"edited_at": "2026-03-10T13:00:00Z"}),
        ({"edited": False}, {"edited": at(1).timestamp()}),
        ({"updatedAt": "2026-03-10T12:10:00Z"}, {"updatedAt": "2026-03-10T12:20:00Z"}),
        (
            {"edit_history_tweet_ids": ["1"], "created_at": "2026-03-10T12:00:00.000Z"},
            {"edit_history_tweet_ids": ["1", "2"], "created_at": "2026-03-10T12:20:00.000Z"},
        ),
    ],
)
def test_of_two_versions_with_a_time_the_newer_one_stays(
    store: Store, older: dict[str, Any], newer: dict[str, Any]
) -> None:
    first, second = mention("1", "first", raw=older), mention("1", "second", raw=newer)
    put(store, second, first)
    put(store, first, now=at(9))
    assert (row(store, "1")["text"], revisions(store)) == ("second", [])
    put(store, mention("2", "first", raw=older), now=at(10))
    put(store, mention("2", "second", raw=newer), now=at(11))
    put(store, mention("2", "first", raw=older), now=at(12))
    assert row(store, "2")["text"] == "second"
    assert len(revisions(store, "2")) == 1


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_versions_in_any_order_end_with_the_newest(order: list[int]) -> None:
    with TemporaryDirectory() as folder, closing(Store(Path(folder) / "listener.db")) as store:
        for version in order:
            raw = {"edited_at": stamp(at(version))}
            put(store, mention("1", f"version {version}", raw=raw), now=at(9))
        newest = [one for n, one in enumerate(order) if one > max(order[:n], default=-1)]
        assert row(store, "1")["text"] == f"version {newest[-1]}"
        assert [text for _, _, text in revisions(store)] == [f"version {n}" for n in newest[:-1]]


def test_a_version_without_a_time_is_the_newer_one_when_it_comes(store: Store) -> None:
    put(store, mention("1", "dated", raw={"edited_at": "2026-03-10T12:30:00Z"}))
    put(store, mention("1", "undated", raw={"title": "x"}), now=at(1))
    assert row(store, "1")["text"] == "undated"
    put(store, mention("1", "again", raw={"edited_at": "nonsense"}), now=at(2))
    assert row(store, "1")["text"] == "undated"


def test_versions_of_a_post_on_x_are_one_mention(store: Store) -> None:
    def given(number: str, text: str, minute: int, history: list[str]) -> Mention:
        post = {
            "id": number,
            "text": text,
            "created_at": f"2026-03-10T12:{minute:02}:00.000Z",
            "edit_history_tweet_ids": history,
        }
        (found,) = page_mentions({"data": [post]}, source="x", now=at(1)).mentions
        return found

    first = given("1899000000000000001", "first", 0, ["1899000000000000001"])
    history = ["1899000000000000001", "1899000000000000777"]
    second = given("1899000000000000777", "second", 20, history)
    assert put(store, first, now=at(1)) == 1
    assert put(store, second, now=at(2)) == 0
    assert put(store, first, now=at(3)) == 0
    (stored,) = store.rows("SELECT native_id, text FROM mentions")
    assert tuple(stored) == ("1899000000000000001", "second")
    assert revisions(store, stored["native_id"]) == [("2026-03-10T12:20:00Z", None, "first")]


# -- firehose


def test_a_firehose_leaves_no_trace_of_posts_never_stored(store: Store) -> None:
    put(store, mention("1", "kept"))
    removals = [tombstone("1"), *(tombstone(str(n)) for n in range(2, 50))]
    tally = Counter[str]()
    save_page(
        store, PLACE, [], updates=removals, cursor=None, firehose=True, tally=tally, now=at(1)
    )
    assert [one["native_id"] for one in store.rows("SELECT native_id FROM tombstones")] == ["1"]
    assert row(store, "1")["text"] == ""
    assert tally["removed"] == 1


def test_what_runs_within_the_page_fails_with_it(store: Store) -> None:
    seen: list[int] = []

    def within(_: sqlite3.Connection, new: int) -> None:
        seen.append(new)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        save_page(store, PLACE, [mention("1")], cursor={"n": 1}, within=within, now=NOW)
    assert seen == [1]
    assert count(store, "mentions") == 0
    assert read_cursor(store, PLACE) == (None, None)


def test_a_raw_record_that_is_no_json_is_left_out(store: Store) -> None:
    nested: dict[str, Any] = {}
    for _ in range(100_000):
        nested = {"a": nested}
    records = {"1": {"n": float("inf")}, "2": {"n": float("nan")}, "3": nested, "4": {"n": 1.5}}
    put(store, *(mention(one, raw=raw) for one, raw in records.items()))
    found = store.rows("SELECT raw FROM mentions ORDER BY native_id")
    assert [one["raw"] for one in found] == [None, None, None, '{"n": 1.5}']
