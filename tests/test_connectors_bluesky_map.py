import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_connectors_bluesky import DID, NOW, Site, collect, post, search, uri

from connectors.base import ConnectorError, Counts, NeedsAuth
from connectors.bluesky_api import Refused
from connectors.bluesky_map import map_payload, records, to_mention
from connectors.bluesky_text import Facet, read_facets, written_out
from connectors.mapping import OddRecord

LINK, MENTION, TAG = (f"app.bsky.richtext.facet#{kind}" for kind in ("link", "mention", "tag"))
NAMES = (
    "uri",
    "record",
    "value",
    "text",
    "embed",
    "facets",
    "reply",
    "author",
    "langs",
    "thread",
    "posts",
)
# Mentions by where the answers were recorded, and what is skipped of them.
EXPECTED = {"devenv": 18, "granary": 13, "official_snapshot": 83, "sdk": 1}
SKIPPED = {
    "no post (without a kind)": 15,  # profiles, refusals and the document of a DID
    "no post (app.bsky.feed.like)": 4,
    "no post (app.bsky.feed.repost)": 1,
    "no post (app.bsky.graph.follow)": 1,
    "a post that is not there": 3,
    "a post behind a block": 2,
    "a post without id": 1,
}
SHARED = Path(__file__).parents[2] / "shared" / "data" / "payloads" / "bluesky"
REAL = sorted(SHARED.glob("*"))


# ---- mapping -----------------------------------------------------------------------------------


def facet(text: str, part: str, kind: str = LINK, value: str = "https://shop.example/a?b=1") -> Any:
    start = text.encode().index(part.encode())
    name = {LINK: "uri", MENTION: "did", TAG: "tag"}[kind]
    return {
        "index": {"byteStart": start, "byteEnd": start + len(part.encode())},
        "features": [{"$type": kind, name: value}],
    }


@pytest.mark.parametrize(
    ("text", "shown", "expected"),
    [
        (
            "👩‍👩‍👧 ñ shop.example/a... ok",
            "shop.example/a...",
            "👩‍👩‍👧 ñ https://shop.example/a?b=1 ok",
        ),
        ("see shop.example/a… ok", "shop.example/a…", "see https://shop.example/a?b=1 ok"),
        ("https://shop.example/a?b=1", "https://shop.example/a?b=1", "https://shop.example/a?b=1"),
        ("this one", "one", "this one (https://shop.example/a?b=1)"),
        ("this ☕", "☕", "this ☕ (https://shop.example/a?b=1)"),
        ("this one here", "one ", "this one (https://shop.example/a?b=1) here"),
    ],
)
def test_links_are_written_out(text: str, shown: str, expected: str) -> None:
    assert written_out(text, read_facets(text, [facet(text, shown)])) == expected


@given(st.text(max_size=60), st.data())
def test_facets_of_any_text_fall_on_the_same_signs(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    before, through = (text[:place].encode("utf-8", "surrogatepass") for place in (start, end))
    index = {"byteStart": len(before), "byteEnd": len(through)}
    features = [{"$type": TAG, "tag": "x"}]
    found = read_facets(text, [{"index": index, "features": features}])
    assert found == ((Facet(start, end, "tag", "x"),) if end > start else ())


@given(
    st.text(max_size=30),
    st.lists(st.tuples(st.integers(-5, 200), st.integers(-5, 200)), max_size=8),
)
def test_facets_with_any_offsets_never_lose_text(text: str, spans: list[tuple[int, int]]) -> None:
    facets = [
        {
            "index": {"byteStart": start, "byteEnd": end},
            "features": [{"$type": LINK, "uri": "https://x.example/"}],
        }
        for start, end in spans
    ]
    found = read_facets(text, facets)
    assert all(one.end <= other.start for one, other in pairwise(found))
    # A facet may end within a word; without what was written in, all letters are as before.
    whole = written_out(text, found).replace(" (https://x.example/)", "")
    assert re.sub(r"[^a-w]", "", whole) == re.sub(r"[^a-w]", "", text)


@pytest.mark.parametrize(
    "facets",
    [None, 5, [5], [{}], [{"index": 1}], [{"index": {"byteStart": True, "byteEnd": "2"}}]],
    ids=str,
)
def test_odd_facets_are_left_out(facets: object) -> None:
    assert read_facets("text", facets) == ()


def mapped(item: object) -> Any:
    return to_mention(item, source="bluesky", now=NOW)[0]


def test_a_post_is_mapped_whole() -> None:
    text = "👩‍👩‍👧 @bob.test look: shop.example/a..."
    item = post(
        5,
        text,
        record={
            "facets": [
                facet(text, "shop.example/a..."),
                facet(text, "@bob.test", MENTION, "did:x:b"),
            ],
            "embed": {
                "$type": "app.bsky.embed.recordWithMedia",
                "record": {"record": {"uri": uri("q")}},
                "media": {"images": [{"alt": "a kettle"}]},
            },
        },
        embed={"record": {"record": {"author": {"handle": "bob.test"}, "value": {"text": "old"}}}},
        labels=[{"val": "spam"}],
        author={"did": DID, "handle": "handle.invalid", "followersCount": 7},
    )
    mention = mapped(item)
    assert mention.native_id == uri("m5")
    assert mention.url == f"https://bsky.app/profile/{DID}/post/m5"
    assert mention.text == "👩‍👩‍👧 @bob.test look: https://shop.example/a?b=1"
    assert mention.author.handle is None
    assert mention.author.followers == 7
    assert mention.lang == "en"
    assert mention.counts == Counts(likes=1, replies=2, shares=7)
    assert mention.raw["quoted"] == {"id": uri("q"), "author": "bob.test", "text": "old"}
    assert mention.raw["alt"] == ["a kettle"]
    assert mention.raw["labels"] == ["spam"]
    assert mention.raw["text"] == text
    assert [(text[a:b], kind) for a, b, kind, _ in mention.raw["facets"]] == [
        ("@bob.test", "mention"),
        ("shop.example/a...", "link"),
    ]


def embedded(text: str, embed: object) -> str:
    found = mapped(post(1, text, record={"embed": embed})).text
    assert isinstance(found, str)
    return found


def test_cards_are_part_of_the_text_and_pictures_only_without_words() -> None:
    external = {"external": {"uri": "https://shop.example/p", "title": "Kettle\r\nno. 1"}}
    assert embedded("look", external) == "look\nKettle\nno. 1\nhttps://shop.example/p"
    assert embedded("look https://shop.example/p", external).count("https://") == 1
    assert embedded("", external) == "Kettle\nno. 1\nhttps://shop.example/p"
    moving = {"external": {"uri": "https://media.tenor.com/x.gif", "title": "a man says yes"}}
    assert embedded("look", moving) == "look"
    assert embedded("look", {"images": [{"alt": "a kettle"}]}) == "look"
    assert embedded("", {"images": [{"alt": "a kettle"}, {"alt": ""}]}) == "a kettle"
    assert embedded("", {"$type": "app.bsky.embed.video", "alt": "steam"}) == "steam"


def test_tags_beside_the_text_are_read_with_it() -> None:
    record = {"tags": ["acme", "Kettle", 5, ""], "embed": {"images": [{"alt": "a kettle"}]}}
    assert mapped(post(1, "look #kettle", record=record)).text == "look #kettle\n#acme"
    assert mapped(post(1, "", record=record)).text == "a kettle\n#acme #Kettle"


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        ("2026-03-01T10:00:00+02:00", "2026-03-01T08:00:00+00:00"),
        ("2026-03-01T10:00:00", "2026-03-01T10:00:00+00:00"),
        ("2010-05-05T00:00:00Z", "2010-05-05T00:00:00+00:00"),
        ("2031-01-01T00:00:00Z", "2026-03-01T11:00:00+00:00"),
        ("0001-01-01T00:00:00Z", "2026-03-01T11:00:00+00:00"),
        ("1850-01-01T00:00:00Z", "2026-03-01T11:00:00+00:00"),
        ("", "2026-03-01T11:00:00+00:00"),
        (None, "2026-03-01T11:00:00+00:00"),
        ({}, "2026-03-01T11:00:00+00:00"),
    ],
)
def test_absurd_dates_give_way_to_when_it_was_indexed(created: object, expected: str) -> None:
    item = post(60, record={"createdAt": created})
    assert mapped(item).published_at.isoformat() == expected


def test_without_any_date_it_is_the_time_of_reading() -> None:
    item = {"uri": uri("x"), "record": {"$type": "app.bsky.feed.post", "text": "hi"}}
    mention, notes = to_mention(item, source="bluesky", now=NOW)
    assert mention.published_at == NOW
    assert notes


@pytest.mark.parametrize(
    ("langs", "expected"),
    [
        (["en"], "en"),
        (["es-MX"], "es"),
        (["en", "en-GB"], "en"),
        (["en", "es"], None),
        (["und"], None),
        ([None], None),
        ("en", None),
        (None, None),
        ([], None),
    ],
    ids=str,
)
def test_languages(langs: object, expected: str | None) -> None:
    assert mapped(post(1, record={"langs": langs})).lang == expected


@pytest.mark.parametrize(
    "item",
    [
        None,
        5,
        [],
        {},
        {"uri": "at://x/app.bsky.feed.post/1", "record": {"text": "x"}},
        {"uri": uri("a b"), "record": {"text": "x"}},
        {"uri": uri("x"), "record": {"text": ""}},
        {"uri": uri("x"), "record": {"text": 7}},
        {"uri": uri("x"), "record": {"$type": "app.bsky.feed.like", "text": "x"}},
        {"$type": "app.bsky.feed.defs#blockedPost", "uri": uri("x"), "blocked": True},
        {"$type": "app.bsky.feed.defs#notFoundPost", "uri": uri("x"), "notFound": True},
    ],
    ids=str,
)
def test_what_is_no_post_is_odd(item: object) -> None:
    with pytest.raises(OddRecord):
        to_mention(item, source="bluesky", now=NOW)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "uri",
                        "record",
                        "value",
                        "text",
                        "embed",
                        "facets",
                        "reply",
                        "author",
                        "langs",
                        "labels",
                        "thread",
                        "posts",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=25,
    )
)
def test_any_json_is_mapped_or_skipped(value: object) -> None:
    found = map_payload(value, now=NOW)
    assert len(found.mentions) + len(found.skipped) <= len(records(value))


# ---- recorded answers --------------------------------------------------------------------------


def recorded(path: Path) -> list[object]:
    """The answers in a file; snapshots of tests are read, with ids in place of their numbers."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        value = json.loads(text)
        if value.get("$type") == "app.bsky.feed.post":  # as it lies in a repository, without id
            value = {"uri": uri(path.stem.replace("-", "_")), "value": value}
        return [value["body"]] if "_source" in value else [value]
    found = []
    for body in re.findall(r"^exports\[.*?\] = `\n(.*?)\n`;$", text, re.DOTALL | re.MULTILINE):
        plain = re.sub(r",(\s*[}\]])", r"\1", body).replace("\\\\", "\\").replace("\\`", "`")
        plain = re.sub(r'"record\((\d+)\)"', r'"at://did:plc:x/app.bsky.feed.post/\1"', plain)
        found.append(json.loads(plain))
    return found


def repeats(ids: list[Any]) -> int:
    """How many of a list of ids stand there again; those of nobody do not count."""
    return sum(n - 1 for one, n in Counter(ids).items() if one)


@pytest.mark.shared
@pytest.mark.skipif(not REAL, reason="the shared data folder is absent")
def test_a_recorded_link_behind_a_family_of_emoji_is_written_out() -> None:
    (value,) = recorded(SHARED / "granary__note_with_article_tag_indices.bsky.json")
    (mention,) = map_payload(value, now=NOW).mentions
    assert mention.text.endswith(" foo (http://xyz/foo)")


@pytest.mark.shared
@pytest.mark.skipif(not REAL, reason="the shared data folder is absent")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_recorded_answers_are_mapped(path: Path) -> None:
    for value in recorded(path):
        found = map_payload(value, now=NOW)
        given = [one.get("uri") for one in records(value) if isinstance(one, dict)]
        assert len(found.mentions) + len(found.skipped) == len(records(value)) - repeats(given)
        for mention in found.mentions:
            assert mention.text
            assert json.loads(json.dumps(mention.raw)) == mention.raw


@pytest.mark.shared
@pytest.mark.skipif(not REAL, reason="the shared data folder is absent")
def test_recorded_answers_give_what_is_expected_of_them() -> None:
    mentions = Counter[str]()
    skipped = Counter[str]()
    for path in REAL:
        for value in recorded(path):
            found = map_payload(value, now=NOW)
            mentions[path.name.partition("__")[0]] += len(found.mentions)
            skipped.update(found.skipped)
    assert mentions == EXPECTED
    assert skipped == SKIPPED


@pytest.mark.shared
@pytest.mark.skipif(not REAL, reason="the shared data folder is absent")
@pytest.mark.parametrize(
    ("name", "error"),
    [("badtoken", NeedsAuth), ("unauth", NeedsAuth), ("notfound", Refused)],
)
def test_recorded_refusals_are_told_apart(name: str, error: type[ConnectorError]) -> None:
    value = json.loads((SHARED / f"devenv__err_{name}.json").read_text(encoding="utf-8"))
    site = Site()
    site.answer = lambda method, params: (
        httpx.Response(value["status"], content=json.dumps(value["body"]).encode())
        if "q" in params
        else None
    )
    with pytest.raises(error):
        collect(search(site))
