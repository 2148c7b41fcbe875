"""Options of live runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fertrack.stage_config import StageConfig

__all__ = ["LiveConfig"]


class LiveConfig(StageConfig):
    """Promises of a live run, and what it may give up for them."""

    display_fps: float = Field(
        25.0,
        ge=1.0,
        le=240.0,
        description="Frames displayed per second, if the source has as many. Analysis yields to this: fewer "
        "frames are analysed, expressions are estimated less often, the detector's input gets "
        "smaller.",
    )
    results_hz: float = Field(
        15.0,
        ge=0.5,
        le=240.0,
        description="Frames analysed per second, as far as the machine allows; below it, the detector's input "
        "gets smaller and expressions are estimated less often. 15 keeps a displayed result under "
        "about 150 ms old.",
    )
    most_display_fps: float = Field(60.0, ge=1.0, le=240.0, description="Upper limit of frames displayed per second.")
    fixed: bool = Field(
        False, description="Adapt nothing: analyse every frame as [detection] and [classification] say."
    )
    port: int = Field(0, ge=0, le=65535, description="Port of the page that --web serves; 0: any that is free.")
    record_preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"] = Field(
        "ultrafast", description="Speed of the recording's encoder; the other options are those of [video]."
    )
