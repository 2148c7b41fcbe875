"""Options of the expression stage: calibration and smoothing."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from fertrack.stage_config import StageConfig
from fertrack.types import EXPRESSIONS, Float64Array

__all__ = ["CalibrationConfig", "Expression", "PerClass", "Prior", "Scales", "Shares", "SmoothingConfig"]

Expression = Literal["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]


def _check_prior(shares: dict[Expression, float]) -> dict[Expression, float]:
    missing = [name for name in EXPRESSIONS if name not in shares]
    if missing:
        raise ValueError(f"a prior must give all seven expressions; missing: {', '.join(missing)}")
    if abs(math.fsum(shares.values()) - 1.0) > 0.005:
        raise ValueError(f"a prior must sum to 1, this one sums to {math.fsum(shares.values()):.4f}")
    return shares


PerClass = dict[Expression, Annotated[float, Field(ge=-20.0, le=20.0)]]
"""A number for some of the expressions, by name."""


Prior = Annotated[dict[Expression, Annotated[float, Field(ge=0.0, le=1.0)]], AfterValidator(_check_prior)]
"""A share for each of the seven expressions, by name, summing to 1."""


Scales = dict[Expression, Annotated[float, Field(ge=0.05, le=20.0)]]


Shares = dict[Expression, Annotated[float, Field(ge=0.0, le=1.0)]]


class CalibrationConfig(StageConfig):
    """Calibration of logits to probabilities, and the thresholds that a label must reach.

    What is left unset is taken from the classifier's bundle; what is set here wins.
    """

    use_temperature: bool = Field(True, description="Divide the logits by the temperature.")
    temperature: float | None = Field(
        None, ge=0.05, le=20.0, description="Above 1 makes probabilities flatter, below 1 sharper; unset: the bundle's."
    )
    scale: Scales | None = Field(
        None,
        description="Multiplies an expression's logit before the temperature (vector scaling), by expression; 1 for "
        "those not named, and for all if unset.",
    )
    use_prior: bool = Field(True, description="Take the training set's class shares out and put the target's in.")
    prior_strength: float | None = Field(
        None, ge=0.0, le=1.0, description="How much of the prior correction to apply, 0 to 1; unset: the bundle's."
    )
    training_prior: Prior | None = Field(
        None, description="Class shares the classifier was trained with; unset: the bundle's."
    )
    target_prior: Prior | None = Field(
        None, description="Class shares to expect in the video; unset: the same share for each expression."
    )
    prior_eps: float = Field(
        1e-8, ge=0.0, le=1e-2, description="Added to both priors inside the logarithm, so that a share of 0 is finite."
    )
    use_bias: bool = Field(True, description="Add the class biases to the logits.")
    bias: PerClass | None = Field(
        None,
        description="Added to the calibrated logits, by expression (0 for those not named); unset: the bundle's.",
    )
    bias_profile: PerClass | None = Field(
        None,
        description="Added to the bias, by expression; what `fertrack models bias fit` learned from labelled faces.",
    )
    use_thresholds: bool = Field(True, description="Call a face uncertain when its winning expression is too unlikely.")
    thresholds: Shares | None = Field(
        None,
        description="Minimum smoothed probability at which a winning expression becomes the label; unset: the "
        "bundle's.",
    )
    fallback_threshold: float = Field(
        0.40, ge=0.0, le=1.0, description="Threshold of the expressions that `thresholds` does not name."
    )
    min_quality: float = Field(
        0.1,
        ge=0.0,
        le=1.0,
        description="Least quality of a face's image, from 0 to 1; below it the label is not readable; 0: off.",
    )
    classifier: str | None = Field(
        None,
        description="Name and version of the classifier that these values were fitted for; any other is refused. "
        "Unset: not checked.",
    )

    @property
    def is_fitted(self) -> bool:
        """Whether it is a whole calibration for a named classifier, as `fertrack models calibrate` writes it."""
        parts = (self.temperature, self.prior_strength, self.training_prior, self.bias, self.thresholds)
        return self.classifier is not None and None not in parts


class SmoothingConfig(StageConfig):
    """Smoothing of a track's probabilities over time."""

    enabled: bool = Field(True, description="Smooth and hold labels over time; off: every frame stands alone.")
    half_life_s: float = Field(
        0.25, ge=0.0, le=60.0, description="Time after which an estimate counts half, s; 0: no smoothing."
    )
    hysteresis_margin: float = Field(
        0.05,
        ge=0.0,
        le=1.0,
        description="A label stays until another expression is more probable by more than this; 0: off.",
    )
    reset_after_s: float = Field(
        2.0, ge=0.0, le=3600.0, description="A track unseen for longer than this starts afresh, s; 0: never."
    )

    def past_weight(self, elapsed_s: Float64Array) -> Float64Array:
        """Weight of the past, 0 to 1, after ``elapsed_s`` seconds (>= 0): 0.5 ** (elapsed_s / half_life_s)."""
        if not self.half_life_s:
            return np.zeros(elapsed_s.shape)
        weight: Float64Array = np.exp2(elapsed_s / -self.half_life_s)
        return weight
