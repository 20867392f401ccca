"""What webhooks carry: JSON with stable keys, no more than the mail tells, and nothing harmful."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from parcels import HOSTILE, WORDS, alert, digest

from listener.payload import VERSION, alert_data, digest_data


def made(kind: str, text: str = "", language: str = "en") -> dict[str, Any]:
    """The data as a receiver reads them."""
    if kind == "alert":
        data = alert_data(alert(text), language)
    else:
        data = digest_data(digest(text), language)
    read: dict[str, Any] = json.loads(json.dumps(data, allow_nan=False))
    assert read == data
    return read


def texts(data: object) -> Iterator[str]:
    """Every text in the data, keys apart."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for value in data.values():
            yield from texts(value)
    elif isinstance(data, list):
        for value in data:
            yield from texts(value)


def test_an_alert() -> None:
    data = made("alert")
    post = {
        "author": "ana_cafe",
        "reach": "nano",
        "source": "reddit",
        "published_at": "2026-11-21T14:40:00Z",
        "text": f"{WORDS} We are two, and the kitchen is small & dark.",
        "url": "https://www.reddit.com/r/coffee/comments/abc/?a=1&b=2",
        "host": "reddit.com",
    }
    assert data["conversation"] == {
        "title": WORDS,
        "stage": "consideration",
        "probability": 0.9123,
        "about": ["Lumora", "Cafetto"],
        "replies": 2,
        "age_hours": 3.21,
        "moved": False,
        "news": [],
        "score": None,
        "joined": False,
        "answered": 0,
        "answerers": [],
        "options": [],
        "language": "en",
        "post": post,
    }
    assert data["timeline"] == [post]
    assert data["why"] == [
        "+5 · Needs it soon: “by Friday”",
        "Mentions Cafetto: “Cafetto Mini”",
    ]
    assert data["parts"] == [{"code": "urgent", "points": 5, "value": None, "quote": "by Friday"}]
    assert data["reasons"] == [{"code": "matched", "value": "Cafetto", "quote": "Cafetto Mini"}]
    assert data["events"] == [
        {
            "at": "2026-11-21T17:40:00Z",
            "kind": "option",
            "entity": "Cafetto",
            "author": "pete",
            "quote": "get a Cafetto",
        }
    ]
    assert data["outcome"] == {"outcome": "other", "entity": "Cafetto", "quote": None}
    assert data["feedback"] == alert().feedback
    named = ("version", "language", "id", "rule", "type", "score", "copies", "conversation_id")
    assert [data[key] for key in named] == [
        VERSION,
        "en",
        "57",
        "early-funnel",
        "early-funnel",
        78,
        0,
        9,
    ]


def test_a_digest() -> None:
    data = made("digest", language="es")
    plain = {key: value for key, value in data.items() if isinstance(value, str | int | float)}
    assert plain == {
        "version": VERSION,
        "language": "es",
        "day": "2026-11-21",
        "timezone": "Europe/Madrid",
        "days": 1,
        "brand": "Lumora",
        "mentions": 62,
        "mentions_usual": 41.0,
        "mentions_late": 0,
        "still_open": 0,
        "held_back": 1,
        "covered": "La única fuente se ha escuchado sin huecos.",
    }
    assert data["share_of_voice"][1] == {"entity": "Cafetto", "mentions": 20}
    assert data["sentiment"][0]["negative"] == 11
    assert data["trend"] == [{"day": "2026-11-20", "positive": 1, "neutral": 2, "negative": 3}]
    assert len(data["join_now"]) == 9
    assert (data["praise"][0]["posts"], data["praise"][0]["words"]) == (3, ["crema"])
    assert (data["complaints"], data["ideas"]) == ([], [])
    assert data["advocates"][0]["rate"] == 0.1
    assert data["coverage"][0]["kept"] == 38
    assert data["coverage"][0]["cap_dollars"] is None
    assert data["audit"][0]["links"] == {"right": "https://listener.example/a"}


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("kind", ["alert", "digest"])
def test_what_people_wrote_is_cut_cleaned_and_on_one_line(kind: str, language: str) -> None:
    data = made(kind, HOSTILE, language)
    for text in texts(data):
        assert len(text) <= 1400
        assert text.isprintable(), text
        assert "pаypal.com" not in text
        assert text.count("\U0001f44d") <= 5
    assert len(json.dumps(data)) < 100_000


def test_an_address_that_is_none_is_left_out() -> None:
    post = made("alert", "javascript:alert(1)")["conversation"]["post"]
    assert (post["url"], post["host"]) == (None, None)


def test_no_link_of_the_mail_that_changes_what_somebody_gets() -> None:
    for kind in ("alert", "digest"):
        assert "unsubscribe" not in made(kind)


@pytest.mark.parametrize("kind", ["alert", "digest"])
def test_the_document_names_every_key(kind: str) -> None:
    text = (Path(__file__).parents[1] / "docs" / "webhooks.md").read_text("utf-8")
    part = text.partition(f"<!-- {kind} -->")[2].partition(f"<!-- /{kind} -->")[0]
    assert re.findall(r"`(\w+)`", part) == list(made(kind))
