"""Conditions of an experiment, taken from markers: shares of time and transitions by condition.

A marker belongs to the condition that a column of its file names. ``markers import`` keeps such columns in the marker's
note as ``name=value; name=value``; a marker's own name can be the condition, too. A marker with an end counts from its
time to its end, one without for as long as is said. Intervals of one condition that overlap count once; where those of
two conditions overlap, the time counts for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.errors import StorageError
from fertrack.storage.answer_models import Marker
from fertrack.storage.config import LONGEST_BREAK_S, LONGEST_GAP_S, SHORTEST_EPISODE_S
from fertrack.storage.people.subjects import subject_columns
from fertrack.storage.queries.batches import (
    LABELS,
    STATES,
    SubjectSegments,
    categories,
    check_durations,
    coverage,
    joined_answer,
)
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.faces import frame_times
from fertrack.storage.queries.segments import Segments
from fertrack.storage.queries.statistics import counted_transitions, episodes_of, ratio
from fertrack.storage.recordings import stated_of
from fertrack.storage.stored_run import AllRuns, StoredRun
from fertrack.types import EXPRESSIONS, Float64Array, IntArray

__all__ = [
    "ConditionMarker",
    "Conditions",
    "condition_markers",
    "condition_stats",
    "condition_transitions",
    "load_conditions",
    "with_conditions",
    "with_own_conditions",
    "with_run_condition",
]

_OF_RUN = "run_condition"
_NAME = "label"
"""Given as the column: the markers' own names."""


@dataclass(frozen=True, slots=True)
class ConditionMarker:
    """A marker and its condition.

    Attributes:
        run: number of the run.
        label: the marker's name.
        time_s: when it is, or begins.
        end_s: when it ends; None for a moment.
        condition: what its column says; empty if it has none.
    """

    run: int
    label: str
    time_s: float
    end_s: float | None
    condition: str


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """Conditions of some runs.

    Attributes:
        names: names of the conditions, in the order of their first markers.
        of_run: by number of the run: intervals, whose group is the index of the condition; by condition, then by time,
            without overlaps within one.
        trials: by number of the run and index of the condition: its markers.
        moments: markers of a condition that were left out, since they have no end.
    """

    names: tuple[str, ...]
    of_run: dict[int, Segments]
    trials: dict[tuple[int, int], int]
    moments: int

    def of(self, run: int, condition: int) -> Segments:
        """Intervals of one condition in one run."""
        rows = self.of_run.get(run, Segments.concatenated([]))
        return rows.select(rows.group == condition)


def condition_markers(run: StoredRun | AllRuns, by: str, *, named: bool = False) -> list[ConditionMarker]:
    """Markers of one run, or of all, each with its condition; by run, then by time.

    Args:
        run: one run, or all: see ``Database.runs``.
        by: name of the column, such as ``trial_type``; ``label`` for the markers' own names.
        named: take the markers' own names, whatever their columns are called.

    Raises:
        StorageError: no marker has such a column; it names those that there are.
    """
    statement = sa.select(Marker.run_id, Marker.label, Marker.time_s, Marker.end_s, Marker.note)
    where = "any run"
    if isinstance(run, StoredRun):
        statement = statement.where(Marker.run_id == run.number)
        where = f"run {run.number}"
    elif run.only is not None:
        statement = statement.where(Marker.run_id.in_(list(run.only)))
        where = "the runs asked for"
    rows = run.connection.execute(statement.order_by(Marker.run_id, Marker.time_s, Marker.id)).all()
    asked = by.strip().lower()
    columns = [{} if named else _columns(row.note) for row in rows]
    known = dict.fromkeys(name for each in columns for name in each)
    by_name = asked == _NAME and asked not in known
    if not rows or (asked not in known and not by_name):
        if not rows:
            raise StorageError(f"there is no marker in {where}: `fertrack markers import` adds some")
        have = f"they have {', '.join(known)}; or" if known else "they have no columns:"
        raise StorageError(f"no marker in {where} has a column {by!r}: {have} group by their names with --by {_NAME}")
    return [
        ConditionMarker(row.run_id, row.label, row.time_s, row.end_s, said.get(asked, row.label if by_name else ""))
        for row, said in zip(rows, columns, strict=True)
    ]


def _columns(note: str) -> dict[str, str]:
    """Columns kept in a note, by name in lower case.

    >>> _columns("stream: trial_type=smile; block=2")
    {'trial_type': 'smile', 'block': '2'}
    """
    pairs = [part.partition("=") for part in note.split(";")]
    named = {name.rpartition(": ")[2].strip().lower(): value.strip() for name, equals, value in pairs if equals}
    return {name: value for name, value in named.items() if name and value}


def load_conditions(run: StoredRun | AllRuns, by: str, lasts_s: float | None = None) -> Conditions:
    """Intervals of the conditions of one run, or of all.

    Args:
        run: one run, or all.
        by: name of the column; see ``condition_markers``.
        lasts_s: for how long a marker without an end counts, seconds; None: it is left out.

    Raises:
        StorageError: no marker has such a column, or none has an end and ``lasts_s`` is None.
        ValueError: a negative duration.
    """
    check_durations(lasts_s=lasts_s)
    marked = [each for each in condition_markers(run, by) if each.condition]
    names = tuple(dict.fromkeys(each.condition for each in marked))
    place = {name: index for index, name in enumerate(names)}
    timed = [(each, max(each.end_s or -np.inf, each.time_s)) for each in marked]
    timed = [(each, end_s if end_s > each.time_s else each.time_s + (lasts_s or 0.0)) for each, end_s in timed]
    counted = [(each, end_s) for each, end_s in timed if end_s > each.time_s]
    if not counted:
        raise StorageError(
            f"the markers with {by!r} are moments without an end: say how long each counts, for example --lasting 5"
        )
    low, high = run.between or (-np.inf, np.inf)
    of_run, trials = {}, {}
    for number in dict.fromkeys(each.run for each, _ in counted):
        mine = [(place[each.condition], each.time_s, end_s) for each, end_s in counted if each.run == number]
        group, start_s, end_s = (np.array(column) for column in zip(*mine, strict=True))
        within = Segments.plain(group, start_s, end_s).clipped(low, high)
        of_run[number] = within.closed()
        trials.update({(number, index): int(np.sum(within.group == index)) for index in range(len(names))})
    return Conditions(names, of_run, trials, len(marked) - len(counted))


def condition_stats(
    run: StoredRun | AllRuns,
    by: str,
    *,
    who: str | int | None = None,
    lasts_s: float | None = None,
    min_duration_s: float = SHORTEST_EPISODE_S,
    max_gap_s: float = LONGEST_GAP_S,
) -> pd.DataFrame:
    """One row per run, person, condition and state: the seven expressions, "uncertain" and "no face".

    Args:
        run: one run, or all: see ``Database.runs``.
        by: name of the column that says the condition; ``label`` for the markers' names.
        who: only this person; see ``Subjects.find``.
        lasts_s: for how long a marker without an end counts, seconds; None: it is left out.
        min_duration_s: shorter episodes are not counted (their time is), seconds.
        max_gap_s: longest interruption of an episode, seconds.

    Returns:
        Columns run, person, track (the person's first), condition, trials (its markers), state (categorical), seconds
        (time with that label within the condition), share_of_face_time (of its time with a face; NaN for "no face"),
        share_of_condition (of the time its frames were shown), episodes (those that begin in it), per_minute (of its
        time with a face). ``.attrs["coverage"]``: certain_s, uncertain_s, no_face_s of all conditions, added up;
        ``.attrs["moments"]``: markers that were left out, since they have no end.

    Raises:
        RunNotFoundError: there is nobody of that name.
        StorageError: no marker has such a column, or none has an end and ``lasts_s`` is None.
        ValueError: a negative duration or gap.
    """
    check_durations(min_duration_s=min_duration_s, max_gap_s=max_gap_s)
    found = load_conditions(run, by, lasts_s)
    covered: list[dict[str, float]] = []

    def part(batch: SubjectSegments, asked: IntArray) -> pd.DataFrame:
        episodes = episodes_of(batch, max_gap_s, min_duration_s, asked)
        rows, people = batch.rows, len(batch.subjects)
        frames = {number: frame_times(run.connection, number) for number in batch.runs if number in found.of_run}
        tables = [_stats_rows(batch, found, None)]
        for number, condition in _pairs(found, batch):
            within = found.of(number, condition)
            shown_s = within.measure(frames[number].start_s, frames[number].end_s).sum()
            seen = rows.seconds_by_label(people, within.measure(rows.start_s, rows.end_s))
            seconds = np.column_stack([seen, np.maximum(shown_s - seen.sum(axis=1), 0.0)])
            begun = episodes.select(within.holds(episodes.start_s))
            cells = np.bincount(begun.group * len(STATES) + begun.label, minlength=people * len(STATES))
            mine = asked[batch.subjects.run[asked] == number]
            covered.append(coverage(seconds[mine]))
            counted = _Counted((number, condition), mine, seconds[mine], cells.reshape(-1, len(STATES))[mine])
            tables.append(_stats_rows(batch, found, counted))
        return pd.concat(tables[1:] or tables, ignore_index=True)

    table = joined_answer(run, who, part, units={"seconds": "s", "per_minute": "1/min"})
    table = with_run_condition(run, table)
    summed = {key: sum(each[key] for each in covered) for key in coverage(np.zeros(len(STATES)))}
    place = pd.Categorical(table["condition"], categories=list(found.names)).codes
    ordered = table.assign(_place=place).sort_values(["run", "track", "_place", "state"], ignore_index=True)
    return _answered(ordered.drop(columns="_place"), found, summed, table.attrs)


def _pairs(found: Conditions, batch: SubjectSegments) -> list[tuple[int, int]]:
    """Run and condition of every combination that has trials."""
    return [key for number in batch.runs for key, count in found.trials.items() if key[0] == number and count]


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """Seconds and numbers of episodes, each (A, 9), of some subjects in one run and condition."""

    key: tuple[int, int]
    subjects: IntArray
    seconds: Float64Array
    episodes: IntArray


def _stats_rows(batch: SubjectSegments, found: Conditions, counted: _Counted | None) -> pd.DataFrame:
    """Rows of one run and condition; none, with the same columns, of nothing."""
    wide = len(STATES)
    nothing = np.zeros((0, wide), np.int64)
    counted = counted or _Counted((0, 0), np.empty(0, np.int64), nothing.astype(np.float64), nothing)
    seconds, rows = counted.seconds, np.repeat(counted.subjects, wide)
    faces_s = seconds[:, : len(LABELS)].sum(axis=1, keepdims=True)
    of_face = ratio(seconds, faces_s)
    of_face[:, -1] = np.nan
    return pd.DataFrame(
        {
            **subject_columns(batch.subjects, rows),
            "condition": pd.Series([found.names[counted.key[1]]] * len(rows), dtype="str"),
            "trials": np.full(len(rows), found.trials.get(counted.key, 0), np.int64),
            "state": categories(np.tile(np.arange(wide), len(counted.subjects)), STATES),
            "seconds": seconds.ravel(),
            "share_of_face_time": of_face.ravel(),
            "share_of_condition": ratio(seconds, seconds.sum(axis=1, keepdims=True)).ravel(),
            "episodes": counted.episodes.ravel(),
            "per_minute": ratio(60.0 * counted.episodes, faces_s).ravel(),
        }
    )


def condition_transitions(
    run: StoredRun | AllRuns,
    by: str,
    *,
    who: str | int | None = None,
    lasts_s: float | None = None,
    min_duration_s: float = SHORTEST_EPISODE_S,
    max_gap_s: float = LONGEST_GAP_S,
    max_break_s: float = LONGEST_BREAK_S,
) -> pd.DataFrame:
    """Transitions between expressions by condition: a square table of the seven for each, summed over all persons.

    A transition belongs to the condition in which the second expression begins. What counts as one, and the other
    arguments, are those of ``statistics.transitions``.

    Returns:
        Columns condition, from, and the seven expressions that came next; counts. ``.attrs["coverage"]`` is that of
        the whole runs; ``.attrs["broken"]`` counts pairs with a longer break; ``.attrs["moments"]``: markers left out.

    Raises:
        RunNotFoundError: there is nobody of that name.
        StorageError: no marker has such a column, or none has an end and ``lasts_s`` is None.
        ValueError: a negative duration.
    """
    check_durations(min_duration_s=min_duration_s, max_gap_s=max_gap_s, max_break_s=max_break_s)
    found = load_conditions(run, by, lasts_s)
    cells = len(EXPRESSIONS) ** 2 + 1

    def part(batch: SubjectSegments, asked: IntArray) -> pd.DataFrame:
        episodes = episodes_of(batch, max_gap_s, min_duration_s, asked)
        number = batch.subjects.run[episodes.group] if len(episodes) else episodes.group
        counts = np.zeros((len(found.names), cells), np.int64)
        for key in _pairs(found, batch):
            begins = found.of(*key).holds(episodes.start_s) & (number == key[0])
            counts[key[1]] += counted_transitions(episodes, max_gap_s, max_break_s, begins)
        return pd.DataFrame({"count": counts.ravel()})

    table = joined_answer(run, who, part, units={})
    summed = table["count"].to_numpy(np.int64).reshape(-1, len(found.names), cells).sum(axis=0)
    names = list(EXPRESSIONS)
    result = pd.DataFrame(
        {
            "condition": np.repeat(np.array(found.names, object), len(names)),
            "from": np.tile(np.array(names, object), len(found.names)),
            **{name: summed[:, place : cells - 1 : len(names)].ravel() for place, name in enumerate(names)},
        }
    )
    result.attrs.update(table.attrs)
    result.attrs.update(units=dict.fromkeys(names, "1"), broken=int(summed[:, -1].sum()))
    return _answered(result, found, table.attrs["coverage"], result.attrs)


def with_conditions(
    run: StoredRun | AllRuns, table: pd.DataFrame, by: str, *, at: str, lasts_s: float | None = None
) -> pd.DataFrame:
    """An answer with one more column, ``condition``: the one in which each row's moment lies.

    Args:
        run: what the answer is about.
        table: with the columns run and ``at``.
        by: name of the column that says the condition.
        at: column with the moment, such as ``onset_s``.
        lasts_s: for how long a marker without an end counts, seconds; None: it is left out.

    Returns:
        The same rows. ``condition`` is empty outside of all; several that overlap are joined by ", ".

    Raises:
        StorageError: no marker has such a column, or none has an end and ``lasts_s`` is None.
        ValueError: a negative duration.
    """
    found = load_conditions(run, by, lasts_s)
    said: list[list[str]] = [[] for _ in range(len(table))]
    numbers, moments_s = table["run"].to_numpy(np.int64), table[at].to_numpy(np.float64)
    for number, index in found.trials:
        inside = found.of(number, index).holds(moments_s) & (numbers == number)
        for row in np.flatnonzero(inside).tolist():
            said[row].append(found.names[index])
    attrs = dict(table.attrs)
    table = table.rename(columns={"condition": _OF_RUN})
    joined = table.assign(condition=pd.Series([", ".join(each) for each in said], index=table.index, dtype="str"))
    return _answered(joined, found, attrs["coverage"], attrs)


def with_own_conditions(run: StoredRun | AllRuns, table: pd.DataFrame, by: str) -> pd.DataFrame:
    """An answer about markers with one more column, ``condition``: that of each row's marker; empty if it has none.

    Args:
        run: what the answer is about.
        table: with the columns run, marker and time_s.
        by: name of the column that says the condition.

    Raises:
        StorageError: no marker has such a column.
    """
    own = {(each.run, each.label, each.time_s): each.condition for each in condition_markers(run, by)}
    rows = zip(table["run"].tolist(), table["marker"].tolist(), table["time_s"].tolist(), strict=True)
    attrs = dict(table.attrs)
    table = table.rename(columns={"condition": _OF_RUN})
    joined = table.assign(condition=pd.Series([own.get(row, "") for row in rows], index=table.index, dtype="str"))
    joined.attrs.update(attrs)
    return note_columns(joined)


def with_run_condition(run: StoredRun | AllRuns, table: pd.DataFrame) -> pd.DataFrame:
    """An answer by conditions of markers with ``run_condition``, where conditions of runs were stated, too."""
    if not isinstance(run, AllRuns):
        return table
    stated = {number: each.condition for number, each in stated_of(run.connection, run.only).items()}
    if not any(stated.values()):
        return table
    values = [stated.get(number, "") for number in table["run"].tolist()]
    joined = table.assign(**{_OF_RUN: pd.Series(values, index=table.index, dtype="str")})
    joined.attrs.update(table.attrs)
    return joined


def _answered(
    table: pd.DataFrame, found: Conditions, covered: dict[str, float], attrs: Mapping[Any, Any]
) -> pd.DataFrame:
    table.attrs.update({**attrs, "coverage": covered, "moments": found.moments})
    return note_columns(table)
