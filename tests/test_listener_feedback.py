"""Verdicts on alerts: one for each person, CSV files of people, precision and promises per rule."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders import NOW, at, matcher, mention, put, store_in, tombstone

from listener.analyse import match
from listener.feedback import (
    VERDICTS,
    FeedbackError,
    Imported,
    agreed,
    import_csv,
    labels,
    precision,
    record,
    thresholds,
)
from listener.promise import wilson
from listener.store import Store, stamp

TEXT = "Which espresso machine, or a Moketto?"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def alert(
    store: Store, number: int, *, rule: str = "early-funnel", score: int = 80, text: str = TEXT
) -> int:
    """An alert about a post of its own, matched; returns its id."""
    put(store, mention(str(number), text))
    match(store, matcher(), "1")
    mention_id = store.value("SELECT id FROM mentions WHERE native_id = ?", (str(number),))
    with store.write() as connection:
        connection.execute(
            "INSERT INTO conversations (id, source, root_id, started_at, last_at, mentions, "
            "authors, stage, state, early) VALUES (?, 'forum', ?, ?, ?, 1, 1, 'consideration', "
            "'early', 0.8)",
            (number, str(number), stamp(NOW), stamp(NOW)),
        )
        connection.execute(
            "INSERT INTO alerts (id, key, rule, conversation_id, mention_id, probability, score, "
            "reasons, created_at) VALUES (?, ?, ?, ?, ?, 0.8, ?, '[]', ?)",
            (number, str(number), rule, number, mention_id, score, stamp(NOW)),
        )
    return number


def say(store: Store, number: int, verdict: str, by: str = "ana@example.com") -> bool:
    return record(store, number, verdict, by=by, channel="command", now=NOW)


def file(folder: Path, text: str) -> Path:
    path = folder / "verdicts.csv"
    path.write_text(text, "utf-8")
    return path


def relevance(store: Store) -> dict[str, int]:
    return {row["name"]: row["relevant"] for row in store.rows("SELECT * FROM relevance_labels")}


def test_a_person_has_one_verdict_on_an_alert_and_a_later_one_replaces_it(store: Store) -> None:
    alert(store, 1)
    assert say(store, 1, "useful")
    assert not say(store, 1, "useful")
    assert say(store, 1, "useful", by="ben@example.com")
    assert record(store, 1, "late", by="ana@example.com", channel="link", now=at(2))
    rows = store.rows("SELECT * FROM feedback ORDER BY given_by")
    assert [(row["given_by"], row["verdict"], row["channel"], row["at"]) for row in rows] == [
        ("ana@example.com", "late", "link", stamp(at(2))),
        ("ben@example.com", "useful", "command", stamp(NOW)),
    ]
    assert (rows[0]["rule"], rows[0]["score"]) == ("early-funnel", 80)


@pytest.mark.parametrize("number", [2, 0, -1, 2**63, 10**30])
def test_an_alert_that_is_not_there_is_told_with_the_fix(store: Store, number: int) -> None:
    alert(store, 1)
    with pytest.raises(FeedbackError, match=r"no alert .*`listener alerts list`"):
        say(store, number, "useful")
    assert store.value("SELECT count(*) FROM feedback") == 0


def test_other_words_and_nobody_are_refused(store: Store) -> None:
    alert(store, 1)
    with pytest.raises(FeedbackError, match="none of useful, not-useful, late"):
        say(store, 1, "great")
    with pytest.raises(FeedbackError, match="give a name"):
        say(store, 1, "useful", by=" \x00 ")


def test_verdicts_outlive_the_alert(store: Store) -> None:
    alert(store, 1)
    say(store, 1, "useful")
    put(store, updates=[tombstone("1")])
    assert store.value("SELECT count(*) FROM alerts") == 0
    (label,) = labels(store)
    assert (label.alert_id, label.rule, label.useful) == (None, "early-funnel", True)
    with pytest.raises(FeedbackError, match="erased"):
        say(store, 1, "late")


def test_verdicts_teach_which_names_were_meant(store: Store) -> None:
    alert(store, 1)
    say(store, 1, "wrong-brand")
    assert relevance(store) == {"espresso machine": 0, "Moketto": 0}
    say(store, 1, "useful")
    assert relevance(store) == {"espresso machine": 1, "Moketto": 1}
    say(store, 1, "not-useful")
    assert relevance(store) == {}
    say(store, 1, "late", by="ben")
    assert relevance(store) == {}


def test_taking_a_verdict_back_leaves_what_another_person_said_of_the_names(store: Store) -> None:
    alert(store, 1)
    say(store, 1, "useful", by="ana")
    say(store, 1, "wrong-brand", by="ben")
    say(store, 1, "late", by="ana")
    assert relevance(store) == {"espresso machine": 0, "Moketto": 0}


def test_a_file_keeps_the_good_lines_and_names_the_bad_ones(store: Store, tmp_path: Path) -> None:
    alert(store, 1)
    alert(store, 2)
    path = file(
        tmp_path,
        "Alert,note,Verdict,by\n"
        "1,x,useful,\n"
        "9,x,useful,\n"
        '2,"two\nlines",Not a buyer,Ben\n'
        "two,x,useful,\n"
        "2,x,super,\n"
        "2,x,,\n"
        "\n"
        "99999999999999999999999,x,useful,\n"
        "1\n",
    )
    done = import_csv(store, path, by="ana", now=NOW)
    assert (done.changed, done.known, done.blank) == (2, 0, 2)
    assert [fault.partition(":")[0] for fault in done.faults] == [
        "line 3",
        "line 6",
        "line 7",
        "line 10",
    ]
    assert "no alert 9" in done.faults[0]
    assert "not a number" in done.faults[1]
    assert "none of useful" in done.faults[2]
    rows = store.rows("SELECT alert_id, verdict, given_by, channel FROM feedback ORDER BY id")
    assert [tuple(row) for row in rows] == [
        (1, "useful", "ana", "csv"),
        (2, "not-a-buyer", "Ben", "csv"),
    ]
    again = import_csv(store, path, by="ana", now=at(1))
    assert (again.changed, again.known) == (0, 2)
    assert [tuple(row) for row in store.rows("SELECT DISTINCT at FROM feedback")] == [(stamp(NOW),)]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("number", ["alert", "id"])
def test_sheets_of_every_tongue_are_read(
    store: Store, tmp_path: Path, separator: str, number: str
) -> None:
    alert(store, 1)
    text = f"\ufeff{number}{separator}verdict\r\n1{separator}wrong-brand\r\n"
    done = import_csv(store, file(tmp_path, text), by="ana", now=NOW)
    assert done == Imported(changed=1, known=0, blank=0, faults=())


@pytest.mark.parametrize("text", ["", "alert,rating\n1,5\n", "verdict\nuseful\n", "1,useful\n"])
def test_a_file_without_the_columns_is_refused(store: Store, tmp_path: Path, text: str) -> None:
    with pytest.raises(FeedbackError, match="columns alert and verdict"):
        import_csv(store, file(tmp_path, text), by="ana", now=NOW)


def test_a_file_that_cannot_be_read_is_told(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FeedbackError, match="check its name"):
        import_csv(store, tmp_path / "missing.csv", by="ana", now=NOW)
    latin = tmp_path / "latin.csv"
    latin.write_bytes("alert,verdict,año\n".encode("latin-1"))
    with pytest.raises(FeedbackError, match="CSV UTF-8"):
        import_csv(store, latin, by="ana", now=NOW)


def test_a_line_that_is_no_csv_ends_the_reading_and_is_told(store: Store, tmp_path: Path) -> None:
    alert(store, 1)
    text = f"alert,verdict\n1,useful\n1,{'x' * 200_000}\n"
    # The limit is the process's: a file import of another test may have lifted it.
    before = csv.field_size_limit(131_072)
    try:
        done = import_csv(store, file(tmp_path, text), by="ana", now=NOW)
    finally:
        csv.field_size_limit(before)
    assert done.changed == 1
    assert done.faults[0].startswith("line 3: not CSV")


@pytest.mark.parametrize(
    ("verdicts", "together"),
    [
        (["useful"], "useful"),
        (["useful", "useful", "late"], "useful"),
        (["useful", "late"], "late"),
        (["late", "not-useful", "not-useful"], "not-useful"),
        (["not-useful", "wrong-brand"], "wrong-brand"),
    ],
)
def test_several_people_make_one_verdict(verdicts: list[str], together: str) -> None:
    assert agreed(verdicts) == agreed(reversed(verdicts)) == together


def test_precision_per_rule_counts_alerts_not_people(store: Store) -> None:
    said = ("useful", "useful", "useful", "late", "wrong-brand")
    for number, verdict in enumerate(said, start=1):
        alert(store, number)
        say(store, number, verdict)
        say(store, number, verdict, by="ben")
    alert(store, 6, rule="another")
    say(store, 6, "not-a-buyer")
    alert(store, 7)
    another, early = precision(store)
    assert (another.rule, another.n, another.useful, another.precision) == ("another", 1, 0, 0.0)
    assert (early.rule, early.n, early.useful, early.precision) == ("early-funnel", 5, 3, 0.6)
    assert (early.low, early.high) == wilson(3, 5)
    assert early.verdicts == {
        "useful": 3,
        "not-useful": 0,
        "late": 1,
        "wrong-brand": 1,
        "not-a-buyer": 0,
    }
    assert tuple(early.verdicts) == VERDICTS


@dataclass(frozen=True)
class Rule:
    name: str
    precision: float | None


def test_thresholds_come_from_the_verdicts_on_each_rule_that_promises(store: Store) -> None:
    for number in range(1, 13):
        alert(store, number, rule="one", score=90 - number)
        say(store, number, "useful")
    alert(store, 13, rule="two", score=99)
    say(store, 13, "not-useful")
    found = thresholds(store, [Rule("one", 0.8), Rule("two", 0.8), Rule("three", None)])
    assert set(found) == {"one", "two"}
    assert (found["one"].code, found["one"].threshold, found["one"].n) == ("met", 78, 12)
    assert (found["two"].code, found["two"].threshold) == ("too-few-labels", None)
    assert thresholds(store, [Rule("new", 0.5)])["new"].n == 0
