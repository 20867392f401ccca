"""What a conversation has named so far that one could choose, and how many people named it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from . import i18n
from .hostile import clean
from .store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A brand or product that was named.

    `asker` says that the author of the alert's post named it, `others` counts further people who
    did, `recommended` how many people recommended it.
    """

    name: str
    ours: bool
    asker: bool
    others: int
    recommended: int


def options(store: Store, conversation: int, mention: int) -> tuple[Option, ...]:
    """The options of a conversation, what most people named first; `mention` is the asker's post.

    A post without an author counts as one person.
    """
    rows = store.rows(
        "WITH named AS (SELECT DISTINCT x.kind, x.name, coalesce(m.author_id, -m.id) AS who "
        "FROM mentions m JOIN relevant_matches x ON x.mention_id = m.id "
        "AND x.kind IN ('brand', 'product', 'competitor') WHERE m.conversation_id = :conversation) "
        "SELECT n.name, n.kind <> 'competitor' AS ours, "
        "max(n.who = a.who) AS asker, sum(n.who <> a.who) AS others, "
        "(SELECT count(DISTINCT coalesce(m.author_id, -m.id)) FROM conversation_events e "
        "JOIN mentions m ON m.id = e.mention_id WHERE e.conversation_id = :conversation "
        "AND e.kind = 'recommendation' AND e.entity_kind = n.kind AND e.entity = n.name) "
        "AS recommended FROM named n, (SELECT coalesce(author_id, -id) AS who FROM mentions "
        "WHERE id = :mention) a GROUP BY n.kind, n.name ORDER BY count(*) DESC, n.kind, n.name",
        {"conversation": conversation, "mention": mention},
    )
    return tuple(
        Option(
            name=row["name"],
            ours=bool(row["ours"]),
            asker=bool(row["asker"]),
            others=row["others"],
            recommended=row["recommended"],
        )
        for row in rows
    )


def topic(store: Store, conversation: int, labels: Mapping[str, str]) -> tuple[str, ...]:
    """What the post of a conversation's first alert names, which no later alert changes."""
    rows = store.rows(
        "SELECT DISTINCT kind, name FROM relevant_matches WHERE mention_id = (SELECT mention_id "
        "FROM alerts WHERE conversation_id = ? ORDER BY id LIMIT 1) ORDER BY kind, name",
        (conversation,),
    )
    return tuple(labels.get(row["name"], row["name"]) for row in rows)


def option_line(language: str, option: Option) -> str:
    """`option` as a line: Moketto (competitor): named by the author and 2 others."""
    say = partial(i18n.say, language)
    whose = say("option.ours" if option.ours else "option.theirs", name=clean(option.name, 60))
    if not option.others:
        named = say("option.asker")
    else:
        named = say("option.both" if option.asker else "option.others", n=option.others)
    line = f"{whose}: {named}"
    if option.recommended:
        line += f", {say('option.recommended', n=option.recommended)}"
    return line
