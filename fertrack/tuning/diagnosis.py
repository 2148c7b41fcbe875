"""Records of a diagnosis: findings, changes that were tried, and their effects."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Change", "Diagnosis", "Effect", "Finding", "PriorSuggestion"]


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
class Finding:
    """A symptom that a run shows.

    Attributes:
        symptom: its name.
        seen: what is seen.
        evidence: the numbers.
        cause: why it may be.
        change: what to do in general.
        changes: what would help on this run, the most effective first; empty where rescoring cannot help.
        useless: what was tried on this run and does not help, or does harm.
    """

    symptom: str
    seen: str
    evidence: str
    cause: str
    change: str
    changes: tuple[Change, ...] = ()
    useless: tuple[Change, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Findings about a run.

    Attributes:
        run: its number.
        faces: confirmed faces.
        findings: symptoms it shows.
        prior: suggested class shares; None where they would say nothing.
        no_prior: why none are suggested; empty if some are.
        passed: symptoms that it does not show.
        not_judged: symptoms about which it says nothing, for want of faces for example.
    """

    run: int
    faces: int
    findings: tuple[Finding, ...]
    prior: PriorSuggestion | None
    no_prior: str
    passed: tuple[str, ...]
    not_judged: tuple[str, ...] = ()
