from __future__ import annotations

from email import message_from_bytes
from email.policy import default
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from parcels import WORDS, note

from listener.channels import Channel, Later, OutboxFolder, load


def test_the_folder_gets_a_mail_and_a_page(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "outbox"
    channel = OutboxFolder(folder=folder)
    channel.send(note(subject="<b>one</b>", key="digest-2026-11-21-ana@example.org"))
    stem = "digest-2026-11-21-ana@example.org"
    assert sorted(path.name for path in folder.iterdir()) == [f"{stem}.eml", f"{stem}.html"]
    parsed = message_from_bytes((folder / f"{stem}.eml").read_bytes(), policy=default)
    assert parsed["Subject"] == "<b>one</b>"
    page = (folder / f"{stem}.html").read_text("utf-8")
    assert "&lt;b&gt;one&lt;/b&gt;" in page
    assert WORDS in page


def test_the_same_key_writes_the_same_files_again(tmp_path: Path) -> None:
    channel = OutboxFolder(folder=tmp_path)
    channel.send(note(subject="first", key="alert-1"))
    channel.send(note(subject="second", key="alert-1"))
    assert len(list(tmp_path.iterdir())) == 2
    assert b"Subject: second" in (tmp_path / "alert-1.eml").read_bytes()


@pytest.mark.parametrize(
    "key", ["../../escape", "/etc/passwd", ".hidden", "", "a\x00b", "ñ/Ana <a@b>", "x" * 400]
)
def test_any_key_gives_a_safe_name(tmp_path: Path, key: str) -> None:
    folder = tmp_path / "outbox"
    channel = OutboxFolder(folder=folder)
    channel.send(note(key=key))
    channel.send(note(key=key + "!"))
    assert len(list(folder.glob("*.eml"))) == 2
    assert len(list(folder.iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["outbox"]


def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    channel = OutboxFolder(folder=blocked)
    with pytest.raises(Later, match=r"cannot write into .*; free space there"):
        channel.send(note(key="alert-1"))
    with pytest.raises(Later, match=r"\[channels.outbox\]"):
        channel.check()


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("listener.channels.os.fsync", full)
    with pytest.raises(Later, match="No space left on device"):
        OutboxFolder(folder=tmp_path).send(note(key="alert-1"))
    assert list(tmp_path.iterdir()) == []


def test_check_of_a_folder_leaves_nothing(tmp_path: Path) -> None:
    assert "can be written" in OutboxFolder(folder=tmp_path).check()
    assert list(tmp_path.iterdir()) == []


def test_channels_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = load("outbox", folder=tmp_path)
    server = load("smtp", host="localhost", port=25)
    assert isinstance(outbox, Channel)
    assert isinstance(server, Channel)
    assert (outbox.name, server.name) == ("outbox", "smtp")
    point = EntryPoint("mine", "listener.channels:OutboxFolder", "listener.channels")
    monkeypatch.setattr("listener.channels.entry_points", lambda group: [point])
    assert isinstance(load("mine", folder=tmp_path), OutboxFolder)
    with pytest.raises(ValueError, match="no channel 'pigeon'; choose one of mine, outbox, sl"):
        load("pigeon")
