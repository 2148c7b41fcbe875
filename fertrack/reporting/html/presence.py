"""Presence of each person in view, as segments and the gaps between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fertrack.reporting.html.persons import Person
from fertrack.types import Float64Array

__all__ = ["Presence", "Stretch", "presence_of", "stretch_rows", "union"]

_ROUNDING_S = 1e-6

Spans = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Presence:
    """Times at which a person, or anybody, was seen.

    Attributes:
        label: who; "anybody" for all together.
        seen: start and end of each unbroken stretch, s.
        gaps: start and end of each time between two of them, s.
    """

    label: str
    seen: Spans
    gaps: Spans

    @property
    def seen_s(self) -> float:
        """Time seen, seconds."""
        return sum(end - start for start, end in self.seen)

    @property
    def longest_gap(self) -> tuple[float, float] | None:
        """The longest of the gaps, or None."""
        return max(self.gaps, key=lambda gap: gap[1] - gap[0], default=None)


@dataclass(frozen=True, slots=True)
class Stretch:
    """One time during which a person was seen without a longer break.

    Attributes:
        label: who.
        start_s: when it begins, s.
        end_s: when it ends, s.
        gap_s: how long the person is not seen then, s; 0 after the last one.
    """

    label: str
    start_s: float
    end_s: float
    gap_s: float


def stretch_rows(persons: Sequence[Presence]) -> list[Stretch]:
    """The same as rows of a table, person after person."""
    rows = []
    for person in persons:
        gap_after = {start: end - start for start, end in person.gaps}
        rows += [Stretch(person.label, start, end, gap_after.get(end, 0.0)) for start, end in person.seen]
    return rows


def presence_of(persons: Sequence[Person], start_s: float, end_s: float) -> tuple[Presence, list[Presence]]:
    """Presence between two moments, of anybody and of each person.

    The gaps of *anybody* include the time before the first and after the last face.
    """
    each = []
    for person in persons:
        spans = _spans(person.seen["start_s"].to_numpy(np.float64), person.seen["end_s"].to_numpy(np.float64))
        each.append(Presence(person.label, spans, _between(spans)))
    everybody = union([span for one in each for span in one.seen])
    around = [(start_s, start_s), *everybody, (end_s, end_s)]
    return Presence("anybody", everybody, _between(around)), each


def union(spans: Spans) -> Spans:
    """The same time without overlaps, in order.

    >>> union([(2.0, 3.0), (0.0, 1.0), (0.5, 1.5)])
    [(0.0, 1.5), (2.0, 3.0)]
    """
    joined: Spans = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + _ROUNDING_S:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _spans(starts: Float64Array, ends: Float64Array) -> Spans:
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _between(spans: Spans) -> Spans:
    return [(before[1], after[0]) for before, after in pairwise(spans) if after[0] - before[1] > _ROUNDING_S]
