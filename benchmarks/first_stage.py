"""What the first stage skips, what that costs, and how much faster it is.

Run from the root of the project, after `python -m nlp.training.first_stage` with the same folders:
`python -m benchmarks.first_stage --labels ../shared/labels --data ../shared/data`. Prints the
tables of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from numpy.typing import NDArray

from nlp.base import LANGUAGES
from nlp.encoder import MODEL_FOLDER, Encoder, Floats, FunnelTagger, columns
from nlp.first_stage import FILE, LONGEST, FirstStage, StagedTagger
from nlp.training.data import Row, read_labels
from nlp.training.first_stage import material
from nlp.training.measure import average_precision, f1, macro_f1, truth

Flags = NDArray[np.bool_]
Answers = list[dict[str, dict[str, float]]]

_EARLY = columns("early").start - columns("intent").start


def labelled(rows: Sequence[Row]) -> dict[str, Flags]:
    """Which rows are early, have intent, have a stage, by their labels."""
    return {
        "early": truth(rows, "early") == 1,
        "intent": truth(rows, "intent") == 1,
        "stage": truth(rows, "stage") != 0,
    }


def said(answers: Answers, langs: Sequence[str], tagger: FunnelTagger) -> dict[str, Flags]:
    """The same by the model itself, at its thresholds."""
    flags = {
        head: np.array(
            [
                row[head]["1"] >= tagger.threshold(head, lang, "1")
                for row, lang in zip(answers, langs, strict=True)
            ]
        )
        for head in ("early", "intent")
    }
    return flags | {"stage": best(answers, "stage") != 0}


def best(answers: Answers, head: str) -> NDArray[np.int64]:
    """The likeliest label of each text, as its place among the labels."""
    places: NDArray[np.int64] = np.array([list(row[head].values()) for row in answers]).argmax(1)
    return places


def timed(tagger: FunnelTagger | StagedTagger, rows: Sequence[Row]) -> tuple[Answers, float]:
    """Answers, and posts a second."""
    texts, langs = [row.text for row in rows], [row.lang for row in rows]
    start = perf_counter()
    found = tagger.probabilities(texts, langs)
    return found, len(rows) / (perf_counter() - start)


def cells(*values: object) -> None:
    """Prints one line of a table."""
    print(f"| {' | '.join(map(str, values))} |")


def head(*names: str) -> None:
    """Prints the head of a table: the first column is text, the others are numbers."""
    cells(*names)
    print(f"|---|{'--:|' * (len(names) - 1)}")


def lost(flags: Flags, skipped: Flags) -> str:
    """How many of those are skipped, of how many."""
    return f"{(flags & skipped).sum()} of {flags.sum()}"


def main() -> None:
    """Prints three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    encoder = Encoder()
    plain = FunnelTagger(encoder)
    stage = FirstStage.load(MODEL_FOLDER / FILE, encoder.heads.version)
    staged = StagedTagger(plain, stage)
    cutting, _, general = material(given.labels, given.data)
    plain.tag(["to load the model"], ["en"])
    staged.tag(["to load the model"], ["en"])
    every = {
        "dev.jsonl": read_labels(given.labels / "dev.jsonl"),
        "general posts": general,
    }
    without = {name: timed(plain, rows) for name, rows in every.items()}
    with_it = {name: timed(staged, rows) for name, rows in every.items()}

    print(f"Cut: {', '.join(f'{lang} {cut:.3f}' for lang, cut in stage.cuts.items())}.\n")
    head("posts", "n", "skipped", "early lost", "intent lost", "stage lost")
    short = [row for row in cutting if len(row.text) <= LONGEST]
    for name, rows in (("those for the cut", short), *every.items()):
        langs = [row.lang for row in rows]
        skipped, _ = stage.judge([row.text for row in rows], langs, [()] * len(rows))
        by_model = name == "general posts"
        flags = said(without[name][0], langs, plain) if by_model else labelled(rows)
        for lang in LANGUAGES:
            here = np.array([one == lang for one in langs])
            losses = [lost(flag & here, skipped) for flag in flags.values()]
            cells(f"{name}, {lang}", here.sum(), f"{skipped[here].mean():.0%}", *losses)

    print()
    head("figure", "language", "without", "with")
    dev = every["dev.jsonl"]
    for lang in LANGUAGES:
        own = [at for at, row in enumerate(dev) if row.lang == lang]
        rows = [dev[at] for at in own]
        figures = []
        for answers, _ in (without["dev.jsonl"], with_it["dev.jsonl"]):
            part = [answers[at] for at in own]
            chances: Floats = np.array([row["early"]["1"] for row in part], np.float32)
            early = truth(rows, "early")
            yes = chances >= plain.threshold("early", lang, "1")
            figures.append(
                {
                    "early average precision": average_precision(early, chances),
                    "early F1": f1(early == 1, yes),
                    "sentiment macro-F1": macro_f1(
                        truth(rows, "sentiment"), best(part, "sentiment")
                    ),
                }
            )
        for name, value in figures[0].items():
            cells(f"{name}, dev.jsonl", lang, f"{value:.3f}", f"{figures[1][name]:.3f}")
        own = [at for at, row in enumerate(general) if row.lang == lang]
        tones = [
            best([one["general posts"][0][at] for at in own], "sentiment")
            for one in (without, with_it)
        ]
        agreed = macro_f1(tones[0], tones[1])
        cells("sentiment macro-F1 against the model's own, general", lang, "1", f"{agreed:.3f}")

    print()
    head("posts", "posts/s without", "posts/s with")
    for name in every:
        cells(name, f"{without[name][1]:.0f}", f"{with_it[name][1]:.0f}")
    texts = [row.text for row in general]
    start = process_time()
    stage.logits(texts)
    alone = len(texts) / (process_time() - start)
    print(f"\nThe first stage alone judges {alone:,.0f} of the general posts a second of one core.")


if __name__ == "__main__":
    main()
