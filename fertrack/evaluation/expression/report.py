"""``fertrack evaluate expression``: from labelled images, or from a run's corrections, to figures and files.

Writes ``expression.json`` (every figure), ``expression.html`` (the same with images), and the confusion matrix as
``confusion.csv`` and ``confusion.svg``.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fertrack.evaluation.datasets.open import LabelledSet
from fertrack.evaluation.expression.classify import Answers
from fertrack.evaluation.expression.figures import CURVES_NOTE, confusion_svg, coverage_svg, reliability_svg
from fertrack.evaluation.expression.page import facts_html, page_html, table_html, write_text
from fertrack.evaluation.expression.scores import INTERVALS_NOTE, MEASURES, ExpressionScores, score_expressions
from fertrack.expression.calibration import Calibrator, by_expression
from fertrack.types import EXPRESSIONS, FloatArray, IntArray

__all__ = [
    "PRIOR_COLUMNS",
    "Evaluation",
    "PriorRow",
    "evaluate_answers",
    "plain",
    "prior_rows",
    "speed_words",
    "to_json",
    "write_evaluation",
]

PRIOR_COLUMNS = ("accuracy", "mean recall", "macro-F1", "ECE", "ECE at equal shares")
"""Heads of a ``PriorRow``'s figures."""


@dataclass(frozen=True, slots=True)
class PriorRow:
    """The same answers under another prior.

    Attributes:
        assumed: the class shares assumed, for people.
        strength: of the prior correction: 0 leaves training's class shares in, 1 puts others in their place.
        accuracy: at the set's own class shares, as are ``macro_f1`` and ``ece``.
        mean_class_recall: accuracy at equal class shares.
        macro_f1: mean over the expressions that occur.
        ece: calibration error.
        ece_equal_shares: calibration error at equal class shares.
    """

    assumed: str
    strength: float
    accuracy: float
    mean_class_recall: float
    macro_f1: float
    ece: float
    ece_equal_shares: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores, and what they were measured on and with.

    Attributes:
        facts: what was measured with what, for people.
        scores: the figures at the calibration in force.
        priors: the main figures under other priors.
        throughput: images or faces per second, by part.
    """

    facts: dict[str, str]
    scores: ExpressionScores
    priors: tuple[PriorRow, ...]
    throughput: dict[str, float]


def evaluate_answers(
    labelled: LabelledSet, answers: Answers, calibrator: Calibrator, *, resamples: int = 1000
) -> Evaluation:
    """Score what ``classify_set`` gave.

    Raises:
        ValueError: no image has an answer.
    """
    rows = np.flatnonzero(answers.answered)
    logits, labels = answers.logits[rows], labelled.labels[rows]
    scores = score_expressions(
        calibrator.probabilities(logits),
        labels,
        calibrator.thresholds,
        votes=labelled.votes[rows] if labelled.has_votes else None,
        tied=labelled.tied[rows],
        not_found=labelled.labels[~answers.answered],
        resamples=resamples,
    )
    counts = np.bincount(labelled.labels, minlength=len(EXPRESSIONS)).tolist()
    facts = {
        "data": f"{labelled.name} ({labelled.kind})",
        "SHA-256 of the data": labelled.digest(),
        "pictures": f"{len(labelled)}: " + ", ".join(f"{k} {n}" for k, n in zip(EXPRESSIONS, counts, strict=True)),
        "left out": ", ".join(f"{count} {reason}" for reason, count in labelled.left_out.items()) or "none",
        "classifier": answers.classifier + ("" if calibrator.record.calibrated else " (nobody has calibrated it)"),
        "crops": _crops_sentence(answers),
        "calibration": _calibration_sentence(calibrator),
    }
    throughput = {
        "pictures_looked_at_per_s": len(labelled) / answers.detect_s if answers.detect_s else math.nan,
        "faces_classified_per_s": len(rows) / answers.classify_s if answers.classify_s else math.nan,
    }
    return Evaluation(facts, scores, prior_rows(logits, labels, calibrator), throughput)


def prior_rows(logits: FloatArray, labels: IntArray, calibrator: Calibrator) -> tuple[PriorRow, ...]:
    """Main figures with other class shares assumed, all else as configured; none if training's are not known."""
    if not calibrator.classifier.names_training_prior and calibrator.config.training_prior is None:
        return ()
    own = by_expression(np.bincount(labels, minlength=len(EXPRESSIONS)) / len(labels))
    others: dict[str, dict[str, Any]] = {
        "training's": {"prior_strength": 0.0},
        "as configured": {},
        "equal": {"prior_strength": 1.0, "target_prior": None},
        "this set's own": {"prior_strength": 1.0, "target_prior": own},
    }
    rows: list[PriorRow] = []
    for assumed, changes in others.items():
        config = calibrator.config.model_copy(update={**changes, "use_prior": True} if changes else {})
        other = Calibrator(config, calibrator.classifier)
        scores = score_expressions(other.probabilities(logits), labels, other.thresholds, resamples=0)
        values = {name: each.value for name, each in scores.measures.items() if name in PriorRow.__dataclass_fields__}
        rows.append(PriorRow(assumed=assumed, strength=other.record.prior_strength, **values))
    return tuple(rows)


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything as plain JSON values; expressions by name in the order of ``EXPRESSIONS``."""
    return {**asdict(evaluation), "expressions": list(EXPRESSIONS)}


def write_evaluation(evaluation: Evaluation, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write the four files; returns their paths.

    Raises:
        OutputExistsError: one is already there and ``overwrite`` is False.
        ReportError: one cannot be written.
    """
    scores = evaluation.scores
    files = {
        "expression.json": json.dumps(plain(to_json(evaluation)), indent=1, allow_nan=False) + "\n",
        "confusion.csv": _confusion_csv(scores),
        "confusion.svg": confusion_svg(scores.confusion, "Most probable expression") + "\n",
        "expression.html": _html(evaluation),
    }
    return [write_text(folder / name, text, overwrite=overwrite) for name, text in files.items()]


def _calibration_sentence(calibrator: Calibrator) -> str:
    """Sentence about the calibration, so far as it is not the classifier's own."""
    force = calibrator.record
    parts = [f"prior strength {force.prior_strength:g}, T {force.temperature:g}"]
    if len(set(force.target_prior)) > 1 and force.prior_strength > 0.0:
        parts.append("target prior " + _named(by_expression(force.target_prior)))
    if force.scale is not None:
        parts.append("scale " + _named(by_expression(force.scale)))
    if any(force.bias):
        parts.append("bias " + _named(by_expression(force.bias)))
    return ", ".join(parts)


def _named(values: Mapping[Any, float]) -> str:
    return " ".join(f"{name} {value:.3g}" for name, value in values.items())


def _crops_sentence(answers: Answers) -> str:
    if answers.with_detector:
        found = f"{int(answers.found.sum())} of {len(answers.found)} faces found"
        average = int(answers.answered.sum()) - int(answers.found.sum())
        return f"{answers.detector} and alignment in the loop, {found}" + (
            f"; average landmarks for {average} others" if average else ""
        )
    return "the pictures themselves, taken as aligned: cut to a square, resized (areas averaged when shrinking)"


def _confusion_csv(scores: ExpressionScores) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["label", *(f"most_probable_{name}" for name in EXPRESSIONS), *EXPRESSIONS, "uncertain"])
    for name, winner, given in zip(EXPRESSIONS, scores.confusion, scores.confusion_labelled, strict=True):
        writer.writerow([name, *winner[:-1], *given])
    return out.getvalue()


def _html(evaluation: Evaluation) -> str:
    scores = evaluation.scores
    body = [
        facts_html({**evaluation.facts, **({"speed": words} if (words := speed_words(evaluation.throughput)) else {})}),
        "<h2>All expressions</h2>",
        table_html(["measure", "value (95 % interval)"], [[MEASURES[k], v] for k, v in scores.measures.items()]),
        f'<p class="note">{INTERVALS_NOTE}</p>',
    ]
    if scores.not_found:
        missing = ", ".join(f"{name} {count}" for name, count in scores.not_found.items())
        body.append(
            f'<p class="note">No face found: {missing}. They are in no figure but "{MEASURES["accuracy_of_all"]}".</p>'
        )
    body += [
        "<h2>What each expression is taken for</h2>",
        confusion_svg(scores.confusion, "Most probable expression"),
        confusion_svg(scores.confusion_labelled, "Label given (uncertain below its threshold)"),
        '<p class="note">Rows are the labels, columns the answers; percentages and shades are shares of the row.</p>',
        "<h2>Each expression</h2>",
        table_html(
            ["expression", "pictures", "recall", "precision", "F1", "recall of labels", "precision of labels"],
            [
                [row.expression, row.pictures, row.recall, row.precision, row.f1, row.labelled, row.labelled_precision]
                for row in scores.classes
            ],
        ),
        '<p class="note">Wilson score intervals. "Of labels": winners below their threshold are uncertain.</p>',
        "<h2>Calibration and coverage</h2>",
        reliability_svg({"calibrated": scores.reliability}, "Reliability"),
        coverage_svg({"calibrated": scores.coverage}, "Accuracy against coverage"),
        f'<p class="note">{CURVES_NOTE}</p>',
        table_html(
            ["least probability", "share of faces that reach it", "accuracy of those"], [*map(list, scores.coverage)]
        ),
    ]
    if evaluation.priors:
        body += [
            "<h2>Other priors</h2>",
            table_html(
                ["class shares assumed", "prior strength", *PRIOR_COLUMNS],
                [list(asdict(row).values()) for row in evaluation.priors],
            ),
            '<p class="note">What the same answers are worth when other class shares are assumed: training\'s, as '
            "configured, equal ones, or those of these very labels (the natural prior), which a video's are not known "
            "to be. All else as configured; the shares are exchanged after the temperature.</p>",
        ]
    return page_html("Expression estimates against labels", body)


def speed_words(throughput: Mapping[str, float]) -> str:
    """Throughput for people, two digits where it is slow; empty if nothing was timed."""
    return ", ".join(
        f"{value:{'.0f' if value >= 10 else '.2g'}} {name.replace('_per_s', ' a second').replace('_', ' ')}"
        for name, value in throughput.items()
        if not math.isnan(value)
    )


def plain(value: Any) -> Any:
    """The same value with None for what JSON has no number for, and lists for tuples."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
