"""Wordings that tell that a purchase is over, given up or due soon: PhraseTagger.

Kinds and labels of the tags
- "outcome": "purchased" (the author has bought or chosen), "deciding" (announces the choice),
  "none" (gives up choosing), "thanks" (thanks the advisers in a way that ends the asking).
- "urgency": "deadline" (the author needs it soon).

How a text is read
- The text is folded as for matching, but keeps the written acute accents, since "compré", "compro"
  and "compró" have different subjects. Where writers often leave an accent out, it is optional.
- A pattern finds the words that say it. Then the words around it decide whether they are said of
  the author and meant: a sentence with another subject, a condition, a doubt, a question, a quoted
  line, an old story or a joke is no outcome. What is looked at is bounded, so the work is linear
  in the length of the text.
- A wording that stands three times or more in one text is a song or a game, and no outcome.

Scores are constants of the pattern families, no measured probabilities: `STRONG` for wordings that
hardly mean anything else ("ended up buying"), `USUAL` for those that mean it nearly always, `WEAK`
for those that need their context ("went with Movistar").
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from . import phrases_en, phrases_es
from .base import Tag
from .words import fold, original

STRONG, USUAL, WEAK = 0.95, 0.85, 0.7
SCORES = {"strong": STRONG, "usual": USUAL, "weak": WEAK}

LONGEST = 120
"""Most characters of a span."""

REACH = 300
"""How far a sentence is followed on each side of what was found, in characters."""

_RULES = "1"
_REPEATED = 3
_NEAR = 60
_ANSWER = 40
_GRAVITY = {"none": 2, "purchased": 1}
_TABLES = {"en": phrases_en, "es": phrases_es}
_QUOTES = str.maketrans("\u2018\u2019\u02bc\u00b4\u201c\u201d\u00ab\u00bb", "''''\"\"\"\"")
_ACUTE = dict(zip("aeiou", "áéíóú", strict=True))

_BREAK = re.compile(r"(?<!\bvs)[.!?]++(?!\w)|\n")
_CLAUSE = re.compile(r"[,;:()\n]|[^\S\n][-\u2013\u2014]{1,2}[^\S\n]|\.\.")
_FRAGMENT = re.compile(r"<([a-zÉ_]+)>")
_LETTER = re.compile(r"[^\W_]")
_NAME_SKIPPED = re.compile(r"i|i'.*|edit|update|ok|usr|user|emo")
_WORD = re.compile(r"[^\W_][\w'+-]*")


class _Row(NamedTuple):
    """A pattern: what it says, how surely, and which conditions `needs` names (see _Language)."""

    kind: str
    label: str
    score: float
    needs: frozenset[str]
    regex: re.Pattern[str]


class _Language(NamedTuple):
    """A compiled table. The guards are searched in the words around what a row found."""

    rows: tuple[_Row, ...]
    subject: re.Pattern[str]
    dropped: re.Pattern[str]
    short: re.Pattern[str]
    other: re.Pattern[str]
    negated: re.Pattern[str]
    relative: re.Pattern[str]
    unsure: re.Pattern[str]
    conditional: re.Pattern[str]
    past: re.Pattern[str]
    joking: re.Pattern[str]
    ending: re.Pattern[str]
    wanted: re.Pattern[str]
    stop: re.Pattern[str]


class _Read(NamedTuple):
    """A text ready for the patterns: `spelled` has the offsets of `folded`."""

    text: str
    spelled: str
    origins: list[int] | None

    def written(self, start: int, end: int) -> str:
        """What the text has at a stretch of `spelled`."""
        return (
            self.text[slice(*original(start, end, self.text, self.origins))] if end > start else ""
        )


class _Hit(NamedTuple):
    """What a row found; `stop` is where its clause ends."""

    start: int
    end: int
    stop: int
    row: _Row


class _Around(NamedTuple):
    """The rest of the sentence of a hit, and of its clause; `asked`: that clause is a question."""

    before: str
    after: str
    clause: str
    rest: str
    asked: bool


class PhraseTagger:
    """Tags the outcomes and deadlines that a text words; needs no model and keeps no state.

    Texts in "en" and "es" are read with the patterns of their language, all others with both.
    """

    @property
    def name(self) -> str:
        """Returns "phrases"."""
        return "phrases"

    @property
    def version(self) -> str:
        """Returns the version of the rules and a hash of the pattern tables."""
        return _version()

    def tag(self, texts: Sequence[str], langs: Sequence[str]) -> list[tuple[Tag, ...]]:
        """Tags of each text, sorted by start; every tag has a span of at most `LONGEST` characters.

        A span begins at the wording and ends with its clause: "ended up buying the X", without the
        "because ..." or "instead of the Y" behind it.
        """
        return [_tags(text, lang) for text, lang in zip(texts, langs, strict=True)]


def named_after(text: str, start: int, end: int) -> tuple[int, int]:
    """Bounds of the sentence that holds `text[start:end]`, at most `REACH` characters either side.

    What an outcome names stands there. A sentence ends at ".", "!", "?" before a space, and at a
    line break; a span over several sentences yields all of them.
    """
    first, last = max(0, start - REACH), min(len(text), end + REACH)
    breaks = list(_BREAK.finditer(text, first, last))
    first = max((one.end() for one in breaks if one.end() <= start), default=first)
    last = min((one.end() for one in breaks if one.end() >= end), default=last)
    while first < start and text[first].isspace():
        first += 1
    while last > end and text[last - 1].isspace():
        last -= 1
    return first, last


@cache
def _version() -> str:
    tables = [
        (name, table.FRAGMENTS, table.PATTERNS, table.GUARDS) for name, table in _TABLES.items()
    ]
    return f"{_RULES}-{hashlib.sha256(repr(tables).encode()).hexdigest()[:8]}"


@cache
def _language(lang: str) -> _Language:
    table = _TABLES[lang]
    fragments = dict(_entries(table.FRAGMENTS))
    rows = []
    for heading, pattern in _entries(table.PATTERNS):
        label, family, *needs = heading.split()
        kind = "urgency" if label == "deadline" else "outcome"
        regex = _compiled(pattern, fragments)
        rows.append(_Row(kind, label, SCORES[family], frozenset(needs), regex))
    guards = {name: _compiled(pattern, fragments) for name, pattern in _entries(table.GUARDS)}
    return _Language(rows=tuple(rows), **guards)


def _entries(block: str) -> list[tuple[str, str]]:
    """The (heading, pattern) pairs of a table; the indented lines below a heading are joined."""
    entries: list[tuple[str, str]] = []
    for line in block.strip("\n").split("\n"):
        if line.startswith("    "):
            heading, pattern = entries.pop()
            entries.append((heading, pattern + line[4:]))
        elif not line.startswith("#"):
            entries.append((line, ""))
    return entries


def _compiled(pattern: str, fragments: Mapping[str, str]) -> re.Pattern[str]:
    """A pattern of a table as regular expression.

    "<name>" stands for the fragment of that name, a space for one or a few on one line, a lowercase
    accented vowel for the vowel with or without accent, an uppercase one for the accent as written.
    """
    while (found := _FRAGMENT.search(pattern)) is not None:
        pattern = f"{pattern[: found.start()]}(?:{fragments[found[1]]}){pattern[found.end() :]}"
    for vowel, acute in _ACUTE.items():
        pattern = pattern.replace(acute, f"[{vowel}{acute}]").replace(acute.upper(), acute)
    pattern = pattern.replace("ñ", "n").replace(" ?", r"[^\S\n]{0,4}")
    return re.compile(pattern.replace(" ", r"[^\S\n]{1,4}"))


def _read(text: str) -> _Read:
    folded, origins = fold(text)
    spelled = folded
    if not text.isascii():
        at = range(len(folded)) if origins is None else origins
        spelled = "".join(
            _ACUTE[char] if char in _ACUTE and _acute(text, place) else char
            for char, place in zip(folded, at, strict=True)
        ).translate(_QUOTES)
    return _Read(text, spelled, origins)


def _acute(text: str, at: int) -> bool:
    char = text[at]
    if char.isascii():
        return text[at + 1 : at + 2] == "\u0301"
    return "\u0301" in unicodedata.normalize("NFD", char)


def _tags(text: str, lang: str) -> tuple[Tag, ...]:
    read = _read(text)
    hits: list[_Hit] = []
    for code in [lang] if lang in _TABLES else _TABLES:
        hits += _hits(read, _language(code))
    return tuple(
        Tag(kind=hit.row.kind, label=hit.row.label, score=hit.row.score, start=start, end=end)
        for hit in sorted(_chosen(hits), key=lambda hit: hit[:3])
        for start, end in [original(hit.start, hit.stop, text, read.origins)]
    )


def _hits(read: _Read, language: _Language) -> list[_Hit]:
    """What the rows of a language found and the words around it do not take back."""
    meant: list[_Hit] = []
    for row in language.rows:
        for found in row.regex.finditer(read.spelled):
            first = _LETTER.search(read.spelled, *found.span())
            start = first.start() if first else found.start()
            around = _around(read.spelled, start, found.end())
            if _is_meant(read, row, start, found.end(), around, language):
                rest = language.stop.search(around.rest)
                length = rest.start() if rest else len(around.rest)
                stop = _shortened(read.spelled, start, found.end(), found.end() + length)
                meant.append(_Hit(start, found.end(), stop, row))
    said = Counter((hit.row, read.spelled[hit.start : hit.end]) for hit in meant)
    meant = [hit for hit in meant if said[hit.row, read.spelled[hit.start : hit.end]] < _REPEATED]
    closed = sorted(
        at
        for hit in meant
        if hit.row.kind == "outcome" and hit.row.label != "thanks"
        for at in (hit.start, hit.end)
    )
    return [
        hit
        for hit in meant
        if not hit.row.needs & {"beside", "ending"} or _ends(read.spelled, hit, closed, language)
    ]


def _around(spelled: str, start: int, end: int) -> _Around:
    before, after = spelled[max(0, start - REACH) : start], spelled[end : end + REACH]
    breaks = [one.end() for one in _BREAK.finditer(before)]
    before = before[breaks[-1] if breaks else 0 :]
    stop = _BREAK.search(after)
    after = after[: stop.start() if stop else len(after)]
    cuts = [one.end() for one in _CLAUSE.finditer(before)]
    cut = _CLAUSE.search(after)
    rest = after[: cut.start() if cut else len(after)]
    whole = len(rest) == len(after) and "¿" not in rest
    asked = "¿" in before or (whole and stop is not None and "?" in stop[0])
    return _Around(before, after, before[cuts[-1] if cuts else 0 :], rest, asked)


def _is_meant(
    read: _Read, row: _Row, start: int, end: int, around: _Around, language: _Language
) -> bool:
    """Whether the author says it of themselves, for true, and of now."""
    before, after, clause, rest, asked = around
    if language.negated.search(clause) or _quoted(read.spelled, start, before, after):
        return False
    if "named" in row.needs and not _names(read.written(end, end + len(rest))):
        return False
    if row.kind == "urgency":
        sentence = before + read.spelled[start:end] + after
        return (
            "wanted" not in row.needs
            or ("answer" in row.needs and len(sentence) < _ANSWER)
            or bool(language.wanted.search(sentence))
        )
    if "short" in row.needs and not language.short.fullmatch(before):
        return False
    if "own" in row.needs and not (
        language.subject.search(before)
        or (language.dropped.search(before) and not language.other.search(before))
    ):
        return False
    if row.label == "thanks":
        return True
    if "main" in row.needs and language.relative.search(before):
        return False
    if asked or language.unsure.search(clause):
        return False
    if row.label == "deciding" and (
        language.conditional.search(before) or language.conditional.search(after)
    ):
        return False
    if row.label == "purchased" and (language.past.search(before) or language.past.search(after)):
        return False
    return not language.joking.search(read.spelled, end, end + REACH // 4)


def _quoted(spelled: str, start: int, before: str, after: str) -> bool:
    """Whether it stands in quotation marks, or in a line that quotes another post."""
    if before.count('"') % 2 and '"' in after:
        return True
    line = spelled.rfind("\n", max(0, start - REACH), start) + 1
    return spelled.startswith((">", "&gt;"), line) or spelled.startswith("rt ", line)


def _names(written: str) -> bool:
    """Whether one of the next words is written like a name or a model: a capital or a digit."""
    words = [one[0] for one in _WORD.finditer(written[:60])][:4]
    return any(
        not _NAME_SKIPPED.fullmatch(word.lower()) and (word[0].isupper() or not word.isalpha())
        for word in words
    )


def _ends(spelled: str, hit: _Hit, closed: Sequence[int], language: _Language) -> bool:
    """Whether thanks come with an outcome or another word that nothing is asked any more."""
    first, last = max(0, hit.start - _NEAR), min(len(spelled), hit.stop + _NEAR)
    if "ending" in hit.row.needs:
        found = language.ending.search(spelled, first, last)
        bounds = found.span() if found else None
    else:
        near = closed[bisect_left(closed, first) : bisect_right(closed, last)]
        bounds = (near[0], near[-1]) if near else None
    if bounds is None:
        return False
    return "?" not in spelled[min(bounds[0], hit.start) : max(bounds[1], hit.stop)]


def _shortened(spelled: str, start: int, end: int, stop: int) -> int:
    """Where the span ends: with its clause, or with the last whole word that `LONGEST` allows."""
    if stop - start > LONGEST:
        space = spelled.rfind(" ", end, start + LONGEST)
        stop = min(max(end, space), start + LONGEST)
    while stop > end and not spelled[stop - 1].isalnum():
        stop -= 1
    return stop


def _chosen(hits: Sequence[_Hit]) -> Iterator[_Hit]:
    """One hit of each stretch: of what overlaps, the graver label, the surer, then the longer."""
    groups: dict[tuple[str, bool], list[_Hit]] = {}
    for hit in hits:
        groups.setdefault((hit.row.kind, hit.row.label == "thanks"), []).append(hit)
    for group in groups.values():
        group.sort(key=lambda hit: (hit.start, -hit.stop))
        best = group[0]
        for hit in group[1:]:
            if hit.start >= best.stop:
                yield best
                best = hit
            else:
                best = max(best, hit, key=_weight)
        yield best


def _weight(hit: _Hit) -> tuple[int, float, int, int]:
    return _GRAVITY.get(hit.row.label, 0), hit.row.score, hit.stop - hit.start, -hit.start
