"""A web server on 127.0.0.1 whose answers a test programs; it records what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived; header names are in lower case."""

    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    method: str = "GET"
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send back. `cut` promises the whole body and closes the connection before its end."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


Route = Answer | Sequence[Answer] | Callable[[Seen], Answer]


class Loopback:
    """Routes by path. A sequence is given answer by answer, its last one again and again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[Seen] = []
        self._routes: dict[str, Route] = {}
        self._lock = threading.Lock()

    def route(self, path: str, answer: Route) -> str:
        """Answer `path` this way from now on; returns its whole URL."""
        self._routes[path] = answer
        return self.url + path

    def answer(self, seen: Seen) -> Answer:
        """Record the request and choose its answer; 404 for a path without a route."""
        with self._lock:
            before = sum(one.path == seen.path for one in self.seen)
            self.seen.append(seen)
        route = self._routes.get(seen.path, Answer(404))
        if isinstance(route, Answer):
            return route
        if callable(route):
            return route(seen)
        return route[min(before, len(route) - 1)]


@contextmanager
def loopback() -> Iterator[Loopback]:
    """A running `Loopback` on a free port; it is stopped on leaving."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            params = dict(parse_qsl(parts.query, keep_blank_values=True))
            body = self.rfile.read(int(headers.get("content-length", 0)))
            answer = site.answer(Seen(parts.path, params, headers, self.command, body))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            body = answer.body[: len(answer.body) // 2] if answer.cut else answer.body
            if self.command != "HEAD":
                self.wfile.write(body)
            self.close_connection = answer.cut

        do_POST = do_HEAD = do_GET  # noqa: N815 - base class

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - base class
            """Say nothing: tests read `Loopback.seen`."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        site = Loopback(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
