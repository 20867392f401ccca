"""What a page of the X API v2 means beside its posts: edits, removals and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from .base import Mention, Update
from .mapping import Mapped
from .twarc import id_time
from .values import is_number, read_id, read_time

POST_FIELDS = (
    "author_id,conversation_id,created_at,edit_history_tweet_ids,entities,lang,note_tweet,"
    "public_metrics,referenced_tweets,withheld"
)
"""Fields to ask for; they are free, unlike what an expansion brings."""
USER_FIELDS = "name,public_metrics,username"

_GONE = {
    "resource-not-found": "deleted at the source",
    "not-authorized-for-resource": "no longer public",
}


def edits(mentions: Sequence[Mention], names: Mapping[str, str], now: datetime) -> Iterator[Update]:
    """An edit for each post whose newest version is at hand.

    `names` says under which id a version is stored, where that is not the id of the first one.
    """
    for mention in mentions:
        newest = newest_version(mention)
        if newest and newest != mention.native_id and newest == given_version(mention):
            time = read_time((mention.raw or {}).get("created_at"))
            yield Update(
                source=mention.source,
                native_id=names.get(newest, mention.native_id),
                kind="edit",
                at=time[0] if time else id_time(newest) or now,
                text=mention.text,
            )


def removals(
    body: Mapping[str, Any], names: Mapping[str, str], source: str, now: datetime
) -> Iterator[Update]:
    """A tombstone for each post in `names` that X says is deleted or not public any more."""
    for error in _objects(body.get("errors")):
        kind, native_id = str(error.get("type")), read_id(error.get("resource_id"))
        reason = _GONE.get(kind.rpartition("/problems/")[2])
        if (
            reason
            and native_id is not None
            and native_id in names
            and error.get("parameter") in (None, "ids", "id")
        ):
            yield Update(
                source=source, native_id=names[native_id], kind="tombstone", at=now, reason=reason
            )


def figures(
    mentions: Sequence[Mention], names: Mapping[str, str], now: datetime
) -> Iterator[Update]:
    """A sample of the figures of each post; `names` as for `edits`."""
    for one in mentions:
        native_id = names.get(given_version(one) or "", one.native_id)
        yield Update(
            source=one.source, native_id=native_id, kind="metrics", at=now, counts=one.counts
        )


def given_version(mention: Mention) -> str | None:
    """The id of the version whose text a mention has."""
    return read_id((mention.raw or {}).get("id"))


def newest_version(mention: Mention) -> str | None:
    """The id of the last edit that the page knows of; the post's own without one."""
    history = (mention.raw or {}).get("edit_history_tweet_ids")
    ids = [read_id(one) or "" for one in history] if isinstance(history, list) else []
    return max(filter(is_number, ids), key=int, default=given_version(mention))


def count_posts(body: Mapping[str, Any]) -> int:
    """The records that a page gives."""
    data = body.get("data")
    return len(data) if isinstance(data, list) else 0


def page_warnings(mapped: Mapped, source: str) -> tuple[str, ...]:
    """Notes and skipped records of a page, each kind once with its number."""
    skipped = (f"{reason}; skipped" for reason in mapped.skipped)
    return tuple(
        f"{source}: {what} ({n})" for what, n in Counter([*mapped.notes, *skipped]).items()
    )


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
