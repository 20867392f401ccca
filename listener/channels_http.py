"""A web address that takes JSON: how it is called, and what its answers mean."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import httpcore
import httpx

from connectors.base import BadConfig
from connectors.guard import GuardedTransport, is_public, resolve_host
from connectors.http import retry_time

from . import __version__
from .channels import ChannelError, Later, Refused
from .config_errors import ConfigError, Fault

log = logging.getLogger(__name__)

Resolve = Callable[[str, int], Sequence[str]]

_LONGEST_ANSWER = 2000
_PASSING = frozenset({408, 425, 429})
"""Codes below 500 that are worth another try."""
_FAULTS = (
    httpx.TransportError,
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
)


class WebAddress:
    """One address that takes JSON by POST; `table` is where it is set, such as channels.slack.

    Whoever knows the address can use it, so that only its host is ever told. It is an https
    address; with `allow_private` it may lead into this machine or a private network, and there
    begin with http://. Redirects are not followed, proxies of the environment not used. `timeout`
    is in seconds and bounds each single wait. `resolve` and `transport` are seams for tests.
    Raises ConfigError for an address that cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        table: str,
        allow_private: bool = False,
        timeout: float = 15,
        resolve: Resolve = resolve_host,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._table = table
        self._url = _parsed(url, table, allow_private=allow_private)
        self.host = self._url.raw_host.decode("ascii")
        if self._url.scheme == "http":
            resolve = _only_private(resolve)
        self._transport = transport or GuardedTransport(
            allow_private=allow_private, resolve=resolve
        )
        self._timeout = httpx.Timeout(timeout).as_dict()
        self._patience = timeout

    def post(
        self, body: bytes, headers: Mapping[str, str] | None = None, *, now: datetime
    ) -> tuple[int, str]:
        """Status and the beginning of the answer, "" for a 2xx one.

        Raises `Later` without an answer, and for 408, 425, 429, 5xx and redirects; after `now`
        (aware) by what the answer says. Every other status is returned.
        """
        request = self._request("POST", self._url, headers or {}, body)
        status, answered, text = self._exchange(request)
        log.debug("POST to %s: %d", self.host, status)
        when = None
        if status == 429 or "retry-after" in answered:
            when = retry_time(answered, now)
        if status >= 500 or status in _PASSING:
            raise Later(f"{self.host} answers {status}", when=when, down=True)
        if 300 <= status < 400:
            raise Later(
                f"{self.host} leads on to another address ({status}), which is not followed; set "
                f"the final address as url in [{self._table}]",
                down=True,
            )
        return status, text

    def check(self) -> str:
        """Ask the host for its first page, as the address itself takes every call for a message."""
        self._exchange(self._request("HEAD", self._url.copy_with(raw_path=b"/"), {}, b""))
        return f"{self.host} answers"

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._transport.close()

    def _request(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], body: bytes
    ) -> httpx.Request:
        ours = {
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": f"proactive-listener/{__version__}",
        }
        # Not httpx.Client: it logs whole URLs and takes proxies from the environment.
        return httpx.Request(
            method,
            url,
            headers={**ours, **headers},
            content=body,
            extensions={"timeout": self._timeout},
        )

    def _exchange(self, request: httpx.Request) -> tuple[int, httpx.Headers, str]:
        try:
            response = self._transport.handle_request(request)
            try:
                text = "" if response.is_success else self._beginning(response)
            finally:
                response.close()
        except BadConfig:
            raise Later(
                f"{self.host} leads to a private address, which is refused; for a server of your "
                f"own set allow_private_addresses = true in [{self._table}]",
                down=True,
            ) from None
        except _FAULTS as fault:
            # Only these texts are known to hold nothing that the other side sent.
            connecting = isinstance(fault, (httpx.ConnectError, httpcore.ConnectError))
            why = str(fault) if connecting else type(fault).__name__
            raise Later(
                f"{self.host} cannot be reached or hung up ({why}); check the network and url in "
                f"[{self._table}]",
                down=True,
            ) from None
        return response.status_code, response.headers, text

    def _beginning(self, response: httpx.Response) -> str:
        until = time.monotonic() + self._patience
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) >= _LONGEST_ANSWER or time.monotonic() > until:
                break
        return body[:_LONGEST_ANSWER].decode("utf-8", "replace")


def refusal(host: str, status: int, table: str) -> ChannelError:
    """The error for a status below 500 that is no success, in words that say what to do."""
    told, gone = {
        401: ("does not know this sender", False),
        403: ("does not let this sender in", False),
        404: ("has nothing at this address", False),
        410: ("has taken this address down for good", True),
        413: ("finds the message too large", False),
    }.get(status, ("does not take the message", False))
    return Refused(f"{host} {told} ({status}); see url in [{table}]", gone=gone, code=str(status))


def _parsed(url: str, table: str, *, allow_private: bool) -> httpx.URL:
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL:
        raise _wrong(table, "is no web address", "write it as https://host/path") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise _wrong(table, "is no web address", "write it as https://host/path")
    if parsed.scheme == "http" and not allow_private:
        fix = "start it with https://, or set allow_private_addresses = true for your own network"
        raise _wrong(table, "would show messages to everybody on their way", fix)
    if parsed.userinfo:
        raise _wrong(table, "holds a user name or password", "remove what stands before the @")
    return parsed


def _wrong(table: str, message: str, fix: str) -> ConfigError:
    return ConfigError([Fault(key=f"{table}.url", message=message, fix=fix)])


def _only_private(resolve: Resolve) -> Resolve:
    def resolved(host: str, port: int) -> Sequence[str]:
        addresses = resolve(host, port)
        if any(map(is_public, addresses)):
            raise Later(f"{host} is public: its address has to begin with https://", down=True)
        return addresses

    return resolved
