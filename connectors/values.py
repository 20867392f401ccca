"""Single values as files give them: times, languages, counts, ids and texts of any type.

Each reader returns None for what it cannot read, and raises for nothing that JSON can hold.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import isfinite

from .text import clean_text

_LANG = re.compile(r"([a-z]{2})(?:[-_][A-Za-z0-9]{2,8})*", re.IGNORECASE)
_LANG_NAMES = {
    "english": "en",
    "ingles": "en",
    "spanish": "es",
    "espanol": "es",
    "castellano": "es",
}
_OLD_LANG = {"in": "id", "iw": "he", "ji": "yi"}
_EPOCH = re.compile(r"\d{9,19}(?:\.\d+)?")
_ESCAPED = re.compile(r"&(amp|lt|gt);")
_PLAIN_SIGNS = {"amp": "&", "lt": "<", "gt": ">"}
# No id has more digits, and Python reads and prints no number of thousands of them.
_LONGEST_NUMBER = 40


def unescape(text: str) -> str:
    """`text` with the three entities decoded that X and Reddit put into plain text."""
    return _ESCAPED.sub(lambda match: _PLAIN_SIGNS[match[1]], text)


def read_time(value: object) -> tuple[datetime, bool] | None:
    """A date as aware UTC, and whether it named its zone (UTC is taken when it did not).

    Takes epoch seconds, milli-, micro- and nanoseconds as number or digits, ISO 8601, RFC 2822 and
    what X and BigQuery write. Day/month/year is not guessed.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = value.strip()
        if not _EPOCH.fullmatch(value):
            return _written_time(value)
        value = float(value)
    if not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    # Seconds, milli-, micro- or nanoseconds: the one that falls between the years 1973 and 5138.
    for unit in (1, 1e3, 1e6, 1e9):
        if 1e8 <= seconds / unit < 1e11:
            return datetime.fromtimestamp(seconds / unit, UTC), True
    return None


def read_lang(value: object) -> str | None:
    """The ISO 639-1 code in a language tag or name ("es-MX", "spanish"), or None."""
    if not isinstance(value, str):
        return None
    if match := _LANG.fullmatch(value.strip()):
        code = match[1].lower()
        return _OLD_LANG.get(code, code)
    return _LANG_NAMES.get(plain(value[:20]))


def read_count(value: object) -> int | None:
    """A whole number that SQLite can hold, from a number or its digits; None otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = value if isinstance(value, int) else int(float(value))
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 2**63 else None


def read_id(value: object) -> str | None:
    """An id as text: a string that is not blank, or a whole number; None otherwise."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    if isinstance(value, int) and abs(value) >= 10**_LONGEST_NUMBER:
        return None
    return clean_text(str(value)) or None


def is_number(native_id: str) -> bool:
    """Whether an id is a whole number, which `int` can read."""
    return native_id.isdecimal() and len(native_id) <= _LONGEST_NUMBER


def finite(digits: str) -> float | None:
    """The number in a piece of JSON, None for one that is too large, such as 1e999.

    Python would write infinity as a word that is no JSON.
    """
    number = float(digits)
    return number if isfinite(number) else None


def read_text(value: object) -> str | None:
    """A string that is not blank, without control characters; None otherwise."""
    return (clean_text(value) or None) if isinstance(value, str) else None


def require_aware(now: datetime) -> datetime:
    """`now` in UTC; ValueError when it has no zone."""
    if now.utcoffset() is None:
        raise ValueError("now has no zone; pass an aware datetime")
    return now.astimezone(UTC)


@lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """A name as lower-case ASCII letters and digits: "Created At" and "created_at" are one."""
    letters = unicodedata.normalize("NFKD", name)
    return "".join(c for c in letters if c.isascii() and c.isalnum()).lower()


def _written_time(value: str) -> tuple[datetime, bool] | None:
    if value.endswith(" UTC"):
        value = f"{value[:-4]}+00:00"
    if len(value) < 8 or len(value) > 64:
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        try:
            time = parsedate_to_datetime(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    try:
        known = time.utcoffset() is not None
        return (time.astimezone(UTC) if known else time.replace(tzinfo=UTC)), known
    except (OverflowError, ValueError):
        return None
