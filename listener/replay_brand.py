"""The rules about the brand, replayed: unanswered questions, advocates, crises. Pure.

As in a live round the posts are counted by what was known then; `rules` settles what an alert is.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from .replay import Heard, Step, Thread, found_in, hours_old, in_order, replies_told
from .rules import Found, Rule, allowed, praised, spike, unanswered
from .scoring import Facts
from .store import moment, stamp
from .timeline import OURS, PROMO, State

_QUESTIONS = ("product_question", "price_availability")
_WEEKS = 4
_PRAISED = timedelta(days=90)


def _about_us(one: Heard) -> bool:
    return one.post.promo < PROMO and any(match.kind in OURS for match in one.post.matches)


def asks_us(thread: Thread) -> bool:
    """Whether a post of the conversation asks something about the brand."""
    return any(_asks_us(one) for one in thread.heard)


def _asks_us(one: Heard) -> bool:
    return _about_us(one) and any(name in one.post.signals for name in _QUESTIONS)


def unanswered_steps(thread: Thread, rule: Rule, course: Sequence[Step]) -> Iterator[Step]:
    """Questions to the brand that nobody had answered when their hours were over.

    `course` is how the conversation went. Each question is looked at once; a step "decided" says
    when an answer became known later.
    """
    asked = [
        (one, max(one.post.signals[name] for name in _QUESTIONS if name in one.post.signals))
        for one in thread.heard
        if _asks_us(one)
    ]
    answers: dict[str, list[Heard]] = defaultdict(list)
    for one in in_order(thread.heard) if asked else ():
        for native_id in one.answers - {one.post.native_id}:
            answers[native_id].append(one)
    for one, probability in asked:
        due = max(moment(one.known_at), moment(one.post.at) + timedelta(hours=rule.hours))
        author = one.post.author_id
        first = next(
            (
                moment(answer.known_at)
                for answer in answers[one.post.native_id]
                if author is None or answer.post.author_id != author
            ),
            None,
        )
        found = found_in(
            one,
            thread.conversation,
            thread.root_id,
            stage=one.post.stage,
            probability=probability,
        )
        if (
            (first is not None and first <= due)
            or replies_told(one, due)
            or _state_at(course, due) == "decided"
            or not unanswered(rule, found, now=due)
        ):
            continue
        facts = Facts(probability=probability, followers=one.followers)
        unit = thread.conversation
        step = Step(at=due, unit=unit, conversation=unit, state="early", found=found, facts=facts)
        yield replace(step, author=author)
        if first is not None:
            yield Step(at=first, unit=unit, conversation=unit, state="decided")


def _state_at(course: Sequence[Step], now: datetime) -> State:
    passed = bisect_right(course, now, key=lambda step: step.at)
    return course[passed - 1].state if passed else "quiet"


class Named(NamedTuple):
    """A post about the brand, with its conversation."""

    one: Heard
    conversation: int
    root_id: str


def praises_in(thread: Thread) -> Iterator[Named]:
    """The posts of a conversation that praise the brand."""
    for one in thread.heard:
        if "praise" in one.post.signals and one.sentiment == "pos" and _about_us(one):
            yield Named(one, thread.conversation, thread.root_id)


def advocate_steps(praise: Iterable[Named], rule: Rule) -> Iterator[Step]:
    """Praise of the brand by advocates, as each became known to be one."""
    by_author: dict[int, list[Named]] = defaultdict(list)
    ordered = sorted(praise, key=lambda it: (it.one.known_at, it.one.post.at, it.one.post.id))
    for latest in ordered:
        now, author = moment(latest.one.known_at), latest.one.post.author_id
        recent = [latest]
        if author is not None:
            since = stamp(now - _PRAISED)
            kept = [it for it in by_author[author] if it.one.post.at > since]
            by_author[author] = recent = [*kept, latest]
        # Earlier praise counts anew when this post makes an advocate of its author.
        looked_at = recent if len(recent) == rule.praises else [latest]
        for it in looked_at:
            found = found_in(
                it.one,
                it.conversation,
                it.root_id,
                stage=it.one.post.stage,
                probability=it.one.post.signals["praise"],
            )
            if found.at > now - rule.max_age and praised(rule, found, len(recent)):
                yield Step(
                    at=now,
                    unit=it.conversation,
                    conversation=it.conversation,
                    state="early",
                    found=found,
                    facts=Facts(
                        probability=found.probability,
                        age_hours=hours_old(it.one, now),
                        followers=it.one.followers,
                    ),
                    author=author,
                )


def negatives_in(thread: Thread) -> Iterator[Named]:
    """The negative posts about the brand in a conversation."""
    for one in thread.heard:
        if one.sentiment == "neg" and _about_us(one):
            yield Named(one, thread.conversation, thread.root_id)


def crisis_steps(
    negative: Iterable[Named], rule: Rule, observed_since: Callable[[str], str]
) -> Iterator[Step]:
    """Spikes of negative posts, looked at each time one of them became known.

    `observed_since` gives for a stamp the time of the oldest post that was known then.
    """
    ordered = sorted(negative, key=lambda it: (it.one.known_at, it.one.post.at, it.one.post.id))
    times: list[datetime] = []
    posts: list[tuple[Found, Named]] = []
    span = timedelta(hours=rule.hours)
    last: datetime | None = None

    def count(end: datetime) -> int:
        return bisect_right(times, end) - bisect_right(times, end - span)

    for known_at, group in groupby(ordered, key=lambda it: it.one.known_at):
        now = moment(known_at)
        for it in group:
            found = found_in(
                it.one,
                it.conversation,
                it.root_id,
                stage=it.one.post.stage,
                probability=it.one.sentiment_score,
            )
            if allowed(rule, found):
                insort(times, found.at)
                posts.append((found, it))
        posts = [pair for pair in posts if pair[0].at > now - span]
        if last is not None and last > now - max(rule.cooldown, span):
            continue
        first = moment(observed_since(known_at))
        ends = [now - timedelta(weeks=week) for week in range(1, _WEEKS + 1)]
        weeks = [count(end) for end in ends if end - span >= first]
        seen = spike(rule, count(now), weeks)
        if seen is None:
            continue
        last = now
        found, it = max(posts, key=lambda pair: (pair[0].probability, -pair[0].mention_id))
        yield Step(
            at=now,
            unit=it.conversation,
            conversation=it.conversation,
            state="early",
            found=found,
            facts=Facts(probability=1 - seen.tail),
            author=it.one.post.author_id,
        )
