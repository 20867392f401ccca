"""What happens in a conversation, told from its posts: who asks, who answers, how it ends.

`follow` is a pure function: posts are put in the order of their times, so one that arrives late
gives the same result as one that arrived in time. Every person who asks is followed alone, through
`TRANSITIONS`; the conversation is open as long as one of them is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal

State = Literal["quiet", "early", "decided"]
Act = Literal["asks", "settles"]
Entity = tuple[str, str]
"""Kind and name, as in `matches`."""
Who = int | str

TRANSITIONS: Mapping[tuple[State, Act], State] = {
    # Who never asked here has nothing to settle: an adviser's "I bought the X" ends nothing.
    ("quiet", "settles"): "quiet",
    ("quiet", "asks"): "early",
    ("early", "asks"): "early",
    ("early", "settles"): "decided",
    ("decided", "settles"): "decided",
    # Asking anew opens it again.
    ("decided", "asks"): "early",
}
"""Where one person stands after a post; a post that neither asks nor settles changes nothing."""

OPEN_STAGES = ("awareness", "consideration")
OURS = ("brand", "product")
NAMEABLE = (*OURS, "competitor")
"""Kinds that can be an option, be recommended and be bought; a category cannot."""
# A conversation taken for settled is lost, one taken for open costs a look: an even chance is
# not enough.
_SURE = 0.7
# Without authors nobody knows who speaks, so only plain words count, and no guessed stage.
_SURE_OF_ANYBODY = 0.8
PROMO = 0.5
"""Probability of promotion from which a post neither asks nor answers nor ends anything."""
_EVENT_OF_STAGE = {
    "awareness": "need",
    "consideration": "request",
    "decision": "decision",
    "post_purchase": "purchase",
}
_EVENT_OF_PHRASE = {"deciding": "decision", "purchased": "purchase"}
_CLOSING_STAGES = ("decision", "post_purchase")
_REQUEST = "recommendation_request"
# Of several phrases in one post, the first of these that names something tells the outcome.
_TELLING = ("purchased", "deciding", "thanks", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A term that a post contains; offsets are code points of its document, end exclusive."""

    kind: str
    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """Words that say how the asking ended.

    `label` is purchased, deciding, none or thanks; `score` how sure the wording is. What is chosen
    stands between `start` and `until`, the end of the sentence; `names` tells whether something
    stands there that looks like a name.
    """

    label: str
    score: float
    start: int
    end: int
    until: int
    names: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One post of a conversation as the rules see it; probabilities in [0, 1].

    `at` is when it was published, or first seen if that came first. `signals` maps labels to
    scores. `reply` tells whether it answers another post, stored or not; `urgent`, whether it says
    that time is short.
    """

    id: int
    native_id: str
    at: str
    author_id: int | None
    language: str
    stage: str
    stage_score: float
    early: float
    promo: float
    reply: bool = False
    urgent: bool = False
    matches: tuple[Match, ...] = ()
    signals: Mapping[str, float] = field(default_factory=dict)
    phrases: tuple[Phrase, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When a post counts as early.

    `thresholds` are probabilities by language, "*" for the other languages.
    """

    thresholds: Mapping[str, float]
    stages: tuple[str, ...] = OPEN_STAGES
    kinds: tuple[str, ...] = ("brand", "product", "competitor", "category")

    def threshold(self, language: str) -> float:
        """Probability of `early` from which a post of this language counts."""
        return self.thresholds.get(language, self.thresholds["*"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in one post.

    `kind` is need, request, comparison, option, recommendation, decision, purchase or outcome.
    `entity_kind` and `entity` say of what: a kind and name of `matches`, or "other" where a name
    stands that we do not follow, "none" where nothing was chosen, empty where nothing is named.
    `start` and `end` are the words that say so, 0 and 0 for the whole post.
    """

    kind: str
    post_id: int
    at: str
    score: float
    entity_kind: str = ""
    entity: str = ""
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the asking ended: ours, competitor, other (nothing we follow), none or unknown.

    `entity_kind` and `entity` are as in `Event`; the span quotes the words of the post, 0 and 0
    where the stage alone tells that it ended.
    """

    label: str
    post_id: int
    entity_kind: str = ""
    entity: str = ""
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Where a conversation stands, and its events in their order.

    `early` is the probability of its strongest open post, or 0. `decided_id` is the post with which
    the last asker settled, `outcome` the last that was named; both are None unless decided.
    `urgent`: an open question says that time is short.
    """

    state: State
    stage: str
    early: float
    early_id: int | None
    decided_id: int | None
    about: tuple[Entity, ...]
    urgent: bool
    outcome: Outcome | None
    events: tuple[Event, ...]


@dataclass(slots=True)
class _Asker:
    """One person in the machine: the questions still open, and how the last ones ended."""

    state: State = "quiet"
    open: list[Post] = field(default_factory=list)
    decided: Post | None = None
    outcome: tuple[Post, Outcome] | None = None

    def asks(self, post: Post) -> None:
        self.state = TRANSITIONS[self.state, "asks"]
        self.open.append(post)
        self.decided = self.outcome = None

    def settles(self, post: Post, outcome: Outcome) -> None:
        self.state = TRANSITIONS[self.state, "settles"]
        if self.state == "quiet":
            return
        if self.decided is None:
            self.open.clear()
            self.decided = post
        # Saying again that it is done does not unsay what was chosen.
        if self.outcome is None or outcome.label != "unknown":
            self.outcome = post, outcome


def follow(posts: Sequence[Post], rules: Rules) -> Timeline:
    """The timeline of one conversation, whatever the order of `posts` (at least one).

    A post asks when its stage is open, its probability of `early` passes the threshold, it is no
    promotion, and some post of the conversation names something we follow. What a person asked is
    settled when the same person later decides, owns, gives up or thanks. Where no post has an
    author, sure words of anybody settle it, and a reply that names nothing asks only when it
    plainly requests: who answers in questions would be taken for an asker. A post whose author
    alone is unknown stays open.
    """
    ordered = sorted(posts, key=_when)
    about = tuple(sorted({(one.kind, one.name) for post in ordered for one in post.matches}))
    followed = any(kind in rules.kinds for kind, _ in about)
    nameless = all(post.author_id is None for post in ordered)
    askers: dict[Who, _Asker] = {}
    for post in ordered:
        asker = askers.setdefault(_who(post, nameless), _Asker())
        phrases = _phrases(post, nameless)
        if phrases or _by_stage(post, nameless):
            asker.settles(post, _outcome(post, phrases))
        # Plain words that end the asking weigh more than a guess that the same post still asks.
        ended = asker.state == "decided" and phrases
        requests = _REQUEST in post.signals
        borrows = nameless and post.reply and not post.matches
        if followed and _asks(post, rules) and (requests or not (ended or borrows)):
            asker.asks(post)
    open_posts = [post for asker in askers.values() for post in asker.open]
    best = max(open_posts, key=lambda post: (post.early, *_when(post)), default=None)
    closed = [] if best else [asker for asker in askers.values() if asker.state == "decided"]
    decided = max((one.decided for one in closed if one.decided), key=_when, default=None)
    if best:
        stage = best.stage
    else:
        stage = _closing_stage(decided, nameless) if decided else ordered[0].stage
    return Timeline(
        state="early" if best else "decided" if decided else "quiet",
        stage=stage,
        early=best.early if best else 0.0,
        early_id=best.id if best else None,
        decided_id=decided.id if decided else None,
        about=about,
        urgent=any(post.urgent for post in open_posts),
        outcome=_last_known([one.outcome for one in closed if one.outcome]),
        events=tuple(_events(ordered, rules, nameless)),
    )


def _when(post: Post) -> tuple[str, str]:
    return post.at, post.native_id


def _who(post: Post, nameless: bool) -> Who:
    """Whom a post is from: nobody known may be anybody, so such a post stands alone."""
    if post.author_id is not None:
        return post.author_id
    return "" if nameless else post.native_id


def _asks(post: Post, rules: Rules) -> bool:
    return (
        post.stage in rules.stages
        and post.early >= rules.threshold(post.language)
        and post.promo < PROMO
    )


def _phrases(post: Post, nameless: bool) -> list[Phrase]:
    """The words of a post that can end an asking, the most telling first."""
    if not post.phrases or post.promo >= PROMO or (nameless and not post.reply):
        return []
    sure = [one for one in post.phrases if not nameless or one.score >= _SURE_OF_ANYBODY]
    return sorted(sure, key=lambda one: (_TELLING.index(one.label), -one.score, one.start))


def _by_stage(post: Post, nameless: bool) -> bool:
    return (
        not nameless
        and post.stage in _CLOSING_STAGES
        and post.stage_score >= _SURE
        and post.promo < PROMO
    )


def _closing_stage(post: Post, nameless: bool) -> str:
    phrases = _phrases(post, nameless)
    if not phrases:
        return post.stage
    return "post_purchase" if phrases[0].label == "purchased" else "decision"


def _outcome(post: Post, phrases: Sequence[Phrase]) -> Outcome:
    """The outcome that a settling post tells: the first that is named, or that it was given up."""
    told = [_told(post, phrase) for phrase in phrases]
    known = [one for one in told if one.label != "unknown"]
    return next(iter(known or told), Outcome(label="unknown", post_id=post.id))


def _told(post: Post, phrase: Phrase) -> Outcome:
    chosen = None if phrase.label == "none" else _chosen(post, phrase)
    if chosen is not None:
        return Outcome(
            label="ours" if chosen.kind in OURS else "competitor",
            post_id=post.id,
            entity_kind=chosen.kind,
            entity=chosen.name,
            start=phrase.start,
            end=max(phrase.end, chosen.end),
        )
    label = "none" if phrase.label == "none" else "other" if phrase.names else "unknown"
    return Outcome(
        label=label,
        post_id=post.id,
        entity_kind="" if label == "unknown" else label,
        start=phrase.start,
        end=phrase.end,
    )


def _chosen(post: Post, phrase: Phrase) -> Match | None:
    """What is named in the phrase, or else nearest behind it in its sentence."""
    end = phrase.end if phrase.names else phrase.until
    near = [one for one in post.matches if one.kind in NAMEABLE and phrase.start <= one.start < end]
    # "Lumora Brisa" is the product of that name rather than the brand.
    return min(near, key=lambda one: (one.start, -one.end, one.kind, one.name), default=None)


def _last_known(told: Sequence[tuple[Post, Outcome]]) -> Outcome | None:
    """Of how the askings ended, the last that is known, or else the last."""
    known = [one for one in told if one[1].label != "unknown"]
    return max(known or told, key=lambda one: _when(one[0]), default=(None, None))[1]


def _events(ordered: Sequence[Post], rules: Rules, nameless: bool) -> Iterator[Event]:
    """The events of each post; of the same kind and entity in one post, the first.

    Who asks is told by the stages here, not by the thresholds of `rules`: what became of a question
    that was missed must be seen too.
    """
    seekers = {_who(post, nameless) for post in ordered if _seeks(post, rules)}
    sought: set[Who] = set()
    named: set[Entity] = set()
    for post in ordered:
        who = _who(post, nameless)
        events = [*_questions(post), *_options(post, named)]
        if post.reply and (nameless or seekers != {who}):
            events += _recommendations(post)
        if who in sought:
            events += _endings(post, nameless)
        if _seeks(post, rules):
            sought.add(who)
        named.update((one.kind, one.name) for one in post.matches)
        first: dict[tuple[str, str, str], Event] = {}
        for event in events:
            first.setdefault((event.kind, event.entity_kind, event.entity), event)
        yield from first.values()


def _seeks(post: Post, rules: Rules) -> bool:
    return post.stage in {*OPEN_STAGES, *rules.stages} and post.promo < PROMO


def _questions(post: Post) -> Iterator[Event]:
    if post.promo >= PROMO:
        return
    if post.stage in OPEN_STAGES:
        yield _event(post, _EVENT_OF_STAGE[post.stage], post.stage_score)
    if "comparison" in post.signals:
        yield _event(post, "comparison", post.signals["comparison"])


def _options(post: Post, named: Set[Entity]) -> Iterator[Event]:
    for one in post.matches:
        if one.kind in NAMEABLE and (one.kind, one.name) not in named:
            yield _event(post, "option", 1.0, one)


def _recommendations(post: Post) -> Iterator[Event]:
    score = post.signals.get("recommendation_given")
    if score is None or post.promo >= PROMO:
        return
    options = [one for one in post.matches if one.kind in NAMEABLE]
    if not options:
        yield _event(post, "recommendation", score)
    for one in options:
        yield _event(post, "recommendation", score, one)


def _endings(post: Post, nameless: bool) -> Iterator[Event]:
    phrases = _phrases(post, nameless)
    for phrase in phrases:
        told = _told(post, phrase)
        for kind in (_EVENT_OF_PHRASE.get(phrase.label), "outcome"):
            if kind:
                yield Event(
                    kind=kind,
                    post_id=post.id,
                    at=post.at,
                    score=phrase.score,
                    entity_kind=told.entity_kind,
                    entity=told.entity,
                    start=told.start,
                    end=told.end,
                )
    if _by_stage(post, nameless) and not any(one.label in _EVENT_OF_PHRASE for one in phrases):
        yield _event(post, _EVENT_OF_STAGE[post.stage], post.stage_score)


def _event(post: Post, kind: str, score: float, of: Match | None = None) -> Event:
    if of is None:
        return Event(kind=kind, post_id=post.id, at=post.at, score=score)
    return Event(
        kind=kind,
        post_id=post.id,
        at=post.at,
        score=score,
        entity_kind=of.kind,
        entity=of.name,
        start=of.start,
        end=of.end,
    )
