"""What every command shares: configuration, database, lock, and errors that end as one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, update_wrapper
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from .config import Config
    from .pipeline import Parts
    from .store import Store

Command = Callable[..., Any]
CONFIG_FILE = Path("config.toml")


@dataclass
class Session:
    """One invocation: where the configuration and the database are, read when first needed."""

    config_path: Path | None = None
    db: Path | None = None
    verbose: bool = False
    log_json: bool = False
    log_file: Path | None = None

    @cached_property
    def config(self) -> Config:
        """The configuration of -c, else ./config.toml, else the built-in sample configuration."""
        from . import config

        if self.config_path is not None:
            return config.load(self.config_path)
        if CONFIG_FILE.is_file():
            return config.load(CONFIG_FILE)
        say("No config.toml here: using the built-in sample. `listener init` writes one to edit.")
        return config.default()

    @cached_property
    def parts(self) -> Parts:
        """Matcher, model, sources and channels, each made when first needed."""
        from .pipeline import Parts

        return Parts(self.config)

    @property
    def database(self) -> Path:
        """The SQLite file: --db, else the configured one."""
        return self.db or self.config.database.path

    def log_to(self, file: Path | None, *, level: str, max_mb: int = 10, keep: int = 5) -> None:
        """Log to `file`, or without one to stderr, in the form that the command line asks for."""
        from .logs import set_up

        try:
            set_up(level=level, file=file, as_json=self.log_json, max_mb=max_mb, keep=keep)
        except OSError as error:
            fail(
                f"{file} cannot be written ({error.strerror}): make its folder, or name another "
                "file with --log-file or in [log]"
            )

    def open(self) -> Store:
        """The database for reading; raises StoreError when there is none yet."""
        from .store import Store, existing

        return Store(existing(self.database))

    @contextmanager
    def writing(self) -> Iterator[Store]:
        """The database, with the lock that keeps a second writer out."""
        from .store import Store

        with self.locked(), Store(self.database) as store:
            yield store

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The lock that keeps a second writer out of the database, which need not exist yet."""
        from filelock import FileLock, Timeout

        path = self.database
        folder = path.absolute().parent
        # Asked first, since the lock takes a folder that it cannot write for one that is locked.
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            fail(
                f"{folder} is not there or not writable: make it, make it writable, or set "
                "[database] path"
            )
        lock = FileLock(path.with_name(path.name + ".lock"), blocking=False)
        try:
            lock.acquire()
        except Timeout:
            who = f" ({holder})" if (holder := lock_holder(path)) else ""
            fail(
                f"another Listener{who} is writing to {path}: wait until it is done or stop it, "
                "then run this again"
            )
        try:
            with suppress(OSError):  # on a full disk; the lock is what counts
                _holder(path).write_text(f"process {os.getpid()} on {gethostname()}", "utf-8")
            yield
        finally:
            _holder(path).unlink(missing_ok=True)
            lock.release()


def _holder(database: Path) -> Path:
    """The file that names who holds the lock: others may empty that of the lock itself."""
    return database.with_name(database.name + ".holder")


def lock_holder(database: Path) -> str:
    """Who holds the lock of a database, as "process 42 on host"; "" when nobody does."""
    try:
        return _holder(database).read_text("utf-8")
    except OSError:
        return ""


def say(text: str) -> None:
    """Talk to the person, on stderr."""
    click.echo(text, err=True)


def fail(text: str) -> NoReturn:
    """End with one sentence and exit code 1."""
    raise click.ClickException(text)


def shared_options(command: Command) -> Command:
    """-c/--config and --db, the same on every command; hands the command a `Session`."""

    @click.pass_context
    def wrapper(
        context: click.Context, /, config: Path | None, db: Path | None, **arguments: Any
    ) -> Any:
        parent = context.find_root().obj or Session()
        session = replace(parent, config_path=config or parent.config_path, db=db or parent.db)
        return context.invoke(command, session, **arguments)

    return location_options(update_wrapper(wrapper, command))


def location_options(command: Command) -> Command:
    """The two options that say where things are."""
    path = click.Path(path_type=Path, dir_okay=False)
    for option in (
        click.option("--db", type=path, help="SQLite file instead of the configured one."),
        click.option("-c", "--config", type=path, help="Configuration file [./config.toml]."),
    ):
        command = option(command)
    return command


def form_options(command: Command) -> Command:
    """--json, --csv and --table for commands that print rows; the parameter is `form`."""
    for form, told in (
        ("csv", "CSV; a text that starts with = + - @ gets an apostrophe, lest a sheet run it"),
        ("json", "JSON"),
        ("table", "a table"),
    ):
        command = click.option(
            f"--{form}",
            "form",
            flag_value=form,
            default=None,
            # Of defaults of options that share a name, versions of click take different ones.
            callback=lambda _context, _option, chosen: chosen or "table",
            help=f"Print rows as {told}.",
        )(command)
    return command


class Commands(click.Group):
    """A group whose commands end with one sentence for every error that says its own fix."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added: the order in which people need them."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Exit 1 for what failed, 2 for a configuration that cannot work, 130 for Ctrl-C."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            say("Stopped. What was done is stored; run the command again to go on.")
            ctx.exit(130)
        except BrokenPipeError:
            # The reader of our output has gone, as in `listener sql ... | head`.
            sys.stderr.close()
            ctx.exit(0)
        except Exception as error:
            # Imported here so that --help stays quick; what is not explained is a fault of ours.
            from .errors import explained

            if isinstance(error, explained()):
                say(f"Error: {error}")
                ctx.exit(2 if type(error).__name__ in ("ConfigError", "BadConfig") else 1)
            raise
