"""The envelope: the bytes that leave, and that they say the same when they are read back."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.envelope import Rendered, body_size, compose, preview_html, read

NOW = datetime(2026, 11, 21, 17, 40, tzinfo=UTC)
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
CHARTS = Rendered(
    subject="Añoranza ☕",
    text="Hola\n.\nFrom aquí\n",
    html='<html><head></head><body><p><img src="cid:voice@listener" alt="x"></p></body></html>\n',
    images={"voice@listener": PICTURE},
)
LONG = "https://listener.example/unsubscribe/" + "a1B2-_." * 100


def mail(rendered: Rendered = CHARTS, **envelope: Any) -> EmailMessage:
    usual: dict[str, Any] = {
        "sender": "Listener <listener@example.org>",
        "recipient": "Ana <ana@example.org>",
        "message_id": "<1@listener.invalid>",
        "date": NOW,
    }
    return compose(rendered, **(usual | envelope))


def headers(message: EmailMessage) -> list[bytes]:
    return message.as_bytes().partition(b"\r\n\r\n")[0].split(b"\r\n")


def test_images_stand_beside_the_page_that_shows_them() -> None:
    message = mail()
    parsed = message_from_bytes(message.as_bytes(), policy=default)
    assert isinstance(parsed, EmailMessage)
    assert [part.get_content_type() for part in parsed.walk()] == [
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
    ]
    related = list(parsed.iter_parts())[1]
    assert related.get_param("type") == "text/html"
    picture = list(related.iter_parts())[1]
    assert picture["Content-ID"] == "<voice@listener>"
    assert picture.get_content_disposition() == "inline"
    assert picture.get_content() == PICTURE
    assert parsed["MIME-Version"] == "1.0"


@pytest.mark.parametrize("rendered", [CHARTS, Rendered(subject="x", text="y\n", html="<p>z</p>\n")])
def test_a_message_reads_back_as_it_was_rendered(rendered: Rendered) -> None:
    assert read(mail(rendered)) == rendered
    assert len(mail(rendered).as_bytes()) < body_size(rendered) + 2_000


def test_another_message_is_not_read_back() -> None:
    other = EmailMessage()
    other.set_content("only text")
    with pytest.raises(ValueError, match="no HTML"):
        read(other)


def test_the_preview_shows_images_without_loading_them() -> None:
    page = preview_html(CHARTS)
    assert 'src="data:image/png;base64,iVBORw' in page
    assert "cid:" not in page
    assert "img-src data:" in page


def test_mails_of_one_thread_answer_the_same_message() -> None:
    root = "<6ba7b810-9dad-11d1-80b4-00c04fd430c8@listener.invalid>"
    first, second = mail(thread=root), mail(thread=root, message_id="<2@listener.invalid>")
    for message in (first, second):
        assert f"In-Reply-To: {root}".encode() in headers(message)
        assert f"References: {root}".encode() in headers(message)
    assert first["Message-ID"] != second["Message-ID"]
    assert mail()["References"] is None


def test_a_long_address_to_unsubscribe_stays_whole() -> None:
    lines = headers(mail(unsubscribe=LONG))
    assert (
        f"List-Unsubscribe: <{LONG}>, <mailto:listener@example.org?subject=unsubscribe>".encode()
        in lines
    )
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click" in lines
    assert max(map(len, lines)) <= 998


def test_without_a_page_mails_are_ended_by_an_answer_where_one_arrives() -> None:
    message = mail()
    assert message["List-Unsubscribe"] == "<mailto:listener@example.org?subject=unsubscribe>"
    assert message["List-Unsubscribe-Post"] is None
    local = "Listener <listener@localhost>"
    assert mail(sender=local)["List-Unsubscribe"] is None
    assert mail(sender=local, unsubscribe=LONG)["List-Unsubscribe"] == f"<{LONG}>"


def test_a_senders_odd_name_cannot_add_addresses_to_unsubscribe() -> None:
    message = mail(sender='"a,<b>&body=x"@example.org')
    assert message["List-Unsubscribe"].count("<") == 1
    assert "&" not in message["List-Unsubscribe"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("thread", "no brackets"),
        ("thread", "<1@example.org>\r\nBcc: victim@example.org"),
        ("unsubscribe", "https://listener.example/" + "x" * 800),
        ("unsubscribe", "https://listener.example/ñ"),
        ("unsubscribe", "https://listener.example/a>, <https://evil.example"),
        ("unsubscribe", "https://listener.example/\r\nBcc: victim@example.org"),
        ("unsubscribe", "javascript:alert(1)"),
    ],
)
def test_what_would_break_a_header_is_refused(field: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"thread needs|unsubscribe needs"):
        mail(CHARTS, **{field: value})


@pytest.mark.parametrize(
    "words",
    ["=?utf-8?q?a=0D=0ABcc:_v@example.org?= b", "x =?utf-8?b?YQ0KQmNjOiB2QGUNCg0KaGk=?=", "=?"],
)
def test_words_that_are_encoded_already_are_not_decoded_into_headers(words: str) -> None:
    parsed = message_from_bytes(mail(replace(CHARTS, subject=words)).as_bytes(), policy=default)
    assert parsed["Bcc"] is None
    assert parsed["Date"].datetime == NOW
    assert parsed["Subject"] == words.replace("=?", "= ?")


@pytest.mark.parametrize("name", ["voice", "a b@listener", "x@y>\r\nBcc: z", ""])
def test_an_image_needs_a_content_id(name: str) -> None:
    with pytest.raises(ValueError, match="content id"):
        mail(Rendered(subject="x", text="x", html="x", images={name: PICTURE}))


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=150))
def test_encoded_words_keep_to_their_length(subject: str) -> None:
    message = mail(Rendered(subject=subject, text="x", html="x"), unsubscribe=LONG)
    for line in headers(message):
        words = re.findall(rb"=\?utf-8\?[qb]\?[^?]*\?=", line)
        assert all(len(word) <= 75 for word in words)
        assert len(line) <= 78 or line.startswith(b"List-Unsubscribe")
    parsed = message_from_bytes(message.as_bytes(), policy=default)
    assert parsed["Subject"] == subject
