from __future__ import annotations

import warnings
from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image

from listener.charts import WIDTH, Bar, Share, drawable, voice, volume

BARS = [Bar(str(day), day * 90, 700, 400 + day) for day in range(9, 23)]
SHARES = [
    Share("Lumora $uno$ ☕", 62, "62 · 63 %", ours=True),
    Share("A name that is so very long that it cannot stand", 37, "37 · 37 %", ours=False),
]
WORDS = {"positive": "Positivas", "neutral": "Neutras", "negative": "Negativas"}


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.mark.parametrize("png", [volume(BARS, **WORDS), voice(SHARES)], ids=["volume", "voice"])
def test_a_chart_is_small_sharp_and_on_white(png: bytes) -> None:
    assert len(png) < 25_000
    image = Image.open(BytesIO(png))
    assert image.format == "PNG"
    assert image.width == 2 * WIDTH
    corners = [(0, 0), (image.width - 1, 0), (0, image.height - 1)]
    assert {image.convert("RGB").getpixel(at) for at in corners} == {(255, 255, 255)}


def test_the_same_figures_make_the_same_file() -> None:
    assert volume(BARS, **WORDS) == volume(BARS, **WORDS)
    assert volume(BARS, **WORDS) != volume(BARS[1:], **WORDS)


def test_negative_is_told_by_a_pattern() -> None:
    """In a bar of one sentiment, only negative has stripes of white in it."""

    def stripes(bar: Bar) -> bool:
        image = Image.open(BytesIO(volume([bar], **WORDS))).convert("RGB")
        column = {image.getpixel((image.width // 2, y)) for y in range(200, 340)}
        return len(column) > 1

    assert stripes(Bar("1", 0, 0, 9))
    assert not stripes(Bar("1", 9, 0, 0))
    assert not stripes(Bar("1", 0, 9, 0))


def test_days_without_a_mention_are_drawn() -> None:
    assert volume([Bar("1", 0, 0, 0), Bar("2", 0, 0, 0)], **WORDS).startswith(b"\x89PNG")


def test_what_the_font_has_not_is_not_drawable() -> None:
    assert drawable("Ñandú & Söhne, Ελλάδα")
    assert not drawable("中文")
    assert not drawable("\U0001f44d")
