"""Recording of what is displayed, timed by capture, without ever holding the display up.

``Recorder`` writes one file; ``Recordings`` are all of a run: at most one in progress, in the end all complete and
known to the database.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import queue
import threading
from collections.abc import Sequence
from pathlib import Path

from av.error import FFmpegError

from fertrack.errors import ConfigError, OutputExistsError, VideoWriteError, reason_of
from fertrack.live.state import LiveView
from fertrack.sinks.config import VideoOutputConfig, container_for
from fertrack.sinks.encoder import VideoEncoder
from fertrack.sinks.finalise import cut_after_last_fragment, write_finished
from fertrack.storage.engine import Database
from fertrack.storage.written_files import LiveVideo, record_output
from fertrack.types import Image, VideoInfo

__all__ = ["Recorder", "Recordings"]

logger = logging.getLogger(__name__)

_QUEUE = 8


class Recorder:
    """Writes images to a video file in a thread of its own.

    While it records, ``NAME.part.SUFFIX`` grows, playable up to about its last second whatever happens to the program;
    at the end it becomes the file, with its index in front. The time of an image is that of its capture, so the
    recording runs as fast as life did, whatever was dropped. It begins at 0.

    Args:
        path: the file; its suffix says which container.
        info: size and nominal rate of the images.
        config: codec and quality.
        overwrite: replace a file that is already there.

    Attributes:
        path: the file.
        first_s: time of its first image, on the clock of ``offer``; None while there is none.
        frames: images taken so far.
        dropped: images that found the encoder too far behind.

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
        """Check that nothing would be overwritten.

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
        """The files beside it that are written meanwhile: the images as they come, and with their index in front."""
        return path.with_name(f"{path.stem}.part{path.suffix}"), path.with_name(f"{path.stem}.mux{path.suffix}")

    @property
    def failed(self) -> bool:
        """Whether it had to stop writing."""
        return self._error is not None

    def offer(self, image: Image, time_s: float) -> None:
        """Record an image if the encoder keeps up; never waits.

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
        """Complete the file. If there is no image in it, none is left. May be called more than once, by any thread.

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
        """The thread. After an error, images are taken and dropped, so that nobody waits forever."""
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


class Recordings:
    """Begins and ends recordings. Safe to use from several threads.

    Args:
        config: codec and quality.
        folder: where recordings go that are given no path.
        sources: files that are read, and so must not be written.

    Attributes:
        notes: what could not be completed.
    """

    def __init__(self, config: VideoOutputConfig, folder: Path, sources: Sequence[str | Path] = ()) -> None:
        self.notes: list[str] = []
        self._config = config
        self._folder = folder
        self._sources = [Path(source) for source in sources]
        self._lock = threading.Lock()
        self._info: VideoInfo | None = None
        self._current: Recorder | None = None
        self._all: list[Recorder] = []
        self._remembered: dict[Recorder, list[list[int]]] = {}

    @property
    def current(self) -> Path | None:
        """Where images go at this moment; None if nowhere, also when writing has failed."""
        recorder = self._current
        return recorder.path if recorder is not None and not recorder.failed else None

    @property
    def written(self) -> list[Path]:
        """The files that are there."""
        return [recorder.path for recorder in self._all if recorder.path.exists()]

    @property
    def dropped(self) -> int:
        """Displayed images that an encoder was too slow for."""
        return sum(recorder.dropped for recorder in self._all)

    def check(self, path: Path | None, *, overwrite: bool = False) -> None:
        """Refuse what must not be recorded, or not there; None: some file that is not there yet.

        Raises:
            ConfigError: faces are to be hidden, which cannot be done live.
            OutputExistsError: it would replace the source, or a file that was not to be replaced.
        """
        if self._config.anonymise:
            raise ConfigError(
                "video.anonymise cannot be done in a live recording, because a face is in the frame before it is "
                "found: record without it, or do not record"
            )
        if path is None:
            return
        for each in (path, *Recorder.drafts(path)):
            if each.exists() and any(source.exists() and source.samefile(each) for source in self._sources):
                raise OutputExistsError(
                    f"recording {path} would replace {each}, which is being read: choose another name"
                )
        if not overwrite:
            Recorder.check_free(path)

    def open(self, info: VideoInfo) -> None:
        """Allow recordings: what images are like is known."""
        with self._lock:
            self._info = info
            if info.path:
                self._sources.append(Path(info.path))

    def begin(self, path: Path | None = None, *, overwrite: bool = False) -> Path:
        """Record every image that is offered, from now on.

        Args:
            path: the file; None: ``live-DATE-TIME`` in the folder.
            overwrite: replace it if it is there.

        Returns:
            The file.

        Raises:
            ConfigError: the codec does not go into that kind of file, or faces are to be hidden.
            OutputExistsError: the file is there already, or is the source.
            VideoWriteError: it cannot be written, or there are no images, or a recording is in progress.
        """
        with self._lock:
            if self._current is not None and not self._current.failed:
                raise VideoWriteError(f"a recording is in progress already: {self._current.path}")
            if self._info is None:
                raise VideoWriteError(
                    "there is no frame to be recorded: wait for the first, or see whether it has ended"
                )
            broken, self._current = self._current, None
            if broken is not None:  # keep what is playable of it, so that its name is free for nothing else
                self._complete(broken)
            self.check(path, overwrite=overwrite)
            path = path or self._folder / f"live-{dt.datetime.now():%Y%m%d-%H%M%S}{self._config.suffix}"
            self._current = Recorder(path, self._info, self._config, overwrite=overwrite)
            self._all.append(self._current)
            return path

    def offer(self, view: LiveView, at_s: float) -> None:
        """Record an image, captured at ``at_s``, if a recording is in progress; never waits."""
        recorder = self._current
        if recorder is not None:
            recorder.offer(view.image, at_s)

    def end(self) -> Path | None:
        """Complete the recording in progress.

        Returns:
            Its file; None if there was none.

        Raises:
            VideoWriteError: it could not be finished; what is playable was kept.
        """
        with self._lock:
            recorder, self._current = self._current, None
        if recorder is None:
            return None
        recorder.stop()
        return recorder.path

    def close(self) -> None:
        """Allow none any more."""
        with self._lock:
            self._info = None

    def complete(self) -> None:
        """Complete all, those included that somebody else is completing just now. What fails becomes a note."""
        self.close()
        self._current = None
        for recorder in self._all:
            self._complete(recorder)

    def remember(
        self,
        database: Database,
        run: int,
        origin_s: float,
        *,
        shown_alike: list[list[int]] | None = None,
        ended: bool = False,
    ) -> None:
        """Enter in the database which recordings show the run, so that somebody who is erased is taken out of them.

        To be called while the run goes on, too: a program that is killed leaves its recordings.

        Args:
            database: where the run is stored.
            run: its number.
            origin_s: when its first frame was captured, on the clock of ``offer``.
            shown_alike: tracks that were shown under one name, so that it is hidden on all of them.
            ended: enter those once more that were entered before, as they are complete now.
        """
        for recorder in self._all:
            if recorder.first_s is None:
                continue
            alike = shown_alike or []
            is_news = recorder is self._current and self._remembered.get(recorder) != alike
            if ended or is_news or recorder not in self._remembered:
                self._remembered[recorder] = alike
                made = LiveVideo(recorder.first_s - origin_s, tuple(map(tuple, alike)))
                record_output(database, run, recorder.path, made)

    def _complete(self, recorder: Recorder) -> None:
        try:
            recorder.stop()
        except VideoWriteError as error:
            self.notes.append(str(error))
            logger.warning("%s", error)
