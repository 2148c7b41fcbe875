"""Markers: moments and stretches of a run that people named, imported from CSV and used as reference times."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.errors import StorageError
from fertrack.storage.answer_models import Marker
from fertrack.storage.engine import Database
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.queries.faces import frame_spans
from fertrack.storage.runs import find_run

__all__ = ["ImportReport", "delete_markers", "import_markers", "markers", "outside_sentence", "run_span"]

_COLUMNS = ("time_s", "label", "end_s", "note")
_REQUIRED = ("time_s", "label")
_LONGEST_TEXT = 10_000
_Row = tuple[float, float | None, str, str]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import came to.

    Attributes:
        run: number of the run.
        added: markers that are new.
        known: rows of the file that were stored before, or stand in it twice.
        outside: a sentence on those of the file that lie before or after the run's frames; empty if none does.
    """

    run: int
    added: int
    known: int
    outside: str = ""


def import_markers(db: Database, run: int | str, path: str | Path) -> ImportReport:
    """Add the markers of a CSV file to a run; all of them, or none. Importing a file again adds nothing.

    The first line names the columns, in any order: ``time_s`` (seconds of the video) and ``label``, and where wanted
    ``end_s`` (the marker is a stretch that ends then) and ``note``. Other columns are refused. UTF-8, separated by
    commas, semicolons or tabs.

    Args:
        db: the open database.
        run: number of the run, or "last".
        path: the file.

    Raises:
        RunNotFoundError: no such run is stored.
        StorageError: the file cannot be read, or a line of it is wrong.
    """
    rows = _read(Path(path))
    with db.writing() as connection:
        number = find_run(connection, db.name, run)
        known: set[_Row] = {(row.time_s, row.end_s, row.label, row.note) for row in connection.execute(_select(number))}
        new = []
        for row in rows:
            if row not in known:
                known.add(row)
                time_s, end_s, label, note = row
                new.append({"run_id": number, "time_s": time_s, "end_s": end_s, "label": label, "note": note})
        if new:
            connection.execute(sa.insert(Marker), new)
        outside = outside_sentence(number, [row[0] for row in rows], run_span(connection, number))
    return ImportReport(number, len(new), len(rows) - len(new), outside)


def run_span(connection: sa.Connection, run: int) -> tuple[float, float]:
    """When the first of a run's frames is shown, and when the last one stops being shown, seconds; 0, 0 without any."""
    _, starts_s, ends_s = frame_spans(connection, run)
    return (float(starts_s.min()), float(ends_s.max())) if len(starts_s) else (0.0, 0.0)


def outside_sentence(run: int, times_s: Sequence[float], span_s: tuple[float, float]) -> str:
    """For people: how many of these times lie before or after the run's frames; empty if none does.

    >>> outside_sentence(3, [1.0, 500.0], (0.0, 8.0))
    '1 of 2 markers lies outside run 3, whose frames are of 0.00 s to 8.00 s'
    """
    begin_s, end_s = span_s
    count = sum(not begin_s <= time_s <= end_s for time_s in times_s)
    if not count:
        return ""
    lie = "lies" if count == 1 else "lie"
    where = f"{begin_s:.2f} s to {end_s:.2f} s"
    return f"{count} of {len(times_s)} markers {lie} outside run {run}, whose frames are of {where}"


def markers(db: Database, run: int | str, *, label: str | None = None) -> pd.DataFrame:
    """The markers of a run, in order of time.

    Args:
        db: the open database.
        run: number of the run, or "last".
        label: only those of this name.

    Returns:
        Columns run, time_s (s), end_s (s; NaN for a moment), label, note.

    Raises:
        RunNotFoundError: no such run is stored.
    """
    with db.reading() as connection:
        number = find_run(connection, db.name, run)
        statement = _select(number)
        if label is not None:
            statement = statement.where(Marker.label == label)
        rows = connection.execute(statement).all()
    table = pd.DataFrame(
        {
            "run": np.full(len(rows), number, np.int64),
            "time_s": np.array([row.time_s for row in rows], np.float64),
            "end_s": np.array([np.nan if row.end_s is None else row.end_s for row in rows], np.float64),
            "label": pd.Series([row.label for row in rows], dtype="str"),
            "note": pd.Series([row.note for row in rows], dtype="str"),
        }
    )
    table.attrs.update(run=number, units={"time_s": "s", "end_s": "s"})
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


def _read(path: Path) -> list[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StorageError(f"the markers in {path} cannot be read: {reason}") from error
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        lines = list(csv.reader(text.splitlines(), delimiter=separator, strict=True))
    except csv.Error as error:
        raise StorageError(f"{path} is no CSV file: {error}") from error
    header = [name.strip().lower() for name in lines[0]] if lines else []
    for name in _REQUIRED:
        if name not in header:
            raise StorageError(f"{path} has no column {name!r}: its first line must name time_s and label")
    unknown = [name for name in header if name not in _COLUMNS]
    if unknown or len(set(header)) < len(header):
        raise StorageError(f"{path} may have the columns {', '.join(_COLUMNS)}, each once, not {', '.join(header)}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if any(field.strip() for field in line):
            rows.append(_row(f"{path}, line {number}", header, line))
    return rows


def _row(where: str, header: list[str], line: list[str]) -> _Row:
    if len(line) != len(header):
        raise StorageError(f"{where} has {len(line)} fields, the first line {len(header)}")
    fields = dict(zip(header, (field.strip() for field in line), strict=True))
    time_s = _seconds(where, "time_s", fields["time_s"])
    end_s = _seconds(where, "end_s", fields["end_s"]) if fields.get("end_s") else None
    if end_s is not None and end_s < time_s:
        raise StorageError(f"{where}: end_s {end_s:g} is before time_s {time_s:g}")
    label, note = fields["label"], fields.get("note", "")
    if not label:
        raise StorageError(f"{where}: a marker needs a label")
    if len(label) > _LONGEST_TEXT or len(note) > _LONGEST_TEXT or "\0" in label + note:
        raise StorageError(f"{where}: label and note must be text of at most {_LONGEST_TEXT} characters")
    return time_s, end_s, label, note


def _seconds(where: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise StorageError(f"{where}: {name} must be seconds such as 12.5, not {text!r}") from error
    if not math.isfinite(value):
        raise StorageError(f"{where}: {name} must be a finite number, not {text}")
    return value
