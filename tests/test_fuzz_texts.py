"""Anything at all in what messages are made of: they render, stay small, show nothing unseen."""

import json
import re
import string
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from email import message_from_bytes
from email.policy import default as parsed
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener import hostile
from listener.envelope import SIZE_LIMIT, compose
from listener.explain import Outcome, Reason
from listener.messages import AlertMessage, DigestMessage, render_alert, render_digest
from listener.payload import alert_data, digest_data
from listener.scoring import Fit, Part

FEW = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
PIECES = (
    *(
        "<script>alert(1)</script>",
        "{{7*7}}",
        "{% raw %}",
        "\r\nBcc: a@a.example",
        "\x00",
        "\ud800",
    ),
    *("\u202e", "\u200b", "e" + "\u0301" * 50, "\U0001f469\u200d" * 40, "https://аррle.example/a"),
    *(
        "&amp;",
        '"><img src=x onerror=a>',
        "<mj-raw>",
        "]]>",
        "%0d%0a",
        "a" * 3_000,
        "\u2028",
        "\x1b[0m",
    ),
)
TEXTS = st.lists(st.text(max_size=30) | st.sampled_from(PIECES), max_size=6).map("".join)
NAMES = TEXTS.filter(lambda text: hostile.clean(text, 40) != "")
TIMES = st.integers(631_152_000, 4_102_444_800).map(
    lambda second: datetime.fromtimestamp(second, UTC)
)
COUNTS = st.integers(0, 2**40)
HOURS = st.floats(0, 1e5)
STAGES = st.sampled_from(["awareness", "consideration", "decision", "post_purchase"])
LANGUAGES = st.sampled_from(["en", "es"])
QUOTES = st.none() | TEXTS
REASONS = st.one_of(
    st.builds(Reason, code=st.just("early_probability"), value=st.floats(0, 1), quote=QUOTES),
    st.builds(Reason, code=st.just("stage"), value=STAGES, quote=QUOTES),
    st.builds(Reason, code=st.just("matched"), value=TEXTS, quote=QUOTES),
    st.builds(Reason, code=st.just("signal"), value=st.just("comparison"), quote=QUOTES),
    st.builds(Reason, code=st.sampled_from(["replies", "waiting"]), value=HOURS, quote=QUOTES),
)
POINTS = st.integers(-9, 99)
PARTS = st.one_of(
    st.builds(Part, code=st.just(code), points=POINTS, value=value, quote=QUOTES)
    for code, value in (
        ("probability", st.floats(0, 1)),
        ("age", HOURS),
        ("replies", COUNTS),
        ("fit", st.sampled_from(get_args(Fit))),
    )
)
WORDS = {
    "stage": STAGES,
    "stages": st.dictionaries(STAGES, COUNTS, max_size=4),
    "probability": st.floats(0, 1),
    "rate": st.none() | st.floats(0, 1),
    "language": st.sampled_from(["en", "es", "und"]),
    "reach": st.sampled_from([None, "nano", "micro", "macro"]),
    "type": st.just("early-funnel"),
    "kind": st.just("opened"),
    "outcome": st.sampled_from(["ours", "competitor", "other", "none", "unknown"]),
    "timezone": st.sampled_from(["UTC", "Europe/Madrid", "America/Mexico_City"]),
    "state": st.sampled_from(["ok", "partial", "waiting", "failed", "silent"]),
    "code": st.sampled_from(["stage", "others"]),
    "brand": NAMES,
    "days": st.integers(1, 30),
    "cap": st.none() | st.integers(1, 2**40),
    "news": st.just(()),
    "changes": st.just(()),
    "trend": st.just(()),
    "marks": st.just(()),
    "events": st.just(()),
    "links": st.just({}),
    "feedback": st.just({"useful": "https://listener.example/f/a.b"}),
    "unsubscribe": st.none() | st.just("https://listener.example/u/a.b"),
}
"""Fields that take some words only; those of other fields are made by their type."""
OWN = {Reason: REASONS, Part: PARTS}


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type, dataclasses field by field, so that a new field is tried by itself."""
    if kind in OWN:
        return OWN[kind]
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        names = [one.name for one in fields(kind)]
        made = {name: WORDS[name] if name in WORDS else of_type(hints[name]) for name in names}
        if kind is Outcome:
            made["outcome"] = WORDS["outcome"]
        elif "outcome" in made:
            made["outcome"] = st.none() | of_type(Outcome)
        return st.builds(kind, **made)
    parts = get_args(kind)
    if get_origin(kind) is tuple and parts[-1] is Ellipsis:
        return st.lists(of_type(parts[0]), max_size=3).map(tuple)
    if get_origin(kind) is tuple:
        return st.tuples(*map(of_type, parts))
    if get_origin(kind) in (Union, UnionType):
        return st.one_of(*map(of_type, parts))
    return PLAIN[kind]


PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: COUNTS,
    float: HOURS,
    bool: st.booleans(),
    datetime: TIMES,
    date: st.dates(date(2000, 1, 1), date(2100, 1, 1)),
    NoneType: st.none(),
}
ALERTS = of_type(AlertMessage)
DIGESTS = of_type(DigestMessage)
# What shows as nothing, or turns what stands around it.
UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
TAGS = re.compile(r"<(script|img src=x|mj-raw|iframe)", re.IGNORECASE)


def seen(message: Any) -> None:
    """Whether an e-mail that a server would take comes out whole, small and without tricks."""
    data = compose(
        message,
        sender="Listener <listener@brand.example>",
        recipient="ana@brand.example",
        message_id="<1@brand.example>",
        date=datetime(2026, 3, 1, tzinfo=UTC),
    ).as_bytes()
    assert len(data) < SIZE_LIMIT
    back = message_from_bytes(data, policy=parsed)
    assert back["Bcc"] is None
    assert back["Subject"] == message.subject
    assert "\n" not in message.subject
    assert not UNSEEN.search(message.subject + message.text + message.html)
    assert not TAGS.search(message.html)
    assert "49" not in re.sub(r"[\d.,]*49[\d.,]*", "", message.text)


@given(ALERTS, LANGUAGES)
@FEW
def test_an_alert_of_anything_is_a_sound_mail(message: AlertMessage, language: str) -> None:
    seen(render_alert(message, language=language, timezone="Europe/Madrid"))
    assert plain(alert_data(message, language))


@given(DIGESTS, LANGUAGES)
@FEW
def test_a_digest_of_anything_is_a_sound_mail(message: DigestMessage, language: str) -> None:
    seen(render_digest(message, language=language))
    assert plain(digest_data(message, language))


def plain(data: dict[str, Any]) -> bool:
    """Whether data is JSON that is the same when it is read again and has no unseen signs."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=False)
    text.encode()
    return json.loads(text) == data and not UNSEEN.search(text)


@given(TEXTS, st.integers(2, 200))
@settings(max_examples=60, deadline=None)
def test_clean_keeps_its_promise(text: str, limit: int) -> None:
    shown = hostile.clean(text, limit)
    assert len(shown) <= limit
    assert not UNSEEN.search(shown)
    assert "\n" not in shown
    shown.encode()


@given(TEXTS | st.text(string.printable).map("http://".__add__))
@settings(max_examples=60, deadline=None)
def test_a_link_is_plain_or_none(url: str) -> None:
    found = hostile.link(url)
    if found is not None:
        assert found.href.isascii()
        assert found.href.startswith(("http://", "https://"))
        assert not set(found.href) & set(' <>"\\\n\r')
