import time

import numpy as np
import pytest

from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig, SmoothingConfig
from fertrack.expression.fold import ExpressionFold
from fertrack.types import EXPRESSIONS, label_name

CALIBRATOR = Calibrator(CalibrationConfig(thresholds={}), ClassifierCalibration.uncalibrated("test"))  # all 0.40


def sure(name: str, logit: float = 6.0) -> np.ndarray:
    row = np.zeros(7, np.float32)
    row[EXPRESSIONS.index(name)] = logit
    return row


def rows(*names: str) -> np.ndarray:
    return np.stack([sure(name) for name in names])


def test_rows_keep_their_place() -> None:
    result = ExpressionFold(CALIBRATOR, SmoothingConfig()).update(
        0.0, np.array([3, 1, 2]), rows("fear", "anger", "neutral")
    )
    assert [EXPRESSIONS[label] for label in result.labels] == ["fear", "anger", "neutral"]


def test_unconfirmed_rows_are_uncertain_unsmoothed_and_leave_no_trace() -> None:
    fold = ExpressionFold(CALIBRATOR, SmoothingConfig(half_life_s=1.0))
    fold.update(0.0, np.array([1]), rows("fear"))
    mixed = fold.update(1.0, np.array([-1, 1, -1]), rows("anger", "neutral", "happiness"))
    assert mixed.labels.tolist()[::2] == [-1, -1]
    np.testing.assert_array_equal(mixed.smoothed[::2], mixed.probabilities[::2])
    alone = ExpressionFold(CALIBRATOR, SmoothingConfig(half_life_s=1.0))
    alone.update(0.0, np.array([1]), rows("fear"))
    expected = alone.update(1.0, np.array([1]), rows("neutral"))
    np.testing.assert_array_equal(mixed.smoothed[1], expected.smoothed[0])
    assert mixed.smoothed[1, EXPRESSIONS.index("fear")] == pytest.approx(0.5, abs=0.01)


def test_no_faces_is_an_empty_result() -> None:
    result = ExpressionFold(CALIBRATOR, SmoothingConfig()).update(
        0.0, np.empty(0, np.int64), np.empty((0, 7), np.float32)
    )
    assert (result.probabilities.shape, result.smoothed.shape, result.labels.shape) == ((0, 7), (0, 7), (0,))
    assert (result.smoothed.dtype, result.labels.dtype) == (np.float32, np.int64)


def test_under_the_threshold_is_uncertain() -> None:
    fold = ExpressionFold(CALIBRATOR, SmoothingConfig(enabled=False))
    unsure = fold.update(0.0, np.array([1]), sure("fear", 1.3)[None])  # p = 0.38
    enough = fold.update(0.1, np.array([1]), sure("fear", 1.5)[None])  # p = 0.43
    assert unsure.labels.tolist() == [-1]
    assert enough.labels.tolist() == [EXPRESSIONS.index("fear")]


def test_thresholds_apply_to_the_smoothed_probability() -> None:
    fold = ExpressionFold(CALIBRATOR, SmoothingConfig(half_life_s=1.0, hysteresis_margin=0.0))
    fold.update(0.0, np.array([1]), rows("fear"))
    fold.update(1.0, np.array([1]), rows("anger"))
    third = fold.update(1.5, np.array([1]), rows("happiness"))  # each of the three now has about a third
    assert third.probabilities.max() > 0.9
    assert third.smoothed.max() < 0.40
    assert third.labels.tolist() == [-1]


def test_the_same_input_gives_the_same_rows_again() -> None:
    rng = np.random.default_rng(0)
    frames = [(i / 25, rng.permutation(6)[: rng.integers(0, 6)].astype(np.int64) - 1) for i in range(100)]
    logits = [rng.normal(size=(len(ids), 7)).astype(np.float32) for _, ids in frames]

    def labels() -> bytes:
        fold = ExpressionFold(CALIBRATOR, SmoothingConfig())
        results = [fold.update(t, ids, z) for (t, ids), z in zip(frames, logits, strict=True)]
        return b"".join(r.smoothed.tobytes() + r.labels.tobytes() for r in results)

    assert labels() == labels()


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match=r"int64 \(2,\) beside these logits, got \(1,\)"):
        ExpressionFold(CALIBRATOR, SmoothingConfig()).update(0.0, np.array([1]), rows("fear", "anger"))


def test_a_frame_costs_microseconds() -> None:
    fold = ExpressionFold(CALIBRATOR, SmoothingConfig())
    ids, logits = np.arange(1, 6), np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    best_s = float("inf")
    for i in range(300):
        started = time.perf_counter()
        fold.update(i / 25, ids, logits)
        best_s = min(best_s, time.perf_counter() - started)
    assert best_s < 1e-3  # about 60 us; the bound only catches an accidental loop over history


def test_a_face_of_too_little_quality_is_not_readable_and_leaves_no_trace() -> None:
    fold = ExpressionFold(CALIBRATOR, SmoothingConfig(half_life_s=1.0))
    first = fold.update(0.0, np.array([1]), rows("fear"), np.array([0.1], np.float32))
    hidden = fold.update(0.5, np.array([1, 2, -1]), rows("anger", "anger", "anger"), np.array([0.0999, 0.1, 0.0], "f4"))
    later = fold.update(1.0, np.array([1]), rows("neutral"), np.array([np.nan], np.float32))
    assert label_name(first.labels[0]) == "fear", "the threshold itself is enough"
    assert [label_name(label) for label in hidden.labels] == ["not readable", "anger", "uncertain"]
    np.testing.assert_array_equal(hidden.smoothed[0], first.smoothed[0])
    seldom = ExpressionFold(CALIBRATOR, SmoothingConfig(half_life_s=1.0))
    seldom.update(0.0, np.array([1]), rows("fear"))
    np.testing.assert_array_equal(later.smoothed, seldom.update(1.0, np.array([1]), rows("neutral")).smoothed)


def test_min_quality_of_nought_reads_every_face() -> None:
    off = Calibrator(CalibrationConfig(thresholds={}, min_quality=0), ClassifierCalibration.uncalibrated("test"))
    read = ExpressionFold(off, SmoothingConfig()).update(0.0, np.array([1]), rows("fear"), np.zeros(1, np.float32))
    assert label_name(read.labels[0]) == "fear"
