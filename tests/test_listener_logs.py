from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from listener import logs
from listener.cli import main
from listener.logs import of_job, set_up


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    names = [None, *logs.OURS, "apscheduler"]
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    root = logging.getLogger()
    for handler in [one for one in root.handlers if one.name == "listener"]:
        root.removeHandler(handler)
        handler.close()


def fail(text: str) -> None:
    raise ValueError(text)


def logged(path: Path, work: Callable[[], None], **options: object) -> str:
    set_up(file=path, **options)  # type: ignore[arg-type] # what is passed on is checked by set_up
    work()
    return path.read_text("utf-8")


def work() -> None:
    log = logging.getLogger("listener.collect")
    with of_job("collect:x"):
        log.info("stored %d posts\nof café", 3)
    try:
        fail("private words")
    except ValueError:
        log.error("collect:x failed", exc_info=True)
    logging.getLogger("httpx").info("GET https://api.example/?q=private&key=secret")
    logging.getLogger("listener.x").debug("private id")


def test_one_json_object_a_line(tmp_path: Path) -> None:
    text = logged(tmp_path / "a.log", work, level="info", as_json=True)
    first, second = map(json.loads, text.splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "info",
        "logger": "listener.collect",
        "message": "stored 3 posts\nof café",
        "job": "collect:x",
    }
    assert second["error"] == "ValueError"
    assert second["trace"][-1].strip().endswith("in fail")
    assert "job" not in second


@pytest.mark.parametrize("as_json", [False, True])
def test_texts_of_errors_and_addresses_of_the_web_stay_out(tmp_path: Path, as_json: bool) -> None:
    text = logged(tmp_path / "a.log", work, level="info", as_json=as_json)
    assert "ValueError" in text
    assert "collect:x" in text
    assert "private" not in text
    assert "secret" not in text


def test_the_level_is_that_of_our_own_parts(tmp_path: Path) -> None:
    assert logged(tmp_path / "a.log", work, level="error").count("\n") >= 1
    assert "stored" not in (tmp_path / "a.log").read_text("utf-8")
    assert "private id" in logged(tmp_path / "b.log", work, level="debug")


def test_files_are_set_aside_and_old_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_MB", 1_000)
    path = tmp_path / "listener.log"
    set_up(file=path, level="info", max_mb=1, keep=2)
    for n in range(100):
        logging.getLogger("listener").info("%090d", n)
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "listener.log",
        "listener.log.1",
        "listener.log.2",
    ]
    assert all(one.stat().st_size <= 1_000 for one in tmp_path.iterdir())
    assert "99\n" in path.read_text("utf-8")


def test_a_full_disk_does_not_end_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    set_up(file=full, level="info")
    logging.getLogger("listener").info("lost")
    assert capsys.readouterr().err == ""


def test_setting_up_again_replaces_what_was(tmp_path: Path) -> None:
    for name in ("a.log", "b.log"):
        set_up(file=tmp_path / name, level="info")
    logging.getLogger("listener").info("once")
    assert (tmp_path / "a.log").read_text("utf-8") == ""
    assert (tmp_path / "b.log").read_text("utf-8").count("once") == 1


def test_the_command_line_says_where_and_how(tmp_path: Path) -> None:
    path = tmp_path / "listener.log"
    words = ["--log-json", "--log-file", str(path), "-v", "sources", "--json"]
    assert CliRunner().invoke(main, words).exit_code == 0
    logging.getLogger("listener").info("after")
    assert json.loads(path.read_text("utf-8").splitlines()[-1])["message"] == "after"
    nowhere = CliRunner().invoke(main, ["--log-file", str(tmp_path / "no" / "a.log"), "sources"])
    assert nowhere.exit_code == 1
    assert "make its folder" in nowhere.output
