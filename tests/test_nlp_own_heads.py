"""Own heads: fitted on a user's labels, judged without flattery, stored as numbers, and used."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nlp.base import SENTIMENTS, SIGNALS, STAGES, ModelMissing
from nlp.encoder import POOLED, VECTOR, WIDTH, Encoder, Floats, FunnelTagger, Heads, columns
from nlp.evaluation import Row
from nlp.own_fit import MIN_EACH, MIN_ROWS, TooFewLabels, fit, lacking
from nlp.own_heads import BadOwnHeads, OwnHeads, OwnPredictor, load, opened
from nlp.replaced import EVERY, ReplacedTagger, SharedEncoder

YES_NO = ("intent", "early", "promo")


def heads(version: str = "model-1") -> Heads:
    flat = {"signal": dict.fromkeys(SIGNALS, 0.5)} | {head: {"1": 0.5} for head in YES_NO}
    return Heads(
        version=version, prefix="", max_tokens=10, head_tokens=5,
        scale={POOLED: np.ones(WIDTH, np.float32)}, bias={POOLED: np.zeros(WIDTH, np.float32)},
        thresholds={head: {POOLED: labels} for head, labels in flat.items()}, toward=1.0,
    )  # fmt: skip


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The encoder without its files; counts the texts it reads.

    Vectors are noise but for the words "buy", "happy" and "angry". The shipped logit of early knows
    nothing, that of intent knows all.
    """
    seen = SimpleNamespace(texts=0)

    def run(
        self: Encoder, texts: Sequence[str], spans: Sequence[object]
    ) -> tuple[Floats, Floats, list[Floats]]:
        seen.texts += len(texts)
        noise = [
            np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest()[:8], 16))
            for text in texts
        ]
        vectors = np.array([one.normal(size=VECTOR) for one in noise]).reshape(-1, VECTOR)
        logits = np.array([one.normal(size=WIDTH) for one in noise]).reshape(-1, WIDTH)
        for at, text in enumerate(texts):
            vectors[at, 3] = 9.0 * ("buy" in text)
            vectors[at, 5] = 9.0 * ("happy" in text)
            vectors[at, 7] = 9.0 * ("angry" in text)
            logits[at, columns("intent")] = 8.0 * ("buy" in text) - 4
        empty = [np.zeros((0, 3), np.float32)] * len(texts)
        return logits.astype(np.float32), vectors.astype(np.float32), empty

    monkeypatch.setattr(Encoder, "run_targets", run)
    monkeypatch.setattr(Encoder, "heads", heads())
    return seen


@pytest.fixture
def rows() -> list[Row]:
    made = []
    for at in range(160):
        buys = at % 4 == 0
        made.append(
            Row(
                text=f"{'buy' if buys else 'see'} {('happy', 'angry', 'so')[at % 3]} {at}",
                lang="es" if at % 2 else "en",
                early=buys if at % 2 == 0 else at % 4 == 1,
                intent=buys,
                sentiment=("pos", "neg", "neu")[at % 3],
                stage=STAGES[at % 4] if at < 40 else None,
            )
        )
    return made


@pytest.fixture
def own(rows: list[Row], passes: SimpleNamespace) -> OwnHeads:
    return fit(rows, SharedEncoder())


def test_a_head_wins_where_it_learns_what_the_shipped_one_does_not_know(own: OwnHeads) -> None:
    assert own.winners() == {"sentiment": ("en", "es"), "early": ("en",)}
    early = own.heads["early"].compared
    assert (early["en"].n, early["en"].positives) == (80, 40)
    assert early["en"].own["f1"] > 0.9
    assert early["en"].shipped["f1"] < 0.75
    # In Spanish every other text is "early" whatever it says: nothing can be learnt.
    assert early["es"].own["average_precision"] < 0.75
    assert early["es"].error["f1"] > 0.01


def test_a_head_that_is_only_as_good_does_not_win(own: OwnHeads) -> None:
    intent = own.heads["intent"].compared["en"]
    assert intent.shipped == {"f1": 1.0, "average_precision": 1.0}
    assert not intent.better


def test_figures_are_of_texts_that_were_held_out(passes: SimpleNamespace) -> None:
    generator = np.random.default_rng(3)
    chance = [
        Row(text=f"text {at}", lang="en", early=bool(generator.random() < 0.5)) for at in range(80)
    ]
    # Copies that differ in case and spaces only: one on either side of a fold would tell.
    copies = [Row(text=f" {row.text.upper()}", lang="en", early=row.early) for row in chance]
    compared = fit([*chance, *copies], SharedEncoder()).heads["early"].compared["en"]
    assert compared.n == 80
    assert compared.own["average_precision"] < 0.75
    assert not compared.better


def test_what_is_stored_is_numbers_and_comes_back(own: OwnHeads, tmp_path: Path) -> None:
    path = tmp_path / "new" / "own_heads.json"
    own.save(path)
    text = path.read_text("utf-8")
    assert "happy" not in text
    assert "buy" not in text
    back = load(path)
    assert back.winners() == own.winners()
    encoder = SharedEncoder()
    for head, one in opened(own, encoder, only_winners=False).items():
        again = opened(back, encoder, only_winners=False)[head]
        for before, after in zip(
            one.probabilities(["buy it", "so"]), again.probabilities(["buy it", "so"]), strict=True
        ):
            assert after == pytest.approx(before, abs=1e-4)
    assert back.count_seen(["BUY  happy 0", "never seen"]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 0}, "another version"),
        ({"heads": {"early": {}}}, "holds no heads"),
        ({"heads": []}, "holds no heads"),
    ],
)
def test_other_files_are_refused(
    own: OwnHeads, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "own_heads.json"
    own.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadOwnHeads, match=message):
        load(path)


def test_numbers_that_do_not_fit_are_refused(own: OwnHeads, tmp_path: Path) -> None:
    path = tmp_path / "own_heads.json"
    own.save(path)
    whole = json.loads(path.read_text())
    for weights in ([[1.0, 2.0]], [[float("nan")] * (VECTOR + WIDTH)]):
        whole["heads"]["early"]["weights"] = weights
        path.write_text(json.dumps(whole))
        with pytest.raises(BadOwnHeads, match="fit them again"):
            load(path)
    path.write_text("not JSON")
    with pytest.raises(BadOwnHeads):
        load(path)
    with pytest.raises(ModelMissing, match="listener train"):
        load(tmp_path / "absent.json")


def test_too_few_labels_say_how_many_it_takes(rows: list[Row], passes: SimpleNamespace) -> None:
    few = [Row(text=row.text, lang="en", early=row.early) for row in rows[:50]]
    with pytest.raises(TooFewLabels) as caught:
        fit(few, SharedEncoder())
    for words in (f"at least {MIN_ROWS}", f"{MIN_EACH} or more", "early en: 24 x 0, 26 x 1"):
        assert words in str(caught.value)
    assert passes.texts == 0
    one_sided = [Row(text=f"t {at}", lang="en", early=at < MIN_EACH - 1) for at in range(90)]
    with pytest.raises(TooFewLabels, match="9 x 1"):
        fit(one_sided, SharedEncoder())
    repeated = [Row(text="the same", lang="en", early=at % 2 == 0) for at in range(90)]
    with pytest.raises(TooFewLabels, match="1 x 0, 1 x 1"):
        fit(repeated, SharedEncoder())
    with pytest.raises(TooFewLabels, match="no label of stage, sentiment"):
        fit([Row(text="a", lang="en", signals=())], SharedEncoder())
    # A stage that the labels lack could never be said again.
    (counts, *_) = lacking(rows, ["stage"])
    assert counts.endswith("0 x post_purchase")


def test_winners_answer_in_their_languages_and_share_the_pass(
    own: OwnHeads, passes: SimpleNamespace
) -> None:
    encoder = SharedEncoder()
    shipped = FunnelTagger(encoder)
    tagger = ReplacedTagger(shipped, opened(own, encoder))
    texts, langs = ["buy this happy", "see that", "buy", "😀"], ["en", "en", "es", "en"]
    passes.texts = 0
    tagged = tagger.tag(texts, langs)
    assert passes.texts == len(texts) + 1  # and the empty text
    before = shipped.tag(texts, langs)
    kinds = [[tag.kind for tag in tags] for tags in tagged]
    assert kinds == [[tag.kind for tag in tags] for tags in before]
    score = [{tag.kind: tag for tag in tags} for tags in tagged]
    assert score[0]["early"].score > 0.6
    assert score[1]["early"].score < 0.4
    (sentiment,) = opened(own, encoder)["sentiment"].probabilities(texts[:1])
    assert score[0]["sentiment"].label == max(sentiment, key=sentiment.__getitem__)
    assert score[2]["early"] == before[2][3]  # Spanish was lost
    assert score[3]["early"] == before[3][3]  # nothing is said without a letter
    known = tagger.probabilities(texts, langs)
    assert known[0]["early"]["1"] == score[0]["early"].score
    assert set(known[0]["sentiment"]) == set(SENTIMENTS)
    assert known[0]["stage"] == shipped.probabilities(texts, langs)[0]["stage"]


def test_thresholds_and_version_are_those_of_the_heads(own: OwnHeads) -> None:
    encoder = SharedEncoder()
    shipped = FunnelTagger(encoder)
    tagger = ReplacedTagger(shipped, opened(own, encoder))
    cut = own.heads["early"].compared["en"].threshold
    assert tagger.thresholds == {"en": cut, EVERY: 0.5}
    assert tagger.threshold("early", "es", "1") == 0.5
    assert tagger.threshold("signal", "en", "praise") == 0.5
    assert (tagger.name, tagger.version.partition("+")[0]) == ("funnel", shipped.version)
    fewer = {"early": opened(own, encoder)["early"]}
    assert ReplacedTagger(shipped, fewer).version != tagger.version


def test_heads_of_another_model_are_left_out_and_told(
    own: OwnHeads, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Encoder, "heads", heads("model-2"))
    with caplog.at_level(logging.WARNING):
        assert opened(own, SharedEncoder()) == {}
    assert "listener train" in caplog.text


def test_the_losers_can_be_measured_too(own: OwnHeads) -> None:
    predictor = OwnPredictor(opened(own, SharedEncoder(), only_winners=False))
    known = predictor.probabilities(["buy", "buy", "buy"], ["en", "es", "fr"])
    assert [set(one) for one in known] == [
        {"early", "intent", "sentiment"}, {"early", "sentiment"}, set()
    ]  # fmt: skip
    assert predictor.threshold("early", "es", "1") == own.heads["early"].compared["es"].threshold


def test_a_shared_pass_gives_what_a_pass_of_its_own_gives(passes: SimpleNamespace) -> None:
    encoder = SharedEncoder()
    logits, vectors = encoder.run(["a", "b", "c"])
    some, own_vectors = encoder.run(["c", "a", "c"])
    assert passes.texts == 3
    assert np.array_equal(some, logits[[2, 0, 2]])
    assert np.array_equal(own_vectors, vectors[[2, 0, 2]])
    encoder.run(["a", "new"])
    assert passes.texts == 4
