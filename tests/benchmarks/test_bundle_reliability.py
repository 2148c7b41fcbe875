"""The reliability diagram of a classifier: measured right, kept in its bundle, carried by every run."""

from __future__ import annotations

import doctest
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from fertrack.benchmarks import bundle_reliability as measuring
from fertrack.benchmarks.bundle_reliability import (
    crosswise_probabilities,
    measure_bundle,
    measure_reliability,
    write_into,
)
from fertrack.errors import ModelError
from fertrack.expression.calibration import CalibrationRecord, Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig
from fertrack.expression.reliability import Reliability, ReliabilityBin
from fertrack.models.bundle import load_bundle

SHIPPED = Path(load_bundle("default").folder)


def faces(confidence: float, right: int, wrong: int) -> tuple[np.ndarray, np.ndarray]:
    rest = (1.0 - confidence) / 6
    probabilities = np.full((right + wrong, 7), rest, np.float32)
    probabilities[:, 3] = confidence
    return probabilities, np.array([3] * right + [0] * wrong, np.int64)


def test_bins_say_how_often_it_was_right() -> None:
    sure, unsure = faces(0.9, 8, 2), faces(0.5, 3, 1)
    found = measure_reliability(
        np.concatenate([sure[0], unsure[0]]), np.concatenate([sure[1], unsure[1]]), data="d", setting="s", bins=10
    )
    assert [(each.faces, each.right) for each in found.bins] == [(4, 0.75), (10, 0.8)]
    assert [each.confidence for each in found.bins] == pytest.approx([0.5, 0.9], abs=1e-4)
    assert found.ece == pytest.approx((4 * 0.25 + 10 * 0.1) / 14, abs=1e-4)


def test_without_faces_there_is_nothing_to_measure() -> None:
    with pytest.raises(ValueError, match="at least one"):
        measure_reliability(np.empty((0, 7), np.float32), np.empty(0, np.int64), data="d", setting="s")


def test_each_half_is_scored_with_the_temperature_of_the_other() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 7, 4000)
    logits = random.normal(0, 1, (4000, 7)).astype(np.float32)
    logits[np.arange(4000), labels] += 2.0
    own = ClassifierCalibration(classifier="x", calibrated=True, temperature=9.0)
    scored, temperatures = crosswise_probabilities(3 * logits, labels, own)
    assert temperatures == pytest.approx((1.5, 1.5), rel=0.1)  # ln p(class | z) is 2 z: sharper by 2, after 3 x
    assert len(set(temperatures)) == 2
    assert measure_reliability(scored, labels, data="d", setting="s").ece < 0.03
    np.testing.assert_allclose(scored.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 11}, "the bins hold 10 faces"),
        ({"ece": 0.2}, "does not fit its bins"),
        ({"bins": ()}, "at least 1 item"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    one = {"low": 0.5, "high": 0.6, "faces": 10, "confidence": 0.55, "right": 0.6}
    table = {"data": "d", "setting": "s", "samples": 10, "ece": 0.05, "bins": [one]}
    assert Reliability.model_validate(table).bins[0].faces == 10
    with pytest.raises(ValidationError, match=message):
        Reliability.model_validate(table | change)


def test_overlapping_bins_are_refused() -> None:
    bins = [ReliabilityBin(low=low, high=low + 0.2, faces=1, confidence=low, right=low) for low in (0.5, 0.6)]
    with pytest.raises(ValidationError, match="must not overlap"):
        Reliability(data="d", setting="s", samples=2, ece=0.0, bins=tuple(bins))


def test_the_table_goes_into_the_bundle_and_comes_back(tmp_path: Path) -> None:
    bundle = shutil.copytree(SHIPPED, tmp_path / "bundle")
    before = load_bundle(bundle).card
    probabilities, labels = faces(0.9, 8, 2)
    found = measure_reliability(probabilities, labels, data='pictures "of mine"', setting="s")
    write_into(bundle, found)
    once = (bundle / "bundle.toml").read_text(encoding="utf-8")
    write_into(bundle, found)
    assert (bundle / "bundle.toml").read_text(encoding="utf-8") == once
    after = load_bundle(bundle)
    assert after.card.reliability == after.calibration.reliability == found
    assert after.card.model_copy(update={"reliability": before.reliability}) == before
    with pytest.raises(ModelError, match="no classifier bundle"):
        write_into(tmp_path / "nothing", found)


def test_a_bundle_without_a_table_is_a_bundle_that_was_not_measured(tmp_path: Path) -> None:
    bundle = shutil.copytree(SHIPPED, tmp_path / "bundle")
    card = bundle / "bundle.toml"
    card.write_text(measuring._TABLE.sub("", card.read_text(encoding="utf-8")), encoding="utf-8")
    loaded = load_bundle(bundle)
    assert loaded.calibration.reliability is None
    record = Calibrator(CalibrationConfig(), loaded.calibration).record.to_json()
    assert "reliability" not in record["classifier_calibration"]
    assert CalibrationRecord.from_json(record).classifier == loaded.calibration


def test_every_run_carries_it() -> None:
    own = load_bundle("default").calibration
    assert own.reliability is not None
    record = Calibrator(CalibrationConfig(temperature=2.0), own).record.to_json()
    assert CalibrationRecord.from_json(record).classifier == own
    record["classifier_calibration"]["reliability"]["ece"] = 0.9
    with pytest.raises(ValueError, match="does not fit"):
        CalibrationRecord.from_json(record)


def test_a_bundle_is_measured_at_its_own_setting() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (500, 7)).astype(np.float32)
    labels = logits.argmax(axis=1)
    own = load_bundle("default").calibration
    found = measure_bundle("default", logits, labels, data="d", crosswise=False)
    direct = Calibrator(CalibrationConfig(), replace(own, reliability=None)).probabilities(logits)
    assert found.bins == measure_reliability(direct, labels, data="d", setting="s").bins
    assert found.setting == f"prior strength {own.prior_strength:g}, T {own.temperature:.3g}"
    assert "crosswise" in measure_bundle("default", logits, labels, data="d").setting


def test_documented_examples() -> None:
    assert doctest.testmod(measuring).failed == 0


@pytest.mark.shared
def test_from_pictures_to_table(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(shared_data / "fer" / "fer2013_train_publictest.npz", allow_pickle=False) as stored:
        public = np.flatnonzero(stored["split"] == stored["split_names"].tolist().index("PublicTest"))[:60]
        names = ("split_names", "ferplus_vote_names")
        few = {name: stored[name][public] for name in ("images", "split", "ferplus_votes")}
        np.savez(tmp_path / "few.npz", **few, **{name: stored[name] for name in names})
    assert measuring.main([str(tmp_path / "few.npz")]) == 0
    assert "[reliability]" in capsys.readouterr().out
    bundle = shutil.copytree(SHIPPED, tmp_path / "bundle")
    assert measuring.main([str(tmp_path / "few.npz"), "--bundle", str(bundle), "--write"]) == 0
    written = load_bundle(bundle).card.reliability
    assert written is not None
    assert 40 < written.samples <= 60
