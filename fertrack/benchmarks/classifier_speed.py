"""Time of a classifier for a face, as the pipeline runs it and of its network alone.

``python -m fertrack.benchmarks classifier_speed [BUNDLE] [--set classification.threads=2]`` prints a table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np

from fertrack.classifiers import build_classifier
from fertrack.classifiers.base import tensor_shape
from fertrack.classifiers.config import ClassificationConfig
from fertrack.config import load_settings
from fertrack.models.bundle import load_bundle
from fertrack.models.devices import open_session

__all__ = ["ClassifierSpeed", "main", "measure_speed"]

_MIN_RUNS = 5


@dataclass(frozen=True, slots=True)
class ClassifierSpeed:
    """Milliseconds for one face when so many are asked for together.

    Attributes:
        faces: number of faces asked for together.
        best_ms: as the pipeline runs it, preprocessing included: the fastest of all runs, ms per face.
        median_ms: the same, the median.
        cpu_ms: the same as CPU time of the calling thread, the least; it means something for one thread on the CPU,
            where it is what the others on a busy machine cannot change.
        network_cpu_ms: CPU time of the network alone in one run on all of them, ms per face; None unless it is ONNX.
        runs: how often it was measured.
    """

    faces: int
    best_ms: float
    median_ms: float
    cpu_ms: float
    network_cpu_ms: float | None
    runs: int

    def as_dict(self) -> dict[str, Any]:
        """The row as a plain dict."""
        return asdict(self)


def measure_speed(
    options: ClassificationConfig | None = None, faces: Sequence[int] = (1, 8), *, seconds: float = 2.0
) -> list[ClassifierSpeed]:
    """Measure a classifier bundle.

    Args:
        options: bundle, device and threads; by default the default bundle on one CPU thread.
        faces: how many faces are asked for together, one row each.
        seconds: time spent on each measurement.

    Raises:
        ConfigError, WeightsError, ModelError, FertrackError: as ``fertrack.classifiers.build_classifier``.
        ValueError: a number of faces or the time is not above 0.
    """
    if min(faces) < 1 or not seconds > 0:
        raise ValueError(f"faces and seconds must be above 0, got {list(faces)} and {seconds:g}")
    options = options or ClassificationConfig()
    bundle = load_bundle(options.bundle)
    classifier = build_classifier(options, bundle)
    side = classifier.crop_size
    crops = np.random.default_rng(0).integers(0, 256, (max(faces), side, side, 3), np.uint8)
    network = _network(options, bundle) if PurePath(bundle.card.model).suffix == ".onnx" else None
    shape = tensor_shape(bundle.card.input)
    rows = []
    for count in faces:
        shown = crops[:count]
        wall_s, cpu_s = _times_s(partial(classifier.logits, shown), seconds)
        alone = None
        if network is not None:
            block = np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)
            alone = min(_times_s(partial(network, block), seconds)[1]) / count * 1e3
        each = 1e3 / count
        rows.append(
            ClassifierSpeed(
                faces=count,
                best_ms=min(wall_s) * each,
                median_ms=statistics.median(wall_s) * each,
                cpu_ms=min(cpu_s) * each,
                network_cpu_ms=alone,
                runs=len(wall_s),
            )
        )
    return rows


def _network(options: ClassificationConfig, bundle: Any) -> Callable[[Any], Any] | None:
    """The ONNX network without anything around it; None if it takes a fixed number of faces."""
    session = open_session(
        bundle.read_model(), device=options.device, threads=options.threads, option="classification.device"
    )
    value = session.get_inputs()[0]
    if isinstance(value.shape[0], int):
        return None
    return lambda block: session.run(None, {value.name: block})


def _times_s(run: Callable[[], Any], seconds: float) -> tuple[list[float], list[float]]:
    """Elapsed time and the calling thread's CPU time of each run, seconds."""
    run()
    wall_s: list[float] = []
    cpu_s: list[float] = []
    until = time.perf_counter() + seconds
    while len(wall_s) < _MIN_RUNS or time.perf_counter() < until:
        began, busy = time.perf_counter(), time.thread_time()
        run()
        cpu_s.append(time.thread_time() - busy)
        wall_s.append(time.perf_counter() - began)
    return wall_s, cpu_s


def main(arguments: Sequence[str]) -> int:
    """Measure one face and eight together, and print a Markdown table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m fertrack.benchmarks classifier_speed", description=__doc__)
    parser.add_argument("bundle", nargs="?", default="default", help="'default', a bundle's folder, or weights")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each measurement")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    if not given.seconds > 0:
        parser.error("--seconds must be above 0")
    settings = load_settings([], [f"classification.bundle={given.bundle}", *given.overrides])
    rows = [row.as_dict() for row in measure_speed(settings.classification, seconds=given.seconds)]
    sys.stdout.write(json.dumps(rows, indent=2) + "\n" if given.json else _table(rows))
    return 0


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"| {' | '.join(rows[0])} |", f"|{'--:|' * len(rows[0])}"]
    for row in rows:
        cells = [f"{value:.3f}" if isinstance(value, float) else str(value or "-") for value in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
