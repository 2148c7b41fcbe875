"""Numbers of a face as plain columns, for SQL: box and probabilities that are packed as bytes beside them.

SQLite's SQL cannot unpack bytes. Probabilities are whole ten-thousandths and box edges tenths of a pixel: whole numbers
take two bytes where a float takes eight, so that a face takes 276 bytes with its index instead of 224, not 380.
The packed vectors stay the exact truth, from which fertrack itself reads; the views of ``storage.views`` divide.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fertrack.types import EXPRESSIONS, FloatArray

__all__ = ["BOX_COLUMNS", "PROBABILITY_COLUMNS", "READABLE_COLUMNS", "box_columns", "probability_columns"]

BOX_COLUMNS = ("x1_tenths", "y1_tenths", "x2_tenths", "y2_tenths")
PROBABILITY_COLUMNS = (*(f"p_{name}_e4" for name in EXPRESSIONS), *(f"raw_{name}_e4" for name in EXPRESSIONS))
"""Smoothed, then calibrated probabilities of the frame alone."""

READABLE_COLUMNS = (*BOX_COLUMNS, *PROBABILITY_COLUMNS)


def box_columns(xyxy: FloatArray) -> dict[str, list[Any]]:
    """Columns of ``BOX_COLUMNS``.

    Args:
        xyxy: float32 (N, 4), px.
    """
    return dict(zip(BOX_COLUMNS, _whole(xyxy, 10), strict=True))


def probability_columns(smoothed: FloatArray, probabilities: FloatArray) -> dict[str, list[Any]]:
    """Columns of ``PROBABILITY_COLUMNS``.

    Args:
        smoothed: float32 (N, 7).
        probabilities: float32 (N, 7), of each frame alone.
    """
    return dict(zip(PROBABILITY_COLUMNS, _whole(np.hstack([smoothed, probabilities]), 10_000), strict=True))


def _whole(values: FloatArray, scale: int) -> list[list[Any]]:
    """Column by column, whole numbers; None where a value is not a number."""
    known = np.isfinite(values)
    whole = np.rint(np.where(known, values, 0.0) * np.float64(scale)).astype(np.int64)
    if known.all():
        return list(whole.T.tolist())
    return np.where(known, whole, None).T.tolist()  # type: ignore[no-any-return]  # objects
