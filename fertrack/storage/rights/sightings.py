"""Where the faces of a stored run were seen, for whoever has to hide or to find them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from fertrack.storage.engine import Database
from fertrack.storage.models import CUT, EventRow, Face, FrameRow, TrackRow
from fertrack.storage.packing import fetch_tuples, unpack_rows
from fertrack.storage.rights_models import RunErasure
from fertrack.storage.runs import find_run
from fertrack.tracking.face_positions import NOBODY, Sightings

__all__ = ["cut_times", "erased_persons", "face_keys", "first_tracks", "load_sightings", "sightings"]


def sightings(db: Database, run: int | str) -> Sightings:
    """Every detected face of a run; the subject is the first track of its person, or ``NOBODY``.

    In the order of frames and of faces within them, as ``face_keys`` gives them.

    Raises:
        RunNotFoundError: no such run is stored.
    """
    with db.reading() as connection:
        return load_sightings(connection, find_run(connection, db.name, run))


def load_sightings(connection: sa.Connection, run: int) -> Sightings:
    """As ``sightings``, on a connection that is already open."""
    statement = (
        sa.select(Face.track, FrameRow.time_s, Face.xyxy)
        .join(FrameRow, sa.and_(FrameRow.run_id == Face.run_id, FrameRow.frame_index == Face.frame_index))
        .where(Face.run_id == run)
    )
    rows = fetch_tuples(connection, statement.order_by(Face.frame_index, Face.face_index))
    subject_of = first_tracks(connection, run)
    return Sightings(
        np.array([NOBODY if track is None else subject_of[track] for track, _, _ in rows], np.int64),
        np.array([time_s for _, time_s, _ in rows], np.float64),
        unpack_rows([xyxy for _, _, xyxy in rows], (4,)).astype(np.float64),
    )


def first_tracks(connection: sa.Connection, run: int) -> dict[int, int]:
    """For each track of a run the first track of its person: itself, where it is the only one or nobody's."""
    rows = connection.execute(
        sa.select(TrackRow.number, TrackRow.person_id).where(TrackRow.run_id == run).order_by(TrackRow.number)
    ).all()
    first: dict[int, int] = {}
    for row in rows:
        if row.person_id is not None:
            first.setdefault(row.person_id, row.number)
    return {row.number: first.get(row.person_id, row.number) for row in rows}


def face_keys(connection: sa.Connection, run: int) -> npt.NDArray[np.int64]:
    """Frame and number within it of every face of a run, int64 (N, 2), in the order of ``sightings``."""
    statement = sa.select(Face.frame_index, Face.face_index).where(Face.run_id == run)
    rows = fetch_tuples(connection, statement.order_by(Face.frame_index, Face.face_index))
    return np.array(rows, np.int64).reshape(-1, 2)


def cut_times(connection: sa.Connection, run: int) -> npt.NDArray[np.float64]:
    """When new shots begin, seconds, float64 (C,)."""
    times = connection.scalars(
        sa.select(EventRow.time_s).where(EventRow.run_id == run, EventRow.kind == CUT).order_by(EventRow.time_s)
    ).all()
    return np.array(times, np.float64)


def erased_persons(db: Database, runs: Collection[int]) -> dict[int, int]:
    """How many persons were erased from runs; those from which nobody was are missing."""
    with db.reading() as connection:
        rows = connection.execute(
            sa.select(RunErasure.run_id, RunErasure.persons).where(RunErasure.run_id.in_(list(runs)))
        ).all()
    return {row.run_id: row.persons for row in rows}
