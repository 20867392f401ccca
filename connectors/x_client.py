"""The client of tweepy behind Listener's own door to the network, and what X's refusals mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx
import requests
import tweepy

from .base import BadConfig, ConnectorError, NeedsAuth, RetryAt, Transient
from .guard import GuardedTransport
from .http import Http, Response, retry_time
from .refusal import Refusal, Refusals

BASE_URL = "https://api.x.com"

_NAME = re.compile(r"[a-z_.]{1,40}")
_CONSOLE = "the developer console of X"
# By the last part of `type`, else by status (docs.x.com, "Response codes and errors").
_NEEDS = {
    "client-forbidden": f"the app may not use this API; attach it to a project in {_CONSOLE}",
    "unsupported-authentication": "this kind of token may not do that; use the app's bearer token",
    "credits": f"the account has no credits or reached its spending limit; see {_CONSOLE}",
    "402": f"the account has no credits left; buy some in {_CONSOLE}",
    "401": f"the bearer token is refused; make a new one in {_CONSOLE} and set its variable",
    "403": f"access is forbidden; check the app, its plan and its project in {_CONSOLE}",
}
_CONFIG = {
    "not-authorized-for-resource": "the account may not be read, as it is protected or blocks the "
    "app; name another one",
    "resource-not-found": "what was asked for does not exist; check user and base_url",
    "404": "this address does not exist; check base_url",
}


class Refused(BadConfig):
    """X does not accept the parameters of a request (400); the text names them."""


def open_http(
    base_url: str = BASE_URL, transport: httpx.BaseTransport | None = None, **limits: Any
) -> Http:
    """A door whose refusals can be told apart.

    Private addresses are refused unless `base_url` is not X's own, so was chosen. `limits` are
    those of `Http`.
    """
    own = base_url.rstrip("/") != BASE_URL
    return Http(Refusals(transport or GuardedTransport(allow_private=own)), **limits)


class Client(tweepy.Client):
    """tweepy's endpoints, requested through `http`; each returns a `Response`. It only reads.

    tweepy's own `request` has one fixed host, logs the token and the posts at DEBUG, and reads
    bodies of any size.
    """

    def __init__(self, http: Http, bearer_token: str, base_url: str, now: datetime) -> None:
        # This type of answer is what makes tweepy return the answer of `request` as it is.
        super().__init__(bearer_token, return_type=requests.Response, wait_on_rate_limit=False)
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._now = now

    def request(
        self,
        method: str,
        route: str,
        params: Mapping[str, str | int] | None = None,
        json: object = None,
        user_auth: bool = False,
    ) -> Response:
        """The answer to a GET request; raises a `ConnectorError`, among them `Refused` for 400."""
        if method != "GET" or json is not None or user_auth:
            raise ValueError("this client only reads, as an app")
        headers = {"accept": "application/json", "authorization": f"Bearer {self.bearer_token}"}
        try:
            return self._http.get(self._base_url + route, params, headers, now=self._now)
        except Refusal as refusal:
            raise _explained(refusal, self._now) from None


def read_object(response: Response) -> Mapping[str, Any]:
    """The object in an answer; Transient for anything else, and for one that says nothing."""
    body = response.json()
    if not isinstance(body, dict) or not body.keys() & {"data", "meta", "errors"}:
        raise Transient("X gave an answer without data; the next run tries again")
    return body


def read_page(response: Response) -> Mapping[str, Any]:
    """The object in an answer with data or its figures; Transient for errors and nothing else."""
    body = read_object(response)
    if not body.keys() & {"data", "meta"}:
        raise Transient(f"X gave only errors ({_kind(body)}); the next run tries again")
    return body


def _explained(refusal: Refusal, now: datetime) -> ConnectorError:
    status, kind = refusal.status, _kind(refusal.problem)
    if status == 429 and kind == "usage-capped":
        # The cap of a plan holds for days; the headers speak of the next quarter of an hour.
        return RetryAt(now + timedelta(days=1), "X's cap of posts a month is reached")
    if status == 429:
        return RetryAt(retry_time(refusal.headers, now), "X limits requests (429)")
    if status == 400:
        return Refused(f"X refuses the request (400): {_parameters(refusal.problem)}")
    if status == 403 and "retry-after" in refusal.headers:
        return RetryAt(retry_time(refusal.headers, now), "X limits requests (403)")
    for key in (kind, str(status)):
        if text := _NEEDS.get(key):
            return NeedsAuth(f"X ({status}): {text}")
        if text := _CONFIG.get(key):
            return BadConfig(f"X ({status}): {text}")
    return BadConfig(f"X refuses the request ({status}); check base_url and the settings")


def _kind(problem: Mapping[str, Any]) -> str:
    """The kind of a problem, such as "usage-capped"; never its words, which may hold a post."""
    for one in (problem, *_errors(problem)):
        kind = one.get("type")
        if isinstance(kind, str) and (name := re.search(r"/problems/([a-z-]{1,60})\Z", kind)):
            return name[1]
    return "without a kind"


def _parameters(problem: Mapping[str, Any]) -> str:
    """What to check: the names of the parameters that are wrong, never their values."""
    given = [error.get("parameters") for error in _errors(problem)]
    names = {
        name for one in given if isinstance(one, dict) for name in one if _NAME.fullmatch(name)
    }
    return f"check {', '.join(sorted(names))}" if names else "check the terms of the query"


def _errors(problem: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    errors = problem.get("errors")
    return (
        [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    )
