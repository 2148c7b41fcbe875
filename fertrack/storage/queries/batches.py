"""Parts that all answers share: the runs asked about, their subjects' segments, and the coverage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fertrack.errors import RunNotFoundError
from fertrack.storage.people.subjects import Subjects, load_subjects
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.episode_store import RunSegments, load_segments, runs_in_batches
from fertrack.storage.queries.faces import frame_times
from fertrack.storage.queries.segments import Segments
from fertrack.storage.recordings import STATED, stated_of
from fertrack.storage.stored_run import AllRuns, StoredRun
from fertrack.types import EXPRESSIONS, Float64Array, IntArray

__all__ = [
    "LABELS",
    "STATES",
    "SubjectSegments",
    "categories",
    "check_durations",
    "coverage",
    "coverage_sentence",
    "each_batch",
    "joined_answer",
    "run_coverage",
    "with_stated",
]

LABELS = (*EXPRESSIONS, "uncertain")
STATES = (*LABELS, "no face")
"""Everything a person's time can be spent on, as the answers call it."""


@dataclass(frozen=True, slots=True, eq=False)
class SubjectSegments:
    """Segments of some runs, and their subjects.

    Attributes:
        runs: their numbers, ascending.
        subjects: S people.
        rows: E segments, by run and track; their group is the index of a subject.
        track: int64 (E,), the track of each.
        shown_s: (S,), how long the frames of each subject's run were shown, seconds.
    """

    runs: tuple[int, ...]
    subjects: Subjects
    rows: Segments
    track: IntArray
    shown_s: Float64Array

    def seconds(self) -> Float64Array:
        """Time per subject and state, (S, 9): the seven expressions, uncertain, no face."""
        seen = self.rows.seconds_by_label(len(self.subjects))
        unseen = np.maximum(self.shown_s - seen.sum(axis=1), 0.0)
        return np.column_stack([seen, unseen])


def each_batch(stored: StoredRun | AllRuns) -> Iterator[SubjectSegments]:
    """Segments of one run, or of all, some runs at a time; cut where only a part of the time is asked about."""
    if isinstance(stored, StoredRun):
        yield _cut(stored, _of_subjects([stored.number], stored.segments, stored.subjects))
        return
    for runs in runs_in_batches(stored.connection, stored.only):
        loaded = load_segments(stored.connection, runs, corrected=stored.corrected)
        yield _cut(stored, _of_subjects(runs, loaded, load_subjects(stored.connection, runs)))


def _cut(stored: StoredRun | AllRuns, batch: SubjectSegments) -> SubjectSegments:
    """The part of a batch that is asked about. Probabilities of segments that reach beyond stay those of the whole."""
    if stored.between is None:
        return batch
    low, high = stored.between
    shown_s = {run: frame_times(stored.connection, run).shown_between(low, high) for run in batch.runs}
    inside = (batch.rows.end_s > low) & (batch.rows.start_s < high)
    rows = batch.rows.select(inside).clipped(low, high)
    return replace(
        batch,
        rows=replace(rows, apex_s=rows.apex_s.clip(low, high), certain_s=rows.duration_s),
        track=batch.track[inside],
        shown_s=np.array([shown_s[int(number)] for number in batch.subjects.run], np.float64),
    )


def _of_subjects(runs: Sequence[int], loaded: RunSegments, subjects: Subjects) -> SubjectSegments:
    track = loaded.rows.group
    return SubjectSegments(
        runs=tuple(runs),
        subjects=subjects,
        rows=loaded.rows.regrouped(subjects.of(loaded.run, track)) if len(track) else loaded.rows,
        track=track,
        shown_s=np.array([loaded.shown_s[int(number)] for number in subjects.run], np.float64),
    )


def joined_answer(
    stored: StoredRun | AllRuns,
    who: str | int | None,
    part: Callable[[SubjectSegments, IntArray], pd.DataFrame],
    *,
    units: dict[str, str],
) -> pd.DataFrame:
    """Put the parts of an answer together, batch by batch; units, coverage and corrected faces go into ``.attrs``.

    Args:
        stored: one run, or all.
        who: whom it is about, as ``Subjects.find`` takes it; everybody if None.
        part: makes the rows of one batch, for the subjects of the given indexes.
        units: unit of each column that has one.

    Raises:
        RunNotFoundError: there is nobody of that name.
    """
    everywhere = isinstance(stored, AllRuns)
    parts, sums, anybody = [], [], False
    for batch in each_batch(stored):
        if who is None:
            asked = np.arange(len(batch.subjects), dtype=np.int64)
        elif everywhere and not batch.subjects.knows(who):  # who is in one run need not be in another
            asked = np.empty(0, np.int64)
        else:
            asked = batch.subjects.find(who)
        anybody |= len(asked) > 0
        parts.append(part(batch, asked))
        sums.append(coverage(batch.seconds()[asked]))
    if who is not None and not anybody:
        raise RunNotFoundError(f"there is nobody called {str(who)!r} in any run")
    table = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    covered = {key: sum(s[key] for s in sums) for key in sums[0]}
    table = with_stated(stored, table)
    table.attrs.update(run=stored.number, units=units, coverage=covered, corrected=stored.corrected_faces)
    return note_columns(table)


def with_stated(stored: StoredRun | AllRuns, table: pd.DataFrame) -> pd.DataFrame:
    """An answer about several runs with what was stated of each: participant, session, condition, where any was.

    The columns follow ``run``; a table without that column stays as it is.
    """
    if not isinstance(stored, AllRuns) or "run" not in table:
        return table
    recordings = stated_of(stored.connection, stored.only)
    place = list(table.columns).index("run") + 1
    for name in reversed(STATED):
        stated = {run: getattr(recording, name) for run, recording in recordings.items()}
        if any(stated.values()) and name not in table:
            values = pd.Series([stated.get(run, "") for run in table["run"].tolist()], dtype="str")
            table.insert(place, name, values)
    return table


def coverage(seconds: Float64Array) -> dict[str, float]:
    """Coverage of the time asked about: known, uncertain, or without a face; person-seconds.

    Args:
        seconds: (..., 9), as from ``SubjectSegments.seconds``.
    """
    summed = seconds.reshape(-1, len(STATES)).sum(axis=0)
    return {
        "certain_s": float(summed[: len(EXPRESSIONS)].sum()),
        "uncertain_s": float(summed[-2]),
        "no_face_s": float(summed[-1]),
    }


def run_coverage(
    run: StoredRun,
    *,
    tracks: Sequence[int] | None = None,
    from_s: float | None = None,
    to_s: float | None = None,
) -> dict[str, float]:
    """Person-seconds of one run, of everybody or of one person.

    Tracks that are one person count once.

    Args:
        run: the run.
        tracks: only these, taken for one person.
        from_s: only time from here, seconds.
        to_s: only time before here, seconds.

    Returns:
        certain_s, uncertain_s and no_face_s, which add up to the time asked about, once for each person.
    """
    every = run.segments.rows
    rows = every if tracks is None else every.select(np.isin(every.group, list(tracks)))
    whole = from_s is None and to_s is None
    low, high = -np.inf if from_s is None else from_s, np.inf if to_s is None else to_s
    shown_s = run.segments.shown_s[run.number] if whole else run.frames.shown_between(low, high)
    people = 1 if tracks is not None else len(run.subjects)
    who = np.zeros(len(rows), np.int64)
    if tracks is None and len(rows):
        who = run.subjects.of(run.number, rows.group)
    seconds = rows.regrouped(who).clipped(low, high).seconds_by_label(people)
    unseen_s: Float64Array = np.maximum(shown_s - seconds.sum(axis=1), 0.0)
    return coverage(np.column_stack([seconds, unseen_s]))


def coverage_sentence(coverage: dict[str, float]) -> str:
    """Sentence about the share of the time asked about that is unknown, all persons together.

    >>> coverage_sentence({"certain_s": 6.0, "uncertain_s": 1.0, "no_face_s": 3.0})
    'of 10.0 person-seconds, 10.0 % were uncertain and 30.0 % without a face'
    """
    total = sum(coverage.values())
    shares = [100.0 * coverage[key] / total if total else 0.0 for key in ("uncertain_s", "no_face_s")]
    return f"of {total:.1f} person-seconds, {shares[0]:.1f} % were uncertain and {shares[1]:.1f} % without a face"


def categories(codes: npt.NDArray[Any], names: Sequence[str]) -> pd.Categorical[Any]:
    """Codes as a categorical column."""
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(list(names)))


def check_durations(**durations_s: float | None) -> None:
    """Refuse durations that cannot be.

    Raises:
        ValueError: one is negative or not a finite number.
    """
    for name, value in durations_s.items():
        if value is not None and not (np.isfinite(value) and value >= 0.0):
            raise ValueError(f"{name} must be a number of seconds, 0 or more, got {value}")
