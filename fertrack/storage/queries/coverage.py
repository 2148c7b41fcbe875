"""How much of the time asked about is certain, uncertain or without a face: for questions about one run's frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from fertrack.storage.engine import Database
from fertrack.storage.people.subjects import load_subjects
from fertrack.storage.queries.batches import STATES, coverage
from fertrack.storage.queries.episode_store import load_stretches
from fertrack.storage.queries.faces import frame_spans
from fertrack.storage.runs import find_run
from fertrack.types import EXPRESSIONS, UNCERTAIN

__all__ = ["coverage_of", "run_coverage"]


def coverage_of(
    db: Database,
    run: int | str,
    *,
    tracks: Sequence[int] | None = None,
    from_s: float | None = None,
    to_s: float | None = None,
) -> dict[str, float]:
    """As ``run_coverage``, of a run of an open database.

    Raises:
        RunNotFoundError: no such run is stored.
    """
    with db.reading() as connection:
        number = find_run(connection, db.name, run)
        return run_coverage(connection, number, tracks=tracks, from_s=from_s, to_s=to_s)


def run_coverage(
    connection: sa.Connection,
    run: int,
    *,
    tracks: Sequence[int] | None = None,
    from_s: float | None = None,
    to_s: float | None = None,
) -> dict[str, float]:
    """Person-seconds of one run, of everybody or of one person.

    Tracks that are one person count once.

    Args:
        connection: an open connection.
        run: its number.
        tracks: only these, taken for one person.
        from_s: only time from here, seconds.
        to_s: only time before here, seconds.

    Returns:
        certain_s, uncertain_s and no_face_s, which add up to the time asked about, once for each person.
    """
    loaded = load_stretches(connection, [run])
    rows = loaded.rows if tracks is None else loaded.rows.select(np.isin(loaded.rows.track, list(tracks)))
    subjects = load_subjects(connection, [run])
    low, high = -np.inf if from_s is None else from_s, np.inf if to_s is None else to_s
    whole = from_s is None and to_s is None
    shown_s = loaded.shown_s[run] if whole else _shown_between(connection, run, low, high)
    lasts_s = np.maximum(np.minimum(rows.end_s, high) - np.maximum(rows.start_s, low), 0.0)
    who = np.zeros(len(rows), np.int64)
    if tracks is None and len(rows):
        who = subjects.of(np.full(len(rows), run, np.int64), rows.track)
    people = 1 if tracks is not None else len(subjects)
    column = np.where(rows.label == UNCERTAIN, len(EXPRESSIONS), rows.label)
    wide = len(STATES) - 1
    seconds = np.bincount(who * wide + column, lasts_s, minlength=people * wide).reshape(-1, wide)
    unseen_s: npt.NDArray[np.float64] = np.maximum(shown_s - seconds.sum(axis=1), 0.0)
    return coverage(np.column_stack([seconds, unseen_s]))


def _shown_between(connection: sa.Connection, run: int, low: float, high: float) -> float:
    _, starts_s, ends_s = frame_spans(connection, run)
    return float(np.maximum(np.minimum(ends_s, high) - np.maximum(starts_s, low), 0.0).sum())
