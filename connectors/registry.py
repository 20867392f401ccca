"""Connectors by name: the built-in ones and those of plug-ins, imported only when they are used."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from .base import BadConfig, Connector

GROUP = "listener.connectors"

BUILT_IN = {
    "appstore": "connectors.appstore:AppStore",
    "bluesky": "connectors.bluesky:BlueskySearch",
    "bluesky_notifications": "connectors.bluesky:BlueskyNotifications",
    "discourse": "connectors.discourse:Discourse",
    "file": "connectors.opening:open_file",
    "hackernews": "connectors.hackernews:HackerNews",
    "jetstream": "connectors.jetstream:Jetstream",
    "mastodon_mentions": "connectors.mastodon:MastodonMentions",
    "mastodon_search": "connectors.mastodon_search:MastodonSearch",
    "mastodon_tags": "connectors.mastodon:MastodonTags",
    "reddit": "connectors.reddit:RedditSearch",
    "reddit_new": "connectors.reddit:RedditNew",
    "rss": "connectors.rss:Rss",
    "sample": "connectors.sample:Sample",
    "x": "connectors.x:Search",
    "x_mentions": "connectors.x:Mentions",
    "youtube": "connectors.youtube:YouTube",
}


def names() -> list[str]:
    """Names that `load` knows, sorted; imports nothing."""
    return sorted(_table())


def load(name: str) -> Callable[..., Connector]:
    """The class (or function) that makes the connector called `name`.

    Raises BadConfig for an unknown name, a plug-in that cannot be imported, one that takes the name
    of a built-in connector, and two plug-ins of one name.
    """
    table = _table()
    if name not in table:
        near = difflib.get_close_matches(name, table, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(table))}"
        raise BadConfig(f"there is no connector {name[:40]!r}; {hint}")
    try:
        made: Callable[..., Connector] = table[name].load()
    except (ImportError, AttributeError) as error:
        raise BadConfig(
            f"connector {name} cannot be loaded from {table[name].value} ({error}); install or "
            "remove its package"
        ) from error
    return made


def _table() -> dict[str, EntryPoint]:
    table = {name: EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items()}
    for plug_in in entry_points(group=GROUP):
        if plug_in.name in table:
            raise BadConfig(
                f"the plug-in {plug_in.value} calls itself {plug_in.name}, which is taken by "
                f"{table[plug_in.name].value}; remove one of them or rename it"
            )
        table[plug_in.name] = plug_in
    return table
