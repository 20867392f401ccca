"""What is kept: nothing by excluded authors, names with the words they require."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import NOW, FakeConnector, mention, page, store_in
from click.testing import CliRunner

from connectors.base import Author, Mention
from listener.cli import main
from listener.collect import Source, collect
from listener.config import Config, ConfigError, parse
from listener.keeping import keeper
from listener.pipeline import Parts
from listener.store import Store
from listener.vocabulary import queries, requirements, terms

TEXT = """
[brand]
name = "Mercury"
aliases = ["Mercury Marine"]
handles = ["@mercurymarine"]
hashtags = ["#mercury"]
urls = ["https://mercury.example/shop"]
terms = { es = ["Mercurio"] }
require_all = ["boat"]

[[categories]]
name = "outboard"
words = { en = ["outboard"] }

[sources]
exclude_authors = ["@DealsBot", "u/AutoPoster", "did:plc:spam"]
"""


def config(more: str = "") -> Config:
    return parse(TEXT + more, file="config.toml")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def kept(store: Store, *mentions: Mention, prefiltered: bool = False) -> list[str]:
    chosen = config()
    connector = FakeConnector(prefiltered=prefiltered)
    keep = keeper(store, connector, Parts(chosen).matcher, chosen.sources.exclude_authors)
    return [one.native_id for one in keep(mentions)]


POSTS = (
    mention("1", "an outboard", by="dealsbot"),
    mention("2", "an outboard", by="@DEALSBOT"),
    mention("3", "an outboard", by="autoposter"),
    Mention(
        source="bluesky",
        native_id="4",
        text="an outboard",
        published_at=NOW,
        author=Author(source="bluesky", native_id="did:plc:spam", handle="x.example"),
    ),
    mention("5", "an outboard", by="dealsbot2"),
    mention("6", "an outboard"),
    mention("7", "weather"),
)


@pytest.mark.parametrize(("prefiltered", "left"), [(False, ["5", "6"]), (True, ["5", "6", "7"])])
def test_excluded_authors_are_left_out_whatever_the_source(
    store: Store, prefiltered: bool, left: list[str]
) -> None:
    assert kept(store, *POSTS, prefiltered=prefiltered) == left


def test_an_excluded_author_stays_out_as_an_answer_too(store: Store) -> None:
    asked = mention("1", "which outboard?", by="ana")
    answers = [
        mention("2", "see our deals", by="DealsBot", parent_id="1"),
        mention("3", "thanks", by="ana", parent_id="2"),
        mention("4", "try the small one", by="ben", parent_id="1"),
    ]
    # What answers only the post that is left out has nothing left to belong to.
    assert kept(store, asked, *answers) == ["1", "4"]


def test_a_round_stores_nothing_by_excluded_authors(store: Store) -> None:
    chosen = config()
    sources = [
        Source(name="search", connector=FakeConnector([page(*POSTS)], by_query=True)),
        Source(name="file", connector=FakeConnector([page(*POSTS)])),
    ]
    collect(store, sources, queries(chosen), Parts(chosen).matcher, now=NOW)
    assert {row["native_id"] for row in store.rows("SELECT native_id FROM mentions")} == {
        "5",
        "6",
        "7",
    }
    assert store.value("SELECT count(*) FROM authors") == 1


def test_an_import_leaves_excluded_authors_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(TEXT, "utf-8")
    with (tmp_path / "a.jsonl").open("w", encoding="utf-8") as file:
        for n, name in enumerate(("Ana", "dealsbot", "DealsBot", "Ben")):
            post = {"id": str(n), "text": "hi", "created_at": "2026-01-01T00:00:00Z"}
            file.write(json.dumps(post | {"author": {"id": f"i{n}", "username": name}}) + "\n")
    result = CliRunner().invoke(main, ["import", "a.jsonl", "--json"])
    assert [row["kept"] for row in json.loads(result.stdout)] == [2], result.output


def test_a_name_without_the_words_it_requires_is_not_kept(store: Store) -> None:
    posts = [
        mention("1", "Mercury is in retrograde"),
        mention("2", "Mercury on two boats"),
        mention("3", "hey @mercurymarine"),
        mention("4", "look: https://mercury.example/shop/1"),
        mention("5", "an outboard"),
        mention("6", "un Mercurio para mi boat"),
    ]
    assert kept(store, *posts) == ["2", "3", "4", "5", "6"]


def test_queries_carry_required_words_and_excluded_authors() -> None:
    asked = queries(config())
    assert [(one.name, one.any_of, one.all_of) for one in asked] == [
        ("Mercury", ("Mercury", "Mercury Marine", "#mercury"), ("boat",)),
        # Accounts and addresses mean nothing else: they are searched without.
        ("Mercury [@]", ("@mercurymarine", "mercury.example/shop"), ()),
        ("Mercury [es]", ("Mercurio",), ("boat",)),
        ("outboard [en]", ("outboard",), ()),
    ]
    assert {one.not_authors for one in asked} == {("@DealsBot", "u/AutoPoster", "did:plc:spam")}
    assert requirements(config()) == {("brand", "Mercury"): ("boat",)}


def test_required_words_change_the_vocabulary() -> None:
    without = parse(TEXT.replace('require_all = ["boat"]', ""), file="config.toml")
    assert Parts(config()).vocabulary_version != Parts(without).vocabulary_version
    assert [one.all_of for one in queries(without)] == [()] * 3


def test_an_author_with_a_blank_would_never_match_and_is_refused() -> None:
    with pytest.raises(ConfigError, match="without spaces"):
        parse(TEXT.replace("@DealsBot", "Deals Bot"), file="config.toml")


def x(user: str, *, enabled: bool = True, brand: str = "") -> Config:
    switched = "true" if enabled else "false"
    return parse(
        f'[brand]\nname = "Acme"\n{brand}\n[sources.x]\nenabled = {switched}\n'
        f'bearer_token = {{ env = "X" }}\nuser = "{user}"\n',
        file="config.toml",
    )


@pytest.mark.parametrize("user", ["@acme_es", "acme_es"])
def test_mentions_of_the_account_on_x_count_for_the_brand(store: Store, user: str) -> None:
    chosen = x(user)
    assert [term.text for term in terms(chosen)] == ["Acme", "@acme_es"]
    keep = keeper(store, FakeConnector(prefiltered=False), Parts(chosen).matcher)
    assert len(keep([mention("1", "@Acme_ES are you open?"), mention("2", "@acme_fr")])) == 1
    same = x(user, brand='handles = ["@Acme_es"]')
    assert [term.text for term in terms(same)] == ["Acme", "@Acme_es"]


def test_an_id_on_x_needs_a_handle_by_which_mentions_are_known() -> None:
    with pytest.raises(ConfigError, match=r"sources\.x\.user.*is an id") as caught:
        x("123456")
    assert "handles" in str(caught.value)
    assert x("123456", enabled=False).sources.x.user == "123456"
    assert [term.text for term in terms(x("123456", brand='handles = ["@acme"]'))] == [
        "Acme",
        "@acme",
    ]
