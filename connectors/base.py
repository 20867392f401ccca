"""Core types of every connector, and the errors they raise (each says what to do next)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

Cursor = Mapping[str, Any]
"""JSON that only its own connector understands; stored in the same transaction as the page."""


class ConnectorError(Exception):
    """Base of connector errors; the text is a sentence with the fix, free of secrets and posts."""


class RetryAt(ConnectorError):
    """The site asks to wait; try again at `when` (aware UTC)."""

    def __init__(self, when: datetime, reason: str = "rate limited") -> None:
        super().__init__(f"{reason}; next try at {when:%Y-%m-%d %H:%M:%S} UTC")
        self.when = when


class NeedsAuth(ConnectorError):
    """Credentials are missing, expired or refused; the text says which and where to set them."""


class BudgetSpent(ConnectorError):
    """The budget given to `collect` is used up; what was left out is in the text."""


class BadConfig(ConnectorError):
    """The configuration of this source cannot work; the text names the key and the fix."""


class Transient(ConnectorError):
    """A passing fault (network, 5xx, empty body); the cursor stays and the next run tries again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for: a text with any of `any_of`, all of `all_of` and none of `none_of`.

    A term of several words is a phrase; in `all_of`, "boat|barco" is either of the two. `langs` are
    ISO 639-1 codes (none: any language); `not_authors` are handles or author ids whose posts are
    left out.
    """

    name: str
    kind: Literal["brand", "product", "competitor", "category"]
    any_of: tuple[str, ...]
    all_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    langs: tuple[str, ...] = ()
    not_authors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who wrote a mention, as the platform gives it. `followers` is None when unknown."""

    source: str
    native_id: str
    handle: str | None = None
    name: str | None = None
    followers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Engagement at the time of reading; None where the platform does not say."""

    likes: int | None = None
    replies: int | None = None
    shares: int | None = None
    views: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """One post. Identity is (`source`, `native_id`); ids are opaque text.

    `published_at` is aware UTC as the platform gave it (it may lie in the future). `parent_id` and
    `root_id` are native ids in the same source: the post answered, and the first post of the thread
    (None for that post itself).
    `lang` is what the platform declared (ISO 639-1), or None. `raw` is JSON-ready.
    """

    source: str
    native_id: str
    text: str
    published_at: datetime
    url: str | None = None
    title: str | None = None
    author: Author | None = None
    lang: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    counts: Counts = Counts()
    raw: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.native_id:
            raise ValueError("a mention needs a native id")
        if self.published_at.utcoffset() is None:
            raise ValueError(f"mention {self.source}:{self.native_id}: published_at has no zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """News about a mention that is already known: a metric sample, an edit or a tombstone."""

    source: str
    native_id: str
    kind: Literal["metrics", "edit", "tombstone"]
    at: datetime
    counts: Counts = Counts()
    text: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a page cost: HTTP requests, billed resources, money in millionths of a US dollar."""

    requests: int = 0
    resources: int = 0
    micro_dollars: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One part of a query and how a site is asked for it; `syntax` is None for what runs locally.

    Whatever the site does, each post is matched again here.
    """

    part: Literal["any_of", "all_of", "none_of", "langs", "not_authors", "retweets"]
    text: str
    syntax: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """The searches that together find what a query looks for, and what became of its parts."""

    searches: tuple[str, ...]
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a query would bring: at most `posts` in the last `days`, and what reading them costs.

    Posts that they refer to are not in it. `cost` is what asking has cost already.
    """

    posts: int
    days: int
    micro_dollars: int
    cost: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Mentions and updates that are stored together with `cursor` in one transaction.

    `cursor` may deliver again what was delivered, never skip. `returned` counts the records the
    source gave, `warnings` tell of records that were skipped (where and why, never their text).
    `gaps` are spans of time (start, end; aware UTC) that this source can no longer give.
    """

    mentions: tuple[Mention, ...] = ()
    updates: tuple[Update, ...] = ()
    cursor: Cursor | None = None
    more: bool = False
    cost: Cost = Cost()
    returned: int = 0
    warnings: tuple[str, ...] = ()
    gaps: tuple[tuple[datetime, datetime], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Bounds of one call of a connector; None means no bound.

    Without a cursor, a collection looks back to `since` (aware UTC) instead of its own default.
    """

    pages: int | None = None
    mentions: int | None = None
    micro_dollars: int | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a connector can do.

    `by_query`: call `collect` once per query; otherwise once with query None.
    `prefiltered`: what it returns was chosen by the user (a file, the sample), so every record is
    kept; otherwise records are matched again locally and those without a match are dropped.
    `firehose`: it gives all that a site publishes; removals of posts never stored are dropped.
    `gives`, `needs` and `cost` are the row of the table of sources in README.
    """

    by_query: bool
    prefiltered: bool = False
    firehose: bool = False
    gives: str
    needs: str = "nothing"
    cost: str = "free"


@runtime_checkable
class Connector(Protocol):
    """A source of mentions. Network, clock and base URL are injected; nothing is read at import."""

    @property
    def source(self) -> str:
        """Source of the mentions that do not name their own."""
        ...

    def capabilities(self) -> Capabilities:
        """What this connector can do; makes no request."""
        ...

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages after `cursor`, oldest safe order of the source; each can be stored on its own.

        Raises a `ConnectorError`. One odd record is a warning of its page, not a failure.
        """
        ...

    def check(self, *, now: datetime) -> str:
        """One cheap call that shows whether this source works; returns one line about it.

        Raises a `ConnectorError` when it does not.
        """
        ...


@runtime_checkable
class Refreshes(Protocol):
    """A connector that can look known posts up again."""

    def refresh(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Figures, edits and removals of posts by their native ids: updates, without cursors.

        Raises a `ConnectorError`; BudgetSpent when ids are left.
        """
        ...

    def refresh_cost(self, posts: int) -> Cost:
        """The most that looking up this many posts costs; makes no request."""
        ...


@runtime_checkable
class ReadsThreads(Protocol):
    """A connector that can read whole conversations again."""

    def thread(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Conversations by the native ids of their first posts: mentions, without cursors.

        Raises a `ConnectorError`; BudgetSpent when conversations are left.
        """
        ...


@runtime_checkable
class Compiles(Protocol):
    """A connector whose site searches: a query becomes one search or several."""

    def compile(self, query: Query) -> Compiled:
        """The searches for `query`, and which of its clauses the site runs; makes no request."""
        ...


@runtime_checkable
class Estimates(Protocol):
    """A connector that can tell what a query would cost before it is asked."""

    def estimate(self, query: Query, *, budget: Budget, now: datetime) -> Estimate:
        """What reading `query` would bring and cost; asking may cost something itself."""
        ...
