from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from listener.lanes import side_by_side
from listener.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Store(tmp_path / "listener.db").close()
    return tmp_path / "listener.db"


def test_each_lane_has_a_store_and_keeps_its_order(path: Path) -> None:
    stores: dict[str, set[int]] = {"a": set(), "b": set()}
    done: list[str] = []
    met = threading.Barrier(2, timeout=30)

    def work(own: Store, piece: str) -> None:
        if piece.endswith("1"):
            met.wait()
        stores[piece[0]].add(id(own))
        with own.write() as connection:
            connection.execute("INSERT INTO state VALUES (?, '')", (piece,))
        done.append(piece)

    side_by_side(path, [["a1", "a2"], ["b1", "b2"]], work, threading.Event())
    assert [len(found) for found in stores.values()] == [1, 1]
    assert [one for one in done if one[0] == "a"] == ["a1", "a2"]
    with Store(path) as store:
        assert store.value("SELECT count(*) FROM state") == 4


def test_what_one_lane_raises_is_raised_and_ends_the_others(path: Path) -> None:
    stop = threading.Event()
    done: list[str] = []
    met = threading.Barrier(2, timeout=30)

    def work(_: Store, piece: str) -> None:
        met.wait()
        if piece == "bad":
            raise ValueError("bad")
        assert stop.wait(timeout=30), "the other lane has ended"
        done.append(piece)

    with pytest.raises(ValueError, match="bad"):
        side_by_side(path, [["bad", "never"], ["begun", "never"]], work, stop)
    assert done == ["begun"]


def test_an_interrupt_ends_every_lane(path: Path) -> None:
    stop = threading.Event()
    done: list[str] = []
    met = threading.Barrier(2, timeout=30)

    def work(_: Store, piece: str) -> None:
        met.wait()
        if piece == "interrupts":
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(timeout=30)
        done.append(piece)

    # What was started in the background may have been told to ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            side_by_side(path, [["interrupts", "never"], ["other", "never"]], work, stop)
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(done) == ["interrupts", "other"]


def test_a_store_that_cannot_be_opened_is_raised(tmp_path: Path) -> None:
    broken = tmp_path / "no.db"
    broken.write_bytes(b"once upon a time " * 500)
    with pytest.raises(Exception, match="not an SQLite database"):
        side_by_side(broken, [["a"], ["b"]], lambda *_: None, threading.Event())
