"""Options of the database. Apart from the engine, so that reading a configuration loads no database library."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from fertrack.stage_config import StageConfig

__all__ = ["LONGEST_BREAK_S", "LONGEST_GAP_S", "SHORTEST_EPISODE_S", "RecordingConfig", "StorageConfig"]


class RecordingConfig(StageConfig):
    """Facts about the recording, stored with the run: by them runs are chosen and grouped."""

    participant: str = Field("", max_length=100, description="Code of who was recorded; better no name.")
    session: str = Field("", max_length=100, description="Which of their sessions.")
    condition: str = Field("", max_length=100, description="Experimental condition of the recording.")

    @field_validator("*", mode="before")
    @classmethod
    def _one_line(cls, text: Any) -> Any:
        return " ".join(str(text).split()) if isinstance(text, str | int) and not isinstance(text, bool) else text


class StorageConfig(StageConfig):
    """Where results are stored and how often they are written."""

    url: str = Field(
        "",
        repr=False,  # it may hold a password
        description="Database file, or URL such as postgresql://user@host/name; empty: fertrack.db beside the outputs.",
    )
    batch_rows: int = Field(
        1000, ge=1, le=100_000, description="Maximum number of rows (frames and faces) written in one transaction."
    )
    flush_s: float = Field(
        1.0, gt=0.0, le=60.0, description="Longest time between transactions while frames arrive, seconds."
    )


SHORTEST_EPISODE_S = 0.2
"""Shorter episodes are passed over: a handful of frames at the edge of two expressions."""


LONGEST_GAP_S = 0.5
"""Time uncertain or not seen that interrupts an episode for no longer than this does not end it."""


LONGEST_BREAK_S = 1.0
"""After a longer time between two episodes nobody knows what came between, so it is no transition."""
