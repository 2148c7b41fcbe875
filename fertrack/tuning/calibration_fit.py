"""Fit of a classifier's calibration on labelled faces, judged on faces it was not fitted on.

Temperature (Guo et al., 2017), per-class bias (with the temperature: bias-corrected temperature scaling, Alexandari,
Kundaje and Shrikumar, 2020) or vector scaling are fitted by weighted negative log-likelihood; a light pull towards "no
bias" and "one scale for all" keeps rare classes from running away. Thresholds are the least ones that reach the wanted
precision. The weights make the classes count as the prior correction assumes (``calibration.assumed_shares``).

Everything reported "held out" is cross-fitted: the faces are split into folds, each is judged with values fitted on the
others, and no face is ever judged by values it helped to fit. One thing is chosen with all faces in view: which of a
few prior strengths is used, where none is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from fertrack.evaluation.expression.measures import (
    class_weights,
    negative_log_likelihood,
    precision_thresholds,
    stratified_folds,
)
from fertrack.evaluation.expression.scores import ExpressionScores, score_expressions
from fertrack.expression.calibration import Calibrator, ClassifierCalibration, assumed_shares, by_expression
from fertrack.expression.config import CalibrationConfig
from fertrack.tuning.precision_targets import PrecisionTarget, precision_targets
from fertrack.types import EXPRESSIONS, BoolArray, Float64Array, FloatArray, IntArray

__all__ = [
    "CalibrationFit",
    "FitOptions",
    "Values",
    "check_enough",
    "choose_strength",
    "fit_calibration",
    "fit_values",
]

Shares = Literal["assumed", "own", "equal"]
Kind = Literal["temperature", "bias", "vector"]
Target = Literal["equal", "own"]

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

_PULL = 1.0
"""Strength of the pull on biases and scales; as much as one face's evidence."""

_SCALES = (0.05, 20.0)
"""Least and largest scale that a ``CalibrationConfig`` takes."""

_WIDEST_LOG = 2.9
"""Scales are searched from exp(-2.9) to exp(2.9)."""

_MIN_FACES = 20

_RARE = 1e-8
"""Least share inside a logarithm, as ``calibration.prior_eps``."""

_EQUAL = np.full(len(EXPRESSIONS), 1 / len(EXPRESSIONS))


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """Options of a calibration fit.

    Attributes:
        kind: "temperature"; "bias": a bias for each class too; "vector": a scale and a bias for each class.
        strength: of the prior correction; None: the one that loses least at either end (``choose_strength``).
        shares: class shares at which the values are fitted: those the prior correction assumes, the set's own, equal.
        target: class shares that the prior correction puts in the place of training's: equal ones, or the set's own,
            which are then known, so that they are put there altogether unless a strength is given.
        precision: wanted share right of the labels given, for each expression.
        floor: thresholds are not set below this.
        folds: of the cross-fitting.
        resamples: bootstrap draws for the intervals.
    """

    kind: Kind = "temperature"
    strength: float | None = None
    shares: Shares = "assumed"
    target: Target = "equal"
    precision: float = 0.80
    floor: float = 0.40
    folds: int = 5
    resamples: int = 1000


@dataclass(frozen=True, slots=True)
class Values:
    """Fitted values, in ``EXPRESSIONS`` order: logits are scaled, divided by the temperature, and biased."""

    temperature: float
    scale: tuple[float, ...] = (1.0,) * 7
    bias: tuple[float, ...] = (0.0,) * 7
    thresholds: tuple[float, ...] = (0.0,) * 7


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationFit:
    """Fitted calibration, with its scores on faces held out.

    Attributes:
        classifier: name and version.
        values: fitted on all faces: the ones to use.
        folds: fitted without each fold: how much they vary.
        strength: of the prior correction.
        training_prior: class shares the classifier was trained with.
        target_prior: class shares that the prior correction puts in their place.
        options: what was asked for.
        raw: scores of the network's own softmax.
        before: scores with the calibration that was in force.
        after: scores of the new one, held out.
        held_out: float32 (N, 7), probabilities of each face by values that it was not used to fit.
        targets: whether each expression's threshold reaches the precision asked for; empty if none was.
    """

    classifier: str
    values: Values
    folds: tuple[Values, ...]
    strength: float
    training_prior: tuple[float, ...]
    target_prior: tuple[float, ...]
    options: FitOptions
    raw: ExpressionScores
    before: ExpressionScores
    after: ExpressionScores
    held_out: FloatArray
    targets: tuple[PrecisionTarget, ...]

    @property
    def temperature_at_edge(self) -> bool:
        """Whether the temperature ran as far as it may, which a few images, all right or all wrong, make it do."""
        return bool(abs(np.log(self.values.temperature)) > 0.99 * _WIDEST_LOG)

    def config(self, *, decimals: int = 4) -> CalibrationConfig:
        """The values as a ``[calibration]`` section, rounded."""
        return CalibrationConfig(
            classifier=self.classifier,
            temperature=round(self.values.temperature, decimals),
            scale=by_expression(self.values.scale, decimals) if self.options.kind == "vector" else None,
            prior_strength=self.strength,
            training_prior=by_expression(self.training_prior),
            target_prior=None if self.options.target == "equal" else by_expression(self.target_prior),
            bias=by_expression(self.values.bias, decimals),
            thresholds=by_expression(self.values.thresholds, decimals),
        )


def fit_calibration(
    logits: FloatArray,
    labels: IntArray,
    own: ClassifierCalibration,
    options: FitOptions | None = None,
    *,
    in_force: Calibrator | None = None,
    groups: IntArray | None = None,
    votes: FloatArray | None = None,
    tied: BoolArray | None = None,
    compare: bool = True,
    sources: IntArray | None = None,
    scored: BoolArray | None = None,
) -> CalibrationFit:
    """Fit a calibration and judge it on faces held out.

    Args:
        logits: float32 (N, 7), uncalibrated.
        labels: int64 (N,).
        own: what is known of the classifier; its training prior is kept. Where it was never calibrated, the shares of
            these labels stand in.
        options: what is fitted.
        in_force: the calibration to compare with; None: the classifier's own.
        groups: int64 (N,), faces never to be parted by the folds.
        votes: float32 (N, 7), raters' shares, for the scores.
        tied: bool (N,), for the scores.
        compare: give the scores of before intervals too, which takes as long as the others'.
        sources: int64 (N,), set that each face is of: all sets weigh the same in what is fitted; None: one set.
        scored: bool (N,), faces that the scores are of; None: all.

    Raises:
        ValueError: too few faces, or a single expression.
    """
    options = options or FitOptions()
    check_enough(labels)
    counts = np.bincount(labels, minlength=len(EXPRESSIONS))
    prior = np.asarray(own.training_prior if own.names_training_prior else (counts + 1.0) / (counts + 1.0).sum())
    target = counts / counts.sum() if options.target == "own" else _EQUAL
    fold = stratified_folds(labels, options.folds, groups=groups)
    source = np.zeros(len(labels), np.int64) if sources is None else sources
    strength = options.strength
    if strength is None:
        strength = 1.0 if options.target == "own" else choose_strength(logits, labels, prior, fold, sources=source)
    shift = _Shift(prior, target, strength)
    values = _fit(logits, labels, shift, options, source)
    rest = [fold != k for k in range(options.folds)]
    fitted = [_fit(logits[rows], labels[rows], shift, options, source[rows]) for rows in rest]
    held_out = np.empty_like(logits)
    thresholds = np.empty(logits.shape)
    for k, without in enumerate(fitted):
        held_out[fold == k] = _apply(logits[fold == k], shift, without)
        thresholds[fold == k] = without.thresholds
    before = in_force or Calibrator(CalibrationConfig(), own)
    neutral = Calibrator(CalibrationConfig(), ClassifierCalibration.uncalibrated("as trained"))

    rows = np.ones(len(labels), np.bool_) if scored is None else scored

    def score(probabilities: FloatArray, limits: npt.ArrayLike, *, intervals: bool = compare) -> ExpressionScores:
        limits = np.asarray(limits)
        return score_expressions(
            probabilities[rows],
            labels[rows],
            limits if limits.ndim == 1 else limits[rows],
            votes=None if votes is None else votes[rows],
            tied=None if tied is None else tied[rows],
            groups=None if groups is None else groups[rows],
            resamples=options.resamples if intervals else 0,
        )

    return CalibrationFit(
        classifier=own.classifier,
        values=values,
        folds=tuple(fitted),
        strength=strength,
        training_prior=tuple(prior.tolist()),
        target_prior=tuple(target.tolist()),
        options=options,
        raw=score(neutral.probabilities(logits), neutral.thresholds),
        before=score(before.probabilities(logits), before.thresholds),
        after=score(held_out, thresholds, intervals=True),
        held_out=held_out,
        targets=precision_targets(
            _apply(logits, shift, values),
            held_out,
            labels,
            _weights(labels, shift, options, source),
            thresholds=values.thresholds,
            held_out_thresholds=thresholds,
            wanted=options.precision,
        )
        if options.precision > 0.0
        else (),
    )


def check_enough(labels: IntArray) -> None:
    """Make sure that labels are enough to fit a calibration, which needs no network to be asked.

    Args:
        labels: int64 (N,).

    Raises:
        ValueError: too few faces, or a single expression.
    """
    expressions = len(np.unique(labels))
    if len(labels) < _MIN_FACES or expressions < 2:
        raise ValueError(
            f"at least {_MIN_FACES} labelled faces of two expressions are needed to fit a calibration, got "
            f"{len(labels)} of {expressions}"
        )


def choose_strength(
    logits: FloatArray, labels: IntArray, prior: npt.ArrayLike, fold: IntArray, *, sources: IntArray | None = None
) -> float:
    """The prior strength that gives away least at either end, with temperatures fitted to it.

    Nobody knows a video's class shares beforehand. At the set's own shares a low strength is best, at equal shares a
    high one; chosen is the one whose larger loss of held-out negative log-likelihood against the better choice at that
    end is smallest.

    Args:
        logits: float32 (N, 7).
        labels: int64 (N,).
        prior: (7,), class shares of training.
        fold: int64 (N,), the fold each face is held out in.
        sources: int64 (N,), set that each face is of: all sets weigh the same; None: one set.
    """
    source = np.zeros(len(labels), np.int64) if sources is None else sources
    ends = [class_weights(labels, shares, sources=source) for shares in (None, np.ones(len(EXPRESSIONS)))]
    losses = np.empty((len(STRENGTHS), len(ends)))
    options = FitOptions(precision=0.0)
    for place, strength in enumerate(STRENGTHS):
        shift = _Shift(np.asarray(prior, np.float64), _EQUAL, strength)
        held_out = np.empty_like(logits)
        for k in np.unique(fold):
            rest = fold != k
            values = _fit(logits[rest], labels[rest], shift, options, source[rest])
            held_out[fold == k] = _apply(logits[fold == k], shift, values)
        losses[place] = [negative_log_likelihood(held_out, labels, weights) for weights in ends]
    regret = (losses - losses.min(axis=0)).max(axis=1)
    return STRENGTHS[int(regret.argmin())]


def fit_values(
    logits: FloatArray,
    labels: IntArray,
    weights: Float64Array,
    offset: npt.ArrayLike,
    *,
    kind: Kind = "temperature",
    pull: float = _PULL,
) -> Values:
    """Temperature, scales and biases with the least weighted negative log-likelihood.

    Args:
        logits: float32 (N, 7).
        labels: int64 (N,).
        weights: float64 (N,), summing to 1.
        offset: (7,), what the prior correction adds to the logits.
        kind: what is fitted.
        pull: strength of the pull to no bias and one scale, in faces.
    """
    z = logits.astype(np.float64)
    shift = np.asarray(offset, np.float64)
    scales, biases = (len(EXPRESSIONS) if kind == "vector" else 1), (0 if kind == "temperature" else len(EXPRESSIONS))
    count = 1.0 / float((weights**2).sum())  # Kish (1965): as many faces as would say as much, were all weighed alike
    rows = np.arange(len(labels))

    def loss(parameters: Float64Array) -> tuple[float, Float64Array]:
        logs, bias = parameters[:scales], parameters[scales:]
        factor = np.exp(logs)
        y = z * factor + shift + (bias if biases else 0.0)
        y -= y.max(axis=1, keepdims=True)
        p = np.exp(y)
        total = p.sum(axis=1, keepdims=True)
        nll = float(weights @ (np.log(total[:, 0]) - y[rows, labels]))
        p /= total
        p[rows, labels] -= 1.0
        p *= weights[:, None]
        by_scale = (p * z).sum(axis=0) * factor
        gradient = [by_scale if scales > 1 else by_scale.sum(keepdims=True)]
        apart = logs - logs.mean()
        cost = nll + pull / (2 * count) * float(apart @ apart + bias @ bias)
        gradient[0] = gradient[0] + pull / count * apart
        if biases:
            gradient.append(p.sum(axis=0) + pull / count * bias)
        return cost, np.concatenate(gradient)

    bounds = [(-_WIDEST_LOG, _WIDEST_LOG)] * scales + [(-10.0, 10.0)] * biases
    best: Any = minimize(loss, np.zeros(scales + biases), jac=True, method="L-BFGS-B", bounds=bounds)
    logs, bias = best.x[:scales], best.x[scales:]
    middle = float(logs.mean())
    return Values(
        temperature=float(np.exp(-middle)),
        scale=tuple(np.broadcast_to(np.exp(logs - middle).clip(*_SCALES), len(EXPRESSIONS)).tolist()),
        bias=tuple((bias - bias.mean()).tolist()) if biases else (0.0,) * len(EXPRESSIONS),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Shift:
    """The prior correction: the training set's class shares, those put in their place, and how far."""

    training: Float64Array
    target: Float64Array
    strength: float

    @property
    def offset(self) -> Float64Array:
        """Offset added to the logits, float64 (7,)."""
        offset: Float64Array = self.strength * (np.log(np.maximum(self.target, _RARE)) - np.log(self.training))
        return offset

    @property
    def assumed(self) -> Float64Array:
        """Class shares at which the correction is right, float64 (7,), sum 1."""
        return assumed_shares(self.training, self.strength, np.maximum(self.target, _RARE))


def _fit(logits: FloatArray, labels: IntArray, shift: _Shift, options: FitOptions, source: IntArray) -> Values:
    weights = _weights(labels, shift, options, source)
    found = fit_values(logits, labels, weights, shift.offset, kind=options.kind)
    if options.precision <= 0.0:
        return found
    probabilities = _apply(logits, shift, found)
    thresholds = precision_thresholds(probabilities, labels, weights, target=options.precision, floor=options.floor)
    return Values(found.temperature, found.scale, found.bias, thresholds)


def _weights(labels: IntArray, shift: _Shift, options: FitOptions, source: IntArray) -> Float64Array:
    """Weight of each face at the class shares of the fit, every source weighing the same, float64 (N,), sum 1."""
    shares = {"assumed": shift.assumed, "own": None, "equal": np.ones(len(EXPRESSIONS))}
    return class_weights(labels, shares[options.shares], sources=source)


def _apply(logits: FloatArray, shift: _Shift, values: Values) -> FloatArray:
    """Calibrated probabilities, by the very code that the pipeline uses."""
    config = CalibrationConfig(
        temperature=values.temperature,
        scale=by_expression(values.scale),
        prior_strength=shift.strength,
        training_prior=by_expression(shift.training),
        target_prior=by_expression(shift.target),
        bias=by_expression(values.bias),
    )
    return Calibrator(config, ClassifierCalibration.uncalibrated("fitted")).probabilities(logits)
