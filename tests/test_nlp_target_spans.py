"""The sentiment toward a target on hostile texts and with spans that cannot be."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp.base import SENTIMENTS, Tag
from nlp.encoder import Encoder, FunnelTagger

Span = tuple[int, int]

FAMILY = "👩\u200d👩\u200d👧\u200d👦"
PIECES = (
    *("Lumora", " ", "\n", "\x00", "\ud83d", "\udc00", "&amp;", "&#x1F600;", "😍", FAMILY),
    *("https://www.lumora.example/a?b#c", "日本語", "q\u0301\u0489\u035c", "\u202eأي\u202c", "ñ"),
    *("me encanta ", "hate it ", "x" * 700, "日" * 1_500, " " * 1_200),
)
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.text(st.characters(codec=None, exclude_categories=()), max_size=60),
)
PLACES = st.one_of(st.integers(-9, 80), st.integers(-(10**6), 10**6))
SPANS = st.lists(st.tuples(PLACES, PLACES), max_size=4)


@cache
def tagger() -> FunnelTagger:
    return FunnelTagger(Encoder())


def toward(text: str, *spans: Span) -> list[Tag]:
    if tagger()._encoder.heads.toward is None:
        pytest.skip("the model files have no head for the sentiment toward a target")
    (tags,) = tagger().tag_targets([text], ["en"], [spans])
    return [tag for tag in tags if tag.kind == "sentiment_target"]


@settings(max_examples=40, deadline=None)
@given(cases=st.lists(st.tuples(TEXTS, SPANS), max_size=3))
def test_targets_are_characters_of_the_text(
    cases: list[tuple[str, list[Span]]],
) -> None:
    texts, spans = [text for text, _ in cases], [own for _, own in cases]
    found = tagger().tag_targets(texts, ["und"] * len(texts), spans)
    assert len(found) == len(texts)
    for text, own, tags in zip(texts, spans, found, strict=True):
        for tag in tags:
            assert 0 <= tag.score <= 1
            if tag.kind == "sentiment_target":
                assert (tag.start, tag.end) in own
                assert tag.start is not None
                assert tag.end is not None
                assert 0 <= tag.start < tag.end <= len(text)
                assert tag.label in SENTIMENTS
            else:
                assert tag.start is None


@pytest.mark.parametrize("span", [(6, 0), (3, 3), (27, 40), (20, 99), (-6, -1), (-3, 4)])
def test_a_span_that_is_no_part_of_the_text_gets_nothing(span: Span) -> None:
    text = "Lumora is great, I love it."
    assert [(tag.start, tag.end) for tag in toward(text, span, (0, 6))] == [(0, 6)]


@pytest.mark.parametrize("filler", ["a lot of words ", "x", " ", "\n\n\n"])
def test_the_unread_middle_gets_nothing(filler: str) -> None:
    half = (filler * 25_000)[:25_000]
    text = f"Lumora is great. {half} Moketto {half} I love Lumora"
    middle, last = text.index("Moketto"), text.rindex("Lumora")
    spans = (0, 6), (middle, middle + 7), (last, last + 6)
    assert len(text) > 50_000
    assert [(tag.start, tag.end) for tag in toward(text, *spans)] == [spans[0], spans[2]]


def test_a_joined_emoji_can_be_a_target() -> None:
    text = f"Nothing beats {FAMILY}, we love it"
    start = text.index(FAMILY)
    (tag,) = toward(text, (start, start + len(FAMILY)))
    assert text[tag.start : tag.end] == FAMILY
