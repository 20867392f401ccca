"""Listener: hears people before they choose.

This package composes `connectors` (the outside world) and `nlp` (texts to tags) into a pipeline
over one SQLite file. Those two names are common, so this module checks that they are the ones that
were installed together with it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

__version__ = "0.1.0"

_HERE = Path(__file__).resolve().parent.parent


def _check_siblings() -> None:
    for name in ("connectors", "nlp"):
        spec = find_spec(name)
        found = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
        if found != _HERE:
            raise ImportError(
                f"Listener needs its own package `{name}` beside it in {_HERE}, but Python finds "
                f"{found or 'none'}: another distribution uses that name. Install "
                "proactive-listener in a virtual environment of its own."
            )


_check_siblings()
