"""Spans of time: half-open and aware; taken in any order, given back sorted and disjoint."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

Span = tuple[datetime, datetime]
"""Start and end (aware); the end is not part of it. An end that is not after its start: nothing."""

_HOUR = timedelta(hours=1)


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """What is in any of `spans`; spans that touch become one."""
    found: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return tuple(found)


def clipped(spans: Iterable[Span], start: datetime, end: datetime) -> tuple[Span, ...]:
    """What of `spans` lies between `start` and `end`."""
    return merged((max(first, start), min(last, end)) for first, last in spans)


def minutes(spans: Iterable[Span]) -> int:
    """How long `spans` are together, in whole minutes; half a minute counts as one."""
    return _minutes(sum(((end - start) for start, end in merged(spans)), timedelta()))


def by_hour(spans: Iterable[Span]) -> dict[str, int]:
    """Minutes in each hour (UTC, `YYYY-MM-DDTHH`) that `spans` reach into: 1 to 60."""
    lengths: dict[str, timedelta] = {}
    for start, end in merged(spans):
        at, last = start.astimezone(UTC), end.astimezone(UTC)
        while at < last:
            following = min(at.replace(minute=0, second=0, microsecond=0) + _HOUR, last)
            key = f"{at:%Y-%m-%dT%H}"
            lengths[key] = lengths.get(key, timedelta()) + (following - at)
            at = following
    return {hour: found for hour, length in lengths.items() if (found := _minutes(length))}


def _minutes(length: timedelta) -> int:
    return int((length + timedelta(seconds=30)) / timedelta(minutes=1))
