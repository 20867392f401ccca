"""Texts of the coverage statement in English and Spanish; `i18n` joins them to its own."""

from __future__ import annotations

from collections.abc import Mapping

Texts = Mapping[str, str | tuple[str, str]]

EN: Texts = {
    "digest.coverage": "What this digest covers",
    "digest.nothing_doubt": (
        "Nothing new, but one source was not heard in full, so something may be missing.",
        "Nothing new, but {n} sources were not heard in full, so something may be missing.",
    ),
    "coverage.none": "No source was asked.",
    "coverage.whole": (
        "Listened to the only source without a gap.",
        "Listened to all {n} sources without a gap.",
    ),
    "coverage.some": (
        "Listened to {n} of {total} sources without a gap.",
        "Listened to {n} of {total} sources without a gap.",
    ),
    "coverage.gaps": (
        "The only source was not heard without a gap.",
        "None of the {n} sources was heard without a gap.",
    ),
    "coverage.blind": "blind {span}",
    "coverage.searches": ("in {n} of {total} searches", "in {n} of {total} searches"),
    "coverage.waits": "asked to wait until {time}",
    "coverage.late": "not asked again since {time}",
    "coverage.lost": "lost for good",
    "coverage.cut": (
        "{n} search cut short by the budget",
        "{n} searches cut short by the budget",
    ),
    "coverage.spent": "{spent} this month",
    "coverage.cap": "{spent} of {cap} this month",
    "duration.minutes": "{minutes} min",
    "duration.hours": "{hours} h",
    "duration.both": "{hours} h {minutes} min",
    "state.partial": "partly read",
    "state.waiting": "asked to wait",
    "state.failed": "failed",
    "state.silent": "not asked",
}

ES: Texts = {
    "digest.coverage": "Qué abarca este resumen",
    "digest.nothing_doubt": (
        "Sin novedades, pero una fuente no se ha escuchado del todo y puede faltar algo.",
        "Sin novedades, pero {n} fuentes no se han escuchado del todo y puede faltar algo.",
    ),
    "coverage.none": "No se ha consultado ninguna fuente.",
    "coverage.whole": (
        "La única fuente se ha escuchado sin huecos.",
        "Las {n} fuentes se han escuchado sin huecos.",
    ),
    "coverage.some": (
        "De {total} fuentes, {n} se ha escuchado sin huecos.",
        "De {total} fuentes, {n} se han escuchado sin huecos.",
    ),
    "coverage.gaps": (
        "La única fuente no se ha escuchado sin huecos.",
        "Ninguna de las {n} fuentes se ha escuchado sin huecos.",
    ),
    "coverage.blind": "sin escuchar {span}",
    "coverage.searches": ("en {n} de {total} búsquedas", "en {n} de {total} búsquedas"),
    "coverage.waits": "ha pedido esperar hasta el {time}",
    "coverage.late": "sin consultar desde el {time}",
    "coverage.lost": "perdido para siempre",
    "coverage.cut": (
        "{n} búsqueda recortada por el presupuesto",
        "{n} búsquedas recortadas por el presupuesto",
    ),
    "coverage.spent": "{spent} este mes",
    "coverage.cap": "{spent} de {cap} este mes",
    "duration.minutes": "{minutes} min",
    "duration.hours": "{hours} h",
    "duration.both": "{hours} h {minutes} min",
    "state.partial": "leída en parte",
    "state.waiting": "ha pedido esperar",
    "state.failed": "ha fallado",
    "state.silent": "sin consultar",
}
