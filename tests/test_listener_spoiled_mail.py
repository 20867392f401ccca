"""Whatever people write: an e-mail about it is well-formed, small, and does nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from alerts_written import LONG, PLAIN
from hypothesis import given, settings
from spoiling import PIECES, assert_harmless, hostile, spoil

from listener.explain import Outcome
from listener.messages import AlertMessage, render_alert

WHOLE = replace(PLAIN, outcome=Outcome(outcome="other", entity="Moketto", quote="Bought it"))


def check(alert: AlertMessage, language: str) -> None:
    assert_harmless(render_alert(alert, language=language, timezone="Europe/Madrid"))


@pytest.mark.parametrize("text", PIECES, ids=range(len(PIECES)))
def test_each_known_trick_stays_text(text: str) -> None:
    check(spoil(WHOLE, text), "en")


@pytest.mark.parametrize("text", ["\U0001f44d" * 5_000, "\u4e2d" * 400, "<&>" * 700])
def test_a_long_thread_of_tricks_stays_small(text: str) -> None:
    check(spoil(LONG, text), "en")


@settings(max_examples=40, deadline=None)
@given(hostile())
def test_tricks_side_by_side_stay_text(text: str) -> None:
    check(spoil(WHOLE, text), "es")


def test_expressions_are_not_computed() -> None:
    spoiled = spoil(WHOLE, "{{7*7}} ${{7*7}}")
    rendered = render_alert(spoiled, language="en", timezone="UTC")
    for part in (rendered.text, rendered.html):
        assert "{{7*7}} ${{7*7}}" in part
        assert "49" not in part.replace("#e9edf0", "")


def test_every_text_of_an_alert_is_spoiled() -> None:
    spoiled = repr(replace(spoil(WHOLE, "\N{SNOWMAN}"), type="", feedback={}))
    for words in ("Moketto", "ana_cafe", "reddit", "tiny flat", "early-funnel'", "57", "pete"):
        assert words not in spoiled
