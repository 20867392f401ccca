"""What every [sources] table has."""

from __future__ import annotations

from pydantic import Field

from .config_fields import Flag, Minutes, Section


class Source(Section):
    """Settings that every source has."""

    enabled: Flag = Field(False, description="Whether this source is collected.")
    every_minutes: Minutes = Field(60, description="Minutes from one collection to the next.")
