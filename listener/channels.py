"""How a message leaves: a folder of files, a mail server, or a web address.

A channel sends one parcel or says what to do next: `Later` is worth another try, `Refused` is
not. Nothing of a message reaches a log or an error text.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal, Protocol, runtime_checkable

from .envelope import preview_html, read

log = logging.getLogger(__name__)

BUILT_IN = {
    "outbox": "listener.channels:OutboxFolder",
    "smtp": "listener.channels_smtp:Smtp",
    "webhook": "listener.channels_webhook:Webhook",
    "slack": "listener.channels_slack:Slack",
}
ENTRY_POINTS = "listener.channels"
_NAME_LENGTH = 120
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9@._+-]")


class ChannelError(Exception):
    """Base of channel errors; the text says why and is free of addresses and content."""


class Later(ChannelError):
    """A passing fault: no connection, a timeout, a 4xx reply, a full disk. Try again.

    Not before `when` (aware), if the other side names a time. With `down` the channel takes nothing
    from anybody for now; without it, it is about this message.
    """

    def __init__(self, text: str, *, when: datetime | None = None, down: bool = False) -> None:
        super().__init__(text)
        self.when = when
        self.down = down


class Refused(ChannelError):
    """The other side will never take this message for this recipient.

    With `gone` it will take no other one either: the mailbox or the web address is not there.
    `code` is what it answered, in digits: "550 5.1.1", "410".
    """

    def __init__(self, text: str, *, gone: bool = False, code: str = "") -> None:
        super().__init__(text)
        self.gone = gone
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """One message for one recipient, in the forms that channels carry.

    `ref` is the number of the alert, the day of the digest or what else names a message. `key` is
    the same whenever this delivery is tried, and no other delivery has it. `message` is the e-mail,
    `data` what it says, ready for JSON (see listener/payload.py).
    """

    kind: Literal["alert", "digest", "operator"]
    ref: str
    key: str
    message: EmailMessage
    data: Mapping[str, Any]


@runtime_checkable
class Channel(Protocol):
    """A way for messages to leave."""

    @property
    def name(self) -> str:
        """Name in the configuration."""
        ...

    def send(self, parcel: Parcel) -> None:
        """Send `parcel`; raises `Later` or `Refused`. Connections may stay open."""
        ...

    def check(self) -> str:
        """See whether the channel works without sending; returns one line about it.

        Raises `Later` or `Refused`.
        """
        ...

    def close(self) -> None:
        """Let go of connections, without an error; the next `send` opens new ones."""
        ...


class OutboxFolder:
    """Writes each message as `<key>.eml` and, to look at in a browser, `<key>.html`."""

    name = "outbox"

    def __init__(self, *, folder: Path) -> None:
        self._folder = folder

    def send(self, parcel: Parcel) -> None:
        """Write the files, each at once; the same key writes the same files again."""
        message, stem = parcel.message, _file_name(parcel.key)
        content = message.as_bytes()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if message.get_body(("html",)) is not None:
                self._write(f"{stem}.html", preview_html(read(message)).encode())
            self._write(f"{stem}.eml", content)
        except OSError as error:
            raise self._cannot_write(error) from error
        log.debug("wrote a message of %d bytes into the outbox folder", len(content))

    def check(self) -> str:
        """Create the folder if need be and write a file that is removed again."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder) as probe:
                probe.write(b"x")
        except OSError as error:
            raise self._cannot_write(error) from error
        return f"folder {self._folder} can be written"

    def close(self) -> None:
        """A folder keeps nothing open."""

    def _write(self, name: str, content: bytes) -> None:
        handle, path = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(path).replace(self._folder / name)
        except OSError:
            Path(path).unlink(missing_ok=True)
            raise

    def _cannot_write(self, error: OSError) -> Later:
        return Later(
            f"cannot write into {self._folder} ({error.strerror}); free space there, give write "
            "permission or set another folder in [channels.outbox]",
            down=True,
        )


def load(name: str, **settings: Any) -> Channel:
    """The channel `name`, built in or from the entry points `listener.channels`, with `settings`.

    Raises `ValueError` with the known names when there is none.
    """
    targets = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)} | BUILT_IN
    if name not in targets:
        known = ", ".join(sorted(targets))
        raise ValueError(f"there is no channel {name!r}; choose one of {known}")
    channel: Channel = resolve_name(targets[name])(**settings)
    return channel


def _file_name(key: str) -> str:
    """`key` where it is a plain file name; otherwise what is plain in it and a hash of it all."""
    plain = _NOT_PLAIN.sub("-", key).lstrip(".-")[:_NAME_LENGTH]
    return plain if plain == key else f"{plain}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"
