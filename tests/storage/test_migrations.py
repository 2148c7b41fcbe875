from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from fertrack.errors import SchemaOutOfDateError, StorageError
from fertrack.storage import schema
from fertrack.storage.engine import current, downgrade, open_database, upgrade
from fertrack.storage.models import NAMING_CONVENTION, Base, Face, FrameRow
from fertrack.storage.schema import migrations_folder
from tests.support import queries
from tests.support.paths import REPOSITORY
from tests.support.storage_scenes import result, store

HEAD = ScriptDirectory(str(migrations_folder())).get_current_head() or ""
GOLDEN = REPOSITORY / "tests" / "golden" / "schema.sql"

LATER = """
import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = "HEAD"


def upgrade():
    with op.batch_alter_table("runs") as batch:
        batch.add_column(sa.Column("remark", sa.Text(), nullable=False, server_default=""))
        batch.alter_column("error", type_=sa.String(500))
    with op.batch_alter_table("tracks") as batch:
        batch.drop_column("faces")


def downgrade():
    with op.batch_alter_table("tracks") as batch:
        batch.add_column(sa.Column("faces", sa.Integer(), nullable=False, server_default="7"))
    with op.batch_alter_table("runs") as batch:
        batch.drop_column("remark")
        batch.alter_column("error", type_=sa.Text())
""".replace("HEAD", HEAD)


@pytest.fixture
def later_release(tmp_path: Path) -> Path:
    """Migrations of a later release, which rebuilds two tables that others point to."""
    folder = tmp_path / "later"
    shutil.copytree(migrations_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "later.py").write_text(LATER)
    return folder


def put_in_force(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "migrations_folder", lambda: release)


def statements(path: Path) -> str:
    with sqlite3.connect(path) as raw:
        rows = raw.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, name").fetchall()
    raw.close()
    return ";\n\n".join("\n".join(line.strip() for line in sql.splitlines()) for (sql,) in rows) + ";\n"


def parts(schema: str) -> set[frozenset[str]]:
    """The lines of every statement: their order depends on which migration rebuilt the table last."""
    every = schema.replace('"', "").split(";\n\n")  # SQLite quotes the name of a table it has renamed
    return {frozenset(line.strip(" ,;") for line in each.splitlines()) for each in every}


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    return content_of(path, [table.name for table in Base.metadata.sorted_tables])


def content_of(path: Path, tables: Sequence[str]) -> dict[str, list[tuple[object, ...]]]:
    with sqlite3.connect(path) as raw:
        found = {table: raw.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    raw.close()
    return found


def migrated(path: Path) -> Path:
    """A database that all migrations have made, one after the other."""
    path.touch()
    assert upgrade(path)[1].state == "current"
    return path


def test_the_schema_is_the_published_one(tmp_path: Path) -> None:
    migrated(tmp_path / "a.db")
    assert statements(tmp_path / "a.db") == GOLDEN.read_text(encoding="utf-8")


def test_models_and_migrations_agree(tmp_path: Path) -> None:
    with open_database(migrated(tmp_path / "a.db")) as database, database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    # autogenerate is blind to checks, WITHOUT ROWID and AUTOINCREMENT: compare the statements too
    open_database(tmp_path / "direct.db", create=True).close()
    assert current(tmp_path / "direct.db") == replace(current(tmp_path / "a.db"), database=str(tmp_path / "direct.db"))

    assert parts(statements(tmp_path / "direct.db")) == parts(statements(tmp_path / "a.db"))


def test_the_schema_is_valid_for_postgresql() -> None:
    dialect = postgresql.dialect()
    faces = str(CreateTable(Face.__table__).compile(dialect=dialect))
    assert "ROWID" not in faces
    assert "smoothed BYTEA NOT NULL" in faces
    assert "probability REAL NOT NULL" in faces
    assert "time_s DOUBLE PRECISION" in str(CreateTable(FrameRow.__table__).compile(dialect=dialect))
    for table in Base.metadata.sorted_tables:
        names = [constraint.name for constraint in table.constraints] + [index.name for index in table.indexes]
        assert all(name and len(str(name)) <= 63 for name in names), "PostgreSQL cuts longer names"
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect)).startswith("CREATE INDEX ix_")
    assert set(NAMING_CONVENTION) == {"ix", "uq", "ck", "fk", "pk"}


def test_down_to_nothing_and_up_again(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_database(path, create=True) as database:
        store(database, [result(0, 0.0, [(1, "anger", 0.5)])])
    before, after = downgrade(path, "base")
    assert (before.state, after.state) == ("current", "empty")
    assert "CREATE TABLE runs" not in statements(path)
    before, after = upgrade(path)
    assert (before.state, after.state) == ("empty", "current")
    assert statements(path) == GOLDEN.read_text(encoding="utf-8")
    assert upgrade(path)[0] == upgrade(path)[1], "upgrading a current database changes nothing"


def test_up_down_up_keeps_every_row(tmp_path: Path, later_release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.db"
    with open_database(path, create=True) as database:
        store(database, [result(i, i / 25, [(1, "anger", 0.5), (2, "fear", 0.6)]) for i in range(40)])
        timeline = queries.timeline(database, "last")
    first = content(path)
    put_in_force(later_release, monkeypatch)
    assert current(path).state == "older"

    upgrade(path)
    assert current(path).revision == "later"
    upgraded = content(path)
    for table in ("sources", "frames", "faces", "stage_timings"):
        assert upgraded[table] == first[table], f"{table} lost rows while the tables it points to were rebuilt"
    assert upgraded["runs"] == [(*row, "") for row in first["runs"]]
    assert "ON DELETE CASCADE" in statements(path)
    assert "CONSTRAINT ck_runs_status CHECK" in statements(path)

    downgrade(path, HEAD)
    again = content(path)
    assert {**again, "tracks": None} == {**first, "tracks": None}
    assert [row[:-1] for row in again["tracks"]] == [row[:-1] for row in first["tracks"]]
    upgrade(path)
    assert content(path)["faces"] == first["faces"]
    downgrade(path, HEAD)
    monkeypatch.undo()
    with open_database(path) as database:
        assert queries.timeline(database, "last").equals(timeline)


def test_persons_keep_their_names_when_they_get_numbers_and_lose_them(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_database(path, create=True) as database:
        store(database, [result(i, i / 25, [(1, "anger", 0.5), (2, "fear", 0.6)]) for i in range(3)])
    downgrade(path, "0001")
    with sqlite3.connect(path) as raw:
        raw.execute("INSERT INTO persons (id, display_name, created_at) VALUES (7, 'Zoë 李', '2026-01-02 03:04:05')")
        raw.execute("UPDATE tracks SET person_id = 7 WHERE number = 2")
    raw.close()
    first = content_of(path, ("persons", "tracks", "faces"))

    upgrade(path)
    assert content_of(path, ("persons",))["persons"] == [(*first["persons"][0], 7)]
    with sqlite3.connect(path) as raw:
        raw.execute("INSERT INTO persons (display_name, created_at, number) VALUES ('', '2026-01-02 03:04:05', 3)")
    raw.close()
    with open_database(path) as database:
        assert queries.tracks(database, "last")["person"].tolist()[1] == "Zoë 李"

    downgrade(path, "0001")
    again = content_of(path, ("persons", "tracks", "faces"))
    assert [row[:2] for row in again["persons"]] == [(7, "Zoë 李"), (8, "P3")], "no number is given twice, no name lost"
    assert (again["tracks"], again["faces"]) == (first["tracks"], first["faces"])
    assert upgrade(path)[1].state == "current"
    assert statements(path) == GOLDEN.read_text(encoding="utf-8")


def test_an_older_schema_is_refused_by_name_and_upgraded_only_on_request(
    tmp_path: Path, later_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"
    open_database(path, create=True).close()
    put_in_force(later_release, monkeypatch)
    advice = rf"older schema \({HEAD}, this program needs later\): run `fertrack db upgrade`"
    for create in (False, True):
        with pytest.raises(SchemaOutOfDateError, match=advice):
            open_database(path, create=create)
    assert current(path).revision == HEAD, "never upgraded silently"
    assert upgrade(path)[1].state == "current"


def test_a_migration_that_fails_halfway_changes_nothing(
    tmp_path: Path, later_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"
    with open_database(path, create=True) as database:
        store(database, [result(0, 0.0, [(1, "anger", 0.5)])])
    schema_before, rows_before = statements(path), content(path)
    put_in_force(later_release, monkeypatch)
    broken = later_release / "versions" / "later.py"

    last_step = 'batch.drop_column("faces")'
    broken.write_text(LATER.replace(last_step, f'{last_step}\n    op.drop_table("no_such")'))
    with pytest.raises(StorageError, match="no_such"):
        upgrade(path)
    assert (statements(path), content(path)) == (schema_before, rows_before)

    broken.write_text(LATER.replace("def upgrade():", 'def upgrade():\n    op.execute("DELETE FROM frames")'))
    with pytest.raises(StorageError, match="1 rows of table faces would point nowhere"):
        upgrade(path)
    assert (statements(path), content(path)) == (schema_before, rows_before)


def test_migrations_are_found_in_the_wheel_and_in_the_source_tree(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "fertrack"
    package.mkdir(parents=True)
    with pytest.raises(StorageError, match="install fertrack again"):
        migrations_folder(package)

    # installed beside somebody else's top-level package that is called "migrations" too
    (package.parent / "migrations").mkdir()
    with pytest.raises(StorageError):
        migrations_folder(package)

    source = REPOSITORY / "migrations"
    shutil.copytree(source, package.parent / "migrations", dirs_exist_ok=True)
    assert migrations_folder(package) == package.parent / "migrations"
    shutil.copytree(source, package / "_migrations")
    assert migrations_folder(package) == package / "_migrations"
    assert migrations_folder().name in ("migrations", "_migrations")


def test_migrations_leave_logging_alone(tmp_path: Path) -> None:
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in ("alembic", "sqlalchemy", "fertrack"))]
    before = [(logger.level, logger.disabled, list(logger.handlers)) for logger in loggers]
    open_database(tmp_path / "a.db", create=True).close()
    assert [(logger.level, logger.disabled, list(logger.handlers)) for logger in loggers] == before


def test_a_new_revision_names_database_types_only(tmp_path: Path, later_release: Path) -> None:
    """The recipe in env.py works, and what it writes does not depend on the program's classes."""
    (later_release / "versions" / "later.py").unlink()
    with (
        open_database(tmp_path / "a.db", create=True) as database,
        database.engine.connect() as connection,
        (tmp_path / "said").open("w") as said,
    ):
        connection.exec_driver_sql("DROP TABLE rescores")
        config = Config(stdout=said)
        config.set_main_option("script_location", str(later_release))
        config.attributes["connection"] = connection
        command.revision(config, "what it does", autogenerate=True, rev_id="later")
    written = (later_release / "versions" / "later_what_it_does.py").read_text()
    assert "sa.Column('rescored_at', sa.DateTime(timezone=True), nullable=False)" in written
    assert "batch_alter_table('rescores'" in written
    assert "fertrack" not in written


def test_a_run_stored_before_events_were_is_kept_and_has_none(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_database(path, create=True) as database:
        store(database, [result(i, i / 25, [(1, "anger", 0.5)]) for i in range(5)])
        timeline = queries.timeline(database, "last")
    downgrade(path, "0002")
    assert "CREATE TABLE events" not in statements(path)
    upgrade(path)
    with open_database(path) as database:
        assert queries.timeline(database, "last").equals(timeline)
        assert queries.events(database, "last").empty


def test_a_run_stored_before_purposes_were_is_kept_and_states_none(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_database(path, create=True) as database:
        run = store(database, [result(i, i / 25, [(1, "anger", 0.5)]) for i in range(5)])
        timeline = queries.timeline(database, run)
    downgrade(path, "0004")
    assert "CREATE TABLE corrections" not in statements(path)
    before = content_of(path, ("runs", "faces", "tracks"))
    upgrade(path)
    after = content_of(path, ("runs", "faces", "tracks"))
    assert after["runs"] == [(*row, "", "", "", None) for row in before["runs"]]
    assert [row[: len(before["faces"][0])] for row in after["faces"]] == before["faces"]
    assert after["tracks"] == before["tracks"]
    assert parts(statements(path)) == parts(GOLDEN.read_text(encoding="utf-8"))
    with open_database(path) as database:
        assert queries.timeline(database, run).equals(timeline)


def test_the_revisions_read_from_text_are_those_that_alembic_finds() -> None:
    script = ScriptDirectory(str(migrations_folder()))
    assert schema._revisions() == {known.revision: str(known.down_revision) for known in script.walk_revisions()}


def faces_by_column(path: Path) -> list[dict[str, object]]:
    """Every face; a new table has its columns in another order than one that migrations have widened."""
    with sqlite3.connect(path) as raw:
        raw.row_factory = sqlite3.Row
        found = [dict(row) for row in raw.execute("SELECT * FROM faces")]
    raw.close()
    return found


def test_faces_stored_before_sql_could_read_them_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_database(path, create=True) as database:
        store(database, [result(i, i / 25, [(1, "anger", 0.5), (2, "fear", 0.6)]) for i in range(5)])
    written = faces_by_column(path)
    downgrade(path, "0010")
    assert "p_anger_e4" not in statements(path)
    assert "v_faces" not in statements(path), "an older program's database has no views of this one's"
    upgrade(path)
    assert faces_by_column(path) == written
