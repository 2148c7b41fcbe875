"""Measured values with their 95 % intervals: score intervals for shares, the bootstrap for everything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fertrack.types import EXPRESSIONS, Float64Array, IntArray

__all__ = ["Interval", "bootstrap", "wilson"]

NORMAL_95 = 1.959964
"""97.5 % point of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        # Nothing was drawn: a bracket of one value would say that it is known exactly.
        drawn = self.low < self.high
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})" if drawn else f"{self.value:.3f}"


def wilson(hits: int, trials: int) -> Interval:
    """A share with its 95 % interval, which keeps its coverage for few trials and for shares near 0 and 1.

    Wilson (1927), score interval. Without trials the share is NaN and the interval says nothing: 0 to 1.

    >>> print(wilson(8, 10))
    0.800 (0.490-0.943)
    """
    if not trials:
        return Interval(float("nan"), 0.0, 1.0)
    share, z2 = hits / trials, NORMAL_95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = NORMAL_95 / (1 + z2 / trials) * float(np.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def bootstrap(
    measures: Callable[[IntArray], Float64Array],
    labels: IntArray,
    *,
    groups: IntArray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Interval]:
    """95 % percentile intervals of several measures at once, drawing with replacement within each class.

    Args:
        measures: the measures, float64 (K,), of the faces with the given row numbers (int64).
        labels: int64 (N,), class of each face.
        groups: int64 (N,), faces that stand or fall together, such as frames of one moment; whole groups are drawn,
            within the class of their first face. None: each face alone.
        resamples: number of draws; 0 gives intervals without width.
        seed: of the draws.

    Returns:
        One interval for each measure; its value is the measure of all faces. Draws in which a measure is NaN are
        passed over.
    """
    values = measures(np.arange(len(labels)))
    if not resamples:
        return [Interval(value, value, value) for value in values.tolist()]
    rng = np.random.default_rng(seed)
    units = _units(len(labels), groups)
    first = np.array([unit[0] for unit in units], np.int64)
    classes = [members for k in range(len(EXPRESSIONS)) if len(members := np.flatnonzero(labels[first] == k))]
    drawn = np.empty((resamples, len(values)))
    for draw in range(resamples):
        chosen = np.concatenate([rng.choice(members, len(members)) for members in classes])
        rows = first[chosen] if groups is None else np.concatenate([units[unit] for unit in chosen])
        drawn[draw] = measures(rows)
    low, high = (_quantile(drawn, q) for q in (0.025, 0.975))
    return [Interval(*each) for each in zip(values.tolist(), low, high, strict=True)]


def _units(count: int, groups: IntArray | None) -> list[IntArray]:
    if groups is None:
        return list(np.arange(count)[:, None])
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def _quantile(drawn: Float64Array, q: float) -> list[float]:
    return [
        float(np.quantile(known, q)) if len(known := column[~np.isnan(column)]) else float("nan") for column in drawn.T
    ]
