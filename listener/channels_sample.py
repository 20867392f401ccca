"""A message to try a channel with: an alert that says of itself that it is a test."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from .channels import Parcel
from .config import Config
from .config_fields import Language
from .envelope import compose
from .messages import AlertMessage, ConversationCard, PostCard, render_alert
from .outbox import message_id
from .payload import alert_data
from .store import stamp

_MARK: dict[Language, str] = {"en": "[Test]", "es": "[Prueba]"}
_TITLE: dict[Language, str] = {
    "en": "A test message of Listener",
    "es": "Un mensaje de prueba de Listener",
}
_TEXT: dict[Language, str] = {
    "en": "A test message of Listener: this channel works. In a real alert, what somebody wrote "
    "stands here. “Which coffee machine would you buy for a small flat?”",
    "es": "Un mensaje de prueba de Listener: este canal funciona. En una alerta de verdad, aquí "
    "está lo que alguien ha escrito. «¿Qué cafetera compraríais para un piso pequeño?»",
}


def sample_parcel(config: Config, address: str, language: Language, *, now: datetime) -> Parcel:
    """The test message for `address`; another one for each `now`, so that none is a repetition."""
    post = PostCard(
        author="@listener",
        reach=None,
        source="sample",
        published_at=now - timedelta(hours=1),
        text=_TEXT[language],
        url="https://example.com/",
    )
    card = ConversationCard(
        title=_TITLE[language],
        stage="consideration",
        probability=0.9,
        about=(config.brand.name,),
        reasons=(),
        post=post,
        replies=0,
        age_hours=1,
        moved=False,
        language=language,
    )
    alert = AlertMessage(id="test", rule="test", conversation=card, timeline=(post,))
    rendered = render_alert(alert, language=language, timezone=config.digest.timezone)
    ref = f"test-{stamp(now)}"
    message = compose(
        replace(rendered, subject=f"{_MARK[language]} {rendered.subject}"),
        sender=config.channels.sender,
        recipient=address,
        message_id=message_id("alert", ref, address),
        date=now,
    )
    data = alert_data(alert, language) | {"test": True}
    return Parcel(kind="alert", ref=ref, key=f"{ref}-{address}", message=message, data=data)
