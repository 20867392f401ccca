import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from loopback import Answer, Loopback, Seen, loopback

from connectors.base import (
    BadConfig,
    Budget,
    BudgetSpent,
    Compiles,
    Connector,
    ConnectorError,
    Cursor,
    NeedsAuth,
    Page,
    Query,
    ReadsThreads,
    Refreshes,
    RetryAt,
    Transient,
)
from connectors.http import Http
from connectors.mapping import OddRecord
from connectors.mastodon import MastodonConnector, MastodonMentions, MastodonTags
from connectors.mastodon_api import Absent, Server, open_http, open_origin
from connectors.mastodon_map import map_payload, read_status, to_mention
from connectors.mastodon_posts import Address, read_address
from connectors.mastodon_query import compile_search, compile_tags
from connectors.mastodon_search import MastodonSearch
from connectors.mastodon_walk import Item, Lane, advance
from listener.config import parse
from listener.config_errors import ConfigError
from listener.sources import build

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FREE = Budget()
QUERY = Query(name="Acme", kind="brand", any_of=("#Acme", "acme press"), langs=("es",))
PAYLOADS = Path(__file__).parents[2] / "shared" / "data" / "payloads" / "mastodon"
TAG_PATH = "/api/v1/timelines/tag/acme"
HOST = "social.test"
Kind = type[MastodonTags] | type[MastodonSearch] | type[MastodonMentions]


def stamp(ago: float) -> str:
    """A time so many seconds before NOW, as Mastodon writes it."""
    return (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def account(name: str = "ana", host: str = "far.test", **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": "9",
        "username": name,
        "acct": name if host == HOST else f"{name}@{host}",
        "url": f"https://{host}/@{name}",
        "uri": f"https://{host}/users/{name}",
        "display_name": "Ana :cup:",
        "followers_count": 12,
        "bot": False,
    }
    return {**made, **fields}


def post(number: int, ago: float, host: str = HOST, **fields: Any) -> dict[str, Any]:
    """A post as `social.test` gives it, held by `host`."""
    made: dict[str, Any] = {
        "id": str(100_000 + number),
        "created_at": stamp(ago),
        "in_reply_to_id": None,
        "spoiler_text": "",
        "visibility": "public",
        "language": "en",
        "uri": f"https://{host}/users/ana/statuses/{100_000 + number}",
        "url": f"https://{host}/@ana/{100_000 + number}",
        "replies_count": 1,
        "reblogs_count": 2,
        "favourites_count": 3,
        "edited_at": None,
        "content": f"<p>Is acme number {number} any good?</p>",
        "reblog": None,
        "account": account(host=host),
        "media_attachments": [],
        "poll": None,
    }
    return {**made, **fields}


def mention_of(number: int, ago: float, **fields: Any) -> dict[str, Any]:
    """A notification of a post that mentions the account."""
    return {
        "id": str(500 + number),
        "type": "mention",
        "created_at": stamp(ago),
        "account": account(),
        "status": post(number, ago, **fields),
    }


def uri(number: int, host: str = HOST) -> str:
    return f"https://{host}/users/ana/statuses/{100_000 + number}"


def body(value: object, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


def gone() -> Answer:
    return body({"error": "Record not found"}, 404)


@dataclass
class Site:
    """A server: what it holds, what it was asked, and what happens before an answer."""

    posts: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    contexts: dict[str, tuple[list[Any], list[Any]]] = field(default_factory=dict)
    lists_ids: bool = True
    seen: list[tuple[str, dict[str, str | list[str]]]] = field(default_factory=list)
    before: Callable[[int], None] = lambda _: None

    def __call__(self, seen: Seen) -> Answer:
        """The answer to a request that arrived through a socket."""
        return self.answer(seen.path, dict(seen.params), seen.headers)

    def transport(self) -> httpx.MockTransport:
        def handle(request: httpx.Request) -> httpx.Response:
            params = request.url.params
            given: dict[str, Any] = dict(params)
            if "id[]" in params:
                given["id[]"] = params.get_list("id[]")
            answer = self.answer(request.url.path, given, request.headers)
            return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

        return httpx.MockTransport(handle)

    def answer(self, path: str, params: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        self.seen.append((path, params))
        self.before(len(self.seen))
        signed = headers.get("authorization") == "Bearer secret"
        parts = path.removeprefix("/api/").split("/")
        match parts:
            case ["v1", "timelines", "tag", _]:
                return body(timeline(self.posts, params))
            case ["v1", "notifications"] if signed:
                return body(timeline(self.notes, params))
            case ["v2", "search"] if signed:
                return body({"accounts": [], "hashtags": [], "statuses": self.search(params)})
            case ["v1", "statuses"] if self.lists_ids:
                return body([one for one in self.posts if one["id"] in params["id[]"]])
            case ["v1", "statuses", number, *rest] if found := self.named(number):
                if not rest:
                    return body(found)
                above, below = self.contexts[number]
                return body({"ancestors": above, "descendants": below})
            case ["v2", "search"] | ["v1", "notifications"]:
                return body({"error": "The access token is invalid"}, 401)
        return gone()

    def named(self, number: str) -> dict[str, Any] | None:
        return next((one for one in self.posts if one["id"] == number), None)

    def search(self, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        if params.get("resolve"):
            return [one for one in self.posts if one["uri"] == params["q"]]
        newest = sorted(self.posts, key=lambda one: int(one["id"]), reverse=True)
        start = int(params.get("offset", 0))
        return newest[start : start + int(params["limit"])]


def timeline(records: Sequence[dict[str, Any]], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Newest first; with `min_id` the ones just behind it, as Mastodon does."""
    newest = sorted(records, key=lambda one: int(one["id"]), reverse=True)
    limit = int(params["limit"])
    if "min_id" in params:
        above = [one for one in newest if int(one["id"]) > int(params["min_id"])]
        return above[-limit:]
    return [one for one in newest if int(one["id"]) < int(params.get("max_id", 10**12))][:limit]


def server(site: Site, token: str = "") -> Server:
    return Server(f"https://{HOST}", token, open_http(transport=site.transport(), retries=0))


@dataclass(frozen=True)
class ContractCase:
    connector: Connector
    expected_ids: set[str]
    query: Query | None
    now: datetime = NOW


def make_contract_case(kind: Kind) -> ContractCase:
    """Seven days with 25 posts of which three may not be stored, in pages of four."""
    site = Site([post(n, 600_000 - 20_000 * n, host="far.test") for n in range(25)])
    site.posts[7] |= {"visibility": "direct"}
    site.posts[9] |= {"content": "", "spoiler_text": ""}
    site.posts[11] |= {"created_at": None}
    site.notes = [
        {**mention_of(n, 600_000 - 20_000 * n), "status": site.posts[n]} for n in range(25)
    ]
    connector = kind(server(site, "secret"), page_size=4)
    expected = {uri(n, "far.test") for n in range(25)} - {uri(n, "far.test") for n in (7, 9, 11)}
    return ContractCase(connector, expected, None if kind is MastodonMentions else QUERY)


def pages_of(
    connector: MastodonTags | MastodonSearch | MastodonMentions,
    cursor: Cursor | None = None,
    *,
    budget: Budget = FREE,
    now: datetime = NOW,
    query: Query = QUERY,
) -> list[Page]:
    return list(connector.collect(query, cursor, budget=budget, now=now))


def uris(pages: Sequence[Page]) -> list[str]:
    return [mention.native_id for page in pages for mention in page.mentions]


def warnings(pages: Sequence[Page]) -> list[str]:
    return [warning for page in pages for warning in page.warnings]


# ---- One post ------------------------------------------------------------------------------------


def mapped(**fields: Any) -> Any:
    return to_mention(read_status(post(1, 60, **fields)), "mastodon")


def test_a_post_is_known_by_its_uri_and_its_author_by_the_profile() -> None:
    one = mapped(account=account("ana", HOST))
    assert one.native_id == uri(1)
    assert one.author.native_id == f"https://{HOST}/@ana"
    assert one.author.handle == f"ana@{HOST}"
    assert (one.author.name, one.author.followers) == ("Ana :cup:", 12)
    assert (one.counts.likes, one.counts.replies, one.counts.shares) == (3, 1, 2)
    assert one.published_at == NOW - timedelta(seconds=60)
    assert one.raw == {"id": "100001", "visibility": "public", "bot": False}


def test_links_come_whole_and_blocks_on_lines_of_their_own() -> None:
    html = (
        '<p>Look :cup: <a href="https://shop.test/a/very/long/way?x=1"><span class="invisible">'
        'https://</span><span class="ellipsis">shop.test/a/very/lo</span><span class="invisible">'
        'ng/way?x=1</span></a> &amp; <span class="h-card"><a href="https://far.test/@bo">@<span>'
        "bo</span></a></span></p><p>uno<br>dos</p>"
    )
    expected = "Look :cup: https://shop.test/a/very/long/way?x=1 & @bo\nuno\ndos"
    assert mapped(content=html).text == expected


def test_warning_poll_and_descriptions_are_kept() -> None:
    one = mapped(
        content="<p>Which?</p>",
        spoiler_text="coffee",
        poll={"options": [{"title": "Acme"}, {"title": None}, "odd", {"title": "Zeta"}]},
        media_attachments=[{"description": "a broken grinder"}, {"description": None}, 7],
    )
    assert one.title == "coffee"
    assert one.text == "Which?\n- Acme\n- Zeta\n[a broken grinder]"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"visibility": "private"}, "not public"),
        ({"visibility": "direct"}, "not public"),
        ({"visibility": "mutuals_only"}, "not public"),
        ({"visibility": None}, "not public"),
        ({"account": account(suspended=True)}, "account suspended"),
        ({"uri": None, "url": "no address"}, "without a uri"),
        ({"uri": "https://far.test/" + "a" * 2000, "url": None}, "without a uri"),
        ({"created_at": "soon"}, "without a date"),
        ({"content": None}, "without text"),
    ],
)
def test_what_cannot_be_stored_is_told(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(OddRecord, match=why):
        mapped(**fields)


def test_a_private_original_of_a_boost_is_refused() -> None:
    with pytest.raises(OddRecord, match="not public"):
        read_status(post(1, 0, reblog=post(2, 0, visibility="private")))


def test_a_boost_is_its_original() -> None:
    boost = post(1, 0, content="", reblog=post(2, 50, host="far.test"))
    assert read_status(boost).uri == uri(2, "far.test")


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"language": None}, "lang", None),
        ({"language": "und"}, "lang", None),
        ({"language": ["es"]}, "lang", None),
        ({"language": "pt-BR"}, "lang", "pt"),
        ({"account": None}, "author", None),
        ({"account": "odd"}, "author", None),
        ({"url": None}, "url", uri(1)),
        ({"url": "javascript:alert(1)"}, "url", uri(1)),
        ({"created_at": "2026-03-01T10:00:00"}, "published_at", NOW - timedelta(hours=2)),
        ({"created_at": "2026-03-01T11:00:00+01:00"}, "published_at", NOW - timedelta(hours=2)),
        ({"visibility": "unlisted"}, "native_id", uri(1)),
        ({"id": "01KJM0ABCDEFGHJKMNPQRSTVWX"}, "native_id", uri(1)),
        ({"id": 7, "poll": [], "media_attachments": None}, "native_id", uri(1)),
    ],
)
def test_servers_with_ways_of_their_own(fields: dict[str, Any], name: str, value: object) -> None:
    assert getattr(mapped(**fields), name) == value


def test_hidden_figures_are_unknown() -> None:
    one = mapped(favourites_count=-1, replies_count=None, account=account(followers_count=-1))
    assert (one.counts.likes, one.counts.replies) == (None, None)
    assert one.author.followers is None


# ---- Hashtags ------------------------------------------------------------------------------------


def test_the_first_run_goes_down_to_the_first_day_and_drops_what_is_older() -> None:
    site = Site([post(n, 86_400 * (20 - n)) for n in range(20)])
    pages = pages_of(MastodonTags(server(site), page_size=5, first_days=7.5))
    assert uris(pages) == [uri(n) for n in range(19, 12, -1)]
    assert [params.get("max_id") for _, params in site.seen] == [None, "100015", "100010"]


def test_the_first_run_looks_back_as_far_as_the_budget_says() -> None:
    site = Site([post(n, 86_400 * (20 - n)) for n in range(20)])
    budget = Budget(since=NOW - timedelta(days=3.5))
    pages = pages_of(MastodonTags(server(site)), budget=budget)
    assert uris(pages) == [uri(19), uri(18), uri(17)]


def test_later_runs_walk_up_without_gaps_or_doubles_while_posts_arrive() -> None:
    site = Site([post(n, 90_000 - n) for n in range(3)])
    connector = MastodonTags(server(site), page_size=4)
    cursor = pages_of(connector)[-1].cursor
    site.posts += [post(n, 50_000 - n) for n in range(3, 13)]
    site.seen.clear()

    def arrive(request: int) -> None:
        if request in (2, 3):
            site.posts.extend(post(10 * request + n, 40_000 - 100 * request - n) for n in range(3))

    site.before = arrive
    pages = pages_of(connector, cursor, now=NOW)
    numbers = [*range(3, 13), 20, 21, 22, 30, 31, 32]
    assert sorted(uris(pages)) == sorted(map(uri, numbers))
    assert site.seen[0] == (TAG_PATH, {"min_id": "100002", "limit": "4"})
    again = pages_of(connector, pages[-1].cursor)
    assert uris(again) == []


def test_late_comers_are_looked_for_from_the_lowest_post_where_all_are_new() -> None:
    site = Site([post(n, 1_200 - 100 * n) for n in (2, 8)])
    connector = MastodonTags(server(site))
    cursor = pages_of(connector)[-1].cursor
    site.posts.append(post(5, 700))
    assert uris(pages_of(connector, cursor)) == [uri(8), uri(5)]


def test_a_page_that_is_not_full_is_not_the_end() -> None:
    # Servers leave out posts of accounts that are blocked.
    site = Site([post(n, 90_000 - n) for n in range(3)])
    connector = MastodonTags(server(site), page_size=4)
    cursor = pages_of(connector)[-1].cursor
    site.posts.append(post(3, 80_000))
    third = len(site.seen) + 2
    site.before = lambda request: site.posts.append(post(4, 70_000)) if request == third else None
    assert uris(pages_of(connector, cursor)) == [uri(3), uri(4)]


def test_hashtags_take_turns_under_a_small_budget() -> None:
    site = Site([post(1, 90_000)])
    query = Query(name="Acme", kind="brand", any_of=("#acme", "#zeta"))
    connector = MastodonTags(server(site))
    cursor: Cursor | None = None
    for _ in range(4):
        run = connector.collect(query, cursor, budget=Budget(pages=1), now=NOW)
        cursor = next(run).cursor
    assert [path.rpartition("/")[2] for path, _ in site.seen] == ["acme", "acme", "zeta", "zeta"]


def test_a_post_that_arrives_late_is_found_by_the_overlap() -> None:
    site = Site([post(n, 7_200 - 600 * n) for n in range(0, 12, 2)])
    connector = MastodonTags(server(site))
    cursor = pages_of(connector)[-1].cursor
    site.posts.append(post(9, 7_200 - 600 * 9))
    later = NOW + timedelta(minutes=10)
    assert uri(9) in uris(pages_of(connector, cursor, now=later))


def test_an_interrupted_run_goes_on_where_it_was() -> None:
    site = Site([post(n, 90_000 - n) for n in range(20)])
    connector = MastodonTags(server(site), page_size=4)
    found: list[str] = []
    cursor: Cursor | None = None
    runs = 0
    while runs < 12:
        runs += 1
        try:
            for page in connector.collect(QUERY, cursor, budget=Budget(pages=1), now=NOW):
                cursor = json.loads(json.dumps(page.cursor))
                found += uris([page])
        except BudgetSpent:
            continue
        break
    assert found == [uri(n) for n in range(19, -1, -1)]
    assert runs == 6


def test_a_budget_of_mentions_bounds_the_page() -> None:
    site = Site([post(n, 90_000 - n) for n in range(20)])
    walk = MastodonTags(server(site)).collect(QUERY, None, budget=Budget(mentions=3), now=NOW)
    pages = [next(walk)]
    with pytest.raises(BudgetSpent, match="3 mentions"):
        next(walk)
    assert uris(pages) == [uri(19), uri(18), uri(17)]


def test_a_server_that_repeats_its_page_is_left_with_a_warning_and_a_gap() -> None:
    site = Site([post(n, 90_000 - n) for n in range(4)])
    door = Server(f"https://{HOST}", http=open_http(transport=deaf(site)))
    pages = pages_of(MastodonTags(door, page_size=2))
    assert uris(pages) == [uri(3), uri(2)]
    assert warnings(pages) == ["#acme: the server repeats a page; the rest is out of reach"]
    assert pages[-1].gaps == ((NOW - timedelta(days=7), NOW - timedelta(seconds=89_998)),)
    assert not pages[-1].more


def deaf(site: Site) -> httpx.MockTransport:
    """A server that knows neither `min_id` nor `max_id`."""

    def handle(request: httpx.Request) -> httpx.Response:
        answer = site.answer(request.url.path, {"limit": request.url.params["limit"]}, {})
        return httpx.Response(answer.status, content=answer.body)

    return httpx.MockTransport(handle)


def test_pages_without_end_are_left_for_the_next_run() -> None:
    site = Site([post(n, 90_000 - n) for n in range(40)])
    connector = MastodonTags(server(site), page_size=4, max_pages=3)
    pages = pages_of(connector)
    assert uris(pages) == [uri(n) for n in range(39, 27, -1)]
    assert warnings(pages) == ["#acme: read 3 pages; the next run goes on from there"]
    assert uris(pages_of(connector, pages[-1].cursor))[0] == uri(27)


def test_parents_are_found_in_the_page_or_looked_up_together() -> None:
    parent = post(1, 900_000, host="far.test")
    site = Site([
        parent,
        post(2, 300, in_reply_to_id="100001"),
        post(3, 200, in_reply_to_id="100002"),
        post(4, 100, in_reply_to_id="77"),
    ])  # fmt: skip
    pages = pages_of(MastodonTags(server(site)))
    answered = {one.native_id: one.parent_id for page in pages for one in page.mentions}
    assert answered == {uri(2): uri(1, "far.test"), uri(3): uri(2), uri(4): None}
    assert site.seen[1] == ("/api/v1/statuses", {"id[]": ["100001", "77"]})
    assert sum(page.cost.requests for page in pages) == len(site.seen)


def test_a_server_that_gives_no_lists_by_ids_is_asked_once() -> None:
    site = Site([post(n, 300 - n, in_reply_to_id="77") for n in range(6)], lists_ids=False)
    pages = pages_of(MastodonTags(server(site), page_size=2))
    assert sorted(uris(pages)) == sorted(map(uri, range(6)))
    assert [path for path, _ in site.seen].count("/api/v1/statuses") == 1


def test_hashtags_of_the_configuration_are_read_without_a_query() -> None:
    site = Site([post(1, 60)])
    connector = MastodonTags(server(site), hashtags=("#Café", "acme"))
    assert not connector.capabilities().by_query
    pages = list(connector.collect(None, None, budget=FREE, now=NOW))
    assert uris(pages) == [uri(1)]
    asked = {unquote(path) for path, _ in site.seen}
    assert asked == {TAG_PATH, "/api/v1/timelines/tag/café"}


def test_a_query_without_hashtags_asks_nothing() -> None:
    site = Site()
    query = Query(name="Acme", kind="brand", any_of=("acme",))
    assert pages_of(MastodonTags(server(site)), query=query) == []
    assert site.seen == []


def test_what_is_no_hashtag_runs_locally() -> None:
    query = Query(
        name="Acme",
        kind="brand",
        any_of=("#Acme", "#acme", "acme press", "#2026", "#a/../b"),
        none_of=("dj",),
        langs=("es", "en"),
        not_authors=("@bot",),
    )
    compiled = compile_tags(query)
    assert compiled.searches == ("acme",)
    syntax = {(clause.part, clause.text): clause.syntax for clause in compiled.clauses}
    assert syntax.pop(("any_of", "#Acme")) == "#acme"
    assert set(syntax.values()) == {None}
    assert {part for part, _ in syntax} == {"any_of", "none_of", "langs", "not_authors"}


def test_a_wrong_hashtag_of_the_configuration_is_refused() -> None:
    with pytest.raises(BadConfig, match="not a hashtag"):
        MastodonTags(server(Site()), hashtags=("two words",))


def test_ids_of_other_programs_are_walked_by_their_letters() -> None:
    def item(native_id: str, second: int) -> Item:
        return Item(id=native_id, second=second, record={})

    lane = Lane(since=0, top="01KB", floor="01KA")
    step = advance(lane, [item("01KD", 50), item("01KC", 40), item("01KA", 9)], ended=60, late=45)
    assert [one.id for one in step.fresh] == ["01KD", "01KC"]
    assert (step.lane.top, step.lane.up, step.lane.floor) == ("01KD", "01KD", "01KC")
    step = advance(step.lane, [], ended=60, late=45)
    assert step.done
    assert step.lane.place == {"min_id": "01KC", "max_id": None}


@pytest.mark.parametrize(
    "cursor", [{"lanes": 7}, {"lanes": {"#acme": {"since": "x"}}}, {"lanes": {"#acme": None}}, {}]
)
def test_a_cursor_that_cannot_be_read_starts_anew(cursor: Cursor) -> None:
    site = Site([post(1, 60)])
    assert uris(pages_of(MastodonTags(server(site)), cursor)) == [uri(1)]


# ---- Mentions ------------------------------------------------------------------------------------


def test_private_mentions_are_never_given() -> None:
    site = Site(notes=[mention_of(n, 600 - n, host="far.test") for n in range(4)])
    site.notes[1]["status"]["visibility"] = "direct"
    site.notes[2]["status"]["visibility"] = "private"
    site.notes.append({**mention_of(5, 10), "type": "favourite"})
    pages = pages_of(MastodonMentions(server(site, "secret")))
    assert uris(pages) == [uri(3, "far.test"), uri(0, "far.test")]
    assert warnings(pages) == ["mentions: skipped, not public (2)"]
    assert sum(page.returned for page in pages) == 5
    assert not any("number 1" in json.dumps(page.cursor) for page in pages)


def test_mentions_walk_up_by_the_ids_of_notifications() -> None:
    site = Site(notes=[mention_of(1, 90_000)])
    connector = MastodonMentions(server(site, "secret"))
    cursor = pages_of(connector)[-1].cursor
    site.notes.append(mention_of(2, 80_000))
    site.seen.clear()
    assert uris(pages_of(connector, cursor)) == [uri(2)]
    assert site.seen[0][1]["min_id"] == "501"
    assert site.seen[0][1]["types[]"] == "mention"


@pytest.mark.parametrize("kind", [MastodonMentions, MastodonSearch])
def test_what_is_for_accounts_needs_a_token(
    kind: type[MastodonMentions] | type[MastodonSearch],
) -> None:
    site = Site()
    with pytest.raises(NeedsAuth, match="access_token"):
        pages_of(kind(server(site)))
    assert site.seen == []


# ---- Search --------------------------------------------------------------------------------------


def test_a_search_for_each_term_with_what_all_must_hold() -> None:
    query = Query(
        name="x", kind="category", any_of=('mill "x"', "grinder"), all_of=("acme",), none_of=("a",)
    )
    compiled = compile_search(query)
    assert compiled.searches == ('"grinder" "acme"', '"mill x" "acme"')
    local = {one.part for one in compiled.clauses if one.syntax is None}
    assert local == {"none_of"}


def test_search_goes_down_by_offset_to_what_it_knows() -> None:
    site = Site([post(n, 90_000 - n) for n in range(10)])
    query = Query(name="Acme", kind="brand", any_of=("acme",))
    connector = MastodonSearch(server(site, "secret"), page_size=4)
    first = pages_of(connector, query=query)
    assert uris(first) == [uri(n) for n in range(9, -1, -1)]
    assert [params.get("offset") for _, params in site.seen] == [None, "4", "8", "10"]
    assert site.seen[0][1]["q"] == '"acme"'
    assert "resolve" not in site.seen[0][1]
    site.posts += [post(n, 80_000 - n) for n in range(10, 13)]
    second = pages_of(connector, first[-1].cursor, query=query)
    assert uris(second) == [uri(12), uri(11), uri(10)]


def test_a_search_without_end_leaves_a_gap() -> None:
    site = Site([post(n, 90_000 - n) for n in range(30)])
    query = Query(name="Acme", kind="brand", any_of=("acme",))
    connector = MastodonSearch(server(site, "secret"), page_size=4, max_pages=2)
    pages = pages_of(connector, query=query)
    assert len(uris(pages)) == 8
    assert warnings(pages) == ["search 1 of 1: ends after 8 posts; older ones are missing"]
    assert pages[-1].gaps == ((NOW - timedelta(days=7), NOW - timedelta(seconds=89_978)),)


def test_check_of_search_says_when_nothing_is_found() -> None:
    site = Site()
    line = MastodonSearch(server(site, "secret")).check(now=NOW)
    assert "may have no full-text search" in line
    site.posts.append(post(1, 5))
    assert "it finds posts" in MastodonSearch(server(site, "secret")).check(now=NOW)


# ---- Known posts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://A.test/users/ana/statuses/115", Address("a.test", "115")),
        ("https://a.test/ap/users/77/statuses/115", Address("a.test", "115")),
        ("https://a.test/users/ana/statuses/01KJM0ABCD", Address("a.test", "01KJM0ABCD")),
        ("https://a.test/@ana/115", Address("a.test", "115")),
        ("https://a.test/objects/4f2c-99", None),
        ("https://me:pw@a.test/@ana/115", None),
        ("https://a.test/@ana@b.test/115", None),
        ("tag:a.test,2017:objectId=1:objectType=Status", None),
        ("https://[a/@ana/1", None),
    ],
)
def test_a_uri_shows_where_its_post_is(given: str, expected: Address | None) -> None:
    assert read_address(given) == expected


def news(connector: Refreshes, ids: Sequence[str], budget: Budget = FREE) -> Counter[str]:
    pages = list(connector.refresh(ids, budget=budget, now=NOW))
    assert all(page.cursor is None for page in pages)
    return Counter(f"{one.kind} {one.native_id}" for page in pages for one in page.updates)


def test_refresh_gives_figures_edits_and_removals() -> None:
    edited = post(2, 500, edited_at=stamp(100), content="<p>changed</p>")
    site = Site([post(1, 600), edited, post(3, 400, visibility="private")])
    connector = MastodonTags(server(site))
    pages = list(connector.refresh([uri(n) for n in (1, 2, 3, 4)], budget=FREE, now=NOW))
    updates = {(one.kind, one.native_id): one for page in pages for one in page.updates}
    assert updates.keys() == {
        ("metrics", uri(1)),
        ("metrics", uri(2)),
        ("edit", uri(2)),
        ("tombstone", uri(3)),
        ("tombstone", uri(4)),
    }
    edit = updates["edit", uri(2)]
    assert (edit.text, edit.at) == ("changed", NOW - timedelta(seconds=100))
    assert updates["metrics", uri(1)].counts.likes == 3
    assert updates["tombstone", uri(3)].reason == "not public"
    assert updates["tombstone", uri(4)].reason == "deleted"
    assert [path for path, _ in site.seen] == ["/api/v1/statuses", "/api/v1/statuses/100004"]


def test_refresh_asks_one_by_one_where_there_are_no_lists() -> None:
    site = Site([post(n, 600 - n) for n in range(3)], lists_ids=False)
    connector = MastodonTags(server(site))
    found = news(connector, [uri(n) for n in range(3)])
    assert found == Counter(f"metrics {uri(n)}" for n in range(3))
    assert len(site.seen) <= connector.refresh_cost(3).requests


def test_a_post_of_another_server_is_looked_up_there_without_the_token() -> None:
    far = Site([post(1, 600, host="far.test")])
    opened: list[str] = []

    def open_far(host: str) -> Server:
        opened.append(host)
        return Server(f"https://{host}", http=open_http(transport=far.transport()))

    home = Site()
    connector = MastodonTags(server(home, "secret"), open_origin=open_far)
    found = news(connector, [uri(1, "far.test"), uri(2, "far.test")])
    assert found == Counter(
        {f"metrics {uri(1, 'far.test')}": 1, f"tombstone {uri(2, 'far.test')}": 1}
    )
    assert opened == ["far.test"]
    assert home.seen == []


def test_what_a_strange_server_does_harms_nobody_elses_posts() -> None:
    # It gives the post of somebody else under the id of its own.
    far = Site([post(1, 600, host="victim.test")])
    refused = Server("https://far.test", http=open_http(transport=far.transport()))
    connector = MastodonTags(server(Site()), open_origin=lambda _: refused)
    pages = list(connector.refresh([uri(1, "far.test")], budget=FREE, now=NOW))
    assert [page.updates for page in pages] == [()]
    assert warnings(pages) == ["mastodon: 1 posts could not be looked up"]


def test_a_boost_in_the_place_of_a_post_tells_nothing_of_its_original() -> None:
    boost = post(1, 600, reblog=post(2, 500, host="victim.test", edited_at=stamp(1)))
    assert news(MastodonTags(server(Site([boost]))), [uri(1)]) == Counter()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(503, b"<html>"),
        Answer(404, b"<html>nothing"),
        body({"error": "The access token is missing"}, 401),
        Answer(429, b"", {"X-RateLimit-Reset": "2026-03-01T12:05:00.000Z"}),
        Answer(200, b""),
    ],
)
def test_a_server_of_others_that_fails_removes_nothing(answer: Answer) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    http = open_http(transport=httpx.MockTransport(handle), retries=0)
    home = Site([post(5, 50, host="far.test")])
    connector = MastodonTags(
        server(home, "secret"), open_origin=lambda host: Server(f"https://{host}", http=http)
    )
    pages = list(connector.refresh([uri(5, "far.test"), uri(6, "far.test")], budget=FREE, now=NOW))
    kinds = [(one.kind, one.native_id) for page in pages for one in page.updates]
    assert kinds == [("metrics", uri(5, "far.test"))]
    assert [params["q"] for _, params in home.seen] == [uri(5, "far.test"), uri(6, "far.test")]
    assert warnings(pages) == ["mastodon: 1 posts could not be looked up"]


def failing(status: int, seen: list[str]) -> Http:
    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(status)

    return open_http(transport=httpx.MockTransport(handle), retries=0)


@pytest.mark.parametrize(("status", "error"), [(503, Transient), (401, NeedsAuth), (429, RetryAt)])
def test_where_the_own_server_fails_nothing_is_told(
    status: int, error: type[ConnectorError]
) -> None:
    connector = MastodonTags(Server(f"https://{HOST}", http=failing(status, [])))
    with pytest.raises(error):
        news(connector, [uri(1), uri(2)])
    with pytest.raises(error):
        list(connector.thread([uri(1)], budget=FREE, now=NOW))


def test_a_silent_server_of_others_is_asked_once() -> None:
    seen: list[str] = []
    door = Server("https://far.test", http=failing(503, seen))
    connector = MastodonTags(server(Site()), open_origin=lambda _: door)
    assert news(connector, [uri(n, "far.test") for n in range(45)]) == Counter()
    assert seen == ["/api/v1/statuses"]


def test_refresh_stops_at_its_budget() -> None:
    site = Site([post(n, 600 - n) for n in range(25)])
    connector = MastodonTags(server(site))
    with pytest.raises(BudgetSpent, match="5 posts are not looked at"):
        news(connector, [uri(n) for n in range(25)], Budget(pages=1))


def test_a_conversation_comes_whole_with_parents_and_root() -> None:
    root, first = post(1, 900), post(2, 800, host="far.test", in_reply_to_id="100001")
    second = post(3, 700, in_reply_to_id="100002")
    secret = post(4, 600, in_reply_to_id="100003", visibility="private")
    site = Site([root], contexts={"100001": ([], [first, second, secret])})
    pages = list(MastodonTags(server(site)).thread([uri(1)], budget=FREE, now=NOW))
    links = {one.native_id: (one.parent_id, one.root_id) for one in pages[0].mentions}
    assert links == {
        uri(1): (None, None),
        uri(2, "far.test"): (uri(1), uri(1)),
        uri(3): (uri(2, "far.test"), uri(1)),
    }
    assert warnings(pages) == ["mastodon, a conversation: skipped, not public (1)"]


def test_a_conversation_begins_where_it_really_does() -> None:
    above, asked = post(1, 900), post(2, 800, in_reply_to_id="100001")
    site = Site([above, asked], contexts={"100002": ([above], [])})
    [page] = MastodonTags(server(site)).thread([uri(2)], budget=FREE, now=NOW)
    links = {one.native_id: (one.parent_id, one.root_id) for one in page.mentions}
    assert links == {uri(1): (None, None), uri(2): (uri(1), uri(1))}


def test_a_deleted_conversation_is_a_tombstone() -> None:
    [page] = MastodonTags(server(Site())).thread([uri(1)], budget=FREE, now=NOW)
    assert [(one.kind, one.native_id) for one in page.updates] == [("tombstone", uri(1))]


def test_a_conversation_of_another_server_is_found_with_a_token() -> None:
    site = Site([post(8, 50, host="far.test")], contexts={"100008": ([], [])})
    [page] = MastodonTags(server(site, "secret")).thread([uri(8, "far.test")], budget=FREE, now=NOW)
    assert [one.native_id for one in page.mentions] == [uri(8, "far.test")]
    assert site.seen[0][1]["resolve"] == "1"


def test_without_a_token_its_server_is_believed_about_its_own_posts_only() -> None:
    own = post(9, 40, host="far.test", in_reply_to_id="100008")
    invented = post(10, 30, host="victim.test", in_reply_to_id="100008")
    far = Site([post(8, 50, host="far.test")], contexts={"100008": ([], [own, invented])})
    door = Server("https://far.test", http=open_http(transport=far.transport()))
    connector = MastodonTags(server(Site()), open_origin=lambda _: door)
    [page] = connector.thread([uri(8, "far.test")], budget=FREE, now=NOW)
    assert [one.native_id for one in page.mentions] == [uri(8, "far.test"), uri(9, "far.test")]
    assert page.warnings == ("mastodon, a conversation: left out, held by other servers (1)",)


def test_a_conversation_that_nobody_finds_is_a_warning() -> None:
    [page] = MastodonTags(server(Site())).thread(
        ["https://far.test/objects/1"], budget=FREE, now=NOW
    )
    assert "an access_token of this server may help" in page.warnings[0]


def test_threads_stop_at_their_budget() -> None:
    with pytest.raises(BudgetSpent, match="2 conversations"):
        list(MastodonTags(server(Site())).thread(["a", "b"], budget=Budget(pages=0), now=NOW))


def test_the_same_post_of_two_servers_is_one() -> None:
    one = to_mention(read_status(post(1, 60, host="far.test", id="5")), "mastodon")
    two = to_mention(read_status(post(1, 60, host="far.test", id="01KX")), "mastodon")
    assert (one.native_id, one.author) == (two.native_id, two.author)


# ---- The door ------------------------------------------------------------------------------------


@pytest.fixture
def site() -> Iterator[Loopback]:
    with loopback() as running:
        yield running


def at(running: Loopback, token: str = "", **limits: Any) -> MastodonTags:
    waits: list[float] = []
    http = open_http(private=True, wait=waits.append, **limits)
    return MastodonTags(Server(running.url, token, http), page_size=2)


def test_a_walk_through_a_socket(site: Loopback) -> None:
    held = Site([post(n, 90_000 - n) for n in range(5)])
    site.route(TAG_PATH, held)
    assert uris(pages_of(at(site, "secret"))) == [uri(n) for n in range(4, -1, -1)]
    assert {one.headers["authorization"] for one in site.seen} == {"Bearer secret"}
    assert {one.headers["user-agent"] for one in site.seen} == {"proactive-listener"}
    assert len(site.seen) == 4


def test_a_limit_names_its_end_as_an_iso_date(site: Loopback) -> None:
    reset = {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "0"}
    reset["X-RateLimit-Reset"] = "2026-03-01T12:04:00.000123Z"
    site.route(TAG_PATH, Answer(429, b'{"error":"Too many requests"}', reset))
    with pytest.raises(RetryAt) as caught:
        pages_of(at(site))
    assert caught.value.when == datetime(2026, 3, 1, 12, 4, 0, 123, tzinfo=UTC)
    assert len(site.seen) == 1


@pytest.mark.parametrize(
    ("answer", "token", "error", "says"),
    [
        (body({"error": "The access token was revoked"}, 401), "secret", NeedsAuth, "the token"),
        (body({"error": "The access token is invalid"}, 401), "", NeedsAuth, "accounts only"),
        (body({"error": "This method requires ..."}, 422), "", NeedsAuth, "accounts only"),
        (
            body({"error": "This method requires an authenticated user"}, 422),
            "secret",
            NeedsAuth,
            "the token",
        ),
        (body({"error": "Validation failed"}, 422), "secret", BadConfig, "terms"),
        (body({"error": "outside the authorized scopes"}, 403), "secret", NeedsAuth, "scope read"),
        (Answer(403, b"<html>blocked"), "secret", NeedsAuth, "blocks this client"),
        (Answer(403, b"", {"Retry-After": "60"}), "", RetryAt, "limits requests"),
        (Answer(404, b"<html>"), "", Absent, "check url"),
        (Answer(410, b""), "", Absent, "check url"),
        (Answer(418, b""), "", BadConfig, "check url"),
        (Answer(500, b""), "", Transient, "out of order"),
        (Answer(200, b""), "", Transient, "empty answer"),
        (Answer(200, b"<!DOCTYPE html>"), "", Transient, "web page"),
        (Answer(200, b"[{]"), "", Transient, "broken JSON"),
        (body({"error": "odd"}), "", Transient, "no list"),
        (body(None), "", Transient, "no list"),
    ],
)
def test_each_refusal_says_what_to_do(
    site: Loopback, answer: Answer, token: str, error: type[ConnectorError], says: str
) -> None:
    site.route(TAG_PATH, answer)
    with pytest.raises(error, match=says) as caught:
        pages_of(at(site, token))
    assert "secret" not in str(caught.value)


def test_a_passing_fault_is_tried_again(site: Loopback) -> None:
    site.route(TAG_PATH, [Answer(502), body([post(1, 60)]), body([])])
    pages = pages_of(at(site))
    assert uris(pages) == [uri(1)]
    assert pages[0].cost.requests == 2


def test_a_body_without_measure_is_refused(site: Loopback) -> None:
    site.route(TAG_PATH, body([post(1, 60, content="x" * 5000)]))
    with pytest.raises(BadConfig, match="bytes"):
        pages_of(at(site, max_bytes=1000))


def test_private_addresses_are_refused_unless_allowed(site: Loopback) -> None:
    connector = MastodonTags(Server(site.url, http=open_http(retries=0)))
    with pytest.raises(BadConfig, match="private address"):
        pages_of(connector)
    assert site.seen == []


def test_a_redirect_elsewhere_takes_no_token_along(site: Loopback) -> None:
    with loopback() as other:
        other.route(TAG_PATH, body([]))
        site.route(TAG_PATH, Answer(302, b"", {"Location": other.url + TAG_PATH}))
        pages_of(at(site, "secret"))
        assert "authorization" not in other.seen[0].headers


@pytest.mark.parametrize("url", ["mastodon.test", "ftp://a.test", "https://me:pw@a.test"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadConfig, match="url of a Mastodon server"):
        Server(url)


def test_odd_records_are_counted_and_the_rest_is_kept() -> None:
    site = Site([post(1, 60)])
    odd: list[Any] = [7, None, {"content": "x"}, {"id": "4"}, []]

    def handle(request: httpx.Request) -> httpx.Response:
        held = [] if "max_id" in request.url.params else [*odd, *site.posts]
        return httpx.Response(200, content=json.dumps(held).encode())

    http = open_http(transport=httpx.MockTransport(handle))
    pages = pages_of(MastodonTags(Server(f"https://{HOST}", http=http)))
    assert uris(pages) == [uri(1)]
    assert set(warnings(pages)) == {
        "#acme: skipped, not public (1)",
        "#acme: skipped, without an id (4)",
    }


@pytest.mark.parametrize("kind", [MastodonTags, MastodonSearch, MastodonMentions])
def test_all_of_them_look_up_and_read_threads(kind: Kind) -> None:
    connector: MastodonConnector = kind(server(Site()))
    assert isinstance(connector, Refreshes)
    assert isinstance(connector, ReadsThreads)
    assert isinstance(connector, Compiles) == (kind is not MastodonMentions)


# ---- Configuration -------------------------------------------------------------------------------

SETTINGS = """
[brand]
name = "Acme"
[sources.mastodon]
enabled = true
hashtags = ["espresso"]
[[sources.mastodon.servers]]
url = "https://One.test/"
[[sources.mastodon.servers]]
url = "https://two.test"
access_token = { env = "TWO" }
search = true
mentions = true
read_hashtags = false
"""


def test_each_server_has_parts_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWO", "secret")
    sources, failed = build(parse(SETTINGS, file="config.toml"))
    assert failed == []
    made = {source.name: type(source.connector) for source in sources}
    assert made == {
        "mastodon:one.test:tags": MastodonTags,
        "mastodon:one.test:hashtags": MastodonTags,
        "mastodon:two.test:mentions": MastodonMentions,
        "mastodon:two.test:search": MastodonSearch,
    }
    assert {source.connector.source for source in sources} == {"mastodon"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("https://two.test", "https://one.test", "names a server twice"),
        ('access_token = { env = "TWO" }', "", "no access_token"),
        ('{ env = "TWO" }', '"secret"', "must not stand in this file"),
        ('"espresso"', '"two words"', "is not a hashtag"),
    ],
)
def test_settings_that_cannot_work_are_refused(old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(SETTINGS.replace(old, new), file="config.toml")


def test_without_a_server_it_cannot_be_enabled() -> None:
    text = '[brand]\nname = "Acme"\n[sources.mastodon]\nenabled = true\n'
    with pytest.raises(ConfigError, match="is empty"):
        parse(text, file="config.toml")


def test_the_library_is_imported_only_when_a_server_is_asked() -> None:
    code = (
        "import sys; from connectors.registry import load; from connectors.mastodon_api import "
        "Server; [load(f'mastodon_{part}')(Server('https://a.test')).capabilities() "
        "for part in ('tags', 'search', 'mentions')]; "
        "print([name for name in ('mastodon', 'requests') if name in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert out.stdout.strip() == "[]"


def test_servers_of_others_are_public_ones(site: Loopback) -> None:
    origin = open_origin(site.url.removeprefix("http://"))
    assert not origin.has_token
    with pytest.raises(BadConfig, match="private address"):
        origin.status("1", now=NOW)
    assert site.seen == []


# ---- Recordings ----------------------------------------------------------------------------------


@pytest.mark.shared
def test_every_recording_maps_or_raises_what_its_status_means() -> None:
    if not PAYLOADS.is_dir():
        pytest.skip("the recordings are not beside this repository")
    paths = sorted(PAYLOADS.glob("*.json"))
    found: Counter[str] = Counter()
    ids = set()
    for path in paths:
        payload = json.loads(path.read_bytes())
        status = payload["status"]
        if status >= 400:
            expected = {404: Absent, 422: BadConfig}[status]
            with pytest.raises(expected):
                map_payload(payload, now=NOW)
            found[f"refused {status}"] += 1
            continue
        given = map_payload(payload, now=NOW)
        ids |= {mention.native_id for mention in given.mentions}
        found["mapped"] += len(given.mentions)
        found.update(given.skipped)
        for mention in given.mentions:
            assert json.loads(json.dumps(mention.raw)) == mention.raw
            assert mention.author is not None
            assert mention.author.handle is not None
            assert "<" not in mention.text
    assert found == {
        "mapped": 176,
        "not public": 24,
        "refused 404": 3,
        "refused 422": 2,
    }
    assert len(ids) == 105
    assert len(paths) == 298
