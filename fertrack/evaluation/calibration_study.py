"""Which prior strength, temperature and thresholds a classifier's bundle should recommend, and how sure that is.

Run as ``python -m fertrack.evaluation.calibration_study PICTURES.npz REPORT.md`` it measures the default bundle with
the default detector on FER2013 pictures with FER+ votes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fertrack.calibration import CalibrationConfig, Calibrator, ClassifierCalibration, assumed_shares
from fertrack.evaluation.expression import (
    accuracy,
    bootstrap_interval,
    class_weights,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    precision_thresholds,
    stratified_halves,
)
from fertrack.types import EXPRESSIONS, FloatArray, IntArray

__all__ = [
    "Interval",
    "StrengthRow",
    "ThresholdRow",
    "assumed_shares",
    "measure_default",
    "render",
    "study_strengths",
    "study_thresholds",
]

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

Measure = Callable[[FloatArray, IntArray, npt.NDArray[np.float64]], float]


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


@dataclass(frozen=True, slots=True)
class StrengthRow:
    """What one prior strength comes to. Scored on halves whose temperature was fitted on the other half.

    Attributes:
        strength: of the prior correction.
        temperature: fitted on all pictures, at the class shares the strength assumes.
        half_temperatures: fitted on each half, the ones that were scored with.
        accuracy: at the set's own class shares.
        recall: accuracy at equal class shares, which is mean-class recall.
        ece_own: calibration error at the set's own class shares.
        ece_equal: calibration error at equal class shares.
        nll_own: negative log-likelihood at the set's own class shares, nats.
        nll_equal: the same at equal class shares.
    """

    strength: float
    temperature: float
    half_temperatures: tuple[float, float]
    accuracy: Interval
    recall: Interval
    ece_own: Interval
    ece_equal: Interval
    nll_own: float
    nll_equal: float


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """What one expression's threshold comes to, at the class shares the strength assumes.

    Attributes:
        expression: its name.
        threshold: chosen on all pictures.
        half_thresholds: chosen on each half.
        precision: of the labels given, each half judged with the other half's threshold.
        recall: share of the expression's pictures that get its label, judged likewise.
    """

    expression: str
    threshold: float
    half_thresholds: tuple[float, float]
    precision: float
    recall: float


def study_strengths(
    logits: FloatArray, labels: IntArray, training_prior: tuple[float, ...], *, resamples: int = 1000
) -> list[StrengthRow]:
    """Measure each prior strength, with a temperature fitted to it."""
    return [_study_strength(logits, labels, training_prior, strength, resamples) for strength in STRENGTHS]


def _study_strength(
    logits: FloatArray, labels: IntArray, training_prior: tuple[float, ...], strength: float, resamples: int
) -> StrengthRow:
    half = stratified_halves(labels)
    shares = assumed_shares(training_prior, strength)

    def fitted(rows: npt.NDArray[np.bool_]) -> float:
        weights = class_weights(labels[rows], shares)
        return fit_temperature(
            lambda t: _probabilities(logits[rows], training_prior, strength, t), labels[rows], weights
        )

    temperatures = fitted(half), fitted(~half)
    scored = np.where(
        half[:, None],
        _probabilities(logits, training_prior, strength, temperatures[1]),
        _probabilities(logits, training_prior, strength, temperatures[0]),
    )
    equal = np.ones(len(EXPRESSIONS))

    def with_interval(measure: Measure, shares: npt.NDArray[np.float64] | None) -> Interval:
        # Drawing within classes keeps each class's count, and so each picture's weight.
        weights = class_weights(labels, shares)

        def of(rows: IntArray) -> float:
            return measure(scored[rows], labels[rows], weights[rows])

        return Interval(of(np.arange(len(labels))), *bootstrap_interval(of, labels, resamples=resamples))

    return StrengthRow(
        strength=strength,
        temperature=fitted(np.ones(len(labels), np.bool_)),
        half_temperatures=temperatures,
        accuracy=with_interval(accuracy, None),
        recall=with_interval(accuracy, equal),
        ece_own=with_interval(expected_calibration_error, None),
        ece_equal=with_interval(expected_calibration_error, equal),
        nll_own=negative_log_likelihood(scored, labels, class_weights(labels)),
        nll_equal=negative_log_likelihood(scored, labels, class_weights(labels, equal)),
    )


def study_thresholds(
    logits: FloatArray,
    labels: IntArray,
    training_prior: tuple[float, ...],
    *,
    strength: float,
    temperature: float,
    target: float,
    floor: float,
) -> list[ThresholdRow]:
    """Choose thresholds for a precision target, on all pictures and on each half, and judge the halves crosswise."""
    probabilities = _probabilities(logits, training_prior, strength, temperature)
    weights = class_weights(labels, assumed_shares(training_prior, strength))
    half = stratified_halves(labels)

    def chosen(rows: npt.NDArray[np.bool_]) -> tuple[float, ...]:
        return precision_thresholds(probabilities[rows], labels[rows], weights[rows], target=target, floor=floor)

    overall, first, second = chosen(np.ones(len(labels), np.bool_)), chosen(half), chosen(~half)
    winner = probabilities.argmax(axis=1)
    needed = np.where(half, np.array(second)[winner], np.array(first)[winner])
    given = np.where(probabilities.max(axis=1) >= needed, winner, -1)
    rows = []
    for k, name in enumerate(EXPRESSIONS):
        right = weights[(given == k) & (labels == k)].sum()
        rows.append(
            ThresholdRow(
                expression=name,
                threshold=overall[k],
                half_thresholds=(first[k], second[k]),
                precision=float(right / max(weights[given == k].sum(), 1e-12)),
                recall=float(right / max(weights[labels == k].sum(), 1e-12)),
            )
        )
    return rows


def _probabilities(
    logits: FloatArray, training_prior: tuple[float, ...], strength: float, temperature: float
) -> FloatArray:
    own = ClassifierCalibration(
        classifier="studied",
        calibrated=True,
        training_prior=training_prior,
        prior_strength=strength,
        temperature=temperature,
    )
    return Calibrator(CalibrationConfig(), own).probabilities(logits)


def render(strengths: list[StrengthRow], thresholds: list[ThresholdRow], facts: dict[str, str]) -> str:
    """The study as Markdown: facts, then one table for the strengths and one for the thresholds."""
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items()), ""]
    lines += [
        "| prior strength | T (halves) | accuracy, own shares | mean-class recall "
        "| ECE, own shares | ECE, equal shares | NLL own | NLL equal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.strength:.2f} "
        f"| {row.temperature:.3f} ({row.half_temperatures[0]:.3f}, {row.half_temperatures[1]:.3f}) "
        f"| {row.accuracy} | {row.recall} | {row.ece_own} | {row.ece_equal} | {row.nll_own:.3f} | {row.nll_equal:.3f} |"
        for row in strengths
    ]
    lines += ["", "| expression | threshold (halves) | precision, held out | recall, held out |", "|---|---|---|---|"]
    lines += [
        f"| {row.expression} | {row.threshold:.2f} ({row.half_thresholds[0]:.2f}, {row.half_thresholds[1]:.2f}) "
        f"| {row.precision:.2f} | {row.recall:.2f} |"
        for row in thresholds
    ]
    return "\n".join(lines) + "\n"


def measure_default(
    pictures: Path, *, strength: float = 0.5, target: float = 0.80, floor: float = 0.40, resamples: int = 1000
) -> str:
    """Measure the default bundle with the default detector; returns the tables as Markdown.

    Raises:
        ConfigError: the pictures cannot be read.
        WeightsError: the detector's or the classifier's weights are missing.
    """
    from fertrack.classifiers.onnx import OnnxClassifier
    from fertrack.detectors.centerface import Options, build
    from fertrack.evaluation.ferplus import classify_pictures, load_ferplus, twins_among
    from fertrack.models.bundle import load_bundle

    bundle = load_bundle("default")
    voted = load_ferplus(pictures)
    # The pictures are faces already: what is asked of the detector are landmarks, so it may be unsure.
    detector = build(Options(long_side=224, score_threshold=0.1))
    logits, found = classify_pictures(voted.images, detector, OnnxClassifier(bundle))
    prior = bundle.calibration.training_prior
    strengths = study_strengths(logits, voted.labels, prior, resamples=resamples)
    temperature = next(row.temperature for row in strengths if row.strength == strength)
    thresholds = study_thresholds(
        logits, voted.labels, prior, strength=strength, temperature=round(temperature, 2), target=target, floor=floor
    )
    right = logits.argmax(axis=1) == voted.labels
    twins = twins_among(voted.images, load_ferplus(pictures, "Training").images)
    counts = np.bincount(voted.labels, minlength=len(EXPRESSIONS)).tolist()
    facts = {
        "classifier": bundle.fingerprint,
        "detector": f"{detector.fingerprint}, faces found in {found.mean():.1%} of the pictures",
        "pictures": f"{len(voted)}: " + ", ".join(f"{name} {n}" for name, n in zip(EXPRESSIONS, counts, strict=True)),
        "as trained (no prior, T = 1)": f"accuracy {right.mean():.3f}",
        "without ties in the votes": f"accuracy {right[~voted.tied].mean():.3f}, {(~voted.tied).sum()} pictures",
        "without twins in Training": f"accuracy {right[~twins].mean():.3f}, {(~twins).sum()} pictures",
        "thresholds chosen for": f"precision {target:.2f} at prior strength {strength}, T = {temperature:.2f}, "
        f"not below {floor:.2f}",
    }
    return render(strengths, thresholds, facts)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(measure_default(Path(sys.argv[1])), encoding="utf-8")
