"""E-mail through Debian's OpenSMTPD, which `make test-peers` puts in place."""

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from builders import ASKS, NOW, FakeTagger, analyse, at, config, mention, put, store_in
from peers.running import MailServer, opensmtpd, until

from listener import alerts
from listener.channels import Channel, Later, Parcel, Refused
from listener.channels_open import open_channels
from listener.channels_smtp import Smtp
from listener.config import Config, default_text, parse
from listener.deliver import deliver
from listener.envelope import Rendered, compose
from listener.pipeline import Parts, gather, understand, watch
from listener.slots import enqueue_digest, local_day
from listener.store import Store

pytestmark = pytest.mark.peer

POST = (
    """¿Qué cafetera espresso me recomendáis? 🙋🏽‍♀️ Mi presupuesto son 300 €.
.
. una línea que empieza por punto
From here on: <b>“hostile”</b> & {{7*7}} \u202eevil\u202c
Subject: not a header
"""
    + "muy " * 400
)
ADDRESS = "https://listener.example/unsubscribe?token=" + "a1B2-_" * 120
RECIPIENTS = """
[[recipients]]
name = "Ana"
email = "ana@peer.example"
language = "es"
receives = ["alerts", "digest"]
channel = "smtp"
[[recipients]]
name = "Ben"
email = "ben@peer.example"
receives = ["alerts", "digest"]
channel = "smtp"
"""


@pytest.fixture
def server() -> Iterator[MailServer]:
    with opensmtpd() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def settings(server: MailServer) -> str:
    """Two readers behind the mail server."""
    return f"""{RECIPIENTS}
[channels]
sender = "Escucha Lumora <listener@lumora.example>"
[channels.smtp]
enabled = true
host = "127.0.0.1"
port = {server.port}
security = "none"
timeout_seconds = 5
"""


@dataclass
class Noting:
    """A channel that keeps what passes it."""

    inner: Channel
    sent: list[EmailMessage] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.inner.name

    def send(self, parcel: Parcel) -> None:
        settled(parcel.message)
        self.inner.send(parcel)
        self.sent.append(parcel.message)

    def check(self) -> str:
        return self.inner.check()

    def close(self) -> None:
        self.inner.close()


def alarm(store: Store, chosen: Config) -> None:
    put(store, mention("1", POST, by="ana", published_at=at(-1), url="https://foro.example/1"))
    analyse(store, FakeTagger({POST: ASKS}))
    assert alerts.save(store, alerts.find(store, chosen, now=NOW), chosen, now=NOW) == (1, 1)


def arrived(server: MailServer, sent: EmailMessage) -> bytes:
    """The message as it lies in the mailbox, once it does."""
    name = str(sent["Message-ID"]).encode()

    def look() -> list[bytes]:
        return [found for found in server.messages() if b"Message-ID: " + name in found]

    (found,) = until(look, "delivery")
    return found


def unchanged(server: MailServer, sent: EmailMessage) -> None:
    """The mailbox holds what was sent, byte by byte, below what the server writes on top."""
    found = arrived(server, sent)
    assert found.endswith(sent.as_bytes().replace(b"\r\n", b"\n"))
    parsed = message_from_bytes(found, policy=default)
    assert [part.defects for part in parsed.walk() if part.defects] == []
    for name in ("Subject", "From", "To", "Date", "Message-ID", "List-Id", "Auto-Submitted"):
        assert [str(value) for value in parsed.get_all(name, [])] == [str(sent[name])], name
    for kind in ("plain", "html"):
        assert content(parsed, kind) == content(sent, kind)
    assert parsed["Delivered-To"] == sent["To"].addresses[0].addr_spec
    assert max(map(len, found.splitlines())) <= 998


def content(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def smtp(server: MailServer, **changed: Any) -> Smtp:
    chosen: dict[str, Any] = {"port": server.port, "security": "none", "timeout": 2}
    return Smtp(host="127.0.0.1", **(chosen | changed))


def letter(
    to: str = "ana@peer.example",
    *,
    images: Mapping[str, bytes] | None = None,
    **headers: str,
) -> EmailMessage:
    message = compose(
        Rendered(
            subject="Añoranza ☕ " * 12,
            text="Hola\n.\nadiós\n",
            html='<p>Hola</p><img src="cid:voice@listener">',
            images=images or {},
        ),
        sender="Lumora <listener@lumora.example>",
        recipient=to,
        message_id="<letter-1@lumora.example>",
        date=NOW,
        **headers,
    )
    return settled(message)


def parcel(message: EmailMessage) -> Parcel:
    return Parcel(kind="digest", ref="2026-03-10", key="letter", message=message, data={})


def settled(message: EmailMessage) -> EmailMessage:
    """`message` with the parts' boundary, which is drawn when it is first written out."""
    message.as_bytes()
    return message


# -- what the product sends


def test_an_alert_and_a_digest_arrive_as_they_were_sent(server: MailServer, store: Store) -> None:
    chosen = config(settings(server))
    alarm(store, chosen)
    assert enqueue_digest(store, chosen, local_day(chosen, NOW), now=NOW) == 2
    channel = Noting(open_channels(chosen.channels)["smtp"])
    assert deliver(store, chosen, {"smtp": channel}, now=NOW) == {"sent": 4}
    assert [str(one["To"]) for one in channel.sent] == [
        *("ana@peer.example", "ben@peer.example"),
        *("ana@peer.example", "ben@peer.example"),
    ]
    for sent in channel.sent:
        unchanged(server, sent)
    assert "¿Qué cafetera espresso me recomendáis? 🙋🏽‍♀️" in content(channel.sent[0], "plain")
    assert deliver(store, chosen, {"smtp": channel}, now=at(24)) == {}


def test_the_built_in_sample_arrives(server: MailServer, tmp_path: Path) -> None:
    sample, people = re.subn(r"\[\[recipients\]\].*?\n\n", "", default_text(), flags=re.DOTALL)
    sample, sections = re.subn(r"\[channels\]\nsender.*\n", settings(server), sample)
    assert (people, sections) == (2, 1)
    chosen = parse(sample, file="config.toml", folder=tmp_path)
    parts = Parts(chosen)
    channel = Noting(parts.channels["smtp"])
    with closing(Store(tmp_path / "sample.db")) as store:
        assert [one.status for one in gather(store, parts, now=NOW)] == ["ok"]
        understand(store, parts)
        watch(store, parts, now=NOW)
        enqueue_digest(store, chosen, local_day(chosen, NOW), now=NOW)
        outcome = deliver(store, chosen, {"smtp": channel}, now=NOW)
        kinds = [row["kind"] for row in store.rows("SELECT kind FROM deliveries")]
    assert outcome == {"sent": len(kinds)}
    assert kinds.count("digest") == 2
    assert kinds.count("alert") > 2
    for sent in channel.sent:
        unchanged(server, sent)
    subjects = {str(one["Subject"]) for one in channel.sent}
    assert any(not subject.isascii() for subject in subjects)


def test_a_long_address_to_unsubscribe_stays_on_one_line(server: MailServer) -> None:
    message = letter(unsubscribe=ADDRESS, thread="<conversation-1@lumora.example>")
    smtp(server).send(parcel(message))
    unchanged(server, message)
    lines = arrived(server, message).decode("ascii").splitlines()
    (line,) = [line for line in lines if line.startswith("List-Unsubscribe: ")]
    assert f"<{ADDRESS}>" in line
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click" in lines
    assert "In-Reply-To: <conversation-1@lumora.example>" in lines


def test_a_picture_arrives_inside_its_message(server: MailServer) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
    message = letter(images={"voice@listener": picture})
    smtp(server).send(parcel(message))
    unchanged(server, message)
    parts = message_from_bytes(arrived(server, message), policy=default).walk()
    (found,) = [part for part in parts if part.get_content_type() == "image/png"]
    assert found.get_payload(decode=True) == picture
    assert found["Content-ID"] == "<voice@listener>"


# -- what a server does not take


@pytest.mark.parametrize("reader", ["nobody@peer.example", "ana@elsewhere.example"])
def test_an_unknown_reader_is_refused_for_good(server: MailServer, reader: str) -> None:
    with pytest.raises(Refused, match=r"answers 5\d\d( 5\.\d\.\d)?$"):
        smtp(server).send(parcel(letter(reader)))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"username": "listener", "password": "x"}, "cannot do what is asked"),
        ({"security": "starttls"}, "cannot do what is asked"),
        ({"security": "ssl"}, "no secure connection"),
    ],
)
def test_a_wrong_setting_is_not_the_fault_of_the_reader(
    server: MailServer, changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(Later, match=says):
        smtp(server, **changed).send(parcel(letter()))
    assert smtp(server).check() == f"127.0.0.1:{server.port} answers"


# -- a server that comes and goes


def test_what_waits_for_a_server_arrives_once(store: Store) -> None:
    with opensmtpd() as first:
        chosen = config(settings(first))
        alarm(store, chosen)
    assert deliver(store, chosen, open_channels(chosen.channels), now=NOW) == {"waiting": 2}
    # One try shows that the server is away; the other message waits without one.
    tried = store.rows("SELECT error FROM deliveries WHERE attempts > 0")
    assert ["cannot be reached" in row["error"] for row in tried] == [True]
    with opensmtpd() as second:
        channel = Noting(open_channels(config(settings(second)).channels)["smtp"])
        assert deliver(store, chosen, {"smtp": channel}, now=at(1)) == {"sent": 2}
        for sent in channel.sent:
            unchanged(second, sent)
        assert deliver(store, chosen, {"smtp": channel}, now=at(48)) == {}
        assert len(second.messages()) == 2


def test_a_message_that_is_sent_again_is_known_by_its_id(server: MailServer) -> None:
    # What a crash between the server's 250 and our note of it leads to.
    message = letter()
    for _ in range(2):
        smtp(server).send(parcel(message))

    def copies() -> list[bytes]:
        return [one for one in server.messages() if b"<letter-1@lumora.example>" in one]

    until(lambda: len(copies()) == 2, "both copies")
    ids = {message_from_bytes(one)["Message-ID"] for one in copies()}
    assert ids == {"<letter-1@lumora.example>"}
