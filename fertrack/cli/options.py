"""Options that several commands share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fertrack.config import Settings

__all__ = ["DEFAULT_OUT", "Config", "Database", "Overrides", "Run", "settings_from"]

DEFAULT_OUT = Path("fertrack-out")

Run = Annotated[str, typer.Argument(metavar="RUN", help="Number of a run (see 'fertrack runs'), or 'last'.")]

Database = Annotated[
    str,
    typer.Option("--db", envvar="FERTRACK_DB", help="Database: a file, or a URL such as sqlite:///results.db."),
]

Config = Annotated[
    list[str] | None,
    typer.Option("--config", metavar="FILE", help="TOML file or preset (fast, accurate, rafdb); may be repeated."),
]

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one option; may be repeated."),
]


def settings_from(config: list[str] | None, overrides: list[str]) -> Settings:
    """Compose the settings of a command."""
    from fertrack.config import load_settings

    return load_settings(config or (), overrides)
