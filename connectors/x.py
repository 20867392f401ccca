"""X through its paid API: posts that mention an account, and recent search, each priced and capped.

What is read is billed, so every request is bounded by the budget before it is made.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from .base import (
    BadConfig,
    Budget,
    Capabilities,
    Compiled,
    Cost,
    Cursor,
    Estimate,
    NeedsAuth,
    Page,
    Query,
    Transient,
)
from .http import Http, Response
from .twarc import page_mentions
from .values import read_count, read_id, require_aware
from .x_client import BASE_URL, Client, Refused, read_object, read_page
from .x_money import Meter, Prices, price_page, total
from .x_pages import (
    POST_FIELDS,
    USER_FIELDS,
    count_posts,
    edits,
    figures,
    given_version,
    newest_version,
    page_warnings,
    removals,
)
from .x_query import compile_query
from .x_threads import read_threads
from .x_window import Lane, advanced, below, endless, opened, read_lanes, rest_of, write_lanes

logger = logging.getLogger(__name__)

# Search knows seven days; a bound that lies further back fails the request.
_REACH = timedelta(days=7) - timedelta(minutes=10)
_LARGEST_PAGE, _LARGEST_LOOKUP = 100, 100
# A reply that quotes refers to two posts, which come with it and may be billed.
_MOST_REFERENCED = 2
_PRICES = Prices()

_Send = Callable[[str | None, dict[str, Any]], Response]
"""Asks for the page of a token with these parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What differs between search and timelines: least posts a page, price of a post, reach."""

    smallest: int
    price: int
    reach: timedelta | None


class _X:
    """What search and mentions have in common."""

    def __init__(
        self,
        http: Http,
        bearer_token: str,
        *,
        base_url: str = BASE_URL,
        prices: Prices = _PRICES,
        first_days: float = 1.0,
        max_pages: int = 50,
        authors: bool = False,
        referenced: bool = True,
    ) -> None:
        self._http = http
        self._token = bearer_token.strip()
        if not (self._token.isascii() and all("!" <= sign <= "~" for sign in self._token)):
            raise BadConfig("the bearer token of X holds blanks or odd signs; copy it again")
        self._url = base_url
        self._prices = prices
        self._first = min(timedelta(days=first_days), _REACH)
        self._max_pages = max_pages
        self._authors = authors
        self._referenced = referenced

    @property
    def source(self) -> str:
        """Name that goes into `Mention.source`."""
        return "x"

    def _client(self, now: datetime) -> Client:
        if not self._token:
            raise NeedsAuth("X needs a bearer token; set bearer_token under [sources.x]")
        return Client(self._http, self._token, self._url, now)

    def _fields(self, *, referenced: bool) -> dict[str, Any]:
        """Parameters of a page; authors and referenced posts are asked for only if wanted."""
        expansions = ["author_id"] if self._authors else []
        expansions += ["referenced_tweets.id"] if referenced else []
        return {
            "tweet_fields": POST_FIELDS,
            "expansions": expansions or None,
            "user_fields": USER_FIELDS if self._authors else None,
        }

    def _dearest(self, price: int) -> int:
        """The most that one post of `price` can cost together with what comes with it."""
        referenced = _MOST_REFERENCED * self._prices.post if self._referenced else 0
        return price + referenced + (self._prices.user if self._authors else 0)

    def _walk(
        self,
        lane: Lane,
        send: _Send,
        kind: _Kind,
        meter: Meter,
        now: datetime,
        what: str,
        since: datetime | None,
    ) -> Iterator[tuple[Lane, Page]]:
        """The pages of one window, each with the lane after it; `what` names them for people."""
        first, retries = meter.pages, 0
        reach = now - kind.reach if kind.reach else None
        lane, gaps = opened(lane, start=since or now - self._first, reach=reach)
        warnings = [
            f"{self.source}: {what} before {end:%Y-%m-%d %H:%M} UTC are out of reach; skipped"
            for _, end in gaps[-1:]
        ]
        while (window := lane.window) is not None:
            left_out = f"{what} {rest_of(window)}"
            if meter.pages - first >= self._max_pages:
                raise meter.spent(left_out)
            size = meter.room(_LARGEST_PAGE, kind.smallest, self._dearest(kind.price), left_out)
            fields = self._fields(referenced=self._referenced)
            bounds = {"since_id": window.low, "until_id": window.until, "max_results": size}
            try:
                response = send(window.token, {**fields, **bounds})
            except Refused:
                if window.token is None:
                    raise
                lane, retries = replace(lane, window=below(window)), retries + 1
                continue
            body = read_page(response)
            found = page_mentions(body, source=self.source, now=now)
            lane = advanced(lane, window, body, now)
            warnings += page_warnings(found, self.source)
            if endless(lane, window):
                warnings.append(f"{self.source}: {what}: pages without end; given up")
            requests, retries = response.requests + retries, 0
            page = Page(
                mentions=found.mentions,
                updates=tuple(edits(found.mentions, {}, now)),
                cost=price_page(body, post=kind.price, prices=self._prices, requests=requests),
                returned=count_posts(body),
                warnings=tuple(warnings),
                gaps=gaps,
            )
            logger.info("%s: %d posts, %d resources", what, page.returned, page.cost.resources)
            yield lane, meter.add(page)
            warnings, gaps = [], ()

    def _usage(self, now: datetime) -> str:
        """One line from the usage endpoint, which is free."""
        body = read_page(self._client(now).request("GET", "/2/usage/tweets"))
        data = body.get("data")
        data = data if isinstance(data, dict) else {}
        used, cap = read_count(data.get("project_usage")), read_count(data.get("project_cap"))
        if used is None or cap is None:
            raise Transient("X gave no figures of usage; the next run tries again")
        return f"token accepted, {used:,} of {cap:,} posts read; prices of {self._prices.as_of}"


class Search(_X):
    """Posts of the last seven days that fit a query, without retweets unless they are wanted.

    Authors cost twice as much as posts and are not read unless `authors`. With `referenced` come
    the whole texts of quoted and retweeted posts; they may be billed as posts, and are counted so.
    Of a conversation that is read again come about the newest `max_thread_posts`.
    """

    def __init__(
        self,
        http: Http,
        bearer_token: str,
        *,
        retweets: bool = False,
        max_thread_posts: int = 100,
        **shared: Any,
    ):
        super().__init__(http, bearer_token, **shared)
        self._retweets = retweets
        self._thread_posts = max_thread_posts

    def capabilities(self) -> Capabilities:
        """One search or more for each query."""
        return Capabilities(
            by_query=True,
            gives="posts of X of the last seven days, by search",
            needs="a bearer token of X",
            cost="paid per post",
        )

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of the searches of `query`, each newest first.

        Raises BudgetSpent before a request that could cost more than is left.
        """
        now = require_aware(now)
        if query is None:
            raise BadConfig("x searches; call it with a query")
        searches = self.compile(query).searches
        client, meter = self._client(now), Meter(f"x, query {query.name!r}", budget)
        kind = _Kind(smallest=10, price=self._prices.post, reach=_REACH)
        lanes = read_lanes(cursor, searches)
        # Who waited longest comes first, so that no search starves under a small budget.
        order = sorted(searches, key=lambda search: lanes.get(search, Lane()).polled)
        for place, search in enumerate(order, start=1):
            what = f"search {place} of {len(order)}" if len(order) > 1 else "posts"
            lane, send = lanes.get(search, Lane()), _searching(client, search)
            for after, page in self._walk(lane, send, kind, meter, now, what, budget.since):
                lanes[search] = after
                more = after.window is not None or place < len(order)
                yield replace(page, cursor=write_lanes(lanes), more=more)

    def compile(self, query: Query) -> Compiled:
        """The searches for `query`, and which of its clauses X runs; see `compile_query`."""
        return compile_query(query, retweets=self._retweets)

    def check(self, *, now: datetime) -> str:
        """Whether the token is accepted, and how much of the plan is used; costs nothing."""
        return f"{self.source}: {self._usage(require_aware(now))}"

    def estimate(self, query: Query, *, budget: Budget, now: datetime) -> Estimate:
        """The posts of the last seven days by the counts endpoint, and what reading them costs.

        A post that two searches of one query find is counted twice, but read for one price. Raises
        BudgetSpent before the first request when the budget does not hold all of them.
        """
        now = require_aware(now)
        client, meter = self._client(now), Meter(f"x, counts of query {query.name!r}", budget)
        searches = self.compile(query).searches
        posts = 0
        meter.room(1, 1, len(searches) * self._prices.counts, f"{len(searches)} counts")
        for search in searches:
            response = client.get_recent_tweets_count(search, granularity="day")
            meta = read_page(response).get("meta")
            count = read_count(meta.get("total_tweet_count")) if isinstance(meta, dict) else None
            if count is None:
                raise Transient("X gave no count of posts; the next run tries again")
            posts += count
            meter.pay(Cost(requests=response.requests, micro_dollars=self._prices.counts))
        each = self._prices.post + (self._prices.user if self._authors else 0)
        return Estimate(posts=posts, days=7, micro_dollars=posts * each, cost=meter.cost)

    def refresh(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Figures, edits and removals of posts that are known, by the ids of their first version.

        Pages of updates without a cursor, for 100 posts each. Raises BudgetSpent when ids are left.
        """
        now = require_aware(now)
        client, meter = self._client(now), Meter("x, look-up", budget)
        waiting = [one for one in dict.fromkeys(ids) if re.fullmatch(r"[0-9]{1,19}", one)]
        names = {one: one for one in waiting}
        while waiting:
            most = min(_LARGEST_LOOKUP, len(waiting))
            size = meter.room(most, 1, self._prices.post, f"{len(waiting)} posts")
            batch, waiting = waiting[:size], waiting[size:]
            response = client.get_tweets(batch, tweet_fields=POST_FIELDS)
            body = read_object(response)
            found = page_mentions(body, source=self.source, now=now)
            updates = [*removals(body, names, self.source, now)]
            for mention in found.mentions:
                given, newest = given_version(mention), newest_version(mention)
                if given and newest and newest not in names:
                    # The text of the last edit is under its own id.
                    names[newest] = names.get(given, mention.native_id)
                    waiting.append(newest)
            updates += [*figures(found.mentions, names, now), *edits(found.mentions, names, now)]
            requests = response.requests
            page = Page(
                updates=tuple(updates),
                more=bool(waiting),
                cost=price_page(
                    body, post=self._prices.post, prices=self._prices, requests=requests
                ),
                returned=count_posts(body),
            )
            yield meter.add(page)

    def refresh_cost(self, posts: int) -> Cost:
        """The price of looking each post up once.

        The newest version of an edited post is one more; it is asked for last, within the budget.
        """
        requests = -(-posts // _LARGEST_LOOKUP)
        return Cost(requests=requests, resources=posts, micro_dollars=posts * self._prices.post)

    def thread(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """The replies of the last seven days by the ids of first posts; see `read_threads`."""
        now = require_aware(now)
        return read_threads(
            self._client(now),
            ids,
            most=self._thread_posts,
            fields=self._fields(referenced=False),
            prices=self._prices,
            dearest=self._prices.post + (self._prices.user if self._authors else 0),
            meter=Meter("x, conversations", budget),
            source=self.source,
            now=now,
        )


class Mentions(_X):
    """Posts that mention one account, the brand's own: the cheapest way to hear them.

    `user` is its id or handle; a handle is looked up once and kept in the cursor. X gives the last
    800 of them.
    """

    def __init__(self, http: Http, bearer_token: str, *, user: str, **shared: Any):
        super().__init__(http, bearer_token, **shared)
        self._user = user.strip().removeprefix("@")
        if not re.fullmatch(r"[A-Za-z0-9_]{1,19}", self._user):
            raise BadConfig("user of X is neither a handle nor an id; write one such as @lumora")

    def capabilities(self) -> Capabilities:
        """One timeline, whatever the queries are."""
        return Capabilities(
            by_query=False,
            gives="posts of X that mention an account",
            needs="a bearer token of X and the account",
            cost="paid per post, less for one's own account",
        )

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of the timeline, newest first; `query` plays no part."""
        now = require_aware(now)
        client, meter = self._client(now), Meter("x, mentions", budget)
        user, asked = self._known(cursor), Cost()
        if user is None:
            meter.room(1, 1, self._prices.user, "all mentions")
            user, asked = self._look_up(client)
            meter.pay(asked)
        lane = read_lanes(cursor, [user]).get(user, Lane())
        kind = _Kind(smallest=5, price=self._prices.owned_mention, reach=None)
        send = _mentioning(client, user)
        for after, page in self._walk(lane, send, kind, meter, now, "mentions", budget.since):
            place = {"handle": self._user, "user": user, **write_lanes({user: after})}
            cost, asked = total(page.cost, asked), Cost()
            yield replace(page, cursor=place, more=after.window is not None, cost=cost)

    def check(self, *, now: datetime) -> str:
        """Whether the token is accepted and the account exists; a handle costs one account."""
        now = require_aware(now)
        line = self._usage(now)
        if self._user.isdecimal():
            return f"{self.source} mentions: {line}"
        user, _ = self._look_up(self._client(now))
        return f'{self.source} mentions: the account exists (user = "{user}"), {line}'

    def _known(self, cursor: Cursor | None) -> str | None:
        """The id of the account, if it need not be looked up."""
        if self._user.isdecimal():
            return self._user
        known = cursor and cursor.get("handle") == self._user and read_id(cursor.get("user"))
        return known if known and known.isdecimal() else None

    def _look_up(self, client: Client) -> tuple[str, Cost]:
        response = client.get_user(username=self._user)
        data = read_object(response).get("data")
        user = read_id(data.get("id")) if isinstance(data, dict) else None
        if user is None or not user.isdecimal():
            raise BadConfig("X knows no account of that name; check user under [sources.x]")
        price = self._prices.user
        return user, Cost(requests=response.requests, resources=1, micro_dollars=price)


def _searching(client: Client, search: str) -> _Send:
    def send(token: str | None, params: dict[str, Any]) -> Response:
        found: Response = client.search_recent_tweets(search, next_token=token, **params)
        return found

    return send


def _mentioning(client: Client, user: str) -> _Send:
    def send(token: str | None, params: dict[str, Any]) -> Response:
        found: Response = client.get_users_mentions(user, pagination_token=token, **params)
        return found

    return send
