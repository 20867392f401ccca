import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from loopback import Answer, Loopback, Seen, loopback

from connectors.base import (
    BadConfig,
    Budget,
    BudgetSpent,
    Connector,
    ConnectorError,
    Cost,
    Cursor,
    Mention,
    NeedsAuth,
    Page,
    Query,
    ReadsThreads,
    RetryAt,
    Transient,
    Update,
)
from connectors.http import Response
from connectors.twarc import first_id, id_time, is_twarc, page_mentions
from connectors.x import Mentions, Search
from connectors.x_client import open_http, read_page
from connectors.x_money import Prices
from connectors.x_pages import count_posts, edits, figures
from connectors.x_query import LIMIT, compile_query

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
QUERY = Query(name="Acme", kind="brand", any_of=("Acme",))
FREE = Budget()
TOKEN = "s3cret-bearer"
PROBLEMS = "https://api.twitter.com/2/problems/"
SHARED = Path(__file__).parents[2] / "shared" / "data" / "payloads" / "x"
REAL = sorted(SHARED.glob("*.json"))
PAGES = sorted((SHARED / "twarc").glob("*.json*"))


def at(minutes_ago: float) -> str:
    """An id of a post that was posted so long before NOW."""
    return str(first_id(NOW - timedelta(minutes=minutes_ago)) + 7)


def post(minutes_ago: float, text: str = "I like Acme", **fields: Any) -> dict[str, Any]:
    native_id = at(minutes_ago)
    return {
        "id": native_id,
        "text": text,
        "author_id": "9",
        "created_at": (NOW - timedelta(minutes=minutes_ago)).isoformat(),
        "conversation_id": native_id,
        "edit_history_tweet_ids": [native_id],
        "public_metrics": {"like_count": 1, "reply_count": 2, "retweet_count": 3, "quote_count": 4},
        **fields,
    }


class Site:
    """Answers like X: newest first, above `since_id`, below `until_id`, tokens by place."""

    def __init__(self, posts: list[dict[str, Any]], size: int = 100) -> None:
        self.posts = posts
        self.size = size
        self.includes: dict[str, Any] = {}

    def page(self, seen: Seen) -> Answer:
        params = seen.params
        low, high = int(params.get("since_id", 0)), int(params.get("until_id", 2**63))
        found = [one for one in self.posts if low < int(one["id"]) < high]
        found.sort(key=lambda one: -int(one["id"]))
        token = params.get("next_token") or params.get("pagination_token")
        if token:
            found = [one for one in found if int(one["id"]) < int(token.removeprefix("t"))]
        size = min(self.size, int(params["max_results"]))
        given, rest = found[:size], found[size:]
        meta: dict[str, Any] = {"result_count": len(given)}
        if given:
            meta |= {"newest_id": given[0]["id"], "oldest_id": given[-1]["id"]}
        if rest:
            meta["next_token"] = f"t{given[-1]['id']}"
        return answer({"data": given, "includes": self.includes, "meta": meta})


def answer(body: object, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(body).encode(), named)


SEARCH, MENTIONS, COUNTS, LOOKUP, USAGE = (
    "/2/tweets/search/recent",
    "/2/users/42/mentions",
    "/2/tweets/counts/recent",
    "/2/tweets",
    "/2/usage/tweets",
)


@pytest.fixture
def web() -> Iterator[Loopback]:
    with loopback() as site:
        yield site


def search(web: Loopback, **options: Any) -> Search:
    http = open_http(web.url, wait=lambda _: None)
    return Search(http, TOKEN, base_url=web.url, **{"referenced": False, **options})


def mentions(web: Loopback, user: str = "42", **options: Any) -> Mentions:
    http = open_http(web.url, wait=lambda _: None)
    options = {"referenced": False, **options}
    return Mentions(http, TOKEN, base_url=web.url, user=user, **options)


def collect(
    connector: Connector,
    cursor: Cursor | None = None,
    *,
    budget: Budget = FREE,
    now: datetime = NOW,
    query: Query = QUERY,
) -> tuple[list[Page], BudgetSpent | None]:
    pages: list[Page] = []
    try:
        pages.extend(connector.collect(query, cursor, budget=budget, now=now))
    except BudgetSpent as spent:
        return pages, spent
    return pages, None


def ids(pages: list[Page]) -> list[str]:
    return [mention.native_id for page in pages for mention in page.mentions]


def stored(page: Page) -> Cursor:
    cursor: Cursor = json.loads(json.dumps(page.cursor))
    return cursor


def asked(web: Loopback, path: str = SEARCH) -> list[Mapping[str, str]]:
    return [seen.params for seen in web.seen if seen.path == path]


@dataclass(frozen=True)
class Case:
    connector: Connector
    expected_ids: set[str]
    query: Query | None = QUERY
    now: datetime = NOW


def make_contract_case(kind: type[Search] | type[Mentions]) -> Case:
    posts = [post(n) for n in range(1, 26)]
    posts[3]["text"] = "post \ud800\x00"
    odd = {"id": at(500), "text": ""}
    site = Site([*posts, odd], size=10)
    usage = answer({"data": {"project_usage": "5", "project_cap": "2000000"}})

    def respond(request: httpx.Request) -> httpx.Response:
        seen = Seen(request.url.path, dict(request.url.params), {})
        given = usage if seen.path == USAGE else site.page(seen)
        return httpx.Response(given.status, content=given.body)

    http = open_http(transport=httpx.MockTransport(respond))
    expected = {one["id"] for one in posts}
    if kind is Mentions:
        return Case(Mentions(http, TOKEN, user="42"), expected, query=None)
    return Case(Search(http, TOKEN), expected)


# ---- windows -----------------------------------------------------------------------------------


def test_the_next_run_begins_at_the_newest_post_of_the_first_page(web: Loopback) -> None:
    site = Site([post(n) for n in range(1, 31)], size=10)
    web.route(SEARCH, site.page)
    pages, spent = collect(search(web))
    assert spent is None
    assert ids(pages) == [at(n) for n in range(1, 31)]
    assert [page.more for page in pages] == [True, True, False]
    site.posts += [post(0.5, "new")]
    again, _ = collect(search(web), stored(pages[-1]), now=NOW + timedelta(hours=1))
    assert ids(again) == [at(0.5)]
    assert asked(web)[-1]["since_id"] == at(1)
    assert "next_token" not in asked(web)[-1]


def test_posts_that_arrive_during_a_walk_are_not_lost(web: Loopback) -> None:
    site = Site([post(n) for n in range(10, 40)], size=10)
    web.route(SEARCH, site.page)
    pages, cursor = [], None
    for minute in range(3):
        step, _ = collect(search(web), cursor, budget=Budget(pages=1))
        pages += step
        cursor = stored(step[-1])
        site.posts.append(post(9 - minute))
    rest, _ = collect(search(web), cursor)
    assert Counter(ids(pages + rest)) == Counter(one["id"] for one in site.posts)


def test_killed_between_any_two_pages_nothing_is_lost_or_doubled(web: Loopback) -> None:
    site = Site([post(n) for n in range(1, 46)], size=10)
    web.route(SEARCH, site.page)
    pages, _ = collect(search(web))
    assert len(pages) == 5
    for done in range(1, 6):
        rest, _ = collect(search(web), stored(pages[done - 1]))
        assert Counter(ids(pages[:done] + rest)) == Counter(one["id"] for one in site.posts)


def test_a_token_that_x_does_not_know_any_more_is_replaced_by_an_id(web: Loopback) -> None:
    site = Site([post(n) for n in range(1, 31)], size=10)

    def forgetful(seen: Seen) -> Answer:
        if "next_token" in seen.params:
            fault = {"parameters": {"next_token": ["t"]}, "message": "not valid"}
            return answer({"errors": [fault], "type": PROBLEMS + "invalid-request"}, 400)
        return site.page(seen)

    web.route(SEARCH, forgetful)
    pages, _ = collect(search(web))
    assert ids(pages) == [at(n) for n in range(1, 31)]
    assert asked(web)[-1]["until_id"] == at(20)
    assert [page.cost.requests for page in pages] == [1, 2, 2]


def test_a_first_run_looks_back_as_far_as_it_is_told(web: Loopback) -> None:
    web.route(SEARCH, Site([post(60), post(60 * 47), post(60 * 49)]).page)
    assert ids(collect(search(web, first_days=2))[0]) == [at(60), at(60 * 47)]


def test_after_a_long_pause_what_is_out_of_reach_is_told(web: Loopback) -> None:
    site = Site([post(0)])
    web.route(SEARCH, site.page)
    first, _ = collect(search(web))
    later = NOW + timedelta(days=30)
    pages, _ = collect(search(web), stored(first[-1]), now=later)
    bound = id_time(asked(web)[-1]["since_id"])
    assert bound is not None
    assert timedelta(days=6, hours=23) < later - bound < timedelta(days=7)
    assert "out of reach" in pages[0].warnings[0]
    assert pages[0].gaps == ((id_time(at(0)), bound),)
    again = collect(search(web), stored(pages[-1]), now=later)[0][0]
    assert (again.warnings, again.gaps) == ((), ())


def test_a_look_back_goes_as_far_as_it_is_told_and_x_reaches(web: Loopback) -> None:
    web.route(SEARCH, Site([post(60 * n) for n in (1, 50, 150)]).page)
    near = Budget(since=NOW - timedelta(days=3))
    assert ids(collect(search(web), budget=near)[0]) == [at(60), at(60 * 50)]
    (page,) = collect(search(web), budget=Budget(since=NOW - timedelta(days=30)))[0]
    assert ids([page]) == [at(60), at(60 * 50), at(60 * 150)]
    assert "out of reach" in page.warnings[0]
    ((start, end),) = page.gaps
    assert (start, end - NOW < timedelta(days=-6.9)) == (NOW - timedelta(days=30), True)
    # Where a cursor is, it says from where.
    assert ids(collect(search(web), stored(page), budget=near)[0]) == []
    web.route(MENTIONS, Site([post(60 * 24 * n) for n in (1, 20, 40)]).page)
    far = Budget(since=NOW - timedelta(days=30))
    pages = mentions(web).collect(None, None, budget=far, now=NOW)
    assert ids([*pages]) == [at(60 * 24), at(60 * 24 * 20)]


def test_an_unfinished_window_that_is_out_of_reach_gives_way_to_the_next(web: Loopback) -> None:
    site = Site([post(n) for n in range(1, 31)], size=10)
    web.route(SEARCH, site.page)
    first, _ = collect(search(web), budget=Budget(pages=1))
    site.posts.append(post(-60 * 24 * 29, "new"))
    pages, _ = collect(search(web), stored(first[-1]), now=NOW + timedelta(days=30))
    assert ids(pages) == [at(-60 * 24 * 29)]
    assert "out of reach" in pages[0].warnings[0]
    assert asked(web)[-1].keys() & {"next_token", "until_id"} == set()
    # What the window had not reached, and what came after its first page.
    (unread, later) = pages[0].gaps
    assert unread == (NOW - timedelta(days=1), id_time(at(10)))
    assert later[0] == id_time(at(1))
    assert later[1] > NOW + timedelta(days=22)


@pytest.mark.parametrize("full", [True, False], ids=["the same page", "an empty page"])
def test_an_endless_token_is_given_up(web: Loopback, full: bool) -> None:
    data = [post(5), post(6)] if full else []
    web.route(SEARCH, answer({"data": data, "meta": {"next_token": "again"}}))
    pages, spent = collect(search(web))
    assert spent is None
    assert len(pages) <= 8
    assert not pages[-1].more
    assert "given up" in pages[-1].warnings[0]


def test_empty_pages_before_the_posts_are_passed(web: Loopback) -> None:
    pages = [answer({"meta": {"next_token": f"n{n}", "result_count": 0}}) for n in range(2)]
    web.route(SEARCH, [*pages, answer({"data": [post(5)], "meta": {}})])
    found, _ = collect(search(web))
    assert ids(found) == [at(5)]
    assert found[-1].cursor is not None
    assert [lane["since"] for lane in found[-1].cursor["lanes"].values()] == [at(5)]


def test_pages_in_any_order_leave_the_newest_as_bound(web: Loopback) -> None:
    web.route(SEARCH, answer({"data": [post(5), post(2), post(9)], "meta": {}}))
    (page,) = collect(search(web))[0]
    assert [lane["since"] for lane in stored(page)["lanes"].values()] == [at(2)]


def test_an_id_of_the_future_does_not_hide_what_comes(web: Loopback) -> None:
    web.route(SEARCH, answer({"data": [post(5)], "meta": {"newest_id": at(-60 * 24 * 365)}}))
    (page,) = collect(search(web))[0]
    assert [lane["since"] for lane in stored(page)["lanes"].values()] == [at(5)]


@pytest.mark.parametrize(
    "cursor", [{}, {"lanes": 1}, {"lanes": {"(Acme) -is:retweet": {"since": "x"}}}], ids=str
)
def test_a_cursor_that_cannot_be_read_starts_anew(web: Loopback, cursor: Cursor) -> None:
    web.route(SEARCH, Site([post(5)]).page)
    assert ids(collect(search(web), cursor)[0]) == [at(5)]


def test_each_search_of_a_long_query_has_its_own_window(web: Loopback) -> None:
    query = Query(name="Acme", kind="brand", any_of=tuple(f"phrase number {n}" for n in range(60)))
    web.route(SEARCH, Site([post(5)]).page)
    pages, _ = collect(search(web), query=query)
    searches = compile_query(query).searches
    assert len(searches) > 1
    assert [params["query"] for params in asked(web)] == list(searches)
    assert set(stored(pages[-1])["lanes"]) == set(searches)
    assert [page.more for page in pages] == [True] * (len(searches) - 1) + [False]


# ---- owned mentions ----------------------------------------------------------------------------


def test_mentions_cost_less_and_need_no_query(web: Loopback) -> None:
    web.route(MENTIONS, Site([post(n) for n in range(1, 13)], size=10).page)
    connector = mentions(web)
    assert not connector.capabilities().by_query
    pages = list(connector.collect(None, None, budget=FREE, now=NOW))
    assert ids(pages) == [at(n) for n in range(1, 13)]
    assert [page.cost for page in pages] == [
        Cost(requests=1, resources=10, micro_dollars=10_000),
        Cost(requests=1, resources=2, micro_dollars=2_000),
    ]
    assert asked(web, MENTIONS)[1]["pagination_token"] == f"t{at(10)}"


def test_a_handle_is_looked_up_once(web: Loopback) -> None:
    path = "/2/users/by/username/acme"
    web.route(path, answer({"data": {"id": "42", "name": "Acme", "username": "acme"}}))
    web.route(MENTIONS, Site([post(5)]).page)
    (page,) = mentions(web, "@acme").collect(None, None, budget=FREE, now=NOW)
    assert page.cost == Cost(requests=2, resources=2, micro_dollars=11_000)
    (again,) = mentions(web, "@acme").collect(None, stored(page), budget=FREE, now=NOW)
    assert again.cost.requests == 1
    assert len(asked(web, path)) == 1


def test_an_unknown_account_is_a_matter_of_configuration(web: Loopback) -> None:
    web.route(
        "/2/users/by/username/nobody",
        answer({"errors": [{"type": PROBLEMS + "resource-not-found", "value": "nobody"}]}),
    )
    with pytest.raises(BadConfig, match="check user") as error:
        list(mentions(web, "nobody").collect(None, None, budget=FREE, now=NOW))
    assert "nobody" not in str(error.value)


# ---- money -------------------------------------------------------------------------------------


def test_what_comes_with_posts_is_counted(web: Loopback) -> None:
    site = Site([post(5), post(6)])
    site.includes = {
        "tweets": [post(5), post(90), post(90)],
        "users": [{"id": "9", "username": "ana", "name": "Ana"}],
    }
    web.route(SEARCH, site.page)
    (page,) = collect(search(web, authors=True, referenced=True))[0]
    assert page.cost == Cost(requests=1, resources=4, micro_dollars=3 * 5_000 + 10_000)
    assert page.mentions[0].author is not None
    assert page.mentions[0].author.handle == "ana"
    assert asked(web)[0]["expansions"] == "author_id,referenced_tweets.id"


def test_authors_are_not_asked_for_unless_wanted(web: Loopback) -> None:
    web.route(SEARCH, Site([post(5)]).page)
    (page,) = collect(search(web))[0]
    assert asked(web)[0].keys() & {"expansions", "user.fields"} == set()
    assert page.mentions[0].author is not None
    assert page.mentions[0].author.native_id == "9"


def test_no_request_is_made_that_could_cost_more_than_is_left(web: Loopback) -> None:
    web.route(SEARCH, Site([post(n) for n in range(1, 60)]).page)
    pages, spent = collect(search(web), budget=Budget(micro_dollars=185_000))
    assert [int(params["max_results"]) for params in asked(web)] == [37]
    assert sum(page.cost.micro_dollars for page in pages) == 185_000
    assert "37 posts and $0.18" in str(spent) or "37 posts and $0.19" in str(spent)
    assert "left out: posts after 2026-02-28 12:00 UTC and before 2026-03-01 11:23" in str(spent)
    rest, spent = collect(search(web), stored(pages[-1]))
    assert spent is None
    assert Counter(ids(pages + rest)) == Counter(at(n) for n in range(1, 60))


def test_a_request_that_is_too_dear_is_not_made(web: Loopback) -> None:
    web.route(SEARCH, Site([post(5)]).page)
    enough = 10 * (5_000 + 2 * 5_000 + 10_000)
    connector = search(web, authors=True, referenced=True)
    assert collect(connector, budget=Budget(micro_dollars=enough - 1))[0] == []
    assert web.seen == []
    assert len(collect(connector, budget=Budget(micro_dollars=enough))[0]) == 1


@pytest.mark.parametrize("most", [9, 10, 25])
def test_no_more_posts_than_the_budget_has(web: Loopback, most: int) -> None:
    web.route(SEARCH, Site([post(n) for n in range(1, 60)]).page)
    pages, spent = collect(search(web), budget=Budget(mentions=most))
    assert len(ids(pages)) == (0 if most < 10 else most)
    assert spent is not None


def test_a_search_has_a_bound_of_pages(web: Loopback) -> None:
    web.route(SEARCH, Site([post(n) for n in range(1, 60)], size=10).page)
    pages, spent = collect(search(web, max_pages=2))
    assert len(pages) == 2
    assert spent is not None


def test_counts_price_a_query_before_it_is_read(web: Loopback) -> None:
    web.route(COUNTS, answer({"data": [], "meta": {"total_tweet_count": 1200}}))
    connector = search(web, prices=Prices(post=6_000))
    estimate = connector.estimate(QUERY, budget=FREE, now=NOW)
    assert (estimate.posts, estimate.days) == (1200, 7)
    assert estimate.micro_dollars == 1200 * 6_000
    assert estimate.cost == Cost(requests=1, micro_dollars=5_000)
    assert asked(web, COUNTS)[0]["query"] == "(Acme) -is:retweet"
    with pytest.raises(BudgetSpent, match="1 counts"):
        connector.estimate(QUERY, budget=Budget(micro_dollars=4_999), now=NOW)
    assert len(asked(web, COUNTS)) == 1


def test_check_is_free_and_tells_what_is_used(web: Loopback) -> None:
    web.route(USAGE, answer({"data": {"project_usage": "12345", "project_cap": "2000000"}}))
    line = search(web).check(now=NOW)
    assert "12,345 of 2,000,000" in line
    assert [seen.path for seen in web.seen] == [USAGE]


# ---- posts -------------------------------------------------------------------------------------


def one(web: Loopback, value: dict[str, Any], **includes: Any) -> Mention:
    site = Site([value])
    site.includes = includes
    web.route(SEARCH, site.page)
    ((mention,),) = (page.mentions for page in collect(search(web))[0])
    return mention


def test_long_posts_retweets_and_links_come_whole(web: Loopback) -> None:
    links = {"urls": [{"url": "https://t.co/a", "expanded_url": "https://acme.example/uno"}]}
    original = post(99, "short…", note_tweet={"text": "long " * 80 + "https://t.co/a"})
    original["note_tweet"]["entities"] = links
    ref = [{"type": "retweeted", "id": original["id"]}]
    retweet = post(5, "RT @ana: long long…", referenced_tweets=ref)
    mention = one(web, retweet, tweets=[original])
    assert mention.text == "RT @ana: " + "long " * 80 + "https://acme.example/uno"


def test_a_withheld_post_is_told_apart_in_raw(web: Loopback) -> None:
    mention = one(web, post(5, withheld={"copyright": False, "country_codes": ["DE"]}))
    assert mention.raw is not None
    assert mention.raw["withheld"]["country_codes"] == ["DE"]


def test_an_edit_keeps_the_id_of_the_first_version_and_is_told(web: Loopback) -> None:
    history = [at(20), at(10)]
    edited = post(10, "I love Acme", edit_history_tweet_ids=history, conversation_id=at(20))
    reply = post(
        4,
        "me too",
        conversation_id=at(20),
        referenced_tweets=[{"type": "replied_to", "id": at(10)}],
    )
    web.route(SEARCH, Site([edited, reply]).page)
    (page,) = collect(search(web))[0]
    answered, first = page.mentions
    assert (first.native_id, first.text) == (at(20), "I love Acme")
    assert first.published_at == id_time(at(20))
    assert first.url is not None
    assert first.url.endswith(at(10))
    assert answered.parent_id == answered.root_id == at(20)
    assert page.updates == (
        Update(
            source="x",
            native_id=at(20),
            kind="edit",
            at=NOW - timedelta(minutes=10),
            text="I love Acme",
        ),
    )


def test_an_old_version_alone_is_no_edit(web: Loopback) -> None:
    old = post(20, "I like Acme", edit_history_tweet_ids=[at(20), at(10)])
    web.route(SEARCH, Site([old]).page)
    (page,) = collect(search(web))[0]
    assert [mention.native_id for mention in page.mentions] == [at(20)]
    assert page.updates == ()


def test_partial_errors_are_warnings_without_names(web: Loopback) -> None:
    error = {"title": "Not Found Error", "detail": "Could not find @ana", "value": "1"}
    web.route(SEARCH, answer({"data": [post(5)], "errors": [error] * 2, "meta": {}}))
    (page,) = collect(search(web))[0]
    assert page.warnings == ("x: partial error, Not Found Error (2)",)
    assert len(page.mentions) == 1


def test_refresh_brings_figures_edits_and_removals(web: Loopback) -> None:
    old = post(20, "old", edit_history_tweet_ids=[at(20), at(10)])
    new = post(10, "new", edit_history_tweet_ids=[at(20), at(10)])
    gone = {"resource_id": at(30), "parameter": "ids", "type": PROBLEMS + "resource-not-found"}
    shut = gone | {"resource_id": at(40), "type": PROBLEMS + "not-authorized-for-resource"}
    busy = gone | {"resource_id": at(50), "type": PROBLEMS + "over-capacity"}
    first = answer({"data": [old], "errors": [gone, shut, busy]})
    web.route(LOOKUP, [first, answer({"data": [new]})])
    wanted = [at(20), at(30), at(40), at(50), "no-id"]
    pages = list(search(web).refresh(wanted, budget=FREE, now=NOW))
    told = [(one.kind, one.native_id) for page in pages for one in page.updates]
    assert told == [
        ("tombstone", at(30)),
        ("tombstone", at(40)),
        ("metrics", at(20)),
        ("metrics", at(20)),
        ("edit", at(20)),
    ]
    assert pages[-1].updates[-1].text == "new"
    assert pages[0].updates[2].counts.shares == 7
    assert [page.cost.micro_dollars for page in pages] == [5_000, 5_000]
    assert [params["ids"] for params in asked(web, LOOKUP)] == [",".join(wanted[:-1]), at(10)]


def test_refresh_asks_for_a_hundred_at_once_and_keeps_to_the_budget(web: Loopback) -> None:
    web.route(
        LOOKUP,
        lambda seen: answer({"data": [post(n) for n in range(len(seen.params["ids"].split(",")))]}),
    )
    wanted = [at(n) for n in range(250)]
    pages = search(web).refresh(wanted, budget=Budget(micro_dollars=600_000), now=NOW)
    assert [next(pages).returned, next(pages).returned] == [100, 20]
    with pytest.raises(BudgetSpent, match="left out: 130 posts"):
        next(pages)


def test_what_a_refresh_costs_is_known_before(web: Loopback) -> None:
    connector = search(web, prices=Prices(post=6_000))
    assert connector.refresh_cost(0) == Cost()
    assert connector.refresh_cost(101) == Cost(requests=2, resources=101, micro_dollars=606_000)
    web.route(LOOKUP, lambda seen: answer({"data": [post(n) for n in range(100)]}))
    budget = Budget(micro_dollars=connector.refresh_cost(100).micro_dollars)
    (page,) = connector.refresh([at(n) for n in range(100)], budget=budget, now=NOW)
    assert page.cost == connector.refresh_cost(100)
    assert web.seen[0].path == LOOKUP


def test_all_counts_of_a_query_fit_or_none_is_asked(web: Loopback) -> None:
    web.route(COUNTS, answer({"data": [], "meta": {"total_tweet_count": 3}}))
    query = Query(name="Acme", kind="brand", any_of=tuple(f"phrase number {n}" for n in range(60)))
    counts = len(search(web).compile(query).searches)
    assert counts > 1
    with pytest.raises(BudgetSpent, match=f"{counts} counts"):
        search(web).estimate(query, budget=Budget(micro_dollars=counts * 5_000 - 1), now=NOW)
    assert web.seen == []
    fits = Budget(micro_dollars=counts * 5_000)
    assert search(web).estimate(query, budget=fits, now=NOW).posts == 3 * counts


# ---- conversations -----------------------------------------------------------------------------


def thread(
    connector: Search, *ids: str, budget: Budget = FREE
) -> tuple[list[Page], BudgetSpent | None]:
    pages: list[Page] = []
    try:
        pages.extend(connector.thread(ids, budget=budget, now=NOW))
    except BudgetSpent as spent:
        return pages, spent
    return pages, None


def reply(minutes_ago: float, root: str) -> dict[str, Any]:
    return post(
        minutes_ago,
        "me too",
        conversation_id=root,
        referenced_tweets=[{"type": "replied_to", "id": root}],
    )


def test_a_conversation_is_found_by_its_first_post(web: Loopback) -> None:
    web.route(SEARCH, Site([reply(n, at(60)) for n in range(1, 16)], size=10).page)
    assert isinstance(search(web), ReadsThreads)
    pages, spent = thread(search(web, referenced=True, authors=True), at(60))
    assert spent is None
    assert ids(pages) == [at(n) for n in range(1, 16)]
    assert {one.root_id for page in pages for one in page.mentions} == {at(60)}
    assert [page.more for page in pages] == [True, False]
    assert {page.cursor for page in pages} == {None}
    assert [page.cost.micro_dollars for page in pages] == [50_000, 25_000]
    first = asked(web)[0]
    assert first["query"] == f"conversation_id:{at(60)}"
    # Posts that are quoted would cost as much again.
    assert first["expansions"] == "author_id"


def test_of_a_long_conversation_only_the_newest_posts_are_paid_for(web: Loopback) -> None:
    web.route(SEARCH, Site([reply(n, at(600)) for n in range(1, 300)]).page)
    pages, spent = thread(search(web, max_thread_posts=120), at(600))
    assert spent is None
    assert ids(pages) == [at(n) for n in range(1, 121)]
    assert pages[-1].warnings == ("x: a conversation has more than 120 new posts",)
    assert not pages[-1].more


def test_conversations_keep_to_the_budget(web: Loopback) -> None:
    web.route(SEARCH, Site([reply(n, at(60)) for n in range(1, 13)]).page)
    pages, spent = thread(search(web), at(60), at(50), at(40), budget=Budget(micro_dollars=150_000))
    assert [page.cost.micro_dollars for page in pages] == [60_000, 60_000]
    assert [int(params["max_results"]) for params in asked(web)] == [30, 18]
    assert "left out: 1 conversations" in str(spent)


def test_empty_conversations_endless_tokens_and_odd_ids_end(web: Loopback) -> None:
    web.route(SEARCH, answer({"meta": {"result_count": 0}}))
    pages, _ = thread(search(web), "no id", at(60))
    assert [len(page.mentions) for page in pages] == [0, 0]
    assert "not the id of a post" in pages[0].warnings[0]
    web.route(SEARCH, answer({"data": [post(5)], "meta": {"next_token": "again"}}))
    assert len(thread(search(web), at(60))[0]) == 2
    numbers = iter(range(1000))
    web.route(SEARCH, lambda _: answer({"meta": {"next_token": f"t{next(numbers)}"}}))
    assert len(thread(search(web), at(60))[0]) == 10


# ---- refusals ----------------------------------------------------------------------------------


def problem(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": PROBLEMS + kind, "title": "t", "detail": "about @ana", **more}


INVALID = problem("invalid-request", errors=[{"parameters": {"query": ["(Acme)"]}}])


@pytest.mark.parametrize(
    ("status", "body", "error", "text"),
    [
        (400, INVALID, BadConfig, "check query"),
        (401, {"title": "Unauthorized", "type": "about:blank"}, NeedsAuth, "make a new one"),
        (401, "<html>", NeedsAuth, "make a new one"),
        (402, {"title": "CreditsDepleted"}, NeedsAuth, "no credits"),
        (403, problem("client-forbidden"), NeedsAuth, "attach it to a project"),
        (403, problem("unsupported-authentication"), NeedsAuth, "app's bearer token"),
        (403, problem("not-authorized-for-resource"), BadConfig, "protected"),
        (403, [1], NeedsAuth, "check the app"),
        (404, None, BadConfig, "base_url"),
        (418, {}, BadConfig, "418"),
        (500, {}, Transient, "out of order"),
        (502, {}, Transient, "out of order"),
        (503, {}, Transient, "out of order"),
        (504, {}, Transient, "out of order"),
        (520, {}, Transient, "out of order"),
        (522, {}, Transient, "out of order"),
        (200, None, Transient, "without data"),
        (200, [], Transient, "without data"),
        (200, {"errors": [problem("over-capacity")]}, Transient, "over-capacity"),
    ],
)
def test_refusals_say_what_to_do(
    web: Loopback, status: int, body: object, error: type[ConnectorError], text: str
) -> None:
    web.route(SEARCH, answer(body, status))
    with pytest.raises(error, match=text) as caught:
        collect(search(web))
    assert type(caught.value) in (error, *error.__subclasses__())
    assert "ana" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert len(web.seen) <= 4


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", b'{"data": ['], ids=repr)
def test_broken_bodies_pass(web: Loopback, body: bytes) -> None:
    web.route(SEARCH, Answer(200, body))
    with pytest.raises(Transient):
        collect(search(web))


def reset(value: str) -> Answer:
    return answer({"title": "Too Many Requests"}, 429, x_rate_limit_reset=value)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (reset(str(int(NOW.timestamp()) + 600)), 600),
        (reset("12.5"), 12.5),
        (reset("2026-03-01T12:05:00Z"), 300),
        (reset("soon"), 900),
        (answer({}, 429), 900),
        (reset(str(int(NOW.timestamp()) + 10**8)), 24 * 3600),
        (answer(problem("usage-capped"), 429, x_rate_limit_reset="60"), 24 * 3600),
        (answer({}, 403, retry_after="30"), 30),
    ],
)
def test_when_x_wants_the_next_request(web: Loopback, given: Answer, seconds: float) -> None:
    web.route(SEARCH, given)
    with pytest.raises(RetryAt) as caught:
        collect(search(web))
    assert caught.value.when == NOW + timedelta(seconds=seconds)
    assert len(web.seen) == 1


def test_a_fault_between_pages_keeps_those_before_it(web: Loopback) -> None:
    site = Site([post(n) for n in range(1, 31)], size=10)
    web.route(SEARCH, lambda seen: reset("60") if "next_token" in seen.params else site.page(seen))
    pages: list[Page] = []
    with pytest.raises(RetryAt):
        pages.extend(search(web).collect(QUERY, None, budget=FREE, now=NOW))
    assert len(pages) == 1
    web.route(SEARCH, site.page)
    rest, _ = collect(search(web), stored(pages[0]))
    assert Counter(ids(pages + rest)) == Counter(one["id"] for one in site.posts)


def test_huge_bodies_and_private_addresses_are_refused(web: Loopback) -> None:
    web.route(SEARCH, Answer(200, b" " * 200_000))
    http = open_http(web.url, max_bytes=100_000)
    with pytest.raises(BadConfig, match="100,000 bytes"):
        collect(Search(http, TOKEN, base_url=web.url))
    guarded = open_http()  # the door for X itself
    with closing(guarded), pytest.raises(BadConfig, match="private address"):
        collect(Search(guarded, TOKEN, base_url=web.url))


def test_the_token_is_sent_and_never_logged(
    web: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    web.route(SEARCH, Site([post(5, "a private matter of Acme")]).page)
    collect(search(web))
    assert web.seen[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert "posts" in caplog.text
    assert TOKEN not in caplog.text
    assert "private matter" not in caplog.text


def test_without_a_token_nothing_is_asked(web: Loopback) -> None:
    with pytest.raises(NeedsAuth, match="bearer_token"):
        collect(Search(open_http(web.url), "", base_url=web.url))
    with pytest.raises(BadConfig, match="blanks"):
        Search(open_http(web.url), "a\nb")
    assert web.seen == []


def test_the_client_only_reads(web: Loopback) -> None:
    client = search(web)._client(NOW)
    with pytest.raises(ValueError, match="only reads"):
        client.create_tweet(text="hello", user_auth=False)
    assert web.seen == []


# ---- queries -----------------------------------------------------------------------------------


def test_a_query_in_the_syntax_of_x() -> None:
    query = Query(
        name="q",
        kind="brand",
        any_of=(
            "Acme",
            "acme",
            "@acme",
            "#acme",
            "coffee maker",
            'the "one"',
            "or",
            "acme.example",
        ),
        none_of=("dj acme", "noise"),
        langs=("en", "es"),
    )
    (text,) = compile_query(query).searches
    assert text == (
        '("acme.example" OR url:"acme.example" OR "coffee maker" OR "or" OR "the one" OR #acme OR '
        '@acme OR Acme) (lang:en OR lang:es) -is:retweet -"dj acme" -noise'
    )


def test_a_page_of_the_brand_is_searched_as_a_link() -> None:
    query = Query(name="q", kind="brand", any_of=("acme.example/uno",))
    assert compile_query(query).searches == ('(url:"acme.example/uno") -is:retweet',)


def test_a_long_query_is_split_and_loses_no_term() -> None:
    words = tuple(f"máquina número {n} ☕" for n in range(80))
    query = Query(name="q", kind="category", any_of=words, none_of=("ruido",), langs=("es",))
    searches = compile_query(query).searches
    assert len(searches) > 2
    for text in searches:
        assert len(text.encode("utf-16-le")) // 2 <= LIMIT
        assert text.endswith(") lang:es -is:retweet -ruido")
    for word in words:
        assert sum(f'"{word}"' in text for text in searches) == 1


def test_the_order_of_terms_does_not_change_the_searches() -> None:
    there = Query(name="q", kind="brand", any_of=("b", "a", "c"))
    back = Query(name="q", kind="brand", any_of=("c", "b", "a"))
    assert compile_query(there).searches == compile_query(back).searches


def test_what_does_not_fit_runs_locally_and_is_told() -> None:
    noise = tuple(f"some noise of kind {n}" for n in range(40))
    query = Query(name="q", kind="brand", any_of=("a",), none_of=noise, langs=("es", "qu"))
    compiled = compile_query(query)
    told = {clause.text: clause.syntax for clause in compiled.clauses}
    assert told["a"] == "a"
    assert told["es, qu"] is None
    assert told[noise[0]] == f'-"{noise[0]}"'
    assert told[noise[-1]] is None
    assert told["without retweets"] == "-is:retweet"
    assert compile_query(query, retweets=True).clauses[2].syntax is None
    assert noise[-1] not in compiled.searches[0]
    assert "lang:" not in compiled.searches[0]


def test_languages_have_the_names_that_x_gives_them() -> None:
    query = Query(name="q", kind="brand", any_of=("a",), langs=("he",))
    assert compile_query(query).searches == ("(a) lang:iw -is:retweet",)


@pytest.mark.parametrize(
    "terms", [(), ("",), ('""',), ("x" * 600,)], ids=["none", "", '""', "long"]
)
def test_a_query_that_x_cannot_search_is_refused(terms: tuple[str, ...]) -> None:
    with pytest.raises(BadConfig, match="'q'"):
        compile_query(Query(name="q", kind="brand", any_of=terms))


# ---- recorded answers --------------------------------------------------------------------------


def recorded() -> Iterator[tuple[str, bytes]]:
    """Every recorded answer, and every line of a file of twarc, by where it is from."""
    for path in REAL:
        name = path.name.partition("__")[0]
        yield name, json.dumps(json.loads(path.read_bytes())["body"]).encode()
    for path in PAGES:
        # A flattened post is no answer of the API, but a page of one post.
        yield from (("twarc", line) for line in path.read_bytes().splitlines() or [b""])


@pytest.mark.shared
@pytest.mark.skipif(not REAL, reason="the recorded answers (shared/data/payloads/x) are absent")
def test_every_recorded_answer_is_mapped_or_skipped_with_a_reason() -> None:
    told: Counter[str] = Counter()
    for name, data in recorded():
        response = Response(status=200, headers={}, body=data, url="https://api.x.com/2/tweets")
        told[f"{name} answers"] += 1
        try:
            value = response.json()
            flat = is_twarc(value) and "data" not in value
            body = {"data": [value]} if flat else read_page(response)
        except Transient:
            told[f"{name} no page"] += 1
            continue
        found = page_mentions(value if flat else body, source="x", now=NOW)
        told[f"{name} records"] += count_posts(body) or int("data" in body)
        told[f"{name} mapped"] += len(found.mentions)
        told[f"{name} skipped"] += len(found.skipped)
        told[f"{name} edits"] += len([*edits(found.mentions, {}, NOW)])
        assert len([*figures(found.mentions, {}, NOW)]) == len(found.mentions)
        for mention in found.mentions:
            assert mention.text
            assert mention.published_at.utcoffset() == timedelta(0)
            assert json.loads(json.dumps(mention.raw)) == mention.raw
    for name in ("v2", "twarc"):
        assert told[f"{name} mapped"] + told[f"{name} skipped"] == told[f"{name} records"], told
    # What was skipped: accounts, lists, spaces and counts; posts whose text was not recorded.
    assert told["v2 mapped"] >= 350, told
    assert told["twarc mapped"] >= 1000, told
    assert told["twarc skipped"] <= 6, told
    # One empty file, and a line that breaks off.
    assert told["twarc no page"] == 2, told
    # API v1.1 has other shapes, of which none is taken for a page.
    assert told["v1.1 no page"] == told["v1.1 answers"], told
