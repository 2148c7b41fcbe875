"""``fertrack diagnose``: what may be wrong with a stored run, and what to change."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from fertrack.cli.options import DEFAULT_DB, Database, Run
from fertrack.cli.output import print_json

if TYPE_CHECKING:
    from fertrack.tuning.diagnose import Diagnosis
    from fertrack.tuning.diagnosis import Change

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("diagnose")(diagnose)


def diagnose(
    run: Run,
    db: Database = DEFAULT_DB,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find known symptoms in a stored run, and the settings that would help. Changes nothing.

    Example: fertrack diagnose last
    """
    from fertrack.storage.engine import open_database
    from fertrack.tuning.diagnose import diagnose as diagnose_run

    with open_database(db) as database, database.run(run) as stored:
        found = diagnose_run(stored)
    if as_json:
        print_json(found.as_dict())
    else:
        _tell(found, "" if db == DEFAULT_DB else f" --db {shlex.quote(db)}")


def _tell(found: Diagnosis, where: str) -> None:
    from fertrack.tuning.symptoms import SYMPTOMS

    if not found.findings:
        looked = " that were looked for" if found.not_judged else ""
        typer.echo(f"run {found.run}: none of the known symptoms{looked} in {found.faces} faces")
    if found.not_judged:
        seen = {symptom.name: _plain(symptom.seen) for symptom in SYMPTOMS}
        typer.echo(f"not looked for, as the run says too little: {'; '.join(seen[name] for name in found.not_judged)}")
    for finding in found.findings:
        typer.echo(f"{_plain(finding.symptom.seen)}: {finding.evidence}")
        typer.echo(f"  likely: {finding.symptom.cause}")
        typer.echo(f"  usually: {_plain(_of_run(finding.symptom.change, found.run, where))}")
        for change in finding.changes:
            typer.echo(f"  helps:  {_located(change.command, where)}\n          {_effects(change)}")
        if finding.useless:
            none = "" if finding.changes else "none of these helps on this run; "
            typer.echo(f"  not:    {none}tried and not advised:")
        for change in finding.useless:
            typer.echo(f"          {_options(change.command)}\n            {_effects(change)}")
        typer.echo()
    if found.prior is not None:
        usual = ", ".join(f"{name} {share:.0%}" for name, share in found.prior.shares.items() if share >= 0.005)
        typer.echo(
            f"suggestion: this run's own class shares may be {usual} (EM estimate, Saerens et al. 2002, from "
            f"{found.prior.moments} moments, each within one second of a person)"
        )
        typer.echo(
            f"  {_located(found.prior.command, where)}\n  would change {found.prior.labels_changed:.1%} of the labels"
        )
    elif found.no_prior and found.faces:
        typer.echo(f"no suggestion of the run's own class shares: {_plain(found.no_prior)}")


def _of_run(advice: str, run: int, where: str) -> str:
    """General advice with its commands, between backticks, on this run instead of the last one."""
    return re.sub(r"`(fertrack [^`]*)\blast\b([^`]*)`", lambda found: f"`{found[1]}{run}{found[2]}{where}`", advice)


def _located(command: str, where: str) -> str:
    return f"{command}{where}" if command.startswith("fertrack") else command


def _options(command: str) -> str:
    """Options that were tried, without the command that nobody should type."""
    return command[command.index("--set") :] if "--set" in command else command


def _effects(change: Change) -> str:
    told = _effect(change.effect, change.before, change.after)
    for each in change.also:
        told += f"; {_effect(each.name, each.before, each.after)}"
    for each in change.worse:
        told += f"; but {_effect(each.name, each.before, each.after)}"
    return told


def _effect(name: str, before: float, after: float) -> str:
    if "per minute" not in name and before <= 1.0 and after <= 1.0:
        return f"{name}: {before:.1%} → {after:.1%}"
    return f"{name}: {before:.0f} → {after:.0f}"


def _plain(markdown: str) -> str:
    return markdown.replace("`", "").replace("*", "")
