"""Symptoms: each is seen where it was put in, not where it was not; previews are what rescoring gives."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

from fertrack.cli.main import run as fertrack
from fertrack.config import digest, load_settings, to_toml
from fertrack.errors import StorageError
from fertrack.expression.calibration import Calibrator, ClassifierCalibration, estimate_shares
from fertrack.expression.config import CalibrationConfig
from fertrack.expression.fold import ExpressionFold
from fertrack.storage.engine import Database
from fertrack.storage.models import Run, StageTiming
from fertrack.storage.people.corrections import GivenLabel, store_corrections
from fertrack.storage.queries.run_faces import RunFaces
from fertrack.tuning import checks
from fertrack.tuning.diagnose import Diagnosis
from fertrack.tuning.symptoms import OTHER_SYMPTOMS, SYMPTOMS, Finding
from fertrack.types import EXPRESSIONS, FrameResult
from tests.support import queries
from tests.support.paths import REPOSITORY
from tests.support.queries import diagnose
from tests.support.storage_scenes import RECORD, result, store

PAGE = (REPOSITORY / "fertrack" / "guide" / "trouble.md").read_text(encoding="utf-8")
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
_PRIOR = ", ".join(f"{name} = {share}" for name, share in zip(EXPRESSIONS, OWN.training_prior, strict=True))
WHOLE = (
    "calibration.classifier=test 1",
    "calibration.prior_strength=0.0",
    f"calibration.training_prior={{ {_PRIOR} }}",
    "calibration.bias={}",
    "calibration.thresholds={}",
)


def scene(
    logits: np.ndarray,
    *,
    xyxy: np.ndarray = LARGE,
    landmarks: np.ndarray = FRONT,
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
            )
        )
    return frames, to_toml(settings)


def stored(db: Database, frames: list[FrameResult], toml: str) -> int:
    settings = load_settings(base=toml)
    calibration = Calibrator(settings.calibration, OWN).record
    return store(
        db, frames, record=replace(RECORD, config_toml=toml, config_digest=digest(settings), calibration=calibration)
    )


def found(diagnosis: Diagnosis) -> dict[str, Finding]:
    return {finding.symptom.name: finding for finding in diagnosis.findings}


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


def test_everything_one_expression_for_want_of_a_threshold(db: Database) -> None:
    # 9 of 10 labels are happiness, a third of them guesses; the thresholds are off.
    guess, sure = towards(3, strength=1.6), towards(3, strength=5.0)
    logits = np.concatenate(
        [np.tile(guess, (86, 1)), np.tile(sure, (186, 1)), np.tile(towards(6, strength=5.0), (28, 1))]
    )
    off = ("calibration.use_thresholds=false", "smoothing.enabled=false")
    finding = found(diagnose(db, stored(db, *scene(logits, overrides=off))))["one_expression"]
    assert "thresholds are switched off" in finding.evidence
    best = next(change for change in finding.changes if "calibration.fallback_threshold=0.6" in change.command)
    assert "calibration.use_thresholds=true" in best.command
    assert (best.before, best.after) == (pytest.approx(272 / 300), pytest.approx(186 / 214))
    # A threshold that leaves hardly a label is no remedy, and is said to have been tried.
    finding = found(diagnose(db, stored(db, *scene(np.tile(guess, (100, 1)), overrides=off))))["one_expression"]
    tried = {change.command: change for change in finding.useless}
    threshold = next(tried[command] for command in tried if "fallback_threshold=0.6" in command)
    assert [effect.name for effect in threshold.worse] == ["share uncertain"]
    assert not any("threshold" in change.command for change in finding.changes)


@pytest.mark.parametrize("thresholds", ["true", "false"])
def test_a_temperature_that_is_far_off_is_put_back(db: Database, thresholds: str) -> None:
    logits = CALM.copy()
    logits[:, 5] += 1.0
    calm = scene(logits)[0]
    overrides = (
        "calibration.temperature=8",
        "calibration.bias={anger=0.7}",
        f"calibration.use_thresholds={thresholds}",
    )
    run = stored(db, *scene(logits, overrides=overrides))
    finding = found(diagnose(db, run))["many_uncertain" if thresholds == "true" else "one_expression"]
    assert "the temperature is 8, the classifier's own 1" in finding.evidence
    # nothing else is a remedy while that is wrong
    assert [change.command for change in finding.changes] == [f"fertrack rescore {run} --set calibration.temperature=1"]
    assert finding.changes[0].after < 0.1
    assert fertrack([*shlex.split(finding.changes[0].command)[1:], "--db", db.name]) == 0
    now = queries.timeline(db, run)["label"]
    assert (now == [EXPRESSIONS[frame.labels[0]] for frame in calm]).mean() > 0.9


def test_a_calibration_file_that_leaves_all_as_it_is_departs_from_nothing(db: Database) -> None:
    equal = ", ".join(f"{name} = {1 / 7}" for name in EXPRESSIONS)
    ones = ", ".join(f"{name} = 1.0" for name in EXPRESSIONS)
    overrides = tuple(
        f"calibration.{name}={{ {values} }}" for name, values in (("target_prior", equal), ("scale", ones))
    )
    finding = found(diagnose(db, stored(db, *scene(CALM * 0.3, overrides=overrides))))["many_uncertain"]
    assert finding.evidence == "100% of the faces are uncertain"
    assert diagnose(db, stored(db, *scene(CALM, overrides=overrides))).prior is not None


def test_what_would_bring_another_trouble_is_not_advised(db: Database) -> None:
    # 200 faces a little angry, and 20 of which something can be said: a low threshold calls all of them angry.
    logits = np.concatenate([towards(*[5] * 200, strength=1.1), towards(*[3] * 10), towards(*[6] * 10)])
    run = stored(db, *scene(logits, overrides=("smoothing.enabled=false",)))
    finding = found(diagnose(db, run))["many_uncertain"]
    assert finding.changes == ()
    low = next(change for change in finding.useless if "fallback_threshold=0.3" in change.command)
    assert (low.before, low.after) == (pytest.approx(200 / 220), 0.0)
    assert [(effect.name, effect.before, effect.after) for effect in low.worse] == [
        ("share of the commonest label", 0.5, pytest.approx(200 / 220))
    ]


def test_what_makes_the_symptom_worse_is_not_advised(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    # Anger and fear in turn, uncertain in between: held labels go over directly, or by way of uncertain, all the same.
    rng = np.random.default_rng(5)
    logits = rng.normal(0.0, 0.1, (500, 7)).astype(np.float32)
    wave = np.sign(np.sin(np.arange(500) / 25)) * 1.5
    logits[:, ANGER] += 3.0 + wave
    logits[:, FEAR] += 3.0 - wave
    run = stored(db, *scene(logits, overrides=("smoothing.half_life_s=0.2",)))
    finding = found(diagnose(db, run))["confused_pair"]
    assert "--set smoothing.hysteresis_margin=0.15" in [
        each.command.split(f"rescore {run} ")[1] for each in finding.useless
    ]
    assert all(change.after < 0.9 * change.before and not change.worse for change in finding.changes)
    assert fertrack(["diagnose", str(run), "--db", db.name]) == 0
    shown = capsys.readouterr().out
    assert re.search(
        r"tried and not advised:\n +--set smoothing.hysteresis_margin=0.15\n +anger and fear swapped", shown
    )
    assert not re.search(r"helps: .*--set smoothing.hysteresis_margin=0.15 --db", shown)


def test_swaps_pass_through_uncertain() -> None:
    labels = np.array([ANGER, -1, -1, FEAR, FEAR, 3, ANGER, FEAR], np.int64)
    zeros = np.zeros((8, 1), np.float32)
    faces = RunFaces(
        run=1,
        frame_index=np.arange(8),
        time_s=np.arange(8) / 2.0,
        track=np.ones(8, np.int64),
        label=labels,
        logits=zeros,
        smoothed=zeros,
        xyxy=zeros,
        landmarks=zeros,
        quality=np.full(8, np.nan, np.float32),
        frames=np.arange(8),
        frame_time_s=np.arange(8) / 2.0,
    )
    assert checks.swaps_per_minute(faces, labels, (ANGER, FEAR)) == pytest.approx(60 * 2 / 3.5)
    # Nor do they happen while nobody is seen, or between two people.
    away = replace(faces, time_s=np.array([0, 0.5, 1, 9, 9.5, 10, 10.5, 11]))
    assert checks.swaps_per_minute(away, labels, (ANGER, FEAR)) == pytest.approx(60 / 3.0)
    two = replace(faces, track=np.array([1, 1, 1, 2, 2, 2, 2, 3]))
    assert checks.swaps_per_minute(two, labels, (ANGER, FEAR)) == 0.0
    nobody = replace(faces, track=np.empty(0, np.int64), time_s=np.empty(0))
    assert checks.swaps_per_minute(nobody, np.empty(0, np.int64), (ANGER, FEAR)) == 0.0


LYING = np.stack([112 - FRONT[:, 1], FRONT[:, 0]], axis=1)
"""The face of somebody who lies on one side."""


@pytest.mark.parametrize(
    ("landmarks", "said"),
    [
        (FRONT[[1, 0, 2, 4, 3]], "turned by 180 degrees"),
        (FRONT[[0, 2, 1, 3, 4]], "eye distance from where a face has them"),
        (FRONT * 3, "outside their face's box"),
    ],
)
def test_faces_aligned_wrongly(db: Database, landmarks: np.ndarray, said: str) -> None:
    diagnosis = diagnose(db, stored(db, *scene(CALM * 0.3, landmarks=landmarks)))
    assert list(found(diagnosis)) == ["misaligned"]
    assert said in found(diagnosis)["misaligned"].evidence
    assert diagnosis.passed == ("no_face", "lag", "small_faces")
    assert (diagnosis.prior, diagnosis.no_prior) == (None, "faces are aligned wrongly")


@pytest.mark.parametrize("landmarks", [FRONT, LYING])
def test_faces_aligned_rightly(db: Database, landmarks: np.ndarray) -> None:
    assert found(diagnose(db, stored(db, *scene(CALM, landmarks=landmarks)))) == {}


def test_a_live_run_that_estimates_some_frames_only(db: Database) -> None:
    logits = towards(*[3] * 240)
    logits[np.arange(240) % 4 != 0] = np.nan
    frames, toml = scene(logits)
    diagnosis = diagnose(db, stored(db, frames, toml))
    assert "100% of the network's own answers" in found(diagnosis)["one_expression"].evidence
    mixed = CALM.copy()
    mixed[np.arange(240) % 4 != 0] = np.nan
    suggestion = diagnose(db, stored(db, *scene(mixed))).prior
    assert suggestion is not None
    assert suggestion.shares["surprise"] == pytest.approx(0.25, abs=0.04)


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
    assert change.command == f"fertrack models bias fit {run}"
    assert change.after > change.before + 0.05
    guessed = rng.choice([ANGER, FEAR], 200)
    store_corrections(
        db, run, [GivenLabel(row=i, label=int(k), frame_index=i, face_index=0) for i, k in enumerate(guessed)]
    )
    finding = found(diagnose(db, run))["confused_pair"]
    assert "biases learned from them are refused" in finding.evidence
    assert finding.changes == ()
    right = [GivenLabel(row=i, label=int(k), frame_index=i, face_index=0) for i, k in enumerate(logits.argmax(axis=1))]
    store_corrections(db, run, right)
    assert "confused_pair" not in found(diagnose(db, run))


def live(db: Database, frames: list[FrameResult], toml: str, *, age_ms: float | None, dropped: int) -> int:
    """A live run: how late its results were shown is among the timings."""
    run = stored(db, frames, toml)
    with db.writing() as connection:
        connection.execute(sa.update(Run).where(Run.id == run).values(dropped=dropped))
        if age_ms is not None:
            values = dict.fromkeys(("total_s", "mean_ms", "p50_ms", "max_ms", "p99_ms"), age_ms)
            connection.execute(
                sa.insert(StageTiming).values(
                    run_id=run, position=9, stage="age", frames=len(frames), p95_ms=age_ms, **values
                )
            )
    return run


def test_a_live_run_lags_by_what_was_shown(db: Database) -> None:
    late = found(diagnose(db, live(db, *scene(CALM), age_ms=1600.0, dropped=720)))["lag"]
    assert "the result was 1.60 s old or older; 720 of 960 frames were left out" in late.evidence
    assert "finding faces takes 19 ms a frame" in late.evidence
    assert "lag" in diagnose(db, live(db, *scene(CALM), age_ms=240.0, dropped=720)).passed
    # Without a display, nothing says how late it was shown, but how far the results are apart.
    frames, toml = scene(CALM[::8])
    slow = [replace(frame, frame_index=15 * i, timestamp_s=i / 2) for i, frame in enumerate(frames)]
    late = found(diagnose(db, live(db, slow, toml, age_ms=None, dropped=14 * len(slow))))["lag"]
    assert "results come 0.50 s apart" in late.evidence
    # A file of which few frames are wanted is not late.
    assert "lag" not in found(diagnose(db, stored(db, slow, toml)))


def test_too_slow_to_follow_anyone_is_not_told_to_look_more_closely(db: Database) -> None:
    frames, toml = scene(CALM[:7], tracks=False)
    diagnosis = diagnose(db, live(db, frames, toml, age_ms=2500.0, dropped=210))
    assert list(found(diagnosis)) == ["lag"]
    assert "nobody could be followed" in found(diagnosis)["lag"].evidence
    assert diagnosis.passed == ()


def test_flicker_without_smoothing(db: Database) -> None:
    logits = np.concatenate([towards(3, 3, 3, 3, k) for k in (0, 3) * 24])
    run = stored(db, *scene(logits, overrides=("smoothing.enabled=false",)))
    finding = found(diagnose(db, run))["flicker"]
    assert finding.evidence.endswith("smoothing is switched off")
    best = finding.changes[0]
    assert "--set smoothing.enabled=true" in best.command
    assert best.after < 0.5 * best.before
    assert fertrack([*shlex.split(best.command)[1:], "--db", db.name]) == 0
    labels = queries.timeline(db, run)["label"].to_numpy()
    assert 60 * (labels[1:] != labels[:-1]).sum() / (239 / 25) == pytest.approx(best.after)


def test_thresholds_of_the_run_are_replaced_not_added_to(db: Database) -> None:
    set_high = "calibration.thresholds={ surprise = 0.9, happiness = 0.9, neutral = 0.9, sadness = 0.9 }"
    run = stored(db, *scene(CALM * 0.6, overrides=(set_high,)))
    finding = found(diagnose(db, run))["many_uncertain"]
    assert "thresholds are not the classifier's own" in finding.evidence
    best = finding.changes[0]
    assert "surprise = 0.4" in best.command
    assert fertrack([*shlex.split(best.command)[1:], "--db", db.name]) == 0
    assert (queries.timeline(db, run)["label"] == "uncertain").mean() == pytest.approx(best.after)


def test_faces_too_small_or_turned(db: Database) -> None:
    frames, toml = scene(CALM, xyxy=LARGE / 4, landmarks=FRONT / 4)
    small = found(diagnose(db, stored(db, frames, toml)))["small_faces"]
    assert "100% of the faces are narrower than 48 px" in small.evidence
    # Nobody would be left.
    assert small.changes == ()
    assert (small.useless[0].before, small.useless[0].after) == (240.0, 0.0)
    some = [*frames[:80], *scene(CALM)[0][80:]]
    small = found(diagnose(db, stored(db, some, toml)))["small_faces"]
    assert (small.changes[0].before, small.changes[0].after) == (240.0, 160.0)
    side = FRONT.copy()
    side[2, 0] += 20
    guesses = scene(CALM * 0.5, landmarks=side)[0]
    turned = found(diagnose(db, stored(db, [*guesses[:100], *scene(CALM)[0][100:]], toml)))["turned_faces"]
    assert "42% of the faces are turned far to the side" in turned.evidence
    assert turned.changes[0].effect == "turned faces with a label"
    assert turned.changes[0].after < 0.1 * turned.changes[0].before
    # Where faces that look ahead would become uncertain too, it is not advised.
    turned = found(diagnose(db, stored(db, [*guesses[:100], *scene(CALM * 0.5)[0][100:]], toml)))["turned_faces"]
    assert turned.changes == ()
    assert [effect.name for effect in turned.useless[0].worse] == ["share uncertain of the other faces"]


def test_a_run_that_does_not_say_how_it_was_calibrated(db: Database) -> None:
    with pytest.raises(StorageError, match="process the video again"):
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
    assert diagnose(db, run).no_prior == "they are those that it assumes already"


def test_no_shares_are_suggested_from_a_moment(db: Database) -> None:
    assert "only 2 moments (seconds of one person)" in diagnose(db, stored(db, *scene(CALM[::5]))).no_prior


@pytest.mark.parametrize(
    ("own", "overrides", "reason"),
    [
        (ClassifierCalibration.uncalibrated("test 1"), (), "not calibrated"),
        (OWN, ("calibration.temperature=2.0",), "set by hand, not fitted: temperature;"),
        (OWN, ("calibration.bias={fear=0.5}",), "set by hand, not fitted: bias;"),
        (OWN, ("calibration.bias_profile={fear=0.5}",), "set by hand, not fitted: bias profile;"),
        (OWN, ("calibration.temperature=2.0", *WHOLE), ""),
    ],
)
def test_no_shares_are_suggested_where_they_would_be_unsound(
    db: Database, own: ClassifierCalibration, overrides: tuple[str, ...], reason: str
) -> None:
    frames, toml = scene(CALM * 1.5, overrides=overrides)
    settings = load_settings(base=toml)
    made = replace(
        RECORD,
        config_toml=toml,
        config_digest=digest(settings),
        calibration=Calibrator(settings.calibration, own).record,
    )
    diagnosis = diagnose(db, store(db, frames, record=made))
    assert (diagnosis.prior is None) == bool(reason)
    assert reason in diagnosis.no_prior


def test_no_shares_are_suggested_from_one_expression(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    stored(db, *scene(towards(*[3] * 60)))
    assert "cannot tell" in diagnose(db, "last").no_prior
    assert fertrack(["diagnose", "last", "--db", db.name]) == 0
    shown = capsys.readouterr().out
    assert "no suggestion of the run's own class shares: with one expression everywhere" in shown
    assert "none of these helps on this run" in shown
    assert "suggestion: this" not in shown


def test_few_faces_show_what_needs_no_estimates(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    turned = diagnose(db, stored(db, *scene(CALM[:20], landmarks=FRONT[[1, 0, 2, 4, 3]])))
    assert list(found(turned)) == ["misaligned"]
    diagnosis = diagnose(db, stored(db, *scene(CALM[:20])))
    assert diagnosis.findings == ()
    assert diagnosis.not_judged == ("one_expression", "many_uncertain", "confused_pair", "flicker")
    assert diagnosis.passed == ("no_face", "misaligned", "lag", "small_faces", "turned_faces")
    assert fertrack(["diagnose", "last", "--db", db.name]) == 0
    shown = capsys.readouterr().out
    assert "none of the known symptoms that were looked for in 20 faces" in shown
    assert "not looked for, as the run says too little: one expression everywhere; many uncertain; " in shown


def test_general_advice_is_for_the_run_asked_about(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    stored(db, *scene(CALM * 0.3))
    stored(db, *scene(CALM))
    assert fertrack(["diagnose", "1", "--db", db.name]) == 0
    (usually,) = [line for line in capsys.readouterr().out.splitlines() if "usually: " in line]
    assert re.search(r"fertrack rescore 1 --set .*fallback_threshold=0\.3 --db \S+ puts one", usually)
    assert "last" not in usually


# Words --------------------------------------------------------------------------------------------------------------


def test_the_guide_says_the_same() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| what you see")]
    assert rows == [f"| {each.seen} | {each.cause} | {each.change} |" for each in (*SYMPTOMS, *OTHER_SYMPTOMS)]
    assert int(re.search(r"looks for these (\d+)", PAGE)[1]) == len(SYMPTOMS)  # type: ignore[index]


def test_every_option_in_the_words_exists() -> None:
    for symptom in (*SYMPTOMS, *OTHER_SYMPTOMS):
        for override in re.findall(r"--set ('[^']*'|\S+?)(?=`| )", symptom.change):
            load_settings(overrides=[override.strip("'")])


def test_the_command_tells_people_and_machines(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    stored(db, *scene(np.concatenate([CALM, CALM * 0.3])))
    assert fertrack(["diagnose", "last", "--db", db.name]) == 0
    shown = capsys.readouterr().out
    assert "many uncertain: " in shown
    assert re.search(r"helps:  fertrack rescore 1 --set .* --db ", shown)
    assert "suggestion: this run's own class shares" in shown
    assert fertrack(["diagnose", "last", "--db", db.name, "--json"]) == 0
    assert '"symptom": "many_uncertain"' in capsys.readouterr().out
    stored(db, *scene(CALM))
    assert fertrack(["diagnose", "2", "--db", db.name]) == 0
    assert "none of the known symptoms in 240 faces" in capsys.readouterr().out
