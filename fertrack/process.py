"""The main job: one video in; an annotated video, rows in the database and a report out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fertrack.build import build_pipeline
from fertrack.config import Settings, digest, to_toml
from fertrack.errors import ConfigError, OutputExistsError, ReportError, StorageError
from fertrack.files import make_folder
from fertrack.pipeline.pipeline import Pipeline, Progress
from fertrack.protocols import Sink, VideoSource
from fertrack.render import render_run
from fertrack.reporting.exports.csv_export import csv_paths, write_csv
from fertrack.reporting.html.run_page import write_html
from fertrack.rights.purpose import check_stated
from fertrack.sinks.database import DatabaseSink, RunRecord
from fertrack.sinks.relinker import Relinker, build_relinker
from fertrack.sinks.thumbnails import ThumbnailSink
from fertrack.sinks.video import AnnotatedVideoSink
from fertrack.sources import Buffered, open_source
from fertrack.storage.engine import Database, open_database
from fertrack.storage.people.persons import persons as ask_persons
from fertrack.storage.people.thumbnails import store_thumbnails
from fertrack.storage.queries.timeline import episodes as ask_episodes
from fertrack.storage.queries.timeline import timeline as ask_timeline
from fertrack.storage.written_files import record_output
from fertrack.types import RunSummary

if TYPE_CHECKING:
    import pandas as pd

    from fertrack.reporting.notebook.views import PersonView

__all__ = [
    "OutputPlan",
    "ProcessResult",
    "database_url",
    "plan_outputs",
    "process_planned",
    "process_video",
    "run_record",
]


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """Where the outputs of one video go. A path is None where that output is not wanted.

    Attributes:
        location: the video, as given.
        video: the annotated video.
        report: the HTML report.
        csv_folder: folder of the CSV files, which are named after ``stem``.
        stem: name the outputs share.
    """

    location: str
    stem: str
    video: Path | None
    report: Path | None
    csv_folder: Path | None

    @property
    def files(self) -> list[Path]:
        """Every file that will be written."""
        files = [path for path in (self.video, self.report) if path]
        return files + (csv_paths(self.csv_folder, self.stem) if self.csv_folder else [])


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
    on_progress: Callable[[Progress], None] | None = None,
) -> ProcessResult:
    """Process one video: who showed which expression, when, for how long, and how sure we are.

    Args:
        video: a video file, a picture, or a folder of pictures.
        out: folder for the outputs; or, if it ends in a video suffix, the annotated video itself.
        settings: all options; the defaults if None.
        overwrite: replace outputs of the same name.
        on_progress: called after every frame.

    Returns:
        Where everything is, and DataFrames of the result.

    Raises:
        FertrackError: one sentence about what is wrong; see ``fertrack.errors``.

    >>> result = process_video("demo.mp4")                      # doctest: +SKIP
    >>> result.timeline(track=1)[["time_s", "label", "probability"]]  # doctest: +SKIP
    """
    settings = settings or Settings()
    (plan,) = plan_outputs([str(video)], Path(out), settings, overwrite=overwrite)
    pipeline, relinker = build_pipeline(settings), build_relinker(settings.linking)
    with open_database(database_url(settings, Path(out)), create=True) as database:
        return process_planned(
            plan, pipeline, database, settings, relinker=relinker, overwrite=overwrite, on_progress=on_progress
        )


def database_url(settings: Settings, out: Path) -> str:
    """The database named in the settings, or ``fertrack.db`` in the output folder."""
    return settings.storage.url or str(_out_folder(out) / "fertrack.db")


def plan_outputs(locations: Sequence[str], out: Path, settings: Settings, *, overwrite: bool) -> list[OutputPlan]:
    """Name the outputs of every video and make their folder, before any work starts.

    Raises:
        ConfigError: a purpose has to be stated and is not, or ``out`` names one video where that cannot be.
        OutputExistsError: an output is already there and ``overwrite`` is False.
        StorageError: the output folder cannot be made.
    """
    check_stated(settings.privacy)
    folder = _out_folder(out)
    if out != folder and (len(locations) > 1 or not settings.video.enabled):
        why = "there are several videos" if len(locations) > 1 else "no video is written"
        raise ConfigError(f"-o {out} names one annotated video, but {why}: name a folder")
    plans = []
    for location, name in zip(locations, _distinct_names(locations), strict=True):
        video = folder / f"{name}.annotated{settings.video.suffix}"
        if out != folder and len(locations) == 1:
            video = out
        plans.append(
            OutputPlan(
                location=location,
                stem=name,
                video=video if settings.video.enabled else None,
                report=folder / f"{name}.report.html" if settings.report.html else None,
                csv_folder=folder if settings.report.csv else None,
            )
        )
    for plan in plans:
        source = Path(plan.location)
        for path in plan.files:
            if path.exists() and source.exists() and path.samefile(source):
                raise OutputExistsError(f"{path} is the video that is to be read: choose another name for the output")
            if path.exists() and not overwrite:
                raise OutputExistsError(f"{path} is already there: use --overwrite, or another folder with -o")
    make_folder(folder)
    return plans


def _distinct_names(locations: Sequence[str]) -> list[str]:
    """A short name for each video's outputs: its stem, with suffix or folder where others share it."""
    paths = [Path(location).resolve() for location in locations]
    candidates = [
        [path.stem, path.name, f"{path.parent.name}-{path.name}", f"{number}-{path.name}"]
        for number, path in enumerate(paths, start=1)
    ]
    names = [forms[0] for forms in candidates]
    for form in range(1, 4):
        shared = {name for name in names if names.count(name) > 1}
        names = [forms[form] if name in shared else name for name, forms in zip(names, candidates, strict=True)]
    return names


def process_planned(
    plan: OutputPlan,
    pipeline: Pipeline,
    database: Database,
    settings: Settings,
    *,
    relinker: Relinker | None = None,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> ProcessResult:
    """Run one planned video through a pipeline that is already built (see ``process_video``).

    With a ``relinker``, tracks are linked to persons at the end. The annotated video is drawn before that is known,
    with track IDs; ``fertrack.render`` draws it again with persons.
    """
    source: VideoSource = Buffered(open_source(plan.location, settings.input), settings.input.prefetch)
    drawn_later = settings.video.anonymise  # what hides a face before it is found needs the whole run
    record = run_record(settings, pipeline)
    if plan.video and not drawn_later:
        record = replace(record, video=str(plan.video), video_options=_drawn_by_run(settings))
    store = DatabaseSink(database, source.info, record, settings.storage)
    sinks: list[Sink] = [store]  # the database is finished last, so that it records how the others ended
    if plan.video and not drawn_later:
        sinks.insert(0, AnnotatedVideoSink(plan.video, source.info, settings.video, overwrite=overwrite))
    linking = relinker.sink(database) if relinker else None
    if linking:
        sinks.insert(0, linking)
    portraits = ThumbnailSink() if settings.privacy.thumbnails else None
    if portraits:
        sinks.insert(0, portraits)
    began = time.time()
    try:
        summary = pipeline.run(source, sinks, on_progress=on_progress)
    except BaseException:
        if plan.video and not drawn_later and _is_newer(plan.video, began):  # what there is of it shows people too
            with contextlib.suppress(ValueError):  # the database was not opened
                record_output(database, store.run_id, plan.video, "video", _drawn_by_run(settings))
        if relinker and linking and linking.plan is not None:  # who is who was found out before something else failed
            with contextlib.suppress(StorageError):
                relinker.store(database, store.run_id, linking)
        raise
    if relinker and linking:
        relinker.store(database, store.run_id, linking)
    if portraits:
        store_thumbnails(database, store.run_id, portraits.best)
    if plan.video and drawn_later:
        drawn = render_run(database, store.run_id, plan.video, settings.video, overwrite=overwrite, anonymise=True)
        summary = replace(summary, notes=(*summary.notes, *drawn.notes))
    elif plan.video:
        options = {**_drawn_by_run(settings), "frames": summary.frames}
        record_output(database, store.run_id, plan.video, "video", options)
    report_path = None
    csv_written: list[Path] = []
    try:
        if plan.report:
            report_path = write_html(database, store.run_id, plan.report, settings.report, overwrite=overwrite)
        if plan.csv_folder:
            csv_written = write_csv(
                database, store.run_id, plan.csv_folder, plan.stem, settings.report, overwrite=overwrite
            )
    except ReportError as error:
        raise ReportError(
            f"{error}; all else of run {store.run_id} is complete: make room, then "
            f"'fertrack report {store.run_id}' with --db {database.name}"
        ) from error
    return ProcessResult(
        run=store.run_id,
        summary=summary,
        database_url=database.url,
        database_name=database.name,
        video_path=plan.video if plan.video and plan.video.exists() else None,
        report_path=report_path,
        csv_paths=tuple(csv_written),
    )


def _is_newer(path: Path, time_s: float) -> bool:
    """Whether a file is there and was written after a time."""
    try:
        return path.stat().st_mtime >= time_s
    except OSError:
        return False


def _drawn_by_run(settings: Settings) -> dict[str, Any]:
    """With what a run draws its own video, as ``storage.outputs`` keeps it."""
    config = settings.video.model_dump(mode="json")
    return {"persons": False, "anonymised": False, "except": [], "config": config}


def run_record(settings: Settings, pipeline: Pipeline) -> RunRecord:
    """Record of a run's settings and networks, as it is stored."""
    settings = _as_chosen(settings, pipeline)
    return RunRecord(
        config_toml=to_toml(_without_address(settings)),
        config_digest=digest(settings),
        detector=pipeline.analyzer.detector.fingerprint,
        classifier=pipeline.analyzer.classifier.fingerprint,
        calibration=pipeline.calibrator.describe(),
        fertrack_version=version("fertrack"),
        purpose=settings.privacy.purpose,
        consent=settings.privacy.consent,
        privacy_override=settings.privacy.override,
        retention_days=settings.privacy.retention_days,
    )


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


_VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm"}


def _out_folder(out: Path) -> Path:
    return out.parent if out.suffix.lower() in _VIDEO_SUFFIXES and not out.is_dir() else out
