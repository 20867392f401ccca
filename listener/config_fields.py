"""Checked types of the configuration's values: each accepts what is right and names the fix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parseaddr
from glob import escape
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from .config_errors import ConfigError, Fault, did_you_mean, refused

_ISO_639_1 = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv "
    "cy da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr "
    "ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw "
    "ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv "
    "ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr "
    "ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi "
    "yo za zh zu"
)
ISO_LANGUAGES = frozenset(_ISO_639_1.split())
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_EMAIL = re.compile(r"[^@\s<>()\[\],;:\"\\]+@[^@\s<>()\[\],;:\"\\]+\Z")
_HANDLE = re.compile(r"@?\w[\w.-]*(@[\w.-]+)?\Z")
_HASHTAG = re.compile(r"#?\w+\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SECRET_KEY = re.compile(r"(password|secret|token|api_?key)\Z", re.IGNORECASE)
_PLUGIN = re.compile(r"[a-z][a-z0-9_-]*\Z")
_USE_VARIABLE = 'put it in an environment variable and write { env = "NAME" } here'


class Section(BaseModel):
    """A table of the configuration: frozen, and unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        # Defaults that are sections are checked again, so that their paths know the folder.
        revalidate_instances="always",
        hide_input_in_errors=True,
    )


def _one_line(text: str) -> str:
    if _CONTROL.search(text):
        raise refused("holds a line break or control character", "write it on one line")
    return text


def _language(code: str) -> str:
    if code in ISO_LANGUAGES:
        return code
    raise refused("is not a language code", 'write a two-letter code, such as "en" or "es"')


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        near = did_you_mean(name, available_timezones())
        raise refused("is not a time zone", near or 'write one such as "Europe/Madrid"') from None
    return name


def _email(address: str) -> str:
    if not _EMAIL.match(address):
        raise refused("is not an e-mail address", 'write one such as "ana@example.com"')
    return address


def _sender(text: str) -> str:
    _, address = parseaddr(text)
    if not _EMAIL.match(address):
        raise refused("has no e-mail address", 'write "Listener <listener@example.com>"')
    return text


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refused("is not a web address", "check its host and port") from None
    if parts.scheme not in {"http", "https"} or not host or re.search(r"\s", text):
        raise refused("is not a web address", "start it with https:// or http:// and a host")
    if parts.username is not None or parts.password is not None:
        raise refused("holds a user name or password", "remove what stands before the @")
    return text


def _page(url: str) -> str:
    host = urlsplit(url).hostname or ""
    if not re.search(r"\.[^\W\d_]{2,}\Z", host):
        raise refused("has no public host", "write a host such as shop.example.com")
    return url


def _phrase(text: str) -> str:
    if not re.search(r"[^\W_]", text):
        raise refused("has no letter or digit", "write a word that people use, or remove it")
    return text


def _either(text: str) -> str:
    for one in text.split("|"):
        _phrase(one)
    return text


def _handle(text: str) -> str:
    if not _HANDLE.match(text):
        raise refused("is not a handle", 'write one such as "@lumora", without spaces')
    return f"@{text.removeprefix('@')}"


def _account(text: str) -> str:
    if not re.fullmatch(r"@?\S*\w\S*", text):
        raise refused("is no handle and no id", 'write one such as "@dealsbot", without spaces')
    return text


def _hashtag(text: str) -> str:
    if not _HASHTAG.match(text):
        raise refused("is not a hashtag", 'write one such as "#lumora", without spaces')
    return f"#{text.removeprefix('#')}"


def _variable(name: str) -> str:
    if not _VARIABLE.match(name):
        raise refused(
            "is not the name of an environment variable",
            "write a name of letters, digits and _; the secret itself goes into that variable",
        )
    return name


def _plugin_name(name: str) -> str:
    if not _PLUGIN.match(name):
        raise refused("is not a name of a plug-in", "write lower-case letters, digits, - and _")
    return name


def _in_folder(path: Path, info: ValidationInfo) -> Path:
    try:
        path = path.expanduser()
    except RuntimeError:
        raise refused("begins with an unknown home folder", "write the whole path") from None
    return info.context["folder"] / path if info.context else path


def _glob_in_folder(pattern: str, info: ValidationInfo) -> str:
    if not info.context or Path(pattern).is_absolute():
        return pattern
    return str(Path(escape(str(info.context["folder"]))) / pattern)


def _not_blank(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise refused("is empty", "write a path or remove the key")
    return value


Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_one_line)
]
Label = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_one_line)]
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Minutes = Annotated[int, Strict(), Field(ge=1, le=60 * 24 * 31)]
Days = Annotated[int, Strict(), Field(ge=0, le=36_600)]
Hour = Annotated[int, Strict(), Field(ge=0, le=23)]
Probability = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Strict(), Field(ge=1, le=600, allow_inf_nan=False)]
Language = Literal["en", "es"]
Heard = Literal["en", "es", "pt", "fr", "it", "de"]
"""Languages of posts that may raise alerts; those behind Spanish have to be switched on."""
LanguageCode = Annotated[Text, AfterValidator(_language)]
TimeZone = Annotated[Text, AfterValidator(_time_zone)]
Email = Annotated[Text, AfterValidator(_email)]
Sender = Annotated[Text, AfterValidator(_sender)]
Url = Annotated[Text, AfterValidator(_url)]
PageUrl = Annotated[Url, AfterValidator(_page)]
Phrase = Annotated[Text, AfterValidator(_phrase)]
Phrases = tuple[Phrase, ...]
Alternatives = tuple[Annotated[Text, AfterValidator(_either)], ...]
"""Phrases, or several with | between them of which any will do."""
Account = Annotated[Text, AfterValidator(_account)]
Handle = Annotated[Text, AfterValidator(_handle)]
Hashtag = Annotated[Text, AfterValidator(_hashtag)]
FilePath = Annotated[Path, BeforeValidator(_not_blank), AfterValidator(_in_folder)]
FilePattern = Annotated[Text, AfterValidator(_glob_in_folder)]
PluginName = Annotated[str, AfterValidator(_plugin_name)]
Variable = Annotated[Text, AfterValidator(_variable)]
Words = Mapping[LanguageCode, Phrases]


class Secret(Section):
    """A value that stays outside of the file: `{ env = "NAME" }` names its variable."""

    env: Variable = Field(description="Name of the environment variable that holds the value.")

    @model_validator(mode="before")
    @classmethod
    def _never_literal(cls, value: object) -> object:
        if isinstance(value, Mapping | cls):
            return value
        raise refused("a secret must not stand in this file", _USE_VARIABLE)

    def reveal(self, environ: Mapping[str, str]) -> str:
        """The value in `environ`; raises ConfigError, which names the variable, without one."""
        value = environ.get(self.env)
        if not value:
            fault = Fault(
                key=self.env,
                message="this environment variable is not set or empty",
                fix="set it before Listener starts",
            )
            raise ConfigError([fault])
        return value


def _with_secrets(value: Any, key: str = "") -> Any:
    """`value` with each table `{ env = "NAME" }` made a Secret; refused where a literal stands."""
    if isinstance(value, dict):
        if value.keys() == {"env"}:
            try:
                return Secret.model_validate(value)
            except ValidationError:
                raise refused(f"`{key}`: names no environment variable", _USE_VARIABLE) from None
        return {name: _with_secrets(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return tuple(_with_secrets(inner, key) for inner in value)
    if isinstance(value, str) and _SECRET_KEY.search(key):
        raise refused(f"`{key}`: a secret must not stand in this file", _USE_VARIABLE)
    return value


Options = Annotated[Mapping[str, Any], AfterValidator(_with_secrets)]


def revealed(value: Any, environ: Mapping[str, str]) -> Any:
    """`value` with every secret in it read from `environ`; raises ConfigError without one."""
    if isinstance(value, Secret):
        return value.reveal(environ)
    if isinstance(value, Mapping):
        return {key: revealed(one, environ) for key, one in value.items()}
    return [revealed(one, environ) for one in value] if isinstance(value, list | tuple) else value
