"""What `listener status` shows, read from the database."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from .candidates import OPEN
from .store import Store, moment

_LATE = timedelta(minutes=2)


def status_rows(store: Store, *, now: datetime) -> list[dict[str, Any]]:
    """Rows of what, value and note: counts, queues, the scheduler, each source and each job."""
    rows = [
        {"what": what, "value": store.value(sql), "note": note}
        for what, sql, note in (
            ("mentions", "SELECT count(*) FROM mentions", ""),
            ("waiting for analysis", "SELECT count(*) FROM work", "steps times mentions"),
            (
                "early conversations",
                "SELECT count(*) FROM conversations WHERE state = 'early'",
                "the choice is still open",
            ),
            ("alerts", "SELECT count(*) FROM alerts", "`listener alerts list` shows the open ones"),
            (
                "alerts held back",
                "SELECT count(DISTINCT a.id) FROM alert_recipients r "
                "JOIN alerts a ON a.id = r.alert_id JOIN mentions m ON m.id = a.mention_id "
                "JOIN conversations c ON c.id = a.conversation_id "
                f"WHERE r.fate = 'held' AND a.acknowledged_at IS NULL AND {OPEN}",
                "by the limit of a day, quiet hours or a cooldown",
            ),
            (
                "messages waiting",
                "SELECT count(*) FROM deliveries WHERE status = 'waiting'",
                store.value(
                    "SELECT error FROM deliveries WHERE status = 'waiting' AND error IS NOT NULL "
                    "ORDER BY id DESC LIMIT 1"
                )
                or "",
            ),
            ("messages refused", "SELECT count(*) FROM deliveries WHERE status = 'refused'", ""),
        )
    ]
    rows.append({"what": "scheduler", **_scheduler(store, now)})
    rows += [
        {
            "what": f"source {row['source']}",
            "value": row["status"],
            "note": row["error"] or f"{row['new']} new at {row['started_at']}",
        }
        for row in store.rows(
            "SELECT source, status, error, new, started_at FROM runs "
            "WHERE id IN (SELECT max(id) FROM runs GROUP BY source) ORDER BY source"
        )
    ]
    for row in store.rows("SELECT key, value FROM state WHERE key LIKE 'job:%' ORDER BY key"):
        last = json.loads(row["value"])
        rows.append(
            {
                "what": row["key"].replace(":", " ", 1),
                "value": last["error"] or "done",
                "note": f"ended {last['finished']}",
            }
        )
    return rows


def _scheduler(store: Store, now: datetime) -> dict[str, str]:
    beat = store.value("SELECT value FROM state WHERE key = 'heartbeat'")
    if beat is None and store.value("SELECT 1 FROM state WHERE key LIKE 'job:%' LIMIT 1"):
        return {"value": "stopped", "note": "`listener run` starts it"}
    if beat is None:
        return {"value": "never started", "note": "`listener run` starts it"}
    if now - moment(beat) > _LATE:
        return {"value": "stopped", "note": f"last heard of at {beat}"}
    return {"value": "running", "note": f"heard of at {beat}"}
