"""Condition queries: segments in which somebody showed something long enough, together, or several things held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError
from fertrack.storage.models import Face
from fertrack.storage.packing import fetch_tuples
from fertrack.storage.queries.batches import SubjectSegments, check_durations, coverage, each_batch, with_stated
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.faces import frame_times
from fertrack.storage.queries.segments import Segments
from fertrack.storage.queries.timeline import label_index
from fertrack.storage.stored_run import AllRuns, StoredRun
from fertrack.types import IntArray

__all__ = ["Condition", "moments"]

_TRACKS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Condition:
    """Condition that somebody, or a number of people at once, show an expression.

    Attributes:
        expression: one of ``EXPRESSIONS``, or "uncertain".
        who: only this person counts, see ``Subjects.find``; anybody if None.
        above: the label's smoothed probability must be above this; 0: the label is enough.
        people: how many people must show it at the same time.

    Raises:
        ValueError: no such expression, a probability outside 0 to 1, or an impossible number of people.
    """

    expression: str
    who: str | int | None = None
    above: float = 0.0
    people: int = 1

    def __post_init__(self) -> None:
        label_index(self.expression)
        if not 0.0 <= self.above < 1.0:
            raise ValueError(f"above must be a probability from 0 to below 1, got {self.above}")
        if self.people < 1 or (self.who is not None and self.people > 1):
            raise ValueError(f"people must be 1 or more, and 1 where a person is named, got {self.people}")


def moments(
    run: StoredRun | AllRuns,
    conditions: Condition | Sequence[Condition],
    *,
    min_duration_s: float = 0.0,
    max_gap_s: float = 0.2,
) -> pd.DataFrame:
    """One row per segment of time during which all conditions held; by run, by time.

    A face that is labelled *uncertain* shows no expression, whatever its probabilities. With a single condition that
    anybody alone can meet, there is a row for each person who met it.

    Args:
        run: one run, or all: see ``Database.runs``.
        conditions: what must hold, all at the same time.
        min_duration_s: for at least this long, seconds.
        max_gap_s: a person may stop meeting a condition for this long without ending the moment, seconds.

    Returns:
        Columns run, persons (who met a condition during the moment, joined by ", ", longest first), persons_s (for how
        long each of them did within it, in the same order, as text such as "4.440, 1.280"; s), start_s, end_s,
        duration_s (s). Who took part need not have done so throughout: people may take turns.
        ``.attrs["coverage"]``: certain_s, uncertain_s, no_face_s of the persons asked about: when nobody can know.

    Raises:
        RunNotFoundError: there is nobody of a name in any of the runs.
        ValueError: no condition, or a negative duration.
    """
    check_durations(min_duration_s=min_duration_s, max_gap_s=max_gap_s)
    asked = [conditions] if isinstance(conditions, Condition) else list(conditions)
    if not asked:
        raise ValueError("at least one condition must be given")
    everywhere = isinstance(run, AllRuns)
    parts, covered, missing = [], [], {each.who for each in asked if each.who is not None}
    for batch in each_batch(run):
        whom = [_whom(batch, each, everywhere=everywhere) for each in asked]
        missing -= {each.who for each, who in zip(asked, whom, strict=True) if len(who)}
        met = [_meeting(run, batch, each, who).closed(max_gap_s) for each, who in zip(asked, whom, strict=True)]
        if run.between is not None:
            met = [each.clipped(*run.between) for each in met]
        parts.append(_rows(batch, asked, met, min_duration_s))
        concerned = np.unique(np.concatenate(whom))
        covered.append(coverage(batch.seconds()[concerned]))
    if missing:
        raise RunNotFoundError(f"there is nobody called {sorted(map(str, missing))[0]!r} in any run")
    table = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    table = with_stated(run, table)
    table.attrs.update(
        run=run.number,
        units={"persons_s": "s", "start_s": "s", "end_s": "s", "duration_s": "s"},
        coverage={key: sum(each[key] for each in covered) for key in covered[0]},
        corrected=run.corrected_faces,
    )
    return note_columns(table)


def _whom(batch: SubjectSegments, condition: Condition, *, everywhere: bool) -> IntArray:
    if condition.who is None:
        return np.arange(len(batch.subjects), dtype=np.int64)
    if everywhere and not batch.subjects.knows(condition.who):
        return np.empty(0, np.int64)
    return batch.subjects.find(condition.who)


def _meeting(stored: StoredRun | AllRuns, batch: SubjectSegments, condition: Condition, who: IntArray) -> Segments:
    """When each of these subjects met the condition, frame by frame."""
    label = label_index(condition.expression)
    rows = batch.rows
    candidates = (rows.label == label) & np.isin(rows.group, who)
    if condition.above == 0.0:
        return rows.select(candidates)
    candidates &= rows.peak > condition.above
    parts = []
    track_run = batch.subjects.run[rows.group]
    for run in np.unique(track_run[candidates]).tolist():
        tracks = np.unique(batch.track[candidates & (track_run == run)])
        frame, track = _faces_above(stored, run, tracks, label, condition.above)
        parts.append(Segments.plain(batch.subjects.of(run, track), *frame_times(stored.connection, run).of(frame)))
    return Segments.concatenated(parts)


def _faces_above(
    stored: StoredRun | AllRuns, run: int, tracks: IntArray, label: int, above: float
) -> tuple[IntArray, IntArray]:
    """Frame and track of the faces with that label and a higher probability; answered from the index alone."""
    met: sa.ColumnElement[bool] = (Face.label == label) & (Face.probability > above)
    given = stored.corrections_of(run)
    if len(given):
        met = sa.true()  # what people say of a face is put in place of the estimate below
    found = []
    for start in range(0, len(tracks), _TRACKS_AT_ONCE):
        some = tracks[start : start + _TRACKS_AT_ONCE].tolist()
        found += fetch_tuples(
            stored.connection,
            sa.select(Face.frame_index, Face.track, Face.label, Face.probability).where(
                Face.run_id == run, Face.track.in_(some), met
            ),
        )
    table = np.array(found, np.float64).reshape(-1, 4)
    (frame, track, shown), probability = table[:, :3].T.astype(np.int64), table[:, 3]
    given.by_track(frame, track, shown, probability)
    kept = (shown == label) & (probability > above)
    return frame[kept], track[kept]


def _rows(
    batch: SubjectSegments, conditions: Sequence[Condition], met: Sequence[Segments], min_duration_s: float
) -> pd.DataFrame:
    if len(conditions) == 1 and conditions[0].people == 1:
        found = met[0].lasting(min_duration_s)
        run = batch.subjects.run[found.group]
        order = np.lexsort((found.group, found.start_s, run))
        found, run = found.select(order), run[order]
        persons = batch.subjects.label[found.group].tolist()
        lasts_s = [f"{seconds:.3f}" for seconds in found.duration_s.tolist()]
    else:
        held = [
            each.overlapping(condition.people, batch.subjects.run[each.group])
            for condition, each in zip(conditions, met, strict=True)
        ]
        every = Segments.concatenated(held)
        found = every.overlapping(len(conditions), every.group).lasting(min_duration_s)
        found = found.select(np.lexsort((found.start_s, found.group)))
        run = found.group
        persons, lasts_s = _who_took_part(batch, found, met)
    return pd.DataFrame(
        {
            "run": run,
            "persons": pd.Series(persons, dtype="str"),
            "persons_s": pd.Series(lasts_s, dtype="str"),
            "start_s": found.start_s,
            "end_s": found.end_s,
            "duration_s": found.duration_s,
        }
    )


def _who_took_part(batch: SubjectSegments, found: Segments, met: Sequence[Segments]) -> tuple[list[str], list[str]]:
    """Per moment, who met a condition within it, and for how long; longest first."""
    every = Segments.concatenated(met).closed()  # who met two conditions at once counts once
    run_of = batch.subjects.run[every.group]
    order = np.lexsort((every.start_s, run_of))
    every, run_of = every.select(order), run_of[order]
    first_of, last_of = np.searchsorted(run_of, found.group), np.searchsorted(run_of, found.group, side="right")
    names, lasts_s = [], []
    for run_first, run_last, start_s, end_s in zip(first_of, last_of, found.start_s, found.end_s, strict=True):
        within = every.select(slice(int(run_first), int(run_last))).clipped(start_s, end_s)
        within = within.select(within.duration_s > 1e-9)
        subjects, owner = np.unique(within.group, return_inverse=True)
        seconds = np.bincount(owner, within.duration_s, minlength=len(subjects)).round(3)
        order = np.lexsort((subjects, -seconds))
        names.append(", ".join(batch.subjects.label[subjects[order]].tolist()))
        lasts_s.append(", ".join(f"{each:.3f}" for each in seconds[order]))
    return names, lasts_s
