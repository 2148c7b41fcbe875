"""``fertrack process`` and ``fertrack demo``: the main job."""

from __future__ import annotations

import math
import os
import shlex
import signal
import threading
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fertrack.cli.options import DEFAULT_DB, DEFAULT_OUT, Config, Overrides, seconds, settings_from
from fertrack.cli.output import err_console, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from fertrack.batch.one_file import Outcome
    from fertrack.config import Settings
    from fertrack.pipeline.pipeline import Pipeline, Progress
    from fertrack.process import ProcessResult
    from fertrack.sinks.reidentifier import Reidentifier

__all__ = ["register"]

_ENDING = {name: 128 + number for name, number in (("SIGINT", 2), ("SIGTERM", 15), ("SIGHUP", 1))}
"""Signals that end a run in order, and the exit codes then: those of programs that a signal has ended."""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("process")(process)
    app.command("demo")(demo)


def process(
    videos: Annotated[
        list[str], typer.Argument(metavar="VIDEO...", help="Videos, images, folders, patterns, CSV lists.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Output folder; for one video also the annotated video's own path.")
    ] = DEFAULT_OUT,
    db: Annotated[
        str, typer.Option("--db", envvar="FERTRACK_DB", help="Database file or URL. [default: OUT/fertrack.db]")
    ] = "",
    config: Config = None,
    overrides: Overrides = None,
    classifier: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="Your own classifier: a bundle's folder, or weights with a card beside them."
        ),
    ] = "",
    from_s: Annotated[
        float | None, typer.Option("--from", metavar="TIME", parser=seconds, help="Start here: 12.5, 0:12, 1m30s.")
    ] = None,
    to_s: Annotated[float | None, typer.Option("--to", metavar="TIME", parser=seconds, help="End before here.")] = None,
    rate: Annotated[float | None, typer.Option(metavar="HZ", help="Frames analysed per second of video.")] = None,
    no_video: Annotated[bool, typer.Option("--no-video", help="Write no annotated video.")] = False,
    anonymise: Annotated[
        bool, typer.Option("--anonymise", help="Make every face in the annotated video unrecognisable.")
    ] = False,
    purpose: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="What the analysis is for; stored and reported. Words of work or education are refused; the list of "
            "words is a reminder, not a legal judgement.",
        ),
    ] = "",
    consent: Annotated[str, typer.Option(metavar="TEXT", help="Which consent was given; stored and reported.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs of the same name.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was cut off: VIDEO, or its run's number, or last.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Of several: try again what failed or was left unfinished.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, metavar="N", help="Of several: so many at once, in processes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Track every face in VIDEO, estimate its expression, and write video, database rows and report.

    Everything else is an option of the configuration ('fertrack config show' lists them all): --set input.rotate=90
    turns the image, --set report.csv=true writes CSV files too, --config mine.toml takes a file of options.

    Several files: those that are done are skipped, and one that fails does not stop the others. 'fertrack guide
    batches' says how lists are written.

    Examples: fertrack process clip.mp4 · fertrack process 'day1/*.mov' -o results --rate 5 --no-video
    """
    flags: dict[str, tuple[str, object]] = {
        "classification.bundle": ("--classifier", classifier or None),
        "input.from_s": ("--from", from_s),
        "input.to_s": ("--to", to_s),
        "input.rate_hz": ("--rate", rate),
        "video.enabled": ("--no-video", False if no_video else None),
        "video.anonymise": ("--anonymise", True if anonymise else None),
        "storage.url": ("--db", db or None),
        "privacy.purpose": ("--purpose", purpose or None),
        "privacy.consent": ("--consent", consent or None),
    }
    if resume:
        from fertrack.outputs.plan import run_named

        location, stored = run_named(videos, out, db, alone=not (overwrite or retry_failed or workers))
        settings = settings_from(config, overrides, flags, base=stored)
        _process_one(location, out, settings, overwrite=False, resume=True, as_json=as_json)
        return
    settings = settings_from(config, overrides, flags)
    _process_all(
        videos, out, settings, overwrite=overwrite, as_json=as_json, retry_failed=retry_failed, workers=workers
    )


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Output folder.")] = DEFAULT_OUT,
    clip_only: Annotated[bool, typer.Option("--clip-only", help="Compose the clip and stop.")] = False,
) -> None:
    """Compose a short clip of two people from public-domain portraits, and process it. Replaces earlier demo outputs.

    The portraits come from scikit-image and matplotlib: the extra [demo].
    """
    from fertrack.demo import compose_demo

    clip = compose_demo(out / "demo.mp4")
    if clip_only:
        typer.echo(clip)
        return
    stated = ["privacy.purpose=demonstration", "privacy.consent=public-domain portraits"]
    _process_all([str(clip)], out, settings_from(None, stated), overwrite=True, as_json=False)


def _load_networks(settings: Settings) -> tuple[Pipeline, Reidentifier | None]:
    from fertrack.build import build_pipeline
    from fertrack.sinks.reidentifier import build_reidentifier

    return build_pipeline(settings), build_reidentifier(settings.linking)


def _process_all(
    videos: list[str],
    out: Path,
    settings: Settings,
    *,
    overwrite: bool,
    as_json: bool,
    retry_failed: bool = False,
    workers: int | None = None,
) -> None:
    from fertrack.batch.inputs import batch_inputs

    inputs = batch_inputs(videos, settings)
    if len(inputs) > 1 or not inputs[0].named_alone or retry_failed or workers:
        from fertrack.batch.one_file import BatchOptions
        from fertrack.cli.batch.run import process_batch

        with _stop_on_signals(lambda: None) as stopped:
            process_batch(
                inputs,
                out,
                settings,
                BatchOptions(overwrite=overwrite, retry_failed=retry_failed),
                workers=workers or 1,
                as_json=_outcome_json if as_json else None,
                next_command=lambda result: f"fertrack episodes {result.run}{_db_option(result)}",
                stopped=stopped,
            )
        return
    _process_one(inputs[0].location, out, settings, overwrite=overwrite, as_json=as_json)


def _process_one(
    location: str, out: Path, settings: Settings, *, overwrite: bool, as_json: bool, resume: bool = False
) -> None:
    from fertrack.outputs.plan import database_url, plan_or_offer

    plan = plan_or_offer(location, out, settings, overwrite=overwrite, resume=resume)
    with ThreadPoolExecutor(1, thread_name_prefix="fertrack-load") as loader:
        networks = loader.submit(_load_networks, settings)
        # Meanwhile, here, the rest of the program: half a second of imports.
        from fertrack.process import process_planned
        from fertrack.rights.purpose import UNSTATED
        from fertrack.storage.engine import open_database
    pipeline, reidentifier = networks.result()
    with (
        open_database(database_url(settings, out), create=True) as database,
        _stop_on_signals(pipeline.stop) as stopped,
    ):
        with _progress_bar(plan.location, settings) as on_progress:
            result = process_planned(
                plan,
                pipeline,
                database,
                settings,
                reidentifier=reidentifier,
                overwrite=overwrite,
                resume=resume,
                on_progress=on_progress,
            )
        persons = result.persons().to_dict("records")
    if as_json:
        print_json([_as_json(plan.location, result, persons)])
    else:
        _print_result(plan.location, result, persons)
    if not settings.privacy.purpose:
        err_console().print(f"note: {UNSTATED}", markup=False, soft_wrap=True)
    if stopped:
        err_console().print(
            "interrupted: what was done so far is kept; the same command with --resume goes on", soft_wrap=True
        )
        raise typer.Exit(stopped[0])


@contextmanager
def _stop_on_signals(end: Callable[[], None]) -> Iterator[list[int]]:
    """Ctrl-C, SIGTERM (a cluster's preemption, a shutdown) and a closed terminal end the run cleanly.

    The first signal calls ``end`` and adds the program's exit code to the list, which is empty before. A second Ctrl-C,
    or SIGTERM, ends the program.
    """
    stopped: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def stop(signum: int, _frame: object) -> None:
        stopped.append(_ENDING[signal.Signals(signum).name])
        end()
        for each in before:
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
        if signum == getattr(signal, "SIGHUP", None):
            _print_nowhere()

    try:
        if threading.current_thread() is threading.main_thread():  # else whoever runs us handles signals
            for name in _ENDING:
                each = getattr(signal, name, None)  # Windows has no SIGHUP
                if each is not None and signal.getsignal(each) is not signal.SIG_IGN:  # as with nohup
                    before[each] = signal.signal(each, stop)
        yield stopped
    finally:
        for each, previous in before.items():
            signal.signal(each, previous)


def _print_nowhere() -> None:
    """The terminal is gone: what is still printed must not break the ending."""
    terminals = [number for number in (0, 1, 2) if os.isatty(number)]
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in terminals:
        os.dup2(nowhere, number)
    os.close(nowhere)


@contextmanager
def _progress_bar(location: str, settings: Settings) -> Iterator[Callable[[Progress], None]]:
    """Progress on stderr: share done where the length is known, fps, time left, faces and tracks so far."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from fertrack.pipeline.pipeline import Progress as RunProgress

    console = err_console()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[fps]:.1f} fps · faces: {task.fields[faces]} · tracks: {task.fields[tracks]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
        refresh_per_second=5,
    )
    task = bar.add_task(Path(location).name, total=None, fps=0.0, faces=0, tracks=0)

    def update(progress: RunProgress) -> None:
        fps = progress.frames / progress.elapsed_s if progress.elapsed_s else 0.0
        end_s = min(progress.duration_s or math.inf, settings.input.to_s or math.inf)
        bar.update(
            task,
            completed=progress.timestamp_s - settings.input.from_s,
            total=end_s - settings.input.from_s if math.isfinite(end_s) else None,
            fps=fps,
            faces=progress.faces,
            tracks=progress.tracks,
        )

    with bar:
        yield update


def _print_result(location: str, result: ProcessResult, persons: list[dict[Hashable, Any]]) -> None:
    summary = result.summary
    console = err_console()
    for note in summary.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    if persons:
        shares = [str(column) for column in persons[0] if str(column).startswith("share_")]
        rows = [
            (
                row["person"] if isinstance(row["person"], str) else f"ID {row['track']}",
                row["first_s"],
                row["last_s"],
                row["frames"],
                ", ".join(
                    f"{column.removeprefix('share_')} {row[column]:.0%}"
                    for column in sorted(shares, key=lambda name: -row[name])
                    if row[column] >= 0.005
                ),
            )
            for row in persons
        ]
        columns = ["person", "first_s", "last_s", "frames", "expression estimates, share of time"]
        print_table(columns, rows, title=Path(location).name)
        typer.echo("")
    facts: list[tuple[str, Any]] = [
        ("run", f"{result.run} ({summary.status})"),
        ("frames", f"{summary.frames}, {summary.video_s:.2f} s of video"),
        ("faces, tracks", f"{summary.faces}, {summary.tracks}"),
        ("dropped, undecodable", f"{summary.dropped}, {summary.decode_failures}"),
        ("speed", f"{summary.fps:.1f} fps, {summary.real_time_factor:.2f} x real time"),
        ("ms per frame", " · ".join(f"{stage.stage} {stage.mean_ms:.1f}" for stage in summary.stages)),
        ("annotated video", result.video_path or "none"),
        ("report", result.report_path or "none"),
        *(("csv", path) for path in result.csv_paths),
        ("database", result.database_name),
    ]
    print_table([Path(location).name, ""], facts)
    console.print(f"next: fertrack episodes {result.run}{_db_option(result)}", markup=False, soft_wrap=True)


def _db_option(result: ProcessResult) -> str:
    """Option by which later commands find the database; a URL is not repeated, as it may hold a password."""
    if Path(result.database_name) == Path(DEFAULT_DB).absolute():
        return ""
    return " --db URL" if "://" in result.database_name else f" --db {shlex.quote(result.database_name)}"


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    assert outcome.result is not None
    return _as_json(outcome.location, outcome.result, outcome.result.persons().to_dict("records"))


def _as_json(location: str, result: ProcessResult, persons: list[dict[Hashable, Any]]) -> dict[str, Any]:
    return {
        "source": location,
        "run": result.run,
        **asdict(result.summary),
        "fps": result.summary.fps,
        "real_time_factor": result.summary.real_time_factor,
        "video": result.video_path,
        "report": result.report_path,
        "csv": list(result.csv_paths),
        "database": result.database_name,
        "persons": persons,
    }
