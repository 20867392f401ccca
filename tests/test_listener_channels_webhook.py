"""The signed webhook, against a server on this machine."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from loopback import Answer, Loopback, Seen, loopback
from mailboxes import free_port
from parcels import HOSTILE, NOW, parcel

from listener.channels import ChannelError, Later, Refused
from listener.channels_http import WebAddress
from listener.channels_webhook import Webhook, signature
from listener.config_errors import ConfigError

KEY = base64.b64encode(b"k" * 32).decode()
SECOND = base64.b64encode(b"l" * 24).decode()
AT = 1_800_000_000


@pytest.fixture
def site() -> Iterator[Loopback]:
    with loopback() as running:
        yield running


def webhook(url: str, *, secret: str = KEY, **rest: Any) -> Webhook:
    settings: dict[str, Any] = {"allow_private": True, "timeout": 5, "clock": lambda: AT + 0.9}
    return Webhook(url=url, secret=secret, **settings | rest)


def answered(site: Loopback, status: int, headers: Mapping[str, str] | None = None) -> ChannelError:
    """What the channel makes of an answer."""
    url = site.route("/hook", Answer(status, b"words of the other side", headers or {}))
    with closing(webhook(url)) as channel, pytest.raises(ChannelError) as caught:
        channel.send(parcel())
    assert "words" not in str(caught.value)
    assert "/hook" not in str(caught.value)
    return caught.value


# -- what is sent


def test_a_signature_is_that_of_the_convention() -> None:
    # The example with which the libraries of standardwebhooks.com are tested.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    made = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def verified(seen: Seen, key: bytes) -> bool:
    """Whether a receiver with this key believes the request, as the convention has it."""
    content = f"{seen.headers['webhook-id']}.{seen.headers['webhook-timestamp']}.".encode()
    made = base64.b64encode(hmac.new(key, content + seen.body, hashlib.sha256).digest()).decode()
    given = seen.headers["webhook-signature"].split(" ")
    return any(hmac.compare_digest(f"v1,{made}", one) for one in given)


def test_an_alert_is_posted_as_signed_json(site: Loopback) -> None:
    with closing(webhook(site.route("/hook", Answer(204)))) as channel:
        channel.send(parcel())
    (seen,) = site.seen
    assert (seen.method, seen.path) == ("POST", "/hook")
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["webhook-timestamp"] == str(AT)
    assert verified(seen, b"k" * 32)
    assert not verified(seen, b"l" * 24)
    body = json.loads(seen.body)
    assert body["type"] == "alert"
    assert body["timestamp"] == "2026-11-21T17:40:00Z"
    assert body["data"] == parcel().data
    assert body["data"]["version"] == 1


@pytest.mark.parametrize("secret", [f"whsec_{KEY} {SECOND}", f"  {SECOND}\n{KEY}  "])
def test_two_keys_sign_while_receivers_change(site: Loopback, secret: str) -> None:
    with closing(webhook(site.route("/hook", Answer()), secret=secret)) as channel:
        channel.send(parcel())
    (seen,) = site.seen
    assert verified(seen, b"k" * 32)
    assert verified(seen, b"l" * 24)


def test_the_id_is_that_of_the_delivery_and_holds_no_address(site: Loopback) -> None:
    with closing(webhook(site.route("/hook", Answer()))) as channel:
        for sent in (parcel(), parcel("alert", HOSTILE), replace(parcel(), key="alert-58")):
            channel.send(sent)
    first, again, other = (seen.headers["webhook-id"] for seen in site.seen)
    assert first == again != other
    assert first.removeprefix("msg_").isalnum()


# -- what an answer means


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_a_success(site: Loopback, status: int) -> None:
    with closing(webhook(site.route("/hook", Answer(status, b"no", {"retry-after": "9"})))) as one:
        one.send(parcel())
    assert len(site.seen) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 415, 422, 451, 499])
def test_most_4xx_are_refusals_of_this_message(site: Loopback, status: int) -> None:
    error = answered(site, status)
    assert isinstance(error, Refused)
    assert (error.gone, error.code) == (False, str(status))
    assert str(status) in str(error)
    assert "[channels.webhook]" in str(error)


def test_410_says_that_the_address_is_gone(site: Loopback) -> None:
    error = answered(site, 410)
    assert isinstance(error, Refused)
    assert error.gone
    assert "has taken this address down for good (410)" in str(error)


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 599])
def test_some_codes_are_worth_another_try(site: Loopback, status: int) -> None:
    error = answered(site, status)
    assert isinstance(error, Later)
    assert (error.down, error.when) == (True, None)


@pytest.mark.parametrize(
    ("status", "after", "seconds"),
    [
        (429, "120", 120),
        (429, "Sat, 21 Nov 2026 17:45:00 GMT", 300),
        (429, "soon", 900),
        (503, "3600", 3600),
        (500, "999999999", 86_400),
        (503, "-5", 1),
    ],
)
def test_the_time_that_the_other_side_names_is_kept(
    site: Loopback, status: int, after: str, seconds: int
) -> None:
    error = answered(site, status, {"Retry-After": after})
    assert isinstance(error, Later)
    assert error.when == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(site: Loopback, status: int) -> None:
    site.route("/elsewhere", Answer())
    error = answered(site, status, {"location": "/elsewhere"})
    assert isinstance(error, Later)
    assert "final address as url in [channels.webhook]" in str(error)
    assert [seen.path for seen in site.seen] == ["/hook"]


def test_a_server_that_is_not_there_is_tried_again() -> None:
    with (
        closing(webhook(f"http://127.0.0.1:{free_port()}/hook")) as channel,
        pytest.raises(Later, match=r"127\.0\.0\.1 cannot be reached") as caught,
    ):
        channel.send(parcel())
    assert caught.value.down


def test_a_server_that_breaks_off_or_hangs_is_tried_again() -> None:
    def breaks(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError("words of the other side", request=request)

    def hangs(request: httpx.Request) -> httpx.Response:
        assert request.extensions["timeout"]["read"] == 5
        raise httpx.ReadTimeout("words of the other side", request=request)

    for fault, name in ((breaks, "RemoteProtocolError"), (hangs, "ReadTimeout")):
        channel = webhook("https://hooks.example/a", transport=httpx.MockTransport(fault))
        with pytest.raises(Later, match=name) as caught:
            channel.send(parcel())
        assert "words" not in str(caught.value)


class Endless(httpx.SyncByteStream):
    """A body that never ends; counts what was read and whether it was closed."""

    read = 0
    closed = False

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.read += 1
            yield b"x" * 100

    def close(self) -> None:
        self.closed = True


def test_a_refusal_without_end_is_not_read_to_its_end() -> None:
    body = Endless()
    answer = httpx.MockTransport(lambda _: httpx.Response(400, stream=body))
    with pytest.raises(Refused):
        webhook("https://hooks.example/a", transport=answer).send(parcel())
    assert (body.read, body.closed) == (20, True)


def test_a_check_asks_the_host_and_not_the_address(site: Loopback) -> None:
    with closing(webhook(site.url + "/hook?key=1")) as channel:
        assert channel.check() == "127.0.0.1 answers"
    (seen,) = site.seen
    assert (seen.method, seen.path, seen.params, seen.body) == ("HEAD", "/", {}, b"")


# -- where it may lead


def test_a_private_address_is_refused_unless_allowed() -> None:
    channel = webhook("https://127.0.0.1:1/hook", allow_private=False)
    for call in (channel.check, lambda: channel.send(parcel())):
        with pytest.raises(Later, match=r"private address.*true in \[channels\.webhook\]"):
            call()


def test_without_tls_it_leads_to_private_addresses_only() -> None:
    address = WebAddress(
        "http://hooks.example/a",
        table="channels.webhook",
        allow_private=True,
        resolve=lambda host, port: ["93.184.216.34"],
    )
    with pytest.raises(Later, match="public: its address has to begin with https"):
        address.post(b"{}", now=NOW)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://hooks.example/s3cret", "start it with https://"),
        ("ftp://hooks.example/s3cret", "is no web address"),
        ("hooks.example/s3cret", "is no web address"),
        ("https://", "is no web address"),
        ("https://hooks.example:port/s3cret", "is no web address"),
        ("https://ana:s3cret@hooks.example/", "user name or password"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_itself(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        webhook(url, allow_private=False)
    assert "channels.webhook.url" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ("hunter2!", "is not base64"),
        (base64.b64encode(b"x" * 23).decode(), "23 bytes instead of 24 to 64"),
        (base64.b64encode(b"x" * 65).decode(), "65 bytes instead of 24 to 64"),
        ("whsec_", "0 bytes"),
        ("  ", "is blank"),
        (f"{KEY} short", "is not base64"),
    ],
)
def test_a_key_that_cannot_sign_is_told_without_itself(secret: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        webhook("https://hooks.example/a", secret=secret)
    assert "channels.webhook.secret" in str(caught.value)
    assert "openssl rand -base64 32" in str(caught.value)
    for word in ("hunter2", KEY, "short", "eHh4"):
        assert word not in str(caught.value)


def test_the_way_to_check_in_the_document_works(site: Loopback) -> None:
    text = (Path(__file__).parents[1] / "docs" / "webhooks.md").read_text("utf-8")
    told: dict[str, Any] = {}
    exec(text.partition("```python\n")[2].partition("```")[0], told)
    with closing(webhook(site.route("/hook", Answer()), secret=f"{SECOND} {KEY}")) as channel:
        channel.send(parcel())
    (seen,) = site.seen
    assert told["genuine"](f"whsec_{KEY}", seen.headers, seen.body)
    assert not told["genuine"](KEY, seen.headers, seen.body + b" ")
    assert not told["genuine"](base64.b64encode(b"other").decode(), seen.headers, seen.body)
