import gzip
import logging
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpcore
import httpx
import pytest
from loopback import Answer, Loopback, loopback

from connectors.base import BadConfig, ConnectorError, NeedsAuth, RetryAt, Transient
from connectors.guard import GuardedTransport, is_public, resolve_host
from connectors.http import Gone, Http, retry_time

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
URL = "https://site.example/a/b?token=s3cret"


@pytest.fixture
def site() -> Iterator[Loopback]:
    with loopback() as running:
        yield running


@pytest.fixture
def local() -> Iterator[Http]:
    with closing(Http(allow_private=True, wait=lambda _: None)) as http:
        yield http


def answering(*answers: httpx.Response | Exception, **options: Any) -> tuple[Http, list[float]]:
    """An Http whose site gives these answers in turn, and the waits it asked for."""
    left = list(answers)
    waits: list[float] = []

    def handle(_: httpx.Request) -> httpx.Response:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Http(httpx.MockTransport(handle), wait=waits.append, **options), waits


def test_an_answer_has_status_headers_body_and_address(site: Loopback, local: Http) -> None:
    url = site.route("/feed", Answer(body=b"<rss/>", headers={"ETag": 'W/"1"'}))
    response = local.get(url, {"q": "café & té", "n": 2}, {"X-Own": "yes"}, now=NOW)
    assert (response.status, response.body) == (200, b"<rss/>")
    assert response.headers["etag"] == 'W/"1"'
    assert response.url.startswith(url)
    assert site.seen[0].params == {"q": "café & té", "n": "2"}
    assert site.seen[0].headers["x-own"] == "yes"
    assert site.seen[0].headers["user-agent"] == "proactive-listener"


def test_not_modified_is_an_answer() -> None:
    http, _ = answering(httpx.Response(304))
    assert http.get(URL, now=NOW).status == 304


def test_credentials_of_a_url_go_into_a_header_only(site: Loopback, local: Http) -> None:
    url = site.route("/private", Answer(body=b"ok")).replace("//", "//ana:p%40ss@")
    assert local.get(url, now=NOW).body == b"ok"
    assert site.seen[0].headers["authorization"] == "Basic YW5hOnBAc3M="
    assert "ana" not in site.seen[0].headers["host"]


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 520, 522])
def test_passing_faults_are_tried_again(status: int) -> None:
    http, waits = answering(httpx.Response(status), httpx.Response(200, text="ok"))
    response = http.get(URL, now=NOW)
    assert (response.body, response.requests, waits) == (b"ok", 2, [0.5])


@pytest.mark.parametrize(
    "fault", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.ReadError("reset")]
)
def test_a_lasting_fault_is_given_up_after_bounded_waits(fault: Exception) -> None:
    http, waits = answering(*[fault] * 4)
    with pytest.raises(Transient, match=r"site\.example/a/b cannot be reached"):
        http.get(URL, now=NOW)
    assert waits == [0.5, 1.0, 2.0]
    http, waits = answering(*[fault] * 6, retries=99)
    with pytest.raises(Transient):
        http.get(URL, now=NOW)
    assert len(waits) == 5
    assert sum(waits) < 30


def test_no_more_tries_after_the_deadline() -> None:
    clock = iter([0.0, 0.0, 61.0])
    http, waits = answering(httpx.Response(500), monotonic=lambda: next(clock))
    with pytest.raises(Transient, match="500"):
        http.get(URL, now=NOW)
    assert waits == []


def test_a_body_that_never_ends_meets_the_deadline() -> None:
    ticks = iter(range(0, 1000, 7))

    def drip() -> Iterator[bytes]:
        while True:
            yield b"x"

    http, _ = answering(httpx.Response(200, content=drip()), monotonic=lambda: float(next(ticks)))
    with pytest.raises(Transient, match="60 seconds"):
        http.get(URL, now=NOW)


def test_a_body_that_was_cut_is_fetched_again(site: Loopback, local: Http) -> None:
    url = site.route("/cut", [Answer(body=b"whole body", cut=True), Answer(body=b"whole body")])
    assert local.get(url, now=NOW).body == b"whole body"
    assert len(site.seen) == 2


def test_the_size_cap_counts_decompressed_bytes(site: Loopback) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    url = site.route("/bomb", Answer(body=bomb, headers={"Content-Encoding": "gzip"}))
    with closing(Http(allow_private=True, max_bytes=1_000_000)) as http:
        with pytest.raises(BadConfig, match="1,000,000 bytes"):
            http.get(url, now=NOW)
        plain = site.route("/plain", Answer(body=bytes(1_000_001)))
        with pytest.raises(BadConfig, match="1,000,000 bytes"):
            http.get(plain, now=NOW)
        exact = site.route("/exact", Answer(body=bytes(1_000_000)))
        assert len(http.get(exact, now=NOW).body) == 1_000_000


def test_gzip_is_unpacked_and_other_codings_are_refused(site: Loopback, local: Http) -> None:
    packed = gzip.compress(b"hola")
    good = site.route("/gz", Answer(body=packed, headers={"Content-Encoding": "gzip"}))
    assert local.get(good, now=NOW).body == b"hola"
    broken = site.route("/no", Answer(body=b"hola", headers={"Content-Encoding": "gzip"}))
    with pytest.raises(Transient, match="gzip"):
        local.get(broken, now=NOW)
    half = site.route("/half", Answer(body=packed[:-9], headers={"Content-Encoding": "gzip"}))
    with pytest.raises(Transient, match="part of its answer"):
        local.get(half, now=NOW)
    twice = {"Content-Encoding": "gzip, gzip"}
    nested = site.route("/twice", Answer(body=gzip.compress(packed), headers=twice))
    with pytest.raises(Transient, match="compression"):
        local.get(nested, now=NOW)
    deflated = Answer(body=zlib.compress(b"hola"), headers={"Content-Encoding": "deflate"})
    with pytest.raises(Transient, match="compression"):
        local.get(site.route("/deflate", deflated), now=NOW)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, BadConfig, "400"),
        (401, NeedsAuth, "401"),
        (403, NeedsAuth, "403"),
        (404, BadConfig, "does not exist"),
        (410, Gone, "gone"),
        (451, BadConfig, "451"),
        (501, Transient, "501"),
        (302, Transient, "302"),
    ],
)
def test_other_statuses_say_what_to_do(status: int, error: type[Exception], words: str) -> None:
    http, waits = answering(httpx.Response(status))
    with pytest.raises(error, match=words) as raised:
        http.get(URL, now=NOW)
    assert "site.example/a/b" in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert waits == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120),
        ({"retry-after": "Sun, 01 Mar 2026 12:05:00 GMT"}, 300),
        ({"retry-after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 1),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "-5"}, 1),
        ({"retry-after": "999999999"}, 86_400),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 86_400),
        ({"retry-after": "soon"}, 900),
        ({"retry-after": "nan"}, 900),
        ({"x-rate-limit-reset": str(int(NOW.timestamp()) + 60)}, 60),
        ({"x-ratelimit-reset": "82.5"}, 82.5),
        ({"x-ratelimit-reset": "2026-03-01T12:10:00.073777Z"}, 600.073777),
        ({"x-ratelimit-reset": "2026-03-01T12:10:00"}, 600),
        ({"ratelimit-reset": "30"}, 30),
        ({"x-ratelimit-reset": "1e400"}, 900),
        ({"x-ratelimit-reset": "1e300"}, 86_400),
        ({"retry-after": "7", "x-ratelimit-reset": "100"}, 7),
        ({}, 900),
    ],
)
def test_a_limit_names_the_time_of_the_next_try(headers: dict[str, str], seconds: float) -> None:
    expected = NOW + timedelta(seconds=seconds)
    assert abs(retry_time(headers, NOW) - expected) < timedelta(milliseconds=1)
    http, waits = answering(httpx.Response(429, headers=headers))
    with pytest.raises(RetryAt, match=r"site\.example/a/b limits requests") as raised:
        http.get(URL, now=NOW)
    assert raised.value.when == retry_time(headers, NOW)
    assert raised.value.when.utcoffset() == timedelta(0)
    assert waits == []


def test_refusals_and_outages_that_name_a_time_are_limits() -> None:
    for answer in (
        httpx.Response(403, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": "60"}),
        httpx.Response(403, headers={"retry-after": "60"}),
        httpx.Response(503, headers={"retry-after": "60"}),
    ):
        http, _ = answering(answer)
        with pytest.raises(RetryAt) as raised:
            http.get(URL, now=NOW)
        assert raised.value.when == NOW + timedelta(seconds=60)
    http, _ = answering(
        httpx.Response(403, headers={"x-ratelimit-remaining": "599.0", "x-ratelimit-reset": "82"})
    )
    with pytest.raises(NeedsAuth):
        http.get(URL, now=NOW)


def test_json_is_parsed() -> None:
    http, _ = answering(httpx.Response(200, json={"a": ["ñ"]}))
    assert http.json(URL, now=NOW) == {"a": ["ñ"]}


@pytest.mark.parametrize(
    "body", [b"", b"  \n", b"<!doctype html><p>busy", b"{", b"\xff\xfe", b"[" * 200_000]
)
def test_what_is_no_json_is_a_passing_fault(body: bytes) -> None:
    http, _ = answering(httpx.Response(200, content=body))
    with pytest.raises(Transient, match=r"site\.example/a/b gave") as raised:
        http.json(URL, now=NOW)
    assert "s3cret" not in str(raised.value)


def redirecting(hops: dict[str, str]) -> tuple[Http, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        location = hops.get(str(request.url))
        return httpx.Response(301, headers={"location": location}) if location else ok()

    def ok() -> httpx.Response:
        return httpx.Response(200, text="end")

    return Http(httpx.MockTransport(handle)), seen


def test_redirects_are_followed_without_credentials_for_strangers() -> None:
    http, seen = redirecting(
        {
            "http://a.example/1": "/2",
            "http://a.example/2": "https://a.example/3",
            "https://a.example/3": "//b.example/4",
        }
    )
    headers = {"Authorization": "Bearer s3cret", "If-None-Match": '"e"'}
    response = http.get("http://a.example/1", headers=headers, now=NOW)
    assert (response.url, response.requests) == ("https://b.example/4", 4)
    assert [("authorization" in one.headers) for one in seen] == [True, True, False, False]
    assert seen[-1].headers["if-none-match"] == '"e"'


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("http://a.example/", "https to http"),
        ("ftp://a.example/", "no web address"),
        ("file:///etc/passwd", "no web address"),
        ("javascript:alert(1)", "no web address"),
        ("https://a.example/1", "redirects more than 5 times"),
        ("https://b.example:port/", "broken address"),
    ],
)
def test_bad_redirects_are_refused(target: str, words: str) -> None:
    http, seen = redirecting({"https://a.example/1": target})
    with pytest.raises(ConnectorError, match=words):
        http.get("https://a.example/1", now=NOW)
    assert len(seen) <= 6


@pytest.mark.parametrize(
    "url", ["ftp://a.example/", "file:///etc/passwd", "a.example", "", "http://", "http://a:b/"]
)
def test_only_web_addresses_are_fetched(url: str) -> None:
    http, _ = answering()
    with pytest.raises(BadConfig, match="https://"):
        http.get(url, now=NOW)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1",
        "ff02::1", "ff0e::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "2002:7f00:1::",
        "64:ff9b::7f00:1", "64:ff9b::a00:1", "2001:db8::1", "2001:0:1::", "not an address",
    ],
)  # fmt: skip
def test_addresses_that_are_not_for_everybody(address: str) -> None:
    assert not is_public(address)


def test_public_addresses() -> None:
    public = ("8.8.8.8", "93.184.215.14", "2606:4700::1111", "64:ff9b::808:808")
    assert all(map(is_public, public))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "0"])
def test_private_hosts_are_refused_before_anything_is_sent(site: Loopback, host: str) -> None:
    port = site.url.rpartition(":")[2]
    site.route("/", Answer(body=b"inside"))
    with closing(Http(wait=lambda _: None)) as http, pytest.raises(ConnectorError) as raised:
        http.get(f"http://{host}:{port}/", now=NOW)
    assert site.seen == []
    if host != "[::1]":  # a machine without IPv6 may not even know the name
        assert "private address" in str(raised.value)
        assert "set allow_private_addresses = true where" in str(raised.value)


class Wire(httpcore.MockBackend):
    """Answers every connection with the same bytes and records the addresses connected to."""

    def __init__(self, answers: Callable[[str], bytes]) -> None:
        super().__init__([])
        self.addresses: list[str] = []
        self._answers = answers

    def connect_tcp(self, host: str, *_: object, **__: object) -> httpcore.NetworkStream:
        self.addresses.append(host)
        return httpcore.MockStream([self._answers(host)])


def test_a_redirect_to_a_private_host_is_refused() -> None:
    names = {"out.example": ["93.184.215.14"], "in.example": ["10.0.0.1"]}
    wire = Wire(
        lambda _: b"HTTP/1.1 302 Found\r\nLocation: http://in.example/\r\nContent-Length: 0\r\n\r\n"
    )
    guard = GuardedTransport(resolve=lambda host, _: names[host], backend=wire)
    with closing(Http(guard)) as http, pytest.raises(BadConfig, match=r"in\.example .* private"):
        http.get("http://out.example/", now=NOW)
    assert wire.addresses == ["93.184.215.14"]


def test_a_connection_goes_to_the_address_that_was_checked() -> None:
    rebinding = iter([["93.184.215.14"], ["127.0.0.1"]])
    wire = Wire(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    guard = GuardedTransport(resolve=lambda *_: next(rebinding), backend=wire)
    with closing(Http(guard)) as http:
        assert http.get("http://out.example/", now=NOW).body == b"ok"
        with pytest.raises(BadConfig, match="private"):
            http.get("http://out.example/", now=NOW)
    assert wire.addresses == ["93.184.215.14"]


def test_a_host_with_one_private_address_among_others_is_refused() -> None:
    wire = Wire(lambda _: b"")
    guard = GuardedTransport(resolve=lambda *_: ["93.184.215.14", "10.0.0.1"], backend=wire)
    with closing(Http(guard)) as http, pytest.raises(BadConfig, match="private"):
        http.get("http://mixed.example/", now=NOW)
    assert wire.addresses == []


def test_the_next_address_is_tried_and_the_host_name_is_kept(site: Loopback) -> None:
    port = site.url.rpartition(":")[2]
    site.route("/", Answer(body=b"ok"))
    # Nobody listens on the second loopback address.
    guard = GuardedTransport(allow_private=True, resolve=lambda *_: ["127.0.0.2", "127.0.0.1"])
    with closing(Http(guard)) as http:
        assert http.get(f"http://name.example:{port}/", now=NOW).body == b"ok"
    assert site.seen[0].headers["host"] == f"name.example:{port}"


def test_unknown_hosts_are_a_passing_fault() -> None:
    def nowhere(_host: str, _port: int) -> list[str]:
        return []

    guard = GuardedTransport(resolve=nowhere)
    with (
        closing(Http(guard, wait=lambda _: None)) as http,
        pytest.raises(Transient, match="no address"),
    ):
        http.get("http://nowhere.example/", now=NOW)
    with pytest.raises(httpcore.ConnectError, match="not known"):
        resolve_host("a" * 70 + ".example", 80)


def test_logs_name_host_path_status_and_size_only(
    site: Loopback, local: Http, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    site.route("/feed%0Aforged", Answer(body=b"four"))
    url = site.url.replace("//", "//user:passw0rd@") + "/feed%0Aforged"
    local.get(url, {"key": "s3cret"}, {"Authorization": "Bearer t0ken"}, now=NOW)
    host = site.url.removeprefix("http://").partition(":")[0]
    assert f"GET {host}/feed%0Aforged: 200, 4 bytes" in caplog.messages
    assert not any(word in caplog.text for word in ("s3cret", "t0ken", "passw0rd", "user"))


def test_error_texts_hold_nothing_that_the_site_sent(site: Loopback, local: Http) -> None:
    url = site.route("/x", Answer(500, body=b"private words", headers={"X-Y": "private words"}))
    with pytest.raises(Transient) as raised:
        local.get(url, now=NOW)
    assert "private words" not in str(raised.value)


def test_a_site_that_sends_its_headers_byte_by_byte_is_given_up() -> None:
    # Each byte comes well before the timeout of a read; all of them would take minutes.
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                for sign in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1_000:
                    connection.sendall(bytes([sign]))
                    if done.wait(0.02):
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        http = Http(allow_private=True, deadline=0.3, timeout=5, retries=3)
        with pytest.raises(Transient, match=r"took longer than 0\.3 seconds"):
            http.get(f"http://127.0.0.1:{server.getsockname()[1]}/", now=NOW)
        done.set()
        thread.join()
        http.close()
