"""The one door to the network: bounded in time, size and redirects, quiet about secrets."""

from __future__ import annotations

import base64
import json
import logging
import math
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import unquote

import httpcore
import httpx

from .base import BadConfig, NeedsAuth, RetryAt, Transient
from .guard import GuardedTransport
from .values import finite

logger = logging.getLogger(__name__)

Params = Mapping[str, str | int]

_RETRIED = frozenset({408, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_MAX_RETRY_WAIT = 8.0
_DEFAULT_PAUSE = timedelta(minutes=15)
_LONGEST_PAUSE = timedelta(hours=24)
_RESET_HEADERS = ("x-rate-limit-reset", "x-ratelimit-reset", "ratelimit-reset")
_REMAINING_HEADERS = ("x-rate-limit-remaining", "x-ratelimit-remaining", "ratelimit-remaining")
# What may follow a redirect to another site: nothing that proves who we are.
_HARMLESS = frozenset(
    {"accept", "accept-encoding", "if-modified-since", "if-none-match", "user-agent"}
)
_FAULTS = (
    httpx.TransportError,
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
)


class Gone(BadConfig):
    """The site says that this address will not come back (410)."""


class _Passing(Transient):
    """A fault that is worth another try at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A 2xx or 304 answer. `headers` ignores case, `url` is the last one after redirects.

    `requests` counts the requests it took, retries and redirects included.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    requests: int = 1

    def json(self) -> Any:
        """The parsed body, with None for what is no finite number.

        Raises `Transient` when it is empty, a web page or no JSON.
        """
        place = _place(httpx.URL(self.url))
        if not self.body.strip():
            raise Transient(f"{place} gave an empty answer; the next run tries again")
        if self.body.lstrip()[:1] == b"<":
            raise Transient(f"{place} gave a web page instead of JSON; the next run tries again")
        try:
            return json.loads(self.body, parse_constant=lambda _: None, parse_float=finite)
        except (ValueError, RecursionError):
            raise Transient(f"{place} gave broken JSON; the next run tries again") from None


class Http:
    """GET requests with time and size limits, a few retries and errors that say what to do next.

    `transport` is the seam for tests; the default one refuses private addresses unless
    `allow_private`. `timeout` is for each network step and `deadline` for a whole call, both in
    seconds. `max_bytes` bounds the decompressed body. `wait` (seconds) is called between retries;
    all waits of one call stay below half a minute.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport | None = None,
        *,
        timeout: float = 20.0,
        deadline: float = 60.0,
        max_bytes: int = 10_000_000,
        retries: int = 3,
        allow_private: bool = False,
        user_agent: str = "proactive-listener",
        wait: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        # Not httpx.Client: it logs whole URLs at INFO, keeps cookies and takes proxies from the
        # environment, which would bypass the check of addresses.
        self._transport = transport or GuardedTransport(allow_private=allow_private)
        self._timeout = httpx.Timeout(timeout).as_dict()
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._retries = min(retries, 5)
        self._user_agent = user_agent
        self._wait = wait
        self._monotonic = monotonic

    def get(
        self,
        url: str,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        now: datetime,
    ) -> Response:
        """The answer to GET; 304 counts as one.

        Raises `RetryAt` (429, and 403 or 503 that name a time), `NeedsAuth` (401, 403),
        `BadConfig` (other 4xx, refused address, body too large), `Gone` (410) and `Transient`.
        """
        target = _parse(url)
        if params:
            target = target.copy_merge_params(dict(params))
        wanted = {"accept": "*/*", **{k.lower(): v for k, v in (headers or {}).items()}}
        wanted |= {"user-agent": self._user_agent, "accept-encoding": "gzip"}
        if target.userinfo:
            userinfo = unquote(target.userinfo.decode("ascii")).encode()
            wanted["authorization"] = "Basic " + base64.b64encode(userinfo).decode("ascii")
        until = self._monotonic() + self._deadline
        for attempt in range(self._retries + 1):
            try:
                return self._follow(target, wanted, now, until, attempt)
            except _Passing as fault:
                if attempt == self._retries or self._monotonic() >= until:
                    raise
                logger.info("%s; trying again", fault)
                self._wait(min(0.5 * 2**attempt, _MAX_RETRY_WAIT))
        raise AssertionError("the last attempt returns or raises")

    def json(
        self,
        url: str,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        now: datetime,
    ) -> Any:
        """The parsed JSON answer to GET; raises what `get` and `Response.json` raise."""
        accept = {"accept": "application/json", **(headers or {})}
        return self.get(url, params, accept, now=now).json()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._transport.close()

    def _follow(
        self, url: httpx.URL, headers: dict[str, str], now: datetime, until: float, sent: int
    ) -> Response:
        start = url
        for _ in range(_MAX_REDIRECTS + 1):
            sent += 1
            status, answered, body = self._exchange(url, headers, until)
            logger.info("GET %s: %d, %d bytes", _place(url), status, len(body))
            location = answered.get("location")
            if status not in _REDIRECTS or not location:
                _raise_for_status(status, answered, _place(url), now)
                return Response(
                    status=status, headers=answered, body=body, url=str(url), requests=sent
                )
            url, previous = _redirected(url, location), url
            if (url.scheme, url.host, url.port) != (previous.scheme, previous.host, previous.port):
                headers = {k: v for k, v in headers.items() if k in _HARMLESS}
        raise BadConfig(
            f"{_place(start)} redirects more than {_MAX_REDIRECTS} times; use its final address"
        )

    def _exchange(
        self, url: httpx.URL, headers: dict[str, str], until: float
    ) -> tuple[int, httpx.Headers, bytes]:
        bounds = {"timeout": self._timeout, "deadline": max(until - self._monotonic(), 0.0)}
        request = httpx.Request("GET", url, headers=headers, extensions=bounds)
        place = _place(url)
        try:
            response = self._transport.handle_request(request)
            try:
                good = 200 <= response.status_code < 300
                body = self._body(response, place, until) if good else b""
            finally:
                response.close()
        except _FAULTS as fault:
            if self._monotonic() > until:
                raise self._late(place) from None
            # Only these texts are known to hold nothing that the site sent.
            connecting = isinstance(fault, (httpx.ConnectError, httpcore.ConnectError))
            why = str(fault) if connecting else type(fault).__name__
            raise _Passing(
                f"{place} cannot be reached ({why}); check the network and the address"
            ) from None
        return response.status_code, response.headers, body

    def _body(self, response: httpx.Response, place: str, until: float) -> bytes:
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding in ("gzip", "x-gzip"):
            chunks = _gunzip(_raw(response), self._max_bytes, place)
        elif coding in ("", "identity"):
            chunks = _raw(response)
        else:
            raise Transient(f"{place} used a compression that was not asked for")
        body = bytearray()
        for chunk in chunks:
            body += chunk
            if len(body) > self._max_bytes:
                raise BadConfig(
                    f"{place} gave more than {self._max_bytes:,} bytes; "
                    "use an address with less content"
                )
            if self._monotonic() > until:
                raise self._late(place)
        return bytes(body)

    def _late(self, place: str) -> Transient:
        return Transient(
            f"{place} took longer than {self._deadline:g} seconds to answer; "
            "the next run tries again"
        )


def retry_time(headers: Mapping[str, str], now: datetime) -> datetime:
    """When a site that limits requests wants the next one, from 1 second to 24 hours after `now`.

    Reads Retry-After (seconds or HTTP date), then the reset headers (epoch, seconds left or ISO
    date); 15 minutes when none of them can be read.
    """
    when = _retry_after(headers.get("retry-after", ""), now)
    for name in _RESET_HEADERS:
        when = when or _reset(headers.get(name, ""), now)
    earliest, latest = now + timedelta(seconds=1), now + _LONGEST_PAUSE
    return min(max(when or now + _DEFAULT_PAUSE, earliest), latest)


def _retry_after(value: str, now: datetime) -> datetime | None:
    seconds = _number(value)
    if seconds is not None:
        return _later(now, seconds)
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _reset(value: str, now: datetime) -> datetime | None:
    seconds = _number(value)
    if seconds is not None:
        # Whoever gives less than 30 years of seconds means the seconds that are left.
        return _later(now, seconds - now.timestamp() if seconds > 1e9 else seconds)
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _later(now: datetime, seconds: float) -> datetime:
    bound = _LONGEST_PAUSE.total_seconds()
    return now + timedelta(seconds=min(max(seconds, 0.0), bound))


def _raise_for_status(status: int, headers: Mapping[str, str], place: str, now: datetime) -> None:
    if 200 <= status < 300 or status == 304:
        return
    # A 403 with requests left is a refusal, whatever rate-limit headers stand beside it.
    spent = any(headers.get(name, "").strip() in ("0", "0.0") for name in _REMAINING_HEADERS)
    timed = "retry-after" in headers
    if status == 429 or (status == 403 and (timed or spent)) or (status == 503 and timed):
        raise RetryAt(retry_time(headers, now), f"{place} limits requests ({status})")
    if status in (401, 403):
        raise NeedsAuth(f"{place} refuses access ({status}); check the credentials of this source")
    if status == 410:
        raise Gone(f"{place} is gone (410); remove this address or replace it")
    if status == 404:
        raise BadConfig(f"{place} does not exist (404); check the address")
    if status in _RETRIED:
        raise _Passing(f"{place} is out of order ({status})")
    if 400 <= status < 500:
        raise BadConfig(f"{place} refuses the request ({status}); check the address and settings")
    raise Transient(f"{place} gave an unusable answer ({status}); the next run tries again")


def _parse(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL:
        raise BadConfig("an address is not a valid URL; write it as https://host/path") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise BadConfig("an address must start with http:// or https:// and name a host")
    return parsed


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    try:
        target = url.join(location)
    except httpx.InvalidURL:
        raise Transient(f"{_place(url)} redirects to a broken address") from None
    if target.scheme not in ("http", "https") or not target.host:
        raise BadConfig(f"{_place(url)} redirects to something that is no web address")
    if url.scheme == "https" and target.scheme == "http":
        raise BadConfig(f"{_place(url)} redirects from https to http, which is refused")
    return target


def _place(url: httpx.URL) -> str:
    """Host and path, still percent-encoded (so on one line); never the query or credentials."""
    path = url.raw_path.partition(b"?")[0].decode("ascii", "replace")
    return f"{url.raw_host.decode('ascii', 'replace')}{path[:200]}"


def _raw(response: httpx.Response) -> Iterator[bytes]:
    # Not iter_bytes: it inflates a whole chunk before it can be counted, a thousandfold and more.
    yield from cast("httpx.SyncByteStream", response.stream)


def _gunzip(chunks: Iterable[bytes], max_bytes: int, place: str) -> Iterator[bytes]:
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    given = 0
    try:
        for chunk in chunks:
            data = inflate.decompress(chunk, max_bytes + 1 - given)
            given += len(data)
            yield data
    except zlib.error:
        raise Transient(f"{place} gave a broken gzip body; the next run tries again") from None
    if not inflate.eof:
        raise _Passing(f"{place} gave only a part of its answer")
