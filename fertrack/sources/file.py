"""Video files, read from the first packet to the last: exact times and ordinals, damage counted and skipped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from av.codec.context import ThreadType
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from fertrack.errors import VideoOpenError, VideoReadError, reason_of
from fertrack.sources.config import InputConfig
from fertrack.sources.container import Timeline, first_decoded_frame, open_container, other_videos, video_stream
from fertrack.sources.deinterlace import Deinterlacer, OrderedFrame, deinterlaced
from fertrack.sources.frame_order import ByCount, ByRank, ByTime, FrameOrder
from fertrack.sources.pixels import HDR_TRANSFERS, LARGE_FRAME_PX, BgrConverter, Orientation
from fertrack.sources.timing import FrameSelector, PresentationClock, Verdict
from fertrack.types import Frame, Image, VideoInfo

__all__ = ["FileSource"]

logger = logging.getLogger(__name__)

_PICTURE_PER_PACKET = frozenset({"av1", "dnxhd", "ffv1", "gif", "h264", "hevc", "mjpeg", "png", "prores", "vp9"})
_PROGRESSIVE_OR_UNKNOWN = (0, 1)  # AVFieldOrder; interlaced H.264 may put a field in each packet
_HELD_BYTES = 64 << 20
_EARLY_END_S = 1.0
_JUMP_BACK_S = 0.5  # of decode times, which never go back by themselves
_THREADS_LARGE = 4  # whatever the machine: damaged frames are concealed differently with another number


class FileSource:
    """Frames of a video file in presentation order, each with its exact decode ordinal and the container's time.

    *Times* are the container's own (a first stamp of 0.852 s stays 0.852 s, so that sound fits), except in formats
    whose clock starts anywhere (MPEG-TS, MPEG-PS, Ogg), where the container's start counts as 0. They strictly
    increase; what happens to missing, equal or backward stamps is told in ``PresentationClock``.

    *Ordinals* count every frame of the stream, also those that could not be decoded or were not asked for: a gap in
    ``Frame.index`` is a frame that was lost or passed over. Reading from a later time starts decoding at the last
    key frame before it, without losing count.

    *Pixels* are upright BGR with square pixels, all of one size: should the size or the pixels' aspect change within
    the file, later frames are shown whole in the first one's size, with black bars. HDR is converted to SDR, and
    interlaced frames are deinterlaced (see ``Deinterlacer``).

    *Damage*: frames that cannot be decoded, or are decoded with errors, are counted in ``decode_failures`` and
    skipped. A file that ends before it says it does is read as far as it goes and a note says so.

    Frames are decoded as they are asked for, one at a time; wrap the source in ``Buffered`` to read ahead.

    Args:
        path: a local file in any container FFmpeg reads.
        config: part, rate and rotation.

    Raises:
        VideoOpenError: missing, not a video, without a frame that can be decoded, or ending before ``from_s``.
    """

    def __init__(self, path: str | Path, config: InputConfig | None = None) -> None:
        self.decode_failures = 0
        self.dropped = 0
        self.notes: list[str] = []
        self._path = Path(path)
        self._config = config or InputConfig()
        first, self._aspect = first_decoded_frame(self._path, self._config.stream, self._config.max_pixels)
        self._coded_aspect: Fraction | None = None
        self._container: InputContainer = open_container(self._path)
        self._stream: VideoStream = video_stream(self._container, self._path, self._config.stream)
        self._timeline = Timeline.of(self._container, self._stream, self._config.fps)
        if self._container.format.name == "gif":
            self._timeline = self._timeline.as_browsers_show_gif(self._path)
        self._refuse_rate()
        rotate = self._config.rotate
        orientation = Orientation.of(first) if rotate == "auto" else Orientation.clockwise(rotate)
        self._large = first.width * first.height > LARGE_FRAME_PX
        self._converter = BgrConverter(first, self._aspect, orientation)
        self.info = self._describe(orientation, (self._converter.width, self._converter.height))
        self._order = self._pick_order()
        self._lock = threading.Lock()
        self._started = False
        self._closing = False
        self._damaged = 0
        self._fault_reported = False
        self._cut_off = False
        if others := other_videos(self._container, self._path, self._stream):
            self.notes.append(f"{self.info.name}: {others}")
        if first.color_trc in HDR_TRANSFERS:
            self.notes.append(f"{self.info.name}: the video is HDR; it is analysed and drawn converted to SDR")
        end_s = self._timeline.end_s
        if end_s is not None and self._config.from_s > end_s + _EARLY_END_S:
            self.close()
            raise VideoOpenError(
                f"{self._path} ends at {end_s:.2f} s, before the start asked for ({self._config.from_s:g} s): "
                "choose an earlier start"
            )

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; ``Frame.read_ms`` covers all reading since the frame before, frames passed over too.

        Raises:
            ValueError: iterated a second time.
            VideoOpenError: no frame lies in the part asked for (raised at the end).
            VideoReadError: the frames cannot be converted to BGR.
        """
        if self._started:
            raise ValueError(f"{self.info.name} was read before: open it again to read it again")
        self._started = True
        return self._frames()

    def close(self) -> None:
        """Release the file; an iteration under way in another thread ends. May be called more than once."""
        self._closing = True
        with self._lock:
            self._container.close()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _refuse_rate(self) -> None:
        """A rate is for videos without times: others would be played faster or slower than they were filmed."""
        if self._config.fps is not None and self._timeline.is_stamped:
            self._container.close()
            raise VideoOpenError(f"{self._path} carries times of its own: leave out input.fps")

    def _describe(self, orientation: Orientation, stored_size: tuple[int, int]) -> VideoInfo:
        width, height = orientation.size(*stored_size)
        return VideoInfo(
            name=self._path.name,
            width=width,
            height=height,
            fps=self._timeline.fps,
            frame_count=self._timeline.frame_count,
            rotation=orientation.degrees_clockwise,
            path=str(self._path.absolute()),
            duration_s=self._timeline.duration_s,
            end_s=self._timeline.end_s or 0.0,
            time_base=self._timeline.time_base,
            has_audio=bool(self._container.streams.audio),
            codec=self._stream.codec_context.codec.canonical_name,
            stream_index=self._stream.index,
        )

    def _pick_order(self) -> FrameOrder:
        if self._container.format.name == "avi":
            return ByRank()
        codec = self._stream.codec_context
        if codec.codec.canonical_name in _PICTURE_PER_PACKET and codec.field_order in _PROGRESSIVE_OR_UNKNOWN:
            return ByTime(self._from_ticks()) if self._timeline.is_stamped else ByRank()
        return ByCount()

    def _from_ticks(self) -> int | None:
        if self._config.from_s == 0:
            return None
        return int(self._config.from_s / self._timeline.time_base) + self._timeline.origin_ticks

    def _frames(self) -> Generator[Frame, None, None]:
        pictures = self._selected()
        try:
            while True:
                started = time.perf_counter()
                with self._lock:  # held while FFmpeg works, so that close() never frees what is in use
                    picture = None if self._closing else next(pictures, None)
                if picture is None:
                    return
                yield Frame(*picture, read_ms=(time.perf_counter() - started) * 1e3)
        finally:
            with self._lock:
                pictures.close()

    def _selected(self) -> Generator[tuple[int, float, Image], None, None]:
        """Ordinal, time and pixels of the frames asked for."""
        selector = FrameSelector(self._config)
        timeline = self._timeline
        max_gap_s = self._config.max_gap_s if timeline.may_restart else None
        clock = PresentationClock(timeline.time_base, timeline.interval_ticks, timeline.origin_ticks, max_gap_s)
        clock.jumps = self.info.clock_jumps
        end_s, read, to_the_end = 0.0, 0, True
        whole = Deinterlacer[OrderedFrame](enabled=self._config.deinterlace)
        for item in deinterlaced(self._ordered(), whole):
            ordinal = item.ordinal
            timestamp_s = clock.stamp(self._ticks(item))
            end_s = timestamp_s + float((item.duration or timeline.interval_ticks) * timeline.time_base)
            read = ordinal + 1 - self.decode_failures
            verdict = selector.judge(timestamp_s)
            if verdict is Verdict.STOP:
                to_the_end = False
                break
            if verdict is Verdict.TAKE:
                yield ordinal, timestamp_s, self._to_bgr(item.picture)
        if self._closing:
            return
        if timeline.is_stamped:
            self.notes.extend(clock.notes(self.info.name))
        else:
            how = timeline.fps_from or "as nothing says otherwise"
            other = "" if self._config.fps is not None else "; if that is wrong, set the rate: --set input.fps=RATE"
            self.notes.append(
                f"{self.info.name}: the video carries no times: {timeline.fps:g} pictures a second are assumed, "
                f"{how}{other}"
            )
        if isinstance(self._order, ByRank) and self._order.empty:
            self.notes.append(
                f"{self.info.name}: {self._order.empty} pictures are not coded, or come before the first key picture: "
                "nothing is analysed at their times"
            )
        if whole.changed:
            how = "deinterlaced" if self._config.deinterlace else "analysed as they are: input.deinterlace is off"
            self.notes.append(f"{self.info.name}: {whole.changed} pictures are interlaced; {how}")
        if self._converter.resized:
            size = f"{self.info.width}x{self.info.height}"
            self.notes.append(
                f"{self.info.name}: {self._converter.resized} pictures change size or shape; shown whole at {size}"
            )
        if to_the_end:
            self._note_early_end(end_s + max(0.0, clock.moved_s), read)
        if not selector.taken:
            raise VideoOpenError(
                f"{self._path} has no picture between {self._config.from_s:g} s and "
                f"{'the end' if self._config.to_s is None else f'{self._config.to_s:g} s'} "
                f"({'it ends at' if to_the_end else 'nothing before'} {end_s:.2f} s): choose another part"
            )

    def _ticks(self, item: OrderedFrame) -> int | None:
        """Stamp of a frame: the container's, but for bare streams and hurried GIFs."""
        timeline = self._timeline
        if timeline.starts:
            return timeline.starts[min(item.ordinal, len(timeline.starts) - 1)]
        return item.ticks if timeline.is_stamped else item.ordinal * timeline.interval_ticks

    def _ordered(self) -> Iterator[OrderedFrame]:
        """Sound frames in presentation order with ordinal and stamp; damage is counted here."""
        self._stream.thread_type = ThreadType.FRAME if self._large else ThreadType.NONE
        self._stream.codec_context.thread_count = _THREADS_LARGE if self._large else 1
        order, from_ticks = self._order, self._from_ticks()
        by_rank = order if isinstance(order, ByRank) else None
        self._stream.codec_context.copy_opaque = by_rank is not None
        for number, packet in enumerate(self._packets_from_start()):
            if packet is not None and by_rank:
                packet.opaque = packet.dts = packet.dts if self._timeline.is_stamped else number
            if packet is not None and not packet.is_discard:
                order.sent(packet.pts, packet.dts)
            try:
                pictures = self._stream.decode(packet)
            except FFmpegError as error:
                if packet is not None:
                    order.failed(packet.pts, packet.dts)
                self._report_fault(error)
                pictures = []
            if by_rank:
                by_rank.returned([cast(int | None, p.opaque) for p in pictures], self._held_back(packet))
            for picture in pictures:
                ordinal, ticks = order.placed(picture.pts, picture.dts)
                if picture.is_corrupt:
                    self._damaged += from_ticks is None or ticks is None or ticks >= from_ticks
                    self._report_fault("the picture is damaged")
                else:
                    if picture.key_frame:
                        self._follow_aspect()
                    yield OrderedFrame(picture, ordinal, ticks, picture.duration or 0)
                self.decode_failures = order.lost + self._damaged
        if not self._closing:
            order.ended()
        self.decode_failures = order.lost + self._damaged

    def _follow_aspect(self) -> None:
        """Take over a pixel aspect that changes on the way; it counts from the key frame that follows it."""
        coded = self._stream.codec_context.sample_aspect_ratio
        if coded and coded != self._coded_aspect:
            if self._coded_aspect is not None:
                self._aspect = coded
            self._coded_aspect = coded

    def _held_back(self, packet: Packet[VideoStream] | None) -> int:
        """Number of packets that the decoder may keep before it gives their frames."""
        if packet is None:
            return 0
        return self._stream.codec_context.reorder_depth + (_THREADS_LARGE - 1 if self._large else 0)

    def _packets_from_start(self) -> Iterator[Packet[VideoStream] | None]:
        """Packets to decode: those from the last key frame before ``from_s`` on, where the others can be counted."""
        from_ticks, order = self._from_ticks(), self._order
        packets = self._packets()
        if from_ticks is None or self._timeline.starts or not isinstance(order, ByTime):
            yield from packets
            return
        held: list[Packet[VideoStream] | None] = []
        held_bytes, last_dts = 0, None
        for packet in packets:
            if packet is not None and packet.dts is not None:
                jumped = last_dts is not None and self._is_jump(packet.dts - last_dts)
                last_dts = packet.dts
                if jumped:  # the clock has to see what comes before and after
                    held.append(packet)
                    break
            if packet is not None and packet.pts is not None and packet.is_keyframe and packet.pts <= from_ticks:
                order.skip(sum(1 for skipped in held if skipped is not None and not skipped.is_discard))
                held.clear()
                held_bytes = 0
            held.append(packet)
            if packet is None or packet.pts is None or packet.dts is None or packet.dts > from_ticks:
                break  # nothing shown before from_s can follow
            held_bytes += packet.size
            if held_bytes > _HELD_BYTES:
                break  # key frames are too far apart to wait for the next one
        yield from held
        held.clear()
        yield from packets

    def _is_jump(self, ticks: int) -> bool:
        """Whether a clock that goes on by so many ticks from packet to packet has started anew."""
        seconds = float(ticks * self._timeline.time_base)
        return self._timeline.may_restart and not -_JUMP_BACK_S < seconds < self._config.max_gap_s

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """The video's packets, then None to drain the decoder. A file that breaks off just ends."""
        packets = self._container.demux(self._stream)
        while not self._closing:
            try:
                packet = next(packets)
            except IndexError:  # PyAV's: a packet of a stream that the file had not named when it was opened
                packets = self._container.demux(self._stream)
                continue
            except (StopIteration, FFmpegError) as error:
                if isinstance(error, FFmpegError):
                    self._cut_off = True
                    logger.info("%s: reading stopped: %s", self.info.name, error)
                break
            if packet.size:  # the empty packet at the end means "drain"; others would end decoding too early
                yield packet
        if not self._closing:
            yield None

    def _to_bgr(self, picture: VideoFrame) -> Image:
        try:
            return self._converter.convert(picture, self._aspect)
        except (FFmpegError, MemoryError) as error:
            raise VideoReadError(
                f"{self.info.name}: a {picture.width}x{picture.height} {picture.format.name} picture cannot be "
                f"converted to BGR ({reason_of(error)})"
            ) from error

    def _report_fault(self, what: object) -> None:
        level = logging.DEBUG if self._fault_reported else logging.INFO
        self._fault_reported = True
        logger.log(level, "%s: a picture cannot be decoded and is skipped: %s", self.info.name, what)

    def _note_early_end(self, end_s: float, read: int) -> None:
        """Say so if reading ended well before the time the container announces."""
        announced_s = self._timeline.end_s
        short = announced_s is not None and end_s < announced_s - _EARLY_END_S
        if self._cut_off or short:
            expected = self._timeline.expected_frames
            about = f" of about {expected}" if expected > read else ""
            self.notes.append(f"{self.info.name}: the file ends early: {read}{about} frames could be read")
