"""Digests as a reader gets them: an empty day, a small one and one with more than there is room."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from listener.digest_changes import Change
from listener.digest_shown import Move
from listener.explain import Reason
from listener.messages import (
    AdvocateCard,
    AuditCard,
    ConversationCard,
    DayCount,
    DigestMessage,
    PostCard,
    PostGroup,
    SentimentCount,
)
from listener.statement import SourceCoverage

NOW = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)


def post(text: str, *, author: str = "ana_cafe", reach: str | None = None) -> PostCard:
    return PostCard(
        author=author,
        reach=reach,
        source="reddit",
        published_at=NOW - timedelta(hours=3),
        text=text,
        url="https://www.reddit.com/r/coffee/comments/abc/",
    )


CARD = ConversationCard(
    title="Lumora or Moketto for a tiny flat?",
    stage="consideration",
    probability=0.91,
    about=("Lumora", "Moketto"),
    reasons=(
        Reason(code="early_probability", value=0.91, quote=None),
        Reason(code="signal", value="comparison", quote=None),
    ),
    post=post("Lumora or Moketto for a tiny flat? We are two and the kitchen is small."),
    replies=4,
    age_hours=3.2,
    moved=True,
    language="en",
    news=(Move(code="stage"), Move(code="others", n=2)),
    score=88,
    answered=3,
    answerers=("ben", "cleo"),
    options=("Moketto",),
)
EMPTY = DigestMessage(
    day=date(2026, 11, 21),
    timezone="Europe/Madrid",
    brand="Lumora",
    mentions=0,
    mentions_usual=None,
    stages={},
    sentiment=(),
    share_of_voice=(),
    join_now=(),
    held_back=0,
    praise=(),
    complaints=(),
    ideas=(),
    unanswered=(),
    coverage=(SourceCoverage(source="reddit", fetched=120, kept=0, new=0, failed=None),),
)
SMALL = replace(
    EMPTY,
    mentions=62,
    mentions_usual=41.0,
    mentions_late=2,
    stages={"none": 18, "awareness": 9, "consideration": 14, "decision": 4, "post_purchase": 17},
    changes=(Change(what="negative", name="Lumora", count=11, usual=3.0),),
    trend=tuple(
        DayCount(day=date(2026, 11, day), positive=day % 5, neutral=9, negative=day % 3)
        for day in range(8, 22)
    ),
    sentiment=(
        SentimentCount(entity="Lumora", positive=21, neutral=28, negative=11),
        SentimentCount(entity="Moketto", positive=3, neutral=12, negative=5),
    ),
    share_of_voice=(("Lumora", 60), ("Moketto", 20)),
    join_now=(
        CARD,
        replace(
            CARD,
            title="¿Qué cafetera para una oficina de doce?",
            post=post("Somos doce y no hay toma de agua.", author="gestoria_sur", reach="nano"),
            language="es",
            moved=False,
            news=(),
            replies=0,
            answered=0,
            answerers=(),
            options=(),
        ),
    ),
    still_open=3,
    held_back=1,
    complaints=(
        PostGroup(post=post("The drip tray leaks."), posts=5, words=("tray", "leaks")),
        PostGroup(post=post("The app has lost my drinks.")),
    ),
    ideas=(PostGroup(post=post("It should warn before it needs descaling.")),),
    praise=(PostGroup(post=post("Best coffee we ever had in the office.")),),
    advocates=(
        AdvocateCard(
            post=post("Get the Brisa, you will not regret it.", author="eva", reach="nano"),
            posts=3,
            rate=0.045,
        ),
    ),
    unanswered=(post("Can the grinder be taken out?"),),
    missed=(replace(CARD, reasons=CARD.reasons[1:], post=post("Which one is quiet?")),),
    audit=(
        AuditCard(
            number=7,
            post=post("My brother needs one, too."),
            links={
                "missed": "https://listener.example.com/a/1",
                "right": "https://listener.example.com/a/2",
            },
        ),
    ),
    coverage=(
        SourceCoverage(source="reddit", fetched=1412, kept=38, new=31, failed=None),
        SourceCoverage(source="rss", fetched=0, kept=0, new=0, failed="the feed did not answer"),
    ),
    unsubscribe="https://listener.example.com/u/token",
)
_LONG = "It leaks, it hums and nobody answers when I write to them about it. " * 30
HUGE = replace(
    SMALL,
    join_now=tuple(
        replace(CARD, title=f"Conversation {n}", post=post(_LONG)) for n in range(1, 51)
    ),
    complaints=tuple(PostGroup(post=post(_LONG), posts=n) for n in range(60, 0, -1)),
    unanswered=(post(_LONG),) * 60,
    share_of_voice=tuple((f"Maker {n}", 1000 // n) for n in range(1, 30)),
    sentiment=(),
)
DIGESTS = {"empty": EMPTY, "small": SMALL, "huge": HUGE}
