"""Texts of the daily digest in English and Spanish, by the same keys in both."""

from __future__ import annotations

from .wording import Texts

EN: Texts = {
    # what is unusual
    "change.mentions": "Mentions of {name}: {count}",
    "change.positive": "Positive mentions of {name}: {count}",
    "change.negative": "Negative mentions of {name}: {count}",
    "change.awareness": "Posts of people with a need: {count}",
    "change.consideration": "Posts of people weighing options: {count}",
    "change.decision": "Posts of people about to buy: {count}",
    "change.post_purchase": "Posts of customers: {count}",
    "change.day": "{line}, usually {usual} on {weekdays}",
    "change.days": "{line}, usually {usual} in these days",
    "digest.usual_days": "Usual for these {n} days: {usual}",
    "digest.late": (
        "{n} of them is older and was found late",
        "{n} of them are older and were found late",
    ),
    # what has moved since a conversation was shown
    "news.stage": "now {stage}",
    "news.outcome": "it is told how it ended",
    "news.urgent": "it has turned urgent",
    "news.others": ("{n} new reply", "{n} new replies"),
    "news.engagement": "twice the reactions ({count})",
    # who has answered what
    "context.joined": "you are in it already",
    "context.answered": ("answered by {people}", "answered by {people}"),
    "context.others": ("{n} other", "{n} others"),
    "context.people": ("{n} person", "{n} people"),
    "context.options": "named: {names}",
    "context.no_options": "no brand was named",
    # groups and people
    "group": ("{n} post about the same", "{n} posts about the same"),
    "group.words": "{line} ({words})",
    "advocate.times": ("Once in 90 days", "{n} times in 90 days"),
    "advocate.rate": "reactions of {percent} of the followers",
    # sections
    "digest.trend": ("{brand}, {n} day", "{brand}, {n} days"),
    "digest.trend_told": "Mentions of {brand} by day, negative/neutral/positive: {days}",
    "digest.voice_told": "Share of voice: {names}",
    "digest.still_open": (
        "{n} conversation you know is still open and has not moved.",
        "{n} conversations you know are still open and have not moved.",
    ),
    "digest.join_known": "No other open conversation today.",
    "digest.advocates": "Who recommends you",
    "digest.missed": "What did not reach you in time",
    "digest.missed_why": "Alerts that were held back or could not be delivered until it was late.",
}

ES: Texts = {
    "change.mentions": "Menciones de {name}: {count}",
    "change.positive": "Menciones positivas de {name}: {count}",
    "change.negative": "Menciones negativas de {name}: {count}",
    "change.awareness": "Mensajes de gente con una necesidad: {count}",
    "change.consideration": "Mensajes de gente que compara opciones: {count}",
    "change.decision": "Mensajes de gente a punto de comprar: {count}",
    "change.post_purchase": "Mensajes de clientes: {count}",
    "change.day": "{line}; los {weekdays} suelen ser {usual}",
    "change.days": "{line}; en estos días suelen ser {usual}",
    "digest.usual_days": "Lo habitual en estos {n} días: {usual}",
    "digest.late": (
        "{n} es anterior y se ha encontrado tarde",
        "{n} son anteriores y se han encontrado tarde",
    ),
    "news.stage": "ahora {stage}",
    "news.outcome": "ya se sabe cómo acabó",
    "news.urgent": "ahora es urgente",
    "news.others": ("{n} respuesta nueva", "{n} respuestas nuevas"),
    "news.engagement": "el doble de reacciones ({count})",
    "context.joined": "ya participas",
    "context.answered": ("ha contestado {people}", "han contestado {people}"),
    "context.others": ("{n} persona más", "{n} personas más"),
    "context.people": ("{n} persona", "{n} personas"),
    "context.options": "se ha nombrado: {names}",
    "context.no_options": "sin nombrar ninguna marca",
    "group": ("{n} mensaje sobre lo mismo", "{n} mensajes sobre lo mismo"),
    "group.words": "{line} ({words})",
    "advocate.times": ("Una vez en 90 días", "{n} veces en 90 días"),
    "advocate.rate": "reacciones del {percent} de sus seguidores",
    "digest.trend": ("{brand}, {n} día", "{brand}, {n} días"),
    "digest.trend_told": "Menciones de {brand} por día, negativas/neutras/positivas: {days}",
    "digest.voice_told": "Cuota de voz: {names}",
    "digest.still_open": (
        "{n} conversación que ya conoces sigue abierta y sin novedades.",
        "{n} conversaciones que ya conoces siguen abiertas y sin novedades.",
    ),
    "digest.join_known": "Hoy no hay ninguna otra conversación abierta.",
    "digest.advocates": "Quién te recomienda",
    "digest.missed": "Lo que no te llegó a tiempo",
    "digest.missed_why": "Avisos retenidos o que no se pudieron entregar hasta que fue tarde.",
}
