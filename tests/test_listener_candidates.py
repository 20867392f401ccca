"""What the rules about the brand find in the database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
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
    author,
    config,
    mention,
    put,
    store_in,
)

from connectors.base import Counts, Mention
from listener.alerts import Alert, find, save
from listener.digest import alert_message
from listener.explain import Reason
from listener.store import Store

PRAISE = "My Lumora is wonderful"
QUESTION = "Does the Lumora Brisa grind, too?"
PRICE = "Where can I buy a Brisa, please?"
BAD = "My Lumora leaks again"
BOUGHT = "I bought it"
TAGGER = FakeTagger(
    {
        PRAISE: Labels(stage="post_purchase", sentiment="pos", signals={"praise": 0.9}),
        f"{PRAISE}!": Labels(sentiment="neg", signals={"praise": 0.9}),
        "Wonderful espresso machine": Labels(sentiment="pos", signals={"praise": 0.9}),
        f"{PRAISE} 20 % off": Labels(sentiment="pos", promo=0.9, signals={"praise": 0.9}),
        QUESTION: Labels(stage="consideration", signals={"product_question": 0.8}),
        PRICE: Labels(
            stage="consideration", signals={"product_question": 0.5, "price_availability": 0.7}
        ),
        "Does this espresso machine grind?": Labels(signals={"product_question": 0.8}),
        f"{BAD} 20 % off": Labels(sentiment="neg", promo=0.9),
        BAD: Labels(sentiment="neg"),
        "This espresso machine leaks": Labels(sentiment="neg"),
        BOUGHT: DECIDES,
    }
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def heard(store: Store, *mentions: Mention, now: datetime = NOW) -> None:
    put(store, *mentions, now=now)
    analyse(store, TAGGER)


def settings(kind: str, more: str = "") -> str:
    return f"{RECIPIENTS}\n[[alerts.rules]]\nname = 'r'\ntype = '{kind}'\n{more}\n"


def found(store: Store, kind: str, more: str = "", *, hours: float = 0) -> list[Alert]:
    return find(store, config(settings(kind, more)), now=at(hours))


def fire(store: Store, kind: str, more: str = "", *, hours: float = 0) -> tuple[int, int]:
    alerts = found(store, kind, more, hours=hours)
    return save(store, alerts, config(settings(kind, more)), now=at(hours))


def natives(store: Store, alerts: list[Alert]) -> list[str]:
    names = {
        row["id"]: row["native_id"] for row in store.rows("SELECT id, native_id FROM mentions")
    }
    return sorted(names[alert.mention_id] for alert in alerts)


def by(name: str, followers: int | None, native_id: str, text: str, hours: float = -1) -> Mention:
    post = mention(native_id, text, published_at=at(hours))
    return replace(post, author=author(name, followers=followers))


# -- advocates


def test_praise_of_the_brand_by_somebody_with_a_following(store: Store) -> None:
    heard(
        store,
        by("famous", 5000, "1", PRAISE),
        by("small", 10, "2", PRAISE),
        by("unhappy", 5000, "3", f"{PRAISE}!"),
        by("elsewhere", 5000, "4", "Wonderful espresso machine"),
        by("shop", 5000, "5", f"{PRAISE} 20 % off"),
        by("old", 5000, "6", PRAISE, hours=-73),
    )
    (only,) = found(store, "advocate")
    assert natives(store, [only]) == ["1"]
    assert (only.type, only.key) == ("advocate", "r:forum:1")
    assert {part.code: part.points for part in only.score.parts} == {
        "probability": 90,
        "age": -2,
        "reach": 5,
    }
    assert only.reasons[0] == {"code": "praises", "value": 1}
    assert only.reasons[1]["quote"] == "Lumora"
    assert fire(store, "advocate") == (1, 1)
    assert fire(store, "advocate") == (0, 0)


def test_praise_again_and_again(store: Store) -> None:
    heard(
        store,
        by("fan", None, "1", PRAISE, hours=-24 * 89),
        by("fan", None, "2", PRAISE),
        by("late", None, "3", PRAISE, hours=-24 * 91),
        by("late", None, "4", PRAISE),
        mention("5", PRAISE, published_at=at(-2)),
        mention("6", PRAISE, published_at=at(-1)),
    )
    alerts = found(store, "advocate")
    assert natives(store, alerts) == ["2"]
    assert alerts[0].reasons[0] == {"code": "praises", "value": 2}
    assert found(store, "advocate", "praises = 3") == []


# -- questions


def test_questions_about_the_brand_that_nobody_answered(store: Store) -> None:
    heard(
        store,
        mention("1", QUESTION, by="a", published_at=at(-5)),
        mention("2", PRICE, by="b", published_at=at(-6)),
        mention("3", QUESTION, by="c", published_at=at(-3)),
        mention("4", "Does this espresso machine grind?", by="d", published_at=at(-5)),
        mention("5", QUESTION, by="e", published_at=at(-73)),
        mention("6", QUESTION, by="f", published_at=at(-5), counts=Counts(replies=1)),
        mention("7", QUESTION, by="g", published_at=at(-5), counts=Counts(replies=0)),
    )
    alerts = found(store, "unanswered")
    assert natives(store, alerts) == ["1", "2", "7"]
    assert {alert.mention_id: alert.probability for alert in alerts} == {1: 0.8, 2: 0.7, 7: 0.8}
    assert {alert.mention_id: alert.reasons[0] for alert in alerts}[2] == {
        "code": "waiting",
        "value": 6,
    }
    assert natives(store, found(store, "unanswered", "hours = 2")) == ["1", "2", "3", "7"]


@pytest.mark.parametrize(("reply_by", "answered"), [("eva", True), ("ana", False), (None, True)])
def test_only_somebody_else_answers(store: Store, reply_by: str | None, answered: bool) -> None:
    heard(
        store,
        mention("1", QUESTION, by="ana", published_at=at(-9)),
        mention("2", "anybody?", by=reply_by, parent_id="1", published_at=at(-8)),
    )
    assert natives(store, found(store, "unanswered")) == ([] if answered else ["1"])


def test_an_answer_closes_an_alert_that_waits(store: Store) -> None:
    heard(store, mention("1", QUESTION, by="ana", published_at=at(-5)))
    assert fire(store, "unanswered") == (1, 1)
    number = str(store.value("SELECT id FROM alerts"))
    message = alert_message(store, number, now=NOW)
    assert message is not None
    assert (message.type, message.conversation.probability) == ("unanswered", 0.8)
    heard(store, mention("2", "It does", by="eva", parent_id="1", published_at=NOW))
    assert alert_message(store, number, now=NOW) is None
    assert alert_message(store, number, now=NOW, whole=True) is not None


def test_who_has_decided_needs_no_answer(store: Store) -> None:
    heard(store, mention("1", QUESTION, by="ana", published_at=at(-5)))
    with store.write() as connection:
        connection.execute("UPDATE conversations SET state = 'decided'")
    assert found(store, "unanswered") == []


# -- a crisis


def complaints(store: Store, count: int, *, hours: float = 0, start: int = 0) -> None:
    heard(
        store,
        *(
            mention(f"bad{start + n}", BAD, by=f"u{start + n}", published_at=at(hours - n / 10))
            for n in range(count)
        ),
        now=at(max(hours, 0)),
    )


def calm_month(store: Store) -> None:
    """One complaint in these hours of each of the last four weeks, and an older post."""
    for week in range(1, 5):
        complaints(store, 1, hours=-24 * 7 * week - 0.5, start=1000 * week)
    heard(store, mention("first", "hello", published_at=at(-24 * 30)))


def test_a_crisis_is_told_of_once_until_it_is_over(store: Store) -> None:
    calm_month(store)
    complaints(store, 4)
    assert fire(store, "crisis") == (0, 0)
    complaints(store, 5, start=50)
    assert fire(store, "crisis") == (1, 1)
    (row,) = store.rows("SELECT * FROM alerts")
    assert (row["type"], row["key"]) == ("crisis", "r:2026-03-10T12")
    assert row["score"] == 100
    message = alert_message(store, str(row["id"]), now=NOW)
    assert message is not None
    assert message.conversation.reasons == (
        Reason(code="negatives", value=9, quote=None),
        Reason(code="usual", value=1.0, quote=None),
    )
    complaints(store, 9, hours=3, start=100)
    assert fire(store, "crisis", hours=3) == (0, 0)
    complaints(store, 9, hours=24.5, start=200)
    assert fire(store, "crisis", hours=24.5) == (1, 1)


def test_a_crisis_needs_a_past_to_compare_with(store: Store) -> None:
    complaints(store, 30)
    assert found(store, "crisis") == []
    heard(store, mention("first", "hello", published_at=at(-24 * 13)))
    assert found(store, "crisis") == []
    heard(store, mention("older", "hello", published_at=at(-24 * 15)))
    assert len(found(store, "crisis")) == 1


def test_a_crisis_counts_what_the_rule_asks_for(store: Store) -> None:
    calm_month(store)
    posts = [
        *(mention(f"ad{n}", f"{BAD} 20 % off", published_at=at(-n / 10)) for n in range(9)),
        *(mention(f"x{n}", "This espresso machine leaks", published_at=NOW) for n in range(9)),
        *(mention(f"p{n}", PRAISE, published_at=NOW) for n in range(9)),
        *(mention(f"o{n}", BAD, source="other", published_at=at(-n / 10)) for n in range(9)),
        *(mention(f"late{n}", BAD, published_at=at(-5)) for n in range(9)),
    ]
    heard(store, *posts)
    assert found(store, "crisis", "sources = ['forum']") == []
    assert len(found(store, "crisis")) == 1
    assert len(found(store, "crisis", "sources = ['forum']\nhours = 6")) == 1


def test_the_usual_is_that_of_these_hours(store: Store) -> None:
    for week in range(1, 5):
        complaints(store, 6, hours=-24 * 7 * week - 0.5, start=1000 * week)
    heard(store, mention("first", "hello", published_at=at(-24 * 30)))
    complaints(store, 9)
    assert found(store, "crisis") == []


# -- one post, several rules


def test_types_do_not_meet(store: Store) -> None:
    calm_month(store)
    complaints(store, 9)
    heard(store, by("famous", 5000, "1", PRAISE), mention("2", QUESTION, published_at=at(-5)))
    rules = "".join(
        f"[[alerts.rules]]\nname = '{kind}'\ntype = '{kind}'\n"
        for kind in ("crisis", "advocate", "unanswered", "early-funnel")
    )
    assert {alert.rule for alert in find(store, config(rules), now=NOW)} == {
        "crisis",
        "advocate",
        "unanswered",
    }
