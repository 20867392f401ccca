"""Rows to learn from: labelled posts, sentiment posts, and cheap variations of their texts."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nlp.base import BINARY_HEADS, SENTIMENTS, SIGNALS, STAGES
from nlp.reading import aligned, moved, prepare

NO_LABEL = -1


@dataclass(frozen=True, slots=True)
class Row:
    """One text. `stage` and `sentiment` are indices, `flags` the 3 binary heads and the 9 signals;

    `NO_LABEL` (and no flags) where the row says nothing about a head. `targets` are (start, end,
    sentiment) of what the author speaks of, in code points of the text. `teacher` are the logits of
    a larger model, for a smaller one to follow.
    """

    id: str
    text: str
    lang: str
    source: str
    stage: int
    flags: tuple[int, ...]
    sentiment: int
    targets: tuple[tuple[int, int, int], ...] = ()
    teacher: tuple[float, ...] = ()


def read_labels(path: Path) -> list[Row]:
    """Rows of a labelled file (train, dev or written)."""
    with path.open(encoding="utf-8") as lines:
        return [labelled(json.loads(line)) for line in lines]


def labelled(raw: dict[str, Any]) -> Row:
    """A row of a labelled file, parsed."""
    flags = [raw[head] for head in BINARY_HEADS]
    flags += [int(signal in raw["signals"]) for signal in SIGNALS]
    return Row(
        id=raw.get("id") or _digest(raw["text"]),
        text=prepare(raw["text"]),
        lang=raw["lang"],
        source=raw.get("source", "written"),
        stage=STAGES.index(raw["stage"]),
        flags=tuple(flags),
        sentiment=SENTIMENTS.index(raw["sentiment"]),
    )


def read_sentiment(path: Path, split: str) -> list[Row]:
    """Sentiment-only rows of a split."""
    rows = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            raw = json.loads(line)
            if raw["split"] == split:
                text = prepare(_escapes(raw["text"]))
                tone = SENTIMENTS.index(raw["sentiment"])
                rows.append(
                    Row(_digest(text), text, raw["lang"], raw["source"], NO_LABEL, (), tone)
                )
    return rows


def without(rows: Iterable[Row], known: Iterable[str]) -> list[Row]:
    """The rows, each text once, without those whose text is among `known`."""
    seen = {same_text(text) for text in known}
    kept = []
    for row in rows:
        key = same_text(row.text)
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return kept


def read_targets(path: Path) -> list[Row]:
    """Rows with a sentiment toward each target, `id` that of their group of contrasting texts."""
    rows = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            raw = json.loads(line)
            text, origins = aligned(raw["text"])
            targets = tuple(
                (*moved(origins, one["start"], one["end"]), SENTIMENTS.index(one["sentiment"]))
                for one in raw["targets"]
            )
            tone = _common_tone([one[2] for one in targets])
            rows.append(
                Row(raw["group"], text, raw["lang"], "targets", NO_LABEL, (), tone, targets)
            )
    return rows


def _common_tone(tones: Sequence[int]) -> int:
    """Sentiment of a text whose targets are all liked or all disliked, else `NO_LABEL`."""
    common = set(tones)
    neutral = SENTIMENTS.index("neu")
    return common.pop() if len(common) == 1 and neutral not in common else NO_LABEL


def read_slots(path: Path, names: Path, copies: int) -> list[Row]:
    """Rows of texts with slots for names, each text `copies` times with other names.

    A line of `path` is language, sector, a sign (- 0 +) for each name, and the text with {A}, {B}
    and {C} in their places; one of `names` is language, sector and names joined by |.
    """
    known = {}
    for line in names.read_text("utf-8").splitlines():
        lang, sector, listed = line.split("\t")
        known[lang, sector] = listed.split("|")
    rng = random.Random(1)
    rows = []
    for line in path.read_text("utf-8").splitlines():
        lang, sector, signs, text = line.split("\t")
        for _ in range(copies):
            filled, places = _filled(text, rng.sample(known[lang, sector], len(signs)))
            targets = tuple((start, end, "-0+".index(signs[slot])) for start, end, slot in places)
            rows.append(Row(text, filled, lang, "slots", NO_LABEL, (), NO_LABEL, targets))
    return rows


def _filled(text: str, names: Sequence[str]) -> tuple[str, list[tuple[int, int, int]]]:
    """The text with the names in its slots, and (start, end, number) of each slot filled."""
    parts = re.split(r"\{([A-C])\}", text)
    out = parts[0]
    places = []
    for letter, after in zip(parts[1::2], parts[2::2], strict=True):
        slot = "ABC".index(letter)
        places.append((len(out), len(out) + len(names[slot]), slot))
        out += names[slot] + after
    return out, places


def _escapes(text: str) -> str:
    r"""SemEval files write some signs as `\u2019` or doubled quotes."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)
    return re.sub(r'"{2,}', '"', text.replace('\\"', '"'))


def same_text(text: str) -> str:
    """What two copies of a post share: letters and digits, without handles and links."""
    return re.sub(r"\W+", "", re.sub(r"@\w+|http\S*", "", text.lower()))


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:12]


def split(rows: Sequence[Row], share: float) -> tuple[list[Row], list[Row]]:
    """(rows to learn from, rows held out): about `share` of them held out, by hash of the id.

    A row stays on its side when others are added.
    """
    learn: list[Row] = []
    held: list[Row] = []
    for row in sorted(rows, key=lambda row: _digest(row.id)):
        (held if int(_digest(row.id), 16) < share * 16**12 else learn).append(row)
    return learn, held


def balanced(rows: Sequence[Row], per_class: int, rng: random.Random) -> list[Row]:
    """At most `per_class` rows of each language and sentiment, drawn by `rng`."""
    groups: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.lang, row.sentiment].append(row)
    return [
        row
        for _, group in sorted(groups.items())
        for row in rng.sample(group, min(per_class, len(group)))
    ]


_SIGNS = "👍😂🔥❤️😭🙏🎉💯😍🤔😡👀✨!?.…-_#*0123456789"


def silent(count: int, rng: random.Random) -> list[Row]:
    """Texts without a letter (the first is empty): stage none, no flag, no sentiment."""
    flags = (0,) * (len(BINARY_HEADS) + len(SIGNALS))
    texts = ["", *("".join(rng.choices(_SIGNS, k=rng.randint(1, 12))) for _ in range(count - 1))]
    return [
        Row(_digest(text), text, rng.choice(("en", "es")), "silent", 0, flags, NO_LABEL)
        for text in texts
    ]


def without_accents(text: str) -> str:
    """The text as typed in haste: no accents (ñ stays), no opening ¿ and ¡."""
    parts = unicodedata.normalize("NFD", text.replace("¿", "").replace("¡", ""))
    kept = (
        sign
        for at, sign in enumerate(parts)
        if not unicodedata.combining(sign) or (sign == "\u0303" and parts[at - 1] in "nN")
    )
    return unicodedata.normalize("NFC", "".join(kept))


def typos(text: str, rng: random.Random) -> str:
    """The text with about one slip in 40 signs: two swapped, one lost or one doubled."""
    signs = list(text)
    for _ in range(1 + len(signs) // 40):
        if len(signs) < 4:
            break
        at = rng.randrange(len(signs) - 1)
        slip = rng.randrange(3)
        if slip == 0:
            signs[at], signs[at + 1] = signs[at + 1], signs[at]
        elif slip == 1:
            del signs[at]
        else:
            signs.insert(at, signs[at])
    return "".join(signs)


def _anonymous(text: str) -> str:
    return re.sub(r"@\w+", "@user", text)


def unmarked(text: str) -> str:
    """The text without the marks that some files have in place of handles, links and emoji.

    No post to come has them, and they would tell which file a text is from.
    """
    return " ".join(_MARK.sub(" ", text).split()) if _MARK.search(text) else text


def _unasked(text: str) -> str:
    return text.replace("?", "").replace("¿", "")


def _unsmiling(text: str) -> str:
    return "".join(sign for sign in text if unicodedata.category(sign) != "So")


_MARK = re.compile(r"\b_(?:usr|url|emo|num)\b")
_VARIATIONS: tuple[tuple[float, Callable[[str], str]], ...] = (
    (0.12, str.lower),
    (0.02, str.upper),
    (0.15, without_accents),
    (0.25, _anonymous),
    (0.5, unmarked),
    (0.06, _unasked),
    (0.05, _unsmiling),
)
_TYPO_SHARE = 0.08
_LOWER_SHARE = 0.25


def vary(row: Row, rng: random.Random) -> Row:
    """The row with its text changed at random in ways that keep its labels (often not at all).

    A text with targets keeps its length, and with it the places of the targets.
    """
    text = row.text
    if row.targets:
        lower = text.lower() if rng.random() < _LOWER_SHARE else text
        return replace(row, text=lower) if len(lower) == len(text) else row
    for share, change in _VARIATIONS:
        if rng.random() < share:
            text = change(text)
    if rng.random() < _TYPO_SHARE:
        text = typos(text, rng)
    return replace(row, text=text)
