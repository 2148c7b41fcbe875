"""Latency of each person's first change of expression after a marker."""

from __future__ import annotations

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.errors import StorageError
from fertrack.storage.answer_models import Marker
from fertrack.storage.config import LONGEST_GAP_S, SHORTEST_EPISODE_S
from fertrack.storage.people.subjects import subject_columns
from fertrack.storage.queries.batches import STATES, SubjectSegments, categories, check_durations, joined_answer
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.faces import frame_times
from fertrack.storage.queries.markers import outside_sentence
from fertrack.storage.queries.segments import Segments
from fertrack.storage.queries.statistics import episodes_of
from fertrack.storage.stored_run import AllRuns, StoredRun
from fertrack.types import EXPRESSIONS, UNCERTAIN, IntArray

__all__ = ["since_marker"]

_UNITS = {"time_s": "s", "onset_s": "s", "latency_s": "s", "uncertain_s": "s", "no_face_s": "s"}
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
    marker. Where none is (the person is *uncertain*, or not seen), the last expression shown before it counts; where
    there was none either, the first one shown after it: entering the frame does not count. Where the
    marker is a segment, its beginning counts.

    Args:
        run: one run, or all: see ``Database.runs``.
        label: only markers of this name; all if None.
        who: only this person; see ``Subjects.find``.
        within_s: how long after the marker to look, seconds.
        min_duration_s: shorter episodes are passed over, seconds.
        max_gap_s: longest interruption of an episode, seconds.

    Returns:
        Columns marker (its label), time_s, run, person, track, before (categorical: expression, "uncertain" or "no
        face"), after (expression; missing where nothing changed), onset_s, latency_s (NaN where nothing changed),
        uncertain_s and no_face_s (between the marker and the change, or the end of the time looked at, or of the
        run's frames: what may hide an earlier change; s). ``.attrs["coverage"]``: certain_s, uncertain_s, no_face_s of
        the whole runs. ``.attrs["outside"]``: a sentence for each run with markers before or after its frames.

    Raises:
        RunNotFoundError: there is nobody of that name.
        StorageError: no such marker is stored.
        ValueError: a negative duration.
    """
    check_durations(within_s=within_s, min_duration_s=min_duration_s, max_gap_s=max_gap_s)
    marked, spans, outside = _marked(run, label)

    def part(batch: SubjectSegments, asked: IntArray) -> pd.DataFrame:
        found = episodes_of(batch, max_gap_s, min_duration_s)
        rows = [
            (name, time_s, subject, *_first_change(batch, found, int(subject), time_s, within_s, span_s=spans[number]))
            for subject in asked
            for number in (int(batch.subjects.run[subject]),)
            for name, time_s in marked.get(number, ())
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
                "uncertain_s": np.array(columns[6], np.float64),
                "no_face_s": np.array(columns[7], np.float64),
            }
        )

    table = joined_answer(run, who, part, units=dict(_UNITS))
    attrs = dict(table.attrs)
    table = table.sort_values(["run", "time_s", "marker", "track"], ignore_index=True)
    table.attrs.update({**attrs, "outside": outside})
    return note_columns(table)


def _marked(
    run: StoredRun | AllRuns, label: str | None
) -> tuple[dict[int, list[tuple[str, float]]], dict[int, tuple[float, float]], list[str]]:
    """By run, name and time of the markers asked for, and its first and last moment; sentences on those outside."""
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
    spans = {number: frame_times(run.connection, number).span_s() for number in numbers}
    found: dict[int, list[tuple[str, float]]] = {}
    for row in rows:
        if label is None or row.label == label:
            found.setdefault(row.run_id, []).append((row.label, row.time_s))
    if not found:
        names = ", ".join(dict.fromkeys(row.label for row in rows))
        there_are = f"there are {names}" if names else "`fertrack markers import` adds some"
        raise StorageError(f"there is no marker{'' if label is None else f' {label!r}'} in {where}: {there_are}")
    told = (outside_sentence(number, [at for _, at in each], spans[number]) for number, each in found.items())
    return found, spans, [sentence for sentence in told if sentence]


def _first_change(
    batch: SubjectSegments,
    found: Segments,
    subject: int,
    time_s: float,
    within_s: float,
    *,
    span_s: tuple[float, float],
) -> tuple[int, int, float, float, float]:
    """State before, expression after (-1 if none), its onset, and time uncertain and without a face until then."""
    mine = slice(*np.searchsorted(found.group, [subject, subject + 1]).tolist())
    onset_s, offset_s, label = found.start_s[mine], found.end_s[mine], found.label[mine]
    rows = batch.rows.select(batch.rows.group == subject)
    held = np.flatnonzero((onset_s <= time_s) & (time_s < offset_s))
    shown = np.flatnonzero((rows.start_s <= time_s) & (time_s < rows.end_s))
    if len(held):
        before = int(label[held[0]])
    elif len(shown):
        before = _UNCERTAIN if rows.label[shown[0]] == UNCERTAIN else int(rows.label[shown[0]])
    else:
        before = _NO_FACE
    known = before
    if before in (_UNCERTAIN, _NO_FACE) and len(label):
        known = int(label[max(0, int(np.searchsorted(onset_s, time_s, side="right")) - 1)])
    later = np.flatnonzero((onset_s > time_s) & (onset_s <= time_s + within_s) & (label != known))
    after, onset = (int(label[later[0]]), float(onset_s[later[0]])) if len(later) else (-1, np.nan)
    # What was before the first frame or after the last one was not looked at.
    from_s, until_s = np.clip([time_s, onset if len(later) else time_s + within_s], *span_s).tolist()
    until_then = rows.clipped(from_s, until_s)
    uncertain_s = float(until_then.duration_s[until_then.label == UNCERTAIN].sum())
    no_face_s = max(0.0, until_s - from_s - float(until_then.duration_s.sum()))
    return before, after, onset, uncertain_s, no_face_s
