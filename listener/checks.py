"""What `listener check` and `sources` show: rows of what, status and note."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from .check_models import model_rows
from .config import Config
from .errors import explained
from .pipeline import Parts
from .pricing import preview, told, told_total, totals
from .sources import build, catalogue
from .store import Store
from .upkeep import with_reserve
from .vocabulary import queries, terms


def _row(what: str, run: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"what": what, "status": "ok", "note": run()}
    except explained() as error:
        return {"what": what, "status": "failed", "note": str(error)}


def check_all(parts: Parts, *, now: datetime) -> list[dict[str, Any]]:
    """The configuration (already valid), models, each enabled source and channel: one call each."""
    config = parts.config
    rows = [
        {
            "what": "configuration",
            "status": "ok",
            "note": f"{len(config.products)} products, {len(config.competitors)} competitors, "
            f"{len(config.categories)} categories",
        }
    ]
    rows.append(_row("terms", partial(_terms, parts)))
    rows += model_rows(parts.models)
    sources, failed = build(config)
    if not sources and not failed:
        note = "none is enabled: nothing will be collected; see [sources] in the configuration"
        rows.append({"what": "sources", "status": "failed", "note": note})
    rows += [
        {"what": f"source {one.source}", "status": "failed", "note": one.error or ""}
        for one in failed
    ]
    rows += [
        _row(f"source {source.name}", partial(source.connector.check, now=now))
        for source in sources
    ]
    rows.append(_row("channels", partial(_channels, parts)))
    return rows


def price_all(store: Store, parts: Parts, *, now: datetime) -> list[dict[str, Any]]:
    """What each query of the sources with `preview` would bring and cost; asking may cost too."""
    config = parts.config
    wanted = previewed(config)
    sources, _ = build(config, wanted) if wanted else ([], [])
    sources = with_reserve(store, sources, config.upkeep, now=now)
    rows = [one for one in preview(store, sources, queries(config), now=now) if one.query]
    # What keeps one query from being counted mostly keeps the others too: it is said once.
    first = {one.error: one for one in reversed(rows)}
    found = [
        {
            "what": f"price {one.source}: {one.query}",
            "status": "failed" if one.error and not one.short else "ok",
            "note": told(one),
        }
        for one in rows
        if one.error is None or one is first[one.error]
    ]
    found += [
        {"what": f"price {one.source}: all queries", "status": "ok", "note": told_total(one)}
        for one in totals(store, sources, rows, config, now=now)
    ]
    return found


def previewed(config: Config) -> list[str]:
    """Names of the enabled sources whose queries are priced by a check."""
    return [name for name, one in config.sources.enabled() if getattr(one, "preview", False)]


def _channels(parts: Parts) -> str:
    return "; ".join(channel.check() for channel in parts.channels.values()) or "none enabled"


def _terms(parts: Parts) -> str:
    count = len(terms(parts.config))
    parts.matcher.match(["one text"])
    return f"{count} terms"


def source_rows(config: Config) -> list[dict[str, Any]]:
    """The table of sources: where it is set, whether it is enabled, what it gives, needs, costs."""
    enabled = {name for name, _ in config.sources.enabled()}
    return [
        {
            "source": name,
            "enabled": "yes" if name.partition(" ")[0] in enabled else "no",
            "gives": can.gives,
            "needs": can.needs,
            "cost": can.cost,
        }
        for name, can in catalogue()
    ]
