"""Coefficients of agreement and their intervals, all from sums that add up over blocks of time.

* Cohen's kappa: Cohen (1960), "A coefficient of agreement for nominal scales", Educational and Psychological
  Measurement 20(1), 37-46; of time instead of items, as each moment counts for as long as it lasts.
* Fleiss' kappa: Fleiss (1971), "Measuring nominal scale agreement among many raters", Psychological Bulletin 76(5),
  378-382, likewise.
* Intraclass correlation of single ratings, two-way: ICC(2,1), absolute agreement, and ICC(3,1), consistency: Shrout and
  Fleiss (1979), "Intraclass correlations: uses in assessing rater reliability", Psychological Bulletin 86(2), 420-428.

Neighbouring moments are alike, so intervals come from drawing whole blocks of time with replacement, blocks that do not
overlap: Carlstein (1986), "The use of subseries values for estimating the variance of a general statistic from a
stationary sequence", Annals of Statistics 14(3), 1171-1179.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fertrack.evaluation.intervals import Interval
from fertrack.types import Float64Array, IntArray

__all__ = [
    "MIN_BLOCKS",
    "cohen_kappa",
    "fleiss_kappa",
    "fleiss_sums",
    "icc",
    "icc_sums",
    "over_blocks",
    "time_tables",
]

_NO_WIDTH = 1e-9
MIN_BLOCKS = 5
"""Blocks of time below which an interval would say nothing."""


def time_tables(a: IntArray, b: IntArray, weight: Float64Array, block: IntArray, classes: int) -> Float64Array:
    """Time by the labels of two raters, a table a block of time.

    Args:
        a: int64 (N,), label of each stretch by the first rater, 0 to ``classes`` - 1.
        b: likewise, by the second.
        weight: (N,), seconds.
        block: int64 (N,), 0 and up.
        classes: number of labels.

    Returns:
        (B, K, K), seconds; rows are the first rater's.
    """
    blocks = int(block.max()) + 1 if len(block) else 0
    cell = (block * classes + a) * classes + b
    summed = np.bincount(cell, weights=weight, minlength=blocks * classes * classes)
    return summed.astype(np.float64).reshape(blocks, classes, classes)


def cohen_kappa(tables: Float64Array) -> Float64Array:
    """Cohen's kappa of tables (..., K, K): (...,); NaN where chance alone explains everything, or nothing is there.

    >>> cohen_kappa(np.array([[20.0, 5.0], [10.0, 15.0]])).round(3).item()
    0.4
    """
    total = tables.sum(axis=(-2, -1))
    observed = np.trace(tables, axis1=-2, axis2=-1)
    by_chance = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = by_chance / total**2
        return _defined((observed / total - chance) / (1.0 - chance), chance)


def fleiss_sums(labels: IntArray, weight: Float64Array, block: IntArray, classes: int) -> Float64Array:
    """Sums that Fleiss' kappa is made of: pairs of raters that agree, then time by label.

    Args:
        labels: int64 (R, N), label of each stretch by each rater.
        weight: (N,), seconds.
        block: int64 (N,).
        classes: number of labels, K.

    Returns:
        (B, 1 + K): the share of agreeing pairs times seconds, and the share of raters with each label times seconds.
    """
    raters = len(labels)
    votes = np.stack([(labels == each).sum(axis=0) for each in range(classes)], axis=1).astype(np.float64)
    agreeing = (votes * (votes - 1.0)).sum(axis=1) / (raters * (raters - 1))
    rows = np.column_stack([agreeing, votes / raters]) * weight[:, None]
    sums = np.zeros((int(block.max()) + 1 if len(block) else 0, classes + 1))
    np.add.at(sums, block, rows)
    return sums


def fleiss_kappa(sums: Float64Array) -> Float64Array:
    """Fleiss' kappa of sums (..., 1 + K) of ``fleiss_sums``: (...,); NaN where it is not defined."""
    total = sums[..., 1:].sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = ((sums[..., 1:] / total[..., None]) ** 2).sum(axis=-1)
        return _defined((sums[..., 0] / total - chance) / (1.0 - chance), chance)


def icc_sums(values: Float64Array, block: IntArray) -> Float64Array:
    """Sums that intraclass correlations are made of.

    Args:
        values: (N, R), a row a target, a column a rater.
        block: int64 (N,).

    Returns:
        (B, 1 + R + 2): how many, each rater's sum, the sum of squares, and the sum of the rows' squared sums.
    """
    rows = np.column_stack([np.ones(len(values)), values, (values**2).sum(axis=1), values.sum(axis=1) ** 2])
    sums = np.zeros((int(block.max()) + 1 if len(block) else 0, rows.shape[1]))
    np.add.at(sums, block, rows)
    return sums


def icc(sums: Float64Array) -> tuple[Float64Array, Float64Array]:
    """ICC(2,1) and ICC(3,1) of sums (..., 1 + R + 2) of ``icc_sums``: (...,) each; NaN where they are not defined."""
    count, of_rater, squares, of_row = sums[..., 0], sums[..., 1:-2], sums[..., -2], sums[..., -1]
    raters = of_rater.shape[-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = of_rater.sum(axis=-1) ** 2 / (count * raters)
        between_rows = of_row / raters - mean
        between_raters = (of_rater**2).sum(axis=-1) / count - mean
        rest = squares - mean - between_rows - between_raters
        rows = between_rows / (count - 1)
        columns = between_raters / (raters - 1)
        error = rest / ((count - 1) * (raters - 1))
        agreement = (rows - error) / (rows + (raters - 1) * error + raters * (columns - error) / count)
        consistency = (rows - error) / (rows + (raters - 1) * error)
    enough = (count > 2) & (squares - mean > 1e-9 * np.maximum(squares, 1e-300))
    return np.where(enough, agreement, np.nan), np.where(enough, consistency, np.nan)


def over_blocks(
    measure: Callable[[Float64Array], Float64Array], sums: Float64Array, *, resamples: int = 1000, seed: int = 0
) -> Interval:
    """A measure of all blocks together, with its 95 % interval over blocks.

    Args:
        measure: takes sums (..., S) and gives (...,).
        sums: (B, S): the first axis is drawn from; blocks in which nothing was compared must be left out.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        Its interval is NaN where there are fewer than ``MIN_BLOCKS`` blocks, the measure is mostly undefined, or all
        draws give the same.
    """
    value = float(measure(sums.sum(axis=0)))
    if len(sums) < MIN_BLOCKS:
        return Interval(value, float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(sums), np.full(len(sums), 1.0 / len(sums)), size=resamples).astype(np.float64)
    drawn = measure(np.tensordot(counts, sums, axes=1))
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < resamples // 2:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    if high - low < _NO_WIDTH:  # every draw gave the same: an interval of no width would say that it is known exactly
        low = high = float("nan")
    return Interval(value, low, high)


def _defined(kappa: Float64Array, chance: Float64Array) -> Float64Array:
    return np.where(chance < 1.0 - 1e-12, kappa, np.nan)
