from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.hostile import clean, link


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a\r\nb\tc \u2028 d", "a b c d"),
        ("pay\u202epal\u2069 \u200bnow\ufeff", "paypal now"),
        ("nin\u0303o", "niño"),
        ("Z" + "\u0300\u0301\u0302" * 30 + "!", "Z" + "\u0300\u0301\u0302" + "!"),
        ("\u0301\u0301start", "start"),
        ("\U0001f44d" * 5_000 + " ok", "\U0001f44d" * 5 + "…"),
        ("\U0001f44d" * 20 + " ok", "\U0001f44d" * 5 + " ok"),
        ("\U0001f1ea\U0001f1f8" * 7, "\U0001f1ea\U0001f1f8" * 5),
        (
            "\U0001f468\u200d\U0001f469\u200d\U0001f467 at\u200dhome",
            "\U0001f468\u200d\U0001f469\u200d\U0001f467 athome",
        ),
        ("\u2764\ufe0f x\ufe0f", "\u2764\ufe0f x"),
        ("tag\U000e0041\U000e0042 \ud800 \ue000 \u3164 end", "tag end"),
        (
            "one two three four five six seven eight, nine",
            "one two three four five six seven eight…",
        ),
        ("w" * 99, "w" * 39 + "…"),
        ("{{7*7}} <b>", "{{7*7}} <b>"),
        ("see https://аррӏе.com/x", "see https://xn--80ak6aa92e.com/x"),
        ("at gооgle.com now", "at xn--ggle-55da.com now"),
        ("un café.Luego más", "un café.Luego más"),
        ("", ""),
    ],
)
def test_clean(raw: str, expected: str) -> None:
    assert clean(raw, 40) == unicodedata.normalize("NFC", expected)


@settings(max_examples=200, deadline=None)
@given(st.text(), st.integers(min_value=2, max_value=60))
def test_clean_keeps_its_promises(text: str, limit: int) -> None:
    result = clean(text, limit)
    assert len(result) <= limit
    assert result == " ".join(result.split())
    assert {unicodedata.category(char) for char in result} & {"Cc", "Cs", "Co"} == set()
    result.encode()


@pytest.mark.parametrize(
    ("url", "href", "host"),
    [
        (
            "https://www.reddit.com/r/x/?a=1&b=2#c",
            "https://www.reddit.com/r/x/?a=1&b=2#c",
            "reddit.com",
        ),
        ("https://аррӏе.com/x", "https://xn--80ak6aa92e.com/x", "xn--80ak6aa92e.com"),
        (
            "https://es.wikipedia.org/wiki/Café",
            "https://es.wikipedia.org/wiki/Caf%C3%A9",
            "es.wikipedia.org",
        ),
        ("http://[::1]:8080/x", "http://[::1]:8080/x", "::1"),
        ("http://example。org/", "http://example.org/", "example.org"),
    ],
)
def test_links_show_where_they_lead(url: str, href: str, host: str) -> None:
    target = link(url)
    assert target is not None
    assert (target.href, target.host) == (href, host)


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "javascript:alert(1)",
        "data:text/html,x",
        "//example.org/x",
        "https://reddit.com@evil.example/",
        "http://good.example\\@evil.example/",
        "https://example.org/a b",
        "https://example.org/\r\nBcc: x",
        'https://example.org/"onclick=1',
        "http://example.org:99999/",
        "https://[broken",
        "https://example.org/" + "a" * 500,
    ],
)
def test_what_is_not_plainly_a_web_address_is_no_link(url: str | None) -> None:
    assert link(url) is None
