"""Starts the real servers of the tests marked `peer`, on free ports of loopback in a folder of
their own, and stops them on leaving. `make test-peers` puts them into build/peers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

_HERE = Path(__file__).parent
_INSTALLED = _HERE.parents[1] / "build" / "peers"
_DEBIAN = _INSTALLED / "debian"
_PLACES = (
    *(_DEBIAN / "usr/sbin", _DEBIAN / "usr/bin"),
    *map(Path, os.get_exec_path()),
    *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
)

LOGIN = ("listener", "contraseña 1")
"""Account and password for the closed page of nginx."""

_Answer = TypeVar("_Answer")


def until(look: Callable[[], _Answer], what: str, *, seconds: float = 20) -> _Answer:
    """The first true answer of `look`, which is asked again and again.

    Raises `AssertionError` when there is none in time; `what` says in it what was waited for.
    """
    end = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < end, f"{what}: not in {seconds:g} seconds"
        time.sleep(0.05)
    return answer


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder that servers under another account can enter."""
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def nginx(site: Path, origin: str) -> Iterator[str]:
    """The address of an nginx with the files of `site` and, behind it, the server `origin`."""
    with folder() as home:
        port = free_port()
        _fill("nginx.conf", home, PORT=port, ORIGIN=origin, FOLDER=home)
        (home / "members").write_text("{}:{{PLAIN}}{}\n".format(*LOGIN))
        (home / "site").symlink_to(site)
        command: list[str | Path] = [_program("nginx"), "-p", home, "-c", home / "nginx.conf"]
        with _running(command, home, ready=lambda: _listens(port)):
            yield f"http://127.0.0.1:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """A mail server on `port`. It knows ana@peer.example and ben@peer.example, whose mail goes into
    the maildir `box`.
    """

    port: int
    box: Path

    def messages(self) -> list[bytes]:
        """What was delivered."""
        return [path.read_bytes() for path in self.box.glob("new/*")]


@contextmanager
def opensmtpd() -> Iterator[MailServer]:
    """A running OpenSMTPD of Debian in a mount namespace of its own: its fixed paths are covered
    by folders of ours and nothing of the system is seen or changed. Needs root.
    """
    if os.geteuid() != 0:
        pytest.skip("OpenSMTPD starts as root only; run `sudo make test-peers`")
    _program("smtpd")
    with folder() as home:
        port = free_port()
        _fill("smtpd.conf", home, PORT=port, FOLDER=home)
        # A process namespace: whatever smtpd forked ends with the one that is stopped here.
        apart = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        command: list[str | Path] = [*apart, _HERE / "smtpd.sh", _DEBIAN, home]
        with _running(command, home, ready=lambda: _listens(port)):
            yield MailServer(port=port, box=home / "box")


def caniemail() -> list[str | Path]:
    """The command that tells of pages, its arguments, what mail programs cannot show."""
    folder = _INSTALLED / "caniemail"
    if not (folder / "node_modules").is_dir():
        pytest.skip("caniemail is not installed; run `make test-peers`")
    return [_program("node"), folder / "check.mjs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bluesky:
    """Addresses of a Bluesky network, the secret that its access tokens are signed with, and the
    authorization header of its moderator.
    """

    pds: str
    appview: str
    secret: str
    admin: str


@contextmanager
def bluesky() -> Iterator[Bluesky]:
    """A running development network of Bluesky, with PostgreSQL and Redis behind it."""
    network = _INSTALLED / "bluesky"
    if not (network / "node_modules").is_dir():
        pytest.skip("the Bluesky network is not installed; run `make test-peers`")
    with folder() as home, ExitStack() as servers:
        database = servers.enter_context(_postgres(home))
        redis = free_port()
        cache = [_program("redis-server"), "--bind", "127.0.0.1", "--port", str(redis)]
        servers.enter_context(_running(cache, home, ready=lambda: _listens(redis)))
        found = servers.enter_context(
            _running(
                [_program("node"), network / "network.mjs"],
                home,
                ready=lambda: (home / "node.out").read_text().endswith("}\n"),
                seconds=120,
                env={
                    "DB_POSTGRES_URL": database,
                    "REDIS_HOST": f"127.0.0.1:{redis}",
                    "TMPDIR": str(home),
                },
            )
        )
        yield Bluesky(**json.loads(found.read_text()))


@contextmanager
def _postgres(home: Path) -> Iterator[str]:
    """The address of an empty PostgreSQL; it refuses to run as root."""
    account: dict[str, Any] = {}
    data = home / "postgres"
    data.mkdir()
    if os.geteuid() == 0:
        account = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        shutil.chown(data, "nobody", "nogroup")
    port = free_port()
    subprocess.run(
        [_program("initdb"), "-D", data, "-A", "trust", "-U", "peer", "-E", "UTF8", "--no-sync"],
        cwd=home,
        check=True,
        capture_output=True,
        **account,
    )
    settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
    options = [part for setting in settings for part in ("-c", setting)]
    with _running(
        [_program("postgres"), "-D", data, "-p", str(port), *options],
        home,
        ready=lambda: "ready to accept connections" in (home / "postgres.err").read_text(),
        **account,
    ):
        yield f"postgresql://peer@127.0.0.1:{port}/postgres"


def _fill(name: str, home: Path, **values: object) -> None:
    """Write the configuration `name` into `home`, with `values` for the words that name them."""
    text = (_HERE / name).read_text()
    for word, value in values.items():
        text = re.sub(rf"\b{word}\b", str(value), text)
    (home / name).write_text(text)


def _program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join(map(str, _PLACES)))
    if found is None:
        pytest.skip(f"{name} is not installed; run `make test-peers`")
    return found


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _running(
    command: Sequence[str | Path],
    home: Path,
    *,
    ready: Callable[[], bool],
    seconds: float = 20,
    env: Mapping[str, str] | None = None,
    **account: Any,
) -> Iterator[Path]:
    """Run `command` in `home` until leaving; gives the file of its output once it is `ready`."""
    name = Path(command[0]).name
    out, err = home / f"{name}.out", home / f"{name}.err"
    libraries = os.pathsep.join(map(str, _DEBIAN.glob("usr/lib/*-linux-gnu")))
    with out.open("wb") as output, err.open("wb") as talk:
        process = subprocess.Popen(
            # Whatever becomes of the tests, the server ends with them.
            ["setpriv", "--pdeathsig", "KILL", *map(str, command)],
            cwd=home,
            env={**os.environ, "LD_LIBRARY_PATH": libraries, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=talk,
            start_new_session=True,
            **account,
        )
    try:
        until(lambda: process.poll() is not None or ready(), name, seconds=seconds)
        assert process.poll() is None, f"{name} ended: {err.read_text()[-2_000:]}"
        yield out
    finally:
        # The group: unshare itself takes no notice, what it runs does.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
