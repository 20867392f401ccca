"""Signed links of e-mails: who may judge which alert, until when, and the key that says so.

A token is readable by anybody and can be made only with the key (HMAC-SHA-256, itsdangerous). It
holds a number and a mark of the reader, never an address: web servers write addresses of pages
into their logs.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer

from . import audit, feedback
from .config import Config, ConfigError, Fault
from .recipients import Mail

Judged = Literal["feedback", "audit"]
Purpose = Literal["feedback", "audit", "unsubscribe"]
CHOICES: Mapping[Judged, tuple[str, ...]] = {
    "feedback": feedback.VERDICTS,
    "audit": audit.VERDICTS,
}
"""What can be said, by what the link is for."""
MAILS: tuple[Mail, ...] = ("digest", "alerts")
"""What can be unsubscribed from; the number of such a link is the place here, from 1."""
LINK_LIFE = timedelta(days=60)
UNSUBSCRIBE_LIFE = timedelta(days=365)
"""Whoever finds an old e-mail must be able to end them."""
FORM_LIFE = timedelta(days=1)
"""How long a form can be sent after it was shown."""

_LEAST_KEY = 32
_NEW_KEY = 'python -c "import secrets; print(secrets.token_hex(32))"'


class LinkError(Exception):
    """A link is refused; the text says why and what to do."""


class Forged(LinkError):
    """It was not made with this key, or not for this."""

    def __init__(self) -> None:
        super().__init__(
            "this link was not made by this Listener or was changed on its way: open it from the "
            "e-mail again, or use `listener feedback`"
        )


class Expired(LinkError):
    """It was good once."""

    def __init__(self) -> None:
        super().__init__("this link is too old: use one of a newer e-mail, or `listener feedback`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What a link allows `reader`: to judge the alert or audited post `number`, or to end e-mails.

    Those to be ended are number 1 (the digest) or 2 (alerts). `reader` is the mark of an address;
    `Signer.is_for` tells whose.
    """

    purpose: Purpose
    number: int
    reader: str


class _Clocked(TimestampSigner):
    """Signs with a time that it is given."""

    def __init__(self, *args: Any, now: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self._now = now

    def get_timestamp(self) -> int:
        return self._now


class Signer:
    """Makes and reads tokens with `keys`, newest first: the first signs, all of them verify."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ValueError("links cannot be signed without a key")
        self._keys = tuple(key.encode() for key in keys)

    def link(self, purpose: Purpose, number: int, recipient: str, *, now: datetime) -> str:
        """A token of about 80 URL-safe characters for the person with the address `recipient`."""
        return self._sign(purpose, [number, _mark(self._keys[0], recipient)], now)

    def read(self, token: str, purpose: Purpose, *, now: datetime) -> Ticket:
        """What `link` was told; raises `Forged`, or `Expired` after the life of such a link."""
        life = UNSUBSCRIBE_LIFE if purpose == "unsubscribe" else LINK_LIFE
        match self._read(purpose, token, life, now):
            case [int(number), str(reader)]:
                return Ticket(purpose=purpose, number=number, reader=reader)
        raise Forged

    def is_for(self, ticket: Ticket, recipient: str) -> bool:
        """Whether the ticket was made for the person with this address."""
        return any(hmac.compare_digest(ticket.reader, _mark(key, recipient)) for key in self._keys)

    def form(self, ticket: Ticket, *, now: datetime) -> str:
        """A token for one form, good for one sending by the holder of `ticket`."""
        nonce = secrets.token_hex(16)
        return self._sign("form", [nonce, ticket.purpose, ticket.number, ticket.reader], now)

    def read_form(self, token: str, ticket: Ticket, *, now: datetime) -> str:
        """The nonce of a form made for `ticket`; raises `Forged`, or `Expired` after a day."""
        expected = [ticket.purpose, ticket.number, ticket.reader]
        match self._read("form", token, FORM_LIFE, now):
            case [str(nonce), *rest] if rest == expected:
                return nonce
        raise Forged

    def _sign(self, purpose: str, payload: list[str | int], now: datetime) -> str:
        # Typed as text or bytes; this serializer gives text.
        return str(self._serializer(purpose, now).dumps(payload))

    def _read(self, purpose: str, token: str, life: timedelta, now: datetime) -> Any:
        if not token.isascii():  # no token of ours, and nothing that can be signed
            raise Forged
        try:
            payload, signed_at = self._serializer(purpose, now).loads(token, return_timestamp=True)
        except BadData:
            raise Forged from None
        # Compared here: itsdangerous calls what a clock that was set back makes expired, too.
        if now - signed_at > life:
            raise Expired
        return payload

    def _serializer(self, purpose: str, now: datetime) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            self._keys[::-1],  # it wants the newest last
            salt=f"listener.{purpose}",
            signer=_Clocked,
            signer_kwargs={
                "now": int(now.timestamp()),
                "key_derivation": "hmac",
                "digest_method": hashlib.sha256,
            },
        )


def verdict_links(
    config: Config, signer: Signer, purpose: Judged, number: int, recipient: str, *, now: datetime
) -> dict[str, str]:
    """For each verdict on an alert or an audited post, the page that asks with that one chosen.

    Empty without [web] base_url. Opening a link stores nothing.
    """
    base = config.web.base_url
    if base is None:
        return {}
    token = signer.link(purpose, number, recipient, now=now)
    return {choice: f"{base}/{purpose}/{token}?v={choice}" for choice in CHOICES[purpose]}


def unsubscribe_link(
    config: Config, signer: Signer | None, mail: Mail, recipient: str, *, now: datetime
) -> str | None:
    """The page on which a reader ends such e-mails, which takes the one-click POST of RFC 8058.

    None without [web] base_url. Opening it changes nothing.
    """
    base = config.web.base_url
    if base is None or signer is None:
        return None
    token = signer.link("unsubscribe", MAILS.index(mail) + 1, recipient, now=now)
    return f"{base}/unsubscribe/{token}"


def _mark(key: bytes, recipient: str) -> str:
    address = recipient.strip().casefold()
    digest = hmac.digest(key, b"listener.reader\0" + address.encode(), "sha256")
    return urlsafe_b64encode(digest[:12]).decode("ascii")


def open_signer(config: Config, database: Path, environ: Mapping[str, str]) -> Signer:
    """The signer of this database: [web] secret, else the file `DATABASE.key`, made when missing.

    Both hold one key or several, newest first, with blanks or line breaks between them. Raises
    ConfigError when a key is short or missing, or the file is open to others or cannot be used.
    """
    if config.web.secret is not None:
        name = config.web.secret.env
        fix = f"set it to what `{_NEW_KEY}` prints"
        return Signer(_checked(config.web.secret.reveal(environ), name, fix))
    path = database.with_name(database.name + ".key")
    fix = "restore it from a backup, or remove it: links sent so far then stop working"
    try:
        if not path.exists():
            _create(path)
        text = _private(path)
    except OSError as error:
        message = f"cannot be used as the key of links ({error.strerror})"
        fix = 'make its folder writable, or set [web] secret = { env = "NAME" }'
        raise ConfigError([Fault(key=str(path), message=message, fix=fix)]) from error
    except UnicodeDecodeError:
        raise ConfigError([Fault(key=str(path), message="is not a key", fix=fix)]) from None
    return Signer(_checked(text, str(path), fix))


def _checked(text: str, where: str, fix: str) -> list[str]:
    keys = text.split()
    if not keys or any(len(key) < _LEAST_KEY for key in keys):
        message = f"a key of links has {_LEAST_KEY} characters or more"
        raise ConfigError([Fault(key=where, message=message, fix=fix)])
    return keys


def _create(path: Path) -> None:
    """Make the key file, whole and for its owner only; of two makers the first one wins."""
    # O_EXCL and mode 0600; given its name when complete, so that nobody ever reads half a key.
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()


def _private(path: Path) -> str:
    with path.open(encoding="ascii") as file:
        mode = os.fstat(file.fileno()).st_mode
        # Windows keeps no such bits.
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            message = "can be read or written by others, who could then forge links"
            fix = f"run `chmod 600 {path}`, or remove it if somebody may have read it"
            raise ConfigError([Fault(key=str(path), message=message, fix=fix)])
        return file.read(100_000)
