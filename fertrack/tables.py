"""Tables that people make or edit, read from CSV as spreadsheet programs of any country save it.

=================  =====================================================================================================
separators         comma, semicolon, tab; a first line ``sep=;`` decides, else what the header has most of
encodings          UTF-8 with or without byte-order mark, UTF-16 with one ("Unicode text"), else Windows-1252 ("ANSI")
decimal numbers    ``0.4`` and ``0,4``; ``1,234.5`` and ``1.234,5``; ``1,234`` between commas is refused
times              seconds as above, or ``m:ss``, ``h:mm:ss``, each with decimals, or ``1m30s``, ``2h``
rows               numbered as a spreadsheet shows them: the header is row 1; empty rows count, and are left out
=================  =====================================================================================================

What a cell says is checked by whoever asks for it, and mistakes are collected, so that one message names every wrong
row.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fertrack.errors import TableError, reason_of

__all__ = ["Row", "Table", "parse_rows", "read_table", "rows_sentence", "seconds_in"]

_MAX_NAMED = 5
"""Wrong rows that are named one by one."""

_SEPARATORS = ";\t,"
_GROUPED = {
    ",": re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?"),
    ".": re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d*)?"),
}
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,3}):([0-5]?\d(?:[.,]\d*)?)")
_SPELLED = re.compile(r"(?:(\d+(?:[.,]\d+)?)h)?(?:(\d+(?:[.,]\d+)?)m)?(?:(\d+(?:[.,]\d+)?)s?)?", re.IGNORECASE)
_SEPARATOR_LINE = re.compile(r'"?sep=([^\r\n])"?[;,\t]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        number: as a spreadsheet shows it; the header is row 1.
        cells: text by column name (lower case), without white space around it; empty where nothing is there.
        comma_separated: whether commas separate the fields, so that one in a number is not simply a decimal comma.
    """

    number: int
    cells: Mapping[str, str]
    comma_separated: bool = False

    def text(self, column: str) -> str:
        """Text of a cell; empty if it, or the column, is not there."""
        return self.cells.get(column, "")

    def whole(self, column: str) -> int | None:
        """Whole number in a cell, None if it is empty.

        Raises:
            ValueError: it is something else.
        """
        text = self.text(column)
        try:
            return int(text) if text else None
        except ValueError:
            raise ValueError(f"{column} {text!r} is not a whole number") from None

    def number_in(self, column: str) -> float | None:
        """Finite number in a cell, None if it is empty.

        Raises:
            ValueError: it is something else, or can be read in two ways.
        """
        text = self.text(column)
        if not text:
            return None
        value = self._number(column, text)
        if not math.isfinite(value):
            raise ValueError(f"{column} must be a finite number, not {text}")
        return value

    def seconds(self, column: str) -> float | None:
        """Time in a cell, seconds; None if it is empty.

        Raises:
            ValueError: it is no time, or can be read in two ways.
        """
        text = self.text(column)
        if (told := _told_in_units(text)) is not None:
            return told
        try:
            return self.number_in(column)
        except _NoNumberError:
            raise ValueError(f"{column} must be seconds such as 12.5, or m:ss, not {text!r}") from None

    def _number(self, column: str, text: str) -> float:
        if "," in text:
            if "." in text or text.count(",") > 1:  # the last of two kinds of mark is the decimal one
                group = "," if text.rfind(",") < text.rfind(".") or "." not in text else "."
                if not _GROUPED[group].fullmatch(text):
                    raise _NoNumberError(f"{column} {text!r} is not a number")
                text = text.replace(group, "")
            elif self.comma_separated and _GROUPED[","].fullmatch(text):
                whole = text.replace(",", "")
                raise ValueError(
                    f"{column} {text!r} may mean {whole} or {text.replace(',', '.')}: write it without a comma"
                )
            text = text.replace(",", ".")
        elif text.count(".") > 1 and _GROUPED["."].fullmatch(text):
            text = text.replace(".", "")
        try:
            return float(text)
        except ValueError:
            raise _NoNumberError(f"{column} {text!r} is not a number") from None


def seconds_in(text: str) -> float:
    """Seconds in a time as people write it.

    Raises:
        ValueError: it is none.

    >>> [seconds_in(text) for text in ("12.5", "0:05", "1:02:03", "1m30", "10s", "1.5h")]
    [12.5, 5.0, 3723.0, 90.0, 10.0, 5400.0]
    """
    text = text.strip()
    told = _told_in_units(text)
    try:
        value = float(text.replace(",", ".")) if told is None else told
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no time: write seconds such as 12.5, or 0:12, or 1m30s")
    return value


def _told_in_units(text: str) -> float | None:
    """Seconds in ``m:ss``, ``h:mm:ss`` or ``1h30m10s``; None for anything else, plain numbers too."""
    found = _CLOCK.fullmatch(text)
    found = found or (_SPELLED.fullmatch(text) if re.search("[hms]", text, re.IGNORECASE) else None)
    if not found or not any(found.groups()):
        return None
    parts = [float((part or "0").replace(",", ".")) for part in found.groups()]
    return parts[0] * 3600 + parts[1] * 60 + parts[2]


class _NoNumberError(ValueError):
    """Text that is no number at all."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was read.

    Attributes:
        path: the file.
        columns: names in the header, in lower case; columns without a name are left out.
        rows: the rows that are not empty.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_table(path: Path, header: Collection[str] = ()) -> Table:
    """Read a CSV file; see the module for the forms it may have.

    Args:
        path: the file.
        header: names that its header has, in lower case: lines before that one are passed over. The first line is the
            header if empty, or if no line has them.

    Raises:
        TableError: it cannot be read, is no text or no CSV, names a column twice, or has a row that is longer than its
            header.
    """
    text = _decoded(path)
    separator, text = _separator(text)
    try:
        fields = list(csv.reader(_lines(text), delimiter=separator, strict=True))
    except csv.Error as error:
        raise TableError(f"{path} is no CSV file: {error}") from error
    lines = [[field.strip() for field in line] for line in fields]
    wanted = set(header)
    top = next((at for at, line in enumerate(lines) if wanted and wanted <= {name.lower() for name in line}), 0)
    names = [name.lower() for name in lines[top]] if lines else []
    columns = tuple(name for name in names if name)
    if twice := next((name for name in columns if columns.count(name) > 1), None):
        raise TableError(f"{path}: its header may have each column once, not {twice!r} twice")
    rows = []
    for number, line in enumerate(lines[top + 1 :], start=top + 2):
        if not any(line):
            continue
        if any(line[len(names) :]):
            hint = ": a decimal comma needs quotes where commas separate the fields" if separator == "," else ""
            raise TableError(f"{path}, row {number} has {len(line)} fields, the header {len(names)}{hint}")
        cells = {name: field for name, field in zip(names, line, strict=False) if name}
        rows.append(Row(number, cells, separator == ","))
    return Table(path, columns, tuple(rows))


def parse_rows(table: Table, parse: Callable[[Row], _Parsed | None]) -> list[_Parsed]:
    """Parsed rows of a table; rows for which ``parse`` gives None are left out.

    Args:
        table: the table.
        parse: raises ``ValueError`` with a phrase about the row where that is wrong.

    Raises:
        TableError: one sentence that names the wrong rows; nothing of the file should be used then.
    """
    parsed, mistakes = [], []
    for row in table.rows:
        try:
            value = parse(row)
        except ValueError as error:
            mistakes.append((row.number, str(error)))
            continue
        if value is not None:
            parsed.append(value)
    if mistakes:
        raise TableError(f"{table.path}: nothing was imported: {rows_sentence(mistakes)}")
    return parsed


def rows_sentence(mistakes: Iterable[tuple[int, str]]) -> str:
    """The first few mistakes by row number, and how many there are beyond them.

    >>> rows_sentence([(3, "no label"), (4, "no time")])
    'row 3: no label; row 4: no time'
    """
    told = [f"row {number}: {mistake}" for number, mistake in mistakes]
    more = len(told) - _MAX_NAMED
    rest = [f"and {more} more {'row' if more == 1 else 'rows'}"] if more > 0 else []
    return "; ".join(told[:_MAX_NAMED] + rest)


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path} cannot be read: {reason_of(error)}") from error
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    for candidate in (encoding, "cp1252"):
        try:
            text = content.decode(candidate)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
        break
    raise TableError(f"{path} cannot be read: it is not text, or in an encoding other than UTF-8 and Windows-1252")


def _separator(text: str) -> tuple[str, str]:
    """Field separator of a text, and the text that follows the line that declares it."""
    if said := _SEPARATOR_LINE.match(text):
        return said[1], text[said.end() :]
    first = text.partition("\n")[0]
    bare = re.sub(r'"[^"]*"', "", first)
    return max(_SEPARATORS, key=bare.count), text


def _lines(text: str) -> list[str]:
    """Lines with their ends; only those a spreadsheet knows, so that a form feed in a note does not end a row."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text)
