"""Every question is answered from indexes: no table that grows is read from end to end."""

from __future__ import annotations

import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from fertrack.benchmarks import queries as query_benchmark
from fertrack.imports.marker_import import import_markers
from fertrack.storage.engine import Database, open_database
from fertrack.storage.queries.moments import Condition
from tests.support import queries
from tests.support.queries import episodes_of_persons as person_episodes
from tests.support.queries import (
    expression_stats,
    markers,
    moments,
    resampled_timeline,
    since_marker,
    speed_over_time,
    synchrony,
    transitions,
)

GROWING = ("faces", "frames", "episodes", "tracks", "markers", "events", "stage_timings", "links")

QUESTIONS: dict[str, Callable[[Database], pd.DataFrame]] = {
    "timeline": lambda db: queries.timeline(db, 3),
    "timeline of a track": lambda db: queries.timeline(db, 3, track=2, from_s=1.0, to_s=9.0),
    "episodes": lambda db: queries.episodes(db, 3),
    "tracks": lambda db: queries.tracks(db, 3),
    "stage timings": lambda db: queries.stage_timings(db, 3),
    "resampled": lambda db: resampled_timeline(db, 3, 5.0),
    "resampled, one person": lambda db: resampled_timeline(db, 3, 5.0, who=2),
    "person episodes": lambda db: person_episodes(db, 3),
    "stats": lambda db: expression_stats(db, 3),
    "transitions": lambda db: transitions(db, 3, who=2),
    "latency": lambda db: since_marker(db, 3, "cue"),
    "markers": lambda db: markers(db, 3),
    "synchrony": lambda db: synchrony(db, 3, 1, 2),
    "moments": lambda db: moments(db, 3, Condition("surprise", who=2, above=0.7)),
    "moments together": lambda db: moments(db, 3, Condition("happiness", people=2, above=0.5)),
    "speed": lambda db: speed_over_time(db, 3),
    "stats of all runs": lambda db: expression_stats(db, "all"),
    "moments of all runs": lambda db: moments(db, "all", Condition("surprise", above=0.7)),
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("plans")
    with query_benchmark.build_database(folder / "a.db", runs=3, frames=400, people=4) as opened:
        (folder / "m.csv").write_text("time_s,label\n1,cue\n", encoding="utf-8")
        import_markers(opened, 3, folder / "m.csv")
        yield opened


def scans(database: Database, ask: Callable[[Database], pd.DataFrame]) -> list[str]:
    """The plan's lines that read a whole growing table, of all statements the question makes."""
    made: list[tuple[str, object]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            made.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        assert len(ask(database)) > 0
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    assert made
    with database.reading() as connection:
        raw = connection.connection.cursor()
        plans = [row[3] for text, values in made for row in raw.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    return [line for line in plans if re.fullmatch(rf"SCAN ({'|'.join(GROWING)})\b.*", line)]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("analysed", [False, True])
def test_no_growing_table_is_read_from_end_to_end(database: Database, question: str, analysed: bool) -> None:
    if analysed:  # what VACUUM and ANALYZE leave behind must not tempt the planner away
        with database.writing() as connection:
            connection.execute(sa.text("ANALYZE"))
    assert scans(database, QUESTIONS[question]) == []


def test_this_test_would_see_one(database: Database) -> None:
    def ask(db: Database) -> pd.DataFrame:
        with db.reading() as connection:
            return pd.DataFrame(connection.execute(sa.text("SELECT * FROM faces WHERE score > 0")).all())

    assert scans(database, ask) == ["SCAN faces"]


def test_memory_is_bounded_by_a_batch_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fertrack.storage.queries.episode_store._FACES_AT_ONCE", 4_000)

    def peak(runs: int) -> int:
        with query_benchmark.build_database(tmp_path / f"{runs}.db", runs=runs, frames=500, people=8) as database:
            transitions(database, "all")
            tracemalloc.start()
            transitions(database, "all")
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return most

    assert peak(12) < 2 * peak(3)


def test_statistics_of_all_runs_take_moments(database: Database) -> None:
    expression_stats(database, "all")
    started = time.process_time()
    expression_stats(database, "all")
    assert time.process_time() - started < 0.2, "6,400 faces; measured 0.01 s on an idle machine"


def test_the_benchmark_writes_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, kept = tmp_path / "reports" / "queries.md", tmp_path / "kept.db"
    small = ["--runs", "2", "--frames", "300", "--people", "3", "-o", str(out), "--keep", str(kept)]
    for _ in range(2):  # the second time on the database that was kept
        assert query_benchmark.main(small) == 0
    assert capsys.readouterr().out.splitlines() == [str(out)] * 2
    table = out.read_text(encoding="utf-8")
    assert "2,700 faces of 3 people in 2 runs of 300 frames" in table
    assert table.count("| one run |") == 14
    assert table.count("| all runs |") == 5
    assert "missed" not in table
    with open_database(kept) as database:
        assert queries.runs(database)["faces"].tolist() == [900, 1800]
