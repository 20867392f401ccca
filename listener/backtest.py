"""A backtest: what the rules would have done over stored history, and how right they were.

`backtest` reads stored posts, tags and verdicts, replays them (`replay`), and gives figures. It
runs no model, sends nothing, and writes nothing. What is approximate, since only the latest state
of it is stored: which posts make a conversation, texts and tags of edited posts, and followers.
Thresholds and rankings learnt from verdicts are not replayed: they would know the future.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from . import history, replay
from .config import Config, Recipient
from .config_errors import did_you_mean
from .figures import Replayed, figures, listed, paired
from .history import BacktestError, Order
from .recipients import asleep_until
from .replay import Fired
from .rules import EARLY_FUNNEL, Rule, early
from .store import moment, stamp
from .walk import Setting, System, Told, Walk, walk

Baseline = Literal["regex", "single-post", "regex-single-post"]
BASELINES: tuple[Baseline, ...] = ("single-post", "regex", "regex-single-post")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
COMPARED: Mapping[str, tuple[str, ...]] = {
    "alerts": ("alerts",),
    "per_day": ("per_day",),
    "precision": ("precision", "share"),
    "best_5": ("best", "5", "share"),
    "best_10": ("best", "10", "share"),
    "best_20": ("best", "20", "share"),
    "average_precision": ("average_precision", "value"),
    "recall_labelled": ("recall", "labelled", "share"),
    "recall_audit": ("recall", "audit", "recall"),
    "lead_median": ("lead", "median"),
    "before": ("lead", "before", "share"),
}
"""Figures by name, and where they stand among those of a system."""
_SPAN = re.compile(r"(\d{1,5})([hdw])\Z")


def time_of(text: str, zone: ZoneInfo, *, now: datetime) -> datetime:
    """A span before `now` such as 36h, 90d or 12w, or a day or time; days begin at midnight.

    Raises `BacktestError` for another form and for spans and times out of reach.
    """
    found = _SPAN.match(text.strip().lower())
    try:
        if found:
            return now - int(found[1]) * _UNITS[found[2]]
        given = datetime.fromisoformat(text.strip())
        return given if given.tzinfo else given.replace(tzinfo=zone)
    except (ValueError, OverflowError):
        raise BacktestError(
            f"`{text}` is neither a span nor a date: write one such as 90d, 12w or 2026-03-01"
        ) from None


def systems(
    setting: Setting,
    name: str | None,
    *,
    other: Setting | None = None,
    baselines: Sequence[Baseline] = (),
) -> list[System]:
    """The columns: the rule `name` or all rules, then those of `other`, then the baselines.

    Raises `BacktestError` for a rule that is not there, and where there is nothing to compare.
    """
    own = [_named(setting, name)] if name else list(setting.rules)
    if not own:
        raise BacktestError(
            f"{setting.file}: no rule is enabled: enable one of [[alerts.rules]], or remove them"
        )
    columns = [System(name=rule.name, setting=setting, rule=rule) for rule in own]
    if other is not None:
        columns += [
            System(name=f"{rule.name} ({Path(other.file).name})", setting=other, rule=rule)
            for rule in _counterparts(own, other, name)
        ]
    early = [rule for rule in own if rule.type == EARLY_FUNNEL]
    if baselines and not early:
        raise BacktestError("baselines stand beside early-funnel rules only: name one of these")
    for rule in early:
        prefix = f"{rule.name}: " if len(early) > 1 else ""
        columns += [
            System(
                name=prefix + baseline,
                setting=setting,
                rule=rule,
                words=baseline != "single-post",
                single=baseline != "regex",
            )
            for baseline in dict.fromkeys(baselines)
        ]
    return columns


def _named(setting: Setting, name: str) -> Rule:
    known = [rule.name for rule in setting.rules]
    for rule in setting.rules:
        if rule.name.casefold() == name.casefold():
            return rule
    fix = did_you_mean(name, known) or f"it has {', '.join(known) or 'none'}"
    raise BacktestError(f"{setting.file}: no enabled rule is called `{name}`: {fix}")


def _counterparts(own: Sequence[Rule], other: Setting, name: str | None) -> list[Rule]:
    """Rules of the other file: of the same names, or its only one of the type of an only one."""
    names = {rule.name.casefold() for rule in own}
    found = [rule for rule in other.rules if rule.name.casefold() in names]
    if not found and len(own) == 1:
        alike = [rule for rule in other.rules if rule.type == own[0].type]
        found = alike if len(alike) == 1 else []
    if not found:
        known = ", ".join(rule.name for rule in other.rules) or "none"
        wanted = name or ", ".join(rule.name for rule in own)
        raise BacktestError(
            f"{other.file}: has no rule to compare with {wanted} (it has {known}): "
            "give the rules the same name in both files"
        )
    return found


def backtest(
    connection: sqlite3.Connection,
    columns: Sequence[System],
    *,
    since: datetime,
    until: datetime,
    order: Order = "first-seen",
    labels: Path | None = None,
) -> dict[str, Any]:
    """Replay `columns` over what became known from `since` to `until`.

    Returns a JSON-ready report:

    - `since`, `until`, `order`, and `days`, from the first to the last post of it, at least 1;
    - `extent`: `posts` that became known, `late` of them more than a day after publication,
      `waiting` ones that some step has still to read, `replayed` ones in conversations about
      something followed, and `conversations` of these that went on in the span;
    - `labels`: `conversations` that have one, `rows` of the file, `unknown` posts among them;
    - `systems`: name, rule, type, file, and `figures.figures` of each column;
    - `pairs`: `figures.paired` of the first column with each later one of the same type, and the
      `difference` of the figures named in `COMPARED`;
    - `alerts`: `figures.listed` of each column.

    Raises `BacktestError` where nothing is stored or became known in the span, or `labels` cannot
    be read.
    """
    if since >= until:
        raise BacktestError("the span ends before it begins: give --since an earlier time")
    size = history.extent(connection, order, since=since, until=until)
    if size.first is None or size.last is None:
        raise BacktestError(
            "nothing is stored yet: `listener run --once` or `listener import` collects posts"
        )
    if not size.posts:
        raise BacktestError(
            f"no post became known in this span; those stored did from {size.first[:10]} to "
            f"{size.last[:10]}: set --since and --until to that"
        )
    said = history.verdicts(connection)
    given = history.read_labels(connection, labels) if labels else history.Labelled({}, 0, 0)
    useful = {column.rule.type: {**said[column.rule.type], **given.useful} for column in columns}
    labelled = {one for by_type in useful.values() for one in by_type}
    told, walks = walk(connection, columns, labelled, since=since, until=until, order=order)
    originals = history.originals(connection)
    fired = [
        replay.fire(
            column.rule,
            [one for one in seen.sightings if one.at <= until],
            thresholds=column.setting.thresholds,
            originals=originals,
        )
        for column, seen in zip(columns, walks, strict=True)
    ]
    mailed = _mailed(columns, fired, walks, until)
    replayed = [
        Replayed(
            name=column.name,
            rule=column.rule,
            zone=column.setting.zone,
            since=since,
            until=until,
            fired=raised,
            mailed=sent,
            ranks=_ranks(column, seen, since) if column.early else None,
            useful=useful[column.rule.type],
        )
        for column, seen, raised, sent in zip(columns, walks, fired, mailed, strict=True)
    ]
    # What was not collected yet, or lies behind the end of an archive, are no quiet days.
    observed = min(until, moment(size.last)) - max(since, moment(size.first))
    days = max(observed / timedelta(days=1), 1.0)
    drawn = history.drawn(connection, told.active)
    live = history.alerted_live(connection) & told.active
    rows: list[dict[str, Any]] = [
        {
            "system": column.name,
            "rule": column.rule.name,
            "type": column.rule.type,
            "file": column.setting.file,
        }
        | figures(done, told, days=days, given=given.useful, drawn=drawn, live=live)
        for column, done in zip(columns, replayed, strict=True)
    ]
    alerts = [row for done in replayed for row in listed(done, told)]
    _name(connection, [*alerts, *(late for row in rows for late in row["lead"]["late"])])
    return {
        "since": stamp(since),
        "until": stamp(until),
        "order": order,
        "days": round(days, 2),
        "extent": {
            "posts": size.posts,
            "late": size.late,
            "waiting": size.waiting,
            "replayed": told.posts,
            "conversations": len(told.active),
        },
        "labels": {
            "conversations": len(labelled & told.active),
            "rows": given.rows,
            "unknown": given.unknown,
        },
        "systems": rows,
        "pairs": _pairs(replayed, rows, told),
        "alerts": alerts,
    }


def _asleep(config: Config, person: Recipient, now: datetime) -> bool:
    return asleep_until(config, person, now) is not None


def _mailed(
    columns: Sequence[System],
    fired: Sequence[Sequence[Fired]],
    walks: Sequence[Walk],
    until: datetime,
) -> list[dict[str, dict[int, datetime]]]:
    """For each column, who would have been mailed which of its alerts when.

    The rules of one setting share what a person has room for; a baseline has all of it.
    """
    mailed: list[dict[str, dict[int, datetime]]] = [{} for _ in columns]
    together: dict[object, list[int]] = defaultdict(list)
    for at, column in enumerate(columns):
        plain = not (column.words or column.single)
        together[id(column.setting) if plain else column.name].append(at)
    for group in together.values():
        config = columns[group[0]].setting.config
        rules = {columns[at].rule.name: columns[at].rule for at in group}
        for person in config.receiving("alerts"):
            own = sorted(
                (
                    (one, at, place)
                    for at in group
                    if person in columns[at].rule.recipients
                    for place, one in enumerate(fired[at])
                ),
                key=lambda it: (it[0].sighting.at, -it[0].sighting.points, it[1:]),
            )
            for at in group:
                if person in columns[at].rule.recipients:
                    mailed[at][person.name] = {}
            times = replay.spend(
                [one for one, _, _ in own],
                {
                    (one.rule, one.sighting.unit): walks[at].courses.get(one.sighting.unit, ())
                    for one, at, _ in own
                },
                rules,
                most=person.max_alerts_per_day or config.alerts.max_per_day,
                zone=columns[group[0]].setting.zone,
                asleep=partial(_asleep, config, person),
                until=until,
            )
            for number, sent in times.items():
                _, at, place = own[number]
                mailed[at][person.name][place] = sent
    return mailed


def _ranks(column: System, seen: Walk, since: datetime) -> dict[int, int]:
    """The most points that each labelled conversation had within the span."""
    anything = replace(column.rule, minimum={})
    ranks: dict[int, int] = {}
    for one in seen.ranked:
        if one.at >= since and early(anything, one.found):
            ranks[one.conversation] = max(one.points, ranks.get(one.conversation, 0))
    return ranks


def _pairs(
    replayed: Sequence[Replayed], rows: Sequence[dict[str, Any]], told: Told
) -> list[dict[str, Any]]:
    """Each later column beside the first of the same type, with what it has more or less."""
    pairs = []
    for at, b in enumerate(replayed):
        first = next(n for n, one in enumerate(replayed) if one.rule.type == b.rule.type)
        if first != at:
            difference = {
                name: _minus(_value(rows[at], path), _value(rows[first], path))
                for name, path in COMPARED.items()
            }
            pairs.append(paired(replayed[first], b, told) | {"difference": difference})
    return pairs


def _value(row: Any, path: Sequence[str]) -> float | None:
    for name in path:
        row = None if row is None else row[name]
    return None if row is None else float(row)


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _name(connection: sqlite3.Connection, rows: Iterable[dict[str, Any]]) -> None:
    """Add source, id and address of its post to each row."""
    listed_rows = list(rows)
    posts = history.named(connection, [row["mention"] for row in listed_rows])
    for row in listed_rows:
        row.update(posts[row["mention"]])
