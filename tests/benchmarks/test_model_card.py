"""The model card: written from what was measured, and the committed one is the shipped classifier's."""

from __future__ import annotations

from pathlib import Path

from fertrack.benchmarks.model_card import main, measure_bundle
from fertrack.models.bundle import load_bundle
from fertrack.models.weights import KNOWN
from fertrack.types import EXPRESSIONS
from tests.evaluation.expression.test_measures import voted
from tests.support.paths import REPOSITORY

CARD = REPOSITORY / "reports" / "model_card.md"


def test_the_whole_card_is_written_from_a_handful_of_pictures(tmp_path: Path) -> None:
    text = measure_bundle(voted(tmp_path), resamples=5)
    assert "| pictures | 3: surprise 0, fear 1, disgust 0, happiness 0, sadness 0, anger 0, neutral 2 |" in text
    assert "| neutral | 2 | " in text
    assert "| happiness | 0 | nan (0.000-1.000)" in text
    assert "{" not in text


def test_it_is_one_command(tmp_path: Path) -> None:
    assert main([str(voted(tmp_path)), str(tmp_path / "card.md")]) == 0
    assert load_bundle().fingerprint in (tmp_path / "card.md").read_text(encoding="utf-8")


def test_the_committed_card_is_of_the_classifier_that_ships() -> None:
    text, bundle = CARD.read_text(encoding="utf-8"), load_bundle("default")
    assert bundle.fingerprint in text
    calibration = bundle.card.calibration
    assert calibration is not None
    assert f"prior strength {calibration.prior_strength:g}, T {calibration.temperature:g}" in text
    assert text.count("not measured") >= 6
    for weights in KNOWN.values():
        assert f"| {weights.name} ({weights.role}) | {weights.licence} | {weights.training_data} |" in text
    for heading in ("Intended use", "How good it is", "Not measured", "Known limits", "Licences of the weights"):
        assert f"## {heading}\n" in text
    rows = {line.split(" | ")[0].strip("| ") for line in text.splitlines() if line.count(" | ") == 6}
    assert set(EXPRESSIONS) <= rows
