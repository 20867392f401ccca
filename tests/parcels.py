"""Parcels that the tests of the channels send: ordinary ones, and ones full of hostile text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import escape

from listener.channels import Parcel
from listener.config_fields import Language
from listener.envelope import Rendered, compose
from listener.explain import Event, Outcome, Reason
from listener.messages import (
    AdvocateCard,
    AlertMessage,
    AuditCard,
    ConversationCard,
    DayCount,
    DigestMessage,
    PostCard,
    PostGroup,
    SentimentCount,
)
from listener.options import Option
from listener.payload import alert_data, digest_data
from listener.scoring import Part
from listener.statement import SourceCoverage

NOW = datetime(2026, 11, 21, 17, 40, tzinfo=UTC)
RECIPIENT = "ana@example.org"
SUBJECT = {"alert": "Choice still open: Lumora & Cafetto", "digest": "Lumora: 9 to join"}
WORDS = "Lumora or Cafetto for a tiny flat?"
HOSTILE = (
    "<!channel> <@U123> @everyone @here [bank](https://evil.example) ![x](y) <https://a.example|b> "
    "<script>alert(1)</script> & {{7*7}} {% include 'x' %} *bold* `code`\r\nBcc: v@example.org\r\n"
    "\r\n.\r\nRSET \u202egnp.exe\u2066\u200b\x00\x1b[31m pаypal.com " + "\U0001f44d" * 5000
)
POST = PostCard(
    author="ana_cafe",
    reach="nano",
    source="reddit",
    published_at=NOW - timedelta(hours=3),
    text=f"{WORDS} We are two, and the kitchen is small & dark.",
    url="https://www.reddit.com/r/coffee/comments/abc/?a=1&b=2",
)
CARD = ConversationCard(
    title=WORDS,
    stage="consideration",
    probability=0.91234,
    about=("Lumora", "Cafetto"),
    reasons=(Reason(code="matched", value="Cafetto", quote="Cafetto Mini"),),
    post=POST,
    replies=2,
    age_hours=3.21,
    moved=False,
    language="en",
)
ALERT = AlertMessage(
    id="57",
    rule="early-funnel",
    conversation=CARD,
    timeline=(POST,),
    score=78,
    parts=(Part(code="urgent", points=5, quote="by Friday"),),
    events=(Event(at=NOW, kind="option", entity="Cafetto", author="pete", quote="get a Cafetto"),),
    outcome=Outcome(outcome="other", entity="Cafetto", quote=None),
    options=(Option(name="Cafetto", ours=False, asker=True, others=1, recommended=1),),
    conversation_id=9,
    feedback={"useful": "https://listener.example/f/abc?x=1&y=2", "late": "https://l.example/g"},
)
DIGEST = DigestMessage(
    day=date(2026, 11, 21),
    timezone="Europe/Madrid",
    brand="Lumora",
    mentions=62,
    mentions_usual=41.0,
    stages={"awareness": 9, "consideration": 14},
    sentiment=(SentimentCount(entity="Lumora", positive=21, neutral=30, negative=11),),
    share_of_voice=(("Lumora", 60), ("Cafetto", 20)),
    join_now=(CARD,) * 9,
    held_back=1,
    praise=(PostGroup(post=POST, posts=3, words=("crema",)),),
    complaints=(),
    ideas=(),
    unanswered=(POST,),
    coverage=(SourceCoverage(source="reddit", fetched=1412, kept=38, new=31, failed=None),),
    audit=(AuditCard(number=4, post=POST, links={"right": "https://listener.example/a"}),),
    trend=(DayCount(day=date(2026, 11, 20), positive=1, neutral=2, negative=3),),
    advocates=(AdvocateCard(post=POST, posts=4, rate=0.1),),
)


def spoiled_card(text: str) -> ConversationCard:
    """A conversation in which people wrote `text` wherever they can write."""
    reasons = (Reason(code="matched", value=text, quote=text),)
    return replace(
        CARD, title=text, about=(text,), reasons=reasons, post=spoiled_post(text), language=text
    )


def spoiled_post(text: str) -> PostCard:
    return replace(POST, author=text, source=text, text=text, url=text)


def alert(text: str = "") -> AlertMessage:
    """The ordinary alert, or one full of `text`."""
    if not text:
        return ALERT
    return replace(
        ALERT,
        conversation=spoiled_card(text),
        timeline=(spoiled_post(text),) * 3,
        parts=(Part(code="urgent", points=1, quote=text),),
        events=(Event(at=NOW, kind="option", entity=text, author=text, quote=text),),
        outcome=Outcome(outcome="other", entity=text, quote=text),
    )


def digest(text: str = "") -> DigestMessage:
    """The ordinary digest, or one full of `text`."""
    if not text:
        return DIGEST
    group = (PostGroup(post=spoiled_post(text), words=(text,)),)
    return replace(
        DIGEST,
        join_now=(spoiled_card(text),) * 9,
        praise=group,
        complaints=group,
        ideas=group,
        unanswered=(spoiled_post(text),),
        advocates=(AdvocateCard(post=spoiled_post(text), posts=2),),
    )


def parcel(kind: str = "alert", text: str = "", *, language: Language = "en") -> Parcel:
    """An alert or a digest, as the outbox hands it to a channel; the mail around it is plain."""
    said = text or WORDS
    page = f"<html><head></head><body><p>{escape(said)}</p></body></html>"
    rendered = Rendered(subject=SUBJECT[kind], text=said, html=page)
    if kind == "alert":
        return posted("alert", "57", rendered, alert_data(alert(text), language))
    return posted("digest", "2026-11-21", rendered, digest_data(digest(text), language))


def note(*, subject: str = "Lumora: 3 menciones", key: str = "digest-1") -> Parcel:
    """A short digest whose data nobody reads."""
    page = f"<html><head></head><body><p>{WORDS}</p></body></html>"
    rendered = Rendered(subject=subject, text=f"{WORDS}\nñandú\n", html=page)
    return replace(posted("digest", "2026-11-21", rendered, {}), key=key)


def operator() -> Parcel:
    """What the operator gets: any text, and data of its own."""
    text = "The source reddit has gone quiet.\n\nLast post: 20 November.\n"
    rendered = Rendered(subject="A source is quiet", text=text, html="<body></body>")
    return posted("operator", "quiet-reddit", rendered, {"state": "began"})


def posted(kind: str, ref: str, rendered: Rendered, data: dict[str, object]) -> Parcel:
    message = compose(
        rendered,
        sender="Listener <listener@example.org>",
        recipient=f"Ana <{RECIPIENT}>",
        message_id=f"<{kind}-{ref}@example.org>",
        date=NOW,
    )
    return Parcel(
        kind=kind,  # type: ignore[arg-type]  # the three kinds, by name
        ref=ref,
        key=f"{kind}-{ref}-{RECIPIENT}",
        message=message,
        data=data,
    )
