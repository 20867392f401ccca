"""Table of the conversations that are read again as they grow older."""

from __future__ import annotations

TABLES: tuple[str, ...] = ()
