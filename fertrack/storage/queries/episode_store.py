"""Stored episodes: written when a run ends or its labels change, read by every statistic; computed where missing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from fertrack.storage.answer_models import EpisodeRow, EpisodeSet
from fertrack.storage.models import Face, Run, TrackRow
from fertrack.storage.packing import fetch_tuples
from fertrack.storage.people.corrected_labels import CorrectedLabels, corrected_runs, load_corrected
from fertrack.storage.queries.faces import FrameTimes, counted_label, frame_times
from fertrack.storage.queries.segments import Segments
from fertrack.types import Float64Array, IntArray

__all__ = [
    "RunSegments",
    "load_segments",
    "runs_in_batches",
    "runs_without_episodes",
    "store_episodes",
    "store_track_episodes",
]

_ROWS_AT_ONCE = 20_000
_FACES_AT_ONCE = 500_000

_STORED = {
    "group": EpisodeRow.track,
    "label": EpisodeRow.label,
    "first_frame": EpisodeRow.first_frame,
    "frames": EpisodeRow.frames,
    "start_s": EpisodeRow.start_s,
    "end_s": EpisodeRow.end_s,
    "apex_s": EpisodeRow.apex_s,
    "mean": EpisodeRow.mean_probability,
    "peak": EpisodeRow.peak_probability,
}
"""Columns of ``Segments``, and where they are stored."""


@dataclass(frozen=True, slots=True, eq=False)
class RunSegments:
    """Segments of some runs.

    Attributes:
        run: int64 (E,), the run of each segment.
        rows: the E segments, by run, then by track, which is their group.
        shown_s: time the frames of each run were shown, seconds, by run.
    """

    run: IntArray
    rows: Segments
    shown_s: dict[int, float]


def store_episodes(connection: sa.Connection, run: int) -> int:
    """Write a run's episodes, in place of those it had; returns how many. Memory is bounded by the longest track."""
    connection.execute(sa.delete(EpisodeRow).where(EpisodeRow.run_id == run))
    connection.execute(sa.delete(EpisodeSet).where(EpisodeSet.run_id == run))
    frames = frame_times(connection, run)
    stored = _insert(connection, run, _parts_by_track(connection, run, frames))
    connection.execute(
        sa.insert(EpisodeSet).values(run_id=run, shown_s=frames.shown_s, stored_at=dt.datetime.now(dt.UTC))
    )
    return stored


def store_track_episodes(connection: sa.Connection, run: int, tracks: Sequence[int]) -> int:
    """Write the episodes of some tracks of a run whose episodes are stored, in place of theirs; returns how many."""
    connection.execute(sa.delete(EpisodeRow).where(EpisodeRow.run_id == run, EpisodeRow.track.in_(tracks)))
    frames = frame_times(connection, run)
    return sum(_insert(connection, run, _parts_by_track(connection, run, frames, only=track)) for track in tracks)


def runs_without_episodes(connection: sa.Connection) -> list[int]:
    """Ended runs whose episodes are not stored, such as those of an earlier version."""
    stored = sa.select(EpisodeSet.run_id)
    missing = sa.select(Run.id).where(Run.status != "running", Run.id.not_in(stored)).order_by(Run.id)
    return list(connection.scalars(missing))


def load_segments(connection: sa.Connection, runs: Sequence[int], *, corrected: bool = True) -> RunSegments:
    """Segments of some runs: as stored; computed from their faces where they are not stored, or labels were corrected.

    Args:
        connection: an open connection.
        runs: numbers of runs, ascending.
        corrected: whether labels that people gave stand in place of the estimates.
    """
    if not runs:
        return RunSegments(np.empty(0, np.int64), Segments.concatenated([]), {})
    wanted = EpisodeRow.run_id.between(runs[0], runs[-1])
    table = np.array(
        fetch_tuples(
            connection,
            sa.select(EpisodeRow.run_id, *_STORED.values())
            .where(wanted)
            .order_by(EpisodeRow.run_id, EpisodeRow.track, EpisodeRow.first_frame),
        ),
        np.float64,
    ).reshape(-1, 1 + len(_STORED))
    sets = sa.select(EpisodeSet.run_id, EpisodeSet.shown_s).where(EpisodeSet.run_id.between(runs[0], runs[-1]))
    shown_s: dict[int, float] = dict(fetch_tuples(connection, sets))
    changed = corrected_runs(connection, runs) if corrected else set()
    asked = np.isin(table[:, 0], [run for run in runs if run in shown_s and run not in changed])
    table = table[asked]
    found = [_from_table(table)]
    numbers = [table[:, 0].astype(np.int64)]
    for run in runs:
        if run in changed or run not in shown_s:
            given = load_corrected(connection, run) if run in changed else CorrectedLabels.none()
            computed, shown_s[run] = _computed(connection, run, given)
            found.append(computed)
            numbers.append(np.full(len(computed), run, np.int64))
    if len(found) == 1:
        return RunSegments(numbers[0], found[0], shown_s)
    every = Segments.concatenated(found)
    run_of = np.concatenate(numbers)
    order = np.lexsort((every.first_frame, every.group, run_of))
    return RunSegments(run_of[order], every.select(order), shown_s)


def runs_in_batches(connection: sa.Connection, only: Sequence[int] | None = None) -> Iterator[list[int]]:
    """All runs, or those of ``only``, oldest first, some at a time: at most half a million faces, or one run."""
    batch: list[int] = []
    faces = 0
    wanted = None if only is None else set(only)
    for run, count in connection.execute(sa.select(Run.id, Run.faces).order_by(Run.id)).all():
        if wanted is not None and run not in wanted:
            continue
        if batch and faces + count > _FACES_AT_ONCE:
            yield batch
            batch, faces = [], 0
        batch.append(run)
        faces += count
    if batch:
        yield batch


def _insert(connection: sa.Connection, run: int, parts: Iterator[Segments]) -> int:
    names = [column.key for column in _STORED.values()]
    stored = 0
    for part in parts:
        columns = [getattr(part, name).tolist() for name in _STORED]
        rows = [{"run_id": run, **dict(zip(names, row, strict=True))} for row in zip(*columns, strict=True)]
        if rows:
            connection.execute(sa.insert(EpisodeRow), rows)
        stored += len(rows)
    return stored


def _parts_by_track(
    connection: sa.Connection,
    run: int,
    frames: FrameTimes,
    given: CorrectedLabels | None = None,
    *,
    only: int | None = None,
) -> Iterator[Segments]:
    """The segments of the run's tracks, computed from the faces: several short tracks, or one long one, at a time."""
    wanted = sa.select(TrackRow.number, TrackRow.faces).where(TrackRow.run_id == run)
    if only is not None:
        wanted = wanted.where(TrackRow.number == only)
    counted = connection.execute(wanted.order_by(TrackRow.number)).all()
    start = 0
    while start < len(counted):
        stop, rows = start, 0
        while stop < len(counted) and (stop == start or rows + counted[stop].faces <= _ROWS_AT_ONCE):
            rows += counted[stop].faces
            stop += 1
        labels = sa.select(Face.track, Face.frame_index, counted_label(), Face.probability).where(
            Face.run_id == run, Face.track.between(counted[start].number, counted[stop - 1].number)
        )
        table = np.array(fetch_tuples(connection, labels), np.float64).reshape(-1, 4)
        track, frame_index, label = (table[:, column].astype(np.int64) for column in range(3))
        probability = table[:, 3].copy()
        if given is not None:
            given.by_track(frame_index, track, label, probability)
        start_s, end_s = frames.of(frame_index)
        yield Segments.of(
            group=track,
            label=label,
            frame=frame_index,
            start_s=start_s,
            end_s=end_s,
            probability=probability,
        )
        start = stop


def _computed(connection: sa.Connection, run: int, given: CorrectedLabels) -> tuple[Segments, float]:
    frames = frame_times(connection, run)
    return Segments.concatenated(list(_parts_by_track(connection, run, frames, given))), frames.shown_s


def _from_table(table: Float64Array) -> Segments:
    columns = dict(zip(_STORED, table[:, 1:].T.copy(), strict=True))
    whole = {name: columns.pop(name).astype(np.int64) for name in ("group", "label", "first_frame", "frames")}
    certain_s = columns["end_s"] - columns["start_s"]
    return Segments(**whole, **columns, certain_s=certain_s, uncertain_s=np.zeros(len(table)))
