from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from builders import NOW, matcher, mention, put
from click.testing import CliRunner, Result

from listener.analyse import match
from listener.cli import main
from listener.store import Store


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "listener.db"
    with Store(path) as store:
        texts = [f"el torero Lumora {n}" for n in range(3)] + [
            "la cafetera Lumora de mi casa está rota",
            "nada",
        ]
        put(store, *(mention(str(n), text) for n, text in enumerate(texts)), now=NOW)
        match(store, matcher(), "1")
    return path


def run(database: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["keywords", *arguments, "--db", str(database)])


def labels(database: Path) -> list[tuple[int, str, int, str]]:
    with Store(database) as store:
        rows = store.rows(
            "SELECT mention_id, name, relevant, given_by FROM relevance_labels ORDER BY mention_id"
        )
    return [tuple(row) for row in rows]


def test_terms_with_their_precision(database: Path) -> None:
    assert (
        run(database, "--label", "1", "no", "Lumora", "--label", "4", "yes", "Lumora").exit_code
        == 0
    )
    assert labels(database) == [(1, "Lumora", 0, "command"), (4, "Lumora", 1, "command")]
    rows = json.loads(run(database, "--json").stdout)
    assert [(row["term"], row["mentions"], row["precision"]) for row in rows] == [
        ("Lumora", 4, 0.5),
        ("cafetera", 1, None),
    ]
    assert 0 < rows[0]["low"] < 0.5 < rows[0]["high"] < 1
    table = list(csv.DictReader(io.StringIO(run(database, "--csv").stdout)))
    assert table[0]["labelled"] == "2"


def test_suggestions(database: Path) -> None:
    given = [part for n in (1, 2, 3) for part in ("--label", str(n), "no", "Lumora")]
    run(database, *given)
    rows = json.loads(run(database, "--suggest", "--json").stdout)
    assert [row["word"] for row in rows] == ["torero"]


def test_a_label_that_cannot_be_given_says_why(database: Path) -> None:
    result = run(database, "--label", "5", "yes", "Lumora")
    assert result.exit_code == 1
    assert "names nothing" in result.stderr
    assert run(database, "--label", "1", "perhaps", "Lumora").exit_code == 2
    assert labels(database) == []


def test_without_a_database(tmp_path: Path) -> None:
    result = run(tmp_path / "none.db")
    assert result.exit_code == 1
    assert "listener run --once" in result.stderr
