"""Views for SQL: what they say is what the questions of Python say, in plain names and numbers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fertrack.imports.marker_import import Reading, import_markers
from fertrack.storage.engine import Database, open_database
from fertrack.storage.people.corrections import GivenLabel, store_corrections
from fertrack.storage.queries.timeline import timeline
from fertrack.storage.readable import VIEWS, box_columns, probability_columns
from fertrack.types import EXPRESSIONS
from tests.support import queries
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

RUN = ScriptedRun(
    persons=(
        ScriptedPerson([(0, 0.8), (1.5, 2)], [(0, "neutral"), (0.52, "happiness"), (1.6, "uncertain")], "Ana"),
        ScriptedPerson([(0, 2)], [(0, "sadness"), (1.0, "uncertain")]),
        ScriptedPerson([(0, 0.04)], confirmed=False),
    )
)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("views")
    (folder / "m.csv").write_text("time_s,label,end_s\n0.1,go,\n0.2,film,1.0\n", encoding="utf-8")
    with open_database(folder / "fertrack.db", create=True) as database:
        store_run(database, RUN)
        import_markers(database, 1, folder / "m.csv", Reading(offset_s=0.5))
        store_corrections(database, 1, [GivenLabel(row=2, label=1, frame_index=3, face_index=0)])
        yield database


def ask(database: Database, sql: str) -> pd.DataFrame:
    """As any other program would: without fertrack."""
    connection = sqlite3.connect(f"file:{database.url}?mode=ro", uri=True)
    try:
        return pd.read_sql_query(sql, connection)
    finally:
        connection.close()


def test_faces_are_those_of_the_timeline(db: Database) -> None:
    seen = ask(db, "SELECT * FROM v_faces ORDER BY frame_index, coalesce(track, -1)")
    stored = queries.timeline(db, 1, include_unconfirmed=True)
    assert len(seen) == len(stored) == 83
    assert seen["track"].fillna(-1).astype(int).tolist() == stored["track"].tolist()
    assert seen["label"].tolist() == stored["label"].astype(str).tolist(), "what a person said counts"
    assert seen["probability"].tolist() == pytest.approx(stored["probability"].tolist())
    with db.estimates().run(1) as run:
        estimated = timeline(run, include_unconfirmed=True)
    assert seen["estimate"].tolist() == estimated["label"].astype(str).tolist()
    assert np.allclose(seen["time_s"], stored["time_s"])
    for name in ("x1", "y1", "x2", "y2"):
        assert np.abs(seen[name] - stored[name]).max() <= 0.051
    for name in EXPRESSIONS:
        assert np.abs(seen[f"p_{name}"] - stored[f"p_{name}"]).max() <= 0.00005 + 1e-6
        assert np.abs(seen[f"raw_{name}"] - stored[f"raw_{name}"]).max() <= 0.00005 + 1e-6
    assert seen["uncertain"].tolist() == [int(label == "uncertain") for label in seen["label"]]
    assert set(seen["person"].dropna()) == {"Ana", "ID 2"}
    assert seen["corrected"].dropna().tolist() == ["fear"]


def test_persons_episodes_runs_and_markers_have_their_rows(db: Database) -> None:
    persons = ask(db, "SELECT person, coalesce(name, '') AS name, track, tracks, faces FROM v_persons ORDER BY track")
    assert persons.values.tolist() == [["Ana", "Ana", 1, 1, 32], ["ID 2", "", 2, 1, 50]]
    episodes = ask(db, "SELECT person, estimate, start_s, end_s FROM v_episodes ORDER BY track, start_s")
    assert [tuple(row) for row in episodes.values.tolist()][:2] == [
        ("Ana", "neutral", 0.0, 0.52),
        ("Ana", "happiness", 0.52, 0.8),
    ]
    corrected = ask(db, "SELECT estimate, corrected_faces FROM v_episodes WHERE corrected_faces > 0")
    assert corrected.values.tolist() == [["neutral", 1]]
    (run,) = ask(db, "SELECT * FROM v_runs").to_dict("records")
    assert (run["run"], run["video"], run["persons"], run["frames"]) == (1, "clip.mp4", 2, 50)
    markers = ask(db, "SELECT label, time_s, file_name, offset_s FROM v_markers ORDER BY time_s")
    assert markers.values.tolist() == [["go", 0.6, "m.csv", 0.5], ["film", 0.7, "m.csv", 0.5]]


def test_views_cannot_be_written(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_database(path, create=True).close()
    with sqlite3.connect(path) as raw:
        for name in VIEWS:
            with pytest.raises(sqlite3.OperationalError, match="it is a view"):
                raw.execute(f"DELETE FROM {name}")
    raw.close()


def test_numbers_that_are_none_are_null() -> None:
    values = np.array([[0.25] * 6 + [np.nan]], np.float32)
    columns = probability_columns(values, np.nan_to_num(values))
    assert (columns["p_surprise_e4"], columns["p_neutral_e4"], columns["raw_neutral_e4"]) == ([2500], [None], [0])
    assert box_columns(np.array([[0.04, -1.26, 3000.06, 9.0]], np.float32)) == {
        "x1_tenths": [0],
        "y1_tenths": [-13],
        "x2_tenths": [30001],
        "y2_tenths": [90],
    }
