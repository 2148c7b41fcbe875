"""Reliability of a classifier: how often it was right at each level of confidence.

Measured once on labelled images, kept in the classifier's bundle (``[reliability]`` of ``bundle.toml``) and, from
there, in the record of every run, so that a report can show them without the bundle.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, model_validator

from fertrack.stage_config import StageConfig

__all__ = ["Reliability", "ReliabilityBin"]

_Share = Annotated[float, Field(ge=0.0, le=1.0)]


class ReliabilityBin(StageConfig):
    """The faces whose most probable expression had a probability in ``[low, high)``; the last bin includes 1."""

    low: _Share
    high: _Share
    faces: int = Field(ge=1, description="Number of faces in the bin; empty bins are left out.")
    confidence: _Share = Field(description="Mean probability of their most probable expressions.")
    right: _Share = Field(description="Share of them in which that expression was the label people gave.")


class Reliability(StageConfig):
    """A reliability diagram: Guo et al. (2017), "On Calibration of Modern Neural Networks", fig. 4 and eq. 3."""

    data: str = Field(min_length=1, description="Which images, which labels, which were left out.")
    setting: str = Field(min_length=1, description="What was switched on: prior correction, temperature, detector.")
    samples: int = Field(ge=1, description="Number of images scored.")
    ece: _Share = Field(description="Expected calibration error over these bins, at the set's class shares.")
    bins: tuple[ReliabilityBin, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Reliability:
        counted = sum(each.faces for each in self.bins)
        if counted != self.samples:
            raise ValueError(f"the bins hold {counted} faces, but samples = {self.samples}")
        edges = [edge for each in self.bins for edge in (each.low, each.high)]
        if edges != sorted(edges):
            raise ValueError("the bins must not overlap and must be in order")
        gap = math.fsum(each.faces * abs(each.right - each.confidence) for each in self.bins) / counted
        if abs(gap - self.ece) > 0.002:
            raise ValueError(f"ece = {self.ece} does not fit its bins, which give {gap:.4f}")
        return self
