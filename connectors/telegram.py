"""Chats as Telegram Desktop exports them: `result.json` of one chat, or of all of them."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

import ijson

from .base import Author, BadConfig, Capabilities, Counts, Mention
from .files import FileConnector
from .mapping import NO_DATE, NO_ZONE, Mapped, OddRecord
from .records import MAX_DEPTH, TOO_DEEP, Place, Record, guarded
from .text import clean_text, web_url
from .values import read_count, read_id, read_text, read_time

# Talks between people, which an export of everything has beside groups and channels.
_PRIVATE = frozenset({"personal_chat", "bot_chat", "saved_messages", "verification_codes"})
_MESSAGES = ("messages.item", "chats.list.item.messages.item")
_ABOUT = ("name", "type", "id")
_OPENING, _CLOSING = ("start_map", "start_array"), ("end_map", "end_array")
_DEEPEST_PATH = 5
PRIVATE = "in a private chat (export that chat alone to import it)"
SERVICE = "a note of Telegram, no message"


class Telegram(FileConnector):
    """Messages of channels and groups (and of a private chat that was exported alone)."""

    unit = "message"

    def __init__(
        self,
        path: str | Path,
        mapping: Mapping[str, str] | None = None,
        source: str | None = None,
        page_size: int = 1000,
    ) -> None:
        if mapping:
            raise BadConfig("--map does not apply to Telegram, whose fields are known")
        super().__init__(path, None, source or "telegram", page_size)

    def capabilities(self) -> Capabilities:
        """What this connector can do; makes no request."""
        return Capabilities(
            by_query=False,
            prefiltered=True,
            gives="messages of channels and groups of Telegram",
            needs="result.json, exported by Telegram Desktop",
        )

    def _grows(self, stream: IO[bytes]) -> bool:
        return False

    def _records(self, stream: IO[bytes], start: Place) -> Iterator[Record]:
        stream.seek(0)
        stream.seek(len(BOM_UTF8) if stream.read(len(BOM_UTF8)) == BOM_UTF8 else 0)
        messages, count = _messages(stream), 0
        while True:
            try:
                found = guarded(partial(next, messages, None), f"message {count}")
            except (ijson.JSONError, ValueError):
                raise BadConfig(
                    f"not valid JSON after message {count}; what stands before it was read. Export "
                    "the chat again as JSON"
                ) from None
            if found is None:
                return
            message, chat = found
            count += 1
            if count > start.at:
                yield Record(
                    line=count,
                    size=len(str((message or {}).get("text") or "")) + 200,
                    after=Place(count, count),
                    value=message and {**message, "chat": chat},
                    problem=TOO_DEEP if message is None else None,
                )

    def _mentions(self, value: object, now: datetime) -> Mapped:
        return message_mentions(value, source=self.source, now=now)


def is_export(head: bytes) -> bool:
    """Whether a JSON file that starts like this is an export of Telegram Desktop."""
    chat = b'"messages"' in head and b'"type"' in head and b'"date_unixtime"' in head
    return chat or (b'"about"' in head and b"Telegram" in head)


def message_mentions(value: object, *, source: str = "telegram", now: datetime) -> Mapped:
    """The message in one record, whose `chat` has type, name and id; raises OddRecord.

    Ids are those of chat and message with a slash between, as messages are counted chat by chat.
    """
    if not isinstance(value, Mapping):
        raise OddRecord("not an object")
    chat = value.get("chat")
    chat = chat if isinstance(chat, Mapping) else {}
    if chat.get("one_of_many") and chat.get("type") in _PRIVATE:
        raise OddRecord(PRIVATE)
    if value.get("type") != "message":
        raise OddRecord(SERVICE)
    place, number = read_id(chat.get("id")), read_id(value.get("id"))
    if place is None or number is None:
        raise OddRecord("no id")
    text = _text(value)
    if not text:
        raise OddRecord("no text")
    time = read_time(value.get("date_unixtime")) or read_time(value.get("date"))
    parent = read_id(value.get("reply_to_message_id"))
    elsewhere = value.get("reply_to_peer_id") is not None
    mention = Mention(
        source=source,
        native_id=f"{place}/{number}",
        text=text,
        published_at=time[0] if time else now,
        author=_author(value, source),
        parent_id=f"{place}/{parent}" if parent and parent != number and not elsewhere else None,
        counts=Counts(likes=_reactions(value.get("reactions"))),
        raw={**{key: one for key, one in value.items() if key != "chat"}, "chat": chat.get("name")},
    )
    note = () if time and time[1] else (NO_ZONE,) if time else (NO_DATE,)
    return Mapped((mention,), (), note)


def _messages(stream: IO[bytes]) -> Iterator[tuple[Mapping[str, Any] | None, Mapping[str, Any]]]:
    """Each message with what is known of its chat, one in memory at a time.

    None instead of one that is nested too deep. The path is kept here, as that of `ijson.parse`
    takes memory that grows with the square of the depth.
    """
    chat: dict[str, Any] = {}
    path: list[str] = []
    builder: ijson.ObjectBuilder | None = None
    depth, deep = 0, False
    for event, value in ijson.basic_parse(stream, use_float=True):
        if builder is not None:
            depth += (event in _OPENING) - (event in _CLOSING)
            deep = deep or depth > MAX_DEPTH
            if not deep:
                builder.event(event, value)
            if not depth:
                yield None if deep else builder.value, chat
                builder = None
            continue
        if event == "map_key":
            path[-1] = value
            continue
        if event in _CLOSING:
            path.pop()
            continue
        place = ".".join(path) if len(path) <= _DEEPEST_PATH else ""
        if place in _MESSAGES and event == "start_map":
            builder, depth, deep = ijson.ObjectBuilder(), 1, False
            builder.event(event, value)
            continue
        if place == "chats.list.item" and event == "start_map":
            chat = {"one_of_many": True}
        elif place.removeprefix("chats.list.item.") in _ABOUT:
            chat[path[-1]] = value
        if event in _OPENING:
            path.append("item" if event == "start_array" else "")


def _text(message: Mapping[str, Any]) -> str:
    """The text with its hidden links written out, and the question of a poll with its answers."""
    given = message.get("text")
    parts = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    text = clean_text("".join(map(_part, parts)))
    poll = message.get("poll")
    if not isinstance(poll, Mapping):
        return text
    answers = poll.get("answers")
    lines = [text, read_text(poll.get("question"))]
    for answer in answers if isinstance(answers, list) else ():
        lines.append(read_text(answer.get("text")) if isinstance(answer, Mapping) else None)
    return "\n".join(filter(None, lines))


def _part(part: object) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
        return ""
    link = web_url(part.get("href"))
    return f"{part['text']} ({link})" if link and link != part["text"] else str(part["text"])


def _author(message: Mapping[str, Any], source: str) -> Author | None:
    native_id, name = read_id(message.get("from_id")), read_text(message.get("from"))
    return Author(source=source, native_id=native_id, name=name) if native_id else None


def _reactions(value: object) -> int | None:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    counts = [read_count(one.get("count")) for one in value if isinstance(one, Mapping)]
    return sum(filter(None, counts))
