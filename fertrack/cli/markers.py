"""``fertrack markers``: named times of a run, such as stimuli."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fertrack.cli.options import DEFAULT_DB, Database, Format, OutputFormat, Run
from fertrack.cli.output import err_console, frame_to

__all__ = ["app"]

app = typer.Typer(help="Named times of a run, such as stimuli: import, list, delete.", no_args_is_help=True)


@app.command("import")
def import_markers(
    run: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Columns time_s, label, and if wanted end_s, note.")],
    skip_outside: Annotated[
        bool, typer.Option("--skip-outside", help="Leave out markers that lie outside the run, instead of refusing.")
    ] = False,
    db: Database = DEFAULT_DB,
) -> None:
    """Add the markers of a CSV file to a run; importing a file again adds nothing."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.markers import import_markers as import_file

    with open_database(db) as database:
        report = import_file(database, run, file, skip_outside=skip_outside)
    known = f", {report.known} known already" if report.known else ""
    typer.echo(f"run {report.run}: {report.added} markers added{known}")
    if report.outside:
        err_console().print(f"note: {report.outside}", soft_wrap=True)


@app.command("list")
def list_markers(run: Run, output_format: OutputFormat = Format.TABLE, db: Database = DEFAULT_DB) -> None:
    """List the markers of a run."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.markers import markers

    with open_database(db) as database, database.run(run) as stored:
        frame_to(markers(stored), output_format)


@app.command("delete")
def delete_markers(
    run: Run,
    label: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only those of this name.")] = None,
    db: Database = DEFAULT_DB,
) -> None:
    """Delete the markers of a run, or those of one name."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.markers import delete_markers as delete

    with open_database(db) as database:
        typer.echo(f"{delete(database, run, label=label)} markers deleted")
