"""``fertrack stats``: shares of time per person, transitions, synchrony, reactions to markers, quality and timing."""

from __future__ import annotations

from typing import Annotated

import typer

from fertrack.cli.groups import DefaultGroup
from fertrack.cli.options import (
    DEFAULT_DB,
    By,
    Database,
    Format,
    Gap,
    Lasting,
    MinDuration,
    OnlyPerson,
    OutputFormat,
    Run,
    Runs,
    Uncorrected,
    episode_rule,
    seconds,
)
from fertrack.cli.output import err_console, misuse, note_moments, print_answer, print_coverage

__all__ = ["app"]

app = typer.Typer(
    help="Shares of time per person; transitions, synchrony, latency, quality, timing. "
    "`stats RUN` is `stats summary RUN`.",
    no_args_is_help=True,
    cls=DefaultGroup,
)


@app.command("summary")
def summary(
    run: Runs,
    person: OnlyPerson = None,
    by: By = None,
    lasting_s: Lasting = None,
    min_duration_s: MinDuration = None,
    max_gap_s: Gap = None,
    uncorrected: Uncorrected = False,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """Sum up each person's expressions: share of time, episodes and their duration.

    Examples: fertrack stats last · fertrack stats all --person 'Ann Lee' --format csv ·
    fertrack stats last --by trial_type --lasting 4 · fertrack stats all --by participant,condition
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.conditions import condition_stats
    from fertrack.storage.queries.groups import stated_groups, stats_by
    from fertrack.storage.queries.readability import readability
    from fertrack.storage.queries.statistics import expression_stats
    from fertrack.storage.stored_run import StoredRun

    with open_database(db, corrected=not uncorrected) as database, database.runs(run) as stored, misuse():
        rule = episode_rule(min_duration_s, max_gap_s)
        if by is None:
            table = expression_stats(stored, who=person, **rule)
        elif groups := stated_groups(stored, by):
            table = stats_by(stored, groups, who=person, **rule)
        else:
            table = condition_stats(stored, by, who=person, lasts_s=lasting_s, **rule)
        read = readability(stored, who=person) if isinstance(stored, StoredRun) and by is None else None
    attrs = dict(table.attrs)
    print_answer(table[table["seconds"] > 0.0] if output_format is Format.TABLE else table, output_format)
    for row in [] if read is None else read[read["not_readable_s"] > 0.0].to_dict("records"):
        share = f"{100.0 * float(row['share_not_readable']):.1f} % of the time with a face"
        err_console().print(f"{row['person']} was not readable for {share}; that time counts as uncertain")
    note_moments(attrs)
    print_coverage(attrs)


@app.command("transitions")
def transitions(
    run: Runs,
    person: OnlyPerson = None,
    by: By = None,
    lasting_s: Lasting = None,
    min_duration_s: MinDuration = None,
    max_gap_s: Gap = None,
    uncorrected: Uncorrected = False,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """Count how often each expression followed which other one.

    With --by, a transition belongs to the condition in which the second expression begins.

    Example: fertrack stats transitions all
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.conditions import condition_transitions
    from fertrack.storage.queries.statistics import transitions as ask_transitions

    with open_database(db, corrected=not uncorrected) as database, database.runs(run) as stored, misuse():
        rule = episode_rule(min_duration_s, max_gap_s)
        if by is None:
            table = ask_transitions(stored, who=person, **rule).reset_index()
        else:
            table = condition_transitions(stored, by, who=person, lasts_s=lasting_s, **rule)
    attrs = dict(table.attrs)
    print_answer(table, output_format, attrs["coverage"])
    note_moments(attrs)
    if attrs["broken"]:
        err_console().print(f"{attrs['broken']} pairs of episodes with a longer break between them are not counted")
    print_coverage(attrs)


@app.command("synchrony")
def synchrony(
    run: Runs,
    a: Annotated[str, typer.Argument(metavar="PERSON", help="A name, P3, or 'ID 5'.")],
    b: Annotated[str, typer.Argument(metavar="PERSON", help="The other person.")],
    lag_s: Annotated[float, typer.Option("--lag", metavar="TIME", parser=seconds, help="Longest lag, seconds.")] = 2.0,
    rate_hz: Annotated[float, typer.Option("--rate", metavar="HZ", help="Values per second.")] = 10.0,
    uncorrected: Uncorrected = False,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """Correlate two persons' probabilities over time lags, and compare their labels with chance.

    Example: fertrack stats synchrony last P1 P2 --lag 5
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.synchrony import synchrony as ask_synchrony

    with open_database(db, corrected=not uncorrected) as database, database.run(run) as stored, misuse():
        table = ask_synchrony(stored, a, b, rate_hz=rate_hz, max_lag_s=lag_s)
    attrs = dict(table.attrs)
    print_answer(table, output_format, attrs["coverage"])
    err_console().print(
        f"{attrs['a']} and {attrs['b']} were seen together for {attrs['together_s']:.1f} s; their labels agree "
        f"beyond chance with kappa {attrs['kappa']:.3f} (1: always, 0: as by chance); a positive lag: "
        f"{attrs['b']} follows {attrs['a']}"
    )
    print_coverage(attrs)


@app.command("latency")
def latency(
    run: Runs,
    marker: Annotated[str, typer.Argument(metavar="MARKER", help="Name of markers, see 'fertrack markers list'.")],
    person: OnlyPerson = None,
    within_s: Annotated[
        float, typer.Option("--within", metavar="TIME", parser=seconds, help="How long to wait, seconds.")
    ] = 10.0,
    by: By = None,
    min_duration_s: MinDuration = None,
    max_gap_s: Gap = None,
    uncorrected: Uncorrected = False,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """Measure the time from each marker of that name to each person's first change of expression.

    Example: fertrack stats latency last stimulus --within 5
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.conditions import with_own_conditions
    from fertrack.storage.queries.latency import since_marker

    with open_database(db, corrected=not uncorrected) as database, database.runs(run) as stored, misuse():
        table = since_marker(stored, marker, who=person, within_s=within_s, **episode_rule(min_duration_s, max_gap_s))
        if by is not None:
            table = with_own_conditions(stored, table, by)
    attrs = dict(table.attrs)
    print_answer(table, output_format, attrs["coverage"])
    for sentence in attrs.get("outside", ()):
        err_console().print(f"note: {sentence}", soft_wrap=True)
    print_coverage(attrs)


@app.command("quality")
def quality(
    run: Run,
    person: OnlyPerson = None,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """Show how well each person's face could be read.

    Beside it: the share of time in which it could not be.

    Example: fertrack stats quality last
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.readability import readability

    with open_database(db) as database, database.run(run) as stored, misuse():
        table = readability(stored, who=person)
    print_answer(table, output_format)


@app.command("timing")
def timing(
    run: Runs,
    window_s: Annotated[
        float | None,
        typer.Option("--window", metavar="TIME", parser=seconds, help="Speed over time instead: a row per S seconds."),
    ] = None,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """Show the time spent per stage of a run, and the frames that were dropped.

    Example: fertrack stats timing last --window 10
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.timing import speed_over_time, stage_timings

    with open_database(db) as database, database.run(run) as stored, misuse():
        speed = speed_over_time(stored, window_s=10.0 if window_s is None else window_s)
        table = stage_timings(stored) if window_s is None else speed
    print_answer(table, output_format)
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
