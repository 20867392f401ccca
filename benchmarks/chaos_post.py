"""Mail servers that are dead, refuse, hang and hang up; and a backlog of ten thousand messages."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date, timedelta
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.chaos_checks import delivered, differences, sound, stored
from benchmarks.chaos_life import Stage, live
from benchmarks.chaos_mail import BEHAVIOURS, FOR_GOOD, MailServer, copies
from benchmarks.chaos_month import Report, run, site
from benchmarks.chaos_world import (
    START,
    STEP,
    Board,
    CampaignParts,
    World,
    free_port,
    settings,
    wanted,
)
from listener.config import Config, Recipient
from listener.deliver import deliver
from listener.outbox import enqueue
from listener.store import Store, moment, stamp

_DEAD = timedelta(hours=48)
_AGE = timedelta(hours=24)
_MOST_SECONDS = 0.1
"""For which a write transaction may hold the lock."""
_PAUSE = 0.003


def dead_server(folder: Path, seed: int) -> Report:
    """No mail server for 48 hours in the middle of six days, while posts and alerts go on."""
    world = World(seed=seed, days=6)
    calm = run(folder / "calm", world, [])
    (folder / "dead").mkdir()
    board, port = Board(), free_port()
    report = Report()
    first = round(timedelta(days=2) / STEP)
    last = first + round(_DEAD / STEP)
    with site(world, board) as web:
        config = settings(folder / "dead", web, port)
        server = MailServer(port, folder / "mail.jsonl", board)
        stage = Stage(
            world=world, board=board, config=config, site=web, log=folder / "dead" / "log.txt"
        )
        begin = 0
        for number, (until, up) in enumerate(((first, True), (last, False), (world.steps, True))):
            if up:
                server.start()
            ended = live(stage, number, begin, None, last=until)
            if ended.code:
                raise RuntimeError(f"a life broke: see {stage.log}")
            server.stop()
            begin = until
    path = config.database.path
    taken = server.taken()
    report.wrong += sound(path)
    report.wrong += stored(path, wanted(world, CampaignParts(config).matcher))
    told, twice = delivered(path, taken, {})
    report.wrong += told
    late_ones = ("deliveries", "readers", "shown", "days of digests")
    report.wrong += [
        f"other {name} than with a mail server"
        for name in differences(calm.config.database.path, path, but=late_ones)
    ]
    back = world.at(last)
    late = [row for row in _alerts(path) if moment(row["created_at"]) < back]
    stale = [
        row for row in late if row["status"] == "stale" and row["settled"] >= stamp(world.at(first))
    ]
    sent = copies(taken)
    for row in _alerts(path):
        got = sent.get(row["message_id"], [])
        if got and got[0].at > moment(row["at"]).timestamp() + _AGE.total_seconds():
            report.wrong.append(f"alert {row['id']} was mailed when it was too old")
        if row["status"] == "stale" and got:
            report.wrong.append(f"alert {row['id']} is noted as stale, yet was mailed")
    digests = {
        person.email: "\n".join(one.text for one in taken if one.recipient == person.email)
        for person in config.receiving("digest")
    }
    folded = 0
    for row in stale:
        if row["recipient"] in digests:
            if row["url"] in digests[row["recipient"]]:
                folded += 1
            else:
                report.wrong.append(f"stale alert {row['id']} is in no digest")
    report.figures = {
        "hours": int(_DEAD / timedelta(hours=1)),
        "messages": len(sent),
        "twice": twice,
        "stale": len(stale),
        "folded": folded,
        "calm": len(copies(calm.server.taken())),
    }
    if not stale:
        report.wrong.append("no alert became stale: the world is too quiet to prove anything")
    return report


def _alerts(path: Path) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(
            "SELECT a.id, a.created_at, d.status, d.message_id, d.recipient, d.next_try_at "
            "AS settled, m.at, m.url FROM deliveries d "
            "JOIN alerts a ON d.kind = 'alert' AND a.id = CAST(d.ref AS INTEGER) "
            "JOIN mentions m ON m.id = a.mention_id"
        ).fetchall()


# -- a server that answers as it likes


def _people(number: int, channel: str = "smtp") -> str:
    return "".join(
        f'[[recipients]]\nname = "Person {one}"\nemail = "p{one}@example.com"\n'
        f'language = "{"es" if one % 2 else "en"}"\nreceives = ["digest"]\n'
        f'channel = "{channel}"\n'
        for one in range(number)
    )


def moody_server(folder: Path, seed: int, *, people: int) -> Report:
    """Each message meets up to three faults of the server before it is taken, or is refused."""
    folder.mkdir(parents=True)
    dice = random.Random(seed)
    plans = {
        f"p{one}@example.com": [dice.choice(BEHAVIOURS) for _ in range(dice.randint(0, 3))]
        for one in range(people)
    }
    # Each behaviour at least once.
    plans |= {f"p{one}@example.com": [what] for one, what in enumerate(BEHAVIOURS)}
    board, port = Board(), free_port()
    report = Report()
    config = settings(folder, 9, port, timeout=1, extra=_people(people))
    met = Counter[str]()
    with (
        MailServer(port, folder / "mail.jsonl", board, plans) as server,
        Store(config.database.path) as store,
    ):
        _enqueue(store, config, [START.date()])
        parts, now = CampaignParts(config), START
        tries = 0
        while now < START + timedelta(days=5):
            board.put("now", int(now.timestamp()))
            tries += deliver(store, config, parts.channels, now=now).total()
            if not store.value("SELECT count(*) FROM deliveries WHERE status = 'waiting'"):
                break
            now = max(
                now + timedelta(minutes=1),
                moment(
                    store.value("SELECT min(next_try_at) FROM deliveries WHERE status='waiting'")
                ),
            )
        rows = {
            row["recipient"]: row
            for row in store.rows("SELECT recipient, status, message_id FROM deliveries")
        }
        barred = {row["recipient"] for row in store.rows("SELECT recipient FROM suppressed")}
    by_id = copies(server.taken())
    for address, steps in plans.items():
        passed = _until_final(steps)
        met.update(passed)
        final = passed[-1] if passed and passed[-1] in FOR_GOOD else "ok"
        got = by_id.get(rows[address]["message_id"], [])
        status = "refused" if final in FOR_GOOD else "sent"
        times = passed.count("unsaid") + (final == "ok")
        if rows[address]["status"] != status:
            report.wrong.append(f"{passed}: {rows[address]['status']}, not {status}")
        if len(got) != times:
            report.wrong.append(f"{passed}: taken {len(got)} times, not {times}")
        if len({one.digest for one in got}) > 1:
            report.wrong.append(f"{passed}: not the same content each time")
        if (final == "550") != (address in barred):
            report.wrong.append(f"{passed}: suppressed: {address in barred}")
    report.figures = {
        "messages": people,
        "met": dict(sorted(met.items())),
        "sent": sum(row["status"] == "sent" for row in rows.values()),
        "refused": sum(row["status"] == "refused" for row in rows.values()),
        "twice": sum(len(got) > 1 for got in by_id.values()),
        "hours": round((now - START) / timedelta(hours=1), 1),
    }
    return report


def _until_final(steps: Sequence[str]) -> list[str]:
    passed = []
    for step in steps:
        passed.append(step)
        if step in FOR_GOOD:
            break
    return passed


def _enqueue(store: Store, config: Config, days: Sequence[date]) -> None:
    everybody: list[Recipient] = [
        one for one in config.receiving("digest") if one.email.startswith("p")
    ]
    for day in days:
        with store.write() as connection:
            for person in everybody:
                enqueue(connection, "digest", day.isoformat(), person, now=START)


# -- a backlog


def backlog(folder: Path, seed: int, *, messages: int, timed: bool = True) -> Report:
    """A backlog of alerts drains while another process asks for the write lock all the time.

    Unless `timed`, only the processor time of the transactions is judged, not that of the clock.
    """
    world = World(seed=seed, days=2)
    calm = run(folder, world, [])
    people = messages // 10
    board, port = Board(), free_port()
    config = settings(folder, 9, port, extra=_people(people).replace('["digest"]', '["alerts"]'))
    now = world.at(round(timedelta(days=2) / STEP))
    path = calm.config.database.path
    with Store(path) as store:
        waiting = _fill(store, config, messages, now)
    held: list[tuple[float, float]] = []
    with MailServer(port, folder / "backlog.jsonl", board) as server, _poller(path) as stop:
        with Store(path) as store, _timed(held):
            begun = time.monotonic()
            parts = CampaignParts(config)
            outcome = Counter[str]()
            while any(done := deliver(store, config, parts.channels, now=now)):
                outcome += done
            seconds = time.monotonic() - begun
        waits, stall = stop()
        taken = server.taken()
    report = Report()
    if waiting != messages:
        report.wrong.append(f"the world gave only {waiting} messages")
    if outcome["sent"] != waiting:
        report.wrong.append(f"{outcome['sent']} of {waiting} messages were sent: {dict(outcome)}")
    if len(copies(taken)) != waiting or len(taken) != waiting:
        report.wrong.append(f"{len(taken)} messages were taken")
    walls, works = sorted(wall for wall, _ in held), [work for _, work in held]
    # What the machine lets every process wait, the transactions waited as well.
    if timed and walls[-1] - stall > _MOST_SECONDS:
        report.wrong.append(f"a write transaction held the lock for {walls[-1] * 1000:.0f} ms")
    if max(works) > _MOST_SECONDS:
        report.wrong.append(f"a write transaction worked for {max(works) * 1000:.0f} ms")
    report.figures = {
        "messages": waiting,
        "seconds": round(seconds, 1),
        "transactions": len(walls),
        "longest_ms": round(walls[-1] * 1000, 1),
        "median_ms": round(statistics.median(walls) * 1000, 2),
        "p999_ms": round(walls[len(walls) * 999 // 1000] * 1000, 1),
        "over": sum(wall > _MOST_SECONDS for wall in walls),
        "work_ms": round(max(works) * 1000, 1),
        "stall_ms": round(stall * 1000, 1),
        "polls": len(waits),
        "longest_wait_ms": round(max(waits) * 1000, 1),
    }
    return report


def _fill(store: Store, config: Config, messages: int, now: Any) -> int:
    """Put `messages` alerts into the outbox of as many people; returns how many there are."""
    everybody = [one for one in config.receiving("alerts") if one.email.startswith("p")]
    with store.write() as connection:
        connection.execute("DELETE FROM deliveries WHERE status = 'waiting'")
        alerts = connection.execute(
            "SELECT a.id FROM alerts a JOIN conversations c ON c.id = a.conversation_id "
            "JOIN mentions m ON m.id = a.mention_id WHERE a.rule = 'open choices' "
            "AND c.state = 'early' ORDER BY m.at DESC"
        ).fetchall()
        left = messages
        for row in alerts:
            for person in everybody:
                if left and enqueue(connection, "alert", str(row["id"]), person, now=now):
                    left -= 1
    return messages - left


@contextmanager
def _timed(held: list[tuple[float, float]]) -> Iterator[None]:
    """Keep seconds by the clock and of the processor for each transaction."""
    plain = Store.write

    @contextmanager
    def write(store: Store) -> Iterator[Any]:
        with plain(store) as connection:
            # The lock is held from here to the end of the commit.
            begun, worked = time.monotonic(), time.thread_time()
            yield connection
        held.append((time.monotonic() - begun, time.thread_time() - worked))

    with patch.object(Store, "write", write):
        yield


def _poll(path: Path, stop: Event, answer: Connection) -> None:
    waits, stall = [], 0.0
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
        # SQLite's own waiting sleeps up to 100 ms: asked again and again here.
        connection.execute("PRAGMA busy_timeout = 0")
        while not stop.is_set():
            begun = time.monotonic()
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    break
                except sqlite3.OperationalError:
                    # Asked again at once, since how long the lock is held is what is measured.
                    time.sleep(0.0005)
            waits.append(time.monotonic() - begun)
            connection.execute("ROLLBACK")
            begun = time.monotonic()
            time.sleep(_PAUSE)  # leaves the lock to the writer that is measured
            stall = max(stall, time.monotonic() - begun - _PAUSE)
    answer.send((waits, stall))


@contextmanager
def _poller(path: Path) -> Iterator[Any]:
    """Another process that wants to write all the time.

    The function ends it and gives its waits for the lock, and by how much the machine was late at
    worst to wake it up, in seconds.
    """
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    here, there = context.Pipe()
    process = context.Process(target=_poll, args=(path, stop, there), daemon=True)
    process.start()

    def ended() -> Any:
        stop.set()
        return here.recv()

    try:
        yield ended
    finally:
        process.kill()
        process.join()
