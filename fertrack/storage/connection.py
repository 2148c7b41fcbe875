"""Connection to the database: addresses, engines, and library errors turned into one clear sentence."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event

from fertrack.errors import MissingExtraError, StorageError, first_line

__all__ = [
    "damaged_sentence",
    "describe",
    "make_engine",
    "mask_passwords",
    "parse_url",
    "sqlite_path",
    "translated",
    "use_wal",
]

IMMEDIATE = "fertrack_immediate"
"""Execution option of a connection that will write: SQLite then takes its write lock when the transaction begins."""

_SECRET = re.compile(r"pass|secret|token", re.IGNORECASE)
_URL_PASSWORD = re.compile(
    r"(://[^\s:/@\"']*:)[^\s\"']*(?=@)|([?&][^=&\s\"']*(?:pass|secret|token)[^=&\s\"']*=)[^&\s\"']+"
)
_ASIDE = "give another with --db"

_SQLITE_SENTENCES = {
    "SQLITE_NOTADB": "{where} is not a database: move the file away, or " + _ASIDE,
    "SQLITE_CORRUPT": "{where} is damaged: restore it from a copy, save what can be read with SQLite's '.recover', or "
    + _ASIDE,
    "SQLITE_BUSY": "{where} is locked by another program: wait until that has finished, then try again",
    "SQLITE_LOCKED": "{where} is locked by another program: wait until that has finished, then try again",
    "SQLITE_READONLY": "{where} cannot be written to: make the file and its folder writable, or " + _ASIDE,
    "SQLITE_CANTOPEN": "{where} cannot be opened or made: check that its folder is there and writable, or " + _ASIDE,
    "SQLITE_PERM": "{where} may not be opened: check its permissions, or " + _ASIDE,
    "SQLITE_FULL": "the disk is full: {where} holds what was written before; make room, or " + _ASIDE,
    "SQLITE_IOERR": "{where} cannot be read or written (disk error or disk full): check the disk, or " + _ASIDE,
}


def parse_url(url: str | Path) -> sa.URL:
    """The address of a database from a plain file path or a URL.

    Args:
        url: path of an SQLite file, or an SQLAlchemy URL of an SQLite or PostgreSQL database.

    Raises:
        StorageError: the URL cannot be read, or is of another kind of database.
    """
    text = str(url)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StorageError("the name of a database must be text that UTF-8 can hold: rename the file") from None
    if "://" not in text:
        if not text or text == ":memory:":
            raise StorageError("a database needs a file: give a path or a URL, not an empty or in-memory one")
        return sa.URL.create("sqlite", database=str(Path(text).expanduser().absolute()))
    try:
        parsed = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        # The cause is dropped on purpose: its message can quote the part of the URL that holds the password.
        raise StorageError(
            f"the {text.partition('://')[0]!r} database URL cannot be read: write "
            "postgresql://user:password@host/name (special characters in the password percent-encoded), or a file path"
        ) from None
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
            raise StorageError("a database needs a file: give a plain path, not an empty, in-memory or file: address")
        return sa.URL.create("sqlite", database=str(Path(parsed.database).expanduser().absolute()))
    if kind in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise StorageError(
        f"a database of kind {kind!r} is not supported: give a file path, or postgresql://user@host/name"
    )


def sqlite_path(url: sa.URL) -> Path | None:
    """The file of an SQLite database, else None."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def describe(url: sa.URL) -> str:
    """The address as people may see it: a file's path, or the URL with every password masked."""
    path = sqlite_path(url)
    if path is not None:
        return str(path)
    secret = {key: "..." for key in url.query if _SECRET.search(key)}
    return url.update_query_dict(secret).set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


def mask_passwords(text: str) -> str:
    """A text, such as a configuration, with the password of every URL in it masked.

    >>> mask_passwords('url = "postgresql://me:secret@host/db"')
    'url = "postgresql://me:***@host/db"'
    """
    return _URL_PASSWORD.sub(lambda found: f"{found[1] or found[2]}***", text)


def make_engine(url: sa.URL, *, busy_timeout_s: float, enforce_foreign_keys: bool = True) -> sa.Engine:
    """An engine whose SQLite connections have real transactions, foreign keys and a busy timeout.

    Args:
        url: as ``parse_url`` gave it.
        busy_timeout_s: how long a connection waits for another's lock.
        enforce_foreign_keys: False only while migrating: rebuilding a table drops it for a moment, and with foreign
            keys on that would delete the rows that point to it.

    Raises:
        MissingExtraError: the database's driver is not installed.
    """
    try:
        if url.get_backend_name() != "sqlite":
            # The encoding of texts must not depend on how the server was set up.
            settings = {"connect_timeout": max(2, round(busy_timeout_s)), "client_encoding": "utf8"}
            return sa.create_engine(url, connect_args=settings)
        path = sqlite_path(url)
        if path is not None and is_on_read_only_media(path):
            engine = sa.create_engine(url, creator=lambda: _unchanging(path))
        else:
            engine = sa.create_engine(url, connect_args={"timeout": busy_timeout_s})
    except ImportError as error:
        raise MissingExtraError(f"{describe(url)} needs the Python package psycopg", "postgres") from error

    def set_up(connection: Any, _record: Any) -> None:
        # sqlite3's own transaction control leaves schema changes and reads outside transactions; "begin" does it.
        connection.isolation_level = None
        connection.execute(f"PRAGMA foreign_keys = {'ON' if enforce_foreign_keys else 'OFF'}")
        connection.execute("PRAGMA synchronous = NORMAL")

    def begin(connection: sa.Connection) -> None:
        # A transaction that reads first and writes later would fail if another wrote in between: lock at once.
        immediate = connection.get_execution_options().get(IMMEDIATE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", begin)
    return engine


def is_on_read_only_media(path: Path) -> bool:
    """Whether a file can only be read, by its file system (a disc, a share mounted so) or by its and its folder's mode.

    Args:
        path: the file; False if it is not there.
    """
    try:
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return True
    except (OSError, AttributeError):  # not there; Windows
        return False
    return not os.access(path, os.W_OK) and not os.access(path.parent, os.W_OK)  # SQLite's files beside it: neither


def _unchanging(path: Path) -> sqlite3.Connection:
    """A connection to a file that nobody can change: SQLite then needs no lock and no files beside it.

    Raises:
        StorageError: a part of it is in the file beside it, which SQLite would leave out.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StorageError(
            f"{path} can only be read, and was copied while it was being written: copy it and {log.name} "
            "into a folder that can be written to, and give that with --db"
        )
    address = f"file:{quote(str(path))}?immutable=1"
    return sqlite3.connect(address, uri=True, check_same_thread=False)


def use_wal(engine: sa.Engine, busy_timeout_s: float) -> None:
    """Let readers read while a run is being written. Stored in the file; a no-op except for SQLite.

    Args:
        engine: of the database.
        busy_timeout_s: how long to wait for other programs.
    """
    path = sqlite_path(engine.url)
    if path is None or is_on_read_only_media(path):
        return
    raw = engine.raw_connection()
    try:
        _switch_to_wal(raw.cursor(), time.monotonic() + busy_timeout_s)
    except sqlite3.Error as error:  # bare: dressed like those that come through SQLAlchemy, for ``translated``
        raise sa.exc.DBAPIError("PRAGMA journal_mode", None, error) from error
    finally:
        raw.close()


def _switch_to_wal(cursor: Any, give_up_s: float) -> None:
    # SQLite's own timeout does not cover the switch: it is refused at once while another program writes.
    while True:
        try:
            (mode,) = cursor.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal":
                cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up_s:
                raise
            time.sleep(0.01)


@contextmanager
def translated(url: sa.URL) -> Iterator[None]:
    """Turn the database libraries' errors into one ``StorageError`` sentence.

    Raises:
        StorageError: with the library's error as its cause.
    """
    try:
        yield
    except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:  # bare where a cursor is read without SQLAlchemy
        raise StorageError(_sentence(describe(url), error)) from error
    except UnicodeDecodeError as error:  # SQLite quotes what it has found in a damaged schema
        raise StorageError(damaged_sentence(describe(url))) from error


def damaged_sentence(where: str) -> str:
    """Sentence about a damaged database."""
    return _SQLITE_SENTENCES["SQLITE_CORRUPT"].format(where=where)


def _sentence(where: str, error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorname", "")
    if "Could not decode to UTF-8" in str(cause):
        return damaged_sentence(where)
    for name, sentence in _SQLITE_SENTENCES.items():
        if code.startswith(name):
            return sentence.format(where=where)
    return f"database {where}: {mask_passwords(first_line(cause))}"
