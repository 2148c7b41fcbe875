"""Writes the annotated video: draws and encodes beside the frame loop, adds the sound at the end."""

from __future__ import annotations

import contextlib
import errno
import logging
import queue
import threading
import time
from array import array
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from av.error import FFmpegError

from fertrack.errors import ConfigError, OutputExistsError, VideoOpenError, VideoWriteError, reason_of
from fertrack.imaging.debug_panels import DebugOverlay
from fertrack.imaging.overlay import draw_result
from fertrack.imaging.text import is_usable_font
from fertrack.imaging.track_labels import NO_NAMES, NO_NUMBERS
from fertrack.sinks.audio import Part, SoundChangedError, Soundtrack, SourceTimes
from fertrack.sinks.config import CONTAINERS, VideoOutputConfig, container_for
from fertrack.sinks.draft import VideoDraft
from fertrack.sinks.encoder import VideoEncoder
from fertrack.sinks.finalise import cut_after_last_fragment, write_finished
from fertrack.types import FrameResult, Image, RunSummary, VideoInfo, check_image

__all__ = ["CONTAINERS", "AnnotatedVideoSink", "VideoOutputConfig"]

logger = logging.getLogger(__name__)

_DISK_TROUBLE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EROFS)
_SAME_TIME_S = 0.2


class AnnotatedVideoSink:
    """A ``Sink`` that writes an annotated copy of the video.

    Frames are drawn on and encoded in a thread of its own; ``write`` only waits when ``queue_size`` frames are ahead of
    it. Frames keep their times to the tick, so a variable frame rate and the distance to the sound stay as they were.
    Where only a later part of the source is processed, the annotated video starts at 0 with the part's first frame,
    and its sound is cut to the part.

    While frames come in, ``NAME.part.SUFFIX`` beside the target grows (see ``VideoDraft``): frames only, playable up
    to about its last second whatever happens to the program. ``finish`` copies them into the target, together with the
    source's sound and with the index in front, and renames it into place. If that fails, the frames are kept under
    the target's name.
    If no frame was written, no file is left.

    Args:
        path: the file; its suffix (.mp4, .mov, .mkv, .webm) says which container.
        info: the source: size, time base, and where the sound is.
        config: codec, quality, sound, debug panels.
        overwrite: replace a file that is already there.
        names: names to be shown instead of ``ID n``, by track ID.
        numbers: numbers of persons, by track ID, whose colours are drawn; the ID itself where there is none.

    Attributes:
        notes: sentences the user should see; complete after ``finish``.
        work_ms: milliseconds spent drawing and encoding each frame so far, in the sink's own thread.

    Raises:
        ConfigError: the codec does not go into that kind of file, or the font cannot be loaded.
        OutputExistsError: the file is there and ``overwrite`` is False.
        ValueError: ``info`` has no size.
    """

    name = "video"
    needs_image = True

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        config: VideoOutputConfig | None = None,
        *,
        overwrite: bool = False,
        names: Mapping[int, str] = NO_NAMES,
        numbers: Mapping[int, int] = NO_NUMBERS,
    ) -> None:
        self.notes: list[str] = []
        self.work_ms = array("f")
        self._path = Path(path)
        self._config = config or VideoOutputConfig()
        self._info = info
        self._names = names
        self._numbers = numbers
        self._overwrite = overwrite
        self._container = container_for(self._path, self._config.codec)
        self._draft = VideoDraft(self._path)
        self._debug = DebugOverlay() if self._config.debug_overlay else None
        if info.width < 1 or info.height < 1:
            raise ValueError(f"info must say the video's size, got {info.width} x {info.height}")
        if not is_usable_font(self._config.font):
            raise ConfigError(
                f'video.font: "{self._config.font}" is no TrueType font that can be loaded: name a .ttf file or "sans"'
            )
        self._refuse_to_replace()
        self._queue: queue.Queue[tuple[FrameResult, Image] | None] = queue.Queue(self._config.queue_size)
        self._encoder: VideoEncoder | None = None
        self._thread: threading.Thread | None = None
        self._times = SourceTimes()
        self._shift_s = Fraction(0)
        self._error: Exception | None = None
        self._is_error_told = False
        self._is_finished = False

    def __enter__(self) -> Self:
        """Open the output and start the thread.

        Raises:
            OutputExistsError: the file has appeared, and ``overwrite`` is False.
            VideoWriteError: the folder cannot be written to, or the encoder cannot be set up.
        """
        self._refuse_to_replace()
        if self._info.path:
            self._times = SourceTimes.of(Path(self._info.path), self._info.stream_index)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._draft.claim()
        except OSError as error:
            raise VideoWriteError(
                f"annotated video {self._path} cannot be written ({error.strerror}): choose another folder"
            ) from error
        try:
            self._encoder = VideoEncoder(self._draft.path, self._info, self._config, self._container)
        except (FFmpegError, ValueError) as error:
            self._draft.discard()
            self._draft.release()
            raise VideoWriteError(
                f"annotated video {self._path}: the {self._config.codec} encoder cannot be set up for "
                f"{self._info.width}x{self._info.height} pictures ({reason_of(error)}): choose another video.codec"
            ) from error
        self._thread = threading.Thread(target=self._work, name="fertrack-video", daemon=True)
        self._thread.start()
        return self

    def write(self, result: FrameResult, image: Image | None) -> None:
        """Hand one frame to the thread.

        Args:
            result: what is known of the frame.
            image: uint8 (H, W, 3), BGR; not changed. Must not be changed by the caller afterwards.

        Raises:
            VideoWriteError: an earlier frame could not be written; the file is playable up to there.
            ValueError: no image, or the sink is not open.
        """
        if image is None:
            raise ValueError("image must be given: an annotated video is made of pictures")
        if self._thread is None or self._is_finished:
            raise ValueError("the annotated video is not open: use it in a with statement")
        self._tell_error()
        self._queue.put((result, check_image("image", image)))

    def finish(self, summary: RunSummary) -> None:
        """Complete the file: wait for the thread, add the sound, put it into place.

        Raises:
            VideoWriteError: frames or the finished file could not be written; what is playable was kept.
            OutputExistsError: another file has taken the name meanwhile; the work is kept beside it.
        """
        encoder = self._encoder
        if encoder is None or self._is_finished:
            return
        self._stop_thread()
        try:
            self._complete(encoder, summary)
        finally:
            self._is_finished = True
            self._draft.release()

    def _complete(self, encoder: VideoEncoder, summary: RunSummary) -> None:
        if self._error is not None or encoder.frames == 0:
            self._keep_frames()
            self._tell_error()
            return
        finished = self._path.with_name(f"{self._path.stem}.mux{self._path.suffix}")
        try:
            self._write_finished(encoder, finished, summary)
            self._refuse_to_replace()
            self._draft.replace(finished)
        except BaseException as error:  # Ctrl-C too: the frames are kept whatever went wrong
            with contextlib.suppress(OSError):
                finished.unlink(missing_ok=True)
            if isinstance(error, OutputExistsError):
                raise OutputExistsError(f"{error}; the pictures were kept as {self._draft.path}") from error
            kept = self._keep_frames()
            if not isinstance(error, Exception):
                raise
            what = f"all its pictures are kept, without sound, as {kept}" if kept else "its pictures are lost"
            raise VideoWriteError(
                f"annotated video {self._path} could not be finished ({_reason(error)}); {what}"
            ) from error

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Join the thread; if the output was not finished, keep its frames without sound."""
        if self._encoder is None or self._is_finished:
            return
        self._stop_thread()
        self._keep_frames()
        self._is_finished = True
        self._draft.release()
        if self._error is not None and not self._is_error_told:
            logger.warning("%s", self._error_sentence())

    # ---- the thread ----

    def _work(self) -> None:
        """Draw and encode until told to end. After an error, frames are taken and dropped, so nobody waits forever."""
        encoder = self._encoder
        assert encoder is not None
        while (item := self._queue.get()) is not None:
            if self._error is None:
                started = time.perf_counter()
                try:
                    self._draw_and_encode(encoder, *item)
                except Exception as error:  # of whatever kind, ``write`` and ``finish`` tell it
                    self._error = error
                self.work_ms.append((time.perf_counter() - started) * 1e3)
            del item  # the frame is not held while waiting for the next
        try:
            if self._error is None:
                end_s = self._times.end_s
                encoder.close(None if end_s is None else end_s - float(self._shift_s))
            else:
                encoder.abandon()
        except Exception as error:  # as above
            self._error = self._error or error

    def _draw_and_encode(self, encoder: VideoEncoder, result: FrameResult, image: Image) -> None:
        if encoder.frames == 0:
            self._shift_s = self._choose_shift(result.timestamp_s)
        if image.shape == encoder.canvas().shape:
            encoder.fill(image)
            self._draw(encoder.canvas(), result)
        else:  # boxes are in px of this frame
            drawn = image.copy()
            self._draw(drawn, result)
            encoder.fill(drawn)
        encoder.encode(Fraction(result.timestamp_s) - self._shift_s)

    def _draw(self, image: Image, result: FrameResult) -> None:
        draw_result(image, result, names=self._names, numbers=self._numbers, debug=self._debug, font=self._config.font)

    def _choose_shift(self, first_s: float) -> Fraction:
        """Shift subtracted from all times: 0 for the whole video, the first time for a later part of it."""
        interval_s = 1.0 / self._info.fps if self._info.fps > 0 else 0.0
        is_part = first_s - self._times.start_s > max(_SAME_TIME_S, 2 * interval_s)
        if first_s >= 0 and not is_part:
            return Fraction(0)
        if is_part:
            self.notes.append(f"the annotated video starts at {first_s:.2f} s of {self._info.name}; its own time is 0")
        return Fraction(first_s)

    # ---- the end ----

    def _stop_thread(self) -> None:
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._queue.put(None)
            thread.join()

    def _tell_error(self) -> None:
        """Raise what happened in the thread, once."""
        if self._error is None or self._is_error_told:
            return
        self._is_error_told = True
        raise self._error_sentence() from self._error

    def _error_sentence(self) -> VideoWriteError:
        error, encoder = self._error, self._encoder
        assert error is not None
        assert encoder is not None
        at_s = f"{encoder.last_s + float(self._shift_s):.1f} s"
        return VideoWriteError(
            f"annotated video {self._path} could not be written beyond {at_s} ({_reason(error)}); what was written "
            "until shortly before that is kept"
        )

    def _refuse_to_replace(self) -> None:
        source = Path(self._info.path) if self._info.path else None
        if source and source.exists() and self._path.exists() and source.samefile(self._path):
            raise OutputExistsError(f"{self._path} is the video that is being read: choose another name for the output")
        if not self._overwrite and self._path.exists():
            raise OutputExistsError(f"{self._path} is already there: use --overwrite, or choose another name")

    def _keep_frames(self) -> Path | None:
        """Put what is there under the target's name; if there are no frames in it, leave nothing.

        Returns:
            Where the frames are; None: there are none.
        """
        encoder, part = self._encoder, self._draft.path
        if encoder is None or not part.exists():
            return None
        try:
            is_playable = encoder.frames > 0 and part.stat().st_size > 0
            if is_playable and self._error is not None and self._container.is_mp4:
                is_playable = cut_after_last_fragment(part)
            if not is_playable:
                part.unlink()
                self.notes.append("no frame was written, so there is no annotated video")
                return None
            if self._overwrite or not self._path.exists():
                part.replace(self._path)
                return self._path
        except OSError as error:
            logger.warning("%s could not be renamed to %s: %s", part, self._path, error)
        return part if part.exists() else None

    def _write_finished(self, encoder: VideoEncoder, finished: Path, summary: RunSummary) -> None:
        source = Path(self._info.path)
        if not (self._config.audio and self._info.has_audio and source.is_file()):
            write_finished(self._draft.path, finished, self._container, None, end_s=encoder.end_s)
            return
        part = self._shown_part(encoder, summary)
        try:
            try:
                notes = self._write_with_sound(finished, encoder, part, encode=False)
            except SoundChangedError:
                notes = self._write_with_sound(finished, encoder, part, encode=True)
        except (FFmpegError, ValueError, VideoOpenError) as error:
            if isinstance(error, OSError) and error.errno in _DISK_TROUBLE:
                raise
            logger.warning("%s: sound: %s", self._path, error)
            write_finished(self._draft.path, finished, self._container, None, end_s=encoder.end_s)
            notes = [f"the sound could not be added ({_reason(error)}), so the annotated video has none"]
        self.notes.extend(notes)

    def _write_with_sound(self, finished: Path, encoder: VideoEncoder, part: Part, *, encode: bool) -> list[str]:
        """Write the finished file with the source's sound, and say what is to be known of it."""
        with Soundtrack(self._info, self._container, self._times.origin_s, part, encode=encode) as sound:
            track = sound if sound.is_there else None
            write_finished(self._draft.path, finished, self._container, track, end_s=encoder.end_s)
            if track is None:
                return ["the sound cannot be read, so the annotated video has none"]
            return sound.notes

    def _shown_part(self, encoder: VideoEncoder, summary: RunSummary) -> Part:
        """Part of the sound that belongs to the images: all of it, unless they cover only a part of the source."""
        shift_s = float(self._shift_s)
        is_later = self._shift_s > 0
        interval_s = encoder.end_s - encoder.last_s
        end_s = encoder.end_s + shift_s
        slack_s = max(2 * interval_s, _SAME_TIME_S)
        source_end_s = self._times.end_s
        if source_end_s is None:  # sound may last a little longer than frames, even where all were processed
            end_s += _SAME_TIME_S
        reaches_end = summary.status == "complete" and source_end_s is not None and end_s >= source_end_s - slack_s
        return Part(shift_s if is_later else None, None if reaches_end else end_s, self._shift_s)


def _reason(error: BaseException) -> str:
    """Reason of a failure, in the system's words."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full"
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__
