"""Files written from each run, and with what: so that they can be written again without a person.

A record is one of a few types by what the file is (``Made``), each with what it was made with. They are stored as JSON
beside their kind, and read back here only.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field, TypeAdapter, ValidationError

from fertrack.errors import ConfigError, StorageError
from fertrack.reporting.config import ReportConfig
from fertrack.sinks.config import VideoOutputConfig
from fertrack.storage.engine import Database
from fertrack.storage.queries.epochs import EpochRule
from fertrack.storage.rights_models import Output

__all__ = [
    "Comparison",
    "CsvTable",
    "DatabaseCopy",
    "DrawnVideo",
    "EpochFigure",
    "Export",
    "LiveVideo",
    "Made",
    "OutputFile",
    "PersonFolder",
    "Report",
    "drawn_videos",
    "file_digest",
    "forget_output",
    "mark_stale",
    "outputs",
    "record_output",
    "store_marks",
    "store_output",
    "will_be",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DrawnVideo:
    """A run's annotated video, frame by frame as its source.

    Attributes:
        config: codec, quality, sound, debug panels.
        persons: whether it shows persons in place of track IDs.
        anonymised: whether faces in it are hidden.
        clear: tracks that are left clear all the same, ascending.
        frames: frames it has; 0: not known, as its run did not complete it.
        own_ids: whether labels were placed in the order of tracks, as now, and not of persons.
    """

    config: VideoOutputConfig = field(default_factory=VideoOutputConfig)
    persons: bool = False
    anonymised: bool = False
    clear: Annotated[tuple[int, ...], Field(alias="except")] = ()
    frames: int = 0
    own_ids: bool = False


@dataclass(frozen=True, slots=True)
class LiveVideo:
    """A recording of a live view.

    Attributes:
        offset_s: time of the run at which the file begins, s.
        shown_alike: groups of tracks that it shows as one person, whoever they turned out to be.
    """

    offset_s: float
    shown_alike: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The HTML report of a run.

    Attributes:
        config: its options.
        video: the file that it plays; None: none, or not known.
    """

    config: ReportConfig = field(default_factory=ReportConfig)
    video: Path | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A report on several runs, recorded for each of them: its options, and the runs in their order."""

    config: ReportConfig = field(default_factory=ReportConfig)
    runs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CsvTable:
    """One of a run's two CSV files.

    Attributes:
        stem: what their names begin with.
        track: the only track that it is about; None: all.
        config: how episodes are found.
    """

    stem: str
    track: int | None = None
    config: ReportConfig = field(default_factory=ReportConfig)


@dataclass(frozen=True, slots=True)
class Export:
    """A file of another export format.

    Attributes:
        format: one of ``reporting.exports.registry.FORMATS``.
        stem: what its name begins with.
        track: the only track that it is about; None: all.
        config: how episodes are found, and rates.
    """

    format: str
    stem: str
    track: int | None = None
    config: ReportConfig = field(default_factory=ReportConfig)


@dataclass(frozen=True, slots=True)
class EpochFigure:
    """A figure of epochs; its attributes are the arguments of ``storage.queries.epochs.epochs``."""

    rule: EpochRule = field(default_factory=EpochRule)
    marker: str | None = None
    by: str | None = None
    who: str | None = None
    expression: str | None = None


@dataclass(frozen=True, slots=True)
class PersonFolder:
    """A folder with what is held about one person, whose tracks in the run these are."""

    tracks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DatabaseCopy:
    """A copy of the whole database; belongs to no run."""


Made = DrawnVideo | LiveVideo | Report | Comparison | CsvTable | Export | EpochFigure | PersonFolder | DatabaseCopy

_KINDS: dict[type[Made], str] = {
    DrawnVideo: "video",
    LiveVideo: "video",
    Report: "report",
    Comparison: "comparison",
    CsvTable: "csv",
    Export: "export",
    EpochFigure: "figure",
    PersonFolder: "person",
    DatabaseCopy: "backup",
}
_ADAPTERS: dict[type[Made], TypeAdapter[Any]] = {made: TypeAdapter(made) for made in _KINDS}


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that was written from a run.

    Attributes:
        id: key of the record.
        run: number of the run; None for a copy of the whole database.
        path: absolute; where it was written.
        made: what it is, and what it was made with.
        digests: SHA-256 of the file as it was written; two, while a video is being replaced; empty for folders and
            copies of the database, and for a video that its run has not completed yet.
        written_at: aware, UTC.
        stale: whether it still shows somebody who has been erased; of a video: because it could not be seen to.
        uncorrected: whether it has the estimates where people gave labels.
        is_about_erased: whether it is about nobody but somebody who has been erased, so that it is to be deleted.
        names_erased: whether its name, or that of the video it plays, names somebody who has been erased.
    """

    id: int
    run: int | None
    path: Path
    made: Made = field(repr=False)
    digests: tuple[str, ...] = field(repr=False)
    written_at: dt.datetime
    stale: bool
    uncorrected: bool = False
    is_about_erased: bool = False
    names_erased: bool = False

    @property
    def kind(self) -> str:
        """Kind of file, in one word: video, report, comparison, csv, export, figure, person or backup."""
        return _KINDS[type(self.made)]

    @property
    def track(self) -> int | None:
        """The only track that it is about; None: the whole run."""
        return self.made.track if isinstance(self.made, CsvTable | Export) else None

    @property
    def is_rewritten(self) -> bool:
        """Whether it is written again from the database when somebody is erased: reports and exports."""
        return isinstance(self.made, Report | Comparison | CsvTable | Export | EpochFigure)

    @property
    def is_there(self) -> bool:
        """Whether something is still at ``path``."""
        return self.path.exists()

    @property
    def is_as_written(self) -> bool:
        """Whether the file is there, and nobody has changed it since it was written, as far as that can be told."""
        return self.is_there and (not self.digests or file_digest(self.path) in self.digests)


def record_output(db: Database, run: int | None, path: str | Path, made: Made) -> None:
    """Remember that a file was written from a run. Written again, it takes the place of the earlier record.

    The file is there in any case; if it cannot be recorded, a warning is logged.

    Args:
        db: the open database.
        run: number of the run; None for a copy of the whole database.
        path: the file, or the first of several that belong together.
        made: what it is, and what it was made with.
    """
    has_digest = not isinstance(made, PersonFolder | DatabaseCopy)
    digest = file_digest(Path(path)) if has_digest else ""  # before the database is locked: it takes a while
    try:
        with db.writing() as connection:
            store_output(connection, run, path, made, digest=digest, uncorrected=not db.corrected)
    except StorageError as error:
        logger.warning("%s is not remembered, so `fertrack person erase` will not know it: %s", path, error)


def store_output(
    connection: sa.Connection,
    run: int | None,
    path: str | Path,
    made: Made,
    *,
    digest: str,
    uncorrected: bool = False,
) -> None:
    """As ``record_output``, in a writing transaction; ``digest`` is one of ``OutputFile.digests``, or empty."""
    now = dt.datetime.now(dt.UTC)
    file = OutputFile(0, run, Path(path).absolute(), made, (digest,), now, stale=False, uncorrected=uncorrected)
    values = {"kind": file.kind, "options": _to_json(file), "digest": digest, "written_at": now, "stale": False}
    of_run = Output.run_id.is_(None) if run is None else Output.run_id == run
    is_this = sa.and_(of_run, Output.path == str(file.path))
    known = connection.execute(sa.update(Output).where(is_this).values(**values))
    if known.rowcount == 0:
        connection.execute(sa.insert(Output).values(run_id=run, path=str(file.path), **values))
    if not isinstance(made, Comparison):  # what another run had written there is gone; that one is about several runs
        connection.execute(sa.delete(Output).where(Output.path == str(file.path), sa.not_(is_this)))


def will_be(db: Database, output: OutputFile, digests: Sequence[str]) -> None:
    """Note what is, or is about to be, at an output's path: see ``OutputFile.digests``."""
    with db.writing() as connection:
        connection.execute(sa.update(Output).where(Output.id == output.id).values(digest=" ".join(digests)))


def mark_stale(db: Database, output: OutputFile, stale: bool) -> None:
    """Note whether an output shows somebody who has been, or is about to be, erased."""
    with db.writing() as connection:
        connection.execute(sa.update(Output).where(Output.id == output.id).values(stale=stale))


def store_marks(connection: sa.Connection, file: OutputFile) -> None:
    """Store what is noted about a file because of an erasure: ``stale``, ``is_about_erased``, ``names_erased``."""
    values = {"stale": file.stale, "options": _to_json(file)}
    connection.execute(sa.update(Output).where(Output.id == file.id).values(**values))


def forget_output(db: Database, output: int) -> None:
    """Delete the record of a file, by its key."""
    with db.writing() as connection:
        connection.execute(sa.delete(Output).where(Output.id == output))


def outputs(connection: sa.Connection, runs: Sequence[int] | None = None) -> list[OutputFile]:
    """The files known to have been written, in the order in which they were first written.

    Args:
        connection: an open connection.
        runs: only those of these runs; None: all, copies of the whole database included.

    Raises:
        StorageError: a record cannot be read.
    """
    statement = sa.select(Output.__table__).order_by(Output.id)
    if runs is not None:
        statement = statement.where(Output.run_id.in_(runs))
    return [_from_row(row) for row in connection.execute(statement)]


def drawn_videos(connection: sa.Connection, run: int) -> dict[Path, float | None]:
    """The videos drawn from a run that show nobody who was erased since.

    Returns:
        Where in the source each begins, s; None: at the first frame of the run.
    """
    return {
        file.path: file.made.offset_s if isinstance(file.made, LiveVideo) else None
        for file in outputs(connection, [run])
        if isinstance(file.made, DrawnVideo | LiveVideo) and not file.stale
    }


_MARKS = {"uncorrected": "uncorrected", "delete": "is_about_erased", "forget": "names_erased"}
"""Marks by their names in JSON. They stand there beside what a file was made with, where they are set."""


def _to_json(file: OutputFile) -> dict[str, Any]:
    made: dict[str, Any] = _ADAPTERS[type(file.made)].dump_python(file.made, mode="json", by_alias=True)
    return made | {name: True for name, mark in _MARKS.items() if getattr(file, mark)}


def _from_row(row: sa.Row[Any]) -> OutputFile:
    stored = dict(row.options)
    marks = {mark: bool(stored.pop(name, False)) for name, mark in _MARKS.items()}
    is_recording = row.kind == "video" and "offset_s" in stored
    made = LiveVideo if is_recording else next((made for made, kind in _KINDS.items() if kind == row.kind), None)
    if made is None:
        raise StorageError(f"the record of {row.path} is of a kind that this version does not know: {row.kind}")
    return OutputFile(
        id=row.id,
        run=row.run_id,
        path=Path(row.path),
        made=_parse(made, stored, row.path),
        digests=tuple(row.digest.split()),
        written_at=row.written_at,
        stale=row.stale,
        **marks,
    )


def _parse(made: type[Made], stored: dict[str, Any], path: str) -> Made:
    """Record of a file, typed; options of another version that this one does not know, or refuses, are left out."""
    try:
        parsed: Made = _ADAPTERS[made].validate_python(stored)
    except ConfigError:  # options that do not go together
        return _parse(made, stored | {"config": {}}, path)
    except ValidationError as error:
        places = [each["loc"] for each in error.errors()]
        if "config" not in stored or any(place[0] != "config" for place in places):
            raise StorageError(f"the record of {path} cannot be read: {error.errors()[0]['msg']}") from error
        foreign = {place[1] for place in places if len(place) > 1}
        known = {name: value for name, value in stored["config"].items() if name not in foreign} if foreign else {}
        return _parse(made, stored | {"config": known}, path)
    return parsed


def file_digest(path: Path) -> str:
    """SHA-256 of a file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
