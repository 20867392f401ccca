"""Rows to learn from: labelled, written, without labels, and their variations."""

from __future__ import annotations

import gzip
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from training_rows import DATA_FILES, row, write_data

from nlp.base import SENTIMENTS, SIGNALS, STAGES
from nlp.encoder import WIDTH, parse_heads
from nlp.training.data import (
    NO_LABEL,
    balanced,
    read_labels,
    read_sentiment,
    read_slots,
    read_targets,
    silent,
    split,
    typos,
    vary,
    without,
    without_accents,
)
from nlp.training.files import (
    heads_body,
    plain_calibration,
)
from nlp.training.own import LABELS, SHORT, TARGETS, TONES, read_own, read_tones
from nlp.training.posts import post_id
from nlp.training.raw import mean_taught, read_raw, teach, telling


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


@pytest.mark.parametrize(
    ("tones", "whole"),
    [(["neg", "neg"], 0), (["pos"], 2), (["neg", "pos"], NO_LABEL), (["neu"], NO_LABEL)],
)
def test_a_text_has_the_sentiment_that_all_its_targets_have(
    tmp_path: Path, tones: list[str], whole: int
) -> None:
    text = "Movistar, Digi"
    places = [(0, 8), (10, 14)]
    targets = [
        {"start": start, "end": end, "sentiment": tone}
        for (start, end), tone in zip(places, tones, strict=False)
    ]
    path = tmp_path / "targets.jsonl"
    raw = {"text": text, "lang": "es", "group": "t1", "targets": targets}
    path.write_text(json.dumps(raw) + "\n", "utf-8")
    assert [one.sentiment for one in read_targets(path)] == [whole]


def test_rows_with_targets_keep_their_length() -> None:
    rng = random.Random(3)
    one = row(1, text="DEJÉ Movistar ¿por Digi? İ", targets=((5, 13, 0),))
    changed = {vary(one, rng).text for _ in range(80)}
    assert all(len(text) == len(one.text) for text in changed)
    plain = row(1, text="DEJÉ Movistar", targets=((5, 13, 0),))
    assert {vary(plain, rng).text for _ in range(80)} == {"DEJÉ Movistar", "dejé movistar"}


def test_slots_are_filled_with_names_of_their_sector(tmp_path: Path) -> None:
    (tmp_path / "slots.tsv").write_text("es\tcafé\t-+\t{B} sí, {A} no. ¡{B}!\n", "utf-8")
    (tmp_path / "names.tsv").write_text("es\tcafé\tAroma|Brío|Copa\nen\tcafé\tDrip\n", "utf-8")
    rows = read_slots(tmp_path / "slots.tsv", tmp_path / "names.tsv", 4)
    assert len({one.text for one in rows}) > 1
    for one in rows:
        found = [(one.text[start:end], SENTIMENTS[tone]) for start, end, tone in one.targets]
        first, second, third = found
        assert one.text == f"{first[0]} sí, {second[0]} no. ¡{third[0]}!"
        assert {first[0], second[0]} < {"Aroma", "Brío", "Copa"}
        assert first == third
        assert (first[1], second[1]) == ("pos", "neg")


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


def test_split_is_by_id_and_stays_when_rows_are_added() -> None:
    rows = [row(at) for at in range(600)]
    learn, held = split(rows, 0.1)
    assert 40 < len(held) < 80
    assert sum(one.lang == "es" for one in held) > 10
    assert {one.id for one in learn} | {one.id for one in held} == {one.id for one in rows}
    assert not {one.id for one in learn} & {one.id for one in held}
    assert split(rows[::-1], 0.1)[1] == held
    assert set(split(rows[:300], 0.1)[1]) <= set(held)


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


def test_unlabelled_posts_leave_out_what_is_known_or_held_out(tmp_path: Path) -> None:
    spanish = [
        {"text": text, "lang": "es", "source": "es_youtube"}
        for text in ("¿cuál compro?", "@ana ¿Cuál compro?", "ya lo pedí", "hola", "...")
    ]
    semeval = "semeval2017_A_2013-2016"
    tones = [
        {"text": "nice", "lang": "en", "source": semeval, "split": "train", "sentiment": "pos"},
        {"text": "sad", "lang": "en", "source": semeval, "split": "dev", "sentiment": "neg"},
    ]
    reddit = [{"subreddit": one, "title": f"{one} one", "selftext": ""} for one in ("tea", "cars")]
    stories = [{"title": "Ask HN: phone?", "text": "Any&#x27;s <i>fine</i><p>thanks"}]
    files = dict(zip(DATA_FILES, (spanish, tones, reddit, stories), strict=True))
    write_data(tmp_path, files)
    rows = read_raw(tmp_path, ["Hola!"], frozenset({"cars"}))
    texts = {one.text for one in rows}
    assert "ya lo pedí" in texts
    assert len({"¿cuál compro?", "@ana ¿Cuál compro?"} & texts) == 1
    assert texts >= {"nice", "tea one", "Ask HN: phone?\nAny's fine\nthanks"}
    assert len(rows) == 5
    assert {one.text: one.sentiment for one in rows}["nice"] == SENTIMENTS.index("pos")
    assert rows == read_raw(tmp_path, ["Hola!"], frozenset({"cars"}))


class Teacher:
    """An encoder whose logits tell a text's length and whether it asks."""

    heads = parse_heads({"version": "t1", **heads_body(plain_calibration(), {})})

    def __init__(self) -> None:
        self.read: list[str] = []

    def run(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        self.read += texts
        logits = np.zeros((len(texts), WIDTH), np.float32)
        logits[:, 0] = [-9.0 if "?" in text else 9.0 for text in texts]
        logits[:, -1] = [len(text) for text in texts]
        return logits, np.zeros((len(texts), 1), np.float32)


def test_taught_rows_keep_their_teacher_and_are_read_once(tmp_path: Path) -> None:
    rows = [row(at, text="x" * at + "?" * (at % 4 == 0)) for at in range(1, 41)]
    teacher = Teacher()
    taught = teach(rows, teacher, tmp_path)
    assert [one.teacher[-1] for one in taught] == [len(one.text) for one in rows]
    assert teach(rows, teacher, tmp_path) == taught
    assert len(teacher.read) == len(rows)
    asking = [one for one in taught if "?" in one.text]
    some = telling(taught, 12, random.Random(1))
    assert len(some) == 12
    assert {one.id for one in some} >= {one.id for one in asking}
    assert {one.id for one in telling(taught, 5, random.Random(1))} <= {one.id for one in asking}


def test_two_teachers_teach_their_mean() -> None:
    one, other = row(1, teacher=(1.0,) * WIDTH), row(1, teacher=(0.0, 3.0) * (WIDTH // 2))
    (found,) = mean_taught([one], [other])
    assert found == row(1, teacher=(0.5, 2.0) * (WIDTH // 2))


def test_own_labels_find_their_texts_again(tmp_path: Path) -> None:
    long = "x" * 800
    files = {
        "raw/es/posts.jsonl.gz": [{"text": "¿cuál compro?", "lang": "es", "source": "foro"}],
        "sentiment/sentiment.jsonl.gz": [{"text": "nice", "lang": "en", "source": "s"}],
        "raw/reddit/posts.jsonl.gz": [{"subreddit": "tea", "title": "Kettle", "selftext": long}],
    }
    write_data(tmp_path, files)
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
    assert len(seen) == len(lines) == 20_716
    tones = [line.split("\t") for line in TONES.read_text("utf-8").splitlines()]
    assert len({given for given, _ in tones}) == len(tones) == 5100
    assert {tone for _, tone in tones} == set(SENTIMENTS)
