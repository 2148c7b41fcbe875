"""Products of a run: each feeds on the frame loop, is completed after it, or both; one class each.

What is made after the run is imported only then, so that the run begins sooner.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fertrack.config import Settings
from fertrack.errors import FertrackError
from fertrack.imaging.track_labels import NO_NAMES, NumberNames
from fertrack.outputs.plan import OutputPlan
from fertrack.protocols import Sink
from fertrack.reporting.config import ReportConfig
from fertrack.sinks.reidentifier import Reidentifier
from fertrack.sinks.thumbnails import ThumbnailSink
from fertrack.sinks.video import AnnotatedVideoSink, VideoOutputConfig
from fertrack.storage.engine import Database
from fertrack.storage.people.thumbnails import store_thumbnails
from fertrack.storage.written_files import DrawnVideo, record_output
from fertrack.types import RunSummary, VideoInfo

__all__ = [
    "AnnotatedVideo",
    "Csv",
    "DeferredVideo",
    "Persons",
    "Portraits",
    "Product",
    "Report",
    "products_of",
]

_MAX_TOLD = 20


class Product(Protocol):
    """One product of a run, used once: ``sink``, then ``complete`` or ``rescue``."""

    def sink(self) -> Sink | None:
        """Its part of the frame loop; None: it has none."""
        ...

    def complete(self, database: Database, run: int, summary: RunSummary) -> Sequence[str]:
        """Complete it once the run is stored.

        Args:
            database: where the run is stored.
            run: its number.
            summary: of the frame loop.

        Returns:
            Sentences that the user must see.

        Raises:
            FertrackError: it could not be completed; the run itself is stored.
        """
        ...

    def rescue(self, database: Database, run: int) -> None:
        """Store what there is of it after the run has failed or was killed.

        Raises:
            StorageError: it could not be stored.
        """
        ...


class _AfterRun:
    """A product that is made of what is stored: nothing of it is there before the run is complete."""

    def sink(self) -> None:
        """None."""
        return

    def rescue(self, database: Database, run: int) -> None:
        """Nothing."""


class Persons:
    """Persons that tracks are linked to."""

    def __init__(self, reidentifier: Reidentifier, database: Database) -> None:
        self._reidentifier = reidentifier
        self._sink = reidentifier.sink(database)

    def sink(self) -> Sink:
        """The sink that compares faces."""
        return self._sink

    def complete(self, database: Database, run: int, summary: RunSummary) -> Sequence[str]:
        """Store the links."""
        self._reidentifier.store(database, run, self._sink)
        return ()

    def rescue(self, database: Database, run: int) -> None:
        """Store the links, if they were found before something else failed."""
        if self._sink.plan is not None:
            self._reidentifier.store(database, run, self._sink)


class Portraits:
    """A thumbnail of each person; to be completed after the persons."""

    def __init__(self) -> None:
        self._sink = ThumbnailSink()

    def sink(self) -> Sink:
        """The sink that keeps each track's best face."""
        return self._sink

    def complete(self, database: Database, run: int, summary: RunSummary) -> Sequence[str]:
        """Store one of each person."""
        store_thumbnails(database, run, self._sink.best)
        return ()

    def rescue(self, database: Database, run: int) -> None:
        """Nothing: who is who is not known."""


class AnnotatedVideo:
    """The annotated video, drawn during the run with each track as a person of its own.

    Persons get their numbers in the order in which tracks begin. So the video is right unless somebody came back, or is
    known from an earlier run; then it is drawn again from the stored rows, without another analysis.
    """

    def __init__(
        self, path: Path, info: VideoInfo, config: VideoOutputConfig, *, overwrite: bool, linked: bool
    ) -> None:
        self._path = path
        self._config = config
        self._names = NumberNames() if linked else NO_NAMES
        self._sink = AnnotatedVideoSink(path, info, config, overwrite=overwrite, names=self._names)
        self._began_s = 0.0

    def sink(self) -> Sink:
        """The sink that draws and encodes."""
        self._began_s = time.time()
        return self._sink

    def complete(self, database: Database, run: int, summary: RunSummary) -> Sequence[str]:
        """Record the finished file, drawn again if persons are not whom it shows."""
        with database.run(run) as stored:
            tracks, labels = stored.subjects.first_tracks(), stored.subjects.labels()
        drawn = {track: self._names.get(track, f"ID {track}") for track in tracks}
        called = {track: labels.get(track, f"ID {track}") for track in tracks}
        other = [f"{drawn[track]} is {called[track]}" for track in tracks if drawn[track] != called[track]]
        made = DrawnVideo(self._config, persons=bool(labels) and not other, own_ids=True, frames=summary.frames)
        notes: Sequence[str] = ()
        if other and self._path.exists():
            from fertrack.render import render_run

            try:
                return render_run(database, run, self._path, self._config, overwrite=True, anonymise=False).notes
            except FertrackError as error:
                told = ", ".join(other[:_MAX_TOLD])
                notes = [f"the annotated video shows people as before they were linked ({told}): {error}"]
        record_output(database, run, self._path, made)
        return notes

    def rescue(self, database: Database, run: int) -> None:
        """Record the file if this run wrote any of it, since that shows people too."""
        if _is_newer(self._path, self._began_s):
            record_output(database, run, self._path, DrawnVideo(self._config))


class DeferredVideo(_AfterRun):
    """The anonymised video, drawn after the run: hiding a face before it is first found needs the whole run."""

    def __init__(self, path: Path, config: VideoOutputConfig, *, overwrite: bool) -> None:
        self._path = path
        self._config = config
        self._overwrite = overwrite

    def complete(self, database: Database, run: int, summary: RunSummary) -> Sequence[str]:
        """Draw it from the stored rows."""
        from fertrack.render import render_run

        return render_run(database, run, self._path, self._config, overwrite=self._overwrite, anonymise=True).notes


class Report(_AfterRun):
    """The HTML report."""

    def __init__(self, path: Path, config: ReportConfig, *, overwrite: bool) -> None:
        self._path = path
        self._config = config
        self._overwrite = overwrite

    def complete(self, database: Database, run: int, summary: RunSummary) -> Sequence[str]:
        """Write it from the stored rows."""
        from fertrack.reporting.html.run_page import write_html

        write_html(database, run, self._path, self._config, overwrite=self._overwrite)
        return ()


class Csv(_AfterRun):
    """The CSV files."""

    def __init__(self, folder: Path, stem: str, config: ReportConfig, *, overwrite: bool) -> None:
        self._folder = folder
        self._stem = stem
        self._config = config
        self._overwrite = overwrite

    def complete(self, database: Database, run: int, summary: RunSummary) -> Sequence[str]:
        """Write them from the stored rows."""
        from fertrack.reporting.exports.csv_export import write_csv

        write_csv(database, run, self._folder, self._stem, self._config, overwrite=self._overwrite)
        return ()


def products_of(
    plan: OutputPlan,
    info: VideoInfo,
    database: Database,
    settings: Settings,
    *,
    reidentifier: Reidentifier | None,
    overwrite: bool,
) -> list[Product]:
    """The products that a plan and its settings ask for, in the order in which they finish.

    Args:
        plan: where they go.
        info: the source.
        database: where persons of earlier runs are stored.
        settings: all options.
        reidentifier: links tracks to persons; None: they are not linked.
        overwrite: replace files of the same name.

    Raises:
        StorageError: the database cannot be read or written.
    """
    products: list[Product] = []
    if reidentifier is not None:
        products.append(Persons(reidentifier, database))
    if settings.privacy.thumbnails:
        products.append(Portraits())
    if plan.video and settings.video.anonymise:
        products.append(DeferredVideo(plan.video, settings.video, overwrite=overwrite))
    elif plan.video:
        linked = reidentifier is not None
        products.append(AnnotatedVideo(plan.video, info, settings.video, overwrite=overwrite, linked=linked))
    if plan.report:
        products.append(Report(plan.report, settings.report, overwrite=overwrite))
    if plan.csv_folder:
        products.append(Csv(plan.csv_folder, plan.stem, settings.report, overwrite=overwrite))
    return products


def _is_newer(path: Path, time_s: float) -> bool:
    """Whether a file is there and was written after a time."""
    try:
        return path.stat().st_mtime >= time_s
    except OSError:
        return False
