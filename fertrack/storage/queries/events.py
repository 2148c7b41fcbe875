"""What happened at single frames of a run, such as cuts between shots."""

from __future__ import annotations

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.storage.engine import Database
from fertrack.storage.models import EventRow
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.runs import find_run

__all__ = ["events"]


def events(db: Database, run: int | str, *, kind: str | None = None) -> pd.DataFrame:
    """One row per event, in order of frame.

    Args:
        db: the open database.
        run: number of the run, or "last".
        kind: only events of this kind, for example "cut"; all if None.

    Returns:
        Columns frame_index, time_s (s), kind ("cut": a new shot begins with this frame, and all tracks ended before
        it), details (a dict; empty for cuts).

    Raises:
        RunNotFoundError: no such run is stored.
    """
    with db.reading() as connection:
        number = find_run(connection, db.name, run)
        statement = sa.select(EventRow.frame_index, EventRow.time_s, EventRow.kind, EventRow.details).where(
            EventRow.run_id == number
        )
        if kind is not None:
            statement = statement.where(EventRow.kind == kind)
        rows = connection.execute(statement.order_by(EventRow.frame_index, EventRow.kind)).all()
    table = pd.DataFrame(
        {
            "frame_index": np.array([row.frame_index for row in rows], np.int64),
            "time_s": np.array([row.time_s for row in rows], np.float64),
            "kind": pd.Series([row.kind for row in rows], dtype="str"),
            "details": pd.Series([row.details for row in rows], dtype="object"),
        }
    )
    table.attrs.update(run=number, units={"time_s": "s"})
    return note_columns(table)
