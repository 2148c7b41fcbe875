"""From a decoded picture to upright BGR pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self, cast

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from fertrack.types import Image

__all__ = ["LARGE_PICTURE_PX", "BgrConverter", "Orientation", "square_pixel_size"]

LARGE_PICTURE_PX = 1920 * 1088
"""Pictures above this (4K, 8K) are decoded and converted on several threads."""

_MAX_PIXEL_ASPECT = 4


@dataclass(frozen=True, slots=True)
class Orientation:
    """Turn of a stored image to upright: swap its axes, then mirror left-right, then top-bottom."""

    swap: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def clockwise(cls, degrees: int) -> Self:
        """Turn clockwise by 0, 90, 180 or 270 degrees."""
        return cls(degrees in (90, 270), degrees in (90, 180), degrees in (180, 270))

    @classmethod
    def of(cls, picture: VideoFrame) -> Self:
        """Orientation from an image's display matrix, to the nearest quarter turn; mirrored images included.

        The matrix maps a stored point (p, q), y down, to (a p + c q, b p + d q); it is stored as 9 integers
        a b u c d v x y w (ISO/IEC 14496-12, 8.3.2).
        """
        try:
            side_data = cast(Any, picture.side_data).get("DISPLAYMATRIX")
        except ValueError:  # PyAV cannot list side data when the picture has a kind newer than PyAV knows
            return cls.clockwise(round(-picture.rotation / 90) % 4 * 90)
        if not side_data:
            return cls()
        a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
        swap = abs(b) > abs(a)
        along_x, along_y = (c, b) if swap else (a, d)
        return cls(swap, along_x < 0, along_y < 0)

    @property
    def degrees_clockwise(self) -> int:
        """The turn in it: 0, 90, 180 or 270 (of a mirrored picture, after undoing a left-right mirror)."""
        if self.swap:
            return 90 if self.mirror_x else 270
        return 180 if self.mirror_y else 0

    def apply(self, image: Image) -> Image:
        """The upright picture: uint8 (H, W, 3), contiguous; a copy unless nothing is to be done."""
        if self.swap:
            image = cast(Image, cv2.transpose(image))
        if self.mirror_x or self.mirror_y:
            image = cast(Image, cv2.flip(image, -1 if self.mirror_x and self.mirror_y else int(self.mirror_x)))
        return image

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Upright (width, height) of a stored picture."""
        return (height, width) if self.swap else (width, height)


def square_pixel_size(picture: VideoFrame, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Width and height at which a picture is shown undistorted, stretched (never shrunk) to square pixels.

    An aspect of 0, none, or beyond 4:1 is a broken header and is ignored.
    """
    width, height = picture.width, picture.height
    if not pixel_aspect or not Fraction(1, _MAX_PIXEL_ASPECT) <= pixel_aspect <= _MAX_PIXEL_ASPECT:
        return width, height
    if pixel_aspect > 1:
        return round(width * pixel_aspect), height
    return width, round(height / pixel_aspect)


class BgrConverter:
    """Converts decoded pictures to upright BGR of one size.

    The matrix and range of the stream are honoured (BT.601, BT.709, BT.2020; limited or full range). A picture that
    names no matrix is taken as BT.601, as FFmpeg and OpenCV do. HDR is not tone-mapped.

    Args:
        width: px of the stored picture with square pixels, before it is turned.
        height: px, likewise.
        orientation: how it becomes upright.
    """

    def __init__(self, width: int, height: int, orientation: Orientation) -> None:
        self.resized = 0
        self._width, self._height = width, height
        self._stored_size: tuple[int, int] | None = None
        self._orientation = orientation
        self._reformatter = VideoReformatter()
        self._threads = 1 if width * height <= LARGE_PICTURE_PX else 0  # 0 = all cores; the bytes are the same

    def convert(self, picture: VideoFrame) -> Image:
        """Pixels of one picture: uint8 (H, W, 3), BGR, contiguous, upright.

        A picture whose stored size differs from the first one's is scaled to it and counted in ``resized``.

        Raises:
            av.error.FFmpegError: the pixel format cannot be converted.
        """
        if self._stored_size is None:
            self._stored_size = (picture.width, picture.height)
        self.resized += (picture.width, picture.height) != self._stored_size
        bgr = self._reformatter.reformat(picture, self._width, self._height, "bgr24", threads=self._threads)
        return np.ascontiguousarray(self._orientation.apply(cast(Image, bgr.to_ndarray())))
