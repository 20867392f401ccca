"""The blind audit: who is drawn and with what chance, judging, and what recall is told from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from builders import at, mention, put, store_in, tombstone

from listener.audit import (
    LEAST_ALERTS,
    LEAST_AUDITED,
    Audited,
    draw,
    estimate,
    import_csv,
    judge,
    recall,
    stratum,
    waiting,
)
from listener.feedback import FeedbackError, record
from listener.store import Store, stamp

KEY = "00" * 32
FIRST = at(0)
DUE = at(48)
"""Two days after NOW: what was heard of at NOW is settled."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = store_in(tmp_path)
    for one in found:
        with one.write() as connection:
            connection.execute("INSERT INTO state VALUES ('audit.key', ?)", (KEY,))
        yield one


def heard(
    store: Store,
    early: dict[str, float],
    *,
    hours: float = 0,
    followed: bool = True,
    roots: dict[str, str] | None = None,
) -> None:
    """Posts with these probabilities of early, each a conversation of its own but for `roots`."""
    texts = {name: f"Which espresso machine, {name}?" for name in early}
    put(store, *(mention(name, text) for name, text in texts.items()), now=at(hours))
    about = '[["category", "espresso machine"]]' if followed else "[]"
    with store.write() as connection:
        for name, probability in early.items():
            root = (roots or {}).get(name, name)
            connection.execute(
                "INSERT OR IGNORE INTO conversations (source, root_id, started_at, last_at, "
                "mentions, authors, stage, state, early, about) "
                "VALUES ('forum', ?, ?, ?, 1, 1, 'none', 'quiet', 0, ?)",
                (root, stamp(FIRST), stamp(FIRST), about),
            )
            connection.execute(
                "UPDATE mentions SET conversation_id = (SELECT id FROM conversations "
                "WHERE root_id = ?) WHERE native_id = ?",
                (root, name),
            )
            connection.execute(
                "INSERT INTO tags (mention_id, tagger, kind, label, score) "
                "SELECT id, 'funnel', 'early', '1', ? FROM mentions WHERE native_id = ?",
                (probability, name),
            )


def alert(store: Store, native_id: str, kind: str = "early-funnel") -> int:
    with store.write() as connection:
        made = connection.execute(
            "INSERT INTO alerts (key, rule, type, conversation_id, mention_id, probability, score, "
            "reasons, created_at) SELECT native_id, 'mine', ?, conversation_id, id, 0.9, 90, '[]', "
            "? FROM mentions WHERE native_id = ?",
            (kind, stamp(FIRST), native_id),
        ).lastrowid
    assert made is not None
    return made


def drawn(store: Store) -> list[str]:
    return [
        row["native_id"]
        for row in store.rows(
            "SELECT m.native_id FROM audit x JOIN mentions m ON m.id = x.mention_id ORDER BY x.id"
        )
    ]


def many(count: int, probability: float = 0.1, prefix: str = "p") -> dict[str, float]:
    return {f"{prefix}{number}": probability for number in range(count)}


def test_strata_cut_the_probability_in_five() -> None:
    assert [stratum(p) for p in (0, 0.19, 0.2, 0.5, 0.79, 0.8, 1)] == [0, 0, 1, 2, 3, 4, 4]


def test_two_in_a_hundred_are_drawn_once(store: Store) -> None:
    heard(store, many(200))
    assert draw(store, now=DUE) == 4
    first = drawn(store)
    assert len(set(first)) == 4
    assert [row["weight"] for row in store.rows("SELECT * FROM audit")] == pytest.approx([50] * 4)
    assert draw(store, now=DUE) == 0
    assert draw(store, now=at(49)) == 0
    assert draw(store, now=at(24 * 30)) == 0
    assert drawn(store) == first


def test_nothing_is_drawn_before_it_has_settled_for_a_day(store: Store) -> None:
    heard(store, many(10))  # heard at noon of one day
    assert draw(store, now=at(35.9), share=1) == 0  # the next day before midnight
    assert draw(store, now=at(36), share=1, most=100) == 10  # the midnight after it


def test_nothing_is_drawn_while_posts_wait_to_be_read(store: Store) -> None:
    heard(store, many(10))
    with store.write() as connection:
        connection.execute("INSERT INTO work SELECT 'watch', id FROM mentions LIMIT 1")
    assert draw(store, now=DUE, share=1, most=100) == 0
    with store.write() as connection:
        connection.execute("DELETE FROM work")
    assert draw(store, now=DUE, share=1, most=100) == 10


def test_only_followed_conversations_without_an_alert_take_part(store: Store) -> None:
    heard(store, {"open": 0.1, "alerted": 0.9, "spike": 0.1, "gone": 0.1})
    heard(store, {"off-topic": 0.3}, followed=False)
    alert(store, "alerted")
    alert(store, "spike", kind="crisis")
    put(store, updates=[tombstone("gone")])
    draw(store, now=DUE, share=1, most=100)
    assert sorted(drawn(store)) == ["open", "spike"]


def test_a_conversation_is_shown_by_its_likeliest_post_and_only_once(store: Store) -> None:
    roots = {"reply": "root", "later": "root"}
    heard(store, {"root": 0.1, "reply": 0.5}, roots=roots)
    draw(store, now=DUE, share=1, most=100)
    assert drawn(store) == ["reply"]
    heard(store, {"later": 0.9, "fresh": 0.1}, hours=48, roots=roots)
    draw(store, now=at(100), share=1, most=100)
    assert drawn(store) == ["reply", "fresh"]


def test_a_day_has_a_limit_and_its_weights_know_it(store: Store) -> None:
    heard(store, many(400))
    assert draw(store, now=DUE, most=3) == 3
    weights = [row["weight"] for row in store.rows("SELECT weight FROM audit")]
    assert weights == [pytest.approx(400 / 3)] * 3


def test_uncertain_posts_are_drawn_more_often_and_count_for_less(store: Store) -> None:
    heard(store, many(100, 0.05) | many(100, 0.5, "q"))
    draw(store, now=DUE, share=0.2, most=100)
    rows = store.rows("SELECT stratum, weight FROM audit")
    counts = Counter(row["stratum"] for row in rows)
    assert counts == {0: 8, 2: 32}
    assert {row["stratum"]: row["weight"] for row in rows} == pytest.approx({0: 12.5, 2: 3.125})


def test_every_post_is_drawn_with_the_chance_that_is_stored(tmp_path: Path) -> None:
    early = {"a": 0.05, "b": 0.1, "c": 0.3, "d": 0.5, "e": 0.9}
    times: Counter[str] = Counter()
    chances: dict[str, float] = {}
    rounds = 400
    for store in store_in(tmp_path):
        store.rows("PRAGMA synchronous = OFF")  # hundreds of short writes
        heard(store, early)
        for number in range(rounds):
            with store.write() as connection:
                connection.execute("DELETE FROM audit")
                connection.execute("DELETE FROM state")
                connection.execute("INSERT INTO state VALUES ('audit.key', ?)", (f"{number:064x}",))
            assert draw(store, now=DUE, share=0.4) == 2
            for row in store.rows(
                "SELECT m.native_id, x.weight FROM audit x JOIN mentions m ON m.id = x.mention_id"
            ):
                times[row["native_id"]] += 1
                chances[row["native_id"]] = 1 / row["weight"]
    assert sum(chances.values()) == pytest.approx(2)
    for name, chance in chances.items():
        assert times[name] / rounds == pytest.approx(chance, abs=4 * 0.5 / rounds**0.5)


def test_the_choice_hangs_on_the_key_alone(tmp_path: Path) -> None:
    found = []
    for folder, key in (("one", KEY), ("two", KEY), ("three", "11" * 32)):
        (tmp_path / folder).mkdir()
        for store in store_in(tmp_path / folder):
            with store.write() as connection:
                connection.execute("INSERT INTO state VALUES ('audit.key', ?)", (key,))
            names = many(300)
            heard(store, names if folder == "one" else dict(reversed(names.items())))
            draw(store, now=DUE)
            found.append(drawn(store))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_key_is_made_when_there_is_none(tmp_path: Path) -> None:
    keys = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for store in store_in(tmp_path / folder):
            draw(store, now=DUE)
            keys.append(store.value("SELECT value FROM state WHERE key = 'audit.key'"))
    assert len(set(keys)) == 2
    assert all(len(bytes.fromhex(key)) == 32 for key in keys)


def test_what_waits_is_shown_without_the_opinion_of_the_model(store: Store) -> None:
    heard(store, {"a": 0.61, "b": 0.1})
    draw(store, now=DUE, share=1, most=100)
    rows = waiting(store, limit=9)
    assert {row["post"] for row in rows} == {
        "Which espresso machine, a?",
        "Which espresso machine, b?",
    }
    for row in rows:
        assert row["verdict"] == ""
        assert not {"probability", "stratum", "weight", "early", "stage", "score"} & set(row)
    assert len(waiting(store, limit=1)) == 1
    judge(store, rows[0]["id"], "right", by="ana", now=DUE)
    assert [row["id"] for row in waiting(store, limit=9)] == [rows[1]["id"]]
    put(store, updates=[tombstone(rows[1]["native_id"])])
    assert waiting(store, limit=9) == []


def test_verdicts_replace_and_bad_ones_are_told(store: Store) -> None:
    heard(store, {"a": 0.1})
    draw(store, now=DUE, share=1)
    number = waiting(store, limit=1)[0]["id"]
    assert judge(store, number, "missed", by="ana", now=DUE)
    assert not judge(store, number, "missed", by="ana", now=DUE)
    assert judge(store, number, "right", by="ana", now=DUE)
    row = store.rows("SELECT * FROM audit")[0]
    assert (row["missed"], row["given_by"], row["judged_at"]) == (0, "ana", stamp(DUE))
    for wrong in (number + 1, 0, 2**63):
        with pytest.raises(FeedbackError, match="`listener audit list`"):
            judge(store, wrong, "missed", by="ana", now=DUE)
    with pytest.raises(FeedbackError, match="none of missed, right"):
        judge(store, number, "useful", by="ana", now=DUE)


def test_a_sheet_of_verdicts_is_taken_as_far_as_it_is_good(store: Store, tmp_path: Path) -> None:
    heard(store, {"a": 0.1, "b": 0.1})
    draw(store, now=DUE, share=1, most=9)
    one, two = (row["id"] for row in waiting(store, limit=2))
    path = tmp_path / "sheet.csv"
    path.write_text(f"id,verdict,post\n{one},missed,x\n{two},,y\n99,right,z\n1,no,z\n", "utf-8")
    done = import_csv(store, path, by="ana", now=DUE)
    assert (done.changed, done.known, done.blank) == (1, 0, 1)
    assert [fault.partition(":")[0] for fault in done.faults] == ["line 4", "line 5"]
    assert import_csv(store, path, by="ana", now=DUE).known == 1


def rows(stratum: int, weight: float, missed: int, right: int, unjudged: int = 0) -> list[Audited]:
    said = [True] * missed + [False] * right + [None] * unjudged
    return [Audited(stratum, weight, one) for one in said]


def test_recall_counts_each_missed_one_for_those_that_it_stands_for() -> None:
    sample = rows(0, 50, 1, 29) + rows(2, 10, 4, 16)
    found = estimate(sample, [True] * 60 + [False] * 20 + [None] * 20)
    assert found.code == "known"
    assert found.missed == pytest.approx(50 + 40)
    assert found.useful == pytest.approx(75)
    assert found.recall == pytest.approx(75 / 165)
    assert (found.drawn, found.judged, found.alerts_judged) == (50, 50, 80)
    assert found.low is not None
    assert found.recall is not None
    assert found.high is not None
    assert 0 < found.low < found.recall < found.high < 1


def test_unjudged_posts_are_like_the_judged_ones_of_their_stratum() -> None:
    sample = rows(0, 50, 0, 20) + rows(2, 10, 5, 5, unjudged=30)
    assert estimate(sample, [True] * 50).missed == pytest.approx(40 * 10 * 0.5)
    nowhere = rows(0, 50, 10, 30) + rows(2, 10, 0, 0, unjudged=8)
    assert estimate(nowhere, [True] * 50).missed == pytest.approx(500 + 80 * 0.25)


def test_no_miss_in_the_sample_is_no_certainty() -> None:
    found = estimate(rows(0, 50, 0, 40), [True] * 100)
    assert (found.recall, found.high) == (1.0, 1.0)
    assert found.low is not None
    assert 0.4 < found.low < 0.9
    more = estimate(rows(0, 50, 0, 400), [True] * 1000)
    assert more.low is not None
    assert more.low > found.low


def test_recall_is_not_told_from_too_little() -> None:
    audited, alerts = LEAST_AUDITED, LEAST_ALERTS
    assert estimate(rows(0, 50, 1, audited - 1), [True] * alerts).code == "known"
    for sample, useful in (
        (rows(0, 50, 1, audited - 2, unjudged=50), [True] * alerts),
        (rows(0, 50, 1, audited - 1), [True] * (alerts - 1) + [None] * 50),
        (rows(0, 50, 0, audited), [False] * alerts),
        ([], []),
    ):
        found = estimate(sample, useful)
        assert (found.code, found.recall, found.low, found.high) == ("not-enough", None, None, None)


def test_the_interval_holds_the_true_recall_in_about_95_of_100_draws() -> None:
    chance = np.random.default_rng(7)
    strata, weights = (0, 2), {0: 50.0, 2: 12.5}
    kept, draws = 0, 200
    for _ in range(draws):
        missed = {0: chance.random(4000) < 0.01, 2: chance.random(500) < 0.2}
        sample = [
            Audited(at, weights[at], bool(one))
            for at in strata
            for one in chance.choice(missed[at], round(len(missed[at]) / weights[at]))
        ]
        useful, judged = chance.random(400) < 0.7, chance.random(400) < 0.4
        seen = [bool(one) if known else None for one, known in zip(useful, judged, strict=True)]
        found = estimate(sample, seen)
        true = useful.sum() / (useful.sum() + sum(one.sum() for one in missed.values()))
        assert found.low is not None
        assert found.high is not None
        kept += found.low <= true <= found.high
    assert 0.9 <= kept / draws <= 0.99


def test_recall_of_the_database(store: Store) -> None:
    heard(store, many(40) | many(12, 0.9, "alert"))
    for number in range(12):
        made = alert(store, f"alert{number}")
        if number < 10:
            verdict = "useful" if number < 8 else "not-useful"
            record(store, made, verdict, by="ana", channel="command", now=DUE)
    assert recall(store).code == "not-enough"
    draw(store, now=DUE, share=1, most=100)
    for row in waiting(store, limit=100):
        said = "missed" if row["native_id"] in ("p1", "p2", "p3") else "right"
        judge(store, row["id"], said, by="ana", now=DUE)
    found = recall(store)
    assert (found.code, found.judged, found.alerts_judged) == ("known", 40, 10)
    assert found.useful == pytest.approx(12 * 0.8)
    assert found.missed == pytest.approx(3)
    alert(store, "p1")  # it turned into an alert after it was drawn
    assert recall(store).missed == pytest.approx(2)
    put(store, updates=[tombstone("p2")])
    assert recall(store).missed == pytest.approx(1)
    # Of alerts that the audit has not reached yet nothing is known on the other side either.
    heard(store, {"new": 0.9}, hours=60)
    record(store, alert(store, "new"), "useful", by="ana", channel="command", now=DUE)
    assert recall(store).alerts_judged == 10


def test_a_long_thread_is_drawn_from_without_quadratic_work(store: Store) -> None:
    heard(store, many(2_000), roots=dict.fromkeys(many(2_000), "p0"))
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with store.write() as connection:
        connection.set_progress_handler(count, 1_000)
    draw(store, now=DUE + timedelta(days=1), share=1)
    assert len(drawn(store)) == 1
    assert 0 < steps < 1_000  # a million of SQLite's instructions; there are four million pairs
