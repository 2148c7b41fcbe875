"""Options of cameras and streams."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from fertrack.errors import ConfigError
from fertrack.stage_config import StageConfig

__all__ = ["StreamConfig"]


class StreamConfig(StageConfig):
    """Connection to cameras and streams, and reconnection when one is lost.

    Raises:
        ConfigError: the first wait between two attempts is longer than the longest.
    """

    transport: Literal["tcp", "udp"] = Field("tcp", description="transport of RTSP: tcp (no losses) or udp")
    low_latency: bool = Field(
        True, description="probe as little of a stream as possible before showing it; off = for unusual streams"
    )
    tls_verify: bool = Field(
        True, description="refuse https servers whose certificate cannot be verified; rtsps is never verified"
    )
    open_timeout_s: float = Field(10.0, gt=0.0, le=300.0, description="longest wait for the first frame, seconds")
    stall_timeout_s: float = Field(
        5.0,
        gt=0.0,
        le=300.0,
        description="seconds without a frame after which the connection counts as lost (three times as long for HLS)",
    )
    longest_lag_s: float = Field(
        0.3,
        gt=0.0,
        le=60.0,
        description="frames that wait longer than this to be decoded are dropped in favour of newer ones, seconds",
    )
    backoff_start_s: float = Field(
        0.5, gt=0.0, le=60.0, description="approximate wait before the first attempt to reconnect, seconds"
    )
    backoff_max_s: float = Field(
        15.0,
        gt=0.0,
        le=3600.0,
        description="longest wait between two attempts, seconds; each wait is twice the one before",
    )
    give_up_s: float | None = Field(
        None, gt=0.0, description="outage after which the source ends, seconds; unset = reconnect for ever"
    )
    retry_first: bool = Field(
        False, description="wait for a source that cannot be opened at first, instead of failing at once"
    )
    camera_width: int | None = Field(
        None, ge=16, le=16384, description="width requested from a camera, px; unset = the camera's default"
    )
    camera_height: int | None = Field(
        None, ge=16, le=16384, description="height requested from a camera, px; unset = the camera's default"
    )
    camera_fps: float | None = Field(
        None, gt=0.0, le=1000.0, description="frames per second requested from a camera; unset = the camera's default"
    )

    @model_validator(mode="after")
    def _waits_grow(self) -> Self:
        if self.backoff_start_s > self.backoff_max_s:
            raise ConfigError(
                f"stream.backoff_start_s = {self.backoff_start_s:g} is more than stream.backoff_max_s = "
                f"{self.backoff_max_s:g}: give a first wait that is not longer than the longest"
            )
        return self
