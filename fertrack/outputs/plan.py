"""Plan of a video's outputs: named, and refused where something is in their way, before any work starts.

The database is asked only where a run was cut off, and loaded only then: it takes a third of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fertrack.config import Settings
from fertrack.errors import FertrackError, OutputExistsError, StorageError, WrongUsageError
from fertrack.files import make_folder
from fertrack.rights.purpose import check_stated

__all__ = [
    "OutputPlan",
    "check_outputs",
    "database_url",
    "name_outputs",
    "out_folder",
    "plan_or_offer",
    "plan_outputs",
    "run_named",
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
        return [*(path for path in (self.video, self.report) if path), *self.csv_files]

    @property
    def csv_files(self) -> list[Path]:
        """The CSV files that will be written."""
        if not self.csv_folder:
            return []
        from fertrack.reporting.exports.csv_export import csv_paths  # loads pandas

        return csv_paths(self.csv_folder, self.stem)


def database_url(settings: Settings, out: Path) -> str:
    """The database named in the settings, or ``fertrack.db`` in the output folder."""
    return settings.storage.url or str(out_folder(out) / "fertrack.db")


def plan_outputs(locations: Sequence[str], out: Path, settings: Settings, *, overwrite: bool) -> list[OutputPlan]:
    """Name the outputs of every video and make their folder, before any work starts.

    Raises:
        ConfigError: a purpose has to be stated and is not.
        WrongUsageError: ``out`` names one video where that cannot be.
        OutputExistsError: an output is already there and ``overwrite`` is False.
        StorageError: the output folder cannot be made.
    """
    plans = name_outputs(locations, out, [settings] * len(locations))
    for plan in plans:
        check_outputs(plan, overwrite=overwrite)
    make_folder(out_folder(out))
    return plans


def run_named(named: Sequence[str], out: Path, db: str, *, alone: bool) -> tuple[str, str]:
    """The video of a run that is to go on, and the run's options as TOML.

    Args:
        named: one video, whose newest run is meant; or a run's number, or "last".
        out: the output folder.
        db: the database; empty: the one in ``out``.
        alone: whether nothing was asked for that contradicts.

    Raises:
        WrongUsageError: several are named, or something contradicts.
        StorageError: there is no such run.
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.unfinished import newest_run_of

    if len(named) != 1 or not alone:
        raise WrongUsageError("--resume goes on with one run: name its video, its number or last, and no --overwrite")
    video = Path(named[0]).expanduser()
    with open_database(db or str(out_folder(out) / "fertrack.db")) as database:
        number = newest_run_of(database, str(video.absolute())) if video.exists() else named[0]
        if not number:
            raise StorageError(f"there is no run of {video} in {database.name}, so there is nothing to resume")
        with database.run(number) as run:
            return run.facts.source_path, run.facts.config_toml


def plan_or_offer(location: str, out: Path, settings: Settings, *, overwrite: bool, resume: bool) -> OutputPlan:
    """As ``plan_outputs``; where outputs are in the way because a run was cut off, the error offers to go on with it.

    Raises:
        OutputExistsError: an output is already there, and neither ``overwrite`` nor ``resume`` says what to do.
        FertrackError: see ``plan_outputs``.
    """
    try:
        return plan_outputs([location], out, settings, overwrite=overwrite or resume)[0]
    except OutputExistsError as error:
        from fertrack.storage.engine import open_database
        from fertrack.storage.unfinished import unfinished_run

        found = None
        with suppress(FertrackError), open_database(database_url(settings, out)) as database:
            found = unfinished_run(database, str(Path(location).absolute()), resume=False)
        if found is None:
            raise
        raise OutputExistsError(found.offer) from error


def name_outputs(locations: Sequence[str], out: Path, settings: Sequence[Settings]) -> list[OutputPlan]:
    """Name the outputs of every video, each with its own settings; nothing is looked at or made.

    Raises:
        ConfigError: a purpose has to be stated and is not, or ``out`` names one video where that cannot be.
    """
    for own in settings:
        check_stated(own.privacy, own.recording)
    folder = out_folder(out)
    if out != folder and (len(locations) > 1 or not all(own.video.enabled for own in settings)):
        why = "there are several videos" if len(locations) > 1 else "no video is written"
        raise WrongUsageError(f"-o {out} names one annotated video, but {why}: name a folder")
    plans = []
    for location, name, own in zip(locations, _distinct_names(locations), settings, strict=True):
        video = folder / f"{name}.annotated{own.video.suffix}"
        if out != folder and len(locations) == 1:
            video = out
        plans.append(
            OutputPlan(
                location=location,
                stem=name,
                video=video if own.video.enabled else None,
                report=folder / f"{name}.report.html" if own.report.html else None,
                csv_folder=folder if own.report.csv else None,
            )
        )
    return plans


def check_outputs(plan: OutputPlan, *, overwrite: bool) -> None:
    """Make sure that the outputs of a video may be written.

    Raises:
        OutputExistsError: one is the video itself; or is already there and ``overwrite`` is False.
    """
    source = Path(plan.location)
    for path in plan.files:
        if path.exists() and source.exists() and path.samefile(source):
            raise OutputExistsError(f"{path} is the video that is to be read: choose another name for the output")
        if path.exists() and not overwrite:
            raise OutputExistsError(f"{path} is already there: use --overwrite, or another folder with -o")


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


_VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm"}


def out_folder(out: Path) -> Path:
    """Folder of the outputs, where ``-o`` may name one video's file in it."""
    return out.parent if out.suffix.lower() in _VIDEO_SUFFIXES and not out.is_dir() else out
