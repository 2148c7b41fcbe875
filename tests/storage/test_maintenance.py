"""Check, vacuum and backup of SQLite files; of PostgreSQL see test_postgresql.py."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from fertrack.errors import StorageError
from fertrack.storage.answer_models import EpisodeRow, EpisodeSet
from fertrack.storage.engine import Database, open_database
from fertrack.storage.maintenance import backup, check_database, vacuum
from fertrack.storage.models import Run
from tests.support import queries
from tests.support.storage_scenes import random_results, result, store


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "a.db", create=True) as opened:
        store(opened, list(random_results(400, 3)))
        store(opened, [result(0, 0.0, [(1, "fear", 0.9), (-1, "anger", 0.6)]), result(1, 0.1)])
        yield opened


def test_a_whole_database_passes(database: Database) -> None:
    report = check_database(database)
    assert (report.problems, report.without_episodes) == ((), 0)
    assert (report.rows["faces"], report.rows["frames"], report.rows["runs"]) == (1202, 402, 2)


def test_wrong_counts_lost_rows_and_stale_episodes_are_found(database: Database) -> None:
    with closing(sqlite3.connect(database.url)) as raw:  # foreign keys off, as in other programs
        raw.execute("DELETE FROM frames WHERE run_id = 2 AND frame_index = 0")
        raw.execute("UPDATE runs SET tracks = 9 WHERE id = 1")
        raw.execute("DELETE FROM episodes WHERE run_id = 1 AND track = 2 AND first_frame < 20")
        raw.execute("DELETE FROM episode_sets WHERE run_id = 2")
        raw.commit()
    report = check_database(database)
    assert report.problems == (
        "2 rows of faces point to rows of frames that are gone",
        "run 2 says it has 2 frames, and has 1",
        "run 1 says it has 9 tracks, and has 3",
        "run 1: the stored episodes of 1 tracks do not fit their faces",
    )
    assert report.without_episodes == 1


def test_a_damaged_file_is_found_or_refused(database: Database, tmp_path: Path) -> None:
    url = database.url
    database.close()
    content = bytearray(Path(url).read_bytes())
    with closing(sqlite3.connect(url)) as raw:
        (page,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_tracks_person_id'").fetchone()
    content[(page - 1) * 4096 + 200 : page * 4096] = b"\xff" * (4096 - 200)
    (tmp_path / "bad.db").write_bytes(content)
    with open_database(tmp_path / "bad.db") as damaged:
        assert any("the file is damaged" in problem for problem in check_database(damaged).problems)
        with pytest.raises(StorageError, match="damaged"):
            backup(damaged, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    assert not list(tmp_path.glob(".fertrack-backup-*"))


def test_vacuum_gives_space_back(database: Database) -> None:
    with database.writing() as connection:
        for table in (EpisodeRow, EpisodeSet):
            connection.execute(sa.delete(table).where(table.run_id == 1))
        connection.exec_driver_sql("DELETE FROM faces WHERE run_id = 1")
        connection.execute(sa.delete(Run).where(Run.id == 1))
    report = vacuum(database)
    assert report.after < report.before / 2
    assert check_database(database).problems == ()
    with open_database(database.url) as other, other.writing(), pytest.raises(StorageError, match="locked by another"):
        vacuum(open_database(database.url, busy_timeout_s=0.1))


def test_a_backup_is_the_database_at_one_moment(database: Database, tmp_path: Path) -> None:
    copy = tmp_path / "new folder" / "copy.db"
    with database.writing() as connection:
        connection.execute(sa.delete(EpisodeSet))  # not committed yet: not in the copy
        size = backup(database, copy)
    assert size == copy.stat().st_size > 100_000
    assert [path.name for path in copy.parent.iterdir()] == ["copy.db"], "one file, and nothing left over"
    with open_database(copy) as opened:
        assert queries.timeline(opened, 1).equals(queries.timeline(database, 1))
        assert check_database(opened).without_episodes == 0
    with pytest.raises(StorageError, match="is there already"):
        backup(database, copy)
    assert backup(database, copy, overwrite=True) > 0
    with pytest.raises(StorageError, match="is the database itself"):
        backup(database, database.url, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        backup(database, tmp_path / "file" / "copy.db")
