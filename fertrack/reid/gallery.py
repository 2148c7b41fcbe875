"""Keeps each track's best few aligned faces while a run lasts: few, good, spread over time, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

from fertrack.types import Image

__all__ = ["FaceGallery", "KeptFace"]

_FIRST_SPACING_S = 0.4
_TRY_EVERY_S = 0.1  # faces of one track this close in time are near copies: looking at each would cost for nothing


@dataclass(frozen=True, slots=True, eq=False)
class KeptFace:
    """One aligned face of a track.

    Attributes:
        time_s: when it was seen.
        quality: 0 to 1.
        crop: uint8 (S, S, 3), BGR.
    """

    time_s: float
    quality: float
    crop: Image


@dataclass(slots=True)
class _Shelf:
    """Faces of one track, the best of each segment of ``spacing_s``."""

    start_s: float
    spacing_s: float
    tried_s: float
    faces: dict[int, KeptFace]

    def slot(self, time_s: float) -> int:
        return int((time_s - self.start_s) / self.spacing_s)


class FaceGallery:
    """Best faces per track, one per segment of time; segments double in length whenever there are too many.

    So a track of a second and one of an hour both keep about ``per_track`` to ``2 * per_track`` faces, spread over all
    of it. What is kept does not depend on anything but the faces offered, in order.

    Args:
        per_track: faces handed out per track.
    """

    def __init__(self, per_track: int) -> None:
        if per_track < 1:
            raise ValueError(f"per_track must be at least 1, got {per_track}")
        self.per_track = per_track
        self._shelves: dict[int, _Shelf] = {}
        self._count = 0

    def __len__(self) -> int:
        """Faces kept now, over all tracks."""
        return self._count

    @property
    def tracks(self) -> list[int]:
        """Tracks with a face, in the order in which they came."""
        return [track for track, shelf in self._shelves.items() if shelf.faces]

    def wants(self, track: int, time_s: float, at_best: float) -> bool:
        """Whether a face is worth cutting out.

        Args:
            track: whose face.
            time_s: when it is seen; never earlier than the track's last one.
            at_best: the highest quality it can turn out to have; 0 is never wanted.
        """
        if at_best <= 0.0:
            return False
        shelf = self._shelves.get(track)
        if shelf is None:
            return True
        kept = shelf.faces.get(shelf.slot(time_s))
        if kept is None:
            return True
        return at_best > kept.quality and time_s - shelf.tried_s >= _TRY_EVERY_S

    def offer(self, track: int, face: KeptFace) -> None:
        """Keep a face if it is the best of its segment of time."""
        shelf = self._shelves.get(track)
        if shelf is None:
            shelf = self._shelves[track] = _Shelf(face.time_s, _FIRST_SPACING_S, face.time_s, {})
        shelf.tried_s = face.time_s
        slot = shelf.slot(face.time_s)
        kept = shelf.faces.get(slot)
        if kept is not None and kept.quality >= face.quality:
            return
        self._count += kept is None
        shelf.faces[slot] = face
        while len(shelf.faces) > 2 * self.per_track:
            self._halve(shelf)

    def best(self, track: int) -> list[KeptFace]:
        """The best ``per_track`` faces of a track, in time order; empty if there are none."""
        shelf = self._shelves.get(track)
        if shelf is None:
            return []
        chosen = sorted(shelf.faces.values(), key=lambda face: -face.quality)[: self.per_track]
        return sorted(chosen, key=lambda face: face.time_s)

    def take(self, track: int) -> list[KeptFace]:
        """``best``, and forget the track."""
        chosen = self.best(track)
        shelf = self._shelves.pop(track, None)
        self._count -= len(shelf.faces) if shelf else 0
        return chosen

    def _halve(self, shelf: _Shelf) -> None:
        shelf.spacing_s *= 2
        merged: dict[int, KeptFace] = {}
        for face in shelf.faces.values():
            slot = shelf.slot(face.time_s)
            if slot not in merged or face.quality > merged[slot].quality:
                merged[slot] = face
        self._count -= len(shelf.faces) - len(merged)
        shelf.faces = merged
