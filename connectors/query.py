"""What compilers of queries share: terms, their plurals, and searches within a limit of length.

A search asks for some of the terms of `any_of`, and every search holds the clauses that all of them
share. What a site cannot be asked, or what does not fit, runs locally: whatever the site does, each
post is matched again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from .base import Author, BadConfig, Clause, Compiled, Query
from .text import clean_text

Syntax = Callable[[str], str | None]
"""What a site is asked for one text; None where it cannot be asked."""
Choice = Callable[[Sequence[str]], str | None]
"""What a site is asked for any of several texts; None where it cannot be asked."""

# Quotes end a phrase, and not every site can escape them; between words they are a mere gap.
_QUOTES = re.compile(r'["\u201c-\u201f\uff02\\]+')
_WORDS = re.compile(r"[^\W\d_]+(?:[ '\u2019-][^\W\d_]+)*")
# Words behind which the noun of a phrase has ended, and those that have no plural.
_JOINTS = {
    "en": frozenset(("at", "for", "from", "in", "of", "on", "that", "to", "with", "without")),
    "es": frozenset((
        "a", "al", "con", "de", "del", "el", "en", "la", "las", "los", "para", "por", "que", "sin",
        "un", "una", "y",
    )),
}  # fmt: skip
_INVARIABLE = frozenset(("bien", "casi", "muy", "más", "menos", "recién"))
_PLAIN = str.maketrans("áéíóú", "aeiou")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one site is asked.

    A search is at most `limit` long by `measure` and holds at most `most` terms; `join` makes it of
    its terms and the clauses that it shares with others. `any_of` and `all_of` get a term with its
    plurals.
    """

    site: str
    limit: int
    join: Callable[[Sequence[str], Sequence[str]], str]
    any_of: Choice
    all_of: Choice
    none_of: Syntax
    langs: Choice
    not_author: Syntax
    measure: Callable[[str], int] = len
    most: int | None = None
    plurals: bool = True


def compile_query(query: Query, dialect: Dialect, fixed: Sequence[Clause] = ()) -> Compiled:
    """The searches for `query`, in an order that does not depend on that of its terms.

    Each term of `any_of` is in one search; each search has the languages, the `fixed` clauses, then
    as many of `all_of`, `not_authors` and `none_of` as fit into half of it. The other half is for
    terms. Raises BadConfig for a query without terms that the site can be asked, or with a term too
    long.
    """
    half = dialect.limit // 2
    terms = once(query.any_of)
    wanted = [_wanted(query, term, terms, dialect, half) for term in terms]
    asked = sorted({clause.syntax for clause in wanted if clause.syntax})
    if not asked:
        raise BadConfig(
            f"query {query.name!r} has no terms that {dialect.site} can be asked; give it one"
        )
    shared: list[str] = []
    rest: list[Clause] = []
    for clause in _shared(query, dialect, fixed):
        syntax = clause.syntax
        fits = syntax and dialect.measure(dialect.join([""], [*shared, syntax])) <= half
        shared += [syntax] if syntax and fits else []
        rest.append(replace(clause, syntax=syntax if fits else None))
    groups: list[list[str]] = []
    for term in asked:
        group = [*groups[-1], term] if groups else [term]
        fits = dialect.measure(dialect.join(group, shared)) <= dialect.limit
        if groups and fits and (dialect.most is None or len(group) <= dialect.most):
            groups[-1] = group
        else:
            groups.append([term])
    searches = tuple(dialect.join(group, shared) for group in groups)
    return Compiled(searches=searches, clauses=(*wanted, *rest))


def once(terms: Iterable[str]) -> list[str]:
    """The terms on one line each, without those that differ from an earlier one only in case."""
    first: dict[str, str] = {}
    for term in terms:
        if line := " ".join(clean_text(term).split()):
            first.setdefault(line.casefold(), line)
    return [*first.values()]


def quoted(text: str) -> str | None:
    """`text` as a phrase in quotes, in which no sign is an operator; None for one without words."""
    inner = " ".join(_QUOTES.sub(" ", text).split())
    return f'"{inner}"' if inner else None


def utf16_units(text: str) -> int:
    """Length of `text` where an emoji counts as two; whoever counts it as one is left some room."""
    return len(text.encode("utf-16-le")) // 2


def utf8_bytes(text: str) -> int:
    """Length of `text` in UTF-8."""
    return len(text.encode())


def plural(term: str, lang: str) -> str | None:
    """The likely plural of a noun, or of the noun of a phrase with it, in English or Spanish.

    English inflects one word ("pods for coffee"), Spanish the noun and what agrees with it
    ("cafeteras italianas de acero", but "máquinas espresso"). None in other languages, for a
    plural, and for what is not made of words, such as a handle, a hashtag or an address.
    """
    if lang not in _JOINTS or not _WORDS.fullmatch(term):
        return None
    words = term.split(" ")
    joints = (at for at, word in enumerate(words) if at and word.lower() in _JOINTS[lang])
    end = next(joints, len(words))
    first = end - 1 if lang == "en" else 0
    noun = words[first:end]
    made = [(_agrees(noun[0], word) and _plural(word, lang)) or word for word in noun]
    return None if made == noun else " ".join([*words[:first], *made, *words[end:]])


def bare_name(name: str) -> str:
    """A handle or id without "@" or "u/" in front."""
    return re.sub(r"\A(?:@|/?u/)", "", name.strip())


def same_name(name: str) -> str:
    """A handle or id as it is compared: bare and in lower case."""
    return bare_name(name).casefold()


def written_by(author: Author | None, names: Collection[str]) -> bool:
    """Whether the handle or the id of `author` is among `names`, which are as `same_name` gives."""
    if author is None:
        return False
    return any(same_name(one) in names for one in (author.handle, author.native_id) if one)


def _plural(word: str, lang: str) -> str | None:
    low = word.lower()
    if len(word) < 3 or low in _INVARIABLE:
        return None
    if lang == "es":
        if low[-1] in "aeiouáéíóú":
            return f"{word}s"
        if low[-1] == "z":
            return f"{word[:-1]}ces"
        if low[-1] == "s":
            accented = low[-2] in "áéíóú"
            return f"{_plain_end(word)}es" if accented else None
        # What ends in another consonant has come from elsewhere: "robots", "chips".
        return f"{_plain_end(word)}es" if low[-1] in "ldrnjy" else f"{word}s"
    if low.endswith(("ss", "us", "x", "z", "ch", "sh")):
        return f"{word}es"
    if low.endswith("s"):
        return None
    return f"{word[:-1]}ies" if re.search(r"[^aeiou]y\Z", low) else f"{word}s"


def _agrees(noun: str, word: str) -> bool:
    """Whether a word behind a Spanish noun can be its adjective, by the gender of both."""
    if noun.endswith("a"):
        return not word.endswith(("o", "or", "án", "és", "ón"))
    return not (noun.endswith("o") and word.endswith("a"))


def _plain_end(word: str) -> str:
    """The word without the accent that its last syllable loses in the plural: "presión"."""
    return word[:-2] + word[-2:].translate(_PLAIN)


def _with_plurals(term: str, langs: Sequence[str], others: Collection[str]) -> list[str]:
    """The term and its plurals in `langs`, without those that are other terms themselves."""
    known = {one.casefold() for one in others}
    made = [form for lang in langs if (form := plural(term, lang))]
    return [term, *(form for form in once(made) if form.casefold() not in known)]


def _wanted(query: Query, term: str, terms: Collection[str], dialect: Dialect, half: int) -> Clause:
    # Words of a language have a plural that counts as a match. Names have none, or it is another
    # word ("Uno", "unos") and a paid search brings every post that holds it.
    word = query.kind == "category" or (query.kind == "product" and query.langs)
    spellings = _with_plurals(term, query.langs if word and dialect.plurals else (), terms)
    for number in range(len(spellings), 0, -1):
        syntax = dialect.any_of(spellings[:number])
        if syntax is None or dialect.measure(dialect.join([syntax], [])) <= half:
            return Clause(part="any_of", text=term, syntax=syntax)
    raise BadConfig(
        f"query {query.name!r} has a term of {len(term)} characters, too long for {dialect.site}; "
        "shorten it to a few words"
    )


def _shared(query: Query, dialect: Dialect, fixed: Sequence[Clause]) -> Iterable[Clause]:
    if query.langs:
        syntax = dialect.langs(query.langs)
        yield Clause(part="langs", text=", ".join(query.langs), syntax=syntax)
    yield from fixed
    # These are in any language, whatever that of the terms; a plural that is none finds nothing.
    langs = ("en", "es") if dialect.plurals else ()
    for term in once(query.all_of):
        alike = once(term.split("|"))
        spellings = [form for one in alike for form in _with_plurals(one, langs, ())]
        # A site that is asked one term a search knows no "or".
        askable = len(alike) == 1 or (alike and dialect.most != 1)
        syntax = dialect.all_of(spellings) if askable else None
        yield Clause(part="all_of", text=term, syntax=syntax)
    for name in once(query.not_authors):
        yield Clause(part="not_authors", text=name, syntax=dialect.not_author(name))
    for term in once(query.none_of):
        yield Clause(part="none_of", text=term, syntax=dialect.none_of(term))
