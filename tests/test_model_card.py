"""The model card: its shares and intervals by hand, its words, and that the committed one is this classifier's."""

from __future__ import annotations

import doctest
import math
from pathlib import Path

import numpy as np
import pytest
from test_evaluation_expression import voted

from fertrack.evaluation import model_card
from fertrack.evaluation.model_card import class_rows, measure_default, overall, wilson
from fertrack.models.bundle import load_bundle
from fertrack.models.weights import KNOWN
from fertrack.types import EXPRESSIONS

CARD = Path(__file__).resolve().parent.parent / "reports" / "model_card.md"


def certain(expression: int, probability: float) -> np.ndarray:
    row = np.full(7, (1 - probability) / 6, np.float32)
    row[expression] = probability
    return row


def test_wilson_intervals_agree_with_published_ones() -> None:
    # Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for (hits, trials), (low, high) in {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0000, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():
        found = wilson(hits, trials)
        assert found.value == hits / trials
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    nothing = wilson(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0.0, 1.0)


def test_recall_and_precision_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2], np.int64)
    probabilities = np.stack(
        [certain(0, 0.9), certain(0, 0.5), certain(1, 0.9), certain(1, 0.9), certain(0, 0.9), certain(1, 0.5)]
    )
    rows = class_rows(probabilities, labels, np.full(7, 0.6, np.float32))
    surprise, fear, disgust = rows[:3]
    assert [row.expression for row in rows] == list(EXPRESSIONS)
    assert [row.pictures for row in rows] == [3, 2, 1, 0, 0, 0, 0]
    assert (surprise.recall.value, surprise.labelled.value) == pytest.approx((2 / 3, 1 / 3))
    assert (surprise.precision.value, surprise.given) == (0.5, 2)
    assert (fear.recall.value, fear.precision.value, fear.given) == (0.5, 0.5, 2)
    assert (disgust.recall.value, disgust.given) == (0.0, 0)
    assert math.isnan(disgust.precision.value)
    total = overall(probabilities, labels, np.full(7, 0.6, np.float32), resamples=20)
    assert total.accuracy.value == pytest.approx(3 / 6)
    assert total.recall.value == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert total.uncertain.value == pytest.approx(2 / 6)
    assert total.labelled_accuracy.value == pytest.approx(2 / 4)
    assert total.accuracy.low <= total.accuracy.value <= total.accuracy.high


def test_the_whole_card_is_written_from_a_handful_of_pictures(tmp_path: Path) -> None:
    text = measure_default(voted(tmp_path), resamples=5)
    assert "On 3 of FER2013's PublicTest pictures" in text
    assert "| neutral | 2 | " in text
    assert "| happiness | 0 | nan (0.000-1.000)" in text
    assert "{" not in text


def test_the_committed_card_is_of_the_classifier_that_ships() -> None:
    text, bundle = CARD.read_text(encoding="utf-8"), load_bundle("default")
    assert bundle.fingerprint in text
    calibration = bundle.card.calibration
    assert calibration is not None
    assert f"prior strength {calibration.prior_strength:g}, T {calibration.temperature:g}" in text
    assert text.count("not measured") >= 7
    for weights in KNOWN.values():
        assert f"| {weights.name} ({weights.role}) | {weights.licence} | {weights.training_data} |" in text
    for heading in ("Intended use", "How good it is", "Not measured", "Known limits", "Licences of the weights"):
        assert f"## {heading}\n" in text
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.count(" | ") == 5}
    assert set(EXPRESSIONS) <= set(rows)


def test_examples_in_docstrings_run() -> None:
    assert doctest.testmod(model_card).failed == 0
