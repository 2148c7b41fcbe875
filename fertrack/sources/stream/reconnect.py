"""The life of a live source: connect, read, lose, wait, connect again."""

from __future__ import annotations

import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from fractions import Fraction
from types import TracebackType
from typing import Literal, Self

from av.error import FFmpegError

from fertrack.errors import VideoError, VideoOpenError, VideoReadError
from fertrack.sources.config import InputConfig
from fertrack.sources.stream.cancellation import Lifeline, SourceClosedError
from fertrack.sources.stream.clock import ArrivalClock, Pacer, StampedFrame
from fertrack.sources.stream.config import StreamConfig
from fertrack.sources.stream.connection import Connection, connect_aside, ffmpeg_log_masked
from fertrack.sources.stream.error_text import why
from fertrack.sources.stream.fit import Letterbox
from fertrack.sources.stream.status import StreamStatus
from fertrack.sources.timing import FrameSelector, Verdict
from fertrack.types import Frame, Image, VideoInfo

__all__ = ["Backoff", "LiveSource"]


_STABLE_S = 2.0
_MAX_DOUBLINGS = 32


class Backoff:
    """Exponential backoff with jitter: each wait is drawn from the upper half of ``start_s * 2**attempt``.

    The jitter keeps several cameras behind one router from coming back at the same instant. A connection that showed
    frames for at least 2 s makes the next outage start with the shortest wait; a shorter one does not, so that a
    source that fails right after connecting is not tried in a tight loop. No wait is shorter than ``start_s / 2``:
    that bounds the attempts per second, whatever the source does.

    Args:
        start_s: about the first wait.
        max_s: no wait is longer.
        rng: where the jitter comes from.
    """

    def __init__(self, start_s: float, max_s: float, rng: random.Random | None = None) -> None:
        self._start_s, self._max_s = start_s, max_s
        self._rng = rng or random.Random()
        self._attempt = 0

    def worked_for(self, live_s: float) -> None:
        """A connection was lost after it had shown frames for ``live_s`` seconds."""
        if live_s >= _STABLE_S:
            self._attempt = 0

    def next_wait_s(self) -> float:
        """Seconds to wait before the next attempt."""
        longest_s = min(self._max_s, self._start_s * 2.0 ** min(self._attempt, _MAX_DOUBLINGS))
        self._attempt += 1
        return longest_s * self._rng.uniform(0.5, 1.0)


logger = logging.getLogger(__name__)

_CLOSE_WAIT_S = 0.5
_LOSSES = (OSError, ValueError, MemoryError, FFmpegError, VideoError)


class LiveSource(ABC):
    """A source that is connected to, and connected to again whenever it is lost; the base of cameras and streams.

    The first connection is made, and its first frame read, on construction: an address that cannot be opened fails
    there (unless ``retry_first``). Later losses end nothing: the source waits (see ``Backoff``) and connects again,
    until it is closed or ``give_up_s`` is over. Each outage is logged once when it begins and once when it is over.

    *Times* are those of arrival on this machine's monotonic clock, counted from the first frame; they strictly
    increase, and an outage is a gap in them. *Indices* count the frames read, without gaps. *Pixels* are upright BGR
    of one size: frames of another size are shown whole, with black bars, and a note says so.

    Args:
        name: for messages and ``info``; without credentials.
        config: how it is opened and reopened.
        input_config: rotation, rate and end; its times count from the first frame.
        closing: closes the source when set, also while it waits for its first connection.

    Attributes:
        started_monotonic_s: ``time.monotonic()`` of timestamp 0.
        started_at: the same moment, UTC.

    Raises:
        VideoOpenError: see above.
    """

    def __init__(
        self,
        name: str,
        config: StreamConfig | None = None,
        input_config: InputConfig | None = None,
        closing: threading.Event | None = None,
    ) -> None:
        self.decode_failures = 0
        self.dropped = 0
        self.notes: list[str] = []
        self._name = name
        self._config = config or StreamConfig()
        self._input = input_config or InputConfig()
        self._closing = closing or threading.Event()
        self._status = StreamStatus("connecting", 1, f"connecting to {name}")
        self._backoff = Backoff(self._config.backoff_start_s, self._config.backoff_max_s)
        self._lock = threading.Lock()
        self._lifeline: Lifeline | None = None
        self._connection: Connection | None = None
        self._failures_before = self._dropped_before = 0
        self._reconnects = 0
        self._outage_s = 0.0
        self._lost_at_s: float | None = None
        self._last_s: float | None = None  # when the last frame came, or was due
        self._iterated = self._told_interlaced = False
        first, self.info = self._open_first()
        self._first: StampedFrame | None = first
        self._pacer = Pacer()
        self._live_since_s = first.arrived_s
        self.started_monotonic_s = first.arrived_s
        self.started_at = datetime.fromtimestamp(time.time() - (time.monotonic() - first.arrived_s), UTC)
        self._status = StreamStatus("live", 0, f"{name} is live at {self.info.width}x{self.info.height}")

    @abstractmethod
    def _connect(self, lifeline: Lifeline) -> Connection:
        """Open it.

        Raises:
            OSError: it cannot be reached in time.
            SourceClosedError: the source is being closed.
            VideoOpenError: it cannot be opened.
        """

    @property
    def status(self) -> StreamStatus:
        """State of the source now; from any thread."""
        return self._status

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the source is closed, has an end, or is given up.

        Raises:
            ValueError: iterated a second time.
        """
        if self._iterated:
            raise ValueError(f"{self._name} was read before: open it again to read it again")
        self._iterated = True
        return self._frames()

    def close(self) -> None:
        """Disconnect; an iteration under way in another thread ends. May be called more than once, from any thread."""
        self._closing.set()
        lifeline = self._lifeline
        if lifeline is not None:
            lifeline.cut()
        if self._lock.acquire(timeout=_CLOSE_WAIT_S):  # else the reading thread disconnects when its read ends
            try:
                self._disconnect()
            finally:
                self._lock.release()
        self._end(f"{self._name} was closed")

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    # ---------------------------------------------------------------- decoded frames -> frames

    def _frames(self) -> Generator[Frame, None, None]:
        selector, clock = FrameSelector(self._input), ArrivalClock(self.started_monotonic_s)
        index = -1
        try:
            while (picture := self._next()) is not None:
                due_s = self._last_s = self._wait_until_due(picture)
                started = time.perf_counter()
                index += 1
                timestamp_s = clock.stamp(due_s)
                verdict = selector.judge(timestamp_s)
                if verdict is Verdict.STOP:
                    break
                image = self._pixels(picture) if verdict is Verdict.TAKE else None
                if image is not None and not self._closing.is_set():
                    yield Frame(index, timestamp_s, image, picture.decode_ms + (time.perf_counter() - started) * 1e3)
        finally:
            self.close()

    def _wait_until_due(self, picture: StampedFrame) -> float:
        """Hold a frame back that came too early; gives the moment that counts as its arrival."""
        connection = self._connection
        if connection is None or not connection.paced:
            return picture.arrived_s
        due_s = self._pacer.due_s(picture.time_s)
        self._closing.wait(max(0.0, due_s - time.monotonic()))
        return due_s

    def _pixels(self, picture: StampedFrame) -> Image | None:
        """Its pixels; None, and counted, where they cannot be converted."""
        try:
            if self._letterbox.is_new_size(picture):
                self._tell_new_size(picture)
            return self._letterbox.fit(picture)
        except (FFmpegError, MemoryError, ValueError) as error:
            self._failures_before += 1
            logger.debug("%s: a picture cannot be converted to BGR: %s", self._name, error)
            return None

    def _tell_new_size(self, picture: StampedFrame) -> None:
        shown = f"{self.info.width}x{self.info.height}"
        width, height = self._letterbox.size_of(picture)
        sentence = f"{self._name}: pictures of {width}x{height} are shown with black bars at {shown}"
        self.notes.append(sentence)
        logger.info("%s", sentence)

    def _tell_interlaced(self) -> None:
        self._told_interlaced = True
        how = "deinterlaced" if self._input.deinterlace else "shown as they are: input.deinterlace is off"
        self.notes.append(f"{self._name}: pictures are interlaced; {how}")
        logger.info("%s", self.notes[-1])

    # ---------------------------------------------------------------- connections -> frames

    def _open_first(self) -> tuple[StampedFrame, VideoInfo]:
        """Connect and read the first frame, which says how large all will be."""
        while True:
            try:
                with self._lock:
                    picture = self._read()
                    if picture is None or self._connection is None:
                        raise VideoOpenError(f"{self._name} has no pictures in it")
                    self._letterbox = Letterbox(picture, self._input.rotate)
                    self._lost_at_s = None
                    return picture, VideoInfo(
                        name=self._name,
                        path=self._name,
                        width=self._letterbox.width,
                        height=self._letterbox.height,
                        rotation=self._letterbox.rotation,
                        fps=self._connection.fps,
                        time_base=Fraction(1, ArrivalClock.TICKS_PER_S),
                        codec=self._connection.codec,
                    )
            except SourceClosedError:
                failure = f"{self._name} was closed before its first picture"
            except _LOSSES as error:
                failure = self._sentence(error)
            if self._config.retry_first and self._wait_after(failure, "connecting"):
                continue
            self._end(failure)
            raise VideoOpenError(failure)  # without its cause, which may name the credentials

    def _next(self) -> StampedFrame | None:
        """The next frame, over as many connections as it takes; None at the end."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        while not self._closing.is_set():
            try:
                with self._lock:
                    picture = self._read()
            except SourceClosedError:
                return None
            except _LOSSES as error:
                if self._closing.is_set():
                    return None
                failure = self._sentence(error)
            else:
                if picture is None:
                    self._end(f"{self._name} has ended")
                elif self._lost_at_s is not None:
                    self._back(picture)
                return picture
            if self._lost_at_s is None:
                self._lost(failure)
            if not self._wait_after(failure, "reconnecting"):
                return None
        return None

    def _read(self) -> StampedFrame | None:
        """The next frame of this connection, made first where there is none. None at the end of what has an end."""
        try:
            if self._connection is None:
                self._lifeline = Lifeline(self._closing, self._config.open_timeout_s)
                self._lifeline.raise_if_closing()
                self._connection = connect_aside(self._connect, self._lifeline)
            with ffmpeg_log_masked():
                picture = self._connection.read()
            self.decode_failures = self._failures_before + self._connection.decode_failures
            self.dropped = self._dropped_before + self._connection.dropped
            if self._connection.interlaced and not self._told_interlaced:
                self._tell_interlaced()
            if picture is None and not self._connection.finite:
                raise VideoReadError(f"{self._name} has ended the connection")
        except BaseException:
            self._disconnect()
            raise
        return picture

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._failures_before += connection.decode_failures
            connection.close()
            self._dropped_before += connection.dropped
            self.dropped = self._dropped_before
        if self._lifeline is not None:
            self._lifeline.release()

    def _sentence(self, error: BaseException) -> str:
        self_explaining = isinstance(error, VideoError)
        if self._closing.is_set():
            return f"{self._name} was closed"
        return str(error) if self_explaining else f"{self._name} {why(error)}"

    # ---------------------------------------------------------------- outages

    def _lost(self, failure: str) -> None:
        self._lost_at_s = time.monotonic()
        self._backoff.worked_for(self._lost_at_s - self._live_since_s)
        logger.warning("%s; connecting again until it is back", failure)

    def _wait_after(self, failure: str, state: Literal["connecting", "reconnecting"]) -> bool:
        """Wait for the next attempt; False if there will be none."""
        now_s = time.monotonic()
        if self._lost_at_s is None:
            self._lost_at_s = now_s
        wait_s = self._backoff.next_wait_s()
        give_up_s = self._config.give_up_s
        if give_up_s is not None:
            wait_s = min(wait_s, self._lost_at_s + give_up_s - now_s)
        if give_up_s is not None and wait_s <= 0:
            sentence = f"{self._name} was given up after {give_up_s:g} s without a connection: {failure}"
            self.notes.append(sentence)
            logger.warning("%s", sentence)
            self._lost_at_s = None  # that is told
            self._end(sentence)
            return False
        attempt = self._status.attempt + 1 if self._status.state == state else 1
        self._status = StreamStatus(state, attempt, f"{failure}; attempt {attempt} in {wait_s:.1f} s", self._reconnects)
        return not self._closing.wait(wait_s)

    def _back(self, picture: StampedFrame) -> None:
        outage_s = self._missing_until(picture.arrived_s)
        self._outage_s += outage_s
        self._reconnects += 1
        self._lost_at_s = None
        self._live_since_s = picture.arrived_s
        self._pacer = Pacer()
        message = f"{self._name} is live again after {outage_s:.1f} s"
        logger.warning("%s (attempt %d)", message, self._status.attempt)  # whoever reads of the loss reads of its end
        self._status = StreamStatus("live", 0, message, self._reconnects)

    def _end(self, message: str) -> None:
        """There will be no more frames; the first reason stays."""
        if self._status.state == "ended":
            return
        self._status = StreamStatus("ended", 0, message, self._reconnects)
        if self._reconnects:
            times = "once" if self._reconnects == 1 else f"{self._reconnects} times"
            self.notes.append(
                f"{self._name}: the connection was lost and made again {times}; {self._outage_s:.1f} s are missing"
            )
        if self._lost_at_s is not None and self._last_s is not None:
            missing_s = self._missing_until(time.monotonic())
            self.notes.append(
                f"{self._name}: the connection was lost and not made again; the last {missing_s:.1f} s are missing"
            )

    def _missing_until(self, time_s: float) -> float:
        """Seconds without a frame: since the last one came, which is before its absence can be noticed."""
        return max(0.0, time_s - self._last_s) if self._last_s is not None else 0.0
