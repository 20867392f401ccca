"""The page on which a reader ends the digest or alerts, and gets them again.

One click of a mail program does the same (RFC 8058): it POSTs `List-Unsubscribe=One-Click` to the
address, without cookies and without having seen the page. The signed address is the proof, so both
changes may come twice and need no form of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from starlette.responses import Response

from .config import Recipient
from .links import MAILS
from .recipients import Mail, is_suppressed, restore, suppress
from .store import Store, existing
from .web_page import Refusal, Site, html_page, invited, reading

log = logging.getLogger(__name__)
_ASKED = "SELECT 1 FROM suppressed WHERE recipient = lower(?) AND what = ? "
_ASKED += "AND reason = 'unsubscribed'"


def ask(site: Site, token: str, now: datetime) -> Response:
    """The button that ends such e-mails, or the one that brings them back; reads only."""
    with reading(site.database) as store:
        reader, what = _invited(site, token, now)
        ended = store.value(_ASKED, (reader.email, what)) is not None
    return _page(reader, what, "unsubscribed" if ended else None)


def change(site: Site, token: str, fields: Mapping[str, str], now: datetime) -> Response:
    """End such e-mails, or send them again; told twice it stays as it is.

    Only what the reader asked for is undone: not a pause, nor what the mailbox refused.
    """
    reader, what = _invited(site, token, now)
    stop = fields.get("List-Unsubscribe") == "One-Click"
    if not stop and fields.get("resume") != "yes":
        return _page(reader, what, "unclear", status=400)
    with Store(existing(site.database)) as store, store.write() as connection:
        ended = connection.execute(_ASKED, (reader.email, what)).fetchone() is not None
        if stop and not ended:
            suppress(connection, reader.email, what, "unsubscribed", "by link", now=now)
        elif ended and not stop:
            restore(connection, reader.email, what)
        held = not stop and is_suppressed(connection, reader.email, what)
    log.info("a reader has %s %s", "ended" if stop else "resumed", what)
    if held:
        raise Refusal("held", 409, reader.language)
    return _page(reader, what, "unsubscribed" if stop else "subscribed")


def _invited(site: Site, token: str, now: datetime) -> tuple[Recipient, Mail]:
    ticket, reader = invited(site, "unsubscribe", token, now)
    return reader, MAILS[ticket.number - 1]


def _page(reader: Recipient, what: Mail, notice: str | None, *, status: int = 200) -> Response:
    return html_page("web_unsubscribe.html", reader.language, status, what=what, notice=notice)
