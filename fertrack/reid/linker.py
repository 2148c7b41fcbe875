"""Re-identification of a finished run: which tracks are one person, decided all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fertrack.reid.clustering import cluster_distances, constrained_average_linkage
from fertrack.reid.config import LinkingConfig
from fertrack.reid.motion import impossible_pairs
from fertrack.reid.tracklets import Tracklet
from fertrack.types import Float64Array, FloatArray

__all__ = ["KnownPerson", "LinkPlan", "PersonLink", "PlannedPerson", "may_link", "mean_embedding", "plan_links"]


@dataclass(frozen=True, slots=True, eq=False)
class KnownPerson:
    """Person from an earlier run.

    Attributes:
        id: key of the person in the database.
        number: the number in ``P3``.
        embeddings: float32 (E, D), E >= 1.
    """

    id: int
    number: int
    embeddings: FloatArray


@dataclass(frozen=True, slots=True)
class PersonLink:
    """Link between a track and a person: accepted or suggested.

    Attributes:
        track: ID of the track.
        person: position in ``LinkPlan.persons``.
        similarity: to the person's other tracks, 1 minus the mean distance.
        state: "accepted", or "suggested": then the track stays where it is.
    """

    track: int
    person: int
    similarity: float
    state: Literal["accepted", "suggested"]


@dataclass(frozen=True, slots=True)
class PlannedPerson:
    """One person of a run.

    Attributes:
        tracks: IDs, ascending.
        known: key of the person from an earlier run; None if new. A known person may have no track in this run, but
            only where a suggestion names it.
    """

    tracks: tuple[int, ...]
    known: int | None = None


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """Persons behind the tracks of one run.

    Attributes:
        persons: every track is in exactly one; in the order in which they were first seen.
        links: of every track to the person it shares with others, and suggestions.
    """

    persons: tuple[PlannedPerson, ...]
    links: tuple[PersonLink, ...]

    @property
    def joined(self) -> int:
        """Number of tracks found to continue another, or an earlier person."""
        return sum(max(len(person.tracks) - (person.known is None), 0) for person in self.persons)


def may_link(tracklets: Sequence[Tracklet], config: LinkingConfig, *, recognises: bool) -> list[int]:
    """Tracks that could be linked with another one, judged without their faces: only these need embeddings.

    Args:
        tracklets: all tracks of a run.
        config: for the longest gap.
        recognises: whether faces will be recognised, so that any gap in time can be bridged.
    """
    forbidden = impossible_pairs(tracklets, config, recognises=recognises)
    possible = ~forbidden & ~np.eye(len(tracklets), dtype=np.bool_)
    return [tracklets[row].track for row in np.flatnonzero(possible.any(axis=1)).tolist()]


def plan_links(
    tracklets: Sequence[Tracklet],
    config: LinkingConfig,
    *,
    recognises: bool = True,
    known: Sequence[KnownPerson] = (),
) -> LinkPlan:
    """Link the tracks of a run that has ended.

    Tracks seen in one frame are never one person, nor are two known persons. Among all others, average linkage joins
    the most similar first, down to ``accept_similarity``; what remains as similar as ``suggest_similarity`` becomes a
    suggestion.

    Args:
        tracklets: all tracks, each once.
        config: thresholds.
        recognises: whether the embeddings recognise persons; if not, only tracks that follow each other within
            ``appearance_gap_s`` at a plausible distance are compared.
        known: persons of earlier runs that a track may belong to.
    """
    accept = config.accept_similarity if recognises else config.appearance_similarity
    suggest = config.suggest_similarity if recognises else accept
    count = len(tracklets)
    vectors = [each.embeddings for each in tracklets] + [person.embeddings for person in known]
    distance = _distances([mean_embedding(each) for each in vectors])
    forbidden = np.zeros(distance.shape, np.bool_)
    forbidden[:count, :count] = impossible_pairs(tracklets, config, recognises=recognises)
    forbidden[count:, count:] = True
    clusters = constrained_average_linkage(distance, forbidden, 1.0 - accept).members
    order = sorted(range(len(clusters)), key=lambda place: _first_sight(clusters[place], tracklets))
    clusters = tuple(clusters[place] for place in order)
    pairs = _resembling(cluster_distances(distance, forbidden, clusters), clusters, count, 1.0 - suggest)

    named = {earlier for earlier, _ in pairs}
    shown = [place for place, members in enumerate(clusters) if members[0] < count or place in named]
    position = {place: row for row, place in enumerate(shown)}
    persons = [_person(clusters[place], tracklets, known) for place in shown]
    links = [
        PersonLink(tracklets[i].track, position[place], _similarity(distance, i, clusters[place]), "accepted")
        for place in shown
        if len(clusters[place]) > 1
        for i in clusters[place]
        if i < count
    ]
    for earlier, later in pairs:
        likest = max((_similarity(distance, i, clusters[earlier]), -i) for i in clusters[later] if i < count)
        links.append(PersonLink(tracklets[-likest[1]].track, position[earlier], likest[0], "suggested"))
    return LinkPlan(tuple(persons), tuple(links))


def mean_embedding(embeddings: FloatArray) -> Float64Array:
    """Mean embedding of a track, (D,); (0,) if it has none."""
    if not len(embeddings):
        return np.empty(0)
    mean: Float64Array = embeddings.astype(np.float64).mean(axis=0)
    return mean


def _distances(centres: Sequence[Float64Array]) -> Float64Array:
    """Euclidean distances (N, N); infinite where one of the two has no embedding."""
    distance = np.full((len(centres), len(centres)), np.inf)
    rows = [row for row, centre in enumerate(centres) if len(centre)]
    if rows:
        stacked = np.stack([centres[row] for row in rows])
        # Row by row, so that memory stays small; loading SciPy for it would take longer.
        distance[np.ix_(rows, rows)] = [np.linalg.norm(stacked - centre, axis=1) for centre in stacked]
    return distance


def _first_sight(members: Sequence[int], tracklets: Sequence[Tracklet]) -> tuple[float, int]:
    """When a cluster was first seen; known persons who were not seen come last."""
    return min(((tracklets[i].first_s, tracklets[i].track) for i in members if i < len(tracklets)), default=(np.inf, 0))


def _resembling(
    apart: Float64Array, clusters: Sequence[Sequence[int]], count: int, limit: float
) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of clusters of which at least one is the other's nearest, not farther than ``limit``."""
    pairs = set()
    for place, row in enumerate(apart):
        other = int(row.argmin())
        if row[other] <= limit and (clusters[place][0] < count or clusters[other][0] < count):
            # a person from an earlier run is always the earlier one
            pairs.add(tuple(sorted((place, other), key=lambda each: (clusters[each][-1] < count, each))))
    return sorted((earlier, later) for earlier, later in pairs)


def _person(members: Sequence[int], tracklets: Sequence[Tracklet], known: Sequence[KnownPerson]) -> PlannedPerson:
    count = len(tracklets)
    ids = [known[i - count].id for i in members if i >= count]
    return PlannedPerson(tuple(tracklets[i].track for i in members if i < count), ids[0] if ids else None)


def _similarity(distance: Float64Array, item: int, members: Sequence[int]) -> float:
    """Mean similarity of an item to the other members of a cluster."""
    return 1.0 - float(np.mean([distance[item, other] for other in members if other != item]))
