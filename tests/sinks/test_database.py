from __future__ import annotations

import datetime as dt
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from fertrack.errors import StorageError
from fertrack.protocols import Sink
from fertrack.sinks.database import DatabaseSink, RunRecord
from fertrack.storage.engine import Database, StorageConfig, open_database
from fertrack.storage.models import Face, FrameRow, Person, Run, Source, TrackRow
from fertrack.storage.packing import pack_rows, unpack_rows
from fertrack.types import AnalysisMs, Detections, Faces, FrameResult
from tests.support import queries
from tests.support.paths import REPOSITORY
from tests.support.storage_scenes import INFO, RECORD, random_results, result, store, summary


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "a.db", create=True, busy_timeout_s=0.05) as opened:
        yield opened


def count(database: Database, table: type) -> int:
    with database.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table))


def test_it_is_a_sink(database: Database) -> None:
    sink = DatabaseSink(database, INFO, RECORD)
    assert isinstance(sink, Sink)
    assert (sink.name, sink.needs_image) == ("store", False)
    with pytest.raises(ValueError, match="must be entered"):
        _ = sink.run_id


def test_every_fact_comes_back_bit_for_bit(database: Database) -> None:
    random = np.random.default_rng(1)
    f32 = np.float32
    faces = Faces(
        Detections(random.random((3, 4), f32) * 999, random.random(3, f32), random.random((3, 5, 2), f32) * 999),
        random.normal(size=(3, 7)).astype(f32),
    )
    probabilities, smoothed = random.random((3, 7), f32), random.random((3, 7), f32)
    smoothed[1] = [0.1, 0.2, 0.3, 0.39, 0.4, 0.0, 0.0]
    frame = FrameResult(
        frame_index=70_000,
        timestamp_s=1 / 3,
        faces=faces,
        track_ids=np.array([2, 7, -1]),
        track_xyxy=faces.detections.xyxy,
        probabilities=probabilities,
        smoothed=smoothed,
        labels=np.array([0, 3, -1]),  # 3 is held by hysteresis although 4 is ahead by a hair
        ms=AnalysisMs(read=1.2345, detect=20.0, align=0.0004, classify=1.0, waiting=3),
        track_ms=0.5,
    )
    info = replace(INFO, time_base=Fraction(1001, 30_000), rotation=90, fps=29.97, frame_count=2**40, duration_s=12.5)
    run = store(database, [frame], info=info)

    with database.reading() as connection:
        rows = connection.execute(sa.select(Face.__table__).order_by(Face.face_index)).all()
        stored = connection.execute(sa.select(FrameRow.__table__)).one()
    assert stored == (run, 70_000, 1 / 3, 1234, 20_000, 0, 1000, 500, 3)
    assert [row.track for row in rows] == [2, 7, None]
    assert [row.label for row in rows] == [0, 3, -1]
    assert [row.probability for row in rows] == [smoothed[0, 0], smoothed[1, 3], smoothed[2].max()]
    assert [row.score for row in rows] == faces.detections.score.tolist()
    for name, shape, expected in (
        ("xyxy", (4,), faces.detections.xyxy),
        ("landmarks", (5, 2), faces.detections.landmarks),
        ("logits", (7,), faces.logits),
        ("probabilities", (7,), probabilities),
        ("smoothed", (7,), smoothed),
    ):
        np.testing.assert_array_equal(unpack_rows([getattr(row, name) for row in rows], shape), expected)
    facts = queries.run_facts(database, run)
    assert facts.info == info
    assert facts.summary == summary([frame])


def test_packed_values_are_little_endian_float32() -> None:
    assert pack_rows(np.array([[1.0, -2.0]], ">f4")) == [b"\x00\x00\x80\x3f\x00\x00\x00\xc0"]
    assert unpack_rows([b"\x00\x00\x80\x3f", b"\x00\x00\x00\xc0"], (1,)).tolist() == [[1.0], [-2.0]]
    assert pack_rows(np.empty((0, 7), np.float32)) == []
    assert unpack_rows([], (5, 2)).shape == (0, 5, 2)
    with pytest.raises(ValueError, match="reshape"):
        unpack_rows([b"\x00\x00\x80\x3f"], (2,))


def test_frames_without_faces_are_stored_too(database: Database) -> None:
    run = store(database, [result(i, i / 25) for i in range(5)])
    assert (count(database, FrameRow), count(database, Face)) == (5, 0)
    assert queries.timeline(database, run).empty
    facts = queries.run_facts(database, run)
    assert (facts.status, facts.summary.frames, facts.summary.faces, facts.summary.tracks) == ("complete", 5, 0, 0)


def test_a_run_without_frames_can_be_finished(database: Database) -> None:
    run = store(database, [])
    assert queries.run_facts(database, run).status == "complete"
    assert queries.tracks(database, run).empty
    assert queries.episodes(database, run).empty


def test_a_nan_from_a_network_does_not_stop_the_run(database: Database) -> None:
    frame = result(0, 0.0, [(1, "anger", 0.5)])
    frame = replace(frame, smoothed=np.full((1, 7), np.nan, np.float32))
    run = store(database, [frame])
    row = queries.timeline(database, run).iloc[0]
    assert row["probability"] == 0.0
    assert np.isnan(row["p_anger"])


def test_tracks_keep_their_first_and_last_frame_across_batches(database: Database) -> None:
    scene = [
        result(i, i / 10, [(1, "anger", 0.5), (2, "fear", 0.5)] if 3 <= i < 8 else [(2, "fear", 0.5)])
        for i in range(12)
    ]
    store(database, [*scene, result(12, 1.2, [(1, "anger", 0.5), (-1, "uncertain", 0.2)])], batch_rows=2)
    with database.reading() as connection:
        rows = connection.execute(sa.select(TrackRow.__table__).order_by(TrackRow.number)).all()
    assert rows == [(1, 1, None, 3, 12, 0.3, 1.2, 6), (1, 2, None, 0, 11, 0.0, 1.1, 12)]


def test_one_source_has_many_runs_and_numbers_are_never_reused(database: Database) -> None:
    first, second = (store(database, [result(0, 0.0)]) for _ in range(2))
    other = store(database, [result(0, 0.0)], info=replace(INFO, path="/videos/other.mp4"))
    assert (first, second, other) == (1, 2, 3)
    assert count(database, Source) == 2
    with database.writing() as connection:
        connection.execute(sa.delete(Run).where(Run.id == 3))
    assert store(database, [result(0, 0.0)]) == 4


def test_deleting_a_run_deletes_all_that_hangs_on_it_and_no_person(database: Database) -> None:
    run = store(database, [result(i, i / 25, [(1, "anger", 0.5)]) for i in range(30)])
    kept = store(database, [result(0, 0.0, [(1, "anger", 0.5)])])
    with database.writing() as connection:
        connection.execute(sa.insert(Person).values(id=5, display_name="Ann", created_at=dt.datetime.now(dt.UTC)))
        connection.execute(sa.update(TrackRow).values(person_id=5))
        connection.execute(sa.delete(Run).where(Run.id == run))
    assert (count(database, FrameRow), count(database, Face), count(database, TrackRow)) == (1, 1, 1)
    with database.writing() as connection:
        connection.execute(sa.delete(Person))
    assert len(queries.timeline(database, kept)) == 1


# Batches ---------------------------------------------------------------------------------------------------------


def commits_during(database: Database, results: list[FrameResult], config: StorageConfig) -> list[tuple[int, int]]:
    """Frames and faces readable from outside after each commit."""
    seen: list[tuple[int, int]] = []

    def look(_connection: sa.Connection) -> None:
        after_this.append(True)

    after_this: list[bool] = []
    event.listen(database.engine, "commit", look)
    outside = sqlite3.connect(database.url)
    with DatabaseSink(database, INFO, RECORD, config) as sink:
        after_this.clear()
        for each in results:
            sink.write(each)
            if after_this:
                after_this.clear()
                counts = [
                    outside.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("frames", "faces")
                ]
                seen.append((counts[0], counts[1]))
        sink.finish(summary(results))
    outside.close()
    return seen


def test_a_batch_holds_at_most_batch_rows(database: Database) -> None:
    scene = list(random_results(20, 3))  # 4 rows a frame
    seen = commits_during(database, scene, StorageConfig(batch_rows=10, flush_s=60))
    assert seen == [(2 * n, 6 * n) for n in range(1, 10)]
    assert count(database, FrameRow) == 20


def test_a_frame_larger_than_a_batch_is_one_transaction(database: Database) -> None:
    seen = commits_during(database, list(random_results(3, 50)), StorageConfig(batch_rows=10, flush_s=60))
    assert seen == [(1, 50), (2, 100), (3, 150)]


def test_rows_are_written_after_flush_s_at_the_latest(database: Database) -> None:
    with DatabaseSink(database, INFO, RECORD, StorageConfig(batch_rows=100_000, flush_s=0.05)) as sink:
        sink.write(result(0, 0.0))
        assert count(database, FrameRow) == 0
        time.sleep(0.06)
        sink.write(result(1, 0.04))
        assert count(database, FrameRow) == 2
        sink.finish(summary([]))


def test_a_run_in_progress_says_what_it_holds(database: Database) -> None:
    with DatabaseSink(database, INFO, RECORD, StorageConfig(batch_rows=1)) as sink:
        for each in (result(0, 0.0), result(1, 0.5, [(1, "anger", 0.5)])):
            sink.write(each)
        facts = queries.run_facts(database, sink.run_id)
        assert facts.status == "running"
        assert (facts.summary.frames, facts.summary.faces, facts.summary.tracks) == (2, 1, 1)
        assert facts.summary.video_s == 0.5
        assert facts.ended_at is None
        assert {stage.stage: stage.mean_ms for stage in facts.summary.stages} == {
            "read": 2.0,
            "detect": 20.0,
            "align": 0.5,
            "classify": 1.25,
            "track": 0.25,
        }
        sink.finish(summary([]))


def test_rows_are_written_by_the_batch_not_one_by_one(database: Database) -> None:
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    event.listen(database.engine, "before_cursor_execute", count)
    store(database, list(random_results(1000, 3)))  # 4,000 rows of frames and faces
    assert statements < 100


@pytest.mark.parametrize(("faces_a_frame", "whole_file_limit"), [(1, 325), (3, 300)])
def test_a_face_with_its_index_takes_300_bytes_at_most(
    database: Database, faces_a_frame: int, whole_file_limit: int
) -> None:
    scene = list(random_results(15_000, faces_a_frame))
    faces = len(scene) * faces_a_frame
    url = database.url
    with sqlite3.connect(url) as raw:  # every table takes a page, however little is in it
        (empty_size,) = raw.execute("SELECT sum(pgsize) FROM dbstat").fetchone()
    raw.close()
    store(database, scene)
    database.close()
    with sqlite3.connect(url) as raw:
        sizes = dict(raw.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
    raw.close()
    per_face = (sizes["faces"] + sizes["ix_faces_run_id_track_label_probability"]) / faces
    assert per_face <= 300
    # Labels at random begin an episode with every face; people keep an expression for some twenty frames.
    file_size = Path(url).stat().st_size - sizes["episodes"] - empty_size
    assert file_size / faces <= whole_file_limit, "with the frames, which a single face pays for alone"


# How runs end ----------------------------------------------------------------------------------------------------


def test_the_end_is_recorded(database: Database) -> None:
    scene = [result(0, 0.0, [(1, "anger", 0.5)])]
    before = dt.datetime.now(dt.UTC)
    with DatabaseSink(database, INFO, RECORD) as sink:
        sink.write(scene[0])
        sink.finish(replace(summary(scene, "failed"), error="the disk is on fire"))
    facts = queries.run_facts(database, sink.run_id)
    assert facts.status == "failed"
    assert facts.summary.error == "the disk is on fire"
    assert facts.summary.notes == ("the file ends early", "two packets were skipped")
    assert facts.ended_at is not None
    assert before <= facts.started_at <= facts.ended_at <= dt.datetime.now(dt.UTC)


@pytest.mark.parametrize(("raised", "status"), [(RuntimeError("boom"), "failed"), (KeyboardInterrupt(), "interrupted")])
def test_a_run_nobody_finished_keeps_its_rows(database: Database, raised: BaseException, status: str) -> None:
    sink = DatabaseSink(database, INFO, RECORD)

    def work() -> None:
        with sink:
            sink.write(result(0, 0.0, [(1, "anger", 0.5)]))
            raise raised

    with pytest.raises(type(raised)):
        work()
    facts = queries.run_facts(database, sink.run_id)
    assert (facts.status, facts.summary.frames, facts.summary.faces) == (status, 1, 1)
    assert facts.summary.error == ("boom" if status == "failed" else "")


def test_leaving_without_finishing_is_an_interruption(database: Database) -> None:
    with DatabaseSink(database, INFO, RECORD) as sink:
        sink.write(result(0, 0.0))
    assert queries.run_facts(database, sink.run_id).status == "interrupted"
    assert count(database, FrameRow) == 1


def write_all(sink: DatabaseSink, results: list[FrameResult]) -> None:
    for each in results:
        sink.write(each)


def limit_size(database: Database, more_pages: int) -> None:
    """As a full disk: this connection may add only so many pages."""
    with sqlite3.connect(database.url) as raw:
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
    raw.close()
    event.listen(
        database.engine,
        "connect",
        lambda raw, _: raw.execute(f"PRAGMA max_page_count = {pages + more_pages}").fetchall(),
    )
    database.engine.dispose()


def test_disk_full_keeps_what_was_written_before(database: Database) -> None:
    scene = list(random_results(2000, 3))
    with DatabaseSink(database, INFO, RECORD, StorageConfig(batch_rows=100)) as sink:
        sink.write(scene[0])
        limit_size(database, more_pages=40)
        with pytest.raises(StorageError, match=r"the disk is full: .*a\.db holds what was written before"):
            write_all(sink, scene[1:])
        with pytest.raises(StorageError, match="the disk is full"):
            sink.finish(summary(scene))
    facts = queries.run_facts(database, sink.run_id)
    timeline = queries.timeline(database, sink.run_id)
    assert facts.status == "failed"
    assert facts.summary.error.startswith("the disk is full")
    assert 0 < len(timeline) < 6000
    assert facts.summary.faces == len(timeline), "the record tells what is there, not what should have been"
    assert facts.summary.frames == count(database, FrameRow) == len(timeline) / 3
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_a_lock_loses_nothing_once_it_is_gone(database: Database) -> None:
    scene = list(random_results(10, 2))
    lock = sqlite3.connect(database.url, isolation_level=None)
    with DatabaseSink(database, INFO, RECORD, StorageConfig(batch_rows=3)) as sink:
        lock.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked by another program"):
            sink.write(scene[0])
        lock.execute("COMMIT")
        for each in scene[1:]:
            sink.write(each)
        sink.finish(summary(scene))
    lock.close()
    assert len(queries.timeline(database, sink.run_id)) == 20


def test_a_database_that_went_away_is_reported_once_and_raises_nothing_new(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    lock = sqlite3.connect(database.url, isolation_level=None)
    sink = DatabaseSink(database, INFO, RECORD)

    def work() -> None:
        with sink:
            sink.write(result(0, 0.0))
            lock.execute("BEGIN IMMEDIATE")
            raise RuntimeError("the first reason")

    with pytest.raises(RuntimeError, match="the first reason"), caplog.at_level(logging.WARNING):
        work()
    lock.close()
    assert "its last frames were lost" in caplog.text
    assert "stays marked as running" in caplog.text


def test_a_run_that_cannot_begin_says_so(database: Database) -> None:
    lock = sqlite3.connect(database.url, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked"), DatabaseSink(database, INFO, RECORD):
        pass
    lock.close()


def test_passwords_are_not_stored(database: Database) -> None:
    record = RunRecord(
        config_toml='[storage]\nurl = "postgresql://me:s3cret@host/db"\n', config_digest="", detector="", classifier=""
    )
    store(database, [], record=record, info=replace(INFO, path="rtsp://me:s3cret@camera/1"))
    url = database.url
    database.close()
    assert b"s3cret" not in Path(url).read_bytes()


KILLED = """
    import sys, time
    sys.path.insert(0, sys.argv[2])
    from tests.support.storage_scenes import INFO, RECORD, random_results
    from fertrack.sinks.database import DatabaseSink
    from fertrack.storage.engine import StorageConfig, open_database

    database = open_database(sys.argv[1], create=True)
    with DatabaseSink(database, INFO, RECORD, StorageConfig(batch_rows=40)) as sink:
        for each in random_results(1_000_000, 3):
            sink.write(each)
            if each.frame_index == 500:
                print("go", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a POSIX signal")
def test_kill_9_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    here = REPOSITORY
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(path), str(here)],
        stdout=subprocess.PIPE,
        cwd=here,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        with open_database(path) as database:
            assert queries.runs(database)["status"].tolist() == ["running"]
        process.send_signal(signal.SIGKILL)
    with open_database(path) as database:
        assert queries.runs(database)["status"].tolist() == ["crashed"]
        facts = queries.run_facts(database, "last")
        assert facts.status == facts.summary.status == "crashed"
        timeline = queries.timeline(database, "last")
        assert facts.summary.frames == count(database, FrameRow) >= 490
        assert facts.summary.faces == len(timeline) == 3 * facts.summary.frames
        assert queries.tracks(database, "last")["frames"].sum() == len(timeline)
        with database.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert connection.scalar(sa.select(Run.status)) == "running", "the record itself is left alone"


def test_a_run_of_another_machine_is_given_up_after_minutes_of_silence(database: Database) -> None:
    with DatabaseSink(database, INFO, RECORD) as sink:

        def set_run(**values: object) -> None:
            with database.writing() as connection:
                connection.execute(sa.update(Run).values(**values))

        set_run(host="elsewhere", pid=2**22 + 5)
        assert queries.run_facts(database, sink.run_id).status == "running"
        set_run(heartbeat_at=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=6))
        assert queries.run_facts(database, sink.run_id).status == "crashed"
        sink.finish(summary([]))


def test_readers_see_whole_batches_while_a_run_is_written(database: Database) -> None:
    done = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            store(database, list(random_results(1500, 2)), batch_rows=60)
        except BaseException as error:
            failures.append(error)
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    with open_database(database.url) as reader:
        while not done.is_set():
            with reader.reading() as connection:
                counted = [connection.scalar(sa.select(sa.func.count()).select_from(t)) for t in (FrameRow, Face)]
                recorded = connection.execute(sa.select(Run.frames, Run.faces)).one_or_none()
            if recorded is not None:
                assert tuple(counted) == tuple(recorded), "one reading sees one moment"
                seen.append(len(queries.timeline(reader, "last")))
        writer.join()
        assert failures == []
        assert len(queries.timeline(reader, "last")) == 3000
    assert seen == sorted(seen)
    assert len(set(seen)) > 2, "the reader kept up with the writer"
