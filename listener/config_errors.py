"""Faults of a configuration file in plain words: the key, the line, what is wrong and the fix."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

Location = tuple[str | int, ...]
"""Way to a value in the TOML data: keys and list indexes."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
_FOUND: dict[type, str] = {
    bool: "true/false",
    str: "text",
    int: "a whole number",
    float: "a number with decimals",
    list: "a list",
    dict: "a table",
}
_WANTED = {
    "string_type": ("text", 'put it in quotes: "..."'),
    "path_type": ("a path", 'put it in quotes: "..."'),
    "bool_type": ("true or false", "write true or false, without quotes"),
    "int_type": ("a whole number", "write a whole number, without quotes or decimals"),
    "float_type": ("a number", "write a number, without quotes"),
    "tuple_type": ("a list", 'write a list: ["...", "..."]'),
    "dict_type": ("a table", 'write a table: { en = ["..."], es = ["..."] }'),
}
_BOUNDS = {
    "greater_than_equal": ("ge", "is too small", "write {} or more"),
    "less_than_equal": ("le", "is too large", "write {} or less"),
    "too_short": ("min_length", "has too few values", "give at least {}"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong. `key` is dotted, with list indexes from 0; `line` starts at 1."""

    key: str
    message: str
    fix: str
    line: int | None = None

    def __str__(self) -> str:
        """One line: where, what, and the fix."""
        place = f"line {self.line}, " if self.line else ""
        return f"{place}{self.key or 'file'}: {self.message}; {self.fix}"


class ConfigError(Exception):
    """Everything that is wrong with the configuration, in the order of the file.

    `file` is the name it was read from, "" where the fault lies outside of a file.
    """

    def __init__(self, faults: Iterable[Fault], *, file: str = "") -> None:
        self.file = file
        self.faults = tuple(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        title = f"{file or 'configuration'}: {count}"
        super().__init__("\n".join([title, *(f"  {fault}" for fault in self.faults)]))


def refused(message: str, fix: str) -> PydanticCustomError:
    """The error that a validator raises; neither text may hold a secret."""
    return PydanticCustomError("refused", "refused", {"message": message, "fix": fix})


def dotted(location: Location) -> str:
    """`("feeds", 1, "url")` -> `feeds[1].url`; keys that TOML wants in quotes get them."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _BARE_KEY.match(part) else json.dumps(part, ensure_ascii=False)
            text += f".{name}" if text else name
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """'did you mean `x`?' with the closest of `known`, or None when nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else None


def syntax_fault(error: tomllib.TOMLDecodeError, text: str) -> Fault:
    """The fault of a text that is not TOML."""
    message = str(error)
    place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)\Z", message)
    line = int(place[1]) if place and place[1] else text.count("\n") + 1
    return Fault(
        key="",
        message=f"is not valid TOML: {message[: place.start()] if place else message}",
        fix="mend this line: text stands in quotes, lists in [ ], each key once",
        line=line,
    )


def schema_faults(
    error: ValidationError, model: type[BaseModel]
) -> Iterator[tuple[Location, Fault]]:
    """Location and fault (still without line) of each error that pydantic found under `model`."""
    details = error.errors(include_url=False)
    around = {detail["loc"][:end] for detail in details for end in range(len(detail["loc"]))}
    for detail in details:
        # pydantic drops wrong values of a list and then also finds the list too short
        if detail["type"] == "too_short" and detail["loc"] in around:
            continue
        # pydantic marks a fault of a mapping's key, as opposed to its value, by this last part
        location = tuple(part for part in detail["loc"] if part != "[key]")
        message, fix = _in_words(detail, location, model)
        yield location, Fault(key=dotted(location), message=message, fix=fix)


def _in_words(detail: ErrorDetails, location: Location, model: type[BaseModel]) -> tuple[str, str]:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    found = _FOUND.get(type(given), "a date or time")
    name = str(location[-1]) if location else ""
    if kind == "refused":
        return context["message"], context["fix"]
    if kind == "extra_forbidden":
        known = _model_at(model, location).model_fields
        return "unknown key", did_you_mean(
            name, known
        ) or f"remove it; known here: {', '.join(known)}"
    if kind == "missing":
        meaning = _model_at(model, location).model_fields[name].description
        return "is missing", f"add it: {meaning}"
    if kind == "string_too_short":
        return "is empty", "write a text or remove the key"
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        near = did_you_mean(given, choices) if isinstance(given, str) else None
        return "is not one of the choices", near or f"write one of: {', '.join(choices)}"
    if kind in {"model_type", "model_attributes_type"}:
        brackets = f"write [{name}], with single brackets" if isinstance(given, list) else ""
        return f"must be a table, not {found}", brackets or "write a table: { key = value }"
    if kind == "tuple_type" and isinstance(given, dict):
        return "must be a list, not a table", f"write [[{name}]], with double brackets"
    if kind == "finite_number":
        return "is not an ordinary number", "write one such as 0.5"
    if kind in _WANTED:
        wanted, fix = _WANTED[kind]
        return f"must be {wanted}, not {found}", fix
    if kind in _BOUNDS:
        bound, message, fix = _BOUNDS[kind]
        return message, fix.format(context[bound])
    return detail["msg"], "correct this value"


def _model_at(root: type[BaseModel], location: Location) -> type[BaseModel]:
    """The model whose field the last part of `location` is."""
    model = root
    for part in location[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            model = _inner_model(model.model_fields[part].annotation) or model
    return model


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_inner_model(part) for part in get_args(annotation))
    return next((model for model in inner if model), None)


def in_file_order(faults: Iterable[tuple[Location, Fault]], text: str) -> list[Fault]:
    """The faults with their lines in `text`, first line first."""
    lines = key_lines(text)
    placed = (replace(fault, line=_line_of(location, lines)) for location, fault in faults)
    return sorted(placed, key=lambda fault: fault.line or 0)


def _line_of(location: Location, lines: Mapping[Location, int]) -> int | None:
    """Line of the key at `location`, or of the nearest table around it."""
    known = (
        lines[location[:end]] for end in range(len(location), 0, -1) if location[:end] in lines
    )
    return next(known, None)


def key_lines(text: str) -> dict[Location, int]:
    """Line of each table header and key of a valid TOML text.

    tomllib gives no positions, so the text is cut into its statements (the fewest whole lines that
    parse) and each is parsed alone. Keys of inline tables share the line of their statement.
    """
    lines: dict[Location, int] = {}
    lists: dict[Location, int] = {}
    table: Location = ()
    statement, start = "", 1
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if not statement:
            start = number
        statement += line
        try:
            data = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            table = _header(data, lists)
            lines[table] = start
        else:
            for location in _keys(data):
                lines.setdefault(table + location, start)
        statement = ""
    return lines


def _header(data: Mapping[str, Any], lists: dict[Location, int]) -> Location:
    """Location of the table that a header such as `[a.b]` or `[[a.b]]` opens."""
    location: Location = ()
    value: Any = data
    while value:
        name, value = next(iter(value.items()))
        location += (name,)
        if isinstance(value, list):
            lists[location] = lists.get(location, -1) + 1
            value = None
        if location in lists:
            location += (lists[location],)
    return location


def _keys(data: Mapping[str, Any]) -> Iterator[Location]:
    for name, value in data.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, *inner) for inner in _keys(value))
