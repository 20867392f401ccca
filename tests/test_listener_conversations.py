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
    OWNS,
    RULES,
    FakePhrases,
    FakeTagger,
    Labels,
    analyse,
    at,
    edit,
    matcher,
    mention,
    put,
    store_in,
    tombstone,
)

from connectors.base import Mention
from listener import conversations
from listener.analyse import match, tag
from listener.config import Retention
from listener.conversations import Rules, watch
from listener.retention import prune
from listener.steps import Stopped, document
from listener.store import Store, stamp
from listener.threads import MOST_ROOTS
from nlp.matching import Matcher
from nlp.patterns import Term


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


# -- conversations in the database

ASK = "Which espresso machine is good?"
BUY = "I bought it"
TALK = "I have no idea"
SPAM = "Best espresso machine, buy now!"
DONE = "Thanks all! I ended up buying the Moketto."
TAGGER = FakeTagger({ASK: ASKS, BUY: DECIDES, SPAM: ADVERT})
PHRASES = FakePhrases({"ended up buying the Moketto": "purchased", "by Friday": "deadline"})

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
        "WHERE v.conversation_id = c.id ORDER BY what)) AS events, c.urgent, c.outcome, "
        "c.outcome_entity, c.outcome_start, c.outcome_end, o.native_id AS outcome_post "
        "FROM conversations c LEFT JOIN mentions e ON e.id = c.early_mention_id "
        "LEFT JOIN mentions d ON d.id = c.decided_mention_id "
        "LEFT JOIN mentions o ON o.id = c.outcome_mention_id ORDER BY c.source, c.root_id"
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
    assert first[12:16] == (None, "3", "1 2 3", "1:request 3:decision")
    assert first[16:] == (0, "unknown", None, 0, 0, "3")
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


def test_a_reply_that_is_known_as_such_only_later_joins_its_thread(store: Store) -> None:
    put(store, mention("1", ASK, published_at=at(-5)), mention("2", TALK), mention("3", TALK))
    analyse(store, TAGGER)
    assert threads(store) == {"1": ["1"], "2": ["2"], "3": ["3"]}
    put(store, mention("2", TALK, parent_id="1"), mention("3", TALK, parent_id="2", root_id="1"))
    assert analyse(store, TAGGER) > 0
    assert threads(store) == {"1": ["1", "2", "3"]}
    put(store, mention("2", TALK, parent_id="9"), mention("3", TALK))
    assert analyse(store, TAGGER) == 0
    assert threads(store) == {"1": ["1", "2", "3"]}


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


def test_the_timeline_is_stored_with_its_quotes(store: Store) -> None:
    urgent = f"{ASK} I need it by Friday"
    advice = "Get the Lumora Brisa"
    given = Labels(signals={"recommendation_given": 0.7, "praise": 0.9})
    tagger = FakeTagger({urgent: ASKS, advice: given})
    put(
        store,
        mention("1", urgent, by="ana", published_at=at(-3)),
        mention("2", advice, by="ben", parent_id="1", published_at=at(-2)),
    )
    analyse(store, tagger, phrases=PHRASES)
    assert store.value("SELECT urgent FROM conversations") == 1
    put(store, mention("3", DONE, title="Solved", by="ana", parent_id="1", published_at=at(-1)))
    analyse(store, tagger, phrases=PHRASES)
    (row,) = store.rows(
        "SELECT c.*, m.title AS post_title, m.text FROM conversations c "
        "JOIN mentions m ON m.id = c.outcome_mention_id"
    )
    assert (row["state"], row["stage"], row["urgent"]) == ("decided", "post_purchase", 0)
    assert (row["outcome"], row["outcome_entity"]) == ("competitor", "Moketto")
    text = document(row["post_title"], row["text"])
    quote = text[row["outcome_start"] : row["outcome_end"]]
    assert quote == "ended up buying the Moketto"
    events = store.rows(
        "SELECT m.native_id, v.kind, v.entity_kind, v.entity, v.score, v.span_start, v.span_end "
        "FROM conversation_events v JOIN mentions m ON m.id = v.mention_id "
        "ORDER BY v.at, v.kind, v.entity"
    )
    brand, product = ("brand", "Lumora"), ("product", "Lumora Brisa")
    theirs = ("competitor", "Moketto")
    assert [tuple(event) for event in events] == [
        ("1", "request", "", "", 0.9, 0, 0),
        ("2", "option", *brand, 1.0, 8, 14),
        ("2", "option", *product, 1.0, 8, 20),
        ("2", "recommendation", *brand, 0.7, 8, 14),
        ("2", "recommendation", *product, 0.7, 8, 20),
        ("3", "option", *theirs, 1.0, 41, 48),
        ("3", "outcome", *theirs, 0.9, 21, 48),
        ("3", "purchase", *theirs, 0.9, 21, 48),
    ]


@pytest.mark.parametrize(
    ("marked", "outcome"),
    [
        ("I [ended up buying the Moketto] instead of the Lumora", "competitor"),
        ("I [ended up buying one]. It is a Lumora", "unknown"),
        ("I [ended up buying one], the Lumora", "ours"),
        ("I [ended up buying one] instead of the Lumora", "unknown"),
        ("al final [me compré una] en vez de la Lumora", "unknown"),
        ("al final [me compré la DeLonghi Dedica]", "other"),
        ("I [ended up buying the x200] (not the Lumora)", "other"),
        ("I [ended up buying from Amazon on Black Friday]", "unknown"),
        ("I [ENDED UP BUYING THE X200]", "unknown"),
        ("[Ended up buying an Espresso Machine]", "unknown"),
    ],
)
def test_what_is_chosen_is_read_from_the_sentence(store: Store, marked: str, outcome: str) -> None:
    words = marked[marked.index("[") + 1 : marked.index("]")]
    text = marked.replace("[", "").replace("]", "")
    put(
        store,
        mention("1", ASK, by="ana", published_at=at(-2)),
        mention("2", text, by="ana", parent_id="1"),
    )
    analyse(store, TAGGER, phrases=FakePhrases({words: "purchased"}))
    assert store.value("SELECT outcome FROM conversations") == outcome


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


def raise_alerts(store: Store) -> None:
    """One alert for each conversation that is open and has none."""
    with store.write() as connection:
        connection.execute(
            "INSERT INTO alerts (key, rule, conversation_id, mention_id, probability, reasons, "
            "created_at) SELECT 'r:' || c.root_id, 'r', c.id, c.early_mention_id, c.early, '[]', ? "
            "FROM conversations c WHERE c.state = 'early' "
            "AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.conversation_id = c.id)",
            (stamp(at(1)),),
        )


def alerted(store: Store) -> list[tuple[str, str]]:
    """Post and conversation of each alert."""
    rows = store.rows(
        "SELECT m.native_id, c.root_id FROM alerts a JOIN mentions m ON m.id = a.mention_id "
        "JOIN conversations c ON c.id = a.conversation_id ORDER BY m.native_id"
    )
    return [tuple(row) for row in rows]


def test_alerts_go_along_when_conversations_merge(store: Store) -> None:
    put(store, mention("3", ASK, by="ana", parent_id="2"), mention("4", ASK, parent_id="1"))
    analyse(store, TAGGER)
    raise_alerts(store)
    assert alerted(store) == [("3", "2"), ("4", "1")]
    put(store, mention("2", TALK, parent_id="1"))
    analyse(store, TAGGER)
    assert threads(store) == {"1": ["2", "3", "4"]}
    raise_alerts(store)
    assert alerted(store) == [("3", "1"), ("4", "1")]


def test_an_alert_follows_a_post_that_moves_alone(store: Store) -> None:
    """The parent goes when its age comes; what answered it keeps its alert, and gets no second."""
    put(
        store,
        mention("1", TALK),
        mention("2", TALK, parent_id="1"),
        mention("3", ASK, parent_id="2"),
    )
    analyse(store, TAGGER)
    raise_alerts(store)
    with store.write() as connection:
        connection.execute("DELETE FROM mentions WHERE native_id IN ('1', '2')")
    watch(store, RULES, "judge again")
    assert threads(store) == {"2": ["3"]}
    raise_alerts(store)
    assert alerted(store) == [("3", "2")]


# -- posts of one author


def begun(number: int, days: float, text: str = ASK, by: str = "ana", **rest: Any) -> Mention:
    return mention(str(number), text, by=by, published_at=at(24 * days), **rest)


def test_posts_of_one_author_about_one_category_are_one_conversation(store: Store) -> None:
    put(
        store,
        begun(1, -40),
        begun(2, -26),
        begun(3, -12, BUY + ", an espresso machine"),
        begun(4, -11, by="ben"),
        begun(5, -11, source="other"),
        mention("6", TALK, by="ben", parent_id="2", published_at=at(-1)),
    )
    analyse(store, FakeTagger({ASK: ASKS, BUY + ", an espresso machine": OWNS}))
    assert threads(store) == {"1": ["1", "2", "3", "6"], "4": ["4"], "5": ["5"]}
    assert states(store) == {"1": "decided", "4": "early", "5": "early"}


def test_what_keeps_posts_of_one_author_apart(store: Store) -> None:
    put(
        store,
        begun(1, -30),
        begun(2, -15.9),
        begun(3, -15, TALK),
        begun(4, -15, SPAM),
        begun(5, -15, "Is the Lumora good?"),
        begun(6, -14, "Or the Moketto?"),
        begun(7, -13, "Lumora it is"),
        begun(8, -13, "An espresso machine by Lumora"),
        mention("9", ASK, published_at=at(-24 * 15)),
        begun(10, -12, ASK, parent_id="gone"),
    )
    analyse(store, TAGGER)
    assert threads(store) == {
        "1": ["1"],
        "2": ["2", "8"],
        "3": ["3"],
        "4": ["4"],
        "5": ["5", "7"],
        "6": ["6"],
        "9": ["9"],
        "gone": ["10"],
    }


def test_a_late_post_bridges_and_its_end_splits(store: Store) -> None:
    put(
        store,
        begun(1, -40),
        mention("2", ASK, by="ben", parent_id="1"),
        begun(3, -20),
        mention("4", TALK, by="ben", parent_id="3"),
    )
    analyse(store, TAGGER)
    raise_alerts(store)
    apart = {"1": ["1", "2"], "3": ["3", "4"]}
    assert threads(store) == apart
    put(store, begun(5, -30))
    analyse(store, TAGGER)
    assert threads(store) == {"1": ["1", "2", "3", "4", "5"]}
    assert {root for _, root in alerted(store)} == {"1"}
    put(store, updates=[edit("5", "never mind")])
    analyse(store, TAGGER)
    assert threads(store) == {**apart, "5": ["5"]}
    assert [root for _, root in alerted(store)] == ["1", "3"]


def test_an_earlier_post_becomes_the_root(store: Store) -> None:
    put(store, begun(1, -10), mention("2", TALK, by="ben", parent_id="1"))
    analyse(store, TAGGER)
    raise_alerts(store)
    put(store, begun(3, -12))
    analyse(store, TAGGER)
    assert threads(store) == {"3": ["1", "2", "3"]}
    assert alerted(store) == [("1", "3")]


def test_another_vocabulary_splits_what_it_joined(store: Store) -> None:
    put(store, begun(1, -10), begun(2, -9))
    analyse(store, TAGGER)
    assert threads(store) == {"1": ["1", "2"]}
    match(store, Matcher([Term(text="idea", kind="brand", name="Idea")]), "2")
    watch(store, RULES, "1")
    assert threads(store) == {"1": ["1"], "2": ["2"]}


def test_a_bridge_that_is_taken_down_splits(store: Store) -> None:
    put(store, begun(1, -30), begun(2, -20), begun(3, -10))
    analyse(store, TAGGER)
    assert threads(store) == {"1": ["1", "2", "3"]}
    put(store, updates=[tombstone("2")])
    analyse(store, TAGGER)
    assert threads(store) == {"1": ["1"], "2": ["2"], "3": ["3"]}


def test_pruning_the_root_leaves_the_others_together(store: Store, tmp_path: Path) -> None:
    put(store, begun(1, -30), mention("2", TALK, parent_id="1"), now=at(-24 * 20))
    put(store, begun(3, -20), begun(4, -10), mention("5", TALK, by="ben", parent_id="1"))
    analyse(store, TAGGER)
    assert threads(store) == {"1": ["1", "2", "3", "4", "5"]}
    prune(store, Retention(mentions_days=15), outbox=tmp_path, now=at(0), tick=lambda _: None)
    analyse(store, TAGGER)
    assert threads(store) == {"1": ["5"], "3": ["3", "4"]}


def test_a_shop_is_not_joined_but_its_quiet_times_are(store: Store) -> None:
    posts = [begun(n, -n / 10) for n in range(MOST_ROOTS)]
    put(store, *posts, begun(901, -60), begun(902, -55))
    analyse(store, TAGGER)
    assert len(threads(store)) == 2
    put(store, begun(900, -6))
    analyse(store, TAGGER)
    assert len(threads(store)) == MOST_ROOTS + 2
    assert threads(store)["901"] == ["901", "902"]


# -- bad input


def test_an_author_with_five_thousand_posts(store: Store) -> None:
    for first in range(0, 5000, 2500):
        put(store, *(begun(n, -n / 10) for n in range(first, first + 2500)))
        match(store, matcher(), "1")
        watch(store, RULES, "1")
    assert store.value("SELECT count(*) FROM conversations") == 5000
    put(store, *(begun(9000 + n, -n * 7, by="ben") for n in range(1000)))
    match(store, matcher(), "1")
    assert watch(store, RULES, "1") == 1


def test_ten_thousand_replies(store: Store) -> None:
    put(store, *(mention(f"r{n}", TALK, by=f"a{n}", parent_id="1") for n in range(10_000)))
    put(store, mention("1", ASK, by="ana", published_at=at(-1)))
    watch(store, RULES, "1")
    (row,) = store.rows("SELECT root_id, mentions, authors, started_at FROM conversations")
    assert tuple(row) == ("1", 10_001, 10_001, "2026-03-10T11:00:00Z")


def test_a_clock_ahead_of_time_counts_from_first_sight(store: Store) -> None:
    put(
        store,
        mention("1", ASK, by="ana", published_at=at(24 * 365)),
        mention("2", BUY, by="ana", parent_id="1", published_at=at(1)),
        now=at(0),
    )
    analyse(store, TAGGER)
    (row,) = store.rows("SELECT state, started_at, last_at FROM conversations")
    assert tuple(row) == ("decided", "2026-03-10T12:00:00Z", "2026-03-10T12:00:00Z")
    assert store.value("SELECT max(at) FROM conversation_events") == "2026-03-10T12:00:00Z"


def test_a_deleted_post_inside_a_thread_leaves_it_whole(store: Store) -> None:
    put(
        store,
        mention("1", ASK, by="ana", published_at=at(-3)),
        mention("2", DONE, by="ana", parent_id="1", published_at=at(-2)),
        mention("3", TALK, by="ben", parent_id="2", published_at=at(-1)),
    )
    analyse(store, TAGGER, phrases=PHRASES)
    assert states(store) == {"1": "decided"}
    put(store, updates=[tombstone("2")])
    analyse(store, TAGGER, phrases=PHRASES)
    assert threads(store) == {"1": ["1", "2", "3"]}
    assert states(store) == {"1": "early"}
    assert store.value("SELECT outcome FROM conversations") is None


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
                chance.choice([ASK, ASK, BUY, TALK, SPAM, DONE, "Is the Moketto good?"]),
                by=chance.choice(["ana", "ben", "cleo", None]),
                published_at=at(24 * chance.randint(-90, 0)),
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
            analyse(store, TAGGER, phrases=PHRASES)
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
