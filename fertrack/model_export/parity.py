"""Parity of an exported classifier: differences of its outputs from the original's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fertrack.evaluation.expression.measures import accuracy, class_weights
from fertrack.model_export.network import ExportFormat
from fertrack.model_export.sample import FaceSample
from fertrack.protocols import Classifier
from fertrack.types import EXPRESSIONS, FloatArray, IntArray

__all__ = ["LOGIT_TOLERANCE", "NOT_COMPARED", "SAME_WINNER", "Parity", "Scores", "Tolerance", "compare"]

LOGIT_TOLERANCE: dict[ExportFormat, float] = {
    "onnx": 1e-3,
    "onnx-int8": 1.5,
    "torchscript": 1e-3,
    "tflite": 1e-3,
    "tensorrt": 0.05,
}
"""Largest difference of a logit that is put up with, by format: rounding, apart from eight-bit arithmetic and TensorRT,
which multiplies in 10-bit mantissas."""

SAME_WINNER = 0.95
"""Least share of the faces compared that must keep their most likely expression, where no tolerance was given: logits
that differ by less than the tolerance may all the same name another expression."""

NOT_COMPARED = "no labelled images were given; give some with --data (folder of class sub-folders, CSV or npz)"
"""Why ``accuracy_change`` is not known, and what to do."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Tolerated differences.

    Attributes:
        logit: largest difference of a logit.
        accuracy: largest loss of accuracy or mean-class recall on labelled faces, 0.005 being half a point.
        same_winner: least share of faces with the same most likely expression; 0: any.
    """

    logit: float
    accuracy: float = 0.005
    same_winner: float = 0.0


@dataclass(frozen=True, slots=True)
class Scores:
    """Accuracy of a classifier on labelled faces.

    Attributes:
        accuracy: share of faces whose largest logit is their label.
        mean_class_recall: the same with every class that occurs weighing the same.
    """

    accuracy: float
    mean_class_recall: float


@dataclass(frozen=True, slots=True)
class Parity:
    """The comparison.

    Attributes:
        format: what was exported to.
        source: fingerprint of the classifier that was exported.
        exported: fingerprint of what came out.
        size_bytes: size of its network's file.
        sample: what the two were compared on.
        faces: number of faces compared.
        max_logit_difference: largest absolute difference of a logit.
        mean_logit_difference: mean absolute difference.
        same_winner: share of faces with the same most likely expression.
        before: how right the source is; None without labels.
        after: how right the exported classifier is; None without labels.
        tolerance: what is put up with.
    """

    format: ExportFormat
    source: str
    exported: str
    size_bytes: int
    sample: str
    faces: int
    max_logit_difference: float
    mean_logit_difference: float
    same_winner: float
    before: Scores | None
    after: Scores | None
    tolerance: Tolerance

    @property
    def accuracy_change(self) -> float | None:
        """Accuracy after minus before."""
        return None if self.before is None or self.after is None else self.after.accuracy - self.before.accuracy

    @property
    def failures(self) -> list[str]:
        """Differences above the tolerance, one phrase each; none if the export may be kept."""
        found = []
        if not self.max_logit_difference <= self.tolerance.logit:
            found.append(
                f"a logit differs by {self.max_logit_difference:.3g}, more than the {self.tolerance.logit:g} tolerated"
            )
        if self.same_winner < self.tolerance.same_winner:
            found.append(
                f"the most likely expression is the same in {self.same_winner:.1%} of the faces, fewer than the "
                f"{self.tolerance.same_winner:.0%} needed where no --tolerance is given"
            )
        if self.before is not None and self.after is not None:
            for name in ("accuracy", "mean_class_recall"):
                loss = getattr(self.before, name) - getattr(self.after, name)
                if loss > self.tolerance.accuracy:
                    found.append(
                        f"{name.replace('_', '-', 1).replace('_', ' ')} falls by {loss:.4f}, more than the "
                        f"{self.tolerance.accuracy:g} tolerated"
                    )
        return found

    def as_dict(self) -> dict[str, Any]:
        """The comparison as a plain dict, for ``parity.json``."""
        known = {"accuracy_change": self.accuracy_change, "passed": not self.failures}
        return asdict(self) | known | ({"accuracy_note": NOT_COMPARED} if self.before is None else {})

    def lines(self) -> list[str]:
        """The comparison for people."""
        lines = [
            f"{self.format}: {self.size_bytes / 1e6:.2f} MB, compared on {self.faces} faces ({self.sample})",
            f"largest difference of a logit {self.max_logit_difference:.2g} (tolerated {self.tolerance.logit:g}), "
            f"mean {self.mean_logit_difference:.2g}; same most likely expression in {self.same_winner:.1%}",
        ]
        if self.before is not None and self.after is not None:
            lines.append(
                f"accuracy {self.before.accuracy:.4f} → {self.after.accuracy:.4f} ({self.accuracy_change:+.4f}), "
                f"mean-class recall {self.before.mean_class_recall:.4f} → {self.after.mean_class_recall:.4f}"
            )
        else:
            lines.append(f"accuracy was not compared: {NOT_COMPARED}")
        return lines


def compare(
    source: Classifier,
    exported: Classifier,
    sample: FaceSample,
    *,
    target: ExportFormat,
    size_bytes: int,
    tolerance: Tolerance,
) -> Parity:
    """Ask both about the same faces.

    Args:
        source: what was exported.
        exported: what came out, run as the pipeline would run it.
        sample: the faces.
        target: format.
        size_bytes: size of the exported network's file.
        tolerance: what is put up with.

    Raises:
        ModelError: one of them fails.
    """
    before, after = source.logits(sample.crops), exported.logits(sample.crops)
    difference = np.abs(before - after)
    return Parity(
        format=target,
        source=source.fingerprint,
        exported=exported.fingerprint,
        size_bytes=size_bytes,
        sample=sample.name,
        faces=len(sample),
        max_logit_difference=float(difference.max()),
        mean_logit_difference=float(difference.mean()),
        same_winner=float((before.argmax(axis=1) == after.argmax(axis=1)).mean()),
        before=_scores(before, sample.labels) if sample.labelled else None,
        after=_scores(after, sample.labels) if sample.labelled else None,
        tolerance=tolerance,
    )


def _scores(logits: FloatArray, labels: IntArray) -> Scores:
    return Scores(
        accuracy(logits, labels, class_weights(labels)),
        accuracy(logits, labels, class_weights(labels, np.ones(len(EXPRESSIONS)))),
    )
