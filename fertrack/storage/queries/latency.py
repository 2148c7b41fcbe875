"""Latency of each person's first change of expression after a marker.

Smoothing makes a change show late. So a change is found in the episodes, which are smoothed and do not flicker, and
timed in the single frames' own probabilities: it begins with the first frame, of an unbroken row that reaches to the
episode's onset, in which the new expression is the likeliest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.errors import StorageError
from fertrack.storage.answer_models import Marker
from fertrack.storage.config import LONGEST_GAP_S, SHORTEST_EPISODE_S
from fertrack.storage.models import Face
from fertrack.storage.packing import unpack_rows
from fertrack.storage.people.subjects import subject_columns
from fertrack.storage.queries.batches import STATES, SubjectSegments, categories, check_durations, joined_answer
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.faces import FrameTimes, frame_times
from fertrack.storage.queries.markers import outside_sentence
from fertrack.storage.queries.segments import Segments
from fertrack.storage.queries.statistics import episodes_of
from fertrack.storage.stored_run import AllRuns, StoredRun
from fertrack.types import EXPRESSIONS, UNCERTAIN, IntArray

__all__ = ["since_marker"]

_UNITS = dict.fromkeys(("time_s", "onset_s", "latency_s", "watched_s", "uncertain_s", "no_face_s"), "s")
_MAX_DELAY_S = 2.0
"""Smoothing shows a change later than single frames do by at most so much."""
_UNCERTAIN, _NO_FACE = STATES.index("uncertain"), STATES.index("no face")


def since_marker(
    run: StoredRun | AllRuns,
    label: str | None = None,
    *,
    who: str | int | None = None,
    within_s: float = 10.0,
    min_duration_s: float = SHORTEST_EPISODE_S,
    max_gap_s: float = LONGEST_GAP_S,
) -> pd.DataFrame:
    """One row per marker and person: what the person showed at the marker, and when that changed first.

    A change is the onset, after the marker, of the first episode of another expression than the one shown at the
    marker. Where none is (the person is *uncertain*, or not seen), the first one shown after it counts in its place: to
    become certain, or to enter the frame, is no reaction. A change that single frames show before the marker is none
    either. Where the marker is a segment, its beginning counts.

    Args:
        run: one run, or all: see ``Database.runs``.
        label: only markers of this name; all if None.
        who: only this person; see ``Subjects.find``.
        within_s: how long after the marker to look, seconds.
        min_duration_s: shorter episodes are passed over, seconds.
        max_gap_s: longest interruption of an episode, seconds.

    Returns:
        Columns marker (its label), time_s, run, person, track, before (categorical: expression, "uncertain" or "no
        face"), after (expression; missing where nothing changed), onset_s (in single frames, before smoothing),
        latency_s (NaN where nothing changed), watched_s (how much of ``within_s`` the run's frames cover, s),
        uncertain_s and no_face_s (between the marker and the change, or the end of the time looked at, or of the
        run's frames: what may hide an earlier change; s). ``.attrs["coverage"]``: certain_s, uncertain_s, no_face_s of
        the whole runs. ``.attrs["outside"]``: a sentence for each run with markers before or after its frames;
        ``.attrs["cut"]``: one for each run that ends before the time looked at does.

    Raises:
        RunNotFoundError: there is nobody of that name.
        StorageError: no such marker is stored.
        ValueError: a negative duration.
    """
    check_durations(within_s=within_s, min_duration_s=min_duration_s, max_gap_s=max_gap_s)
    marked, frames, outside = _marked(run, label)

    def part(batch: SubjectSegments, asked: IntArray) -> pd.DataFrame:
        found = episodes_of(batch, max_gap_s, min_duration_s)

        def of(subject: int) -> _Watched:
            mine = slice(*np.searchsorted(found.group, [subject, subject + 1]).tolist())
            number = int(batch.subjects.run[subject])
            return _Watched(
                run.connection,
                number,
                batch.subjects.people[subject].tracks,
                found.select(mine),
                batch.rows.select(batch.rows.group == subject),
                frames[number],
            )

        rows = [
            (name, time_s, subject, *_first_change(of(int(subject)), time_s, within_s))
            for subject in asked
            for name, time_s in marked.get(int(batch.subjects.run[subject]), ())
        ]
        columns = list(zip(*rows, strict=True)) or [()] * 8
        onset_s = np.array(columns[5], np.float64)
        time_s = np.array(columns[1], np.float64)
        return pd.DataFrame(
            {
                "marker": pd.Series(list(columns[0]), dtype="str"),
                "time_s": time_s,
                **subject_columns(batch.subjects, np.array(columns[2], np.int64)),
                "before": categories(np.array(columns[3], np.int64), STATES),
                "after": categories(np.array(columns[4], np.int64), EXPRESSIONS),
                "onset_s": onset_s,
                "latency_s": onset_s - time_s,
                "watched_s": [
                    _watched_s(at, within_s, frames[int(batch.subjects.run[subject])].span_s())
                    for at, subject in zip(columns[1], columns[2], strict=True)
                ],
                "uncertain_s": np.array(columns[6], np.float64),
                "no_face_s": np.array(columns[7], np.float64),
            }
        )

    table = joined_answer(run, who, part, units=dict(_UNITS))
    attrs = dict(table.attrs)
    table = table.sort_values(["run", "time_s", "marker", "track"], ignore_index=True)
    cut = [sentence for number, each in marked.items() if (sentence := _cut(number, each, within_s, frames[number]))]
    table.attrs.update({**attrs, "outside": outside, "cut": cut})
    return note_columns(table)


def _marked(
    run: StoredRun | AllRuns, label: str | None
) -> tuple[dict[int, list[tuple[str, float]]], dict[int, FrameTimes], list[str]]:
    """By run, name and time of the markers asked for, and its frames; sentences on those outside."""
    statement = sa.select(Marker.run_id, Marker.label, Marker.time_s).order_by(Marker.run_id, Marker.time_s)
    where = "any run"
    if isinstance(run, StoredRun):
        statement = statement.where(Marker.run_id == run.number)
        where = f"run {run.number}"
    elif run.only is not None:
        statement = statement.where(Marker.run_id.in_(list(run.only)))
        where = "the runs asked for"
    rows = run.connection.execute(statement).all()
    numbers = dict.fromkeys(row.run_id for row in rows)
    frames = {number: frame_times(run.connection, number) for number in numbers}
    found: dict[int, list[tuple[str, float]]] = {}
    for row in rows:
        if label is None or row.label == label:
            found.setdefault(row.run_id, []).append((row.label, row.time_s))
    if not found:
        names = ", ".join(dict.fromkeys(row.label for row in rows))
        there_are = f"there are {names}" if names else "`fertrack markers import` adds some"
        raise StorageError(f"there is no marker{'' if label is None else f' {label!r}'} in {where}: {there_are}")
    told = (outside_sentence(number, [at for _, at in each], frames[number].span_s()) for number, each in found.items())
    return found, frames, [sentence for sentence in told if sentence]


@dataclass(frozen=True, slots=True, eq=False)
class _Watched:
    """One person of a run: episodes by time, segments frame by frame, and the run's frames."""

    connection: sa.Connection
    run: int
    tracks: Sequence[int]
    episodes: Segments
    rows: Segments
    frames: FrameTimes

    def onset_s(self, label: int, smoothed_s: float) -> float:
        """Onset of an expression in the single frames; the smoothed one where they do not show it."""
        frame, start_s, _ = self.frames
        first, last = np.searchsorted(start_s, [smoothed_s - _MAX_DELAY_S, smoothed_s + 1e-6])
        if first == last:
            return smoothed_s
        statement = sa.select(Face.frame_index, Face.probabilities).where(
            Face.run_id == self.run,
            Face.track.in_(list(self.tracks)),
            Face.frame_index.between(int(frame[first]), int(frame[last - 1])),
        )
        found = dict(self.connection.execute(statement).all())
        onset_s = smoothed_s
        for index in range(int(last) - 1, int(first) - 1, -1):
            packed = found.get(int(frame[index]))
            if packed is None:
                continue
            (values,) = unpack_rows([packed], (len(EXPRESSIONS),))
            if values[label] < values.max() or np.count_nonzero(values == values[label]) > 1:
                break
            onset_s = float(start_s[index])
        return onset_s


def _first_change(person: _Watched, time_s: float, within_s: float) -> tuple[int, int, float, float, float]:
    """State before, expression after (-1 if none), its onset, and time uncertain and without a face until then."""
    onset_s, offset_s, label = person.episodes.start_s, person.episodes.end_s, person.episodes.label
    rows = person.rows
    held = np.flatnonzero((onset_s <= time_s) & (time_s < offset_s))
    shown = np.flatnonzero((rows.start_s <= time_s) & (time_s < rows.end_s))
    if len(held):
        before = int(label[held[0]])
    elif len(shown):
        before = _UNCERTAIN if rows.label[shown[0]] == UNCERTAIN else int(rows.label[shown[0]])
    else:
        before = _NO_FACE
    known = -1 if before in (_UNCERTAIN, _NO_FACE) else before
    after, onset = -1, np.nan
    for each in np.flatnonzero((onset_s > time_s) & (onset_s <= time_s + within_s + _MAX_DELAY_S)).tolist():
        if label[each] == known:
            continue
        began_s = person.onset_s(int(label[each]), float(onset_s[each]))
        if known < 0 or began_s <= time_s:
            known = int(label[each])  # what is shown first, or was there before the marker
        elif began_s <= time_s + within_s:
            after, onset = int(label[each]), began_s
            break
    # What was before the first frame or after the last one was not looked at.
    span_s = person.frames.span_s()
    from_s, until_s = np.clip([time_s, onset if after >= 0 else time_s + within_s], *span_s).tolist()
    until_then = rows.clipped(from_s, until_s)
    uncertain_s = float(until_then.duration_s[until_then.label == UNCERTAIN].sum())
    no_face_s = max(0.0, until_s - from_s - float(until_then.duration_s.sum()))
    return before, after, onset, uncertain_s, no_face_s


def _watched_s(time_s: float, within_s: float, span_s: tuple[float, float]) -> float:
    from_s, until_s = np.clip([time_s, time_s + within_s], *span_s).tolist()
    return float(until_s - from_s)


def _cut(run: int, marked: Sequence[tuple[str, float]], within_s: float, frames: FrameTimes) -> str:
    """Sentence on the markers of a run whose time to react is cut short by its end; empty if there are none."""
    first_s, end_s = frames.span_s()
    late = [time_s for _, time_s in marked if first_s <= time_s < end_s < time_s + within_s - 1e-6]
    if not late:
        return ""
    markers = "1 marker" if len(late) == 1 else f"{len(late)} markers"
    return (
        f"run {run} ends at {end_s:.2f} s, less than {within_s:g} s after {markers} (the first at {late[0]:.2f} s): "
        "a later reaction cannot be seen"
    )
