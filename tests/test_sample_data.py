"""The built-in sample: both files are whole, agree with each other and hold what they promise."""

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nlp.base import SENTIMENTS, SIGNALS, STAGES

DATA = Path(__file__).parents[1] / "connectors" / "data"
DAY = 1440.0
EXAMPLE_DOMAIN = re.compile(r"(?:^|\.)example(?:\.(?:com|org|net))?$")
SUBJECT = re.compile(
    r"lumora|brisa|forja|moketto|brewhaus|cafetera|superautom[aá]tica|c[aá]psulas|molinillo"
    r"|espresso|caf[eé] para la oficina|coffee (?:machine|grinder|setup)|bean to cup|capsule"
    r"|grinder|office coffee",
    re.IGNORECASE,
)

Row = dict[str, Any]


def read(name: str) -> list[Row]:
    with (DATA / name).open(encoding="utf-8", newline="\n") as lines:
        return [json.loads(line) for line in lines]


POSTS = read("sample.jsonl")
LABELS = {row["id"]: row for row in read("sample_labels.jsonl")}
BY_ID = {post["id"]: post for post in POSTS}
ROOTS = [post for post in POSTS if post["parent"] is None]
THREADS: dict[str, list[Row]] = defaultdict(list)
for _post in sorted(POSTS, key=lambda post: -post["minutes_before"]):
    THREADS[_post["root"] or _post["id"]].append(_post)


def visible(text: str) -> str:
    """`text` without format characters, as a reader sees it."""
    return "".join(c for c in text if unicodedata.category(c) != "Cf")


def still_open(thread: list[Row]) -> tuple[set[str], set[str]]:
    """Authors whose choice is open at the end of `thread`, and those who decided in it."""
    open_to, decided = set(), set()
    for post in thread:
        label, author = LABELS[post["id"]], post["author"]["handle"]
        if label["early"]:
            open_to.add(author)
            decided.discard(author)
        elif author in open_to and label["stage"] in ("decision", "post_purchase"):
            open_to.remove(author)
            decided.add(author)
    return open_to, decided


def test_posts_and_labels_pair_one_to_one() -> None:
    assert len({post["id"] for post in POSTS}) == len(POSTS)
    assert [post["id"] for post in POSTS] == list(LABELS)
    assert len(read("sample_labels.jsonl")) == len(POSTS)


def test_languages_are_equals() -> None:
    langs = Counter(post["lang"] for post in POSTS)
    assert len(POSTS) >= 300
    assert langs["es"] >= 145
    assert langs["en"] >= 145
    assert abs(langs["es"] - langs["en"]) <= 10
    assert set(langs) == {"es", "en", "ar", "he"}


def test_post_has_its_shape() -> None:
    for post in POSTS:
        check_shape(post)


def check_shape(post: Row) -> None:
    assert set(post) == {
        *("id", "source_hint", "minutes_before", "lang", "author", "title", "text"),
        *("parent", "root", "url", "likes", "replies", "shares"),
    }
    assert post["source_hint"] in {"x", "reddit", "forum", "youtube", "review"}
    assert isinstance(post["minutes_before"], float)
    assert 0 < post["minutes_before"] <= 14 * DAY
    assert set(post["author"]) == {"handle", "name", "followers"}
    assert post["author"]["handle"].strip()
    assert post["text"].strip()
    assert post["url"] == f"https://sample.example/p/{post['id']}"
    assert min(post["likes"], post["replies"], post["shares"], post["author"]["followers"]) >= 0
    assert post["replies"] == sum(other["parent"] == post["id"] for other in POSTS)


def test_reply_follows_its_parent_in_one_thread() -> None:
    for post in POSTS:
        if post["parent"] is None:
            continue
        parent = BY_ID[post["parent"]]
        assert parent["minutes_before"] > post["minutes_before"]
        assert post["root"] == (parent["root"] or parent["id"])
        assert BY_ID[post["root"]]["parent"] is None
        assert post["source_hint"] == parent["source_hint"]


def test_roots_have_no_root() -> None:
    assert all(post["root"] is None for post in ROOTS)


def test_label_follows_the_guidelines() -> None:
    for label in LABELS.values():
        check_label(label)


def check_label(label: Row) -> None:
    fields = {"id", "stage", "intent", "early", "signals", "sentiment", "promo"}
    is_root = BY_ID[label["id"]]["parent"] is None
    assert set(label) == fields | ({"conversation"} if is_root else set())
    assert label["stage"] in STAGES
    assert label["sentiment"] in SENTIMENTS
    assert all(label[head] in (0, 1) for head in ("intent", "early", "promo"))
    assert label["signals"] == [signal for signal in SIGNALS if signal in label["signals"]]
    if label["stage"] in ("consideration", "decision"):
        assert label["intent"] == 1
    if label["early"]:
        assert label["stage"] in ("awareness", "consideration")
        assert label["intent"] == 1
    if label["promo"]:
        assert (label["stage"], label["intent"], label["early"]) == ("none", 0, 0)


def test_conversation_labels_follow_from_post_labels() -> None:
    other_subjects = 0
    for root in ROOTS:
        conversation = LABELS[root["id"]]["conversation"]
        open_to, decided = still_open(THREADS[root["id"]])
        text = visible(" ".join(f"{p['title'] or ''} {p['text']}" for p in THREADS[root["id"]]))
        if conversation["early"]:
            assert SUBJECT.search(text), f"{root['id']} is early about nothing that we sell"
        if conversation == {"early": 0, "decided": 0} and open_to | decided:
            other_subjects += 1
            continue
        assert conversation == {"early": bool(open_to), "decided": bool(decided)}, root["id"]
    assert other_subjects == 2, "a pepper mill and a place to work in, both with our words"


def test_early_and_closed_conversations_in_both_languages() -> None:
    early, closed = Counter[str](), Counter[str]()
    for root in ROOTS:
        conversation = LABELS[root["id"]]["conversation"]
        early[root["lang"]] += conversation["early"]
        closed[root["lang"]] += conversation["decided"] and not conversation["early"]
    assert len(ROOTS) >= 60
    assert min(early["es"], early["en"]) >= 15
    assert min(closed["es"], closed["en"]) >= 4


def test_time_spread() -> None:
    minutes = [post["minutes_before"] for post in POSTS]
    assert {int(value // DAY) for value in minutes} == set(range(14))
    assert sum(value <= DAY for value in minutes) >= 40
    assert sum(value <= 3 * DAY for value in minutes) >= 0.4 * len(minutes)


@pytest.mark.parametrize("lang", ["es", "en"])
@pytest.mark.parametrize("day", [0, 1, 2])
def test_early_conversations_in_each_of_the_last_three_days(lang: str, day: int) -> None:
    found = 0
    for root in ROOTS:
        times = [p["minutes_before"] for p in THREADS[root["id"]] if LABELS[p["id"]]["early"]]
        if root["lang"] == lang and LABELS[root["id"]]["conversation"]["early"]:
            found += int(min(times) // DAY) == day
    assert found >= 3


@pytest.mark.parametrize("lang", ["es", "en"])
def test_every_kind_of_content_in_both_languages(lang: str) -> None:
    labels = [LABELS[post["id"]] for post in POSTS if post["lang"] == lang]
    stages = Counter(label["stage"] for label in labels)
    signals = Counter(signal for label in labels for signal in label["signals"])
    sentiments = Counter(label["sentiment"] for label in labels)
    assert {stage: stages[stage] for stage in STAGES if stages[stage] < 7} == {}
    assert {signal: signals[signal] for signal in SIGNALS if signals[signal] < 2} == {}
    assert {value: sentiments[value] for value in SENTIMENTS if sentiments[value] < 12} == {}
    assert sum(label["promo"] for label in labels) >= 6
    assert signals["recommendation_request"] >= 12
    assert signals["comparison"] >= 6


@pytest.mark.parametrize("lang", ["es", "en"])
def test_requests_without_a_brand(lang: str) -> None:
    brands = re.compile(r"lumora|brisa|forja|\buno\b|moketto|prima|brewhaus", re.IGNORECASE)
    requests = [
        post
        for post in ROOTS
        if post["lang"] == lang
        and LABELS[post["id"]]["conversation"]["early"]
        and LABELS[post["id"]]["early"]
        and not brands.search(f"{post['title'] or ''} {visible(post['text'])}")
    ]
    assert len(requests) >= 8


@pytest.mark.parametrize(
    "pattern",
    [
        r"djlumora",
        r"fiestas en Lumora",
        r"A\. Lumora",
        r"brisa de ",
        r"Moketto con ese collar",
        r"brewhaus in ",
        r"espresso macchiato song",
        r"hiring",
    ],
)
def test_words_of_ours_that_mean_something_else(pattern: str) -> None:
    posts = [p for p in POSTS if re.search(pattern, f"{p['author']['name']} {p['text']}")]
    assert posts
    assert all(LABELS[post["id"]]["stage"] in ("none", "post_purchase") for post in posts)
    assert not any(LABELS[post["root"] or post["id"]]["conversation"]["early"] for post in posts)


def test_threads_and_audiences() -> None:
    sizes = [len(thread) for thread in THREADS.values()]
    followers = [post["author"]["followers"] for post in POSTS]
    words = [len(post["text"].split()) for post in POSTS]
    assert max(sizes) == 9
    assert sum(size >= 2 for size in sizes) >= 70
    assert sum(300 <= count <= 5000 for count in followers) >= 60
    assert 3 <= len({p["author"]["handle"] for p in POSTS if p["author"]["followers"] > 20000}) < 20
    assert sum(count <= 3 for count in words) >= 5
    assert sum(150 <= count <= 250 for count in words) >= 2


def test_reposts() -> None:
    texts = Counter(post["text"] for post in POSTS)
    assert sum(count == 2 for count in texts.values()) == 2
    bags = [
        (post["id"], words)
        for post in POSTS
        if 10 <= len(words := set(re.findall(r"\w+", post["text"].lower()))) <= 60
    ]
    near = [
        (a, b)
        for i, (a, left) in enumerate(bags)
        for b, right in bags[i + 1 :]
        if len(left & right) / len(left | right) >= 0.6
    ]
    assert len(near) >= 4


MARKS = re.compile(r"[a-z]" + r"[\u0300-\u036f]" * 4)
HOSTILE: dict[str, Callable[[str], bool]] = {
    "script": lambda text: "<script" in text,
    "event handler": lambda text: "<img" in text and "onerror=" in text,
    "header": lambda text: "\r\nSubject:" in text and "\r\nBcc:" in text,
    "template": lambda text: "{{7*7}}" in text,
    "terminal escape": lambda text: "\x1b[" in text and "[/cosa]" in text,
    "formula": lambda text: text.startswith("=HYPERLINK"),
    "sql": lambda text: "DROP TABLE" in text,
    "20,000 characters": lambda text: (
        19_000 <= len(text) <= 21_000 and len(set(text.split())) > 200
    ),
    "emoji only": lambda text: (
        len(text) < 10 and all(unicodedata.category(c) == "So" for c in text)
    ),
    "200 emoji": lambda text: (
        len(text) == 200 and all(unicodedata.category(c) == "So" for c in text)
    ),
    "arabic": lambda text: "ARABIC" in unicodedata.name(text[0], ""),
    "hebrew": lambda text: "HEBREW" in unicodedata.name(text[0], ""),
    "bidi override": lambda text: "\u202e" in text,
    "zero width": lambda text: "\u200b" in text and "\ufeff" in text,
    "zalgo": lambda text: len(MARKS.findall(text)) > 20,
    "lone marks": lambda text: all(unicodedata.category(c)[0] in "MZ" for c in text),
    "long word": lambda text: max(map(len, text.split())) > 4000,
    "link only": lambda text: re.fullmatch(r"https://\S+", text) is not None,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_there(kind: str) -> None:
    assert any(HOSTILE[kind](post["text"]) for post in POSTS)


def test_hostile_titles_and_names() -> None:
    assert any("\r\n" in (post["title"] or "") for post in POSTS)
    assert any("<img" in post["author"]["name"] for post in POSTS)
    assert any("\r\nBcc:" in post["author"]["name"] for post in POSTS)


def test_some_hostile_posts_are_real_requests() -> None:
    hostile = [post for post in POSTS if "<script" in post["text"] or "\r\nBcc:" in post["text"]]
    assert hostile
    assert all(LABELS[post["id"]]["early"] for post in hostile)


def test_files_hold_no_raw_control_or_format_characters() -> None:
    for name in ("sample.jsonl", "sample_labels.jsonl"):
        text = (DATA / name).read_bytes().decode("utf-8")
        raw = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}} - {"\n"}
        assert raw == set()
        assert text.endswith("\n")


def test_addresses_are_examples() -> None:
    everything = "\n".join(
        f"{post['title'] or ''}\n{post['text']}\n{post['author']['name']}" for post in POSTS
    )
    domains = re.findall(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)+)", everything)
    hosts = re.findall(r"https?://([\w.-]+)", everything)
    assert domains
    assert hosts
    assert [d for d in domains + hosts if not EXAMPLE_DOMAIN.search(d)] == []
