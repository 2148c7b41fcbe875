"""fertrack's own CSV of markers, or any table whose columns are mapped to it.

Columns: ``time_s`` and ``label``; where wanted ``end_s`` or ``duration_s``, ``note``. Without a map other columns are
refused, so that a misspelt name is noticed; with one the note keeps them as ``name=value``, such as conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fertrack.errors import TableError
from fertrack.imports.event import MAX_TEXT, Event, checked
from fertrack.tables import Row, Table, parse_rows, read_table

__all__ = ["COLUMNS", "matches", "read"]

COLUMNS = ("time_s", "label", "end_s", "note", "duration_s")

_REQUIRED = ("time_s", "label")


def matches(table: Table) -> bool:
    """Whether the table has our own columns."""
    return set(_REQUIRED) <= set(table.columns)


def read(path: Path, columns: Mapping[str, str] | None = None) -> list[Event]:
    """The events of a table.

    Args:
        path: the file.
        columns: name in the file: name of ours, such as ``{"onset": "time_s", "stim_file": "label"}``.

    Raises:
        TableError: the file cannot be read, or rows of it are wrong; it names them.
    """
    table = read_table(path)
    if columns:
        table = _renamed(table, columns)
    for name in _REQUIRED:
        if name not in table.columns:
            raise TableError(
                f"{path} has no column {name!r}: its first line must name time_s and label; say which column is which "
                f"with --map, for example --map {table.columns[0] if table.columns else 'onset'}=time_s"
            )
    if not columns and not set(table.columns) <= set(COLUMNS):
        raise TableError(
            f"{path} may have the columns {', '.join(COLUMNS)}, not {', '.join(table.columns)}: say which column is "
            "which with --map NAME=time_s --map NAME=label; the note then keeps the others"
        )
    return parse_rows(table, _event)


def _event(row: Row) -> Event:
    time_s, end_s, duration_s = row.seconds("time_s"), row.seconds("end_s"), row.seconds("duration_s")
    if time_s is None:
        raise ValueError("a marker needs a time_s")
    if end_s is None and duration_s:
        end_s = time_s + duration_s
    others = [f"{name}={text}" for name, text in row.cells.items() if text and name not in COLUMNS]
    note = "; ".join([row.text("note")] * bool(row.text("note")) + others)[:MAX_TEXT]
    return checked(Event(row.number, time_s, end_s, row.text("label"), note))


def _renamed(table: Table, columns: Mapping[str, str]) -> Table:
    asked = {theirs.strip().lower(): ours for theirs, ours in columns.items()}
    for theirs, ours in asked.items():
        if ours not in COLUMNS:
            raise TableError(f"--map {theirs}={ours}: a marker has {', '.join(COLUMNS)}, no {ours!r}")
        if theirs not in table.columns:
            raise TableError(f"{table.path} has no column {theirs!r}: it has {', '.join(table.columns)}")
    rows = tuple(
        replace(row, cells={asked.get(name, name): text for name, text in row.cells.items()}) for row in table.rows
    )
    return Table(table.path, tuple(asked.get(name, name) for name in table.columns), rows)
