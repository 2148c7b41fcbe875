"""Options of the tracker, and SORT's published settings among them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from fertrack.stage_config import StageConfig

__all__ = ["PLAIN_SORT", "TrackerConfig"]


class TrackerConfig(StageConfig):
    """Options of the tracker; the defaults are for faces, ``PLAIN_SORT`` is the published way."""

    min_hits: int = Field(
        4, ge=1, le=1000, description="Detections in a row, its first one included, after which a track gets an ID."
    )
    max_age_s: float = Field(
        0.8,
        ge=0.0,
        le=100_000.0,
        description="A track with an ID ends when it was not matched for longer than this, seconds: a hand before "
        "the face, a turned head. A face found again later may still get its ID back, see rejoin_s.",
    )
    max_age: int = Field(
        10,
        ge=0,
        le=100_000,
        description="It is kept for at least this many processed frames in a row without a match, however far "
        "apart they usually are (--rate, time lapse). A pause that is much longer than usual counts "
        "by its length.",
    )
    rejoin_s: float = Field(
        2.0,
        ge=0.0,
        le=60.0,
        description="A new track gets the ID of one that was lost for no longer, seconds, where both could be one "
        "face by how they move and how large they are; decided when it gets an ID. 0: it never does.",
    )
    tentative_max_age: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Processed frames in a row that a track without an ID survives without a match. 0: a single "
        "miss ends it, so false faces die young.",
    )
    high_score: float = Field(
        0.6,
        ge=0.0,
        le=1.0,
        description="Detections with at least this score are matched first. 0: all are.",
    )
    low_score: float = Field(
        0.3,
        ge=0.0,
        le=1.0,
        description="Detections from here up to high_score continue a track with an ID that was seen a moment ago and "
        "that no surer one continues (a face turning away); otherwise they are dropped, as are those below. The "
        "detector is asked for detections from here on. Equal to high_score: no such second look.",
    )
    new_track_score: float = Field(
        0.7,
        ge=0.0,
        le=1.0,
        description="Minimum score of a detection that starts a track.",
    )
    iou_threshold: float = Field(
        0.2, gt=0.0, le=1.0, description="Smallest overlap (IoU) of a detection with a track's predicted box to match."
    )
    low_iou_threshold: float = Field(
        0.3, gt=0.0, le=1.0, description="Smallest overlap for detections between low_score and high_score."
    )
    reach: float = Field(
        1.0,
        ge=0.0,
        le=5.0,
        description="Tracks and detections that are left over are compared once more, by distance and size: a face may "
        "be so far from where it was expected, in widths and heights of its own. 0: they are not.",
    )
    reach_per_s: float = Field(
        2.0, ge=0.0, le=20.0, description="Increase of that distance per second in which a track was not seen."
    )
    largest_size_ratio: float = Field(
        2.0,
        ge=0.0,
        le=100.0,
        description="Largest ratio of heights at which a box can match another. 0: any.",
    )
    confirmed_first: bool = Field(
        True, description="Never let a track without an ID take a detection from one with an ID, however well it fits."
    )
    velocity_noise: float = Field(
        6.0,
        gt=0.0,
        le=1000.0,
        description="Process noise of the velocity in the motion model, as a multiple of SORT's constant. Heads "
        "turn and stop more suddenly than SORT's pedestrians.",
    )
    noise_by_time: bool = Field(
        True,
        description="Where images are farther apart than 1/30 s, changes of speed are likelier by the square of it, "
        "unless the detector's boxes jump about so that it could not be told.",
    )
    retrace: bool = Field(
        True,
        description="Re-estimate the motion of a track found again after a gap along a straight line across the "
        "gap, instead of from its predicted position.",
    )
    crowding_iou: float = Field(
        0.05,
        ge=0.0,
        le=1.0,
        description="Faces whose boxes overlap by more than this (IoU) may be half occluded, so that their boxes "
        "shrink and shift: such a box updates the position of its track but not its velocity. 0: "
        "every box updates both.",
    )
    gating: Literal["before", "after"] = Field(
        "before",
        description="When pairs under iou_threshold are ruled out: before the assignment, so that they cannot push "
        "good pairs aside, or after it, as in the SORT paper.",
    )
    reporting: Literal["confirmed", "streak"] = Field(
        "confirmed",
        description="confirmed: once a track has its ID, it is reported whenever it is matched. streak: as published "
        "SORT does, only while it was matched in at least min_hits updates in a row, not counting the detection that "
        "began it, and in any case during the first min_hits frames.",
    )

    boxes: Literal["auto", "detected", "filtered"] = Field(
        "auto",
        description="The box reported for a face. detected: the detection itself. filtered: as published SORT does, "
        "the motion model's estimate, which is steadier but lags behind. auto: the detection, unless the detector's "
        "boxes jump about in shape from frame to frame.",
    )

    @model_validator(mode="after")
    def _scores_in_order(self) -> Self:
        if self.low_score > self.high_score:
            raise ValueError(
                f"low_score ({self.low_score}) must not be above high_score ({self.high_score}): set them equal to "
                "leave out the second look"
            )
        return self

    @property
    def lookback(self) -> int:
        """Frames to hold results back for, so that the rows a track had before its ID get it too; 0 = not possible."""
        return self.min_hits - 1 if self.reporting == "confirmed" else 0


PLAIN_SORT = TrackerConfig(
    min_hits=3,
    max_age_s=0.0,
    max_age=1,
    rejoin_s=0.0,
    tentative_max_age=1,
    high_score=0.0,
    low_score=0.0,
    new_track_score=0.0,
    iou_threshold=0.3,
    reach=0.0,
    largest_size_ratio=0.0,
    confirmed_first=False,
    velocity_noise=1.0,
    noise_by_time=False,
    retrace=False,
    crowding_iou=0.0,
    gating="after",
    reporting="streak",
    boxes="filtered",
)
"""SORT as published, for comparison with the literature."""
