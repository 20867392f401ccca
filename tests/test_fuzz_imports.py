"""Damaged files and answers through every way in; `benchmarks/fuzz_imports.py` runs many more."""

import gzip
import json
import random
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fuzz_cases import FORMATS, Format, zipped
from benchmarks.fuzz_imports import Fault, run_case
from benchmarks.fuzz_mutate import MARK, mutate_bytes, mutate_json, nested
from connectors import bluesky_map, discourse_map, excel, mastodon_map, x_pages
from connectors.base import BadConfig, Budget, ConnectorError, Mention
from connectors.feed_file import is_feed
from connectors.http import Response
from connectors.opening import open_file
from connectors.records import TOO_DEEP
from connectors.twarc import page_mentions
from connectors.x_archive import archive_mentions
from listener.store import Store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CASES = 30


def read(path: Path, **options: Any) -> tuple[list[Mention], list[str]]:
    pages = list(open_file(path, **options).collect(None, None, budget=Budget(), now=NOW))
    return [m for one in pages for m in one.mentions], [w for one in pages for w in one.warnings]


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_damage_gives_mentions_warnings_or_an_error_with_a_fix(
    one: Format, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(one.name)
    caplog.set_level(0)
    given = 0
    with Store(":memory:") as store:
        for seed in one.seeds(None):
            mentions, _, error = run_case(one, seed, tmp_path, store)
            assert error is None
            given += mentions
        assert given
        # A process starts for each spreadsheet.
        for _ in range(CASES if one.name != "excel" else 5):
            data = one.damage(chance.choice(one.seeds(None)), chance)
            _, said, error = run_case(one, data, tmp_path, store)
            assert not any(MARK in line for line in (*said, error or ""))
        assert store.value("PRAGMA integrity_check") == "ok"
        assert not store.rows("PRAGMA foreign_key_check")
    assert MARK not in caplog.text


def test_the_same_number_is_the_same_damage() -> None:
    value = {"posts": [{"id": n, "text": "hola"} for n in range(9)]}
    for number in range(20):
        first, second = (repr(mutate_json(value, random.Random(number))) for _ in range(2))
        assert first == second
    assert mutate_bytes(b"x" * 99, random.Random(1)) == mutate_bytes(b"x" * 99, random.Random(1))


def test_what_is_not_allowed_is_noticed(tmp_path: Path) -> None:
    one = next(one for one in FORMATS if one.name == "jsonl")
    with Store(":memory:") as store:
        run_case(one, one.seeds(None)[0], tmp_path, store)
        with store.write() as connection:
            connection.execute(
                "CREATE TEMP TRIGGER lost AFTER INSERT ON mentions "
                "BEGIN DELETE FROM mentions WHERE id = new.id; END"
            )
        with pytest.raises(Fault, match="not stored"):
            run_case(one, b'{"id": 1, "text": "hola"}', tmp_path, store)


# -- what the campaign and a look at the readers found


def tweets(*posts: dict[str, Any]) -> bytes:
    return b"window.YTD.tweets.part0 = " + json.dumps([{"tweet": one} for one in posts]).encode()


ONE = tweets({"id_str": "1", "full_text": "hola"})


@pytest.mark.parametrize("at", [6, 16, 24])
def test_a_damaged_zip_is_an_error_that_says_so(tmp_path: Path, at: int) -> None:
    data = bytearray(zipped([("data/tweets.js", ONE * 20)]))
    data[data.rfind(b"PK\x01\x02") + at] ^= 0x55
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    with pytest.raises(BadConfig):
        read(path, format="x-archive")
    with pytest.raises(BadConfig):
        read(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_in_a_zip_of_any_packing_is_told(tmp_path: Path, method: int) -> None:
    data = bytearray(zipped([("data/tweets.js", ONE)], method))
    data[data.rfind(b"data/tweets.js", 0, data.rfind(b"PK\x01\x02")) + 25] ^= 0xFF
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    with pytest.raises(ConnectorError):
        read(path)


@pytest.mark.parametrize("name", ["./data/tweets.js", "x//data//tweets.js", "a/b/data/tweets.js"])
def test_posts_are_found_however_a_zip_spells_their_place(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped([("data/tweets.js/", b""), (name, ONE)]))
    assert [mention.text for mention in read(path)[0]] == ["hola"]


def test_an_unreadable_account_leaves_the_posts_without_author(tmp_path: Path) -> None:
    (tmp_path / "account.js").write_bytes(b"window.YTD.account.part0 = " + b"[" * 50_000)
    (tmp_path / "tweets.js").write_bytes(ONE)
    (mention,) = read(tmp_path / "tweets.js")[0]
    assert mention.author is None


def test_endless_numbers_as_versions_are_no_ids() -> None:
    ids = ["1" * 5_000, "2" * 5_000]
    post = {"id_str": "7", "full_text": "hola", "edit_info": {"initial": {"editTweetIds": ids}}}
    assert archive_mentions(post, author=None, source="x", now=NOW).mentions[0].native_id == "7"
    page = {"data": [{"id": "7", "text": "hola", "edit_history_tweet_ids": ids}], "meta": {}}
    found = page_mentions(page, now=NOW).mentions
    assert found[0].native_id == "7"
    assert [*x_pages.edits(found, {}, NOW)] == []


def test_only_short_links_are_written_out() -> None:
    links = [{"url": "h", "expanded_url": "https://" + "h" * 200}] * 9
    post = {"id_str": "7", "full_text": "hola", "entities": {"urls": links}}
    assert archive_mentions(post, author=None, source="x", now=NOW).mentions[0].text == "hola"


def chat(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"name": "c", "type": "public_channel", "id": 1, "messages": messages}


def message(number: int, **fields: Any) -> dict[str, Any]:
    given = {
        "id": number,
        "type": "message",
        "date_unixtime": "1714979289",
        "text": f"hola {number}",
    }
    return {**given, **fields}


def test_a_message_nested_too_deep_is_skipped_alone(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    text = json.dumps(chat(message(1), message(2, x="@"), message(3)))
    path.write_text(text.replace('"@"', "[" * 20_000 + "]" * 20_000))
    mentions, warnings = read(path)
    assert [mention.native_id for mention in mentions] == ["1/1", "1/3"]
    assert warnings[0].startswith(f"result.json: skipped, {TOO_DEEP}: 1 (message 2)")


def test_a_chat_that_breaks_off_in_its_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "result.json.gz"
    chance = random.Random(1)
    texts = [str(chance.random()) for _ in range(20_000)]
    data = gzip.compress(
        json.dumps(chat(*(message(n, text=t) for n, t in enumerate(texts)))).encode()
    )
    path.write_bytes(data[: len(data) // 2])
    pages = open_file(path).collect(None, None, budget=Budget(), now=NOW)
    assert next(pages).mentions
    with pytest.raises(BadConfig, match=r"damaged after message \d+; .* Fetch the file again"):
        list(pages)


def test_a_chat_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(chat(message(1))), encoding="utf-8-sig")
    assert [mention.text for mention in read(path)[0]] == ["hola 1"]


def sheet(path: Path, far: str) -> Path:
    one = next(one for one in FORMATS if one.name == "excel")
    path.write_bytes(one.seeds(None)[0])
    with zipfile.ZipFile(path) as book:
        parts = [(part, book.read(part)) for part in book.namelist()]
    end = f'<row r="{far[3:]}"><c r="{far}"><v>1</v></c></row></sheetData>'.encode()
    path.write_bytes(zipped([(name, data.replace(b"</sheetData>", end)) for name, data in parts]))
    return path


@pytest.mark.parametrize("far", ["XFD1048576", "XFD99999"])
def test_one_cell_far_away_does_not_end_the_process(tmp_path: Path, far: str) -> None:
    with pytest.raises(BadConfig, match=excel.UNREADABLE):
        read(sheet(tmp_path / "book.xlsx", far))


def test_a_book_whose_sheets_are_damaged_is_not_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    one = next(one for one in FORMATS if one.name == "excel")
    data = bytearray(one.seeds(None)[0])
    data[data.rfind(b"PK\x01\x02") + 16] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(BadConfig, match=excel.UNREADABLE):
        read(path)


def test_comments_before_a_document_take_no_time() -> None:
    assert not is_feed(b"<!-- a -->" * 400 + b"<html>")
    assert is_feed(b"<!-- a -->\n" * 100 + b'<?xml version="1.0"?> <rss>')


def test_a_saved_feed_that_breaks_off_is_told(tmp_path: Path) -> None:
    noise = "".join(map(str, random.Random(2).choices(range(10), k=60_000)))
    feed = f"<rss version='2.0'><channel><item><title>a</title></item>{noise}</channel></rss>"
    path = tmp_path / "feed.xml.gz"
    path.write_bytes(gzip.compress(feed.encode())[:-9])
    with pytest.raises(BadConfig, match="damaged after its start"):
        read(path)


def test_a_table_with_an_open_quote_in_each_line_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,b\nhola,1\n" + b'x"y,"z\n' * 3_000)
    with pytest.raises(BadConfig, match="quotes are opened again and again"):
        read(path)


def test_a_number_beyond_all_bounds_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "text": "hola", "likes": 1e999, "x": [-1e999, 1.5]}\n')
    (mention,) = read(path)[0]
    assert mention.raw is not None
    assert mention.raw["x"] == [None, 1.5]
    answer = Response(status=200, headers={}, body=b"[1e999, NaN, 1.5]", url="https://a.example/")
    assert answer.json() == [None, None, 1.5]


def test_answers_may_be_deeper_than_the_stack() -> None:
    assert len(bluesky_map.map_payload(nested_lists(5_000), now=NOW).skipped) == 1
    body: Any = {"status": {}}
    for _ in range(5_000):
        body = {"status": body}
    answer = {"status": 200, "headers": {}, "body": body}
    assert mastodon_map.map_payload(answer, now=NOW).mentions == ()
    assert nested(3, random.Random(0))


def nested_lists(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("[quote=ana]old[/quote] new", "new"),
        ("a [quote]b [quote]c[/quote] d", "a  d"),
        ("[quote]never closed", "[quote]never closed"),
        ("x [/quote] y", "x [/quote] y"),
        ("[quote]" * 200_000, ("[quote]" * 200_000)),
    ],
)
def test_quotes_of_a_forum_are_cut_in_one_pass(raw: str, text: str) -> None:
    record = {"id": 1, "username": "ana", "raw": raw, "created_at": "2024-05-06T07:08:09Z"}
    assert discourse_map.map_payload([record]).mentions[0].text == text


def test_a_table_without_header_is_not_repeated_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("p1,que buena cafetera!,2024-05-06,3\n")
    with pytest.raises(BadConfig, match=r"\(4 columns, named in the first line\)"):
        read(path)
    with pytest.raises(BadConfig, match=r"text=buena: no such column \(4 columns"):
        read(path, mapping={"text": "buena"})


def test_a_header_that_goes_on_with_a_post_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,Created At,tquiero otra cafetera,likes\n1,2024-05-06,hola,3\n")
    shown = r"\(columns: id, Created At, column 3 \(21 characters\), likes\)"
    with pytest.raises(BadConfig, match=rf"add --map text=COLUMN {shown}"):
        read(path)
    with pytest.raises(BadConfig, match=rf"text=otra cafetera: no such column {shown}"):
        read(path, mapping={"text": "otra cafetera"})


def test_words_in_place_of_a_kind_are_not_repeated() -> None:
    record = {"$type": "I love it", "text": "hola"}
    item = {"uri": "at://did:plc:a/app.bsky.feed.post/a", "record": record}
    assert bluesky_map.map_payload([item], now=NOW).skipped == ("no post (of an unknown kind)",)
    known = {**item, "record": {**record, "$type": "app.bsky.graph.follow"}}
    assert bluesky_map.map_payload([known], now=NOW).skipped == ("no post (app.bsky.graph.follow)",)
