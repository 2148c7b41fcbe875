"""Records of a diagnosis: changes that were tried, and their effects; suggested class shares."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Change", "Effect", "PriorSuggestion"]


@dataclass(frozen=True, slots=True)
class Effect:
    """Side effect of a change of settings.

    Attributes:
        name: what is measured; the less the better.
        before: as stored.
        after: as it would be.
        limit: a problem from here on.
    """

    name: str
    before: float
    after: float
    limit: float


@dataclass(frozen=True, slots=True)
class Change:
    """Change of settings that was tried, and its effect.

    Attributes:
        command: what to type.
        effect: what is measured.
        before: as stored.
        after: as it would be.
        also: what else would change noticeably.
        worse: problems that it would bring, or make worse.
    """

    command: str
    effect: str
    before: float
    after: float
    also: tuple[Effect, ...] = ()
    worse: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class PriorSuggestion:
    """Class shares under which the run's faces are most likely (Saerens et al., 2002). Off unless you take it.

    Attributes:
        shares: estimated, by expression.
        assumed: those that the calibration assumes.
        command: what to type to use them.
        labels_changed: share of confirmed faces whose label would be another.
        moments: how many seconds of a person the estimate rests on.
    """

    shares: dict[str, float]
    assumed: dict[str, float]
    command: str
    labels_changed: float
    moments: int
