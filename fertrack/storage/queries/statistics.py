"""Statistics of persons, of one run or of all: episodes, shares of time, transitions. All from stored episodes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from fertrack.storage.config import LONGEST_BREAK_S, LONGEST_GAP_S, SHORTEST_EPISODE_S
from fertrack.storage.people.subjects import subject_columns
from fertrack.storage.queries.batches import STATES, SubjectSegments, categories, check_durations, joined_answer
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.segments import Segments
from fertrack.storage.queries.timeline import label_index
from fertrack.storage.stored_run import AllRuns, StoredRun
from fertrack.types import EXPRESSIONS, UNCERTAIN, BoolArray, Float64Array, IntArray

__all__ = ["counted_transitions", "episodes_of", "expression_stats", "person_episodes", "ratio", "transitions"]

_SECONDS = ("onset_s", "apex_s", "offset_s", "duration_s", "uncertain_s", "no_face_s")
_EPISODE_UNITS = {**dict.fromkeys(_SECONDS, "s"), "mean_probability": "1", "peak_probability": "1"}
_UNITS = {
    "seconds": "s",
    "share_of_face_time": "1",
    "share_of_run": "1",
    "mean_duration_s": "s",
    "longest_s": "s",
    "per_minute": "1/min",
}


def person_episodes(
    run: StoredRun | AllRuns,
    *,
    who: str | int | None = None,
    expression: str | None = None,
    min_duration_s: float = SHORTEST_EPISODE_S,
    max_gap_s: float = LONGEST_GAP_S,
) -> pd.DataFrame:
    """One row per segment of time in which a person kept one expression; by run, by person, by time.

    An episode may be interrupted for up to ``max_gap_s`` by time in which the person is *uncertain* or not seen;
    another expression ends it at once. *Uncertain* itself makes no episodes. It lasts until its last frame stops
    being shown.

    Args:
        run: one run, or all: see ``Database.runs``.
        who: only this person: a name, "P3", "ID 5" or a number; see ``Subjects.find``.
        expression: only this one of ``EXPRESSIONS``.
        min_duration_s: leave out shorter ones (after joining), seconds.
        max_gap_s: longest interruption, seconds.

    Returns:
        Columns run, person, track (the person's first), expression (categorical), onset_s, apex_s (when the highest
        probability is reached), offset_s, duration_s, uncertain_s and no_face_s (interruptions within the episode;
        s), mean_probability and peak_probability (smoothed, over the frames with the expression), frames.
        ``.attrs["coverage"]``: certain_s, uncertain_s, no_face_s of all the time asked about.

    Raises:
        RunNotFoundError: there is nobody of that name.
        ValueError: a negative duration or gap, or no such expression.
    """
    check_durations(min_duration_s=min_duration_s, max_gap_s=max_gap_s)
    label = None if expression is None else label_index(expression)
    if label == UNCERTAIN:
        raise ValueError(f"uncertain makes no episodes: expression must be one of {', '.join(EXPRESSIONS)}")

    def part(batch: SubjectSegments, asked: IntArray) -> pd.DataFrame:
        found = episodes_of(batch, max_gap_s, min_duration_s, asked)
        if label is not None:
            found = found.select(found.label == label)
        return pd.DataFrame(
            {
                **subject_columns(batch.subjects, found.group),
                "expression": categories(found.label, EXPRESSIONS),
                "onset_s": found.start_s,
                "apex_s": found.apex_s,
                "offset_s": found.end_s,
                "duration_s": found.duration_s,
                "uncertain_s": found.uncertain_s,
                "no_face_s": np.maximum(found.duration_s - found.certain_s - found.uncertain_s, 0.0),
                "mean_probability": found.mean,
                "peak_probability": found.peak,
                "frames": found.frames,
            }
        )

    return joined_answer(run, who, part, units=dict(_EPISODE_UNITS))


def expression_stats(
    run: StoredRun | AllRuns,
    *,
    who: str | int | None = None,
    min_duration_s: float = SHORTEST_EPISODE_S,
    max_gap_s: float = LONGEST_GAP_S,
) -> pd.DataFrame:
    """One row per run, person and state: the seven expressions, "uncertain" and "no face".

    Args:
        run: one run, or all: see ``Database.runs``.
        who: only this person; see ``Subjects.find``.
        min_duration_s: shorter episodes are not counted (their time is), seconds.
        max_gap_s: longest interruption of an episode, seconds.

    Returns:
        Columns run, person, track (the person's first), state (categorical), seconds (time with that label, frame by
        frame), share_of_face_time (of the time with a face; NaN for "no face"), share_of_run (of the time the run's
        frames were shown), episodes (their number; 0 for the states that make none), mean_duration_s, longest_s,
        per_minute (episodes per minute with a face). ``.attrs["coverage"]``: certain_s, uncertain_s, no_face_s.

    Raises:
        RunNotFoundError: there is nobody of that name.
        ValueError: a negative duration or gap.
    """
    check_durations(min_duration_s=min_duration_s, max_gap_s=max_gap_s)

    def part(batch: SubjectSegments, asked: IntArray) -> pd.DataFrame:
        seconds = batch.seconds()[asked]
        seen_s = seconds[:, :-1].sum(axis=1, keepdims=True)
        counts, sums_s, longest_s = _episodes(batch, asked, max_gap_s, min_duration_s)
        rows = np.repeat(asked, len(STATES))
        of_face = ratio(seconds, seen_s)
        of_face[:, -1] = np.nan
        return pd.DataFrame(
            {
                **subject_columns(batch.subjects, rows),
                "state": categories(np.tile(np.arange(len(STATES)), len(asked)), STATES),
                "seconds": seconds.ravel(),
                "share_of_face_time": of_face.ravel(),
                "share_of_run": ratio(seconds, batch.shown_s[asked][:, None]).ravel(),
                "episodes": counts.ravel(),
                "mean_duration_s": ratio(sums_s, counts).ravel(),
                "longest_s": longest_s.ravel(),
                "per_minute": ratio(60.0 * counts, seen_s).ravel(),
            }
        )

    return joined_answer(run, who, part, units=dict(_UNITS))


def transitions(
    run: StoredRun | AllRuns,
    *,
    who: str | int | None = None,
    min_duration_s: float = SHORTEST_EPISODE_S,
    max_gap_s: float = LONGEST_GAP_S,
    max_break_s: float = LONGEST_BREAK_S,
    as_probability: bool = False,
) -> pd.DataFrame:
    """Transitions between expressions: a square table of the seven, summed over all persons asked for.

    A transition is two episodes of one person, one after the other, with at most ``max_break_s`` between them in
    which the person was *uncertain* or not seen, or showed something too shortly. After a longer break nobody knows
    what came between. An expression that comes back more than ``max_gap_s`` after it ended is followed by itself; one
    that comes back sooner, since a shorter episode between was passed over, just goes on.

    Args:
        run: one run, or all: see ``Database.runs``.
        who: only this person; see ``Subjects.find``.
        min_duration_s: shorter episodes are passed over, seconds.
        max_gap_s: longest interruption of an episode, seconds.
        max_break_s: longest time between two episodes, seconds.
        as_probability: each row divided by its sum (NaN where that is 0): an estimate of the chance that the second
            expression is the next one, given the first.

    Returns:
        Index ``from``, columns the expression ``to``, both ``EXPRESSIONS``; counts, or probabilities.
        ``.attrs["coverage"]``: certain_s, uncertain_s, no_face_s; ``.attrs["broken"]``: pairs with a longer break.

    Raises:
        RunNotFoundError: there is nobody of that name.
        ValueError: a negative duration.
    """
    check_durations(min_duration_s=min_duration_s, max_gap_s=max_gap_s, max_break_s=max_break_s)

    def part(batch: SubjectSegments, asked: IntArray) -> pd.DataFrame:
        found = episodes_of(batch, max_gap_s, min_duration_s, asked)
        return pd.DataFrame({"count": counted_transitions(found, max_gap_s, max_break_s)})

    table = joined_answer(run, who, part, units={})
    cells = len(EXPRESSIONS) ** 2 + 1
    summed = table["count"].to_numpy(np.int64).reshape(-1, cells).sum(axis=0)
    square = summed[:-1].reshape(len(EXPRESSIONS), -1)
    values = ratio(square, square.sum(axis=1, keepdims=True)) if as_probability else square
    names = list(EXPRESSIONS)
    result = pd.DataFrame(values, index=pd.Index(names, name="from"), columns=pd.Index(names, name="to"))
    result.attrs.update(table.attrs)
    result.attrs.update(units=dict.fromkeys(names, "1"), broken=int(summed[-1]))
    return note_columns(result)


def counted_transitions(
    found: Segments, max_gap_s: float, max_break_s: float, begins: BoolArray | None = None
) -> IntArray:
    """Numbers of transitions among episodes, by subject and then by time.

    Args:
        found: E episodes.
        max_gap_s: longest interruption of an episode, seconds.
        max_break_s: longest time between two episodes, seconds.
        begins: (E,), whether a transition to this episode counts; all do if None.

    Returns:
        int64 (50,): the square of first and second expression, row by row, then pairs with a longer break.
    """
    pair = np.diff(found.group) == 0
    if begins is not None:
        pair &= begins[1:]
    breaks_s = found.start_s[1:] - found.end_s[:-1]
    goes_on = (np.diff(found.label) == 0) & (breaks_s <= max_gap_s + 1e-9)
    near = pair & (breaks_s <= max_break_s + 1e-9) & ~goes_on
    counted = np.bincount(
        found.label[:-1][near] * len(EXPRESSIONS) + found.label[1:][near], minlength=len(EXPRESSIONS) ** 2
    )
    return np.append(counted, np.count_nonzero(pair & ~near & ~goes_on)).astype(np.int64)


def episodes_of(
    batch: SubjectSegments, max_gap_s: float, min_duration_s: float, asked: IntArray | None = None
) -> Segments:
    """Episodes of a batch's subjects, of all or of the ``asked`` ones; by subject, then by time."""
    rows = batch.rows if asked is None else batch.rows.select(np.isin(batch.rows.group, asked))
    return rows.joined(max_gap_s).lasting(min_duration_s)


def _episodes(
    batch: SubjectSegments, asked: IntArray, max_gap_s: float, min_duration_s: float
) -> tuple[IntArray, Float64Array, Float64Array]:
    """Number, summed duration and longest of the episodes, each (A, 9); the two states without episodes have none."""
    found = episodes_of(batch, max_gap_s, min_duration_s)
    wide = len(STATES)
    cell = found.group * wide + found.label
    cells = len(batch.subjects) * wide
    counts: IntArray = np.bincount(cell, minlength=cells).astype(np.int64)
    sums_s: Float64Array = np.bincount(cell, weights=found.duration_s, minlength=cells).astype(np.float64)
    longest_s = np.zeros(cells)
    np.maximum.at(longest_s, cell, found.duration_s)
    longest_s[counts == 0] = np.nan
    return counts.reshape(-1, wide)[asked], sums_s.reshape(-1, wide)[asked], longest_s.reshape(-1, wide)[asked]


def ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> Float64Array:
    """Quotient, NaN where the divisor is 0."""
    over, under = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    quotient: Float64Array = np.divide(over, under, out=np.full(over.shape, np.nan), where=under > 0.0)
    return quotient
