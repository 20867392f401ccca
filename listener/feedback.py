"""What people say of alerts, and what it says of rules: precision, and thresholds that promise it.

Several people may judge one alert; it then counts once, as useful when more say so than do not.
"""

from __future__ import annotations

import csv
import io
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from .ingest import clean
from .promise import Promise, promised_threshold, wilson
from .store import Store, stamp

Channel = Literal["link", "command", "csv"]
VERDICTS = ("useful", "not-useful", "late", "wrong-brand", "not-a-buyer")
"""`late`: the choice was already made; `wrong-brand`: about something else of that name."""
# Which fault an alert counts for when as many people name one as another: the more telling one.
_TELLING = ("wrong-brand", "not-a-buyer", "late", "not-useful")
# What a verdict says of the names that were found in the post.
_RELEVANT = {"useful": 1, "wrong-brand": 0}
# SQLite's numbers are smaller than 2**63, which has 19 digits.
_LARGEST, _DIGITS = 2**63 - 1, 19
_DELIMITERS = ",;\t"


class FeedbackError(Exception):
    """A verdict cannot be taken; the text says why and what to do."""


class Promising(Protocol):
    """The part of an alert rule that a promise needs: its name and the precision it promises."""

    @property
    def name(self) -> str:
        """Name of the rule, as in `alerts.rule`."""

    @property
    def precision(self) -> float | None:
        """Promised share of useful alerts, or None when nothing is promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One judged alert; the ids are None once what they name has been erased."""

    rule: str
    score: int
    verdict: str
    alert_id: int | None
    mention_id: int | None

    @property
    def useful(self) -> bool:
        """Whether the verdict is `useful`."""
        return self.verdict == "useful"


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePrecision:
    """Judged alerts of one rule: the share of useful ones with its 95 % Wilson interval.

    `verdicts` counts the `n` alerts by verdict, those of `VERDICTS` in that order.
    """

    rule: str
    n: int
    useful: int
    precision: float
    low: float
    high: float
    verdicts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did: verdicts that are new or changed, those known before, and faults.

    A row without a verdict is `blank`, as in an exported list that was only partly filled in.
    """

    changed: int
    known: int
    blank: int
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One verdict of a file, with the line on which its record ends; `by` is "" if not said."""

    line: int
    number: int
    verdict: str
    by: str


def record(
    store: Store, alert_id: int, verdict: str, *, by: str, channel: Channel, now: datetime
) -> bool:
    """Keep what `by` says of an alert, in place of what the same person said of it before.

    `wrong-brand` also labels the names that were found in the alert's post as not meant, `useful`
    as meant. Returns whether it is new or another verdict than before. Raises `FeedbackError` for
    an alert that is not there, another word than those of `VERDICTS`, or nobody's name.
    """
    with store.write() as connection:
        return _record(connection, alert_id, verdict, by=by, channel=channel, now=now)


def import_csv(store: Store, path: Path, *, by: str, now: datetime) -> Imported:
    """Take verdicts from a CSV file with the columns alert (or id), verdict and, if given, by.

    `by` is for rows that name nobody. Faulty rows are told of with their line and left out; the
    same file again changes nothing. Raises `FeedbackError` when the file is no such table.
    """
    rows, blank, faults = read_verdicts(path, ("alert", "id"), VERDICTS)
    changed = known = 0
    with store.write() as connection:
        for row in rows:
            try:
                if _record(
                    connection, row.number, row.verdict, by=row.by or by, channel="csv", now=now
                ):
                    changed += 1
                else:
                    known += 1
            except FeedbackError as error:
                faults.append((row.line, str(error)))
    return Imported(changed=changed, known=known, blank=blank, faults=told(faults))


def labels(store: Store) -> list[Label]:
    """Every judged alert, once, in the order in which they were first judged.

    Of an erased alert nothing tells any more which verdicts belong together: they count one by one.
    """
    votes: dict[tuple[str, int], list[sqlite3.Row]] = defaultdict(list)
    for row in store.rows("SELECT * FROM feedback ORDER BY id"):
        key = ("feedback", row["id"]) if row["alert_id"] is None else ("alert", row["alert_id"])
        votes[key].append(row)
    return [
        Label(
            rule=rows[0]["rule"],
            score=rows[0]["score"],
            verdict=agreed(row["verdict"] for row in rows),
            alert_id=rows[0]["alert_id"],
            mention_id=rows[0]["mention_id"],
        )
        for rows in votes.values()
    ]


def agreed(verdicts: Iterable[str]) -> str:
    """The verdict that several make together: `useful` when more than half of them are.

    Otherwise the most frequent fault, and among equally frequent ones the most telling.
    """
    counts = Counter(verdicts)
    if 2 * counts["useful"] > counts.total():
        return "useful"
    return max(_TELLING, key=lambda verdict: counts[verdict])


def precision(store: Store) -> list[RulePrecision]:
    """Precision per rule on what is judged, rules by name."""
    by_rule: dict[str, Counter[str]] = defaultdict(Counter)
    for label in labels(store):
        by_rule[label.rule][label.verdict] += 1
    found = []
    for rule, counts in sorted(by_rule.items()):
        n, useful = counts.total(), counts["useful"]
        low, high = wilson(useful, n)
        found.append(
            RulePrecision(
                rule=rule,
                n=n,
                useful=useful,
                precision=useful / n,
                low=low,
                high=high,
                verdicts={verdict: counts[verdict] for verdict in VERDICTS},
            )
        )
    return found


def thresholds(store: Store, rules: Iterable[Promising]) -> dict[str, Promise]:
    """By name, for each rule that promises a precision, what its judged alerts say of it."""
    by_rule: dict[str, list[Label]] = defaultdict(list)
    for label in labels(store):
        by_rule[label.rule].append(label)
    return {
        rule.name: promised_threshold(
            [label.score for label in by_rule[rule.name]],
            [label.useful for label in by_rule[rule.name]],
            precision=rule.precision,
        )
        for rule in rules
        if rule.precision is not None
    }


def read_verdicts(
    path: Path, number_columns: Sequence[str], verdicts: Collection[str]
) -> tuple[list[Row], int, list[tuple[int, str]]]:
    """The verdicts of a CSV file, how many rows have none, and faults with their lines.

    The number of what is judged stands in the first of `number_columns` that there is; columns of
    other names are passed over. Commas, semicolons and tabs separate. Raises `FeedbackError` when
    the file cannot be read or lacks the columns.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FeedbackError(f"{path}: cannot be read ({error.strerror}): check its name") from error
    except UnicodeDecodeError:
        raise FeedbackError(f"{path}: is not UTF-8 text: save it as `CSV UTF-8`") from None
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[Row] = []
    faults: list[tuple[int, str]] = []
    blank = 0
    try:
        header = [name.strip().casefold() for name in next(reader, [])]
        number_at = next((header.index(name) for name in number_columns if name in header), None)
        if number_at is None or "verdict" not in header:
            raise FeedbackError(
                f"{path}: the first line has to name the columns {number_columns[0]} and verdict, "
                "and may name by"
            )
        verdict_at = header.index("verdict")
        by_at = header.index("by") if "by" in header else None
        for cells in reader:
            line = reader.line_num
            verdict = _cell(cells, verdict_at).casefold().replace(" ", "-").replace("_", "-")
            number = _cell(cells, number_at)
            if not verdict:
                blank += bool(number)
            elif not (number.isascii() and number.isdigit() and len(number) < _DIGITS):
                faults.append((line, f"{header[number_at]} is not a number"))
            elif verdict not in verdicts:
                faults.append((line, f"the verdict is none of {', '.join(verdicts)}"))
            else:
                by = "" if by_at is None else _cell(cells, by_at)
                rows.append(Row(line=line, number=int(number), verdict=verdict, by=by))
    except csv.Error as error:
        faults.append((reader.line_num, f"not CSV from here on ({error}): mend it, import again"))
    return rows, blank, faults


def told(faults: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    """Faults as sentences, in the order of their lines."""
    return tuple(f"line {line}: {fault}" for line, fault in sorted(faults))


def _cell(cells: Sequence[str], at: int) -> str:
    return cells[at].strip() if at < len(cells) else ""


def _record(
    connection: sqlite3.Connection,
    alert_id: int,
    verdict: str,
    *,
    by: str,
    channel: Channel,
    now: datetime,
) -> bool:
    if verdict not in VERDICTS:
        raise FeedbackError(f"the verdict is none of {', '.join(VERDICTS)}")
    by = named(by)
    alert = None
    if 0 < alert_id <= _LARGEST:
        alert = connection.execute(
            "SELECT rule, score, mention_id FROM alerts WHERE id = ?", (alert_id,)
        ).fetchone()
    if alert is None:
        raise FeedbackError(
            f"there is no alert {alert_id}, or its post has been erased since: "
            "`listener alerts list` shows what there is"
        )
    before = connection.execute(
        "SELECT verdict FROM feedback WHERE alert_id = ? AND given_by = ?", (alert_id, by)
    ).fetchone()
    if before is not None and before["verdict"] == verdict:
        return False
    connection.execute(
        "INSERT INTO feedback (alert_id, mention_id, rule, score, verdict, given_by, channel, at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (alert_id, given_by) DO UPDATE SET "
        "verdict = excluded.verdict, channel = excluded.channel, at = excluded.at",
        (
            alert_id,
            alert["mention_id"],
            alert["rule"],
            alert["score"],
            verdict,
            by,
            channel,
            stamp(now),
        ),
    )
    if before is not None and before["verdict"] in _RELEVANT:
        connection.execute(
            "DELETE FROM relevance_labels WHERE mention_id = ? AND given_by = ?",
            (alert["mention_id"], by),
        )
    if verdict in _RELEVANT:
        connection.execute(
            "INSERT INTO relevance_labels (mention_id, name, relevant, given_by, at) "
            "SELECT DISTINCT mention_id, name, ?, ?, ? FROM matches WHERE mention_id = ? "
            "ON CONFLICT (mention_id, name) DO UPDATE SET relevant = excluded.relevant, "
            "given_by = excluded.given_by, at = excluded.at",
            (_RELEVANT[verdict], by, stamp(now), alert["mention_id"]),
        )
    return True


def named(by: str) -> str:
    """The name of who judges, as it is stored; raises `FeedbackError` when there is none."""
    name = clean(by).strip()[:200]
    if not name:
        raise FeedbackError("nobody is named who says so: give a name")
    return name
