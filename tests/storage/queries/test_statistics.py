from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError, StorageError, TableError
from fertrack.imports.marker_import import import_markers
from fertrack.reporting.config import ReportConfig
from fertrack.storage.answer_models import Marker
from fertrack.storage.engine import Database, open_database
from fertrack.storage.queries import statistics
from fertrack.storage.queries.markers import delete_markers
from fertrack.storage.queries.moments import Condition
from fertrack.storage.queries.moments import moments as find_moments
from fertrack.types import EXPRESSIONS
from tests.support import queries
from tests.support.answer_scenes import name_person, played, stored
from tests.support.queries import (
    episode_table,
    expression_stats,
    face_table,
    markers,
    read_transitions,
    resampled_timeline,
    since_marker,
    transitions,
)
from tests.support.queries import episodes_of_persons as person_episodes
from tests.support.storage_scenes import random_results, result, store

# Ten seconds at 10 Hz. Track 1: happy 3 s, uncertain 1 s, happy 1 s, sad 2 s, gone 2 s, angry 1 s. Track 2: calm, 5 s.
SCRIPT = [
    (0.0, 3.0, 1, "happiness", 0.8),
    (3.0, 4.0, 1, "uncertain", 0.4),
    (4.0, 5.0, 1, "happiness", 0.6),
    (5.0, 7.0, 1, "sadness", 0.9),
    (9.0, 10.0, 1, "anger", 0.7),
    (0.0, 5.0, 2, "neutral", 0.9),
]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "a.db", create=True) as opened:
        stored(opened, SCRIPT, until_s=10.0)
        yield opened


def of(table: pd.DataFrame, person: str, state: str) -> pd.Series:
    return table[(table["person"] == person) & (table["state"] == state)].iloc[0]


# Shares and counts ------------------------------------------------------------------------------------------------


def test_time_counts_and_durations(database: Database) -> None:
    table = expression_stats(database, "last")
    assert len(table) == 2 * 9
    happy = of(table, "ID 1", "happiness")
    assert happy["seconds"] == pytest.approx(4.0)
    assert happy["share_of_face_time"] == pytest.approx(4 / 8)
    assert happy["share_of_run"] == pytest.approx(4 / 10)
    assert happy["episodes"] == 2, "1 s of uncertainty is longer than the gap"
    assert happy["mean_duration_s"] == pytest.approx(2.0)
    assert happy["longest_s"] == pytest.approx(3.0)
    assert happy["per_minute"] == pytest.approx(2 * 60 / 8)
    joined = of(expression_stats(database, 1, max_gap_s=1.0), "ID 1", "happiness")
    assert (joined["episodes"], joined["seconds"]) == (1, pytest.approx(4.0))
    assert joined["mean_duration_s"] == pytest.approx(5.0)
    only_long = of(expression_stats(database, 1, min_duration_s=2.0), "ID 1", "happiness")
    assert (only_long["episodes"], only_long["seconds"]) == (1, pytest.approx(4.0))


def test_uncertain_and_no_face_are_states_too(database: Database) -> None:
    table = expression_stats(database, 1)
    assert of(table, "ID 1", "uncertain")["seconds"] == pytest.approx(1.0)
    assert of(table, "ID 1", "no face")["seconds"] == pytest.approx(2.0)
    assert of(table, "ID 2", "no face")["share_of_run"] == pytest.approx(0.5)
    assert np.isnan(of(table, "ID 2", "no face")["share_of_face_time"])
    assert of(table, "ID 1", "uncertain")["episodes"] == 0
    sums = table.groupby("person")[["share_of_face_time", "share_of_run"]].sum()
    np.testing.assert_allclose(sums, 1.0)
    assert table.attrs["coverage"] == pytest.approx({"certain_s": 12.0, "uncertain_s": 1.0, "no_face_s": 7.0})
    assert table.attrs["units"]["per_minute"] == "1/min"


def test_the_tracks_of_one_person_count_as_one(database: Database) -> None:
    run = stored(database, [(0, 2, 1, "fear", 0.9), (2.3, 4, 2, "fear", 0.9)], until_s=4.0)
    assert expression_stats(database, run)["person"].unique().tolist() == ["ID 1", "ID 2"]
    name_person(database, run, key=1, number=1, name="", tracks=[1, 2])
    fear = of(expression_stats(database, run), "P1", "fear")
    assert (fear["episodes"], fear["seconds"]) == (1, pytest.approx(3.7))
    assert of(expression_stats(database, run), "P1", "no face")["seconds"] == pytest.approx(0.3)


def test_shares_are_those_of_the_tracks_table(database: Database) -> None:
    run = store(database, [each for i, each in enumerate(random_results(300, 3)) if i % 5])
    table, tracks = expression_stats(database, run), queries.tracks(database, run)
    for name in (*EXPRESSIONS, "uncertain"):
        of_state = table[table["state"] == name].sort_values("track")["share_of_face_time"]
        np.testing.assert_allclose(of_state, tracks[f"share_{name}"], atol=1e-9)


def test_of_all_runs(database: Database) -> None:
    stored(database, [(0, 1, 1, "fear", 0.9)], until_s=2.0)
    table = expression_stats(database, "all")
    assert table.groupby("run").size().to_dict() == {1: 18, 2: 9}
    assert table.attrs["coverage"]["no_face_s"] == pytest.approx(8.0)
    with pytest.raises(ValueError, match="max_gap_s must be"):
        expression_stats(database, "all", max_gap_s=-1.0)


# Transitions ------------------------------------------------------------------------------------------------------


def test_transitions(database: Database) -> None:
    table = transitions(database, 1)
    assert table.shape == (7, 7)
    assert list(table.index) == list(table.columns) == list(EXPRESSIONS)
    expected = pd.DataFrame(0, index=table.index, columns=table.columns)
    expected.loc["happiness", "happiness"] = 1  # across the uncertain second
    expected.loc["happiness", "sadness"] = 1
    pd.testing.assert_frame_equal(table, expected)
    assert table.attrs["broken"] == 1, "sadness to anger, with 2 s between"
    assert transitions(database, 1, max_break_s=2.0).loc["sadness", "anger"] == 1
    assert transitions(database, 1, who="ID 2").to_numpy().sum() == 0
    shares = transitions(database, 1, as_probability=True)
    assert shares.loc["happiness", "sadness"] == pytest.approx(0.5)
    assert np.isnan(shares.loc["anger", "fear"])


def test_what_a_dropped_episode_interrupts_is_no_transition_to_itself(database: Database) -> None:
    """0.12 s of another expression are passed over; the expression around them goes on."""
    script = [
        (0.0, 0.88, 1, "surprise", 0.9),
        (0.88, 1.0, 1, "neutral", 0.9),
        (1.0, 2.0, 1, "surprise", 0.9),
        (2.0, 3.0, 1, "neutral", 0.9),
        (3.0, 3.6, 1, "fear", 0.9),
        (3.6, 4.0, 1, "neutral", 0.9),
    ]
    run = stored(database, script, until_s=4.0, fps=50.0)
    table = transitions(database, run)
    assert table.loc["surprise", "neutral"] == 1
    assert table.to_numpy().trace() == 0
    assert table.to_numpy().sum() == 3
    assert transitions(database, run, min_duration_s=0.0).loc["surprise", "neutral"] == 2
    again = transitions(database, run, min_duration_s=0.7)
    assert again.loc["neutral", "neutral"] == 0, "what comes after was itself too short"
    assert transitions(database, run, min_duration_s=0.61, max_gap_s=0.1).loc["surprise", "surprise"] == 1


def test_the_report_and_the_answers_go_by_one_rule(database: Database) -> None:
    """Same table, same episodes, same defaults."""
    script = [(i * 0.25, i * 0.25 + 0.12 * (1 + i % 2), 1, EXPRESSIONS[i % 3], 0.9) for i in range(20)]
    run = stored(database, script, until_s=6.0, fps=50.0)
    everybody, _ = read_transitions(database, run, [], ReportConfig())
    asked = transitions(database, run)
    assert [list(row.counts) for row in everybody.rows] == asked.to_numpy().tolist()
    assert everybody.total > 0
    listed = person_episodes(database, run)
    assert 0 < len(listed) < len(script)
    assert len(listed) == len(queries.episodes(database, run))
    assert len(listed) == len(episode_table(database, run, ReportConfig(), face_table(database, run)))


def test_transitions_of_all_runs_add_up_and_never_cross_them(database: Database) -> None:
    stored(database, SCRIPT, until_s=10.0)
    assert transitions(database, "all").loc["happiness", "sadness"] == 2
    assert transitions(database, "all").to_numpy().sum() == 4


# Resampling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [10.0, 30.0])
def test_resampled_values_are_means_over_time(database: Database, fps: float) -> None:
    run = stored(database, SCRIPT, until_s=10.0, fps=fps)
    table = resampled_timeline(database, run, 0.5, who="ID 1")
    assert table["time_s"].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert table["label"].tolist() == ["happiness", "happiness", "happiness", "sadness", "anger"]
    happy = table["p_happiness"].tolist()
    assert happy[0] == pytest.approx(0.8, abs=1e-6)
    assert happy[1] == pytest.approx((0.8 + 0.1) / 2, abs=1e-6), "an uncertain face has probabilities too"
    assert table["share_uncertain"].tolist() == pytest.approx([0, 0.5, 0, 0, 0])
    assert table["share_no_face"].tolist() == pytest.approx([0, 0, 0, 0.5, 0.5])
    assert table["p_anger"].iloc[4] == pytest.approx(0.7, abs=1e-6), "the mean of the time with a face"
    assert table.attrs["coverage"] == pytest.approx({"certain_s": 7.0, "uncertain_s": 1.0, "no_face_s": 2.0})


def test_resampling_faster_than_the_frames_repeats_them(database: Database) -> None:
    table = resampled_timeline(database, 1, 40.0, who=1, from_s=2.95, to_s=3.05)
    assert table["time_s"].tolist() == pytest.approx([2.95, 2.975, 3.0, 3.025])
    assert table["label"].tolist() == ["happiness", "happiness", "uncertain", "uncertain"]
    assert table["p_happiness"].tolist() == pytest.approx([0.8, 0.8, 0.1, 0.1], abs=1e-6)


def test_time_without_a_face_is_there_and_says_so(database: Database) -> None:
    table = resampled_timeline(database, 1, 1.0, from_s=6.5, to_s=9.5)
    assert table["person"].tolist() == ["ID 1"] * 3 + ["ID 2"] * 3
    assert table["label"].tolist() == ["sadness", "no face", "anger"] + ["no face"] * 3
    assert table["p_sadness"].isna().tolist() == [False, True, False, True, True, True]
    assert table["share_no_face"].tolist() == pytest.approx([0.5, 1.0, 0.5, 1, 1, 1])


def test_mostly_unseen_is_no_face_without_probabilities_and_mostly_seen_is_none(database: Database) -> None:
    """No row says that there was no face and how it looked."""
    faces = [(i, i / 10, [(1, "fear" if i < 6 else "anger", 0.7)] if i not in range(9, 16) else []) for i in range(20)]
    run = store(database, [result(frame, time_s, seen) for frame, time_s, seen in faces])
    table = resampled_timeline(database, run, 1.0)
    assert table["label"].tolist() == ["fear", "no face"]
    assert table["share_no_face"].tolist() == pytest.approx([0.1, 0.6])
    assert table["p_fear"].isna().tolist() == [False, True]
    mixed = resampled_timeline(database, run, 1.0, from_s=0.28, to_s=1.28)
    assert mixed["share_no_face"].tolist() == pytest.approx([0.38])
    assert mixed["label"].tolist() == ["fear"], "0.32 and 0.30 s of two expressions, 0.38 s unseen"


def test_resampling_of_one_or_all_persons_is_the_same(database: Database) -> None:
    run = store(database, [each for i, each in enumerate(random_results(1200, 3, fps=30.0)) if i % 5])
    everybody = resampled_timeline(database, run, 7.0)
    for track in (1, 5, 9):
        one = resampled_timeline(database, run, 7.0, who=f"ID {track}")
        mine = everybody[everybody["track"] == track].reset_index(drop=True)
        pd.testing.assert_frame_equal(one, mine, check_exact=False)
    seconds = everybody.attrs["coverage"]
    assert seconds["certain_s"] + seconds["uncertain_s"] == pytest.approx(
        sum(expression_stats(database, run).attrs["coverage"][key] for key in ("certain_s", "uncertain_s"))
    )


def test_two_tracks_of_one_person_in_one_frame_count_once(database: Database) -> None:
    run = stored(database, [(0, 2, 1, "fear", 0.9), (0, 1, 2, "anger", 0.8)], until_s=2.0)
    name_person(database, run, key=1, number=1, name="", tracks=[1, 2])
    table = resampled_timeline(database, run, 1.0)
    assert table["share_no_face"].tolist() == [0.0, 0.0]
    assert table["label"].tolist() == ["fear", "fear"]


def test_impossible_resampling_is_refused(database: Database) -> None:
    for rate in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="rate_hz must be above 0"):
            resampled_timeline(database, 1, rate)
    with pytest.raises(ValueError, match="nothing lies between"):
        resampled_timeline(database, 1, 1.0, from_s=2.0, to_s=2.0)
    with pytest.raises(ValueError, match="too many"):
        resampled_timeline(database, 1, 1e7)
    with pytest.raises(RunNotFoundError, match="shows nothing"):
        resampled_timeline(database, 1, 1.0, from_s=99.0)
    run = store(database, [result(0, 0.0), result(1, 0.1)])
    assert resampled_timeline(database, run, 5.0).empty


# Markers ----------------------------------------------------------------------------------------------------------


def test_markers_are_imported_once(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "stimuli.csv"
    path.write_text("\ufefftime_s;label;end_s;note\n4.5;picture;;\n1;joke;2.5;the one with; no\n", encoding="utf-8")
    with pytest.raises(TableError, match=r"stimuli\.csv, row 3 has 5 fields, the header 4"):
        import_markers(database, 1, path)
    path.write_text('\ufefftime_s;label;end_s;note\n4.5;picture;;\n\n1;joke;2.5;"Zoë; 李"\n', encoding="utf-8")
    assert import_markers(database, "last", path).added == 2
    again = import_markers(database, 1, path)
    assert (again.run, again.added, again.known) == (1, 0, 2)
    table = markers(database, 1)
    assert table["time_s"].tolist() == [1.0, 4.5]
    assert table["label"].tolist() == ["joke", "picture"]
    assert table["end_s"].tolist() == pytest.approx([2.5, np.nan], nan_ok=True)
    assert table["note"].tolist() == ["Zoë; 李", ""]
    assert markers(database, 1, label="joke")["time_s"].tolist() == [1.0]
    assert delete_markers(database, 1, label="joke") == 1
    assert delete_markers(database, 1) == 1
    assert markers(database, 1).empty


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no column 'time_s'"),
        ("time_s\n1\n", "no column 'label'"),
        ("time_s,label,colour\n1,a,red\n", "may have the columns time_s, label, end_s, note, duration_s, not"),
        ("time_s,label,label\n1,a,b\n", "each column once, not 'label' twice"),
        ("time_s,label\nsoon,a\n", r"row 2: time_s must be seconds such as 12\.5, or m:ss, not 'soon'"),
        ("time_s,label\n1,a\ninf,a\n", "row 3: time_s must be a finite number"),
        ("time_s,label\n1,\n", "row 2: a marker needs a label"),
        ("time_s,label,end_s\n5,a,4\n", "end_s 4 is before time_s 5"),
        ('time_s,label\n1,"a\n', "no CSV file"),
        ("time_s,label\n1," + "a" * 10_001, "can have 10000 characters, not 10001"),
    ],
)
def test_a_wrong_file_is_refused_as_a_whole(database: Database, tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=complaint):
        import_markers(database, 1, tmp_path / "m.csv")
    assert markers(database, 1).empty


def test_a_file_that_cannot_be_read_is_named(database: Database, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"m\.csv cannot be read: No such file"):
        import_markers(database, 1, tmp_path / "m.csv")
    (tmp_path / "m.csv").write_bytes(b"time_s,label\n1,\x81\n")
    with pytest.raises(TableError, match="is not text, or in an encoding other than UTF-8 and Windows-1252"):
        import_markers(database, 1, tmp_path / "m.csv")


@pytest.fixture
def marked(database: Database, tmp_path: Path) -> Database:
    path = tmp_path / "m.csv"
    path.write_text("time_s,label\n2.0,cue\n4.2,cue\n7.5,cue\n9.5,end\n", encoding="utf-8")
    import_markers(database, 1, path)
    return database


def test_latency_from_a_marker_to_the_first_change(marked: Database) -> None:
    table = since_marker(marked, 1, "cue", who="ID 1")
    assert table["time_s"].tolist() == [2.0, 4.2, 7.5]
    assert table["before"].tolist() == ["happiness", "happiness", "no face"]
    assert table["after"].tolist()[:2] == ["sadness", "sadness"], "the same expression again is no change"
    assert table["latency_s"].tolist() == pytest.approx([3.0, 0.8, np.nan], nan_ok=True), "to appear is no change"
    assert table["uncertain_s"].tolist() == pytest.approx([1.0, 0.0, 0.0])
    assert table["no_face_s"].tolist() == pytest.approx([0.0, 0.0, 1.5])
    assert table["watched_s"].tolist() == pytest.approx([8.0, 5.8, 2.5])
    assert table.attrs["cut"] == [
        "run 1 ends at 10.00 s, less than 10 s after 3 markers (the first at 2.00 s): a later reaction cannot be seen"
    ]
    assert since_marker(marked, 1, "cue", within_s=2.0).attrs["cut"] == []
    assert table.attrs["coverage"]["no_face_s"] == pytest.approx(2.0)


def test_no_change_has_no_latency(marked: Database) -> None:
    table = since_marker(marked, 1, "cue", who="ID 2")
    assert table["latency_s"].isna().all()
    assert table["after"].isna().all()
    assert table["no_face_s"].tolist() == pytest.approx([5.0, 5.0, 2.5]), "the video ends at 10 s; seen until 5 s"
    soon = since_marker(marked, 1, "cue", who="ID 1", within_s=1.0)
    assert soon["latency_s"].tolist() == pytest.approx([np.nan, 0.8, np.nan], nan_ok=True)
    assert since_marker(marked, 1, "cue", who="ID 1", within_s=3.0).iloc[0]["latency_s"] == pytest.approx(3.0)
    at_rest = since_marker(marked, "all", who="ID 1", max_gap_s=0.0).iloc[0]
    assert at_rest["before"] == "happiness"


def test_time_after_the_end_is_not_time_without_a_face(database: Database, tmp_path: Path) -> None:
    script = [(0.0, 8.0, 1, "neutral", 0.9), (3.0, 5.0, 2, "neutral", 0.9), (5.0, 8.0, 2, "fear", 0.9)]
    run = stored(database, script, until_s=8.0)
    path = tmp_path / "m.csv"
    path.write_text("time_s,label\n1.0,cue\n500,cue\n-3,cue\n", encoding="utf-8")
    with pytest.raises(TableError, match=r"row 3: 500 s is outside the run; row 4: -3 s is outside the run"):
        import_markers(database, run, path)
    report = import_markers(database, run, path, skip_outside=True)
    assert (report.added, report.known) == (1, 0)
    told = f"2 of 3 markers lie outside run {run}, whose frames are of 0.00 s to 8.00 s"
    assert report.outside == f"{told}: left out"
    with database.writing() as connection:  # as they were imported once
        rows = [{"run_id": run, "time_s": time_s, "label": "cue", "note": ""} for time_s in (500.0, -3.0)]
        connection.execute(sa.insert(Marker), rows)
    table = since_marker(database, run, "cue", who="ID 1")
    assert table["time_s"].tolist() == [-3.0, 1.0, 500.0]
    assert table["no_face_s"].tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    assert table["latency_s"].isna().all()
    assert table.attrs["outside"] == [told]
    other = since_marker(database, run, "cue", who="ID 2")
    assert other["before"].tolist() == ["no face"] * 3
    assert other["after"].tolist()[:2] == ["fear", "fear"], "to appear is no change of expression"
    assert other["latency_s"].tolist() == pytest.approx([8.0, 4.0, np.nan], nan_ok=True)
    assert other["no_face_s"].tolist() == pytest.approx([3.0, 2.0, 0.0])
    path.write_text("time_s,label\n2.0,inside\n", encoding="utf-8")
    assert import_markers(database, run, path).outside == ""
    assert since_marker(database, run, "inside").attrs["outside"] == []


def test_becoming_certain_is_no_reaction(database: Database, tmp_path: Path) -> None:
    script = [
        (0.0, 1.0, 1, "neutral", 0.9),
        (1.0, 2.0, 1, "uncertain", 0.9),
        (2.0, 3.0, 1, "neutral", 0.9),
        (3.0, 4.0, 1, "anger", 0.9),
    ]
    run = stored(database, script, until_s=4.0)
    path = tmp_path / "m.csv"
    path.write_text("time_s,label\n1.5,cue\n", encoding="utf-8")
    import_markers(database, run, path)
    row = since_marker(database, run).iloc[0]
    assert (row["before"], row["after"], row["latency_s"]) == ("uncertain", "anger", pytest.approx(1.5))
    script[0] = (0.0, 1.0, 1, "fear", 0.9)
    other = stored(database, script[:3], until_s=4.0)
    import_markers(database, other, path)
    assert since_marker(database, other)["after"].isna().all()


def test_a_reaction_is_timed_before_smoothing(database: Database, tmp_path: Path) -> None:
    """Smoothed, the change shows at 3.0 s; single frames show it from 2.4 s on, and once, by chance, at 2.1 s."""
    frames = played([(0.0, 3.0, 1, "neutral", 0.9), (3.0, 5.0, 1, "anger", 0.9)], until_s=5.0)
    neutral, anger = (EXPRESSIONS.index(name) for name in ("neutral", "anger"))
    for index, frame in enumerate(frames):
        single = np.full((1, 7), 0.05, np.float32)
        single[0, anger if index >= 24 or index == 21 else neutral] = 0.7
        frames[index] = replace(frame, probabilities=single)
    run = store(database, frames)
    path = tmp_path / "m.csv"
    path.write_text("time_s,label\n2.0,cue\n2.6,late\n", encoding="utf-8")
    import_markers(database, run, path)
    assert since_marker(database, run, "cue").iloc[0]["latency_s"] == pytest.approx(0.4)
    assert np.isnan(since_marker(database, run, "late").iloc[0]["latency_s"]), "it began before the marker"


def test_a_part_of_the_time(database: Database) -> None:
    run = stored(database, [(0.0, 4.0, 1, "fear", 0.9), (4.0, 8.0, 1, "anger", 0.9)], until_s=8.0)
    with database.runs(run, from_s=3.0, to_s=6.0) as part:
        table = statistics.expression_stats(part).set_index("state")
        spans = statistics.person_episodes(part)[["onset_s", "offset_s"]].to_numpy().tolist()
        shown = find_moments(part, Condition("anger"))[["start_s", "end_s"]].to_numpy().tolist()
    assert table.loc[["fear", "anger", "no face"], "seconds"].tolist() == pytest.approx([1.0, 2.0, 0.0])
    assert table.loc["anger", "share_of_run"] == pytest.approx(2 / 3)
    np.testing.assert_allclose(spans, [[3.0, 4.0], [4.0, 6.0]])
    np.testing.assert_allclose(shown, [[4.0, 6.0]])
    with pytest.raises(ValueError, match="nothing lies between"), database.runs(run, from_s=3.0, to_s=3.0):
        pass


def test_a_marker_that_is_not_there(marked: Database) -> None:
    with pytest.raises(StorageError, match="no marker 'start' in run 1: there are cue, end"):
        since_marker(marked, 1, "start")
    run = store(marked, [result(0, 0.0, [(1, "fear", 0.9)])])
    with pytest.raises(StorageError, match=f"no marker in run {run}: `fertrack markers import` adds some"):
        since_marker(marked, run)
    assert len(since_marker(marked, "all")) == 4 * 2
