"""Model card of a bundle at its own calibration: ``python -m fertrack.benchmarks model_card PICTURES CARD.md``.

The images are FER2013's PublicTest with FER+ votes, or any labelled set; ``--bundle FOLDER`` takes another bundle
than the default one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fertrack.evaluation.expression.classify import answers_of
from fertrack.evaluation.expression.model_card import render
from fertrack.evaluation.expression.page import write_text
from fertrack.evaluation.expression.report import evaluate_answers
from fertrack.expression.calibration import Calibrator
from fertrack.expression.config import CalibrationConfig
from fertrack.models.bundle import load_bundle

__all__ = ["main", "measure_bundle"]


def measure_bundle(pictures: Path, bundle: str | Path = "default", *, resamples: int = 1000) -> str:
    """Measure a bundle with the default detector and landmarks, at its own calibration, and render its card.

    Args:
        pictures: FER2013 images with FER+ votes, or other labelled images (see ``evaluation.labelled``).
        bundle: "default", or the folder of a bundle.
        resamples: bootstrap draws.

    Raises:
        EvaluationError: the images cannot be read.
        ModelError: there is no such bundle.
        WeightsError: the detector's or the classifier's weights are missing.
    """
    loaded = load_bundle(bundle)
    labelled, answers = answers_of(loaded, pictures)
    calibrator = Calibrator(CalibrationConfig(), loaded.calibration)
    evaluation = evaluate_answers(labelled, answers, calibrator, resamples=resamples)
    return render(loaded.card, loaded.fingerprint, evaluation)


def main(arguments: Sequence[str]) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m fertrack.benchmarks model_card", description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("card", type=Path)
    parser.add_argument("--bundle", default="default")
    given = parser.parse_args(arguments)
    write_text(given.card, measure_bundle(given.pictures, given.bundle), overwrite=True)
    return 0
