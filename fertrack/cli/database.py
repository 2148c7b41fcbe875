"""``fertrack db``: the database's schema."""

from __future__ import annotations

import typer

from fertrack.cli.options import DEFAULT_OUT, Database

__all__ = ["app"]

app = typer.Typer(help="The database's schema.", no_args_is_help=True)
_DEFAULT_DB = str(DEFAULT_OUT / "fertrack.db")


@app.command("upgrade")
def upgrade(db: Database = _DEFAULT_DB) -> None:
    """Bring a database to this program's schema; rows are kept."""
    from fertrack.storage.engine import upgrade as upgrade_database

    before, after = upgrade_database(db)
    if before.revision == after.revision:
        typer.echo(after.sentence)
    else:
        typer.echo(f"{after.database}: upgraded from {before.revision or 'no tables'} to {after.revision}")


@app.command("current")
def show_current(db: Database = _DEFAULT_DB) -> None:
    """Show how a database's schema compares with the one this program needs."""
    from fertrack.storage.engine import current

    typer.echo(current(db).sentence)
