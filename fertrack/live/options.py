"""Options of one live run, besides the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["LiveOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """Wishes of one live run.

    Attributes:
        realtime: play a file at its own speed (a file is never read live otherwise).
        record: record what is displayed into this file from the first frame on.
        store: write results to the database.
        duration_s: end after so many seconds, counted from the first frame; None: not by itself.
        fixed: adapt nothing (also ``live.fixed``).
        out: folder of the database and of recordings that are given no path.
        overwrite: replace ``record`` if it is there.
        display: draw images at all; without, there is nothing to view or record.

    Raises:
        ValueError: ``duration_s`` is not above 0, or ``record`` is asked for without ``display``.
    """

    realtime: bool = False
    record: Path | None = None
    store: bool = True
    duration_s: float | None = None
    fixed: bool = False
    out: Path = Path("fertrack-out")
    overwrite: bool = False
    display: bool = True

    def __post_init__(self) -> None:
        if self.duration_s is not None and not self.duration_s > 0.0:
            raise ValueError(f"duration_s must be above 0, got {self.duration_s}")
        if self.record is not None and not self.display:
            raise ValueError("record needs display: what is displayed is what is recorded")
