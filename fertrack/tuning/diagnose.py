"""Diagnosis of a stored run: problems, settings to change, and their effect; nothing is stored.

Every symptom has its words and its check once, in ``symptoms``; the guide's page ``trouble`` is made of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fertrack.config import load_settings
from fertrack.storage.queries.run_faces import load_run_faces
from fertrack.storage.stored_run import StoredRun
from fertrack.tuning import checks
from fertrack.tuning.class_shares import suggest_shares
from fertrack.tuning.diagnosis import PriorSuggestion
from fertrack.tuning.remedies import DiagnosedRun
from fertrack.tuning.symptoms import MIN_FACES, SYMPTOMS, Finding, lags

__all__ = ["Diagnosis", "diagnose"]

_MIN_SEEN = 5
"""For symptoms that boxes and landmarks show, without any estimate."""
_TOO_FEW = f"there are fewer than {MIN_FACES} estimates"


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

    def as_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON values."""
        return {
            "run": self.run,
            "faces": self.faces,
            "findings": [finding.as_dict() for finding in self.findings],
            "prior": None if self.prior is None else asdict(self.prior),
            "no_prior": self.no_prior,
            "passed": list(self.passed),
            "not_judged": list(self.not_judged),
        }


def diagnose(run: StoredRun) -> Diagnosis:
    """Look for known symptoms in a stored run and preview the effect of changes; nothing is changed.

    Raises:
        StorageError: the run does not say how it was calibrated.
    """
    faces, facts = load_run_faces(run), run.facts
    stored = DiagnosedRun(run, faces, load_settings(base=facts.config_toml), facts.own_calibration)
    left_out = _left_unjudged(stored)
    judged = [symptom for symptom in SYMPTOMS if symptom.name not in left_out]
    findings = [finding for symptom in judged for finding in symptom.findings(stored)]
    shown = {finding.symptom.name for finding in findings}
    prior, no_prior = suggest_shares(stored, shown) if _are_enough(stored) else (None, _TOO_FEW)
    return Diagnosis(
        run=faces.run,
        faces=len(stored.seen.label),
        findings=tuple(findings),
        prior=prior,
        no_prior=no_prior,
        passed=tuple(each.name for each in judged if each.name not in shown),
        not_judged=tuple(each.name for each in SYMPTOMS if each.name in left_out),
    )


_SEEN_IN_BOXES = frozenset({"misaligned", "small_faces", "turned_faces"})


def _are_enough(run: DiagnosedRun) -> bool:
    return int(run.estimated.sum()) >= MIN_FACES


def _left_unjudged(run: DiagnosedRun) -> set[str]:
    """Symptoms about which the run says nothing."""
    left_out: set[str] = set()
    if not _are_enough(run):
        left_out |= {each.name for each in SYMPTOMS} - {"no_face", "lag", *_SEEN_IN_BOXES}
    if len(run.seen.label) < _MIN_SEEN:
        left_out |= _SEEN_IN_BOXES
    if checks.landmarks_are_wrong(run.seen):  # estimates of crops that were cut wrongly mean nothing
        left_out |= {"one_expression", "many_uncertain", "confused_pair", "flicker", "turned_faces"}
    if _is_too_slow_to_follow(run):  # a larger image for the detector, which else finds more, would be slower still
        left_out.add("no_face")
    return left_out


def _is_too_slow_to_follow(run: DiagnosedRun) -> bool:
    nobody = not len(run.seen.label)
    return nobody and run.stored.facts.summary.dropped > len(run.faces.frames) and lags(run)
