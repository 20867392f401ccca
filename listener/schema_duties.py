"""Tables of the duties toward platforms and people: revisions, look-ups, forgotten authors."""

from __future__ import annotations

TABLES: tuple[str, ...] = ()
