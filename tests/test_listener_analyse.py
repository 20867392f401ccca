from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from builders import (
    ASKS,
    FakeTagger,
    Labels,
    at,
    config,
    edit,
    matcher,
    mention,
    put,
    store_in,
    tombstone,
)

from listener import analyse, rollup, steps
from listener.analyse import match, tag
from listener.steps import Stopped, document
from listener.store import Store
from listener.vocabulary import terms
from nlp.base import Tag
from nlp.matching import Matcher


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def stopping(after: int) -> Callable[[str, int | None], Callable[[int], None]]:
    """Progress that ends the step at its so-manieth stored batch."""
    ticks: list[int] = []

    def tick(n: int) -> None:
        ticks.append(n)
        if len(ticks) == after:
            raise Stopped

    return lambda _name, _total: tick


def stages(store: Store) -> dict[str, str]:
    rows = store.rows(
        "SELECT m.native_id, t.label FROM tags t JOIN mentions m ON m.id = t.mention_id "
        "WHERE t.kind = 'stage'"
    )
    return {row["native_id"]: row["label"] for row in rows}


# -- match


def test_spans_are_literal_parts_of_title_and_text(store: Store) -> None:
    put(
        store,
        mention("1", "☕☕ una cafetera Lumora, ¿o Moketto?", title="¿Qué cafetera?"),
        mention("2", "Lumora Brisa 👍🏽 vs MOKETTO"),
        mention("3", "", title="Lumora"),
        mention("4", "nothing of ours"),
        mention("5", ""),
    )
    assert match(store, matcher(), "1") == 5
    rows = store.rows(
        "SELECT m.native_id, m.title, m.text, x.kind, x.span_start, x.span_end "
        "FROM matches x JOIN mentions m ON m.id = x.mention_id ORDER BY m.id, x.span_start, x.kind"
    )
    surfaces = [
        (row["native_id"], row["kind"], document(row["title"], row["text"])[slice(*row[4:])])
        for row in rows
    ]
    assert surfaces == [
        ("1", "category", "cafetera"),
        ("1", "category", "cafetera"),
        ("1", "brand", "Lumora"),
        ("1", "competitor", "Moketto"),
        ("2", "brand", "Lumora"),
        ("2", "product", "Lumora Brisa"),
        ("2", "competitor", "MOKETTO"),
        ("3", "brand", "Lumora"),
    ]


@pytest.mark.parametrize(
    ("title", "text", "expected"),
    [("T", "x", "T\nx"), (None, "x", "x"), ("", "x", "x"), ("T", "", "T"), (None, "", "")],
)
def test_document(title: str | None, text: str, expected: str) -> None:
    assert document(title, text) == expected


def test_language_is_found_and_a_declared_one_helps(store: Store) -> None:
    put(
        store,
        mention("1", "¿Alguien me recomienda una buena cafetera para casa?"),
        mention("2", "Does anybody know a good espresso machine for the office?"),
        mention("3", "ok", lang="es"),
        mention("4", "☕"),
    )
    match(store, matcher(), "1")
    rows = store.rows("SELECT language FROM mentions ORDER BY native_id")
    assert [row["language"] for row in rows] == ["es", "en", "es", "und"]


def test_only_new_and_edited_mentions_are_matched_again(store: Store) -> None:
    put(store, mention("1", "Lumora"), mention("2", "Lumora"))
    assert match(store, matcher(), "1") == 2
    assert match(store, matcher(), "1") == 0
    put(store, mention("3", "Moketto"), updates=[edit("1", "Moketto")])
    assert match(store, matcher(), "1") == 2
    rows = store.rows(
        "SELECT m.native_id, x.name FROM matches x JOIN mentions m ON m.id = x.mention_id "
        "ORDER BY m.native_id"
    )
    assert [tuple(row) for row in rows] == [("1", "Moketto"), ("2", "Lumora"), ("3", "Moketto")]


def test_another_vocabulary_matches_everything_again(store: Store) -> None:
    put(store, mention("1", "Lumora"), mention("2", "Lumora"))
    match(store, matcher(), "1")
    assert match(store, matcher(), "2") == 2
    assert match(store, matcher(), "2") == 0
    assert store.value("SELECT count(*) FROM matches") == 2


def test_matching_marks_hours_for_the_roll_up(store: Store) -> None:
    put(store, mention("1", "Lumora", published_at=at(-30)))
    with store.write() as connection:
        connection.execute("DELETE FROM rollup_stale")
    match(store, matcher(), "1")
    assert store.value("SELECT hour FROM rollup_stale") == "2026-03-09T06"


# -- tag


def test_tags_follow_the_text_and_the_language(store: Store) -> None:
    asks = "¿Qué cafetera me recomendáis para casa, de las buenas?"
    put(store, mention("1", asks), mention("2", "", title="Only a title"))
    match(store, matcher(), "1")
    tagger = FakeTagger({asks: Labels(stage="awareness", early=0.7, signals={"comparison": 0.6})})
    assert tag(store, tagger) == 2
    assert tagger.seen[0] == (asks, "es")
    assert tagger.seen[1][0] == "Only a title"
    assert stages(store) == {"1": "awareness", "2": "none"}
    rows = store.rows("SELECT label, score, span_start, span_end FROM tags WHERE kind = 'signal'")
    assert [tuple(row) for row in rows] == [("comparison", 0.6, 0, 0)]


def test_only_what_changed_is_tagged_again(store: Store) -> None:
    put(store, mention("1", "old"), mention("2", "other"))
    match(store, matcher(), "1")
    tag(store, FakeTagger())
    put(store, updates=[edit("1", "new")])
    match(store, matcher(), "1")
    tagger = FakeTagger({"new": ASKS})
    assert tag(store, tagger) == 1
    assert [text for text, _ in tagger.seen] == ["new"]
    assert stages(store) == {"1": "consideration", "2": "none"}


def test_another_version_of_the_model_tags_everything_again(store: Store) -> None:
    put(store, mention("1", "a"), mention("2", "b"))
    match(store, matcher(), "1")
    tag(store, FakeTagger({"a": Labels(signals={"praise": 0.9})}))
    assert tag(store, FakeTagger({"b": ASKS}, version="2")) == 2
    assert stages(store) == {"1": "none", "2": "consideration"}
    assert store.value("SELECT count(*) FROM tags WHERE kind = 'signal'") == 0


def test_taggers_do_not_touch_the_tags_of_others(store: Store) -> None:
    put(store, mention("1", "a"))
    match(store, matcher(), "1")
    tag(store, FakeTagger({"a": ASKS}))
    tag(store, FakeTagger(name="second"))
    rows = store.rows("SELECT tagger, label FROM tags WHERE kind = 'stage' ORDER BY tagger")
    assert [tuple(row) for row in rows] == [("funnel", "consideration"), ("second", "none")]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_batches_of_any_size_give_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(analyse, "_MATCH_BATCH", size)
    monkeypatch.setattr(analyse, "_TAG_BATCH", size)
    put(store, *(mention(str(n), f"Lumora {n}") for n in range(5)))
    assert match(store, matcher(), "1") == 5
    assert tag(store, FakeTagger({"Lumora 3": ASKS})) == 5
    assert store.value("SELECT count(*) FROM matches") == 5
    assert [key for key, stage in stages(store).items() if stage != "none"] == ["3"]
    assert steps.waiting(store, "match") == steps.waiting(store, "funnel") == 0


# -- stopping and changing in the middle


def test_a_stop_keeps_what_is_done_and_the_next_run_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyse, "_MATCH_BATCH", 2)
    monkeypatch.setattr(analyse, "_TAG_BATCH", 2)
    put(store, *(mention(str(n), f"Lumora {n}") for n in range(5)))
    with pytest.raises(Stopped):
        match(store, matcher(), "1", progress=stopping(1))
    assert steps.waiting(store, "match") == 3
    assert match(store, matcher(), "1") == 3
    first = FakeTagger()
    with pytest.raises(Stopped):
        tag(store, first, progress=stopping(2))
    second = FakeTagger()
    assert tag(store, second) == 1
    assert len(first.seen) == 4
    assert sorted(text for text, _ in first.seen + second.seen) == [f"Lumora {n}" for n in range(5)]
    assert len(stages(store)) == 5


def test_a_tagger_that_fails_leaves_its_batch_to_do(store: Store) -> None:
    put(store, mention("1", "a"))
    match(store, matcher(), "1")

    def fail() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        tag(store, FakeTagger(meanwhile=fail))
    assert steps.waiting(store, "funnel") == 1
    assert tag(store, FakeTagger({"a": ASKS})) == 1
    assert stages(store) == {"1": "consideration"}


def test_an_edit_that_comes_while_the_model_reads_is_not_lost(store: Store) -> None:
    put(store, mention("1", "old"), mention("2", "other"))
    match(store, matcher(), "1")
    pending = [edit("1", "new")]

    def collect() -> None:
        with Store(store.path) as other:
            put(other, updates=[pending.pop()] if pending else [])

    tagger = FakeTagger({"old": Labels(stage="awareness"), "new": ASKS}, meanwhile=collect)
    tag(store, tagger)
    match(store, matcher(), "1")
    tag(store, tagger)
    assert stages(store) == {"1": "consideration", "2": "none"}


def test_a_post_that_goes_while_the_model_reads_gets_no_tags(store: Store) -> None:
    put(store, mention("1", "said"), mention("2", "deleted"), mention("3", "taken down"))
    match(store, matcher(), "1")

    def lose() -> None:
        with Store(store.path) as other:
            with other.write() as connection:
                connection.execute("DELETE FROM mentions WHERE native_id = '2'")
            put(other, updates=[tombstone("3")])

    tag(store, FakeTagger({"said": ASKS, "taken down": ASKS}, meanwhile=lose))
    assert stages(store) == {"1": "consideration"}
    assert store.value("SELECT count(*) FROM mentions") == 2


def test_tagging_waits_for_the_language(store: Store) -> None:
    put(store, mention("1", "a"))
    match(store, matcher(), "1")
    put(store, mention("2", "¿Qué cafetera me recomendáis para mi casa?"))
    tagger = FakeTagger()
    assert tag(store, tagger) == 1
    match(store, matcher(), "1")
    assert tag(store, tagger) == 1
    assert tagger.seen[1][1] == "es"


def test_what_was_taken_down_is_not_analysed_again(store: Store) -> None:
    put(store, mention("1", "Lumora"), updates=[tombstone("1")])
    match(store, matcher(), "1")
    tagger = FakeTagger()
    tag(store, tagger)
    tag(store, FakeTagger(version="2"))
    assert tagger.seen == []
    assert store.value("SELECT count(*) FROM tags") == 0


class Aiming:
    """Says that what is named is loved when the text before it says so, else hated."""

    name, version = "funnel", "1"

    def tag(self, texts: Sequence[str], langs: Sequence[str]) -> list[tuple[Tag, ...]]:
        return self.tag_targets(texts, langs, [()] * len(texts))

    def tag_targets(
        self,
        texts: Sequence[str],
        langs: Sequence[str],
        spans: Sequence[Sequence[tuple[int, int]]],
    ) -> list[tuple[Tag, ...]]:
        return [
            (
                Tag(kind="sentiment", label="neu", score=0.9),
                *(
                    Tag(
                        kind="sentiment_target",
                        label="pos" if text[:start].endswith("love ") else "neg",
                        score=0.8,
                        start=start,
                        end=end,
                    )
                    for start, end in places
                ),
            )
            for text, places in zip(texts, spans, strict=True)
        ]


def test_sentiment_differs_by_what_is_named(store: Store) -> None:
    put(store, mention("1", "I love Lumora Brisa but not Moketto, any espresso machine"))
    match(store, matcher(), "1")
    tag(store, Aiming())
    rollup.refresh(store, brand="Lumora")
    rows = store.rows("SELECT kind, name, positive, neutral, negative FROM rollup_hourly")
    figures = {(row["kind"], row["name"]): tuple(row)[2:] for row in rows}
    assert figures == {
        ("all", ""): (0, 1, 0),
        ("brand", "Lumora"): (1, 0, 0),
        ("product", "Lumora Brisa"): (1, 0, 0),
        ("competitor", "Moketto"): (0, 0, 1),
        ("category", "espresso machine"): (0, 1, 0),
    }


def test_a_new_name_in_an_old_post_is_judged(store: Store) -> None:
    put(store, mention("1", "I love Zafiro"), mention("2", "I love tea"))
    match(store, matcher(), "1")
    tag(store, Aiming())
    match(store, Matcher(terms(config('[[competitors]]\nname = "Zafiro"')), {}), "2")
    assert [row["id"] for row in steps.batch(store, "funnel", 9)] == [1]
    tag(store, Aiming())
    assert store.value("SELECT label FROM tags WHERE kind = 'sentiment_target'") == "pos"
