"""Posts per second of the matcher with 10, 50 and 1,000 terms, and time for one long text.

Run from the root of the project: `python -m benchmarks.matching`. Posts are generated (seeded).
"""

from __future__ import annotations

import random
from time import perf_counter

from nlp.matching import Matcher
from nlp.patterns import KINDS, Term

POSTS = 20_000
SYLLABLES = (
    "ca",
    "fe",
    "te",
    "ra",
    "lu",
    "mo",
    "ni",
    "so",
    "pra",
    "ble",
    "ción",
    "ing",
    "sta",
    "é",
)


def word(chance: random.Random) -> str:
    """An invented word."""
    return "".join(chance.choices(SYLLABLES, k=chance.randint(1, 4)))


def generate(names: list[str], chance: random.Random) -> list[str]:
    """Posts of 5 to 60 words; about one in three names a term, some carry a tag, handle or link."""
    ordinary = [word(chance) for _ in range(5_000)]
    extras = ("#Sorteo", "@alguien", "https://shop.example/a?b=1", "😍", "100€", "...")
    posts = []
    for _ in range(POSTS):
        words = chance.choices(ordinary, k=chance.randint(5, 60))
        if chance.random() < 0.35:
            words.insert(chance.randrange(len(words)), chance.choice(names))
        if chance.random() < 0.5:
            words.append(chance.choice(extras))
        posts.append(" ".join(words))
    return posts


def main() -> None:
    """Prints one line for each number of terms."""
    chance = random.Random(7)
    names = [f"{word(chance)} {word(chance)}{number}".title() for number in range(1_000)]
    terms = [Term(name, KINDS[at % len(KINDS)], name) for at, name in enumerate(names)]
    posts = generate(names[:10], chance)
    for count in (10, 50, 1_000):
        start = perf_counter()
        matcher = Matcher(terms[:count])
        built = perf_counter() - start
        matcher.match(posts[:100])
        start = perf_counter()
        spans = sum(map(len, matcher.match(posts)))
        took = perf_counter() - start
        text = (" ".join(posts))[:50_000]
        start = perf_counter()
        matcher.match([text])
        long = perf_counter() - start
        print(
            f"{count:5} terms: {POSTS / took:8,.0f} posts/s, {spans} spans, built in {built:.2f} s,"
            f" 50,000 characters in {long * 1000:.0f} ms"
        )


if __name__ == "__main__":
    main()
