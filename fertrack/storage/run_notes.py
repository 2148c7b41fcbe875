"""Sentences that a run's user must see and that are known only once its rows are complete."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from fertrack.storage.engine import Database
from fertrack.storage.models import Run

__all__ = ["add_notes"]


def add_notes(db: Database, run: int, notes: Sequence[str]) -> None:
    """Add to a run's notes those of ``notes`` that are not among them.

    Args:
        db: the open database.
        run: its number.
        notes: sentences, in order.

    Raises:
        StorageError: they could not be written.
    """
    with db.writing() as connection:
        stored = list(connection.execute(sa.select(Run.notes).where(Run.id == run)).scalar_one())
        stored += [note for note in dict.fromkeys(notes) if note not in stored]
        connection.execute(sa.update(Run).where(Run.id == run).values(notes=stored))
