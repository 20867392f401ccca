"""The command line: exit codes, errors with their fix, init, import of bad files, output."""

from __future__ import annotations

import csv
import gzip
import json
import logging
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from listener.cli import main
from listener.config import default_text, load, parse
from listener.measure import _shown
from listener.output import emit
from listener.session import Session
from listener.starter import personalise
from listener.store import Store

GOOD = {"id": "1", "text": "which espresso machine?", "created_at": "2026-01-02T03:04:05Z"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, answers: str | None = None) -> Result:
    return CliRunner().invoke(main, list(words), input=answers)


def rows(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, list)
    return found


def lines(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def test_init_writes_a_configuration_that_loads_and_never_overwrites(folder: Path) -> None:
    assert run("init", "mine", "--yes").exit_code == 0
    assert (folder / "mine" / "config.toml").read_text("utf-8") == default_text()
    again = run("init", "mine", "--yes")
    assert again.exit_code == 1
    assert "exists already" in again.output


def test_init_asks_and_switches_the_sample_off(folder: Path) -> None:
    answers = 'Café "Sol"\nBrewhaus, Moketto\ncoffee maker\ncafetera, máquina de café\n'
    assert run("init", answers=f"{answers}ana@sol.example\nes\n").exit_code == 0
    config = load(folder / "config.toml")
    assert config.brand.name == 'Café "Sol"'
    assert [one.name for one in config.competitors] == ["Brewhaus", "Moketto"]
    assert config.categories[0].words["es"] == ("cafetera", "máquina de café")
    assert [name for name, _ in config.sources.enabled()] == ["hackernews"]
    assert not config.products
    (reader,) = config.recipients
    assert (reader.email, reader.language) == ("ana@sol.example", "es")
    assert reader.receives == ("digest", "alerts")


@pytest.mark.parametrize("reader", ["nonsense\nen\n", "ana@sol.example\nfr\n"])
def test_init_writes_nothing_for_a_reader_who_cannot_be(folder: Path, reader: str) -> None:
    result = run("init", answers=f"Sol\n\n\n\n{reader}")
    assert result.exit_code == 2
    assert "recipients" in result.stderr
    assert not Path("config.toml").exists()


def test_personalised_text_needs_only_a_brand_and_a_reader() -> None:
    text = personalise(
        default_text(),
        brand="Sol",
        competitors="",
        need_en="",
        need_es=" , ",
        email="ana@sol.example",
        language="en",
    )
    config = parse(text, file="config.toml")
    assert (config.brand.name, config.competitors, config.categories) == ("Sol", (), ())
    assert not list(config.sources.enabled())


def test_a_faulty_configuration_ends_with_2_and_names_every_fault(folder: Path) -> None:
    Path("config.toml").write_text('[brand]\nnam = "x"\n[digest]\nhour = 25\n', "utf-8")
    result = run("status")
    assert result.exit_code == 2
    for words in ("config.toml", "nam", "did you mean", "digest.hour"):
        assert words in result.output


@pytest.mark.parametrize("words", [["nonsense"], ["try"], ["run", "--twice"], ["import"]])
def test_bad_usage_ends_with_2(folder: Path, words: list[str]) -> None:
    assert run(*words).exit_code == 2


def test_commands_that_read_say_when_there_is_nothing_yet(folder: Path) -> None:
    for words in (
        ["sql", "SELECT 1"],
        ["search", "x"],
        ["export", "alerts"],
        ["status"],
        ["alerts", "list"],
        ["alerts", "show", "1"],
        ["digest", "--preview", "x.html"],
    ):
        result = run(*words)
        assert result.exit_code == 1, words
        assert "does not exist yet: run `listener run --once` first" in result.stderr
    assert list(folder.iterdir()) == []


def test_sql_cannot_write_and_names_mistakes(folder: Path) -> None:
    Store("listener.db").close()
    for statement in ("DELETE FROM mentions", "SELECT nonsense", "SELECT 1; SELECT 2"):
        result = run("sql", statement)
        assert result.exit_code == 1, statement
        assert "SQLite says" in result.output


def test_import_keeps_good_lines_and_names_bad_ones(folder: Path) -> None:
    path = folder / "posts.jsonl"
    good = json.dumps(GOOD).encode()
    path.write_bytes(
        good + b'\n{"id": "2", "text": \nnot json\n{"id": "3", "text": "caf\xe9 ok"}\n'
    )
    result = run("import", str(path), "--json")
    (row,) = rows(result)
    assert (row["new"], row["status"]) == (2, "ok")
    assert "lines 2, 3" in result.stderr
    with Store("listener.db") as store:
        assert store.value("SELECT count(*) FROM mentions WHERE text LIKE 'caf%ok'") == 1
    assert rows(run("import", str(path), "--json"))[0]["new"] == 0


def test_import_of_csv_without_text_names_columns_and_fix(folder: Path) -> None:
    Path("posts.csv").write_text("key,cuando\n1,2026-01-01\n", "utf-8")
    result = run("import", "posts.csv")
    assert result.exit_code == 1
    for words in ("key", "cuando", "--map"):
        assert words in result.output


def test_import_with_mapping_and_gzip(folder: Path) -> None:
    table = "key;cuerpo;cuando\n1;¿qué cafetera compro?;2026-01-02 03:04:05\n"
    Path("posts.csv.gz").write_bytes(gzip.compress(table.encode()))
    mapping = "native_id=key,text=cuerpo,published_at=cuando"
    (row,) = rows(run("import", "posts.csv.gz", "--map", mapping, "--source", "foro", "--json"))
    assert row["new"] == 1
    with Store("listener.db") as store:
        found = store.rows("SELECT source, native_id, text, published_at FROM mentions")
    assert [tuple(one) for one in found] == [
        ("foro", "1", "¿qué cafetera compro?", "2026-01-02T03:04:05Z")
    ]


@pytest.mark.parametrize("mapping", ["text", "text=", "nonsense=x"])
def test_a_bad_mapping_is_bad_usage(folder: Path, mapping: str) -> None:
    lines(folder / "posts.jsonl", GOOD)
    assert run("import", "posts.jsonl", "--map", mapping).exit_code == 2


def test_files_that_fail_are_named_once_and_do_not_stop_the_others(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "odd.jsonl").write_text(f"{json.dumps(GOOD)}\nnot json\n", "utf-8")
    (folder / "bad.csv").write_text("key,cuando\n1,2026-01-01\n", "utf-8")
    result = run("import", "missing.jsonl", "odd.jsonl", "bad.csv", "--json")
    assert result.exit_code == 1
    found = {Path(row["source"]).name: row for row in json.loads(result.stdout)}
    assert {name: row["status"] for name, row in found.items()} == {
        "missing.jsonl": "failed",
        "odd.jsonl": "ok",
        "bad.csv": "failed",
    }
    assert found["odd.jsonl"]["new"] == 1
    for name in found:
        assert result.stderr.count(name) == 1, result.stderr
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_second_writer_is_refused(folder: Path) -> None:
    lines(folder / "posts.jsonl", GOOD)
    with Session(db=folder / "listener.db").writing():
        result = run("import", "posts.jsonl")
    assert result.exit_code == 1
    assert "another Listener" in result.output
    assert run("import", "posts.jsonl").exit_code == 0


@pytest.mark.parametrize("place", ["posts.jsonl/x.db", "missing/x.db", "."])
def test_a_place_that_cannot_be_written_is_named(folder: Path, place: str) -> None:
    lines(folder / "posts.jsonl", GOOD)
    result = run("import", "posts.jsonl", "--db", place)
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.output
    assert "writ" in result.output or "directory" in result.output


def test_a_newer_database_is_refused_untouched(folder: Path) -> None:
    Store("listener.db").close()
    with sqlite3.connect("listener.db") as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
            "VALUES ('listener', 'm999_future', '2030-01-01')"
        )
    connection.close()
    for words in (["status"], ["search", "x"], ["export", "alerts"], ["sql", "SELECT 1"]):
        result = run(*words)
        assert result.exit_code == 1, words
        assert "newer version" in result.output


def test_options_may_stand_before_or_after_the_command(folder: Path) -> None:
    assert run("init", "mine", "--yes").exit_code == 0
    Store("a.db").close()
    Store("b.db").close()
    before = run("-c", "mine/config.toml", "--db", "a.db", "status", "--json")
    after = run("status", "-c", "mine/config.toml", "--db", "b.db", "--json")
    assert rows(before)
    assert rows(after)
    assert not Path("listener.db").exists()


def test_collect_names_unknown_sources(folder: Path) -> None:
    result = run("collect", "smaple")
    assert result.exit_code == 1
    assert "enabled: sample" in result.output


def test_terminal_output_of_hostile_text_is_harmless(folder: Path) -> None:
    lines(
        folder / "posts.jsonl",
        GOOD | {"text": "\x1b[31mred\x1b]0;title\x07 [bold]x[/bold] \u202eevil"},
    )
    assert run("import", "posts.jsonl").exit_code == 0
    shown = run("sql", "SELECT text FROM mentions").stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[bold]x[/bold]" in shown


def test_what_is_no_database_of_ours_ends_as_one_sentence(folder: Path) -> None:
    Path("text.db").write_text("once upon a time " * 500, "utf-8")
    Path("empty.db").touch()
    for words in (["search", "x"], ["export", "alerts"], ["sql", "SELECT * FROM alerts"]):
        for name, said in (("text.db", "not an SQLite database"), ("empty.db", "no tables")):
            result = run(*words, "--db", name)
            assert result.exit_code == 1, words
            assert said in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", " "], "no word to search for"),
        (["digest", "--preview", "nodir/x.html"], "cannot be written"),
        (["sql", "ATTACH 'evil.db' AS evil"], "SQLite says"),
        (["sql", "VACUUM INTO 'copy.db'"], "SQLite says"),
    ],
)
def test_what_cannot_be_done_ends_as_one_sentence(
    folder: Path, words: list[str], said: str
) -> None:
    Store("listener.db").close()
    result = run(*words)
    assert result.exit_code == 1
    assert said in result.stderr
    assert {path.name.partition("-")[0] for path in folder.iterdir()} == {"listener.db"}


def test_sql_gives_bytes_as_hex_and_columns_of_one_name_apart(folder: Path) -> None:
    Store("listener.db").close()
    assert rows(run("sql", "SELECT 1 AS a, x'00ff' AS a, 3 AS a", "--json")) == [
        {"a": 1, "a_2": "00ff", "a_3": 3}
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_holds_no_formula(folder: Path, start: str) -> None:
    lines(folder / "posts.jsonl", GOOD)
    assert run("import", "posts.jsonl").exit_code == 0
    code = f"SELECT char({ord(start)}) || 'cmd' AS text, -1 AS number, 'a=b' AS harmless"
    _, row = csv.reader(run("sql", code, "--csv").stdout.splitlines(keepends=True))
    assert row == [f"'{start}cmd", "-1", "a=b"]
    assert rows(run("sql", code, "--json"))[0]["text"] == f"{start}cmd"


def test_csv_is_written_as_rows_come(capsys: pytest.CaptureFixture[str]) -> None:
    def coming() -> Iterator[dict[str, int]]:
        for number in range(3):
            sys.stdout.write("|")
            yield {"n": number}

    emit(coming(), "csv")
    assert capsys.readouterr().out.split() == ["|n", "0", "|1", "|2"]


def test_csv_of_nothing_is_empty(folder: Path) -> None:
    Store("listener.db").close()
    result = run("export", "alerts", "--csv")
    assert (result.exit_code, result.stdout) == (0, "")


def test_try_as_csv_is_one_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tags = [{"head": "stage", "label": "decision", "probability": 0.9}]
    found = {"text": "x", "lang": "en", "lang_score": 1.0, "tags": tags, "matches": tags}
    monkeypatch.setattr("listener.examine.examine", lambda *_: found)
    assert run("try", "x", "--csv").stdout.split() == [
        "head,label,probability",
        "stage,decision,0.9",
    ]


def test_search_shows_the_newest_first(folder: Path) -> None:
    dates = {"1": "2026-01-02", "2": "2026-03-01", "3": "2025-12-31"}
    posts = (GOOD | {"id": key, "created_at": f"{day}T00:00:00Z"} for key, day in dates.items())
    lines(folder / "posts.jsonl", *posts)
    assert run("import", "posts.jsonl").exit_code == 0
    found = rows(run("search", "espresso", "--limit", "2", "--json"))
    assert [str(row["published_at"])[:10] for row in found] == ["2026-03-01", "2026-01-02"]


def test_figures_stand_with_their_interval_in_one_cell() -> None:
    names = ("positives", "recall", "macro_f1", "macro_f1_ci", "average_precision_ci", "brier")
    row = dict.fromkeys(names) | {"head": "early", "lang": "es", "system": "model", "n": 7}
    figures = {"precision": 1.0, "f1": 0.8123, "f1_ci": [0.79, 0.834], "average_precision": 0.5}
    assert _shown(row | figures | {"ece": 0.02}) == {
        "head": "early",
        "lang": "es",
        "system": "model",
        "n": 7,
        "precision": "1.000",
        "recall": "",
        "f1": ".812 (.790-.834)",
        "macro_f1": "",
        "average_precision": ".500",
        "ece": ".020",
    }
