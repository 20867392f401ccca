"""The client of atproto behind Listener's own door to the network.

Of atproto come the methods' parameters, their addresses and encodings, and the models of sessions.
Its own requests go out without limits of size and follow redirects, its high-level client asks the
clock and renews sessions for one process only, and its models of posts fail a whole page for one
odd record: answers are therefore given as they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpcore
import httpx
from atproto_client import models
from atproto_client.client.base import ClientBase
from atproto_client.models.utils import get_response_model
from atproto_client.request import Request, RequestBase, Response
from atproto_core.exceptions import AtProtocolError

from .base import Transient
from .bluesky_session import Tokens
from .guard import GuardedTransport
from .http import Http
from .refusal import Refusals, is_refusal, json_object, start_of

_TIMEOUT = httpx.Timeout(20.0).as_dict()
_USER_AGENT = "proactive-listener"
_UNREACHABLE = (
    httpx.TransportError,
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
)


class Client:
    """Methods of `service`; each raises `Refusal` for 4xx and what `Http.get` raises."""

    def __init__(
        self,
        service: str,
        *,
        transport: httpx.BaseTransport | None,
        allow_private: bool,
        **limits: Any,
    ) -> None:
        guarded = transport or GuardedTransport(allow_private=allow_private)
        self._transport = Refusals(guarded, _refused)
        self._door = _Door(self._transport, **{"user_agent": _USER_AGENT, **limits})
        self._client = ClientBase(service, request=self._door)

    @property
    def requests(self) -> int:
        """Requests made so far, further tries included."""
        return self._transport.sent

    def query(self, nsid: str, params: Mapping[str, Any], token: str, *, now: datetime) -> Any:
        """The JSON that the method `nsid` answers with."""
        self._door.now = now
        kinds = getattr(models, "".join(part[0].upper() + part[1:] for part in nsid.split(".")))
        given = kinds.Params(**params)
        headers = {"authorization": f"Bearer {token}"}
        return self._client.invoke_query(nsid, params=given, headers=headers).content

    def log_in(self, service: str, identifier: str, password: str, *, now: datetime) -> Tokens:
        """A new session; Bluesky allows 300 of them a day."""
        self._door.now = now
        kinds = models.ComAtprotoServerCreateSession
        response = self._client.invoke_procedure(
            "com.atproto.server.createSession",
            data=kinds.Data(identifier=identifier, password=password),
            input_encoding="application/json",
        )
        return _tokens(response, kinds.Response, service, identifier)

    def refresh(self, old: Tokens, *, now: datetime) -> Tokens:
        """The session after `old`, by its refresh token."""
        self._door.now = now
        response = self._client.invoke_procedure(
            "com.atproto.server.refreshSession",
            headers={"authorization": f"Bearer {old.refresh}"},
        )
        kinds = models.ComAtprotoServerRefreshSession
        return _tokens(response, kinds.Response, old.service, old.identifier)


def _tokens(response: Response, model: type, service: str, identifier: str) -> Tokens:
    try:
        session: Any = get_response_model(response, model)
    except AtProtocolError:
        raise Transient("Bluesky gave no session; the next run tries again") from None
    return Tokens(
        service=service,
        identifier=identifier,
        did=session.did,
        access=session.access_jwt,
        refresh=session.refresh_jwt,
    )


class _Door(Request):
    """atproto's requests, sent through `Http`; procedures are tried once, as they change things."""

    def __init__(self, transport: httpx.BaseTransport, **limits: Any) -> None:
        # Not that of Request, which opens a client of its own.
        RequestBase.__init__(self)
        self._transport = transport
        self._http = Http(transport, **limits)
        self.now: datetime

    def get(self, url: str, **options: Any) -> Response:
        """The answer to a query."""
        target = httpx.URL(url).copy_merge_params(options.get("params") or {})
        headers = {"accept": "application/json", **_lower(options.get("headers"))}
        answer = self._http.get(str(target), None, headers, now=self.now)
        return Response(True, answer.status, answer.json(), dict(answer.headers))

    def post(self, url: str, **options: Any) -> Response:
        """The answer to a procedure; it is not sent again, nor where it is redirected to."""
        request = httpx.Request(
            "POST",
            url,
            content=options.get("content"),
            headers={
                **_lower(options.get("headers")),
                "accept": "application/json",
                "accept-encoding": "identity",
                "user-agent": _USER_AGENT,
            },
            extensions={"timeout": _TIMEOUT},
        )
        try:
            response = self._transport.handle_request(request)
            body = start_of(response)
        except _UNREACHABLE as fault:
            raise Transient(
                f"Bluesky cannot be reached ({type(fault).__name__}); check the network and service"
            ) from None
        if response.status_code != 200:
            raise Transient(f"Bluesky gives no session ({response.status_code}); try again later")
        return Response(True, response.status_code, dict(json_object(body)), dict(response.headers))


def _refused(status: int) -> bool:
    # 501: a method that this server does not have.
    return is_refusal(status) or status == 501


def _lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (headers or {}).items()}
