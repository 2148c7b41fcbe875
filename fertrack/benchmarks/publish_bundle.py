"""Calibrates a bundle, writes the values into its ``bundle.toml``, and writes the reports that say what they are worth.

``python -m fertrack.benchmarks publish_bundle PICTURES`` does it for the default bundle: ``[calibration]``,
``[[measured]]`` and ``[reliability]`` of its card, ``reports/calibration_default.md`` and ``reports/model_card.md``.
Run it again whenever the network or its card changes. ``--bundle FOLDER`` takes another bundle, ``--reports DIR``
another folder, ``--dry-run`` leaves the card as it is. The images (FER2013 with FER+ votes, or any labelled set)
are looked at once,
with detector and alignment in the loop; all figures are cross-fitted.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from fertrack.benchmarks.bundle_reliability import measure_reliability, write_into
from fertrack.benchmarks.calibration_by_set import calibration_by_set
from fertrack.benchmarks.generalisation import own_summary, read_sets, set_logits
from fertrack.errors import ConfigError, EvaluationError, ModelError
from fertrack.evaluation.datasets.open import LabelledSet
from fertrack.evaluation.expression.classify import Answers, answers_of
from fertrack.evaluation.expression.model_card import render as render_card
from fertrack.evaluation.expression.page import write_text
from fertrack.evaluation.expression.report import evaluate_answers
from fertrack.expression.calibration import Calibrator, ClassifierCalibration, by_expression
from fertrack.expression.config import CalibrationConfig
from fertrack.models.bundle import BUNDLE_FILE, ClassifierBundle, load_bundle
from fertrack.tuning.calibration_fit import STRENGTHS, CalibrationFit, FitOptions, fit_calibration
from fertrack.types import EXPRESSIONS, FloatArray, IntArray

__all__ = ["Study", "card_tables", "main", "publish", "study_bundle", "study_text", "write_card_tables"]


_KINDS = {"temperature": "temperature", "bias": "temperature and biases", "vector": "scales and biases"}


def study_text(study: Study, facts: Mapping[str, str]) -> str:
    """The report as Markdown.

    Args:
        study: what was measured.
        facts: what the images and the classifier are, for people.
    """
    fit = study.chosen
    accuracy, twins = study.twins_without
    own, equal = _regrets(study)
    return _TEXT.format(
        columns=_COLUMNS,
        facts="\n".join(f"| {name} | {fact} |" for name, fact in facts.items()),
        raw=fit.raw.measures["accuracy"],
        untied=fit.raw.measures.get("accuracy_untied", "no ties"),
        twins="not known" if math.isnan(accuracy) else f"{accuracy:.3f}, {twins} pictures left out",
        folds=fit.options.folds,
        kinds="\n".join(_row(_KINDS[kind], each) for kind, each in study.kinds.items()),
        raw_row=_scores("as trained", fit.raw.measures),
        strengths="\n".join(_row(f"{each.strength:.2f}", each) for each in study.strengths),
        strength=f"{fit.strength:g}",
        kind=_KINDS[fit.options.kind],
        how="it was asked for" if fit.options.strength is not None else "its larger loss at either end is the smallest",
        own_loss=f"{own:.3f}",
        equal_loss=f"{equal:.3f}",
        temperature=f"{fit.values.temperature:.3f}",
        temperatures=", ".join(f"{each.temperature:.3f}" for each in fit.folds),
        biases=", ".join(f"{name} {value:+.2f}" for name, value in zip(EXPRESSIONS, fit.values.bias, strict=True)),
        natural=_row("natural prior (the set's own shares put in the place of training's)", study.natural),
        uniform=_row("training prior divided out (strength 1)", study.strengths[-1]),
        default=_row(f"**default (strength {fit.strength:g})**", fit),
        precision=f"{fit.options.precision:.0%}",
        floor=f"{fit.options.floor:.2f}",
        thresholds="\n".join(_threshold_rows(fit)),
    )


def _row(name: str, fit: CalibrationFit) -> str:
    return _scores(name, fit.after.measures)


def _scores(name: str, measures: Mapping[str, object]) -> str:
    shown = ("accuracy", "mean_class_recall", "ece", "ece_equal_shares", "nll", "kl_votes", "ece_soft")
    return f"| {name} | " + " | ".join(str(measures.get(each, "–")) for each in shown) + " |"


def _regrets(study: Study) -> tuple[float, float]:
    """Loss from the chosen strength, in nats, at the set's own shares and at equal shares."""
    own = [each.after.measures["nll"].value for each in study.strengths]
    equal = [each.after.measures["nll_equal_shares"].value for each in study.strengths]
    mine = study.chosen.after.measures
    return mine["nll"].value - min(own), mine["nll_equal_shares"].value - min(equal)


def _threshold_rows(fit: CalibrationFit) -> list[str]:
    rows = []
    for k, score in enumerate(fit.after.classes):
        folds = [each.thresholds[k] for each in fit.folds]
        rows.append(
            f"| {score.expression} | {fit.values.thresholds[k]:.2f} ({min(folds):.2f}-{max(folds):.2f}) "
            f"| {score.labelled_precision} | {score.labelled} | {score.pictures} |"
        )
    return rows


_COLUMNS = (
    "| accuracy, own shares | mean-class recall | ECE | ECE, equal shares | NLL, nats | KL from votes | ECE, soft |\n"
    "|---|---|---|---|---|---|---|---|"
)

_TEXT = """\
# Calibration of the default classifier

Which temperature, biases, prior strength and thresholds the default bundle (`fertrack/models/default/bundle.toml`)
recommends, and what they are worth. Written, like the bundle's `[calibration]`, by
`python -m fertrack.benchmarks publish_bundle PICTURES`. How the smoothing was chosen: [smoothing.md](smoothing.md).

Pictures: FER2013's PublicTest with the ten FER+ votes; seven classes, label = most votes (ties: first column in the
file's order), pictures whose winner is contempt, unknown or "not a face" or that have fewer than four votes for the
seven left out. Detector and alignment are in the loop: landmarks from the detector on the picture enlarged to 160 px
with a black margin of 32 px, the crop cut from the 48 px picture in one resampling, one forward pass. Where no face is
found, average landmarks stand in and the picture still counts.

| | |
|---|---|
{facts}
| accuracy as trained | {raw} |
| without ties in the votes | {untied} |
| without twins in Training | {twins} |

**Every figure below is held out**: {folds} folds, each judged with values fitted on the others. "Own shares" are the
set's, "equal shares" weigh every class the same, so that accuracy there is mean-class recall. ECE: 15 equal-width bins
on the winning probability; soft: against the raters' share for the winner. Brackets: 95 %; Wilson score
intervals of accuracies, percentile bootstrap within classes of all else. An ECE's interval lies above its value because
resampling adds noise to every bin.

## What is fitted

At prior strength {strength}, at the class shares that this strength assumes (training's, to the power 1 - strength):

| fitted {columns}
{raw_row}
{kinds}

Recommended: {kind}. T = {temperature} (folds: {temperatures}).
Biases: {biases}.

## Prior strength

Strength s takes the training prior out to the power s and puts a uniform one in. It is right where class shares are
proportional to prior^(1-s). Fitted each time: {kind}.

| prior strength {columns}
{strengths}

**Recommended: {strength}**, because {how}.
Nobody knows a video's class shares beforehand. Held out, it gives away {own_loss} nats at the set's own shares and
{equal_loss} at equal ones against the best strength for that end.

| setting {columns}
{default}
{natural}
{uniform}

The natural prior is known here, because the set is labelled: `calibration.target_prior` with the set's shares and
`calibration.prior_strength=1`. Logits are divided by T before the shares are exchanged; exchanged in raw logits they
would weigh 1 / T times what they should against the picture.

Acted or strongly emotional footage: `--set calibration.prior_strength=1`. Class shares as in training: 0. A calibration
for your own footage, if you have labels: `fertrack models calibrate`.

## Thresholds

Per class, the least probability (steps of 0.01, at least {floor}) from which on the label is right in {precision} of
the cases at the class shares that the prior strength assumes. In brackets the lowest and highest of the folds. The
held-out precision is at the set's own shares, where rare expressions are wrong more often. Below its threshold a face
is *uncertain*.

| expression | threshold (folds) | precision of its label, held out | recall of its label, held out | pictures |
|---|---|---|---|---|
{thresholds}

## What this does not show

- PublicTest was looked at when the network was made, and these values were fitted on it; cross-fitting guards against
  the latter only. FER2013 also has copies of pictures across its splits (thumbnail correlation above 0.99; see above).
- 48 px grey stills, already cropped to a face. Video from other cameras will be less well calibrated.
- Votes are opinions: tied pictures are scored against the first of the tied classes.
"""


_TABLES = re.compile(
    r"\n*^(?:#[^\n]*\n)*\[\[?(?:calibration|measured)(?:\.\w+)?\]\]?\n.*?(?=\n+(?:#[^\n]*\n)*\[|\Z)",
    re.MULTILINE | re.DOTALL,
)
_CACHE = Path("fertrack-out/faces")
_VOTED = "arg-max of the votes for seven classes, "


@dataclass(frozen=True, slots=True)
class Study:
    """Everything measured for a bundle's card and reports.

    Attributes:
        data: which images, for people.
        sha256: their digest.
        chosen: the calibration to recommend.
        kinds: by what is fitted, at the chosen strength.
        strengths: by prior strength, with what is fitted as chosen.
        natural: the set's own shares in the place of training's, and fitted at them.
        twins_without: accuracy as trained without images that are nearly in the training split, and their number;
            NaN and 0 where that cannot be known.
    """

    data: str
    sha256: str
    chosen: CalibrationFit
    kinds: dict[str, CalibrationFit]
    strengths: tuple[CalibrationFit, ...]
    natural: CalibrationFit
    twins_without: tuple[float, int]


def study_bundle(
    bundle: ClassifierBundle,
    labelled: LabelledSet,
    answers: Answers,
    options: FitOptions,
    pictures: Path,
    *,
    beside: Sequence[tuple[FloatArray, IntArray]] = (),
) -> Study:
    """Fit and judge everything that the card and the reports say.

    ``beside`` are logits (N, 7) and labels (N,) of other sets: values are fitted on all sets, each weighing the same,
    and judged on the pictures.

    Raises:
        EvaluationError: there are too few images.
        ModelError: the bundle does not name the class shares it was trained with.
    """
    own = bundle.calibration
    if not own.names_training_prior:
        raise ModelError(
            f"{bundle.folder / BUNDLE_FILE} needs a [calibration] table with the training_prior of its network before "
            "it can be calibrated: temperature = 1.0, prior_strength = 0.0, training_prior, thresholds"
        )
    rows = answers.answered
    sets = [(answers.logits[rows], labelled.labels[rows]), *beside]
    logits, labels = (np.concatenate([each[part] for each in sets]) for part in (0, 1))
    source = np.repeat(np.arange(len(sets)), [len(each[1]) for each in sets])
    others = len(labels) - int(rows.sum())
    votes = np.pad(labelled.votes[rows], ((0, others), (0, 0))) if labelled.has_votes else None

    def fitted(**changes: Any) -> CalibrationFit:
        fit = fit_calibration(
            logits,
            labels,
            own,
            replace(options, **changes),
            votes=votes,
            tied=np.pad(labelled.tied[rows], (0, others)),
            compare=not changes,
            sources=source,
            scored=source == 0,
        )
        return replace(fit, held_out=fit.held_out[source == 0])

    try:
        chosen = fitted()
    except ValueError as error:
        raise EvaluationError(f"{pictures}: {error}") from error
    kinds = {kind: fitted(kind=kind, strength=chosen.strength) for kind in ("temperature", "bias", "vector")}
    return Study(
        data=f"{labelled.kind}, {_VOTED if labelled.has_votes else ''}detector and alignment in the loop"
        + (f"; fitted on {len(beside)} other sets as well, all sets weighing the same" if beside else ""),
        sha256=labelled.digest(),
        chosen=chosen,
        kinds=kinds,
        strengths=tuple(fitted(strength=strength) for strength in STRENGTHS),
        natural=fitted(strength=1.0, shares="own", target="own"),
        twins_without=_without_twins(labelled, answers, pictures),
    )


def card_tables(study: Study) -> str:
    """``[calibration]`` and ``[[measured]]`` of a ``bundle.toml``.

    Raises:
        ModelError: scales were fitted, which a bundle has no place for.
    """
    fit = study.chosen
    if fit.options.kind == "vector":
        raise ModelError("a bundle has no place for vector scaling: fit a bias, or give the file with --config")
    after = fit.after.measures
    calibration = {
        "fitted_on": f"{study.data}: {fit.after.faces} pictures, sha256 {study.sha256[:16]}",
        "temperature": round(fit.values.temperature, 4),
        "prior_strength": fit.strength,
        "training_prior": by_expression(fit.training_prior, 4),
        "biases": by_expression(fit.values.bias, 4) if fit.options.kind == "bias" else {},
        "thresholds": by_expression(fit.values.thresholds, 2),
    }
    lines = [
        "# Written by `python -m fertrack.benchmarks publish_bundle`, chosen as reports/calibration_default.md says.",
        f"# Held out: accuracy {after['accuracy']}, calibration error {after['ece']}.",
        "[calibration]",
        *(f"{name} = {_inline(value)}" for name, value in calibration.items()),
    ]
    settings = {
        "the default": fit,
        "natural prior: the set's own class shares in the place of training's": study.natural,
        "training prior divided out: equal class shares": study.strengths[-1],
    }
    for name, each in settings.items():
        measures = each.after.measures
        row = {
            "data": study.data,
            "samples": each.after.faces,
            "setting": f"prior strength {each.strength:g}, {_crosswise(each)}: {name}",
            "accuracy": round(measures["accuracy"].value, 4),
            "mean_class_recall": round(measures["mean_class_recall"].value, 4),
            "ece": round(measures["ece"].value, 4),
            "ece_equal_shares": round(measures["ece_equal_shares"].value, 4),
        }
        lines += ["", "[[measured]]", *(f"{key} = {_inline(value)}" for key, value in row.items())]
    return "\n".join(lines) + "\n"


def write_card_tables(bundle: ClassifierBundle, study: Study, labels: Any) -> Path:
    """Put the tables, and the reliability diagram, into the bundle's file; all else of it stays as it is.

    Args:
        bundle: whose file.
        study: what was measured.
        labels: int64 (N,), of the faces that were scored.

    Raises:
        ModelError: the file cannot be written.
    """
    path = bundle.folder / BUNDLE_FILE
    try:
        text = _TABLES.sub("", path.read_text(encoding="utf-8")).rstrip("\n")
        path.write_text(f"{text}\n\n{card_tables(study)}", encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror or error}") from error
    fit = study.chosen
    setting = f"prior strength {fit.strength:g}, {_crosswise(fit)}"
    return write_into(bundle.folder, measure_reliability(fit.held_out, labels, data=study.data, setting=setting))


def publish(
    pictures: Path,
    bundle: str | Path = "default",
    reports: Path | None = None,
    options: FitOptions | None = None,
    *,
    faces: Path | None = None,
    dry_run: bool = False,
) -> list[Path]:
    """Look, fit, and write the card and both reports; returns what was written.

    Persons kept apart in the sets in ``faces`` are fitted on as well; what the values are worth on every set there is
    part of the report.

    Raises:
        EvaluationError: the images cannot be read.
        ModelError: there is no such bundle, or it cannot be calibrated.
        WeightsError: the detector's or the classifier's weights are missing.
        ReportError: a report cannot be written.
    """
    loaded = load_bundle(bundle)
    labelled, answers = answers_of(loaded, pictures)
    sets = [(each, set_logits(each, loaded)) for each in (read_sets(pictures, faces, _CACHE) if faces else ())]
    beside = [(logits, each.labelled.labels) for each, logits in sets if each.apart]
    study = study_bundle(loaded, labelled, answers, options or FitOptions(kind="bias"), pictures, beside=beside)
    written = [] if dry_run else [write_card_tables(loaded, study, labelled.labels[answers.answered])]
    loaded = load_bundle(bundle)
    calibrator = Calibrator(CalibrationConfig(), _own(loaded, study) if dry_run else loaded.calibration)
    evaluation = evaluate_answers(labelled, answers, calibrator, resamples=study.chosen.options.resamples)
    folder = reports or Path("reports")
    facts = {name: fact for name, fact in evaluation.facts.items() if name != "calibration"}
    texts = {
        "calibration_default.md": study_text(study, facts) + calibration_by_set(sets, calibrator),
        "model_card.md": render_card(
            loaded.card, loaded.fingerprint, evaluation, own_summary(loaded, sets, calibrator.classifier)
        ),
    }
    return written + [write_text(folder / name, text, overwrite=True) for name, text in texts.items()]


def _own(bundle: ClassifierBundle, study: Study) -> ClassifierCalibration:
    values = study.chosen.values
    return replace(
        bundle.calibration,
        temperature=values.temperature,
        prior_strength=study.chosen.strength,
        biases=values.bias,
        thresholds=values.thresholds,
    )


def _without_twins(labelled: LabelledSet, answers: Answers, pictures: Path) -> tuple[float, int]:
    from fertrack.evaluation.datasets.ferplus import load_ferplus, twins_among

    if not labelled.has_votes or pictures.suffix != ".npz":
        return float("nan"), 0
    rows = answers.answered
    right = answers.logits[rows].argmax(axis=1) == labelled.labels[rows]
    try:
        others = load_ferplus(pictures, "Training").images
    except ConfigError:  # without the training split nothing is known
        return float("nan"), 0
    twins = twins_among(labelled.images[rows], others)
    return float(right[~twins].mean()) if (~twins).any() else float("nan"), int(twins.sum())


def _crosswise(fit: CalibrationFit) -> str:
    what = {"temperature": "T", "bias": "T and biases", "vector": "scales and biases"}[fit.options.kind]
    return f"{what} fitted crosswise on {fit.options.folds} folds"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {item}" for key, item in value.items()) + " }" if value else "{}"
    return tomli_w.dumps({"v": value}).partition("=")[2].strip()


def main(arguments: Sequence[str]) -> int:
    """See the top of this module."""
    parser = argparse.ArgumentParser(prog="python -m fertrack.benchmarks publish_bundle", description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--bundle", default="default")
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    parser.add_argument("--fit", choices=("temperature", "bias"), default="bias")
    parser.add_argument("--prior-strength", type=float, default=None, help="chosen by regret if not given")
    parser.add_argument("--precision", type=float, default=0.80)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--faces", type=Path, help="folder of other labelled sets (see generalisation)")
    parser.add_argument("--dry-run", action="store_true", help="leave bundle.toml as it is")
    given = parser.parse_args(arguments)
    options = FitOptions(
        kind=given.fit, strength=given.prior_strength, precision=given.precision, resamples=given.resamples
    )
    for path in publish(given.pictures, given.bundle, given.reports, options, faces=given.faces, dry_run=given.dry_run):
        sys.stdout.write(f"{path}\n")
    return 0
