"""One calibration on every set of faces: calibration error, and what its thresholds let through."""

from __future__ import annotations

from collections.abc import Sequence

from fertrack.benchmarks.generalisation_sets import FaceSet
from fertrack.evaluation.expression.measures import class_weights, decisions, expected_calibration_error
from fertrack.evaluation.intervals import wilson
from fertrack.expression.calibration import Calibrator
from fertrack.types import UNCERTAIN, FloatArray

__all__ = ["calibration_by_set"]


def calibration_by_set(sets: Sequence[tuple[FaceSet, FloatArray]], calibrator: Calibrator) -> str:
    """Markdown: what a calibration is worth on each set; empty without sets.

    Args:
        sets: sets and their logits (``set_logits``).
        calibrator: the calibration.
    """
    if not sets:
        return ""
    lines = [
        "\n## On each set\n",
        "Sets of *persons kept apart* are among those that the values were fitted on, the others are not: what a",
        "label's threshold promises holds there as far as this table says. ECE at the set's own class shares.\n",
        "| set | faces | fitted on | calibration error | face given a label | right, of those |",
        "|---|---:|---|---:|---|---|",
    ]
    for faces, logits in sets:
        labels = faces.labelled.labels
        probabilities = calibrator.probabilities(logits)
        given = decisions(probabilities, calibrator.thresholds)
        labelled, right = given != UNCERTAIN, given == labels
        error = expected_calibration_error(probabilities, labels, class_weights(labels))
        lines.append(
            f"| {faces.name} | {len(labels)} | {'persons kept apart' if faces.apart else 'no'} | {error:.3f} "
            f"| {wilson(int(labelled.sum()), len(labels))} | {wilson(int(right.sum()), int(labelled.sum()))} |"
        )
    return "\n".join(lines) + "\n"
