"""Label and colour of a track in drawn images: the same in the video, the panels and the subtitles."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from types import MappingProxyType

from fertrack.imaging.text import Colour, printable
from fertrack.types import NOT_READABLE, UNCERTAIN, FrameResult, label_name

__all__ = ["NO_NAMES", "label_text", "track_colour"]

NO_NAMES: Mapping[int, str] = MappingProxyType({})

# Steps of the golden angle (as a share of a turn) keep the hues of neighbouring IDs far apart; lightness tells apart
# those that come close again after 5 and 8 steps.
_GOLDEN_ANGLE_TURN = 0.381966
_LIGHTNESS = (0.62, 0.54, 0.74)


def track_colour(track_id: int) -> Colour:
    """The colour of a track, BGR: strong, and unlike those of the neighbouring IDs."""
    red, green, blue = colorsys.hls_to_rgb((track_id * _GOLDEN_ANGLE_TURN) % 1.0, _LIGHTNESS[track_id % 3], 0.9)
    return round(255 * blue), round(255 * green), round(255 * red)


def label_text(result: FrameResult, row: int, names: Mapping[int, str] = NO_NAMES) -> str:
    """Name or ID, expression and smoothed probability, e.g. ``ID 3 happiness 0.82``, in logical order.

    A name replaces the ID if any of it can be printed. ``uncertain`` comes with the best expression's probability;
    ``not readable`` without one.
    """
    track_id, label = int(result.track_ids[row]), int(result.labels[row])
    who = printable(names.get(track_id, "")) or f"ID {track_id}"
    if label == NOT_READABLE:
        return f"{who} {label_name(label)}"
    probability = result.smoothed[row].max() if label == UNCERTAIN else result.smoothed[row, label]
    return f"{who} {label_name(label)} {float(probability):.2f}"
