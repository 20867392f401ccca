"""A transport of httpx that reaches only public addresses, whatever DNS and redirects say."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import Any

import httpcore
import httpx

from .base import BadConfig

Resolve = Callable[[str, int], Sequence[str]]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class GuardedTransport(httpx.BaseTransport):
    """An httpx transport that connects only to public addresses.

    A host name is resolved once per connection, every address it has is checked, and the
    connection goes to a checked address, so a second DNS answer cannot lead elsewhere. TLS still
    verifies the host name. Proxies of the environment are not used.

    The extension "deadline" of a request bounds all its reads together, in seconds: a site that
    sends a byte now and then would outlast any timeout of a single read.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        resolve: Resolve | None = None,
        backend: httpcore.NetworkBackend | None = None,
    ) -> None:
        # A request and its body are read by one thread.
        self._limit = _Limit()
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            keepalive_expiry=5.0,
            network_backend=_CheckedBackend(
                allow_private,
                resolve or resolve_host,
                backend or httpcore.SyncBackend(),
                self._limit,
            ),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, its body not read yet; raises `BadConfig` for a refused address."""
        self._limit.until = monotonic() + request.extensions.get("deadline", float("inf"))
        response = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=response.status, headers=response.headers, stream=_Stream(response)
        )

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._pool.close()


class _Stream(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class _Limit(threading.local):
    """When the request of this thread has to be over, by the monotonic clock."""

    until = float("inf")


class _BoundStream(httpcore.NetworkStream):
    """A connection whose reads end with the deadline of the request."""

    def __init__(self, inner: httpcore.NetworkStream, limit: _Limit) -> None:
        self._inner = inner
        self._limit = limit

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._limit.until - monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the deadline of the request has passed")
        if timeout is None:
            timeout = left if left < float("inf") else None
        return self._inner.read(max_bytes, None if timeout is None else min(timeout, left))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, timeout)
        return _BoundStream(inner, self._limit)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _CheckedBackend(httpcore.NetworkBackend):
    def __init__(
        self,
        allow_private: bool,
        resolve: Resolve,
        inner: httpcore.NetworkBackend,
        limit: _Limit,
    ) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._inner = inner
        self._limit = limit

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._resolve(host, port)
        if not self._allow_private and not all(map(is_public, addresses)):
            raise BadConfig(
                f"{host} leads to a private address, which is refused; for your own server set "
                "allow_private_addresses = true where the source has that key"
            )
        fault: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                stream = self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
                return _BoundStream(stream, self._limit)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                fault = error
        raise fault


def resolve_host(host: str, port: int) -> Sequence[str]:
    """The addresses of `host`, in the order of the system; an unknown host is a ConnectError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise httpcore.ConnectError(f"host {host} is not known") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Whether an IP address is reachable by everybody: not loopback, private, link-local,
    carrier-grade NAT, multicast or reserved, and no such IPv4 address inside an IPv6 one.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)))
        if ip.ipv4_mapped or ip.sixtofour or ip.teredo or ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)
