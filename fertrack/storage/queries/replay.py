"""Replay of a stored run: its frames as the results they were stored from, for drawing and export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from fertrack.storage.models import Face, FrameRow
from fertrack.storage.packing import unpack_rows
from fertrack.storage.people.corrected_labels import CorrectedLabels
from fertrack.storage.readable import quality_of
from fertrack.storage.stored_run import StoredRun
from fertrack.types import (
    EXPRESSIONS,
    UNCONFIRMED,
    AnalysisMs,
    Detections,
    Faces,
    FloatArray,
    FrameResult,
    IntArray,
)

__all__ = ["stored_results"]

_FRAMES_AT_ONCE = 500


def stored_results(run: StoredRun) -> Iterator[FrameResult]:
    """The frames of a run in order, some hundred in memory at a time.

    All is as it was, with labels as last rescored; except that boxes are the detections' own, since the tracks'
    filtered boxes are not stored, and that a face which somebody corrected has that label, with probability 1.

    Raises:
        StorageError: the database cannot be read.
    """
    last = -1
    while True:
        frames = run.connection.execute(
            sa.select(FrameRow)
            .where(FrameRow.run_id == run.number, FrameRow.frame_index > last)
            .order_by(FrameRow.frame_index)
            .limit(_FRAMES_AT_ONCE)
        ).all()
        if not frames:
            return
        first, last = frames[0].frame_index, frames[-1].frame_index
        faces: dict[int, list[Any]] = {}
        for row in run.connection.execute(
            sa.select(Face)
            .where(Face.run_id == run.number, Face.frame_index.between(first, last))
            .order_by(Face.frame_index, Face.face_index)
        ):
            faces.setdefault(row.frame_index, []).append(row)
        for frame in frames:
            yield _result(frame, faces.get(frame.frame_index, ()), run.corrections)


def _result(frame: sa.Row[Any], faces: Sequence[Any], given: CorrectedLabels) -> FrameResult:
    classes = (len(EXPRESSIONS),)
    xyxy = unpack_rows([face.xyxy for face in faces], (4,))
    logits = unpack_rows([face.logits for face in faces], classes)
    landmarks = unpack_rows([face.landmarks for face in faces], (5, 2))
    detections = Detections(xyxy, np.array([face.score for face in faces], np.float32), landmarks)
    smoothed = unpack_rows([face.smoothed for face in faces], classes)
    labels = np.array([face.label for face in faces], np.int64)
    if len(given) and len(labels):
        smoothed = _correct(
            frame.frame_index, np.array([face.face_index for face in faces], np.int64), labels, smoothed, given
        )
    return FrameResult(
        frame_index=frame.frame_index,
        timestamp_s=frame.time_s,
        faces=Faces(detections, logits, quality_of([face.quality_e4 for face in faces])),
        track_ids=np.array([UNCONFIRMED if face.track is None else face.track for face in faces], np.int64),
        track_xyxy=xyxy,
        probabilities=unpack_rows([face.probabilities for face in faces], classes),
        smoothed=smoothed,
        labels=labels,
        ms=AnalysisMs(*(value / 1e3 for value in (frame.read_us, frame.detect_us, frame.align_us, frame.classify_us))),
        track_ms=frame.track_us / 1e3,
    )


def _correct(
    frame_index: int, face_index: IntArray, labels: IntArray, smoothed: FloatArray, given: CorrectedLabels
) -> FloatArray:
    """Overwrite the labels of corrected faces; returns the probabilities with 1 for each label that somebody gave."""
    certain = np.zeros(len(labels), np.float64)
    given.by_face(np.full(len(labels), frame_index, np.int64), face_index, labels, certain)
    rows = np.flatnonzero(certain == 1.0)
    smoothed = smoothed.copy()
    smoothed[rows] = 0.0
    smoothed[rows, labels[rows]] = 1.0
    return smoothed
