"""Finds hard cuts, where one shot ends and another begins, so that no track is carried across.

Stateless half: ``signature`` shrinks an image to a few hundred numbers, a luma thumbnail and a colour histogram.
Stateful half: ``CutDetector`` compares each signature with the one before. A cut changes both where things are
(correlation of the thumbnails, after the best small shift, so that a pan is not taken for a cut) and which colours
there are, by clearly more than the video's own motion did lately. Gain and offset of the light drop out of the
correlation, so a flash or a lamp switched on is no cut; black images are passed over, and the images before and
after them compared. A single odd image (a glitch, a dropped block) is told from a cut by the image after it, which
is why a suspected cut, and only that, is decided one frame later. Dissolves and fades between shots are not detected.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from fertrack.pipeline.config import ShotConfig
from fertrack.types import FloatArray, FrameFaces, Image

__all__ = ["SIGNATURE_LENGTH", "CutDetector", "Difference", "difference", "signature"]

_THUMB_W, _THUMB_H = 16, 9
_CELLS = _THUMB_W * _THUMB_H
_BINS = (16, 4, 4)
"""Bins of Y, Cr, Cb: fine in luma, because two dark shots differ in little else."""
_FULL = (0.0, 256.0)

SIGNATURE_LENGTH = _CELLS + _BINS[0] * _BINS[1] * _BINS[2]
"""Numbers in one signature."""

_HALF_W, _HALF_H = 128, 72
_SHIFTS = tuple(product(range(-1, 2), range(-2, 3)))
"""Shifts (rows, columns) of the thumbnail that a pan between two images may have caused."""

_FLAT = 3.0 / 255
"""Standard deviation of a thumbnail under which an image (black, white, a fade) says nothing about its shot."""
_MIN_STRUCTURE = 0.25
_MIN_COLOUR = 0.1
_MIN_CHANGE = 4.0 / 255
_HISTORY = 12
"""Differences remembered to know what is usual in this video at this moment."""
_ENOUGH = 5
"""Differences from which on what is usual is believed."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of two images.

    Attributes:
        structure: 1 - correlation of the luma thumbnails after the best small shift; 0 to 2.
        colour: share of the pixels whose colours the other image has not; 0 to 1.
        change: mean absolute difference of luma without shift, 0 to 1.
    """

    structure: float
    colour: float
    change: float

    @property
    def total(self) -> float:
        """Difference that is compared with the threshold."""
        return self.structure + self.colour


def signature(image: Image) -> FloatArray:
    """Signature of an image for the cut detector. Stateless; about 0.1 ms for 720p.

    Args:
        image: uint8 (H, W, 3), BGR.

    Returns:
        float32 (SIGNATURE_LENGTH,): a 16 x 9 luma thumbnail, 0 to 1, row by row, then a Y x Cr x Cb histogram that
        sums to 1.
    """
    # Bilinear first: it touches only the few pixels it needs, where averaging all of them would take ten times longer.
    small = cv2.resize(image, (_HALF_W, _HALF_H), interpolation=cv2.INTER_LINEAR)
    ycc = cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb)
    thumb = cv2.resize(ycc, (_THUMB_W, _THUMB_H), interpolation=cv2.INTER_AREA)[:, :, 0]
    histogram = cv2.calcHist([ycc], [0, 1, 2], None, list(_BINS), [*_FULL, *_FULL, *_FULL])
    return np.concatenate(
        [thumb.astype(np.float32).ravel() / np.float32(255), histogram.ravel() / np.float32(_HALF_W * _HALF_H)]
    )


def difference(before: FloatArray, after: FloatArray) -> Difference:
    """Compare two signatures; symmetric.

    Args:
        before: float32 (SIGNATURE_LENGTH,).
        after: the same.
    """
    a, b = before[:_CELLS].reshape(_THUMB_H, _THUMB_W), after[:_CELLS].reshape(_THUMB_H, _THUMB_W)
    structure = 1.0 - _correlation(a, b)
    if structure > _MIN_STRUCTURE / 2:  # the shifts cost more than all the rest, and most frames do not need them
        structure = 1.0 - max(_correlation(*_overlapping(a, b, rows, columns)) for rows, columns in _SHIFTS)
    colour = float(np.abs(before[_CELLS:] - after[_CELLS:]).sum() / 2)
    return Difference(structure, colour, float(np.abs(a - b).mean()))


class CutDetector:
    """Marks the first frame of every shot but the first. Frames pass through it in order.

    Args:
        config: threshold, and whether to search for cuts at all.

    Example:
        >>> detector = CutDetector(ShotConfig())
        >>> detector.push(FrameFaces(0, 0.0, Faces.empty(), signature=signature(frame)))  # doctest: +SKIP
        [(FrameFaces(...), False)]
    """

    def __init__(self, config: ShotConfig | None = None) -> None:
        self.config = config or ShotConfig()
        self._reference: FrameFaces | None = None  # the last image that said anything
        self._suspect: FrameFaces | None = None  # perhaps the first of a new shot; not handed on yet
        self._usual: deque[float] = deque(maxlen=_HISTORY)
        self._steps_s: deque[float] = deque(maxlen=_HISTORY)

    def push(self, analysed: FrameFaces) -> list[tuple[FrameFaces, bool]]:
        """Take the next frame.

        A frame without a signature is never a cut.

        Args:
            analysed: a frame, later than the one before.

        Returns:
            The frames about which it is settled now whether a new shot begins with them, in order: mostly just this
            one; none while a cut is suspected; two when that is resolved.
        """
        if not self.config.enabled or not _says_anything(analysed):
            return [*self.flush(), (analysed, False)]
        if self._suspect is not None:
            return self._resolve(self._suspect, analysed)
        return self._judge(analysed)

    def flush(self) -> list[tuple[FrameFaces, bool]]:
        """The frame still waiting when the video ends, if any; there, a cut cannot be told from a glitch."""
        suspect, self._suspect = self._suspect, None
        return [] if suspect is None else [(suspect, False)]

    def _judge(self, analysed: FrameFaces) -> list[tuple[FrameFaces, bool]]:
        reference = self._reference
        if reference is not None:
            found = difference(reference.signature, analysed.signature)
            if self._stands_out(found, analysed.timestamp_s - reference.timestamp_s):
                self._suspect = analysed
                return []
            self._remember(found.total, analysed.timestamp_s - reference.timestamp_s)
        self._reference = analysed
        return [(analysed, False)]

    def _resolve(self, suspect: FrameFaces, analysed: FrameFaces) -> list[tuple[FrameFaces, bool]]:
        """Is the suspect the first frame of a shot that goes on, or unlike the frames on both sides of it?"""
        since_s = analysed.timestamp_s - suspect.timestamp_s
        found = difference(suspect.signature, analysed.signature)
        odd = self._stands_out(found, since_s)
        self._remember(found.total, since_s)
        self._suspect = None
        if odd:
            return [(suspect, False), *self._judge(analysed)]  # against the frame before the suspect
        self._reference = analysed
        return [(suspect, True), (analysed, False)]

    def _stands_out(self, found: Difference, step_s: float) -> bool:
        return (
            found.structure >= _MIN_STRUCTURE
            and found.colour >= _MIN_COLOUR
            and found.change >= _MIN_CHANGE
            and found.total - self._expected(step_s) >= self.config.threshold
        )

    def _expected(self, step_s: float) -> float:
        """Usual difference of two images of one shot that far apart in time."""
        usual = float(np.median(self._usual)) if self._usual else 0.0
        known = len(self._usual) >= _ENOUGH and step_s <= 1.5 * float(np.median(self._steps_s))
        # Not known: early in the video, or after dropped frames. People and cameras move for about a second before
        # nothing is where it was: 0.04 after a frame at 25 fps, 0.17 after 0.2 s, 0.43 after 1 s.
        return usual if known else max(usual, 0.5 * (1.0 - float(np.exp(-max(step_s, 0.0) / 0.5))))

    def _remember(self, total: float, step_s: float) -> None:
        self._usual.append(total)
        self._steps_s.append(step_s)


def _says_anything(analysed: FrameFaces) -> bool:
    return len(analysed.signature) == SIGNATURE_LENGTH and float(analysed.signature[:_CELLS].std()) >= _FLAT


def _correlation(a: FloatArray, b: FloatArray) -> float:
    """Pearson's; 0 where one side is constant, as its correlation with anything is not defined."""
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt(np.vdot(a, a) * np.vdot(b, b)))
    return float(np.vdot(a, b)) / scale if scale > 1e-9 else 0.0


def _overlapping(a: FloatArray, b: FloatArray, rows: int, columns: int) -> tuple[FloatArray, FloatArray]:
    """The parts of two thumbnails that show the same if ``b`` is ``a`` moved by so many rows and columns."""

    def part(side: FloatArray, down: int, right: int) -> FloatArray:
        height, width = side.shape
        return side[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]

    return part(a, rows, columns), part(b, -rows, -columns)
