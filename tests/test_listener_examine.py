"""`listener try`: what is said of a text and of each thing that it names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from builders import VOCABULARY, config
from click.testing import CliRunner, Result

from listener.cli import main
from listener.examine import examine
from listener.pipeline import Parts
from nlp.base import Tag

READ = 200


class Tagger:
    """Likes what begins a text, dislikes the rest, and reads the first 200 characters."""

    version = "1"

    def __init__(self) -> None:
        self.asked: list[Sequence[tuple[int, int]]] = []

    def probabilities(
        self, texts: Sequence[str], langs: Sequence[str]
    ) -> list[dict[str, dict[str, float]]]:
        return [{"sentiment": {"neg": 0.2, "neu": 0.3, "pos": 0.5}} for _ in texts]

    def tag_targets(
        self,
        texts: Sequence[str],
        langs: Sequence[str],
        spans: Sequence[Sequence[tuple[int, int]]],
    ) -> list[tuple[Tag, ...]]:
        self.asked += spans
        whole = Tag(kind="sentiment", label="pos", score=0.5)
        return [(whole, *(_toward(*one) for one in own if one[0] < READ)) for own in spans]


def _toward(start: int, end: int) -> Tag:
    label = "neg" if start else "pos"
    return Tag(kind="sentiment_target", label=label, score=0.87654, start=start, end=end)


@pytest.fixture
def tagger(monkeypatch: pytest.MonkeyPatch) -> Tagger:
    made = Tagger()
    monkeypatch.setattr(Parts, "tagger", made)
    return made


def looked(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = examine(Parts(config()), text, "en")["matches"]
    return found


def tried(folder: Path, text: str, *words: str) -> Result:
    path = folder / "config.toml"
    path.write_text(VOCABULARY)
    return CliRunner().invoke(main, ["try", text, "--lang", "en", "-c", str(path), *words])


def test_each_name_has_the_sentiment_toward_it(tagger: Tagger) -> None:
    rows = looked("Lumora beats Moketto by far")
    assert [(row["name"], row["sentiment"], row["probability"]) for row in rows] == [
        ("Lumora", "pos", 0.8765),
        ("Moketto", "neg", 0.8765),
    ]


def test_a_need_has_none_and_is_not_asked_about(tagger: Tagger) -> None:
    (row,) = looked("which espresso machine?")
    assert (row["kind"], row["sentiment"], row["probability"]) == ("category", None, None)
    assert tagger.asked == []


def test_of_names_that_begin_together_the_longest_speaks_for_all(tagger: Tagger) -> None:
    rows = looked("Lumora Brisa it is")
    assert tagger.asked == [[(0, len("Lumora Brisa"))]]
    assert {row["kind"]: row["sentiment"] for row in rows} == {"brand": "pos", "product": "pos"}


def test_a_name_that_the_model_does_not_read_has_none(tagger: Tagger) -> None:
    rows = looked("Lumora" + " and" * 60 + " Moketto")
    assert [row["sentiment"] for row in rows] == ["pos", None]


def test_the_table_shows_the_sentiment(tagger: Tagger, tmp_path: Path) -> None:
    result = tried(tmp_path, "Moketto or an espresso machine")
    assert result.exit_code == 0, result.output
    names, moketto, machine = result.stdout.splitlines()[-3:]
    assert names.split()[-2:] == ["sentiment", "probability"]
    assert moketto.split()[-2:] == ["pos", "0.8765"]
    assert machine.split()[-2:] == ["14", "30"]


def test_a_table_of_many_matches_is_cut_and_says_so(tagger: Tagger, tmp_path: Path) -> None:
    text = "Moketto, " * 300
    result = tried(tmp_path, text)
    assert result.exit_code == 0, result.output
    shown = sum("Moketto" in line for line in result.stdout.splitlines())
    assert 0 < shown < 100
    assert f"{300 - shown} more matches" in result.stderr
    assert len(json.loads(tried(tmp_path, text, "--json").stdout)["matches"]) == 300
