"""Hacker News through the search API of Algolia: stories and comments, newest first."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from .base import (
    Author,
    BadConfig,
    Budget,
    BudgetSpent,
    Capabilities,
    Compiled,
    Cost,
    Counts,
    Cursor,
    Mention,
    Page,
    Query,
    Transient,
)
from .hackernews_items import ITEMS_URL, read_threads, read_updates
from .http import Http
from .query import Dialect, compile_query, utf8_bytes
from .text import clean_text, html_to_text, web_url
from .values import require_aware

logger = logging.getLogger(__name__)

# The API gives no more hits of one search than this, however they are paged.
_HIT_LIMIT = 1000
# Bytes of one query; a longer one is an error.
_LONGEST_QUERY = 512
_ITEM_PAGE = "https://news.ycombinator.com/item?id="
_YEAR_2100 = 4_102_444_800
_REMOVED = frozenset({"[deleted]", "[dead]", "[flagged]"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """The seconds `low` to `high`, both included, which are walked backwards.

    `high` falls to the oldest second seen; `edge` are the ids of that second that were given.
    `page` is above 0 only while whole pages lie in one second. `top` is the newest second seen.
    """

    low: int
    high: int
    top: int
    edge: tuple[str, ...] = ()
    page: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """One term: all before `since` was given; the last window began at `polled`, and is unfinished
    if there is a `window`."""

    since: int
    polled: int
    window: _Window | None = None


class HackerNews:
    """Stories and comments that hold a term of the query.

    Each term is one search, as the API has no OR of free texts; the words of a term may stand
    apart, and nothing is excluded there, so what comes back has to be matched again. A first run
    looks `first_days` back; later ones look again at the last `overlap`, because the index lags and
    posts can be edited for two hours. An interrupted run goes on where it stopped. `max_pages`
    bounds each term in one call of `collect`, whose whole is bounded by its budget.
    """

    def __init__(
        self,
        http: Http,
        base_url: str = "https://hn.algolia.com",
        source: str = "hackernews",
        *,
        tags: Sequence[str] = ("story", "comment"),
        page_size: int = 100,
        max_pages: int = 100,
        first_days: float = 7.0,
        overlap: timedelta = timedelta(hours=2),
        items_url: str = ITEMS_URL,
    ) -> None:
        self._http = http
        self._base = base_url.rstrip("/")
        self._items = items_url.rstrip("/")
        self._url = self._base + "/api/v1/search_by_date"
        self._source = source
        self._tags = f"({','.join(tags)})"
        self._page_size = min(max(page_size, 1), _HIT_LIMIT)
        self._max_pages = max_pages
        self._first = timedelta(days=first_days)
        self._overlap = int(overlap.total_seconds())

    @property
    def source(self) -> str:
        """Name that goes into `Mention.source`."""
        return self._source

    def capabilities(self) -> Capabilities:
        """One search per term of each query, without an account."""
        return Capabilities(by_query=True, gives="stories and comments of Hacker News")

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of the searches, each newest first; the cursor holds the state of every term.

        Raises `BudgetSpent` after the last page that the budget or `max_pages` allows when there is
        more.
        """
        now = require_aware(now)
        if query is None:
            raise BadConfig(f"{self._source} searches; call it with a query")
        terms = self.compile(query).searches
        states = _states(cursor, terms)
        # Who waited longest comes first, so that no term starves under a small budget.
        order = sorted(terms, key=lambda term: states[term].polled if term in states else 0)
        pages, given, cut = 0, set[str](), False
        for place, term in enumerate(order, start=1):
            first = budget.since or now - self._first
            state = states.get(term) or _State(since=_epoch(first), polled=0)
            if state.window is None:
                state = self._next_window(state, now)
            before = pages
            while state.window is not None and pages - before < self._max_pages:
                left = None if budget.mentions is None else budget.mentions - len(given)
                if (left is not None and left <= 0) or pages == budget.pages:
                    raise self._spent(query, pages, len(given))
                page, window, finished = self._page(term, state.window, given, left, now)
                state = replace(state, window=None if finished else window)
                if finished:
                    state = replace(state, since=window.top)
                    if state.polled < _epoch(now):
                        state = self._next_window(state, now)
                states[term] = state
                pages += 1
                more = state.window is not None or cut or place < len(order)
                yield replace(page, cursor=_cursor(states), more=more)
            cut = cut or state.window is not None
        if cut:
            raise self._spent(query, pages, len(given))

    def compile(self, query: Query) -> Compiled:
        """One search for each term, with the words that have to be there too; makes no request."""
        return compile_query(query, _DIALECT)

    def check(self, *, now: datetime) -> str:
        """One search for the newest item; raises `Transient` when there is none."""
        params: dict[str, str | int] = {"tags": self._tags, "hitsPerPage": 1}
        hits = _hits(self._http.json(self._url, params, now=now))
        newest = [second for hit in hits if (second := _second(hit)) is not None]
        if not newest:
            raise Transient(f"{self._source} answers without items; the next run tries again")
        return f"{self._source}: reachable, newest item of {_time(max(newest)):%Y-%m-%d %H:%M} UTC"

    def refresh(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Figures, edits and removals of known items by id; see `hackernews_items.read_updates`."""
        return read_updates(
            self._http,
            self._items,
            self._source,
            self.map_hit,
            ids,
            budget=budget,
            now=require_aware(now),
        )

    def refresh_cost(self, posts: int) -> Cost:
        """One request for each post, which is free."""
        return Cost(requests=posts)

    def thread(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Whole conversations by the ids of their stories; see `hackernews_items.read_threads`."""
        return read_threads(
            self._http,
            self._base,
            self._source,
            self.map_hit,
            ids,
            budget=budget,
            now=require_aware(now),
        )

    def map_hit(self, hit: Mapping[str, Any]) -> Mention | str:
        """The mention of a hit of the search, or why it is none; makes no request."""
        second, native_id = _second(hit), _native_id(hit.get("objectID"))
        if second is None or native_id is None:
            return "no id or no date"
        return self._mention(hit, native_id, second)

    def _spent(self, query: Query, pages: int, mentions: int) -> BudgetSpent:
        return BudgetSpent(
            f"{self._source}: the budget for query {query.name!r} ended after {pages} pages "
            f"and {mentions} mentions; the next run goes on from there"
        )

    def _next_window(self, state: _State, now: datetime) -> _State:
        window = _Window(low=state.since - self._overlap, high=_epoch(now), top=state.since)
        return replace(state, polled=_epoch(now), window=window)

    def _page(
        self, term: str, window: _Window, given: set[str], left: int | None, now: datetime
    ) -> tuple[Page, _Window, bool]:
        """The next page of `window`, what is left of the window, and whether that is nothing.

        At most `left` mentions; ids in `given` are not given again, and new ones are added to it.
        """
        params: dict[str, str | int] = {
            "query": term,
            "tags": self._tags,
            "numericFilters": f"created_at_i>={window.low},created_at_i<={window.high}",
            "hitsPerPage": self._page_size,
            "page": window.page,
            # A term is words, not syntax ("-word" would exclude), and typos and prefixes would
            # bring "nested" for "nest". Whoever ignores these gives more, never less.
            "advancedSyntax": "false",
            "typoTolerance": "false",
            "queryType": "prefixNone",
            "ignorePlurals": "true",
        }
        response = self._http.get(self._url, params, {"accept": "application/json"}, now=now)
        body = response.json()
        hits = _hits(body)
        mentions: list[Mention] = []
        warnings: list[str] = []
        dated: list[tuple[int, str, Mapping[str, Any]]] = []
        for hit in hits:
            second, native_id = _second(hit), _native_id(hit.get("objectID"))
            if second is None or native_id is None:
                warnings.append(f"{self._source} {native_id or 'hit'}: no id or no date; skipped")
            elif window.low <= second <= window.high:
                dated.append((second, native_id, hit))
        dated.sort(key=lambda one: -one[0])
        cut = False
        reached, edge = window.high, list(window.edge)
        for second, native_id, hit in dated:
            if native_id in window.edge:
                continue
            if native_id not in given:
                if left is not None and len(mentions) >= left:
                    cut = True
                    break
                found = self._mention(hit, native_id, second)
                if isinstance(found, Mention):
                    given.add(native_id)
                    mentions.append(found)
                else:
                    warnings.append(f"{self._source} {native_id}: {found}; skipped")
            if second < reached:
                reached, edge = second, []
            edge.append(native_id)
        page_size = _whole(body.get("hitsPerPage")) or self._page_size
        finished = not cut and len(hits) < min(page_size, self._page_size)
        page = window.page if reached == window.high else 0
        if not cut and reached == window.high:
            page += 1
            if page * self._page_size >= _HIT_LIMIT and not finished:
                warnings.append(f"{self._source}: more than {_HIT_LIMIT} hits in one second")
                reached, edge, page = reached - 1, [], 0
        top = max([window.top, *(second for second, _, _ in dated)])
        logger.info("%s: %d hits, %d new", self._source, len(hits), len(mentions))
        following = replace(window, high=reached, top=top, edge=tuple(edge), page=page)
        return (
            Page(
                mentions=tuple(mentions),
                cost=Cost(requests=response.requests),
                returned=len(hits),
                warnings=tuple(warnings),
            ),
            following,
            finished,
        )

    def _mention(self, hit: Mapping[str, Any], native_id: str, second: int) -> Mention | str:
        """The mention of a hit, or why it is none."""
        if hit.get("deleted") or hit.get("dead"):
            return "deleted"
        comment = _text(hit.get("comment_text"))
        title = None if comment else clean_text(_text(hit.get("title"))) or None
        text = html_to_text(comment or _text(hit.get("story_text")))
        link = web_url(hit.get("url"))
        if link and not comment:
            # A link is what such a story says; a shop or brand may be named only there.
            text = f"{text}\n{link}" if text else link
        if not (text or title) or text in _REMOVED or title in _REMOVED:
            return "no text"
        name = clean_text(_text(hit.get("author")))
        return Mention(
            source=self._source,
            native_id=native_id,
            text=text,
            published_at=_time(second),
            url=_ITEM_PAGE + native_id,
            title=title,
            author=Author(source=self._source, native_id=name, handle=name) if name else None,
            parent_id=_native_id(hit.get("parent_id")) if comment else None,
            root_id=_native_id(hit.get("story_id")) if comment else None,
            counts=Counts(likes=_whole(hit.get("points")), replies=_whole(hit.get("num_comments"))),
            raw=_raw(hit),
        )


def _words(spellings: Sequence[str]) -> str | None:
    # Signs of other networks ("@", "#") are not part of a word here.
    return spellings[0].lstrip("@# ").lower() or None


def _joined(terms: Sequence[str], clauses: Sequence[str]) -> str:
    return " ".join([*terms, *clauses])


def _unknown(_: object) -> None:
    return None


# Plurals are left to `ignorePlurals`. What stands behind a minus would be searched as a word.
_DIALECT = Dialect(
    site="Hacker News",
    limit=_LONGEST_QUERY,
    measure=utf8_bytes,
    join=_joined,
    any_of=_words,
    all_of=_words,
    none_of=_unknown,
    langs=_unknown,
    not_author=_unknown,
    most=1,
    plurals=False,
)


def _states(cursor: Cursor | None, terms: Sequence[str]) -> dict[str, _State]:
    """The states of `terms` that `cursor` knows; what cannot be read starts anew."""
    known: Any = cursor.get("terms") if cursor else None
    states = {}
    for term in terms if isinstance(known, Mapping) else ():
        try:
            value = known[term]
            since, polled = int(value["since"]), int(value["polled"])
            window = _read_window(value["window"]) if value["window"] else None
            states[term] = _State(since=since, polled=polled, window=window)
        except (KeyError, TypeError, ValueError):
            continue
    return states


def _read_window(value: Mapping[str, Any]) -> _Window:
    return _Window(
        low=int(value["low"]),
        high=int(value["high"]),
        top=int(value["top"]),
        edge=tuple(map(str, value["edge"])),
        page=int(value["page"]),
    )


def _cursor(states: Mapping[str, _State]) -> Cursor:
    return {"terms": {term: asdict(state) for term, state in sorted(states.items())}}


def _hits(body: Any) -> list[Mapping[str, Any]]:
    hits = body.get("hits") if isinstance(body, dict) else None
    if not isinstance(hits, list):
        raise Transient("the search gave an answer without hits; the next run tries again")
    return [hit if isinstance(hit, dict) else {} for hit in hits]


def _second(hit: Mapping[str, Any]) -> int | None:
    second = _whole(hit.get("created_at_i"))
    return second if second is not None and 0 < second < _YEAR_2100 else None


def _native_id(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and value.isalnum() and len(value) < 50 else None


def _whole(value: Any) -> int | None:
    # SQLite holds whole numbers of 64 bits.
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return value if whole else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _raw(hit: Mapping[str, Any]) -> dict[str, Any]:
    """The plain fields of a hit and its tags, without the texts that the mention has already."""
    raw: dict[str, Any] = {}
    for name, value in hit.items():
        if isinstance(value, str) and name not in ("comment_text", "story_text", "title"):
            raw[clean_text(name)] = clean_text(value)
        elif isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
            raw[clean_text(name)] = value
    tags = hit.get("_tags")
    if isinstance(tags, list):
        raw["_tags"] = [clean_text(tag) for tag in tags if isinstance(tag, str)]
    return raw


def _epoch(when: datetime) -> int:
    return int(when.timestamp())


def _time(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
