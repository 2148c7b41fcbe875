"""Capture of a live source in its own thread; only the newest frame is kept, so that nobody can fall behind."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from fertrack.protocols import VideoSource
from fertrack.types import AnalysisRequest, Frame, VideoInfo

__all__ = ["Capture", "Captured", "LiveFeed"]

logger = logging.getLogger(__name__)

_USUAL_FPS = 30.0
_BELIEVABLE_FPS = (1.0, 240.0)
_JOIN_S = 10.0
_IN_FLIGHT = 64


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """The newest frame.

    Attributes:
        frame: its ``index`` counts intervals of the nominal frame rate since the first frame, so that it jumps by as
            many as an outage lasted; ``timestamp_s`` is the time since the first frame.
        at_s: ``time.monotonic`` at its capture.
        ordinal: 0-based number of the frame among those captured.
    """

    frame: Frame
    at_s: float
    ordinal: int


class Capture:
    """Thread that reads a live source; everybody else takes the newest frame whenever they are ready.

    Frames are numbered by time: ``index`` is the number of nominal frame intervals since the first frame, and always
    grows. So what counts frames (the tracker's prediction and ``max_age``) means the same time as in a file, whether
    frames were dropped or the source was away.

    Args:
        source: the live source; closed by ``close``.

    Attributes:
        frames: captured so far.
        error: what the source raised, if it did.
        fps: the nominal frame rate by which frames are numbered.
        origin_s: ``time.monotonic`` at the capture of the first frame; 0 before.
    """

    def __init__(self, source: VideoSource) -> None:
        self.frames = 0
        self.error: Exception | None = None
        fps = source.info.fps
        self.fps = fps if _BELIEVABLE_FPS[0] <= fps <= _BELIEVABLE_FPS[1] else _USUAL_FPS
        self._source = source
        self._changed = threading.Condition()
        self._newest: Captured | None = None
        self.origin_s = 0.0
        self._is_ended = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._read, name="fertrack-capture", daemon=True)

    @property
    def ended(self) -> bool:
        """Whether no frame will come any more."""
        return self._is_ended or self._is_closed

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the newest."""
        return self._newest.frame.timestamp_s if self._newest is not None else 0.0

    @property
    def started(self) -> bool:
        """Whether a frame has come."""
        return self._newest is not None

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def newest(self, after: int = -1, timeout_s: float | None = None) -> Captured | None:
        """The newest frame whose index is larger than ``after``; waits for one.

        Returns:
            None when the time is up, when the source has ended and holds no such frame, or when it was closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_past(after) or self.ended, timeout_s)
            return self._newest if self._is_past(after) and not self._is_closed else None

    def ask_to_end(self) -> None:
        """Give out no more frames, and wake everybody who waits for one. Returns at once; safe from any thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop reading, wake everybody who waits, and end the thread. May be called more than once, from any thread."""
        self.ask_to_end()
        self._source.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                logger.warning("%s: the capture thread has not ended after %g s", self._source.info.name, _JOIN_S)

    def _is_past(self, after: int) -> bool:
        return self._newest is not None and self._newest.frame.index > after

    def _read(self) -> None:
        """The thread."""
        try:
            for frame in self._source:
                self._put(frame)
                if self._is_closed:
                    break
        except Exception as error:  # sources fail in many ways; whoever waits for an image learns it from here
            if not self._is_closed:
                self.error = error
        finally:
            with self._changed:
                self._is_ended = True
                self._changed.notify_all()

    def _put(self, frame: Frame) -> None:
        now_s = time.monotonic()
        # The source knows best when a frame arrived; where it does not say, it is now.
        origin_s = getattr(self._source, "started_monotonic_s", None)
        at_s = min(origin_s + frame.timestamp_s, now_s) if isinstance(origin_s, float) else now_s
        if self._newest is None:
            self.origin_s = at_s
        time_s = at_s - self.origin_s
        with self._changed:
            index = max(round(time_s * self.fps), 0)
            if self._newest is not None:
                index = max(index, self._newest.frame.index + 1)
                time_s = max(time_s, self._newest.frame.timestamp_s + 1e-6)
            self._newest = Captured(replace(frame, index=index, timestamp_s=time_s), at_s, self.frames)
            self.frames += 1
            self._changed.notify_all()


class LiveFeed:
    """The live source as the frame loop sees it: each time it is ready, the newest frame, if it is due.

    It ends, without an error, when the capture was closed or has ended, or its time is up, and closes the capture
    then; what broke the source off is a note, so that everything up to there is completed.

    Args:
        capture: where frames come from; closed with this.
        info: the source, with the size of its frames.
        source: for its counters and notes.
        request: decides what is asked of each frame; its ``detect_every`` says how many frames on the next one is due.
        on_broken: called when the source breaks off, or nothing was taken, before the feed ends.
        until_s: ``time.monotonic`` at which it ends, though not before one frame that is there; None: not by itself.
    """

    def __init__(
        self,
        capture: Capture,
        info: VideoInfo,
        source: VideoSource,
        *,
        request: Callable[[], AnalysisRequest] = AnalysisRequest,
        on_broken: Callable[[], None] = lambda: None,
        until_s: float | None = None,
    ) -> None:
        self.info = info
        self.notes: list[str] = []
        self.decode_failures = self.dropped = 0
        self._taken = 0
        self._capture = capture
        self._source = source
        self._request = request
        self._on_broken = on_broken
        self._until_s = until_s
        self._captured_s: dict[int, float] = {}

    def __iter__(self) -> Iterator[Frame]:
        """Yield the newest frame whenever asked for one; waits for it."""
        last, step = -1, 1
        while True:
            left_s = None if self._until_s is None else max(0.0, self._until_s - time.monotonic())
            is_time = left_s is None or left_s > 0.0 or not self._taken
            captured = self._capture.newest(last + step - 1, left_s) if is_time else None
            if captured is None:
                break
            request = self._request()
            last, step = captured.frame.index, max(1, request.detect_every)
            self._note_capture(captured)
            yield replace(captured.frame, request=request, waiting=0)
            del captured
        self._capture.close()  # only a source that is closed has counted everything, and noted its outages
        self._count()
        self.notes += self._source.notes
        error = self._capture.error
        if error is not None:
            self.notes.append(f"the source broke off: {error}")
        if error is not None or not self._taken:  # a run of no frames was interrupted; it is not a broken source
            self._on_broken()

    def _count(self) -> None:
        self.decode_failures = self._source.decode_failures
        self.dropped = self._source.dropped + max(0, self._capture.frames - self._taken)

    def _note_capture(self, captured: Captured) -> None:
        self._taken += 1
        self._count()
        self._captured_s[captured.frame.index] = captured.at_s
        if len(self._captured_s) > _IN_FLIGHT:
            del self._captured_s[next(iter(self._captured_s))]

    def captured_at(self, index: int) -> float:
        """``time.monotonic`` at the capture of one of the last frames taken."""
        return self._captured_s[index]

    def close(self) -> None:
        """Close the capture."""
        self._capture.close()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
