"""Diagnosis of a stored run: problems, settings to change, and their effect; nothing is stored.

Every symptom has its words once, in ``symptoms``; the guide's page ``trouble`` is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fertrack.config import load_settings
from fertrack.errors import EvaluationError
from fertrack.evaluation.expression.corrections import CorrectedFaces, corrected_faces
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.storage.queries.run_faces import load_run_faces
from fertrack.storage.stored_run import StoredRun
from fertrack.tuning import checks
from fertrack.tuning.bias_fit import fit_bias
from fertrack.tuning.checks import CHANGES, TOP_LABEL_SHARE, UNCERTAIN_SHARE, Measure, label_checks
from fertrack.tuning.class_shares import suggest_shares
from fertrack.tuning.remedies import Attempt, DiagnosedRun
from fertrack.tuning.symptoms import SYMPTOMS, Change, Diagnosis, Finding
from fertrack.types import EXPRESSIONS, IntArray

__all__ = ["diagnose"]

_MIN_FACES = 25
_MIN_SEEN = 5
"""For symptoms that boxes and landmarks show, without any estimate."""
_TOO_FEW = f"there are fewer than {_MIN_FACES} estimates"
_MIN_KEPT = 0.5
"""Leaving small faces out is a remedy where this share of the faces is left."""


def diagnose(run: StoredRun) -> Diagnosis:
    """Look for known symptoms in a stored run and preview the effect of changes; nothing is changed.

    Raises:
        EvaluationError: the run's record does not say how it was calibrated.
    """
    faces, facts = load_run_faces(run), run.facts
    try:
        own = ClassifierCalibration.from_record(facts.calibration)
    except ValueError as error:
        raise EvaluationError(f"run {faces.run} does not say how it was calibrated: process the video again") from error
    stored = DiagnosedRun(run, faces, load_settings(base=facts.config_toml), own)
    left_out = _left_unjudged(stored)
    findings = []
    for symptom in SYMPTOMS:
        for evidence, changes, useless in _CHECKS[symptom.name](stored) if symptom.name not in left_out else ():
            findings.append(
                Finding(symptom.name, symptom.seen, evidence, symptom.cause, symptom.change, changes, useless)
            )
    shown = {finding.symptom for finding in findings}
    prior, no_prior = suggest_shares(stored, shown) if _are_enough(stored) else (None, _TOO_FEW)
    return Diagnosis(
        run=faces.run,
        faces=len(stored.seen.label),
        findings=tuple(findings),
        prior=prior,
        no_prior=no_prior,
        passed=tuple(each.name for each in SYMPTOMS if each.name not in shown and each.name not in left_out),
        not_judged=tuple(each.name for each in SYMPTOMS if each.name in left_out),
    )


_SEEN_IN_BOXES = frozenset({"misaligned", "small_faces", "turned_faces"})


def _are_enough(run: DiagnosedRun) -> bool:
    return int(run.estimated.sum()) >= _MIN_FACES


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
    return nobody and run.stored.facts.summary.dropped > len(run.faces.frames) and any(True for _ in _lag(run))


_Changes = tuple[Change, ...]
_Found = Iterator[tuple[str, _Changes, _Changes]]
"""Evidence, what would help, what was tried and does not."""


def _no_face(run: DiagnosedRun) -> _Found:
    if not len(run.seen.label):
        yield f"{len(run.faces.label)} faces in {len(run.faces.frames)} frames, none followed", (), ()


def _misaligned(run: DiagnosedRun) -> _Found:
    if wrong := checks.landmarks_are_wrong(run.seen):
        yield f"{wrong}; so labels say nothing, and were not looked at", (), ()


def _one_expression(run: DiagnosedRun) -> _Found:
    label, share = checks.most_frequent(run.seen.label)
    if share < checks.ONE_EXPRESSION or (run.seen.label >= 0).sum() < _MIN_FACES:
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


def _torn(run: DiagnosedRun, pair: tuple[int, int], evidence: str) -> tuple[str, _Changes, _Changes]:
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


def _by_bias(run: DiagnosedRun, corrected: CorrectedFaces, evidence: str) -> tuple[str, _Changes, _Changes]:
    base = run.settings.calibration.model_copy(update={"bias_profile": None})
    fit = fit_bias(corrected.logits, corrected.labels, Calibrator(base, run.own), groups=corrected.groups)
    number = run.faces.run
    effect = f"macro-F1, held out, after fertrack bias use N {number} with the number N that it prints"
    change = Change(f"fertrack bias fit {number}", effect, fit.macro_f1_before, fit.macro_f1_after)
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
            evidence = f"on one displayed picture of twenty, the result was {age_s:.2f} s old or older"
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


_CHECKS: dict[str, Callable[[DiagnosedRun], _Found]] = {
    "no_face": _no_face,
    "misaligned": _misaligned,
    "one_expression": _one_expression,
    "many_uncertain": _many_uncertain,
    "confused_pair": _confused_pair,
    "flicker": _flicker,
    "lag": _lag,
    "small_faces": _small_faces,
    "turned_faces": _turned_faces,
}


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
