import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from listener.config import parse
from listener.models import Models
from nlp.abstain import WHOLLY, share_read
from nlp.base import BINARY_HEADS, SENTIMENTS, STAGES, ModelMissing, Tag
from nlp.encoder import HEADS, MODEL_FOLDER, WIDTH, Encoder, FunnelTagger, columns, read_heads
from nlp.first_stage import FILE, LONGEST, BadFirstStage, FirstStage, StagedTagger, features, score
from nlp.reading import Span
from nlp.replaced import ReplacedTagger
from nlp.training.data import Row, read_labels, unmarked
from nlp.training.first_stage import distil, highest_cut, material, targets

SHARED = Path(__file__).parents[2] / "shared"
SHIPPED = MODEL_FOLDER / FILE
BRAND = '[brand]\nname = "Lumora"\n'
THINGS = {
    "en": ("kettle", "bike", "tent", "phone", "sofa", "lamp", "watch", "printer", "drill", "desk"),
    "es": ("tele", "bici", "mesa", "radio", "silla", "cama", "moto", "nevera", "tablet", "lámpara"),
}
ASKS = {
    "en": ("can anyone recommend a {}?", "which {} should I buy", "looking for a cheap {}"),
    "es": ("¿alguien me recomienda una {}?", "qué {} me compro", "busco una {} barata"),
}
CHATS = {
    "en": ("good morning dear {}, lovely sun", "my team lost, {} of shame", "happy birthday {}"),
    "es": ("buenos días querida {}, qué sol", "perdió mi equipo, {} de pena", "feliz cumple {}"),
}
EARLY = (1, 1, 0, *(0,) * 9)


def rows(which: dict[str, tuple[str, ...]], *, early: bool, things: slice) -> list[Row]:
    return [
        Row(
            id=text.format(thing),
            text=text.format(thing),
            lang=lang,
            source="written",
            stage=2 if early else 0,
            flags=EARLY if early else (0,) * 12,
            sentiment=1 if early else 2 if "l" in text[:9] else 0,
        )
        for lang, texts in which.items()
        for text in texts
        for thing in THINGS[lang][things]
    ]


LEARNED = [
    *rows(ASKS, early=True, things=slice(0, 7)),
    *rows(CHATS, early=False, things=slice(0, 7)),
]
NEW = [
    *rows(ASKS, early=True, things=slice(7, None)),
    *rows(CHATS, early=False, things=slice(7, None)),
]


class CountingFunnel(FunnelTagger):
    """The shipped model, which notes what it is given to read."""

    def __init__(self) -> None:
        super().__init__(Encoder())
        self.read: list[str] = []

    def probabilities(
        self, texts: Sequence[str], langs: Sequence[str]
    ) -> list[dict[str, dict[str, float]]]:
        self.read += texts
        return super().probabilities(texts, langs)

    def tag_targets(
        self, texts: Sequence[str], langs: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> list[tuple[Tag, ...]]:
        self.read += texts
        return super().tag_targets(texts, langs, spans)


def taught(given: Sequence[Row]) -> np.ndarray:
    """What a sure teacher makes of the rows, (n, 20)."""
    chances = np.full((len(given), WIDTH), 0.01, np.float32)
    for row, one in zip(given, chances, strict=True):
        one[columns("stage").start + row.stage] = 0.96
        one[columns("intent").start : columns("promo").start] = 0.99 if row.stage else 0.01
        one[columns("sentiment").start + row.sentiment] = 0.98
    return chances


@pytest.fixture(scope="module")
def tiny() -> FirstStage:
    # Repeated, so that there are steps enough to learn and early posts enough for a cut.
    version = read_heads(MODEL_FOLDER / "heads.json").version
    return distil(LEARNED * 60, taught(LEARNED * 60), LEARNED * 20, version)


@pytest.fixture
def funnel() -> CountingFunnel:
    return CountingFunnel()


def kept_apart(stage: FirstStage, given: Sequence[Row]) -> list[bool]:
    skipped, _ = stage.judge(
        [row.text for row in given], [row.lang for row in given], [()] * len(given)
    )
    return [bool(one) for one in skipped]


@pytest.mark.parametrize("lang", ["en", "es"])
def test_learns_what_asks_and_what_chats(tiny: FirstStage, lang: str) -> None:
    new = [row for row in NEW if row.lang == lang]
    asks = np.array([row.stage != 0 for row in new])
    chances = score(tiny.logits([row.text for row in new]))
    assert chances[asks].min() > chances[~asks].max()
    assert kept_apart(tiny, new) == (~asks).tolist()


def test_a_cut_keeps_its_promise() -> None:
    generator = np.random.default_rng(3)
    scores = generator.beta(5, 2, 2_000).astype(np.float32)
    cut = highest_cut(scores)
    missed = int((scores < cut).sum())
    assert cut > 0
    # 1 % of 2,000 would be 20: the bound leaves room for chance, and uses what there is.
    assert 5 <= missed <= 14


def test_nothing_is_skipped_where_early_posts_are_too_few_to_say() -> None:
    assert highest_cut(np.full(200, 0.9, np.float32)) == 0.0
    assert highest_cut(np.full(300, 0.9, np.float32)) > 0.4


def test_targets_are_what_concerns_a_purchase() -> None:
    chances = np.zeros((1, WIDTH), np.float32)
    chances[0, columns("stage").start] = 0.9
    chances[0, columns("early").start] = 0.2
    chances[0, columns("signal").start] = 0.7
    assert targets(chances)[0, :4].tolist() == pytest.approx([0.7, 0.2, 0.2, 0.0])


def test_batch_in_is_batch_out_in_the_same_order(tiny: FirstStage, funnel: CountingFunnel) -> None:
    mixed = random.Random(5).sample(NEW, len(NEW))
    texts, langs = [row.text for row in mixed], [row.lang for row in mixed]
    tagger = StagedTagger(funnel, tiny)
    found = tagger.probabilities(texts, langs)
    alone = [
        tagger.probabilities([text], [lang])[0] for text, lang in zip(texts, langs, strict=True)
    ]
    for one, other in zip(found, alone, strict=True):
        for head, chances in one.items():
            assert list(chances.values()) == pytest.approx(list(other[head].values()), abs=1e-5)
    asked = [row.text for row in mixed if row.stage]
    assert funnel.read[: len(asked)] == asked
    tags = tagger.tag(texts, langs)
    stages = [next(tag.label for tag in one if tag.kind == "stage") for one in tags]
    assert [stage for stage, row in zip(stages, mixed, strict=True) if not row.stage] == (
        ["none"] * sum(not row.stage for row in mixed)
    )


def test_skipped_posts_have_every_head(tiny: FirstStage, funnel: CountingFunnel) -> None:
    chats = [row for row in NEW if not row.stage]
    texts, langs = [row.text for row in chats], [row.lang for row in chats]
    tagger = StagedTagger(funnel, tiny)
    for row, tags in zip(tagger.probabilities(texts, langs), tagger.tag(texts, langs), strict=True):
        assert {head: tuple(chances) for head, chances in row.items()} == HEADS
        assert all(0 <= one <= 1 for chances in row.values() for one in chances.values())
        assert sum(row["stage"].values()) == pytest.approx(1, abs=1e-5)
        assert sum(row["sentiment"].values()) == pytest.approx(1, abs=1e-5)
        assert row["early"]["1"] <= row["intent"]["1"] < 0.5
        kinds = [tag.kind for tag in tags]
        assert kinds[:5] == ["stage", "sentiment", *BINARY_HEADS]
        assert tags[0].label == STAGES[0]
        assert tags[1].label in SENTIMENTS
    assert funnel.read == []


@pytest.mark.parametrize(
    ("text", "lang", "spans"),
    [
        ("happy birthday drill", "fr", ()),
        ("happy birthday drill", "und", ()),
        ("happy birthday Lumora", "en", ((15, 21),)),
        ("happy birthday drill " * 40, "en", ()),
        ("👍👍 !!", "en", ()),
        ("", "en", ()),
    ],
)
def test_protected_kinds_always_reach_the_encoder(
    tiny: FirstStage, funnel: CountingFunnel, text: str, lang: str, spans: tuple[Span, ...]
) -> None:
    everything = dataclasses.replace(tiny, cuts={"en": 1.1, "es": 1.1})
    tagger = StagedTagger(funnel, everything)
    plain = funnel.tag_targets([text], [lang], [spans])
    funnel.read.clear()
    assert tagger.tag_targets([text, "a kettle"], [lang, "en"], [spans, ()])[0] == plain[0]
    assert funnel.read == [text]
    assert len(text) > LONGEST or "drill drill" not in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "😀😍",
        "a" * 50_000,
        "h̸̡͝ȩ̵͌l̷̢̈́p̶̛͜",
        "\u202eשלום עולם مرحبا",
        "\ud83d",
        "\x00\x01",
        "¿?" * 99,
    ],
)
def test_hostile_texts_get_tags(tiny: FirstStage, funnel: CountingFunnel, text: str) -> None:
    everything = dataclasses.replace(tiny, cuts={"en": 1.1, "es": 1.1})
    for stage in (tiny, everything):
        (tags,) = StagedTagger(funnel, stage).tag([text], ["en"])
        if share_read(text) >= WHOLLY:
            assert {"stage", "intent", "early", "promo", "sentiment"} <= {tag.kind for tag in tags}
        assert all(0 <= tag.score <= 1 for tag in tags)


def test_nothing_in_nothing_out(tiny: FirstStage, funnel: CountingFunnel) -> None:
    tagger = StagedTagger(funnel, tiny)
    assert tagger.tag([], []) == []
    assert tagger.probabilities([], []) == []


def test_features_forget_handles_and_accents() -> None:
    one, other, third = features(["@maria ¿qué cámara?", "@jose ¿que camara?", "¿qué cámara!"])
    assert (one != other).nnz == 0
    assert (one != third).nnz > 0


def test_marks_of_files_are_taken_out() -> None:
    assert unmarked("_usr hola _emo mi_usr @maria _url") == "hola mi_usr @maria"
    assert unmarked("dos  líneas\nsin marcas") == "dos  líneas\nsin marcas"


def test_saved_and_read_again_it_is_the_same(tiny: FirstStage, tmp_path: Path) -> None:
    tiny.save(tmp_path / FILE)
    again = FirstStage.load(tmp_path / FILE, tiny.teacher)
    texts = [row.text for row in NEW]
    assert again.version == tiny.version
    assert again.cuts == tiny.cuts
    assert np.array_equal(again.logits(texts), tiny.logits(texts))


def test_a_missing_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"first_stage.npz.*python -m nlp.training.first_stage"):
        FirstStage.load(tmp_path / FILE, "1")


@pytest.mark.parametrize("damage", ["cut off", "empty", "text", "other arrays", "other shape"])
def test_a_damaged_file_says_how_to_mend_it(tiny: FirstStage, tmp_path: Path, damage: str) -> None:
    path = tmp_path / FILE
    tiny.save(path)
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:-400])
    elif damage == "other arrays":
        np.savez(path, weights=tiny.weights)
    elif damage == "other shape":
        dataclasses.replace(tiny, weights=tiny.weights[:9]).save(path)
    else:
        path.write_text("" if damage == "empty" else "no model")
    with pytest.raises(BadFirstStage, match=r"first_stage = false"):
        FirstStage.load(path, tiny.teacher)


def test_a_file_of_another_model_is_refused(tiny: FirstStage, tmp_path: Path) -> None:
    tiny.save(tmp_path / FILE)
    with pytest.raises(BadFirstStage, match=f"made for model {tiny.teacher}, not for 9.new"):
        FirstStage.load(tmp_path / FILE, "9.new")


def test_version_names_the_model_and_the_first_stage(
    tiny: FirstStage, funnel: CountingFunnel
) -> None:
    version = StagedTagger(funnel, tiny).version
    other = dataclasses.replace(tiny, cuts={"en": 0.2, "es": 0.1})
    assert version.startswith(funnel.version)
    assert len({version, funnel.version, StagedTagger(funnel, other).version}) == 3


def configured(tmp_path: Path, text: str) -> Models:
    return Models(parse(BRAND + f'[database]\npath = "{tmp_path}/a.db"\n' + text, file="a.toml"))


def test_off_by_default_and_on_by_configuration(tmp_path: Path) -> None:
    off = configured(tmp_path, "")
    on = configured(tmp_path, "[nlp]\nfirst_stage = true\n")
    assert type(off.tagger) is FunnelTagger
    assert type(on.tagger) is StagedTagger
    assert on.tagger.version != off.tagger.version
    assert on.tagger.thresholds == off.tagger.thresholds
    assert on.thresholds == off.thresholds


def test_heads_of_other_models_see_every_post(tmp_path: Path) -> None:
    (tmp_path / "tone").mkdir()
    models = configured(
        tmp_path,
        f'[nlp]\nfirst_stage = true\n[nlp.heads.sentiment]\nmodel = "{tmp_path}/tone"\n',
    )
    assert type(models.tagger) is ReplacedTagger


def test_a_model_of_ones_own_needs_a_first_stage_of_its_own(tmp_path: Path) -> None:
    heads = (MODEL_FOLDER / "heads.json").read_bytes()
    (tmp_path / "heads.json").write_bytes(heads)
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).touch()
    models = configured(tmp_path, f'[nlp]\nfirst_stage = true\nmodel = "{tmp_path}"\n')
    with pytest.raises(ModelMissing, match=r"first_stage\.npz is not in"):
        _ = models.tagger


def test_the_shipped_file_fits_the_shipped_model_and_is_small() -> None:
    stage = FirstStage.load(SHIPPED, read_heads(MODEL_FOLDER / "heads.json").version)
    assert SHIPPED.stat().st_size <= 1_500_000
    assert set(stage.cuts) == {"en", "es"}
    chats = [
        "the government announced new taxes today and nobody is happy about it",
        "we lost the match in the last minute and I cried all night",
        "he said that she knew and that they never told him about his father",
        "el presidente no dijo la verdad y la gente está en la calle",
        "mi mamá me gritó porque llegué tarde y ahora no me habla",
        "perdimos el partido en el último minuto, lloré toda la noche",
    ]
    asks = [
        "which phone should I buy?",
        "¿qué móvil me recomiendan?",
        "busco un portátil barato",
        "any recommendations for a quiet fan",
    ]
    assert stage.judge(chats, ["en"] * 3 + ["es"] * 3, [()] * 6)[0].any()
    assert stage.judge(asks, ["en", "es", "es", "en"], [()] * 4)[0].sum() == 0


@pytest.mark.shared
def test_nothing_of_dev_or_for_the_cut_is_learned_from() -> None:
    if not (SHARED / "data" / "raw").is_dir():
        pytest.skip("needs the shared data folder")
    cutting, learned, general = material(SHARED / "labels", SHARED / "data")
    dev = read_labels(SHARED / "labels" / "dev.jsonl")
    texts = {unmarked(row.text) for row in learned}
    assert texts.isdisjoint(unmarked(row.text) for row in (*cutting, *general, *dev))
    assert 2_000 < len(general) < 4_000
