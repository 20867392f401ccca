"""A feed that was saved as a file, such as that of a Google Alert."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx

from .base import BadConfig, Capabilities
from .http import Http
from .records import open_bytes
from .rss import Feed, Rss

_START = re.compile(
    rb"\s*(?:<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE[^>]*>|\s)*<(?:\w+:)?(?:rss|feed|RDF)\b", re.DOTALL
)


class FeedFile(Rss):
    """The entries of an RSS or Atom document in a file."""

    def __init__(
        self,
        path: str | Path,
        mapping: Mapping[str, str] | None = None,
        source: str | None = None,
    ) -> None:
        if mapping:
            raise BadConfig("--map does not apply to feeds, whose fields are known; leave it out")
        path = Path(path)
        # `.invalid` is no site that anybody can have (RFC 2606); it names the file in warnings.
        host = re.sub(r"[^a-z0-9-]+", "-", path.name.lower()).strip("-")[:60] or "file"
        feed = Feed(url=f"https://{host}.invalid/")
        super().__init__(Http(_File(path)), [feed], source or "rss")

    def capabilities(self) -> Capabilities:
        """What this connector can do; makes no request."""
        told = replace(super().capabilities(), gives="entries of a saved RSS or Atom feed")
        return replace(told, prefiltered=True, needs="an .xml, .rss or .atom file")


def is_feed(head: bytes) -> bool:
    """Whether a file that starts like this is an RSS or Atom document."""
    return bool(_START.match(head.removeprefix(b"\xef\xbb\xbf")))


class _File(httpx.BaseTransport):
    """Answers every request with the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with open_bytes(self._path) as stream:
            return httpx.Response(200, stream=httpx.ByteStream(stream.read()))
