"""From a frame to a network's input: scaled with its aspect ratio kept, padded to a multiple of 32, planar float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from fertrack.types import FloatArray, Image, check_image

__all__ = ["Fit", "Letterbox", "fit", "letterbox"]

STRIDE = 32
"""Network inputs are multiples of this: the coarsest feature map has one cell for 32 px."""

_LARGEST_LOSS = 0.03


class Fit(NamedTuple):
    """Sizes in px: of the network's input, and of the scaled image in its upper left corner."""

    canvas_width: int
    canvas_height: int
    width: int
    height: int

    def scale(self, width: int, height: int) -> float:
        """Network px per px of the ``width`` x ``height`` image."""
        return max(self.width / width, self.height / height)


@dataclass(frozen=True, slots=True, eq=False)
class Letterbox:
    """Letterboxed image, as the network takes it.

    Attributes:
        pixels: float32 (1, 3, H, W), H and W multiples of 32.
        scale_x: network px per px of the frame, horizontally.
        scale_y: the same vertically (they differ by rounding only).
        width: px, of the frame.
        height: px, of the frame.
    """

    pixels: FloatArray
    scale_x: float
    scale_y: float
    width: int
    height: int


def fit(width: int, height: int, long_side: int) -> Fit:
    """Placement of a ``width`` x ``height`` image in an input whose longer side is ``long_side``.

    The shorter side is rounded up to a multiple of 32, except where rounding down costs at most 3 % of the scale: the
    common 16:9 image is then 640x352 rather than 640x384, for 8 % less time and faces 2 % smaller.

    >>> fit(1280, 720, 640)
    Fit(canvas_width=640, canvas_height=352, width=626, height=352)
    >>> fit(1280, 720, 320)
    Fit(canvas_width=320, canvas_height=192, width=320, height=180)
    """
    longer, shorter = max(width, height), min(width, height)
    scale = long_side / longer
    ideal = shorter * scale
    floor = int(ideal) // STRIDE * STRIDE
    if floor >= ideal * (1 - _LARGEST_LOSS):
        canvas_short, scale = floor, min(scale, floor / shorter)
    else:
        canvas_short = floor + STRIDE
    fitted_long = min(long_side, max(1, round(longer * scale)))
    fitted_short = min(canvas_short, max(1, round(shorter * scale)))
    if width >= height:
        return Fit(long_side, canvas_short, fitted_long, fitted_short)
    return Fit(canvas_short, long_side, fitted_short, fitted_long)


def letterbox(
    image: Image, long_side: int, *, rgb: bool, mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Letterbox:
    """Scale a frame into a network's input.

    Args:
        image: uint8 (H, W, 3) BGR.
        long_side: longer side of the input, px; a multiple of 32.
        rgb: channel order the network wants; False for BGR.
        mean: subtracted from each channel, in the network's channel order, 0 to 255.

    Raises:
        TypeError: not a uint8 array.
        ValueError: not (H, W, 3), or without pixels.
    """
    source = check_image("image", image)
    height, width = source.shape[:2]
    size = fit(width, height, long_side)
    # Bilinear, also when shrinking: over photographs of 1000-2000 px it finds what area averaging finds (282 and 281
    # faces at 640 px, 133 and 134 at 320), and at 720p it takes 0.4 ms rather than 3.
    scaled = cv2.resize(source, (size.width, size.height), interpolation=cv2.INTER_LINEAR)
    pixels = np.empty((1, 3, size.canvas_height, size.canvas_width), np.float32)
    pixels[:, :, size.height :, :] = pixels[:, :, : size.height, size.width :] = 0.0
    for index, plane in enumerate(cv2.split(scaled)):
        pixels[0, 2 - index if rgb else index, : size.height, : size.width] = plane
    if any(mean):
        pixels -= np.asarray(mean, np.float32)[:, None, None]
    return Letterbox(pixels, size.width / width, size.height / height, width, height)
