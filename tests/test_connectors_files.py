import csv
import gzip
import io
import json
import re
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import records
from connectors.base import BadConfig, Budget, BudgetSpent, Connector, Cursor, Mention, Page
from connectors.files import Csv, JsonLines
from connectors.opening import open_file
from connectors.records import Place, csv_rows, json_values
from connectors.twarc import Twarc

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FREE = Budget()
DATE = "2024-05-06T07:08:09Z"


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"id": str(n), "text": f"post {n} ñ", "date": DATE} for n in range(start, start + count)
    ]


def lines(posts: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(post).encode() + b"\n" for post in posts)


def pack(data: bytes, ending: str) -> bytes:
    """`data` as a file with that ending holds it."""
    match ending:
        case ".gz":
            return gzip.compress(data)
        case ".zst":
            # Without a length in its head, and in two frames, as parallel packers write.
            packer = zstandard.ZstdCompressor(write_content_size=False)
            half = len(data) // 2
            return packer.compress(data[:half]) + packer.compress(data[half:])
    return data


def random_words(n: int) -> str:
    return " ".join(str(n * prime % 99_991) for prime in (7919, 6007, 4003, 1009, 503))


def put(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def collect(
    connector: Connector, cursor: Cursor | None = None, budget: Budget = FREE
) -> tuple[list[Page], bool]:
    """The pages of one call and whether its budget was spent; cursors go through JSON."""
    pages: list[Page] = []
    try:
        for page in connector.collect(None, cursor, budget=budget, now=NOW):
            assert json.loads(json.dumps(page.cursor)) == page.cursor
            pages.append(page)
    except BudgetSpent:
        return pages, True
    return pages, False


def given_by(pages: list[Page]) -> list[Mention]:
    return [mention for page in pages for mention in page.mentions]


def own(native_id: str) -> str:
    """An id as the file has it, without the mark of the file."""
    return re.sub(r"^[0-9a-f]{8}:", "", native_id)


def ids(pages: list[Page]) -> list[str]:
    return [own(mention.native_id) for mention in given_by(pages)]


def warnings(pages: list[Page]) -> list[str]:
    return [warning for page in pages for warning in page.warnings]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", lines(rows(5))),
        ("no_last_feed.jsonl", lines(rows(5)).rstrip()),
        ("crlf.jsonl", lines(rows(5)).replace(b"\n", b"\r\n\r\n")),
        ("bom.jsonl", b"\xef\xbb\xbf" + lines(rows(5))),
        ("array.json", json.dumps(rows(5)).encode()),
        ("pretty.json", b"\xef\xbb\xbf\n" + json.dumps(rows(5), indent=2).encode() + b"\n"),
        ("a.csv", "id,text,date\n" + "".join(f"{n},post {n} ñ,{DATE}\n" for n in range(5))),
        (
            "semicolon.csv",
            "id;text;date\n" + "".join(f'{n};"post {n} ñ";{DATE}\r\n' for n in range(5)),
        ),
        ("bom.csv", "\ufeffid,text,date\n" + "".join(f"{n},post {n} ñ,{DATE}\n" for n in range(5))),
        ("a.tsv", "id\ttext\tdate\n" + "".join(f"{n}\tpost {n} ñ\t{DATE}\n" for n in range(5))),
        ("no_suffix_json", lines(rows(5))),
        (
            "no_suffix_table",
            "id,text,date\n" + "".join(f"{n},post {n} ñ,{DATE}\n" for n in range(5)),
        ),
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_every_form_gives_the_same_posts(
    tmp_path: Path, name: str, data: bytes | str, ending: str
) -> None:
    data = data.encode() if isinstance(data, str) else data
    path = put(tmp_path / (name + ending if "." in name else name), pack(data, ending))
    pages, _ = collect(open_file(path))
    assert [(own(m.native_id), m.text, m.source) for m in given_by(pages)] == [
        (str(n), f"post {n} ñ", name.partition(".")[0]) for n in range(5)
    ]
    assert warnings(pages) == []
    assert collect(open_file(path), pages[-1].cursor) == ([], False)


def test_one_object_over_many_lines_is_one_record(tmp_path: Path) -> None:
    path = put(tmp_path / "one.json", json.dumps(rows(1)[0], indent=1))
    assert ids(collect(JsonLines(path))[0]) == ["0"]


def test_broken_lines_are_counted_with_their_numbers_and_the_rest_is_read(tmp_path: Path) -> None:
    data = b'{"id": "torn", "text": \n' + lines(rows(2)) + b"nonsense\n[1]\n\n" + lines(rows(1, 9))
    data += b'{"id": "x"}\n' + b'{"id": ' * 50_000 + b"\n"
    pages, _ = collect(JsonLines(put(tmp_path / "bad.jsonl", data)))
    assert ids(pages) == ["0", "1", "9"]
    assert pages[0].returned == 8
    assert warnings(pages) == [
        "bad.jsonl: skipped, not valid JSON: 2 (lines 1, 4)",
        "bad.jsonl: skipped, not an object: 1 (line 5)",
        "bad.jsonl: skipped, no text and no title: 1 (line 8)",
        "bad.jsonl: skipped, nested too deep: 1 (line 9)",
    ]


@pytest.mark.parametrize(("depth", "problem"), [(190, 0), (210, 1), (900, 1)])
def test_what_could_not_be_stored_for_its_depth_is_skipped(
    tmp_path: Path, depth: int, problem: int
) -> None:
    deep = f'{{"id": 1, "text": "a", "date": "{DATE}", "x": {"[" * depth}{"]" * depth}}}'
    for name, data in (("d.jsonl", f"{deep}\n"), ("d.json", f"[\n{deep}]")):
        pages, _ = collect(JsonLines(put(tmp_path / name, data)))
        assert len(ids(pages)) == 1 - problem
        assert len(warnings(pages)) == problem
        assert all("nested too deep" in warning for warning in warnings(pages))


def test_long_lists_of_lines_are_cut(tmp_path: Path) -> None:
    pages, _ = collect(JsonLines(put(tmp_path / "bad.jsonl", b"x\n" * 25)))
    assert warnings(pages) == [
        "bad.jsonl: skipped, not valid JSON: 25 (lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 15 more)"
    ]


def test_warnings_and_errors_hold_no_post(tmp_path: Path) -> None:
    secret = "secreto " * 8
    jsonl = put(tmp_path / "a.jsonl", json.dumps({"text": [secret]}) + f"\n{secret}\n")
    assert "secreto" not in str(warnings(collect(JsonLines(jsonl))[0]))
    with pytest.raises(BadConfig) as error:
        collect(Csv(put(tmp_path / "a.csv", f"{secret},1\n{secret},2\n")))
    assert "secreto" not in str(error.value)


def test_bytes_that_are_not_utf8_are_replaced_and_counted(tmp_path: Path) -> None:
    data = lines(rows(1)) + b'{"id": "l", "text": "caf\xe9"}\n'
    pages, _ = collect(JsonLines(put(tmp_path / "l1.jsonl", data)))
    assert given_by(pages)[1].text == "caf\ufffd"
    assert warnings(pages)[0].startswith("l1.jsonl: with bytes that are not UTF-8, replaced")
    assert warnings(pages)[0].endswith(": 1 (line 2)")
    table = put(tmp_path / "l1.csv", b"id,text,date\n1,caf\xe9,2024-05-06T00:00:00Z\n")
    assert warnings(collect(Csv(table))[0])[0].endswith(": 1 (line 2)")
    array = put(tmp_path / "l1.json", b'[{"id": 1, "text": "caf\xe9", "date": 1714979289}]')
    assert warnings(collect(JsonLines(array))[0])[0].endswith(": 1 (line 1)")


def test_missing_dates_and_zones_are_counted(tmp_path: Path) -> None:
    data = lines([{"text": "a"}, {"text": "b", "date": "2024-01-01 00:00:00"}, {"text": "c"}])
    assert warnings(collect(JsonLines(put(tmp_path / "d.jsonl", data)))[0]) == [
        "d.jsonl: without a readable date, set to the time of import: 2 (lines 1, 3)",
        "d.jsonl: with a date without zone, read as UTC: 1 (line 2)",
    ]


def test_texts_are_kept_whole(tmp_path: Path) -> None:
    long = "palabra " * 20_000
    path = put(tmp_path / "long.jsonl", lines([{"id": "1", "text": long}]))
    assert given_by(collect(JsonLines(path))[0])[0].text == long.strip()
    table = put(tmp_path / "long.csv", f'id,text\n1,"{long}"\n')
    assert given_by(collect(Csv(table))[0])[0].text == long.strip()


def test_a_huge_line_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD", 1000)
    huge = {"id": "huge", "text": "x" * 5000}
    data = lines([*rows(2), huge, *rows(1, 2)])
    pages, _ = collect(JsonLines(put(tmp_path / "h.jsonl", data)))
    assert ids(pages) == ["0", "1", "2"]
    assert warnings(pages) == ["h.jsonl: skipped, longer than 20 MB: 1 (line 3)"]
    table = put(tmp_path / "h.csv", f"id,text,date\n1,a,{DATE}\n2,{'x' * 5000},\n3,c,{DATE}\n")
    pages, _ = collect(Csv(table))
    assert ids(pages) == ["1", "3"]
    assert warnings(pages) == ["h.csv: skipped, longer than 20 MB: 1 (line 3)"]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(200), "looks like a binary file"),
        ("a.csv", "id,text\n1,a\n".encode("utf-16"), "UTF-16; save it as UTF-8"),
        ("a.zip", b"PK\x03\x04" + bytes(50), "is a zip archive; unpack it"),
        ("a.zst", b"\x28\xb5\x2f\xfd" + b"\xff" * 50, "damaged zstd"),
        ("a.zst.zst", pack(pack(b"text", ".zst"), ".zst"), "packed twice"),
        ("a.jsonl.gz", b"\x1f\x8b\x08" + b"junk" * 9, "damaged gzip"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    path = put(tmp_path / name, data)
    for make in (JsonLines, Csv, Twarc, open_file):
        with pytest.raises(BadConfig, match=says):
            collect(make(path))


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="does not exist; check the path"):
        collect(JsonLines(tmp_path / "none.jsonl"))
    with pytest.raises(BadConfig, match="is a folder; name the files in it"):
        open_file(tmp_path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.csv.gz", "RS.zst"])
def test_an_empty_file_gives_a_warning_and_nothing(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / name, pack(b"", Path(name).suffix))
    pages, _ = collect(open_file(path))
    assert ids(pages) == []
    assert warnings(pages) == [f"{name}: empty, there is no record in it"]
    assert collect(open_file(path), pages[0].cursor) == ([], False)
    assert open_file(path).check(now=NOW) == f"{name}: empty"


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("tail", [b"", b"\xff" * 99])
def test_a_damaged_archive_gives_what_stands_before_the_damage(
    tmp_path: Path, ending: str, tail: bytes
) -> None:
    # Unlike words, so that no block of the archive holds all of them.
    posts = [{"id": str(n), "text": random_words(n)} for n in range(9000)]
    whole = pack(lines(posts), ending)
    path = put(tmp_path / f"cut.jsonl{ending}", whole[: len(whole) * 2 // 3] + tail)
    pages: list[Page] = []
    with pytest.raises(BadConfig, match=r"cut\.jsonl\.\w+: the archive is damaged after line"):
        pages.extend(JsonLines(path).collect(None, None, budget=FREE, now=NOW))
    got = ids(pages)
    assert len(got) > 1000
    assert got == [str(n) for n in range(len(got))]


def test_a_dump_with_a_long_window_is_read(tmp_path: Path) -> None:
    text = lines(rows(3))
    # A frame by hand (RFC 8878): no length, a window of 2**31 bytes, one last block as it is.
    block = (len(text) << 3 | 1).to_bytes(3, "little") + text
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"
    frame = b"\x28\xb5\x2f\xfd\x00\xa8" + block
    path = put(tmp_path / "RC_2024-05.zst", frame + skipped + frame)
    pages, _ = collect(open_file(path))
    assert [own(one) for one in ids(pages)] == ["0", "1", "2"] * 2
    assert connector_source(path) == "rc_2024-05"


def connector_source(path: Path) -> str:
    return open_file(path).source


def test_dumps_of_reddit_give_posts_comments_and_threads(tmp_path: Path) -> None:
    post = {
        "id": "1a2b3c",
        "subreddit": "espresso",
        "title": "Which one?",
        "selftext": "",
        "author": "ana",
        "created_utc": 1714979289,
        "permalink": "/r/espresso/comments/1a2b3c/which_one/",
    }
    answer = {
        "id": "l0z9x8",
        "subreddit": "espresso",
        "body": "The small one",
        "author": "[deleted]",
        "link_id": "t3_1a2b3c",
        "parent_id": "t3_1a2b3c",
        "created_utc": "1714979300",
    }
    below = {**answer, "id": "l0z9x9", "parent_id": "t1_l0z9x8", "author": "ben"}
    gone = [{**answer, "id": f"z{n}", "body": text} for n, text in enumerate(GONE)]
    path = tmp_path / "RC_2024-05.zst"
    pages, _ = collect(open_file(put(path, pack(lines([post, answer, below, *gone]), ".zst"))))
    assert [(m.source, m.native_id, m.parent_id, m.root_id) for m in given_by(pages)] == [
        ("reddit", "t3_1a2b3c", None, None),
        ("reddit", "t1_l0z9x8", "t3_1a2b3c", "t3_1a2b3c"),
        ("reddit", "t1_l0z9x9", "t1_l0z9x8", "t3_1a2b3c"),
    ]
    assert [m.author.handle if m.author else None for m in given_by(pages)] == ["ana", None, "ben"]
    assert warnings(pages) == [
        "RC_2024-05.zst: skipped, no text and no title: 2 (lines 4, 5)",
    ]


GONE = ("[deleted]", "[removed]")


def test_a_packed_file_can_be_read_again_from_any_place(tmp_path: Path) -> None:
    data = lines(rows(5000))
    with records.open_bytes(put(tmp_path / "a.zst", pack(data, ".zst"))) as stream:
        assert records.is_packed(stream)
        for at in (100_000, 70, 0, len(data) - 5, len(data) + 5):
            stream.seek(at)
            assert stream.read(50) == data[at : at + 50]
    with records.open_bytes(put(tmp_path / "plain", data)) as stream:
        assert not records.is_packed(stream)


def test_an_archive_that_unpacks_a_thousandfold_does_not_fill_the_memory(tmp_path: Path) -> None:
    # Blocks that repeat one byte: 4 bytes stand for 128 kB each, 200 MB in all.
    block = (2**17 << 3 | 1 << 1).to_bytes(3, "little") + b"x"
    last = (0 << 3 | 1).to_bytes(3, "little")
    frame = b"\x28\xb5\x2f\xfd\x00\x38" + block * 1600 + last
    path = put(tmp_path / "bomb.zst", frame + pack(lines(rows(1)), ".zst"))
    tracemalloc.start()
    try:
        pages, _ = collect(JsonLines(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert warnings(pages) == ["bomb.zst: skipped, longer than 20 MB: 1 (line 1)"]
    assert peak < 160 * 2**20


def test_a_damaged_archive_with_a_broken_first_line_is_refused_by_name(tmp_path: Path) -> None:
    broken = b"{\n" + b"".join(f"{n * 7919 % 9973} oops\n".encode() for n in range(20_000))
    path = put(tmp_path / "cut.gz", gzip.compress(broken)[:-2000])
    for connector in (open_file(path), JsonLines(path)):
        with pytest.raises(BadConfig, match=r"cut\.gz: the archive is damaged after line \d+"):
            list(connector.collect(None, None, budget=FREE, now=NOW))


def test_a_broken_array_gives_what_stands_before_the_break(tmp_path: Path) -> None:
    path = put(tmp_path / "b.json", json.dumps(rows(3), indent=1)[:-1] + ',\n{"id": oops}]')
    pages: list[Page] = []
    with pytest.raises(BadConfig, match=r"b\.json: not valid JSON .* line 18, record 4"):
        pages.extend(JsonLines(path).collect(None, None, budget=FREE, now=NOW))
    assert ids(pages) == ["0", "1", "2"]


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=30)), max_size=8), st.data())
def test_arrays_are_read_the_same_whatever_the_chunks(
    values: list[dict[str, str]], data: st.DataObject
) -> None:
    indent = data.draw(st.sampled_from([None, 1]))
    text = json.dumps(values, ensure_ascii=data.draw(st.booleans()), indent=indent)
    start = data.draw(st.integers(0, len(values)))
    stream = io.BytesIO(text.encode("utf-8", "replace"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_CHUNK", data.draw(st.integers(1, 9)))
        found = list(json_values(stream, Place(start)))
    assert [record.value for record in found] == json.loads(stream.getvalue())[start:]
    assert [record.after.at for record in found] == list(range(start + 1, len(values) + 1))


def test_quoted_line_feeds_belong_to_the_text(tmp_path: Path) -> None:
    path = put(tmp_path / "q.csv", f'id,text,date\n1,"a\nb, ""c""\n",{DATE}\n\n2,d,{DATE}\n')
    pages, _ = collect(Csv(path))
    assert [(own(m.native_id), m.text) for m in given_by(pages)] == [("1", 'a\nb, "c"'), ("2", "d")]
    assert warnings(pages) == []


def test_ragged_rows_are_read_and_counted(tmp_path: Path) -> None:
    path = put(tmp_path / "r.csv", f"id,date,text,lang\n1,{DATE},a\n2,{DATE},b,es,extra\n3\n")
    pages, _ = collect(Csv(path))
    assert [(own(m.native_id), m.text, m.lang) for m in given_by(pages)] == [
        ("1", "a", None),
        ("2", "b", "es"),
    ]
    assert warnings(pages) == [
        "r.csv: with more or fewer columns than the header: 3 (lines 2, 3, 4)",
        "r.csv: skipped, no text and no title: 1 (line 4)",
    ]


def test_a_quote_that_is_never_closed_costs_one_row(tmp_path: Path) -> None:
    body = "".join(f"{n},post {n},{DATE}\n" for n in range(2, 6))
    path = put(tmp_path / "o.csv", f'id,text,date\n1,"open,{DATE}\n{body}')
    pages, _ = collect(Csv(path))
    assert ids(pages) == ["2", "3", "4", "5"]
    assert warnings(pages) == [
        "o.csv: skipped, not a valid row (a quote that is never closed?): 1 (line 2)"
    ]


@settings(deadline=None)
@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
            min_size=2,
            max_size=2,
        ),
        max_size=6,
    )
)
def test_tables_written_by_python_come_back(table: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *table])
    columns, found = csv_rows(io.BytesIO(out.getvalue().encode()), Place(), None)
    wanted = [{"a": a.strip() or None, "b": b.strip() or None} for a, b in table if a or b]
    assert columns == ["a", "b"]
    assert [record.value for record in found] == wanted


@pytest.mark.parametrize(
    ("header", "mapping", "says"),
    [
        (
            "id,rating",
            None,
            r"no column is known to hold the text; add --map text=COLUMN .*id, rating",
        ),
        ("id,text", {"author": "nick"}, r"--map author=nick: no such column \(columns: id, text\)"),
        ("id,nickname,text", {"author": "nickmane"}, "did you mean nickname"),
        ("x" * 60 + ",1", None, "the first line is not a header"),
    ],
)
def test_a_table_that_cannot_be_read_says_how_to_map_it(
    tmp_path: Path, header: str, mapping: dict[str, str] | None, says: str
) -> None:
    path = put(tmp_path / "m.csv", f"{header}\n1,2\n")
    for call in (collect, lambda c: c.check(now=NOW)):
        with pytest.raises(BadConfig, match=says):
            call(Csv(path, mapping))


def test_a_mapped_table_is_read(tmp_path: Path) -> None:
    path = put(tmp_path / "m.csv", f"key;what;when\nk1;hola;{DATE}\n")
    mapping = {"native_id": "key", "text": "what", "published_at": "when"}
    mention = given_by(collect(open_file(path, "csv", mapping, "survey"))[0])[0]
    assert (mention.source, mention.native_id, mention.text) == ("survey", "k1", "hola")
    assert mention.published_at == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert mention.raw == {"key": "k1", "what": "hola", "when": DATE}


FORMS = ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.json", "a.csv", "a.csv.gz", "a.csv.zst"]


def write(path: Path, posts: list[dict[str, Any]]) -> Path:
    if ".csv" in path.name:
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, ["id", "text", "date"])
        writer.writeheader()
        writer.writerows(posts)
        data = out.getvalue().encode()
    else:
        data = json.dumps(posts).encode() if path.name == "a.json" else lines(posts)
    return put(path, pack(data, path.suffix))


def make(path: Path, page_size: int = 10) -> Connector:
    return (Csv if ".csv" in path.name else JsonLines)(path, page_size=page_size)


@pytest.mark.parametrize("name", FORMS)
def test_an_interrupted_import_goes_on_after_the_last_page(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, rows(35))
    pages, _ = collect(make(path))
    assert [len(page.mentions) for page in pages] == [10, 10, 10, 5]
    assert [page.more for page in pages] == [True, True, True, False]
    for done, page in enumerate(pages, start=1):
        rest, _ = collect(make(path), page.cursor)
        assert ids(rest) == [str(n) for n in range(min(10 * done, 35), 35)]


@pytest.mark.parametrize("name", FORMS)
def test_a_file_that_grew_gives_what_is_new_and_skips_nothing(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, rows(5))
    pages, _ = collect(make(path))
    write(path, rows(8))
    again, _ = collect(make(path), pages[-1].cursor)
    first = 5 if name in ("a.jsonl", "a.csv") else 0
    assert ids(again) == [str(n) for n in range(first, 8)]
    assert collect(make(path), again[-1].cursor) == ([], False)


@pytest.mark.parametrize("name", FORMS)
def test_a_file_that_changed_is_read_again(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, rows(5))
    cursor = collect(make(path))[0][-1].cursor
    for changed in (rows(5, 2), rows(3), [*rows(1, 7), *rows(5)]):
        write(path, changed)
        assert ids(collect(make(path), cursor)[0]) == [post["id"] for post in changed]


def test_a_change_before_the_place_reached_is_seen_behind_an_equal_start(tmp_path: Path) -> None:
    posts = rows(2000)
    path = write(tmp_path / "a.jsonl", posts)
    cursor = collect(make(path, 1000))[0][-1].cursor
    posts[1990]["text"] += " edited"
    write(path, [*posts, *rows(1, 2000)])
    assert len(ids(collect(make(path, 1000), cursor)[0])) == 2001


def test_another_mapping_or_source_reads_the_file_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows(3))
    cursor = collect(JsonLines(path))[0][-1].cursor
    assert collect(JsonLines(path), cursor) == ([], False)
    assert len(ids(collect(JsonLines(path, {"title": "text"}), cursor)[0])) == 3
    assert len(ids(collect(JsonLines(path, source="other"), cursor)[0])) == 3


@pytest.mark.parametrize(
    "cursor", [{}, {"fingerprint": 3}, {"at": "x"}, {"fingerprint": {"size": -1}, "at": 5}]
)
def test_a_foreign_cursor_reads_from_the_start(tmp_path: Path, cursor: Cursor) -> None:
    path = write(tmp_path / "a.jsonl", rows(3))
    assert ids(collect(JsonLines(path), cursor)[0]) == ["0", "1", "2"]


def test_a_line_that_is_still_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    whole = lines(rows(3))
    path = put(tmp_path / "w.jsonl", whole[:-20])
    pages, _ = collect(JsonLines(path))
    assert ids(pages) == ["0", "1"]
    assert warnings(pages) == ["w.jsonl: skipped, not valid JSON: 1 (line 3)"]
    assert collect(JsonLines(path), pages[-1].cursor) == ([], False)
    put(path, whole)
    assert ids(collect(JsonLines(path), pages[-1].cursor)[0]) == ["2"]


def test_the_budget_of_mentions_is_kept_and_the_rest_comes_later(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows(25))
    pages, spent = collect(make(path), budget=Budget(mentions=13))
    assert spent
    assert [len(page.mentions) for page in pages] == [10, 3]
    rest, spent = collect(make(path), pages[-1].cursor, Budget(mentions=12))
    assert not spent
    assert ids(rest) == [str(n) for n in range(13, 25)]
    assert collect(make(path), budget=Budget(pages=0)) == ([], True)


def test_a_page_ends_early_when_its_records_are_huge(tmp_path: Path) -> None:
    path = put(
        tmp_path / "big.jsonl", lines([{"id": n, "text": "x" * 3_000_000} for n in range(6)])
    )
    assert [len(page.mentions) for page in collect(JsonLines(path))[0]] == [3, 3]


def peak(connector: Connector) -> int:
    def walk() -> Iterator[int]:
        for page in connector.collect(None, None, budget=FREE, now=NOW):
            yield len(page.mentions)

    tracemalloc.start()
    assert sum(walk()) > 0
    high = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return high


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_memory_stays_flat_as_the_file_grows(tmp_path: Path, name: str) -> None:
    posts = [{**post, "text": "palabra " * 100 + post["id"]} for post in rows(4000)]
    small = peak(make(write(tmp_path / name, posts[:1000]), 100))
    large = peak(make(write(tmp_path / name, posts), 100))
    assert large < small * 2


def test_the_kind_of_file_is_told_by_name_and_content(tmp_path: Path) -> None:
    tweet = {"id": "1", "text": "a", "author_id": "2", "conversation_id": "1"}
    page = {"data": [tweet], "includes": {}, "meta": {"result_count": 1}}
    for data, kind in (
        (json.dumps(page), Twarc),
        (json.dumps(page, indent=2), Twarc),
        (json.dumps(tweet) + "\n", Twarc),
        (json.dumps([tweet]), Twarc),
        ("{broken\n" + json.dumps(page) + "\n", Twarc),
        (json.dumps({"id": 1, "data": "x", "text": "y"}), JsonLines),
        ("[oops", JsonLines),
    ):
        assert type(open_file(put(tmp_path / "x.json", data))) is kind
    assert type(open_file(put(tmp_path / "x.csv", "{text\n1\n"))) is Csv
    with pytest.raises(BadConfig, match="no such format"):
        open_file(tmp_path / "x.json", "xml")


def test_check_says_what_the_first_record_gives(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", lines([{"id": 1, "text": "a", "comments": [{"text": "b"}]}]))
    assert JsonLines(path).check(now=NOW) == "a.jsonl: readable; its first record gives 2 mentions"
    put(path, "{}\n")
    assert JsonLines(path).check(now=NOW).endswith("first record is skipped, no text and no title")
    put(path, "{\n")
    assert JsonLines(path).check(now=NOW).endswith("first record is skipped, not valid JSON")


SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "source", "least", "answers"),
    [
        ("raw/reddit_peru/threads.jsonl.gz", "reddit", 1000, 900),
        ("raw/reddit/posts.jsonl.gz", "reddit", 2000, 0),
        ("raw/hackernews/ask_hn.jsonl.gz", "hackernews", 2000, 0),
        ("payloads/hackernews/official_readme__04.json", "hackernews", 1, 0),
    ],
)
def test_real_exports_are_read(name: str, source: str, least: int, answers: int) -> None:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"the shared file {name} is not here")
    pages, _ = collect(open_file(path), budget=Budget(mentions=2000))
    mentions = given_by(pages)
    assert len(mentions) >= least
    assert {mention.source for mention in mentions} == {source}
    assert len({mention.native_id for mention in mentions}) == len(mentions)
    known = {mention.native_id for mention in mentions}
    assert sum(mention.parent_id in known for mention in mentions) >= answers
    assert all(mention.published_at < NOW for mention in mentions)


def test_two_exports_with_the_same_ids_do_not_become_one(tmp_path: Path) -> None:
    row = {"id": 1, "created_at": "2026-01-02T03:04:05Z"}
    first = put(tmp_path / "Encuesta Mayo 2026.jsonl", json.dumps(row | {"text": "one"}))
    second = put(tmp_path / "survey.jsonl", json.dumps(row | {"text": "two"}))
    given = [m for path in (first, second) for m in given_by(collect(open_file(path))[0])]
    assert [(m.source, own(m.native_id), m.text) for m in given] == [
        ("encuesta-mayo-2026", "1", "one"),
        ("survey", "1", "two"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "source"),
    [("jan/export.csv", "feb/export.csv", "export"), ("a/p.2024.csv.gz", "b/p.2024.tsv", "p-2024")],
)
def test_two_files_of_one_name_do_not_share_ids(
    tmp_path: Path, first: str, second: str, source: str
) -> None:
    found = []
    for name in (first, second):
        (tmp_path / name).parent.mkdir()
        path = put(tmp_path / name, f"id\ttext\tdate\n1\tof {name}\t{DATE}\n2\ttoo\t{DATE}\n")
        found += given_by(collect(Csv(path))[0])
    assert {m.source for m in found} == {source}
    assert [own(m.native_id) for m in found] == ["1", "2", "1", "2"]
    assert len({m.native_id for m in found}) == 4


def test_the_year_in_a_name_is_part_of_the_source(tmp_path: Path) -> None:
    names = ("posts.2024.csv", "posts.2025.csv.gz", "posts.2025.json", "v1.posts")
    sources = [JsonLines(tmp_path / name).source for name in names]
    assert sources == ["posts-2024", "posts-2025", "posts-2025", "v1-posts"]


def test_a_path_gives_the_same_ids_again_also_when_the_file_grew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", rows(2))
    before = [m.native_id for m in given_by(collect(JsonLines(path))[0])]
    write(path, rows(3))
    monkeypatch.chdir(tmp_path)
    after = [m.native_id for m in given_by(collect(JsonLines("a.jsonl"))[0])]
    assert after[:2] == before
    assert len(set(after)) == 3


def test_threads_of_a_file_still_join(tmp_path: Path) -> None:
    flat = {"id": "2", "text": "b", "parent_id": "1", "root_id": "1"}
    post = {"id": "1", "text": "a", "comments": [{"id": "3", "text": "c"}]}
    first, nested, answer = given_by(
        collect(JsonLines(put(tmp_path / "t.jsonl", lines([post, flat]))))[0]
    )
    assert re.fullmatch(r"[0-9a-f]{8}:1", first.native_id)
    assert (first.parent_id, first.root_id) == (None, None)
    for mention in (nested, answer):
        assert (mention.parent_id, mention.root_id) == (first.native_id, first.native_id)


def test_ids_of_a_named_source_are_kept(tmp_path: Path) -> None:
    post = {"id": "1", "text": "a", "parent_id": "0", "comments": [{"id": "2", "text": "b"}]}
    named = put(tmp_path / "a.jsonl", lines([post | {"platform": "forum"}]))
    known = put(tmp_path / "b.jsonl", lines([post | {"subreddit": "x"}]))
    plain = put(tmp_path / "c.jsonl", lines([post]))
    found = [given_by(collect(JsonLines(path))[0]) for path in (named, known)]
    found.append(given_by(collect(JsonLines(plain, source="mine"))[0]))
    assert [(m.source, m.native_id, m.parent_id) for one in found for m in one] == [
        ("forum", "1", "0"),
        ("forum", "2", "1"),
        ("reddit", "t3_1", "t1_0"),
        ("reddit", "t1_2", "t3_1"),
        ("mine", "1", "0"),
        ("mine", "2", "1"),
    ]


def test_repeated_ids_are_counted_over_all_pages(tmp_path: Path) -> None:
    posts = [*rows(3), *rows(1, 1), *rows(4, 3), {**rows(1)[0], "platform": "forum"}, *rows(1)]
    pages, _ = collect(make(write(tmp_path / "r.jsonl", posts), page_size=4))
    assert warnings(pages) == [
        "r.jsonl: with an id that came before: 1 (line 4)",
        "r.jsonl: with an id that came before: 1 (line 10)",
    ]
    assert len(ids(pages)) == 10


def test_millions_of_blank_lines_are_given_up(tmp_path: Path) -> None:
    post = json.dumps({"id": "1", "text": "one", "date": DATE}).encode()
    some = put(tmp_path / "some.jsonl", post + b"\n" * 100_001 + post.replace(b"one", b"two"))
    assert [mention.text for mention in given_by(collect(open_file(some))[0])] == ["one", "two"]
    many = JsonLines(put(tmp_path / "many.jsonl", post + b"\n" * 200_000 + post))
    pages = many.collect(None, None, budget=FREE, now=NOW)
    assert [mention.text for mention in next(pages).mentions] == ["one"]
    with pytest.raises(BadConfig, match="more than 100,000 blank lines before line 100002"):
        next(pages)
