"""Answers of refused requests with what their body says, which `Http` by itself does not read."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import httpx

_MOST_BYTES = 262_144
_MOST_CHUNKS = 1_024


@dataclass(frozen=True)
class Refusal(Exception):
    """A refused request; `problem` is the JSON object of its body, empty for anything else."""

    status: int
    headers: Mapping[str, str]
    problem: Mapping[str, Any]


def is_refusal(status: int) -> bool:
    """Whether a status refuses the request: 4xx except 408, which is a passing fault."""
    return 400 <= status < 500 and status != 408


class Refusals(httpx.BaseTransport):
    """A transport that raises `Refusal` for answers that are `refused`; `sent` counts requests."""

    def __init__(
        self, inner: httpx.BaseTransport, refused: Callable[[int], bool] = is_refusal
    ) -> None:
        self._inner = inner
        self._refused = refused
        self.sent = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, unless it is a refusal."""
        self.sent += 1
        response = self._inner.handle_request(request)
        if not self._refused(response.status_code):
            return response
        problem = json_object(start_of(response))
        raise Refusal(response.status_code, response.headers, problem)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._inner.close()


def start_of(response: httpx.Response) -> bytes:
    """The first 256 kB of a body, unpacked; empty for a broken one. The response is closed."""
    try:
        chunks = islice(cast("httpx.SyncByteStream", response.stream), _MOST_CHUNKS)
        data = b"".join(chunks)[:_MOST_BYTES]
    finally:
        response.close()
    if "gzip" in response.headers.get("content-encoding", ""):
        try:
            return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, _MOST_BYTES)
        except zlib.error:
            return b""
    return data


def json_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a body; empty for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
