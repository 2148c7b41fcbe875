"""Entry point of the laboratory: ``python -m fertrack.benchmarks [NAME ...]`` lists the measurements or runs one."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Sequence

from fertrack.errors import FertrackError, install_hint

__all__ = ["BENCHMARKS", "main"]

BENCHMARKS = {
    "throughput": "speed and memory of whole runs, beside deface and an earlier build, against targets",
    "live": "a clip as a live stream: display rate, age of results, latency, memory, outages",
    "queries": "time of every question to a database of a million faces",
    "classifier_speed": "milliseconds a face of a classifier",
    "tracker_speed": "speed of one association step, beside roboflow's trackers",
    "tracker_ablation": "gain from each improvement of the tracker, on MOT15 and on clips",
    "training_ablation": "gain from each part of a training recipe",
    "robustness": "accuracy on small, blurred, compressed, badly lit and covered faces",
    "generalisation": "classifiers on faces from other cameras: bundles by sets in one table",
    "passages": "labels over time on annotated passages of real clips",
    "reid_distances": "similarity of faces of one person and of different people",
    "export_parity": "size, differences, accuracy and speed of every export format",
    "bundle_reliability": "reliability diagram of a classifier bundle, for its bundle.toml",
    "model_card": "model card of a classifier bundle",
    "publish_bundle": "calibration of a bundle, written into its card and into the reports",
    "fuzz": "broken input for every reader: a sentence or a result, never a traceback or a hang",
    "loopback.sender": "a clip sent as a stream over loopback, for trying out network sources",
}
"""Each measurement: its module in this package, and one line."""


def main(arguments: Sequence[str]) -> int:
    """Run one measurement with its arguments; without a name, list them.

    Returns:
        Exit code: 0 done, 1 failed with one sentence on stderr, 2 wrong usage, 130 interrupted.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_listing())
        return 0
    name, *rest = arguments
    if name not in BENCHMARKS:
        close = difflib.get_close_matches(name, BENCHMARKS, n=1)
        meant = f"did you mean {close[0]}?" if close else f"known: {', '.join(BENCHMARKS)}"
        sys.stderr.write(f"error: there is no benchmark {name!r}: {meant}\n")
        return 2
    try:
        run: Callable[[Sequence[str]], int] = importlib.import_module(f"fertrack.benchmarks.{name}").main
        return run(rest)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fertrack"):
            raise
        sys.stderr.write(f"error: {name} needs {error.name}: {install_hint('bench', 'dev')}\n")
        return 1
    except FertrackError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


def _listing() -> str:
    width = max(map(len, BENCHMARKS))
    lines = [f"  {name:<{width}}  {line}" for name, line in BENCHMARKS.items()]
    return "\n".join(["usage: python -m fertrack.benchmarks NAME [ARGUMENT ...]", "", *lines, ""])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
