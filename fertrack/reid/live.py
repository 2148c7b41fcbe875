"""Decides who each track is while a run is live, one track at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from fertrack.reid.config import LinkingConfig
from fertrack.reid.linker import KnownPerson, mean_embedding
from fertrack.types import Float64Array, FloatArray

__all__ = ["LivePersons"]

_MAX_UNDECIDED = 1000
"""Of more tracks that nobody has decided on, those unseen for longest are forgotten."""


class LivePersons:
    """Gives tracks to persons one by one, while a run goes on: each to the nearest person that it can be.

    Greedy where ``plan_links`` weighs everything at once, so an early mistake stays; only being seen beside another
    track of the same person takes a track away from it again.

    Args:
        config: for the threshold: ``accept_similarity``, or ``appearance_similarity`` where faces are not recognised.
        known: persons of earlier runs that a track may belong to.
        recognises: whether the embeddings recognise persons; if not, a track that is seen again after a later one of
            the same person was begun takes the later one away, as they do not follow each other.

    Attributes:
        persons: position of the person of each track that was added; positions of known persons come first.
    """

    def __init__(
        self, config: LinkingConfig | None = None, known: Sequence[KnownPerson] = (), *, recognises: bool = True
    ) -> None:
        config = config or LinkingConfig()
        self._limit = 1.0 - (config.accept_similarity if recognises else config.appearance_similarity)
        self._recognises = recognises
        self._last: dict[int, int] = {}  # person -> the latest of their tracks; IDs are given in order of time
        self._centres = _Centres()
        for person in known:
            self._centres.add(person.embeddings)
        self._beside: dict[int, set[int]] = {}  # undecided track -> tracks it was seen beside; the latest seen is last
        self._rank: dict[int, int] = {}  # track -> how many were added before it
        self.persons: dict[int, int] = {}

    def seen(self, tracks: Iterable[int]) -> None:
        """Take note of the confirmed tracks of one frame."""
        together = set(tracks)
        for track in together - self.persons.keys():
            self._beside[track] = self._beside.pop(track, set()) | together
        while len(self._beside) > _MAX_UNDECIDED:
            del self._beside[next(iter(self._beside))]
        taken: dict[int, int] = {}
        for track in sorted(together & self.persons.keys(), key=self._rank.__getitem__):
            if taken.setdefault(self.persons[track], track) != track:  # an earlier track of the person is here too
                self._move(track)
        if not self._recognises:
            for track in together & self.persons.keys():
                while self._last[self.persons[track]] > track:
                    self._move(self._last[self.persons[track]])

    def add(self, track: int, embeddings: FloatArray, may_be: Collection[int] | None = None) -> tuple[int, float]:
        """Decide who a track is.

        Args:
            track: its ID; added once.
            embeddings: float32 (E, D) of its faces so far; E = 0 makes it a new person.
            may_be: the tracks that it can continue at all: it joins nobody who has another one; None: any.

        Returns:
            Position of its person, and the similarity to it; NaN if the person is new.

        Raises:
            ValueError: the track was added before.
        """
        if track in self.persons:
            raise ValueError(f"track {track} was added before")
        beside = self._beside.pop(track, set())
        taken = {self.persons[other] for other in beside & self.persons.keys()}
        if may_be is not None:
            taken |= {person for other, person in self.persons.items() if other not in may_be}
        centre = mean_embedding(embeddings)
        best, best_at = -1, np.inf
        if len(centre):
            apart = self._centres.distances(centre)
            apart[list(taken)] = np.inf
            nearest = int(apart.argmin()) if len(apart) else -1
            if nearest >= 0 and apart[nearest] <= self._limit:
                best, best_at = nearest, float(apart[nearest])
        if best < 0:
            best = self._centres.add()
        self._centres.extend(best, embeddings)
        self._rank[track] = len(self._rank)
        self.persons[track] = best
        self._last[best] = max(track, self._last.get(best, track))
        return best, 1.0 - best_at if np.isfinite(best_at) else float("nan")

    def _move(self, track: int) -> None:
        """Make a track a new person."""
        old, new = self.persons[track], self._centres.add()
        self.persons[track], self._last[new] = new, track
        self._last[old] = max((other for other, person in self.persons.items() if person == old), default=-1)


class _Centres:
    """The mean vector of each person, kept up to date: what a comparison costs does not grow with what went into it."""

    def __init__(self) -> None:
        self._sums = np.zeros((0, 0))
        self._counts = np.zeros(0, np.int64)
        self._persons = 0

    def add(self, vectors: FloatArray | None = None) -> int:
        """Add a person; gives their position."""
        if self._persons == len(self._counts):
            more = max(16, self._persons)
            self._sums = np.concatenate([self._sums, np.zeros((more, self._sums.shape[1]))])
            self._counts = np.concatenate([self._counts, np.zeros(more, np.int64)])
        self._persons += 1
        if vectors is not None:
            self.extend(self._persons - 1, vectors)
        return self._persons - 1

    def extend(self, person: int, vectors: FloatArray) -> None:
        """Give a person more vectors, (E, D)."""
        if not len(vectors):
            return
        if not self._sums.shape[1]:
            self._sums = np.zeros((len(self._counts), vectors.shape[1]))
        self._sums[person] += vectors.sum(axis=0, dtype=np.float64)
        self._counts[person] += len(vectors)

    def distances(self, centre: Float64Array) -> Float64Array:
        """From each person, (P,); infinite from those without a vector."""
        apart = np.full(self._persons, np.inf)
        has = np.flatnonzero(self._counts[: self._persons])
        if len(has):
            apart[has] = np.linalg.norm(self._sums[has] / self._counts[has, None] - centre, axis=1)
        return apart
