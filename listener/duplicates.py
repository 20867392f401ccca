"""Near-duplicates: which post repeats which, found by MinHash bands in SQLite.

Two posts are copies when what they say is the same, or their character shingles overlap by at least
`THRESHOLD` (true Jaccard similarity, so that no estimate merges what differs). What changes when a
post is passed on does not count: "RT @x:", handles, links, "via ...", case, accents, punctuation,
and hashtags before and behind the text. One kind of shingle serves all lengths, since a post that a
single added word carries into another kind could no longer be compared.

Copies of copies belong to one group; its original is the earliest by time, source and id, whatever
the order in which posts arrive. Groups stay together when a post that linked two others goes.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from array import array
from collections.abc import Iterable, Sequence

from nlp.words import fold

from .steps import document
from .store import Store

THRESHOLD = 0.8
"""Jaccard similarity of shingles from which two posts are copies."""
FEWEST_WORDS = 6
"""Posts with fewer words are copies only of posts that say exactly the same."""

_SHINGLE = 5
_ROWS, _BANDS = 6, 16
_SEED = 20_260_310
_EXACT = -1  # the band of posts that say exactly the same
# Band entries read for one band of one post. Where more posts share a band they are one viral
# text in all its versions, and the earliest of them stand for the rest.
_MOST = 32
_MOST_CHARS = 20_000
_BATCH = 1000

_REPOST = re.compile(r"^\W*(?:rt|retweet|repost)\b[\s:]*(?:@[\w.-]+)?[\s:]*")
_NOISE = re.compile(r"(?:https?://|www\.)\S+|(?<![\w@])@[\w.-]+|&\w{1,8};")
_WORD = re.compile(r"\w+")


def said(text: str) -> tuple[str, ...]:
    """Words of what a post says, without what changes when it is passed on.

    A post of nothing but handles, links and hashtags says these.
    """
    folded = fold(text[:_MOST_CHARS])[0]
    plain = _NOISE.sub(" ", _REPOST.sub("", folded)).split()
    bare = _without_tags(_without_via(_without_tags(plain)))
    for words in (bare, plain, [folded]):
        found = _WORD.findall(" ".join(words))
        if found:
            return tuple(found)
    return ()


def _without_tags(words: list[str]) -> list[str]:
    """The words from the first to the last that is no hashtag and has a letter or digit."""
    kept = [at for at, word in enumerate(words) if word[0] != "#" and _WORD.search(word)]
    return words[kept[0] : kept[-1] + 1] if kept else []


def _without_via(words: list[str]) -> list[str]:
    """The words without a last "via", which may have the name of an app behind it."""
    for at in range(max(0, len(words) - 3), len(words)):
        if words[at].strip("(|-:") == "via":
            return words[:at]
    return words


def shingles(words: Sequence[str]) -> frozenset[str]:
    """Every run of five characters of the words, joined by spaces."""
    line = " ".join(words)
    return frozenset(line[at : at + _SHINGLE] for at in range(len(line) - _SHINGLE + 1))


def alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two posts are copies, given what they say."""
    if min(len(one), len(other)) < FEWEST_WORDS:
        return one == other
    left, right = shingles(one), shingles(other)
    if min(len(left), len(right)) < THRESHOLD * max(len(left), len(right)):
        return False
    common = len(left & right)
    return common >= THRESHOLD * (len(left) + len(right) - common)


def find(store: Store, mention_ids: Iterable[int]) -> int:
    """Note which of these mentions repeat others that were given before or now (table `copies`).

    Mentions that were given before and say the same are not read again; edited ones leave their
    group. Returns how many of them are copies. The work for one mention does not grow with the
    number of stored ones.
    """
    ids = sorted(set(mention_ids))
    with store.write() as connection:
        ids = sorted({*ids, *_outdated(connection)})
    for at in range(0, len(ids), _BATCH):
        with store.write() as connection:
            _add(connection, ids[at : at + _BATCH])
    return int(
        store.value(
            "SELECT count(*) FROM copies WHERE mention_id IN (SELECT value FROM json_each(?))",
            (json.dumps(ids),),
        )
    )


def forget(connection: sqlite3.Connection, mention_ids: Iterable[int]) -> None:
    """Take mentions out of their groups, before they are deleted or since their text has gone.

    What repeated one of them repeats the next earliest then. Runs inside the caller's transaction.
    """
    gone = json.dumps(sorted(set(mention_ids)))
    chosen = "(SELECT value FROM json_each(?))"
    connection.execute(f"DELETE FROM bands WHERE mention_id IN {chosen}", (gone,))
    connection.execute(f"DELETE FROM copies WHERE mention_id IN {chosen}", (gone,))
    heirs = connection.execute(
        "SELECT original_id, mention_id FROM (SELECT c.original_id, c.mention_id, "
        "row_number() OVER (PARTITION BY c.original_id "
        "ORDER BY m.at, m.source, m.native_id) AS place FROM copies c "
        f"JOIN mentions m ON m.id = c.mention_id WHERE c.original_id IN {chosen}) WHERE place = 1",
        (gone,),
    ).fetchall()
    connection.executemany(
        "DELETE FROM copies WHERE mention_id = ?", [(heir,) for _, heir in heirs]
    )
    connection.executemany(
        "UPDATE copies SET original_id = ? WHERE original_id = ?",
        [(heir, original) for original, heir in heirs],
    )


def _version() -> str:
    """Changes with what posts are taken to say and with the algorithm of the signatures."""
    from rensa import RMinHash

    return f"1-{RMinHash.ALGORITHM_VERSION}"


def _outdated(connection: sqlite3.Connection) -> list[int]:
    """Mentions whose signatures are of another version; these are dropped here."""
    key = "duplicates"
    row = connection.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
    version = _version()
    if row is not None and row[0] == version:
        return []
    connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, version))
    found = connection.execute("SELECT mention_id FROM bands WHERE band = ?", (_EXACT,)).fetchall()
    connection.execute("DELETE FROM bands")
    connection.execute("DELETE FROM copies")
    return [mention for (mention,) in found]


def _add(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    texts = _texts(connection, ids)
    before = dict(
        connection.execute(
            "SELECT mention_id, hash FROM bands WHERE band = ? "
            "AND mention_id IN (SELECT value FROM json_each(?))",
            (_EXACT, json.dumps(ids)),
        ).fetchall()
    )
    exact = {mention: _hash(" ".join(words).encode()) for mention, words in texts.items() if words}
    changed = [mention for mention, old in before.items() if exact.get(mention) != old]
    if changed:
        forget(connection, changed)
    new = [mention for mention, hashed in exact.items() if before.get(mention) != hashed]
    groups = _Groups(connection)
    bands = _bands([texts[mention] for mention in new])
    for mention, own in zip(new, bands, strict=True):
        groups.add(mention)
        keys = [(_EXACT, exact[mention]), *enumerate(own)]
        for band, hashed in keys:
            near = connection.execute(
                "SELECT mention_id FROM bands WHERE band = ? AND hash = ? LIMIT ?",
                (band, hashed, _MOST),
            ).fetchall()
            unread = [one for (one,) in near if one not in texts]
            if unread:
                texts.update(_texts(connection, unread))
            for (one,) in near:
                if not groups.together(mention, one) and alike(texts[mention], texts[one]):
                    groups.join(mention, one)
            if near and band == _EXACT:
                break  # its twin has been compared with all others
        connection.executemany(
            "INSERT INTO bands VALUES (?, ?, ?)", [(*key, mention) for key in keys]
        )
    groups.save()


def _texts(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    return {
        row["id"]: said(document(row["title"], row["text"]))
        for row in connection.execute(
            "SELECT id, title, text FROM mentions WHERE id IN (SELECT value FROM json_each(?)) "
            "ORDER BY id",
            (json.dumps(ids),),
        )
    }


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), signed=True)


def _bands(said_by: Sequence[Sequence[str]]) -> list[list[int]]:
    """Hashes of the MinHash bands of each post; none for one with too few words.

    With 16 bands of 6 rows, posts of similarity s share a band with probability 1 - (1 - s^6)^16:
    0.99 at 0.8, 0.22 at 0.5, 0.01 at 0.3.
    """
    from rensa import RMinHash

    long = [words for words in said_by if len(words) >= FEWEST_WORDS]
    digests = RMinHash.digests_from_token_sets(
        [list(shingles(words)) for words in long], num_perm=_BANDS * _ROWS, seed=_SEED
    )
    hashed = iter(
        [
            [_hash(array("I", one[at : at + _ROWS]).tobytes()) for at in range(0, len(one), _ROWS)]
            for one in digests
        ]
    )
    return [next(hashed) if len(words) >= FEWEST_WORDS else [] for words in said_by]


class _Groups:
    """Which mentions belong together, as stored and as found in this batch."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._above: dict[int, int] = {}

    def add(self, mention: int) -> None:
        """Begin a group of one."""
        self._above[mention] = mention

    def together(self, one: int, other: int) -> bool:
        """Whether both belong to one group."""
        return self._top(one) == self._top(other)

    def join(self, one: int, other: int) -> None:
        """Make their groups one."""
        self._above[self._top(other)] = self._top(one)

    def _top(self, mention: int) -> int:
        if mention not in self._above:
            row = self._connection.execute(
                "SELECT original_id FROM copies WHERE mention_id = ?", (mention,)
            ).fetchone()
            self._above[mention] = row[0] if row else mention
            self._above.setdefault(self._above[mention], self._above[mention])
        while (above := self._above[mention]) != mention:
            self._above[mention] = self._above[above]
            mention = above
        return mention

    def save(self) -> None:
        """Write each group with its earliest member as the original."""
        groups: dict[int, list[int]] = {}
        for mention in self._above:
            groups.setdefault(self._top(mention), []).append(mention)
        for members in groups.values():
            if len(members) > 1:
                self._save(members)

    def _save(self, members: list[int]) -> None:
        everyone = "SELECT value AS id FROM json_each(:members)"
        values = {"members": json.dumps(members)}
        (first,) = self._connection.execute(
            f"SELECT id FROM mentions WHERE id IN ({everyone} UNION SELECT original_id FROM copies "
            f"WHERE mention_id IN ({everyone})) ORDER BY at, source, native_id LIMIT 1",
            values,
        ).fetchone()
        self._connection.execute(
            "UPDATE copies SET original_id = :first WHERE original_id <> :first "
            f"AND original_id IN ({everyone})",
            values | {"first": first},
        )
        self._connection.execute("DELETE FROM copies WHERE mention_id = ?", (first,))
        self._connection.execute(
            f"INSERT OR REPLACE INTO copies SELECT id, :first FROM ({everyone}) WHERE id <> :first",
            values | {"first": first},
        )
