"""The model card: what a classifier is for, how good it is per expression, where that was not measured.

``fertrack evaluate expression DATA --model-card FILE`` writes it, and for the default bundle the laboratory's
``model_card``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from fertrack.evaluation.expression.page import write_text
from fertrack.evaluation.expression.report import Evaluation
from fertrack.evaluation.expression.scores import MEASURES, ExpressionScores
from fertrack.models.bundle import BundleCard, load_bundle
from fertrack.models.weights import KNOWN

if TYPE_CHECKING:
    from fertrack.config import Settings

__all__ = ["render", "write_card"]


def write_card(settings: Settings, evaluation: Evaluation, path: Path, *, overwrite: bool = False) -> Path:
    """Write the card of the classifier that was evaluated.

    Raises:
        ModelError: the classifier is not a bundle, which alone says what it was trained on.
        OutputExistsError: something is already there and ``overwrite`` is False.
        ReportError: it cannot be written.
    """
    bundle = load_bundle(settings.classification.bundle)
    return write_text(path, render(bundle.card, bundle.fingerprint, evaluation), overwrite=overwrite)


def render(card: BundleCard, fingerprint: str, evaluation: Evaluation, elsewhere: str = "") -> str:
    """The card as Markdown.

    Args:
        card: what the bundle says of itself.
        fingerprint: name and hash of the weights.
        evaluation: what was measured, on what.
        elsewhere: table of accuracy on sets from other cameras (``fertrack.benchmarks.generalisation``); empty: it was
            not measured.
    """
    scores = evaluation.scores
    weights = "\n".join(
        f"| {known.name} ({known.role}) | {known.licence} | {known.training_data} |" for known in KNOWN.values()
    )
    fitted = card.calibration
    return _TEXT.format(
        name=f"{card.name} {card.version}",
        fingerprint=fingerprint,
        summary=card.summary,
        licence=card.licence,
        training_data="; ".join((card.training_data, *(f"taught by {name}" for name in card.taught_by))),
        release="any, under its licence" if card.release == "any" else "research only",
        elsewhere=_ELSEWHERE.format(table=elsewhere) if elsewhere else "",
        setting=evaluation.facts["calibration"],
        fitted_on=f"fitted on {fitted.fitted_on}" if fitted and fitted.fitted_on else "not fitted on anything",
        facts="\n".join(f"| {name} | {fact} |" for name, fact in evaluation.facts.items()),
        measures="\n".join(f"| {MEASURES[name]} | {value} |" for name, value in scores.measures.items()),
        crosswise="\n".join(
            f"| {known.data} ({known.samples}) | {known.setting} "
            f"| {known.accuracy:.3f} | {known.mean_class_recall:.3f} "
            f"| {_number(known.ece)} | {_number(known.ece_equal_shares)} |"
            for known in card.measured
        ),
        priors="\n".join(
            f"| {row.assumed} | {row.strength:g} | {row.accuracy:.3f} | {row.mean_class_recall:.3f} "
            f"| {row.macro_f1:.3f} | {row.ece:.3f} | {row.ece_equal_shares:.3f} |"
            for row in evaluation.priors
        )
        or "| training's are not known | | | | | | |",
        classes=_classes(scores),
        coverage="\n".join(
            f"| {level:.2f} | {covered:.3f} | {right:.3f} |"
            for level, covered, right in scores.coverage
            if round(level * 100) % 10 == 0
        ),
        weights=weights,
    )


def _classes(scores: ExpressionScores) -> str:
    return "\n".join(
        f"| {row.expression} | {row.pictures} | {row.recall} | {row.precision} | {_figure(row.f1)} | {row.labelled} "
        f"| {row.labelled_precision} |"
        for row in scores.classes
    )


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


_ELSEWHERE = """\
On faces from other cameras than those it learned from, equal class shares assumed, all seven answers allowed; detector
and alignment in the loop. Of sets marked * a teacher has learned from other persons. Intervals, other shares and other
classifiers: [generalisation.md](generalisation.md).

{table}

"""

_TEXT = """\
# Model card: {name}

An expression classifier of fertrack. Written by `python -m fertrack.benchmarks model_card PICTURES.npz
reports/model_card.md`, which measures what the tables say. How the calibration was chosen:
[calibration_default.md](calibration_default.md). How well persons are followed: [tracking.md](tracking.md).

| | |
|---|---|
| weights | {fingerprint} |
| network | {summary} |
| output | logits for surprise, fear, disgust, happiness, sadness, anger, neutral |
| licence | {licence} |
| training data | {training_data} |
| use | {release} |

## Intended use

Estimating which of seven posed-expression categories an image of a face most resembles, per person over time, in
research and usability studies with people who know and agree. The result is an *expression estimate*: it describes how
a face looks in an image. It says nothing about what a person feels, thinks or intends.

Not for decisions about people. Not for people at work or in education: inferring their emotions is prohibited in the EU
(AI Act, Art. 5(1)(f)) apart from medical and safety reasons, and fertrack refuses such a purpose. People exposed to it
must be told (Art. 50(3); `fertrack privacy notice`). There is no estimate of age, gender or race anywhere, and no
image of a face is stored by default.

## How good it is

{elsewhere}One forward pass an image, with the bundle's own calibration ({setting}).
Its values were {fitted_on}. Where those are the images scored here, the table of crosswise scores says what the
calibration is worth on others.

| | |
|---|---|
{facts}

95 % intervals: Wilson score intervals of plain shares (accuracy, coverage, and of each expression), percentile
bootstrap within classes of all else. Calibration error: on the winning probability; its interval lies above its value
because resampling adds noise to every bin.

| all expressions | value (95 % interval) |
|---|---|
{measures}

Scored crosswise, no image judged by values fitted on it ([calibration_default.md](calibration_default.md)):

| images | setting | accuracy | mean recall | calibration error | at equal class shares |
|---|---|---|---|---|---|
{crosswise}

With other class shares assumed than training's (`calibration.prior_strength` and `calibration.target_prior`; all else
stays as it is). The images' own are the natural prior, known because they are labelled:

| class shares assumed | prior strength | accuracy | mean recall | macro-F1 | calibration error | at equal shares |
|---|---|---|---|---|---|---|
{priors}

| expression | images | recall | precision | F1 | recall of its label | precision of its label |
|---|---|---|---|---|---|---|
{classes}

"Of its label": the winner reached its threshold, otherwise the face is *uncertain*. Precision depends on how often each
expression occurs; here it is at the set's own shares, where rare expressions are wrong more often than at equal shares.
Expressions with few images have wide intervals: mind them.

| least probability | share of faces that reach it | accuracy of those |
|---|---|---|
{coverage}

## Not measured

| what | |
|---|---|
| accuracy by skin tone, age or gender | not measured: the images carry no such labels; expect differences |
| accuracy on video of everyday people | not measured, but for 13 passages of 7 people in clips from other cameras \
([passages.md](passages.md)): no larger labelled video was at hand |
| accuracy on spontaneous as against posed expressions | not measured |
| accuracy for faces filmed small, turned away, covered or badly lit | expect worse; measured only on images \
shrunk, covered and lit by computation ([robustness.md](robustness.md)), not for faces turned away |
| accuracy by culture | not measured; which expression a face is said to show depends on who is asked |
| accuracy of the smoothed label over time | not measured; smoothing was chosen by flicker and lag only |
| calibration on other cameras | not measured |

## Known limits

- PublicTest was looked at while the network was made, and FER2013 has near copies of images across its splits;
  what that is worth is measured in [calibration_default.md](calibration_default.md).
- Labels are votes of ten raters on small grey stills: an opinion about an image, not a truth about a person.
- Seven categories and *uncertain* are all it knows; a face of contempt, pain or concentration gets one of them.

## Licences of the weights

| weights | licence | training data |
|---|---|---|
| {name} (expression classifier) | {licence} | {training_data} |
{weights}
"""
