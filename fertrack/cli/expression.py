"""``fertrack evaluate expression`` and ``corrections``: estimates against labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fertrack.cli.options import DEFAULT_DB, Config, Database, Overrides, Run, calibration_source, settings_from
from fertrack.cli.output import err_console, print_json, print_table

if TYPE_CHECKING:
    from fertrack.config import Settings
    from fertrack.evaluation.datasets.open import LabelledSet
    from fertrack.evaluation.expression.classify import Answers, NotFound
    from fertrack.evaluation.expression.report import Evaluation

__all__ = [
    "Classifier",
    "Data",
    "Pictures",
    "Split",
    "WithDetector",
    "measure_bundle_on",
    "measure_set",
    "register",
]

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Folder of class sub-folders, RAF-DB's folder, CSV (path, label; AffectNet, FER+, FER2013), or npz.",
    ),
]
Classifier = Annotated[
    str,
    typer.Option(
        "--classifier", metavar="BUNDLE", help='"default", a bundle\'s folder, or a weights file with its card.'
    ),
]
WithDetector = Annotated[
    bool,
    typer.Option("--with-detector", help="Find and align the faces first; otherwise images are taken as aligned."),
]
Split = Annotated[str, typer.Option("--split", help="Part of the data, for example test, train, PublicTest.")]
Pictures = Annotated[
    Path | None, typer.Option("--pictures", metavar="DIR", help="Where the paths in a CSV file start from.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands to ``fertrack evaluate``."""
    app.command("expression")(expression)
    app.command("corrections")(corrections)


def expression(
    data: Data,
    with_detector: WithDetector = False,
    classifier: Classifier = "",
    split: Split = "",
    pictures: Pictures = None,
    average: Annotated[
        bool,
        typer.Option("--average-landmarks", help="Where no face is found, answer from average landmarks all the same."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write JSON, HTML and the confusion matrix there.")
    ] = None,
    model_card: Annotated[
        Path | None, typer.Option("--model-card", metavar="FILE", help="Write the classifier's model card there.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap draws for the intervals.")] = 1000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same name.")] = False,
    config: Config = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a classifier on labelled images: accuracy, F1, recall, calibration, confusion, coverage, speed.

    Examples: fertrack evaluate expression faces/ --with-detector -o scores · fertrack evaluate expression RAF-DB/
    --classifier my_bundle --split test · fertrack evaluate expression list.csv --config mine.toml
    """
    from fertrack.build import build_calibrator
    from fertrack.evaluation.expression.report import evaluate_answers
    from fertrack.files import check_free

    settings = settings_from(config, overrides, {"classification.bundle": ("--classifier", classifier or None)})
    calibrator = build_calibrator(settings)
    if out is not None:
        check_free(out / "expression.json", overwrite=overwrite)  # before minutes of work
    labelled, answers = measure_bundle_on(
        data, settings, split, pictures, with_detector=with_detector, not_found="average" if average else "leave-out"
    )
    evaluation = evaluate_answers(labelled, answers, calibrator, resamples=resamples)
    evaluation.facts["calibration"] += calibration_source(config)
    if model_card is not None:
        from fertrack.evaluation.expression.model_card import write_card

        err_console().print(str(write_card(settings, evaluation, model_card, overwrite=overwrite)))
    _show(evaluation, out, overwrite=overwrite, as_json=as_json)


def corrections(
    run: Run,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write JSON, HTML and the confusion matrix there.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap draws for the intervals.")] = 1000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same name.")] = False,
    db: Database = DEFAULT_DB,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a stored run against the labels that people gave.

    Example: fertrack evaluate corrections last -o scores
    """
    from fertrack.evaluation.expression.corrections import evaluate_corrections
    from fertrack.storage.engine import open_database

    with open_database(db) as database, database.run(run) as stored:
        evaluation = evaluate_corrections(stored, resamples=resamples)
    _show(evaluation, out, overwrite=overwrite, as_json=as_json)


def measure_bundle_on(
    data: Path,
    settings: Settings,
    split: str = "",
    pictures: Path | None = None,
    *,
    with_detector: bool,
    not_found: NotFound = "leave-out",
) -> tuple[LabelledSet, Answers]:
    """Read labelled images and ask the classifier about them, with a progress line.

    Returns:
        The images that can be read, and the answers; the others are named on stderr.

    Raises:
        EvaluationError: the data cannot be read, or no face was found in any image.
    """
    from fertrack.evaluation.datasets.open import read_labelled

    labelled = read_labelled(data, split=split, pictures=pictures)
    return measure_set(labelled, settings, with_detector=with_detector, not_found=not_found)


def measure_set(
    labelled: LabelledSet, settings: Settings, *, with_detector: bool, not_found: NotFound = "leave-out"
) -> tuple[LabelledSet, Answers]:
    """The second half of ``measure_bundle_on``, for images whose labels were read before.

    Raises:
        EvaluationError: too many images cannot be read, or no face was found in any.
    """
    from rich.progress import Progress

    from fertrack.classifiers import build_classifier
    from fertrack.detectors import build_detector
    from fertrack.errors import EvaluationError
    from fertrack.evaluation.expression.classify import classify_readable, detection_for

    classifier = build_classifier(settings.classification)
    detector = build_detector(detection_for(labelled, settings.detection)) if with_detector else None
    with Progress(console=err_console(), transient=True) as progress:
        task = progress.add_task("reading images", total=len(labelled))
        readable, answers = classify_readable(
            labelled,
            classifier,
            detector,
            not_found=not_found,
            on_image=lambda done: progress.update(task, completed=done),
        )
    for reason in readable.left_out.keys() - labelled.left_out.keys():
        err_console().print(f"note: left out: {readable.left_out[reason]} {reason}", markup=False, soft_wrap=True)
    if not answers.answered.any():
        raise EvaluationError(f"no face was found in any of the {len(readable)} images of {labelled.name}")
    return readable, answers


def _show(evaluation: Evaluation, out: Path | None, *, overwrite: bool, as_json: bool) -> None:
    from dataclasses import asdict

    from fertrack.evaluation.expression.report import PRIOR_COLUMNS, speed_words, to_json, write_evaluation
    from fertrack.evaluation.expression.scores import INTERVALS_NOTE, MEASURES

    if out is not None:
        for path in write_evaluation(evaluation, out, overwrite=overwrite):
            err_console().print(str(path))
    if as_json:
        print_json(to_json(evaluation))
        return
    for name, fact in evaluation.facts.items():
        typer.echo(f"{name}: {fact}")
    if words := speed_words(evaluation.throughput):
        typer.echo(f"speed: {words}")
    typer.echo()
    print_table(
        ["measure", "value", "95 % interval"],
        [
            [MEASURES[name], each.value, f"{each.low:.3f} to {each.high:.3f}" if each.low < each.high else "-"]
            for name, each in evaluation.scores.measures.items()
        ],
    )
    if any(each.low < each.high for each in evaluation.scores.measures.values()):
        typer.echo(INTERVALS_NOTE)
    typer.echo()
    print_table(
        ["expression", "images", "recall", "precision", "F1"],
        [
            [row.expression, row.pictures, row.recall.value, row.precision.value, row.f1]
            for row in evaluation.scores.classes
        ],
    )
    if evaluation.priors:
        typer.echo()
        print_table(
            ["class shares assumed", "prior strength", *PRIOR_COLUMNS],
            [list(asdict(row).values()) for row in evaluation.priors],
        )
