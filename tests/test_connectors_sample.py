import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.base import BadConfig, Budget, BudgetSpent, Cursor, Page
from connectors.sample import Sample

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DATA = Path(__file__).parents[1] / "connectors" / "data" / "sample.jsonl"
ROWS = [json.loads(line) for line in DATA.read_bytes().split(b"\n") if line]


def collect(
    sample: Sample, cursor: Cursor | None = None, now: datetime = NOW, budget: Budget = Budget()
) -> list[Page]:
    return list(sample.collect(None, cursor, budget=budget, now=now))


def row(native_id: str, minutes: float, parent: str | None = None) -> dict[str, object]:
    return {
        "id": native_id,
        "source_hint": "forum",
        "minutes_before": minutes,
        "lang": "es",
        "author": {"handle": "ana", "name": "Ana", "followers": 3},
        "title": None,
        "text": f"a\x00 {native_id} ",
        "parent": parent,
        "root": parent,
        "url": f"https://sample.example/{native_id}",
        "likes": 1,
        "replies": 2,
        "shares": 3,
    }


def write(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def test_every_post_of_the_sample_is_given_once_by_time() -> None:
    pages = collect(Sample())
    mentions = [mention for page in pages for mention in page.mentions]
    assert {mention.native_id for mention in mentions} == {row["id"] for row in ROWS}
    assert len(mentions) == len(ROWS)
    assert {len(page.mentions) for page in pages[:-1]} == {100}
    times = [mention.published_at for mention in mentions]
    assert times == sorted(times)
    assert all(mention.source == "sample" for mention in mentions)


def test_what_is_answered_stands_before_its_answers() -> None:
    seen: set[str] = set()
    for page in collect(Sample()):
        for mention in page.mentions:
            assert {mention.parent_id, mention.root_id} - {None} <= seen
            seen.add(mention.native_id)


def test_a_row_becomes_a_mention(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", row("b", 30.5, "a"), row("a", 60))
    first, second = collect(Sample(path))[0].mentions
    assert (first.native_id, first.parent_id, first.text) == ("a", None, "a a")
    assert (second.native_id, second.parent_id, second.root_id) == ("b", "a", "a")
    assert second.published_at == NOW - timedelta(minutes=30.5)
    assert second.lang == "es"
    assert second.url == "https://sample.example/b"
    assert (second.counts.likes, second.counts.replies, second.counts.shares) == (1, 2, 3)
    assert second.author is not None
    assert (second.author.handle, second.author.followers) == ("ana", 3)


def test_later_runs_give_nothing_and_move_no_date(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", *(row(str(n), 500 - n) for n in range(150)))
    whole = collect(Sample(path))
    later = NOW + timedelta(days=3)
    assert collect(Sample(path), whole[-1].cursor, later) == []
    rest = collect(Sample(path), whole[0].cursor, later)
    assert rest == whole[1:]


def test_another_sample_is_given_whole_with_the_old_moment(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", row("a", 60))
    cursor = collect(Sample(path))[-1].cursor
    write(path, row("c", 90), row("a", 60))
    pages = collect(Sample(path), cursor, NOW + timedelta(days=1))
    assert [(m.native_id, m.published_at) for m in pages[0].mentions] == [
        ("c", NOW - timedelta(minutes=90)),
        ("a", NOW - timedelta(minutes=60)),
    ]


def test_the_budget_is_kept() -> None:
    pages: list[Page] = []
    with pytest.raises(BudgetSpent, match=rf"{len(ROWS) - 130} posts left"):
        pages.extend(Sample().collect(None, None, budget=Budget(mentions=130), now=NOW))
    assert [len(page.mentions) for page in pages] == [100, 30]


@pytest.mark.parametrize(
    "data", ["{broken\n", '{"id": "a"}\n', "[1]\n", '{"minutes_before": 1, "parent": null}\n']
)
def test_a_file_that_is_no_sample_is_refused(tmp_path: Path, data: str) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(data, encoding="utf-8")
    with pytest.raises(BadConfig, match="not a sample"):
        collect(Sample(path))
    with pytest.raises(BadConfig, match="cannot be read"):
        Sample(tmp_path / "none.jsonl").check(now=NOW)
