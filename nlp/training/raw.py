"""Posts without labels, for self-training: a model of before says what it makes of them.

The logits of that model are what a new one learns first (Du et al., 2021, "Self-training improves
pre-training for natural language understanding"), on texts that are varied while the teacher read
them as they are.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nlp.base import SENTIMENTS
from nlp.encoder import Encoder, Floats, columns
from nlp.reading import prepare

from .data import NO_LABEL, Row, same_text
from .posts import FILES, lines, post_id

MOST = {
    "es_mx_tweets": 24_000,
    "es_youtube": 15_900,
    "es_offendes": 9_000,
    "airline_es": 5_300,
    "es_citibanamex": 2_600,
    "semeval2017_A_2013-2016": 30_000,
    "reddit_top_2013": 9_000,
    "hackernews_ask": 5_000,
}
"""At most so many posts of each source are read by the teacher."""
_CHUNK = 2_000
_SEED = 51


def read_raw(data: Path, known: Sequence[str], held_subreddits: frozenset[str]) -> list[Row]:
    """Unlabelled posts (sentiment where a file has it), drawn by a fixed seed, each text once.

    Left out are texts among `known` and the subreddits that only dev.jsonl has.
    """
    rng = random.Random(_SEED)
    seen = {same_text(text) for text in known}
    taken: Counter[str] = Counter()
    rows = []
    for name, read in FILES:
        raw = list(lines(data / name))
        rng.shuffle(raw)
        for one in raw:
            text, lang, source = read(one)
            group, _, part = source.partition("/")
            key = same_text(text)
            full = taken[group] >= MOST.get(group, 0)
            if full or not key or key in seen or part in held_subreddits:
                continue
            if one.get("split", "train") != "train":
                continue
            seen.add(key)
            taken[group] += 1
            tone = SENTIMENTS.index(one["sentiment"]) if "sentiment" in one else NO_LABEL
            given = post_id(source, text)
            rows.append(Row(given, prepare(text), lang, source, NO_LABEL, (), tone))
    return rows


def teach(rows: Sequence[Row], teacher: Encoder, cache: Path) -> list[Row]:
    """The rows with the teacher's logits; what was read stays in the folder `cache`.

    Goes on where it was stopped; parts of another teacher or other rows are made anew.
    """
    cache.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        key = f"{start}-{teacher.heads.version}-{part[0].id}-{part[-1].id}"
        path = cache / f"{key}.npy"
        if not path.exists():
            logits, _ = teacher.run([row.text for row in part])
            unfinished = path.with_suffix(".new.npy")
            np.save(unfinished, logits)
            unfinished.replace(path)
        parts.append(np.load(path))
    logits = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
    return [
        replace(row, teacher=tuple(one)) for row, one in zip(rows, logits.tolist(), strict=True)
    ]


def mean_taught(rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """The rows, each with the mean of its two teachers' logits."""
    return [
        replace(row, teacher=tuple(np.mean([row.teacher, other.teacher], axis=0).tolist()))
        for row, other in zip(rows, others, strict=True)
    ]


def telling(rows: Sequence[Row], count: int, rng: random.Random) -> list[Row]:
    """At most `count` taught rows: those that may be about a purchase first, then any others.

    "May be": the teacher's odds of a stage other than none are above one in ten.
    """
    logits = np.array([row.teacher for row in rows], np.float32)
    stage: Floats = logits[:, columns("stage")]
    odds = np.log(np.exp(stage[:, 1:]).sum(1)) - stage[:, 0]
    near = [row for row, one in zip(rows, odds, strict=True) if one > np.log(0.1)]
    far = [row for row, one in zip(rows, odds, strict=True) if one <= np.log(0.1)]
    rng.shuffle(near)
    rng.shuffle(far)
    return [*near, *far][:count]
