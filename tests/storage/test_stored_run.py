"""One read snapshot: a report, a drawn video, an export and an erasure each see one moment of the database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from fertrack.errors import RunNotFoundError
from fertrack.render import render_run
from fertrack.reporting.config import ReportConfig
from fertrack.reporting.exports.csv_export import write_csv
from fertrack.reporting.exports.registry import export_run
from fertrack.reporting.html.comparison import write_comparison
from fertrack.reporting.html.run_page import write_html
from fertrack.rights.erase import erase_person
from fertrack.rights.person_export import export_person
from fertrack.storage import stored_run
from fertrack.storage.connection import IMMEDIATE
from fertrack.storage.engine import Database, open_database
from fertrack.storage.models import Face, Run, TrackRow
from fertrack.storage.people.persons import persons
from fertrack.storage.queries.statistics import expression_stats
from fertrack.storage.queries.timeline import episodes, timeline, tracks
from fertrack.storage.queries.timing import speed_over_time
from tests.support.rights_scenes import add_person, make_clip, results, store_clip


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The transactions begun meanwhile, each "read" or "write"."""
    begun: list[str] = []

    def note(connection: sa.Connection) -> None:
        begun.append("write" if connection.get_execution_options().get(IMMEDIATE) else "read")

    event.listen(database.engine, "begin", note)
    try:
        yield begun
    finally:
        event.remove(database.engine, "begin", note)


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Iterator[Database]:
    shutil.copy(empty_database, tmp_path / "a.db")
    with open_database(tmp_path / "a.db") as opened:
        yield opened


@pytest.fixture
def run(database: Database, tmp_path: Path) -> int:
    """A run of two persons, the first one with a name, of a clip that is there."""
    number = store_clip(database, make_clip(tmp_path / "clip.mp4"), results())
    add_person(database, number, "Ada", 1, [1])
    return number


def test_one_report_is_one_read_transaction(
    database: Database, run: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[int | str] = []
    find = stored_run.find_run
    monkeypatch.setattr(
        stored_run, "find_run", lambda connection, name, run: looked_up.append(run) or find(connection, name, run)
    )
    with counted(database) as begun:
        write_html(database, "last", tmp_path / "a.html", ReportConfig(thumbnails=True))
    assert begun == ["read", "write"], "one moment is read, then the file is recorded"
    assert looked_up == ["last"], "which run is meant is found out once"


def test_each_export_is_read_at_one_moment(database: Database, run: int, tmp_path: Path) -> None:
    with counted(database) as begun:
        write_csv(database, run, tmp_path, "a")
    assert begun == ["read", "write", "write"], "two files, one moment"
    for output_format in ("jsonl", "srt", "ass", "elan", "mot", "textgrid", "bids"):
        with counted(database) as begun:
            export_run(database, run, output_format, tmp_path)
        assert begun.count("read") == 1, output_format
        assert begun[0] == "read", output_format


def test_runs_are_compared_at_one_moment(database: Database, run: int, tmp_path: Path) -> None:
    other = store_clip(database, tmp_path / "clip.mp4", results())
    with counted(database) as begun:
        write_comparison(database, [run, other], tmp_path / "a.html")
    assert begun.count("read") == 1


def test_a_video_is_drawn_again_from_one_moment(database: Database, run: int, tmp_path: Path) -> None:
    with counted(database) as begun:
        render_run(database, run, tmp_path / "a.mp4", anonymise=True, clear=["Ada"])
    assert begun == ["read", "write"]


def test_all_that_an_erasure_goes_by_is_read_at_one_moment(database: Database, run: int, tmp_path: Path) -> None:
    render_run(database, run, tmp_path / "a.mp4")
    write_html(database, run, tmp_path / "a.html")
    with counted(database) as begun:
        foreseen = erase_person(database, "Ada", dry_run=True)
    assert begun == ["read"]
    assert foreseen.redrawn == [tmp_path / "a.mp4"]
    assert foreseen.rewritten == [tmp_path / "a.html"]


def test_what_is_held_about_somebody_is_read_at_one_moment(database: Database, run: int, tmp_path: Path) -> None:
    with counted(database) as begun:
        export_person(database, "Ada", tmp_path / "ada")
    assert begun == ["read", "write"]


def test_questions_of_one_snapshot_agree_while_the_run_is_changed(database: Database, run: int) -> None:
    with database.run(run) as stored:
        before = timeline(stored)
        with database.writing() as connection:  # somebody else, meanwhile
            connection.execute(sa.delete(Face).where(Face.run_id == run, Face.track == 2))
            connection.execute(sa.delete(TrackRow).where(TrackRow.run_id == run, TrackRow.number == 2))
        seen = [set(question(stored)["track"]) for question in (timeline, episodes, tracks, persons, expression_stats)]
        assert seen == [{1, 2}] * 5
        assert timeline(stored).equals(before)
    with database.run(run) as stored:
        assert set(timeline(stored)["track"]) == {1}


def test_speed_over_time_does_not_pay_for_facts_that_it_does_not_tell(database: Database, run: int) -> None:
    with database.run(run) as stored:
        assert speed_over_time(stored).attrs["dropped"] == 0
        assert "facts" not in vars(stored), "those of a run without stored timings sum up every frame's stages"


def test_a_snapshot_of_a_run_that_is_not_there_is_refused(database: Database) -> None:
    with pytest.raises(RunNotFoundError, match="there are no runs in"), database.run("last"):
        pass
    with pytest.raises(RunNotFoundError, match="there are no runs in"), database.runs("all"):
        pass


def test_all_runs_are_meant_only_where_several_can_be(database: Database, run: int) -> None:
    with database.runs(" all ") as stored:
        assert stored.number == "all"
    with database.runs("last") as stored:
        assert stored.number == run
    with pytest.raises(RunNotFoundError, match="no run all in"), database.run("all"):
        pass


def test_a_snapshot_says_which_run_of_which_database_it_is(database: Database, run: int) -> None:
    with database.run(run) as stored, database.runs("all") as every:
        assert repr(stored) == f"StoredRun({run}, {database.name!r})"
        assert repr(every) == f"AllRuns({database.name!r})"
        assert stored.facts.id == run
        assert stored.erased_persons == 0
        assert stored.connection.scalar(sa.select(Run.status)) == stored.facts.status
