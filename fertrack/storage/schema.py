"""The schema's age: where the migrations are, which revision a database has, and how it gets to another."""

from __future__ import annotations

import re
import sqlite3
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from fertrack.errors import SchemaOutOfDateError, StorageError
from fertrack.storage.models import Base
from fertrack.storage.readable import create_views, drop_views

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["SchemaStatus", "check", "create", "is_damaged", "migrate", "migrations_folder", "read_status"]

_VERSION_TABLE = "alembic_version"
_OWN_TABLES = {"runs", "frames", "faces"}


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Schema status of a database, compared with this program's.

    Attributes:
        database: the database, as people may see it.
        revision: its schema's revision; empty if it has none.
        head: the revision this program works with.
        state: "current"; "older" or "newer" than this program; "empty" (no tables at all); "foreign" (another
            program's tables).
    """

    database: str
    revision: str
    head: str
    state: Literal["current", "older", "newer", "empty", "foreign"]

    @property
    def sentence(self) -> str:
        """Problem and remedy in one sentence."""
        return {
            "current": f"{self.database} has the current schema ({self.head})",
            "older": f"{self.database} has an older schema ({self.revision}, this program needs {self.head}): "
            "run `fertrack db upgrade` on it",
            "newer": f"{self.database} has a newer schema ({self.revision}) than this program knows ({self.head}): "
            "upgrade fertrack",
            "empty": f"{self.database} has no fertrack tables yet: `fertrack process` makes them",
            "foreign": f"{self.database} is another program's database: give another with --db",
        }[self.state]


def migrations_folder(package: Path | None = None) -> Path:
    """The folder with ``env.py`` and ``versions/``: inside the installed package, or beside it in the source tree.

    Args:
        package: folder of the fertrack package; the one that is running if None.

    Raises:
        StorageError: neither is there.
    """
    package = package or Path(str(files("fertrack")))
    for folder in (package / "_migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file() and (folder / "versions").is_dir():
            return folder
    raise StorageError(f"the migrations that belong to {package} are missing: install fertrack again")


def read_status(connection: sa.Connection, database: str) -> SchemaStatus:
    """Compare a database's schema with this program's; changes nothing."""
    parents = _revisions()
    head = _head(parents)
    tables = set(sa.inspect(connection).get_table_names())
    revision = ""
    if _VERSION_TABLE in tables:
        revision = connection.scalar(sa.text(f"SELECT version_num FROM {_VERSION_TABLE}")) or ""
    state: Literal["current", "older", "newer", "empty", "foreign"]
    if not tables - {_VERSION_TABLE, "sqlite_sequence"} and not revision:
        state = "empty"
    elif not revision or not tables >= _OWN_TABLES:
        state = "foreign"
    elif revision == head:
        state = "current"
    else:
        state = "older" if revision in parents else "newer"
    return SchemaStatus(database, revision, head, state)


def _revisions() -> dict[str, str]:
    """Each revision with the one before it, read from the migrations' text: running them all takes far longer."""
    found = {}
    for path in sorted((migrations_folder() / "versions").glob("*.py")):
        own, before = (
            re.search(rf"^{name}(?:: [^=]+)? = (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            for name in ("revision", "down_revision")
        )
        if own and before:
            found[own[1].strip("\"'")] = before[1].strip("\"'")
    return found


def _head(parents: dict[str, str]) -> str:
    """The newest revision: before no other."""
    (head,) = set(parents) - set(parents.values())
    return head


def check(status: SchemaStatus) -> None:
    """Let only a current schema pass.

    Raises:
        SchemaOutOfDateError: it is older or newer than this program.
        StorageError: the database is empty or another program's.
    """
    if status.state == "current":
        return
    raise (SchemaOutOfDateError if status.state in ("older", "newer") else StorageError)(status.sentence)


def create(connection: sa.Connection) -> None:
    """Make the tables and views of the current schema in an empty database, inside the connection's transaction.

    The result is what all migrations give one after the other, in a fifth of their time and without loading Alembic.
    """
    Base.metadata.create_all(connection)
    create_views(connection)
    version = sa.Table(_VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32), nullable=False))
    version.append_constraint(sa.PrimaryKeyConstraint("version_num", name=f"{_VERSION_TABLE}_pkc"))
    version.create(connection)
    connection.execute(version.insert().values(version_num=_head(_revisions())))


_MAX_CHECK_S = 3.0
"""Longest search for damage after an error; a large database is not read to its end for it."""

_KINDS: tuple[tuple[type[sa.types.TypeEngine[Any]], str], ...] = (
    (sa.JSON, "'text'"),
    (sa.Boolean, "'integer'"),
    (sa.Integer, "'integer'"),
    (sa.Float, "'real', 'integer'"),
    (sa.DateTime, "'text'"),
    (sa.String, "'text'"),
    (sa.LargeBinary, "'blob'"),
)
_BYTES = {"xyxy": 16, "landmarks": 40, "logits": 28, "probabilities": 28, "smoothed": 28}


def is_damaged(connection: sa.Connection) -> bool:
    """Whether an SQLite file is damaged, or holds values that this program never writes, as far as 3 s show.

    Args:
        connection: to a database of the current schema.
    """
    raw: Any = connection.connection.driver_connection
    until_s = time.monotonic() + _MAX_CHECK_S
    raw.set_progress_handler(lambda: time.monotonic() > until_s, 10_000)
    try:
        if raw.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            return True
        return any(raw.execute(_misfits(table)).fetchone() for table in Base.metadata.sorted_tables)
    except sqlite3.OperationalError as error:
        return "interrupted" not in str(error)
    except sqlite3.Error:
        return True
    finally:
        raw.set_progress_handler(None, 0)


def _misfits(table: sa.Table) -> str:
    """Query for a row with a value of another kind than its column's."""
    wrong = []
    for column in table.columns:
        kind = column.type.impl if isinstance(column.type, sa.TypeDecorator) else column.type
        name = f'"{column.name}"'
        kinds = next(kinds for of, kinds in _KINDS if isinstance(kind, of))
        null = ", 'null'" if column.nullable else ""
        wrong.append(f"typeof({name}) NOT IN ({kinds}{null})")
        if isinstance(kind, sa.JSON):
            wrong.append(f"NOT json_valid({name})")
        elif isinstance(kind, sa.DateTime):
            wrong.append(f"datetime({name}) IS NULL AND {name} IS NOT NULL")
        elif column.name == "label" and isinstance(kind, sa.Integer):
            wrong.append(f"{name} NOT BETWEEN -2 AND 6")
        elif table.name == "faces" and column.name in _BYTES:
            wrong.append(f"length({name}) <> {_BYTES[column.name]}")
        elif column.name == "time_base":
            wrong.append(f"CAST(substr({name}, instr({name}, '/') + 1) AS INTEGER) <= 0")
    return f'SELECT 1 FROM "{table.name}" WHERE {" OR ".join(wrong)} LIMIT 1'


def migrate(connection: sa.Connection, revision: str = "head", *, down: bool = False) -> None:
    """Bring a database to another revision, inside the connection's transaction: it all happens, or none of it.

    Foreign keys must not be enforced on this connection (see ``make_engine``); they are checked at the end.

    Raises:
        StorageError: the migration would leave rows that point nowhere.
    """
    from alembic import command

    run = command.downgrade if down else command.upgrade
    drop_views(connection)
    run(_config(connection), revision)
    if read_status(connection, "").state == "current":
        create_views(connection)
    if connection.dialect.name == "sqlite":
        dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if dangling:
            raise StorageError(f"not migrated: {len(dangling)} rows of table {dangling[0][0]} would point nowhere")


def _config(connection: sa.Connection | None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
