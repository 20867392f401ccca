"""How a message becomes subject, text and HTML, cut until the e-mail is small enough.

Posts are hostile text. They pass `clean` and Jinja2's autoescape, and they never meet the MJML
compiler: the templates are compiled to HTML first and filled afterwards, so nothing in a post can
become a tag or a template expression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape
from mjml import mjml2html

from . import i18n
from .envelope import BODY_LIMIT, Rendered, body_size
from .hostile import clean, link


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is shown: numbers of cards, rows and events, characters of a post, and charts."""

    cards: int
    posts: int
    rows: int
    events: int
    chars: int
    charts: bool = True


_TIERS = (
    Limits(cards=50, posts=3, rows=12, events=50, chars=280),
    Limits(cards=25, posts=3, rows=12, events=25, chars=200),
    Limits(cards=10, posts=3, rows=12, events=20, chars=280),
    Limits(cards=5, posts=2, rows=8, events=8, chars=160),
    Limits(cards=2, posts=1, rows=2, events=3, chars=40, charts=False),
)
"""Tried in order until the e-mail is small enough."""

_SOURCES = {
    "bluesky": "Bluesky",
    "hackernews": "Hacker News",
    "mastodon": "Mastodon",
    "reddit": "Reddit",
    "rss": "RSS",
    "x": "X",
    "youtube": "YouTube",
}
_NO_IMAGES: Mapping[str, bytes] = {}


def render(
    name: str,
    language: str,
    timezone: str,
    subject: str,
    *,
    images: Mapping[str, bytes] = _NO_IMAGES,
    **values: object,
) -> Rendered:
    """The templates `name` filled with `values`, times in `timezone`, as much as there is room for.

    `images` are PNG files by content id; they take room, too.
    """
    subject = clean(subject, 150)
    words: dict[str, Any] = {
        text: partial(getattr(i18n, text), language)
        for text in (
            "say",
            "number",
            "percent",
            "long_day",
            "age",
            "has",
        )
    }
    words["moment"] = partial(i18n.moment, language, timezone=timezone)
    words["source_name"] = partial(source_name, language)
    rendered = Rendered(subject=subject, text="", html="")
    for limits in _TIERS:
        context = values | words | {"limits": limits, "language": language, "subject": subject}
        context["timezone"] = timezone
        rendered = Rendered(
            subject=subject,
            text=_environment().get_template(f"{name}.txt").render(context),
            html=_environment().get_template(f"{name}.mjml").render(context),
            images=images if limits.charts else {},
        )
        if body_size(rendered) <= BODY_LIMIT:
            break
    return rendered


def source_name(language: str, source: str) -> str:
    """The name people know a source by; one that is not known keeps its own."""
    if source == "sample":
        return i18n.say(language, "source.sample")
    return _SOURCES.get(source) or clean(source, 40)


def _after(title: str, text: str) -> str:
    """What `text` says beyond a title that may be its beginning."""
    start = title.removesuffix("…")
    return text[len(start) :].lstrip(" .,;:!?…") if start and text.startswith(start) else text


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=select_autoescape(enabled_extensions=("html", "mjml")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"clean": clean}
    environment.globals |= {"after": _after, "link": link}
    return environment


def _template(name: str) -> str:
    source = _read(name)
    return mjml2html(source, fonts={}, include_loader=_read) if name.endswith(".mjml") else source


def _read(path: str) -> str:
    return resources.files("listener").joinpath("templates", path).read_text("utf-8")
