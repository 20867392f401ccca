import socket
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp.language import FLOOR, Language, detect, normalise, resolve, resolve_batch
from nlp.matching import Matcher
from nlp.patterns import Term

SPANISH = [
    "¿Alguien me recomienda una cafetera que no sea muy cara?",
    "llevo un año con esta lavadora y estoy encantado",
    "NO VUELVO A COMPRAR NADA EN ESA TIENDA",
    "@marta_g mira esto https://shop.example/es/x?y=1 qué bonita la bici nueva 😍😍",
]
ENGLISH = [
    "Does anyone know a good coffee machine under 200 dollars?",
    "I have had this washer for a year and love it",
    "NEVER BUYING ANYTHING FROM THAT SHOP AGAIN",
    "@marta_g look at this https://tienda.example/es/x?y=1 such a pretty new bike 😍😍",
]


def codes(texts: list[str]) -> list[str]:
    return [language.code for language in detect(texts)]


@pytest.mark.parametrize(("code", "texts"), [("es", SPANISH), ("en", ENGLISH)])
def test_both_languages_are_recognised(code: str, texts: list[str]) -> None:
    found = detect(texts)
    assert [language.code for language in found] == [code] * len(texts)
    assert all(0 < language.score <= 1 for language in found)


def test_other_languages_are_not_forced_into_ours() -> None:
    texts = ["Welche Kaffeemaschine könnt ihr empfehlen?", "sto cercando una macchina da caffè"]
    assert codes(texts) == ["de", "it"]


@pytest.mark.parametrize(
    "text", ["", "   ", "🙂🙂 👩‍🚀", "123 456", "https://a.example/x @bob", "\ud800"]
)
def test_no_letters_means_undetermined(text: str) -> None:
    assert detect([text]) == [Language("und", 0.0)]


def test_links_and_handles_do_not_count() -> None:
    noisy = "@the_best_of_english_handles https://example.com/the/best/of/english que rico está"
    assert codes([noisy]) == ["es"]


def test_newlines_and_tabs_and_marks() -> None:
    text = "Hola a todos,\r\n\n¿qué cámara\tme recomiendan\u2028para viajar?\x85\x00"
    decomposed = "Cua\u0301l es la mejor opcio\u0301n? No se\u0301 que\u0301 elegir todavi\u0301a"
    assert codes([text, decomposed]) == ["es", "es"]


def test_long_text_is_read_from_its_beginning() -> None:
    assert codes(["Me gustaría comprar una bicicleta. " * 1500, "x" * 50_000])[0] == "es"


@pytest.mark.parametrize(
    ("declared", "code"),
    [
        ("es", "es"),
        ("es-MX", "es"),
        ("ES_mx", "es"),
        (" spa ", "es"),
        ("eng", "en"),
        ("iw", "he"),
        (["und", "en-GB", "es"], "en"),
        ([], None),
        ("und", None),
        ("qme", None),
        ("zxx", None),
        ("", None),
        ("12", None),
        (None, None),
        (7, None),
    ],
)
def test_declared_codes_are_normalised(declared: object, code: str | None) -> None:
    assert normalise(declared) == code


def test_declared_language_wins_over_a_short_text_only() -> None:
    assert resolve("jaja ok super", "es-AR").code == "es"
    assert resolve("ok super", "en").code == "en"
    assert resolve(SPANISH[0], "en").code == "es"
    assert resolve(ENGLISH[1], ["es"]).code == "en"


def test_declared_language_wins_below_the_floor() -> None:
    unclear = "Lorem Vertigo Kappa Plus Ultra Nokia Motorola Xiaomi Redmi"
    found = resolve(unclear)
    assert found.score < FLOOR
    assert resolve(unclear, "spa") == Language("es", 0.0)


def test_resolve_without_a_declaration_is_detection() -> None:
    assert resolve_batch(SPANISH + ENGLISH, [None] * 8) == detect(SPANISH + ENGLISH)
    assert resolve("", "und") == Language("und", 0.0)
    assert resolve("😀", "es") == Language("es", 0.0)


def test_declarations_must_pair_with_texts() -> None:
    with pytest.raises(ValueError, match="zip"):
        resolve_batch(["a", "b"], ["es"])


def test_no_connection_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert codes(SPANISH[:1]) == ["es"]


def test_importing_loads_no_model_library() -> None:
    check = (
        "import sys, nlp.language; sys.exit('fasttext' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=60), max_size=4))
def test_any_text_gets_a_language(texts: list[str]) -> None:
    found = detect(texts)
    assert len(found) == len(texts)
    assert all(language.code and 0 <= language.score <= 1 for language in found)
    assert found == detect(texts)


def marked(text: str, count: int) -> str:
    """The text with `count` marks on each letter."""
    marks = "\u0338\u0351\u0489\u035c\u0353\u20dd" * 20
    return "".join(
        sign + marks[at % 6 :][:count] if sign.isalpha() else sign for at, sign in enumerate(text)
    )


@pytest.mark.parametrize("count", [1, 3, 12, 60])
@pytest.mark.parametrize(("code", "text"), [("es", SPANISH[0]), ("en", ENGLISH[0])])
def test_piled_marks_hide_no_language(code: str, text: str, count: int) -> None:
    assert codes([marked(text, count)]) == [code]


def test_vowel_signs_of_other_scripts_stay() -> None:
    texts = ["मुझे कौन सा फोन खरीदना चाहिए", "ฉันควรซื้อโทรศัพท์รุ่นไหนดี", "אֵיזֶה טֵלֵפוֹן לִקְנוֹת"]
    assert codes(texts) == ["hi", "th", "he"]


def test_hashtags_are_read_as_their_words() -> None:
    assert codes(["#BestCoffeeEver #WhatToBuy"]) == ["en"]
    assert resolve("#QueCafeteraComprar #AmoElCafe #BuenosDias").score > FLOOR
    linked = "https://a.example/x#TheBestOfEnglishCoffee que rico está"
    assert detect([linked]) == detect(["que rico está"])


def test_letters_of_other_shapes_are_letters() -> None:
    assert codes(["𝓠𝓾𝓮́ 𝓬𝓪𝓯𝓮𝓽𝓮𝓻𝓪 𝓶𝓮 𝓻𝓮𝓬𝓸𝓶𝓲𝓮𝓷𝓭𝓪𝓷"]) == ["es"]


UNSURE = "cafetera Lumora Brisa Moketto"


def test_a_guess_at_another_language_is_no_language() -> None:
    assert detect([UNSURE]) == [Language("und", 0.0)]
    assert resolve(UNSURE, "pt") == Language("pt", 0.0)
    unsure_english = "Lumora's cafetera mola mazo bro"
    assert resolve(unsure_english).score < FLOOR
    assert resolve(unsure_english).code == "en"


def test_a_guess_hides_no_term() -> None:
    matcher = Matcher([Term("cafetera", "category", "espresso machines", ("es",))])
    (spans,) = matcher.match([UNSURE], [resolve(UNSURE).code])
    assert [UNSURE[span.start : span.end] for span in spans] == ["cafetera"]
