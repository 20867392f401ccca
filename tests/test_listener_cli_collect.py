"""`listener collect` looking back and dry, and the prices in `listener check`, against a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from builders import NOW, VOCABULARY
from click.testing import CliRunner, Result
from filelock import FileLock
from loopback import Answer, Loopback, Seen, loopback

from connectors.twarc import first_id, id_time
from listener.cli import main
from listener.cli_collect import look_back
from listener.store import Store

SEARCH, COUNTS, USAGE = "/2/tweets/search/recent", "/2/tweets/counts/recent", "/2/usage/tweets"
QUERIES = 5


def at(hours_ago: float) -> str:
    return str(first_id(NOW - timedelta(hours=hours_ago)) + 7)


def answer(body: object) -> Answer:
    return Answer(200, json.dumps(body).encode())


class X:
    """Posts about Lumora by age in hours, found by the search for its name alone."""

    def __init__(self, *hours_ago: float) -> None:
        self.hours_ago = list(hours_ago)

    def page(self, seen: Seen) -> Answer:
        low = int(seen.params.get("since_id", 0))
        data = [
            {"id": at(h), "text": "My Lumora", "created_at": (NOW - timedelta(hours=h)).isoformat()}
            for h in self.hours_ago
            if int(at(h)) > low and seen.params["query"].startswith("(Lumora)")
        ]
        return answer({"data": data, "meta": {"result_count": len(data)}})


@pytest.fixture
def web() -> Iterator[Loopback]:
    with loopback() as site:
        site.route(COUNTS, answer({"meta": {"total_tweet_count": 140}}))
        site.route(USAGE, answer({"data": {"project_usage": "5", "project_cap": "100"}}))
        yield site


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Loopback) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("X_BEARER_TOKEN", "s3cret-bearer")
    monkeypatch.setattr("listener.cli.clock", lambda: NOW)
    configure(tmp_path, web)
    return tmp_path


def configure(folder: Path, web: Loopback, more: str = "") -> None:
    (folder / "config.toml").write_text(
        f"""{VOCABULARY}
[sources.sample]
enabled = true
[sources.x]
enabled = true
bearer_token = {{ env = "X_BEARER_TOKEN" }}
base_url = "{web.url}"
referenced = false
monthly_cap_dollars = 5.0
{more}
""",
        "utf-8",
    )


def listener(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def rows(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def asked(web: Loopback, path: str = SEARCH) -> list[Seen]:
    return [seen for seen in web.seen if seen.path == path]


def bounds(web: Loopback) -> list[datetime]:
    """From where each search of Lumora read, in the order of asking."""
    found = [
        id_time(seen.params["since_id"])
        for seen in asked(web)
        if seen.params["query"].startswith("(Lumora)")
    ]
    return [one for one in found if one is not None]


def cursors(folder: Path) -> dict[tuple[str, str], str]:
    with closing(Store(folder / "listener.db")) as store:
        found = store.rows("SELECT source, query, cursor FROM cursors WHERE source LIKE 'x%'")
        return {(row["source"], row["query"]): row["cursor"] for row in found}


def near(one: datetime, other: datetime) -> bool:
    return abs(one - other) < timedelta(seconds=1)


# -- looking back


def test_a_look_back_leaves_the_usual_cursor_alone_and_goes_on(folder: Path, web: Loopback) -> None:
    x = X(1, 30, 80)
    web.route(SEARCH, x.page)
    (usual,) = [one for one in rows(listener("collect", "x", "--json")) if one["returned"]]
    assert (usual["source"], usual["new"]) == ("x", 1)
    before = cursors(folder)
    result = listener("collect", "x", "--since", "3d", "--json")
    (back,) = [one for one in rows(result) if one["returned"]]
    assert (back["source"], back["query"], back["new"]) == ("x:since", "Lumora", 1)
    assert near(bounds(web)[-1], NOW - timedelta(days=3))
    after = cursors(folder)
    assert {place: after[place] for place in before} == before
    assert ("x:since", "3d of 2026-03-10 Lumora") in after
    # The same words again go on from there, others look back anew.
    x.hours_ago.append(0.5)
    assert sum(one["returned"] for one in rows(listener("collect", "x", "--since", "3d", "--json")))
    assert near(bounds(web)[-1], NOW - timedelta(hours=1))
    listener("collect", "x", "--since", "36h")
    assert near(bounds(web)[-1], NOW - timedelta(hours=36))
    listener("collect", "x")
    assert near(bounds(web)[-1], NOW - timedelta(hours=1))


def test_a_look_back_that_ran_out_of_money_is_finished_by_the_same_command(
    folder: Path, web: Loopback
) -> None:
    web.route(SEARCH, X(1, 30).page)
    first = rows(listener("collect", "x", "--since", "2d", "--max-cost", "0.05", "--json"))
    assert "partial" in {one["status"] for one in first}
    assert len(first) == QUERIES
    second = rows(listener("collect", "x", "--since", "2d", "--json"))
    assert {one["status"] for one in second} == {"ok"}
    assert sum(one["new"] for one in (*first, *second)) == 2


def test_what_is_out_of_reach_is_told(folder: Path, web: Loopback) -> None:
    web.route(SEARCH, X(1).page)
    result = listener("collect", "x", "--since", "2026-02-01", "--json")
    assert result.exit_code == 0
    assert "out of reach" in result.stderr
    assert timedelta(days=6.9) < NOW - bounds(web)[-1] < timedelta(days=7)


def test_the_sample_has_no_look_back(folder: Path) -> None:
    result = listener("collect", "sample", "--since", "7d", "--json")
    assert (result.exit_code, rows(result)) == (0, [])
    assert "No source can look back" in result.stderr


def test_since_is_a_date_or_an_age() -> None:
    assert look_back("2026-03-01", NOW) == (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01")
    assert look_back("7d", NOW) == (NOW - timedelta(days=7), "7d of 2026-03-10")
    assert look_back("36h", NOW) == (NOW - timedelta(hours=36), "36h of 2026-03-10")


@pytest.mark.parametrize(
    "text", ["", "7", "7x", "-7d", "0d", "99999d ", "2026-02-30", "2026-03-11", "1.5d", "٧d"]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"such as 7d|not past"):
        look_back(text, NOW)


def test_a_wrong_date_is_a_matter_of_usage(folder: Path, web: Loopback) -> None:
    result = listener("collect", "x", "--since", "yesterday")
    assert result.exit_code == 2
    assert "--since" in result.stderr
    assert web.seen == []


# -- without collecting


def test_a_dry_run_tells_searches_and_prices_and_stores_no_post(
    folder: Path, web: Loopback
) -> None:
    result = listener("collect", "--dry-run", "--json")
    assert result.exit_code == 0
    sample, *queries, total = rows(result)
    assert (sample["source"], sample["note"]) == ("sample", "free")
    assert len(queries) == QUERIES
    assert {seen.params["query"] for seen in asked(web, COUNTS)} == {
        one for row in queries for one in row["searches"].split("\n")
    }
    assert {row["dollars_a_day"] for row in queries} == {0.1}
    assert (total["query"], total["posts_a_day"]) == ("all", 20.0 * QUERIES)
    assert total["dollars_a_month"] == 15.0
    assert f"cap $5.00 a month, ${5 - QUERIES * 0.005:.2f} left" in total["note"]
    assert "cap lasts" in result.stderr
    assert "prices of 2026-11-22" in result.stderr
    assert asked(web) == []
    with closing(Store(folder / "listener.db")) as store:
        assert store.value("SELECT count(*) FROM mentions") == 0
        assert store.value("SELECT count(*) FROM runs") == 0
        assert store.value("SELECT sum(micro_dollars) FROM spend") == QUERIES * 5_000


def test_a_dry_run_costs_no_more_than_it_may(folder: Path, web: Loopback) -> None:
    result = listener("collect", "x", "--dry-run", "--max-cost", "0.012", "--json")
    assert len(asked(web, COUNTS)) == 2
    assert f"{QUERIES - 2} queries are not in it" in result.stderr


# -- prices in a check


def prices(result: Result) -> dict[str, dict[str, Any]]:
    return {row["what"]: row for row in rows(result) if row["what"].startswith("price")}


def test_a_check_prices_each_query(folder: Path, web: Loopback) -> None:
    result = listener("check", "--json")
    assert result.exit_code == 0
    found = prices(result)
    assert len(found) == QUERIES + 1
    assert found["price x: Lumora"]["note"] == "20.0 posts a day, $0.10 a day, $3.00 a month"
    assert "left of this one" in found["price x: all queries"]["note"]
    with closing(Store(folder / "listener.db")) as store:
        assert store.value("SELECT sum(micro_dollars) FROM spend") == QUERIES * 5_000


def test_a_check_without_preview_costs_nothing(folder: Path, web: Loopback) -> None:
    configure(folder, web, "preview = false")
    assert prices(listener("check", "--json")) == {}
    assert asked(web, COUNTS) == []
    assert not (folder / "listener.db").exists()


def test_a_check_while_another_listener_writes_asks_no_price(folder: Path, web: Loopback) -> None:
    with FileLock(folder / "listener.db.lock"):
        result = listener("check", "--json")
    assert result.exit_code == 0
    (row,) = prices(result).values()
    assert row["status"] == "not asked"
    assert "another Listener" in row["note"]
    assert asked(web, COUNTS) == []


def test_a_check_says_once_what_keeps_prices_from_being_known(folder: Path, web: Loopback) -> None:
    web.route(COUNTS, Answer(401, b"{}"))
    result = listener("check", "--json")
    assert result.exit_code == 1
    (row,) = prices(result).values()
    assert row["status"] == "failed"
    assert "bearer token" in row["note"]
    assert "s3cret" not in result.output
