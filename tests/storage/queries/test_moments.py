"""Moments, intervals, synchrony of two persons, and speed over time: against answers known beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import pi, sin
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fertrack.errors import RunNotFoundError
from fertrack.reporting.notebook.figure import write_lag_map
from fertrack.storage.engine import Database, open_database
from fertrack.storage.queries.moments import Condition
from fertrack.storage.queries.segments import Segments
from fertrack.storage.queries.synchrony import chance_of, lagged_correlation
from fertrack.types import EXPRESSIONS
from tests.support.answer_scenes import name_person, played, stored, waves
from tests.support.queries import moments, speed_over_time, synchrony, windowed_synchrony
from tests.support.storage_scenes import result, store

SCRIPT = [
    (0.0, 2.0, 1, "happiness", 0.9),
    (2.0, 2.5, 1, "uncertain", 0.9),
    (2.5, 4.0, 1, "happiness", 0.6),
    (1.0, 3.0, 2, "happiness", 0.8),
    (3.0, 3.5, 2, "surprise", 0.75),
    (3.6, 4.6, 2, "surprise", 0.75),
    (4.6, 6.0, 2, "surprise", 0.65),
    (1.5, 1.8, 3, "happiness", 0.5),
    (5.0, 6.0, 3, "anger", 0.5),
]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "a.db", create=True) as opened:
        stored(opened, SCRIPT, until_s=6.0)
        yield opened


def found(table: pd.DataFrame) -> list[tuple[str, float, float]]:
    return list(zip(table["persons"], table["start_s"].round(6), table["end_s"].round(6), strict=True))


def test_a_person_above_a_probability_for_long_enough(database: Database) -> None:
    surprised = Condition("surprise", who=2, above=0.7)
    table = moments(database, "last", surprised, min_duration_s=1.0)
    assert found(table) == [("ID 2", 3.0, 4.6)], "0.1 s without a face is no end, 0.65 is"
    assert table["duration_s"].tolist() == pytest.approx([1.6])
    assert found(moments(database, 1, surprised, min_duration_s=1.0, max_gap_s=0.0)) == [("ID 2", 3.6, 4.6)]
    assert found(moments(database, 1, surprised, min_duration_s=1.61)) == []
    assert found(moments(database, 1, Condition("surprise", who=2, above=0.75))) == [], "above, not at"
    assert found(moments(database, 1, Condition("surprise", who=2))) == [("ID 2", 3.0, 6.0)]
    assert table.attrs["coverage"] == pytest.approx({"certain_s": 4.9, "uncertain_s": 0.0, "no_face_s": 1.1})
    assert table.attrs["units"]["start_s"] == "s"


def test_an_uncertain_face_shows_nothing(database: Database) -> None:
    table = moments(database, 1, Condition("happiness", who=1, above=0.55))
    assert found(table) == [("ID 1", 0.0, 2.0), ("ID 1", 2.5, 4.0)]
    assert found(moments(database, 1, Condition("uncertain", who=1))) == [("ID 1", 2.0, 2.5)]
    assert table.attrs["coverage"]["uncertain_s"] == pytest.approx(0.5)


def test_anybody(database: Database) -> None:
    assert found(moments(database, 1, Condition("happiness"), min_duration_s=0.3)) == [
        ("ID 1", 0.0, 2.0),
        ("ID 2", 1.0, 3.0),
        ("ID 3", 1.5, 1.8),
        ("ID 1", 2.5, 4.0),
    ]


def test_people_together(database: Database) -> None:
    together = Condition("happiness", people=2)
    assert found(moments(database, 1, together, min_duration_s=0.5)) == [
        ("ID 1, ID 2, ID 3", 1.0, 2.0),
        ("ID 1, ID 2", 2.5, 3.0),
    ]
    assert found(moments(database, 1, together, max_gap_s=0.5)) == [("ID 1, ID 2, ID 3", 1.0, 3.0)]
    assert found(moments(database, 1, Condition("happiness", people=3))) == [("ID 1, ID 2, ID 3", 1.5, 1.8)]
    assert found(moments(database, 1, Condition("happiness", people=4))) == []
    assert found(moments(database, 1, Condition("happiness", people=2, above=0.7))) == [("ID 1, ID 2", 1.0, 2.0)]


def test_each_moment_says_who_showed_it_for_how_long(database: Database) -> None:
    """The third person is there for the last half second only."""
    script = [
        (0.0, 4.0, 1, "neutral", 0.9),
        (0.0, 2.0, 2, "neutral", 0.9),
        (2.0, 4.0, 3, "neutral", 0.9),
        (3.5, 4.0, 4, "neutral", 0.9),
    ]
    run = stored(database, script, until_s=4.0)
    row = moments(database, run, Condition("neutral", people=2)).iloc[0]
    assert (row["start_s"], row["end_s"]) == (0.0, 4.0)
    assert row["persons"] == "ID 1, ID 2, ID 3, ID 4"
    assert row["persons_s"] == "4.000, 2.000, 2.000, 0.500"
    late = moments(database, run, [Condition("neutral", who="ID 4"), Condition("neutral", people=2)]).iloc[0]
    assert late["persons_s"] == "0.500, 0.500, 0.500", "who meets two conditions at once counts once"
    alone = moments(database, run, Condition("neutral", who="ID 3")).iloc[0]
    assert (alone["persons"], alone["persons_s"]) == ("ID 3", "2.000")


def test_several_conditions_at_the_same_time(database: Database) -> None:
    both = [Condition("happiness", who="ID 1"), Condition("surprise", who="ID 2", above=0.7)]
    assert found(moments(database, 1, both)) == [("ID 1, ID 2", 3.0, 4.0)]
    assert found(moments(database, 1, [*both, Condition("fear")])) == []
    anybody = [Condition("surprise", who=2), Condition("anger")]
    assert found(moments(database, 1, anybody)) == [("ID 2, ID 3", 5.0, 6.0)]


def test_tracks_of_one_person_are_not_two_people(database: Database) -> None:
    run = stored(database, [(0, 1, 1, "happiness", 0.9), (0.9, 2, 2, "happiness", 0.9)], until_s=3.0)
    assert found(moments(database, run, Condition("happiness", people=2))) == [("ID 1, ID 2", 0.9, 1.0)]
    name_person(database, run, key=5, number=1, name="Ann", tracks=[1, 2])
    assert found(moments(database, run, Condition("happiness", people=2))) == []
    for above in (0.0, 0.5):
        assert found(moments(database, run, Condition("happiness", who="Ann", above=above))) == [("Ann", 0.0, 2.0)]


def test_across_all_runs(database: Database) -> None:
    stored(database, [(0, 1, 1, "happiness", 0.9)], until_s=2.0)
    stored(database, SCRIPT, until_s=6.0)
    table = moments(database, "all", Condition("happiness", people=2, above=0.7), min_duration_s=0.5)
    assert table["run"].tolist() == [1, 3], "people of different runs are never together"
    who = moments(database, "all", Condition("surprise", who="ID 2", above=0.7), min_duration_s=1.0)
    assert who["run"].tolist() == [1, 3]
    with pytest.raises(RunNotFoundError, match="nobody called 'Bob' in any run"):
        moments(database, "all", [Condition("happiness"), Condition("fear", who="Bob")])
    with pytest.raises(RunNotFoundError, match="nobody called 'Bob' in run 1"):
        moments(database, 1, Condition("fear", who="Bob"))


def test_impossible_conditions(database: Database) -> None:
    with pytest.raises(ValueError, match="did you mean 'surprise'"):
        Condition("surprize")
    with pytest.raises(ValueError, match="above must be a probability"):
        Condition("fear", above=1.0)
    for wrong in ({"people": 0}, {"people": 2, "who": 1}):
        with pytest.raises(ValueError, match="people must be 1 or more"):
            Condition("fear", **wrong)  # type: ignore[arg-type]  # one keyword at a time
    with pytest.raises(ValueError, match="at least one condition"):
        moments(database, 1, [])
    with pytest.raises(ValueError, match="min_duration_s must be"):
        moments(database, 1, Condition("fear"), min_duration_s=-1.0)


def test_an_empty_database(tmp_path: Path) -> None:
    with open_database(tmp_path / "b.db", create=True) as empty:
        with pytest.raises(RunNotFoundError, match="there are no runs"):
            moments(empty, "all", Condition("fear"))
        store(empty, [result(0, 0.0), result(1, 0.1)])
        for condition in (Condition("fear"), Condition("fear", above=0.5), Condition("fear", people=2)):
            assert moments(empty, "all", condition).empty


# Segments ---------------------------------------------------------------------------------------------------------

_interval = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 40), st.integers(1, 12))


def segments_of(rows: list[tuple[int, int, int, int]]) -> Segments:
    """Of subjects 0 to 3 of runs 0 to 2, numbered on from run to run."""
    table = np.array(rows, np.int64).reshape(-1, 4)
    return Segments.plain(4 * table[:, 0] + table[:, 1], table[:, 2] / 4.0, (table[:, 2] + table[:, 3]) / 4.0)


def painted(segments: Segments, groups: range) -> np.ndarray:
    """How many hold in each quarter of a second, painted one by one."""
    held = np.zeros(64, np.int64)
    for row in range(len(segments)):
        if segments.group[row] in groups:
            held[round(segments.start_s[row] * 4) : round(segments.end_s[row] * 4)] += 1
    return held


@given(st.lists(_interval, max_size=25), st.integers(1, 3))
def test_overlaps_are_what_painting_them_gives(rows: list[tuple[int, int, int, int]], count: int) -> None:
    each = segments_of(rows).closed()
    together = each.overlapping(count, each.group // 4)
    for run in range(3):
        of_run = range(4 * run, 4 * run + 4)
        by_subject = [painted(segments_of(rows), range(subject, subject + 1)) > 0 for subject in of_run]
        np.testing.assert_array_equal(painted(each, of_run), np.sum(by_subject, axis=0))
        np.testing.assert_array_equal(painted(together, range(run, run + 1)), np.sum(by_subject, axis=0) >= count)


# Synchrony --------------------------------------------------------------------------------------------------------


def wave(at: float) -> float:
    return 0.55 + 0.4 * sin(2 * pi * at / 5.0)


def test_one_who_follows_is_found_with_the_lag(database: Database) -> None:
    run = store(database, waves(wave, lambda at: wave(at - 0.7), lambda _: 0.6, until_s=30.0))
    table = synchrony(database, run, 1, 2).set_index("expression")
    happy = table.loc["happiness"]
    assert happy["best_lag_s"] == pytest.approx(0.7)
    assert happy["best_correlation"] == pytest.approx(1.0, abs=1e-6)
    assert happy["correlation"] == pytest.approx(np.cos(2 * pi * 0.7 / 5.0), abs=0.02), "of two sines, over whole waves"
    back = synchrony(database, run, "ID 2", "ID 1").set_index("expression")
    assert back.loc["happiness", "best_lag_s"] == pytest.approx(-0.7)
    assert np.isnan(synchrony(database, run, 1, 3).set_index("expression").loc["happiness", "best_correlation"])
    assert table.attrs["together_s"] == pytest.approx(30.0)
    assert (table.attrs["a"], table.attrs["b"]) == ("ID 1", "ID 2")


def test_time_together_against_chance(database: Database) -> None:
    script = [
        (0, 6, 1, "happiness", 0.9),
        (6, 10, 1, "neutral", 0.9),
        (0, 5, 2, "happiness", 0.9),
        (5, 10, 2, "neutral", 0.9),
        (10, 15, 1, "fear", 0.9),
    ]
    run = stored(database, script, until_s=20.0)
    table = synchrony(database, run, 1, 2).set_index("expression")
    row = table.loc["happiness"]
    assert row[["a_s", "b_s", "both_s", "expected_s"]].tolist() == pytest.approx([6.0, 5.0, 5.0, 3.0])
    assert table.loc["fear", "a_s"] == 0.0, "the other was not seen then"
    agreed, chance = 0.9, 0.6 * 0.5 + 0.4 * 0.5
    assert table.attrs["kappa"] == pytest.approx((agreed - chance) / (1 - chance))
    assert table.attrs["together_s"] == pytest.approx(10.0)
    assert table.attrs["coverage"] == pytest.approx({"certain_s": 25.0, "uncertain_s": 0.0, "no_face_s": 15.0})
    first = synchrony(database, run, 1, 2, from_s=0.0, to_s=4.0)
    assert first.attrs["together_s"] == pytest.approx(4.0)
    assert np.isnan(first.attrs["kappa"]), "one label all the time: nothing to agree on"


def noise(seed: int, count: int = 3000) -> list[float]:
    """Slow random ups and downs, as of a face."""
    steps = np.random.default_rng(seed).normal(size=count + 20)
    smooth = np.convolve(steps, np.ones(20) / 20, "valid")[:count]
    return (0.55 + 0.4 * np.tanh(3 * smooth)).tolist()


def test_chance_is_told_from_synchrony(database: Database) -> None:
    one, other = noise(1), noise(2)
    follower = [one[max(0, place - 8)] for place in range(len(one))]
    for second, low, high in ((other, 0.05, 1.0), (follower, 0.0, 0.01)):
        curves = (lambda at: one[round(at * 10)], lambda at, second=second: second[round(at * 10)])
        run = store(database, waves(*curves, until_s=120.0))
        row = synchrony(database, run, 1, 2).set_index("expression").loc["happiness"]
        assert low <= row["p_value"] <= high
        assert row["chance_low"] < row["chance_high"] < 1.0
        assert (row["best_correlation"] > row["chance_high"]) == (second is follower)
    assert (row["best_lag_s"], row["at_limit"]) == (pytest.approx(0.8), False)
    short = synchrony(database, run, 1, 2, max_lag_s=0.5).set_index("expression").loc["happiness"]
    assert (short["best_lag_s"], short["at_limit"]) == (0.5, True)


def test_chance_is_what_shifting_by_hand_gives() -> None:
    random = np.random.default_rng(5)
    x, y = random.random(200), random.random(200)
    x[20:30], y[50:60] = np.nan, np.nan
    p_value, low, high, count = chance_of(x, y, 3, least=10)

    def correlation(shift: int) -> float:
        other = np.roll(y, -shift)
        seen = ~np.isnan(x) & ~np.isnan(other)
        return float(np.corrcoef(x[seen], other[seen])[0, 1])

    best = [max(correlation(shift + lag) for lag in range(-3, 4)) for shift in range(200)]
    surrogates = best[7:194]
    assert count == len(surrogates)
    assert p_value == pytest.approx((1 + sum(each >= best[0] for each in surrogates)) / (1 + len(surrogates)))
    assert (low, high) == pytest.approx(tuple(np.percentile(surrogates, [2.5, 97.5])))


def test_an_expression_hardly_shown_is_not_compared(database: Database) -> None:
    script = [(0, 60, 1, "happiness", 0.9), (0, 30, 2, "happiness", 0.9), (30, 59.5, 2, "neutral", 0.9)]
    script.append((59.5, 60, 2, "fear", 0.9))
    run = stored(database, [*script], until_s=60.0)
    table = synchrony(database, run, 1, 2)
    assert "fear" in table.attrs["hardly"]
    assert table.set_index("expression").loc["fear", ["correlation", "best_correlation", "p_value"]].isna().all()
    assert any("hardly shows it" in note for note in table.attrs["notes"])
    with pytest.raises(ValueError, match="fear: not compared"):
        windowed_synchrony(database, run, 1, 2, "fear")


def test_windows_show_how_the_lag_changes(database: Database, tmp_path: Path) -> None:
    one = noise(3)
    run = store(
        database,
        waves(
            lambda at: one[round(at * 10)],
            lambda at: one[max(0, round(at * 10) - (5 if at < 30 else 12))],
            until_s=60.0,
        ),
    )
    table = windowed_synchrony(database, run, 1, 2, "happy", window_s=10.0)
    best = pd.DataFrame(table.attrs["best"]).set_index("time_s")
    assert best.loc[:25.0, "best_lag_s"].tolist() == pytest.approx([0.5] * 5)
    assert best.loc[36.0:, "best_lag_s"].tolist() == pytest.approx([1.2] * len(best.loc[36.0:]))
    text = write_lag_map(table, tmp_path / "map.html").read_text(encoding="utf-8")
    assert "ID 2 follows ID 1" in text
    with pytest.raises(ValueError, match="windows of 1 s do not fit"):
        windowed_synchrony(database, run, 1, 2, "happiness", window_s=1.0)


def test_correlation_is_numpys_where_both_are_seen() -> None:
    random = np.random.default_rng(3)
    x, y = random.random((200, 2)), random.random((200, 2))
    x[20:30], y[50:60] = np.nan, np.nan
    lags, r = lagged_correlation(x, y, 5, least=10)
    for row, lag in enumerate(lags):
        pairs = [(t, t + lag) for t in range(200) if 0 <= t + lag < 200]
        seen = [(a, b) for a, b in pairs if not np.isnan(x[a, 0]) and not np.isnan(y[b, 0])]
        for column in range(2):
            expected = np.corrcoef([x[a, column] for a, _ in seen], [y[b, column] for _, b in seen])[0, 1]
            assert r[row, column] == pytest.approx(expected)
    assert np.isnan(lagged_correlation(x[:8], y[:8], 2, least=10)[1]).all()


def test_lags_longer_than_the_run_have_no_correlation() -> None:
    random = np.random.default_rng(3)
    lags, r = lagged_correlation(random.random((8, 2)), random.random((8, 2)), 20, least=3)
    assert len(lags) == 41
    assert np.isfinite(r[np.abs(lags) <= 5]).all()
    assert np.isnan(r[np.abs(lags) > 5]).all()


def test_people_never_seen_together(database: Database) -> None:
    table = synchrony(database, 1, "ID 1", "ID 3", from_s=4.0, to_s=6.0)
    assert table.attrs["together_s"] == 0.0
    assert np.isnan(table.attrs["kappa"])
    assert table["best_lag_s"].isna().all()
    assert table["both_s"].tolist() == [0.0] * len(EXPRESSIONS)


def test_impossible_synchrony(database: Database) -> None:
    with pytest.raises(ValueError, match="the same person"):
        synchrony(database, 1, 1, "ID 1")
    with pytest.raises(ValueError, match="rate_hz must be above 0"):
        synchrony(database, 1, 1, 2, rate_hz=0.0)
    with pytest.raises(ValueError, match="nothing lies between"):
        synchrony(database, 1, 1, 2, from_s=3.0, to_s=1.0)
    with pytest.raises(RunNotFoundError, match="nobody called '9'"):
        synchrony(database, 1, 1, 9)


# Speed ------------------------------------------------------------------------------------------------------------


def test_speed_over_time(database: Database) -> None:
    frames = [each for each in played([], until_s=4.0) if not 20 <= each.frame_index < 25]  # 0.5 s missing
    run = store(database, frames)
    table = speed_over_time(database, run, window_s=1.0)
    assert table["time_s"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert table["frames"].tolist() == [10, 10, 5, 10]
    assert table["fps"].tolist() == pytest.approx([10, 10, 5, 10])
    assert table["skipped"].tolist() == [0, 0, 5, 0]
    assert table["work_ms"].tolist() == pytest.approx([24.0] * 4), "2 + 20 + 0.5 + 1.25 + 0.25"
    assert table["work_fps"].tolist() == pytest.approx([1000 / 24.0] * 4)
    assert table["detect_ms"].tolist() == pytest.approx([20.0] * 4)
    assert (table["p50_ms"] == table["max_ms"]).all()
    assert table.attrs["mean_fps"] == pytest.approx(35 / 1.5)
    assert (table.attrs["dropped"], table.attrs["decode_failures"]) == (0, 2)
    assert table.attrs["units"]["p95_ms"] == "ms"
    with pytest.raises(ValueError, match="window_s must be above 0"):
        speed_over_time(database, run, window_s=0.0)


def test_the_queue_is_shown_where_something_reads_ahead(database: Database) -> None:
    assert speed_over_time(database, 1).attrs["queue_depth"] == {}
    assert speed_over_time(database, 1)["queue_depth"].isna().all()
    depths = [0, 1, 2, 3, 4, 4, 4, 4, 4, 4]
    frames = [result(i, i / 10) for i in range(10)]
    frames = [replace(each, ms=replace(each.ms, waiting=n)) for each, n in zip(frames, depths, strict=True)]
    table = speed_over_time(database, store(database, frames), window_s=0.5)
    assert table["queue_depth"].tolist() == [2.0, 4.0]
    assert table.attrs["queue_depth"] == {"p50": 4.0, "p95": 4.0, "max": 4.0}


def test_speed_of_one_frame_and_of_none(database: Database) -> None:
    one = speed_over_time(database, store(database, [result(0, 0.0)]))
    assert one["frames"].tolist() == [1]
    assert one["fps"].isna().all(), "one frame has no rate"
    assert speed_over_time(database, store(database, [])).empty
