"""The files of docs/deploy: what can be said of them without running systemd or containers."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from listener.cli import main

FOLDER = Path(__file__).parents[1] / "docs" / "deploy"
UNITS = sorted([*FOLDER.glob("*.service"), *FOLDER.glob("*.timer")])
# Keys of systemd 252 (Debian 12) that these units may use.
KEYS = {
    "Unit": {"Description", "After", "Wants"},
    "Service": {
        *("Type", "User", "Group", "StateDirectory", "StateDirectoryMode", "WorkingDirectory"),
        *("EnvironmentFile", "Environment", "ExecStart", "Restart", "RestartSec", "KillMode"),
        *("KillSignal", "TimeoutStopSec", "UMask", "NoNewPrivileges", "ProtectSystem"),
        *("ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateNetwork", "ProtectClock"),
        *("ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs"),
        *("ProtectControlGroups", "ProtectHostname", "RestrictAddressFamilies"),
        *("RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality"),
        *("CapabilityBoundingSet", "SystemCallArchitectures", "SystemCallFilter", "MemoryMax"),
        *("Nice", "IOSchedulingClass"),
    },
    "Timer": {"OnCalendar", "RandomizedDelaySec", "Persistent"},
    "Install": {"WantedBy"},
}
TRUE = "ExecStart=/bin/true"
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "CapabilityBoundingSet": "",
    "UMask": "0077",
    "User": "listener",
}


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",), delimiters="=")
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys keep their case
    parser.read_string(path.read_text("utf-8"))
    return parser


def understood(words: list[str]) -> None:
    """Fail unless the command line takes these words; nothing is run."""
    group: click.Command = main
    context = main.make_context("listener", list(words))
    # Older versions of click keep the name of the command apart.
    rest = [*getattr(context, "_protected_args", []), *context.args]
    assert isinstance(group, click.Group)
    name, command, rest = group.resolve_command(context, rest)
    assert command is not None, words
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False
    command.make_context(name, rest)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_have_known_keys(path: Path) -> None:
    parsed = unit(path)
    assert set(parsed.sections()) <= set(KEYS)
    for section in parsed.sections():
        assert set(parsed[section]) <= KEYS[section], section
    assert parsed["Unit"]["Description"]
    if path.suffix == ".service":
        found = parsed["Service"]
        assert {key: found[key] for key in HARDENED} == HARDENED
        command = shlex.split(found["ExecStart"])
        if command[:2] == ["/bin/sh", "-c"]:
            script = re.sub(r"\$\$\([^)]*\)", "1", command[2])
            assert "$" not in script, "systemd would put a variable of its own there"
            command = shlex.split(script)[1:]
        assert command[0].startswith("/")
        understood(command[1:])


def test_the_daemon_is_started_again_only_when_it_failed() -> None:
    found = unit(FOLDER / "listener.service")["Service"]
    assert found["Restart"] == "on-failure"
    assert int(found["TimeoutStopSec"]) > 20, "it waits 20 seconds for what hangs"
    assert unit(FOLDER / "listener-backup.service")["Service"]["Type"] == "oneshot"


def test_systemd_itself_takes_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    for path in UNITS:
        # What is started need not be installed here.
        text = re.sub(
            r"^ExecStart=/opt/\S+", "ExecStart=/bin/true", path.read_text("utf-8"), flags=re.M
        )
        (tmp_path / path.name).write_text(text, "utf-8")
    done = subprocess.run(
        [program, "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    own = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "listener" in line]
    assert not own


# -- containers


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", (FOLDER / "Dockerfile").read_text("utf-8"), flags=re.M)
    joined = re.sub(r"\\\n\s*", " ", text)
    return [
        (line.partition(" ")[0], line.partition(" ")[2].strip())
        for line in joined.splitlines()
        if line.strip()
    ]


def test_the_dockerfile_is_plain_and_sound() -> None:
    found = instructions()
    names = [name for name, _ in found]
    known = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL"}
    assert set(names) <= known | {"HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert names[0] == "FROM"
    assert found[0][1] == "python:3.12-slim"
    for single in ("USER", "ENTRYPOINT", "CMD", "HEALTHCHECK"):
        assert names.count(single) == 1, single
    told = dict(found)
    assert told["USER"] not in ("root", "0")
    assert names.index("USER") > max(at for at, name in enumerate(names) if name == "RUN")
    assert all(not name.startswith("ADD") for name in names)
    assert all(path.startswith("/") for name, path in found if name == "WORKDIR")
    entry, command = json.loads(told["ENTRYPOINT"]), json.loads(told["CMD"])
    assert entry == ["listener"]
    understood(command)
    check = json.loads(told["HEALTHCHECK"].partition("CMD ")[2])
    assert check[0] == "listener"
    understood(check[1:])
    assert not re.search(r"(?i)(password|token|secret)\s*=", str(found))


def test_what_is_copied_is_there() -> None:
    root = FOLDER.parents[1]
    for name, words in instructions():
        if name == "COPY":
            *sources, _ = words.split()
            assert all((root / source).exists() for source in sources), words


def services() -> Iterator[tuple[str, dict[str, Any]]]:
    yaml = pytest.importorskip("yaml")
    told = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
    assert set(told) == {"services", "volumes"}
    assert set(told["volumes"]) == {"data"}
    yield from told["services"].items()


def test_the_compose_file_is_sound() -> None:
    known = {
        *("build", "image", "restart", "init", "stop_grace_period", "env_file", "volumes", "ports"),
        *("read_only", "tmpfs", "cap_drop", "security_opt", "mem_limit", "logging", "command"),
        "depends_on",
    }
    found = dict(services())
    assert set(found) == {"listener", "serve"}
    for name, service in found.items():
        assert set(service) <= known, name
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert "data:/data" in service["volumes"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        if "command" in service:
            understood(service["command"])
    build = found["listener"]["build"]
    context = (FOLDER / build["context"]).resolve()
    assert (context / build["dockerfile"]).resolve() == FOLDER / "Dockerfile"
