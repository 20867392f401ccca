"""kill -9 at random moments over a simulated month: nothing lost, nothing twice."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos_checks import delivered, differences, sound, stored
from benchmarks.chaos_life import WAYS, Kill, Stage, checksum, live, plan
from benchmarks.chaos_mail import MailServer, copies, wait_for
from benchmarks.chaos_world import (
    Board,
    CampaignParts,
    World,
    free_port,
    serve_site,
    settings,
    wanted,
)
from listener.config import Config


@dataclass(kw_only=True)
class Report:
    """What a part of the campaign did, as figures by name, and what did not hold."""

    figures: dict[str, object] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


@contextmanager
def site(world: World, board: Board) -> Iterator[int]:
    """The invented site in a process of its own; gives its port."""
    port = free_port()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=serve_site, args=(world, board, port), daemon=True)
    process.start()
    try:
        wait_for(port)
        yield port
    finally:
        process.kill()
        process.join()


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a world, over all its lives."""

    config: Config
    kills: Counter[str]
    lives: int
    excused: Counter[int]
    writes: int
    seconds: float
    server: MailServer


def run(folder: Path, world: World, kills: list[Kill], *, real: bool = False) -> Run:
    """Live through the world, dying as `kills` says; the last life ends by itself."""
    folder.mkdir(parents=True)
    board, port = Board(), free_port()
    begun = time.monotonic()
    done, excused = Counter[str](), Counter[int]()
    with site(world, board) as web, MailServer(port, folder / "mail.jsonl", board) as server:
        config = settings(folder, web, port)
        warm = CampaignParts(config)
        warm.matcher  # noqa: B018 - made before the forks, which share it
        stage = Stage(
            world=world, board=board, config=config, site=web, log=folder / "log.txt", real=real
        )
        left, step, number = list(kills), 0, 0
        while True:
            number += 1
            kill = left.pop(0) if left else None
            ended = live(stage, number, step, kill)
            step = board.get("step")
            if not ended.killed:
                if ended.code:
                    raise RuntimeError(f"life {number} broke: see {stage.log}")
                if not left:
                    break
                continue
            if kill is not None:
                done[kill.way] += 1
            if ended.busy:
                excused[ended.busy] += 1
    return Run(
        config=config,
        kills=done,
        lives=number,
        excused=excused,
        writes=board.get("writes"),
        seconds=time.monotonic() - begun,
        server=server,
    )


def month(folder: Path, seed: int, *, days: float, kills: int, real: bool = False) -> Report:
    """The same world without and with kills, compared."""
    world = World(seed=seed, days=days)
    calm = run(folder / "calm", world, [], real=real)
    share = calm.seconds / world.steps * 1000
    dice = random.Random(seed)
    writes = round(calm.writes / world.steps)
    wild = run(
        folder / "wild",
        world,
        plan(dice, kills, world.steps, writes=writes, delay=round(share * 1.5)),
        real=real,
    )
    expected = wanted(world, CampaignParts(wild.config).matcher)
    report = Report()
    taken = wild.server.taken()
    allowed = {
        one: wild.excused[checksum(one)] for one in copies(taken) if wild.excused[checksum(one)]
    }
    for name, one in (("calm", calm), ("wild", wild)):
        path = one.config.database.path
        report.wrong += [f"{name}: {text}" for text in sound(path)]
        report.wrong += [f"{name}: {text}" for text in stored(path, expected)]
    told, twice = delivered(wild.config.database.path, taken, allowed)
    report.wrong += told
    report.wrong += [
        f"{name}: {only} rows only without kills, {other} only with them"
        for name, (only, other) in differences(
            calm.config.database.path, wild.config.database.path
        ).items()
    ]
    by_id = copies(taken)
    report.wrong += [
        f"killed {wild.kills.total()} times, not {kills}" for _ in range(wild.kills.total() < kills)
    ]
    report.figures = {
        "days": days,
        "kills": wild.kills.total(),
        "ways": {way: wild.kills[way] for way in WAYS},
        "lives": wild.lives,
        "mentions": len(expected),
        "messages": len(by_id),
        "twice": twice,
        "most": max((len(got) for got in by_id.values()), default=0),
        "same": sum(
            len({one.digest for one in got}) == 1 for got in by_id.values() if len(got) > 1
        ),
        "under_way": wild.excused.total(),
        "writes": wild.writes,
        "calm_writes": calm.writes,
        "seconds": round(wild.seconds, 1),
        "calm_seconds": round(calm.seconds, 1),
        "alerts": sum("alert" in kind for kind in _kinds(wild.config)),
        "digests": sum("digest" in kind for kind in _kinds(wild.config)),
    }
    return report


def _kinds(config: Config) -> list[str]:
    with closing(sqlite3.connect(config.database.path)) as connection:
        return [
            row[0]
            for row in connection.execute("SELECT kind FROM deliveries WHERE status = 'sent'")
        ]
