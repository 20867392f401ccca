"""History replayed: what was known when, and what would have been done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from builders import NOW, RECIPIENTS, RULES, at, config
from hypothesis import given, settings
from hypothesis import strategies as st

from listener import replay
from listener.replay import Fired, Heard, Sighting, Step, Thread, fire, single_steps, spend, steps
from listener.replay_brand import (
    advocate_steps,
    crisis_steps,
    negatives_in,
    praises_in,
    unanswered_steps,
)
from listener.rules import Found, Rule, rules_of
from listener.store import stamp
from listener.timeline import Match, Phrase, Post, follow

CATEGORY = Match(kind="category", name="espresso machine", start=0, end=8)
BRAND = Match(kind="brand", name="Lumora", start=20, end=26)
THEIRS = Match(kind="competitor", name="Moketto", start=40, end=47)
UTC = ZoneInfo("UTC")


def heard(number: int, hours: float, *, seen: float | None = None, **changes: Any) -> Heard:
    """A post of author 1, written `hours` after NOW and known then, or `seen` hours after it."""
    known = hours if seen is None else seen
    given = {name: changes.pop(name) for name in list(changes) if name in Heard.__slots__}
    post = Post(
        id=number,
        native_id=f"p{number}",
        at=stamp(at(hours)),
        author_id=changes.pop("by", 1),
        language="en",
        stage=changes.pop("stage", "none"),
        stage_score=0.9,
        early=changes.pop("early", 0.0),
        promo=changes.pop("promo", 0.0),
        **changes,
    )
    return Heard(post=post, known_at=stamp(at(known)), source="forum", **given)


def asks(number: int, hours: float, **changes: Any) -> Heard:
    given: dict[str, Any] = {"stage": "consideration", "early": 0.8, "matches": (CATEGORY,)}
    return heard(number, hours, **(given | changes))


def decides(number: int, hours: float, **changes: Any) -> Heard:
    return heard(number, hours, stage="decision", **changes)


def thread(*posts: Heard, number: int = 1) -> Thread:
    return Thread(number, f"root{number}", posts)


def rule(settings: str = "", **changes: Any) -> Rule:
    (found,) = rules_of(config(RECIPIENTS + settings))
    return replace(found, **changes)


def brand_rule(kind: str, settings: str = "") -> Rule:
    return rule(f'[[alerts.rules]]\nname = "r"\ntype = "{kind}"\n{settings}')


def sightings(found: Sequence[Step], points: int = 80) -> list[Sighting]:
    return [
        Sighting(
            at=step.at,
            unit=step.unit,
            conversation=step.conversation,
            author=step.author,
            found=step.found,
            points=points,
        )
        for step in found
        if step.found
    ]


def fired_in(*threads: Thread, by: Rule | None = None) -> list[Fired]:
    found = [step for one in threads for step in steps(one, RULES)]
    return fire(by or rule(), sightings(found), originals={})


def when(fired: Sequence[Fired]) -> list[tuple[float, int]]:
    """Hours after NOW and post of each alert."""
    return [
        ((one.sighting.at - NOW) / timedelta(hours=1), one.sighting.found.mention_id)
        for one in fired
    ]


def test_an_alert_is_raised_when_the_question_becomes_known() -> None:
    assert when(fired_in(thread(asks(1, 0, seen=5)))) == [(5, 1)]


def test_what_becomes_known_later_changes_no_alert() -> None:
    asked = asks(1, 0, seen=5)
    assert when(fired_in(thread(asked, decides(2, 1, seen=6)))) == [(5, 1)]
    assert fired_in(thread(asked, decides(2, 1, seen=5))) == []
    assert fired_in(thread(asked, decides(2, 1, seen=4))) == []


def test_what_it_is_about_may_become_known_after_the_question() -> None:
    bare = asks(1, 0, matches=())
    named = heard(2, 1, seen=3, by=2, matches=(CATEGORY,))
    assert fired_in(thread(bare)) == []
    assert when(fired_in(thread(bare, named))) == [(3, 1)]


def test_it_alerts_once_and_again_when_the_stage_moves_or_time_is_short() -> None:
    aware = asks(1, 0, stage="awareness")
    again = asks(2, 1, stage="awareness", early=0.9)
    moved = asks(3, 2, early=0.95)
    urgent = asks(4, 3, urgent=True)
    fired = fired_in(thread(aware, again, moved, urgent))
    assert when(fired) == [(0, 1), (2, 3), (3, 3)]
    assert [one.key for one in fired] == [
        "early-funnel:forum:root1",
        "early-funnel:forum:root1:consideration",
        "early-funnel:forum:root1:urgent",
    ]


def test_copies_make_one_alert() -> None:
    found = [
        *sightings(list(steps(thread(asks(1, 0), number=1), RULES))),
        *sightings(list(steps(thread(asks(2, 1, by=2), number=2), RULES))),
    ]
    assert len(fire(rule(), found, originals={})) == 2
    assert when(fire(rule(), found, originals={2: 1})) == [(0, 1)]


def test_only_what_the_rule_asks_for_fires() -> None:
    one = thread(asks(1, 0))
    assert fired_in(one, by=rule(minimum={"en": 0.9})) == []
    assert fired_in(one, by=rule(sources=("elsewhere",))) == []
    found = sightings(list(steps(one, RULES)))
    assert fire(rule(), found, thresholds={"*": 0.85}, originals={}) == []
    assert not fired_in(thread(asks(1, 0, seen=100)))[0].recent


def test_facts_are_those_of_the_time() -> None:
    one = thread(
        asks(1, 0, seen=1, reported=((stamp(at(2)), 7),)),
        heard(2, 0.5, by=2, matches=(THEIRS,)),
        asks(3, 3, early=0.9, reported=((stamp(at(9)), 50),)),
        heard(4, 8, by=2),
    )
    first, second = (step.facts for step in steps(one, RULES))
    assert first is not None
    assert second is not None
    assert (first.probability, first.age_hours, first.replies, first.options) == (0.8, 1, 1, 1)
    assert (second.probability, second.age_hours, second.replies) == (0.9, 0, 1)


def test_replies_told_by_the_platform_count_from_when_they_were_told() -> None:
    reported = ((stamp(at(1)), 7),)
    (late,) = steps(thread(asks(1, 0, seen=2, reported=reported)), RULES)
    (soon,) = steps(thread(asks(1, 0, reported=reported)), RULES)
    assert late.facts is not None
    assert soon.facts is not None
    assert (late.facts.replies, soon.facts.replies) == (7, 0)


def test_single_posts_know_no_conversation() -> None:
    one = thread(asks(1, 0), asks(2, 1), decides(3, 2), asks(4, 3, matches=()))
    found = list(single_steps(one, RULES))
    assert [(step.unit, step.conversation, step.state) for step in found] == [
        (1, 1, "early"),
        (2, 1, "early"),
    ]
    assert len(fire(rule(), sightings(found), originals={})) == 2


POSTS = st.lists(
    st.builds(
        lambda hours, late, by, stage, early, about, urgent, label: {
            "hours": hours,
            "seen": hours + late,
            "by": by,
            "stage": stage,
            "early": early,
            "matches": about,
            "urgent": urgent,
            "reply": True,
            "phrases": (Phrase(label=label, score=0.9, start=0, end=4, until=9),) if label else (),
        },
        st.integers(0, 20),
        st.integers(0, 20),
        st.sampled_from([None, 1, 1, 2]),
        st.sampled_from(["none", "awareness", "consideration", "decision", "post_purchase"]),
        st.sampled_from([0.0, 0.4, 0.6, 0.8]),
        st.sampled_from([(), (CATEGORY,), (THEIRS,)]),
        st.booleans(),
        st.sampled_from(["", "", "", "thanks", "purchased"]),
    ),
    min_size=1,
    max_size=14,
)


def made(rows: list[dict[str, Any]]) -> list[Heard]:
    return [heard(number, row.pop("hours"), **row) for number, row in enumerate(rows, start=1)]


@settings(max_examples=150, deadline=None)
@given(POSTS, st.integers(0, 40), st.integers(0, 14))
def test_a_part_of_history_gives_the_part_of_its_replay(
    rows: list[dict[str, Any]], hours: int, apart: int
) -> None:
    posts, end = made(rows), at(hours)
    early_on = [one for one in posts if one.known_at <= stamp(end)]

    def played(known: list[Heard]) -> tuple[list[Step], list[Fired], dict[str, datetime]]:
        parts = [thread(*known[:apart], number=1), thread(*known[apart:], number=2)]
        course = [step for one in parts for step in steps(one, RULES)]
        fired = fire(rule(), sightings(course), originals={})
        times = spend(
            fired,
            {
                ("early-funnel", number): [
                    (step.at, step.state == "early") for step in course if step.unit == number
                ]
                for number in (1, 2)
            },
            {"early-funnel": rule()},
            most=1,
            zone=UTC,
            asleep=lambda _: False,
            until=at(100),
        )
        return course, fired, {fired[place].key: time for place, time in times.items()}

    whole, part = played(posts), played([one for one in posts if one in early_on])
    cut = sum(one in early_on for one in posts[:apart])
    if cut != min(apart, len(early_on)):
        return  # the split fell elsewhere
    assert part[0] == [step for step in whole[0] if step.at <= end]
    assert part[1] == [one for one in whole[1] if one.sighting.at <= end]
    assert {key: time for key, time in part[2].items() if time <= end} == {
        key: time for key, time in whole[2].items() if time <= end
    }


@settings(max_examples=150, deadline=None)
@given(POSTS, st.randoms())
def test_at_every_time_it_is_what_follow_says_of_all_that_was_known(
    rows: list[dict[str, Any]], chance: Any
) -> None:
    posts = made(rows)
    course = list(steps(thread(*posts), RULES))
    shuffled = list(posts)
    chance.shuffle(shuffled)
    assert list(steps(thread(*shuffled), RULES)) == course
    for time in sorted({one.known_at for one in posts}):
        known = follow([one.post for one in posts if one.known_at <= time], RULES)
        passed = [step for step in course if stamp(step.at) <= time]
        last = passed[-1] if passed else None
        assert (last.state if last else "quiet") == known.state
        found = last.found if last else None
        assert (found.mention_id if found else None) == known.early_id
        if found:
            assert (found.stage, found.urgent) == (known.stage, known.urgent)
            assert {kind for kind, _ in found.about} == {kind for kind, _ in known.about}


def test_work_grows_with_the_length_of_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def counted(posts: Sequence[Post], rules: Any) -> Any:
        read.append(len(posts))
        return follow(posts, rules)

    monkeypatch.setattr(replay, "follow", counted)
    found = list(steps(thread(*(asks(n, n / 100, by=n) for n in range(1, 3001))), RULES))
    assert found[0].at == at(0.01)
    assert sum(read) < 3000 * (replay.SPACING + 5)


def alert(
    number: int, hours: float, points: int = 50, *, unit: int | None = None, age: float = 0
) -> Fired:
    found = Found(
        conversation_id=unit or number,
        mention_id=number,
        source="forum",
        root_id=str(number),
        at=at(hours - age),
        language="en",
        stage="consideration",
        probability=0.5,
    )
    sighting = Sighting(
        at=at(hours),
        unit=unit or number,
        conversation=unit or number,
        author=number,
        found=found,
        points=points,
    )
    return Fired(key=str(number), rule="early-funnel", sighting=sighting, recent=age <= 72)


def spent(*fired: Fired, most: int = 1, by: Rule | None = None, **rest: Any) -> dict[int, float]:
    """Place and hours after NOW of what was mailed."""
    times = spend(
        fired,
        rest.pop("courses", {}),
        {"early-funnel": by or rule()},
        most=most,
        zone=UTC,
        asleep=rest.pop("asleep", lambda _: False),
        until=rest.pop("until", at(1000)),
    )
    return {place: (time - NOW) / timedelta(hours=1) for place, time in times.items()}


def test_the_best_go_at_once_and_the_rest_when_there_is_room() -> None:
    assert spent(alert(1, 0, 40), alert(2, 0, 90), alert(3, 0, 60)) == {1: 0, 2: 24, 0: 48}
    assert spent(alert(1, 0, 40), alert(2, 0, 90), most=2) == {0: 0, 1: 0}


def test_nothing_goes_while_the_person_is_asleep() -> None:
    night = at(7.5)
    assert spent(alert(1, 0, 40), alert(2, 9, 90), most=2, asleep=lambda now: now < night) == {
        0: 8,
        1: 9,
    }


def test_what_is_held_back_lapses_with_its_age_its_end_and_its_successor() -> None:
    assert spent(alert(1, 0, 90), alert(2, 0, 60, age=60)) == {0: 0}
    closed = {("early-funnel", 2): [(at(0), True), (at(23), False)]}
    assert spent(alert(1, 0, 90), alert(2, 0, 60), courses=closed) == {0: 0}
    opened = {("early-funnel", 2): [(at(0), True), (at(23), False), (at(30), True)]}
    assert spent(alert(1, 0, 90), alert(2, 0, 60), courses=opened) == {0: 0, 1: 30}
    assert spent(alert(1, 0, 90), alert(2, 0, 60), alert(3, 1, 60, unit=2)) == {0: 0, 2: 24}
    assert spent(alert(1, 0, 90), alert(2, 0, 60), until=at(20)) == {0: 0}


def test_old_posts_are_only_listed() -> None:
    assert spent(alert(1, 0, age=100), alert(2, 1)) == {1: 1}


def test_quiet_hours_wait() -> None:
    night = rule(
        '[[alerts.rules]]\nname = "early-funnel"\nquiet_hours = "11:00-15:00"\n'
    )  # NOW is at noon
    assert spent(alert(1, 0), by=night) == {0: 3}


def asks_us(number: int, hours: float, **changes: Any) -> Heard:
    return heard(number, hours, matches=(BRAND,), signals={"product_question": 0.9}, **changes)


def unanswered_at(*posts: Heard) -> list[float]:
    by, one = brand_rule("unanswered", "hours = 4"), thread(*posts)
    found = list(unanswered_steps(one, by, list(steps(one, RULES))))
    return [hours for hours, _ in when(fire(by, sightings(found), originals={}))]


def test_a_question_to_the_brand_waits_its_hours() -> None:
    asked = asks_us(1, 0)
    assert unanswered_at(asked) == [4]
    assert unanswered_at(asks_us(1, 0, seen=6)) == [6]
    assert unanswered_at(asked, heard(2, 3, by=2, answers=frozenset({"p1"}))) == []
    assert unanswered_at(asked, heard(2, 3, seen=5, by=2, answers=frozenset({"p1"}))) == [4]
    assert unanswered_at(asked, heard(2, 3, by=1, answers=frozenset({"p1"}))) == [4]
    assert unanswered_at(asks_us(1, 0, reported=((stamp(at(3)), 2),))) == []
    assert unanswered_at(asks_us(1, 0, reported=((stamp(at(5)), 2),))) == [4]
    assert unanswered_at(asks_us(1, 0, promo=0.9)) == []
    assert unanswered_at(asks_us(1, 0, seen=100)) == []


def praises(number: int, hours: float, **changes: Any) -> Heard:
    given = {"matches": (BRAND,), "signals": {"praise": 0.8}, "sentiment": "pos"} | changes
    return heard(number, hours, **given)


def advocates(*posts: Heard) -> list[tuple[float, int]]:
    by = brand_rule("advocate")
    known = [it for one in posts for it in praises_in(thread(one, number=one.post.id))]
    return when(fire(by, sightings(list(advocate_steps(known, by))), originals={}))


def test_advocates_have_a_following_or_praise_again() -> None:
    assert advocates(praises(1, 0)) == []
    assert advocates(praises(1, 0, followers=5000)) == [(0, 1)]
    assert advocates(praises(1, 0), praises(2, 5)) == [(5, 1), (5, 2)]
    assert advocates(praises(1, 0), praises(2, 5, by=2)) == []
    assert advocates(praises(1, 0), praises(2, 5, sentiment="neg")) == []
    assert advocates(praises(1, -24 * 91), praises(2, 5)) == []
    assert advocates(praises(1, 0), praises(2, 100)) == [(100, 2)]


def scolds(number: int, hours: float, **changes: Any) -> Heard:
    given: dict[str, Any] = {"sentiment": "neg", "sentiment_score": 0.9}
    return heard(number, hours, by=number, matches=(BRAND,), **given, **changes)


def test_a_crisis_is_seen_against_what_was_known() -> None:
    by = brand_rule("crisis", "min_count = 3")
    spike = [scolds(10 + n, n / 10) for n in range(6)]

    def crises(*earlier: Heard, since: float = -24 * 29) -> list[tuple[float, int]]:
        known = [
            it for one in [*spike, *earlier] for it in negatives_in(thread(one, number=one.post.id))
        ]
        found = list(crisis_steps(known, by, lambda _: stamp(at(since))))
        return when(fire(by, sightings(found), originals={}))

    assert crises() == [(0.2, 10)]
    assert crises(since=-24) == []  # too few weeks observed
    hours = [(week, n) for week in range(1, 5) for n in range(4)]
    usual = [scolds(100 + 10 * week + n, -168 * week - n / 10) for week, n in hours]
    assert crises(*usual) == []
    late = [replace(one, known_at=stamp(at(50))) for one in usual]
    assert crises(*late) == [(0.2, 10)]
