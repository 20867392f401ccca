import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from connectors.base import (
    BadConfig,
    Budget,
    BudgetSpent,
    ConnectorError,
    Cursor,
    NeedsAuth,
    Page,
    Query,
    RetryAt,
    Transient,
)
from connectors.jetstream import Jetstream

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FREE = Budget()
DID = "did:plc:alice"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1)


def uri(key: object) -> str:
    return f"at://{DID}/app.bsky.feed.post/{key}"


def event(seconds_ago: float, operation: str = "create", **commit: Any) -> dict[str, Any]:
    when = NOW - timedelta(seconds=seconds_ago)
    record = {
        "$type": "app.bsky.feed.post",
        "text": commit.pop("text", f"post {seconds_ago:g}"),
        "createdAt": when.isoformat(),
        "langs": ["es"],
    }
    if operation == "delete":
        record = {}
    return {
        "did": DID,
        "time_us": micros(when),
        "kind": "commit",
        "commit": {
            "rev": "r",
            "operation": operation,
            "collection": "app.bsky.feed.post",
            "rkey": f"s{seconds_ago:g}",
            "record": record,
            "cid": "bafy",
            **commit,
        },
    }


def account(seconds_ago: float) -> dict[str, Any]:
    when = NOW - timedelta(seconds=seconds_ago)
    return {"did": DID, "time_us": micros(when), "kind": "account", "account": {"active": False}}


@dataclass
class Site:
    """A Jetstream server: events from the cursor on, or from its oldest; then silence, or its end.

    What is text among the events is sent as it is.
    """

    events: list[Any] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    hangs_up: bool = False
    refusal: tuple[HTTPStatus, dict[str, str]] | None = None
    url: str = ""

    def serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        params = dict(parse_qsl(urlsplit(connection.request.path).query))
        self.asked.append(params)
        for one in self.events:
            if isinstance(one, str):
                connection.send(one)
            elif one["time_us"] >= int(params["cursor"]):
                connection.send(json.dumps(one))
        if not self.hangs_up:
            connection.recv()

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.refusal is None:
            return None
        response = connection.respond(self.refusal[0], "no")
        for name, value in self.refusal[1].items():
            response.headers[name] = value
        return response


def start(site: Site) -> Server:
    def handle(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):  # a client may leave while events are sent to it
            site.serve(connection)

    logger = logging.Logger("server", logging.CRITICAL + 1)
    server = serve(handle, "127.0.0.1", 0, process_request=site.check, logger=logger)
    site.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/subscribe"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()
    server = start(found)
    yield found
    server.shutdown()


def stream(site: Site, **options: Any) -> Jetstream:
    return Jetstream(site.url, **{"idle_seconds": 0.2, **options})


def collect(
    connector: Jetstream,
    cursor: Cursor | None = None,
    *,
    budget: Budget = FREE,
    now: datetime = NOW,
) -> tuple[list[Page], ConnectorError | None]:
    pages: list[Page] = []
    try:
        pages.extend(connector.collect(None, cursor, budget=budget, now=now))
    except (BudgetSpent, Transient) as ended:
        return pages, ended
    return pages, None


def keys(pages: list[Page]) -> list[str]:
    return [one.native_id.rpartition("/")[2] for page in pages for one in page.mentions]


def stored(page: Page) -> Cursor:
    cursor: Cursor = json.loads(json.dumps(page.cursor))
    return cursor


def at(seconds_ago: float) -> Cursor:
    return {"time_us": micros(NOW - timedelta(seconds=seconds_ago))}


@dataclass(frozen=True)
class Case:
    connector: Jetstream
    expected_ids: set[str]
    server: Server
    query: Query | None = None
    now: datetime = NOW


def make_contract_case() -> Case:
    events: list[Any] = [event(n) for n in range(100, 75, -1)]
    events[3]["commit"]["record"]["text"] = "post \ud800\x00"
    expected = {uri(f"s{n}") for n in range(76, 101)}
    events += ["odd", event(70, text=""), event(60, "delete", rkey="s100")]
    site = Site([*events, event(-1, "delete", rkey="end")])
    server = start(site)
    return Case(stream(site, page_size=10), expected, server)


# ---- reading -----------------------------------------------------------------------------------


def test_it_reads_until_it_has_caught_up_and_goes_on_from_there(site: Site) -> None:
    site.events = [event(n) for n in range(20, 0, -2)]
    pages, ended = collect(stream(site), at(60))
    assert ended is None
    assert keys(pages) == [f"s{n}" for n in range(20, 0, -2)]
    assert stored(pages[-1]) == at(2)
    assert not pages[-1].more
    site.events += [event(-3)]
    again, _ = collect(stream(site), stored(pages[-1]), now=NOW + timedelta(seconds=3))
    assert keys(again) == ["s6", "s4", "s2", "s-3"]
    assert int(site.asked[1]["cursor"]) == micros(NOW - timedelta(seconds=7))
    assert site.asked[0]["wantedCollections"] == "app.bsky.feed.post"


def test_posts_are_mapped_with_the_did_as_author(site: Site) -> None:
    site.events = [event(5, text="me gusta ñ"), account(4)]
    ((page,), _) = collect(stream(site), at(10))
    (mention,) = page.mentions
    assert mention.source == "bluesky"
    assert mention.native_id == uri("s5")
    assert mention.url == f"https://bsky.app/profile/{DID}/post/s5"
    assert mention.author is not None
    assert (mention.author.native_id, mention.author.handle) == (DID, None)
    assert mention.lang == "es"
    assert mention.published_at == NOW - timedelta(seconds=5)
    assert page.returned == 1
    assert stored(page) == at(4)


def test_a_date_of_the_future_gives_way_to_the_time_of_the_stream(site: Site) -> None:
    site.events = [event(5)]
    site.events[0]["commit"]["record"]["createdAt"] = "2031-01-01T00:00:00Z"
    ((page,), _) = collect(stream(site), at(10))
    assert page.mentions[0].published_at == NOW - timedelta(seconds=5)


def test_removals_are_tombstones_and_changes_are_edits(site: Site) -> None:
    site.events = [event(5), event(4, "update", text="new"), event(3, "delete", rkey="s5")]
    ((page,), _) = collect(stream(site), at(10))
    assert keys([page]) == ["s5", "s4"]
    assert [(one.kind, one.native_id, one.text) for one in page.updates] == [
        ("edit", uri("s4"), "new"),
        ("tombstone", uri("s5"), None),
    ]
    assert page.updates[1].at == NOW - timedelta(seconds=3)


def test_odd_events_are_counted_and_passed(site: Site) -> None:
    future = event(-60 * 60 * 24 * 400)
    odd: list[Any] = ["{", "[]", '"x"', "{}", '{"time_us": true, "kind": 1}', "[" * 100_000]
    nameless = event(9, rkey=None)
    recordless = event(8, record=None)
    elsewhere = event(7, collection="app.bsky.feed.like")
    strange = {**event(6), "did": "did:plc:a b"}
    site.events = [*odd, future, nameless, recordless, elsewhere, strange, event(5)]
    ((page,), _) = collect(stream(site), at(10))
    assert "s5" in keys([page])
    assert stored(page) == at(5)
    told = " ".join(page.warnings)
    assert "no event (7)" in told
    assert "without id" in told
    assert "without record" in told


def test_a_first_run_looks_back_as_far_as_it_is_told(site: Site) -> None:
    site.events = [event(1)]
    collect(stream(site, first_hours=2))
    collect(stream(site), budget=Budget(since=NOW - timedelta(days=1)))
    starts = [int(params["cursor"]) for params in site.asked]
    overlap = timedelta(seconds=5)
    assert starts == [
        micros(NOW - timedelta(hours=2) - overlap),
        micros(NOW - timedelta(days=1) - overlap),
    ]


@pytest.mark.parametrize(
    "cursor", [{}, {"time_us": "x"}, {"time_us": -1}, {"time_us": 10**20}, {"other": 1}], ids=str
)
def test_a_cursor_that_cannot_be_read_starts_anew(site: Site, cursor: Cursor) -> None:
    site.events = [event(1)]
    assert keys(collect(stream(site), cursor)[0]) == ["s1"]
    assert int(site.asked[0]["cursor"]) == micros(NOW - timedelta(hours=1, seconds=5))


# ---- bounds ------------------------------------------------------------------------------------


def test_pages_are_bounded_and_each_can_be_gone_on_from(site: Site) -> None:
    site.events = [event(n / 10) for n in range(100, 0, -1)]
    expected = {f"s{n / 10:g}" for n in range(1, 101)}
    pages, ended = collect(stream(site, page_size=30), at(60))
    assert ended is None
    assert [len(page.mentions) for page in pages] == [30, 30, 30, 10]
    assert [page.more for page in pages] == [True, True, True, False]
    assert [page.cost.requests for page in pages] == [1, 0, 0, 0]
    for done in range(1, 5):
        rest, _ = collect(stream(site, page_size=30), stored(pages[done - 1]))
        assert set(keys(pages[:done] + rest)) == expected


def test_every_call_gets_on_though_it_reads_seconds_again(site: Site) -> None:
    site.events = [event(n / 100) for n in range(100, 0, -1)]  # all within the overlap
    found: set[str] = set()
    cursor: Cursor = at(60)
    for _ in range(10):
        pages, ended = collect(stream(site), cursor, budget=Budget(mentions=30))
        found |= set(keys(pages))
        cursor = stored(pages[-1])
        if ended is None:
            break
        assert isinstance(ended, BudgetSpent)
    assert found == {f"s{n / 100:g}" for n in range(1, 101)}


def test_the_time_of_a_call_is_bounded_whatever_the_server_sends(site: Site) -> None:
    site.events = [event(n) for n in range(3000, 0, -1)]
    clock = iter(range(10_000))
    connector = stream(site, seconds=50, monotonic=lambda: float(next(clock)))
    pages, ended = collect(connector, at(3600))
    assert isinstance(ended, BudgetSpent)
    assert "time ended" in str(ended)
    assert 40 < len(keys(pages)) < 60
    assert pages[-1].more
    rest, _ = collect(stream(site), stored(pages[-1]))
    assert set(keys(pages + rest)) == {f"s{n}" for n in range(1, 3001)}


def test_a_spent_budget_makes_no_connection(site: Site) -> None:
    for budget in (Budget(pages=0), Budget(mentions=0)):
        assert isinstance(collect(stream(site), budget=budget)[1], BudgetSpent)
    assert site.asked == []


def test_a_server_that_hangs_up_keeps_what_it_gave(site: Site) -> None:
    site.events, site.hangs_up = [event(20), event(10)], True
    pages, ended = collect(stream(site), at(60))
    assert isinstance(ended, Transient)
    assert keys(pages) == ["s20", "s10"]
    assert stored(pages[-1]) == at(10)


def test_a_message_of_many_megabytes_ends_the_connection(site: Site) -> None:
    site.events = [event(20), json.dumps(event(19, text="x" * 3_000_000)), event(10)]
    pages, ended = collect(stream(site), at(60))
    assert isinstance(ended, Transient)
    assert keys(pages) == ["s20"]


def test_a_silent_server_is_told(site: Site) -> None:
    pages, ended = collect(stream(site), at(3600))
    assert ended is None
    assert "gave nothing since 2026-03-01 11:00" in pages[0].warnings[0]
    assert stored(pages[0]) == at(3600)
    assert collect(stream(site), at(60)) == ([], None)


# ---- what the server does not keep -------------------------------------------------------------


def test_what_the_server_does_not_keep_is_a_gap(site: Site) -> None:
    site.events = [event(3000), event(2990), event(1)]
    pages, _ = collect(stream(site), at(360_000))
    spans = [gap for page in pages for gap in page.gaps]
    assert spans == [
        (NOW - timedelta(seconds=360_000), NOW - timedelta(seconds=3000)),
        (NOW - timedelta(seconds=2990), NOW - timedelta(seconds=1)),
    ]
    assert "not kept" in pages[0].warnings[0]


def test_no_gap_without_a_hole(site: Site) -> None:
    site.events = [event(n) for n in range(900, 0, -200)]
    pages, _ = collect(stream(site), at(1000))
    assert [page.gaps for page in pages] == [()]


@dataclass
class Search:
    """A search that gives two pages of a span, or fails after the first one."""

    fault: ConnectorError | None = None
    asked: list[tuple[str, datetime, datetime]] = field(default_factory=list)

    def between(
        self, query: Query, start: datetime, end: datetime, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        self.asked.append((query.name, start, end))
        yield Page(returned=7)
        if self.fault:
            raise self.fault
        yield Page(returned=8)


QUERIES = [Query(name=name, kind="brand", any_of=(name,)) for name in ("a", "b")]


def test_a_gap_is_searched_for_every_query(site: Site) -> None:
    site.events, search = [event(3000), event(2900), event(2700)], Search()
    pages, _ = collect(stream(site, search=search, queries=QUERIES), at(360_000))
    span = NOW - timedelta(seconds=360_000), NOW - timedelta(seconds=3000)
    assert search.asked == [("a", *span), ("b", *span)]
    assert [page.returned for page in pages] == [3, 7, 8, 7, 8, 0]
    assert [page.more for page in pages] == [True] * 5 + [False]
    assert [page.gaps for page in pages] == [()] * 6
    assert ["gaps" in stored(page) for page in pages] == [True] * 5 + [False]


def test_a_gap_waits_until_it_is_searched(site: Site) -> None:
    site.events, search = [event(3000), event(2800)], Search()
    connector = stream(site, page_size=1, search=search, queries=QUERIES)
    pages, ended = collect(connector, at(360_000), budget=Budget(pages=1))
    assert isinstance(ended, BudgetSpent)
    assert search.asked == []
    collect(connector, stored(pages[-1]))
    span = NOW - timedelta(seconds=360_000), NOW - timedelta(seconds=3000)
    assert search.asked == [("a", *span), ("b", *span)]
    without, _ = collect(stream(site), stored(pages[-1]))
    assert without[0].gaps == (span,)


@pytest.mark.parametrize("fault", [NeedsAuth("no account"), BudgetSpent("too many")], ids=str)
def test_a_gap_that_cannot_be_searched_is_told(site: Site, fault: ConnectorError) -> None:
    site.events, search = [event(1)], Search(fault)
    pages, ended = collect(stream(site, search=search, queries=QUERIES), at(360_000))
    assert ended is None
    assert pages[-1].gaps == ((NOW - timedelta(seconds=360_000), NOW - timedelta(seconds=1)),)
    assert str(fault) in pages[-1].warnings[0]
    assert stored(pages[-1]) == at(1)


# ---- the connection ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": "60"}, RetryAt),
        (HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "60"}, RetryAt),
        (HTTPStatus.SERVICE_UNAVAILABLE, {}, Transient),
        (HTTPStatus.FORBIDDEN, {}, NeedsAuth),
        (HTTPStatus.BAD_REQUEST, {}, BadConfig),
        (HTTPStatus.NOT_FOUND, {}, BadConfig),
        (HTTPStatus.OK, {}, BadConfig),
        (HTTPStatus.FOUND, {"Location": "ws://127.0.0.1:1/"}, BadConfig),
    ],
)
def test_refused_connections_say_what_to_do(
    site: Site, status: HTTPStatus, headers: dict[str, str], error: type[ConnectorError]
) -> None:
    site.refusal = (status, headers)
    with pytest.raises(error) as caught:
        list(stream(site).collect(None, at(60), budget=FREE, now=NOW))
    if isinstance(caught.value, RetryAt):
        assert caught.value.when == NOW + timedelta(seconds=60)


def test_nobody_at_home_is_transient() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{free.getsockname()[1]}/subscribe"
    with pytest.raises(Transient):
        list(Jetstream(url).collect(None, None, budget=FREE, now=NOW))


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("wss://127.0.0.1/subscribe", "private"),
        ("wss://[::1]/subscribe", "private"),
        ("wss://10.0.0.1/subscribe", "private"),
        ("ws://192.0.2.1/subscribe", "wss://"),
        ("https://jetstream.example/subscribe", "wss://"),
        ("wss:///subscribe", "wss://"),
        ("ws://host:99999/", "wss://"),
    ],
)
def test_addresses_are_guarded(url: str, match: str) -> None:
    with pytest.raises(BadConfig, match=match):
        list(Jetstream(url).collect(None, None, budget=FREE, now=NOW))


def test_check_waits_for_one_event(site: Site) -> None:
    site.events = [event(1)]
    assert "events arrive" in stream(site).check(now=NOW)
    site.events, site.hangs_up = [], True
    with pytest.raises(Transient):
        stream(site).check(now=NOW)


def test_nothing_of_posts_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.events = [event(5, text="secret words")]
    with caplog.at_level(logging.DEBUG):
        collect(stream(site), at(10))
    assert caplog.text
    assert "secret" not in caplog.text
    assert DID not in caplog.text


def test_it_keeps_up_with_three_times_the_peak_of_bluesky(site: Site) -> None:
    # 30 seconds of 110 posts each, in pages that can be stored one by one.
    site.events = [event(n / 110, rkey=f"k{n}") for n in range(3300, -1, -1)]
    pages, ended = collect(stream(site, idle_seconds=20), at(60))
    assert ended is None
    assert len(keys(pages)) == 3301
    assert max(len(page.mentions) for page in pages) <= 1000
