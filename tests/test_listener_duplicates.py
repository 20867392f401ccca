from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import pytest
from builders import at, edit, mention, put, store_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener import duplicates
from listener.duplicates import THRESHOLD, alike, find, forget, said, shingles
from listener.store import Store

ASKED = "I am looking for a quiet espresso machine under three hundred euros, any ideas?"
PEDIDO = "Busco una cafetera silenciosa por menos de trescientos euros, ¿alguna idea?"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def everyone(store: Store) -> list[int]:
    return [row["id"] for row in store.rows("SELECT id FROM mentions ORDER BY id")]


def copies(store: Store) -> dict[str, str]:
    rows = store.rows(
        "SELECT m.native_id AS copy, o.native_id AS original FROM copies c "
        "JOIN mentions m ON m.id = c.mention_id JOIN mentions o ON o.id = c.original_id"
    )
    return {row["copy"]: row["original"] for row in rows}


def put_texts(store: Store, texts: Sequence[str]) -> None:
    put(store, *(mention(str(n), text, published_at=at(n)) for n, text in enumerate(texts)))


@pytest.mark.parametrize(
    "copy",
    [
        ASKED,
        f"RT @ana: {ASKED}",
        f"“RT @ana_b: {ASKED}”",
        f"{ASKED} via @ana",
        f"{ASKED} https://t.example/abc",
        f"@ben {ASKED} https://other.example/x #coffee #help",
        f"#help #coffee {ASKED}",
        f"{ASKED} #coffee #help via Some App",
        ASKED.upper(),
        ASKED.replace("espresso machine", "#espresso machine"),
        ASKED.replace("quiet", "very quiet"),
    ],
)
def test_what_changes_when_a_post_is_passed_on_does_not_count(store: Store, copy: str) -> None:
    put_texts(store, [f"{ASKED} https://t.example/xyz #help #coffee", copy])
    assert find(store, everyone(store)) == 1
    assert copies(store) == {"1": "0"}


@pytest.mark.parametrize(
    "copy",
    [
        f"RT @ana: {PEDIDO}",
        f"{PEDIDO} vía @ana",
        PEDIDO.replace("¿alguna", "alguna"),
        PEDIDO.upper(),
    ],
)
def test_spanish_posts_too(store: Store, copy: str) -> None:
    put_texts(store, [PEDIDO, copy])
    assert find(store, everyone(store)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ASKED, PEDIDO),
        (ASKED, "I am looking for a strong blender under two hundred euros, any ideas?"),
        ("which coffee machine then", "which coffee machine now"),
        ("vía libre", "via crucis"),
        ("#one", "#two"),
        ("https://a.example/1", "https://a.example/2"),
        ("🙂", "🙃"),
    ],
)
def test_what_says_something_else_is_no_copy(store: Store, one: str, other: str) -> None:
    put_texts(store, [one, other])
    assert find(store, everyone(store)) == 0


def test_a_short_post_is_a_copy_only_of_the_same_words(store: Store) -> None:
    put_texts(store, ["Which coffee machine?", "which COFFEE machine", "which coffee machines"])
    find(store, everyone(store))
    assert copies(store) == {"1": "0"}


def test_one_author_who_says_it_twice(store: Store) -> None:
    put(store, mention("a", ASKED, by="ana"), mention("b", ASKED, by="ana", published_at=at(9)))
    assert find(store, everyone(store)) == 1


def test_the_threshold_is_the_true_similarity(store: Store) -> None:
    chance = random.Random(5)
    words = [f"{chance.choice('bcdfg')}{chance.choice('aeiou')}{n:03}" for n in range(60)]
    near = {}
    for count in range(1, 12):
        other = [*words[:-count], *(f"z{n:04}" for n in range(count))]
        left, right = shingles(words), shingles(other)
        near[count] = len(left & right) / len(left | right)
        assert alike(words, other) == (near[count] >= THRESHOLD)
    put_texts(
        store,
        [" ".join(words)]
        + [" ".join([*words[:-n], *(f"z{at:04}" for at in range(n))]) for n in near],
    )
    assert any(0.75 < one < THRESHOLD for one in near.values())
    assert any(THRESHOLD <= one < 0.85 for one in near.values())
    ids = everyone(store)
    for n, similarity in near.items():
        find(store, [ids[0], ids[n]])
        assert (str(n) in copies(store)) == (similarity >= THRESHOLD)
        with store.write() as connection:
            forget(connection, ids)


def test_chains_have_one_original_whatever_the_order(tmp_path: Path) -> None:
    words = [f"palabra{n}" for n in range(40)]
    chain = []
    for step in range(4):
        chain.append(" ".join([f"nueva{n}" for n in range(3 * step)] + words[3 * step :]))
    assert alike(said(chain[0]), said(chain[1]))
    assert not alike(said(chain[0]), said(chain[3]))
    texts = [*chain, ASKED, f"RT @x: {ASKED}", PEDIDO]
    found = []
    for seed in range(8):
        folder = tmp_path / str(seed)
        folder.mkdir()
        for store in store_in(folder):
            put_texts(store, texts)
            order = everyone(store)
            random.Random(seed).shuffle(order)
            cut = seed % len(order)
            find(store, order[:cut])
            for one in order[cut:]:
                find(store, [one])
            found.append(copies(store))
    assert found == [{"1": "0", "2": "0", "3": "0", "5": "4"}] * 8


WORDS = st.lists(st.sampled_from([f"{n}{n}a" for n in range(8)]), max_size=9)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(WORDS.map(" ".join), min_size=2, max_size=7), st.randoms(use_true_random=False))
def test_groups_are_the_connected_posts(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], chance: random.Random
) -> None:
    for store in store_in(tmp_path_factory.mktemp("store")):
        put_texts(store, texts)
        order = everyone(store)
        chance.shuffle(order)
        for one in order:
            find(store, [one])
        group = list(range(len(texts)))
        for one, other in combinations(range(len(texts)), 2):
            if said(texts[one]) and alike(said(texts[one]), said(texts[other])):
                low, high = sorted((group[one], group[other]))
                group = [low if g == high else g for g in group]
        expected = {str(n): str(first) for n, first in enumerate(group) if n != first}
        assert copies(store) == expected


def test_the_original_is_the_earliest_by_time_then_source_and_id(store: Store) -> None:
    put(store, mention("z", ASKED, published_at=at(-1)), mention("a", ASKED, published_at=at(-2)))
    put(store, mention("b", ASKED, published_at=at(-2), source="aaa"))
    find(store, everyone(store))
    assert copies(store) == {"z": "b", "a": "b"}


def test_copies_of_an_original_that_goes_repeat_the_next(store: Store) -> None:
    put_texts(store, [ASKED] * 4)
    ids = everyone(store)
    find(store, ids)
    with store.write() as connection:
        forget(connection, ids[:2])
        connection.executemany("DELETE FROM mentions WHERE id = ?", [(i,) for i in ids[:2]])
    assert copies(store) == {"3": "2"}
    put(store, mention("9", ASKED, published_at=at(9)))
    find(store, everyone(store))
    assert copies(store) == {"3": "2", "9": "2"}


def test_an_original_deleted_without_a_word_is_replaced_when_the_text_comes_again(
    store: Store,
) -> None:
    put_texts(store, [ASKED] * 3)
    find(store, everyone(store))
    with store.write() as connection:
        connection.execute("DELETE FROM mentions WHERE native_id = '0'")
    assert copies(store) == {}
    put(store, mention("9", ASKED, published_at=at(9)))
    find(store, everyone(store)[-1:])
    assert copies(store) == {"2": "1", "9": "1"}


def test_an_edited_post_leaves_its_group(store: Store) -> None:
    put_texts(store, [ASKED] * 3)
    find(store, everyone(store))
    put(store, updates=[edit("0", PEDIDO)])
    find(store, everyone(store))
    assert copies(store) == {"2": "1"}


def test_a_post_without_text_has_no_copies(store: Store) -> None:
    put_texts(store, ["", "", "!!!", "..."])
    assert find(store, everyone(store)) == 0


def test_the_title_counts(store: Store) -> None:
    put(store, mention("a", ASKED, title="Help"), mention("b", f"Help {ASKED}", published_at=at(2)))
    assert find(store, everyone(store)) == 1


def test_given_again_nothing_changes_and_other_mentions_stay_out(store: Store) -> None:
    put_texts(store, [ASKED, ASKED, PEDIDO, PEDIDO])
    first = everyone(store)[:2]
    assert find(store, first) == find(store, first) == 1
    assert copies(store) == {"1": "0"}
    assert store.value("SELECT count(DISTINCT mention_id) FROM bands") == 2


def test_signatures_of_another_version_are_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_texts(store, [ASKED, ASKED])
    find(store, everyone(store))
    with store.write() as connection:
        connection.execute("UPDATE bands SET hash = hash + 1")
    monkeypatch.setattr(duplicates, "_version", lambda: "another")
    find(store, [])
    assert copies(store) == {"1": "0"}
    put(store, mention("9", ASKED, published_at=at(9)))
    find(store, everyone(store)[-1:])
    assert copies(store) == {"1": "0", "9": "0"}


def test_the_work_for_a_viral_post_does_not_grow(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []

    def counted(one: Sequence[str], other: Sequence[str]) -> bool:
        compared.append(1)
        return alike(one, other)

    monkeypatch.setattr(duplicates, "alike", counted)
    put_texts(store, [f"{ASKED} {PEDIDO} {n}" for n in range(400, 0, -1)])
    assert find(store, everyone(store)) == 399
    assert len(compared) < 4 * 400


@pytest.mark.parametrize(
    "text", ["@" * 50_000, "#a " * 20_000, "via " * 12_000, "rt " * 10_000, "é" * 50_000]
)
def test_long_hostile_posts(store: Store, text: str) -> None:
    put_texts(store, [text, text])
    assert find(store, everyone(store)) == (1 if said(text) else 0)


def test_ids_that_are_not_stored_are_passed_over(store: Store) -> None:
    assert find(store, [7, 8]) == 0


def test_copies_go_with_the_mention(store: Store) -> None:
    put_texts(store, [ASKED, ASKED])
    find(store, everyone(store))
    with store.write() as connection:
        connection.execute("DELETE FROM mentions")
    assert (
        store.value("SELECT count(*) FROM bands") == store.value("SELECT count(*) FROM copies") == 0
    )


def test_the_transaction_is_the_callers(store: Store) -> None:
    put_texts(store, [ASKED, ASKED])
    find(store, everyone(store))

    def failing() -> None:
        with store.write() as connection:
            forget(connection, everyone(store))
            connection.execute("SELECT nothing FROM nowhere")

    with pytest.raises(sqlite3.OperationalError):
        failing()
    assert copies(store) == {"1": "0"}


def test_the_name_in_a_short_repost_is_no_word_of_it() -> None:
    assert said("RT @x: Lumora is bad") == said("Lumora is bad") == ("lumora", "is", "bad")
