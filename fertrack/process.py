"""The main job: one video in; an annotated video, rows in the database and a report out."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from fertrack.build import build_pipeline
from fertrack.config import Settings, digest, to_toml
from fertrack.errors import ReportError, StorageError
from fertrack.outputs.plan import OutputPlan, database_url, plan_outputs
from fertrack.outputs.products import products_of
from fertrack.outputs.resume import close_run, run_to_resume, with_content
from fertrack.pipeline.pipeline import Pipeline, Progress
from fertrack.protocols import Sink, VideoSource
from fertrack.sinks.database import DatabaseSink, RunRecord
from fertrack.sinks.reidentifier import Reidentifier, build_reidentifier
from fertrack.sources import Buffered, open_source
from fertrack.storage.engine import Database, open_database
from fertrack.storage.people.persons import persons as ask_persons
from fertrack.storage.queries.timeline import episodes as ask_episodes
from fertrack.storage.queries.timeline import timeline as ask_timeline
from fertrack.types import RunSummary

if TYPE_CHECKING:
    import pandas as pd

    from fertrack.reporting.notebook.views import PersonView

__all__ = ["ProcessResult", "process_planned", "process_video", "run_record"]


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """Result of ``process_video``, with the first questions one asks of it.

    Attributes:
        run: ID of the run in the database.
        summary: frames, faces, tracks, time per stage.
        database_url: where the rows are, as ``open_database`` takes it.
        database_name: the same for people, without a password.
        video_path: the annotated video, or None.
        report_path: the HTML report, or None.
        csv_paths: the CSV files, if asked for.
    """

    run: int
    summary: RunSummary
    database_url: str = field(repr=False)  # it may hold a password
    database_name: str
    video_path: Path | None
    report_path: Path | None
    csv_paths: tuple[Path, ...] = ()

    def persons(self) -> pd.DataFrame:
        """One row per person found: by which tracks, when seen, and the share of time per expression estimate."""
        with open_database(self.database_url) as database, database.run(self.run) as run:
            return ask_persons(run)

    def timeline(self, track: int | None = None) -> pd.DataFrame:
        """One row per face and frame, of one person or of all."""
        with open_database(self.database_url) as database, database.run(self.run) as run:
            return ask_timeline(run, track=track)

    def episodes(self, track: int | None = None) -> pd.DataFrame:
        """One row per segment of time in which a person showed one expression."""
        with open_database(self.database_url) as database, database.run(self.run) as run:
            return ask_episodes(run, track=track)

    def person(self, who: int | str) -> PersonView:
        """One person, by the ID of a track, a name, "P3" or "ID 5": ``.timeline()``, ``.episodes()``, ``.plot()``.

        Raises:
            RunNotFoundError: the run has no such track or person.
        """
        from fertrack.reporting.notebook.views import PersonView

        return PersonView.find(self.database_url, self.run, who)

    def _repr_html_(self) -> str:
        from fertrack.reporting.notebook.views import run_html

        files = [path for path in (self.video_path, self.report_path) if path]
        return run_html(self.database_url, self.run, [*files, *self.csv_paths])


def process_video(
    video: str | Path,
    out: str | Path = "fertrack-out",
    *,
    settings: Settings | None = None,
    overwrite: bool = False,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> ProcessResult:
    """Process one video: who showed which expression, when, for how long, and how sure we are.

    Args:
        video: a video file, a picture, or a folder of pictures.
        out: folder for the outputs; or, if it ends in a video suffix, the annotated video itself.
        settings: all options; the defaults if None.
        overwrite: replace outputs of the same name.
        resume: go on with the newest run of this video, which was cut off; its outputs are replaced.
        on_progress: called after every frame.

    Returns:
        Where everything is, and DataFrames of the result.

    Raises:
        FertrackError: one sentence about what is wrong; see ``fertrack.errors``.

    >>> result = process_video("demo.mp4")                      # doctest: +SKIP
    >>> result.timeline(track=1)[["time_s", "label", "probability"]]  # doctest: +SKIP
    """
    settings = settings or Settings()
    (plan,) = plan_outputs([str(video)], Path(out), settings, overwrite=overwrite or resume)
    pipeline, reidentifier = build_pipeline(settings), build_reidentifier(settings.linking)
    with open_database(database_url(settings, Path(out)), create=True) as database:
        return process_planned(
            plan,
            pipeline,
            database,
            settings,
            reidentifier=reidentifier,
            overwrite=overwrite,
            resume=resume,
            on_progress=on_progress,
        )


def process_planned(
    plan: OutputPlan,
    pipeline: Pipeline,
    database: Database,
    settings: Settings,
    *,
    reidentifier: Reidentifier | None = None,
    overwrite: bool = False,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    watching: Sequence[Sink] = (),
) -> ProcessResult:
    """Run one planned video through a pipeline that is already built (see ``process_video``).

    With a ``reidentifier``, tracks are linked to persons at the end. The annotated video is drawn before that is known,
    each track as a person; where somebody came back, ``fertrack.render`` draws it again. ``watching`` are sinks that
    are shown the run besides, such as a window.

    Until all is complete, what the networks saw stays stored, so that the run can be resumed: it then has the rows and
    pictures of a run that nothing has disturbed.

    Raises:
        OutputExistsError: a run of the same was cut off, and neither ``resume`` nor ``overwrite`` says what to do.
        StorageError: there is no run to resume, or it was made of something else.
    """
    source: VideoSource = Buffered(open_source(plan.location, settings.input), settings.input.prefetch)
    record = with_content(run_record(settings, pipeline), plan.location)
    if plan.video and not settings.video.anonymise:
        record = replace(record, video=plan.video, video_config=settings.video)
    resumed = run_to_resume(database, source.info, record, overwrite=overwrite, resume=resume)
    overwrite = overwrite or resume
    store = DatabaseSink(database, source.info, record, settings.storage, resume=resumed)
    products = products_of(plan, source.info, database, settings, reidentifier=reidentifier, overwrite=overwrite)
    sinks = [sink for product in products if (sink := product.sink()) is not None]
    try:  # the database is finished last, so that it records how the others ended
        summary = pipeline.run(source, [*watching, *sinks, store], on_progress=on_progress, journal=store)
    except BaseException:
        if store.is_open:
            for product in products:
                with contextlib.suppress(StorageError):  # what ended the run is what must be told
                    product.rescue(database, store.run_id)
        raise
    for product in products:
        try:
            notes = product.complete(database, store.run_id, summary)
        except ReportError as error:
            raise ReportError(
                f"{error}; all else of run {store.run_id} is complete: make room, then "
                f"'fertrack report {store.run_id}' with --db {database.name}"
            ) from error
        summary = replace(summary, notes=(*summary.notes, *notes))
    close_run(database, store.run_id, summary)
    return ProcessResult(
        run=store.run_id,
        summary=summary,
        database_url=database.url,
        database_name=database.name,
        video_path=plan.video if plan.video and plan.video.exists() else None,
        report_path=plan.report,
        csv_paths=tuple(plan.csv_files),
    )


def run_record(settings: Settings, pipeline: Pipeline) -> RunRecord:
    """Record of a run's settings and networks, as it is stored."""
    settings = _as_chosen(settings, pipeline)
    record = RunRecord(
        config_toml=to_toml(_without_address(settings)),
        config_digest=digest(settings),
        detector=pipeline.analyzer.detector.fingerprint,
        classifier=pipeline.analyzer.classifier.fingerprint,
        calibration=pipeline.calibrator.record,
        fertrack_version=version("fertrack"),
        purpose=settings.privacy.purpose,
        consent=settings.privacy.consent,
        privacy_override=settings.privacy.override,
        retention_days=settings.privacy.retention_days,
    )
    linking = settings.linking.model_dump(mode="json")
    calibration = record.calibration.to_json() if record.calibration else {}
    made_with = (record.config_digest, record.detector, record.classifier, calibration, linking)
    canonical = json.dumps(made_with, sort_keys=True)
    stated = settings.recording.model_dump()
    recording = replace(record.recording, **stated, made_with=hashlib.sha256(canonical.encode()).hexdigest())
    return replace(record, recording=recording)


def _as_chosen(settings: Settings, pipeline: Pipeline) -> Settings:
    """The settings with the detector's arithmetic as it was chosen here: elsewhere, "auto" may mean the other one."""
    options = getattr(pipeline.analyzer.detector, "options", None)
    precision = getattr(options, "precision", None)
    if precision is None:
        return settings
    return settings.model_copy(update={"detection": settings.detection.model_copy(update={"precision": precision})})


def _without_address(settings: Settings) -> Settings:
    """The settings as they are stored with a run: a database's URL may hold a password, and says nothing about rows."""
    return settings.model_copy(update={"storage": settings.storage.model_copy(update={"url": ""})})
