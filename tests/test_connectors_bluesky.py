import json
import logging
import os
import re
import stat
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.base import (
    BadConfig,
    Budget,
    BudgetSpent,
    Compiles,
    Connector,
    ConnectorError,
    Counts,
    Cursor,
    NeedsAuth,
    Page,
    Query,
    ReadsThreads,
    Refreshes,
    RetryAt,
    Transient,
    Update,
)
from connectors.bluesky import BlueskyNotifications, BlueskySearch
from connectors.bluesky_api import BlueskyApi, Refused
from connectors.bluesky_map import records
from connectors.bluesky_query import LIMIT, compile_query
from connectors.bluesky_session import SessionFile, Tokens

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
QUERY = Query(name="Acme", kind="brand", any_of=("Acme",))
FREE = Budget()
DID = "did:plc:alice"
SERVICE = "http://127.0.0.1:1"


def stamp(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def uri(key: object, did: str = DID) -> str:
    return f"at://{did}/app.bsky.feed.post/{key}"


def post(minutes_ago: float, text: str = "I like Acme", **fields: Any) -> dict[str, Any]:
    when = stamp(NOW - timedelta(minutes=minutes_ago))
    record = {"$type": "app.bsky.feed.post", "text": text, "createdAt": when, "langs": ["en"]}
    return {
        "uri": uri(f"m{minutes_ago}"),
        "cid": "bafy",
        "author": {"did": DID, "handle": "alice.test", "displayName": "Alice"},
        "record": record | fields.pop("record", {}),
        "indexedAt": when,
        "likeCount": 1,
        "replyCount": 2,
        "repostCount": 3,
        "quoteCount": 4,
        **fields,
    }


def ordered(item: Mapping[str, Any]) -> str:
    return min(str(item["indexedAt"]), str(item["record"]["createdAt"]))


@dataclass
class Site:
    """Answers like a PDS with its AppView; `deep` is as far as tokens of the search lead."""

    posts: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    threads: dict[str, Any] = field(default_factory=dict)
    records: set[str] = field(default_factory=set)
    size: int = 100
    deep: int = 10_000
    password: str = "app-pass"
    access: set[str] = field(default_factory=set)
    refresh: set[str] = field(default_factory=set)
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answer: Callable[[str, dict[str, Any]], httpx.Response | None] = lambda name, params: None
    lock: Any = field(default_factory=threading.Lock)

    def respond(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/xrpc/")
        params: dict[str, Any] = dict(request.url.params)
        if "uris" in params:
            params["uris"] = request.url.params.get_list("uris")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        with self.lock:
            self.seen.append((name, params))
            if given := self.answer(name, params):
                return given
            if name == "com.atproto.server.createSession":
                right = json.loads(request.content) == {
                    "identifier": "alice.test",
                    "password": self.password,
                }
                return self.session() if right else refused("AuthenticationRequired", 401)
            if name == "com.atproto.server.refreshSession":
                known = token in self.refresh
                return self.session() if known else refused("ExpiredToken")
            if token not in self.access:
                return refused("ExpiredToken")
        found: httpx.Response = getattr(self, name.rpartition(".")[2])(params)
        return found

    def session(self) -> httpx.Response:
        number = len(self.seen)
        self.access, self.refresh = {f"access{number}"}, {f"refresh{number}"}
        return ok(
            {
                "accessJwt": f"access{number}",
                "refreshJwt": f"refresh{number}",
                "did": DID,
                "handle": "alice.test",
            }
        )

    def searchPosts(self, params: dict[str, Any]) -> httpx.Response:  # noqa: N802 - Bluesky's name
        low, high = params.get("since", ""), params.get("until", "9")
        found = [one for one in self.posts if low <= ordered(one) < high]
        return self.page(sorted(found, key=ordered, reverse=True), "posts", params)

    def listNotifications(self, params: dict[str, Any]) -> httpx.Response:  # noqa: N802
        found = sorted(self.notes, key=lambda one: str(one["indexedAt"]), reverse=True)
        return self.page(found, "notifications", params)

    def page(self, found: list[Any], name: str, params: dict[str, Any]) -> httpx.Response:
        start = int(params.get("cursor", 0))
        if start > self.deep:
            return refused("InvalidRequest")
        size = min(self.size, int(params.get("limit", 50)))
        end = start + size
        token = {"cursor": str(end)} if end < len(found) and end <= self.deep else {}
        return ok({name: found[start:end], **token})

    def getPosts(self, params: dict[str, Any]) -> httpx.Response:  # noqa: N802
        return ok({"posts": [one for one in self.posts if one["uri"] in params["uris"]]})

    def getRecord(self, params: dict[str, Any]) -> httpx.Response:  # noqa: N802
        wanted = f"at://{params['repo']}/{params['collection']}/{params['rkey']}"
        if wanted in self.records:
            return ok({"uri": wanted, "value": {}})
        return refused("InvalidRequest", message=f"Could not locate record: {wanted}")

    def getPostThread(self, params: dict[str, Any]) -> httpx.Response:  # noqa: N802
        thread = self.threads.get(params["uri"])
        return ok({"thread": thread}) if thread else refused("NotFound")


def ok(body: object) -> httpx.Response:
    return httpx.Response(200, content=json.dumps(body).encode())


def refused(name: str, status: int = 400, message: str = "no", **headers: str) -> httpx.Response:
    body = json.dumps({"error": name, "message": message}).encode()
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return httpx.Response(status, content=body, headers=named)


def api(site: Site, path: Path | None = None, password: str = "app-pass") -> BlueskyApi:
    return BlueskyApi(
        "@alice.test",
        password,
        service=SERVICE,
        session_file=path,
        transport=httpx.MockTransport(site.respond),
        wait=lambda _: None,
    )


def search(site: Site, **options: Any) -> BlueskySearch:
    return BlueskySearch(api(site), **options)


def collect(
    connector: Connector,
    cursor: Cursor | None = None,
    *,
    budget: Budget = FREE,
    now: datetime = NOW,
    query: Query | None = QUERY,
) -> tuple[list[Page], BudgetSpent | None]:
    pages: list[Page] = []
    try:
        pages.extend(connector.collect(query, cursor, budget=budget, now=now))
    except BudgetSpent as spent:
        return pages, spent
    return pages, None


def keys(pages: list[Page]) -> list[str]:
    return [one.native_id.rpartition("/")[2] for page in pages for one in page.mentions]


def stored(page: Page) -> Cursor:
    cursor: Cursor = json.loads(json.dumps(page.cursor))
    return cursor


def asked(site: Site, name: str = "app.bsky.feed.searchPosts") -> list[dict[str, Any]]:
    return [params for method, params in site.seen if method == name]


@dataclass(frozen=True)
class Case:
    connector: Connector
    expected_ids: set[str]
    query: Query | None = QUERY
    now: datetime = NOW


def make_contract_case(kind: type[BlueskySearch] | type[BlueskyNotifications]) -> Case:
    posts = [post(n) for n in range(1, 26)]
    posts[3]["record"]["text"] = "post \ud800\x00"
    odd = {"uri": "odd", "record": {"createdAt": stamp(NOW)}, "indexedAt": stamp(NOW)}
    notes = [{**one, "reason": "mention"} for one in (*posts, odd)]
    site = Site(posts=[*posts, odd], notes=notes, size=10)
    query = QUERY if kind is BlueskySearch else None
    return Case(kind(api(site)), {one["uri"] for one in posts}, query)


# ---- windows -----------------------------------------------------------------------------------


def test_the_next_run_begins_a_little_before_the_newest_post() -> None:
    site = Site([post(n) for n in range(1, 31)], size=10)
    pages, spent = collect(search(site))
    assert spent is None
    assert keys(pages) == [f"m{n}" for n in range(1, 31)]
    assert [page.more for page in pages] == [True, True, False]
    site.posts += [post(-50), post(20.5, "late in the index")]
    again, _ = collect(search(site), stored(pages[-1]), now=NOW + timedelta(hours=1))
    assert set(keys(again)) == {"m-50", "m20.5", *(f"m{n}" for n in range(1, 31))}
    assert asked(site)[-3]["since"] == stamp(NOW - timedelta(minutes=31))


def test_posts_that_arrive_during_a_walk_are_not_lost() -> None:
    site = Site([post(n) for n in range(10, 40)], size=10)
    pages, cursor = [], None
    for minute in range(3):
        step, _ = collect(search(site), cursor, budget=Budget(pages=1))
        pages += step
        cursor = stored(step[-1])
        site.posts.append(post(9 - minute))
    rest, _ = collect(search(site), cursor)
    more, _ = collect(search(site), stored(rest[-1]))
    found = set(keys(pages + rest + more))
    assert found == {str(one["uri"]).rpartition("/")[2] for one in site.posts}


def test_killed_between_any_two_pages_nothing_is_lost() -> None:
    site = Site([post(n) for n in range(1, 46)], size=10)
    pages, _ = collect(search(site))
    assert len(pages) == 5
    for done in range(1, 6):
        rest, _ = collect(search(site, overlap=timedelta(0)), stored(pages[done - 1]))
        assert set(keys(pages[:done] + rest)) == {f"m{n}" for n in range(1, 46)}


@pytest.mark.parametrize("size", [100, 60], ids=["full pages", "pages with hidden posts"])
def test_behind_the_last_token_it_goes_on_by_time(size: int) -> None:
    site = Site([post(n) for n in range(1, 1300)], size=size, deep=1000)
    pages, spent = collect(search(site))
    assert spent is None
    assert set(keys(pages)) == {f"m{n}" for n in range(1, 1300)}
    assert "until" in asked(site)[-1]


def test_a_refused_token_gives_way_to_a_bound_of_time() -> None:
    site = Site([post(n) for n in range(1, 36)], size=10)
    site.answer = lambda name, params: (
        refused("InvalidRequest") if int(params.get("cursor", 0)) > 10 else None
    )
    pages, spent = collect(search(site))
    assert spent is None
    assert set(keys(pages)) == {f"m{n}" for n in range(1, 36)}
    assert "until" in asked(site)[-1]


def test_a_full_page_without_a_token_is_not_the_end() -> None:
    site = Site([post(n) for n in range(1, 250)], deep=0)
    pages, _ = collect(search(site))
    assert set(keys(pages)) == {f"m{n}" for n in range(1, 250)}
    assert len(pages) == 3


def test_a_server_that_knows_no_bounds_of_time_ends_all_the_same() -> None:
    site = Site([post(n) for n in range(0, 60 * 24 * 30, 60 * 24)], size=4)
    site.answer = deaf(site)
    pages, _ = collect(search(site, first_days=7))
    assert len(pages) == 3
    assert {f"m{n * 1440}" for n in range(8)} <= set(keys(pages))


def deaf(site: Site) -> Callable[[str, dict[str, Any]], httpx.Response | None]:
    """Answers of a server that gives all its posts, in its own order."""
    return lambda name, params: site.page(site.posts, "posts", params) if "q" in params else None


@pytest.mark.parametrize("full", [True, False], ids=["the same page", "an empty page"])
def test_an_endless_token_is_given_up(full: bool) -> None:
    site = Site()
    body = {"posts": [post(5), post(6)] if full else [], "cursor": "again"}
    site.answer = lambda name, params: ok(body) if "q" in params else None
    pages, spent = collect(search(site))
    assert spent is None
    assert len(pages) <= 8
    assert not pages[-1].more
    assert "given up" in pages[-1].warnings[0]


def test_empty_pages_before_the_posts_are_passed() -> None:
    site = Site()
    bodies = [{"posts": [], "cursor": "1"}, {"posts": [], "cursor": "2"}, {"posts": [post(5)]}]
    site.answer = lambda name, params: ok(bodies.pop(0)) if "q" in params else None
    assert keys(collect(search(site))[0]) == ["m5"]


def test_pages_in_any_order_and_times_of_the_future_leave_the_right_bound() -> None:
    future = post(-60 * 24 * 365)
    site = Site([post(5), post(2), post(9), future])
    site.answer = deaf(site)
    (page,) = collect(search(site))[0]
    (lane,) = stored(page)["lanes"].values()
    assert lane["since"] == int((NOW - timedelta(minutes=2)).timestamp() * 1000)


def test_a_first_run_looks_back_as_far_as_it_is_told() -> None:
    site = Site([post(60), post(60 * 47), post(60 * 49), post(60 * 24 * 90)])
    assert keys(collect(search(site, first_days=2))[0]) == ["m60", "m2820"]
    far = Budget(since=NOW - timedelta(days=100))
    assert len(keys(collect(search(site), budget=far)[0])) == 4


def test_each_term_has_its_own_search_and_waits_its_turn() -> None:
    query = Query(name="Acme", kind="brand", any_of=("Acme", "acme kettle"), langs=("es",))
    site = Site([post(n) for n in range(1, 25)], size=10)
    first, spent = collect(search(site), query=query, budget=Budget(pages=1))
    assert spent is not None
    assert "left out" in str(spent)
    later = NOW + timedelta(minutes=1)
    collect(search(site), stored(first[-1]), query=query, budget=Budget(pages=1), now=later)
    assert [params["q"] for params in asked(site)] == ['"acme kettle"', "Acme"]
    assert {params["lang"] for params in asked(site)} == {"es"}


def test_a_budget_of_posts_bounds_what_is_asked_for() -> None:
    site = Site([post(n) for n in range(1, 31)])
    pages, spent = collect(search(site), budget=Budget(mentions=12))
    assert spent is not None
    assert len(keys(pages)) == 12
    assert asked(site)[0]["limit"] == "12"
    rest, _ = collect(search(site), stored(pages[-1]))
    assert set(keys(pages + rest)) == {f"m{n}" for n in range(1, 31)}


@pytest.mark.parametrize(
    "cursor",
    [{}, {"lanes": 1}, {"lanes": {"Acme": {"since": "x"}}}, {"lanes": {"Acme": None}}],
    ids=str,
)
def test_a_cursor_that_cannot_be_read_starts_anew(cursor: Cursor) -> None:
    assert keys(collect(search(Site([post(5)])), cursor)[0]) == ["m5"]


def test_a_span_can_be_searched_alone() -> None:
    site = Site([post(n) for n in range(1, 40)], size=10)
    start, end = NOW - timedelta(minutes=30), NOW - timedelta(minutes=10)
    pages = list(search(site).between(QUERY, start, end, budget=FREE, now=NOW))
    assert set(keys(pages)) == {f"m{n}" for n in range(11, 31)}
    assert all(page.cursor is None for page in pages)


# ---- notifications -----------------------------------------------------------------------------


def test_notifications_go_on_where_they_ended() -> None:
    site = Site(notes=[{**post(n), "reason": "reply"} for n in range(1, 26)], size=10)
    connector = BlueskyNotifications(api(site), overlap=timedelta(0))
    pages, _ = collect(connector, query=None)
    assert keys(pages) == [f"m{n}" for n in range(1, 26)]
    site.notes += [{**post(60), "indexedAt": stamp(NOW), "reason": "quote"}]
    again, _ = collect(connector, stored(pages[-1]), query=None)
    assert keys(again) == ["m60", *(f"m{n}" for n in range(1, 10))]
    asked_for = asked(site, "app.bsky.notification.listNotifications")
    assert "since" not in asked_for[0]
    assert not any("updateSeen" in name for name, _ in site.seen)


def test_a_token_of_notifications_that_is_refused_starts_at_the_top_once() -> None:
    site = Site(notes=[{**post(n), "reason": "mention"} for n in range(1, 26)], size=10)
    tokens: list[str] = []

    def forgetful(name: str, params: dict[str, Any]) -> httpx.Response | None:
        if "cursor" in params:
            tokens.append(params["cursor"])
            return refused("InvalidRequest") if len(tokens) == 1 else None
        return None

    site.answer = forgetful
    pages, _ = collect(BlueskyNotifications(api(site)), query=None)
    assert set(keys(pages)) == {f"m{n}" for n in range(1, 26)}
    site.answer = lambda name, params: refused("InvalidRequest") if "cursor" in params else None
    with pytest.raises(Refused):
        collect(BlueskyNotifications(api(site)), query=None)


# ---- sessions ----------------------------------------------------------------------------------


def names(site: Site) -> Counter[str]:
    return Counter(name.rpartition(".")[2] for name, _ in site.seen)


def test_one_login_serves_every_run(tmp_path: Path) -> None:
    site, path = Site([post(1)]), tmp_path / "s.json"
    for _ in range(3):
        collect(BlueskySearch(api(site, path)))
    assert names(site) == {"createSession": 1, "searchPosts": 3}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(tmp_path.glob("s.json.?*[!k]"))


def test_an_expired_token_is_refreshed_once_and_kept(tmp_path: Path) -> None:
    site, path = Site([post(1)]), tmp_path / "s.json"
    collect(BlueskySearch(api(site, path)))
    site.access.clear()
    assert keys(collect(BlueskySearch(api(site, path)))[0]) == ["m1"]
    collect(BlueskySearch(api(site, path)))
    assert names(site) == {"createSession": 1, "searchPosts": 4, "refreshSession": 1}


def test_a_revoked_session_is_logged_in_once_then_needs_help(tmp_path: Path) -> None:
    site, path = Site([post(1)]), tmp_path / "s.json"
    collect(BlueskySearch(api(site, path)))
    site.access.clear()
    site.refresh.clear()
    assert keys(collect(BlueskySearch(api(site, path)))[0]) == ["m1"]
    assert names(site)["createSession"] == 2
    site.access.clear()
    site.refresh.clear()
    site.password = "changed"
    with pytest.raises(NeedsAuth, match="app_password") as caught:
        collect(BlueskySearch(api(site, path)))
    assert names(site)["createSession"] == 3
    assert "alice" not in str(caught.value)


def test_a_session_that_is_refused_at_once_ends(tmp_path: Path) -> None:
    site = Site()
    site.answer = lambda name, params: refused("InvalidToken") if "q" in params else None
    with pytest.raises(NeedsAuth, match="just given"):
        collect(BlueskySearch(api(site, tmp_path / "s.json")))
    assert names(site) == {"createSession": 1, "searchPosts": 2, "refreshSession": 1}


def test_many_at_once_renew_a_session_once(tmp_path: Path) -> None:
    site, path = Site([post(1)]), tmp_path / "s.json"
    collect(BlueskySearch(api(site, path)))
    connectors = [BlueskySearch(api(site, path)) for _ in range(6)]
    for one in connectors:
        collect(one)
    site.access.clear()
    found: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda one=one: found.append(keys(collect(one)[0])))
        for one in connectors
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [["m1"]] * 6
    assert names(site)["refreshSession"] == 1
    assert names(site)["createSession"] == 1


def test_another_process_holds_the_session(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    script = (
        "import sys, pathlib\n"
        "from connectors.bluesky_session import SessionFile\n"
        "file = SessionFile(pathlib.Path(sys.argv[1]), 's', 'i')\n"
        "with file.held():\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        entered = threading.Event()

        def enter() -> None:
            with SessionFile(path, "s", "i").held():
                entered.set()

        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.2)
        process.communicate("")
        waiting.join()
        assert entered.is_set()


def test_a_session_of_another_account_or_broken_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    mine = Tokens(service="s", identifier="i", did=DID, access="a", refresh="r")
    SessionFile(path, "s", "i").write(mine)
    assert SessionFile(path, "s", "i").read() == mine
    assert SessionFile(path, "s", "other").read() is None
    assert SessionFile(path, "elsewhere", "i").read() is None
    path.write_text("{", encoding="utf-8")
    assert SessionFile(path, "s", "i").read() is None
    assert "access" not in repr(mine)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
def test_a_session_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    SessionFile(path, "s", "i").write(
        Tokens(service="s", identifier="i", did=DID, access="a", refresh="r")
    )
    path.chmod(0o644)
    with pytest.raises(BadConfig, match="read by others"):
        SessionFile(path, "s", "i").read()


@pytest.mark.parametrize(
    ("service", "safe"),
    [
        ("https://pds.example", True),
        ("http://localhost:2583", True),
        ("http://127.0.0.1:2583", True),
        ("http://[::1]:2583", True),
        ("http://10.1.2.3", True),
        ("http://pds:3000", True),
        ("http://pds.example", False),
        ("http://8.8.8.8", False),
        ("ftp://localhost", False),
        ("localhost:2583", False),
    ],
)
def test_passwords_do_not_travel_in_the_open(service: str, safe: bool) -> None:
    if safe:
        assert BlueskyApi("a", "b", service=service).requests == 0
    else:
        with pytest.raises(BadConfig, match="service"):
            BlueskyApi("a", "b", service=service)


def test_without_an_account_it_says_how_to_get_one() -> None:
    site = Site()
    connector = BlueskySearch(BlueskyApi(transport=httpx.MockTransport(site.respond)))
    with pytest.raises(NeedsAuth, match="app_password"):
        collect(connector)
    assert site.seen == []


@pytest.mark.parametrize(
    ("name", "status", "match"),
    [
        ("AuthFactorTokenRequired", 401, "app password"),
        ("AccountTakedown", 401, "taken down"),
        ("InvalidRequest", 400, "identifier"),
    ],
)
def test_a_refused_login_says_what_to_do(name: str, status: int, match: str) -> None:
    site = Site()
    site.answer = lambda method, params: refused(name, status)
    with pytest.raises(NeedsAuth, match=match):
        collect(search(site))
    assert len(site.seen) == 1


def test_too_many_logins_wait_as_long_as_bluesky_says() -> None:
    site, until = Site(), NOW + timedelta(hours=5)
    reset = str(int(until.timestamp()))
    site.answer = lambda name, params: refused("RateLimitExceeded", 429, ratelimit_reset=reset)
    with pytest.raises(RetryAt) as caught:
        collect(search(site))
    assert caught.value.when == until


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused("RateLimitExceeded", 429), RetryAt),
        (refused("Busy", 403, retry_after="30"), RetryAt),
        (httpx.Response(403, content=b"<html>forbidden by administrative rules"), Transient),
        (refused("Forbidden", 403), NeedsAuth),
        (refused("InvalidRequest"), Refused),
        (refused("BadQueryString"), Refused),
        (refused("XRPCNotSupported", 404), BadConfig),
        (refused("MethodNotImplemented", 501), BadConfig),
        (refused("UpstreamFailure", 502), Transient),
        (httpx.Response(500), Transient),
        (httpx.Response(200), Transient),
        (httpx.Response(200, content=b"<html>"), Transient),
        (httpx.Response(200, content=b"[]"), Transient),
        (ok({"feed": []}), Transient),
        (ok({"posts": None}), Transient),
    ],
    ids=lambda one: str(getattr(one, "status_code", "")),
)
def test_refusals_say_what_to_do_next(answer: httpx.Response, error: type[ConnectorError]) -> None:
    site = Site()
    content, status, headers = answer.content, answer.status_code, answer.headers
    site.answer = lambda name, params: (
        httpx.Response(status, content=content, headers=headers) if "q" in params else None
    )
    with pytest.raises(error) as caught:
        collect(search(site))
    assert "Acme" not in str(caught.value)
    assert "access" not in str(caught.value).replace("refuses access", "")


def test_nothing_of_posts_or_tokens_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        pages, _ = collect(search(Site([post(1, "secret words", author={"handle": "bob.x"})])))
    assert keys(pages) == ["m1"]
    assert caplog.text
    assert not re.search(r"secret|words|bob|access\d|refresh\d|app-pass", caplog.text)


def test_check_is_one_cheap_request() -> None:
    site = Site([post(1)])
    assert "accepted" in search(site).check(now=NOW)
    assert "accepted" in BlueskyNotifications(api(site)).check(now=NOW)
    assert [params["limit"] for params in asked(site)] == ["1"]


def test_looking_at_a_connector_does_not_load_atproto() -> None:
    script = (
        "import sys\n"
        "from connectors.bluesky import BlueskySearch\n"
        "from connectors.bluesky_api import BlueskyApi\n"
        "from connectors.jetstream import Jetstream\n"
        "BlueskySearch(BlueskyApi()).capabilities(), Jetstream().capabilities()\n"
        "print([n for n in sys.modules if n.split('.')[0].startswith(('atproto', 'websockets'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


# ---- known posts -------------------------------------------------------------------------------


def test_a_refresh_gives_figures_and_finds_what_is_gone() -> None:
    site = Site([post(1)])
    hidden, gone = uri("hidden"), uri("gone")
    site.records = {hidden}
    connector = search(site)
    connector.check(now=NOW)
    ids = [uri("m1"), hidden, gone, "odd", uri("m1")]
    (page,) = connector.refresh(ids, budget=FREE, now=NOW)
    assert page.updates == (
        Update(
            source="bluesky",
            native_id=uri("m1"),
            kind="metrics",
            at=NOW,
            counts=Counts(likes=1, replies=2, shares=7),
        ),
        Update(
            source="bluesky",
            native_id=gone,
            kind="tombstone",
            at=NOW,
            reason="deleted at the source",
        ),
    )
    assert "kept (1)" in page.warnings[0]
    assert page.cost.requests == 3
    assert isinstance(connector, Refreshes)
    assert connector.refresh_cost(3).requests == 4
    assert connector.refresh_cost(26).requests == 28


@pytest.mark.parametrize(
    ("name", "message", "reason"),
    [
        ("RecordNotFound", "", "deleted at the source"),
        ("InvalidRequest", "Could not locate record: x", "deleted at the source"),
        ("InvalidRequest", "Could not find repo: x", "no longer public"),
        ("RepoTakendown", "", "no longer public"),
        ("RepoSuspended", "", "no longer public"),
        ("RepoDeactivated", "", "no longer public"),
        ("InvalidRequest", "", None),
    ],
)
def test_what_became_of_a_post(name: str, message: str, reason: str | None) -> None:
    site = Site()
    site.answer = lambda method, params: (
        refused(name, message=message) if "rkey" in params else None
    )
    (page,) = search(site).refresh([uri("x")], budget=FREE, now=NOW)
    assert [update.reason for update in page.updates] == ([reason] if reason else [])


def test_a_server_in_trouble_makes_no_tombstones() -> None:
    site = Site()
    site.answer = lambda method, params: httpx.Response(502) if "rkey" in params else None
    with pytest.raises(Transient):
        list(search(site).refresh([uri("x")], budget=FREE, now=NOW))


def test_a_refresh_goes_by_25_and_keeps_to_its_budget() -> None:
    posts = [post(n) for n in range(60)]
    site, ids = Site(posts), [one["uri"] for one in posts]
    pages = list(search(site).refresh(ids, budget=FREE, now=NOW))
    assert [page.returned for page in pages] == [25, 25, 10]
    assert [page.more for page in pages] == [True, True, False]
    got: list[Page] = []
    with pytest.raises(BudgetSpent, match="left out: 30"):
        got.extend(search(site).refresh(ids, budget=Budget(mentions=30), now=NOW))
    assert [page.returned for page in got] == [25, 5]
    with pytest.raises(BudgetSpent, match="left out: 35"):
        list(search(site).refresh(ids, budget=Budget(pages=1), now=NOW))


# ---- conversations -----------------------------------------------------------------------------


def node(item: dict[str, Any], *replies: object, **more: object) -> dict[str, Any]:
    kind = "app.bsky.feed.defs#threadViewPost"
    return {"$type": kind, "post": item, "replies": list(replies), **more}


def answering(minutes_ago: int, parent: str, root: str) -> dict[str, Any]:
    return post(minutes_ago, record={"reply": {"parent": {"uri": parent}, "root": {"uri": root}}})


def test_a_conversation_comes_whole_with_what_is_missing_told() -> None:
    root = uri("m9")
    gone = {"$type": "app.bsky.feed.defs#notFoundPost", "uri": uri("x"), "notFound": True}
    block = {"$type": "app.bsky.feed.defs#blockedPost", "uri": uri("y"), "blocked": True}
    inner = node(answering(7, uri("m8"), root))
    thread = node(post(9), node(answering(8, root, root), inner, gone), block)
    site = Site(threads={root: thread})
    connector = search(site)
    assert isinstance(connector, ReadsThreads)
    (page,) = connector.thread([root], budget=FREE, now=NOW)
    assert keys([page]) == ["m9", "m8", "m7"]
    assert [one.parent_id for one in page.mentions] == [None, root, uri("m8")]
    assert {one.root_id for one in page.mentions} == {None, root}
    assert "not there (1)" in page.warnings[0]
    assert "block (1)" in page.warnings[1]
    assert page.returned == 5


def test_answers_that_were_cut_off_are_asked_for_from_there() -> None:
    root = uri("m9")
    cut = node(answering(8, root, root))
    del cut["replies"]
    deeper = node(answering(8, root, root), node(answering(7, uri("m8"), root)))
    site = Site(threads={root: node(post(9), cut), uri("m8"): deeper})
    pages = list(search(site).thread([root], budget=FREE, now=NOW))
    assert keys(pages) == ["m9", "m8", "m7"]
    assert [page.more for page in pages] == [True, False]


def test_a_conversation_that_is_gone_is_told() -> None:
    pages = list(search(Site()).thread([uri("m9"), uri("m8")], budget=FREE, now=NOW))
    assert [page.mentions for page in pages] == [(), ()]
    assert "not there (1)" in pages[0].warnings[0]
    with pytest.raises(BudgetSpent, match="1 conversations"):
        list(search(Site()).thread([uri("m9"), uri("m8")], budget=Budget(pages=1), now=NOW))


def test_a_thread_deeper_than_the_stack_is_read() -> None:
    thread = node(post(1))
    for n in range(2, 3000):
        thread = node(post(n), thread)
    assert len(records({"thread": thread})) == 2999


# ---- queries -----------------------------------------------------------------------------------


def test_a_query_becomes_a_search_for_each_term() -> None:
    query = Query(
        name="Acme",
        kind="brand",
        any_of=("Acme", "acme kettle", "#acme", "@acme.example", "ACME", 'the "best"', "OR", "?!"),
        none_of=("pub",),
        langs=("es",),
        not_authors=("@acme.example",),
    )
    compiled = compile_query(query)
    assert compiled.searches == (
        '"OR"',
        '"acme kettle"',
        '"the best"',
        "#acme",
        "@acme.example",
        "Acme",
    )
    local = {clause.part for clause in compiled.clauses if clause.syntax is None}
    assert local == {"any_of", "none_of", "not_authors"}
    assert [one.syntax for one in compiled.clauses if one.part == "langs"] == ["lang:es"]
    assert isinstance(BlueskySearch(BlueskyApi()), Compiles)


def test_several_languages_are_told_apart_locally() -> None:
    query = Query(name="Acme", kind="brand", any_of=("Acme",), langs=("es", "en"))
    site = Site([post(1)])
    assert [one.syntax for one in compile_query(query).clauses if one.part == "langs"] == [None]
    collect(search(site), query=query)
    assert "lang" not in asked(site)[0]


def test_what_all_posts_must_have_is_in_each_search() -> None:
    query = Query(name="Acme", kind="brand", any_of=("a b", "c"), all_of=("d", "e f"))
    assert compile_query(query).searches == ('"a b" d "e f"', 'c d "e f"')


@pytest.mark.parametrize(
    "terms", [(), ("?!",), ("x" * (LIMIT + 1),)], ids=["none", "signs", "long"]
)
def test_a_query_that_cannot_be_searched_is_refused(terms: tuple[str, ...]) -> None:
    with pytest.raises(BadConfig, match="Acme"):
        compile_query(Query(name="Acme", kind="brand", any_of=terms))


def test_a_search_needs_a_query() -> None:
    with pytest.raises(BadConfig, match="query"):
        collect(search(Site()), query=None)
