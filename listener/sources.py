"""The configured sources as connectors."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from glob import glob
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from connectors.base import Capabilities, Connector
from connectors.registry import load

from .collect import Collected, Source
from .config import Config
from .config_fields import Secret
from .config_networks import (
    AppStoreSource,
    BlueskySource,
    DiscourseSource,
    JetstreamSource,
    MastodonServer,
    MastodonSource,
    RedditSource,
    XSource,
    YouTubeSource,
)
from .config_sources import FilesSource, HackerNewsSource, PluginSource, RssSource, SampleSource
from .errors import explained
from .vocabulary import queries

if TYPE_CHECKING:
    from connectors.bluesky_api import BlueskyApi

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
        for name, make in _making(config, source, settings):
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
    from connectors.bluesky_api import BlueskyApi
    from connectors.discourse_api import DiscourseApi
    from connectors.http import Http
    from connectors.mastodon_api import Server
    from connectors.opening import FORMATS
    from connectors.reddit_api import RedditApi
    from connectors.youtube_api import YouTubeApi

    yield "sample", load("sample")().capabilities()
    yield "hackernews", load("hackernews")(Http()).capabilities()
    yield "rss", load("rss")(Http(), feeds=()).capabilities()
    yield "x", load("x")(Http(), "").capabilities()
    yield "reddit", load("reddit")(RedditApi()).capabilities()
    yield "youtube", load("youtube")(YouTubeApi()).capabilities()
    yield "discourse", load("discourse")(DiscourseApi(), ()).capabilities()
    yield "appstore", load("appstore")(Http(), ()).capabilities()
    nowhere = Server("https://mastodon.example")
    for part in ("tags", "search", "mentions"):
        yield f"mastodon ({part})", load(f"mastodon_{part}")(nowhere).capabilities()
    yield "bluesky (search)", load("bluesky")(BlueskyApi()).capabilities()
    yield "bluesky (notifications)", load("bluesky_notifications")(BlueskyApi()).capabilities()
    yield "jetstream", load("jetstream")().capabilities()
    for form in FORMATS:
        yield f"files ({form})", load("file")("x", format=form).capabilities()


def _sample(name: str, _: SampleSource) -> Iterator[Making]:
    yield name, load("sample")


def _hackernews(name: str, settings: HackerNewsSource) -> Iterator[Making]:
    def make() -> Connector:
        from connectors.http import Http

        return load("hackernews")(
            Http(),
            base_url=settings.base_url,
            items_url=settings.items_url,
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
    yield (
        name,
        partial(
            make,
            "x",
            retweets=settings.retweets,
            max_thread_posts=settings.max_thread_posts,
        ),
    )


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


def _mastodon(name: str, settings: MastodonSource) -> Iterator[Making]:
    def make(kind: str, server: MastodonServer, **more: Any) -> Connector:
        from connectors.mastodon_api import Server, open_http, open_origin

        token = server.access_token.reveal(os.environ) if server.access_token else ""
        return load(kind)(
            Server(server.url, token, open_http(private=server.allow_private_addresses)),
            first_days=settings.first_days,
            max_pages=settings.max_pages,
            open_origin=open_origin if settings.ask_origins else None,
            **more,
        )

    # Known posts are looked up at the first one, which finds more of them with a token.
    for server in sorted(settings.servers, key=lambda one: one.access_token is None):
        place = f"{name}:{urlsplit(server.url).netloc.lower()}"
        if server.mentions:
            yield f"{place}:mentions", partial(make, "mastodon_mentions", server)
        if server.search:
            yield f"{place}:search", partial(make, "mastodon_search", server)
        if server.read_hashtags:
            yield f"{place}:tags", partial(make, "mastodon_tags", server)
            if settings.hashtags:
                more = partial(make, "mastodon_tags", server, hashtags=settings.hashtags)
                yield f"{place}:hashtags", more


def _youtube(name: str, settings: YouTubeSource) -> Iterator[Making]:
    def make() -> Connector:
        from connectors.youtube_api import YouTubeApi

        # The configuration wants a key where the source is enabled.
        key = settings.api_key.reveal(os.environ) if settings.api_key else ""
        api = YouTubeApi(key, base_url=settings.base_url, daily_units=settings.daily_units)
        return load("youtube")(
            api,
            settings.channels,
            settings.videos,
            first_days=settings.first_days,
            max_pages=settings.max_pages,
            keep_all=settings.keep_all,
            look_back=timedelta(days=settings.reply_days),
        )

    yield name, make


def _discourse(name: str, settings: DiscourseSource) -> Iterator[Making]:
    def make() -> Connector:
        from connectors.discourse_api import DiscourseApi, Forum

        forums = [
            Forum(
                url=forum.url,
                name=forum.name,
                api_key=forum.api_key.reveal(os.environ) if forum.api_key else "",
                api_username=forum.api_username or "",
                categories=forum.categories,
            )
            for forum in settings.forums
        ]
        return load("discourse")(
            DiscourseApi(allow_private=settings.allow_private_addresses),
            forums,
            first_days=settings.first_days,
            max_pages=settings.max_pages,
        )

    yield name, make


def _appstore(name: str, settings: AppStoreSource) -> Iterator[Making]:
    def make() -> Connector:
        from connectors.appstore import BASE_URL
        from connectors.http import Http

        return load("appstore")(
            Http(allow_private=settings.base_url.rstrip("/") != BASE_URL),
            settings.apps,
            settings.countries,
            base_url=settings.base_url,
            first_days=settings.first_days,
            keep_all=settings.keep_all,
        )

    yield name, make


def _bluesky_search(settings: BlueskySource) -> Connector:
    return load("bluesky")(
        _bluesky_api(settings), first_days=settings.first_days, max_pages=settings.max_pages
    )


def _bluesky_api(settings: BlueskySource) -> BlueskyApi:
    from connectors.bluesky_api import BlueskyApi

    # Without an account the connector says how to get one.
    password = settings.app_password.reveal(os.environ) if settings.app_password else ""
    return BlueskyApi(
        settings.identifier or "",
        password,
        service=settings.service,
        session_file=settings.session_file,
    )


def _bluesky(name: str, settings: BlueskySource) -> Iterator[Making]:
    def notifications() -> Connector:
        return load("bluesky_notifications")(
            _bluesky_api(settings), first_days=settings.first_days, max_pages=settings.max_pages
        )

    yield name, partial(_bluesky_search, settings)
    if settings.notifications:
        yield f"{name}:notifications", notifications


def _jetstream(name: str, settings: JetstreamSource, config: Config) -> Iterator[Making]:
    def make() -> Connector:
        account = config.sources.bluesky
        known = account.identifier and account.app_password
        return load("jetstream")(
            settings.server,
            first_hours=settings.first_hours,
            seconds=settings.seconds,
            search=_bluesky_search(account) if known else None,
            queries=queries(config),
        )

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


def _making(config: Config, name: str, settings: Any) -> Iterator[Making]:
    if isinstance(settings, JetstreamSource):
        # What the stream has lost is searched for, by the queries of the configuration.
        return _jetstream(name, settings, config)
    return _BUILDERS[type(settings)](name, settings)


_BUILDERS: dict[type, Callable[[str, Any], Iterator[Making]]] = {
    AppStoreSource: _appstore,
    DiscourseSource: _discourse,
    YouTubeSource: _youtube,
    SampleSource: _sample,
    HackerNewsSource: _hackernews,
    RssSource: _rss,
    FilesSource: _files,
    PluginSource: _plugin,
    XSource: _x,
    RedditSource: _reddit,
    MastodonSource: _mastodon,
    BlueskySource: _bluesky,
}
