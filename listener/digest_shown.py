"""What a digest has shown to a person: it comes again only when it has moved.

Rows are written when a digest has been sent, so that one which never arrived hides nothing. Of a
digest only what earlier days have shown counts, so that it is the same when it is sent again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from .store import Store

Kind = Literal["conversation", "mention", "author"]
State = Mapping[str, str | int | None]
Seen = Mapping[tuple[Kind, int], State]

_KEPT = timedelta(days=60)
_LEAST_ENGAGEMENT = 10
"""From two likes to four is no news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that a digest shows: the number `ref` of a row, and what it looks like.

    State of a conversation: stage, outcome, urgent (0 or 1), others (posts by other people) and
    engagement (likes, replies and shares of its post); of an author: posts (that speak well of us)
    and reach (a tier or None); of a mention: nothing.
    """

    kind: Kind
    ref: int
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What has happened since something was shown; `code` is a key of its state, `n` how many."""

    code: str
    n: int = 1


def seen(store: Store, recipient: str, day: date) -> Seen:
    """What digests before that of `day` have shown to the address `recipient`."""
    return {
        (row["kind"], row["ref"]): json.loads(row["state"])
        for row in store.rows(
            "SELECT kind, ref, state FROM shown WHERE recipient = ? AND day < ?",
            (recipient, day.isoformat()),
        )
    }


def moves(mark: Mark, before: State) -> tuple[Move, ...]:
    """What is new of `mark` since it looked like `before`; nothing: it need not be shown again.

    A conversation moves with its stage or outcome, when it turns urgent, with each post of another
    person, and when the engagement of its post has doubled and is at least 10. An author moves with
    the tier of reach, and when the posts have doubled. A mention never moves.
    """
    now = mark.state
    found = []
    if mark.kind == "conversation":
        found += [Move(code=code) for code in ("stage", "outcome") if now[code] != before.get(code)]
        if now["urgent"] and not before.get("urgent"):
            found.append(Move(code="urgent"))
        if (more := _number(now, "others") - _number(before, "others")) > 0:
            found.append(Move(code="others", n=more))
        engagement = _number(now, "engagement")
        if engagement >= max(2 * _number(before, "engagement"), _LEAST_ENGAGEMENT):
            found.append(Move(code="engagement", n=engagement))
    if mark.kind == "author":
        if now["reach"] != before.get("reach"):
            found.append(Move(code="reach"))
        if _number(now, "posts") >= 2 * _number(before, "posts"):
            found.append(Move(code="posts", n=_number(now, "posts")))
    return tuple(found)


def _number(state: State, code: str) -> int:
    value = state.get(code)
    return value if isinstance(value, int) else 0


def record(
    connection: sqlite3.Connection, recipient: str, day: date, marks: Iterable[Mark]
) -> None:
    """Note that the digest of `day` has shown `marks` to the address `recipient`.

    To be called in the transaction that notes the digest as sent. What was shown on a later day
    stays; what was shown more than 60 days before goes.
    """
    connection.executemany(
        "INSERT INTO shown (recipient, kind, ref, state, day) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET state = excluded.state, day = excluded.day "
        "WHERE excluded.day >= day",
        [(recipient, one.kind, one.ref, json.dumps(one.state), day.isoformat()) for one in marks],
    )
    connection.execute(
        "DELETE FROM shown WHERE recipient = ? AND day < ?",
        (recipient, (day - _KEPT).isoformat()),
    )
