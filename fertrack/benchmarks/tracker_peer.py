"""Times roboflow ``trackers`` on stored detections: run by path with the Python of a virtual environment that has it.

Usage: PYTHON tracking_peer.py SCENES.npz NAME; the boxes of scene NAME are the arrays NAME_0, NAME_1, ... (N, 4) xyxy.
Prints a JSON object: its version, and the seconds that each update of its SORT took. Imports nothing of fertrack's.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import numpy as np

__all__ = ["main"]


def main() -> None:
    """Time one scene."""
    import supervision
    from trackers import SORTTracker

    scenes, name = np.load(sys.argv[1]), sys.argv[2]
    count = sum(key.startswith(f"{name}_") for key in scenes.files)
    frames = [scenes[f"{name}_{index}"] for index in range(count)]
    detections = [
        supervision.Detections(
            xyxy=boxes, confidence=np.full(len(boxes), 0.9, np.float32), class_id=np.zeros(len(boxes), int)
        )
        for boxes in frames
    ]
    tracker = SORTTracker()
    seconds = []
    for found in detections:
        started = time.perf_counter()
        tracker.update(found)
        seconds.append(time.perf_counter() - started)
    sys.stdout.write(json.dumps({"version": version("trackers"), "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
