"""Events of the Brain Imaging Data Structure: ``*_events.tsv`` with onset and duration in seconds.

The label is the first of ``trial_type``, ``value``, ``event_type``, ``stim_file`` that says something; ``n/a`` is
nothing. The note keeps all columns, that of the label too, so that conditions can be asked for by their names. Onsets
count from the beginning of the recording that the file belongs to: say with an offset or a synchronisation when that
was in the video. Specification 1.10, "Task events".
"""

from __future__ import annotations

from pathlib import Path

from fertrack.imports.event import Event, check_column, checked
from fertrack.tables import Row, Table, parse_rows, read_table

__all__ = ["matches", "read"]

_LABELS = ("trial_type", "value", "event_type", "stim_file")


def matches(table: Table) -> bool:
    """Whether the table has the columns that BIDS demands."""
    return {"onset", "duration"} <= set(table.columns)


def read(path: Path, label_column: str = "") -> list[Event]:
    """The events of a file.

    Args:
        path: the file.
        label_column: column that says what each event is called; the first of the usual ones if empty.

    Raises:
        TableError: the file cannot be read, or rows of it are wrong; it names them.
    """
    table = read_table(path)
    check_column(table, label_column)
    named = [name for name in (label_column, *_LABELS) if name in table.columns]

    def event(row: Row) -> Event:
        cells = {name: "" if text.lower() == "n/a" else text for name, text in row.cells.items()}
        known = Row(row.number, cells, row.comma_separated)
        onset_s, duration_s = known.seconds("onset"), known.seconds("duration")
        if onset_s is None:
            raise ValueError("an event needs an onset")
        label = next((cells[name] for name in named if cells.get(name)), "event")
        note = "; ".join(f"{name}={text}" for name, text in cells.items() if text and name not in {"onset", "duration"})
        return checked(Event(row.number, onset_s, onset_s + duration_s if duration_s else None, label, note))

    return parse_rows(table, event)
