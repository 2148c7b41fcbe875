"""Selection of a run's rows and episodes for an export."""

from __future__ import annotations

from dataclasses import dataclass

from fertrack.reporting.config import ReportConfig

__all__ = ["Selection"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Run, person and episode options of one export.

    Attributes:
        run: ID of the run.
        track: only this person's track; None: everybody's.
        config: shortest episode and longest gap.
        only: write only the file of this name, if several belong together; all if empty.
        rate_hz: rows per second of formats at an even rate; the video's own if None.
    """

    run: int
    track: int | None
    config: ReportConfig
    rate_hz: float | None = None
    only: str = ""
