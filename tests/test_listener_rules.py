from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import RECIPIENTS, at, config

from listener.rules import (
    Found,
    Rule,
    allowed,
    early,
    key_of,
    praised,
    rules_of,
    spike,
    threshold_of,
    unanswered,
    watched,
)

FOUND = Found(
    conversation_id=1,
    mention_id=1,
    source="forum",
    root_id="r",
    at=at(-5),
    language="en",
    stage="awareness",
    probability=0.8,
    about=(("category", "espresso machine"),),
    author=frozenset({"ana"}),
    followers=500,
)
OURS = ("product", "Lumora Brisa")
THEIRS = ("competitor", "Moketto")
NEED = ("category", "espresso machine")


def rule(settings: str = "", *, common: str = "") -> Rule:
    text = f"[alerts]\n{common}\n[[alerts.rules]]\nname = 'r'\n{settings}"
    (found,) = rules_of(config(RECIPIENTS + text))
    return found


# -- what rules inherit


def test_without_rules_there_is_one() -> None:
    (only,) = rules_of(config())
    assert (only.name, only.type) == ("early-funnel", "early-funnel")
    assert [person.name for person in only.recipients] == ["Ana", "Ben"]


def test_rules_take_from_above_what_they_leave_out() -> None:
    common = """
        minimum = { en = 0.6 }
        stages = ["decision"]
        kinds = ["brand"]
        languages = ["es"]
        sources = ["forum"]
        max_age_hours = 5
    """
    silent = rule(common=common)
    assert silent.minimum == {"en": 0.6}
    assert (silent.stages, silent.kinds) == (("decision",), ("brand",))
    assert (silent.languages, silent.sources) == (("es",), ("forum",))
    assert silent.max_age == timedelta(hours=5)
    own = """
        minimum = { es = 0.9 }
        stages = ["awareness"]
        kinds = ["category"]
        languages = []
        sources = ["x", "y"]
        max_age_hours = 9
    """
    loud = rule(own, common=common)
    assert loud.minimum == {"es": 0.9}
    assert (loud.stages, loud.kinds) == (("awareness",), ("category",))
    assert (loud.languages, loud.sources) == ((), ("x", "y"))
    assert loud.max_age == timedelta(hours=9)


def test_the_minimum_of_an_open_choice_is_none_of_praise() -> None:
    common = "minimum = { en = 0.6 }"
    assert rule("type = 'advocate'", common=common).minimum == {}
    assert rule("type = 'advocate'\nminimum = { en = 0.5 }", common=common).minimum == {"en": 0.5}


def test_cooldown_is_a_day_for_a_crisis_unless_said() -> None:
    assert rule().cooldown == timedelta(0)
    assert rule("type = 'crisis'").cooldown == timedelta(hours=24)
    assert rule("type = 'crisis'\ncooldown_hours = 0").cooldown == timedelta(0)


def test_readers_are_those_named_or_all_who_receive_alerts() -> None:
    assert [p.name for p in rule().recipients] == ["Ana", "Ben"]
    assert [p.name for p in rule("recipients = ['BEN@example.com']").recipients] == ["Ben"]
    assert [p.name for p in rule("recipients = ['ben', 'Ana']").recipients] == ["Ana", "Ben"]


def test_rules_that_are_off_are_left_out() -> None:
    rules = "[[alerts.rules]]\nname = 'a'\nenabled = false\n[[alerts.rules]]\nname = 'b'"
    assert [one.name for one in rules_of(config(rules))] == ["b"]


def test_conversations_are_judged_by_the_loosest_rule() -> None:
    rules = """
        [alerts]
        kinds = ["category"]
        minimum = { en = 0.6 }
        [[alerts.rules]]
        name = "a"
        minimum = { en = 0.7 }
        [[alerts.rules]]
        name = "b"
        minimum = { es = 0.2 }
        stages = ["decision"]
        kinds = ["brand"]
        [[alerts.rules]]
        name = "c"
        type = "advocate"
        minimum = { en = 0.1 }
    """
    least, stages, kinds = watched(config(rules), {"*": 0.5, "en": 0.8, "es": 0.4})
    assert least == {"*": 0.5, "en": 0.6, "es": 0.2}
    assert stages == ("awareness", "consideration", "decision")
    assert kinds == ("category", "brand")


def test_conversations_are_judged_for_the_digest_too() -> None:
    only = "[[alerts.rules]]\nname = 'a'\ntype = 'crisis'"
    assert watched(config(only), {"*": 0.5}) == watched(config(), {"*": 0.5})
    assert watched(config(), {"*": 0.5})[:2] == ({"*": 0.5}, ("awareness", "consideration"))


# -- the early funnel


def test_the_threshold_is_the_rules_own_or_the_models() -> None:
    own = rule("minimum = { es = 0.9 }")
    model = {"en": 0.6, "*": 0.3}
    assert [threshold_of(own, lang, model) for lang in ("es", "en", "und")] == [0.9, 0.6, 0.3]
    assert threshold_of(own, "en") == 0


@pytest.mark.parametrize(("probability", "fires"), [(0.59, False), (0.6, True)])
def test_early_needs_the_threshold(probability: float, fires: bool) -> None:
    found = replace(FOUND, probability=probability)
    assert early(rule(), found, {"en": 0.6, "*": 0.9}) is fires
    assert early(rule("minimum = { en = 0.6 }"), found, {"*": 0.9}) is fires


@pytest.mark.parametrize(
    ("settings", "changes", "fires"),
    [
        ("", {}, True),
        ("", {"stage": "decision"}, False),
        ('stages = ["decision"]', {"stage": "decision"}, True),
        ('kinds = ["brand"]', {}, False),
        ('kinds = ["brand", "category"]', {}, True),
        ('languages = ["es"]', {}, False),
        ('languages = ["es"]', {"language": "es"}, True),
        ('sources = ["reddit"]', {}, False),
        ('sources = ["reddit", "forum"]', {}, True),
        ("min_followers = 500", {}, True),
        ("min_followers = 501", {}, False),
        ("min_followers = 1", {"followers": None}, False),
        ("max_followers = 500", {}, True),
        ("max_followers = 499", {}, False),
        ("max_followers = 499", {"followers": None}, True),
        ('exclude_authors = ["@ANA"]', {}, False),
        ('exclude_authors = ["bob"]', {}, True),
        ('exclude_authors = ["ana"]', {"author": frozenset()}, True),
    ],
)
def test_filters(settings: str, changes: dict[str, Any], fires: bool) -> None:
    assert early(rule(settings), replace(FOUND, **changes)) is fires


def test_the_brands_own_accounts_are_left_out() -> None:
    base = config()
    brand = base.brand.model_copy(update={"handles": ("@Lumora_HQ",)})
    (only,) = rules_of(base.model_copy(update={"brand": brand}))
    assert not allowed(only, replace(FOUND, author=frozenset({"lumora_hq"})))
    assert allowed(only, FOUND)


@pytest.mark.parametrize(
    ("focus", "about", "signals", "fires"),
    [
        ("category", (NEED,), (), True),
        ("category", (THEIRS,), (), False),
        ("product", (OURS,), (), True),
        ("product", (("brand", "Lumora"),), (), True),
        ("product", (NEED, THEIRS), (), False),
        ("switching", (THEIRS,), ("switching",), True),
        ("switching", (THEIRS, OURS), ("comparison",), True),
        ("switching", (THEIRS,), ("complaint",), False),
        ("switching", (OURS,), ("switching",), False),
        ("comparison-without-us", (THEIRS, NEED), ("comparison",), True),
        ("comparison-without-us", (THEIRS, OURS), ("comparison",), False),
        ("comparison-without-us", (THEIRS, ("brand", "Lumora")), ("comparison",), False),
        ("comparison-without-us", (THEIRS,), ("switching",), False),
        ("comparison-without-us", (NEED,), ("comparison",), False),
    ],
)
def test_focus(
    focus: str, about: tuple[tuple[str, str], ...], signals: tuple[str, ...], fires: bool
) -> None:
    found = replace(FOUND, about=about, signals=frozenset(signals))
    assert early(rule(f"focus = ['{focus}']"), found) is fires


def test_any_focus_of_a_rule_is_enough() -> None:
    both = rule("focus = ['product', 'category']")
    assert early(both, FOUND)
    assert early(both, replace(FOUND, about=(OURS,)))
    assert not early(both, replace(FOUND, about=(THEIRS,)))


# -- once, and again


@pytest.mark.parametrize(
    ("before", "stage", "urgent", "key"),
    [
        ([], "awareness", False, "r:forum:r"),
        ([], "awareness", True, "r:forum:r"),
        ([("awareness", False)], "awareness", False, None),
        ([("awareness", False)], "consideration", False, "r:forum:r:consideration"),
        ([("awareness", False)], "awareness", True, "r:forum:r:urgent"),
        ([("awareness", False)], "consideration", True, "r:forum:r:consideration"),
        ([("awareness", True)], "awareness", True, None),
        ([("consideration", False)], "awareness", False, None),
        ([("awareness", False), ("consideration", False)], "consideration", False, None),
        ([("consideration", False), ("awareness", False)], "consideration", False, None),
        ([("consideration", True)], "decision", False, "r:forum:r:decision"),
        ([("", False)], "decision", False, None),
    ],
)
def test_a_conversation_is_told_of_once_and_when_it_moves(
    before: list[tuple[str, bool]], stage: str, urgent: bool, key: str | None
) -> None:
    assert key_of(rule(), replace(FOUND, stage=stage, urgent=urgent), before) == key


@pytest.mark.parametrize("kind", ["advocate", "unanswered"])
def test_other_rules_tell_of_a_conversation_once(kind: str) -> None:
    found = replace(FOUND, stage="decision", urgent=True)
    other = rule(f"type = '{kind}'")
    assert key_of(other, found, []) == "r:forum:r"
    assert key_of(other, found, [("awareness", False)]) is None


# -- advocates


@pytest.mark.parametrize(
    ("followers", "praises", "fires"),
    [(999, 1, False), (1000, 1, True), (None, 1, False), (None, 2, True), (5, 3, True)],
)
def test_an_advocate_is_heard_or_says_it_again(
    followers: int | None, praises: int, fires: bool
) -> None:
    assert praised(rule("type = 'advocate'"), replace(FOUND, followers=followers), praises) is fires


def test_an_advocate_obeys_minimum_and_filters() -> None:
    known = replace(FOUND, followers=5000)
    assert not praised(rule("type = 'advocate'\nminimum = { en = 0.9 }"), known, 1)
    assert not praised(rule("type = 'advocate'\nsources = ['x']"), known, 1)
    assert not praised(rule("type = 'advocate'\nfollowing = 6000\npraises = 4"), known, 3)


# -- questions


@pytest.mark.parametrize(
    ("hours", "fires"), [(3.9, False), (4.0, True), (72.0, True), (72.1, False)]
)
def test_a_question_waits_its_hours_and_no_longer_than_it_matters(
    hours: float, fires: bool
) -> None:
    asked = replace(FOUND, at=at(-hours))
    assert unanswered(rule("type = 'unanswered'\nhours = 4"), asked, now=at(0)) is fires


def test_a_question_obeys_minimum_and_filters() -> None:
    assert not unanswered(rule("type = 'unanswered'\nminimum = { en = 0.9 }"), FOUND, now=at(0))
    assert not unanswered(rule("type = 'unanswered'\nlanguages = ['es']"), FOUND, now=at(0))


# -- a crisis

CRISIS = rule("type = 'crisis'\nfactor = 2.0\nmin_count = 5\nlevel = 0.001")


def test_the_tail_is_poissons() -> None:
    found = spike(CRISIS, 12, [2, 3, 1, 2])
    assert found is not None
    rate = 8.5 / 4
    by_hand = 1 - sum(math.exp(-rate) * rate**k / math.factorial(k) for k in range(12))
    assert found.tail == pytest.approx(by_hand, rel=1e-6)
    assert (found.posts, found.usual) == (12, 2.0)


@pytest.mark.parametrize(
    ("settings", "count", "weeks", "fires"),
    [
        ("", 9, [1, 1, 1, 1], True),
        ("min_count = 10", 9, [1, 1, 1, 1], False),
        ("", 4, [0, 0, 0, 0], False),
        ("", 5, [0, 0, 0, 0], True),
        # Jeffreys' prior: a past of two empty weeks is no proof that nobody ever complains.
        ("level = 1e-6", 5, [0, 0, 0, 0], True),
        ("level = 1e-6", 5, [0, 0], False),
        ("", 5, [3, 3, 3, 3], False),
        # Many more than chance explains, and still not twice the usual.
        ("", 180, [100, 100, 100, 100], False),
        ("factor = 1.5", 180, [100, 100, 100, 100], True),
        ("factor = 9.0", 9, [1, 1, 1, 1], True),
        ("factor = 9.1", 9, [1, 1, 1, 1], False),
        # Without a past nobody can say what is unusual.
        ("", 50, [0], False),
        ("", 50, [], False),
        ("", 50, [0, 0], True),
    ],
)
def test_a_crisis_is_many_and_unusual(
    settings: str, count: int, weeks: list[int], fires: bool
) -> None:
    assert (spike(rule(f"type = 'crisis'\n{settings}"), count, weeks) is not None) is fires
