"""Calibration: what was put in is found, what is reported is held out, files are read back by what uses them."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from fertrack.benchmarks.publish_bundle import card_tables, main, study_bundle, study_text, write_card_tables
from fertrack.config import load_settings
from fertrack.errors import EvaluationError, ModelError, OutputExistsError
from fertrack.evaluation.datasets.open import LabelledSet
from fertrack.evaluation.expression.classify import Answers
from fertrack.evaluation.expression.figures import CURVES_NOTE
from fertrack.evaluation.expression.measures import class_weights, expected_calibration_error, stratified_folds
from fertrack.evaluation.expression.scores import INTERVALS_NOTE, MEASURES
from fertrack.expression.calibration import Calibrator, ClassifierCalibration, assumed_shares
from fertrack.expression.config import CalibrationConfig
from fertrack.models.bundle import load_bundle
from fertrack.tuning.calibration_file import (
    fit_facts,
    fitted_on,
    shortfalls,
    target_rows,
    write_calibration,
    write_fit_report,
)
from fertrack.tuning.calibration_fit import CalibrationFit, FitOptions, choose_strength, fit_calibration, fit_values
from fertrack.tuning.precision_targets import precision_targets
from fertrack.types import EXPRESSIONS
from tests.evaluation.expression.test_measures import calibrated_world

EQUAL = np.full(7, 1 / 7)
PRIOR = np.array([0.14, 0.08, 0.08, 0.25, 0.14, 0.1, 0.21])
OWN = ClassifierCalibration(
    classifier="mine 1", calibrated=True, training_prior=tuple(PRIOR), prior_strength=0.0, temperature=1.0
)
BIAS = np.array([0.5, -0.5, 0.0, 0.8, 0.0, -0.8, 0.0])
SCALE = np.array([1.0, 1.5, 0.7, 1.0, 1.0, 1.2, 0.8])
QUICK = FitOptions(resamples=0, strength=0.0)


def fitted(logits: np.ndarray, labels: np.ndarray, **options: object) -> CalibrationFit:
    return fit_calibration(
        logits.astype(np.float32), labels, OWN, FitOptions(**{"resamples": 0, "strength": 0.0, **options})
    )


# What is found ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["temperature", "bias", "vector"])
def test_a_temperature_that_was_put_in_is_found(kind: str) -> None:
    labels, logits = calibrated_world(8000, PRIOR)
    found = fitted(2.5 * logits, labels, kind=kind).values
    assert found.temperature == pytest.approx(2.5, rel=0.08)
    assert np.abs(found.bias).max() < 0.25
    np.testing.assert_allclose(found.scale, 1.0, atol=0.15 if kind == "vector" else 0.0)


def test_biases_and_scales_that_were_put_in_are_found() -> None:
    labels, logits = calibrated_world(12_000, EQUAL)
    weights = class_weights(labels)
    biased = fit_values((2.0 * logits + BIAS).astype(np.float32), labels, weights, np.zeros(7), kind="bias")
    assert biased.temperature == pytest.approx(2.0, rel=0.05)
    np.testing.assert_allclose(biased.bias, -(BIAS - BIAS.mean()) / 2.0, atol=0.12)
    stretched = fit_values((logits / SCALE).astype(np.float32), labels, weights, np.zeros(7), kind="vector")
    recovered = np.array(stretched.scale) / stretched.temperature
    np.testing.assert_allclose(recovered, SCALE, rtol=0.12)


def test_scales_stay_within_what_a_calibration_takes() -> None:
    """One class has tiny logits beside the others; what was judged held out is what is written."""
    labels, logits = calibrated_world(500, EQUAL, seed=3)
    spread = np.array([1e-3, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0])
    values = fit_values(
        (logits * spread).astype(np.float32), labels, np.full(500, 1 / 500), np.zeros(7), kind="vector", pull=0.0
    )
    assert max(values.scale) == 20.0
    named = dict(zip(EXPRESSIONS, values.scale, strict=True))
    assert CalibrationConfig(scale=named).scale == named


def test_rare_expressions_do_not_run_away() -> None:
    labels, logits = calibrated_world(2000, EQUAL)
    some = np.isin(labels, (3, 6))  # of the others there is none: without the pull their biases would have no end
    found = fit_values(logits[some], labels[some], class_weights(labels[some]), np.zeros(7), kind="bias")
    assert np.abs(found.bias).max() < 6.0


def test_thresholds_reach_their_precision_on_faces_held_out() -> None:
    labels, logits = calibrated_world(8000, PRIOR)
    found = fitted(logits, labels, precision=0.95)
    precise = [row.labelled_precision.value for row in found.after.classes]
    assert min(precise) > 0.92
    assert (
        found.after.measures["coverage"].value < fitted(logits, labels, precision=0.5).after.measures["coverage"].value
    )


# What is held out ---------------------------------------------------------------------------------------------------


def test_what_is_reported_is_held_out_not_in_sample() -> None:
    # Labels that have nothing to do with the logits: in-sample, fourteen free values look better than chance.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 60).astype(np.int64)
    logits = rng.normal(size=(60, 7)).astype(np.float32) * 3
    found = fitted(logits, labels, kind="vector", shares="own", precision=0.0)
    in_sample = Calibrator(found.config(), ClassifierCalibration.uncalibrated("mine 1")).probabilities(logits)
    own = -np.log(in_sample[np.arange(60), labels]).mean()
    assert found.after.measures["nll"].value > own + 0.03
    assert found.after.measures["nll"].value > np.log(7) - 0.05, "nothing can be learned here"


def test_no_face_is_judged_by_values_it_helped_to_fit() -> None:
    labels, logits = calibrated_world(300, PRIOR)
    fold = stratified_folds(labels, 5)
    changed = logits.copy()
    changed[fold == 2] *= -3.0  # whatever happens in a fold, its own values stay
    before, after = fitted(logits, labels), fitted(changed, labels)
    assert before.folds[2] == after.folds[2]
    assert before.folds[1] != after.folds[1]
    apart = before.folds[2].temperature
    expected = Calibrator(CalibrationConfig(temperature=apart, bias={}), OWN).probabilities(logits[fold == 2])
    np.testing.assert_allclose(before.held_out[fold == 2], expected, atol=1e-6)


def test_calibration_gets_better_and_says_by_how_much() -> None:
    labels, logits = calibrated_world(6000, PRIOR)
    found = fit_calibration((3 * logits).astype(np.float32), labels, OWN, FitOptions(strength=0.0, resamples=20))
    raw, before, after = (stage.measures["ece"] for stage in (found.raw, found.before, found.after))
    assert raw.value == before.value > 0.1
    assert after.value < 0.02
    assert after.low < after.high < before.low
    assert expected_calibration_error(found.held_out, labels, class_weights(labels)) == pytest.approx(after.value)
    few = fit_calibration(logits, labels, OWN, FitOptions(strength=0.0, resamples=5), compare=False)
    assert few.raw.measures["ece"].low == few.raw.measures["ece"].value


def test_what_the_calibration_in_force_does_better_is_said() -> None:
    labels, logits = calibrated_world(2000, PRIOR)
    better = fitted(3 * logits, labels, precision=0.0)
    assert shortfalls(better) == []
    worse = replace(better, before=better.after, after=better.before)
    told = shortfalls(worse)
    assert [each.split(":")[0] for each in told] == [MEASURES[name] for name in ("ece", "nll", "nll_equal_shares")]
    assert "held out, but 0.0" in told[0]


def test_the_strength_loses_least_at_either_end() -> None:
    labels, logits = calibrated_world(4000, PRIOR)
    assert choose_strength(logits, labels, PRIOR, stratified_folds(labels)) in (0.25, 0.5, 0.75)
    even_labels, even = calibrated_world(4000, EQUAL)
    # At equal shares both ends are the same: dividing the training prior out altogether is right.
    lean = (even + np.log(PRIOR)).astype(np.float32)
    assert choose_strength(lean, even_labels, PRIOR, stratified_folds(even_labels)) == 1.0


def test_the_sets_own_shares_can_be_put_in_the_place_of_trainings(tmp_path: Path) -> None:
    shares = np.array([0.05, 0.02, 0.03, 0.3, 0.1, 0.1, 0.4])
    labels, natural = calibrated_world(4000, shares)
    logits = 0.5 * (natural - np.log(shares) + np.log(PRIOR))
    found = fitted(logits, labels, strength=None, target="own", shares="own")
    assert found.strength == 1.0, "shares that are known are put in altogether"
    assert found.values.temperature == pytest.approx(0.5, rel=0.05)
    assert found.after.measures["accuracy"].value == pytest.approx((natural.argmax(1) == labels).mean(), abs=0.01)
    assert found.after.measures["ece"].value < 0.03
    write_calibration(found, tmp_path / "mine.toml", data="x", data_sha256="y")
    config = load_settings([tmp_path / "mine.toml"]).calibration
    assert config.target_prior is not None
    assert config.target_prior["neutral"] == pytest.approx(0.4, abs=0.02)
    exact = Calibrator(config, OWN).probabilities(logits.astype(np.float32))
    assert (exact.argmax(1) == found.held_out.argmax(1)).mean() > 0.99


def test_what_nobody_has_calibrated_takes_its_prior_from_the_labels() -> None:
    labels, logits = calibrated_world(2000, PRIOR)
    found = fit_calibration(logits, labels, ClassifierCalibration.uncalibrated("new 1"), QUICK)
    np.testing.assert_allclose(found.training_prior, np.bincount(labels, minlength=7) / 2000, atol=0.01)


@pytest.mark.parametrize(("count", "kinds"), [(10, 7), (100, 1)])
def test_too_little_is_refused(count: int, kinds: int) -> None:
    labels = (np.arange(count) % kinds).astype(np.int64)
    with pytest.raises(ValueError, match="at least 20 labelled faces of two expressions"):
        fit_calibration(np.zeros((count, 7), np.float32), labels, OWN, QUICK)


# Targets of precision ------------------------------------------------------------------------------------------------

ANGER, DISGUST, FEAR, HAPPINESS, SURPRISE = (
    EXPRESSIONS.index(name) for name in ("anger", "disgust", "fear", "happiness", "surprise")
)


def world_with_troubles() -> tuple[np.ndarray, np.ndarray]:
    """Much of what looks like fear is anger, disgust is never answered, few pictures of happiness, none of surprise."""
    labels, logits = calibrated_world(4000, EQUAL)
    logits[:, DISGUST] = logits.min(axis=1) - 0.5
    fear = np.flatnonzero(logits.argmax(axis=1) == FEAR)
    labels[fear[: len(fear) // 2]] = ANGER
    keep = labels != SURPRISE
    keep[np.flatnonzero(labels == HAPPINESS)[12:]] = False
    return labels[keep], logits[keep]


def test_expressions_whose_target_is_missed_or_unknown_are_named(tmp_path: Path) -> None:
    labels, logits = world_with_troubles()
    found = fitted(logits, labels, precision=0.9)
    targets = {each.expression: each for each in found.targets}
    assert list(targets) == list(EXPRESSIONS)
    problems = {name: each.problems for name, each in targets.items()}
    assert problems["surprise"] == ("no images",)
    assert problems["disgust"] == ("never given",)
    assert problems["fear"] == ("missed",)
    assert problems["happiness"][0] == "few images"
    assert problems["neutral"] == problems["sadness"] == ()
    assert targets["fear"].fitted < 0.7
    assert targets["happiness"].pictures == 12
    assert targets["neutral"].fitted >= 0.9
    path = tmp_path / "mine.toml"
    write_calibration(found, path, data="x", data_sha256="y")
    head, text = path.read_text().split("[calibration]", 1)[0], path.read_text()
    told = head.replace("\n#", "")
    assert "- fear: a precision of 0.9 could not be met: 0." in told
    assert "- disgust: no face reaches its threshold" in told
    assert "- happiness: only 12 images of it" in told
    assert "- surprise: no image shows it" in told
    assert "sadness:" not in told
    record = tomllib.loads(text)["record"]
    assert record["precision_wanted"] == 0.9
    assert {name: tuple(row["problems"]) for name, row in record["targets"].items()} == problems
    assert record["targets"]["fear"]["precision_fitted"] == pytest.approx(targets["fear"].fitted, abs=1e-4)
    assert "precision_fitted" not in record["targets"]["disgust"], "nothing was given, so nothing is known"
    assert load_settings([path]).calibration.temperature == pytest.approx(found.values.temperature, abs=1e-4)
    page, table = (each.read_text() for each in write_fit_report(found, tmp_path, {}))
    assert "fear: a precision of 0.9 could not be met" in page
    assert {row["expression"]: tuple(row["problems"]) for row in json.loads(table)["targets"]} == problems


def test_a_target_that_only_holds_where_it_was_fitted_is_not_met() -> None:
    labels = np.tile([0, 1], 100)
    right = np.eye(7, dtype=np.float32)[labels]
    halves = {"thresholds": np.full(7, 0.5), "held_out_thresholds": np.full((200, 7), 0.5), "wanted": 0.9}
    wrong = right.copy()
    wrong[:60] = np.eye(7, dtype=np.float32)[0]  # half of them are, or 30 of 130 with this label
    first, second, *_ = precision_targets(right, wrong, labels, class_weights(labels), **halves)
    assert first.problems == ("missed held out",)
    assert first.held_out == pytest.approx(100 / 130)
    assert "met only on the images fitted on: 0.77 held out" in first.sentence()
    assert second.problems == ()
    assert second.sentence() == ""


def test_a_target_missed_by_chance_is_not_called_met() -> None:
    found = fitted(*reversed(calibrated_world(500, PRIOR)))
    one = replace(found.targets[0], wanted=0.8, fitted=0.81, held_out=0.75, problems=())
    rows = target_rows(replace(found, targets=(one, replace(one, held_out=0.8), replace(one, problems=("missed",)))))
    assert [row[-1] for row in rows] == ["met where fitted; held out below it, within chance", "met", "missed"]


def test_without_a_target_there_is_none_to_miss(tmp_path: Path) -> None:
    labels, logits = world_with_troubles()
    found = fitted(logits, labels, precision=0.0)
    assert found.targets == ()
    write_calibration(found, tmp_path / "mine.toml", data="x", data_sha256="y")
    assert "Mind" not in (tmp_path / "mine.toml").read_text()


def test_a_temperature_that_ran_away_is_pointed_out(tmp_path: Path) -> None:
    labels = np.arange(210) % 7
    found = fitted(0.1 * np.eye(7)[labels], labels)
    assert found.temperature_at_edge
    write_calibration(found, tmp_path / "mine.toml", data="x", data_sha256="y")
    assert "# - the temperature 0.055 is at the edge" in (tmp_path / "mine.toml").read_text()
    assert not fitted(*reversed(calibrated_world(500, PRIOR))).temperature_at_edge


# Files --------------------------------------------------------------------------------------------------------------


def test_the_file_is_read_by_what_uses_it(tmp_path: Path) -> None:
    labels, logits = calibrated_world(1000, PRIOR)
    logits = (2.0 * logits / SCALE).astype(np.float32)
    found = fitted(logits, labels, kind="vector", strength=0.5)
    path = tmp_path / "configs" / "mine.toml"
    written = write_calibration(found, path, data="faces/ (folder)", data_sha256="ab" * 32)
    text = path.read_text()
    assert text.startswith(
        "# Calibration of mine 1, written by `fertrack models calibrate`.\n# Fitted on faces/ (folder)"
    )
    assert tomllib.loads(text)["record"]["data_sha256"] == "ab" * 32
    assert fitted_on(path) == "faces/ (folder)"
    config = load_settings([path]).calibration
    assert config.temperature == written.temperature
    p = Calibrator(config, OWN).probabilities(logits)
    values = found.values
    y = logits * values.scale / values.temperature - 0.5 * np.log(PRIOR) + values.bias
    expected = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p, expected, atol=1e-3)
    described = Calibrator(config, ClassifierCalibration.uncalibrated("mine 1")).record
    assert described.calibrated
    with pytest.raises(OutputExistsError):
        write_calibration(found, path, data="x", data_sha256="y")


EARLIER = """[calibration]
target_prior = {surprise=0.1, fear=0.1, disgust=0.1, happiness=0.4, sadness=0.1, anger=0.1, neutral=0.1}
bias_profile = {anger = 1.0}
scale = {fear = 2.0}
bias = {fear = 0.7}
use_temperature = false
use_prior = false
use_bias = false
use_thresholds = false
"""


@pytest.mark.parametrize("line", EARLIER.splitlines()[1:])
def test_nothing_of_an_earlier_file_changes_what_was_fitted(tmp_path: Path, line: str) -> None:
    labels, logits = calibrated_world(200, PRIOR)
    found = fitted(2 * logits, labels, strength=0.5)
    write_calibration(found, tmp_path / "mine.toml", data="x", data_sha256="y")
    (tmp_path / "earlier.toml").write_text(f"[calibration]\n{line}\n")
    alone = Calibrator(load_settings([tmp_path / "mine.toml"]).calibration, OWN)
    after = Calibrator(load_settings([tmp_path / "earlier.toml", tmp_path / "mine.toml"]).calibration, OWN)
    np.testing.assert_allclose(alone.probabilities(logits), after.probabilities(logits), atol=1e-6)
    np.testing.assert_array_equal(alone.thresholds, after.thresholds)


def test_boosts_of_an_earlier_file_are_not_added_to_what_was_fitted(tmp_path: Path) -> None:
    labels, logits = calibrated_world(200, PRIOR)
    found = fitted(logits, labels)
    write_calibration(found, tmp_path / "mine.toml", data="x", data_sha256="y")
    alone = Calibrator(load_settings([tmp_path / "mine.toml"]).calibration, OWN)
    after_rafdb = Calibrator(load_settings(["rafdb", tmp_path / "mine.toml"]).calibration, OWN)
    np.testing.assert_allclose(alone.probabilities(logits), after_rafdb.probabilities(logits), atol=1e-6)


def test_the_report_shows_before_and_after(tmp_path: Path) -> None:
    labels, logits = calibrated_world(300, PRIOR)
    found = fitted(2 * logits, labels, kind="bias")
    html, record = write_fit_report(found, tmp_path, {"data": "<faces>"})
    assert "&lt;faces&gt;" in html.read_text()
    assert html.read_text().count("<svg") == 2
    assert CURVES_NOTE in html.read_text()
    assert INTERVALS_NOTE in html.read_text()
    content = json.loads(record.read_text())
    assert content["values"]["temperature"] == found.values.temperature
    assert len(content["folds"]) == 5
    assert set(content["after"]["measures"]) == set(found.after.measures)
    assert "bias" in fit_facts(found)


# The default bundle -------------------------------------------------------------------------------------------------


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(load_bundle().folder, tmp_path / "bundle"))


def study(folder: Path, **options: object):
    bundle = load_bundle(folder)
    prior = np.array(bundle.calibration.training_prior)
    labels, logits = calibrated_world(700, prior)
    votes = np.eye(7, dtype=np.float32)[labels]
    labelled = LabelledSet("set", "test", labels, images=np.zeros((700, 4, 4), np.uint8), votes=votes)
    answers = Answers((0.5 * logits).astype(np.float32), np.ones(700, bool), True, 1.0, 1.0, "c", "d")
    made = study_bundle(
        bundle,
        labelled,
        answers,
        FitOptions(**{"kind": "bias", "resamples": 0, "folds": 2, "strength": 0.5, **options}),
        Path("set.csv"),
    )
    return made, bundle, labels


@pytest.mark.parametrize("form", ["as shipped", "as trained"])
def test_a_bundles_card_is_rewritten_and_nothing_else_of_it(bundle_folder: Path, form: str) -> None:
    if form == "as trained":  # `fertrack models train` writes sub-tables
        path = bundle_folder / "bundle.toml"
        path.write_text("# The classifier that comes with fertrack.\n" + tomli_w.dumps(tomllib.loads(path.read_text())))
    made, bundle, labels = study(bundle_folder, strength=None)
    before = tomllib.loads((bundle_folder / "bundle.toml").read_text())
    for _ in range(2):  # writing it again must not pile tables up
        write_card_tables(bundle, made, labels)
    after = tomllib.loads((bundle_folder / "bundle.toml").read_text())
    assert {**before, "calibration": 0, "measured": 0, "reliability": 0} == {
        **after,
        "calibration": 0,
        "measured": 0,
        "reliability": 0,
    }
    card = load_bundle(bundle_folder).card
    assert card.calibration is not None
    assert card.calibration.temperature == pytest.approx(made.chosen.values.temperature, abs=1e-4)
    assert card.calibration.temperature == pytest.approx(0.5, rel=0.15)
    assert dict(card.calibration.training_prior) == before["calibration"]["training_prior"]
    assert set(card.calibration.biases) == set(EXPRESSIONS)
    assert len(card.measured) == 3
    assert card.measured[0].accuracy == pytest.approx(made.chosen.after.measures["accuracy"].value, abs=1e-4)
    assert card.reliability is not None
    assert card.reliability.ece == pytest.approx(made.chosen.after.measures["ece"].value, abs=1e-3)
    assert "# The classifier that comes with fertrack." in (bundle_folder / "bundle.toml").read_text()


def test_the_report_is_written_from_the_study(bundle_folder: Path) -> None:
    made, _, _ = study(bundle_folder, strength=0.5)
    text = study_text(made, {"data": "set"})
    assert "{" not in text
    assert "**Recommended: 0.5**, because it was asked for." in text
    assert text.count("\n| ") > 25
    assert made.natural.options.target == "own"
    assert f"the set's own shares put in the place of training's) | {made.natural.after.measures['accuracy']}" in text
    assert f"{made.chosen.after.measures['accuracy']}" in text
    shares = assumed_shares(made.chosen.training_prior, 0.5)
    assert shares.sum() == pytest.approx(1.0)


def test_vector_scaling_has_no_place_in_a_bundle(bundle_folder: Path) -> None:
    made, _, _ = study(bundle_folder, kind="vector", strength=0.5)
    with pytest.raises(ModelError, match="no place for vector scaling"):
        card_tables(made)


def test_a_bundle_must_name_its_training_prior(bundle_folder: Path) -> None:
    text = (bundle_folder / "bundle.toml").read_text()
    (bundle_folder / "bundle.toml").write_text(text[: text.index("[calibration]")])
    with pytest.raises(ModelError, match="needs a \\[calibration\\] table with the training_prior"):
        study(bundle_folder)


def test_publishing_is_one_command_and_says_when_pictures_are_too_few(bundle_folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", images=np.zeros((3, 48, 48), np.uint8), labels=np.array([0, 1, 2]))
    arguments = [str(tmp_path / "few.npz"), "--bundle", str(bundle_folder), "--reports", str(tmp_path / "reports")]
    with pytest.raises(EvaluationError, match="at least 20 labelled faces"):
        main(arguments)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 48, 48), np.uint8)
    np.savez(tmp_path / "few.npz", images=images, labels=np.arange(40) % 7)
    before = (bundle_folder / "bundle.toml").read_text()
    main([*arguments, "--dry-run", "--resamples", "0"])
    assert (bundle_folder / "bundle.toml").read_text() == before
    main([*arguments, "--resamples", "0", "--prior-strength", "0.5", "--fit", "temperature"])
    card = load_bundle(bundle_folder).card
    assert card.calibration is not None
    assert card.calibration.prior_strength == 0.5
    assert card.calibration.biases == {}
    report = (tmp_path / "reports" / "model_card.md").read_text()
    assert f"prior strength 0.5, T {card.calibration.temperature:g}" in report


# Several sets ---------------------------------------------------------------------------------------------------------


def test_every_set_weighs_the_same_however_many_faces_it_has() -> None:
    labels = np.array([0, 0, 0, 1, 1, 6])
    weights = class_weights(labels, np.ones(7), sources=np.array([0, 0, 0, 0, 1, 1]))
    assert weights.sum() == pytest.approx(1.0)
    assert weights[:4].sum() == pytest.approx(0.5)
    np.testing.assert_allclose(weights, [1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 4, 1 / 4])


def test_a_small_set_is_heard_in_what_is_fitted_and_only_the_faces_asked_for_are_scored() -> None:
    own = ClassifierCalibration(classifier="mine 1", calibrated=True, training_prior=(1 / 7,) * 7)
    labels, logits = calibrated_world(900, np.full(7, 1 / 7))
    few = np.arange(900) >= 840
    logits = np.where(few[:, None], 4 * logits, logits).astype(np.float32)  # far too sure of the few
    options = FitOptions(kind="temperature", strength=0.0, precision=0.0, resamples=0, folds=2)
    alone = fit_calibration(logits, labels, own, options)
    together = fit_calibration(logits, labels, own, options, sources=few.astype(np.int64), scored=~few)
    assert alone.values.temperature < 1.4
    assert together.values.temperature > 1.2 * alone.values.temperature
    assert together.after.faces == 840
    assert together.held_out.shape == (900, 7)
