"""Texts of the web page in English and Spanish, by the same keys in both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Language = Literal["en", "es"]

_EN = {
    "feedback.kicker": "Alert {number}",
    "feedback.ask": "Was this alert useful?",
    "feedback.useful": "Useful",
    "feedback.useful.told": "Worth the interruption: the choice was open and I could help.",
    "feedback.not-useful": "Not useful",
    "feedback.not-useful.told": "On topic, but not worth an alert.",
    "feedback.late": "Too late",
    "feedback.late.told": "The choice was already made.",
    "feedback.wrong-brand": "Wrong brand",
    "feedback.wrong-brand.told": "It is about something else of the same name.",
    "feedback.not-a-buyer": "Not a buyer",
    "feedback.not-a-buyer.told": "A seller, an advert, news, or somebody who buys nothing.",
    "audit.kicker": "Check {number}",
    "audit.ask": "Should this have been an alert?",
    "audit.missed": "Yes, it was missed",
    "audit.missed.told": "Somebody was still choosing and an alert would have helped.",
    "audit.right": "No, rightly none",
    "audit.right.told": "Nobody was choosing, or an alert would not have helped.",
    "unsubscribe.digest.ask": "Stop the daily digest?",
    "unsubscribe.digest.told": "No digest will be sent to you any more. Alerts go on, if you get "
    "any.",
    "unsubscribe.digest.done": "You get no daily digest any more. Alerts go on, if you get any.",
    "unsubscribe.digest.back": "You get the daily digest again, from the next one on.",
    "unsubscribe.alerts.ask": "Stop alert e-mails?",
    "unsubscribe.alerts.told": "No alert will be sent to you any more. The daily digest goes on, "
    "if you get it.",
    "unsubscribe.alerts.done": "You get no alert e-mails any more. The daily digest goes on, if "
    "you get it.",
    "unsubscribe.alerts.back": "You get alert e-mails again, from the next alert on.",
    "unsubscribe.stop": "Stop these e-mails",
    "unsubscribe.resume": "Get them again",
    "unsubscribe.untouched": "Nothing changes until you press the button.",
    "unsubscribe.wrong": "Was it a mistake?",
    "unsubscribed.title": "You are unsubscribed",
    "subscribed.title": "You are subscribed again",
    "held.title": "E-mails to you are paused",
    "held.text": "That was done by whoever runs Listener, or your mailbox refused them. Ask for "
    "e-mails again.",
    "unclear.title": "Please press a button",
    "unclear.text": "Nothing was changed, because no button was pressed.",
    "rule": "rule “{rule}”",
    "answers": "Your answer",
    "save": "Save answer",
    "save.again": "Change answer",
    "nothing_stored": "Nothing is stored until you press the button.",
    "recorded": "Your answer on record:",
    "change": "Changed your mind?",
    "thanks.title": "Thank you",
    "thanks.text": "Your answer is stored. It makes the next alerts better.",
    "repeated.title": "Already recorded",
    "repeated.text": "This form was sent before and counts once. To change the answer, choose "
    "below.",
    "lost.title": "Please send it once more",
    "lost.text": "This form was sent before, but no answer is on record. Choose below once more.",
    "stale.title": "This form is out of date",
    "stale.text": "It was opened too long ago or was changed. Nothing was stored; choose again.",
    "choose.title": "Choose an answer",
    "choose.text": "Nothing was stored, because no answer was chosen.",
    "forged.title": "This link does not work",
    "forged.text": "It was not made by this Listener, or part of it was lost. Open it from the "
    "e-mail again; if it is broken over two lines, copy it whole. Nothing was stored.",
    "expired.title": "This link is too old",
    "expired.text": "Links work for 60 days. Use a newer e-mail, or ask whoever runs Listener to "
    "record your answer with `listener feedback`. Nothing was stored.",
    "old.title": "This link is too old",
    "old.text": "Such links work for a year. Use a newer e-mail, or ask whoever runs Listener to "
    "send you no more. Nothing was changed.",
    "stranger.title": "This link no longer belongs to a reader",
    "stranger.text": "It was made for an address that gets no mail from this Listener any more. "
    "Ask whoever runs it to add you. Nothing was stored.",
    "gone.title": "There is nothing left to judge",
    "gone.text": "The post was deleted, so what was kept of it here is deleted, too. You need not "
    "do anything.",
    "missing.title": "There is no such page",
    "missing.text": "Open the link from the e-mail again.",
    "refused.title": "That cannot be done here",
    "refused.text": "Open the link from the e-mail and use the form on the page.",
    "large.title": "That is too much",
    "large.text": "Use the form on the page; it needs nothing else.",
    "slow.title": "That took too long",
    "slow.text": "Go back and send the form again. Nothing was stored.",
    "busy.title": "Not possible right now",
    "busy.text": "Listener could not do that. Try again in a minute; if it goes on, tell whoever "
    "runs it.",
    "footer": "Listener never replies for you.",
}

_ES = {
    "feedback.kicker": "Aviso {number}",
    "feedback.ask": "¿Te ha servido este aviso?",
    "feedback.useful": "Útil",
    "feedback.useful.told": "Valía la pena: aún no había elegido y podía ayudar.",
    "feedback.not-useful": "Poco útil",
    "feedback.not-useful.told": "Viene al caso, pero no merecía un aviso.",
    "feedback.late": "Demasiado tarde",
    "feedback.late.told": "Ya había elegido.",
    "feedback.wrong-brand": "Otra marca",
    "feedback.wrong-brand.told": "Habla de otra cosa con el mismo nombre.",
    "feedback.not-a-buyer": "No es un comprador",
    "feedback.not-a-buyer.told": "Vende, anuncia, informa o no va a comprar nada.",
    "audit.kicker": "Comprobación {number}",
    "audit.ask": "¿Tendría que haber sido un aviso?",
    "audit.missed": "Sí, se nos pasó",
    "audit.missed.told": "Alguien aún estaba eligiendo y un aviso habría servido.",
    "audit.right": "No, bien sin aviso",
    "audit.right.told": "Nadie estaba eligiendo, o un aviso no habría servido.",
    "unsubscribe.digest.ask": "¿Dejar de recibir el resumen diario?",
    "unsubscribe.digest.told": "No te enviaremos más resúmenes. Los avisos seguirán llegando, si "
    "los recibes.",
    "unsubscribe.digest.done": "Ya no recibes el resumen diario. Los avisos siguen llegando, si "
    "los recibes.",
    "unsubscribe.digest.back": "Vuelves a recibir el resumen diario a partir del próximo.",
    "unsubscribe.alerts.ask": "¿Dejar de recibir avisos por correo?",
    "unsubscribe.alerts.told": "No te enviaremos más avisos. El resumen diario seguirá llegando, "
    "si lo recibes.",
    "unsubscribe.alerts.done": "Ya no recibes avisos por correo. El resumen diario sigue llegando, "
    "si lo recibes.",
    "unsubscribe.alerts.back": "Vuelves a recibir avisos por correo a partir del próximo.",
    "unsubscribe.stop": "Dejar de recibirlos",
    "unsubscribe.resume": "Volver a recibirlos",
    "unsubscribe.untouched": "No cambia nada hasta que pulses el botón.",
    "unsubscribe.wrong": "¿Ha sido un error?",
    "unsubscribed.title": "Te has dado de baja",
    "subscribed.title": "Te has vuelto a suscribir",
    "held.title": "Los correos para ti están en pausa",
    "held.text": "Lo ha hecho quien lleva Listener, o tu buzón los rechazó. Pídele que te los "
    "vuelva a enviar.",
    "unclear.title": "Pulsa un botón",
    "unclear.text": "No se ha cambiado nada porque no se ha pulsado ningún botón.",
    "rule": "regla «{rule}»",
    "answers": "Tu respuesta",
    "save": "Guardar respuesta",
    "save.again": "Cambiar respuesta",
    "nothing_stored": "No se guarda nada hasta que pulses el botón.",
    "recorded": "Tu respuesta guardada:",
    "change": "¿Has cambiado de opinión?",
    "thanks.title": "Gracias",
    "thanks.text": "Hemos guardado tu respuesta. Con ella los próximos avisos serán mejores.",
    "repeated.title": "Ya estaba guardada",
    "repeated.text": "Este formulario ya se había enviado y cuenta una vez. Para cambiar la "
    "respuesta, elige abajo.",
    "lost.title": "Envíala otra vez",
    "lost.text": "Este formulario ya se había enviado, pero no hay ninguna respuesta guardada. "
    "Vuelve a elegir abajo.",
    "stale.title": "Este formulario ha caducado",
    "stale.text": "Se abrió hace demasiado tiempo o se ha modificado. No se ha guardado nada; "
    "vuelve a elegir.",
    "choose.title": "Elige una respuesta",
    "choose.text": "No se ha guardado nada porque no había ninguna respuesta elegida.",
    "forged.title": "Este enlace no funciona",
    "forged.text": "No lo ha creado este Listener o se ha perdido una parte. Ábrelo otra vez desde "
    "el correo; si está partido en dos líneas, cópialo entero. No se ha guardado nada.",
    "expired.title": "Este enlace ha caducado",
    "expired.text": "Los enlaces valen 60 días. Usa un correo más reciente o pide a quien lleva "
    "Listener que anote tu respuesta con `listener feedback`. No se ha guardado nada.",
    "old.title": "Este enlace ha caducado",
    "old.text": "Estos enlaces valen un año. Usa un correo más reciente o pide a quien lleva "
    "Listener que no te envíe más. No se ha cambiado nada.",
    "stranger.title": "Este enlace ya no es de ningún lector",
    "stranger.text": "Se creó para una dirección que ya no recibe correos de este Listener. Pide a "
    "quien lo lleva que te añada. No se ha guardado nada.",
    "gone.title": "Ya no queda nada que valorar",
    "gone.text": "El mensaje se borró y también lo que guardábamos de él. No tienes que hacer "
    "nada.",
    "missing.title": "Esta página no existe",
    "missing.text": "Abre otra vez el enlace desde el correo.",
    "refused.title": "Aquí no se puede hacer eso",
    "refused.text": "Abre el enlace desde el correo y usa el formulario de la página.",
    "large.title": "Es demasiado",
    "large.text": "Usa el formulario de la página; no hace falta nada más.",
    "slow.title": "Ha tardado demasiado",
    "slow.text": "Vuelve atrás y envía el formulario otra vez. No se ha guardado nada.",
    "busy.title": "Ahora no es posible",
    "busy.text": "Listener no ha podido hacerlo. Prueba dentro de un minuto; si sigue igual, avisa "
    "a quien lo lleva.",
    "footer": "Listener nunca responde por ti.",
}

TEXTS: Mapping[Language, Mapping[str, str]] = {"en": _EN, "es": _ES}


def preferred(accepted: str) -> Language:
    """The language of ours that an Accept-Language header likes best; English when it says none."""
    best: dict[Language, float] = {}
    for part in accepted[:500].split(","):
        tag, _, weight = part.partition(";")
        for language in TEXTS:
            if tag.strip().lower().split("-")[0] == language:
                best[language] = max(best.get(language, 0.0), _weight(weight))
    wanted = [language for language in best if best[language] > 0]
    return max(wanted, key=lambda language: best[language], default="en")


def _weight(text: str) -> float:
    name, _, value = text.partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
