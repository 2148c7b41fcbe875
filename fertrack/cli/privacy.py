"""``fertrack privacy``: the notice for the people filmed, and deletion of runs whose time is over."""

from __future__ import annotations

from typing import Annotated

import typer

from fertrack.cli.options import DEFAULT_DB, Config, Database, Overrides, settings_from
from fertrack.cli.output import err_console, print_table

__all__ = ["app"]

app = typer.Typer(
    help="The notice for the people filmed, and deletion of runs whose retention time is over.", no_args_is_help=True
)


@app.command("notice")
def notice(config: Config = None, overrides: Overrides = None) -> None:
    """Print what the people filmed must be told (EU AI Act, Art. 50(3)), with blanks to fill in.

    With the configuration of your runs, it says by itself whether pictures of faces (privacy.thumbnails) and vectors by
    which they are recognised (linking.store_embeddings) are kept. Purposes at work and in education are refused by a
    list of words: it reminds, it does not decide what the law allows.

    Examples: fertrack privacy notice > notice.txt · fertrack privacy notice --config study.toml · fertrack privacy
    notice --set privacy.thumbnails=true
    """
    from fertrack.rights.purpose import notice_text

    settings = settings_from(config, overrides)
    days = settings.linking.embeddings_ttl_days if settings.linking.store_embeddings else None
    typer.echo(notice_text(thumbnails=settings.privacy.thumbnails, embeddings_days=days), nl=False)


@app.command("purge")
def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    db: Database = DEFAULT_DB,
) -> None:
    """Delete every stored run whose retention time is over.

    Files written from these runs (videos, reports, exports) are named: delete them yourself.

    Examples: fertrack privacy purge --dry-run · fertrack privacy purge --db study.db
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.rights.retention import purge as purge_runs

    with open_database(db) as database:
        report = purge_runs(database, dry_run=dry_run)
    if report.runs:
        print_table(
            ["run", "source", "frames", "faces", "kept until (UTC)"],
            [(run.run, run.source, run.frames, run.faces, f"{run.expired_at:%Y-%m-%d %H:%M}") for run in report.runs],
        )
    typer.echo(
        f"{'deleted' if report.deleted else 'would delete'}: {len(report.runs)} runs, {report.persons} persons who "
        f"were only in them, {report.embeddings} expired face embeddings"
    )
    for file in report.files:
        err_console().print(
            f"note: {file} was written from a run that is over: delete it too", markup=False, soft_wrap=True
        )
    if report.deleted and report.runs:
        err_console().print("note: files that were moved or copied are not known: delete them too", soft_wrap=True)
