"""The labelled conversations of `benchmarks.evidence`: threads, the sample, and single posts."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from connectors.base import Connector
from connectors.opening import open_file
from connectors.records import open_bytes
from connectors.sample import Sample
from connectors.text import html_to_text
from listener import config
from listener.config import Config

HERE = Path(__file__).parent
# The import is dated, so that every run gives the same.
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BY_PROBABILITY = "probability"
EVERY = ("early-funnel", BY_PROBABILITY, "single-post", "regex", "regex-single-post")
"""What is compared: columns of a backtest, and the first of them without the parts of its score."""
_PREFIX = 100
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Conversations with labels, by the ids of their posts.

    `useful` tells of some posts of each conversation whether an alert on it helps (one that does is
    enough), `asks` of every post whether it asks itself, `settled` when a choice was told.
    """

    name: str
    title: str
    config: Config
    connector: Connector
    useful: Mapping[str, bool]
    asks: Mapping[str, bool]
    settled: Mapping[str, datetime] = field(default_factory=dict)
    columns: tuple[str, ...] = EVERY


def peru(shared: Path) -> Case:
    """The threads of threads_peru.tsv; an item asks when its label `early` is 1."""
    path = shared / "data" / "raw" / "reddit_peru" / "threads.jsonl.gz"
    told = {
        comment["comment_id"]: _utc(comment["created_utc"])
        for thread in _lines(path)
        for comment in thread["comments"]
        if comment["created_utc"]
    }
    with (HERE / "threads_peru.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    return Case(
        name="peru",
        title="80 threads about telecom operators in Peru, 2014-2023, nearly all in Spanish",
        config=config.load(HERE / "evidence_peru.toml"),
        connector=open_file(path),
        useful=_of_threads(rows),
        asks={_name(row): row["early"] == "1" for row in rows},
        settled={
            f"t3_{row['thread']}": told[row["outcome_item"]]
            for row in rows
            if row["open"] == "1" and row["outcome_item"] in told
        },
    )


def _of_threads(rows: Iterable[Mapping[str, str]]) -> dict[str, bool]:
    useful: dict[str, bool] = {}
    for row in rows:
        thread = f"t3_{row['thread']}"
        useful[thread] = useful.get(thread, False) or row["early"] == "1"
    return useful


def _name(row: Mapping[str, str]) -> str:
    return f"{'t3' if row['item'] == row['thread'] else 't1'}_{row['item']}"


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def sample() -> Case:
    """The built-in sample; an alert helps where a choice was open at some time."""
    data = HERE.parent / "connectors" / "data"
    posts = {row["id"]: row for row in _lines(data / "sample.jsonl")}
    labels = {row["id"]: row for row in _lines(data / "sample_labels.jsonl")}
    useful = {
        name: bool(row["conversation"]["early"] or row["conversation"]["decided"])
        for name, row in labels.items()
        if "conversation" in row
    }
    return Case(
        name="sample",
        title="the built-in sample: 309 invented posts about coffee machines, half of them Spanish",
        config=config.default(),
        connector=Sample(),
        useful=useful,
        asks={name: bool(row["early"]) for name, row in labels.items()},
        settled=dict(_settled(posts, labels)),
    )


def _settled(posts: Mapping[str, Row], labels: Mapping[str, Row]) -> Iterator[tuple[str, datetime]]:
    """Threads whose asker tells a choice later, by its first post that does."""
    asked: set[tuple[str, str]] = set()
    done: set[str] = set()
    for name, post in sorted(posts.items(), key=lambda pair: -pair[1]["minutes_before"]):
        root, label = post["root"] or name, labels[name]
        who = root, post["author"]["handle"]
        if label["early"]:
            asked.add(who)
        elif who in asked and label["stage"] in {"decision", "post_purchase"} and root not in done:
            done.add(root)
            yield root, NOW - timedelta(minutes=post["minutes_before"])


def labelled_posts(shared: Path, work: Path) -> Case:
    """Posts of dev.jsonl that stand in data/raw, each a conversation of its own.

    Those of the Peru threads are left to these.
    """
    dates = dict(_raw(shared / "data" / "raw"))
    path = work / "posts.jsonl"
    rows = [
        row
        for row in _lines(shared / "labels" / "dev.jsonl")
        if _key(row["source"], row["text"]) in dates
    ]
    with path.open("w", encoding="utf-8") as out:
        for row in rows:
            title, _, text = row["text"].partition("\n")
            titled = text and row["platform"] in {"reddit", "hackernews"}
            post = {"id": row["id"]} | (
                {"title": title, "text": text} if titled else {"text": row["text"]}
            )
            at = dates[_key(row["source"], row["text"])]
            given = {} if at is None else {"created_at": at.isoformat()}
            out.write(json.dumps(post | given, ensure_ascii=False) + "\n")
    useful = {row["id"]: bool(row["early"]) for row in rows}
    return Case(
        name="posts",
        title=f"{len(rows)} single posts of many subjects, English and Spanish",
        config=config.load(HERE / "evidence_posts.toml"),
        connector=open_file(path, source="labelled"),
        useful=useful,
        asks=useful,
        # Of single posts, a conversation has nothing to add but the parts of its score.
        columns=("early-funnel", BY_PROBABILITY, "regex"),
    )


def _raw(folder: Path) -> Iterator[tuple[tuple[str, str], datetime | None]]:
    """The key of each post and when it was written, None where that is not known."""
    for row in _lines(folder / "reddit" / "posts.jsonl.gz"):
        text = f"{row['title']}\n{row.get('selftext') or ''}"
        key = _key(f"reddit_top_2013/{row['subreddit']}", text)
        yield key, datetime.fromtimestamp(row["created_utc"], UTC)
    for row in _lines(folder / "hackernews" / "ask_hn.jsonl.gz"):
        text = f"{row['title']}\n{html_to_text(row.get('text') or '')}"
        yield _key("hackernews_ask", text), datetime.fromtimestamp(row["time"], UTC)
    for row in _lines(folder / "es" / "posts.jsonl.gz"):
        yield _key(row["source"], row["text"]), None


def _key(source: str, text: str) -> tuple[str, str]:
    """What a labelled post and its original share: spaces differ, and long texts are cut."""
    return source, "".join(text.removesuffix("…").split())[:_PREFIX]


def _lines(path: Path) -> Iterator[Row]:
    with open_bytes(path) as lines:
        for line in lines:
            yield json.loads(line)
