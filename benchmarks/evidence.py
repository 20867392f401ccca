"""How good alerts are on labelled conversations, beside word lists and posts scored alone.

Run from the root of the project: `python -m benchmarks.evidence --shared ../shared`. It builds
three stores as a user would (import, tag, watch), replays each by time of publication, and prints
Markdown tables; `--write` puts them into docs/alerts.md. `--work DIR` keeps the stores, so that the
next run tags only what changed. Posts are named by id, never quoted.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

from sklearn.metrics import average_precision_score

from benchmarks.evidence_cases import (
    BY_PROBABILITY,
    HERE,
    NOW,
    Case,
    Row,
    labelled_posts,
    peru,
    sample,
)
from listener import pipeline
from listener.backtest import backtest, systems
from listener.collect import Source, collect
from listener.figures import BEST, share
from listener.pipeline import Parts
from listener.store import Store, moment, open_read_only
from listener.walk import Setting, System, walk

PAGE = HERE.parent / "docs" / "alerts.md"
OPENING, CLOSING = "<!-- evidence -->", "<!-- /evidence -->"
SINCE = datetime(2005, 1, 1, tzinfo=UTC)
NAMES = {
    "early-funnel": "Listener",
    BY_PROBABILITY: "ranked by probability alone",
    "single-post": "single posts",
    "regex": "word lists",
    "regex-single-post": "word lists, single posts",
}
_DAILY = [f"precision, {most} best of a day" for most in BEST]
_NOTHING = "–"
_WORST = 8


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The report of a backtest by column, and what it was judged by.

    `truth` holds the labelled conversations; `native` the post ids of alerts; `followed` how many
    labelled conversations name something we follow, and how many of these are useful.
    """

    case: Case
    posts: int
    truth: Mapping[int, bool]
    roots: Mapping[int, str]
    followed: tuple[int, int]
    systems: Mapping[str, Row]
    alerts: Mapping[str, Sequence[Row]]
    settled: Mapping[int, datetime]
    by_probability: float
    pairs: Mapping[str, Row]


def measure(case: Case, work: Path) -> Measured:
    """Build the store of a case, or bring it up to date, and replay it."""
    parts = Parts(case.config)
    path = work / f"{case.name}.db"
    with Store(path) as store:
        told = collect(
            store,
            [Source(name=case.name, connector=case.connector)],
            (),
            parts.matcher,
            now=NOW,
        )
        if told[0].status != "ok":
            sys.exit(f"{case.name}: {told[0].error}")
        pipeline.understand(store, parts)
        pipeline.watch(store, parts, now=NOW)
    setting = Setting(file=case.name, config=case.config, thresholds=parts.models.thresholds)
    columns = systems(setting, None, baselines=("single-post", "regex", "regex-single-post"))
    with closing(open_read_only(path)) as connection:
        placed = {
            row["native_id"]: row["conversation_id"]
            for row in connection.execute("SELECT native_id, conversation_id FROM mentions")
        }
        truth: dict[int, bool] = {}
        roots: dict[int, str] = {}
        for name, useful in case.useful.items():
            number = placed[name]
            truth[number] = truth.get(number, False) or useful
            roots.setdefault(number, name)
        report = backtest(
            connection,
            columns,
            since=SINCE,
            until=NOW,
            order="published",
            labels=_labels(work / f"{case.name}.labels", connection, truth),
        )
        active, ap = _by_probability(connection, columns[0], truth)
    alerts: dict[str, list[Row]] = {column.name: [] for column in columns}
    for row in report["alerts"]:
        alerts[row["system"]].append(row)
    return Measured(
        case=case,
        posts=len(placed),
        truth=truth,
        roots=roots,
        followed=(len(active), sum(truth[one] for one in active)),
        systems={row["system"]: row for row in report["systems"]},
        alerts=alerts,
        settled={placed[name]: at for name, at in case.settled.items()},
        by_probability=ap,
        pairs={pair["b"]: pair for pair in report["pairs"]},
    )


def _labels(path: Path, connection: sqlite3.Connection, truth: Mapping[int, bool]) -> Path:
    """A file of labels, one for each conversation."""
    with path.open("w", encoding="utf-8") as out:
        for number, useful in sorted(truth.items()):
            source, native_id = connection.execute(
                "SELECT source, native_id FROM mentions WHERE conversation_id = ? LIMIT 1",
                (number,),
            ).fetchone()
            label = {"source": source, "native_id": native_id, "useful": int(useful)}
            out.write(json.dumps(label) + "\n")
    return path


def _by_probability(
    connection: sqlite3.Connection, column: System, truth: Mapping[int, bool]
) -> tuple[list[int], float]:
    """Labelled conversations that are followed, and their average precision by probability."""
    told, (seen,) = walk(connection, [column], truth, since=SINCE, until=NOW, order="published")
    most: dict[int, float] = defaultdict(float)
    for one in seen.ranked:
        if one.found.stage in column.rule.stages:
            most[one.conversation] = max(most[one.conversation], one.found.probability)
    chosen = sorted(told.active & truth.keys())
    value = average_precision_score([truth[one] for one in chosen], [most[one] for one in chosen])
    return chosen, float(value)


def best(
    alerts: Iterable[Row], most: int, truth: Mapping[int, bool], by: str, zone: ZoneInfo | None
) -> Row:
    """Precision of the `most` best first alerts of each day of `zone`, or of all without a zone.

    `by` names what they are ordered by, score or probability. Returns `figures.share`.
    """
    days: dict[str, list[Row]] = defaultdict(list)
    for row in _firsts(alerts):
        days[str(moment(row["at"]).astimezone(zone).date()) if zone else ""].append(row)
    said = [
        truth[row["conversation"]]
        for rows in days.values()
        for row in sorted(rows, key=lambda row: (-row[by], row["mention"]))[:most]
        if row["conversation"] in truth
    ]
    return share(sum(said), len(said))


def _firsts(alerts: Iterable[Row]) -> list[Row]:
    """The first alert on each conversation."""
    first: dict[int, Row] = {}
    for row in alerts:
        first.setdefault(row["conversation"], row)
    return list(first.values())


def table(done: Measured) -> list[str]:
    """The Markdown lines of one case."""
    names = done.case.columns
    rows = _rows([_cells(done, name) for name in names])
    followed, useful = done.followed
    lines = [
        f"**{done.case.title[0].upper()}{done.case.title[1:]}.** {done.posts} posts, "
        f"{len(done.truth)} labelled conversations, {sum(done.truth.values())} of them worth an "
        f"alert; {followed} name something followed, {useful} of these worth an alert.",
        "",
        "| | " + " | ".join(NAMES[name] for name in names) + " |",
        "|---|" + "--:|" * len(names),
    ]
    lines += [f"| {title} | " + " | ".join(cells) + " |" for title, cells in rows.items()]
    return [*lines, "", _worst(done), ""]


def _rows(columns: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Cells by title, without empty rows; the best of a day are one row where all are the same."""
    rows = {title: [own.get(title, "") for own in columns] for title in columns[0]}
    rows = {title: cells for title, cells in rows.items() if {*cells} - {"", _NOTHING}}
    first, *others = _DAILY
    if all(rows[title] == rows[first] for title in others):
        every = first.replace(str(BEST[0]), ", ".join(map(str, BEST)))
        rows = {
            every if title == first else title: cells
            for title, cells in rows.items()
            if title not in others
        }
    return rows


def _cells(done: Measured, name: str) -> dict[str, str]:
    if name == BY_PROBABILITY:
        alerts, value = done.alerts["early-funnel"], done.by_probability
        return _ranked(done, alerts, "probability", value)
    row, alerts = done.systems[name], done.alerts[name]
    posts = [one["native_id"] for one in alerts]
    openings = [one for one in posts if one in done.case.useful]
    replies = [one for one in posts if one not in done.case.useful]
    found = {one["conversation"] for one in alerts}
    useful = {number for number, yes in done.truth.items() if yes}
    asking = {one["conversation"] for one in alerts if done.case.asks.get(one["native_id"])}
    pair = done.pairs.get(name)
    return {
        "alerts (conversations)": f"{row['alerts']} ({row['conversations']})",
        "conversations alerted on: precision": _share(row["precision"]),
        "alerts on opening posts that ask": _share(_right(openings, done.case.asks)),
        "alerts on replies that ask": _share(_right(replies, done.case.asks)),
        **_ranked(done, alerts, "score", row["average_precision"]["value"]),
        "recall, of those followed": _share(row["recall"]["labelled"]),
        "recall, of all": _share(share(len(useful & found), len(useful))),
        "recall, of all, by a post that asks": _share(share(len(useful & asking), len(useful))),
        "right where Listener is not, and the reverse (p)": (
            f"{pair['only_b']}, {pair['only_a']}" + (f" ({pair['p']:.2g})" if pair["p"] else "")
            if pair
            else _NOTHING
        ),
        **(_leads(done, row["lead"], alerts) if done.settled else {}),
    }


def _ranked(done: Measured, alerts: Sequence[Row], by: str, value: float) -> dict[str, str]:
    zone = ZoneInfo(done.case.config.digest.timezone)
    days = {
        title: best(alerts, most, done.truth, by, zone)
        for title, most in zip(_DAILY, BEST, strict=True)
    }
    whole = {
        f"precision, {most} best of all": best(alerts, most, done.truth, by, None) for most in BEST
    }
    shares = {title: _share(own) for title, own in (days | whole).items()}
    return shares | {"average precision": f"{value:.2f}"}


def _leads(done: Measured, lead: Row, alerts: Sequence[Row]) -> dict[str, str]:
    hours = [
        (done.settled[one["conversation"]] - moment(one["at"])) / timedelta(hours=1)
        for one in _firsts(alerts)
        if one["conversation"] in done.settled
    ]
    ahead = [one for one in hours if one > 0]
    seen = f"{lead['n']} ({lead['n'] - len(lead['late'])})"
    return {
        "labelled decisions, alert before": f"{len(ahead)} of {len(done.settled)}",
        "hours from that alert to the decision": f"{median(ahead):.1f}" if ahead else _NOTHING,
        "decisions that the backtest sees (alert before)": seen,
    }


def _right(posts: Sequence[str], asks: Mapping[str, bool]) -> Row:
    return share(sum(asks.get(one, False) for one in posts), len(posts))


def _share(own: Row) -> str:
    if not own["n"]:
        return _NOTHING
    return f"{own['share']:.2f} [{own['low']:.2f}–{own['high']:.2f}] of {own['n']}"


def _worst(done: Measured) -> str:
    """Ids of the highest false alerts and of what was worth an alert and raised none."""
    alerts = _firsts(done.alerts["early-funnel"])
    wrong = [row for row in alerts if done.truth.get(row["conversation"]) is False]
    wrong.sort(key=lambda row: (-row["score"], row["mention"]))
    found = {row["conversation"] for row in alerts}
    missed = [done.roots[one] for one, yes in done.truth.items() if yes and one not in found]
    named = [f"{row['native_id']} ({row['score']})" for row in wrong[:_WORST]]
    more = f" and {len(missed) - _WORST} more" if len(missed) > _WORST else ""
    return (
        f"Highest false alerts (score): {', '.join(named) or 'none'}. "
        f"Missed: {', '.join(sorted(missed)[:_WORST]) or 'none'}{more}."
    )


def replaced(page: str, tables: str) -> str:
    """The page with `tables` between its two markers; ValueError where it lacks them."""
    before, _, rest = page.partition(OPENING)
    _, marker, after = rest.partition(CLOSING)
    if not marker:
        raise ValueError(f"the page lacks {OPENING} or {CLOSING}")
    return f"{before}{OPENING}\n{tables}\n{CLOSING}{after}"


def main() -> None:
    """Prints the tables, or writes them into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder of the shared data")
    parser.add_argument("--work", type=Path, help="folder in which the stores are kept")
    parser.add_argument("--write", action="store_true", help=f"write them into {PAGE.name}")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        cases = [peru(given.shared), sample(), labelled_posts(given.shared, work)]
        measured = [measure(case, work) for case in cases]
        version = Parts(cases[0].config).models.shipped.version
    lines = [f"Model {version}.", ""]
    for done in measured:
        lines += table(done)
    tables = "\n".join(lines).strip()
    if given.write:
        PAGE.write_text(replaced(PAGE.read_text("utf-8"), tables), "utf-8")
    else:
        print(tables)


if __name__ == "__main__":
    main()
