"""Writes text of any script on an image, with the TrueType fonts that OpenCV carries.

The built-in fonts cover Latin, Cyrillic, Greek, Hebrew, Arabic and the East Asian scripts. What OpenCV does not do is
order right-to-left scripts and join letters: Hebrew and Arabic are put into visual order here, Arabic letters stay
unjoined. Letters without glyphs (Thai, Devanagari, emoji) show as question marks unless a font file that has them is
named.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = [
    "BUILT_IN_FONT",
    "Colour",
    "TextWriter",
    "contrasting",
    "is_usable_font",
    "line_height_px",
    "printable",
    "visual_order",
]

Colour = tuple[int, int, int]
"""Blue, green, red, 0 to 255."""

BUILT_IN_FONT = "sans"

_WEIGHT = 600  # one weight for everything: OpenCV rebuilds its glyphs whenever the weight changes
_UNBOUNDED = (1 << 20, 1 << 20)  # image size for measuring, so that no text is wrapped or cut
_BLACK: Colour = (0, 0, 0)
_WHITE: Colour = (255, 255, 255)
_MIRRORED = str.maketrans("()[]{}<>«»", ")(][}{><»«")


class TextWriter:
    """Text of one size in one font. Cheap to make; not to be shared between threads.

    Args:
        size_px: height of the letters above the line, px, at least 1.
        font: ``"sans"`` or the path of a TrueType file; letters it lacks come from the built-in fonts.

    Raises:
        ValueError: the font cannot be loaded.
    """

    def __init__(self, size_px: int, font: str = BUILT_IN_FONT) -> None:
        self.size_px = size_px
        self.line_px = line_height_px(size_px)
        self._face = cv2.FontFace(BUILT_IN_FONT)
        if font != BUILT_IN_FONT and not self._face.set(font):
            raise ValueError(f"font must be {BUILT_IN_FONT!r} or the path of a TrueType file, got {font!r}")

    def width_px(self, text: str) -> int:
        """Width of a line of text, px."""
        _, _, width, _ = cv2.getTextSize(_UNBOUNDED, text, (0, 0), self._face, self.size_px, _WEIGHT)
        return int(width)

    def write(self, image: npt.NDArray[Any], text: str, left: int, top: int, colour: Colour) -> None:
        """Write one line into the image; parts outside are cut off.

        Args:
            image: uint8 (H, W, 3), BGR, writable.
            text: printable, in visual order (see ``printable``, ``visual_order``).
            left: px.
            top: upper edge of the line of height ``line_px``, px.
            colour: BGR.
        """
        # The capitals' middle lies in the middle of the line.
        baseline = top + (self.line_px + round(self.size_px * 0.72)) // 2
        end = max(image.shape[1], left + self.width_px(text)) + 1  # beyond it OpenCV would start a new line
        cv2.putText(image, text, (left, baseline), colour, self._face, self.size_px, _WEIGHT, 0, (left, end))

    def shortened(self, text: str, width_px: int) -> str:
        """The text, or as much of its beginning as fits into the width, with an ellipsis."""
        if self.width_px(text) <= width_px:
            return text
        kept = text
        while kept and self.width_px(kept + "…") > width_px:
            kept = kept[:-1]
        return kept.rstrip() + "…" if kept else ""


def line_height_px(size_px: int) -> int:
    """Height of a line of letters of a size, px."""
    return round(size_px * 1.25)


def is_usable_font(font: str) -> bool:
    """Whether OpenCV can load a font: ``"sans"`` or the path of a TrueType file."""
    if font == BUILT_IN_FONT:
        return True
    return Path(font).is_file() and bool(cv2.FontFace(BUILT_IN_FONT).set(font))


def contrasting(background: Colour) -> Colour:
    """Black or white, whichever is easier to read on a colour (WCAG 2 relative luminance); contrast is at least 4.5."""
    channels = np.array(background[::-1]) / 255.0
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    # Black's contrast is (L + 0.05) / 0.05, white's is 1.05 / (L + 0.05).
    return _BLACK if (luminance + 0.05) ** 2 > 1.05 * 0.05 else _WHITE


def printable(text: str, limit: int = 32) -> str:
    r"""A name made fit for one line: no control characters or broken ones, single spaces, at most ``limit`` long.

    OpenCV crashes on lone surrogates, so nothing may be written that has not gone through here.

    >>> printable("  Anna\n\u202eMaria ")
    'Anna Maria'
    """
    kept = "".join(" " if c.isspace() else c for c in text if c.isspace() or c.isprintable())
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else kept[: limit - 1].rstrip() + "…"


def visual_order(text: str) -> str:
    """Put right-to-left runs (Hebrew, Arabic) of a line into the order in which they are drawn from left to right.

    A small part of the Unicode bidirectional algorithm (UAX 9), enough for names: the line runs left to right; a run
    from the first to the last right-to-left letter is reversed, words and numbers of other scripts within it are not.
    Vowel marks of right-to-left letters are left out, since they could not be placed.
    """
    directions = [unicodedata.bidirectional(c) for c in text]
    if "R" not in directions and "AL" not in directions:
        return text
    pieces: list[str] = []
    start = 0
    while start < len(text):
        end = _run_end(text, directions, start)
        pieces.append(_reversed_run(text[start:end], directions[start:end]) if end > start else text[start])
        start = max(end, start + 1)
    return "".join(pieces)


def _run_end(text: str, directions: list[str], start: int) -> int:
    """End of the right-to-left run that begins at ``start``; ``start`` itself if none does."""
    end = start
    if directions[start] not in ("R", "AL"):
        return end
    for i in range(start, len(directions)):
        if directions[i] in ("R", "AL", "NSM"):
            end = i + 1
        elif directions[i] == "L":
            break
    # A bracket that closes one of the run belongs to it.
    if end < len(text) and text[end] in ")]}" and text[end].translate(_MIRRORED) in text[start:end]:
        end += 1
    return end


def _reversed_run(run: str, directions: list[str]) -> str:
    pieces: list[str] = []
    for character, direction in zip(run, directions, strict=True):
        if direction == "NSM":
            continue
        if direction in ("EN", "AN") and pieces and pieces[-1][-1].isdigit():
            pieces[-1] += character  # digits of a number keep their order
        else:
            pieces.append(character.translate(_MIRRORED))
    return "".join(reversed(pieces))
