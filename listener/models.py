"""The models that tag, as the configuration says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nlp.base import LANGUAGES, ModelMissing
from nlp.encoder import MODEL_FOLDER, FunnelTagger
from nlp.first_stage import FILE as FIRST_STAGE
from nlp.first_stage import FirstStage, StagedTagger
from nlp.hub import Choice, HubHead
from nlp.own_heads import FILE, OwnHeads, OwnPredictor, load, opened
from nlp.replaced import EVERY, Head, ReplacedTagger, SharedEncoder

from .config import Config

NEVER = 2.0
"""A threshold that no probability reaches."""
_FILES = ("heads.json", "model.onnx", "tokenizer.json")


@dataclass(frozen=True)
class Models:
    """The shipped model, the heads of other models, and those fitted on the user's labels."""

    config: Config

    @cached_property
    def encoder(self) -> SharedEncoder:
        """The shipped model, or that of [nlp] model.

        Raises ModelMissing for a folder in [nlp] model that does not hold one.
        """
        chosen = self.config.nlp
        if chosen.model is not None:
            lacking = [name for name in _FILES if not (chosen.model / name).is_file()]
            if lacking:
                raise ModelMissing(
                    f"{chosen.model} lacks {', '.join(lacking)}: correct `[nlp] model`, "
                    "or remove that line to use the model that ships with Listener"
                )
        return SharedEncoder(
            chosen.model,
            threads=chosen.threads,
            batch_size=chosen.batch_size,
            runtime=chosen.runtime,
        )

    @cached_property
    def shipped(self) -> FunnelTagger:
        """The shipped model's heads, none replaced."""
        return FunnelTagger(self.encoder)

    @cached_property
    def tagger(self) -> FunnelTagger | ReplacedTagger | StagedTagger:
        """What tags posts: [nlp.heads] first, then own heads that won, then the shipped model.

        With a first stage own heads do not see what it skips; those of [nlp.heads] see every post.
        Raises ModelMissing, BadFirstStage and BadOwnHeads.
        """
        heads: dict[str, Head] = {}
        if self.own is not None:
            heads.update(opened(self.own, self.encoder))
        if self.config.nlp.first_stage:
            tagger = ReplacedTagger(self.shipped, heads) if heads else self.shipped
            staged = StagedTagger(tagger, self.first_stage)
            return ReplacedTagger(staged, self.configured) if self.configured else staged
        heads.update(self.configured)
        return ReplacedTagger(self.shipped, heads) if heads else self.shipped

    @property
    def first_stage(self) -> FirstStage:
        """The small model beside the encoder's files; raises ModelMissing and BadFirstStage."""
        folder = self.config.nlp.model or MODEL_FOLDER
        return FirstStage.load(folder / FIRST_STAGE, self.encoder.heads.version)

    @cached_property
    def configured(self) -> dict[str, HubHead]:
        """The heads of [nlp.heads]; their models load at the first text."""
        chosen = self.config.nlp
        return {
            name: HubHead(
                Choice(
                    head=name,
                    model=head.folder or head.model,
                    revision=head.revision or "",
                    labels=head.labels,
                    langs=frozenset(head.languages or {EVERY}),
                    threshold=head.threshold,
                    download=chosen.download,
                ),
                threads=chosen.threads,
                batch_size=chosen.batch_size,
            )
            for name, head in chosen.heads.items()
        }

    @property
    def own_file(self) -> Path:
        """Where heads fitted by `listener train` are looked for."""
        chosen = self.config.nlp.own_heads
        return chosen or self.config.database.path.with_name(FILE)

    @cached_property
    def own(self) -> OwnHeads | None:
        """The heads fitted on the user's labels, winners or not; None where there are none.

        Raises ModelMissing for a file that the configuration names and that is not there.
        """
        if self.config.nlp.own_heads is None and not self.own_file.exists():
            return None
        return load(self.own_file)

    @property
    def own_predictor(self) -> OwnPredictor | None:
        """All own heads alone, those that lost too, to be measured beside the others."""
        heads = opened(self.own, self.encoder, only_winners=False) if self.own else {}
        return OwnPredictor(heads) if heads else None

    @property
    def thresholds(self) -> dict[str, float]:
        """Probability of `early` from which a post counts, by language.

        `"*"` is for languages that are neither English nor Spanish nor switched on: their posts are
        tagged, and no probability is enough.
        """
        known = self.tagger.thresholds
        on = (*LANGUAGES, *self.config.nlp.experimental_languages)
        return {lang: known.get(lang, known[EVERY]) for lang in on} | {EVERY: NEVER}
