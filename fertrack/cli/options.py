"""Options that several commands share, written once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fertrack.config import Settings

__all__ = [
    "DEFAULT_DB",
    "DEFAULT_OUT",
    "Calibration",
    "Config",
    "Database",
    "Overrides",
    "Run",
    "settings_from",
    "with_calibration",
]

DEFAULT_OUT = Path("fertrack-out")
DEFAULT_DB = str(DEFAULT_OUT / "fertrack.db")

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


Calibration = Annotated[
    str,
    typer.Option("--calibration", metavar="FILE", help="Calibration to use, as 'fertrack calibrate' writes it."),
]


def with_calibration(config: list[str] | None, calibration: str) -> list[str]:
    """Config files with the calibration file, which wins, as the last one."""
    return [*(config or []), *([calibration] if calibration else [])]


def settings_from(
    config: list[str] | None, overrides: list[str] | None, flags: Mapping[str, tuple[str, object]] | None = None
) -> Settings:
    """Compose the settings of a command; flags whose value is None were not given."""
    from fertrack.config import load_settings

    given = {option: flag for option, flag in (flags or {}).items() if flag[1] is not None}
    return load_settings(config or (), overrides or (), flags=given)
