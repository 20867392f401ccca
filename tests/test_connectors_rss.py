import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from loopback import Answer, Loopback, loopback

from connectors.base import (
    BadConfig,
    Budget,
    BudgetSpent,
    Connector,
    ConnectorError,
    Cursor,
    Mention,
    Page,
    Query,
    RetryAt,
    Transient,
)
from connectors.http import Gone, Http
from connectors.rss import Feed, Rss

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FREE = Budget()
SHARED = Path(__file__).parents[2] / "shared" / "data" / "payloads" / "rss"


def item(number: int, inside: str = "", *, guid: bool = True) -> str:
    identity = f"<guid>https://blog.example/{number}</guid>" if guid else ""
    return f"""<item>{identity}<title>Post {number}</title>
        <link>https://blog.example/{number}</link>
        <pubDate>Sat, 28 Feb 2026 10:{number % 60:02}:00 +0100</pubDate>
        <description>Words of {number}</description>{inside}</item>"""


def rss(*items: str, language: str = "es-MX") -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?><rss version="2.0" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:content="http://purl.org/rss/1.0/modules/content/">'
        f"<channel><title>Blog</title><language>{language}</language>{''.join(items)}"
        "</channel></rss>"
    ).encode()


class Web:
    """Answers by host name; a host may have a list of answers, given in turn."""

    def __init__(self, **answers: httpx.Response | bytes | Sequence[httpx.Response]) -> None:
        self.answers = answers
        self.asked: list[httpx.Request] = []

    def connector(self, *names: str) -> Rss:
        feeds = [Feed(f"https://{name}.example/feed?key=s3cret") for name in names or self.answers]
        return Rss(Http(httpx.MockTransport(self.answer), wait=lambda _: None), feeds)

    def answer(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host.partition(".")[0]
        before = sum(one.url.host == request.url.host for one in self.asked)
        self.asked.append(request)
        answer = self.answers[host]
        if isinstance(answer, bytes):
            return httpx.Response(200, content=answer)
        return answer if isinstance(answer, httpx.Response) else answer[before]


@dataclass
class ContractCase:
    connector: Connector
    query: Query | None
    now: datetime
    expected_ids: set[str]


def make_contract_case() -> ContractCase:
    """Two feeds, one of them ill-formed, and one that is gone; for the shared contract suite."""
    broken = rss(item(3), item(4))[:-20]
    web = Web(one=rss(item(1), item(2)), two=broken, gone=httpx.Response(410))
    return ContractCase(
        connector=web.connector(),
        query=None,
        now=NOW,
        expected_ids={f"https://blog.example/{n}" for n in (1, 2, 3, 4)},
    )


def collect(
    connector: Rss, cursor: Cursor | None = None, *, budget: Budget = FREE, now: datetime = NOW
) -> tuple[list[Page], bool]:
    """The pages of one call and whether its budget was spent; cursors go through JSON."""
    pages: list[Page] = []
    try:
        for page in connector.collect(None, cursor, budget=budget, now=now):
            pages.append(replace(page, cursor=json.loads(json.dumps(page.cursor))))
    except BudgetSpent:
        return pages, True
    return pages, False


def mentions(pages: list[Page]) -> list[Mention]:
    return [mention for page in pages for mention in page.mentions]


def numbers(pages: list[Page]) -> list[int]:
    return [int(mention.native_id.rpartition("/")[2]) for mention in mentions(pages)]


def one(content: bytes) -> tuple[Mention, tuple[str, ...]]:
    (page,), _ = collect(Web(blog=content).connector())
    (mention,) = page.mentions
    return mention, page.warnings


def test_an_rss_item_becomes_a_mention() -> None:
    inside = """<dc:creator>Ana Pérez</dc:creator><category>coffee</category>
        <content:encoded><![CDATA[<p>Long &amp; <b>rich</b></p><p>text</p>]]></content:encoded>"""
    mention, warnings = one(rss(item(7, inside)))
    assert warnings == ()
    assert mention.source == "rss"
    assert mention.native_id == mention.url == "https://blog.example/7"
    assert (mention.title, mention.text) == ("Post 7", "Long & rich\ntext")
    assert mention.published_at == datetime(2026, 2, 28, 9, 7, tzinfo=UTC)
    assert mention.lang == "es"
    assert mention.author is not None
    assert (mention.author.name, mention.author.native_id) == (
        "Ana Pérez",
        "blog.example/Ana Pérez",
    )
    assert mention.raw == {"feed": "Blog", "tags": ["coffee"]}


def test_a_google_alert_becomes_a_mention() -> None:
    alert = b"""<?xml version="1.0" encoding="utf-8"?>
        <feed xmlns="http://www.w3.org/2005/Atom"><title>Google Alert - acme</title>
        <entry><id>tag:google.com,2013:googlealerts/feed:1234</id>
        <title type="html">Is &lt;b&gt;Acme&lt;/b&gt; worth it?</title>
        <link href="https://www.google.com/url?rct=j&amp;sa=t&amp;url=https://news.example/a&amp;ct=ga"/>
        <published>2026-02-27T08:00:00Z</published>
        <content type="html">A test of &lt;b&gt;Acme&lt;/b&gt;&amp;nbsp;...</content>
        <author><name></name></author></entry></feed>"""
    mention, _ = one(alert)
    assert mention.native_id == "tag:google.com,2013:googlealerts/feed:1234"
    assert mention.url == "https://news.example/a"
    assert (mention.title, mention.text) == ("Is Acme worth it?", "A test of Acme ...")
    assert mention.author is None
    assert mention.lang is None


def test_what_the_user_says_of_a_feed_wins() -> None:
    web = Web(blog=rss(item(1)))
    http = Http(httpx.MockTransport(web.answer))
    feed = Feed("https://blog.example/feed", name="Our blog", lang="en")
    (mention,) = mentions(collect(Rss(http, [feed], source="news"))[0])
    assert (mention.lang, mention.source) == ("en", "news")
    assert mention.raw is not None
    assert mention.raw["feed"] == "Our blog"


def test_identity_without_a_guid() -> None:
    """Trackers do not make another entry; parameters that say more than that do."""
    first = "<item><title>a</title><link>https://b.example/x?utm_source=feed</link></item>"
    again = "<item><title>a</title><link>https://b.example/x?utm_source=mail</link></item>"
    other = "<item><title>b</title><link>https://b.example/y?cid=2</link></item>"
    third = "<item><title>c</title><link>https://b.example/y?cid=3</link></item>"
    bare = "<item><title>no link</title></item>"
    pages, _ = collect(Web(blog=rss(first, other, third, bare)).connector())
    found = [mention.native_id for mention in mentions(pages)]
    assert found[0] == "https://b.example/x"
    assert len(set(found)) == 4
    changed = Web(blog=rss(again, other, third, bare))
    rest, _ = collect(changed.connector(), pages[-1].cursor)
    assert mentions(rest) == []


def test_a_guid_of_one_feed_only_is_kept_apart_from_other_feeds() -> None:
    local = "<item><guid isPermaLink='false'>1</guid><title>x</title></item>"
    long = f"<item><guid>tag:{'x' * 5_000}</guid><title>y</title></item>"
    pages, _ = collect(Web(one=rss(local, long), two=rss(local, long)).connector())
    found = [mention.native_id for mention in mentions(pages)]
    assert len(set(found)) == 4
    assert sum(native_id.endswith(":1") for native_id in found) == 2
    assert max(map(len, found)) < 400


@pytest.mark.parametrize(
    ("date", "published", "told"),
    [
        ("Sat, 28 Feb 2026 10:00:00 +0100", datetime(2026, 2, 28, 9, tzinfo=UTC), False),
        ("2026-02-28T10:00:00-05:00", datetime(2026, 2, 28, 15, tzinfo=UTC), False),
        ("Tue, 01 Jan 2030 00:00:00 GMT", datetime(2030, 1, 1, tzinfo=UTC), False),
        ("Thu, 01 Jan 1970 00:00:00 GMT", NOW, True),
        ("99999-01-01T00:00:00Z", NOW, True),
        ("yesterday", NOW, True),
        ("", NOW, True),
    ],
)
def test_dates_are_not_trusted(date: str, published: datetime, told: bool) -> None:
    mention, warnings = one(rss(f"<item><title>x</title><pubDate>{date}</pubDate></item>"))
    assert mention.published_at == published
    assert any("without a usable date" in warning for warning in warnings) == told


def test_the_date_of_an_update_serves_when_there_is_no_other() -> None:
    atom = b"""<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>urn:x:1</id><title>t</title>
        <updated>2026-02-01T00:00:00Z</updated></entry></feed>"""
    assert one(atom)[0].published_at == datetime(2026, 2, 1, tzinfo=UTC)


def test_an_address_is_nobodys_name() -> None:
    mention, _ = one(rss(item(1, "<author>ana@blog.example</author>")))
    assert mention.author is None
    assert "ana@" not in repr(mention)
    mention, _ = one(rss(item(1, "<author>ana@blog.example (Ana)</author>")))
    assert mention.author is not None
    assert (mention.author.name, mention.author.native_id) == ("Ana", "blog.example/Ana")
    assert "ana@" not in repr(mention)


def test_entries_without_text_are_counted() -> None:
    (page,), _ = collect(
        Web(blog=rss("<item/>", "<item><guid>x</guid></item>", item(1))).connector()
    )
    assert numbers([page]) == [1]
    assert page.returned == 3
    assert page.warnings == ("feed blog.example: entries without text were skipped (2)",)


def test_hostile_text_is_made_plain_and_bounded() -> None:
    body = "&lt;script&gt;x()&lt;/script&gt;" + "a&#x200b; " * 60_000
    mention, warnings = one(
        rss(
            f"<item><title>&lt;b onclick=y&gt;t&lt;/b&gt;</title>"
            f"<description>{body}</description></item>"
        )
    )
    assert mention.title == "t"
    assert len(mention.text) == 100_000
    assert "x()" not in mention.text
    assert any("cut at 100,000 characters" in warning for warning in warnings)


def test_entities_are_neither_expanded_nor_fetched() -> None:
    bomb = b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    head = b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "lol">%s]>' % bomb
    content = b'<rss version="2.0"><channel><item><title>t &j;</title></item></channel></rss>'
    assert len(one(head + content)[0].title or "") <= 1_000
    outside = b'<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    mention, _ = one(outside + content.replace(b"&j;", b"&a;"))
    assert "root:" not in (mention.title or "")


def test_bytes_are_never_taken_for_a_name(tmp_path: Path) -> None:
    """feedparser opens what looks like a file or an address."""
    secret = tmp_path / "feed.xml"
    secret.write_bytes(rss(item(1)))
    for content in (str(secret).encode(), b"http://127.0.0.1/feed"):
        with pytest.raises(BadConfig, match="gave no feed"):
            collect(Web(blog=content).connector())


def test_validators_go_back_as_they_came_and_304_is_an_empty_page() -> None:
    sent = {"ETag": 'W/"a b"', "Last-Modified": "sat, 28 feb 2026 (about)"}
    web = Web(blog=[httpx.Response(200, content=rss(item(1)), headers=sent), httpx.Response(304)])
    pages, _ = collect(web.connector())
    assert "if-none-match" not in web.asked[0].headers
    later, _ = collect(web.connector(), pages[-1].cursor)
    assert web.asked[1].headers["if-none-match"] == 'W/"a b"'
    assert web.asked[1].headers["if-modified-since"] == "sat, 28 feb 2026 (about)"
    (page,) = later
    assert (page.mentions, page.returned, page.cost.requests) == ((), 0, 1)
    assert page.cursor == pages[-1].cursor


def test_a_validator_that_cannot_be_sent_is_dropped() -> None:
    sent = [(b"ETag", "ñ".encode("latin-1"))]
    web = Web(blog=[httpx.Response(200, content=rss(item(n)), headers=sent) for n in (1, 2)])
    pages, _ = collect(web.connector())
    assert numbers(collect(web.connector(), pages[-1].cursor)[0]) == [2]


def test_entries_that_were_given_are_not_given_again() -> None:
    pages, _ = collect(Web(blog=rss(item(1), item(2))).connector())
    later, _ = collect(
        Web(blog=rss(item(3), item(2), item(3), item(1))).connector(), pages[-1].cursor
    )
    assert numbers(later) == [3]
    gone_and_back, _ = collect(Web(blog=rss(item(4))).connector(), later[-1].cursor)
    final, _ = collect(Web(blog=rss(item(1), item(5))).connector(), gone_and_back[-1].cursor)
    assert (numbers(gone_and_back), numbers(final)) == ([4], [5])


def test_the_memory_of_a_feed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.rss._MOST", 20)
    cursor: Cursor | None = None
    for start in (0, 15, 30):
        content = rss(*[item(n) for n in range(start, start + 15)])
        pages, _ = collect(Web(blog=content).connector(), cursor)
        assert len(mentions(pages)) == 15
        cursor = pages[-1].cursor
    assert cursor is not None
    (state,) = cursor["feeds"].values()
    assert len(state["seen"]) == 20
    pages, _ = collect(Web(blog=rss(*[item(n) for n in range(21)])).connector())
    assert len(mentions(pages)) == 20
    assert pages[0].returned == 21
    assert "after the first 20 " in pages[0].warnings[0]


def test_addresses_with_tokens_stay_out_of_cursors_warnings_and_logs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    pages, _ = collect(Web(blog=rss(item(1)), lost=httpx.Response(404)).connector())
    assert pages[-1].warnings
    assert "s3cret" not in json.dumps([page.cursor for page in pages])
    assert "s3cret" not in repr(pages) + caplog.text
    assert "Words of" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(404), "does not exist"),
        (httpx.Response(410), "is gone"),
        (httpx.Response(403), "refuses access"),
        (httpx.Response(429), "next try at"),
        (httpx.Response(200, content=b""), "empty document"),
        (httpx.Response(200, content=b"<!doctype html><p>Welcome"), "gave no feed"),
        (httpx.Response(200, content=b'{"version": "https://jsonfeed.org/1"}'), "gave no feed"),
        (httpx.Response(200, content=b"\x89PNG\r\n\x1a\n\x00\xff"), "gave no feed"),
        (httpx.Response(200, content=rss()[:-12]), "broken feed"),
    ],
)
def test_a_broken_feed_does_not_stop_the_others(answer: httpx.Response, words: str) -> None:
    web = Web(bad=answer, one=rss(item(1)), two=rss(item(2)))
    for names in (["bad", "one", "two"], ["one", "bad", "two"], ["one", "two", "bad"]):
        pages, _ = collect(web.connector(*names))
        assert sorted(numbers(pages)) == [1, 2]
        (warning,) = [warning for page in pages for warning in page.warnings]
        assert warning.startswith("feed bad.example: ")
        assert words in warning
        assert not pages[-1].more


def test_the_first_error_is_raised_when_all_feeds_fail() -> None:
    web = Web(one=httpx.Response(410), two=httpx.Response(404))
    with pytest.raises(Gone, match=r"one\.example/feed is gone"):
        collect(web.connector())
    with pytest.raises(Gone):
        web.connector().check(now=NOW)
    with pytest.raises(Transient):
        collect(Web(one=b"").connector())


def test_an_ill_formed_feed_with_entries_is_used_and_told() -> None:
    mention, warnings = one(rss(item(1)).replace(b"Words of", b"Caf\xe9 & <b>"))
    assert mention.native_id == "https://blog.example/1"
    assert warnings == (
        "feed blog.example: the document is ill-formed; what could be read was taken (1)",
    )


def test_a_parser_failure_is_a_failure_of_that_feed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise AttributeError("private words")

    monkeypatch.setattr("connectors.rss.feedparser.parse", explode)
    with pytest.raises(BadConfig, match=r"cannot be read \(AttributeError\)") as raised:
        collect(Web(one=rss(item(1))).connector())
    assert "private words" not in str(raised.value)


def test_a_feed_that_asks_to_wait_is_left_in_peace() -> None:
    limit = httpx.Response(429, headers={"retry-after": "3600"})
    web = Web(busy=[limit, httpx.Response(200, content=rss(item(9)))], one=rss(item(1)))
    pages, _ = collect(web.connector())
    soon, _ = collect(web.connector(), pages[-1].cursor, now=NOW + timedelta(minutes=5))
    assert [one.url.host for one in web.asked] == ["busy.example", "one.example", "one.example"]
    assert "asked to wait" in soon[-1].warnings[0]
    later, _ = collect(web.connector(), soon[-1].cursor, now=NOW + timedelta(hours=2))
    assert numbers(later) == [9]
    with pytest.raises(RetryAt) as raised:
        collect(Web(busy=limit).connector())
    assert raised.value.when == NOW + timedelta(hours=1)


def test_a_budget_is_kept_and_nothing_is_lost() -> None:
    etag = {"ETag": '"1"'}
    first = rss(*[item(n) for n in range(5)])
    web = Web(one=httpx.Response(200, content=first, headers=etag), two=rss(item(8), item(9)))
    cursor: Cursor | None = None
    found: list[int] = []
    for minute in range(4):
        now = NOW + timedelta(minutes=minute)
        pages, spent = collect(web.connector(), cursor, budget=Budget(mentions=2), now=now)
        assert len(mentions(pages)) <= 2
        found += numbers(pages)
        cursor = pages[-1].cursor
        assert spent == (minute < 3)
    assert sorted(found) == [0, 1, 2, 3, 4, 8, 9]
    # A document that was not given whole is asked for again without its validator.
    asked = [one for one in web.asked if one.url.host == "one.example"]
    assert ["if-none-match" in one.headers for one in asked[:3]] == [False, False, False]


def test_pages_are_budgeted_in_turn() -> None:
    web = Web(one=rss(item(1)), two=rss(item(2)), three=rss(item(3)))
    assert collect(web.connector(), budget=Budget(pages=0)) == ([], True)
    assert web.asked == []
    cursor: Cursor | None = None
    for minute in range(3):
        now = NOW + timedelta(minutes=minute)
        pages, spent = collect(web.connector(), cursor, budget=Budget(pages=1), now=now)
        assert (len(pages), spent, pages[0].more) == (1, True, True)
        cursor = pages[-1].cursor
    assert [one.url.host.partition(".")[0] for one in web.asked] == ["one", "two", "three"]


@pytest.mark.parametrize(
    "cursor", [{}, {"feeds": 1}, {"feeds": {"x": None}}, {"feeds": {"x": {"seen": 1}}}]
)
def test_an_unreadable_cursor_starts_anew(cursor: Cursor) -> None:
    assert numbers(collect(Web(blog=rss(item(1))).connector(), cursor)[0]) == [1]


def test_feeds_are_needed() -> None:
    connector = Web().connector()
    with pytest.raises(BadConfig, match="has no feeds"):
        collect(connector)
    with pytest.raises(BadConfig, match="has no feeds"):
        connector.check(now=NOW)


def test_check_tells_which_feeds_answer() -> None:
    line = Web(one=rss(item(1)), two=httpx.Response(404)).connector().check(now=NOW)
    assert line.startswith("rss: 1 of 2 feeds answer, 1 entries; two.example/feed does not exist")


@pytest.fixture
def site() -> Iterator[Loopback]:
    with loopback() as running:
        yield running


def test_it_works_over_a_socket(site: Loopback) -> None:
    feed = Answer(
        body=rss(item(1)), headers={"ETag": '"v1"', "Content-Type": "application/rss+xml"}
    )
    old = site.route("/old", Answer(301, headers={"Location": "/new"}))
    site.route("/new", lambda seen: Answer(304) if "if-none-match" in seen.headers else feed)
    with closing(Http(allow_private=True)) as http:
        connector = Rss(http, [Feed(old)])
        pages, _ = collect(connector)
        assert numbers(pages) == [1]
        assert pages[0].cost.requests == 2
        later, _ = collect(connector, pages[-1].cursor)
    assert (mentions(later), later[0].warnings) == ([], ())
    with closing(Http()) as http, pytest.raises(BadConfig, match="private address"):
        collect(Rss(http, [Feed(old)]))


def test_it_is_a_connector() -> None:
    case = make_contract_case()
    assert isinstance(case.connector, Connector)
    assert not case.connector.capabilities().by_query
    assert not case.connector.capabilities().prefiltered
    assert case.connector.source == "rss"


@pytest.mark.shared
def test_every_recorded_feed_is_read_without_an_exception() -> None:
    paths = sorted(SHARED.rglob("*.xml"))
    if not paths:
        pytest.skip("the recorded feeds (shared/data/payloads/rss) are not here")
    given = failed = 0
    for path in paths:
        try:
            pages, _ = collect(Web(blog=path.read_bytes()).connector())
        except ConnectorError:
            failed += 1
            continue
        for mention in mentions(pages):
            given += 1
            assert mention.text or mention.title, path
            f"{mention!r}".encode()
    assert given > 200
    # Formats that went out of use: CDF and channels without their outer tag.
    assert failed < 10
