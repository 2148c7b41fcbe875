"""Measures a classifier bundle's reliability diagram and writes it into its ``bundle.toml``.

``python -m fertrack.benchmarks bundle_reliability PICTURES`` prints the table for the default bundle, measured on
FER2013 PublicTest images with FER+ votes (or other labelled images), detector and alignment in the loop. ``--bundle
FOLDER`` takes another bundle, and ``--write`` puts the table into its file. Reports of later runs draw it.

The temperature is fitted crosswise: each half of the images is scored with the temperature of the other, so no
image is judged by a value that was fitted on it. All else is the bundle's own.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fertrack.errors import ModelError
from fertrack.evaluation.expression.measures import class_weights, fit_temperature, reliability_bins, stratified_halves
from fertrack.expression.calibration import Calibrator, ClassifierCalibration, assumed_shares
from fertrack.expression.config import CalibrationConfig
from fertrack.expression.reliability import Reliability, ReliabilityBin
from fertrack.models.bundle import BUNDLE_FILE, load_bundle
from fertrack.types import BoolArray, FloatArray, IntArray

__all__ = ["crosswise_probabilities", "main", "measure_bundle", "measure_reliability", "to_toml", "write_into"]

_TABLE = re.compile(r"\n*^(?:#[^\n]*\n)*\[reliability\]\n.*?(?=\n+(?:#[^\n]*\n)*\[|\Z)", re.MULTILINE | re.DOTALL)
_DECIMALS = 4


def measure_reliability(
    probabilities: FloatArray, labels: IntArray, *, data: str, setting: str, bins: int = 15
) -> Reliability:
    """The reliability diagram of labelled faces, at the set's own class shares.

    Args:
        probabilities: float32 (N, 7), calibrated, of each face alone.
        labels: int64 (N,), index into ``EXPRESSIONS``.
        data: which images and labels, for people.
        setting: what was switched on, for people.
        bins: number of equal-width bins from 0 to 1; empty ones are left out.

    Raises:
        ValueError: there are no faces, or the arrays do not belong together.
    """
    if not len(labels) or len(labels) != len(probabilities):
        raise ValueError(
            f"as many labels as faces are needed, and at least one: {len(labels)} and {len(probabilities)}"
        )
    filled = [each for each in reliability_bins(probabilities, labels, bins=bins) if each.share > 0.0]
    ece = sum(each.share * abs(each.accuracy - each.confidence) for each in filled)
    return Reliability(
        data=data,
        setting=setting,
        samples=len(labels),
        ece=round(ece, _DECIMALS),
        bins=tuple(
            ReliabilityBin(
                low=round(each.low, _DECIMALS),
                high=round(each.high, _DECIMALS),
                faces=round(each.share * len(labels)),
                confidence=round(each.confidence, _DECIMALS),
                right=round(each.accuracy, _DECIMALS),
            )
            for each in filled
        ),
    )


def crosswise_probabilities(
    logits: FloatArray, labels: IntArray, calibration: ClassifierCalibration
) -> tuple[FloatArray, tuple[float, float]]:
    """Calibrated probabilities, each half of the faces with the temperature fitted on the other half.

    The temperature is fitted at the class shares that the prior strength assumes, as the bundle's own was.

    Args:
        logits: float32 (N, 7), columns in ``EXPRESSIONS`` order.
        labels: int64 (N,).
        calibration: the classifier's own values; all but the temperature are used.

    Returns:
        float32 (N, 7), and the two temperatures.
    """
    half = stratified_halves(labels)
    shares = assumed_shares(calibration.training_prior, calibration.prior_strength)

    def at(temperature: float, rows: BoolArray) -> FloatArray:
        own = replace(calibration, temperature=temperature, reliability=None)
        return Calibrator(CalibrationConfig(), own).probabilities(logits[rows])

    def fitted(rows: BoolArray) -> float:
        return fit_temperature(lambda t: at(t, rows), labels[rows], class_weights(labels[rows], shares))

    first, second = fitted(half), fitted(~half)
    scored = np.empty(logits.shape, np.float32)
    scored[half], scored[~half] = at(second, half), at(first, ~half)
    return scored, (first, second)


def measure_bundle(
    bundle: str | Path, logits: FloatArray, labels: IntArray, *, data: str, crosswise: bool = True
) -> Reliability:
    """The reliability diagram of a bundle at its own recommended setting.

    Args:
        bundle: "default", or its folder.
        logits: float32 (N, 7), what its network says of the labelled faces.
        labels: int64 (N,).
        data: which images and labels, for people.
        crosswise: fit the temperature crosswise; needed where the bundle's own was fitted on the same images.

    Raises:
        ModelError: there is no such bundle.
    """
    own = load_bundle(bundle).calibration
    setting = f"prior strength {own.prior_strength:g}, "
    if crosswise:
        scored, _ = crosswise_probabilities(logits, labels, own)
        return measure_reliability(scored, labels, data=data, setting=f"{setting}T fitted crosswise on halves")
    scored = Calibrator(CalibrationConfig(), own).probabilities(logits)
    return measure_reliability(scored, labels, data=data, setting=f"{setting}T {own.temperature:.3g}")


def to_toml(reliability: Reliability) -> str:
    """The ``[reliability]`` table of a ``bundle.toml``.

    >>> one = ReliabilityBin(low=0.5, high=0.6, faces=10, confidence=0.55, right=0.6)
    >>> print(to_toml(Reliability(data="d", setting="s", samples=10, ece=0.05, bins=(one,))), end="")
    # Of the faces whose most probable expression had a probability in [low, high), the share that was right.
    [reliability]
    data = "d"
    setting = "s"
    samples = 10
    ece = 0.05
    bins = [
      { low = 0.5, high = 0.6, faces = 10, confidence = 0.55, right = 0.6 },
    ]
    """
    import tomli_w

    facts = tomli_w.dumps(reliability.model_dump(mode="json", exclude={"bins"}))
    rows = [
        "  { " + ", ".join(f"{name} = {value}" for name, value in each.model_dump(mode="json").items()) + " },"
        for each in reliability.bins
    ]
    comment = (
        "# Of the faces whose most probable expression had a probability in [low, high), the share that was right."
    )
    return "\n".join([f"{comment}\n[reliability]\n{facts}bins = [", *rows, "]", ""])


def write_into(bundle: str | Path, reliability: Reliability) -> Path:
    """Put the table into a bundle's file, in place of the one it may have; all else of the file stays as it is.

    Raises:
        ModelError: there is no such bundle, or its file cannot be written.
    """
    path = load_bundle(bundle).folder / BUNDLE_FILE
    try:
        text = _TABLE.sub("", path.read_text(encoding="utf-8")).rstrip("\n")
        path.write_text(f"{text}\n\n{to_toml(reliability)}", encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror or error}") from error
    load_bundle(bundle)  # what was written must be readable
    return path


def main(arguments: Sequence[str]) -> int:
    """Measure a bundle on labelled images; returns the exit code."""
    from fertrack.evaluation.expression.classify import answers_of

    parser = argparse.ArgumentParser(
        prog="python -m fertrack.benchmarks bundle_reliability",
        description="Measure a classifier bundle's reliability diagram.",
    )
    parser.add_argument("pictures", type=Path, help="FER2013 pictures with FER+ votes (npz), or others with labels")
    parser.add_argument("--bundle", default="default", help="folder of the bundle")
    parser.add_argument("--write", action="store_true", help="put the table into the bundle's file")
    options = parser.parse_args(arguments)
    labelled, answers = answers_of(load_bundle(options.bundle), options.pictures)
    rows = answers.answered
    data = f"{labelled.kind}, detector and alignment in the loop"
    found = measure_bundle(options.bundle, answers.logits[rows], labelled.labels[rows], data=data)
    sys.stdout.write(f"{write_into(options.bundle, found)}\n" if options.write else to_toml(found))
    return 0
