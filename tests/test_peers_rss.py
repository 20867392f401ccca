"""RSS against a real nginx, which `make test-peers` puts in place."""

import gzip
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from time import monotonic
from urllib.parse import quote

import pytest
from loopback import Answer, Seen, loopback
from peers.running import LOGIN, nginx

from connectors.base import (
    BadConfig,
    Budget,
    ConnectorError,
    Cursor,
    NeedsAuth,
    Page,
    RetryAt,
    Transient,
)
from connectors.http import Gone, Http
from connectors.rss import Feed, Rss

pytestmark = pytest.mark.peer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def document(posts: int) -> bytes:
    items = "".join(
        f"<item><guid>https://blog.example/{n}</guid><title>¿Qué cafetera compro? {n}</title>"
        f"<pubDate>Sat, 28 Feb 2026 10:{n % 60:02}:00 +0100</pubDate></item>"
        for n in range(1, posts + 1)
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?><rss version="2.0"><channel>'
        f"<title>Blog</title><language>es</language>{items}</channel></rss>"
    ).encode()


@dataclass(frozen=True)
class Site:
    """The address of an nginx and the folder of its files."""

    url: str
    folder: Path

    def write(self, posts: int) -> None:
        """A feed of so many posts, each written a minute after the one before."""
        path = self.folder / "plain.xml"
        path.write_bytes(document(posts))
        written = (NOW + timedelta(minutes=posts)).timestamp()
        os.utime(path, (written, written))

    def collect(
        self,
        *paths: str,
        cursor: Cursor | None = None,
        now: datetime = NOW,
        deadline: float = 20,
        max_bytes: int = 1_000_000,
    ) -> list[Page]:
        """What the feeds at `paths` give."""
        http = Http(
            allow_private=True,
            deadline=deadline,
            max_bytes=max_bytes,
            retries=1,
            wait=lambda _: None,
        )
        with closing(http):
            feeds = [Feed(path if "//" in path else self.url + path) for path in paths]
            return list(Rss(http, feeds).collect(None, cursor, budget=Budget(), now=now))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The nginx, and behind it a server that breaks off or says nothing."""
    folder = tmp_path_factory.mktemp("site")
    whole = gzip.compress(document(200))
    (folder / "cut.xml.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "bomb.xml.gz").write_bytes(gzip.compress(bytes(50_000_000)))
    over = Event()

    def silent(_: Seen) -> Answer:
        over.wait(30)
        return Answer()

    with loopback() as origin:
        origin.route("/broken-off.xml", Answer(body=document(200), cut=True))
        origin.route("/silent.xml", silent)
        with nginx(folder, origin.url.removeprefix("http://")) as url:
            yield Site(url, folder)
            over.set()


@pytest.fixture
def site(server: Site) -> Site:
    """With a feed of three posts at plain.xml."""
    server.write(3)
    return server


def ids(pages: list[Page]) -> list[str]:
    return [mention.native_id.rpartition("/")[2] for page in pages for mention in page.mentions]


# -- asked again


@pytest.mark.parametrize(
    "path", ["/plain.xml", "/etag.xml", "/dated.xml", "/gzip.xml", "/moved.xml"]
)
def test_an_unchanged_feed_is_not_sent_again(site: Site, path: str) -> None:
    first = site.collect(path)
    assert ids(first) == ["1", "2", "3"]
    (again,) = site.collect(path, cursor=first[-1].cursor)
    # 304: otherwise it would have given its three entries again, if only known ones
    assert (again.returned, again.mentions, again.warnings) == (0, (), ())


@pytest.mark.parametrize("path", ["/plain.xml", "/etag.xml", "/dated.xml", "/gzip.xml"])
def test_a_changed_feed_gives_what_is_new(site: Site, path: str) -> None:
    first = site.collect(path)
    (unchanged,) = site.collect(path, cursor=first[-1].cursor)
    site.write(5)
    assert ids(site.collect(path, cursor=unchanged.cursor)) == ["4", "5"]


def test_nginx_sends_what_the_validators_are_taken_from(site: Site) -> None:
    with closing(Http(allow_private=True)) as http:
        plain, etag, dated, packed = (
            http.get(f"{site.url}/{name}.xml", now=NOW).headers
            for name in ("plain", "etag", "dated", "gzip")
        )
    assert "etag" in plain
    assert "last-modified" in plain
    assert "last-modified" not in etag
    assert "etag" not in dated
    assert packed["content-encoding"] == "gzip"
    assert packed["etag"].startswith('W/"')


def test_texts_arrive_whole(site: Site) -> None:
    (page,) = site.collect("/gzip.xml")
    assert page.mentions[0].title == "¿Qué cafetera compro? 1"
    assert page.mentions[0].lang == "es"


# -- moved, gone, closed


@pytest.mark.parametrize(("path", "requests"), [("/moved.xml", 2), ("/permanent.xml", 3)])
def test_redirects_are_followed_and_counted(site: Site, path: str, requests: int) -> None:
    (page,) = site.collect(path)
    assert ids([page]) == ["1", "2", "3"]
    assert page.cost.requests == requests


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("/circle.xml", BadConfig, "redirects more than 5 times"),
        ("/gone.xml", Gone, r"is gone \(410\)"),
        ("/nowhere.xml", BadConfig, r"\(404\)"),
        ("/", NeedsAuth, r"\(403\)"),
        ("/members.xml", NeedsAuth, r"\(401\)"),
        ("/absent.xml", Transient, r"\(502\)"),
        ("/behind/silent.xml", Transient, r"\(504\)"),
        ("/behind/broken-off.xml", Transient, "cannot be reached"),
        ("/cut.xml", Transient, "only a part"),
    ],
)
def test_each_fault_says_what_to_do(
    site: Site, path: str, error: type[ConnectorError], says: str
) -> None:
    with pytest.raises(error, match=says) as raised:
        site.collect(path)
    assert type(raised.value) in (error, *error.__subclasses__())


def test_a_page_for_members_opens_with_the_password(site: Site) -> None:
    scheme, _, host = site.url.partition("//")
    account, password = map(quote, LOGIN)
    page = f"{scheme}//{account}:{password}@{host}/members.xml"
    assert ids(site.collect(page)) == ["1", "2", "3"]
    with pytest.raises(NeedsAuth) as raised:
        site.collect(page.replace(password, f"{password}x"))
    assert password not in str(raised.value)


def test_an_address_of_this_machine_is_refused_unless_allowed(site: Site) -> None:
    with closing(Http()) as http, pytest.raises(BadConfig, match="private address"):
        Rss(http, [Feed(f"{site.url}/plain.xml")]).check(now=NOW)


# -- limits


def test_a_limit_is_kept_for_as_long_as_the_site_says(site: Site) -> None:
    # One request a minute is allowed: the first passes, the second is told to wait 120 seconds.
    (first,) = site.collect("/limited.xml")
    feeds = ("/limited.xml", "/plain.xml")
    told = site.collect(*feeds, cursor=first.cursor)
    assert ids(told) == ["1", "2", "3"]
    (warning,) = [text for page in told for text in page.warnings]
    assert "limits requests (429); next try at 2026-03-01 12:02:00 UTC" in warning
    waited = site.collect(*feeds, cursor=told[-1].cursor, now=NOW + timedelta(seconds=119))
    (warning,) = [text for page in waited for text in page.warnings]
    assert "asked to wait" in warning
    with pytest.raises(RetryAt) as raised:
        site.collect("/limited.xml", cursor=told[-1].cursor, now=NOW + timedelta(seconds=121))
    assert raised.value.when == NOW + timedelta(seconds=241)


def test_a_closed_site_says_when_it_opens(site: Site) -> None:
    with pytest.raises(RetryAt) as raised:
        site.collect("/closed.xml")
    assert raised.value.when == NOW + timedelta(hours=1)


def test_an_answer_that_trickles_is_given_up(site: Site) -> None:
    with pytest.raises(Transient, match=r"took longer than 0\.5 seconds"):
        site.collect("/slow.xml", deadline=0.5)


def test_an_answer_whose_beginning_is_held_back_is_given_up(site: Site) -> None:
    start = monotonic()
    with pytest.raises(Transient, match=r"took longer than 0\.5 seconds"):
        site.collect("/held.xml", deadline=0.5)
    # nginx sends the headers after about three seconds
    assert monotonic() - start < 1.5


def test_a_small_file_that_inflates_to_a_huge_one_is_refused(site: Site) -> None:
    assert (site.folder / "bomb.xml.gz").stat().st_size < 100_000
    with pytest.raises(BadConfig, match="more than 1,000,000 bytes"):
        site.collect("/bomb.xml")


# -- together


def test_broken_feeds_do_not_stop_the_good_one(site: Site) -> None:
    broken = ("/gone.xml", "/cut.xml", "/absent.xml", "/closed.xml")
    pages = site.collect(*broken, "/plain.xml")
    assert ids(pages) == ["1", "2", "3"]
    assert len([text for page in pages for text in page.warnings]) == len(broken)


def test_a_feed_that_broke_off_is_read_whole_later(site: Site) -> None:
    # Under one address, as a file that is being written and then is there.
    packed = site.folder / "bomb.xml.gz"
    before = packed.read_bytes()
    whole = gzip.compress(document(4))
    try:
        packed.write_bytes(whole[:-20])
        pages = site.collect("/bomb.xml", "/plain.xml")
        assert ids(pages) == ["1", "2", "3"]
        packed.write_bytes(whole)
        assert ids(site.collect("/bomb.xml", cursor=pages[-1].cursor)) == ["1", "2", "3", "4"]
    finally:
        packed.write_bytes(before)
