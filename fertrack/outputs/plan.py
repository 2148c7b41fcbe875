"""Plan of a video's outputs: named, and refused where something is in their way, before any work starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fertrack.config import Settings
from fertrack.errors import OutputExistsError, WrongUsageError
from fertrack.files import make_folder
from fertrack.rights.purpose import check_stated

__all__ = ["OutputPlan", "check_outputs", "database_url", "name_outputs", "out_folder", "plan_outputs"]


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
