"""The connection to a Jetstream server: where it may lead, and what its refusals mean."""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpcore
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import connect

from .base import BadConfig, ConnectorError, NeedsAuth, RetryAt, Transient
from .guard import is_public, resolve_host
from .http import retry_time

Receive = Callable[[float], str | bytes | None]
"""The next message, or None when none came within so many seconds; EOFError at the end."""

_MOST_BYTES = 1_000_000
_TIMEOUT = 10.0
# websockets writes messages, so posts, at DEBUG; a logger outside of the tree is not configured.
_SILENT = logging.Logger("jetstream", logging.CRITICAL + 1)


@contextmanager
def open_stream(url: str, params: Sequence[tuple[str, str]], *, now: datetime) -> Iterator[Receive]:
    """The messages of `url` with `params`; closed on leaving.

    wss:// leads to public addresses only, ws:// to this machine only. Messages of more than a
    megabyte end the connection. Raises a ConnectorError when there is no connection.
    """
    parts = urlsplit(url)
    host, port, secure = _target(url)
    query = urlencode([*parse_qsl(parts.query), *params])
    with ExitStack() as stack:
        try:
            connection = connect(
                urlunsplit(parts._replace(query=query)),
                sock=_socket(host, port, secure=secure),
                ssl=ssl.create_default_context() if secure else None,
                proxy=None,
                user_agent_header="proactive-listener",
                open_timeout=_TIMEOUT,
                close_timeout=0.3,
                max_size=_MOST_BYTES,
                logger=_SILENT,
            )
            stream = stack.enter_context(connection)
        except InvalidStatus as refusal:
            raise _refused(refusal, host, now) from None
        except ValueError:
            # It would follow a redirect, but not over a connection that was made for it.
            raise BadConfig(f"{host} leads elsewhere; write the address it leads to") from None
        except (InvalidHandshake, OSError, EOFError) as fault:
            raise Transient(
                f"{host} gives no stream ({type(fault).__name__}); check the address, or wait"
            ) from None

        def receive(seconds: float) -> str | bytes | None:
            try:
                return stream.recv(timeout=seconds)
            except TimeoutError:
                return None
            except ConnectionClosed as fault:
                raise EOFError from fault

        yield receive


def _target(url: str) -> tuple[str, int, bool]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("ws", "wss"):
        raise BadConfig(
            "the address of a Jetstream server starts with wss:// and names a host, such as "
            "wss://jetstream2.us-east.bsky.network/subscribe"
        )
    secure = parts.scheme == "wss"
    return host, port or (443 if secure else 80), secure


def _socket(host: str, port: int, *, secure: bool) -> socket.socket:
    """A connection to a checked address, so that a second answer of DNS cannot lead elsewhere."""
    try:
        addresses = resolve_host(host, port)
    except httpcore.ConnectError:
        raise Transient(f"host {host} is not known; check the address and the network") from None
    if secure and not all(map(is_public, addresses)):
        raise BadConfig(f"{host} leads to a private address, which is refused; use a public server")
    if not secure and not all(ipaddress.ip_address(one).is_loopback for one in addresses):
        raise BadConfig(f"ws:// leads to this machine only; write wss:// for {host}")
    fault: OSError = OSError("no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=_TIMEOUT)
        except OSError as error:
            fault = error
    raise fault


def _refused(refusal: InvalidStatus, host: str, now: datetime) -> ConnectorError:
    status, headers = refusal.response.status_code, refusal.response.headers
    if status == 429 or (status in (403, 503) and "retry-after" in headers):
        return RetryAt(
            retry_time({name.lower(): value for name, value in headers.raw_items()}, now),
            f"{host} limits connections ({status})",
        )
    if status in (401, 403):
        return NeedsAuth(f"{host} refuses access ({status}); use a server that is open to all")
    if status >= 500:
        return Transient(f"{host} is out of order ({status}); the next run tries again")
    return BadConfig(f"{host} gives no stream there ({status}); its path is mostly /subscribe")
