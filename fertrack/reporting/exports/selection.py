"""Selection of a run's rows and episodes for an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fertrack.reporting.config import ReportConfig

if TYPE_CHECKING:
    from fertrack.storage.stored_run import StoredRun

__all__ = ["Selection"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Run, person and episode options of one export.

    Attributes:
        run: the run, at one moment.
        track: only this person's track; None: everybody's.
        config: what counts as an episode, and rates.
        only: write only the file of this name, if several belong together; all if empty.
    """

    run: StoredRun
    track: int | None
    config: ReportConfig
    only: str = ""
