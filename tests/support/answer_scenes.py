"""Stored runs with known answers, that the tests of statistics, moments and markers share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from fertrack.storage.engine import Database
from fertrack.storage.models import Person, TrackRow
from fertrack.types import FrameResult
from tests.support.storage_scenes import result, store

Face = tuple[int, str, float]
Script = Sequence[tuple[float, float, int, str, float]]
"""From when to when (s), which track shows which label with which probability."""


def played(script: Script, *, until_s: float, fps: float = 10.0) -> list[FrameResult]:
    """Frames of a script; where no entry of a track holds, the track is not seen."""
    frames = []
    for i in range(round(until_s * fps)):
        at = i / fps
        faces = [(track, label, p) for start, end, track, label, p in script if start - 1e-9 <= at < end - 1e-9]
        frames.append(result(i, at, faces))
    return frames


def waves(*shapes: Callable[[float], float], until_s: float, fps: float = 10.0) -> list[FrameResult]:
    """Frames in which track 1, 2, ... shows happiness with the probability that its function of time gives."""
    return [
        result(i, i / fps, [(track, "happiness", shape(i / fps)) for track, shape in enumerate(shapes, 1)])
        for i in range(round(until_s * fps))
    ]


def stored(database: Database, script: Script, *, until_s: float, fps: float = 10.0) -> int:
    """Store a script as a run and return its number."""
    return store(database, played(script, until_s=until_s, fps=fps))


def name_person(database: Database, run: int, *, key: int, number: int, name: str, tracks: Sequence[int]) -> None:
    """Say that these tracks are one person, made if there is none of that key."""
    with database.writing() as connection:
        if connection.scalar(sa.select(Person.id).where(Person.id == key)) is None:
            now = dt.datetime.now(dt.UTC)
            connection.execute(sa.insert(Person).values(id=key, number=number, display_name=name, created_at=now))
        of_run = sa.update(TrackRow).where(TrackRow.run_id == run, TrackRow.number.in_(list(tracks)))
        connection.execute(of_run.values(person_id=key))
