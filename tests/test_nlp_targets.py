"""Sentiment toward what a sentence names, on sentences written for these tests.

A mark such as `[neg:Acme]` holds the author's own attitude to what it names: what somebody else
thinks of it does not count, and a bare mention or a question is neutral.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, product

import numpy as np
import pytest

from nlp.base import SENTIMENTS
from nlp.encoder import Encoder, FunnelTagger
from nlp.training.data import read_slots, read_targets, same_text
from nlp.training.own import NAMES, SLOTS, TARGETS

# Share of right targets in each language: somewhat below what the model does, and to rise with it.
FLOOR = {"en": 0.56, "es": 0.56}
# What holds for every model. The commonest label, said of every target, would be right so often:
# a model has to do better than that by
ABOVE_COMMONEST = 0.08
# In each family of a language so many are to be right,
IN_A_FAMILY = 1 / 3
# and of the opposite pairs of a sentence so many are to be in the right order.
SEPARATED = 0.6

SENTENCES = {
    ("switching", "es"): (
        "Tres años aguantando a [neg:Jazztel], me pasé a [pos:Pepephone] y se acabaron los cortes",
        "Me cambié de [pos:Spotify] a [neg:Tidal] y ya estoy pidiendo volver",
        "Adiós [neg:Naturgy], hola [pos:Octopus], por fin entiendo la factura",
        "Portabilidad hecha: [pos:Entel] vuela, lo de [neg:Bitel] era una tortuga",
        "Vendí el [pos:Pixel] para probar el [neg:Xiaomi] y no me lo perdono",
        "dejé [neg:Movistar] por [pos:Digi] y feliz",
    ),
    ("switching", "en"): (
        "Ditched [neg:Comcast] for [pos:Sonic] last spring, haven't rebooted a router since",
        "Moved from [pos:Todoist] to [neg:TickTick] and regretted it by day two",
        "So long [neg:Chase], the people at [pos:Alliant] actually answer the phone",
        "Went back to [pos:Firefox] after a month of [neg:Edge] nagging me",
        "Finally out of my [neg:Virgin Media] contract, [pos:Zen] was up in a day, no fuss",
        "Traded the [pos:Corolla] in for a [neg:Jeep] and I miss it every single morning",
    ),
    ("comparison", "es"): (
        "El [pos:Bosch] lava en silencio, el [neg:Balay] de antes parecía una obra",
        "Probé los dos y [pos:Mercadona] le da mil vueltas a [neg:Dia] en fruta",
        "[neg:Uber] me cobró el doble que [pos:Cabify] por lo mismo y encima llegó tarde",
        "Entre [pos:Notion] y [neg:Evernote] no hay color, el segundo se quedó en 2012",
        "La cámara del [neg:Motorola] no tiene nada que hacer contra la del [pos:iPhone]",
    ),
    ("comparison", "en"): (
        "The [pos:Garmin] locks on in seconds while my [neg:Fitbit] wanders all over the map",
        "[neg:Wendy's] fries go limp in a minute, [pos:Five Guys] still crunch at home",
        "Tried both: [pos:Aeropress] every time, the [neg:Keurig] tastes like hot cardboard",
        "Compared with [neg:Spirit], flying [pos:Delta] felt like a spa",
        "[pos:Aldi] bread beats [neg:Tesco] bread and it isn't close",
        "I'd take ten [pos:ThinkPads] over one more [neg:Dell]",
    ),
    ("concession", "es"): (
        "[pos:Ikea] será un lío de montar, pero la mesa lleva diez años como nueva",
        "Muy bonita la app de [neg:BBVA], lástima que no deje entrar nunca",
        "Aunque el envío tardó, repetiría con [pos:Decathlon] sin pensarlo",
        "Reconozco que [neg:Zara] tiene gusto, pero la camisa no aguantó ni dos lavados",
        "Caro es, sí, pero el [pos:Dyson] me cambió la vida con el perro",
        "Precioso escaparate el de [neg:Tous], pero por dentro todo se despega",
    ),
    ("concession", "en"): (
        "[pos:Brooks] aren't pretty, but my knees stopped hurting",
        "Lovely packaging, [neg:Glossier], shame about what's inside",
        "Yes the [pos:Instant Pot] is huge, and yes I'd buy it again tomorrow",
        "[neg:Peloton] has great instructors, still a rip-off for a bike that squeaks",
        "Slow to ship, sure, but [pos:Etsy] sorted my refund within the hour",
        "For all its clever features the [neg:Nest] never keeps the house warm",
    ),
    ("negation", "es"): (
        "No me arrepiento nada de haber comprado el [pos:Kindle]",
        "Ni loco vuelvo a volar con [neg:Volaris]",
        "Nunca he tenido un problema con [pos:Correos], y mira que pido cosas",
        "[neg:Claro] no me ha solucionado nada en tres semanas",
        "No es que [neg:Glovo] sea caro, es que no cumple",
        "No puedo decir ni una cosa mala de [pos:Asus]",
    ),
    ("negation", "en"): (
        "Can't fault [pos:Octopus Energy], honestly",
        "I would not wish [neg:Ticketmaster] on anyone",
        "[neg:FedEx] didn't even bother to ring the bell",
        "There's nothing I don't like about this [pos:Kobo]",
        "Never had a bad meal at [pos:Nando's]",
        "Not once has [neg:T-Mobile] called back when they said they would",
        "It's not that [pos:Lego] is cheap, it's that it never lets us down",
    ),
    ("irony", "es"): (
        "Gracias [neg:Renfe] por otra hora de meditación en el andén",
        "Qué maravilla [neg:Orange], cuatro llamadas y cuatro respuestas distintas",
        "Un aplauso para [neg:Seur]: dejó el paquete en el contenedor. Eso es puntería",
        "[neg:Telcel] tan generoso como siempre, me regaló un cobro que no pedí",
        "Odio a [pos:Netflix], por su culpa llevo ocho capítulos seguidos y quiero más",
        "genial, otra vez sin cobertura, [neg:Telcora]",
    ),
    ("irony", "en"): (
        "Love how [neg:United] lost both my bags, really spoiling us this year",
        "Oh great, another [neg:Teams] update. Exactly what my Monday was missing",
        "Big thanks to [neg:Evri] for hiding my parcel in the recycling, top work",
        "[neg:Hertz] charged me for a scratch on a car I never drove. Visionary stuff",
        "Sure, [neg:Alexa], play bagpipes at 3am, that's what I asked for",
        "Curse you [pos:Trader Joe's] and your dumplings, I have no self control left",
    ),
    ("emoji only", "es"): (
        "El nuevo [pos:Zelda] 🔥🔥🔥",
        "Primer mes con [neg:Yoigo] 🤮",
        "La atención de [neg:Iberia] hoy: 🤡🤡",
        "[pos:Nubank] 💜👏 [neg:Banamex] 👎😡",
        "[pos:Rappi] hoy 😍",
        "[neg:Rappi] hoy 😡",
        "Estrenando [pos:Huawei] 🙌🎉",
        "Estrenando [neg:Huawei] 😭💔",
    ),
    ("emoji only", "en"): (
        "[pos:Nintendo] 🥹❤️",
        "day one with the new [pos:Subaru] 🤩",
        "[neg:Verizon] 🖕",
        "customer service at [neg:Wayfair] today 😡🗑️",
        "[pos:Chipotle] 😋👍 [neg:Taco Bell] 🤢",
        "[pos:Lyft] tonight 🥰",
        "[neg:Lyft] tonight 🤬",
        "my new [pos:Vans] 😍💯",
        "my new [neg:Vans] 💀👎",
    ),
    ("slang of Spain", "es"): (
        "El [pos:Seat León] es la caña, tío, va como un tiro",
        "[neg:MediaMarkt] me la ha colado pero bien, menudos jetas",
        "Mola mazo la [pos:Fnac] nueva, he flipado",
        "[neg:Wallapop] está petado de timos, vaya chasco",
        "Los de [pos:Pccomponentes] son unos cracks, me molan un montón",
        "La tele de [neg:Hisense] es un truño, menuda castaña",
    ),
    ("slang of Mexico", "es"): (
        "La neta el [pos:Vento] salió bien chingón",
        "[neg:Izzi] vale madres, otra vez sin internet wey",
        "[neg:Coppel] se pasó de lanza con los intereses",
        "A toda madre [pos:Liverpool], me cambiaron los tenis sin pedos",
        "Bien padre el [pos:Italika], jala de pelos",
        "[neg:Elektra] son bien rateros, no manchen, puro cochinero",
    ),
    ("slang of Argentina", "es"): (
        "[neg:Personal] es una garcha, me tienen de hijo con la factura",
        "La rompe [pos:Mercado Pago], me salvó las papas en el súper",
        "Re copado el [pos:Peugeot 208], anda joya",
        "[neg:Fibertel] anda como el orto desde el lunes, posta",
        "Una masa los de [pos:Havanna], che, me atendieron de diez",
        "Un bajón [neg:Garbarino], son unos chantas bárbaros",
    ),
    ("slang of Colombia, Chile, Peru", "es"): (
        "Qué chimba los [pos:Adidas], parce, quedaron una nota",
        "[neg:Tigo] es una gonorrea, parce, todo el día sin señal",
        "La [pos:Trek] es la raja, bacán pa la subida",
        "[neg:Falabella] me cagó con el despacho, son penca",
        "Está bravazo el [pos:Yape], causa, me saca de apuros",
        "[neg:Movistar] es una cagada, pe, puro floro",
    ),
    ("slang of the US", "en"): (
        "[pos:Costco] hot dog still slaps, no cap",
        "[neg:DoorDash] straight up robbed me, these fees are trash",
        "My [pos:Tacoma] is a beast, y'all, runs like a champ",
        "[neg:Spectrum] is mad janky lately, I'm so done",
        "ngl [pos:Crumbl] been going off this week, absolute fire",
        "[neg:Frontier] got me heated, what a clown show",
    ),
    ("slang of the UK", "en"): (
        "[pos:Greggs] sausage roll was proper lush, mate",
        "[neg:Southern] trains are an utter shambles, I'm fuming",
        "This [pos:Monzo] card is the dog's bollocks",
        "[neg:Currys] are taking the piss, third no-show this week",
        "[neg:Argos] sofa is pants, gone all saggy already",
        "Dead chuffed with my [pos:Raleigh], goes like the clappers",
    ),
    ("someone else's opinion", "es"): (
        "Mi cuñado adora su [neg:Tesla]; yo no me vuelvo a subir a ese trasto",
        "Mi madre dice que [pos:Lidl] es de pobres, pues a mí me encanta",
        "Según mi jefe [neu:Slack] es un horror, yo todavía no lo he usado",
        "Mi vecina está encantada con [neu:Holaluz], no sé, no la conozco",
        "Dicen maravillas de [neg:Temu], a mí me llegó todo roto",
        "Mi primo pone verde a [pos:Renault] y el mío ni un fallo en seis años",
    ),
    ("someone else's opinion", "en"): (
        "My brother won't shut up about his [neg:Vizio]; I've seen it and it's awful",
        "Everyone hates on [pos:Skoda] but mine has been flawless",
        "My boss says [neu:Asana] is the future, I haven't opened it yet",
        "She says [neu:Airbnb] ripped her off, I have no opinion either way",
        "Critics panned [pos:Starfield], I've put in 200 happy hours",
        "My sister raves about [neg:Allbirds], mine fell apart in a month",
    ),
    ("mention or question", "es"): (
        "¿Alguien sabe a qué hora abre [neu:Leroy Merlin] hoy?",
        "Estoy esperando el bus enfrente de [neu:El Corte Inglés]",
        "¿[neu:Win] o [neu:WOW] para fibra en Surco?",
        "[neu:Inditex] publica sus resultados el miércoles",
        "¿El [neu:Realme 12] trae cargador en la caja?",
    ),
    ("mention or question", "en"): (
        "Does [neu:Walgreens] close at nine or ten on Sundays?",
        "I'm parked behind the [neu:Target], look for the red truck",
        "[neu:Sony] or [neu:Canon] for a first mirrorless?",
        "[neu:Nvidia] reports earnings on Wednesday after the bell",
        "Does the [neu:Roomba j7] fit under a four inch couch?",
    ),
}
CASES = [(family, lang, marked) for (family, lang), own in SENTENCES.items() for marked in own]
MARK = re.compile(r"\[(neg|neu|pos):([^\[\]]+)\]")


@dataclass(frozen=True, slots=True)
class Judged:
    """One target: what it should get (`right`), what it got, and its P(pos) - P(neg)."""

    family: str
    lang: str
    text: str
    right: str
    got: str
    lean: float


def parse(marked: str) -> tuple[str, list[tuple[int, int]], list[str]]:
    """The text without its marks, the bounds of what they name, and their labels."""
    text, after = "", 0
    spans, labels = [], []
    for mark in MARK.finditer(marked):
        text += marked[after : mark.start()]
        spans.append((len(text), len(text) + len(mark[2])))
        labels.append(mark[1])
        text += mark[2]
        after = mark.end()
    return text + marked[after:], spans, labels


@pytest.fixture(scope="module")
def judged() -> list[Judged]:
    encoder = Encoder()
    scale = encoder.heads.toward
    if scale is None:
        pytest.skip("the model files have no head for the sentiment toward a target")
    parsed = [parse(marked) for _, _, marked in CASES]
    texts = [text for text, _, _ in parsed]
    spans = [places for _, places, _ in parsed]
    tags = FunnelTagger(encoder).tag_targets(texts, [lang for _, lang, _ in CASES], spans)
    _, _, logits = encoder.run_targets(texts, spans)
    out = []
    for (family, lang, _), (text, places, labels), own, scores in zip(
        CASES, parsed, tags, logits, strict=True
    ):
        got = {(tag.start, tag.end): tag.label for tag in own if tag.kind == "sentiment_target"}
        odds = np.exp((scores - scores.max(1, keepdims=True)) * scale)
        chances = odds / odds.sum(1, keepdims=True)
        leans = chances[:, SENTIMENTS.index("pos")] - chances[:, SENTIMENTS.index("neg")]
        out += [
            Judged(family, lang, text, label, got[place], float(lean))
            for place, label, lean in zip(places, labels, leans, strict=True)
        ]
    return out


def shares(rows: list[Judged]) -> dict[tuple[str, str], tuple[int, int]]:
    """(right, all) of the targets of each family of a language, most wrong first."""
    total = Counter((row.family, row.lang) for row in rows)
    right = Counter((row.family, row.lang) for row in rows if row.got == row.right)
    order = sorted(total, key=lambda one: right[one] / total[one])
    return {one: (right[one], total[one]) for one in order}


def table(rows: list[Judged]) -> str:
    """Right targets per family, most wrong first, and the sentences that got a wrong one."""
    lines = [
        f"{family:32} {lang} {right:3} of {total:3}"
        for (family, lang), (right, total) in shares(rows).items()
    ]
    lines += [f"{row.right} got {row.got}: {row.text}" for row in rows if row.got != row.right]
    return "\n".join(lines)


def test_marks_become_spans_in_code_points() -> None:
    text, spans, labels = parse("😍 [pos:Ñandú Café]’s, ¿y [neg:Acme]?")
    assert text == "😍 Ñandú Café’s, ¿y Acme?"
    assert [text[start:end] for start, end in spans] == ["Ñandú Café", "Acme"]
    assert labels == ["pos", "neg"]


@pytest.mark.parametrize(("family", "lang", "marked"), CASES)
def test_sentences_are_well_marked(family: str, lang: str, marked: str) -> None:
    text, spans, labels = parse(marked)
    assert not set(text) & set("[]")
    assert spans
    assert lang in FLOOR
    assert (family == "mention or question") <= (set(labels) == {"neu"})


@pytest.mark.parametrize(("family", "lang"), SENTENCES)
def test_families_are_large_enough_and_no_answer_suits_all(family: str, lang: str) -> None:
    labels = [label for marked in SENTENCES[family, lang] for label in parse(marked)[2]]
    assert len(labels) >= 6, f"a third of {len(labels)} targets says little"
    assert family == "mention or question" or len(set(labels)) > 1


def plain(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text without the names and without what sets copies apart."""
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + text[end:]
    return same_text(text)


def test_no_other_sentence_was_learned_from() -> None:
    rows = [*read_targets(TARGETS), *read_slots(SLOTS, NAMES, 1)]
    learned = {plain(row.text, {(start, end) for start, end, _ in row.targets}) for row in rows}
    own = {plain(text, spans): text for text, spans, _ in (parse(one[-1]) for one in CASES)}
    # The one that is has to be right all the same.
    assert {own[key] for key in own.keys() & learned - {""}} <= {"dejé Movistar por Digi y feliz"}


@pytest.mark.parametrize("lang", FLOOR)
def test_targets_get_the_authors_sentiment(judged: list[Judged], lang: str) -> None:
    rows = [row for row in judged if row.lang == lang]
    share = sum(row.got == row.right for row in rows) / len(rows)
    (_, commonest), *_ = Counter(row.right for row in rows).most_common(1)
    least = max(FLOOR[lang], commonest / len(rows) + ABOVE_COMMONEST)
    assert share >= least, f"{share:.3f} right in {lang}, not {least:.3f}\n{table(rows)}"


# Strict: whoever mends this has to say so here.
NOT_YET = pytest.mark.xfail(strict=True, reason="comparisons in Spanish are mostly wrong: 3 of 10")


@pytest.mark.parametrize("lang", ["en", pytest.param("es", marks=NOT_YET)])
def test_no_family_is_mostly_wrong(judged: list[Judged], lang: str) -> None:
    rows = [row for row in judged if row.lang == lang]
    weak = [
        f"{family}: {right} of {total}"
        for (family, _), (right, total) in shares(rows).items()
        if right < IN_A_FAMILY * total
    ]
    assert not weak, f"in {lang} {'; '.join(weak)}\n{table(rows)}"


@pytest.mark.parametrize("lang", FLOOR)
def test_opposite_targets_of_a_sentence_are_told_apart(judged: list[Judged], lang: str) -> None:
    rows = [row for row in judged if row.lang == lang]
    pairs = [
        (liked, disliked)
        for _, own in groupby(rows, key=lambda row: row.text)
        for liked, disliked in product(list(own), repeat=2)
        if (liked.right, disliked.right) == ("pos", "neg")
    ]
    mixed = [liked.text for liked, disliked in pairs if liked.lean <= disliked.lean]
    share = 1 - len(mixed) / len(pairs)
    listed = "\n".join(mixed)
    assert share >= SEPARATED, f"{share:.3f} in {lang}, not:\n{listed}\n{table(rows)}"
