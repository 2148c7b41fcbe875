"""Calibration of the logits at the end of a training run, at the class shares of the images.

Balanced draws, soft targets and mixup leave a network too unsure, and at class shares that no data set has. A
temperature and a bias for each class, fitted on images it never learned from, repair both (bias-corrected temperature
scaling: Alexandari, Kundaje and Shrikumar 2020, arXiv 1901.06852); they are linear in the logits, so the last layer
takes them up.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch

from fertrack.models.networks.compact import CompactNet
from fertrack.training.networks import PublishedNet, last_layer
from fertrack.tuning.calibration_fit import fit_values
from fertrack.types import EXPRESSIONS, FloatArray, IntArray

__all__ = ["LogitCalibration", "calibrate_logits", "class_shares", "with_calibrated_logits"]


_PULL_OF_SETS = 25.0
"""Pull to no bias where several sets are fitted on, in faces: a bias has to hold in sets that are not here, too.

Sets left out in turn lose least with a weaker pull, but FER2013 itself then loses much; this is in between."""


@dataclass(frozen=True, slots=True, eq=False)
class LogitCalibration:
    """Calibration of the logits: divided by the temperature, then the offset added.

    Attributes:
        temperature: above 0.
        offset: float64 (7,): from the draws' class shares to the images' own, and the fitted bias.
        prior: float64 (7,), class shares of the images, which the logits then assume.
    """

    temperature: float
    offset: FloatArray
    prior: FloatArray

    def apply(self, logits: FloatArray) -> FloatArray:
        """Calibrated logits (N, 7)."""
        return np.asarray(logits / self.temperature + self.offset, logits.dtype)


def class_shares(labels: IntArray) -> FloatArray:
    """float64 (7,): how often each expression occurs, counted from one so that none is impossible."""
    counts = np.bincount(labels, minlength=len(EXPRESSIONS)) + 1.0
    return np.asarray(counts / counts.sum())


def calibrate_logits(
    logits: FloatArray,
    labels: IntArray,
    drawn: FloatArray,
    prior: FloatArray,
    chances: FloatArray | None = None,
) -> LogitCalibration:
    """Fit temperature and biases on images kept apart.

    Args:
        logits: float32 (N, 7), as trained.
        labels: int64 (N,), with class shares like ``prior`` unless ``chances`` say otherwise.
        drawn: float64 (7,), class shares that the network was trained with.
        prior: float64 (7,), class shares that it is to assume.
        chances: float64 (N,), weights at equal class shares, each source alike (``TrainingImages.chances``); None: each
            image weighs the same.
    """
    shift = np.log(prior) - np.log(drawn)
    if chances is None:
        found = fit_values(logits, labels, np.full(len(labels), 1 / len(labels)), shift, kind="bias")
    else:
        weights = np.asarray(chances, np.float64)
        found = fit_values(logits, labels, weights, np.zeros(len(EXPRESSIONS)), kind="bias", pull=_PULL_OF_SETS)
    return LogitCalibration(found.temperature, np.asarray(shift + np.asarray(found.bias)), prior)


def with_calibrated_logits(
    network: CompactNet | PublishedNet, calibration: LogitCalibration
) -> CompactNet | PublishedNet:
    """A copy of the network that gives calibrated logits."""
    copy = deepcopy(network)
    layer = last_layer(copy)
    offset = torch.from_numpy(calibration.offset.astype(np.float32)).to(layer.bias.device)
    with torch.no_grad():
        layer.weight.div_(calibration.temperature)
        layer.bias.div_(calibration.temperature).add_(offset)
    return copy
