"""Algebra of time segments: found in rows, joined over gaps, clipped, overlapped, summed up. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from fertrack.types import EXPRESSIONS, UNCERTAIN, BoolArray, Float64Array, IntArray

__all__ = ["Segments", "unbroken"]

_ROUNDING_S = 1e-9
"""A gap of exactly the longest allowed must not depend on how its two times were rounded."""


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Segments of time, each of one group and one label. E of them.

    A group is whatever they are told apart by: a track, a person, a run. Where only times matter (``plain``), labels
    are *uncertain* and what is measured from frames is 0.

    Attributes:
        group: int64 (E,).
        label: int64 (E,), index into ``EXPRESSIONS`` or -1.
        start_s: (E,), when the first frame is shown.
        end_s: (E,), when the last frame stops being shown.
        first_frame: int64 (E,), index of the first frame.
        frames: int64 (E,), frames with the label.
        apex_s: (E,), when the first frame of the highest probability is shown.
        mean: (E,), mean probability over the frames with the label.
        peak: (E,), highest.
        certain_s: (E,), time with the label.
        uncertain_s: (E,), time of the gaps joined over in which the label was *uncertain*; the rest is without a face.
    """

    group: IntArray
    label: IntArray
    start_s: Float64Array
    end_s: Float64Array
    first_frame: IntArray
    frames: IntArray
    apex_s: Float64Array
    mean: Float64Array
    peak: Float64Array
    certain_s: Float64Array
    uncertain_s: Float64Array

    @classmethod
    def of(
        cls,
        *,
        group: IntArray,
        label: IntArray,
        frame: IntArray,
        start_s: Float64Array,
        end_s: Float64Array,
        probability: Float64Array,
    ) -> Segments:
        """Unbroken segments of N rows in which a group kept one label, *uncertain* included; by group, then by time.

        Args:
            group: (N,).
            label: (N,), index into ``EXPRESSIONS`` or -1.
            frame: (N,), index of each row's frame.
            start_s: (N,), when it is shown.
            end_s: (N,), when it stops being shown.
            probability: (N,), of the label.
        """
        if not len(group):
            return cls.concatenated([])
        order = np.lexsort((start_s, group))
        group, label, frame = group[order], label[order], frame[order]
        start_s, end_s, probability = start_s[order], end_s[order], probability[order]
        first = _firsts((np.diff(group) != 0) | (np.diff(label) != 0) | (start_s[1:] - end_s[:-1] > _ROUNDING_S))
        last = np.append(first[1:], len(group)) - 1
        frames = last - first + 1
        peak = np.maximum.reduceat(probability, first)
        return cls(
            group=group[first],
            label=label[first],
            start_s=start_s[first],
            end_s=end_s[last],
            first_frame=frame[first],
            frames=frames,
            apex_s=start_s[_first_peak(probability, peak, frames)],
            mean=np.add.reduceat(probability, first) / frames,
            peak=peak,
            certain_s=end_s[last] - start_s[first],
            uncertain_s=np.zeros(len(first)),
        )

    @classmethod
    def plain(cls, group: IntArray, start_s: Float64Array, end_s: Float64Array) -> Segments:
        """Segments of which only group and time are known."""
        ints, floats = np.zeros(len(group), np.int64), np.zeros(len(group))
        unknown = np.full(len(group), UNCERTAIN, np.int64)
        return cls(group, unknown, start_s, end_s, ints, ints, start_s, floats, floats, end_s - start_s, floats)

    @classmethod
    def concatenated(cls, parts: Sequence[Segments]) -> Segments:
        """All of them, one after another."""
        if not parts:
            ints, floats = np.empty(0, np.int64), np.empty(0, np.float64)
            return cls.plain(ints, floats, floats)
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))

    def __len__(self) -> int:
        return len(self.group)

    @property
    def duration_s(self) -> Float64Array:
        """Time from start to end, (E,), seconds."""
        return self.end_s - self.start_s

    def select(self, rows: BoolArray | npt.NDArray[np.intp] | slice) -> Segments:
        """Some of them."""
        return Segments(*(getattr(self, each.name)[rows] for each in fields(self)))

    def regrouped(self, group: IntArray) -> Segments:
        """The same, told apart by something else; ``group`` is int64 (E,)."""
        return replace(self, group=group)

    def lasting(self, min_duration_s: float) -> Segments:
        """Those of at least that duration."""
        return self.select(self.duration_s >= min_duration_s - _ROUNDING_S)

    def joined(self, max_gap_s: float) -> Segments:
        """Episodes: segments of each group and expression joined where they lie close enough together.

        Time in which a group is *uncertain* or not seen interrupts an episode for up to ``max_gap_s``; another
        expression ends it at once. *Uncertain* itself makes no episodes.
        """
        order = np.lexsort((self.start_s, self.group))
        uncertain = self.label[order] == UNCERTAIN
        uncertain_before_s = np.cumsum(np.where(uncertain, self.duration_s[order], 0.0))[~uncertain]
        order = order[~uncertain]
        if not len(order):
            return Segments.concatenated([])
        rows = self.select(order)
        gaps_s = rows.start_s[1:] - rows.end_s[:-1]
        first = _firsts((np.diff(rows.group) != 0) | (np.diff(rows.label) != 0) | (gaps_s > max_gap_s + _ROUNDING_S))
        last = np.append(first[1:], len(order)) - 1
        frames = np.add.reduceat(rows.frames, first)
        peak = np.maximum.reduceat(rows.peak, first)
        return Segments(
            group=rows.group[first],
            label=rows.label[first],
            start_s=rows.start_s[first],
            end_s=np.maximum.reduceat(rows.end_s, first),
            first_frame=rows.first_frame[first],
            frames=frames,
            apex_s=rows.apex_s[_first_peak(rows.peak, peak, last - first + 1)],
            mean=np.add.reduceat(rows.mean * rows.frames, first) / frames,
            peak=peak,
            certain_s=np.add.reduceat(rows.certain_s, first),
            uncertain_s=uncertain_before_s[last] - uncertain_before_s[first],
        )

    def closed(self, max_gap_s: float = 0.0) -> Segments:
        """Each group's time, whatever the label, with gaps up to ``max_gap_s`` filled; by group, then by time.

        None overlap, even where those of a group did, as of a person whose two tracks did; they are ``plain``.
        """
        order, part = unbroken(self.group, self.start_s, self.end_s, max_gap_s)
        if not len(order):
            return Segments.concatenated([])
        first = _firsts(np.diff(part) != 0)
        end_s = np.maximum.reduceat(self.end_s[order], first)
        return Segments.plain(self.group[order[first]], self.start_s[order[first]], end_s)

    def gaps(self) -> Segments:
        """Time between one segment of a group and its next; ``plain``. They must be ordered, without overlaps."""
        start_s, end_s = self.end_s[:-1], self.start_s[1:]
        between = (np.diff(self.group) == 0) & (end_s - start_s > _ROUNDING_S)
        return Segments.plain(self.group[1:][between], start_s[between], end_s[between])

    def clipped(self, from_s: float, to_s: float) -> Segments:
        """Parts of them between two moments; what was measured from frames stays as it was."""
        start_s, end_s = np.maximum(self.start_s, from_s), np.minimum(self.end_s, to_s)
        return replace(self, start_s=start_s, end_s=end_s).select(end_s > start_s)

    def overlapping(self, count: int, among: IntArray) -> Segments:
        """When at least ``count`` of them hold at the same time.

        Args:
            count: 1 or more.
            among: int64 (E,), such as the run of each: only those of the same value count together.

        Returns:
            ``plain`` ones, whose group is the value of ``among``. Segments of one group must not overlap.
        """
        among = np.concatenate([among, among])
        time_s = np.concatenate([self.start_s, self.end_s])
        step = np.repeat([1, -1], len(self))
        # Starts before ends of the same time, so that segments that touch make one; ends are rounded to starts nearby.
        order = np.lexsort((-step, np.round(time_s, 9), among))
        among, time_s, step = among[order], time_s[order], step[order]
        held = np.cumsum(step)  # back at 0 after every value of ``among``
        begins = np.flatnonzero((held >= count) & (held - step < count))
        ends = np.flatnonzero((held < count) & (held - step >= count))
        found = Segments.plain(among[begins], time_s[begins], time_s[ends])
        return found.select(found.duration_s > _ROUNDING_S)

    def seconds_by_label(self, groups: int, counted_s: Float64Array | None = None) -> Float64Array:
        """Time per group and label; groups are 0 to ``groups`` - 1.

        Args:
            groups: their number, G.
            counted_s: (E,), how much of each counts, seconds; all of it if None.

        Returns:
            (G, 8), seconds; the columns are ``EXPRESSIONS``, then uncertain.
        """
        return self._by_label(groups, self.duration_s if counted_s is None else counted_s)

    def measure(self, start_s: Float64Array, end_s: Float64Array) -> Float64Array:
        """Time of N other intervals that lies within these, (N,), seconds. These must be ordered, without overlaps."""
        if not len(self):
            return np.zeros(len(start_s))
        borders = np.column_stack([self.start_s, self.end_s]).ravel()
        before_s = np.column_stack([np.cumsum(self.duration_s) - self.duration_s, np.cumsum(self.duration_s)]).ravel()
        within: Float64Array = np.interp(end_s, borders, before_s) - np.interp(start_s, borders, before_s)
        return within

    def holds(self, time_s: Float64Array) -> BoolArray:
        """Whether each of N moments lies within one of these, (N,). These must be ordered, without overlaps."""
        if not len(self):
            return np.zeros(len(time_s), bool)
        row = np.searchsorted(self.start_s, time_s + _ROUNDING_S, side="right") - 1
        inside: BoolArray = (row >= 0) & (time_s < self.end_s[row] - _ROUNDING_S)
        return inside

    def label_shares(self, groups: int) -> Float64Array:
        """Shares of each group's time, as ``seconds_by_label``; of its frames where no time passes, as in an image."""
        no_time = not self.duration_s.any()
        summed = self._by_label(groups, self.frames.astype(np.float64) if no_time else self.duration_s)
        totals = summed.sum(axis=1, keepdims=True)
        shares: Float64Array = np.divide(summed, totals, out=np.zeros_like(summed), where=totals > 0.0)
        return shares

    def _by_label(self, groups: int, weights: Float64Array) -> Float64Array:
        columns = len(EXPRESSIONS) + 1
        column = np.where(self.label == UNCERTAIN, len(EXPRESSIONS), self.label)
        summed = np.bincount(self.group * columns + column, weights=weights, minlength=groups * columns)
        return summed.astype(np.float64).reshape(groups, columns)


def unbroken(
    group: IntArray, start_s: Float64Array, end_s: Float64Array, max_gap_s: float
) -> tuple[npt.NDArray[np.intp], IntArray]:
    """Order of N rows by group and time, and the unbroken time, counted from 0, that each so ordered row belongs to.

    A time is broken where a group has no row for longer than ``max_gap_s``.
    """
    order = np.lexsort((start_s, group))
    if not len(order):
        return order, np.empty(0, np.int64)
    who, start_s, end_s = group[order], start_s[order], end_s[order]
    anew = np.diff(who) != 0
    # The furthest end so far within a group: times of one group can overlap where people joined two tracks.
    place = np.concatenate([[0], np.cumsum(anew)])
    by_end = np.argsort(end_s, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[by_end] = np.arange(len(order))
    reached_s = end_s[by_end][np.maximum.accumulate(rank + place * len(order)) - place * len(order)]
    broken = anew | (start_s[1:] - reached_s[:-1] > max_gap_s + _ROUNDING_S)
    return order, np.concatenate([[0], np.cumsum(broken)]).astype(np.int64)


def _firsts(breaks: BoolArray) -> npt.NDArray[np.intp]:
    """Index of the first of each part, given where a new one begins after each but the last of all."""
    return np.concatenate([[0], np.flatnonzero(breaks) + 1]).astype(np.intp)


def _first_peak(values: Float64Array, peak: Float64Array, counts: IntArray) -> npt.NDArray[np.intp]:
    """Index of the first value that reaches its group's peak; groups are ``counts`` values each, one after another."""
    group = np.repeat(np.arange(len(counts)), counts)
    at_peak = np.flatnonzero(values == peak[group])
    _, first = np.unique(group[at_peak], return_index=True)
    return at_peak[first]
