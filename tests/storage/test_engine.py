from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy import event

from fertrack.errors import SchemaOutOfDateError, StorageError
from fertrack.storage.connection import describe, mask_passwords, parse_url
from fertrack.storage.engine import StorageConfig, current, downgrade, open_database, upgrade
from fertrack.storage.models import Run
from tests.support.storage_scenes import result, store


def test_a_new_database_is_made_at_the_current_schema_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "100% ü#?.db"
    with open_database(path, create=True) as database:
        assert database.url == database.name == str(path)
        assert repr(database) == f"Database({str(path)!r})"
    status = current(path)
    assert status.state == "current"
    assert status.revision == status.head != ""
    assert "current schema" in status.sentence
    with open_database(str(path)) as again, again.session() as session:
        assert session.query(Run).all() == []


def test_connections_enforce_foreign_keys_and_write_ahead(tmp_path: Path) -> None:
    with open_database(tmp_path / "a.db", create=True) as database:
        with database.reading() as connection:
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("foreign_keys", "journal_mode", "synchronous", "busy_timeout")
            }
        assert pragmas == {"foreign_keys": 1, "journal_mode": "wal", "synchronous": 1, "busy_timeout": 10_000}
        with pytest.raises(StorageError, match="FOREIGN KEY"), database.writing() as connection:
            connection.exec_driver_sql("INSERT INTO tracks VALUES (99, 1, NULL, 0, 0, 0, 0, 1)")
    assert not list(tmp_path.glob("a.db-*")), "closing leaves one file"


def test_a_sqlite_url_and_a_path_are_the_same_database(tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path}/a.db", create=True).close()
    assert current(tmp_path / "a.db").state == "current"


def test_a_relative_path_stays_the_same_file_when_the_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_database("a.db", create=True) as database:
        monkeypatch.chdir("/")
        assert database.url == str(tmp_path / "a.db")
        store(database, [result(0, 0.0)])


def test_a_failed_write_leaves_nothing_of_itself(tmp_path: Path) -> None:
    def write_twice() -> None:
        with database.writing() as connection:
            for table in ("sources", "nonsense"):
                connection.exec_driver_sql(f"INSERT INTO {table} (name, path) VALUES ('a', 'b')")

    with open_database(tmp_path / "a.db", create=True) as database:
        with pytest.raises(StorageError, match="no such table: nonsense"):
            write_twice()
        with database.reading() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM sources").scalar() == 0


# What cannot be opened -------------------------------------------------------------------------------------------


def sentence(location: str | Path, *, create: bool = False) -> str:
    with pytest.raises(StorageError) as caught:
        open_database(location, create=create, busy_timeout_s=0.05)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_database(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    assert sentence(path) == f"there is no database at {path}: `fertrack process` makes one, or name it with --db"
    assert not path.exists()
    for change in (current, upgrade):
        with pytest.raises(StorageError, match="there is no database"):
            change(path)


def test_empty_file_becomes_a_database_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    assert "has no fertrack tables yet" in sentence(path)
    assert path.stat().st_size == 0
    open_database(path, create=True).close()
    assert current(path).state == "current"


def test_text_file_is_not_a_database_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("these are my notes\n" * 100)
    for create in (False, True):
        assert sentence(path, create=create).startswith(f"{path} is not a database")
    assert path.read_text() == "these are my notes\n" * 100


def test_another_programs_database_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "browser.db"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE bookmarks (url TEXT)")
    raw.close()
    before = path.read_bytes()
    for create in (False, True):
        assert "another program's database" in sentence(path, create=create)
    for change in (upgrade, lambda url: downgrade(url, "base")):
        with pytest.raises(StorageError, match="another program's database"):
            change(path)
    assert path.read_bytes() == before


def test_another_alembic_database_is_not_taken_for_a_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE alembic_version (version_num TEXT)")
        raw.execute("INSERT INTO alembic_version VALUES ('0001')")
        raw.execute("CREATE TABLE bookmarks (url TEXT)")
    raw.close()
    assert "another program's database" in sentence(path, create=True)


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    assert sentence(tmp_path, create=True) == f"{tmp_path} is a folder: give the path of a database file"


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = sentence(tmp_path / "file" / "deeper" / "a.db", create=True)
    assert "cannot be reached or made: " in message


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which even root cannot make files")
def test_folder_that_cannot_be_written() -> None:
    message = sentence("/proc/fertrack-test.db", create=True)
    assert message.startswith("/proc/fertrack-test.db cannot be opened or made: check that its folder is there")


def test_locked_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_database(path, create=True).close()
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    with open_database(path, busy_timeout_s=0.05) as database:
        with pytest.raises(StorageError, match="is locked by another program: wait"), database.writing():
            pass
        with database.reading() as connection:  # a writer elsewhere does not keep anybody from reading
            assert connection.exec_driver_sql("SELECT count(*) FROM runs").scalar() == 0
    with pytest.raises(StorageError, match="locked"):
        upgrade(path, busy_timeout_s=0.05)
    lock.close()


def test_the_switch_to_wal_waits_for_who_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_database(path, create=True).close()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA journal_mode = DELETE")  # as it is between being made and being switched
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked"):
        open_database(path, busy_timeout_s=0.05)
    later = threading.Timer(0.3, writer.close)
    later.start()
    with open_database(path, busy_timeout_s=60) as database, database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    later.join()


def test_read_only_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_database(path, create=True) as database:
        store(database, [result(i, i / 25, [(1, "anger", 0.5)]) for i in range(500)])

    with open_database(path) as database:
        event.listen(database.engine, "connect", lambda raw, _: raw.execute("PRAGMA query_only = ON"))
        database.engine.dispose()
        with pytest.raises(StorageError, match="cannot be written to"), database.writing() as connection:
            connection.exec_driver_sql("DELETE FROM runs")

    damaged = bytearray(path.read_bytes())
    damaged[8192:] = b"\xff" * (len(damaged) - 8192)
    path.write_bytes(damaged)
    with pytest.raises(StorageError, match="is damaged"), open_database(path) as database:  # noqa: SIM117  # opening may already notice
        with database.reading() as connection:
            connection.exec_driver_sql("SELECT sum(length(smoothed)) FROM faces").scalar()


def test_two_programs_may_make_the_same_database_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    barrier = threading.Barrier(4)

    def make() -> None:
        barrier.wait()
        try:
            with open_database(tmp_path / "a.db", create=True) as database:
                store(database, [result(0, 0.0, [(1, "anger", 0.5)])])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with open_database(tmp_path / "a.db") as database, database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*), sum(faces) FROM runs").one() == (4, 4)
        assert connection.exec_driver_sql("SELECT count(*) FROM sources").scalar() == 1


# Schemas of another age ------------------------------------------------------------------------------------------


def set_revision(path: Path, revision: str) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    raw.close()


def test_newer_schema_is_refused_and_never_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_database(path, create=True).close()
    set_revision(path, "9999")
    for attempt in (open_database, upgrade, lambda url: downgrade(url, "base")):
        with pytest.raises(SchemaOutOfDateError, match=r"newer schema \(9999\).*: upgrade fertrack"):
            attempt(path)
    with pytest.raises(SchemaOutOfDateError):
        open_database(path, create=True)
    assert current(path).state == "newer"


# Addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:s3cret@host/db", "postgresql://me:***@host/db"),
        (
            "postgresql+psycopg://me:s3cret@host:5433/db?sslmode=require",
            "postgresql://me:***@host:5433/db?sslmode=require",
        ),
        ("postgresql://host/db?user=me&password=s3cret", "postgresql://host/db?password=...&user=me"),
        ("postgresql://host/db?sslpassword=s3cret", "postgresql://host/db?sslpassword=..."),
    ],
)
def test_passwords_are_masked(address: str, shown: str) -> None:
    url = parse_url(address)
    assert describe(url) == shown
    assert "s3cret" in url.render_as_string(hide_password=False), "but kept for connecting"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:s3cret@host:port/db",
        "postgresql://me:s3cret@[host/db",
        "mysql://me:s3cret@host/db",
        "oops://me:s3cret@host/db",
        "://me:s3cret@host",
    ],
)
def test_no_error_shows_a_password(address: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_database(address, create=True)
    seen: BaseException | None = caught.value
    while seen is not None:
        assert "s3cret" not in f"{seen} {seen!r}"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


@pytest.mark.parametrize("address", ["", ":memory:", "sqlite://", "sqlite:///:memory:", "sqlite:///file:a.db?uri=true"])
def test_a_database_needs_a_file(address: str) -> None:
    assert "a database needs a file" in sentence(address, create=True)


def test_other_kinds_of_database_are_named() -> None:
    assert sentence("mysql://host/db") == (
        "a database of kind 'mysql' is not supported: give a file path, or postgresql://user@host/name"
    )


def test_configuration_texts_are_masked() -> None:
    text = 'url = "postgresql://me:p@ss:w0rd@host/db"\nother = "http://host:80/x"  # a@b'
    assert mask_passwords(text) == 'url = "postgresql://me:***@host/db"\nother = "http://host:80/x"  # a@b'
    assert mask_passwords("rtsp://cam/1?user=me&passwd=s3cret&x=1") == "rtsp://cam/1?user=me&passwd=***&x=1"


def test_config_is_strict_and_hides_its_url() -> None:
    config = StorageConfig(url="postgresql://me:s3cret@host/db")
    assert "s3cret" not in repr(config)
    assert (config.batch_rows, config.flush_s) == (1000, 1.0)
    for wrong in ({"batch_rows": 0}, {"flush_s": 0.0}, {"batchrows": 5}):
        with pytest.raises(ValidationError):
            StorageConfig(**wrong)


def test_other_database_errors_are_one_sentence_too(tmp_path: Path) -> None:
    with (
        open_database(tmp_path / "a.db", create=True) as database,
        pytest.raises(StorageError, match=f"database {tmp_path}/a.db: no such column: nonsense") as caught,
        database.reading() as connection,
    ):
        connection.execute(sa.text("SELECT nonsense FROM runs"))
    assert isinstance(caught.value.__cause__, sa.exc.SQLAlchemyError)


def read_only_media(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file look as if it were on a file system that nobody can write to."""
    real = os.statvfs

    def statvfs(asked: str | Path) -> object:
        found = real(asked)
        return SimpleNamespace(f_flag=found.f_flag | os.ST_RDONLY) if Path(asked) == path else found

    monkeypatch.setattr(os, "statvfs", statvfs)


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="Windows does not say so")
def test_results_on_read_only_media_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "50 % done? #1.db"  # characters that an address must not take for its own
    with open_database(path, create=True) as database:
        store(database, [result(0, 0.0)])
    read_only_media(path, monkeypatch)
    with open_database(path) as database:
        with database.run() as run:
            assert run.number == 1
            assert [each.name for each in tmp_path.iterdir()] == [path.name], "no files beside it"
        wanted = "cannot be written to: make the file and its folder writable"
        with pytest.raises(StorageError, match=wanted), database.writing() as connection:
            connection.execute(sa.delete(Run))
    assert current(path).state == "current"


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="Windows does not say so")
def test_a_file_and_a_folder_without_write_permission_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.db"
    with open_database(path, create=True) as database:
        store(database, [result(0, 0.0)])
    monkeypatch.setattr(os, "access", lambda asked, mode: not mode & os.W_OK)  # 0444 in 0555, for others than root
    with open_database(path) as database, database.run() as run:
        assert run.number == 1
        assert [each.name for each in tmp_path.iterdir()] == [path.name], "no files beside it"


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="Windows does not say so")
def test_half_a_database_on_read_only_media_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.db"
    open_database(path, create=True).close()
    (tmp_path / "a.db-wal").write_bytes(b"rows that are not in the file yet")
    read_only_media(path, monkeypatch)
    with pytest.raises(StorageError, match=r"while it was being written: copy it and a\.db-wal into a folder"):
        open_database(path)
