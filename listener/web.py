"""The web page: readers judge alerts and audited posts, and end e-mails, from links in them.

The token in the address is what allows it: there are no cookies and no accounts. GET and HEAD
change nothing, since mail scanners open links; each form can be sent once. Addresses of pages are
never logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import audit, feedback, i18n, web_unsubscribe
from .config import Recipient
from .feedback import FeedbackError
from .health import health
from .hostile import clean, link
from .links import CHOICES, FORM_LIFE, Expired, Judged, LinkError, Ticket
from .rendering import source_name
from .store import Store, existing, moment, stamp
from .web_page import (
    Refusal,
    Site,
    failed,
    form_fields,
    headers,
    html_page,
    invited,
    reading,
    worked,
)
from .web_texts import TEXTS

__all__ = ["Site", "application"]

log = logging.getLogger(__name__)
_TITLE, _TEXT = 120, 280
_SUBJECTS: Mapping[Judged, str] = {
    "feedback": "SELECT a.rule, f.verdict, m.title, m.text, m.source, m.url, m.language, m.at, "
    "c.title AS thread FROM alerts a JOIN mentions m ON m.id = a.mention_id "
    "JOIN conversations c ON c.id = a.conversation_id "
    "LEFT JOIN feedback f ON f.alert_id = a.id AND f.given_by = :reader WHERE a.id = :number",
    "audit": "SELECT NULL AS rule, m.title, m.text, m.source, m.url, m.language, m.at, "
    "CASE WHEN x.given_by = :reader THEN iif(x.missed, 'missed', 'right') END AS verdict, "
    "c.title AS thread FROM audit x JOIN mentions m ON m.id = x.mention_id "
    "LEFT JOIN conversations c ON c.id = m.conversation_id WHERE x.id = :number",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What somebody with a good link is asked about; `recorded` is what they said so far."""

    purpose: Judged
    ticket: Ticket
    reader: Recipient
    title: str
    text: str
    source: str
    language: str | None
    url: str | None
    at: datetime
    rule: str | None
    recorded: str | None


def application(site: Site) -> Starlette:
    """The page as an ASGI application; it keeps nothing between requests."""

    def judging(purpose: Judged) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            token = request.path_params["token"]
            if request.method == "POST":
                work = partial(_answer, site, purpose, token, await form_fields(request))
            else:
                work = partial(_ask, site, purpose, token, request.query_params.get("v"))
            return await worked(site, request, work)

        return endpoint

    async def unsubscribing(request: Request) -> Response:
        token = request.path_params["token"]
        if request.method == "POST":
            work = partial(web_unsubscribe.change, site, token, await form_fields(request))
        else:
            work = partial(web_unsubscribe.ask, site, token)
        return await worked(site, request, work)

    async def watched(request: Request) -> Response:
        return await worked(site, request, partial(_health, site))

    routes = [
        Route(f"/{purpose}/{{token}}", judging(purpose), methods=["GET", "POST"])
        for purpose in CHOICES
    ]
    app = Starlette(
        routes=[
            *routes,
            Route("/unsubscribe/{token}", unsubscribing, methods=["GET", "POST"]),
            Route("/-/health", watched),
        ],
        exception_handlers={HTTPException: failed},
    )
    # A redirect would come without our headers.
    app.router.redirect_slashes = False
    return app


def _ask(site: Site, purpose: Judged, token: str, wanted: str | None, now: datetime) -> Response:
    """The form, with the choice of the link; reads only."""
    with reading(site.database) as store:
        case = _case(site, store, purpose, token, now)
    return _form(site, case, now, chosen=wanted if wanted in CHOICES[purpose] else case.recorded)


def _answer(
    site: Site, purpose: Judged, token: str, fields: Mapping[str, str], now: datetime
) -> Response:
    """Keep what a form says, once, and show it with a fresh form."""
    choice = fields.get("choice", "")
    with Store(existing(site.database)) as store:
        case = _case(site, store, purpose, token, now)
        if choice not in CHOICES[purpose]:
            return _form(site, case, now, chosen=case.recorded, notice="choose", status=400)
        try:
            nonce = site.signer.read_form(fields.get("form", ""), case.ticket, now=now)
        except LinkError as error:
            status = 410 if isinstance(error, Expired) else 403
            return _form(site, case, now, chosen=choice, notice="stale", status=status)
        if not _claim(store, nonce, now):
            # The first sending may have failed between the claim and the verdict.
            notice = "repeated" if case.recorded else "lost"
            return _form(site, case, now, chosen=case.recorded, notice=notice, status=409)
        try:
            _record(store, case, choice, now)
        except FeedbackError:
            # Choice and name are good, so the post went a moment ago.
            raise Refusal("gone", 410, case.reader.language) from None
    log.debug("%s %d was judged", purpose, case.ticket.number)
    return _form(site, replace(case, recorded=choice), now, chosen=choice, notice="thanks")


def _record(store: Store, case: Case, choice: str, now: datetime) -> None:
    number, by = case.ticket.number, case.reader.email
    if case.purpose == "feedback":
        feedback.record(store, number, choice, by=by, channel="link", now=now)
    else:
        audit.judge(store, number, choice, by=by, now=now)


def _claim(store: Store, nonce: str, now: datetime) -> bool:
    """Whether the form of this nonce was not sent before; from now on it was.

    Nonces are kept in the database, so that a restart opens no form again, until the form is too
    old anyway.
    """
    with store.write() as connection:
        connection.execute("DELETE FROM state WHERE key GLOB 'form:*' AND value < ?", (stamp(now),))
        claimed = connection.execute(
            "INSERT OR IGNORE INTO state VALUES (?, ?)", (f"form:{nonce}", stamp(now + FORM_LIFE))
        )
        return bool(claimed.rowcount)


def _case(site: Site, store: Store, purpose: Judged, token: str, now: datetime) -> Case:
    """What the link is about; raises `Refusal` for one that is forged, old or about nothing."""
    ticket, reader = invited(site, purpose, token, now)
    rows = store.rows(
        _SUBJECTS[purpose], {"number": ticket.number, "reader": feedback.named(reader.email)}
    )
    if not rows:
        raise Refusal("gone", 410, reader.language)
    (row,) = rows
    text = clean(row["text"], _TEXT)
    title = clean(row["title"] or row["thread"] or "", _TITLE)
    return Case(
        purpose=purpose,
        ticket=ticket,
        reader=reader,
        title="" if text.startswith(title.removesuffix("…")) else title,
        text=text,
        at=moment(row["at"]),
        recorded=row["verdict"],
        **{key: row[key] for key in ("source", "language", "url", "rule")},
    )


def _form(
    site: Site,
    case: Case,
    now: datetime,
    *,
    chosen: str | None,
    notice: str | None = None,
    status: int = 200,
) -> Response:
    language = case.reader.language
    rule = f"rule.{case.rule}"
    facts = [
        source_name(language, case.source),
        i18n.age(language, (now - case.at) / timedelta(hours=1)),
    ]
    if case.rule is not None:
        known = i18n.has(language, rule)
        name = i18n.say(language, rule) if known else clean(case.rule, 60)
        facts.append(TEXTS[language]["rule"].format(rule=name))
    return html_page(
        "web_form.html",
        language,
        status,
        case=case,
        purpose=case.purpose,
        number=case.ticket.number,
        choices=CHOICES[case.purpose],
        chosen=chosen,
        facts=facts,
        target=link(case.url),
        form=site.signer.form(case.ticket, now=now),
        notice=notice,
    )


def _health(site: Site, now: datetime) -> Response:
    """Whether the daemon is well: for programs that watch it."""
    with reading(site.database) as store:
        found = health(store, site.config, now=now)
    return JSONResponse(found.told, 200 if found.ok else 503, headers=headers())
