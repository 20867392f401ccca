"""The timeline of one conversation as a function of its posts alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import RULES
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.timeline import (
    TRANSITIONS,
    Event,
    Match,
    Phrase,
    Post,
    Rules,
    Timeline,
    follow,
)

CATEGORY = Match(kind="category", name="espresso machine", start=0, end=8)
OURS = Match(kind="product", name="Lumora Brisa", start=20, end=32)
BRAND = Match(kind="brand", name="Lumora", start=20, end=26)
THEIRS = Match(kind="competitor", name="Moketto", start=40, end=47)


def post(number: int, **changes: Any) -> Post:
    """A post of the first author at a time in the order of `number`, which says nothing yet."""
    plain = Post(
        id=number,
        native_id=f"p{number}",
        at=f"2026-03-10T{number:02}:00:00Z",
        author_id=1,
        language="en",
        stage="none",
        stage_score=0.9,
        early=0.0,
        promo=0.0,
        matches=(CATEGORY,),
    )
    return replace(plain, **changes)


def says(label: str, **changes: Any) -> tuple[Phrase, ...]:
    """An outcome phrase at 10 to 30 in a sentence that ends at 60."""
    plain = Phrase(label=label, score=0.9, start=10, end=30, until=60)
    return (replace(plain, **changes),)


def kinds(timeline: Timeline) -> list[tuple[int, str, str]]:
    return [(one.post_id, one.kind, one.entity) for one in timeline.events]


def asks(number: int, **changes: Any) -> Post:
    return post(number, **{"stage": "consideration", "early": 0.8, **changes})


def decides(number: int, **changes: Any) -> Post:
    return post(number, **{"stage": "decision", **changes})


def test_a_question_is_early() -> None:
    timeline = follow([asks(1), post(2, author_id=2)], RULES)
    assert (timeline.state, timeline.stage, timeline.early) == ("early", "consideration", 0.8)
    assert (timeline.early_id, timeline.decided_id) == (1, None)
    assert timeline.about == (("category", "espresso machine"),)


@pytest.mark.parametrize("stage", ["decision", "post_purchase"])
def test_the_same_author_settles_it(stage: str) -> None:
    timeline = follow([asks(1), post(2, author_id=2), post(3, stage=stage)], RULES)
    assert (timeline.state, timeline.stage, timeline.early) == ("decided", stage, 0.0)
    assert (timeline.early_id, timeline.decided_id) == (None, 3)


@pytest.mark.parametrize(
    "answer",
    [
        decides(2, author_id=2),
        decides(2, author_id=None),
        decides(2, stage_score=0.49),
        decides(2, promo=0.5),
        decides(0),
        post(2, stage="awareness"),
    ],
    ids=["another", "unknown", "unsure", "advert", "before", "open stage"],
)
def test_what_settles_nothing(answer: Post) -> None:
    assert follow([asks(1), answer], RULES).state == "early"


def test_an_unknown_author_settles_nothing() -> None:
    assert follow([asks(1, author_id=None), decides(2, author_id=None)], RULES).state == "early"


def test_asking_again_opens_it_again() -> None:
    timeline = follow([asks(1), decides(2), asks(3, early=0.7)], RULES)
    assert (timeline.state, timeline.early_id) == ("early", 3)
    assert follow([asks(1), decides(2), asks(3), decides(4)], RULES).decided_id == 4


def test_another_asker_keeps_it_open() -> None:
    timeline = follow([asks(1), asks(2, author_id=2, early=0.6), decides(3)], RULES)
    assert (timeline.state, timeline.early_id) == ("early", 2)


def test_the_strongest_open_question_stands_for_it() -> None:
    assert follow([asks(1), asks(2, early=0.9), asks(3, early=0.6)], RULES).early_id == 2
    assert follow([asks(1), asks(2), post(3)], RULES).early_id == 2


@pytest.mark.parametrize("promo", [0.5, 1.0])
def test_an_advert_never_asks(promo: float) -> None:
    assert follow([asks(1, promo=promo)], RULES).state == "quiet"


def test_quiet_conversations_have_the_stage_of_the_first_post() -> None:
    timeline = follow([post(1, stage="post_purchase"), decides(2)], RULES)
    assert (timeline.state, timeline.stage, timeline.early) == ("quiet", "post_purchase", 0.0)


def test_thresholds_are_per_language() -> None:
    rules = Rules(thresholds={"es": 0.9, "*": 0.5})
    assert follow([asks(1, early=0.5)], rules).state == "early"
    assert follow([asks(1, early=0.49)], rules).state == "quiet"
    assert follow([asks(1, early=0.89, language="es")], rules).state == "quiet"
    assert follow([asks(1, early=0.9, language="es")], rules).state == "early"


def test_only_the_wanted_stages_and_kinds_count() -> None:
    assert follow([asks(1)], replace(RULES, stages=("awareness",))).state == "quiet"
    assert follow([asks(1)], replace(RULES, kinds=("brand",))).state == "quiet"
    assert follow([asks(1, stage="decision")], RULES).state == "quiet"
    late = replace(RULES, stages=("decision",))
    assert follow([asks(1, stage="decision")], late).state == "early"


def test_a_conversation_is_about_what_any_of_its_posts_names() -> None:
    reply = asks(2, matches=())
    assert follow([post(1), reply], RULES).early_id == 2
    assert follow([post(1, matches=()), reply], RULES).state == "quiet"
    named = post(3)
    assert follow([post(1, matches=()), reply, named], RULES).early_id == 2


# -- the machine


def test_every_state_answers_to_every_act() -> None:
    states = {"quiet", "early", "decided"}
    assert set(TRANSITIONS) == {(one, act) for one in states for act in ("asks", "settles")}
    assert set(TRANSITIONS.values()) == states


@pytest.mark.parametrize(
    ("acts", "state"),
    [
        ("", "quiet"),
        ("s", "quiet"),
        ("a", "early"),
        ("sa", "early"),
        ("aa", "early"),
        ("as", "decided"),
        ("ass", "decided"),
        ("asa", "early"),
        ("asas", "decided"),
        ("sas", "decided"),
    ],
)
@pytest.mark.parametrize("by", ["stage", "words"])
def test_paths_through_the_machine(acts: str, state: str, by: str) -> None:
    ends = decides if by == "stage" else lambda n: post(n, phrases=says("thanks"))
    posts = [asks(n) if act == "a" else ends(n) for n, act in enumerate(acts)]
    assert follow(posts or [post(0)], RULES).state == state


def test_askers_are_followed_alone() -> None:
    two = [asks(1), asks(2, author_id=2), decides(3)]
    assert follow(two, RULES).state == "early"
    both = follow([*two, decides(4, author_id=2)], RULES)
    assert (both.state, both.decided_id) == ("decided", 4)


# -- words that end it


@pytest.mark.parametrize(
    ("label", "stage"),
    [
        ("purchased", "post_purchase"),
        ("deciding", "decision"),
        ("none", "decision"),
        ("thanks", "decision"),
    ],
)
def test_words_of_the_asker_end_it(label: str, stage: str) -> None:
    timeline = follow([asks(1), post(2, phrases=says(label, score=0.3))], RULES)
    assert (timeline.state, timeline.stage, timeline.decided_id) == ("decided", stage, 2)


@pytest.mark.parametrize(
    "changes", [{"author_id": 2}, {"author_id": None}, {"promo": 0.5}, {"at": "2026-01-01"}]
)
def test_words_that_end_nothing(changes: dict[str, Any]) -> None:
    answer = post(2, phrases=says("purchased"), reply=True, **changes)
    timeline = follow([asks(1), answer], RULES)
    assert (timeline.state, timeline.outcome) == ("early", None)


@pytest.mark.parametrize(
    ("score", "reply", "state"),
    [(0.8, True, "decided"), (0.79, True, "early"), (1, False, "early")],
)
def test_without_any_author_sure_words_in_a_reply_end_it(
    score: float, reply: bool, state: str
) -> None:
    answer = post(2, author_id=None, reply=reply, phrases=says("purchased", score=score))
    assert follow([asks(1, author_id=None), answer], RULES).state == state
    known = post(3, author_id=5)
    assert follow([asks(1, author_id=None), answer, known], RULES).state == "early"


def test_words_that_end_it_outweigh_a_guess_that_the_post_asks() -> None:
    answer = asks(2, phrases=says("purchased"))
    assert follow([asks(1), answer], RULES).state == "decided"
    again = replace(answer, signals={"recommendation_request": 0.9})
    assert follow([asks(1), again], RULES).early_id == 2
    assert follow([answer], RULES).state == "early"


# -- outcomes


def outcome(*posts: Post) -> tuple[str, str, int, int, int]:
    found = follow([asks(1), *posts], RULES).outcome
    assert found is not None
    return found.label, found.entity, found.post_id, found.start, found.end


def test_an_outcome_is_what_stands_in_the_words_or_behind_them() -> None:
    near = says("purchased")
    far = Match(kind="competitor", name="Moketto", start=61, end=68)
    before = Match(kind="competitor", name="Moketto", start=0, end=7)
    assert outcome(post(2, phrases=near, matches=(OURS, THEIRS)))[:2] == ("ours", "Lumora Brisa")
    assert outcome(post(2, phrases=near, matches=(BRAND, OURS)))[:2] == ("ours", "Lumora Brisa")
    assert outcome(post(2, phrases=near, matches=(THEIRS,))) == ("competitor", "Moketto", 2, 10, 47)
    assert outcome(post(2, phrases=near, matches=(CATEGORY, before, far)))[:2] == ("unknown", "")


def test_an_outcome_can_be_something_we_do_not_follow() -> None:
    other = says("purchased", names=True)
    assert outcome(post(2, phrases=other)) == ("other", "", 2, 10, 30)
    assert outcome(post(2, phrases=other, matches=(THEIRS,)))[0] == "other"
    assert outcome(post(2, phrases=other, matches=(OURS,)))[0] == "ours"


def test_nothing_chosen_and_nothing_known() -> None:
    assert outcome(post(2, phrases=says("none"), matches=(OURS,))) == ("none", "", 2, 10, 30)
    assert outcome(post(2, phrases=says("thanks"))) == ("unknown", "", 2, 10, 30)
    assert outcome(decides(2, matches=(OURS,))) == ("unknown", "", 2, 0, 0)


def test_the_last_outcome_that_is_known_stands() -> None:
    ours = post(2, phrases=says("deciding"), matches=(OURS,))
    theirs = post(3, phrases=says("purchased"), matches=(THEIRS,))
    assert outcome(ours, theirs)[:3] == ("competitor", "Moketto", 3)
    assert outcome(ours, decides(3), post(4, phrases=says("thanks")))[:3] == (
        *("ours", "Lumora Brisa"),
        2,
    )
    again = follow([asks(1), ours, asks(4), decides(5)], RULES).outcome
    assert again is not None
    assert (again.label, again.post_id) == ("unknown", 5)


def test_the_most_telling_words_of_a_post_count() -> None:
    none, thanks = says("none", start=0, end=5, until=9), says("thanks", start=0, end=9, until=9)
    bought = says("purchased")
    chosen = post(2, phrases=none + thanks + bought, matches=(THEIRS,))
    assert outcome(chosen)[:2] == ("competitor", "Moketto")
    assert outcome(replace(chosen, phrases=none + thanks))[0] == "none"


def test_only_open_questions_are_urgent() -> None:
    assert follow([asks(1, urgent=True)], RULES).urgent
    assert not follow([asks(1), post(2, urgent=True)], RULES).urgent
    assert not follow([asks(1, urgent=True), decides(2)], RULES).urgent
    assert not follow([asks(1, urgent=True), decides(2), asks(3)], RULES).urgent


# -- events


def test_the_events_of_a_conversation() -> None:
    timeline = follow(
        [
            asks(1, stage="awareness", signals={"comparison": 0.6}),
            asks(2, matches=(THEIRS,)),
            post(
                3, author_id=2, reply=True, signals={"recommendation_given": 0.8}, matches=(OURS,)
            ),
            post(4, author_id=3, reply=True, signals={"recommendation_given": 0.7}),
            decides(5),
            post(6, phrases=says("purchased"), matches=(OURS, THEIRS), stage="post_purchase"),
        ],
        RULES,
    )
    assert kinds(timeline) == [
        (1, "need", ""),
        (1, "comparison", ""),
        (2, "request", ""),
        (2, "option", "Moketto"),
        (3, "option", "Lumora Brisa"),
        (3, "recommendation", "Lumora Brisa"),
        (4, "recommendation", ""),
        (5, "decision", ""),
        (6, "purchase", "Lumora Brisa"),
        (6, "outcome", "Lumora Brisa"),
    ]
    assert timeline.events[5] == Event(
        kind="recommendation",
        post_id=3,
        at="2026-03-10T03:00:00Z",
        score=0.8,
        entity_kind="product",
        entity="Lumora Brisa",
        start=20,
        end=32,
    )
    assert (timeline.events[8].start, timeline.events[8].end) == (10, 32)


@pytest.mark.parametrize(
    "changes",
    [{"author_id": 1}, {"reply": False}, {"promo": 0.9}],
    ids=["asker", "no reply", "advert"],
)
def test_what_is_no_recommendation(changes: dict[str, Any]) -> None:
    given = {"author_id": 2, "reply": True, "signals": {"recommendation_given": 0.8}, **changes}
    assert kinds(follow([asks(1), post(2, **given)], RULES)) == [(1, "request", "")]


def test_askers_recommend_to_each_other() -> None:
    given = asks(2, author_id=2, reply=True, signals={"recommendation_given": 0.8})
    assert (2, "recommendation", "") in kinds(follow([asks(1), given], RULES))


def test_only_who_asked_before_decides_and_buys() -> None:
    assert kinds(follow([decides(1), asks(2), decides(3, author_id=2)], RULES)) == [
        (2, "request", "")
    ]


def test_a_missed_question_still_shows_how_it_ended() -> None:
    timeline = follow([asks(1, early=0.1), post(2, phrases=says("none"))], RULES)
    assert (timeline.state, timeline.outcome) == ("quiet", None)
    assert kinds(timeline) == [(1, "request", ""), (2, "outcome", "")]
    assert timeline.events[1].entity_kind == "none"


# -- whatever the order

POSTS = st.lists(
    st.builds(
        lambda hour, author, stage, score, early, promo, language, match, phrase, more: post(
            hour,
            author_id=author,
            stage=stage,
            stage_score=score,
            early=early,
            promo=promo,
            language=language,
            matches=(match,) if match else (),
            phrases=says(phrase) if phrase else (),
            reply=more > 1,
            urgent=more == 3,
            signals={"recommendation_given": 0.7, "comparison": 0.6} if more > 2 else {},
        ),
        st.integers(0, 5),
        st.sampled_from([None, 1, 2]),
        st.sampled_from(["none", "awareness", "consideration", "decision", "post_purchase"]),
        st.sampled_from([0.4, 0.9]),
        st.sampled_from([0.0, 0.6, 0.9]),
        st.sampled_from([0.0, 0.0, 0.9]),
        st.sampled_from(["en", "es", "und"]),
        st.sampled_from([None, CATEGORY, OURS, THEIRS]),
        st.sampled_from([None, None, "purchased", "deciding", "none", "thanks"]),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=9,
).map(
    # Times may be the same, ids may not.
    lambda posts: [replace(one, id=n, native_id=f"p{n}") for n, one in enumerate(posts)]
)


@settings(deadline=None)
@given(data=st.data(), posts=POSTS)
def test_order_of_arrival_changes_nothing(data: st.DataObject, posts: list[Post]) -> None:
    rules = Rules(thresholds={"es": 0.7, "*": 0.5})
    shuffled = data.draw(st.permutations(posts))
    assert follow(shuffled, rules) == follow(posts, rules)


@settings(deadline=None)
@given(posts=POSTS)
def test_what_a_timeline_says_is_so(posts: list[Post]) -> None:
    timeline = follow(posts, RULES)
    by_id = {one.id: one for one in posts}
    assert (timeline.state == "early") == (timeline.early_id is not None) == (timeline.early > 0)
    decided = timeline.state == "decided"
    assert decided == (timeline.decided_id is not None) == (timeline.outcome is not None)
    assert timeline.state == "early" or not timeline.urgent
    keys = [(one.post_id, one.kind, one.entity_kind, one.entity) for one in timeline.events]
    assert len(set(keys)) == len(keys)
    options = [(one.entity_kind, one.entity) for one in timeline.events if one.kind == "option"]
    assert len(set(options)) == len(options)
    if timeline.early_id is not None:
        asking = by_id[timeline.early_id]
        assert asking.stage == timeline.stage
        assert asking.early == timeline.early >= 0.5 > asking.promo
        assert not any(
            other.author_id == asking.author_id is not None
            and (other.at, other.native_id) > (asking.at, asking.native_id)
            and (other.phrases or (other.stage in ("decision", "post_purchase")))
            and other.stage_score >= 0.7
            and other.promo < 0.5
            for other in posts
        )
    if timeline.decided_id is not None:
        ending = by_id[timeline.decided_id]
        assert ending.phrases or ending.stage in ("decision", "post_purchase")


def test_without_authors_a_reply_that_names_nothing_asks_only_when_it_requests() -> None:
    root = post(1, author_id=None)
    reply = asks(2, author_id=None, reply=True, matches=())
    assert follow([root, reply], RULES).state == "quiet"
    requesting = replace(reply, signals={"recommendation_request": 0.9})
    assert follow([root, requesting], RULES).state == "early"
    assert follow([root, replace(reply, matches=(CATEGORY,))], RULES).state == "early"
    assert follow([root, replace(reply, author_id=7)], RULES).state == "early"
