"""Progress of a batch on stderr: how many files have ended, and how far those under way are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from fertrack.cli.output import err_console

if TYPE_CHECKING:
    from fertrack.batch.workers import Job
    from fertrack.pipeline.pipeline import Progress as RunProgress

__all__ = ["BatchProgress", "batch_progress"]


class BatchProgress:
    """Progress of a batch; nothing is drawn where stderr is no terminal.

    Args:
        bar: what is drawn.
        jobs: the files.
    """

    def __init__(self, bar: Progress, jobs: Sequence[Job]) -> None:
        self._bar = bar
        self._jobs = jobs
        self._every = bar.add_task("all files", total=len(jobs), fps="")
        self._tasks: dict[int, TaskID] = {}

    def update(self, place: int, progress: RunProgress) -> None:
        """Show how far one file is."""
        job = self._jobs[place]
        if place not in self._tasks:
            self._tasks[place] = self._bar.add_task(Path(job.plan.location).name, total=None, fps="")
        from_s = job.settings.input.from_s
        end_s = min(progress.duration_s or math.inf, job.settings.input.to_s or math.inf)
        fps = progress.frames / progress.elapsed_s if progress.elapsed_s else 0.0
        self._bar.update(
            self._tasks[place],
            completed=progress.timestamp_s - from_s,
            total=end_s - from_s if math.isfinite(end_s) else None,
            fps=f"{fps:.1f} fps",
        )

    def ended(self, place: int) -> None:
        """Count a file that has ended."""
        if place in self._tasks:
            self._bar.remove_task(self._tasks.pop(place))
        self._bar.advance(self._every)


@contextmanager
def batch_progress(jobs: Sequence[Job]) -> Iterator[BatchProgress]:
    """Draw the progress of a batch while the block runs."""
    console = err_console()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=False),
        TextColumn("{task.fields[fps]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
        refresh_per_second=5,
    )
    with bar:
        yield BatchProgress(bar, jobs)
