"""Segments of one label: found in a track's rows, and joined to episodes of persons. Arrays only."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from fertrack.types import UNCERTAIN, BoolArray, Float64Array, IntArray

__all__ = ["JoinedEpisodes", "Stretches", "find_stretches", "join_episodes"]

_ROUNDING_S = 1e-9
"""A gap of exactly the longest allowed must not depend on how its two times were rounded."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Frames of one track without a gap in which it kept one label, *uncertain* included. E of them.

    Attributes:
        track: int64 (E,); whatever the rows were grouped by.
        first_frame: int64 (E,), index of the first frame.
        label: int64 (E,), index into ``EXPRESSIONS`` or -1.
        frames: int64 (E,).
        start_s: (E,), when the first frame is shown.
        apex_s: (E,), when the first frame of the highest probability is shown.
        end_s: (E,), when the last frame stops being shown.
        mean: (E,), mean probability.
        peak: (E,), highest probability.
    """

    track: IntArray
    first_frame: IntArray
    label: IntArray
    frames: IntArray
    start_s: Float64Array
    apex_s: Float64Array
    end_s: Float64Array
    mean: Float64Array
    peak: Float64Array

    def __len__(self) -> int:
        return len(self.track)

    @classmethod
    def empty(cls) -> Stretches:
        """None."""
        ints, floats = np.empty(0, np.int64), np.empty(0, np.float64)
        return cls(ints, ints, ints, ints, floats, floats, floats, floats, floats)

    def select(self, rows: BoolArray | npt.NDArray[np.intp]) -> Stretches:
        """Some of them."""
        return Stretches(*(getattr(self, field.name)[rows] for field in fields(self)))


def find_stretches(
    *,
    track: IntArray,
    frame_index: IntArray,
    label: IntArray,
    start_s: Float64Array,
    end_s: Float64Array,
    probability: Float64Array,
) -> Stretches:
    """Segments of N rows, by track and then by time.

    Args:
        track: (N,).
        frame_index: (N,).
        label: (N,), index into ``EXPRESSIONS`` or -1.
        start_s: (N,), when each row's frame is shown.
        end_s: (N,), when it stops being shown.
        probability: (N,).
    """
    if not len(track):
        return Stretches.empty()
    order = np.lexsort((start_s, track))
    track, frame_index, label = track[order], frame_index[order], label[order]
    start_s, end_s, probability = start_s[order], end_s[order], probability[order]
    breaks = (np.diff(track) != 0) | (np.diff(label) != 0) | (start_s[1:] - end_s[:-1] > _ROUNDING_S)
    first = np.concatenate(([0], np.flatnonzero(breaks) + 1))
    last = np.append(first[1:], len(track)) - 1
    frames = last - first + 1
    peak = np.maximum.reduceat(probability, first)
    return Stretches(
        track=track[first],
        first_frame=frame_index[first],
        label=label[first],
        frames=frames,
        start_s=start_s[first],
        apex_s=start_s[_first_peak(probability, peak, frames)],
        end_s=end_s[last],
        mean=np.add.reduceat(probability, first) / frames,
        peak=peak,
    )


@dataclass(frozen=True, slots=True, eq=False)
class JoinedEpisodes:
    """Segments of one subject and one expression, joined over gaps; by subject and then by time. K of them.

    Attributes:
        subject: int64 (K,).
        label: int64 (K,), index into ``EXPRESSIONS``.
        onset_s: (K,), start of the first stretch.
        apex_s: (K,), when the highest probability is reached first.
        offset_s: (K,), end of the last stretch.
        certain_s: (K,), time with the label.
        uncertain_s: (K,), time of the gaps in which the label was *uncertain*; the rest is without a face.
        frames: int64 (K,), frames with the label.
        mean: (K,), mean probability over these frames.
        peak: (K,), highest.
    """

    subject: IntArray
    label: IntArray
    onset_s: Float64Array
    apex_s: Float64Array
    offset_s: Float64Array
    certain_s: Float64Array
    uncertain_s: Float64Array
    frames: IntArray
    mean: Float64Array
    peak: Float64Array

    def __len__(self) -> int:
        return len(self.subject)

    def select(self, rows: BoolArray | npt.NDArray[np.intp]) -> JoinedEpisodes:
        """Some of them."""
        return JoinedEpisodes(*(getattr(self, field.name)[rows] for field in fields(self)))


def join_episodes(
    stretches: Stretches, subject: IntArray, *, max_gap_s: float, min_duration_s: float = 0.0
) -> JoinedEpisodes:
    """Join the segments of each subject that show one expression and lie close enough together.

    Time in which the subject is *uncertain* or not seen interrupts an episode for up to ``max_gap_s``; another
    expression ends it at once. *Uncertain* itself makes no episodes.

    Args:
        stretches: E of them.
        subject: (E,), to whom each belongs.
        max_gap_s: longest interruption.
        min_duration_s: leave out shorter episodes, after joining.
    """
    order = np.lexsort((stretches.start_s, subject))
    uncertain = stretches.label[order] == UNCERTAIN
    lasts_s = (stretches.end_s - stretches.start_s)[order]
    uncertain_before_s = np.cumsum(np.where(uncertain, lasts_s, 0.0))[~uncertain]
    order = order[~uncertain]
    if not len(order):
        ints, none = np.empty(0, np.int64), np.empty(0, np.float64)
        return JoinedEpisodes(ints, ints, none, none, none, none, none, ints, none, none)
    rows, who = stretches.select(order), subject[order]
    gaps_s = rows.start_s[1:] - rows.end_s[:-1]
    breaks = (np.diff(who) != 0) | (np.diff(rows.label) != 0) | (gaps_s > max_gap_s + _ROUNDING_S)
    first = np.concatenate(([0], np.flatnonzero(breaks) + 1))
    last = np.append(first[1:], len(order)) - 1
    frames = np.add.reduceat(rows.frames, first)
    peak = np.maximum.reduceat(rows.peak, first)
    joined = JoinedEpisodes(
        subject=who[first],
        label=rows.label[first],
        onset_s=rows.start_s[first],
        apex_s=rows.apex_s[_first_peak(rows.peak, peak, last - first + 1)],
        offset_s=np.maximum.reduceat(rows.end_s, first),
        certain_s=np.add.reduceat(rows.end_s - rows.start_s, first),
        uncertain_s=uncertain_before_s[last] - uncertain_before_s[first],
        frames=frames,
        mean=np.add.reduceat(rows.mean * rows.frames, first) / frames,
        peak=peak,
    )
    return joined.select(joined.offset_s - joined.onset_s >= min_duration_s - _ROUNDING_S)


def _first_peak(values: Float64Array, peak: Float64Array, counts: IntArray) -> npt.NDArray[np.intp]:
    """Index of the first value that reaches its group's peak; groups are ``counts`` values each, one after another."""
    group = np.repeat(np.arange(len(counts)), counts)
    at_peak = np.flatnonzero(values == peak[group])
    _, first = np.unique(group[at_peak], return_index=True)
    return at_peak[first]
