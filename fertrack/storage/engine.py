"""Opening a database: made at the current schema if new, refused with one sentence if it does not fit.

A schema is never changed silently: only ``create=True`` on a database without tables, and ``upgrade``, change one.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa
from sqlalchemy.orm import Session

from fertrack.errors import FertrackError, SchemaOutOfDateError, StorageError
from fertrack.storage.config import StorageConfig
from fertrack.storage.connection import (
    IMMEDIATE,
    damaged_sentence,
    describe,
    make_engine,
    parse_url,
    sqlite_path,
    translated,
    use_wal,
)
from fertrack.storage.recordings import runs_stated
from fertrack.storage.schema import SchemaStatus, check, create, is_damaged, migrate, read_status
from fertrack.storage.stored_run import ALL, AllRuns, StoredRun

__all__ = ["Database", "SchemaStatus", "StorageConfig", "current", "downgrade", "open_database", "upgrade"]

BUSY_TIMEOUT_S = 10.0
"""How long to wait for another program's lock before giving up, seconds."""


class Database:
    """An open database. Use it as a context manager, or call ``close``.

    Attributes:
        url: the full address, by which ``open_database`` opens it again; may hold a password, so never show it.
        name: the address as people may see it.
        engine: SQLAlchemy's engine.
        corrected: whether answers count faces as people labelled them; else as estimated.
    """

    def __init__(self, url: sa.URL, engine: sa.Engine, *, corrected: bool = True) -> None:
        self._address = url
        self.engine = engine
        self.corrected = corrected

    @property
    def url(self) -> str:
        """The full address; may hold a password."""
        path = sqlite_path(self._address)
        return str(path) if path is not None else self._address.render_as_string(hide_password=False)

    @property
    def name(self) -> str:
        """The address as people may see it: a file's path, or the URL with its password masked."""
        return describe(self._address)

    def __repr__(self) -> str:
        return f"Database({self.name!r})"

    def estimates(self) -> Database:
        """The same database, answering with the estimates where people corrected labels."""
        return Database(self._address, self.engine, corrected=False)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one moment of the database, whatever is written meanwhile.

        Raises:
            StorageError: the database cannot be read.
        """
        engine = self.engine
        if engine.dialect.name != "sqlite":  # which does so by itself
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with translated(self._address), engine.begin() as connection, _damage_told(self._address, connection):
            yield connection

    @contextmanager
    def run(self, run: int | str = "last") -> Iterator[StoredRun]:
        """A stored run, all of it as it is at one moment: what the questions of ``storage.queries`` are asked of.

        Do not write to the database meanwhile: where SQLite keeps no write-ahead log, as in some network folders, a
        writer waits for all who read.

        Args:
            run: its number, as int or text, or "last" for the newest run.

        Raises:
            RunNotFoundError: no such run is stored.
            StorageError: the database cannot be read.
        """
        with self.reading() as connection:
            yield StoredRun.find(connection, self.name, run, corrected=self.corrected)

    @contextmanager
    def runs(
        self, run: int | str = ALL, *, from_s: float | None = None, to_s: float | None = None
    ) -> Iterator[StoredRun | AllRuns]:
        """As ``run``; for "all", every run of the database; for "condition=stress", those of which that was stated.

        Args:
            run: which.
            from_s: answers are about the time from here only, seconds.
            to_s: and about that before here.

        Raises:
            ValueError: the time ends before it begins.
            RunNotFoundError: no such run, or none at all, is stored.
            StorageError: the database cannot be read.
        """
        between = -math.inf if from_s is None else from_s, math.inf if to_s is None else to_s
        if between[0] >= between[1]:
            raise ValueError(f"nothing lies between {from_s} s and {to_s} s: the range must end after it begins")
        with self.reading() as connection:
            stored: StoredRun | AllRuns
            if str(run).strip() == ALL:
                stored = AllRuns(connection, self.name, corrected=self.corrected)
            elif "=" in str(run):
                only = runs_stated(connection, self.name, str(run))
                stored = AllRuns(connection, self.name, corrected=self.corrected, only=only)
            else:
                stored = StoredRun.find(connection, self.name, run, corrected=self.corrected)
            stored.between = None if from_s is None and to_s is None else between
            yield stored

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection in one transaction: committed at the end, rolled back if anything is raised.

        Raises:
            StorageError: the database cannot be written (full, locked, read-only).
        """
        immediate = self.engine.execution_options(**{IMMEDIATE: True})
        with translated(self._address), immediate.begin() as connection, _damage_told(self._address, connection):
            yield connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """An ORM session on the tables of ``storage.models``; nothing is committed unless you call ``commit``.

        Raises:
            StorageError: the database cannot be read or written.
        """
        with translated(self._address), Session(self.engine) as session:
            yield session

    def close(self) -> None:
        """Close all connections. May be called more than once."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_database(
    url: str | Path, *, create: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S, corrected: bool = True
) -> Database:
    """Open a database of the current schema.

    Args:
        url: path of an SQLite file, or a URL of an SQLite or PostgreSQL database.
        create: make the file and the tables if there are none yet.
        busy_timeout_s: how long to wait for another program's lock, seconds.
        corrected: answer with the labels that people gave where they gave some; False: with the estimates.

    Raises:
        SchemaOutOfDateError: the schema is older (`fertrack db upgrade`) or newer (upgrade fertrack).
        StorageError: the database is missing, not a database, not fertrack's, locked, read-only, or out of reach.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, open_database(f"{folder}/new.db", create=True) as database:
    ...     database.name.endswith("new.db")
    True
    """
    address = parse_url(url)
    _check_file(address, create=create)
    engine = make_engine(address, busy_timeout_s=busy_timeout_s)
    try:
        status = _status(address, engine)
        if status.state == "empty" and create:
            _create(address, busy_timeout_s)
        else:
            check(status)
        with translated(address):
            use_wal(engine, busy_timeout_s)
    except BaseException:
        engine.dispose()
        raise
    return Database(address, engine, corrected=corrected)


def current(url: str | Path) -> SchemaStatus:
    """Schema status of a database, compared with this program's; changes nothing.

    Raises:
        StorageError: the database is missing, not a database, or out of reach.
    """
    address = parse_url(url)
    _check_file(address, create=False)
    with _engine(address) as engine:
        return _status(address, engine)


def upgrade(url: str | Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> tuple[SchemaStatus, SchemaStatus]:
    """Bring a database to the current schema, keeping its rows; all of it happens, or none.

    A database without tables gets them. One that is current stays as it is.

    Returns:
        The status before and after.

    Raises:
        SchemaOutOfDateError: the schema is newer than this program.
        StorageError: the database is missing, not fertrack's, locked, or out of reach.
    """
    address = parse_url(url)
    _check_file(address, create=False)
    return _migrated(address, "head", down=False, busy_timeout_s=busy_timeout_s)


def downgrade(url: str | Path, revision: str) -> tuple[SchemaStatus, SchemaStatus]:
    """Take a database back to an earlier revision; what only later schemas can hold is lost. "base" removes all.

    Raises:
        SchemaOutOfDateError: the schema is newer than this program.
        StorageError: the database is missing, not fertrack's, locked, or out of reach.
    """
    address = parse_url(url)
    _check_file(address, create=False)
    return _migrated(address, revision, down=True, busy_timeout_s=BUSY_TIMEOUT_S)


@contextmanager
def _damage_told(address: sa.URL, connection: sa.Connection) -> Iterator[None]:
    """Say that the database is damaged where an error in the block can be explained by that.

    Raises:
        StorageError: it is.
    """
    try:
        yield
    except (FertrackError, sa.exc.SQLAlchemyError, sqlite3.Error, OSError):
        raise
    except Exception as error:
        if connection.dialect.name == "sqlite" and is_damaged(connection):
            raise StorageError(damaged_sentence(describe(address))) from error
        raise


def _check_file(address: sa.URL, *, create: bool) -> None:
    path = sqlite_path(address)
    if path is None:
        return
    try:
        if path.is_dir():
            raise StorageError(f"{path} is a folder: give the path of a database file")
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.exists():
            raise StorageError(f"there is no database at {path}: `fertrack process` makes one, or name it with --db")
    except OSError as error:
        raise StorageError(f"database {path} cannot be reached or made: {error.strerror}") from error


@contextmanager
def _engine(
    address: sa.URL, busy_timeout_s: float = BUSY_TIMEOUT_S, *, enforce_foreign_keys: bool = True
) -> Iterator[sa.Engine]:
    engine = make_engine(address, busy_timeout_s=busy_timeout_s, enforce_foreign_keys=enforce_foreign_keys)
    try:
        yield engine
    finally:
        engine.dispose()


def _status(address: sa.URL, engine: sa.Engine) -> SchemaStatus:
    with translated(address), engine.connect() as connection:
        return read_status(connection, describe(address))


def _create(address: sa.URL, busy_timeout_s: float) -> None:
    name = describe(address)
    with (
        _engine(address, busy_timeout_s) as engine,
        translated(address),
        engine.execution_options(**{IMMEDIATE: True}).begin() as connection,
    ):
        if read_status(connection, name).state == "empty":  # again, under the lock: another program may have been first
            create(connection)
        check(read_status(connection, name))


def _migrated(
    address: sa.URL, revision: str, *, down: bool, busy_timeout_s: float
) -> tuple[SchemaStatus, SchemaStatus]:
    name = describe(address)
    with (
        _engine(address, busy_timeout_s, enforce_foreign_keys=False) as engine,
        translated(address),
        engine.execution_options(**{IMMEDIATE: True}).begin() as connection,
    ):
        before = read_status(connection, name)  # again, under the lock: another program may have been first
        if before.state == "newer":
            raise SchemaOutOfDateError(before.sentence)
        if before.state == "foreign":
            raise StorageError(before.sentence)
        if down or before.state != "current":
            migrate(connection, revision, down=down)
        return before, read_status(connection, name)
