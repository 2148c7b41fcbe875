"""PsychoPy's CSV of trials: an event for each component that started, from ``NAME.started`` to ``NAME.stopped``.

Times are seconds from the start of the experiment. The label is the component's name, or what another column of the
trial says, such as its condition; the note holds the trial's other columns as ``name=value``. A component without
``.stopped`` is a moment.
"""

from __future__ import annotations

from pathlib import Path

from fertrack.errors import TableError
from fertrack.imports.event import MAX_TEXT, Event, check_column, checked
from fertrack.tables import Row, Table, read_table, rows_sentence

__all__ = ["matches", "read"]

_STARTED, _STOPPED = ".started", ".stopped"
_NOTHING = {"", "none", "n/a", "--"}


def matches(table: Table) -> bool:
    """Whether any component's start is in the table."""
    return any(name.endswith(_STARTED) for name in table.columns)


def read(path: Path, label_column: str = "") -> list[Event]:
    """The events of a file, in order of time.

    Args:
        path: the file.
        label_column: column that says what each trial's events are called; the component's name if empty.

    Raises:
        TableError: the file cannot be read, or rows of it are wrong; it names them.
    """
    table = read_table(path)
    check_column(table, label_column)
    components = [name.removesuffix(_STARTED) for name in table.columns if name.endswith(_STARTED)]
    timing = {f"{name}{end}" for name in components for end in (_STARTED, _STOPPED)}
    events: list[Event] = []
    mistakes: list[tuple[int, str]] = []
    for row in table.rows:
        said = {name: text for name, text in row.cells.items() if text.lower() not in _NOTHING}
        note = "; ".join(f"{name}={text}" for name, text in said.items() if name not in timing)[:MAX_TEXT]
        known = Row(row.number, said, row.comma_separated)
        try:
            for name in components:
                started_s = known.seconds(f"{name}{_STARTED}")
                if started_s is not None:
                    stopped_s = known.seconds(f"{name}{_STOPPED}")
                    label = known.text(label_column) if label_column else name
                    events.append(checked(Event(row.number, started_s, stopped_s, label, note)))
        except ValueError as error:
            mistakes.append((row.number, str(error)))
    if mistakes:
        raise TableError(f"{path}: nothing was imported: {rows_sentence(mistakes)}")
    return sorted(events, key=lambda event: event.time_s)
