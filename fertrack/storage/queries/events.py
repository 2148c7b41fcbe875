"""Events at single frames of a run, such as cuts between shots."""

from __future__ import annotations

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.storage.models import EventRow
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.stored_run import StoredRun

__all__ = ["events"]


def events(run: StoredRun, *, kind: str | None = None) -> pd.DataFrame:
    """One row per event, in order of frame.

    Args:
        run: the run.
        kind: only events of this kind, for example "cut"; all if None.

    Returns:
        Columns frame_index, time_s (s), kind ("cut": a new shot begins with this frame, and all tracks ended before
        it), details (a dict; empty for cuts).
    """
    columns = (EventRow.frame_index, EventRow.time_s, EventRow.kind, EventRow.details)
    statement = sa.select(*columns).where(EventRow.run_id == run.number)
    if kind is not None:
        statement = statement.where(EventRow.kind == kind)
    rows = run.connection.execute(statement.order_by(EventRow.frame_index, EventRow.kind)).all()
    table = pd.DataFrame(
        {
            "frame_index": np.array([row.frame_index for row in rows], np.int64),
            "time_s": np.array([row.time_s for row in rows], np.float64),
            "kind": pd.Series([row.kind for row in rows], dtype="str"),
            "details": pd.Series([row.details for row in rows], dtype="object"),
        }
    )
    table.attrs.update(run=run.number, units={"time_s": "s"})
    return note_columns(table)
