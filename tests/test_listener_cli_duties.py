from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from builders import NOW, RECIPIENTS, VOCABULARY, FakeConnector, at, mention, put
from click.testing import CliRunner, Result

from connectors.base import Budget, Cost, Page, Transient, Update
from listener import config as configuration
from listener import daemon, pipeline
from listener.cli import main
from listener.collect import Collected, Source
from listener.config import Config
from listener.pipeline import Parts
from listener.scheduler import Every, Job
from listener.store import Store

SETTINGS = """
[sources.hackernews]
enabled = true
[sources.rss]
enabled = true
feeds = [{ url = "https://news.example/feed" }]
"""


class Site(FakeConnector):
    """Says that the first post it is asked for was deleted; "down" breaks it."""

    def refresh(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        if ids[0] == "down":
            raise Transient("the site is down")
        gone = Update(source="forum", native_id=ids[0], kind="tombstone", at=now)
        yield Page(
            updates=(gone,), cost=Cost(requests=1, micro_dollars=5000), warnings=("one was odd",)
        )

    def refresh_cost(self, posts: int) -> Cost:
        return Cost(requests=posts)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configuration with two sources, of which Hacker News is played by `Site`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(VOCABULARY + RECIPIENTS + SETTINGS, "utf-8")

    def build(config: Config, only: Sequence[str] = ()) -> tuple[list[Source], list[Collected]]:
        names = [name for name, _ in config.sources.enabled() if not only or name in only]
        made = {"hackernews": Site(), "rss": FakeConnector(source="rss")}
        return [Source(name=name, connector=made[name]) for name in names], []

    monkeypatch.setattr(pipeline, "build_sources", build)
    monkeypatch.setattr(daemon, "build", build)
    with time_machine.travel(at(30), tick=False):
        yield tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def texts() -> dict[str, str]:
    with Store("listener.db") as store:
        return dict(tuple(row) for row in store.rows("SELECT native_id, text FROM mentions"))


def filled(*native_ids: str) -> None:
    with Store("listener.db") as store:
        put(store, *(mention(one, f"word{one}", by="ana") for one in native_ids))


# -- sync-deletions


def test_removed_posts_are_erased_and_told_of(folder: Path) -> None:
    filled("1", "2")
    result = run("sync-deletions", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == [
        {
            "source": "hackernews",
            "status": "ok",
            "looked_up": 2,
            "removed": 1,
            "edited": 0,
            "left": 0,
            "dollars": 0.005,
        }
    ]
    assert "hackernews: one was odd" in result.stderr
    assert texts() == {"1": "", "2": "word2"}
    assert b"word1" not in Path("listener.db").read_bytes()
    again = run("sync-deletions", "--json")
    assert json.loads(again.stdout)[0]["looked_up"] == 0


def test_everything_or_what_is_due(folder: Path) -> None:
    filled("1")
    with time_machine.travel(NOW + timedelta(hours=1), tick=False):
        assert json.loads(run("sync-deletions", "--json").stdout)[0]["looked_up"] == 0
        found = json.loads(run("sync-deletions", "hackernews", "--all", "--json").stdout)
    assert found[0]["looked_up"] == 1
    assert texts() == {"1": ""}


def test_a_source_that_is_not_enabled_is_named(folder: Path) -> None:
    result = run("sync-deletions", "x")
    assert result.exit_code == 1
    assert "no enabled source is called x; enabled: hackernews, rss" in result.stderr


def test_a_failure_of_all_is_the_exit_code(folder: Path) -> None:
    filled("down")
    result = run("sync-deletions")
    assert result.exit_code == 1
    assert "hackernews: the site is down" in result.stderr
    assert run("sync-deletions", "rss").exit_code == 0


def jobs(settings: str) -> list[Job]:
    config = configuration.parse(VOCABULARY + SETTINGS + settings, file="config.toml")
    return [job for job in daemon.jobs(Parts(config)) if job.name.startswith("lookups:")]


def test_the_daemon_looks_up_where_that_works(folder: Path) -> None:
    filled("1")
    (job,) = jobs("[upkeep]\nevery_minutes = 7\n")
    assert (job.name, job.when) == ("lookups:hackernews", Every(minutes=7))
    with Store("listener.db") as store:
        job.run(store, at(30), lambda _: None, None)
    assert texts() == {"1": ""}
    assert jobs("[upkeep]\nenabled = false\n") == []


# -- forget


def test_a_person_is_erased_and_kept_out(folder: Path) -> None:
    filled("1", "2")
    outbox = folder / "outbox"
    outbox.mkdir()
    result = run("forget", "@ana", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == [
        {"source": "forum", "posts": 2, "reposts": 0, "records": 0}
    ]
    assert texts() == {"1": "", "2": ""}
    data = Path("listener.db").read_bytes()
    assert b"word" not in data
    assert b"@ana" not in data
    filled("3")
    assert "3" not in texts()


def test_who_is_meant_has_to_be_clear(folder: Path) -> None:
    filled("1")
    result = run("forget", "nobody")
    assert result.exit_code == 1
    assert "--source" in result.stderr
    assert run("forget", "nobody", "--source", "forum").exit_code == 0
    assert run("forget", "a", "--source", "forum", "--all-sources").exit_code == 2
    assert texts() == {"1": "word1"}
