"""Lines are drawn with fewer points, but never without their peaks."""

from __future__ import annotations

import numpy as np
import pytest

from fertrack.reporting.html.lines import thin_lines


def noise(n: int, columns: int = 3) -> np.ndarray:
    return np.random.default_rng(4).random((n, columns)).astype(np.float32)


def test_short_lines_are_drawn_as_they_are() -> None:
    time_s, values = np.arange(10) / 25, noise(10)
    thin = thin_lines(time_s, values, 10, 0.5)
    assert thin.slice_s == 0.0
    np.testing.assert_array_equal(thin.time_s, time_s)
    np.testing.assert_array_equal(thin.values, values)


def test_a_gap_breaks_the_lines() -> None:
    time_s = np.array([0.0, 0.1, 0.2, 2.0, 2.1])
    thin = thin_lines(time_s, noise(5), 10, 0.5)
    assert np.isnan(thin.values).all(axis=1).tolist() == [False, False, False, True, False, False]
    np.testing.assert_allclose(thin.time_s, [0.0, 0.1, 0.2, 0.2, 2.0, 2.1])


def test_a_step_of_exactly_the_limit_does_not_break() -> None:
    assert not np.isnan(thin_lines(np.array([0.0, 0.5]), noise(2), 10, 0.5).values).any()


def test_thinned_lines_keep_every_slices_lowest_and_highest_value() -> None:
    n, max_points = 18_000, 1500
    time_s, values = np.arange(n) / 30, noise(n)
    values[7_777, 1] = 5.0  # one frame out of 18,000
    values[12_345, 2] = -3.0
    thin = thin_lines(time_s, values, max_points, 0.5)
    assert len(thin.time_s) <= max_points
    assert thin.slice_s == pytest.approx(time_s[-1] / 750)
    np.testing.assert_array_equal(thin.values.max(axis=0), values.max(axis=0))
    np.testing.assert_array_equal(thin.values.min(axis=0), values.min(axis=0))
    for column, moment, peak in ((1, 7_777 / 30, 5.0), (2, 12_345 / 30, -3.0)):
        drawn_at = thin.time_s[thin.values[:, column] == np.float32(peak)]
        assert np.abs(drawn_at - moment).min() <= thin.slice_s
    for column in range(3):
        assert np.isin(thin.values[:, column], values[:, column]).all()  # nothing is averaged or made up


def test_lowest_and_highest_are_drawn_in_the_order_in_which_they_happened() -> None:
    time_s = np.arange(400) / 100
    ramp = np.linspace(0, 1, 400, dtype=np.float32)
    thin = thin_lines(time_s, np.stack([ramp, ramp[::-1]], axis=1), 100, 0.5)
    assert (np.diff(thin.values[:, 0]) >= 0).all()
    assert (np.diff(thin.values[:, 1]) <= 0).all()
    assert (np.diff(thin.time_s) >= 0).all()


def test_a_gap_within_a_slice_is_kept() -> None:
    time_s = np.concatenate([np.arange(500) / 100, 6.0 + np.arange(500) / 100])
    values = noise(1000)
    thin = thin_lines(time_s, values, 4, 0.5)  # slices of 5.5 s, the gap from 5 to 6 s lies in the first
    broken = np.flatnonzero(np.isnan(thin.values).all(axis=1))
    assert len(broken) == 1
    assert thin.time_s[broken[0]] == pytest.approx(4.99)
    assert thin.time_s[broken[0] + 1] == pytest.approx(6.0)
    np.testing.assert_array_equal(np.nanmax(thin.values, axis=0), values.max(axis=0))


def test_slices_of_a_single_sample_are_a_single_point() -> None:
    time_s = np.concatenate([np.arange(100) / 1000, [1.0, 2.0, 3.0]])
    thin = thin_lines(time_s, noise(103), 20, 0.5)
    assert (thin.time_s == 2.0).sum() == 1 + 1  # the sample, and the break after it


def test_no_samples_give_no_points() -> None:
    thin = thin_lines(np.empty(0), np.empty((0, 7), np.float32), 100, 0.5)
    assert thin.values.shape == (0, 7)
    assert thin.slice_s == 0.0


def test_many_samples_at_the_same_time_do_not_divide_by_zero() -> None:
    thin = thin_lines(np.zeros(300), noise(300), 100, 0.5)
    assert np.isfinite(thin.values).all()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"values must be \(N, C\)"):
        thin_lines(np.zeros(3), noise(4), 100, 0.5)
    with pytest.raises(ValueError, match="max_points"):
        thin_lines(np.zeros(3), noise(3), 1, 0.5)
