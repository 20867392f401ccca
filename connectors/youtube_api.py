"""Requests to the YouTube Data API, their quota in units, and what its refusals mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from .base import BadConfig, ConnectorError, Cost, NeedsAuth, RetryAt, Transient
from .guard import GuardedTransport
from .http import Http, retry_time
from .refusal import Refusal, Refusals
from .values import read_count

BASE_URL = "https://www.googleapis.com"

# Quota begins anew at midnight there (developers.google.com/youtube/v3/getting-started#quota).
_PACIFIC = ZoneInfo("America/Los_Angeles")
_SOON = timedelta(minutes=2)
_CONSOLE = "the Google Cloud console"
_NO_KEY = (
    "YouTube needs an API key; make one in the Google Cloud console, enable the YouTube Data API "
    "v3 for it, and set api_key under [sources.youtube]"
)
_REASON = re.compile(r"[A-Za-z_]{1,60}")

_DAY = frozenset({"quotaexceeded", "dailylimitexceeded", "dailylimitexceededunreg"})
_MINUTE = frozenset({"ratelimitexceeded", "userratelimitexceeded", "rate_limit_exceeded"})
_KEY = frozenset(
    {"keyinvalid", "keyexpired", "api_key_invalid", "api_key_service_blocked", "autherror"}
)
_NEEDS = {
    "accessnotconfigured": f"enable the YouTube Data API v3 for the key's project in {_CONSOLE}",
    "service_disabled": f"enable the YouTube Data API v3 for the key's project in {_CONSOLE}",
    "iprefererblocked": f"the key may not be used from here; see its restrictions in {_CONSOLE}",
    "api_key_ip_address_blocked": "the key may not be used from this address; see its restrictions",
    "api_key_http_referrer_blocked": "the key is for web pages; make one without restriction of "
    "referrers",
}
_CLOSED = {
    "commentsdisabled": "comments are switched off",
    "videonotfound": "the video does not exist or is private",
    "channelnotfound": "the channel does not exist",
    "channelclosed": "the channel is closed",
    "channelsuspended": "the channel is suspended",
}


class Closed(BadConfig):
    """The comments of one video or channel cannot be read; others can."""


class Missing(BadConfig):
    """A comment that was asked for by its id does not exist."""


class BadToken(Transient):
    """The token of a page is no longer taken; the list has to be read from its beginning."""


class Processing(Transient):
    """YouTube cannot process a request, though it has no fault; often one page or thread only."""


class Forbidden(NeedsAuth):
    """The key may not read what was asked for; it may be this video or channel only."""


class YouTubeApi:
    """GET requests with an API key, each for one unit of the daily quota.

    `daily_units` is the most that is spent from one midnight in California to the next. What is
    spent is counted here; `used` gives it for a cursor, and `adopt` takes it from one.
    """

    def __init__(
        self,
        key: str = "",
        *,
        base_url: str = BASE_URL,
        daily_units: int = 9_000,
        transport: httpx.BaseTransport | None = None,
        **limits: Any,
    ) -> None:
        self._key = key.strip()
        if not (self._key.isascii() and all("!" <= sign <= "~" for sign in self._key)):
            raise BadConfig("the API key of YouTube holds blanks or odd signs; copy it again")
        self._url = base_url.rstrip("/") + "/youtube/v3/"
        own = base_url.rstrip("/") != BASE_URL
        inner = transport or GuardedTransport(allow_private=own)
        self._http = Http(Refusals(inner), **limits)
        self._daily_units = daily_units
        self._day = ""
        self._units = 0
        self._requests = self._spent = 0

    @property
    def cost(self) -> Cost:
        """Requests made, and units spent on them (as resources), since this was made."""
        return Cost(requests=self._requests, resources=self._spent)

    def used(self) -> Mapping[str, Any]:
        """The day in California of the last request, and the units spent on it."""
        return {"day": self._day, "units": self._units}

    def adopt(self, used: object) -> None:
        """Count the units that `used` tells of, if its day is not over."""
        match used:
            case {"day": str(day), "units": int(units)} if day >= self._day:
                self._units = max(units, self._units) if day == self._day else units
                self._day = day

    def get(
        self, path: str, params: Mapping[str, str | int], *, now: datetime
    ) -> Mapping[str, Any]:
        """The object with the list at `path`.

        Raises `Closed`, `Missing`, `BadToken`, `Forbidden`, `NeedsAuth`, `Transient`, `BadConfig`,
        and `RetryAt`: the quota of the day ends at the next midnight in California.
        """
        if not self._key:
            raise NeedsAuth(_NO_KEY)
        day = f"{now.astimezone(_PACIFIC):%Y-%m-%d}"
        if day > self._day:
            self._day, self._units = day, 0
        if self._units >= self._daily_units:
            raise RetryAt(
                next_reset(now),
                f"YouTube: the {self._daily_units:,} units of daily_units are spent",
            )
        headers = {"accept": "application/json", "x-goog-api-key": self._key}
        requests = 1
        try:
            response = self._http.get(self._url + path, params, headers, now=now)
            requests = response.requests
        except Refusal as refusal:
            raise explained(refusal.status, refusal.headers, refusal.problem, now) from None
        finally:
            # A refused request costs a unit as well.
            self._units += requests
            self._spent += requests
            self._requests += requests
        return read_list(response.json())


def read_list(body: object) -> Mapping[str, Any]:
    """The object of a list; `Transient` for anything else."""
    if not isinstance(body, dict) or not isinstance(body.get("items", []), list):
        raise Transient("YouTube gave an answer that is no list; the next run tries again")
    if "items" not in body and "kind" not in body:
        raise Transient("YouTube gave an answer without a list; the next run tries again")
    return body


def next_reset(now: datetime) -> datetime:
    """The next midnight in California, when quota begins anew (aware UTC)."""
    tomorrow = now.astimezone(_PACIFIC).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), _PACIFIC).astimezone(UTC)


def explained(
    status: int, headers: Mapping[str, str], problem: Mapping[str, Any], now: datetime
) -> ConnectorError:
    """What a refusal means, by its reasons (developers.google.com/youtube/v3/docs/errors)."""
    error = problem.get("error")
    error = error if isinstance(error, Mapping) else {}
    reasons = list(dict.fromkeys(_reasons(error)))
    known = {reason.lower() for reason in reasons}
    named = f"{status}, {reasons[0]}" if reasons else str(status)
    if known & _DAY or _daily(error):
        return RetryAt(next_reset(now), "YouTube: the quota of the day is spent")
    if known & _MINUTE or status == 429:
        hinted = "retry-after" in headers
        when = retry_time(headers, now) if hinted else now + _SOON
        return RetryAt(when, f"YouTube limits requests ({named})")
    for reason, text in _CLOSED.items():
        if reason in known:
            return Closed(text)
    if "commentnotfound" in known:
        return Missing("YouTube knows no such comment; remove its id")
    if known & {"processingfailure", "backenderror", "internalerror"}:
        return Processing(f"YouTube cannot answer now ({named}); the next run tries again")
    if "invalidpagetoken" in known:
        return BadToken(f"YouTube no longer takes the token of a page ({named})")
    if known & _KEY or status == 401:
        return NeedsAuth(f"YouTube refuses the API key ({named}); check the variable of api_key")
    for reason, text in _NEEDS.items():
        if reason in known:
            return NeedsAuth(f"YouTube ({named}): {text}")
    if status == 403:
        return Forbidden(
            f"YouTube forbids this ({named}); check the key, and that the video or channel is "
            "public"
        )
    return BadConfig(f"YouTube refuses the request ({named}); check channels, videos and base_url")


def error_status(problem: Mapping[str, Any]) -> int:
    """The status that the body of an error names; 400 when it names none."""
    error = problem.get("error")
    code = read_count(error.get("code")) if isinstance(error, Mapping) else None
    return code if code is not None and 400 <= code < 600 else 400


def _reasons(error: Mapping[str, Any]) -> Iterator[str]:
    """Reasons, the most telling ones first; never a message, which may hold anything."""
    for name in ("errors", "details"):
        items = error.get(name)
        for item in items if isinstance(items, list) else ():
            reason = item.get("reason") if isinstance(item, Mapping) else None
            if isinstance(reason, str) and _REASON.fullmatch(reason):
                yield reason


def _daily(error: Mapping[str, Any]) -> bool:
    """Whether the limit that was reached is one of a day, as newer answers say in metadata."""
    match error.get("details"):
        case list(details):
            return any(
                "perday" in str(metadata.get("quota_limit", "")).lower()
                for detail in details
                if isinstance(detail, Mapping)
                and isinstance(metadata := detail.get("metadata"), Mapping)
            )
    return False
