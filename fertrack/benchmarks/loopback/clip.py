"""A clip, encoded once so that it can be sent as a live stream again and again at next to no cost."""

from __future__ import annotations

import fractions
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame

from fertrack.errors import EvaluationError
from fertrack.sources import open_source
from fertrack.types import Image

__all__ = ["EncodedFrame", "StreamClip", "draw_number", "encode_clip", "number_in"]

_BITS = 12
NUMBERS = 1 << _BITS
"""Numbers drawn into images start again at this one."""
_CELL_PX = 8
_BIT_RATE = 4_000_000
_JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One image.

    Attributes:
        content: a JPEG file, or H.264 as a byte stream (Annex B).
        key: whether decoding can begin here.
    """

    content: bytes
    key: bool


@dataclass(frozen=True, slots=True)
class StreamClip:
    """A clip to be sent over and over.

    Attributes:
        codec: ``"mjpeg"`` or ``"h264"``.
        width: px.
        height: px.
        fps: images per second.
        pictures: in order; the first is a keyframe.
    """

    codec: Literal["mjpeg", "h264"]
    width: int
    height: int
    fps: float
    pictures: tuple[EncodedFrame, ...]


def encode_clip(
    path: str | Path,
    codec: Literal["mjpeg", "h264"],
    *,
    fps: float = 30.0,
    size: tuple[int, int] | None = None,
    seconds: float = 10.0,
    numbered: bool = False,
) -> StreamClip:
    """Encode the first seconds of a video, as a network camera would: no B-frames, a keyframe every second.

    Args:
        path: a video.
        codec: of the stream.
        fps: images per second sent; each image of the video is one, whatever its own rate.
        size: width and height, px; None = the video's, made even.
        seconds: most that is kept.
        numbered: draw each image's number into it, to be read by ``number_in``.

    Raises:
        EvaluationError: the video has no images.
        VideoOpenError: it cannot be opened.
    """
    with open_source(path) as source:
        width, height = size or (source.info.width // 2 * 2, source.info.height // 2 * 2)
        images = [
            draw_number(cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA), index, numbered)
            for index, frame in enumerate(itertools.islice(source, max(1, round(seconds * fps))))
        ]
    if not images:
        raise EvaluationError(f"{path} has no pictures to send: choose another clip")
    pictures = _to_h264(images, fps) if codec == "h264" else [_to_jpeg(image) for image in images]
    return StreamClip(codec, width, height, fps, tuple(pictures))


def draw_number(image: cv2.typing.MatLike, number: int, wanted: bool = True) -> Image:
    """Draw a number into the top left corner as black and white cells; the image itself if not ``wanted``."""
    drawn = np.array(image, np.uint8)
    if wanted:
        for bit in range(_BITS):
            drawn[:_CELL_PX, bit * _CELL_PX : (bit + 1) * _CELL_PX] = 235 if number >> bit & 1 else 20
    return drawn


def number_in(image: Image) -> int:
    """Read the number back from an image, uint8 (H, W, 3), that was sent at its own size."""
    row = image[_CELL_PX // 2, _CELL_PX // 2 : _BITS * _CELL_PX : _CELL_PX].mean(axis=1)
    return sum(int(value > 128) << bit for bit, value in enumerate(row))


def _to_jpeg(image: Image) -> EncodedFrame:
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return EncodedFrame(encoded.tobytes(), True)


def _to_h264(images: list[Image], fps: float) -> list[EncodedFrame]:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = images[0].shape[1], images[0].shape[0]
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = fractions.Fraction(fps).limit_denominator(1001)
    encoder.time_base = 1 / encoder.framerate
    encoder.bit_rate = _BIT_RATE
    encoder.gop_size = max(1, round(fps))
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1"}
    packets = []
    for image in [*images, None]:
        picture = None if image is None else VideoFrame.from_ndarray(image, format="bgr24")
        packets += encoder.encode(picture)
    return [EncodedFrame(bytes(packet), packet.is_keyframe) for packet in packets]
