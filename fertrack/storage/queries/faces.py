"""Rows of the database as numpy columns: what the queries are made of. All work on an open connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError
from fertrack.storage.models import CUT, EventRow, Face, FrameRow, Run, TrackRow
from fertrack.storage.packing import PACKED, fetch_columns, unpack_joined
from fertrack.types import EXPRESSIONS, NOT_READABLE, UNCERTAIN, UNCONFIRMED, Float64Array, FloatArray, IntArray

__all__ = [
    "Cuts",
    "FaceColumns",
    "FrameTimes",
    "check_track",
    "counted_label",
    "frame_ends",
    "frame_times",
    "load_cuts",
    "load_faces",
    "load_frames",
]

_MAX_FRAME_S = 1.0
_MAX_FRAME_INTERVALS = 4.0


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
) -> tuple[IntArray, Float64Array]:
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


class FrameTimes(NamedTuple):
    """Frames of a run, in order, with the times at which they are shown. F of them.

    Attributes:
        frame: int64 (F,), number of the frame.
        start_s: (F,), from when it is shown, seconds.
        end_s: (F,), until when.
    """

    frame: IntArray
    start_s: Float64Array
    end_s: Float64Array

    def of(self, frame_index: IntArray) -> tuple[Float64Array, Float64Array]:
        """From when to when each row's frame is shown, seconds."""
        position = np.searchsorted(self.frame, frame_index)
        return self.start_s[position], self.end_s[position]

    @property
    def shown_s(self) -> float:
        """For how long frames are shown altogether, seconds."""
        return float((self.end_s - self.start_s).sum())

    def shown_between(self, from_s: float, to_s: float) -> float:
        """For how long frames are shown between two moments, seconds."""
        return float(np.maximum(np.minimum(self.end_s, to_s) - np.maximum(self.start_s, from_s), 0.0).sum())

    def span_s(self) -> tuple[float, float]:
        """When the first frame is shown, and when the last one stops being shown, seconds; 0, 0 without any."""
        return (float(self.start_s.min()), float(self.end_s.max())) if len(self.frame) else (0.0, 0.0)


def frame_ends(time_s: Float64Array, fps: float = 0.0) -> Float64Array:
    """When each frame stops being the newest, seconds.

    A frame lasts until the next one, but no longer than 1 s or four median intervals, whichever is more: after that
    the source paused, and nothing is known of that time. The last frame lasts a median interval; an only frame 1 / fps,
    or no time at all if fps is 0.

    Args:
        time_s: (F,), presentation times of all analysed frames, never decreasing.
        fps: frame rate of the source.
    """
    if len(time_s) < 2:
        return time_s + (1.0 / fps if fps > 0.0 else 0.0)
    interval_s = np.diff(time_s)
    typical_s = float(np.median(interval_s))
    longest_s = max(_MAX_FRAME_S, _MAX_FRAME_INTERVALS * typical_s)
    lasts_s = np.append(np.minimum(interval_s, longest_s), typical_s)
    ends: Float64Array = time_s + lasts_s
    return ends


def frame_times(connection: sa.Connection, run: int) -> FrameTimes:
    """The frames of a run. The last frame of a finished run is not shown longer than the video lasts."""
    fps, video_s = connection.execute(sa.select(Run.fps, Run.video_s).where(Run.id == run)).one_or_none() or (0.0, 0.0)
    frames, start_s = load_frames(connection, run)
    end_s = frame_ends(start_s, fps)
    if video_s > 0.0 and len(end_s):
        end_s[-1] = max(start_s[-1], min(end_s[-1], start_s[0] + video_s))
    return FrameTimes(frames, start_s, end_s)


class Cuts(NamedTuple):
    """Beginnings of new shots, in order. C of them.

    Attributes:
        frame: int64 (C,), number of the first frame of the new shot.
        time_s: (C,), when it is shown, seconds.
    """

    frame: IntArray
    time_s: Float64Array


def load_cuts(connection: sa.Connection, run: int) -> Cuts:
    """The cuts of a run, given by its number."""
    statement = (
        sa.select(EventRow.frame_index, EventRow.time_s)
        .where(EventRow.run_id == run, EventRow.kind == CUT)
        .order_by(EventRow.frame_index)
    )
    return Cuts(*fetch_columns(connection, statement, (np.int64, np.float64)))


@dataclass(frozen=True, slots=True, eq=False)
class FaceColumns:
    """Faces of one run. Arrays of one length N; ``track`` is -1 where none is confirmed."""

    frame_index: IntArray
    face_index: IntArray
    track: IntArray
    label: IntArray
    probability: FloatArray
    score: FloatArray
    xyxy: FloatArray
    smoothed: FloatArray
    probabilities: FloatArray
    quality: FloatArray


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
        sa.func.coalesce(Face.quality_e4, -1),
    ).where(*conditions)
    # The order in which they lie in the table: whatever the statistics say, no detour through the index for whole runs.
    ordered = statement.order_by(Face.frame_index, Face.face_index)
    whole, single = np.int64, np.float32
    frame_index, track, label, probability, score, xyxy, smoothed, probabilities, face_index, quality = fetch_columns(
        connection, ordered, (whole, whole, whole, single, single, PACKED, PACKED, PACKED, whole, whole)
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
        quality=np.where(quality < 0, np.nan, quality / 1e4).astype(np.float32),
    )


def counted_label() -> sa.ColumnElement[int]:
    """Label of a face as statistics and episodes count it: one that is not readable as uncertain.

    All of them read labels by this, and so need to know of no second kind of label without an expression.
    """
    return sa.case((Face.label == NOT_READABLE, UNCERTAIN), else_=Face.label)
