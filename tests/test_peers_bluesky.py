"""Bluesky against its official development network, which `make test-peers` puts in place.

Jetstream is no part of that network. Its search takes one word as it is written, and no bounds of
time.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import config, store_in
from peers.accounts import PASSWORD, Person, erase, expired, indexed, join, take_down
from peers.running import Bluesky, bluesky, free_port, until

from connectors.base import (
    Budget,
    BudgetSpent,
    ConnectorError,
    Cursor,
    Mention,
    NeedsAuth,
    Page,
    Query,
    RetryAt,
    Transient,
    Update,
)
from connectors.bluesky import BlueskyNotifications, BlueskySearch
from connectors.bluesky_api import BlueskyApi
from listener.pipeline import Parts, gather, look_up
from listener.store import Store

pytestmark = pytest.mark.peer

FREE = Budget()


def now() -> datetime:
    """The network goes by the clock of the machine."""
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def network() -> Iterator[Bluesky]:
    with bluesky() as running:
        yield running


@pytest.fixture
def ana(network: Bluesky) -> Person:
    """The account that listens."""
    return join(network, "ana")


@pytest.fixture
def ben(network: Bluesky) -> Person:
    return join(network, "ben")


@pytest.fixture
def word(ana: Person) -> str:
    """A word that nobody has written yet."""
    return "cafetera" + ana.handle.partition(".")[0]


def api(person: Person, file: Path | None = None, password: str = PASSWORD) -> BlueskyApi:
    return BlueskyApi(
        person.handle,
        password,
        service=person.network.pds,
        session_file=file,
        wait=lambda _: None,
    )


def query(*words: str) -> Query:
    return Query(name="category", kind="category", any_of=words)


def pages(
    connector: BlueskySearch | BlueskyNotifications,
    word: str | None,
    cursor: Cursor | None = None,
    budget: Budget = FREE,
) -> list[Page]:
    """The pages up to the end, or until the budget is spent."""
    wanted = query(word) if word else None
    found = []
    with suppress(BudgetSpent):
        for page in connector.collect(wanted, cursor, budget=budget, now=now()):
            found.append(page)
    return found


def mentions(found: Iterable[Page]) -> dict[str, Mention]:
    return {one.native_id: one for page in found for one in page.mentions}


def updates(found: Iterable[Page]) -> dict[str, Update]:
    return {one.native_id: one for page in found for one in page.updates}


def shown(network: Bluesky, uri: str, **figures: int) -> None:
    """Wait until the AppView shows a post with these figures."""

    def look() -> bool:
        return any(figures.items() <= post.items() for post in indexed(network, [uri]))

    until(look, f"{uri} with {figures}")


def hidden(network: Bluesky, uri: str) -> None:
    """Wait until the AppView shows a post no more."""
    until(lambda: not indexed(network, [uri]), f"{uri} gone")


# -- search


def test_a_post_is_found_as_it_was_written(
    network: Bluesky, ana: Person, ben: Person, word: str
) -> None:
    text = f"¿Qué {word} compro? 🙋🏽‍♀️ mirad tienda.example/ofe…"
    start = text.encode().index(b"tienda")
    link = {"$type": "app.bsky.richtext.facet#link", "uri": "https://tienda.example/ofertas?a=1"}
    at = now() - timedelta(minutes=5)
    post = ben.post(
        text,
        at=at,
        langs=["es"],
        facets=[
            {
                "index": {"byteStart": start, "byteEnd": len(text.encode())},
                "features": [link],
            }
        ],
    )
    shown(network, post.uri)
    (found,) = mentions(pages(BlueskySearch(api(ana)), word)).values()
    assert found.native_id == post.uri
    assert found.text == f"¿Qué {word} compro? 🙋🏽‍♀️ mirad https://tienda.example/ofertas?a=1"
    assert found.published_at == at.replace(microsecond=at.microsecond // 1000 * 1000)
    assert found.author is not None
    assert (found.author.native_id, found.author.handle) == (ben.did, ben.handle)
    assert (found.lang, found.counts.likes, found.counts.replies) == ("es", 0, 0)
    assert (found.parent_id, found.root_id) == (None, None)


def test_the_next_round_brings_what_is_new(network: Bluesky, ana: Person, word: str) -> None:
    search = BlueskySearch(api(ana), overlap=timedelta(0))
    old = ana.post(f"{word} uno", at=now() - timedelta(hours=2))
    first = ana.post(f"{word} dos", at=now() - timedelta(hours=1))
    shown(network, first.uri)
    found = pages(search, word)
    assert set(mentions(found)) == {old.uri, first.uri}
    second = ana.post(f"{word} tres")
    shown(network, second.uri)
    again = pages(search, word, found[-1].cursor)
    # The last one is given again with the new one; the page also holds older ones, as this search
    # knows no bounds.
    assert second.uri in mentions(again)
    assert again[-1].more is False


def test_nothing_is_lost_between_pages(network: Bluesky, ana: Person, word: str) -> None:
    # A third of the posts have the same time as others, across the ends of pages.
    start = now() - timedelta(hours=3)
    uris = ana.posts({f"{word} {n}": start + timedelta(seconds=n - n % 3) for n in range(130)})
    shown(network, uris[-1])
    found = pages(BlueskySearch(api(ana)), word)
    assert set(mentions(found)) == set(uris)
    assert sum(len(page.mentions) for page in found) == 130
    assert [page.returned for page in found[:2]] == [100, 30]


def test_a_small_budget_goes_on_where_it_ended(network: Bluesky, ana: Person, word: str) -> None:
    start = now() - timedelta(hours=3)
    uris = ana.posts({f"{word} {n}": start + timedelta(seconds=n) for n in range(25)})
    shown(network, uris[-1])
    search = BlueskySearch(api(ana))
    cursor, found = None, dict[str, Mention]()
    for _ in range(3):
        some = pages(search, word, cursor, Budget(mentions=10))
        assert sum(page.returned for page in some) <= 10
        # As it is stored, between two runs.
        cursor = json.loads(json.dumps(some[-1].cursor))
        found |= mentions(some)
    assert set(found) == set(uris)


def test_a_word_that_nobody_wrote_gives_an_empty_page(ana: Person, word: str) -> None:
    (page,) = pages(BlueskySearch(api(ana)), word)
    assert (page.mentions, page.returned, page.more) == ((), 0, False)


# -- notifications


def test_mentions_answers_and_quotes_arrive_and_nothing_else(
    network: Bluesky, ana: Person, ben: Person
) -> None:
    own = ana.post("Probando")
    name = f"@{ana.handle}"
    called = ben.post(
        f"{name} ¿funciona?",
        facets=[
            {
                "index": {"byteStart": 0, "byteEnd": len(name)},
                "features": [{"$type": "app.bsky.richtext.facet#mention", "did": ana.did}],
            }
        ],
    )
    answer = ben.post("¿Hace mucho ruido?", answers=(own, own))
    quote = ben.post("Mirad esto", quotes=own)
    ben.like(own)
    ben.repost(own)
    shown(network, own.uri, replyCount=1, quoteCount=1, likeCount=1, repostCount=1)
    shown(network, called.uri)
    listed = BlueskyNotifications(api(ana))
    found = mentions(pages(listed, None))
    assert set(found) == {called.uri, answer.uri, quote.uri}
    assert (found[answer.uri].parent_id, found[answer.uri].root_id) == (own.uri, own.uri)
    assert (found[quote.uri].raw or {})["quoted"]["id"] == own.uri


def test_new_notifications_follow_the_cursor(network: Bluesky, ana: Person, ben: Person) -> None:
    own = ana.post("Probando")
    first = ben.post("Uno", answers=(own, own))
    shown(network, first.uri)
    listed = BlueskyNotifications(api(ana), overlap=timedelta(0))
    before = pages(listed, None)
    second = ben.post("Dos", answers=(own, own))
    shown(network, second.uri)
    after = mentions(pages(listed, None, before[-1].cursor))
    assert second.uri in after

    def unread() -> int:
        found = api(ana).query("app.bsky.notification.getUnreadCount", {}, now=now())
        return int(found["count"])

    # Nothing was marked as read meanwhile; the network counts a little later than it lists.
    until(lambda: unread() == 2, "both notifications unread")


# -- conversations


def test_a_conversation_is_read_whole(network: Bluesky, ana: Person, ben: Person) -> None:
    root = ben.post("¿Cuál compro?")
    one = ana.post("La verde", answers=(root, root))
    deep = [one]
    for n in range(12):
        deep.append(ben.post(f"¿Seguro? {n}", answers=(root, deep[-1])))
    gone = ana.post("Borrado", answers=(root, root))
    below = ben.post("Debajo de lo borrado", answers=(root, gone))
    for post in (deep[-1], below):
        shown(network, post.uri)
    ana.delete(gone)
    hidden(network, gone.uri)
    found = list(BlueskySearch(api(ana)).thread([root.uri], budget=FREE, now=now()))
    posts = mentions(found)
    assert {root.uri, *(post.uri for post in deep)} <= set(posts)
    assert gone.uri not in posts
    assert {one.root_id for one in posts.values()} == {None, root.uri}
    assert posts[deep[5].uri].parent_id == deep[4].uri


def test_a_conversation_whose_first_post_is_gone_is_a_warning(
    network: Bluesky, ana: Person, ben: Person
) -> None:
    root = ben.post("¿Cuál?")
    shown(network, root.uri)
    ben.delete(root)
    hidden(network, root.uri)
    (page,) = BlueskySearch(api(ana)).thread([root.uri], budget=FREE, now=now())
    assert page.mentions == ()
    assert any("not there" in warning for warning in page.warnings)


# -- figures and removals


def test_figures_after_likes(network: Bluesky, ana: Person, ben: Person) -> None:
    post = ben.post("¿Cuál?")
    for person in (ana, ben):
        person.like(post)
    ana.repost(post)
    ana.post("Mirad", quotes=post)
    ana.post("Esta", answers=(post, post))
    shown(network, post.uri, likeCount=2, repostCount=1, quoteCount=1, replyCount=1)
    found = updates(BlueskySearch(api(ana)).refresh([post.uri], budget=FREE, now=now()))
    counts = found[post.uri].counts
    assert found[post.uri].kind == "metrics"
    assert (counts.likes, counts.replies, counts.shares) == (2, 1, 2)


def test_thirty_posts_take_two_requests(network: Bluesky, ana: Person, word: str) -> None:
    uris = ana.posts({f"{word} {n}": now() for n in range(30)})
    shown(network, uris[-1])
    door = api(ana)
    search = BlueskySearch(door)
    search.check(now=now())
    before = door.requests
    found = updates(search.refresh(uris, budget=FREE, now=now()))
    assert set(found) == set(uris)
    assert door.requests - before == 2


def test_a_deleted_post_becomes_a_tombstone(network: Bluesky, ana: Person, ben: Person) -> None:
    kept, gone = ben.post("¿Cuál?"), ben.post("Me arrepiento")
    shown(network, gone.uri)
    ben.delete(gone)
    hidden(network, gone.uri)
    ids = [kept.uri, gone.uri]
    found = updates(BlueskySearch(api(ana)).refresh(ids, budget=FREE, now=now()))
    assert {uri: one.kind for uri, one in found.items()} == {
        kept.uri: "metrics",
        gone.uri: "tombstone",
    }
    assert found[gone.uri].reason == "deleted at the source"


def deactivate(person: Person) -> None:
    person.call("com.atproto.server.deactivateAccount", {})


@pytest.mark.parametrize("leave", [deactivate, take_down, erase])
def test_posts_of_an_account_that_left_become_tombstones(
    network: Bluesky, ana: Person, ben: Person, leave: Callable[[Person], None]
) -> None:
    post = ben.post("Adiós")
    shown(network, post.uri)
    leave(ben)
    hidden(network, post.uri)
    found = updates(BlueskySearch(api(ana)).refresh([post.uri], budget=FREE, now=now()))
    assert found[post.uri].kind == "tombstone"
    # The network has one answer for all three: they may come back.
    assert found[post.uri].reason == "no longer public"


def test_a_block_is_not_taken_for_a_deletion(network: Bluesky, ana: Person, ben: Person) -> None:
    post = ben.post("Solo para algunos")
    shown(network, post.uri)
    ben.block(ana)
    search = BlueskySearch(api(ana))

    def look() -> list[Page]:
        found = list(search.refresh([post.uri], budget=FREE, now=now()))
        return found if any("kept" in text for page in found for text in page.warnings) else []

    (page,) = until(look, "the block in the AppView")
    assert page.updates == ()


# -- the whole product


def test_what_is_deleted_there_is_erased_here(
    network: Bluesky, ana: Person, ben: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The other tests name nothing of the vocabulary, as all of them write into one network.
    asked = ben.post("¿La Brisa de Lumora hace buen café? 300 €")
    kept = ben.post("Estoy entre Lumora y otra", answers=(asked, asked))
    other = ben.post("Nada de cafeterasinmarca")
    shown(network, other.uri)
    monkeypatch.setenv("PEER_PASSWORD", PASSWORD)
    chosen = config(f"""
[sources.bluesky]
enabled = true
identifier = "{ana.handle}"
app_password = {{ env = "PEER_PASSWORD" }}
service = "{network.pds}"
session_file = "{tmp_path / "session.json"}"
""")
    for store in store_in(tmp_path):
        results = gather(store, Parts(chosen), now=now())
        assert {one.status for one in results} == {"ok"}

        def texts(store: Store = store) -> dict[str, str]:
            rows = store.rows("SELECT native_id, text FROM mentions")
            return {row["native_id"]: row["text"] for row in rows}

        # The search gave the third one too, but it names nothing of ours.
        assert set(texts()) == {asked.uri, kept.uri}
        ben.delete(asked)
        hidden(network, asked.uri)
        (swept,) = look_up(store, chosen, everything=True, now=now())
        assert (swept.status, swept.looked_up, swept.removed) == ("ok", 2, 1)
        assert texts() == {asked.uri: "", kept.uri: "Estoy entre Lumora y otra"}
        assert store.value("SELECT count(*) FROM authors WHERE handle = ?", (ben.handle,)) == 1


# -- sessions


def aged(network: Bluesky, file: Path) -> dict[str, Any]:
    """Let the access token in the session file expire; what was there before."""
    kept: dict[str, Any] = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"access": expired(kept["access"], network.secret)}))
    return kept


def test_a_session_outlives_the_process(ana: Person, tmp_path: Path) -> None:
    file = tmp_path / "session.json"
    BlueskySearch(api(ana, file)).check(now=now())
    assert file.stat().st_mode & 0o777 == 0o600
    door = api(ana, file, "not the password")
    BlueskySearch(door).check(now=now())
    assert door.requests == 1


def test_an_expired_token_is_renewed_once(network: Bluesky, ana: Person, tmp_path: Path) -> None:
    file = tmp_path / "session.json"
    BlueskySearch(api(ana, file)).check(now=now())
    before = aged(network, file)
    spent = json.loads(file.read_text())["access"]
    # With a wrong password: it does not log in.
    door = api(ana, file, "not the password")
    BlueskySearch(door).check(now=now())
    # The refused question, the renewal, the question again.
    assert door.requests == 3
    after = json.loads(file.read_text())
    assert after["access"] != spent
    assert after["refresh"] != before["refresh"]
    assert after["did"] == ana.did


def test_two_processes_renew_one_session(network: Bluesky, ana: Person, tmp_path: Path) -> None:
    file = tmp_path / "session.json"
    BlueskySearch(api(ana, file)).check(now=now())
    aged(network, file)
    doors = [api(ana, file, "not the password") for _ in range(4)]
    told: list[str] = []
    threads = [
        threading.Thread(target=lambda door=door: told.append(BlueskySearch(door).check(now=now())))
        for door in doors
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(told) == 4
    # Each asks at most twice, and one of them renews.
    assert sum(door.requests for door in doors) <= 9


def test_a_session_that_was_ended_is_begun_anew(
    network: Bluesky, ana: Person, tmp_path: Path
) -> None:
    file = tmp_path / "session.json"
    BlueskySearch(api(ana, file)).check(now=now())
    before = aged(network, file)
    ana.call("com.atproto.server.deleteSession", token=before["refresh"])
    door = api(ana, file)
    BlueskySearch(door).check(now=now())
    # The question, the renewal that is refused, the login, the question again.
    assert door.requests == 4
    aged(network, file)
    ended = json.loads(file.read_text())
    ana.call("com.atproto.server.deleteSession", token=ended["refresh"])
    with pytest.raises(NeedsAuth, match="refuses the login"):
        BlueskySearch(api(ana, file, "not the password")).check(now=now())


def test_a_wrong_password_needs_the_user(ana: Person) -> None:
    with pytest.raises(NeedsAuth, match="app_password") as raised:
        BlueskySearch(api(ana, password="not the password")).check(now=now())
    assert "not the password" not in str(raised.value)
    with pytest.raises(NeedsAuth):
        BlueskySearch(api(replace(ana, handle="nobody.test"))).check(now=now())


def test_an_app_password_reads_and_can_be_taken_back(
    network: Bluesky, ana: Person, word: str, tmp_path: Path
) -> None:
    post = ana.post(f"{word} hoy")
    shown(network, post.uri)
    password, file = ana.app_password(), tmp_path / "session.json"
    assert set(mentions(pages(BlueskySearch(api(ana, file, password)), word))) == {post.uri}
    assert pages(BlueskyNotifications(api(ana, file, password)), None)
    ana.call("com.atproto.server.revokeAppPassword", {"name": "peer"})
    aged(network, file)
    with pytest.raises(NeedsAuth, match="app_password"):
        pages(BlueskySearch(api(ana, file, password)), word)


def test_an_account_that_was_taken_down_is_named_as_such(ana: Person) -> None:
    take_down(ana)
    with pytest.raises(NeedsAuth, match="taken down"):
        BlueskySearch(api(ana)).check(now=now())


def test_too_many_logins_are_told_when_to_come_back(ana: Person) -> None:
    error: ConnectorError | None = None
    for _ in range(31):
        try:
            BlueskySearch(api(ana, password="x")).check(now=now())
        except ConnectorError as raised:
            error = raised
    assert isinstance(error, RetryAt)
    # The network allows 30 in five minutes and says when these are over.
    assert now() < error.when <= now() + timedelta(minutes=5, seconds=1)


def test_a_network_that_is_down_is_a_passing_fault(ana: Person) -> None:
    away = replace(ana, network=replace(ana.network, pds=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(Transient, match="cannot be reached"):
        BlueskySearch(api(away)).check(now=now())
