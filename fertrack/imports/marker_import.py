"""Events of a file stored as a run's markers, at their times in the video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fertrack.errors import TableError
from fertrack.imports.recognise import read_events, recognise
from fertrack.imports.synchronise import Clock, synchronised

if TYPE_CHECKING:
    from fertrack.storage.engine import Database
    from fertrack.storage.queries.markers import ImportReport

__all__ = ["Reading", "import_markers"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Options of reading a file.

    Attributes:
        file_format: one of ``imports.recognise.FORMATS``; recognised if empty.
        columns: name in the file: name of ours, for tables of any other kind.
        tier: only events of this tier, stream or subject.
        offset_s: seconds added to each time; 0 also where ``sync`` is given.
        sync: label of a marker and its time in the video, seconds; one pair moves, two or more also stretch.
    """

    file_format: str = ""
    columns: Mapping[str, str] | None = None
    tier: str = ""
    offset_s: float = 0.0
    sync: Sequence[tuple[str, float]] = ()


def import_markers(
    db: Database,
    run: int | str,
    path: str | Path,
    reading: Reading | None = None,
    *,
    skip_outside: bool = False,
) -> ImportReport:
    """Add the markers of a file to a run; all of them, or none. Importing a file again adds nothing.

    Args:
        db: the open database.
        run: number of the run, or "last".
        path: the file.
        reading: how to read it; as it is recognised, on the video's clock, if None.
        skip_outside: leave out markers that lie before or after the run's frames, instead of refusing the file.

    Raises:
        MissingExtraError: the format needs a package that is not installed.
        RunNotFoundError: no such run is stored.
        TableError: the file cannot be read, or rows of it are wrong or lie outside the run; it names them.
        ValueError: there is no such format, or both an offset and a synchronisation are given.
    """
    from fertrack.storage.queries.markers import Origin, store_markers

    path, reading = Path(path), reading or Reading()
    if reading.sync and reading.offset_s:
        raise ValueError("a synchronisation says the offset too: give one of the two")
    events = read_events(path, file_format=reading.file_format, columns=reading.columns, tier=reading.tier)
    if not events and path.suffix.lower() not in {".csv", ".tsv", ".txt"}:
        raise TableError(f"{path}: there is nothing in it that could be a marker")
    clock = synchronised(events, reading.sync) if reading.sync else Clock(reading.offset_s)
    known = reading.file_format or ("csv" if reading.columns else recognise(path))
    origin = Origin(path.name, known, clock.offset_s, clock.stretch)
    rows = []
    for event in map(clock.moved, events):
        note = f"{event.tier}: {event.note}" if event.tier and event.note else event.note or event.tier
        rows.append((event.row, (event.time_s, event.end_s, event.label, note)))
    return store_markers(db, run, rows, origin, path=path, skip_outside=skip_outside, clock=clock.sentence())
