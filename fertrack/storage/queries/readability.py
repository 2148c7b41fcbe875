"""Quality of the faces of a run, and time in which persons could not be read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.storage.models import Face
from fertrack.storage.packing import fetch_columns
from fertrack.storage.people.subjects import subject_columns
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.stored_run import StoredRun
from fertrack.types import NOT_READABLE, Float64Array

__all__ = ["readability"]


def readability(run: StoredRun, *, who: str | int | None = None) -> pd.DataFrame:
    """One row per person: quality of the face, and time in which it was not readable.

    Args:
        run: the run.
        who: only this person; see ``Subjects.find``.

    Returns:
        Columns run, person, track (the person's first), faces_s (time with a face, s), mean_quality (of the faces that
        were judged; NaN without any), not_readable_s (s), share_not_readable (of the time with a face; NaN without
        any). Each face counts for as long as its frame is shown.

    Raises:
        RunNotFoundError: there is nobody of that name.
    """
    subjects = run.subjects
    asked = np.arange(len(subjects), dtype=np.int64) if who is None else subjects.find(who)
    statement = sa.select(Face.track, Face.frame_index, Face.label, sa.func.coalesce(Face.quality_e4, -1)).where(
        Face.run_id == run.number, Face.track.is_not(None)
    )
    track, frame, label, quality = fetch_columns(run.connection, statement, (np.int64,) * 4)
    start_s, end_s = run.frames.of(frame)
    lasts_s = end_s - start_s
    subject = subjects.of(run.number, track) if len(track) else track

    def summed(weights: Float64Array) -> Float64Array:
        sums: Float64Array = np.bincount(subject, weights, minlength=len(subjects))[asked].astype(np.float64)
        return sums

    faces_s = summed(lasts_s)
    unread_s = summed(np.where(label == NOT_READABLE, lasts_s, 0.0))
    judged = (quality >= 0).astype(np.float64)
    table = pd.DataFrame(
        {
            **subject_columns(subjects, asked),
            "faces_s": faces_s,
            "mean_quality": _ratio(summed(quality * judged / 1e4), summed(judged)),
            "not_readable_s": unread_s,
            "share_not_readable": _ratio(unread_s, faces_s),
        }
    )
    units = {"faces_s": "s", "mean_quality": "1", "not_readable_s": "s", "share_not_readable": "1"}
    table.attrs.update(run=run.number, units=units)
    return note_columns(table)


def _ratio(above: Float64Array, below: Float64Array) -> Float64Array:
    quotient: Float64Array = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0.0)
    return quotient
