"""Conversations of X read again: what was posted in them in the last seven days."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from .base import Page
from .twarc import page_mentions
from .values import read_id
from .x_client import Client, read_page
from .x_money import Meter, Prices, price_page
from .x_pages import count_posts, edits, page_warnings

logger = logging.getLogger(__name__)

_LARGEST_PAGE, _SMALLEST_PAGE = 100, 10
_NUMBER = re.compile(r"[0-9]{1,19}")


def read_threads(
    client: Client,
    ids: Sequence[str],
    *,
    most: int,
    fields: Mapping[str, Any],
    prices: Prices,
    dearest: int,
    meter: Meter,
    source: str,
    now: datetime,
) -> Iterator[Page]:
    """About the newest `most` posts of each conversation in the last seven days, newest first.

    `ids` are those of first posts, `dearest` is what one post costs at most with what comes with
    it. Pages have no cursor. Raises BudgetSpent before a request that is too dear.
    """
    for place, root_id in enumerate(ids):
        if not _NUMBER.fullmatch(root_id):
            yield Page(warnings=(f"{source} {root_id[:20]!r}: not the id of a post",))
            continue
        left, token, tokens = most, None, set[str]()
        # Pages may be empty although more follow; their number is bounded as that of posts is.
        for _ in range(-(-most // _SMALLEST_PAGE)):
            left_out = f"{len(ids) - place} conversations"
            room = min(max(left, _SMALLEST_PAGE), _LARGEST_PAGE)
            size = meter.room(room, _SMALLEST_PAGE, dearest, left_out)
            response = client.search_recent_tweets(
                f"conversation_id:{root_id}", next_token=token, max_results=size, **fields
            )
            body = read_page(response)
            found = page_mentions(body, source=source, now=now)
            left -= count_posts(body)
            meta = body.get("meta")
            token = read_id(meta.get("next_token")) if isinstance(meta, Mapping) else None
            going_on = token is not None and token not in tokens and left > 0
            warnings = list(page_warnings(found, source))
            if token and not going_on:
                warnings.append(f"{source}: a conversation has more than {most - left} new posts")
            page = Page(
                mentions=found.mentions,
                updates=tuple(edits(found.mentions, {}, now)),
                more=going_on or place + 1 < len(ids),
                cost=price_page(body, post=prices.post, prices=prices, requests=response.requests),
                returned=count_posts(body),
                warnings=tuple(warnings),
            )
            logger.info("%d posts of one conversation", page.returned)
            yield meter.add(page)
            if not going_on:
                break
            tokens.add(token or "")
