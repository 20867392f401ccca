"""A first configuration from a few answers, for `listener init`."""

from __future__ import annotations

import json
import re

_SAMPLE_ON = re.compile(r"(\[sources\.sample\][^\n]*\nenabled = )true")
_HACKERNEWS_OFF = re.compile(r"(\[sources\.hackernews\][^\n]*\nenabled = )false")
_RECIPIENTS = re.compile(r"\[\[recipients\]\].*?(?=\[channels\]\n)", re.DOTALL)
_REST = "# ---- Where to listen"
_HEAD = """# Listener's configuration for {brand}. `listener check` names everything that is wrong.
# docs/configuration.md explains every key. Paths are relative to the folder of this file.

[database]
path = "listener.db"

# ---- What to listen for ------------------------------------------------------------------------
# Add handles, hashtags, shop addresses and phrases to exclude: see docs/configuration.md.

[brand]
name = {quoted}
aliases = []
handles = []
hashtags = []
exclude = []
"""


_READER = """[[recipients]]
name = {name}
email = {email}
language = {language}
receives = ["digest", "alerts"]
channel = "outbox"

"""


def personalise(
    default: str,
    *,
    brand: str,
    competitors: str,
    need_en: str,
    need_es: str,
    email: str,
    language: str,
) -> str:
    """The default configuration with the user's own brand and one reader of digest and alerts.

    The built-in sample is switched off; Hacker News, which needs no key, is switched on when there
    are English words to ask it for. `competitors` and the two needs are lists separated by commas;
    any may be empty.
    """
    parts = [_HEAD.format(brand=" ".join(brand.split()), quoted=_quote(brand.strip()))]
    parts += [f"\n[[competitors]]\nname = {_quote(name)}\n" for name in _listed(competitors)]
    words = {"en": _listed(need_en), "es": _listed(need_es)}
    if any(words.values()):
        name = next(found[0] for found in words.values() if found)
        parts.append(
            f"\n[[categories]]  # what people say before they name a brand\nname = {_quote(name)}\n"
        )
        parts.append("\n[categories.words]\n")
        parts += [
            f"{language} = [{', '.join(map(_quote, found))}]\n"
            for language, found in words.items()
            if found
        ]
    rest = default[default.index(_REST) :]
    rest = _SAMPLE_ON.sub(r"\1false", rest)
    if words["en"]:
        rest = _HACKERNEWS_OFF.sub(r"\1true", rest)
    name = email.partition("@")[0] or email
    reader = _READER.format(name=_quote(name), email=_quote(email), language=_quote(language))
    rest = _RECIPIENTS.sub(lambda _: reader, rest)
    return "".join(parts) + "\n" + rest


def _listed(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _quote(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which no name holds.
    return json.dumps(text, ensure_ascii=False)
