"""The troubles that a stored run shows, in the words of the README, and what is said when one is found."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SYMPTOMS", "Change", "Diagnosis", "Finding", "PriorSuggestion", "Symptom"]


@dataclass(frozen=True, slots=True)
class Symptom:
    """A trouble that a stored run shows: what is seen, why it may be, what to change; in Markdown, as in the README."""

    name: str
    seen: str
    cause: str
    change: str


SYMPTOMS = (
    Symptom(
        "no_face",
        "no face found",
        "picture lies on its side, or faces are small",
        "`--rotate 90`, `--set detection.long_side=1280`",
    ),
    Symptom(
        "one_expression",
        "one expression everywhere",
        "prior or temperature does not fit the classifier, thresholds are too low, or faces are aligned wrongly; or it "
        "is so",
        "`fertrack rescore last --set calibration.prior_strength=1.0` (or 0.0), `--set calibration.temperature=1.5`; "
        "look at the faces with `--debug-overlay`",
    ),
    Symptom(
        "many_uncertain",
        "many *uncertain*",
        "thresholds or temperature high, smoothing long, or faces small or turned away",
        "`fertrack rescore last --set 'calibration.thresholds={}' --set calibration.fallback_threshold=0.3` puts one "
        "threshold in place of the classifier's own seven; `--original` goes back; or "
        "`--set smoothing.half_life_s=0.1`",
    ),
    Symptom(
        "confused_pair",
        "anger and fear (or neutral and sadness) taken for each other",
        "the classifier is one-sided on these faces",
        "correct some labels, then `fertrack import-labels`, `fertrack bias fit last`, `fertrack bias use 1 last`; or "
        "`--set smoothing.hysteresis_margin=0.15`",
    ),
    Symptom(
        "flicker",
        "labels flicker",
        "smoothing too short",
        "`fertrack rescore last --set smoothing.half_life_s=0.8`, `--set smoothing.hysteresis_margin=0.15`",
    ),
    Symptom(
        "lag",
        "boxes and labels lag behind (`pred_id` far behind `frame_id`)",
        "the machine is too slow for what it is asked to do live",
        "`--set detection.long_side=320`, `--set live.display_fps=15`",
    ),
    Symptom(
        "small_faces",
        "faces too small to read",
        "the camera is far away, or the video was made smaller",
        "film closer or larger; `--set detection.min_face_px=48` leaves such faces out",
    ),
    Symptom(
        "turned_faces",
        "faces turned away",
        "the camera looks from the side, from above or from below",
        "put the camera at eye height; `fertrack rescore last --set 'calibration.thresholds={}' --set "
        "calibration.fallback_threshold=0.6` makes guesses *uncertain*",
    ),
)
"""What ``diagnose`` knows, in the order in which it looks."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something to try, and what it would come to.

    Attributes:
        command: what to type.
        effect: what is measured.
        before: as stored.
        after: as it would be.
    """

    command: str
    effect: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Finding:
    """A symptom that a run shows.

    Attributes:
        symptom: its name.
        seen: what is seen.
        evidence: the numbers.
        cause: why it may be.
        change: what to do in general.
        changes: what was tried on this run, the most effective first; empty where rescoring cannot help.
    """

    symptom: str
    seen: str
    evidence: str
    cause: str
    change: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class PriorSuggestion:
    """Class shares under which the run's faces are most likely (Saerens et al., 2002). Off unless you take it.

    Attributes:
        shares: estimated, by expression.
        assumed: those that the calibration assumes.
        command: what to type to use them.
        labels_changed: share of confirmed faces whose label would be another.
    """

    shares: dict[str, float]
    assumed: dict[str, float]
    command: str
    labels_changed: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found in a run.

    Attributes:
        run: its number.
        faces: confirmed faces.
        findings: symptoms it shows.
        prior: suggested class shares; None with too few faces.
        passed: symptoms that it does not show.
    """

    run: int
    faces: int
    findings: tuple[Finding, ...]
    prior: PriorSuggestion | None
    passed: tuple[str, ...]
