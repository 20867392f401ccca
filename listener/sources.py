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
from .config_sources import FilesSource, HackerNewsSource, PluginSource, RssSource, SampleSource
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
        for name, make in _BUILDERS[type(settings)](source, settings):
            try:
                sources.append(Source(name=name, connector=make()))
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

    yield "sample", load("sample")().capabilities()
    yield "hackernews", load("hackernews")(Http()).capabilities()
    yield "rss", load("rss")(Http(), feeds=()).capabilities()
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
}
