from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from builders import (
    ADVERT,
    ASKS,
    DECIDES,
    NOW,
    RECIPIENTS,
    FakeConnector,
    FakeTagger,
    Labels,
    analyse,
    at,
    config,
    matcher,
    mention,
    page,
    put,
    store_in,
    tombstone,
)

from connectors.base import Author, Counts, Mention, Transient
from listener.alerts import find, save
from listener.collect import Source, collect
from listener.digest import Period, alert_message, digest_message
from listener.digest_shown import Mark, record, seen
from listener.envelope import compose
from listener.messages import DigestMessage, render_digest
from listener.rollup import refresh
from listener.store import Store

DAY = date(2026, 3, 10)
ASK = "Which espresso machine is good?"
SPAM = "Best espresso machine, buy now!"
BUY = "I bought it"
TAGGER = FakeTagger({ASK: ASKS, f"{ASK} Lumora": ASKS, SPAM: ADVERT, BUY: DECIDES})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def heard(
    store: Store, *mentions: Mention, tagger: FakeTagger = TAGGER, now: datetime = NOW
) -> None:
    put(store, *mentions, now=now)
    analyse(store, tagger)
    refresh(store, brand="Lumora")


def digest(store: Store, *, hours: float = 0, settings: str = RECIPIENTS) -> DigestMessage:
    until = at(hours)
    since = until - timedelta(days=1)
    period = Period(since=since, until=until, oldest=since, live=False)
    return digest_message(store, config(settings), DAY, period)


def texts(message: DigestMessage) -> list[str]:
    return [card.post.text for card in message.join_now]


# -- figures


def test_figures_equal_a_count_of_the_posts(store: Store) -> None:
    chance = random.Random(3)
    labels, posts = {}, []
    for n in range(200):
        about = chance.sample(["Lumora", "Brisa", "Moketto", "an espresso machine"], 2)
        text = f"{' and '.join(about)} {n}"
        labels[text] = Labels(
            stage=chance.choice(["none", "awareness", "consideration", "post_purchase"]),
            sentiment=chance.choice(["pos", "neu", "neg"]),
        )
        posts.append(mention(f"{n}", text, published_at=at(-chance.randint(0, 49 * 60) / 60)))
    heard(store, *posts, tagger=FakeTagger(labels))
    message = digest(store)
    inside = [post for post in posts if at(-24) <= post.published_at < NOW]
    assert message.mentions == len(inside) > 50
    stages = Counter(labels[post.text].stage for post in inside)
    assert message.stages == stages
    named = {
        "Lumora": [one for one in inside if "Lumora" in one.text or "Brisa" in one.text],
        "Moketto": [one for one in inside if "Moketto" in one.text],
    }
    assert dict(message.share_of_voice) == {name: len(found) for name, found in named.items()}
    for counted in message.sentiment:
        told = Counter(labels[post.text].sentiment for post in named[counted.entity])
        assert (counted.positive, counted.neutral, counted.negative) == (
            told["pos"],
            told["neu"],
            told["neg"],
        )


def test_each_hour_counts_in_one_digest(store: Store) -> None:
    """At 12:00 sharp and at half past, two days that follow each other share no post."""
    for start in (0.0, 0.5):
        heard(
            store,
            *(
                mention(f"{start} {n}", "Lumora", published_at=at(start + n))
                for n in range(-24, 25)
            ),
            now=at(25),
        )
    for start in (0.0, 0.5):
        days = [dict(digest(store, hours=start + n).share_of_voice) for n in (0, 24)]
        assert [day["Lumora"] for day in days] == [48, 48]


def test_the_usual_is_the_mean_of_the_same_hours_of_earlier_weeks(store: Store) -> None:
    week = 24 * 7
    assert digest(store).mentions_usual is None
    heard(
        store,
        *(mention(f"a{n}", "Lumora", published_at=at(-week - 1)) for n in range(4)),
        *(mention(f"b{n}", "talk", published_at=at(-2 * week - 1)) for n in range(2)),
        mention("other hours", "Lumora", published_at=at(-week + 1)),
        mention("first", "Lumora", published_at=at(-2 * week - 30)),
    )
    assert digest(store).mentions_usual == 3.0


def test_what_was_taken_down_does_not_count(store: Store) -> None:
    heard(store, mention("1", "Lumora", published_at=at(-1)), mention("2", published_at=at(-1)))
    put(store, updates=[tombstone("1")])
    heard(store)
    message = digest(store)
    assert message.mentions == 1
    assert sum(message.stages.values()) == 1
    assert message.share_of_voice == ()


def test_an_empty_database_makes_an_empty_digest(store: Store) -> None:
    message = digest(store)
    assert (message.mentions, message.stages, message.join_now) == (0, {}, ())
    assert (message.brand, message.day) == ("Lumora", DAY)
    assert render_digest(message, language="es").subject


# -- conversations to join


def test_join_now_is_ranked_and_limited(store: Store) -> None:
    chances = [0.6, 0.9, 0.7, 0.8]
    asked = {f"{ASK} {p}": Labels(stage="consideration", early=p) for p in chances}
    heard(
        store,
        *(mention(str(n), text, published_at=at(-n - 1)) for n, text in enumerate(asked)),
        tagger=FakeTagger(asked),
    )
    assert [card.probability for card in digest(store).join_now] == [0.9, 0.8, 0.7, 0.6]
    limited = digest(store, settings="[digest]\nmax_conversations = 2").join_now
    assert [card.probability for card in limited] == [0.9, 0.8]


def test_only_open_recent_conversations_are_to_join(store: Store) -> None:
    heard(
        store,
        mention("open", ASK, by="ana", published_at=at(-71)),
        mention("old", ASK, by="ana", published_at=at(-73)),
        mention("spam", SPAM, by="shop", published_at=at(-1)),
        mention("done", ASK, by="ben", published_at=at(-3)),
        mention("bought", BUY, by="ben", parent_id="done", published_at=at(-2)),
        mention("talk", "about nothing", published_at=at(-1)),
    )
    (card,) = digest(store).join_now
    assert card.post.published_at == at(-71)
    assert card.age_hours == 71


def test_a_card_tells_who_asked_what(store: Store) -> None:
    asker = Author(source="forum", native_id="u", handle="@ana", followers=12_000)
    put(
        store,
        Mention(
            source="forum",
            native_id="1",
            title="Help",
            text=ASK,
            url="https://forum.example/1",
            published_at=at(-30),
            author=asker,
        ),
        mention("2", "no idea", parent_id="1", published_at=at(-2)),
    )
    heard(store, tagger=FakeTagger({f"Help\n{ASK}": ASKS}))
    save(store, find(store, config(), now=NOW), config(), now=NOW)
    (card,) = digest(store).join_now
    assert (card.title, card.stage, card.probability) == ("Help", "consideration", 0.9)
    assert (card.about, card.replies, card.age_hours) == (("espresso machine",), 1, 30)
    assert (card.moved, card.language) == (True, "en")
    assert (card.post.author, card.post.reach) == ("@ana", "micro")
    assert card.post.text == f"Help\n{ASK}"
    assert [reason.quote for reason in card.reasons if reason.code == "matched"] == [
        "espresso machine"
    ]
    assert not digest(store, hours=26).join_now[0].moved


# -- posts by signal


def test_signals_about_the_brand_surest_first(store: Store) -> None:
    said = {
        "Lumora good": Labels(signals={"praise": 0.6}, sentiment="pos"),
        "Brisa better": Labels(signals={"praise": 0.9}, sentiment="pos"),
        "Moketto good": Labels(signals={"praise": 0.99}, sentiment="pos"),
        "Lumora so so": Labels(signals={"praise": 0.99}, sentiment="neu"),
        "Lumora advert": Labels(signals={"praise": 0.99}, sentiment="pos", promo=0.5),
        "Lumora bad": Labels(signals={"complaint": 0.7}, sentiment="neg"),
        "Lumora idea": Labels(signals={"suggestion": 0.7}),
    }
    old = "Lumora long ago"
    heard(
        store,
        *(mention(text, text, published_at=at(-1)) for text in said),
        mention(old, old, published_at=at(-25)),
        tagger=FakeTagger({**said, old: Labels(signals={"praise": 0.99}, sentiment="pos")}),
    )
    message = digest(store)
    assert [group.post.text for group in message.praise] == ["Brisa better", "Lumora good"]
    assert [group.post.text for group in message.complaints] == ["Lumora bad"]
    assert [group.post.text for group in message.ideas] == ["Lumora idea"]
    assert message.unanswered == ()


def test_unanswered_questions(store: Store) -> None:
    asked = Labels(signals={"product_question": 0.8})
    heard(
        store,
        mention("1", "Does Lumora fit?", published_at=at(-3)),
        mention("2", "Is Lumora loud?", published_at=at(-3)),
        mention("3", "Has Lumora a lid?", published_at=at(-3)),
        mention("4", "yes", parent_id="1", published_at=at(-2)),
        mention("5", "no", root_id="3", published_at=at(-2)),
        mention("2", "Is Lumora loud?", source="other", parent_id="2", published_at=at(-30)),
        tagger=FakeTagger(
            dict.fromkeys(["Does Lumora fit?", "Is Lumora loud?", "Has Lumora a lid?"], asked)
        ),
    )
    assert [card.text for card in digest(store).unanswered] == ["Is Lumora loud?"]


def test_the_same_complaint_is_one_line(store: Store) -> None:
    said = [f"The tray of my {name} leaks {n}" for n, name in enumerate(["Lumora", "Brisa"] * 2)]
    bad = Labels(signals={"complaint": 0.9}, sentiment="neg")
    own = mention("own", "We hear the Lumora tray leaks", by="lumora", published_at=at(-1))
    heard(
        store,
        own,
        mention("app", "Lumora: the app crashes", published_at=at(-1)),
        *(mention(text, text, published_at=at(-1)) for text in said),
        tagger=FakeTagger(dict.fromkeys([*said, own.text, "Lumora: the app crashes"], bad)),
    )
    settings = RECIPIENTS + "[sources]\nexclude_authors = ['@lumora']\n"
    first, second = digest(store, settings=settings).complaints
    assert (first.posts, set(first.words)) == (4, {"tray", "leaks"})
    assert (second.posts, second.words) == (1, ())


def test_who_recommends_us(store: Store) -> None:
    well = Labels(signals={"recommendation_given": 0.9}, sentiment="neu")
    bad = Labels(signals={"recommendation_given": 0.9}, sentiment="neg")
    texts = {"Get a Lumora": well, "Avoid the Lumora": bad, "Get a Moketto": well}

    def says(name: str, text: str, followers: int | None, hours: float = -1) -> Mention:
        return Mention(
            source="forum",
            native_id=f"{name} {hours}",
            text=text,
            published_at=at(hours),
            author=Author(source="forum", native_id=name, handle=name, followers=followers),
            counts=Counts(likes=90),
        )

    heard(
        store,
        says("nano", "Get a Lumora", 2000),
        says("fan", "Get a Lumora", None),
        says("fan", "Get a Lumora", None, hours=-999),
        says("once", "Get a Lumora", 10),
        says("critic", "Avoid the Lumora", 2000),
        says("other", "Get a Moketto", 2000),
        tagger=FakeTagger(texts),
    )
    nano, fan = digest(store).advocates
    assert (nano.post.author, nano.posts, nano.rate) == ("nano", 1, 0.045)
    assert (fan.post.author, fan.posts, fan.rate) == ("fan", 2, None)


# -- what is unusual


def test_an_unusual_number_is_told_with_the_usual_one(store: Store) -> None:
    bad = Labels(sentiment="neg")
    posts = [
        mention(f"{week} {n}", "Lumora bad", published_at=at(-week * 24 * 7 - 1))
        for week, count in ((0, 12), (1, 2), (2, 1))
        for n in range(count)
    ]
    first = mention("first", "talk", published_at=at(-2 * 24 * 7 - 30))
    heard(store, first, *posts, tagger=FakeTagger({"Lumora bad": bad}))
    message = digest(store)
    told = {(one.what, one.name, one.count, one.usual) for one in message.changes}
    assert told == {("negative", "Lumora", 12, 1.5), ("mentions", "Lumora", 12, 1.5)}
    last = message.trend[-1]
    assert (last.day, last.negative, last.total) == (DAY, 12, 12)
    assert len(message.trend) == 14
    assert sum(one.total for one in message.trend) == 14


def test_what_was_published_before_is_late(store: Store) -> None:
    heard(store, mention("1", "Lumora", published_at=at(-30)), mention("2", "Lumora"))
    period = Period(since=at(-24), until=NOW, oldest=at(-99), live=False)
    message = digest_message(store, config(), DAY, period)
    assert (message.mentions, message.mentions_late) == (2, 1)


# -- nothing twice


def test_nothing_is_shown_twice_unless_it_moved(store: Store) -> None:
    heard(store, mention("1", ASK, by="ana", published_at=at(-2)))

    def made(day: date, to: str = "ana@example.com", hours: float = 0) -> DigestMessage:
        period = Period(since=at(hours - 24), until=at(hours), oldest=at(hours - 24), live=False)
        return digest_message(store, config(), day, period, recipient=to)

    def sent(message: DigestMessage) -> None:
        with store.write() as connection:
            record(connection, "ana@example.com", message.day, message.marks)

    first, tomorrow = made(DAY), DAY + timedelta(days=1)
    assert len(first.join_now) == 1
    assert made(tomorrow, hours=24).still_open == 0  # one that was not sent hides nothing
    sent(first)
    assert made(DAY) == first  # the same when it is sent again
    again = made(tomorrow, hours=24)
    assert (again.join_now, again.still_open, again.marks) == ((), 1, ())
    assert len(made(tomorrow, to="ben@example.com", hours=24).join_now) == 1
    preview = digest(store, hours=24)
    assert len(preview.join_now) == 1
    heard(store, mention("2", "no idea", by="ben", parent_id="1", published_at=at(20)))
    (card,) = made(tomorrow, hours=24).join_now
    assert card.moved
    assert [(move.code, move.n) for move in card.news] == [("others", 1)]
    assert (card.answered, card.answerers, card.options) == (1, ("@ben",), ())
    heard(store, mention("3", BUY, by="ana", parent_id="1", published_at=at(21)))
    assert made(tomorrow, hours=24).still_open == 0  # it is over


def test_a_late_record_does_not_undo_a_later_one(store: Store) -> None:
    mark = Mark(kind="author", ref=1, state={"posts": 2, "reach": None})
    newer = Mark(kind="author", ref=1, state={"posts": 5, "reach": None})
    later = DAY + timedelta(days=1)
    with store.write() as connection:
        record(connection, "ana@example.com", later, [newer])
        record(connection, "ana@example.com", DAY, [mark])
    assert seen(store, "ana@example.com", DAY + timedelta(days=2)) == {("author", 1): newer.state}
    assert seen(store, "ana@example.com", later) == {}
    with store.write() as connection:
        record(connection, "ana@example.com", DAY + timedelta(days=90), [])
    assert seen(store, "ana@example.com", DAY + timedelta(days=99)) == {}


def test_what_somebody_deals_with_is_not_to_join(store: Store) -> None:
    heard(
        store,
        mention("1", ASK, by="ana", published_at=at(-2)),
        mention("2", f"{ASK} Lumora", by="ben", published_at=at(-3)),
    )
    save(store, find(store, config(), now=NOW), config(), now=NOW)
    assert len(digest(store).join_now) == 2
    assert all(card.score for card in digest(store).join_now)
    with store.write() as connection:
        connection.execute("UPDATE alerts SET acknowledged_at = '2026-03-10T12:00:00Z'")
    assert digest(store).join_now == ()


# -- coverage


def test_coverage_names_what_failed(store: Store) -> None:
    good = FakeConnector([page(mention("1"), returned=9)])
    bad = FakeConnector([page(mention("2"))], error=Transient("no network"))
    odd = FakeConnector([page(mention("3"))], error=Transient("no network"))

    def run(hours: float, *connectors: tuple[str, FakeConnector]) -> None:
        sources = [Source(name=name, connector=one) for name, one in connectors]
        collect(store, sources, [], matcher(), now=at(hours))

    run(-24, ("good", good))
    run(-3, ("good", good), ("bad", bad), ("mended", odd))
    run(0, ("good", good), ("mended", good))
    coverage = {one.source: one for one in digest(store).coverage}
    figures = {name: (one.fetched, one.kept, one.new) for name, one in coverage.items()}
    assert figures == {"good": (18, 2, 0), "bad": (1, 1, 1), "mended": (10, 2, 1)}
    failed = {name: one.failed for name, one in coverage.items()}
    assert failed == {"good": None, "bad": "no network", "mended": None}


def test_coverage_tells_of_enabled_sources_what_they_did_not_hear(store: Store) -> None:
    settings = RECIPIENTS + (
        "[sources.sample]\nenabled = false\n[sources.hackernews]\nenabled = true\n"
        '[sources.rss]\nenabled = true\nfeeds = [{ url = "https://example.org/feed" }]\n'
    )
    for hours in (-4, -3, -2, -1, 0):
        error = Transient("no network") if hours > -3 else None
        sources = [
            Source(name="hackernews", connector=FakeConnector(error=error)),
            Source(name="rss", connector=FakeConnector()),
        ]
        collect(store, sources, [], matcher(), now=at(hours))
    message = digest(store, settings=settings)
    blind, whole = message.coverage
    assert (blind.source, blind.blind_minutes, blind.state) == ("hackernews", 180, "failed")
    assert (whole.source, whole.blind_minutes, whole.whole) == ("rss", 0, True)
    assert (
        "Listened to 1 of 2 sources without a gap.\n" in render_digest(message, language="en").text
    )
    assert "Sin escuchar 3\u00a0h (ha fallado: no network)" in (
        render_digest(message, language="es").text
    )


def test_a_run_counts_in_one_digest(store: Store) -> None:
    """The run that leads to a digest starts at the time at which that digest ends."""
    for hours in (-24, 0, 24):
        source = Source(name="forum", connector=FakeConnector([page(mention(f"{hours}"))]))
        collect(store, [source], [], matcher(), now=at(hours))
    assert [[one.new for one in digest(store, hours=h).coverage] for h in (0, 24)] == [[1], [1]]


# -- alerts


def test_an_alert_tells_its_conversation_in_order(store: Store) -> None:
    heard(
        store,
        mention("2", "no idea", by="ben", parent_id="1", published_at=at(-1)),
        mention("1", ASK, by="ana", published_at=at(-2)),
    )
    save(store, find(store, config(), now=NOW), config(), now=NOW)
    ref = str(store.value("SELECT id FROM alerts"))
    message = alert_message(store, ref, now=NOW)
    assert message is not None
    assert (message.id, message.rule) == (ref, "early-funnel")
    assert [(card.author, card.text) for card in message.timeline] == [
        ("@ana", ASK),
        ("@ben", "no idea"),
    ]
    assert (message.conversation.replies, message.conversation.age_hours) == (1, 2)
    assert message.score == sum(part.points for part in message.parts)
    assert message.outcome is None
    assert alert_message(store, "999", now=NOW) is None
    assert alert_message(store, "999", now=NOW, whole=True) is None


def test_a_closed_alert_can_be_looked_at_whole(store: Store) -> None:
    heard(
        store,
        mention("1", ASK, by="ana", published_at=at(-9)),
        *(mention(f"r{n}", "no idea", parent_id="1", published_at=at(-8)) for n in range(20)),
    )
    save(store, find(store, config(), now=NOW), config(), now=NOW)
    message = alert_message(store, "1", now=NOW)
    assert message is not None
    assert len(message.timeline) == 12
    heard(store, mention("2", BUY, by="ana", parent_id="1", published_at=at(-1)))
    assert alert_message(store, "1", now=NOW) is None
    whole = alert_message(store, "1", now=NOW, whole=True)
    assert whole is not None
    assert len(whole.timeline) == 22
    assert whole.outcome is not None
    assert whole.conversation.probability == 0.9
    assert {"request", "decision"} <= {event.kind for event in whole.events}


# -- hostile posts


def test_hostile_names_and_texts_stay_text(store: Store) -> None:
    hostile = "<script>alert(1)</script>\r\nBcc: all@example.com ☕ \u202e"
    ask = f"{ASK} {hostile}"
    put(
        store,
        Mention(
            source="forum",
            native_id="1",
            title=hostile,
            text=ask,
            url="javascript:alert(1)",
            published_at=at(-1),
            author=Author(source="forum", native_id="u", handle=hostile, name=hostile),
        ),
    )
    heard(store, tagger=FakeTagger({f"{hostile}\n{ask}": ASKS}))
    message = digest(store)
    assert len(message.join_now) == 1
    raw = compose(
        render_digest(message, language="en"),
        sender="listener@example.com",
        recipient="ana@example.com",
        message_id="<1@example.com>",
        date=NOW,
    ).as_bytes()
    parsed = message_from_bytes(raw, policy=policy.default)
    assert parsed["Bcc"] is None
    body = parsed.get_body(("html",))
    assert body is not None
    assert "<script" not in body.get_content()
    assert "javascript:" not in body.get_content()
    assert "&lt;script&gt;" in body.get_content()


# -- late posts


def test_a_post_counts_in_one_live_digest_however_late_it_came(store: Store) -> None:
    """Of -26 h and -2 h; the first came to be known only after the digest of its day."""
    put(store, mention("late", "Lumora", published_at=at(-26)), now=at(-23))
    put(store, mention("ancient", "Lumora", published_at=at(-24 * 30)), now=at(-23))
    put(store, mention("prompt", "Lumora", published_at=at(-2)), now=at(-1))
    put(store, mention("next", "Lumora", published_at=at(-1)), now=at(3))
    analyse(store, TAGGER)
    counts = []
    for end in (-24, 0, 24):
        since = at(end - 24)
        period = Period(since=since, until=at(end), oldest=since - timedelta(days=7), live=True)
        counts.append(digest_message(store, config(RECIPIENTS), DAY, period).mentions)
    assert counts == [0, 2, 1]


def test_alerts_over_the_limit_of_a_day_are_told_as_held_back(store: Store) -> None:
    heard(store, *(mention(f"{n}", ASK, published_at=at(-n / 10)) for n in range(1, 6)))
    settings = config(RECIPIENTS + "\n[alerts]\nmax_per_day = 2\n")
    assert save(store, find(store, settings, now=NOW), settings, now=NOW) == (5, 2)
    since = at(-24)
    period = Period(since=since, until=NOW, oldest=since, live=True)
    assert digest_message(store, settings, DAY, period).held_back == 3
    for recipient, held in (("ana@example.com", 3), ("cleo@example.com", 0)):
        message = digest_message(store, settings, DAY, period, recipient=recipient)
        assert message.held_back == held
    later = at(25)
    heard(store, mention("6", ASK, published_at=at(24.5)))
    # Of the new one and the three held back, the strongest two.
    assert save(store, find(store, settings, now=later), settings, now=later) == (1, 2)


# -- dates in the future


def test_a_date_in_the_future_counts_when_it_was_seen(store: Store) -> None:
    heard(store, mention("1", f"{ASK} Lumora", by="ana", published_at=at(24 * 365 * 70)))
    message = digest(store)
    assert message.mentions == 1
    assert [row["day"] for row in store.rows("SELECT day FROM share_of_voice")] == [str(DAY)]
    later = at(24 * 30)
    settings = config(RECIPIENTS)
    assert save(store, find(store, settings, now=later), settings, now=later) == (1, 0)
    assert texts(digest(store, hours=24 * 30)) == []
