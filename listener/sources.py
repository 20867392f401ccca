"""The configured sources as connectors."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from glob import glob
from typing import Any

from connectors.base import Capabilities, Connector
from connectors.registry import load

from .collect import Collected, Source
from .config import Config
from .config_fields import Secret
from .config_sources import (
    FilesSource,
    HackerNewsSource,
    PluginSource,
    RedditSource,
    RssSource,
    SampleSource,
    XSource,
)
from .errors import explained

log = logging.getLogger(__name__)
Making = tuple[str, Callable[[], Connector]]
"""Name of a source and what makes its connector."""


def build(config: Config, only: Sequence[str] = ()) -> tuple[list[Source], list[Collected]]:
    """The enabled sources (those in `only`, if any), and those that cannot be made, as failed.

    Files are those that are there now; each stands alone.
    """
    sources: list[Source] = []
    failed: list[Collected] = []
    for source, settings in config.sources.enabled():
        if only and source not in only:
            continue
        # A generator ends at its first error: names are asked for first, one by one made after.
        dollars = getattr(settings, "monthly_cap_dollars", None)
        cap = None if dollars is None else round(dollars * 1_000_000)
        for name, make in _BUILDERS[type(settings)](source, settings):
            try:
                sources.append(Source(name=name, connector=make(), monthly_cap=cap))
            except explained() as error:
                failed.append(Collected(source=name, query="", status="failed", error=str(error)))
            except Exception as error:
                # A plug-in may raise anything, and options it does not know are a TypeError.
                log.debug("%s", name, exc_info=True)
                text = f"cannot be made ({type(error).__name__}); check its options"
                failed.append(Collected(source=name, query="", status="failed", error=text))
    return sources, failed


def catalogue() -> Iterator[tuple[str, Capabilities]]:
    """Every kind of source that is built in, and what it can do; makes no request."""
    from connectors.http import Http
    from connectors.reddit_api import RedditApi

    yield "sample", load("sample")().capabilities()
    yield "hackernews", load("hackernews")(Http()).capabilities()
    yield "rss", load("rss")(Http(), feeds=()).capabilities()
    yield "x", load("x")(Http(), "").capabilities()
    yield "reddit", load("reddit")(RedditApi()).capabilities()
    for form, path in (("jsonl", "x.jsonl"), ("csv", "x.csv"), ("twarc", "x.jsonl")):
        yield f"files ({form})", load("file")(path, format=form).capabilities()


def _sample(name: str, _: SampleSource) -> Iterator[Making]:
    yield name, load("sample")


def _hackernews(name: str, settings: HackerNewsSource) -> Iterator[Making]:
    def make() -> Connector:
        from connectors.http import Http

        return load("hackernews")(
            Http(),
            base_url=settings.base_url,
            first_days=settings.first_days,
            max_pages=settings.max_pages,
        )

    yield name, make


def _rss(name: str, settings: RssSource) -> Iterator[Making]:
    def make() -> Connector:
        from connectors.http import Http
        from connectors.rss import Feed

        feeds = [Feed(url=feed.url, name=feed.name, lang=feed.lang) for feed in settings.feeds]
        return load("rss")(Http(allow_private=settings.allow_private_addresses), feeds=feeds)

    yield name, make


def _x(name: str, settings: XSource) -> Iterator[Making]:
    def make(kind: str, **more: Any) -> Connector:
        from connectors.x_client import open_http
        from connectors.x_money import Prices

        # The configuration wants a token where the source is enabled.
        token = settings.bearer_token.reveal(os.environ) if settings.bearer_token else ""
        prices = settings.prices
        micro = {
            part: round(getattr(prices, part) * 1_000_000)
            for part in ("post", "owned_mention", "user", "counts")
        }
        return load(kind)(
            open_http(settings.base_url),
            token,
            base_url=settings.base_url,
            prices=Prices(as_of=prices.as_of.isoformat(), **micro),
            first_days=settings.first_days,
            max_pages=settings.max_pages,
            authors=settings.authors,
            referenced=settings.referenced,
            **more,
        )

    # The cheapest first: the cap of a month is spent on it before it is on search.
    if settings.user:
        yield f"{name}:mentions", partial(make, "x_mentions", user=settings.user)
    yield name, partial(make, "x", retweets=settings.retweets)


def _reddit(name: str, settings: RedditSource) -> Iterator[Making]:
    def make(kind: str, subreddits: Sequence[str]) -> Connector:
        from connectors.reddit_api import RedditApi

        # Without an app the connector says how to get one.
        secrets = (settings.client_id, settings.client_secret)
        client_id, client_secret = (one.reveal(os.environ) if one else "" for one in secrets)
        api = RedditApi(
            client_id, client_secret, user_agent=settings.user_agent, base_url=settings.base_url
        )
        return load(kind)(api, subreddits, first_days=settings.first_days)

    yield name, partial(make, "reddit", () if settings.search_all else settings.subreddits)
    if settings.subreddits:
        yield f"{name}:new", partial(make, "reddit_new", settings.subreddits)


def _files(name: str, settings: FilesSource) -> Iterator[Making]:
    # `Path.glob` refuses absolute patterns, and the configuration has made these absolute.
    found = {p for pattern in settings.paths for p in glob(pattern, recursive=True)}  # noqa: PTH207
    for path in sorted(found):
        yield f"{name}:{path}", partial(load("file"), path)


def _plugin(name: str, settings: PluginSource) -> Iterator[Making]:
    yield name, lambda: load(name)(**_revealed(settings.options))


def _revealed(value: Any) -> Any:
    """Options with every secret read from the environment."""
    if isinstance(value, Secret):
        return value.reveal(os.environ)
    if isinstance(value, Mapping):
        return {key: _revealed(one) for key, one in value.items()}
    return [_revealed(one) for one in value] if isinstance(value, list | tuple) else value


_BUILDERS: dict[type, Callable[[str, Any], Iterator[Making]]] = {
    SampleSource: _sample,
    HackerNewsSource: _hackernews,
    RssSource: _rss,
    FilesSource: _files,
    PluginSource: _plugin,
    XSource: _x,
    RedditSource: _reddit,
}
