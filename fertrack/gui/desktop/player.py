"""A thread that reads the images of a stored run and draws what is known of them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from fertrack.gui.desktop.jobs import Problem
from fertrack.gui.desktop.run_view import RunView
from fertrack.imaging.overlay import draw_result
from fertrack.sources.seekable import SeekableVideo
from fertrack.types import Image

__all__ = ["Player", "Shown", "as_qimage"]

_LATE_S = 0.1
"""Images later than this are passed over, so that playing keeps the video's time."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An image ready to be shown, and its time in the video, seconds."""

    image: QImage
    time_s: float


def as_qimage(image: Image) -> QImage:
    """A copy of an image, uint8 (H, W, 3), BGR, that Qt owns."""
    height, width = image.shape[:2]
    return QImage(image.data, width, height, image.strides[0], QImage.Format.Format_BGR888).copy()


_SAME_S = 1e-3
"""Times that differ by less are of one image."""

_GOES_ON = ("seek", "refresh", "overlay")
"""Commands after which playing goes on."""


class Player(QObject):
    """Plays a stored run. All methods return at once; images come by the signal.

    Attributes:
        ready: an image is ready: ``take`` gives it. Not emitted again before it was taken.
        ended: the last image was shown.
        failed: emitted with a ``Problem``; the player stays usable.
    """

    ready = Signal()
    ended = Signal()
    failed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._commands: queue.Queue[tuple[str, object]] = queue.Queue()
        self._lock = threading.Lock()
        self._shown: Shown | None = None
        self._overlay = True
        self._run: RunView | None = None
        self._video: SeekableVideo | None = None
        self._images: Iterator[tuple[float, Image]] | None = None
        self._at_s = 0.0
        self._thread = threading.Thread(target=self._work, name="fertrack-player", daemon=True)
        self._thread.start()

    def open(self, run: RunView, path: str, at_s: float = 0.0) -> None:
        """Show a run from a time on, paused; ``path`` says where its video is now."""
        self._commands.put(("open", (run, path, at_s)))

    def refresh(self, run: RunView) -> None:
        """The same run, read again: names or labels have changed."""
        self._commands.put(("refresh", run))

    def play(self) -> None:
        """Go on from where it is."""
        self._commands.put(("play", None))

    def pause(self) -> None:
        """Stay at the image shown."""
        self._commands.put(("pause", None))

    def seek(self, time_s: float) -> None:
        """Show the image of a time; playing goes on from there."""
        self._commands.put(("seek", time_s))

    def step(self, images: int) -> None:
        """Pause, and go by analysed frames, backwards if negative."""
        self._commands.put(("step", images))

    def show_overlay(self, *, shown: bool) -> None:
        """Draw boxes and labels, or not."""
        self._commands.put(("overlay", shown))

    def take(self) -> Shown | None:
        """The newest image; None if it was taken already."""
        with self._lock:
            shown, self._shown = self._shown, None
        return shown

    def close(self) -> None:
        """End the thread and release the video."""
        self._commands.put(("close", None))
        self._thread.join(timeout=10.0)

    # ---- the thread ----

    def _work(self) -> None:
        playing = False
        started_s = started = 0.0
        while True:
            try:
                name, value = self._commands.get(block=not playing)
            except queue.Empty:
                playing = self._attempt(partial(self._play_on, started_s, started))
                continue
            if name == "close":
                self._release()
                return
            if name == "pause":
                playing = False
            elif name == "play":
                playing = self._run is not None
            else:
                there = self._attempt(partial(self._do, name, value))
                playing = playing and there and name in _GOES_ON
            started_s, started = self._at_s, time.monotonic()

    def _attempt(self, action: Callable[[], bool]) -> bool:
        try:
            return action()
        except Exception as error:  # whatever a damaged file makes the reader raise
            self.failed.emit(Problem(error))
            return False

    def _do(self, name: str, value: object) -> bool:
        if name == "open":
            assert isinstance(value, tuple)
            self._release()
            self._run, path, at_s = value
            self._video = SeekableVideo(path, self._run.settings.input)
            return self._go_to(at_s)
        if name == "refresh":
            assert isinstance(value, RunView)
            self._run = value
            return self._go_to(self._at_s)
        if name == "overlay":
            self._overlay = bool(value)
            return self._go_to(self._at_s)
        if name == "seek":
            assert isinstance(value, float)
            return self._go_to(value)
        assert isinstance(value, int)
        return self._step(value)

    def _go_to(self, time_s: float) -> bool:
        if self._run is None or self._video is None:
            return False
        row = max(0, self._run.row_at(time_s))
        if len(self._run.time_s):
            time_s = float(self._run.time_s[row])
        self._images = self._video.images_from(time_s)
        return self._show_next()

    def _step(self, images: int) -> bool:
        if self._run is None or not len(self._run.time_s):
            return False
        row = int(np.clip(self._run.row_at(self._at_s) + images, 0, len(self._run.time_s) - 1))
        time_s = float(self._run.time_s[row])
        if images == 1 and self._images is not None:  # nothing to seek: it is the next one, or soon after
            following = next((each for each in self._images if each[0] > time_s - _SAME_S), None)
            if following is not None:
                self._publish(*following)
                return True
        return self._go_to(time_s)

    def _show_next(self) -> bool:
        following = next(self._images, None) if self._images is not None else None
        if following is None:
            self._images = None
            self.ended.emit()
            return False
        self._publish(*following)
        return True

    def _play_on(self, started_s: float, started: float) -> bool:
        """Show the next image at its time; gives whether there was one."""
        while True:
            following = next(self._images, None) if self._images is not None else None
            if following is None:
                self._images = None
                self.ended.emit()
                return False
            wait_s = following[0] - started_s - (time.monotonic() - started)
            self._at_s = following[0]
            if wait_s > -_LATE_S or not self._commands.empty():
                break
        if wait_s > 0.0:
            time.sleep(min(wait_s, 0.5))
        self._publish(*following)
        return True

    def _publish(self, time_s: float, image: Image) -> None:
        assert self._run is not None
        self._at_s = time_s
        if self._overlay:
            image = image.copy()
            draw_result(image, self._run.result_at(time_s), names=self._run.names, numbers=self._run.numbers)
        with self._lock:
            waiting, self._shown = self._shown is not None, Shown(as_qimage(image), time_s)
        if not waiting:
            self.ready.emit()

    def _release(self) -> None:
        self._images = None
        if self._video is not None:
            self._video.close()
        self._video = None
        self._run = None
