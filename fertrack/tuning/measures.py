"""The troubles that labels alone can show, as numbers with a limit, so that two sets of labels can be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fertrack.storage.queries.run_faces import RunFaces
from fertrack.tuning import signs
from fertrack.tuning.symptoms import Effect
from fertrack.types import EXPRESSIONS, BoolArray, IntArray

__all__ = ["CHANGES", "COMMONEST", "UNCERTAIN_SHARE", "Measure", "is_worse", "troubles"]

UNCERTAIN_SHARE = "share uncertain"
COMMONEST = "share of the commonest label"
CHANGES = "changes per minute and person"

_MIN_HARM = 0.05
"""What is a trouble, or becomes one, must not grow by more than this share of its limit."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that labels have, the less the better.

    Attributes:
        name: what it is called where it is shown.
        of: takes labels, int64 (N,).
        limit: from here on it is a trouble.
    """

    name: str
    of: Callable[[IntArray], float]
    limit: float


def troubles(faces: RunFaces, among: BoolArray | None = None) -> dict[str, Measure]:
    """Problems that labels alone can show, by name.

    Args:
        faces: whose labels they are.
        among: of which of them the uncertain are counted, bool (N,); None: of all.
    """
    rows = np.ones(len(faces.label), np.bool_) if among is None else among
    uncertain = UNCERTAIN_SHARE if among is None else f"{UNCERTAIN_SHARE} of the other faces"
    found = [
        Measure(uncertain, lambda labels: signs.uncertain_share(labels[rows]), signs.MANY_UNCERTAIN),
        Measure(COMMONEST, lambda labels: signs.commonest(labels)[1], signs.ONE_EXPRESSION),
        Measure(CHANGES, lambda labels: signs.changes_per_minute(faces, labels), signs.FLICKER_PER_MINUTE),
        *(_swaps(faces, pair) for pair in signs.PAIRS),
    ]
    return {measure.name: measure for measure in found}


def is_worse(effect: Effect) -> bool:
    """Whether something becomes a trouble, or is one and grows."""
    return effect.after >= effect.limit and effect.after - effect.before > _MIN_HARM * effect.limit


def _swaps(faces: RunFaces, pair: tuple[int, int]) -> Measure:
    """By the time in which there is a label: more labels mean more swaps, however firm they are."""

    def swaps(labels: IntArray) -> float:
        rate = signs.swaps_per_minute(faces, labels, pair)
        return rate / (1.0 - signs.uncertain_share(labels)) if rate else 0.0

    names = " and ".join(EXPRESSIONS[k] for k in pair)
    return Measure(f"{names} swapped, per minute with a label", swaps, signs.swaps_limit(faces))
