"""Measures of an expression classifier and of its calibration, on labelled faces.

Every measure takes weights, because accuracy depends on how often each expression occurs: ``class_weights`` makes a
labelled set speak for other class shares than its own. Equal shares turn accuracy into mean-class recall.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from fertrack.types import EXPRESSIONS, FloatArray, IntArray

__all__ = [
    "accuracy",
    "bootstrap_interval",
    "class_weights",
    "expected_calibration_error",
    "fit_temperature",
    "negative_log_likelihood",
    "precision_thresholds",
    "stratified_halves",
]

Weights = npt.NDArray[np.float64]


def class_weights(labels: IntArray, shares: npt.ArrayLike | None = None) -> Weights:
    """Weight of each face, summing to 1, so that the classes weigh as given.

    Args:
        labels: int64 (N,), index into ``EXPRESSIONS``.
        shares: seven class shares; None keeps the set's own.

    Returns:
        float64 (N,). Shares of classes that do not occur are dropped.
    """
    counts = np.bincount(labels, minlength=len(EXPRESSIONS))
    wanted = counts.astype(np.float64) if shares is None else np.asarray(shares, np.float64)
    each = np.divide(wanted, counts, out=np.zeros(len(counts)), where=counts > 0)[labels]
    weights: Weights = each / each.sum()
    return weights


def accuracy(probabilities: FloatArray, labels: IntArray, weights: Weights) -> float:
    """Weighted share of faces whose most probable expression is their label."""
    return float(np.average(probabilities.argmax(axis=1) == labels, weights=weights))


def negative_log_likelihood(probabilities: FloatArray, labels: IntArray, weights: Weights) -> float:
    """Weighted mean of -ln p(label), nats; lower is better, and it punishes misplaced certainty."""
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.average(-np.log(np.maximum(own, np.finfo(np.float32).tiny)), weights=weights))


def expected_calibration_error(
    probabilities: FloatArray, labels: IntArray, weights: Weights, *, bins: int = 15
) -> float:
    """How far confidence is from being right: |share right - mean confidence|, averaged over equal-width bins.

    Guo et al. (2017), eq. 3, on the winning expression's probability, with each face weighted.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights * (right - confidence), minlength=bins)
    return float(np.abs(gaps).sum() / weights.sum())


def fit_temperature(probabilities_at: Callable[[float], FloatArray], labels: IntArray, weights: Weights) -> float:
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


def precision_thresholds(
    probabilities: FloatArray, labels: IntArray, weights: Weights, *, target: float, floor: float, ceiling: float = 0.90
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
            if weights[given & right].sum() >= target * weights[given].sum():
                break
        thresholds.append(hundredth / 100)
    return tuple(thresholds)


def stratified_halves(labels: IntArray, seed: int = 0) -> npt.NDArray[np.bool_]:
    """Splits a set in two, each class evenly: True for one half. What is fitted on one is scored on the other."""
    rng = np.random.default_rng(seed)
    first = np.zeros(len(labels), np.bool_)
    for expression in range(len(EXPRESSIONS)):
        rows = rng.permutation(np.flatnonzero(labels == expression))
        first[rows[: len(rows) // 2]] = True
    return first


def bootstrap_interval(
    measure: Callable[[IntArray], float], labels: IntArray, *, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of a measure, drawing faces with replacement within each class.

    Args:
        measure: the measure of the faces with the given row numbers (int64).
        labels: int64 (N,), class of each face.
        resamples: number of draws.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    members = [rows for k in range(len(EXPRESSIONS)) if len(rows := np.flatnonzero(labels == k))]
    values = [measure(np.concatenate([rng.choice(rows, len(rows)) for rows in members])) for _ in range(resamples)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
