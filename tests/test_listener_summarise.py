"""The state of one conversation as a function of its posts alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import RULES
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.conversations import Post, Rules, summarise


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
        about=frozenset({("category", "espresso machine")}),
    )
    return replace(plain, **changes)


def asks(number: int, **changes: Any) -> Post:
    return post(number, **{"stage": "consideration", "early": 0.8, **changes})


def decides(number: int, **changes: Any) -> Post:
    return post(number, **{"stage": "decision", **changes})


def test_a_question_is_early() -> None:
    summary = summarise([asks(1), post(2, author_id=2)], RULES)
    assert (summary.state, summary.stage, summary.early) == ("early", "consideration", 0.8)
    assert (summary.early_id, summary.decided_id) == (1, None)
    assert summary.about == (("category", "espresso machine"),)


@pytest.mark.parametrize("stage", ["decision", "post_purchase"])
def test_the_same_author_settles_it(stage: str) -> None:
    summary = summarise([asks(1), post(2, author_id=2), post(3, stage=stage)], RULES)
    assert (summary.state, summary.stage, summary.early) == ("decided", stage, 0.0)
    assert (summary.early_id, summary.decided_id) == (None, 3)


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
    assert summarise([asks(1), answer], RULES).state == "early"


def test_an_unknown_author_settles_nothing() -> None:
    assert summarise([asks(1, author_id=None), decides(2, author_id=None)], RULES).state == "early"


def test_asking_again_opens_it_again() -> None:
    summary = summarise([asks(1), decides(2), asks(3, early=0.7)], RULES)
    assert (summary.state, summary.early_id) == ("early", 3)
    assert summarise([asks(1), decides(2), asks(3), decides(4)], RULES).decided_id == 4


def test_another_asker_keeps_it_open() -> None:
    summary = summarise([asks(1), asks(2, author_id=2, early=0.6), decides(3)], RULES)
    assert (summary.state, summary.early_id) == ("early", 2)


def test_the_strongest_open_question_stands_for_it() -> None:
    assert summarise([asks(1), asks(2, early=0.9), asks(3, early=0.6)], RULES).early_id == 2
    assert summarise([asks(1), asks(2), post(3)], RULES).early_id == 2


@pytest.mark.parametrize("promo", [0.5, 1.0])
def test_an_advert_never_asks(promo: float) -> None:
    assert summarise([asks(1, promo=promo)], RULES).state == "quiet"


def test_quiet_conversations_have_the_stage_of_the_first_post() -> None:
    summary = summarise([post(1, stage="post_purchase"), decides(2)], RULES)
    assert (summary.state, summary.stage, summary.early) == ("quiet", "post_purchase", 0.0)


def test_thresholds_are_per_language() -> None:
    rules = Rules(thresholds={"es": 0.9, "*": 0.5})
    assert summarise([asks(1, early=0.5)], rules).state == "early"
    assert summarise([asks(1, early=0.49)], rules).state == "quiet"
    assert summarise([asks(1, early=0.89, language="es")], rules).state == "quiet"
    assert summarise([asks(1, early=0.9, language="es")], rules).state == "early"


def test_only_the_wanted_stages_and_kinds_count() -> None:
    assert summarise([asks(1)], replace(RULES, stages=("awareness",))).state == "quiet"
    assert summarise([asks(1)], replace(RULES, kinds=("brand",))).state == "quiet"
    assert summarise([asks(1, stage="decision")], RULES).state == "quiet"
    late = replace(RULES, stages=("decision",))
    assert summarise([asks(1, stage="decision")], late).state == "early"


def test_a_conversation_is_about_what_any_of_its_posts_names() -> None:
    reply = asks(2, about=frozenset())
    assert summarise([post(1), reply], RULES).early_id == 2
    assert summarise([post(1, about=frozenset()), reply], RULES).state == "quiet"
    named = post(3)
    assert summarise([post(1, about=frozenset()), reply, named], RULES).early_id == 2


POSTS = st.lists(
    st.builds(
        lambda hour, author, stage, score, early, promo, language, about: post(
            hour,
            author_id=author,
            stage=stage,
            stage_score=score,
            early=early,
            promo=promo,
            language=language,
            about=frozenset({about} if about else ()),
        ),
        st.integers(0, 5),
        st.sampled_from([None, 1, 2]),
        st.sampled_from(["none", "awareness", "consideration", "decision", "post_purchase"]),
        st.sampled_from([0.4, 0.9]),
        st.sampled_from([0.0, 0.6, 0.9]),
        st.sampled_from([0.0, 0.9]),
        st.sampled_from(["en", "es", "und"]),
        st.sampled_from([None, ("brand", "Lumora"), ("category", "espresso machine")]),
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
    assert summarise(shuffled, rules) == summarise(posts, rules)


@settings(deadline=None)
@given(posts=POSTS)
def test_what_a_summary_says_is_so(posts: list[Post]) -> None:
    summary = summarise(posts, RULES)
    by_id = {one.id: one for one in posts}
    assert (summary.state == "early") == (summary.early_id is not None) == (summary.early > 0)
    assert (summary.state == "decided") == (summary.decided_id is not None)
    if summary.early_id is not None:
        asking = by_id[summary.early_id]
        assert asking.stage == summary.stage
        assert asking.early == summary.early >= 0.5
        assert asking.promo < 0.5
        assert not any(
            other.author_id == asking.author_id is not None
            and other.stage in ("decision", "post_purchase")
            and (other.at, other.native_id) > (asking.at, asking.native_id)
            and other.stage_score >= 0.5 > other.promo
            for other in posts
        )
    if summary.decided_id is not None:
        assert by_id[summary.decided_id].author_id is not None
        assert by_id[summary.decided_id].stage in ("decision", "post_purchase")
