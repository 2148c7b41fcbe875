"""Precision targets: whether each expression's threshold reaches its own, and whether the images suffice to tell.

A threshold is searched up to a ceiling; where even there too many labels are wrong, the target is missed. With few
images it may be reached by luck, with none it says nothing, and where no face gets the label there is nothing to be
right or wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fertrack.evaluation.expression.measures import ROUNDING, decisions
from fertrack.evaluation.intervals import wilson
from fertrack.types import EXPRESSIONS, Float64Array, FloatArray, IntArray

__all__ = ["FEW_IMAGES", "PrecisionTarget", "Problem", "precision_targets"]

Problem = Literal["no images", "few images", "never given", "missed", "missed held out"]

FEW_IMAGES = 30
"""With fewer images of an expression, a share of 90 % right has an interval of more than 20 points."""


@dataclass(frozen=True, slots=True)
class PrecisionTarget:
    """Result for one expression's target precision.

    Attributes:
        expression: its name.
        wanted: share right of its labels that was asked for.
        pictures: how many are labelled so.
        threshold: the one that was found.
        fitted: precision of its label with that threshold on the faces it was found on, at the class shares of the fit;
            NaN if no face gets the label.
        held_out: the same on faces held out, with thresholds found on the others.
        given: faces held out that get the label.
        problems: why the target is not reached, or not known to be; empty where it is.
    """

    expression: str
    wanted: float
    pictures: int
    threshold: float
    fitted: float
    held_out: float
    given: int
    problems: tuple[Problem, ...]

    def sentence(self) -> str:
        """The problems, for people; empty without any."""
        said = {
            "no images": "no image shows it, so its threshold says nothing",
            "few images": f"only {self.pictures} image{'s' * (self.pictures != 1)} of it, so this is uncertain "
            f"(at least {FEW_IMAGES} are wanted)",
            "never given": f"no face reaches its threshold {self.threshold:g}: the label would hardly ever be given",
            "missed": f"a precision of {self.wanted:g} could not be met: {self.fitted:.3f} at the highest threshold "
            f"tried, {self.threshold:g}",
            "missed held out": f"a precision of {self.wanted:g} is met only on the images fitted on: "
            f"{self.held_out:.2f} held out",
        }
        return f"{self.expression}: {'; '.join(said[problem] for problem in self.problems)}" if self.problems else ""


def precision_targets(
    fitted: FloatArray,
    held_out: FloatArray,
    labels: IntArray,
    weights: Float64Array,
    *,
    thresholds: npt.ArrayLike,
    held_out_thresholds: npt.ArrayLike,
    wanted: float,
) -> tuple[PrecisionTarget, ...]:
    """Judge the thresholds of all expressions.

    Args:
        fitted: float32 (N, 7), probabilities by values fitted on these faces.
        held_out: float32 (N, 7), probabilities by values fitted on others.
        labels: int64 (N,).
        weights: float64 (N,), the faces' weights in the fit.
        thresholds: (7,), found on these faces.
        held_out_thresholds: (N, 7), found on the others.
        wanted: precision asked for, 0 to 1.

    Returns:
        One for each of ``EXPRESSIONS``, in their order.
    """
    limits = np.asarray(thresholds, np.float64)
    answers = decisions(fitted, limits)
    answers_held_out = decisions(held_out, held_out_thresholds)
    found = []
    for k, expression in enumerate(EXPRESSIONS):
        pictures = int((labels == k).sum())
        reached = _precision(answers, labels, weights, k)
        later = _precision(answers_held_out, labels, weights, k)
        given = int((answers_held_out == k).sum())
        problems: list[Problem] = []
        if not pictures:
            problems.append("no images")
        elif pictures < FEW_IMAGES:
            problems.append("few images")
        if pictures and math.isnan(reached):
            problems.append("never given")
        elif pictures and reached < wanted - ROUNDING:
            problems.append("missed")
        elif pictures and given and wilson(round(later * given), given).high < wanted:
            problems.append("missed held out")  # by more than chance
        found.append(
            PrecisionTarget(expression, wanted, pictures, float(limits[k]), reached, later, given, tuple(problems))
        )
    return tuple(found)


def _precision(answers: IntArray, labels: IntArray, weights: Float64Array, k: int) -> float:
    given = answers == k
    total = float(weights[given].sum())
    return float(weights[given & (labels == k)].sum()) / total if total > 0.0 else float("nan")
