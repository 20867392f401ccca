"""Posts by search, where a server of Mastodon offers it to the account behind a token."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from .base import BadConfig, Budget, Capabilities, Compiled, Cost, Cursor, NeedsAuth, Page, Query
from .mastodon import MastodonConnector, Run, read_item, to_second
from .mastodon_query import compile_search
from .mastodon_walk import Item, order
from .values import require_aware

logger = logging.getLogger(__name__)

# What `check` looks for: a word that is in posts of every server that can search in texts.
_COMMON_WORD = "de"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """How far one search was read: all that was found from `since` and the id `floor` on.

    An unfinished walk goes on at `offset`; `next_floor` becomes `floor` at its end. `polled` is
    when one last ended.
    """

    since: int
    floor: str | None = None
    next_floor: str | None = None
    offset: int = 0
    polled: int = 0


class MastodonSearch(MastodonConnector):
    """Posts that a server finds for a query, newest first.

    Found are posts of people who agreed to be found, and the account's own; many servers search in
    no texts at all. Each walk goes down by offset to a post that the last one knew, less `overlap`.
    """

    def capabilities(self) -> Capabilities:
        """A search or more for each query."""
        return Capabilities(
            by_query=True,
            gives="posts of Mastodon by search, of people who agreed to be found",
            needs="a token of an account, scope read, on a server with full-text search",
        )

    def compile(self, query: Query) -> Compiled:
        """One search for each term; makes no request."""
        return compile_search(query)

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of each search.

        Raises BudgetSpent after the last page that the budget allows when there may be more.
        """
        now = require_aware(now)
        if query is None:
            raise BadConfig(f"{self._source} searches; call it with a query")
        self._require_token()
        searches = list(compile_search(query).searches)
        lanes = _read_lanes(cursor, searches)
        run = Run(self._source, budget)
        # Who waited longest comes first, so that no search starves under a small budget.
        searches.sort(key=lambda search: lanes[search].polled if search in lanes else 0)
        for position, search in enumerate(searches, start=1):
            what = f"search {position} of {len(searches)}"
            lane = lanes.get(search) or Lane(since=self._since(budget, now))
            seen: set[str] = set()
            done = False
            while not done:
                before = self._server.requests
                limit = run.room(self._page_size)
                records = self._server.search(search, offset=lane.offset, limit=limit, now=now)
                items = [item for one in records if (item := read_item(one))]
                new = [item for item in items if item.id not in seen and _above(lane, item)]
                repeated = bool(items) and all(item.id in seen for item in items)
                seen |= {item.id for item in items}
                late = to_second(now - self._overlap)
                settled = [one.id for one in items if one.second is not None and one.second <= late]
                known = [one for one in (lane.floor, lane.next_floor) if one]
                lane = replace(
                    lane,
                    offset=lane.offset + len(records),
                    next_floor=max([*settled, *known], key=order, default=None),
                )
                bounded = lane.offset >= self._max_pages * self._page_size
                # Not at the first old one: a server may order by something else than time.
                done = not new or bounded
                page = self._page(run, [item.record for item in new], what, now)
                warnings = list(page.warnings)
                if odd := len(records) - len(items):
                    warnings.append(f"{what}: skipped, without an id ({odd})")
                cut = repeated or (bounded and bool(new))
                if cut:
                    warnings.append(
                        f"{what}: ends after {lane.offset} posts; older ones are missing"
                    )
                gaps = _gaps(lane, items) if cut else ()
                if done:
                    lane = replace(
                        lane,
                        floor=lane.next_floor,
                        next_floor=None,
                        offset=0,
                        polled=to_second(now),
                    )
                lanes[search] = lane
                yield replace(
                    page,
                    cursor={"searches": {key: asdict(one) for key, one in sorted(lanes.items())}},
                    more=not done or position < len(searches),
                    cost=Cost(requests=self._server.requests - before),
                    returned=len(records),
                    warnings=tuple(warnings),
                    gaps=gaps,
                )

    def check(self, *, now: datetime) -> str:
        """One search for a common word, which shows whether the server finds texts at all."""
        now = require_aware(now)
        self._require_token()
        found = self._server.search(_COMMON_WORD, limit=1, now=now)
        told = (
            "it finds posts"
            if found
            else "it finds nothing for a common word, so it may have no full-text search"
        )
        return f"{self._source} search at {self._server.host}: the token is accepted, {told}"

    def _require_token(self) -> None:
        if not self._server.has_token:
            raise NeedsAuth(
                f"{self._server.host} searches for accounts only; set access_token under "
                "[[sources.mastodon.servers]], or set search = false there"
            )


def _above(lane: Lane, item: Item) -> bool:
    if item.second is not None and item.second < lane.since:
        return False
    return lane.floor is None or order(item.id) > order(lane.floor)


def _gaps(lane: Lane, items: Sequence[Item]) -> tuple[tuple[datetime, datetime], ...]:
    """What lies below the lowest of `items`, down to where the search was read the last time."""
    start = lane.polled or lane.since
    lowest = min((item.second for item in items if item.second is not None), default=start)
    if lowest <= start:
        return ()
    return ((datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(lowest, UTC)),)


def _read_lanes(cursor: Cursor | None, searches: Sequence[str]) -> dict[str, Lane]:
    """The lanes of `searches` that a cursor knows; what cannot be read starts anew."""
    known: Any = cursor.get("searches") if cursor else None
    lanes = {}
    for search in searches if isinstance(known, Mapping) else ():
        try:
            value = known[search]
            lanes[search] = Lane(
                since=int(value["since"]),
                floor=value["floor"] and str(value["floor"]),
                next_floor=value["next_floor"] and str(value["next_floor"]),
                offset=int(value["offset"]),
                polled=int(value["polled"]),
            )
        except (KeyError, TypeError, ValueError):
            continue
    return lanes
