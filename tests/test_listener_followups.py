from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import (
    ASKS,
    DECIDES,
    NOW,
    FakeConnector,
    FakePhrases,
    FakeTagger,
    analyse,
    at,
    config,
    matcher,
    mention,
    put,
    store_in,
    tombstone,
)
from hypothesis import given
from hypothesis import strategies as st
from loopback import Answer as Served
from loopback import loopback

from connectors.base import (
    Budget,
    BudgetSpent,
    Connector,
    Cost,
    Mention,
    NeedsAuth,
    Page,
    RetryAt,
    Transient,
    Update,
)
from connectors.twarc import first_id
from connectors.x import Search
from connectors.x_client import open_http
from listener.collect import Collected, Source, spent
from listener.config import Followups
from listener.daemon import jobs
from listener.followups import due, follow_up, readers, step_due
from listener.ingest import Place, read_cursor, save_page
from listener.pipeline import Parts, revisit, run_round
from listener.scheduler import Every
from listener.steps import Stopped
from listener.store import Store, stamp

PLAN = (1, 6, 24, 168)
ASK = "Which espresso machine?"
TAGGER = FakeTagger({ASK: ASKS, "I bought it": DECIDES})

Answer = Sequence[Page] | Exception


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


@dataclass
class Forum(FakeConnector):
    """Gives the pages of threads by their first post, or raises; remembers what it was asked."""

    prefiltered: bool = False
    threads: Mapping[str, Answer] = field(default_factory=dict)
    read: list[tuple[str, Budget]] = field(default_factory=list)

    def thread(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        (root_id,) = ids
        self.read.append((root_id, budget))
        answer = self.threads.get(root_id, ())
        if isinstance(answer, Exception):
            raise answer
        yield from answer

    def roots(self) -> list[str]:
        return [root_id for root_id, _ in self.read]


def reply(native_id: str, text: str, *, to: str = "root", by: str = "ben") -> Mention:
    return mention(native_id, text, by=by, published_at=at(1), parent_id=to, root_id=to)


def asking(store: Store, *ids: str, hours: float = 0, source: str = "forum") -> None:
    """Open conversations, each begun by one person."""
    for one in ids:
        post = mention(one, ASK, by=f"asks-{one}", published_at=at(hours), source=source)
        put(store, post, now=at(hours))
    analyse(store, TAGGER)


def run(
    store: Store, *connectors: Connector, hours: float, cap: int | None = None, **settings: Any
) -> list[Collected]:
    sources = [
        Source(name=f"s{n}", connector=one, monthly_cap=cap) for n, one in enumerate(connectors, 1)
    ]
    return follow_up(store, sources, matcher(), Followups(**settings), now=at(hours))


def texts(store: Store) -> list[str]:
    return [row["text"] for row in store.rows("SELECT text FROM mentions ORDER BY native_id")]


# -- the plan


def step(hours: float, *, last: float = 0, done: int = 0) -> int | None:
    return step_due(PLAN, began=NOW, last=at(last), done=done, now=at(hours))


@pytest.mark.parametrize(
    ("hours", "done", "expected"),
    [
        (0.99, 0, None),
        (1, 0, 1),
        (5.9, 1, None),
        (6, 1, 6),
        (24, 6, 24),
        (168, 24, 168),
        (9_999, 168, None),
        (72, 0, 24),
        (72, 1, 24),
        (72, 24, None),
        (-5, 0, None),
    ],
)
def test_each_step_has_its_time(hours: float, done: int, expected: int | None) -> None:
    assert step(hours, done=done) == expected


def test_the_age_counts_from_the_last_post_but_doubles_at_most() -> None:
    assert step(6, last=0.5, done=1) is None
    assert step(6.5, last=0.5, done=1) == 6
    assert step(11.9, last=11.8, done=1) is None
    assert step(12, last=11.8, done=1) == 6


@given(
    plan=st.lists(st.integers(1, 400), min_size=1, max_size=6, unique=True),
    events=st.lists(st.tuples(st.floats(-50, 200), st.booleans()), max_size=40),
)
def test_no_step_comes_twice_or_before_its_time(
    plan: list[int], events: list[tuple[float, bool]]
) -> None:
    """Clocks jump both ways, posts arrive in between, calls come in any order."""
    now = last = NOW
    read: list[int] = []
    for jump, posted in events:
        now += timedelta(hours=jump)
        if posted:
            last = max(last, min(now, last + timedelta(hours=3)))
        done = max(read, default=0)
        found = step_due(plan, began=NOW, last=last, done=done, now=now)
        if found is None:
            late = [one for one in plan if one > done and now >= NOW + timedelta(hours=2 * one)]
            assert not late
            continue
        assert found in plan
        assert found > done
        assert now >= min(last + timedelta(hours=found), NOW + timedelta(hours=2 * found))
        assert step_due(plan, began=NOW, last=last, done=found, now=now) is None
        read.append(found)
    assert read == sorted(set(read))


# -- which conversations


def test_an_open_conversation_is_read_at_every_step_once(store: Store) -> None:
    asking(store, "root")
    forum = Forum()
    told = [(hours, bool(run(store, forum, hours=hours))) for hours in (0.5, 1, 1.2, 6, 7, 30, 200)]
    assert told == [
        (0.5, False),
        (1, True),
        (1.2, False),
        (6, True),
        (7, False),
        (30, True),
        (200, True),
    ]
    assert run(store, forum, hours=300) == []
    assert forum.roots() == ["root"] * 4


def test_steps_that_were_missed_are_one(store: Store) -> None:
    asking(store, "root")
    forum = Forum()
    for _ in range(3):
        run(store, forum, hours=72)
    assert forum.roots() == ["root"]
    assert store.value("SELECT hours FROM followups") == 24
    run(store, forum, hours=168)
    assert len(forum.read) == 2


def test_the_plan_survives_a_restart(tmp_path: Path) -> None:
    forum = Forum()
    for hours in (1, 2, 6):
        with Store(tmp_path / "listener.db") as store:
            if hours == 1:
                asking(store, "root")
            run(store, forum, hours=hours)
    assert len(forum.read) == 2


def test_after_a_long_silence_a_conversation_is_given_up(store: Store) -> None:
    asking(store, "root")
    forum = Forum()
    assert run(store, forum, hours=2 * 168 + 1) == []
    assert run(store, forum, hours=2 * 168) != []


def test_what_nobody_asks_is_not_read(store: Store) -> None:
    put(store, mention("root", "A fine espresso machine", by="ana"))
    analyse(store, TAGGER)
    assert run(store, Forum(), hours=2) == []


def test_decided_ones_are_read_for_a_week_while_nobody_knows_for_what(store: Store) -> None:
    asking(store, "root", "other")
    for root, text in (("root", "I bought it"), ("other", "Got the Moketto")):
        put(store, reply(f"{root}-2", text, to=root, by=f"asks-{root}"), now=at(1))
    phrases = FakePhrases({"Got the": "purchased"})
    analyse(store, TAGGER, phrases=phrases)
    states = store.rows("SELECT root_id, state, outcome FROM conversations ORDER BY root_id")
    assert [tuple(row) for row in states] == [
        ("other", "decided", "competitor"),
        ("root", "decided", "unknown"),
    ]
    assert [one.root_id for one in due(store, "forum", PLAN, now=at(24))] == ["root"]
    assert [one.hours for one in due(store, "forum", PLAN, now=at(7 * 24 + 2))] == [168]
    assert due(store, "forum", PLAN, now=at(8 * 24 + 2)) == []


def test_what_raised_an_alert_is_read_first_however_it_ended(store: Store) -> None:
    asking(store, "a", "b")
    with store.write() as connection:
        connection.execute(
            "INSERT INTO alerts (key, rule, conversation_id, mention_id, probability, reasons, "
            "created_at) SELECT 'k', 'r', conversation_id, id, 0.9, '[]', ? FROM mentions "
            "WHERE native_id = 'b'",
            (stamp(NOW),),
        )
        connection.execute(
            "UPDATE conversations SET state = 'decided', outcome = 'ours' WHERE root_id = 'b'"
        )
    assert [one.root_id for one in due(store, "forum", PLAN, now=at(1))] == ["b", "a"]


def test_every_thread_of_a_conversation_is_read_by_its_first_post(store: Store) -> None:
    first = mention("t1", ASK, by="ana")
    second = mention("t2", ASK, by="ana", published_at=at(48))
    # Neither names its first post, and one first post is not stored.
    deep = mention("c2", ASK, by="ben", parent_id="c1", published_at=at(47))
    put(store, first, mention("c1", ASK, by="eva", parent_id="t1"), second, deep, now=at(48))
    lost = mention("x2", ASK, by="leo", parent_id="x1", root_id="x1", published_at=at(47))
    put(store, lost, now=at(48))
    analyse(store, TAGGER)
    assert store.value("SELECT count(*) FROM conversations") == 2
    found = due(store, "forum", PLAN, now=at(49))
    assert {one.root_id for one in found} == {"t1", "t2", "x1"}


def test_answers_in_a_circle_end(store: Store) -> None:
    put(
        store,
        mention("a", ASK, by="ana", parent_id="b"),
        mention("b", ASK, by="ben", parent_id="a"),
    )
    analyse(store, TAGGER)
    assert [one.root_id for one in due(store, "forum", PLAN, now=at(1))] == ["a"]


# -- what is stored


def test_replies_without_a_term_are_kept_and_change_the_outcome(store: Store) -> None:
    asking(store, "root")
    save_page(store, Place("s1", ""), (), cursor={"at": 5}, now=NOW)
    page = Page(
        mentions=(
            mention("root", ASK, by="asks-root"),
            reply("r1", "Any will do"),
            reply("r2", "I agree", to="r1"),
            reply("r3", "I bought it", by="asks-root"),
            mention("z", "About the weather"),
        ),
        returned=5,
        cost=Cost(requests=2),
    )
    (result,) = run(store, Forum(threads={"root": [page]}), hours=1)
    assert (result.source, result.status) == ("s1:threads", "ok")
    assert (result.pages, result.returned, result.kept, result.new) == (1, 5, 4, 3)
    assert texts(store) == ["Any will do", "I agree", "I bought it", ASK]
    assert read_cursor(store, Place("s1", ""))[0] == {"at": 5}
    spent = store.rows("SELECT source, requests FROM spend")
    assert [tuple(row) for row in spent] == [("s1:threads", 2)]
    assert store.value("SELECT new FROM runs WHERE source = 's1:threads'") == 3
    analyse(store, TAGGER)
    assert store.value("SELECT state FROM conversations") == "decided"


def test_a_thread_that_is_gone_is_buried_and_not_asked_again(store: Store) -> None:
    asking(store, "root")
    forum = Forum(threads={"root": [Page(updates=(tombstone("root"),), warnings=("gone",))]})
    (result,) = run(store, forum, hours=1)
    assert result.status == "ok"
    assert texts(store) == [""]
    with store.write() as connection:
        connection.execute("UPDATE conversations SET state = 'early'")
    assert run(store, forum, hours=100) == []
    assert len(forum.read) == 1


def test_edits_and_figures_arrive(store: Store) -> None:
    asking(store, "root")
    edit = Update(source="forum", native_id="root", kind="edit", at=at(1), text="Solved")
    run(store, Forum(threads={"root": [Page(updates=(edit,))]}), hours=1)
    assert texts(store) == ["Solved"]


# -- faults


def test_a_site_that_asks_to_wait_is_left_alone_over_restarts(tmp_path: Path) -> None:
    forum = Forum(threads={"a": RetryAt(at(3)), "b": RetryAt(at(3))})
    with Store(tmp_path / "listener.db") as store:
        asking(store, "a", "b")
        (result,) = run(store, forum, hours=1)
        assert result.status == "waiting"
    with Store(tmp_path / "listener.db") as store:
        (result,) = run(store, forum, hours=2)
        assert (result.status, len(forum.read)) == ("waiting", 1)
        forum.threads = {}
        run(store, forum, hours=3)
        assert sorted(forum.roots()[1:]) == ["a", "b"]


def test_a_collection_that_waits_makes_its_threads_wait(store: Store) -> None:
    asking(store, "root")
    with store.write() as connection:
        connection.execute(
            "INSERT INTO cursors (source, query, retry_at, updated_at) VALUES ('s1', 'q', ?, '')",
            (stamp(at(2)),),
        )
    forum = Forum()
    assert run(store, forum, hours=1)[0].status == "waiting"
    assert forum.read == []


def test_a_fault_is_tried_again_later_and_ever_more_rarely(store: Store) -> None:
    asking(store, "root")
    forum = Forum(threads={"root": Transient("no network")})
    tried = []
    for quarter in range(4 * 24 * 14 + 1):
        before = len(forum.read)
        run(store, forum, hours=quarter / 4)
        if len(forum.read) > before:
            tried.append(quarter / 4)
    assert tried == [1, 2, 6, 22, 86]
    assert store.value("SELECT hours FROM followups") == 0


def test_a_thread_that_works_again_goes_on(store: Store) -> None:
    asking(store, "root")
    forum = Forum(threads={"root": Transient("no network")})
    assert run(store, forum, hours=1)[0].status == "partial"
    forum.threads = {}
    run(store, forum, hours=1.5)
    assert len(forum.read) == 1
    run(store, forum, hours=2)
    assert tuple(store.rows("SELECT hours, tries, wait_until FROM followups")[0]) == (1, 0, None)


def test_an_outage_ends_a_round_after_three_threads(store: Store) -> None:
    asking(store, *"abcdef")
    forum = Forum(threads={one: Transient("no network") for one in "abcdef"})
    (result,) = run(store, forum, hours=1)
    assert (result.status, len(forum.read)) == ("failed", 3)
    (result,) = run(store, forum, hours=1.25)
    assert forum.roots() == [*"abcdef"]


def test_one_odd_thread_stops_no_other(store: Store) -> None:
    asking(store, *"abc")
    forum = Forum(threads={"a": Transient("odd"), "b": [Page(mentions=(reply("r", "x", to="b"),))]})
    (result,) = run(store, forum, hours=1)
    assert forum.roots() == ["a", "b", "c"]
    assert (result.status, result.error, result.new) == ("partial", "odd", 1)


def test_one_broken_source_stops_no_other_and_loses_no_step(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asking(store, "a")
    asking(store, "b", source="other")
    broken = Forum(threads={"a": NeedsAuth("set TOKEN")})
    works = Forum(source="other")
    first, second = run(store, broken, works, hours=1)
    assert (first.status, first.error) == ("failed", "set TOKEN")
    assert (second.source, second.status) == ("s2:threads", "ok")
    assert works.roots() == ["b"]
    assert ASK not in caplog.text
    broken.threads = {}
    assert run(store, broken, works, hours=2)[0].status == "ok"


def test_a_kill_repeats_the_step(store: Store) -> None:
    asking(store, "root")
    forum = Forum(threads={"root": [Page(mentions=(reply("r1", "one"),)), Page()]})

    def stop(_: int) -> None:
        raise Stopped

    sources = [Source(name="s1", connector=forum)]
    with pytest.raises(Stopped):
        follow_up(store, sources, matcher(), Followups(), now=at(1), progress=lambda *_: stop)
    assert "one" in texts(store)
    run(store, forum, hours=1.1)
    assert len(forum.read) == 2
    assert store.value("SELECT count(*) FROM mentions") == 2


# -- money and bounds


def test_threads_are_paid_from_the_cap_of_the_month(store: Store) -> None:
    asking(store, *"abc")
    dear = [Page(mentions=(), cost=Cost(requests=1, micro_dollars=60))]
    forum = Forum(threads=dict.fromkeys("abc", dear))
    (result,) = run(store, forum, hours=1, cap=100)
    assert [budget.micro_dollars for _, budget in forum.read] == [100, 40]
    assert result.status == "partial"
    assert result.error is not None
    assert "cap" in result.error
    # The step of the third is done when there is money again, in the next month.
    run(store, forum, hours=24 * 7, cap=100)
    assert len(forum.read) == 2
    assert [one.root_id for one in due(store, "forum", PLAN, now=at(5))] == ["c"]


def test_a_thread_that_the_budget_does_not_hold_waits(store: Store) -> None:
    asking(store, "a", "b")
    forum = Forum(threads=dict.fromkeys("ab", BudgetSpent("too dear")))
    (result,) = run(store, forum, hours=1)
    assert (result.status, result.error, forum.roots()) == ("partial", "too dear", ["a"])
    assert len(due(store, "forum", PLAN, now=at(1))) == 2


def test_a_round_reads_so_many_threads_and_the_next_one_the_others(store: Store) -> None:
    asking(store, *"abcde")
    forum = Forum()
    run(store, forum, hours=1, max_threads=2)
    assert forum.roots() == ["a", "b"]
    run(store, forum, hours=1, max_threads=2)
    run(store, forum, hours=1, max_threads=2)
    assert forum.roots() == [*"abcde"]


def test_one_source_of_a_site_reads_the_whole_one_before_its_parts(store: Store) -> None:
    asking(store, "root")
    first, second = Forum(), Forum()
    sources = [
        Source(name="plain", connector=FakeConnector(source="forum")),
        Source(name="reddit:new", connector=second),
        Source(name="reddit", connector=first),
    ]
    assert [source.name for source, _ in readers(sources)] == ["reddit"]
    (result,) = follow_up(store, sources, matcher(), Followups(), now=at(1))
    assert result.source == "reddit:threads"
    assert (len(first.read), len(second.read)) == (1, 0)


def test_switched_off_nothing_is_asked(store: Store) -> None:
    asking(store, "root")
    forum = Forum()
    assert run(store, forum, hours=1, enabled=False) == []
    assert forum.read == []


# -- against a server


def test_the_outcome_of_a_conversation_on_x_is_seen_and_paid_for(store: Store) -> None:
    root, bought = str(first_id(NOW)), str(first_id(at(3)))
    post = mention(root, ASK, by="7", source="x")
    put(store, post, now=NOW)
    analyse(store, TAGGER)
    data = {"id": bought, "text": "I bought it", "author_id": "7", "conversation_id": root}
    with loopback() as web:
        body = json.dumps({"data": [data], "meta": {"result_count": 1}}).encode()
        web.route("/2/tweets/search/recent", Served(200, body))
        connector = Search(open_http(web.url), "token", base_url=web.url)
        source = Source(name="x", connector=connector, monthly_cap=1_000_000)
        (result,) = follow_up(store, [source], matcher(), Followups(), now=at(6))
        assert [seen.params["query"] for seen in web.seen] == [f"conversation_id:{root}"]
    assert (result.source, result.status, result.new) == ("x:threads", "ok", 1)
    assert spent(store, "x") == 5_000
    analyse(store, TAGGER)
    (row,) = store.rows("SELECT root_id, state, mentions FROM conversations")
    assert tuple(row) == (root, "decided", 2)


# -- in the pipeline

REDDIT = """
[sources.reddit]
enabled = true
[sources.sample]
enabled = true
[channels.outbox]
folder = "{folder}"
"""


def test_a_round_reads_what_is_due_and_says_what_is_missing(store: Store, tmp_path: Path) -> None:
    asking(store, "t3_a", source="reddit")
    parts = Parts(config(REDDIT.format(folder=tmp_path / "outbox")))
    (result,) = revisit(store, parts, now=at(1))
    assert (result.source, result.status) == ("reddit:threads", "failed")
    assert result.error is not None
    assert "approved app" in result.error
    assert revisit(store, parts, only=["sample"], now=at(3)) == []
    done = run_round(store, parts, now=at(3))
    assert "reddit:threads" in [one.source for one in done.collected]


def test_the_daemon_has_a_job_for_each_source_that_reads_threads(tmp_path: Path) -> None:
    settings = REDDIT.format(folder=tmp_path / "outbox")
    found = {job.name: job for job in jobs(Parts(config(settings)))}
    assert [name for name in found if name.startswith("threads:")] == ["threads:reddit"]
    assert found["threads:reddit"].when == Every(minutes=15)
    off = jobs(Parts(config(settings + "[followups]\nenabled = false\n")))
    assert not [job.name for job in off if job.name.startswith("threads:")]


def test_the_job_reads_what_is_due(store: Store, tmp_path: Path) -> None:
    asking(store, "t3_a", source="reddit")
    settings = REDDIT.format(folder=tmp_path / "outbox")
    (job,) = (one for one in jobs(Parts(config(settings))) if one.name == "threads:reddit")
    job.run(store, at(1), lambda _: None, None)
    assert store.value("SELECT status FROM runs WHERE source = 'reddit:threads'") == "failed"


def test_excluded_authors_are_left_out_of_threads(store: Store) -> None:
    asking(store, "root")
    pages = [Page(mentions=(reply("2", "deals!", by="DealsBot"), reply("3", "the small one")))]
    source = Source(name="s1", connector=Forum(threads={"root": pages}))
    follow_up(store, [source], matcher(), Followups(), not_authors=["@dealsbot"], now=at(2))
    assert texts(store) == ["the small one", ASK]
