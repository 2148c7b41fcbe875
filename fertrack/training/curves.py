"""The log of a training run as two images that any browser shows."""

from __future__ import annotations

import csv
from pathlib import Path

from fertrack.errors import ModelError, reason_of
from fertrack.evaluation.expression.figures import curves_svg

__all__ = ["write_curves"]

_PICTURES = {
    "curves_loss.svg": ("nats", {"loss, in training": "loss", "cross-entropy, kept apart": "cross_entropy"}),
    "curves_accuracy.svg": (
        "share right, kept apart",
        {"accuracy": "accuracy", "mean class recall": "mean_class_recall"},
    ),
}


def write_curves(log: Path) -> list[Path]:
    """Write ``curves_loss.svg`` and ``curves_accuracy.svg`` beside the log.

    Args:
        log: ``log.csv`` of a run.

    Raises:
        ModelError: the log cannot be read, or the images cannot be written.
    """
    try:
        rows = list(csv.DictReader(log.read_text(encoding="utf-8").splitlines()))
        written = []
        for name, (up, columns) in _PICTURES.items():
            series = {said: [float(row[column]) for row in rows] for said, column in columns.items()}
            path = log.with_name(name)
            path.write_text(curves_svg(series, log.parent.name, "epoch", up), encoding="utf-8")
            written.append(path)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{log} cannot be drawn as curves: {reason_of(error)}") from error
    return written
