"""Encoder of images with exact presentation times into a file that can be played even if it is cut off."""

from __future__ import annotations

import os
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from fertrack.sinks.config import Container, VideoOutputConfig
from fertrack.types import Image, VideoInfo

__all__ = ["VideoEncoder"]

_SMALLEST_PX = 16
_MAX_TICKS_PER_S = 1_000_000_000  # libvpx takes no finer clock
_HD_LINES = 720
_KEY_FRAME_S = 2.0
_LONGEST_LAST = 2.5  # in intervals: how much longer the last frame may be shown than the one before it
_PX_PER_THREAD = 1280 * 720
_AVCOL_SPC_BT709, _AVCOL_SPC_SMPTE170M = 1, 6  # the stream's tags; swscale numbers the same matrices 1 and 5


class VideoEncoder:
    """Writes one video stream.

    Frames become yuv420p, which needs even sides: an odd side (and one under 16 px) is extended by repeating the last
    row or column, so nothing is lost. Colours are converted with the matrix and range that the stream is tagged
    with: BT.709 from 720 lines on, BT.601 below, limited range.

    Times are written in the source's own ticks. Each must be later than the one before; if it is not, it is moved one
    tick after it.

    Args:
        path: file to be written; replaced if there.
        info: size, rate and time base of the source.
        config: codec and quality.
        container: what kind of file.

    Raises:
        av.error.FFmpegError: the file cannot be opened for writing, or the encoder cannot be set up.
    """

    def __init__(self, path: Path, info: VideoInfo, config: VideoOutputConfig, container: Container) -> None:
        self.size = (info.width, info.height)
        self._canvas = np.zeros((_padded(info.height), _padded(info.width), 3), dtype=np.uint8)
        self._reformatter = VideoReformatter()  # one for all frames: setting one up takes half a millisecond
        self._is_hd = info.height >= _HD_LINES
        self._time_base = info.time_base
        if info.time_base < Fraction(1, _MAX_TICKS_PER_S) or info.time_base > 1:
            self._time_base = Fraction(1, 90_000)
        self._rate = Fraction(info.fps).limit_denominator(100_000) if 1.0 <= info.fps <= 1000.0 else Fraction(25)
        options = dict(container.fragment_options)
        if container.is_mp4:  # start offsets are kept in ticks of this clock: by default whole milliseconds
            options["movie_timescale"] = str(_movie_timescale(self._time_base))
        self._container: OutputContainer = av.open(
            str(path.absolute()), mode="w", format=container.format, container_options=options
        )
        try:
            self._stream = self._add_stream(config)
        except BaseException:  # nobody else can close it yet
            self._container.close()
            raise
        self._waiting: deque[Packet[VideoStream]] = deque()
        self._durations: dict[int, int] = {}
        self._last_pts: int | None = None
        self._interval = max(1, round(1 / (self._rate * self._time_base)))
        self.first_s = self.last_s = self.end_s = 0.0
        self.frames = 0

    def canvas(self) -> Image:
        """Image that ``encode`` will write next: uint8 (H, W, 3), BGR, of the source's size; draw on it."""
        width, height = self.size
        return self._canvas[:height, :width]

    def fill(self, image: Image) -> None:
        """Put an image on the canvas. One of another size is scaled to fit, with black bars."""
        canvas = self.canvas()
        if image.shape == canvas.shape:
            canvas[:] = image
            return
        width, height = self.size
        scale = min(width / image.shape[1], height / image.shape[0])
        fitted = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        left, top = (width - fitted[0]) // 2, (height - fitted[1]) // 2
        canvas[:] = 0
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        canvas[top : top + fitted[1], left : left + fitted[0]] = cv2.resize(image, fitted, interpolation=interpolation)

    def encode(self, timestamp_s: float | Fraction) -> None:
        """Write the canvas as the frame of a time.

        Raises:
            av.error.FFmpegError: it cannot be encoded or written (disk full).
        """
        width, height = self.size
        self._canvas[:, width:] = self._canvas[:, width - 1 : width]
        self._canvas[height:] = self._canvas[height - 1 : height]
        frame = self._reformatter.reformat(
            VideoFrame.from_numpy_buffer(self._canvas, format="bgr24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709 if self._is_hd else Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        pts = round(Fraction(timestamp_s) / self._time_base)
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)
            self._interval = self._durations[self._last_pts] = pts - self._last_pts
        frame.pts, frame.time_base = pts, self._time_base
        self._last_pts = pts
        self._waiting.extend(self._stream.encode(frame))
        self._write_waiting()
        self._note_end()
        if self.frames == 0:
            self.first_s = self.last_s
        self.frames += 1

    def close(self, until_s: float | None = None) -> None:
        """Write what the encoder still holds, and the file's end. The file is closed even if that fails.

        The last frame is shown as long as the one before it, or until the source ends if that is about then.

        Args:
            until_s: when the source ends; None = unknown.

        Raises:
            av.error.FFmpegError: it cannot be written.
        """
        try:
            if self._last_pts is not None:
                left = round(Fraction(until_s) / self._time_base) - self._last_pts if until_s is not None else 0
                if 0 < left <= _LONGEST_LAST * self._interval:
                    self._interval = left
                    self._note_end()
                self._waiting.extend(self._stream.encode(None))
                for packet in self._waiting:
                    packet.duration = self._durations.get(cast(int, packet.pts), self._interval)
                    self._container.mux(packet)
                self._waiting.clear()
        finally:
            self._container.close()

    def abandon(self) -> None:
        """Close the file as it is, after a failure: nothing more is encoded."""
        self._waiting.clear()
        self._container.close()

    def _add_stream(self, config: VideoOutputConfig) -> VideoStream:
        stream = self._container.add_stream(config.encoder, rate=self._rate, options=config.encoder_options())
        stream = cast(VideoStream, stream)
        height, width = self._canvas.shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = self._time_base
        codec = stream.codec_context
        codec.time_base, codec.framerate = self._time_base, self._rate
        codec.gop_size = min(250, max(12, round(_KEY_FRAME_S * self._rate)))
        cores = os.cpu_count() or 1
        codec.thread_count = config.threads or min(cores, max(1, round(width * height / _PX_PER_THREAD)))
        codec.color_range = ColorRange.MPEG
        codec.colorspace = _AVCOL_SPC_BT709 if self._is_hd else _AVCOL_SPC_SMPTE170M
        codec.color_primaries = ColorPrimaries.BT709 if self._is_hd else ColorPrimaries.SMPTE170M
        codec.color_trc = ColorTrc.BT709 if self._is_hd else ColorTrc.SMPTE170M
        codec.open()
        return stream

    def _write_waiting(self) -> None:
        """Write packets, in coding order, as far as it is known how long their frames are shown."""
        while self._waiting and self._waiting[0].pts in self._durations:
            packet = self._waiting.popleft()
            packet.duration = self._durations.pop(cast(int, packet.pts))
            self._container.mux(packet)

    def _note_end(self) -> None:
        pts = cast(int, self._last_pts)
        self.last_s = float(pts * self._time_base)
        self.end_s = float((pts + self._interval) * self._time_base)


def _padded(side_px: int) -> int:
    return max(_SMALLEST_PX, side_px + side_px % 2)


def _movie_timescale(time_base: Fraction) -> int:
    """Ticks per second for a file's start offsets: those of the video if that fits, so that they are exact."""
    ticks = time_base.denominator
    return ticks if 1000 <= ticks <= 10_000_000 else 90_000
