from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from builders import (
    ADVERT,
    ASKS,
    DECIDES,
    RECIPIENTS,
    RULES,
    FakeTagger,
    Labels,
    analyse,
    at,
    config,
    matcher,
    mention,
    put,
    store_in,
    tombstone,
)

from connectors.base import Mention
from listener import alerts, conversations
from listener.analyse import match, tag
from listener.conversations import Rules, watch
from listener.steps import Stopped
from listener.store import Store
from nlp.matching import Matcher, Term


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


# -- conversations in the database

ASK = "Which espresso machine is good?"
BUY = "I bought it"
TALK = "I have no idea"
SPAM = "Best espresso machine, buy now!"
TAGGER = FakeTagger({ASK: ASKS, BUY: DECIDES, SPAM: ADVERT})

Table = list[tuple[Any, ...]]


def threads(store: Store) -> dict[str, list[str]]:
    """Native ids of each conversation, by its root."""
    found: dict[str, list[str]] = {}
    for row in store.rows(
        "SELECT c.root_id, m.native_id FROM conversations c "
        "LEFT JOIN mentions m ON m.conversation_id = c.id ORDER BY m.native_id"
    ):
        found.setdefault(row["root_id"], []).append(row["native_id"])
    return found


def states(store: Store) -> dict[str, str]:
    return {row["root_id"]: row["state"] for row in store.rows("SELECT * FROM conversations")}


def conversation_table(store: Store) -> Table:
    """The whole table, with native ids in the place of row ids."""
    rows = store.rows(
        "SELECT c.source, c.root_id, c.title, c.language, c.started_at, c.last_at, c.mentions, "
        "c.authors, c.stage, c.state, c.early, c.about, e.native_id AS early_post, "
        "d.native_id AS decided_post, (SELECT group_concat(native_id, ' ') FROM (SELECT native_id "
        "FROM mentions m WHERE m.conversation_id = c.id ORDER BY native_id)) AS posts, "
        "(SELECT group_concat(what, ' ') FROM (SELECT m.native_id || ':' || v.kind AS what FROM "
        "conversation_events v JOIN mentions m ON m.id = v.mention_id "
        "WHERE v.conversation_id = c.id ORDER BY what)) AS events "
        "FROM conversations c LEFT JOIN mentions e ON e.id = c.early_mention_id "
        "LEFT JOIN mentions d ON d.id = c.decided_mention_id ORDER BY c.source, c.root_id"
    )
    return [tuple(row) for row in rows]


def test_a_conversation_is_a_root_and_its_replies(store: Store) -> None:
    put(
        store,
        mention("1", ASK, by="ana", title="Help me", published_at=at(-3)),
        mention("2", TALK, by="ben", parent_id="1", published_at=at(-2)),
        mention("3", BUY, by="ana", parent_id="2", published_at=at(-1)),
        mention("4", TALK, by="cleo"),
        mention("1", TALK, source="other"),
    )
    tagger = FakeTagger({f"Help me\n{ASK}": ASKS, BUY: DECIDES})
    assert analyse(store, tagger) == 3
    first, *_ = conversation_table(store)
    assert first[:12] == (
        *("forum", "1", "Help me", "en", "2026-03-10T09:00:00Z", "2026-03-10T11:00:00Z", 3, 2),
        *("decision", "decided", 0.0, '[["category", "espresso machine"]]'),
    )
    assert first[12:] == (None, "3", "1 2 3", "1:consideration 3:decision")
    assert threads(store)["4"] == ["4"]
    assert store.value("SELECT count(*) FROM conversations") == 3
    assert analyse(store, tagger) == 0


def test_replies_before_their_root(store: Store) -> None:
    put(store, mention("3", TALK, parent_id="2"))
    analyse(store, TAGGER)
    assert threads(store) == {"2": ["3"]}
    put(store, mention("2", TALK, parent_id="1"))
    analyse(store, TAGGER)
    assert threads(store) == {"1": ["2", "3"]}
    put(store, mention("1", ASK, published_at=at(-5)))
    analyse(store, TAGGER)
    assert threads(store) == {"1": ["1", "2", "3"]}
    assert states(store) == {"1": "early"}


def test_a_root_given_by_the_platform_needs_no_chain(store: Store) -> None:
    put(
        store,
        mention("9", TALK, parent_id="8", root_id="1"),
        mention("7", TALK, parent_id="6", root_id="1"),
        mention("1", ASK, root_id="1", published_at=at(-1)),
    )
    analyse(store, TAGGER)
    assert threads(store) == {"1": ["1", "7", "9"]}


def test_a_given_root_that_is_a_reply_itself_is_followed(store: Store) -> None:
    put(store, mention("3", TALK, root_id="2"))
    analyse(store, TAGGER)
    put(store, mention("2", TALK, parent_id="1"), mention("4", TALK, parent_id="3"))
    analyse(store, TAGGER)
    assert threads(store) == {"1": ["2", "3", "4"]}
    watch(store, RULES, "judge again")
    assert threads(store) == {"1": ["2", "3", "4"]}


@pytest.mark.parametrize("ids", ["ABT", "TBA", "BTA", "ATB"])
def test_cycles_end_and_what_hangs_on_them_joins(store: Store, ids: str) -> None:
    """A answers B, B answers A, and T (whose id may be smaller) answers A."""
    parents = {"A": "B", "B": "A", "T": "A"}
    for one in ids:
        put(store, mention(one, TALK, parent_id=parents[one]))
        analyse(store, TAGGER)
    assert threads(store) == {"A": ["A", "B", "T"]}


def test_a_smaller_id_outside_the_cycle_is_no_root(store: Store) -> None:
    put(
        store,
        mention("1", TALK, parent_id="5"),
        mention("5", TALK, parent_id="6"),
        mention("6", TALK, parent_id="5"),
        mention("7", TALK, parent_id="7"),
    )
    analyse(store, TAGGER)
    assert threads(store) == {"5": ["1", "5", "6"], "7": ["7"]}


def test_a_deep_chain_is_followed_to_its_end(store: Store) -> None:
    chain = [mention(f"{n:04}", TALK, parent_id=f"{n - 1:04}") for n in range(1, 400)]
    put(store, *chain)
    analyse(store, TAGGER)
    assert list(threads(store)) == ["0000"]
    put(store, mention("0000", ASK))
    assert analyse(store, TAGGER) == 1
    assert len(threads(store)["0000"]) == 400


def test_two_thousand_replies_in_one_thread(store: Store) -> None:
    """Every one of them asks; seven later ones settle what their authors asked before only."""
    put(
        store,
        mention("root", ASK, by="ana"),
        *(
            mention(f"r{n}", ASK, by=f"a{n % 7}", parent_id="root", published_at=at(n / 60))
            for n in range(2000)
        ),
    )
    analyse(store, TAGGER)
    assert store.value("SELECT mentions FROM conversations") == 2001
    put(store, *(mention(f"x{n}", BUY, by=f"a{n}", parent_id="root") for n in range(7)))
    assert analyse(store, TAGGER) == 1
    assert states(store) == {"root": "early"}


def test_a_root_that_is_taken_down_leaves_the_replies_together(store: Store) -> None:
    put(
        store,
        mention("1", ASK, by="ana", title="private words", published_at=at(-1)),
        mention("2", TALK, by="ben", parent_id="1"),
    )
    analyse(store, FakeTagger({f"private words\n{ASK}": ASKS}))
    assert states(store) == {"1": "early"}
    put(store, updates=[tombstone("1")])
    analyse(store, TAGGER)
    (row,) = store.rows("SELECT title, state, authors, about FROM conversations")
    assert tuple(row) == ("", "quiet", 1, "[]")
    assert threads(store) == {"1": ["1", "2"]}


def test_other_rules_judge_everything_again(store: Store) -> None:
    put(store, mention("1", ASK))
    analyse(store, TAGGER)
    strict = Rules(thresholds={"*": 0.95})
    assert watch(store, strict, "strict") == 1
    assert states(store) == {"1": "quiet"}
    assert watch(store, strict, "strict") == 0


def test_another_model_or_vocabulary_judges_again_what_it_read(store: Store) -> None:
    put(store, mention("1", ASK), mention("2", TALK))
    analyse(store, TAGGER)
    tag(store, FakeTagger(version="2"))
    assert watch(store, RULES, "1") == 2
    assert states(store) == {"1": "quiet", "2": "quiet"}
    tag(store, FakeTagger({ASK: ASKS}, version="3"))
    watch(store, RULES, "1")
    assert states(store) == {"1": "early", "2": "quiet"}
    match(store, Matcher([Term(text="idea", kind="brand", name="Idea")]), "2")
    assert watch(store, RULES, "1") == 2
    about = store.rows("SELECT about FROM conversations ORDER BY root_id")
    assert [row["about"] for row in about] == ["[]", '[["brand", "Idea"]]']
    assert states(store) == {"1": "quiet", "2": "quiet"}


def test_recommendations_are_events(store: Store) -> None:
    put(store, mention("1", ASK))
    analyse(store, FakeTagger({ASK: Labels(signals={"recommendation_given": 0.7, "praise": 0.9})}))
    rows = store.rows("SELECT kind, score FROM conversation_events")
    assert [tuple(row) for row in rows] == [("recommendation", 0.7)]


def test_a_stop_leaves_the_rest_for_the_next_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "_BATCH", 2)
    put(store, *(mention(str(n), ASK) for n in range(5)))

    def stop(_: int) -> None:
        raise Stopped

    match(store, matcher(), "1")
    tag(store, TAGGER)
    with pytest.raises(Stopped):
        watch(store, RULES, "1", progress=lambda _name, _total: stop)
    assert len(states(store)) == 2
    assert watch(store, RULES, "1") == 3
    assert set(states(store).values()) == {"early"}


# -- merging


def raise_alerts(store: Store) -> int:
    settings = config(RECIPIENTS)
    return alerts.save(store, alerts.find(store, settings, now=at(1)), settings, now=at(1))[0]


def test_alerts_go_along_when_conversations_merge(store: Store) -> None:
    put(store, mention("3", ASK, by="ana", parent_id="2"), mention("4", ASK, parent_id="1"))
    analyse(store, TAGGER)
    assert raise_alerts(store) == 2
    put(store, mention("2", TALK, parent_id="1"))
    analyse(store, TAGGER)
    assert threads(store) == {"1": ["2", "3", "4"]}
    assert raise_alerts(store) == 0
    (conversation,) = store.rows("SELECT id FROM conversations")
    owners = store.rows("SELECT DISTINCT conversation_id FROM alerts")
    assert [row["conversation_id"] for row in owners] == [conversation["id"]]
    assert store.value("SELECT count(*) FROM alerts") == 2


def test_an_alert_follows_a_post_that_moves_alone(store: Store) -> None:
    """The parent goes when its age comes; what answered it keeps its alert, and gets no second."""
    put(
        store,
        mention("1", TALK),
        mention("2", TALK, parent_id="1"),
        mention("3", ASK, parent_id="2"),
    )
    analyse(store, TAGGER)
    assert raise_alerts(store) == 1
    with store.write() as connection:
        connection.execute("DELETE FROM mentions WHERE native_id IN ('1', '2')")
    watch(store, RULES, "judge again")
    assert threads(store) == {"2": ["3"]}
    assert raise_alerts(store) == 0
    assert store.value("SELECT count(*) FROM alerts") == 1


# -- whatever the order


def crowd(seed: int) -> list[Mention]:
    """Threads with gaps, cycles, given roots, answers from before their question, two sources."""
    chance = random.Random(seed)
    ids = [f"{n:02}" for n in chance.sample(range(60), 24)]
    posts = []
    for n, one in enumerate(ids):
        kind = chance.random()
        known = ids if kind > 0.9 else ids[:n]
        parent = chance.choice([*known, f"gap{n % 3}"]) if kind > 0.25 else None
        root = chance.choice(ids) if kind > 0.8 else None
        posts.append(
            mention(
                one,
                chance.choice([ASK, ASK, BUY, TALK, SPAM]),
                by=chance.choice(["ana", "ben", "cleo", None]),
                published_at=at(chance.randint(-9, 0)),
                source=chance.choice(["forum", "forum", "forum", "other"]),
                parent_id=parent,
                root_id=root,
            )
        )
    return posts


def in_order(posts: Sequence[Mention], cuts: Sequence[int]) -> Table:
    with Store(":memory:") as store:
        for first, last in zip([0, *cuts], [*cuts, len(posts)], strict=True):
            put(store, *posts[first:last])
            analyse(store, TAGGER)
        table = conversation_table(store)
        watch(store, RULES, "judge again")
        assert conversation_table(store) == table
        return table


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_order_and_batches_never_change_the_table(
    monkeypatch: pytest.MonkeyPatch, seed: int, batch: int
) -> None:
    monkeypatch.setattr(conversations, "_BATCH", batch)
    posts = crowd(seed)
    expected = in_order(posts, [])
    assert len(expected) > 1
    assert any(row[6] > 1 for row in expected)
    chance = random.Random(seed)
    for _ in range(3):
        shuffled = chance.sample(posts, len(posts))
        cuts = sorted(chance.sample(range(1, len(posts)), 4))
        assert in_order(shuffled, cuts) == expected
