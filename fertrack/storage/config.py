"""Options of the database. Apart from the engine, so that reading a configuration loads no database library."""

from __future__ import annotations

from pydantic import Field

from fertrack.stage_config import StageConfig

__all__ = ["LONGEST_BREAK_S", "LONGEST_GAP_S", "SHORTEST_EPISODE_S", "StorageConfig"]


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
