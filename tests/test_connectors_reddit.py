import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from connectors.base import (
    BadConfig,
    Budget,
    BudgetSpent,
    Connector,
    ConnectorError,
    Cursor,
    NeedsAuth,
    Page,
    Query,
    RetryAt,
    Transient,
)
from connectors.mapping import OddRecord
from connectors.reddit import RedditNew, RedditSearch
from connectors.reddit_api import Closed, Gone, RedditApi
from connectors.reddit_map import More, listed, read_thing, to_mention, walk_tree
from connectors.reddit_query import compile_query

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = int(NOW.timestamp())
QUERY = Query(name="Acme", kind="brand", any_of=("Acme", "acme press"))
FREE = Budget()
PAYLOADS = Path(__file__).parents[2] / "shared" / "data" / "payloads" / "reddit"


def post(number: int, ago: int, **fields: Any) -> dict[str, Any]:
    """A post as the API gives one, written `ago` seconds before NOW."""
    short = f"p{number}"
    data = {
        "id": short,
        "name": f"t3_{short}",
        "subreddit": "espresso",
        "title": f"Acme or other {number}?",
        "selftext": "Which one?",
        "author": "ana",
        "author_fullname": "t2_9",
        "created_utc": float(SECOND - ago),
        "permalink": f"/r/espresso/comments/{short}/acme/",
        "url": f"https://www.reddit.com/r/espresso/comments/{short}/acme/",
        "score": 12,
        "num_comments": 3,
        "likes": None,
        "edited": False,
        "media_metadata": {"deep": [1]},
    }
    return {"kind": "t3", "data": {**data, **fields}}


def comment(short: str, ago: int, parent: str = "t3_p1", **fields: Any) -> dict[str, Any]:
    data = {
        "id": short,
        "name": f"t1_{short}",
        "body": f"I use acme {short}",
        "author": "ben",
        "created_utc": SECOND - ago,
        "parent_id": parent,
        "link_id": "t3_p1",
        "score": 2,
        "replies": "",
    }
    return {"kind": "t1", "data": {**data, **fields}}


def listing(children: Sequence[object], after: str | None = None) -> dict[str, Any]:
    return {"kind": "Listing", "data": {"children": list(children), "after": after}}


def more(parent: str, *ids: str) -> dict[str, Any]:
    return {"kind": "more", "data": {"parent_id": parent, "children": list(ids), "id": "_"}}


class Site:
    """Reddit as a transport: lists by path newest first, `after` an id, 401 for an old token."""

    def __init__(self, **lists: list[dict[str, Any]]) -> None:
        self.lists = {name.replace("__", "/"): items for name, items in lists.items()}
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.answers: dict[str, Callable[[Mapping[str, str]], httpx.Response]] = {}
        self.tokens = 0
        self.expired = 0

    def handle(self, request: httpx.Request) -> httpx.Response:
        path, params = request.url.path.strip("/"), dict(request.url.params)
        if path in self.answers:
            return self.answers[path](params)
        if path == "api/v1/access_token":
            self.tokens += 1
            return reply({"access_token": f"T{self.tokens}", "expires_in": 3600, "scope": "*"})
        assert request.method == "GET"
        if request.headers["authorization"] != f"bearer T{self.tokens}" or self.expired:
            self.expired -= 1
            return reply({"error": 401}, 401)
        self.asked.append((path, params))
        if path not in self.lists:
            return reply({"message": "Not Found", "error": 404}, 404)
        return reply(self.page(path, params))

    def page(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        items = sorted(self.lists[path], key=lambda one: -one["data"]["created_utc"])[:1000]
        names = [one["data"]["name"] for one in items]
        after, limit = params.get("after"), int(params["limit"])
        if after is not None and after not in names:
            return listing([])  # as Reddit does for what was deleted
        start = names.index(after) + 1 if after else 0
        last = start + limit >= len(items)
        return listing(items[start : start + limit], None if last else names[start + limit - 1])

    def api(self, **options: Any) -> RedditApi:
        return RedditApi(
            **{"client_id": "me", "client_secret": "hush", **options},
            transport=httpx.MockTransport(self.handle),
            wait=lambda _: None,
        )


def reply(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.Response(status, content=content, headers=headers)


def always(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Callable[[Mapping[str, str]], httpx.Response]:
    return lambda _: reply(body, status, headers)


@dataclass
class ContractCase:
    connector: Connector
    query: Query | None
    now: datetime
    expected_ids: set[str]


def make_search_case() -> ContractCase:
    """Two searches with several pages each, one odd record, one that is too old."""
    posts = [post(n, ago=60 * n) for n in range(9)] + [post(99, ago=86_400 * 30)]
    posts.append({"kind": "t5", "data": {"name": "t5_x", "created_utc": SECOND - 100}})
    site = Site(r__espresso__search=posts, r__coffee__search=[post(50, ago=5), post(1, ago=60)])
    site.lists["r/all/new"] = []
    connector = RedditSearch(site.api(), ["espresso", "coffee"], page_size=3)
    return ContractCase(connector, QUERY, NOW, {f"t3_p{n}" for n in (*range(9), 50)})


def make_new_case() -> ContractCase:
    """Posts and comments of two subreddits; the second one is private."""
    site = Site(
        r__espresso__new=[post(n, ago=60 * n) for n in range(5)],
        r__espresso__comments=[comment(f"c{n}", ago=60 * n) for n in range(7)],
    )
    site.answers["r/hidden/new"] = site.answers["r/hidden/comments"] = always(
        {"reason": "private", "error": 403}, 403
    )
    connector = RedditNew(site.api(), ["hidden", "espresso"], page_size=3)
    expected = {f"t3_p{n}" for n in range(5)} | {f"t1_c{n}" for n in range(7)}
    return ContractCase(connector, None, NOW, expected)


def collect(
    connector: RedditSearch | RedditNew,
    cursor: Cursor | None = None,
    *,
    budget: Budget = FREE,
    query: Query | None = None,
    now: datetime = NOW,
) -> tuple[list[Page], bool]:
    """The pages of one call and whether its budget was spent; cursors go through JSON."""
    pages: list[Page] = []
    asked = query or (QUERY if isinstance(connector, RedditSearch) else None)
    try:
        for page in connector.collect(asked, cursor, budget=budget, now=now):
            pages.append(replace(page, cursor=json.loads(json.dumps(page.cursor))))
    except BudgetSpent:
        return pages, True
    return pages, False


def ids(pages: Sequence[Page]) -> list[str]:
    return [mention.native_id for page in pages for mention in page.mentions]


def warnings(pages: Sequence[Page]) -> list[str]:
    return [warning for page in pages for warning in page.warnings]


def test_a_post_and_a_comment_become_mentions() -> None:
    site = Site(
        r__espresso__new=[post(1, ago=60, title="A &amp; B", over_18=False)],
        r__espresso__comments=[comment("c1", ago=30, parent="t1_c0", edited=5.5)],
    )
    pages, _ = collect(RedditNew(site.api(), ["r/Espresso"]))
    first, second = [mention for page in pages for mention in page.mentions]
    assert (first.source, first.native_id, first.title) == ("reddit", "t3_p1", "A & B")
    assert first.text == "Which one?"
    assert first.url == "https://www.reddit.com/r/espresso/comments/p1/acme/"
    assert first.published_at == NOW - timedelta(seconds=60)
    assert (first.counts.likes, first.counts.replies) == (12, 3)
    assert first.author is not None
    assert (first.author.native_id, first.author.handle) == ("t2_9", "ana")
    assert (first.parent_id, first.root_id) == (None, None)
    assert first.raw is not None
    assert first.raw["subreddit"] == "espresso"
    assert not {"title", "selftext", "author", "media_metadata"} & first.raw.keys()
    assert (second.native_id, second.parent_id, second.root_id) == ("t1_c1", "t1_c0", "t3_p1")
    assert second.url == "https://www.reddit.com/comments/p1/_/c1/"
    assert sum(page.cost.requests for page in pages) == 3  # two lists and a token


def test_authors_may_be_gone_and_removed_texts_are_counted() -> None:
    site = Site(
        r__espresso__new=[
            post(1, ago=1, author=None),
            post(2, ago=2, author="[deleted]"),
            post(3, ago=3, selftext="[removed]"),
            post(4, ago=4, removed_by_category="moderator"),
            post(5, ago=5, title="[deleted by user]"),
        ],
        r__espresso__comments=[comment("c1", ago=1, body="[ Removed by Reddit ]")],
    )
    pages, _ = collect(RedditNew(site.api(), ["espresso"]))
    mentions = [mention for page in pages for mention in page.mentions]
    assert [(one.native_id, one.author) for one in mentions] == [("t3_p1", None), ("t3_p2", None)]
    assert warnings(pages) == [
        "r/espresso/new: skipped, deleted or removed (3)",
        "r/espresso/comments: skipped, deleted or removed (1)",
    ]


def test_the_search_asks_for_all_terms_in_all_of_reddit() -> None:
    site = Site(r__all__search=[post(1, ago=5)])
    assert ids(collect(RedditSearch(site.api()))[0]) == ["t3_p1"]
    path, params = site.asked[0]
    assert path == "r/all/search"
    assert params["q"] == '"Acme" OR "acme press"'
    assert (params["sort"], params["type"], params["raw_json"]) == ("new", "link", "1")


def test_many_terms_are_split_into_searches_that_fit() -> None:
    terms = tuple(f"marca {n:03}" for n in range(90))
    searches = compile_query(replace(QUERY, any_of=(*terms, ' "x" ', "@x", "#"))).searches
    assert max(map(len, searches)) <= 512
    assert sum(map(len, searches)) > 400 * (len(searches) - 1)
    joined = " OR ".join(searches).split(" OR ")
    assert sorted(joined) == sorted([*(f'"{term}"' for term in terms), '"x"'])
    with pytest.raises(BadConfig, match="no terms"):
        collect(RedditSearch(Site().api()), query=replace(QUERY, any_of=("@", " ")))
    with pytest.raises(BadConfig, match="too long"):
        compile_query(replace(QUERY, any_of=("x" * 600,)))


def test_a_later_run_reads_down_to_the_overlap() -> None:
    posts = [post(n, ago=600 * n) for n in range(30)]
    site = Site(r__all__search=posts)
    connector = RedditSearch(site.api(), page_size=10)
    pages, _ = collect(connector)
    assert len(ids(pages)) == 30
    posts.append(post(100, ago=-60))
    later = NOW + timedelta(minutes=10)
    again, _ = collect(connector, pages[-1].cursor, now=later)
    # Two hours are 12 posts at ten minutes each; the rest is not asked for.
    assert len(again) == 2
    assert "t3_p100" in ids(again)
    assert set(ids(again)) == {"t3_p100", *(f"t3_p{n}" for n in range(13))}


def test_a_late_post_within_the_overlap_is_found() -> None:
    posts = [post(n, ago=600 * n) for n in range(5)]
    site = Site(r__all__search=posts)
    connector = RedditSearch(site.api())
    pages, _ = collect(connector)
    posts.append(post(77, ago=3600))
    again, _ = collect(connector, pages[-1].cursor, now=NOW + timedelta(minutes=1))
    assert "t3_p77" in ids(again)


@pytest.mark.parametrize("gone", [1, 4, 5])
def test_a_walk_goes_on_although_the_posts_it_stopped_at_are_deleted(gone: int) -> None:
    posts = [post(n, ago=60 * n) for n in range(20)]
    site = Site(r__all__search=posts)
    connector = RedditSearch(site.api(), page_size=5)
    pages, spent = collect(connector, budget=Budget(pages=1))
    assert spent
    assert ids(pages) == [f"t3_p{n}" for n in range(5)]
    del posts[5 - gone : 5]
    rest, spent = collect(connector, pages[-1].cursor)
    assert not spent
    assert {f"t3_p{n}" for n in range(5, 20)} <= set(ids(rest))


def test_the_budget_of_mentions_is_kept() -> None:
    site = Site(r__all__search=[post(n, ago=60 * n) for n in range(20)])
    connector = RedditSearch(site.api())
    pages, spent = collect(connector, budget=Budget(mentions=7))
    assert (len(ids(pages)), spent) == (7, True)
    rest, spent = collect(connector, pages[-1].cursor)
    assert set(ids(pages)) | set(ids(rest)) == {f"t3_p{n}" for n in range(20)}


def test_an_empty_page_with_a_token_is_not_the_end() -> None:
    site = Site()
    site.answers["r/all/search"] = lambda params: reply(
        listing([post(1, ago=5)]) if params.get("after") == "t3_x" else listing([], "t3_x")
    )
    assert ids(collect(RedditSearch(site.api()))[0]) == ["t3_p1"]


def test_a_list_that_repeats_itself_ends() -> None:
    site = Site()
    site.answers["r/all/search"] = always(listing([post(1, ago=5), post(2, ago=6)], "t3_p2"))
    pages, _ = collect(RedditSearch(site.api()))
    assert ids(pages) == ["t3_p1", "t3_p2"]
    assert "does not end" in warnings(pages)[0]


def test_a_list_in_turns_ends() -> None:
    numbers = iter(range(10_000))
    site = Site()
    site.answers["r/all/search"] = lambda _: reply(
        listing([post(next(numbers) % 200, ago=5) for _ in range(100)], "t3_on")
    )
    pages, _ = collect(RedditSearch(site.api()))
    assert len(ids(pages)) == 200
    assert len(pages) < 10


def test_a_list_that_breaks_off_before_the_last_run_says_so() -> None:
    site = Site(r__espresso__new=[post(n, ago=n) for n in range(1200)], r__espresso__comments=[])
    pages, _ = collect(RedditNew(site.api(), ["espresso"]))
    assert len(ids(pages)) == 1000
    assert warnings(pages) == [
        "r/espresso/new: Reddit ends the list after 1000 posts; older ones are missing (1)"
    ]
    # From what the run should reach to what Reddit still gave.
    gap = (NOW - timedelta(days=7), NOW - timedelta(seconds=999))
    assert [page.gaps for page in pages if page.gaps] == [(gap,)]
    site.lists["r/espresso/new"] = [post(n, ago=n - 3000) for n in range(1200)]
    later, _ = collect(
        RedditNew(site.api(), ["espresso"]), pages[-1].cursor, now=NOW + timedelta(hours=1)
    )
    gap = (NOW, NOW + timedelta(seconds=2001))
    assert [page.gaps for page in later if page.gaps] == [(gap,)]


def test_a_look_back_goes_as_far_as_it_is_told() -> None:
    site = Site(r__all__search=[post(n, ago=86_400 * n) for n in range(40)])
    far = Budget(since=NOW - timedelta(days=30))
    pages, _ = collect(RedditSearch(site.api(), page_size=10), budget=far)
    assert set(ids(pages)) == {f"t3_p{n}" for n in range(31)}
    assert not [page.gaps for page in pages if page.gaps]
    again, _ = collect(RedditSearch(site.api()), pages[-1].cursor, budget=far)
    assert ids(again) == ["t3_p0"]


def test_clocks_that_run_ahead_do_not_blind_the_next_run() -> None:
    posts = [post(1, ago=-86_400 * 365 * 5), post(2, ago=60)]
    site = Site(r__all__search=posts)
    connector = RedditSearch(site.api())
    pages, _ = collect(connector)
    posts.append(post(3, ago=-60))
    later = NOW + timedelta(hours=1)
    assert "t3_p3" in ids(collect(connector, pages[-1].cursor, now=later)[0])


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"reason": "private", "error": 403}, 403, "is private"),
        ({"reason": "quarantined", "error": 403}, 403, "is quarantined"),
        ({"error": 403, "message": "Forbidden"}, 403, "may not be read"),
        ({"reason": "banned", "error": 404}, 404, "is banned"),
        ({"error": 404}, 404, "does not exist"),
        (b"", 302, "does not exist"),
        (b"", 451, "is closed"),
        (b"<html>oops</html>", 503, "out of order"),
        (b"<html>oops</html>", 200, "broken JSON"),
        (b"", 200, "broken JSON"),
        ({"surprise": 1}, 200, "no list"),
    ],
)
def test_one_closed_subreddit_is_a_warning_and_the_others_go_on(
    body: object, status: int, says: str
) -> None:
    site = Site(r__open__new=[post(1, ago=5)], r__open__comments=[])
    place = {"location": "https://www.reddit.com/subreddits/search?q=shut"}
    failing = always(body, status, place)
    site.answers["r/shut/new"] = site.answers["r/shut/comments"] = failing
    pages, _ = collect(RedditNew(site.api(), ["shut", "open"]))
    assert ids(pages) == ["t3_p1"]
    told = warnings(pages)
    assert [line.partition(":")[0] for line in told] == ["r/shut/new", "r/shut/comments"]
    assert all(says in line for line in told)
    with pytest.raises((Closed, Transient), match=says):
        collect(RedditNew(site.api(), ["shut"]))


def test_an_outage_ends_a_run_early_and_loses_nothing() -> None:
    names = [f"sub{n}" for n in range(6)]
    site = Site()
    for name in names:
        for kind in ("new", "comments"):
            site.answers[f"r/{name}/{kind}"] = always(b"", 502)
    pages: list[Page] = []
    connector = RedditNew(site.api(), names)
    with pytest.raises(Transient, match="502"):
        pages.extend(connector.collect(None, None, budget=FREE, now=NOW))
    assert ids(pages) == []
    site.answers.clear()
    site.lists = {f"r/{name}/{kind}": [] for name in names for kind in ("new", "comments")}
    site.lists["r/sub0/new"] = [post(1, ago=86_400)]
    assert ids(collect(connector, pages[-1].cursor, now=NOW + timedelta(hours=1))[0]) == ["t3_p1"]


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"x-ratelimit-reset": "371.5"}, 371.5),
        ({"retry-after": "30", "x-ratelimit-reset": "400"}, 30),
        ({"retry-after": "Sun, 01 Mar 2026 12:02:00 GMT"}, 120),
        ({"x-ratelimit-reset": "2026-03-01T12:03:00Z"}, 180),
        ({"x-ratelimit-reset": "2026-03-01T14:03:00+02:00"}, 180),
        ({"x-ratelimit-reset": str(SECOND + 60)}, 60),
        ({"x-ratelimit-reset": "nan"}, 900),
        ({}, 900),
        ({"retry-after": "99999999"}, 86_400),
    ],
)
def test_a_rate_limit_says_when_to_try_again(headers: dict[str, str], wait: float) -> None:
    site = Site()
    site.answers["r/all/search"] = always({"message": "Too Many Requests"}, 429, headers)
    with pytest.raises(RetryAt) as error:
        collect(RedditSearch(site.api()))
    assert error.value.when == NOW + timedelta(seconds=wait)
    assert error.value.when.utcoffset() == timedelta(0)


def test_a_rate_limit_when_asking_for_the_token() -> None:
    site = Site()
    site.answers["api/v1/access_token"] = always(b"", 429, {"retry-after": "7"})
    with pytest.raises(RetryAt) as error:
        collect(RedditSearch(site.api()))
    assert error.value.when == NOW + timedelta(seconds=7)


def test_the_last_request_that_is_allowed_is_used_and_no_more() -> None:
    site = Site()
    site.answers["r/espresso/new"] = always(
        listing([post(1, ago=5)]),
        headers={
            "x-ratelimit-remaining": "0.0",
            "x-ratelimit-used": "100",
            "x-ratelimit-reset": "12.5",
        },
    )
    connector = RedditNew(site.api(), ["espresso"])
    pages: list[Page] = []
    with pytest.raises(RetryAt) as error:
        pages.extend(connector.collect(None, None, budget=FREE, now=NOW))
    assert ids(pages) == ["t3_p1"]
    assert error.value.when == NOW + timedelta(seconds=12.5)
    assert site.asked == []  # the comments were not asked for
    site.lists["r/espresso/comments"] = []
    assert collect(connector, pages[-1].cursor, now=NOW + timedelta(seconds=13))[0]


def test_a_token_that_ran_out_is_fetched_once_more() -> None:
    site = Site(r__all__search=[post(1, ago=5)])
    connector = RedditSearch(site.api())
    collect(connector)
    site.expired = 1
    assert ids(collect(connector)[0]) == ["t3_p1"]
    assert site.tokens == 2
    site.expired = 2
    with pytest.raises(NeedsAuth, match="client_id and client_secret"):
        collect(connector)
    assert site.tokens == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"message": "Unauthorized", "error": 401}, 401),
        ({"error": "invalid_grant"}, 200),
        ({"error": "unsupported_grant_type"}, 400),
    ],
)
def test_an_app_that_is_refused_needs_a_person(body: object, status: int) -> None:
    site = Site(r__all__search=[])
    site.answers["api/v1/access_token"] = always(body, status)
    with pytest.raises(NeedsAuth, match="check the variables") as error:
        collect(RedditSearch(site.api()))
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    ("body", "status"), [(b"<html>", 200), (b"", 200), ([], 200), ({"access_token": 5}, 200)]
)
def test_a_broken_answer_instead_of_a_token_passes(body: object, status: int) -> None:
    site = Site(r__all__search=[])
    site.answers["api/v1/access_token"] = always(body, status)
    with pytest.raises(Transient, match="token"):
        collect(RedditSearch(site.api()))


def test_a_blocked_client_is_told_what_to_change() -> None:
    site = Site()
    site.answers["r/all/search"] = always(b"<html>whoa there</html>", 403)
    with pytest.raises(NeedsAuth, match="user_agent"):
        collect(RedditSearch(site.api()))


def test_without_an_app_the_way_to_one_and_around_it_is_told() -> None:
    site = Site()
    connector = RedditSearch(site.api(client_id=""))
    for call in (lambda: collect(connector), lambda: connector.check(now=NOW)):
        with pytest.raises(NeedsAuth) as error:
            call()
        told = str(error.value)[:300]  # as much as a table shows
        for hint in ("approved app", "requests/new?", "[sources.reddit]", "import FILE.zst"):
            assert hint in told
    assert site.tokens == 0


def test_a_query_that_reddit_refuses_is_a_matter_of_settings() -> None:
    site = Site()
    site.answers["r/all/search"] = always({"message": "Bad Request", "error": 400}, 400)
    with pytest.raises(BadConfig, match="400"):
        collect(RedditSearch(site.api()))


@pytest.mark.parametrize("user_agent", ["", "short", "línea larga", "with a\nbreak", "x" * 300])
def test_a_user_agent_that_cannot_be_sent_is_refused(user_agent: str) -> None:
    with pytest.raises(BadConfig, match="user_agent"):
        RedditApi("me", "hush", user_agent)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "../x", "ñandú", "x" * 40])
def test_what_is_no_name_of_a_subreddit_is_refused(name: str) -> None:
    with pytest.raises(BadConfig, match="not the name of a subreddit"):
        RedditNew(Site().api(), [name])


def test_subreddits_and_queries_are_needed() -> None:
    with pytest.raises(BadConfig, match="no subreddits"):
        collect(RedditNew(Site().api()))
    with pytest.raises(BadConfig, match="with a query"):
        list(RedditSearch(Site().api()).collect(None, None, budget=FREE, now=NOW))


def test_check_tells_of_each_subreddit() -> None:
    site = Site(r__open__new=[post(1, ago=60)], r__all__new=[post(1, ago=60)], r__dull__new=[])
    assert RedditNew(site.api(), ["open", "shut", "dull"]).check(now=NOW) == (
        "reddit: r/open/new: newest of 2026-03-01 11:59 UTC; r/shut/new: does not exist or is "
        "closed (404); check its name; r/dull/new: newest of an unknown time"
    )
    with pytest.raises(Closed):
        RedditNew(site.api(), ["shut"]).check(now=NOW)
    assert RedditSearch(site.api()).check(now=NOW).endswith("newest post of 2026-03-01 11:59 UTC")


def test_a_cursor_of_another_shape_starts_anew() -> None:
    site = Site(r__all__search=[post(1, ago=5)])
    connector = RedditSearch(site.api())
    good = collect(connector)[0][-1].cursor
    assert good is not None
    key = next(iter(good["streams"]))
    odd: list[Cursor] = [
        {},
        {"streams": 5},
        {"streams": {key: {"since": "x"}}},
        {"streams": {key: []}},
        {"streams": {key: {"since": 5, "polled": 5, "walk": {"top": 5}}}},
    ]
    for cursor in odd:
        assert ids(collect(connector, cursor)[0]) == ["t3_p1"]


def tree_site() -> Site:
    site = Site()
    nested = comment("c2", 30, "t1_c1", replies=listing([comment("c3", 20, "t1_c2")]))
    top = comment("c1", 40, replies=listing([nested, more("t1_c1", "c4", "c5")]))
    site.answers["comments/p1"] = always(
        [listing([post(1, ago=60)]), listing([top, more("t3_p1", "c6")])]
    )
    site.answers["comments/p1/_/c5"] = always(
        [
            listing([post(1, ago=60)]),
            listing([comment("c5", 9, replies=listing([comment("c7", 8)]))]),
        ]
    )

    def children(params: Mapping[str, str]) -> httpx.Response:
        assert params["link_id"] == "t3_p1"
        things: list[dict[str, Any]] = [
            comment(short, 10, body="[deleted]" if short == "c6" else f"acme {short}")
            for short in params["children"].split(",")
        ]
        return reply({"json": {"errors": [], "data": {"things": [*things, more("t1_c5")]}}})

    site.answers["api/morechildren"] = children
    return site


def test_a_whole_conversation_is_read() -> None:
    pages = list(RedditSearch(tree_site().api()).thread(["t3_p1"], budget=FREE, now=NOW))
    found = ids(pages)
    assert found == ["t3_p1", "t1_c1", "t1_c2", "t1_c3", "t1_c4", "t1_c5", "t1_c7"]
    mentions = {one.native_id: one for page in pages for one in page.mentions}
    assert mentions["t1_c3"].parent_id == "t1_c2"
    assert {one.root_id for one in mentions.values()} == {None, "t3_p1"}
    updates = [update for page in pages for update in page.updates]
    assert [(one.native_id, one.kind, one.reason) for one in updates] == [
        ("t1_c6", "tombstone", "deleted")
    ]
    assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]
    assert sum(page.cost.requests for page in pages) == len(pages) + 1


def test_conversations_keep_to_the_budget_and_closed_ones_are_warnings() -> None:
    site = tree_site()
    connector = RedditNew(site.api(), ["espresso"])
    pages: list[Page] = []
    with pytest.raises(BudgetSpent, match="1 conversations"):
        pages.extend(connector.thread(["t3_p1"], budget=Budget(pages=2), now=NOW))
    assert len(pages) == 2
    pages = list(connector.thread(["t3_zz", "t1_c1", "t3_p1"], budget=FREE, now=NOW))
    assert "t1_c7" in ids(pages)
    assert ["does not exist" in line or "not the id" in line for line in warnings(pages[:2])] == [
        True,
        True,
    ]


def test_a_conversation_that_is_gone_is_buried_and_a_closed_one_is_not() -> None:
    site = Site()
    site.answers["comments/shut"] = always({"reason": "private", "error": 403}, 403)
    pages = list(RedditSearch(site.api()).thread(["t3_gone", "t3_shut"], budget=FREE, now=NOW))
    assert [(one.native_id, one.kind) for page in pages for one in page.updates] == [
        ("t3_gone", "tombstone")
    ]
    assert ["does not exist" in line for line in warnings(pages)] == [True, False]


def test_a_conversation_without_end_is_left() -> None:
    site = Site()
    numbers = iter(range(10_000))
    site.answers["comments/p1"] = always([listing([post(1, ago=9)]), listing([more("t3_p1", "a")])])
    site.answers["api/morechildren"] = lambda _: reply(
        {"json": {"data": {"things": [more("t3_p1", f"b{next(numbers)}")]}}}
    )
    pages = list(RedditSearch(site.api()).thread(["t3_p1"], budget=FREE, now=NOW))
    assert len(pages) == 50
    assert "read no further" in warnings(pages)[-1]


def test_a_very_deep_tree_is_walked_without_recursion() -> None:
    record = comment("c0", 1)
    for n in range(1, 5_000):
        record = comment(f"c{n}", 1, replies=listing([record]))
    found = [read_thing(one).fullname for one in walk_tree([record]) if not isinstance(one, More)]
    assert found == [f"t1_c{n}" for n in range(4_999, -1, -1)]


def test_known_posts_are_looked_at_again() -> None:
    site = Site()
    asked: list[list[str]] = []

    def info(params: Mapping[str, str]) -> httpx.Response:
        asked.append(params["id"].split(","))
        found = [
            post(1, ago=60, score=99),
            post(2, ago=60, edited=float(SECOND - 5), selftext="Better: acme &lt;3"),
            post(3, ago=60, selftext="[removed]"),
            post(4, ago=60, author="[deleted]"),
        ]
        return reply(listing([one for one in found if one["data"]["name"] in params["id"]]))

    site.answers["api/info"] = info
    wanted = [
        "t3_p1",
        "t3_p2",
        "t3_p3",
        "t3_p4",
        "t1_zz",
        "odd id",
        *(f"t1_{n}" for n in range(99)),
    ]
    pages = list(RedditSearch(site.api()).refresh(wanted, budget=FREE, now=NOW))
    assert [len(one) for one in asked] == [100, 4]
    updates = {(one.native_id, one.kind): one for page in pages for one in page.updates}
    assert updates["t3_p1", "metrics"].counts.likes == 99
    assert updates["t3_p2", "edit"].text == "Better: acme <3"
    assert updates["t3_p2", "edit"].at == NOW - timedelta(seconds=5)
    assert updates["t3_p3", "tombstone"].reason == "removed"
    assert updates["t3_p4", "tombstone"].reason == "author deleted"
    assert len(updates) == 5
    assert warnings(pages) == ["reddit: 96 posts were not found", "reddit: 4 posts were not found"]
    assert [page.cost.requests for page in pages] == [2, 1]  # one for the token
    cost = RedditSearch(site.api()).refresh_cost(104)
    assert (cost.requests, cost.micro_dollars) == (2, 0)
    with pytest.raises(BudgetSpent, match="4 posts"):
        list(RedditSearch(site.api()).refresh(wanted, budget=Budget(pages=1), now=NOW))


@contextmanager
def served(answers: Mapping[str, tuple[int, bytes, Mapping[str, str]]]) -> Iterator[str]:
    """A server on loopback that answers by path, whatever the method is."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body, headers = answers.get(urlsplit(self.path).path, (404, b"{}", {}))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - base class
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


Served = tuple[int, bytes, Mapping[str, str]]
TOKEN: Served = (200, b'{"access_token": "T", "expires_in": 3600, "scope": "*"}', {})


def test_it_runs_against_a_server_on_loopback() -> None:
    body = json.dumps(listing([post(1, ago=5)])).encode()
    limits = {"x-ratelimit-remaining": "99.0", "x-ratelimit-reset": "9.5"}
    answers: dict[str, Served] = {
        "/api/v1/access_token": TOKEN,
        "/r/all/search": (200, body, limits),
    }
    with served(answers) as url:
        connector = RedditSearch(RedditApi("me", "hush", base_url=url))
        assert ids(collect(connector)[0]) == ["t3_p1"]
        with pytest.raises(Closed):
            collect(RedditNew(RedditApi("me", base_url=url), ["nowhere"]))


def test_bodies_without_end_are_refused() -> None:
    answers: dict[str, Served] = {
        "/api/v1/access_token": TOKEN,
        "/r/all/search": (200, b" " * 100_000, {}),
    }
    with served(answers) as url:
        api = RedditApi("me", "hush", base_url=url, max_bytes=50_000)
        with pytest.raises(BadConfig, match="more than 50,000 bytes"):
            collect(RedditSearch(api))


def test_a_host_that_is_not_there_passes() -> None:
    with served({}) as url:
        pass
    with pytest.raises(Transient, match="cannot be reached"):
        collect(RedditSearch(RedditApi("me", "hush", base_url=url)))


def recorded() -> list[Path]:
    return sorted(PAYLOADS.glob("*.json"))


def things(body: object) -> Iterator[object]:
    """Every record in a recorded body, as collecting and reading a tree come by them."""
    for one in body if isinstance(body, list) else [body]:
        if found := listed(one):
            yield from walk_tree(found[0])


@pytest.mark.shared
def test_recorded_answers_map_or_raise_the_right_error() -> None:
    if not recorded():
        pytest.skip("the shared payloads are not here")
    mapped: Counter[str] = Counter()
    raised: dict[int, set[type[Exception]]] = {}
    for path in recorded():
        record = json.loads(path.read_bytes())
        body, status = record["body"], record["status"]
        for thing in things(body):
            if isinstance(thing, More):
                mapped["more"] += 1
                continue
            try:
                mention, _ = to_mention(read_thing(thing), "reddit", NOW)
            except OddRecord as odd:
                mapped[odd.reason] += 1
            else:
                mapped["mentions"] += 1
                assert mention.text or mention.title
                json.dumps(mention.raw, allow_nan=False)
        raw = body["_raw"].encode() if isinstance(body, dict) and "_raw" in body else None
        site = Site()
        # The recorded lengths and codings are those of other bytes.
        headers = {name.lower(): value for name, value in record["headers"].items()}
        for name in ("content-length", "content-encoding", "transfer-encoding"):
            headers.pop(name, None)
        content = json.dumps(body).encode() if raw is None else raw
        site.answers["r/espresso/new"] = always(content, status, headers)
        try:
            site.api().get("r/espresso/new", {"limit": 100}, now=NOW)
        except ConnectorError as error:
            raised.setdefault(status, set()).add(type(error))
    assert mapped["mentions"] > 3_000
    assert raised.pop(401) == {NeedsAuth}
    assert raised.pop(404) == {Gone}
    assert raised.pop(301) == {Closed}
    assert raised.pop(403) == {Closed}
    assert all(raised.pop(status) == {BadConfig} for status in (400, 413, 414, 415))
    assert raised.keys() == {200, 205, 500, 502, 503, 504, 522}
    assert all(issubclass(kind, Transient) for kinds in raised.values() for kind in kinds)
