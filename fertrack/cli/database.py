"""``fertrack db``: the database's schema, its health, and a copy of it; ``fertrack runs import``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fertrack.cli.options import DEFAULT_DB, Config, Database, Overrides, settings_from
from fertrack.cli.output import err_console

__all__ = ["app", "register"]

app = typer.Typer(help="The database: schema, check, vacuum, backup.", no_args_is_help=True)


class Tool(StrEnum):
    """Program whose results become a run."""

    PYFEAT = "pyfeat"
    OPENFACE = "openface"


def register(runs: typer.Typer) -> None:
    """Add ``import`` to ``fertrack runs``."""
    runs.command("import")(import_run)


@app.command("upgrade")
def upgrade(db: Database = DEFAULT_DB) -> None:
    """Bring a database to this program's schema; rows are kept."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.engine import upgrade as upgrade_database
    from fertrack.storage.maintenance import store_missing_episodes

    before, after = upgrade_database(db)
    if before.revision == after.revision:
        typer.echo(after.sentence)
    else:
        typer.echo(f"{after.database}: upgraded from {before.revision or 'no tables'} to {after.revision}")
    with open_database(db) as database:
        runs = store_missing_episodes(database)
    if runs:
        typer.echo(f"stored the episodes of {runs} runs")


@app.command("current")
def show_current(db: Database = DEFAULT_DB) -> None:
    """Show how a database's schema compares with the one this program needs."""
    from fertrack.storage.engine import current

    typer.echo(current(db).sentence)


@app.command("check")
def check(db: Database = DEFAULT_DB) -> None:
    """Check a database for damage, rows that point nowhere, and wrong counts."""
    from fertrack.errors import StorageError
    from fertrack.storage.engine import open_database
    from fertrack.storage.maintenance import check_database

    with open_database(db) as database:
        report = check_database(database)
        name = database.name
    for table in ("runs", "frames", "faces", "tracks", "persons"):
        if table in report.rows:
            typer.echo(f"{table}: {report.rows[table]}")
    if report.without_episodes:
        typer.echo(f"the episodes of {report.without_episodes} runs are not stored: `fertrack db upgrade` stores them")
    for problem in report.problems:
        typer.echo(problem)
    if report.problems:
        raise StorageError(f"{name} is not whole ({len(report.problems)} problems): restore it from a copy if you can")
    typer.echo(f"{name} is whole")


@app.command("vacuum")
def vacuum(db: Database = DEFAULT_DB) -> None:
    """Give the space of deleted rows back."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.maintenance import vacuum as vacuum_database

    with open_database(db) as database:
        report = vacuum_database(database)
        typer.echo(f"{database.name}: {report.before / 1e6:.1f} MB before, {report.after / 1e6:.1f} MB now")


@app.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy, one file.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
    db: Database = DEFAULT_DB,
) -> None:
    """Copy an SQLite database into one file, also while a run is being written."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.maintenance import backup as copy_database
    from fertrack.storage.written_files import DatabaseCopy, record_output

    with open_database(db) as database:
        size = copy_database(database, file, overwrite=overwrite)
        record_output(database, None, file, DatabaseCopy())
    typer.echo(f"{file}: {size / 1e6:.1f} MB")


def import_run(
    tool: Annotated[Tool, typer.Argument(metavar="pyfeat|openface", help="The program that wrote it.")],
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Its table of faces, of one video.")],
    video: Annotated[Path | None, typer.Option(metavar="FILE", help="The video: name, size, frame rate.")] = None,
    fps: Annotated[float, typer.Option(metavar="HZ", min=0.0, help="Frames a second; 0: as in the file.")] = 0.0,
    config: Config = None,
    overrides: Overrides = None,
    db: Database = DEFAULT_DB,
) -> None:
    """Store another program's results as a run.

    Py-Feat's probabilities are taken over as they are, and not calibrated; [calibration] and [smoothing] make labels of
    them. OpenFace has action units and no expressions: its faces are uncertain until people label them. The run and its
    report say where it comes from.

    Examples: fertrack runs import pyfeat fex.csv --video clip.mp4 · fertrack runs import openface clip.csv
    """
    from importlib.metadata import version

    from fertrack.config import digest, to_toml
    from fertrack.imports.run_import import ImportRules
    from fertrack.imports.run_import import import_run as store
    from fertrack.reporting.html.wording import plural
    from fertrack.rights.purpose import check_stated
    from fertrack.sources.open import open_source
    from fertrack.storage.engine import open_database
    from fertrack.storage.recordings import Recording
    from fertrack.storage.runs import RunRecord

    settings = settings_from(config, overrides)
    check_stated(settings.privacy, settings.recording)
    info = None
    if video is not None:
        with open_source(video) as source:
            info = source.info
    rules = ImportRules(fps, info, settings.calibration, settings.smoothing, settings.tracking)
    privacy = settings.privacy
    record = RunRecord(
        config_toml=to_toml(settings),
        config_digest=digest(settings),
        detector="",
        classifier="",
        fertrack_version=version("fertrack"),
        purpose=privacy.purpose,
        consent=privacy.consent,
        privacy_override=privacy.override,
        retention_days=privacy.retention_days,
        recording=Recording(**settings.recording.model_dump()),
    )
    with open_database(db, create=True) as database:
        stored = store(database, tool.value, file, record, rules)
    counts = (plural(stored.frames, "frame"), plural(stored.faces, "face"), plural(stored.tracks, "track"))
    typer.echo(f"run {stored.run}: {', '.join(counts)}")
    for note in stored.notes:
        err_console().print(f"note: {note}", markup=False, soft_wrap=True)
