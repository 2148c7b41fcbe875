"""Symptoms of a stored run: how each is found, its likely causes and what to change.

The guide's page ``trouble`` is generated from the words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from fertrack.errors import EvaluationError
from fertrack.evaluation.expression.corrections import CorrectedFaces, corrected_faces
from fertrack.expression.calibration import Calibrator
from fertrack.tuning import checks
from fertrack.tuning.bias_fit import fit_bias
from fertrack.tuning.checks import CHANGES, TOP_LABEL_SHARE, UNCERTAIN_SHARE, Measure, label_checks
from fertrack.tuning.diagnosis import Change
from fertrack.tuning.remedies import Attempt, DiagnosedRun
from fertrack.types import EXPRESSIONS, IntArray

__all__ = ["MIN_FACES", "OTHER_SYMPTOMS", "SYMPTOMS", "Finding", "Symptom", "lags"]

MIN_FACES = 25
"""Estimates under which labels say nothing."""

_MIN_KEPT = 0.5
"""Leaving small faces out is a remedy where this share of the faces is left."""

_Changes = tuple[Change, ...]
_Evidence = tuple[str, _Changes, _Changes]
"""The numbers, what would help, what was tried and does not."""
_Found = Iterator[_Evidence]


def _no_face(run: DiagnosedRun) -> _Found:
    if not len(run.seen.label):
        yield f"{len(run.faces.label)} faces in {len(run.faces.frames)} frames, none followed", (), ()


def _misaligned(run: DiagnosedRun) -> _Found:
    if wrong := checks.landmarks_are_wrong(run.seen):
        yield f"{wrong}; so labels say nothing, and were not looked at", (), ()


def _one_expression(run: DiagnosedRun) -> _Found:
    label, share = checks.most_frequent(run.seen.label)
    if share < checks.ONE_EXPRESSION or (run.seen.label >= 0).sum() < MIN_FACES:
        return
    network = float((run.seen.logits[run.estimated].argmax(axis=1) == label).mean())
    evidence = f"{EXPRESSIONS[label]} in {share:.0%} of the labels, in {network:.0%} of the network's own answers"

    def share_of_it(labels: IntArray) -> float:
        return float((labels[labels >= 0] == label).mean()) if (labels >= 0).any() else 0.0

    same = Measure(f"share of {EXPRESSIONS[label]} in the labels", share_of_it, checks.ONE_EXPRESSION)
    attempts = (*run.own_values(), run.prior(1.0), run.prior(0.0), run.threshold(0.6), run.sharpness(1.5))
    yield _with_departures(run, evidence), *run.tried(same, attempts)


def _many_uncertain(run: DiagnosedRun) -> _Found:
    uncertain = label_checks(run.seen)[UNCERTAIN_SHARE]
    share = uncertain.of(run.seen.label)
    if share < uncertain.limit:
        return
    attempts = (*run.own_values(), run.threshold(0.3), run.half_life(0.1), run.sharpness(0.75))
    evidence = _with_departures(run, f"{share:.0%} of the faces are uncertain")
    yield evidence, *run.tried(uncertain, attempts)


def _confused_pair(run: DiagnosedRun) -> _Found:
    corrected = _corrections(run)
    for pair in checks.PAIRS:
        names = " and ".join(EXPRESSIONS[k] for k in pair)
        if corrected is not None:
            taken = checks.taken_for_each_other(corrected.estimates, corrected.labels, pair)
            if taken >= checks.OFTEN_CONFUSED:
                evidence = f"{taken:.0%} of the faces that you labelled {names} were taken for the other"
                yield _by_bias(run, corrected, evidence)
            continue
        torn = checks.torn_between(run.seen.smoothed, pair)
        if torn >= checks.OFTEN_TORN:
            yield _torn(run, pair, f"{torn:.0%} of the faces are torn between {names}")


def _torn(run: DiagnosedRun, pair: tuple[int, int], evidence: str) -> _Evidence:
    names = " and ".join(EXPRESSIONS[k] for k in pair)
    swaps = Measure(
        f"{names} swapped, per minute",
        lambda labels: checks.swaps_per_minute(run.seen, labels, pair),
        checks.swaps_limit(run.seen),
    )
    if not swaps.of(run.seen.label):
        return f"{evidence}, but no label goes from one to the other", (), ()
    others = [measure for measure in _except_most_frequent(run) if not measure.name.startswith(names)]
    held = run.hysteresis(0.15), run.half_life(0.8)
    return evidence, *run.tried(swaps, (*held, _together(*held)), others)


def _by_bias(run: DiagnosedRun, corrected: CorrectedFaces, evidence: str) -> _Evidence:
    base = run.settings.calibration.model_copy(update={"bias_profile": None})
    fit = fit_bias(corrected.logits, corrected.labels, Calibrator(base, run.own), groups=corrected.groups)
    number = run.faces.run
    effect = f"macro-F1, held out, after fertrack models bias use N {number} with the number N that it prints"
    change = Change(f"fertrack models bias fit {number}", effect, fit.macro_f1_before, fit.macro_f1_after)
    if fit.refused:
        return f"{evidence}; biases learned from them are refused: {fit.refused}", (), (change,)
    return evidence, (change,), ()


def _flicker(run: DiagnosedRun) -> _Found:
    changes = label_checks(run.seen)[CHANGES]
    rate = changes.of(run.seen.label)
    if rate >= changes.limit:
        held = run.half_life(0.8), run.hysteresis(0.15)
        off = "" if run.settings.smoothing.enabled else "; smoothing is switched off"
        evidence = f"{rate:.0f} changes of label per minute and person{off}"
        yield evidence, *run.tried(changes, (run.half_life(0.25), *held, _together(*held)), _except_most_frequent(run))


def _lag(run: DiagnosedRun) -> _Found:
    """Latency of a run: that measured on a live display counts most; then the time between results."""
    age_s = next((stage.p95_ms / 1e3 for stage in run.stored.facts.summary.stages if stage.stage == "age"), None)
    if age_s is not None:
        if age_s >= checks.LAG_S:
            evidence = f"on one displayed frame of twenty, the result was {age_s:.2f} s old or older"
            yield evidence + _left_out(run), (), ()
    elif run.stored.facts.summary.dropped and (apart_s := checks.time_between_frames_s(run.faces)) >= checks.LAG_S:
        yield f"results come {apart_s:.2f} s apart" + _left_out(run), (), ()


def _left_out(run: DiagnosedRun) -> str:
    summary = run.stored.facts.summary
    total = summary.dropped + len(run.faces.frames)
    detect = next((stage for stage in summary.stages if stage.stage == "detect"), None)
    cost = f"; finding faces takes {detect.p50_ms:.0f} ms a frame" if detect else ""
    followed = "" if len(run.seen.label) else "; nobody could be followed"
    return (f"; {summary.dropped} of {total} frames were left out" if summary.dropped else "") + cost + followed


def _small_faces(run: DiagnosedRun) -> _Found:
    small = checks.small(run.seen)
    if small.mean() >= checks.MANY_FACES:
        change = Change(
            f"--set detection.min_face_px={checks.SMALL_PX:g}",
            "faces analysed",
            float(len(small)),
            float((~small).sum()),
        )
        helps = small.mean() <= 1.0 - _MIN_KEPT
        evidence = f"{small.mean():.0%} of the faces are narrower than {checks.SMALL_PX:g} px"
        yield evidence, (change,) if helps else (), () if helps else (change,)


def _turned_faces(run: DiagnosedRun) -> _Found:
    turned = checks.turned(run.seen)
    if turned.mean() < checks.MANY_FACES:
        return
    labelled = Measure(
        "turned faces with a label", lambda labels: float((labels[turned] >= 0).mean()), checks.MANY_FACES
    )
    attempts = (run.threshold(0.6),) if labelled.of(run.seen.label) else ()
    evidence = f"{turned.mean():.0%} of the faces are turned far to the side"
    # That turned faces become uncertain is the aim; that the others do is not.
    yield evidence, *run.tried(labelled, attempts, label_checks(run.seen, ~turned).values())


def _except_most_frequent(run: DiagnosedRun) -> tuple[Measure, ...]:
    """Metrics that stronger smoothing must not worsen.

    The most frequent label's share is exempt, because smoothing always raises it.
    """
    return tuple(measure for name, measure in label_checks(run.seen).items() if name != TOP_LABEL_SHARE)


def _together(*attempts: Attempt) -> Attempt:
    return Attempt(tuple(dict.fromkeys(option for attempt in attempts for option in attempt.overrides)))


def _with_departures(run: DiagnosedRun, evidence: str) -> str:
    return "; ".join((evidence, *run.departures()))


def _corrections(run: DiagnosedRun) -> CorrectedFaces | None:
    try:
        return corrected_faces(run.stored)
    except EvaluationError:
        return None


def lags(run: DiagnosedRun) -> bool:
    """Whether results come too late, or too far apart."""
    return any(True for _ in _lag(run))


def _no_run_shows_it(_run: DiagnosedRun) -> _Found:
    yield from ()


@dataclass(frozen=True, slots=True)
class Symptom:
    """Something wrong with a run: what is seen, the likely cause, what to change, in Markdown; and how it is found.

    Attributes:
        name: its name in answers.
        seen: what is seen.
        cause: why it may be.
        change: what to do in general.
        check: looks for it in a run; once for each finding, the evidence, what would help, and what would not.
    """

    name: str
    seen: str
    cause: str
    change: str
    check: Callable[[DiagnosedRun], _Found] = _no_run_shows_it

    def findings(self, run: DiagnosedRun) -> Iterator[Finding]:
        """Findings of this symptom in a run."""
        return (Finding(self, *found) for found in self.check(run))


@dataclass(frozen=True, slots=True)
class Finding:
    """A symptom that a run shows.

    Attributes:
        symptom: which one, with its words.
        evidence: the numbers.
        changes: what would help on this run, the most effective first; empty where rescoring cannot help.
        useless: what was tried on this run and does not help, or does harm.
    """

    symptom: Symptom
    evidence: str
    changes: tuple[Change, ...] = ()
    useless: tuple[Change, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON values, the symptom's words among them."""
        words = self.symptom
        return {
            "symptom": words.name,
            "seen": words.seen,
            "evidence": self.evidence,
            "cause": words.cause,
            "change": words.change,
            "changes": [asdict(each) for each in self.changes],
            "useless": [asdict(each) for each in self.useless],
        }


SYMPTOMS = (
    Symptom(
        "no_face",
        "no face found",
        "the frame lies on its side, or the faces are small",
        "`--set input.rotate=90`, `--set detection.long_side=1280`",
        _no_face,
    ),
    Symptom(
        "misaligned",
        "faces aligned wrongly",
        "the frame lies on its side or upside down; or a detector of your own gives landmarks in another order, or "
        "in px of another frame",
        "`--set input.rotate=90` (180, 270); look at the aligned faces with `--set video.debug_overlay=true`; "
        "landmarks are left eye, right eye, nose, left and right mouth corner as seen in the image, in px of the frame",
        _misaligned,
    ),
    Symptom(
        "one_expression",
        "one expression everywhere",
        "the prior or the temperature does not fit the classifier, thresholds are too low, or faces are aligned "
        "wrongly; or that is what they show",
        "`fertrack rescore last --set calibration.prior_strength=1.0` (or 0.0), `--set calibration.temperature=1.5`, "
        "`--set 'calibration.thresholds={}' --set calibration.fallback_threshold=0.6`; look at the faces with "
        "`--set video.debug_overlay=true`",
        _one_expression,
    ),
    Symptom(
        "many_uncertain",
        "many *uncertain*",
        "thresholds or temperature are high, smoothing is long, or faces are small, turned away or aligned wrongly",
        "`fertrack rescore last --set 'calibration.thresholds={}' --set calibration.fallback_threshold=0.3` puts one "
        "threshold in place of the classifier's own seven; `--original` goes back; or "
        "`--set smoothing.half_life_s=0.1`",
        _many_uncertain,
    ),
    Symptom(
        "confused_pair",
        "anger and fear (or neutral and sadness) taken for each other",
        "the classifier is one-sided on these faces",
        "correct some labels, then `fertrack import-labels`, `fertrack models bias fit last`, and `fertrack models "
        "bias use N last` with the number N that it prints; or `--set smoothing.hysteresis_margin=0.15`",
        _confused_pair,
    ),
    Symptom(
        "flicker",
        "labels flicker",
        "smoothing is too short",
        "`fertrack rescore last --set smoothing.half_life_s=0.8`, `--set smoothing.hysteresis_margin=0.15`",
        _flicker,
    ),
    Symptom(
        "lag",
        "boxes and labels lag behind (live, `pred` far behind `frame`)",
        "the machine is too slow for these live settings",
        "`--set detection.long_side=320`; leave `live.fixed` at false, then also `--set live.display_fps=15`",
        _lag,
    ),
    Symptom(
        "small_faces",
        "faces too small to read",
        "the camera is far away, or the video was made smaller",
        "film closer or larger; `--set detection.min_face_px=48` leaves such faces out",
        _small_faces,
    ),
    Symptom(
        "turned_faces",
        "faces turned away",
        "the camera looks from the side, from above or from below",
        "put the camera at eye height; `fertrack rescore last --set 'calibration.thresholds={}' --set "
        "calibration.fallback_threshold=0.6` makes guesses *uncertain*",
        _turned_faces,
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
