"""The words and tables of ``reports/calibration_default.md``, from what ``publish`` measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fertrack.evaluation.fit import CalibrationFit
from fertrack.types import EXPRESSIONS

if TYPE_CHECKING:
    from fertrack.evaluation.publish import Study

__all__ = ["study_text"]

_KINDS = {"temperature": "temperature", "bias": "temperature and biases", "vector": "scales and biases"}


def study_text(study: Study, facts: Mapping[str, str]) -> str:
    """The report as Markdown.

    Args:
        study: what was measured.
        facts: what the pictures and the classifier are, for people.
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
    """What the chosen strength gives away, in nats, at the set's own shares and at equal shares."""
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
`python -m fertrack.evaluation.publish PICTURES`. How the smoothing was chosen: [smoothing.md](smoothing.md).

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
for your own footage, if you have labels: `fertrack calibrate`.

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
