import math
from pathlib import Path

import numpy as np
import pytest

from fertrack.classifiers.onnx import OnnxClassifier
from fertrack.detectors import build_detector
from fertrack.detectors.config import DetectionConfig
from fertrack.errors import ConfigError
from fertrack.evaluation.datasets.ferplus import find_landmarks, load_ferplus, twins_among
from fertrack.evaluation.datasets.open import LabelledSet, read_labelled
from fertrack.evaluation.expression.classify import classify_set, detection_for
from fertrack.evaluation.expression.measures import (
    accuracy,
    class_weights,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    precision_thresholds,
    stratified_halves,
)
from fertrack.expression.calibration import Calibrator, ClassifierCalibration, assumed_shares
from fertrack.expression.config import CalibrationConfig
from fertrack.models.bundle import load_bundle
from fertrack.types import EXPRESSIONS, Detections

EQUAL = np.full(7, 1 / 7)


def certain(*winners: int, confidence: float = 1.0) -> np.ndarray:
    p = np.full((len(winners), 7), (1 - confidence) / 6, np.float32)
    p[np.arange(len(winners)), winners] = confidence
    return p


def calibrated_world(count: int, shares: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and logits whose softmax is the true posterior at these shares."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(7, count, p=shares)
    evidence = rng.normal(size=(count, 7)) + 2.0 * np.eye(7)[labels]
    return labels.astype(np.int64), (2.0 * evidence + np.log(shares)).astype(np.float32)


def probabilities(logits: np.ndarray, **settings: object) -> np.ndarray:
    neutral = ClassifierCalibration.uncalibrated("x")
    return Calibrator(CalibrationConfig(**settings), neutral).probabilities(logits.astype(np.float32))


def test_equal_shares_turn_accuracy_into_mean_class_recall() -> None:
    labels = np.array([0, 0, 0, 1], np.int64)
    p = certain(0, 0, 2, 2)  # recalls 2/3 and 0
    assert accuracy(p, labels, class_weights(labels)) == pytest.approx(0.5)
    assert accuracy(p, labels, class_weights(labels, EQUAL)) == pytest.approx(1 / 3)
    weights = class_weights(labels, [0.2, 0.8, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(weights, [0.2 / 3] * 3 + [0.8])


def test_calibration_error_by_hand() -> None:
    # Confidence 0.9: one of two right, gap 0.4. Confidence 0.6: both right, gap 0.4 the other way; other bins empty.
    p = np.concatenate([certain(0, 0, confidence=0.9), certain(1, 1, confidence=0.6)])
    labels = np.array([0, 1, 1, 1], np.int64)
    assert expected_calibration_error(p, labels, class_weights(labels)) == pytest.approx(0.4, abs=1e-6)
    assert expected_calibration_error(certain(0, 1), np.array([0, 1]), np.array([0.5, 0.5])) == pytest.approx(0.0)


def test_a_calibrated_classifier_has_little_error_and_an_overconfident_one_much() -> None:
    labels, logits = calibrated_world(20_000, EQUAL)
    weights = class_weights(labels)
    assert expected_calibration_error(probabilities(logits), labels, weights) < 0.015
    assert expected_calibration_error(probabilities(3 * logits), labels, weights) > 0.05


def test_log_likelihood_by_hand_and_never_infinite() -> None:
    labels = np.array([0, 1], np.int64)
    p = certain(0, 1, confidence=0.5)
    assert negative_log_likelihood(p, labels, class_weights(labels)) == pytest.approx(math.log(2), abs=1e-6)
    assert math.isfinite(negative_log_likelihood(certain(1, 0), labels, class_weights(labels)))


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(true_temperature: float) -> None:
    labels, logits = calibrated_world(20_000, EQUAL)
    spoilt = logits * true_temperature
    found = fit_temperature(lambda t: probabilities(spoilt, temperature=t), labels, class_weights(labels))
    assert found == pytest.approx(true_temperature, rel=0.05)


def test_thresholds_reach_their_target_and_respect_floor_and_ceiling() -> None:
    labels, logits = calibrated_world(20_000, EQUAL)
    p, weights = probabilities(logits), class_weights(labels)
    thresholds = np.array(precision_thresholds(p, labels, weights, target=0.95, floor=0.3, ceiling=0.99))
    given = p.max(axis=1) >= thresholds[p.argmax(axis=1)]
    right = p.argmax(axis=1) == labels
    for k in range(7):
        mine = given & (p.argmax(axis=1) == k)
        assert right[mine].mean() >= 0.95
        just_below = (p.argmax(axis=1) == k) & (p.max(axis=1) >= thresholds[k] - 0.02)
        assert thresholds[k] == 0.3 or right[just_below].mean() < 0.955
    assert precision_thresholds(p, labels, weights, target=0.0, floor=0.4) == (0.4,) * 7
    for count in range(5, 200, 5):  # 80 % right, with weights whose sums are not exact: as wanted, not below it
        sure = np.tile(np.array([[0.9, 0.1, 0, 0, 0, 0, 0]], np.float32), (count, 1))
        said = np.array([0] * (count * 4 // 5) + [1] * (count // 5))
        even = np.full(count, 1 / count)
        assert precision_thresholds(sure, said, even, target=0.8, floor=0.4)[0] == 0.4, count
    wrong = (labels + 1) % 7
    assert precision_thresholds(p, wrong, weights, target=0.99, floor=0.4, ceiling=0.8) == (0.8,) * 7


def test_halves_hold_half_of_every_class() -> None:
    labels = np.repeat(np.arange(7), [1, 2, 3, 10, 11, 40, 101]).astype(np.int64)
    half = stratified_halves(labels)
    assert np.bincount(labels[half], minlength=7).tolist() == [0, 1, 1, 5, 5, 20, 50]
    np.testing.assert_array_equal(half, stratified_halves(labels))


def test_assumed_shares_run_from_training_to_equal() -> None:
    prior = (0.1, 0.05, 0.05, 0.3, 0.2, 0.1, 0.2)
    np.testing.assert_allclose(assumed_shares(prior, 0.0), prior)
    np.testing.assert_allclose(assumed_shares(prior, 1.0), EQUAL)


class FixedDetector:
    """Finds a face with the same landmarks in every picture but the all-black ones."""

    fingerprint = "fixed"
    seen: list[tuple[int, ...]]

    def __init__(self) -> None:
        self.seen = []

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        self.seen += [image.shape for image in images]
        points = np.array([[80, 90], [144, 90], [112, 120], [90, 150], [134, 150]], np.float32)[None]
        box = np.array([[60, 60, 164, 180]], np.float32)
        face = Detections(box, np.array([0.9], np.float32), points)
        return [face if image.any() else Detections.empty() for image in images]

    def smallest_face_px(self, width: int, height: int) -> float:
        return 1.0


def voted(tmp_path: Path) -> Path:
    names = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF"]
    votes = [
        [6, 2, 0, 0, 0, 0, 0, 2, 0, 0],  # neutral
        [1, 1, 0, 0, 1, 0, 0, 7, 0, 0],  # contempt: dropped
        [5, 5, 0, 0, 0, 0, 0, 0, 0, 0],  # a tie: the first in the file's order
        [0, 0, 0, 0, 0, 2, 1, 1, 3, 0],  # unknown: dropped
        [0, 0, 0, 0, 0, 2, 1, 1, 1, 1],  # three votes for the seven: dropped
        [0, 0, 0, 0, 0, 1, 8, 1, 0, 0],  # fear
        [-1] * 10,  # not voted on: dropped
        [0, 0, 9, 0, 0, 0, 0, 0, 0, 0],  # surprise, but of the other split
    ]
    rng = np.random.default_rng(0)
    path = tmp_path / "voted.npz"
    np.savez(
        path,
        images=rng.integers(0, 255, (8, 48, 48), np.uint8),
        split=np.array([1] * 7 + [0], np.int8),
        split_names=np.array(["Training", "PublicTest", "PrivateTest"]),
        ferplus_votes=np.array(votes, np.int8),
        ferplus_vote_names=np.array(names),
    )
    return path


def test_votes_are_read_by_the_rules(tmp_path: Path) -> None:
    pictures = load_ferplus(voted(tmp_path))
    assert [EXPRESSIONS[label] for label in pictures.labels] == ["neutral", "neutral", "fear"]
    assert pictures.tied.tolist() == [False, True, False]
    np.testing.assert_allclose(pictures.votes[0], [0, 0, 0, 0.25, 0, 0, 0.75])
    np.testing.assert_allclose(pictures.votes.sum(axis=1), 1.0)
    assert [EXPRESSIONS[label] for label in load_ferplus(voted(tmp_path), "Training").labels] == ["surprise"]


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    for name in ("missing.npz", "text.npz", "other.npz"):
        with pytest.raises(ConfigError, match="cannot be read as FER2013 images"):
            load_ferplus(tmp_path / name)


def test_pictures_without_a_face_get_the_average_landmarks() -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 48, 48), np.uint8)
    images[1] = 0
    detector = FixedDetector()
    landmarks, found = find_landmarks(images, detector)
    assert found.tolist() == [True, False, True]
    assert detector.seen == [(224, 224, 3)] * 3
    # The detector's px 80 lies at (80 - 32 + 1/2) * 48 / 160 - 1/2 of the picture.
    np.testing.assert_allclose(landmarks[0, 0], [14.05, 17.05], atol=1e-4)
    np.testing.assert_array_equal(landmarks[1], landmarks[0])
    assert find_landmarks(images[:0], detector)[0].shape == (0, 5, 2)


def test_twins_are_found_even_when_lightly_changed() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (300, 48, 48), np.uint8)
    brighter = np.clip(pictures[5].astype(int) // 2 + 60, 0, 255).astype(np.uint8)
    mine = np.stack([brighter, pictures[299], rng.integers(0, 255, (48, 48), np.uint8)])
    assert twins_among(mine, pictures).tolist() == [True, True, False]
    assert twins_among(pictures, mine).sum() == 2


@pytest.mark.shared
def test_the_default_bundle_is_as_good_as_its_card_says(shared_data: Path) -> None:
    pictures = read_labelled(shared_data / "fer" / "fer2013_train_publictest.npz")
    assert len(pictures) == 3529
    rows = np.sort(np.random.default_rng(5).permutation(len(pictures))[:500])
    bundle, labels = load_bundle(), pictures.labels[rows]
    some = LabelledSet("500 of them", pictures.kind, labels, images=pictures.images[rows])
    detector = build_detector(detection_for(some, DetectionConfig()))
    answers = classify_set(some, OnnxClassifier(bundle), detector, not_found="average")
    assert answers.found.mean() > 0.97
    p = Calibrator(CalibrationConfig(), bundle.calibration).probabilities(answers.logits)
    # Three standard errors from what the card states, for 500 pictures.
    assert accuracy(p, labels, class_weights(labels)) > bundle.card.measured[0].accuracy - 0.054
    assert expected_calibration_error(p, labels, class_weights(labels)) < bundle.card.measured[0].ece + 0.05
