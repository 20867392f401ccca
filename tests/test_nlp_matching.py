import subprocess
import sys
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp import common
from nlp.base import ModelMissing
from nlp.common import SHORTEST, common_words
from nlp.matching import Matcher, Span
from nlp.patterns import LONG, BadTerm, Term

TERMS = [
    Term("Luma", "brand", "Luma"),
    Term("@lumacoffee", "brand", "Luma"),
    Term("#lumalove", "brand", "Luma"),
    Term("luma.example/shop", "brand", "Luma"),
    Term("X-200", "product", "Luma X-200"),
    Term("Aurora Barista", "product", "Aurora Barista"),
    Term("HP", "competitor", "HP"),
    Term("Nespreza", "competitor", "Nespreza"),
    Term("Nespreso", "competitor", "Nespreso"),
    Term("Café Molino", "competitor", "Molino"),
    Term("Black & Dekor", "competitor", "Dekor"),
    Term("Orange", "competitor", "Orange"),
    Term("cafetera", "category", "coffee"),
    Term("coffee machine", "category", "coffee"),
    Term("máquina de café", "category", "coffee"),
    Term("TV", "category", "screens"),
    Term("té", "category", "tea"),
    Term("battery", "category", "power"),
    Term("luz", "category", "light"),
]
EXCLUSIONS = {("brand", "Luma"): ("luma fusion", "video editor")}


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher(TERMS, EXCLUSIONS)


def surfaces(matcher: Matcher, text: str) -> list[tuple[str, str]]:
    return [(span.name, text[span.start : span.end]) for span in matcher.match([text])[0]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # case, accents, width, decomposed accents
        ("LUMA luma Luma", [("Luma", "LUMA"), ("Luma", "luma"), ("Luma", "Luma")]),
        ("el Lúma nuevo", [("Luma", "Lúma")]),
        ("una maquina de cafe", [("coffee", "maquina de cafe")]),
        ("UNA MÁQUINA DE CAFÉ", [("coffee", "MÁQUINA DE CAFÉ")]),
        ("cafe molino", [("Molino", "cafe molino")]),
        ("Ｌｕｍａ rocks", [("Luma", "Ｌｕｍａ")]),
        ("Cafe\u0301 Molino", [("Molino", "Cafe\u0301 Molino")]),
        ("ma\u0301quina de cafe\u0301!", [("coffee", "ma\u0301quina de cafe\u0301")]),
        # plural and singular of categories and products
        ("dos cafeteras", [("coffee", "cafeteras")]),
        ("coffee machines", [("coffee", "coffee machines")]),
        ("máquinas de café", [("coffee", "máquinas de café")]),
        ("new batteries", [("power", "batteries")]),
        ("las luces", [("light", "luces")]),
        ("Aurora Baristas", [("Aurora Barista", "Aurora Baristas")]),
        ("two oranges", []),
        # possessives and neighbours
        ("Luma's grinder, Luma’s too", [("Luma", "Luma"), ("Luma", "Luma")]),
        ("(Luma) Luma-style luma_pro", [("Luma", "Luma"), ("Luma", "Luma"), ("Luma", "luma")]),
        ("Luma™ Luma® Luma²", [("Luma", "Luma")] * 3),
        # word boundaries
        ("Lumaria xLuma Luma2 lumas ultraluma", []),
        ("alumarse", []),
        # hashtags and handles
        ("#Luma #LUMA #luma", [("Luma", "Luma"), ("Luma", "LUMA"), ("Luma", "luma")]),
        ("#AmoMiCafetera", [("coffee", "Cafetera")]),
        ("#amomicafetera", [("coffee", "cafetera")]),
        ("#cafeterasexpress", [("coffee", "cafeteras")]),
        ("#LumaCoffee", [("Luma", "Luma")]),
        (
            "#CoffeeMachine y #coffeemachines",
            [("coffee", "CoffeeMachine"), ("coffee", "coffeemachines")],
        ),
        ("máquina de #café", [("coffee", "máquina de #café")]),
        ("#luma_love #Luma2026", [("Luma", "luma"), ("Luma", "Luma")]),
        ("#Lumaria #lumaria #cafeteria", []),
        ("#LumaLove", [("Luma", "#LumaLove")]),
        ("lumalove", []),
        ("hola @LumaCoffee.", [("Luma", "@LumaCoffee")]),
        ("@luma", [("Luma", "luma")]),
        ("@lumacoffee2 @luma_fan @fan.luma lumacoffee", []),
        ("＃Luma ＠lumacoffee", [("Luma", "Luma"), ("Luma", "＠lumacoffee")]),
        # shop addresses
        ("https://www.luma.example/shop/x?y=1", [("Luma", "luma.example/shop")]),
        ("mira luma.example/shop.", [("Luma", "luma")]),
        ("http://es.LUMA.example:80/Shop", [("Luma", "LUMA.example:80/Shop")]),
        ("https://t.example/?to=https://luma.example/shop/", [("Luma", "luma.example/shop")]),
        ("https://luma.example/shopping https://notluma.example/shop", []),
        ("https://luma.example.evil.example/shop https://x.example/cafetera", []),
        # product codes
        (
            "X-200 X200 X 200 x200 x-200",
            [("Luma X-200", code) for code in ("X-200", "X200", "X 200", "x200", "x-200")],
        ),
        ("2 x 200 ml, FX200, X2000, X200a, X-200.5", []),
        # short names
        ("HP hp Hp", [("HP", "HP")]),
        ("#hp @hp #ILoveHP", [("HP", "hp"), ("HP", "hp"), ("HP", "HP")]),
        ("una tele, tv, TV y TVs", [("screens", "tv"), ("screens", "TV"), ("screens", "TVs")]),
        ("te quiero, un té", [("tea", "té")]),
        # punctuation inside and between
        ("Black & Dekor, black&dekor", [("Dekor", "Black & Dekor"), ("Dekor", "black&dekor")]),
        ("#BlackDekor", [("Dekor", "BlackDekor")]),
        ("I like coffee. Machine broke", []),
        ("coffee\nmachine", [("coffee", "coffee\nmachine")]),
        ("coffee\n\nmachine", []),
        # invisible characters, emoji, right to left
        ("Lu\u200bma \u200dLuma\u200d", [("Luma", "Lu\u200bma"), ("Luma", "Luma")]),
        ("👩‍🚀☕️Luma☕️", [("Luma", "Luma")]),
        ("👨‍👩‍👧‍👦 la cafetera 😍", [("coffee", "cafetera")]),
        ("أحب \u202bLuma\u202c כאן", [("Luma", "Luma")]),
        ("\ud83d Luma \udc00", [("Luma", "Luma")]),
        ("straße Luma ﬁn Luma", [("Luma", "Luma"), ("Luma", "Luma")]),
        # exclusions
        ("luma fusion and my Luma", [("Luma", "Luma")]),
        ("#LumaFusion, luma-fusion, Luma Fusion", []),
        ("Luma is a video editor", []),
        ("", []),
        ("🙂🙂🙂", []),
    ],
)
def test_matches(matcher: Matcher, text: str, expected: list[tuple[str, str]]) -> None:
    assert surfaces(matcher, text) == expected


@pytest.mark.parametrize(
    "text",
    ["Aurora Barrista", "Aurora Barsita", "Aurora Barist", "aurora barista's", "Aurora Baritsa"],
)
def test_one_edit_in_a_long_name(matcher: Matcher, text: str) -> None:
    assert [name for name, _ in surfaces(matcher, text)] == ["Aurora Barista"]


def test_misspellings_that_must_not_match(matcher: Matcher) -> None:
    two_edits = "Aurora Barrisst"
    first_letter = "Aurora Varista"
    category = "una cafeterra"
    short_name = "Orangee Orage"
    handle = "@lumacofee @nesprezza"
    for text in (two_edits, first_letter, category, short_name, handle):
        assert surfaces(matcher, text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Lumoras' app", ["Lumoras"]),
        ("the Lumoras’ 😍", ["Lumoras"]),
        ("LUMORAS' shop", ["LUMORAS"]),
        ("Lumora's, LUMORA’S y la de Lumora", ["Lumora", "LUMORA", "Lumora"]),
        ("lumoras' app, two Lumoras, Lumoras'x #Lumoras' @Lumoras'", []),
    ],
)
def test_possessives(text: str, expected: list[str]) -> None:
    matcher = Matcher([Term("Lumora", "brand", "Lumora")])
    assert [surface for _, surface in surfaces(matcher, text)] == expected


def test_the_possessive_of_another_term_stays_its_own() -> None:
    terms = [Term("Orange", "competitor", "Orange"), Term("oranges", "category", "fruit")]
    assert surfaces(Matcher(terms), "the Oranges' peel") == [("fruit", "Oranges")]


CODES = [
    Term("XM4", "product", "XM4"),
    Term("WH-1000XM4", "product", "WH"),
    Term("X-200", "product", "X"),
    Term("DE-4", "product", "DE"),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("XM4 xm4 XM-4 xm-4 XM 4 xm 4 Xm 4", ["XM4"] * 7),
        ("WH-1000XM4 WH1000XM4 wh1000xm4", ["WH"] * 3),
        ("wh 1000 xm4, #WH1000XM4", ["WH", "XM4"] * 2),
        ("X-200 x200 X 200", ["X"] * 3),
        ("hay 2 x 200 ml de 4 tazas", []),
        ("DE-4, DE4, DE 4, de4", ["DE"] * 3),
        ("XM-4, XM4; XM 4. XM4-", ["XM4"] * 4),
        ("XM45 AXM4 XM4b WH1000XM42", []),
        ("😍XM-4👍🏽 ☕xm 4☕", ["XM4", "XM4"]),
    ],
)
def test_product_codes(text: str, expected: list[str]) -> None:
    assert [name for name, _ in surfaces(Matcher(CODES), text)] == expected


def test_a_misspelling_that_could_be_two_names_is_neither(matcher: Matcher) -> None:
    assert surfaces(matcher, "Nesprezo") == []
    assert surfaces(matcher, "Nespreza Nespreso Nesprezza") == [
        ("Nespreza", "Nespreza"),
        ("Nespreso", "Nespreso"),
        ("Nespreza", "Nesprezza"),
    ]


def test_a_word_of_another_term_is_no_misspelling() -> None:
    terms = [Term("Moliner", "brand", "Moliner"), Term("molinera", "category", "mills")]
    assert surfaces(Matcher(terms), "molinera molineras moliners") == [
        ("mills", "molinera"),
        ("mills", "molineras"),
        ("Moliner", "moliners"),
    ]


@pytest.mark.parametrize(
    ("name", "common", "misspelt"),
    [
        ("Weathar", "the weather is nice", "Weaathar"),
        ("Marketo", "the market, their markets", "Marketto"),
        ("Problemo", "Qué problema", "Problemmo"),
        ("Mexicano", "una mexicana", "Mexiccano"),
        ("Educazión", "la EDUCACIÓN, la educacion", "Educaziónn"),
    ],
)
def test_a_common_word_is_no_misspelling(name: str, common: str, misspelt: str) -> None:
    matcher = Matcher([Term(name, "brand", name)])
    assert surfaces(matcher, common) == []
    assert surfaces(matcher, f"{name} {misspelt}") == [(name, name), (name, misspelt)]


def test_a_name_that_is_a_common_word_matches_and_may_be_misspelt() -> None:
    matcher = Matcher([Term("Mercado", "brand", "Mercado")])
    assert surfaces(matcher, "Mercado mercdo mercados") == [
        ("Mercado", "Mercado"),
        ("Mercado", "mercdo"),
    ]
    assert "adidas" in common_words()
    assert surfaces(Matcher([Term("Adidass", "brand", "Adidass")]), "adidas, addidass") == [
        ("Adidass", "addidass")
    ]
    assert {"phillip", "samsung"} <= common_words()
    assert surfaces(Matcher([Term("Philips", "brand", "Philips")]), "Phillips, philip") == [
        ("Philips", "Phillips")
    ]
    assert surfaces(Matcher([Term("Samsung", "brand", "Samsung")]), "los Samsungs") == [
        ("Samsung", "Samsungs")
    ]


def test_common_words_are_folded_and_long_enough() -> None:
    words = common_words()
    assert {"because", "someone", "persona", "tambien", "telefono", "espana"} <= words
    assert words.isdisjoint({"gente", "Because", "también", "lumora", "nesprezo"})
    assert all(len(word) >= SHORTEST == LONG - 1 for word in words)


def test_without_a_tokenizer_the_fix_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "TOKENIZER", tmp_path / "tokenizer.json")
    with pytest.raises(ModelMissing, match="reinstall"):
        common_words.__wrapped__()


def test_spans_carry_the_term_and_their_order() -> None:
    terms = [
        Term("Luma", "brand", "Luma"),
        Term("Luma Coffee", "brand", "Luma"),
        Term("luma coffee machine", "product", "Machine"),
        Term("coffee", "category", "coffee"),
    ]
    text = "the Luma Coffee machine"
    assert Matcher(terms).match([text]) == [
        (
            Span("product", "Machine", "luma coffee machine", 4, 23),
            Span("brand", "Luma", "Luma Coffee", 4, 15),
            Span("category", "coffee", "coffee", 9, 15),
        )
    ]


def test_brand_does_not_inflect_because_a_category_does() -> None:
    terms = [Term("Apple", "brand", "Apple"), Term("apples", "category", "fruit")]
    assert surfaces(Matcher(terms), "apple apples") == [
        ("Apple", "apple"),
        ("fruit", "apple"),
        ("fruit", "apples"),
    ]


def test_terms_of_a_language_count_in_that_language() -> None:
    matcher = Matcher(
        [Term("once", "brand", "ONCE", ("es",)), Term("pan", "category", "bread", ("es",))]
    )
    texts = ["once pan"] * 4
    assert [len(spans) for spans in matcher.match(texts, ["es", "en", "und", "pt"])] == [2, 0, 2, 0]


def test_camel_case_name_with_and_without_space() -> None:
    matcher = Matcher([Term("LumaCoffee", "brand", "L"), Term("iPhone", "product", "P")])
    text = "luma coffee lumacoffee #ILoveLumaCoffee iphone #iPhone15 i phone"
    assert surfaces(matcher, text) == [
        ("L", "luma coffee"),
        ("L", "lumacoffee"),
        ("L", "LumaCoffee"),
        ("P", "iphone"),
        ("P", "iPhone"),
    ]


def test_domain_as_a_name() -> None:
    matcher = Matcher([Term("Tostado.example", "competitor", "T")])
    text = "tostado.example, tostado example, https://www.tostado.example/es/?a=b #TostadoExample"
    assert [surface for _, surface in surfaces(matcher, text)] == [
        "tostado.example",
        "tostado example",
        "tostado.example",
        "TostadoExample",
    ]


def test_sentence_marks_inside_a_name() -> None:
    matcher = Matcher([Term("Dr. Tostón", "brand", "D"), Term("Yaju!", "brand", "Y")])
    assert surfaces(matcher, "dr. toston, Dr Tostón; yaju") == [
        ("D", "dr. toston"),
        ("D", "Dr Tostón"),
        ("Y", "yaju"),
    ]


@pytest.mark.parametrize("text", ["", "  ", "!!!", "☕", "@", "#two words", "@ luma"])
def test_terms_that_cannot_match_are_refused(text: str) -> None:
    with pytest.raises(BadTerm):
        Matcher([Term(text, "brand", "Luma")])


def test_unknown_kind_is_refused_with_the_choice() -> None:
    with pytest.raises(BadTerm, match="brand, product, competitor, category"):
        Matcher([Term("Luma", "brnad", "Luma")])


def test_no_terms() -> None:
    assert Matcher([]).match(["anything", ""]) == [(), ()]


def test_vocabulary_does_not_grow(matcher: Matcher) -> None:
    matcher.match(["Luma y cafetera"])
    before = len(matcher._vocab.strings)
    matcher.match([f"palabra{i} nueva{i} #Etiqueta{i} Luma" for i in range(50)])
    assert len(matcher._vocab.strings) == before


def test_batches_and_repeats_agree(matcher: Matcher) -> None:
    texts = ["Luma X200", "", "una cafetera de Luma", "nada"]
    assert matcher.match(texts) == [matcher.match([text])[0] for text in texts]
    assert Matcher(TERMS, EXCLUSIONS).match(texts) == matcher.match(texts)


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "@",
        "#",
        "#a",
        "@a",
        "a.",
        "http://",
        "www.",
        "Ab",
        "#Ab_",
        "1,",
        "\u0301",
        "luma.",
        "luma fusion ",
        "é.",
    ],
)
def test_long_hostile_text(matcher: Matcher, piece: str) -> None:
    text = piece * (50_000 // len(piece)) + " Nespreza"
    assert [text[span.start : span.end] for span in matcher.match([text])[0]][-1] == "Nespreza"


def test_many_matches_in_a_long_text(matcher: Matcher) -> None:
    text = "una cafetera Luma, " * 2_600
    assert len(matcher.match([text])[0]) == 5_200


MERCURY = Matcher(
    [
        Term("Mercury", "brand", "Mercury"),
        Term("#mercury", "brand", "Mercury"),
        Term("@mercuryboats", "brand", "Mercury"),
        Term("mercury.example/shop", "brand", "Mercury"),
        Term("Mercury", "competitor", "Mercury Bank"),
    ],
    exclusions={("brand", "Mercury"): ("mercury poisoning",)},
    requirements={("brand", "Mercury"): ("engine", "boat"), ("category", "none"): ()},
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("My Mercury is in the shop", []),
        ("Mercury engine", []),
        ("A Mercury engine for my boat", ["Mercury"]),
        # Required words are everyday words: plurals, any case, any place, compound hashtags.
        ("BOATS need ENGINES. I have a Mercury", ["Mercury"]),
        ("#BoatLife with a Mercury engine", ["Mercury"]),
        ("A Mercury engin for my boat", []),
        ("steamboat engine by Mercury", []),
        ("#mercury", []),
        ("#mercury engine, old boat", ["#mercury"]),
        # Accounts and addresses mean nothing else.
        ("@mercuryboats help", ["@mercuryboats"]),
        ("see https://mercury.example/shop/1", ["mercury.example/shop"]),
        # Exclusions still count.
        ("mercury poisoning from a boat engine", []),
    ],
)
def test_a_name_counts_only_with_the_words_it_requires(text: str, found: list[str]) -> None:
    spans = MERCURY.match([text])[0]
    assert [span.term for span in spans if span.name == "Mercury"] == found


def test_what_one_entity_requires_is_nothing_to_another() -> None:
    found = MERCURY.match(["Mercury, boat", "Mercury, boat and engine"])
    assert [[span.name for span in spans] for spans in found] == [
        ["Mercury Bank"],
        ["Mercury", "Mercury Bank"],
    ]


def test_of_required_words_with_a_bar_between_them_one_is_enough() -> None:
    wants = {("brand", "Mercury"): ("boat | barco", "engine|motor fueraborda")}
    matcher = Matcher([Term("Mercury", "brand", "Mercury")], requirements=wants)
    texts = ["a boat, a Mercury engine", "Mercury: motor fueraborda para barcos", "Mercury boat"]
    assert [bool(spans) for spans in matcher.match(texts)] == [True, True, False]


def test_required_words_keep_their_accents_when_they_are_short() -> None:
    matcher = Matcher(
        [Term("Aurora", "brand", "Aurora")], requirements={("brand", "Aurora"): ("té",)}
    )
    assert [bool(spans) for spans in matcher.match(["Aurora Té", "Aurora te veo"])] == [True, False]


def test_importing_loads_no_spacy() -> None:
    check = "import sys, nlp.matching; sys.exit('spacy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


FRAGMENTS = st.sampled_from(
    ["Luma", "luma fusion", "cafetera", "X200", "X 200", "máquina de café", "#", "@", "hp", "HP",
     " ", "\u200b", "\u0301", "👩‍🚀", "ﷺ", "İ", "ß", "https://luma.example/shop", "lumacoffee",
     "Aurora", "Barrista", ".", "\n", "\ud800", "_", "Ａ", "é", "2", "'s"]
)  # fmt: skip
ANY = st.text(st.characters(exclude_categories=()), max_size=40)


@settings(max_examples=300)
@given(st.lists(st.one_of(FRAGMENTS, ANY), max_size=12).map("".join))
def test_spans_are_literal_and_ordered(matcher: Matcher, text: str) -> None:
    spans = matcher.match([text])[0]
    order = [(span.start, -span.end) for span in spans]
    assert order == sorted(order)
    for span in spans:
        assert 0 <= span.start < span.end <= len(text)
        surface = unicodedata.normalize("NFKC", text[span.start : span.end])
        assert any(map(str.isalnum, surface))
        assert not surface[0].isspace()
        assert not surface[-1].isspace()
    for name in {span.name for span in spans}:
        same = [span for span in spans if span.name == name]
        assert all(a.end <= b.start for a, b in pairwise(same))


@settings(max_examples=20, deadline=None)
@given(st.lists(ANY.filter(lambda text: any(map(str.isalnum, text))), min_size=1, max_size=3))
def test_any_term_is_refused_or_matches_without_error(words: list[str]) -> None:
    for word in words:
        try:
            matcher = Matcher([Term(word, "product", "P")])
        except BadTerm:
            continue
        for text in (word, f"x {word} y"):
            assert all(0 <= span.start < span.end <= len(text) for span in matcher.match([text])[0])
