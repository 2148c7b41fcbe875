"""A run as a flat SQLite file, ``<stem>.sqlite``: five tables of plain columns, for those who want one file to open.

==========  ==========================================================================================
table       contents
==========  ==========================================================================================
faces       rows of ``<stem>.faces.csv``
episodes    rows of ``<stem>.episodes.csv``
persons     a row a person: time seen and shares of the expressions
markers     the run's markers
columns     the name, unit and meaning of every column
==========  ==========================================================================================

Numbers are REAL or INTEGER, texts TEXT, missing values NULL; ``faces`` has an index on its times. fertrack's own
database is SQLite, too, and holds all runs (``fertrack guide sql``); this file holds one, as its exports show it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fertrack.errors import ReportError
from fertrack.files import check_free, drafted

if TYPE_CHECKING:
    from fertrack.reporting.exports.selection import Selection

__all__ = ["flat_tables", "write"]


def write(chosen: Selection, folder: Path, stem: str, *, overwrite: bool) -> list[Path]:
    """Write the chosen run.

    Raises:
        OutputExistsError: the file is already there and ``overwrite`` is False.
        RunNotFoundError: there is no such track in the run.
        ReportError: the file could not be written.
    """
    path = folder / f"{stem}.sqlite"
    check_free(path, overwrite=overwrite)
    tables = flat_tables(chosen)
    with drafted(path, overwrite=overwrite) as draft:
        try:
            with closing(sqlite3.connect(draft)) as database, database:
                for name, table in tables.items():
                    table.to_sql(name, database, index=False)
                database.execute("CREATE INDEX faces_time ON faces (time_s)")
        except sqlite3.Error as error:
            raise ReportError(f"{path} could not be written: {error}") from error
    return [path]


def flat_tables(chosen: Selection) -> dict[str, pd.DataFrame]:
    """Tables of a run by name, columns of plain numbers and texts.

    Raises:
        RunNotFoundError: there is no such track in the run.
    """
    from fertrack.reporting.exports.csv_export import episode_table, face_table
    from fertrack.storage.people.persons import persons
    from fertrack.storage.queries.column_docs import COLUMN_NOTES
    from fertrack.storage.queries.markers import markers

    faces = face_table(chosen.run, chosen.track)
    people = persons(chosen.run)
    if chosen.track is not None:
        people = people[people["track"].isin(faces["track"])]
    tables = {
        "faces": faces,
        "episodes": episode_table(chosen.run, chosen.config, faces, chosen.track),
        "persons": people,
        "markers": markers(chosen.run),
    }
    units = {str(name): str(unit) for table in tables.values() for name, unit in table.attrs.get("units", {}).items()}
    named = dict.fromkeys(str(name) for table in tables.values() for name in table.columns)
    columns = [(name, units.get(name, ""), COLUMN_NOTES.get(name, "")) for name in named]
    tables["columns"] = pd.DataFrame(columns, columns=["name", "unit", "meaning"])
    return {name: _plain(table) for name, table in tables.items()}


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """The same, with texts for categories and lists, and nothing where a text is missing."""
    plain = {}
    for name in table.columns:
        values = table[name]
        if values.dtype.kind in "iufb" and not isinstance(values.dtype, pd.CategoricalDtype):
            plain[str(name)] = values.reset_index(drop=True)
            continue
        texts = [", ".join(map(str, value)) if isinstance(value, tuple) else value for value in values.tolist()]
        missing = [value is None or value != value for value in texts]  # noqa: PLR0124  # NaN is unlike itself
        plain[str(name)] = pd.Series(
            [None if gone else str(value) for value, gone in zip(texts, missing, strict=True)], dtype="object"
        )
    return pd.DataFrame(plain)
