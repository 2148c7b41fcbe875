import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fertrack.expression.config import SmoothingConfig
from fertrack.expression.smoothing import ExpressionEMA, LabelHold

ONE = np.array([1])
NO_THRESHOLDS = np.zeros(7)


def vector(**shares: float) -> np.ndarray:
    """(1, 7) probabilities: a, b and c are classes 0, 1 and 2, the rest is spread over the others."""
    p = np.full(7, 0.0)
    p[:3] = shares.get("a", 0.0), shares.get("b", 0.0), shares.get("c", 0.0)
    p[3:] = (1.0 - p.sum()) / 4
    return p.astype(np.float32)[None]


A, B = vector(a=1.0), vector(b=1.0)


def run(config: SmoothingConfig, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    ema = ExpressionEMA(config)
    return np.concatenate([ema.update(float(t), ONE, v[None]) for t, v in zip(times, values, strict=True)])


@pytest.mark.parametrize("fps", [7.5, 15, 30, 60])
def test_after_a_step_the_old_value_halves_every_half_life_at_any_frame_rate(fps: float) -> None:
    times = np.arange(0, 4, 1 / fps)
    values = np.where((times > 2.0)[:, None], B, A)
    smoothed = run(SmoothingConfig(half_life_s=0.4), times, values)
    expected = np.where(times > 2.0, 0.5 ** ((times - 2.0) / 0.4), 1.0)
    np.testing.assert_allclose(smoothed[:, 0], expected, atol=1e-6)


def test_a_step_between_samples_differs_by_no_more_than_one_sample() -> None:
    def at(fps: float) -> np.ndarray:
        times = np.arange(0, 3, 1 / fps)
        return run(SmoothingConfig(half_life_s=0.4), times, np.where((times >= 1.01)[:, None], B, A))[
            :: int(fps / 15), 0
        ]

    bound = 1 - 0.5 ** ((1 / 15) / 0.4)
    assert np.abs(at(15) - at(30)).max() <= bound
    assert np.abs(at(15) - at(60)).max() <= bound
    assert np.abs(at(30)[-1] - at(60)[-1]) < 0.01


def test_irregular_times_give_the_same_as_regular_ones_while_the_value_stands() -> None:
    rng = np.random.default_rng(3)
    times = np.sort(np.concatenate([[0.0, 1.0], rng.uniform(0, 1, 40)]))
    values = np.where((times > 0)[:, None], B, A)
    smoothed = run(SmoothingConfig(half_life_s=0.3), times, values)
    assert smoothed[-1, 0] == pytest.approx(0.5 ** (1.0 / 0.3), abs=1e-6)


@pytest.mark.parametrize("config", [{"half_life_s": 0.0}, {"enabled": False}])
def test_no_memory_gives_the_values_back(config: dict) -> None:
    values = np.concatenate([A, B, A])
    np.testing.assert_array_equal(run(SmoothingConfig(**config), np.array([0.0, 0.1, 0.2]), values), values)


def test_first_value_is_taken_as_it_is() -> None:
    p = vector(a=0.4, b=0.3)
    np.testing.assert_array_equal(ExpressionEMA(SmoothingConfig()).update(17.0, ONE, p), p)


def test_a_long_gap_starts_afresh_and_a_short_one_does_not() -> None:
    config = SmoothingConfig(half_life_s=10.0, reset_after_s=2.0)
    assert run(config, np.array([0.0, 1.9]), np.concatenate([A, B]))[1, 0] > 0.8
    assert run(config, np.array([0.0, 2.1]), np.concatenate([A, B]))[1, 0] == 0.0


def test_time_going_back_starts_afresh() -> None:
    assert run(SmoothingConfig(half_life_s=10.0), np.array([5.0, 1.0]), np.concatenate([A, B]))[1, 0] == 0.0


def test_tracks_do_not_bleed_into_each_other() -> None:
    rng = np.random.default_rng(0)
    times = np.arange(40) / 25
    values = rng.dirichlet(np.ones(7), (40, 3)).astype(np.float32)
    config = SmoothingConfig()
    together = ExpressionEMA(config)
    apart = {track: ExpressionEMA(config) for track in (1, 2, 900_000_000_000)}
    for t, frame in zip(times.tolist(), values, strict=True):
        order = rng.permutation(3)[: rng.integers(1, 4)]  # any of them present, in any order
        ids = np.array([1, 2, 900_000_000_000])[order]
        got = together.update(t, ids, frame[order])
        for row, track in enumerate(ids.tolist()):
            np.testing.assert_array_equal(
                got[row], apart[track].update(t, np.array([track]), frame[order][row][None])[0]
            )


def test_memory_stays_small_when_tracks_come_and_go_and_the_living_ones_are_kept() -> None:
    ema = ExpressionEMA(SmoothingConfig(half_life_s=0.5, reset_after_s=1.0))
    ema.update(0.0, np.array([0]), A)
    for i in range(1, 3000):
        smoothed = ema.update(i * 0.1, np.array([0, i]), np.concatenate([B, A]))
        assert smoothed[0, 0] == pytest.approx(0.5 ** (i * 0.1 / 0.5), abs=1e-6)
    assert len(ema) < 100


@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.lists(st.floats(0.001, 1), min_size=7, max_size=7)), min_size=1, max_size=20
    ),
    st.sampled_from([{}, {"half_life_s": 0.1}, {"half_life_s": 5.0}]),
)
def test_every_output_sums_to_one(steps: list, form: dict) -> None:
    ema, now = ExpressionEMA(SmoothingConfig(**form)), 0.0
    for gap, raw in steps:
        now += gap
        p = np.array([raw], np.float64)
        smoothed = ema.update(now, ONE, (p / p.sum()).astype(np.float32))
        assert smoothed.dtype == np.float32
        assert smoothed.sum() == pytest.approx(1.0, abs=1e-5)
        assert (smoothed >= 0).all()


def label_changes(labels: list[int]) -> int:
    return sum(a != b for a, b in itertools.pairwise(labels))


def test_hysteresis_stops_flicker_between_near_equal_classes() -> None:
    def labels(margin: float) -> list[int]:
        hold = LabelHold(SmoothingConfig(hysteresis_margin=margin))
        noise = np.random.default_rng(1).uniform(-0.015, 0.015, 200)
        return [
            int(hold.update(i / 25, ONE, vector(a=0.4 + n, b=0.4 - n), NO_THRESHOLDS)[0]) for i, n in enumerate(noise)
        ]

    assert label_changes(labels(0.0)) > 50
    assert label_changes(labels(0.05)) == 0


def test_a_clear_lead_changes_the_label_at_once() -> None:
    hold = LabelHold(SmoothingConfig(hysteresis_margin=0.05))
    assert hold.update(0.0, ONE, vector(a=0.5, b=0.4), NO_THRESHOLDS).tolist() == [0]
    assert hold.update(0.1, ONE, vector(a=0.44, b=0.46), NO_THRESHOLDS).tolist() == [0]
    assert hold.update(0.2, ONE, vector(a=0.40, b=0.50), NO_THRESHOLDS).tolist() == [1]


def test_a_held_label_below_its_threshold_is_never_shown() -> None:
    thresholds = np.array([0.45, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])
    hold = LabelHold(SmoothingConfig(hysteresis_margin=0.2))
    assert hold.update(0.0, ONE, vector(a=0.5, b=0.4), thresholds).tolist() == [0]
    assert hold.update(0.1, ONE, vector(a=0.44, b=0.46), thresholds).tolist() == [1]  # b has reached its own
    assert hold.update(0.2, ONE, vector(a=0.25, b=0.25, c=0.26), thresholds).tolist() == [-1]


def test_held_labels_belong_to_their_track_and_end_with_it() -> None:
    hold = LabelHold(SmoothingConfig(hysteresis_margin=0.2, reset_after_s=1.0))
    both = np.concatenate([vector(a=0.5, b=0.4), vector(a=0.4, b=0.5)])
    assert hold.update(0.0, np.array([1, 2]), both, NO_THRESHOLDS).tolist() == [0, 1]
    even = np.concatenate([vector(a=0.41, b=0.4)] * 2)
    assert hold.update(0.1, np.array([2, 1]), even, NO_THRESHOLDS).tolist() == [1, 0]
    assert hold.update(1.5, np.array([2]), even[:1], NO_THRESHOLDS).tolist() == [0]


def test_switched_off_labels_stand_alone() -> None:
    hold = LabelHold(SmoothingConfig(enabled=False, hysteresis_margin=0.5))
    assert hold.update(0.0, ONE, vector(a=0.5, b=0.4), NO_THRESHOLDS).tolist() == [0]
    assert hold.update(0.1, ONE, vector(a=0.4, b=0.41), NO_THRESHOLDS).tolist() == [1]


@pytest.mark.parametrize("form", [{}, {"half_life_s": 0.7}, {"half_life_s": 0.0}])
def test_written_out_and_read_back_is_the_same(form: dict) -> None:
    config = SmoothingConfig(**form)
    assert SmoothingConfig(**config.model_dump()) == config


@pytest.mark.parametrize("bad", [{"half_life_s": -1}, {"half_life_s": 61.0}, {"halflife": 1}])
def test_out_of_range_is_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        SmoothingConfig(**bad)
