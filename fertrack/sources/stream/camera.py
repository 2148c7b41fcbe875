"""Cameras attached to this machine."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import cv2

from fertrack.errors import VideoOpenError
from fertrack.sources.config import InputConfig
from fertrack.sources.stream.cancellation import Lifeline
from fertrack.sources.stream.clock import StampedFrame
from fertrack.sources.stream.config import StreamConfig
from fertrack.sources.stream.reconnect import LiveSource
from fertrack.types import Image

__all__ = ["CameraSource", "cameras"]

_DEVICES = Path("/sys/class/video4linux")
_POLL_S = 0.1
_JOIN_S = 0.5
_LARGEST_RAW_PX = 640  # width; larger frames do not fit through USB 2 at 30 per second unless compressed


class CameraSource(LiveSource):
    """Frames of a camera attached to this machine, as they come; opened again whenever it was unplugged.

    OpenCV reads it: Video4Linux on Linux, AVFoundation on macOS, DirectShow on Windows. See ``LiveSource`` for times,
    indices, sizes and losses.

    Args:
        index: which one, from 0; on Linux the number in ``/dev/video0``.
        config: size and rate asked for; how it is opened and reopened.
        input_config: rotation, rate and end.
        closing: closes the source when set, also while it waits for the camera.

    Raises:
        ValueError: the index is negative.
        VideoOpenError: there is no such camera, it may not be used, or it is in use.
    """

    def __init__(
        self,
        index: int,
        config: StreamConfig | None = None,
        input_config: InputConfig | None = None,
        closing: threading.Event | None = None,
    ) -> None:
        if index < 0:
            raise ValueError(f"a camera's index is 0 or more, got {index}")
        self._camera_index = index
        super().__init__(f"camera {index}", config, input_config, closing)

    def _connect(self, lifeline: Lifeline) -> CameraConnection:
        refuse_missing_camera(self._camera_index)
        return CameraConnection(self._open_device, self._name, lifeline, self._config.stall_timeout_s)

    def _open_device(self) -> cv2.VideoCapture:
        backend = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
        device = cv2.VideoCapture(self._camera_index, backend.get(sys.platform, cv2.CAP_ANY))
        if device.isOpened():
            ask_camera(device, self._config)
        return device


class CameraConnection:
    """An open camera, read in a thread of its own, since a read that waits for a camera cannot be ended from outside.

    Args:
        open_device: opens it.
        name: for messages.
        lifeline: ends reads.
        stall_timeout_s: longest wait for each frame but the first, seconds.

    Raises:
        SourceClosedError: the source is being closed.
        TimeoutError: it does not open in time.
        VideoOpenError: it cannot be opened.
    """

    def __init__(
        self, open_device: Callable[[], cv2.VideoCapture], name: str, lifeline: Lifeline, stall_timeout_s: float
    ) -> None:
        self.codec = ""
        self.fps = 0.0
        self.finite = self.paced = False
        self.decode_failures = self.dropped = self.interlaced = 0
        self._name = name
        self._lifeline = lifeline
        self._stall_timeout_s = stall_timeout_s
        self._changed = threading.Condition()
        self._newest: StampedFrame | None = None
        self._opened = self._over = self._stop = self._seen = False
        self._thread = threading.Thread(target=self._grab, args=(open_device,), name="fertrack-camera", daemon=True)
        self._thread.start()

    def read(self) -> StampedFrame | None:
        """See ``Connection``; the newest frame, should several have come."""
        if self._seen:
            self._lifeline.extend(self._stall_timeout_s)
        with self._changed:
            while self._newest is None:
                if self._over and not self._opened:
                    raise VideoOpenError(
                        f"{self._name} cannot be opened: close other programs that use it, and check that "
                        "this one may use cameras"
                    )
                if self._over:
                    return None
                self._changed.wait(min(_POLL_S, self._lifeline.remaining_s()))
            picture, self._newest = self._newest, None
        self._seen = True
        return picture

    def close(self) -> None:
        """See ``Connection``. A camera that hangs is left to its thread, which ends when the driver gives up."""
        self._stop = True
        self._thread.join(_JOIN_S)

    def _grab(self, open_device: Callable[[], cv2.VideoCapture]) -> None:
        """The thread: camera -> newest frame."""
        device = open_device()
        try:
            self._opened = device.isOpened()
            self.fps = max(0.0, device.get(cv2.CAP_PROP_FPS)) if self._opened else 0.0
            while self._opened and not self._stop and device.grab():
                arrived_s, started = time.monotonic(), time.perf_counter()
                decoded, image = device.retrieve()
                if not decoded or image is None or image.ndim != 3:
                    self.decode_failures += 1
                    continue
                picture = StampedFrame(arrived_s, (time.perf_counter() - started) * 1e3, cast(Image, image))
                with self._changed:
                    self.dropped += self._newest is not None
                    self._newest = picture
                    self._changed.notify()
        finally:
            device.release()
            with self._changed:
                self._over = True
                self._changed.notify()


def ask_camera(device: cv2.VideoCapture, config: StreamConfig) -> None:
    """Ask an open camera for the size and rate of the options; what it makes of that is its own affair."""
    if (config.camera_width or 0) > _LARGEST_RAW_PX:
        device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    wanted = {
        cv2.CAP_PROP_FRAME_WIDTH: config.camera_width,
        cv2.CAP_PROP_FRAME_HEIGHT: config.camera_height,
        cv2.CAP_PROP_FPS: config.camera_fps,
        cv2.CAP_PROP_BUFFERSIZE: 1,  # older frames are of no use
    }
    for option, value in wanted.items():
        if value is not None:
            device.set(option, value)


def cameras() -> dict[int, str]:
    """Cameras by index with their names, on Linux; elsewhere their names cannot be asked for, and none is given."""
    found: dict[int, str] = {}
    for folder in sorted(_DEVICES.glob("video*")):
        number = folder.name.removeprefix("video")
        try:
            name, order = (folder / "name").read_text("utf-8").strip(), (folder / "index").read_text("utf-8").strip()
        except OSError:
            continue
        if number.isdecimal() and order == "0":  # a camera's further devices give metadata, not frames
            found[int(number)] = name
    return dict(sorted(found.items()))


def refuse_missing_camera(index: int) -> None:
    """Raise ``VideoOpenError`` if it is certain that there is no camera of this index."""
    if not sys.platform.startswith("linux") or Path(f"/dev/video{index}").exists():
        return
    there = cameras()
    if there:
        named = ", ".join(f"{number} ({name})" for number, name in there.items())
        raise VideoOpenError(f"there is no camera {index}: choose one of {named}")
    raise VideoOpenError(
        f"there is no camera {index}, and no other one on this machine: plug one in, or give a stream's address"
    )
