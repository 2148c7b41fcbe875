"""Turns the file that was written along the way into the finished one: sound added, index in front, then renamed."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from fertrack.sinks.audio import Soundtrack
from fertrack.sinks.config import Container

__all__ = ["cut_after_last_fragment", "write_finished"]


def write_finished(part: Path, target: Path, container: Container, sound: Soundtrack | None, *, end_s: float) -> None:
    """Copy the frames of ``part``, and sound if there is any, into ``target``. Nothing is decoded.

    Args:
        part: video without sound, as ``VideoEncoder`` wrote it.
        target: file to be written; replaced if there.
        container: what kind of file.
        sound: an open soundtrack.
        end_s: when the last frame ends, seconds.

    Raises:
        av.error.FFmpegError: reading or writing failed. ``target`` may be left incomplete.
    """
    with ExitStack() as stack:
        pictures = stack.enter_context(av.open(str(part.absolute()), format=container.format))
        source = pictures.streams.video[0]
        options = dict(container.final_options)
        if container.is_mp4 and source.time_base:
            options["movie_timescale"] = str(source.time_base.denominator)
        output = stack.enter_context(
            av.open(str(target.absolute()), mode="w", format=container.format, container_options=options)
        )
        # opaque: what is read by another library than it was written with (AV1) has no encoder of the reader's name
        into = output.add_stream_from_template(source, opaque=True)
        into.time_base = source.time_base
        streams = [_with_durations(_frames(pictures, source, into), end_s)]
        if sound is not None:
            streams.append(sound.add_to(output))
        for packet in heapq.merge(*streams, key=_decode_time_s):
            output.mux(packet)


def cut_after_last_fragment(path: Path) -> bool:
    """Shorten a fragmented MP4 file to its last whole fragment, so that players do not stumble over half of one.

    Args:
        path: the file; left as it is if there is no whole fragment in it.

    Returns:
        Whether there is one, so that something can be played.
    """
    size = path.stat().st_size
    end = position = 0
    with path.open("r+b") as file:
        while position + 8 <= size:
            file.seek(position)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1:
                length = struct.unpack(">Q", file.read(8).rjust(8, b"\0"))[0]
            if length < 8 or position + length > size:
                break
            position += length
            if kind == b"mdat":
                end = position
        if end:
            file.truncate(end)
    return end > 0


def _frames(container: InputContainer, source: VideoStream, into: VideoStream) -> Iterator[Packet[Any]]:
    """The packets in coding order, every one with a decode time.

    Matroska stores no decode times, and FFmpeg can only guess them once it has seen how far frames are reordered:
    the first few get times just before the first that is known.
    """
    without: list[Packet[VideoStream]] = []
    for packet in container.demux(source):
        if not packet.size:
            continue
        packet.stream = into
        if packet.dts is None:
            without.append(packet)
            continue
        yield from _with_decode_times(without, packet.dts)
        without.clear()
        yield packet
    if without:
        yield from _with_decode_times(without, min(cast(int, packet.pts) for packet in without) + 1)


def _with_durations(packets: Iterator[Packet[Any]], end_s: float) -> Iterator[Packet[Any]]:
    """Fill in durations that cannot be read back (VP9 in fragmented MP4): without them the last frame is hidden."""
    held: Packet[Any] | None = None
    for packet in packets:
        if held is not None:
            if not held.duration:
                held.duration = max(0, cast(int, packet.pts) - cast(int, held.pts))
            yield held
        held = packet
    if held is not None:
        if not held.duration:
            held.duration = max(1, round(end_s / held.time_base) - cast(int, held.pts))
        yield held


def _with_decode_times(packets: list[Packet[VideoStream]], before: int) -> Iterator[Packet[Any]]:
    for i, packet in enumerate(packets):
        packet.dts = before - len(packets) + i
        yield packet


def _decode_time_s(packet: Packet[Any]) -> float:
    return float(cast(int, packet.dts) * packet.time_base)
