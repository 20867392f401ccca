"""Hostile text for every place of a message that a stranger fills, and what must come of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, TypeVar

from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from listener.envelope import SIZE_LIMIT, Rendered, compose
from listener.explain import Outcome, Reason

PIECES = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</title></style></p><h1>",
    "<!--",
    "-->",
    "<![CDATA[",
    "<mj-include path='head.mjml' />",
    "<mj-raw><iframe></iframe></mj-raw>",
    "{{7*7}}",
    "${{7*7}}",
    "{% include 'digest.txt' %}",
    "{# gone #}",
    "{subject}",
    "%(subject)s",
    "\r\nBcc: victim@example.org",
    "\r\n\r\n<b>body</b>",
    "\r\n.\r\nMAIL FROM:<x@example.org>",
    "=?utf-8?q?a=0D=0ABcc:_victim@example.org?=",
    "=?utf-8?b?PHNjcmlwdD4=?=",
    "\u202egnp.exe\u2066\u2069",
    "\u200b\u200d\u2060\ufeff\u00ad",
    "\x00\x1b[31m\x07\x7f\x85",
    "\ud800",
    "\ue000\U000f0000\U000e0041",
    "e" + "\u0301" * 40,
    "\U0001f44d" * 5_000,
    "\u4e2d" * 400,
    "word " * 300,
    "x" * 2_000,
    "https://www.p\u0430ypal.com/login",
    "https://example.org@evil.example/",
    "https://example.org/?a=1&b=\"onmouseover='alert(1)",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "//evil.example/x",
    "\"' onload='alert(1)",
    "&lt;script&gt;&#60;b&#62;&amp;",
)
_KEPT = frozenset(
    # one of a few words of ours, an address of ours, or a name of IANA
    {"code", "kind", "reach", "stage", "state", "timezone", "type", "unsubscribe"}
)
_TAGS = frozenset(
    {
        *("html", "head", "title", "meta", "style", "body", "div", "span", "p", "h1", "h2", "h3"),
        *("table", "tbody", "tr", "td", "th", "ul", "li", "a", "strong", "em", "br", "code", "img"),
        "blockquote",
    }
)
_HEADERS = {
    *("From", "To", "Subject", "Date", "Message-ID", "List-Id", "Auto-Submitted", "MIME-Version"),
    *("Content-Type", "In-Reply-To", "References", "List-Unsubscribe", "List-Unsubscribe-Post"),
}
_Any = TypeVar("_Any")


def hostile() -> st.SearchStrategy[str]:
    """Pieces above, any characters between them."""
    anything = st.text(st.characters(), max_size=30)
    return st.lists(st.sampled_from(PIECES) | anything, min_size=1, max_size=5).map("".join)


def spoil(value: _Any, text: str) -> _Any:
    """`value` with `text` in each text that is not ours, however deep."""
    found: Any = value
    if isinstance(found, str):
        found = text
    elif isinstance(found, tuple):
        found = tuple(spoil(one, text) for one in found)
    elif is_dataclass(found) and not isinstance(found, type):
        changed = {
            one.name: spoil(getattr(found, one.name), text)
            for one in fields(found)
            if one.name not in _KEPT and not _is_ours(found, one.name)
        }
        found = replace(found, **changed)
    spoiled: _Any = found
    return spoiled


def _is_ours(part: object, name: str) -> bool:
    """Fields that hold a word of ours in some classes and people's in others."""
    match part:
        case Outcome():
            return name == "outcome"
        case Reason(code=code):
            return name == "value" and code != "matched"
    return name == "value"


def assert_harmless(rendered: Rendered) -> None:
    """The e-mail is well-formed and small; nothing in it runs, hides, or became a header."""
    message = compose(
        rendered,
        sender="Listener <listener@example.org>",
        recipient="Ana <ana@example.org>",
        message_id="<1@listener.invalid>",
        date=datetime(2026, 11, 21, 17, 40, tzinfo=UTC),
        thread="<2@listener.invalid>",
        unsubscribe="https://listener.example.org/unsubscribe/x",
    )
    raw = message.as_bytes()
    assert len(raw) < SIZE_LIMIT
    assert not re.search(rb"[^\x09\x0a\x0d\x20-\x7e]|\r(?!\n)|(?<!\r)\n", raw)
    parsed = message_from_bytes(raw, policy=default)
    assert isinstance(parsed, EmailMessage)
    assert sorted(parsed.keys()) == sorted(_HEADERS)
    for part in parsed.walk():
        assert not part.defects
    for header in parsed.values():
        assert not header.defects
    assert parsed["Subject"] == rendered.subject.replace("=?", "= ?")
    plain, page = parsed.get_body(("plain",)), parsed.get_body(("html",))
    assert plain is not None
    assert page is not None
    text, html = plain.get_content().replace("\r\n", "\n"), page.get_content()
    assert text == rendered.text
    for shown in (rendered.subject, text, html.replace("\r\n", "\n")):
        unseen = {char for char in shown if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co"}}
        assert unseen <= {"\n", "\u200d"}
    _assert_still(html)


def _assert_still(html: str) -> None:
    """The page has only our tags, without scripts, and every link is one of the web."""
    for node in LexborHTMLParser(html).css("*"):
        attributes: Mapping[str, str | None] = node.attributes
        assert node.tag in _TAGS
        assert not [name for name in attributes if name.startswith("on")]
        assert {"srcset", "action", "formaction", "background", "srcdoc"}.isdisjoint(attributes)
        if node.tag == "a":
            assert re.fullmatch(r"https?://[!-~]+", attributes["href"] or "")
        if node.tag == "img":
            assert (attributes["src"] or "").startswith("cid:")
        if "lang" in attributes:
            assert attributes["lang"] in ("", "en", "es")
