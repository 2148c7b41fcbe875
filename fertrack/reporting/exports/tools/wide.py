"""One row a time at an even rate, a block of columns a person: ready for cross-correlation and synchrony packages.

==================  =============================================================================================
column              meaning
==================  =============================================================================================
time_s              start of the interval, seconds of the video
P1_<expression>     smoothed probability, mean over the interval; seven a person. NA (CSV) or null (Feather) where
                    the person is not seen
P1_label            label that took most of the interval: an expression, ``uncertain`` or ``no face``
==================  =============================================================================================

``P1`` is the person of that number, as ``fertrack person list`` says; a track that is nobody's has ``ID5`` in its
place. Columns are in order of the first track. ``<stem>.wide.csv`` and, where pyarrow is installed, ``<stem>.wide.
feather`` with the persons' names in its metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fertrack.files import check_free, drafted
from fertrack.reporting.exports.tools.text_files import write_texts
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.reporting.exports.selection import Selection

__all__ = ["to_wide", "wide_csv", "write", "write_feather"]


def write(chosen: Selection, folder: Path, stem: str, *, overwrite: bool) -> list[Path]:
    """Write the chosen run.

    Raises:
        OutputExistsError: a file is already there and ``overwrite`` is False; none is written.
        RunNotFoundError: there is no such track in the run.
        ReportError: a file could not be written.
    """
    from fertrack.storage.people.persons import persons
    from fertrack.storage.queries.resample import resampled_timeline

    rate_hz = chosen.config.wide_hz or chosen.run.facts.info.fps or 25.0
    who = None if chosen.track is None else f"ID {chosen.track}"
    known = persons(chosen.run)
    numbers = dict(zip(known["track"].tolist(), known["number"].tolist(), strict=True))
    table = to_wide(resampled_timeline(chosen.run, rate_hz, who=who), numbers)
    feather = folder / f"{stem}.wide.feather"
    has_feather = find_spec("pyarrow") is not None and chosen.only in {"", feather.name}
    if has_feather:
        check_free(feather, overwrite=overwrite)
    paths = write_texts(folder, {f"{stem}.wide.csv": wide_csv(table)}, overwrite=overwrite, only=chosen.only)
    if has_feather:
        write_feather(table, feather, overwrite=overwrite)
        paths.append(feather)
    return paths


def to_wide(rows: pd.DataFrame, numbers: Mapping[int, int]) -> pd.DataFrame:
    """Rows of ``resampled_timeline`` side by side.

    Args:
        rows: of one run.
        numbers: number of each person by first track, such as 3 for ``P3``; 0 where no person is recorded.

    Returns:
        Column time_s, then eight a person; ``attrs["persons"]``: name of each, such as ``{"P1": "Ana"}``.
    """
    columns: dict[str, object] = {"time_s": rows["time_s"].drop_duplicates().to_numpy()}
    names = {}
    for track, part in rows.groupby("track", sort=True):
        number = numbers.get(int(part["track"].iloc[0]), 0)
        key = f"P{number}" if number else f"ID{track}"
        names[key] = str(part["person"].iloc[0])
        for expression in EXPRESSIONS:
            columns[f"{key}_{expression}"] = part[f"p_{expression}"].to_numpy()
        columns[f"{key}_label"] = part["label"].astype(str).to_numpy()
    wide = pd.DataFrame(columns)
    wide.attrs["persons"] = names
    return wide


def wide_csv(wide: pd.DataFrame) -> str:
    """The table as CSV, probabilities with four decimals, missing ones as NA."""
    times = wide["time_s"].map("{:.6f}".format)
    return wide.assign(time_s=times).to_csv(index=False, na_rep="NA", float_format="%.4f", lineterminator="\n")


def write_feather(wide: pd.DataFrame, path: Path, *, overwrite: bool) -> None:
    """The table as a Feather file (Arrow IPC).

    Raises:
        ImportError: pyarrow is not installed.
        OutputExistsError: ``path`` is already there and ``overwrite`` is False.
        ReportError: the file could not be written.
    """
    import pyarrow as pa
    from pyarrow import feather

    table = pa.Table.from_pandas(wide, preserve_index=False)
    about = {b"persons": json.dumps(wide.attrs.get("persons", {}), ensure_ascii=False).encode()}
    with drafted(path, overwrite=overwrite) as draft:
        feather.write_feather(table.replace_schema_metadata(about), str(draft))
