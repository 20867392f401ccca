"""The outbox: messages are written down first and sent afterwards, each once."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from email.message import EmailMessage
from zoneinfo import ZoneInfo

from .channels import Channel, Later, Refused
from .config import Config, Recipient
from .digest import Period, alert_message, digest_message
from .envelope import Rendered, compose, preview_html
from .links import Purpose, Signer, open_signer, verdict_links
from .messages import render_alert, render_digest
from .outbox import enqueue
from .steps import ProgressOf, silent
from .store import Store, StoreError, moment, stamp

log = logging.getLogger(__name__)
_LONGEST_WAIT = timedelta(hours=4)
_GIVE_UP = timedelta(days=5)
_LONGEST_DIGEST = timedelta(days=7)


def enqueue_digest(store: Store, config: Config, day: date, *, now: datetime) -> int:
    """Put the digest of `day` into each recipient's outbox, once; returns how many were added."""
    with store.write() as connection:
        return sum(
            enqueue(connection, "digest", day.isoformat(), recipient, now=now)
            for recipient in config.receiving("digest")
        )


def local_day(config: Config, now: datetime) -> date:
    """The day of the digest's zone at `now`."""
    return now.astimezone(ZoneInfo(config.digest.timezone)).date()


def preview_digest(
    store: Store, config: Config, day: date, *, language: str | None, now: datetime
) -> str:
    """The digest of `day` as an HTML page, for the 24 hours before its time; sends nothing.

    In `language`, or that of the first recipient of digests.
    """
    people = config.receiving("digest")
    chosen = language or (people[0].language if people else "en")
    until = digest_end(config, day, now)
    since = until - timedelta(days=1)
    period = Period(since=since, until=until, oldest=since, live=False)
    message = digest_message(store, config, day, period)
    return preview_html(render_digest(message, language=chosen))


def digest_end(config: Config, day: date, made: datetime) -> datetime:
    """Up to when the digest of `day` tells: until it was made, or its hour if the day is over."""
    if day == local_day(config, made):
        return made
    hour = time(config.digest.hour, config.digest.minute)
    return min(datetime.combine(day, hour, ZoneInfo(config.digest.timezone)), made)


def digest_period(
    store: Store, config: Config, day: date, recipient: str, until: datetime
) -> Period:
    """From where the recipient's last digest ended, at most 7 days back; at first from a day back.

    After a first digest, posts that came late are counted up to 7 days after their publication.
    """
    ends = [
        digest_end(config, date.fromisoformat(row["ref"]), moment(row["created_at"]))
        for row in store.rows(
            "SELECT ref, created_at FROM deliveries WHERE kind = 'digest' AND recipient = ? "
            "AND ref < ? ORDER BY ref DESC LIMIT 7",
            (recipient, day.isoformat()),
        )
    ]
    last = max((end for end in ends if end < until), default=None)
    if last is None:
        since = oldest = until - timedelta(days=1)
    else:
        since = max(last, until - _LONGEST_DIGEST)
        oldest = since - _LONGEST_DIGEST
    return Period(since=since, until=until, oldest=oldest, live=True)


def deliver(
    store: Store,
    config: Config,
    channels: Mapping[str, Channel],
    *,
    now: datetime,
    progress: ProgressOf = silent,
    alert: int | None = None,
) -> Counter[str]:
    """Send what is due; returns how many messages ended as sent, waiting, refused or stale.

    With the number of an `alert` only its own. No transaction is open while a message is on its
    way. A crash between the server's answer and our note of it repeats the message with the same
    Message-ID. Raises ConfigError when mails are to have links and no key can sign them.
    """
    outcome: Counter[str] = Counter()
    tick = progress("deliver", None)
    people = {person.email: person for person in config.recipients}
    signer = open_signer(config, store.path, os.environ) if config.web.base_url else None
    for row in store.rows(
        "SELECT * FROM deliveries WHERE status = 'waiting' AND next_try_at <= :now "
        "AND (:alert IS NULL OR (kind = 'alert' AND ref = :alert)) ORDER BY id",
        {"now": stamp(now), "alert": None if alert is None else str(alert)},
    ):
        status, error = _try(
            store, config, channels, signer, people.get(row["recipient"]), row, now
        )
        _note(store, row, status, error, now)
        outcome[status] += 1
        tick(1)
    if outcome:
        log.info("delivery: %s", dict(outcome))
    return outcome


def _try(
    store: Store,
    config: Config,
    channels: Mapping[str, Channel],
    signer: Signer | None,
    person: Recipient | None,
    row: sqlite3.Row,
    now: datetime,
) -> tuple[str, str | None]:
    try:
        return _send(store, config, channels, signer, person, row, now)
    except StoreError:
        raise
    except Exception as error:
        # A channel may be a plug-in and a post may be odd; the other messages still go out. The
        # type is named, not the text, which may hold a post.
        log.debug("delivery %s", row["id"], exc_info=True)
        return "waiting", f"unexpected {type(error).__name__}"


def _send(
    store: Store,
    config: Config,
    channels: Mapping[str, Channel],
    signer: Signer | None,
    person: Recipient | None,
    row: sqlite3.Row,
    now: datetime,
) -> tuple[str, str | None]:
    if person is None:
        return "refused", "no longer a recipient in the configuration"
    channel = channels.get(person.channel)
    if channel is None:
        return "waiting", f"channel {person.channel} is not enabled"
    rendered = _render(store, config, signer, person, row, now)
    if rendered is None:
        return "stale", None
    message = compose(
        rendered,
        sender=config.channels.sender,
        recipient=person.email,
        message_id=row["message_id"],
        date=now,
        list_name=row["kind"],
    )
    try:
        channel.send(message, key=_key(row, message))
    except Refused as error:
        return "refused", str(error)
    except Later as error:
        return "waiting", str(error)
    return "sent", None


def _key(row: sqlite3.Row, message: EmailMessage) -> str:
    """Name of the message in a folder: what it is, then who gets it."""
    return f"{row['kind']}-{row['ref']}-{message['To']}"


def _render(
    store: Store,
    config: Config,
    signer: Signer | None,
    person: Recipient,
    row: sqlite3.Row,
    now: datetime,
) -> Rendered | None:
    def links(purpose: Purpose, number: int) -> Mapping[str, str]:
        if signer is None:
            return {}
        return verdict_links(config, signer, purpose, number, person.email, now=now)

    if row["kind"] == "alert":
        alert = alert_message(store, row["ref"], now=now, links=links)
        if alert is None:
            return None
        zone = config.digest.timezone
        return render_alert(alert, language=person.language, timezone=zone)
    day = date.fromisoformat(row["ref"])
    until = digest_end(config, day, moment(row["created_at"]))
    period = digest_period(store, config, day, person.email, until)
    message = digest_message(store, config, day, period, recipient=person.email, links=links)
    return render_digest(message, language=person.language)


def _note(store: Store, row: sqlite3.Row, status: str, error: str | None, now: datetime) -> None:
    attempts = row["attempts"] + 1
    if status == "waiting" and now - moment(row["created_at"]) > _GIVE_UP:
        status, error = "refused", f"given up after {_GIVE_UP.days} days: {error}"
    wait = min(timedelta(minutes=2 ** min(attempts, 10)), _LONGEST_WAIT)
    with store.write() as connection:
        connection.execute(
            "UPDATE deliveries SET status = ?, attempts = ?, next_try_at = ?, sent_at = ?, "
            "error = ? WHERE id = ?",
            (
                status,
                attempts,
                stamp(now + wait),
                stamp(now) if status == "sent" else None,
                error,
                row["id"],
            ),
        )
