"""Reads the labels that people wrote into an exported CSV file.

The file is one of the two that ``fertrack export RUN --format csv`` writes, with the column ``corrected`` filled in
where the estimate is wrong (or confirmed), or one made by hand. It needs ``corrected`` and, to say which faces:

* ``frame_index`` and ``face_index``: one face (``<stem>.faces.csv``); or
* ``frame_index`` and ``track``: the face of that person in that frame; or
* ``track``, ``start_s`` and ``end_s``: all faces of that person in that time (``<stem>.episodes.csv``).

``run`` (labels for another run are not imported) and ``author`` are used if there; all other columns are not read, and
rows whose ``corrected`` is empty are passed over. Words such as ``happy`` or ``Angry`` are understood as they are in
labelled images. What spreadsheets save is read: see ``fertrack.tables``.
"""

from __future__ import annotations

from pathlib import Path

from fertrack.errors import LabelsError
from fertrack.storage.people.corrections import GivenLabel
from fertrack.storage.queries.timeline import label_index
from fertrack.tables import Row, Table, parse_rows, read_table
from fertrack.types import expression_index

__all__ = ["read_labels"]


def read_labels(path: Path) -> list[GivenLabel]:
    """Read a file of corrected labels.

    Args:
        path: the CSV file; its columns are documented at the top of this module.

    Raises:
        TableError: the file is missing or no table, or a row has an unknown label or a bad number; the message names
            the rows.
        LabelsError: it has no column of labels, or none that says which faces are meant.
    """
    table = read_table(path)
    _check_columns(table)
    return parse_rows(table, _given)


def _check_columns(table: Table) -> None:
    names = set(table.columns)
    if "corrected" not in names:
        raise LabelsError(
            f"{table.path} has no column 'corrected': write the files with `fertrack export RUN --format csv` and fill "
            "it in"
        )
    one_face = "frame_index" in names and names & {"face_index", "track"}
    if not one_face and not names >= {"track", "start_s", "end_s"}:
        raise LabelsError(
            f"{table.path} does not say which faces are meant: it needs the columns frame_index and face_index, "
            "frame_index and track, or track, start_s and end_s"
        )


def _given(row: Row) -> GivenLabel | None:
    if not row.text("corrected"):
        return None
    frame_index, face_index, track = row.whole("frame_index"), row.whole("face_index"), row.whole("track")
    from_s, to_s = row.seconds("start_s"), row.seconds("end_s")
    one_face = frame_index is not None and (face_index is not None or track is not None)
    if not one_face and (track is None or from_s is None or to_s is None):
        raise ValueError("it does not say which face is meant")
    return GivenLabel(
        row=row.number,
        label=_label(row.text("corrected")),
        run=row.whole("run"),
        frame_index=frame_index,
        face_index=face_index,
        track=track,
        from_s=from_s,
        to_s=to_s,
        author=row.text("author"),
    )


def _label(word: str) -> int:
    index = expression_index(word)
    # label_index also knows "uncertain", and what was probably meant.
    return index if index >= 0 else label_index(word.lower())
