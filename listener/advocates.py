"""Who speaks well of the brand on their own: small, close audiences before large ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .rules import folded

REPEATED = 2
"""Posts that speak well of us from which an author without a known audience counts."""
# A person whom a thousand to ten thousand follow is asked and believed; the famous are read.
_RANKS = {"nano": 0, "micro": 1, None: 2, "macro": 3}
# Lower bounds of followers, as the field uses them.
_REACH = ((100_000, "macro"), (10_000, "micro"), (1_000, "nano"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Praising:
    """An author of posts that praise or recommend the brand or its products.

    `posts` counts those of the last 90 days, `mention` is the one to show; `names` are handle and
    native id; `engagement` holds likes, replies and shares of the shown post, None if unknown.
    """

    author: int
    mention: int
    names: tuple[str | None, ...]
    followers: int | None
    posts: int
    engagement: int | None = None

    @property
    def rate(self) -> float | None:
        """Engagement per follower, None where either is unknown."""
        if self.engagement is None or not self.followers:
            return None
        return self.engagement / self.followers


def reach(followers: int | None) -> str | None:
    """Tier by followers: nano from 1,000, micro from 10,000, macro from 100,000; else None."""
    return next((tier for least, tier in _REACH if (followers or 0) >= least), None)


def advocates(rows: Iterable[Praising], excluded: Collection[str]) -> list[Praising]:
    """Those of `rows` who are advocates, the one most worth knowing first.

    An advocate has spoken well of us at least twice or has an audience of nano size or more, and is
    nobody of `excluded` (handles and ids, folded by `listener.rules.folded`). Nano comes before
    micro, micro before those of no known audience, these before macro; then count posts, engagement
    per follower, followers.
    """
    found = [
        one
        for one in rows
        if (one.posts >= REPEATED or reach(one.followers) is not None)
        and folded(*one.names).isdisjoint(excluded)
    ]
    return sorted(
        found,
        key=lambda one: (
            _RANKS[reach(one.followers)],
            -one.posts,
            -(one.rate or 0.0),
            -(one.followers or 0),
            one.author,
        ),
    )
