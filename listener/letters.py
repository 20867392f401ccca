"""What a delivery says to its reader: an alert or a digest as an e-mail and as data."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from email.message import EmailMessage
from typing import Any

from .config import Config, Recipient
from .config_fields import Language
from .digest import Period, alert_message, digest_message
from .digest_shown import Mark
from .envelope import Rendered, compose, preview_html
from .links import Judged, Signer, unsubscribe_link, verdict_links
from .messages import render_alert, render_digest
from .outbox import message_id
from .payload import alert_data, digest_data
from .recipients import zone_of
from .slots import digest_end, digest_period
from .store import Store, moment
from .trouble_mail import trouble_mail


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message for one person; `data` is what it says, ready for JSON.

    `marks` is what a digest shows.
    """

    message: EmailMessage
    data: Mapping[str, Any]
    marks: tuple[Mark, ...] = ()


def letter(
    store: Store,
    config: Config,
    signer: Signer | None,
    person: Recipient,
    row: sqlite3.Row,
    *,
    now: datetime,
) -> Letter | None:
    """The delivery `row` as `person` gets it; None for what nobody wants any more.

    In the person's language and zone; with links when there is a `signer`.
    """

    def links(purpose: Judged, number: int) -> Mapping[str, str]:
        if signer is None:
            return {}
        return verdict_links(config, signer, purpose, number, person.email, now=now)

    zone, labels = str(zone_of(config, person)), config.labels(person.language)
    if row["kind"] == "operator":
        told = trouble_mail(store, row["ref"], language=person.language, timezone=zone)
        if told is None:
            return None
        message = _compose(config, person, row, told.rendered, now=now)
        return Letter(message=message, data=told.data)
    if row["kind"] == "alert":
        leave = unsubscribe_link(config, signer, "alerts", person.email, now=now)
        alert = alert_message(store, row["ref"], now=now, links=links, labels=labels)
        if alert is None:
            return None
        alert = replace(alert, unsubscribe=leave)
        thread = message_id("conversation", str(alert.conversation_id), person.email)
        rendered = render_alert(alert, language=person.language, timezone=zone)
        message = _compose(config, person, row, rendered, thread=thread, leave=leave, now=now)
        return Letter(message=message, data=alert_data(alert, person.language))
    leave = unsubscribe_link(config, signer, "digest", person.email, now=now)
    day = date.fromisoformat(row["ref"])
    until = digest_end(config, day, moment(row["created_at"]), person)
    period = digest_period(store, config, day, person, until)
    digest = digest_message(
        store,
        config,
        day,
        period,
        recipient=person.email,
        links=links,
        labels=labels,
        timezone=zone,
    )
    digest = replace(digest, unsubscribe=leave)
    rendered = render_digest(digest, language=person.language)
    message = _compose(config, person, row, rendered, leave=leave, now=now)
    return Letter(message=message, data=digest_data(digest, person.language), marks=digest.marks)


def _compose(
    config: Config,
    person: Recipient,
    row: sqlite3.Row,
    rendered: Rendered,
    *,
    now: datetime,
    thread: str | None = None,
    leave: str | None = None,
) -> EmailMessage:
    return compose(
        rendered,
        sender=config.channels.sender,
        recipient=person.email,
        message_id=row["message_id"],
        date=now,
        list_name=row["kind"],
        thread=thread,
        unsubscribe=leave,
    )


def preview_digest(
    store: Store, config: Config, day: date, *, language: Language | None, now: datetime
) -> str:
    """The digest of `day` as an HTML page, for the 24 hours before its time; sends nothing.

    In `language`, or that of the first recipient of digests, and in the zone of that person.
    """
    people = config.receiving("digest")
    first = people[0] if people else None
    until = digest_end(config, day, now, first)
    since = until - timedelta(days=1)
    period = Period(since=since, until=until, oldest=since, live=False)
    chosen = language or (first.language if first else "en")
    message = digest_message(
        store,
        config,
        day,
        period,
        labels=config.labels(chosen),
        timezone=str(zone_of(config, first)) if first else None,
    )
    return preview_html(render_digest(message, language=chosen))
