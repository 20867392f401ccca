"""No answers of the feed are recorded; these are written after what public clients of it read."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Answer, Loopback, loopback
from test_connectors_youtube import spoiled

from connectors.appstore import AppStore, map_payload, read_app, read_country, to_mention
from connectors.base import (
    BadConfig,
    Budget,
    BudgetSpent,
    Connector,
    ConnectorError,
    Cost,
    Cursor,
    Page,
    Query,
    RetryAt,
    Transient,
)
from connectors.http import Http
from connectors.mapping import OddRecord
from listener.config import parse
from listener.config_errors import ConfigError
from listener.sources import build

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FREE = Budget()
APP, KEY = "1234567890", "us/1234567890"


def review(number: int, ago: float, **fields: Any) -> dict[str, Any]:
    """A review as the feed gives one, written `ago` hours before NOW."""
    time = (NOW - timedelta(hours=ago)).astimezone(UTC).isoformat()
    labels = {
        "updated": time,
        "im:rating": "4",
        "im:version": "3.4.3",
        "im:voteSum": "2",
        "im:voteCount": "5",
        "id": str(number),
        "title": "Good, but…",
        "content": f"It crashes {number}",
        **fields,
    }
    entry: dict[str, Any] = {
        name: {"label": label} for name, label in labels.items() if label is not None
    }
    entry["author"] = {
        "name": {"label": "Ana"},
        "uri": {"label": f"https://itunes.apple.com/us/reviews/id77{number}"},
        "label": "",
    }
    return entry


THE_APP = {"im:name": {"label": "Acme"}, "id": {"label": "https://apps.apple.com/app/id1"}}


def feed(entries: object = None) -> dict[str, Any]:
    return {"feed": {"author": {}, **({} if entries is None else {"entry": entries})}}


class Site:
    """Feeds by country and app as a transport, newest first, ten pages at most."""

    def __init__(self, size: int = 50, **feeds: list[dict[str, Any]]) -> None:
        self.size = size
        self.feeds = {f"{country}/{APP}": reviews for country, reviews in feeds.items()}
        self.status: dict[str, int] = {}
        self.asked: list[str] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        country, _, _, page, app, _, form = request.url.path.strip("/").split("/")
        assert form == "json"
        key, number = f"{country}/{app.removeprefix('id=')}", int(page.removeprefix("page="))
        self.asked.append(f"{key} {number}")
        if key in self.status:
            return httpx.Response(self.status[key])
        assert number <= 10
        reviews = sorted(self.feeds[key], key=lambda one: one["updated"]["label"], reverse=True)
        start = (number - 1) * self.size
        return httpx.Response(200, json=feed(reviews[start : start + self.size] or None))

    def connector(self, *countries: str, **options: Any) -> AppStore:
        http = Http(httpx.MockTransport(self.handle), retries=1, wait=lambda _: None)
        return AppStore(http, [APP], countries or ("us",), **options)


@dataclass
class ContractCase:
    connector: Connector
    query: Query | None
    now: datetime
    expected_ids: set[str]


def make_contract_case() -> ContractCase:
    """Two countries, several pages, the app itself, an odd review, an old one, and no app."""
    site = Site(
        size=3,
        us=[review(n, ago=n) for n in range(1, 8)] + [review(99, 24 * 60)],
        es=[review(50, 1), review(51, 2, content=None, title=None)],
    )
    site.status[f"zz/{APP}"] = 404
    expected = {str(n) for n in (*range(1, 8), 50)}
    return ContractCase(site.connector("us", "es", "zz"), None, NOW, expected)


def collect(
    connector: AppStore,
    cursor: Cursor | None = None,
    *,
    budget: Budget = FREE,
    now: datetime = NOW,
) -> tuple[list[Page], bool]:
    """The pages of one call and whether its budget was spent; cursors go through JSON."""
    pages: list[Page] = []
    try:
        for page in connector.collect(None, cursor, budget=budget, now=now):
            pages.append(replace(page, cursor=json.loads(json.dumps(page.cursor))))
    except BudgetSpent:
        return pages, True
    return pages, False


def ids(pages: Sequence[Page]) -> list[str]:
    return [mention.native_id for page in pages for mention in page.mentions]


def warnings(pages: Sequence[Page]) -> str:
    return "; ".join(warning for page in pages for warning in page.warnings)


# ---- mapping -----------------------------------------------------------------------------------


def test_a_review_becomes_a_mention() -> None:
    mention = to_mention(review(7, 3), KEY, "appstore", NOW)
    assert (mention.source, mention.native_id) == ("appstore", "7")
    # The stars are not put into what people wrote.
    assert (mention.title, mention.text) == ("Good, but…", "It crashes 7")
    assert mention.raw == {
        "app": APP,
        "country": "us",
        "rating": 4,
        "version": "3.4.3",
        "voteCount": 5,
        "voteSum": 2,
        "updated": "2026-03-01T09:00:00+00:00",
    }
    assert mention.published_at == NOW - timedelta(hours=3)
    assert mention.url == f"https://apps.apple.com/us/app/id{APP}?see-all=reviews"
    assert mention.author is not None
    assert (mention.author.native_id, mention.author.name) == ("777", "Ana")
    assert (mention.lang, mention.parent_id, mention.counts.likes) == (None, None, 2)


def test_zones_are_converted_and_missing_dates_are_told_of() -> None:
    zoned = to_mention(review(1, 1, updated="2026-02-28T20:00:00-07:00"), KEY, "appstore", NOW)
    assert zoned.published_at == datetime(2026, 3, 1, 3, tzinfo=UTC)
    mapped = map_payload(feed([review(1, 1, updated=None), review(2, 1)]), now=NOW)
    assert mapped.mentions[0].published_at == NOW
    (note,) = mapped.notes
    assert "without a readable date" in note


@pytest.mark.parametrize(
    "author", [None, "Ana", {}, {"uri": {"label": "x"}}, {"name": {"label": "Ana"}}]
)
def test_an_author_may_be_missing(author: object) -> None:
    assert to_mention({**review(1, 1), "author": author}, KEY, "appstore", NOW).author is None


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (THE_APP, "the app itself"),
        ({}, "without a rating"),
        ("text", "not an object"),
        (review(1, 1, id=None), "without an id"),
        (review(1, 1, content=" ", title=None), "without text"),
        (review(1, 1, content=7, title={}), "without text"),
    ],
)
def test_other_entries_are_skipped_with_their_reason(entry: Any, why: str) -> None:
    with pytest.raises(OddRecord, match=why):
        to_mention(entry, KEY, "appstore", NOW)
    assert map_payload(feed([entry, review(2, 1)]), now=NOW).skipped == (why,)


def test_one_review_stands_without_a_list() -> None:
    assert len(map_payload(feed(review(1, 1)), now=NOW).mentions) == 1
    assert map_payload(feed(), now=NOW).mentions == ()
    assert map_payload(feed(THE_APP), now=NOW).skipped == ("the app itself",)


def test_apps_and_countries_are_read_from_what_people_write() -> None:
    for name in (APP, f"id{APP}", f"https://apps.apple.com/us/app/acme/id{APP}?mt=8"):
        assert read_app(name) == APP
    assert read_country(" ES ") == "es"
    for wrong in ("", "acme", "https://apps.apple.com/us/app/acme", "1"):
        with pytest.raises(BadConfig, match="no app"):
            read_app(wrong)
    for wrong in ("", "esp", "e/", "../"):
        with pytest.raises(BadConfig, match="no country"):
            read_country(wrong)


# ---- reading -----------------------------------------------------------------------------------


def test_all_pages_of_a_first_run_and_only_the_first_later() -> None:
    site = Site(us=[review(n, ago=n) for n in range(1, 121)])
    connector = site.connector()
    pages, _ = collect(connector)
    assert Counter(ids(pages)) == Counter(map(str, range(1, 121)))
    assert [page.cost for page in pages] == [Cost(requests=1)] * 4
    before = len(site.asked)
    again, _ = collect(connector, pages[-1].cursor, now=NOW + timedelta(hours=1))
    assert site.asked[before:] == [f"{KEY} 1"]
    site.feeds[KEY].append(review(500, -0.5))
    third, _ = collect(connector, again[-1].cursor, now=NOW + timedelta(hours=2))
    assert "500" in ids(third)
    assert site.asked[before + 1 :] == [f"{KEY} 1", f"{KEY} 2"]


def test_old_reviews_are_left_out() -> None:
    site = Site(us=[review(n, ago=24 * n) for n in range(1, 201)])
    pages, _ = collect(site.connector())
    assert set(ids(pages)) == {str(n) for n in range(1, 31)}
    assert len(site.asked) == 2
    pages, _ = collect(site.connector(), budget=Budget(since=NOW - timedelta(days=3)))
    assert set(ids(pages)) == {"1", "2", "3"}


def test_reviews_without_dates_are_read_once_more_only_until_known() -> None:
    site = Site(us=[review(n, n) for n in range(1, 61)])

    def undated(request: httpx.Request) -> httpx.Response:
        body = json.loads(site.handle(request).content)
        for entry in body["feed"].get("entry", ()):
            del entry["updated"]
        return httpx.Response(200, json=body)

    connector = AppStore(Http(httpx.MockTransport(undated)), [APP])
    pages, _ = collect(connector)
    assert len(set(ids(pages))) == 60
    assert "without a readable date" in warnings(pages)
    before = len(site.asked)
    collect(connector, pages[-1].cursor, now=NOW + timedelta(hours=1))
    assert len(site.asked) == before + 1


def test_more_new_reviews_than_apple_gives_leave_a_gap() -> None:
    site = Site(size=5, us=[review(1, 100)])
    connector = site.connector()
    pages, _ = collect(connector)
    site.feeds[KEY] += [review(100 + n, 80 - n) for n in range(70)]
    again, _ = collect(connector, pages[-1].cursor, now=NOW + timedelta(minutes=1))
    assert len(ids(again)) == 50
    assert "more new reviews" in warnings(again)
    assert again[-1].gaps == ((NOW - timedelta(hours=100), NOW - timedelta(hours=60)),)


def test_a_small_budget_comes_to_the_end() -> None:
    site = Site(size=3, us=[review(n, n) for n in range(1, 9)], es=[review(50, 1)])
    connector = site.connector("us", "es")
    cursor: Cursor | None = None
    found: list[str] = []
    for _ in range(20):
        pages, spent = collect(connector, cursor, budget=Budget(pages=1))
        found += ids(pages)
        if not spent:
            break
        cursor = pages[-1].cursor
    assert set(found) == {*map(str, range(1, 9)), "50"}
    pages, spent = collect(connector, budget=Budget(mentions=2))
    assert (len(ids(pages)), spent) == (3, True)


def test_every_review_is_kept_unless_it_is_not_wanted() -> None:
    assert Site().connector().capabilities().prefiltered
    assert not Site().connector(keep_all=False).capabilities().prefiltered


def test_a_country_that_fails_stops_no_other() -> None:
    site = Site(us=[review(1, 1)], es=[], fr=[review(2, 2)])
    site.status[f"zz/{APP}"] = 400
    site.status[f"fr/{APP}"] = 403
    pages, _ = collect(site.connector("zz", "es", "fr", "us"))
    assert ids(pages) == ["1"]
    told = warnings(pages)
    assert "refuses the request (400)" in told
    assert "gave no reviews" in told
    assert "refuses app fr/" in told


@pytest.mark.parametrize(
    ("status", "kind"), [(403, Transient), (401, Transient), (503, Transient), (404, BadConfig)]
)
def test_the_first_error_is_raised_when_all_fail(status: int, kind: type[ConnectorError]) -> None:
    site = Site()
    site.status[KEY] = status
    with pytest.raises(kind):
        collect(site.connector())
    with pytest.raises(kind):
        site.connector().check(now=NOW)


def test_check_tells_how_many_feeds_answer() -> None:
    site = Site(us=[review(1, 1)])
    site.status[f"zz/{APP}"] = 404
    assert "1 of 2 feeds answer; itunes" in site.connector("us", "zz").check(now=NOW)
    with pytest.raises(BadConfig, match="no apps"):
        AppStore(Http(), []).check(now=NOW)


# ---- faults, on a real server ------------------------------------------------------------------


@pytest.fixture
def web() -> Iterator[Loopback]:
    with loopback() as site:
        yield site


def through(web: Loopback) -> AppStore:
    http = Http(allow_private=True, retries=1, wait=lambda _: None)
    return AppStore(http, [APP], base_url=web.url)


def path(page: int) -> str:
    return f"/us/rss/customerreviews/page={page}/id={APP}/sortby=mostrecent/json"


def answer(body: object, status: int = 200, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, content, headers)


@pytest.mark.parametrize(
    "bad",
    [
        answer(b""),
        answer(b"<html>"),
        answer(b"{"),
        answer([]),
        answer({"feed": []}),
        answer(feed()),
        answer(feed([])),
        answer({}, 403),
        answer({}, 500),
    ],
)
def test_a_passing_fault_is_one(web: Loopback, bad: Answer) -> None:
    web.route(path(1), bad)
    with pytest.raises(Transient):
        collect(through(web))


def test_a_limit_with_a_time_is_kept(web: Loopback) -> None:
    web.route(path(1), answer({}, 429, **{"Retry-After": "90"}))
    with pytest.raises(RetryAt) as error:
        collect(through(web))
    assert error.value.when == NOW + timedelta(seconds=90)


def test_pages_that_repeat_end(web: Loopback) -> None:
    same = answer(feed([review(1, 1), review(2, 2)]))
    for number in range(1, 11):
        web.route(path(number), same)
    pages, _ = collect(through(web))
    assert Counter(ids(pages)) == Counter(["1", "2"])
    assert len(web.seen) == 2


def test_any_order_loses_and_doubles_nothing(web: Loopback) -> None:
    web.route(path(1), answer(feed([THE_APP, review(3, 3), review(1, 1)])))
    web.route(path(2), answer(feed([review(1, 1), review(4, 4), "odd"])))
    web.route(path(3), answer(feed(review(2, 2))))
    web.route(path(4), answer(feed()))
    pages, _ = collect(through(web))
    assert Counter(ids(pages)) == Counter("3142")
    assert warnings(pages) == f"appstore, {KEY}: skipped, not an object (1)"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["label", "id", "im:rating", "title", "content", "updated", "author"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_no_entry_whatever_breaks_the_mapping(entry: Any) -> None:
    if isinstance(entry, dict):
        entry |= {"im:rating": entry.get("im:rating"), "id": {"label": "7"}}
    for mention in map_payload(feed([entry]), now=NOW).mentions:
        json.dumps(mention.raw, allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**20), JSON)
def test_no_cursor_whatever_breaks_a_run(place: int, by: object) -> None:
    site = Site(size=3, us=[review(n, n) for n in range(1, 9)])
    pages, _ = collect(site.connector(), budget=Budget(pages=2))
    cursor = spoiled(pages[-1].cursor, place, by)
    with suppress(ConnectorError):
        collect(site.connector(), cursor)


def test_the_configuration_makes_the_source() -> None:
    text = """
        [brand]
        name = "Lumora"
        [sources.appstore]
        enabled = true
        apps = ["id1234567890"]
        countries = ["ES", "us"]
    """
    (source,), failed = build(parse(text, file="config.toml"))
    assert (source.name, source.connector.source, failed) == ("appstore", "appstore", [])
    assert source.connector.capabilities().prefiltered
    with pytest.raises(ConfigError, match="is empty"):
        parse(text.replace('"id1234567890"', ""), file="config.toml")
    (told,) = build(parse(text.replace("ES", "Spain"), file="config.toml"))[1]
    assert "no country" in (told.error or "")
