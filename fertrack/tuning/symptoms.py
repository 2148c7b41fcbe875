"""Symptoms of a stored run, their causes and remedies; the guide's page ``trouble`` is generated from them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OTHER_SYMPTOMS", "SYMPTOMS", "Change", "Diagnosis", "Effect", "Finding", "PriorSuggestion", "Symptom"]


@dataclass(frozen=True, slots=True)
class Symptom:
    """Something wrong with a run: what is seen, the likely cause, what to change; in Markdown."""

    name: str
    seen: str
    cause: str
    change: str


SYMPTOMS = (
    Symptom(
        "no_face",
        "no face found",
        "the picture lies on its side, or the faces are small",
        "`--set input.rotate=90`, `--set detection.long_side=1280`",
    ),
    Symptom(
        "misaligned",
        "faces aligned wrongly",
        "the picture lies on its side or upside down; or a detector of your own gives landmarks in another order, or "
        "in px of another picture",
        "`--set input.rotate=90` (180, 270); look at the aligned faces with `--set video.debug_overlay=true`; "
        "landmarks are left eye, right eye, nose, left and right mouth corner as seen in the image, in px of the frame",
    ),
    Symptom(
        "one_expression",
        "one expression everywhere",
        "the prior or the temperature does not fit the classifier, thresholds are too low, or faces are aligned "
        "wrongly; or that is what they show",
        "`fertrack rescore last --set calibration.prior_strength=1.0` (or 0.0), `--set calibration.temperature=1.5`, "
        "`--set 'calibration.thresholds={}' --set calibration.fallback_threshold=0.6`; look at the faces with "
        "`--set video.debug_overlay=true`",
    ),
    Symptom(
        "many_uncertain",
        "many *uncertain*",
        "thresholds or temperature are high, smoothing is long, or faces are small, turned away or aligned wrongly",
        "`fertrack rescore last --set 'calibration.thresholds={}' --set calibration.fallback_threshold=0.3` puts one "
        "threshold in place of the classifier's own seven; `--original` goes back; or "
        "`--set smoothing.half_life_s=0.1`",
    ),
    Symptom(
        "confused_pair",
        "anger and fear (or neutral and sadness) taken for each other",
        "the classifier is one-sided on these faces",
        "correct some labels, then `fertrack import-labels`, `fertrack bias fit last`, and `fertrack bias use N last` "
        "with the number N that it prints; or `--set smoothing.hysteresis_margin=0.15`",
    ),
    Symptom(
        "flicker",
        "labels flicker",
        "smoothing is too short",
        "`fertrack rescore last --set smoothing.half_life_s=0.8`, `--set smoothing.hysteresis_margin=0.15`",
    ),
    Symptom(
        "lag",
        "boxes and labels lag behind (live, `pred` far behind `frame`)",
        "the machine is too slow for these live settings",
        "`--set detection.long_side=320`; leave `--fixed` out, then also `--set live.display_fps=15`",
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
"""Symptoms that ``diagnose`` finds in a stored run, in the order in which it looks."""

OTHER_SYMPTOMS = (
    Symptom(
        "nobody_followed",
        'live, nobody gets an ID, and "too few to follow anyone" is shown',
        "frames are analysed further apart than `tracking.max_age` frames",
        "`--set detection.long_side=320`, `--set linking.method=off`, or `--set tracking.max_age=90`",
    ),
    Symptom(
        "false_faces",
        "boxes on things that are not faces",
        "the threshold is too low",
        "`--set tracking.new_track_score=0.8`",
    ),
    Symptom(
        "person_twice",
        "one person counted twice",
        "the face was never seen well, or the match was not certain enough",
        "`fertrack person list last`, then `fertrack person merge last P1 P2`",
    ),
    Symptom(
        "many_ids",
        "a new ID after every short loss",
        "the track is given up too early",
        "`--set tracking.max_age=60`",
    ),
    Symptom("no_start", "it does not start", "something is missing", "`fertrack doctor`"),
)
"""Symptoms that no stored run shows, for the guide only."""


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
