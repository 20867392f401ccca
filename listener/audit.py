"""The blind audit: how much of what deserved an alert raised none, asked of a small sample.

Of the settled conversations about something we follow that raised no early-funnel alert, about 2 %
are drawn, each shown by the post that was likeliest to be early, and a person who is not told its
probability says whether it was missed. Only so can recall be stated.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import accumulate
from math import floor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .analyse import MATCH, WATCH
from .feedback import FeedbackError, Imported, agreed, named, read_verdicts, told
from .steps import document
from .store import Store, stamp

SHARE = 0.02
"""Share of the conversations without an alert that is drawn."""
MOST = 5
"""Most conversations drawn for one day."""
VERDICTS = ("missed", "right")
"""`missed`: should have been an alert; `right`: rightly none."""
LEAST_AUDITED, LEAST_ALERTS = 30, 10
"""Judged conversations of the sample, and judged alerts, below which no recall is stated."""

# Strata of the probability of `early`, and how many times likelier than in the first a post is
# drawn: where a miss is likelier, a verdict tells more (Neyman allocation, roughly).
_EDGES = (0.2, 0.4, 0.6, 0.8)
_WEIGHTS = (1.0, 2.0, 4.0, 4.0, 4.0)
_STEPS = (MATCH, "funnel", WATCH)
_TYPE = "early-funnel"
_KEY, _UNTIL = "audit.key", "audit.until"
_DRAWS, _SEED = 4000, 20_240_229

Floats = NDArray[np.float64]

# Conversations heard of first in the span from :since to :until, each with its likeliest post.
_FRAME = """
WITH heard AS MATERIALIZED (
    SELECT DISTINCT conversation_id AS id FROM mentions
    WHERE first_seen_at >= :since AND first_seen_at < :until AND conversation_id IS NOT NULL
), fresh AS MATERIALIZED (
    SELECT c.id FROM heard JOIN conversations c USING (id)
    WHERE c.about <> '[]'
        AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.conversation_id = c.id AND a.type = :type)
        AND NOT EXISTS (SELECT 1 FROM mentions e WHERE e.conversation_id = c.id
            AND e.first_seen_at < :since)
)
SELECT m.id, m.source, m.native_id, max(t.score) AS early
FROM fresh f JOIN mentions m ON m.conversation_id = f.id
JOIN tags t ON t.mention_id = m.id AND t.tagger = 'funnel' AND t.kind = 'early'
WHERE (m.text <> '' OR m.title IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM audit x WHERE x.mention_id = m.id)
GROUP BY f.id
"""
_STORED = "(m.text <> '' OR m.title IS NOT NULL)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Of the conversations that deserved an alert, the share that got a useful one.

    `code` is "known", or "not-enough" while fewer than `LEAST_AUDITED` conversations of the sample
    or `LEAST_ALERTS` alerts are judged, or no alert was useful and none missed; `recall`, `low`
    and `high` (95 %) are None then. `useful` and `missed` are estimated numbers of conversations.
    """

    code: Literal["known", "not-enough"]
    drawn: int
    judged: int
    alerts_judged: int
    useful: float
    missed: float
    recall: float | None
    low: float | None
    high: float | None


class Audited(NamedTuple):
    """A drawn conversation: whether it was missed, or None while nobody has said."""

    stratum: int
    weight: float
    missed: bool | None


class _Candidate(NamedTuple):
    mention_id: int
    probability: float
    stratum: int
    order: bytes


def stratum(probability: float) -> int:
    """The stratum of a probability of `early`, 0 to 4."""
    return sum(probability >= edge for edge in _EDGES)


def draw(store: Store, *, now: datetime, share: float = SHARE, most: int = MOST) -> int:
    """Draw the sample of what was first heard of by the end of the day before yesterday (UTC).

    Returns how many were drawn, at most `most`. A conversation takes part once, when everything in
    it has been settled for more than a day; a second call on one day draws nothing, and nothing is
    drawn while such posts still wait to be read. Each has a known chance of being drawn, which is
    larger where a miss is likelier; with `most`, all chances shrink together. The choice is
    systematic along a keyed hash of source and id, with a key that only this database holds: made
    again it comes out the same, and nobody can write a post that evades it.
    """
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    until = stamp(today - timedelta(days=1))
    with store.write() as connection:
        since = _state(connection, _UNTIL, "")
        if since >= until or _unread(connection, until):
            return 0
        key = bytes.fromhex(_state(connection, _KEY, secrets.token_hex(32)))
        rows = connection.execute(_FRAME, {"since": since, "until": until, "type": _TYPE})
        chosen = _choose([_candidate(row, key) for row in rows], key, until, share, most)
        connection.executemany(
            "INSERT INTO audit (mention_id, stratum, probability, weight, drawn_at) "
            "VALUES (?, ?, ?, ?, ?)",
            [
                (one.mention_id, one.stratum, one.probability, 1 / chance, stamp(now))
                for one, chance in chosen
            ],
        )
        connection.execute("UPDATE state SET value = ? WHERE key = ?", (until, _UNTIL))
    return len(chosen)


def _state(connection: sqlite3.Connection, key: str, first: str) -> str:
    connection.execute("INSERT OR IGNORE INTO state VALUES (?, ?)", (key, first))
    (value,) = connection.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
    return str(value)


def _unread(connection: sqlite3.Connection, until: str) -> bool:
    found = connection.execute(
        "SELECT 1 FROM work w JOIN mentions m ON m.id = w.mention_id "
        "WHERE w.step IN (?, ?, ?) AND m.first_seen_at < ? LIMIT 1",
        (*_STEPS, until),
    ).fetchone()
    return found is not None


def _candidate(row: sqlite3.Row, key: bytes) -> _Candidate:
    identity = f"{row['source']}\0{row['native_id']}"
    return _Candidate(
        mention_id=row["id"],
        probability=row["early"],
        stratum=stratum(row["early"]),
        order=_hash(key, identity),
    )


def _hash(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)


def _choose(
    candidates: list[_Candidate], key: bytes, day: str, share: float, most: int
) -> list[tuple[_Candidate, float]]:
    """The drawn ones with their chances, in an order that tells nothing of strata.

    Systematic sampling with unequal chances (Madow 1949): candidates lie in a row, each as long as
    its chance, and those are drawn on which the points u, u + 1, u + 2 ... fall.
    """
    ranked = sorted(candidates, key=lambda one: (one.stratum, one.order))
    weights = [_WEIGHTS[one.stratum] for one in ranked]
    wanted = min(share * len(ranked), most)
    total = sum(weights)
    chances = [min(wanted * weight / total, 1.0) for weight in weights]
    start = int.from_bytes(_hash(key, f"\0{day}")[:6]) / 2**48
    ends = [floor(end + start) for end in accumulate(chances, initial=0.0)]
    drawn = [
        (one, chance)
        for one, chance, before, after in zip(ranked, chances, ends, ends[1:], strict=False)
        if after > before
    ]
    return sorted(drawn, key=lambda pair: pair[0].order)


def waiting(store: Store, *, limit: int) -> list[dict[str, Any]]:
    """Drawn posts that nobody has judged, longest drawn first, without the model's opinion."""
    rows = store.rows(
        "SELECT x.id, m.source, m.native_id, m.url, m.language, m.published_at, m.title, m.text, "
        "c.title AS conversation, c.mentions FROM audit x JOIN mentions m ON m.id = x.mention_id "
        "LEFT JOIN conversations c ON c.id = m.conversation_id "
        f"WHERE x.missed IS NULL AND {_STORED} ORDER BY x.id LIMIT ?",
        (limit,),
    )
    return [
        {
            "id": row["id"],
            # Empty, so that the list can be filled in as a sheet and read again.
            "verdict": "",
            "post": document(row["title"], row["text"]),
            **{name: row[name] for name in ("language", "source", "native_id", "published_at")},
            "url": row["url"],
            "conversation": row["conversation"],
            "mentions": row["mentions"],
        }
        for row in rows
    ]


def judge(store: Store, number: int, verdict: str, *, by: str, now: datetime) -> bool:
    """Keep what `by` says of a drawn post, in place of what was said before.

    Returns whether it is new, or another verdict or person. Raises `FeedbackError` for a number
    that is not in the audit, another word than those of `VERDICTS`, or nobody's name.
    """
    with store.write() as connection:
        return _judge(connection, number, verdict, by=by, now=now)


def import_csv(store: Store, path: Path, *, by: str, now: datetime) -> Imported:
    """Take verdicts from a CSV file with the columns id, verdict (missed or right) and perhaps by.

    As `feedback.import_csv`: faulty rows are told of, the same file again changes nothing.
    """
    rows, blank, faults = read_verdicts(path, ("id",), VERDICTS)
    changed = known = 0
    with store.write() as connection:
        for row in rows:
            try:
                if _judge(connection, row.number, row.verdict, by=row.by or by, now=now):
                    changed += 1
                else:
                    known += 1
            except FeedbackError as error:
                faults.append((row.line, str(error)))
    return Imported(changed=changed, known=known, blank=blank, faults=told(faults))


def _judge(
    connection: sqlite3.Connection, number: int, verdict: str, *, by: str, now: datetime
) -> bool:
    if verdict not in VERDICTS:
        raise FeedbackError(f"the verdict is none of {', '.join(VERDICTS)}")
    name, missed = named(by), verdict == "missed"
    found = None
    if 0 < number < 2**63:
        found = connection.execute(
            "SELECT missed, given_by FROM audit WHERE id = ?", (number,)
        ).fetchone()
    if found is None:
        raise FeedbackError(
            f"the audit has no number {number}: `listener audit list` shows what waits"
        )
    if (found["missed"], found["given_by"]) == (missed, name):
        return False
    connection.execute(
        "UPDATE audit SET missed = ?, given_by = ?, judged_at = ? WHERE id = ?",
        (missed, name, stamp(now), number),
    )
    return True


def recall(store: Store) -> Recall:
    """Recall of early-funnel alerts over what is stored and has taken part in the audit.

    What raised an alert after it was drawn is not missed. See `estimate` for the figures.
    """
    audited = [
        Audited(
            row["stratum"],
            row["weight"],
            None if row["missed"] is None else bool(row["missed"]) and not row["alerted"],
        )
        for row in store.rows(
            "SELECT x.stratum, x.weight, x.missed, EXISTS (SELECT 1 FROM alerts a "
            "WHERE a.conversation_id = m.conversation_id AND a.type = ?) AS alerted "
            f"FROM audit x JOIN mentions m ON m.id = x.mention_id WHERE {_STORED}",
            (_TYPE,),
        )
    ]
    said: dict[int, list[str]] = {}
    for row in store.rows(
        "SELECT a.conversation_id, f.verdict FROM alerts a JOIN mentions m ON m.id = a.mention_id "
        "LEFT JOIN feedback f ON f.alert_id = a.id WHERE a.type = ? AND m.first_seen_at < "
        "(SELECT value FROM state WHERE key = ?)",
        (_TYPE, _UNTIL),
    ):
        verdicts = said.setdefault(row["conversation_id"], [])
        if row["verdict"] is not None:
            verdicts.append(row["verdict"])
    return estimate(
        audited,
        [agreed(verdicts) == "useful" if verdicts else None for verdicts in said.values()],
    )


def estimate(audited: Sequence[Audited], useful: Sequence[bool | None]) -> Recall:
    """Recall from the sample, and from whether each conversation with an alert found it useful.

    recall = useful / (useful + missed), in conversations. Useful: all with an alert, times the
    share of useful ones among the judged (the others are None). Missed: the Horvitz-Thompson
    estimate, in each stratum the total weight of the drawn times the weighted share of missed ones
    among the judged; where none is judged yet, the share over all strata.

    The interval holds the middle 95 % of 4,000 simulated recalls: each share is drawn from its
    Beta distribution under Jeffreys' prior, with Kish's effective number of judged ones for unequal
    weights, widened to hold the estimate. So a sample without any miss does not give certainty.
    """
    verdicts = [one for one in useful if one is not None]
    judged = [one for one in audited if one.missed is not None]
    totals: dict[int, float] = defaultdict(float)
    by_stratum: dict[int, list[Audited]] = defaultdict(list)
    for one in audited:
        totals[one.stratum] += one.weight
    for one in judged:
        by_stratum[one.stratum].append(one)
    shares = {at: _missed_share(rows) for at, rows in by_stratum.items()}
    pooled, _ = _missed_share(judged)
    missed = sum(total * shares.get(at, (pooled, 0.0))[0] for at, total in totals.items())
    right = len(useful) * sum(verdicts) / max(len(verdicts), 1)
    enough = len(judged) >= LEAST_AUDITED and len(verdicts) >= LEAST_ALERTS
    known = enough and right + missed > 0
    point = low = high = None
    if known:
        generator = np.random.default_rng(_SEED)
        found = len(useful) * _draws(generator, sum(verdicts), len(verdicts))
        lost = np.zeros(_DRAWS)
        for at, total in sorted(totals.items()):
            share, size = shares.get(at, (0.0, 0.0))
            lost += total * _draws(generator, share * size, size)
        middle = np.quantile(found / (found + lost), [0.025, 0.975])
        point = right / (right + missed)
        low, high = min(float(middle[0]), point), max(float(middle[1]), point)
    return Recall(
        code="known" if known else "not-enough",
        drawn=len(audited),
        judged=len(judged),
        alerts_judged=len(verdicts),
        useful=right,
        missed=missed,
        recall=point,
        low=low,
        high=high,
    )


def _missed_share(judged: Sequence[Audited]) -> tuple[float, float]:
    """Weighted share of the missed, and Kish's effective number of the judged; 0, 0 for none."""
    if not judged:
        return 0.0, 0.0
    weight = sum(one.weight for one in judged)
    share = sum(one.weight for one in judged if one.missed) / weight
    return share, weight**2 / sum(one.weight**2 for one in judged)


def _draws(generator: np.random.Generator, hits: float, n: float) -> Floats:
    return generator.beta(hits + 0.5, n - hits + 0.5, _DRAWS)
