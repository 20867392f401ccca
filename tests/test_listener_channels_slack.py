"""Incoming webhooks of Slack and its like: what is shown, and that nobody can be called by it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Answer, Loopback, loopback
from parcels import HOSTILE, WORDS, operator, parcel

from listener.channels import ChannelError, Later, Parcel, Refused
from listener.channels_slack import Slack, escaped, slack_body
from listener.config_errors import ConfigError

OURS = re.compile(r"<https?://[\x21-\x7e]+?\|[^<>|@\]]+>")
"""A link as we write it: address and words."""


@pytest.fixture
def site() -> Iterator[Loopback]:
    with loopback() as running:
        yield running


def shown(sent: Parcel) -> tuple[str, list[str]]:
    """The text, and the text of each block; both within Slack's and Discord's limits."""
    body = slack_body(sent)
    blocks = body["blocks"]
    assert 0 < len(blocks) <= 50
    for block in blocks:
        assert block["type"] == "section"
        assert block["text"]["type"] == "mrkdwn"
        assert block["text"]["verbatim"] is True
        assert 0 < len(block["text"]["text"]) <= 3000
    assert 0 < len(body["text"]) <= 2000
    assert not body["unfurl_links"]
    return body["text"], [block["text"]["text"] for block in blocks]


def harmless(text: str) -> None:
    """Nobody is called, and no address hides behind words that are not ours."""
    rest = OURS.sub("", text)
    assert not re.search(r"[<>]", rest)
    assert not re.search(r"@(?!\u200b)", rest)
    assert not re.search(r"\](?!\u200b)", rest)
    assert re.sub(r"&(amp|lt|gt);", "", rest).count("&") == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202a-\u202e\u2066-\u2069]", text)


# -- what is shown


def test_an_alert_says_what_where_and_why() -> None:
    text, blocks = shown(parcel())
    assert blocks == [
        "*Choice still open: Lumora &amp; Cafetto*",
        "weighing options · Reddit · ana_cafe · 3 hours ago · 2 replies",
        f"{WORDS} We are two, and the kitchen is small &amp; dark.",
        "<https://www.reddit.com/r/coffee/comments/abc/?a=1&amp;b=2|Open on reddit.com>",
        "*Why you get this*\n• +5 · Needs it soon: “by Friday”\n• Mentions Cafetto: “Cafetto Mini”",
        "Was this alert useful? <https://listener.example/f/abc?x=1&amp;y=2|Useful> · "
        "<https://l.example/g|Too late>",
    ]
    assert text == "\n".join(blocks)


def test_an_alert_in_spanish() -> None:
    _, blocks = shown(parcel(language="es"))
    assert blocks[1] == "comparando opciones · Reddit · ana_cafe · hace 3 horas · 2 respuestas"
    assert blocks[3].endswith("|Abrir en reddit.com>")
    assert blocks[4].startswith("*Por qué te avisamos*")


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        ("en", ["62 mentions", "*Conversations to join now*", "and 1 more conversation"]),
        ("es", ["62 menciones", "*Conversaciones en las que participar ahora*"]),
    ],
)
def test_a_digest_is_a_short_summary(language: Any, lines: list[str]) -> None:
    text, blocks = shown(parcel("digest", language=language))
    assert [line for line in lines if line in blocks] == lines
    assert sum(WORDS in block for block in blocks) == 8
    assert text.startswith("*Lumora: 9 to join*\n62 ")


def test_a_message_to_the_operator_is_told_line_by_line() -> None:
    _, blocks = shown(operator())
    assert blocks == [
        "*A source is quiet*",
        "The source reddit has gone quiet.",
        "Last post: 20 November.",
    ]


def test_a_card_without_address_or_author_has_neither() -> None:
    sent = parcel()
    card = sent.data["conversation"]
    post = card["post"] | {"url": None, "host": None, "author": None}
    data = dict(sent.data) | {"conversation": card | {"post": post, "replies": 0}, "feedback": {}}
    _, blocks = shown(replace(sent, data=data))
    assert blocks[1] == "weighing options · Reddit · Unknown author · 3 hours ago · no replies yet"
    assert not any("<http" in block for block in blocks)


# -- hostile text


@pytest.mark.parametrize("kind", ["alert", "digest"])
def test_what_people_wrote_calls_nobody_and_hides_nothing(kind: str) -> None:
    text, blocks = shown(parcel(kind, HOSTILE))
    for one in (text, *blocks):
        harmless(one)
    assert ("{{7*7}}" in "".join(blocks)) == (kind == "alert")  # titles of a digest are shorter
    assert not any(OURS.search(block) and "evil" in block for block in blocks)


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.sampled_from("<>&@!|[]()*_~`:# \n\u200b\u202eaé\U0001f600") | st.characters()),
    st.integers(2, 400),
)
def test_any_text_is_harmless_and_short_enough(text: str, limit: int) -> None:
    made = escaped(text, limit)
    harmless(made)
    assert len(made.encode("utf-16-le")) <= 2 * limit
    assert "\n" not in made


def test_the_longest_of_everything_stays_within_the_limits() -> None:
    for kind in ("alert", "digest"):
        text, _ = shown(parcel(kind, "<&>@] " * 2000))
        harmless(text)


# -- what an answer means


def answered(site: Loopback, status: int, body: str) -> ChannelError:
    url = site.route("/services/T0/B0/s3cret", Answer(status, body.encode()))
    with (
        closing(Slack(url=url, allow_private=True)) as channel,
        pytest.raises(ChannelError) as caught,
    ):
        channel.send(parcel())
    assert "s3cret" not in str(caught.value)
    return caught.value


def test_it_posts_to_the_address(site: Loopback) -> None:
    url = site.route("/services/T0/B0/s3cret", Answer(200, b"ok"))
    with closing(Slack(url=url, allow_private=True)) as channel:
        channel.send(parcel())
    (seen,) = site.seen
    assert (seen.method, seen.headers["content-type"]) == ("POST", "application/json")
    assert not any(name.startswith("webhook-") for name in seen.headers)


@pytest.mark.parametrize(
    ("status", "body", "gone"),
    [
        (400, "invalid_payload", False),
        (400, "invalid_blocks", False),
        (403, "action_prohibited", False),
        (404, "no_service", True),
        (404, "channel_not_found", True),
        (410, "channel_is_archived", True),
    ],
)
def test_what_slack_says_is_told(site: Loopback, status: int, body: str, gone: bool) -> None:
    error = answered(site, status, body + "\n")
    assert isinstance(error, Refused)
    assert (error.gone, error.code) == (gone, str(status))
    assert f"answers {body} ({status}); see url in [channels.slack]" in str(error)


def test_other_words_of_an_answer_are_not_told(site: Loopback) -> None:
    error = answered(site, 404, '{"message": "Unknown Webhook", "code": 10015}')
    assert isinstance(error, Refused)
    assert "Unknown" not in str(error)
    assert "has nothing at this address (404)" in str(error)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_fault_of_slack_is_tried_again(site: Loopback, status: int) -> None:
    error = answered(site, status, "rollup_error")
    assert isinstance(error, Later)
    assert error.down


def test_its_own_table_is_named_where_something_is_wrong() -> None:
    with pytest.raises(ConfigError, match=r"channels\.slack\.url"):
        Slack(url="http://hooks.example/a")
