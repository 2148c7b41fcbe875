"""From a decoded frame to upright BGR pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self, cast

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, VideoReformatter

from fertrack.types import Image

__all__ = ["HDR_TRANSFERS", "LARGE_FRAME_PX", "BgrConverter", "Orientation", "fitted", "square_pixel_size"]

LARGE_FRAME_PX = 1920 * 1088
"""Frames above this (4K, 8K) are decoded and converted on several threads."""

HDR_TRANSFERS = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
"""PQ (SMPTE ST 2084) and HLG (ARIB STD-B67)."""

HD_LINES = 720
"""From so many lines on, a frame that names no matrix is taken as BT.709."""

_MAX_PIXEL_ASPECT = 4
_MAX_REFORMATTERS = 8
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED


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
        except ValueError:  # PyAV cannot list side data when the frame has a kind newer than PyAV knows
            return cls.clockwise(round(-picture.rotation / 90) % 4 * 90)
        if not side_data:
            return cls()
        a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
        swap = abs(b) > abs(a)
        along_x, along_y = (c, b) if swap else (a, d)
        return cls(swap, along_x < 0, along_y < 0)

    @property
    def degrees_clockwise(self) -> int:
        """The turn in it: 0, 90, 180 or 270 (of a mirrored frame, after undoing a left-right mirror)."""
        if self.swap:
            return 90 if self.mirror_x else 270
        return 180 if self.mirror_y else 0

    def apply(self, image: Image) -> Image:
        """The upright frame: uint8 (H, W, 3), contiguous; a copy unless nothing is to be done."""
        if self.swap:
            image = cast(Image, cv2.transpose(image))
        if self.mirror_x or self.mirror_y:
            image = cast(Image, cv2.flip(image, -1 if self.mirror_x and self.mirror_y else int(self.mirror_x)))
        return image

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Upright (width, height) of a stored frame."""
        return (height, width) if self.swap else (width, height)


def square_pixel_size(picture: VideoFrame, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Width and height at which a frame is shown undistorted, stretched (never shrunk) to square pixels.

    An aspect of 0, none, or beyond 4:1 is a broken header and is ignored.
    """
    width, height = picture.width, picture.height
    if not pixel_aspect or not Fraction(1, _MAX_PIXEL_ASPECT) <= pixel_aspect <= _MAX_PIXEL_ASPECT:
        return width, height
    if pixel_aspect > 1:
        return round(width * pixel_aspect), height
    return width, round(height / pixel_aspect)


class BgrConverter:
    """Converts decoded frames to upright BGR of one size, that of the first.

    The matrix and range of the stream are honoured (BT.601, BT.709, BT.2020; limited or full range). A frame that
    names no matrix is taken as players take it: as BT.709 from 720 lines on, below that as BT.601.

    HDR (PQ, HLG) becomes SDR: the transfer curve and BT.2020 primaries are converted to BT.709's, with 203 cd/m², HDR's
    reference white, as white. That costs some seconds once and several times the usual conversion for each frame.

    A frame of another size or pixel aspect is shown whole, its proportions kept, with black bars.

    Args:
        first: the frame that sets the size.
        pixel_aspect: width of its pixels over their height; None or 0: not said.
        orientation: how frames become upright.

    Attributes:
        width: px of all frames with square pixels, before they are turned.
        height: px, likewise.
        resized: frames so far that had another size or aspect.
        toned: HDR frames so far.
    """

    def __init__(self, first: VideoFrame, pixel_aspect: Fraction | None, orientation: Orientation) -> None:
        self.resized = 0
        self.toned = 0
        self.width, self.height = square_pixel_size(first, pixel_aspect)
        self._first = self._form = (first.width, first.height, pixel_aspect)
        self._place = (0, 0, self.width, self.height)
        self._orientation = orientation
        self._reformatters: dict[tuple[int, int], VideoReformatter] = {}
        # 0 = all cores; the bytes are the same
        self._threads = 1 if self.width * self.height <= LARGE_FRAME_PX else 0

    def convert(self, picture: VideoFrame, pixel_aspect: Fraction | None) -> Image:
        """Pixels of one frame: uint8 (H, W, 3), BGR, contiguous, upright.

        Raises:
            av.error.FFmpegError: the pixel format cannot be converted.
        """
        form = (picture.width, picture.height, pixel_aspect)
        if form != self._form:
            self._form = form
            self._place = fitted(square_pixel_size(picture, pixel_aspect), (self.width, self.height))
        self.resized += form != self._first
        left, top, width, height = self._place
        bgr = self._bgr(picture, width, height)
        if (width, height) != (self.width, self.height):
            boxed = np.zeros((self.height, self.width, 3), np.uint8)
            boxed[top : top + height, left : left + width] = bgr
            bgr = boxed
        return np.ascontiguousarray(self._orientation.apply(bgr))

    def _bgr(self, picture: VideoFrame, width: int, height: int) -> Image:
        size = (picture.width, picture.height)
        reformatter = self._reformatters.get(size)
        if reformatter is None:  # each keeps what is costly to set up, for one size
            if len(self._reformatters) >= _MAX_REFORMATTERS:
                self._reformatters.clear()
            reformatter = self._reformatters[size] = VideoReformatter()
        matrix = Colorspace.ITU709 if picture.colorspace == _UNSPECIFIED and height >= HD_LINES else None
        if picture.color_trc in HDR_TRANSFERS:
            self.toned += 1
            if picture.color_primaries == ColorPrimaries.UNSPECIFIED:
                picture.color_primaries = ColorPrimaries.BT2020
            converted = reformatter.reformat(
                picture,
                width,
                height,
                "bgr24",
                src_colorspace=Colorspace.BT2020 if picture.colorspace == _UNSPECIFIED else None,
                dst_color_trc=ColorTrc.BT709,
                dst_color_primaries=ColorPrimaries.BT709,
                threads=0,
            )
        else:
            converted = reformatter.reformat(
                picture, width, height, "bgr24", src_colorspace=matrix, threads=self._threads
            )
        return cast(Image, converted.to_ndarray())


def fitted(size: tuple[int, int], into: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where a frame of a size goes whole into another: left, top, width, height, px.

    >>> fitted((1280, 720), (1920, 1080)), fitted((720, 1280), (1280, 720))
    ((0, 0, 1920, 1080), (437, 0, 405, 720))
    """
    scale = min(into[0] / size[0], into[1] / size[1])
    # A bar of a single pixel is a matter of rounding.
    width, height = (
        side if side - 1 <= round(own * scale) else max(1, round(own * scale))
        for own, side in zip(size, into, strict=True)
    )
    return (into[0] - width) // 2, (into[1] - height) // 2, width, height
