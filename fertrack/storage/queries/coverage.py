"""Coverage of one run's frames: time that is certain, uncertain or without a face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fertrack.storage.queries.batches import STATES, coverage
from fertrack.storage.stored_run import StoredRun
from fertrack.types import EXPRESSIONS, UNCERTAIN, Float64Array

__all__ = ["run_coverage"]


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
    every, subjects = run.stretches.rows, run.subjects
    rows = every if tracks is None else every.select(np.isin(every.track, list(tracks)))
    low, high = -np.inf if from_s is None else from_s, np.inf if to_s is None else to_s
    whole = from_s is None and to_s is None
    shown_s = run.stretches.shown_s[run.number] if whole else run.frames.shown_between(low, high)
    lasts_s = np.maximum(np.minimum(rows.end_s, high) - np.maximum(rows.start_s, low), 0.0)
    who = np.zeros(len(rows), np.int64)
    if tracks is None and len(rows):
        who = subjects.of(run.number, rows.track)
    people = 1 if tracks is not None else len(subjects)
    column = np.where(rows.label == UNCERTAIN, len(EXPRESSIONS), rows.label)
    wide = len(STATES) - 1
    seconds = np.bincount(who * wide + column, lasts_s, minlength=people * wide).reshape(-1, wide)
    unseen_s: Float64Array = np.maximum(shown_s - seconds.sum(axis=1), 0.0)
    return coverage(np.column_stack([seconds, unseen_s]))
