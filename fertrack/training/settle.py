"""The end of a run: the network is made to say calibrated probabilities at the class shares of the pictures.

Balanced draws, soft targets and mixup leave a network too unsure, and at class shares that no data set has. A
temperature and a bias for each class, fitted on pictures it never learned, repair both (bias-corrected temperature
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

__all__ = ["Settlement", "class_shares", "settle", "settled"]


_PULL_OF_SETS = 25.0
"""Pull to no bias where several sets are fitted on, in faces: a bias has to hold in sets that are not here, too.

Sets left out in turn lose least with a weaker pull, but FER2013 itself then loses much; this is in between."""


@dataclass(frozen=True, slots=True, eq=False)
class Settlement:
    """Calibration of the logits: divided by the temperature, then the offset added.

    Attributes:
        temperature: above 0.
        offset: float64 (7,): from the draws' class shares to the pictures' own, and the fitted bias.
        prior: float64 (7,), class shares of the pictures, which the logits then assume.
    """

    temperature: float
    offset: FloatArray
    prior: FloatArray

    def apply(self, logits: FloatArray) -> FloatArray:
        """Settled logits (N, 7)."""
        return np.asarray(logits / self.temperature + self.offset, logits.dtype)


def class_shares(labels: IntArray) -> FloatArray:
    """float64 (7,): how often each expression occurs, counted from one so that none is impossible."""
    counts = np.bincount(labels, minlength=len(EXPRESSIONS)) + 1.0
    return np.asarray(counts / counts.sum())


def settle(
    logits: FloatArray,
    labels: IntArray,
    drawn: FloatArray,
    prior: FloatArray,
    chances: FloatArray | None = None,
) -> Settlement:
    """Fit temperature and biases on pictures kept apart.

    Args:
        logits: float32 (N, 7), as trained.
        labels: int64 (N,), with class shares like ``prior`` unless ``chances`` say otherwise.
        drawn: float64 (7,), class shares that the network was trained with.
        prior: float64 (7,), class shares that it is to assume.
        chances: float64 (N,), weights at equal class shares, each source alike (``Pictures.chances``); None: each
            picture weighs the same.
    """
    shift = np.log(prior) - np.log(drawn)
    if chances is None:
        found = fit_values(logits, labels, np.full(len(labels), 1 / len(labels)), shift, kind="bias")
    else:
        weights = np.asarray(chances, np.float64)
        found = fit_values(logits, labels, weights, np.zeros(len(EXPRESSIONS)), kind="bias", pull=_PULL_OF_SETS)
    return Settlement(found.temperature, np.asarray(shift + np.asarray(found.bias)), prior)


def settled(network: CompactNet | PublishedNet, settlement: Settlement) -> CompactNet | PublishedNet:
    """A copy of the network whose logits are settled."""
    copy = deepcopy(network)
    layer = last_layer(copy)
    offset = torch.from_numpy(settlement.offset.astype(np.float32)).to(layer.bias.device)
    with torch.no_grad():
        layer.weight.div_(settlement.temperature)
        layer.bias.div_(settlement.temperature).add_(offset)
    return copy
