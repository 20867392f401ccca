import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from nlp.base import SIGNALS, STAGES
from nlp.evaluation import (
    HEADS,
    BadLabels,
    BadMinimum,
    Predictor,
    Probabilities,
    Row,
    check_minimums,
    evaluate,
    read_labels,
    render,
)
from nlp.evaluation_tables import wrong_rows
from nlp.metrics import (
    binary_table,
    expected_calibration_error,
    interval,
    multiclass_table,
    multilabel_table,
    reliability,
)

FIGURES = ("precision", "recall", "f1", "macro_f1", "average_precision", "accuracy")


class Oracle:
    """Knows the labels of rows by their text; `early` in Spanish is always wrong."""

    def __init__(self, rows: Sequence[Row], heads: Sequence[str] = HEADS) -> None:
        self.rows = {row.text: row for row in rows}
        self.heads = heads

    def probabilities(self, texts: Sequence[str], langs: Sequence[str]) -> list[Probabilities]:
        results = []
        for text, lang in zip(texts, langs, strict=True):
            row = self.rows[text]
            early = bool(row.early) if lang == "en" else not row.early
            every: Probabilities = {
                "stage": {row.stage or "none": 1.0},
                "sentiment": {row.sentiment or "neu": 0.9, "neu": 0.1},
                "intent": {"1": float(bool(row.intent))},
                "early": {"1": 0.8 if early else 0.3},
                "promo": {"1": 0.0},
                "signal": dict.fromkeys(row.signals or (), 0.6),
            }
            names = {"signal" if head == "signals" else head for head in self.heads}
            results.append({name: value for name, value in every.items() if name in names})
        return results

    def threshold(self, head: str, lang: str, label: str) -> float:
        return {"en": 0.5, "es": 0.4}[lang]


@pytest.fixture
def rows() -> list[Row]:
    made = []
    for at in range(60):
        early = at % 3 == 0
        made.append(
            Row(
                text=f"text {at} " + "x" * (at * 5),
                lang="es" if at % 2 else "en",
                stage="consideration" if early else "none",
                intent=early,
                early=early,
                promo=False,
                sentiment="pos" if at % 5 == 0 else "neg",
                signals=("comparison",) if early else (),
                source="forum" if at < 40 else "",
            )
        )
    return made


def write(path: Path, lines: Sequence[object]) -> Path:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_with_any_subset_of_labels(tmp_path: Path) -> None:
    lines = [
        {"text": "a", "lang": "en-GB", "stage": "none", "intent": 0, "early": False, "promo": "1"},
        {"text": "b", "lang": "es", "signals": ["comparison", "comparison"], "sentiment": "neg"},
        {
            "text": "c",
            "lang": "es",
            "signals": "comparison | praise",
            "extra": 1,
            "source": "forum",
        },
        {"text": "d", "lang": "es", "signals": "-"},
        "",
        {"text": "¿Alguien me recomienda una cafetera que no sea cara?", "early": 1},
    ]
    labels = read_labels(write(tmp_path / "labels.jsonl", lines))
    assert labels.faults == ()
    assert labels.rows == (
        Row(text="a", lang="en", stage="none", intent=False, early=False, promo=True),
        Row(text="b", lang="es", signals=("comparison",), sentiment="neg"),
        Row(text="c", lang="es", signals=("comparison", "praise"), source="forum"),
        Row(text="d", lang="es", signals=()),
        Row(text="¿Alguien me recomienda una cafetera que no sea cara?", lang="es", early=True),
    )


def test_faults_are_told_by_line_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    good = b'{"text": "fine", "lang": "en", "early": 1}'
    bad = [
        b"{broken", b"[1]", b'{"lang": "en", "early": 1}', b'{"text": " ", "early": 1}',
        b'{"text": "a", "stage": "later"}', b'{"text": "a", "sentiment": "angry"}',
        b'{"text": "a", "early": 2}', b'{"text": "a", "signals": {"a": 1}}',
        b'{"text": "a", "signals": ["unheard"]}', b'{"text": "a", "lang": "en"}',
        b'{"text": "\xff", "early": 1}', b"[" * 100_000, b'{"text": "a", "stage": ["none"]}',
    ]  # fmt: skip
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([good, *bad, good]))
    labels = read_labels(path)
    assert len(labels.rows) == 2
    assert [fault.split(":")[0] for fault in labels.faults] == [f"line {n}" for n in range(2, 15)]
    reasons = "not JSON|not an object|no text|no text|unknown stage|unknown sentiment|use 0 or 1"
    reasons += "|signals is neither|unknown signal|no label|not UTF-8|not JSON|unknown stage"
    for fault, reason in zip(labels.faults, reasons.split("|"), strict=True):
        assert reason in fault
    assert "none, awareness, consideration" in labels.faults[4]


def test_gzipped_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "fine", "lang": "en", "promo": 0}'))
    assert read_labels(path).rows == (Row(text="fine", lang="en", promo=False),)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(BadLabels, match="cannot read"):
        read_labels(path)


def test_nothing_to_use_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadLabels, match="cannot read"):
        read_labels(tmp_path / "absent.jsonl")
    with pytest.raises(BadLabels, match="empty"):
        read_labels(write(tmp_path / "empty.jsonl", [""]))
    with pytest.raises(BadLabels, match="line 1: no text"):
        read_labels(write(tmp_path / "bad.jsonl", [{"early": 1}]))


def test_a_wrong_label_is_never_quoted_at_length(tmp_path: Path) -> None:
    lines = [{"text": "a", "stage": "my whole private post " * 9}, {"text": "a", "early": 1}]
    (fault,) = read_labels(write(tmp_path / "labels.jsonl", lines)).faults
    assert len(fault) < 140


def test_report_has_heads_languages_and_figures(rows: list[Row]) -> None:
    oracle: Predictor = Oracle(rows)
    report = evaluate(rows, oracle, {"regex": Oracle(rows, ["early"])})
    assert list(report) == list(HEADS)
    json.dumps(report, allow_nan=False)
    for tables in report.values():
        assert list(tables) == ["en", "es", "all"]
        for table in tables.values():
            assert {"n", "positives", "baselines", *FIGURES} <= set(table)
            assert {f"{figure}_ci" for figure in FIGURES} <= set(table)
    assert report["early"]["en"]["f1"] == 1
    assert report["early"]["en"]["n"] == 30
    assert report["early"]["en"]["positives"] == 10
    assert report["stage"]["all"]["labels"]["consideration"]["n"] == 20
    assert report["stage"]["all"]["confusion"][2][2] == 20
    assert report["signals"]["all"]["labels"]["comparison"]["f1"] == 1
    assert set(report["early"]["es"]["baselines"]) == {"regex"}
    assert report["stage"]["es"]["baselines"] == {}


def test_thresholds_are_asked_by_language(rows: list[Row]) -> None:
    class Shifted(Oracle):
        def threshold(self, head: str, lang: str, label: str) -> float:
            return {"en": 0.5, "es": 0.2}[lang]

    strict, loose = (evaluate(rows, one(rows))["early"] for one in (Oracle, Shifted))
    assert strict["es"]["recall"] == 0
    assert loose["es"]["recall"] == 1
    assert strict["en"]["recall"] == loose["en"]["recall"] == 1


def test_zero_positives_are_not_a_zero(rows: list[Row]) -> None:
    promo = evaluate(rows, Oracle(rows))["promo"]["all"]
    assert promo["positives"] == 0
    for figure in ("precision", "recall", "f1", "average_precision"):
        assert promo[figure] is None
        assert promo[f"{figure}_ci"] is None
    assert promo["accuracy"] == 1
    assert promo["brier"] == 0


def test_unlabelled_heads_and_rows_are_left_out(rows: list[Row]) -> None:
    some = [Row(text=row.text, lang=row.lang, intent=row.intent) for row in rows[:10]]
    report = evaluate([*some, Row(text=rows[10].text, lang="es", promo=True)], Oracle(rows))
    assert list(report) == ["intent", "promo"]
    assert report["intent"]["all"]["n"] == 10
    assert list(report["promo"]) == ["es", "all"]
    assert evaluate([], Oracle(rows)) == {}


def test_worst_slices_come_first(rows: list[Row]) -> None:
    slices = evaluate(rows, Oracle(rows))["early"]["all"]["slices"]
    assert [(one["lang"], one.get("source")) for one in slices] == [
        ("es", "forum"),
        ("en", "forum"),
    ]
    assert [one["f1"] for one in slices] == [0, 1]
    assert slices[0]["n"] == 20


def test_slices_by_length(rows: list[Row]) -> None:
    same = [Row(text=f"{at:030}", lang="en", early=at % 2 == 0) for at in range(40)]
    (only,) = evaluate(same, Oracle(same))["early"]["all"]["slices"]
    assert (only["length"], only["n"], only["positives"]) == ("under 60", 40, 20)


def test_sources_have_tables_of_their_own(rows: list[Row]) -> None:
    report = evaluate(rows, Oracle(rows))
    assert {name: table["n"] for name, table in report["early"]["es"]["sources"].items()} == {
        "forum": 20
    }
    assert report["early"]["all"]["sources"]["forum"]["recall"] == 0.5
    assert report["stage"]["en"]["sources"]["forum"]["macro_f1"] == 1
    few = evaluate(rows[:19], Oracle(rows))
    assert few["early"]["all"]["sources"] == {}


def test_every_head_has_slices(rows: list[Row]) -> None:
    report = evaluate(rows, Oracle(rows))
    assert report["stage"]["all"]["slices"][0]["f1"] == 1
    assert report["sentiment"]["all"]["slices"]
    assert report["promo"]["all"]["slices"] == []  # no positives
    assert "slices" not in report["stage"]["es"]


def test_wrong_rows_have_text_labels_and_probabilities(rows: list[Row]) -> None:
    oracle = Oracle(rows)
    given = [*rows[:2], Row(text=rows[3].text, lang="es", signals=("praise",), stage="decision")]
    known = oracle.probabilities([row.text for row in given], [row.lang for row in given])
    first, second = wrong_rows(given, known, oracle)
    assert (first["text"], first["lang"], first["source"]) == (rows[1].text, "es", "forum")
    assert first["wrong"] == {"early": {"label": 0, "predicted": 1, "probabilities": {"1": 0.8}}}
    assert list(second["wrong"]) == ["stage", "signals"]
    assert second["wrong"]["stage"] == {
        "label": "decision",
        "predicted": "consideration",
        "probabilities": {"consideration": 1.0},
    }
    assert second["wrong"]["signals"]["label"] == ["praise"]
    assert second["wrong"]["signals"]["predicted"] == ["comparison"]


def test_reliability_bins_add_up() -> None:
    truth = np.array([True, False, True, True])
    bins = reliability(truth, np.array([0.05, 0.01, 0.95, 1.0]))
    assert [(one["low"], one["n"], one["share"]) for one in bins] == [(0, 2, 0.5), (0.9, 2, 1.0)]
    assert bins[1]["score"] == pytest.approx(0.975)
    table = binary_table(truth, truth, np.array([0.05, 0.01, 0.95, 1.0]))
    gaps = [one["n"] * abs(one["score"] - one["share"]) for one in table["reliability"]]
    assert sum(gaps) / 4 == pytest.approx(table["ece"])


def test_render_is_flat(rows: list[Row]) -> None:
    flat = render(evaluate(rows, Oracle(rows), {"regex": Oracle(rows, ["early"])}))
    early = [row for row in flat if row["head"] == "early" and row["lang"] == "es"]
    assert [row["system"] for row in early] == ["model", "regex"]
    assert len(flat) == 6 * 3 + 3
    assert all(not isinstance(value, dict) for row in flat for value in row.values())


def test_minimums(rows: list[Row]) -> None:
    report = evaluate(rows, Oracle(rows), {"regex": Oracle(rows, ["early"])})
    met = ["early.en.f1=0.7", " early.es.f1 = 0 ", "signals.all.labels.comparison.f1=1.0"]
    assert check_minimums(report, [*met, "early.en.baselines.regex.f1=.5"]) == []
    assert check_minimums(report, ["early.es.f1=0.7", "promo.en.f1=0.1", "early.en.f1=0.7"]) == [
        "early.es.f1 is 0.000, wanted at least 0.7",
        "promo.en.f1 is not defined (no positives), wanted at least 0.1",
    ]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("early.es.f1", "head.lang.figure=number"),
        ("early.es.f1=high", "head.lang.figure=number"),
        ("early=0.5", "head.lang.figure=number"),
        ("early.fr.f1=0.5", "no 'fr' there; it has en, es, all"),
        ("late.es.f1=0.5", "no 'late' there; it has stage, intent"),
        ("early.es.f2=0.5", "no 'f2' there"),
        ("early.es.f1.low=0.5", "nothing below it"),
        ("early.es.f1_ci=0.5", "is not a figure"),
    ],
)
def test_bad_minimums_are_explained(rows: list[Row], expression: str, message: str) -> None:
    report = evaluate(rows, Oracle(rows))
    with pytest.raises(BadMinimum) as caught:
        check_minimums(report, [expression, "also bad"])
    assert message in str(caught.value)
    assert "'also bad'" in str(caught.value)


def random_case(seed: int, size: int = 200) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    truth = generator.random((size, len(SIGNALS))) < 0.3
    scores = np.round(np.clip(truth * 0.3 + generator.random(truth.shape) * 0.7, 0, 1), 2)
    return truth, scores


@pytest.mark.parametrize("seed", [1, 2])
def test_binary_figures_agree_with_sklearn(seed: int) -> None:
    truth, scores = random_case(seed)
    y, p = truth[:, 0], scores[:, 0]
    said = p >= 0.5
    table = binary_table(y, said, p)
    expected = {
        "precision": sk.precision_score(y, said),
        "recall": sk.recall_score(y, said),
        "f1": sk.f1_score(y, said),
        "macro_f1": sk.f1_score(y, said, average="macro"),
        "macro_recall": sk.recall_score(y, said, average="macro"),
        "macro_precision": sk.precision_score(y, said, average="macro"),
        "average_precision": sk.average_precision_score(y, p),
        "accuracy": sk.accuracy_score(y, said),
        "brier": sk.brier_score_loss(y, p),
    }
    assert {name: table[name] for name in expected} == pytest.approx(expected)
    for figure in FIGURES:
        low, high = table[f"{figure}_ci"]
        assert low < table[figure] < high


@pytest.mark.parametrize("seed", [1, 2])
def test_multiclass_figures_agree_with_sklearn(seed: int) -> None:
    _, scores = random_case(seed)
    scores = scores[:, :5] / scores[:, :5].sum(axis=1, keepdims=True)
    truth = np.random.default_rng(seed).integers(4, size=len(scores))
    table = multiclass_table(truth, scores, STAGES, "none")
    said, present = scores.argmax(axis=1), [0, 1, 2, 3]
    options: Any = {"labels": present, "average": "macro", "zero_division": 0}
    expected = {
        "precision": sk.precision_score(truth, said, **options),
        "recall": sk.recall_score(truth, said, **options),
        "f1": sk.f1_score(truth, said, **options),
        "accuracy": sk.accuracy_score(truth, said),
        "average_precision": np.mean(
            [sk.average_precision_score(truth == at, scores[:, at]) for at in present]
        ),
    }
    assert {name: table[name] for name in expected} == pytest.approx(expected)
    own = table["labels"]["decision"]["average_precision"]
    assert own == pytest.approx(sk.average_precision_score(truth == 3, scores[:, 3]))
    assert table["confusion"] == sk.confusion_matrix(truth, said, labels=range(5)).tolist()
    assert table["labels"]["post_purchase"] == {
        "n": 0, "precision": 0.0, "recall": None, "f1": None, "average_precision": None
    }  # fmt: skip
    assert table["positives"] == (truth != 0).sum()


def test_multilabel_figures_agree_with_sklearn() -> None:
    truth, scores = random_case(3)
    truth[:, 4] = False
    table = multilabel_table(truth, scores >= 0.5, scores, SIGNALS)
    present = [at for at in range(len(SIGNALS)) if at != 4]
    said = scores >= 0.5
    expected = {
        "precision": sk.precision_score(truth, said, average="micro"),
        "recall": sk.recall_score(truth, said, average="micro"),
        "f1": sk.f1_score(truth, said, average="micro"),
        "macro_f1": sk.f1_score(truth[:, present], said[:, present], average="macro"),
        "average_precision": sk.average_precision_score(truth[:, present], scores[:, present]),
        "accuracy": sk.accuracy_score(truth, said),
    }
    assert {name: table[name] for name in expected} == pytest.approx(expected)


def test_intervals_narrow_with_more_rows_and_repeat() -> None:
    widths = []
    for size in (100, 1_600):
        truth, scores = random_case(5, size)
        arguments = (truth[:, 0], scores[:, 0] >= 0.5, scores[:, 0])
        low, high = binary_table(*arguments)["f1_ci"]
        assert binary_table(*arguments)["f1_ci"] == [low, high]
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_interval_of_a_share_is_the_binomial_one() -> None:
    said = np.arange(400) % 4 == 0
    low, high = binary_table(np.ones(400, dtype=bool), said, said.astype(float))["recall_ci"]
    spread = 1.96 * (0.25 * 0.75 / 400) ** 0.5
    assert (low, high) == pytest.approx((0.25 - spread, 0.25 + spread), abs=0.008)


def test_interval_leaves_out_what_is_not_defined() -> None:
    assert interval(np.array([np.nan, 0.5, 0.5])) == [0.5, 0.5]
    assert interval(np.array([np.nan, np.nan, 0.5])) is None


def test_calibration_error() -> None:
    truth = np.array([True, False, True, False])
    assert expected_calibration_error(truth, np.full(4, 0.5)) == pytest.approx(0)
    assert expected_calibration_error(truth, np.full(4, 1.0)) == pytest.approx(0.5)
    assert expected_calibration_error(truth, truth.astype(float)) == pytest.approx(0)
    assert expected_calibration_error(truth[:0], np.zeros(0)) is None


def test_no_rows_give_no_figures() -> None:
    table = binary_table(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool), np.zeros(0))
    assert table["n"] == 0
    assert all(table[figure] is None for figure in FIGURES)
    assert table["brier"] is None


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 1)), max_size=12))
def test_any_outcome_gives_figures_in_range(cases: list[tuple[bool, bool, float]]) -> None:
    truth = np.array([case[0] for case in cases], dtype=bool)
    said = np.array([case[1] for case in cases], dtype=bool)
    table = binary_table(truth, said, np.array([case[2] for case in cases], dtype=float))
    for figure in FIGURES:
        assert table[figure] is None or 0 <= table[figure] <= 1 + 1e-9
    assert (table["f1"] is None) == (not truth.any())
    json.dumps(table, allow_nan=False)
