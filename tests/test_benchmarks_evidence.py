"""The figures of benchmarks/evidence.py, on alerts and conversations counted by hand."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest

ROOT = Path(__file__).parents[1]
LIMA = ZoneInfo("America/Lima")
TRUTH = {1: True, 2: False, 3: True, 4: True}


@pytest.fixture(scope="module")
def evidence() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield importlib.import_module("benchmarks.evidence")


@pytest.fixture(scope="module")
def cases(evidence: ModuleType) -> ModuleType:
    return importlib.import_module("benchmarks.evidence_cases")


def alert(conversation: int, at: str, score: int, probability: float = 0.5) -> dict[str, Any]:
    return {
        "conversation": conversation,
        "mention": conversation,
        "at": at,
        "score": score,
        "probability": probability,
    }


def counted(share: dict[str, Any]) -> tuple[int, int]:
    return share["useful"], share["n"]


def test_best_are_those_of_each_day_of_the_zone(evidence: ModuleType) -> None:
    alerts = [
        alert(1, "2026-01-02T06:00:00Z", 90),
        # Still the first of January in Lima.
        alert(2, "2026-01-02T04:00:00Z", 80),
        alert(3, "2026-01-02T07:00:00Z", 70),
    ]
    assert counted(evidence.best(alerts, 1, TRUTH, "score", LIMA)) == (1, 2)
    assert counted(evidence.best(alerts, 1, TRUTH, "score", ZoneInfo("UTC"))) == (1, 1)
    assert counted(evidence.best(alerts, 2, TRUTH, "score", None)) == (1, 2)


def test_a_conversation_counts_by_its_first_alert(evidence: ModuleType) -> None:
    alerts = [
        alert(2, "2026-01-02T06:00:00Z", 10),
        alert(2, "2026-01-02T08:00:00Z", 99),
        alert(1, "2026-01-02T09:00:00Z", 50),
    ]
    assert counted(evidence.best(alerts, 1, TRUTH, "score", None)) == (1, 1)


def test_best_can_be_those_of_the_highest_probability(evidence: ModuleType) -> None:
    alerts = [
        alert(1, "2026-01-02T06:00:00Z", 60, probability=0.9),
        alert(2, "2026-01-02T06:00:00Z", 80, probability=0.6),
        alert(9, "2026-01-02T06:00:00Z", 99, probability=0.1),
    ]
    assert counted(evidence.best(alerts, 1, TRUTH, "probability", None)) == (1, 1)
    # What is not labelled takes a place and is not counted.
    assert counted(evidence.best(alerts, 2, TRUTH, "score", None)) == (0, 1)


def test_tables_replace_what_stands_between_the_markers(evidence: ModuleType) -> None:
    page = "before\n<!-- evidence -->\nold\n<!-- /evidence -->\nafter\n"
    once = evidence.replaced(page, "new")
    assert once == "before\n<!-- evidence -->\nnew\n<!-- /evidence -->\nafter\n"
    assert evidence.replaced(once, "new") == once
    with pytest.raises(ValueError, match="lacks"):
        evidence.replaced("no markers", "new")


def test_a_choice_is_settled_by_the_first_post_of_its_asker_that_says_so(cases: ModuleType) -> None:
    def post(minutes: float, who: str, root: str | None = "a") -> dict[str, Any]:
        return {"minutes_before": minutes, "root": root, "author": {"handle": who}}

    posts = {
        "a": post(90, "ana", None),
        "b": post(80, "ben"),
        "c": post(70, "ana"),
        "d": post(60, "ana"),
        "e": post(50, "eva", None),
    }
    asks, owns = {"early": 1, "stage": "consideration"}, {"early": 0, "stage": "post_purchase"}
    labels = {"a": asks, "b": owns, "c": owns, "d": owns, "e": owns}
    assert dict(cases._settled(posts, labels)) == {"a": cases.NOW - timedelta(minutes=70)}


def test_settled_conversations_of_the_sample_are_those_labelled_so(cases: ModuleType) -> None:
    lines = (ROOT / "connectors" / "data" / "sample_labels.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    decided = {row["id"] for row in rows if row.get("conversation", {}).get("decided")}
    assert decided <= cases.sample().settled.keys()


def test_a_labelled_post_is_found_by_its_beginning(cases: ModuleType) -> None:
    whole = "A title\n\n" + "many  words " * 40
    cut = "A title\n" + "many words " * 20 + "…"
    assert cases._key("forum", whole) == cases._key("forum", cut)
    assert cases._key("forum", whole) != cases._key("other", cut)
    assert cases._key("forum", whole) != cases._key("forum", "Another title\n" + whole)
