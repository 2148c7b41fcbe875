"""Commands that answer questions about stored runs: ``stats``, ``episodes``, ``moments``, ``markers``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fertrack.cli.options import DEFAULT_DB, Database, Run
from fertrack.cli.output import err_console, frame_to, with_coverage
from fertrack.cli.query import Format, OutputFormat
from fertrack.storage.config import LONGEST_GAP_S, SHORTEST_EPISODE_S

if TYPE_CHECKING:
    import pandas as pd

    from fertrack.storage.queries.moments import Condition

__all__ = ["markers_app", "register"]

markers_app = typer.Typer(help="Named times of a run, such as stimuli: import, list, delete.", no_args_is_help=True)
_TABLE_ROWS = 100

Runs = Annotated[str, typer.Argument(metavar="RUN", help="Number of a run, 'last', or 'all'.")]
Person = Annotated[
    str | None,
    typer.Option("--person", help="Only this person: a name, P3, 'ID 5' for whoever track 5 is, or a number."),
]
MinDuration = Annotated[float, typer.Option("--min-duration", metavar="S", help="Pass over shorter episodes, seconds.")]
Gap = Annotated[
    float, typer.Option("--gap", metavar="S", help="Join episodes over this much time uncertain or unseen, seconds.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("stats")(stats)
    app.command("episodes")(episodes)
    app.command("moments")(moments)


def stats(
    run: Runs,
    person: Person = None,
    transitions: Annotated[
        bool, typer.Option("--transitions", help="How often each expression followed which.")
    ] = False,
    synchrony: Annotated[
        tuple[str, str] | None,
        typer.Option("--synchrony", metavar="A B", help="How two persons went together, and who followed whom."),
    ] = None,
    since_marker: Annotated[
        str | None, typer.Option("--since-marker", metavar="NAME", help="Time from these markers to the first change.")
    ] = None,
    timing: Annotated[bool, typer.Option("--timing", help="Time per stage of the run.")] = False,
    window_s: Annotated[
        float | None, typer.Option("--window", metavar="S", help="With --timing: speed over time, a row per S seconds.")
    ] = None,
    within_s: Annotated[
        float,
        typer.Option("--within", metavar="S", help="With --since-marker: how long to wait, seconds."),
    ] = 10.0,
    lag_s: Annotated[float, typer.Option("--lag", metavar="S", help="With --synchrony: longest lag, seconds.")] = 2.0,
    rate_hz: Annotated[float, typer.Option("--rate", metavar="HZ", help="With --synchrony: values per second.")] = 10.0,
    min_duration_s: MinDuration = SHORTEST_EPISODE_S,
    max_gap_s: Gap = LONGEST_GAP_S,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """Sum up who showed what: share of time, episodes and their duration; or one of the other questions.

    Examples: fertrack stats last · fertrack stats all --transitions · fertrack stats 3 --synchrony P1 P2 ·
    fertrack stats last --since-marker stimulus · fertrack stats last --timing --window 10
    """
    asked = {
        "--transitions": transitions,
        "--synchrony": synchrony is not None,
        "--since-marker": since_marker is not None,
        "--timing": timing,
    }
    chosen = [name for name, given in asked.items() if given]
    if len(chosen) > 1:
        raise typer.BadParameter("one question at a time", param_hint=" / ".join(chosen))
    if window_s is not None and not timing:
        raise typer.BadParameter("says how --timing is to be shown: give that too", param_hint="--window")
    options: dict[str, Any] = {"min_duration_s": min_duration_s, "max_gap_s": max_gap_s}
    from fertrack.storage.engine import open_database

    with open_database(db) as database, _misuse():
        if timing:
            _show_timing(database, run, window_s, output_format)
            return
        if synchrony is not None:
            from fertrack.storage.queries.synchrony import synchrony as ask_synchrony

            table = ask_synchrony(database, run, *synchrony, rate_hz=rate_hz, max_lag_s=lag_s)
        elif since_marker is not None:
            from fertrack.storage.queries.latency import since_marker as ask_latency

            table = ask_latency(database, run, since_marker, who=person, within_s=within_s, **options)
        elif transitions:
            from fertrack.storage.queries.statistics import transitions as ask_transitions

            table = ask_transitions(database, run, who=person, **options)
        else:
            from fertrack.storage.queries.statistics import expression_stats

            table = expression_stats(database, run, who=person, **options)
    attrs = dict(table.attrs)
    if transitions:
        table = table.reset_index()
    elif not chosen and output_format is Format.TABLE:
        table = table[table["seconds"] > 0.0]
    _show(table, output_format, None if not chosen else attrs["coverage"])
    if synchrony is not None:
        err_console().print(
            f"{attrs['a']} and {attrs['b']} were seen together for {attrs['together_s']:.1f} s; their labels agree "
            f"beyond chance with kappa {attrs['kappa']:.3f} (1: always, 0: as by chance); a positive lag: "
            f"{attrs['b']} follows {attrs['a']}"
        )
    for sentence in attrs.get("outside", ()):
        err_console().print(f"note: {sentence}", soft_wrap=True)
    if transitions and attrs["broken"]:
        err_console().print(f"{attrs['broken']} pairs of episodes with a longer break between them are not counted")
    _tell_coverage(attrs)


def episodes(
    run: Runs,
    person: Person = None,
    expression: Annotated[str | None, typer.Option(help="Only this expression.")] = None,
    min_duration_s: MinDuration = SHORTEST_EPISODE_S,
    max_gap_s: Gap = LONGEST_GAP_S,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """List when each person kept an expression: onset, apex (highest probability), offset; of one run or all.

    Examples: fertrack episodes last --expression surprise · fertrack episodes all --person 'Ann Lee' --min-duration 1
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.person_episodes import person_episodes

    with open_database(db) as database, _misuse():
        table = person_episodes(
            database, run, who=person, expression=expression, min_duration_s=min_duration_s, max_gap_s=max_gap_s
        )
    _show(table, output_format, table.attrs["coverage"])
    _tell_coverage(table.attrs)


def moments(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Number of a run, 'last', or 'all'.")] = "last",
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
        typer.Option("--while", metavar="WHO:EXPRESSION[:P]", help="And this holds too; may be repeated."),
    ] = None,
    for_s: Annotated[float, typer.Option("--for", metavar="S", help="For at least so long, seconds.")] = 0.0,
    max_gap_s: Annotated[
        float, typer.Option("--gap", metavar="S", help="Somebody may stop for so long in between, seconds.")
    ] = 0.2,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """Find when somebody showed something for long enough, when people showed it together, when several things held.

    Examples: fertrack moments last --who 2 --expression surprise --above 0.7 --for 1 ·
    fertrack moments all --together happiness --people 2 --for 0.5 ·
    fertrack moments 3 --who P1 --expression happiness --while P2:anger:0.5
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.moments import moments as find_moments

    with _misuse():
        conditions = _conditions(who or [], expression, together, people, above, meanwhile or [])
        with open_database(db) as database:
            table = find_moments(database, run, conditions, min_duration_s=for_s, max_gap_s=max_gap_s)
    _show(table, output_format, table.attrs["coverage"])
    _tell_coverage(table.attrs)


@markers_app.command("import")
def import_markers(
    run: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Columns time_s, label, and if wanted end_s, note.")],
    skip_outside: Annotated[
        bool, typer.Option("--skip-outside", help="Leave out markers that lie outside the run, instead of refusing.")
    ] = False,
    db: Database = DEFAULT_DB,
) -> None:
    """Add the markers of a CSV file to a run; importing a file again adds nothing."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.markers import import_markers as import_file

    with open_database(db) as database:
        report = import_file(database, run, file, skip_outside=skip_outside)
    known = f", {report.known} known already" if report.known else ""
    typer.echo(f"run {report.run}: {report.added} markers added{known}")
    if report.outside:
        err_console().print(f"note: {report.outside}", soft_wrap=True)


@markers_app.command("list")
def list_markers(run: Run, output_format: OutputFormat = Format.TABLE, db: Database = DEFAULT_DB) -> None:
    """List the markers of a run."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.markers import markers

    with open_database(db) as database:
        frame_to(markers(database, run), output_format)


@markers_app.command("delete")
def delete_markers(
    run: Run,
    label: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only those of this name.")] = None,
    db: Database = DEFAULT_DB,
) -> None:
    """Delete the markers of a run, or those of one name."""
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.markers import delete_markers as delete

    with open_database(db) as database:
        typer.echo(f"{delete(database, run, label=label)} markers deleted")


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


def _show_timing(database: Any, run: str, window_s: float | None, output_format: Format) -> None:
    from fertrack.storage.queries.timing import speed_over_time
    from fertrack.storage.runs import stage_timings

    speed = speed_over_time(database, run, window_s=10.0 if window_s is None else window_s)
    _show(stage_timings(database, run) if window_s is None else speed, output_format)
    facts = speed.attrs
    depth = facts["queue_depth"]
    waited = (
        f"; frames waiting: {depth['p50']:g} at the median, {depth['p95']:g} at p95, {depth['max']:g} at most"
        if depth
        else ""
    )
    err_console().print(
        f"{facts['mean_fps']:.1f} frames a second over the whole run; {facts['dropped']} frames dropped, "
        f"{facts['decode_failures']} could not be decoded{waited}"
    )


def _show(table: pd.DataFrame, output_format: Format, coverage: dict[str, float] | None = None) -> None:
    """Print an answer; for machines with what share of the time asked about is not known, the same in every row."""
    if output_format is not Format.TABLE:
        frame_to(table if coverage is None else with_coverage(table, coverage), output_format)
        return
    frame_to(table.head(_TABLE_ROWS), output_format)
    if len(table) > _TABLE_ROWS:
        err_console().print(f"{_TABLE_ROWS} of {len(table)} rows shown: --format csv prints all of them")


def _tell_coverage(attrs: dict[Any, Any]) -> None:
    from fertrack.storage.queries.batches import coverage_sentence

    err_console().print(coverage_sentence(attrs["coverage"]))


@contextmanager
def _misuse() -> Iterator[None]:
    """A wrong argument is wrong usage, not a failure."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
