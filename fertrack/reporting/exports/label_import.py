"""Reads the labels that people wrote into an exported CSV file.

The file is one of the two that ``fertrack export RUN --format csv`` writes, with the column ``corrected`` filled in
where the estimate is wrong (or confirmed), or one made by hand. It needs ``corrected`` and, to say which faces:

* ``frame_index`` and ``face_index``: one face (``<stem>.faces.csv``); or
* ``frame_index`` and ``track``: the face of that person in that frame; or
* ``track``, ``start_s`` and ``end_s``: all faces of that person in that time (``<stem>.episodes.csv``).

``run`` (labels for another run are not imported) and ``author`` are used if there; all other columns are not read, and
rows whose ``corrected`` is empty are passed over. Words such as ``happy`` or ``Angry`` are understood as they are in
labelled pictures. Commas, semicolons or tabs between the fields; UTF-8 with or without
a byte-order mark; with semicolons or tabs, decimal commas too: what spreadsheets save is read.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from fertrack.errors import LabelsError
from fertrack.storage.people.corrections import GivenLabel
from fertrack.storage.queries.timeline import label_index
from fertrack.types import expression_index

__all__ = ["read_labels"]

_NAMED = 5
"""Mistakes that are named one by one."""


def read_labels(path: Path) -> list[GivenLabel]:
    """Read a file of corrected labels.

    Args:
        path: the CSV file; its columns are documented at the top of this module.

    Raises:
        LabelsError: the file is missing or not such a table, or a row has an unknown label or a bad number; the
            message names the rows (the header is row 1).
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise LabelsError(f"{path} cannot be read: {reason}") from error
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    try:
        rows = list(csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True))
    except csv.Error as error:
        raise LabelsError(f"{path} cannot be read as CSV: {error}") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    _check_columns(path, set(names))
    found, mistakes = [], []
    for number, fields in enumerate(rows[1:], start=2):
        cells = {name: field.strip() for name, field in zip(names, fields, strict=False)}
        if not cells.get("corrected"):
            continue
        try:
            found.append(_given(number, cells, decimal_comma=separator != ","))
        except ValueError as error:
            mistakes.append(f"row {number}: {error}")
    if mistakes:
        more = f"; and {len(mistakes) - _NAMED} more rows" if len(mistakes) > _NAMED else ""
        raise LabelsError(f"{path}: nothing was imported: {'; '.join(mistakes[:_NAMED])}{more}")
    return found


def _check_columns(path: Path, names: set[str]) -> None:
    if "corrected" not in names:
        raise LabelsError(
            f"{path} has no column 'corrected': write the files with `fertrack export RUN --format csv` and fill it in"
        )
    one_face = "frame_index" in names and names & {"face_index", "track"}
    if not one_face and not names >= {"track", "start_s", "end_s"}:
        raise LabelsError(
            f"{path} does not say which faces are meant: it needs the columns frame_index and face_index, frame_index "
            "and track, or track, start_s and end_s"
        )


def _given(row: int, cells: Mapping[str, str], *, decimal_comma: bool) -> GivenLabel:
    def whole(name: str) -> int | None:
        text = cells.get(name, "")
        try:
            return int(text) if text else None
        except ValueError:
            raise ValueError(f"{name} {text!r} is not a whole number") from None

    def seconds(name: str) -> float | None:
        text = cells.get(name, "")
        try:
            return float(text.replace(",", ".") if decimal_comma else text) if text else None
        except ValueError:
            raise ValueError(f"{name} {text!r} is not a number") from None

    frame_index, face_index, track = whole("frame_index"), whole("face_index"), whole("track")
    from_s, to_s = seconds("start_s"), seconds("end_s")
    one_face = frame_index is not None and (face_index is not None or track is not None)
    if not one_face and (track is None or from_s is None or to_s is None):
        raise ValueError("it does not say which face is meant")
    return GivenLabel(
        row=row,
        label=_label(cells["corrected"]),
        run=whole("run"),
        frame_index=frame_index,
        face_index=face_index,
        track=track,
        from_s=from_s,
        to_s=to_s,
        author=cells.get("author", ""),
    )


def _label(word: str) -> int:
    index = expression_index(word)
    # label_index also knows "uncertain", and what was probably meant.
    return index if index >= 0 else label_index(word.lower())
