"""Measures of an expression classifier and of its calibration, on labelled faces.

Every measure takes weights, because accuracy depends on how often each expression occurs: ``class_weights`` makes a
labelled set speak for other class shares than its own. Equal shares turn accuracy into mean-class recall.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from fertrack.types import EXPRESSIONS, UNCERTAIN, BoolArray, Float64Array, FloatArray, IntArray

__all__ = [
    "ROUNDING",
    "ReliabilityBin",
    "accuracy",
    "accuracy_coverage",
    "brier_score",
    "class_weights",
    "confusion_matrix",
    "decisions",
    "equal_mass_calibration_error",
    "expected_calibration_error",
    "fit_temperature",
    "macro_f1",
    "negative_log_likelihood",
    "precision_thresholds",
    "reliability_bins",
    "soft_calibration_error",
    "stratified_folds",
    "stratified_halves",
    "vote_divergence",
]


def class_weights(
    labels: IntArray, shares: npt.ArrayLike | None = None, *, sources: IntArray | None = None
) -> Float64Array:
    """Weight of each face, summing to 1, so that the classes weigh as given.

    Args:
        labels: int64 (N,), index into ``EXPRESSIONS``.
        shares: seven class shares; None keeps the set's own.
        sources: int64 (N,), set that each face is of: in each the classes weigh as given, and all sets weigh the same;
            None: one set.

    Returns:
        float64 (N,). Shares of classes that do not occur are dropped.
    """
    if sources is not None:
        weighed = np.zeros(len(labels))
        present = np.unique(sources)
        for source in present:
            rows = sources == source
            weighed[rows] = class_weights(labels[rows], shares) / len(present)
        return weighed
    counts = np.bincount(labels, minlength=len(EXPRESSIONS))
    wanted = counts.astype(np.float64) if shares is None else np.asarray(shares, np.float64)
    each = np.divide(wanted, counts, out=np.zeros(len(counts)), where=counts > 0)[labels]
    weights: Float64Array = each / each.sum()
    return weights


def accuracy(probabilities: FloatArray, labels: IntArray, weights: Float64Array) -> float:
    """Weighted share of faces whose most probable expression is their label."""
    return float(np.average(probabilities.argmax(axis=1) == labels, weights=weights))


def negative_log_likelihood(probabilities: FloatArray, labels: IntArray, weights: Float64Array) -> float:
    """Weighted mean of -ln p(label), nats; lower is better, and it punishes misplaced certainty."""
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.average(-np.log(np.maximum(own, np.finfo(np.float32).tiny)), weights=weights))


def expected_calibration_error(
    probabilities: FloatArray, labels: IntArray, weights: Float64Array, *, bins: int = 15
) -> float:
    """Expected calibration error: mean of |accuracy - confidence| over equal-width bins.

    Guo et al. (2017), eq. 3, on the winning expression's probability, with each face weighted.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights * (right - confidence), minlength=bins)
    return float(np.abs(gaps).sum() / weights.sum())


def equal_mass_calibration_error(
    probabilities: FloatArray, labels: IntArray, weights: Float64Array, *, bins: int = 15
) -> float:
    """As ``expected_calibration_error``, over bins that hold the same weight of faces each.

    Nguyen and O'Connor (2015), section 2.2. Where most faces are nearly certain, equal widths put them into one bin.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    order = np.argsort(confidence, kind="stable")
    gap = (weights * ((probabilities.argmax(axis=1) == labels) - confidence))[order]
    reached = np.cumsum(weights[order]) - weights[order] / 2
    place = np.minimum((reached / weights.sum() * bins).astype(np.int64), bins - 1)
    return float(np.abs(np.bincount(place, gap, minlength=bins)).sum() / weights.sum())


def soft_calibration_error(
    probabilities: FloatArray, votes: FloatArray, weights: Float64Array, *, bins: int = 15
) -> float:
    """Calibration error against opinions: the raters' share for the winner stands in for being right or wrong.

    Args:
        probabilities: float32 (N, 7).
        votes: float32 (N, 7), share of the raters for each expression; rows sum to 1.
        weights: float64 (N,).
        bins: number of equal-width bins.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    agreed = votes[np.arange(len(votes)), probabilities.argmax(axis=1)].astype(np.float64)
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights * (agreed - confidence), minlength=bins)
    return float(np.abs(gaps).sum() / weights.sum())


def vote_divergence(probabilities: FloatArray, votes: FloatArray, weights: Float64Array) -> float:
    """Weighted mean Kullback-Leibler divergence of the estimates from the raters' votes, KL(votes || p), nats."""
    p = np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny)
    v = votes.astype(np.float64)
    terms = np.where(v > 0.0, v * (np.log(np.maximum(v, 1e-300)) - np.log(p)), 0.0)
    return float(np.average(terms.sum(axis=1), weights=weights))


def brier_score(probabilities: FloatArray, labels: IntArray, weights: Float64Array) -> float:
    """Weighted mean squared distance to the one-hot label, 0 (perfect) to 2; Brier (1950), eq. 2."""
    errors = probabilities.astype(np.float64)
    errors[np.arange(len(labels)), labels] -= 1.0
    return float(np.average((errors**2).sum(axis=1), weights=weights))


def decisions(probabilities: FloatArray, thresholds: npt.ArrayLike) -> IntArray:
    """The label each face alone would get: its winner, or -1 (uncertain) below the winner's threshold; int64 (N,).

    Args:
        probabilities: float32 (N, 7).
        thresholds: (7,), or (N, 7) where they differ by face.
    """
    winner = probabilities.argmax(axis=1)
    needed = np.broadcast_to(np.asarray(thresholds, np.float64), probabilities.shape)
    rows = np.arange(len(winner))
    return np.where(probabilities[rows, winner] >= needed[rows, winner], winner, UNCERTAIN).astype(np.int64)


def confusion_matrix(given: IntArray, labels: IntArray, weights: Float64Array | None = None) -> Float64Array:
    """Confusion matrix, float64 (7, 8): row = the label, column = the estimate, the last one uncertain.

    Args:
        given: int64 (N,), answers; -1 = uncertain.
        labels: int64 (N,), never -1.
        weights: of each face; None counts them.
    """
    wide = len(EXPRESSIONS) + 1
    column = np.where(given == UNCERTAIN, len(EXPRESSIONS), given)
    cells = np.bincount(labels * wide + column, weights, minlength=len(EXPRESSIONS) * wide)
    return cells.astype(np.float64).reshape(len(EXPRESSIONS), wide)


def macro_f1(given: IntArray, labels: IntArray, weights: Float64Array) -> float:
    """Mean F1 of the expressions that occur among the labels; one that never occurs has no F1, but costs the others."""
    table = confusion_matrix(given, labels, weights)
    own = table.sum(axis=1)
    answers = table[:, :-1].sum(axis=0)
    f1 = 2.0 * np.diag(table) / np.maximum(own + answers, np.finfo(np.float64).tiny)
    return float(f1[own > 0.0].mean())


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Faces whose winner is about equally probable.

    Attributes:
        low: least confidence in the bin (its left edge).
        high: its right edge.
        share: weight of the faces in it; all bins together 1.
        confidence: their mean confidence; NaN in an empty bin.
        accuracy: share of them that are right; NaN in an empty bin.
    """

    low: float
    high: float
    share: float
    confidence: float
    accuracy: float


def reliability_bins(
    probabilities: FloatArray, labels: IntArray, weights: Float64Array | None = None, *, bins: int = 15
) -> tuple[ReliabilityBin, ...]:
    """Bins of a reliability diagram: confidence and accuracy in equal-width bins, from 0 to 1.

    The share-weighted sum of ``|accuracy - confidence|`` is ``expected_calibration_error``.

    Args:
        probabilities: float32 (N, 7).
        labels: int64 (N,).
        weights: float64 (N,); None counts each face once.
        bins: how many.
    """
    weights = class_weights(labels) if weights is None else weights
    confidence = probabilities.max(axis=1).astype(np.float64)
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    share = np.bincount(place, weights, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, weights * confidence, minlength=bins) / share
        right = np.bincount(place, weights * (probabilities.argmax(axis=1) == labels), minlength=bins) / share
    share = share / weights.sum()
    return tuple(
        ReliabilityBin(i / bins, (i + 1) / bins, float(share[i]), float(mean[i]), float(right[i])) for i in range(bins)
    )


def accuracy_coverage(
    probabilities: FloatArray, labels: IntArray, weights: Float64Array, *, levels: npt.ArrayLike
) -> list[tuple[float, float, float]]:
    """Coverage and accuracy when only winners from a given probability on count.

    Returns:
        For each of ``levels``: the level, the share of faces that reach it, the share of those that are right (NaN
        where none does).
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    rows = []
    for level in np.asarray(levels, np.float64).tolist():
        reached = confidence >= level
        covered = float(weights[reached].sum())
        hits = float(weights[reached & right].sum())
        rows.append((level, covered / float(weights.sum()), hits / covered if covered else float("nan")))
    return rows


def fit_temperature(probabilities_at: Callable[[float], FloatArray], labels: IntArray, weights: Float64Array) -> float:
    """Temperature with the least weighted negative log-likelihood.

    Args:
        probabilities_at: calibrated probabilities, float32 (N, 7), of the labelled faces at a given temperature.
        labels: int64 (N,).
        weights: float64 (N,).
    """

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(probabilities_at(float(np.exp(log_temperature))), labels, weights)

    best: Any = minimize_scalar(loss, bounds=(-2.5, 2.5), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(best.x))


ROUNDING = 1e-9
"""Sums of weights are not exact: a precision that is as wanted must not seem to be below it."""


def precision_thresholds(
    probabilities: FloatArray,
    labels: IntArray,
    weights: Float64Array,
    *,
    target: float,
    floor: float,
    ceiling: float = 0.90,
) -> tuple[float, ...]:
    """For each expression, the least probability from which on its label is right often enough.

    Args:
        probabilities: float32 (N, 7).
        labels: int64 (N,).
        weights: float64 (N,).
        target: wanted precision of the labels given, 0 to 1.
        floor: thresholds are not set below this.
        ceiling: nor above this, even if the target is missed.

    Returns:
        Seven thresholds in steps of 0.01, in ``EXPRESSIONS`` order.
    """
    winner, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1).astype(np.float64)
    right = winner == labels
    thresholds = []
    for expression in range(len(EXPRESSIONS)):
        for hundredth in range(round(floor * 100), round(ceiling * 100) + 1):
            given = (winner == expression) & (confidence >= hundredth / 100)
            if weights[given & right].sum() >= (target - ROUNDING) * weights[given].sum():
                break
        thresholds.append(hundredth / 100)
    return tuple(thresholds)


def stratified_halves(labels: IntArray, seed: int = 0) -> BoolArray:
    """Splits a set in two, each class evenly: True for one half. What is fitted on one is scored on the other."""
    rng = np.random.default_rng(seed)
    first = np.zeros(len(labels), np.bool_)
    for expression in range(len(EXPRESSIONS)):
        rows = rng.permutation(np.flatnonzero(labels == expression))
        first[rows[: len(rows) // 2]] = True
    return first


def stratified_folds(labels: IntArray, folds: int = 5, *, groups: IntArray | None = None, seed: int = 0) -> IntArray:
    """Fold in which each face is held out, every class spread evenly; faces of one group stay together.

    Args:
        labels: int64 (N,), index into ``EXPRESSIONS``.
        folds: how many.
        groups: int64 (N,), faces that belong together, such as one person's second of video; None: each alone. A
            group goes by the label of its first face.
        seed: of the shuffling.

    Returns:
        int64 (N,), 0 to ``folds - 1``.
    """
    rng = np.random.default_rng(seed)
    _, first, member = np.unique(
        np.arange(len(labels)) if groups is None else groups, return_index=True, return_inverse=True
    )
    fold = np.empty(len(first), np.int64)
    start = 0
    for expression in range(len(EXPRESSIONS)):
        mine = rng.permutation(np.flatnonzero(labels[first] == expression))
        # Going on where the class before stopped keeps the folds the same size however small the classes are.
        fold[mine] = (np.arange(len(mine)) + start) % folds
        start += len(mine)
    return fold[member]
