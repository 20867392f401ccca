"""Known posts asked for again: whole conversations, and what became of single posts.

A native id is the uri of a post. It names the server that holds the post, its origin, and mostly
its id there, so that a post is looked up where it is kept: only the origin knows for sure that it
was deleted or edited. The server of the configuration finds a post of others by its uri as well,
but only for an account. An origin is believed about its own posts and no others.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from .base import (
    BadConfig,
    Budget,
    BudgetSpent,
    ConnectorError,
    Cost,
    Mention,
    Page,
    Update,
)
from .mapping import OddRecord
from .mastodon_api import LARGEST_LOOKUP, Absent, Server
from .mastodon_map import (
    read_status,
    read_statuses,
    to_mention,
    to_tombstone,
    to_updates,
    uri_of,
)
from .values import read_id

logger = logging.getLogger(__name__)

OpenServer = Callable[[str], Server]
"""Opens the server of a host, which holds posts of other people."""

# Mastodon (by name, and by number since 4.5), GoToSocial, and the addresses that people see.
_LOCAL_ID = re.compile(r"/(?:(?:ap/)?users/[^/]+/statuses|@[^/@]+)/([0-9A-Za-z]{1,40})/?")
_MOST_RESOLVED = 5


@dataclass(frozen=True, slots=True)
class Address:
    """Where a post is kept: the host of its origin, and its id there."""

    host: str
    local_id: str


def read_address(uri: str) -> Address | None:
    """Where the post with this uri is kept; None when the uri does not show it."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    match = _LOCAL_ID.fullmatch(parts.path)
    if match is None or parts.scheme not in ("http", "https") or "@" in parts.netloc:
        return None
    return Address(parts.netloc.lower(), match[1]) if parts.hostname else None


def read_updates(
    home: Server,
    source: str,
    ids: Sequence[str],
    *,
    open_origin: OpenServer | None,
    budget: Budget,
    now: datetime,
) -> Iterator[Page]:
    """Figures, edits and removals of posts by uri, up to 20 of one server a page.

    Posts of other servers are asked for there, if `open_origin`, else (and where that fails) at
    `home` with a token. Those that nobody tells about are counted in a warning. Raises BudgetSpent
    when posts are left, and what `home` raises.
    """
    rows = _rows(home, ids, ask_others=open_origin is not None)
    silent: set[str] = set()
    for place, (host, wanted) in enumerate(rows):
        if place == budget.pages:
            left = sum(len(row) for _, row in rows[place:])
            raise BudgetSpent(
                f"{source}: the budget ended after {place} pages; {left} posts are not looked at "
                "again"
            )
        server = home if host == home.host else None
        if host and server is None and open_origin and host not in silent:
            server = open_origin(host)
        updates: list[Update] = []
        before, unknown = home.requests, dict(wanted)
        try:
            for uri, record in _looked_up(server, wanted, now) if server else ():
                del unknown[uri]
                updates += _news(uri, record, source, now)
        except ConnectorError as error:
            if server is home:
                raise
            # Servers of others come and go; what one of them refuses concerns its posts only.
            logger.info("%s: a post's own server: %s", source, type(error).__name__)
            silent.add(host or "")
        if host != home.host and home.has_token:
            for uri in [*unknown]:
                if found := _resolve(home, uri, now):
                    del unknown[uri]
                    updates += _news(uri, found, source, now)
        asked = 0 if server is None or server is home else server.requests
        told = f"{source}: {len(unknown)} posts could not be looked up"
        yield Page(
            updates=tuple(updates),
            more=place + 1 < len(rows),
            cost=Cost(requests=home.requests - before + asked),
            returned=len(wanted) - len(unknown),
            warnings=(told,) if unknown else (),
        )


def read_threads(
    home: Server,
    source: str,
    ids: Sequence[str],
    *,
    open_origin: OpenServer | None,
    budget: Budget,
    now: datetime,
) -> Iterator[Page]:
    """Each conversation as `home` knows it, a page each.

    It finds posts of other servers only with a token. Without one their origin is asked, if
    `open_origin`, and only what it holds itself is taken: the rest may be invented. Raises
    BudgetSpent when conversations are left, and what `home` raises.
    """
    mentions = 0
    for place, uri in enumerate(ids):
        if place == budget.pages or (budget.mentions is not None and mentions >= budget.mentions):
            raise BudgetSpent(
                f"{source}: the budget ended after {place} pages; {len(ids) - place} conversations "
                "are not read"
            )
        before = home.requests
        address = read_address(uri)
        local_id = None
        if address and address.host == home.host:
            local_id = address.local_id
        elif home.has_token and (found := _resolve(home, uri, now)):
            local_id = read_id(found.get("id"))
        if local_id:
            page = _thread(home, local_id, uri, source, now)
            cost = Cost(requests=home.requests - before)
        elif address and address.host != home.host and open_origin:
            origin = open_origin(address.host)
            try:
                page = _thread(origin, address.local_id, uri, source, now, only=address.host)
            except ConnectorError as error:
                page = Page(warnings=(f"{source}: a conversation cannot be read: {error}",))
            cost = Cost(requests=home.requests - before + origin.requests)
        else:
            hint = "" if home.has_token else "; an access_token of this server may help"
            told = f"{source}: a conversation is not found at {home.host}{hint}"
            page, cost = Page(warnings=(told,)), Cost(requests=home.requests - before)
        mentions += len(page.mentions)
        logger.info("%s: %d posts of one conversation", source, len(page.mentions))
        yield Page(
            mentions=page.mentions,
            updates=page.updates,
            more=place + 1 < len(ids),
            cost=cost,
            returned=page.returned,
            warnings=page.warnings,
        )


def _rows(
    home: Server, ids: Sequence[str], *, ask_others: bool
) -> list[tuple[str | None, dict[str, str]]]:
    """The requests to make: host (None: only by searching) and {uri: id there}, those of `home`
    first."""
    by_host: defaultdict[str | None, list[tuple[str, str]]] = defaultdict(list)
    for uri in dict.fromkeys(ids):
        address = read_address(uri)
        if address and (address.host == home.host or ask_others):
            by_host[address.host].append((uri, address.local_id))
        else:
            by_host[None].append((uri, ""))
    return [
        (host, dict(posts[start : start + LARGEST_LOOKUP]))
        for host, posts in sorted(by_host.items(), key=lambda one: one[0] != home.host)
        for start in range(0, len(posts), LARGEST_LOOKUP)
    ]


def _looked_up(
    server: Server, wanted: Mapping[str, str], now: datetime
) -> Iterator[tuple[str, Mapping[str, object] | None]]:
    """Each uri with its record, None for one that is gone; left out is what `server` evades."""
    records: list[object] = []
    if len(wanted) > 1:
        try:
            records = server.statuses([*wanted.values()], now=now)
        except BadConfig:
            # Servers before Mastodon 4.3, and others, give one post at a time.
            logger.debug("%s gives posts one by one", server.host)
    found = {uri_of(one): one for one in records if isinstance(one, Mapping)}
    for uri, local_id in wanted.items():
        record = found.get(uri)
        if record is None:
            # Not in the list: deleted, or the list was cut. Only its own address tells.
            try:
                record = server.status(local_id, now=now)
            except Absent as absent:
                if absent.certain:
                    yield uri, None
                continue
        if uri_of(record) == uri:
            yield uri, record


def _news(
    uri: str, record: Mapping[str, object] | None, source: str, now: datetime
) -> list[Update]:
    if record is None:
        return [to_tombstone(uri, source, "deleted", now)]
    try:
        status = read_status(record)
    except OddRecord as odd:
        # The post is there, but no longer for everybody.
        return [to_tombstone(uri, source, odd.reason, now)]
    return to_updates(status, source, now) if status.uri == uri else []


def _resolve(home: Server, uri: str, now: datetime) -> Mapping[str, object] | None:
    """The record of a post of another server, as `home` has it or fetches it."""
    if not uri.startswith(("https://", "http://")):
        return None
    try:
        records = home.search(uri, limit=_MOST_RESOLVED, resolve=True, now=now)
    except BadConfig:
        return None
    for record in records:
        if isinstance(record, Mapping) and uri_of(record) == uri:
            return record
    return None


def _thread(
    server: Server,
    local_id: str,
    uri: str,
    source: str,
    now: datetime,
    only: str | None = None,
) -> Page:
    """The conversation of a post; with `only`, no posts but those of that host."""
    try:
        first = server.status(local_id, now=now)
        if uri_of(first) != uri:
            return Page(warnings=(f"{source}: {server.host} has another post in that place",))
        above, below = server.context(local_id, now=now)
    except Absent as absent:
        address = read_address(uri)
        if absent.certain and address and address.host == server.host:
            return Page(updates=(to_tombstone(uri, source, "deleted", now),))
        return Page(warnings=(f"{source}: a conversation is not there: {absent}",))
    statuses = read_statuses([*above, first, *below])
    faults = Counter({f"skipped, {why}": n for why, n in statuses.skipped.items()})
    known = {one.local_id: one.uri for one in statuses.found}
    tops = [one for one in statuses.found if one.answers is None]
    root = tops[0].uri if tops and above else uri
    mentions: list[Mention] = []
    for one in statuses.found:
        address = read_address(one.uri)
        if only and (address is None or address.host != only):
            faults["left out, held by other servers"] += 1
            continue
        try:
            mentions.append(
                to_mention(
                    one,
                    source,
                    parent=known.get(one.answers) if one.answers else None,
                    root=None if one.uri == root else root,
                )
            )
        except OddRecord as odd:
            faults[f"skipped, {odd.reason}"] += 1
    return Page(
        mentions=tuple(mentions),
        returned=1 + len(above) + len(below),
        warnings=tuple(f"{source}, a conversation: {why} ({n})" for why, n in faults.items()),
    )
