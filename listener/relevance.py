"""The step that judges names which are also common words, and what people said of them.

For a name with a description, examples or labels, each mention that it matches gets one tag:
tagger and kind "relevance", label the name, score the probability that the name is meant. What a
person labelled has 1 or 0. Matches of handles and addresses are sure and need no judging.

Below one half, the matches of that name in that mention do not count: the view `relevant_matches`
leaves them out.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import compress
from typing import Any

from nlp.relevance import (
    VERSION,
    Label,
    Relevance,
    Sense,
    Space,
    Vectors,
    Window,
    exclusions,
    windows,
)

from . import steps
from .analyse import MATCH, RELEVANCE, WATCH
from .promise import wilson
from .rollup import STALE_HOUR
from .steps import ProgressOf, silent
from .store import Store, stamp

_BATCH = 512
_STATE = "relevance:"


class LabelError(Exception):
    """A label that cannot be given; the text says why and what to do."""


def judge(
    store: Store,
    senses: Sequence[Sense],
    model: Vectors,
    model_version: str,
    *,
    progress: ProgressOf = silent,
) -> int:
    """Tag the mentions whose names are new, or have other descriptions, examples or labels.

    Returns how many mentions were read. Mentions that wait for `match` are left for later. The
    model is not touched while no name has anything to be judged by.
    """
    labels = _labels(store)
    chosen = {sense.name: sense for sense in senses if sense.known or sense.name in labels}
    before = store.value("SELECT version FROM steps WHERE name = ?", (RELEVANCE,))
    if not chosen and before is None:
        return 0
    version = f"{VERSION}-{model_version}" if chosen else "nothing"
    _ask(store, {name: _version(sense, labels.get(name, {})) for name, sense in chosen.items()})
    steps.announce(store, RELEVANCE, version)
    tick = progress(RELEVANCE, steps.waiting(store, RELEVANCE))
    judges: dict[str, Relevance] = {}
    space: Space | None = None
    total = 0
    while rows := steps.batch(store, RELEVANCE, _BATCH, after=MATCH):
        found = _occurrences(store, rows, chosen)
        scores: dict[tuple[int, str], float] = {}
        for name, places in found.items():
            said = labels.get(name, {})
            judged = {i: own for i, own in places.items() if own and i not in said}
            if judged and name not in judges:
                space = space or Space(model)
                judges[name] = Relevance(space, chosen[name], _windows_of(store, name, said))
            flat = [window for own in judged.values() for window in own]
            chances = iter(judges[name].probabilities(flat) if flat else ())
            for i, own in places.items():
                if i in judged:
                    scores[i, name] = max(next(chances) for _ in own)
                else:
                    scores[i, name] = float(said.get(i, True))
        with store.write() as connection:
            kept = list(compress(rows, steps.unchanged(connection, rows)))
            ids = [row["id"] for row in kept]
            changed = _save(connection, ids, scores)
            hours = {(row["at"],) for row in kept if row["id"] in changed}
            connection.executemany(STALE_HOUR, hours)
            steps.ask(connection, WATCH, sorted(changed))
            steps.done(connection, RELEVANCE, ids)
        total += len(ids)
        tick(len(ids))
    return total


def _save(
    connection: sqlite3.Connection, ids: Sequence[int], scores: Mapping[tuple[int, str], float]
) -> set[int]:
    """Replace the tags of these mentions; returns those that had or have one."""
    alive = set(ids)
    had = connection.execute(
        "SELECT DISTINCT mention_id FROM tags WHERE tagger = 'relevance' "
        "AND mention_id IN (SELECT value FROM json_each(?))",
        (json.dumps(ids),),
    ).fetchall()
    connection.executemany(
        "DELETE FROM tags WHERE mention_id = ? AND tagger = 'relevance'", [(i,) for i in ids]
    )
    new = [(i, name, score) for (i, name), score in scores.items() if i in alive]
    connection.executemany("INSERT INTO tags VALUES (?, 'relevance', 'relevance', ?, ?, 0, 0)", new)
    return {i for (i,) in had} | {i for i, _, _ in new}


def _version(sense: Sense, labels: Mapping[int, bool]) -> str:
    told = repr((sense, sorted(labels.items())))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _ask(store: Store, versions: Mapping[str, str]) -> None:
    """Put on the list what names match that are judged by something else than last time."""
    with store.write() as connection:
        old = {
            key.removeprefix(_STATE): value
            for key, value in connection.execute(
                "SELECT key, value FROM state WHERE key >= ? AND key < ?",
                (_STATE, _STATE[:-1] + ";"),
            )
        }
        for name in sorted(old.keys() | versions.keys()):
            if old.get(name) == versions.get(name):
                continue
            connection.execute(
                "INSERT OR IGNORE INTO work SELECT DISTINCT ?, mention_id FROM matches "
                "WHERE name = ?",
                (RELEVANCE, name),
            )
            connection.execute("DELETE FROM state WHERE key = ?", (_STATE + name,))
            if name in versions:
                connection.execute(
                    "INSERT INTO state VALUES (?, ?)", (_STATE + name, versions[name])
                )


def _labels(store: Store) -> dict[str, dict[int, bool]]:
    found: dict[str, dict[int, bool]] = defaultdict(dict)
    for row in store.rows("SELECT mention_id, name, relevant FROM relevance_labels"):
        found[row["name"]][row["mention_id"]] = bool(row["relevant"])
    return found


def _occurrences(
    store: Store, rows: Sequence[sqlite3.Row], chosen: Mapping[str, Sense]
) -> dict[str, dict[int, list[Window]]]:
    """Per name and mention what stands around it; nothing where a handle or address is sure."""
    texts = {row["id"]: steps.document(row["title"], row["text"]) for row in rows}
    spans: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    sure: set[tuple[str, int]] = set()
    for row in store.rows(
        "SELECT mention_id, name, term, span_start, span_end FROM matches "
        "WHERE mention_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(texts)),),
    ):
        key = row["name"], row["mention_id"]
        if row["name"] in chosen:
            spans[key].append((row["span_start"], row["span_end"]))
            if row["term"].startswith("@") or "/" in row["term"]:
                sure.add(key)
    found: dict[str, dict[int, list[Window]]] = defaultdict(dict)
    for key, places in spans.items():
        name, mention = key
        found[name][mention] = [] if key in sure else windows(texts[mention], places)
    return found


def _windows_of(store: Store, name: str, labels: Mapping[int, bool]) -> list[Label]:
    """What stands around the name in the mentions that a person judged, by id."""
    rows = store.rows(
        "SELECT m.id, m.title, m.text, x.span_start, x.span_end FROM matches x "
        "JOIN mentions m ON m.id = x.mention_id WHERE x.name = ? "
        "AND x.mention_id IN (SELECT value FROM json_each(?)) ORDER BY m.id, x.span_start",
        (name, json.dumps(sorted(labels))),
    )
    spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
    texts = {}
    for row in rows:
        texts[row["id"]] = steps.document(row["title"], row["text"])
        spans[row["id"]].append((row["span_start"], row["span_end"]))
    return [Label(windows(texts[i], own)[0], labels[i]) for i, own in spans.items()]


def label(
    store: Store, mention_id: int, name: str, *, relevant: bool, given_by: str, now: datetime
) -> None:
    """Note that this mention means the name, or only looks like it; a later label replaces it.

    Raises LabelError when the mention does not match the name.
    """
    names = [
        row["name"]
        for row in store.rows(
            "SELECT DISTINCT name FROM matches WHERE mention_id = ? ORDER BY name", (mention_id,)
        )
    ]
    if name not in names:
        if store.value("SELECT 1 FROM mentions WHERE id = ?", (mention_id,)) is None:
            hint = "there is no such mention: `listener search` shows numbers in the column id"
        elif names:
            hint = f"it names {', '.join(names)}: write one of these"
        else:
            hint = "it names nothing that the configuration follows"
        raise LabelError(f"mention {mention_id} cannot be labelled for {name!r}: {hint}")
    with store.write() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO relevance_labels VALUES (?, ?, ?, ?, ?)",
            (mention_id, name, relevant, given_by, stamp(now)),
        )


def keyword_rows(store: Store) -> list[dict[str, Any]]:
    """For each name and term: mentions, how many of them count, labels, precision and interval.

    The precision is the share of labelled mentions that mean the name, with its 95 % Wilson
    interval; None without labels. A mention with several terms counts for each of them.
    """
    found = []
    for row in store.rows(
        "SELECT x.kind, x.name, x.term, count(DISTINCT x.mention_id) AS mentions, "
        "count(DISTINCT k.mention_id) AS meant, "
        "count(DISTINCT l.mention_id) AS labelled, "
        "count(DISTINCT l.mention_id) FILTER (WHERE l.relevant) AS right "
        "FROM matches x LEFT JOIN relevant_matches k ON k.mention_id = x.mention_id "
        "AND k.kind = x.kind AND k.name = x.name AND k.span_start = x.span_start "
        "LEFT JOIN relevance_labels l ON l.mention_id = x.mention_id "
        "AND l.name = x.name GROUP BY x.kind, x.name, x.term "
        "ORDER BY labelled DESC, mentions DESC, x.kind, x.name, x.term"
    ):
        hits, n = row["right"], row["labelled"]
        low, high = wilson(hits, n) if n else (None, None)
        found.append(
            {
                "kind": row["kind"],
                "name": row["name"],
                "term": row["term"],
                "mentions": row["mentions"],
                "meant": row["meant"],
                "labelled": n,
                "precision": round(hits / n, 3) if n else None,
                "low": None if low is None else round(low, 3),
                "high": None if high is None else round(high, 3),
            }
        )
    return found


def suggestion_rows(store: Store, *, most: int = 10) -> list[dict[str, Any]]:
    """Words that stand in irrelevant labelled mentions of a name and in no relevant one.

    They are candidates for `exclude`; at most `most` for each name.
    """
    found = []
    for name, labels in sorted(_labels(store).items()):
        texts = _around(store, name)
        bad = [texts[i] for i, relevant in labels.items() if not relevant and i in texts]
        good = [texts[i] for i, relevant in labels.items() if relevant and i in texts]
        rest = (text for i, text in texts.items() if i not in labels)
        found += [
            {"name": name, "word": one.word, "irrelevant": one.irrelevant, "z": round(one.score, 2)}
            for one in exclusions(bad, good, rest)[:most]
        ]
    return found


def _around(store: Store, name: str) -> dict[int, str]:
    """What stands around the name in each mention that it matches."""
    spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
    texts = {}
    for row in store.rows(
        "SELECT m.id, m.title, m.text, x.span_start, x.span_end FROM matches x "
        "JOIN mentions m ON m.id = x.mention_id WHERE x.name = ? ORDER BY m.id",
        (name,),
    ):
        texts[row["id"]] = steps.document(row["title"], row["text"])
        spans[row["id"]].append((row["span_start"], row["span_end"]))
    return {
        i: " ".join(window.text for window in windows(texts[i], own)) for i, own in spans.items()
    }
