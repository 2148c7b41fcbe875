"""Vectors as bytes: little-endian float32, row after row, the same on every machine and every database."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fertrack.types import FloatArray

__all__ = ["pack_rows", "unpack_joined", "unpack_rows"]

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
