"""The configured channels, made from their tables."""

from __future__ import annotations

import logging
import os
from typing import Any

from .channels import Channel, load
from .config_channels import Channel as Settings
from .config_channels import (
    Channels,
    OutboxChannel,
    PluginChannel,
    SlackChannel,
    SmtpChannel,
    WebhookChannel,
)
from .config_errors import ConfigError, Fault
from .config_fields import revealed

log = logging.getLogger(__name__)


def open_channels(channels: Channels) -> dict[str, Channel]:
    """The enabled channels by name; raises ConfigError for one that cannot be made."""
    return {
        name: open_channel(name, settings)
        for name, settings in channels.named()
        if settings.enabled
    }


def open_channel(name: str, settings: Settings) -> Channel:
    """One channel; raises ConfigError, as for a secret whose variable is not set."""
    known = revealed(_settings(settings), os.environ)
    if not isinstance(settings, PluginChannel):
        return load(name, **known)
    try:
        return load(name, **known)
    except Exception as error:
        # A plug-in may raise anything, and options it does not know are a TypeError. The text is
        # not told, as it may hold a secret.
        log.debug("%s", name, exc_info=True)
        fault = Fault(
            key=f"channels.plugins.{name}",
            message=f"cannot be made ({type(error).__name__})",
            fix="check its options, and that its package is installed",
        )
        raise ConfigError([fault]) from None


def _settings(settings: Settings) -> dict[str, Any]:
    """What the class of the channel takes."""
    match settings:
        case OutboxChannel():
            return {"folder": settings.folder}
        case SmtpChannel():
            return {
                "host": settings.host,
                "port": settings.port,
                "security": settings.security,
                "username": settings.username,
                "password": settings.password,
                "timeout": settings.timeout_seconds,
            }
        case WebhookChannel() | SlackChannel():
            return {
                "url": settings.url,
                "allow_private": settings.allow_private_addresses,
                "timeout": settings.timeout_seconds,
                **({"secret": settings.secret} if isinstance(settings, WebhookChannel) else {}),
            }
        case PluginChannel():
            return dict(settings.options)
    raise TypeError(f"no channel is made from {type(settings).__name__}")
