"""Agglomerative clustering by average linkage in which some pairs may never share a cluster.

Average linkage (UPGMA, Sokal and Michener 1958) joins the two nearest clusters again and again; the distance between
clusters is the mean over their pairs, kept up to date by the Lance-Williams formula. A forbidden pair is infinitely
far apart, and a mean with an infinite member stays infinite: so the ban passes on to every cluster that takes one of
the two in, with no bookkeeping of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fertrack.types import BoolArray, Float64Array

__all__ = ["Clusters", "cluster_distances", "constrained_average_linkage"]


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Clusters of items.

    Attributes:
        members: the items of each cluster, ascending; clusters in the order of their first item.
        joined_at: (M,) distances at which clusters were joined, in the order in which that happened; never falling.
    """

    members: tuple[tuple[int, ...], ...]
    joined_at: Float64Array


def constrained_average_linkage(distance: Float64Array, forbidden: BoolArray, limit: float) -> Clusters:
    """Join what is nearer than ``limit`` and not forbidden, nearest first.

    Without forbidden pairs this is average linkage cut at ``limit``. Memory and time grow with the square of the
    number of items (time a little more).

    Args:
        distance: float64 (N, N), symmetric; infinite or NaN = not comparable, so never joined directly or indirectly.
        forbidden: bool (N, N), symmetric: pairs that may not end up in one cluster.
        limit: largest distance at which clusters are joined.

    Raises:
        ValueError: the matrices are not square or not of the same size.

    >>> points = np.array([0.0, 0.1, 0.2, 5.0])
    >>> apart = np.abs(points[:, None] - points)
    >>> constrained_average_linkage(apart, np.zeros((4, 4), bool), 1.0).members
    ((0, 1, 2), (3,))
    >>> seen_together = np.zeros((4, 4), bool)
    >>> seen_together[0, 2] = seen_together[2, 0] = True
    >>> constrained_average_linkage(apart, seen_together, 1.0).members
    ((0, 1), (2,), (3,))
    """
    linkage = _prepared(distance, forbidden)
    count = len(linkage)
    members: dict[int, list[int]] = {i: [i] for i in range(count)}
    joined_at: list[float] = []
    nearest = linkage.argmin(axis=1) if count else np.empty(0, np.int64)
    nearest_at = linkage[np.arange(count), nearest] if count else np.empty(0)
    while count:
        first = int(nearest_at.argmin())
        if not nearest_at[first] <= limit:
            break
        first, second = sorted((first, int(nearest[first])))
        joined_at.append(float(linkage[first, second]))
        _join(linkage, first, second, len(members[first]), len(members[second]))
        members[first] += members.pop(second)
        # Rows whose nearest was one of the two must look again; for the others the new cluster may have come nearer
        # only if it had been as near before (average linkage never comes nearer than the nearer of the two).
        stale = np.flatnonzero((nearest == first) | (nearest == second))
        for row in {first, *stale.tolist()}:
            nearest[row] = linkage[row].argmin()
            nearest_at[row] = linkage[row, nearest[row]]
        nearest_at[second] = np.inf
    found = sorted(tuple(sorted(items)) for items in members.values())
    return Clusters(tuple(found), np.array(joined_at))


def cluster_distances(
    distance: Float64Array, forbidden: BoolArray, members: tuple[tuple[int, ...], ...]
) -> Float64Array:
    """Mean distance between clusters, float64 (C, C): infinite on the diagonal, and where any pair may not be joined.

    Args:
        distance: as in ``constrained_average_linkage``.
        forbidden: the same.
        members: the items of each cluster.
    """
    linkage = _prepared(distance, forbidden)
    belongs = np.zeros((len(members), len(linkage)))
    for row, items in enumerate(members):
        belongs[row, list(items)] = 1.0
    finite = np.where(np.isfinite(linkage), linkage, 0.0)
    pairs = belongs.sum(axis=1)[:, None] * belongs.sum(axis=1)
    means: Float64Array = belongs @ finite @ belongs.T / np.maximum(pairs, 1.0)
    means[(belongs @ ~np.isfinite(linkage) @ belongs.T) > 0] = np.inf
    np.fill_diagonal(means, np.inf)
    return means


def _prepared(distance: Float64Array, forbidden: BoolArray) -> Float64Array:
    if distance.ndim != 2 or distance.shape[0] != distance.shape[1] or forbidden.shape != distance.shape:
        raise ValueError(f"distance and forbidden must be (N, N), got {distance.shape} and {forbidden.shape}")
    linkage: Float64Array = np.where(forbidden | np.isnan(distance), np.inf, distance).astype(np.float64)
    np.fill_diagonal(linkage, np.inf)
    return linkage


def _join(linkage: Float64Array, first: int, second: int, first_size: int, second_size: int) -> None:
    """Put ``second`` into ``first`` (Lance-Williams, average linkage) and take it out of the matrix."""
    joined = (first_size * linkage[first] + second_size * linkage[second]) / (first_size + second_size)
    joined[first] = joined[second] = np.inf
    linkage[first], linkage[:, first] = joined, joined
    linkage[second], linkage[:, second] = np.inf, np.inf
