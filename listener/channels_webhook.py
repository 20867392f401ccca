"""Webhooks: every message as JSON, signed by the Standard Webhooks convention, version 1.0.0.

Headers: `webhook-id`, the same whenever a delivery is tried; `webhook-timestamp`, the seconds of
the try; `webhook-signature`, for each key "v1," and base64 of the HMAC-SHA-256 of id, timestamp and
body with dots between them. Receivers check them with the libraries of standardwebhooks.com.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Sequence

import httpx

from .channels import Parcel
from .channels_http import WebAddress, refusal
from .config_errors import ConfigError, Fault
from .store import stamp

_TABLE = "channels.webhook"
_PREFIX = "whsec_"
_LEAST, _MOST = 24, 64
"""Bytes of a key, by the convention."""
_NEW_KEY = "`openssl rand -base64 32` makes one"


class Webhook:
    """Posts each parcel to one address; the body is `{"type", "timestamp", "data"}`.

    `secret` is a key of 24 to 64 bytes in base64, with or without whsec_ before it, or several with
    blanks between them, while receivers change from one to the next. `clock` gives the seconds of
    a try: receivers refuse what is minutes old, and a round of deliveries may take that long.
    The rest is as in `WebAddress`. Raises ConfigError.
    """

    name = "webhook"

    def __init__(
        self,
        *,
        url: str,
        secret: str,
        allow_private: bool = False,
        timeout: float = 15,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = _keys(secret)
        self._address = WebAddress(
            url, table=_TABLE, allow_private=allow_private, timeout=timeout, transport=transport
        )
        self._clock = clock

    def send(self, parcel: Parcel) -> None:
        """Post `parcel`; 2xx is a success. `Later` for a passing fault, else `Refused`."""
        made = parcel.message["Date"].datetime
        body = {"type": parcel.kind, "timestamp": stamp(made), "data": dict(parcel.data)}
        content = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # Not the key itself: it may hold an address, and the convention wants no dots.
        number = "msg_" + hashlib.sha256(parcel.key.encode()).hexdigest()[:32]
        at = str(int(self._clock()))
        signed = " ".join(signature(key, number, at, content.encode()) for key in self._keys)
        headers = {"webhook-id": number, "webhook-timestamp": at, "webhook-signature": signed}
        status, _ = self._address.post(content.encode(), headers, now=made)
        if not 200 <= status < 300:
            raise refusal(self._address.host, status, _TABLE)

    def check(self) -> str:
        """Reach the host without calling the address."""
        return self._address.check()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._address.close()


def signature(key: bytes, number: str, at: str, body: bytes) -> str:
    """The signature of a message by the convention: v1,BASE64."""
    digest = hmac.digest(key, f"{number}.{at}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(digest).decode("ascii")


def _keys(secret: str) -> Sequence[bytes]:
    keys = []
    for word in secret.split():
        try:
            key = base64.b64decode(word.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise _wrong("is not base64") from None
        if not _LEAST <= len(key) <= _MOST:
            raise _wrong(f"holds a key of {len(key)} bytes instead of {_LEAST} to {_MOST}")
        keys.append(key)
    if not keys:
        raise _wrong("is blank")
    return keys


def _wrong(message: str) -> ConfigError:
    return ConfigError([Fault(key=f"{_TABLE}.secret", message=message, fix=_NEW_KEY)])
