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
    from fertrack.storage.engine import current, mask_url
    from fertrack.storage.engine import upgrade as upgrade_database

    before = current(db)
    upgrade_database(db)
    after = current(db)
    change = "was already at" if before == after else f"upgraded from {before or 'nothing'} to"
    typer.echo(f"{mask_url(db)} {change} revision {after}")


@app.command("current")
def show_current(db: Database = _DEFAULT_DB) -> None:
    """Show a database's schema revision, and the one this program needs."""
    from fertrack.storage.engine import current, head

    typer.echo(f"database at revision {current(db) or 'none'}, program needs {head()}")
