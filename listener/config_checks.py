"""Checks between tables of the configuration.

They read the TOML data as it stands, wrong elsewhere or not, so that every fault shows at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .config_errors import Fault, Location, did_you_mean, dotted

Found = tuple[Location, Fault]


def cross_faults(
    data: Mapping[str, Any], *, channels: Mapping[str, bool], channel: str
) -> Iterator[Found]:
    """Repeated names, addresses and feeds, and recipients on a channel that is not there or off.

    `channels` says which are on when the file is silent, `channel` which one a recipient then has.
    """
    named = (("brand",), ("products",), ("competitors",), ("categories",))
    yield from _repeated(place for table in named for place in _values(data, table, "name"))
    yield from _repeated(_values(data, ("recipients",), "email"))
    yield from _repeated(_values(data, ("sources", "rss", "feeds"), "url"))
    on = dict(channels)
    for name in channels:
        enabled = _within(data, ("channels", name, "enabled"))
        on[name] = channels[name] if enabled is None else enabled is not False
    people = data.get("recipients")
    for index, person in enumerate(people if isinstance(people, list) else []):
        chosen = person.get("channel", channel) if isinstance(person, dict) else None
        if not isinstance(chosen, str) or on.get(chosen):
            continue
        if chosen in on:
            message, fix = f"`{chosen}` is off", f"set enabled = true in [channels.{chosen}]"
        else:
            message = "there is no such channel"
            fix = did_you_mean(chosen, on) or f"write one of: {', '.join(on)}"
        location = ("recipients", index, "channel")
        yield location, Fault(key=dotted(location), message=message, fix=fix)


def _within(data: Any, keys: tuple[str, ...]) -> Any:
    """What stands under nested `keys`, or None."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _values(
    data: Mapping[str, Any], table: tuple[str, ...], key: str
) -> Iterator[tuple[Location, str]]:
    """Each text under `key` in a table or a list of tables, with its location."""
    found = _within(data, table)
    rows: list[tuple[Location, Any]] = [((), found)]
    if isinstance(found, list):
        rows = [((index,), row) for index, row in enumerate(found)]
    for index, row in rows:
        if isinstance(row, dict) and isinstance(row.get(key), str):
            yield (*table, *index, key), row[key].strip()


def _repeated(values: Iterable[tuple[Location, str]]) -> Iterator[Found]:
    first: dict[str, Location] = {}
    for location, value in values:
        earlier = first.setdefault(value.casefold(), location)
        if value and earlier != location:
            message = f"repeats {dotted(earlier)}"
            yield location, Fault(key=dotted(location), message=message, fix="keep one of them")
