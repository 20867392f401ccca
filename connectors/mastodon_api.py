"""The API of a Mastodon server (or one that speaks like it), and what its refusals mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx

from .base import BadConfig, ConnectorError, NeedsAuth, RetryAt, Transient
from .guard import GuardedTransport
from .http import Http, Response, retry_time
from .refusal import Refusal, Refusals

if TYPE_CHECKING:
    from .mastodon_client import Client

LARGEST_PAGE, LARGEST_LOOKUP = 40, 20

_ACCESS = (
    "make one in the preferences of an account there (Development > New application, scope read), "
    "and set its variable as access_token under [[sources.mastodon.servers]]"
)


class Absent(BadConfig):
    """What was asked for is not there (404, 410); `certain` when the API itself says so."""

    def __init__(self, text: str, *, certain: bool) -> None:
        super().__init__(text)
        self.certain = certain


class Server:
    """GET requests to one server, as Mastodon.py writes them; never sleeps for a rate limit.

    Bodies come as they are (`Any` JSON of the right outer type). Each method raises `Absent`,
    `RetryAt`, `NeedsAuth`, `Transient`, and `BadConfig` for a request that is not accepted.
    """

    def __init__(self, url: str, access_token: str = "", http: Http | None = None) -> None:
        parts = urlsplit(url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise BadConfig("url of a Mastodon server must look like https://mastodon.example")
        self._url = f"{parts.scheme}://{parts.netloc}"
        self.host = parts.netloc.lower()
        self._token = access_token.strip()
        self._http = http or open_http()
        self._made: Client | None = None
        self._requests = 0
        self._now: datetime
        self._outcome: Response | Exception | None = None

    @property
    def requests(self) -> int:
        """Requests made so far, further tries included."""
        return self._requests

    @property
    def has_token(self) -> bool:
        """Whether it is asked in the name of an account."""
        return bool(self._token)

    def tag(
        self, tag: str, *, min_id: str | None, max_id: str | None, limit: int, now: datetime
    ) -> list[object]:
        """Posts with a hashtag, newest first: those just behind `min_id`, or below `max_id`."""
        name = quote(tag, safe="")
        return self._list(
            lambda c: c.timeline_hashtag(name, min_id=min_id, max_id=max_id, limit=limit), now
        )

    def mentions(
        self, *, min_id: str | None, max_id: str | None, limit: int, now: datetime
    ) -> list[object]:
        """Notifications of mentions of the account; other types where a server knows no choice."""
        return self._list(
            lambda c: c.notifications(types=["mention"], min_id=min_id, max_id=max_id, limit=limit),
            now,
        )

    def search(
        self, text: str, *, offset: int = 0, limit: int, resolve: bool = False, now: datetime
    ) -> list[object]:
        """Posts that a search finds; with `resolve`, `text` is the address of one."""
        body = self._object(
            lambda c: c.search_v2(
                text,
                resolve=resolve,
                result_type="statuses",
                offset=offset or None,
                limit=limit,
                exclude_unreviewed=False,
            ),
            now,
        )
        found = body.get("statuses")
        if not isinstance(found, list):
            raise Transient(f"{self.host} gave no list of posts; the next run tries again")
        return found

    def status(self, local_id: str, *, now: datetime) -> Mapping[str, Any]:
        """One post by the id that it has on this server."""
        return self._object(lambda c: c.status(_segment(local_id)), now)

    def statuses(self, local_ids: Sequence[str], *, now: datetime) -> list[object]:
        """Up to 20 posts by their ids; those that are not there are left out (Mastodon 4.3)."""
        return self._list(lambda c: c.statuses(list(local_ids)), now)

    def context(self, local_id: str, *, now: datetime) -> tuple[list[object], list[object]]:
        """The posts above and below one in its conversation, each before what answers it."""
        match self._object(lambda c: c.status_context(_segment(local_id)), now):
            case {"ancestors": list(above), "descendants": list(below)}:
                return above, below
        raise Transient(f"{self.host} gave no conversation; the next run tries again")

    def account(self, *, now: datetime) -> Mapping[str, Any]:
        """The account behind the token."""
        return self._object(lambda c: c.account_verify_credentials(), now)

    def _list(self, call: Callable[[Client], object], now: datetime) -> list[object]:
        body = self._ask(call, now)
        if not isinstance(body, list):
            raise Transient(f"{self.host} gave no list; the next run tries again")
        return body

    def _object(self, call: Callable[[Client], object], now: datetime) -> Mapping[str, Any]:
        body = self._ask(call, now)
        if not isinstance(body, dict):
            raise Transient(f"{self.host} gave no object; the next run tries again")
        return body

    def _ask(self, call: Callable[[Client], object], now: datetime) -> Any:
        self._now, self._outcome = now, None
        call(self._client())
        outcome: Response | Exception | None = self._outcome
        if isinstance(outcome, Refusal):
            raise explain(
                outcome.status,
                outcome.headers,
                outcome.problem,
                place=self.host,
                has_token=self.has_token,
                now=now,
            ) from None
        if isinstance(outcome, Response):
            return outcome.json()
        raise outcome or AssertionError("the library made no request")

    def _client(self) -> Client:
        # Only here, so that listing sources imports no client library.
        from .mastodon_client import Client

        self._made = self._made or Client(self._url, self._token, self._send)
        return self._made

    def _send(self, url: str, headers: Mapping[str, str]) -> None:
        wanted = {"accept": "application/json", **headers}
        try:
            answer = self._http.get(url, headers=wanted, now=self._now)
        except (ConnectorError, Refusal) as error:
            # Through the library it would arrive as another one.
            self._outcome = error
            self._requests += 1
        else:
            self._outcome = answer
            self._requests += answer.requests


def open_http(
    *, private: bool = False, transport: httpx.BaseTransport | None = None, **limits: Any
) -> Http:
    """A door whose refusals can be told apart. `limits` are those of `Http`."""
    inner = transport or GuardedTransport(allow_private=private)
    return Http(Refusals(inner), **{"retries": 2, **limits})


def open_origin(host: str) -> Server:
    """The server that holds a post of somebody else: public addresses only, no token, little
    patience."""
    return Server(f"https://{host}", http=open_http(timeout=5.0, deadline=10.0, retries=0))


def explain(
    status: int,
    headers: Mapping[str, str],
    problem: Mapping[str, Any],
    *,
    place: str,
    has_token: bool,
    now: datetime,
) -> ConnectorError:
    """The error that an answer without success stands for; `problem` is the object in its body."""
    said = problem.get("error")
    if status == 429 or (status in (403, 503) and "retry-after" in headers):
        return RetryAt(retry_time(headers, now), f"{place} limits requests ({status})")
    if status >= 500 or status == 408:
        return Transient(f"{place} is out of order ({status}); the next run tries again")
    if status == 401 or (status == 422 and _wants_account(said, has_token=has_token)):
        if has_token:
            return NeedsAuth(f"{place} refuses the token ({status}); {_ACCESS}")
        return NeedsAuth(f"{place} answers accounts only ({status}); {_ACCESS}")
    if status == 403 and isinstance(said, str):
        return NeedsAuth(f"{place} does not allow this token to read that (403); {_ACCESS}")
    if status == 403:
        return NeedsAuth(f"{place} blocks this client (403); ask its operators, or use another")
    if status in (404, 410):
        text = f"{place} has no such post or page ({status}); check url"
        return Absent(text, certain=isinstance(said, str))
    return BadConfig(f"{place} refuses the request ({status}); check url and the terms")


def _wants_account(said: object, *, has_token: bool) -> bool:
    # Mastodon says this in English when no account is behind the request, whatever the language.
    return not has_token or (isinstance(said, str) and "authenticated user" in said)


def _segment(text: str) -> str:
    return quote(text, safe="")
