from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import (
    FakeTagger,
    Labels,
    analyse,
    at,
    config,
    edit,
    mention,
    put,
    store_in,
    tombstone,
)

from connectors.base import Mention
from listener import rollup
from listener.config import Retention
from listener.retention import prune
from listener.rollup import refresh
from listener.store import Store, stamp

COLUMNS = (
    "mentions",
    *("positive", "neutral", "negative"),
    *("awareness", "consideration", "decision", "post_purchase"),
    "promo",
)
SENTIMENTS = {"pos": "positive", "neu": "neutral", "neg": "negative"}
NAMES = {
    "Lumora": ("brand", "Lumora"),
    "Brisa": ("product", "Lumora Brisa"),
    "Moketto": ("competitor", "Moketto"),
}

Cells = dict[tuple[str, ...], dict[str, int]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def stored(store: Store) -> Cells:
    sums = ", ".join(f"sum({column}) AS {column}" for column in COLUMNS)
    return {
        (row["hour"], row["source"], row["kind"], row["name"]): {c: row[c] for c in COLUMNS}
        for row in store.rows(
            f"SELECT hour, source, kind, name, {sums} FROM rollup_hourly "
            "GROUP BY hour, source, kind, name"
        )
    }


def recount(posts: dict[str, Mention], labels: dict[str, Labels]) -> Cells:
    """The roll-up of `posts`, over all languages, from their texts alone."""
    cells: dict[tuple[str, ...], Counter[str]] = {}
    for post in posts.values():
        entities = {entity for word, entity in NAMES.items() if word in post.text}
        if any(kind == "product" for kind, _ in entities):
            entities.add(("brand", "Lumora"))
        told = labels[post.text]
        for kind, name in {("all", ""), *entities}:
            key = (stamp(post.published_at)[:13], post.source, kind, name)
            cells.setdefault(key, Counter()).update(
                ["mentions", SENTIMENTS[told.sentiment], told.stage]
                + ["promo"] * (told.promo >= 0.5)
            )
    return {key: {c: count[c] for c in COLUMNS} for key, count in cells.items()}


def random_text(chance: random.Random, labels: dict[str, Labels]) -> str:
    text = " ".join([*chance.sample(sorted(NAMES), chance.randint(0, 3)), str(len(labels))])
    labels[text] = Labels(
        stage=chance.choice(["none", "awareness", "consideration", "decision", "post_purchase"]),
        sentiment=chance.choice(sorted(SENTIMENTS)),
        promo=chance.choice([0.0, 0.49, 0.5, 1.0]),
    )
    return text


@pytest.mark.parametrize("seed", range(4))
def test_the_roll_up_equals_a_recount_after_any_change(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(rollup, "_HOURS_AT_ONCE", 3)
    chance = random.Random(seed)
    labels: dict[str, Labels] = {}
    posts: dict[str, Mention] = {}
    for turn in range(5):
        fresh = [
            mention(
                f"{turn}-{n}",
                random_text(chance, labels),
                published_at=at(-chance.randint(0, 600) / 60),
                source="forum",
            )
            for n in range(20)
        ]
        put(store, *fresh, now=at(turn))
        posts.update({post.native_id: post for post in fresh})
        edited, gone = chance.sample(sorted(posts), 2)
        text = random_text(chance, labels)
        put(store, updates=[edit(edited, text), tombstone(gone)])
        posts[edited] = mention(edited, text, published_at=posts[edited].published_at)
        del posts[gone]
        analyse(store, FakeTagger(labels))
        assert refresh(store, brand="Lumora") > 0
        assert added(stored(store)) == added(recount(posts, labels))
        assert refresh(store, brand="Lumora") == 0
    prune(store, Retention(mentions_days=1), outbox=tmp_path, now=at(26.5), tick=lambda _: None)
    left = {key: post for key, post in posts.items() if int(key[0]) > 2}
    refresh(store, brand="Lumora")
    assert added(stored(store)) == added(recount(left, labels))
    assert 0 < len(left) < len(posts)


def added(cells: Cells) -> dict[tuple[str, ...], tuple[int, ...]]:
    return {key: tuple(cell.values()) for key, cell in cells.items()}


def test_languages_and_sources_are_apart(store: Store) -> None:
    english, spanish = "Which Lumora is good for the office?", "¿Qué Lumora es para la oficina?"
    put(
        store,
        mention("1", english),
        mention("2", spanish),
        mention("3", spanish, source="other"),
        mention("4", "Lumora"),
    )
    analyse(store, FakeTagger())
    refresh(store, brand="Lumora")
    rows = store.rows(
        "SELECT source, language, mentions FROM rollup_hourly WHERE kind = 'brand' AND language "
        "IN ('en', 'es') ORDER BY source, language"
    )
    assert [tuple(row) for row in rows][-2:] == [("forum", "es", 1), ("other", "es", 1)]
    assert store.value("SELECT sum(mentions) FROM rollup_hourly WHERE kind = 'brand'") == 4


def test_a_product_counts_once_for_its_brand(store: Store) -> None:
    put(
        store,
        mention("1", "Lumora Lumora Brisa Brisa"),
        mention("2", "Brisa"),
        mention("3", "Lumora"),
    )
    analyse(store, FakeTagger())
    refresh(store, brand="Lumora")
    counts: dict[tuple[Any, ...], int] = Counter()
    for row in store.rows("SELECT kind, name, mentions FROM rollup_hourly"):
        counts[row["kind"], row["name"]] += row["mentions"]
    assert counts == {("all", ""): 3, ("brand", "Lumora"): 3, ("product", "Lumora Brisa"): 2}


def test_hours_end_where_the_next_begins(store: Store) -> None:
    put(
        store,
        mention("1", "Lumora", published_at=at(0)),
        mention("2", "Lumora", published_at=at(3599 / 3600)),
        mention("3", "Lumora", published_at=at(1)),
        now=at(2),
    )
    analyse(store, FakeTagger())
    refresh(store, brand="Lumora")
    rows = store.rows("SELECT hour, mentions FROM rollup_hourly WHERE kind = 'all' ORDER BY hour")
    assert [tuple(row) for row in rows] == [("2026-03-10T12", 2), ("2026-03-10T13", 1)]


def test_the_views_read_it(store: Store) -> None:
    good, other = "The Lumora is good for our office", "We have the Lumora in our office"
    put(store, mention("1", good), mention("2", other), mention("3", "They have the Moketto there"))
    analyse(store, FakeTagger({good: Labels(sentiment="pos")}))
    refresh(store, brand=config().brand.name)
    shares = store.rows("SELECT name, mentions, share FROM share_of_voice ORDER BY name")
    assert [tuple(row) for row in shares] == [("Lumora", 2, 0.667), ("Moketto", 1, 0.333)]
    (row,) = store.rows("SELECT * FROM daily_sentiment WHERE kind = 'brand'")
    assert (row["day"], row["name"], row["language"]) == ("2026-03-10", "Lumora", "en")
    assert (row["mentions"], row["positive"], row["net_sentiment"]) == (2, 1, 0.5)
