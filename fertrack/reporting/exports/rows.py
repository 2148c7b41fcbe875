"""Every face of a run as JSON Lines or Parquet, in order of frame, then track. The columns are those of the CSV file.

===================  ======================  =====  ===============================================================
column               JSON; Parquet           unit   meaning
===================  ======================  =====  ===============================================================
run                  integer; int64                 ID of the run in the database
frame_index          integer; int64                 exact 0-based frame number
face_index           integer; int64                 which of the frame's faces, from 0
time_s               number; float64         s      presentation time, from the start of the video
track                integer; int64                 ID of the person within the run; -1 = no confirmed track
person               string, null; string           name given to that person, if any
x1, y1, x2, y2       number; float32         px     face box in the source frame
score                number; float32         1      how sure the detector is that this is a face, 0 to 1
label                string; dictionary             expression estimate, ``uncertain`` or ``not readable``
corrected            string, null; string           what a person said the face shows, if anybody did
probability          number; float32         1      smoothed probability of the label (of the best one, if uncertain)
p_<expression>       number; float32         1      smoothed probabilities, seven columns that sum to 1
raw_<expression>     number; float32         1      calibrated probabilities of this frame alone, seven columns
quality              number; float32         1      how well the face can be read, 0 to 1
===================  ======================  =====  ===============================================================

JSON Lines: UTF-8, one object a line, no header; numbers have as many decimals as in the CSV file. A number that is not
known is null. Parquet: each column carries its unit as metadata (``unit``), the file the run and fertrack's version.
"""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fertrack.errors import MissingExtraError
from fertrack.files import drafted, replacing
from fertrack.reporting.exports.csv_export import FACE_COLUMNS, face_table

if TYPE_CHECKING:
    import pandas as pd

    from fertrack.reporting.exports.selection import Selection

__all__ = ["write_jsonl", "write_parquet"]

_ROWS_AT_ONCE = 10_000


def write_jsonl(chosen: Selection, path: Path, *, overwrite: bool) -> None:
    """Write the faces as JSON Lines.

    Raises:
        OutputExistsError: ``path`` is already there and ``overwrite`` is False.
        ReportError: the file could not be written.
    """
    faces = face_table(chosen.run, chosen.track)
    with replacing(path, overwrite=overwrite) as file:
        for start in range(0, len(faces), _ROWS_AT_ONCE):
            columns = _plain_columns(faces.iloc[start : start + _ROWS_AT_ONCE])
            for row in zip(*columns, strict=True):
                record = dict(zip(FACE_COLUMNS, row, strict=True))
                file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n")


def write_parquet(chosen: Selection, path: Path, *, overwrite: bool) -> None:
    """Write the faces as Parquet.

    Raises:
        OutputExistsError: ``path`` is already there and ``overwrite`` is False.
        MissingExtraError: pyarrow is not installed.
        ReportError: the file could not be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("Parquet needs the package pyarrow", "parquet") from error
    faces = face_table(chosen.run, chosen.track)
    units = faces.attrs.get("units", {})
    table = pa.Table.from_pandas(faces, preserve_index=False)
    # A column without a single value has Arrow's type null, and files of other runs could not be read together with it.
    fields = [
        pa.field(field.name, pa.string() if pa.types.is_null(field.type) else field.type, field.nullable)
        for field in table.schema
    ]
    fields = [field.with_metadata({"unit": units[field.name]}) if field.name in units else field for field in fields]
    about = {"fertrack_version": version("fertrack"), "run": str(chosen.run.number)}
    table = table.cast(pa.schema(fields, metadata={**(table.schema.metadata or {}), **about}))
    with drafted(path, overwrite=overwrite) as draft:
        pq.write_table(table, draft, compression="zstd")


def _plain_columns(faces: pd.DataFrame) -> list[list[Any]]:
    """Column by column, values that JSON knows."""
    columns = []
    for name, decimals in FACE_COLUMNS.items():
        values = faces[name].tolist()
        if decimals is not None:
            columns.append([None if math.isnan(value) else round(value, decimals) for value in values])
        elif faces[name].dtype.kind == "i":
            columns.append(values)
        else:
            columns.append([value if isinstance(value, str) else None for value in values])
    return columns
