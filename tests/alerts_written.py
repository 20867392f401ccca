"""Alerts of every size and temper, ready to be rendered: times and numbers never change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from listener.explain import Event, Outcome, Reason
from listener.messages import AlertMessage, ConversationCard, PostCard
from listener.options import Option
from listener.scoring import Part

NOW = datetime(2026, 11, 21, 17, 40, tzinfo=UTC)
ASKED = NOW - timedelta(hours=3)
PAGE = "https://listener.example.com"
VERDICTS = ("useful", "not-useful", "late", "wrong-brand", "not-a-buyer")
POST = PostCard(
    author="ana_cafe",
    reach="nano",
    source="reddit",
    published_at=ASKED,
    text="Lumora or Moketto for a tiny flat? There are two of us, the kitchen is small, and my "
    "budget is about 300 €. I'd rather not clean it every day…",
    url="https://www.reddit.com/r/coffee/comments/abc/",
)
PLAIN = AlertMessage(
    id="57",
    rule="early-funnel",
    conversation=ConversationCard(
        title="Lumora or Moketto for a tiny flat?",
        stage="consideration",
        probability=0.91,
        about=("Lumora", "Moketto"),
        reasons=(
            Reason(code="signal", value="comparison", quote="Lumora or Moketto"),
            Reason(code="matched", value="Moketto", quote="Moketto"),
        ),
        post=POST,
        replies=2,
        age_hours=3.0,
        moved=False,
        language="en",
    ),
    timeline=(
        POST,
        replace(
            POST,
            author="pete",
            reach=None,
            published_at=ASKED + timedelta(minutes=40),
            text="Get the Moketto. And a decent grinder first!",
            url="https://www.reddit.com/r/coffee/comments/abc/d1/",
        ),
        replace(
            POST,
            author=None,
            reach=None,
            published_at=ASKED + timedelta(hours=2),
            text="Yo tengo la Moketto y va bien.",
            url=None,
        ),
    ),
    score=82,
    parts=(
        Part(code="probability", points=52, value=0.91),
        Part(code="fit", points=14, value="ours-asked", quote="Lumora or Moketto for a tiny flat?"),
        Part(code="age", points=9, value=3.0),
        Part(code="replies", points=8, value=2),
        Part(code="options", points=-4, value=1),
        Part(code="reach", points=3, value=2400),
    ),
    copies=2,
    events=(
        Event(
            at=ASKED,
            kind="comparison",
            entity="",
            author="ana_cafe",
            quote="Lumora or Moketto for a tiny flat?",
        ),
        Event(
            at=ASKED + timedelta(minutes=40),
            kind="recommendation",
            entity="Moketto",
            author="pete",
            quote="Get the Moketto",
        ),
    ),
    options=(
        Option(name="Moketto", ours=False, asker=True, others=2, recommended=1),
        Option(name="Lumora", ours=True, asker=True, others=0, recommended=0),
    ),
    conversation_id=9,
    topic=("Lumora", "Moketto"),
    feedback={verdict: f"{PAGE}/feedback/WzU3XQ.aGVsbG8?v={verdict}" for verdict in VERDICTS},
    unsubscribe=f"{PAGE}/unsubscribe/WzJd.aGVsbG8",
)
BARE = replace(
    PLAIN,
    type="unanswered",
    conversation=replace(PLAIN.conversation, about=(), reasons=(), replies=0, language="und"),
    timeline=(POST,),
    score=0,
    parts=(),
    copies=0,
    events=(),
    options=(),
    topic=(),
    feedback={},
    unsubscribe=None,
)
LONG = replace(
    PLAIN,
    conversation=replace(PLAIN.conversation, replies=240),
    timeline=tuple(
        replace(
            POST,
            author=f"reader_{number}",
            published_at=ASKED + timedelta(minutes=number),
            text=f"Answer {number}: " + "I have had mine for years and it still works. " * 30,
        )
        for number in range(240)
    ),
    events=tuple(
        replace(PLAIN.events[1], at=ASKED + timedelta(minutes=number), author=f"reader_{number}")
        for number in range(240)
    ),
    options=tuple(
        Option(name=f"Maker {number}", ours=False, asker=False, others=40 - number, recommended=1)
        for number in range(40)
    ),
    outcome=Outcome(outcome="competitor", entity="Moketto", quote="Ordered the Moketto today"),
)
NASTY = (
    "<script>alert(1)</script><img src=x onerror=alert(1)> <mj-raw><iframe></mj-raw> {{7*7}} "
    "${{7*7}} {% include 'x' %} =?utf-8?q?Bcc=3A_v=40example.org?= \r\nBcc: v@example.org\r\n\r\n"
    "\u202egnp.exe\u2066\u200b\x00\x1b[31m p\u0430ypal.com e" + "\u0301" * 30 + "\U0001f44d" * 5_000
)
HOSTILE = replace(
    PLAIN,
    rule=NASTY,
    conversation=replace(
        PLAIN.conversation,
        title=NASTY,
        about=(NASTY,),
        reasons=(Reason(code="matched", value=NASTY, quote=NASTY),),
        post=replace(POST, author=NASTY, source=NASTY, text=NASTY, url="javascript:alert(1)"),
    ),
    timeline=(
        POST,
        replace(POST, author=NASTY, text=NASTY, url="data:text/html,<script>alert(1)</script>"),
        replace(POST, text="homoglyph", url="https://www.p\u0430ypal.com/login"),
        replace(POST, text="two hosts", url="https://reddit.com@evil.example/"),
    ),
    events=(Event(at=ASKED, kind="option", entity=NASTY, author=NASTY, quote=NASTY),),
    options=(Option(name=NASTY, ours=False, asker=False, others=1, recommended=0),),
    topic=(NASTY,),
    outcome=Outcome(outcome="other", entity=NASTY, quote=NASTY),
)
ALERTS: Mapping[str, AlertMessage] = {
    "plain": PLAIN,
    "bare": BARE,
    "long": LONG,
    "hostile": HOSTILE,
}
