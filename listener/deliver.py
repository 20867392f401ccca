"""Sending what the outbox holds: each message once, and none of them waits for another."""

from __future__ import annotations

import logging
import os
import sqlite3
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from .attention import CLOSED, TOO_OLD
from .candidates import OPEN
from .channels import Channel, Later, Parcel, Refused
from .config import Config, Recipient
from .digest_shown import Mark, record
from .letters import Letter, letter
from .links import Signer, open_signer
from .outbox import list_only
from .recipients import asleep_until, suppress
from .rules import rules_of
from .steps import ProgressOf, silent
from .store import Store, StoreError, moment, stamp

log = logging.getLogger(__name__)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=2), timedelta(hours=4)
_LONGEST_REQUEST = timedelta(days=1)
_BATCH = 100
# Alerts first: one that is new does not wait for all digests of the hour. No wait is longer than a
# day: what seems to wait longer was put off by a clock that stood ahead.
_DUE = (
    "SELECT * FROM deliveries WHERE status = 'waiting' "
    "AND (next_try_at <= :now OR next_try_at > :ahead) "
    "AND (:alert IS NULL OR (kind = 'alert' AND ref = :alert)) ORDER BY kind = 'digest', id"
)


# What was sent and could not be noted (a full disk, a lock), by database: noted before anything
# else is sent, so that only the end of the process can repeat a message.
_unnoted: dict[Path, list[_Result]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """What one round of sending needs."""

    store: Store
    config: Config
    channels: Mapping[str, Channel]
    people: Mapping[str, Recipient]
    ages: Mapping[str, timedelta]
    signer: Signer | None
    now: datetime
    asked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """How a delivery stands now.

    `next_try` None leaves the next try as it is; `tried` says that this was an attempt; `gone` is
    the status code of an address that takes no mail for good. `down` says that the whole channel
    takes none for now, `until` a time that it names. `marks` is what a digest has shown.
    """

    row: sqlite3.Row
    status: str
    error: str | None = None
    next_try: datetime | None = None
    tried: bool = True
    gone: str | None = None
    down: bool = False
    until: datetime | None = None
    marks: tuple[Mark, ...] = ()


def deliver(
    store: Store,
    config: Config,
    channels: Mapping[str, Channel],
    *,
    now: datetime,
    progress: ProgressOf = silent,
    alert: int | None = None,
    most: int | None = None,
) -> Counter[str]:
    """Send what is due; returns how many messages ended as sent, waiting, refused or stale.

    With the number of an `alert` only its own, in quiet hours too; with `most` no more than so
    many are tried. No transaction is open while a message is on its way. Before, it is written down
    that it is tried, so that a database which cannot be written sends nothing; a crash between the
    server's answer and our note of it repeats the message with the same Message-ID. A channel that
    cannot be reached is left alone for the rest of the round: what waits for it keeps its attempts.
    Raises ConfigError when mails are to have links and no key can sign them.
    """
    this = _Round(
        store=store,
        config=config,
        channels=channels,
        people={person.email: person for person in config.recipients},
        ages={rule.name: rule.max_age for rule in rules_of(config)},
        signer=open_signer(config, store.path, os.environ) if config.web.base_url else None,
        now=now,
        asked=alert is not None,
    )
    if store.path in _unnoted:
        _note(this, _unnoted[store.path])
        del _unnoted[store.path]
    outcome: Counter[str] = Counter()
    tick = progress("deliver", None)
    unsent: list[_Result] = []
    down: dict[str, datetime | None] = {}
    tries = 0
    due = store.rows(
        _DUE,
        {
            "now": stamp(now),
            "ahead": stamp(now + _LONGEST_REQUEST + timedelta(hours=1)),
            "alert": None if alert is None else str(alert),
        },
    )
    try:
        for row in due:
            if tries == most:
                break
            if (result := _unsendable(this, row, down)) is not None:
                unsent.append(result)
            elif (result := _send(this, row)) is None:
                continue
            else:
                tries += 1
                if result.down:
                    down[this.people[row["recipient"]].channel] = result.until
            outcome[result.status] += 1
            if len(unsent) >= _BATCH:
                _note(this, unsent)
                unsent = []
            tick(1)
        _note(this, unsent)
    finally:
        for one in channels.values():
            one.close()
    if outcome:
        log.info("delivery: %s", dict(outcome))
    return outcome


def _unsendable(
    this: _Round, row: sqlite3.Row, down: Mapping[str, datetime | None]
) -> _Result | None:
    """Why a delivery is not sent now; None when it can be."""
    person = this.people.get(row["recipient"])
    if person is None:
        why = "no longer a recipient in the configuration"
        return _Result(row=row, status="refused", error=why, tried=False)
    if row["kind"] == "alert":
        if (passed := _passed(this, row)) is not None:
            return _Result(row=row, status="stale", error=passed, tried=False)
        if not this.asked and (until := asleep_until(this.config, person, this.now)) is not None:
            return _Result(row=row, status="waiting", next_try=until, tried=False)
    if person.channel not in this.channels:
        return _waiting(this, row, f"channel {person.channel} is not enabled")
    if person.channel in down:
        return _Result(row=row, status="waiting", next_try=down[person.channel], tried=False)
    return None


def _passed(this: _Round, row: sqlite3.Row) -> str | None:
    """Why an alert is no longer mailed as if it were new; None when it can be acted on.

    One that was too old already when it was put into the outbox was asked for by name.
    """
    found = this.store.rows(
        f"SELECT a.rule, m.at, {OPEN} AS open FROM alerts a JOIN mentions m ON m.id = a.mention_id "
        "JOIN conversations c ON c.id = a.conversation_id WHERE a.id = ?",
        (int(row["ref"]),),
    )
    if not found:
        return "erased"
    (alert,) = found
    if not alert["open"]:
        return CLOSED
    age = this.ages.get(alert["rule"], timedelta(hours=this.config.alerts.max_age_hours))
    aged = alert["at"] < stamp(this.now - age)
    return TOO_OLD if aged and alert["at"] >= stamp(moment(row["created_at"]) - age) else None


def _send(this: _Round, row: sqlite3.Row) -> _Result | None:
    """Send one delivery and note how it went; None when it was withdrawn meanwhile."""
    person = this.people[row["recipient"]]
    try:
        made = letter(this.store, this.config, this.signer, person, row, now=this.now)
    except StoreError:
        raise
    except Exception as error:
        result = _odd(this, row, error)
        _note(this, [result])
        return result
    if made is None:
        result = _Result(row=row, status="stale", error=CLOSED, tried=False)
        _note(this, [result])
        return result
    with this.store.write() as connection:
        begun = connection.execute(
            "UPDATE deliveries SET attempts = ?, next_try_at = ? "
            "WHERE id = ? AND status = 'waiting'",
            (row["attempts"] + 1, stamp(this.now + _wait(row)), row["id"]),
        ).rowcount
    if not begun:
        return None
    result = _hand_over(this, row, person, made)
    try:
        _note(this, [result])
    except StoreError:
        if result.status == "sent":
            _unnoted.setdefault(this.store.path, []).append(result)
        raise
    return result


def _hand_over(this: _Round, row: sqlite3.Row, person: Recipient, made: Letter) -> _Result:
    # What it is, then who gets it: the name of the message in a folder.
    key = f"{row['kind']}-{row['ref']}-{person.email}"
    parcel = Parcel(kind=row["kind"], ref=row["ref"], key=key, message=made.message, data=made.data)
    try:
        this.channels[person.channel].send(parcel)
    except Refused as error:
        gone = error.code or "gone" if error.gone else None
        return _Result(row=row, status="refused", error=str(error), gone=gone)
    except Later as error:
        return _waiting(this, row, str(error), until=error.when, down=error.down)
    except StoreError:
        raise
    except Exception as error:
        return _odd(this, row, error)
    return _Result(row=row, status="sent", marks=made.marks)


def _odd(this: _Round, row: sqlite3.Row, error: Exception) -> _Result:
    # A channel may be a plug-in and a post may be odd; the other messages still go out. The type
    # is named, not the text, which may hold a post.
    log.debug("delivery %s", row["id"], exc_info=True)
    return _waiting(this, row, f"unexpected {type(error).__name__}")


def _waiting(
    this: _Round,
    row: sqlite3.Row,
    error: str,
    *,
    until: datetime | None = None,
    down: bool = False,
) -> _Result:
    """To be tried again, unless it has waited for too long; an alert is then left to the digest."""
    hours = this.config.channels.give_up_hours
    if this.now - moment(row["created_at"]) > timedelta(hours=hours):
        status = "stale" if row["kind"] == "alert" else "refused"
        text = f"given up after {hours} hours: {error}"
        return _Result(row=row, status=status, error=text, down=down)
    if until is not None:
        until = min(until, this.now + _LONGEST_REQUEST)
    next_try = max(this.now + _wait(row), until or this.now)
    return _Result(
        row=row, status="waiting", error=error, next_try=next_try, down=down, until=until
    )


def _wait(row: sqlite3.Row) -> timedelta:
    """How long after this attempt the next one is: doubled each time, up to four hours.

    Give or take a quarter, so that what failed together is not tried together; the same whenever it
    is asked for.
    """
    attempts: int = row["attempts"] + 1
    wait = min(_FIRST_WAIT * (1 << min(attempts - 1, 10)), _LONGEST_WAIT)
    return wait * (0.75 + zlib.crc32(f"{row['message_id']} {attempts}".encode()) / 2**33)


def _note(this: _Round, results: Sequence[_Result]) -> None:
    """Write down how deliveries stand, in one transaction."""
    told = [one for one in results if one.tried or one.next_try or one.status != "waiting"]
    if not told:
        return
    with this.store.write() as connection:
        for one in told:
            _note_one(connection, one, this.now)


def _note_one(connection: sqlite3.Connection, one: _Result, now: datetime) -> None:
    row, sent = one.row, one.status == "sent"
    next_try = one.next_try or (moment(row["next_try_at"]) if one.status == "waiting" else now)
    noted = connection.execute(
        "UPDATE deliveries SET status = ?, attempts = ?, next_try_at = ?, sent_at = ?, error = ? "
        "WHERE id = ? AND (status = 'waiting' OR ?)",
        (
            one.status,
            row["attempts"] + one.tried,
            stamp(next_try),
            stamp(now) if sent else None,
            one.error if one.tried or one.status != "waiting" else row["error"],
            row["id"],
            sent,
        ),
    ).rowcount
    if noted and row["kind"] == "alert" and one.status in ("stale", "refused"):
        list_only(connection, int(row["ref"]), row["recipient"])
    if one.marks:
        record(connection, row["recipient"], date.fromisoformat(row["ref"]), one.marks)
    if one.gone is not None:
        suppress(connection, row["recipient"], "all", "refused", one.gone, now=now)
        log.warning("an address takes no mail any more (%s): `listener recipients`", one.gone)
