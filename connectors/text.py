"""Plain text out of what sites give: HTML to text, cleaned text, canonical and unwrapped URLs."""

from __future__ import annotations

import re
from itertools import islice
from urllib.parse import parse_qs, urlsplit

from courlan import normalize_url
from selectolax.lexbor import LexborHTMLParser

# Building the tree of deeply nested tags takes time that grows with the square of their number
# (200,000 nested <div>: 4 minutes; 10,000 tags of the worst kind: 1 second). No post has so many.
_MAX_TAGS = 10_000
_TAG = re.compile(r"</?[a-zA-Z]")
_DROPPED = "script, style, template, noscript, iframe, object, title"
_BLOCKS = (
    "address, article, aside, blockquote, br, dd, details, div, dl, dt, fieldset, figcaption, "
    "figure, footer, form, h1, h2, h3, h4, h5, h6, header, hr, li, main, nav, ol, option, p, pre, "
    "section, summary, table, td, th, tr, ul"
)
# A line break that comes from a tag; unlike "\n" in the source it is not mere white space.
_BREAK = "\x1e"

_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_BLANKS = re.compile(r"[ \t\n\u00a0]+")
_BREAKS = re.compile(rf" ?{_BREAK}[ {_BREAK}]*")

_REDIRECT_HOST = re.compile(r"(?:www\.|news\.)?google(?:\.com?)?(?:\.[a-z]{2})?")
_REDIRECT_PATHS = ("/url", "/news/url")


def clean_text(text: str) -> str:
    """`text` without control characters (except line feed and tab), safe to store as UTF-8.

    CR LF and CR become a line feed; a lone surrogate becomes U+FFFD. Nothing else is changed but
    white space at both ends, which is cut.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _SURROGATE.sub("\ufffd", _UNSEEN.sub("", text)).strip()


def html_to_text(html: str) -> str:
    """What a reader sees of an HTML fragment or page, as plain text.

    Block tags and <br> become one line feed, entities are decoded, links keep their text; scripts,
    styles and tags are gone. White space is collapsed, except for the lines of <pre>. Never raises:
    malformed input gives what a browser would make of it, and text past 10,000 tags is cut.
    """
    html = clean_text(html)
    beyond = next(islice(_TAG.finditer(html), _MAX_TAGS, None), None)
    tree = LexborHTMLParser(html[: beyond.start()] if beyond else html, is_fragment=True)
    for node in tree.css(_DROPPED):
        node.decompose()
    for node in tree.css("pre"):
        node.replace_with(_BREAK + node.text().replace("\n", _BREAK) + _BREAK)
    for node in tree.css(_BLOCKS):
        node.insert_before(_BREAK)
        node.insert_after(_BREAK)
    text = _BREAKS.sub("\n", _BLANKS.sub(" ", tree.text()))
    return clean_text(text)


def unwrap_url(url: str) -> str:
    """The address behind a Google Alerts or Google News redirect link; any other URL as it is.

    Only an http or https target counts.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return url
    if parts.path not in _REDIRECT_PATHS or not _REDIRECT_HOST.fullmatch(host):
        return url
    params = parse_qs(parts.query)
    for name in ("url", "q"):
        for target in params.get(name, ()):
            if web_url(target):
                return target
    return url


def canonical_url(url: str) -> str:
    """`url` in one spelling: host in lower case, parameters sorted, trackers removed (courlan).

    Only for telling whether two links are the same; a URL that cannot be parsed comes back as it
    is.
    """
    try:
        return normalize_url(url.strip())
    except (ValueError, UnicodeError):
        return url.strip()


def web_url(url: object) -> str | None:
    """`url` when it is an absolute http or https address without blanks, else None.

    One of more than 4,000 characters is none.
    """
    if (
        not isinstance(url, str)
        or len(url) > 4_000
        or re.search(r"[\s\x00-\x1f\x7f\ud800-\udfff]", url)
    ):
        return None
    try:
        parts = urlsplit(url)
        return url if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None
