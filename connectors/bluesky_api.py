"""Questions to Bluesky as an account: its session, and what its refusals mean.

atproto is loaded at the first question, as that takes a second (see `bluesky_client`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from .base import BadConfig, ConnectorError, NeedsAuth, RetryAt, Transient
from .bluesky_session import SessionFile, Tokens
from .guard import is_public
from .http import retry_time
from .refusal import Refusal

if TYPE_CHECKING:
    from .bluesky_client import Client

SERVICE = "https://bsky.social"

_APP_PASSWORDS = "https://bsky.app/settings/app-passwords"
_NO_ACCOUNT = (
    "Bluesky's search and notifications need an account: set identifier and app_password under "
    f"[sources.bluesky]; app passwords are made at {_APP_PASSWORDS}"
)
_TOKEN_REFUSED = frozenset({"ExpiredToken", "InvalidToken", "AuthMissing"})
_LOGIN_REFUSED = {
    "AuthFactorTokenRequired": "it asks for a code by e-mail, as for the password of the account; "
    f"make an app password at {_APP_PASSWORDS} and use that",
    "AccountTakedown": "the account was taken down; use another one",
    "AccountSuspended": "the account is suspended; use another one",
    "AccountDeactivated": "the account is deactivated; activate it or use another one",
}
# Older servers put it into words.
_IN_WORDS = {
    "Could not locate record": "RecordNotFound",
    "Could not find repo": "RepoNotFound",
    "Post not found": "NotFound",
}


class Refused(BadConfig):
    """Bluesky does not accept a request; `name` is its word for why, such as "NotFound"."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Bluesky refuses the request ({name or 'without a reason'}); check service and the "
            "terms of the query"
        )
        self.name = name


class BlueskyApi:
    """Questions to `service` (a PDS, which passes them on) as the account `identifier`.

    Its session is kept in `session_file` (None: in memory), renewed once when it ends, and logged
    in anew when it cannot be renewed. An own service may have a private address. `transport` is the
    seam for tests; `limits` are those of `Http`.
    """

    def __init__(
        self,
        identifier: str = "",
        app_password: str = "",
        *,
        service: str = SERVICE,
        session_file: Path | None = None,
        transport: httpx.BaseTransport | None = None,
        **limits: Any,
    ) -> None:
        self._account = identifier.strip().removeprefix("@"), app_password.strip()
        self._service = _checked(service).rstrip("/")
        self._file = SessionFile(session_file, self._service, self._account[0])
        self._transport = transport
        self._limits = limits
        self._opened: Client | None = None
        self._tokens: Tokens | None = None

    @property
    def requests(self) -> int:
        """Requests made so far, those for sessions and further tries included."""
        return self._opened.requests if self._opened else 0

    def query(self, nsid: str, params: Mapping[str, Any], *, now: datetime) -> Mapping[str, Any]:
        """The object that the method `nsid` answers with; parameters that are None are left out.

        Raises `Refused`, `RetryAt`, `NeedsAuth`, `Transient`, and `BadConfig` when the service does
        not know the method.
        """
        if not all(self._account):
            raise NeedsAuth(_NO_ACCOUNT)
        given = {name: value for name, value in params.items() if value is not None}
        self._tokens = self._tokens or self._file.read() or self._renewed(None, now)
        for last in (False, True):
            try:
                body = self._client().query(nsid, given, self._tokens.access, now=now)
            except Refusal as refusal:
                if not _is_about_token(refusal):
                    raise _explained(refusal, now) from None
                if not last:
                    self._tokens = self._renewed(self._tokens, now)
            else:
                if not isinstance(body, Mapping):
                    raise Transient("Bluesky gave an answer without data; the next run tries again")
                return body
        raise NeedsAuth(
            "Bluesky refuses a session that it has just given; check service under "
            "[sources.bluesky]"
        )

    def _renewed(self, stale: Tokens | None, now: datetime) -> Tokens:
        """Tokens other than `stale`: those of another process, else refreshed, else of a login."""
        with self._file.held():
            kept = self._file.read()
            if kept is not None and (stale is None or kept.access != stale.access):
                return kept
            old = kept or stale
            tokens = self._refreshed(old, now) if old else None
            tokens = tokens or self._logged_in(now)
            self._file.write(tokens)
            return tokens

    def _refreshed(self, old: Tokens, now: datetime) -> Tokens | None:
        try:
            return self._client().refresh(old, now=now)
        except Refusal as refusal:
            if _is_about_token(refusal) or _name(refusal.problem) in _LOGIN_REFUSED:
                return None
            raise _explained(refusal, now) from None

    def _logged_in(self, now: datetime) -> Tokens:
        identifier, password = self._account
        try:
            return self._client().log_in(self._service, identifier, password, now=now)
        except Refusal as refusal:
            if refusal.status not in (400, 401):
                raise _explained(refusal, now) from None
            why = _LOGIN_REFUSED.get(
                _name(refusal.problem),
                "check identifier and the variable of app_password under [sources.bluesky]; app "
                f"passwords are made at {_APP_PASSWORDS}",
            )
            raise NeedsAuth(f"Bluesky refuses the login: {why}") from None

    def _client(self) -> Client:
        if self._opened is None:
            from .bluesky_client import Client

            self._opened = Client(
                self._service,
                transport=self._transport,
                allow_private=self._service != SERVICE,
                **self._limits,
            )
        return self._opened


def _checked(service: str) -> str:
    """`service`; BadConfig unless it is https, or http to this machine or a private network."""
    try:
        parts = urlsplit(service)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    # Names without a dot are those of a container or of this machine.
    near = "." not in host if _is_name(host) else not is_public(host)
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and near)):
        raise BadConfig(
            "service of Bluesky must start with https://, or http:// on this machine or in a "
            "private network, as passwords go there"
        )
    return service


def _is_name(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def _is_about_token(refusal: Refusal) -> bool:
    return refusal.status == 401 or (
        refusal.status == 400 and _name(refusal.problem) in _TOKEN_REFUSED
    )


def _explained(refusal: Refusal, now: datetime) -> ConnectorError:
    status, headers, name = refusal.status, refusal.headers, _name(refusal.problem)
    if status == 429 or (status == 403 and "retry-after" in headers):
        return RetryAt(retry_time(headers, now), f"Bluesky limits requests ({status})")
    if status == 403 and not name:
        # Its gateway sheds load by such pages, whoever asks.
        return Transient("Bluesky turns requests away (403); the next run tries again")
    if status in (401, 403):
        return NeedsAuth(f"Bluesky refuses access ({status}, {name}); check the app password")
    if status in (404, 501) and name in ("", "MethodNotImplemented", "XRPCNotSupported"):
        return BadConfig(f"this service does not do that ({status}); check service")
    return Refused(name)


def _name(problem: Mapping[str, Any]) -> str:
    """The kind of a problem, a single word; its message may name a post."""
    name, message = problem.get("error"), str(problem.get("message"))
    for words, kind in _IN_WORDS.items():
        if name in ("InvalidRequest", "NotFound") and message.startswith(words):
            return kind
    plain = isinstance(name, str) and name.isascii() and name.isalnum() and len(name) <= 60
    return str(name) if plain else ""
