"""Output of results: tables for people, JSON and CSV for machines. Progress and notes go to stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from fertrack.storage.engine import Database

__all__ = [
    "err_console",
    "frame_to",
    "misuse",
    "note_corrections",
    "note_coverage",
    "note_moments",
    "note_outdated",
    "out_console",
    "print_answer",
    "print_coverage",
    "print_json",
    "print_json_line",
    "print_table",
    "with_coverage",
]

_ANSWER_ROWS = 100
"""Rows of an answer that a table shows people."""

_MAX_LAID_OUT = 500
"""Rows of the longest table that is laid out to the terminal's width."""

_MIN_UNKNOWN = 0.1
"""Share of the time that must be unknown for an answer to say so to people; to machines it always does."""

_MAX_FILES = 5
"""Files that a note names."""

_PLAIN_WIDTH = 200
"""Columns to use when the output is a file or a pipe, so that nothing is cut off."""


def out_console() -> Console:
    """Console for results. Piped, it is as wide as COLUMNS says, or wide enough that nothing is cut off."""
    piped_width = None if "COLUMNS" in os.environ else _PLAIN_WIDTH
    return Console(width=None if sys.stdout.isatty() else piped_width, highlight=False)


def err_console() -> Console:
    """Console for progress, notes and warnings."""
    return Console(stderr=True, highlight=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """Print a table; numbers are right-aligned, floats have three decimals, square brackets are just brackets."""
    rows = [list(row) for row in rows]
    if len(rows) > _MAX_LAID_OUT:
        _print_plainly(columns, rows, title)
        return
    table = Table(box=None, pad_edge=False)
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[position], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row))
    console = out_console()
    with console.capture() as captured:
        console.print(table)
    lines = [title] * bool(title) + captured.get().splitlines()
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in lines))


def _print_plainly(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str) -> None:
    """A long table: in columns too, but not laid out to a terminal's width, which takes seconds per thousand rows."""
    cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(set_cell_size(text, width) for text, width in zip(row, widths, strict=True)) for row in cells]
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in [title] * bool(title) + lines))


def print_json(value: Any) -> None:
    """Print JSON on stdout; NaN becomes null."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def print_json_line(value: Any) -> None:
    """Print JSON on one line of stdout; NaN becomes null."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=str, separators=(",", ":"))
    sys.stdout.write(f"{text}\n")


def frame_to(frame: pd.DataFrame, output_format: str, *, title: str = "") -> None:
    """Print a DataFrame as ``table``, ``csv`` (as ``fertrack.reporting.exports.csv_rows`` says) or ``json``."""
    if output_format == "csv":
        from fertrack.reporting.exports.csv_rows import write_rows

        write_rows(frame, sys.stdout, line_end="\n")
    elif output_format == "json":
        sys.stdout.write(frame.to_json(orient="records", date_format="iso", indent=2) + "\n")
    else:
        print_table(list(frame.columns), frame.itertuples(index=False, name=None), title=title)


def with_coverage(frame: pd.DataFrame, coverage: dict[str, float]) -> pd.DataFrame:
    """An answer with two more columns, ``asked_uncertain`` and ``asked_no_face``, the same in every row.

    They are the shares, 0 to 1, of the time of the persons asked about in which nobody knows what they showed. As
    columns, the output stays the list of rows it is; an answer without rows says it on stderr only.
    """
    total = sum(coverage.values())
    shares = {
        f"asked_{state}": coverage[f"{state}_s"] / total if total else math.nan for state in ("uncertain", "no_face")
    }
    return frame.assign(**shares)


def print_answer(table: pd.DataFrame, output_format: str, coverage: dict[str, float] | None = None) -> None:
    """Print an answer; for machines with the share of the time asked about that is unknown, the same in every row."""
    if output_format != "table":
        frame_to(table if coverage is None else with_coverage(table, coverage), output_format)
        return
    if table.empty:
        err_console().print("nothing found: no rows answer this")
        return
    if "person" in table:  # people are told by one name; machines get the track too
        table = table.drop(columns="track", errors="ignore")
    frame_to(table.head(_ANSWER_ROWS), output_format)
    if len(table) > _ANSWER_ROWS:
        err_console().print(f"{_ANSWER_ROWS} of {len(table)} rows shown: --format csv prints all of them")


def print_coverage(attrs: Mapping[Any, Any]) -> None:
    """Say on stderr how much of the time asked about is unknown, where that matters, and what people corrected."""
    note_coverage(attrs["coverage"])
    note_corrections(attrs.get("corrected", 0), attrs.get("run", "all"))


def note_coverage(coverage: Mapping[str, float]) -> None:
    """Say on stderr how much of the time asked about was uncertain or without a face, if a tenth or more was."""
    from fertrack.storage.queries.batches import coverage_sentence

    total = sum(coverage.values())
    if coverage["certain_s"] <= (1.0 - _MIN_UNKNOWN) * total:
        err_console().print(coverage_sentence(dict(coverage)))


def note_outdated(database: Database, run: int | str) -> None:
    """Name on stderr the files written from a run before its persons or labels were changed just now."""
    from fertrack.storage.written_files import outputs

    with database.run(run) as stored:
        number = stored.number
        files = [file for file in outputs(stored.connection, [number]) if file.is_there and file.kind != "person"]
    if not files:
        return
    names = ", ".join(str(file.path) for file in files[:_MAX_FILES]) + (
        " and others" if len(files) > _MAX_FILES else ""
    )
    err_console().print(
        f"note: written before this, and as it was then: {names}; write them again with 'fertrack report {number}', "
        f"'fertrack render {number}' or 'fertrack export {number}', and --overwrite",
        markup=False,
        soft_wrap=True,
    )


def note_corrections(faces: int, run: int | str) -> None:
    """Say on stderr how many faces count as people labelled them, if any do."""
    from fertrack.storage.people.corrected_labels import corrections_sentence

    if faces:
        err_console().print(corrections_sentence(faces, run), soft_wrap=True)


def note_moments(attrs: Mapping[Any, Any]) -> None:
    """Say on stderr how many markers an answer by condition leaves out, if it does."""
    if left_out := attrs.get("moments", 0):
        have = "1 marker has no end and is" if left_out == 1 else f"{left_out} markers have no end and are"
        err_console().print(f"note: {have} left out: --lasting says how long such a marker counts", soft_wrap=True)


@contextmanager
def misuse() -> Iterator[None]:
    """Turn a ``ValueError`` about a wrong argument into wrong usage."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _finite(value: Any) -> Any:
    """The same value with null where a number is not one: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.3f}"  # noqa: PLR0124  # NaN is the one value unlike itself
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "-" if value is None else str(value)
