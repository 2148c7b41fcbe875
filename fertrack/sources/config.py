"""Options of the video input."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from fertrack.errors import ConfigError
from fertrack.stage_config import StageConfig

__all__ = ["InputConfig"]


class InputConfig(StageConfig):
    """Part of a source that is read, sampling rate, and orientation.

    Times are those of the file's own clock, the same that the results carry: a video whose first frame is stamped
    0.852 s starts at 0.852 s.

    Raises:
        ConfigError: ``from_s`` is not before ``to_s``.
    """

    rotate: Literal["auto", 0, 90, 180, 270] = Field(
        "auto",
        description='turn frames clockwise by 0, 90, 180 or 270 degrees; "auto" follows the file\'s own orientation',
    )
    from_s: float = Field(0.0, ge=0.0, description="start of the part to read, seconds; 0 = the first frame")
    to_s: float | None = Field(
        None, gt=0.0, description="end of the part to read, seconds; unset = the end of the video"
    )
    rate_hz: float | None = Field(
        None,
        gt=0.0,
        le=1000.0,
        description="frames analysed per second of video, chosen by time; unset = every frame",
    )
    fps: float | None = Field(
        None,
        gt=0.0,
        le=1000.0,
        description="frame rate of a video without time stamps, such as bare H.264; unset = as in its headers, or 25",
    )
    stream: str = Field(
        "",
        pattern=r"^(|\d+|program(me)? ?\d+)$",
        description='video stream of a file with several: its number, such as "2", or "program 101"; unset = the '
        "one players show",
    )
    max_gap_s: float = Field(
        60.0,
        ge=1.0,
        description="longest plausible gap between frames, seconds, in formats whose clock may restart (MPEG-TS)",
    )
    deinterlace: bool = Field(True, description="deinterlace interlaced frames before they are analysed")
    image_fps: float = Field(1.0, gt=0.0, le=1000.0, description="frame rate assumed for a folder of images")
    max_megapixels: float = Field(
        100.0,
        gt=0.0,
        le=100_000.0,
        description="largest frame or image that is opened, millions of pixels: a small file can hold an immense one",
    )
    prefetch: int = Field(4, ge=1, le=64, description="decoded frames held ready ahead of the analysis")

    @property
    def max_pixels(self) -> int:
        """Pixels of the largest frame or image that is opened."""
        return round(self.max_megapixels * 1e6)

    @field_validator("stream", mode="before")
    @classmethod
    def _number_may_come_as_such(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value

    @field_validator("rotate", mode="before")
    @classmethod
    def _degrees_may_come_as_text(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @model_validator(mode="after")
    def _window_is_not_empty(self) -> Self:
        if self.to_s is not None and self.from_s >= self.to_s:
            raise ConfigError(
                f"input.from_s = {self.from_s:g} is not before input.to_s = {self.to_s:g}: give a start before the end"
            )
        return self
