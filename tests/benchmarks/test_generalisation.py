"""How far labels carry: which faces are judged, and what the table says of them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from fertrack.benchmarks.calibration_by_set import calibration_by_set
from fertrack.benchmarks.generalisation import PRIORS, main, own_summary, score
from fertrack.benchmarks.generalisation_sets import LEARNED, FaceSet, read_sets
from fertrack.benchmarks.generalisation_text import report, summary
from fertrack.errors import EvaluationError
from fertrack.evaluation.datasets.apart import kept_apart
from fertrack.evaluation.datasets.open import LabelledSet, read_labelled
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig
from fertrack.models.bundle import load_bundle
from fertrack.types import EXPRESSIONS

NEUTRAL = EXPRESSIONS.index("neutral")


def own(**changes: object) -> ClassifierCalibration:
    values: dict[str, object] = {
        "classifier": "mine 1",
        "temperature": 1.0,
        "training_prior": (0.05,) * 6 + (0.7,),
        "prior_strength": 0.0,
        "calibrated": True,
        "biases": (0.0,) * 7,
    }
    return ClassifierCalibration(**{**values, "thresholds": (0.0,) * 7, **changes})  # type: ignore[arg-type]


def listed(folder: Path, rows: list[dict[str, str]]) -> Path:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for row in rows:
        assert cv2.imwrite(str(folder / row["file"]), np.full((40, 40, 3), 90, np.uint8))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "labels.csv"


def faces_of(people: int, each: int = 3) -> list[dict[str, str]]:
    return [
        {"file": f"images/{person}_{shot}.png", "label": "happy", "subject": f"P{person}"}
        for person in range(people)
        for shot in range(each)
    ]


def test_a_person_is_kept_apart_with_all_pictures_or_with_none(tmp_path: Path) -> None:
    labelled = read_labelled(listed(tmp_path, faces_of(60)))
    apart = kept_apart(labelled, 0.3)
    by_person = {subject: set(apart[np.array(labelled.subjects) == subject]) for subject in labelled.subjects}
    assert all(len(answers) == 1 for answers in by_person.values())
    assert 0.1 < apart.mean() < 0.5


def test_who_is_kept_apart_does_not_depend_on_the_others(tmp_path: Path) -> None:
    labelled = read_labelled(listed(tmp_path, faces_of(40)))
    rows = np.arange(len(labelled))[::-2]
    assert kept_apart(labelled.some(rows), 0.3).tolist() == kept_apart(labelled, 0.3)[rows].tolist()


def test_all_or_none_are_kept_apart_without_asking_for_names() -> None:
    nameless = read_labelled_npz()
    assert kept_apart(nameless, 1.0).all()
    assert not kept_apart(nameless, 0.0).any()
    with pytest.raises(EvaluationError, match="names neither persons nor files"):
        kept_apart(nameless, 0.5)


def read_labelled_npz() -> LabelledSet:
    return LabelledSet("made", "arrays", np.zeros(3, np.int64), images=np.zeros((3, 8, 8), np.uint8))


def test_assuming_equal_shares_takes_the_shares_of_training_out() -> None:
    # As trained neutral wins everywhere; its head start in training is larger than what the face says for it.
    logits = np.zeros((10, 7), np.float32)
    logits[:, NEUTRAL] = math.log(0.7 / 0.05) - 0.1
    labels = np.zeros(10, np.int64)
    assert score(logits, labels, own(), "as shipped", resamples=0).neutral.value == 1.0
    assert score(logits, labels, own(), "uniform", resamples=0).accuracy.value == 1.0


def test_the_natural_prior_is_the_sets_own() -> None:
    logits = np.full((4, 7), -5.0, np.float32)
    logits[:, 1], logits[:, 2] = 0.0, 0.1
    labels = np.array([1, 1, 1, 2])
    found = score(logits, labels, own(training_prior=(1 / 7,) * 7), "natural", resamples=0)
    assert found.accuracy.value == 0.75
    assert found.recalls[1] == 1.0
    assert found.recalls[2] == 0.0
    assert math.isnan(found.recalls[0])


def test_neutral_faces_called_neutral_are_no_fault() -> None:
    logits = np.zeros((4, 7), np.float32)
    logits[:3, NEUTRAL], logits[3, 0] = 9.0, 9.0
    labels = np.array([NEUTRAL, NEUTRAL, 0, 0])
    found = score(logits, labels, own(training_prior=(1 / 7,) * 7), "uniform", resamples=0)
    assert found.neutral.value == 0.5
    assert found.accuracy.value == 0.75


def test_a_winner_below_its_threshold_is_uncertain() -> None:
    logits = np.zeros((2, 7), np.float32)
    logits[1, 3] = 9.0
    found = score(logits, np.array([3, 3]), own(thresholds=(0.5,) * 7), "as shipped", resamples=0)
    assert found.uncertain.value == 0.5


def test_the_table_has_a_row_a_classifier_and_marks_sets_with_persons_kept_apart() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 70)
    outcomes = {
        (bundle, name, prior): score(rng.normal(size=(70, 7)).astype(np.float32), labels, own(), prior, resamples=20)
        for bundle in ("a 1", "b 2")
        for name in ("seen", "unseen")
        for prior in PRIORS
    }
    sets = [("seen", True), ("unseen", False)]
    head, _, first, second = summary(("a 1", "b 2"), sets, outcomes).splitlines()
    assert "| seen* | unseen |" in head
    judged = outcomes["a 1", "unseen", "uniform"].accuracy.value
    assert first.split(" | ")[3] == f"{judged:.3f}"
    assert second.startswith("| b 2 |")
    text = report([("a 1", "a 1 sha256:0"), ("b 2", "b 2 sha256:1")], sets, outcomes)
    assert text.count("| natural |") == 4
    assert "## unseen: 70 faces, judged only" in text


def test_a_set_to_learn_from_is_judged_by_persons_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found_at = np.array([[12, 14], [28, 14], [20, 22], [14, 30], [26, 30]], np.float32)
    monkeypatch.setattr("fertrack.benchmarks.generalisation_sets.landmarks_of", lambda *_: found_at)
    rows = faces_of(40, each=2)
    for name in ("rafd", "jaffe"):
        listed(tmp_path / "faces" / name, rows)
    jaffe, rafd = read_sets(None, tmp_path / "faces", tmp_path / "cache")
    assert (jaffe.name, jaffe.apart, len(jaffe.labelled)) == ("jaffe", False, 80)
    whole = read_labelled(tmp_path / "faces" / "rafd" / "labels.csv")
    assert rafd.apart
    assert len(rafd.labelled) == kept_apart(whole, LEARNED["rafd"]).sum()
    out = tmp_path / "out.md"
    assert main([str(out), "--faces", str(tmp_path / "faces"), "--cache", str(tmp_path / "cache")]) == 0
    assert "| ferplus-compact" in out.read_text(encoding="utf-8")


def test_a_card_has_one_row_of_the_table_and_what_its_thresholds_are_worth_on_each_set() -> None:
    labels = np.array([0, 0, 1, 1])
    logits = np.zeros((4, 7), np.float32)
    logits[[0, 1, 2], [0, 1, 1]] = 9.0  # right, wrong, right; the last says nothing
    faces = FaceSet(
        "few", LabelledSet("few", "made", labels, images=np.zeros((4, 8, 8), np.uint8)), np.zeros((4, 5, 2))
    )
    mine = own(training_prior=(1 / 7,) * 7, thresholds=(0.5,) * 7)
    row = own_summary(load_bundle(), [(faces, logits)], mine).splitlines()[-1]
    assert row.startswith("| ferplus-compact ")
    assert "| 0.500 | 0.500 |" in row
    by_set = calibration_by_set([(faces, logits)], Calibrator(CalibrationConfig(), mine)).splitlines()[-1]
    assert by_set.startswith("| few | 4 | no |")
    assert "| 0.750 (" in by_set, "three faces are given a label"
    assert "| 0.667 (" in by_set, "two of them rightly"
    assert calibration_by_set([], Calibrator(CalibrationConfig(), mine)) == own_summary(load_bundle(), [], mine) == ""


def test_nothing_to_judge_by_is_told(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="nothing to judge by"):
        read_sets(None, tmp_path, tmp_path / "cache")
