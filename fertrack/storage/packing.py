"""Vectors as bytes: little-endian float32, row after row, the same on every machine and every database."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from fertrack.types import FloatArray

__all__ = ["PACKED", "fetch_columns", "fetch_tuples", "pack_rows", "unpack_joined", "unpack_rows"]


PACKED = None
"""Given as a column's type: packed vectors, joined to one bytes object."""

_ROWS_AT_ONCE = 512
"""Few enough for the rows to be still in the processor's cache when their columns are taken out of them."""


def fetch_tuples(connection: sa.Connection, statement: sa.Select[*tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The driver's own tuples: SQLAlchemy's row objects would take twice the time of everything else together.

    Column types that translate (moments, JSON) are not translated.
    """
    cursor = connection.execute(statement).cursor
    return [] if cursor is None else cast("list[tuple[Any, ...]]", cursor.fetchall())


def fetch_columns(
    connection: sa.Connection, statement: sa.Select[*tuple[Any, ...]], types: Sequence[npt.DTypeLike | None]
) -> list[Any]:
    """The same as columns, with a third less work than ``fetch_tuples`` and lists of it; never all rows at once.

    Args:
        connection: an open connection.
        statement: no selected value may be NULL.
        types: of each selected column: a NumPy type, or ``PACKED``.

    Returns:
        One array per column; one bytes object for those that are ``PACKED``.
    """
    parts: list[list[Any]] = [[] for _ in types]
    takers = [(itemgetter(place), kind, part) for place, (kind, part) in enumerate(zip(types, parts, strict=True))]
    cursor: Any = connection.execute(statement).cursor
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        for take, kind, part in takers:
            values = map(take, rows)
            part.append(b"".join(values) if kind is PACKED else np.fromiter(values, kind, len(rows)))
    return [
        b"".join(part) if kind is PACKED else np.concatenate(part) if part else np.empty(0, kind)
        for kind, part in zip(types, parts, strict=True)
    ]


_FLOAT = np.dtype("<f4")


def pack_rows(rows: FloatArray) -> list[bytes]:
    """One bytes object per row.

    Args:
        rows: float32 (N, ...); each row is flattened in C order.

    >>> [len(packed) for packed in pack_rows(np.zeros((2, 5, 2), np.float32))]
    [40, 40]
    """
    everything = np.ascontiguousarray(rows, _FLOAT).tobytes()
    stride = len(everything) // len(rows) if len(rows) else 0
    return [everything[start : start + stride] for start in range(0, len(everything), stride or 1)]


def unpack_rows(packed: Sequence[bytes], shape: tuple[int, ...]) -> FloatArray:
    """The rows that ``pack_rows`` packed, in one go.

    Args:
        packed: N bytes objects.
        shape: shape of one row.

    Returns:
        float32 (N, *shape), read-only.

    Raises:
        ValueError: the bytes do not hold N rows of that shape.

    >>> unpack_rows(pack_rows(np.ones((3, 4), np.float32)), (4,)).shape
    (3, 4)
    """
    return unpack_joined(b"".join(packed), len(packed), shape)


def unpack_joined(packed: bytes, rows: int, shape: tuple[int, ...]) -> FloatArray:
    """The same from one bytes object that holds all rows, one after another.

    Raises:
        ValueError: the bytes do not hold that many rows of that shape.
    """
    return np.frombuffer(packed, _FLOAT).reshape(rows, *shape).astype(np.float32, copy=False)
