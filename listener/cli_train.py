"""The command that fits a user's own heads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .session import Session, fail, form_options, say, shared_options

if TYPE_CHECKING:
    from nlp.own_heads import OwnHeads

    from .output import Form


@click.command()
@click.option(
    "--labels",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Your labelled posts (JSON Lines), as for `listener evaluate`.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for own_heads.json [that of the database, or [nlp] own_heads].",
)
@shared_options
@form_options
def train(session: Session, labels: Path, out: Path | None, form: Form) -> None:
    """Fit heads on your own labels; those that beat the shipped ones are used from then on.

    A head needs 60 posts in one language, 10 or more for each of its labels. Cross-validation
    decides per head and language; no post is stored.
    """
    from nlp.evaluation import read_labels
    from nlp.own_fit import fit, lacking
    from nlp.own_heads import FILE
    from nlp.replaced import REPLACEABLE

    from .output import emit

    models = session.parts.models
    found = read_labels(labels)
    for fault in found.faults:
        say(fault)
    taken = set(models.configured)
    for head in sorted(taken):
        say(f"{head}: left as it is, [nlp.heads.{head}] names another model for it.")
    wanted = [head for head in REPLACEABLE if head not in taken]
    own = fit(found.rows, models.encoder, wanted)
    for counts in lacking(found.rows, wanted):
        say(f"Too few labels: {counts}.")
    path = models.own_file if out is None else out / FILE
    try:
        own.save(path)
    except OSError as error:
        fail(f"{path} cannot be written ({error.strerror}): name another folder with --out")
    emit(_rows(own), form)
    used = ", ".join(f"{head} ({', '.join(langs)})" for head, langs in own.winners().items())
    say(f"Wrote {path}. " + (f"Better than shipped: {used}." if used else "No head is better."))
    if used and path.absolute() != models.own_file.absolute():
        say(f'To use it, set own_heads = "{path}" in [nlp].')


def _rows(own: OwnHeads) -> list[dict[str, Any]]:
    """One row for each head and language, with the figures of both and the verdict."""
    return [
        {
            "head": head,
            "lang": lang,
            "n": one.n,
            "positives": one.positives,
            "f1": round(one.own["f1"], 3),
            "shipped f1": round(one.shipped["f1"], 3),
            "avg. prec.": round(one.own["average_precision"], 3),
            "shipped avg. prec.": round(one.shipped["average_precision"], 3),
            "used": "yes" if one.better else "no",
        }
        for head, fitted in own.heads.items()
        for lang, one in fitted.compared.items()
    ]
