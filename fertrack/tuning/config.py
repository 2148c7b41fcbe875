"""Options of a calibration fit that are seldom changed: ``fertrack models calibrate --set fit.folds=10``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fertrack.stage_config import StageConfig

__all__ = ["FitConfig"]


class FitConfig(StageConfig):
    """Options of a calibration fit, beside those that have a flag; see ``calibration_fit.FitOptions``."""

    shares: Literal["assumed", "own", "equal"] = Field(
        "assumed", description="Class shares to fit at: those that the prior correction assumes, the set's own, equal."
    )
    floor: float = Field(0.4, ge=0.0, le=0.9, description="Lowest threshold that is set.")
    folds: int = Field(5, ge=2, le=20, description="Folds of the cross-fitting.")
