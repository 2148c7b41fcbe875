"""Labels that people gave to faces, beside the estimates: stored, replaced, and read back with the logits.

They are given out by ``corrections`` for evaluation and for the fitting of class biases, and every answer counts them
in place of the estimates (``storage.people.corrected_labels``). No stored estimate changes because of a correction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.errors import LabelsError
from fertrack.storage.engine import Database
from fertrack.storage.facts import find_run
from fertrack.storage.models import Correction, Face, FrameRow
from fertrack.storage.packing import unpack_rows
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.faces import frame_times, load_frames
from fertrack.storage.stored_run import StoredRun
from fertrack.tables import rows_sentence
from fertrack.types import EXPRESSIONS, LABELS, UNCONFIRMED, Float64Array, IntArray

__all__ = ["GivenLabel", "ImportReport", "corrections", "store_corrections"]

_TIME_TOLERANCE_S = 1e-6
"""Exports round times to this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenLabel:
    """A label for one face (``frame_index`` with ``face_index`` or ``track``) or for a track from then to then.

    Attributes:
        row: row of the file it comes from, for messages.
        label: index into ``EXPRESSIONS``; -1: somebody looked, and no expression can be told.
        run: run it was given for; None: whichever it is imported into.
        frame_index: frame of the face; None for a range of time.
        face_index: which of the frame's faces; None if ``track`` says it.
        track: the person's track; not used where ``face_index`` is given.
        from_s: start of the range, seconds.
        to_s: its end; a frame that begins then is outside.
        author: who gave the label; empty if not said.
    """

    row: int
    label: int
    run: int | None = None
    frame_index: int | None = None
    face_index: int | None = None
    track: int | None = None
    from_s: float | None = None
    to_s: float | None = None
    author: str = ""

    @property
    def place(self) -> str:
        """Face or faces that the label is about, for people."""
        run = "" if self.run is None else f"run {self.run}, "
        if self.frame_index is None:
            return f"{run}track {self.track}, {self.from_s:g} s to {self.to_s:g} s"
        which = f"track {self.track}" if self.face_index is None else f"face {self.face_index}"
        return f"{run}frame {self.frame_index}, {which}"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Result of an import.

    Attributes:
        run: the run.
        labels: labels that were given.
        faces: faces that carry a correction now because of them.
        changed: those of them whose correction is not the stored estimate.
        replaced: earlier corrections of the run that are gone.
        unmatched: labels for faces that are not in the run.
    """

    run: int
    labels: int
    faces: int
    changed: int
    replaced: int
    unmatched: tuple[GivenLabel, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Faces:
    frame_index: IntArray
    face_index: IntArray
    track: IntArray
    label: IntArray
    time_s: Float64Array


def store_corrections(
    db: Database,
    run: int | str,
    given: Sequence[GivenLabel],
    *,
    author: str = "",
    add: bool = False,
    clear: bool = False,
) -> ImportReport:
    """Store labels that people gave; all of it happens, or none. Where two name the same face, the later one holds.

    Args:
        db: the open database.
        run: number of the run, or "last".
        given: the labels; those whose face is not in the run are reported and left out.
        author: who gave the labels that do not say it themselves.
        add: keep the run's earlier corrections of other faces; without it, all of them are replaced.
        clear: remove the run's earlier corrections also where nothing takes their place.

    Raises:
        RunNotFoundError: no such run is stored.
        LabelsError: a frame or a time lies outside the run, or no label is for a face of it, and earlier corrections
            or other labels say that some should be.
        StorageError: the database cannot be written.
    """
    now = dt.datetime.now(dt.UTC)
    with db.writing() as connection:
        number = find_run(connection, db.name, run)
        _refuse_outside(connection, number, given)
        faces = _load(connection, number)
        chosen: dict[int, GivenLabel] = {}
        unmatched = []
        for label, positions in _matched(number, faces, given):
            if not len(positions):
                unmatched.append(label)
            chosen |= dict.fromkeys(positions.tolist(), label)
        rows = [
            {
                "run_id": number,
                "frame_index": int(faces.frame_index[position]),
                "face_index": int(faces.face_index[position]),
                "label": label.label,
                "author": label.author or author,
                "imported_at": now,
            }
            for position, label in sorted(chosen.items())
        ]
        if not rows and not clear:
            _refuse_nothing(number, unmatched, earlier=_count(connection, number))
        replaced = _remove(connection, number, rows if add else None)
        if rows:
            connection.execute(sa.insert(Correction), rows)
    changed = sum(int(faces.label[position]) != label.label for position, label in chosen.items())
    return ImportReport(number, len(given), len(rows), changed, replaced, tuple(unmatched))


def corrections(run: StoredRun) -> pd.DataFrame:
    """One row per corrected face, by frame, then by face: what people say it shows, and what the network answered.

    Args:
        run: the run.

    Returns:
        Columns run, frame_index, face_index (which of the frame's faces, from 0), time_s (s), track (-1: no confirmed
        one), label (the estimate; categorical: an expression or "uncertain"), corrected (likewise; "uncertain": no
        expression can be told), author (empty if not said), imported_at (UTC), logit_<expression> (uncalibrated, as
        the network gave them; seven).
    """
    rows = run.connection.execute(
        sa.select(
            Correction.frame_index,
            Correction.face_index,
            FrameRow.time_s,
            Face.track,
            Face.label,
            Correction.label.label("corrected"),
            Correction.author,
            Correction.imported_at,
            Face.logits,
        )
        .join(
            Face,
            sa.and_(
                Face.run_id == Correction.run_id,
                Face.frame_index == Correction.frame_index,
                Face.face_index == Correction.face_index,
            ),
        )
        .join(
            FrameRow,
            sa.and_(FrameRow.run_id == Correction.run_id, FrameRow.frame_index == Correction.frame_index),
        )
        .where(Correction.run_id == run.number)
        .order_by(Correction.frame_index, Correction.face_index)
    ).all()
    logits = unpack_rows([row.logits for row in rows], (len(EXPRESSIONS),))
    table = pd.DataFrame(
        {
            "run": np.full(len(rows), run.number, np.int64),
            "frame_index": np.array([row.frame_index for row in rows], np.int64),
            "face_index": np.array([row.face_index for row in rows], np.int64),
            "time_s": np.array([row.time_s for row in rows], np.float64),
            "track": np.array([UNCONFIRMED if row.track is None else row.track for row in rows], np.int64),
            "label": _names([row.label for row in rows]),
            "corrected": _names([row.corrected for row in rows]),
            "author": pd.Series([row.author for row in rows], dtype="str"),
            "imported_at": pd.Series(pd.to_datetime([row.imported_at for row in rows], utc=True)).dt.as_unit("us"),
            **{f"logit_{name}": logits[:, i] for i, name in enumerate(EXPRESSIONS)},
        }
    )
    units = {"time_s": "s", "imported_at": "UTC", **{f"logit_{name}": "1" for name in EXPRESSIONS}}
    table.attrs.update(run=run.number, units=units)
    return note_columns(table)


def _load(connection: sa.Connection, run: int) -> _Faces:
    rows = connection.execute(
        sa.select(Face.frame_index, Face.face_index, Face.track, Face.label)
        .where(Face.run_id == run)
        .order_by(Face.frame_index, Face.face_index)
    ).all()
    table = np.array([(f, i, UNCONFIRMED if t is None else t, label) for f, i, t, label in rows], np.int64)
    frame_index, face_index, track, label = table.reshape(-1, 4).T
    frames, time_s = load_frames(connection, run)
    return _Faces(frame_index, face_index, track, label, time_s[np.searchsorted(frames, frame_index)])


def _matched(run: int, faces: _Faces, given: Sequence[GivenLabel]) -> Iterator[tuple[GivenLabel, IntArray]]:
    """Each label with the positions of its faces."""
    keys = list(zip(faces.frame_index.tolist(), faces.face_index.tolist(), faces.track.tolist(), strict=True))
    by_face = {(frame, face): position for position, (frame, face, _) in enumerate(keys)}
    by_track = {(frame, track): position for position, (frame, _, track) in enumerate(keys) if track != UNCONFIRMED}
    for label in given:
        found: list[int] = []
        if label.run not in (None, run):
            pass
        elif label.frame_index is None:
            start_s, end_s = label.from_s or 0.0, label.to_s or 0.0
            inside = (faces.time_s >= start_s - _TIME_TOLERANCE_S) & (faces.time_s < end_s - _TIME_TOLERANCE_S)
            found = np.flatnonzero(inside & (faces.track == label.track)).tolist()
        else:
            position = (
                by_track.get((label.frame_index, label.track or 0))
                if label.face_index is None
                else by_face.get((label.frame_index, label.face_index))
            )
            found = [] if position is None else [position]
        yield label, np.array(found, np.int64)


def _refuse_outside(connection: sa.Connection, run: int, given: Sequence[GivenLabel]) -> None:
    """Refuse labels for frames and times that the run does not have: a file of another video, or one spoilt on the way.

    A spreadsheet that takes the point for a thousands mark turns 0.400000 s into 400000, and one label into one for
    all the rest of the video.
    """
    times = frame_times(connection, run)
    frames = times.frame
    if not len(frames):
        return
    first_s, last_s = times.span_s()
    begin_s, end_s = first_s - _TIME_TOLERANCE_S, last_s + _TIME_TOLERANCE_S
    mistakes = []
    for label in given:
        if label.run not in (None, run):
            continue
        if label.frame_index is not None:
            if not frames[0] <= label.frame_index <= frames[-1]:
                mistakes.append((label.row, f"frame {label.frame_index} is outside the run"))
            continue
        outside = [time_s for time_s in (label.from_s, label.to_s) if time_s and not begin_s <= time_s <= end_s]
        if outside:
            mistakes.append((label.row, f"{outside[-1]:g} s is outside the run"))
    if mistakes:
        raise LabelsError(
            f"nothing was imported: {rows_sentence(mistakes)}; run {run} has the frames {frames[0]} to {frames[-1]}, "
            f"of {first_s:.2f} s to {last_s:.2f} s: is it the right run, and did a spreadsheet change the "
            "decimal marks?"
        )


def _refuse_nothing(run: int, unmatched: Sequence[GivenLabel], *, earlier: int) -> None:
    """Refuse labels of which none is for a face of the run: mostly a file not filled in, or another run's.

    No labels where there were none before are all right: nothing was to be kept, and nothing is.
    """
    if not unmatched and not earlier:
        return
    first = f" (row {unmatched[0].row}: {unmatched[0].place})" if unmatched else ""
    stay = "correction stays" if earlier == 1 else "corrections stay"
    kept = f"the {earlier} earlier {stay}" if earlier else "nothing was imported"
    raise LabelsError(f"no row gives a label to a face of run {run}{first}: {kept}")


def _count(connection: sa.Connection, run: int) -> int:
    counted = sa.select(sa.func.count()).select_from(Correction).where(Correction.run_id == run)
    return int(connection.execute(counted).scalar_one())


def _remove(connection: sa.Connection, run: int, only: list[dict[str, object]] | None) -> int:
    """Delete a run's corrections, or only those of the given faces; returns how many there were."""
    stored = {
        (row.frame_index, row.face_index)
        for row in connection.execute(
            sa.select(Correction.frame_index, Correction.face_index).where(Correction.run_id == run)
        )
    }
    gone = stored if only is None else stored & {(row["frame_index"], row["face_index"]) for row in only}
    if gone:
        connection.execute(
            sa.delete(Correction).where(
                Correction.run_id == run,
                Correction.frame_index == sa.bindparam("frame"),
                Correction.face_index == sa.bindparam("face"),
            ),
            [{"frame": frame, "face": face} for frame, face in sorted(gone)],
        )
    return len(gone)


def _names(codes: Sequence[int]) -> pd.Categorical[Any]:
    shown = np.array([len(EXPRESSIONS) if code < 0 else code for code in codes], np.int64)
    return pd.Categorical.from_codes(shown, dtype=pd.CategoricalDtype(list(LABELS)))
