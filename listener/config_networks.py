"""The [sources] tables of social networks, video, forums and shops of apps."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, Strict, field_validator
from pydantic import ValidationInfo as Info

from .config_errors import refused
from .config_fields import (
    Days,
    FilePath,
    Flag,
    Hashtag,
    Label,
    Seconds,
    Secret,
    Section,
    Text,
    Url,
    Whole,
)
from .config_source import Source

Dollars = Annotated[float, Strict(), Field(ge=0, le=1_000_000, allow_inf_nan=False)]
_SUBREDDIT = r"/?(r/)?[A-Za-z0-9_]{2,24}/?"
_STREAM = r"(wss://[^/\s@]+|ws://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?)(/\S*)?"
_X_USER = r"@?[A-Za-z0-9_]{1,19}"


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
    max_thread_posts: Annotated[Whole, Field(ge=10, le=10_000)] = Field(
        100, description="About how many posts of one conversation are read again, newest first."
    )
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


class MastodonServer(Section):
    """One server of Mastodon, or of a program with the same API."""

    url: Url = Field(description="Address of the server.")
    access_token: Secret | None = Field(
        None, description="Token of an account there, scope read; hashtags mostly need none."
    )
    read_hashtags: Flag = Field(True, description="Whether posts with a hashtag are read.")
    search: Flag = Field(
        False, description="Whether posts are searched; needs a token and full-text search there."
    )
    mentions: Flag = Field(
        False, description="Whether public posts that mention the account of the token are read."
    )
    allow_private_addresses: Flag = Field(
        False, description="Whether the server may be on this machine or in a private network."
    )

    @field_validator("search", "mentions")
    @classmethod
    def _for_accounts(cls, wanted: bool, info: Info) -> bool:
        if wanted and not info.data.get("access_token"):
            raise refused(
                "is for accounts only, yet there is no access_token",
                'write access_token = { env = "MASTODON_TOKEN" } above it',
            )
        return wanted


class MastodonSource(Source):
    """Mastodon, on the servers that you name: hashtags, search, and mentions of your account."""

    servers: tuple[MastodonServer, ...] = Field((), description="The servers to read.")
    hashtags: tuple[Hashtag, ...] = Field(
        (), description="Hashtags that are read besides those of brand, competitors and categories."
    )
    first_days: Annotated[Days, Field(ge=1)] = Field(
        7, description="How many days the first collection looks back."
    )
    max_pages: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        50, description="Most pages of 40 posts that one hashtag or search reads in one collection."
    )
    ask_origins: Flag = Field(
        True,
        description="Whether a known post of another server is looked up there, without a token, "
        "to see that it was edited or deleted; false: only at your servers.",
    )

    @field_validator("servers")
    @classmethod
    def _each_once(
        cls, servers: tuple[MastodonServer, ...], info: Info
    ) -> tuple[MastodonServer, ...]:
        if info.data.get("enabled") and not servers:
            raise refused(
                "is empty, yet the source is enabled", "add [[sources.mastodon.servers]] with url"
            )
        hosts = [urlsplit(server.url).netloc.lower() for server in servers]
        if len({*hosts}) < len(hosts):
            raise refused("names a server twice", "keep one table for each server")
        return servers


class YouTubeSource(Source):
    """Comments of YouTube, of the channels and videos that you name; needs an API key of Google."""

    api_key: Secret | None = Field(
        None, description="API key of a Google Cloud project with the YouTube Data API v3."
    )
    channels: tuple[Text, ...] = Field(
        (), description='Channels, by handle ("@lumora") or id: comments on all of their videos.'
    )
    videos: tuple[Text, ...] = Field((), description="Videos, by address or id.")
    keep_all: Flag = Field(
        False, description="Whether every comment is kept; false: those that name a term of yours."
    )
    daily_units: Annotated[Whole, Field(ge=1, le=10_000_000)] = Field(
        9_000,
        description="Most units of quota a day (until midnight in California); Google gives 10,000 "
        "and a request for up to 100 comments costs one.",
    )
    first_days: Annotated[Days, Field(ge=1)] = Field(
        7, description="How many days the first collection looks back."
    )
    reply_days: Annotated[Days, Field(le=90)] = Field(
        7, description="For how many days a comment is looked at again for new answers."
    )
    max_pages: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        50, description="Most requests for one channel or video in one collection."
    )
    base_url: Url = Field(
        "https://www.googleapis.com",
        description="Address of the API; another one may be a private address.",
    )

    @field_validator("api_key")
    @classmethod
    def _some_key(cls, key: Secret | None, info: Info) -> Secret | None:
        if info.data.get("enabled") and key is None:
            raise refused(
                "is missing, yet the source is enabled", 'write { env = "YOUTUBE_API_KEY" }'
            )
        return key

    @field_validator("videos")
    @classmethod
    def _something_to_read(cls, videos: tuple[str, ...], info: Info) -> tuple[str, ...]:
        if info.data.get("enabled") and not videos and not info.data.get("channels"):
            raise refused(
                "is empty, and so is `channels`, yet the source is enabled",
                'add a channel, such as "@lumora", or a video',
            )
        return videos


class DiscourseForum(Section):
    """One forum that runs Discourse."""

    url: Url = Field(description="Address of the forum.")
    name: Label = Field("", description="What people call it; empty: its host.")
    api_key: Secret | None = Field(
        None, description="API key, for forums that only members may read."
    )
    api_username: Text | None = Field(None, description="User of the forum whom the key is for.")
    categories: tuple[Text, ...] = Field(
        (), description="Slugs of the categories to search; empty: all of the forum."
    )


class DiscourseSource(Source):
    """Forums that run Discourse, by their search."""

    forums: tuple[DiscourseForum, ...] = Field((), description="The forums to search.")
    first_days: Annotated[Days, Field(ge=1)] = Field(
        7, description="How many days the first collection, and that of a new term, looks back."
    )
    max_pages: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        50, description="Most requests for one term in one forum in one collection."
    )
    allow_private_addresses: Flag = Field(
        False, description="Whether forums on this machine or in a private network may be read."
    )

    @field_validator("forums")
    @classmethod
    def _some_forum(
        cls, forums: tuple[DiscourseForum, ...], info: Info
    ) -> tuple[DiscourseForum, ...]:
        if info.data.get("enabled") and not forums:
            raise refused(
                "is empty, yet the source is enabled", "add [[sources.discourse.forums]] with url"
            )
        return forums


class AppStoreSource(Source):
    """Reviews in Apple's App Store, of the apps that you name; needs no key."""

    apps: tuple[Text, ...] = Field(
        (), description="Apps, by address or by the number behind `id` in it."
    )
    countries: tuple[Text, ...] = Field(
        ("us",), description="Countries of the store, in two letters; each has reviews of its own."
    )
    keep_all: Flag = Field(
        True, description="Whether every review is kept; false: those that name a term of yours."
    )
    first_days: Annotated[Days, Field(ge=1)] = Field(
        30, description="How many days the first collection looks back; Apple gives 500 reviews."
    )
    base_url: Url = Field(
        "https://itunes.apple.com",
        description="Address of the feeds; another one may be a private address.",
    )

    @field_validator("apps")
    @classmethod
    def _some_app(cls, apps: tuple[str, ...], info: Info) -> tuple[str, ...]:
        if info.data.get("enabled") and not apps:
            raise refused("is empty, yet the source is enabled", "add the number of an app")
        return apps


class BlueskySource(Source):
    """Bluesky, with an account and an app password: search, and what its notifications bring."""

    identifier: Text | None = Field(
        None, description='The account that asks, such as "lumora.bsky.social".'
    )
    app_password: Secret | None = Field(
        None, description="An app password of it (bsky.app/settings/app-passwords), not its own."
    )
    notifications: Flag = Field(
        True, description="Whether posts that mention, answer or quote the account are read."
    )
    first_days: Annotated[Days, Field(ge=1)] = Field(
        7, description="How many days the first collection, and that of a new term, looks back."
    )
    max_pages: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        50, description="Most pages of 100 posts that one search reads in one collection."
    )
    service: Url = Field(
        "https://bsky.social",
        description="Server of the account (PDS); another one may be a private address.",
    )
    session_file: FilePath = Field(
        Path("bluesky-session.json"),
        description="Where the session is kept, as logins are limited; for its owner only.",
    )

    @field_validator("identifier", "app_password")
    @classmethod
    def _account(cls, value: Text | Secret | None, info: Info) -> Text | Secret | None:
        if info.data.get("enabled") and value is None:
            secret = info.field_name == "app_password"
            fix = '{ env = "BLUESKY_APP_PASSWORD" }' if secret else '"lumora.bsky.social"'
            raise refused("is missing, yet the source is enabled", f"write {fix}")
        return value


class JetstreamSource(Source):
    """Every post of Bluesky as it is published, through a public stream; needs no account."""

    server: Text = Field(
        "wss://jetstream2.us-east.bsky.network/subscribe",
        description="Address of a Jetstream server: wss://, or ws:// on this machine.",
    )
    first_hours: Annotated[Whole, Field(ge=1, le=72)] = Field(
        1, description="How many hours the first collection looks back; servers keep about 72."
    )
    seconds: Seconds = Field(
        240.0, description="How long one collection reads at most; the next one goes on."
    )

    @field_validator("server")
    @classmethod
    def _stream(cls, server: str) -> str:
        if not re.fullmatch(_STREAM, server):
            raise refused(
                "is no address of a stream", "start it with wss://, or ws:// for this machine"
            )
        return server
