"""The last minute of one person in half-second columns, as the page and the window draw it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fertrack.types import EXPRESSIONS

__all__ = ["COLUMN_S", "NOBODY", "STRIP_S", "UNDECIDED", "strip_columns"]

STRIP_S = 60.0
"""Length of the strip, seconds."""

COLUMN_S = 0.5
"""Time that one column of the strip stands for, seconds."""

NOBODY, UNDECIDED = -2, -1
"""Column without an estimate; column of an uncertain one. From 0 on it is an index into ``EXPRESSIONS``."""

_INDEX = {name: index for index, name in enumerate(EXPRESSIONS)}


def strip_columns(estimates: Sequence[tuple[float, str, float]], now_s: float) -> tuple[list[int], list[int]]:
    """Columns of the last minute that stay the same while they move: the label shown longest in each half second.

    Args:
        estimates: time in s, label, probability; each holds until the next one, the last until now; "" = not seen.
        now_s: end of the strip, on the same clock.

    Returns:
        Labels: index into ``EXPRESSIONS``, -1 uncertain, -2 not seen; and the label's mean probability in percent. Both
        oldest first, one entry a column.

    >>> labels, percent = strip_columns([(0.0, "happiness", 0.8), (0.6, "happiness", 0.6), (0.8, "fear", 0.9)], 0.9)
    >>> labels[-3:], percent[-3:]
    ([-2, 3, 3], [0, 80, 67])
    """
    last = math.floor(now_s / COLUMN_S)
    first = last - int(STRIP_S / COLUMN_S) + 1
    shown: dict[int, dict[str, tuple[float, float]]] = {}  # column: label: seconds, seconds x probability
    ends = [*(time_s for time_s, _, _ in estimates), now_s][1:]
    for (start_s, label, probability), end_s in zip(estimates, ends, strict=True):
        for column in range(max(first, math.floor(start_s / COLUMN_S)), math.floor(end_s / COLUMN_S) + 1):
            seconds = min(end_s, (column + 1) * COLUMN_S) - max(start_s, column * COLUMN_S)
            if label and seconds > 0:
                total_s, weighted = shown.setdefault(column, {}).get(label, (0.0, 0.0))
                shown[column][label] = (total_s + seconds, weighted + seconds * probability)
    labels, percent = [], []
    for column in range(first, last + 1):
        label, (seconds, weighted) = max(
            shown.get(column, {"": (1.0, 0.0)}).items(), key=lambda label_and_time: label_and_time[1][0]
        )
        labels.append(_INDEX.get(label, UNDECIDED) if label else NOBODY)
        percent.append(round(100 * weighted / seconds))
    return labels, percent
