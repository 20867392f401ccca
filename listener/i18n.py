"""Texts, dates and numbers of e-mails in English and Spanish.

`say` looks a text up; a value that is a pair holds the singular and the plural, chosen by `n`.
Texts are Python format strings of ours; what people wrote only ever fills their gaps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from . import web_texts, wording, wording_coverage, wording_digest

Catalogue = Mapping[str, str | tuple[str, str]]

_EN: Catalogue = {
    "weekdays": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "months": "January February March April May June July "
    "August September October November December",
    # stage of a conversation: what its author is doing
    "stage.none": "not buying",
    "stage.awareness": "has a need",
    "stage.consideration": "weighing options",
    "stage.decision": "about to buy",
    "stage.post_purchase": "already a customer",
    # stage counts of a day
    "count.awareness": "with a need",
    "count.consideration": "weighing options",
    "count.decision": "about to buy",
    "count.post_purchase": ("already a customer", "already customers"),
    # reach of an author
    "reach.nano": "small, close audience",
    "reach.micro": "mid-size audience",
    "reach.macro": "large audience",
    # chance in words
    "chance.high": "very likely",
    "chance.good": "likely",
    "chance.even": "possible",
    "chance.low": "uncertain",
    # why a conversation was picked
    "why.early_probability": "The choice is still open: {chance} ({percent})",
    "why.stage": "Stage: {stage}",
    "why.matched": "Mentions {value}",
    "why.replies_none": "Nobody has answered yet",
    "why.replies": ("{n} reply so far", "{n} replies so far"),
    "signal.recommendation_request": "Asks for a recommendation",
    "signal.comparison": "Compares options",
    "signal.product_question": "Asks about a product",
    "signal.price_availability": "Asks about price or where to buy",
    "signal.recommendation_given": "Recommends something",
    "signal.complaint": "Complains",
    "signal.praise": "Is happy with something",
    "signal.suggestion": "Has an idea for the maker",
    "signal.switching": "Is thinking of switching",
    # age
    "age.minutes": "less than an hour ago",
    "age.hours": ("{n} hour ago", "{n} hours ago"),
    "age.days": ("{n} day ago", "{n} days ago"),
    # small parts of a card
    "replies": ("{n} reply", "{n} replies"),
    "replies.none": "no replies yet",
    "moved": "New activity",
    "language.en": "in English",
    "language.es": "in Spanish",
    "open": "Open on {host}",
    "anonymous": "Unknown author",
    "more": "and {n} more",
    "earlier": ("{n} earlier post is left out", "{n} earlier posts are left out"),
    # alert
    "alert.subject": "Choice still open: {about} ({source})",
    "alert.subject_plain": "Choice still open: a conversation on {source}",
    "alert.kicker": "A conversation worth joining",
    "lead.none": "Somebody on {source} talks about it without buying.",
    "lead.awareness": "Somebody on {source} has a need and has not started to choose.",
    "lead.consideration": "Somebody on {source} is weighing options.",
    "lead.decision": "Somebody on {source} is about to buy.",
    "lead.post_purchase": "Somebody on {source} is a customer and talks about it.",
    "alert.why": "Why you get this",
    "alert.post": "What they said",
    "alert.timeline": "The conversation so far",
    "alert.about": "It is about",
    "alert.above": "The post shown above",
    "alert.again": "To see it again with the thread as it is then, in a terminal:",
    "alert.footer": "Rule “{rule}”, alert {id}. Listener never replies for you.",
    "rule.early-funnel": "conversation before the purchase",
    # digest
    "digest.subject": ("{brand}: {n} mention on {day}", "{brand}: {n} mentions on {day}"),
    "digest.subject_join": (
        "{brand}: {n} conversation to join, {day}",
        "{brand}: {n} conversations to join, {day}",
    ),
    "digest.subject_nothing": "{brand}: nothing new on {day}",
    "digest.kicker": "{brand} · daily digest",
    "digest.mentions": ("mention", "mentions"),
    "digest.more": "{percent} more than usual for a {weekday} ({usual})",
    "digest.fewer": "{percent} fewer than usual for a {weekday} ({usual})",
    "digest.same": "As usual for a {weekday}",
    "digest.usual": "Usual for a {weekday}: {usual}",
    "digest.no_usual": "Not enough history yet to say what is usual",
    "digest.nothing": "Nothing new: no mention and no new open conversation.",
    "digest.held_back": (
        "{n} more alert was held back to stay within your daily limit.",
        "{n} more alerts were held back to stay within your daily limit.",
    ),
    "digest.join": "Conversations to join now",
    "digest.join_none": "No open conversation today.",
    "digest.join_more": ("and {n} more conversation", "and {n} more conversations"),
    "digest.voice": "Share of voice",
    "digest.praise": "What people praise",
    "digest.complaints": "What people complain about",
    "digest.ideas": "Ideas for you",
    "digest.unanswered": "Questions without an answer",
    "digest.audit": "Did we miss one?",
    "digest.audit_why": "A small sample of what raised no alert. Your answers tell how much is "
    "missed.",
    "digest.footer": "Day and times in {timezone}. Listener never replies for you.",
    "name": "Name",
    "mentions": "Mentions",
    "share": "Share",
    "positive": "Positive",
    "neutral": "Neutral",
    "negative": "Negative",
    "source": "Source",
    "source.sample": "the sample",
    "fetched": "Read",
    "kept": "On topic",
    "new": "New",
}

_ES: Catalogue = {
    "weekdays": "lunes martes miércoles jueves viernes sábado domingo",
    "months": "enero febrero marzo abril mayo junio julio "
    "agosto septiembre octubre noviembre diciembre",
    "stage.none": "sin intención de compra",
    "stage.awareness": "tiene una necesidad",
    "stage.consideration": "comparando opciones",
    "stage.decision": "a punto de comprar",
    "stage.post_purchase": "ya es cliente",
    "count.awareness": "con una necesidad",
    "count.consideration": "comparando opciones",
    "count.decision": "a punto de comprar",
    "count.post_purchase": ("ya es cliente", "ya son clientes"),
    "reach.nano": "audiencia pequeña y cercana",
    "reach.micro": "audiencia media",
    "reach.macro": "audiencia grande",
    "chance.high": "muy probable",
    "chance.good": "probable",
    "chance.even": "posible",
    "chance.low": "poco seguro",
    "why.early_probability": "Aún no ha elegido: {chance} ({percent})",
    "why.stage": "Etapa: {stage}",
    "why.matched": "Menciona {value}",
    "why.replies_none": "Nadie ha contestado todavía",
    "why.replies": ("{n} respuesta hasta ahora", "{n} respuestas hasta ahora"),
    "signal.recommendation_request": "Pide una recomendación",
    "signal.comparison": "Compara opciones",
    "signal.product_question": "Pregunta por un producto",
    "signal.price_availability": "Pregunta por el precio o dónde comprar",
    "signal.recommendation_given": "Recomienda algo",
    "signal.complaint": "Se queja",
    "signal.praise": "Habla bien de algo",
    "signal.suggestion": "Propone una idea al fabricante",
    "signal.switching": "Piensa en cambiarse",
    "age.minutes": "hace menos de una hora",
    "age.hours": ("hace {n} hora", "hace {n} horas"),
    "age.days": ("hace {n} día", "hace {n} días"),
    "replies": ("{n} respuesta", "{n} respuestas"),
    "replies.none": "sin respuestas todavía",
    "moved": "Con novedades",
    "language.en": "en inglés",
    "language.es": "en español",
    "open": "Abrir en {host}",
    "anonymous": "Autor desconocido",
    "more": "y {n} más",
    "earlier": ("{n} mensaje anterior no se muestra", "{n} mensajes anteriores no se muestran"),
    "alert.subject": "Aún no ha elegido: {about} ({source})",
    "alert.subject_plain": "Aún no ha elegido: una conversación en {source}",
    "alert.kicker": "Una conversación en la que vale la pena participar",
    "lead.none": "Alguien en {source} habla del tema sin intención de comprar.",
    "lead.awareness": "Alguien en {source} tiene una necesidad y aún no ha empezado a elegir.",
    "lead.consideration": "Alguien en {source} está comparando opciones.",
    "lead.decision": "Alguien en {source} está a punto de comprar.",
    "lead.post_purchase": "Alguien en {source} ya es cliente y habla de su experiencia.",
    "alert.why": "Por qué te avisamos",
    "alert.post": "Lo que ha dicho",
    "alert.timeline": "La conversación hasta ahora",
    "alert.about": "Habla de",
    "alert.above": "El mensaje de arriba",
    "alert.again": "Para volver a verlo con el hilo como esté entonces, en un terminal:",
    "alert.footer": "Regla «{rule}», aviso {id}. Listener nunca responde por ti.",
    "rule.early-funnel": "conversación antes de la compra",
    "digest.subject": ("{brand}: {n} mención el {day}", "{brand}: {n} menciones el {day}"),
    "digest.subject_join": (
        "{brand}: {n} conversación en la que participar, {day}",
        "{brand}: {n} conversaciones en las que participar, {day}",
    ),
    "digest.subject_nothing": "{brand}: sin novedades el {day}",
    "digest.kicker": "{brand} · resumen del día",
    "digest.mentions": ("mención", "menciones"),
    "digest.more": "Un {percent} más de lo habitual para un {weekday} ({usual})",
    "digest.fewer": "Un {percent} menos de lo habitual para un {weekday} ({usual})",
    "digest.same": "Lo habitual para un {weekday}",
    "digest.usual": "Lo habitual para un {weekday}: {usual}",
    "digest.no_usual": "Aún no hay historial para saber qué es lo habitual",
    "digest.nothing": "Sin novedades: ninguna mención ni conversación abierta nueva.",
    "digest.held_back": (
        "Hemos retenido {n} aviso más para no pasar de tu límite diario.",
        "Hemos retenido {n} avisos más para no pasar de tu límite diario.",
    ),
    "digest.join": "Conversaciones en las que participar ahora",
    "digest.join_none": "Hoy no hay ninguna conversación abierta.",
    "digest.join_more": ("y {n} conversación más", "y {n} conversaciones más"),
    "digest.voice": "Cuota de voz",
    "digest.praise": "Lo que gusta",
    "digest.complaints": "Lo que no gusta",
    "digest.ideas": "Ideas para ti",
    "digest.unanswered": "Preguntas sin respuesta",
    "digest.audit": "¿Se nos escapó alguna?",
    "digest.audit_why": "Una pequeña muestra de lo que no dio aviso. Tus respuestas dicen cuánto "
    "se nos escapa.",
    "digest.footer": "Fecha y horas en la zona horaria {timezone}. Listener nunca responde por ti.",
    "name": "Nombre",
    "mentions": "Menciones",
    "share": "Cuota",
    "positive": "Positivas",
    "neutral": "Neutras",
    "negative": "Negativas",
    "source": "Fuente",
    "source.sample": "la muestra",
    "fetched": "Leídas",
    "kept": "Del tema",
    "new": "Nuevas",
}

# What mails and the web page call a verdict is the same.
_VERDICTS: Mapping[str, Catalogue] = {
    language: {
        key: words for key, words in texts.items() if key.startswith(("feedback.", "audit."))
    }
    for language, texts in web_texts.TEXTS.items()
}
CATALOGUES: Mapping[str, Catalogue] = {
    "en": {**_EN, **wording.EN, **wording_coverage.EN, **wording_digest.EN, **_VERDICTS["en"]},
    "es": {**_ES, **wording.ES, **wording_coverage.ES, **wording_digest.ES, **_VERDICTS["es"]},
}
LANGUAGES = tuple(CATALOGUES)

_NBSP = "\u00a0"


def say(language: str, key: str, /, *, n: int | None = None, **values: str) -> str:
    """The text `key` in `language`, its gaps filled; `n` picks singular or plural and fills {n}.

    Raises `ValueError` for a language or a key that has no text.
    """
    entry = _catalogue(language).get(key)
    if entry is None:
        raise ValueError(f"no text for {key!r}; add it to every language of listener/i18n.py")
    if n is None:
        return (entry if isinstance(entry, str) else entry[1]).format(**values)
    if isinstance(entry, tuple):
        entry = entry[0] if n == 1 else entry[1]
    return entry.format(n=number(language, n), **values)


def has(language: str, key: str) -> bool:
    """Whether `say` knows `key`."""
    return key in _catalogue(language)


def _catalogue(language: str) -> Catalogue:
    if language not in CATALOGUES:
        raise ValueError(f"no texts in language {language!r}; choose one of {', '.join(LANGUAGES)}")
    return CATALOGUES[language]


def listing(language: str, names: Sequence[str]) -> str:
    """`names` as a list in words: A, B and C; A, B y C (e before the sound i)."""
    if len(names) < 2:
        return "".join(names)
    word = "and" if language == "en" else "y"
    if language == "es" and re.match("h?i(?!e)", names[-1], re.IGNORECASE):
        word = "e"
    return f"{', '.join(names[:-1])} {word} {names[-1]}"


def quoted(language: str, words: str) -> str:
    """`words` in the quotation marks of the language: “words” and «words»."""
    return f"«{words}»" if language == "es" else f"“{words}”"


def number(language: str, value: float) -> str:
    """`value` rounded to a whole number: 12,345 in English; 1234 and 12 345 in Spanish."""
    grouped = f"{round(value):,}"
    if language == "en":
        return grouped
    return grouped.replace(",", _NBSP if abs(round(value)) >= 10_000 else "")


def decimal(language: str, value: float) -> str:
    """`value` with at most one decimal: 2.5 in English, 2,5 in Spanish."""
    text = f"{value:.1f}".removesuffix(".0")
    return text if language == "en" else text.replace(".", ",")


def percent(language: str, share: float) -> str:
    """`share` (1.0 is all) as a whole percentage: 87% in English, 87 % in Spanish."""
    return number(language, share * 100) + ("%" if language == "en" else f"{_NBSP}%")


def dollars(language: str, micro: int) -> str:
    """Micro-dollars as dollars and cents: $1,234.50 in English, 1234,50 $ in Spanish."""
    whole, cents = divmod(round(micro / 10_000), 100)
    if language == "en":
        return f"${number(language, whole)}.{cents:02}"
    return f"{number(language, whole)},{cents:02}{_NBSP}$"


def duration(language: str, minutes: int) -> str:
    """How long something lasted: 45 min, 3 h, 3 h 20 min."""
    hours, rest = divmod(minutes, 60)
    key = "both" if hours and rest else "hours" if hours else "minutes"
    return say(
        language, f"duration.{key}", hours=number(language, hours), minutes=str(rest)
    ).replace(" ", _NBSP)


def weekday(language: str, day: date) -> str:
    """Name of the day of the week: Sunday, domingo."""
    return say(language, "weekdays").split()[day.weekday()]


def weekdays(language: str, day: date) -> str:
    """The day of the week as a habit: Sundays, domingos; lunes stays lunes."""
    name = weekday(language, day)
    return name if name.endswith("s") else f"{name}s"


def month(language: str, day: date) -> str:
    """Name of the month: November, noviembre."""
    return say(language, "months").split()[day.month - 1]


def short_day(language: str, day: date) -> str:
    """The day without its year: 22 November, 22 de noviembre."""
    of = " de " if language == "es" else " "
    return f"{day.day}{of}{month(language, day)}"


def long_day(language: str, day: date) -> str:
    """The whole date as a heading: Sunday, 22 November 2026; Domingo, 22 de noviembre de 2026."""
    of = " de " if language == "es" else " "
    return f"{weekday(language, day).capitalize()}, {short_day(language, day)}{of}{day.year}"


def moment(language: str, at: datetime, timezone: str) -> str:
    """Day and time of `at` (aware) in `timezone` (an IANA name): 22 Nov, 14:05; 22 nov, 14:05."""
    local = at.astimezone(ZoneInfo(timezone))
    return f"{local.day}{_NBSP}{month(language, local)[:3]}, {local:%H:%M}"


def age(language: str, hours: float) -> str:
    """How long ago something started, in hours below two days and in whole days from there."""
    span = timedelta(hours=max(hours, 0))
    if span < timedelta(hours=1):
        return say(language, "age.minutes")
    if span < timedelta(days=2):
        return say(language, "age.hours", n=int(span / timedelta(hours=1)))
    return say(language, "age.days", n=span.days)


def chance(language: str, probability: float) -> str:
    """A calibrated probability in words: from 0.85 very likely, 0.65 likely, 0.45 possible."""
    for least, key in ((0.85, "high"), (0.65, "good"), (0.45, "even")):
        if probability >= least:
            return say(language, f"chance.{key}")
    return say(language, "chance.low")
