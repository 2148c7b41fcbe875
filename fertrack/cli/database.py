"""``fertrack db``: the database's schema, its health, and a copy of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fertrack.cli.options import DEFAULT_DB, Database

__all__ = ["app"]

app = typer.Typer(help="The database: schema, check, vacuum, backup.", no_args_is_help=True)


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
