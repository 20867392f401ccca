import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import BadConfig, Mention
from connectors.mapping import (
    NO_DATE,
    NO_ZONE,
    OddRecord,
    check_columns,
    names_field,
    to_mentions,
)
from connectors.values import plain, read_count, read_id, read_lang, read_time

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def one(record: Any, **options: Any) -> Mention:
    mapped = to_mentions(record, now=NOW, **options)
    assert len(mapped.mentions) == 1
    assert mapped.skipped == ()
    return mapped.mentions[0]


def test_every_field_is_found_by_its_usual_names() -> None:
    mention = one(
        {
            "id": 7,
            "text": "which grinder?",
            "title": "Grinders",
            "url": "https://forum.example/7",
            "created_at": "2024-05-06T07:08:09Z",
            "author": "ana",
            "author_id": "u1",
            "followers": "12",
            "lang": "en-GB",
            "parent_id": "6",
            "conversation_id": 5,
            "score": "3.0",
            "num_comments": 2,
            "retweet_count": 4,
            "view_count": 99,
            "platform": "Forum",
        }
    )
    assert mention == Mention(
        source="forum",
        native_id="7",
        text="which grinder?",
        title="Grinders",
        url="https://forum.example/7",
        published_at=DAY,
        author=mention.author,
        lang="en",
        parent_id="6",
        root_id="5",
        counts=mention.counts,
        raw=mention.raw,
    )
    assert mention.author is not None
    assert (mention.author.native_id, mention.author.handle, mention.author.followers) == (
        "u1",
        "ana",
        12,
    )
    counts = mention.counts
    assert (counts.likes, counts.replies, counts.shares, counts.views) == (3, 2, 4, 99)


def test_spanish_columns_are_found() -> None:
    mention = one(
        {
            "Título": "Duda",
            "Texto": "¿cuál compro?",
            "Fecha": "2024-05-06 07:08:09+00:00",
            "Autor": "@luz",
            "Idioma": "español",
            "Enlace": "https://foro.example/1",
        }
    )
    assert (mention.title, mention.text, mention.published_at) == ("Duda", "¿cuál compro?", DAY)
    assert mention.author is not None
    assert mention.author.handle == "luz"
    assert (mention.lang, mention.url) == ("es", "https://foro.example/1")


@pytest.mark.parametrize(
    ("earlier", "later"),
    [("text", "body"), ("text", "content"), ("body", "selftext"), ("message", "review_text")],
)
def test_names_are_tried_in_order_and_empty_or_odd_ones_passed_over(
    earlier: str, later: str
) -> None:
    assert one({later: "late", earlier: "early"}).text == "early"
    assert one({earlier: "  ", later: "late"}).text == "late"
    assert one({earlier: ["x"], later: "late"}).text == "late"


def test_the_explicit_mapping_goes_first_and_takes_paths() -> None:
    record = {"text": "wrong", "msg": "right", "user": {"id": 3, "profile": {"name": "Ana"}}}
    mention = one(record, columns={"text": "msg", "author_name": "user.profile.name"})
    assert mention.text == "right"
    assert mention.author is not None
    assert (mention.author.native_id, mention.author.name) == ("3", "Ana")


def test_a_mapped_field_is_not_guessed_where_its_column_is_missing() -> None:
    with pytest.raises(OddRecord, match="no text"):
        one({"text": "not this one"}, columns={"text": "msg"})


def test_an_unknown_field_is_refused_with_what_exists() -> None:
    with pytest.raises(BadConfig, match=r"did you mean author\?.*native_id"):
        check_columns({"autor": "x"})
    with pytest.raises(BadConfig, match="no such field \\(fields: text, title"):
        check_columns({"zzz": "x"})
    assert check_columns({"text": "body"}) == {"text": "body"}
    assert check_columns(None) == {}


def test_columns_are_matched_by_letters_only() -> None:
    assert plain("  Created-At ") == plain("createdAt") == plain("created_at") == "createdat"
    assert names_field("Reseña", "text")
    assert not names_field("rating", "text")


@pytest.mark.parametrize(
    "value",
    [
        1714979289,
        1714979289.0,
        "1714979289",
        1714979289000,
        "1714979289000",
        1714979289000000,
        1714979289000000000,
        "2024-05-06T07:08:09Z",
        "2024-05-06T07:08:09.000Z",
        "2024-05-06T09:08:09+02:00",
        "2024-05-06 07:08:09 UTC",
        "Mon, 06 May 2024 07:08:09 +0000",
        "Mon, 06 May 2024 09:08:09 +0200",
        "Mon May 06 07:08:09 +0000 2024",
    ],
)
def test_times_with_a_zone(value: object) -> None:
    assert read_time(value) == (DAY, True)


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2024-05-06 07:08:09", DAY),
        ("2024-05-06T07:08:09", DAY),
        ("2024-05-06", datetime(2024, 5, 6, tzinfo=UTC)),
        ("20240506", datetime(2024, 5, 6, tzinfo=UTC)),
    ],
)
def test_times_without_a_zone_are_read_as_utc_and_noted(value: str, time: datetime) -> None:
    assert read_time(value) == (time, False)
    mapped = to_mentions({"text": "x", "date": value}, now=NOW)
    assert mapped.mentions[0].published_at == time
    assert mapped.notes == (NO_ZONE,)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, "", "soon", "06/05/2024", 0, -5, 7, "12", 20240506, 10**400, [1], {}),
        *(math.inf, -math.inf, math.nan, 1e308, "9" * 400, "0001-01-01T00:00:00+10:00"),
    ],
)
def test_unreadable_times_become_now_and_are_noted(value: object) -> None:
    assert read_time(value) is None
    mapped = to_mentions({"text": "x", "date": value}, now=NOW)
    assert mapped.mentions[0].published_at == NOW
    assert mapped.notes == (NO_DATE,)


def test_future_dates_are_kept() -> None:
    assert one({"text": "x", "date": "2093-01-01T00:00:00Z"}).published_at.year == 2093


@settings(deadline=None)
@given(st.integers(10**15 // 5, 4 * 10**15))
def test_a_time_written_in_any_zone_is_the_same_moment(microseconds: int) -> None:
    zone = timezone(timedelta(hours=-5, minutes=-30))
    aware = datetime.fromtimestamp(microseconds / 1e6, zone)
    assert read_time(aware.isoformat()) == (aware, True)
    read = read_time(aware.timestamp())
    assert read is not None
    assert abs(read[0] - aware) < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("value", "lang"),
    [
        *(("es", "es"), ("ES-mx", "es"), ("en_US", "en"), ("zh-Hant-TW", "zh"), ("iw", "he")),
        *(("Español", "es"), ("english", "en"), ("und", None), ("qme", None), ("zxx", None)),
        *(("", None), (None, None), (3, None), ("klingon", None)),
    ],
)
def test_languages(value: object, lang: str | None) -> None:
    assert read_lang(value) == lang


@pytest.mark.parametrize(
    ("value", "count"),
    [
        *((3, 3), ("3", 3), ("3.0", 3), (-2, -2), (2.9, 2), (True, None), ("many", None)),
        *((math.nan, None), (math.inf, None), (2**63, None), ("1e300", None), ([], None)),
    ],
)
def test_counts(value: object, count: int | None) -> None:
    assert read_count(value) == count


@pytest.mark.parametrize(
    ("value", "native_id"),
    [
        *(("a1", "a1"), (" 5 ", "5"), (5, "5"), (5.0, "5"), (5.5, None), (True, None), ("", None)),
        *((10**60, None), ([], None), ("a\x00b", "ab"), ("\ud800", "\ufffd")),
    ],
)
def test_ids(value: object, native_id: str | None) -> None:
    assert read_id(value) == native_id


def test_a_record_without_id_gets_a_stable_one_of_its_content() -> None:
    record = {"text": "hola", "date": "2024-05-06T07:08:09Z"}
    first = one(record).native_id
    assert len(first) == 24
    assert int(first, 16) >= 0
    assert one({**record, "likes": 5}).native_id == first
    later = to_mentions(record, now=NOW + timedelta(days=1)).mentions[0]
    assert later.native_id == first
    undated = {"text": "hola"}
    assert (
        to_mentions(undated, now=NOW).mentions[0].native_id
        == to_mentions(undated, now=NOW + timedelta(days=1)).mentions[0].native_id
    )
    others = {
        one({**record, "text": "hola!"}).native_id,
        one({**record, "title": "t"}).native_id,
        one({**record, "date": "2024-05-06T07:08:10Z"}).native_id,
        one(record, source="other").native_id,
    }
    assert len(others | {first}) == 5


def test_a_title_alone_is_a_post_and_neither_is_not() -> None:
    assert one({"id": 1, "title": "only a title"}).text == ""
    for record in ({"id": 1}, {"id": 1, "text": " \x00 ", "title": None}, {}):
        with pytest.raises(OddRecord) as odd:
            one(record)
        assert odd.value.reason == "no text and no title"


@pytest.mark.parametrize(
    ("record", "source"),
    [
        ({"platform": "YouTube", "source": "export 7"}, "youtube"),
        ({"source": "Twitter"}, "x"),
        ({"source": "Twitter for Android"}, "file"),
        ({"source": "https://example.com/"}, "file"),
        ({"source": 3}, "file"),
        ({"subreddit": "Coffee"}, "reddit"),
        ({}, "file"),
    ],
)
def test_the_source_is_a_short_name_in_the_record_or_what_it_looks_like(
    record: dict[str, Any], source: str
) -> None:
    assert one({"text": "x", **record}).source == source
    assert one({"text": "x", **record}, source="mine").source == "mine"


@pytest.mark.parametrize("nobody", ["[deleted]", "[removed]", "", None, {}, [], {"name": None}])
def test_nobody_is_no_author(nobody: object) -> None:
    assert one({"text": "x", "author": nobody}).author is None


def test_an_author_may_be_an_object() -> None:
    author = one(
        {
            "text": "x",
            "user": {"id_str": "9", "screen_name": "luz", "name": "Luz", "followers_count": 8},
        }
    ).author
    assert author is not None
    assert (author.native_id, author.handle, author.name, author.followers) == (
        *("9", "luz", "Luz"),
        8,
    )


def test_only_web_addresses_become_links() -> None:
    assert one({"text": "x", "url": "javascript:alert(1)", "link": "https://a.example/"}).url == (
        "https://a.example/"
    )
    assert one({"text": "x", "url": "/relative"}).url is None


def test_a_nested_thread_gives_the_post_and_its_answers() -> None:
    mapped = to_mentions(
        {
            "id": "p",
            "text": "post",
            "lang": "es",
            "comments": [
                {"id": "a", "text": "answer", "replies": [{"id": "b", "text": "deeper"}]},
                {"id": "c", "text": ""},
                {"id": "d", "text": "last", "replies": 3},
                17,
            ],
        },
        source="forum",
        now=NOW,
    )
    assert [(m.native_id, m.parent_id, m.root_id) for m in mapped.mentions] == [
        ("p", None, None),
        ("a", "p", "p"),
        ("b", "a", "p"),
        ("d", "p", "p"),
    ]
    assert {m.source for m in mapped.mentions} == {"forum"}
    assert mapped.skipped == ("no text and no title",)
    assert [m.counts.replies for m in mapped.mentions] == [None, None, None, 3]
    raw = mapped.mentions[0].raw
    assert raw is not None
    assert "comments" not in raw
    assert raw["lang"] == "es"


def test_answers_are_kept_where_the_post_is_gone() -> None:
    mapped = to_mentions(
        {"id": "p", "text": None, "comments": [{"id": "a", "text": "answer"}]}, now=NOW
    )
    assert [(m.native_id, m.parent_id) for m in mapped.mentions] == [("a", "p")]
    assert mapped.skipped == ("no text and no title",)


def test_a_mapping_reaches_answers_that_have_its_columns() -> None:
    mapped = to_mentions(
        {"key": 1, "msg": "post", "comments": [{"id": 2, "msg": "a"}, {"id": 3, "text": "b"}]},
        columns={"native_id": "key", "text": "msg"},
        now=NOW,
    )
    assert [(m.native_id, m.text) for m in mapped.mentions] == [
        ("1", "post"),
        ("2", "a"),
        ("3", "b"),
    ]


def test_hacker_news_items() -> None:
    story = one(
        {
            "by": "ana",
            "id": 100,
            "type": "story",
            "time": 1714979289,
            "title": "Ask HN: a &amp; b?",
            "text": "one<p>two &#x27;x&#x27;",
            "score": 5,
            "descendants": 1,
            "kids": [101],
            "url": "https://elsewhere.example/",
        }
    )
    assert (story.source, story.native_id, story.text) == ("hackernews", "100", "one\ntwo 'x'")
    assert (story.title, story.published_at) == ("Ask HN: a & b?", DAY)
    assert story.url == "https://news.ycombinator.com/item?id=100"
    assert (story.counts.likes, story.counts.replies) == (5, 1)
    comment = one({"by": "b", "id": 101, "type": "comment", "parent": 100, "text": "<i>yes</i>"})
    assert (comment.source, comment.parent_id, comment.text) == ("hackernews", "100", "yes")
    hit = one(
        {
            "objectID": "102",
            "comment_text": "no<p>way",
            "author": "c",
            "created_at_i": 1714979289,
            "parent_id": 101,
            "story_id": 100,
            "_tags": ["comment"],
            "children": [103],
        }
    )
    assert (hit.source, hit.native_id, hit.text) == ("hackernews", "102", "no\nway")
    assert (hit.parent_id, hit.root_id) == ("101", "100")


def test_reddit_ids_say_what_they_are_so_that_threads_join() -> None:
    post = one(
        {
            "id": "abc",
            "subreddit": "espresso",
            "title": "A &amp; B",
            "selftext": "x &lt; y",
            "author": "[deleted]",
            "permalink": "/r/espresso/comments/abc/a/",
            "url": "https://i.redd.example/pic.png",
            "created_utc": 1714979289.0,
            "num_comments": 2,
        }
    )
    assert (post.source, post.native_id, post.title, post.text) == (
        *("reddit", "t3_abc"),
        *("A & B", "x < y"),
    )
    assert post.author is None
    assert post.url == "https://www.reddit.com/r/espresso/comments/abc/a/"
    comment = one(
        {
            "id": "def",
            "subreddit": "espresso",
            "body": "yes",
            "link_id": "t3_abc",
            "parent_id": "t3_abc",
            "author_fullname": "t2_9",
            "author": "ana",
        }
    )
    assert (comment.native_id, comment.parent_id, comment.root_id) == ("t1_def", "t3_abc", "t3_abc")
    assert comment.url == "https://www.reddit.com/comments/abc/_/def/"
    assert comment.author is not None
    assert (comment.author.native_id, comment.author.handle) == ("t2_9", "ana")
    assert one({"id": "t3_xyz", "title": "kept"}).native_id == "t3_xyz"


def test_a_reddit_thread_with_its_comments() -> None:
    mapped = to_mentions(
        {
            "post_id": "abc",
            "title": "Duda",
            "selftext": "[removed]",
            "created": "2024-05-06 07:08:09",
            "comments": [
                {"comment_id": "def", "text": "hola", "created_utc": "2024-05-06 08:00:00"},
                {"comment_id": "ghi", "text": "[deleted]"},
            ],
        },
        now=NOW,
    )
    post, comment = mapped.mentions
    assert (post.native_id, post.text, post.root_id) == ("t3_abc", "", None)
    assert post.url == "https://www.reddit.com/comments/abc/"
    assert (comment.native_id, comment.parent_id, comment.root_id) == ("t1_def", "t3_abc", "t3_abc")
    assert comment.source == "reddit"
    assert mapped.skipped == ("no text and no title",)
    assert mapped.notes == (NO_ZONE, NO_ZONE)


def test_reasons_do_not_hold_the_text() -> None:
    secret = "secreto"
    for record in (secret, [secret], {"text": [secret]}, {"secreto": secret}, 5, None):
        with pytest.raises(OddRecord) as odd:
            to_mentions(record, now=NOW)
        assert secret not in str(odd.value)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["t3_a", "comment", "x", "2024-05-06", "1714979289", "[deleted]", "\ud800"])
)
NAMES = (
    "id text title body selftext author created_utc date comments replies children parent_id "
    "link_id score platform type by time kids user lang objectID comment_text permalink url "
    "author_id followers data"
)
keys = st.sampled_from(NAMES.split()) | st.text(max_size=8)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=8)
)


@settings(deadline=None)
@given(json_values | st.dictionaries(keys, json_values, max_size=12), st.booleans())
def test_any_json_gives_storable_mentions_or_an_odd_record(value: object, mapped: bool) -> None:
    columns = {"text": "body", "native_id": "data.id"} if mapped else None
    try:
        mentions = to_mentions(value, columns=columns, now=NOW).mentions
    except OddRecord:
        return
    assert mentions
    for mention in mentions:
        assert mention.published_at.utcoffset() == timedelta(0)
        assert mention.native_id
        assert mention.text or mention.title
        for text in (mention.text, mention.title, mention.native_id, mention.parent_id):
            assert "\x00" not in (text or "")
            (text or "").encode("utf-8")
        json.dumps(mention.raw)
