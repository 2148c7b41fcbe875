"""``fertrack models bias``: class biases learned from labelled faces or from users' corrections, in versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fertrack.cli.expression import Classifier, Pictures, Split, WithDetector, measure_bundle_on
from fertrack.cli.options import DEFAULT_DB, DEFAULT_OUT, Config, Database, Overrides, Run, settings_from
from fertrack.cli.output import err_console, print_json, print_table

if TYPE_CHECKING:
    from fertrack.tuning.bias_fit import BiasFit

__all__ = ["app"]

app = typer.Typer(
    help="Correct systematic confusions with class biases learned from labelled faces, kept in versions.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Option("--profiles", metavar="DIR", help="Folder of the profiles.")]
DEFAULT_PROFILES = DEFAULT_OUT / "bias"


@app.command("fit")
def fit(
    source: Annotated[str, typer.Argument(metavar="RUN|DATA", help="A run with imported labels, or labelled images.")],
    with_detector: WithDetector = False,
    classifier: Classifier = "",
    split: Split = "",
    pictures: Pictures = None,
    folder: Folder = DEFAULT_PROFILES,
    config: Config = None,
    overrides: Overrides = None,
    db: Database = DEFAULT_DB,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Learn class biases that reduce one-sided confusions; refused unless held-out faces gain by more than chance.

    Examples: fertrack import-labels last corrected.csv, then fertrack models bias fit last ·
    fertrack models bias fit faces/
    """
    from fertrack.tuning.bias_fit import fit_bias
    from fertrack.tuning.bias_profiles import save_profile

    if Path(source).exists():
        from fertrack.build import build_calibrator
        from fertrack.expression.calibration import Calibrator

        flags = {"classification.bundle": ("--classifier", classifier or None)}
        settings = settings_from(config, overrides, flags)
        own = build_calibrator(settings)
        calibrator = Calibrator(settings.calibration.model_copy(update={"bias_profile": None}), own.classifier)
        labelled, answers = measure_bundle_on(Path(source), settings, split, pictures, with_detector=with_detector)
        rows = answers.answered
        found = fit_bias(answers.logits[rows], labelled.labels[rows], calibrator)
        where, digest = f"{labelled.name} ({labelled.kind})", labelled.digest()
    else:
        from fertrack.config import load_settings
        from fertrack.evaluation.expression.corrections import calibrator_of, corrected_faces
        from fertrack.storage.engine import open_database

        with open_database(db) as database, database.run(source) as run:
            faces = corrected_faces(run)
            in_force = load_settings(base=run.facts.config_toml).calibration
            base = in_force.model_copy(update={"bias_profile": None})
            calibrator = calibrator_of(run, base)
        found = fit_bias(faces.logits, faces.labels, calibrator, groups=faces.groups)
        where, digest = f"corrections of run {faces.run}", faces.digest()  # no name: the source's may be a person's
    profile = save_profile(
        folder, found, classifier=calibrator.classifier.classifier, fitted_on=where, data_sha256=digest
    )
    if as_json:
        print_json({"version": profile.version, "path": str(profile.path), "bias": profile.bias, **_worth(found)})
        return
    typer.echo(f"profile {profile.version}, learned from {profile.moments} moments: {where}")
    print_table(["expression", "bias", "moments"], list(_rows(found)))
    typer.echo()
    _tell(found)
    err_console().print(
        f"fertrack models bias use {profile.version} RUN applies it to a stored run; for new videos: "
        f"--config {profile.path}"
    )


@app.command("list")
def list_profiles(
    folder: Folder = DEFAULT_PROFILES,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the profiles: what each was learned from, and macro-F1 of held-out faces without and with it."""
    from dataclasses import asdict

    from fertrack.tuning.bias_profiles import profiles

    known = profiles(folder)
    if as_json:
        print_json([asdict(profile) for profile in known])
        return
    columns = ["version", "made", "classifier", "learned from", "moments", "macro-F1 without", "with"]
    print_table(
        columns,
        [
            [
                each.version,
                f"{each.made_at:%Y-%m-%d %H:%M}",
                each.classifier,
                each.fitted_on,
                each.moments,
                each.macro_f1_before,
                each.macro_f1_after,
            ]
            for each in known
        ],
    )


@app.command("use")
def use(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Number of a profile, or 'none'.")],
    run: Run,
    folder: Folder = DEFAULT_PROFILES,
    db: Database = DEFAULT_DB,
) -> None:
    """Rescore a stored run with a profile, or with none; takes seconds, and 'fertrack models bias undo' takes it back.

    Examples: fertrack models bias use 2 last · fertrack models bias use none last
    """
    from fertrack.storage.engine import open_database
    from fertrack.tuning.bias_profiles import apply_profile, find_profile

    if version != "none" and not version.isdigit():
        raise typer.BadParameter(f"{version!r} is neither a number nor 'none'", param_hint="VERSION")
    with open_database(db) as database:
        profile = None if version == "none" else find_profile(folder, int(version))
        outcome = apply_profile(database, run, profile)
    typer.echo(f"run {outcome.run}: {outcome.faces} faces rescored, {outcome.labels_changed} labels changed")


@app.command("undo")
def undo(run: Run, db: Database = DEFAULT_DB) -> None:
    """Take back the last change of a run's calibration or smoothing; called again, the one before.

    Example: fertrack models bias undo last
    """
    from fertrack.storage.engine import open_database
    from fertrack.tuning.bias_profiles import undo_rescore

    with open_database(db) as database:
        outcome = undo_rescore(database, run)
    typer.echo(f"run {outcome.run}: {outcome.faces} faces rescored, {outcome.labels_changed} labels changed")


def _rows(fit: BiasFit) -> list[list[object]]:
    from fertrack.types import EXPRESSIONS

    return [list(row) for row in zip(EXPRESSIONS, fit.bias, fit.moments, strict=True)]


def _worth(fit: BiasFit) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "macro_f1_before": fit.macro_f1_before,
        "macro_f1_after": fit.macro_f1_after,
        "macro_f1_gain": asdict(fit.macro_f1_gain),
        "mean_recall_gain": asdict(fit.recall_gain),
        "confusions": [asdict(each) for each in fit.confusions],
    }


def _tell(fit: BiasFit) -> None:
    gain = fit.macro_f1_gain
    typer.echo(
        f"faces held out: macro-F1 {fit.macro_f1_before:.3f} without, {fit.macro_f1_after:.3f} with it "
        f"(95 % interval of the gain {gain.low:+.3f} to {gain.high:+.3f})"
    )
    for each in fit.confusions:
        typer.echo(f"  {each.label} taken for {each.answer}: {each.before:.1%} without, {each.after:.1%} with it")
