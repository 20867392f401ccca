"""The command that tells what the rules would have done over stored history."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .session import Session, fail, form_options, say, shared_options

if TYPE_CHECKING:
    from .backtest import Baseline
    from .history import Order
    from .output import Form
    from .rules import Rule

_LATE = 10


@click.command()
@click.argument("rule", required=False)
@click.option(
    "--since", default="90d", show_default=True, help="A span, 36h, 90d or 12w, or a day."
)
@click.option("--until", default=None, help="A day or time [now].")
@click.option(
    "--compare",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Another configuration, whose [alerts] and rules are replayed beside.",
)
@click.option(
    "--order",
    type=click.Choice(["first-seen", "published"]),
    default="first-seen",
    show_default=True,
    help="When posts became known; published is for imported archives.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False),
    help='JSON Lines of {"source", "native_id", "useful": 0 or 1}, beside what people said.',
)
@click.option(
    "--baseline",
    multiple=True,
    type=click.Choice(["single-post", "regex", "regex-single-post"]),
    help="Also each post scored alone, word lists instead of the model, or both; may be repeated.",
)
@shared_options
@form_options
def backtest(
    session: Session,
    rule: str | None,
    since: str,
    until: str | None,
    compare: Path | None,
    order: Order,
    labels: Path | None,
    baseline: tuple[Baseline, ...],
    form: Form,
) -> None:
    """Replay stored posts: what RULE, or all rules, would have alerted on, how right, how early.

    Posts become known in the order in which they were first seen, and nothing is known before.
    Stored tags are read; nothing is tagged, sent or written. Which posts make a conversation, and
    terms, are as stored. --json has all figures, --csv the alerts.
    """
    from . import config
    from .backtest import backtest as replay_all
    from .backtest import systems, time_of
    from .cli import clock
    from .history import BacktestError
    from .output import emit
    from .pipeline import Parts
    from .store import open_read_only
    from .walk import Setting

    def setting(file: str, given: config.Config) -> Setting:
        return Setting(file=file, config=given, thresholds=Parts(given).models.thresholds)

    now = clock()
    own = setting(str(session.config_path or "config.toml"), session.config)
    try:
        end = time_of(until, own.zone, now=now) if until else now
        start = time_of(since, own.zone, now=end)
        columns = systems(
            own,
            rule,
            other=setting(str(compare), config.load(compare)) if compare else None,
            baselines=baseline,
        )
        with closing(open_read_only(session.database)) as connection:
            # One view of the file, whatever a daemon writes meanwhile.
            connection.execute("BEGIN")
            report = replay_all(
                connection, columns, since=start, until=end, order=order, labels=labels
            )
    except BacktestError as error:
        fail(str(error))
    for hint in _hints(report, [column.rule for column in columns]):
        say(hint)
    if form == "json":
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
    elif form == "csv":
        emit(report["alerts"], form)
    else:
        for at, (title, rows) in enumerate(_sections(report)):
            click.echo(("\n" if at else "") + title)
            emit(rows, form)


def _hints(report: Mapping[str, Any], rules: Sequence[Rule]) -> Iterator[str]:
    """What to know about these figures, in sentences."""
    extent, labels = report["extent"], report["labels"]
    if report["order"] == "first-seen" and 2 * extent["late"] > extent["posts"]:
        yield (
            f"{extent['late']} of {extent['posts']} posts were first seen more than a day after "
            "they were written: --order published replays an imported archive as it was written."
        )
    if extent["waiting"]:
        yield f"{extent['waiting']} posts have not been read yet: `listener watch` reads them."
    if labels["unknown"]:
        yield (
            f"{labels['unknown']} of {labels['rows']} labels name posts that are not stored or "
            "are in no conversation: they do not count."
        )
    if not labels["conversations"]:
        yield (
            "Nothing is labelled, so that no precision or recall is known: `listener feedback`, "
            "`listener audit` and --labels tell what was right."
        )
    if promising := sorted({rule.name for rule in rules if rule.precision is not None}):
        yield (
            f"The precision promised by {', '.join(promising)} is not replayed: a threshold "
            "learnt from verdicts would know the future."
        )


def _sections(report: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Titled tables: the figures, what differs, the readers, and the late ones."""
    systems, extent = report["systems"], report["extent"]
    names = [row["system"] for row in systems]
    cells = [_cells(row) for row in systems]
    yield (
        f"{report['since'][:10]} to {report['until'][:10]} ({report['order']}): {extent['posts']} "
        f"posts, {extent['conversations']} conversations followed, "
        f"{report['labels']['conversations']} labelled",
        [
            {"": title} | {name: own[title] for name, own in zip(names, cells, strict=True)}
            for title in cells[0]
        ],
    )
    if report["pairs"]:
        yield (
            "Which was right where they differ, on labelled conversations, and B less A",
            [
                {"A": pair["a"], "B": pair["b"]}
                | {name: pair[name] for name in ("labelled", "only_a", "only_b")}
                | {"p": _number(pair["p"], 3)}
                | {
                    title: _number(pair["difference"][name], digits, sign=True)
                    for title, name, digits in (
                        ("alerts", "alerts", 0),
                        ("precision", "precision", 2),
                        ("av. prec.", "average_precision", 2),
                        ("hours", "lead_median", 1),
                    )
                }
                for pair in report["pairs"]
            ],
        )
    people = [
        {"system": row["system"], "person": one["name"], "at once": one["at_once"]}
        | {name: one[name] for name in ("later", "held", "listed")}
        for row in systems
        for one in row["people"]
    ]
    if people:
        yield "Mailed to", people
    late = [
        {"system": row["system"]}
        | {name: one[name] for name in ("hours", "source", "native_id", "alerted_at", "ended_at")}
        for row in systems
        for one in row["lead"]["late"][:_LATE]
    ]
    if late:
        yield f"Alerts after the decision (at most {_LATE} each)", late


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """The figures of one system in words."""
    lead, ranked, recall = row["lead"], row["average_precision"], row["recall"]
    audit = recall["audit"]
    spread = f" ({_number(lead['q1'], 1)} to {_number(lead['q3'], 1)})" if lead["n"] else ""
    return {
        "alerts": str(row["alerts"]),
        "conversations alerted on": str(row["conversations"]),
        "a day (most)": f"{row['per_day']:.2f} ({row['most_a_day']})",
        "mailed at once, later": f"{row['at_once']}, {row['later']}",
        "held back, too old": f"{row['held']}, {row['listed']}",
        "precision": _share(row["precision"]),
        **{f"precision, {most} best a day": _share(own) for most, own in row["best"].items()},
        "average precision": f"{_number(ranked['value'], 2)} of {ranked['n']}"
        if ranked and ranked["n"]
        else "-",
        "recall, labels": _share(recall["labelled"]),
        "recall, audit": _interval(audit["recall"], audit) if audit else "-",
        "hours before the decision": f"{_number(lead['median'], 1)}{spread} of {lead['n']}"
        if lead["n"]
        else "-",
        "alerted before it": _share(lead["before"]),
        "decided without an alert": f"{lead['missed']} of {lead['decided']}",
    }


def _share(own: Mapping[str, Any] | None) -> str:
    return "-" if not own or not own["n"] else f"{_interval(own['share'], own)} of {own['n']}"


def _interval(value: float | None, own: Mapping[str, Any]) -> str:
    return "-" if value is None else f"{value:.2f} ({own['low']:.2f}-{own['high']:.2f})"


def _number(value: float | None, digits: int, *, sign: bool = False) -> str:
    return "-" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"
