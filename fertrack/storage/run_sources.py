"""Which runs were made from a file, or from the same video as another run."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fertrack.storage.models import Run, Source

__all__ = ["run_of_source", "runs_of_same_video"]


def run_of_source(connection: sa.Connection, path: Path) -> int | None:
    """A run that was made from this file, links followed; None if none was."""
    wanted = os.path.realpath(path)
    statement = sa.select(Run.id, Source.path).join(Source).where(Source.path != "").order_by(Run.id)
    for row in connection.execute(statement):
        if os.path.realpath(row.path) == wanted:
            return int(row.id)
    return None


def runs_of_same_video(connection: sa.Connection, run: int, without: Collection[int]) -> list[int]:
    """Other runs with tracks whose source is the same file, or one of the same name, size and length.

    Cameras and streams, whose path is their name, show something else each time.

    Args:
        connection: an open connection.
        run: number of the run.
        without: numbers of runs to be passed over, the run itself among them.
    """
    columns = (Source.name, Source.path, Run.width, Run.height, Run.frame_count)
    statement = sa.select(Run.id, *columns, Run.tracks).join(Source).order_by(Run.id)
    rows = connection.execute(statement).all()
    own = next(row for row in rows if row.id == run)
    if own.path == own.name:
        return []

    def is_same(row: Any) -> bool:
        sizes = [(each.name, each.width, each.height, each.frame_count) for each in (own, row)]
        return bool(own.path and row.path == own.path) or (own.frame_count > 0 and sizes[0] == sizes[1])

    return [row.id for row in rows if row.id not in without and row.tracks and is_same(row)]
