"""Alert e-mails as they are sent, compared with what was read and found good."""

from __future__ import annotations

import pytest
from alerts_written import ALERTS, NOW
from goldens import FOLDER, assert_golden

from listener.envelope import compose
from listener.messages import render_alert
from listener.outbox import message_id


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("name", ALERTS)
def test_alert(name: str, language: str) -> None:
    alert = ALERTS[name]
    message = compose(
        render_alert(alert, language=language, timezone="Europe/Madrid"),
        sender="Listener <listener@example.com>",
        recipient="Ana Ñandú <ana@example.com>",
        message_id=message_id("alert", alert.id, "ana@example.com"),
        date=NOW,
        list_name="alert",
        thread=message_id("conversation", str(alert.conversation_id), "ana@example.com"),
        unsubscribe=alert.unsubscribe,
    )
    assert_golden(f"alert-{name}-{language}", message)


def test_no_file_is_left_over() -> None:
    kept = {path.stem for path in FOLDER.glob("alert-*.*")}
    assert kept == {f"alert-{name}-{language}" for name in ALERTS for language in ("en", "es")}
