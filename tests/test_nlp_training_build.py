"""From files to a model folder: the gates, the record, the card, and all steps on a tiny scale."""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_rows import DATA_FILES, PIECES, write_data

from nlp import evaluation
from nlp.base import LANGUAGES, SENTIMENTS, SIGNALS, STAGES
from nlp.encoder import MODEL_FOLDER, WIDTH, Encoder, columns, parse_heads
from nlp.training import card, record
from nlp.training.calibrate import calibrated
from nlp.training.convert import Package
from nlp.training.data import read_labels
from nlp.training.diagram import DIAGRAM
from nlp.training.files import CARD, HEADS, MODEL, TOKENIZER
from nlp.training.gates import FIGURES, Gate, gates, line

PHASE = {"epochs": 2, "seed": 1}
EPOCHS = [{"epoch": 1, "score": 0.5}, {"epoch": 2, "score": 0.625}]


def figures(
    lost: dict[tuple[str, str], float], ece: dict[str, float]
) -> tuple[Any, list[tuple[str, str, float, float]]]:
    """A report and the figures of 8 and 32 bits, where 8 bits lose so many points."""
    int8 = [
        (name, lang, 0.9 - lost.get((name, lang), 0.0) / 100, 0.9)
        for name in (*FIGURES, "promo average precision")
        for lang in LANGUAGES
    ]
    return {"early": {lang: {"ece": ece.get(lang, 0.0)} for lang in LANGUAGES}}, int8


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_figure_that_loses_too_much_misses_its_gate(name: str, lang: str) -> None:
    assert all(one.met for one in gates(*figures({(name, lang): 0.5}, {})))
    assert all(one.met for one in gates(*figures({(name, lang): -3.0}, {})))
    (missed,) = [one for one in gates(*figures({(name, lang): 0.51}, {})) if not one.met]
    assert str(missed) == f"points of {name} lost to 8 bits, {lang}: 0.51, at most 0.5"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_probabilities_of_early_too_far_from_shares_miss_the_gate(lang: str) -> None:
    assert all(one.met for one in gates(*figures({}, dict.fromkeys(LANGUAGES, 0.04))))
    (missed,) = [one for one in gates(*figures({}, {lang: 0.0412})) if not one.met]
    assert str(missed) == f"ECE of early, {lang}: 0.041, at most 0.04"


def test_rare_heads_have_no_gate() -> None:
    rare = {("promo average precision", lang): 9.0 for lang in LANGUAGES}
    found = gates(*figures(rare, {}))
    assert all(one.met for one in found)
    assert len(found) == len(LANGUAGES) * (len(FIGURES) + 1)


def test_the_line_of_the_card_tells_every_gate_and_first_what_was_missed() -> None:
    found = [Gate("points lost", "en", 0.25, 0.5), Gate("ECE of early", "es", 0.05, 0.04)]
    assert line(found) == (
        "Gates: **missed**: ECE of early, es: 0.05, at most 0.04; "
        "met: points lost, en: 0.25, at most 0.5."
    )
    assert "missed" not in line(found[:1])


def write_work(folder: Path) -> None:
    """What a finished training leaves in its work folder, as far as it is recorded."""
    for phase, epochs in (
        ("taught", EPOCHS[:1]),
        ("run", EPOCHS),
        ("last", EPOCHS),
        ("aimed", EPOCHS[:1]),
    ):
        (folder / phase).mkdir(parents=True)
        (folder / phase / "config.json").write_text(json.dumps(PHASE | {"epochs": len(epochs)}))
        (folder / phase / "log.jsonl").write_text("".join(json.dumps(one) + "\n" for one in epochs))
    (folder / "before").mkdir()
    (folder / "before" / HEADS).write_text(json.dumps({"version": "2.teacher"}))


def test_the_record_tells_each_phase_the_teacher_and_the_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "version", dict.fromkeys(record.PACKAGES, "1.2").__getitem__)
    write_work(tmp_path)
    record.write_record(tmp_path, tmp_path)
    assert json.loads((tmp_path / "training.json").read_text("utf-8")) == {
        "teacher": "2.teacher",
        "packages": {"torch": "1.2", "transformers": "1.2", "tokenizers": "1.2", "onnx": "1.2"},
        "phases": {
            "taught": {"config": PHASE | {"epochs": 1}, "log": EPOCHS[:1]},
            "run": {"config": PHASE, "log": EPOCHS},
            "last": {"config": PHASE, "log": EPOCHS},
            "aimed": {"config": PHASE | {"epochs": 1}, "log": EPOCHS[:1]},
        },
    }


def test_the_record_of_an_unfinished_training_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "version", str)
    write_work(tmp_path)
    (tmp_path / "run" / "log.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match=r"log\.jsonl"):
        record.record(tmp_path)


def labelled(count: int, name: str) -> list[dict[str, Any]]:
    """Posts in both languages with every stage, sentiment and signal."""
    return [
        {
            "id": f"{name}{at}",
            "text": f"{'casa' if at % 2 else 'house'} {name} {at}",
            "lang": LANGUAGES[at % 2],
            "source": f"reddit_top_2013/{'tea' if at % 3 else 'cars'}",
            "stage": STAGES[at // 2 % 5],
            "intent": int(at // 2 % 5 in {2, 3}),
            "early": int(at // 2 % 5 == 2),
            "promo": int(at % 7 == 0),
            "signals": [SIGNALS[at // 2 % len(SIGNALS)]],
            "sentiment": SENTIMENTS[at // 2 % 3],
        }
        for at in range(count)
    ]


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    return path


def sections(text: str) -> list[str]:
    return [one.lstrip("# ") for one in text.splitlines() if re.match(r"#{1,3} ", one)]


def assert_is_a_card(text: str) -> None:
    """Every section, whole tables, and nothing of a template left."""
    assert sections(text)[1:] == [
        "How it was made", "Data", "Figures on dev.jsonl", "Stages and signals (F1, rows)",
        "Weakest slices of `early`", "Sentiment toward a target", "Reliability",
        "8 bits against 32", "Speed", "Limits",
    ]  # fmt: skip
    assert not set("{}") & set(text)
    lines = text.splitlines()
    heads = [at for at, one in enumerate(lines) if re.fullmatch(r"\|(-+:?\|)+", one)]
    assert len(heads) == 8
    for at in heads:
        assert lines[at - 2] == "", "a table follows an empty line"
        end = next(end for end in range(at, len(lines) + 1) if not "".join(lines[end : end + 1]))
        assert end > at + 1, f"no row under {lines[at - 1]}"
        assert {one.count("|") for one in lines[at - 1 : end]} == {lines[at].count("|")}
    for at, one in enumerate(lines):
        if one.startswith("#") and at:
            assert (lines[at - 1], lines[at + 1]) == ("", ""), f"no empty line around {one}"


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run could have found out."""
    dev = write_lines(tmp_path_factory.mktemp("facts") / "dev.jsonl", labelled(120, "dev"))
    rows = read_labels(dev)
    logits = np.random.default_rng(1).normal(size=(len(rows), WIDTH)).astype(np.float32)
    flags = slice(columns("intent").start, columns("signal").stop)
    logits[:, flags] += 4 * np.array([one.flags for one in rows])
    heads = parse_heads({"version": "2.made", **calibrated(rows, logits)})
    found = heads.probabilities(logits, [one.lang for one in rows])
    report = evaluation.evaluate(evaluation.read_labels(dev).rows, card.Known(found, heads))
    int8 = card.compare(rows, logits, logits + np.float32(0.01))
    return {
        "version": "2.made", "report": report, "int8": int8, "gates": gates(report, int8),
        "speed": {"posts": 40, "posts_a_second": 51.6, "peak_mb": 300.2},
        "cross_fitted": card.cross_fitted_f1(rows, found, [heads] * len(rows)),
        "reliability": card.reliability(rows, found),
        "targets": [("en", 4, 0.5, 0.25), ("es", 6, 0.625, 0.375)],
        "kept": "13", "raw": "5 of 7", "settings": "  The settings.", "learn": "60", "own": "8",
        "unfound": 2, "written": "9", "sentiment_drawn": "3", "tones": "4", "aimed": "11",
        "held": 12, "held_own": 14, "sentiment_held": 15, "dev": 40, "overlap": 0,
    }  # fmt: skip


def test_the_card_has_every_section_and_figure(tmp_path: Path, facts: dict[str, Any]) -> None:
    (tmp_path / MODEL).write_bytes(b"0" * 2_340_000)
    (tmp_path / TOKENIZER).write_bytes(b"0" * 1_160_000)
    card.write(tmp_path, facts)
    text = (tmp_path / CARD).read_text("utf-8")
    assert_is_a_card(text)
    assert text.startswith("# Model card: funnel encoder 2.made\n")
    assert "(2.3 MB)" in text
    assert "(1.2 MB)" in text
    assert "  The settings.\n" in text
    assert "52 posts/s" in text
    assert "| es | 6 | 0.625 | 0.375 |" in text
    assert "`training.json`" in text
    assert f"\n\n{line(facts['gates'])}\n" in text
    early = facts["report"]["early"]["es"]
    assert f"| early | es | 60 | {early['positives']} | {early['precision']:.3f} " in text


@pytest.mark.parametrize("name", ["overlap", "gates", "speed", "settings", "targets", "raw"])
def test_a_card_without_a_fact_fails(tmp_path: Path, facts: dict[str, Any], name: str) -> None:
    for file in (MODEL, TOKENIZER):
        (tmp_path / file).write_bytes(b"")
    with pytest.raises(KeyError, match=name):
        card.write(tmp_path, {key: value for key, value in facts.items() if key != name})


def test_speed_is_measured_in_a_process_of_its_own() -> None:
    found = card.speed(MODEL_FOLDER, ["¿cuál compro?", "nice phone"])
    assert found["posts"] == 2
    assert found["posts_a_second"] > 0
    assert found["peak_mb"] > 40


def tiny_package() -> Package:
    """One layer with weights at random."""
    rng = np.random.default_rng(1)
    hidden, inner = 384, 16
    shapes = {"emb.word": (len(PIECES), hidden), "emb.pos": (192, hidden), "emb.type": (2, hidden)}
    shapes |= {f"l0.{part}.w": (hidden, hidden) for part in ("q", "k", "v", "ao")}
    shapes |= {"l0.fi.w": (inner, hidden), "l0.fo.w": (hidden, inner)}
    tensors = {name: rng.normal(0, 0.05, shape).ravel() for name, shape in shapes.items()}
    tensors |= {f"l0.{part}.b": np.zeros(hidden) for part in ("q", "k", "v", "ao", "fo")}
    tensors["l0.fi.b"] = np.zeros(inner)
    for norm in ("emb.ln", "l0.aln", "l0.oln"):
        tensors |= {f"{norm}.w": np.ones(hidden), f"{norm}.b": np.zeros(hidden)}
    return Package(
        hidden=hidden, layers=1, heads=2, inner=inner, positions=192, types=2, eps=1e-12,
        pieces=PIECES, tensors={name: one.astype(np.float32) for name, one in tensors.items()},
    )  # fmt: skip


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Folders `labels` and `data` with little in them; what the package holds is small, too."""
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    pytest.importorskip("onnx", reason="the extra `train` is not installed")
    from nlp.training import build, vocabulary
    from nlp.training import labelled as learned

    labels, data = tmp_path / "labels", tmp_path / "data"
    labels.mkdir()
    for name, count in (("train", 60), ("dev", 120), ("written", 10)):
        write_lines(labels / f"{name}.jsonl", labelled(count, name))
    tones = [
        {"text": f"casa a {at}", "lang": LANGUAGES[at % 2], "source": "s", "sentiment": tone,
         "split": "dev" if at % 5 == 0 else "train"}
        for at, tone in enumerate(SENTIMENTS * 8)
    ]  # fmt: skip
    posts = [{"text": f"house a {at}", "lang": "es", "source": "es_youtube"} for at in range(12)]
    write_data(data, dict(zip(DATA_FILES, (posts, tones), strict=False)))
    aimed = [
        {"text": f"casa {at}", "lang": LANGUAGES[at % 2], "group": f"t{at}",
         "targets": [{"start": 0, "end": 4, "sentiment": SENTIMENTS[at % 3]}]}
        for at in range(60)
    ]  # fmt: skip
    own = {
        "SHORT": write_lines(tmp_path / "short.jsonl", labelled(6, "short")),
        "TARGETS": write_lines(tmp_path / "targets.jsonl", aimed),
        "SLOTS": tmp_path / "slots.tsv",
        "NAMES": tmp_path / "names.tsv",
    }
    own["SLOTS"].write_text("es\tcafé\t+-\t{A} sí, {B} no\n", "utf-8")
    own["NAMES"].write_text("es\tcafé\tAroma|Brío|Copa\n", "utf-8")
    for name, path in own.items():
        monkeypatch.setattr(build, name, path)
    monkeypatch.setattr(learned, "SHORT", own["SHORT"])
    monkeypatch.setattr(vocabulary, "WORDS", {})
    monkeypatch.setattr(build, "read_pinned", Path.read_bytes)
    monkeypatch.setattr(build, "parse", lambda _: tiny_package())
    return labels, data


def test_no_held_out_text_is_learned_from(folders: tuple[Path, Path]) -> None:
    from nlp.training.build import SLOT_COPIES, read_material

    labels, data = folders
    with gzip.open(data / "sentiment/sentiment.jsonl.gz", "at", encoding="utf-8") as out:
        for text in ("CASA dev 1!", "casa a 0 @someone"):
            line = {"text": text, "lang": "es", "source": "s", "sentiment": "pos"}
            out.write("\n" + json.dumps(line | {"split": "train"}))
    found = read_material(labels, data)
    learned = {one.text for one in (*found.learn, *found.tones, *found.raw)}
    assert "casa dev 1" in {one.text for one in found.dev}
    assert not learned & {"CASA dev 1!"}
    assert not learned & {one.text for one in found.choosing + found.calibrating + found.dev}
    assert len(found.labelled) + len(found.held) == 60
    assert len(found.held) > 2
    assert len(found.written) == 16
    assert len(found.aimed) + len(found.held_aimed) == 60 + SLOT_COPIES
    assert (found.own, len(found.held_own)) == (0, 0)
    assert found.unfound > 6_000
    assert len(found.held_tones) == 5


def test_all_steps_make_a_model_that_tags(
    folders: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from nlp.training.build import build
    from nlp.training.train import Config

    wheel, work, out = tmp_path / "wheel", tmp_path / "work", tmp_path / "out"
    wheel.write_bytes(b"")
    config = Config(epochs=2, batch=16, silent_rows=4)
    with caplog.at_level(logging.WARNING, "nlp.training.build"):
        facts = build(wheel, *folders, work, out, config)
    made = {one.name: one.read_bytes() for one in out.iterdir()}
    assert set(made) == {MODEL, TOKENIZER, HEADS, CARD, record.RECORD, DIAGRAM}
    text = made[CARD].decode()
    assert_is_a_card(text)
    assert f"funnel encoder {facts['version']}\n" in text
    missed = [str(one) for one in facts["gates"] if not one.met]
    assert [one.getMessage() for one in caplog.records] == [f"gate missed: {one}" for one in missed]
    assert text.count("**missed**") == len(missed)
    phases = json.loads(made[record.RECORD])["phases"]
    assert [one["epoch"] for one in phases["run"]["log"]] == [1, 2]
    assert [one["epoch"] for one in phases["taught"]["log"]] == [1]
    assert [phases[one]["config"]["teacher_weight"] for one in record.PHASES] == [1, 0, 1, 0]
    assert json.loads(made[record.RECORD])["teacher"] == Encoder().heads.version
    logits, vectors = Encoder(out).run(["casa", "house a"])
    assert np.isfinite(logits).all()
    assert not np.allclose(logits[0], logits[1])
    meanings = Encoder(out).meanings(["casa", "house a", "casa"])
    assert np.array_equal(meanings[0], meanings[2])
    assert not np.allclose(meanings[0], meanings[1])
    assert not np.allclose(meanings[0], vectors[0])

    states = {one: one.stat().st_mtime_ns for one in work.glob("*/*.pt")}
    assert build(wheel, *folders, work, out, config)["version"] == facts["version"]
    assert states == {one: one.stat().st_mtime_ns for one in work.glob("*/*.pt")}
    assert (out / record.RECORD).read_bytes() == made[record.RECORD]
