from __future__ import annotations

from listener.config import Config, default, parse
from listener.vocabulary import exclusions, queries, senses, terms
from nlp.patterns import Term
from nlp.relevance import Sense

TEXT = """
[brand]
name = "Lumora"
aliases = ["Lumora Café", "LUMORA"]
handles = ["lumora"]
hashtags = ["lumora"]
urls = ["https://www.Lumora.example:8443/es/?ref=1"]
terms = { en = ["the L machine"], es = ["la cafetera L", "La Cafetera L", "lumora"] }
exclude = ["dj lumora"]
description = "Coffee machines"
examples = { yes = ["my Lumora leaks"], no = ["Lumora sang"] }

[[products]]
name = "Uno"
urls = ["http://lumora.example/uno"]

[[competitors]]
name = "Moketto"
handles = ["@mokettohome"]
terms = { es = ["el de Moketto"] }

[[categories]]
name = "espresso machine"
words = { en = ["espresso machine"], es = ["cafetera"], pt = [] }
hashtags = ["#homeespresso"]
exclude = ["cafetera de juguete"]
"""


def config() -> Config:
    return parse(TEXT, file="config.toml")


def test_terms_carry_kind_name_and_language() -> None:
    assert terms(config()) == (
        Term("Lumora", "brand", "Lumora"),
        Term("Lumora Café", "brand", "Lumora"),
        Term("@lumora", "brand", "Lumora"),
        Term("#lumora", "brand", "Lumora"),
        Term("lumora.example/es", "brand", "Lumora"),
        Term("the L machine", "brand", "Lumora", ("en",)),
        Term("la cafetera L", "brand", "Lumora", ("es",)),
        Term("Uno", "product", "Uno"),
        Term("lumora.example/uno", "product", "Uno"),
        Term("Moketto", "competitor", "Moketto"),
        Term("@mokettohome", "competitor", "Moketto"),
        Term("el de Moketto", "competitor", "Moketto", ("es",)),
        Term("#homeespresso", "category", "espresso machine"),
        Term("espresso machine", "category", "espresso machine", ("en",)),
        Term("cafetera", "category", "espresso machine", ("es",)),
    )


def test_exclusions_belong_to_their_subject() -> None:
    assert exclusions(config()) == {
        ("brand", "Lumora"): ("dj lumora",),
        ("category", "espresso machine"): ("cafetera de juguete",),
    }


def test_senses_say_what_names_mean() -> None:
    found = {sense.name: sense for sense in senses(config())}
    assert found["Lumora"] == Sense(
        name="Lumora",
        words=("Lumora", "Lumora Café"),
        description="Coffee machines",
        yes=("my Lumora leaks",),
        no=("Lumora sang",),
    )
    assert [name for name, sense in found.items() if sense.known] == ["Lumora"]
    assert list(found) == ["Lumora", "Uno", "Moketto", "espresso machine"]


def test_queries_ask_for_each_word_once() -> None:
    asked = queries(config())
    assert [(query.name, query.kind, query.langs) for query in asked] == [
        ("Lumora", "brand", ()),
        ("Lumora [en]", "brand", ("en",)),
        ("Lumora [es]", "brand", ("es",)),
        ("Uno", "product", ()),
        ("Moketto", "competitor", ()),
        ("Moketto [es]", "competitor", ("es",)),
        ("espresso machine", "category", ()),
        ("espresso machine [en]", "category", ("en",)),
        ("espresso machine [es]", "category", ("es",)),
    ]
    assert [word for query in asked for word in query.any_of] == [
        term.text for term in terms(config())
    ]
    assert {query.none_of for query in asked if query.kind == "category"} == {
        ("cafetera de juguete",)
    }


def test_names_of_queries_are_cursor_keys_and_so_differ() -> None:
    names = [query.name for query in queries(default())]
    assert len(names) == len(set(names)) > 20


def test_the_default_hears_both_languages_in_each_category() -> None:
    spoken: dict[str, set[str]] = {}
    for term in terms(default()):
        if term.kind == "category":
            spoken.setdefault(term.name, set()).update(term.langs)
    assert len(spoken) == 5
    assert all(langs == {"en", "es"} for langs in spoken.values())
