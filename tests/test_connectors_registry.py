import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from connectors import registry
from connectors.base import BadConfig, Connector
from connectors.opening import open_file
from connectors.registry import BUILT_IN, GROUP, load, names
from connectors.sample import Sample


def with_plug_ins(monkeypatch: pytest.MonkeyPatch, *plug_ins: tuple[str, str]) -> None:
    found = [EntryPoint(name, value, GROUP) for name, value in plug_ins]
    monkeypatch.setattr(registry, "entry_points", lambda group: found if group == GROUP else [])


def test_every_built_in_name_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    with_plug_ins(monkeypatch)
    assert names() == sorted(BUILT_IN)
    assert {"file", "hackernews", "reddit", "rss", "sample", "x"} < set(names())
    assert load("sample") is Sample
    assert load("file") is open_file
    assert isinstance(load("sample")(), Connector)
    assert all(load(name).__module__.startswith("connectors.") for name in names())


def test_a_plug_in_comes_through_the_same_door(monkeypatch: pytest.MonkeyPatch) -> None:
    with_plug_ins(monkeypatch, ("mine", "connectors.sample:Sample"))
    assert "mine" in names()
    assert load("mine") is Sample


def test_an_unknown_name_is_refused_with_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    with_plug_ins(monkeypatch)
    with pytest.raises(BadConfig, match="did you mean hackernews"):
        load("hackernew")
    with pytest.raises(BadConfig, match=r"known: .*file, hackernews, .*sample"):
        load("zzz")


def test_a_plug_in_may_not_take_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with_plug_ins(monkeypatch, ("rss", "other.rss:Rss"))
    with pytest.raises(BadConfig, match=r"other\.rss:Rss calls itself rss.*connectors\.rss:Rss"):
        load("rss")
    with_plug_ins(monkeypatch, ("mine", "a:A"), ("mine", "b:B"))
    with pytest.raises(BadConfig, match="b:B calls itself mine"):
        names()


@pytest.mark.parametrize("value", ["no_such_module_at_all:X", "connectors.sample:Nothing"])
def test_a_broken_plug_in_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with_plug_ins(monkeypatch, ("mine", value))
    with pytest.raises(BadConfig, match=f"connector mine cannot be loaded from {value}"):
        load("mine")


def test_nothing_is_imported_before_it_is_loaded() -> None:
    code = (
        "import sys; from connectors.registry import names; names(); "
        "print([n for n in sys.modules if n.startswith('connectors.') or n == 'httpx'])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert out.stdout.strip() == "['connectors.base', 'connectors.registry']"
