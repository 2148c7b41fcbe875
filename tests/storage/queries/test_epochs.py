"""Epochs of runs made by hand, checked against their arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fertrack.errors import RunNotFoundError, StorageError
from fertrack.imports.marker_import import import_markers
from fertrack.storage.engine import Database, open_database
from fertrack.storage.people.corrections import GivenLabel, store_corrections
from fertrack.storage.queries.epochs import EpochRule, epoch_means, epochs
from fertrack.types import EXPRESSIONS, NOT_READABLE, UNCERTAIN, FrameResult
from tests.support.answer_scenes import stored
from tests.support.storage_scenes import result, store

RULE = EpochRule(-1.0, 2.0, 10.0, (-1.0, 0.0), smoothed=True)
# Happiness 0.2, and after each of three markers at 3, 9 and 15 s for a second 0.5, 0.7 and 0.9.
LEVELS = {3.0: 0.5, 9.0: 0.7, 15.0: 0.9}
SCRIPT = [
    (begin, end, 1, "happiness", level)
    for at, peak in LEVELS.items()
    for begin, end, level in ((at - 3, at, 0.2), (at, at + 1, peak), (at + 1, at + 3, 0.2))
]


def mark(database: Database, folder: Path, rows: str, run: int = 1) -> None:
    path = folder / f"{abs(hash(rows))}.csv"
    path.write_text("time_s,label,note\n" + rows, encoding="utf-8")
    import_markers(database, run, path)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "a.db", create=True) as opened:
        stored(opened, SCRIPT, until_s=18.0)
        mark(opened, tmp_path, "3,stim,trial_type=a\n9,stim,trial_type=b\n15,stim,trial_type=b\n17.5,end,\n")
        yield opened


def asked(database: Database, *values: object, **options: object) -> pd.DataFrame:
    with database.run(1) as run:
        return epochs(run, *values, **options)  # type: ignore[arg-type]  # passed on as given


def test_values_are_those_of_the_hand_made_run(database: Database) -> None:
    table = asked(database, "stim", RULE, by="trial_type", expression="happiness")
    assert list(table.columns[:9]) == [
        *("run", "person", "track", "marker", "trial", "marker_s", "condition", "epoch_s", "expression")
    ]
    assert len(table) == 3 * 30
    assert table.groupby("trial")["condition"].first().tolist() == ["a", "b", "b"]
    for trial, peak in enumerate(LEVELS.values(), 1):
        mine = table[table["trial"] == trial]
        assert mine["epoch_s"].tolist() == pytest.approx((np.arange(30) / 10 - 1).tolist())
        expected = np.repeat([0.2, peak, 0.2], 10)
        assert mine["probability"].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
        assert mine["change"].tolist() == pytest.approx((expected - 0.2).tolist(), abs=1e-6)
    assert table.attrs["missing"] == 0.0
    assert set(table.columns) <= set(table.attrs["columns"])


def test_an_interval_between_frames_has_the_mean_over_time(database: Database) -> None:
    coarse = asked(database, "stim", EpochRule(-0.5, 1.5, 1.0, smoothed=True), expression="happiness")
    assert coarse[coarse["trial"] == 1]["probability"].tolist() == pytest.approx([0.35, 0.35], abs=1e-6)
    fine = asked(database, "stim", EpochRule(0.0, 0.2, 40.0, smoothed=True), expression="happiness")
    assert fine[fine["trial"] == 2]["probability"].tolist() == pytest.approx([0.7] * 8, abs=1e-6)


def test_all_seven_sum_to_one_and_single_frames_are_the_default(database: Database) -> None:
    table = asked(database, "stim", RULE)
    sums = table.groupby(["trial", "epoch_s"])["probability"].sum()
    assert sums.to_numpy() == pytest.approx(1.0, abs=1e-5)
    plain = asked(database, "stim")
    assert plain["probability"].dropna().to_numpy() == pytest.approx(1 / 7, abs=1e-6), "what these frames say alone"
    assert "change" not in plain.columns


def test_bands_are_students_interval_across_trials(database: Database) -> None:
    table = asked(database, "stim", RULE, expression="happiness")
    means = epoch_means(table)
    at = means[np.isclose(means["epoch_s"], 0.5)].iloc[0]
    values = np.array(list(LEVELS.values())) - 0.2
    low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    assert (at["trials"], at["mean"]) == (3, pytest.approx(values.mean(), abs=1e-6))
    assert (at["low"], at["high"]) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    by = epoch_means(asked(database, "stim", RULE, by="trial_type", expression="happiness"), after_only=True)
    assert by["condition"].tolist() == ["a", "b"]
    assert by["mean"].tolist() == pytest.approx([0.15, 0.3], abs=1e-6)
    assert np.isnan(by["low"].iloc[0]), "one trial has no interval"


def test_no_face_not_readable_and_outside_are_missing(database: Database, tmp_path: Path) -> None:
    frames: list[FrameResult] = []
    for i in range(30):
        frame = result(i, i / 10, [] if i < 5 else [(1, "happiness", 0.6)])
        if 10 <= i < 13:
            frame.labels.flags.writeable = True
            frame.labels[:] = NOT_READABLE
        frames.append(frame)
    number = store(database, frames)
    mark(database, tmp_path, "1.0,go,\n", run=number)
    with database.run(number) as run:
        table = epochs(run, "go", EpochRule(-1.5, 2.5, 10.0, (-1.0, 0.0), smoothed=True), expression="happiness")
    missing = table[table["probability"].isna()]["epoch_s"].round(3).tolist()
    expected = [*np.arange(-15, -5), 0, 1, 2, *np.arange(20, 25)]
    assert missing == pytest.approx([each / 10 for each in expected])
    assert table["change"].dropna().to_numpy() == pytest.approx(0.0, abs=1e-6), (
        "the baseline is what was readable of it"
    )
    assert table.attrs["missing"] == pytest.approx(len(expected) / 40)


def test_a_trial_without_a_readable_baseline_has_no_change(database: Database, tmp_path: Path) -> None:
    mark(database, tmp_path, "0.0,first,\n")
    table = asked(database, "first", RULE, expression="happiness")
    later = table[table["epoch_s"] >= 0]
    assert later["probability"].notna().all()
    assert later["change"].isna().all()


def test_corrected_faces_count_as_labelled(database: Database) -> None:
    given = [
        GivenLabel(row=2, label=EXPRESSIONS.index("sadness"), frame_index=30, face_index=0),
        GivenLabel(row=3, label=UNCERTAIN, frame_index=31, face_index=0),
    ]
    store_corrections(database, 1, given, author="coder")
    rule = EpochRule(0.0, 0.3, 10.0, smoothed=True)
    sad = asked(database, "stim", rule, expression="sadness")
    assert sad[sad["trial"] == 1]["probability"].round(3).tolist()[0] == 1.0
    assert np.isnan(sad[sad["trial"] == 1]["probability"].iloc[1])
    with database.estimates().run(1) as run:
        estimated = epochs(run, "stim", rule, expression="sadness")
    assert estimated["probability"].max() < 0.2


def test_all_runs_have_their_own_trials(database: Database, tmp_path: Path) -> None:
    stored(database, SCRIPT, until_s=18.0)
    mark(database, tmp_path, "9,stim,\n", run=2)
    with database.runs("all") as runs:
        table = epochs(runs, "stim", RULE, expression="happiness", who="ID 1")
    assert table.groupby("run")["trial"].max().tolist() == [3, 1]


@pytest.mark.parametrize(
    ("values", "options", "error", "said"),
    [
        (["stimm"], {}, StorageError, "there is no marker 'stimm' to take epochs around: there are stim, end"),
        (["stim"], {"by": "valence"}, StorageError, "has a column 'valence'"),
        (["stim"], {"who": "Eve"}, RunNotFoundError, "nobody called 'Eve'"),
        (["end", EpochRule(1.0, 2.0)], {}, StorageError, "nobody is readable from 1 s to 2 s around the marker"),
        (["stim"], {"expression": "uncertain"}, ValueError, "uncertain has no probability"),
        (["stim", EpochRule(rate_hz=1e6)], {}, ValueError, "more than five million rows"),
    ],
)
def test_what_cannot_be_is_said(
    database: Database, values: list[object], options: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        asked(database, *values, **options)


@pytest.mark.parametrize("options", [{"from_s": 1.0, "to_s": 1.0}, {"baseline": (0.0, -1.0)}, {"rate_hz": 0.0}])
def test_impossible_times_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        EpochRule(**options)  # type: ignore[arg-type]  # wrong on purpose
