"""Answers by condition: known runs with known markers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from fertrack.errors import RunNotFoundError, StorageError
from fertrack.imports.marker_import import Reading, import_markers
from fertrack.storage.engine import Database, open_database
from fertrack.storage.queries.conditions import condition_stats, condition_transitions, with_conditions
from fertrack.storage.queries.epochs import epochs
from fertrack.storage.queries.statistics import expression_stats, person_episodes, transitions
from fertrack.storage.recordings import Recording, state
from tests.support.answer_scenes import stored

# Twelve seconds at 10 Hz. Track 1: happy 0-3, sad 3-6, gone 6-7, happy 7-12. Track 2: calm 0-12.
SCRIPT = [
    (0.0, 3.0, 1, "happiness", 0.8),
    (3.0, 6.0, 1, "sadness", 0.8),
    (7.0, 12.0, 1, "happiness", 0.8),
    (0.0, 12.0, 2, "neutral", 0.8),
]
EVENTS = """onset\tduration\ttrial_type\tblock
1.0\t3.0\tfunny\t1
5.0\t3.0\tsad\t1
7.5\t1.5\tsad\t2
10.0\t0\tfunny\t2
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    events = tmp_path / "task_events.tsv"
    events.write_text(EVENTS, encoding="utf-8")
    with open_database(tmp_path / "a.db", create=True) as opened:
        stored(opened, SCRIPT, until_s=12.0)
        import_markers(opened, 1, events)
        yield opened


def cell(table: pd.DataFrame, person: str, condition: str, state: str) -> pd.Series:
    asked = (table["person"] == person) & (table["condition"] == condition) & (table["state"] == state)
    return table[asked].iloc[0]


def test_time_is_that_within_the_condition(database: Database) -> None:
    with database.run(1) as run:
        table = condition_stats(run, "trial_type")
    assert list(dict.fromkeys(table["condition"])) == ["funny", "sad"]
    assert len(table) == 2 * 2 * 9
    funny = cell(table, "ID 1", "funny", "happiness")
    assert (funny["trials"], funny["seconds"]) == (1, pytest.approx(2.0)), "the marker without an end is left out"
    assert funny["share_of_face_time"] == pytest.approx(2 / 3)
    assert cell(table, "ID 1", "funny", "sadness")["episodes"] == 1, "it begins in the condition"
    assert cell(table, "ID 1", "funny", "happiness")["episodes"] == 0, "it began before"
    sad = cell(table, "ID 1", "sad", "no face")
    assert (sad["trials"], sad["seconds"]) == (2, pytest.approx(1.0))
    assert sad["share_of_condition"] == pytest.approx(1 / 4), "5 to 9 s, the half second in both trials once"
    assert cell(table, "ID 2", "sad", "neutral")["share_of_condition"] == pytest.approx(1.0)
    assert table.attrs["moments"] == 1
    assert sum(table.attrs["coverage"].values()) == pytest.approx(table["seconds"].sum())
    assert set(table.columns) <= set(table.attrs["columns"])


def test_a_marker_without_an_end_counts_as_long_as_is_said(database: Database) -> None:
    with database.run(1) as run:
        table = condition_stats(run, "Trial_Type", lasts_s=1.5, who="ID 1")
        late = condition_stats(run, "block", lasts_s=60.0, who="ID 1")
    funny = cell(table, "ID 1", "funny", "happiness")
    assert (funny["trials"], funny["seconds"]) == (2, pytest.approx(3.5))
    assert table.attrs["moments"] == 0
    second = late[late["condition"] == "2"]
    assert second["seconds"].sum() == pytest.approx(1.5 + 2.0), "nothing is known of the time after the video"


def test_only_the_time_asked_about_counts(database: Database) -> None:
    with database.runs(1, from_s=2.0, to_s=7.6) as run:
        table = condition_stats(run, "trial_type", who="ID 1")
    assert cell(table, "ID 1", "funny", "happiness")["seconds"] == pytest.approx(1.0)
    assert cell(table, "ID 1", "sad", "happiness")["seconds"] == pytest.approx(0.6)
    assert cell(table, "ID 1", "sad", "no face")["share_of_condition"] == pytest.approx(1.0 / 2.6)
    with database.runs(1, from_s=4.5, to_s=7.0) as run:
        assert set(condition_stats(run, "trial_type", who="ID 1")["condition"]) == {"sad"}


def test_the_markers_own_names_are_conditions_too(database: Database, tmp_path: Path) -> None:
    plain = tmp_path / "plain.csv"
    plain.write_text("time_s,label,end_s\n0,all,12\n", encoding="utf-8")
    with database.run(1) as run:
        everything = expression_stats(run)
    import_markers(database, 1, plain)
    with database.run(1) as run:
        table = condition_stats(run, "label")
    whole = table[table["condition"] == "all"]
    assert whole["seconds"].tolist() == pytest.approx(everything["seconds"].tolist()), "one condition all the time"
    assert whole["episodes"].tolist() == everything["episodes"].tolist()


def test_columns_beside_those_that_are_mapped_are_conditions(database: Database, tmp_path: Path) -> None:
    trials = tmp_path / "trials.csv"
    trials.write_text("start;stop;what;Gruppe\n2,0;4,0;film;A\n8,0;9,0;film;B\n", encoding="utf-8")
    columns = {"start": "time_s", "stop": "end_s", "what": "label"}
    import_markers(database, 1, trials, Reading(columns=columns))
    with database.run(1) as run:
        table = condition_stats(run, "gruppe", who="ID 1")
    assert cell(table, "ID 1", "A", "sadness")["seconds"] == pytest.approx(1.0)
    assert cell(table, "ID 1", "B", "happiness")["seconds"] == pytest.approx(1.0)


def test_transitions_belong_to_where_the_second_begins(database: Database) -> None:
    with database.run(1) as run:
        table = condition_transitions(run, "trial_type", max_break_s=2.0)
        whole = transitions(run, max_break_s=2.0)
    counted = table.set_index(["condition", "from"])
    assert counted.loc[("funny", "happiness"), "sadness"] == 1
    assert counted.loc[("sad", "sadness"), "happiness"] == 1
    assert int(table[list(whole.columns)].to_numpy().sum()) == int(whole.to_numpy().sum()) == 2


def test_episodes_say_in_which_condition_they_begin(database: Database) -> None:
    with database.run(1) as run:
        table = with_conditions(run, person_episodes(run), "trial_type", at="onset_s")
    said = table[table["person"] == "ID 1"].set_index("onset_s")["condition"]
    assert said.tolist() == ["", "funny", "sad"]
    assert "coverage" in table.attrs


def test_all_runs_are_counted_where_they_have_the_condition(database: Database, tmp_path: Path) -> None:
    stored(database, SCRIPT, until_s=12.0)
    again = tmp_path / "again.tsv"
    again.write_text("onset\tduration\ttrial_type\n0\t1\tother\n", encoding="utf-8")
    import_markers(database, 2, again)
    with database.runs("all") as runs:
        table = condition_stats(runs, "trial_type", who="ID 1")
    assert {(run, name) for run, name in zip(table["run"], table["condition"], strict=True)} == {
        (1, "funny"),
        (1, "sad"),
        (2, "other"),
    }


def test_conditions_of_recordings_stay_beside_those_of_markers(database: Database, tmp_path: Path) -> None:
    second = stored(database, SCRIPT, until_s=12.0)
    again = tmp_path / "again.tsv"
    again.write_text("onset\tduration\ttrial_type\n0\t1\tother\n", encoding="utf-8")
    import_markers(database, second, again)
    with database.writing() as connection:
        state(connection, second, Recording(condition="stress"))
    with database.runs("condition=stress") as runs:
        table = condition_stats(runs, "trial_type")
        begun = with_conditions(runs, person_episodes(runs), "trial_type", at="onset_s")
        tidy = epochs(runs, "other")
    for answer in (table, begun, tidy):
        assert set(answer["run"]) == {second}
        assert set(answer["run_condition"]) == {"stress"}
        assert set(answer["condition"]) <= {"other", ""}


def test_what_is_not_there_is_said(database: Database, tmp_path: Path) -> None:
    with database.run(1) as run, pytest.raises(StorageError, match="they have trial_type, block; or group by their"):
        condition_stats(run, "valence")
    stored(database, SCRIPT, until_s=12.0)
    with database.run(2) as run, pytest.raises(StorageError, match="there is no marker in run 2"):
        condition_stats(run, "label")
    points = tmp_path / "points.csv"
    points.write_text("time_s,label\n1,go\n", encoding="utf-8")
    import_markers(database, 2, points)
    with database.run(2) as run:
        with pytest.raises(StorageError, match="--lasting 5"):
            condition_stats(run, "label")
        with pytest.raises(RunNotFoundError, match="nobody called 'Eve'"):
            condition_stats(run, "label", lasts_s=1.0, who="Eve")
        with pytest.raises(ValueError, match="lasts_s"):
            condition_stats(run, "label", lasts_s=-1.0)
