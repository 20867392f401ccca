"""RSS and Atom feeds, Google Alerts among them."""

from __future__ import annotations

import calendar
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import feedparser

from .base import (
    Author,
    BadConfig,
    Budget,
    BudgetSpent,
    Capabilities,
    ConnectorError,
    Cost,
    Cursor,
    Mention,
    Page,
    Query,
    RetryAt,
    Transient,
)
from .http import Http, Response
from .text import canonical_url, clean_text, html_to_text, unwrap_url, web_url
from .values import require_aware

logger = logging.getLogger(__name__)

_ACCEPT = "application/atom+xml, application/rss+xml, application/xml;q=0.9, */*;q=0.5"
# Entries read of one document and identities remembered for one feed: the second covers the
# first, so what was given stays known as long as the feed lists it.
_MOST = 2_000
_LONGEST_TITLE, _LONGEST_TEXT = 1_000, 100_000
_LONGEST_ID = 300
_URI = re.compile(r"(?:https?://|tag:|urn:)\S+")
_ADDRESS = re.compile(r"\S+@\S+")
_LANGUAGE = re.compile(r"([a-z]{2})(?![a-z])", re.IGNORECASE)
# Before, there were no feeds; after, a date is a slip of the pen.
_EARLIEST, _LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
# Faults of the declaration only; the document was read whole.
_HARMLESS = (feedparser.CharacterEncodingOverride, feedparser.NonXMLContentType)


@dataclass(frozen=True, slots=True)
class Feed:
    """One feed: its address, how people call it, and its language (ISO 639-1) if it is known."""

    url: str
    name: str | None = None
    lang: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What is known of a feed: validators as sent, hashes of given entries, seconds of the epoch
    of the last request and of the next one that the site allows."""

    etag: str | None = None
    modified: str | None = None
    seen: tuple[str, ...] = ()
    polled: int = 0
    until: int = 0


class Rss:
    """The entries of a list of feeds, each entry once, one page per feed.

    A feed that fails is a warning; only when all of them fail is the first error raised.
    """

    def __init__(self, http: Http, feeds: Sequence[Feed], source: str = "rss") -> None:
        self._http = http
        self._feeds = {_digest(feed.url): feed for feed in feeds}
        self._source = source

    @property
    def source(self) -> str:
        """Name that goes into `Mention.source`."""
        return self._source

    def capabilities(self) -> Capabilities:
        """Reads whole feeds, whatever the queries are; needs no account."""
        return Capabilities(
            by_query=False,
            gives="entries of RSS and Atom feeds, Google Alerts among them",
            needs="addresses of feeds",
        )

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """One page per feed that answers; `query` plays no part.

        Raises `BudgetSpent` after the last page that the budget allows when feeds are left.
        """
        now = require_aware(now)
        self._need_feeds()
        states = _states(cursor)
        # Who waited longest comes first, so that no feed starves under a small budget.
        order = sorted(self._feeds, key=lambda key: states.get(key, _State()).polled)
        pages = mentions = 0
        failures: list[ConnectorError] = []
        untold: list[str] = []
        for place, key in enumerate(order, start=1):
            _stop_when_spent(self._source, budget, pages, mentions)
            left = None if budget.mentions is None else budget.mentions - mentions
            feed, state = self._feeds[key], states.get(key, _State())
            try:
                page, following, whole = self._page(key, state, left, now)
            except ConnectorError as error:
                failures.append(error)
                untold.append(f"feed {_host(feed)}: {error}")
                until = _epoch(error.when) if isinstance(error, RetryAt) else 0
                states[key] = replace(state, polled=_epoch(now), until=until)
                continue
            states[key] = following
            pages += 1
            mentions += len(page.mentions)
            warnings = (*untold, *page.warnings)
            untold.clear()
            more = not whole or place < len(order)
            yield replace(page, cursor=self._cursor(states), more=more, warnings=warnings)
            if not whole:
                _stop_when_spent(self._source, budget, pages, mentions)
        if failures and not pages:
            raise failures[0]
        if untold:
            yield Page(cursor=self._cursor(states), warnings=tuple(untold))

    def check(self, *, now: datetime) -> str:
        """Fetch every feed once; raises the first error when none of them can be read."""
        self._need_feeds()
        entries, failures = 0, list[ConnectorError]()
        for feed in self._feeds.values():
            try:
                entries += len(
                    _parse(self._http.get(feed.url, headers=_headers(), now=now)).entries
                )
            except ConnectorError as error:
                failures.append(error)
        if len(failures) == len(self._feeds):
            raise failures[0]
        good = len(self._feeds) - len(failures)
        told = "".join(f"; {failure}" for failure in failures)
        return f"{self._source}: {good} of {len(self._feeds)} feeds answer, {entries} entries{told}"

    def _need_feeds(self) -> None:
        if not self._feeds:
            raise BadConfig(f"source {self._source!r} has no feeds; add the address of one")

    def _cursor(self, states: Mapping[str, _State]) -> Cursor:
        # Feeds are known by a digest: an address may hold a token, and cursors are stored.
        return {"feeds": {key: asdict(states[key]) for key in self._feeds if key in states}}

    def _page(
        self, key: str, state: _State, left: int | None, now: datetime
    ) -> tuple[Page, _State, bool]:
        """At most `left` new entries of a feed, its next state, and whether that is all."""
        feed = self._feeds[key]
        if state.until > _epoch(now):
            raise RetryAt(datetime.fromtimestamp(state.until, UTC), f"{_host(feed)} asked to wait")
        response = self._http.get(feed.url, headers=_headers(state), now=now)
        cost = Cost(requests=response.requests)
        if response.status == 304:
            return Page(cost=cost), replace(state, polled=_epoch(now), until=0), True
        document = _parse(response)
        known, current = set(state.seen), dict[str, None]()
        links: dict[str, str] = {}
        mentions: list[Mention] = []
        faults: Counter[str] = Counter()
        whole = True
        if len(document.entries) > _MOST:
            faults[f"entries after the first {_MOST:,} were left out"] += 1
        for entry in document.entries[:_MOST]:
            native_id = _identity(entry, key, links)
            mark = _digest(native_id)
            if mark in current:
                continue
            if mark not in known:
                if left is not None and len(mentions) >= left:
                    whole = False
                    break
                mention = self._mention(feed, document, entry, native_id, now, faults)
                if mention is None:
                    continue
                mentions.append(mention)
            current[mark] = None
        if _ill_formed(document):
            faults["the document is ill-formed; what could be read was taken"] += 1
        logger.info(
            "feed %s: %d entries, %d new", _host(feed), len(document.entries), len(mentions)
        )
        older = [mark for mark in state.seen if mark not in current]
        following = _State(
            # Without these the next run gets the document again, with the entries left out now.
            etag=_validator(response, "etag") if whole else None,
            modified=_validator(response, "last-modified") if whole else None,
            seen=(*current, *older)[:_MOST],
            polled=_epoch(now),
        )
        page = Page(
            mentions=tuple(mentions),
            cost=cost,
            returned=len(document.entries),
            warnings=tuple(f"feed {_host(feed)}: {what} ({n})" for what, n in faults.items()),
        )
        return page, following, whole

    def _mention(
        self,
        feed: Feed,
        document: Any,
        entry: Any,
        native_id: str,
        now: datetime,
        faults: Counter[str],
    ) -> Mention | None:
        title = " ".join(_plain(entry.get("title_detail")).split())[:_LONGEST_TITLE] or None
        bodies = [*entry.get("content", ()), entry.get("summary_detail")]
        text = max(map(_plain, bodies), key=len)
        if not (title or text):
            faults["entries without text were skipped"] += 1
            return None
        if len(text) > _LONGEST_TEXT:
            faults[f"texts were cut at {_LONGEST_TEXT:,} characters"] += 1
            text = text[:_LONGEST_TEXT]
        published = _published(entry)
        if published is None:
            faults["entries without a usable date got the time of reading"] += 1
        # Many feeds write "address (name)"; the address is nobody's public name.
        written = clean_text(str(entry.get("author") or ""))[:200]
        name = _ADDRESS.sub("", written).strip(" ()<>,")
        author = Author(source=self._source, native_id=f"{_host(feed)}/{name}", name=name)
        language = _LANGUAGE.match(str(feed.lang or document.feed.get("language") or ""))
        tags = [str(tag.get("term") or "") for tag in entry.get("tags", ())[:50]]
        place = feed.name or _plain(document.feed.get("title_detail"))
        return Mention(
            source=self._source,
            native_id=native_id,
            text=text,
            published_at=published or now,
            url=_link(entry),
            title=title,
            author=author if name else None,
            lang=language[1].lower() if language else None,
            raw={"feed": place[:200], "tags": [clean_text(tag)[:100] for tag in tags if tag]},
        )


def _headers(state: _State | None = None) -> dict[str, str]:
    headers = {"accept": _ACCEPT}
    if state and state.etag:
        headers["if-none-match"] = state.etag
    if state and state.modified:
        headers["if-modified-since"] = state.modified
    return headers


def _validator(response: Response, name: str) -> str | None:
    # Sent back as it came; one that cannot be written into a header again is of no use.
    value = response.headers.get(name)
    return value if value and value.isascii() and value.isprintable() else None


def _parse(response: Response) -> Any:
    """The document of a feed; `BadConfig` when it is none, `Transient` when it breaks off."""
    host = urlsplit(response.url).hostname
    if not response.body.strip():
        raise Transient(f"{host} gave an empty document; the next run tries again")
    headers = {"content-location": response.url}
    if "content-type" in response.headers:
        headers["content-type"] = response.headers["content-type"]
    try:
        # A stream of bytes: feedparser opens what looks like an address or a file name.
        document = feedparser.parse(
            BytesIO(response.body),
            response_headers=headers,
            resolve_relative_uris=False,
            sanitize_html=False,
        )
    except Exception as error:
        # Any error: the parser meets hostile bytes, and one feed must not stop the others.
        raise BadConfig(
            f"{host} gave a document that cannot be read ({type(error).__name__}); "
            "check the address of the feed"
        ) from None
    if not document.entries and not document.version:
        raise BadConfig(f"{host} gave no feed; use the address of the feed, not of the page")
    if not document.entries and _ill_formed(document):
        raise Transient(f"{host} gave a broken feed without entries; the next run tries again")
    return document


def _ill_formed(document: Any) -> bool:
    return bool(document.bozo) and not isinstance(document.get("bozo_exception"), _HARMLESS)


def _plain(detail: Any) -> str:
    """The text of a feedparser detail; "" for none and for what is no text (images, base64)."""
    value = detail.get("value") if detail else None
    kind = str(detail.get("type") or "text/html") if detail else ""
    if not isinstance(value, str) or not kind.startswith(("text/", "application/xhtml")):
        return ""
    return clean_text(value) if kind == "text/plain" else html_to_text(value)


def _identity(entry: Any, feed: str, links: dict[str, str]) -> str:
    """The guid of an entry, else its canonical link, else a digest of its title and date.

    What is not unique in the world is put under the digest of its feed. `links` are the links of
    the document by canonical form: different ones that look alike without their parameters stay
    apart.
    """
    guid, link = clean_text(str(entry.get("id") or "")), _link(entry)
    if guid and not _URI.fullmatch(guid):
        return f"{feed}:{guid if len(guid) <= _LONGEST_ID else _digest(guid)}"
    if not guid and link:
        guid = canonical_url(link)
        if links.setdefault(guid, link) != link:
            guid = link
    if not guid:
        parts = [entry.get(name) for name in ("title", "published")]
        return f"{feed}:{_digest(repr(parts if any(parts) else entry.get('summary')))}"
    return guid if len(guid) <= _LONGEST_ID else f"{feed}:{_digest(guid)}"


def _link(entry: Any) -> str | None:
    return web_url(unwrap_url(str(entry.get("link") or "").strip()))


def _published(entry: Any) -> datetime | None:
    for name in ("published_parsed", "updated_parsed"):
        if name not in entry:  # get() would take one for the other
            continue
        try:
            published = datetime.fromtimestamp(calendar.timegm(entry[name]), UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            continue
        if _EARLIEST <= published < _LATEST:
            return published
    return None


def _stop_when_spent(source: str, budget: Budget, pages: int, mentions: int) -> None:
    if (budget.pages is not None and pages >= budget.pages) or (
        budget.mentions is not None and mentions >= budget.mentions
    ):
        raise BudgetSpent(
            f"{source}: the budget ended after {pages} feeds and {mentions} mentions; "
            "the next run goes on from there"
        )


def _states(cursor: Cursor | None) -> dict[str, _State]:
    """The states in a cursor; what cannot be read starts anew."""
    feeds: Any = cursor.get("feeds") if cursor else None
    states = {}
    for key, value in feeds.items() if isinstance(feeds, Mapping) else ():
        try:
            states[key] = _State(
                etag=value["etag"],
                modified=value["modified"],
                seen=tuple(map(str, value["seen"])),
                polled=int(value["polled"]),
                until=int(value["until"]),
            )
        except (KeyError, TypeError, ValueError):
            continue
    return states


def _host(feed: Feed) -> str:
    try:
        return urlsplit(feed.url).hostname or "without a host"
    except ValueError:
        return "without a host"


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _epoch(when: datetime) -> int:
    return int(when.timestamp())
