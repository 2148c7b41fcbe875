"""``fertrack models calibrate``: fits a classifier's calibration on labelled faces."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fertrack.cli.expression import Classifier, Data, Pictures, Split, WithDetector, measure_set
from fertrack.cli.options import Config, Overrides, settings_from
from fertrack.cli.output import err_console, print_json, print_table

if TYPE_CHECKING:
    from fertrack.tuning.calibration_fit import CalibrationFit, FitOptions

__all__ = ["register"]

_SHOWN = ("accuracy", "mean_class_recall", "ece", "ece_equal_mass", "ece_soft", "nll", "brier", "coverage")


class Fitted(StrEnum):
    """Parameters that are fitted beside the thresholds."""

    TEMPERATURE = "temperature"
    BIAS = "bias"
    VECTOR = "vector"


def register(app: typer.Typer) -> None:
    """Add this module's command to ``fertrack models``."""
    app.command("calibrate")(calibrate)


def calibrate(
    data: Data,
    with_detector: WithDetector = False,
    classifier: Classifier = "",
    fit: Annotated[
        Fitted,
        typer.Option("--fit", help="temperature; bias: one for each expression too; vector: scale and bias for each."),
    ] = Fitted.TEMPERATURE,
    prior_strength: Annotated[
        float | None,
        typer.Option("--prior-strength", min=0.0, max=1.0, help="Of the prior correction. [default: chosen here]"),
    ] = None,
    precision: Annotated[
        float, typer.Option("--precision", min=0.0, max=0.999, help="Wanted share right of the labels given.")
    ] = 0.80,
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap draws for the intervals.")] = 1000,
    split: Split = "",
    pictures: Pictures = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="[default: configs/calibration/CLASSIFIER.toml]"),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write calibration.html and calibration.json there.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same name.")] = False,
    config: Config = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit a classifier's temperature, thresholds and more on labelled faces; judged on held-out faces.

    Three more options are for --set: fit.shares, the class shares to fit at ("assumed" by the prior correction, "own",
    "equal"); fit.floor, below which no threshold is set (0.4); fit.folds of the cross-fitting (5).

    Examples: fertrack models calibrate faces/ --with-detector --precision 0.9 · fertrack models calibrate list.csv
    --fit bias --classifier my_bundle -o mine.toml --report scores · fertrack process clip.mp4 --config mine.toml
    """
    from fertrack.build import build_calibrator
    from fertrack.errors import EvaluationError
    from fertrack.evaluation.datasets.open import read_labelled
    from fertrack.files import check_free
    from fertrack.tuning.calibration_file import fit_facts, fit_json, write_calibration, write_fit_report
    from fertrack.tuning.calibration_fit import check_enough, fit_calibration

    of_fit = [override for override in overrides or () if override.startswith("fit.")]
    other = [override for override in overrides or () if not override.startswith("fit.")]
    options = _fit_options(of_fit, kind=fit.value, strength=prior_strength, precision=precision, resamples=resamples)
    settings = settings_from(config, other, {"classification.bundle": ("--classifier", classifier or None)})
    in_force = build_calibrator(settings)
    name = in_force.classifier.classifier.replace(" ", "-").replace("/", "-")
    path = out or Path("configs") / "calibration" / f"{name}.toml"
    labelled = read_labelled(data, split=split, pictures=pictures)
    check_free(path, overwrite=overwrite)
    if report is not None:
        check_free(report / "calibration.json", overwrite=overwrite)
    try:
        check_enough(labelled.labels)  # before minutes of work, and in fit_calibration again: faces are not all found
    except ValueError as error:
        raise EvaluationError(f"{data}: {error}") from error
    labelled, answers = measure_set(labelled, settings, with_detector=with_detector)
    rows = answers.answered
    try:
        found = fit_calibration(
            answers.logits[rows],
            labelled.labels[rows],
            in_force.classifier,
            options,
            in_force=in_force,
            votes=labelled.votes[rows] if labelled.has_votes else None,
            tied=labelled.tied[rows],
        )
    except ValueError as error:
        raise EvaluationError(f"{data}: {error}") from error
    digest = labelled.digest()
    described = f"{labelled.name} ({labelled.kind})" + (", detector and alignment in the loop" if with_detector else "")
    write_calibration(found, path, data=described, data_sha256=digest, overwrite=overwrite)
    facts = {
        "data": described,
        "SHA-256 of the data": digest,
        "faces": f"{int(rows.sum())} of {len(labelled)} images",
        "left out": ", ".join(f"{count} {reason}" for reason, count in labelled.left_out.items()) or "none",
    }
    written = [path, *(write_fit_report(found, report, facts, overwrite=overwrite) if report else [])]
    if as_json:
        print_json({**fit_json(found), "facts": facts, "files": [str(each) for each in written]})
        return
    for key, fact in {**facts, **fit_facts(found)}.items():
        typer.echo(f"{key}: {fact}")
    typer.echo()
    _print_before_and_after(found)
    _print_targets(found)
    for each in written:
        err_console().print(str(each))


def _fit_options(overrides: Sequence[str], **given: Any) -> FitOptions:
    """Options of the fit: from flags, and from ``fit.name=value``."""
    from pydantic import ValidationError

    from fertrack.config import parse_override
    from fertrack.errors import WrongUsageError
    from fertrack.tuning.calibration_fit import FitOptions
    from fertrack.tuning.config import FitConfig

    typed = {name: value for override in overrides for name, value in parse_override(override)["fit"].items()}
    try:
        options = FitConfig.model_validate(typed)
    except ValidationError as error:
        problem = error.errors()[0]
        known = ", ".join(FitConfig.model_fields)
        raise WrongUsageError(f"--set fit.{problem['loc'][0]}: {problem['msg']}; there are {known}") from error
    return FitOptions(**given, **options.model_dump())


def _print_targets(fit: CalibrationFit) -> None:
    from fertrack.tuning.calibration_file import TARGET_COLUMNS, shortfalls, target_rows

    if fit.targets:
        typer.echo()
        print_table(list(TARGET_COLUMNS), target_rows(fit))
    if short := shortfalls(fit):
        typer.echo("\nmind:")
    for each in short:
        typer.echo(f"  {each}")


def _print_before_and_after(fit: CalibrationFit) -> None:
    from fertrack.evaluation.expression.scores import INTERVALS_NOTE, MEASURES

    print_table(
        ["measure", "as trained", "before", "after, held out"],
        [
            [MEASURES[name], *(str(stage.measures[name]) for stage in (fit.raw, fit.before, fit.after))]
            for name in _SHOWN
            if name in fit.after.measures
        ],
    )
    typer.echo(INTERVALS_NOTE)
