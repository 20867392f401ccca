"""The web page: what it shows, that only a form sent once stores anything, and what it refuses."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import sqlite3
import string
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders import NOW, RECIPIENTS, at, config
from selectolax.lexbor import LexborHTMLParser

from listener import web, web_page
from listener.links import CHOICES, FORM_LIFE, LINK_LIFE, Judged, Signer
from listener.store import Store, StoreError, stamp
from listener.web import Site, application
from listener.web_texts import TEXTS, preferred

ANA, BEN = "ana@example.com", "ben@example.com"  # Ana reads Spanish, Ben English
SIGNER = Signer(["k" * 32])
ALERT, AUDIT = 12, 3
FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass
class Visitor:
    """Asks the page of one database; every request is an application of its own."""

    database: Path
    now: datetime = NOW
    config: Any = field(default_factory=config)

    def link(self, purpose: Judged = "feedback", number: int = ALERT, of: str = BEN) -> str:
        return f"/{purpose}/{SIGNER.link(purpose, number, of, now=NOW)}"

    async def _send(self, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        site = Site(
            config=self.config, database=self.database, signer=SIGNER, clock=lambda: self.now
        )
        transport = httpx.ASGITransport(application(site))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            sent = [client.request(method, url, **rest) for method, url, rest in requests]
            return list(await asyncio.gather(*sent))

    def send(self, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        return asyncio.run(self._send(*requests))

    def get(self, url: str, **rest: Any) -> httpx.Response:
        return self.send(("GET", url, rest))[0]

    def post(self, url: str, **rest: Any) -> httpx.Response:
        return self.send(("POST", url, rest))[0]

    def form(self, url: str) -> str:
        return form_in(self.get(url))

    def answer(self, url: str, choice: str, form: str | None = None) -> httpx.Response:
        return self.post(url, data={"form": form or self.form(url), "choice": choice})

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(sql).fetchall()

    def change(self, sql: str, *values: object) -> None:
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(sql, values)
            connection.commit()

    def verdicts(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT alert_id, verdict, given_by, channel FROM feedback ORDER BY id")

    def content(self) -> list[str]:
        with closing(sqlite3.connect(self.database)) as connection:
            return list(connection.iterdump())


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    path = tmp_path / "listener.db"
    with Store(path) as store, store.write() as connection:
        connection.execute(
            "INSERT INTO conversations (id, source, root_id, title, started_at, last_at, mentions, "
            "authors, stage, state, early) VALUES (1, 'hackernews', 'r', 'Espresso at home', ?, ?, "
            "1, 1, 'consideration', 'early', 0.876)",
            (stamp(NOW), stamp(NOW)),
        )
        connection.execute(
            "INSERT INTO mentions (id, source, native_id, url, title, text, language, "
            "conversation_id, published_at, first_seen_at) VALUES (1, 'hackernews', 'r', "
            "'https://news.example.org/1', 'Espresso at home?', 'Pods & <b>grounds</b>', 'en', 1, "
            "?, ?)",
            (stamp(at(-5)), stamp(NOW)),
        )
        connection.execute(
            "INSERT INTO matches VALUES (1, 'product', 'Lumora Brisa', 'Brisa', 0, 1)"
        )
        connection.execute(
            "INSERT INTO alerts (id, key, rule, conversation_id, mention_id, probability, score, "
            "reasons, created_at) VALUES (?, 'k', 'early-funnel', 1, 1, 0.876, 88, '[]', ?)",
            (ALERT, stamp(NOW)),
        )
        connection.execute(
            "INSERT INTO audit (id, mention_id, stratum, probability, weight, drawn_at) "
            "VALUES (?, 1, 1, 0.321, 50, ?)",
            (AUDIT, stamp(NOW)),
        )
    return Visitor(path)


def form_in(response: httpx.Response) -> str:
    node = LexborHTMLParser(response.text).css_first('input[name="form"]')
    assert node is not None, response.text
    return str(node.attributes["value"])


def shown(response: httpx.Response) -> str:
    main = LexborHTMLParser(response.text).css_first("main")
    assert main is not None
    return " ".join(main.text(separator=" ").split())


def checked(response: httpx.Response) -> list[str | None]:
    nodes = LexborHTMLParser(response.text).css("input[checked]")
    return [node.attributes["value"] for node in nodes]


def test_it_shows_the_post_and_asks_in_the_language_of_the_reader(visitor: Visitor) -> None:
    english, spanish = visitor.get(visitor.link()), visitor.get(visitor.link(of=ANA))
    assert english.status_code == spanish.status_code == 200
    text = shown(english)
    for part in (
        "Was this alert useful?",
        "Alert 12",
        "Espresso at home?",
        "Pods & <b>grounds</b>",
        "Hacker News",
        "5 hours ago",
        "rule “conversation before the purchase”",
        "Open on news.example.org",
        "Nothing is stored until you press the button.",
    ):
        assert part in text
    assert "&lt;b&gt;grounds&lt;/b&gt;" in english.text
    assert english.headers["content-language"] == "en"
    assert '<html lang="es"' in spanish.text
    assert "¿Te ha servido este aviso?" in shown(spanish)
    assert "hace 5 horas" in shown(spanish)
    choices = [
        node.attributes["value"] for node in LexborHTMLParser(english.text).css("[required]")
    ]
    assert tuple(choices) == CHOICES["feedback"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("purpose", ["feedback", "audit"])
def test_looking_changes_nothing(visitor: Visitor, method: str, purpose: Judged) -> None:
    number = ALERT if purpose == "feedback" else AUDIT
    link = visitor.link(purpose, number)
    before = visitor.content()
    for tail in ("", *(f"?v={choice}" for choice in CHOICES[purpose]), "?v=x&choice=useful"):
        assert visitor.send((method, link + tail, {}))[0].status_code == 200
    visitor.send((method, "/-/health", {}))
    assert visitor.content() == before


def test_looking_cannot_change_anything(visitor: Visitor) -> None:
    with (
        web_page.reading(visitor.database) as store,
        pytest.raises(StoreError, match="attempt to write a readonly database"),
        store.write() as connection,
    ):
        connection.execute("DELETE FROM alerts")


def test_the_link_chooses_beforehand(visitor: Visitor) -> None:
    assert checked(visitor.get(visitor.link())) == []
    for choice in CHOICES["feedback"]:
        assert checked(visitor.get(f"{visitor.link()}?v={choice}")) == [choice]
    assert checked(visitor.get(f"{visitor.link()}?v=missed")) == []


def test_a_sent_form_is_recorded_for_its_reader(visitor: Visitor) -> None:
    response = visitor.answer(visitor.link(), "late")
    assert response.status_code == 200
    assert "Thank you" in shown(response)
    assert "Your answer on record: Too late" in shown(response)
    assert visitor.verdicts() == [(ALERT, "late", BEN, "link")]
    again = visitor.get(visitor.link())
    assert "Your answer on record: Too late" in shown(again)
    assert checked(again) == ["late"]
    other = visitor.get(visitor.link(of=ANA))
    assert "Tu respuesta guardada" not in shown(other)
    assert checked(other) == []


def test_the_verdict_can_be_changed_from_the_page_that_thanks(visitor: Visitor) -> None:
    first = visitor.answer(visitor.link(), "late")
    second = visitor.answer(visitor.link(), "wrong-brand", form_in(first))
    assert second.status_code == 200
    assert visitor.verdicts() == [(ALERT, "wrong-brand", BEN, "link")]
    assert visitor.rows("SELECT name, relevant FROM relevance_labels") == [("Lumora Brisa", 0)]


def test_a_form_counts_once_and_a_restart_does_not_open_it_again(visitor: Visitor) -> None:
    form = visitor.form(visitor.link())
    assert visitor.answer(visitor.link(), "late", form).status_code == 200
    replayed = visitor.answer(visitor.link(), "useful", form)
    assert replayed.status_code == 409
    assert "Already recorded" in shown(replayed)
    assert "Your answer on record: Too late" in shown(replayed)
    assert visitor.verdicts() == [(ALERT, "late", BEN, "link")]
    assert visitor.answer(visitor.link(), "useful", form_in(replayed)).status_code == 200


def test_of_one_form_sent_many_times_at_once_one_counts(visitor: Visitor) -> None:
    link, form = visitor.link(), visitor.form(visitor.link())
    sent = visitor.send(
        *(("POST", link, {"data": {"form": form, "choice": one}}) for one in CHOICES["feedback"])
    )
    assert sorted(response.status_code for response in sent) == [200, 409, 409, 409, 409]
    assert len(visitor.verdicts()) == 1


def test_a_crash_before_the_verdict_was_stored_is_told(visitor: Visitor) -> None:
    ticket = SIGNER.read(visitor.link().rpartition("/")[2], "feedback", now=NOW)
    form = visitor.form(visitor.link())
    nonce = SIGNER.read_form(form, ticket, now=NOW)
    visitor.change("INSERT INTO state VALUES (?, ?)", f"form:{nonce}", stamp(NOW + FORM_LIFE))
    response = visitor.answer(visitor.link(), "useful", form)
    assert response.status_code == 409
    assert "no answer is on record" in shown(response)
    assert visitor.answer(visitor.link(), "useful", form_in(response)).status_code == 200


def test_used_forms_are_forgotten_when_they_are_too_old_to_be_sent(visitor: Visitor) -> None:
    visitor.change("INSERT INTO state VALUES ('formula', ?)", stamp(at(-999)))
    old = visitor.form(visitor.link())
    visitor.answer(visitor.link(), "late", old)
    visitor.now = NOW + FORM_LIFE
    visitor.answer(visitor.link(), "useful")
    count = "SELECT count(*) FROM state WHERE key LIKE 'form:%'"
    assert visitor.rows(count) == [(2,)]
    visitor.now = NOW + FORM_LIFE + timedelta(seconds=1)
    assert visitor.answer(visitor.link(), "late", old).status_code == 410
    visitor.answer(visitor.link(), "useful")
    assert visitor.rows(count) == [(2,)]
    assert visitor.rows("SELECT 1 FROM state WHERE key = 'formula'") == [(1,)]
    assert visitor.verdicts() == [(ALERT, "useful", BEN, "link")]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400),
        ({"choice": "useful"}, 403),
        ({"choice": "useful", "form": "x"}, 403),
        ({"choice": "missed"}, 400),
        ({"form": "x"}, 400),
    ],
)
def test_a_form_that_is_not_ours_stores_nothing_and_offers_a_good_one(
    visitor: Visitor, fields: dict[str, str], status: int
) -> None:
    before = visitor.content()
    response = visitor.post(visitor.link(), data=fields, headers=FORM)
    assert response.status_code == status
    assert visitor.content() == before
    assert visitor.answer(visitor.link(), "useful", form_in(response)).status_code == 200


def test_a_form_of_another_link_is_refused(visitor: Visitor) -> None:
    for other in (visitor.link(of=ANA), visitor.link("audit", AUDIT)):
        response = visitor.answer(visitor.link(), "useful", visitor.form(other))
        assert response.status_code == 403
        assert "Nothing was stored" in shown(response)
    assert visitor.verdicts() == []


def test_forged_links_are_refused_in_the_language_of_the_browser(visitor: Visitor) -> None:
    for link in (
        visitor.link() + "A",
        visitor.link("audit", ALERT).replace("/audit/", "/feedback/"),
        visitor.link().replace("/feedback/", "/audit/"),
        "/feedback/x",
        f"/feedback/{'x' * 5000}",
        "/audit/%00%F1",
    ):
        for response in (
            visitor.get(link),
            visitor.post(link, data={"choice": "useful", "form": visitor.form(visitor.link())}),
        ):
            assert response.status_code == 403
            assert "Open it from the e-mail again" in shown(response)
    spanish = visitor.get("/feedback/x", headers={"accept-language": "es-PE,es;q=0.9,en;q=0.8"})
    assert "Ábrelo otra vez desde el correo" in shown(spanish)
    assert visitor.verdicts() == []


def test_expired_links_are_refused(visitor: Visitor) -> None:
    form = visitor.form(visitor.link())
    visitor.now = NOW + LINK_LIFE + timedelta(seconds=1)
    assert "60 days" in shown(visitor.get(visitor.link()))
    assert visitor.get(visitor.link()).status_code == 410
    assert visitor.answer(visitor.link(), "useful", form).status_code == 410
    spanish = visitor.get(visitor.link(), headers={"accept-language": "es"})
    assert "Este enlace ha caducado" in shown(spanish)
    assert visitor.verdicts() == []
    assert f"{LINK_LIFE.days} days" in TEXTS["en"]["expired.text"]
    assert f"{LINK_LIFE.days} días" in TEXTS["es"]["expired.text"]


def test_who_gets_no_mail_any_more_cannot_judge(visitor: Visitor) -> None:
    form = visitor.form(visitor.link())
    visitor.config = config(RECIPIENTS.replace(BEN, "berta@example.com"))
    assert visitor.get(visitor.link()).status_code == 403
    response = visitor.answer(visitor.link(), "useful", form)
    assert response.status_code == 403
    assert "gets no mail" in shown(response)
    assert visitor.verdicts() == []


@pytest.mark.parametrize("purpose", ["feedback", "audit"])
def test_a_post_that_was_erased_leaves_nothing_to_judge(visitor: Visitor, purpose: Judged) -> None:
    link = visitor.link(purpose, ALERT if purpose == "feedback" else AUDIT, of=ANA)
    form = visitor.form(link)
    visitor.change("DELETE FROM mentions")
    for response in (visitor.get(link), visitor.answer(link, CHOICES[purpose][0], form)):
        assert response.status_code == 410
        assert "Ya no queda nada que valorar" in shown(response)


def test_a_post_that_is_erased_while_the_form_is_read_leaves_nothing_to_judge(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def erase_then_claim(*arguments: Any) -> bool:
        visitor.change("DELETE FROM mentions")
        return claim(*arguments)

    claim = web._claim
    monkeypatch.setattr(web, "_claim", erase_then_claim)
    response = visitor.answer(visitor.link(), "useful")
    assert response.status_code == 410
    assert "nothing left to judge" in shown(response)
    assert visitor.verdicts() == []


def test_the_audit_is_blind_and_each_reader_sees_their_own_answer(visitor: Visitor) -> None:
    link = visitor.link("audit", AUDIT)
    page = visitor.get(f"{link}?v=missed")
    assert checked(page) == ["missed"]
    for hint in ("0.321", "32", "0.876", "88", "early", "rule"):
        assert hint not in shown(page)
    response = visitor.answer(link, "right")
    assert response.status_code == 200
    assert "No, rightly none" in shown(response)
    judged = "SELECT missed, given_by FROM audit"
    assert visitor.rows(judged) == [(0, BEN)]
    visitor.answer(link, "missed", form_in(response))
    assert visitor.rows(judged) == [(1, BEN)]
    assert "Yes, it was missed" in shown(visitor.get(link)).partition("Espresso")[0]
    assert "Tu respuesta guardada" not in shown(visitor.get(visitor.link("audit", AUDIT, of=ANA)))


def test_other_pages_and_methods_are_refused(visitor: Visitor) -> None:
    for path in ("/", "/feedback", "/feedback/", f"{visitor.link()}/", "/x/y", "/-/", "/docs"):
        assert visitor.get(path).status_code == 404
        assert "There is no such page" in shown(visitor.get(path))
    put = visitor.send(("PUT", visitor.link(), {}))[0]
    assert put.status_code == 405
    assert set(put.headers["allow"].replace(",", " ").split()) == {"GET", "HEAD", "POST"}
    assert visitor.post("/-/health", data={"x": "y"}).status_code == 405


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"choice=useful&form=" + b"x" * 10_000, FORM, 413),
        (b"choice=useful", {"content-type": "application/json"}, 415),
        (b"choice=useful", {}, 415),
        (b"choice=\xff\xfe", FORM, 400),
    ],
)
def test_bodies_that_no_form_sends_are_refused(
    visitor: Visitor, body: bytes, kind: dict[str, str], status: int
) -> None:
    before = visitor.content()
    assert visitor.post(visitor.link(), content=body, headers=kind).status_code == status
    assert visitor.content() == before


def test_a_body_without_an_end_is_given_up(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"choice="
        await asyncio.Event().wait()

    monkeypatch.setattr(web_page, "_FORM_SECONDS", 0.01)
    response = visitor.post(visitor.link(), content=never(), headers=FORM)
    assert response.status_code == 408
    assert "Nothing was stored" in shown(response)


def test_every_answer_keeps_links_and_readers_private(visitor: Visitor) -> None:
    answers = [
        visitor.get(visitor.link()),
        visitor.answer(visitor.link(), "useful"),
        visitor.get("/feedback/x"),
        visitor.get("/nothing"),
        visitor.get("/-/health"),
        visitor.send(("HEAD", visitor.link(), {}))[0],
        visitor.send(("PUT", visitor.link(), {}))[0],
        visitor.post(visitor.link(), content=b"x" * 9000, headers=FORM),
    ]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-robots-tag"] == "noindex, nofollow"
        assert "set-cookie" not in answer.headers
        policy = answer.headers["content-security-policy"]
        for part in (
            "default-src 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ):
            assert part in policy.split("; ")
        assert "unsafe" not in policy
        assert BEN not in answer.text


def test_the_policy_allows_the_style_of_the_page_and_nothing_else(visitor: Visitor) -> None:
    page = visitor.get(visitor.link())
    (style,) = re.findall("<style>(.*?)</style>", page.text, re.DOTALL)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.headers["content-security-policy"]
    html = LexborHTMLParser(page.text)
    assert not html.css("script, link, img, iframe, [style], [src], [onclick]")
    assert "url(" not in style
    assert "@import" not in style


def test_hostile_posts_stay_text(visitor: Visitor) -> None:
    hostile = (
        "</p></blockquote><script>alert(1)</script><form action='https://evil.example'>{{7*7}} "
        "{% include 'x' %} \u202eexe.txt\u2066\u200b\x00 \U0001f44d" + "e\u0301" * 400
    )
    visitor.change("UPDATE mentions SET text = ?, title = ?, source = ?", *[hostile] * 3)
    visitor.change("UPDATE mentions SET url = 'javascript:alert(1)', language = '\"><script>'")
    visitor.change("UPDATE alerts SET rule = ?", hostile)
    response = visitor.get(visitor.link())
    html = LexborHTMLParser(response.text)
    assert response.status_code == 200
    assert not html.css("script, main a")
    assert len(html.css("form")) == 1
    assert "{{7*7}}" in shown(response)
    assert "javascript:" not in response.text
    assert not set("\u202e\u2066\u200b\x00") & set(response.text)
    assert len(response.text) < 12_000


def test_a_title_that_only_begins_the_post_is_not_shown_twice(visitor: Visitor) -> None:
    visitor.change("UPDATE mentions SET title = NULL, text = 'Espresso at home is hard'")
    assert shown(visitor.get(visitor.link())).count("Espresso at home") == 1
    visitor.change("UPDATE mentions SET text = 'I agree'")
    assert "Espresso at home I agree" in shown(visitor.get(visitor.link()))


def test_a_database_that_cannot_be_used_is_told_and_logged_without_the_link(
    visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    link, form = visitor.link(), visitor.form(visitor.link())
    visitor.database.rename(visitor.database.with_name("away"))
    responses = (
        visitor.get(link),
        visitor.answer(link, "useful", form),
        visitor.get("/-/health"),
    )
    for response in responses:
        assert response.status_code == 503
        assert "Try again in a minute" in shown(response)
    assert "does not exist" in caplog.text
    assert not visitor.database.exists()
    assert link.rpartition("/")[2] not in "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("listener")
    )


def test_what_nobody_foresaw_shows_and_logs_nothing_of_the_post(
    visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    visitor.change("UPDATE mentions SET published_at = '0 private words'")
    response = visitor.get(visitor.link())
    assert response.status_code == 500
    assert "Not possible right now" in shown(response)
    assert "private" not in response.text
    assert "ValueError" in caplog.text
    assert "private" not in caplog.text


def test_nothing_personal_is_logged(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="listener")
    visitor.answer(visitor.link(), "useful")
    visitor.get("/feedback/x")
    told = [record.getMessage() for record in caplog.records if "listener" in record.name]
    assert told == ["feedback 12 was judged"]


def test_health_is_told_to_programs_without_texts(visitor: Visitor) -> None:
    stopped = visitor.get("/-/health")
    assert (stopped.status_code, stopped.json()["status"]) == (503, "stopped")
    visitor.change("INSERT INTO state VALUES ('heartbeat', ?)", stamp(NOW))
    visitor.change(
        "INSERT INTO runs (source, query, started_at, status, pages, returned, kept, new, warnings,"
        " error) VALUES ('import:/private/ana.csv', '', ?, 'failed', 1, 1, 1, 1, 0, 'private')",
        stamp(NOW),
    )
    before = visitor.content()
    well = visitor.get("/-/health")
    assert (well.status_code, well.json()["status"]) == (200, "ok")
    assert well.headers["content-type"] == "application/json"
    assert "private" not in well.text
    assert visitor.content() == before


def test_both_languages_have_the_same_texts_with_the_same_gaps() -> None:
    def gaps(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text)} - {None}

    assert TEXTS["en"].keys() == TEXTS["es"].keys()
    for key, english in TEXTS["en"].items():
        assert gaps(english) == gaps(TEXTS["es"][key]), key
        assert english != TEXTS["es"][key], key
    for purpose, choices in CHOICES.items():
        for choice in choices:
            assert {f"{purpose}.{choice}", f"{purpose}.{choice}.told"} <= TEXTS["en"].keys()


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("es", "es"),
        ("es-419,es;q=0.9,en;q=0.8", "es"),
        ("en;q=0.5, ES;q=0.6", "es"),
        ("fr,de;q=0.9", "en"),
        ("es;q=0", "en"),
        ("es;q=x", "en"),
        ("es;q=nan", "en"),
        ("est", "en"),
        (",;=q;;" * 5000, "en"),
    ],
)
def test_the_language_a_browser_prefers(header: str, language: str) -> None:
    assert preferred(header) == language
