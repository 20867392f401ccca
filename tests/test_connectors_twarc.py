import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import BadConfig, Budget, Mention
from connectors.mapping import NO_DATE, OddRecord
from connectors.opening import open_file
from connectors.twarc import Twarc, is_twarc, page_mentions

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHARED = Path(__file__).parents[2] / "shared" / "data" / "payloads" / "x" / "twarc"
ANA = {
    "id": "7",
    "username": "ana",
    "name": "Ana",
    "public_metrics": {"followers_count": 12, "following_count": 1},
}
LUZ = {"id": "8", "username": "luz", "name": "Luz"}


def post(native_id: str = "1500000000000000001", **fields: Any) -> dict[str, Any]:
    return {
        "id": native_id,
        "text": "hola",
        "author_id": "7",
        "conversation_id": native_id,
        "created_at": "2024-05-06T07:08:09.000Z",
        **fields,
    }


def page(*posts: dict[str, Any], tweets: Any = (), users: Any = (ANA, LUZ), **more: Any) -> Any:
    return {
        "data": list(posts),
        "includes": {"users": list(users), "tweets": list(tweets)},
        "meta": {"result_count": len(posts)},
        **more,
    }


def one(value: Any) -> Mention:
    mapped = page_mentions(value, now=NOW)
    assert len(mapped.mentions) == 1
    assert mapped.skipped == ()
    return mapped.mentions[0]


def test_a_post_with_its_author_and_figures() -> None:
    figures = {"like_count": 1, "reply_count": 2, "retweet_count": 3, "quote_count": 4}
    withheld = {"copyright": False, "country_codes": ["DE"]}
    mention = one(
        page(
            post(
                "11",
                conversation_id="9",
                lang="es",
                public_metrics={**figures, "impression_count": 50},
                referenced_tweets=[{"type": "replied_to", "id": "10"}],
                withheld=withheld,
            )
        )
    )
    assert (mention.source, mention.native_id, mention.text) == ("x", "11", "hola")
    assert mention.url == "https://x.com/ana/status/11"
    assert mention.published_at == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert (mention.parent_id, mention.root_id, mention.lang) == ("10", "9", "es")
    counts = mention.counts
    assert (counts.likes, counts.replies, counts.shares, counts.views) == (1, 2, 7, 50)
    assert mention.author is not None
    assert (mention.author.native_id, mention.author.handle) == ("7", "ana")
    assert (mention.author.name, mention.author.followers) == ("Ana", 12)
    assert mention.raw is not None
    assert mention.raw["withheld"] == withheld


def test_an_author_who_is_not_included_is_an_id() -> None:
    mention = one(page(post("11"), users=()))
    assert mention.url == "https://x.com/i/status/11"
    assert mention.author is not None
    assert (mention.author.native_id, mention.author.handle) == ("7", None)
    assert one(page({"id": "11", "text": "bare"})).author is None


@pytest.mark.parametrize(
    ("given_lang", "lang"),
    [("en", "en"), ("in", "id"), *((odd, None) for odd in ("und", "qme", "zxx", "qst", None))],
)
def test_only_real_languages_count(given_lang: str | None, lang: str | None) -> None:
    assert one(page(post(lang=given_lang))).lang == lang


def test_a_retweet_has_the_whole_original_and_not_its_shares() -> None:
    whole = "una frase tan larga que no cabe " * 8 + "fin &amp; punto https://t.co/abc"
    original = post(
        "20",
        author_id="8",
        text=whole,
        entities={"urls": [{"url": "https://t.co/abc", "expanded_url": "https://a.example/b"}]},
    )
    retweet = post(
        "21",
        text=f"RT @luz: {whole[:120]}…",
        referenced_tweets=[{"type": "retweeted", "id": "20"}],
        public_metrics={"retweet_count": 400, "quote_count": 0, "like_count": 0},
    )
    mention = one(page(retweet, tweets=[original]))
    assert mention.text.startswith("RT @luz: una frase")
    assert mention.text.endswith("fin & punto https://a.example/b")
    assert mention.native_id == "21"
    assert (mention.counts.shares, mention.counts.likes) == (None, 0)
    # The name stands in the retweet itself when the author of the original is not included.
    assert one(page(retweet, tweets=[original], users=[ANA])).text == mention.text


def test_a_retweet_without_its_original_stays_cut_and_is_noted() -> None:
    retweet = post(
        text="RT @luz: una frase…", referenced_tweets=[{"type": "retweeted", "id": "20"}]
    )
    mapped = page_mentions(page(retweet), now=NOW)
    assert mapped.mentions[0].text == "RT @luz: una frase…"
    assert mapped.notes == ("retweet cut off, its original is not in the file",)


def test_a_quote_keeps_its_own_text_and_the_quoted_one_in_raw() -> None:
    quoted = post("20", author_id="8", text="lo citado &lt;3")
    quote = post("21", text="mirad", referenced_tweets=[{"type": "quoted", "id": "20"}])
    mention = one(page(quote, tweets=[quoted]))
    assert mention.text == "mirad"
    assert mention.parent_id is None
    assert mention.raw is not None
    assert mention.raw["quoted"] == {"id": "20", "author": "luz", "text": "lo citado <3"}


def test_the_note_wins_over_the_short_text() -> None:
    note = {
        "text": "todo el texto https://t.co/long y más",
        "entities": {"urls": [{"url": "https://t.co/long", "expanded_url": "https://l.example/"}]},
    }
    mention = one(page(post(text="todo el…", note_tweet=note)))
    assert mention.text == "todo el texto https://l.example/ y más"


def test_entities_are_decoded_once_and_links_written_out() -> None:
    urls = [
        {"url": "https://t.co/a", "expanded_url": "https://a.example/?x=1&lt=2", "start": 900},
        {"url": "https://t.co/ab", "expanded_url": "https://b.example/"},
        {"url": "https://t.co/js", "expanded_url": "javascript:alert(1)"},
        {"url": "https://t.co/none"},
        "odd",
    ]
    text = "&amp;lt; 1 &gt; 0 ☕ https://t.co/ab https://t.co/a https://t.co/js https://t.co/none"
    assert one(page(post(text=text, entities={"urls": urls}))).text == (
        "&lt; 1 > 0 ☕ https://b.example/ https://a.example/?x=1&lt=2 https://t.co/js "
        "https://t.co/none"
    )


def test_an_edited_post_has_its_first_id_and_its_newest_text() -> None:
    history = {"edit_history_tweet_ids": ["99", "100", "101"]}
    old = post("99", text="antes", **history)
    new = post("101", text="después", conversation_id="99", **history)
    answer = post(
        "150", conversation_id="99", referenced_tweets=[{"type": "replied_to", "id": "100"}]
    )
    for data in ([old, answer], [old, new, answer], [new, old, answer]):
        mentions = page_mentions(page(*data, tweets=[new]), now=NOW).mentions
        assert [(m.native_id, m.text) for m in mentions] == [("99", "después"), ("150", "hola")]
        assert mentions[0].root_id == "99"
        assert (mentions[1].parent_id, mentions[1].root_id) == ("99", "99")
        assert mentions[0].url is not None
        assert mentions[0].url.endswith("/101")
    assert one(page(old)).native_id == "99"
    assert one(page(old)).text == "antes"


def test_an_edited_post_is_the_same_in_every_file_and_was_posted_when_it_was_first() -> None:
    first, last = "1212092628029698048", "1212095000000000000"
    history = {"edit_history_tweet_ids": [first, last]}
    before = one(page(post(first, **(history | {"edit_history_tweet_ids": [first]}))))
    after = one(page(post(last, created_at="2020-01-01T00:00:00Z", **history)))
    assert before.native_id == after.native_id == first
    assert after.published_at.replace(microsecond=0) == datetime(
        2019, 12, 31, 19, 26, 16, tzinfo=UTC
    )


def test_posts_that_are_only_included_are_not_mentions_of_their_own() -> None:
    assert one(page(post("1"), tweets=[post("2"), post("3")])).native_id == "1"


def test_a_post_without_a_date_has_the_one_in_its_id() -> None:
    # An id of X: milliseconds since 2010-11-04 01:42:54.657 UTC, times 2^22.
    mapped = page_mentions({"data": [{"id": "1212092628029698048", "text": "a"}]}, now=NOW)
    assert mapped.mentions[0].published_at.replace(microsecond=0) == datetime(
        2019, 12, 31, 19, 26, 16, tzinfo=UTC
    )
    assert mapped.notes == ()
    mapped = page_mentions({"data": [{"id": "20", "text": "a"}]}, now=NOW)
    assert (mapped.mentions[0].published_at, mapped.notes) == (NOW, (NO_DATE,))


def test_flattened_posts_carry_their_own_includes() -> None:
    original = post("20", author_id="8", text="el original entero", author=LUZ)
    flat = post(
        "21",
        text="RT @luz: el orig…",
        author=ANA,
        referenced_tweets=[{**original, "type": "retweeted"}],
    )
    mention = one(flat)
    assert mention.text == "RT @luz: el original entero"
    assert mention.author is not None
    assert mention.author.followers == 12
    assert is_twarc(flat)
    assert is_twarc(page())
    assert not is_twarc({"data": "x"})
    assert not is_twarc([page()])


def test_partial_errors_are_counted_by_title_without_names() -> None:
    errors = [
        {"title": "Not Found Error", "detail": "Could not find user with id: [secreto]."},
        {"title": "Forbidden", "value": "secreto"},
        {"title": "secreto@example.com"},
        {},
    ]
    mapped = page_mentions(page(post(), errors=errors), now=NOW)
    assert mapped.notes == (
        "partial error, Not Found Error",
        "partial error, Forbidden",
        *("partial error, without title",) * 2,
    )
    assert page_mentions({"errors": errors}, now=NOW).mentions == ()
    assert page_mentions({"meta": {"result_count": 0}}, now=NOW).mentions == ()


def test_what_is_no_post_is_skipped() -> None:
    listed = {"id": "1", "name": "a list", "created_at": "2021-01-01T00:00:00Z"}
    mapped = page_mentions(page(listed, {"text": "no id"}, post()), now=NOW)
    assert [m.text for m in mapped.mentions] == ["hola"]
    assert mapped.skipped == ("no text, so not a post", "a post without id")
    for value in ("x", [1], {}, {"id": 1}):
        with pytest.raises(OddRecord):
            page_mentions(value, now=NOW)


def test_pages_are_read_line_by_line_with_a_cursor(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    values = [page(*(post(str(100 * n + m)) for m in range(100))) for n in range(1, 4)]
    text = "".join(json.dumps(value) + "\n" for value in values)
    path.write_text(text + '{"data": {"id"', encoding="utf-8")
    pages = list(open_file(path).collect(None, None, budget=Budget(), now=NOW))
    assert [len(one_page.mentions) for one_page in pages] == [100, 100, 100, 0]
    assert pages[-1].warnings == ("pages.jsonl: skipped, not valid JSON: 1 (line 4)",)
    rest = list(open_file(path).collect(None, pages[1].cursor, budget=Budget(), now=NOW))
    assert rest == pages[2:]


def test_the_source_can_be_named_and_columns_cannot(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(page(post()), indent=2), encoding="utf-8")
    found = list(Twarc(path, source="archive").collect(None, None, budget=Budget(), now=NOW))
    assert [m.source for m in found[0].mentions] == ["archive"]
    with pytest.raises(BadConfig, match="--map does not apply"):
        Twarc(path, {"text": "body"})


KEYS = (
    "data includes users tweets errors meta id text author author_id username referenced_tweets "
    "type entities urls url expanded_url note_tweet public_metrics like_count created_at "
    "edit_history_tweet_ids conversation_id lang title"
)
values = st.recursive(
    st.none()
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.sampled_from(["1", "2", "retweeted", "quoted", "replied_to", "\ud800\x00", "9" * 400])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=6)
    ),
    max_leaves=25,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS.split()), values, max_size=8))
def test_any_json_is_survived(value: dict[str, Any]) -> None:
    try:
        mapped = page_mentions(value, now=NOW)
    except OddRecord:
        return
    for mention in mapped.mentions:
        assert mention.native_id
        (mention.text + mention.native_id + (mention.root_id or "")).encode("utf-8")
        json.dumps(mention.raw)


REAL = sorted(SHARED.glob("*.json*"))


@pytest.mark.shared
@pytest.mark.skipif(not REAL, reason="the recorded pages (shared/data/payloads/x/twarc) are absent")
def test_every_recorded_page_is_read_whole() -> None:
    given_posts = retweets = cut = 0
    for path in REAL:
        for found in open_file(path).collect(None, None, budget=Budget(), now=NOW):
            cut_notes = sum("retweet cut off" in warning for warning in found.warnings)
            for mention in found.mentions:
                given_posts += 1
                assert mention.author is not None
                assert mention.url is not None
                assert mention.published_at < NOW
                assert "&amp;" not in mention.text
                raw = mention.raw or {}
                assert raw["conversation_id"]
                if mention.text.startswith("RT @"):
                    retweets += 1
                    if mention.text.endswith("…"):
                        cut += 1
                        assert cut_notes
    assert given_posts >= 1000
    assert retweets >= 500
    # One recorded stream came without includes for these.
    assert cut <= 25


@pytest.mark.shared
@pytest.mark.skipif(not REAL, reason="the recorded pages (shared/data/payloads/x/twarc) are absent")
def test_flattened_and_whole_pages_give_the_same_posts() -> None:
    def read(name: str) -> dict[str, tuple[Any, ...]]:
        found = open_file(SHARED / name).collect(None, None, budget=Budget(), now=NOW)
        return {
            m.native_id: (m.text, m.author, m.published_at, m.parent_id, m.root_id, m.counts)
            for one_page in found
            for m in one_page.mentions
        }

    assert len(read("flat.jsonl")) == 100
    assert read("flat.jsonl") == read("noflat.jsonl")
