"""Deletes runs, one or all whose time has come, so that nothing of them stays in the database file."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from fertrack.errors import StorageError
from fertrack.storage.engine import Database
from fertrack.storage.facts import find_run, run_status
from fertrack.storage.maintenance import vacuum
from fertrack.storage.models import Embedding, Link, Person, Run, Source, TrackRow
from fertrack.storage.people.corrected_labels import count_corrected
from fertrack.storage.written_files import outputs

__all__ = ["ExpiredRun", "PurgeReport", "RunDeletion", "delete_run", "purge"]


@dataclass(frozen=True, slots=True)
class ExpiredRun:
    """A run that is kept no longer.

    Attributes:
        run: its number.
        source: name of what it was made from.
        frames: frames it held.
        faces: faces it held.
        expired_at: aware, UTC.
    """

    run: int
    source: str
    frames: int
    faces: int
    expired_at: dt.datetime


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """Result of a purge, or of its dry run.

    Attributes:
        runs: the runs, oldest first, each with all of its rows.
        persons: persons that were only in these runs.
        embeddings: face embeddings past their own date, whatever their run.
        deleted: False for a dry run.
        files: videos, reports and exports that were written from these runs and are still there: they stay.
    """

    runs: tuple[ExpiredRun, ...]
    persons: int
    embeddings: int
    deleted: bool
    files: tuple[Path, ...] = ()


def purge(db: Database, *, now: dt.datetime | None = None, dry_run: bool = False) -> PurgeReport:
    """Delete every run whose ``retention_days`` are over, with all that belongs to it, and make the file forget it.

    With a run go its frames, faces, tracks, events, corrections and so on, its source if no other run is of it, and
    the persons whom no other run knows; embeddings past their own date go too. A run's days count from its end (from
    its last sign of life, if it never ended); a run in progress stays. Files that were written beside the database
    (videos, reports, exports) stay, and are named.

    Args:
        db: the open database.
        now: the moment to judge by, aware; the present if None.
        dry_run: only say what would go.

    Raises:
        StorageError: nothing was deleted; or everything was, and the file could not be compacted.
    """
    now = now or dt.datetime.now(dt.UTC)
    with db.reading() if dry_run else db.writing() as connection:
        written = outputs(connection)
        expired = _expired(connection, now)
        numbers = [each.run for each in expired]
        persons = _only_in(connection, numbers)
        stale = Embedding.expires_at <= now
        embeddings = connection.scalar(sa.select(sa.func.count()).select_from(Embedding).where(stale)) or 0
        if not dry_run:
            connection.execute(sa.delete(Embedding).where(stale))
            _delete(connection, numbers, persons)
    files = tuple(dict.fromkeys(file.path for file in written if file.run in numbers and file.is_there))
    report = PurgeReport(tuple(expired), len(persons), embeddings, deleted=not dry_run, files=files)
    if report.deleted and (report.runs or report.embeddings):
        vacuum(db, forget=True)
    return report


@dataclass(frozen=True, slots=True)
class RunDeletion:
    """A run that was deleted, or would be.

    Attributes:
        run: its number.
        source: name of what it was made from.
        frames: frames it holds.
        faces: faces it holds.
        corrections: labels that people gave to its faces.
        persons: persons that are only in this run.
        files: videos, reports and exports that were written from it and are still there: they stay.
    """

    run: int
    source: str
    frames: int
    faces: int
    corrections: int
    persons: int
    files: tuple[Path, ...]


def delete_run(db: Database, run: int | str, *, dry_run: bool = False) -> RunDeletion:
    """Delete a run with all that belongs to it, as ``purge`` does, and make the database file forget it.

    Args:
        db: the open database.
        run: its number, or "last".
        dry_run: only say what would go.

    Raises:
        RunNotFoundError: no such run is stored.
        StorageError: it is still being written, or the database cannot be; nothing was deleted. Or it was, and the
            file could not be compacted.
    """
    with db.reading() if dry_run else db.writing() as connection:
        number = find_run(connection, db.name, run)
        of_run = sa.select(Run.__table__, Source.name.label("source")).join(Source).where(Run.id == number)
        row = connection.execute(of_run).mappings().one()
        if run_status(row, dt.datetime.now(dt.UTC)) == "running":
            raise StorageError(f"run {number} is still being written: end it, then delete it")
        persons = _only_in(connection, [number])
        corrections = count_corrected(connection, number)
        files = tuple(dict.fromkeys(file.path for file in outputs(connection, [number]) if file.is_there))
        if not dry_run:
            _delete(connection, [number], persons)
    if not dry_run:
        vacuum(db, forget=True)
    return RunDeletion(number, row["source"], row["frames"], row["faces"], corrections, len(persons), files)


def _expired(connection: sa.Connection, now: dt.datetime) -> list[ExpiredRun]:
    rows = connection.execute(
        sa.select(Run.__table__, Source.name.label("source"))
        .join(Source)
        .where(Run.retention_days.is_not(None))
        .order_by(Run.id)
    ).mappings()
    found = []
    for row in rows:
        over_at = (row["ended_at"] or row["heartbeat_at"]) + dt.timedelta(days=row["retention_days"])
        if over_at <= now and run_status(row, dt.datetime.now(dt.UTC)) != "running":
            found.append(ExpiredRun(row["id"], row["source"], row["frames"], row["faces"], over_at))
    return found


def _only_in(connection: sa.Connection, runs: list[int]) -> list[int]:
    """Persons of these runs whom no other run knows."""

    def known(inside: bool) -> set[int]:
        return {
            person
            for table in (TrackRow, Link, Embedding)
            for person in connection.scalars(
                sa.select(table.person_id).distinct().where(table.run_id.in_(runs) == inside)
            )
            if person is not None
        }

    return sorted(known(True) - known(False))


def _delete(connection: sa.Connection, runs: list[int], persons: list[int]) -> None:
    if not runs:
        return
    connection.execute(sa.delete(Run).where(Run.id.in_(runs)))
    connection.execute(sa.delete(Person).where(Person.id.in_(persons)))
    connection.execute(sa.delete(Source).where(Source.id.not_in(sa.select(Run.source_id))))
