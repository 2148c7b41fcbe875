"""One connection to a stream, from its opening to its loss, read frame by frame."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Protocol

import av.logging
from av.codec.context import ThreadType
from av.container import InputContainer
from av.error import ExitError, FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from fertrack.errors import VideoOpenError
from fertrack.sources.deinterlace import Deinterlacer
from fertrack.sources.stream.cancellation import Lifeline
from fertrack.sources.stream.clock import StampedFrame
from fertrack.sources.stream.credentials import mask_credentials
from fertrack.sources.stream.packets import ArrivedPacket, LivePackets

__all__ = ["Connection", "StreamConnection", "connect_aside", "ffmpeg_log_masked"]


_POLL_S = 0.1


def connect_aside(connect: Callable[[Lifeline], Connection], lifeline: Lifeline) -> Connection:
    """Connect in a thread of its own and wait for it.

    Looking a name up and FFmpeg's own RTSP client cannot be interrupted from outside. If the source is closed or the
    deadline comes first, the thread is left to itself: it ends at once where it waits for a watched socket, else when
    its own time limit is over, and closes what it opened.

    Args:
        connect: makes the connection.
        lifeline: ends the waiting.

    Raises:
        Exception: whatever ``connect`` raised.
        SourceClosedError: the source is being closed.
        TimeoutError: the deadline is over.
    """
    attempt = _Attempt(connect, lifeline)
    attempt.start()
    return attempt.wait()


class _Attempt(threading.Thread):
    def __init__(self, connect: Callable[[Lifeline], Connection], lifeline: Lifeline) -> None:
        super().__init__(name="fertrack-connect", daemon=True)
        self._connect = connect
        self._lifeline = lifeline
        self._changed = threading.Condition()
        self._connection: Connection | None = None
        self._error: Exception | None = None
        self._abandoned = False

    def run(self) -> None:
        connection, error = None, None
        try:
            with ffmpeg_log_masked():
                connection = self._connect(self._lifeline)
        except Exception as failure:  # raised again where it is waited for
            error = failure
        with self._changed:
            abandoned = self._abandoned
            self._connection, self._error = connection, error
            self._changed.notify()
        if abandoned:
            if connection is not None:
                connection.close()
            self._lifeline.release()

    def wait(self) -> Connection:
        with self._changed:
            try:
                while self._connection is None and self._error is None:
                    self._changed.wait(min(_POLL_S, self._lifeline.remaining_s()))
            except BaseException:
                self._abandoned = True
                self._lifeline.cut()
                raise
        self.join()
        error, self._error = self._error, None
        if error is not None:
            raise error
        if self._connection is None:
            raise AssertionError("neither connected nor failed")
        return self._connection


class Closable(Protocol):
    """Something to be closed."""

    def close(self) -> None:
        """Close it."""
        ...


class Connection(Protocol):
    """Connection that a live source reads from until it is lost.

    Attributes:
        codec: of the frames, "" if none.
        fps: announced rate, 0 if unknown.
        finite: whether its end is the end of the video, not a loss.
        paced: whether frames may come faster than they are to be shown.
        decode_failures: packets and frames that could not be decoded.
    """

    codec: str
    fps: float
    finite: bool
    paced: bool
    decode_failures: int

    @property
    def interlaced(self) -> int:
        """Frames so far that were flagged as woven of two fields."""
        ...

    @property
    def dropped(self) -> int:
        """Frames left out because newer ones were there."""
        ...

    def read(self) -> StampedFrame | None:
        """The next frame, None at the end.

        Raises:
            OSError: the connection broke, or ``TimeoutError``: no frame in time.
            SourceClosedError: the source is being closed.
            VideoError: anything else.
        """
        ...

    def close(self) -> None:
        """Release everything; not during a ``read``."""
        ...


class StreamConnection:
    """Frames of a container that FFmpeg reads.

    What comes at its own pace is taken from the network in a thread of its own and stamped there, so that a slow
    decoder neither lets it gather unseen nor makes it look newer than it is; see ``LivePackets`` for what is then left
    out. A file, or HLS, is read when it is wanted: whoever sends it waits.

    Args:
        container: opened; closed by this connection.
        shown: its address without credentials, for messages.
        lifeline: ends reads; its deadline holds for the first frame.
        stall_timeout_s: longest wait for each later frame, seconds.
        body: what the container reads from; closed after it.
        resumable: whether a read that timed out may simply be repeated (RTSP); it is then repeated until the deadline.
        fps_known: whether the container's rate means anything.
        longest_lag_s: frames that have waited longer for being decoded may be left out, seconds.
        deinterlace: make interlaced frames whole; each then comes when the next one is there.
    """

    def __init__(
        self,
        container: InputContainer,
        shown: str,
        lifeline: Lifeline,
        stall_timeout_s: float,
        *,
        body: Closable | None = None,
        resumable: bool = False,
        fps_known: bool = True,
        longest_lag_s: float = 0.3,
        deinterlace: bool = True,
    ) -> None:
        self.decode_failures = 0
        self._whole = Deinterlacer[StampedFrame](enabled=deinterlace)
        self._container = container
        self._body = body
        self._lifeline = lifeline
        self._stall_timeout_s = stall_timeout_s
        self._resumable = resumable
        try:
            self._stream = _video_of(container, shown)
        except VideoOpenError:
            self._release()
            raise
        self._stream.thread_type = ThreadType.NONE  # frame threads hold frames back
        rate = self._stream.average_rate or self._stream.codec_context.framerate  # FFmpeg's guess may be the field rate
        self.codec = self._stream.codec_context.codec.canonical_name
        self.fps = float(rate) if rate and fps_known else 0.0
        self.finite = bool(container.duration and container.duration > 0)
        self.paced = self.finite or container.format.name == "hls"
        self._ready: deque[StampedFrame] = deque()
        self._packets = self._demuxed()
        self._seen = self._drained = False
        self._late_s: float | None = None
        self._live: LivePackets[Packet[VideoStream]] | None = None
        if not self.paced:
            self._live = LivePackets(self._packets, longest_lag_s, self._go_on)
            self._live.start()

    @property
    def dropped(self) -> int:
        """See ``Connection``."""
        return self._live.dropped if self._live is not None else 0

    @property
    def interlaced(self) -> int:
        """See ``Connection``."""
        return self._whole.changed

    def read(self) -> StampedFrame | None:
        """See ``Connection``."""
        if self._live is None:
            self._extend()  # counted from now: whoever reads may have taken its time
        self._late_s = time.monotonic() + self._stall_timeout_s if self._seen else None
        while not self._ready:
            arrived = self._next_packet()
            if arrived is None and (self._drained or not self.finite):
                return None
            self._drained = arrived is None
            self._decode(arrived)
        self._seen = True
        return self._ready.popleft()

    def close(self) -> None:
        """See ``Connection``."""
        if self._live is not None:
            self._lifeline.expire()
            self._live.join()
        self._packets.close()
        self._release()

    def _extend(self) -> None:
        """Packets must go on coming; the first frame has to be there by the first deadline."""
        if self._seen:
            self._lifeline.extend(self._stall_timeout_s)

    def _go_on(self) -> None:
        """Called for each packet: RTSP asks nobody whether to go on while packets come."""
        self._lifeline.remaining_s()
        self._extend()

    def _next_packet(self) -> ArrivedPacket[Packet[VideoStream]] | None:
        if self._live is not None:
            return self._live.take(self._remaining_s)
        packet = next(self._packets, None)
        return None if packet is None else ArrivedPacket(packet, time.monotonic())

    def _remaining_s(self) -> float:
        """Until the frame that is waited for must be there; packets alone are not enough."""
        left_s = self._lifeline.remaining_s()
        if self._late_s is None:
            return left_s
        if self._late_s <= time.monotonic():
            raise TimeoutError(f"no picture for {self._stall_timeout_s:g} s")
        return min(left_s, self._late_s - time.monotonic())

    def _release(self) -> None:
        self._container.close()
        if self._body is not None:
            self._body.close()

    def _decode(self, arrived: ArrivedPacket[Packet[VideoStream]] | None) -> None:
        """Decode a packet, or None to get what the decoder still holds.

        Damage is counted, except before the first key frame of a connection, where it is none.
        """
        started = time.perf_counter()
        self._remaining_s()
        if arrived is not None and arrived.after_gap:
            self._stream.codec_context.flush_buffers()
        try:
            pictures = self._stream.decode(None if arrived is None else arrived.packet)
        except FFmpegError:
            self.decode_failures += self._seen
            return
        decode_ms = (time.perf_counter() - started) * 1e3
        arrived_s = time.monotonic() if arrived is None else arrived.arrived_s
        aspect = self._stream.codec_context.sample_aspect_ratio
        for picture in pictures:
            if picture.is_corrupt:
                self.decode_failures += self._seen
            elif self._live is None or self._live.is_due(arrived_s):
                time_s = None if picture.pts is None else float(picture.pts * (picture.time_base or 0))
                self._add(self._whole.push(picture, StampedFrame(arrived_s, decode_ms, picture, time_s, aspect)))
        if arrived is None:
            self._add(self._whole.finish())

    def _add(self, whole: Iterator[tuple[VideoFrame, StampedFrame]]) -> None:
        self._ready.extend(replace(own, content=picture) for picture, own in whole)

    def _demuxed(self) -> Generator[Packet[VideoStream], None, None]:
        """Packets until the end; empty ones are left out."""
        while True:
            try:
                demuxed = self._container.demux(self._stream)
                while (packet := self._demux_one(demuxed)) is not None:
                    if packet.size:
                        yield packet
            except ExitError:  # PyAV's read timeout
                self._lifeline.remaining_s()
                if not self._resumable:
                    raise
            else:
                return

    def _demux_one(self, demuxed: Iterator[Packet[VideoStream]]) -> Packet[VideoStream] | None:
        if self._live is None:
            return next(demuxed, None)
        with ffmpeg_log_masked():  # it holds for one thread, and what it holds back is let go at its end
            return next(demuxed, None)


def _video_of(container: InputContainer, shown: str) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise VideoOpenError(f"{shown} has no video in it: give the address of a stream with pictures")
    if stream.codec_context is None:  # type: ignore[redundant-expr, unused-ignore]  # None without a decoder
        raise VideoOpenError(f"{shown} is encoded in a way that cannot be decoded here: set the camera to H.264")
    return stream


@contextlib.contextmanager
def ffmpeg_log_masked() -> Iterator[None]:
    """Pass what FFmpeg logs in this thread on to ``logging`` without credentials, where PyAV's log is switched on."""
    with av.logging.Capture() as lines:
        try:
            yield
        finally:
            for level, name, message in lines:
                python_level = av.logging.adapt_level(level)
                logging.getLogger(f"libav.{name}").log(python_level, "%s", mask_credentials(message.strip()))
