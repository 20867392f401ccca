"""Digests as they are sent, compared with what was read and found good."""

from __future__ import annotations

from dataclasses import replace

import pytest
from digests_written import CARD, DIGESTS, NOW, SMALL
from goldens import FOLDER, assert_golden
from hypothesis import given, settings
from spoiling import PIECES, assert_harmless, hostile, spoil

from listener.envelope import compose
from listener.messages import render_digest
from listener.outbox import message_id

# Without the codes of ours that no stranger fills.
OPEN = replace(SMALL, changes=(), join_now=(replace(CARD, news=()),) * 2)


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("name", DIGESTS)
def test_digest(name: str, language: str) -> None:
    digest = DIGESTS[name]
    message = compose(
        render_digest(digest, language=language),
        sender="Listener <listener@example.com>",
        recipient="Ana Ñandú <ana@example.com>",
        message_id=message_id("digest", digest.day.isoformat(), "ana@example.com"),
        date=NOW,
        list_name="digest",
        unsubscribe=digest.unsubscribe,
    )
    assert_golden(f"digest-{name}-{language}", message)


def test_no_file_is_left_over() -> None:
    kept = {path.stem for path in FOLDER.glob("digest-*.*")}
    assert kept == {f"digest-{name}-{language}" for name in DIGESTS for language in ("en", "es")}


@pytest.mark.parametrize("text", PIECES, ids=range(len(PIECES)))
def test_each_known_trick_stays_text(text: str) -> None:
    assert_harmless(render_digest(spoil(OPEN, text), language="es"))


@given(text=hostile())
@settings(max_examples=10, deadline=None)
def test_any_text_makes_a_harmless_digest(text: str) -> None:
    assert_harmless(render_digest(spoil(OPEN, text), language="en"))
