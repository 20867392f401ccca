"""Where a text names a brand, product, competitor or category: PhraseMatcher over folded words.

A text is folded once (case, accents, width, marks and zero-width characters go away; every folded
character remembers where it came from) and cut into words, and only words that occur in some term
reach spaCy. So the vocabulary never grows, and speed hardly depends on the number of terms.

What counts as the same word
- Case and accents never matter, nor do hyphens and spaces inside a name: "X-200", "X200", "X 200";
  "Coca-Cola", "coca cola", "#CocaCola". Sentence marks do: "coffee. Machine" is no coffee machine.
- Names of categories and products match in singular and plural, Spanish and English; names of
  brands and competitors as written, with or without "'s", or with "s'" and a capital ("Lumoras'").
- A name with a word of seven or more letters also matches with one letter of that word missing,
  added, changed or swapped with its neighbour (never the first letter), unless the result is a word
  of another term, a common word of English or Spanish, or could be two names. Category words and
  handles are never guessed.
- Names of at most three characters with fewer than two digits ("HP", "3M") match only in their
  written case, or as a whole @handle or #hashtag. Category words that short ("TV", "té") match in
  any case, with accents as written. So do codes of one letter or of an everyday word with a space
  before the number: "xm 4" is an XM-4, but "x 200" is no X-200.
- "@name" matches that handle only, "#name" that hashtag only, "shop.example/path" every link to it
  or below it. A plain name also matches the handle that is exactly the name, a hashtag that is the
  name, a word of a #CompoundHashtag, and, from seven letters on, the beginning or end of a
  #lowercasehashtag. Words inside links do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .common import common_words
from .patterns import (
    LINK_MARK,
    LONG,
    STOP,
    TOKEN,
    WORD,
    Entity,
    Pattern,
    Term,
    exclusion_patterns,
    guess_index,
    requirement_patterns,
    term_patterns,
    word_classes,
)
from .words import as_written, compact, compounds, fold, inflections, one_edit, original, shortened

_GAP = "\x00"
_APOSTROPHES = ("'", "\u2019", "\u02bc")
_MAX_HOST = 253

_LINK = re.compile(
    r"(?<![\w.@-])(?:https?://)?(\w[\w-]*+(?:\.[\w-]++)+)(?::\d++)?(/[^\s?\#<>\"']*+)?"
)


@dataclass(frozen=True, slots=True)
class Span:
    """`text[start:end]` names the entity (`kind`, `name`); `term` is the term that says so.

    Offsets count code points of the text as given, end exclusive.
    """

    kind: str
    name: str
    term: str
    start: int
    end: int


class _Token(NamedTuple):
    """A folded word. `tight`: glued to the word before. `whole`: in a whole handle or hashtag."""

    form: str
    start: int
    end: int
    tight: bool = False
    whole: bool = False
    handle: bool = False
    guessed: bool = False


class Matcher:
    """Finds the terms in texts; build once, use for any number of batches.

    `exclusions` maps (kind, name) to phrases. A phrase that contains one of the entity's own terms
    ("luma fusion" for "Luma") cancels the matches it touches; any other phrase, wherever it occurs,
    cancels every match of that entity in the text. `requirements` maps it to words that the text
    has to hold too, each of them somewhere, for a match that is no @handle and no address to count;
    they are found as words of a category are, and of "boat|barco" one is enough. Raises BadTerm.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        exclusions: Mapping[Entity, Sequence[str]] | None = None,
        requirements: Mapping[Entity, Sequence[str]] | None = None,
    ) -> None:
        import spacy
        from spacy.matcher import PhraseMatcher
        from spacy.tokens import Doc

        patterns = [pattern for term in terms for pattern in term_patterns(term)]
        patterns += exclusion_patterns(patterns, exclusions or {})
        self._required = {
            entity: [{one.strip() for one in word.split("|") if one.strip()} for word in words]
            for entity, words in (requirements or {}).items()
            if words
        }
        patterns += requirement_patterns(self._required)
        self._known = word_classes(patterns)
        self._guesses = guess_index(patterns)
        self._common = common_words() if self._guesses else frozenset()
        self._longest = max(map(len, self._known), default=0)
        self._links: dict[str, set[str]] = {}
        self._groups: dict[int, list[Pattern]] = {}
        self._doc = Doc
        self._vocab = spacy.blank("xx").vocab
        self._matcher = PhraseMatcher(self._vocab, attr="ORTH")
        for pattern in patterns:
            if pattern.words[0].startswith(LINK_MARK):
                host, slash, path = pattern.words[0].removeprefix(LINK_MARK).partition("/")
                self._links.setdefault(host, set()).add(slash + path)
            keys = [self._known[word] for word in pattern.words]
            group = self._vocab.strings.add(" ".join(keys))
            if group not in self._groups:
                self._matcher.add(" ".join(keys), [Doc(self._vocab, words=keys)])
            self._groups.setdefault(group, []).append(pattern)

    def match(
        self, texts: Sequence[str], langs: Sequence[str] | None = None
    ) -> list[tuple[Span, ...]]:
        """The spans of each text, in order; `langs` are ISO 639-1 codes or "und" (the default).

        Spans are sorted by start, the longer first. Of overlapping matches of one entity the
        longest stays; different entities may overlap. Never raises because of a text.
        """
        languages = ["und"] * len(texts) if langs is None else langs
        return [self._match(text, lang) for text, lang in zip(texts, languages, strict=True)]

    def _match(self, text: str, lang: str) -> tuple[Span, ...]:
        folded, origins = fold(text)
        tokens: list[_Token] = []
        keys: list[str] = []
        for found in self._tokens(text, folded, origins):
            token = found
            key = self._known.get(token.form)
            if key is None and token.form[-1:] == "s" and _owns(text, folded, origins, token):
                token = token._replace(form=token.form[:-1])
                key = self._known.get(token.form)
            if key is None and self._guesses and not token.handle:
                guess = self._guess(token.form)
                if guess:
                    key = self._known[guess]
                    token = token._replace(form=guess, guessed=True)
            if key is not None:
                tokens.append(token)
                keys.append(key)
            elif keys and keys[-1] != _GAP:
                tokens.append(token)
                keys.append(_GAP)
        if not keys:
            return ()
        spans: list[Span] = []
        doubtful: list[Span] = []
        barred: list[tuple[Pattern, int, int]] = []
        there: dict[Entity, set[str]] = {}
        for group, first, last in self._matcher(self._doc(self._vocab, words=keys)):
            if tokens[first].tight or (last < len(tokens) and tokens[last].tight):
                continue
            words = tokens[first:last]
            start, end = original(words[0].start, words[-1].end, text, origins)
            for pattern in self._groups[group]:
                if not _fits(pattern, words, text[start:end], lang):
                    continue
                if pattern.required:
                    there.setdefault(pattern.entity, set()).add(pattern.term)
                elif pattern.excludes:
                    barred.append((pattern, start, end))
                else:
                    doubt = pattern.entity in self._required and not pattern.sure
                    span = Span(*pattern.entity, pattern.term, start, end)
                    (doubtful if doubt else spans).append(span)
        met = {
            entity
            for entity, words in there.items()
            if not any(alike.isdisjoint(words) for alike in self._required[entity])
        }
        spans += [span for span in doubtful if (span.kind, span.name) in met]
        return _longest_of_each(_without(spans, barred))

    def _tokens(self, text: str, folded: str, origins: list[int] | None) -> Iterator[_Token]:
        """The words of a text; then, each after a gap, other readings of its tags and links."""
        readings: list[_Token] = []
        word_end = -1
        for found in TOKEN.finditer(folded):
            what = found.lastgroup
            start, end = found.span(what or 0)
            form = found[what or 0]
            if what == "word":
                tight = start == word_end and form not in "&+"
                yield _Token(form, start, end, tight)
                word_end = -1 if form in "&+" else end
                continue
            word_end = -1
            if what == "hashtag":
                cuts = compounds(as_written(text, origins, start, end))
                for a, b in cuts:
                    yield _Token(form[a:b], start + a, start + b, whole=len(cuts) == 1)
                readings += self._hashtag_readings(form, start, single=len(cuts) == 1)
            else:
                yield _Token(STOP if what == "stop" else _GAP, start, end)
            if what == "handle":
                readings += _handle_readings(form, start)
        yield from readings
        if self._links and "." in folded:
            yield from self._link_readings(folded)

    def _hashtag_readings(self, body: str, start: int, *, single: bool) -> Iterator[_Token]:
        end = start + len(body)
        yield _Token(_GAP, start, end)
        yield _Token(f"#{body}", start - 1, end)
        if not single:
            yield _Token(_GAP, start, end)
            for found in WORD.finditer(body):
                yield _Token(found[0], start + found.start(), start + found.end(), whole=True)
        elif len(body) > LONG:
            for length in range(LONG, min(len(body) - 1, self._longest) + 1):
                for a in (0, len(body) - length):
                    if body[a : a + length] in self._known:
                        yield _Token(_GAP, start, end)
                        yield _Token(body[a : a + length], start + a, start + a + length)

    def _link_readings(self, folded: str) -> Iterator[_Token]:
        for found in _LINK.finditer(folded):
            host, path = found[1], found[2] or ""
            if len(host) > _MAX_HOST:
                continue
            labels = [0, *(dot.end() for dot in re.finditer(r"\.", host))]
            for label in labels:
                for known in self._links.get(host[label:], ()):
                    if path.startswith(known) and path[len(known) : len(known) + 1] in {"", "/"}:
                        start, end = found.start(1) + label, found.end(1)
                        yield _Token(_GAP, start, end)
                        if known:
                            end = found.start(2) + len(known)
                        yield _Token(f"{LINK_MARK}{host[label:]}{known}", start, end)

    def _guess(self, form: str) -> str | None:
        """The one word of a name that is one edit away from `form`, if there is exactly one."""
        if not LONG - 1 <= len(form) <= self._longest + 1 or form in self._common:
            return None
        near = {
            word
            for short in shortened(form)
            for word in self._guesses.get(short, ())
            if one_edit(form, word)
        }
        if len(near) != 1:
            return None
        guess = near.pop()
        # The plural of a common word, unless the name has that "s" itself or is the singular.
        singular = form.removesuffix("s")
        plural = singular in self._common and singular != guess and not guess.endswith("s")
        return None if plural else guess


def _owns(text: str, folded: str, origins: list[int] | None, token: _Token) -> bool:
    """Whether a word has a capital and "s'" behind it: the possessive of a name in the plural."""
    if folded[token.end : token.end + 1] not in _APOSTROPHES or token.handle or token.whole:
        return False
    start, _ = original(token.start, token.end, text, origins)
    after = folded[token.end + 1 : token.end + 2]
    return text[start].isupper() and not after.isalnum()


def _fits(pattern: Pattern, words: Sequence[_Token], surface: str, lang: str) -> bool:
    """Whether words that fell into the pattern's classes are words that the pattern allows."""
    if pattern.langs and lang not in {"und", *pattern.langs}:
        return False
    if not pattern.inflected and pattern.words != tuple(word.form for word in words):
        return False
    if not pattern.guessable and any(word.guessed for word in words):
        return False
    if (pattern.cased == "always" and not all(word.whole for word in words)) or (
        pattern.cased == "spaced" and any(map(str.isspace, surface))
    ):
        written, given = compact(pattern.term), compact(surface)
        if pattern.everyday:
            written, given = written.casefold(), given.casefold()
        return given in (inflections(written, pattern.langs) if pattern.inflected else {written})
    return True


def _without(spans: list[Span], barred: list[tuple[Pattern, int, int]]) -> list[Span]:
    """The spans that no exclusion phrase cancels, given where those phrases stand."""
    everywhere = {pattern.entity for pattern, _, _ in barred if pattern.excludes == "text"}
    covered: dict[Entity, set[int]] = {}
    for pattern, start, end in barred:
        covered.setdefault(pattern.entity, set()).update(range(start, end))
    nothing: set[int] = set()
    return [
        span
        for span in spans
        if (span.kind, span.name) not in everywhere
        and covered.get((span.kind, span.name), nothing).isdisjoint(range(span.start, span.end))
    ]


def _longest_of_each(spans: list[Span]) -> tuple[Span, ...]:
    """Spans in order of the text, without those that overlap a longer one of the same entity."""
    kept: dict[Entity, list[Span]] = {}
    for span in sorted(spans, key=lambda one: (one.start, -one.end, one.term)):
        same = kept.setdefault((span.kind, span.name), [])
        if not same or span.start >= same[-1].end:
            same.append(span)
        elif span.end - span.start > same[-1].end - same[-1].start:
            same[-1] = span
    flat = [span for same in kept.values() for span in same]
    return tuple(sorted(flat, key=lambda one: (one.start, -one.end, one.kind, one.name)))


def _handle_readings(handle: str, start: int) -> Iterator[_Token]:
    end = start + len(handle)
    yield _Token(_GAP, start, end)
    yield _Token(f"@{handle}", start - 1, end, handle=True)
    yield _Token(_GAP, start, end)
    for at, found in enumerate(WORD.finditer(handle)):
        a, b = found.span()
        # Glued, so that only a name that covers the whole handle can match.
        yield _Token(found[0], start + a, start + b, tight=at > 0, whole=True, handle=True)
