"""Backtests of small stored histories, with figures counted by hand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from builders import (
    DECIDES,
    NOW,
    RECIPIENTS,
    FakePhrases,
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
from listener.alerts import find, save
from listener.audit import LEAST_AUDITED
from listener.backtest import BASELINES, backtest, systems, time_of
from listener.history import BacktestError
from listener.store import Store, open_read_only, stamp
from listener.walk import Setting

ASK = "Which is the best espresso machine?"
WEAK = "Is this espresso machine still worth it?"
BARE = "Which one should I get?"
TAKES = "Thanks, I ordered the Moketto."
SAYS = "Mine is a Moketto espresso machine."
TAGGER = FakeTagger(
    {
        ASK: Labels(stage="consideration", early=0.9),
        WEAK: Labels(stage="consideration", early=0.6),
        BARE: Labels(stage="consideration", early=0.8),
        TAKES: DECIDES,
    }
)
PHRASES = FakePhrases({"I ordered the Moketto": "purchased"})
THRESHOLDS = {"*": 0.5}
SINCE, UNTIL = at(-24), at(240)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def hear(store: Store, hours: float, *posts: Mention) -> None:
    """Have posts become known, and judge them."""
    put(store, *posts, now=at(hours))
    analyse(store, TAGGER, phrases=PHRASES)


def post(native_id: str, text: str = ASK, *, hours: float = 0, **rest: Any) -> Mention:
    return mention(native_id, text, published_at=at(hours), **rest)


def setting(settings: str = RECIPIENTS, file: str = "config.toml") -> Setting:
    return Setting(file=file, config=config(settings), thresholds=THRESHOLDS)


def replayed(
    store: Store,
    *,
    since: datetime = SINCE,
    until: datetime = UNTIL,
    settings: str = RECIPIENTS,
    name: str | None = None,
    other: Setting | None = None,
    baselines: Sequence[Any] = (),
    **rest: Any,
) -> dict[str, Any]:
    columns = systems(setting(settings), name, other=other, baselines=baselines)
    with closing(open_read_only(store.path)) as connection:
        return backtest(connection, columns, since=since, until=until, **rest)


def first(report: dict[str, Any]) -> dict[str, Any]:
    row = report["systems"][0]
    assert isinstance(row, dict)
    return row


def alerts(report: dict[str, Any], *names: str) -> list[Any]:
    wanted = names or ("native_id",)
    rows = [[row[name] for name in wanted] for row in report["alerts"]]
    return rows if names else [row[0] for row in rows]


def labelled(folder: Path, **useful: int) -> Path:
    path = folder / "labels.jsonl"
    rows = ({"source": "forum", "native_id": one, "useful": u} for one, u in useful.items())
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def test_the_replay_is_what_the_live_rounds_did(store: Store) -> None:
    """Alerts, their scores, their times and their mails, round by round."""
    settings = f"{RECIPIENTS}[alerts]\nmax_per_day = 1\n"
    rounds: dict[int, list[Mention]] = {
        0: [post("a", ASK, by="ana"), post("b", WEAK, by="eva"), post("n", "Nice day")],
        1: [post("a1", SAYS, hours=0.5, by="ben", root_id="a")],
        2: [post("c", BARE, hours=1.5, by="leo")],
        3: [post("c1", SAYS, hours=2.5, by="ben", root_id="c"), post("d1", SAYS, root_id="d")],
        4: [post("b1", TAKES, hours=3.5, by="eva", root_id="b")],
        5: [post("d", ASK, hours=-50, by="max"), post("e", WEAK, hours=1, by="ana")],
        30: [post("f", ASK, hours=29, by="kim"), post("g", WEAK, hours=-90, by="joe")],
    }
    live = config(settings)
    for hours in range(80):
        if hours in rounds:
            hear(store, hours, *rounds[hours])
        raised = find(store, live, thresholds=THRESHOLDS, now=at(hours))
        save(store, raised, live, now=at(hours))
    expected = store.rows(
        # What was held back until it had passed is listed by now, with a delivery that says so.
        "SELECT a.created_at, a.key, a.mention_id, a.score, a.stage, r.mailed_at, "
        "iif(d.status = 'stale', 'held', r.fate) AS fate "
        "FROM alerts a JOIN alert_recipients r ON r.alert_id = a.id LEFT JOIN deliveries d "
        "ON d.kind = 'alert' AND d.ref = a.id AND d.recipient = r.recipient "
        "WHERE r.recipient = 'ana@example.com' ORDER BY a.created_at, a.score DESC"
    )
    report = replayed(store, settings=settings, until=at(79))
    names = ("at", "key", "mention", "score", "stage", "mailed_at", "fate")
    fates = {"at_once": "mailed", "later": "mailed", "held": "held", "listed": "listed"}
    found = [(*row[:-1], fates[row[-1]]) for row in alerts(report, *names)]
    assert found == [tuple(row) for row in expected]
    assert Counter(row["fate"] for row in expected) == {"mailed": 3, "held": 2, "listed": 1}


def test_nothing_is_written(store: Store) -> None:
    hear(store, 1, post("a"), post("b", WEAK))
    before = list(store._connection.iterdump())
    assert first(replayed(store, baselines=BASELINES))["alerts"] == 2
    assert list(store._connection.iterdump()) == before


def test_alerts_are_counted_by_day_of_the_zone(store: Store) -> None:
    hear(store, 1, post("a"), post("b", WEAK))
    hear(store, 11, post("c", hours=10.9))  # 23:00 UTC is the next day in Madrid
    hear(store, 49, post("n", "hello", hours=49))
    report = replayed(store)
    row = first(report)
    assert report["days"] == 2
    assert (row["alerts"], row["conversations"], row["per_day"], row["most_a_day"]) == (
        3,
        3,
        1.5,
        2,
    )
    assert row["by_day"] == {"2026-03-10": 2, "2026-03-11": 1}


def test_only_the_span_counts_and_what_was_told_before_is_not_told_again(store: Store) -> None:
    hear(store, 1, post("a", by="ana"))
    hear(store, 30, post("a2", WEAK, hours=29, by="ana", root_id="a"), post("b", hours=29))
    hear(store, 90, post("c", hours=89))
    assert alerts(replayed(store, since=at(20), until=at(50))) == ["b"]


def test_the_budget_holds_back_the_lesser_ones(store: Store) -> None:
    settings = f"{RECIPIENTS}[alerts]\nmax_per_day = 1\n"
    hear(store, 1, post("a", WEAK), post("b", ASK), post("c", ASK, hours=-100))
    row = first(replayed(store, settings=settings, until=at(20)))
    assert {name: row[name] for name in ("at_once", "later", "held", "listed")} == {
        "at_once": 1,
        "later": 0,
        "held": 1,
        "listed": 1,
    }
    assert row["people"] == [
        {"name": "Ana", "at_once": 1, "later": 0, "held": 1, "listed": 1},
        {"name": "Ben", "at_once": 1, "later": 0, "held": 1, "listed": 1},
    ]
    later = replayed(store, settings=settings, until=at(26))
    assert (first(later)["later"], first(later)["held"]) == (1, 0)
    assert dict(alerts(later, "native_id", "fate")) == {"b": "at_once", "a": "later", "c": "listed"}


def test_rules_of_one_file_share_what_a_person_has_room_for(store: Store) -> None:
    rules = "".join(f'[[alerts.rules]]\nname = "{name}"\n' for name in ("one", "two"))
    settings = f"{RECIPIENTS}[alerts]\nmax_per_day = 1\n{rules}"
    hear(store, 1, post("a"))
    together = replayed(store, settings=settings, until=at(20))
    assert [row["at_once"] + row["held"] for row in together["systems"]] == [1, 1]
    assert sum(row["at_once"] for row in together["systems"]) == 1
    alone = replayed(store, settings=settings, until=at(20), name="TWO")
    assert [(row["system"], row["at_once"]) for row in alone["systems"]] == [("two", 1)]


def test_precision_counts_each_labelled_conversation_once(store: Store, tmp_path: Path) -> None:
    hear(store, 1, post("a", by="ana"), *(post(name) for name in "bcd"), post("w", WEAK))
    hear(store, 2, post("a2", BARE, hours=1.5, by="ana", root_id="a"))
    path = labelled(tmp_path, a2=1, b=1, c=0, w=0, missing=1)
    report = replayed(store, labels=path)
    row = first(report)
    assert report["labels"] == {"conversations": 4, "rows": 5, "unknown": 1}
    found = row["precision"]
    assert (found["n"], found["useful"], found["share"]) == (4, 2, 0.5)
    assert (found["low"], found["high"]) == (
        pytest.approx(0.150, abs=1e-3),
        pytest.approx(0.850, abs=1e-3),
    )
    assert row["best"]["5"]["n"] == 4


def test_the_best_of_a_day_are_those_with_most_points(store: Store, tmp_path: Path) -> None:
    hear(store, 1, *(post(f"s{n}") for n in range(4)), *(post(f"w{n}", WEAK) for n in range(4)))
    useful = {f"s{n}": 1 for n in range(4)} | {f"w{n}": 0 for n in range(4)}
    best = first(replayed(store, labels=labelled(tmp_path, **useful)))["best"]
    assert {most: (own["useful"], own["n"]) for most, own in best.items()} == {
        "5": (4, 5),
        "10": (4, 8),
        "20": (4, 8),
    }


def test_average_precision_ranks_whatever_the_threshold(store: Store, tmp_path: Path) -> None:
    hear(store, 1, post("a"), post("b", WEAK), post("c", SAYS), post("d", ASK, hours=-30))
    path = labelled(tmp_path, a=1, b=1, c=1, d=0)
    strict = f"{RECIPIENTS}[alerts]\nminimum = {{ en = 0.85, es = 0.85 }}\n"
    row = first(replayed(store, labels=path, settings=strict))
    assert {name for (name,) in alerts(replayed(store, settings=strict), "native_id")} == {"a", "d"}
    # In the order of their points: a (1), d (0), b (1), and c (1), which never asked, last.
    expected = (1 / 1 + 2 / 3 + 3 / 4) / 3
    assert row["average_precision"] == {"n": 4, "useful": 3, "value": pytest.approx(expected)}
    assert row["recall"]["labelled"]["share"] == pytest.approx(1 / 3)


def test_feedback_and_audit_label_by_the_latest(store: Store) -> None:
    hear(store, 1, post("a"), post("b", WEAK), post("c", SAYS))
    live = config()
    save(store, find(store, live, now=at(1)), live, now=at(1))
    with store.write() as connection:
        for by, verdict, hours in (("x", "useful", 2), ("y", "useful", 3), ("z", "late", 9)):
            connection.execute(
                "INSERT INTO feedback (alert_id, mention_id, rule, score, verdict, given_by, "
                "channel, at) SELECT id, mention_id, rule, score, ?, ?, 'link', ? FROM alerts "
                "WHERE mention_id = 1",
                (verdict, by, stamp(at(hours))),
            )
        connection.executemany(
            "INSERT INTO audit (mention_id, stratum, probability, weight, drawn_at, missed, "
            "judged_at) VALUES (?, 0, 0.1, 50, ?, ?, ?)",
            [(2, stamp(NOW), 0, stamp(at(4))), (3, stamp(NOW), 1, stamp(at(4)))],
        )
    report = replayed(store)
    useful = dict(alerts(report, "native_id", "useful"))
    assert useful == {"a": True, "b": False}
    assert first(report)["precision"]["n"] == 2
    assert first(report)["recall"]["audit"]["code"] == "not-enough"
    assert first(report)["recall"]["labelled"] is None


def test_a_label_of_the_file_is_the_latest(store: Store, tmp_path: Path) -> None:
    hear(store, 1, post("a"))
    with store.write() as connection:
        connection.execute(
            "INSERT INTO audit (mention_id, stratum, probability, weight, drawn_at, missed, "
            "judged_at) VALUES (1, 0, 0.1, 50, ?, 1, ?)",
            (stamp(NOW), stamp(at(4))),
        )
    assert alerts(replayed(store), "useful") == [[True]]
    assert alerts(replayed(store, labels=labelled(tmp_path, a=0)), "useful") == [[False]]


def test_recall_from_the_audit_sample(store: Store) -> None:
    hear(store, 1, *(post(f"a{n}") for n in range(12)))
    hear(store, 2, *(post(f"m{n}", f"{SAYS} {n}") for n in range(LEAST_AUDITED)))
    live = config()
    save(store, find(store, live, now=at(2)), live, now=at(2))
    with store.write() as connection:
        connection.execute(
            "INSERT INTO feedback (alert_id, mention_id, rule, score, verdict, given_by, channel, "
            "at) SELECT id, mention_id, rule, score, 'useful', 'x', 'link', ? FROM alerts",
            (stamp(at(3)),),
        )
        connection.execute(
            "INSERT INTO audit (mention_id, stratum, probability, weight, drawn_at, missed, "
            "judged_at) SELECT id, 0, 0.1, 2.0, ?, native_id IN ('m0', 'm1', 'm2'), ? "
            "FROM mentions WHERE native_id LIKE 'm%'",
            (stamp(at(3)), stamp(at(3))),
        )
    found = first(replayed(store))["recall"]["audit"]
    assert (found["code"], found["judged"], found["missed"]) == ("known", LEAST_AUDITED, 6)
    assert found["recall"] == pytest.approx(12 / (12 + 6))
    # What would not be alerted on any more is missed as well.
    silent = f"{RECIPIENTS}[alerts]\nminimum = {{ en = 0.95, es = 0.95 }}\n"
    none = first(replayed(store, settings=silent))["recall"]["audit"]
    assert (none["recall"], none["useful"], none["missed"]) == (None, 0, 18)


def test_lead_time_and_what_came_too_late(store: Store) -> None:
    hear(store, 1, *(post(name, by=name) for name in ("early", "soon", "open", "late")))
    hear(store, 9, post("e1", TAKES, hours=8.5, by="early", root_id="early"))
    hear(store, 9, post("s1", TAKES, hours=4, by="soon", root_id="soon"))
    hear(store, 9, post("x1", TAKES, hours=5, by="else", root_id="open"))
    hear(store, 9, post("l1", TAKES, hours=0.5, by="late", root_id="late"))
    hear(
        store,
        10,
        post("m", hours=6, by="missed"),
        post("m1", TAKES, hours=7, by="missed", root_id="m"),
    )
    lead = first(replayed(store))["lead"]
    assert (lead["n"], lead["median"], lead["q1"], lead["q3"]) == (3, 3.0, 1.25, 5.25)
    assert (lead["before"]["useful"], lead["before"]["n"]) == (2, 3)
    (late,) = lead["late"]
    assert (late["native_id"], late["hours"], late["ended_at"]) == ("late", -0.5, stamp(at(0.5)))
    assert (lead["decided"], lead["missed"]) == (4, 1)


def test_an_imported_archive_is_replayed_by_its_own_times(store: Store) -> None:
    hear(
        store,
        900,
        post("a", by="ana"),
        post("a1", SAYS, hours=2, by="ben", root_id="a"),
        post("a2", TAKES, hours=26, by="ana", root_id="a"),
    )
    seen = replayed(store, since=at(800), until=at(1000))
    assert (first(seen)["alerts"], seen["extent"]["late"]) == (0, 3)
    row = first(replayed(store, order="published"))
    assert (row["alerts"], row["lead"]["median"], row["lead"]["missed"]) == (1, 26, 0)


def test_rule_against_rule(store: Store, tmp_path: Path) -> None:
    hear(store, 1, post("a"), post("b", WEAK), post("c", WEAK), post("d", SAYS), post("e", WEAK))
    strict = setting(f"{RECIPIENTS}[alerts]\nminimum = {{ en = 0.85, es = 0.85 }}\n", "other.toml")
    path = labelled(tmp_path, a=1, b=0, c=0, d=0, e=1)
    report = replayed(store, other=strict, labels=path)
    assert [(row["system"], row["alerts"]) for row in report["systems"]] == [
        ("early-funnel", 4),
        ("early-funnel (other.toml)", 1),
    ]
    (pair,) = report["pairs"]
    assert {
        name: pair[name] for name in ("labelled", "both", "only_a", "only_b", "neither", "p")
    } == {
        "labelled": 5,
        "both": 2,  # a told, d not
        "only_a": 1,  # e
        "only_b": 2,  # b and c
        "neither": 0,
        "p": 1.0,
    }
    assert pair["difference"]["alerts"] == -3
    assert pair["difference"]["precision"] == pytest.approx(1 - 0.5)
    assert pair["difference"]["recall_labelled"] == pytest.approx(0.5 - 1)
    assert pair["difference"]["lead_median"] is None


def test_baselines_stand_beside(store: Store, tmp_path: Path) -> None:
    # b is only about a machine by its answer; c asks and has decided; d sounds like a question.
    hear(store, 1, post("a"), post("b", BARE, by="eva"))
    hear(store, 2, post("b1", SAYS, hours=1, by="ben", root_id="b"))
    hear(
        store,
        3,
        post("c", ASK, by="leo"),
        post("c1", TAKES, hours=1, by="leo", root_id="c"),
        post("d", f"{SAYS} What is the best way to clean it?"),
    )
    report = replayed(store, baselines=BASELINES, labels=labelled(tmp_path, a=1, b=1, c=0, d=0))
    told = {
        row["system"]: {
            one["native_id"] for one in report["alerts"] if one["system"] == row["system"]
        }
        for row in report["systems"]
    }
    assert told == {
        "early-funnel": {"a", "b"},
        "single-post": {"a", "c"},
        "regex": {"a", "b", "d"},
        "regex-single-post": {"a", "c", "d"},
    }
    shares = [row["precision"]["share"] for row in report["systems"]]
    assert shares == [1.0, 0.5, pytest.approx(2 / 3), pytest.approx(1 / 3)]
    single = [row for row in report["alerts"] if row["system"] == "single-post"]
    assert {row["score"] for row in single} == {90}
    assert [pair["b"] for pair in report["pairs"]] == list(BASELINES)
    assert [pair["only_a"] for pair in report["pairs"]] == [2, 1, 3]


def test_other_types_of_rules_are_replayed(store: Store) -> None:
    tagger = FakeTagger(
        {
            "Does Lumora ship?": Labels(signals={"product_question": 0.9}),
            "I love Lumora": Labels(signals={"praise": 0.9}, sentiment="pos"),
            **{f"Lumora broke {n}": Labels(sentiment="neg") for n in range(8)},
        }
    )
    rules = "".join(
        f'[[alerts.rules]]\nname = "{kind}"\ntype = "{kind}"\n'
        for kind in ("crisis", "advocate", "unanswered")
    )
    put(store, mention("old", "hello", published_at=at(-24 * 30)), now=at(-24 * 30))
    put(store, mention("q", "Does Lumora ship?", by="ana"), now=at(1))
    put(store, mention("p", "I love Lumora", by="eva"), now=at(1))
    put(store, mention("p2", "I love Lumora", by="eva", published_at=at(20)), now=at(21))
    for n in range(8):
        put(store, mention(f"n{n}", f"Lumora broke {n}", published_at=at(n / 10)), now=at(n / 10))
    analyse(store, tagger)
    report = replayed(store, settings=RECIPIENTS + rules)
    assert sorted(alerts(report, "system", "native_id", "at")) == [
        ["advocate", "p2", stamp(at(21))],
        ["crisis", "n0", stamp(at(0.4))],
        ["unanswered", "q", stamp(at(4))],
    ]
    assert first(report)["average_precision"] is None
    assert first(report)["recall"]["audit"] is None


def test_copies_and_taken_down_posts(store: Store) -> None:
    hear(store, 1, post("a"), post("b"))
    put(store, updates=[tombstone("b")], now=at(2))
    with store.write() as connection:
        connection.execute("INSERT INTO copies VALUES (2, 1)")
    analyse(store, TAGGER)
    assert alerts(replayed(store)) == ["a"]


def test_faults_are_told_with_their_fix(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BacktestError, match="nothing is stored yet"):
        replayed(store)
    hear(store, 1, post("a"))
    with pytest.raises(BacktestError, match="2026-03-10 to 2026-03-10"):
        replayed(store, since=at(100))
    with pytest.raises(BacktestError, match="ends before it begins"):
        replayed(store, since=at(1), until=at(0))
    with pytest.raises(BacktestError, match="did you mean `early-funnel`"):
        replayed(store, name="early-funel")
    with pytest.raises(BacktestError, match=r"other\.toml: has no rule to compare"):
        replayed(
            store,
            other=setting(
                f'{RECIPIENTS}[[alerts.rules]]\nname = "x"\ntype = "crisis"\n', "other.toml"
            ),
        )
    bad = tmp_path / "bad.jsonl"
    for text, reason in (
        ("", "holds no label"),
        ("{", "line 1: is not JSON"),
        ("[]", "line 1: is no object"),
        ('\n{"source": "forum", "useful": 1}', "line 2: names no post"),
        ('{"source": "forum", "native_id": "a", "useful": 2}', "useful is neither 0 nor 1"),
    ):
        bad.write_text(text, "utf-8")
        with pytest.raises(BacktestError, match=reason):
            replayed(store, labels=bad)
    with pytest.raises(BacktestError, match="cannot be read"):
        replayed(store, labels=tmp_path / "none.jsonl")


def test_times_are_spans_or_days() -> None:
    zone = setting().zone
    assert time_of("36h", zone, now=NOW) == at(-36)
    assert time_of("90d", zone, now=NOW) == at(-24 * 90)
    assert time_of("2W", zone, now=NOW) == at(-24 * 14)
    assert stamp(time_of("2026-03-01", zone, now=NOW)) == "2026-02-28T23:00:00Z"
    assert stamp(time_of("2026-03-01T10:00Z", zone, now=NOW)) == "2026-03-01T10:00:00Z"
    for bad in ("yesterday", "90", "2026-13-01", "-3d", ""):
        with pytest.raises(BacktestError, match="neither a span nor a date"):
            time_of(bad, zone, now=NOW)
