from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from builders import NOW, FakeTagger, at, edit, mention, put, store_in

from listener import steps
from listener.analyse import RELEVANCE, WATCH, match, tag
from listener.config import Config, parse
from listener.relevance import (
    LabelError,
    judge,
    keyword_rows,
    label,
    suggestion_rows,
)
from listener.store import Store
from listener.vocabulary import exclusions, senses, terms
from nlp.matching import Matcher
from nlp.relevance import Floats

TEXT = """
[brand]
name = "Mango"
handles = ["@mangofashion"]
urls = ["https://mango.example/shop"]
description = "coats and dresses"
examples = { yes = ["a Mango coat"], no = ["ripe mango juice"] }
[[competitors]]
name = "Zamora"
"""


@dataclass
class Fruit:
    """Vectors in which the words of clothes and of fruit lie apart; remembers what it was given."""

    seen: list[str] = field(default_factory=list)

    def meanings(self, texts: Sequence[str]) -> Floats:
        self.seen += texts
        vectors = np.random.default_rng(7).normal(scale=0.1, size=(len(texts), 32))
        for row, text in zip(vectors, texts, strict=True):
            row[0] += sum(word in text for word in ("coat", "dress", "abrigo"))
            row[1] += sum(word in text for word in ("ripe", "juice", "zumo"))
        return vectors.astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def config(text: str = TEXT) -> Config:
    return parse(text, file="config.toml")


def analyse(store: Store, text: str = TEXT, model: Fruit | None = None, version: str = "1") -> int:
    chosen = config(text)
    match(store, Matcher(terms(chosen), exclusions(chosen)), text)
    tag(store, FakeTagger())
    return judge(store, senses(chosen), model or Fruit(), version)


def scores(store: Store) -> dict[str, float]:
    rows = store.rows(
        "SELECT m.native_id, t.label, t.score FROM tags t JOIN mentions m ON m.id = t.mention_id "
        "WHERE t.tagger = 'relevance' AND t.kind = 'relevance'"
    )
    assert {row["label"] for row in rows} <= {"Mango"}
    return {row["native_id"]: row["score"] for row in rows}


def meant(store: Store) -> set[str]:
    rows = store.rows(
        "SELECT DISTINCT m.native_id FROM relevant_matches x JOIN mentions m ON m.id = x.mention_id"
    )
    return {row["native_id"] for row in rows}


def number(store: Store, native_id: str) -> int:
    return int(store.value("SELECT id FROM mentions WHERE native_id = ?", (native_id,)))


def say(store: Store, native_id: str, relevant: bool, name: str = "Mango") -> None:
    label(store, number(store, native_id), name, relevant=relevant, given_by="ana", now=NOW)


def two(store: Store) -> None:
    put(
        store,
        mention("shop", "this Mango coat, my dress"),
        mention("fruit", "such a ripe mango for the juice"),
        mention("rival", "ripe juice of Zamora"),
        mention("none", "nothing"),
    )


def test_matches_that_mean_something_else_do_not_count(store: Store) -> None:
    two(store)
    assert analyse(store) == 4
    found = scores(store)
    assert found.keys() == {"shop", "fruit"}
    assert found["fruit"] < 0.5 <= found["shop"]
    assert meant(store) == {"shop", "rival"}


def test_without_descriptions_and_labels_nothing_is_asked(store: Store) -> None:
    two(store)
    model = Fruit()
    plain = '[brand]\nname = "Mango"\n'
    assert analyse(store, plain, model) == 0
    assert model.seen == []
    assert meant(store) == {"shop", "fruit"}
    assert steps.waiting(store, RELEVANCE) == 0


def test_only_what_is_new_is_read(store: Store) -> None:
    two(store)
    analyse(store)
    assert analyse(store) == 0
    put(store, mention("later", "a Mango dress", published_at=at(1)))
    assert analyse(store) == 1
    put(store, updates=[edit("later", "ripe mango juice")])
    assert analyse(store) == 1
    assert scores(store)["later"] < 0.5


def test_another_model_or_description_judges_again(store: Store) -> None:
    two(store)
    analyse(store)
    assert analyse(store, version="2") == 4
    other = TEXT.replace("coats and dresses", "fruit").replace("ripe mango juice", "a mango coat")
    other = other.replace("a Mango coat", "ripe Mango juice")
    before = scores(store)
    store_steps = store.value("SELECT count(*) FROM steps")
    assert analyse(store, other) >= 2
    assert scores(store)["fruit"] > before["fruit"]
    assert store.value("SELECT count(*) FROM steps") == store_steps


def test_a_description_that_goes_takes_its_tags_along(store: Store) -> None:
    two(store)
    analyse(store)
    analyse(store, '[brand]\nname = "Mango"\n')
    assert scores(store) == {}
    assert meant(store) == {"shop", "fruit"}


def test_conversations_and_hours_of_what_changed_are_done_again(store: Store) -> None:
    two(store)
    analyse(store)
    steps.announce(store, WATCH, "1")
    with store.write() as connection:
        connection.execute("DELETE FROM work")
        connection.execute("DELETE FROM rollup_stale")
    say(store, "fruit", relevant=True)
    analyse(store)
    waiting = store.rows("SELECT mention_id FROM work WHERE step = ?", (WATCH,))
    assert number(store, "fruit") in {row["mention_id"] for row in waiting}
    assert number(store, "none") not in {row["mention_id"] for row in waiting}
    assert store.value("SELECT count(*) FROM rollup_stale") == 1


def test_handles_and_addresses_are_sure(store: Store) -> None:
    put(
        store,
        mention("handle", "ripe juice @mangofashion and mango"),
        mention("link", "ripe juice https://mango.example/shop/x"),
    )
    analyse(store)
    assert scores(store) == {"handle": 1, "link": 1}


def test_what_a_person_said_is_certain(store: Store) -> None:
    two(store)
    analyse(store)
    say(store, "shop", relevant=False)
    say(store, "fruit", relevant=True)
    analyse(store)
    assert scores(store) == {"shop": 0, "fruit": 1}
    say(store, "fruit", relevant=False)
    analyse(store)
    assert scores(store)["fruit"] == 0


def test_labels_alone_are_enough_to_judge(store: Store) -> None:
    two(store)
    put(store, mention("new", "mango juice, ripe"), mention("coat", "Mango coat"))
    plain = '[brand]\nname = "Mango"\n'
    analyse(store, plain)
    say(store, "shop", relevant=True)
    say(store, "fruit", relevant=False)
    analyse(store, plain)
    assert scores(store)["new"] < 0.5 < scores(store)["coat"]


def test_labels_are_refused_with_the_reason(store: Store) -> None:
    two(store)
    analyse(store)
    with pytest.raises(LabelError, match="it names Zamora"):
        say(store, "rival", relevant=True)
    with pytest.raises(LabelError, match="names nothing"):
        say(store, "none", relevant=True)
    with pytest.raises(LabelError, match="no such mention"):
        label(store, 999, "Mango", relevant=True, given_by="ana", now=NOW)
    assert store.value("SELECT count(*) FROM relevance_labels") == 0


def test_the_precision_of_each_term_with_its_interval(store: Store) -> None:
    two(store)
    put(store, mention("both", "Mango dress @mangofashion"), mention("more", "ripe mango juice"))
    analyse(store)
    for native_id, relevant in (("shop", True), ("fruit", False), ("both", True)):
        say(store, native_id, relevant=relevant)
    rows = {row["term"]: row for row in keyword_rows(store)}
    assert rows["Mango"] == {
        "kind": "brand",
        "name": "Mango",
        "term": "Mango",
        "mentions": 4,
        "meant": 2,
        "labelled": 3,
        "precision": 0.667,
        "low": 0.208,
        "high": 0.939,
    }
    assert rows["@mangofashion"]["labelled"] == 1
    assert rows["@mangofashion"]["precision"] == 1
    assert rows["Zamora"]["precision"] is None


def test_words_to_exclude(store: Store) -> None:
    put(store, *(mention(f"b{n}", f"mango salsa number {n}") for n in range(3)))
    put(store, *(mention(f"g{n}", f"Mango coat number {n}") for n in range(3)))
    analyse(store)
    for n in range(3):
        say(store, f"b{n}", relevant=False)
        say(store, f"g{n}", relevant=True)
    (row,) = suggestion_rows(store)
    assert (row["name"], row["word"], row["irrelevant"]) == ("Mango", "salsa", 3)
    assert suggestion_rows(store, most=0) == []


def test_a_step_that_is_interrupted_goes_on(store: Store) -> None:
    two(store)
    chosen = config()
    match(store, Matcher(terms(chosen), exclusions(chosen)), "1")

    def stopping(_name: str, _total: int | None) -> steps.Progress:
        def tick(_: int) -> None:
            raise steps.Stopped

        return tick

    with pytest.raises(steps.Stopped):
        judge(store, senses(chosen), Fruit(), "1", progress=stopping)
    assert judge(store, senses(chosen), Fruit(), "1") == 0
    assert scores(store).keys() == {"shop", "fruit"}
