"""How well a name is told from the same word with another meaning.

`python -m benchmarks.homonyms` prints the share of right judgements for each name of homonyms.toml
on posts written for this (homonyms.tsv: name, language, 1 where the name is meant, text), with the
vectors that the product uses and, beside them, with those of the last layer.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nlp.encoder import Encoder
from nlp.relevance import ENOUGH, Floats, Label, Relevance, Sense, Space, Vectors, Window, windows

POSTS = Path(__file__).with_name("homonyms.tsv")
MEANINGS = POSTS.with_suffix(".toml")
SEEDS = range(8)
"""Draws of labels that are averaged."""


class Case(NamedTuple):
    """What stands around a name, and whether it is meant."""

    window: Window
    relevant: bool


def senses() -> dict[str, Sense]:
    """What each name means."""
    found = tomllib.loads(MEANINGS.read_text("utf-8"))
    return {
        name: Sense(
            name=name,
            words=(name,),
            description=one["description"],
            yes=tuple(one["yes"]),
            no=tuple(one["no"]),
        )
        for name, one in found.items()
    }


def cases(name: str, *, lower: bool = False) -> tuple[list[Case], list[Case]]:
    """Posts to fit on and posts held out, of both languages and both meanings alike."""
    found = []
    for line in POSTS.read_text("utf-8").splitlines():
        of, _, relevant, text = line.split("\t")
        if of == name:
            text = text.lower() if lower else text
            spans = [one.span() for one in re.finditer(name, text, re.IGNORECASE)]
            found.append(Case(windows(text, spans)[0], relevant == "1"))
    return found[::2], found[1::2]


def accuracy(relevance: Relevance, held_out: Sequence[Case]) -> float:
    """Share of right judgements."""
    chances = relevance.probabilities([case.window for case in held_out])
    right = [(p >= 0.5) == case.relevant for p, case in zip(chances, held_out, strict=True)]
    return sum(right) / len(right)


def labelled(space: Space, sense: Sense, seed: int) -> Relevance:
    """`ENOUGH` posts judged by a person, drawn by `seed`."""
    fit, _ = cases(sense.name)
    random.Random(seed).shuffle(fit)
    return Relevance(space, sense, [Label(*case) for case in fit[:ENOUGH]])


class _LastLayer:
    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def meanings(self, texts: Sequence[str]) -> Floats:
        return self._encoder.run(texts)[1]


def main() -> None:
    """Prints the table of docs/benchmarks.md."""
    encoder = Encoder()
    systems: dict[str, Vectors] = {"meaning": encoder, "last layer": _LastLayer(encoder)}
    print("| name | posts | vectors | described | in lower case | with 20 labels |")
    print("|---|--:|---|--:|--:|--:|")
    for system, vectors in systems.items():
        space = Space(vectors)
        rows = []
        for name, sense in senses().items():
            _, held_out = cases(name)
            _, lower = cases(name, lower=True)
            described = Relevance(space, sense)
            with_labels = [accuracy(labelled(space, sense, seed), held_out) for seed in SEEDS]
            found = (
                accuracy(described, held_out),
                accuracy(described, lower),
                sum(with_labels) / len(with_labels),
            )
            rows.append(found)
            print(f"| {name} | {len(held_out)} | {system} | {_figures(found)} |")
        means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        print(f"| mean | | {system} | {_figures(means)} |")


def _figures(found: Sequence[float]) -> str:
    return " | ".join(f"{one:.2f}" for one in found)


if __name__ == "__main__":
    main()
