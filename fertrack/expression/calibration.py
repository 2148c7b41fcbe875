"""From a network's raw logits to probabilities that can be believed.

Four steps in a fixed order, each of which can be switched off: temperature, prior correction, class bias (all in
logit space, before the softmax), and, after smoothing, a threshold for each class. With z the logits::

    y = scale * z / T  -  s * ln(training_prior + eps)  +  s * ln(target_prior + eps)  +  bias
    p = softmax(y)

T is the temperature of Guo et al. (2017), "On Calibration of Modern Neural Networks"; scale, one number for each
expression, makes it their vector scaling together with the bias, and is 1 unless given. The prior terms are the
label-shift correction of Saerens, Latinne and Decaestecker (2002), eq. 4, raised to the strength s: s = 1 replaces
the training set's class shares by the target's altogether, s = 0 leaves them in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fertrack.errors import ConfigError
from fertrack.expression.config import CalibrationConfig, Expression
from fertrack.expression.reliability import Reliability
from fertrack.types import EXPRESSIONS, Float64Array, FloatArray

__all__ = [
    "CalibrationRecord",
    "Calibrator",
    "ClassifierCalibration",
    "assumed_shares",
    "by_expression",
    "estimate_shares",
    "in_order",
]


_EQUAL = (1 / len(EXPRESSIONS),) * len(EXPRESSIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierCalibration:
    """Calibration that a classifier brings along. All tuples are in ``EXPRESSIONS`` order.

    Attributes:
        classifier: name and version of the classifier.
        calibrated: whether the values were fitted on labelled images; otherwise they are neutral stand-ins.
        training_prior: class shares seen in training, seven, sum 1; may be known although nothing was fitted.
        prior_strength: recommended strength of the prior correction, 0 to 1.
        temperature: fitted temperature.
        biases: seven numbers added to the calibrated logits.
        thresholds: seven least probabilities for a label.
        reliability: how often it was right when it said how sure it was, as measured; None: not measured.
    """

    classifier: str
    calibrated: bool
    training_prior: tuple[float, ...] = (1 / 7,) * 7
    prior_strength: float = 0.0
    temperature: float = 1.0
    biases: tuple[float, ...] = (0.0,) * 7
    thresholds: tuple[float, ...] = (0.40,) * 7
    reliability: Reliability | None = None

    def __post_init__(self) -> None:
        for name in ("training_prior", "biases", "thresholds"):
            values = getattr(self, name)
            if len(values) != len(EXPRESSIONS) or not all(math.isfinite(value) for value in values):
                raise ValueError(f"{name} must be {len(EXPRESSIONS)} finite numbers, got {values}")
        if not (math.isfinite(self.temperature) and self.temperature > 0.0):
            raise ValueError(f"temperature must be above 0, got {self.temperature}")

    @property
    def names_training_prior(self) -> bool:
        """Whether it is known which class shares the classifier was trained with."""
        return self.calibrated or len(set(self.training_prior)) > 1

    @classmethod
    def uncalibrated(cls, classifier: str) -> Self:
        """Neutral values for a classifier nobody has calibrated: T = 1, no prior, no bias, thresholds 0.40."""
        return cls(classifier=classifier, calibrated=False)

    @classmethod
    def from_json(cls, own: Mapping[str, Any]) -> Self:
        """The calibration as ``to_json`` wrote it.

        Raises:
            ValueError: it is not the record of a calibration.
        """
        try:
            return cls(
                classifier=str(own["classifier"]),
                calibrated=bool(own["calibrated"]),
                training_prior=in_order(own["training_prior"]),
                prior_strength=float(own["prior_strength"]),
                temperature=float(own["temperature"]),
                biases=in_order(own["biases"]),
                thresholds=in_order(own["thresholds"]),
                reliability=Reliability.model_validate(own["reliability"]) if own.get("reliability") else None,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the record of a calibration: {error!r} is missing or of another kind") from error

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain JSON and TOML values, expressions by name."""
        measured = {"reliability": self.reliability.model_dump(mode="json")} if self.reliability else {}
        return {
            **measured,
            "classifier": self.classifier,
            "calibrated": self.calibrated,
            "training_prior": by_expression(self.training_prior),
            "prior_strength": self.prior_strength,
            "temperature": self.temperature,
            "biases": by_expression(self.biases),
            "thresholds": by_expression(self.thresholds),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRecord:
    """Calibration in force during a run, as it is stored with it. All tuples are in ``EXPRESSIONS`` order.

    Attributes:
        calibrated: whether its values were fitted on labelled images.
        temperature: of the logits.
        scale: factor of each logit; None: 1 for all.
        prior_strength: of the prior correction, 0 to 1.
        training_prior: class shares seen in training.
        target_prior: those corrected for.
        prior_eps: added to both.
        bias: added to the logits.
        thresholds: least smoothed probability for a label.
        classifier: the classifier's own values, so that a stored run can be rescored with another configuration when
            the bundle is no longer there.
    """

    calibrated: bool
    temperature: float
    scale: tuple[float, ...] | None
    prior_strength: float
    training_prior: tuple[float, ...]
    target_prior: tuple[float, ...]
    prior_eps: float
    bias: tuple[float, ...]
    thresholds: tuple[float, ...]
    classifier: ClassifierCalibration

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The record as it was stored.

        Raises:
            ValueError: it is not the record of a calibration.
        """
        try:
            return cls(
                calibrated=bool(stored["calibrated"]),
                temperature=float(stored["temperature"]),
                scale=in_order(stored["scale"]) if "scale" in stored else None,
                prior_strength=float(stored["prior_strength"]),
                training_prior=in_order(stored["training_prior"]),
                target_prior=in_order(stored["target_prior"]),
                prior_eps=float(stored["prior_eps"]),
                bias=in_order(stored["bias"]),
                thresholds=in_order(stored["thresholds"]),
                classifier=ClassifierCalibration.from_json(stored["classifier_calibration"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the record of a calibration: {error!r} is missing or of another kind") from error

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON and TOML values, expressions by name."""
        return {
            "calibrated": self.calibrated,
            "temperature": self.temperature,
            **({} if self.scale is None else {"scale": by_expression(self.scale)}),
            "prior_strength": self.prior_strength,
            "training_prior": by_expression(self.training_prior),
            "target_prior": by_expression(self.target_prior),
            "prior_eps": self.prior_eps,
            "bias": by_expression(self.bias),
            "thresholds": by_expression(self.thresholds),
            "classifier_calibration": self.classifier.to_json(),
        }

    @property
    def departs(self) -> bool:
        """Whether settings of the run replace values of the classifier."""
        own = self.classifier
        return (self.temperature, self.prior_strength, self.thresholds, self.bias, self.training_prior) != (
            own.temperature,
            own.prior_strength,
            own.thresholds,
            own.biases,
            own.training_prior,
        )


class Calibrator:
    """Applies a calibration: the classifier's own values, overridden by the configuration.

    >>> calibrator = Calibrator(CalibrationConfig(), ClassifierCalibration.uncalibrated("mine"))
    >>> print(calibrator.probabilities(np.zeros((1, 7), np.float32))[0, 0].round(3))
    0.143

    Attributes:
        config: what was asked for.
        classifier: what the classifier's bundle says.
        thresholds: float64 (7,), least smoothed probability for a label; all 0 when switched off. Read-only.
    """

    def __init__(self, config: CalibrationConfig, bundle: ClassifierCalibration) -> None:
        """Put both together.

        Raises:
            ConfigError: the configuration was fitted for another classifier.
        """
        if config.classifier not in (None, bundle.classifier):
            raise ConfigError(
                f"these calibration values were fitted for {config.classifier!r}, but the classifier is "
                f"{bundle.classifier!r}: fit them anew with `fertrack models calibrate`, or take "
                "calibration.classifier out"
            )
        self.config = config
        self.classifier = bundle
        self._temperature = _first(config.temperature, bundle.temperature) if config.use_temperature else 1.0
        scale = config.scale if config.use_temperature and config.scale is not None else {}
        self._scale = np.array(in_order(scale, 1.0))
        self._strength = _first(config.prior_strength, bundle.prior_strength) if config.use_prior else 0.0
        self._training_prior = _vector(config.training_prior, bundle.training_prior)
        self._target_prior = _vector(config.target_prior, _EQUAL)
        self._bias = _total_bias(config, bundle) if config.use_bias else np.zeros(len(EXPRESSIONS))
        self._offset = self._bias + _prior_offset(
            self._training_prior, self._target_prior, self._strength, config.prior_eps
        )
        self.thresholds = _thresholds(config, bundle)
        self.thresholds.flags.writeable = False

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """Calibrated probabilities of each face alone, before smoothing.

        Args:
            logits: float32 (N, 7), raw network output, columns as in ``EXPRESSIONS``.

        Returns:
            float32 (N, 7); every row sums to 1.

        Raises:
            ValueError: ``logits`` is not (N, 7).
        """
        if logits.ndim != 2 or logits.shape[1] != len(EXPRESSIONS):
            raise ValueError(f"logits must be float32 (N, {len(EXPRESSIONS)}), got {logits.dtype} {logits.shape}")
        z = logits.astype(np.float64)
        z *= self._scale
        z /= self._temperature
        z += self._offset
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        return z.astype(np.float32)

    @property
    def assumed_shares(self) -> Float64Array:
        """Class shares at which the probabilities are meant to be right, float64 (7,), sum 1."""
        return assumed_shares(self._training_prior, self._strength, self._target_prior)

    @property
    def record(self) -> CalibrationRecord:
        """The values in force, as they are stored with a run."""
        return CalibrationRecord(
            calibrated=self.classifier.calibrated or self.config.is_fitted,
            temperature=self._temperature,
            scale=_numbers(self._scale) if (self._scale != 1.0).any() else None,
            prior_strength=self._strength,
            training_prior=_numbers(self._training_prior),
            target_prior=_numbers(self._target_prior),
            prior_eps=self.config.prior_eps,
            bias=_numbers(self._bias),
            thresholds=_numbers(self.thresholds),
            classifier=self.classifier,
        )


def assumed_shares(
    training_prior: npt.ArrayLike, strength: float, target_prior: npt.ArrayLike = _EQUAL
) -> Float64Array:
    """Class shares at which a prior correction is right: training ** (1 - strength) * target ** strength, summing to 1.

    >>> assumed_shares([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.4], 1.0).round(4).tolist()[-1]
    0.1429
    """
    powers = np.asarray(training_prior, np.float64) ** (1.0 - strength) * np.asarray(target_prior) ** strength
    shares: Float64Array = powers / powers.sum()
    return shares


def estimate_shares(
    probabilities: FloatArray, prior: npt.ArrayLike, *, iterations: int = 500, tolerance: float = 1e-7
) -> Float64Array:
    """The class shares under which unlabelled faces are most likely, by expectation maximisation.

    Saerens, Latinne and Decaestecker (2002), "Adjusting the Outputs of a Classifier to New a Priori Probabilities: A
    Simple Procedure", their EM iteration: probabilities are re-weighted to the shares believed in, and the shares
    become the mean of the probabilities, until nothing changes. Right only if the probabilities are calibrated at
    ``prior`` and a face of each expression looks as it did when they were.

    Args:
        probabilities: float32 (N, 7), calibrated, one row for each face.
        prior: (7,), the shares they are calibrated at (``Calibrator.assumed_shares``).
        iterations: at most so many.
        tolerance: ends when no share moves by more.

    Returns:
        float64 (7,), summing to 1; the prior itself for no faces.

    Raises:
        ValueError: ``probabilities`` is not (N, 7) or ``prior`` not seven shares above 0.
    """
    believed = np.asarray(prior, np.float64)
    if believed.shape != (len(EXPRESSIONS),) or not (believed > 0.0).all():
        raise ValueError(f"prior must be {len(EXPRESSIONS)} shares above 0, got {believed}")
    if probabilities.ndim != 2 or probabilities.shape[1] != len(EXPRESSIONS):
        raise ValueError(f"probabilities must be (N, {len(EXPRESSIONS)}), got {probabilities.shape}")
    shares: Float64Array = believed / believed.sum()
    evidence = probabilities.astype(np.float64) / shares
    for _ in range(iterations if len(evidence) else 0):
        weighed = evidence * shares
        weighed /= weighed.sum(axis=1, keepdims=True)
        before, shares = shares, weighed.mean(axis=0)
        if np.abs(shares - before).max() <= tolerance:
            break
    return shares


def _first(setting: float | None, otherwise: float) -> float:
    return otherwise if setting is None else setting


def _vector(by_name: Mapping[Expression, float] | None, otherwise: tuple[float, ...]) -> Float64Array:
    return np.array(otherwise if by_name is None else in_order(by_name), np.float64)


def in_order(by_name: Mapping[Any, float], default: float | None = None) -> tuple[float, ...]:
    """Values given by expression name, as a tuple in ``EXPRESSIONS`` order.

    Args:
        by_name: number for each expression.
        default: stands for an expression that is not named; without it, all must be.

    Raises:
        KeyError: an expression is missing and there is no default.
    """
    if default is None:
        return tuple(float(by_name[name]) for name in EXPRESSIONS)
    return tuple(float(by_name.get(name, default)) for name in EXPRESSIONS)


def by_expression(values: Iterable[float], decimals: int | None = None) -> dict[Any, float]:
    """Values in ``EXPRESSIONS`` order, by expression name; rounded, if so many decimals are given."""
    numbers = (float(value) if decimals is None else round(float(value), decimals) for value in values)
    return dict(zip(EXPRESSIONS, numbers, strict=True))


def _numbers(values: Float64Array) -> tuple[float, ...]:
    return tuple(values.tolist())


def _prior_offset(training: Float64Array, target: Float64Array, strength: float, eps: float) -> Float64Array:
    if strength == 0.0:
        return np.zeros(len(EXPRESSIONS))
    # A share of 0 with eps = 0 would be an infinite logit; the smallest double keeps it finite and still hopeless.
    floor = eps if eps > 0.0 else np.finfo(np.float64).tiny
    offset: Float64Array = strength * (np.log(target + floor) - np.log(training + floor))
    return offset


def _total_bias(config: CalibrationConfig, bundle: ClassifierCalibration) -> Float64Array:
    bias = np.array(bundle.biases if config.bias is None else in_order(config.bias, 0.0))
    total: Float64Array = bias + in_order(config.bias_profile or {}, 0.0)
    return total


def _thresholds(config: CalibrationConfig, bundle: ClassifierCalibration) -> Float64Array:
    if not config.use_thresholds:
        return np.zeros(len(EXPRESSIONS))
    if config.thresholds is None:
        return np.array(bundle.thresholds, np.float64)
    return np.array(in_order(config.thresholds, config.fallback_threshold), np.float64)
