"""Measures the questions to a large database: ``python -m fertrack.benchmarks queries``.

Builds an SQLite file of a million face rows (18 runs of 10,000 frames and one of 20,000, with five people in each) by
inserting in bulk what an analysis would have stored, asks every question about the longest run and about all runs,
and writes a table with the CPU time and the wall time of each.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from fertrack.imports.marker_import import import_markers
from fertrack.sinks.database import DatabaseSink, RunRecord
from fertrack.storage.engine import Database, StorageConfig, open_database
from fertrack.storage.queries.latency import since_marker
from fertrack.storage.queries.moments import Condition, moments
from fertrack.storage.queries.resample import resampled_timeline
from fertrack.storage.queries.statistics import expression_stats, person_episodes, transitions
from fertrack.storage.queries.synchrony import synchrony
from fertrack.storage.queries.timeline import episodes, timeline, tracks
from fertrack.storage.queries.timing import speed_over_time
from fertrack.types import EXPRESSIONS, UNCERTAIN, AnalysisMs, Detections, Faces, FrameResult, RunSummary, VideoInfo

__all__ = ["build_database", "main", "measure", "write_table"]

_FPS = 25.0
_ONE_RUN_LIMIT_S = 0.3
_ALL_RUNS_LIMIT_S = 2.0


def build_database(path: Path, *, runs: int, frames: int, people: int) -> Database:
    """Make a database of ``(runs + 1) * frames * people`` faces; everybody keeps an expression for about a second.

    The last run is twice as long as the others.

    Raises:
        StorageError: the file cannot be written.
    """
    database = open_database(path, create=True)
    info = VideoInfo(name="benchmark.mp4", width=1280, height=720, fps=_FPS)
    record = RunRecord(config_toml="", config_digest="", detector="none", classifier="none")
    for seed, count in enumerate([frames] * (runs - 1) + [2 * frames]):
        with DatabaseSink(database, info, record, StorageConfig(batch_rows=20_000, flush_s=60.0)) as sink:
            for result in _results(seed, count, people):
                sink.write(result, None)
            sink.finish(RunSummary("complete", count, count * people, people, 0, 0, count / 100.0, count / _FPS))
    return database


def measure(database: Database) -> list[tuple[str, str, int, float, float, float]]:
    """Ask every question four times: scope, question, rows of the answer, least CPU s, least wall s, limit s.

    The least of several, after a first one that does not count: what other programs take from this one comes on top.
    """

    def one(question: Callable[..., Any], *values: Any, **options: Any) -> Callable[[], Any]:
        return lambda: _asked(database.run("last"), question, *values, **options)

    def every(question: Callable[..., Any], *values: Any, **options: Any) -> Callable[[], Any]:
        return lambda: _asked(database.runs("all"), question, *values, **options)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "markers.csv"
        path.write_text("time_s,label\n" + "".join(f"{30 * i},cue\n" for i in range(10)), encoding="utf-8")
        import_markers(database, "last", path, skip_outside=True)
    surprised = Condition("surprise", who=2, above=0.7)
    together = Condition("happiness", people=2)
    questions: list[tuple[str, str, Callable[[], Any]]] = [
        ("one run", "timeline", one(timeline)),
        ("one run", "timeline, one person, 60 s", one(timeline, track=1, to_s=60.0)),
        ("one run", "timeline at 5 Hz", one(resampled_timeline, 5.0)),
        ("one run", "timeline at 5 Hz, one person", one(resampled_timeline, 5.0, who=1)),
        ("one run", "episodes of tracks, from the faces", one(episodes)),
        ("one run", "tracks and their shares", one(tracks)),
        ("one run", "episodes of persons", one(person_episodes)),
        ("one run", "stats", one(expression_stats)),
        ("one run", "transitions", one(transitions)),
        ("one run", "latency from 10 markers", one(since_marker, "cue")),
        ("one run", "synchrony of two persons", one(synchrony, 1, 2)),
        ("one run", "moments: one person above 0.7 for 1 s", one(moments, surprised)),
        ("one run", "moments: two people together", one(moments, together)),
        ("one run", "speed over time", one(speed_over_time)),
        ("all runs", "stats", every(expression_stats)),
        ("all runs", "transitions", every(transitions)),
        ("all runs", "episodes of persons", every(person_episodes, min_duration_s=1.0)),
        (
            "all runs",
            "moments: one person above 0.7 for 1 s",
            every(moments, surprised, min_duration_s=1.0),
        ),
        ("all runs", "moments: two people together", every(moments, together, min_duration_s=0.5)),
    ]
    rows = []
    for scope, name, ask in questions:
        answer = ask()
        spent = []
        for _ in range(3):
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            ask()
            spent.append((time.process_time() - cpu_s, time.perf_counter() - wall_s))
        cpu, wall = (min(times) for times in zip(*spent, strict=True))
        limit_s = _ONE_RUN_LIMIT_S if scope == "one run" else _ALL_RUNS_LIMIT_S
        rows.append((scope, name, len(answer), cpu, wall, limit_s))
    return rows


def _asked(stored: AbstractContextManager[Any], question: Callable[..., Any], *values: Any, **options: Any) -> Any:
    with stored as run:
        return question(run, *values, **options)


def write_table(
    path: Path, rows: list[tuple[str, str, int, float, float, float]], *, about: str, built_s: float
) -> None:
    """Write the measurements as Markdown."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    lines = [
        f"# Questions to a large database, {dt.date.today():%Y-%m-%d}",
        "",
        f"{about} Made by `python -m fertrack.benchmarks queries`; built in {built_s:.0f} s.",
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; load average {load:.1f} "
        "while measuring: where others work on the machine too, the CPU time is the figure to compare. "
        f"Peak memory of the process {_peak_mb():.0f} MB, building included.",
        "",
        "| asked of | question | rows | CPU ms | wall ms | limit ms | |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for scope, name, count, cpu, wall, limit_s in rows:
        verdict = "met" if max(cpu, wall) <= limit_s else ("met in CPU time" if cpu <= limit_s else "missed")
        lines.append(
            f"| {scope} | {name} | {count} | {cpu * 1e3:.0f} | {wall * 1e3:.0f} | {limit_s * 1e3:.0f} | {verdict} |"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Build, measure, write; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fertrack.benchmarks queries", description="Measure the questions to a large database."
    )
    parser.add_argument("--runs", type=int, default=19)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="make the database here and leave it")
    today = dt.date.today()
    parser.add_argument("-o", "--out", type=Path, default=Path(f"reports/benchmarks/{today:%Y-%m-%d}-queries.md"))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "benchmark.db"
        started = time.perf_counter()
        database = (
            open_database(path)
            if path.exists()
            else build_database(path, runs=options.runs, frames=options.frames, people=options.people)
        )
        built_s = time.perf_counter() - started
        with database:
            rows = measure(database)
        size_mb = path.stat().st_size / 1e6
    faces = (options.runs + 1) * options.frames * options.people
    about = (
        f"SQLite, {faces:,} faces of {options.people} people in {options.runs} runs of {options.frames:,} frames, the "
        f"one asked about of {2 * options.frames:,} ({2 * options.frames * options.people:,} faces); {size_mb:.0f} MB."
    )
    write_table(options.out, rows, about=about, built_s=built_s)
    sys.stdout.write(f"{options.out}\n")
    return 0


def _results(seed: int, frames: int, people: int) -> Iterator[FrameResult]:
    """Frames in which everybody keeps an expression for about a second and is uncertain a fifth of the time."""
    random = np.random.default_rng(seed)
    classes = len(EXPRESSIONS)
    shown = random.integers(0, classes, people)
    level = random.uniform(0.3, 0.95, people)
    track_ids = np.arange(1, people + 1)
    for index in range(frames):
        changes = random.random(people) < 1.0 / _FPS
        shown = np.where(changes, random.integers(0, classes, people), shown)
        level = np.where(changes, random.uniform(0.3, 0.95, people), level)
        smoothed = np.repeat(((1.0 - level) / (classes - 1))[:, None], classes, axis=1).astype(np.float32)
        smoothed[np.arange(people), shown] = level
        xyxy = (random.random((people, 4), np.float32) * 100 + np.array([0, 0, 200, 200], np.float32)).astype(
            np.float32
        )
        faces = Faces(
            Detections(xyxy, random.random(people, np.float32), random.random((people, 5, 2), np.float32)),
            np.log(smoothed),
        )
        yield FrameResult(
            frame_index=index,
            timestamp_s=index / _FPS,
            faces=faces,
            track_ids=track_ids,
            track_xyxy=xyxy,
            probabilities=smoothed,
            smoothed=smoothed,
            labels=np.where(level > 0.43, shown, UNCERTAIN),
            ms=AnalysisMs(2.0, 20.0, 0.5, 3.0),
            track_ms=0.2,
        )


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
