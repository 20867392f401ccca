"""The shipped model files and what reads them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp import replaced
from nlp.abstain import WHOLLY, share_read
from nlp.base import BINARY_HEADS, SENTIMENTS, SIGNALS, STAGES, ModelMissing, Tagger
from nlp.batches import Ids
from nlp.encoder import (
    HEADS,
    MODEL_FOLDER,
    POOLED,
    VECTOR,
    WIDTH,
    Encoder,
    Floats,
    FunnelTagger,
    columns,
    parse_heads,
    read_heads,
)
from nlp.reading import aligned, prepare, shorten
from nlp.replaced import SharedEncoder

ASKS = {
    "en": "Any recommendations for a quiet espresso machine under $300? Torn between two brands.",
    "es": "¿Qué cafetera me recomiendan por menos de 300 euros? Dudo entre dos marcas.",
}
OWNS = {
    "en": "My kettle broke after two weeks and support never answered. Terrible, I want a refund.",
    "es": "La tetera se rompió a las dos semanas y soporte nunca contestó. Pésima, quiero devolver",
}
NEWS = {
    "en": "The central bank left interest rates unchanged on Tuesday, officials said.",
    "es": "El banco central mantuvo sin cambios los tipos de interés el martes, según fuentes.",
}
HOSTILE = {
    "empty": "",
    "spaces": " \n\t ",
    "emoji": "😡😡👍🏽👩‍👩‍👧‍👦❤️",
    "digits": "1234567890",
    "controls": "".join(map(chr, range(32))) + "\x7f\x80\x9f",
    "lone surrogate": "qué \ud83d portátil \udc00 compro",
    "long": "¿qué portátil compro? " * 2_500,
    "one word": "a" * 50_000,
    "hashtags": " ".join(f"#tag{at}" for at in range(10_000)),
    "zalgo": "q" + "\u0301\u0489\u035c" * 500 + "ue compro",
    "right to left": "\u202eأي هاتف تنصحني\u202c",
    "other script": "どのスマホがおすすめですか?",
    "nul": "\x00",
    "markup": "<script>alert(1)</script> &amp;&#0;&#xD800;",
    "binary": bytes(range(256)).decode("latin-1"),
    "url": "https://" + "x" * 5_000,
}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture(scope="module")
def tagger(encoder: Encoder) -> FunnelTagger:
    return FunnelTagger(encoder)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["AT&amp;T", "&lt", "&#x1F600;", "&#0;", "https://www.Foo.example/a?b", "\ud83d", "ñ",
             " ", "\n", "😀", "www.t.co/x", "&", "word", "x" * 900]
        ),
        max_size=12,
    )
)  # fmt: skip
def test_places_are_those_of_the_prepared_text(parts: list[str]) -> None:
    text = "".join(parts)
    found, origins = aligned(text)
    if "\ud83d" not in text:
        assert found == prepare(text)
    assert len(origins) == len(found)
    assert origins == sorted(origins)
    assert all(0 <= one < len(text) for one in origins)


def test_importing_loads_no_model_library() -> None:
    code = (
        "import sys, nlp.encoder as e; e.FunnelTagger(e.Encoder());"
        "print(sorted({'onnxruntime', 'tokenizers', 'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_are_small_enough() -> None:
    sizes = {path.name: path.stat().st_size for path in MODEL_FOLDER.iterdir()}
    assert sizes["model.onnx"] <= 45_000_000
    assert sizes["tokenizer.json"] <= 8_000_000


def test_shapes_and_no_texts(encoder: Encoder) -> None:
    logits, vectors = encoder.run([ASKS["en"], ASKS["es"], ""])
    assert logits.shape == (3, WIDTH)
    assert vectors.shape == (3, VECTOR)
    assert logits.dtype == vectors.dtype == np.float32
    assert np.isfinite(logits).all()
    assert np.isfinite(vectors).all()
    nothing, none = encoder.run([])
    assert nothing.shape == (0, WIDTH)
    assert none.shape == (0, VECTOR)


def test_a_text_gets_the_same_figures_in_any_company(encoder: Encoder) -> None:
    texts = [*ASKS.values(), *OWNS.values(), *NEWS.values(), "ok", *ASKS.values(), "largo " * 300]
    logits, vectors = encoder.run(texts)
    order = list(range(len(texts)))
    random.Random(3).shuffle(order)
    again, vectors_again = encoder.run([texts[at] for at in order])
    np.testing.assert_allclose(again, logits[order], atol=1e-4)
    np.testing.assert_allclose(vectors_again, vectors[order], atol=1e-4)
    alone = np.concatenate([encoder.run([text])[0] for text in texts])
    np.testing.assert_allclose(alone, logits, atol=1e-4)
    assert not np.allclose(logits[0], logits[2], atol=0.1)


def test_batch_size_and_threads_do_not_matter(encoder: Encoder) -> None:
    texts = [f"{text} {at}" for at in range(6) for text in (*ASKS.values(), *NEWS.values())]
    one = Encoder(threads=1, batch_size=1).run(texts)[0]
    np.testing.assert_allclose(one, encoder.run(texts)[0], atol=1e-4)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Encoder], list[int]]:
    """Makes an encoder note the sizes of its batches."""

    def watch(encoder: Encoder) -> list[int]:
        model, sizes = encoder.model, list[int]()

        def run(outputs: Sequence[str], ids: Ids, mask: Ids) -> list[Floats]:
            sizes.append(len(ids))
            return model.run(outputs, ids, mask)

        monkeypatch.setattr(encoder, "model", replace(model, run=run))
        return sizes

    return watch


def test_identical_texts_are_computed_once(
    encoder: Encoder, counted: Callable[[Encoder], list[int]]
) -> None:
    sizes = counted(encoder)
    logits, _ = encoder.run([ASKS["en"], NEWS["en"], ASKS["en"], ASKS["en"]])
    assert sum(sizes) == 2
    assert (logits[0] == logits[2]).all()
    assert (logits[0] != logits[1]).any()


def test_copies_in_later_calls_are_not_computed_again(
    counted: Callable[[Encoder], list[int]],
) -> None:
    encoder = SharedEncoder(threads=1)
    sizes = counted(encoder)
    texts = [f"{ASKS['en']} https://shop.example/a", NEWS["es"], ASKS["es"]]
    logits, vectors = encoder.run(texts)
    assert sum(sizes) == 3
    copy = f"{ASKS['en']} https://shop.example/another"
    again, vectors_again = encoder.run([OWNS["en"], copy, texts[1], copy])
    assert sum(sizes) == 4
    assert (again[1:] == logits[[0, 1, 0]]).all()
    assert (vectors_again[1:] == vectors[[0, 1, 0]]).all()
    again[:] = 0
    assert (encoder.run([copy])[0] == logits[0]).all()
    assert sum(sizes) == 4


def test_texts_with_spans_are_read_again_and_then_known(
    counted: Callable[[Encoder], list[int]],
) -> None:
    encoder = SharedEncoder(threads=1)
    sizes = counted(encoder)
    text = "My Acme kettle broke after two weeks"
    plain, _ = encoder.run([text])
    logits, _, toward = encoder.run_targets([text, NEWS["en"]], [[(3, 7)], []])
    assert sum(sizes) == 3
    np.testing.assert_allclose(logits[0], plain[0], atol=1e-4)
    assert [one.shape for one in toward] == [(1, 3), (0, 3)]
    wanted = Encoder().run_targets([text], [[(3, 7)]])[2]
    np.testing.assert_allclose(toward[0], wanted[0], atol=1e-4)
    encoder.run([NEWS["en"], text])
    assert sum(sizes) == 3


def test_what_is_remembered_is_bounded(
    counted: Callable[[Encoder], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaced, "REMEMBERED", 3)
    encoder = SharedEncoder(threads=1)
    sizes = counted(encoder)
    encoder.run(["a", "b", "c", "d"])
    encoder.run(["a", "b", "c", "d"])  # one call is always remembered whole
    assert sum(sizes) == 4
    encoder.run(["a", "e"])
    encoder.run(["a", "d", "e"])
    assert sum(sizes) == 5
    encoder.run(["b"])
    assert sum(sizes) == 6


def test_slices_change_neither_texts_nor_figures(encoder: Encoder) -> None:
    texts = [prepare(f"{text} {at}" * (1 + at % 4)) for at in range(25) for text in NEWS.values()]
    small = Encoder(threads=2, batch_size=1)
    batches = list(small.batches(texts, {7}))
    assert sorted(at for batch in batches for at in batch) == list(range(len(texts)))
    whole = {at: one for batch in encoder.batches(texts, {7}) for at, one in batch.items()}
    assert {at: one for batch in batches for at, one in batch.items()} == whole
    assert [at for at, one in whole.items() if one.spans] == [7]
    assert list(encoder.batches([])) == []


def test_shorten_keeps_head_and_tail() -> None:
    assert shorten([1, 2, 3], 3, 2) == [1, 2, 3]
    assert shorten(list(range(10)), 6, 4) == [0, 1, 2, 3, 8, 9]


def test_a_question_at_the_end_of_a_long_post_is_read(tagger: FunnelTagger) -> None:
    story = "We moved to the new house in May and the garden is lovely this time of the year. " * 60
    plain, asking = tagger.probabilities([story, f"{story} {ASKS['en']}"], ["en", "en"])
    assert asking["early"]["1"] > plain["early"]["1"] + 0.2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("look https://www.Shop.example/a?b=c now", "look shop.example now"),
        ("so good https://t.co/abc", "so good http"),
        ("salt &amp; pepper &lt;3", "salt & pepper <3"),
        ("  hi ", "hi"),
        ("\ud83d\ude00 ok", "😀 ok"),
        ("a\ud83db", "a\ufffdb"),
        ("caf\u00e9 ¿qué tal?", "caf\u00e9 ¿qué tal?"),
    ],
)
def test_prepare(text: str, expected: str) -> None:
    assert prepare(text) == expected


def test_prepare_keeps_both_ends_of_a_long_text() -> None:
    text = prepare("start " + "x" * 1_000_000 + " end")
    assert len(text) < 4_000
    assert text.startswith("start ")
    assert text.endswith(" end")


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=200))
def test_prepared_text_is_valid_unicode(text: str) -> None:
    assert prepare(text).encode().decode() == prepare(text)


@given(
    texts=st.lists(
        st.text(st.characters(codec=None, exclude_categories=()), max_size=60), max_size=3
    )
)
@settings(max_examples=25, deadline=None)
def test_any_text_gets_tags(texts: list[str]) -> None:
    rows = _SHARED.tag(texts, ["und"] * len(texts))
    assert len(rows) == len(texts)
    for text, tags in zip(texts, rows, strict=True):
        if share_read(text) >= WHOLLY:
            assert [tag.kind for tag in tags[:5]] == ["stage", "sentiment", *BINARY_HEADS]
        assert all(0 <= tag.score <= 1 for tag in tags)


_SHARED = FunnelTagger(Encoder())


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts(tagger: FunnelTagger, name: str) -> None:
    (tags,) = tagger.tag([HOSTILE[name]], ["und"])
    assert all(0 <= tag.score <= 1 for tag in tags)
    assert all(tag.start is None and tag.end is None for tag in tags)


@pytest.mark.parametrize("name", ["empty", "spaces", "emoji", "digits", "nul"])
def test_a_text_without_a_letter_is_no_customer(tagger: FunnelTagger, name: str) -> None:
    for lang in ("en", "es", "und"):
        (row,) = tagger.probabilities([HOSTILE[name]], [lang])
        assert max(row["stage"], key=row["stage"].__getitem__) == "none"
        assert row["early"]["1"] < 0.1


def test_is_a_tagger(tagger: FunnelTagger) -> None:
    assert isinstance(tagger, Tagger)
    assert tagger.name == "funnel"


def test_probabilities_of_every_head(tagger: FunnelTagger) -> None:
    rows = tagger.probabilities(
        [ASKS["en"], ASKS["es"], "Qual celular comprar?"], ["en", "es", "pt"]
    )
    for row in rows:
        assert {head: tuple(labels) for head, labels in row.items()} == HEADS
        assert sum(row["stage"].values()) == pytest.approx(1, abs=1e-4)
        assert sum(row["sentiment"].values()) == pytest.approx(1, abs=1e-4)
    assert tagger.probabilities([], []) == []
    assert tagger.tag([], []) == []


@pytest.mark.parametrize("lang", ["en", "es"])
def test_plain_posts(tagger: FunnelTagger, lang: str) -> None:
    asks, owns, news = tagger.probabilities([ASKS[lang], OWNS[lang], NEWS[lang]], [lang] * 3)
    threshold = tagger.thresholds[lang]
    assert asks["early"]["1"] > threshold > news["early"]["1"]
    # Who wants the money back may soon choose again: less open than a question, yet not closed.
    assert asks["early"]["1"] - owns["early"]["1"] > 0.3
    stages = [max(one["stage"], key=one["stage"].__getitem__) for one in (asks, news)]
    assert stages == ["consideration", "none"]
    assert max(owns["sentiment"], key=owns["sentiment"].__getitem__) == "neg"
    assert asks["intent"]["1"] > 0.5 > news["intent"]["1"]


def test_tags(tagger: FunnelTagger) -> None:
    asks, owns = tagger.tag([ASKS["en"], OWNS["en"]], ["en", "en"])
    assert [tag.kind for tag in asks[:5]] == ["stage", "sentiment", *BINARY_HEADS]
    assert asks[0].label in STAGES
    assert asks[1].label in SENTIMENTS
    assert {tag.label for tag in asks[2:5]} == {"1"}
    signals = {tag.label for tag in asks if tag.kind == "signal"}
    assert "recommendation_request" in signals
    assert signals <= set(SIGNALS)
    assert "complaint" in {tag.label for tag in owns if tag.kind == "signal"}
    for tag in asks[5:]:
        assert tag.score >= tagger.threshold("signal", "en", tag.label)


def test_language_chooses_the_calibration(tagger: FunnelTagger) -> None:
    texts = [ASKS["en"]] * 4
    english, spanish, french, unknown = tagger.probabilities(texts, ["en", "es", "fr", "und"])
    assert english["early"] != spanish["early"]
    assert french == unknown


def test_languages_and_texts_must_pair(tagger: FunnelTagger) -> None:
    with pytest.raises(ValueError, match=r"broadcast|shorter|longer"):
        tagger.tag(["one", "two"], ["en", "es", "es"])


def test_thresholds(tagger: FunnelTagger) -> None:
    assert set(tagger.thresholds) == {"en", "es", POOLED}
    assert all(0 < one < 1 for one in tagger.thresholds.values())
    assert tagger.threshold("promo", "pt", "1") == tagger.threshold("promo", "fr", "1")


def test_heads_file_agrees_with_the_labels() -> None:
    data = json.loads((MODEL_FOLDER / "heads.json").read_text("utf-8"))
    for head, labels in HEADS.items():
        part = columns(head)
        assert data["heads"][head] == {
            "columns": [part.start, part.stop],
            "labels": list(labels),
        }
    assert parse_heads(data).version in (MODEL_FOLDER / "README.md").read_text("utf-8")
    with pytest.raises(KeyError):
        columns("mood")


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json", "heads.json"])
def test_a_missing_file_is_named_with_the_fix(tmp_path: Path, missing: str) -> None:
    for name in {"model.onnx", "tokenizer.json", "heads.json"} - {missing}:
        (tmp_path / name).symlink_to(MODEL_FOLDER / name)
    with pytest.raises(ModelMissing, match=rf"{missing}.*reinstall"):
        Encoder(tmp_path).run(["x"])


@pytest.mark.parametrize("damaged", ["model.onnx", "tokenizer.json", "heads.json"])
def test_a_damaged_file_is_named_with_the_fix(tmp_path: Path, damaged: str) -> None:
    for name in {"model.onnx", "tokenizer.json", "heads.json"} - {damaged}:
        (tmp_path / name).symlink_to(MODEL_FOLDER / name)
    (tmp_path / damaged).write_bytes(b'{"half": ')
    with pytest.raises(ModelMissing, match=rf"{damaged} cannot be loaded.*reinstall"):
        Encoder(tmp_path).run(["x"])


def test_a_model_of_another_generation_is_refused(tmp_path: Path) -> None:
    data = json.loads((MODEL_FOLDER / "heads.json").read_text("utf-8"))
    (tmp_path / "heads.json").write_text(json.dumps(data | {"version": "2.0123456789"}), "utf-8")
    with pytest.raises(ModelMissing, match=r"2\.0123456789.*another version.*make model"):
        read_heads(tmp_path / "heads.json")


def test_version_is_that_of_the_files(tmp_path: Path) -> None:
    data = json.loads((MODEL_FOLDER / "heads.json").read_text("utf-8"))
    (tmp_path / "heads.json").write_text(json.dumps(data | {"version": "3.other"}), "utf-8")
    assert FunnelTagger(Encoder(tmp_path)).version == "3.other"
    assert FunnelTagger(Encoder()).version == data["version"] != "3.other"
