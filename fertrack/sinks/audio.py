"""The sound of the source, as packets for the finished video: copied where the container can carry it.

Sound stays where the source's own times put it: gaps are kept where packets are copied, and filled with silence where
they are encoded anew, so that lips and voice belong together from start to end.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from fertrack.errors import VideoOpenError
from fertrack.sinks.config import Container
from fertrack.sources.container import Timeline, open_container, video_stream
from fertrack.sources.programmes import programmes
from fertrack.types import VideoInfo

__all__ = ["Part", "SoundChangedError", "Soundtrack", "SourceTimes"]

logger = logging.getLogger(__name__)

_JUMP_BACK_S = 1.0
_SLACK_S = 0.02  # stamps in whole milliseconds jitter; more than this is a gap, or an overlap
_TOLD_GAP_S = 0.1
_SILENCE_SAMPLES = 48_000  # written at once
_BIT_RATE_PER_CHANNEL = 80_000
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


@dataclass(frozen=True, slots=True)
class SourceTimes:
    """Where the source's video lies on its own clock.

    Attributes:
        origin_s: container time that counts as 0 s in timestamps.
        start_s: timestamp of the first frame, seconds.
        end_s: timestamp at which the last frame ends; None if the container does not say.
    """

    origin_s: Fraction = Fraction(0)
    start_s: float = 0.0
    end_s: float | None = None

    @classmethod
    def of(cls, path: Path, stream_index: int = -1) -> SourceTimes:
        """Read them from a video file; of anything else nothing is known, and it starts at 0.

        Args:
            path: the file.
            stream_index: which of its streams the video is; -1 = the one players show.
        """
        if not path.is_file():
            return cls()
        try:
            with open_container(path) as container:
                stream = container.streams[stream_index] if stream_index >= 0 else video_stream(container, path)
                if not isinstance(stream, VideoStream):
                    return cls()
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


class SoundChangedError(Exception):
    """Sound that was to be copied changes its channels or sample rate: it has to be encoded anew instead."""


class Soundtrack:
    """Yields the packets of one audio stream of a file, on the clock of the finished video.

    Of several streams, that is the one marked as the default among those that can be decoded, else the first of them;
    in a file with several programmes, among those of the video's own.

    Args:
        info: the source.
        container: what the finished video is.
        origin_s: container time that counts as 0 s.
        part: what is kept.
        encode: encode the sound anew, even if it could be copied.

    Attributes:
        notes: sentences the user should see; complete when all packets were taken.

    Raises:
        VideoOpenError: the source cannot be opened any more.
    """

    def __init__(
        self, info: VideoInfo, container: Container, origin_s: Fraction, part: Part, *, encode: bool = False
    ) -> None:
        self._info = info
        self._input = open_container(Path(info.path))
        self._container = container
        self._part = part
        self._encode = encode
        self._shift_s = origin_s + part.shift_s
        self.notes: list[str] = []
        self._stream = self._choose()
        for other in self._input.streams:
            if other is not self._stream:
                other.discard = Discard.all  # formats with an index then skip over the frames

    def _choose(self) -> AudioStream | None:
        streams = list(self._input.streams.audio)
        readable = [stream for stream in streams if cast(object, stream.codec_context) is not None]
        numbers = programmes(Path(self._info.path)) if len(streams) > 1 else {}
        if len(set(numbers.values())) > 1 and self._info.stream_index >= 0:
            own = numbers.get(self._input.streams[self._info.stream_index].id)
            readable = [stream for stream in readable if numbers.get(stream.id) == own]
        if not readable:
            return None
        chosen = next((stream for stream in readable if stream.disposition & Disposition.default), readable[0])
        if len(streams) > 1:
            language = f" ({chosen.language})" if chosen.language else ""
            number = streams.index(chosen) + 1
            self.notes.append(f"the sound is that of audio track {number} of {len(streams)}{language}")
        return chosen

    @property
    def is_there(self) -> bool:
        """Whether the file has sound that can be read."""
        return self._stream is not None

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
            SoundChangedError: (from the iterator) what is copied changes on the way.
            av.error.FFmpegError: there can be no such stream, or sound cannot be encoded.
        """
        stream = cast(AudioStream, self._stream)
        codec = stream.codec_context.codec.canonical_name
        copied = self._container.copied_sound
        if not self._encode and codec in (output.supported_codecs if copied is None else copied):
            return self._copied(stream, output.add_stream_from_template(stream))
        name = self._container.encoded_sound
        why = "because it changes on the way" if self._encode else "for the file to carry it"
        self.notes.append(f"the sound was encoded anew ({codec} to {name.removeprefix('lib')}), {why}")
        return self._encoded(stream, _encoder(output, name, stream))

    def _packets(self, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        """Packets of the part, with times on the finished video's clock that never go back."""
        time_base = cast(Fraction, stream.time_base)
        shift = round(self._shift_s / time_base)
        jumps, last_end = deque(by_s for _, by_s in self._info.clock_jumps), None
        try:
            for packet in self._input.demux(stream):
                ticks = packet.pts if packet.pts is not None else packet.dts
                if not packet.size or ticks is None:
                    continue
                if last_end is not None:
                    shift += round(self._clock_jump(float((ticks - last_end) * time_base), jumps) / time_base)
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
            self.notes.append("the sound ends early: the rest of it cannot be read")

    @staticmethod
    def _clock_jump(apart_s: float, jumps: deque[float]) -> float:
        """Jump of the clock, seconds, before a packet that begins ``apart_s`` after the end of the one before.

        Where frames were found to jump, sound moves by the same amount, so that they stay together.
        """
        if jumps and abs(apart_s) > _JUMP_BACK_S and abs(apart_s - jumps[0]) < abs(jumps[0]) / 2:
            return jumps.popleft()
        return apart_s if apart_s < -_JUMP_BACK_S else 0.0  # clips joined without new times

    def _is_before(self, time_s: float) -> bool:
        """Whether sound at a time on the finished video's clock is left out at the beginning."""
        if self._part.from_s is not None:
            return time_s < self._part.from_s - float(self._part.shift_s)
        # MP4 hides what lies before 0 (an encoder's priming); elsewhere it would push the frames back.
        return time_s < 0 and not self._container.is_mp4

    def _copied(self, stream: AudioStream, into: AudioStream) -> Iterator[Packet[Any]]:
        time_base = cast(Fraction, stream.time_base)
        into.time_base = time_base
        last_dts: int | None = None
        form: tuple[int, ...] | None = None
        for packet in self._packets(stream):
            dts = cast(int, packet.dts)
            if last_dts is not None and dts <= last_dts:
                continue
            last_dts = dts
            own = _form_in_header(bytes(memoryview(packet)[:4]), stream.codec_context.codec.canonical_name)
            if own is not None and own != (form := form or own):
                raise SoundChangedError
            packet.stream = into
            yield packet

    def _encoded(self, stream: AudioStream, into: AudioStream) -> Iterator[Packet[Any]]:
        line = _Line(into)
        for packet in self._packets(stream):
            try:
                frames = packet.decode()
            except FFmpegError as error:
                logger.debug("a piece of sound cannot be decoded: %s", error)
                continue
            for frame in frames:
                yield from line.put(frame, float(cast(int, packet.pts) * cast(Fraction, stream.time_base)))
        yield from line.end()
        if line.gaps_s >= _TOLD_GAP_S:
            self.notes.append(f"the sound has gaps, {line.gaps_s:.1f} s in all: they are silent")


class _Line:
    """Sound of changing form, put on one line of samples by its times, and encoded.

    Args:
        into: the stream it is encoded for.

    Attributes:
        gaps_s: silence put in so far, seconds.
    """

    def __init__(self, into: AudioStream) -> None:
        codec = into.codec_context
        self.gaps_s = 0.0
        self._into = into
        self._rate = codec.rate
        self._format, self._layout = codec.format.name, codec.layout.name
        self._channels = codec.layout.nb_channels
        self._slack = round(_SLACK_S * self._rate)
        self._fifo = AudioFifo()
        self._resampler: av.AudioResampler | None = None
        self._form: tuple[str, str, int] | None = None
        self._end: int | None = None
        self._encoded = 0

    def put(self, frame: AudioFrame, packet_s: float) -> Iterator[Packet[Any]]:
        """Take a decoded piece; one without a time of its own has that of its packet."""
        if not frame.samples:
            return
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:  # from stereo to mono, or what a damaged packet seems to be
            yield from self._flush()
            self._form = form
            self._resampler = av.AudioResampler(self._format, self._layout, self._rate)
        if frame.pts is None or frame.time_base is None:
            frame.pts, frame.time_base = round(packet_s * frame.sample_rate), Fraction(1, frame.sample_rate)
        assert self._resampler is not None
        for ready in self._resampler.resample(frame):
            yield from self._place(ready)

    def end(self) -> Iterator[Packet[Any]]:
        """Encode the rest."""
        yield from self._flush()
        if self._end is None:
            return
        yield from self._encode(partial=True)
        yield from self._into.encode(None)

    def _flush(self) -> Iterator[Packet[Any]]:
        if self._resampler is not None:
            for ready in self._resampler.resample(None):
                yield from self._place(ready)

    def _place(self, frame: AudioFrame) -> Iterator[Packet[Any]]:
        if frame.pts is None or frame.time_base is None:
            start = self._end or 0
        else:
            start = round(frame.pts * frame.time_base * self._rate)
        if self._end is None:
            self._end = self._encoded = start
        ahead = start - self._end
        if ahead > self._slack:
            self.gaps_s += ahead / self._rate
            while ahead > 0:
                samples = min(ahead, _SILENCE_SAMPLES)
                yield from self._append(self._frame(np.zeros((self._channels, samples), np.float32)))
                ahead -= samples
        elif ahead < -self._slack:
            if frame.samples <= -ahead:
                return
            frame = self._frame(self._samples(frame)[:, -ahead:])
        yield from self._append(frame)

    def _append(self, frame: AudioFrame) -> Iterator[Packet[Any]]:
        frame.pts, frame.time_base = None, Fraction(1, self._rate)
        self._end = cast(int, self._end) + frame.samples
        self._fifo.write(frame)
        yield from self._encode()

    def _encode(self, *, partial: bool = False) -> Iterator[Packet[Any]]:
        size = self._into.codec_context.frame_size or 1024
        while (frame := self._fifo.read(size, partial)) is not None:
            frame.pts, frame.time_base = self._encoded, Fraction(1, self._rate)
            self._encoded += frame.samples
            yield from self._into.encode(frame)

    def _samples(self, frame: AudioFrame) -> Any:
        """Samples by channel."""
        samples = frame.to_ndarray()
        return samples if frame.format.is_planar else samples.reshape(-1, self._channels).T

    def _frame(self, samples: Any) -> AudioFrame:
        """Samples by channel, in the encoder's form."""
        kind = np.dtype({"fltp": "f4", "flt": "f4", "s16": "i2", "s16p": "i2"}[self._format])
        samples = samples.astype(kind)
        if not self._format.endswith("p"):
            samples = samples.T.reshape(1, -1)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), self._format, self._layout)
        frame.sample_rate = self._rate
        return frame


def _form_in_header(header: bytes, codec: str) -> tuple[int, ...] | None:
    """Sample rate and channels that the header of an AAC (ADTS) or MPEG audio packet names, as its bits; None without.

    Of MPEG audio, all modes with two channels are alike.
    """
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    if codec == "aac" and header[1] & 0xF6 == 0xF0:
        return header[2] >> 2 & 0xF, (header[2] & 1) << 2 | header[3] >> 6
    if codec in ("mp3", "mp2"):
        return header[1] >> 1 & 0xF, header[2] >> 2 & 3, int(header[3] >> 6 == 3)
    return None


def _encoder(output: OutputContainer, name: str, source: AudioStream) -> AudioStream:
    """A stream of newly encoded sound: what begins in mono is mono, everything else becomes stereo."""
    rate = 48_000 if name == "libopus" or source.codec_context.rate not in _AAC_RATES else source.codec_context.rate
    stream = output.add_stream(name, rate=rate)
    stream = cast(AudioStream, stream)
    channels = min(2, source.codec_context.layout.nb_channels)
    stream.layout = "mono" if channels == 1 else "stereo"
    stream.bit_rate = channels * _BIT_RATE_PER_CHANNEL
    stream.codec_context.open()
    return stream
