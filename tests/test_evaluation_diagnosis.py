"""Symptoms: each is seen where it was put in, not where it was not; previews are what rescoring gives."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from storage_scenes import RECORD, result, store

from fertrack.calibration import CalibrationConfig, Calibrator, ClassifierCalibration, estimate_shares
from fertrack.cli.main import run as fertrack
from fertrack.config import digest, load_settings, to_toml
from fertrack.errors import EvaluationError
from fertrack.evaluation.diagnosis import diagnose
from fertrack.evaluation.symptoms import SYMPTOMS, Diagnosis, Finding
from fertrack.fold import ExpressionFold
from fertrack.storage import queries
from fertrack.storage.corrections import GivenLabel, store_corrections
from fertrack.storage.engine import Database
from fertrack.types import EXPRESSIONS, FrameResult

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
ANGER, FEAR, NEUTRAL, SADNESS = (EXPRESSIONS.index(name) for name in ("anger", "fear", "neutral", "sadness"))
FRONT = np.array([[38, 46], [74, 46], [56, 66], [42, 82], [70, 82]], np.float32)
LARGE = np.array([0, 0, 112, 112], np.float32)
OWN = ClassifierCalibration(
    classifier="test 1",
    calibrated=True,
    training_prior=(0.1, 0.05, 0.05, 0.3, 0.1, 0.1, 0.3),
    prior_strength=0.0,
    thresholds=(0.4,) * 7,
)


def scene(
    logits: np.ndarray,
    *,
    xyxy: np.ndarray = LARGE,
    landmarks: np.ndarray = FRONT,
    lag: int = 0,
    overrides: tuple[str, ...] = (),
    tracks: bool = True,
) -> tuple[list[FrameResult], str]:
    """One person, 25 frames a second, seen and calibrated as given, as the pipeline would have made it."""
    settings = load_settings(overrides=overrides)
    fold = ExpressionFold(Calibrator(settings.calibration, OWN), settings.smoothing)
    frames = []
    for index, row in enumerate(np.asarray(logits, np.float32)):
        blank = result(index, index / 25, [(1 if tracks else -1, "neutral", 0.5)])
        detections = replace(blank.faces.detections, xyxy=xyxy[None], landmarks=landmarks[None])
        faces = replace(blank.faces, detections=detections, logits=row[None])
        values = fold.update(blank.timestamp_s, blank.track_ids, row[None])
        frames.append(
            replace(
                blank,
                faces=faces,
                track_xyxy=xyxy[None],
                probabilities=values.probabilities,
                smoothed=values.smoothed,
                labels=values.labels,
                pred_index=max(0, index - lag),
            )
        )
    return frames, to_toml(settings)


def stored(db: Database, frames: list[FrameResult], toml: str) -> int:
    settings = load_settings(base=toml)
    calibration = Calibrator(settings.calibration, OWN).describe()
    return store(
        db, frames, record=replace(RECORD, config_toml=toml, config_digest=digest(settings), calibration=calibration)
    )


def found(diagnosis: Diagnosis) -> dict[str, Finding]:
    return {finding.symptom: finding for finding in diagnosis.findings}


def towards(*expressions: int, strength: float = 4.0) -> np.ndarray:
    logits = np.zeros((len(expressions), 7), np.float32)
    logits[np.arange(len(expressions)), expressions] = strength
    return logits


CALM = towards(*[k for k in (0, 3, 6, 4) for _ in range(60)])


def test_a_run_without_troubles_has_none(db: Database) -> None:
    run = stored(db, *scene(CALM))
    diagnosis = diagnose(db, run)
    assert diagnosis.findings == ()
    assert set(diagnosis.passed) == {symptom.name for symptom in SYMPTOMS}
    assert diagnosis.faces == 240


def test_no_face(db: Database) -> None:
    run = stored(db, *scene(CALM, tracks=False))
    assert found(diagnose(db, run))["no_face"].evidence == "240 faces in 240 frames, none followed"
    assert diagnose(db, run).prior is None


def test_one_expression_everywhere_because_of_the_prior(db: Database) -> None:
    # The network leans to happiness and neutral as its training did; the faces are afraid.
    lean = np.log(np.array(OWN.training_prior)) * 1.0
    logits = np.tile(lean, (100, 1))
    logits[:, FEAR] += 1.5
    run = stored(db, *scene(logits, overrides=("calibration.use_thresholds=false",)))
    finding = found(diagnose(db, run))["one_expression"]
    assert "100% of the labels" in finding.evidence
    best = finding.changes[0]
    assert "calibration.prior_strength=1.0" in best.command
    assert (best.before, best.after) == (1.0, 0.0)


def test_odd_landmarks_are_named(db: Database) -> None:
    rotated = FRONT[[4, 3, 2, 1, 0]]
    odd = found(diagnose(db, stored(db, *scene(towards(*[3] * 50), landmarks=rotated[[0, 2, 1, 3, 4]]))))
    assert "aligned wrongly?" in odd["one_expression"].evidence
    plain = found(diagnose(db, stored(db, *scene(towards(*[3] * 50)))))
    assert "aligned wrongly?" not in plain["one_expression"].evidence


def test_many_uncertain_and_the_preview_is_what_rescoring_gives(db: Database) -> None:
    frames = scene(CALM * 0.3, overrides=("calibration.fallback_threshold=0.4",))
    run = stored(db, *frames)
    before = queries.timeline(db, run)
    finding = found(diagnose(db, run))["many_uncertain"]
    assert queries.timeline(db, run).equals(before), "nothing is changed"
    assert queries.run_facts(db, run).rescored_at is None
    change = finding.changes[0]
    assert change.effect == "share uncertain"
    assert change.after < change.before
    assert fertrack([*shlex.split(change.command)[1:], "--db", db.name]) == 0
    uncertain = (queries.timeline(db, run)["label"] == "uncertain").mean()
    assert uncertain == pytest.approx(change.after)


def test_flicker(db: Database) -> None:
    logits = np.concatenate([towards(k, k, k) for k in (0, 3) * 40])
    run = stored(db, *scene(logits, overrides=("smoothing.half_life_s=0.02", "smoothing.hysteresis_margin=0.0")))
    finding = found(diagnose(db, run))["flicker"]
    assert finding.changes[0].after < 0.7 * finding.changes[0].before
    assert "half_life_s=0.8" in finding.changes[0].command
    # a change every 0.12 s
    assert finding.changes[0].before == pytest.approx(60 / 0.12, rel=0.05)


def test_anger_and_fear_torn_and_neutral_and_sadness_too(db: Database) -> None:
    rng = np.random.default_rng(0)
    for pair, names in (((ANGER, FEAR), "anger and fear"), ((NEUTRAL, SADNESS), "neutral and sadness")):
        logits = rng.normal(0, 0.1, (120, 7))
        logits[:, list(pair)] += 3.0
        finding = found(diagnose(db, stored(db, *scene(logits))))["confused_pair"]
        assert f"torn between {names}" in finding.evidence


def test_corrections_say_more_than_probabilities(db: Database) -> None:
    rng = np.random.default_rng(1)
    truth = rng.choice([ANGER, FEAR, 3], 200)
    logits = towards(*truth, strength=1.0) + rng.normal(0, 0.5, (200, 7))
    logits[:, FEAR] += 1.5  # anger is taken for fear
    frames, toml = scene(logits, overrides=("smoothing.enabled=false", "calibration.use_thresholds=false"))
    slow = [replace(frame, timestamp_s=float(frame.frame_index)) for frame in frames]
    run = stored(db, slow, toml)
    labels = [GivenLabel(row=i, label=int(k), frame_index=i, face_index=0) for i, k in enumerate(truth)]
    store_corrections(db, run, labels)
    finding = found(diagnose(db, run))["confused_pair"]
    assert "you labelled anger and fear" in finding.evidence
    change = finding.changes[0]
    assert change.command == f"fertrack bias fit {run}"
    assert change.after > change.before + 0.05
    right = [GivenLabel(row=i, label=int(k), frame_index=i, face_index=0) for i, k in enumerate(logits.argmax(axis=1))]
    store_corrections(db, run, right)
    assert "confused_pair" not in found(diagnose(db, run))


def test_lag(db: Database) -> None:
    late = found(diagnose(db, stored(db, *scene(CALM, lag=12))))["lag"]
    assert "0.48 s old" in late.evidence
    assert late.changes == ()
    assert "lag" not in found(diagnose(db, stored(db, *scene(CALM, lag=2))))


def test_faces_too_small_or_turned(db: Database) -> None:
    small = found(diagnose(db, stored(db, *scene(CALM, xyxy=LARGE / 4))))["small_faces"]
    assert "100% of the faces are narrower than 48 px" in small.evidence
    assert (small.changes[0].before, small.changes[0].after) == (240.0, 0.0)
    side = FRONT.copy()
    side[2, 0] += 20
    turned = found(diagnose(db, stored(db, *scene(CALM * 0.6, landmarks=side))))
    assert "turned far to the side" in turned["turned_faces"].evidence
    assert turned["turned_faces"].changes[0].after > turned["turned_faces"].changes[0].before
    assert "small_faces" not in turned


def test_a_run_that_does_not_say_how_it_was_calibrated(db: Database) -> None:
    with pytest.raises(EvaluationError, match="process the video again"):
        diagnose(db, store(db, [result(0, 0.0)]))


# Class shares -------------------------------------------------------------------------------------------------------


def shifted_world(shares: np.ndarray, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors at equal shares of faces that occur with other shares."""
    rng = np.random.default_rng(0)
    labels = rng.choice(7, count, p=shares)
    logits = 2.0 * (rng.normal(size=(count, 7)) + 2.0 * np.eye(7)[labels])
    neutral = Calibrator(CalibrationConfig(), ClassifierCalibration.uncalibrated("x"))
    return neutral.probabilities(logits.astype(np.float32)), np.bincount(labels, minlength=7) / count


@pytest.mark.parametrize(
    "shares",
    [
        np.array([0.05, 0.02, 0.03, 0.5, 0.1, 0.05, 0.25]),
        np.array([0.0, 0.0, 0.0, 0.0, 0.3, 0.0, 0.7]),
        np.full(7, 1 / 7),
    ],
)
def test_a_known_shift_is_found(shares: np.ndarray) -> None:
    p, truth = shifted_world(shares)
    estimate = estimate_shares(p, np.full(7, 1 / 7))
    np.testing.assert_allclose(estimate, truth, atol=0.01)
    assert np.abs(estimate - truth).max() <= np.abs(p.mean(axis=0) - truth).max() + 1e-3


def test_the_prior_the_probabilities_are_made_for_is_taken_into_account() -> None:
    shares = np.array([0.05, 0.02, 0.03, 0.5, 0.1, 0.05, 0.25])
    p, truth = shifted_world(shares)
    other = np.array([0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.2])
    moved = p * other
    moved = (moved / moved.sum(axis=1, keepdims=True)).astype(np.float32)
    np.testing.assert_allclose(estimate_shares(moved, other), truth, atol=0.01)


def test_shares_need_sense() -> None:
    equal = np.full(7, 1 / 7)
    np.testing.assert_allclose(estimate_shares(np.empty((0, 7), np.float32), equal), equal)
    with pytest.raises(ValueError, match="above 0"):
        estimate_shares(np.empty((0, 7), np.float32), np.zeros(7))
    with pytest.raises(ValueError, match=r"\(N, 7\)"):
        estimate_shares(np.empty((3, 6), np.float32), equal)


def test_a_runs_own_shares_are_a_suggestion_only(db: Database) -> None:
    rng = np.random.default_rng(2)
    labels = rng.choice([3, 6, 0], 400, p=[0.7, 0.2, 0.1])
    logits = 2.0 * (rng.normal(size=(400, 7)) + 1.5 * np.eye(7)[labels]) + np.log(OWN.training_prior)
    run = stored(db, *scene(logits, overrides=("smoothing.enabled=false",)))
    suggestion = diagnose(db, run).prior
    assert suggestion is not None
    assert suggestion.shares["happiness"] == pytest.approx(0.7, abs=0.06)
    assert sum(suggestion.shares.values()) == pytest.approx(1.0, abs=0.005)
    assert suggestion.assumed["happiness"] == pytest.approx(0.3)
    assert 0.0 < suggestion.labels_changed < 0.5
    before = queries.timeline(db, run)["label"]
    assert fertrack([*shlex.split(suggestion.command)[1:], "--db", db.name]) == 0
    assert (queries.timeline(db, run)["label"] != before).mean() == pytest.approx(suggestion.labels_changed, abs=0.003)


# Words --------------------------------------------------------------------------------------------------------------


def test_the_readme_says_the_same() -> None:
    section = README.split("## When something looks wrong")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| symptom")]
    assert rows[: len(SYMPTOMS)] == [f"| {each.seen} | {each.cause} | {each.change} |" for each in SYMPTOMS]
    number = {"eight": 8, "nine": 9}[re.search(r"looks for the first (\w+)", section)[1]]  # type: ignore[index]
    assert number == len(SYMPTOMS)


def test_every_option_in_the_words_exists() -> None:
    for symptom in SYMPTOMS:
        for override in re.findall(r"--set ('[^']*'|\S+?)(?=`| )", symptom.change):
            load_settings(overrides=[override.strip("'")])


def test_the_command_tells_people_and_machines(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    stored(db, *scene(CALM * 0.3))
    assert fertrack(["diagnose", "last", "--db", db.name]) == 0
    shown = capsys.readouterr().out
    assert "many uncertain: " in shown
    assert re.search(r"tried:  fertrack rescore 1 --set .* --db ", shown)
    assert "suggestion: this run's own class shares" in shown
    assert fertrack(["diagnose", "last", "--db", db.name, "--json"]) == 0
    assert '"symptom": "many_uncertain"' in capsys.readouterr().out
    stored(db, *scene(CALM))
    assert fertrack(["diagnose", "2", "--db", db.name]) == 0
    assert "none of the known symptoms in 240 faces" in capsys.readouterr().out
