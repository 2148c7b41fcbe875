"""The same schema, the same rows and the same answers on a real PostgreSQL server as in an SQLite file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from fertrack.cli.main import run as run_command
from fertrack.demo import compose_demo
from fertrack.errors import RunNotFoundError, StorageError
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig, SmoothingConfig
from fertrack.imports.marker_import import import_markers
from fertrack.sinks.database import RunRecord
from fertrack.storage import schema
from fertrack.storage.answer_models import Marker
from fertrack.storage.connection import make_engine, parse_url
from fertrack.storage.engine import Database, current, downgrade, open_database, upgrade
from fertrack.storage.maintenance import backup, check_database, vacuum
from fertrack.storage.models import Base, Face, Run, TrackRow
from fertrack.storage.people import actions as person_actions
from fertrack.storage.people.corrections import GivenLabel, store_corrections
from fertrack.storage.queries.moments import Condition
from fertrack.storage.readable import VIEWS
from fertrack.storage.rescore import rescore
from fertrack.storage.rights.retention import purge
from fertrack.types import FrameResult
from tests.support import queries
from tests.support.answer_scenes import name_person, played
from tests.support.postgres_server import running_server
from tests.support.queries import (
    corrections,
    expression_stats,
    markers,
    moments,
    resampled_timeline,
    since_marker,
    speed_over_time,
    synchrony,
    transitions,
)
from tests.support.queries import episodes_of_persons as person_episodes
from tests.support.storage_scenes import random_results, result, store


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server() as address:
        yield address


@pytest.fixture
def new_url(server: str) -> Callable[[], str]:
    """Makes an empty database and returns its address."""
    numbers = itertools.count()

    def make() -> str:
        admin = sa.create_engine(f"postgresql+psycopg:///postgres?{server}", isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            names = set(connection.scalars(sa.text("SELECT datname FROM pg_database")))
            name = next(f"test{n}" for n in numbers if f"test{n}" not in names)
            connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"))
        admin.dispose()
        return f"postgresql:///{name}?{server}"

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database that has no tables yet, of either kind."""
    if request.param == "sqlite":
        path = tmp_path / "old.db"
        path.touch()
        return str(path)
    return str(request.getfixturevalue("new_url")())


def scene() -> list[FrameResult]:
    script = [
        (0.0, 2.0, 1, "happiness", 0.9),
        (2.0, 2.5, 1, "uncertain", 0.4),
        (2.5, 4.0, 1, "sadness", 0.6),
        (1.0, 3.0, 2, "happiness", 0.8),
        (4.2, 6.0, 3, "sadness", 0.7),
        (0.0, 0.3, -1, "fear", 0.7),
    ]
    return played(script, until_s=6.0)


def filled(url: str, tmp_path: Path) -> Database:
    database = open_database(url, create=True)
    store(database, scene())
    store(database, [each for i, each in enumerate(random_results(1200, 3)) if i % 7])
    name_person(database, 1, key=1, number=1, name="Zoë 李", tracks=[1, 3])
    path = tmp_path / "markers.csv"
    path.write_text("time_s,label,end_s,note\n1.5,cue,,\n3,cue,4.5,Ω\n", encoding="utf-8")
    import_markers(database, 1, path)
    return database


QUESTIONS: dict[str, Callable[[Database], pd.DataFrame]] = {
    "runs": lambda db: queries.runs(db).drop(columns=["started_at", "ended_at"]),
    "stage_timings": lambda db: queries.stage_timings(db, 1),
    "timeline": lambda db: queries.timeline(db, 1, include_unconfirmed=True),
    "timeline of one expression": lambda db: queries.timeline(db, 2, track=2, expression="fear", from_s=1, to_s=20),
    "episodes": lambda db: queries.episodes(db, 2),
    "tracks": lambda db: queries.tracks(db, 1),
    "events": lambda db: queries.events(db, 1),
    "resampled": lambda db: resampled_timeline(db, 2, 7.0),
    "resampled, one person": lambda db: resampled_timeline(db, 1, 3.0, who="Zoë 李"),
    "person episodes": lambda db: person_episodes(db, "all"),
    "stats": lambda db: expression_stats(db, "all"),
    "transitions": lambda db: transitions(db, "all"),
    "latency": lambda db: since_marker(db, 1, "cue"),
    "markers": lambda db: markers(db, 1),
    "synchrony": lambda db: synchrony(db, 1, "zoë 李", 2),
    "moments": lambda db: moments(db, "all", Condition("happiness", above=0.7), min_duration_s=0.2),
    "together": lambda db: moments(db, 1, Condition("happiness", people=2)),
    "speed": lambda db: speed_over_time(db, 2),
}


def test_every_answer_is_the_same_as_from_sqlite(new_url: Callable[[], str], tmp_path: Path) -> None:
    with filled(str(tmp_path / "a.db"), tmp_path) as sqlite, filled(new_url(), tmp_path) as postgresql:
        for name, ask in QUESTIONS.items():
            expected, found = ask(sqlite), ask(postgresql)
            assert len(expected) or name == "events", name
            pd.testing.assert_frame_equal(found, expected, obj=name)
            assert found.attrs["units"] == expected.attrs["units"]
        here, there = queries.run_facts(sqlite, 1), queries.run_facts(postgresql, 1)
        assert (here.summary, here.info, here.calibration) == (there.summary, there.info, there.calibration)
        assert abs((there.started_at - here.started_at).total_seconds()) < 60, "whatever the server's time zone"
        with pytest.raises(RunNotFoundError, match="no run 7 in postgresql"):
            queries.timeline(postgresql, 7)


def test_rescoring(new_url: Callable[[], str], tmp_path: Path) -> None:
    calibrator = Calibrator(CalibrationConfig(temperature=2.0), ClassifierCalibration.uncalibrated("test"))
    with filled(str(tmp_path / "a.db"), tmp_path) as sqlite, filled(new_url(), tmp_path) as postgresql:
        before = queries.timeline(postgresql, 2)
        reports = [rescore(db, 2, calibrator, SmoothingConfig()) for db in (sqlite, postgresql)]
        assert reports[0].labels_changed == reports[1].labels_changed > 0
        pd.testing.assert_frame_equal(queries.timeline(postgresql, 2), queries.timeline(sqlite, 2))
        pd.testing.assert_frame_equal(person_episodes(postgresql, 2), person_episodes(sqlite, 2))
        assert not queries.timeline(postgresql, 2).equals(before)
        assert queries.run_facts(postgresql, 2).rescored_at is not None


def test_an_answer_shows_one_moment_while_others_write(new_url: Callable[[], str], tmp_path: Path) -> None:
    count = sa.select(sa.func.count()).select_from(Run)
    with filled(new_url(), tmp_path) as database:
        with database.reading() as connection:
            before = connection.scalar(count)
            store(database, [result(0, 0.0)])
            assert connection.scalar(count) == before
        with database.reading() as connection:
            assert connection.scalar(count) == before + 1


def test_models_and_migrations_agree(new_url: Callable[[], str]) -> None:
    with open_database(new_url(), create=True) as database, database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def content(database: Database, tables: list[str]) -> dict[str, list[tuple[object, ...]]]:
    with database.reading() as connection:
        every = {table.name: table for table in Base.metadata.sorted_tables}
        return {
            name: [tuple(row) for row in connection.execute(sa.select(every[name]).order_by(*every[name].primary_key))]
            for name in tables
        }


def test_up_down_up_with_rows(any_url: str, tmp_path: Path) -> None:
    kept = ["sources", "runs", "frames", "faces", "tracks", "persons", "stage_timings"]
    with filled(any_url, tmp_path) as database:
        before, everything = content(database, kept), content(database, [*kept, "episodes", "markers"])
        episodes = person_episodes(database, "all")
    assert all(everything.values())
    downgrade(any_url, "0001")
    assert current(any_url).state == "older"
    upgrade(any_url)
    assert current(any_url).state == "current"
    with open_database(any_url) as database:
        after = content(database, kept)
        unknown = {"persons": "number", "stage_timings": "p99_ms", "faces": "quality_e4"}  # to the first revision
        for table, later in unknown.items():
            at = Base.metadata.tables[table].columns.keys().index(later)
            for rows in (before, after):
                rows[table] = [(*row[:at], *row[at + 1 :]) for row in rows[table]]
        assert after == before
        assert queries.stage_timings(database, 1)["p99_ms"].isna().all(), "gone for good, and said to be unknown"
        pd.testing.assert_frame_equal(person_episodes(database, "all"), episodes)
        with database.reading() as connection:
            assert connection.scalars(sa.select(Marker)).all() == [], "only this schema could hold them"
    downgrade(any_url, "base")
    assert current(any_url).state == "empty"
    upgrade(any_url)
    with filled(any_url, tmp_path) as database:
        assert len(queries.runs(database)) == 2
        with database.reading() as connection:
            rows = {name: len(connection.execute(sa.text(f"SELECT * FROM {name}")).all()) for name in VIEWS}
            first = connection.execute(sa.text("SELECT * FROM v_faces WHERE run = 1 AND track = 1 LIMIT 1")).one()
        assert rows["v_runs"] == 2
        assert min(rows.values()) > 0
        assert float(first.p_happiness) + float(first.p_sadness) > 0.0


def test_a_database_of_the_first_revision_opens_after_an_upgrade(any_url: str) -> None:
    """As the first release made it: with the statements of its migration, and rows written by hand."""
    engine = make_engine(parse_url(any_url), busy_timeout_s=5.0, enforce_foreign_keys=False)
    with engine.begin() as connection:
        schema.migrate(connection, "0001")
        moment = "2026-01-02 03:04:05.000000"
        texts = dict.fromkeys(("error", "fertrack_version", "config_toml", "config_digest", "detector"), "x")
        numbers = dict.fromkeys(("rotation", "frame_count", "dropped", "decode_failures"), 0)
        insert = "INSERT INTO {} ({}) VALUES ({})"

        def add(table: str, **values: object) -> None:
            names = ", ".join(values)
            connection.execute(sa.text(insert.format(table, names, ", ".join(f":{name}" for name in values))), values)

        add("sources", id=1, name="old.mp4", path="/videos/old.mp4")
        add("persons", id=1, display_name="Zoë", created_at=moment)
        add(
            "runs",
            **{"id": 1, "source_id": 1, "status": "complete", "notes": "[]", "calibration": "{}", **texts, **numbers},
            **{"started_at": moment, "ended_at": moment, "heartbeat_at": moment, "host": "h", "pid": 1},
            **{"classifier": "c", "width": 64, "height": 48, "fps": 10.0, "duration_s": 0.3, "time_base": "1/1000"},
            **{"has_audio": False, "codec": "", "frames": 3, "faces": 3, "tracks": 1, "video_s": 0.2, "elapsed_s": 1.0},
        )
        add(
            "tracks",
            **{"run_id": 1, "number": 1, "person_id": 1, "first_frame": 0, "last_frame": 2},
            **{"first_s": 0.0, "last_s": 0.2, "faces": 3},
        )
        for i in range(3):
            stages = dict.fromkeys(("read_us", "detect_us", "align_us", "classify_us", "track_us"), 1000)
            add("frames", run_id=1, frame_index=i, time_s=i / 10, **stages)
            vectors = {
                name: b"\0\0\x80>" * size
                for name, size in (("xyxy", 4), ("landmarks", 10), ("logits", 7), ("probabilities", 7), ("smoothed", 7))
            }
            row = {"run_id": 1, "frame_index": i, "face_index": 0, "track": 1, "label": 3}
            add("faces", **row, probability=0.25, score=0.5, **vectors)
    engine.dispose()

    with pytest.raises(StorageError, match="run `fertrack db upgrade` on it"):
        open_database(any_url)
    assert upgrade(any_url)[1].state == "current"
    with open_database(any_url) as database:
        timeline = queries.timeline(database, "last")
        assert timeline["label"].tolist() == ["happiness"] * 3
        assert timeline["person"].tolist() == ["Zoë"] * 3
        assert timeline["p_happiness"].tolist() == [0.25] * 3
        (episode,) = person_episodes(database, "all").to_dict("records")
        assert (episode["person"], episode["expression"], episode["frames"]) == ("Zoë", "happiness", 3)
        assert check_database(database).without_episodes == 1
        if "postgresql" in any_url:  # its counters do not know of the numbers written by hand
            with database.writing() as connection:
                connection.execute(sa.text("SELECT setval('runs_id_seq', 1), setval('sources_id_seq', 1)"))
        assert store(database, scene()) == 2, "and takes new runs"


def test_upkeep(new_url: Callable[[], str], tmp_path: Path) -> None:
    with filled(new_url(), tmp_path) as database:
        report = check_database(database)
        assert report.problems == ()
        assert report.rows["runs"] == 2
        with database.writing() as connection:
            connection.execute(sa.update(Run).where(Run.id == 1).values(faces=7))
            connection.execute(sa.update(TrackRow).where(TrackRow.run_id == 2).values(person_id=None))
        assert check_database(database).problems == ("run 1 says it has 7 faces, and has 81",)
        assert vacuum(database).after > 0
        with pytest.raises(StorageError, match=r"pg_dump --format=custom --file=.*copy\.db 'postgresql://"):
            backup(database, tmp_path / "copy.db")


def test_a_server_that_is_not_there_is_named() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StorageError, match="database postgresql:///x"):
        open_database("postgresql:///x?host=/nonexistent")


def test_a_run_can_be_deleted_with_all_that_belongs_to_it(new_url: Callable[[], str], tmp_path: Path) -> None:
    with filled(new_url(), tmp_path) as database:
        with database.writing() as connection:
            connection.execute(sa.delete(Face).where(Face.run_id == 1))
            connection.execute(sa.delete(Run).where(Run.id == 1))
        assert markers(database, 2).empty
        assert set(person_episodes(database, "all")["run"]) == {2}


def test_the_password_is_not_in_the_record(new_url: Callable[[], str]) -> None:
    record = RunRecord(
        config_toml='url = "postgresql://me:secret@host/db"', config_digest="", detector="d", classifier="c"
    )
    with open_database(new_url(), create=True) as database:
        run = store(database, [result(0, 0.0)], record=record)
        assert "secret" not in queries.run_facts(database, run).config_toml


def test_changes_of_persons_corrections_and_purge(new_url: Callable[[], str], tmp_path: Path) -> None:
    given = [
        GivenLabel(row=1, label=2, frame_index=3, track=1),
        GivenLabel(row=2, label=-1, track=2, from_s=1.0, to_s=1.5),
    ]
    with filled(str(tmp_path / "a.db"), tmp_path) as sqlite, filled(new_url(), tmp_path) as postgresql:
        for database in (sqlite, postgresql):
            if database is postgresql:  # its counter does not know of the number written by hand
                with database.writing() as connection:
                    connection.execute(sa.text("SELECT setval('persons_id_seq', 1)"))
            person_actions.split(database, 1, "Zoë 李", [3])
            person_actions.rename(database, 1, "ID 3", "Ann")
            person_actions.undo(database, 1)
            person_actions.merge(database, 1, "Zoë 李", ["ID 3"])
            person_actions.split(database, 1, "ID 2", at_s=2.5)
            person_actions.split(database, 1, "ID 2", at_s=2.0)
            person_actions.undo(database, 1)
            assert store_corrections(database, 1, given, author="A").faces == 6
        for ask in (queries.persons, corrections):
            expected, found = ask(sqlite, 1), ask(postgresql, 1)
            pd.testing.assert_frame_equal(
                found.drop(columns="imported_at", errors="ignore"),
                expected.drop(columns="imported_at", errors="ignore"),
            )
        said = [queries.actions(db, 1).drop(columns="done_at") for db in (sqlite, postgresql)]
        pd.testing.assert_frame_equal(said[0], said[1])
        with postgresql.writing() as connection:
            connection.execute(sa.update(Run).where(Run.id == 1).values(retention_days=0))
        assert [each.run for each in purge(postgresql).runs] == [1]
        assert queries.runs(postgresql)["run"].tolist() == [2]
        assert check_database(postgresql).problems == ()


def test_a_video_is_processed_straight_into_it(
    new_url: Callable[[], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, url = compose_demo(tmp_path / "clip.mp4", frame_count=8), new_url()
    assert run_command(["process", str(clip), "-o", str(tmp_path / "out"), "--db", url, "--no-video"]) == 0
    capsys.readouterr()
    assert run_command(["stats", "timing", "1", "--db", url]) == 0
    assert "frames waiting" in " ".join(capsys.readouterr().err.split())
    with open_database(url) as database:
        assert queries.run_facts(database, 1).status == "complete"
        assert len(queries.tracks(database, 1)) == 2
