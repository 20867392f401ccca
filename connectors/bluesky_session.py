"""Where the session of a Bluesky account is kept: a file for its owner only, shared by processes.

Bluesky allows 300 logins a day, so a session is used until it ends, and renewed by one at a time.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from .base import BadConfig, Transient

_PATIENCE = 60.0
"""Seconds to wait for another process that renews the session."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Tokens:
    """A session: whose it is, where, and its tokens. Not to be printed."""

    service: str
    identifier: str
    did: str
    access: str
    refresh: str


class SessionFile:
    """The session in the file `path`; None: only in memory.

    What is read belongs to `identifier` at `service`, or is nothing.
    """

    def __init__(self, path: Path | None, service: str, identifier: str) -> None:
        self._path = path
        self._whose = (service, identifier)
        self._mutex = threading.Lock()
        self._kept: Tokens | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else renews the session meanwhile; Transient when one does for a minute."""
        with self._mutex:
            if self._path is None:
                yield
                return
            lock = FileLock(self._path.with_name(f"{self._path.name}.lock"), timeout=_PATIENCE)
            try:
                lock.acquire()
            except Timeout:
                raise Transient(
                    "another Listener has been renewing the session of Bluesky for a minute; "
                    "the next run tries again"
                ) from None
            except OSError as error:
                raise self._unusable(error) from None
            try:
                yield
            finally:
                lock.release()

    def read(self) -> Tokens | None:
        """The session that is kept, if it can be read and is of this account."""
        if self._path is None:
            return self._kept
        try:
            with self._path.open(encoding="utf-8") as file:
                mode = os.fstat(file.fileno()).st_mode
                # Windows keeps no such bits.
                if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
                    raise BadConfig(
                        f"{self._path.name} can be read by others and holds the session of "
                        "Bluesky; remove it, a new one is made"
                    )
                tokens = Tokens(**json.loads(file.read(100_000)))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from None
        except (ValueError, TypeError):
            return None
        texts = all(isinstance(one, str) for one in asdict(tokens).values())
        return tokens if texts and (tokens.service, tokens.identifier) == self._whose else None

    def write(self, tokens: Tokens) -> None:
        """Keep `tokens` in place of what was kept; a reader sees the old or the new, never half."""
        if self._path is None:
            self._kept = tokens
            return
        try:
            handle, name = tempfile.mkstemp(prefix=f"{self._path.name}.", dir=self._path.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(asdict(tokens), file)
                Path(name).replace(self._path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> BadConfig:
        name = self._path.name if self._path else ""
        return BadConfig(
            f"{name} cannot be used to keep the session of Bluesky ({error.strerror}); make its "
            "folder writable, or set session_file under [sources.bluesky]"
        )
