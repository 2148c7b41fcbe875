"""Markers: named moments and segments of a run, used as reference times."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.errors import TableError
from fertrack.storage.answer_models import Marker, MarkerImport
from fertrack.storage.engine import Database
from fertrack.storage.facts import find_run
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.faces import frame_times
from fertrack.storage.stored_run import StoredRun
from fertrack.tables import rows_sentence

__all__ = [
    "ImportReport",
    "MarkerRow",
    "Origin",
    "delete_markers",
    "markers",
    "outside_sentence",
    "store_markers",
    "undo_import",
]

_TIME_TOLERANCE_S = 1e-6  # exports round times to this
MarkerRow = tuple[float, float | None, str, str]
"""Time (s), end (s; None for a moment), label, note."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Result of an import.

    Attributes:
        run: number of the run.
        added: markers that are new.
        known: rows of the file that were stored before, or stand in it twice.
        outside: a sentence on those of the file that were left out, because they lie before or after the run's frames;
            empty if none does.
        clock: what was done to the file's times; empty if nothing was.
    """

    run: int
    added: int
    known: int
    outside: str = ""
    clock: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Origin of markers, and the mapping of their times to the video's: ``time * stretch + offset_s``."""

    file_name: str
    file_format: str
    offset_s: float = 0.0
    stretch: float = 1.0


def store_markers(
    db: Database,
    run: int | str,
    rows: Sequence[tuple[int, MarkerRow]],
    origin: Origin,
    *,
    path: Path,
    skip_outside: bool = False,
    clock: str = "",
) -> ImportReport:
    """Add markers to a run; all of them, or none. Those that are stored already are left out.

    Args:
        db: the open database.
        run: number of the run, or "last".
        rows: where each marker stands in its file, and the marker at its time in the video.
        origin: kept with the markers, so that one import can be undone.
        path: the file, for messages.
        skip_outside: leave out markers that lie before or after the run's frames, instead of refusing all.
        clock: what was done to the times, for the report.

    Raises:
        RunNotFoundError: no such run is stored.
        TableError: markers lie outside the run; it names them.
    """
    with db.writing() as connection:
        number = find_run(connection, db.name, run)
        span_s = frame_times(connection, number).span_s()
        outside = [found for found in rows if span_s != (0.0, 0.0) and not _is_inside(found[1], span_s)]
        if outside and not skip_outside:
            raise TableError(_refusal(path, number, outside, span_s))
        known: set[MarkerRow] = {
            (row.time_s, row.end_s, row.label, row.note) for row in connection.execute(_select(number))
        }
        left_out = set(outside)
        inside = [marker for row, marker in rows if (row, marker) not in left_out]
        new = []
        for marker in inside:
            if marker not in known:
                known.add(marker)
                time_s, end_s, label, note = marker
                new.append({"run_id": number, "time_s": time_s, "end_s": end_s, "label": label, "note": note})
        if inside:  # also if all of them are known: what is undone is this import, not the one before
            given = {"run_id": number, "imported_at": dt.datetime.now(dt.UTC), **asdict(origin)}
            statement = sa.insert(MarkerImport).values(**given).returning(MarkerImport.id)
            import_id = connection.execute(statement).scalar_one()
            if new:
                connection.execute(sa.insert(Marker), [{**row, "import_id": import_id} for row in new])
        told = f"{_outside(number, len(outside), len(rows), span_s)}: left out" if outside else ""
    return ImportReport(number, len(new), len(inside) - len(new), told, clock)


def undo_import(db: Database, run: int | str) -> tuple[str, int]:
    """Delete the markers of a run's latest import.

    Returns:
        The file's name, and how many markers went; "" and 0 if there was no import.

    Raises:
        RunNotFoundError: no such run is stored.
    """
    with db.writing() as connection:
        number = find_run(connection, db.name, run)
        statement = sa.select(MarkerImport.id, MarkerImport.file_name).where(MarkerImport.run_id == number)
        latest = connection.execute(statement.order_by(MarkerImport.id.desc()).limit(1)).one_or_none()
        if latest is None:
            return "", 0
        gone = connection.execute(sa.delete(Marker).where(Marker.import_id == latest.id)).rowcount
        connection.execute(sa.delete(MarkerImport).where(MarkerImport.id == latest.id))
    return str(latest.file_name), int(gone)


def _is_inside(marker: MarkerRow, span_s: tuple[float, float]) -> bool:
    """Whether all of a marker lies within a run's frames."""
    begin_s, end_s = span_s[0] - _TIME_TOLERANCE_S, span_s[1] + _TIME_TOLERANCE_S
    return begin_s <= marker[0] <= end_s and (marker[1] is None or marker[1] <= end_s)


def _refusal(path: Path, run: int, outside: Sequence[tuple[int, MarkerRow]], span_s: tuple[float, float]) -> str:
    mistakes = rows_sentence(
        (row, f"{marker[0] if marker[1] is None or marker[0] < span_s[0] else marker[1]:g} s is outside the run")
        for row, marker in outside
    )
    return (
        f"{path}: nothing was imported: {mistakes}; run {run} has frames of {span_s[0]:.2f} s to {span_s[1]:.2f} s: "
        "is it the right run, and are the decimal marks as they were? (--skip-outside leaves such rows out)"
    )


def outside_sentence(run: int, times_s: Sequence[float], span_s: tuple[float, float]) -> str:
    """For people: how many of these times lie before or after the run's frames; empty if none does.

    >>> outside_sentence(3, [1.0, 500.0], (0.0, 8.0))
    '1 of 2 markers lies outside run 3, whose frames are of 0.00 s to 8.00 s'
    """
    count = sum(not span_s[0] <= time_s <= span_s[1] for time_s in times_s)
    return _outside(run, count, len(times_s), span_s) if count else ""


def _outside(run: int, count: int, total: int, span_s: tuple[float, float]) -> str:
    lie = "lies" if count == 1 else "lie"
    where = f"{span_s[0]:.2f} s to {span_s[1]:.2f} s"
    return f"{count} of {total} markers {lie} outside run {run}, whose frames are of {where}"


def markers(run: StoredRun, *, label: str | None = None) -> pd.DataFrame:
    """The markers of a run, in order of time.

    Args:
        run: the run.
        label: only those of this name.

    Returns:
        Columns run, time_s (s), end_s (s; NaN for a moment), label, note.
    """
    statement = _select(run.number)
    if label is not None:
        statement = statement.where(Marker.label == label)
    rows = run.connection.execute(statement).all()
    table = pd.DataFrame(
        {
            "run": np.full(len(rows), run.number, np.int64),
            "time_s": np.array([row.time_s for row in rows], np.float64),
            "end_s": np.array([np.nan if row.end_s is None else row.end_s for row in rows], np.float64),
            "label": pd.Series([row.label for row in rows], dtype="str"),
            "note": pd.Series([row.note for row in rows], dtype="str"),
        }
    )
    table.attrs.update(run=run.number, units={"time_s": "s", "end_s": "s"})
    return note_columns(table)


def delete_markers(db: Database, run: int | str, *, label: str | None = None) -> int:
    """Delete a run's markers, or those of one name; returns how many.

    Raises:
        RunNotFoundError: no such run is stored.
    """
    with db.writing() as connection:
        number = find_run(connection, db.name, run)
        statement = sa.delete(Marker).where(Marker.run_id == number)
        if label is not None:
            statement = statement.where(Marker.label == label)
        return int(connection.execute(statement).rowcount)


def _select(run: int) -> sa.Select[float, float | None, str, str]:
    return (
        sa.select(Marker.time_s, Marker.end_s, Marker.label, Marker.note)
        .where(Marker.run_id == run)
        .order_by(Marker.time_s, Marker.id)
    )
