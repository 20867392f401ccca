"""What reading X costs: the prices, what a page comes to, and what is left of a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .base import Budget, BudgetSpent, Cost, Page
from .values import read_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Millionths of a US dollar for a post, one that mentions the own account, an account, and one
    request for counts; `as_of` is the day on which they were looked up."""

    as_of: str = "2026-11-22"
    post: int = 5_000
    owned_mention: int = 1_000
    user: int = 10_000
    counts: int = 5_000


class Meter:
    """What one call has used of its budget; `who` names the call for people."""

    def __init__(self, who: str, budget: Budget) -> None:
        self._who = who
        self._budget = budget
        self._posts = 0
        self.pages = 0
        self.cost = Cost()

    def room(self, most: int, least: int, price: int, left_out: str) -> int:
        """How many records the next request may ask for, when one costs `price` at most.

        Raises BudgetSpent when these are fewer than `least`; `left_out` goes into its text.
        """
        budget, room = self._budget, most
        if budget.mentions is not None:
            room = min(room, budget.mentions - self._posts)
        if budget.micro_dollars is not None and price:
            room = min(room, (budget.micro_dollars - self.cost.micro_dollars) // price)
        if room < least or (budget.pages is not None and self.pages >= budget.pages):
            raise self.spent(left_out)
        return room

    def spent(self, left_out: str) -> BudgetSpent:
        """The error that tells what was used and what was left out."""
        return BudgetSpent(
            f"{self._who}: the budget ended after {self.pages} pages, {self._posts} posts and "
            f"${self.cost.micro_dollars / 1e6:.2f}; left out: {left_out}; the next run goes on"
        )

    def pay(self, cost: Cost) -> Cost:
        """`cost`, counted."""
        self.cost = total(self.cost, cost)
        return cost

    def add(self, page: Page) -> Page:
        """`page`, counted with its cost."""
        self.pages += 1
        self._posts += page.returned
        self.pay(page.cost)
        return page


def total(one: Cost, other: Cost) -> Cost:
    """Both costs together."""
    return Cost(
        requests=one.requests + other.requests,
        resources=one.resources + other.resources,
        micro_dollars=one.micro_dollars + other.micro_dollars,
    )


def price_page(body: Mapping[str, Any], *, post: int, prices: Prices, requests: int) -> Cost:
    """What a page costs: its own posts at `post` each, other posts and accounts by `prices`.

    X bills one post once a day (UTC); here it is counted each time that it comes, so never too low.
    """
    includes = body.get("includes")
    includes = includes if isinstance(includes, Mapping) else {}
    own = _ids(body.get("data"))
    others = _ids(includes.get("tweets")) - own
    users = _ids(includes.get("users"))
    return Cost(
        requests=requests,
        resources=len(own) + len(others) + len(users),
        micro_dollars=len(own) * post + len(others) * prices.post + len(users) * prices.user,
    )


def _ids(value: object) -> set[str]:
    items = value if isinstance(value, list) else [value]
    return {one for item in items if isinstance(item, dict) and (one := read_id(item.get("id")))}
