"""Where a post asks: its questions, and its requests without a question mark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from .words import fold

Span = tuple[int, int]

_REQUESTS = {
    "en": r"""
        (?:looking|searching|shopping)\sfor | in\sthe\smarket\sfor | recommend(?:ations?|ed)?
      | suggest(?:ions?)? | advice | need\s(?:a|an|some|new|help) | should\si | can't\sdecide
      | help\sme\s(?:choose|pick|find) | torn\sbetween | thinking\s(?:of|about) | any\sgood
      | want\sto\s(?:buy|get) | which\sone
    """,
    "es": r"""
        busco | buscando | recomend\w+ | recomien\w+ | sugeren\w+ | sugier\w+ | aconsej\w+
      | consejos? | necesito | quiero\scomprar\w* | quisiera | pensando\sen | dudo\sentre
      | no\sse\s(?:cual|que|si) | estoy\sentre | que\sme\s(?:compro|conviene)
      | cual\s(?:es|me|seria) | algun[ao]? | vale\sla\spena
    """,
}


@cache
def _request(lang: str) -> re.Pattern[str]:
    known = [_REQUESTS[lang]] if lang in _REQUESTS else list(_REQUESTS.values())
    return re.compile(rf"\b(?:{'|'.join(known)})\b", re.VERBOSE)


def asking(text: str, lang: str) -> Iterator[Span]:
    """Bounds, in code points, of the sentences of `text` that ask.

    Those with a question mark or with the wording of a request in `lang` (in English or Spanish for
    other languages).
    """
    request = _request(lang)
    for found in _sentences(text):
        sentence = text[slice(*found)]
        if "?" in sentence or "؟" in sentence or request.search(fold(sentence)[0]):
            yield found


_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'»”)\]]*+(?=\s)|\n")


def _sentences(text: str) -> Iterator[Span]:
    start = 0
    for found in _END.finditer(text):
        yield start, found.end()
        start = found.end()
    if start < len(text):
        yield start, len(text)
