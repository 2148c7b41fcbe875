"""Commands about what is stored: ``runs``, ``timeline``, and ``rescore``."""

from __future__ import annotations

from typing import Annotated

import typer

from fertrack.cli.groups import DefaultGroup
from fertrack.cli.options import (
    DEFAULT_DB,
    Config,
    Database,
    Format,
    OutputFormat,
    Overrides,
    Run,
    Stated,
    Uncorrected,
    seconds,
    settings_from,
)
from fertrack.cli.output import err_console, frame_to, note_corrections, note_coverage, print_coverage, with_coverage

__all__ = ["register", "runs_app"]


_TABLE_ROWS = 40

runs_app = typer.Typer(help="List the stored runs, or delete one. `runs` alone is `runs list`.", cls=DefaultGroup)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(runs_app, name="runs")
    app.command("timeline")(timeline)
    app.command("rescore")(rescore)


@runs_app.command("list")
def runs(stated: Stated = "", db: Database = DEFAULT_DB, output_format: OutputFormat = Format.TABLE) -> None:
    """List the runs in the database.

    Example: fertrack runs list condition=stress
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.runs import runs as askruns_app

    with open_database(db) as database:
        frame = askruns_app(database, stated)
    if output_format is Format.TABLE:
        told = [name for name in ("participant", "session", "condition") if (frame[name] != "").any()]
        frame = frame[["run", "source", *told, "status", "started_at", "frames", "track_count", "video_s"]]
        frame["started_at"] = [f"{moment:%Y-%m-%d %H:%M}" for moment in frame["started_at"]]
    frame_to(frame, output_format)


@runs_app.command("delete")
def delete_run(
    run: Run,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    db: Database = DEFAULT_DB,
) -> None:
    """Delete a run with all its rows, for good; says what goes first, and asks.

    Files written from it (videos, reports, exports) are named: delete them yourself.

    Examples: fertrack runs delete last · fertrack runs delete 3 --yes
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.rights.retention import delete_run as delete

    with open_database(db) as database:
        goes = delete(database, run, dry_run=True)
        typer.echo(
            f"run {goes.run} of {goes.source}: {goes.frames} frames, {goes.faces} faces, {goes.corrections} corrected "
            f"labels, {goes.persons} persons who are in no other run"
        )
        if not yes:
            typer.confirm(f"Delete run {goes.run}? This cannot be undone", abort=True)
        gone = delete(database, goes.run)
    typer.echo(f"run {gone.run} deleted")
    for file in gone.files:
        err_console().print(f"note: {file} was written from it: delete it too", markup=False, soft_wrap=True)


def timeline(
    run: Run,
    track: Annotated[int | None, typer.Option(help="Only this track ID.")] = None,
    person: Annotated[str | None, typer.Option(help="Only this person, with all their tracks: a name, or P3.")] = None,
    expression: Annotated[str | None, typer.Option(help="Only this label (or 'uncertain').")] = None,
    from_s: Annotated[
        float | None, typer.Option("--from", metavar="TIME", parser=seconds, help="From here: 12.5, 0:12, 1m30s.")
    ] = None,
    to_s: Annotated[float | None, typer.Option("--to", metavar="TIME", parser=seconds, help="To before here.")] = None,
    rate_hz: Annotated[
        float | None,
        typer.Option("--rate", metavar="HZ", help="This many rows per second and person, means over time."),
    ] = None,
    uncorrected: Uncorrected = False,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """Show who showed which expression when: one row per person and frame, or at an even rate.

    Examples: fertrack timeline last · fertrack timeline 3 --person P2 --from 10 --to 20 --format csv ·
    fertrack timeline last --rate 5 --format csv
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.people.persons import tracks_of_person
    from fertrack.storage.queries.timeline import label_index
    from fertrack.types import label_name

    if rate_hz is not None and track is not None:
        raise typer.BadParameter("gives one row per person: name one with --person, not --track", param_hint="--rate")
    if from_s is not None and to_s is not None and from_s >= to_s:
        raise typer.BadParameter(f"{from_s:g} is not before --to {to_s:g}", param_hint="--from")
    if expression is not None:
        try:
            expression = label_name(label_index(expression))
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--expression") from error
    if rate_hz is not None:
        _show_resampled(db, run, rate_hz, person, expression, from_s, to_s, output_format, uncorrected=uncorrected)
        return
    from fertrack.reporting.exports.csv_export import face_table
    from fertrack.storage.queries.batches import run_coverage

    with open_database(db, corrected=not uncorrected) as database, database.run(run) as stored:
        facts = stored.facts
        tracks: tuple[int, ...] = () if track is None else (track,)
        if person is not None:
            tracks = tracks_of_person(stored, person)
        rows = face_table(stored, track, expression=expression, from_s=from_s, to_s=to_s, confirmed_only=track is None)
        covered = run_coverage(stored, tracks=tracks or None, from_s=from_s, to_s=to_s)
        corrected = stored.corrected_faces
    if person is not None:
        rows = rows[rows["track"].isin(tracks)]
    if output_format is not Format.TABLE:
        # The CSV is that of `fertrack export`, which `import-labels` reads: its columns are fixed.
        is_json = output_format is Format.JSON
        frame_to(with_coverage(rows, covered) if is_json else rows, output_format)
        note_coverage(covered)
        note_corrections(corrected, facts.id)
        return
    rows = rows[["time_s", "frame_index", "person", "label", "probability"]].assign(
        person=rows["person"].fillna("ID " + rows["track"].astype(str))
    )
    rows = rows.rename(columns={"frame_index": "frame"})
    title = f"{facts.source_name}, run {facts.id}, from {database.name}"
    frame_to(rows.head(_TABLE_ROWS), output_format, title=title)
    if rows.empty:
        err_console().print(
            f"nothing there: the run covers {facts.summary.video_s:.2f} s and {facts.summary.tracks} tracks"
        )
    if len(rows) > _TABLE_ROWS:
        err_console().print(
            f"{_TABLE_ROWS} of {len(rows)} rows shown: --format csv prints all of them, 'fertrack episodes {facts.id}' "
            "sums them up",
            soft_wrap=True,
        )
    note_coverage(covered)
    note_corrections(corrected, facts.id)


def _show_resampled(
    db: str,
    run: str,
    rate_hz: float,
    person: str | None,
    expression: str | None,
    from_s: float | None,
    to_s: float | None,
    output_format: Format,
    *,
    uncorrected: bool,
) -> None:
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.resample import resampled_timeline

    with open_database(db, corrected=not uncorrected) as database, database.run(run) as stored:
        try:
            rows = resampled_timeline(stored, rate_hz, who=person, from_s=from_s, to_s=to_s)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    attrs = dict(rows.attrs)
    if expression is not None:
        rows = rows[rows["label"] == expression]
    shown = rows.head(_TABLE_ROWS) if output_format is Format.TABLE else rows
    frame_to(shown, output_format)
    if len(shown) < len(rows):
        err_console().print(f"{len(shown)} of {len(rows)} rows shown: --format csv prints all of them")
    print_coverage(attrs)


def rescore(
    run: Run,
    config: Config = None,
    overrides: Overrides = None,
    original: Annotated[
        bool, typer.Option("--original", help="Start from what the run was made with, before any rescoring.")
    ] = False,
    db: Database = DEFAULT_DB,
) -> None:
    """Recompute the labels and the smoothing of a stored run from its raw logits, without the video.

    Starts from the options now in force for the run, and takes [calibration] and [smoothing] only; 'fertrack models
    calibrate' writes such a file. Reports and videos already written stay as they are: write them again with
    'fertrack report' and 'fertrack render'.

    Examples: fertrack rescore last --config rafdb · fertrack rescore last --set smoothing.half_life_s=0.5 ·
    fertrack rescore last --config mine.toml
    """
    from fertrack.config import digest, load_settings, to_toml
    from fertrack.expression.calibration import Calibrator
    from fertrack.storage.engine import open_database
    from fertrack.storage.rescore import original_config
    from fertrack.storage.rescore import rescore as rescore_run

    for override in overrides or ():
        if not override.startswith(("calibration.", "smoothing.")):
            raise typer.BadParameter(
                f"{override}: only calibration.* and smoothing.* can be rescored; else process the video again",
                param_hint="--set",
            )
    with open_database(db) as database:
        with database.run(run) as stored:
            facts = stored.facts
            base = original_config(stored) if original else facts.config_toml
        asked = settings_from(config, overrides, base=base)
        settings = load_settings(base=base).model_copy(
            update={"calibration": asked.calibration, "smoothing": asked.smoothing}
        )
        calibrator = Calibrator(settings.calibration, facts.own_calibration)
        outcome = rescore_run(
            database,
            facts.id,
            calibrator,
            settings.smoothing,
            config_toml=to_toml(settings),
            config_digest=digest(settings),
        )
    typer.echo(f"run {facts.id}: {outcome.faces} faces rescored, {outcome.labels_changed} labels changed")
