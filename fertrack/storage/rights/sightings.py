"""Face positions of a stored run, to redact or to find them."""

from __future__ import annotations

import numpy as np
import sqlalchemy as sa

from fertrack.storage.models import Face, FrameRow
from fertrack.storage.packing import fetch_tuples, unpack_rows
from fertrack.storage.people.subjects import load_subjects
from fertrack.tracking.face_positions import NOBODY, Sightings
from fertrack.types import IntArray

__all__ = ["face_keys", "load_sightings"]


def load_sightings(connection: sa.Connection, run: int) -> Sightings:
    """Every detected face of a run; the subject is the first track of its person, or ``NOBODY``.

    In the order of frames and of faces within them, as ``face_keys`` gives them.
    """
    statement = (
        sa.select(Face.track, FrameRow.time_s, Face.xyxy)
        .join(FrameRow, sa.and_(FrameRow.run_id == Face.run_id, FrameRow.frame_index == Face.frame_index))
        .where(Face.run_id == run)
    )
    rows = fetch_tuples(connection, statement.order_by(Face.frame_index, Face.face_index))
    subject_of = load_subjects(connection, [run]).first_tracks()
    return Sightings(
        np.array([NOBODY if track is None else subject_of[track] for track, _, _ in rows], np.int64),
        np.array([time_s for _, time_s, _ in rows], np.float64),
        unpack_rows([xyxy for _, _, xyxy in rows], (4,)).astype(np.float64),
    )


def face_keys(connection: sa.Connection, run: int) -> IntArray:
    """Frame and number within it of every face of a run, int64 (N, 2), in the order of ``load_sightings``."""
    statement = sa.select(Face.frame_index, Face.face_index).where(Face.run_id == run)
    rows = fetch_tuples(connection, statement.order_by(Face.frame_index, Face.face_index))
    return np.array(rows, np.int64).reshape(-1, 2)
