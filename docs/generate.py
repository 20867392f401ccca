"""Write the generated parts of the documents: `python docs/generate.py`; a test finds stale ones.

Generated: docs/configuration.md, and in README.md what stands between `<!-- NAME -->` and
`<!-- /NAME -->`: the output of a first round and the tables of commands and sources.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from listener.checks import source_rows
from listener.cli import main
from listener.config import default
from listener.config_reference import reference

ROOT = Path(__file__).parents[1]


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows as a Markdown table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    shown = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "\n".join(f"| {line} |" for line in shown)


def commands() -> str:
    """One line for each command: how to call it and what it does."""
    rows = []
    for name, command in main.commands.items():
        found = [("", command)]
        if isinstance(command, click.Group):
            # One that does something by itself is a command too.
            found = [*found[command.no_args_is_help :], *command.commands.items()]
        for below, one in found:
            context = click.Context(one, info_name=f"listener {name} {below}".strip())
            rows.append(
                {
                    "command": f"`{_usage(one, context)}`",
                    "what it does": one.get_short_help_str(limit=200),
                }
            )
    return table(rows)


def _usage(command: click.Command, context: click.Context) -> str:
    left_out = ("[OPTIONS]", "[COMMAND] [ARGS]...")
    pieces = [piece for piece in command.collect_usage_pieces(context) if piece not in left_out]
    return " ".join([context.command_path, *pieces])


def sources() -> str:
    """What each source gives, needs and costs."""
    rows = source_rows(default())
    return table([{key: row[key] for key in ("source", "gives", "needs", "cost")} for row in rows])


def readme(text: str) -> str:
    """README with its generated parts made anew."""
    for name, made in (("commands", commands()), ("sources", sources())):
        text = _between(text, name, made)
    return text


def _between(text: str, name: str, made: str) -> str:
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, after = text.index(start) + len(start), text.index(end)
    return f"{text[:before]}{made}\n{text[after:]}"


def first_round() -> str:
    """What the first round prints, run now in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "listener", "run", "--once"]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    lines = "\n".join(line.rstrip() for line in done.stdout.splitlines())
    return f"```text\n{lines}\n```"


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(_between(readme(path.read_text("utf-8")), "output", first_round()), "utf-8")
    (ROOT / "docs" / "configuration.md").write_text(reference(), "utf-8")
