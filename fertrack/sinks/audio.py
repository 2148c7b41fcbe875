"""The sound of the source, as packets for the finished video: copied where the container can carry it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard

from fertrack.errors import VideoOpenError
from fertrack.sinks.config import Container
from fertrack.sources.container import Timeline, open_container, video_stream

__all__ = ["Part", "Soundtrack", "SourceTimes"]

logger = logging.getLogger(__name__)

_JUMP_BACK_S = 1.0
_BIT_RATE_PER_CHANNEL = 80_000
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


@dataclass(frozen=True, slots=True)
class SourceTimes:
    """Where the source's video lies on its own clock.

    Attributes:
        origin_s: container time that counts as 0 s in timestamps.
        start_s: timestamp of the first picture, seconds.
        end_s: timestamp at which the last picture ends; None if the container does not say.
    """

    origin_s: Fraction = Fraction(0)
    start_s: float = 0.0
    end_s: float | None = None

    @classmethod
    def of(cls, path: Path) -> SourceTimes:
        """Read them from a video file; of anything else nothing is known, and it starts at 0."""
        if not path.is_file():
            return cls()
        try:
            with open_container(path) as container:
                stream = video_stream(container, path)
                timeline = Timeline.of(container, stream)
                start_ticks = stream.start_time - timeline.origin_ticks if stream.start_time is not None else 0
                origin_s = timeline.origin_ticks * timeline.time_base
                return cls(origin_s, float(start_ticks * timeline.time_base), timeline.end_s)
        except (VideoOpenError, FFmpegError):
            return cls()


@dataclass(frozen=True, slots=True)
class Part:
    """The part of the source that the finished video shows, in its timestamps.

    Attributes:
        from_s: sound before this is left out; None = none is.
        to_s: sound from here on is left out; None = none is.
        shift_s: subtracted from every time.
    """

    from_s: float | None
    to_s: float | None
    shift_s: Fraction


class Soundtrack:
    """Yields the packets of the first audio stream of a file, on the clock of the finished video.

    Args:
        path: the source.
        container: what the finished video is.
        origin_s: container time that counts as 0 s.
        part: what is kept.

    Raises:
        VideoOpenError: the source cannot be opened any more.
    """

    def __init__(self, path: Path, container: Container, origin_s: Fraction, part: Part) -> None:
        self._input = open_container(path)
        self._container = container
        self._part = part
        self._shift_s = origin_s + part.shift_s
        self._stream: AudioStream | None = next(iter(self._input.streams.audio), None)
        for other in self._input.streams:
            if other is not self._stream:
                other.discard = Discard.all  # formats with an index then skip over the pictures
        self.note = ""

    @property
    def is_there(self) -> bool:
        """Whether the file has sound that can be read."""
        return self._stream is not None and cast(object, self._stream.codec_context) is not None

    def close(self) -> None:
        """Close the source."""
        self._input.close()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def add_to(self, output: OutputContainer) -> Iterator[Packet[Any]]:
        """Add a stream for the sound to the output, before its first packet; the packets come from the iterator.

        Reading stops with a note where the source is damaged.

        Raises:
            av.error.FFmpegError: there can be no such stream, or sound cannot be encoded.
        """
        stream = cast(AudioStream, self._stream)
        codec = stream.codec_context.codec.canonical_name
        copied = self._container.copied_sound
        if codec in (output.supported_codecs if copied is None else copied):
            return self._copied(stream, output.add_stream_from_template(stream))
        name = self._container.encoded_sound
        self.note = f"the sound was encoded anew ({codec} to {name.removeprefix('lib')}), for the file to carry it"
        return self._encoded(stream, _encoder(output, name, stream))

    def _packets(self, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        """Packets of the part, with times on the finished video's clock that never go back."""
        time_base = cast(Fraction, stream.time_base)
        shift = round(self._shift_s / time_base)
        jump, last_end = round(_JUMP_BACK_S / time_base), None
        try:
            for packet in self._input.demux(stream):
                ticks = packet.pts if packet.pts is not None else packet.dts
                if not packet.size or ticks is None:
                    continue
                if last_end is not None and ticks < last_end - jump:  # clips joined without new times
                    shift += ticks - last_end
                last_end = ticks + (packet.duration or 0)
                time_s = float((ticks - shift) * time_base)
                if self._is_before(time_s):
                    continue
                if self._part.to_s is not None and time_s >= self._part.to_s - float(self._part.shift_s):
                    return
                packet.pts = packet.dts = ticks - shift
                yield packet
        except FFmpegError as error:
            logger.warning("reading sound stopped: %s", error)
            self.note = "the sound ends early: the rest of it cannot be read"

    def _is_before(self, time_s: float) -> bool:
        """Whether sound at a time on the finished video's clock is left out at the beginning."""
        if self._part.from_s is not None:
            return time_s < self._part.from_s - float(self._part.shift_s)
        # MP4 hides what lies before 0 (an encoder's priming); elsewhere it would push the pictures back.
        return time_s < 0 and not self._container.is_mp4

    def _copied(self, stream: AudioStream, into: AudioStream) -> Iterator[Packet[Any]]:
        time_base = cast(Fraction, stream.time_base)
        into.time_base = time_base
        last_dts: int | None = None
        for packet in self._packets(stream):
            dts = cast(int, packet.dts)
            if last_dts is not None and dts <= last_dts:
                continue
            last_dts = dts
            packet.stream = into
            yield packet

    def _encoded(self, stream: AudioStream, into: AudioStream) -> Iterator[Packet[Any]]:
        codec = into.codec_context
        resampler = av.AudioResampler(codec.format, codec.layout, codec.rate, frame_size=codec.frame_size or None)
        next_pts: int | None = None

        def encoded(frame: AudioFrame | None) -> Iterator[Packet[Any]]:
            nonlocal next_pts
            for ready in resampler.resample(frame):
                ready.pts, ready.time_base = next_pts, Fraction(1, codec.rate)
                next_pts = cast(int, next_pts) + ready.samples
                yield from into.encode(ready)

        for packet in self._packets(stream):
            try:
                frames = packet.decode()
            except FFmpegError as error:
                logger.debug("a piece of sound cannot be decoded: %s", error)
                continue
            if next_pts is None and frames:
                next_pts = round(cast(int, packet.pts) * cast(Fraction, stream.time_base) * codec.rate)
            for frame in frames:
                yield from encoded(frame)
        if next_pts is not None:
            yield from encoded(None)
            yield from into.encode(None)


def _encoder(output: OutputContainer, name: str, source: AudioStream) -> AudioStream:
    """A stream of newly encoded sound: mono stays mono, everything else becomes stereo."""
    rate = 48_000 if name == "libopus" or source.codec_context.rate not in _AAC_RATES else source.codec_context.rate
    stream = output.add_stream(name, rate=rate)
    stream = cast(AudioStream, stream)
    channels = min(2, source.codec_context.layout.nb_channels)
    stream.layout = "mono" if channels == 1 else "stereo"
    stream.bit_rate = channels * _BIT_RATE_PER_CHANNEL
    stream.codec_context.open()
    return stream
