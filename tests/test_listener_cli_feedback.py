"""Commands that take verdicts: who says so, files, tables, and what is told of too little."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Literal

import pytest
from builders import NOW, RECIPIENTS, VOCABULARY, mention, put
from click.testing import CliRunner, Result

from listener import audit, feedback
from listener.cli import main
from listener.cli_feedback import AUDIT, FEEDBACK, _why, explain_model
from listener.rerank import Explanation
from listener.session import Session
from listener.store import Store, stamp

ANA = "ana@example.com"
ONE_READER = RECIPIENTS.replace('receives = ["alerts"]', 'receives = ["digest"]')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, and a database with an alert and a post of the audit."""
    monkeypatch.chdir(tmp_path)
    configured(ONE_READER)
    with Store("listener.db") as store:
        put(store, mention("1"), mention("2", "=1+1 and which cafetera?"))
        with store.write() as connection:
            connection.execute(
                "INSERT INTO conversations (id, source, root_id, started_at, last_at, mentions, "
                "authors, stage, state, early) VALUES (1, 'forum', '1', ?1, ?1, 1, 1, 'none', "
                "'early', 0.8)",
                (stamp(NOW),),
            )
            connection.execute(
                "INSERT INTO alerts (id, key, rule, conversation_id, mention_id, probability, "
                "score, reasons, created_at) VALUES (1, '1', 'early-funnel', 1, 1, 0.8, 80, '[]', "
                "?)",
                (stamp(NOW),),
            )
            connection.execute(
                "INSERT INTO audit (id, mention_id, stratum, probability, weight, drawn_at) "
                "VALUES (1, 2, 0, 0.1234, 50, ?)",
                (stamp(NOW),),
            )
    return tmp_path


def configured(settings: str) -> None:
    Path("config.toml").write_text(VOCABULARY + settings, "utf-8")


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def rows(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, list)
    return found


def given(column: str = "given_by", table: str = "feedback") -> list[object]:
    with Store("listener.db") as store:
        return [row[0] for row in store.rows(f"SELECT {column} FROM {table} ORDER BY id")]


def test_the_words_of_the_commands_are_those_of_the_library() -> None:
    assert FEEDBACK == feedback.VERDICTS
    assert AUDIT == audit.VERDICTS


def test_a_verdict_is_taken_from_the_only_reader(folder: Path) -> None:
    result = run("feedback", "1", "useful")
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"Alert 1: useful, says {ANA}." in result.stderr
    assert "as before" in run("feedback", "1", "useful").stderr
    assert given() == [ANA]
    assert given("channel") == ["command"]


def test_a_reader_is_the_same_person_by_name_and_by_address(folder: Path) -> None:
    for name, verdict in (("ANA", "useful"), ("Ana@example.com", "late"), ("Zoe", "late")):
        assert run("feedback", "1", verdict, "--by", name).exit_code == 0
    assert given() == [ANA, "Zoe"]
    assert given("verdict") == ["late", "late"]


def test_with_several_readers_nobody_is_guessed(folder: Path) -> None:
    configured(RECIPIENTS)
    assert run("feedback", "1", "useful").exit_code == 0
    assert given() == ["cli"]


def test_a_verdict_is_taken_while_the_daemon_runs(folder: Path) -> None:
    with Session(db=Path("listener.db")).writing():
        assert run("feedback", "1", "useful").exit_code == 0
        assert run("audit", "judge", "1", "right").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["feedback", "7", "useful"], 1, "no alert 7"),
        (["feedback", "99999999999999999999", "useful"], 1, "no alert"),
        (["feedback", "1", "useful", "--by", " "], 1, "give a name"),
        (["feedback", "1"], 2, "add what alert 1 was"),
        (["feedback", "1", "great"], 2, "not-a-buyer"),
        (["feedback", "1", "late", "--from", "x.csv"], 2, "name no alert"),
        (["feedback", "--from", "x.csv"], 1, "check its name"),
        (["audit", "judge", "7", "missed"], 1, "`listener audit list`"),
        (["audit", "judge", "1"], 2, "missed or right"),
        (["audit", "judge", "1", "late"], 2, "missed"),
        (["audit", "judge", "1", "right", "--from", "x.csv"], 2, "name no post"),
    ],
)
def test_what_cannot_be_taken_is_told_and_nothing_stored(
    folder: Path, words: list[str], code: int, told: str
) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
    assert "Traceback" not in result.output
    assert given() == []
    assert given("missed", "audit") == [None]


@pytest.mark.parametrize(
    "words", [["feedback"], ["feedback", "1", "late"], ["audit", "list"], ["audit", "recall"]]
)
def test_no_database_is_told_and_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code == 1
    assert "run `listener run --once` first" in result.stderr
    assert not Path("listener.db").exists()


def test_precision_per_rule_as_table_json_and_csv(folder: Path) -> None:
    assert "Nothing to show" in run("feedback").stderr
    run("feedback", "1", "wrong-brand")
    (row,) = rows(run("feedback", "--json"))
    assert (row["rule"], row["n"], row["useful"], row["precision"]) == ("early-funnel", 1, 0, 0.0)
    assert (row["wrong_brand"], row["late"]) == (1, 0)
    assert row["low"] == 0.0
    assert row["high"] == pytest.approx(0.793, abs=1e-3)
    table = run("feedback").stdout
    assert "0.00 (0.00-0.79)" in table
    (line,) = csv.DictReader(io.StringIO(run("feedback", "--csv").stdout))
    assert line["rule"] == "early-funnel"


def test_a_file_ends_with_1_when_a_line_was_faulty(folder: Path) -> None:
    Path("good.csv").write_text("alert,verdict\n1,useful\n", "utf-8")
    result = run("feedback", "--from", "good.csv")
    assert result.exit_code == 0
    assert "1 verdicts taken, 0 known before, 0 left blank, 0 lines faulty." in result.stderr
    assert (given(), given("channel")) == ([ANA], ["csv"])
    Path("bad.csv").write_text("alert,verdict\n1,late\n7,late\n", "utf-8")
    result = run("feedback", "--from", "bad.csv")
    assert result.exit_code == 1
    assert "line 3: there is no alert 7" in result.stderr
    assert given("verdict") == ["late"]


def test_the_audit_goes_out_as_a_sheet_and_comes_back(folder: Path) -> None:
    sheet = run("audit", "list", "--csv").stdout
    (row,) = csv.DictReader(io.StringIO(sheet))
    assert row["post"].startswith("'=")
    for told in (sheet, run("audit", "list").stdout, run("audit", "list", "--json").stdout):
        assert "cafetera" in told
        assert "0.12" not in told  # the judge is not to know what the model thought
    Path("sheet.csv").write_text(sheet, "utf-8")
    blank = run("audit", "judge", "--from", "sheet.csv")
    assert blank.exit_code == 0
    assert "0 verdicts taken, 0 known before, 1 left blank" in blank.stderr
    row["verdict"] = "Missed"
    with Path("sheet.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    assert run("audit", "judge", "--from", "sheet.csv").exit_code == 0
    assert (given("missed", "audit"), given(table="audit")) == ([1], [ANA])
    assert "Nothing to show" in run("audit", "list").stderr


def test_one_post_of_the_audit_is_judged(folder: Path) -> None:
    result = run("audit", "judge", "1", "right", "--by", "zoe")
    assert result.exit_code == 0
    assert "Post 1: right, says zoe." in result.stderr
    assert (given("missed", "audit"), given(table="audit")) == ([0], ["zoe"])


def test_recall_says_what_is_needed_while_it_cannot_be_told(folder: Path) -> None:
    result = run("audit", "recall", "--json")
    (row,) = rows(result)
    assert (row["code"], row["recall"], row["drawn"], row["judged"]) == ("not-enough", None, 1, 0)
    assert f"needed: {audit.LEAST_AUDITED}" in result.stderr
    assert f"needed: {audit.LEAST_ALERTS}" in result.stderr


def test_explain_model_says_why_it_is_not_used(folder: Path) -> None:
    run("feedback", "1", "useful")
    result = CliRunner().invoke(explain_model, ["--json"])
    (row,) = rows(result)
    assert (row["code"], row["used"], row["n"], row["parts"]) == ("too-few-labels", False, 1, [])
    assert "Not used: 1 alerts are judged, 40 are needed" in result.stderr
    table = CliRunner().invoke(explain_model, [])
    assert "too-few-labels" in table.stdout


@pytest.mark.parametrize(("code", "told"), [("better", "Used: "), ("no-better", "Not used: ")])
def test_the_figures_of_the_model_are_said_in_words(
    code: Literal["better", "no-better"], told: str
) -> None:
    found = Explanation(
        code=code,
        n=120,
        useful=60,
        conversations=110,
        folds=5,
        score_ap=0.6111,
        model_ap=0.7222,
        error=0.0333,
        parts=(("age", -0.2),),
    )
    sentence = _why(found)
    assert sentence.startswith(told)
    assert "0.722 against 0.611" in sentence
    assert "0.033" in sentence
    assert "120 verdicts" in sentence
