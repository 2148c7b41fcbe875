"""Resources of a live run: opened before it begins, and closed after it."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass

from fertrack.build import build_pipeline
from fertrack.config import Settings
from fertrack.files import make_folder
from fertrack.live.budget import AnalysisSchedule, BudgetController, input_sizes
from fertrack.live.capture import Capture
from fertrack.live.config import LiveConfig
from fertrack.live.options import LiveOptions
from fertrack.outputs.plan import database_url
from fertrack.pipeline.pipeline import Pipeline
from fertrack.protocols import VideoSource
from fertrack.sinks.reid import ReidSink
from fertrack.sinks.reidentifier import Reidentifier, build_reidentifier
from fertrack.sources import open_live_source
from fertrack.storage.engine import Database, open_database

__all__ = ["Resources", "open_live_run"]


@dataclass(frozen=True, slots=True, eq=False)
class Resources:
    """Everything that a live run needs and has to close again.

    Attributes:
        pipeline: analyses, with ``live=True``.
        schedule: what is asked of each frame.
        source: where images come from.
        capture: what is to read it; not started.
        reidentifier: finds out who is who; None where linking is off.
        database: where results go; None where nothing is stored.
    """

    pipeline: Pipeline
    schedule: AnalysisSchedule
    source: VideoSource
    capture: Capture
    reidentifier: Reidentifier | None
    database: Database | None

    def reid_sink(self) -> ReidSink | None:
        """Sink of re-identification, also among the persons that the database knows; None where it is off."""
        if self.reidentifier is None:
            return None
        if self.database is not None:
            return self.reidentifier.sink(self.database, live=True)
        return ReidSink(self.reidentifier.embedder, self.reidentifier.config, live=True)

    def close(self) -> None:
        """Close the source, the reidentifier and the database. May be called more than once."""
        self.source.close()
        if self.reidentifier is not None:
            self.reidentifier.close()
        if self.database is not None:
            self.database.close()


def open_live_run(
    settings: Settings,
    location: str | int,
    options: LiveOptions,
    closing: threading.Event,
    *,
    pipeline: Pipeline | None,
    source: VideoSource | None,
) -> Resources:
    """Load the models, and open the database and the source; what was opened is closed again if the rest cannot be.

    Args:
        settings: all options.
        location: camera index, URL, or path of a video file.
        options: of the run.
        closing: set from any thread, it ends waiting for a source.
        pipeline: use this one.
        source: use this one; closed, too, if the rest cannot be opened.

    Raises:
        ConfigError: an option does not fit.
        WeightsError: weights are missing.
        StorageError: the database cannot be opened.
        VideoOpenError: the source cannot be opened.
    """
    pipeline = pipeline or build_pipeline(settings, live=True)
    with ExitStack() as undo:
        if source is not None:
            undo.callback(source.close)
        reidentifier = build_reidentifier(settings.linking, live=True)
        if reidentifier is not None:
            undo.callback(reidentifier.close)
        database = None
        if options.store:
            make_folder(options.out)
            database = open_database(database_url(settings, options.out), create=True)
            undo.callback(database.close)
        if source is None:
            source = open_live_source(
                location,
                realtime=options.realtime,
                config=settings.stream,
                input_config=settings.input,
                closing=closing,
            )
            undo.callback(source.close)
        fixed = options.fixed or settings.live.fixed
        schedule = AnalysisSchedule(None if fixed else _controller(settings.live, pipeline))
        resources = Resources(pipeline, schedule, source, Capture(source), reidentifier, database)
        undo.pop_all()
    return resources


def _controller(live: LiveConfig, pipeline: Pipeline) -> BudgetController:
    options = getattr(pipeline.analyzer.detector, "options", None)
    own = getattr(options, "long_side", 0)
    sizes = input_sizes(own) if own and pipeline.analyzer.resizable else ()
    display_fps = min(live.display_fps, live.most_display_fps)
    return BudgetController(display_fps=display_fps, results_hz=live.results_hz, sizes=sizes)
