from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from listener.spans import Span, by_hour, clipped, merged, minutes

START = datetime(2026, 3, 10, tzinfo=UTC)


def span(start: float, end: float) -> Span:
    """From and to so many minutes after START."""
    return START + timedelta(minutes=start), START + timedelta(minutes=end)


minute = st.integers(0, 600)
some = st.lists(st.tuples(minute, minute).map(lambda pair: span(*pair)), max_size=8)


def inside(spans: list[Span] | tuple[Span, ...]) -> set[int]:
    """The minutes after START that are in any of `spans`."""
    return {n for n in range(600) if any(a <= START + timedelta(minutes=n) < b for a, b in spans)}


@given(spans=some)
def test_merged_holds_the_same_time_sorted_and_apart_in_any_order(spans: list[Span]) -> None:
    found = merged(spans)
    assert inside(found) == inside(spans)
    assert all(a[1] < b[0] for a, b in pairwise(found))
    assert all(start < end for start, end in found)
    assert merged(reversed(spans)) == merged(sorted(spans)) == merged(found) == found


@given(spans=some, bounds=st.tuples(minute, minute))
def test_clipped_keeps_what_is_between(spans: list[Span], bounds: tuple[int, int]) -> None:
    start, end = span(*bounds)
    assert inside(clipped(spans, start, end)) == inside(spans) & inside([(start, end)])


@given(spans=some)
def test_hours_hold_one_to_sixty_minutes_and_all_of_them(spans: list[Span]) -> None:
    hours = by_hour(spans)
    assert all(1 <= found <= 60 for found in hours.values())
    assert sum(hours.values()) == len(inside(spans)) == minutes(spans)
    for hour, found in hours.items():
        start = datetime.fromisoformat(f"{hour}:00:00+00:00")
        assert len(inside(clipped(spans, start, start + timedelta(hours=1)))) == found


@given(spans=st.lists(st.tuples(*[st.floats(0, 600)] * 2).map(lambda p: span(*p)), max_size=8))
def test_no_hour_is_longer_than_sixty_minutes_whatever_the_seconds(spans: list[Span]) -> None:
    assert all(1 <= found <= 60 for found in by_hour(spans).values())


def test_hours_are_those_of_utc() -> None:
    madrid = timezone(timedelta(hours=1))
    half = datetime(2026, 3, 10, 0, 30, tzinfo=madrid)
    assert by_hour([(half, half + timedelta(minutes=45))]) == {
        "2026-03-09T23": 30,
        "2026-03-10T00": 15,
    }
    assert by_hour([]) == {}
