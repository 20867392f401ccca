import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Answer, Loopback, Seen, loopback

from connectors.base import (
    BadConfig,
    Budget,
    BudgetSpent,
    Connector,
    Cursor,
    Mention,
    Page,
    Query,
    RetryAt,
    Transient,
)
from connectors.hackernews import HackerNews
from connectors.http import Http

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = int(NOW.timestamp())
QUERY = Query(name="Acme", kind="brand", any_of=("Acme",))
FREE = Budget()


def comment(number: int, ago: int, text: str = "I use acme", **fields: Any) -> dict[str, Any]:
    """A hit as the search gives one, written `ago` seconds before NOW."""
    return {
        "objectID": str(number),
        "created_at_i": SECOND - ago,
        "author": "ana",
        "comment_text": text,
        "parent_id": 11,
        "story_id": 10,
        "story_title": "Ask HN: which one?",
        "points": None,
        "_tags": ["comment", "author_ana", "story_10"],
        "_highlightResult": {"comment_text": {"value": text}},
        **fields,
    }


def story(number: int, ago: int, **fields: Any) -> dict[str, Any]:
    return {
        "objectID": str(number),
        "created_at_i": SECOND - ago,
        "author": "ben",
        "title": "Ask HN: Acme or other?",
        "story_text": "Which <i>one</i>?<p>Thanks",
        "points": 12,
        "num_comments": 3,
        "_tags": ["story", "author_ben", "story_1"],
        **fields,
    }


class Algolia:
    """Searches `items` the way the service does: newest first, 1000 hits at most."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items = items
        self.asked: list[Mapping[str, str]] = []

    def search(self, params: Mapping[str, str]) -> dict[str, Any]:
        self.asked.append(params)
        low, high = 0, 2**60
        for bound in filter(None, params.get("numericFilters", "").split(",")):
            if bound.startswith("created_at_i>="):
                low = int(bound.partition("=")[2])
            else:
                high = int(bound.partition("<=")[2])
        term = params.get("query", "")
        found = [
            item
            for item in self.items
            if low <= item.get("created_at_i", 0) <= high and term in json.dumps(item).lower()
        ]
        found.sort(key=lambda item: -item["created_at_i"])
        size, page = int(params["hitsPerPage"]), int(params.get("page", 0))
        return {"hits": found[:1000][page * size : (page + 1) * size], "hitsPerPage": size}

    def connector(self, **options: Any) -> HackerNews:
        def handle(request: httpx.Request) -> httpx.Response:
            # As text: a lone surrogate travels as an escape, which httpx would not encode.
            return httpx.Response(200, content=json.dumps(self.search(dict(request.url.params))))

        return HackerNews(Http(httpx.MockTransport(handle)), **options)


@dataclass
class ContractCase:
    connector: Connector
    query: Query | None
    now: datetime
    expected_ids: set[str]


def make_contract_case() -> ContractCase:
    """Two terms, several pages each, one hit that fits both; for the shared contract suite."""
    items = [comment(100 + n, ago=60 * n, text=f"acme {n}") for n in range(7)]
    items += [story(200, ago=90, title="Acme against Apex"), story(201, ago=3600, title="apex")]
    query = replace(QUERY, any_of=("Acme", "Apex"))
    return ContractCase(
        connector=Algolia(items).connector(page_size=3),
        query=query,
        now=NOW,
        expected_ids={item["objectID"] for item in items},
    )


def collect(
    connector: HackerNews,
    cursor: Cursor | None = None,
    *,
    budget: Budget = FREE,
    query: Query = QUERY,
    now: datetime = NOW,
) -> tuple[list[Page], bool]:
    """The pages of one call and whether its budget was spent; cursors go through JSON."""
    pages: list[Page] = []
    try:
        for page in connector.collect(query, cursor, budget=budget, now=now):
            pages.append(replace(page, cursor=json.loads(json.dumps(page.cursor))))
    except BudgetSpent:
        return pages, True
    return pages, False


def ids(pages: list[Page]) -> list[str]:
    return [mention.native_id for page in pages for mention in page.mentions]


def test_a_look_back_goes_as_far_as_it_is_told() -> None:
    site = Algolia([comment(n, ago=86_400 * n) for n in range(40)])
    pages, _ = collect(site.connector(), budget=Budget(since=NOW - timedelta(days=30)))
    assert set(ids(pages)) == {str(n) for n in range(31)}


def one(item: dict[str, Any]) -> Mention:
    (page,), _ = collect(Algolia([item]).connector(), query=replace(QUERY, any_of=("1",)))
    (mention,) = page.mentions
    return mention


def test_a_comment_becomes_a_mention() -> None:
    mention = one(comment(1, ago=5, text="First &amp; <i>second</i><p>Third\ud800", points=4))
    assert mention.text == "First & second\nThird\ufffd"
    assert (mention.source, mention.native_id, mention.title) == ("hackernews", "1", None)
    assert mention.url == "https://news.ycombinator.com/item?id=1"
    assert mention.published_at == NOW - timedelta(seconds=5)
    assert mention.author is not None
    assert (mention.author.native_id, mention.author.handle) == ("ana", "ana")
    assert (mention.parent_id, mention.root_id) == ("11", "10")
    assert mention.counts.likes == 4
    assert mention.raw is not None
    assert mention.raw["story_title"] == "Ask HN: which one?"
    assert not {"_highlightResult", "comment_text"} & set(mention.raw)


def test_a_story_becomes_a_mention() -> None:
    mention = one(story(1, ago=5))
    assert (mention.title, mention.text) == ("Ask HN: Acme or other?", "Which one?\nThanks")
    assert (mention.parent_id, mention.root_id) == (None, None)
    assert (mention.counts.likes, mention.counts.replies) == (12, 3)


def test_a_story_that_is_a_link_says_where_it_leads() -> None:
    mention = one(story(1, ago=5, story_text=None, url="https://acme.example/new"))
    assert mention.text == "https://acme.example/new"
    assert mention.url == "https://news.ycombinator.com/item?id=1"
    assert one(story(1, ago=5, story_text="", url="javascript:x")).text == ""


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (comment(1, ago=5, text=""), "no text"),
        (comment(1, ago=5, text="[deleted]"), "no text"),
        (comment(1, ago=5, text="<p><br>"), "no text"),
        (comment(1, ago=5, deleted=True), "deleted"),
        (comment(1, ago=5, dead=True), "deleted"),
        (comment(1, ago=5, comment_text={"a": 1}), "no text"),
        (story(1, ago=5, title=None, story_text=None), "no text"),
        (story(1, ago=5, title="[dead]", story_text=None), "no text"),
        (comment(1, ago=5, objectID=None), "no id or no date"),
        (comment(1, ago=5, objectID="<b>"), "no id or no date"),
        (comment(1, ago=5, objectID={}), "no id or no date"),
        (comment(1, ago=5, created_at_i="yesterday"), "no id or no date"),
        (comment(1, ago=5, created_at_i=10**30), "no id or no date"),
        (comment(1, ago=5, created_at_i=True), "no id or no date"),
        ("not an object", "no id or no date"),
        (None, "no id or no date"),
    ],
)
def test_an_odd_record_is_a_warning(item: Any, why: str) -> None:
    good = comment(2, ago=9)

    def handle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"hits": [item, good]})

    (page,), _ = collect(HackerNews(Http(httpx.MockTransport(handle))))
    assert ids([page]) == ["2"]
    assert page.returned == 2
    assert len(page.warnings) == 1
    assert why in page.warnings[0]
    assert "<b>" not in page.warnings[0]


odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
fields = st.sampled_from(sorted({**story(1, 1), **comment(1, 1)}))


@given(st.lists(st.dictionaries(fields, odd | st.lists(odd, max_size=2), max_size=4), max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_record_can_make_the_connector_fail(items: list[dict[str, Any]]) -> None:
    whole = [{**comment(n, ago=n), **item} for n, item in enumerate(items)]

    def handle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=json.dumps({"hits": whole}))

    pages, _ = collect(HackerNews(Http(httpx.MockTransport(handle))))
    for mention in (mention for page in pages for mention in page.mentions):
        json.dumps(mention.raw, allow_nan=False, ensure_ascii=False).encode()
        f"{mention.text}{mention.title}{mention.author}{mention.url}".encode()


@pytest.mark.parametrize("answer", [[], "x", {"hits": None}, {"message": "busy"}, {"hits": {}}])
def test_an_answer_without_hits_is_a_passing_fault(answer: Any) -> None:
    connector = HackerNews(Http(httpx.MockTransport(lambda _: httpx.Response(200, json=answer))))
    with pytest.raises(Transient, match="without hits"):
        collect(connector)


def test_each_term_is_searched_as_plain_words() -> None:
    site = Algolia([])
    query = replace(QUERY, any_of=("Acme", "#acme", " coffee   Machine ", "@", "-tea"))
    collect(site.connector(), query=query)
    assert [asked["query"] for asked in site.asked] == ["-tea", "acme", "coffee machine"]
    assert {asked["tags"] for asked in site.asked} == {"(story,comment)"}
    assert {asked["advancedSyntax"] for asked in site.asked} == {"false"}
    assert {asked["numericFilters"] for asked in site.asked} == {
        f"created_at_i>={SECOND - 7 * 86_400 - 7_200},created_at_i<={SECOND}"
    }


def test_a_query_without_terms_is_refused() -> None:
    connector = Algolia([]).connector()
    with pytest.raises(BadConfig, match="'Acme' has no terms"):
        collect(connector, query=replace(QUERY, any_of=(" ", "#")))
    with pytest.raises(BadConfig, match="call it with a query"):
        next(connector.collect(None, None, budget=FREE, now=NOW))


def test_pages_walk_back_in_time_and_give_each_item_once() -> None:
    items = [comment(n, ago=n // 3) for n in range(1, 26)]
    pages, spent = collect(Algolia(items).connector(page_size=4))
    assert ids(pages) == sorted(ids(pages), key=lambda i: int(i) // 3)
    assert sorted(map(int, ids(pages))) == list(range(1, 26))
    assert not spent
    assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]
    assert all(page.cost.requests == 1 for page in pages)


def test_more_hits_than_the_search_gives_at_once_are_all_found() -> None:
    items = [comment(n, ago=n) for n in range(1, 2_301)]
    pages, _ = collect(Algolia(items).connector())
    assert len(set(ids(pages))) == 2_300


def test_a_crowded_second_is_paged_through_and_its_excess_is_told() -> None:
    items = [comment(n, ago=5) for n in range(30)] + [comment(99, ago=50)]
    pages, _ = collect(Algolia(items).connector(page_size=4))
    assert len(ids(pages)) == len(set(ids(pages))) == 31
    items = [comment(n, ago=5) for n in range(1_200)] + [comment(9_999, ago=50)]
    pages, _ = collect(Algolia(items).connector(page_size=500))
    assert len(set(ids(pages))) == 1_001
    assert "9999" in ids(pages)
    assert [w for page in pages for w in page.warnings] == [
        "hackernews: more than 1000 hits in one second"
    ]


def test_a_later_run_asks_for_what_came_since_with_an_overlap() -> None:
    site = Algolia([comment(1, ago=600), comment(2, ago=90_000)])
    pages, _ = collect(site.connector())
    late = comment(3, ago=4_000)  # indexed after the first run, older than the newest
    site.items += [late, comment(4, ago=-60)]
    site.asked.clear()
    pages, _ = collect(site.connector(), pages[-1].cursor, now=NOW + timedelta(hours=1))
    assert ids(pages) == ["4", "1", "3"]
    assert [asked["numericFilters"] for asked in site.asked] == [
        f"created_at_i>={SECOND - 600 - 7_200},created_at_i<={SECOND + 3_600}"
    ]


@given(st.integers(1, 6), st.integers(1, 5), st.lists(st.integers(0, 12), max_size=20))
@settings(max_examples=40, deadline=None)
def test_any_budget_finds_everything_in_the_end(page_size: int, most: int, ages: list[int]) -> None:
    """However small the budget of each run is, nothing is skipped for good."""
    items = [
        comment(n, ago=ago * 10, text="acme" if n % 2 else "apex") for n, ago in enumerate(ages)
    ]
    site = Algolia(items)
    query = replace(QUERY, any_of=("acme", "apex"))
    found: set[str] = set()
    cursor: Cursor | None = None
    for minute in range(8 + 6 * len(ages)):
        budget = Budget(mentions=most) if minute % 2 else Budget(pages=most, mentions=most)
        connector = site.connector(page_size=page_size, overlap=timedelta(0))
        now = NOW + timedelta(minutes=minute)
        pages, _ = collect(connector, cursor, budget=budget, query=query, now=now)
        assert len(pages) <= most or minute % 2
        assert len(ids(pages)) <= most
        found |= set(ids(pages))
        cursor = pages[-1].cursor if pages else cursor
        if minute == 1:  # new items keep coming while the first window is walked
            site.items.append(comment(500, ago=-60, text="acme"))
    assert found == {item["objectID"] for item in site.items}


def test_a_window_finished_late_is_followed_by_a_new_one_in_the_same_run() -> None:
    site = Algolia([comment(n, ago=n) for n in range(4)])
    pages, _ = collect(site.connector(page_size=2), budget=Budget(pages=1))
    site.items.append(comment(50, ago=-60))
    later = NOW + timedelta(hours=1)
    rest, spent = collect(site.connector(page_size=2), pages[-1].cursor, now=later)
    assert {*ids(pages), *ids(rest)} == {"0", "1", "2", "3", "50"}
    assert not spent
    again, _ = collect(site.connector(page_size=2), pages[-1].cursor, now=NOW)
    assert ids(again) == ["2", "3"]


def test_a_budget_of_nothing_asks_nothing() -> None:
    site = Algolia([comment(1, ago=5)])
    for budget in (Budget(pages=0), Budget(mentions=0)):
        assert collect(site.connector(), budget=budget) == ([], True)
    assert site.asked == []


def test_the_connector_has_a_bound_of_its_own() -> None:
    site = Algolia([comment(n, ago=n) for n in range(50)])
    pages, spent = collect(site.connector(page_size=5, max_pages=3))
    assert (len(pages), spent) == (3, True)
    assert pages[-1].more


def test_the_bound_of_its_own_is_for_each_term() -> None:
    terms = tuple(f"acme {n:02}" for n in range(13))
    query = replace(QUERY, any_of=terms)
    few = Algolia([comment(n, ago=n, text=term) for n, term in enumerate(terms)])
    pages, spent = collect(few.connector(max_pages=10), query=query)
    assert (len(pages), spent, len(set(ids(pages)))) == (13, False, 13)
    assert len(collect(few.connector(max_pages=10), query=query, budget=Budget(pages=4))[0]) == 4


def test_a_term_with_too_many_pages_leaves_the_others_theirs() -> None:
    site = Algolia([comment(n, ago=n) for n in range(9)] + [comment(50, ago=9, text="zeta")])
    query = replace(QUERY, any_of=("acme", "zeta"))
    pages, spent = collect(site.connector(page_size=2, max_pages=2), query=query)
    assert [asked["query"] for asked in site.asked] == ["acme", "acme", "zeta"]
    assert (spent, pages[-1].more) == (True, True)
    rest, _ = collect(site.connector(page_size=2), pages[-1].cursor, query=query)
    assert {*ids(pages), *ids(rest)} == {*map(str, range(9)), "50"}


def test_a_small_budget_does_not_starve_a_term() -> None:
    site = Algolia([comment(n, ago=n) for n in range(3)])
    query = replace(QUERY, any_of=("acme", "apex", "zeta"))
    cursor: Cursor | None = None
    for minute in range(3):
        now = NOW + timedelta(minutes=minute)
        pages, _ = collect(site.connector(), cursor, budget=Budget(pages=1), query=query, now=now)
        cursor = pages[-1].cursor
    assert [asked["query"] for asked in site.asked] == ["acme", "apex", "zeta"]


def test_a_fault_in_the_middle_loses_nothing() -> None:
    site = Algolia([comment(n, ago=n) for n in range(10)])
    answers = 0

    def handle(request: httpx.Request) -> httpx.Response:
        nonlocal answers
        answers += 1
        if answers == 2:
            return httpx.Response(429, headers={"retry-after": "60"})
        return httpx.Response(200, json=site.search(dict(request.url.params)))

    connector = HackerNews(Http(httpx.MockTransport(handle)), page_size=4)
    walk = connector.collect(QUERY, None, budget=FREE, now=NOW)
    first = next(walk)
    with pytest.raises(RetryAt) as raised:
        next(walk)
    assert raised.value.when == NOW + timedelta(seconds=60)
    rest, _ = collect(connector, first.cursor, now=NOW + timedelta(days=3))
    assert {*ids([first]), *ids(rest)} == {str(n) for n in range(10)}


@pytest.mark.parametrize(
    "cursor",
    [
        {},
        {"terms": None},
        {"terms": {"acme": None}},
        {"terms": {"acme": {"since": "x"}}},
        {"terms": {"acme": {"since": 1, "polled": 1, "window": {"low": 1}}}},
    ],
)
def test_an_unreadable_cursor_starts_anew(cursor: Cursor) -> None:
    pages, _ = collect(Algolia([comment(1, ago=5)]).connector(), cursor)
    assert ids(pages) == ["1"]


@pytest.fixture
def site() -> Iterator[Loopback]:
    with loopback() as running:
        yield running


def test_it_works_over_a_socket(site: Loopback) -> None:
    service = Algolia([comment(n, ago=n) for n in range(5)])

    def answer(seen: Seen) -> Answer:
        return Answer(body=json.dumps(service.search(seen.params)).encode())

    site.route("/api/v1/search_by_date", answer)
    with closing(Http(allow_private=True)) as http:
        connector = HackerNews(http, site.url + "/", page_size=2)
        pages, _ = collect(connector)
        assert sorted(ids(pages)) == ["0", "1", "2", "3", "4"]
        assert connector.check(now=NOW).endswith("newest item of 2026-03-01 12:00 UTC")
    assert {one.headers["accept"] for one in site.seen} == {"application/json"}


def test_check_tells_of_an_empty_answer() -> None:
    with pytest.raises(Transient, match="without items"):
        Algolia([]).connector().check(now=NOW)


def test_it_is_a_connector() -> None:
    case = make_contract_case()
    assert isinstance(case.connector, Connector)
    assert case.connector.capabilities().by_query
    assert not case.connector.capabilities().prefiltered
    assert case.connector.source == "hackernews"
