"""Figures by hand, intervals against theory, pictures and files of an evaluation."""

from __future__ import annotations

import csv
import doctest
import json
import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from fertrack.errors import OutputExistsError
from fertrack.evaluation import intervals as intervals_module
from fertrack.evaluation.datasets.open import LabelledSet
from fertrack.evaluation.expression.classify import Answers
from fertrack.evaluation.expression.figures import CURVES_NOTE, confusion_svg, coverage_svg, curves_svg, reliability_svg
from fertrack.evaluation.expression.measures import (
    ReliabilityBin,
    brier_score,
    class_weights,
    confusion_matrix,
    decisions,
    equal_mass_calibration_error,
    expected_calibration_error,
    macro_f1,
    reliability_bins,
    soft_calibration_error,
    stratified_folds,
    vote_divergence,
)
from fertrack.evaluation.expression.page import facts_html, page_html, table_html
from fertrack.evaluation.expression.report import (
    evaluate_answers,
    plain,
    prior_rows,
    speed_words,
    to_json,
    write_evaluation,
)
from fertrack.evaluation.expression.scores import INTERVALS_NOTE, score_expressions
from fertrack.evaluation.intervals import Interval, bootstrap, wilson
from fertrack.expression.calibration import Calibrator, ClassifierCalibration, by_expression
from fertrack.expression.config import CalibrationConfig
from fertrack.types import EXPRESSIONS
from tests.evaluation.expression.test_measures import calibrated_world, certain, probabilities

EQUAL = np.full(7, 1 / 7)
OWN_SHARES = np.array([0.05, 0.02, 0.03, 0.3, 0.1, 0.1, 0.4])


# Measures -----------------------------------------------------------------------------------------------------------


def test_brier_by_hand() -> None:
    labels = np.array([0, 1], np.int64)
    p = np.array([[0.6, 0.4, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]], np.float32)
    assert brier_score(p, labels, class_weights(labels)) == pytest.approx((0.32 + 2.0) / 2, abs=1e-6)


def test_macro_f1_by_hand_counts_only_expressions_that_occur() -> None:
    labels = np.array([0, 0, 0, 1], np.int64)
    given = np.array([0, 0, 1, 2], np.int64)
    # surprise: 2 hits, 3 own, 2 answers; fear: no hit. Disgust never occurs, and has no F1 to be averaged.
    assert macro_f1(given, labels, class_weights(labels)) == pytest.approx((2 * 2 / 5 + 0.0) / 2)


def test_confusion_counts_labels_against_answers_and_uncertain() -> None:
    table = confusion_matrix(np.array([0, 1, -1, 1]), np.array([0, 0, 0, 1]))
    assert table.shape == (7, 8)
    assert (table[0, 0], table[0, 1], table[0, 7], table[1, 1], table.sum()) == (1, 1, 1, 1, 4)


def test_a_label_needs_its_threshold_which_may_differ_by_face() -> None:
    p = certain(0, 1, confidence=0.5)
    assert decisions(p, np.full(7, 0.5)).tolist() == [0, 1]
    assert decisions(p, [0.4, 0.6, 0, 0, 0, 0, 0]).tolist() == [0, -1]
    assert decisions(p, np.array([np.full(7, 0.9), np.full(7, 0.1)])).tolist() == [-1, 1]


def test_votes_are_matched_exactly_or_not() -> None:
    votes = np.array([[0.5, 0.5, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0]], np.float32)
    weights = np.full(2, 0.5)
    assert vote_divergence(votes, votes, weights) == pytest.approx(0.0, abs=1e-6)
    uniform = np.full((2, 7), 1 / 7, np.float32)
    assert vote_divergence(uniform, votes, weights) == pytest.approx((math.log(3.5) + math.log(7)) / 2, abs=1e-5)
    assert soft_calibration_error(votes, votes, weights) == pytest.approx(0.0, abs=1e-7)
    sure = certain(0, 2)
    assert soft_calibration_error(sure, votes, weights) == pytest.approx(0.25)


def test_the_reliability_diagram_sums_up_to_the_calibration_error() -> None:
    labels, logits = calibrated_world(4000, EQUAL)
    p, weights = probabilities(2.5 * logits), class_weights(labels)
    bins = reliability_bins(p, labels)
    assert len(bins) == 15
    assert sum(each.share for each in bins) == pytest.approx(1.0)
    gaps = [each.share * abs(each.accuracy - each.confidence) for each in bins if each.share]
    assert sum(gaps) == pytest.approx(expected_calibration_error(p, labels, weights), abs=1e-9)
    assert all(each.low <= each.confidence <= each.high for each in bins if each.share)


def test_bins_of_equal_mass_see_what_one_wide_bin_hides() -> None:
    # Half of the faces are surer than they may be, half less sure; in a single bin the two cancel.
    labels = np.zeros(200, np.int64)
    confidence = np.repeat([0.991, 0.999], 100)
    p = np.stack([confidence, 1 - confidence, *np.zeros((5, 200))], axis=1).astype(np.float32)
    right = np.zeros(200, bool)
    right[:100], right[100:] = True, np.arange(100) < 99
    labels[~right] = 1
    weights = class_weights(labels)
    narrow = equal_mass_calibration_error(p, labels, weights, bins=2)
    assert narrow == pytest.approx((0.009 + 0.009) / 2, abs=1e-6)
    assert expected_calibration_error(p, labels, weights) == pytest.approx(0.0, abs=1e-6)


def test_folds_hold_out_every_class_evenly_and_never_part_a_group() -> None:
    labels = np.repeat(np.arange(7), [5, 6, 7, 50, 51, 52, 100]).astype(np.int64)
    fold = stratified_folds(labels, 5)
    table = np.stack([np.bincount(fold[labels == k], minlength=5) for k in range(7)])
    assert (np.ptp(table, axis=1) <= 1).all()
    assert np.ptp(table.sum(axis=0)) <= 1
    groups = np.arange(len(labels)) // 4
    grouped = stratified_folds(labels, 3, groups=groups)
    assert all(len(set(grouped[groups == group])) == 1 for group in np.unique(groups))
    np.testing.assert_array_equal(fold, stratified_folds(labels, 5))


# Intervals ----------------------------------------------------------------------------------------------------------


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
    assert doctest.testmod(intervals_module).failed == 0


def test_the_bootstrap_covers_what_theory_says_and_groups_widen_it() -> None:
    labels = np.zeros(400, np.int64)
    right = np.arange(400) < 320

    def share(rows: np.ndarray) -> np.ndarray:
        return np.array([right[rows].mean()])

    alone = bootstrap(share, labels)[0]
    half_width = 1.96 * math.sqrt(0.8 * 0.2 / 400)
    assert (alone.low, alone.high) == pytest.approx((0.8 - half_width, 0.8 + half_width), abs=0.006)
    together = bootstrap(share, labels, groups=np.arange(400) // 40)[0]
    assert together.high - together.low > 4 * (alone.high - alone.low)
    assert bootstrap(share, labels, resamples=0) == [Interval(0.8, 0.8, 0.8)]
    assert math.isnan(bootstrap(lambda _: np.array([math.nan]), labels, resamples=3)[0].low)


# Scores and files ---------------------------------------------------------------------------------------------------


def test_all_figures_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2], np.int64)
    p = np.stack(
        [
            *certain(0, confidence=0.9),
            *certain(0, confidence=0.5),
            *certain(1, 1, 0, confidence=0.9),
            certain(1, confidence=0.5)[0],
        ]
    )
    tied = np.array([False, True, False, False, False, False])
    votes = np.full((6, 7), 1 / 7, np.float32)
    found = score_expressions(
        p, labels, np.full(7, 0.6), votes=votes, tied=tied, not_found=np.array([6, 6]), resamples=20
    )
    value = {name: each.value for name, each in found.measures.items()}
    assert value["accuracy"] == pytest.approx(3 / 6)
    assert value["mean_class_recall"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert value["macro_f1"] == pytest.approx((2 * 2 / 6 + 2 * 1 / 5 + 0) / 3)
    assert value["coverage"] == pytest.approx(4 / 6)
    assert value["labelled_accuracy"] == pytest.approx(2 / 4)
    assert value["accuracy_untied"] == pytest.approx(2 / 5)
    assert value["accuracy_of_all"] == pytest.approx(3 / 8)
    assert found.not_found == {"neutral": 2}
    surprise, fear, disgust = found.classes[:3]
    assert (surprise.pictures, fear.pictures, found.classes[3].pictures) == (3, 2, 0)
    assert (surprise.recall.value, surprise.labelled.value) == pytest.approx((2 / 3, 1 / 3))
    assert (surprise.precision.value, surprise.labelled_precision.value) == pytest.approx((2 / 3, 1 / 2))
    assert (fear.precision.value, fear.labelled_precision.value) == pytest.approx((1 / 3, 1 / 2))
    assert math.isnan(disgust.precision.value)
    assert found.confusion[2][:3] == [0, 1, 0]
    assert found.confusion_labelled[2][7] == 1
    accuracy = found.measures["accuracy"]
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert found.coverage[0] == (0.15, 1.0, pytest.approx(0.5))
    assert math.isnan(found.coverage[-1][2]), "nobody is that sure"


def test_plain_shares_have_intervals_even_where_all_are_right() -> None:
    labels = np.repeat(np.arange(4), 7).astype(np.int64)
    sure = score_expressions(certain(*labels), labels, np.zeros(7), not_found=np.array([6, 6]), resamples=20).measures
    assert sure["accuracy"] == sure["labelled_accuracy"] == sure["coverage"] == wilson(28, 28)
    assert sure["accuracy_of_all"] == wilson(28, 30)
    tied = np.arange(28) < 8
    untied = score_expressions(certain(*labels), labels, np.zeros(7), tied=tied, resamples=20).measures
    assert untied["accuracy_untied"] == wilson(20, 20)
    silent = score_expressions(certain(*labels), labels, np.full(7, 1.1), resamples=20).measures
    assert silent["coverage"] == wilson(0, 28)
    assert math.isnan(silent["labelled_accuracy"].low), "of no labels no share is known, nor an interval"


def test_faces_of_one_moment_do_not_count_as_many() -> None:
    labels, logits = calibrated_world(400, EQUAL)
    p, thresholds = probabilities(logits), np.zeros(7)
    alone = score_expressions(p, labels, thresholds, resamples=100).measures["accuracy"]
    assert alone == wilson(int((p.argmax(axis=1) == labels).sum()), 400)
    order = np.argsort(labels, kind="stable")
    groups = np.arange(400) // 20
    together = score_expressions(p[order], labels[order], thresholds, groups=groups, resamples=100).measures["accuracy"]
    assert (together.low, together.high) != (alone.low, alone.high)
    without = score_expressions(p, labels, thresholds, resamples=0).measures["accuracy"]
    assert without.low == without.high == alone.value


def test_an_expression_without_pictures_has_no_precision_and_no_f1() -> None:
    labels = np.array([0, 0, 1], np.int64)
    found = score_expressions(certain(0, 3, 2), labels, np.zeros(7), resamples=0)
    happiness, fear = found.classes[3], found.classes[1]
    assert math.isnan(happiness.f1)
    assert math.isnan(happiness.precision.value)
    assert math.isnan(happiness.labelled_precision.value)
    assert (fear.f1, fear.recall.value) == (0.0, 0.0), "it has a picture, which was not recognised"


def test_slow_speeds_are_not_rounded_to_nothing() -> None:
    assert speed_words({"pictures_looked_at_per_s": 0.0432, "faces_classified_per_s": math.nan}) == (
        "0.043 pictures looked at a second"
    )
    assert speed_words({"faces_classified_per_s": 598.4}) == "598 faces classified a second"
    assert speed_words({"faces_classified_per_s": 5.24}) == "5.2 faces classified a second"


def test_what_cannot_be_measured_is_left_out() -> None:
    labels = np.array([0, 1], np.int64)
    found = score_expressions(certain(0, 0), labels, np.zeros(7), resamples=0)
    assert not {"kl_votes", "ece_soft", "accuracy_untied", "accuracy_of_all"} & set(found.measures)
    with pytest.raises(ValueError, match="N > 0"):
        score_expressions(np.empty((0, 7), np.float32), labels[:0], np.zeros(7))


def evaluation(tmp_path: Path, folder: str = "out"):
    labels, logits = calibrated_world(300, EQUAL)
    images = np.zeros((300, 4, 4), np.uint8)
    labelled = LabelledSet("<set>", "test", labels, images=images, left_out={"of other classes": 3})
    logits[0] = np.nan
    found = np.isfinite(logits).all(axis=1)
    answers = Answers(logits, found, True, 2.0, 0.5, "mine 1", "detector 2")
    calibrator = Calibrator(CalibrationConfig(), ClassifierCalibration.uncalibrated("mine 1"))
    made = evaluate_answers(labelled, answers, calibrator, resamples=10)
    return made, write_evaluation(made, tmp_path / folder)


def test_an_evaluation_becomes_four_files(tmp_path: Path) -> None:
    made, files = evaluation(tmp_path)
    assert [path.name for path in files] == ["expression.json", "confusion.csv", "confusion.svg", "expression.html"]
    record = json.loads(files[0].read_text())
    assert record["scores"]["faces"] == 299
    assert record["scores"]["measures"]["accuracy"]["value"] == made.scores.measures["accuracy"].value
    assert record["throughput"]["faces_classified_per_s"] == 598.0
    assert record["facts"]["left out"] == "3 of other classes"
    assert "299 of 300 faces found" in record["facts"]["crops"]
    assert record["priors"] == [], "which shares it was trained with is not known"
    rows = list(csv.reader(files[1].read_text().splitlines()))
    assert len(rows) == 8
    assert sum(int(cell) for row in rows[1:] for cell in row[8:]) == 299
    html = files[3].read_text()
    assert "&lt;set&gt;" in html
    assert "<set>" not in html
    assert html.count("<svg") == 4
    assert "nobody has calibrated it" in html
    assert INTERVALS_NOTE in html
    assert CURVES_NOTE in html
    with pytest.raises(OutputExistsError):
        write_evaluation(made, tmp_path / "out")
    json.dumps(plain(to_json(made)), allow_nan=False)


def test_the_natural_prior_is_the_sets_own_shares_in_the_place_of_trainings_after_the_temperature() -> None:
    # A world with shares of its own, seen by a network that was trained at equal shares and is too unsure by half.
    labels, natural = calibrated_world(6000, OWN_SHARES)
    logits = (0.5 * (natural - np.log(OWN_SHARES))).astype(np.float32)
    own = ClassifierCalibration(classifier="mine 1", calibrated=True, temperature=0.5, training_prior=(1 / 7,) * 7)
    rows = {row.assumed: row for row in prior_rows(logits, labels, Calibrator(CalibrationConfig(), own))}
    assert list(rows) == ["training's", "as configured", "equal", "this set's own"]
    assert rows["this set's own"].strength == 1.0
    assert rows["this set's own"].accuracy == pytest.approx((natural.argmax(axis=1) == labels).mean(), abs=0.005)
    assert rows["this set's own"].accuracy > rows["training's"].accuracy + 0.03
    raw = ((logits + np.log(OWN_SHARES)).argmax(axis=1) == labels).mean()
    assert rows["this set's own"].accuracy > raw + 0.005, "the shares are exchanged after the temperature, not before"
    assert rows["this set's own"].ece < 0.02
    # A target of one's own changes what is configured, not what "equal" means.
    config = CalibrationConfig(prior_strength=1.0, target_prior=by_expression(OWN_SHARES))
    other = {row.assumed: row for row in prior_rows(logits, labels, Calibrator(config, own))}
    assert other["equal"] == rows["equal"]
    assert other["as configured"].accuracy == pytest.approx(rows["this set's own"].accuracy, abs=0.01)


def test_what_was_configured_is_said() -> None:
    labels, logits = calibrated_world(50, EQUAL)
    labelled = LabelledSet("set", "test", labels, images=np.zeros((50, 4, 4), np.uint8))
    answers = Answers(logits, np.ones(50, bool), False, 1.0, 1.0, "mine 1")
    config = CalibrationConfig(
        prior_strength=1.0,
        target_prior=by_expression(OWN_SHARES),
        bias={"fear": 0.5},
        scale={"anger": 1.2},
    )
    calibrator = Calibrator(config, ClassifierCalibration.uncalibrated("mine 1"))
    said = evaluate_answers(labelled, answers, calibrator, resamples=0).facts["calibration"]
    assert "target prior surprise 0.05" in said
    assert "scale surprise 1 fear 1 disgust 1 happiness 1 sadness 1 anger 1.2" in said
    assert "bias surprise 0 fear 0.5" in said


def test_without_draws_there_is_no_bracket() -> None:
    assert str(Interval(0.5, 0.5, 0.5)) == "0.500"
    assert str(Interval(0.5, 0.4, 0.6)) == "0.500 (0.400-0.600)"


def test_pictures_are_proper_svg_and_say_what_they_show() -> None:
    labels, logits = calibrated_world(500, EQUAL)
    p = probabilities(logits)
    scores = score_expressions(p, labels, np.full(7, 0.5), resamples=0)
    matrix = confusion_svg(scores.confusion_labelled, "A & B")
    assert "uncertain" in matrix
    assert "uncertain" not in confusion_svg(scores.confusion, "x")
    for text in (
        matrix,
        reliability_svg({"one": scores.reliability, "two": scores.reliability}, "R"),
        coverage_svg({"one": scores.coverage, "none": []}, "C"),
    ):
        root = ET.fromstring(text)
        assert root.tag.endswith("svg")
    labels_shown = {node.text for node in ET.fromstring(matrix).iter() if node.text}
    assert {"A & B", *EXPRESSIONS} <= labels_shown
    assert str(scores.confusion_labelled[0][0]) in labels_shown


SVG = "{http://www.w3.org/2000/svg}"


def dark_fills(text: str) -> dict[str, str]:
    """Colour by class in the dark theme, from the style sheet inside a picture."""
    return dict(re.findall(r"\.(fill-[\w-]+)\{fill:(#\w{6})\}", text))


def channels(colour: str) -> np.ndarray:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255


def luminance(rgb: np.ndarray) -> float:
    """WCAG 2.1, relative luminance of sRGB channels, 0 to 1."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_digits_in_cells_of_every_shade_can_be_read_in_both_themes() -> None:
    opacities = set()
    for first in range(0, 504, 7):  # all thousandths from 0 to 1
        rows = [[count, 1000 - count, 0, 0, 0, 0, 0, 0] for count in range(first, first + 7)]
        text = confusion_svg(rows, "T")
        nodes, dark = list(ET.fromstring(text)), dark_fills(text)
        ground = next(node for node in nodes if node.tag == f"{SVG}rect")
        for at in (at for at, node in enumerate(nodes) if node.get("fill-opacity")):
            opacity = float(nodes[at].get("fill-opacity", ""))
            opacities.add(opacity)
            for digits in nodes[at + 1 : at + 3]:
                drawn = (ground, nodes[at], digits)
                for colours in ([n.get("fill", "") for n in drawn], [dark[n.get("class", "")] for n in drawn]):
                    behind, shade, ink = (channels(colour) for colour in colours)
                    assert contrast(ink, opacity * shade + (1 - opacity) * behind) >= 4.5, (opacity, colours)
    assert (len(opacities), min(opacities), max(opacities)) == (921, 0.04, 0.96)


def test_figures_have_a_dark_theme_that_can_be_read() -> None:
    text = coverage_svg({name: [] for name in "abcd"}, "C")
    assert "@media screen and (prefers-color-scheme:dark)" in text
    dark = dark_fills(text)
    for node in ET.fromstring(text).iter():
        if node.get("fill", "none") != "none":
            assert node.get("class") in dark, "each colour has one for the dark"
    for name, least in {"ink": 7.0, "muted": 4.5, **{f"series-{at}": 3.0 for at in range(4)}}.items():
        assert contrast(channels(dark[f"fill-{name}"]), channels(dark["fill-ground"])) >= least


def test_bins_of_few_faces_are_faint_dots_beside_the_line() -> None:
    bins = [
        ReliabilityBin(0.2, 0.3, 0.005, 0.25, 0.0),
        ReliabilityBin(0.5, 0.6, 0.495, 0.55, 0.5),
        ReliabilityBin(0.9, 1.0, 0.5, 0.95, 1.0),
    ]
    nodes = list(ET.fromstring(reliability_svg({"one": bins}, "R")).iter())
    opacities = [float(node.get("fill-opacity", "")) for node in nodes if node.tag == f"{SVG}circle"]
    assert opacities[0] < opacities[1] == opacities[2]
    line = next(node for node in nodes if node.get("class") == "stroke-series-0")
    assert line.get("d", "").startswith(f"M{52 + 0.55 * 300:.1f} "), "it begins at the first bin that tells something"
    assert line.get("d", "").count("L") == 1


@pytest.mark.parametrize(
    ("lowest", "first"), [(0.86, "0.8"), (0.8, "0.7"), (1.0, "0.9"), (0.31, "0.3"), (0.05, "0"), (0.0, "0")]
)
def test_the_coverage_axis_begins_a_bit_under_the_lowest_accuracy(lowest: float, first: str) -> None:
    text = coverage_svg({"one": [(0.5, 1.0, lowest), (0.9, 0.5, 1.0), (0.95, 0.0, math.nan)]}, "C")
    nodes = [node for node in ET.fromstring(text).iter() if node.text]
    ticks = [node.text for node in nodes if node.get("text-anchor") == "end"]
    assert (ticks[0], ticks[-1]) == (first, "1")
    low = float(first)
    assert f'd="M352.0 {30 + 300 * (1 - (lowest - low) / (1 - low)):.1f}L202.0 30.0"' in text
    assert any(f"from {first} up" in (node.text or "") for node in nodes) == (low > 0.0)


def test_curves_span_their_values() -> None:
    text = curves_svg({"up": [0.5, math.nan, 0.7], "flat": [0.6] * 3}, "T", "epoch", "nats")
    shown = [node.text for node in ET.fromstring(text).iter() if node.text]
    assert {"T: nats", "0.5", "0.7", "0", "3", "epoch", "up", "flat"} <= set(shown)
    left, top, right, bottom = 152, 30, 352, 330  # first value at a third of the width, below; last above, at its end
    assert f'd="M{left:.1f} {bottom:.1f}L{right:.1f} {top:.1f}"' in text
    ET.fromstring(curves_svg({"none": []}, "T", "epoch", "nats"))


def test_pages_escape_and_align() -> None:
    text = page_html("<b>", [facts_html({"a&b": 0.5}), table_html(["<i>"], [[1], ["x"], [math.nan]])])
    assert "<b>" not in text
    assert "<i>" not in text
    assert "<td class=number>1</td>" in text
    assert "<td>x</td>" in text
    assert "position: sticky" in text
    assert text.count('<table class="rows">') == 1, "only tables with a column of names hold it in place"
    assert "–" in text
    assert "<td>0.500</td>" in text
