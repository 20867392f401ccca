"""The e-mail to the operator: what is wrong with Listener itself, or that it works again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import escape

from .envelope import Rendered
from .hostile import clean
from .i18n import moment as told_moment
from .store import Store, moment

_ERROR_LENGTH = 500
_TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "quiet.began": "{subject} has gone quiet",
        "quiet.why": "{subject} answers, but has brought no new post for {hours} hours (the last "
        "one in the hour of {last}). It has never been silent for so long at such hours.",
        "quiet.fix": "Look at the site itself and at the words that are searched for; "
        "`listener check` asks the source once.",
        "failing.began": "{subject} keeps failing",
        "failing.why": "It failed {times} times in a row since {since}: {error}",
        "failing.fix": "`listener check` asks it once and says what is wrong.",
        "refused.began": "{subject} needs you",
        "refused.why": "It does not work with these settings: {error}",
        "refused.fix": "Mend its section of the configuration or its sign-in, try `listener "
        "check`, and start `listener run` again.",
        "job.began": "The job {subject} keeps failing",
        "job.why": "It failed {times} times in a row: {error}",
        "job.fix": "`listener status` shows all jobs, and the log tells more.",
        "disk.began": "The disk is nearly full",
        "disk.why": "{free_mb} MB are free on the disk of the database. When it is full, nothing "
        "more is collected or sent; what is stored stays whole.",
        "disk.fix": "Free some space, or keep less: [retention] in the configuration.",
        "quiet.ended": "{subject} brings posts again",
        "failing.ended": "{subject} works again",
        "refused.ended": "{subject} works again",
        "job.ended": "The job {subject} works again",
        "disk.ended": "The disk has room again",
        "ended.why": "It was told of at {began} and ended at {ended}.",
        "foot": "You get this as an operator of Listener, once when it begins and once when it is "
        "over.",
    },
    "es": {
        "quiet.began": "{subject} se ha quedado en silencio",
        "quiet.why": "{subject} responde, pero no trae ninguna publicación nueva desde hace {hours}"
        " horas (la última, en la hora de {last}). Nunca había callado tanto a estas horas.",
        "quiet.fix": "Mira el propio sitio y las palabras que se buscan; `listener check` le "
        "pregunta una vez.",
        "failing.began": "{subject} falla una y otra vez",
        "failing.why": "Ha fallado {times} veces seguidas desde {since}: {error}",
        "failing.fix": "`listener check` le pregunta una vez y dice qué va mal.",
        "refused.began": "{subject} te necesita",
        "refused.why": "No funciona con estos ajustes: {error}",
        "refused.fix": "Corrige su sección de la configuración o su acceso, prueba `listener "
        "check` y reinicia `listener run`.",
        "job.began": "La tarea {subject} falla una y otra vez",
        "job.why": "Ha fallado {times} veces seguidas: {error}",
        "job.fix": "`listener status` muestra todas las tareas y el registro cuenta más.",
        "disk.began": "El disco está casi lleno",
        "disk.why": "Quedan {free_mb} MB libres en el disco de la base de datos. Cuando se llene, "
        "no se recogerá ni se enviará nada más; lo guardado queda intacto.",
        "disk.fix": "Libera espacio o guarda menos: [retention] en la configuración.",
        "quiet.ended": "{subject} vuelve a traer publicaciones",
        "failing.ended": "{subject} vuelve a funcionar",
        "refused.ended": "{subject} vuelve a funcionar",
        "job.ended": "La tarea {subject} vuelve a funcionar",
        "disk.ended": "El disco vuelve a tener sitio",
        "ended.why": "Se avisó a las {began} y terminó a las {ended}.",
        "foot": "Recibes esto como responsable de Listener, una vez cuando empieza y otra cuando "
        "termina.",
    },
}
_PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{title}</title></head>
<body style="margin:0;padding:24px;font-family:Helvetica,Arial,sans-serif;font-size:16px;\
line-height:1.5">
<div style="max-width:560px;margin:0 auto">
<h1 style="font-size:20px;line-height:1.3;margin:0 0 12px">{title}</h1>
{paragraphs}
<p style="margin:24px 0 0;font-size:13px">{foot}</p>
</div></body></html>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubleMail:
    """The mail, and what it says, ready for JSON."""

    rendered: Rendered
    data: dict[str, Any]


def trouble_mail(store: Store, ref: str, *, language: str, timezone: str) -> TroubleMail | None:
    """The mail of `NUMBER:began` or `NUMBER:ended`; None when there is no such trouble any more.

    Spanish for "es", else English; times are those of `timezone`.
    """
    number, _, state = ref.partition(":")
    rows = store.rows("SELECT * FROM troubles WHERE id = ?", (number,))
    if not rows:
        return None
    (row,) = rows
    language = language if language in _TEXTS else "en"
    texts = _TEXTS[language]
    detail = json.loads(row["detail"])

    def shown(stamped: str | None) -> str:
        return told_moment(language, moment(stamped), timezone) if stamped else ""

    values = {
        **detail,
        "subject": clean(row["subject"], 80),
        "error": clean(detail.get("error") or "", _ERROR_LENGTH),
        "last": shown(detail.get("last")),
        "since": shown(detail.get("since")),
        "began": shown(row["began_at"]),
        "ended": shown(row["ended_at"]),
    }
    subject = texts[f"{row['kind']}.{state}"].format(**values)
    keys = ["ended.why"] if state == "ended" else [f"{row['kind']}.why", f"{row['kind']}.fix"]
    lines = [texts[key].format(**values) for key in keys]
    paragraphs = "\n".join(f'<p style="margin:0 0 12px">{escape(line)}</p>' for line in lines)
    page = _PAGE.format(
        language=language,
        title=escape(subject),
        paragraphs=paragraphs,
        foot=escape(texts["foot"]),
    )
    text = "\n\n".join([subject, *lines, f"-- \n{texts['foot']}"]) + "\n"
    data = {
        "kind": "operator",
        "state": state,
        "trouble": row["kind"],
        "subject": row["subject"],
        "title": subject,
        "text": lines,
        "detail": detail,
        "began_at": row["began_at"],
        "ended_at": row["ended_at"],
    }
    rendered = Rendered(subject=f"Listener: {subject}", text=text, html=page)
    return TroubleMail(rendered=rendered, data=data)
