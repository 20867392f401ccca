"""Table of what each source covered, hour by hour."""

from __future__ import annotations

TABLES: tuple[str, ...] = ()
