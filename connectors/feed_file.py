"""A feed that was saved as a file, such as that of a Google Alert."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx

from .base import BadConfig, Capabilities
from .http import Http
from .records import guarded, open_bytes
from .rss import Feed, Rss

_PIECE = 2**16
_START = re.compile(
    # Atomic: two ways to read the same comments would double the time with each of them.
    rb"(?>\s+|<\?xml[^>]*>|<!--(?>.*?-->)|<!DOCTYPE[^>]*>)*+<(?:\w+:)?(?:rss|feed|RDF)\b",
    re.DOTALL,
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
        # Trying a file again would not help.
        super().__init__(Http(_File(path), retries=0), [feed], source or "rss")

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
        return httpx.Response(200, stream=_Pieces(self._path))


class _Pieces(httpx.SyncByteStream):
    """The bytes of a file, unpacked; whoever reads them stops when they are too many."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with open_bytes(self._path) as stream:
            while piece := guarded(partial(stream.read, _PIECE), "its start"):
                yield piece
