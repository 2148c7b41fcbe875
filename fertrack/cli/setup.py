"""``fertrack config show`` and ``fertrack doctor``: what is set, and whether this machine is ready."""

from __future__ import annotations

from typing import Annotated

import typer

from fertrack.cli.options import DEFAULT_DB, Config, Database, Overrides, settings_from
from fertrack.cli.output import print_json, print_table

__all__ = ["config_app", "register"]

config_app = typer.Typer(help="All options.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this module's top-level commands."""
    app.command("doctor")(doctor)


@config_app.callback()
def _config() -> None:
    """All options."""


@config_app.command("show")
def show(
    config: Config = None,
    overrides: Overrides = None,
    plain: Annotated[bool, typer.Option("--plain", help="Leave the comments out.")] = False,
) -> None:
    """Print every option with its meaning and value, as TOML that --config reads."""
    from fertrack.config import to_toml

    typer.echo(to_toml(settings_from(config, overrides or []), comments=not plain), nl=False)


def doctor(
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Also process a scripted scene, and compare its rows with stored ones.")
    ] = False,
    db: Database = DEFAULT_DB,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check versions, providers, codecs, weights and the database, and say what to do."""
    from fertrack.doctor import examine

    findings = examine(db)
    if self_test:
        from fertrack.evaluation.self_test import self_test as process_scene

        findings += process_scene()
    if as_json:
        print_json([finding.as_dict() for finding in findings])
    else:
        print_table(["", "what", "found", "what to do"], [(f.mark, f.what, f.found, f.remedy) for f in findings])
    if any(finding.is_problem for finding in findings):
        raise typer.Exit(1)
