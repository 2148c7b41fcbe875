"""Options of the frame loop: shot cuts and scheduling."""

from __future__ import annotations

from pydantic import Field

from fertrack.stage_config import StageConfig

__all__ = ["EngineConfig", "ShotConfig"]


class ShotConfig(StageConfig):
    """Detection of hard cuts between shots; at each, all tracks end."""

    enabled: bool = Field(
        True,
        description="Find hard cuts, end all tracks there, and store them as events. Tracks whose face abruptly "
        "becomes another (tiles of a video call that change places) end, too.",
    )
    threshold: float = Field(
        0.4,
        ge=0.05,
        le=2.0,
        description="How much more than usual a frame must differ from the one before to count as a cut. The "
        "difference is 1 - correlation of the frames' structure + the share of their colours that "
        "changed: 0 to about 2. Lower finds more cuts and more false ones.",
    )


class EngineConfig(StageConfig):
    """Parallelism of inference. Changes speed and memory only, never the rows."""

    workers: int = Field(0, ge=0, le=64, description="threads that analyse frames in parallel; 0 = one per core")
    batch: int = Field(1, ge=1, le=64, description="frames that a thread passes to the networks together")
