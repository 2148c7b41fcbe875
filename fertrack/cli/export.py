"""``fertrack export`` and ``fertrack import-labels``: rows for other tools, and corrected labels."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fertrack.cli.options import DEFAULT_DB, DEFAULT_OUT, Config, Database, Overrides, Run, Uncorrected, settings_from
from fertrack.cli.output import err_console, note_corrections

if TYPE_CHECKING:
    from fertrack.storage.people.corrections import ImportReport

__all__ = ["register"]

_NAMED = 10


class ExportFormat(StrEnum):
    """Format of an exported run."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    SRT = "srt"
    VTT = "vtt"
    ASS = "ass"
    ELAN = "elan"
    MOT = "mot"
    EAF = "eaf"
    TEXTGRID = "textgrid"
    BORIS = "boris"
    FACEREADER = "facereader"
    BIDS = "bids"
    OPENFACE = "openface"
    WIDE = "wide"
    XLSX = "xlsx"
    SQLITE = "sqlite"
    DUCKDB = "duckdb"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("export")(export)
    app.command("import-labels")(import_labels)


def export(
    run: Run,
    output_format: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="csv, jsonl, parquet: every face; srt, vtt, ass: episodes as subtitles; elan: episodes as "
            "tab-delimited text; mot: boxes as MOTChallenge text; eaf: ELAN; textgrid: Praat; boris: a BORIS project; "
            "facereader, openface: tables in the shape of those programs'; bids: events; wide: a row a time, columns "
            "a person; xlsx: an Excel workbook; sqlite, duckdb: one flat file of tables.",
        ),
    ],
    track: Annotated[int | None, typer.Option(help="Only this track ID.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Output folder.")] = DEFAULT_OUT,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same name.")] = False,
    uncorrected: Uncorrected = False,
    config: Config = None,
    overrides: Overrides = None,
    db: Database = DEFAULT_DB,
) -> None:
    """Write a stored run for other tools; names the files. [report] sets what counts as an episode.

    Classifiers are exported by 'fertrack models export'.

    Examples: fertrack export last --format csv · fertrack export 3 --format ass --track 2 -o subtitles ·
    fertrack export last --format srt --set report.min_episode_s=1
    """
    from fertrack.files import make_folder
    from fertrack.reporting.exports.registry import export_run
    from fertrack.storage.engine import open_database

    settings = settings_from(config, overrides or [])
    with open_database(db, corrected=not uncorrected) as database:
        make_folder(out)
        paths = export_run(database, run, output_format, out, track=track, config=settings.report, overwrite=overwrite)
        with database.run(run) as stored:
            number, corrected = stored.number, stored.corrected_faces
    for path in paths:
        typer.echo(path)
    note_corrections(corrected, number)


def import_labels(
    run: Run,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A CSV export with 'corrected' filled in; an ELAN, BORIS or Praat file; or a table."
        ),
    ],
    author: Annotated[str, typer.Option(metavar="NAME", help="Who gave the labels, where the file does not say.")] = "",
    add: Annotated[bool, typer.Option("--add", help="Keep earlier corrections of other faces.")] = False,
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove earlier corrections even if FILE gives no label in their place.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Of ELAN, BORIS and Praat: also what agrees with the estimates.")
    ] = False,
    people: Annotated[
        list[str] | None, typer.Option("--map", metavar="TIER=PERSON", help="Whom a tier or subject means.")
    ] = None,
    tier: Annotated[str, typer.Option(metavar="NAME", help="Only this tier, subject or observation.")] = "",
    db: Database = DEFAULT_DB,
) -> None:
    """Store the labels that a person wrote into an exported CSV, ELAN, BORIS or Praat file.

    They are kept beside the estimates, and stand in their place in every later answer, export, report and video; with
    --uncorrected those show the estimates. 'fertrack evaluate corrections' compares the run with them, and 'fertrack
    models bias fit' learns class biases from them. A new import replaces the run's earlier corrections; a file without
    a label for any of its faces is refused, and they stay. Of an ELAN, BORIS or Praat file only what the estimates do
    not say already counts; with --all it is a coding of its own.

    Examples: fertrack import-labels last fertrack-out/run1.clip.faces.csv --author 'coder 1' ·
    fertrack import-labels last clip.eaf --all --map Mother=P1
    """
    from fertrack.cli.options import named_persons
    from fertrack.imports.coding import is_coding
    from fertrack.imports.coding_labels import labels_of_coding
    from fertrack.reporting.exports.label_import import read_labels
    from fertrack.storage.engine import open_database
    from fertrack.storage.people.corrections import store_corrections

    if add and clear:
        raise typer.BadParameter("--add keeps earlier corrections, --clear removes them: give one of the two")
    whom = named_persons(people)
    tiers = is_coding(file)
    if not tiers and (everything or whom or tier):
        raise typer.BadParameter(f"--all, --map and --tier are for codings, not for the export {file.name}")
    with open_database(db) as database:
        if tiers:
            given = labels_of_coding(database, run, file, tier=tier, people=whom, everything=everything, author=author)
        else:
            given = read_labels(file)
        report = store_corrections(database, run, given, author=author, add=add, clear=clear)
    _tell(report, file, tiers=tiers)


def _tell(report: ImportReport, file: Path, *, tiers: bool) -> None:
    """Print the result of an import."""
    from fertrack.reporting.html.wording import plural

    entry = "label" if tiers else "row"
    for label in report.unmatched[:_NAMED]:
        err_console().print(
            f"note: {entry} {label.row} matches no face of run {report.run}: {label.place}",
            markup=False,
            soft_wrap=True,
        )
    if len(report.unmatched) > _NAMED:
        more = plural(len(report.unmatched) - _NAMED, f"more {entry} matches", f"more {entry}s match")
        err_console().print(f"note: {more} no face", soft_wrap=True)
    if not report.faces and not report.replaced:
        why = f"{file} says what the estimates say" if tiers else f"no row of {file} has a label in 'corrected'"
        typer.echo(f"run {report.run}: {why}: nothing to import, nothing changed")
        return
    unmatched = plural(len(report.unmatched), f"{entry} matches", f"{entry}s match")
    typer.echo(
        f"run {report.run}: {plural(report.labels, 'label')} read, {plural(report.faces, 'face')} corrected "
        f"({report.changed} unlike the estimate), {unmatched} no face, "
        f"{plural(report.replaced, 'earlier correction')} {'replaced' if report.faces else 'removed'}"
    )
