"""Events of a run: what the sink stores of cuts, and what comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError
from fertrack.storage.engine import open_database
from fertrack.storage.models import EventRow, Run
from tests.support import queries
from tests.support.storage_scenes import result, store


def test_cuts_are_stored_with_their_frame_and_time(tmp_path: Path) -> None:
    shots = [replace(result(i, 0.5 + i / 25, [(1 + i // 10, "anger", 0.5)]), is_cut=i in (10, 20)) for i in range(30)]
    with open_database(tmp_path / "a.db", create=True) as database:
        first = store(database, shots, batch_rows=7)
        second = store(database, shots[:5])
        found = queries.events(database, first)
        assert found[["frame_index", "kind"]].to_numpy().tolist() == [[10, "cut"], [20, "cut"]]
        assert found["time_s"].tolist() == pytest.approx([0.9, 1.3])
        assert found["details"].tolist() == [{}, {}]
        assert (found.attrs["run"], found.attrs["units"]) == (first, {"time_s": "s"})
        assert set(found.attrs["columns"]) == set(found.columns)
        assert queries.events(database, first, kind="cut").equals(found)
        assert queries.events(database, first, kind="other").empty
        none = queries.events(database, second)
        assert (len(none), none.dtypes.to_dict()) == (0, found.dtypes.to_dict())
        with pytest.raises(RunNotFoundError):
            queries.events(database, 99)


def test_events_go_with_their_run(tmp_path: Path) -> None:
    with open_database(tmp_path / "a.db", create=True) as database:
        store(database, [replace(result(0, 0.0), is_cut=True)])
        with database.writing() as connection:
            connection.execute(sa.delete(Run))
            assert connection.scalar(sa.select(sa.func.count()).select_from(EventRow)) == 0
