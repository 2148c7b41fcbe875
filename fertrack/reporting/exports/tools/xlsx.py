"""A run as an Excel workbook, ``<stem>.xlsx``: typed cells, frozen headings, and a sheet that explains the rest.

==========  ==========================================================================================
sheet       contents
==========  ==========================================================================================
read me     the run, the meaning and unit of every column, and what the numbers do not say
episodes    rows of ``<stem>.episodes.csv``
persons     a row a person: time seen and shares of the expressions
markers     the run's markers
faces       rows of ``<stem>.faces.csv``
==========  ==========================================================================================

Excel holds 1,048,576 rows a sheet: a longer run is refused. Texts are written as texts, so that a name that begins with
``=`` is no formula. Needs the package XlsxWriter (extra ``[xlsx]``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fertrack.errors import MissingExtraError, ReportError
from fertrack.files import check_free, drafted
from fertrack.reporting.exports.tools.content import RunContent, run_content

if TYPE_CHECKING:
    from fertrack.reporting.exports.selection import Selection

__all__ = ["MAX_ROWS", "write", "write_xlsx"]

MAX_ROWS = 1_048_576

_WARNING = "Expression estimates say how a face looks, not what a person feels."


def write(chosen: Selection, folder: Path, stem: str, *, overwrite: bool) -> list[Path]:
    """Write the chosen run.

    Raises:
        MissingExtraError: XlsxWriter is not installed.
        OutputExistsError: the file is already there and ``overwrite`` is False.
        RunNotFoundError: there is no such track in the run.
        ReportError: a table is too long for Excel, or the file could not be written.
    """
    from fertrack.reporting.exports.csv_export import episode_table, face_table
    from fertrack.storage.people.persons import persons
    from fertrack.storage.queries.column_docs import COLUMN_NOTES
    from fertrack.storage.queries.markers import markers

    path = folder / f"{stem}.xlsx"
    check_free(path, overwrite=overwrite)
    faces = face_table(chosen.run, chosen.track)
    sheets = {
        "episodes": episode_table(chosen.run, chosen.config, faces, chosen.track),
        "persons": persons(chosen.run),
        "markers": markers(chosen.run),
        "faces": faces,
    }
    if chosen.track is not None:
        sheets["persons"] = sheets["persons"][sheets["persons"]["track"].isin(faces["track"])]
    named = dict.fromkeys(str(name) for table in sheets.values() for name in table.columns)
    units = {str(name): str(unit) for table in sheets.values() for name, unit in table.attrs.get("units", {}).items()}
    meanings = [(name, units.get(name, ""), COLUMN_NOTES.get(name, "")) for name in named]
    write_xlsx(run_content(chosen), sheets, meanings, path, overwrite=overwrite)
    return [path]


def write_xlsx(
    content: RunContent,
    sheets: Mapping[str, pd.DataFrame],
    meanings: Sequence[tuple[str, str, str]],
    path: Path,
    *,
    overwrite: bool,
) -> None:
    """Write the workbook.

    Args:
        content: the run, for the first sheet.
        sheets: name and table of each further sheet, in order.
        meanings: column, unit and meaning, for the first sheet.
        path: where to.
        overwrite: replace a file of that name.

    Raises:
        MissingExtraError: XlsxWriter is not installed.
        OutputExistsError: ``path`` is already there and ``overwrite`` is False.
        ReportError: a table is too long for Excel, or the file could not be written.
    """
    try:
        import xlsxwriter
    except ImportError as error:
        raise MissingExtraError("an Excel workbook needs the package XlsxWriter", "xlsx") from error
    for name, table in sheets.items():
        if len(table) >= MAX_ROWS:
            raise ReportError(
                f"{path}: {len(table):,} {name} are more than the {MAX_ROWS - 1:,} rows of an Excel sheet: export "
                "csv or parquet, or one person at a time with --track"
            )
    with drafted(path, overwrite=overwrite) as draft:
        options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
        with xlsxwriter.Workbook(str(draft), {**options, "constant_memory": True}) as book:
            bold = book.add_format({"bold": True, "bottom": 1})
            _read_me(book.add_worksheet("read me"), bold, content, meanings)
            for name, table in sheets.items():
                _table(book.add_worksheet(name), bold, table)


def _read_me(sheet: Any, bold: Any, content: RunContent, meanings: Sequence[tuple[str, str, str]]) -> None:
    sheet.set_column(0, 0, 24)
    sheet.set_column(2, 2, 100)
    facts = [
        ("run", str(content.run)),
        ("video", content.source_path or content.source_name),
        ("analysed", content.started_at.strftime("%Y-%m-%d %H:%M UTC")),
        ("length", f"{content.duration_s:.3f} s at {content.fps:g} frames per second"),
        ("made by", content.program),
        ("mind", _WARNING),
    ]
    for row, (name, text) in enumerate(facts):
        sheet.write_string(row, 0, name)
        sheet.write_string(row, 2, text)
    row = len(facts) + 1
    for column, text in enumerate(("column", "unit", "meaning")):
        sheet.write_string(row, column, text, bold)
    for at, texts in enumerate(meanings, start=row + 1):
        for column, text in enumerate(texts):
            sheet.write_string(at, column, text)


def _table(sheet: Any, bold: Any, table: pd.DataFrame) -> None:
    sheet.freeze_panes(1, 0)
    if len(table.columns):
        sheet.autofilter(0, 0, max(len(table), 1), len(table.columns) - 1)
    for column, name in enumerate(table.columns):
        sheet.set_column(column, column, max(10, len(str(name)) + 3))
        sheet.write_string(0, column, str(name), bold)
    columns = [table[name].tolist() for name in table.columns]
    for row, values in enumerate(zip(*columns, strict=True), start=1):
        for column, value in enumerate(values):
            if isinstance(value, str | tuple):
                sheet.write_string(row, column, value if isinstance(value, str) else ", ".join(map(str, value)))
            elif isinstance(value, bool):
                sheet.write_boolean(row, column, value)
            elif isinstance(value, int | float) and math.isfinite(value):
                sheet.write_number(row, column, value)
