"""Speed of one association step: ``python -m fertrack.benchmarks tracker_speed [--peer PYTHON]``.

Our tracker with all its improvements, the same as plain SORT, and the SORT of roboflow's ``trackers`` (in a virtual
environment of its own, whose Python is given) take turns on the same boxes: people who wander about, one in twenty
detections missed. Each round starts every tracker anew; a round's figure is the median of its updates, the figure
reported the median of the rounds. Only the updates are timed, not the making of their input.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fertrack.benchmarks import tracker_peer as tracking_peer
from fertrack.errors import reason_of
from fertrack.pipeline.scheduler import available_cores
from fertrack.tracking.tracker import PLAIN_SORT, SortTracker, TrackerConfig
from fertrack.types import Detections, FloatArray

__all__ = ["main", "measure", "scene", "to_markdown"]

COUNTS = (6, 100)
"""People in the scenes."""
FRAMES = 300
_WARM_UP = 10
"""Updates at the start of each round that are not counted: no track has an ID yet."""

OURS = {"fertrack, default": TrackerConfig(), "fertrack, plain SORT": PLAIN_SORT}
PEER = "roboflow trackers, SORT"


def scene(count: int, frames: int = FRAMES) -> list[FloatArray]:
    """Boxes (N, 4) xyxy of each frame: ``count`` people of 60 px, a step of about 1 px a frame, 5 % not detected."""
    rng = np.random.default_rng(0)
    centres = np.stack([np.arange(count) % 10, np.arange(count) // 10], axis=1) * 100.0 + 50.0
    found = []
    for _ in range(frames):
        centres = centres + rng.normal(0.0, 1.0, centres.shape)
        boxes = np.hstack([centres - 30.0, centres + 30.0]).astype(np.float32)
        found.append(boxes[rng.random(count) > 0.05])
    return found


def _time_ours(config: TrackerConfig, frames: Sequence[FloatArray]) -> list[float]:
    detections = [
        Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros((len(boxes), 5, 2), np.float32))
        for boxes in frames
    ]
    tracker = SortTracker(config)
    seconds = []
    for index, found in enumerate(detections):
        started = time.perf_counter()
        tracker.update(found, index)
        seconds.append(time.perf_counter() - started)
    return seconds


def _time_peer(python: Path, stored: Path, name: str) -> tuple[str, list[float]]:
    command = [str(python), str(Path(tracking_peer.__file__)), str(stored), name]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"{python} could not run the peer: {finished.stderr.strip()[-500:]}")
    answer = json.loads(finished.stdout.splitlines()[-1])
    return str(answer["version"]), [float(value) for value in answer["seconds"]]


def measure(peer: Path | None, rounds: int, *, frames: int = FRAMES) -> dict[str, Any]:
    """Let the trackers take turns.

    Args:
        peer: Python of a virtual environment with ``trackers``; None: only ours are measured.
        rounds: turns of each.
        frames: updates in each turn.

    Raises:
        RuntimeError: the peer cannot be run.
    """
    peer_version = ""
    rounds_ms: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "scenes.npz"
        scenes = {count: scene(count, frames) for count in COUNTS}
        arrays = {f"n{count}_{i}": boxes for count, found in scenes.items() for i, boxes in enumerate(found)}
        np.savez(stored, allow_pickle=False, **arrays)
        for count, found in scenes.items():
            figures = rounds_ms.setdefault(str(count), {})

            def note(name: str, seconds: list[float], into: dict[str, list[float]] = figures) -> None:
                into.setdefault(name, []).append(statistics.median(seconds[_WARM_UP:]) * 1e3)

            for _ in range(rounds):
                for name, config in OURS.items():
                    note(name, _time_ours(config, found))
                if peer is not None:
                    peer_version, seconds = _time_peer(peer, stored, f"n{count}")
                    note(PEER, seconds)
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{available_cores()} cores, {platform.machine()}, Python {platform.python_version()}",
        "numpy": np.__version__,
        "peer": peer_version,
        "rounds": rounds,
        "updates_per_round": frames,
        "median_ms": _over_rounds(rounds_ms, statistics.median),
        "fastest_round_ms": _over_rounds(rounds_ms, min),
    }


def _over_rounds(
    rounds_ms: dict[str, dict[str, list[float]]], choose: Callable[[list[float]], float]
) -> dict[str, dict[str, float]]:
    return {
        count: {name: round(choose(values), 4) for name, values in figures.items()}
        for count, figures in rounds_ms.items()
    }


def to_markdown(result: dict[str, Any]) -> str:
    """The result as a table."""
    lines = [
        f"# Speed of one association step, {result['date']}",
        "",
        f"{result['machine']}, NumPy {result['numpy']}"
        + (f", roboflow trackers {result['peer']}" if result["peer"] else ", without the peer")
        + f". Median of {result['rounds']} interleaved rounds of {result['updates_per_round']} updates each.",
        "",
        "| people | tracker | ms per update | fastest round, ms | updates per second | times the peer's |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for count, figures in result["median_ms"].items():
        for name, ms in figures.items():
            ratio = f"{figures[PEER] / ms:.2f}" if PEER in figures else "-"
            fastest = result["fastest_round_ms"][count][name]
            lines.append(f"| {count} | {name} | {ms:.3f} | {fastest:.3f} | {1e3 / ms:,.0f} | {ratio} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Measure, and write ``<date>-tracking.json`` and ``.md``."""
    parser = argparse.ArgumentParser(prog="python -m fertrack.benchmarks tracker_speed", description=__doc__)
    parser.add_argument("--peer", type=Path, help="Python of a virtual environment with roboflow's trackers")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=FRAMES)
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"))
    options = parser.parse_args(arguments)
    try:
        result = measure(options.peer, options.rounds, frames=options.updates)
    except OSError as error:
        sys.stderr.write(f"error: {options.peer} cannot be run: {reason_of(error)}\n")
        return 1
    except RuntimeError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / f"{result['date']}-tracking"
    stem.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(to_markdown(result), encoding="utf-8")
    sys.stdout.write(to_markdown(result))
    return 0
