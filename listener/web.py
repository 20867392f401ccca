"""The web page: readers judge alerts and audited posts from the links of their e-mails.

The token in the address is what allows it: there are no cookies and no accounts. GET and HEAD
change nothing, since mail scanners open links; each form can be sent once. Addresses of pages are
never logged.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from . import audit, feedback, i18n
from .config import Config, Recipient
from .feedback import FeedbackError
from .hostile import clean, link
from .links import CHOICES, FORM_LIFE, Expired, Forged, LinkError, Purpose, Signer, Ticket
from .messages import source_name
from .status import status_rows
from .store import Store, StoreError, existing, moment, stamp
from .web_texts import TEXTS, Language, preferred

log = logging.getLogger(__name__)
_FORM = "application/x-www-form-urlencoded"
_LARGEST_FORM = 4_000
_FORM_SECONDS = 10
_TITLE, _TEXT = 120, 280
_SUBJECTS: Mapping[Purpose, str] = {
    "feedback": "SELECT a.rule, f.verdict, m.title, m.text, m.source, m.url, m.language, m.at, "
    "c.title AS thread FROM alerts a JOIN mentions m ON m.id = a.mention_id "
    "JOIN conversations c ON c.id = a.conversation_id "
    "LEFT JOIN feedback f ON f.alert_id = a.id AND f.given_by = :reader WHERE a.id = :number",
    "audit": "SELECT NULL AS rule, m.title, m.text, m.source, m.url, m.language, m.at, "
    "CASE WHEN x.given_by = :reader THEN iif(x.missed, 'missed', 'right') END AS verdict, "
    "c.title AS thread FROM audit x JOIN mentions m ON m.id = x.mention_id "
    "LEFT JOIN conversations c ON c.id = m.conversation_id WHERE x.id = :number",
}
_ERRORS = {404: "missing", 408: "slow", 413: "large"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the page needs; `clock` gives aware UTC times."""

    config: Config
    database: Path
    signer: Signer
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What somebody with a good link is asked about; `recorded` is what they said so far."""

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


class _Refusal(Exception):
    """Ends a request with a page that says why."""

    def __init__(self, key: str, status: int, language: Language | None = None) -> None:
        super().__init__(key)
        self.key, self.status, self.language = key, status, language


def application(site: Site) -> Starlette:
    """The page as an ASGI application; it keeps nothing between requests."""

    def judging(purpose: Purpose) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            token = request.path_params["token"]
            if request.method == "POST":
                fields = await _fields(request)
                work = partial(_answer, site, purpose, token, fields)
            else:
                work = partial(_ask, site, purpose, token, request.query_params.get("v"))
            return await _worked(site, request, work)

        return endpoint

    async def health(request: Request) -> Response:
        return await _worked(site, request, partial(_health, site))

    routes = [
        Route(f"/{purpose}/{{token}}", judging(purpose), methods=["GET", "POST"])
        for purpose in CHOICES
    ]
    app = Starlette(
        routes=[*routes, Route("/-/health", health)], exception_handlers={HTTPException: _failed}
    )
    # A redirect would come without our headers.
    app.router.redirect_slashes = False
    return app


async def _worked(site: Site, request: Request, work: Callable[[datetime], Response]) -> Response:
    """The response of `work`, done in a thread; what goes wrong becomes a page."""
    language = _language(request)
    try:
        return await run_in_threadpool(work, site.clock())
    except _Refusal as refusal:
        return _notice(refusal.key, refusal.status, refusal.language or language)
    except StoreError as error:
        log.error("the page could not be made: %s", error)
        return _notice("busy", 503, language)
    except Exception as error:
        # The page goes on for others. The text of the error may hold a post: type only.
        log.error("the page could not be made: %s", type(error).__name__)
        log.debug("page", exc_info=True)
        return _notice("busy", 500, language)


async def _failed(request: Request, error: Exception) -> Response:
    failure = cast(HTTPException, error)
    key = _ERRORS.get(failure.status_code, "refused")
    response = _notice(key, failure.status_code, _language(request))
    response.headers.update(failure.headers or {})
    return response


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a form that was sent; raises HTTPException for anything else."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise HTTPException(415)
    body = b""
    try:
        async with asyncio.timeout(_FORM_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _LARGEST_FORM:
                    raise HTTPException(413)
        return dict(parse_qsl(body.decode()))
    except TimeoutError:
        raise HTTPException(408) from None
    except (ClientDisconnect, UnicodeDecodeError):
        raise HTTPException(400) from None


def _ask(site: Site, purpose: Purpose, token: str, wanted: str | None, now: datetime) -> Response:
    """The form, with the choice of the link; reads only."""
    with _reading(site.database) as store:
        case = _case(site, store, purpose, token, now)
    return _form(site, case, now, chosen=wanted if wanted in CHOICES[purpose] else case.recorded)


def _answer(
    site: Site, purpose: Purpose, token: str, fields: Mapping[str, str], now: datetime
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
            raise _Refusal("gone", 410, case.reader.language) from None
    log.debug("%s %d was judged", purpose, case.ticket.number)
    return _form(site, replace(case, recorded=choice), now, chosen=choice, notice="thanks")


def _record(store: Store, case: Case, choice: str, now: datetime) -> None:
    number, by = case.ticket.number, case.reader.email
    if case.ticket.purpose == "feedback":
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


@contextmanager
def _reading(database: Path) -> Iterator[Store]:
    """The database, as it cannot be written: what GET does stays without effect."""
    with Store(existing(database)) as store:
        store.rows("PRAGMA query_only = ON")
        yield store


def _case(site: Site, store: Store, purpose: Purpose, token: str, now: datetime) -> Case:
    """What the link is about; raises `_Refusal` for one that is forged, old or about nothing."""
    try:
        ticket = site.signer.read(token, purpose, now=now)
    except Forged:
        raise _Refusal("forged", 403) from None
    except Expired:
        raise _Refusal("expired", 410) from None
    readers = (one for one in site.config.recipients if site.signer.is_for(ticket, one.email))
    reader = next(readers, None)
    if reader is None:
        raise _Refusal("stranger", 403)
    rows = store.rows(
        _SUBJECTS[purpose], {"number": ticket.number, "reader": feedback.named(reader.email)}
    )
    if not rows:
        raise _Refusal("gone", 410, reader.language)
    (row,) = rows
    text = clean(row["text"], _TEXT)
    title = clean(row["title"] or row["thread"] or "", _TITLE)
    return Case(
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
    return _page(
        "web_form.html",
        language,
        status,
        case=case,
        purpose=case.ticket.purpose,
        number=case.ticket.number,
        choices=CHOICES[case.ticket.purpose],
        chosen=chosen,
        facts=facts,
        target=link(case.url),
        form=site.signer.form(case.ticket, now=now),
        notice=notice,
    )


def _notice(key: str, status: int, language: Language) -> Response:
    return _page("web_notice.html", language, status, notice=key)


def _page(template: str, language: Language, status: int, **values: object) -> Response:
    texts = TEXTS[language]
    html = (
        _environment()
        .get_template(template)
        .render(
            values,
            language=language,
            say=lambda key, **gaps: texts[key].format(**gaps),
            open_on=lambda host: i18n.say(language, "open", host=host),
        )
    )
    return HTMLResponse(html, status, headers={**_headers(), "Content-Language": language})


def _language(request: Request) -> Language:
    return preferred(request.headers.get("accept-language", ""))


def _health(site: Site, now: datetime) -> Response:
    """Whether the daemon runs, and how each source and job last went: no figures, no texts."""
    with _reading(site.database) as store:
        rows = status_rows(store, now=now)
    told = told_health(rows)
    return JSONResponse(told, 503 if told["status"] == "stopped" else 200, headers=_headers())


def told_health(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What /-/health says of the rows of `listener status`, without texts of errors.

    `status` is "ok", "degraded" (the last run of a source or job did not end well) or "stopped"
    (the daemon does not run).
    """
    scheduler = next(row for row in rows if row["what"] == "scheduler")
    waiting = {"waiting for analysis": "analysis", "messages waiting": "messages"}
    # Files that were imported are sources, too, by their path.
    sources = {
        row["what"].removeprefix("source "): row["value"]
        for row in rows
        if row["what"].startswith("source ") and not row["what"].startswith("source import:")
    }
    jobs = {
        row["what"].removeprefix("job "): {
            "done": row["value"] == "done",
            "ended": row["note"].removeprefix("ended "),
        }
        for row in rows
        if row["what"].startswith("job ")
    }
    well = "failed" not in sources.values() and all(job["done"] for job in jobs.values())
    running = scheduler["value"] == "running"
    return {
        "status": "stopped" if not running else "ok" if well else "degraded",
        "scheduler": {"state": scheduler["value"], "note": scheduler["note"]},
        "waiting": {waiting[row["what"]]: row["value"] for row in rows if row["what"] in waiting},
        "sources": sources,
        "jobs": jobs,
    }


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _headers() -> Mapping[str, str]:
    """Of every response: nothing is kept, indexed, framed, loaded or told to other sites."""
    style = _environment().get_template("web_style.css").render()
    digest = b64encode(sha256(style.encode()).digest()).decode("ascii")
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex, nofollow",
    }
