"""`listener sources explain`: what each source is asked, without asking it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from builders import NOW
from click.testing import CliRunner, Result

from connectors.base import Compiles
from listener.cli import main
from listener.collect import Collected, record
from listener.config import Config, load
from listener.searches import HERE, NOT, SITE, named, search_rows
from listener.sources import build
from listener.store import Store

TEXT = """
[brand]
name = "Lumora"
handles = ["@lumora"]
exclude = ["dj lumora"]

[[categories]]
name = "espresso machine"
words = { en = ["espresso machine"], es = ["cafetera"] }
require_all = ["kitchen"]

[database]
path = "a.db"

[sources]
exclude_authors = ["@dealsbot"]

[sources.sample]
enabled = false

[sources.hackernews]
enabled = true

[sources.x]
enabled = true
bearer_token = { env = "TOKEN_THAT_IS_NOT_SET" }
user = "@lumora"

[sources.reddit]
enabled = true
client_id = { env = "ID_THAT_IS_NOT_SET" }
subreddits = ["espresso"]

[sources.files]
enabled = true
paths = ["*.jsonl"]
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(TEXT, "utf-8")
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text("", "utf-8")
    return load(tmp_path / "config.toml")


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["sources", *words])


def of(rows: list[dict[str, Any]], **wanted: str) -> list[tuple[str, str, str]]:
    return [
        (row["part"], row["text"], row["runs"])
        for row in rows
        if all(row[name] == value for name, value in wanted.items())
    ]


def test_each_clause_says_where_it_runs(config: Config) -> None:
    rows = search_rows(config, None)
    assert of(rows, source="x", query="espresso machine [es]") == [
        ("query", "1 search", ""),
        (
            "search",
            "(cafetera OR cafeteras) lang:es -is:retweet (kitchen OR kitchens OR kitchenes) "
            "-from:dealsbot",
            SITE,
        ),
        ("any of", "cafetera", SITE),
        ("languages", "es", SITE),
        ("retweets", "without retweets", SITE),
        ("all of", "kitchen", SITE),
        ("not by", "@dealsbot", SITE),
    ]
    assert of(rows, source="reddit", query="Lumora") == [
        ("query", "1 search", ""),
        ("search", '("Lumora" OR "lumora") -author:dealsbot', SITE),
        ("any of", "Lumora", SITE),
        ("any of", "@lumora", SITE),
        ("not by", "@dealsbot", SITE),
        ("none of", "dj lumora", HERE),
    ]
    assert of(rows, source="hackernews", query="espresso machine [en]") == [
        ("query", "1 search", ""),
        ("search", "espresso machine kitchen", SITE),
        ("any of", "espresso machine", SITE),
        ("languages", "en", HERE),
        ("all of", "kitchen", SITE),
        ("not by", "@dealsbot", HERE),
    ]


def test_sources_that_are_read_whole_have_one_row_each(config: Config) -> None:
    rows = [row for row in search_rows(config, None) if row["part"] == "everything"]
    assert [(row["source"], row["query"], row["runs"]) for row in rows] == [
        ("files", "", HERE),
        ("x:mentions", "", HERE),
        ("reddit:new", "", HERE),
    ]


def test_the_searches_are_those_that_a_collection_sends(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_THAT_IS_NOT_SET", "token")
    monkeypatch.setenv("ID_THAT_IS_NOT_SET", "id")
    sources, failed = build(config)
    assert not failed
    told = search_rows(config, None)
    for source in sources:
        if isinstance(source.connector, Compiles):
            for query in named(config, None):
                shown = [
                    row["syntax"]
                    for row in told
                    if (row["source"], row["query"]) == (source.name, query.name)
                    and row["part"] == "search"
                ]
                assert tuple(shown) == source.connector.compile(query).searches


def test_a_query_that_cannot_be_searched_says_why(config: Config, tmp_path: Path) -> None:
    long = TEXT.replace('"cafetera"', f'"{"x" * 400}"')
    (tmp_path / "config.toml").write_text(long, "utf-8")
    rows = search_rows(load(tmp_path / "config.toml"), None, ["x"], "espresso machine")
    ((part, text, runs),) = of(rows, query="espresso machine [es]")
    assert (part, runs) == ("query", NOT)
    assert "shorten it" in text
    assert len(of(rows, query="espresso machine [en]")) > 1


def test_counts_are_those_of_all_runs(config: Config, tmp_path: Path) -> None:
    with Store(tmp_path / "a.db") as store:
        for source, query, returned, kept in (
            ("x", "Lumora", 300, 100),
            ("x", "Lumora", 100, 0),
            ("reddit", "Lumora", 7, 7),
            ("x:mentions", "", 10, 9),
            ("files:/a.jsonl", "", 5, 5),
            ("files:/gone.jsonl", "", 3, 3),
            ("hackernews", "Lumora", 0, 0),
        ):
            done = Collected(source=source, query=query, returned=returned, kept=kept)
            record(store, done, NOW)
        rows = search_rows(config, store)
    counted = {
        (row["source"], row["query"]): (row["returned"], row["kept"], row["kept_percent"])
        for row in rows
        if row["returned"] is not None
    }
    assert counted == {
        ("hackernews", "Lumora"): (0, 0, None),
        ("files", ""): (8, 8, 100),
        ("x:mentions", ""): (10, 9, 90),
        ("x", "Lumora"): (400, 100, 25),
        ("reddit", "Lumora"): (7, 7, 100),
    }
    result = run("explain", "x", "lumora")
    assert "100 of 400 (25 %)" in result.stdout
    # Once, however many rows the query has.
    assert result.stdout.count("400") == 1


def test_the_command_prints_rows_in_each_form(config: Config) -> None:
    told: list[Mapping[str, Any]] = json.loads(run("explain", "x", "Lumora", "--json").stdout)
    assert told == search_rows(config, None, ["x"], "Lumora")
    assert {row["query"] for row in told} == {"Lumora"}
    table = list(csv.DictReader(io.StringIO(run("explain", "x", "Lumora", "--csv").stdout)))
    assert [row["text"].lstrip("'") for row in table] == [row["text"] for row in told]
    assert "(@lumora OR Lumora) -is:retweet" in run("explain", "x", "Lumora").stdout


def test_a_query_is_named_with_all_its_languages(config: Config) -> None:
    assert [one.name for one in named(config, " Espresso Machine ")] == [
        "espresso machine [en]",
        "espresso machine [es]",
    ]
    assert [one.name for one in named(config, "espresso machine [es]")] == ["espresso machine [es]"]
    assert len(named(config, None)) == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["explain", "mastodon"], "no enabled source is called mastodon; enabled: hackernews"),
        (["explain", "x", "espresso"], "no query is called espresso; queries: Lumora, espresso"),
    ],
)
def test_unknown_names_end_with_the_known_ones(config: Config, words: list[str], told: str) -> None:
    result = run(*words)
    assert result.exit_code == 1
    assert told in " ".join(result.output.split())


def test_sources_alone_prints_the_table_of_sources(config: Config, tmp_path: Path) -> None:
    rows = json.loads(run("--json").stdout)
    assert {row["source"]: row["enabled"] for row in rows}["hackernews"] == "yes"
    # The configuration named before the subcommand counts for it.
    (tmp_path / "config.toml").rename(tmp_path / "other.toml")
    there = run("-c", "other.toml", "explain", "reddit")
    assert '"Lumora"' in there.stdout
    assert run("--json", "explain").exit_code == 2
