"""What every page of the web has in common: its headers, its forms, its refusals, its readers."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.policy import HTTP
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from . import i18n
from .config import Config, Recipient
from .links import Expired, Forged, Purpose, Signer, Ticket
from .store import Store, StoreError, existing
from .web_texts import TEXTS, Language, preferred

log = logging.getLogger(__name__)
_FORM = "application/x-www-form-urlencoded"
_PARTS = "multipart/form-data"
_LARGEST_FORM = 4_000
_FORM_SECONDS = 10
_ERRORS = {404: "missing", 408: "slow", 413: "large"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the page needs; `clock` gives aware UTC times."""

    config: Config
    database: Path
    signer: Signer
    clock: Callable[[], datetime]


class Refusal(Exception):
    """Ends a request with a page that says why."""

    def __init__(self, key: str, status: int, language: Language | None = None) -> None:
        super().__init__(key)
        self.key, self.status, self.language = key, status, language


async def worked(site: Site, request: Request, work: Callable[[datetime], Response]) -> Response:
    """The response of `work`, done in a thread; what goes wrong becomes a page."""
    language = _language(request)
    try:
        return await run_in_threadpool(work, site.clock())
    except Refusal as refusal:
        return notice_page(refusal.key, refusal.status, refusal.language or language)
    except StoreError as error:
        log.error("the page could not be made: %s", error)
        return notice_page("busy", 503, language)
    except Exception as error:
        # The page goes on for others. The text of the error may hold a post: type only.
        log.error("the page could not be made: %s", type(error).__name__)
        log.debug("page", exc_info=True)
        return notice_page("busy", 500, language)


async def failed(request: Request, error: Exception) -> Response:
    """The page of an HTTPException."""
    failure = cast(HTTPException, error)
    key = _ERRORS.get(failure.status_code, "refused")
    response = notice_page(key, failure.status_code, _language(request))
    response.headers.update(failure.headers or {})
    return response


async def form_fields(request: Request) -> dict[str, str]:
    """The fields of a form that was sent; raises HTTPException for anything else."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() not in (_FORM, _PARTS):
        raise HTTPException(415)
    body = b""
    try:
        async with asyncio.timeout(_FORM_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _LARGEST_FORM:
                    raise HTTPException(413)
        if kind.lower().startswith(_FORM):
            return dict(parse_qsl(body.decode()))
        return _parts(kind, body)
    except TimeoutError:
        raise HTTPException(408) from None
    except (ClientDisconnect, UnicodeDecodeError):
        raise HTTPException(400) from None


def _parts(kind: str, body: bytes) -> dict[str, str]:
    """The fields of multipart/form-data (RFC 7578), as mail providers send their one click."""
    message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body, policy=HTTP)
    fields = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode()
    return fields


@contextmanager
def reading(database: Path) -> Iterator[Store]:
    """The database, as it cannot be written: what GET does stays without effect."""
    with Store(existing(database)) as store:
        store.rows("PRAGMA query_only = ON")
        yield store


def invited(site: Site, purpose: Purpose, token: str, now: datetime) -> tuple[Ticket, Recipient]:
    """What a link allows, and whom; raises `Refusal` where it is forged, old or a stranger's."""
    try:
        ticket = site.signer.read(token, purpose, now=now)
    except Forged:
        raise Refusal("forged", 403) from None
    except Expired:
        raise Refusal("old" if purpose == "unsubscribe" else "expired", 410) from None
    readers = (one for one in site.config.recipients if site.signer.is_for(ticket, one.email))
    reader = next(readers, None)
    if reader is None:
        raise Refusal("stranger", 403)
    return ticket, reader


def notice_page(key: str, status: int, language: Language) -> Response:
    """A page that only tells something: `key` names its texts."""
    return html_page("web_notice.html", language, status, notice=key)


def html_page(template: str, language: Language, status: int, **values: object) -> Response:
    """The page of `template` with its headers."""
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
    return HTMLResponse(html, status, headers={**headers(), "Content-Language": language})


def _language(request: Request) -> Language:
    return preferred(request.headers.get("accept-language", ""))


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
def headers() -> Mapping[str, str]:
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
