import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Answer, Loopback, loopback
from test_connectors_youtube import spoiled

from connectors.base import (
    BadConfig,
    Budget,
    BudgetSpent,
    Compiles,
    Connector,
    ConnectorError,
    Cost,
    Cursor,
    Mention,
    NeedsAuth,
    Page,
    Query,
    ReadsThreads,
    Refreshes,
    RetryAt,
    Transient,
)
from connectors.discourse import Discourse
from connectors.discourse_api import Closed, DiscourseApi, Forum, explained
from connectors.discourse_map import Topic, map_payload, map_posts, to_mention
from connectors.discourse_query import compile_query
from connectors.mapping import OddRecord
from listener.config import parse
from listener.config_errors import ConfigError
from listener.sources import build

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
QUERY = Query(name="Acme", kind="brand", any_of=("Acme",))
FREE = Budget()
URL = "https://forum.example"
FORUM = Forum(url=URL)
TOPIC = Topic(root="1001", title="Which one?")
PAYLOADS = Path(__file__).parents[2] / "shared" / "data" / "payloads" / "discourse"


def post(number: int, ago: float, topic: int = 1, **fields: Any) -> dict[str, Any]:
    """Post `number` of a topic, written `ago` minutes before NOW; its id is topic * 1000 + it."""
    time = (NOW - timedelta(minutes=ago)).isoformat()
    return {
        "id": topic * 1000 + number,
        "name": "Ana",
        "username": "ana",
        "user_id": 9,
        "created_at": time,
        "updated_at": time,
        "cooked": f"<p>I like Acme {topic}/{number}</p>",
        "post_number": number,
        "post_type": 1,
        "reply_count": 2,
        "reply_to_post_number": None,
        "topic_id": topic,
        "version": 1,
        "actions_summary": [{"id": 2, "count": 3}],
        "hidden": False,
        "deleted_at": None,
        "user_deleted": False,
        **fields,
    }


class Site:
    """A forum as a transport: the newest post of each topic that holds a word, pages, topics."""

    def __init__(self, *posts: dict[str, Any], size: int = 50) -> None:
        self.posts = [*posts]
        self.size = size
        self.refused: dict[str, httpx.Response] = {}
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.headers: list[Mapping[str, str]] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        path, params = request.url.path.strip("/"), dict(request.url.params)
        self.asked.append((path, params))
        self.headers.append(dict(request.headers))
        for name in (f"{request.url.host}/{path}", request.url.host, path):
            if name in self.refused:
                return self.refused[name]
        body = self.answer(path, request.url.params)
        return httpx.Response(404 if body is None else 200, content=json.dumps(body))

    def answer(self, path: str, params: httpx.QueryParams) -> Any:
        if path == "search.json":
            return self.search(params)
        if path == "latest.json":
            return {"topic_list": {"topics": []}}
        if match := re.fullmatch(r"posts/(\d+)\.json", path):
            return next((one for one in self.posts if one["id"] == int(match[1])), None)
        match = re.fullmatch(r"t/(\d+)/(\w+)\.json", path)
        assert match
        mine = sorted(
            (one for one in self.posts if one.get("topic_id") == int(match[1])),
            key=lambda one: one["post_number"],
        )
        if not mine:
            return None
        if match[2] == "posts":
            wanted = {int(one) for one in params.get_list("post_ids[]")}
            return {"post_stream": {"posts": [one for one in mine if one["id"] in wanted]}}
        near = int(match[2])
        before = [one for one in mine if one["post_number"] < near][-5:]
        after = [one for one in mine if one["post_number"] >= near]
        return {
            "id": int(match[1]),
            "title": f"Topic {match[1]}",
            "views": 40,
            "posts_count": len(mine),
            "post_stream": {
                "posts": (before + after)[:20],
                "stream": [one["id"] for one in mine],
            },
        }

    def search(self, params: httpx.QueryParams) -> dict[str, Any]:
        words = params["q"].split()
        after = next(word[6:] for word in words if word.startswith("after:"))
        before = next((word[7:] for word in words if word.startswith("before:")), "9999")
        assert "order:latest" in words
        term = params["q"].partition(" order:")[0].strip('"').lower()
        newest: dict[int, dict[str, Any]] = {}
        for one in sorted(self.posts, key=lambda one: one["created_at"]):
            if term in one["cooked"].lower() and after < one["created_at"][:10] < before:
                newest[one["topic_id"]] = one
        found = sorted(newest.values(), key=lambda one: one["created_at"], reverse=True)
        page = int(params["page"])
        assert page <= 10
        start = (page - 1) * self.size
        names = ("id", "topic_id", "post_number", "created_at", "username")
        hits = [
            {**{name: one[name] for name in names}, "blurb": one["cooked"][:9]}
            for one in found[start : start + self.size]
        ]
        more = True if start + self.size < len(found) else None
        return {"posts": hits, "grouped_search_result": {"more_full_page_results": more}}

    def api(self) -> DiscourseApi:
        transport = httpx.MockTransport(self.handle)
        return DiscourseApi(transport=transport, retries=1, wait=lambda _: None)

    def connector(self, *forums: Forum, **options: Any) -> Discourse:
        return Discourse(self.api(), forums or (FORUM,), **options)


@dataclass
class ContractCase:
    connector: Connector
    query: Query | None
    now: datetime
    expected_ids: set[str]


def make_contract_case() -> ContractCase:
    """Two terms in one forum, a second forum for members only, an odd post and a hidden one."""
    site = Site(*(post(1, ago=n, topic=n) for n in range(1, 6)), size=2)
    site.posts += [post(2, 0.5, cooked="<p>apex</p>"), post(3, 0.4, hidden=True)]
    site.posts += [post(1, 9, topic=8, created_at="soon"), post(1, 60 * 24 * 40, topic=9)]
    login = {"errors": ["x"], "error_type": "not_logged_in"}
    site.refused["members.example"] = httpx.Response(403, json=login)
    connector = site.connector(FORUM, Forum(url="https://members.example"))
    expected = {f"forum.example/{n}001" for n in range(1, 6)} | {"forum.example/1002"}
    query = replace(QUERY, any_of=("Acme", "Apex"))
    return ContractCase(connector, query, NOW, expected)


def collect(
    connector: Discourse,
    cursor: Cursor | None = None,
    *,
    query: Query = QUERY,
    budget: Budget = FREE,
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


def ids(pages: Sequence[Page]) -> list[str]:
    """Ids without the forum."""
    return [one.native_id.rpartition("/")[2] for page in pages for one in page.mentions]


def warnings(pages: Sequence[Page]) -> str:
    return "; ".join(warning for page in pages for warning in page.warnings)


def mapped(record: object, topic: Topic = TOPIC) -> Mention:
    (mention,) = map_posts([record], FORUM, "discourse", topic).mentions
    return mention


# ---- queries -----------------------------------------------------------------------------------


def test_each_term_is_a_search() -> None:
    query = replace(QUERY, any_of=("Acme", "acme press", "@acme", 'a"b c'), none_of=("free",))
    compiled = compile_query(query)
    assert set(compiled.searches) == {
        "Acme order:latest",
        '"acme press" order:latest',
        "acme order:latest",
        '"a b c" order:latest',
    }
    (excluded,) = [one for one in compiled.clauses if one.part == "none_of"]
    assert excluded.syntax is None


def test_words_are_stemmed_by_the_site_and_names_are_phrases() -> None:
    query = Query(name="x", kind="category", any_of=("cafetera italiana",), langs=("es",))
    assert compile_query(query).searches == ("cafetera italiana order:latest",)
    brand = replace(query, kind="brand")
    assert compile_query(brand).searches == ('"cafetera italiana" order:latest',)
    assert compile_query(replace(brand, any_of=("x",))).searches == ('"x" order:latest',)


def test_all_of_is_asked_and_categories_are_searches_of_their_own() -> None:
    query = replace(QUERY, all_of=("Apex 2",))
    assert compile_query(query, ("gear", "talk")).searches == (
        'Acme "Apex 2" order:latest category:gear',
        'Acme "Apex 2" order:latest category:talk',
    )


@pytest.mark.parametrize(("terms", "why"), [(("@",), "no terms"), (("x" * 500,), "too long")])
def test_a_query_that_cannot_be_asked_is_a_matter_of_configuration(
    terms: tuple[str, ...], why: str
) -> None:
    with pytest.raises(BadConfig, match=why):
        compile_query(replace(QUERY, any_of=terms))


def test_compile_tells_the_searches_of_all_forums() -> None:
    connector = Site().connector(FORUM, Forum(url="https://b.example", categories=("gear",)))
    assert isinstance(connector, Compiles)
    assert connector.compile(QUERY).searches == (
        "Acme order:latest",
        "Acme order:latest category:gear",
    )


# ---- mapping -----------------------------------------------------------------------------------


def test_a_first_post_becomes_a_mention() -> None:
    mention = mapped(post(1, 5), Topic(root="1001", title="Which one?", views=40, posts=9))
    assert (mention.source, mention.native_id) == ("discourse", "forum.example/1001")
    assert (mention.title, mention.text) == ("Which one?", "I like Acme 1/1")
    assert mention.url == "https://forum.example/t/1/1"
    assert (mention.parent_id, mention.root_id) == (None, None)
    assert (mention.counts.likes, mention.counts.replies, mention.counts.views) == (3, 8, 40)
    assert mention.author is not None
    assert (mention.author.native_id, mention.author.handle) == ("forum.example/9", "ana")
    assert mention.raw is not None
    assert not {"cooked", "username", "name"} & mention.raw.keys()
    assert mention.raw["forum"] == "forum.example"


def test_an_answer_names_what_it_answers() -> None:
    records = [post(1, 9), post(2, 8), post(3, 7, reply_to_post_number=2)]
    records.append(post(4, 6, reply_to_post_number=77))
    first, second, third, fourth = map_posts(records, FORUM, "discourse").mentions
    assert (second.parent_id, second.root_id, second.title) == (first.native_id,) * 2 + (None,)
    assert (third.parent_id, third.root_id) == (second.native_id, first.native_id)
    # A post outside of what was read: who is answered is not known.
    assert (fourth.parent_id, fourth.root_id) == (None, first.native_id)


def test_what_others_wrote_is_not_the_text() -> None:
    cooked = (
        '<aside class="quote" data-username="ben"><blockquote><p>hate it</p></blockquote></aside>'
        "<p>I &amp; love<br>it \U0001f468\u200d\U0001f469\u200d\U0001f467</p>"
    )
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert mapped(post(2, 1, cooked=cooked)).text == f"I & love\nit {family}"
    raw = '[quote="ben, post:1"]\nhate it\n[/quote]\nlove it'
    assert mapped(post(2, 1, cooked=None, raw=raw)).text == "love it"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"hidden": True}, "deleted or hidden"),
        ({"user_deleted": True}, "deleted or hidden"),
        ({"deleted_at": "2026-01-01"}, "deleted or hidden"),
        ({"post_type": 3}, "a notice"),
        ({"created_at": None}, "without a date"),
        ({"cooked": "<p></p>"}, "without text"),
        ({"cooked": None, "raw": [{"a": 1}]}, "without text"),
        ({"id": None}, "no post"),
        ({"id": "x"}, "no post"),
    ],
)
def test_an_odd_post_is_skipped_with_its_reason(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(OddRecord, match=why):
        to_mention(post(2, 1, **fields), FORUM, "discourse", Topic(), {})
    body = {"post_stream": {"posts": [post(2, 1, **fields), post(3, 1)]}}
    (skipped,) = map_payload(body).skipped
    assert why in skipped


def test_an_author_may_be_gone() -> None:
    assert mapped(post(2, 1, username=None)).author is None


def test_forums_never_share_an_id() -> None:
    forums = [
        Forum(url=url)
        for url in (
            "https://a.example/",
            "https://a.example/forum",
            "https://a.example:8443",
            "https://b.example",
        )
    ]
    found = {map_posts([post(1, 1)], one, "discourse").mentions[0].native_id for one in forums}
    assert found == {
        "a.example/1001",
        "a.example/forum/1001",
        "a.example:8443/1001",
        "b.example/1001",
    }
    for wrong in ("ftp://a.example", "a.example", "https://[", "https://a:x"):
        with pytest.raises(BadConfig):
            Forum(url=wrong)
    with pytest.raises(BadConfig, match="slug"):
        Forum(url=URL, categories=("a b",))


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "key", "expected"),
    [
        (403, "not_logged_in", "", NeedsAuth),
        (403, "invalid_access", "k", NeedsAuth),
        (403, "invalid_access", "", Closed),
        (401, "", "", NeedsAuth),
        (404, "not_found", "", Closed),
        (410, "not_found", "", Closed),
        (429, "", "", RetryAt),
        (422, "rate_limit", "", RetryAt),
        (409, "", "", Transient),
        (400, "invalid_parameters", "", BadConfig),
        (400, "<b>", "", BadConfig),
    ],
)
def test_a_refusal_is_classed_by_its_type(
    status: int, kind: str, key: str, expected: type[ConnectorError]
) -> None:
    forum = Forum(url=URL, api_key=key)
    error = explained(forum, status, {}, {"error_type": kind, "errors": ["secret"]}, NOW)
    assert type(error) is expected
    assert "secret" not in str(error)
    assert "<b>" not in str(error)


@pytest.mark.parametrize(
    ("headers", "extras", "seconds"),
    [
        ({}, {"wait_seconds": 25}, 25),
        ({"retry-after": "40"}, {"wait_seconds": 25}, 40),
        ({}, {"wait_seconds": 10**9}, 86_400),
        ({}, {"wait_seconds": "soon"}, 900),
        ({}, None, 900),
    ],
)
def test_the_time_to_wait_is_read(headers: dict[str, str], extras: object, seconds: int) -> None:
    error = explained(FORUM, 429, headers, {"extras": extras}, NOW)
    assert isinstance(error, RetryAt)
    assert error.when == NOW + timedelta(seconds=seconds)


def test_a_key_goes_to_its_own_forum_only() -> None:
    site = Site(post(1, 1))
    secret = Forum(url="https://a.example", api_key="hush", api_username="bot")
    collect(site.connector(secret, Forum(url="https://b.example")))
    keys = {one["host"]: (one.get("api-key"), one.get("api-username")) for one in site.headers}
    assert keys == {"a.example": ("hush", "bot"), "b.example": (None, None)}
    assert "hush" not in repr(secret)
    with pytest.raises(BadConfig, match="plain"):
        Forum(url=URL, api_key="a\nb")


def test_a_forum_that_asks_to_wait_stops_no_other_and_is_left_alone() -> None:
    site = Site(post(1, 1))
    site.refused["busy.example"] = httpx.Response(429, json={"extras": {"wait_seconds": 3600}})
    forums = (Forum(url="https://busy.example"), FORUM)
    pages, _ = collect(site.connector(*forums))
    assert ids(pages) == ["1001"]
    assert "next try at 2026-03-01 13:00:00" in warnings(pages)
    del site.refused["busy.example"]
    before = len(site.asked)
    # Another process: the time is in the cursor.
    soon, _ = collect(site.connector(*forums), pages[-1].cursor, now=NOW + timedelta(minutes=30))
    assert not any(one["host"] == "busy.example" for one in site.headers[before:])
    assert "asked to wait" in warnings(soon)
    later, _ = collect(site.connector(*forums), soon[-1].cursor, now=NOW + timedelta(hours=2))
    assert any(one.native_id == "busy.example/1001" for page in later for one in page.mentions)


def test_when_all_forums_wait_the_nearest_time_is_told() -> None:
    site = Site()
    for host, seconds in (("a.example", 500), ("b.example", 90)):
        site.refused[host] = httpx.Response(429, json={"extras": {"wait_seconds": seconds}})
    forums = (Forum(url="https://a.example"), Forum(url="https://b.example"))
    with pytest.raises(RetryAt) as error:
        collect(site.connector(*forums))
    assert error.value.when == NOW + timedelta(seconds=90)


def test_a_refused_forum_is_asked_once_for_all_terms() -> None:
    site = Site()
    site.refused["search.json"] = httpx.Response(403, json={"error_type": "not_logged_in"})
    with pytest.raises(NeedsAuth, match="members only"):
        collect(site.connector(), query=replace(QUERY, any_of=("a1", "b2", "c3")))
    assert len(site.asked) == 1


# ---- searching ---------------------------------------------------------------------------------


def test_whole_posts_are_read_not_their_beginnings() -> None:
    site = Site(post(1, 3), post(2, 2, cooked="<p>yes</p>"), post(3, 1))
    pages, _ = collect(site.connector())
    assert [path for path, _ in site.asked] == ["search.json", "t/1/3.json"]
    assert Counter(ids(pages)) == Counter(["1001", "1002", "1003"])
    assert pages[1].mentions[0].text == "I like Acme 1/1"
    assert pages[1].mentions[0].title == "Topic 1"
    assert site.asked[0][1] == {"q": "Acme order:latest after:2026-02-21", "page": "1"}
    assert sum(page.cost.requests for page in pages) == 2


def test_earlier_posts_of_a_long_topic_are_read_back_to_the_last_time() -> None:
    posts = [post(n, ago=200 - n) for n in range(1, 120)]
    site = Site(*posts, post(1, 60 * 24 * 30, topic=2), post(2, 1, topic=2))
    pages, _ = collect(site.connector())
    assert Counter(ids(pages)) == Counter([*(str(one["id"]) for one in posts), "2002"])
    assert not any("later" in warning for page in pages for warning in page.warnings)


def test_a_topic_without_end_is_cut_with_a_warning() -> None:
    site = Site(*(post(n, ago=2000 - n) for n in range(1, 600)))
    pages, _ = collect(site.connector())
    assert "too long" in warnings(pages)
    assert 150 < len(ids(pages)) < 300


def test_a_later_run_reads_topics_with_new_posts_only() -> None:
    site = Site(*(post(1, 10 * n, topic=n) for n in range(1, 9)))
    connector = site.connector()
    pages, _ = collect(connector)
    assert len(ids(pages)) == 8
    before = len(site.asked)
    again, _ = collect(connector, pages[-1].cursor, now=NOW + timedelta(minutes=5))
    assert [path for path, _ in site.asked[before:]] == ["search.json"]
    assert ids(again) == []
    site.posts.append(post(2, -6, topic=3))
    third, _ = collect(connector, again[-1].cursor, now=NOW + timedelta(minutes=9))
    assert [path for path, _ in site.asked[before + 1 :]] == ["search.json", "t/3/2.json"]
    assert "3002" in ids(third)


def test_topics_found_before_are_no_sign_of_a_search_that_repeats() -> None:
    site = Site(*(post(1, n, topic=n) for n in range(1, 8)), size=3)
    connector = site.connector()
    pages, _ = collect(connector, budget=Budget(pages=2))
    # The rest of the first walk, and then a second one, which finds the same topics again.
    rest, _ = collect(connector, pages[-1].cursor, now=NOW + timedelta(hours=1))
    assert warnings(rest) == ""
    assert set(ids(pages)) | set(ids(rest)) == {f"{n}001" for n in range(1, 8)}


def test_more_than_ten_pages_are_read_by_date() -> None:
    site = Site(*(post(1, 60 * n, topic=n) for n in range(1, 100)), size=3)
    pages, spent = collect(site.connector(max_pages=500))
    assert not spent
    assert len(set(ids(pages))) == 99
    assert any("before:2026-02" in params.get("q", "") for _, params in site.asked)


def test_a_day_that_is_too_full_leaves_a_gap() -> None:
    site = Site(*(post(1, n, topic=n) for n in range(1, 100)), size=3)
    pages, _ = collect(site.connector(max_pages=500))
    assert "more topics in a day" in warnings(pages)
    assert len(set(ids(pages))) == 30
    (gap,) = [gap for page in pages for gap in page.gaps]
    assert gap == (NOW - timedelta(days=7), NOW - timedelta(minutes=30))


def test_a_small_budget_comes_to_the_end() -> None:
    site = Site(*(post(1, n, topic=n) for n in range(1, 8)), size=3)
    connector = site.connector()
    cursor: Cursor | None = None
    found: list[str] = []
    for _ in range(30):
        pages, spent = collect(connector, cursor, budget=Budget(pages=1))
        found += ids(pages)
        if not spent:
            break
        cursor = pages[-1].cursor
    assert Counter(found) == Counter(f"{n}001" for n in range(1, 8))
    pages, spent = collect(site.connector(), budget=Budget(mentions=2))
    assert (len(ids(pages)), spent) == (2, True)


def test_topics_that_are_gone_stop_nothing() -> None:
    site = Site(post(1, 1), post(1, 2, topic=2))
    site.refused["t/1/1.json"] = httpx.Response(404, json={"error_type": "not_found"})
    pages, _ = collect(site.connector())
    assert ids(pages) == ["2001"]
    assert "gone or not public" in warnings(pages)


def test_an_edit_comes_with_the_post() -> None:
    changed = NOW - timedelta(minutes=1)
    site = Site(post(1, 5, version=2, updated_at=changed.isoformat()))
    pages, _ = collect(site.connector())
    (edit,) = [update for page in pages for update in page.updates]
    assert (edit.native_id, edit.kind, edit.at) == ("forum.example/1001", "edit", changed)


def test_without_a_query_or_forum_it_says_so() -> None:
    with pytest.raises(BadConfig, match="query"):
        list(Site().connector().collect(None, None, budget=FREE, now=NOW))
    with pytest.raises(BadConfig, match="no forums"):
        collect(Discourse(Site().api(), ()))


def test_check_tells_which_forums_fail() -> None:
    site = Site()
    site.refused["a.example"] = httpx.Response(404)
    line = site.connector(Forum(url="https://a.example"), FORUM).check(now=NOW)
    assert "1 of 2 forums answer" in line
    assert "a.example" in line
    site.refused["latest.json"] = httpx.Response(200, json={"x": 1})
    with pytest.raises(BadConfig, match="like Discourse"):
        site.connector().check(now=NOW)


# ---- faults, on a real server ------------------------------------------------------------------


@pytest.fixture
def web() -> Iterator[Loopback]:
    with loopback() as site:
        yield site


def through(web: Loopback, **options: Any) -> Discourse:
    api = DiscourseApi(allow_private=True, retries=1, wait=lambda _: None)
    return Discourse(api, [Forum(url=web.url)], **options)


def answer(body: object, status: int = 200, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, content, headers)


def hits(*posts: dict[str, Any], more: object = None) -> Answer:
    return answer({"posts": posts, "grouped_search_result": {"more_full_page_results": more}})


@pytest.mark.parametrize(
    "bad",
    [
        answer(b""),
        answer(b"<html>"),
        answer(b"{"),
        answer([]),
        answer({"x": 1}),
        answer({}, 502),
        answer({}, 409),
        answer({"posts": [], "grouped_search_result": {"error": "too busy"}}),
    ],
)
def test_a_passing_fault_is_one(web: Loopback, bad: Answer) -> None:
    web.route("/search.json", bad)
    with pytest.raises(Transient):
        collect(through(web))


def test_a_search_that_repeats_itself_ends(web: Loopback) -> None:
    web.route("/search.json", hits(post(1, 1), more=True))
    web.route("/t/1/1.json", answer({"post_stream": {"posts": [post(1, 1)]}}))
    pages, _ = collect(through(web))
    assert ids(pages) == ["1001"]
    assert "repeats itself" in warnings(pages)
    assert len(web.seen) == 3


def test_an_empty_page_that_promises_more_is_the_end(web: Loopback) -> None:
    web.route("/search.json", hits(more=True))
    assert collect(through(web)) != ([], False)
    assert len(web.seen) == 1


def test_any_order_and_repeats_lose_and_double_nothing(web: Loopback) -> None:
    posts = {n: post(1, 10 * n, topic=n) for n in range(1, 6)}
    odd: Any = {"id": "x"}
    web.route(
        "/search.json",
        [
            hits(posts[3], posts[1], posts[1], odd, more=True),
            hits(posts[5], posts[3], more=True),
            hits(posts[2], posts[4]),
        ],
    )
    for n, one in posts.items():
        web.route(f"/t/{n}/1.json", answer({"post_stream": {"posts": [one, "odd"]}}))
    pages, _ = collect(through(web))
    assert Counter(ids(pages)) == Counter(f"{n}001" for n in posts)
    assert "without id, topic or date (1)" in warnings(pages)
    assert "no post (1)" in warnings(pages)


def test_a_page_to_log_in_needs_a_key(web: Loopback) -> None:
    web.route("/search.json", answer(b"", 302, Location="/login"))
    web.route("/login", answer(b"<html>"))
    with pytest.raises(NeedsAuth, match="members only"):
        collect(through(web))


def test_private_addresses_are_refused_unless_allowed(web: Loopback) -> None:
    web.route("/search.json", hits())
    refused = Discourse(DiscourseApi(wait=lambda _: None), [Forum(url=web.url)])
    with pytest.raises(BadConfig, match="private address"):
        collect(refused)
    assert web.seen == []
    collect(through(web))
    assert len(web.seen) == 1


def test_nothing_of_a_post_or_key_reaches_the_log(
    caplog: pytest.LogCaptureFixture, web: Loopback
) -> None:
    web.route("/search.json", hits(post(1, 1), post(1, 2, topic=2)))
    web.route("/t/1/1.json", answer({"post_stream": {"posts": [post(1, 1), post(2, 1, id="x")]}}))
    api = DiscourseApi(allow_private=True, retries=0, wait=lambda _: None)
    forum = Forum(url=web.url, api_key="hush")
    with caplog.at_level(logging.DEBUG, logger="connectors"):
        pages, _ = collect(Discourse(api, [forum]))
    told = caplog.text + warnings(pages)
    assert "1 found" in told or "2 found" in told
    assert not [word for word in ("I like Acme", "ana", "hush", "?q=") if word in told]


NAMES = [
    *("posts", "id", "topic_id", "post_number", "created_at", "cooked", "raw", "username"),
    *("post_stream", "stream", "grouped_search_result", "more_full_page_results", "latest_posts"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_no_answer_whatever_breaks_the_mapping(body: Any) -> None:
    for mention in map_payload(body).mentions:
        json.dumps(mention.raw, allow_nan=False)


@settings(max_examples=80, deadline=None)
@given(JSON, JSON)
def test_no_answer_whatever_breaks_a_run(found: Any, topic: Any) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        body = {"posts": [found, post(1, 1)]} if "search" in request.url.path else topic
        return httpx.Response(200, content=json.dumps(body))

    api = DiscourseApi(transport=httpx.MockTransport(handle), retries=0, wait=lambda _: None)
    connector = Discourse(api, [FORUM])
    with suppress(ConnectorError):
        for page in connector.collect(QUERY, None, budget=FREE, now=NOW):
            json.dumps(page.cursor, allow_nan=False)
    for ask in (connector.thread, connector.refresh):
        with suppress(ConnectorError):
            list(ask(["forum.example/1001"], budget=FREE, now=NOW))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**20), JSON)
def test_no_cursor_whatever_breaks_a_run(place: int, by: object) -> None:
    site = Site(*(post(n, 200 - n) for n in range(1, 60)), post(1, 5, topic=2))
    pages, _ = collect(site.connector(), budget=Budget(pages=3))
    cursor = spoiled(pages[-1].cursor, place, by)
    with suppress(ConnectorError):
        collect(site.connector(), cursor)


def test_the_configuration_makes_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORUM_KEY", "hush")
    text = """
        [brand]
        name = "Lumora"
        [sources.discourse]
        enabled = true
        [[sources.discourse.forums]]
        url = "https://a.example"
        api_key = { env = "FORUM_KEY" }
        categories = ["gear"]
        [[sources.discourse.forums]]
        url = "https://b.example/forum"
    """
    (source,), failed = build(parse(text, file="config.toml"))
    assert (source.name, source.connector.source, failed) == ("discourse", "discourse", [])
    assert isinstance(source.connector, Discourse)
    assert source.connector.compile(QUERY).searches == (
        "Acme order:latest category:gear",
        "Acme order:latest",
    )
    with pytest.raises(ConfigError, match="is empty"):
        parse(text.partition("[[")[0], file="config.toml")


# ---- known posts -------------------------------------------------------------------------------


def test_refresh_tells_figures_edits_and_removals() -> None:
    edited = post(2, 60, version=3, updated_at=(NOW - timedelta(minutes=2)).isoformat())
    site = Site(post(1, 1), edited, post(3, 1, user_deleted=True), post(4, 1, hidden=True))
    site.refused["posts/1006.json"] = httpx.Response(403, json={"error_type": "invalid_access"})
    connector = site.connector()
    assert isinstance(connector, Refreshes)
    assert connector.refresh_cost(7) == Cost(requests=7)
    asked = [f"forum.example/100{n}" for n in range(1, 7)] + ["other.example/1001", "1001", "x/y"]
    (page,) = connector.refresh(asked, budget=FREE, now=NOW)
    assert [(one.native_id[-4:], one.kind, one.reason) for one in page.updates] == [
        ("1001", "metrics", None),
        ("1002", "metrics", None),
        ("1002", "edit", None),
        ("1003", "tombstone", "deleted at the source"),
        ("1004", "tombstone", "hidden by the forum"),
        ("1005", "tombstone", "deleted at the source"),
        ("1006", "tombstone", "no longer public"),
    ]
    assert page.cost == Cost(requests=6)
    assert page.updates[0].counts.likes == 3


def test_a_closed_forum_or_refused_key_removes_nothing() -> None:
    for forum, kind in ((FORUM, "not_logged_in"), (Forum(url=URL, api_key="k"), "invalid_access")):
        site = Site(post(1, 1))
        site.refused["posts/1001.json"] = httpx.Response(403, json={"error_type": kind})
        pages: list[Page] = []
        with pytest.raises(NeedsAuth):
            pages.extend(
                site.connector(forum).refresh(["forum.example/1001"], budget=FREE, now=NOW)
            )
        assert [one for page in pages for one in page.updates] == []


def test_a_forum_that_fails_leaves_the_others_their_news() -> None:
    site = Site(post(1, 1))
    site.refused["a.example"] = httpx.Response(500)
    connector = site.connector(Forum(url="https://a.example"), FORUM)
    pages: list[Page] = []
    asked = ["a.example/1001", "a.example/1002", "forum.example/1001"]
    with pytest.raises(Transient):
        pages.extend(connector.refresh(asked, budget=FREE, now=NOW))
    assert [one.native_id for page in pages for one in page.updates] == ["forum.example/1001"]
    assert len([one for one in site.headers if one["host"] == "a.example"]) == 2  # with one retry


def test_another_post_than_asked_for_is_no_news() -> None:
    site = Site(post(1, 1))
    site.refused["posts/1002.json"] = httpx.Response(200, json=post(1, 1))
    with pytest.raises(Transient, match="another post"):
        list(site.connector().refresh(["forum.example/1002"], budget=FREE, now=NOW))


def test_a_topic_is_read_whole() -> None:
    posts = [post(n, ago=90_000 - n) for n in range(1, 50)]
    posts[3] |= {"user_deleted": True}
    posts[30] |= {"reply_to_post_number": 2}
    connector = Site(*posts).connector()
    assert isinstance(connector, ReadsThreads)
    pages = [*connector.thread(["forum.example/1001", "forum.example/7"], budget=FREE, now=NOW)]
    assert Counter(ids(pages)) == Counter(str(1000 + n) for n in range(1, 50) if n != 4)
    gone = [(one.native_id, one.kind) for page in pages for one in page.updates]
    assert gone == [("forum.example/1004", "tombstone"), ("forum.example/7", "tombstone")]
    answered = next(one for page in pages for one in page.mentions if one.native_id[-4:] == "1031")
    assert (answered.parent_id, answered.root_id) == ("forum.example/1002", "forum.example/1001")
    assert [page.more for page in pages] == [True, True, False, False]
    with pytest.raises(BudgetSpent, match="2 topics"):
        list(
            connector.thread(
                ["forum.example/1001", "forum.example/7"], budget=Budget(pages=1), now=NOW
            )
        )


# ---- recorded answers --------------------------------------------------------------------------

REAL = sorted(PAYLOADS.glob("*.json"))


@pytest.mark.shared
def test_recorded_answers_map() -> None:
    if not REAL:
        pytest.skip("the shared folder of recorded answers is absent")
    found = {path.stem: map_payload(json.loads(path.read_bytes())) for path in REAL}
    assert {name: (len(one.mentions), Counter(one.skipped)) for name, one in found.items()} == {
        "discourse_api__hot": (0, {"a topic without its posts": 3}),
        "discourse_api__latest": (0, {"a topic without its posts": 3}),
        "discourse_api__new": (0, {"a topic without its posts": 3}),
        "discourse_api__notifications": (0, {"no post": 1}),
        "discourse_api__posts_before": (3, {}),
        "discourse_api__posts_latest": (4, {}),
        "discourse_api__topic_posts": (1, {}),
    }
    (odd,) = found["discourse_api__topic_posts"].mentions
    assert (odd.text, odd.counts.likes) == ("Some text.", 3)
    assert odd.published_at == datetime(2020, 1, 27, 11, 32, 3, 646000, UTC)
