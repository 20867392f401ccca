"""README and docs are true: generated parts are fresh, commands exist, SQL runs, links lead."""

from __future__ import annotations

import re
import runpy
import shlex
import sqlite3
from pathlib import Path

import click
import pytest

from listener.cli import main
from listener.store import Store

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GENERATE = runpy.run_path(str(ROOT / "docs" / "generate.py"))
STALE = "run `python docs/generate.py`"


def _blocks(path: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def _commands() -> list[tuple[str, list[str]]]:
    found = []
    for path in DOCS:
        for block in _blocks(path, "console"):
            for line in block.splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if line.startswith("$ ") and words and words[0].endswith("listener"):
                    words = words[1 : words.index(">") if ">" in words else None]
                    found.append((f"{path.name}: {line}", words))
    return found


def _sql() -> list[tuple[str, str]]:
    found = [(path.name, block) for path in DOCS for block in _blocks(path, "sql")]
    found += [(where, words[1]) for where, words in _commands() if words[0] == "sql"]
    return found


def test_tables_of_readme_are_fresh() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert GENERATE["readme"](text) == text, STALE


def test_reference_of_the_configuration_is_fresh() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text("utf-8") == GENERATE["reference"](), STALE


@pytest.mark.parametrize(("where", "words"), _commands(), ids=lambda value: str(value)[:60])
def test_commands_in_the_docs_exist_with_these_options(where: str, words: list[str]) -> None:
    name, command, rest = main.resolve_command(click.Context(main), words)
    assert command is not None, where
    if isinstance(command, click.Group):
        name, command, rest = command.resolve_command(click.Context(command), rest)
        assert command is not None, where
    # Paths in the docs need not exist here; the parser still refuses unknown options and choices.
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False
    command.make_context(name, list(rest))


@pytest.mark.parametrize(("where", "statement"), _sql(), ids=lambda value: str(value)[:60])
def test_sql_in_the_docs_runs(where: str, statement: str, tmp_path: Path) -> None:
    with Store(tmp_path / "empty.db"):
        connection = sqlite3.connect(tmp_path / "empty.db")
        connection.execute(statement)
        connection.close()
    assert statement.strip(), where


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8"))
    missing = [
        link
        for link in links
        if not link.startswith(("http://", "https://")) and not (path.parent / link).exists()
    ]
    assert not missing
