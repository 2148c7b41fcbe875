"""Class biases that take systematic confusions back, learned from labelled faces.

Where anger is taken for fear more often than fear for anger, adding to anger's logit (and taking from fear's) balances
the two. The biases are those at which the soft confusion matrix is balanced: as much probability goes to each
expression as there are faces of it, every expression weighing the same. That is the maximum of the class-weighted
likelihood of ``softmax(ln p + b)`` over b, whose gradient is column sum minus row sum of that matrix; a ridge pulls b
towards 0, so that few faces move little. Expressions with too few labelled faces are left out and keep their place.

A profile is only given out if faces held out say that it helps, by more than chance: cross-fitted macro-F1 and mean
recall must both gain, with 95 % intervals of the paired difference (bootstrap over moments) above 0. Macro-F1 alone
would not do: where labels have nothing to do with the faces, it still gains when the answers get more even. Mean recall
does not: guesses get a seventh of each expression right, however they are spread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from fertrack.evaluation.expression.measures import confusion_matrix, macro_f1, stratified_folds
from fertrack.evaluation.intervals import Interval, bootstrap
from fertrack.expression.calibration import Calibrator
from fertrack.types import EXPRESSIONS, Float64Array, FloatArray, IntArray

__all__ = ["BiasFit", "Confusion", "fit_bias", "learn_bias"]

MIN_MOMENTS = 3
"""Expressions with fewer labelled moments are left out."""

_MIN_IN_ALL = 12
_PULL = 5.0
"""Strength of the ridge: as the information in about a hundred moments of an expression that is often confused."""

_FULL_SAY = 10.0
"""Moments at which an expression has half of the say it would have with very many."""

_FARTHEST = 3.0

_RESAMPLES = 1000

_UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class Confusion:
    """Share of the held-out faces of one expression that were taken for another, without and with the biases."""

    label: str
    answer: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class BiasFit:
    """Biases, and their effect on faces held out.

    Attributes:
        bias: seven, in ``EXPRESSIONS`` order, 0 for expressions that were left out.
        moments: labelled moments of each expression.
        macro_f1_before: of held-out faces, without the biases.
        macro_f1_after: of held-out faces, each with biases learned from the others.
        confusions: the pairs that were most unequal, those first.
        refused: why they should not be used; empty if they may.
        macro_f1_gain: what held-out macro-F1 gains, with its 95 % interval; NaN where nothing was learned.
        recall_gain: the same of mean recall, every expression that occurs weighing the same.
    """

    bias: tuple[float, ...]
    moments: tuple[int, ...]
    macro_f1_before: float
    macro_f1_after: float
    confusions: tuple[Confusion, ...]
    refused: str
    macro_f1_gain: Interval = _UNKNOWN
    recall_gain: Interval = _UNKNOWN


def fit_bias(
    logits: FloatArray,
    labels: IntArray,
    calibrator: Calibrator,
    *,
    groups: IntArray | None = None,
    folds: int = 5,
) -> BiasFit:
    """Fit biases and judge them on faces held out.

    Args:
        logits: float32 (N, 7), uncalibrated.
        labels: int64 (N,).
        calibrator: the calibration that the biases are added to.
        groups: int64 (N,), moments: faces that look alike and count as one; None: each face is one.
        folds: of the cross-fitting.
    """
    moments = np.arange(len(labels)) if groups is None else groups
    _, first, member = np.unique(moments, return_index=True, return_inverse=True)
    counts = np.bincount(labels[first], minlength=len(EXPRESSIONS))
    known = np.count_nonzero(counts >= MIN_MOMENTS)
    log_p = np.log(np.maximum(calibrator.probabilities(logits).astype(np.float64), 1e-12))
    weights = 1.0 / np.bincount(member)[member]
    if counts.sum() < _MIN_IN_ALL or known < 2:
        sentence = (
            f"too few labels to learn from: {counts.sum()} moments, {known} expressions with at least "
            f"{MIN_MOMENTS}; at least {_MIN_IN_ALL} moments and two such expressions are needed"
        )
        own = macro_f1(log_p.argmax(axis=1), labels, weights) if len(labels) else float("nan")
        return BiasFit((0.0,) * len(EXPRESSIONS), tuple(counts.tolist()), own, own, (), sentence)
    fold = stratified_folds(labels, folds, groups=moments)
    held_out = log_p.copy()
    for k in range(folds):
        rest = fold != k
        held_out[~rest] += learn_bias(log_p[rest], labels[rest], moments[rest])
    before = macro_f1(log_p.argmax(axis=1), labels, weights)
    after = macro_f1(held_out.argmax(axis=1), labels, weights)
    macro_f1_gain, recall_gain = _gains(log_p.argmax(axis=1), held_out.argmax(axis=1), labels, moments, weights)
    refused = ""
    if after < before - 1e-9:
        refused = f"on faces held out macro-F1 would fall from {before:.3f} to {after:.3f}"
    elif macro_f1_gain == recall_gain == Interval(0.0, 0.0, 0.0):
        refused = (
            f"on faces held out no answer gains by it (macro-F1 stays {before:.3f}): nothing is confused one-sidedly, "
            "or too few faces are labelled to tell"
        )
    elif macro_f1_gain.low <= 0.0 or recall_gain.low <= 0.0:
        refused = (
            f"on faces held out macro-F1 goes from {before:.3f} to {after:.3f}, which may be chance (95 % interval of "
            f"the gain {macro_f1_gain.low:+.3f} to {macro_f1_gain.high:+.3f}; of mean recall's "
            f"{recall_gain.low:+.3f} to {recall_gain.high:+.3f}): label more faces, if the confusions are real"
        )
    return BiasFit(
        tuple(learn_bias(log_p, labels, moments).tolist()),
        tuple(counts.tolist()),
        before,
        after,
        _confusions(log_p, held_out, labels, weights),
        refused,
        macro_f1_gain,
        recall_gain,
    )


def learn_bias(log_p: Float64Array, labels: IntArray, moments: IntArray) -> Float64Array:
    """The biases for these faces, float64 (7,); see the top of this module.

    Args:
        log_p: float64 (N, 7), log of the calibrated probabilities.
        labels: int64 (N,).
        moments: int64 (N,), faces of one moment count as one.
    """
    _, first, member, sizes = np.unique(moments, return_index=True, return_inverse=True, return_counts=True)
    counts = np.bincount(labels[first], minlength=len(EXPRESSIONS)).astype(np.float64)
    chosen = np.flatnonzero(counts >= MIN_MOMENTS)
    bias = np.zeros(len(EXPRESSIONS))
    rows = np.flatnonzero(np.isin(labels, chosen))
    if len(chosen) < 2:
        return bias
    z = log_p[np.ix_(rows, chosen)]
    own = np.searchsorted(chosen, labels[rows])
    say = counts / (counts + _FULL_SAY)
    weights = (say / np.maximum(counts, 1.0))[labels[rows]] / sizes[member[rows]]
    weights /= weights.sum()
    by_moment = np.bincount(member[rows], weights)
    count = 1.0 / float((by_moment**2).sum())

    def loss(b: Float64Array) -> tuple[float, Float64Array]:
        y = z + b
        y -= y.max(axis=1, keepdims=True)
        p = np.exp(y)
        total = p.sum(axis=1, keepdims=True)
        nll = float(weights @ (np.log(total[:, 0]) - y[np.arange(len(own)), own]))
        p /= total
        p[np.arange(len(own)), own] -= 1.0
        gradient = (p * weights[:, None]).sum(axis=0) + _PULL / count * b
        return nll + _PULL / (2 * count) * float(b @ b), gradient

    bounds = [(-_FARTHEST, _FARTHEST)] * len(chosen)
    best: Any = minimize(loss, np.zeros(len(chosen)), jac=True, method="L-BFGS-B", bounds=bounds)
    bias[chosen] = best.x - best.x.mean()
    return bias


def _gains(
    before: IntArray, after: IntArray, labels: IntArray, moments: IntArray, weights: Float64Array
) -> tuple[Interval, Interval]:
    """Macro-F1 and mean recall with the answers ``after``, less those with the answers ``before``."""

    def measures(answers: IntArray, rows: IntArray) -> Float64Array:
        right = np.bincount(labels[rows], weights[rows] * (answers[rows] == labels[rows]), len(EXPRESSIONS))
        there = np.bincount(labels[rows], weights[rows], len(EXPRESSIONS))
        recall = right[there > 0.0] / there[there > 0.0]
        return np.array([macro_f1(answers[rows], labels[rows], weights[rows]), recall.mean()])

    if (before == after).all():
        return Interval(0.0, 0.0, 0.0), Interval(0.0, 0.0, 0.0)
    gains = bootstrap(
        lambda rows: measures(after, rows) - measures(before, rows), labels, groups=moments, resamples=_RESAMPLES
    )
    return gains[0], gains[1]


def _confusions(
    before: Float64Array, after: Float64Array, labels: IntArray, weights: Float64Array
) -> tuple[Confusion, ...]:
    shares = []
    for log_p in (before, after):
        table = confusion_matrix(log_p.argmax(axis=1), labels, weights)[:, :-1]
        shares.append(table / np.maximum(table.sum(axis=1, keepdims=True), 1e-12))
    unequal = shares[0] - shares[0].T
    pairs = np.argsort(-unequal, axis=None, kind="stable")[:5]
    found = []
    for label, answer in zip(*np.unravel_index(pairs, unequal.shape), strict=True):
        if unequal[label, answer] > 0.0:
            values = (float(share[label, answer]) for share in shares)
            found.append(Confusion(EXPRESSIONS[label], EXPRESSIONS[answer], *values))
    return tuple(found)
