"""Timelines of persons at an even rate, whatever the frame rate was: means over time, not over frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError
from fertrack.storage.models import Face
from fertrack.storage.packing import PACKED, fetch_columns, unpack_joined
from fertrack.storage.queries.batches import LABELS, STATES, categories
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.faces import counted_label
from fertrack.storage.stored_run import StoredRun
from fertrack.types import EXPRESSIONS, UNCERTAIN, Float64Array, FloatArray, IntArray

__all__ = ["PersonRows", "bin_edges", "binned", "check_range", "load_person_rows", "resampled_timeline"]

_MAX_ROWS = 5_000_000
_MANY_TRACKS = 200


def resampled_timeline(
    run: StoredRun,
    rate_hz: float,
    *,
    who: str | int | None = None,
    from_s: float | None = None,
    to_s: float | None = None,
) -> pd.DataFrame:
    """One row per person and interval of ``1 / rate_hz`` seconds, also for those in which no face was seen.

    A frame counts for as long as it is shown within the interval, so the answer does not depend on the frame rate,
    and rates above it are as good as those below.

    Args:
        run: the run.
        rate_hz: rows per second and person.
        who: only this person; see ``Subjects.find``.
        from_s: where the first interval begins, seconds; the first frame if None.
        to_s: the last interval begins before this, seconds; the end of the last frame if None.

    Returns:
        Columns run, person, track (the person's first), time_s (start of the interval, s), label (categorical: "no
        face" where none was seen for more than half of the interval; else the expression, or "uncertain", that took
        most of the time), p_<expression> (smoothed, mean over the time with a face, NaN where the label is "no face";
        seven), share_uncertain and share_no_face (of the interval; the last one may reach beyond the end, which counts
        as no face).
        ``.attrs["coverage"]``: certain_s, uncertain_s, no_face_s. By person, then by time.

    Raises:
        RunNotFoundError: there is nobody of that name.
        ValueError: an impossible rate, an empty range of time, or more than five million rows.
    """
    if not (np.isfinite(rate_hz) and rate_hz > 0.0):
        raise ValueError(f"rate_hz must be above 0, got {rate_hz}")
    check_range(from_s, to_s)
    subjects = run.subjects
    asked = np.arange(len(subjects)) if who is None else subjects.find(who)
    rows = load_person_rows(run, asked, from_s=from_s, to_s=to_s)
    edges = bin_edges(rows, rate_hz, from_s, to_s)
    if (len(edges) - 1) * len(asked) > _MAX_ROWS:
        raise ValueError(f"{(len(edges) - 1) * len(asked):,} rows are too many: lower the rate, or ask for less time")
    parts = [_one_person(rows.of(subject), edges, rate_hz) for subject in asked]
    bins = len(edges) - 1
    who_of = np.repeat(asked, bins)
    states = np.concatenate([states for _, states in parts]) if parts else np.empty((0, len(STATES)))
    means = np.concatenate([means for means, _ in parts]) if parts else np.empty((0, len(EXPRESSIONS)))
    unseen = states[:, -1] * rate_hz > 0.5 + 1e-6
    means[unseen] = np.nan
    table = pd.DataFrame(
        {
            "run": np.full(len(who_of), run.number, np.int64),
            "person": pd.Series(subjects.label[who_of], dtype="str"),
            "track": subjects.track[who_of],
            "time_s": np.tile(edges[:-1], len(asked)),
            "label": categories(np.where(unseen, len(STATES) - 1, states[:, :-1].argmax(axis=1)), STATES),
            **{f"p_{name}": means[:, i].astype(np.float32) for i, name in enumerate(EXPRESSIONS)},
            "share_uncertain": states[:, -2] * rate_hz,
            "share_no_face": states[:, -1] * rate_hz,
        }
    )
    units = {"time_s": "s", **{name: "1" for name in table.columns if name.startswith(("p_", "share_"))}}
    seconds = states.sum(axis=0)
    table.attrs.update(
        run=run.number,
        rate_hz=rate_hz,
        units=units,
        coverage={
            "certain_s": float(seconds[: len(EXPRESSIONS)].sum()),
            "uncertain_s": float(seconds[-2]),
            "no_face_s": float(seconds[-1]),
        },
        corrected=run.corrected_faces,
    )
    return note_columns(table)


def check_range(from_s: float | None, to_s: float | None) -> None:
    """Refuse a range of time that ends before it begins, seconds.

    Raises:
        ValueError: it does.
    """
    if from_s is not None and to_s is not None and from_s >= to_s:
        raise ValueError(f"nothing lies between {from_s} s and {to_s} s: the range must end after it begins")


@dataclass(frozen=True, slots=True, eq=False)
class PersonRows:
    """Faces of some persons of one run, by subject and then by time; one face per person and frame. N of them.

    Attributes:
        subject: int64 (N,).
        start_s: (N,), when each row's frame is shown.
        lasts_s: (N,), for how long.
        label: int64 (N,), index into ``EXPRESSIONS`` or -1.
        smoothed: float32 (N, 7).
        first_s: when the first frame of the time asked about is shown; 0 without frames.
        end_s: when its last one stops being shown.
    """

    subject: IntArray
    start_s: Float64Array
    lasts_s: Float64Array
    label: IntArray
    smoothed: FloatArray
    first_s: float
    end_s: float

    def of(self, subject: int) -> PersonRows:
        """The rows of one of them."""
        first, last = np.searchsorted(self.subject, [subject, subject + 1])
        part = slice(int(first), int(last))
        return PersonRows(
            self.subject[part],
            self.start_s[part],
            self.lasts_s[part],
            self.label[part],
            self.smoothed[part],
            self.first_s,
            self.end_s,
        )


def load_person_rows(
    run: StoredRun, asked: IntArray, *, from_s: float | None = None, to_s: float | None = None
) -> PersonRows:
    """The faces of some persons that are shown within a range of time.

    Raises:
        RunNotFoundError: nothing was shown then.
    """
    subjects, (frames, start_s, ends_s) = run.subjects, run.frames
    inside = np.flatnonzero(
        (ends_s > (-np.inf if from_s is None else from_s)) & (start_s < (np.inf if to_s is None else to_s))
    )
    if not len(inside):
        raise RunNotFoundError(f"run {run.number} shows nothing at the time asked about")
    conditions = [Face.run_id == run.number]
    if len(inside) < len(frames):
        conditions.append(Face.frame_index.between(int(frames[inside].min()), int(frames[inside].max())))
    tracks = [track for subject in asked.tolist() for track in subjects.people[subject].tracks]
    everybody = len(asked) == len(subjects) or len(tracks) > _MANY_TRACKS
    conditions.append(Face.track.is_not(None) if everybody else Face.track.in_(tracks))
    statement = sa.select(Face.track, Face.frame_index, counted_label(), Face.smoothed).where(*conditions)
    track, frame_index, label, packed = fetch_columns(run.connection, statement, (np.int64, np.int64, np.int64, PACKED))
    run.corrections.by_track(frame_index, track, label)
    smoothed = unpack_joined(packed, len(track), (len(EXPRESSIONS),))
    subject = subjects.of(run.number, track) if len(track) else track
    position = np.searchsorted(frames, frame_index)
    order = np.lexsort((start_s[position], subject))
    keep = np.isin(subject[order], asked) & np.isin(position[order], inside)
    order = order[keep]
    subject, position = subject[order], position[order]
    new = np.ones(len(order), bool)  # people may have said that two tracks of one frame are one person
    new[1:] = (np.diff(subject) != 0) | (np.diff(start_s[position]) > 0.0)
    order, subject, position = order[new], subject[new], position[new]
    starts_s = start_s[position]
    lasts_s = ends_s[position] - starts_s
    same = np.append(np.diff(subject) == 0, [False])[: len(subject)]
    lasts_s[same] = np.minimum(lasts_s[same], np.diff(starts_s, append=np.inf)[same])
    return PersonRows(
        subject=subject,
        start_s=starts_s,
        lasts_s=lasts_s,
        label=label[order],
        smoothed=smoothed[order],
        first_s=float(start_s[inside[0]]),
        end_s=float(ends_s[inside].max()),
    )


def bin_edges(rows: PersonRows, rate_hz: float, from_s: float | None, to_s: float | None) -> Float64Array:
    """Borders of the intervals, (B + 1,): one more than there are intervals."""
    begin_s = rows.first_s if from_s is None else from_s
    end_s = rows.end_s if to_s is None else to_s
    count = max(1, int(np.ceil((end_s - begin_s) * rate_hz - 1e-6)))
    if count > _MAX_ROWS:
        raise ValueError(f"{count:,} intervals are too many: lower the rate, or ask for less time")
    edges: Float64Array = begin_s + np.arange(count + 1) / rate_hz
    return edges


def binned(rows: PersonRows, edges: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Integrals over each interval, of one person.

    Returns:
        (B, 7) smoothed probability times seconds; (B, 8) seconds per label: seven expressions, then uncertain.
    """
    if not len(rows.start_s):
        return np.zeros((len(edges) - 1, len(EXPRESSIONS))), np.zeros((len(edges) - 1, len(LABELS)))
    values = np.zeros((len(rows.start_s), len(EXPRESSIONS) + len(LABELS)))
    values[:, : len(EXPRESSIONS)] = rows.smoothed
    column = np.where(rows.label == UNCERTAIN, len(EXPRESSIONS), rows.label)
    values[np.arange(len(values)), len(EXPRESSIONS) + column] = 1.0
    before = np.vstack([np.zeros(values.shape[1]), np.cumsum(values * rows.lasts_s[:, None], axis=0)])
    row = np.searchsorted(rows.start_s, edges, side="right") - 1
    within = np.clip(edges - rows.start_s[row], 0.0, rows.lasts_s[row])
    integral = np.where((row >= 0)[:, None], before[row] + values[row] * within[:, None], 0.0)
    sums = np.diff(integral, axis=0)
    return sums[:, : len(EXPRESSIONS)], np.maximum(sums[:, len(EXPRESSIONS) :], 0.0)


def _one_person(rows: PersonRows, edges: Float64Array, rate_hz: float) -> tuple[Float64Array, Float64Array]:
    """Mean probabilities (B, 7), NaN without a face; and seconds per state (B, 9)."""
    sums, label_s = binned(rows, edges)
    seen_s = label_s.sum(axis=1)
    unseen_s = np.maximum(1.0 / rate_hz - seen_s, 0.0)
    unseen_s[unseen_s < 1e-9] = 0.0
    seen = seen_s > 1e-9
    means = np.divide(sums, seen_s[:, None], out=np.full(sums.shape, np.nan), where=seen[:, None])
    return means, np.column_stack([label_s, unseen_s])
