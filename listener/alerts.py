"""Alerts: found by the rules, scored, stored once, and handed to the budget of each reader.

The best are put into the outbox at once, within what a day has room for; the rest is held back,
told of in the digest, and mailed when there is room while it can be acted on. Those about older
posts (an import of last year's, say) are only listed.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

from . import feedback, rerank
from .attention import mail
from .candidates import OPEN, Candidate, Reason, candidates
from .config import Config
from .config_alerts import RuleType
from .recipients import is_suppressed, unheard
from .rules import Rule, rules_of
from .scoring import Score, score
from .steps import document
from .store import Store, stamp

log = logging.getLogger(__name__)
State = Literal["open", "snoozed", "acknowledged", "all"]
_NO_THRESHOLDS: Mapping[str, float] = {}
# A group is a post and the copies of it; it goes by its first post.
_GROUP = "coalesce(k.original_id, a.mention_id)"
_COPIES = f"(SELECT count(*) FROM copies d WHERE d.original_id = {_GROUP})"
_STATES: Mapping[State, str] = {
    "open": f"a.acknowledged_at IS NULL AND (a.snoozed_until IS NULL OR a.snoozed_until <= :now) "
    f"AND {OPEN}",
    "snoozed": "a.acknowledged_at IS NULL AND a.snoozed_until > :now",
    "acknowledged": "a.acknowledged_at IS NOT NULL",
    "all": "1",
}
_LISTED = f"""
SELECT a.id, a.rule, a.type, a.score, round(a.probability, 3) AS probability, c.stage, c.state,
    iif({OPEN}, 'open', 'closed') AS choice, a.urgent, {_COPIES} AS copies, c.outcome,
    m.language, m.source, m.native_id, c.about, m.published_at, m.url,
    CASE WHEN EXISTS (SELECT 1 FROM alert_recipients r WHERE r.alert_id = a.id
        AND r.fate = 'mailed') THEN 'mailed'
    WHEN EXISTS (SELECT 1 FROM alert_recipients r WHERE r.alert_id = a.id
        AND r.fate = 'held') THEN 'held' ELSE 'listed' END AS fate,
    a.created_at, a.snoozed_until, a.acknowledged_at, a.assignee,
    m.title, m.text, c.mentions, a.conversation_id
FROM alerts a JOIN conversations c ON c.id = a.conversation_id
JOIN mentions m ON m.id = a.mention_id LEFT JOIN copies k ON k.mention_id = a.mention_id
"""

# What happens first in one post is told first.
_IN_ORDER = "need request comparison option recommendation decision purchase outcome"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something worth an answer. `key` makes it fire once; `probability` is calibrated.

    `stage` and `urgent` are those of its conversation when it was raised; `mailable` says that the
    post is young enough for an e-mail and has the points that its rule promises; `worth` is what
    the re-ranker expects, None without one.
    """

    key: str
    rule: str
    type: RuleType
    conversation_id: int
    mention_id: int
    stage: str
    urgent: bool
    probability: float
    score: Score
    reasons: tuple[Reason, ...]
    mailable: bool
    worth: float | None = None


def find(
    store: Store,
    config: Config,
    *,
    thresholds: Mapping[str, float] = _NO_THRESHOLDS,
    now: datetime,
) -> list[Alert]:
    """What the rules find and have not told yet, best score first. Reads only.

    `thresholds` are the model's for `early`, by language, "*" for the others; without them a
    conversation that is open passes wherever the configuration is silent. Where a rule promises a
    precision and verdicts bear it, what has too few points is found all the same, to be listed and
    judged: without verdicts below the bar nobody would learn that it stands too high.
    """
    rules = rules_of(config)
    promises = promised(store, rules)
    found = [
        replace(
            alert,
            mailable=alert.mailable and alert.score.points >= promises.get(rule.name, 0),
        )
        for rule in rules
        for alert in _once(store, rule, candidates(store, rule, thresholds, now=now), now)
    ]
    return sorted(found, key=lambda one: (-one.score.points, -one.probability, one.mention_id))


def promised(store: Store, rules: Sequence[Rule]) -> dict[str, int]:
    """Points that an alert needs, by name, for each rule whose promise is borne by verdicts."""
    wanting = [rule for rule in rules if rule.precision is not None]
    if not wanting:
        return {}
    return {
        name: promise.threshold
        for name, promise in feedback.thresholds(store, wanting).items()
        if promise.threshold is not None
    }


def ranked(
    store: Store, alerts: Sequence[Alert], encoder: rerank.Embeds, reranker: rerank.Reranker
) -> list[Alert]:
    """The alerts with their worth, when the re-ranker is in use."""
    if reranker.fitted is None:
        return list(alerts)
    worths = rerank.expected(
        store,
        encoder,
        reranker,
        [
            rerank.Candidate(
                mention_id=one.mention_id,
                score=one.score.points,
                parts={part.code: part.points for part in one.score.parts},
            )
            for one in alerts
        ],
    )
    return [replace(one, worth=worth) for one, worth in zip(alerts, worths, strict=True)]


def _once(store: Store, rule: Rule, found: Iterable[Candidate], now: datetime) -> list[Alert]:
    """One alert for each post and its copies: the first post's, or else the best of them."""
    scored = [(one, score(one.facts)) for one in found]
    originals = _originals(store, [one.found.mention_id for one, _ in scored])
    told: dict[int, set[int]] = {}
    for row in store.rows(
        f"SELECT {_GROUP} AS post, a.conversation_id FROM alerts a "
        "LEFT JOIN copies k ON k.mention_id = a.mention_id WHERE a.rule = ?",
        (rule.name,),
    ):
        told.setdefault(row["post"], set()).add(row["conversation_id"])
    scored.sort(
        key=lambda pair: (
            pair[0].found.mention_id in originals,
            -pair[1].points,
            pair[0].found.mention_id,
        )
    )
    alerts = []
    for one, points in scored:
        mention, conversation = one.found.mention_id, one.found.conversation_id
        group = told.setdefault(originals.get(mention, mention), {conversation})
        # A spike is of many posts; which of them it shows does not matter.
        if rule.type != "crisis" and group != {conversation}:
            continue
        alerts.append(
            Alert(
                key=one.key,
                rule=rule.name,
                type=rule.type,
                conversation_id=conversation,
                mention_id=mention,
                stage=one.found.stage,
                urgent=one.found.urgent,
                probability=one.facts.probability,
                score=points,
                reasons=one.reasons,
                mailable=one.found.at >= now - rule.max_age,
            )
        )
    return alerts


def _originals(store: Store, mentions: Sequence[int]) -> dict[int, int]:
    """The first post of those among `mentions` that repeat another one."""
    rows = store.rows(
        "SELECT mention_id, original_id FROM copies "
        "WHERE mention_id IN (SELECT value FROM json_each(?))",
        (json.dumps(mentions),),
    )
    return {row["mention_id"]: row["original_id"] for row in rows}


def save(
    store: Store, alerts: Sequence[Alert], config: Config, *, now: datetime
) -> tuple[int, int]:
    """Store alerts, and put into each reader's outbox what a day has room for, the best first.

    Alerts held back before take part as long as they are open and recent. For a reader who gets no
    more mails they are only listed. Returns how many alerts are new and how many are to be mailed
    to anybody.
    """
    readers = {rule.name: rule.recipients for rule in rules_of(config)}
    new = 0
    with store.write() as connection:
        gone = {
            person.email
            for person in config.receiving("alerts")
            if is_suppressed(connection, person.email, "alerts")
        }
        for alert in alerts:
            number = _insert(connection, alert, now)
            if number is None:
                continue
            new += 1
            connection.executemany(
                "INSERT INTO alert_recipients (alert_id, recipient, fate) VALUES (?, ?, ?)",
                [
                    (
                        number,
                        person.email,
                        "held" if alert.mailable and person.email not in gone else "listed",
                    )
                    for person in readers.get(alert.rule, ())
                ],
            )
        if new and gone:
            for name in sorted({alert.rule for alert in alerts} & set(unheard(connection, config))):
                log.warning(
                    "nobody is mailed alerts of the rule %s any more: `listener recipients`", name
                )
        return new, mail(connection, config, now=now)


def _insert(connection: sqlite3.Connection, alert: Alert, now: datetime) -> int | None:
    """The number of the new alert, or None when it was raised before."""
    row = connection.execute(
        "INSERT INTO alerts (key, rule, type, conversation_id, mention_id, stage, urgent, "
        "probability, score, worth, parts, reasons, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING RETURNING id",
        (
            alert.key,
            alert.rule,
            alert.type,
            alert.conversation_id,
            alert.mention_id,
            alert.stage,
            alert.urgent,
            alert.probability,
            alert.score.points,
            alert.worth,
            json.dumps([asdict(part) for part in alert.score.parts], ensure_ascii=False),
            json.dumps(alert.reasons, ensure_ascii=False),
            stamp(now),
        ),
    ).fetchone()
    return None if row is None else int(row["id"])


def listing(
    store: Store,
    *,
    limit: int,
    now: datetime,
    state: State = "all",
    rule: str | None = None,
    assignee: str | None = None,
) -> list[dict[str, Any]]:
    """Alerts with their conversation and post, best score first.

    `state` "open" are those that can be acted on and that nobody has acknowledged or snoozed.
    `rule` and `assignee` are names, whatever their case. `choice` says whether an alert can still
    be acted on, `fate` the furthest it came: mailed, held or listed.
    """
    return [
        dict(row)
        for row in store.rows(
            f"{_LISTED} WHERE {_STATES[state]} AND (:rule IS NULL OR a.rule = :rule COLLATE NOCASE)"
            " AND (:assignee IS NULL OR a.assignee = :assignee COLLATE NOCASE) "
            "ORDER BY a.score DESC, a.probability DESC, a.id LIMIT :limit",
            {"now": stamp(now), "rule": rule, "assignee": assignee, "limit": limit},
        )
    ]


def detail(store: Store, number: int) -> dict[str, Any] | None:
    """Everything about one alert: how it came about, its conversation in order, what was done.

    `parts` add up to `score`; `quote` in parts, events and outcome is a literal part of a post.
    None when there is no such alert.
    """
    rows = store.rows(f"{_LISTED} WHERE a.id = ?", (number,))
    if not rows:
        return None
    (told,) = store.rows("SELECT parts, reasons FROM alerts WHERE id = ?", (number,))
    alert = dict(rows[0])
    conversation = alert["conversation_id"]
    return alert | {
        "about": json.loads(alert["about"]),
        "parts": json.loads(told["parts"]),
        "reasons": json.loads(told["reasons"]),
        "outcome": outcome(store, conversation),
        "events": events(store, conversation),
        "posts": [
            dict(row)
            for row in store.rows(
                "SELECT m.source, m.native_id, m.url, m.title, m.text, m.published_at, "
                "u.handle AS author FROM mentions m LEFT JOIN authors u ON u.id = m.author_id "
                "WHERE m.conversation_id = ? ORDER BY m.published_at, m.id",
                (conversation,),
            )
        ],
        "recipients": [
            dict(row)
            for row in store.rows(
                "SELECT recipient, fate, mailed_at FROM alert_recipients WHERE alert_id = ? "
                "ORDER BY recipient",
                (number,),
            )
        ],
        "log": [
            dict(row)
            for row in store.rows(
                "SELECT at, action, value FROM alert_log WHERE alert_id = ? ORDER BY id", (number,)
            )
        ],
    }


def events(store: Store, conversation: int) -> list[dict[str, Any]]:
    """The dated events of a conversation, oldest first, each with the quoted words or None."""
    found = store.rows(
        "SELECT e.at, e.kind, e.entity_kind, e.entity, e.score, e.span_start, e.span_end, "
        "m.native_id, m.title, m.text, u.handle AS author FROM conversation_events e "
        "JOIN mentions m ON m.id = e.mention_id LEFT JOIN authors u ON u.id = m.author_id "
        "WHERE e.conversation_id = ? ORDER BY e.at, m.id, instr(?, e.kind), e.entity",
        (conversation, _IN_ORDER),
    )
    return [
        {
            "at": row["at"],
            "kind": row["kind"],
            "entity_kind": row["entity_kind"],
            "entity": row["entity"],
            "score": round(row["score"], 3),
            "author": row["author"],
            "native_id": row["native_id"],
            "quote": document(row["title"], row["text"])[row["span_start"] : row["span_end"]]
            or None,
        }
        for row in found
    ]


def outcome(store: Store, conversation: int) -> dict[str, Any] | None:
    """What became of a conversation: outcome, entity and the quoted words; None: nothing heard."""
    rows = store.rows(
        "SELECT c.outcome, c.outcome_entity, c.outcome_start, c.outcome_end, m.title, m.text, "
        "m.native_id, m.published_at FROM conversations c "
        "LEFT JOIN mentions m ON m.id = c.outcome_mention_id "
        "WHERE c.id = ? AND c.outcome IS NOT NULL",
        (conversation,),
    )
    if not rows:
        return None
    (row,) = rows
    text = document(row["title"], row["text"] or "")
    return {
        "outcome": row["outcome"],
        "entity": row["outcome_entity"],
        "at": row["published_at"],
        "native_id": row["native_id"],
        "quote": text[row["outcome_start"] : row["outcome_end"]] or None,
    }
