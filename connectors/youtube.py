"""Comments of YouTube: those of named channels and videos, by the Data API with a key.

Every request costs one unit of a daily quota; units are the `resources` of a page's cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from .base import BadConfig, Budget, Capabilities, Cost, Cursor, Page, Query, Transient
from .lanes import read_in_turn
from .values import require_aware
from .youtube_api import Closed, Forbidden, YouTubeApi
from .youtube_map import read_channel, read_video
from .youtube_round import Round
from .youtube_threads import look_up, read_threads, read_updates

_LARGEST_PAGE = 100


class YouTube:
    """Comments of `channels` (ids or handles) and `videos` (ids or addresses), with answers.

    A channel stands for all of its videos. Lists come newest first and are read down to the last
    time less `overlap`, as comments may be held for review; comments of the last `look_back` are
    looked at for new answers, because an answer does not move its comment to the top. A channel or
    video that fails is a warning; only when all fail is the first error raised. Matched locally,
    unless `keep_all`.
    """

    def __init__(
        self,
        api: YouTubeApi,
        channels: Sequence[str] = (),
        videos: Sequence[str] = (),
        source: str = "youtube",
        *,
        first_days: float = 7.0,
        max_pages: int = 50,
        keep_all: bool = False,
        overlap: timedelta = timedelta(hours=2),
        look_back: timedelta = timedelta(days=7),
        page_size: int = _LARGEST_PAGE,
    ) -> None:
        self._api = api
        self._channels = tuple(dict.fromkeys(map(read_channel, channels)))
        self._videos = tuple(dict.fromkeys(map(read_video, videos)))
        self._source = source
        self._first = timedelta(days=first_days)
        self._max_pages = max_pages
        self._keep_all = keep_all
        self._overlap = int(overlap.total_seconds())
        self._look_back = int(look_back.total_seconds())
        self._page_size = min(max(page_size, 1), _LARGEST_PAGE)

    @property
    def source(self) -> str:
        """Name that goes into `Mention.source`."""
        return self._source

    def capabilities(self) -> Capabilities:
        """Reads lists of comments, whatever the queries are."""
        return Capabilities(
            by_query=False,
            prefiltered=self._keep_all,
            gives="comments of channels and videos of YouTube",
            needs="an API key of Google, and names of channels or videos",
            cost="free within a daily quota",
        )

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of each channel and video, newest first; `query` plays no part.

        Raises `BudgetSpent` after the last page that the budget or `max_pages` allows when there is
        more, and `RetryAt` when the quota of the day is spent.
        """
        now = require_aware(now)
        keys = self._need_names()
        lists = Round(
            self._api,
            self._source,
            cursor or {},
            keys,
            start=budget.since or now - self._first,
            overlap=self._overlap,
            look_back=self._look_back,
            page_size=self._page_size,
            now=now,
        )
        # Who waited longest comes first, so that none starves under a small budget.
        keys.sort(key=lists.polled)
        yield from read_in_turn(
            self._source,
            lists,
            keys,
            budget=budget,
            max_pages=self._max_pages,
            held=(Closed, Forbidden, Transient),
        )

    def check(self, *, now: datetime) -> str:
        """Look the channels and videos up; raises `BadConfig` when YouTube knows none of them."""
        now = require_aware(now)
        names = self._need_names()
        missing = look_up(self._api, self._channels, self._videos, now=now)
        if len(missing) == len(names):
            raise BadConfig(
                f"{self._source}: YouTube knows none of the channels and videos; check "
                "channels and videos under [sources.youtube]"
            )
        lost = f"; not found: {', '.join(missing)}" if missing else ""
        found = len(names) - len(missing)
        return f"{self._source}: key accepted, {found} of {len(names)} channels and videos{lost}"

    def refresh(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Figures, edits and removals of comments that are known; see `read_updates`."""
        return read_updates(self._api, self._source, ids, budget=budget, now=require_aware(now))

    def refresh_cost(self, posts: int) -> Cost:
        """A unit for each 50 comments; some more when YouTube refuses a batch for one of them."""
        requests = -(-max(posts, 0) // 50)
        return Cost(requests=requests, resources=requests)

    def thread(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """First comments with all of their answers; see `read_threads`."""
        return read_threads(self._api, self._source, ids, budget=budget, now=require_aware(now))

    def _need_names(self) -> list[str]:
        if not (self._channels or self._videos):
            raise BadConfig(
                f"source {self._source!r} has no channels and no videos; name at least one"
            )
        return [*self._channels, *self._videos]
