"""The box filter against filterpy's, and where SORT departs from the textbook."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from filterpy.kalman import KalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st

from fertrack.tracking.kalman import BoxKalman, BoxNoise

Array = npt.NDArray[Any]


class Reference:
    """One track by filterpy, with SORT's matrices."""

    def __init__(self, measured: Array, noise: BoxNoise) -> None:
        self.filter = KalmanFilter(dim_x=7, dim_z=4)
        self.filter.F = np.eye(7)
        self.filter.F[[0, 1, 2], [4, 5, 6]] = 1.0
        self.filter.H = np.eye(4, 7)
        self.filter.P = np.diag(noise.initial)
        self.filter.Q = np.diag(noise.process)
        self.filter.R = np.diag(noise.measurement)
        self.filter.x[:4, 0] = measured

    def predict(self) -> None:
        if self.filter.x[2, 0] + self.filter.x[6, 0] <= 0:
            self.filter.x[6, 0] = 0.0
        self.filter.predict()

    def update(self, measured: Array) -> None:
        self.filter.update(measured[:, None])


def assert_equal(filters: BoxKalman, references: list[Reference]) -> None:
    np.testing.assert_allclose(
        filters.means, np.array([r.filter.x[:, 0] for r in references]).reshape(-1, 7), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        filters.covariances, np.array([r.filter.P for r in references]).reshape(-1, 7, 7), rtol=1e-9, atol=1e-9
    )


def measure(rng: np.random.Generator, count: int) -> Array:
    """Boxes anywhere."""
    low, high = (0, 0, 5, 0.3), (1920, 1080, 2e4, 3)
    return rng.uniform(low, high, (count, 4))


def measure_near(rng: np.random.Generator, means: Array) -> Array:
    """Boxes that a tracker might give to these tracks: up to some 50 px off, of quite another size."""
    measured = means[:, :4] + rng.normal(0, (20, 20, 500, 0.2), (len(means), 4))
    measured[:, 2:] = np.abs(measured[:, 2:]) + 0.01
    return measured


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "noise",
    [BoxNoise(), BoxNoise((1, 2, 3, 4, 5, 6, 7), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (2, 3, 4, 5))],
    ids=["sort", "other"],
)
def test_equals_filterpy_over_random_lives(seed: int, noise: BoxNoise) -> None:
    """Births, deaths, misses, areas driven towards 0, and gaps of several frames."""
    rng = np.random.default_rng(seed)
    filters, references = BoxKalman(noise), list[Reference]()
    for _ in range(40):
        steps = int(rng.choice([1, 1, 1, 2, 7]))
        filters.predict(steps)
        for reference in references:
            for _ in range(steps):
                reference.predict()
        assert_equal(filters, references)
        rows = rng.permutation(len(references))[: rng.integers(0, len(references) + 1)]
        measured = measure_near(rng, filters.means[rows])
        filters.update(rows, measured)
        for row, one in zip(rows, measured, strict=True):
            references[row].update(one)
        assert_equal(filters, references)
        born = measure(rng, int(rng.integers(0, 3)))
        filters.add(born)
        references += [Reference(one, noise) for one in born]
        stay = rng.random(len(references)) > 0.05
        filters.keep(stay)
        references = [r for r, s in zip(references, stay, strict=True) if s]
    assert len(references) > 3, "the test must have followed some tracks"


@given(
    st.lists(st.tuples(st.floats(0, 1e5), st.floats(-1e5, 1e5)), min_size=1, max_size=5),
    st.integers(1, 60),
)
def test_many_steps_equal_that_many_single_steps(area_growth: list[tuple[float, float]], steps: int) -> None:
    # Areas and speeds on a grid of 1/1024, where adding and multiplying are exact: both must stop at the same frame.
    values = np.round(np.array(area_growth) * 1024) / 1024
    at_once, one_by_one = BoxKalman(), BoxKalman()
    for filters in (at_once, one_by_one):
        filters.add(np.array([(0.0, 0.0, area, 1.0) for area, _ in values]))
        filters._state[1, :, 2] = values[:, 1]
    at_once.predict(steps)
    for _ in range(steps):
        one_by_one.predict()
        assert (one_by_one.means[:, 2] >= 0).all()
    np.testing.assert_allclose(at_once.means, one_by_one.means, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(at_once.covariances, one_by_one.covariances, rtol=1e-9)


@settings(max_examples=50)
@given(
    st.lists(
        st.one_of(
            st.integers(1, 10_000),
            st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(1e-6, 1e9), st.floats(1e-3, 1e3)),
        ),
        max_size=25,
    )
)
def test_area_and_ratio_never_negative_and_covariance_stays_one(life: list[int | tuple[float, ...]]) -> None:
    filters = BoxKalman()
    filters.add(np.array([[5.0, 5.0, 100.0, 1.0]]))
    for event in life:
        if isinstance(event, int):
            filters.predict(event)
        else:
            filters.update(np.array([0]), np.array([event]))
        mean = filters.means[0]
        assert mean[2] >= 0
        assert mean[3] >= 0
        assert np.isfinite(filters.xyxy).all()
        scale = np.sqrt(np.diag(filters.covariances[0]))
        assert (scale > 0).all()
        assert np.linalg.eigvalsh(filters.covariances[0] / np.outer(scale, scale)).min() > -1e-9


def test_a_steady_motion_is_learnt() -> None:
    filters = BoxKalman()
    filters.add(np.array([[100.0, 50.0, 900.0, 1.0]]))
    for step in range(1, 60):
        filters.predict()
        filters.update(np.array([0]), np.array([[100.0 + 3 * step, 50.0 - step, 900.0 + 10 * step, 1.0]]))
    np.testing.assert_allclose(filters.means[0, 4:], [3, -1, 10], atol=0.05)
    filters.predict(10)
    np.testing.assert_allclose(filters.means[0, :3], [100 + 3 * 69, 50 - 69, 900 + 690], atol=1)


def test_rows_left_out_of_an_update_are_untouched() -> None:
    filters = BoxKalman()
    filters.add(np.array([[10.0, 10, 100, 1], [50, 50, 200, 1], [90, 90, 300, 1]]))
    filters.predict()
    before = filters.means, filters.covariances
    filters.update(np.array([1]), np.array([[55.0, 55, 210, 1]]))
    for row in (0, 2):
        np.testing.assert_array_equal(filters.means[row], before[0][row])
        np.testing.assert_array_equal(filters.covariances[row], before[1][row])
    assert filters.means[1, 0] > 50


def test_no_tracks() -> None:
    filters = BoxKalman()
    filters.predict(3)
    filters.update(np.empty(0, np.int64), np.empty((0, 4)))
    filters.add(np.empty((0, 4)))
    filters.keep(np.empty(0, bool))
    assert len(filters) == 0
    assert (filters.means.shape, filters.covariances.shape, filters.xyxy.shape) == ((0, 7), (0, 7, 7), (0, 4))


def test_results_are_copies() -> None:
    filters = BoxKalman()
    filters.add(np.array([[10.0, 10, 100, 1]]))
    for result in (filters.means, filters.covariances, filters.xyxy):
        result[:] = -1
    assert filters.means[0, 0] == 10


@pytest.mark.parametrize("steps", [0, -1])
def test_time_does_not_run_backwards(steps: int) -> None:
    with pytest.raises(ValueError, match="steps must be at least 1"):
        BoxKalman().predict(steps)


def test_fast_enough() -> None:
    rng = np.random.default_rng(0)
    filters = BoxKalman()
    measured = measure(rng, 100)
    filters.add(measured)
    rows = np.arange(100)
    times = []
    for _ in range(100):
        start = time.perf_counter()
        filters.predict()
        filters.update(rows, measured)
        times.append(time.perf_counter() - start)
    assert min(times) < 1e-3, "about 0.06 ms is usual for 100 tracks"


class TestRetrace:
    def test_equals_a_filter_that_saw_the_straight_line(self) -> None:
        """Two filters miss 4 frames, a third misses none; the line is straight in centre, width and height."""
        start, end = np.array([[100.0, 50, 400, 1.0]]), np.array([[140.0, 30, 900, 1.0]])
        lost, seen = BoxKalman(), BoxKalman()
        for filters in (lost, seen):
            filters.add(start)
            for _ in range(3):
                filters.predict()
                filters.update(np.array([0]), start)
        for frame in range(1, 6):
            lost.predict()
            seen.predict()
            side = 20 + 10 * frame / 5
            if frame < 5:
                line = np.array([[100 + 8 * frame, 50 - 4 * frame, side * side, 1.0]])
                seen.update(np.array([0]), line)
        assert abs(lost.means[0, 0] - seen.means[0, 0]) > 10
        lost.retrace(np.array([0]), end)
        np.testing.assert_allclose(lost.means, seen.means, rtol=1e-12)
        np.testing.assert_allclose(lost.covariances, seen.covariances, rtol=1e-12)

    def test_each_goes_back_by_its_own_gap_and_those_without_one_stay(self) -> None:
        rng = np.random.default_rng(0)
        filters, alone = BoxKalman(), [BoxKalman() for _ in range(3)]
        first, last = measure(rng, 3), measure(rng, 3)
        filters.add(first)
        for one, box in zip(alone, first, strict=True):
            one.add(box[None])
        for frame in range(6):
            measured = [row for row, gap in enumerate((1, 3, 5)) if frame < 6 - gap]
            filters.predict()
            filters.update(np.array(measured, dtype=int), first[measured])
            for row, one in enumerate(alone):
                one.predict()
                if row in measured:
                    one.update(np.array([0]), first[[row]])
        before = filters.means[0].copy()
        filters.retrace(np.arange(3), last)
        for row, one in enumerate(alone):
            one.retrace(np.array([0]), last[[row]])
        np.testing.assert_allclose(filters.means, np.concatenate([one.means for one in alone]), rtol=1e-12)
        np.testing.assert_array_equal(filters.means[0], before)
        assert np.abs(filters.means[1:, :2] - first[1:, :2]).min() > 1

    def test_over_too_long_a_gap_nothing_is_believed(self) -> None:
        filters = BoxKalman()
        filters.add(np.array([[100.0, 50, 400, 1.0]]))
        filters.predict(1000)
        before = filters.means
        filters.retrace(np.array([0]), np.array([[500.0, 50, 400, 1.0]]))
        np.testing.assert_array_equal(filters.means, before)


def test_velocity_noise_multiplies_the_velocities_only() -> None:
    noise = BoxNoise().with_velocity_noise(6.0)
    assert noise.process == pytest.approx((1, 1, 1, 1, 0.06, 0.06, 6e-4))
    assert (noise.initial, noise.measurement) == (BoxNoise().initial, BoxNoise().measurement)


def test_a_distrusted_measurement_moves_by_half_and_teaches_no_speed() -> None:
    start, seen = np.array([[100.0, 50, 900, 1], [300, 50, 900, 1]]), np.array([[108.0, 60, 600, 0.8]] * 2)
    told, doubting = BoxKalman(), BoxKalman()
    for filters in (told, doubting):
        filters.add(start)
        filters.predict()
        filters.update(np.arange(2), start)
        filters.predict()
    means, covariances = doubting.means, doubting.covariances
    told.update(np.arange(2), seen)
    doubting.update(np.arange(2), seen, np.array([True, False]))
    np.testing.assert_allclose(doubting.means[0, :4], (means[0, :4] + told.means[0, :4]) / 2, rtol=1e-12)
    np.testing.assert_array_equal(doubting.means[0, 4:], means[0, 4:])
    np.testing.assert_array_equal(doubting.covariances[0], covariances[0])
    np.testing.assert_array_equal(doubting.means[1], told.means[1])
    np.testing.assert_array_equal(doubting.covariances[1], told.covariances[1])
