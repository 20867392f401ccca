"""The command line: exit codes, errors with their fix, init, import of files with faults."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from listener.cli import main
from listener.config import default_text, load, parse
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
    assert run("init", answers=answers).exit_code == 0
    config = load(folder / "config.toml")
    assert config.brand.name == 'Café "Sol"'
    assert [one.name for one in config.competitors] == ["Brewhaus", "Moketto"]
    assert config.categories[0].words["es"] == ("cafetera", "máquina de café")
    assert not config.sources.sample.enabled
    assert not config.products


def test_personalised_text_needs_only_a_brand() -> None:
    text = personalise(default_text(), brand="Sol", competitors="", need_en="", need_es=" , ")
    config = parse(text, file="config.toml")
    assert (config.brand.name, config.competitors, config.categories) == ("Sol", (), ())


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
    for words in (["sql", "SELECT 1"], ["search", "x"], ["export", "alerts"]):
        result = run(*words)
        assert result.exit_code == 1
        assert "listener run --once" in result.output


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


def test_one_missing_file_does_not_stop_the_others(folder: Path) -> None:
    lines(folder / "posts.jsonl", GOOD)
    result = run("import", "missing.jsonl", "posts.jsonl", "--json")
    found = {row["source"]: row for row in rows(result)}
    assert found[str(folder / "posts.jsonl")]["new"] == 1
    assert found[str(folder / "missing.jsonl")]["status"] == "failed"
    assert "missing.jsonl" in result.stderr


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
    result = run("status")
    assert result.exit_code == 1
    assert "newer version" in result.output


def test_options_may_stand_before_or_after_the_command(folder: Path) -> None:
    assert run("init", "mine", "--yes").exit_code == 0
    before = run("-c", "mine/config.toml", "--db", "a.db", "status", "--json")
    after = run("status", "-c", "mine/config.toml", "--db", "b.db", "--json")
    assert rows(before)
    assert rows(after)
    assert Path("a.db").exists()
    assert Path("b.db").exists()
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
