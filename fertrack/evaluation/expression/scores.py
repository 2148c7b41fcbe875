"""Scores of a classifier on labelled faces: every measure, with its interval, in one record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fertrack.evaluation.expression.measures import (
    ReliabilityBin,
    accuracy,
    accuracy_coverage,
    brier_score,
    class_weights,
    confusion_matrix,
    decisions,
    equal_mass_calibration_error,
    expected_calibration_error,
    macro_f1,
    negative_log_likelihood,
    reliability_bins,
    soft_calibration_error,
    vote_divergence,
)
from fertrack.evaluation.intervals import Interval, bootstrap, wilson
from fertrack.types import EXPRESSIONS, UNCERTAIN, BoolArray, Float64Array, FloatArray, IntArray

__all__ = ["INTERVALS_NOTE", "MEASURES", "ClassScore", "ExpressionScores", "score_expressions"]

MEASURES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1 (mean over the expressions that occur)",
    "mean_class_recall": "mean recall of the expressions (accuracy at equal class shares)",
    "ece": "calibration error (ECE, 15 bins of equal width)",
    "ece_equal_mass": "calibration error, 15 bins of equal mass",
    "ece_equal_shares": "calibration error at equal class shares",
    "nll": "negative log-likelihood, nats",
    "nll_equal_shares": "negative log-likelihood at equal class shares, nats",
    "brier": "Brier score (0 to 2)",
    "coverage": "coverage (share of faces not uncertain)",
    "labelled_accuracy": "accuracy of those",
    "accuracy_untied": "accuracy without tied votes",
    "kl_votes": "KL divergence from the raters' votes, nats",
    "ece_soft": "calibration error against the raters' shares",
    "accuracy_of_all": "accuracy, faces not found counted as wrong",
}
"""What each figure is."""

INTERVALS_NOTE = (
    "95 % intervals: Wilson score intervals of plain shares (accuracy, coverage), percentile bootstrap within classes "
    "of all else, and of everything where faces of one moment are drawn together. Those of calibration errors lie "
    "above their values, because resampling adds noise to every bin."
)
"""How ``ExpressionScores.measures`` came to their intervals, for people."""

_LEVELS = tuple(round(0.05 * step, 2) for step in range(3, 20))


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One expression.

    Attributes:
        expression: its name.
        pictures: how many are labelled so.
        recall: share of them in which it is the most probable.
        precision: share right of those in which it is the most probable, at the set's own class shares.
        f1: harmonic mean of the two; it and both precisions are NaN without images, where they could but be 0.
        labelled: share of its images that get its label; less than recall, unlikely winners being uncertain.
        labelled_precision: share right of the labels given.
    """

    expression: str
    pictures: int
    recall: Interval
    precision: Interval
    f1: float
    labelled: Interval
    labelled_precision: Interval


@dataclass(frozen=True, slots=True)
class ExpressionScores:
    """All figures of one classifier at one calibration on one labelled set.

    Attributes:
        faces: faces scored.
        not_found: images in which no face was found, by expression.
        measures: the figures by name (see ``MEASURES``); those that cannot be measured here are missing.
        classes: each expression by itself.
        confusion: seven rows (labels) of eight counts (most probable expression; the last, uncertain, always 0).
        confusion_labelled: the same for the labels given, with uncertain.
        reliability: the reliability diagram's bins.
        coverage: rows of level, share of faces whose winner reaches it, accuracy of those.
    """

    faces: int
    not_found: dict[str, int]
    measures: dict[str, Interval]
    classes: tuple[ClassScore, ...]
    confusion: list[list[int]]
    confusion_labelled: list[list[int]]
    reliability: tuple[ReliabilityBin, ...]
    coverage: list[tuple[float, float, float]] = field(default_factory=list)


def score_expressions(
    probabilities: FloatArray,
    labels: IntArray,
    thresholds: npt.ArrayLike,
    *,
    votes: FloatArray | None = None,
    tied: BoolArray | None = None,
    not_found: IntArray | None = None,
    groups: IntArray | None = None,
    resamples: int = 1000,
) -> ExpressionScores:
    """Score calibrated probabilities against labels.

    Args:
        probabilities: float32 (N, 7), calibrated.
        labels: int64 (N,).
        thresholds: (7,), least probability for a label; or (N, 7).
        votes: float32 (N, 7), the raters' shares, where known.
        tied: bool (N,), images with several most voted expressions.
        not_found: int64 (M,), labels of the images that have no answer.
        groups: int64 (N,), faces that belong together (see ``intervals.bootstrap``).
        resamples: bootstrap draws; 0: no intervals.

    Raises:
        ValueError: there is no face, or the arrays do not fit each other.
    """
    if not len(labels) or probabilities.shape != (len(labels), len(EXPRESSIONS)):
        raise ValueError(f"probabilities must be (N, 7) beside N > 0 labels, got {probabilities.shape}, {len(labels)}")
    given = decisions(probabilities, thresholds)
    winner = probabilities.argmax(axis=1)
    missing = np.empty(0, np.int64) if not_found is None else not_found
    names = [name for name in MEASURES if _measurable(name, votes, tied, missing)]

    faces = _Faces(
        probabilities,
        labels,
        given,
        np.zeros_like(probabilities) if votes is None else votes,
        np.zeros(len(labels), np.bool_) if tied is None else tied,
        len(missing),
    )

    def measured(rows: IntArray) -> Float64Array:
        drawn = faces.some(rows)
        return np.array([_share(_SHARES[name](drawn)) if name in _SHARES else _HOW[name](drawn) for name in names])

    intervals = bootstrap(measured, labels, groups=groups, resamples=resamples)
    weights = class_weights(labels)
    measures = dict(zip(names, intervals, strict=True))
    if resamples and groups is None:
        # Where all are right, every draw is: the bootstrap would say that the share is known exactly.
        shares = {name: _SHARES[name](faces) for name in names if name in _SHARES}
        measures |= {name: wilson(int(which.sum()), len(which)) for name, which in shares.items() if len(which)}
    counted = np.bincount(missing, minlength=len(EXPRESSIONS))
    return ExpressionScores(
        faces=len(labels),
        not_found={name: int(n) for name, n in zip(EXPRESSIONS, counted, strict=True) if n},
        measures=measures,
        classes=tuple(_class_score(k, labels, winner, given) for k in range(len(EXPRESSIONS))),
        confusion=confusion_matrix(winner, labels).astype(int).tolist(),
        confusion_labelled=confusion_matrix(given, labels).astype(int).tolist(),
        reliability=reliability_bins(probabilities, labels, weights),
        coverage=accuracy_coverage(probabilities, labels, weights, levels=_LEVELS),
    )


def _measurable(name: str, votes: FloatArray | None, tied: BoolArray | None, missing: IntArray) -> bool:
    if name in ("kl_votes", "ece_soft"):
        return votes is not None
    if name == "accuracy_untied":
        return tied is not None and bool(tied.any()) and not bool(tied.all())
    return name != "accuracy_of_all" or bool(len(missing))


@dataclass(frozen=True, slots=True, eq=False)
class _Faces:
    """The faces, or some of them as one bootstrap draw sees them."""

    p: FloatArray
    labels: IntArray
    given: IntArray
    votes: FloatArray
    tied: BoolArray
    missing: int

    def some(self, rows: IntArray) -> _Faces:
        return _Faces(
            self.p[rows], self.labels[rows], self.given[rows], self.votes[rows], self.tied[rows], self.missing
        )

    @property
    def right(self) -> BoolArray:
        return np.asarray(self.p.argmax(axis=1) == self.labels, np.bool_)

    @property
    def own(self) -> Float64Array:
        return class_weights(self.labels)

    @property
    def equal(self) -> Float64Array:
        return class_weights(self.labels, np.ones(len(EXPRESSIONS)))


_SHARES: dict[str, Callable[[_Faces], BoolArray]] = {
    "accuracy": lambda faces: faces.right,
    "coverage": lambda faces: faces.given != UNCERTAIN,
    "labelled_accuracy": lambda faces: faces.right[faces.given != UNCERTAIN],
    "accuracy_untied": lambda faces: faces.right[~faces.tied],
    "accuracy_of_all": lambda faces: np.append(faces.right, np.zeros(faces.missing, np.bool_)),
}
"""Measures that are plain shares: of what they are the share, face by face."""

_HOW: dict[str, Callable[[_Faces], float]] = {
    "macro_f1": lambda faces: macro_f1(faces.p.argmax(axis=1), faces.labels, faces.own),
    "mean_class_recall": lambda faces: accuracy(faces.p, faces.labels, faces.equal),
    "ece": lambda faces: expected_calibration_error(faces.p, faces.labels, faces.own),
    "ece_equal_mass": lambda faces: equal_mass_calibration_error(faces.p, faces.labels, faces.own),
    "ece_equal_shares": lambda faces: expected_calibration_error(faces.p, faces.labels, faces.equal),
    "nll": lambda faces: negative_log_likelihood(faces.p, faces.labels, faces.own),
    "nll_equal_shares": lambda faces: negative_log_likelihood(faces.p, faces.labels, faces.equal),
    "brier": lambda faces: brier_score(faces.p, faces.labels, faces.own),
    "kl_votes": lambda faces: vote_divergence(faces.p, faces.votes, faces.own),
    "ece_soft": lambda faces: soft_calibration_error(faces.p, faces.votes, faces.own),
}
"""How all other measures are computed."""


def _share(which: BoolArray) -> float:
    return float(which.mean()) if len(which) else float("nan")


def _class_score(k: int, labels: IntArray, winner: IntArray, given: IntArray) -> ClassScore:
    own = labels == k
    hits = int((own & (winner == k)).sum())
    pictures = int(own.sum())
    # Without an image there is nothing to be found: 0 would look like a failure.
    answers, given_k = (int((winner == k).sum()), int((given == k).sum())) if pictures else (0, 0)
    labelled = int((own & (given == k)).sum())
    return ClassScore(
        expression=EXPRESSIONS[k],
        pictures=pictures,
        recall=wilson(hits, pictures),
        precision=wilson(hits, answers),
        f1=2 * hits / (pictures + answers) if pictures + answers else float("nan"),
        labelled=wilson(labelled, pictures),
        labelled_precision=wilson(labelled, given_k),
    )
