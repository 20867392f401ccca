"""Logging of the commands: where it goes, how it looks, and what never gets into it.

Errors are told by type and place. Their texts may hold posts, and so may what libraries of the web
log: addresses with words that are searched for, names of people, keys. These are heard from their
warnings on, and Listener's own parts from the chosen level on.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType

OURS = ("listener", "connectors", "nlp")
_LINE = "%(asctime)s %(levelname)s %(name)s%(in_job)s: %(message)s"
_MB = 1_000_000
_Caught = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
_job: ContextVar[str] = ContextVar("job", default="")


@contextmanager
def of_job(name: str) -> Iterator[None]:
    """Name the job of the daemon that what is logged in the block belongs to."""
    token = _job.set(name)
    try:
        yield
    finally:
        _job.reset(token)


class _Plain(logging.Formatter):
    """One line for people; an error follows as its places and its type."""

    def __init__(self) -> None:
        super().__init__(_LINE)

    def format(self, record: logging.LogRecord) -> str:
        # Of one record each handler makes its own text: none is kept on it.
        record.in_job = f" [{_job.get()}]" if _job.get() else ""
        record.exc_text = None
        return super().format(record)

    def formatException(self, ei: _Caught) -> str:  # noqa: N802 - as logging calls it
        return "\n".join(_places(ei)) + f"\n{_kind(ei)}"


class _Json(logging.Formatter):
    """One JSON object a line: time, level, logger, message, job, error (type), trace."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if _job.get():
            told["job"] = _job.get()
        if record.exc_info:
            told["error"], told["trace"] = _kind(record.exc_info), _places(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


class _Rotating(RotatingFileHandler):
    """Silent when the file cannot be written: logging never ends the work."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as logging calls it
        """Do nothing."""

    def close(self) -> None:
        """Close the file; what does not fit on the disk any more is lost."""
        with suppress(OSError):
            super().close()


def _kind(caught: _Caught) -> str:
    return caught[0].__name__ if caught[0] else ""


def _places(caught: _Caught) -> list[str]:
    """Where an error came from: file, line and function, without texts."""
    return [
        f"  {Path(frame.filename).name}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(caught[2])
    ]


def set_up(
    *,
    level: str = "warning",
    file: Path | None = None,
    as_json: bool = False,
    max_mb: int = 10,
    keep: int = 5,
) -> None:
    """Log to `file`, or without one to stderr; replaces what an earlier call set up.

    A file of `max_mb` is set aside as `file.1`, up to `keep` of them. What cannot be written to
    it, as on a full disk, is lost without a word. Raises OSError when the file cannot be opened.
    """
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        handler = _Rotating(
            file, maxBytes=max_mb * _MB, backupCount=keep, encoding="utf-8", errors="replace"
        )
    handler.setFormatter(_Json() if as_json else _Plain())
    handler.set_name("listener")
    root = logging.getLogger()
    for old in [one for one in root.handlers if one.name == "listener"]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())
    # It tells of every run of a job at INFO, and of those that come late as warnings.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
