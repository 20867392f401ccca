"""Reviews of apps in Apple's App Store, by the public feed of each country.

The feed (itunes.apple.com, customerreviews) gives ten pages of 50 reviews, newest first. It has no
official description: what is read here is what public clients of it agree on. The stars of a review
are in `raw` as `rating` (1 to 5); its text is as it was written.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from .base import (
    Author,
    BadConfig,
    Budget,
    Capabilities,
    ConnectorError,
    Cost,
    Counts,
    Cursor,
    Mention,
    NeedsAuth,
    Page,
    Query,
    RetryAt,
    Transient,
)
from .http import Http
from .lanes import Second, read_in_turn, read_states, write_states
from .mapping import NO_DATE, Mapped, OddRecord
from .text import clean_text
from .values import read_count, read_id, read_text, read_time, require_aware

logger = logging.getLogger(__name__)

BASE_URL = "https://itunes.apple.com"

_LAST_PAGE = 10
_MOST_SEEN = 600
_APP = re.compile(r"(?:.*/id|id)?([0-9]{5,15})(?:[?#/].*)?")
_COUNTRY = re.compile(r"[a-z]{2}")
_REVIEWER = re.compile(r"/id([0-9]{1,20})\b")
_THE_APP = "the app itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lane:
    """One app in one country: nothing before `start` is given; `seen` are the last reviews given.

    `page` is the next one of the walk that began at `polled`, None when it is finished; `newest`
    and `oldest` are the seconds that it met. `since` is the newest one of the walks before.
    """

    start: Second
    since: Second | None = None
    polled: Second = 0
    page: Annotated[int, Field(ge=1, le=_LAST_PAGE)] | None = None
    newest: Second | None = None
    oldest: Second | None = None
    seen: tuple[str, ...] = ()


class AppStore:
    """Reviews of `apps` (ids) in `countries` (two letters, as in addresses of the store).

    Reviews seldom name their app, so each is kept unless `keep_all` is False. The feed does not say
    in which language a review is. An app or country that fails is a warning; only when all fail is
    the first error raised.
    """

    def __init__(
        self,
        http: Http,
        apps: Sequence[str],
        countries: Sequence[str] = ("us",),
        source: str = "appstore",
        *,
        base_url: str = BASE_URL,
        first_days: float = 30.0,
        keep_all: bool = True,
    ) -> None:
        self._http = http
        self._keys = [
            f"{country}/{app}"
            for app in dict.fromkeys(map(read_app, apps))
            for country in dict.fromkeys(map(read_country, countries))
        ]
        self._source = source
        self._url = base_url.rstrip("/")
        self._first = timedelta(days=first_days)
        self._keep_all = keep_all

    @property
    def source(self) -> str:
        """Name that goes into `Mention.source`."""
        return self._source

    def capabilities(self) -> Capabilities:
        """Reads the feeds of apps, whatever the queries are; needs no account."""
        return Capabilities(
            by_query=False,
            prefiltered=self._keep_all,
            gives="reviews of apps in the App Store, the last 500 of each country",
            needs="ids of apps",
        )

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of each app and country, newest first; `query` plays no part.

        A page may bring up to 50 mentions more than the budget has left. Raises `BudgetSpent` after
        the last page that the budget allows when there is more.
        """
        now = require_aware(now)
        self._need_apps()
        start = budget.since or now - self._first
        lists = _Round(self._http, self._url, self._source, cursor or {}, self._keys, start, now)
        # Who waited longest comes first, so that none starves under a small budget.
        yield from read_in_turn(
            self._source,
            lists,
            sorted(self._keys, key=lists.polled),
            budget=budget,
            max_pages=_LAST_PAGE,
            held=(BadConfig, RetryAt, Transient),
        )

    def check(self, *, now: datetime) -> str:
        """The first page of each app and country; raises the first error when none can be read."""
        now = require_aware(now)
        self._need_apps()
        failures: list[ConnectorError] = []
        for key in self._keys:
            try:
                read_entries(fetch(self._http, self._url, key, 1, now)[0])
            except ConnectorError as error:
                failures.append(error)
        if len(failures) == len(self._keys):
            raise failures[0]
        good = len(self._keys) - len(failures)
        told = "".join(f"; {failure}" for failure in failures[:3])
        return f"{self._source}: {good} of {len(self._keys)} feeds answer{told}"

    def _need_apps(self) -> None:
        if not self._keys:
            raise BadConfig(f"source {self._source!r} has no apps; name the id of one")


class _Round:
    """A `lanes.Round` over apps and countries ("us/1234567")."""

    def __init__(
        self,
        http: Http,
        url: str,
        source: str,
        cursor: Cursor,
        keys: Sequence[str],
        start: datetime,
        now: datetime,
    ) -> None:
        self._http = http
        self._url = url
        self._source = source
        self._start = _epoch(start)
        self._now = now
        self._second = _epoch(now)
        self._lanes = read_states(_Lane, cursor.get("feeds"), keys)
        self._requests = 0

    def polled(self, key: str) -> int:
        return self._lanes[key].polled if key in self._lanes else 0

    def waiting(self, key: str) -> bool:
        lane = self._lanes.get(key)
        return lane is None or lane.page is not None or lane.polled < self._second

    def read(self, key: str, left: int | None) -> Page:
        lane = self._lanes.get(key) or _Lane(start=self._start)
        number = lane.page
        if number is None:
            number = 1
            lane = replace(lane, polled=self._second, newest=None, oldest=None)
        body, requests = fetch(self._http, self._url, key, number, self._now)
        self._requests += requests
        entries = read_entries(body)
        if not entries and number == 1:
            raise Transient(
                f"Apple gave no reviews of app {key}; the next run tries again (leave out a "
                "country where the app has none)"
            )
        mapped = map_payload(body, key=key, source=self._source, now=self._now)
        dated = [
            _epoch(one.published_at) for one in mapped.mentions if "updated" in (one.raw or {})
        ]
        ids = {one.native_id for one in mapped.mentions}
        known = bool(ids) and ids <= set(lane.seen)
        old = bool(dated) and len(dated) == len(mapped.mentions) and max(dated) < lane.start
        given = tuple(
            one
            for one in mapped.mentions
            if "updated" not in (one.raw or {}) or _epoch(one.published_at) >= lane.start
        )
        oldest = min([*dated, *([] if lane.oldest is None else [lane.oldest])], default=None)
        newest = max([*dated, *([] if lane.newest is None else [lane.newest])], default=None)
        faults = Counter(mapped.notes)
        faults.update(f"skipped, {why}" for why in mapped.skipped if why != _THE_APP)
        gaps: tuple[tuple[datetime, datetime], ...] = ()
        done = known or old
        if not done and number == _LAST_PAGE and lane.since is not None:
            faults["more new reviews than Apple gives; older ones are missing"] += 1
            if oldest is not None and lane.since < oldest:
                gaps = ((_time(lane.since), _time(oldest)),)
        done = done or number >= _LAST_PAGE or not entries
        seen = dict.fromkeys([*(one.native_id for one in mapped.mentions), *lane.seen])
        lane = replace(lane, newest=newest, oldest=oldest, seen=tuple(seen)[:_MOST_SEEN])
        since = lane.since if newest is None else max(newest, lane.since or newest)
        self._lanes[key] = (
            replace(lane, page=None, since=since) if done else replace(lane, page=number + 1)
        )
        logger.info("%s: %d reviews", self._source, len(given))
        return Page(
            mentions=given,
            returned=len(entries),
            warnings=tuple(f"{self._source}, {key}: {why} ({n})" for why, n in faults.items()),
            gaps=gaps,
        )

    def fail(self, key: str, error: ConnectorError) -> None:
        lane = self._lanes.get(key) or _Lane(start=self._start)
        self._lanes[key] = replace(lane, polled=self._second)

    def spent(self) -> Cost:
        cost, self._requests = Cost(requests=self._requests), 0
        return cost

    def cursor(self) -> Cursor:
        return {"feeds": write_states(_Lane, self._lanes)}


def fetch(http: Http, url: str, key: str, page: int, now: datetime) -> tuple[Any, int]:
    """The body of one page of the feed of `key`, and the requests that it took."""
    country, _, app = key.partition("/")
    address = f"{url}/{country}/rss/customerreviews/page={page}/id={app}/sortby=mostrecent/json"
    try:
        response = http.get(address, headers={"accept": "application/json"}, now=now)
    except NeedsAuth:
        # There is nothing to log in to: it refuses for a while, at random or under load.
        raise Transient(f"Apple refuses app {key} for now; the next run tries again") from None
    return response.json(), response.requests


def read_entries(body: object) -> list[object]:
    """The entries of a feed: a list, or one that stands alone; Transient for what is no feed."""
    feed = body.get("feed") if isinstance(body, Mapping) else None
    if not isinstance(feed, Mapping):
        raise Transient("Apple gave an answer that is no feed; the next run tries again")
    entries = feed.get("entry")
    if isinstance(entries, Mapping):
        return [entries]
    return entries if isinstance(entries, list) else []


def map_payload(
    body: object, *, key: str = "us/0", source: str = "appstore", now: datetime
) -> Mapped:
    """The reviews in a page of the feed of `key` ("us/1234567"), and why others were skipped."""
    mentions: list[Mention] = []
    skipped: list[str] = []
    notes: list[str] = []
    for entry in read_entries(body):
        try:
            mention = to_mention(entry, key, source, now)
        except OddRecord as odd:
            skipped.append(odd.reason)
            continue
        if "updated" not in (mention.raw or {}):
            notes.append(NO_DATE)
        mentions.append(mention)
    return Mapped(tuple(mentions), tuple(skipped), tuple(notes))


def to_mention(entry: object, key: str, source: str, now: datetime) -> Mention:
    """The mention of a review; OddRecord for anything else. Old feeds have no dates: `now`."""
    if not isinstance(entry, Mapping):
        raise OddRecord("not an object")
    if "im:rating" not in entry:
        raise OddRecord(_THE_APP if "im:name" in entry else "without a rating")
    native_id = read_id(_label(entry, "id"))
    if native_id is None:
        raise OddRecord("without an id")
    title, text = read_text(_label(entry, "title")), read_text(_label(entry, "content"))
    if not (title or text):
        raise OddRecord("without text")
    updated = _label(entry, "updated")
    time = read_time(updated)
    country, _, app = key.partition("/")
    raw: dict[str, Any] = {"app": app, "country": country}
    for name in ("rating", "voteCount", "voteSum"):
        number = read_count(_label(entry, f"im:{name}"))
        if number is not None:
            raw[name] = number
    if version := read_text(_label(entry, "im:version")):
        raw["version"] = version
    if time:
        raw["updated"] = clean_text(str(updated))
    return Mention(
        source=source,
        native_id=native_id,
        title=title,
        text=text or "",
        published_at=time[0] if time else now,
        url=f"https://apps.apple.com/{country}/app/id{app}?see-all=reviews",
        author=_author(entry.get("author"), source),
        counts=Counts(likes=raw.get("voteSum")),
        raw=raw,
    )


def read_app(name: str) -> str:
    """The id in what people write for an app: "id1234567", its address; BadConfig for other."""
    match = _APP.fullmatch(name.strip())
    if match is None:
        raise BadConfig(
            f"{clean_text(name)[:40]!r} is no app; write the number behind `id` in its address"
        )
    return match[1]


def read_country(name: str) -> str:
    """A country of two letters in lower case; BadConfig for anything else."""
    country = name.strip().lower()
    if not _COUNTRY.fullmatch(country):
        raise BadConfig(f"{clean_text(name)[:20]!r} is no country; write two letters, such as es")
    return country


def _label(entry: Mapping[str, Any], name: str) -> object:
    value = entry.get(name)
    return value.get("label") if isinstance(value, Mapping) else None


def _author(author: object, source: str) -> Author | None:
    """The name, and the number in the address of the reviewer; None without that."""
    if not isinstance(author, Mapping):
        return None
    address = _REVIEWER.search(str(_label(author, "uri") or ""))
    if address is None:
        return None
    name = read_text(_label(author, "name"))
    return Author(source=source, native_id=address[1], name=name)


def _time(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _epoch(when: datetime) -> int:
    return int(when.timestamp())
