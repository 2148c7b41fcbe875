"""A run as a DuckDB file, ``<stem>.duckdb``: the tables of ``tools.sqlite``, stored by column.

Needs the package duckdb (extra ``[duckdb]``, 70 MB). Parquet, which DuckDB reads as it is, takes less: this is for who
wants one file with all tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fertrack.errors import MissingExtraError, ReportError
from fertrack.files import check_free, drafted
from fertrack.reporting.exports.tools.sqlite import flat_tables

if TYPE_CHECKING:
    from fertrack.reporting.exports.selection import Selection

__all__ = ["write"]


def write(chosen: Selection, folder: Path, stem: str, *, overwrite: bool) -> list[Path]:
    """Write the chosen run.

    Raises:
        MissingExtraError: duckdb is not installed.
        OutputExistsError: the file is already there and ``overwrite`` is False.
        RunNotFoundError: there is no such track in the run.
        ReportError: the file could not be written.
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError("a DuckDB file needs the package duckdb", "duckdb") from error
    path = folder / f"{stem}.duckdb"
    check_free(path, overwrite=overwrite)
    tables = flat_tables(chosen)
    with drafted(path, overwrite=overwrite) as draft:
        try:
            with duckdb.connect(str(draft)) as database:
                for name, table in tables.items():
                    types = [
                        f'"{column}" {_TYPES.get(values.dtype.name, "VARCHAR")}' for column, values in table.items()
                    ]
                    database.execute(f"CREATE TABLE {name} ({', '.join(types)})")
                    database.register("rows_of_run", table)
                    database.execute(f"INSERT INTO {name} SELECT * FROM rows_of_run")
                    database.unregister("rows_of_run")
        except duckdb.Error as error:
            raise ReportError(f"{path} could not be written: {error}") from error
    return [path]


_TYPES = {"int64": "BIGINT", "float64": "DOUBLE", "float32": "REAL", "bool": "BOOLEAN"}
