from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from builders import (
    NOW,
    RECIPIENTS,
    VOCABULARY,
    FakeTagger,
    Labels,
    analyse,
    at,
    config,
    mention,
    put,
)
from click.testing import CliRunner, Result
from filelock import FileLock

from listener.alerts import find, save
from listener.attention import held_back
from listener.cli import main
from listener.store import Store
from listener.triage import TriageError, ends_after, ends_at

ASK = "Which espresso machine or Moketto is good?"
PREGUNTA = "¿Qué cafetera me recomendáis?"
TAGGER = FakeTagger(
    {
        ASK: Labels(stage="consideration", early=0.8),
        PREGUNTA: Labels(stage="awareness", early=0.7),
    }
)
LIMIT = "[alerts]\nmax_per_day = 1\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two alerts, of which the better one, 1, waits in the outbox and the other is held back."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(VOCABULARY + RECIPIENTS + LIMIT, "utf-8")
    with Store("listener.db") as store:
        put(
            store,
            mention("1", ASK, by="ana", title="Help", url="https://forum.example/1"),
            mention("2", PREGUNTA, by="eva"),
            mention("3", "Take a Moketto", by="ben", parent_id="1", published_at=at(0.5)),
        )
        labels = {f"Help\n{ASK}": TAGGER.labels[ASK], PREGUNTA: TAGGER.labels[PREGUNTA]}
        analyse(store, FakeTagger(labels))
        settings = config(RECIPIENTS + LIMIT)
        assert save(store, find(store, settings, now=at(1)), settings, now=at(1)) == (2, 1)
    with time_machine.travel(at(1), tick=False):
        yield tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["alerts", *words])


def done(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.output


def rows(*words: str) -> list[dict[str, Any]]:
    found = json.loads(run("list", *words, "--json").stdout)
    assert isinstance(found, list)
    return found


def numbers(*words: str) -> list[int]:
    return [row["id"] for row in rows(*words)]


def value(sql: str) -> Any:
    with Store("listener.db") as store:
        return store.value(sql)


def waiting() -> int:
    return int(value("SELECT count(*) FROM deliveries WHERE status = 'waiting'"))


# -- list


def test_the_table_is_short_and_json_is_whole(folder: Path) -> None:
    header, row, *_ = run("list").stdout.splitlines()
    assert header.split() == [
        "id", "score", "rule", "stage", "choice", "assignee", "published_at", "about", "post"
    ]  # fmt: skip
    assert "2026-03-10 12:00" in row
    first, second = rows()
    assert (first["id"], first["fate"], first["choice"]) == (1, "mailed", "open")
    assert (second["id"], second["fate"]) == (2, "held")
    assert first["score"] > second["score"]
    assert {"rule", "type", "urgent", "copies", "assignee", "text", "url"} <= first.keys()


def test_csv_has_the_same_rows(folder: Path) -> None:
    found = list(csv.DictReader(io.StringIO(run("list", "--csv").stdout)))
    assert [row["id"] for row in found] == ["1", "2"]
    assert found[0]["title"] == "Help"


def test_filters(folder: Path) -> None:
    done("ack", "1")
    done("assign", "2", "Dora")
    assert numbers() == [2]
    assert numbers("--state", "acknowledged") == [1]
    assert numbers("--state", "all") == [1, 2]
    assert numbers("--state", "all", "--limit", "1") == [1]
    assert numbers("--assignee", "dora") == [2]
    assert numbers("--assignee", "Ana") == []
    assert numbers("--rule", "early-funnel") == [2]


def test_an_unknown_rule_is_told_with_the_nearest(folder: Path) -> None:
    result = run("list", "--rule", "early-funel")
    assert result.exit_code == 1
    assert "did you mean `early-funnel`?" in result.output
    assert "known: early-funnel" in run("list", "--rule", "x").output


def test_a_rule_that_raised_alerts_and_is_gone_can_be_asked_for(folder: Path) -> None:
    rule = "[[alerts.rules]]\nname = 'new'\n"
    (folder / "config.toml").write_text(VOCABULARY + RECIPIENTS + rule, "utf-8")
    assert numbers("--rule", "early-funnel") == [1, 2]
    assert numbers("--rule", "new") == []


# -- show


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("of 100 points", "The choice is still open", "@ben", "WHAT WAS DONE")),
        ("es", ("de 100 puntos", "Aún no ha elegido", "@ben", "QUÉ SE HA HECHO")),
    ],
)
def test_show_tells_the_conversation_and_what_was_done(
    folder: Path, language: str, words: tuple[str, ...]
) -> None:
    done("note", "1", "she lives in Lugo")
    shown = done("show", "1", "--language", language)
    for word in (*words, "Take a Moketto", "she lives in Lugo"):
        assert word.casefold() in shown.casefold()


def test_show_as_json_has_everything(folder: Path) -> None:
    with Store("listener.db") as store, store.write() as connection:
        connection.execute("DELETE FROM conversation_events")
        connection.execute(
            "INSERT INTO conversation_events SELECT conversation_id, id, 'recommendation', "
            "'competitor', 'Moketto', published_at, 0.9, 7, 14 FROM mentions WHERE id = 3"
        )
        connection.execute(
            "UPDATE conversations SET state = 'decided', outcome = 'competitor', "
            "outcome_entity = 'Moketto', outcome_mention_id = 3, outcome_start = 0, "
            "outcome_end = 14 WHERE root_id = '1'"
        )
    done("assign", "1", "ben@example.com")
    found = json.loads(run("show", "1", "--json").stdout)
    assert sum(part["points"] for part in found["parts"]) == found["score"]
    assert found["reasons"][0] == {"code": "early_probability", "value": 0.8}
    (event,) = found["events"]
    assert (event["kind"], event["entity"], event["author"]) == (
        "recommendation",
        "Moketto",
        "@ben",
    )
    assert (event["quote"], event["at"]) == ("Moketto", "2026-03-10T12:30:00Z")
    assert found["outcome"]["outcome"] == "competitor"
    assert found["outcome"]["quote"] == "Take a Moketto"
    assert [post["text"] for post in found["posts"]] == [ASK, "Take a Moketto"]
    assert found["recipients"][0] == {
        "recipient": "ana@example.com",
        "fate": "mailed",
        "mailed_at": "2026-03-10T13:00:00Z",
    }
    assert found["log"] == [{"at": "2026-03-10T13:00:00Z", "action": "assign", "value": "Ben"}]
    assert (found["choice"], found["assignee"]) == ("closed", "Ben")
    spanish = done("show", "1", "--language", "es")
    assert "Cómo ha acabado: Ha elegido a un competidor (Moketto): «Take a Moketto»" in spanish
    assert "@ben: recomienda Moketto" in spanish


# -- what people do


def test_snoozed_comes_back(folder: Path) -> None:
    assert waiting() == 2
    assert "until 2026-03-11T13:00:00Z" in done("snooze", "1", "--for", "1d")
    assert waiting() == 0
    assert (numbers(), numbers("--state", "snoozed")) == ([2], [1])
    settings = config(RECIPIENTS + LIMIT)
    with Store("listener.db") as store:
        assert held_back(store, settings, ["ana@example.com"], now=at(2)) == 1
        assert held_back(store, settings, ["ana@example.com"], now=at(25)) == 2
        assert save(store, [], settings, now=at(25)) == (0, 1)
    assert waiting() == 2
    assert value("SELECT ref FROM deliveries") == "1"
    with time_machine.travel(at(25)):
        assert numbers() == [1, 2]


def test_snooze_until_a_day_of_the_digests_zone(folder: Path) -> None:
    done("snooze", "2", "--until", "2026-03-12")
    assert value("SELECT snoozed_until FROM alerts WHERE id = 2") == "2026-03-11T23:00:00Z"
    done("snooze", "2", "--until", "2026-03-12T09:00")
    assert value("SELECT snoozed_until FROM alerts WHERE id = 2") == "2026-03-12T08:00:00Z"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["snooze", "1"], 2, "--for 2d"),
        (["snooze", "1", "--for", "2d", "--until", "2026-03-12"], 2, "--for 2d"),
        (["snooze", "1", "--for", "2 days"], 1, "30m, 4h, 2d or 1w"),
        (["snooze", "1", "--for", "0d"], 1, "30m, 4h, 2d or 1w"),
        (["snooze", "1", "--for", "99999w"], 1, "30m, 4h, 2d or 1w"),
        (["snooze", "1", "--until", "tomorrow"], 1, "2026-03-12T09:00"),
        (["snooze", "1", "--until", "2026-03-10"], 1, "is past"),
        (["assign", "1", "  "], 1, "write whose task it is"),
        (["note", "1", " "], 1, "write what is worth keeping"),
    ],
)
def test_what_cannot_be_done_says_what_can(
    folder: Path, words: list[str], code: int, said: str
) -> None:
    result = run(*words)
    assert result.exit_code == code
    assert said in result.output
    assert value("SELECT count(*) FROM alert_log") == 0


@pytest.mark.parametrize(
    "words",
    [
        ["show", "99"],
        ["show", "99", "--json"],
        ["deliver", "99"],
        ["snooze", "99", "--for", "1d"],
        ["ack", "99"],
        ["assign", "99", "Ana"],
        ["note", "99", "x"],
    ],
)
def test_unknown_numbers_are_told(folder: Path, words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 1
    assert "there is no alert 99" in result.output
    assert "listener alerts list --state all" in result.output
    assert value("SELECT count(*) FROM alert_log") == 0


@pytest.mark.parametrize("number", ["0", "x", str(2**63)])
def test_what_is_no_number_is_bad_usage(folder: Path, number: str) -> None:
    assert run("ack", number).exit_code == 2


def test_acknowledged_is_mailed_to_nobody(folder: Path) -> None:
    done("ack", "1")
    assert waiting() == 0
    with Store("listener.db") as store:
        assert save(store, [], config(RECIPIENTS), now=at(2)) == (0, 1)
    assert value("SELECT group_concat(DISTINCT ref) FROM deliveries") == "2"
    result = run("deliver", "1")
    assert result.exit_code == 1
    assert "listener alerts snooze 1 --for 1m" in result.output
    done("snooze", "1", "--for", "1m")
    assert value("SELECT acknowledged_at FROM alerts WHERE id = 1") is None


def test_what_was_sent_stays_sent(folder: Path) -> None:
    done("deliver", "2")
    done("ack", "2")
    assert value("SELECT count(*) FROM deliveries WHERE ref = '2' AND status = 'sent'") == 2
    assert value("SELECT count(*) FROM alert_recipients WHERE alert_id = 2 AND fate = 'held'") == 0


def test_assigning_knows_recipients_and_takes_others(folder: Path) -> None:
    assert "assigned to Ana." in done("assign", "1", "ANA@example.com")
    assert "assigned to Dora Maar." in done("assign", "1", " Dora  Maar ")
    assert rows("--assignee", "dora maar")[0]["assignee"] == "Dora Maar"


def test_each_deed_leaves_a_line(folder: Path) -> None:
    done("deliver", "2")
    done("snooze", "2", "--for", "2d")
    done("ack", "2")
    done("assign", "2", "ana")
    done("note", "2", "called her")
    with Store("listener.db") as store:
        log = store.rows("SELECT alert_id, action, value FROM alert_log ORDER BY id")
    assert [tuple(row) for row in log] == [
        (2, "deliver", "Ana, Ben"),
        (2, "snooze", "2026-03-12T13:00:00Z"),
        (2, "ack", ""),
        (2, "assign", "Ana"),
        (2, "note", "called her"),
    ]


# -- deliver


def test_deliver_mails_now_whatever_the_limit(folder: Path) -> None:
    assert "2 sent" in done("deliver", "2")
    assert len(list((folder / "outbox").glob("alert-2-*.eml"))) == 2
    assert not list((folder / "outbox").glob("alert-1-*.eml"))
    assert "was mailed to all its readers before" in done("deliver", "2")
    assert len(list((folder / "outbox").glob("alert-2-*.eml"))) == 2
    with Store("listener.db") as store:
        assert save(store, [], config(RECIPIENTS), now=at(2)) == (0, 0)


def test_deliver_goes_to_the_readers_of_the_rule(folder: Path) -> None:
    rule = "[[alerts.rules]]\nname = 'early-funnel'\nrecipients = ['Ben']\n"
    (folder / "config.toml").write_text(VOCABULARY + RECIPIENTS + rule, "utf-8")
    assert "in the outbox for Ben." in done("deliver", "2")


def test_deliver_refuses_what_nobody_can_act_on(folder: Path) -> None:
    with Store("listener.db") as store, store.write() as connection:
        connection.execute("UPDATE conversations SET state = 'decided'")
    result = run("deliver", "2")
    assert result.exit_code == 1
    assert "listener alerts show 2" in result.output
    assert value("SELECT count(*) FROM deliveries WHERE ref = '2'") == 0


def test_deliver_without_readers_says_what_to_add(folder: Path) -> None:
    (folder / "config.toml").write_text(VOCABULARY, "utf-8")
    result = run("deliver", "2")
    assert result.exit_code == 1
    assert 'add "alerts" to receives' in result.output


def test_beside_a_running_listener(folder: Path) -> None:
    """Notes are taken at once; what is to be mailed is left to the one that holds the lock."""
    with FileLock(folder / "listener.db.lock"):
        done("ack", "1")
        assert "Another Listener is running" in done("deliver", "2")
    assert numbers("--state", "acknowledged") == [1]
    assert waiting() == 2


# -- spans of time


@pytest.mark.parametrize(
    ("span", "hours"), [("30m", 0.5), ("4h", 4), (" 2D ", 48), ("1w", 168), ("366d", 366 * 24)]
)
def test_spans(span: str, hours: float) -> None:
    assert ends_after(span, now=NOW) - NOW == timedelta(hours=hours)


@pytest.mark.parametrize("span", ["", "d", "-1d", "1.5h", "1y", "367d", "²d"])
def test_what_is_no_span(span: str) -> None:
    with pytest.raises(TriageError, match="is no span"):
        ends_after(span, now=NOW)


def test_a_time_may_name_its_zone() -> None:
    found = ends_at("2026-03-12T09:00+05:00", config(), now=NOW)
    assert found == datetime(2026, 3, 12, 4, tzinfo=UTC)
