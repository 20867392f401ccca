from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.scoring import FIT, LONG, URGENT, WEIGHTS, Facts, Named, fit_of, score

FACTS = Facts(
    probability=0.7,
    age_hours=10.0,
    replies=5,
    options=0,
    followers=50,
    fit="near",
)


def points(facts: Facts) -> dict[str, int]:
    return {part.code: part.points for part in score(facts).parts}


def test_a_bare_probability_is_its_own_score() -> None:
    assert [score(Facts(probability=p)).points for p in (0.0, 0.704, 0.705, 1.0)] == [
        0,
        70,
        71,
        100,
    ]
    assert points(Facts(probability=0.7)) == {"probability": 70}


def test_what_is_neutral_adds_nothing_and_is_still_named() -> None:
    neutral = ("age", "replies", "options", "reach", "fit")
    fresh = replace(FACTS, age_hours=0.5, replies=0)
    assert points(fresh) == {"probability": 70} | dict.fromkeys(neutral, 0)


@given(
    st.builds(
        Facts,
        probability=st.floats(0, 1),
        age_hours=st.none() | st.floats(0, 10_000),
        replies=st.none() | st.integers(0, 10_000),
        options=st.none() | st.integers(0, 100),
        followers=st.none() | st.integers(0, 10**9),
        fit=st.none() | st.sampled_from(sorted(FIT)),
        urgent=st.booleans(),
    )
)
def test_parts_add_up_to_the_score_shown(facts: Facts) -> None:
    found = score(facts)
    assert 0 <= found.points <= 100
    assert sum(part.points for part in found.parts) == found.points
    assert all(isinstance(part.points, int) for part in found.parts)
    assert len({part.code for part in found.parts}) == len(found.parts)


def test_the_limit_is_a_part_of_its_own() -> None:
    assert points(Facts(probability=0.99, age_hours=0.5, urgent=True))["limit"] == -4
    assert points(Facts(probability=0.02, age_hours=99.0))["limit"] == 8
    assert "limit" not in points(Facts(probability=0.5, age_hours=99.0))


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"age_hours": 30.0}, {"age_hours": 2.0}),
        ({"replies": 12}, {"replies": 0}),
        ({"options": 3}, {"options": 0}),
        ({"followers": 3_000_000}, {"followers": 5_000}),
        ({"followers": 300_000}, {"followers": 20_000}),
        ({"followers": 20}, {"followers": 5_000}),
        ({"fit": "aside"}, {"fit": "asked"}),
        ({"fit": "asked"}, {"fit": "ours-asked"}),
        ({"fit": "thread"}, {"fit": "ours"}),
        ({}, {"urgent": True}),
    ],
)
def test_what_lifts_a_score(worse: dict[str, Any], better: dict[str, Any]) -> None:
    low, high = (score(replace(Facts(probability=0.5), **facts)) for facts in (worse, better))
    assert low.points < high.points


def test_an_author_of_unknown_reach_has_no_part() -> None:
    assert "reach" not in points(Facts(probability=0.5))
    assert points(Facts(probability=0.5, followers=2000))["reach"] > 0


def test_no_part_outweighs_the_probability() -> None:
    largest = [max(abs(one) for _, one in rows) for rows in WEIGHTS.values()]
    assert max(*largest, *map(abs, FIT.values()), URGENT) <= 10


def named(document: str, *names: tuple[str, str]) -> list[Named]:
    return [
        Named(kind, word, document.index(word), document.index(word) + len(word))
        for kind, word in names
    ]


LONG_TEXT = "We moved house last week. " * 30


@pytest.mark.parametrize(
    ("title", "text", "names", "fit", "quote"),
    [
        (None, "Hi. Is the Brisa any good?", [("product", "Brisa")], "ours-asked", "Brisa"),
        (
            None,
            "I have a Brisa. Which Moketto is quiet?",
            [("competitor", "Moketto"), ("product", "Brisa")],
            "ours",
            "Brisa",
        ),
        (None, "I am tired. ¿Qué cafetera compro", [("category", "cafetera")], "asked", "cafetera"),
        (
            "Cafetera para dos",
            "Hola. ¿Alguna idea?",
            [("category", "Cafetera")],
            "asked",
            "Cafetera",
        ),
        (None, "Any ideas? My old cafetera died.", [("category", "cafetera")], "near", "cafetera"),
        (None, "Looking for a cafetera", [("category", "cafetera")], "asked", "cafetera"),
        (
            None,
            f"Which sofa? {LONG_TEXT} The cafetera survived.",
            [("category", "cafetera")],
            "aside",
            "cafetera",
        ),
        (
            None,
            f"{LONG_TEXT} The cafetera survived.",
            [("category", "cafetera")],
            "aside",
            "cafetera",
        ),
        (None, f"{LONG_TEXT} The Brisa too.", [("product", "Brisa")], "ours", "Brisa"),
        (None, "Any ideas?", [], "thread", None),
    ],
)
def test_fit(
    title: str | None, text: str, names: list[tuple[str, str]], fit: str, quote: str | None
) -> None:
    document = f"{title}\n{text}" if title else text
    assert fit_of(document, title, named(document, *names), "es") == (fit, quote)


def test_fit_does_not_depend_on_the_order_of_the_names() -> None:
    document = "Is a Moketto or a Brisa better than this cafetera?"
    names = named(
        document, ("category", "cafetera"), ("product", "Brisa"), ("competitor", "Moketto")
    )
    assert fit_of(document, None, names, "en") == fit_of(document, None, names[::-1], "en")
    assert len(LONG_TEXT) > LONG


@given(st.text(alphabet="a?.¿ \nñ👍🏽", max_size=200), st.data())
def test_a_quote_is_a_literal_part(document: str, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(document)))
    start = data.draw(st.integers(0, end))
    fit, quote = fit_of(document, None, [Named("category", "x", start, end)], "en")
    assert fit in FIT
    assert quote == document[start:end]
