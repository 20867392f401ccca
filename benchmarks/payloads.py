"""What connectors make of every recorded answer, and how fast: docs/sources.md, docs/payloads.md.

Run from the root of the project: `python -m benchmarks.payloads [--data ../shared/data] [--write]`.
Without `--write` the tables are printed. Nothing of an answer but its file's name is shown.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import resource
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from connectors import bluesky_map, discourse_map, mastodon_map, twarc, youtube_map
from connectors.base import Budget, ConnectorError, Mention
from connectors.feed_file import FeedFile
from connectors.hackernews import HackerNews
from connectors.hackernews_items import as_hit
from connectors.http import Http
from connectors.mapping import Mapped, OddRecord
from connectors.reddit_map import More, listed, read_thing, to_mention, walk_tree
from listener.analyse import match
from listener.config import default
from listener.ingest import Place, save_page
from listener.pipeline import Parts
from listener.store import Store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DOCS = Path(__file__).parents[1] / "docs"
MARK = "<!-- {} of python -m benchmarks.payloads -->"
REPEATS = 3
SECONDS = 1.0
"""Least time of a timed pass: recorded answers are few, so they are gone through repeatedly."""
POSTS = 2_000
"""Posts of one pass through the database."""
SITE = HackerNews(Http())


@dataclass(slots=True)
class Outcome:
    """What one file gave: mentions, and how often which record was skipped for which reason."""

    name: str
    mentions: list[Mention] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def take(self, found: Mapped) -> None:
        """Count what was made of an answer."""
        self.mentions += found.mentions
        self.skipped.update(found.skipped)

    @property
    def why(self) -> str:
        """The reasons, the most frequent first."""
        return ", ".join(f"{why} ({n})" for why, n in self.skipped.most_common())


Read = Callable[[Path, Outcome], None]


def x_answer(path: Path, out: Outcome) -> None:
    """An answer of X that tweepy's tests recorded."""
    _x(json.loads(path.read_bytes())["body"], out)


def x_lines(path: Path, out: Outcome) -> None:
    """A file of twarc."""
    for line in path.read_bytes().splitlines():
        try:
            _x(json.loads(line), out)
        except ValueError:
            out.skipped["no JSON"] += 1


def _x(body: Any, out: Outcome) -> None:
    if not twarc.is_twarc(body) and not (isinstance(body, dict) and "data" in body):
        out.skipped["no page of API v2 (older API, error, empty list)"] += 1
        return
    out.take(twarc.page_mentions(body, now=NOW))


def reddit(path: Path, out: Outcome) -> None:
    """An answer of Reddit that praw's tests recorded."""
    recorded = json.loads(path.read_bytes())
    bodies = recorded["body"] if isinstance(recorded["body"], list) else [recorded["body"]]
    lists = [found[0] for body in bodies if (found := listed(body))]
    if not lists:
        status = recorded["status"]
        out.skipped[f"answer {status}" if status != 200 else "no list of posts"] += 1
    for thing in (one for records in lists for one in walk_tree(records)):
        if isinstance(thing, More):
            out.skipped["gap in a tree, to be asked for"] += 1
            continue
        try:
            out.mentions.append(to_mention(read_thing(thing), "reddit", NOW)[0])
        except OddRecord as odd:
            out.skipped[odd.reason] += 1


def mastodon(path: Path, out: Outcome) -> None:
    """An answer of a server of Mastodon or GoToSocial."""
    recorded = json.loads(path.read_bytes())
    try:
        found = mastodon_map.map_payload(recorded, now=NOW)
    except ConnectorError as error:
        out.skipped[f"answer {recorded['status']}: {type(error).__name__}"] += 1
        return
    out.take(found)
    if not found.mentions and not found.skipped:
        out.skipped["no list of posts"] += 1


def bluesky(path: Path, out: Outcome) -> None:
    """An answer of Bluesky, a record, or the snapshots of a test."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        value = json.loads(text)
        out.take(bluesky_map.map_payload(value["body"] if "_source" in value else value, now=NOW))
        return
    for body in re.findall(r"^exports\[.*?\] = `\n(.*?)\n`;$", text, re.DOTALL | re.MULTILINE):
        plain = re.sub(r",(\s*[}\]])", r"\1", body).replace("\\\\", "\\").replace("\\`", "`")
        plain = re.sub(r'"record\((\d+)\)"', r'"at://did:plc:x/app.bsky.feed.post/\1"', plain)
        out.take(bluesky_map.map_payload(json.loads(plain), now=NOW))


def youtube(path: Path, out: Outcome) -> None:
    """An answer of YouTube's Data API."""
    out.take(youtube_map.map_payload(json.loads(path.read_bytes())))


def discourse(path: Path, out: Outcome) -> None:
    """An answer of a forum."""
    out.take(discourse_map.map_payload(json.loads(path.read_bytes())))


def hackernews(path: Path, out: Outcome) -> None:
    """An item of Hacker News."""
    found = SITE.map_hit(as_hit(json.loads(path.read_bytes())))
    if isinstance(found, str):
        out.skipped[found] += 1
    else:
        out.mentions.append(found)


def rss(path: Path, out: Outcome) -> None:
    """A feed out of feedparser's tests."""
    try:
        for page in FeedFile(path).collect(None, None, budget=Budget(), now=NOW):
            out.mentions += page.mentions
            skipped = page.returned - len(page.mentions)
            if skipped:
                out.skipped["entry without text"] += skipped
    except ConnectorError as error:
        out.skipped[type(error).__name__] += 1
    if not out.mentions and not out.skipped:
        out.skipped["a feed without entries"] += 1


KINDS: Sequence[tuple[str, str, Read]] = (
    ("X, files of twarc", "x/twarc/*", x_lines),
    ("X, answers", "x/*.json", x_answer),
    ("Reddit", "reddit/*.json", reddit),
    ("Mastodon, GoToSocial", "mastodon/*.json", mastodon),
    ("Bluesky", "bluesky/*", bluesky),
    ("YouTube", "youtube/*.json", youtube),
    ("Discourse", "discourse/*.json", discourse),
    ("Hacker News", "hackernews/*.json", hackernews),
    ("RSS, Atom", "rss/**/*.xml", rss),
)


def read_all(folder: Path, pattern: str, read: Read) -> list[Outcome]:
    """What each file of a kind gave, by name."""
    outcomes = []
    for path in sorted(one for one in folder.glob(pattern) if one.is_file()):
        out = Outcome(str(path.relative_to(folder)))
        read(path, out)
        outcomes.append(out)
    return outcomes


def peak() -> float:
    """Most memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def mapped_a_second(folder: Path, pattern: str, read: Read) -> float:
    """Median mentions per second of CPU, files read and parsed anew each time."""
    rates = []
    for _ in range(REPEATS):
        began, count = process_time(), 0
        while process_time() - began < SECONDS:
            count += sum(len(one.mentions) for one in read_all(folder, pattern, read))
        rates.append(count / (process_time() - began))
    return statistics.median(rates)


def numbered(mentions: Sequence[Mention], count: int) -> list[Mention]:
    """`count` different mentions, made of these."""
    return [
        replace(one, native_id=f"{one.native_id}/{number}", parent_id=None, root_id=None)
        for number, one in zip(range(count), cycle(mentions), strict=False)
    ]


def stored_a_second(mentions: Sequence[Mention], parts: Parts, page: int) -> tuple[float, float]:
    """Median posts per second of time on the clock: stored, and stored and matched."""
    rates = []
    for _ in range(REPEATS):
        posts = numbered(mentions, POSTS)
        with tempfile.TemporaryDirectory() as folder, Store(Path(folder, "bench.db")) as store:
            began = perf_counter()
            for start in range(0, len(posts), page):
                some = posts[start : start + page]
                save_page(store, Place("bench", ""), some, cursor={"at": start}, now=NOW)
            stored = perf_counter() - began
            match(store, parts.matcher, "bench")
            rates.append((len(posts) / stored, len(posts) / (perf_counter() - began)))
    first, second = zip(*rates, strict=True)
    return statistics.median(first), statistics.median(second)


def row(*cells: object) -> str:
    """One line of a table."""
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def totals(outcomes: Sequence[tuple[str, Sequence[Outcome]]]) -> Iterator[str]:
    """The table of kinds."""
    yield row("recorded answers", "files", "mapped", "skipped", "why")
    yield "|---|--:|--:|--:|---|"
    for kind, files in outcomes:
        whole = Outcome(kind)
        for one in files:
            whole.mentions += one.mentions
            whole.skipped.update(one.skipped)
        counts = len(files), f"{len(whole.mentions):,}", f"{whole.skipped.total():,}"
        yield row(kind, *counts, whole.why)


def speeds(folder: Path, outcomes: Sequence[tuple[str, Sequence[Outcome]]]) -> Iterator[str]:
    """The table of speeds."""
    yield row("source", "mapped a second", "stored a second", "stored and matched a second")
    yield "|---|--:|--:|--:|"
    parts = Parts(default(Path()))
    parts.matcher.match(["warm up"])
    for (kind, pattern, read), (_, files) in zip(KINDS, outcomes, strict=True):
        mentions = [mention for one in files for mention in one.mentions]
        rates = mapped_a_second(folder, pattern, read), *stored_a_second(mentions, parts, 100)
        yield row(kind, *(f"{rate:,.0f}" for rate in rates))
    yield ""
    yield f"Peak memory of the whole run: {peak():.0f} MB."


def write(path: Path, part: str, lines: Iterator[str]) -> None:
    """Put the lines between the marks of `part` in a document."""
    start, end = MARK.format(f"{part}, start"), MARK.format(f"{part}, end")
    before, found, rest = path.read_text(encoding="utf-8").partition(start)
    if not found:
        raise SystemExit(f"{path.name} has no line {start}")
    after = rest.partition(end)[2]
    body = "\n".join(lines)
    path.write_text(f"{before}{start}\n{body}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Prints or writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--write", action="store_true", help="into docs/")
    arguments = parser.parse_args()
    folder = arguments.data / "payloads"
    if not folder.is_dir():
        raise SystemExit(f"{folder} is not there: name the folder of recorded data with --data")
    logging.disable()
    outcomes = [(kind, read_all(folder, pattern, read)) for kind, pattern, read in KINDS]
    each = [row("file", "mapped", "skipped", "why"), "|---|--:|--:|---|"]
    each += [
        row(one.name, len(one.mentions), one.skipped.total(), one.why)
        for _, files in outcomes
        for one in files
    ]
    parts = {
        "totals": (DOCS / "sources.md", totals(outcomes)),
        "speeds": (DOCS / "sources.md", speeds(folder, outcomes)),
        "files": (DOCS / "payloads.md", iter(each)),
    }
    for name, (path, lines) in parts.items():
        if arguments.write:
            write(path, name, lines)
        elif name != "files":
            print(*lines, "", sep="\n")


if __name__ == "__main__":
    main()
