from __future__ import annotations

from typing import Any

import pytest
from scipy.stats import poisson

from listener.digest_changes import FALSE_LINES, Figure, changes
from listener.digest_groups import Post, grouped
from listener.digest_shown import Mark, moves


def figure(count: int, *weeks: int, name: str = "Lumora") -> Figure:
    return Figure(what="negative", name=name, count=count, weeks=weeks)


# -- what is unusual


@pytest.mark.parametrize(
    ("count", "weeks", "told"),
    [
        (9, (3, 3, 3, 3), True),
        (12, (3, 3, 3, 3), True),
        (6, (3, 3, 3, 3), False),  # chance brings six often enough
        (4, (0, 0, 0, 0), False),  # small counts are never news
        (5, (0, 0, 0, 0), True),
        (30, (3,), False),  # one day is no habit
        (30, (), False),
        (0, (4, 4, 4, 4), False),
        (0, (9, 9, 9, 9), True),
        (1300, (1000, 1000, 1000, 1000), False),  # sure, and yet no half more
        (1600, (1000, 1000, 1000, 1000), True),
        (600, (1000, 1000, 1000, 1000), True),
    ],
)
def test_a_line_is_for_what_chance_and_habit_do_not_explain(
    count: int, weeks: tuple[int, ...], told: bool
) -> None:
    assert [one.count for one in changes([figure(count, *weeks)])] == [count] * told


def test_the_tail_is_that_of_poisson() -> None:
    """The first count with a line is the first one whose tail is small enough, up and down."""
    weeks = (20, 22, 18, 20)
    rate = (sum(weeks) + 0.5) / 4
    up = next(n for n in range(30, 99) if poisson.sf(n - 1, rate) <= FALSE_LINES)
    assert next(n for n in range(20, 60) if changes([figure(n, *weeks)])) == max(up, 30)
    down = next(n for n in range(13, 0, -1) if poisson.cdf(n, rate) <= FALSE_LINES)
    assert next(n for n in range(20, 0, -1) if changes([figure(n, *weeks)])) == min(down, 13)


def test_the_more_is_looked_at_the_less_is_told() -> None:
    odd, plain = figure(8, 4, 4, 3, 3), figure(4, 4, 4, 4, 4)
    assert changes([odd])
    assert not changes([odd, *[plain] * 19])


def test_the_most_surprising_comes_first_and_four_are_enough() -> None:
    found = changes([figure(10 + n, 1, 1, 1, name=str(n)) for n in range(6)])
    assert [one.name for one in found] == ["5", "4", "3", "2"]
    assert found[0].usual == 1


# -- posts about the same


def ids(*texts: str, **given: Any) -> list[tuple[int, ...]]:
    posts = [Post(id=n, text=text, **given) for n, text in enumerate(texts, 1)]
    return [group.ids for group in grouped(posts, ["Lumora", "espresso machine"])]


def test_posts_about_the_same_are_one_line_the_largest_first() -> None:
    posts = (
        "The app is a joke since the update",
        "The drip tray of my Lumora leaks",
        "Leaking tray, again!",
        "Water everywhere: tray leaked",
        "App broken since the last update",
        "Too loud in the morning",
    )
    assert ids(*posts) == [(2, 3, 4), (1, 5), (6,)]
    (first, *_) = grouped([Post(id=n, text=text) for n, text in enumerate(posts)], ["Lumora"])
    assert first.words == ("tray", "leaks")


def test_spanish_posts_are_grouped_too() -> None:
    assert ids(
        "La bandeja gotea desde el primer día",
        "Gotean las bandejas",
        "El depósito es pequeño",
    ) == [(1, 2), (3,)]


def test_what_everybody_says_makes_no_group() -> None:
    assert len(ids("I love my Lumora espresso machine", "We love the Lumora espresso machine")) == 2
    assert len(ids("Love it, the best buy this year", "Best buy of the year, love the foam")) == 2


def test_long_posts_need_more_in_common() -> None:
    words = "pump filter hose valve lid cable button screen motor seal timer handle"
    other = "tank spout basket wand gauge grate dial scoop plug knob fuse pump filter"
    assert len(ids(words, other)) == 2


def test_other_products_are_another_matter() -> None:
    one = Post(id=1, text="The tray leaks", products=frozenset({"Uno"}))
    other = Post(id=2, text="Tray leaking", products=frozenset({"Brisa"}))
    anyone = Post(id=3, text="tray leak")
    assert [group.ids for group in grouped([one, other])] == [(1,), (2,)]
    assert [group.ids for group in grouped([one, anyone])] == [(1, 3)]


def test_a_copy_is_the_same_whatever_it_shares() -> None:
    assert ids("Lumora is bad", "LUMORA is bad! https://t.example") == [(1, 2)]
    assert ids("", "") == [(1, 2)]


# -- what has moved

STATE = {"stage": "awareness", "outcome": None, "urgent": 0, "others": 1, "engagement": 6}


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        ({}, []),
        ({"stage": "decision"}, ["stage"]),
        ({"outcome": "ours"}, ["outcome"]),
        ({"urgent": 1}, ["urgent"]),
        ({"others": 3}, ["others"]),
        ({"others": 0}, []),
        ({"engagement": 11}, []),
        ({"engagement": 12}, ["engagement"]),
        ({"stage": "decision", "others": 2}, ["stage", "others"]),
    ],
)
def test_a_conversation_moves(change: dict[str, Any], codes: list[str]) -> None:
    mark = Mark(kind="conversation", ref=1, state=STATE | change)
    assert [move.code for move in moves(mark, STATE)] == codes


def test_twice_next_to_nothing_is_no_news() -> None:
    mark = Mark(kind="conversation", ref=1, state=STATE | {"engagement": 8})
    assert moves(mark, STATE | {"engagement": 2}) == ()


@pytest.mark.parametrize(
    ("posts", "reach", "moved"), [(3, "nano", False), (4, "nano", True), (2, "micro", True)]
)
def test_an_author_moves(posts: int, reach: str, moved: bool) -> None:
    mark = Mark(kind="author", ref=1, state={"posts": posts, "reach": reach})
    assert bool(moves(mark, {"posts": 2, "reach": "nano"})) is moved


def test_a_mention_never_moves() -> None:
    assert moves(Mark(kind="mention", ref=1, state={}), {}) == ()
