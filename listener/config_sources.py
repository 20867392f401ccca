"""The [sources] tables: a new source is one model here and one field of `Sources`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated

from pydantic import Field, Strict, field_validator
from pydantic import ValidationInfo as Info

from .config_errors import refused
from .config_fields import (
    Days,
    FilePattern,
    Flag,
    Label,
    LanguageCode,
    Minutes,
    Options,
    PluginName,
    Secret,
    Section,
    Text,
    Url,
    Whole,
)

Dollars = Annotated[float, Strict(), Field(ge=0, le=1_000_000, allow_inf_nan=False)]
_SUBREDDIT = r"/?(r/)?[A-Za-z0-9_]{2,24}/?"
_X_USER = r"@?[A-Za-z0-9_]{1,19}"


class Source(Section):
    """Settings that every source has."""

    enabled: Flag = Field(False, description="Whether this source is collected.")
    every_minutes: Minutes = Field(60, description="Minutes from one collection to the next.")


class SampleSource(Source):
    """The built-in posts about an invented maker of coffee machines."""


class HackerNewsSource(Source):
    """Hacker News through the search of Algolia; needs no key."""

    base_url: Url = Field("https://hn.algolia.com", description="Address of the search.")
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


class XPrices(Section):
    """What X charges, in dollars; its developer console has the prices of today."""

    as_of: date = Field(date(2026, 11, 22), description="Day on which these prices were looked up.")
    post: Dollars = Field(0.005, description="One post read.")
    owned_mention: Dollars = Field(0.001, description="One post that mentions your own account.")
    user: Dollars = Field(0.01, description="One account read.")
    counts: Dollars = Field(0.005, description="One request for the number of posts.")


class XSource(Source):
    """X, through its paid API: mentions of your account, and search for everything else."""

    bearer_token: Secret | None = Field(None, description="Bearer token of your app on X.")
    user: Text | None = Field(
        None, description="Your account, by handle or id, whose mentions are read; they cost least."
    )
    base_url: Url = Field(
        "https://api.x.com", description="Address of the API; another one may be a private address."
    )
    first_days: Annotated[Days, Field(ge=1, le=7)] = Field(
        1, description="How many days the first collection, and that of a new term, looks back."
    )
    max_pages: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        50, description="Most pages of 100 posts that one search reads in one collection."
    )
    monthly_cap_dollars: Dollars = Field(
        20.0, description="What may be spent in a calendar month (UTC); then collecting stops."
    )
    preview: Flag = Field(
        True, description="Whether `listener check` counts posts to price each query, for a fee."
    )
    retweets: Flag = Field(False, description="Whether retweets are read, at the price of posts.")
    authors: Flag = Field(
        False, description="Whether names and followers are read; an account costs two posts."
    )
    referenced: Flag = Field(
        True, description="Whether posts that are quoted, retweeted or answered are read whole."
    )
    prices: XPrices = Field(XPrices(), description="Prices that spending is counted by.")

    @field_validator("user")
    @classmethod
    def _account(cls, user: str | None) -> str | None:
        if user is not None and not re.fullmatch(_X_USER, user):
            raise refused("is no account of X", 'write its handle, such as "@lumora", or its id')
        return user

    @field_validator("bearer_token")
    @classmethod
    def _some_token(cls, token: Secret | None, info: Info) -> Secret | None:
        if info.data.get("enabled") and token is None:
            raise refused(
                "is missing, yet the source is enabled", 'write { env = "X_BEARER_TOKEN" }'
            )
        return token


class RedditSource(Source):
    """Reddit, with an app of your own that Reddit has approved: search, and whole subreddits."""

    client_id: Secret | None = Field(None, description="Id of your app on Reddit.")
    client_secret: Secret | None = Field(
        None, description='Secret of your app; one of the kind "installed" has none.'
    )
    user_agent: Text = Field(
        "python:proactive-listener",
        min_length=7,
        description='What Reddit asks for: "platform:app:version (by /u/your-account)".',
    )
    subreddits: tuple[Text, ...] = Field(
        (), description="Subreddits of which every new post and comment is read."
    )
    search_all: Flag = Field(
        True, description="Whether the search covers all of Reddit; false: only these subreddits."
    )
    first_days: Annotated[Days, Field(ge=1)] = Field(
        7, description="How many days the first collection looks back; Reddit lists 1,000 posts."
    )
    base_url: Url | None = Field(
        None, description="Another address than Reddit's own; it may be a private one."
    )

    @field_validator("subreddits")
    @classmethod
    def _names(cls, subreddits: tuple[str, ...]) -> tuple[str, ...]:
        for name in subreddits:
            if not re.fullmatch(_SUBREDDIT, name):
                raise refused("holds no name of a subreddit", 'write names such as "espresso"')
        return subreddits

    @field_validator("search_all")
    @classmethod
    def _something(cls, search_all: bool, info: Info) -> bool:
        if info.data.get("enabled") and not search_all and not info.data.get("subreddits"):
            raise refused("is false, yet no subreddit is named", "add one to `subreddits`")
        return search_all


class PluginSource(Source):
    """A source from another distribution (entry point `listener.connectors`)."""

    options: Options = Field(
        {}, description='Whatever this source takes; secrets as { env = "NAME" }.'
    )


class Sources(Section):
    """Where posts come from."""

    sample: SampleSource = Field(SampleSource(), description="The built-in sample.")
    hackernews: HackerNewsSource = Field(HackerNewsSource(), description="Hacker News.")
    rss: RssSource = Field(RssSource(), description="RSS and Atom feeds.")
    files: FilesSource = Field(FilesSource(), description="Files in folders.")
    x: XSource = Field(XSource(), description="X.")
    reddit: RedditSource = Field(RedditSource(), description="Reddit.")
    plugins: Mapping[PluginName, PluginSource] = Field(
        {}, description="Sources from other distributions, by name."
    )

    def enabled(self) -> Iterator[tuple[str, Source]]:
        """Name and settings of each source that is switched on, built-in ones first."""
        built_in = ((name, getattr(self, name)) for name in type(self).model_fields)
        for name, source in (*built_in, *self.plugins.items()):
            if isinstance(source, Source) and source.enabled:
                yield name, source
