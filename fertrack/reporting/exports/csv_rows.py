"""The one way in which fertrack writes a table as CSV: to a file, or on the command line.

RFC 4180: UTF-8, comma, a header line, quotes where needed; lines end with CRLF in files and with LF on standard output,
where other programs read them. Decimal numbers have a point and a fixed number of decimals, by their unit:

=========  ========  ======================================
unit       decimals  such as
=========  ========  ======================================
s          6         times and durations
px         2         boxes
1          4         probabilities, shares, scores
ms, 1/s    3         time per frame, frames per second
1/min      3         episodes per minute
=========  ========  ======================================

An empty field means "not known". A text that a spreadsheet would take for a formula (it begins with = + - @ or a tab)
has an apostrophe put in front of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TextIO

import pandas as pd

__all__ = ["DECIMALS", "decimals_of", "defused", "write_rows"]


_FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")


def defused(text: str) -> str:
    """Text as it may stand in a CSV field: what a spreadsheet would take for a formula gets an apostrophe in front.

    >>> defused("=HYPERLINK(1)"), defused("Ana = Bo")
    ("'=HYPERLINK(1)", 'Ana = Bo')
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) or text.lstrip().startswith(_FORMULA_STARTS) else text


DECIMALS = {"s": 6, "px": 2, "1": 4, "ms": 3, "1/s": 3, "1/min": 3}
"""Decimals by unit."""

_OTHER_DECIMALS = 6
"""Of a decimal number without a known unit."""


def decimals_of(table: pd.DataFrame) -> dict[str, int | None]:
    """Decimals of each column, by the units in ``.attrs["units"]``; None: written as it is."""
    units: Mapping[str, str] = table.attrs.get("units", {})
    return {
        str(name): DECIMALS.get(units.get(str(name), ""), _OTHER_DECIMALS) if table[name].dtype.kind == "f" else None
        for name in table.columns
    }


def write_rows(
    table: pd.DataFrame, file: TextIO, columns: Mapping[str, int | None] | None = None, *, line_end: str = "\r\n"
) -> None:
    """Write a table as CSV.

    Args:
        table: what is written; its index is not.
        file: opened for text.
        columns: which columns in which order, with their decimals; all, as ``decimals_of`` says, if None.
        line_end: after each line.
    """
    columns = decimals_of(table) if columns is None else columns
    text = {name: _as_text(table[name], decimals).reset_index(drop=True) for name, decimals in columns.items()}
    pd.DataFrame(text, columns=list(columns)).to_csv(file, index=False, lineterminator=line_end)


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return defused(value) if isinstance(value, str) else value


def _as_text(column: pd.Series, decimals: int | None) -> pd.Series:
    if decimals is not None:
        form = f"%.{decimals}f"
        return pd.Series(["" if math.isnan(number) else form % number for number in column.tolist()], dtype=str)
    if column.dtype.kind in "OTU":
        return column.map(_cell)
    return column
