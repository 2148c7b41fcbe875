"""Biases: a known one is found again, few faces move little, harm is refused, versions and undo work."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fertrack.config import Settings, digest, load_settings, to_toml
from fertrack.errors import ConfigError, EvaluationError, StorageError
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig
from fertrack.storage.engine import Database, open_database
from fertrack.storage.people.corrections import GivenLabel, store_corrections
from fertrack.tuning.bias_fit import BiasFit, fit_bias
from fertrack.tuning.bias_profiles import apply_profile, find_profile, profiles, save_profile, undo_rescore
from fertrack.types import EXPRESSIONS
from tests.evaluation.expression.test_measures import calibrated_world
from tests.support import queries
from tests.support.queries import calibrator_of, corrected_faces, evaluate_corrections
from tests.support.storage_scenes import RECORD, result, store

EQUAL = np.full(7, 1 / 7)
OWN = ClassifierCalibration.uncalibrated("test 1")
NEUTRAL = Calibrator(CalibrationConfig(), OWN)
ANGER, FEAR, NEUTRAL_LABEL, SADNESS = (EXPRESSIONS.index(name) for name in ("anger", "fear", "neutral", "sadness"))
PUT_IN = np.zeros(7)
PUT_IN[FEAR], PUT_IN[ANGER], PUT_IN[SADNESS] = 1.2, -1.2, 0.6


def biased_world(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels, logits = calibrated_world(count, EQUAL, seed)
    return labels, (logits + PUT_IN).astype(np.float32)


def centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean()


def test_a_bias_that_was_put_in_is_taken_out_again() -> None:
    labels, logits = biased_world(5000)
    found = fit_bias(logits, labels, NEUTRAL)
    assert not found.refused
    np.testing.assert_allclose(centred(np.array(found.bias)), centred(-PUT_IN), atol=0.15)
    assert found.macro_f1_after > found.macro_f1_before + 0.03
    worst = found.confusions[0]
    assert (worst.label, worst.answer) == ("anger", "fear")
    assert worst.after < 0.5 * worst.before
    assert found.moments == tuple(np.bincount(labels, minlength=7))


def test_class_shares_of_the_labels_are_not_taken_for_a_bias() -> None:
    shares = np.array([0.02, 0.02, 0.02, 0.3, 0.02, 0.02, 0.6])
    labels, logits = calibrated_world(6000, shares)
    even = (logits - np.log(shares)).astype(np.float32)  # right at equal shares, unbiased
    found = fit_bias(even, labels, NEUTRAL)
    assert np.abs(found.bias).max() < 0.25
    spoilt = fit_bias((even + PUT_IN).astype(np.float32), labels, NEUTRAL)
    assert spoilt.bias[ANGER] - spoilt.bias[FEAR] == pytest.approx(2.4, abs=0.6)


def test_few_faces_move_little() -> None:
    sizes = []
    for count in (20, 200, 5000):
        labels, logits = biased_world(count, seed=3)
        sizes.append(np.abs(fit_bias(logits, labels, NEUTRAL).bias).max())
    assert sizes[0] < 0.35 < sizes[1] < sizes[2]


def test_many_frames_of_one_moment_count_as_one() -> None:
    labels, logits = biased_world(60, seed=1)
    once = fit_bias(logits, labels, NEUTRAL)
    moments = np.repeat(np.arange(60), 30)
    often = fit_bias(logits[moments], labels[moments], NEUTRAL, groups=moments)
    np.testing.assert_allclose(often.bias, once.bias, atol=1e-3)
    assert often.moments == once.moments
    alone = fit_bias(logits[moments], labels[moments], NEUTRAL)
    assert np.abs(alone.bias).max() > 1.5 * np.abs(once.bias).max()


def test_expressions_without_labels_keep_their_place() -> None:
    labels, logits = biased_world(3000)
    two = np.isin(labels, (ANGER, FEAR))
    found = np.array(fit_bias(logits[two], labels[two], NEUTRAL).bias)
    others = [k for k in range(7) if k not in (ANGER, FEAR)]
    assert (found[others] == 0.0).all()
    assert found[ANGER] == pytest.approx(-found[FEAR])
    assert found[ANGER] > 0.8


def test_harm_on_faces_held_out_is_refused() -> None:
    rng = np.random.default_rng(0)
    harmful = 0
    for seed in range(6):
        labels, logits = calibrated_world(60, EQUAL, seed)
        wrong = np.where(rng.random(60) < 0.5, rng.integers(0, 7, 60), labels)
        fit = fit_bias(logits, wrong, NEUTRAL)
        if fit.macro_f1_after < fit.macro_f1_before - 1e-9:
            harmful += 1
            assert "macro-F1 would fall from" in fit.refused
    assert harmful >= 2


def one_sided_world(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn at random beside answers that know nothing of them, most of which are neutral or sadness."""
    _, logits = calibrated_world(count, EQUAL, seed)
    logits[:, SADNESS] += 1.0
    logits[:, NEUTRAL_LABEL] += 3.0
    return np.random.default_rng(1000 + seed).integers(0, 7, count), logits


@pytest.mark.parametrize("count", [60, 400])
def test_random_labels_are_refused(count: int) -> None:
    accepted = higher = 0
    for seed in range(20):
        labels, logits = one_sided_world(count, seed)
        fit = fit_bias(logits, labels, NEUTRAL)
        # Evener answers have a higher macro-F1 though they are guesses: that is not what a profile is for.
        higher += fit.macro_f1_after > fit.macro_f1_before
        accepted += not fit.refused
        assert bool(fit.refused) == (min(fit.macro_f1_gain.low, fit.recall_gain.low) <= 0.0)
        assert fit.macro_f1_gain.value == pytest.approx(fit.macro_f1_after - fit.macro_f1_before)
    assert accepted <= 1
    assert higher >= 8, "what the guard is there for"


def test_answers_without_a_confusion_are_left_as_they_are() -> None:
    accepted = 0
    for seed in range(10):
        labels, logits = calibrated_world(200, EQUAL, seed)
        accepted += not fit_bias(logits, labels, NEUTRAL).refused
    assert accepted <= 1
    sure = 20.0 * np.eye(7, dtype=np.float32)[labels]
    assert "no answer gains by it (macro-F1 stays 1.000)" in fit_bias(sure, labels, NEUTRAL).refused


def test_a_real_confusion_with_enough_labels_is_still_taken_back() -> None:
    for seed in range(5):
        labels, logits = biased_world(1200, seed)
        fit = fit_bias(logits, labels, NEUTRAL)
        assert not fit.refused
        assert 0.0 < fit.macro_f1_gain.low < fit.macro_f1_gain.value < fit.macro_f1_gain.high


@pytest.mark.parametrize("count", [0, 8])
def test_too_few_labels_are_refused_by_a_sentence(count: int) -> None:
    labels, logits = biased_world(count)
    assert "too few labels to learn from" in fit_bias(logits, labels, NEUTRAL).refused


# Profiles -----------------------------------------------------------------------------------------------------------

GOOD = BiasFit((0.0, -0.5, 0.0, 0.0, 0.0, 0.5, 0.0), (1, 9, 1, 1, 1, 9, 1), 0.5, 0.6, (), "")


def saved(folder: Path, **changes: object):
    fit = replace(GOOD, **changes)
    return save_profile(
        folder,
        fit,
        classifier="test 1",
        fitted_on="run 1",
        data_sha256="ab",
        now=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    )


def test_profiles_are_numbered_and_never_replaced(tmp_path: Path) -> None:
    assert profiles(tmp_path / "none") == []
    first, second = saved(tmp_path), saved(tmp_path, macro_f1_after=0.7)
    assert [profile.version for profile in profiles(tmp_path)] == [1, 2]
    assert find_profile(tmp_path, 2) == second
    assert second.macro_f1_after == 0.7
    assert (first.moments, first.bias["anger"], first.classifier, first.fitted_on) == (23, 0.5, "test 1", "run 1")
    first.path.unlink()
    assert saved(tmp_path).version == 3, "a number is not given twice while a later one is there"
    with pytest.raises(EvaluationError, match=r"no bias profile 1 in .*: known are 2, 3"):
        find_profile(tmp_path, 1)
    with pytest.raises(EvaluationError, match="no profile was made: it harms"):
        saved(tmp_path, refused="it harms")


def test_a_profile_is_a_config_file_for_its_classifier_only(tmp_path: Path) -> None:
    path = saved(tmp_path).path
    config = load_settings([path], ["calibration.bias={ anger = 0.25 }"]).calibration
    logits = np.zeros((1, 7), np.float32)
    p = Calibrator(config, OWN).probabilities(logits)[0]
    assert np.log(p[ANGER] / p[0]) == pytest.approx(0.75, abs=1e-5), "it is added to the bias there is"
    with pytest.raises(ConfigError, match="fitted for 'test 1', but the classifier is 'other 2'"):
        Calibrator(config, ClassifierCalibration.uncalibrated("other 2"))


@pytest.mark.parametrize("text", ["[calibration]\n", "[record]\nversion = 1\n", "not TOML", "[calibration]\nx = 1\n"])
def test_another_file_is_no_profile(tmp_path: Path, text: str) -> None:
    (tmp_path / "bias-v1.toml").write_text(text)
    with pytest.raises(EvaluationError, match="is no bias profile"):
        profiles(tmp_path)


# Stored runs --------------------------------------------------------------------------------------------------------

SETTINGS = load_settings(overrides=["smoothing.enabled=false", "calibration.use_thresholds=false"])


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """One run of four persons for 100 s, one frame a second, whose network mistakes anger for fear."""
    labels, logits = calibrated_world(400, EQUAL, seed=2)
    logits = (logits + 1.5 * PUT_IN).astype(np.float32)
    frames = []
    for index in range(100):
        frame = result(index, float(index), [(track, "neutral", 0.5) for track in (1, 2, 3, 4)])
        faces = replace(frame.faces, logits=logits[4 * index : 4 * index + 4])
        p = NEUTRAL.probabilities(faces.logits)
        frames.append(replace(frame, faces=faces, probabilities=p, smoothed=p, labels=p.argmax(axis=1)))
    record = replace(RECORD, config_toml=to_toml(SETTINGS), config_digest=digest(SETTINGS), calibration=NEUTRAL.record)
    with open_database(tmp_path / "a.db", create=True) as database:
        store(database, frames, record=record)
        given = [
            GivenLabel(row=i, label=int(label), frame_index=i // 4, face_index=i % 4) for i, label in enumerate(labels)
        ]
        store_corrections(database, 1, [*given[:399], GivenLabel(row=400, label=-1, frame_index=99, face_index=3)])
        yield database


def test_corrections_are_faces_with_labels_in_moments(db: Database) -> None:
    faces = corrected_faces(db, "last")
    assert (faces.run, len(faces.labels), faces.undecided) == (1, 399, 1)
    assert len(np.unique(faces.groups)) == 399
    assert faces.logits.shape == (399, 7)
    np.testing.assert_array_equal(faces.labels, calibrated_world(400, EQUAL, seed=2)[0][:399])
    assert len(faces.digest()) == 64
    np.testing.assert_allclose(
        calibrator_of(db, 1).probabilities(faces.logits), NEUTRAL.probabilities(faces.logits), atol=1e-6
    )


def test_frames_of_one_track_and_second_are_one_moment(tmp_path: Path) -> None:
    with open_database(tmp_path / "b.db", create=True) as database:
        store(database, [result(i, i / 25, [(1, "anger", 0.5), (-1, "fear", 0.4)]) for i in range(30)])
        given = [GivenLabel(row=i, label=i % 2, frame_index=i // 2, face_index=i % 2) for i in range(60)]
        store_corrections(database, 1, given)
        faces = corrected_faces(database, 1)
        assert len(np.unique(faces.groups)) == 4, "two faces, two seconds"
        with pytest.raises(StorageError, match="does not say how it was calibrated"):
            calibrator_of(database, 1)


def test_a_run_without_corrections_says_how_to_get_some(tmp_path: Path) -> None:
    with open_database(tmp_path / "b.db", create=True) as database:
        store(database, [result(0, 0.0, [(1, "anger", 0.5)])])
        with pytest.raises(EvaluationError, match="fertrack import-labels 1"):
            corrected_faces(database, 1)


def test_a_run_is_scored_against_its_corrections(db: Database) -> None:
    found = evaluate_corrections(db, 1, resamples=20)
    labels = corrected_faces(db, 1)
    right = float((labels.estimates == labels.labels).mean())
    assert found.scores.measures["accuracy"].value == pytest.approx(right)
    assert f"{right:.1%} right, 0.0% uncertain" in found.facts["stored labels, smoothed over time"]
    assert found.scores.measures["accuracy"].low < right < found.scores.measures["accuracy"].high


def test_a_profile_is_applied_to_a_stored_run_and_taken_back(db: Database, tmp_path: Path) -> None:
    before = queries.timeline(db, 1)
    faces = corrected_faces(db, 1)
    first = save_profile(
        tmp_path,
        fit_bias(faces.logits, faces.labels, NEUTRAL, groups=faces.groups),
        classifier="test 1",
        fitted_on="run 1",
        data_sha256=faces.digest(),
    )
    assert first.bias["anger"] > 0.0 > first.bias["fear"]
    wrong = int((corrected_faces(db, 1).estimates != faces.labels).sum())
    assert apply_profile(db, 1, first).labels_changed > 0
    assert int((corrected_faces(db, 1).estimates != faces.labels).sum()) < wrong
    assert load_settings(base=queries.run_facts(db, 1).config_toml).calibration.bias_profile == first.bias
    second = saved(tmp_path)
    apply_profile(db, 1, second)
    apply_profile(db, 1, None)
    for expected in (second.bias, first.bias, None):
        undo_rescore(db, 1)
        assert load_settings(base=queries.run_facts(db, 1).config_toml).calibration.bias_profile == expected
    assert queries.timeline(db, 1).equals(before)
    with pytest.raises(EvaluationError, match="nothing to undo"):
        undo_rescore(db, 1)


def test_settings_without_a_profile_are_as_before() -> None:
    assert Settings().calibration.bias_profile is None
    assert "bias_profile" in to_toml(Settings(), comments=True)
