"""The configured sources as connectors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from glob import glob
from typing import Any

from connectors.base import Capabilities, Connector
from connectors.registry import load

from .collect import Source
from .config import Config
from .config_fields import Secret
from .config_sources import FilesSource, HackerNewsSource, PluginSource, RssSource, SampleSource


def build(config: Config) -> list[Source]:
    """Every enabled source; files are those that are there now. Raises `BadConfig`."""
    return [
        Source(name=name, connector=connector)
        for source, settings in config.sources.enabled()
        for name, connector in _BUILDERS[type(settings)](source, settings)
    ]


def catalogue() -> Iterator[tuple[str, Capabilities]]:
    """Every kind of source that is built in, and what it can do; makes no request."""
    from connectors.http import Http

    yield "sample", load("sample")().capabilities()
    yield "hackernews", load("hackernews")(Http()).capabilities()
    yield "rss", load("rss")(Http(), feeds=()).capabilities()
    for form, path in (("jsonl", "x.jsonl"), ("csv", "x.csv"), ("twarc", "x.jsonl")):
        yield f"files ({form})", load("file")(path, format=form).capabilities()


def _sample(name: str, _: SampleSource) -> Iterator[tuple[str, Connector]]:
    yield name, load("sample")()


def _hackernews(name: str, settings: HackerNewsSource) -> Iterator[tuple[str, Connector]]:
    from connectors.http import Http

    yield (
        name,
        load("hackernews")(
            Http(),
            base_url=settings.base_url,
            first_days=settings.first_days,
            max_pages=settings.max_pages,
        ),
    )


def _rss(name: str, settings: RssSource) -> Iterator[tuple[str, Connector]]:
    from connectors.http import Http
    from connectors.rss import Feed

    feeds = [Feed(url=feed.url, name=feed.name, lang=feed.lang) for feed in settings.feeds]
    yield name, load("rss")(Http(allow_private=settings.allow_private_addresses), feeds=feeds)


def _files(name: str, settings: FilesSource) -> Iterator[tuple[str, Connector]]:
    # `Path.glob` refuses absolute patterns, and the configuration has made these absolute.
    found = {p for pattern in settings.paths for p in glob(pattern, recursive=True)}  # noqa: PTH207
    for path in sorted(found):
        yield f"{name}:{path}", load("file")(path)


def _plugin(name: str, settings: PluginSource) -> Iterator[tuple[str, Connector]]:
    yield name, load(name)(**_revealed(settings.options))


def _revealed(value: Any) -> Any:
    """Options with every secret read from the environment."""
    if isinstance(value, Secret):
        return value.reveal(os.environ)
    if isinstance(value, Mapping):
        return {key: _revealed(one) for key, one in value.items()}
    return [_revealed(one) for one in value] if isinstance(value, list | tuple) else value


_BUILDERS: dict[type, Callable[[str, Any], Iterator[tuple[str, Connector]]]] = {
    SampleSource: _sample,
    HackerNewsSource: _hackernews,
    RssSource: _rss,
    FilesSource: _files,
    PluginSource: _plugin,
}
