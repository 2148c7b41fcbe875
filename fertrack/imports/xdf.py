"""Markers in a recording of Lab Streaming Layer (``.xdf``): every stream of texts, each sample a moment.

Times are seconds from the earliest sample of any stream, since the layer's own clock begins with the machine. Pauses
stay as they are: the smoothing of time stamps that pyxdf does by default spreads a pause over all samples of a stream.
Needs the package pyxdf (extra ``[lsl]``).
"""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

from fertrack.errors import MissingExtraError
from fertrack.imports.event import Event, checked, damaged

__all__ = ["read"]


def read(path: Path) -> list[Event]:
    """The events of a file, in order of time; ``tier`` is the stream's name.

    Raises:
        MissingExtraError: pyxdf is not installed.
        TableError: the file cannot be read.
    """
    try:
        import pyxdf
    except ImportError as error:
        raise MissingExtraError("XDF files need the package pyxdf", "lsl") from error
    logging.getLogger("pyxdf").setLevel(logging.ERROR)
    try:
        # Opened here: pyxdf leaves a file that it cannot read open.
        with gzip.open(path) if path.suffix.lower() == ".xdfz" else path.open("rb") as file:
            streams, _ = pyxdf.load_xdf(file, dejitter_timestamps=False)
    except Exception as error:  # pyxdf raises whatever the damaged bytes lead to
        raise damaged(path, "an XDF recording", error) from error
    stamps = [float(stream["time_stamps"][0]) for stream in streams if len(stream["time_stamps"])]
    first_s = min(stamps, default=0.0)
    events = []
    for stream in streams:
        if stream["info"]["channel_format"][0] != "string":
            continue
        name = stream["info"]["name"][0] or ""
        for row, (stamp, sample) in enumerate(zip(stream["time_stamps"], stream["time_series"], strict=True), start=1):
            label = " ".join(str(text) for text in sample).strip()
            if label:
                events.append(checked(Event(row, float(stamp) - first_s, None, label, tier=name)))
    return sorted(events, key=lambda event: event.time_s)
