"""`listener channels`: which are enabled and work, who is reached, and a test message."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from .session import Session, fail, form_options, say, shared_options

if TYPE_CHECKING:
    from .config_channels import Channel as Settings
    from .output import Form


@click.group(invoke_without_command=True)
@shared_options
@form_options
@click.pass_context
def channels(context: click.Context, session: Session, form: Form) -> None:
    """Channels: which are enabled, who is reached through each, and whether it works."""
    if context.invoked_subcommand is not None:
        if form != "table":
            raise click.UsageError(f"--{form} is for the table alone")
        context.find_root().obj = session
        return
    from .output import emit

    config = session.config
    rows = [
        {
            "channel": name,
            "enabled": settings.enabled,
            "recipients": ", ".join(p.name for p in config.recipients if p.channel == name),
            "check": _check(name, settings) if settings.enabled else "",
        }
        for name, settings in config.channels.named()
    ]
    emit(rows, form)


@channels.command("test")
@click.argument("name")
@click.option("--to", "address", help="Address [the first recipient of the channel; the sender].")
@shared_options
def test(session: Session, name: str, address: str | None) -> None:
    """Send a test message through the channel NAME and say what became of it.

    It is in the language of the recipient with this address, or in English.
    """
    from email.utils import parseaddr

    from .channels import Later, Refused
    from .channels_open import open_channel
    from .channels_sample import sample_parcel
    from .cli import clock

    config = session.config
    settings = _settings(session, name)
    reached = next((one.email for one in config.recipients if one.channel == name), None)
    chosen = address or reached or parseaddr(config.channels.sender)[1]
    person = next((one for one in config.recipients if one.email == chosen), None)
    language = person.language if person else "en"
    try:
        parcel = sample_parcel(config, chosen, language, now=clock())
    except ValueError:
        fail(f"{chosen} is not an address: write one such as ana@example.com")
    with closing(open_channel(name, settings)) as channel:
        try:
            channel.send(parcel)
        except Later as error:
            fail(f"{name} did not take the message, but may do so later: {error}")
        except Refused as error:
            fail(f"{name} refused the message: {error}")
    say(f"{name} took a test message for {chosen}.")


def _settings(session: Session, name: str) -> Settings:
    """The table of a channel that is on; otherwise the end."""
    from .config_errors import did_you_mean

    named = dict(session.config.channels.named())
    if name not in named:
        near = did_you_mean(name, named) or f"choose one of {', '.join(named)}"
        fail(f"there is no channel {name}: {near}")
    if not named[name].enabled:
        plugin = name in session.config.channels.plugins
        table = f"channels.plugins.{name}" if plugin else f"channels.{name}"
        fail(f"{name} is off: set enabled = true in [{table}]")
    return named[name]


def _check(name: str, settings: Settings) -> str:
    """What a channel says of itself, or what is wrong with it."""
    from .channels import ChannelError
    from .channels_open import open_channel
    from .config import ConfigError

    try:
        with closing(open_channel(name, settings)) as channel:
            return channel.check()
    except ConfigError as error:
        return "; ".join(map(str, error.faults))
    except ChannelError as error:
        return str(error)
