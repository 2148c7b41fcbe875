"""Label and colour of a face in drawn images: the same in the video, the panels and the subtitles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from fertrack.imaging.palette import person_colour
from fertrack.imaging.text import Colour, printable
from fertrack.types import NOT_READABLE, UNCERTAIN, FrameResult, label_name

__all__ = ["NO_NAMES", "NO_NUMBERS", "NumberNames", "label_text", "person_bgr"]

NO_NAMES: Mapping[int, str] = MappingProxyType({})
NO_NUMBERS: Mapping[int, int] = MappingProxyType({})


class NumberNames(Mapping[int, str]):
    """Names ``P1``, ``P2`` for every track, by its ID: who is who while nobody is known to have come back.

    >>> NumberNames()[3], NumberNames().get(12)
    ('P3', 'P12')
    """

    def __getitem__(self, track: int) -> str:
        return f"P{track}"

    def __iter__(self) -> Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 0


def person_bgr(number: int) -> Colour:
    """The colour of a person, BGR: the one that the report and the live page show them in.

    Args:
        number: of the person; of a track that is nobody's, its ID.
    """
    colour = person_colour(number)
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return blue, green, red


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
