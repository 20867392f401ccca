"""`listener train` and `listener evaluate` with other heads, and the part of [nlp] behind them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from listener.cli import main
from listener.config import Config, ConfigError, parse
from listener.models import NEVER, Models
from listener.pipeline import Parts
from nlp.base import SIGNALS, ModelMissing
from nlp.encoder import POOLED, VECTOR, WIDTH, Encoder, Floats, FunnelTagger, Heads
from nlp.replaced import ReplacedTagger

BRAND = '[brand]\nname = "Lumora"\n'
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration; the encoder knows "buy" without any file."""

    def run(
        self: Encoder, texts: Sequence[str], spans: Sequence[object]
    ) -> tuple[Floats, Floats, list[Floats]]:
        seeds = [int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) for text in texts]
        noise = [np.random.default_rng(seed).normal(size=WIDTH + VECTOR) for seed in seeds]
        numbers = np.array(noise).reshape(-1, WIDTH + VECTOR).astype(np.float32)
        numbers[:, -60:] += np.array([[3.0 * ("buy" in text)] for text in texts]).reshape(-1, 1)
        return numbers[:, :WIDTH], numbers[:, WIDTH:], [np.zeros((0, 3), np.float32)] * len(texts)

    thresholds = {"signal": {POOLED: dict.fromkeys(SIGNALS, 0.5)}}
    thresholds |= {head: {POOLED: {"1": 0.6}, "es": {"1": 0.5}} for head in ("intent", "promo")}
    thresholds |= {"early": {POOLED: {"1": 0.6}, "en": {"1": 0.4}, "es": {"1": 0.5}}}
    known = Heads(
        version="model-1", prefix="", max_tokens=10, head_tokens=5,
        scale={POOLED: np.ones(WIDTH, np.float32)}, bias={POOLED: np.zeros(WIDTH, np.float32)},
        thresholds=thresholds, toward=1.0,
    )  # fmt: skip
    monkeypatch.setattr(Encoder, "run_targets", run)
    monkeypatch.setattr(Encoder, "heads", known)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(BRAND)
    return tmp_path


def labels(path: Path, count: int = 120) -> Path:
    rows = [
        {"text": f"{'buy' if at % 2 else 'see'} {at}", "lang": "es", "early": at % 2}
        for at in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def config(text: str, folder: Path = Path()) -> Config:
    return parse(BRAND + text, file="config.toml", folder=folder)


def fault(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config(text)
    (found,) = caught.value.faults
    return str(found)


def test_train_writes_heads_beside_the_database_and_the_pipeline_uses_them(folder: Path) -> None:
    before = Models(config("", folder)).tagger
    assert isinstance(before, FunnelTagger)
    result = run("train", "--labels", str(labels(folder / "my.jsonl")), "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert (row["head"], row["lang"], row["n"], row["used"]) == ("early", "es", 120, "yes")
    assert row["f1"] > row["shipped f1"]
    assert "Better than shipped: early (es)" in result.stderr
    stored = (folder / "own_heads.json").read_text()
    assert "buy" not in stored
    tagger = Parts(config("", folder)).tagger
    assert isinstance(tagger, ReplacedTagger)
    assert tagger.version != before.version
    scores = [
        next(tag.score for tag in tags if tag.kind == "early")
        for tags in tagger.tag(["buy one", "see one"], ["es", "es"])
    ]
    assert scores[0] > 0.8
    assert scores[1] < 0.2


def test_train_says_how_to_use_a_file_elsewhere(folder: Path) -> None:
    result = run("train", "--labels", str(labels(folder / "my.jsonl")), "--out", "elsewhere")
    assert result.exit_code == 0, result.output
    assert (folder / "elsewhere" / "own_heads.json").exists()
    assert "own_heads = " in result.stderr
    assert Models(config("", folder)).own is None
    chosen = Models(config('[nlp]\nown_heads = "elsewhere/own_heads.json"\n', folder))
    assert chosen.own is not None
    assert chosen.own.winners() == {"early": ("es",)}


def test_too_few_labels_end_with_1_and_write_nothing(folder: Path) -> None:
    result = run("train", "--labels", str(labels(folder / "my.jsonl", 30)))
    assert result.exit_code == 1
    for words in ("at least 60 different texts", "10 or more", "early es: 15 x 0, 15 x 1"):
        assert words in result.stderr
    assert not (folder / "own_heads.json").exists()


def test_a_head_of_the_configuration_is_not_fitted(folder: Path) -> None:
    model = f'[nlp.heads.early]\nmodel = "acme/tiny"\nrevision = "{COMMIT}"\n'
    (folder / "config.toml").write_text(BRAND + model)
    result = run("train", "--labels", str(labels(folder / "my.jsonl")))
    assert result.exit_code == 1
    assert "early: left as it is" in result.stderr


def test_a_named_file_that_is_missing_is_an_error(folder: Path) -> None:
    with pytest.raises(ModelMissing, match="listener train"):
        Models(config('[nlp]\nown_heads = "absent.json"\n', folder)).tagger  # noqa: B018  # it loads


def test_evaluate_shows_the_shipped_heads_beside_own_ones(folder: Path) -> None:
    path = str(labels(folder / "my.jsonl"))
    plain = json.loads(run("evaluate", path, "--json").stdout)
    assert set(plain["early"]["es"]["baselines"]) == {"regex", "tfidf"}
    assert run("train", "--labels", path).exit_code == 0
    result = run("evaluate", path, "--json", "--errors", "wrong.jsonl", "--min", "early.es.f1=0.9")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    beside = report["early"]["es"]["baselines"]
    assert set(beside) == {"regex", "tfidf", "shipped", "own"}
    assert beside["own"]["f1"] == report["early"]["es"]["f1"] > beside["shipped"]["f1"]
    assert "fitted on 120 of these rows" in result.stderr
    wrong = [json.loads(line) for line in (folder / "wrong.jsonl").read_text().splitlines()]
    assert f"Wrote {len(wrong)} rows" in result.stderr
    assert all(one["wrong"]["early"]["label"] in (0, 1) for one in wrong)


def test_evaluate_prints_tables_that_fit_a_terminal(folder: Path) -> None:
    rows = [
        {"text": f"{'buy' if at % 2 else 'see'} {at}", "lang": ("en", "es")[at % 4 < 2],
         "source": "forum", "early": at % 2, "stage": "decision" if at % 3 else "none",
         "sentiment": ("pos", "neg")[at % 2], "signals": ["praise"] if at % 5 == 0 else []}
        for at in range(80)
    ]  # fmt: skip
    path = folder / "many.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("evaluate", str(path))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    titles = (
        "F1 with",
        "Signals",
        "Stage:",
        "Sentiment:",
        "Sources",
        "Worst slices",
        "Reliability",
    )
    for title in titles:
        assert sum(line.startswith(title) for line in lines) == 1
    assert run("evaluate", str(path), "--csv").stdout.startswith("head,lang,system,n,precision")
    refused = run("evaluate", str(path), "--errors", "absent/wrong.jsonl")
    assert refused.exit_code == 1
    assert "cannot be written" in refused.stderr


def test_evaluate_prints_the_sources_of_early_and_stage(folder: Path) -> None:
    rows = [
        {"text": f"{'buy' if at % 2 else 'see'} {at}", "lang": ("en", "es")[at % 4 < 2],
         "source": "blog" if at < 30 else "forum", "early": at % 2, "promo": 0,
         "stage": "decision" if at % 3 else "none"}
        for at in range(80)
    ]  # fmt: skip
    path = folder / "many.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("evaluate", str(path))
    assert result.exit_code == 0, result.output
    lines = result.stdout.partition("\nSources\n")[2].partition("\n\n")[0].splitlines()
    assert lines[0].split() == ["head", "lang", "source", "n", "positives", "f1", "avg.", "prec."]
    # Of the blog neither language has rows enough by itself.
    assert [line.split()[:4] for line in lines[1:]] == [
        ["early", "en", "forum", "26"],
        ["early", "es", "forum", "24"],
        ["early", "all", "blog", "30"],
        ["stage", "en", "forum", "26"],
        ["stage", "es", "forum", "24"],
        ["stage", "all", "blog", "30"],
    ]


def test_evaluate_without_sources_has_no_such_section(folder: Path) -> None:
    result = run("evaluate", str(labels(folder / "my.jsonl")))
    assert result.exit_code == 0, result.output
    assert "Sources" not in result.stdout


def test_evaluate_fails_below_a_minimum_and_names_it(folder: Path) -> None:
    path = str(labels(folder / "my.jsonl"))
    met = run("evaluate", path, "--min", "early.es.f1=0.01", "--min", "early.all.recall=0")
    assert (met.exit_code, "wanted" in met.stderr) == (0, False)
    missed = run("evaluate", path, "--min", "early.es.f1=0.99", "--min", "early.es.recall=0")
    assert missed.exit_code == 1
    (line,) = missed.stderr.splitlines()
    assert line.startswith("early.es.f1 is 0.")
    assert line.endswith("wanted at least 0.99")


def test_only_languages_that_are_switched_on_raise_alerts(folder: Path) -> None:
    assert Models(config("", folder)).thresholds == {"en": 0.4, "es": 0.5, "*": NEVER}
    chosen = config('[nlp]\nexperimental_languages = ["pt", "de"]\n', folder)
    thresholds = Parts(chosen).rules.thresholds
    assert thresholds == {"en": 0.4, "es": 0.5, "pt": 0.6, "de": 0.6, "*": NEVER}
    assert "write one of: pt, fr, it, de" in fault('[nlp]\nexperimental_languages = ["nl"]\n')


def test_a_hub_model_has_to_be_pinned() -> None:
    named = '[nlp.heads.sentiment]\nmodel = "acme/tiny"\n'
    assert "nlp.heads.sentiment.revision: is missing" in fault(named)
    assert "is not a full commit hash" in fault(f'{named}revision = "main"\n')
    head = config(f'{named}revision = "{COMMIT}"\n').nlp.heads["sentiment"]
    assert (head.model, head.revision, head.folder) == ("acme/tiny", COMMIT, None)
    assert "neither the id" in fault('[nlp.heads.sentiment]\nmodel = "a b"\n')


def test_a_folder_is_one_by_its_form_or_because_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for written, found in (
        ("mine", tmp_path / "mine"),
        ("./absent", tmp_path / "absent"),
        (str(tmp_path / "x"), tmp_path / "x"),
    ):
        text = f"[nlp.heads.stage]\nmodel = {json.dumps(written)}\n"
        assert config(text, tmp_path).nlp.heads["stage"].folder == found
    models = Models(config('[nlp.heads.stage]\nmodel = "./absent"\n', tmp_path))
    with pytest.raises(ModelMissing, match=r"\[nlp\.heads\.stage\] model"):
        models.configured["stage"].probabilities(["x"])


def test_labels_and_names_of_heads_are_checked() -> None:
    pinned = f'model = "acme/tiny"\nrevision = "{COMMIT}"\n'
    wrong = fault(f'[nlp.heads.sentiment]\n{pinned}labels = {{ negative = "bad" }}\n')
    assert "`bad` is no label of sentiment" in wrong
    assert "neg, neu, pos" in wrong
    assert "`yes` is no label of early" in fault(
        f'[nlp.heads.early]\n{pinned}labels = {{ LABEL_1 = "yes" }}\n'
    )
    assert "not one of the choices" in fault(f"[nlp.heads.signal]\n{pinned}")
    text = f'[nlp.heads.early]\n{pinned}labels = {{ LABEL_0 = "0", LABEL_1 = "1" }}\n'
    assert config(f'{text}languages = ["en"]\n').nlp.heads["early"].languages == ("en",)
