import re
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import bluesky_query, discourse_query, mastodon_query, reddit_query, x_query
from connectors.base import Author, BadConfig, Clause, Compiled, Compiles, Query
from connectors.hackernews import HackerNews
from connectors.http import Http
from connectors.query import (
    Dialect,
    compile_query,
    once,
    plural,
    quoted,
    same_name,
    utf8_bytes,
    utf16_units,
    written_by,
)
from connectors.reddit import RedditSearch
from connectors.reddit_api import RedditApi
from connectors.x import Search
from nlp.words import fold, inflections

QUERY = Query(name="q", kind="brand", any_of=("Acme",))
Compiler = Callable[[Query], Compiled]


x = Search(Http(), "token").compile
reddit = RedditSearch(RedditApi()).compile
hackernews = HackerNews(Http()).compile
SITES: dict[Compiler, Callable[[str], int]] = {x: utf16_units, reddit: len, hackernews: utf8_bytes}
every_site = pytest.mark.parametrize("compiler", SITES, ids=["x", "reddit", "hackernews"])


def parts(compiled: Compiled, part: str) -> list[tuple[str, str | None]]:
    return [(clause.text, clause.syntax) for clause in compiled.clauses if clause.part == part]


# ---- what every compiler promises --------------------------------------------------------------

HOSTILE = st.sampled_from(
    ['foo" OR bar', 'foo") OR ("', "foo\\", '\\"', "(a OR b)", "-minus", "- x", "lang:es", "OR",
     "not", "from:me", "-is:retweet", "author:me", "AND NOT", "“curly”", "＂wide＂", "☕", "👩‍🚀 a",
     "@acme", "#acme", "acme.example", "acme.example/a?b=(c)", "coffee maker", "máquina", "u/me",
     "a\nb", "a\u00a0b", "\x00", "", " ", '""', "*", "a*", "~b", "x" * 120, "ñ" * 90, "::", "日本"]
)  # fmt: skip
TERMS = st.lists(st.one_of(HOSTILE, st.text(max_size=30)), min_size=1, max_size=25).map(tuple)
FEW = st.lists(st.one_of(HOSTILE, st.text(max_size=12)), max_size=6).map(tuple)
QUERIES = st.builds(
    Query,
    name=st.just("q"),
    kind=st.sampled_from(["brand", "product", "competitor", "category"]),
    any_of=TERMS,
    all_of=FEW,
    none_of=FEW,
    langs=st.lists(st.sampled_from(["en", "es", "pt", "qu"]), unique=True, max_size=3).map(tuple),
    not_authors=FEW,
)


@every_site
@settings(max_examples=60, deadline=None)
@given(query=QUERIES)
def test_searches_fit_and_hold_every_term_once_and_every_clause(
    compiler: Compiler, query: Query
) -> None:
    if not any(quoted(term.lstrip("@# ")) for term in once(query.any_of)):
        return
    compiled = compiler(query)
    asked = {syntax for _, syntax in parts(compiled, "any_of") if syntax}
    assert [text for text, _ in parts(compiled, "any_of")] == once(query.any_of)
    shared = [one.syntax for one in compiled.clauses if one.part != "any_of" and one.syntax]
    tail = "".join(f" {syntax}" for syntax in shared)
    bodies = []
    for search in compiled.searches:
        assert SITES[compiler](search) <= 512
        assert search.endswith(tail)
        body = search.removesuffix(tail)
        grouped = compiler is x or (compiler is reddit and shared)
        bodies.append(body[1:-1] if grouped else body)
    if compiler is hackernews:
        assert sorted(bodies) == sorted(asked)
    else:
        # Nothing but the terms and OR between them, so none is there twice.
        joined = " OR ".join(bodies)
        assert all(syntax in joined for syntax in asked)
        assert len(joined) == len(" OR ".join(asked))


@every_site
@settings(max_examples=25, deadline=None)
@given(query=QUERIES, order=st.randoms(use_true_random=False))
def test_the_order_of_terms_does_not_change_the_searches(
    compiler: Compiler, query: Query, order: Random
) -> None:
    # Of terms that differ only in case the first is asked for.
    terms = list(dict.fromkeys(term.casefold() for term in query.any_of))
    there = replace(query, any_of=tuple(terms))
    order.shuffle(terms)
    try:
        searches = compiler(there).searches
    except BadConfig:
        return
    assert compiler(replace(query, any_of=tuple(terms))).searches == searches


def shape(search: str, kinds: dict[str, str]) -> str:
    """The search with a letter for each kind of token; "?" is something that was not meant."""
    bare = re.sub(r'(url:)?"[^"\\]+"', "T", search)
    letters = []
    for token in re.findall(r"[()]|[^\s()]+", bare):
        kind = next((kind for pattern, kind in kinds.items() if re.fullmatch(pattern, token)), "?")
        letters.append(kind)
    return " ".join(letters)


@settings(max_examples=100, deadline=None)
@given(query=QUERIES)
def test_no_term_is_taken_for_syntax_by_x(query: Query) -> None:
    try:
        searches = x(query).searches
    except BadConfig:
        return
    kinds = {
        r"OR|[()]": "S",
        r"(?i)or|and|not": "?",
        r"[@#]?\w+": "T",
        r"lang:[a-z]{2}": "L",
        r"-is:retweet": "R",
        r"-from:\w{1,19}": "F",
        r"-\w+": "N",
    }
    either = "S T( S T)* S"
    for search in searches:
        assert re.fullmatch(
            rf"{either}( L|( S L( S L)+ S))? R( T| {either})*( F)*( N)*", shape(search, kinds)
        )
        assert search.count("(") == search.count(")") or '"' in search


@settings(max_examples=100, deadline=None)
@given(query=QUERIES)
def test_no_term_is_taken_for_syntax_by_reddit(query: Query) -> None:
    try:
        searches = reddit(query).searches
    except BadConfig:
        return
    kinds = {"T": "T", "OR": "O", "AND": "A", "NOT": "N", r"[()]": "P", r"-author:[\w-]+": "F"}
    either = "T( O T)*"
    for search in searches:
        assert re.fullmatch(
            rf"{either}|P {either} P( A P {either} P)*( F)*( A N T)*", shape(search, kinds)
        )


@every_site
@pytest.mark.parametrize("term", ["x" * 400, "palabra " * 50, "☕" * 260], ids=["x", "words", "☕"])
def test_a_term_that_is_too_long_is_refused_with_the_fix(compiler: Compiler, term: str) -> None:
    with pytest.raises(
        BadConfig, match=r"'q' has a term of \d+ characters, too long for .*shorten"
    ):
        compiler(replace(QUERY, any_of=("Acme", term)))


@every_site
def test_a_query_without_terms_is_refused_with_the_fix(compiler: Compiler) -> None:
    with pytest.raises(BadConfig, match=r"'q' has no terms .* give it one"):
        compiler(replace(QUERY, any_of=("", " \n")))


@pytest.mark.parametrize(
    "connector", [Search(Http(), ""), RedditSearch(RedditApi()), HackerNews(Http())]
)
def test_connectors_that_search_tell_how(connector: object) -> None:
    assert isinstance(connector, Compiles)


SINGLE: dict[Compiler, int] = {
    bluesky_query.compile_query: bluesky_query.LIMIT,
    mastodon_query.compile_search: mastodon_query.LIMIT,
    discourse_query.compile_query: discourse_query.LIMIT,
}


@pytest.mark.parametrize("compiler", SINGLE, ids=["bluesky", "mastodon", "discourse"])
@settings(max_examples=60, deadline=None)
@given(query=QUERIES)
def test_sites_without_or_get_one_search_for_each_term(compiler: Compiler, query: Query) -> None:
    try:
        compiled = compiler(query)
    except BadConfig:
        # Of these sites the smallest takes terms of half its limit, which these may be above.
        assert not any(re.search(r"\w", term) for term in query.any_of) or any(
            len(term) > 100 for term in query.any_of
        )
        return
    asked = {syntax for _, syntax in parts(compiled, "any_of") if syntax}
    shared = [syntax for _, syntax in parts(compiled, "all_of") if syntax]
    more = ["order:latest"] if compiler is discourse_query.compile_query else []
    wanted = sorted(" ".join([term, *shared, *more]) for term in asked)
    assert sorted(compiled.searches) == wanted
    for search in compiled.searches:
        assert len(search) <= SINGLE[compiler]
        bare = re.sub(r'"[^"\\]+"', "", search.removesuffix("order:latest"))
        for token in bare.split():
            assert re.fullmatch(r"[@#]?\w[\w.-]*", token)
            # Discourse knows no such operators.
            assert more or token.lower() not in {"and", "or", "not"}


# ---- what is shared ----------------------------------------------------------------------------


def test_half_of_a_search_is_for_its_terms() -> None:
    noise = tuple(f"some noise of kind {n:02}" for n in range(30))
    query = replace(QUERY, any_of=tuple(f"term {n}" for n in range(90)), none_of=noise)
    compiled = x(query)
    told = parts(compiled, "none_of")
    fitting = [text for text, syntax in told if syntax]
    assert 5 < len(fitting) < 30
    assert fitting == list(noise[: len(fitting)])
    (tail,) = {search.partition(") ")[2] for search in compiled.searches}
    assert 200 < len(tail) <= 256
    assert len(compiled.searches) < 6


def test_what_is_too_long_for_a_search_leaves_room_for_shorter_clauses() -> None:
    compiled = x(replace(QUERY, none_of=("noise " * 60, "dj"), all_of=("word " * 80,)))
    assert compiled.searches == ("(Acme) -is:retweet -dj",)
    assert [syntax for _, syntax in parts(compiled, "all_of")] == [None]


def test_a_site_may_take_few_terms_at_once() -> None:
    dialect = Dialect(
        site="Here",
        limit=100,
        most=2,
        join=lambda terms, clauses: "|".join([*terms, *clauses]),
        any_of=lambda spellings: spellings[0],
        all_of=lambda spellings: None,
        none_of=lambda term: f"-{term}",
        langs=lambda langs: None,
        not_author=lambda name: None,
    )
    query = replace(
        QUERY, any_of=("c", "a", "b"), none_of=("d",), langs=("en",), not_authors=("e",)
    )
    fixed = Clause(part="retweets", text="none", syntax="!r")
    compiled = compile_query(query, dialect, [fixed])
    assert compiled.searches == ("a|b|!r|-d", "c|!r|-d")
    assert [(one.part, one.syntax) for one in compiled.clauses[3:]] == [
        ("langs", None),
        ("retweets", "!r"),
        ("not_authors", None),
        ("none_of", "-d"),
    ]


def test_terms_are_counted_once_and_stand_on_one_line() -> None:
    assert once(["Acme\n press", "ACME press", "", " \x00 ", "acme"]) == ["Acme press", "acme"]


def test_authors_are_known_by_handle_or_id_in_any_case() -> None:
    names = {same_name(name) for name in ("@OurBot", "u/Deals_Bot", "did:plc:ABC", " 42 ")}
    assert names == {"ourbot", "deals_bot", "did:plc:abc", "42"}
    assert written_by(Author(source="x", native_id="1", handle="ourbot"), names)
    assert written_by(Author(source="m", native_id="1", handle="@OURBOT"), names)
    assert written_by(Author(source="x", native_id="42"), names)
    assert not written_by(Author(source="m", native_id="1", handle="ourbot@else.example"), names)
    assert not written_by(Author(source="x", native_id="1", handle=None, name="OurBot"), names)
    assert not written_by(None, names)


@pytest.mark.parametrize(
    ("term", "lang", "many"),
    [
        ("cafetera", "es", "cafeteras"),
        ("lápiz", "es", "lápices"),
        ("presión", "es", "presiones"),
        ("autobús", "es", "autobuses"),
        ("motor", "es", "motores"),
        ("robot", "es", "robots"),
        ("café", "es", "cafés"),
        ("cafetera italiana", "es", "cafeteras italianas"),
        ("cafetera italiana de acero", "es", "cafeteras italianas de acero"),
        ("máquina de café", "es", "máquinas de café"),
        ("máquina espresso", "es", "máquinas espresso"),
        ("cafetera exprés", "es", "cafeteras exprés"),
        ("molino manual", "es", "molinos manuales"),
        ("café recién molido", "es", "cafés recién molidos"),
        ("auriculares", "es", None),
        ("auriculares inalámbricos", "es", None),
        ("coffee machine", "en", "coffee machines"),
        ("pod for coffee", "en", "pods for coffee"),
        ("battery", "en", "batteries"),
        ("toy", "en", "toys"),
        ("brush", "en", "brushes"),
        ("box", "en", "boxes"),
        ("glass", "en", "glasses"),
        ("bean-to-cup", "en", "bean-to-cups"),
        ("headphones", "en", None),
        ("TV", "en", None),
        ("#coffee", "en", None),
        ("@coffee", "en", None),
        ("coffee.example", "en", None),
        ("x-200", "en", None),
        ("café 2", "es", None),
        ("cafeteira", "pt", None),
        ("", "en", None),
    ],
)  # fmt: skip
def test_the_plural_of_a_noun_and_of_its_phrase(term: str, lang: str, many: str | None) -> None:
    assert plural(term, lang) == many


@given(st.text("abcefgilnorsuvxyzñáéíóúü", min_size=1), st.sampled_from(["en", "es"]))
def test_a_plural_is_one_that_counts_as_a_match(word: str, lang: str) -> None:
    many = plural(word, lang)
    assert many is None or fold(many)[0] in inflections(fold(word)[0], [lang])


# ---- platforms ---------------------------------------------------------------------------------


def test_x_is_asked_for_the_plurals_of_words_but_not_of_names() -> None:
    words = replace(QUERY, kind="category", any_of=("cafetera", "#cafetera"), langs=("es",))
    assert x(words).searches == ("(#cafetera OR cafetera OR cafeteras) lang:es -is:retweet",)
    for kind in ("brand", "product", "competitor"):
        names = replace(QUERY, kind=kind, any_of=("Uno", "@uno"))
        assert x(names).searches == ("(@uno OR Uno) -is:retweet",)
    own = replace(QUERY, kind="product", any_of=("pocket brewer",), langs=("en",))
    assert x(own).searches == ('("pocket brewer" OR "pocket brewers") lang:en -is:retweet',)


def test_a_plural_that_is_a_term_itself_is_asked_for_once() -> None:
    query = replace(QUERY, kind="category", any_of=("pod", "Pods"), langs=("en",))
    assert x(query).searches == ("(Pods OR pod) lang:en -is:retweet",)


def test_a_plural_that_makes_a_term_too_long_is_left_out() -> None:
    term = "wide " * 40 + "pod"
    query = replace(QUERY, kind="category", any_of=(term,), langs=("en",))
    assert x(query).searches == (f'("{term}") lang:en -is:retweet',)


def test_x_takes_all_clauses() -> None:
    query = Query(
        name="q",
        kind="brand",
        any_of=("Mercury",),
        all_of=("boat", "bomba de agua"),
        none_of=("bank",),
        langs=("en",),
        not_authors=("@OurBot", "42", "u/deals", "far@else.example", "a-b"),
    )
    compiled = x(query)
    assert compiled.searches == (
        '(Mercury) lang:en -is:retweet (boat OR boats) ("bomba de agua" OR '
        '"bomba de aguas" OR "bombas de agua") -from:OurBot -from:42 -from:deals -bank',
    )
    assert dict(parts(compiled, "not_authors"))["far@else.example"] is None
    assert dict(parts(compiled, "not_authors"))["a-b"] is None


def test_reddit_takes_all_but_languages() -> None:
    query = Query(
        name="q",
        kind="category",
        any_of=("@Mercury", "outboard"),
        all_of=("boat",),
        none_of=("bank", "freddie mercury"),
        langs=("en",),
        not_authors=("u/Our-Bot", "x y"),
    )
    compiled = reddit(query)
    assert compiled.searches == (
        '("Mercury" OR "outboard" OR "outboards") AND ("boat" OR "boats") -author:Our-Bot '
        'AND NOT "bank"',
    )
    here = [one.text for one in compiled.clauses if one.syntax is None]
    assert here == ["en", "x y", "freddie mercury"]


def test_hacker_news_is_searched_for_words_alone() -> None:
    query = replace(
        QUERY,
        any_of=("@Acme", "Acme Press", "acme"),
        all_of=("Coffee",),
        none_of=("noise",),
        langs=("en",),
        not_authors=("bot",),
    )
    compiled = hackernews(query)
    assert compiled.searches == ("acme coffee", "acme press coffee")
    here = [one.part for one in compiled.clauses if one.syntax is None]
    assert here == ["langs", "not_authors", "none_of"]


def test_limits_are_those_of_the_platforms() -> None:
    assert (x_query.LIMIT, reddit_query.LIMIT) == (512, 512)
    assert (utf16_units("é☕👩"), utf8_bytes("é☕👩")) == (4, 9)


def test_of_alternatives_a_site_is_asked_for_either_where_it_can() -> None:
    query = replace(QUERY, any_of=("Mercury",), all_of=("boat|barco",))
    assert x(query).searches == ("(Mercury) -is:retweet (boat OR boats OR barco OR barcos)",)
    for compiler in (bluesky_query.compile_query, mastodon_query.compile_search):
        (clause,) = [one for one in compiler(query).clauses if one.part == "all_of"]
        assert (clause.text, clause.syntax) == ("boat|barco", None)
        assert compiler(replace(query, all_of=("|",))).searches


def test_a_bar_with_a_word_on_one_side_only_is_that_word() -> None:
    query = replace(QUERY, any_of=("Mercury",), all_of=("boat|",))
    assert x(query).searches == ("(Mercury) -is:retweet (boat OR boats)",)
