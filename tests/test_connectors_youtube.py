import gzip
import json
import logging
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
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
    ConnectorError,
    Cost,
    Cursor,
    NeedsAuth,
    Page,
    Query,
    ReadsThreads,
    Refreshes,
    RetryAt,
    Transient,
)
from connectors.mapping import OddRecord
from connectors.youtube import YouTube
from connectors.youtube_api import (
    BadToken,
    Closed,
    Forbidden,
    Missing,
    YouTubeApi,
    error_status,
    explained,
    next_reset,
)
from connectors.youtube_map import (
    map_payload,
    map_thread,
    read_channel,
    read_thread,
    read_video,
    to_mention,
)
from listener.config import parse
from listener.config_errors import ConfigError
from listener.sources import build

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FREE = Budget()
KEY = "s3cret-key"
VIDEO, OTHER, THIRD = "aaaaaaaaaaa", "bbbbbbbbbbb", "ccccccccccc"
CHANNEL = "UC" + "c" * 22
PAYLOADS = Path(__file__).parents[2] / "shared" / "data" / "payloads" / "youtube"
PATH = "/youtube/v3/"


def comment(native_id: str, ago: float, text: str = "I like Acme", **fields: Any) -> dict[str, Any]:
    """A comment as the API gives one, written `ago` minutes before NOW."""
    time = (NOW - timedelta(minutes=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    snippet = {
        "authorDisplayName": "@ana",
        "authorChannelId": {"value": "UCana"},
        "textDisplay": text,
        "textOriginal": text,
        "viewerRating": "none",
        "likeCount": 3,
        "publishedAt": time,
        "updatedAt": time,
        "channelId": CHANNEL,
    }
    return {"kind": "youtube#comment", "id": native_id, "snippet": {**snippet, **fields}}


def thread(
    native_id: str, ago: float, replies: int = 0, video: str = VIDEO, **fields: Any
) -> dict[str, Any]:
    return {
        "id": native_id,
        "snippet": {
            "videoId": video,
            "topLevelComment": comment(native_id, ago, **{"videoId": video, **fields}),
            "totalReplyCount": replies,
        },
    }


def answers(native_id: str, number: int, ago: float = 0) -> list[dict[str, Any]]:
    return [comment(f"{native_id}.{n}", ago + n / 10, parentId=native_id) for n in range(number)]


def refusal(status: int, reason: str, **error: Any) -> httpx.Response:
    body = {"error": {"code": status, "errors": [{"reason": reason}], **error}}
    return httpx.Response(status, json=body)


class Site:
    """The API as a transport: threads by video or channel, newest first, and their answers."""

    def __init__(self, threads: Sequence[dict[str, Any]] = (), **replies: list[Any]) -> None:
        self.threads = [*threads]
        self.replies: dict[str, list[dict[str, Any]]] = {**replies}
        self.handles: dict[str, str] = {}
        self.refused: dict[str, Callable[[], httpx.Response]] = {}
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.headers: list[Mapping[str, str]] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        path, params = request.url.path.removeprefix(PATH), dict(request.url.params)
        self.asked.append((path, params))
        self.headers.append(dict(request.headers))
        if not re.fullmatch(r"t[0-9]{1,9}", params.get("pageToken", "t0")):
            return refusal(400, "invalidPageToken")
        for value in (path, *params.values()):
            if value in self.refused:
                return self.refused[value]()
        return httpx.Response(200, content=json.dumps(self.answer(path, params)))

    def answer(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        if path == "channels":
            wanted = params.get("forHandle")
            found = self.handles.get(wanted or "", None if wanted else params["id"])
            return {"kind": "list", "items": [{"id": found}]} if found else {"kind": "list"}
        if path == "videos":
            known = {one["snippet"]["videoId"] for one in self.threads}
            return {"items": [{"id": one} for one in params["id"].split(",") if one in known]}
        if path == "comments" and "id" in params:
            everything = [one["snippet"]["topLevelComment"] for one in self.threads]
            everything += [one for some in self.replies.values() for one in some]
            wanted_ids = params["id"].split(",")
            return {"items": [one for one in everything if one["id"] in wanted_ids]}
        if path == "comments":
            return self.page(self.replies.get(params["parentId"], []), params)
        if "id" in params:
            return {"items": [self.whole(one) for one in self.threads if one["id"] == params["id"]]}
        wanted = params.get("videoId")
        found = [
            self.whole(one) for one in self.threads if wanted in (None, one["snippet"]["videoId"])
        ]
        found.sort(key=lambda one: one["snippet"]["topLevelComment"]["snippet"]["publishedAt"])
        return self.page(found[::-1], params)

    def whole(self, one: dict[str, Any]) -> dict[str, Any]:
        replies = self.replies.get(one["id"], [])
        count = max(one["snippet"]["totalReplyCount"], len(replies))
        given = {**one, "snippet": {**one["snippet"], "totalReplyCount": count}}
        return {**given, "replies": {"comments": replies[:2]}} if replies else given

    def page(self, items: list[dict[str, Any]], params: Mapping[str, str]) -> dict[str, Any]:
        start, size = int(params.get("pageToken", "t0")[1:]), int(params["maxResults"])
        body: dict[str, Any] = {"kind": "list", "items": items[start : start + size]}
        if start + size < len(items):
            body["nextPageToken"] = f"t{start + size}"
        return body

    def api(self, **options: Any) -> YouTubeApi:
        transport = httpx.MockTransport(self.handle)
        return YouTubeApi(
            **{"key": KEY, **options}, transport=transport, retries=1, wait=lambda _: None
        )

    def connector(self, **options: Any) -> YouTube:
        return YouTube(self.api(), **{"videos": [VIDEO], **options})


@dataclass
class ContractCase:
    connector: Connector
    query: Query | None
    now: datetime
    expected_ids: set[str]


def make_contract_case() -> ContractCase:
    """A channel by its handle and a video, with answers, an odd record and a closed video."""
    site = Site([thread(f"T{n}", ago=n) for n in range(7)], T2=answers("T2", 5))
    site.threads += [thread("T20", ago=3, video=OTHER), thread("old", ago=60 * 24 * 30)]
    site.threads.append(thread("odd", ago=2, textOriginal=None, textDisplay=None))
    site.handles["@acme"] = CHANNEL
    site.refused[THIRD] = lambda: refusal(403, "commentsDisabled")
    connector = YouTube(site.api(), ["@acme"], [THIRD, OTHER], page_size=3)
    expected = {f"T{n}" for n in (*range(7), 20)} | {f"T2.{n}" for n in range(5)}
    return ContractCase(connector, None, NOW, expected)


def collect(
    connector: YouTube,
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


def test_a_thread_becomes_mentions() -> None:
    record = thread("T1", ago=5, replies=7, textDisplay="<b>no</b>")
    record["replies"] = {"comments": answers("T1", 1)}
    top, reply = map_thread(read_thread(record), "youtube").mentions
    assert (top.source, top.native_id, top.text) == ("youtube", "T1", "I like Acme")
    assert top.url == f"https://www.youtube.com/watch?v={VIDEO}&lc=T1"
    assert top.published_at == NOW - timedelta(minutes=5)
    assert (top.counts.likes, top.counts.replies) == (3, 7)
    assert (top.parent_id, top.root_id, top.title) == (None, None, None)
    assert top.author is not None
    assert (top.author.native_id, top.author.handle) == ("UCana", "@ana")
    assert top.raw is not None
    assert top.raw.keys() == {"video_id", "channel_id", "updated_at"}
    assert (reply.parent_id, reply.root_id, reply.counts.replies) == ("T1", "T1", None)
    assert reply.url == f"https://www.youtube.com/watch?v={VIDEO}&lc=T1.0"


def test_what_is_shown_is_html_where_the_original_is_missing() -> None:
    record = comment("c", 1, textDisplay="a &amp; b<br>c", textOriginal=None)
    assert to_mention(record, "youtube").text == "a & b\nc"
    record = comment("c", 1, textOriginal="a <b> & \ud800")
    assert to_mention(record, "youtube").text == "a <b> & \ufffd"


@pytest.mark.parametrize("channel", [None, {}, {"value": ""}, "UC", []])
def test_an_author_may_be_gone(channel: object) -> None:
    assert to_mention(comment("c", 1, authorChannelId=channel), "youtube").author is None


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (None, "no comment"),
        ("text", "no comment"),
        ({"snippet": []}, "no comment"),
        (comment("", 1), "without an id"),
        (comment("a b", 1), "without an id"),
        (comment("c", 1, publishedAt="soon"), "without a date"),
        (comment("c", 1, textOriginal=" ", textDisplay=None), "without text"),
        (comment("c", 1, textOriginal=7, textDisplay={}), "without text"),
    ],
)
def test_an_odd_comment_is_skipped_with_its_reason(record: object, why: str) -> None:
    with pytest.raises(OddRecord, match=why):
        to_mention(record, "youtube")
    assert map_payload({"items": [record, comment("ok", 1)]}).skipped == (why,)


def test_channels_and_videos_are_read_from_what_people_write() -> None:
    for name in ("@Acme", " @acme ", "https://www.youtube.com/@ACME/videos", "youtube.com/@acme"):
        assert read_channel(name) == "@acme"
    assert read_channel(f"https://www.youtube.com/channel/{CHANNEL}") == CHANNEL
    for name in (
        VIDEO,
        f"https://youtu.be/{VIDEO}?t=4",
        f"https://www.youtube.com/watch?t=4&v={VIDEO}",
        f"https://m.youtube.com/shorts/{VIDEO}",
    ):
        assert read_video(name) == VIDEO
    for wrong in ("", "acme", "https://evil.example/@acme", "https://[", "https://youtu.be/"):
        with pytest.raises(BadConfig):
            read_channel(wrong)
        with pytest.raises(BadConfig):
            read_video(wrong)


# ---- refusals and quota ------------------------------------------------------------------------


def test_quota_begins_anew_at_midnight_in_california() -> None:
    assert next_reset(NOW) == datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
    # Clocks go forward on 8 March 2026 at 2:00 and back on 1 November.
    assert next_reset(datetime(2026, 3, 8, 9, 0, tzinfo=UTC)) == datetime(
        2026, 3, 9, 7, 0, tzinfo=UTC
    )
    assert next_reset(datetime(2026, 11, 1, 8, 30, tzinfo=UTC)) == datetime(
        2026, 11, 2, 8, 0, tzinfo=UTC
    )
    assert next_reset(datetime(2026, 3, 1, 7, 59, tzinfo=UTC)) == datetime(
        2026, 3, 1, 8, 0, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (403, "quotaExceeded", RetryAt),
        (403, "dailyLimitExceeded", RetryAt),
        (403, "rateLimitExceeded", RetryAt),
        (429, "", RetryAt),
        (403, "commentsDisabled", Closed),
        (404, "videoNotFound", Closed),
        (404, "channelNotFound", Closed),
        (404, "commentNotFound", Missing),
        (403, "forbidden", Forbidden),
        (403, "accessNotConfigured", NeedsAuth),
        (403, "ipRefererBlocked", NeedsAuth),
        (400, "keyInvalid", NeedsAuth),
        (401, "authError", NeedsAuth),
        (400, "processingFailure", Transient),
        (400, "invalidPageToken", BadToken),
        (400, "invalidFilters", BadConfig),
        (418, "", BadConfig),
    ],
)
def test_a_refusal_is_classed_by_its_reason(
    status: int, reason: str, kind: type[ConnectorError]
) -> None:
    problem = {"error": {"errors": [{"reason": reason, "message": "<b>secret</b>"}]}}
    error = explained(status, {}, problem, NOW)
    assert isinstance(error, kind)
    assert "secret" not in str(error)
    if reason in ("quotaExceeded", "dailyLimitExceeded"):
        assert isinstance(error, RetryAt)
        assert error.when == next_reset(NOW)
    elif isinstance(error, RetryAt):
        assert error.when == NOW + timedelta(minutes=2)


def test_newer_refusals_are_classed_by_their_details() -> None:
    invalid = {"error": {"errors": [{"reason": "badRequest"}]}}
    invalid["error"]["details"] = [{"reason": "API_KEY_INVALID"}]  # type: ignore[assignment] # JSON
    assert isinstance(explained(400, {}, invalid, NOW), NeedsAuth)
    limit = {"quota_limit": "defaultPerDayPerProject"}
    day = {"error": {"details": [{"reason": "RATE_LIMIT_EXCEEDED", "metadata": limit}]}}
    error = explained(429, {"retry-after": "30"}, day, NOW)
    assert isinstance(error, RetryAt)
    assert error.when == next_reset(NOW)
    soon = explained(429, {"retry-after": "30"}, {}, NOW)
    assert isinstance(soon, RetryAt)
    assert soon.when == NOW + timedelta(seconds=30)


def test_the_key_travels_in_a_header_only() -> None:
    site = Site([thread("T1", 1)])
    collect(site.connector())
    assert site.headers[0]["x-goog-api-key"] == KEY
    assert KEY not in json.dumps([params for _, params in site.asked])


def test_without_a_key_nothing_is_asked() -> None:
    site = Site()
    connector = YouTube(site.api(key=""), videos=[VIDEO])
    with pytest.raises(NeedsAuth, match="api_key"):
        collect(connector)
    with pytest.raises(BadConfig, match="blanks"):
        site.api(key="a b")
    assert site.asked == []


def test_units_are_counted_over_runs_and_capped_for_a_day() -> None:
    site = Site([thread(f"T{n}", n) for n in range(10)])

    def connector() -> YouTube:
        return YouTube(site.api(daily_units=3), videos=[VIDEO], page_size=2)

    pages, spent = collect(connector(), budget=Budget(pages=2))
    assert spent
    assert [page.cost for page in pages] == [Cost(requests=1, resources=1)] * 2
    cursor = pages[-1].cursor
    assert cursor is not None
    assert cursor["quota"] == {"day": "2026-03-01", "units": 2}
    rest: list[Page] = []
    with pytest.raises(RetryAt) as error:
        rest.extend(connector().collect(None, cursor, budget=FREE, now=NOW))
    assert error.value.when == next_reset(NOW)
    assert len(site.asked) == 3
    # The day in California is over; what was not read is.
    tomorrow = next_reset(NOW)
    with pytest.raises(RetryAt):
        rest.extend(connector().collect(None, cursor, budget=FREE, now=tomorrow))
    assert set(ids(pages + rest)) == {f"T{n}" for n in range(10)}


def test_spent_quota_ends_the_run_until_midnight() -> None:
    site = Site([thread("T1", 1)])
    site.refused[OTHER] = lambda: refusal(403, "quotaExceeded")
    connector = YouTube(site.api(), videos=[VIDEO, OTHER, THIRD])
    pages: list[Page] = []
    with pytest.raises(RetryAt) as error:
        pages.extend(connector.collect(None, None, budget=FREE, now=NOW))
    assert error.value.when == next_reset(NOW)
    assert len(site.asked) == 2


# ---- walking -----------------------------------------------------------------------------------


def test_videos_that_cannot_be_read_stop_no_other() -> None:
    site = Site([thread("T1", 1, video=THIRD)])
    site.refused[VIDEO] = lambda: refusal(403, "commentsDisabled")
    site.refused[OTHER] = lambda: refusal(404, "videoNotFound")
    pages, _ = collect(site.connector(videos=[VIDEO, OTHER, THIRD]))
    assert ids(pages) == ["T1"]
    assert "switched off" in warnings(pages)
    assert "does not exist" in warnings(pages)
    assert sum(page.cost.resources for page in pages) == 3


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [(403, "commentsDisabled", Closed), (403, "forbidden", NeedsAuth), (500, "x", Transient)],
)
def test_the_first_error_is_raised_when_all_fail(
    status: int, reason: str, kind: type[ConnectorError]
) -> None:
    site = Site()
    site.refused["commentThreads"] = lambda: refusal(status, reason)
    with pytest.raises(kind):
        collect(site.connector(videos=[VIDEO, OTHER]))


def test_a_later_run_reads_down_to_what_is_known() -> None:
    site = Site([thread(f"T{n}", ago=60 * n) for n in range(100)])
    connector = site.connector(page_size=10, look_back=timedelta(0))
    pages, _ = collect(connector)
    assert set(ids(pages)) == {f"T{n}" for n in range(100)}
    site.threads.append(thread("new", ago=-60))
    before = len(site.asked)
    again, _ = collect(connector, pages[-1].cursor, now=NOW + timedelta(hours=1))
    assert set(ids(again)) == {"new", "T0", "T1", "T2"}
    assert len(site.asked) - before == 2


def test_new_answers_to_old_comments_are_read_within_the_look_back() -> None:
    site = Site([thread(f"T{n}", ago=60 * 24 * n) for n in range(1, 7)], T3=answers("T3", 1))
    connector = site.connector()
    pages, _ = collect(connector)
    assert set(ids(pages)) == {f"T{n}" for n in range(1, 7)} | {"T3.0"}
    later = NOW + timedelta(hours=5)
    quiet, _ = collect(connector, pages[-1].cursor, now=later)
    assert set(ids(quiet)) == {"T1"}
    site.replies["T3"] = answers("T3", 5)
    again, _ = collect(connector, quiet[-1].cursor, now=later + timedelta(hours=5))
    assert set(ids(again)) == {"T1", "T3", *(f"T3.{n}" for n in range(5))}
    assert collect(connector, again[-1].cursor, now=later + timedelta(hours=9))[0][0].returned == 6


def test_known_pages_are_bounded() -> None:
    site = Site([thread(f"T{n}", ago=n) for n in range(100)])
    connector = site.connector(page_size=5, overlap=timedelta(0))
    pages, _ = collect(connector)
    site.threads.append(thread("new", ago=-1))
    again, _ = collect(connector, pages[-1].cursor, now=NOW + timedelta(minutes=2))
    # The first page has something new, five more are read for answers.
    assert len(again) == 6


def test_answers_that_do_not_come_with_a_thread_are_fetched() -> None:
    site = Site([thread("T1", ago=5)], T1=answers("T1", 250))
    pages, _ = collect(site.connector())
    assert Counter(ids(pages)) == Counter(["T1", *(f"T1.{n}" for n in range(250))])
    assert [path for path, _ in site.asked] == ["commentThreads", *["comments"] * 3]
    assert all(one.url for page in pages for one in page.mentions)


def test_an_interrupted_walk_goes_on_with_answers_too() -> None:
    site = Site(
        [thread(f"T{n}", ago=n) for n in range(5)], T1=answers("T1", 9), T4=answers("T4", 9)
    )
    connector = site.connector(page_size=3)
    cursor: Cursor | None = None
    found: list[str] = []
    for _ in range(20):
        pages, spent = collect(connector, cursor, budget=Budget(pages=1))
        found += ids(pages)
        if not spent:
            break
        cursor = pages[-1].cursor
    assert set(found) == {f"T{n}" for n in range(5)} | {
        f"T{t}.{n}" for t in (1, 4) for n in range(9)
    }


def test_answers_read_before_are_no_sign_of_a_list_without_end() -> None:
    site = Site([thread("T1", ago=5)], T1=answers("T1", 250))
    connector = site.connector()
    pages, _ = collect(connector, budget=Budget(pages=2))
    site.replies["T1"] = answers("T1", 260)
    # The rest of the first walk, and then a second one, which meets the same answers again.
    rest, _ = collect(connector, pages[-1].cursor, now=NOW + timedelta(hours=1))
    assert warnings(rest) == ""
    assert set(ids(pages)) | set(ids(rest)) == {"T1", *(f"T1.{n}" for n in range(260))}


@pytest.mark.parametrize("most", [1, 2, 4, 7])
def test_the_budget_of_mentions_is_kept(most: int) -> None:
    site = Site([thread(f"T{n}", ago=n) for n in range(5)], T0=answers("T0", 6))
    connector = site.connector()
    pages, spent = collect(connector, budget=Budget(mentions=most))
    assert (len(ids(pages)), spent) == (most, True)
    rest, spent = collect(connector, pages[-1].cursor)
    assert not spent
    everything = {f"T{n}" for n in range(5)} | {f"T0.{n}" for n in range(6)}
    assert set(ids(pages)) | set(ids(rest)) == everything


def test_a_first_run_looks_back_to_the_date_of_the_budget() -> None:
    site = Site([thread(f"T{n}", ago=60 * 24 * n) for n in range(20)])
    pages, _ = collect(site.connector())
    assert set(ids(pages)) == {f"T{n}" for n in range(8)}
    pages, _ = collect(site.connector(), budget=Budget(since=NOW - timedelta(days=3)))
    assert set(ids(pages)) == {f"T{n}" for n in range(4)}


def test_max_pages_bounds_each_video_and_the_next_run_goes_on() -> None:
    site = Site([thread(f"T{n}", ago=n) for n in range(10)] + [thread("U", 1, video=OTHER)])
    connector = site.connector(videos=[VIDEO, OTHER], page_size=2, max_pages=2)
    pages, spent = collect(connector)
    assert spent
    assert set(ids(pages)) == {"T0", "T1", "T2", "T3", "U"}
    rest, spent = collect(connector, pages[-1].cursor)
    assert set(ids(rest)) >= {"T4", "T5", "T6", "T7"}


def test_a_handle_is_looked_up_once() -> None:
    site = Site([thread("T1", 1)])
    site.handles["@acme"] = CHANNEL
    connector = YouTube(site.api(), ["@Acme"])
    pages, _ = collect(connector)
    assert ids(pages) == ["T1"]
    assert pages[0].cost == Cost(requests=2, resources=2)
    assert site.asked[1][1]["allThreadsRelatedToChannelId"] == CHANNEL
    collect(connector, pages[-1].cursor, now=NOW + timedelta(hours=1))
    assert [path for path, _ in site.asked].count("channels") == 1
    with pytest.raises(Closed, match="no channel"):
        collect(YouTube(site.api(), ["@nobody"]))


def test_check_tells_what_was_not_found() -> None:
    site = Site([thread("T1", 1)])
    site.handles["@acme"] = CHANNEL
    line = YouTube(site.api(), ["@acme", "@nobody"], [VIDEO, OTHER]).check(now=NOW)
    assert "2 of 4" in line
    assert f"not found: @nobody, {OTHER}" in line
    with pytest.raises(BadConfig, match="none"):
        YouTube(site.api(), ["@nobody"]).check(now=NOW)
    with pytest.raises(BadConfig, match="no channels"):
        YouTube(site.api()).check(now=NOW)


# ---- faults of paging, on a real server --------------------------------------------------------


@pytest.fixture
def web() -> Iterator[Loopback]:
    with loopback() as site:
        yield site


def through(web: Loopback, **options: Any) -> YouTube:
    api = YouTubeApi(KEY, base_url=web.url, retries=1, wait=lambda _: None)
    return YouTube(api, **{"videos": [VIDEO], **options})


def answer(body: object, status: int = 200, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, content, headers)


def listed(items: Sequence[object], token: str | None = None) -> Answer:
    return answer({"items": [*items], **({"nextPageToken": token} if token else {})})


THREADS = PATH + "commentThreads"


def test_a_token_that_repeats_ends_with_a_warning(web: Loopback) -> None:
    web.route(THREADS, listed([thread("T1", 1)], "same"))
    pages, _ = collect(through(web))
    assert set(ids(pages)) == {"T1"}
    assert "does not end" in warnings(pages)
    assert len(web.seen) == 2
    assert pages[-1].gaps


def test_tokens_without_end_end_with_a_warning(web: Loopback) -> None:
    def endless(seen: Seen) -> Answer:
        return listed([thread("T1", 1)], f"t{len(web.seen)}")

    web.route(THREADS, endless)
    pages, _ = collect(through(web))
    assert Counter(ids(pages)) == Counter(["T1"])
    assert "does not end" in warnings(pages)


def test_an_empty_page_with_a_token_is_not_the_end(web: Loopback) -> None:
    web.route(THREADS, [listed([], "t1"), listed([thread("T1", 1)])])
    assert ids(collect(through(web))[0]) == ["T1"]


def test_any_order_and_repeats_lose_and_double_nothing(web: Loopback) -> None:
    pages = [[5, 1, 9], [9, 2, 1], [0, 5, 3], [3, 4, 8]]
    web.route(
        THREADS,
        [
            listed([thread(f"T{n}", n) for n in page], f"t{place}" if place < 3 else None)
            for place, page in enumerate(pages)
        ],
    )
    found, _ = collect(through(web))
    assert Counter(ids(found)) == Counter(f"T{n}" for n in (5, 1, 9, 2, 0, 3, 4, 8))


def test_a_token_that_is_refused_starts_the_list_anew(web: Loopback) -> None:
    body = {"error": {"errors": [{"reason": "invalidPageToken"}]}}

    def once(seen: Seen) -> Answer:
        asked = sum("pageToken" in one.params for one in web.seen)
        if "pageToken" in seen.params and asked == 1:
            return answer(body, 400)
        return listed([thread("T2", 2)]) if "pageToken" in seen.params else first

    first = listed([thread("T1", 1)], "t1")
    web.route(THREADS, once)
    pages, _ = collect(through(web))
    assert set(ids(pages)) == {"T1", "T2"}
    assert "read anew" in warnings(pages)


def test_a_token_that_is_always_refused_ends_with_a_gap(web: Loopback) -> None:
    body = {"error": {"errors": [{"reason": "invalidPageToken"}]}}
    first = listed([thread("T1", 1)], "t1")
    web.route(THREADS, lambda seen: answer(body, 400) if "pageToken" in seen.params else first)
    pages, _ = collect(through(web))
    assert set(ids(pages)) == {"T1"}
    assert "left out" in warnings(pages)
    assert pages[-1].gaps == ((NOW - timedelta(days=7), NOW - timedelta(minutes=1)),)


@pytest.mark.parametrize(
    "bad",
    [
        answer(b""),
        answer(b"<html>"),
        answer(b"{"),
        answer([]),
        answer({"items": {}}),
        answer({"x": 1}),
        answer({}, 500),
        answer({}, 503),
        answer({"error": {"errors": [{"reason": "processingFailure"}]}}, 400),
    ],
)
def test_a_passing_fault_leaves_the_cursor(web: Loopback, bad: Answer) -> None:
    web.route(THREADS, bad)
    with pytest.raises(Transient):
        collect(through(web))


def test_a_limit_with_a_time_is_kept(web: Loopback) -> None:
    web.route(THREADS, answer({}, 429, **{"Retry-After": "90"}))
    with pytest.raises(RetryAt) as error:
        collect(through(web))
    assert error.value.when == NOW + timedelta(seconds=90)


def test_answers_without_end_end_with_a_warning(web: Loopback) -> None:
    record = thread("T1", 1, replies=9)
    web.route(THREADS, listed([record]))
    web.route(PATH + "comments", listed(answers("T1", 2), "again"))
    pages, _ = collect(through(web))
    assert set(ids(pages)) == {"T1", "T1.0", "T1.1"}
    assert "do not end" in warnings(pages)


def test_a_page_that_cannot_be_processed_does_not_hold_the_list_up(web: Loopback) -> None:
    body = {"error": {"errors": [{"reason": "processingFailure"}]}}
    web.route(
        THREADS,
        [
            listed([thread("T1", 1)], "bad"),
            answer(body, 400),
            listed([thread("T1", 1), thread("T2", 2)], "good"),
            listed([thread("T3", 3)]),
        ],
    )
    connector = through(web)
    pages, _ = collect(connector)
    assert "processingFailure" in warnings(pages)
    rest, _ = collect(connector, pages[-1].cursor)
    assert [seen.params.get("pageToken") for seen in web.seen] == [None, "bad", None, "good"]
    assert set(ids(rest)) == {"T1", "T2", "T3"}


def test_answers_that_cannot_be_processed_do_not_hold_the_list_up(web: Loopback) -> None:
    body = {"error": {"errors": [{"reason": "processingFailure"}]}}
    web.route(THREADS, listed([thread("T1", 1, replies=9), thread("T2", 2)]))
    web.route(PATH + "comments", [answer(body, 400), listed(answers("T1", 9))])
    connector = through(web)
    pages, _ = collect(connector)
    assert set(ids(pages)) == {"T1", "T2"}
    again, _ = collect(connector, pages[-1].cursor, now=NOW + timedelta(minutes=5))
    assert {f"T1.{n}" for n in range(9)} <= set(ids(again))


def test_three_lists_that_cannot_be_reached_leave_the_rest_for_later(web: Loopback) -> None:
    names = [f"{letter * 11}" for letter in "abcdef"]
    web.route(
        THREADS,
        lambda seen: (
            listed([thread("T1", 1)]) if seen.params["videoId"] == names[0] else answer({}, 502)
        ),
    )
    connector = through(web, videos=names)
    pages: list[Page] = []
    with pytest.raises(Transient):
        pages.extend(connector.collect(None, None, budget=FREE, now=NOW))
    assert ids(pages) == ["T1"]
    assert len({seen.params["videoId"] for seen in web.seen}) == 4
    assert pages[-1].warnings
    # What was left out comes first.
    before = len(web.seen)
    with pytest.raises(Transient):
        list(connector.collect(None, pages[-1].cursor, budget=FREE, now=NOW + timedelta(hours=1)))
    assert web.seen[before].params["videoId"] == names[4]


@pytest.mark.parametrize("packed", [False, True])
def test_the_reason_of_a_refusal_is_read_packed_or_not(web: Loopback, packed: bool) -> None:
    body = json.dumps({"error": {"errors": [{"reason": "commentsDisabled"}]}}).encode()
    headers = {"Content-Encoding": "gzip"} if packed else {}
    web.route(THREADS, Answer(403, gzip.compress(body) if packed else body, headers))
    with pytest.raises(Closed, match="switched off"):
        collect(through(web))


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b" " * 300_000 + b"{}", {}),
        (gzip.compress(b" " * 20_000_000), {"Content-Encoding": "gzip"}),
        (b"\x1f\x8b broken", {"Content-Encoding": "gzip"}),
        (b"[" * 60_000, {}),
    ],
)
def test_a_refusal_without_a_readable_reason_is_one(
    web: Loopback, body: bytes, headers: dict[str, str]
) -> None:
    web.route(THREADS, Answer(403, body, headers))
    connector = through(web)
    tracemalloc.start()
    try:
        with pytest.raises(Forbidden, match=r"forbids this \(403\)"):
            collect(connector)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_nothing_of_a_comment_or_key_reaches_the_log(
    caplog: pytest.LogCaptureFixture, web: Loopback
) -> None:
    web.route(THREADS, [listed([thread("T1", 1)], "t"), answer({}, 502)])
    with caplog.at_level(logging.DEBUG, logger="connectors"):
        pages, _ = collect(through(web))
    told = caplog.text + warnings(pages)
    assert "1 comments" in told
    assert not [word for word in ("I like Acme", "@ana", KEY, "?", "UCana") if word in told]


NAMES = [
    *("items", "id", "snippet", "topLevelComment", "textOriginal", "textDisplay", "publishedAt"),
    *("parentId", "authorChannelId", "value", "replies", "comments", "totalReplyCount"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=20,
)


def spoiled(value: Any, place: int, by: object) -> Any:
    """`value`, which is JSON, with one of its parts replaced; `place` chooses which."""
    keys = [*value] if isinstance(value, dict) else [*range(len(value))]
    if not keys:
        return by
    place, key = place // len(keys), keys[place % len(keys)]
    inside = value[key]
    deeper = place % 4 and isinstance(inside, dict | list)
    copy = value.copy()
    copy[key] = spoiled(inside, place // 4, by) if deeper else by
    return copy


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_no_answer_whatever_breaks_the_mapping(body: Any) -> None:
    for mention in map_payload(body).mentions:
        json.dumps(mention.raw, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(JSON)
def test_no_answer_whatever_breaks_a_run(item: Any) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        body = {"items": [item, thread("T1", 1)]} if not isinstance(item, dict) else item
        return httpx.Response(200, content=json.dumps(body))

    api = YouTubeApi(KEY, transport=httpx.MockTransport(handle), retries=0, wait=lambda _: None)
    with suppress(ConnectorError):
        for page in YouTube(api, videos=[VIDEO]).collect(None, None, budget=FREE, now=NOW):
            json.dumps(page.cursor, allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**20), JSON)
def test_no_cursor_whatever_breaks_a_run(place: int, by: object) -> None:
    site = Site([thread(f"T{n}", n) for n in range(5)], T1=answers("T1", 9))
    pages, _ = collect(site.connector(page_size=3), budget=Budget(pages=2))
    cursor = spoiled(pages[-1].cursor, place, by)
    with suppress(ConnectorError):
        collect(site.connector(page_size=3), cursor)


def test_the_configuration_makes_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YT_KEY", KEY)
    text = """
        [brand]
        name = "Lumora"
        [sources.youtube]
        enabled = true
        api_key = { env = "YT_KEY" }
        channels = ["@lumora"]
        keep_all = true
    """
    (source,), failed = build(parse(text, file="config.toml"))
    assert (source.name, source.connector.source, failed) == ("youtube", "youtube", [])
    assert source.connector.capabilities().prefiltered
    for wrong, why in (('channels = ["@lumora"]', "is empty"), ("api_key =", "is missing")):
        broken = "".join(line for line in text.splitlines(True) if wrong not in line)
        with pytest.raises(ConfigError, match=why):
            parse(broken, file="config.toml")


# ---- known comments ----------------------------------------------------------------------------


def test_it_refreshes_and_reads_threads() -> None:
    connector = Site().connector()
    assert isinstance(connector, Refreshes)
    assert isinstance(connector, ReadsThreads)
    assert connector.refresh_cost(101) == Cost(requests=3, resources=3)
    assert connector.refresh_cost(0) == Cost()


def test_refresh_tells_figures_edits_and_removals() -> None:
    edited = thread("T2", 60, updatedAt=(NOW - timedelta(minutes=2)).isoformat())
    site = Site([thread("T1", 1), edited])
    asked = ["T1", "gone", "T2", "T1", "not an id"]
    (page,) = site.connector().refresh(asked, budget=FREE, now=NOW)
    assert [(one.native_id, one.kind) for one in page.updates] == [
        ("gone", "tombstone"),
        ("T1", "metrics"),
        ("T2", "metrics"),
        ("T2", "edit"),
    ]
    assert page.updates[-1].at == NOW - timedelta(minutes=2)
    assert page.updates[1].counts.likes == 3
    assert site.asked[0][1]["id"] == "T1,gone,T2"
    assert page.cost == Cost(requests=1, resources=1)


def test_refresh_asks_fifty_at_a_time_within_the_budget() -> None:
    names = [f"T{n}" for n in range(120)]
    site = Site([thread(name, 1) for name in names])
    pages = [*site.connector().refresh(names, budget=FREE, now=NOW)]
    assert [page.more for page in pages] == [True, True, False]
    assert [page.returned for page in pages] == [50, 50, 20]
    with pytest.raises(BudgetSpent, match="70 comments"):
        list(site.connector().refresh(names, budget=Budget(pages=1), now=NOW))


def test_a_batch_that_is_refused_for_one_comment_is_split() -> None:
    site = Site([thread(f"T{n}", 1) for n in range(8)])
    original = site.handle

    def handle(request: httpx.Request) -> httpx.Response:
        if "T5" in request.url.params.get("id", "").split(","):
            return refusal(404, "commentNotFound")
        return original(request)

    site.handle = handle  # type: ignore[method-assign] # a site of this test only
    pages = [*site.connector().refresh([f"T{n}" for n in range(8)], budget=FREE, now=NOW)]
    kinds = {one.native_id: one.kind for page in pages for one in page.updates}
    assert kinds == {f"T{n}": "tombstone" if n == 5 else "metrics" for n in range(8)}


def test_a_broken_answer_removes_nothing(web: Loopback) -> None:
    web.route(PATH + "comments", answer({"x": []}))
    with pytest.raises(Transient):
        list(through(web).refresh(["T1"], budget=FREE, now=NOW))


def test_a_thread_is_read_whole() -> None:
    site = Site([thread("T1", 5)], T1=answers("T1", 150))
    pages = [*site.connector().thread(["T1", "gone"], budget=FREE, now=NOW)]
    assert set(ids(pages)) == {"T1", *(f"T1.{n}" for n in range(150))}
    (tombstone,) = [one for page in pages for one in page.updates]
    assert (tombstone.native_id, tombstone.kind) == ("gone", "tombstone")
    assert [page.more for page in pages] == [True, True, False, False]
    assert all(page.cursor is None for page in pages)
    with pytest.raises(BudgetSpent, match="2 conversations"):
        list(site.connector().thread(["T1", "gone"], budget=Budget(pages=1), now=NOW))


def test_an_edit_comes_with_the_comment() -> None:
    changed = NOW - timedelta(minutes=1)
    site = Site([thread("T1", 5, updatedAt=changed.isoformat()), thread("T2", 6)])
    (page,), _ = collect(site.connector())
    (edit,) = page.updates
    assert (edit.native_id, edit.kind, edit.at, edit.text) == ("T1", "edit", changed, "I like Acme")


# ---- recorded answers --------------------------------------------------------------------------

REAL = sorted(PAYLOADS.glob("*.json"))
# Comments in each recorded answer; the others hold videos, search results or errors.
COMMENTS = {
    "apidata__comment_threads__comment_threads_all_to_me": 4,
    "apidata__comment_threads__comment_threads_by_channel": 2,
    "apidata__comment_threads__comment_threads_with_search": 1,
    "apidata__comment_threads__insert_response": 1,
    "apidata__comments__comments_by_parent_paged_1": 2,
    "apidata__comments__comments_by_parent_paged_2": 1,
    "apidata__comments__comments_multi": 2,
}


@pytest.mark.shared
def test_recorded_answers_map() -> None:
    if not REAL:
        pytest.skip("the shared folder of recorded answers is absent")
    found = {path.stem: map_payload(json.loads(path.read_bytes())) for path in REAL}
    assert {name: len(one.mentions) for name, one in found.items() if one.mentions} == COMMENTS
    assert {why for one in found.values() for why in one.skipped} == {"no comment"}
    assert sum(len(one.skipped) for one in found.values()) == 73
    replies = found["apidata__comments__comments_by_parent_paged_1"].mentions
    assert {one.root_id for one in replies} == {one.parent_id for one in replies} != {None}


@pytest.mark.shared
def test_recorded_errors_have_their_class() -> None:
    if not REAL:
        pytest.skip("the shared folder of recorded answers is absent")
    errors = {}
    for path in REAL:
        body = json.loads(path.read_bytes())
        if "error" in body:
            errors[path.stem] = type(explained(error_status(body), {}, body, NOW))
    assert errors == {
        "apidata__error_permission_resp": Forbidden,
        "error_response": NeedsAuth,
        "error_response_simple": BadConfig,
    }
