"""Errors whose text is a sentence with the fix and holds nothing of a post or a secret."""

from __future__ import annotations


def explained() -> tuple[type[Exception], ...]:
    """The classes, imported when asked for so that `listener --help` stays quick."""
    from connectors.base import ConnectorError
    from nlp.base import NlpError

    from .channels import ChannelError
    from .config import ConfigError
    from .feedback import FeedbackError
    from .forget import ForgetError
    from .relevance import LabelError
    from .store import StoreError

    return (
        ConnectorError,
        NlpError,
        ChannelError,
        ConfigError,
        FeedbackError,
        ForgetError,
        LabelError,
        StoreError,
    )
