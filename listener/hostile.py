"""What people wrote, made safe to show: `clean` for texts and names, `link` for web addresses."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

_WINDOW = 8
"""A text is read up to this many times its limit; what lies beyond could only replace noise."""
_MARKS = 3
"""Combining marks kept on one base: pointed Hebrew needs three, "zalgo" uses dozens."""
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that are shown as nothing although their category says letter, mark or symbol."""
_JOINER, _EMOJI_STYLE = "\u200d", "\ufe0f"

_PICTURE = "\U0001f000-\U0001faff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff"
_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
_TINTED = f"[{_PICTURE}]{_EMOJI_STYLE}?[\U0001f3fb-\U0001f3ff]?"
_EMOJI = f"(?:{_FLAG}|{_TINTED}(?:{_JOINER}{_TINTED}){{0,5}})"
_LOOSE_JOINER = re.compile(
    f"(?<![{_PICTURE}{_EMOJI_STYLE}]){_JOINER}|{_JOINER}(?![{_PICTURE}])|(?<![{_PICTURE}]){_EMOJI_STYLE}"
)
_LONG_CHAIN = re.compile(f"({_TINTED}(?:{_JOINER}{_TINTED}){{5}})(?:{_JOINER}{_TINTED})+")
_EMOJI_RUN = re.compile(f"({_EMOJI}(?: ?{_EMOJI}){{4}})(?: ?{_EMOJI})+")

_DOTS = ".\u3002\uff0e\uff61"
_HOST = re.compile(
    # starting at a word and bounding the labels keeps one endless word from costing its square
    rf"(?<![\w-])(https?://)?((?:[\w-]{{1,63}}[{_DOTS}]){{1,10}}[\w-]{{2,63}})",
    re.IGNORECASE,
)
_LOOKALIKES = frozenset({"ARMENIAN", "CHEROKEE", "CYRILLIC", "GREEK"})
_URL_LIMIT = 500
_URL_PUNCTUATION = "/%:@!$&'()*+,;=~"
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0\\<>\"`{|}^]")


@dataclass(frozen=True, kw_only=True)
class Link:
    """A web address that is safe to click: `href` is ASCII, `host` is where it really leads."""

    href: str
    host: str


def clean(text: str, limit: int) -> str:
    """`text` as one line of at most `limit` characters that shows what it holds and nothing else.

    Control characters, bidi overrides and isolates, zero-width and other unseen characters, lone
    surrogates and private-use characters go; a joiner stays inside an emoji. A base keeps three
    combining marks and a run of emoji five; blanks become one space; a look-alike host becomes
    punycode. What is longer is cut at a word and ends in "…". HTML is left to the templates.
    """
    window = text[: limit * _WINDOW]
    shown = " ".join(unicodedata.normalize("NFC", _visible(window)).split())
    shown = _LONG_CHAIN.sub(r"\1", _LOOSE_JOINER.sub("", shown))
    shown = _HOST.sub(_real_host, _EMOJI_RUN.sub(r"\1", shown)).strip()
    if len(shown) <= limit and len(window) == len(text):
        return shown
    return _cut(shown, limit)


def link(url: str | None) -> Link | None:
    """The http or https address `url`, or None for anything that is not plainly one.

    A host in other letters is given in punycode, a path in percent-encoding; an address with a user
    name, a backslash or more than 500 characters is refused.
    """
    if url is None or len(url) > _URL_LIMIT or _NOT_IN_URL.search(url):
        return None
    try:
        parts = urlsplit(url)
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not name or "@" in parts.netloc:
        return None
    host = _ascii_host(name)
    place = (f"[{host}]" if ":" in host else host) + ("" if port is None else f":{port}")
    path = quote(parts.path, safe=_URL_PUNCTUATION)
    tail = "".join(
        sign + quote(part, safe=_URL_PUNCTUATION + "?")
        for sign, part in (("?", parts.query), ("#", parts.fragment))
        if part
    )
    return Link(href=f"{parts.scheme}://{place}{path}{tail}", host=host.removeprefix("www."))


def _visible(text: str) -> str:
    kept: list[str] = []
    marks = _MARKS  # a mark without a base would sit on whatever stands before the text
    for char in text:
        category = unicodedata.category(char)
        if char.isspace():
            kept.append(" ")
            marks = _MARKS
        elif char in (_JOINER, _EMOJI_STYLE):
            kept.append(char)
        elif category in ("Mn", "Me"):
            marks += 1
            if marks <= _MARKS and char not in _UNSEEN and not _is_variation(char):
                kept.append(char)
        elif category[0] != "C" or (category == "Cn" and "\U0001f000" <= char <= "\U0001faff"):
            # an emoji newer than this Python's tables counts as unassigned
            marks = 0
            if char not in _UNSEEN:
                kept.append(char)
    return "".join(kept)


def _is_variation(char: str) -> bool:
    return "\ufe00" <= char <= "\ufe0e" or "\U000e0100" <= char <= "\U000e01ef"


def _cut(text: str, limit: int) -> str:
    head = text[: limit - 1]
    if len(text) >= limit and text[limit - 1].isalnum():
        words = head.rpartition(" ")[0]
        head = words if len(words) > limit // 2 else head  # one endless word is cut anywhere
    return head.rstrip(f" ,;:{_JOINER}") + "…"


def _real_host(match: re.Match[str]) -> str:
    scheme, host = match[1] or "", match[2]
    if host.isascii():
        return match[0]
    scripts = {unicodedata.name(char, "").split(" ")[0] for char in host if char.isalpha()}
    deceptive = "LATIN" in scripts and scripts & _LOOKALIKES
    if scheme or host.lower().startswith("www.") or deceptive:
        return scheme + _ascii_host(host)
    return match[0]


def _ascii_host(host: str) -> str:
    labels = re.split(f"[{_DOTS}]", unicodedata.normalize("NFKC", host).lower())
    return ".".join(
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
        for label in labels
    )
