"""Tracklets: when and where a track was seen, beside which others, and its embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fertrack.types import UNCONFIRMED, BoolArray, FloatArray, FrameResult, IntArray

__all__ = ["Tracklet", "TrackletLog", "seen_together"]


@dataclass(frozen=True, slots=True, eq=False)
class Tracklet:
    """One confirmed track.

    Attributes:
        track: its ID.
        spans: int64 (M, 2), first and last frame index of each unbroken stretch in which it was seen.
        first_s: time of its first frame.
        last_s: time of its last frame.
        first_xyxy: float32 (4,), its box in its first frame, px.
        last_xyxy: float32 (4,), its box in its last frame, px.
        embeddings: float32 (E, D), of its best faces; E = 0 if none was good enough.
        quality: float32 (E,), of those faces.
    """

    track: int
    spans: IntArray
    first_s: float
    last_s: float
    first_xyxy: FloatArray
    last_xyxy: FloatArray
    embeddings: FloatArray
    quality: FloatArray


@dataclass(slots=True)
class _Sighting:
    spans: list[list[int]]
    first_s: float
    last_s: float
    first_xyxy: FloatArray
    last_xyxy: FloatArray


class TrackletLog:
    """Takes note of when and where each track is seen, frame by frame."""

    def __init__(self) -> None:
        self._sightings: dict[int, _Sighting] = {}
        self._previous_frame = -1

    def add(self, result: FrameResult) -> None:
        """Take one frame; frames come in order."""
        frame, time_s = result.frame_index, result.timestamp_s
        for row, track in enumerate(result.track_ids.tolist()):
            if track == UNCONFIRMED:
                continue
            xyxy = result.track_xyxy[row]
            sighting = self._sightings.get(track)
            if sighting is None:
                self._sightings[track] = _Sighting([[frame, frame]], time_s, time_s, xyxy, xyxy)
                continue
            # Unbroken means: seen in every analysed frame, whichever frames those are.
            if sighting.spans[-1][1] == self._previous_frame:
                sighting.spans[-1][1] = frame
            else:
                sighting.spans.append([frame, frame])
            sighting.last_s, sighting.last_xyxy = time_s, xyxy
        self._previous_frame = frame

    @property
    def tracks(self) -> list[int]:
        """All tracks seen so far, by ID."""
        return sorted(self._sightings)

    def around(self, track: int, gap_s: float) -> list[Tracklet]:
        """A track as it is so far, then all others that did not end more than ``gap_s`` before it began."""
        since_s = self._sightings[track].first_s - gap_s
        others = [each for each, seen in self._sightings.items() if seen.last_s >= since_s and each != track]
        return self._tracklets([track, *others], {})

    def tracklets(self, embeddings: Mapping[int, tuple[FloatArray, FloatArray]]) -> list[Tracklet]:
        """All tracks, by ID.

        Args:
            embeddings: vectors (E, D) and qualities (E,) of those tracks that have any.
        """
        return self._tracklets(self.tracks, embeddings)

    def _tracklets(
        self, tracks: Sequence[int], embeddings: Mapping[int, tuple[FloatArray, FloatArray]]
    ) -> list[Tracklet]:
        nothing = np.empty((0, 0), np.float32), np.empty(0, np.float32)
        found = []
        for track in tracks:
            seen = self._sightings[track]
            vectors, quality = embeddings.get(track, nothing)
            spans = np.array(seen.spans, np.int64)
            found.append(
                Tracklet(track, spans, seen.first_s, seen.last_s, seen.first_xyxy, seen.last_xyxy, vectors, quality)
            )
        return found


def seen_together(spans: Sequence[IntArray]) -> BoolArray:
    """Pairs of tracks that share a frame: bool (N, N), symmetric, False on the diagonal.

    Args:
        spans: per track int64 (M, 2), first and last frame index of each stretch; those of one track do not overlap.

    >>> a, b, c = (np.array(span) for span in ([[0, 9], [30, 39]], [[5, 6]], [[10, 29]]))
    >>> seen_together([a, b, c]).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    """
    together = np.zeros((len(spans), len(spans)), np.bool_)
    owner = np.repeat(np.arange(len(spans)), [len(each) for each in spans])
    if not len(owner):
        return together
    every = np.concatenate(spans)
    order = np.argsort(every[:, 0], kind="stable")
    starts, ends, owner = every[order, 0], every[order, 1], owner[order]
    open_now: list[int] = []  # stretches that may still go on, a few at a time
    for row, (start, mine) in enumerate(zip(starts.tolist(), owner.tolist(), strict=True)):
        open_now = [other for other in open_now if ends[other] >= start]
        others = owner[open_now]
        together[mine, others] = together[others, mine] = True
        open_now.append(row)
    np.fill_diagonal(together, False)
    return together
