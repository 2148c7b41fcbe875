"""Options that several commands share, written once."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

if TYPE_CHECKING:
    from fertrack.config import Settings

__all__ = [
    "DEFAULT_DB",
    "DEFAULT_OUT",
    "By",
    "Config",
    "Database",
    "EpisodeRule",
    "Format",
    "From",
    "Gap",
    "Lasting",
    "MinDuration",
    "OnlyPerson",
    "OutputFormat",
    "Overrides",
    "Run",
    "Runs",
    "Stated",
    "To",
    "Uncorrected",
    "calibration_source",
    "episode_rule",
    "named_persons",
    "seconds",
    "settings_from",
]

DEFAULT_OUT = Path("fertrack-out")
DEFAULT_DB = str(DEFAULT_OUT / "fertrack.db")


def seconds(text: str | float) -> float:
    """A time on the command line, as ``fertrack.tables.seconds_in`` reads it."""
    from fertrack.tables import seconds_in

    try:
        return seconds_in(str(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


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


class Format(StrEnum):
    """Output format of rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


OutputFormat = Annotated[Format, typer.Option("--format", help="table for people; csv or json for machines, complete.")]

Runs = Annotated[
    str,
    typer.Argument(metavar="RUN", help="Number of a run, 'last', 'all', or what was stated of it: condition=stress."),
]

Stated = Annotated[
    str, typer.Argument(metavar="[STATED]", help="Only runs of which this was stated, such as condition=stress.")
]

Uncorrected = Annotated[
    bool, typer.Option("--uncorrected", help="The estimates, also where people corrected labels ('import-labels').")
]

OnlyPerson = Annotated[
    str | None,
    typer.Option("--person", help="Only this person: a name, P3, 'ID 5' for whoever track 5 is, or a number."),
]

MinDuration = Annotated[
    float | None,
    typer.Option(
        "--min-duration", metavar="TIME", parser=seconds, help="Leave out shorter episodes, seconds. [default: 0.2]"
    ),
]

Gap = Annotated[
    float | None,
    typer.Option(
        "--gap",
        metavar="TIME",
        parser=seconds,
        help="Join episodes across this much time uncertain or unseen, seconds. [default: 0.5]",
    ),
]


By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="COLUMN",
        help="By condition: a column of the markers, such as trial_type, or 'label'; or what was stated of recordings.",
    ),
]

Lasting = Annotated[
    float | None,
    typer.Option(
        "--lasting", metavar="TIME", parser=seconds, help="With --by: how long a marker without an end counts, seconds."
    ),
]


From = Annotated[
    float | None,
    typer.Option("--from", metavar="TIME", parser=seconds, help="Only the time from here: 12.5, 0:12, 1m30s."),
]

To = Annotated[float | None, typer.Option("--to", metavar="TIME", parser=seconds, help="Only the time before here.")]


class EpisodeRule(TypedDict, total=False):
    """Arguments of a query that say what counts as an episode."""

    min_duration_s: float
    max_gap_s: float


def episode_rule(min_duration_s: float | None, max_gap_s: float | None) -> EpisodeRule:
    """Arguments of a query for ``--min-duration`` and ``--gap``; what was not given keeps the query's own default."""
    rule = EpisodeRule()
    if min_duration_s is not None:
        rule["min_duration_s"] = min_duration_s
    if max_gap_s is not None:
        rule["max_gap_s"] = max_gap_s
    return rule


def named_persons(pairs: list[str] | None) -> dict[str, str]:
    """Persons of ``--map TIER=PERSON``, by tier or subject."""
    found = {}
    for text in pairs or ():
        name, equals, person = text.rpartition("=")
        if not equals or not person.strip():
            raise typer.BadParameter(f"{text!r} must be a tier and a person, such as Mother=P1", param_hint="--map")
        found[name.strip()] = person.strip()
    return found


def settings_from(
    config: list[str] | None,
    overrides: list[str] | None,
    flags: Mapping[str, tuple[str, object]] | None = None,
    *,
    base: str = "",
) -> Settings:
    """Compose the settings of a command; flags whose value is None were not given.

    Args:
        config: TOML files or presets.
        overrides: ``section.key=value``.
        flags: for each option its flag and the value.
        base: TOML text to start from.

    Raises:
        WrongUsageError: a flag or an override is wrong.
        ConfigError: a file is.
    """
    from fertrack.config import load_settings
    from fertrack.errors import ConfigError, WrongUsageError

    given = {option: flag for option, flag in (flags or {}).items() if flag[1] is not None}
    try:
        return load_settings(config or (), overrides or (), base=base, flags=given)
    except ConfigError as error:
        try:
            load_settings(config or (), base=base)
        except ConfigError as of_file:  # it is one whatever else was typed
            raise ConfigError(str(of_file)) from error
        raise WrongUsageError(str(error)) from error


def calibration_source(config: list[str] | None) -> str:
    """Faces that the last config file with a calibration was fitted on, as ``; fitted on ...``; empty if none says."""
    from fertrack.tuning.calibration_file import fitted_on

    sources = [source for each in config or () if (source := fitted_on(Path(each)))]
    return f"; fitted on {sources[-1]}" if sources else ""
