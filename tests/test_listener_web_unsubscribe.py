"""Ending e-mails: by the button of the page, by one click of a mail program, and back again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders import NOW, RECIPIENTS, config
from selectolax.lexbor import LexborHTMLParser

from listener.config import Config
from listener.links import MAILS, UNSUBSCRIBE_LIFE, Signer
from listener.recipients import Mail, is_suppressed, suppress
from listener.store import Store, stamp
from listener.web import Site, application

ANA, BEN = "ana@example.com", "ben@example.com"  # Ana reads Spanish, Ben English
SIGNER = Signer(["k" * 32])
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
BACK = {"resume": "yes"}


@dataclass
class Visitor:
    database: Path
    now: datetime = NOW
    config: Config = field(default_factory=config)

    def link(self, mail: Mail = "digest", of: str = BEN) -> str:
        return f"/unsubscribe/{SIGNER.link('unsubscribe', MAILS.index(mail) + 1, of, now=NOW)}"

    def send(self, method: str, url: str, **rest: Any) -> httpx.Response:
        async def answer() -> httpx.Response:
            site = Site(
                config=self.config, database=self.database, signer=SIGNER, clock=lambda: self.now
            )
            transport = httpx.ASGITransport(application(site))
            async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
                return await client.request(method, url, **rest)

        return asyncio.run(answer())

    def get(self, url: str, **rest: Any) -> httpx.Response:
        return self.send("GET", url, **rest)

    def post(self, url: str, **rest: Any) -> httpx.Response:
        return self.send("POST", url, **rest)

    def suppressed(self) -> list[tuple[Any, ...]]:
        with Store(self.database) as store:
            rows = store.rows("SELECT recipient, what, reason, at FROM suppressed ORDER BY 1, 2")
            return [tuple(row) for row in rows]


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    path = tmp_path / "listener.db"
    with Store(path):
        return Visitor(path)


def shown(response: httpx.Response) -> str:
    body = LexborHTMLParser(response.text).body
    assert body is not None
    return " ".join(body.text(separator=" ").split())


def pressed(response: httpx.Response) -> dict[str, str]:
    """What the only button of the page sends."""
    (button,) = LexborHTMLParser(response.text).css("form[method=post] button")
    return {str(button.attributes["name"]): str(button.attributes["value"])}


def test_looking_at_the_page_ends_nothing(visitor: Visitor) -> None:
    for method in ("GET", "HEAD"):
        assert visitor.send(method, visitor.link() + "?List-Unsubscribe=One-Click").is_success
    assert visitor.suppressed() == []


@pytest.mark.parametrize(
    ("mail", "of", "asked", "done", "back"),
    [
        ("digest", BEN, "Stop the daily digest?", "You get no daily digest", "digest again"),
        ("alerts", BEN, "Stop alert e-mails?", "You get no alert e-mails", "alert e-mails again"),
        ("digest", ANA, "¿Dejar de recibir el resumen", "Ya no recibes el resumen", "resumen"),
        ("alerts", ANA, "¿Dejar de recibir avisos", "Ya no recibes avisos", "recibir avisos"),
    ],
)
def test_the_button_ends_one_kind_of_mail_and_the_next_one_brings_it_back(
    visitor: Visitor, mail: Mail, of: str, asked: str, done: str, back: str
) -> None:
    link = visitor.link(mail, of)
    page = visitor.get(link)
    assert asked in shown(page)
    assert pressed(page) == ONE_CLICK
    ended = visitor.post(link, data=pressed(page))
    assert ended.status_code == 200
    assert done in shown(ended)
    assert visitor.suppressed() == [(of, mail, "unsubscribed", stamp(NOW))]
    again = visitor.get(link)
    assert done in shown(again)
    assert pressed(again) == pressed(ended) == BACK
    resumed = visitor.post(link, data=BACK)
    assert back in shown(resumed)
    assert visitor.suppressed() == []


def test_one_click_of_a_mail_program_needs_no_page(visitor: Visitor) -> None:
    boundary = {"content-type": "multipart/form-data; boundary=------x1"}
    parts = (
        b"--------x1\r\nContent-Disposition: form-data; "
        b'name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--------x1--\r\n'
    )
    bodies: tuple[dict[str, Any], ...] = (
        {"content": parts, "headers": boundary},
        {"data": ONE_CLICK},
    )
    for mail, body in zip(MAILS, bodies, strict=True):
        response = visitor.post(visitor.link(mail), **body)
        assert response.status_code == 200
        assert "set-cookie" not in response.headers
    assert [row[:3] for row in visitor.suppressed()] == [
        (BEN, "alerts", "unsubscribed"),
        (BEN, "digest", "unsubscribed"),
    ]


def test_ending_and_resuming_twice_is_once(visitor: Visitor) -> None:
    link = visitor.link()
    visitor.post(link, data=ONE_CLICK)
    first = visitor.suppressed()
    visitor.now += timedelta(hours=1)
    assert visitor.post(link, data=ONE_CLICK).status_code == 200
    assert visitor.suppressed() == first
    for _ in range(2):
        assert visitor.post(link, data=BACK).status_code == 200
        assert visitor.suppressed() == []


def test_other_forms_and_hostile_bodies_end_nothing(visitor: Visitor) -> None:
    parts = "multipart/form-data; boundary=x"
    disposition = b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\n'
    bodies: tuple[tuple[int, dict[str, Any]], ...] = (
        (400, {"data": {"List-Unsubscribe": "yes"}}),
        (400, {"data": {"resume": "no"}}),
        (400, {"content": b"--x--\r\n", "headers": {"content-type": parts}}),
        (400, {"content": b"\x00\xff", "headers": {"content-type": "multipart/form-data"}}),
        (400, {"content": disposition + b"\xff\r\n--x--", "headers": {"content-type": parts}}),
        (413, {"content": disposition + b"x" * 5_000, "headers": {"content-type": parts}}),
        (415, {"content": b"List-Unsubscribe=One-Click"}),
        (415, {"json": ONE_CLICK}),
    )
    for status, sent in bodies:
        assert visitor.post(visitor.link(), **sent).status_code == status
    unclear = visitor.post(visitor.link(), data={"x": "y"})
    assert "no button was pressed" in shown(unclear)
    assert pressed(unclear) == ONE_CLICK
    assert visitor.suppressed() == []


def test_links_that_are_forged_old_or_a_strangers_end_nothing(visitor: Visitor) -> None:
    judging = SIGNER.link("feedback", 1, BEN, now=NOW)
    for link in (visitor.link() + "A", f"/unsubscribe/{judging}", "/unsubscribe/x"):
        assert visitor.post(link, data=ONE_CLICK).status_code == 403
    visitor.now = NOW + UNSUBSCRIBE_LIFE
    assert visitor.get(visitor.link()).status_code == 200
    visitor.now += timedelta(seconds=1)
    old = visitor.post(visitor.link(), data=ONE_CLICK)
    assert old.status_code == 410
    assert "work for a year" in shown(old)
    visitor.now = NOW
    visitor.config = config(RECIPIENTS.replace(BEN, "berta@example.com"))
    assert visitor.post(visitor.link(), data=ONE_CLICK).status_code == 403
    assert visitor.suppressed() == []


def test_a_reader_cannot_lift_a_pause_or_a_refusal(visitor: Visitor) -> None:
    with Store(visitor.database) as store, store.write() as connection:
        suppress(connection, BEN, "all", "paused", now=NOW)
        suppress(connection, BEN, "alerts", "refused", "550", now=NOW)
    before = visitor.suppressed()
    for mail in MAILS:
        response = visitor.post(visitor.link(mail), data=BACK)
        assert response.status_code == 409
        assert "paused" in shown(response)
    assert visitor.suppressed() == before
    visitor.post(visitor.link("digest"), data=ONE_CLICK)
    visitor.post(visitor.link("digest"), data=BACK)
    assert visitor.suppressed() == before
    with Store(visitor.database) as store:
        assert is_suppressed(store, BEN, "digest")
