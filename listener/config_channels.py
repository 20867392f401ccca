"""The [channels] tables: a new channel is one model here and one field of `Channels`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic import ValidationInfo as Info

from .config_errors import refused
from .config_fields import (
    FilePath,
    Flag,
    Options,
    PluginName,
    Seconds,
    Secret,
    Section,
    Sender,
    Text,
    Whole,
)


class Channel(Section):
    """Settings that every channel has."""

    enabled: Flag = Field(False, description="Whether recipients may use this channel.")


class OutboxChannel(Channel):
    """A folder of .eml and .html files; needs no server."""

    enabled: Flag = Field(True, description="Whether recipients may use this channel.")
    folder: FilePath = Field(Path("outbox"), description="Folder that gets the files.")


class SmtpChannel(Channel):
    """A mail server."""

    host: Text | None = Field(None, description="Name of the server.")
    port: Annotated[Whole, Field(ge=1, le=65_535)] = Field(587, description="Its port.")
    security: Literal["starttls", "ssl", "none"] = Field(
        "starttls", description="How the connection is protected."
    )
    username: Text | None = Field(None, description="Name to log in with.")
    password: Secret | None = Field(None, description="Password of that name.")
    timeout_seconds: Seconds = Field(30, description="How long to wait for the server.")

    @field_validator("host")
    @classmethod
    def _some_host(cls, host: str | None, info: Info) -> str | None:
        if info.data.get("enabled") and host is None:
            raise refused("is missing, yet the channel is enabled", 'add host = "smtp.example.com"')
        return host

    @field_validator("password")
    @classmethod
    def _both(cls, password: Secret | None, info: Info) -> Secret | None:
        if "username" not in info.data or (info.data["username"] is None) == (password is None):
            return password
        if password is None:
            raise refused("is missing beside username", 'add password = { env = "SMTP_PASSWORD" }')
        raise refused("stands without username", "add username or remove password")


class WebChannel(Channel):
    """A channel that posts to one web address."""

    url: Secret | None = Field(
        None, description="The address, https://...; whoever knows it can use it."
    )
    allow_private_addresses: Flag = Field(
        False,
        description="Whether the address may lead into this machine or a private network; there "
        "it may begin with http://.",
    )
    timeout_seconds: Seconds = Field(15, description="How long to wait for an answer.")

    @field_validator("url")
    @classmethod
    def _some_url(cls, url: Secret | None, info: Info) -> Secret | None:
        if info.data.get("enabled") and url is None:
            raise refused("is missing, yet the channel is enabled", 'write { env = "WEBHOOK_URL" }')
        return url


class WebhookChannel(WebChannel):
    """Signed JSON to a program of yours, by the convention of standardwebhooks.com."""

    secret: Secret | None = Field(
        None,
        description="Key that signs, 24 to 64 bytes in base64 (`openssl rand -base64 32`), or "
        "several with blanks between them while receivers change to a new one.",
    )

    @field_validator("secret")
    @classmethod
    def _some_secret(cls, secret: Secret | None, info: Info) -> Secret | None:
        if info.data.get("enabled") and secret is None:
            raise refused(
                "is missing, yet the channel is enabled", 'write { env = "WEBHOOK_SECRET" }'
            )
        return secret


class SlackChannel(WebChannel):
    """An incoming webhook of Slack, Mattermost or Rocket.Chat, or Discord's ending in /slack."""


class PluginChannel(Channel):
    """A channel from another distribution (entry point `listener.channels`)."""

    options: Options = Field(
        {}, description='Whatever this channel takes; secrets as { env = "NAME" }.'
    )


class Channels(Section):
    """How messages leave."""

    sender: Sender = Field("Listener <listener@localhost>", description="From line of all mail.")
    give_up_hours: Annotated[Whole, Field(ge=1, le=24 * 30)] = Field(
        120,
        description="Hours after which a message that cannot be delivered is tried no more; the "
        "next digest tells of such alerts.",
    )
    outbox: OutboxChannel = Field(OutboxChannel(), description="A folder of mails.")
    smtp: SmtpChannel = Field(SmtpChannel(), description="A mail server.")
    webhook: WebhookChannel = Field(WebhookChannel(), description="A web address of your own.")
    slack: SlackChannel = Field(SlackChannel(), description="A room of Slack and its like.")
    plugins: Mapping[PluginName, PluginChannel] = Field(
        {}, description="Channels from other distributions, by name."
    )

    @field_validator("plugins")
    @classmethod
    def _new_names(cls, plugins: Mapping[str, PluginChannel]) -> Mapping[str, PluginChannel]:
        for name in plugins:
            if name in cls.model_fields:
                raise refused(f"`{name}` is built in", f"write [channels.{name}]")
        return plugins

    def named(self) -> Iterator[tuple[str, Channel]]:
        """Name and settings of each channel, on or off, built-in ones first."""
        built_in = ((name, getattr(self, name)) for name in type(self).model_fields)
        for name, channel in (*built_in, *self.plugins.items()):
            if isinstance(channel, Channel):
                yield name, channel
