"""What is kept of what a source gives: what names a term of ours, and answers to that.

Of excluded authors nothing is kept, whatever they answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from connectors.base import Connector, Mention
from connectors.query import same_name, written_by
from nlp.matching import Matcher

from .steps import document
from .store import Store


def keeper(
    store: Store, connector: Connector, matcher: Matcher, not_authors: Collection[str] = ()
) -> Callable[[Sequence[Mention]], list[Mention]]:
    """Chooses the mentions of a page to store.

    Sites match loosely: what names a term of ours is kept, and answers to what is kept already.
    What the user chose, as in a file, is kept without a term. Posts by `not_authors`, handles or
    ids, are left out whatever the source, as not every site can be asked to.
    """
    excluded = set(map(same_name, not_authors))
    chosen = connector.capabilities().prefiltered

    def keep(given: Sequence[Mention]) -> list[Mention]:
        mentions = [one for one in given if not written_by(one.author, excluded)]
        if chosen:
            return mentions
        spans = matcher.match([document(m.title, m.text) for m in mentions])
        kept = {
            (mention.source, mention.native_id)
            for mention, found in zip(mentions, spans, strict=True)
            if found or _answers_stored(store, mention)
        }
        # Answers to answers, which may stand before what they answer.
        while (
            more := {
                (mention.source, mention.native_id)
                for mention in mentions
                if not kept.isdisjoint(_answered(mention))
            }
            - kept
        ):
            kept |= more
        return [mention for mention in mentions if (mention.source, mention.native_id) in kept]

    return keep


def _answered(mention: Mention) -> set[tuple[str, str]]:
    return {(mention.source, one) for one in (mention.root_id, mention.parent_id) if one}


def _answers_stored(store: Store, mention: Mention) -> bool:
    return any(
        store.value("SELECT 1 FROM mentions WHERE source = ? AND native_id = ?", identity)
        for identity in _answered(mention)
    )
