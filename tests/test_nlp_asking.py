from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlp.asking import asking

TALK = "We moved here two years ago and like the town very much. "
CHARLA = "Nos mudamos hace dos años y el pueblo nos gusta mucho. "


@pytest.mark.parametrize(
    ("question", "lang"),
    [
        ("Which coffee machine should I buy?", "en"),
        ("Looking for a coffee machine.", "en"),
        ("I can't decide.", "en"),
        ("Thinking about a quieter one.", "en"),
        ("Busco una cafetera barata.", "es"),
        ("¿Qué cafetera me conviene?", "es"),
        ("no sé si comprar la cafetera", "es"),
        ("Me recomendáis alguna.", "es"),
        ("Busco cafetera.", "und"),
        ("Any good grinder.", "pt"),
    ],
)
def test_questions_and_requests_are_found(question: str, lang: str) -> None:
    talk = CHARLA if lang == "es" else TALK
    text = f"{talk * 3}{question} {talk}"
    assert [text[start:end].strip() for start, end in asking(text, lang)] == [
        question if question[-1] in ".?" else f"{question} {talk.strip()}"
    ]


@pytest.mark.parametrize(("text", "lang"), [(TALK, "en"), (CHARLA, "es"), ("", "en"), ("😀", "es")])
def test_talk_asks_nothing(text: str, lang: str) -> None:
    assert list(asking(text, lang)) == []


@pytest.mark.parametrize("piece", ["? ", "!", "a?\n", "\n", "which one ", "…", "busco "])
def test_hostile_posts_are_read_in_one_pass(piece: str) -> None:
    text = piece * (50_000 // len(piece))
    spans = list(asking(text, "es"))
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))


@given(st.text(max_size=200), st.sampled_from(["en", "es", "und"]))
def test_spans_are_sentences_of_the_text(text: str, lang: str) -> None:
    for start, end in asking(text, lang):
        assert text[start:end]
