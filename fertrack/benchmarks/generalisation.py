"""Generalisation of classifiers: faces from other cameras than those they learned from, in one table.

``python -m fertrack.benchmarks generalisation OUT.md --ferplus PICTURES.npz --faces FOLDER [BUNDLE...]``: FER+'s
PublicTest, and every labelled set in FOLDER (``NAME/labels.csv``; see ``generalisation_sets``), with detector and
alignment in the loop.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fertrack.benchmarks.generalisation_sets import FaceSet, read_sets, set_logits
from fertrack.benchmarks.generalisation_text import report, summary
from fertrack.evaluation.expression.measures import (
    accuracy,
    class_weights,
    decisions,
    expected_calibration_error,
    macro_f1,
)
from fertrack.evaluation.expression.page import write_text
from fertrack.evaluation.intervals import Interval, bootstrap, wilson
from fertrack.expression.calibration import Calibrator, ClassifierCalibration, by_expression
from fertrack.expression.config import CalibrationConfig
from fertrack.models.bundle import ClassifierBundle, load_bundle
from fertrack.types import EXPRESSIONS, UNCERTAIN, FloatArray, IntArray

__all__ = ["PRIORS", "Outcome", "main", "own_summary", "read_sets", "score", "set_logits"]

PRIORS = ("as shipped", "uniform", "natural")
"""Class shares assumed: the bundle's own setting; equal ones; those of the set, known because it is labelled."""

_NEUTRAL = EXPRESSIONS.index("neutral")
_RESAMPLES = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """Scores of one bundle on one set at one assumption of class shares.

    Attributes:
        faces: judged.
        accuracy: share right, all seven answers allowed.
        recall: mean recall of the expressions that occur.
        macro_f1: mean F1 of those.
        ece: calibration error of the winner, 15 bins, at the set's shares.
        neutral: share of the faces not labelled neutral that are called so; NaN where there are none.
        uncertain: share without a label, their winner being below its threshold.
        recalls: of each of the seven; NaN where it does not occur.
    """

    faces: int
    accuracy: Interval
    recall: Interval
    macro_f1: Interval
    ece: Interval
    neutral: Interval
    uncertain: Interval
    recalls: tuple[float, ...]


def score(
    logits: FloatArray, labels: IntArray, own: ClassifierCalibration, prior: str, *, resamples: int = _RESAMPLES
) -> Outcome:
    """Score a bundle's logits at one of ``PRIORS``, with the bundle's own temperature and biases.

    Args:
        logits: float32 (N, 7), uncalibrated.
        labels: int64 (N,).
        own: the bundle's calibration.
        prior: one of ``PRIORS``.
        resamples: bootstrap draws for all that is not a plain share.
    """
    calibrator = Calibrator(_assuming(prior, labels), own)
    probabilities = calibrator.probabilities(logits)
    winner = probabilities.argmax(axis=1)
    posed = labels != _NEUTRAL
    given = decisions(probabilities, calibrator.thresholds)

    def measured(rows: IntArray) -> np.ndarray:
        p, y = probabilities[rows], labels[rows]
        weights = class_weights(y)
        return np.array(
            (
                accuracy(p, y, class_weights(y, np.ones(len(EXPRESSIONS)))),
                macro_f1(p.argmax(axis=1), y, weights),
                expected_calibration_error(p, y, weights),
            )
        )

    recall, f1, ece = bootstrap(measured, labels, resamples=resamples)
    return Outcome(
        faces=len(labels),
        accuracy=wilson(int((winner == labels).sum()), len(labels)),
        recall=recall,
        macro_f1=f1,
        ece=ece,
        neutral=wilson(int((winner[posed] == _NEUTRAL).sum()), int(posed.sum())),
        uncertain=wilson(int((given == UNCERTAIN).sum()), len(labels)),
        recalls=tuple(
            float((winner[labels == k] == k).mean()) if (labels == k).any() else float("nan")
            for k in range(len(EXPRESSIONS))
        ),
    )


def _said_of(bundle: ClassifierBundle) -> str:
    """Fingerprint, and whether it is for research only."""
    return f"{bundle.fingerprint}{', for research only' if bundle.card.release == 'research' else ''}"


def _assuming(prior: str, labels: IntArray) -> CalibrationConfig:
    if prior == "as shipped":
        return CalibrationConfig()
    if prior == "uniform":
        return CalibrationConfig(prior_strength=1.0)
    counts = np.bincount(labels, minlength=len(EXPRESSIONS))
    return CalibrationConfig(prior_strength=1.0, target_prior=by_expression(counts / counts.sum()))


def own_summary(
    bundle: ClassifierBundle, sets: Sequence[tuple[FaceSet, FloatArray]], own: ClassifierCalibration
) -> str:
    """Summary table of one bundle, for its card; empty without sets.

    Args:
        bundle: the classifier.
        sets: sets and its logits for them (``set_logits``).
        own: its calibration.
    """
    name = f"{bundle.card.name} {bundle.card.version}"
    outcomes = {
        (name, each.name, "uniform"): score(logits, each.labelled.labels, own, "uniform", resamples=0)
        for each, logits in sets
    }
    return summary([name], [(each.name, each.apart) for each, _ in sets], outcomes) if sets else ""


def main(arguments: Sequence[str]) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m fertrack.benchmarks generalisation", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("bundles", nargs="*", default=["default"])
    parser.add_argument("--ferplus", type=Path)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("fertrack-out/faces"))
    given = parser.parse_intermixed_args(arguments)
    bundles = [load_bundle(name) for name in given.bundles]
    sets = read_sets(given.ferplus, given.faces, given.cache)
    outcomes = {}
    for bundle in bundles:
        for faces in sets:
            logits = set_logits(faces, bundle)
            for prior in PRIORS:
                own = score(logits, faces.labelled.labels, bundle.calibration, prior)
                outcomes[f"{bundle.card.name} {bundle.card.version}", faces.name, prior] = own
    named = [(f"{bundle.card.name} {bundle.card.version}", _said_of(bundle)) for bundle in bundles]
    write_text(given.out, report(named, [(each.name, each.apart) for each in sets], outcomes), overwrite=True)

    return 0
