"""The watch step: posts into conversations, and where each conversation stands.

`threads` says which posts make one conversation and `timeline` what happens in it; here both meet
the database.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence

from nlp.phrases import named_after

from . import steps, threads
from .analyse import WATCH
from .steps import ProgressOf, silent
from .store import Store
from .timeline import Match, Phrase, Post, Rules, Timeline, follow

__all__ = ["Rules", "watch"]

_BATCH = 1000
_CHOSEN = "(SELECT value FROM json_each(?))"
# What is named behind such a word was not chosen: "the X instead of the Y", "la X y no la Y".
_AGAINST = re.compile(
    r"\b(?:instead|rather|over|than|not|vs|but|because|en vez|en lugar|frente|antes|que|y no|pero"
    r"|porque)\b",
    re.IGNORECASE,
)
# Words written as names or models ("DeLonghi Dedica", "x200"), with what makes them a place or a
# time in front of them ("from Amazon", "this Friday").
_NAME = re.compile(
    r"(?P<aside>\b(?:at|by|in|on|from|until|this|next|last|en|para|hasta"
    r"|(?<!\bwent )(?<!\bgo )(?<!\bgoing )(?<!\bopted )for)\s+(?:the\s+|la\s+|el\s+)?)?"
    r"(?P<name>\b(?:[A-ZÁÉÍÓÚÑ](?=[^\W\d_])|(?=[^\W_]*\d)[^\W\d_])[\w’'-]+"
    r"(?:\s+[A-ZÁÉÍÓÚÑ][\w’'-]+)*)"
)


def watch(store: Store, rules: Rules, version: str, *, progress: ProgressOf = silent) -> int:
    """Bring conversations up to date with the mentions that changed; returns how many were judged.

    `version` names the rules and the tagger: another version judges every conversation again.
    """
    steps.announce(store, WATCH, version)
    tick = progress(WATCH, steps.waiting(store, WATCH))
    total = 0
    while rows := steps.batch(store, WATCH, _BATCH):
        ids = [row["id"] for row in rows]
        with store.write() as connection:
            touched = threads.place(connection, ids)
            _judge(connection, touched, rules)
            steps.done(connection, WATCH, ids)
        total += len(touched)
        tick(len(ids))
    return total


def _judge(connection: sqlite3.Connection, touched: set[int], rules: Rules) -> None:
    chosen = json.dumps(sorted(touched))
    members = connection.execute(
        "SELECT id, native_id, parent_id, root_id, conversation_id, author_id, at, language, title "
        f"FROM mentions WHERE conversation_id IN {_CHOSEN} ORDER BY at, native_id",
        (chosen,),
    ).fetchall()
    posts = posts_of(connection, members)
    rows_of: dict[int, list[sqlite3.Row]] = defaultdict(list)
    for row in members:
        rows_of[row["conversation_id"]].append(row)
    connection.executemany(
        "DELETE FROM conversations WHERE id = ?", [(one,) for one in touched - rows_of.keys()]
    )
    connection.execute(
        f"DELETE FROM conversation_events WHERE conversation_id IN {_CHOSEN}", (chosen,)
    )
    timelines = {
        conversation: follow([posts[row["id"]] for row in rows], rules)
        for conversation, rows in rows_of.items()
    }
    connection.executemany(
        "UPDATE conversations SET title = ?, language = ?, started_at = ?, last_at = ?, "
        "mentions = ?, authors = ?, stage = ?, state = ?, early = ?, early_mention_id = ?, "
        "decided_mention_id = ?, about = ?, urgent = ?, outcome = ?, outcome_entity = ?, "
        "outcome_mention_id = ?, outcome_start = ?, outcome_end = ? WHERE id = ?",
        [(*_columns(rows_of[one], timeline), one) for one, timeline in timelines.items()],
    )
    connection.executemany(
        "INSERT INTO conversation_events (conversation_id, mention_id, kind, entity_kind, entity, "
        "at, score, span_start, span_end) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (one, e.post_id, e.kind, e.entity_kind, e.entity, e.at, e.score, e.start, e.end)
            for one, timeline in timelines.items()
            for e in timeline.events
        ],
    )


def _columns(rows: Sequence[sqlite3.Row], timeline: Timeline) -> tuple[object, ...]:
    """What is stored of a conversation, given its mentions in their order."""
    ended = timeline.outcome
    return (
        rows[0]["title"] or "",
        rows[0]["language"] or "und",
        rows[0]["at"],
        rows[-1]["at"],
        len(rows),
        len({row["author_id"] for row in rows} - {None}),
        timeline.stage,
        timeline.state,
        timeline.early,
        timeline.early_id,
        timeline.decided_id,
        json.dumps(timeline.about),
        timeline.urgent,
        ended.label if ended else None,
        (ended.entity or None) if ended else None,
        ended.post_id if ended else None,
        ended.start if ended else 0,
        ended.end if ended else 0,
    )


def posts_of(connection: sqlite3.Connection, members: Sequence[sqlite3.Row]) -> dict[int, Post]:
    """By mention id, what the rules see of `members`, which are rows of `mentions`."""
    chosen = json.dumps([row["id"] for row in members])
    matches: dict[int, list[Match]] = defaultdict(list)
    for mention, kind, name, start, end in connection.execute(
        "SELECT mention_id, kind, name, span_start, span_end FROM relevant_matches "
        f"WHERE mention_id IN {_CHOSEN} ORDER BY mention_id, span_start, span_end DESC, kind, name",
        (chosen,),
    ):
        matches[mention].append(Match(kind=kind, name=name, start=start, end=end))
    stages: dict[int, tuple[str, float]] = {}
    scores: dict[tuple[int, str], float] = {}
    signals: dict[int, dict[str, float]] = defaultdict(dict)
    endings: list[sqlite3.Row] = []
    # The plus keeps SQLite from a search of its own for each tagger and kind.
    for row in connection.execute(
        "SELECT mention_id, kind, label, score, span_start, span_end FROM tags "
        f"WHERE mention_id IN {_CHOSEN} AND ((+tagger = 'funnel' AND +kind IN "
        "('stage', 'early', 'promo', 'signal')) OR (+tagger = 'phrases' AND +kind IN "
        "('outcome', 'urgency')))",
        (chosen,),
    ):
        mention, kind, label, score, _, _ = row
        if kind == "stage":
            stages[mention] = (label, score)
        elif kind == "signal":
            signals[mention][label] = score
        elif kind == "outcome":
            endings.append(row)
        else:
            scores[mention, kind] = score
    phrases = _phrases(connection, endings, matches)
    found = {}
    for row in members:
        mention = row["id"]
        stage, stage_score = stages.get(mention, ("none", 0.0))
        found[mention] = Post(
            id=mention,
            native_id=row["native_id"],
            at=row["at"],
            author_id=row["author_id"],
            language=row["language"] or "und",
            stage=stage,
            stage_score=stage_score,
            early=scores.get((mention, "early"), 0.0),
            promo=scores.get((mention, "promo"), 0.0),
            reply=(row["root_id"] or row["parent_id"] or row["native_id"]) != row["native_id"],
            urgent=(mention, "urgency") in scores,
            matches=tuple(matches.get(mention, ())),
            signals=signals.get(mention, {}),
            phrases=tuple(phrases.get(mention, ())),
        )
    return found


def _phrases(
    connection: sqlite3.Connection,
    tags: Sequence[sqlite3.Row],
    matches: Mapping[int, Sequence[Match]],
) -> dict[int, list[Phrase]]:
    """The outcome phrases of mentions, with what the text around them tells."""
    texts = {
        row["id"]: steps.document(row["title"], row["text"])
        for row in connection.execute(
            f"SELECT id, title, text FROM mentions WHERE id IN {_CHOSEN}",
            (json.dumps([tag["mention_id"] for tag in tags]),),
        )
    }
    phrases: dict[int, list[Phrase]] = defaultdict(list)
    for mention, _, label, score, start, end in tags:
        text = texts[mention]
        phrases[mention].append(
            Phrase(
                label=label,
                score=score,
                start=start,
                end=end,
                until=_until(text, start, end),
                names=label != "thanks" and _names(text, start, end, matches.get(mention, ())),
            )
        )
    return phrases


def _until(text: str, start: int, end: int) -> int:
    """Up to where what a phrase chooses may be named: the end of its sentence or of its clause."""
    last = named_after(text, start, end)[1]
    against = _AGAINST.search(text, end, last)
    return against.start() if against else last


def _names(text: str, start: int, end: int, matches: Sequence[Match]) -> bool:
    """Whether a phrase holds a name that is none of the terms; its first word begins a sentence."""
    if text[start:end].isupper():
        return False
    return any(
        not found["aside"]
        and found.start("name") > start
        and not any(
            one.start < found.end("name") and found.start("name") < one.end for one in matches
        )
        for found in _NAME.finditer(text, start, end)
    )
