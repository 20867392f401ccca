"""What every channel does, by whatever way its messages leave."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from loopback import Answer, loopback
from mailboxes import mail_server
from parcels import HOSTILE, RECIPIENT, WORDS, operator, parcel

from listener.channels import BUILT_IN, Channel, ChannelError, Later, OutboxFolder, Parcel, Refused
from listener.channels_slack import Slack
from listener.channels_smtp import Smtp
from listener.channels_webhook import Webhook

KEY = "TGlzdGVuZXIncyBvd24ga2V5IGZvciB0ZXN0cyBvbmx5"
PATH = "/s3cr3t-path"
PARCELS = {
    "alert": parcel(),
    "digest": parcel("digest", language="es"),
    "operator": operator(),
    "hostile alert": replace(parcel("alert", HOSTILE), key="alert-58"),
    "hostile digest": replace(parcel("digest", HOSTILE, language="es"), key="digest-9"),
}


@dataclass(frozen=True)
class Rig:
    """A channel, what has arrived, and how the other side becomes busy or says no for ever."""

    channel: Channel
    taken: Callable[[], list[bytes]]
    busy: Callable[[], object]
    refuse: Callable[[], object] | None = None


@contextmanager
def _outbox(folder: Path) -> Iterator[Rig]:
    outbox = folder / "outbox"

    def block() -> None:
        outbox.write_text("a file where the folder would be")

    def taken() -> list[bytes]:
        return [path.read_bytes() for path in outbox.glob("*.eml")]

    yield Rig(OutboxFolder(folder=outbox), taken, block)


@contextmanager
def _smtp(_: Path) -> Iterator[Rig]:
    with mail_server() as (mailbox, port):

        def answer(reply: str) -> Callable[[], None]:
            return lambda: setattr(mailbox, "data_reply", f"{reply} <{RECIPIENT}> {WORDS}")

        channel = Smtp(host="127.0.0.1", port=port, security="none", timeout=5)
        yield Rig(channel, lambda: mailbox.taken, answer("450"), answer("550"))


@contextmanager
def _web(name: str) -> Iterator[Rig]:
    with loopback() as site:
        url = site.route(PATH, Answer())

        def taken() -> list[bytes]:
            return [seen.body for seen in site.seen if seen.path == PATH]

        def answer(status: int) -> Callable[[], object]:
            return lambda: site.route(PATH, Answer(status, f"{RECIPIENT} {WORDS}".encode()))

        channel = (
            Slack(url=url, allow_private=True, timeout=5)
            if name == "slack"
            else Webhook(url=url, secret=KEY, allow_private=True, timeout=5)
        )
        yield Rig(channel, taken, answer(503), answer(400))


@pytest.fixture(params=BUILT_IN)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    ways = {"outbox": _outbox(tmp_path), "smtp": _smtp(tmp_path)}
    with ways.get(request.param) or _web(request.param) as made, closing(made.channel):
        assert made.channel.name == request.param
        yield made


def refusing(rig: Rig) -> Callable[[], object]:
    if rig.refuse is None:
        pytest.skip("a folder refuses nobody for ever")
    return rig.refuse


def test_it_is_a_channel(rig: Rig) -> None:
    assert isinstance(rig.channel, Channel)


@pytest.mark.parametrize("sent", PARCELS.values(), ids=PARCELS)
def test_it_carries_every_message_whole(rig: Rig, sent: Parcel) -> None:
    rig.channel.send(sent)
    (raw,) = rig.taken()
    if raw.startswith(b"{"):
        assert isinstance(json.loads(raw), dict)
    else:
        arrived = message_from_bytes(raw, policy=default)
        assert isinstance(arrived, EmailMessage)
        assert arrived.defects == []
        assert set(arrived.keys()) - {"X-Peer", "X-MailFrom", "X-RcptTo"} == set(
            sent.message.keys()
        )
        assert _lines(arrived) == _lines(sent.message)


def _lines(message: EmailMessage) -> list[list[str]]:
    """The lines of each part, whose ends a way may write otherwise."""
    return [part.get_content().splitlines() for part in message.iter_parts()]


def test_it_carries_many_one_after_the_other(rig: Rig) -> None:
    for sent in PARCELS.values():
        rig.channel.send(sent)
    assert len(rig.taken()) == len(PARCELS)


def test_a_check_sends_nothing(rig: Rig) -> None:
    said = rig.channel.check()
    assert "\n" not in said
    assert len(said) > 10
    assert rig.taken() == []


def test_it_works_on_after_it_was_closed(rig: Rig) -> None:
    rig.channel.close()
    rig.channel.send(parcel())
    rig.channel.close()
    rig.channel.close()
    rig.channel.send(parcel("digest"))
    assert len(rig.taken()) == 2


def test_a_passing_fault_is_told_from_a_refusal(rig: Rig) -> None:
    rig.busy()
    with pytest.raises(Later):
        rig.channel.send(parcel())


def test_a_refusal_is_told_from_a_passing_fault(rig: Rig) -> None:
    refusing(rig)()
    with pytest.raises(Refused) as caught:
        rig.channel.send(parcel())
    assert not caught.value.gone
    assert re.fullmatch(r"[45]\d\d", caught.value.code)


@pytest.mark.parametrize("fault", ["none", "busy", "refuse"])
def test_nothing_of_a_message_or_address_is_told(
    rig: Rig, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.CRITICAL, "mail.log")  # aiosmtpd, the other side
    told: list[ChannelError] = []
    if fault == "busy":
        rig.busy()
    elif fault == "refuse":
        refusing(rig)()
    for sent in PARCELS.values():
        try:
            rig.channel.send(sent)
        except ChannelError as error:
            told.append(error)
    assert bool(told) == (fault != "none")
    assert all("\n" not in str(error) for error in told)
    said = caplog.text + "".join(f"{error} {error!r} {error.__cause__!r}" for error in told)
    for words in (RECIPIENT, WORDS, "evil.example", "{{7*7}}", PATH, KEY, "Lumora"):
        assert words not in said
