"""How much of the time asked about is certain, uncertain or without a face; columns read without rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import sqlalchemy as sa

from fertrack.storage.engine import Database, open_database
from fertrack.storage.models import Face
from fertrack.storage.packing import PACKED, fetch_columns, fetch_tuples
from tests.support import queries
from tests.support.answer_scenes import name_person, stored
from tests.support.queries import run_coverage as coverage_of

SCRIPT = [
    (0.0, 2.0, 1, "happiness", 0.9),
    (2.0, 2.5, 1, "uncertain", 0.9),
    (2.5, 4.0, 1, "sadness", 0.6),
    (1.0, 3.0, 2, "happiness", 0.8),
    (3.0, 4.6, 3, "surprise", 0.75),
]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with open_database(str(tmp_path_factory.mktemp("coverage") / "a.db"), create=True) as database:
        stored(database, SCRIPT, until_s=5.0)
        name_person(database, 1, key=1, number=1, name="Zoë", tracks=[2, 3])  # tracks 2 and 3 are one person
        yield database


def seconds(certain: float, uncertain: float, unseen: float) -> object:
    return pytest.approx({"certain_s": certain, "uncertain_s": uncertain, "no_face_s": unseen}, abs=1e-6)


def test_persons_count_once_and_tracks_for_themselves(db: Database) -> None:
    assert coverage_of(db, 1) == seconds(2.0 + 1.5 + 3.6, 0.5, (5.0 - 4.0) + (5.0 - 3.6))
    assert coverage_of(db, "last", tracks=[2, 3]) == seconds(3.6, 0.0, 1.4)
    assert coverage_of(db, 1, tracks=[3]) == seconds(1.6, 0.0, 3.4)


def test_only_the_time_asked_about_counts(db: Database) -> None:
    assert coverage_of(db, 1, tracks=[1], from_s=1.0, to_s=3.0) == seconds(1.0 + 0.5, 0.5, 0.0)
    assert coverage_of(db, 1, tracks=[1], from_s=3.5) == seconds(0.5, 0.0, 1.0)
    assert coverage_of(db, 1, from_s=4.8) == seconds(0.0, 0.0, 2 * 0.2)


def test_answers_carry_it_whatever_else_they_leave_out(db: Database) -> None:
    table = queries.timeline(db, 1, track=1, expression="sadness", from_s=1.0, to_s=3.0)
    assert set(table["label"]) == {"sadness"}
    assert table.attrs["coverage"] == seconds(1.5, 0.5, 0.0)
    assert queries.episodes(db, 1, min_duration_s=10.0).attrs["coverage"] == coverage_of(db, 1)


def test_columns_are_what_the_rows_hold(db: Database) -> None:
    statement = sa.select(Face.frame_index, Face.probability, Face.xyxy).order_by(Face.frame_index, Face.face_index)
    with db.reading() as connection:
        rows = fetch_tuples(connection, statement)
        index, probability, xyxy = fetch_columns(connection, statement, (np.int64, np.float32, PACKED))
        nothing = fetch_columns(connection, statement.where(sa.false()), (np.int64, np.float32, PACKED))
    assert index.tolist() == [row[0] for row in rows]
    assert probability.dtype == np.float32
    np.testing.assert_array_equal(probability, np.array([row[1] for row in rows], np.float32))
    assert xyxy == b"".join(row[2] for row in rows)
    assert [len(column) for column in nothing] == [0, 0, 0]
    assert nothing[2] == b""
