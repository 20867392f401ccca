"""[nlp] and [nlp.heads.NAME]: how texts are tagged, and by which models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator
from pydantic import ValidationInfo as Info

from nlp.base import BINARY_HEADS, SENTIMENTS, STAGES

from .config_errors import refused
from .config_fields import FilePath, Flag, LanguageCode, Probability, Section, Text, Whole

HeadName = Literal["stage", "sentiment", "intent", "early", "promo"]
Experimental = Literal["pt", "fr", "it", "de"]
Runtime = Literal["auto", "onnxruntime", "openvino"]

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?\Z", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_LABELS: Mapping[str, tuple[str, ...]] = {
    "stage": STAGES,
    "sentiment": SENTIMENTS,
    **dict.fromkeys(BINARY_HEADS, ("0", "1")),
}


def _model(text: str, info: Info) -> str:
    """The id of a model on the hub as it stands, or the whole path of a folder."""
    beside = info.context["folder"] if info.context else Path()
    path = Path(text)
    if text.startswith((".", "~", "/")) or path.is_absolute() or (beside / path).is_dir():
        try:
            return str((beside / path.expanduser()).absolute())
        except RuntimeError:
            raise refused("begins with an unknown home folder", "write the whole path") from None
    if not _HUB_ID.match(text):
        raise refused(
            "is neither the id of a model on the hub nor a folder that is there",
            'write "owner/name", or a path that begins with ./ or /',
        )
    return text


class NlpHead(Section):
    """Another model for one head (NAME: stage, sentiment, intent, early or promo)."""

    model: Annotated[Text, AfterValidator(_model)] = Field(
        description="Id of a model on the Hugging Face hub, or a folder with its files."
    )
    revision: Text | None = Field(
        None, description="The commit that pins a model of the hub; a folder needs none."
    )
    labels: Annotated[
        Mapping[Text, Text], WithJsonSchema({"type": "object", "additionalProperties": True})
    ] = Field(
        {},
        description="The model's labels and what each means here, as "
        '`{ negative = "neg", LABEL_1 = "neu" }`; yes/no heads: `"0"` and `"1"`.',
    )
    languages: tuple[LanguageCode, ...] = Field(
        (), description="Languages it answers for, the shipped model for the rest; empty: all."
    )
    threshold: Probability = Field(
        0.5, description="Probability from which a yes/no head says yes."
    )

    @field_validator("revision")
    @classmethod
    def _pinned(cls, revision: str | None, info: Info) -> str | None:
        model = info.data.get("model")
        if model is None or Path(model).is_absolute() or _COMMIT.match(revision or ""):
            return revision
        fix = (
            'add revision = "..." with the full commit hash (40 hex digits) of the files you '
            "trust, from the model's page under Files, History"
        )
        if revision is None:
            raise refused("is missing: what lies behind a name on the hub can change", fix)
        raise refused("is not a full commit hash", fix.replace("add", "write"))

    @property
    def folder(self) -> Path | None:
        """The folder of the model, or None for one of the hub."""
        path = Path(self.model)
        return path if path.is_absolute() else None


class Nlp(Section):
    """How texts are tagged."""

    threads: Annotated[Whole, Field(ge=1, le=256)] = Field(
        2, description="Processor threads of the model."
    )
    batch_size: Annotated[Whole, Field(ge=1, le=1024)] = Field(
        16, description="Texts per run of the model."
    )
    model: FilePath | None = Field(
        None, description="Folder of another model; without one the shipped model is used."
    )
    first_stage: Flag = Field(
        False,
        description="Whether a small model skips posts that plainly concern no purchase, so that "
        "the large one reads fewer. Faster, and about 1 % of early posts are lost.",
    )
    runtime: Runtime = Field(
        "auto",
        description="What runs the model. `auto`: OpenVINO where it is installed (extra "
        "`openvino`), a short measurement finds it faster and its results are alike; else "
        "onnxruntime.",
    )
    own_heads: FilePath | None = Field(
        None,
        description="What `listener train` wrote; without it `own_heads.json` beside the database "
        "is used where there is one.",
    )
    experimental_languages: tuple[Experimental, ...] = Field(
        (),
        description="Languages besides English and Spanish that raise alerts. The model was not "
        "trained on them; posts in every other language raise none, and those in another alphabet "
        "get no tags.",
    )
    download: Flag = Field(
        False,
        description="Whether models of the hub may be downloaded; else only the cache is used.",
    )
    heads: Mapping[HeadName, NlpHead] = Field({}, description="Other models for single heads.")

    @field_validator("heads")
    @classmethod
    def _known_labels(cls, heads: Mapping[HeadName, NlpHead]) -> Mapping[HeadName, NlpHead]:
        for name, head in heads.items():
            known = _LABELS[name]
            wrong = [label for label in head.labels.values() if label not in known]
            if wrong:
                raise refused(
                    f"`{name}.labels`: `{wrong[0]}` is no label of {name}",
                    f"map each of the model's labels to one of: {', '.join(known)}",
                )
        return heads
