"""`listener backtest` as people type it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import time_machine
from builders import RECIPIENTS, VOCABULARY, FakeTagger, Labels, analyse, at, mention, put
from click.testing import CliRunner, Result

from listener.cli import main
from listener.store import Store

ASK = "Which espresso machine or Moketto is good?"
OLD = "Which espresso machine for my office?"
TAGGER = FakeTagger(
    {
        ASK: Labels(stage="consideration", early=0.9),
        OLD: Labels(stage="awareness", early=0.9),
        "I took a Moketto": Labels(stage="post_purchase"),
    }
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two questions, of which one came to an end before it was heard of."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(VOCABULARY + RECIPIENTS, "utf-8")
    with Store("listener.db") as store:
        put(
            store,
            mention("1", ASK, by="ana", url="https://forum.example/1"),
            mention("2", OLD, by="eva", published_at=at(-100)),
            now=at(1),
        )
        put(store, mention("3", "I took a Moketto", by="ana", root_id="1"), now=at(2))
        analyse(store, TAGGER)
    with time_machine.travel(at(5), tick=False):
        yield tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["backtest", *words])


def done(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_table_fits_a_terminal(folder: Path) -> None:
    shown = run("--since", "2w")
    assert shown.exit_code == 0, shown.output
    assert "2026-02-24 to 2026-03-10" in shown.stdout
    lines = {line.split("  ")[0]: line.split()[-1] for line in shown.stdout.splitlines() if line}
    assert lines["alerts"] == "2"
    assert lines["recall, labels"] == "-"
    assert "Alerts after the decision" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 100
    assert "Nothing is labelled" in shown.stderr
    assert "--order published" not in shown.stderr


def test_three_columns_fit_too(folder: Path) -> None:
    (folder / "labels.jsonl").write_text(
        '{"source": "forum", "native_id": "1", "useful": 1}\n'
        '{"source": "forum", "native_id": "9", "useful": 1}\n',
        "utf-8",
    )
    shown = run("--baseline", "single-post", "--baseline", "regex", "--labels", "labels.jsonl")
    assert shown.exit_code == 0, shown.output
    assert max(map(len, shown.stdout.splitlines())) <= 100
    assert "Which was right where they differ" in shown.stdout
    assert "1 of 2 labels name posts that are not stored" in shown.stderr


def test_json_and_csv(folder: Path) -> None:
    report = json.loads(done("EARLY-FUNNEL", "--json"))
    assert (report["since"], report["until"]) == ("2025-12-10T17:00:00Z", "2026-03-10T17:00:00Z")
    (system,) = report["systems"]
    assert (system["alerts"], system["at_once"], system["listed"]) == (2, 1, 1)
    assert set(report) == {
        "since",
        "until",
        "order",
        "days",
        "extent",
        "labels",
        "systems",
        "pairs",
        "alerts",
    }
    rows = list(csv.DictReader(io.StringIO(done("--csv"))))
    assert [(row["native_id"], row["url"]) for row in rows if row["fate"] == "at_once"] == [
        ("1", "https://forum.example/1")
    ]


def test_another_file_is_compared(folder: Path) -> None:
    (folder / "other.toml").write_text(f"{VOCABULARY}{RECIPIENTS}[alerts]\nmax_age_hours = 200\n")
    report = json.loads(done("--compare", "other.toml", "--json"))
    assert [(row["system"], row["listed"]) for row in report["systems"]] == [
        ("early-funnel", 1),
        ("early-funnel (other.toml)", 0),
    ]
    (folder / "other.toml").write_text("[alert]\n")
    broken = run("--compare", "other.toml")
    assert broken.exit_code == 2
    assert "other.toml: " in broken.stderr
    missing = run("--compare", "none.toml")
    assert missing.exit_code == 2
    assert "none.toml" in missing.stderr


def test_an_archive_hints_at_its_order(folder: Path) -> None:
    with Store("listener.db") as store:
        put(store, *(mention(f"o{n}", OLD, published_at=at(-90 - n)) for n in range(4)), now=at(3))
        analyse(store, TAGGER)
    assert "--order published" in run().stderr
    published = run("--order", "published")
    assert "--order published" not in published.stderr
    assert published.exit_code == 0


def test_a_promised_precision_is_not_replayed(folder: Path) -> None:
    with (folder / "config.toml").open("a") as file:
        file.write('[[alerts.rules]]\nname = "sure"\nprecision = 0.8\n')
    assert "promised by sure is not replayed" in run().stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("early-funel",), "did you mean `early-funnel`?"),
        (("--since", "soon"), "neither a span nor a date"),
        (("--since", "2020-01-01", "--until", "2020-02-01"), "those stored did from 2026-03-10"),
        (("--labels", "none.jsonl"), "cannot be read"),
        (("--db", "none.db"), "does not exist yet"),
    ],
)
def test_faults_end_as_one_sentence(folder: Path, words: tuple[str, ...], reason: str) -> None:
    result = run(*words)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert not result.stdout


def test_an_empty_database(folder: Path) -> None:
    with Store("empty.db"):
        pass
    result = run("--db", "empty.db")
    assert result.exit_code == 1
    assert "nothing is stored yet" in result.stderr


def test_it_is_listed(folder: Path) -> None:
    shown = CliRunner().invoke(main, ["--help"])
    assert "backtest" in shown.stdout
