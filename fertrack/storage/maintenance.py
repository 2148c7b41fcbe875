"""Maintenance of a database: check, compact, copy."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from fertrack.errors import StorageError
from fertrack.storage.answer_models import EpisodeRow, EpisodeSet
from fertrack.storage.connection import sqlite_path, translated
from fertrack.storage.engine import Database
from fertrack.storage.models import Base, Face, FrameRow, Run, TrackRow
from fertrack.storage.queries.episode_store import runs_without_episodes, store_episodes
from fertrack.storage.rights_models import Erasure

__all__ = ["CheckReport", "VacuumReport", "backup", "check_database", "store_missing_episodes", "vacuum"]

_MAX_SHOWN = 20
_BACKUP_PAGES = 10_000


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Result of a check.

    Attributes:
        problems: one sentence each; empty if the database is whole.
        rows: number of rows by table; empty if the file is damaged.
        without_episodes: ended runs whose episodes are not stored: answered as well, but more slowly.
    """

    problems: tuple[str, ...]
    rows: dict[str, int]
    without_episodes: int


@dataclass(frozen=True, slots=True)
class VacuumReport:
    """Size of the database before and after, bytes."""

    before: int
    after: int


def store_missing_episodes(db: Database) -> int:
    """Write the episodes of ended runs that have none, such as those of an earlier version; returns how many runs.

    Raises:
        StorageError: the database cannot be written.
    """
    with db.reading() as connection:
        missing = runs_without_episodes(connection)
    for run in missing:
        with db.writing() as connection:
            store_episodes(connection, run)
    return len(missing)


def check_database(db: Database) -> CheckReport:
    """Is the file undamaged, does every row point to one that is there, and do the counts agree with the rows?

    Reads everything; changes nothing.

    Raises:
        StorageError: the database cannot be read.
    """
    damage = _damage(db) if db.engine.dialect.name == "sqlite" else []
    if damage:  # then nothing else that is read can be relied on
        return CheckReport(tuple(damage), {}, 0)
    with db.reading() as connection:
        problems = _dangling(connection) if connection.dialect.name == "sqlite" else []
        rows = {
            table.name: int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
            for table in sorted(Base.metadata.tables.values(), key=lambda table: table.name)
        }
        problems += _wrong_counts(connection)
        begun = connection.scalars(sa.select(Erasure.erased_at).where(Erasure.finished_at.is_(None))).all()
        problems += [
            f"erasing a person was begun at {moment:%Y-%m-%d %H:%M} UTC and not finished: `fertrack person erase` "
            "without a name goes on with it"
            for moment in begun
        ]
        ended = sa.select(Run.id).where(Run.status != "running", Run.id.not_in(sa.select(EpisodeSet.run_id)))
        without = len(connection.scalars(ended).all())
    return CheckReport(tuple(problems), rows, without)


def vacuum(db: Database, *, forget: bool = False) -> VacuumReport:
    """Give the space of deleted rows back, and update the database's statistics.

    Args:
        db: the open database.
        forget: leave no byte of deleted rows behind. SQLite never does here; PostgreSQL only if it rewrites its
            tables, during which nobody else can use them.

    Raises:
        StorageError: another program is using the database, or the disk is too full for a second copy.
    """
    before = _size(db)
    with translated(db.engine.url), db.engine.connect() as connection:
        if db.engine.dialect.name == "sqlite":
            raw = connection.connection.cursor()
            try:
                for statement in ("VACUUM", "ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"):
                    raw.execute(statement)
                is_busy = bool(next(iter(raw.fetchall()), (0,))[0])
            except sqlite3.Error as error:
                raise sa.exc.DBAPIError(statement, None, error) from error
            finally:
                raw.close()
            if forget and is_busy:  # the log could not be emptied, and holds what was deleted
                raise StorageError(
                    f"{db.name}: another program has it open, so that what was deleted is still in the file "
                    f"{Path(db.name).name}-wal: close that program and do this again"
                )
        else:
            plain = connection.execution_options(isolation_level="AUTOCOMMIT")
            plain.execute(sa.text("VACUUM (FULL, ANALYZE)" if forget else "VACUUM (ANALYZE)"))
    return VacuumReport(before, _size(db))


def backup(db: Database, path: str | Path, *, overwrite: bool = False) -> int:
    """Copy an SQLite database into one file, while others may be writing to it; returns the copy's size, bytes.

    The copy shows one moment, is checked, and takes the place of ``path`` only when it is complete.

    Args:
        db: the open database.
        path: the new file.
        overwrite: replace a file of that name.

    Raises:
        StorageError: the database is no SQLite file, the file is there already, or it cannot be written.
    """
    target = Path(path)
    source = sqlite_path(db.engine.url)
    if source is None:
        raise StorageError(
            f"{db.name} is no SQLite file: PostgreSQL makes the copy itself, with "
            f"`pg_dump --format=custom --file={target} '{db.name}'`, and `pg_restore` brings it back"
        )
    if target.exists() and not overwrite:
        raise StorageError(f"{target} is there already: give another name, or --overwrite")
    if target.resolve() == source.resolve():
        raise StorageError(f"{target} is the database itself: give another name")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fertrack-backup-") as folder:
            copy = Path(folder) / target.name
            _copy(source, copy)
            shutil.move(copy, target)
        return target.stat().st_size
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(f"the copy {target} cannot be made: {reason}") from error


def _copy(source: Path, copy: Path) -> None:
    reader, writer = sqlite3.connect(source), sqlite3.connect(copy)
    try:
        reader.backup(writer, pages=_BACKUP_PAGES)
        writer.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        (state,) = writer.execute("PRAGMA quick_check(1)").fetchone()
    finally:
        writer.close()
        reader.close()
    if state != "ok":
        raise StorageError(f"{source} is damaged ({state}): the copy was thrown away; `fertrack db check` says more")


def _damage(db: Database) -> list[str]:
    with translated(db.engine.url):
        raw = db.engine.raw_connection()
        try:
            cursor = raw.cursor()
            cursor.execute(f"PRAGMA integrity_check({_MAX_SHOWN})")
            found = [str(row[0]) for row in cursor.fetchall()]
        except sqlite3.DatabaseError as error:
            if not error.sqlite_errorname.startswith("SQLITE_CORRUPT"):
                raise sa.exc.DBAPIError("PRAGMA integrity_check", None, error) from error
            found = [str(error)]  # too damaged for a list
        finally:
            raw.close()
    return [] if found == ["ok"] else [f"the file is damaged: {text}" for text in found]


def _dangling(connection: sa.Connection) -> list[str]:
    counts: dict[tuple[str, str], int] = {}
    for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        counts[row[0], row[2]] = counts.get((row[0], row[2]), 0) + 1
    return [f"{count} rows of {table} point to rows of {to} that are gone" for (table, to), count in counts.items()]


def _wrong_counts(connection: sa.Connection) -> list[str]:
    """Runs and tracks that say they hold more or less than they do; of runs that have ended."""
    problems = []
    for name, stated, table in (
        ("frames", Run.frames, FrameRow),
        ("faces", Run.faces, Face),
        ("tracks", Run.tracks, TrackRow),
    ):
        counted = sa.select(table.run_id, sa.func.count().label("n")).group_by(table.run_id).subquery()
        rows = connection.execute(
            sa.select(Run.id, stated, sa.func.coalesce(counted.c.n, 0))
            .join(counted, counted.c.run_id == Run.id, isouter=True)
            .where(Run.status != "running", stated != sa.func.coalesce(counted.c.n, 0))
            .order_by(Run.id)
        )
        problems += [f"run {run} says it has {says} {name}, and has {has}" for run, says, has in rows]
    seen = (
        sa.select(Face.run_id, Face.track, sa.func.count().label("n"))
        .where(Face.track.is_not(None))
        .group_by(Face.run_id, Face.track)
        .subquery()
    )
    of_episodes = (
        sa.select(EpisodeRow.run_id, EpisodeRow.track, sa.func.sum(EpisodeRow.frames).label("n"))
        .group_by(EpisodeRow.run_id, EpisodeRow.track)
        .subquery()
    )
    stale = connection.execute(
        sa.select(seen.c.run_id, sa.func.count())
        .join(EpisodeSet, EpisodeSet.run_id == seen.c.run_id)
        .join(
            of_episodes,
            sa.and_(of_episodes.c.run_id == seen.c.run_id, of_episodes.c.track == seen.c.track),
            isouter=True,
        )
        .where(sa.func.coalesce(of_episodes.c.n, 0) != seen.c.n)
        .group_by(seen.c.run_id)
        .order_by(seen.c.run_id)
    )
    problems += [f"run {run}: the stored episodes of {count} tracks do not fit their faces" for run, count in stale]
    return problems


def _size(db: Database) -> int:
    path = sqlite_path(db.engine.url)
    if path is not None:  # with the log that was not written back yet
        return sum(file.stat().st_size for file in (path, path.with_name(f"{path.name}-wal")) if file.exists())
    with db.reading() as connection:
        return int(connection.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0)
