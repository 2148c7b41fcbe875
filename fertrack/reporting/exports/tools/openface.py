"""Faces under OpenFace's column names, ``<stem>.openface.csv``, for scripts that read its output.

==================================  =================================================================================
column                              meaning
==================================  =================================================================================
frame                               frame number, from 1
face_id                             ID of the person's track within the run; -1: no confirmed track
timestamp                           seconds of the video
confidence                          the detector's score, 0 to 1
success                             1: each row is a face that was found
face_x, face_y, face_width,         face box, px of the source frame
face_height
E_<expression>                      smoothed probabilities of the seven expression estimates: fertrack's own columns
E_label                             label, or ``uncertain``
==================================  =================================================================================

OpenFace separates columns by a comma without a space since version 2.1; so does this file. Action units, gaze and head
pose are not estimated, so their columns are absent rather than empty.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fertrack.reporting.exports.tools.text_files import write_texts
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.reporting.exports.selection import Selection

__all__ = ["to_openface", "write"]


def write(chosen: Selection, folder: Path, stem: str, *, overwrite: bool) -> list[Path]:
    """Write the chosen run.

    Raises:
        OutputExistsError: a file is already there and ``overwrite`` is False; none is written.
        RunNotFoundError: there is no such track in the run.
        ReportError: a file could not be written.
    """
    from fertrack.reporting.exports.csv_export import face_table

    text = to_openface(face_table(chosen.run, chosen.track))
    return write_texts(folder, {f"{stem}.openface.csv": text}, overwrite=overwrite, only=chosen.only)


def to_openface(faces: pd.DataFrame) -> str:
    """Rows of ``face_table`` as OpenFace's CSV, in order of frame, then track."""
    ordered = faces.sort_values(["frame_index", "track"], kind="stable")
    table = pd.DataFrame(
        {
            "frame": ordered["frame_index"] + 1,
            "face_id": ordered["track"],
            "timestamp": ordered["time_s"].map("{:.3f}".format),
            "confidence": ordered["score"].map("{:.3f}".format),
            "success": 1,
            "face_x": ordered["x1"].round(2),
            "face_y": ordered["y1"].round(2),
            "face_width": (ordered["x2"] - ordered["x1"]).round(2),
            "face_height": (ordered["y2"] - ordered["y1"]).round(2),
            **{f"E_{name}": ordered[f"p_{name}"].map("{:.4f}".format) for name in EXPRESSIONS},
            "E_label": ordered["label"].astype(str),
        }
    )
    return table.to_csv(index=False, lineterminator="\n")
