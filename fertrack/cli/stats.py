"""``fertrack stats``: shares of time per person, transitions, synchrony, reactions to markers, quality and timing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from fertrack.cli.groups import DefaultGroup
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
    Run,
    Runs,
    To,
    Uncorrected,
    episode_rule,
    named_persons,
    seconds,
)
from fertrack.cli.output import err_console, misuse, note_moments, print_answer, print_coverage

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["app"]


class Pair(TypedDict):
    """Arguments of a question about two persons."""

    rate_hz: float
    max_lag_s: float
    from_s: float | None
    to_s: float | None


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
    from_s: From = None,
    to_s: To = None,
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

    with (
        open_database(db, corrected=not uncorrected) as database,
        misuse(),
        database.runs(run, from_s=from_s, to_s=to_s) as stored,
    ):
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
    from_s: From = None,
    to_s: To = None,
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

    with (
        open_database(db, corrected=not uncorrected) as database,
        misuse(),
        database.runs(run, from_s=from_s, to_s=to_s) as stored,
    ):
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
    windowed: Annotated[
        str | None,
        typer.Option("--windows", metavar="EXPRESSION", help="Instead, how the lag changes: window by window."),
    ] = None,
    window_s: Annotated[
        float, typer.Option("--window", metavar="TIME", parser=seconds, help="With --windows: length of each.")
    ] = 10.0,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.html", help="With --windows: draw them, to open offline.")
    ] = None,
    from_s: From = None,
    to_s: To = None,
    uncorrected: Uncorrected = False,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """Correlate two persons' probabilities over time lags, and compare with chance.

    Examples: fertrack stats synchrony last P1 P2 --lag 5 ·
    fertrack stats synchrony last P1 P2 --windows happiness --window 20s --plot smiles.html
    """
    from fertrack.storage.engine import open_database
    from fertrack.storage.queries.synchrony import synchrony as ask_synchrony
    from fertrack.storage.queries.synchrony import windowed_synchrony

    if plot is not None and windowed is None:
        raise typer.BadParameter("draws the windows of one expression: add --windows happiness", param_hint="--plot")
    ask: Pair = {"rate_hz": rate_hz, "max_lag_s": lag_s, "from_s": from_s, "to_s": to_s}
    with open_database(db, corrected=not uncorrected) as database, database.run(run) as stored, misuse():
        if windowed is not None:
            table = windowed_synchrony(stored, a, b, windowed, window_s=window_s, **ask)
        else:
            table = ask_synchrony(stored, a, b, **ask)
    attrs = dict(table.attrs)
    if plot is not None:
        from fertrack.reporting.notebook.figure import write_lag_map

        typer.echo(write_lag_map(table, plot))
    if windowed is not None:
        import pandas as pd

        best = pd.DataFrame(attrs["best"])
        print_answer(best if output_format is Format.TABLE else table, output_format, attrs["coverage"])
    else:
        print_answer(table, output_format, attrs["coverage"])
    for sentence in attrs["notes"]:
        err_console().print(sentence, soft_wrap=True)
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
    for sentence in (*attrs.get("outside", ()), *attrs.get("cut", ())):
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


@app.command("agreement")
def agreement(
    run: Run,
    codings: Annotated[list[Path], typer.Argument(metavar="CODING...", help="ELAN, BORIS, Praat or CSV; one a coder.")],
    person: OnlyPerson = None,
    events: Annotated[bool, typer.Option("--events", help="Events found again, instead of time.")] = False,
    intensity: Annotated[bool, typer.Option("--intensity", help="Intensities, instead of time.")] = False,
    tolerance_s: Annotated[
        float, typer.Option("--tolerance", metavar="TIME", parser=seconds, help="Between two onsets of one event.")
    ] = 0.5,
    block_s: Annotated[
        float, typer.Option("--block", metavar="TIME", parser=seconds, help="Blocks that intervals are drawn from.")
    ] = 10.0,
    uncoded: Annotated[
        str | None, typer.Option(metavar="EXPRESSION", help="Label of time that a coder left empty, such as neutral.")
    ] = None,
    scale: Annotated[
        float | None, typer.Option(metavar="MAX", help="Highest intensity. [default: the highest given]")
    ] = None,
    people: Annotated[
        list[str] | None, typer.Option("--map", metavar="TIER=PERSON", help="Whom a tier or subject means.")
    ] = None,
    tier: Annotated[str, typer.Option(metavar="NAME", help="Only this tier, subject or observation.")] = "",
    min_duration_s: MinDuration = None,
    max_gap_s: Gap = None,
    output_format: OutputFormat = Format.TABLE,
    db: Database = DEFAULT_DB,
) -> None:
    """Compare the estimates with people's codings: kappa.

    The estimates are compared, also where labels were corrected. Intervals are 95 %, drawn from blocks of time.

    Examples: fertrack stats agreement last anna.eaf ben.eaf --map Mother=P1 ·
    fertrack stats agreement last anna.csv --events --tolerance 0.3
    """
    from fertrack.evaluation.agreement.codings import AgreementOptions, read_codings
    from fertrack.evaluation.agreement.codings import agreement as ask_agreement
    from fertrack.storage.engine import open_database

    if events and intensity:
        raise typer.BadParameter("give one of the two", param_hint="--events / --intensity")
    options = AgreementOptions(
        of="events" if events else "intensity" if intensity else "time",
        who=person,
        uncoded=uncoded,
        block_s=block_s,
        tolerance_s=tolerance_s,
        scale=scale,
        **episode_rule(min_duration_s, max_gap_s),
    )
    with open_database(db, corrected=False) as database, database.run(run) as stored, misuse():
        coded = read_codings(stored, codings, tier=tier, people=named_persons(people))
        table = ask_agreement(stored, coded, options)
    _print_agreement(table, output_format, "is left out" if uncoded is None else f"counts as {uncoded}")


def _print_agreement(table: pd.DataFrame, output_format: Format, empty: str) -> None:
    """Print an answer about agreement, and what was compared; ``empty`` says what became of time left empty."""
    attrs = dict(table.attrs)
    seconds_said = [name for name in ("a_said_s", "b_said_s", "agreed_s") if name in table.columns]
    print_answer(table.drop(columns=seconds_said) if output_format is Format.TABLE else table, output_format)
    if "tolerance_s" in attrs:
        err_console().print(f"events match whose onsets are at most {attrs['tolerance_s']:g} s apart")
    elif "scale" in attrs:
        err_console().print(
            f"intensities are divided by {attrs['scale']:g}; the estimates' are probabilities, which say how likely an "
            "expression is, not how strong",
            soft_wrap=True,
        )
    else:
        everybody = table[(table["expression"] == "all") & (table["rater_a"] != "all")]
        compared_s = everybody["compared_s"].max() if len(everybody) else 0.0
        err_console().print(
            f"at most {compared_s:.1f} s of the {attrs['seen_s']:.1f} s in which a face was seen are compared: time "
            f"that a coder left empty {empty}; intervals need 5 blocks of {attrs['block_s']:g} s",
            soft_wrap=True,
        )


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
