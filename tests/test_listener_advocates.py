from __future__ import annotations

from typing import Any

import pytest

from listener.advocates import Praising, advocates, reach
from listener.rules import folded


def fan(author: int, **given: Any) -> Praising:
    facts: dict[str, Any] = {
        "mention": author,
        "names": (f"@u{author}",),
        "followers": None,
        "posts": 1,
    }
    return Praising(author=author, **(facts | given))


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (fan(1), False),
        (fan(1, posts=2), True),
        (fan(1, followers=999), False),
        (fan(1, followers=1000), True),
        (fan(1, followers=5_000_000), True),
    ],
)
def test_an_advocate_is_heard_or_says_it_again(one: Praising, expected: bool) -> None:
    assert bool(advocates([one], frozenset())) is expected


def test_small_close_audiences_come_first() -> None:
    rows = [
        fan(1, followers=400_000, posts=9),
        fan(2, posts=2),
        fan(3, followers=20_000),
        fan(4, followers=2_000),
        fan(5, followers=2_000, posts=2),
        fan(6, followers=2_000, engagement=100),
        fan(7, followers=9_000, engagement=100),
    ]
    assert [one.author for one in advocates(rows, frozenset())] == [5, 6, 7, 4, 3, 2, 1]


def test_our_own_accounts_are_no_advocates() -> None:
    ours = fan(1, followers=5000, names=("@Lumora", "u-1"))
    assert advocates([ours], folded("@lumora")) == []
    assert advocates([ours], folded("U-1")) == []
    assert advocates([ours], folded("@lumora2")) == [ours]


def test_engagement_per_follower_needs_both() -> None:
    assert fan(1, followers=2000, engagement=90).rate == 0.045
    assert fan(1, followers=0, engagement=90).rate is None
    assert fan(1, followers=2000).rate is None


@pytest.mark.parametrize(
    ("followers", "tier"),
    [(None, None), (0, None), (999, None), (1000, "nano"), (10_000, "micro"), (100_000, "macro")],
)
def test_reach(followers: int | None, tier: str | None) -> None:
    assert reach(followers) == tier
