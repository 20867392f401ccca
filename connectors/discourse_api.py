"""Requests to forums that run Discourse, and what their refusals mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx

from .base import BadConfig, ConnectorError, Cost, NeedsAuth, RetryAt, Transient
from .guard import GuardedTransport
from .http import Http, retry_time
from .refusal import Refusal, Refusals
from .values import read_count

_LONGEST_WAIT = 86_400
_CATEGORY = re.compile(r"=?[\w-]{1,100}")
_NAME = re.compile(r"[a-z_]{1,40}")


class Closed(BadConfig):
    """A post or topic cannot be read: it is gone or not public; `gone` says which."""

    def __init__(self, text: str, *, gone: bool) -> None:
        super().__init__(text)
        self.gone = gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Forum:
    """One forum by its address; `key` is its host (and folder), which goes before its ids, and
    `name` what people call it.

    With `api_key` goes the name of its user. `categories` (slugs) bound the search. Raises
    BadConfig for an address or category that cannot be one.
    """

    url: str
    name: str = ""
    api_key: str = field(default="", repr=False)
    api_username: str = ""
    categories: tuple[str, ...] = ()
    key: str = field(init=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url.strip())
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("http", "https"):
            raise BadConfig("the address of a forum must start with https:// and name a host")
        for category in self.categories:
            if not _CATEGORY.fullmatch(category):
                raise BadConfig(
                    f"{category[:40]!r} is no category of a forum; write its slug, the part of "
                    "its address behind /c/"
                )
        for value in (self.api_key, self.api_username):
            if not (value.isascii() and value.isprintable()):
                raise BadConfig("api_key and api_username of a forum must be plain characters")
        key = host + (f":{port}" if port else "") + parts.path.rstrip("/")
        object.__setattr__(self, "key", key.lower())
        object.__setattr__(self, "name", self.name or self.key)
        object.__setattr__(self, "url", f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}")


class DiscourseApi:
    """GET requests to forums. One that asks to wait is not asked before its time.

    Private addresses are refused unless `allow_private`.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        transport: httpx.BaseTransport | None = None,
        **limits: Any,
    ) -> None:
        inner = transport or GuardedTransport(allow_private=allow_private)
        self._http = Http(Refusals(inner), **limits)
        self._until: dict[str, datetime] = {}
        self._requests = 0

    @property
    def cost(self) -> Cost:
        """Requests made since this was made."""
        return Cost(requests=self._requests)

    def until(self, forum: Forum) -> datetime | None:
        """When `forum` may be asked again, if it has asked to wait."""
        return self._until.get(forum.key)

    def wait(self, forum: Forum, until: datetime) -> None:
        """Do not ask `forum` before `until`."""
        self._until[forum.key] = max(until, self._until.get(forum.key, until))

    def get(
        self,
        forum: Forum,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        now: datetime,
    ) -> Any:
        """The JSON at `path` of a forum.

        Raises `Closed` (404, 410, and 403 for one thing), `NeedsAuth`, `RetryAt`, `Transient` and
        `BadConfig`.
        """
        until = self._until.get(forum.key)
        if until is not None and now < until:
            raise RetryAt(until, f"{forum.key} asked to wait")
        headers = {"accept": "application/json"}
        if forum.api_key:
            headers["api-key"] = forum.api_key
            headers["api-username"] = forum.api_username or "system"
        requests = 1
        try:
            response = self._http.get(f"{forum.url}/{path}", params, headers, now=now)
            requests = response.requests
        except Refusal as refusal:
            error = explained(forum, refusal.status, refusal.headers, refusal.problem, now)
            if isinstance(error, RetryAt):
                self.wait(forum, error.when)
            raise error from None
        except RetryAt as error:
            self.wait(forum, error.when)
            raise
        finally:
            self._requests += requests
        if urlsplit(response.url).path.rstrip("/").endswith(("/login", "/session/sso")):
            raise _login(forum)
        return response.json()


def explained(
    forum: Forum,
    status: int,
    headers: Mapping[str, str],
    problem: Mapping[str, Any],
    now: datetime,
) -> ConnectorError:
    """What a refusal means, by `error_type` in its body (Discourse's ApplicationController)."""
    kind = problem.get("error_type")
    kind = kind if isinstance(kind, str) and _NAME.fullmatch(kind) else ""
    if status == 429 or kind == "rate_limit":
        return RetryAt(_wait(headers, problem, now), f"{forum.key} limits requests ({status})")
    if kind == "not_logged_in" or status == 401:
        return _login(forum)
    if status == 403 and forum.api_key:
        return NeedsAuth(
            f"{forum.key} refuses access (403); check its api_key and api_username under "
            "[[sources.discourse.forums]]"
        )
    if status == 403:
        return Closed(f"{forum.key}: what was asked for is not public (403)", gone=False)
    if status in (404, 410):
        return Closed(f"{forum.key}: what was asked for does not exist ({status})", gone=True)
    if status == 409:
        return Transient(f"{forum.key} is overloaded (409); the next run tries again")
    named = f"{status}, {kind}" if kind else str(status)
    return BadConfig(f"{forum.key} refuses the request ({named}); check url, categories and terms")


def spent_since(before: Cost, api: DiscourseApi) -> Cost:
    """What `api` has spent after it stood at `before`."""
    return Cost(requests=api.cost.requests - before.requests)


def read_posts(body: object) -> Sequence[object]:
    """The posts of a topic or search; Transient for an answer without a list of posts."""
    match body:
        case {"post_stream": {"posts": list(posts)}}:
            return posts
        case {"grouped_search_result": {"error": str(error)}} if error.strip():
            raise Transient("a forum is too busy to search; the next run tries again")
        case {"posts": list(posts)}:
            return posts
        case {"grouped_search_result": _}:
            return []
    raise Transient("a forum gave an answer without posts; the next run tries again")


def _login(forum: Forum) -> NeedsAuth:
    return NeedsAuth(
        f"{forum.key} is for members only; set api_key and api_username of this forum under "
        "[[sources.discourse.forums]]"
    )


def _wait(headers: Mapping[str, str], problem: Mapping[str, Any], now: datetime) -> datetime:
    extras = problem.get("extras")
    seconds = read_count(extras.get("wait_seconds")) if isinstance(extras, Mapping) else None
    if "retry-after" in headers or seconds is None:
        return retry_time(headers, now)
    return now + timedelta(seconds=min(max(seconds, 1), _LONGEST_WAIT))
