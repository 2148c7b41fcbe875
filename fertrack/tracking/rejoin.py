"""Gives a track that has just been confirmed the ID of one that was lost before it began, judged by motion and size.

A face that is covered for a second comes back somewhere near, but rarely where a straight line would have it. Its first
detection alone says little; four of them in a row say where it comes from. So the decision is taken when the new track
is confirmed: it continues a lost one if both, moved towards each other at their mean velocity, meet within a distance
that grows with the time in between. (Joining tracklets by motion and appearance in a second stage is the idea of many
trackers, among them StrongSORT, arXiv 2202.13514, section 3.4; here it is causal and uses motion and size only.)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from fertrack.types import BoolArray, Float64Array, IntArray

__all__ = ["Ends", "rejoin"]

_REACH = 1.3
"""How far apart the two may meet, in widths and heights of the face, after no time; grows by the same each second."""
_SIZE, _SIZE_PER_S = 0.25, 0.3
"""Logarithm of the ratio of their sizes that is as unlikely as being that far apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Where tracks end, or begin; one entry each.

    Attributes:
        key: int64 (N,), what ``TrackUpdate.keys`` calls them.
        id: int64 (N,), public IDs; -1 for those that begin.
        time_s: float64 (N,), of the last, or first, detection.
        centre: float64 (N, 2), of that detection, px.
        size: float64 (N, 2), its width and height, px.
        velocity: float64 (N, 2), of the centre, px a second.
    """

    key: IntArray
    id: IntArray
    time_s: Float64Array
    centre: Float64Array
    size: Float64Array
    velocity: Float64Array

    def __len__(self) -> int:
        return len(self.id)

    def plus(self, other: Ends) -> Ends:
        """Both together."""
        return Ends(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in _COLUMNS))

    def since(self, time_s: float) -> Ends:
        """Those not before a time."""
        return self._at(self.time_s >= time_s)

    def without(self, ids: Collection[int]) -> Ends:
        """Those of other tracks than these."""
        return self._at(~np.isin(self.id, list(ids)))

    def _at(self, kept: BoolArray) -> Ends:
        return self if kept.all() else Ends(*(getattr(self, name)[kept] for name in _COLUMNS))

    @classmethod
    def none(cls) -> Ends:
        """Of no track."""
        return cls(
            np.empty(0, np.int64),
            np.empty(0, np.int64),
            np.empty(0),
            np.empty((0, 2)),
            np.empty((0, 2)),
            np.empty((0, 2)),
        )


_COLUMNS = ("key", "id", "time_s", "centre", "size", "velocity")


def rejoin(lost: Ends, begun: Ends, within_s: float, apart: BoolArray | None = None) -> list[tuple[int, int]]:
    """Find which lost track each new one continues.

    Args:
        lost: ends of lost tracks.
        begun: beginnings of tracks confirmed now.
        within_s: longest time between the two.
        apart: bool (L, B), pairs that are ruled out; None: none are.

    Returns:
        Pairs (row of ``lost``, row of ``begun``), the likeliest first, each row at most once.
    """
    if not len(lost) or not len(begun):
        return []
    gap_s = begun.time_s - lost.time_s[:, None]
    size = np.sqrt(lost.size[:, None] * begun.size)
    velocity = (lost.velocity[:, None] + begun.velocity) / 2
    with np.errstate(all="ignore"):
        off = (begun.centre - lost.centre[:, None] - velocity * gap_s[:, :, None]) / size
        scaling = np.log(begun.size.prod(axis=1) / lost.size.prod(axis=1)[:, None]) / 2
        cost = (off**2).sum(axis=2) / (_REACH * (1.0 + gap_s)) ** 2 + (scaling / (_SIZE + _SIZE_PER_S * gap_s)) ** 2
    cost[~((gap_s > 0.0) & (gap_s <= within_s) & (cost <= 1.0))] = np.inf
    if apart is not None:
        cost[apart] = np.inf
    pairs: list[tuple[int, int]] = []
    while np.isfinite(cost).any():
        row, column = np.unravel_index(int(cost.argmin()), cost.shape)
        pairs.append((int(row), int(column)))
        cost[row], cost[:, column] = np.inf, np.inf
    return pairs
