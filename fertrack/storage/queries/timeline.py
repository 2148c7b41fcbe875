"""Questions to the database, answered as DataFrames. Columns are documented here; units are in ``.attrs["units"]``.

Every function asks one ``StoredRun``, as ``Database.run`` opens it::

    with open_database("fertrack.db") as database, database.run("last") as run:
        rows, kept = timeline(run), episodes(run, min_duration_s=0.5)

so that all of them see the same moment, even while a run is being written. They raise ``StorageError`` if the database
cannot be read. A face that somebody corrected counts with the label it was given, of probability 1;
``.attrs["corrected"]`` says how many faces of the run did. ``open_database(..., corrected=False)`` asks for the
estimates.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import sqlalchemy as sa

from fertrack.storage.config import LONGEST_GAP_S, SHORTEST_EPISODE_S
from fertrack.storage.models import Face, TrackRow
from fertrack.storage.queries.batches import categories, run_coverage
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.faces import (
    FaceColumns,
    check_track,
    load_faces,
    load_frames,
)
from fertrack.storage.stored_run import StoredRun
from fertrack.types import (
    EXPRESSIONS,
    LABELS,
    NOT_READABLE,
    UNCERTAIN,
    Float64Array,
    IntArray,
    expression_index,
    label_name,
)

__all__ = ["episodes", "label_index", "timeline", "tracks"]

_SHOWN = (*LABELS, label_name(NOT_READABLE))


def timeline(
    run: StoredRun,
    *,
    track: int | None = None,
    expression: str | None = None,
    from_s: float | None = None,
    to_s: float | None = None,
    include_unconfirmed: bool = False,
) -> pd.DataFrame:
    """One row per face and frame, by frame, then by track.

    Args:
        run: the run.
        track: only this one.
        expression: only faces labelled so; one of ``EXPRESSIONS`` or a word for it, "uncertain" or "not readable".
        from_s: only frames shown at this time or later, seconds.
        to_s: only frames shown before this time, seconds.
        include_unconfirmed: with the faces that no confirmed track has claimed (track -1).

    Returns:
        Columns run, frame_index, face_index (which of the frame's faces, from 0), time_s (s), track, person (display
        name, missing if none was given), x1, y1, x2, y2 (px in the source frame), score (0 to 1), label (categorical:
        an expression, "uncertain" or "not readable"), probability (smoothed, of the label; of the most likely
        expression where it is none), p_<expression> (smoothed; seven), raw_<expression> (calibrated, of this frame
        alone; seven), quality (0 to 1, missing: not judged). ``.attrs["coverage"]``: certain_s, uncertain_s and
        no_face_s of the persons and the time asked about, whatever ``expression`` leaves out.

    Raises:
        RunNotFoundError: there is no such track in the run.
        ValueError: no such expression, or an empty range of time.
    """
    label = None if expression is None else label_index(expression)
    if from_s is not None and to_s is not None and from_s >= to_s:
        raise ValueError(f"nothing lies between {from_s} s and {to_s} s: the range must end after it begins")
    check_track(run.connection, run.number, track)
    frames, time_s = load_frames(run.connection, run.number, from_s, to_s)
    conditions = [Face.run_id == run.number]
    if (from_s is not None or to_s is not None) and len(frames):
        conditions.append(Face.frame_index.between(int(frames[0]), int(frames[-1])))
    if track is not None:
        conditions.append(Face.track == track)
    elif not include_unconfirmed:
        conditions.append(Face.track.is_not(None))
    if label is not None and not len(run.corrections):
        conditions.append(Face.label == label)
    faces = load_faces(run.connection, *conditions) if len(frames) else load_faces(run.connection, sa.false())
    run.corrections.by_face(faces.frame_index, faces.face_index, faces.label, faces.probability)
    names = run.subjects.labels()
    order = np.lexsort((faces.track, faces.frame_index))
    if label is not None:
        order = order[faces.label[order] == label]
    order = order[np.isin(faces.frame_index[order], frames)]  # if times ever went back, the range holds other frames
    position = np.minimum(np.searchsorted(frames, faces.frame_index), len(frames) - 1)
    table = _timeline_table(run.number, faces, time_s[position], names, order)
    covered = run_coverage(run, tracks=_only(track), from_s=from_s, to_s=to_s)
    table.attrs.update(run=run.number, units=_timeline_units(), coverage=covered, corrected=run.corrected_faces)
    return note_columns(table)


def episodes(
    run: StoredRun,
    *,
    track: int | None = None,
    min_duration_s: float = SHORTEST_EPISODE_S,
    max_gap_s: float = LONGEST_GAP_S,
) -> pd.DataFrame:
    """One row per segment of time in which a person kept one expression, by track, then by time.

    An episode may be interrupted for up to ``max_gap_s`` by time in which the person is *uncertain* or not seen;
    another expression ends it at once. *Uncertain* itself makes no episodes. It lasts until its last frame stops
    being shown, so an episode of a single frame lasts one frame interval.

    Args:
        run: the run.
        track: only this one.
        min_duration_s: leave out shorter ones (after joining), seconds.
        max_gap_s: longest interruption, seconds.

    Returns:
        Columns track, person, expression (categorical), start_s, end_s, duration_s (s), mean_probability,
        peak_probability (smoothed, over the frames that show the expression), frames (their number).
        ``.attrs["coverage"]``: certain_s, uncertain_s and no_face_s of the whole run, of all persons or of ``track``.

    Raises:
        RunNotFoundError: there is no such track in the run.
        ValueError: a negative duration or gap.
    """
    if min_duration_s < 0.0 or max_gap_s < 0.0:
        raise ValueError(f"durations must not be negative, got min {min_duration_s} s and gap {max_gap_s} s")
    check_track(run.connection, run.number, track)
    rows = run.segments.rows
    rows = rows if track is None else rows.select(rows.group == track)
    found = rows.joined(max_gap_s).lasting(min_duration_s)
    table = pd.DataFrame(
        {
            "track": found.group,
            "person": _names_of(found.group, run.subjects.labels()),
            "expression": categories(found.label, EXPRESSIONS),
            "start_s": found.start_s,
            "end_s": found.end_s,
            "duration_s": found.duration_s,
            "mean_probability": found.mean,
            "peak_probability": found.peak,
            "frames": found.frames,
        }
    )
    units = {"start_s": "s", "end_s": "s", "duration_s": "s", "mean_probability": "1", "peak_probability": "1"}
    covered = run_coverage(run, tracks=_only(track))
    table.attrs.update(run=run.number, units=units, coverage=covered, corrected=run.corrected_faces)
    return note_columns(table)


def tracks(run: StoredRun) -> pd.DataFrame:
    """One row per confirmed track: when the person was seen, and what share of that time each label took.

    Shares are of the time in which the person's face was seen: each frame counts for as long as it is shown, at most
    1 s or four median intervals. They sum to 1.

    Returns:
        Columns track, person, first_s, last_s (times of the first and last frame with the face, s), frames,
        share_<expression> (seven), share_uncertain.
    """
    stored = run.connection.execute(
        sa.select(TrackRow.number, TrackRow.first_s, TrackRow.last_s, TrackRow.faces)
        .where(TrackRow.run_id == run.number)
        .order_by(TrackRow.number)
    ).all()
    ids = np.array([row.number for row in stored], np.int64)
    shares = run.segments.rows.regrouped(np.searchsorted(ids, run.segments.rows.group)).label_shares(len(ids))
    table = pd.DataFrame(
        {
            "track": ids,
            "person": _names_of(ids, run.subjects.labels()),
            "first_s": np.array([row.first_s for row in stored], np.float64),
            "last_s": np.array([row.last_s for row in stored], np.float64),
            "frames": np.array([row.faces for row in stored], np.int64),
            **{f"share_{name}": shares[:, i] for i, name in enumerate(LABELS)},
        }
    )
    units = {"first_s": "s", "last_s": "s", **{f"share_{name}": "1" for name in LABELS}}
    table.attrs.update(run=run.number, units=units)
    return note_columns(table)


_MISSPELT = ("suprise",)
"""Words that data sets use, but that a person who writes them may have meant otherwise."""


def label_index(expression: str) -> int:
    """Index of a label's name, or of a word for it such as ``happy``; -1 for "uncertain", -2 for "not readable".

    Raises:
        ValueError: there is no such label; the message says what was probably meant.
    """
    word = expression.strip().lower()
    if word == "uncertain":
        return UNCERTAIN
    if word == _SHOWN[-1]:
        return NOT_READABLE
    if word not in _MISSPELT and (index := expression_index(word)) >= 0:
        return index
    close = difflib.get_close_matches(word, _SHOWN, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it must be one of {', '.join(_SHOWN)}"
    raise ValueError(f"no expression {expression!r}: {hint}")


def _only(track: int | None) -> tuple[int] | None:
    return None if track is None else (track,)


def _names_of(track: IntArray, names: Mapping[int, str]) -> pd.Series:
    if not names:
        return pd.Series(None, index=range(len(track)), dtype="str")
    return pd.Series(track).map(dict(names)).astype("str")


def _timeline_table(
    run: int, faces: FaceColumns, time_s: Float64Array, names: Mapping[int, str], order: npt.NDArray[np.intp]
) -> pd.DataFrame:
    codes = np.where(faces.label < 0, len(EXPRESSIONS) - 1 - faces.label, faces.label)
    xyxy, smoothed, raw = faces.xyxy[order], faces.smoothed[order], faces.probabilities[order]
    return pd.DataFrame(
        {
            "run": np.full(len(order), run, np.int64),
            "frame_index": faces.frame_index[order],
            "face_index": faces.face_index[order],
            "time_s": time_s[order],
            "track": faces.track[order],
            "person": _names_of(faces.track[order], names),
            **{name: xyxy[:, i] for i, name in enumerate(("x1", "y1", "x2", "y2"))},
            "score": faces.score[order],
            "label": categories(codes[order], _SHOWN),
            "probability": faces.probability[order],
            **{f"p_{name}": smoothed[:, i] for i, name in enumerate(EXPRESSIONS)},
            **{f"raw_{name}": raw[:, i] for i, name in enumerate(EXPRESSIONS)},
            "quality": faces.quality[order],
        }
    )


def _timeline_units() -> dict[str, str]:
    units = {"time_s": "s", "x1": "px", "y1": "px", "x2": "px", "y2": "px", "score": "1", "probability": "1"}
    units["quality"] = "1"
    return {**units, **{f"{kind}_{name}": "1" for kind in ("p", "raw") for name in EXPRESSIONS}}
