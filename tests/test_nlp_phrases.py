import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp import phrases_en, phrases_es
from nlp.base import Tagger
from nlp.phrases import LONGEST, REACH, STRONG, USUAL, WEAK, PhraseTagger, named_after

TAGGER = PhraseTagger()


def tags(text: str, lang: str) -> list[tuple[str, str]]:
    """(label, quoted words) of each tag."""
    return [(one.label, text[one.start : one.end]) for one in TAGGER.tag([text], [lang])[0]]


def labels(text: str, lang: str) -> set[str]:
    return {label for label, _ in tags(text, lang)}


ENGLISH = [
    # a purchase or choice is done
    ("Ended up buying the Luma X200, thanks all", {"purchased", "thanks"}),
    ("I looked at both and ended up going with the Nespreza.", {"purchased"}),
    ("Update: wound up getting the Aurora 3", {"purchased"}),
    ("we finally pulled the trigger on the sofa", {"purchased"}),
    ("bit the bullet and ordered the big one", {"purchased"}),
    ("Just ordered!", {"purchased"}),
    ("I’ve just bought one 🎉", {"purchased"}),
    ("EDIT: bought it, see you on the trails", {"purchased"}),
    ("I picked up a used Luma this morning", {"purchased"}),
    ("went with the X200 because of the grinder", {"purchased"}),
    ("We went with Orange in the end", {"purchased"}),
    ("settled on the Aurora Barista", {"purchased"}),
    ("Order placed, fingers crossed", {"purchased"}),
    ("My wife and I ended up choosing the cheaper one", {"purchased"}),
    ("can't wait for it to arrive", {"purchased"}),
    ("I got myself a Luma", {"purchased"}),
    ("Aurora ordered!", {"purchased"}),
    ("Bought the Aurora, anyone know a good descaler?", {"purchased"}),
    # the choice is announced
    ("I'll go with the X200 then", {"deciding"}),
    ("Ill go with the x200 then", {"deciding"}),
    ("I think I’m going to go with Orange", {"deciding"}),
    ("ok, ordering it tonight", {"deciding"}),
    ("I'm going to order it tonight", {"deciding"}),
    ("You guys convinced me!", {"deciding"}),
    ("That review did it, I'm sold.", {"deciding"}),
    ("Luma X200 it is!", {"deciding"}),
    ("going with the second one", {"deciding"}),
    ("I've decided to buy the Nespreza", {"deciding"}),
    ("About to pull the trigger on the X200", {"deciding"}),
    # given up
    ("decided not to buy after all", {"none"}),
    ("In the end I decided against it.", {"none"}),
    ("we ended up not buying anything", {"none"}),
    ("I didn't end up getting one", {"none"}),
    ("I never ended up ordering the X200", {"none"}),
    ("not buying any of them after all", {"none"}),
    ("I'll stick with my old kettle", {"none"}),
    ("Sticking with what I have.", {"none"}),
    ("no longer looking, my neighbour gave me hers", {"none"}),
    ("I gave up on finding a good one", {"none"}),
    # thanks
    ("Thanks everyone, sorted!", {"thanks"}),
    ("Thank you all for the advice, I ordered the X200 last night", {"thanks", "purchased"}),
    ("Cheers, that's exactly what I was looking for", {"thanks"}),
    # a deadline
    ("I need it by Friday", {"deadline"}),
    ("Need a new washer before next week", {"deadline"}),
    ("looking for a carrier, it's urgent", {"deadline"}),
    ("Need a laptop ASAP, any advice?", {"deadline"}),
    ("we are flying in two weeks and have no stroller", {"deadline"}),
    ("I need to buy one this weekend", {"deadline"}),
    ("the sale ends tomorrow", {"deadline"}),
]

SPANISH = [
    # España, México, Argentina, Colombia, Chile, Perú
    ("Al final me compré la Luma X200, gracias a todos", {"purchased", "thanks"}),
    ("al final compre la x200", {"purchased"}),
    ("Terminé comprando la Aurora", {"purchased"}),
    ("Me terminé yendo por la de cápsulas", {"purchased"}),
    ("acabé pillando la Nespreza", {"purchased"}),
    ("Acabo de pedir la X200 🎉", {"purchased"}),
    ("¡Pedido hecho!", {"purchased"}),
    ("ya la tengo comprada", {"purchased"}),
    ("Me he comprado la Aurora esta semana", {"purchased"}),
    ("Por fin nos decidimos por el plan de Orange", {"purchased"}),
    ("Me quedé con la X200", {"purchased"}),
    ("ayer contraté Orange y todo bien", {"purchased"}),
    ("Me decanté por la italiana de toda la vida", {"purchased"}),
    ("Opté por el modelo chico", {"purchased"}),
    ("me pasé a Orange", {"purchased"}),
    ("Ya saqué el plan de 100 megas", {"purchased"}),
    ("Comprada. Llega el martes.", {"purchased"}),
    ("lo pedí anoche", {"purchased"}),
    ("Mi mujer y yo al final elegimos, me hice con la Luma", {"purchased"}),
    ("ME COMPRÉ LA X200", {"purchased"}),
    ("Me compre\u0301 la Luma, ¿qué funda me recomiendan?", {"purchased"}),
    # anuncia
    ("Me llevo la X200", {"deciding"}),
    ("me decanto por la Aurora", {"deciding"}),
    ("Me quedo con la Nespreza entonces", {"deciding"}),
    ("me convenciste, la pido", {"deciding"}),
    ("Me habéis convencido", {"deciding"}),
    ("mañana la compro", {"deciding"}),
    ("la pido hoy mismo", {"deciding"}),
    ("Voy por esa", {"deciding"}),
    ("me voy por la de Orange", {"deciding"}),
    ("listo, me la compro", {"deciding"}),
    ("voy a pedirla esta noche", {"deciding"}),
    ("La voy a contratar", {"deciding"}),
    ("me voy a cambiar a Orange", {"deciding"}),
    ("Decisión tomada: la Luma", {"deciding"}),
    # desiste
    ("al final no compré nada", {"none"}),
    ("Al final no la compré", {"none"}),
    ("he decidido no comprar ninguna", {"none"}),
    ("Decidi no cambiarme", {"none"}),
    ("me quedo con la que tengo", {"none"}),
    ("sigo con mi vieja cafetera", {"none"}),
    ("paso de comprarla", {"none"}),
    ("ya no la voy a comprar", {"none"}),
    ("desistí de comprarla", {"none"}),
    ("mejor no compro nada", {"none"}),
    # gracias
    ("gracias, pedido hecho", {"thanks", "purchased"}),
    ("mil gracias por la recomendación, voy por esa", {"thanks", "deciding"}),
    ("Muchas gracias a todos, duda resuelta", {"thanks"}),
    ("Gracias! Solucionado", {"thanks"}),
    # plazo
    ("lo necesito para mañana", {"deadline"}),
    ("Necesito una lavadora antes del viernes", {"deadline"}),
    ("busco cafetera para este finde", {"deadline"}),
    ("me urge un celular", {"deadline"}),
    ("alguien que recomiende técnico? es urgente", {"deadline"}),
    ("la quiero ya", {"deadline"}),
    ("ocupo una laptop para el lunes", {"deadline"}),
    ("me mudo la próxima semana y no tengo internet", {"deadline"}),
]

NOTHING = [
    ("en", text)
    for text in (
        "I didn't buy it",
        "I almost bought the X200 yesterday",
        "My brother ended up buying the X200",
        "she went with the Aurora",
        "They finally ordered one",
        "my boss tried both and ended up buying the Aurora",
        "Did you end up buying it?",
        "Have you ordered the X200 yet?",
        "what did you go with?",
        "Should I go with the X200?",
        "If I ended up buying the X200 I would regret it",
        "I'll go with the X200 if it drops below 100",
        "If nobody objects I'll order it",
        "maybe I'll go with the X200",
        "I wish I had just bought the Aurora",
        "I might order it",
        "I'd go with the X200",
        "You should go with the X200",
        "Get the X200, you can't go wrong with it",
        "I'm going with my family to the coast",
        "We went with the flow",
        "I bought the X200 three years ago",
        "I bought a Luma last year and now want something better",
        "Back in 2015 I ordered the Aurora",
        "he told me he ended up buying the X200",
        'the ad says "I ended up buying the Luma" and that is all',
        "> I ended up buying the X200\nwhich of them is quieter",
        "I bought it, I bought it, I bought it, la la la",
        "just ordered the golden edition, /s",
        "Thanks in advance!",
        "Thanks in advance, I need to choose",
        "thanks for any help",
        "Any recommendations? Thanks!",
        "Thanks to anyone who answers",
        "The store was bought by a competitor.",
        "Luma bought Aurora for 3 million",
        "just sold my old X200",
        "it is what it is!",
        "when I buy one I'll tell you",
        "How much is it?",
        "the X200 or the Aurora?",
        "this is not urgent",
        "read it before the next meeting",
        "I need a good night's sleep",
        "I'm buying it when the price drops",
        "I'm going to buy a new laptop soon",
    )
] + [
    ("es", text)
    for text in (
        "no compré nada de lo que vi raro, sigo mirando opciones",
        "no la compré",
        "casi me compré la X200",
        "mi hermano al final compró la X200",
        "mi hermano al final compro la X200",
        "ella se compró la Aurora",
        "Mi prima terminó comprando la Nespreza",
        "¿Al final te compraste la X200?",
        "al final la compraste?",
        "¿Me compro la X200 o la Aurora?",
        "me quedo con la X200 o con la Aurora?",
        "si me compro la X200 te aviso",
        "si baja de precio me la compro",
        "me la compro cuando baje de precio",
        "no sé si me quedo con la Luma",
        "quizás me decanto por la Luma",
        "tal vez la compro mañana",
        "a lo mejor me llevo la X200",
        "ojalá me la compre mi papá",
        "quiero que me compre la X200",
        "Compre ya la nueva Luma",
        "Cómprela hoy mismo",
        "yo que tú me decantaría por la Luma",
        "te recomiendo que te quedes con la Aurora",
        "me quedo con las ganas",
        "me quedé con la boca abierta",
        "me quedé con la duda de cuál elegir",
        "voy por la calle pensando en cafeteras",
        "vamos por la copa",
        "me compré la X200 hace tres años",
        "la compré el año pasado y ahora busco otra",
        "En 2015 compré una Luma",
        "cuando compré la Luma no había cápsulas",
        "dice que al final se quedó con la Luma",
        "él me dijo que la compró ayer",
        'mi tía siempre cuenta lo mismo: "al final me compré la Luma"',
        "> al final me compré la X200\n¿y hace mucho ruido?",
        "la compré, la compré, la compré, ay amor",
        "me compré un avión, mentira",
        "gracias de antemano",
        "Gracias de antemano, necesito decidir",
        "muchas gracias por adelantado",
        "¿Cuál me recomiendan? Gracias!",
        "gracias a quien responda",
        "gracias a Dios",
        "te lo pido por favor",
        "acabo de pedir disculpas",
        "no es urgente",
        "ya quiero que sea viernes",
        "el informe sale antes del domingo",
        "necesito dormir",
    )
]


@pytest.mark.parametrize(("text", "expected"), ENGLISH)
def test_english(text: str, expected: set[str]) -> None:
    assert labels(text, "en") == expected


@pytest.mark.parametrize(("text", "expected"), SPANISH)
def test_spanish(text: str, expected: set[str]) -> None:
    assert labels(text, "es") == expected


@pytest.mark.parametrize(("lang", "text"), NOTHING)
def test_not_said_of_the_author_or_not_meant(lang: str, text: str) -> None:
    assert tags(text, lang) == []


@pytest.mark.parametrize(
    ("text", "lang", "quoted"),
    [
        ("so I ended up buying the X200 because it is quiet", "en", "ended up buying the X200"),
        ("went with the X200 instead of the Aurora", "en", "went with the X200"),
        ("🎉🎉 just ordered the Luma 🎉", "en", "just ordered the Luma"),
        (
            "Después de mil vueltas, me quedé con la X200 en vez de la Luma",
            "es",
            "me quedé con la X200",
        ),
        ("☕️ al final me compre\u0301 la Luma ☕️, feliz", "es", "al final me compre\u0301 la Luma"),
        ("Al final me decidí por Café Molino.", "es", "Al final me decidí por Café Molino"),
    ],
)
def test_the_span_is_the_clause_as_written(text: str, lang: str, quoted: str) -> None:
    assert quoted in [words for _, words in tags(text, lang)]


def test_a_long_clause_is_cut_at_a_word() -> None:
    text = "ended up buying the " + "very " * 60 + "good one"
    ((_, quoted),) = tags(text, "en")
    assert len(quoted) <= LONGEST
    assert quoted.endswith(" very")


def test_kinds_and_scores() -> None:
    (strong,) = TAGGER.tag(["we ended up buying the X200"], ["en"])[0]
    (usual,) = TAGGER.tag(["me decidí por la Luma"], ["es"])[0]
    (weak,) = TAGGER.tag(["me pasé a Orange"], ["es"])[0]
    (urgent,) = TAGGER.tag(["me urge un celular"], ["es"])[0]
    assert [strong.score, usual.score, weak.score] == [STRONG, USUAL, WEAK]
    assert {strong.kind, usual.kind, weak.kind} == {"outcome"}
    assert (urgent.kind, urgent.label) == ("urgency", "deadline")


def test_one_tag_of_a_stretch_and_the_graver_label_wins() -> None:
    assert tags("al final no compré ninguna", "es") == [("none", "al final no compré ninguna")]
    assert [label for label, _ in tags("I've decided not to buy it", "en")] == ["none"]


@pytest.mark.parametrize("lang", ["und", "pt", ""])
def test_other_languages_are_read_with_both_tables(lang: str) -> None:
    assert labels("ended up buying the X200", lang) == {"purchased"}
    assert labels("al final me compré la X200", lang) == {"purchased"}


def test_a_language_is_read_with_its_own_table() -> None:
    assert tags("ended up buying the X200", "es") == []
    assert tags("al final me compré la X200", "en") == []


def test_order_of_a_batch() -> None:
    found = TAGGER.tag(["just ordered!", "", "pedido hecho"], ["en", "en", "es"])
    assert [[one.label for one in each] for each in found] == [["purchased"], [], ["purchased"]]


@pytest.mark.parametrize(
    "text",
    [
        "al final " * 1_500,
        "i ended up buying it " * 1_000,
        "thanks, ordered it. " * 1_000,
        "ya la compré hoy y he and " * 500,
        '"' * 20_000,
        "...?!" * 10_000,
        "a" * 50_000,
        "e\u0301" * 25_000,
        "😀" * 50_000,
        "need it by " * 1_500,
    ],
)
def test_hostile_lengths_are_read(text: str) -> None:
    for tag in TAGGER.tag([text], ["und"])[0]:
        assert tag.start is not None
        assert tag.end is not None
        assert 0 < tag.end - tag.start <= LONGEST


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=12),
            st.sampled_from(
                [
                    "al final ",
                    "me compré ",
                    "gracias ",
                    "I ",
                    "ordered it",
                    "? ",
                    "\n",
                    "¿",
                    "“",
                    "👍🏽",
                ]
            ),
        ),
        max_size=30,
    ).map("".join),
    st.sampled_from(["en", "es", "und"]),
)
def test_any_text_gets_literal_spans(text: str, lang: str) -> None:
    for tag in TAGGER.tag([text], [lang])[0]:
        assert tag.start is not None
        assert tag.end is not None
        assert 0 <= tag.start < tag.end <= len(text)
        first, last = named_after(text, tag.start, tag.end)
        assert max(0, tag.start - REACH) <= first <= tag.start
        assert tag.end <= last <= min(len(text), tag.end + REACH)


@pytest.mark.parametrize(
    ("text", "words", "sentence"),
    [
        (
            "Hi all. I went with the X v2.1 today! Thanks.",
            "went with",
            "I went with the X v2.1 today!",
        ),
        ("Hola\nal final la compré 😀\ngracias", "al final", "al final la compré 😀"),
        ("bought it!😀 The Luma is great", "bought it", "bought it!"),
        ("Luma vs. Aurora, went with Aurora", "went", "Luma vs. Aurora, went with Aurora"),
        ("uno. dos. tres", "o. d", "uno. dos."),
    ],
)
def test_named_after_is_the_sentence(text: str, words: str, sentence: str) -> None:
    at = text.index(words)
    first, last = named_after(text, at, at + len(words))
    assert text[first:last] == sentence


def test_named_after_is_bounded() -> None:
    text = "word " * 10_000
    first, last = named_after(text, 25_000, 25_004)
    assert (25_000 - first, last - 25_004) <= (REACH, REACH)


def test_is_a_tagger_whose_version_follows_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(TAGGER, Tagger)
    assert TAGGER.name == "phrases"
    code = "from nlp.phrases import PhraseTagger; print(PhraseTagger().version)"
    versions = set()
    for added in ("", "phrases_es.PATTERNS += 'x'; ", "phrases_en.GUARDS += 'x'; "):
        setup = f"from nlp import phrases_en, phrases_es; {added}{code}"
        run = subprocess.run(
            [sys.executable, "-c", setup], capture_output=True, text=True, check=True
        )
        versions.add(run.stdout)
    assert len(versions) == 3
    assert f"{TAGGER.version}\n" in versions


def test_import_is_light() -> None:
    code = "import sys, nlp.phrases; print({'numpy', 'spacy', 'onnxruntime'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.parametrize("table", [phrases_en, phrases_es])
def test_every_accent_of_a_table_is_one_vowel(table: object) -> None:
    """Only acute vowels and "ñ" are rewritten; another letter would never match."""
    text = "".join(getattr(table, name) for name in ("FRAGMENTS", "PATTERNS", "GUARDS"))
    assert {char for char in text if not char.isascii()} <= set("áéíóúÁÉÍÓÚñ¿¡–—")
