import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nlp
from nlp.base import BINARY_HEADS, SENTIMENTS, SIGNALS, STAGES
from nlp.baselines import BadBaseline, RegexBaseline, TfidfBaseline, main
from nlp.evaluation import Row, evaluate, read_labels
from nlp.training import labelled
from nlp.training.data import read_labels as read_training
from nlp.training.data import split
from nlp.training.own import SHORT, read_own
from nlp.training.posts import FILES, post_id

SHARED = Path(__file__).parents[2] / "shared"
SHIPPED = Path(nlp.__file__).parent / "models" / "baseline.npz"
THINGS = ("a kettle", "a bike", "a tent", "a phone", "a sofa", "una tele", "una bici", "un sofá")


def labelled_rows() -> list[Row]:
    rows = []
    for thing in THINGS:
        lang = "es" if thing.startswith(("un ", "una ")) else "en"
        ask = "¿alguien me recomienda {}?" if lang == "es" else "can anyone recommend {}?"
        own = "ayer se rompió {}, qué asco" if lang == "es" else "{} broke yesterday, awful"
        ad = "oferta: {} al 50 %, enlace" if lang == "es" else "sale: {} at 50 % off, link"
        rows += [
            Row(
                text=ask.format(thing), lang=lang, stage="consideration", intent=True, early=True,
                promo=False, sentiment="neu", signals=("recommendation_request",),
            ),
            Row(
                text=own.format(thing), lang=lang, stage="post_purchase", intent=False, early=False,
                promo=False, sentiment="neg", signals=("complaint",),
            ),
            Row(
                text=ad.format(thing), lang=lang, stage="none", intent=False, early=False,
                promo=True, sentiment="pos", signals=(),
            ),
        ]  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def fitted() -> TfidfBaseline:
    return TfidfBaseline.fit(labelled_rows() * 4)


@pytest.mark.parametrize(
    ("text", "lang", "early", "stage"),
    [
        ("Can anyone recommend a quiet kettle?", "en", 1.0, "consideration"),
        ("Which is better, Luma vs Moka", "en", 1.0, "consideration"),
        ("Is the Luma worth the money?", "en", 1.0, "consideration"),
        ("ordered the Luma, arriving tomorrow", "en", 0.0, "decision"),
        ("I bought it and mine broke", "en", 0.0, "post_purchase"),
        ("nice weather today", "en", 0.0, "none"),
        ("¿Alguien me recomienda un hervidor?", "es", 1.0, "consideration"),
        ("¿Merece la pena la Luma?", "es", 1.0, "consideration"),
        ("busco una cafetera barata", "es", 1.0, "consideration"),
        ("me la compro mañana, voy a pedirla ya", "es", 0.0, "decision"),
        ("llevo un año con ella", "es", 0.0, "post_purchase"),
        ("qué buen día hace", "es", 0.0, "none"),
    ],
)
def test_word_lists(text: str, lang: str, early: float, stage: str) -> None:
    (given,) = RegexBaseline().probabilities([text], [lang])
    assert given["early"] == {"1": early}
    assert [label for label, value in given["stage"].items() if value] == [stage]
    assert given["intent"]["1"] == float(stage in {"consideration", "decision"})


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("love it, best coffee 😍", "pos"),
        ("worst shop, I hate it", "neg"),
        ("me encanta, es buenísima y linda", "pos"),
        ("pésima atención, una estafa", "neg"),
        ("la caja es azul", "neu"),
        ("good box, awful coffee", "neu"),
    ],
)
def test_sentiment_words(text: str, label: str) -> None:
    (given,) = RegexBaseline().probabilities([text], ["und"])
    assert [one for one, value in given["sentiment"].items() if value] == [label]


def test_tfidf_learns_every_head(fitted: TfidfBaseline) -> None:
    texts = ["can anyone recommend a lamp?", "¿alguien me recomienda una lámpara?"]
    texts += ["a lamp broke yesterday, awful", "oferta: una lámpara al 50 %, enlace"]
    given = fitted.probabilities(texts, ["en", "es", "en", "es"])
    stages = [max(one["stage"], key=lambda label: one["stage"][label]) for one in given]
    assert stages == ["consideration", "consideration", "post_purchase", "none"]
    for head, expected in (("early", [1, 1, 0, 0]), ("promo", [0, 0, 0, 1])):
        said = [
            one[head]["1"] >= fitted.threshold(head, lang, "1")
            for one, lang in zip(given, ("en", "es", "en", "es"), strict=True)
        ]
        assert said == expected
    assert given[2]["signal"]["complaint"] > given[0]["signal"]["complaint"]
    assert given[2]["sentiment"]["neg"] > 0.5


def test_tfidf_gives_every_head_and_label(fitted: TfidfBaseline) -> None:
    (given,) = fitted.probabilities(["hola"], ["es"])
    assert {head: tuple(labels) for head, labels in given.items()} == {
        "stage": STAGES,
        **dict.fromkeys(BINARY_HEADS, ("1",)),
        "signal": SIGNALS,
        "sentiment": SENTIMENTS,
    }
    assert sum(given["stage"].values()) == pytest.approx(1, abs=1e-5)
    assert sum(given["sentiment"].values()) == pytest.approx(1, abs=1e-5)


def test_label_without_examples_is_never_said(fitted: TfidfBaseline) -> None:
    (given,) = fitted.probabilities(["can anyone recommend a lamp?"], ["en"])
    assert given["signal"]["switching"] < 1e-6
    assert given["signal"]["switching"] < fitted.threshold("signal", "en", "switching")


def test_hostile_and_empty_texts(fitted: TfidfBaseline) -> None:
    texts = ["", "🙂", "\ud800\x00", "a" * 50_000, "\u202eabc", "x\n" * 20_000]
    given = fitted.probabilities(texts, ["und"] * len(texts))
    assert len(given) == len(texts)
    assert all(0 <= one["early"]["1"] <= 1 for one in given)
    assert fitted.probabilities([], []) == []
    assert len(RegexBaseline().probabilities(texts, ["und"] * len(texts))) == len(texts)


def test_saved_and_loaded_agree(fitted: TfidfBaseline, tmp_path: Path) -> None:
    path = tmp_path / "baseline.npz"
    fitted.save(path)
    loaded = TfidfBaseline.load(path)
    texts, langs = [row.text for row in labelled_rows()], ["es"] * 24
    before, after = (one.probabilities(texts, langs) for one in (fitted, loaded))
    for one, other in zip(before, after, strict=True):
        assert one["early"]["1"] == pytest.approx(other["early"]["1"], abs=0.01)
    assert loaded.threshold("early", "es", "1") == fitted.threshold("early", "es", "1")


def test_fitting_repeats() -> None:
    rows = [Row(text=row.text, lang=row.lang, early=row.early) for row in labelled_rows() * 4]
    one, other = TfidfBaseline.fit(rows), TfidfBaseline.fit(rows)
    assert np.array_equal(one.weights, other.weights)
    assert np.array_equal(one.thresholds, other.thresholds)
    assert one.weights.any()


def test_no_words_are_stored(fitted: TfidfBaseline, tmp_path: Path) -> None:
    fitted.save(tmp_path / "baseline.npz")
    with np.load(tmp_path / "baseline.npz", allow_pickle=False) as stored:
        kinds = {name: stored[name].dtype.kind for name in stored.files}
    assert {name for name, kind in kinds.items() if kind != "f"} == {"columns"}


def test_unusable_files_are_refused_with_the_fix(fitted: TfidfBaseline, tmp_path: Path) -> None:
    absent, text, other = (tmp_path / name for name in ("absent.npz", "text.npz", "other.npz"))
    text.write_text("no archive")
    np.savez(other, columns=np.array(["a:b"]), idf=0, weights=0, bias=0, thresholds=0)
    for path in (absent, text, other):
        with pytest.raises(BadBaseline, match=r"python -m nlp\.baselines"):
            TfidfBaseline.load(path)


def as_json(row: Row, **more: str) -> str:
    return json.dumps(
        {"text": row.text, "lang": row.lang, "stage": row.stage, "early": int(bool(row.early)),
         "intent": int(bool(row.intent)), "promo": int(bool(row.promo)),
         "signals": list(row.signals or ()), "sentiment": row.sentiment, **more}
    )  # fmt: skip


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Label files of made posts (dev.jsonl has one of train.jsonl), and the data beside them."""
    labels, data = tmp_path / "labels", tmp_path / "data"
    labels.mkdir()
    rows = [as_json(row, id=f"{at}") for at, row in enumerate(labelled_rows())]
    (labels / "train.jsonl").write_text("\n".join(rows), "utf-8")
    (labels / "dev.jsonl").write_text(rows[0], "utf-8")
    written = Row(text="looking for a quiet kettle", lang="en", stage="consideration", intent=True,
                  early=True, promo=False, sentiment="neu", signals=())  # fmt: skip
    (labels / "written.jsonl").write_text(as_json(written), "utf-8")
    tone = {"lang": "es", "source": "foro", "split": "train", "sentiment": "pos"}
    dev_tone = {**tone, "text": "qué raro", "split": "dev"}
    files: dict[str, list[dict[str, str]]] = {
        "raw/es/posts.jsonl.gz": [{"text": "¿cuál horno compro?", "lang": "es", "source": "foro"}],
        "sentiment/sentiment.jsonl.gz": [{**tone, "text": "qué bien"}, dev_tone],
    }
    for name, _ in FILES:
        posts = files.get(name, [])
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(gzip.compress("\n".join(map(json.dumps, posts)).encode()))
    return labels, data


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the project's own labels there are one for the post of raw/es, and one short post."""
    path, short = tmp_path / "labels.tsv", tmp_path / "short.jsonl"
    given = post_id("foro", "¿cuál horno compro?")
    path.write_text(f"{given}\tconsideration\t1\t1\tproduct_question\tneu\t0", "utf-8")
    short.write_text(SHORT.read_text("utf-8").splitlines()[0], "utf-8")
    monkeypatch.setattr(labelled, "read_own", lambda data: read_own(data, path))
    monkeypatch.setattr(labelled, "SHORT", short)


@pytest.mark.usefixtures("few")
def test_learns_what_the_encoder_learns(folders: tuple[Path, Path]) -> None:
    rows = {row.text: row for row in labelled.learned(*folders)}
    assert rows["¿cuál horno compro?"] == Row(
        text="¿cuál horno compro?", lang="es", source="foro", stage="consideration", intent=True,
        early=True, promo=False, sentiment="neu", signals=("product_question",),
    )  # fmt: skip
    assert rows["qué bien"] == Row(text="qué bien", lang="es", source="foro", sentiment="pos")
    assert "looking for a quiet kettle" in rows
    assert "qué raro" not in rows
    assert json.loads(SHORT.read_text("utf-8").splitlines()[0])["text"] in rows
    assert "¿cuál horno compro?" not in {row.text for row in labelled.learned(folders[0])}


@pytest.mark.usefixtures("few")
def test_learns_nothing_that_is_held_out(folders: tuple[Path, Path]) -> None:
    rows = {row.text for row in labelled.learned(*folders)}
    train = read_training(folders[0] / "train.jsonl")
    learn, held = split(train, labelled.HELD_SHARE)
    dev = train[0].text
    assert held
    assert rows.isdisjoint({dev, *(row.text for row in held)})
    assert {row.text for row in learn} - {dev} <= rows


@pytest.mark.usefixtures("few")
def test_command_fits_and_writes(folders: tuple[Path, Path], tmp_path: Path) -> None:
    labels, data = map(str, folders)
    out = tmp_path / "baseline.npz"
    main(["--labels", labels, "--data", data, "--out", str(out)])
    asked, told = TfidfBaseline.load(out).probabilities(
        ["can anyone recommend a tent?", "a tent broke yesterday, awful"], ["en", "en"]
    )
    assert asked["early"]["1"] > 0.3 > told["early"]["1"]


def test_command_without_files_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--labels", str(tmp_path), "--data", str(tmp_path), "--out", str(tmp_path / "o.npz")])
    told = capsys.readouterr().err
    assert "train.jsonl" in told
    assert "name the folders" in told


def test_importing_loads_no_model_library() -> None:
    check = (
        "import sys, nlp.baselines, nlp.training.labelled; "
        "sys.exit(bool({'sklearn', 'torch', 'onnxruntime'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_shipped_file_is_small_and_loads() -> None:
    assert SHIPPED.stat().st_size <= 2_500_000
    shipped = TfidfBaseline.load(SHIPPED)
    texts = ["Can anyone recommend a good kettle?", "¿Qué cafetera me recomiendan?"]
    texts += ["Happy birthday grandma", "feliz cumpleaños abuela"]
    scores = [one["early"]["1"] for one in shipped.probabilities(texts, ["en", "es", "en", "es"])]
    assert min(scores[:2]) > max(scores[2:])


@pytest.mark.shared
def test_shipped_baseline_beats_the_word_lists() -> None:
    path = SHARED / "labels" / "dev.jsonl"
    if not path.exists():
        pytest.skip("the shared labels are not here")
    rows = [row for row in read_labels(path).rows if row.early is not None]
    only_early = [Row(text=row.text, lang=row.lang, early=row.early) for row in rows]
    report = evaluate(only_early, TfidfBaseline.load(SHIPPED), {"regex": RegexBaseline()})
    for lang in ("en", "es"):
        table = report["early"][lang]
        assert table["average_precision"] > 0.55
        assert table["f1"] > table["baselines"]["regex"]["f1"] > 0.3
