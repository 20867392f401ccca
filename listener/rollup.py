"""The hourly roll-up that digests and views read instead of grouping millions of rows."""

from __future__ import annotations

from .store import Store

STALE_HOUR = "INSERT OR IGNORE INTO rollup_stale VALUES (substr(?, 1, 13))"
"""Puts the hour of a stored time on the list of those to be counted again."""

_HOURS_AT_ONCE = 500
TOWARD = """coalesce(
    (SELECT t.label FROM matches x JOIN tags t ON t.mention_id = x.mention_id
        AND t.tagger = 'funnel' AND t.kind = 'sentiment_target' AND t.span_start = x.span_start
        WHERE x.mention_id = n.id AND ((x.kind = n.kind AND x.name = n.name)
            OR (x.kind = 'product' AND n.kind = 'brand' AND n.name = :brand))
        ORDER BY t.score DESC LIMIT 1),
    (SELECT t.label FROM tags t WHERE t.mention_id = n.id AND t.tagger = 'funnel'
        AND t.kind = 'sentiment'))"""
"""SQL of the sentiment toward `kind` and `name` in the mention `id` of a row `n`: the surest of the
places that name it, else that of the whole post. `:brand` is the name of our brand."""
# ';' follows ':' in ASCII: the range holds exactly the times of one hour. A product counts for its
# brand too, once per mention.
_FILL = f"""
WITH hours AS (SELECT hour FROM rollup_stale ORDER BY hour LIMIT :limit),
entities AS (
    SELECT m.id, h.hour, 'all' AS kind, '' AS name
    FROM hours h JOIN mentions m ON m.at >= h.hour AND m.at < h.hour || ';'
    WHERE m.text <> '' OR m.title IS NOT NULL
),
named AS (
    SELECT id, hour, kind, name FROM entities
    UNION SELECT e.id, e.hour, x.kind, x.name FROM entities e JOIN relevant_matches x
        ON x.mention_id = e.id
    UNION SELECT e.id, e.hour, 'brand', :brand FROM entities e JOIN relevant_matches x
        ON x.mention_id = e.id
    WHERE x.kind = 'product'
),
judged AS (
    SELECT n.*, m.source, coalesce(m.language, 'und') AS language,
        (SELECT label FROM tags t WHERE t.mention_id = n.id AND t.tagger = 'funnel'
            AND t.kind = 'stage') AS stage,
        {TOWARD} AS sentiment,
        (SELECT score >= 0.5 FROM tags t WHERE t.mention_id = n.id AND t.tagger = 'funnel'
            AND t.kind = 'promo') AS promo
    FROM named n JOIN mentions m ON m.id = n.id
)
INSERT INTO rollup_hourly
SELECT hour, source, language, kind, name, count(*),
    count(*) FILTER (WHERE sentiment = 'pos'), count(*) FILTER (WHERE sentiment = 'neu'),
    count(*) FILTER (WHERE sentiment = 'neg'), count(*) FILTER (WHERE stage = 'awareness'),
    count(*) FILTER (WHERE stage = 'consideration'), count(*) FILTER (WHERE stage = 'decision'),
    count(*) FILTER (WHERE stage = 'post_purchase'), count(*) FILTER (WHERE promo)
FROM judged GROUP BY hour, source, language, kind, name
"""
_HOURS = "(SELECT hour FROM rollup_stale ORDER BY hour LIMIT :limit)"


def refresh(store: Store, *, brand: str) -> int:
    """Recount the hours whose mentions changed; returns how many hours were recounted."""
    total = 0
    while True:
        with store.write() as connection:
            values = {"limit": _HOURS_AT_ONCE, "brand": brand}
            connection.execute(f"DELETE FROM rollup_hourly WHERE hour IN {_HOURS}", values)
            connection.execute(_FILL, values)
            cleared = connection.execute(
                f"DELETE FROM rollup_stale WHERE hour IN {_HOURS}", values
            ).rowcount
        total += cleared
        if cleared < _HOURS_AT_ONCE:
            return total
