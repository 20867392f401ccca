"""The [channels] tables: what is missing, what a recipient may name, and plug-ins."""

from __future__ import annotations

import pytest

from listener.channels_open import open_channels
from listener.config import ConfigError, parse
from listener.config_errors import Fault

BRAND = '[brand]\nname = "Lumora"\n'
PERSON = '[[recipients]]\nname = "Ana"\nemail = "ana@example.com"\n'
URL = 'url = { env = "HOOK_URL" }\n'
SLACK = "[channels.slack]\nenabled = true\n" + URL
MINE = "[channels.plugins.mine]\n"


def faults(text: str) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(BRAND + text, file="config.toml")
    assert "s3cret" not in str(caught.value)
    return caught.value.faults


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("[channels.slack]\nenabled = true", "channels.slack.url", "is missing"),
        ("[channels.webhook]\nenabled = true\n" + URL, "channels.webhook.secret", "is missing"),
        (
            '[channels.slack]\nurl = "https://hooks.slack.com/s3cret"',
            "channels.slack.url",
            "a secret must not stand in this file",
        ),
        ('[channels.webhook]\nsecret = "s3cret"', "channels.webhook.secret", "a secret must not"),
        ("[channels.slack]\ntimeout_seconds = 0.5", "channels.slack.timeout_seconds", "too small"),
        ("[channels.slack]\nsecret = { env = 'A' }", "channels.slack.secret", "unknown key"),
        (PERSON + 'channel = "slack"', "recipients[0].channel", "`slack` is off"),
        (PERSON + 'channel = "mine"\n' + MINE, "recipients[0].channel", "[channels.plugins.mine]"),
        (PERSON + 'channel = "slak"', "recipients[0].channel", "did you mean `slack`?"),
        ("[channels.plugins.smtp]\n", "channels.plugins", "`smtp` is built in"),
        ("[channels.plugins.'My own']\n", 'channels.plugins."My own"', "not a name of a plug-in"),
        (
            MINE + 'options = { token = "s3cret" }',
            "channels.plugins.mine.options",
            "a secret must not",
        ),
    ],
)
def test_a_fault_names_its_key_and_the_fix(text: str, key: str, says: str) -> None:
    (fault,) = faults(text)
    assert fault.key == key
    assert says in str(fault)


def test_a_recipient_may_have_any_channel_that_is_on() -> None:
    text = BRAND + PERSON + 'channel = "CHOSEN"\n' + SLACK + MINE + "enabled = true\n"
    for name in ("outbox", "slack", "mine"):
        config = parse(text.replace("CHOSEN", name), file="config.toml")
        assert config.recipients[0].channel == name


def test_channels_are_named_in_order_with_plug_ins_last() -> None:
    config = parse(BRAND + SLACK + MINE, file="config.toml")
    assert [(name, settings.enabled) for name, settings in config.channels.named()] == [
        ("outbox", True),
        ("smtp", False),
        ("webhook", False),
        ("slack", True),
        ("mine", False),
    ]


def test_what_is_on_is_opened_with_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    channels = parse(BRAND + SLACK, file="config.toml").channels
    monkeypatch.setenv("HOOK_URL", "https://hooks.example/s3cret")
    opened = open_channels(channels)
    assert {name: one.name for name, one in opened.items()} == {
        "outbox": "outbox",
        "slack": "slack",
    }
    monkeypatch.delenv("HOOK_URL")
    with pytest.raises(ConfigError, match="HOOK_URL"):
        open_channels(channels)
