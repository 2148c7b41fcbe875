"""Faces of a run as columns, and its labels under another calibration and smoothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from fertrack.expression.calibration import Calibrator
from fertrack.expression.config import SmoothingConfig
from fertrack.expression.fold import ExpressionFold
from fertrack.storage.models import Face, FrameRow
from fertrack.storage.packing import unpack_rows
from fertrack.storage.readable import quality_of
from fertrack.storage.stored_run import StoredRun
from fertrack.types import EXPRESSIONS, UNCONFIRMED, BoolArray, Float64Array, FloatArray, IntArray

__all__ = ["RunFaces", "load_run_faces", "preview_labels"]


@dataclass(frozen=True, slots=True, eq=False)
class RunFaces:
    """A run's faces, by frame and then by row; N faces, F frames.

    Attributes:
        run: number of the run.
        frame_index: int64 (N,).
        time_s: float64 (N,), presentation time of the face's frame, s.
        track: int64 (N,); -1 = not confirmed.
        label: int64 (N,), as stored; -1 = uncertain, -2 = not readable.
        logits: float32 (N, 7).
        smoothed: float32 (N, 7), as stored.
        xyxy: float32 (N, 4), px.
        landmarks: float32 (N, 5, 2), px.
        quality: float32 (N,), 0 to 1; NaN: not judged.
        frames: int64 (F,), index of every frame.
        frame_time_s: float64 (F,), s.
    """

    run: int
    frame_index: IntArray
    time_s: Float64Array
    track: IntArray
    label: IntArray
    logits: FloatArray
    smoothed: FloatArray
    xyxy: FloatArray
    landmarks: FloatArray
    quality: FloatArray
    frames: IntArray
    frame_time_s: Float64Array

    @property
    def confirmed(self) -> BoolArray:
        """Mask of the faces that belong to a track, bool (N,)."""
        return np.asarray(self.track != UNCONFIRMED, np.bool_)


def load_run_faces(run: StoredRun) -> RunFaces:
    """Read all faces of a run; about 250 bytes each.

    Raises:
        StorageError: the database cannot be read.
    """
    shown = run.connection.execute(
        sa.select(FrameRow.frame_index, FrameRow.time_s)
        .where(FrameRow.run_id == run.number)
        .order_by(FrameRow.frame_index)
    ).all()
    rows = run.connection.execute(
        sa.select(
            Face.frame_index,
            Face.track,
            Face.label,
            Face.logits,
            Face.smoothed,
            Face.xyxy,
            Face.landmarks,
            Face.quality_e4,
        )
        .where(Face.run_id == run.number)
        .order_by(Face.frame_index, Face.face_index)
    ).all()
    frames = np.array([row[0] for row in shown], np.int64)
    frame_time_s = np.array([row[1] for row in shown], np.float64)
    frame_index = np.array([row[0] for row in rows], np.int64)
    classes = (len(EXPRESSIONS),)
    return RunFaces(
        run=run.number,
        frame_index=frame_index,
        time_s=frame_time_s[np.searchsorted(frames, frame_index)],
        track=np.array([UNCONFIRMED if row[1] is None else row[1] for row in rows], np.int64),
        label=np.array([row[2] for row in rows], np.int64),
        logits=unpack_rows([row[3] for row in rows], classes),
        smoothed=unpack_rows([row[4] for row in rows], classes),
        xyxy=unpack_rows([row[5] for row in rows], (4,)),
        landmarks=unpack_rows([row[6] for row in rows], (5, 2)),
        quality=quality_of([row[7] for row in rows]),
        frames=frames,
        frame_time_s=frame_time_s,
    )


def preview_labels(faces: RunFaces, calibrator: Calibrator, smoothing: SmoothingConfig) -> IntArray:
    """The labels that rescoring would give, int64 (N,); nothing is stored."""
    fold = ExpressionFold(calibrator, smoothing)
    labels = np.empty(len(faces.label), np.int64)
    starts = np.flatnonzero(np.diff(faces.frame_index, prepend=-1))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(labels)], strict=True):
        rows = slice(start, end)
        labels[rows] = fold.update(
            float(faces.time_s[start]), faces.track[rows], faces.logits[rows], faces.quality[rows]
        ).labels
    return labels
