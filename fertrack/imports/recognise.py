"""Recognition of a file of events, by its name and by the columns that it has.

==========  ==========================================  =================================================
format      recognised by                               times count from
==========  ==========================================  =================================================
csv         columns time_s and label, or a map          the video's begin
bids        columns onset and duration                  the begin of its recording
psychopy    a column that ends in ``.started``          the begin of the experiment
boris       ``.boris``, or BORIS's columns              the begin of its first video
eaf         ``.eaf``                                    the begin of its first video
textgrid    ``.TextGrid``                               the begin of its recording
webvtt      ``.vtt``                                    the video's begin
xdf         ``.xdf``, ``.xdfz``                         the earliest sample of any stream
==========  ==========================================  =================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from fertrack.errors import TableError
from fertrack.imports import bids_events, boris_coding, elan_file, marker_table, praat, psychopy, webvtt, xdf
from fertrack.imports.event import Event
from fertrack.tables import read_table

__all__ = ["FORMATS", "read_events", "recognise"]

FORMATS = ("csv", "bids", "psychopy", "boris", "eaf", "textgrid", "webvtt", "xdf")

_SUFFIXES = {
    ".boris": "boris",
    ".eaf": "eaf",
    ".textgrid": "textgrid",
    ".vtt": "webvtt",
    ".xdf": "xdf",
    ".xdfz": "xdf",
}


def recognise(path: Path) -> str:
    """Format of a file, one of ``FORMATS``; a table of no known kind counts as ``csv``.

    Raises:
        TableError: it cannot be read.
    """
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    table = read_table(path)
    if marker_table.matches(table):
        return "csv"
    for name, module in (("bids", bids_events), ("psychopy", psychopy), ("boris", boris_coding)):
        if module.matches(table):
            return name
    return "csv"  # which says what is missing


def read_events(
    path: Path, *, file_format: str = "", columns: Mapping[str, str] | None = None, tier: str = ""
) -> list[Event]:
    """The events of a file.

    Args:
        path: the file.
        file_format: one of ``FORMATS``; recognised if empty.
        columns: name in the file: name of ours, for tables of any other kind; see ``imports.marker_table``. Of BIDS
            and PsychoPy tables, only which column is the label.
        tier: only events of this tier, stream or subject; of BORIS files with several observations, the one to
            read.

    Raises:
        MissingExtraError: the format needs a package that is not installed.
        TableError: the file cannot be read, has no such tier, or rows of it are wrong; it names them.
        ValueError: there is no such format.
    """
    if file_format and file_format not in FORMATS:
        raise ValueError(f"no format {file_format!r}: it must be one of {', '.join(FORMATS)}")
    label_column = _label_column(columns)
    chosen = file_format or recognise(path)
    if columns and not (label_column and chosen in {"bids", "psychopy"}):
        chosen = "csv"
    if chosen == "csv":
        return marker_table.read(path, columns)
    if chosen == "boris" and path.suffix.lower() == ".boris":
        return boris_coding.read(path, tier)
    if chosen == "boris":
        return boris_coding.read_table_of_events(path, tier)
    readers: dict[str, Callable[[Path], list[Event]]] = {
        "bids": partial(bids_events.read, label_column=label_column),
        "psychopy": partial(psychopy.read, label_column=label_column),
        "eaf": elan_file.read,
        "textgrid": praat.read,
        "webvtt": webvtt.read,
        "xdf": xdf.read,
    }
    events = readers[chosen](path)
    if not tier:
        return events
    found = [event for event in events if event.tier == tier]
    if not found:
        tiers = ", ".join(sorted({repr(event.tier) for event in events})[:20])
        raise TableError(f"{path} has nothing on a tier {tier!r}: there are {tiers or 'none'}")
    return found


def _label_column(columns: Mapping[str, str] | None) -> str:
    """The column that a map of nothing but the label names; empty for any other map."""
    if columns and set(columns.values()) == {"label"}:
        return next(iter(columns)).strip().lower()
    return ""
