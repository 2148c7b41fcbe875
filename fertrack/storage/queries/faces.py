"""Rows of the database as numpy columns: what the queries are made of. All work on an open connection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError
from fertrack.storage.models import Face, FrameRow, Person, Run, TrackRow
from fertrack.storage.packing import PACKED, fetch_columns, unpack_joined
from fertrack.storage.queries.spans import frame_ends
from fertrack.types import EXPRESSIONS, UNCONFIRMED, FloatArray

__all__ = [
    "FaceColumns",
    "LabelColumns",
    "check_track",
    "frame_spans",
    "load_faces",
    "load_frames",
    "load_labels",
    "person_names",
    "persons_by_track",
    "shown",
]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


def check_track(connection: sa.Connection, run: int, track: int | None) -> None:
    """Pass if the run has that track, or none is asked for.

    Raises:
        RunNotFoundError: it has not.
    """
    if track is None:
        return
    known = connection.scalars(sa.select(TrackRow.number).where(TrackRow.run_id == run).order_by(TrackRow.number)).all()
    if track not in known:
        stored = f"its tracks are {known[0]} to {known[-1]}" if known else "it has no confirmed tracks"
        raise RunNotFoundError(f"run {run} has no track {track}: {stored}")


def load_frames(
    connection: sa.Connection, run: int, from_s: float | None = None, to_s: float | None = None
) -> tuple[_Ints, _Floats]:
    """Index and presentation time (s) of a run's frames, in order; (F,) each.

    Args:
        connection: an open connection.
        run: number of the run.
        from_s: only frames shown at this time or later.
        to_s: only frames shown before this time.
    """
    statement = sa.select(FrameRow.frame_index, FrameRow.time_s).where(FrameRow.run_id == run)
    if from_s is not None:
        statement = statement.where(FrameRow.time_s >= from_s)
    if to_s is not None:
        statement = statement.where(FrameRow.time_s < to_s)
    frames, time_s = fetch_columns(connection, statement.order_by(FrameRow.frame_index), (np.int64, np.float64))
    return frames, time_s


def shown(connection: sa.Connection, run: int, frame_index: _Ints) -> tuple[_Floats, _Floats]:
    """From when to when each row's frame is shown, seconds."""
    frames, start_s, end_s = frame_spans(connection, run)
    position = np.searchsorted(frames, frame_index)
    return start_s[position], end_s[position]


def frame_spans(connection: sa.Connection, run: int) -> tuple[_Ints, _Floats, _Floats]:
    """Index of each of a run's frames, in order, and from when to when it is shown, seconds; (F,) each.

    The last frame of a finished run is not shown longer than the video lasts.
    """
    fps, video_s = connection.execute(sa.select(Run.fps, Run.video_s).where(Run.id == run)).one_or_none() or (0.0, 0.0)
    frames, start_s = load_frames(connection, run)
    end_s = frame_ends(start_s, fps)
    if video_s > 0.0 and len(end_s):
        end_s[-1] = max(start_s[-1], min(end_s[-1], start_s[0] + video_s))
    return frames, start_s, end_s


@dataclass(frozen=True, slots=True, eq=False)
class FaceColumns:
    """Faces of one run. Arrays of one length N; ``track`` is -1 where none is confirmed."""

    frame_index: _Ints
    face_index: _Ints
    track: _Ints
    label: _Ints
    probability: FloatArray
    score: FloatArray
    xyxy: FloatArray
    smoothed: FloatArray
    probabilities: FloatArray


def load_faces(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> FaceColumns:
    """The faces that meet all conditions, in order of frame and row; vectors unpacked all at once."""
    statement = sa.select(
        Face.frame_index,
        sa.func.coalesce(Face.track, UNCONFIRMED),
        Face.label,
        Face.probability,
        Face.score,
        Face.xyxy,
        Face.smoothed,
        Face.probabilities,
        Face.face_index,
    ).where(*conditions)
    # The order in which they lie in the table: whatever the statistics say, no detour through the index for whole runs.
    ordered = statement.order_by(Face.frame_index, Face.face_index)
    whole, single = np.int64, np.float32
    frame_index, track, label, probability, score, xyxy, smoothed, probabilities, face_index = fetch_columns(
        connection, ordered, (whole, whole, whole, single, single, PACKED, PACKED, PACKED, whole)
    )
    count, classes = len(frame_index), (len(EXPRESSIONS),)
    return FaceColumns(
        frame_index=frame_index,
        track=track,
        label=label,
        probability=probability,
        score=score,
        xyxy=unpack_joined(xyxy, count, (4,)),
        smoothed=unpack_joined(smoothed, count, classes),
        probabilities=unpack_joined(probabilities, count, classes),
        face_index=face_index,
    )


@dataclass(frozen=True, slots=True, eq=False)
class LabelColumns:
    """Labels of the confirmed faces of one run. Arrays of one length N."""

    track: _Ints
    frame_index: _Ints
    label: _Ints
    probability: _Floats


def load_labels(connection: sa.Connection, run: int, track: int | None = None) -> LabelColumns:
    """Labels of a run, or of one track of it; SQLite answers this from the index alone."""
    statement = sa.select(Face.track, Face.frame_index, Face.label, Face.probability).where(
        Face.run_id == run, Face.track.is_not(None) if track is None else Face.track == track
    )
    return LabelColumns(*fetch_columns(connection, statement, (np.int64, np.int64, np.int64, np.float64)))


def person_names(connection: sa.Connection, run: int) -> dict[int, str]:
    """What the persons of a run's tracks are called, by track: their names, or ``P3`` for those without one."""
    return {track: name or f"P{number}" for track, (name, number) in persons_by_track(connection, run).items()}


def persons_by_track(connection: sa.Connection, run: int) -> dict[int, tuple[str, int]]:
    """Name (empty if none was given) and number of the persons of a run's tracks, by track."""
    statement = (
        sa.select(TrackRow.number, Person.display_name, Person.number.label("person"))
        .join(Person)
        .where(TrackRow.run_id == run)
    )
    return {row.number: (row.display_name, row.person) for row in connection.execute(statement)}
