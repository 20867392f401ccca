"""Alert e-mails end to end: one thread for one conversation, a way out, the reader's words."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from builders import (
    ASKS,
    NOW,
    RECIPIENTS,
    FakeTagger,
    Labels,
    MemoryChannel,
    analyse,
    at,
    config,
    mention,
    put,
    store_in,
)

from listener.alerts import find, save
from listener.deliver import deliver
from listener.links import open_signer
from listener.recipients import is_suppressed
from listener.store import Store
from listener.web import Site, application

NEED, ASK = "Need some espresso machine", "Which espresso machine is good?"
BASE = "https://listener.example.com"
WEB = config(RECIPIENTS + f'[web]\nbase_url = "{BASE}"\n')
TAGGER = FakeTagger({NEED: Labels(stage="awareness", early=0.9), ASK: ASKS})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def mailed(store: Store, *, hours: float) -> list[EmailMessage]:
    """What goes out after a look at the posts."""
    analyse(store, TAGGER)
    save(store, find(store, WEB, now=at(hours)), WEB, now=at(hours))
    channel = MemoryChannel()
    deliver(store, WEB, {"outbox": channel}, now=at(hours))
    return channel.sent


def test_alerts_of_one_conversation_are_one_thread_for_each_reader(store: Store) -> None:
    put(store, mention("1", NEED, by="ana", published_at=at(-2)))
    first = mailed(store, hours=0)
    put(store, mention("2", ASK, by="ana", published_at=at(0.5), root_id="1", parent_id="1"))
    second = mailed(store, hours=1)
    put(store, mention("9", ASK, by="eva", published_at=at(1)))
    other = mailed(store, hours=2)
    assert len(first) == len(second) == len(other) == 2
    for one, two, three in zip(first, second, other, strict=True):
        assert one["To"] == two["To"] == three["To"]
        assert one["Message-ID"] != two["Message-ID"]
        assert one["References"] == one["In-Reply-To"] == two["References"] != three["References"]
        # Gmail shows mails together only where their subjects are the same.
        assert one["Subject"] == two["Subject"]
    assert first[0]["References"] != first[1]["References"]


def test_the_header_of_a_mail_ends_them_by_one_click(store: Store) -> None:
    put(store, mention("1", ASK, by="ana", published_at=at(-1)))
    for message in mailed(store, hours=0):
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        found = re.match(rf"<({BASE}/unsubscribe/[^>]+)>", message["List-Unsubscribe"])
        assert found is not None
        body = message.get_body(("plain",))
        assert body is not None
        assert found[1] in body.get_content()
        reader = message["To"].addresses[0].addr_spec
        assert not is_suppressed(store, reader, "alerts")
        assert click(store, found[1]) == 200
        assert is_suppressed(store, reader, "alerts")
        assert not is_suppressed(store, reader, "digest")
    put(store, mention("2", ASK, by="eva", published_at=at(1)))
    assert mailed(store, hours=2) == []


def click(store: Store, url: str) -> int:
    """What the page answers to a mail program's one click."""
    signer = open_signer(WEB, store.path, os.environ)
    site = Site(config=WEB, database=store.path, signer=signer, clock=lambda: NOW)

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(application(site))
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            return await client.post(url, data={"List-Unsubscribe": "One-Click"})

    return asyncio.run(post()).status_code
