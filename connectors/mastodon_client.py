"""The client of Mastodon.py, which writes the requests; Listener's own door sends them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import mastodon
import requests

Send = Callable[[str, Mapping[str, str]], None]
"""Sends a GET request (URL, headers), and keeps what comes of it; never raises."""


class Client(mastodon.Mastodon):
    """Mastodon.py for one server, without its own requests, waits and types.

    The library is given an empty answer to everything: its types are slow and lose what other
    servers do in their own way, and its errors quote posts. What was answered is with `send`.
    """

    def __init__(self, url: str, access_token: str, send: Send) -> None:
        super().__init__(
            access_token=access_token or None,
            api_base_url=url,
            session=_Session(send),
            ratelimit_method="throw",
            user_agent="proactive-listener",
        )

    def timeline_is_available(self, *_: object, **__: object) -> bool:
        """True: the server says so itself when it is asked for the timeline."""
        return True

    def verify_minimum_version(self, *_: object, **__: object) -> bool:
        """True: asking for the version costs requests, and other servers count their own way."""
        return True


class _Session(requests.Session):
    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send

    def request(self, method: str | bytes, url: str | bytes, **given: Any) -> requests.Response:  # type: ignore[override]  # only what Mastodon.py passes
        if method != "GET":
            raise ValueError("this client only reads")
        params: Mapping[str, str | int | Sequence[str]] = given["params"]
        query = urlencode(params, doseq=True)
        self._send(f"{url!s}?{query}" if query else str(url), given["headers"])
        response = requests.Response()
        response.status_code = 200
        response.raw = BytesIO(b"{}")
        return response
