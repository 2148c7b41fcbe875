"""Frames of any size, shown whole in a frame of the first one's size."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from av.video.frame import VideoFrame

from fertrack.sources.pixels import BgrConverter, Orientation, fitted, square_pixel_size
from fertrack.sources.stream.clock import StampedFrame
from fertrack.types import Image

__all__ = ["Letterbox"]

_MAX_SIZES = 8  # told; a broken stream may show any number


class Letterbox:
    """Converts frames to upright BGR of the first one's size; others are scaled to fit, with black bars.

    Args:
        first: the frame that sets the size.
        rotate: degrees clockwise, or ``"auto"``: as the frame says.

    Attributes:
        width: px of all frames, upright.
        height: likewise.
        rotation: degrees clockwise by which frames are turned.
    """

    def __init__(self, first: StampedFrame, rotate: Literal["auto", 0, 90, 180, 270] = "auto") -> None:
        content = first.content
        by_picture = Orientation.of(content) if isinstance(content, VideoFrame) else Orientation()
        self._orientation = by_picture if rotate == "auto" else Orientation.clockwise(rotate)
        self._stored = _square_size(first)
        self._sizes = {self._stored}
        self._converter = (
            BgrConverter(content, first.pixel_aspect, self._orientation) if isinstance(content, VideoFrame) else None
        )
        self.rotation = self._orientation.degrees_clockwise
        self.width, self.height = self._orientation.size(*self._stored)

    def fit(self, picture: StampedFrame) -> Image:
        """Pixels of one frame: uint8 (H, W, 3), BGR, contiguous.

        Raises:
            av.error.FFmpegError: its pixel format cannot be converted.
        """
        content = picture.content
        if isinstance(content, VideoFrame):
            if self._converter is None:  # a camera that gave arrays before
                self._converter = BgrConverter(content, picture.pixel_aspect, self._orientation)
            return self._converter.convert(content, picture.pixel_aspect)
        own = (content.shape[1], content.shape[0])
        if own == self._stored:
            return self._orientation.apply(content)
        left, top, width, height = fitted(own, self._stored)
        boxed = np.zeros((self._stored[1], self._stored[0], 3), np.uint8)
        boxed[top : top + height, left : left + width] = cv2.resize(
            content, (width, height), interpolation=cv2.INTER_AREA
        )
        return self._orientation.apply(boxed)

    def is_new_size(self, picture: StampedFrame) -> bool:
        """Whether no frame of this size came before."""
        size = self.size_of(picture)
        if size in self._sizes or len(self._sizes) >= _MAX_SIZES:
            return False
        self._sizes.add(size)
        return True

    @staticmethod
    def size_of(picture: StampedFrame) -> tuple[int, int]:
        """Stored width and height with square pixels."""
        return _square_size(picture)


def _square_size(picture: StampedFrame) -> tuple[int, int]:
    """Width and height with square pixels."""
    content = picture.content
    if isinstance(content, VideoFrame):
        return square_pixel_size(content, picture.pixel_aspect)
    return content.shape[1], content.shape[0]
