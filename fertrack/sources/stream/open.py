"""From what a person names as a live source to the source."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from fertrack.errors import VideoOpenError
from fertrack.sources.config import InputConfig
from fertrack.sources.realtime import RealtimeFile
from fertrack.sources.stream.camera import CameraSource
from fertrack.sources.stream.config import StreamConfig
from fertrack.sources.stream.credentials import mask_mistyped
from fertrack.sources.stream.network import StreamSource

__all__ = ["open_live_source"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_DEVICE = re.compile(r"/dev/video(\d+)")


def open_live_source(
    location: str | int | Path,
    *,
    realtime: bool = False,
    config: StreamConfig | None = None,
    input_config: InputConfig | None = None,
    closing: threading.Event | None = None,
) -> StreamSource | CameraSource | RealtimeFile:
    """Open a camera, a stream, or a file played in real time; returns once the first frame is there.

    Args:
        location: a camera's index (``0``, ``"0"``, ``"/dev/video0"``), a stream's address, or with ``realtime`` a
            path.
        realtime: the location is a file.
        config: how cameras and streams are opened and reopened.
        input_config: rotation, rate and part.
        closing: closes the source when set, from any thread, also while this function waits.

    Raises:
        VideoOpenError: it cannot be opened, or is a file and ``realtime`` was not said.
    """
    text = str(location).strip()
    device = _DEVICE.fullmatch(text)
    if realtime:
        return RealtimeFile(text, input_config, closing)
    if device or text.isdecimal():
        return CameraSource(int(device[1] if device else text), config, input_config, closing)
    if _URL.match(text):
        return StreamSource(text, config, input_config, closing)
    if text and Path(text).expanduser().is_dir():
        raise VideoOpenError(
            f"{text} is a folder: name a camera, a stream or a video file; a folder of images can be analysed with "
            "fertrack process"
        )
    if text and Path(text).expanduser().exists():
        raise VideoOpenError(
            f"{text} is a file: play it as if it were live with --realtime, or analyse it with fertrack process"
        )
    raise VideoOpenError(
        f"{mask_mistyped(text) or 'nothing'} is neither a camera's number, a stream's address nor a file: give for "
        "example 0, rtsp://host/path, or a file with --realtime"
    )
