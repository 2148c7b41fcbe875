"""Records what is displayed, at the times at which it was captured, without ever holding the display up."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from pathlib import Path

from av.error import FFmpegError

from fertrack.errors import OutputExistsError, VideoWriteError, reason_of
from fertrack.sinks.config import VideoOutputConfig, container_for
from fertrack.sinks.encoder import VideoEncoder
from fertrack.sinks.finalise import cut_after_last_fragment, write_finished
from fertrack.types import Image, VideoInfo

__all__ = ["Recorder"]

logger = logging.getLogger(__name__)

_QUEUE = 8


class Recorder:
    """Writes pictures to a video file in a thread of its own.

    While it records, ``NAME.part.SUFFIX`` grows, playable up to about its last second whatever happens to the program;
    at the end it becomes the file, with its index in front. The time of a picture is that of its capture, so the
    recording runs as fast as life did, whatever was dropped. It begins at 0.

    Args:
        path: the file; its suffix says which container.
        info: size and nominal rate of the pictures.
        config: codec and quality.
        overwrite: replace a file that is already there.

    Attributes:
        path: the file.
        first_s: time of its first picture, on the clock of ``offer``; None while there is none.
        frames: pictures taken so far.
        dropped: pictures that found the encoder too far behind.

    Raises:
        ConfigError: the codec does not go into that kind of file.
        OutputExistsError: the file is there already, or what a killed run wrote of it.
        VideoWriteError: the file cannot be written.
    """

    def __init__(self, path: Path, info: VideoInfo, config: VideoOutputConfig, *, overwrite: bool = False) -> None:
        self.path = path
        self.first_s: float | None = None
        self.frames = self.dropped = 0
        self._container = container_for(path, config.codec)
        self._part, self._muxed = self.drafts(path)
        self._queue: queue.Queue[tuple[Image, float] | None] = queue.Queue(_QUEUE)
        self._error: Exception | None = None
        self._is_stopped = False
        self._stopping = threading.Lock()
        if not overwrite:
            self.check_free(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._encoder = VideoEncoder(self._part, info, config, self._container)
        except (OSError, FFmpegError, ValueError) as error:
            raise VideoWriteError(
                f"recording {path} cannot be written ({reason_of(error)}): choose another name"
            ) from error
        self._thread = threading.Thread(target=self._work, name="fertrack-record", daemon=True)
        self._thread.start()

    @staticmethod
    def check_free(path: Path) -> None:
        """See that nothing would be lost.

        Raises:
            OutputExistsError: the file is there, or what was written of it by a run that was killed.
        """
        if path.exists():
            raise OutputExistsError(f"{path} is already there: use --overwrite, or choose another name")
        part = Recorder.drafts(path)[0]
        if part.exists() and part.stat().st_size:
            raise OutputExistsError(
                f"{part} is already there, a recording that was cut short: rename it to keep it, use --overwrite, or "
                "choose another name"
            )

    @staticmethod
    def drafts(path: Path) -> tuple[Path, Path]:
        """The files beside it that are written meanwhile: the pictures as they come, and with their index in front."""
        return path.with_name(f"{path.stem}.part{path.suffix}"), path.with_name(f"{path.stem}.mux{path.suffix}")

    @property
    def failed(self) -> bool:
        """Whether it had to stop writing."""
        return self._error is not None

    def offer(self, image: Image, time_s: float) -> None:
        """Record a picture if the encoder keeps up; never waits.

        Args:
            image: uint8 (H, W, 3), BGR; must not be changed afterwards.
            time_s: when it was captured, on any clock that does not go back.
        """
        if self._is_stopped or self._error is not None:
            return
        if self.first_s is None:
            self.first_s = time_s
        try:
            self._queue.put_nowait((image, time_s - self.first_s))
            self.frames += 1
        except queue.Full:
            self.dropped += 1

    def stop(self) -> None:
        """Complete the file. If there is no picture in it, none is left. May be called more than once, by any thread.

        Raises:
            VideoWriteError: it could not be written; what is playable of it was kept.
        """
        with self._stopping:
            if self._is_stopped:
                return
            self._is_stopped = True
            self._queue.put(None)
            self._thread.join()
            self._finish()

    def _work(self) -> None:
        """The thread. After an error, pictures are taken and dropped, so that nobody waits forever."""
        encoder = self._encoder
        while (item := self._queue.get()) is not None:
            if self._error is None:
                try:
                    encoder.fill(item[0])
                    encoder.encode(item[1])
                except Exception as error:  # FFmpeg's, OpenCV's or the disk's; it is told by ``stop``
                    self._error = error
                    logger.warning("recording %s stops: %s", self.path, error)
            del item
        try:
            if self._error is None:
                encoder.close()
            else:
                encoder.abandon()
        except Exception as error:  # as above
            self._error = self._error or error

    def _finish(self) -> None:
        finished, error = self._muxed, self._error
        if self._encoder.frames == 0:
            self._part.unlink(missing_ok=True)
        elif error is None:
            try:
                write_finished(self._part, finished, self._container, None, end_s=self._encoder.end_s)
                finished.replace(self.path)
                self._part.unlink(missing_ok=True)
            except Exception as problem:  # as above; what was written must be kept whatever it is
                error = problem
        if error is None:
            return
        with contextlib.suppress(OSError):
            finished.unlink(missing_ok=True)
            if self._part.exists() and (not self._container.is_mp4 or cut_after_last_fragment(self._part)):
                self._part.replace(self.path)
        raise VideoWriteError(
            f"recording {self.path} could not be finished ({reason_of(error)}): what was written before is kept"
        ) from error
