"""Several lists of one source read in turn; one that fails is told of and stops no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from .base import Budget, BudgetSpent, ConnectorError, Cost, Cursor, Page, RetryAt, Transient

Second = Annotated[int, Field(ge=0, lt=100_000_000_000)]
"""A second of the epoch."""

_State = TypeVar("_State")

# Lists that cannot be reached one after another before the rest is left for the next run.
_PATIENCE = 3


class Round(Protocol):
    """The lists of one call of `collect`, by key, with the state of each."""

    def waiting(self, key: str) -> bool:
        """Whether something of this list is still to be read in this call."""
        ...

    def read(self, key: str, left: int | None) -> Page:
        """The next page of a list, with about `left` mentions at most; the state moves on.

        Its cursor, cost and `more` are filled in by the caller.
        """
        ...

    def fail(self, key: str, error: ConnectorError) -> None:
        """Note that `read` raised `error`; the list is not read on in this call."""
        ...

    def spent(self) -> Cost:
        """What requests have cost since this was asked last."""
        ...

    def cursor(self) -> Cursor:
        """The state of all lists."""
        ...


def read_in_turn(
    source: str,
    lists: Round,
    keys: Sequence[str],
    *,
    budget: Budget,
    max_pages: int,
    held: tuple[type[ConnectorError], ...],
) -> Iterator[Page]:
    """The pages of the lists called `keys`, in that order, at most `max_pages` of each.

    No mention comes twice. Errors of the types `held` concern one list and become warnings; the
    first one is raised when all lists fail, or three in a row that cannot be reached. Raises
    BudgetSpent when the budget ends before the lists do.
    """
    asked = pages = row = 0
    given: set[str] = set()
    failures: list[ConnectorError] = []
    untold: list[str] = []
    cut = False

    def spent() -> BudgetSpent:
        return BudgetSpent(
            f"{source}: the budget ended after {pages} pages and {len(given)} mentions; the next "
            "run goes on from there"
        )

    # Those that were read in this very second are well.
    well = not all(map(lists.waiting, keys))
    for number, key in enumerate(keys, start=1):
        asked += lists.waiting(key)
        before = pages
        while lists.waiting(key):
            left = None if budget.mentions is None else budget.mentions - len(given)
            if (left is not None and left <= 0) or pages == budget.pages:
                raise spent()
            if pages - before >= max_pages:
                cut = True
                break
            try:
                page = lists.read(key, left)
            except held as error:
                failures.append(error)
                untold.append(f"{source}, {key}: {error}")
                lists.fail(key, error)
                row = row + 1 if isinstance(error, Transient) else 0
                break
            row, pages = 0, pages + 1
            mentions = tuple(one for one in page.mentions if one.native_id not in given)
            given.update(one.native_id for one in mentions)
            warnings = (*untold, *page.warnings)
            untold.clear()
            yield replace(
                page,
                mentions=mentions,
                cursor=lists.cursor(),
                more=cut or any(map(lists.waiting, keys[number - 1 :])),
                cost=lists.spent(),
                warnings=warnings,
            )
        if row == _PATIENCE:
            break
    if failures and len(failures) == asked and not (pages or well):
        raise _first(failures)
    if untold:
        yield Page(cursor=lists.cursor(), cost=lists.spent(), warnings=tuple(untold))
    if row == _PATIENCE:
        raise failures[-1]
    if cut:
        raise spent()


def read_states(kind: type[_State], stored: object, keys: Iterable[str]) -> dict[str, _State]:
    """Of the states that `write_states` wrote those called `keys`; others and broken ones are left
    out, so that their lists start anew. `kind` is a dataclass.
    """
    adapter = TypeAdapter(kind)
    states = {}
    known: Mapping[str, Any] = stored if isinstance(stored, Mapping) else {}
    for key in keys:
        try:
            states[key] = adapter.validate_python(known[key])
        except (KeyError, ValidationError):
            continue
    return states


def write_states(kind: type[_State], states: Mapping[str, _State]) -> dict[str, Any]:
    """`states` as JSON gives them back."""
    adapter = TypeAdapter(kind)
    return {key: adapter.dump_python(one, mode="json") for key, one in sorted(states.items())}


def _first(failures: Sequence[ConnectorError]) -> ConnectorError:
    """The error of all lists: when all ask to wait, that with the nearest time."""
    waits = [one for one in failures if isinstance(one, RetryAt)]
    return min(waits, key=lambda one: one.when) if len(waits) == len(failures) else failures[0]
