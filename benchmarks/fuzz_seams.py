"""The mappings of each platform as one kind of function: bytes in, mentions and updates out."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from connectors import (
    appstore,
    bluesky_map,
    discourse_map,
    hackernews_items,
    mastodon_map,
    reddit_map,
    x_pages,
    youtube_map,
)
from connectors.base import Mention, Update
from connectors.discourse_api import Forum
from connectors.hackernews import HackerNews
from connectors.http import Http, Response
from connectors.jetstream import _Batch
from connectors.mapping import OddRecord, to_mentions
from connectors.records import Place, json_values
from connectors.twarc import page_mentions

Found = tuple[list[Mention], list[Update], list[str]]

_FIX = re.compile(
    r"\b(add|check|choose|export|fetch|give|leave|mend|name|needed|put|read|save|set|take|tries|try|"
    r"unpack|unpacked|use|wait|write)\b",
    re.IGNORECASE,
)


def says_what_to_do(text: str) -> bool:
    """Whether an error holds a word that tells people what to do next."""
    return _FIX.search(text) is not None


def _value(data: bytes) -> Any:
    return Response(status=200, headers={}, body=data, url="https://site.example/").json()


def _x(data: bytes, now: datetime) -> Found:
    value = _value(data)
    mapped = page_mentions(value, now=now)
    updates = [*x_pages.edits(mapped.mentions, {}, now), *x_pages.figures(mapped.mentions, {}, now)]
    if isinstance(value, Mapping):
        updates += x_pages.removals(value, {"1": "1"}, "x", now)
        x_pages.count_posts(value)
    return [*mapped.mentions], updates, [*mapped.skipped, *mapped.notes]


def _reddit(data: bytes, now: datetime) -> Found:
    mentions: list[Mention] = []
    updates: list[Update] = []
    told: list[str] = []
    value = _value(data)
    for body in value if isinstance(value, list) else [value]:
        found = reddit_map.listed(body)
        for record in reddit_map.walk_tree(found[0] if found else [body]):
            if isinstance(record, reddit_map.More):
                continue
            try:
                thing = reddit_map.read_thing(record)
                updates += reddit_map.to_updates(thing, "reddit", now)
                mention, notes = reddit_map.to_mention(thing, "reddit", now)
            except OddRecord as odd:
                told.append(odd.reason)
                continue
            mentions.append(mention)
            told += notes
    return mentions, updates, told


def _mastodon(data: bytes, now: datetime) -> Found:
    value = _value(data)
    body = value.get("body") if isinstance(value, Mapping) else value
    mapped = mastodon_map.map_payload({"status": 200, "headers": {}, "body": body}, now=now)
    statuses = mastodon_map.read_statuses(body if isinstance(body, list) else [body])
    updates = [
        one for each in statuses.found for one in mastodon_map.to_updates(each, "mastodon", now)
    ]
    return [*mapped.mentions], updates, [*mapped.skipped, *statuses.skipped]


def _bluesky(data: bytes, now: datetime) -> Found:
    value = _value(data)
    for record in bluesky_map.records(value):
        bluesky_map.sort_time(record)
    mapped = bluesky_map.map_payload(value, now=now)
    return [*mapped.mentions], [], [*mapped.skipped, *mapped.notes]


def _jetstream(data: bytes, now: datetime) -> Found:
    batch = _Batch(source="bluesky", begin=0, last=0)
    batch.add(data, now)
    return batch.mentions, batch.updates, [*batch.faults]


def _youtube(data: bytes, now: datetime) -> Found:
    mapped = youtube_map.map_payload(_value(data))
    updates = [one for mention in mapped.mentions for one in youtube_map.to_edit(mention, now)]
    return [*mapped.mentions], updates, [*mapped.skipped]


def _discourse(data: bytes, now: datetime) -> Found:
    value = _value(data)
    mapped = discourse_map.map_payload(value)
    topic = value.get("post_stream") if isinstance(value, Mapping) else None
    posts = topic.get("posts") if isinstance(topic, Mapping) else None
    forum = Forum(url="https://forum.example")
    updates = [
        update
        for one in (posts if isinstance(posts, list) else [])
        for update in discourse_map.to_updates(one, forum, "discourse", now)
    ]
    return [*mapped.mentions], updates, [*mapped.skipped]


def _appstore(data: bytes, now: datetime) -> Found:
    mapped = appstore.map_payload(_value(data), now=now)
    return [*mapped.mentions], [], [*mapped.skipped, *mapped.notes]


def _hackernews(data: bytes, now: datetime) -> Found:
    value = _value(data)
    site = HackerNews(Http())
    told: list[str] = []
    mentions: list[Mention] = []
    updates: list[Update] = []
    for hit in _objects(value.get("hits") if isinstance(value, Mapping) else None):
        found = site.map_hit(hit)
        if isinstance(found, str):
            told.append(found)
        else:
            mentions.append(found)
    thread, faults = hackernews_items.thread_mentions(value, "40", site.map_hit)
    if isinstance(value, Mapping):
        item = hackernews_items.item_updates(value, "40", "hackernews", site.map_hit, now)
        updates += item if isinstance(item, list) else []
    return [*mentions, *thread], updates, [*told, *faults]


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    yield from (one for one in (value if isinstance(value, list) else ()) if isinstance(one, dict))


def _mapping(data: bytes, now: datetime) -> Found:
    mentions: list[Mention] = []
    told: list[str] = []
    for record in json_values(io.BytesIO(data), Place()):
        if record.problem:
            told.append(record.problem)
            continue
        try:
            mapped = to_mentions(record.value, now=now)
        except OddRecord as odd:
            told.append(odd.reason)
            continue
        mentions += mapped.mentions
        told += (*mapped.skipped, *mapped.notes)
    return mentions, [], told


SEAMS: Mapping[str, Callable[[bytes, datetime], Found]] = {
    "appstore": _appstore,
    "bluesky": _bluesky,
    "discourse": _discourse,
    "hackernews": _hackernews,
    "jetstream": _jetstream,
    "mapping": _mapping,
    "mastodon": _mastodon,
    "reddit": _reddit,
    "x": _x,
    "youtube": _youtube,
}
"""By name: mentions, updates and what was said of the rest; raises OddRecord or ConnectorError."""
