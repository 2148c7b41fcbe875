"""Runs whose time is over go, with everything of theirs and nothing of others'; the file forgets them."""

from __future__ import annotations

import datetime as dt
import io
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from fertrack.cli.main import run as fertrack
from fertrack.errors import StorageError
from fertrack.sinks.database import DatabaseSink
from fertrack.storage.engine import Database, open_database
from fertrack.storage.models import Base, Embedding, Person, Run, TrackRow
from fertrack.storage.people.corrections import GivenLabel, store_corrections
from fertrack.storage.rights.retention import delete_run, purge
from tests.support import queries
from tests.support.postgres_server import running_server
from tests.support.queries import corrections
from tests.support.storage_scenes import INFO, RECORD, result, store

SCENE = [result(i, i / 25, [(1, "anger", 0.5), (2, "fear", 0.6)]) for i in range(5)]
LATER = dt.datetime.now(dt.UTC) + dt.timedelta(days=31)


def stored(db: Database, name: str, days: int | None) -> int:
    return store(
        db, SCENE, info=replace(INFO, name=name, path=f"/v/{name}"), record=replace(RECORD, retention_days=days)
    )


def counts(db: Database) -> dict[str, int]:
    with db.reading() as connection:
        return {
            table.name: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
        }


def name_track(db: Database, run: int, track: int, name: str) -> int:
    with db.writing() as connection:
        key = connection.execute(
            sa.insert(Person).values(display_name=name, created_at=dt.datetime.now(dt.UTC), number=1)
        ).inserted_primary_key
        assert key is not None
        connection.execute(
            sa.update(TrackRow).where(TrackRow.run_id == run, TrackRow.number == track).values(person_id=key[0])
        )
        return int(key[0])


def test_a_run_goes_with_all_it_has_and_the_others_stay_as_they_are(db: Database) -> None:
    kept = stored(db, "kept.mp4", None)
    before = queries.timeline(db, kept)
    alone = counts(db)
    gone = stored(db, "gone.mp4", 30)
    store_corrections(db, gone, [GivenLabel(row=2, label=3, frame_index=0, face_index=0)])
    assert counts(db)["corrections"] == 1

    report = purge(db, now=LATER)
    assert [(run.run, run.source, run.frames, run.faces) for run in report.runs] == [(gone, "gone.mp4", 5, 10)]
    assert report.deleted
    assert counts(db) == alone
    assert queries.timeline(db, kept).equals(before)
    assert purge(db, now=LATER).runs == ()
    assert stored(db, "next.mp4", None) > gone, "the number of a deleted run is not given to another"


def test_days_count_from_the_end_and_not_a_moment_less(db: Database) -> None:
    run = stored(db, "clip.mp4", 30)
    ended_at = queries.run_facts(db, run).ended_at
    assert ended_at is not None
    over_at = ended_at + dt.timedelta(days=30)
    assert purge(db, now=over_at - dt.timedelta(seconds=1)).runs == ()
    assert purge(db, now=over_at).runs[0].expired_at == over_at


def test_a_dry_run_says_the_same_and_deletes_nothing(db: Database) -> None:
    run = stored(db, "clip.mp4", 30)
    name_track(db, run, 1, "Ana")
    before = counts(db)
    said = purge(db, now=LATER, dry_run=True)
    assert (counts(db), said.deleted) == (before, False)
    done = purge(db, now=LATER)
    assert (done.runs, done.persons) == (said.runs, said.persons)


def test_a_run_in_progress_stays_and_a_dead_one_goes(db: Database) -> None:
    record = replace(RECORD, retention_days=1)
    sink = DatabaseSink(db, INFO, record)
    with sink:
        sink.write(SCENE[0])
        assert purge(db, now=LATER).runs == ()
    with db.writing() as connection:
        long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
        connection.execute(sa.update(Run).values(status="running", ended_at=None, heartbeat_at=long_ago, host="gone"))
    assert [run.run for run in purge(db).runs] == [sink.run_id]


def test_persons_go_with_their_last_run(db: Database) -> None:
    kept, gone = stored(db, "kept.mp4", None), stored(db, "gone.mp4", 1)
    in_both = name_track(db, kept, 1, "Both")
    name_track(db, gone, 1, "Only here")
    with db.writing() as connection:
        connection.execute(
            sa.update(TrackRow).where(TrackRow.run_id == gone, TrackRow.number == 2).values(person_id=in_both)
        )
    assert purge(db, now=LATER).persons == 1
    with db.reading() as connection:
        assert connection.scalars(sa.select(Person.display_name)).all() == ["Both"]


def test_embeddings_past_their_date_go_whatever_their_run(db: Database) -> None:
    run = stored(db, "kept.mp4", None)
    person = name_track(db, run, 1, "Ana")
    with db.writing() as connection:
        for position, days in enumerate((10, 100)):
            connection.execute(
                sa.insert(Embedding).values(
                    run_id=run,
                    track=1,
                    position=position,
                    person_id=person,
                    embedder="e",
                    quality=1.0,
                    vector=b"1234",
                    expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(days=days),
                )
            )
    assert purge(db, now=LATER).embeddings == 1
    assert counts(db)["embeddings"] == 1


def test_no_byte_of_a_deleted_run_is_left_in_the_files(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_database(path, create=True) as db:
        stored(db, "kept.mp4", None)
        run = stored(db, "zebra-crossing.mp4", 1)
        name_track(db, run, 1, "Quetzalcoatl")
        with db.writing() as connection:
            connection.execute(sa.update(Run).where(Run.id == run).values(purpose="xylophone"))
        words = (b"zebra-crossing", b"Quetzalcoatl", b"xylophone")
        assert any(words[0] in file.read_bytes() for file in tmp_path.iterdir())
        purge(db, now=LATER)
        for file in tmp_path.iterdir():
            assert not [word for word in words if word in file.read_bytes()], file


def test_a_database_in_use_is_one_sentence_and_keeps_its_runs(db: Database, tmp_path: Path) -> None:
    stored(db, "clip.mp4", 1)
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with open_database(tmp_path / "a.db", busy_timeout_s=0.1) as impatient, pytest.raises(StorageError, match="locked"):
        purge(impatient, now=LATER)
    other.rollback()
    other.close()
    assert counts(db)["runs"] == 1


def test_the_command_names_what_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.db"
    with open_database(path, create=True) as db:
        run = stored(db, "clip.mp4", 30)
        with db.writing() as connection:
            long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=40)
            connection.execute(sa.update(Run).where(Run.id == run).values(ended_at=long_ago))
    assert fertrack(["privacy", "purge", "--db", str(path), "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert "clip.mp4" in printed.out
    assert "would delete: 1 runs" in printed.out
    assert fertrack(["privacy", "purge", "--db", str(path)]) == 0
    printed = capsys.readouterr()
    assert "deleted: 1 runs" in printed.out
    assert "delete them too" in printed.err
    assert fertrack(["privacy", "purge", "--db", str(path)]) == 0
    assert capsys.readouterr().out == ("deleted: 0 runs, 0 persons who were only in them, 0 expired face embeddings\n")


def test_the_same_on_postgresql() -> None:
    with running_server() as server:
        admin = sa.create_engine(f"postgresql+psycopg:///postgres?{server}", isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(sa.text("CREATE DATABASE retention TEMPLATE template0 ENCODING 'UTF8'"))
        admin.dispose()
        with open_database(f"postgresql:///retention?{server}", create=True) as db:
            kept = stored(db, "kept.mp4", None)
            before = queries.timeline(db, kept)
            alone = counts(db)
            gone = stored(db, "gone.mp4", 30)
            name_track(db, gone, 1, "Ana")
            given = [GivenLabel(row=2, label=3, track=1, from_s=0.0, to_s=0.1), GivenLabel(row=3, label=3, run=9)]
            assert store_corrections(db, gone, given).faces == 3
            assert store_corrections(db, gone, given[:1]).replaced == 3
            assert corrections(db, gone)["corrected"].tolist() == ["happiness"] * 3
            assert [run.run for run in purge(db, now=LATER).runs] == [gone]
            assert counts(db) == alone
            assert queries.timeline(db, kept).equals(before)


def test_a_deleted_run_goes_with_all_it_has_and_the_others_stay(db: Database) -> None:
    kept = stored(db, "kept.mp4", None)
    before, alone = queries.timeline(db, kept), counts(db)
    gone = stored(db, "gone.mp4", None)
    store_corrections(db, gone, [GivenLabel(row=2, label=3, frame_index=0, face_index=0)])
    name_track(db, gone, 1, "Ann")
    held = counts(db)
    said = delete_run(db, gone, dry_run=True)
    assert counts(db) == held, "saying what would go deletes nothing"
    assert (said.run, said.source, said.frames, said.faces, said.corrections, said.persons) == (
        gone,
        "gone.mp4",
        5,
        10,
        1,
        1,
    )
    assert delete_run(db, "last") == said
    assert counts(db) == alone
    assert queries.timeline(db, kept).equals(before)


def test_a_run_is_deleted_only_when_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(tmp_path / "a.db")
    monkeypatch.setenv("FERTRACK_DB", url)
    with open_database(url, create=True) as database:
        stored(database, "a.mp4", None)
        stored(database, "b.mp4", None)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert fertrack(["runs", "delete", "2"]) != 0
    assert "run 2 of b.mp4: 5 frames, 10 faces" in capsys.readouterr().out
    assert fertrack(["runs"]) == 0
    assert "b.mp4" in capsys.readouterr().out
    assert fertrack(["runs", "delete", "2", "--yes"]) == 0
    assert "run 2 deleted" in capsys.readouterr().out
    assert fertrack(["runs", "list", "--format", "csv"]) == 0
    printed = capsys.readouterr().out
    assert "a.mp4" in printed
    assert "b.mp4" not in printed
    assert fertrack(["runs", "delete", "2", "--yes"]) != 0
