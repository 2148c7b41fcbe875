"""Decides who each track is while a run is live, one track at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fertrack.linking.config import LinkingConfig
from fertrack.linking.linker import KnownPerson, mean_embedding
from fertrack.types import FloatArray

__all__ = ["LivePersons"]


class LivePersons:
    """Gives tracks to persons one by one, while a run goes on: each to the nearest person that it can be.

    Greedy where ``plan_links`` weighs everything at once, so an early mistake stays; only being seen beside another
    track of the same person takes a track away from it again.

    Args:
        config: ``accept_similarity`` is the only threshold.
        known: persons of earlier runs that a track may belong to.

    Attributes:
        persons: position of the person of each track that was added; positions of known persons come first.
    """

    def __init__(self, config: LinkingConfig | None = None, known: Sequence[KnownPerson] = ()) -> None:
        self._limit = 1.0 - (config or LinkingConfig()).accept_similarity
        self._vectors: list[list[FloatArray]] = [list(person.embeddings) for person in known]
        self._known = len(known)
        self._beside: dict[int, set[int]] = {}  # track -> tracks it was seen beside
        self.persons: dict[int, int] = {}

    def seen(self, tracks: Iterable[int]) -> None:
        """Take note of the confirmed tracks of one frame."""
        together = set(tracks)
        for track in together:
            self._beside.setdefault(track, set()).update(together)
        taken: dict[int, int] = {}
        for track in sorted(together & self.persons.keys(), key=list(self.persons).index):
            if taken.setdefault(self.persons[track], track) != track:  # an earlier track of the person is here too
                self.persons[track] = self._new_person([])

    def add(self, track: int, embeddings: FloatArray) -> tuple[int, float]:
        """Decide who a track is.

        Args:
            track: its ID; added once.
            embeddings: float32 (E, D) of its faces so far; E = 0 makes it a new person.

        Returns:
            Position of its person, and the similarity to it; NaN if the person is new.

        Raises:
            ValueError: the track was added before.
        """
        if track in self.persons:
            raise ValueError(f"track {track} was added before")
        beside = self._beside.get(track, set())
        taken = {person for other, person in self.persons.items() if other in beside}
        centre = mean_embedding(embeddings)
        best, best_at = -1, np.inf
        for person, vectors in enumerate(self._vectors):
            if person in taken or not vectors or not len(centre):
                continue
            apart = float(np.linalg.norm(np.mean(vectors, axis=0) - centre))
            if apart <= self._limit and apart < best_at:
                best, best_at = person, apart
        if best < 0:
            best = self._new_person([])
        self._vectors[best].extend(embeddings)
        self.persons[track] = best
        return best, 1.0 - best_at if np.isfinite(best_at) else float("nan")

    def is_known(self, person: int) -> bool:
        """Whether a person is one of those given as known."""
        return person < self._known

    def _new_person(self, vectors: list[FloatArray]) -> int:
        self._vectors.append(vectors)
        return len(self._vectors) - 1
