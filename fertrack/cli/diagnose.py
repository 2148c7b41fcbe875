"""``fertrack diagnose``: what may be wrong with a stored run, and what to change."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from fertrack.cli.options import DEFAULT_DB, Database, Run
from fertrack.cli.output import print_json

if TYPE_CHECKING:
    from fertrack.evaluation.symptoms import Change, Diagnosis

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("diagnose")(diagnose)


def diagnose(
    run: Run,
    db: Database = DEFAULT_DB,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Name known symptoms of a stored run, the setting to change, and what that would come to; changes nothing.

    Example: fertrack diagnose last
    """
    from dataclasses import asdict

    from fertrack.evaluation.diagnosis import diagnose as look
    from fertrack.storage.engine import open_database

    with open_database(db) as database:
        found = look(database, run)
    if as_json:
        print_json(asdict(found))
    else:
        _tell(found, "" if db == DEFAULT_DB else f" --db {shlex.quote(db)}")


def _tell(found: Diagnosis, where: str) -> None:
    if not found.findings:
        typer.echo(f"run {found.run}: none of the known symptoms in {found.faces} faces")
    for finding in found.findings:
        typer.echo(f"{_plain(finding.seen)}: {finding.evidence}")
        typer.echo(f"  likely: {finding.cause}")
        typer.echo(f"  change: {_plain(finding.change)}")
        for change in finding.changes:
            typer.echo(f"  tried:  {_located(change.command, where)}\n          {_effect(change)}")
        typer.echo()
    if found.prior is not None:
        usual = ", ".join(f"{name} {share:.0%}" for name, share in found.prior.shares.items() if share >= 0.005)
        typer.echo(f"suggestion: this run's own class shares may be {usual} (EM estimate, Saerens et al. 2002)")
        typer.echo(
            f"  {_located(found.prior.command, where)}\n  would change {found.prior.labels_changed:.1%} of the labels"
        )


def _located(command: str, where: str) -> str:
    return f"{command}{where}" if command.startswith("fertrack") else command


def _effect(change: Change) -> str:
    if change.before <= 1.0 and change.after <= 1.0:
        return f"{change.effect}: {change.before:.1%} → {change.after:.1%}"
    return f"{change.effect}: {change.before:.0f} → {change.after:.0f}"


def _plain(markdown: str) -> str:
    return markdown.replace("`", "").replace("*", "")
