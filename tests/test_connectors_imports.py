"""Archives of X, exports of Telegram, spreadsheets and saved feeds."""

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import BadConfig, Budget, BudgetSpent, Mention, Page
from connectors.excel import ROUNDED, Excel
from connectors.feed_file import FeedFile
from connectors.mapping import NO_DATE, NO_ZONE, OddRecord
from connectors.opening import open_file
from connectors.telegram import PRIVATE, SERVICE, Telegram, message_mentions
from connectors.x_archive import XArchive, archive_mentions

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAY = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def read(path: Path, **options: Any) -> list[Page]:
    return list(open_file(path, **options).collect(None, None, budget=Budget(), now=NOW))


def mentions(pages: list[Page]) -> list[Mention]:
    return [mention for page in pages for mention in page.mentions]


def warnings(pages: list[Page]) -> list[str]:
    return [warning for page in pages for warning in page.warnings]


# -- archives of X


def tweet(native_id: str = "1500000000000000001", **fields: Any) -> dict[str, Any]:
    post = {
        "id_str": native_id,
        "full_text": "mirad https://t.co/a &amp; decidme",
        "created_at": "Mon May 06 07:08:09 +0000 2024",
        "entities": {"urls": [{"url": "https://t.co/a", "expanded_url": "https://lumora.example"}]},
        "favorite_count": "3",
        "retweet_count": "1",
        "lang": "es",
    }
    return {"tweet": {**post, **fields}}


def script(name: str, values: Any) -> str:
    return f"window.YTD.{name}.part0 = {json.dumps(values)}"


ACCOUNT = script(
    "account",
    [{"account": {"accountId": "7", "username": "ana", "accountDisplayName": "Ana"}}],
)


def unpacked(folder: Path, *tweets: Any) -> Path:
    (folder / "account.js").write_text(ACCOUNT)
    path = folder / "tweets.js"
    path.write_text(script("tweets", tweets))
    return path


def zipped(folder: Path, **parts: Any) -> Path:
    path = folder / "twitter-2026-03-01.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/account.js", ACCOUNT)
        for name, tweets in parts.items():
            archive.writestr(f"data/{name.replace('_', '-')}.js", script("tweets", tweets))
    return path


def test_an_archive_of_x_has_its_owner_as_author(tmp_path: Path) -> None:
    (mention,) = mentions(read(unpacked(tmp_path, tweet(in_reply_to_status_id_str="9"))))
    assert mention.text == "mirad https://lumora.example & decidme"
    assert (mention.source, mention.native_id, mention.parent_id) == (
        "x",
        "1500000000000000001",
        "9",
    )
    assert mention.author is not None
    assert (mention.author.native_id, mention.author.handle) == ("7", "ana")
    assert mention.url == "https://x.com/ana/status/1500000000000000001"
    assert (mention.published_at, mention.lang) == (MAY, "es")
    assert (mention.counts.likes, mention.counts.shares) == (3, 1)


def test_an_edited_post_of_an_archive_has_the_id_of_its_first_version() -> None:
    edits = {"initial": {"editTweetIds": ["1500000000000000009", "1500000000000000001"]}}
    found = archive_mentions(
        tweet("1500000000000000009", edit_info=edits), author=None, source="x", now=NOW
    )
    assert found.mentions[0].native_id == "1500000000000000001"
    assert found.mentions[0].url == "https://x.com/i/web/status/1500000000000000009"


def test_a_zipped_archive_is_read_in_all_its_parts_and_goes_on_where_it_ended(
    tmp_path: Path,
) -> None:
    path = zipped(tmp_path, tweets=[tweet("1"), tweet("2")], tweets_part1=[tweet("3"), tweet("4")])
    archive = XArchive(path, page_size=3)
    first = next(archive.collect(None, None, budget=Budget(), now=NOW))
    rest = list(archive.collect(None, first.cursor, budget=Budget(), now=NOW))
    assert [m.native_id for m in mentions([first, *rest])] == ["1", "2", "3", "4"]
    assert mentions([first])[0].author is not None
    assert list(archive.collect(None, rest[-1].cursor, budget=Budget(), now=NOW)) == []
    assert type(open_file(path)) is XArchive


def test_an_archive_without_posts_or_with_odd_ones_says_so(tmp_path: Path) -> None:
    path = unpacked(tmp_path, {"tweet": {"id_str": "1"}}, "odd", tweet("2", created_at=None))
    pages = read(path)
    assert [m.native_id for m in mentions(pages)] == ["2"]
    assert mentions(pages)[0].published_at == NOW
    assert warnings(pages) == [
        "tweets.js: skipped, no text: 1 (line 1)",
        "tweets.js: skipped, not an object: 1 (line 1)",
        f"tweets.js: {NO_DATE}: 1 (line 1)",
    ]
    empty = zipped(tmp_path)
    with pytest.raises(BadConfig, match=r"no data/tweets\.js"):
        list(XArchive(empty).collect(None, None, budget=Budget(), now=NOW))
    empty.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(BadConfig, match="cannot be read; unpack it"):
        list(XArchive(empty).collect(None, None, budget=Budget(), now=NOW))
    other = tmp_path / "tweets.json"
    other.write_text("[]")
    with pytest.raises(BadConfig, match="does not start like"):
        list(XArchive(other).collect(None, None, budget=Budget(), now=NOW))


@given(JSONISH)
@settings(max_examples=60)
def test_nothing_in_an_archive_of_x_is_an_unexpected_error(value: Any) -> None:
    for record in (value, {"tweet": value}, tweet(entities=value, edit_info=value, lang=value)):
        try:
            found = archive_mentions(record, author=None, source="x", now=NOW)
        except OddRecord:
            continue
        assert found.mentions[0].text


# -- Telegram


def message(number: int = 5, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "type": "message",
        "date": "2024-05-06T09:08:09",
        "date_unixtime": "1714979289",
        "from": "Ana",
        "from_id": "user7",
        "text": "hola",
        **fields,
    }


def chat(*messages: Any, kind: str = "public_supergroup", number: int = 42) -> dict[str, Any]:
    return {"name": "Café", "type": kind, "id": number, "messages": list(messages)}


def export(folder: Path, value: Any) -> Path:
    path = folder / "result.json"
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def test_a_message_of_telegram_keeps_links_replies_and_reactions(tmp_path: Path) -> None:
    text = ["Mirad ", {"type": "text_link", "text": "esta", "href": "https://lumora.example/uno"}]
    reactions = [{"type": "emoji", "count": 2, "emoji": "👍"}, {"type": "emoji", "count": 1}]
    path = export(tmp_path, chat(message(text=text, reply_to_message_id=4, reactions=reactions)))
    (mention,) = mentions(read(path))
    assert mention.text == "Mirad esta (https://lumora.example/uno)"
    assert (mention.source, mention.native_id, mention.parent_id) == ("telegram", "42/5", "42/4")
    assert mention.published_at == MAY
    assert mention.counts.likes == 3
    assert mention.author is not None
    assert (mention.author.native_id, mention.author.name) == ("user7", "Ana")
    assert mention.raw is not None
    assert mention.raw["chat"] == "Café"


def test_of_an_export_of_everything_private_chats_are_left_out(tmp_path: Path) -> None:
    chats = [chat(message(1), kind="personal_chat", number=1), chat(message(2), number=2)]
    everything = {"about": "Here is your Telegram data", "chats": {"about": "", "list": chats}}
    pages = read(export(tmp_path, everything))
    assert [m.native_id for m in mentions(pages)] == ["2/2"]
    assert warnings(pages) == [f"result.json: skipped, {PRIVATE}: 1 (message 1)"]
    alone = read(export(tmp_path, chat(message(1), kind="personal_chat", number=1)))
    assert [m.native_id for m in mentions(alone)] == ["1/1"]


def test_notes_polls_and_messages_without_text(tmp_path: Path) -> None:
    poll = {"question": "¿Cuál?", "answers": [{"text": "Uno"}, {"text": "Dos"}]}
    pages = read(
        export(
            tmp_path,
            chat(
                message(1, type="service"),
                message(2, text="", poll=poll),
                message(3, text=""),
                message(4, date_unixtime=None),
                message(5, reply_to_message_id=9, reply_to_peer_id="channel1"),
            ),
        )
    )
    assert [(m.native_id, m.text) for m in mentions(pages)] == [
        ("42/2", "¿Cuál?\nUno\nDos"),
        ("42/4", "hola"),
        ("42/5", "hola"),
    ]
    assert mentions(pages)[2].parent_id is None
    assert set(warnings(pages)) == {
        f"result.json: skipped, {SERVICE}: 1 (message 1)",
        "result.json: skipped, no text: 1 (message 3)",
        f"result.json: {NO_ZONE}: 1 (message 4)",
    }


def test_a_long_chat_goes_on_after_the_budget(tmp_path: Path) -> None:
    path = export(tmp_path, chat(*(message(n) for n in range(1, 26))))
    source = Telegram(path, page_size=10)
    short = source.collect(None, None, budget=Budget(mentions=12), now=NOW)
    assert [len(next(short).mentions), len(next(short).mentions)] == [10, 2]
    with pytest.raises(BudgetSpent, match="goes on after message 12"):
        next(short)
    pages = source.collect(None, None, budget=Budget(), now=NOW)
    first = next(pages)
    rest = list(source.collect(None, first.cursor, budget=Budget(), now=NOW))
    assert [m.native_id for m in mentions([first, *rest])] == [f"42/{n}" for n in range(1, 26)]


def test_a_broken_export_gives_what_stands_before_the_break(tmp_path: Path) -> None:
    path = export(tmp_path, chat(message(1), message(2)))
    path.write_bytes(path.read_bytes()[:-30])
    pages = Telegram(path).collect(None, None, budget=Budget(), now=NOW)
    assert [m.native_id for m in mentions([next(pages)])] == ["42/1"]
    with pytest.raises(BadConfig, match="not valid JSON after message 1"):
        next(pages)


@given(JSONISH)
@settings(max_examples=60)
def test_nothing_in_a_message_is_an_unexpected_error(value: Any) -> None:
    odd = message(**dict.fromkeys(("text", "poll", "reactions", "from_id", "date_unixtime"), value))
    for record in (value, odd, {**odd, "chat": value}, {**odd, "chat": {"id": 1, "type": value}}):
        try:
            found = message_mentions(record, now=NOW)
        except OddRecord:
            continue
        assert found.mentions[0].text


# -- spreadsheets


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    """An .xlsx as a program writes it: texts inline, numbers as they are."""

    def cell(value: Any) -> str:
        if value is None:
            return "<c/>"
        if isinstance(value, int | float):
            return f"<c><v>{value}</v></c>"
        return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    names = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(sheets, 1)
    )
    links = "".join(
        f'<Relationship Id="rId{n}" Type="{office}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(sheets) + 1)
    )
    with zipfile.ZipFile(path, "w") as book:
        book.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}"><Relationship Id="rId1" '
            f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        book.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{names}</sheets></workbook>',
        )
        book.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}">{links}</Relationships>',
        )
        for number, rows in enumerate(sheets.values(), 1):
            lines = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
            book.writestr(
                f"xl/worksheets/sheet{number}.xml",
                f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>',
            )
    return path


def test_a_piece_of_a_post_in_the_header_of_a_sheet_is_not_repeated(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", Hoja=[["id", "me encanta esta"], ["1", "hola"]])
    with pytest.raises(BadConfig, match=r"\(columns: id, column 2 \(15 characters\)\)"):
        list(open_file(path).collect(None, None, budget=Budget(), now=NOW))


def test_a_spreadsheet_is_read_sheet_by_sheet(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "Encuesta mayo.xlsx",
        España=[
            ["id", "texto", "fecha", "likes"],
            [1, "¿qué cafetera?", "2024-05-06T07:08:09Z", 3],
            [None, None, None, None],
            [2, "otra <b> & \n línea", "2024-05-06T07:08:09Z", 4.0],
        ],
        Notas=[["total", "media"], [2, 3.5]],
        UK=[["id", "text", "date"], [3, "which one?", "2024-05-06T07:08:09Z"]],
    )
    pages = read(path)
    assert [(m.native_id.partition(":")[2], m.text, m.counts.likes) for m in mentions(pages)] == [
        ("1", "¿qué cafetera?", 3),
        ("2", "otra <b> & \n línea", 4),
        ("3", "which one?", None),
    ]
    assert {m.source for m in mentions(pages)} == {"encuesta-mayo"}
    assert {m.published_at for m in mentions(pages)} == {MAY}
    assert warnings(pages) == []
    assert type(open_file(path)) is Excel


def test_columns_of_a_spreadsheet_are_mapped_and_rounded_ids_left_out(tmp_path: Path) -> None:
    rows = [["clave", "qué dijo"], [1500000000000000001, "hola"], ["b", "adiós"]]
    path = workbook(tmp_path / "a.xlsx", Hoja=rows)
    mapping = {"native_id": "clave", "text": "qué dijo"}
    pages = read(path, mapping=mapping, source="survey")
    assert [m.text for m in mentions(pages)] == ["hola", "adiós"]
    assert mentions(pages)[0].native_id != "1500000000000000001"
    assert f"a.xlsx: {ROUNDED}: 1 (row 2)" in warnings(pages)
    with pytest.raises(BadConfig, match=r"no column is known to hold the text.*--map text=COLUMN"):
        read(path)


def test_what_is_no_spreadsheet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    for data in (b"PK\x03\x04 no", b"plain text", b""):
        path.write_bytes(data)
        with pytest.raises(BadConfig, match="no readable spreadsheet; export it as CSV"):
            read(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        info = zipfile.ZipInfo("xl/workbook.xml")
        info.compress_type = zipfile.ZIP_DEFLATED
        with bomb.open(info, "w", force_zip64=True) as part:
            block = bytes(2**20)
            for _ in range(1001):
                part.write(block)
    with pytest.raises(BadConfig, match="too large for a spreadsheet"):
        read(path)


# -- feeds

ALERT = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><id>tag:alerts</id><title>Alerta: cafetera</title>
<entry><id>tag:alerts:1</id><title type="html">Una &lt;b&gt;cafetera&lt;/b&gt; nueva</title>
<link href="https://www.google.com/url?rct=j&amp;url=https://blog.example/cafetera&amp;ct=ga"/>
<published>2024-05-06T07:08:09Z</published>
<content type="html">La &lt;b&gt;probamos&lt;/b&gt;</content></entry></feed>"""


def test_a_saved_google_alert_is_imported_once(tmp_path: Path) -> None:
    path = tmp_path / "Alerta cafetera.xml"
    path.write_text(ALERT, encoding="utf-8")
    source = open_file(path)
    assert type(source) is FeedFile
    pages = list(source.collect(None, None, budget=Budget(), now=NOW))
    (mention,) = mentions(pages)
    assert (mention.title, mention.text) == ("Una cafetera nueva", "La probamos")
    assert mention.url == "https://blog.example/cafetera"
    assert mention.published_at == MAY
    again = source.collect(None, pages[-1].cursor, budget=Budget(), now=NOW)
    assert mentions(list(again)) == []
    assert source.capabilities().prefiltered
    path.write_text("<html><body>no feed</body></html>")
    with pytest.raises(BadConfig, match="no feed"):
        read(path, format="feed")
