"""The [sources] tables: a new source is one model and one field of `Sources`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field, field_validator
from pydantic import ValidationInfo as Info

from .config_errors import refused
from .config_fields import (
    Account,
    Days,
    FilePattern,
    Flag,
    Label,
    LanguageCode,
    Options,
    PluginName,
    Section,
    Url,
    Whole,
)
from .config_networks import (
    AppStoreSource,
    BlueskySource,
    DiscourseSource,
    JetstreamSource,
    MastodonSource,
    RedditSource,
    XSource,
    YouTubeSource,
)
from .config_source import Source


class SampleSource(Source):
    """The built-in posts about an invented maker of coffee machines."""


class HackerNewsSource(Source):
    """Hacker News through the search of Algolia; needs no key."""

    base_url: Url = Field("https://hn.algolia.com", description="Address of the search.")
    items_url: Url = Field(
        "https://hacker-news.firebaseio.com", description="Address at which posts are looked up."
    )
    first_days: Annotated[Days, Field(ge=1)] = Field(
        7, description="How many days the first collection looks back."
    )
    max_pages: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        10, description="Most pages that one term reads in one collection."
    )


class Feed(Section):
    """One RSS or Atom feed."""

    url: Url = Field(description="Address of the feed.")
    name: Label = Field("", description="Name in tables; empty: the address.")
    lang: LanguageCode | None = Field(None, description="Its language; without one it is detected.")


class RssSource(Source):
    """RSS and Atom feeds, such as those of Google Alerts, forums and blogs."""

    feeds: tuple[Feed, ...] = Field((), description="The feeds to read.")
    allow_private_addresses: Flag = Field(
        False, description="Whether feeds on this machine or in a private network may be read."
    )

    @field_validator("feeds")
    @classmethod
    def _some_feed(cls, feeds: tuple[Feed, ...], info: Info) -> tuple[Feed, ...]:
        if info.data.get("enabled") and not feeds:
            raise refused(
                "is empty, yet the source is enabled", "add [[sources.rss.feeds]] with url"
            )
        return feeds


class FilesSource(Source):
    """Files of posts that another program writes into a folder."""

    paths: tuple[FilePattern, ...] = Field((), description='Files, with * and **: "inbox/*.jsonl".')

    @field_validator("paths")
    @classmethod
    def _some_path(cls, paths: tuple[str, ...], info: Info) -> tuple[str, ...]:
        if info.data.get("enabled") and not paths:
            raise refused("is empty, yet the source is enabled", 'add one, such as "inbox/*.jsonl"')
        return paths


class PluginSource(Source):
    """A source from another distribution (entry point `listener.connectors`)."""

    options: Options = Field(
        {}, description='Whatever this source takes; secrets as { env = "NAME" }.'
    )


class Sources(Section):
    """Where posts come from."""

    exclude_authors: tuple[Account, ...] = Field(
        (),
        description="Handles or ids of authors whose posts are not stored, such as bots; on every "
        "source.",
    )
    sample: SampleSource = Field(SampleSource(), description="The built-in sample.")
    hackernews: HackerNewsSource = Field(HackerNewsSource(), description="Hacker News.")
    rss: RssSource = Field(RssSource(), description="RSS and Atom feeds.")
    files: FilesSource = Field(FilesSource(), description="Files in folders.")
    x: XSource = Field(XSource(), description="X.")
    reddit: RedditSource = Field(RedditSource(), description="Reddit.")
    mastodon: MastodonSource = Field(MastodonSource(), description="Servers of Mastodon.")
    youtube: YouTubeSource = Field(YouTubeSource(), description="Comments of YouTube.")
    discourse: DiscourseSource = Field(DiscourseSource(), description="Forums of Discourse.")
    appstore: AppStoreSource = Field(AppStoreSource(), description="Reviews in the App Store.")
    bluesky: BlueskySource = Field(BlueskySource(), description="Bluesky.")
    jetstream: JetstreamSource = Field(JetstreamSource(), description="All posts of Bluesky.")
    plugins: Mapping[PluginName, PluginSource] = Field(
        {}, description="Sources from other distributions, by name."
    )

    def enabled(self) -> Iterator[tuple[str, Source]]:
        """Name and settings of each source that is switched on, built-in ones first."""
        built_in = ((name, getattr(self, name)) for name in type(self).model_fields)
        for name, source in (*built_in, *self.plugins.items()):
            if isinstance(source, Source) and source.enabled:
                yield name, source
