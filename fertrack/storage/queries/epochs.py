"""Epochs: probabilities around markers, trial by trial, at even times; and their means with confidence intervals.

Probabilities are those of each frame alone unless smoothed ones are asked for: smoothing delays a reaction and carries
what came before a marker into the time after it, while the mean over trials takes out the noise of single frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from fertrack.errors import RunNotFoundError, StorageError
from fertrack.storage.models import Face
from fertrack.storage.people.subjects import Subjects, load_subjects, subject_columns
from fertrack.storage.queries.batches import categories, with_stated
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.conditions import ConditionMarker, condition_markers, with_run_condition
from fertrack.storage.queries.faces import frame_times, load_faces
from fertrack.storage.queries.timeline import label_index
from fertrack.storage.stored_run import AllRuns, StoredRun
from fertrack.types import EXPRESSIONS, NOT_READABLE, UNCERTAIN, BoolArray, Float64Array, IntArray

__all__ = ["EpochRule", "epoch_means", "epochs"]

_MAX_ROWS = 5_000_000
_NOT_GIVEN = -9
_UNITS = {"marker_s": "s", "epoch_s": "s", "probability": "1", "change": "1"}
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class EpochRule:
    """Times of an epoch, all seconds from the marker.

    Attributes:
        from_s: beginning; negative: before the marker.
        to_s: end.
        rate_hz: values per second.
        baseline: from when to when the mean is taken that is subtracted, within the same trial; None: nothing is.
        smoothed: smoothed probabilities instead of those of each frame alone.

    Raises:
        ValueError: an end that is not after its beginning, or an impossible rate.
    """

    from_s: float = -1.0
    to_s: float = 4.0
    rate_hz: float = 10.0
    baseline: tuple[float, float] | None = None
    smoothed: bool = False

    def __post_init__(self) -> None:
        for name, begin_s, end_s in (("epoch", self.from_s, self.to_s), ("baseline", *(self.baseline or (0.0, 1.0)))):
            if not (np.isfinite(begin_s) and np.isfinite(end_s) and begin_s < end_s):
                raise ValueError(f"the {name} must end after it begins: it has {begin_s:g} s to {end_s:g} s")
        if not (np.isfinite(self.rate_hz) and self.rate_hz > 0.0):
            raise ValueError(f"rate_hz must be above 0, got {self.rate_hz:g}")

    def offsets(self) -> Float64Array:
        """Borders of the intervals, (B + 1,), seconds from the marker; the last interval may be shorter."""
        count = max(1, int(np.ceil((self.to_s - self.from_s) * self.rate_hz - 1e-6)))
        edges: Float64Array = self.from_s + np.arange(count + 1) / self.rate_hz
        edges[-1] = self.to_s
        return edges


def epochs(
    run: StoredRun | AllRuns,
    marker: str | None = None,
    rule: EpochRule | None = None,
    *,
    by: str | None = None,
    who: str | int | None = None,
    expression: str | None = None,
) -> pd.DataFrame:
    """One row per person, marker, interval of time and expression.

    A frame counts for as long as it is shown within an interval. Missing are intervals without a face, with a face that
    is not readable, or outside the video. Where a person corrected a face, that expression has probability 1 and the
    others 0; a face corrected to *uncertain* is missing. *Uncertain* estimates count with their probabilities.

    Args:
        run: one run, or all: see ``Database.runs``.
        marker: name of the markers; all if None.
        rule: times of an epoch; the defaults of ``EpochRule`` if None.
        by: column of the markers that says the condition; their names if None.
        who: only this person; see ``Subjects.find``.
        expression: only this one of ``EXPRESSIONS``.

    Returns:
        Columns run, person, track (the person's first), marker, trial (number of the marker among those of its name in
        the run, from 1), marker_s, condition, epoch_s (start of the interval, from the marker; s), expression
        (categorical), probability (mean over the interval; NaN where missing); with a baseline also change (probability
        minus its mean in the baseline of that trial; NaN where either is missing). By run, person, marker, time.
        ``.attrs``: "trials" (number of markers), "missing" (share of the intervals), "rule".

    Raises:
        RunNotFoundError: there is nobody of that name.
        StorageError: there is no such marker, no such column, or nobody is readable around any of the markers.
        ValueError: no such expression, or more than five million rows.
    """
    rule = rule or EpochRule()
    columns = np.arange(len(EXPRESSIONS)) if expression is None else np.array([_one(expression)])
    marked = _marked(run, marker, by)
    edges = rule.offsets()
    parts, anybody = [], False
    for number in dict.fromkeys(each.run for each, _ in marked):
        subjects = run.subjects if isinstance(run, StoredRun) else load_subjects(run.connection, [number])
        if who is None:
            asked = np.arange(len(subjects), dtype=np.int64)
        elif isinstance(run, AllRuns) and not subjects.knows(who):
            continue
        else:
            asked = subjects.find(who)
        anybody |= len(asked) > 0
        mine = [(each, trial) for each, trial in marked if each.run == number]
        if len(asked) * len(mine) * (len(edges) - 1) * len(columns) > _MAX_ROWS:
            raise ValueError("more than five million rows: ask for one marker, person or expression, or a lower rate")
        parts.append(_of_run(run, number, subjects, asked, marked=mine, rule=rule, columns=columns))
    if who is not None and not anybody:
        raise RunNotFoundError(f"there is nobody called {str(who)!r} in any run with such markers")
    table = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    table = with_run_condition(run, with_stated(run, table))
    known = table["probability"].notna().to_numpy()
    if not known.any():
        what = f"any of the {len(marked)} markers" if len(marked) > 1 else "the marker"
        raise StorageError(f"nobody is readable from {rule.from_s:g} s to {rule.to_s:g} s around {what}")
    table.attrs.update(
        run=run.number,
        units={name: unit for name, unit in _UNITS.items() if name in table.columns},
        trials=len(marked),
        missing=float(1.0 - known.mean()),
        rule=rule,
        corrected=run.corrected_faces,
    )
    return note_columns(table)


def _one(expression: str) -> int:
    label = label_index(expression)
    if label == UNCERTAIN:
        raise ValueError(f"uncertain has no probability: expression must be one of {', '.join(EXPRESSIONS)}")
    return label


def _marked(run: StoredRun | AllRuns, marker: str | None, by: str | None) -> list[tuple[ConditionMarker, int]]:
    """The markers asked for, each with its number among those of its name in its run."""
    every = condition_markers(run, by or "label", named=by is None)
    chosen = [each for each in every if (marker is None or each.label == marker) and each.condition]
    if not chosen:
        names = ", ".join(dict.fromkeys(each.label for each in every))
        which = "marker with a condition" if marker is None else f"marker {marker!r}"
        raise StorageError(f"there is no {which} to take epochs around: there are {names}")
    counts: dict[tuple[int, str], int] = {}
    found = []
    for each in chosen:
        key = (each.run, each.label)
        counts[key] = counts.get(key, 0) + 1
        found.append((each, counts[key]))
    return found


def _of_run(
    run: StoredRun | AllRuns,
    number: int,
    subjects: Subjects,
    asked: IntArray,
    *,
    marked: list[tuple[ConditionMarker, int]],
    rule: EpochRule,
    columns: IntArray,
) -> pd.DataFrame:
    edges = rule.offsets()
    moments_s = np.array([each.time_s for each, _ in marked])
    faces = _load(run, number, subjects, rule)
    trials, bins, classes = len(marked), len(edges) - 1, len(columns)
    means, changes = [], []
    for subject in asked.tolist():
        integral = faces.integral_of(subject)
        mean = _mean(integral, moments_s[:, None] + edges[:-1], moments_s[:, None] + edges[1:])
        means.append(mean[..., columns])
        if rule.baseline is not None:
            before = _mean(integral, moments_s + rule.baseline[0], moments_s + rule.baseline[1])
            changes.append((mean - before[:, None, :])[..., columns])
    size = (len(asked), trials, bins, classes)
    place = np.indices(size).reshape(4, -1)
    told = [each for each, _ in marked]
    values = np.array(means).reshape(-1) if means else np.empty(0)
    table = pd.DataFrame(
        {
            **subject_columns(subjects, asked[place[0]]),
            "marker": pd.Series(np.array([each.label for each in told], object)[place[1]], dtype="str"),
            "trial": np.array([trial for _, trial in marked], np.int64)[place[1]],
            "marker_s": moments_s[place[1]],
            "condition": pd.Series(np.array([each.condition for each in told], object)[place[1]], dtype="str"),
            "epoch_s": edges[:-1][place[2]],
            "expression": categories(columns[place[3]], EXPRESSIONS),
            "probability": values,
        }
    )
    if rule.baseline is not None:
        table["change"] = np.array(changes).reshape(-1) if changes else np.empty(0)
    return table


@dataclass(frozen=True, slots=True, eq=False)
class _ReadableFaces:
    """Readable faces of one run, by subject, then by time. N of them; values (N, 8): seven probabilities, then 1."""

    subject: IntArray
    start_s: Float64Array
    lasts_s: Float64Array
    values: Float64Array

    def integral_of(self, subject: int) -> _Integral:
        """Values of one subject, summed up over time."""
        part = slice(*np.searchsorted(self.subject, [subject, subject + 1]).tolist())
        return _Integral(self.start_s[part], self.lasts_s[part], self.values[part])


@dataclass(frozen=True, slots=True, eq=False)
class _Integral:
    """Values times the time for which they were shown, from the beginning until a moment."""

    start_s: Float64Array
    lasts_s: Float64Array
    values: Float64Array

    def until(self, time_s: Float64Array) -> Float64Array:
        """Integral of each of the eight until some moments, (..., 8)."""
        if not len(self.start_s):
            return np.zeros((*time_s.shape, self.values.shape[1]))
        before = np.vstack([np.zeros(self.values.shape[1]), np.cumsum(self.values * self.lasts_s[:, None], axis=0)])
        row = np.searchsorted(self.start_s, time_s, side="right") - 1
        within = np.clip(time_s - self.start_s[row], 0.0, self.lasts_s[row])
        found: Float64Array = np.where((row >= 0)[..., None], before[row] + self.values[row] * within[..., None], 0.0)
        return found


def _mean(integral: _Integral, from_s: Float64Array, to_s: Float64Array) -> Float64Array:
    """Mean probabilities over the readable time between moments, (..., 7); NaN where there is none."""
    sums = integral.until(to_s) - integral.until(from_s)
    known_s = sums[..., -1:]
    means: Float64Array = np.divide(
        sums[..., :-1], known_s, out=np.full((*known_s.shape[:-1], len(EXPRESSIONS)), np.nan), where=known_s > 1e-6
    )
    return means


def _load(run: StoredRun | AllRuns, number: int, subjects: Subjects, rule: EpochRule) -> _ReadableFaces:
    """All readable faces of one run; one face per person and frame."""
    faces = load_faces(run.connection, Face.run_id == number, Face.track.is_not(None))
    frames = frame_times(run.connection, number)
    given = np.full(len(faces.label), _NOT_GIVEN, np.int64)
    run.corrections_of(number).by_face(faces.frame_index, faces.face_index, given)
    chosen = faces.smoothed if rule.smoothed else faces.probabilities
    values = np.column_stack([chosen.astype(np.float64), np.ones(len(chosen))])
    corrected = given >= 0
    values[corrected, :-1] = np.eye(len(EXPRESSIONS))[given[corrected]]
    estimated: BoolArray = (given == _NOT_GIVEN) & (faces.label != NOT_READABLE)
    readable = (corrected | estimated) & np.isfinite(values).all(axis=1)
    start_s, end_s = frames.of(faces.frame_index)
    subject = subjects.of(number, faces.track) if len(faces.track) else faces.track
    order = np.lexsort((start_s, subject))
    order = order[readable[order]]
    new = np.ones(len(order), bool)  # people may have said that two tracks of one frame are one person
    new[1:] = (np.diff(subject[order]) != 0) | (np.diff(start_s[order]) > 0.0)
    order = order[new]
    return _ReadableFaces(subject[order], start_s[order], (end_s - start_s)[order], values[order])


def epoch_means(table: pd.DataFrame, *, after_only: bool = False) -> pd.DataFrame:
    """Means across trials with 95 % confidence intervals, by run, person, condition, expression and time.

    The interval is Student's: mean ± t * s / sqrt(n), with the n trials of one person and condition as the independent
    observations, at each time by itself; it has no correction for looking at many times. It may reach below 0 or above
    1 where trials are few.

    Args:
        table: as from ``epochs``; the mean is that of change where there is one, else that of probability.
        after_only: first take the mean of each trial over the time from the marker on; one row in place of those of
            each time.

    Returns:
        Columns run, person, condition, expression, epoch_s (unless after_only), trials (those with a value), mean, low,
        high (NaN with fewer than two trials).
    """
    value = "change" if "change" in table.columns else "probability"
    keys = ["run", "person", "condition", "expression"]
    if after_only:
        after = table[table["epoch_s"] >= -1e-9]
        table = after.groupby([*keys, "marker", "marker_s"], observed=True, sort=False)[value].mean().reset_index()
    else:
        keys = [*keys, "epoch_s"]
    summed = table.groupby(keys, observed=True, sort=False)[value].agg(["count", "mean", "std"]).reset_index()
    count = summed["count"].to_numpy(np.float64)
    many = count > 1
    half = np.full(len(summed), np.nan)
    half[many] = stdtrit(count[many] - 1, 0.5 + _CONFIDENCE / 2) * summed["std"].to_numpy()[many] / np.sqrt(count[many])
    result = summed[keys].assign(
        trials=summed["count"].astype(np.int64),
        mean=summed["mean"],
        low=summed["mean"] - half,
        high=summed["mean"] + half,
    )
    result.attrs.update(units={"epoch_s": "s", "mean": "1", "low": "1", "high": "1"})
    return note_columns(result)
