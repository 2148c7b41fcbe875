"""From the command line to a batch: its files in processes, a line for each that ends, and a closing table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fertrack.cli.batch.progress import batch_progress
from fertrack.cli.output import err_console, print_json, print_table

if TYPE_CHECKING:
    from fertrack.batch.inputs import BatchInput
    from fertrack.batch.one_file import BatchOptions, Outcome
    from fertrack.config import Settings
    from fertrack.process import ProcessResult

__all__ = ["process_batch"]


def process_batch(
    inputs: Sequence[BatchInput],
    out: Path,
    settings: Settings,
    options: BatchOptions,
    *,
    workers: int,
    as_json: Callable[[Outcome], dict[str, Any]] | None,
    next_command: Callable[[ProcessResult], str],
    stopped: Sequence[int],
) -> None:
    """Process several files, and say how each ended.

    Args:
        inputs: the files.
        out: the output folder.
        settings: options of those that have none of their own.
        options: of the batch.
        workers: how many processes.
        as_json: what is printed of a file that is done; None: a table is printed.
        next_command: what to ask next, of a file that is done.
        stopped: exit code of the signal that has come, if one has.

    Raises:
        FertrackError: nothing can begin.
        typer.Exit: a file failed, or a signal came.
    """
    from dataclasses import replace

    from fertrack.batch.workers import Job, run_batch
    from fertrack.files import make_folder
    from fertrack.outputs.plan import database_url, name_outputs, out_folder
    from fertrack.pipeline.scheduler import available_cores
    from fertrack.rights.purpose import UNSTATED
    from fertrack.storage.engine import open_database

    each = [one.settings for one in inputs]
    jobs = [Job(*pair) for pair in zip(name_outputs([one.location for one in inputs], out, each), each, strict=True)]
    make_folder(out_folder(out))
    workers = min(workers, len(jobs))
    if workers > 1:
        options = replace(options, threads=max(1, available_cores() // workers))
    places = {job.plan.location: place for place, job in enumerate(jobs)}
    counted = [0]
    with open_database(database_url(settings, out), create=True) as database, batch_progress(jobs) as progress:

        def ended(outcome: Outcome) -> None:
            counted[0] += 1
            progress.ended(places[outcome.location])
            if outcome.state != "not begun":
                _print_line(outcome, f"{counted[0]}/{len(jobs)}")

        outcomes = run_batch(
            jobs,
            database,
            settings,
            options,
            workers=workers,
            on_end=ended,
            on_progress=progress.update,
            stopped=lambda: stopped,
        )
    _print_all(outcomes, as_json)
    done = [outcome.result for outcome in outcomes if outcome.result is not None]
    if done:
        err_console().print(f"next: {next_command(done[-1])}", markup=False, soft_wrap=True)
    unstated = [not own.privacy.purpose for own, outcome in zip(each, outcomes, strict=True) if outcome.result]
    if any(unstated):
        err_console().print(f"note: {UNSTATED}", markup=False, soft_wrap=True)
    if stopped:
        left = sum(outcome.state == "not begun" for outcome in outcomes)
        err_console().print(
            f"interrupted: what was done so far is kept; {left} of {len(jobs)} files were not begun: the same command "
            "goes on with them, with --retry-failed also with what was interrupted",
            soft_wrap=True,
        )
        raise typer.Exit(stopped[0])
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _print_line(outcome: Outcome, count: str) -> None:
    name = Path(outcome.location).name
    if outcome.result is not None:
        summary = outcome.result.summary
        said = f"run {outcome.run}, {summary.frames} frames, {summary.tracks} tracks, {summary.fps:.1f} fps"
        for note in summary.notes:
            err_console().print(f"note: {name}: {note}", markup=False, soft_wrap=True)
    else:
        said = outcome.why
    level = "error: " if outcome.state == "failed" else ""
    err_console().print(f"{count} {level}{name}: {outcome.state}: {said}", markup=False, soft_wrap=True)


def _print_all(outcomes: Sequence[Outcome], as_json: Callable[[Outcome], dict[str, Any]] | None) -> None:
    if as_json is not None:
        print_json(
            [
                as_json(outcome)
                if outcome.result is not None
                else {"source": outcome.location, "status": outcome.state, "run": outcome.run, "error": outcome.why}
                for outcome in outcomes
            ]
        )
        return
    rows = [(Path(each.location).name, each.state, str(each.run or "-"), each.why) for each in outcomes]
    print_table(["file", "ended", "run", "why"], rows)
    states = [outcome.state for outcome in outcomes]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    typer.echo(f"{', '.join(counts)} of {len(outcomes)} files")
