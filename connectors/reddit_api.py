"""praw behind Listener's own door to the network, and what Reddit's refusals mean."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import Any, cast

import httpcore
import httpx
import praw
import prawcore
import requests

from .base import BadConfig, ConnectorError, NeedsAuth, RetryAt, Transient
from .guard import GuardedTransport
from .http import Http, retry_time
from .refusal import Refusal, Refusals, is_refusal, json_object, start_of

API_URL, TOKEN_URL = "https://oauth.reddit.com", "https://www.reddit.com"

_POLICY = (
    "https://support.reddithelp.com/hc/en-us/articles/42728983564564-Responsible-Builder-Policy"
)
_REQUEST = "https://support.reddithelp.com/hc/en-us/requests/new?ticket_form_id=14868593862164"
# What to do comes first: tables cut a long text off.
_NO_APP = (
    f"Reddit needs an approved app (on request since November 2025): ask at {_REQUEST}, then set "
    "client_id and client_secret under [sources.reddit]. Without an app, import dumps of Reddit: "
    f"listener import FILE.zst. What Reddit wants to know of an app: {_POLICY}"
)
_REFUSED_APP = (
    "Reddit refuses the app; check the variables behind client_id and client_secret under "
    f"[sources.reddit], and that the app is approved ({_REQUEST})"
)
_BLOCKED = (
    "Reddit blocks this client (403); name your app and account in user_agent under "
    f"[sources.reddit], and check that the app is approved ({_REQUEST})"
)
_CLOSED = {
    "private": "is private",
    "quarantined": "is quarantined, which needs the consent of an account",
    "gold_only": "is for paying members only",
    "banned": "is banned",
}
_UNREACHABLE = (
    httpx.TransportError,
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
)
_USER_AGENT = re.compile(r"[!-~][ -~]{5,253}[!-~]")
_TIMEOUT = httpx.Timeout(20.0).as_dict()


class Closed(BadConfig):
    """What was asked for cannot be read: it is private, banned, quarantined, or not there."""


class Gone(Closed):
    """What was asked for does not exist, or not any more."""


class RedditApi:
    """GET requests to Reddit as an app without an account; never sleeps for a rate limit.

    `base_url` takes the place of both hosts of Reddit, and may then be a private address. The token
    is kept in memory, fetched when needed, and once more when it is refused. `transport` is the
    seam for tests; `limits` are those of `Http`.
    """

    def __init__(
        self,
        client_id: str = "",
        client_secret: str = "",
        user_agent: str = "python:proactive-listener",
        *,
        base_url: str | None = None,
        transport: httpx.BaseTransport | None = None,
        **limits: Any,
    ) -> None:
        if not _USER_AGENT.fullmatch(user_agent):
            raise BadConfig(
                "user_agent of Reddit must be 7 to 255 plain characters, such as "
                '"python:listener-of-lumora:1.0 (by /u/lumora)"'
            )
        self._app = client_id.strip(), client_secret.strip()
        self._urls = (base_url.rstrip("/"),) * 2 if base_url else (API_URL, TOKEN_URL)
        self._user_agent = user_agent
        self._transport = Refusals(
            transport or GuardedTransport(allow_private=bool(base_url)), _refused
        )
        self._http = Http(
            self._transport,
            **{"retries": 1, "max_bytes": 20_000_000, "user_agent": user_agent, **limits},
        )
        self._reddit: praw.Reddit | None = None
        self._now: datetime
        self._full_until: datetime | None = None
        self._requests = 0

    @property
    def requests(self) -> int:
        """Requests made so far, those for tokens and further tries included."""
        return self._requests

    def get(self, path: str, params: Mapping[str, str | int], *, now: datetime) -> Any:
        """The JSON array or object at `path`.

        Raises `Closed`, `Gone`, `RetryAt`, `NeedsAuth`, `Transient`, and `BadConfig` for a request
        that Reddit does not accept.
        """
        if not self._app[0]:
            raise NeedsAuth(_NO_APP)
        if self._full_until is not None and now < self._full_until:
            raise RetryAt(self._full_until, "Reddit's limit of requests is reached")
        self._now = now
        for _ in range(2):
            try:
                return self._ask(path, params)
            except Refusal as refusal:
                if refusal.status != 401:
                    raise _explained(refusal, now) from None
                # The token ran out or was revoked; if a new one is refused too, the app is.
                self._reddit = None
        raise NeedsAuth(_REFUSED_APP)

    def _ask(self, path: str, params: Mapping[str, str | int]) -> Any:
        self._reddit = self._reddit or self._client()
        try:
            body = self._reddit.request(method="GET", path=path, params=dict(params))
        except (prawcore.PrawcoreException, RecursionError):
            raise Transient("Reddit gave broken JSON or none; the next run tries again") from None
        if not isinstance(body, dict | list) or not body:
            raise Transient("Reddit gave an empty answer; the next run tries again")
        return body

    def _client(self) -> praw.Reddit:
        client_id, client_secret = self._app
        return praw.Reddit(
            client_id=client_id,
            client_secret=client_secret or None,
            user_agent=self._user_agent,
            oauth_url=self._urls[0],
            reddit_url=self._urls[1],
            # A praw.ini or variable of the user must not make this log in as an account.
            username=None,
            password=None,
            refresh_token=None,
            check_for_updates=False,
            check_for_async=False,
            # Annotated as a class, used as what makes one.
            requestor_class=cast(
                "type[prawcore.Requestor]", partial(_Requestor, read=self._read, login=self._login)
            ),
        )

    def _read(self, url: str, params: Mapping[str, str | int], authorization: str) -> bytes:
        headers = {"accept": "application/json", "authorization": authorization}
        answer = self._http.get(url, params, headers, now=self._now)
        self._requests += answer.requests
        if _number(answer.headers.get("x-ratelimit-remaining")) < 1:
            self._full_until = retry_time(answer.headers, self._now)
        return answer.body

    def _login(self, url: str, app: tuple[str, str], fields: Iterable[tuple[str, str]]) -> bytes:
        """The body of a new token; raises `NeedsAuth` when the app is refused."""
        credentials = base64.b64encode(":".join(app).encode()).decode("ascii")
        request = httpx.Request(
            "POST",
            url,
            data=dict(fields),
            headers={
                "authorization": f"Basic {credentials}",
                "user-agent": self._user_agent,
                "accept-encoding": "identity",
            },
            extensions={"timeout": _TIMEOUT},
        )
        self._requests += 1
        try:
            response = self._transport.handle_request(request)
            body = start_of(response)
        except Refusal as refusal:
            if refusal.status in (400, 401):
                raise NeedsAuth(_REFUSED_APP) from None
            raise _explained(refusal, self._now) from None
        except _UNREACHABLE as fault:
            raise Transient(
                f"Reddit cannot be reached ({type(fault).__name__}); check the network"
            ) from None
        if response.status_code != 200:
            raise Transient(f"Reddit gives no token ({response.status_code}); try again later")
        token = json_object(body)
        if "error" in token:
            raise NeedsAuth(_REFUSED_APP)
        match token:
            case {"access_token": str(), "expires_in": int()}:
                return json.dumps({"scope": "*", **token}).encode()
        raise Transient("Reddit gave an answer that holds no token; the next run tries again")


class _Requestor(prawcore.Requestor):
    """Sends what prawcore asks for through `RedditApi`, whose errors prawcore lets pass.

    Neither its retries, which sleep, nor its rate limiter, which sleeps and trips over headers that
    are no whole numbers, ever see a refusal or such a header.
    """

    def __init__(
        self,
        *,
        read: Callable[[str, Mapping[str, str | int], str], bytes],
        login: Callable[[str, tuple[str, str], Iterable[tuple[str, str]]], bytes],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._read = read
        self._login = login

    def request(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> requests.Response:
        """The answer to a GET, or to the POST that asks for a token; raises ConnectorErrors."""
        method, url = args
        response = requests.Response()
        response.status_code = 200
        if method.upper() == "GET":
            body = self._read(url, kwargs["params"], kwargs["headers"]["Authorization"])
        else:
            body = self._login(url, kwargs["auth"], kwargs["data"])
        response.raw = BytesIO(body)
        return response


def _refused(status: int) -> bool:
    # Subreddits that are closed or do not exist answer with a redirect.
    return is_refusal(status) or 300 <= status < 400


def _explained(refusal: Refusal, now: datetime) -> ConnectorError:
    status, headers = refusal.status, refusal.headers
    problem = refusal.problem
    spent = _number(headers.get("x-ratelimit-remaining")) < 1
    if status == 429 or (status == 403 and ("retry-after" in headers or spent)):
        return RetryAt(retry_time(headers, now), f"Reddit limits requests ({status})")
    if status == 403 and "insufficient_scope" in headers.get("www-authenticate", ""):
        return NeedsAuth(_REFUSED_APP)
    if status == 403 and not problem:
        return NeedsAuth(_BLOCKED)
    if status in (403, 404) and problem.get("reason") in _CLOSED:
        return Closed(f"{_CLOSED[problem['reason']]} ({status}); remove it from the list")
    if status == 403:
        return Closed("may not be read by this app (403); remove it from the list")
    if status < 400 or status in (404, 410, 451):
        kind = Gone if status in (404, 410) else Closed
        return kind(f"does not exist or is closed ({status}); check its name")
    return BadConfig(f"Reddit refuses the request ({status}); shorten or correct its terms")


def _number(value: str | None) -> float:
    try:
        return float(value or "inf")
    except ValueError:
        return float("inf")
