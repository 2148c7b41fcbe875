"""Files written from each run, and their options: so that they can be written again without a person.

Kinds and their ``options``:

==============  ========================================================================================
``video``       "persons": drawn with persons instead of track IDs; "anonymised", "except" (tracks left
                clear); "config": the options of ``VideoOutputConfig``; "offset_s": time of the source at
                which the file begins, where that is not the run's first frame; "shown_alike": lists of
                tracks that a live recording shows as one person, whoever they turned out to be
``report``      "config": the options of ``ReportConfig``; "video": the file that it plays
``comparison``  a report on several runs, recorded for each of them; "runs"
``csv``         "stem", "track", "config"; one record for each of the two files
``export``      "format", "stem", "track", "config"
``person``      a folder with what is held about one person; "tracks": theirs in the run
``backup``      a copy of the whole database; belongs to no run
==============  ========================================================================================

"track" is the only track that a file is about. "delete" and "forget" are set when somebody is erased: the file is about
nobody else, and its name names them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fertrack.errors import StorageError
from fertrack.storage.engine import Database
from fertrack.storage.rights_models import Output

__all__ = [
    "OutputFile",
    "file_digest",
    "forget_output",
    "mark_stale",
    "outputs",
    "record_output",
    "store_output",
    "will_be",
]

logger = logging.getLogger(__name__)

_UNDIGESTED = ("backup", "person")


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that was written from a run.

    Attributes:
        id: key of the record.
        run: number of the run; None for a copy of the whole database.
        kind: "video", "report", "comparison", "csv", "export", "person" or "backup".
        path: absolute; where it was written.
        options: what it was written with.
        digests: SHA-256 of the file as it was written; two, while a video is being replaced; empty for folders and
            copies of the database, and for a video that its run has not completed yet.
        written_at: aware, UTC.
        stale: whether it still shows somebody who has been erased; of a video: because it could not be seen to.
    """

    id: int
    run: int | None
    kind: str
    path: Path
    options: dict[str, Any] = field(repr=False)
    digests: tuple[str, ...] = field(repr=False)
    written_at: dt.datetime
    stale: bool

    @property
    def is_there(self) -> bool:
        """Whether something is still at ``path``."""
        return self.path.exists()

    @property
    def is_as_written(self) -> bool:
        """Whether the file is there, and nobody has changed it since it was written, as far as that can be told."""
        return self.is_there and (not self.digests or file_digest(self.path) in self.digests)


def record_output(
    db: Database, run: int | None, path: str | Path, kind: str, options: Mapping[str, Any] | None = None
) -> None:
    """Remember that a file was written from a run. Written again, it takes the place of the earlier record.

    The file is there in any case; if it cannot be recorded, a warning is logged.

    Args:
        db: the open database.
        run: number of the run; None for a copy of the whole database.
        path: the file, or the first of several that belong together.
        kind: see the module.
        options: what it was written with; must be JSON.
    """
    digest = "" if kind in _UNDIGESTED else file_digest(Path(path))  # before the database is locked: it takes a while
    try:
        with db.writing() as connection:
            written = {**(options or {}), **({} if db.corrected else {"uncorrected": True})}
            store_output(connection, run, path, kind, written, digest=digest)
    except StorageError as error:
        logger.warning("%s is not remembered, so `fertrack person erase` will not know it: %s", path, error)


def store_output(
    connection: sa.Connection,
    run: int | None,
    path: str | Path,
    kind: str,
    options: Mapping[str, Any],
    *,
    digest: str,
) -> None:
    """As ``record_output``, in a writing transaction; ``digest`` is one of ``OutputFile.digests``, or empty."""
    absolute = Path(path).absolute()
    values = {
        "kind": kind,
        "options": dict(options),
        "digest": digest,
        "written_at": dt.datetime.now(dt.UTC),
        "stale": False,
    }
    of_run = Output.run_id.is_(None) if run is None else Output.run_id == run
    is_this = sa.and_(of_run, Output.path == str(absolute))
    known = connection.execute(sa.update(Output).where(is_this).values(**values))
    if known.rowcount == 0:
        connection.execute(sa.insert(Output).values(run_id=run, path=str(absolute), **values))
    if kind != "comparison":  # what another run had written there is gone, unless one file is about several runs
        connection.execute(sa.delete(Output).where(Output.path == str(absolute), sa.not_(is_this)))


def will_be(db: Database, output: OutputFile, digests: Sequence[str]) -> None:
    """Note what is, or is about to be, at an output's path: see ``OutputFile.digests``."""
    with db.writing() as connection:
        connection.execute(sa.update(Output).where(Output.id == output.id).values(digest=" ".join(digests)))


def mark_stale(db: Database, output: OutputFile, stale: bool) -> None:
    """Note whether an output shows somebody who has been, or is about to be, erased."""
    with db.writing() as connection:
        connection.execute(sa.update(Output).where(Output.id == output.id).values(stale=stale))


def forget_output(db: Database, output: int) -> None:
    """Delete the record of a file, by its key."""
    with db.writing() as connection:
        connection.execute(sa.delete(Output).where(Output.id == output))


def outputs(
    connection: sa.Connection, runs: Sequence[int] | None = None, *, kinds: Sequence[str] = ()
) -> list[OutputFile]:
    """The files known to have been written, in the order in which they were first written.

    Args:
        connection: an open connection.
        runs: only those of these runs; None: all, copies of the whole database included.
        kinds: only these kinds.
    """
    statement = sa.select(Output.__table__).order_by(Output.id)
    if runs is not None:
        statement = statement.where(Output.run_id.in_(runs))
    if kinds:
        statement = statement.where(Output.kind.in_(kinds))
    return [
        OutputFile(
            id=row.id,
            run=row.run_id,
            kind=row.kind,
            path=Path(row.path),
            options=dict(row.options),
            digests=tuple(row.digest.split()),
            written_at=row.written_at,
            stale=row.stale,
        )
        for row in connection.execute(statement)
    ]


def file_digest(path: Path) -> str:
    """SHA-256 of a file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
