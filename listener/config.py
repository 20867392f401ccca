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

from .config_alerts import Alerts, Kind, PerDay, QuietHours
from .config_channels import Channels
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
    Alternatives,
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
    Secret,
    Section,
    Text,
    TimeZone,
    Url,
    Whole,
    Words,
)
from .config_nlp import Nlp
from .config_sources import Sources

__all__ = ["Config", "ConfigError", "Fault", "Kind", "default", "default_text", "load", "parse"]


Receives = Literal["digest", "alerts", "operator"]
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
    require_all: Alternatives = Field(
        (),
        description="Everyday words that a post has to hold too, every one of them, to be about "
        'it; of "boat|barco" one is enough. Posts that name an account or address of it need none.',
    )
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
    labels: Mapping[Language, Phrase] = Field(
        {}, description="Its name in mails, per language of the reader; without one, `name`."
    )

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


class Recipient(Section):
    """A person who gets mail."""

    name: Text = Field(description="Name of the person.")
    email: Email = Field(description="Address of the person.")
    role: Text | None = Field(None, description="What the person does, as tables show it.")
    language: Language = Field("en", description="Language of the mail.")
    receives: Annotated[tuple[Receives, ...], Field(min_length=1)] = Field(
        ("digest",),
        description='What the person gets; "operator": e-mails about Listener itself, such as a '
        "source that fails or has gone quiet.",
    )
    channel: Text = Field("outbox", description="Channel that carries it; it must be enabled.")
    max_alerts_per_day: PerDay | None = Field(
        None, description="Most alert e-mails in 24 hours, instead of [alerts] max_per_day."
    )
    rules: tuple[Text, ...] = Field(
        (), description="Names of the alert rules whose alerts the person gets; empty: all."
    )
    timezone: TimeZone | None = Field(
        None, description="Time zone of the person [that of the digest]."
    )
    digest_hour: Hour | None = Field(
        None, description="Hour of that zone at which the digest is sent [that of the digest]."
    )
    digest_minute: Annotated[Whole, Field(ge=0, le=59)] | None = Field(
        None, description="Minute of that hour [0, or that of the digest without digest_hour]."
    )
    quiet_hours: QuietHours | None = Field(
        None,
        description='Alert e-mails wait until they are over: "21:00-07:30" in the person\'s zone.',
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
    log_days: Days = Field(
        365,
        description="Days that sent messages, files of the outbox folder and the records of "
        "collections and jobs are kept; 0: for ever. What was spent is always kept.",
    )


class Upkeep(Section):
    """Looking stored posts up again, where their source allows it: figures, edits, removals."""

    enabled: Flag = Field(True, description="Whether stored posts are looked up again.")
    every_minutes: Minutes = Field(
        60, description="Minutes from one round of look-ups to the next."
    )
    deletions_days: Annotated[Days, Field(ge=1)] = Field(
        30,
        description="Every stored post is looked up once in so many days, so that what its author "
        "or platform removed is removed here. It costs what reading the posts costs.",
    )
    figures_hours: tuple[Annotated[Whole, Field(ge=1, le=24 * 366)], ...] = Field(
        (24, 168), description="Ages in hours at which a post is looked up for its figures."
    )
    paid_figures: Flag = Field(
        False, description="Whether figures_hours holds where a look-up costs money (X)."
    )


class Followups(Section):
    """Reading watched conversations again as they grow older, to see how they end."""

    enabled: Flag = Field(True, description="Whether conversations are read again.")
    every_minutes: Minutes = Field(15, description="Minutes from one round to the next.")
    hours: Annotated[tuple[Annotated[Whole, Field(ge=1, le=24 * 60)], ...], Field(min_length=1)] = (
        Field(
            (1, 6, 24, 168),
            description="Ages in hours at which a conversation is read again, once each; they "
            "count from its last known post.",
        )
    )
    max_threads: Annotated[Whole, Field(ge=1, le=10_000)] = Field(
        100, description="Most threads that one round reads from each source."
    )


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


class Log(Section):
    """Where `listener run` writes what it does; neither posts nor people are named in it."""

    file: FilePath | None = Field(None, description="File of the log; without it, stderr.")
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is written."
    )
    max_mb: Annotated[Whole, Field(ge=1, le=1024)] = Field(
        10, description="Size in MB at which a new file is begun."
    )
    keep: Annotated[Whole, Field(ge=1, le=100)] = Field(
        5, description="Full files that are kept; older ones are deleted."
    )


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
    upkeep: Upkeep = Field(Upkeep(), description="How stored posts are kept up to date.")
    followups: Followups = Field(
        Followups(), description="When watched conversations are read again."
    )
    database: Database = Field(Database(), description="Where data are stored.")
    log: Log = Field(Log(), description="Where `listener run` writes what it does.")

    _folder: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any, /) -> None:
        """Keep the folder that relative paths were read against."""
        if context:
            self._folder = context["folder"]

    @property
    def folder(self) -> Path:
        """The folder that the relative paths of the file were joined to."""
        return self._folder

    def labels(self, language: Language) -> dict[str, str]:
        """The names of categories that have another one in mails of `language`, by name."""
        return {one.name: one.labels[language] for one in self.categories if language in one.labels}

    def receiving(self, what: Receives) -> tuple[Recipient, ...]:
        """The recipients of this kind of mail, in the order of the file."""
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
    channels = {name: part.enabled for name, part in Channels().named()}
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
