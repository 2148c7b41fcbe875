"""Two clocks brought together: a file's times moved, and stretched where two pairs of times say so.

One pair of a marker and its time in the video shifts all times; two pairs also stretch them, since clocks of two
devices drift apart by some millionths; more are fitted by least squares. The drift is told in parts per million.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fertrack.errors import TableError
from fertrack.imports.event import Event

__all__ = ["MAX_DRIFT_PPM", "Clock", "synchronised"]

MAX_DRIFT_PPM = 2000.0
"""Clocks that drift apart faster (7 s an hour) are no clocks: a marker was taken for another."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Mapping of a file's times to times of the video: ``time * stretch + offset_s``.

    Attributes:
        offset_s: seconds added.
        stretch: factor, close to 1.
        residual_s: root mean square of what remains between the pairs it was fitted to, seconds.
    """

    offset_s: float = 0.0
    stretch: float = 1.0
    residual_s: float = 0.0

    @property
    def drift_ppm(self) -> float:
        """By how much the file's clock runs too slowly, parts per million."""
        return (self.stretch - 1.0) * 1e6

    def moved(self, event: Event) -> Event:
        """The event at its time in the video."""
        end_s = None if event.end_s is None else event.end_s * self.stretch + self.offset_s
        return replace(event, time_s=event.time_s * self.stretch + self.offset_s, end_s=end_s)

    def sentence(self) -> str:
        """Sentence about the mapping, for people; empty if it changes nothing.

        >>> Clock(2.5, 1.00002).sentence()
        'times moved by +2.500 s, drift +20.0 ppm'
        """
        if self == Clock():
            return ""
        drift = "" if self.stretch == 1.0 else f", drift {self.drift_ppm:+.1f} ppm"
        rest = f", {self.residual_s * 1000:.0f} ms left over" if self.residual_s else ""
        return f"times moved by {self.offset_s:+.3f} s{drift}{rest}"


def synchronised(events: Sequence[Event], pairs: Sequence[tuple[str, float]]) -> Clock:
    """The clock that brings markers to their known times in the video.

    Args:
        events: the file's events.
        pairs: label of a marker, and when it is in the video, seconds. A label that stands several times is taken in
            order: its first pair for its first event, and so on.

    Raises:
        TableError: there is no such marker, or the pairs contradict each other.
    """
    theirs, ours = [], []
    used: dict[str, int] = {}
    for label, time_s in pairs:
        found = [event.time_s for event in events if event.label == label]
        at = used.get(label, 0)
        if at >= len(found):
            labels = ", ".join(repr(name) for name in list(dict.fromkeys(event.label for event in events))[:10])
            raise TableError(
                f"--sync {label}={time_s:g}: the file has {len(found)} of these; there are {labels or 'none'}"
            )
        used[label] = at + 1
        theirs.append(found[at])
        ours.append(time_s)
    if not pairs:
        return Clock()
    if len(set(theirs)) < 2:
        return Clock(float(np.mean(np.subtract(ours, theirs))))
    stretch, offset_s = (float(value) for value in np.polyfit(theirs, ours, 1))
    clock = Clock(offset_s, stretch)
    if abs(clock.drift_ppm) > MAX_DRIFT_PPM:
        raise TableError(
            f"--sync: these times would need a clock that drifts by {clock.drift_ppm:+.0f} ppm: is each marker the "
            "right one, and its time in seconds of the video?"
        )
    left = np.subtract(ours, np.multiply(theirs, stretch) + offset_s)
    residual_s = float(np.sqrt(np.mean(left**2)))
    return replace(clock, residual_s=residual_s if residual_s > 5e-7 else 0.0)
