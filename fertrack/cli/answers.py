"""``fertrack episodes`` and ``fertrack moments``: when an expression was shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fertrack.cli.options import (
    DEFAULT_DB,
    By,
    Database,
    Format,
    From,
    Gap,
    Lasting,
    MinDuration,
    OnlyPerson,
    OutputFormat,
    Runs,
    To,
    Uncorrected,
    episode_rule,
    seconds,
)
from fertrack.cli.output import misuse, note_moments, print_answer, print_coverage

if TYPE_CHECKING:
    import pandas as pd

    from fertrack.storage.queries.moments import Condition

__all__ = ["register"]


Longest = Annotated[
    int | None, typer.Option("--longest", min=1, metavar="N", help="Only the N longest, longest first.")
]

Sort = Annotated[
    str | None, typer.Option("--sort", metavar="COLUMN", help="In order of a column; -COLUMN: the highest first.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("episodes")(episodes)
    app.command("moments")(moments)


def episodes(
    run: Runs,
    person: OnlyPerson = None,
    expression: Annotated[str | None, typer.Option(help="Only this expression.")] = None,
    by: By = None,
    lasting_s: Lasting = None,
    min_duration_s: MinDuration = None,
    max_gap_s: Gap = None,
    from_s: From = None,
    to_s: To = None,
    longest: Longest = None,
    sort: Sort = None,
    uncorrected: Uncorrected = False,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """List when each person kept an expression: onset, apex (highest probability), offset; of one run or all.

    Examples: fertrack episodes last --expression surprise · fertrack episodes all --person 'Ann Lee' --min-duration 1
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.conditions import with_conditions
    from fertrack.storage.queries.statistics import person_episodes

    with (
        open_database(db, corrected=not uncorrected) as database,
        misuse(),
        database.runs(run, from_s=from_s, to_s=to_s) as stored,
    ):
        table = person_episodes(stored, who=person, expression=expression, **episode_rule(min_duration_s, max_gap_s))
        if by is not None:
            table = with_conditions(stored, table, by, at="onset_s", lasts_s=lasting_s)
    table = _in_order(table, longest, sort)
    print_answer(table, output_format, table.attrs["coverage"])
    note_moments(table.attrs)
    print_coverage(table.attrs)


def moments(
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="Number of a run, 'last', 'all', or condition=stress and the like.")
    ] = "last",
    who: Annotated[
        list[str] | None,
        typer.Option("--who", help="This person: a name, P3, 'ID 5' or a number; repeated: all of them at once."),
    ] = None,
    expression: Annotated[str | None, typer.Option(help="Shows this expression.")] = None,
    together: Annotated[
        str | None, typer.Option("--together", metavar="EXPRESSION", help="Several people show this at once.")
    ] = None,
    people: Annotated[int, typer.Option("--people", min=2, help="With --together: how many people.")] = 2,
    above: Annotated[
        float, typer.Option("--above", metavar="P", help="With more than this probability; 0: the label is enough.")
    ] = 0.0,
    meanwhile: Annotated[
        list[str] | None,
        typer.Option("--while", metavar="WHO:EXPRESSION[:P]", help="Meanwhile this holds too; may be repeated."),
    ] = None,
    for_s: Annotated[
        float, typer.Option("--for", metavar="TIME", parser=seconds, help="For at least this long, seconds.")
    ] = 0.0,
    max_gap_s: Annotated[
        float,
        typer.Option("--gap", metavar="TIME", parser=seconds, help="Allow interruptions of this length, seconds."),
    ] = 0.2,
    by: By = None,
    lasting_s: Lasting = None,
    from_s: From = None,
    to_s: To = None,
    longest: Longest = None,
    sort: Sort = None,
    uncorrected: Uncorrected = False,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """Find moments at which conditions hold: an expression for long enough, several people together.

    Examples: fertrack moments last --who 2 --expression surprise --above 0.7 --for 1 ·
    fertrack moments all --together happiness --people 2 --for 0.5 ·
    fertrack moments 3 --who P1 --expression happiness --while P2:sadness:0.5
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.conditions import with_conditions
    from fertrack.storage.queries.moments import moments as find_moments

    with misuse():
        conditions = _conditions(who or [], expression, together, people, above, meanwhile or [])
        with (
            open_database(db, corrected=not uncorrected) as database,
            database.runs(run, from_s=from_s, to_s=to_s) as stored,
        ):
            table = find_moments(stored, conditions, min_duration_s=for_s, max_gap_s=max_gap_s)
            if by is not None:
                table = with_conditions(stored, table, by, at="start_s", lasts_s=lasting_s)
    table = _in_order(table, longest, sort)
    print_answer(table, output_format, table.attrs["coverage"])
    note_moments(table.attrs)
    print_coverage(table.attrs)


def _in_order(table: pd.DataFrame, longest: int | None, sort: str | None) -> pd.DataFrame:
    """The rows that last longest, and in the order asked for; as they are if neither is asked for."""
    if longest is not None:
        table = table.sort_values("duration_s", ascending=False, kind="stable", ignore_index=True).head(longest)
    if sort is not None:
        column = sort.removeprefix("-")
        if column not in table:
            raise typer.BadParameter(f"no column {column!r}: there are {', '.join(table.columns)}", param_hint="--sort")
        table = table.sort_values(column, ascending=sort == column, kind="stable", ignore_index=True)
    return table


def _conditions(
    who: list[str], expression: str | None, together: str | None, people: int, above: float, meanwhile: list[str]
) -> list[Condition]:
    from fertrack.storage.queries.moments import Condition

    if (expression is None) == (together is None):
        raise ValueError("say what is shown: --expression by one person, or --together by several")
    if together is not None:
        if who:
            raise ValueError("--together is about anybody: leave out --who, or name people with --who and --expression")
        found = [Condition(together, above=above, people=people)]
    else:
        named: list[str | None] = [*who] or [None]
        found = [Condition(str(expression), who=name, above=above) for name in named]
    for text in meanwhile:
        parts = text.split(":")
        if len(parts) not in (2, 3):
            raise ValueError(f"--while must be WHO:EXPRESSION or WHO:EXPRESSION:P, such as P2:anger:0.5, not {text!r}")
        try:
            least = float(parts[2]) if len(parts) == 3 else 0.0
        except ValueError:
            raise ValueError(f"--while {text!r}: {parts[2]!r} is no probability such as 0.5") from None
        found.append(Condition(parts[1], who=parts[0] or None, above=least))
    return found
