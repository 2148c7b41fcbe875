"""Event from another program: a moment or a segment of time, with a label."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fertrack.errors import TableError
from fertrack.storage.people.plain_text import check_plain
from fertrack.tables import Table

__all__ = ["MAX_TEXT", "Event", "check_column", "checked", "damaged"]

MAX_TEXT = 10_000
"""Characters of a label or note, at most."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a file.

    Attributes:
        row: where it stands in the file, for messages: row, line or number of the annotation.
        time_s: when it begins, seconds of the file's own clock.
        end_s: when it ends; None for a moment.
        label: what it is called.
        note: whatever else the file says of it.
        tier: tier, stream or subject that it belongs to; empty if the file has none.
        author: who wrote it, where the file says so of each tier.
        participant: whom the tier is about, where the file says so beside the tier's name.
    """

    row: int
    time_s: float
    end_s: float | None
    label: str
    note: str = ""
    tier: str = ""
    author: str = ""
    participant: str = ""


def checked(event: Event) -> Event:
    """The event, if it can be a marker.

    Raises:
        ValueError: it has no label, no finite time, ends before it begins, or its text is immense or not plain.
    """
    if not math.isfinite(event.time_s) or (event.end_s is not None and not math.isfinite(event.end_s)):
        raise ValueError("a time must be a finite number of seconds")
    if event.end_s is not None and event.end_s < event.time_s:
        raise ValueError(f"end_s {event.end_s:g} is before time_s {event.time_s:g}")
    if not event.label.strip():
        raise ValueError("a marker needs a label")
    check_plain(event.label, "a label", MAX_TEXT, lines=True)
    check_plain(event.note, "a note", MAX_TEXT, lines=True)
    return event


def damaged(path: object, kind: str, reason: object) -> TableError:
    """The error for a file that begins like one of its kind and is not readable as such."""
    return TableError(f"{path} cannot be read as {kind}: {reason}")


def check_column(table: Table, name: str) -> None:
    """Make sure that a table has a column that was asked for; an empty name asks for none.

    Raises:
        TableError: it has no such column.
    """
    if name and name not in table.columns:
        raise TableError(f"{table.path} has no column {name!r}: it has {', '.join(table.columns)}")
