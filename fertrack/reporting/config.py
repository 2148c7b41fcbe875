"""Options of the files written besides the annotated video and the database."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fertrack.stage_config import StageConfig
from fertrack.storage.config import LONGEST_GAP_S, SHORTEST_EPISODE_S

__all__ = ["ReportConfig"]


class ReportConfig(StageConfig):
    """Options of the HTML report and of the CSV export."""

    html: bool = Field(True, description="Write the HTML report: one file that opens offline.")
    title: str = Field("", max_length=200, description="Title of the HTML report; the video's name if empty.")
    note: str = Field("", max_length=5000, description="Text that stands under the title of the HTML report.")
    csv: bool = Field(False, description="Write two CSV files: every face of every frame, and every episode.")
    min_episode_s: float = Field(
        SHORTEST_EPISODE_S,
        ge=0.0,
        le=60.0,
        description="Shortest episode of one expression that is listed and drawn, seconds.",
    )
    max_gap_s: float = Field(
        LONGEST_GAP_S,
        ge=0.0,
        le=60.0,
        description="Longest time without a face that neither ends an episode nor breaks a line, seconds.",
    )
    max_points: int = Field(
        1500,
        ge=100,
        le=20_000,
        description="Maximum number of points per line; longer lines keep the lowest and highest value of each "
        "time slice.",
    )
    max_charts: int = Field(
        30,
        ge=1,
        le=200,
        description="Maximum number of persons with a chart of their own, longest visible first; all persons are "
        "in the tables.",
    )
    video: Literal["none", "link", "embed"] = Field(
        "none",
        description="Play the video in the report: by a link to its file, or embedded; then it is in the report.",
    )
    max_embed_mb: float = Field(
        50.0, gt=0.0, le=2000.0, description="Largest video file that is embedded, in millions of bytes."
    )
    thumbnails: bool = Field(
        False, description="Show the stored image of each person's face in the report, if the run kept them."
    )
    wide_hz: float = Field(
        0.0,
        ge=0.0,
        le=1000.0,
        description="Rows per second of the export wide; 0: as many as the video has frames.",
    )
