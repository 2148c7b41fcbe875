"""``fertrack markers``: named times of a run, such as stimuli; and ``fertrack stats epochs`` around them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fertrack.cli.options import DEFAULT_DB, By, Database, Format, OnlyPerson, OutputFormat, Run, Runs, Uncorrected
from fertrack.cli.output import err_console, misuse, note_corrections, print_answer

__all__ = ["app", "register"]

app = typer.Typer(help="Named times of a run, such as stimuli: import, list, delete.", no_args_is_help=True)


def register(stats: typer.Typer) -> None:
    """Add this module's command to ``fertrack stats``."""
    stats.command("epochs")(epochs)


class MarkerFormat(StrEnum):
    """Format of a file of markers."""

    CSV = "csv"
    BIDS = "bids"
    PSYCHOPY = "psychopy"
    BORIS = "boris"
    EAF = "eaf"
    TEXTGRID = "textgrid"
    WEBVTT = "webvtt"
    XDF = "xdf"


@app.command("import")
def import_markers(
    run: Run,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A table with time_s and label, BIDS events, PsychoPy, BORIS, ELAN, Praat, WebVTT or XDF.",
        ),
    ],
    file_format: Annotated[
        MarkerFormat | None, typer.Option("--format", help="What the file is, where that is not recognised.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="THEIRS=OURS", help="Which column is time_s, label, end_s, duration_s, note."),
    ] = None,
    tier: Annotated[str, typer.Option(metavar="NAME", help="Only this tier, stream, subject or observation.")] = "",
    offset: Annotated[
        float, typer.Option(metavar="S", help="Seconds to add: when the file's time 0 is in the video.")
    ] = 0.0,
    sync: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MARKER=TIME", help="When a marker is in the video, seconds; twice or more takes out drift, too."
        ),
    ] = None,
    skip_outside: Annotated[
        bool, typer.Option("--skip-outside", help="Leave out markers that lie outside the run, instead of refusing.")
    ] = False,
    db: Database = DEFAULT_DB,
) -> None:
    """Add the markers of a file to a run; importing a file again adds nothing, 'markers undo' takes it back.

    Examples: fertrack markers import last events.csv · fertrack markers import last sub-01_events.tsv --offset 12.5 ·
    fertrack markers import last trials.csv --sync start=3.20 --sync end=1803.28
    """
    from fertrack.imports.marker_import import Reading
    from fertrack.imports.marker_import import import_markers as import_file
    from fertrack.storage.engine import open_database

    reading = Reading(
        file_format.value if file_format else "",
        dict(_pair(text, "--map", "onset=time_s") for text in columns or ()) or None,
        tier,
        offset,
        [(name, _seconds(text, time)) for text in sync or () for name, time in [_pair(text, "--sync", "start=3.2")]],
    )
    if reading.sync and offset:
        raise typer.BadParameter("--sync says the offset, too: give one of the two")
    with open_database(db) as database:
        report = import_file(database, run, file, reading, skip_outside=skip_outside)
    known = f", {report.known} known already" if report.known else ""
    typer.echo(f"run {report.run}: {report.added} markers added{known}")
    for note in filter(None, (report.clock, report.outside)):
        err_console().print(f"note: {note}", soft_wrap=True)


@app.command("undo")
def undo_import(run: Run, db: Database = DEFAULT_DB) -> None:
    """Take back the latest import of markers."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.markers import undo_import as undo

    with open_database(db) as database:
        name, count = undo(database, run)
    typer.echo(f"undone: the import of {name}, {count} markers deleted" if name else "there is no import to undo")


@app.command("list")
def list_markers(run: Run, output_format: OutputFormat = Format.TABLE, db: Database = DEFAULT_DB) -> None:
    """List the markers of a run."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.markers import markers

    with open_database(db) as database, database.run(run) as stored:
        print_answer(markers(stored), output_format)


@app.command("delete")
def delete_markers(
    run: Run,
    label: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only those of this name.")] = None,
    db: Database = DEFAULT_DB,
) -> None:
    """Delete markers of a run."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.markers import delete_markers as delete

    with open_database(db) as database:
        typer.echo(f"{delete(database, run, label=label)} markers deleted")


def epochs(
    run: Runs,
    marker: Annotated[str | None, typer.Option(metavar="NAME", help="Only around markers of this name.")] = None,
    from_s: Annotated[float, typer.Option("--from", metavar="S", help="Beginning, seconds from the marker.")] = -1.0,
    to_s: Annotated[float, typer.Option("--to", metavar="S", help="End, seconds from the marker.")] = 4.0,
    baseline: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="S S", help="Subtract each trial's mean from here to there, such as -1 0."),
    ] = None,
    by: By = None,
    person: OnlyPerson = None,
    expression: Annotated[str | None, typer.Option(help="Only this expression.")] = None,
    rate_hz: Annotated[float, typer.Option("--rate", metavar="HZ", help="Values per second.")] = 10.0,
    smoothed: Annotated[
        bool, typer.Option("--smoothed", help="Smoothed probabilities instead of each frame's own; they lag.")
    ] = False,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the means by condition: .svg, .png, .pdf or .html.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a figure of that name.")] = False,
    uncorrected: Uncorrected = False,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """Average probabilities around markers, by condition.

    CSV and JSON have a row per person, trial, time and expression; the table has, for each condition, the mean from the
    marker on across trials, with its 95 % t interval. Time in which a face could not be read is missing.

    Examples: fertrack stats epochs last --marker stimulus --baseline -1 0 --figure epochs.svg ·
    fertrack stats epochs last --by trial_type --from -0.5 --to 2 --format csv
    """
    from fertrack.reporting.epoch_figure import figure_of_run
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.epochs import EpochRule, epoch_means
    from fertrack.storage.queries.epochs import epochs as ask_epochs
    from fertrack.storage.stored_run import StoredRun
    from fertrack.storage.written_files import EpochFigure

    with open_database(db, corrected=not uncorrected) as database, misuse():
        rule = EpochRule(from_s, to_s, rate_hz, baseline, smoothed)
        with database.runs(run) as stored:
            if figure is not None and not isinstance(stored, StoredRun):
                raise ValueError("--figure draws one run: name it instead of 'all'")
            table = ask_epochs(stored, marker, rule, by=by, who=person, expression=expression)
            number = stored.number
        if figure is not None:
            asked = EpochFigure(rule, marker, by, person, expression)
            figure_of_run(database, int(number), figure, asked, overwrite=overwrite)
            err_console().print(f"{figure}", soft_wrap=True)
    attrs = dict(table.attrs)
    if output_format is Format.TABLE:
        table = epoch_means(table, after_only=True)
    print_answer(table, output_format)
    trials = "1 marker" if attrs["trials"] == 1 else f"{attrs['trials']} markers"
    err_console().print(
        f"{trials}; {100.0 * attrs['missing']:.1f} % of the values are missing: no face, not readable, or not filmed"
    )
    note_corrections(attrs["corrected"], attrs["run"])


def _pair(text: str, option: str, example: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=")
    if not equals or not name or not value:
        raise typer.BadParameter(
            f"{text!r} must be two names with = between them, such as {example}", param_hint=option
        )
    return name, value


def _seconds(text: str, time: str) -> float:
    from fertrack.tables import Row

    try:
        seconds = Row(0, {"time": time}).seconds("time")
    except ValueError:
        seconds = None
    if seconds is None:
        raise typer.BadParameter(f"{text!r}: {time!r} is no time such as 12.5 or 0:12.5", param_hint="--sync")
    return seconds
