from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from loopback import Answer, Loopback, loopback

from connectors.base import Budget, BudgetSpent, Cost, Counts, ReadsThreads, Refreshes, RetryAt
from connectors.hackernews import HackerNews
from connectors.hackernews_items import as_hit, item_updates, thread_mentions
from connectors.http import Http

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = int(NOW.timestamp())
FREE = Budget()
PAYLOADS = Path(__file__).parents[2] / "shared" / "data" / "payloads" / "hackernews"


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as running:
        yield running


@pytest.fixture
def site(server: Loopback) -> Iterator[HackerNews]:
    with closing(Http(allow_private=True, retries=0)) as http:
        yield HackerNews(http, server.url, items_url=server.url)


def answer(value: Any) -> Answer:
    return Answer(body=json.dumps(value).encode(), headers={"content-type": "application/json"})


def give(server: Loopback, *items: Mapping[str, Any]) -> list[str]:
    """Serves items as the site's own API does; returns their ids."""
    for item in items:
        server.route(f"/v0/item/{item['id']}.json", answer(item))
    return [str(item["id"]) for item in items]


def story(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "type": "story",
        "by": "ana",
        "time": SECOND - 60,
        "title": "Ask HN: which grinder?",
        "text": "A <i>good</i> one?<p>Thanks",
        "score": 12,
        "descendants": 3,
        **fields,
    }


def comment(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "type": "comment",
        "by": "ben",
        "time": SECOND - 30,
        "parent": 10,
        "text": "I use Acme",
        **fields,
    }


def test_it_looks_up_and_reads_threads(site: HackerNews) -> None:
    assert isinstance(site, Refreshes)
    assert isinstance(site, ReadsThreads)
    assert site.refresh_cost(40) == Cost(requests=40)


def test_figures_edits_and_removals(server: Loopback, site: HackerNews) -> None:
    ids = give(
        server,
        story(1),
        comment(2),
        story(3, dead=True),
        {"id": 4, "type": "comment", "deleted": True, "parent": 10, "time": SECOND},
    )
    (page,) = site.refresh(ids, budget=FREE, now=NOW)
    assert [(one.native_id, one.kind) for one in page.updates] == [
        ("1", "edit"),
        ("1", "metrics"),
        ("2", "edit"),
        ("3", "tombstone"),
        ("4", "tombstone"),
    ]
    edit, metrics, said, dead, deleted = page.updates
    assert edit.text == "A good one?\nThanks"
    assert metrics.counts == Counts(likes=12, replies=3)
    assert said.text == "I use Acme"
    assert (dead.reason, deleted.reason) == (
        "removed by moderators or flags",
        "deleted at the source",
    )
    assert {one.at for one in page.updates} == {NOW}
    assert (page.cost, page.returned, page.cursor) == (Cost(requests=4), 4, None)


def test_what_nobody_edited_reads_as_the_search_gave_it(server: Loopback, site: HackerNews) -> None:
    ids = give(server, story(1, url="https://acme.example/x"), comment(2))
    (page,) = site.refresh(ids, budget=FREE, now=NOW)
    link, plain = [one.text for one in page.updates if one.kind == "edit"]
    shared = {"author": "ana", "created_at_i": SECOND}
    found = site.map_hit(
        {
            "objectID": "1",
            "title": "Ask HN: which grinder?",
            "story_text": "A <i>good</i> one?<p>Thanks",
            "url": "https://acme.example/x",
            **shared,
        }
    )
    assert not isinstance(found, str)
    assert found.text == link
    found = site.map_hit({"objectID": "2", "comment_text": "I use Acme", **shared})
    assert not isinstance(found, str)
    assert found.text == plain


def test_odd_answers_are_warnings(server: Loopback, site: HackerNews) -> None:
    ids = give(server, story(1, title=None, text=None), story(3, time=None))
    server.route("/v0/item/2.json", answer(None))
    server.route("/v0/item/4.json", answer(story(999)))
    (page,) = site.refresh([*ids, "2", "4", "x/../1", "١"], budget=FREE, now=NOW)
    assert page.updates == ()
    assert page.warnings == (
        "hackernews: another id; skipped (1)",
        "hackernews: no id or no date; skipped (1)",
        "hackernews: no text; skipped (1)",
        "hackernews: not given; skipped (1)",
    )
    assert len(server.seen) == 4


def test_pages_budgets_and_waits(server: Loopback, site: HackerNews) -> None:
    ids = give(server, *(story(n) for n in range(1, 61)))
    pages = list(site.refresh(ids, budget=FREE, now=NOW))
    assert [(page.returned, page.more) for page in pages] == [(25, True), (25, True), (10, False)]
    walk = site.refresh(ids, budget=Budget(pages=1), now=NOW)
    assert next(walk).returned == 25
    with pytest.raises(BudgetSpent, match="35 posts"):
        next(walk)
    server.route("/v0/item/30.json", Answer(status=429, headers={"retry-after": "60"}))
    walk = site.refresh(ids, budget=FREE, now=NOW)
    assert next(walk).returned == 25
    with pytest.raises(RetryAt) as caught:
        next(walk)
    assert caught.value.when == NOW + timedelta(minutes=1)


# -- conversations


def node(number: int, *children: Any, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "type": "comment",
        "author": f"user{number}",
        "created_at_i": SECOND - number,
        "text": f"Answer {number}",
        "parent_id": 10,
        "story_id": 10,
        "children": list(children),
        **fields,
    }


def thread(*children: Any) -> dict[str, Any]:
    root = {"title": "Which one?", "text": None, "points": 5, "url": "https://a.example/"}
    return node(10, *children, type="story", parent_id=None, **root)


def test_a_conversation_is_one_page(server: Loopback, site: HackerNews) -> None:
    lost = node(13, text=None, author=None)
    tree = thread(node(11, node(12, parent_id=11), lost), "odd", node(14))
    server.route("/api/v1/items/10", answer(tree))
    (page,) = site.thread(["10"], budget=FREE, now=NOW)
    assert [one.native_id for one in page.mentions] == ["10", "11", "12", "14"]
    root, first, second, _ = page.mentions
    assert (root.title, root.text, root.root_id) == ("Which one?", "https://a.example/", None)
    assert (second.parent_id, second.root_id) == ("11", "10")
    assert first.author is not None
    assert first.author.native_id == "user11"
    assert page.warnings == (
        "hackernews: no item; skipped (1)",
        "hackernews: no text; skipped (1)",
    )
    assert (page.returned, page.cost) == (6, Cost(requests=1))


def test_a_deep_conversation_is_read_to_its_end(site: HackerNews) -> None:
    tree = node(1)
    for number in range(2, 5000):
        tree = node(number, tree)
    found, _ = thread_mentions(tree, "10", site.map_hit)
    assert len(found) == 4999


def test_conversations_that_are_not_there(server: Loopback, site: HackerNews) -> None:
    server.route("/api/v1/items/10", answer(thread()))
    pages = list(site.thread(["7", "no id", "10"], budget=FREE, now=NOW))
    assert [len(page.mentions) for page in pages] == [0, 0, 1]
    assert all(page.warnings for page in pages[:2])
    walk = site.thread(["10", "10"], budget=Budget(mentions=1), now=NOW)
    next(walk)
    with pytest.raises(BudgetSpent, match="1 are"):
        next(walk)


# -- recorded items


@pytest.mark.shared
def test_recorded_items_map(site: HackerNews) -> None:
    files = sorted(PAYLOADS.glob("*.json"))
    if not files:
        pytest.skip("the recorded payloads are not here")
    kinds = {}
    for path in files:
        item = json.loads(path.read_text(encoding="utf-8"))
        found = item_updates(item, str(item["id"]), "hackernews", site.map_hit, NOW)
        kinds[item.get("type", "user")] = (
            found if isinstance(found, str) else [one.kind for one in found]
        )
        assert as_hit(item)["objectID"] == item["id"]
    assert kinds == {
        "story": ["edit", "metrics"],
        "job": ["edit", "metrics"],
        "pollopt": ["edit", "metrics"],
        "user": "no id or no date",
    }
