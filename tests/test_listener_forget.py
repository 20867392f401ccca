from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from builders import (
    ASKS,
    NOW,
    RECIPIENTS,
    FakeTagger,
    analyse,
    at,
    config,
    edit,
    mention,
    put,
    store_in,
)

from connectors.base import Author, Counts, Mention, Update
from listener import erase, forget
from listener.alerts import find, save
from listener.channels import OutboxFolder
from listener.deliver import deliver
from listener.erase import clean_index, clean_outbox
from listener.forget import Erased, ForgetError
from listener.slots import enqueue_digest
from listener.steps import Stopped
from listener.store import Store

ASK = "Which espresso machine is good?"
DAY = 24.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def silent(_: int) -> None:
    """Nobody looks on."""


def erased(store: Store, author: str, **more: Any) -> list[Erased]:
    return forget.forget(store, author, now=at(1), tick=silent, **more)


def rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in store.rows(sql)]


def texts(store: Store) -> dict[str, str]:
    return dict(rows(store, "SELECT native_id, text FROM mentions"))


def count(store: Store, table: str) -> int:
    return int(store.value(f"SELECT count(*) FROM {table}"))


def written(
    native_id: str, author: Author, text: str = "Which espresso machine?", **more: Any
) -> Mention:
    return Mention(
        source=author.source,
        native_id=native_id,
        text=text,
        published_at=NOW,
        author=author,
        **more,
    )


ANA = Author(source="forum", native_id="id-77", handle="@AnaPerez", name="Ana P")
BEN = Author(source="forum", native_id="id-88", handle="@ben")


# -- who is meant


@pytest.mark.parametrize("name", ["id-77", "AnaPerez", "@anaperez", " @ANAPEREZ "])
def test_an_author_is_known_by_id_and_by_handle(store: Store, name: str) -> None:
    put(store, written("1", ANA, "one"), written("2", ANA, "two"), written("3", BEN, "three"))
    assert erased(store, name) == [Erased(source="forum", posts=2)]
    assert texts(store) == {"1": "", "2": "", "3": "three"}
    assert rows(store, "SELECT native_id FROM authors") == [("id-88",)]
    assert rows(store, "SELECT native_id, reason FROM tombstones ORDER BY 1") == [
        ("1", "forgotten"),
        ("2", "forgotten"),
    ]


def test_an_id_goes_before_a_handle(store: Store) -> None:
    twin = Author(source="forum", native_id="id-99", handle="id-77")
    put(store, written("1", ANA, "one"), written("2", twin, "two"))
    erased(store, "id-77")
    assert texts(store) == {"1": "", "2": "two"}
    erased(store, "@id-77")
    assert texts(store) == {"1": "", "2": ""}


def test_a_name_of_two_sources_asks_for_one(store: Store) -> None:
    elsewhere = Author(source="other", native_id="o-1", handle="anaperez")
    put(store, written("1", ANA, "one"), written("2", elsewhere, "two"))
    with pytest.raises(ForgetError, match=r"forum, other.*--source"):
        erased(store, "@anaperez")
    assert count(store, "forgotten") == 0
    assert erased(store, "@anaperez", source="other") == [Erased(source="other", posts=1)]
    assert texts(store) == {"1": "one", "2": ""}
    put(store, written("3", elsewhere, "three"))
    found = erased(store, "@anaperez", all_sources=True)
    assert {one.source: one.posts for one in found} == {"*": 0, "forum": 1}
    assert texts(store) == {"1": "", "2": ""}


@pytest.mark.parametrize("name", ["", " ", "@", " @ "])
def test_nobody_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ForgetError, match="no name"):
        erased(store, name, all_sources=True)


# -- never again


def test_who_is_forgotten_is_never_stored_again(store: Store) -> None:
    put(store, written("1", ANA, "one"))
    erased(store, "@anaperez")
    renamed = Author(source="forum", native_id="id-77", handle="@other")
    copied = Author(source="forum", native_id="id-78", handle="anaPEREZ")
    nameless = Author(source="forum", native_id="AnaPerez")
    late = [written(str(n), one) for n, one in enumerate((ANA, renamed, copied, nameless), 2)]
    assert put(store, *late, written("1", ANA, "one"), written("9", BEN, "mine")) == 1
    assert texts(store) == {"1": "", "9": "mine"}
    assert count(store, "authors") == 1
    elsewhere = Author(source="other", native_id="id-77", handle="@anaperez")
    assert put(store, written("1", elsewhere)) == 1


def test_an_unknown_author_is_forgotten_in_advance(store: Store) -> None:
    with pytest.raises(ForgetError, match="no stored author"):
        erased(store, "anaperez")
    assert erased(store, "anaperez", source="forum") == [Erased(source="forum")]
    assert put(store, written("1", ANA)) == 0
    assert erased(store, "@ben", all_sources=True) == [Erased(source="*")]
    assert put(store, written("2", BEN), mention("3", by="ben", source="new")) == 0
    assert count(store, "authors") == 0


def test_the_list_names_nobody_and_has_a_key_of_its_own(tmp_path: Path) -> None:
    lists = []
    for name in ("one.db", "two.db"):
        with Store(tmp_path / name) as store:
            erased(store, "anaperez", source="forum")
            lists.append(rows(store, "SELECT source, hash FROM forgotten ORDER BY hash"))
    assert [source for source, _ in lists[0]] == ["forum", "forum"]
    assert all(len(mark) == 32 for _, mark in lists[0])
    assert not {mark for _, mark in lists[0]} & {mark for _, mark in lists[1]}


def test_passing_on_what_they_wrote_is_theirs_too(store: Store) -> None:
    put(
        store,
        written("1", ANA, "one"),
        written("2", BEN, "RT @AnaPerez: one"),
        written("3", BEN, "RT @AnaPerezOso: mine"),
        written("4", BEN, "@AnaPerez thanks"),
    )
    assert erased(store, "@anaperez") == [Erased(source="forum", posts=1, reposts=1)]
    assert texts(store) == {"1": "", "2": "", "3": "RT @AnaPerezOso: mine", "4": "@AnaPerez thanks"}
    assert put(store, written("5", BEN, "rt @anaperez: one"), written("6", BEN, "RT @an: x")) == 1


def test_records_of_others_that_name_them_are_dropped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forget, "_SCAN", 2)
    put(
        store,
        written("1", BEN, "a", raw={"quoted": {"author": {"username": "AnaPerez"}}}),
        written("2", BEN, "b", raw={"to": "id-77"}),
        written("3", BEN, "c", raw={"to": "id-777", "of": "anaperezoso"}),
        written("4", ANA, "d", raw={"by": "id-77"}),
    )
    assert erased(store, "id-77") == [Erased(source="forum", posts=1, records=2)]
    kept = rows(store, "SELECT native_id FROM mentions WHERE raw IS NOT NULL")
    assert kept == [("3",)]


# -- many, and a stop


def test_many_posts_go_in_bounded_transactions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forget, "_BATCH", 3)
    put(store, *(written(str(n), ANA, f"post {n}") for n in range(10)))
    ticks: list[int] = []

    def stop(done: int) -> None:
        ticks.append(done)
        if len(ticks) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        forget.forget(store, "id-77", now=at(1), tick=stop)
    assert ticks == [3, 3]
    assert sum(text == "" for text in texts(store).values()) == 6
    assert put(store, written("99", ANA)) == 0
    assert erased(store, "id-77") == [Erased(source="forum", posts=4)]
    assert count(store, "authors") == 0


# -- what the file holds


def everything(store: Store) -> bytes:
    """The bytes of the database and its write-ahead log."""
    paths = [store.path, store.path.with_name(store.path.name + "-wal")]
    return b"".join(path.read_bytes() for path in paths if path.exists())


def secret(number: int) -> str:
    """A word that no other post has, and that shares no beginning with another one."""
    return f"{pow(3, number + 7, 1_000_003):x}quetzal{number}end"


def test_no_byte_of_them_is_left_in_the_file(store: Store) -> None:
    number = 600
    for start in range(0, number, 50):
        posts = [
            written(
                str(n),
                Author(source="forum", native_id="zzid", handle="@zzhandle", name="zzname")
                if n % 3
                else Author(source="forum", native_id=f"u{n}", handle=f"@u{n}"),
                f"about {secret(n)} and the espresso machine " + "more words " * (n % 40),
                title=f"title {secret(n)}",
                url=f"https://forum.example/{secret(n)}",
                raw={"text": secret(n), "by": "zzid"} if n % 3 else {"text": secret(n)},
                parent_id=str(n - n % 9) if n % 9 else None,
                counts=Counts(likes=n),
            )
            for n in range(start, start + 50)
        ]
        put(store, *posts)
        put(store, updates=[edit(str(start + 1), f"edited {secret(start + 1)}")])
    analyse(store, FakeTagger())
    assert count(store, "revisions") == 12
    found = erased(store, "@zzhandle")
    assert found == [Erased(source="forum", posts=400)]
    analyse(store, FakeTagger())
    clean_index(store)
    data = everything(store).lower()
    for word in (b"zzid", b"zzhandle", b"zzname"):
        assert word not in data
    left = {int(one) for one in re.findall(rb"quetzal(\d+)end", data)}
    assert left == {n for n in range(number) if n % 3 == 0}
    assert store.rows("PRAGMA integrity_check")[0][0] == "ok"
    with store.write() as connection:
        connection.execute("INSERT INTO mentions_fts (mentions_fts) VALUES ('integrity-check')")


def test_an_index_without_erased_words_is_not_touched(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, mention("1"))
    before = rows(store, "SELECT id, block FROM mentions_fts_data")
    put(store, mention("2"))
    after = rows(store, "SELECT id, block FROM mentions_fts_data")
    assert before != after
    clean_index(store)
    assert rows(store, "SELECT id, block FROM mentions_fts_data") == after
    monkeypatch.setattr(erase, "_MERGE_PAGES", 1)
    put(store, updates=[Update(source="forum", native_id="1", kind="tombstone", at=NOW)])
    clean_index(store)
    clean_index(store)
    assert count(store, "state WHERE key = 'erased'") == 0
    assert rows(store, "SELECT rowid FROM mentions_fts WHERE mentions_fts MATCH 'espresso'") == [
        (2,)
    ]


# -- mails in the outbox folder


SETTINGS = config(RECIPIENTS)


def mailed(store: Store, folder: Path) -> list[str]:
    """Raises, mails and digests what the store holds; returns the files of the folder."""
    analyse(store, FakeTagger({ASK: ASKS}))
    save(store, find(store, SETTINGS, now=NOW), SETTINGS, now=NOW)
    enqueue_digest(store, SETTINGS, NOW.date(), now=NOW)
    deliver(store, SETTINGS, {"outbox": OutboxFolder(folder=folder)}, now=NOW)
    return names(folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def asked(native_id: str, by: Author, **more: Any) -> Mention:
    more.setdefault("url", f"https://forum.example/{native_id}?a=1&b=2")
    return written(native_id, by, more.pop("text", ASK), **more)


def test_mails_that_quote_them_go_from_the_folder(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    put(store, asked("1", ANA))
    assert len(mailed(store, folder)) == 8
    (folder / "notes.txt").write_text("mine")
    other = EmailMessage()
    other.set_content("See https://forum.example/another?a=1&b=2")
    (folder / "digest-2026-03-09-ana@example.com.eml").write_bytes(bytes(other))
    erased(store, "id-77")
    assert clean_outbox(store, folder) == 4
    assert names(folder) == ["digest-2026-03-09-ana@example.com.eml", "notes.txt"]
    assert count(store, "outbox_erasures") == 0


def test_mails_about_other_posts_stay(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    put(store, asked("1", BEN))
    before = mailed(store, folder)
    put(store, asked("2", ANA, text="Moketto is nice"), now=at(1))
    analyse(store, FakeTagger({ASK: ASKS}))
    erased(store, "id-77")
    assert clean_outbox(store, folder) == 0
    assert names(folder) == before


def test_an_answer_takes_the_mails_of_its_conversation_along(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    put(store, asked("1", BEN), asked("2", ANA, text="Take a Moketto", parent_id="1", url=None))
    assert mailed(store, folder)
    erased(store, "id-77")
    clean_outbox(store, folder)
    assert names(folder) == []
    assert count(store, "alerts") == 1


def test_words_of_an_answer_go_from_the_reasons_of_an_alert(store: Store) -> None:
    put(store, asked("1", BEN))
    analyse(store, FakeTagger({ASK: ASKS}))
    save(store, find(store, SETTINGS, now=NOW), SETTINGS, now=NOW)
    put(store, asked("2", ANA, text="Take a Moketto", parent_id="1"))
    analyse(store, FakeTagger({ASK: ASKS}))
    with store.write() as connection:
        connection.execute(
            "UPDATE alerts SET parts = ?",
            ('[{"code": "options", "quote": "a Moketto"}, {"code": "fit", "quote": "espresso"}]',),
        )
    erased(store, "id-77")
    ((parts,),) = rows(store, "SELECT parts FROM alerts")
    assert "Moketto" not in parts
    assert "espresso" in parts


def test_a_digest_that_may_quote_a_post_without_address_goes(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    put(store, asked("1", ANA, url=None))
    mailed(store, folder)
    letter = EmailMessage()
    letter.set_content("nothing")
    early = (NOW - timedelta(days=3)).date().isoformat()
    (folder / f"digest-{early}-a@example.com.eml").write_bytes(bytes(letter))
    erased(store, "id-77")
    clean_outbox(store, folder)
    assert names(folder) == [f"digest-{early}-a@example.com.eml"]
