"""`listener sources`: what each source gives, needs and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click import command

from .session import Session, form_options, shared_options

if TYPE_CHECKING:
    from .output import Form


@command()
@shared_options
@form_options
def sources(session: Session, form: Form) -> None:
    """Sources: what each gives, needs and costs, and which are enabled."""
    from .checks import source_rows
    from .output import emit

    emit(source_rows(session.config), form)
