"""A stored run's frames as the results they were stored from, for whoever draws or exports them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from fertrack.storage.engine import Database
from fertrack.storage.models import Face, FrameRow, Person, TrackRow
from fertrack.storage.packing import unpack_rows
from fertrack.storage.people.persons import full_label
from fertrack.storage.queries.faces import persons_by_track
from fertrack.storage.rights.sightings import first_tracks
from fertrack.storage.runs import find_run
from fertrack.types import EXPRESSIONS, UNCONFIRMED, Detections, Faces, FrameResult, LookMs

__all__ = ["first_track_of_person", "names_of_tracks", "numbers_of_tracks", "stored_results"]

_FRAMES_AT_ONCE = 500


def stored_results(db: Database, run: int | str) -> Iterator[FrameResult]:
    """The frames of a run in order, some hundred in memory at a time.

    All is as it was, with labels as last rescored; except that boxes are the detections' own, since the tracks'
    filtered boxes are not stored.

    Raises:
        RunNotFoundError: no such run is stored.
        StorageError: the database cannot be read.
    """
    with db.reading() as connection:
        number = find_run(connection, db.name, run)
    last = -1
    while True:
        with db.reading() as connection:
            frames = connection.execute(
                sa.select(FrameRow)
                .where(FrameRow.run_id == number, FrameRow.frame_index > last)
                .order_by(FrameRow.frame_index)
                .limit(_FRAMES_AT_ONCE)
            ).all()
            if not frames:
                return
            first, last = frames[0].frame_index, frames[-1].frame_index
            faces: dict[int, list[Any]] = {}
            for row in connection.execute(
                sa.select(Face)
                .where(Face.run_id == number, Face.frame_index.between(first, last))
                .order_by(Face.frame_index, Face.face_index)
            ):
                faces.setdefault(row.frame_index, []).append(row)
        for frame in frames:
            yield _result(frame, faces.get(frame.frame_index, ()))


def names_of_tracks(db: Database, run: int) -> dict[int, str]:
    """What the persons of a run are called, by track: ``Ada (P3)`` or ``P3``; nothing for tracks that are nobody's."""
    with db.reading() as connection:
        return {track: full_label(*who) for track, who in persons_by_track(connection, run).items()}


def numbers_of_tracks(db: Database, run: int) -> dict[int, str]:
    """``P3`` for each track of a run's persons, whatever they are called; nothing for tracks that are nobody's."""
    statement = sa.select(TrackRow.number, Person.number.label("person")).join(Person).where(TrackRow.run_id == run)
    with db.reading() as connection:
        return {row.number: f"P{row.person}" for row in connection.execute(statement)}


def first_track_of_person(db: Database, run: int) -> dict[int, int]:
    """For each track of a run the first track of its person: itself, where it is the only one or nobody's."""
    with db.reading() as connection:
        return first_tracks(connection, run)


def _result(frame: sa.Row[Any], faces: Sequence[Any]) -> FrameResult:
    classes = (len(EXPRESSIONS),)
    xyxy = unpack_rows([face.xyxy for face in faces], (4,))
    logits = unpack_rows([face.logits for face in faces], classes)
    landmarks = unpack_rows([face.landmarks for face in faces], (5, 2))
    detections = Detections(xyxy, np.array([face.score for face in faces], np.float32), landmarks)
    return FrameResult(
        frame_index=frame.frame_index,
        timestamp_s=frame.time_s,
        faces=Faces(detections, logits),
        track_ids=np.array([UNCONFIRMED if face.track is None else face.track for face in faces], np.int64),
        track_xyxy=xyxy,
        probabilities=unpack_rows([face.probabilities for face in faces], classes),
        smoothed=unpack_rows([face.smoothed for face in faces], classes),
        labels=np.array([face.label for face in faces], np.int64),
        ms=LookMs(*(value / 1e3 for value in (frame.read_us, frame.detect_us, frame.align_us, frame.classify_us))),
        track_ms=frame.track_us / 1e3,
    )
