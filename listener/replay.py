"""History told again: which alerts would have been raised when, by what was known then. Pure.

Posts become known one after the other; a conversation is judged each time something that tells
becomes known in it, by `follow`, `rules` and `scoring` as in a live round, and by `choose` it is
settled who is mailed. What becomes known later has no part in it: to replay the beginning of a
history gives the beginning of its replay.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple
from zoneinfo import ZoneInfo

from .attention import DAY, Sent, Waiting, choose
from .rules import EARLY_FUNNEL, Found, Rule, early, key_of
from .scoring import Facts
from .store import moment, stamp
from .timeline import Post, Rules, State, Timeline, follow

SPACING = 25
"""Of 2 x SPACING telling posts on, a conversation is judged again when one in SPACING is new.

So the work for a thread grows with its length, not with the square of it.
"""
_NO_THRESHOLDS: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A stored post and when it became known, `known_at`, a stamp.

    `author` holds the author's handle and native id, folded; `answers` the native ids of what the
    post answers; `reported` the numbers of replies that the platform told, each with the stamp from
    which it was known, in their order.
    """

    post: Post
    known_at: str
    source: str
    author: frozenset[str] = frozenset()
    followers: int | None = None
    answers: frozenset[str] = frozenset()
    reported: tuple[tuple[str, int], ...] = ()
    sentiment: str = ""
    sentiment_score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where a conversation stood from `at` on, until the next step of the same `unit`.

    A unit is what alerts once: a conversation, or a single post. `found` and `facts` are None
    unless its choice was open; `facts` lack the fit, which is read from the text. `author` is the
    row id of the author of the post that was found.
    """

    at: datetime
    unit: int
    conversation: int
    state: State
    found: Found | None = None
    facts: Facts | None = None
    author: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a rule may alert on at `at`: a post with its points."""

    at: datetime
    unit: int
    conversation: int
    author: int | None
    found: Found
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """An alert that would have been raised; `recent`: its post was young enough for a mail."""

    key: str
    rule: str
    sighting: Sighting
    recent: bool


class Thread(NamedTuple):
    """A conversation as it is stored: its number, the native id of its root, and its posts."""

    conversation: int
    root_id: str
    heard: Sequence[Heard]


def in_order(heard: Iterable[Heard]) -> list[Heard]:
    """Posts as they became known; those known at once by the times of the posts."""
    return sorted(heard, key=lambda one: (one.known_at, one.post.at, one.post.native_id))


def tells(post: Post) -> bool:
    """Whether a post can change what `follow` says of an open conversation."""
    return post.stage != "none" or bool(post.matches or post.phrases or post.signals)


def steps(thread: Thread, rules: Rules) -> Iterator[Step]:
    """How a conversation went, as it was seen at the time; a step for each change.

    What becomes known at the same second is judged at once, as a round does.
    """
    telling: list[Post] = []
    by_id: dict[int, Heard] = {}
    crowd: Counter[int | None] = Counter()
    named, fresh, before = False, 0, None
    least = min(rules.thresholds.values())
    asked = False
    for known_at, group in groupby(in_order(thread.heard), key=lambda one: one.known_at):
        for one in group:
            author = one.post.author_id
            crowd[author] += 1
            # Whether anybody is known by name changes whom words that settle are taken from.
            if tells(one.post) or (author is not None and not named):
                telling.append(one.post)
                by_id[one.post.id] = one
                fresh += 1
            named = named or author is not None
            asked = asked or one.post.early >= least
        # Until a post may ask there is nothing to judge.
        if not asked or fresh < max(1, len(telling) // SPACING):
            continue
        fresh = 0
        timeline = follow(telling, rules)
        kinds = {kind for kind, _ in timeline.about}
        seen = (timeline.state, timeline.stage, timeline.early_id, timeline.urgent, kinds)
        if seen == before or (before is None and timeline.state == "quiet"):
            continue
        before = seen
        yield _step(thread, timeline, by_id, crowd, moment(known_at))


def _step(
    thread: Thread,
    timeline: Timeline,
    by_id: Mapping[int, Heard],
    crowd: Mapping[int | None, int],
    now: datetime,
) -> Step:
    number = thread.conversation
    if timeline.early_id is None:
        return Step(at=now, unit=number, conversation=number, state=timeline.state)
    asking = by_id[timeline.early_id]
    author = asking.post.author_id
    # Of two unknown authors each counts as another.
    own = 1 if author is None else crowd[author]
    others = sum(crowd.values()) - own
    options = {
        (event.entity_kind, event.entity)
        for event in timeline.events
        if event.kind in {"option", "recommendation"}
        and event.entity
        and event.post_id != asking.post.id
        and (author is None or by_id[event.post_id].post.author_id != author)
    }
    return Step(
        at=now,
        unit=number,
        conversation=number,
        state=timeline.state,
        found=found_in(
            asking,
            number,
            thread.root_id,
            stage=timeline.stage,
            probability=timeline.early,
            urgent=timeline.urgent,
            about=timeline.about,
        ),
        facts=Facts(
            probability=timeline.early,
            age_hours=hours_old(asking, now),
            replies=max(others, replies_told(asking, now)),
            options=len(options),
            followers=asking.followers,
            urgent=timeline.urgent,
        ),
        author=author,
    )


def single_steps(thread: Thread, rules: Rules) -> Iterator[Step]:
    """Each post alone, as tools see it that know no conversations; nothing ever closes it."""
    for one in filter(lambda one: tells(one.post), in_order(thread.heard)):
        alone = follow([one.post], rules)
        if alone.state != "early":
            continue
        yield Step(
            at=moment(one.known_at),
            unit=one.post.id,
            conversation=thread.conversation,
            state="early",
            found=found_in(
                one,
                one.post.id,
                one.post.native_id,
                stage=alone.stage,
                probability=alone.early,
                urgent=alone.urgent,
                about=alone.about,
            ),
            facts=Facts(probability=alone.early),
            author=one.post.author_id,
        )


def found_in(
    one: Heard,
    unit: int,
    root_id: str,
    *,
    stage: str,
    probability: float,
    urgent: bool = False,
    about: tuple[tuple[str, str], ...] = (),
) -> Found:
    """A post of a unit as rules look at it."""
    return Found(
        conversation_id=unit,
        mention_id=one.post.id,
        source=one.source,
        root_id=root_id,
        at=moment(one.post.at),
        language=one.post.language,
        stage=stage,
        probability=probability,
        urgent=urgent,
        about=about,
        signals=frozenset(one.post.signals),
        author=one.author,
        followers=one.followers,
    )


def hours_old(one: Heard, now: datetime) -> float:
    """Hours since a post; 0 where its clock is ahead."""
    return max((now - moment(one.post.at)).total_seconds() / 3600, 0.0)


def replies_told(one: Heard, now: datetime) -> int:
    """How many replies the platform had told of by `now`."""
    known = bisect_right(one.reported, stamp(now), key=lambda sample: sample[0])
    return one.reported[known - 1][1] if known else 0


def fire(
    rule: Rule,
    sightings: Iterable[Sighting],
    *,
    thresholds: Mapping[str, float] = _NO_THRESHOLDS,
    originals: Mapping[int, int],
) -> list[Fired]:
    """The alerts that a rule would have raised, in their order.

    `thresholds` are the model's, by language, "*" for the others; `originals` name the first post
    of those that repeat another one.
    """
    before: dict[int, list[tuple[str, bool]]] = defaultdict(list)
    told: dict[int, int] = {}
    fired: list[Fired] = []
    for one in sorted(
        sightings,
        key=lambda one: (
            one.at,
            one.found.mention_id in originals,
            -one.points,
            one.found.mention_id,
        ),
    ):
        found, crisis = one.found, rule.type == "crisis"
        if rule.type == EARLY_FUNNEL and not early(rule, found, thresholds):
            continue
        first = f"{rule.name}:{stamp(one.at)[:13]}"
        key = first if crisis else key_of(rule, found, before[one.unit])
        if key is None:
            continue
        post = originals.get(found.mention_id, found.mention_id)
        if not crisis and told.setdefault(post, one.unit) != one.unit:
            continue
        before[one.unit].append((found.stage, found.urgent))
        recent = found.at >= one.at - rule.max_age
        fired.append(Fired(key=key, rule=rule.name, sighting=one, recent=recent))
    return fired


def spend(
    fired: Sequence[Fired],
    courses: Mapping[tuple[str, int], Sequence[tuple[datetime, bool]]],
    rules: Mapping[str, Rule],
    *,
    most: int,
    zone: ZoneInfo,
    asleep: Callable[[datetime], bool],
    until: datetime,
) -> dict[int, datetime]:
    """When one person would have been mailed which alerts: place in `fired` -> time.

    `fired` are the person's alerts in their order, `courses` when what a rule alerted on, by name
    and unit, could be acted on and when no more. What is held back is tried again when an alert is
    raised and at each full hour, as long as it is open, recent and not replaced by a later alert;
    not in the quiet hours of the person, which `asleep` tells.
    """
    reach = max([DAY, *(rule.cooldown for rule in rules.values())])
    mailed: dict[int, datetime] = {}
    waiting: dict[int, Fired] = {}
    sent: list[Sent] = []
    place, now = 0, until
    while place < len(fired) or waiting:
        now = _next_round(now, fired, place, waiting)
        if now > until:
            break
        while place < len(fired) and fired[place].sighting.at <= now:
            new = fired[place]
            for old, one in list(waiting.items()):
                if one.rule == new.rule and one.sighting.unit == new.sighting.unit:
                    del waiting[old]
            if new.recent:
                waiting[place] = new
            place += 1
        for old, one in list(waiting.items()):
            if one.sighting.found.at < now - rules[one.rule].max_age:
                del waiting[old]
        sent = [one for one in sent if now - one.at < reach]
        if asleep(now) or sum(now - one.at < DAY for one in sent) >= most:
            continue
        for item in choose(
            [
                Waiting(
                    alert=number,
                    rule=one.rule,
                    worth=one.sighting.points / 100,
                    author=one.sighting.author,
                )
                for number, one in waiting.items()
                if open_at(courses.get((one.rule, one.sighting.unit), ()), now)
            ],
            sent,
            rules,
            most=most,
            zone=zone,
            now=now,
        ):
            mailed[item.alert] = now
            sent.append(Sent(rule=item.rule, author=item.author, at=now))
            del waiting[item.alert]
    return mailed


def _next_round(
    now: datetime, fired: Sequence[Fired], place: int, waiting: Mapping[int, Fired]
) -> datetime:
    """The next alert, or the next full hour if something waits for it."""
    hour = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    if place == len(fired):
        return hour
    return min(hour, fired[place].sighting.at) if waiting else fired[place].sighting.at


def open_at(course: Sequence[tuple[datetime, bool]], now: datetime) -> bool:
    """Whether a unit with these changes, in their order, could still be acted on."""
    passed = bisect_right(course, now, key=lambda change: change[0])
    return not passed or course[passed - 1][1]
