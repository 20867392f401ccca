"""The re-ranker: used only where shown to be better, always the same, vectors kept and renewed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from builders import NOW, edit, mention, put, store_in, tombstone
from numpy.typing import NDArray

from listener.feedback import record
from listener.rerank import (
    FOLDS,
    LEAST,
    LEAST_EACH,
    Candidate,
    Reranker,
    expected,
    explain,
    learn,
    points,
    stored_vectors,
)
from listener.store import Store, stamp

Floats = NDArray[np.float32]


@dataclass
class FakeEncoder:
    """A vector for each text, of which the first number says how much it is about coffee."""

    version: str = "1"
    coffee: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def heads(self) -> FakeEncoder:
        return self

    def run(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        self.asked += texts
        vectors = [self._vector(text) for text in texts]
        return np.zeros((len(texts), 20), np.float32), np.array(vectors, np.float32)

    def _vector(self, text: str) -> Floats:
        chance = np.random.default_rng([*text.encode(), *self.version.encode()])
        vector = 5 + chance.normal(size=384) * 0.1
        vector[0] += self.coffee.get(text, 0.0)
        return vector.astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def judged(
    store: Store,
    useful: Sequence[bool],
    *,
    scores: Sequence[float],
    coffee: Sequence[float],
    together: int = 1,
) -> FakeEncoder:
    """Judged alerts with these verdicts, scores (standardised) and topics.

    `together` of them, one after the other, are of one conversation.
    """
    texts = [f"post {at}" for at in range(len(useful))]
    put(store, *(mention(str(at), text) for at, text in enumerate(texts)))
    rounded = [min(max(round(60 + 12 * one), 0), 100) for one in scores]
    with store.write() as connection:
        connection.executemany(
            "INSERT INTO conversations (id, source, root_id, started_at, last_at, mentions, "
            "authors, stage, state, early) VALUES (?1, 'forum', ?1, ?2, ?2, 1, 1, 'none', 'early', "
            "0.8)",
            [(1 + at // together, stamp(NOW)) for at in range(0, len(useful), together)],
        )
        connection.executemany(
            "INSERT INTO alerts (id, key, rule, conversation_id, mention_id, probability, score, "
            "parts, reasons, created_at) SELECT ?1, ?1, 'r', ?2, m.id, 0.8, ?3, ?4, '[]', ?5 "
            "FROM mentions m WHERE m.native_id = ?6",
            [
                (at + 1, 1 + at // together, score, parts(score), stamp(NOW), str(at))
                for at, score in enumerate(rounded)
            ],
        )
        connection.executemany(
            "INSERT INTO feedback (alert_id, mention_id, rule, score, verdict, given_by, channel, "
            "at) SELECT id, mention_id, rule, score, ?, 'ana', 'command', ? FROM alerts "
            "WHERE id = ?",
            [
                ("useful" if good else "not-useful", stamp(NOW), at + 1)
                for at, good in enumerate(useful)
            ],
        )
    return FakeEncoder(coffee=dict(zip(texts, coffee, strict=True)))


def drawn(
    store: Store, count: int, *, by_topic: float = 0.0, by_score: float = 0.0, seed: int = 1
) -> FakeEncoder:
    """Judged alerts whose use hangs on what they are about, on their score, or on chance."""
    chance = np.random.default_rng(seed)
    topic, strength = chance.normal(size=(2, count))
    useful = by_topic * topic + by_score * strength + chance.logistic(size=count) > 0
    return judged(store, useful.tolist(), scores=strength.tolist(), coffee=(4 * topic).tolist())


def parts(score: int) -> str:
    return json.dumps(
        [
            {"code": "probability", "points": score - 5, "value": 0.5, "quote": None},
            {"code": "age", "points": 5, "value": 1.5, "quote": None},
        ]
    )


def mention_id(store: Store, native_id: str) -> int:
    found = store.value("SELECT id FROM mentions WHERE native_id = ?", (native_id,))
    return int(found)


def stored(store: Store) -> dict[int, tuple[str, bytes]]:
    return {
        row["mention_id"]: (row["version"], row["vector"])
        for row in store.rows("SELECT * FROM vectors")
    }


def test_it_is_used_where_posts_say_more_than_the_score(store: Store) -> None:
    encoder = drawn(store, 120, by_topic=3.0)
    learnt = learn(store, encoder)
    told = learnt.explanation
    assert (told.code, told.used, told.n, told.folds) == ("better", True, 120, FOLDS)
    assert told.score_ap is not None
    assert told.model_ap is not None
    assert told.error is not None
    assert told.model_ap - told.score_ap > told.error > 0
    # What it was not fitted to: two posts that differ in nothing but what they are about.
    put(store, mention("good", "good one"), mention("bad", "bad one"))
    encoder.coffee |= {"good one": 8.0, "bad one": -8.0}
    candidates = [
        Candidate(mention_id=mention_id(store, name), score=60, parts=points(parts(60)))
        for name in ("good", "bad")
    ]
    good, bad = expected(store, encoder, learnt, candidates)
    assert 0 < bad < 0.5 < good < 1
    assert expected(store, encoder, learnt, []) == []


def test_it_is_left_alone_where_the_score_says_it_all(store: Store) -> None:
    encoder = drawn(store, 120, by_score=2.0)
    learnt = learn(store, encoder)
    assert (learnt.explanation.code, learnt.explanation.used) == ("no-better", False)
    candidates = [
        Candidate(mention_id=mention_id(store, name), score=score, parts={})
        for name, score in (("1", 70), ("2", 35))
    ]
    assert expected(store, encoder, learnt, candidates) == [0.7, 0.35]


def test_the_strongest_parts_are_told_with_their_direction(store: Store) -> None:
    told = explain(store, drawn(store, 120, by_score=2.0))
    weights = dict(told.parts)
    assert set(weights) == {"score", "probability", "age"}
    assert weights["score"] > 0.1
    assert weights["probability"] > 0.1
    assert weights["age"] == 0.0  # the same in all alerts
    assert [abs(one) for one in weights.values()] == sorted(map(abs, weights.values()))[::-1]


def test_verdicts_of_chance_seldom_make_it_used(tmp_path: Path) -> None:
    used, rounds = 0, 8
    for seed in range(rounds):
        (tmp_path / str(seed)).mkdir()
        for store in store_in(tmp_path / str(seed)):
            used += explain(store, drawn(store, 60, by_score=1.0, seed=seed)).used
    assert used <= rounds / 4


def test_posts_of_one_conversation_do_not_vouch_for_each_other(store: Store) -> None:
    """Conversations told by heart would give 1; of a new one nothing can be known here."""
    chance = np.random.default_rng(3)
    useful = np.repeat(chance.permutation([True] * 12 + [False] * 12), 5)
    encoder = judged(
        store,
        useful.tolist(),
        scores=[0.0] * 120,
        coffee=np.repeat(chance.normal(size=24) * 50, 5).tolist(),
        together=5,
    )
    told = explain(store, encoder)
    assert told.conversations == 24
    assert told.model_ap is not None
    assert told.model_ap < 0.75


def test_it_is_the_same_every_time_and_with_stored_vectors(store: Store) -> None:
    encoder = drawn(store, 80, by_topic=1.0)
    first = explain(store, encoder)
    asked = len(encoder.asked)
    assert asked == 80
    assert explain(store, encoder) == first
    assert len(encoder.asked) == asked


def test_it_is_not_tried_on_too_few_verdicts(store: Store) -> None:
    good = [True] * 20 + [False] * (LEAST - 21)
    encoder = judged(store, good, scores=[0.0] * len(good), coffee=[0.0] * len(good))
    learnt = learn(store, encoder)
    told = learnt.explanation
    assert (told.code, told.n, told.useful) == ("too-few-labels", LEAST - 1, 20)
    assert (told.score_ap, told.model_ap, told.error, told.parts) == (None, None, None, ())
    assert learnt == Reranker(explanation=told, fitted=None)
    assert encoder.asked == []


def test_it_is_not_tried_on_one_kind_of_verdict(store: Store) -> None:
    good = [True] * LEAST + [False] * (LEAST_EACH - 1)
    encoder = judged(store, good, scores=[0.0] * len(good), coffee=[0.0] * len(good))
    assert explain(store, encoder).code == "one-sided"


def test_late_and_erased_alerts_take_no_part(store: Store) -> None:
    encoder = drawn(store, 60, by_topic=1.0)
    record(store, 1, "late", by="ana", channel="command", now=NOW)
    put(store, updates=[tombstone("1")])
    with store.write() as connection:
        connection.execute("DELETE FROM alerts WHERE id = 3")
    assert explain(store, encoder).n == 57


def test_vectors_are_kept_and_made_again_when_model_or_text_change(store: Store) -> None:
    put(store, mention("1", "one"), mention("2", "two"))
    encoder = FakeEncoder()
    one, two = mention_id(store, "1"), mention_id(store, "2")
    vectors = stored_vectors(store, encoder, [two, one, two])
    assert vectors.shape == (3, 384)
    assert (vectors[0] == vectors[2]).all()
    assert not (vectors[0] == vectors[1]).all()
    known = encoder.run(["two"])[1][0]
    assert vectors[0] == pytest.approx(known, abs=5e-3)
    assert {len(vector) for _, vector in stored(store).values()} == {2 * 384}
    encoder.asked.clear()
    assert (stored_vectors(store, encoder, [one]) == vectors[1]).all()
    assert encoder.asked == []
    put(store, updates=[edit("1", "another")])
    stored_vectors(store, encoder, [one, two])
    assert encoder.asked == ["another"]
    encoder.version = "2"
    stored_vectors(store, encoder, [one, two])
    assert encoder.asked == ["another", "another", "two"]
    with pytest.raises(KeyError):
        stored_vectors(store, encoder, [999])


def test_a_post_that_goes_meanwhile_leaves_no_vector(store: Store) -> None:
    put(store, mention("1", "one"))
    one = mention_id(store, "1")

    class Slow(FakeEncoder):
        def run(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
            with store.write() as connection:
                connection.execute("DELETE FROM mentions WHERE id = ?", (one,))
            return super().run(texts)

    assert stored_vectors(store, Slow(), [one]).shape == (1, 384)
    assert stored(store) == {}
