"""Incoming webhooks of Slack, Mattermost and Rocket.Chat, and of Discord (address with /slack).

Slack shows the blocks; the others show the text alone, and Markdown in it. What people wrote can
mention nobody, hide no address behind words and open no markup of ours (see `escaped`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import httpx

from . import i18n
from .channels import Parcel, Refused
from .channels_http import WebAddress, refusal
from .hostile import clean, link
from .rendering import source_name

_TABLE = "channels.slack"
_BLOCKS, _BLOCK, _TEXT = 50, 3000, 2000
"""Most blocks of a message and characters of one, by Slack; characters of a text, by Discord."""
_TITLE, _POST, _LINE = 200, 900, 300
_SHOWN = 8
"""Most conversations and reasons of a message: it calls people, the e-mail tells all."""
_UNSEEN = "\u200b"
_ESCAPES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    # Mattermost, Rocket.Chat and Discord notify whom a plain @name names, and @channel all.
    "@": "@" + _UNSEEN,
    # Theirs is Markdown, where [words](address) hides an address.
    "]": "]" + _UNSEEN,
}
_GONE = frozenset(
    {
        "channel_is_archived",
        "channel_not_found",
        "invalid_token",
        "no_active_hooks",
        "no_service",
        "no_team",
        "team_disabled",
        "user_not_found",
    }
)
_SAID = _GONE | {
    "action_prohibited",
    "invalid_blocks",
    "invalid_payload",
    "missing_text_or_fallback_or_attachments",
    "no_text",
    "posting_to_general_channel_denied",
    "too_many_attachments",
}
"""What Slack says of a call that will never work; nothing else of an answer is told."""


class Slack:
    """Posts each parcel as a short message; settings as in `WebAddress`. Raises ConfigError."""

    name = "slack"

    def __init__(
        self,
        *,
        url: str,
        allow_private: bool = False,
        timeout: float = 15,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._address = WebAddress(
            url, table=_TABLE, allow_private=allow_private, timeout=timeout, transport=transport
        )

    def send(self, parcel: Parcel) -> None:
        """Post `parcel`; 2xx is a success. `Later` for a passing fault, else `Refused`."""
        body = json.dumps(slack_body(parcel), ensure_ascii=False).encode()
        status, text = self._address.post(body, now=parcel.message["Date"].datetime)
        if 200 <= status < 300:
            return
        said = text.strip()
        if said in _SAID:
            raise Refused(
                f"{self._address.host} answers {said} ({status}); see url in [{_TABLE}]",
                gone=said in _GONE,
                code=str(status),
            )
        raise refusal(self._address.host, status, _TABLE)

    def check(self) -> str:
        """Reach the host without calling the address."""
        return self._address.check()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._address.close()


def slack_body(parcel: Parcel) -> dict[str, Any]:
    """The JSON of one message: `text`, up to 2,000 characters, and `blocks` with all of it."""
    title = f"*{escaped(str(parcel.message['Subject']), _TITLE)}*"
    pieces = [title, *_told(parcel)]
    return {
        "text": _joined(pieces),
        "blocks": [_section(piece) for piece in pieces[:_BLOCKS]],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def escaped(text: str, limit: int) -> str:
    """`text` for a message, cleaned and of at most `limit` UTF-16 units, escapes included.

    `&`, `<` and `>` become what Slack wants; behind each `@` and `]` comes an unseen blank, so that
    nobody is mentioned and no Markdown link can begin.
    """
    kept: list[str] = []
    used = 0
    for char in clean(text, limit):
        piece = _ESCAPES.get(char, char)
        used += len(piece) + (char > "\uffff")
        if used > limit - 1:
            return "".join(kept).rstrip() + "…"
        kept.append(piece)
    return "".join(kept)


def _told(parcel: Parcel) -> list[str]:
    if parcel.kind == "alert":
        return _alert(parcel.data, parcel.data["language"])
    if parcel.kind == "digest":
        return _digest(parcel.data, parcel.data["language"])
    body = parcel.message.get_body(("plain",))
    lines = body.get_content().splitlines() if body else []
    return [escaped(line, _LINE) for line in lines if line.strip()]


def _alert(data: Mapping[str, Any], language: str) -> list[str]:
    say = partial(i18n.say, language)
    card = data["conversation"]
    pieces = [
        _facts(card, language),
        escaped(card["post"]["text"], _POST),
        _open(card["post"], language),
    ]
    if data["why"]:
        lines = [f"• {escaped(line, _LINE)}" for line in data["why"][:_SHOWN]]
        pieces.append("\n".join([f"*{say('alert.why')}*", *lines]))
    verdicts = [_link(url, say(f"feedback.{verdict}")) for verdict, url in data["feedback"].items()]
    if verdicts:
        pieces.append(f"{say('feedback.ask')} " + " · ".join(filter(None, verdicts)))
    return [piece for piece in pieces if piece]


def _digest(data: Mapping[str, Any], language: str) -> list[str]:
    say = partial(i18n.say, language)
    mentions = data["mentions"]
    pieces = [f"{i18n.number(language, mentions)} {say('digest.mentions', n=mentions)}"]
    cards = data["join_now"]
    if cards:
        pieces.append(f"*{say('digest.join')}*")
    for place, card in enumerate(cards[:_SHOWN], 1):
        head = escaped(card["title"] or card["post"]["text"], _LINE)
        lines = [f"{place}. {head}", _facts(card, language), _open(card["post"], language)]
        pieces.append("\n".join(filter(None, lines)))
    if len(cards) > _SHOWN:
        pieces.append(say("digest.join_more", n=len(cards) - _SHOWN))
    if data["held_back"]:
        pieces.append(say("digest.held_back", n=data["held_back"]))
    counted = [
        f"{say(f'digest.{part}')}: {i18n.number(language, len(data[part]))}"
        for part in ("praise", "complaints", "ideas", "unanswered")
        if data[part]
    ]
    if counted:
        pieces.append(" · ".join(counted))
    pieces.append(escaped(data["covered"], _LINE))
    return pieces


def _facts(card: Mapping[str, Any], language: str) -> str:
    """Stage, source, author, age and replies on one line."""
    post, replies = card["post"], card["replies"]
    return " · ".join(
        (
            i18n.say(language, f"stage.{card['stage']}"),
            escaped(source_name(language, post["source"]), _LINE),
            escaped(post["author"] or i18n.say(language, "anonymous"), _LINE),
            i18n.age(language, card["age_hours"]),
            i18n.say(language, "replies", n=replies)
            if replies
            else i18n.say(language, "replies.none"),
        )
    )


def _open(post: Mapping[str, Any], language: str) -> str:
    """A link to the post whose words name the host it leads to; "" without an address."""
    if not post["url"]:
        return ""
    return _link(post["url"], i18n.say(language, "open", host=post["host"]))


def _link(url: str, words: str) -> str:
    target = link(url)
    return f"<{target.href.replace('&', '&amp;')}|{escaped(words, _LINE)}>" if target else ""


def _section(piece: str) -> dict[str, Any]:
    # verbatim: no name or address that somebody wrote becomes a mention or a link
    return {
        "type": "section",
        "text": {"type": "mrkdwn", "text": piece[:_BLOCK], "verbatim": True},
    }


def _joined(pieces: Sequence[str]) -> str:
    """The pieces that fit into a text, from the first one on."""
    text = pieces[0]
    for piece in pieces[1:]:
        if len(text) + len(piece) + 1 > _TEXT:
            break
        text += f"\n{piece}"
    return text
