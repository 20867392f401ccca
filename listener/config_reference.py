"""docs/configuration.md, made from the models, so that it cannot say anything else than they do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .config import Config

_INTRODUCTION = """# Configuration

`listener init` writes a commented `config.toml`; this page lists every key. It is made from the
models by `listener.config_reference.reference()`, and a test compares the two.

- Whatever is wrong is reported at once: file, line, key and fix. Unknown keys are refused.
- Relative paths are joined to the folder of the file, and `~` is the home folder.
- A secret never stands in the file: `{ env = "NAME" }` names the environment variable that
  holds it.
- A section in double brackets may stand several times.
"""
_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true/false",
    "object": "table",
}

Schema = dict[str, Any]


def reference() -> str:
    """The text of docs/configuration.md: one table of keys per section of the file."""
    schema = Config.model_json_schema()
    models: dict[str, Schema] = schema["$defs"]
    parts = [_INTRODUCTION]
    for header, model in _sections(schema, models, ""):
        rows = [
            _row(key, field, required=key in model.get("required", ()))
            for key, field in model["properties"].items()
            if _inner(key, field, models) is None
        ]
        if rows:
            head = [f"## `{header}`", "", model["description"], ""]
            table = ["| key | type | default | meaning |", "|---|---|---|---|", *rows, ""]
            parts.append("\n".join(head + table))
    return "\n".join(parts)


def _sections(model: Schema, models: dict[str, Schema], path: str) -> Iterator[tuple[str, Schema]]:
    """Header and JSON schema of each table of the file, in the order of the models."""
    for key, field in model["properties"].items():
        found = _inner(f"{path}{key}", field, models)
        if found:
            header, inner = found
            yield header, inner
            yield from _sections(inner, models, f"{header.strip('[]')}.")


def _inner(path: str, field: Schema, models: dict[str, Schema]) -> tuple[str, Schema] | None:
    """Header and schema of the table, list of tables or tables by name that a field holds."""
    forms = (
        (field, f"[{path}]"),
        (field.get("items", {}), f"[[{path}]]"),
        (field.get("additionalProperties", {}), f"[{path}.NAME]"),
    )
    for place, header in forms:
        if isinstance(place, dict) and "$ref" in place:
            return header, models[place["$ref"].rpartition("/")[2]]
    return None


def _row(key: str, field: Schema, *, required: bool) -> str:
    default = field.get("default")
    shown = "required" if required else "" if default is None else f"`{_toml(default)}`"
    return f"| `{key}` | {_type(field)} | {shown} | {field['description']} |"


def _type(field: Schema) -> str:
    if "anyOf" in field:
        return _type(next(choice for choice in field["anyOf"] if choice.get("type") != "null"))
    if "$ref" in field:
        return 'secret: `{ env = "NAME" }`'
    if "enum" in field:
        return "one of " + ", ".join(f"`{_toml(choice)}`" for choice in field["enum"])
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if field["type"] == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"per language: {_type(field['additionalProperties'])}"
    name = "path" if field.get("format") == "path" else _TYPES[field["type"]]
    if "minimum" in field:
        return f"{name}, {field['minimum']} to {field['maximum']}"
    return name


def _toml(value: Any) -> str:
    # JSON and TOML write texts, numbers, true/false and lists of them alike; tables come empty.
    return json.dumps(value, ensure_ascii=False)
