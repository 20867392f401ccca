"""The models in what `listener check` shows: a row for each that the configuration asks for.

Each is loaded by itself, so that all that is wrong is told at once; `listener doctor` tries them
together on a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nlp.base import NlpError
from nlp.hub import HubHead

from .models import Models

Found = tuple[str, str]
"""Status and note."""


def model_rows(models: Models) -> list[dict[str, Any]]:
    """Rows of what, status ("ok", "warning", "failed") and note.

    The model itself, and where they are asked for the first stage, own heads and other heads.
    """
    rows = [_row("model", partial(_loads, models))]
    # The first stage and own heads belong to one model: without it they cannot be judged.
    if rows[0]["status"] == "ok":
        if models.config.nlp.first_stage:
            rows.append(_row("first stage", partial(_first_stage, models)))
        rows.append(_row("own heads", partial(_own, models)))
    rows += [
        _row(f"model for {name}", partial(_answers, head))
        for name, head in models.configured.items()
    ]
    return rows


def _row(what: str, look: Callable[[], Found]) -> dict[str, Any]:
    try:
        status, note = look()
    except NlpError as error:
        status, note = "failed", str(error)
    return {"what": what, "status": status, "note": note}


def _loads(models: Models) -> Found:
    models.shipped.tag([""], ["en"])
    return "ok", f"version {models.shipped.version}, {models.encoder.model.runtime}"


def _answers(head: HubHead) -> Found:
    """Without a text its model is only opened, and its labels are compared with those it needs."""
    head.probabilities([])
    return "ok", "loads, and its labels fit"


def _first_stage(models: Models) -> Found:
    return "ok", f"may skip posts in {', '.join(sorted(models.first_stage.cuts))}"


def _own(models: Models) -> Found:
    own = models.own
    if own is None:
        return "ok", "none; `listener train` fits some"
    if own.model != models.shipped.version:
        return "warning", (
            f"{models.own_file} belongs to another model and is not used: fit them again with "
            "`listener train --labels FILE`, or remove the file"
        )
    used = ", ".join(f"{head} ({', '.join(langs)})" for head, langs in own.winners().items())
    return "ok", f"used for {used}" if used else "none was better than the shipped ones"
