"""The built-in sample: posts written for this project, about an invented coffee machine maker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from .base import (
    Author,
    BadConfig,
    Budget,
    BudgetSpent,
    Capabilities,
    Counts,
    Cursor,
    Mention,
    Page,
    Query,
)
from .text import clean_text
from .values import read_text, read_time, require_aware

_PAGE_SIZE = 100


class Sample:
    """Posts dated back from the moment of the first run, so that they look recent.

    That moment is kept in the cursor: later runs give nothing and move no date. `path` names
    another file of the same form.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._data: Traversable = (
            Path(path) if path else files(__package__).joinpath("data", "sample.jsonl")
        )

    @property
    def source(self) -> str:
        """Always "sample"."""
        return "sample"

    def capabilities(self) -> Capabilities:
        """What this connector can do; makes no request."""
        return Capabilities(
            by_query=False,
            prefiltered=True,
            gives="invented posts in English and Spanish to try Listener with",
        )

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """The posts by time, 100 a page; nothing once they were given. `query` is not looked at."""
        digest, rows = self._rows()
        anchor, start = _resume(cursor, digest, require_aware(now))
        try:
            posts = [_mention(row, anchor) for row in rows]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadConfig(f"{self._data}: not a sample ({type(error).__name__})") from None
        pages = given = 0
        while start < len(posts):
            left = _PAGE_SIZE if budget.mentions is None else budget.mentions - given
            if left <= 0 or pages == budget.pages:
                raise BudgetSpent(f"sample: the budget is used up; {len(posts) - start} posts left")
            end = min(start + min(left, _PAGE_SIZE), len(posts))
            yield Page(
                mentions=tuple(posts[start:end]),
                cursor={"anchor": anchor.isoformat(), "digest": digest, "next": end},
                more=end < len(posts),
                returned=end - start,
            )
            pages, given, start = pages + 1, given + end - start, end

    def check(self, *, now: datetime) -> str:
        """One line about the sample."""
        return f"sample: {len(self._rows()[1])} invented posts"

    def _rows(self) -> tuple[str, list[Mapping[str, Any]]]:
        """A digest of the file, and its rows by time, roots before answers of the same minute."""
        try:
            data = self._data.read_bytes()
            rows = [json.loads(line) for line in data.splitlines() if line.strip()]
            rows.sort(key=lambda row: (-row["minutes_before"], row["parent"] is not None))
        except OSError as error:
            raise BadConfig(f"{self._data}: cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError) as error:
            raise BadConfig(f"{self._data}: not a sample ({type(error).__name__})") from None
        return hashlib.sha256(data).hexdigest()[:16], rows


def _resume(cursor: Cursor | None, digest: str, now: datetime) -> tuple[datetime, int]:
    """The moment the dates count back from, and how many posts were given of this very sample."""
    match cursor:
        case {"anchor": str(anchor), "digest": known, "next": int(start)}:
            if time := read_time(anchor):
                return time[0], start if known == digest else 0
    return now, 0


def _mention(row: Mapping[str, Any], anchor: datetime) -> Mention:
    author = row["author"]
    return Mention(
        source="sample",
        native_id=row["id"],
        url=row["url"],
        title=read_text(row["title"]),
        text=clean_text(row["text"]),
        published_at=anchor - timedelta(minutes=row["minutes_before"]),
        author=Author(
            source="sample",
            native_id=author["handle"],
            handle=author["handle"],
            name=author["name"],
            followers=author["followers"],
        ),
        lang=row["lang"],
        parent_id=row["parent"],
        root_id=row["root"],
        counts=Counts(likes=row["likes"], replies=row["replies"], shares=row["shares"]),
        raw=row,
    )
