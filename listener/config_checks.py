"""Checks between tables of the configuration.

They read the TOML data as it stands, wrong elsewhere or not, so that every fault shows at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from .config_alerts import ONLY_FOR, RuleType
from .config_errors import Fault, Location, did_you_mean, dotted

Found = tuple[Location, Fault]


def cross_faults(
    data: Mapping[str, Any], *, channels: Mapping[str, bool], channel: str
) -> Iterator[Found]:
    """Repeated names, addresses and feeds, recipients on a channel that is off, rules at odds.

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
    plugins = _within(data, ("channels", "plugins"))
    for name in plugins if isinstance(plugins, dict) else ():
        on[name] = _within(plugins, (name, "enabled")) is True
    people = data.get("recipients")
    for index, person in enumerate(people if isinstance(people, list) else []):
        chosen = person.get("channel", channel) if isinstance(person, dict) else None
        if not isinstance(chosen, str) or on.get(chosen):
            continue
        if chosen in on:
            table = f"channels.{chosen}" if chosen in channels else f"channels.plugins.{chosen}"
            message, fix = f"`{chosen}` is off", f"set enabled = true in [{table}]"
        else:
            message = "there is no such channel"
            fix = did_you_mean(chosen, on) or f"write one of: {', '.join(on)}"
        location = ("recipients", index, "channel")
        yield location, Fault(key=dotted(location), message=message, fix=fix)
    yield from _unheard_account(data)
    yield from _rule_faults(data)


def _unheard_account(data: Mapping[str, Any]) -> Iterator[Found]:
    """An account of X by its id alone: what mentions it names nothing that is looked for."""
    location: Location = ("sources", "x", "user")
    user = _within(data, ("sources", "x", "user"))
    if (
        isinstance(user, str)
        and user.strip().removeprefix("@").isdecimal()
        and _within(data, ("sources", "x", "enabled")) is True
        and not _within(data, ("brand", "handles"))
    ):
        message = "is an id, and without a handle none of its mentions is known as one"
        fix = "write its handle here, or under [brand] in `handles`"
        yield location, Fault(key=dotted(location), message=message, fix=fix)


def _rule_faults(data: Mapping[str, Any]) -> Iterator[Found]:
    """Repeated names of rules, readers who are not there or get no alerts, keys of other types."""
    yield from _repeated(_values(data, ("alerts", "rules"), "name"))
    known = _readers(data)
    rules = _within(data, ("alerts", "rules"))
    for index, rule in enumerate(rules if isinstance(rules, list) else []):
        if not isinstance(rule, dict):
            continue
        place: Location = ("alerts", "rules", index)
        kind = rule.get("type", "early-funnel")
        for key in rule.keys() & ONLY_FOR.keys():
            if kind in get_args(RuleType) and kind not in ONLY_FOR[key]:
                message = f"means nothing for a rule of type {kind}"
                fix = f"remove it; it is for type {' or '.join(ONLY_FOR[key])}"
                yield (*place, key), Fault(key=dotted((*place, key)), message=message, fix=fix)
        named = rule.get("recipients")
        for number, name in enumerate(named if isinstance(named, list) else []):
            if not isinstance(name, str) or not name.strip():
                continue
            location = (*place, "recipients", number)
            if name.strip().casefold() not in known:
                message = f"nobody in [[recipients]] is called `{name.strip()}`"
                names = list(dict.fromkeys(shown for shown, _ in known.values()))
                fix = did_you_mean(name.strip(), names) or (
                    f"write one of: {', '.join(names)}" if names else "add [[recipients]]"
                )
            elif not known[name.strip().casefold()][1]:
                message = f"`{name.strip()}` does not receive alerts"
                fix = 'add "alerts" to `receives` of that recipient'
            else:
                continue
            yield location, Fault(key=dotted(location), message=message, fix=fix)
    yield from _chosen_rules(data)


def _chosen_rules(data: Mapping[str, Any]) -> Iterator[Found]:
    """Rules that a recipient chooses and that are not there, or are for other people."""
    rules = _within(data, ("alerts", "rules"))
    readers: dict[str, tuple[str, set[str]]] = {}
    for rule in rules if isinstance(rules, list) else []:
        if isinstance(rule, dict) and isinstance(name := rule.get("name"), str):
            given = rule.get("recipients")
            names = given if isinstance(given, list) else []
            named = {one.strip().casefold() for one in names if isinstance(one, str)}
            readers[name.strip().casefold()] = (name.strip(), named)
    if not rules:
        readers = {"early-funnel": ("early-funnel", set())}
    people = data.get("recipients")
    for index, person in enumerate(people if isinstance(people, list) else []):
        chosen = person.get("rules") if isinstance(person, dict) else None
        own = {
            str(person.get(key)).strip().casefold()
            for key in ("name", "email")
            if isinstance(person, dict)
        }
        for number, name in enumerate(chosen if isinstance(chosen, list) else []):
            if not isinstance(name, str) or not name.strip():
                continue
            shown, named = readers.get(name.strip().casefold(), ("", set()))
            if not shown:
                known = [one for one, _ in readers.values()]
                message = f"no rule is called `{name.strip()}`"
                fix = did_you_mean(name.strip(), known) or f"write one of: {', '.join(known)}"
            elif named and not named & own:
                message = f"`{shown}` is for other people"
                fix = "add this recipient to `recipients` of that rule, or remove the rule here"
            else:
                continue
            location: Location = ("recipients", index, "rules", number)
            yield location, Fault(key=dotted(location), message=message, fix=fix)


def _readers(data: Mapping[str, Any]) -> dict[str, tuple[str, bool]]:
    """Names and addresses in lower case: how each is written, and whether it receives alerts."""
    people = data.get("recipients")
    known = {}
    for person in people if isinstance(people, list) else []:
        if isinstance(person, dict):
            receives = person.get("receives")
            alerts = isinstance(receives, list) and "alerts" in receives
            for shown in (person.get("name"), person.get("email")):
                if isinstance(shown, str):
                    known[shown.strip().casefold()] = (shown.strip(), alerts)
    return known


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
