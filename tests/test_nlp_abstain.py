"""What becomes of texts in an alphabet that the shipped model does not know."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pytest
from builders import NOW, config, matcher, mention, put
from hypothesis import given
from hypothesis import strategies as st

from listener import analyse, conversations, rollup
from listener.examine import not_read
from listener.slots import enqueue_digest
from listener.store import Store
from nlp.abstain import ABSTAIN, WHOLLY, kept, share_read
from nlp.base import BINARY_HEADS, STAGES, Tag
from nlp.encoder import Encoder, FunnelTagger
from nlp.first_stage import FEATURES, OUTPUTS, FirstStage, StagedTagger
from nlp.replaced import EVERY, Head, ReplacedTagger

FOREIGN = {
    "ja": "どのスマホがおすすめですか?",
    "zh": "请问买哪个咖啡机比较好",
    "ru": "Посоветуйте кофемашину до двадцати тысяч, выбираю между двумя",
    "el": "Ποια καφετιέρα να αγοράσω;",
    "ar": "أي هاتف تنصحني أن أشتري؟",
    "he": "איזו מכונת קפה כדאי לקנות",
    "hi": "कौन सी कॉफी मशीन खरीदूं",
    "ko": "Lumora 커피머신 정말 좋아요 @lumora_official https://lumora.example/kr/shop?id=latin",
}
PLAIN = {
    "en": "Which espresso machine should I buy?",
    "es": "¿Qué cafetera me recomiendan? Dudo entre dos ñandúes y un pingüino",
    "vi": "tôi nên mua máy pha cà phê nào ạ",
    "decomposed": "que\u0301 cafetera me recomienda\u0301is",
    "zalgo": "q" + "\u0301\u0489\u035c" * 50 + "ue compro",
    "in fancy letters": "𝓠𝓾𝓮 𝓬𝓪𝓯𝓮𝓽𝓮𝓻𝓪 ｃｏｍｐｒｏ",
    "no letter": "😍😍 100 %",
    "empty": "",
    "a name in its own letters": "I finally got the new 小米 vacuum, it cleans the flat by itself",
    "surrogates": "qué \ud83d portátil",
}


@pytest.fixture(scope="module")
def tagger() -> FunnelTagger:
    return FunnelTagger(Encoder())


@pytest.mark.parametrize("name", PLAIN)
def test_latin_letters_of_any_kind_are_read(name: str) -> None:
    assert share_read(PLAIN[name]) >= WHOLLY


@pytest.mark.parametrize("lang", FOREIGN)
def test_other_letters_are_not_and_links_do_not_count(lang: str) -> None:
    assert share_read(FOREIGN[lang]) < ABSTAIN


def test_only_the_ends_of_a_long_text_count() -> None:
    assert share_read("a " * 1_000 + "日" * 50_000 + " b" * 500) == 1.0
    assert share_read("日" * 2_000 + "a" * 50_000 + "本" * 1_000) == 0.0


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=80))
def test_any_text_has_a_share(text: str) -> None:
    assert 0 <= share_read(text) <= 1


def test_below_the_stated_confidence_there_is_no_tag() -> None:
    tags = (
        Tag(kind="stage", label="none", score=0.9),
        Tag(kind="sentiment", label="neu", score=0.7),
        Tag(kind="early", label="1", score=0.05),
        Tag(kind="promo", label="1", score=0.4),
        Tag(kind="signal", label="praise", score=0.3),
        Tag(kind="sentiment_target", label="pos", score=0.75, start=0, end=2),
    )
    assert kept(tags, 1.0) == kept(tags, WHOLLY) == tags
    assert [(tag.kind, tag.label) for tag in kept(tags, 0.8)] == [
        ("stage", "none"),
        ("early", "1"),
        ("sentiment_target", "pos"),
    ]
    assert kept(tags, ABSTAIN - 0.01) == ()


@pytest.mark.parametrize("lang", FOREIGN)
def test_the_model_says_nothing_of_what_it_cannot_read(tagger: FunnelTagger, lang: str) -> None:
    text = FOREIGN[lang]
    assert tagger.tag([text], [lang]) == [()]
    assert tagger.tag_targets([text], ["und"], [[(0, 6)]]) == [()]
    (row,) = tagger.probabilities([text], [lang])  # which answers whatever it is asked
    assert set(row["stage"]) == set(STAGES)


def test_what_is_half_read_gets_what_is_sure(tagger: FunnelTagger) -> None:
    text = "Terrible machine, it broke after a day, I want a refund. " + "日本語で書きました" * 2
    assert ABSTAIN < share_read(text) < WHOLLY
    plain, half = tagger.tag([text.split("日", maxsplit=1)[0], text], ["en", "en"])
    assert {"stage", "sentiment", *BINARY_HEADS} <= {tag.kind for tag in plain}
    sure = {tag.kind for tag in half}
    assert "sentiment" in sure
    assert len(half) < len(plain)


@pytest.mark.parametrize("text", ["😡😡", "", "100 %"])
def test_a_text_without_a_letter_is_tagged(tagger: FunnelTagger, text: str) -> None:
    (tags,) = tagger.tag([text], ["und"])
    assert [tag.kind for tag in tags[:5]] == ["stage", "sentiment", *BINARY_HEADS]


def test_the_first_stage_does_not_judge_what_it_cannot_read(tagger: FunnelTagger) -> None:
    everything = FirstStage(
        weights=np.zeros((FEATURES, len(OUTPUTS)), np.int8),
        scale=np.ones(len(OUTPUTS), np.float32),
        bias=np.zeros(len(OUTPUTS), np.float32),
        cuts={"en": 1.1, "es": 1.1},
        usual=np.full(20, 0.1, np.float32),
        teacher="1",
    )
    staged = StagedTagger(tagger, everything)
    # Declared to be English by a platform.
    unread, read = staged.tag([FOREIGN["ja"], PLAIN["en"]], ["en", "en"])
    assert unread == ()
    assert read[0].kind == "stage"


class Sure:
    """A head of another model, or one on the shipped encoder, that is sure of everything."""

    version = "1"

    def __init__(self, label: str, *, latin: bool, langs: Collection[str] = (EVERY,)) -> None:
        self.label, self.latin, self.langs = label, latin, langs

    def probabilities(self, texts: Sequence[str]) -> list[dict[str, float]]:
        return [{self.label: 0.99} for _ in texts]

    def threshold(self, lang: str) -> float:
        return 0.5


def test_only_heads_that_read_other_alphabets_tag_them(tagger: FunnelTagger) -> None:
    heads: dict[str, Head] = {
        "intent": Sure("1", latin=True),
        "sentiment": Sure("pos", latin=False, langs=("ja", "en")),
    }
    replaced = ReplacedTagger(tagger, heads)
    japanese, russian, english = replaced.tag(
        [FOREIGN["ja"], FOREIGN["ru"], PLAIN["en"]], ["ja", "ru", "en"]
    )
    assert japanese == (Tag(kind="sentiment", label="pos", score=0.99),)
    assert russian == ()
    assert [tag.kind for tag in english[:5]] == ["stage", "sentiment", *BINARY_HEADS]
    assert (english[1].label, english[2].score) == ("pos", 0.99)


def test_a_head_that_abstains_takes_the_shipped_answer_away(tagger: FunnelTagger) -> None:
    class Unsure(Sure):
        def probabilities(self, texts: Sequence[str]) -> list[dict[str, float]]:
            return [{"neg": 0.4, "neu": 0.3, "pos": 0.3} for _ in texts]

    text = "Terrible machine, it broke after a day, I want a refund. " + "日本語で書きました" * 2
    assert "sentiment" in {tag.kind for tag in tagger.tag([text], ["en"])[0]}
    replaced = ReplacedTagger(tagger, {"sentiment": Unsure("neg", latin=True)})
    assert "sentiment" not in {tag.kind for tag in replaced.tag([text], ["en"])[0]}


def test_an_unread_post_is_a_mention_without_an_opinion(
    tmp_path: Path, tagger: FunnelTagger
) -> None:
    with Store(tmp_path / "posts.db") as store:
        put(store, mention("1", f"Lumora {FOREIGN['ja']}", by="ana"), mention("2", "Lumora 😍"))
        analyse.match(store, matcher(), "1")
        assert analyse.tag(store, tagger) == 2
        assert analyse.tag(store, tagger) == 0  # remembered, though there are no tags
        rules = conversations.Rules(thresholds={"*": 0.5})
        assert conversations.watch(store, rules, "1") == 2
        rollup.refresh(store, brand="Lumora")
        row, _ = store.rows("SELECT * FROM mentions_tagged ORDER BY native_id")
        heads = ("stage", "intent", "early", "promo", "sentiment", "signals")
        assert [row[head] for head in heads] == [None] * len(heads)
        assert row["about"] == "Lumora"
        rows = store.rows(
            "SELECT sum(mentions) AS mentions, sum(positive + neutral + negative) AS judged "
            "FROM daily_sentiment WHERE kind = 'brand'"
        )
        assert [tuple(one) for one in rows] == [(2, 1)]
        named = store.rows("SELECT sentiment FROM named_sentiment ORDER BY mention_id")
        assert [one["sentiment"] is None for one in named] == [True, False]
        assert [one["state"] for one in store.rows("SELECT state FROM conversations")] == (
            ["quiet"] * 2
        )
        assert enqueue_digest(store, config(), NOW.date(), now=NOW) == 2  # readers


def test_a_reader_is_told_what_the_model_cannot_read() -> None:
    assert not_read(1.0) == ""
    assert "cannot read this text: 0% of its letters" in not_read(share_read(FOREIGN["ja"]))
    assert "cannot read all of this text: 75% of its letters" in not_read(0.75)
    assert f"at least {ABSTAIN}" in not_read(0.75)
