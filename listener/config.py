"""What the user sets in config.toml, as frozen models, and the way from the file to them.

`load` reads a file, `default` what ships with the package. Whatever is wrong comes as one
ConfigError with every fault. Relative paths in the file are joined to the folder of the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, ValidationError, field_validator
from pydantic import ValidationInfo as Info

from .config_alerts import Alerts, Kind, PerDay
from .config_checks import cross_faults
from .config_errors import (
    ConfigError,
    Fault,
    in_file_order,
    refused,
    schema_faults,
    syntax_fault,
)
from .config_fields import (
    Days,
    Email,
    FilePath,
    Flag,
    Handle,
    Hashtag,
    Hour,
    Language,
    Minutes,
    PageUrl,
    Phrase,
    Phrases,
    Seconds,
    Secret,
    Section,
    Sender,
    Text,
    TimeZone,
    Url,
    Whole,
    Words,
)
from .config_nlp import Nlp
from .config_sources import Sources

__all__ = ["Config", "ConfigError", "Fault", "Kind", "default", "default_text", "load", "parse"]


_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class Database(Section):
    """Where everything is stored."""

    path: FilePath = Field(Path("listener.db"), description="The SQLite file.")


class Examples(Section):
    """Posts that mean this name, and posts in which the same word means something else."""

    yes: Phrases = Field((), description="Sentences that mean it.")
    no: Phrases = Field((), description="Sentences in which the word means something else.")


class Named(Section):
    """Something that people talk about and that has a name."""

    name: Phrase = Field(description="Name, as it stands in mails, tables and charts.")
    hashtags: tuple[Hashtag, ...] = Field((), description="Hashtags, with or without #.")
    exclude: Phrases = Field((), description="Phrases that look alike and mean something else.")
    description: Text | None = Field(
        None, description="What it is, for a name that is also a common word, in people's words."
    )
    examples: Examples = Field(
        Examples(), description="Sentences that tell this meaning of the name from others."
    )


class Product(Named):
    """One of the brand's products."""

    aliases: Phrases = Field((), description="Other spellings and short names, in every language.")
    terms: Words = Field({}, description="Words for it that belong to one language.")
    urls: tuple[PageUrl, ...] = Field(
        (), description="Its pages: a post that links to one is about it."
    )


class Brand(Product):
    """The brand that Listener works for."""

    handles: tuple[Handle, ...] = Field((), description="Accounts on any network, such as @lumora.")


class Competitor(Brand):
    """Another maker that buyers weigh against the brand."""


class Category(Named):
    """A need, and what people who have it say before they name any brand."""

    words: Words = Field(description="What people call it, per language.")

    @field_validator("words")
    @classmethod
    def _any_word(cls, words: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        if not any(words.values()):
            raise refused("has no words", 'add some: words = { en = ["..."], es = ["..."] }')
        return words


class Digest(Section):
    """The daily summary."""

    enabled: Flag = Field(True, description="Whether the digest is made.")
    hour: Hour = Field(8, description="Hour at which it is sent.")
    minute: Annotated[Whole, Field(ge=0, le=59)] = Field(0, description="Minute of that hour.")
    timezone: TimeZone = Field("Europe/Madrid", description="Time zone of hour, minute and day.")
    max_conversations: Annotated[Whole, Field(ge=1, le=50)] = Field(
        10, description="Most conversations in one digest."
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


class Channels(Section):
    """How mail leaves."""

    sender: Sender = Field("Listener <listener@localhost>", description="From line of all mail.")
    outbox: OutboxChannel = Field(OutboxChannel(), description="A folder of mails.")
    smtp: SmtpChannel = Field(SmtpChannel(), description="A mail server.")


class Recipient(Section):
    """A person who gets mail."""

    name: Text = Field(description="Name of the person.")
    email: Email = Field(description="Address of the person.")
    language: Language = Field("en", description="Language of the mail.")
    receives: Annotated[tuple[Literal["digest", "alerts"], ...], Field(min_length=1)] = Field(
        ("digest",), description="What the person gets."
    )
    channel: Text = Field("outbox", description="Channel that carries it; it must be enabled.")
    max_alerts_per_day: PerDay | None = Field(
        None, description="Most alert e-mails in 24 hours, instead of [alerts] max_per_day."
    )


class Schedule(Section):
    """When `listener run` does what; each source has its own `every_minutes`."""

    analyse_minutes: Minutes = Field(5, description="Minutes from one analysis to the next.")
    deliver_minutes: Minutes = Field(1, description="Minutes from one delivery to the next.")
    retention_hour: Hour = Field(3, description="Hour at which old rows are removed.")
    timezone: TimeZone = Field("Europe/Madrid", description="Time zone of retention_hour.")


class Retention(Section):
    """How long what was collected is kept."""

    mentions_days: Days = Field(365, description="Days that posts are kept; 0: for ever.")
    raw_days: Days = Field(30, description="Days that the raw records are kept; 0: for ever.")


class Web(Section):
    """The page on which readers judge alerts (`listener serve`), and the links to it in mails."""

    base_url: Url | None = Field(
        None,
        description="Where readers reach the page, such as https://listener.example.com; "
        "without it mails have no such links.",
    )
    host: Text = Field("127.0.0.1", description="Address of this machine to listen on.")
    port: Annotated[Whole, Field(ge=1, le=65_535)] = Field(8347, description="Port of the page.")
    secret: Secret | None = Field(
        None,
        description="Key that signs the links, 32 characters or more, or several with blanks "
        "between them, newest first; without it a file beside the database holds one.",
    )

    @field_validator("base_url")
    @classmethod
    def _without_tail(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if "?" in url or "#" in url:
            raise refused("has a part behind ? or #", "end it with the host or a path")
        if parts.scheme != "https" and parts.hostname not in _THIS_MACHINE:
            raise refused("would show links to everybody on their way", "start it with https://")
        return url.rstrip("/")


class Config(Section):
    """The whole configuration; `folder` is where the file lies."""

    brand: Brand = Field(description="[brand] with name: the brand that Listener works for.")
    products: tuple[Product, ...] = Field((), description="Its products.")
    competitors: tuple[Competitor, ...] = Field((), description="Its competitors.")
    categories: tuple[Category, ...] = Field((), description="Needs that it answers.")
    sources: Sources = Field(Sources(), description="Where posts come from.")
    nlp: Nlp = Field(Nlp(), description="How texts are tagged.")
    alerts: Alerts = Field(Alerts(), description="Which conversations raise an alert.")
    digest: Digest = Field(Digest(), description="The daily summary.")
    recipients: tuple[Recipient, ...] = Field((), description="Who gets mail.")
    channels: Channels = Field(Channels(), description="How mail leaves.")
    web: Web = Field(Web(), description="The page on which readers judge alerts.")
    schedule: Schedule = Field(Schedule(), description="When things happen.")
    retention: Retention = Field(Retention(), description="How long data are kept.")
    database: Database = Field(Database(), description="Where data are stored.")

    _folder: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any, /) -> None:
        """Keep the folder that relative paths were read against."""
        if context:
            self._folder = context["folder"]

    @property
    def folder(self) -> Path:
        """The folder that the relative paths of the file were joined to."""
        return self._folder

    def receiving(self, what: Literal["digest", "alerts"]) -> tuple[Recipient, ...]:
        """The recipients of the digest or of the alerts, in the order of the file."""
        return tuple(person for person in self.recipients if what in person.receives)


def parse(text: str, *, file: str, folder: Path | None = None) -> Config:
    """The configuration in `text`; `file` names it in errors.

    Relative paths are joined to `folder`, or without one to the folder of `file`.
    Raises ConfigError with every fault, in the order of the lines.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([syntax_fault(error, text)], file=file) from None
    channels = {name: part.enabled for name, part in Channels() if isinstance(part, Channel)}
    channel = Recipient.model_fields["channel"].default
    faults = list(cross_faults(data, channels=channels, channel=channel))
    try:
        config = Config.model_validate(data, context={"folder": folder or Path(file).parent})
    except ValidationError as error:
        faults += schema_faults(error, Config)
    else:
        if not faults:
            return config
    # Outside of `except`: a chained pydantic error would show what stands in the file.
    raise ConfigError(in_file_order(faults, text), file=file)


def load(path: Path) -> Config:
    """The configuration in the file `path`; raises ConfigError."""
    file = str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        fault = Fault(key="", message="there is no such file", fix="`listener init` writes one")
        raise ConfigError([fault], file=file) from None
    except OSError as error:
        fault = Fault(key="", message=f"cannot be read ({error.strerror})", fix="check its rights")
        raise ConfigError([fault], file=file) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        fault = Fault(key="", message="is not UTF-8 text", fix="save it as UTF-8", line=line)
        raise ConfigError([fault], file=file) from None
    return parse(text, file=file, folder=path.absolute().parent)


def default_text() -> str:
    """The text of the commented configuration that ships with the package."""
    return files(__package__).joinpath("default_config.toml").read_text(encoding="utf-8")


def default(folder: Path = Path()) -> Config:
    """The configuration that ships with the package, with paths relative to `folder`."""
    return parse(default_text(), file="default_config.toml", folder=folder)
