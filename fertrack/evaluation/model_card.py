"""The model card: what the default classifier is for, how good it is per expression, where that was not measured.

Run as ``python -m fertrack.evaluation.model_card PICTURES.npz reports/model_card.md`` it measures the default bundle at
its default setting on FER2013's PublicTest pictures with FER+ votes and writes the card.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fertrack.calibration import CalibrationConfig, Calibrator, ClassifierCalibration
from fertrack.evaluation.calibration_study import Interval, Measure
from fertrack.evaluation.expression import (
    Weights,
    accuracy,
    bootstrap_interval,
    class_weights,
    expected_calibration_error,
)
from fertrack.models.weights import KNOWN
from fertrack.types import EXPRESSIONS, FloatArray, IntArray

if TYPE_CHECKING:
    from fertrack.models.bundle import BundleCard

__all__ = ["ClassRow", "OverallRow", "class_rows", "measure_default", "overall", "render", "wilson"]

NORMAL_95 = 1.959964
"""97.5 % point of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class ClassRow:
    """How one expression's pictures fare.

    Attributes:
        expression: its name.
        pictures: how many there are.
        recall: share of them in which it is the most probable expression.
        labelled: share of them that get its label; less, because unlikely winners are called uncertain.
        precision: share of the pictures given its label that are its own, at the set's class shares.
        given: pictures given its label.
    """

    expression: str
    pictures: int
    recall: Interval
    labelled: Interval
    precision: Interval
    given: int


@dataclass(frozen=True, slots=True)
class OverallRow:
    """All pictures together, with 95 % bootstrap intervals.

    Attributes:
        accuracy: at the set's class shares.
        recall: mean over the classes, which is accuracy at equal class shares.
        ece: calibration error at the set's class shares.
        ece_equal: the same at equal class shares.
        uncertain: share of pictures called uncertain.
        labelled_accuracy: share of the other pictures whose label is right.
    """

    accuracy: Interval
    recall: Interval
    ece: Interval
    ece_equal: Interval
    uncertain: Interval
    labelled_accuracy: Interval


def wilson(hits: int, trials: int) -> Interval:
    """A share with its 95 % interval, which keeps its coverage for few trials and for shares near 0 and 1.

    Wilson (1927), score interval. Without trials the share is NaN and the interval says nothing: 0 to 1.

    >>> print(wilson(8, 10))
    0.800 (0.490-0.943)
    """
    if not trials:
        return Interval(float("nan"), 0.0, 1.0)
    share, z2 = hits / trials, NORMAL_95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = NORMAL_95 / (1 + z2 / trials) * float(np.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def class_rows(probabilities: FloatArray, labels: IntArray, thresholds: FloatArray) -> list[ClassRow]:
    """Score every expression by itself.

    Args:
        probabilities: float32 (N, 7), calibrated.
        labels: int64 (N,).
        thresholds: (7,), least probability for a label.
    """
    winner = probabilities.argmax(axis=1)
    given = np.where(probabilities.max(axis=1) >= thresholds[winner], winner, -1)
    rows = []
    for k, name in enumerate(EXPRESSIONS):
        own = labels == k
        rows.append(
            ClassRow(
                expression=name,
                pictures=int(own.sum()),
                recall=wilson(int((own & (winner == k)).sum()), int(own.sum())),
                labelled=wilson(int((own & (given == k)).sum()), int(own.sum())),
                precision=wilson(int((own & (given == k)).sum()), int((given == k).sum())),
                given=int((given == k).sum()),
            )
        )
    return rows


def overall(
    probabilities: FloatArray, labels: IntArray, thresholds: FloatArray, *, resamples: int = 1000
) -> OverallRow:
    """Score all pictures together; arguments as in ``class_rows``."""
    own, equal = class_weights(labels), class_weights(labels, np.ones(len(EXPRESSIONS)))

    def interval(measure: Measure, weights: Weights) -> Interval:
        def of(rows: IntArray) -> float:
            return measure(probabilities[rows], labels[rows], weights[rows])

        return Interval(of(np.arange(len(labels))), *bootstrap_interval(of, labels, resamples=resamples))

    winner = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1) >= thresholds[winner]
    return OverallRow(
        accuracy=interval(accuracy, own),
        recall=interval(accuracy, equal),
        ece=interval(expected_calibration_error, own),
        ece_equal=interval(expected_calibration_error, equal),
        uncertain=wilson(int((~sure).sum()), len(labels)),
        labelled_accuracy=wilson(int((sure & (winner == labels)).sum()), int(sure.sum())),
    )


def render(card: BundleCard, fingerprint: str, faces_found: float, total: OverallRow, rows: list[ClassRow]) -> str:
    """The card as Markdown.

    Args:
        card: what the bundle says of itself.
        fingerprint: name and hash of the weights.
        faces_found: share of the pictures in which the detector found a face.
        total: all pictures together.
        rows: each expression by itself.
    """
    pictures = sum(row.pictures for row in rows)
    table = "\n".join(
        f"| {row.expression} | {row.pictures} | {row.recall} | {row.labelled} | {row.precision} | {row.given} |"
        for row in rows
    )
    weights = "\n".join(
        f"| {known.name} ({known.role}) | {known.licence} | {known.training_data} |" for known in KNOWN.values()
    )
    calibration = card.calibration
    setting = (
        f"prior strength {calibration.prior_strength:g}, T {calibration.temperature:g}" if calibration else "as trained"
    )
    crosswise = "".join(
        f"Scored on halves with the temperature of the other half: accuracy {known.accuracy:.3f}, mean recall "
        f"{known.mean_class_recall:.3f}, calibration error {known.ece:.3f}."
        for known in card.measured[:1]
    )
    return _TEXT.format(
        crosswise=crosswise,
        name=f"{card.name} {card.version}",
        fingerprint=fingerprint,
        summary=card.summary,
        licence=card.licence,
        training_data=card.training_data,
        setting=setting,
        pictures=pictures,
        faces_found=f"{faces_found:.1%}",
        total=total,
        table=table,
        weights=weights,
    )


def measure_default(pictures: Path, *, resamples: int = 1000) -> str:
    """Measure the default bundle with the default detector and landmarks, and render its card.

    Args:
        pictures: FER2013 pictures with FER+ votes (see ``evaluation.ferplus``).
        resamples: bootstrap draws.

    Raises:
        ConfigError: the pictures cannot be read.
        WeightsError: the detector's or the classifier's weights are missing.
    """
    from fertrack.classifiers.onnx import OnnxClassifier
    from fertrack.detectors.centerface import Options, build
    from fertrack.evaluation.ferplus import classify_pictures, load_ferplus
    from fertrack.models.bundle import load_bundle

    bundle = load_bundle("default")
    voted = load_ferplus(pictures)
    # The pictures are faces already: what is asked of the detector are landmarks, so it may be unsure.
    detector = build(Options(long_side=224, score_threshold=0.1))
    logits, found = classify_pictures(voted.images, detector, OnnxClassifier(bundle))
    own: ClassifierCalibration = bundle.calibration
    calibrator = Calibrator(CalibrationConfig(), own)
    probabilities = calibrator.probabilities(logits)
    thresholds = np.asarray(calibrator.thresholds, np.float32)
    return render(
        bundle.card,
        bundle.fingerprint,
        float(found.mean()),
        overall(probabilities, voted.labels, thresholds, resamples=resamples),
        class_rows(probabilities, voted.labels, thresholds),
    )


_TEXT = """\
# Model card: {name}

The classifier that comes with fertrack. Written by `python -m fertrack.evaluation.model_card PICTURES.npz
reports/model_card.md`, which measures what the tables say. How the calibration was chosen:
[calibration_default.md](calibration_default.md). How well persons are followed: [tracking.md](tracking.md).

| | |
|---|---|
| weights | {fingerprint} |
| network | {summary} |
| output | logits for surprise, fear, disgust, happiness, sadness, anger, neutral |
| licence | {licence} |
| training data | {training_data} |

## Intended use

Estimating which of seven posed-expression categories a picture of a face most resembles, per person over time, in
research and usability studies with people who know and agree. The result is an *expression estimate*: it describes how
a face looks in a picture. It says nothing about what a person feels, thinks or intends.

Not for decisions about people. Not for people at work or in education: inferring their emotions is prohibited in the EU
(AI Act, Art. 5(1)(f)) apart from medical and safety reasons, and fertrack refuses such a purpose. People exposed to it
must be told (Art. 50(3); `fertrack notice`). There is no estimate of age, gender or race anywhere, and no picture of a
face is stored by default.

## How good it is

On {pictures} of FER2013's PublicTest pictures (48 px, grey, already cropped to one face), label = most of ten FER+
votes, detector and alignment in the loop (a face found in {faces_found} of them), default setting ({setting}).
**Temperature, prior strength and thresholds were fitted on these same pictures.** {crosswise}

95 % intervals: percentile bootstrap within classes for the first four rows, Wilson score intervals elsewhere.
Calibration error: 15 equal-width bins on the winning probability; its interval lies above its value because resampling
adds noise to every bin.

| all expressions | value (95 % interval) |
|---|---|
| accuracy, the set's own class shares | {total.accuracy} |
| mean recall of the seven classes | {total.recall} |
| expected calibration error, own class shares | {total.ece} |
| expected calibration error, equal class shares | {total.ece_equal} |
| called *uncertain* | {total.uncertain} |
| accuracy of those that get a label | {total.labelled_accuracy} |

| expression | pictures | recall, most probable | recall, labelled | precision of the label | labels given |
|---|---|---|---|---|---|
{table}

"Labelled": the winner reached its threshold, otherwise the face is *uncertain*. Precision depends on how often each
expression occurs; here it is at the set's own shares, where disgust and fear are rare, so that their labels are wrong
more often than at equal shares. Fear and disgust rest on few pictures: mind the intervals.

## Not measured

| what | |
|---|---|
| accuracy by skin tone, age or gender | not measured: the pictures carry no such labels; expect differences |
| accuracy on video of everyday people | not measured: no labelled video was at hand |
| accuracy on spontaneous as against posed expressions | not measured |
| accuracy for faces turned away, covered, badly lit or under 48 px | not measured; expect worse |
| accuracy by culture | not measured; which expression a face is said to show depends on who is asked |
| accuracy of the smoothed label over time | not measured; smoothing was chosen by flicker and lag only |
| calibration on other cameras | not measured |

## Known limits

- PublicTest was looked at when the network was made, and 306 of its pictures have a near copy among the training
  pictures; without them accuracy as trained is 0.820 instead of 0.825 (calibration_default.md).
- Labels are votes of ten raters on small grey stills: an opinion about a picture, not a truth about a person.
- Seven categories and *uncertain* are all it knows; a face of contempt, pain or concentration gets one of them.

## Licences of the weights

| weights | licence | training data |
|---|---|---|
| {name} (expression classifier) | {licence} | {training_data} |
{weights}
"""


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(measure_default(Path(sys.argv[1])), encoding="utf-8")
