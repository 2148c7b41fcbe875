import json
import math
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fertrack.expression.calibration import CalibrationRecord, Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig, SmoothingConfig
from fertrack.expression.fold import ExpressionFold
from fertrack.types import EXPRESSIONS
from tests.support.paths import REPOSITORY

PRESET = REPOSITORY / "configs" / "calibration" / "rafdb.toml"

FITTED = ClassifierCalibration(
    classifier="fitted 1",
    calibrated=True,
    training_prior=(0.1, 0.05, 0.05, 0.3, 0.2, 0.1, 0.2),
    prior_strength=0.5,
    temperature=2.0,
    biases=(0.1, 0.0, -0.2, 0.0, 0.0, 0.0, 0.3),
    thresholds=(0.3, 0.31, 0.32, 0.33, 0.34, 0.35, 0.36),
)

LOGITS = np.array([[1.2, -0.3, 0.4, 2.5, -1.1, 0.9, 1.7], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]], np.float32)


def softmax(row):
    exponentials = [math.exp(value) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def test_rafdb_preset_gives_the_earlier_pipelines_numbers() -> None:
    # Everything below is written out from the earlier pipeline's published constants, in its own class order.
    alphabetical = ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]
    prior = [0.0575, 0.0584, 0.0229, 0.3889, 0.2057, 0.1615, 0.1051]
    thresholds = [0.32, 0.35, 0.35, 0.58, 0.45, 0.38, 0.28]
    extra = [math.log(1.08), 0.0, -math.log(1.05), 0.0, 0.0, 0.0, math.log(1.08)]
    frames = [
        [0.5, -1.0, 0.2, 3.0, 1.5, 0.0, 0.3],
        [0.6, -0.8, 1.9, 0.1, 1.4, 0.2, 0.9],
        [1.1, -0.5, 2.2, -0.4, 0.3, 0.1, 2.0],
        [2.9, -0.5, 0.2, -0.4, 0.3, 0.1, 1.0],
        [1.6, 1.0, -0.3, 2.6, 2.0, 1.8, 1.3],
    ]
    expected_p, expected_ema, expected_labels = [], [], []
    for z in frames:
        y = [z[k] / 1.25 - math.log(prior[k] + 1e-8) + math.log(1 / 7 + 1e-8) + extra[k] for k in range(7)]
        p = softmax(y)
        ema = p if not expected_ema else [0.5 * old + 0.5 * new for old, new in zip(expected_ema[-1], p, strict=True)]
        top = max(range(7), key=lambda k: ema[k])
        expected_p.append(p)
        expected_ema.append(ema)
        expected_labels.append(alphabetical[top] if ema[top] >= thresholds[top] else "uncertain")
    assert "uncertain" in expected_labels
    assert len(set(expected_labels)) >= 3

    preset = tomllib.loads(PRESET.read_text())
    calibrator = Calibrator(CalibrationConfig(**preset["calibration"]), FITTED)
    fold = ExpressionFold(calibrator, SmoothingConfig(**preset["smoothing"]))
    columns = [alphabetical.index(name) for name in EXPRESSIONS]
    for i, z in enumerate(frames):
        # The earlier pipeline counted frames; at 30 a second, a half-life of one frame is the same.
        result = fold.update(i / 30, np.array([1]), np.array([z], np.float32)[:, columns])
        np.testing.assert_allclose(result.probabilities[0], np.array(expected_p[i])[columns], rtol=0, atol=1e-7)
        np.testing.assert_allclose(result.smoothed[0], np.array(expected_ema[i])[columns], rtol=0, atol=1e-7)
        label = result.labels[0]
        assert (EXPRESSIONS[label] if label >= 0 else "uncertain") == expected_labels[i]


def test_rafdb_numbers_by_hand() -> None:
    # All logits 0: only prior and bias speak. The odds, worked out by hand:
    # happiness 1/0.3889 = 2.5714, fear 1/(0.0229*1.05) = 41.588, anger 1.08/0.0575 = 18.783,
    # surprise 1.08/0.1051 = 10.276, disgust 17.123, sadness 6.192, neutral 4.8614; sum 101.395.
    config = CalibrationConfig(**tomllib.loads(PRESET.read_text())["calibration"])
    p = Calibrator(config, FITTED).probabilities(np.zeros((1, 7), np.float32))[0]
    by_hand = {"surprise": 0.10135, "fear": 0.41016, "disgust": 0.16888, "happiness": 0.02536, "sadness": 0.06107}
    by_hand |= {"anger": 0.18524, "neutral": 0.04795}
    for name, value in by_hand.items():
        assert p[EXPRESSIONS.index(name)] == pytest.approx(value, abs=2e-5)


def test_preset_thresholds_and_fallback() -> None:
    config = CalibrationConfig(**tomllib.loads(PRESET.read_text())["calibration"])
    assert Calibrator(config, FITTED).thresholds.tolist() == [0.28, 0.35, 0.35, 0.58, 0.38, 0.32, 0.45]
    assert config.fallback_threshold == 0.40
    partly = CalibrationConfig(thresholds={"happiness": 0.58})
    assert Calibrator(partly, FITTED).thresholds.tolist() == [0.4, 0.4, 0.4, 0.58, 0.4, 0.4, 0.4]


def test_bundle_values_are_used_unless_overridden() -> None:
    z, prior = LOGITS[0].tolist(), FITTED.training_prior
    y = [z[k] / 2.0 + 0.5 * (math.log(1 / 7 + 1e-8) - math.log(prior[k] + 1e-8)) + FITTED.biases[k] for k in range(7)]
    calibrator = Calibrator(CalibrationConfig(), FITTED)
    np.testing.assert_allclose(calibrator.probabilities(LOGITS)[0], softmax(y), atol=1e-7)
    assert calibrator.thresholds.tolist() == list(FITTED.thresholds)

    target = dict(zip(EXPRESSIONS, (0.2, 0.1, 0.1, 0.2, 0.1, 0.1, 0.2), strict=True))
    config = CalibrationConfig(temperature=1.5, prior_strength=1.0, bias={"fear": 0.4}, target_prior=target)
    y = [
        z[k] / 1.5 + math.log(target[name] + 1e-8) - math.log(prior[k] + 1e-8) + (0.4 if name == "fear" else 0.0)
        for k, name in enumerate(EXPRESSIONS)
    ]
    np.testing.assert_allclose(Calibrator(config, FITTED).probabilities(LOGITS)[0], softmax(y), atol=1e-7)


@pytest.mark.parametrize("step", ["use_temperature", "use_prior", "use_bias"])
def test_each_step_can_be_switched_off(step: str) -> None:
    neutral = {"use_temperature": {"temperature": 1.0}, "use_prior": {"prior_strength": 0.0}, "use_bias": {"bias": {}}}
    off = Calibrator(CalibrationConfig(**{step: False}), FITTED).probabilities(LOGITS)
    by_value = Calibrator(CalibrationConfig(**neutral[step]), FITTED).probabilities(LOGITS)
    on = Calibrator(CalibrationConfig(), FITTED).probabilities(LOGITS)
    np.testing.assert_array_equal(off, by_value)
    assert not np.allclose(off, on)


def test_switching_the_bias_off_also_drops_the_profile() -> None:
    config = CalibrationConfig(use_bias=False, bias={"anger": -1.6}, bias_profile={"fear": 1.6})
    plain = Calibrator(CalibrationConfig(use_bias=False), FITTED).probabilities(LOGITS)
    np.testing.assert_array_equal(Calibrator(config, FITTED).probabilities(LOGITS), plain)


def test_thresholds_switched_off_are_zero_and_read_only() -> None:
    thresholds = Calibrator(CalibrationConfig(use_thresholds=False), FITTED).thresholds
    assert thresholds.tolist() == [0.0] * 7
    with pytest.raises(ValueError, match="read-only"):
        thresholds[0] = 1.0


def test_a_bias_multiplies_the_odds_by_its_exponential() -> None:
    none = Calibrator(CalibrationConfig(bias={}), FITTED).probabilities(LOGITS).astype(float)
    config = CalibrationConfig(bias={"fear": math.log(3.0)}, bias_profile={"anger": -math.log(2.0)})
    odds = Calibrator(config, FITTED).probabilities(LOGITS).astype(float) / none
    fear, anger, rest = EXPRESSIONS.index("fear"), EXPRESSIONS.index("anger"), EXPRESSIONS.index("neutral")
    np.testing.assert_allclose(odds[:, fear] / odds[:, rest], 3.0, rtol=1e-5)
    np.testing.assert_allclose(odds[:, anger] / odds[:, rest], 0.5, rtol=1e-5)


@pytest.mark.parametrize(
    "missing", ["classifier", "temperature", "prior_strength", "training_prior", "bias", "thresholds"]
)
def test_values_count_as_fitted_only_if_they_are_whole_and_for_a_named_classifier(missing: str) -> None:
    nobodys = ClassifierCalibration.uncalibrated("mine 1")
    whole = {
        "classifier": "mine 1",
        "temperature": 1.2,
        "prior_strength": 0.5,
        "training_prior": dict.fromkeys(EXPRESSIONS, 1 / 7),
        "bias": {},
        "thresholds": {},
    }
    assert Calibrator(CalibrationConfig(**whole), nobodys).record.calibrated
    assert not Calibrator(CalibrationConfig(**{**whole, missing: None}), nobodys).record.calibrated


@given(st.lists(st.floats(-80, 80, width=32), min_size=7, max_size=7), st.floats(0, 1), st.floats(0.05, 20))
def test_probabilities_sum_to_one_and_never_overflow(row: list[float], strength: float, temperature: float) -> None:
    config = CalibrationConfig(prior_strength=strength, temperature=temperature)
    p = Calibrator(config, FITTED).probabilities(np.array([row], np.float32))
    assert p.dtype == np.float32
    assert (p >= 0).all()
    assert p.sum() == pytest.approx(1.0, abs=1e-6)


def test_rows_do_not_depend_on_each_other_and_input_is_left_alone() -> None:
    calibrator = Calibrator(CalibrationConfig(), FITTED)
    logits = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    logits.flags.writeable = False
    together = calibrator.probabilities(logits)
    alone = np.concatenate([calibrator.probabilities(logits[i : i + 1]) for i in range(50)])
    np.testing.assert_array_equal(together, alone)
    assert calibrator.probabilities(logits[:0]).shape == (0, 7)


def test_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"float32 \(N, 7\), got float32 \(1, 8\)"):
        Calibrator(CalibrationConfig(), FITTED).probabilities(np.zeros((1, 8), np.float32))


def test_a_share_of_zero_stays_finite_even_without_eps() -> None:
    target = dict(zip(EXPRESSIONS, (0.0, 0.2, 0.2, 0.2, 0.2, 0.1, 0.1), strict=True))
    config = CalibrationConfig(target_prior=target, prior_eps=0.0, prior_strength=1.0)
    p = Calibrator(config, FITTED).probabilities(LOGITS)
    assert np.isfinite(p).all()
    assert p[:, 0].max() < 1e-12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"training_prior": {"fear": 1.0}}, "missing: surprise, disgust"),
        ({"target_prior": dict.fromkeys(EXPRESSIONS, 0.2)}, "sums to 1.4"),
        ({"bias": {"happy": 1.1}}, "Input should be 'surprise'"),
        ({"bias": {"fear": 21.0}}, "less than or equal to 20"),
        ({"temperature": 0.0}, "greater than or equal to 0.05"),
        ({"temprature": 1.0}, "Extra inputs"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CalibrationConfig(**options)


def test_description_is_plain_and_rebuilds_the_classifiers_own_calibration() -> None:
    calibrator = Calibrator(CalibrationConfig(temperature=1.5, bias={"fear": 0.2}), FITTED)
    record = json.loads(json.dumps(calibrator.record.to_json()))
    assert record["temperature"] == 1.5
    assert record["bias"]["fear"] == 0.2
    assert record["calibrated"] is True
    assert CalibrationRecord.from_json(record) == calibrator.record
    assert CalibrationRecord.from_json(record).classifier == FITTED
    with pytest.raises(ValueError, match="not the record of a calibration"):
        CalibrationRecord.from_json({"temperature": 1.0})


def test_uncalibrated_is_neutral_and_says_so() -> None:
    calibrator = Calibrator(CalibrationConfig(), ClassifierCalibration.uncalibrated("x 1"))
    np.testing.assert_allclose(calibrator.probabilities(LOGITS)[0], softmax(LOGITS[0].tolist()), atol=1e-7)
    assert calibrator.record.calibrated is False


@pytest.mark.parametrize("broken", [{"biases": (0.0,) * 6}, {"temperature": 0.0}, {"thresholds": (math.nan,) * 7}])
def test_impossible_classifier_calibrations_are_refused(broken: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        ClassifierCalibration(classifier="x", calibrated=True, **broken)
