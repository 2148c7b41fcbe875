"""What may be wrong with a stored run, which setting to change, and what that would come to: nothing is stored.

Every symptom has its words once, in ``symptoms``; the README's table of troubles says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from fertrack.calibration import Calibrator, ClassifierCalibration, by_expression, estimate_shares
from fertrack.config import Settings, load_settings, to_toml
from fertrack.errors import EvaluationError
from fertrack.evaluation import signs
from fertrack.evaluation.bias import fit_bias
from fertrack.evaluation.corrections import CorrectedFaces, corrected_faces
from fertrack.evaluation.symptoms import SYMPTOMS, Change, Diagnosis, Finding, PriorSuggestion
from fertrack.storage import queries
from fertrack.storage.engine import Database
from fertrack.storage.run_faces import RunFaces, load_run_faces, preview_labels
from fertrack.types import EXPRESSIONS, IntArray

__all__ = ["diagnose"]


_LEAST_FACES = 25
_LEAST_EFFECT = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A run as the checks see it: only faces of confirmed tracks are looked at."""

    db: Database
    faces: RunFaces
    settings: Settings
    own: ClassifierCalibration
    seen: RunFaces = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", signs.confirmed_only(self.faces))

    def labels_with(self, *overrides: str) -> IntArray:
        """Labels of the confirmed faces, were these options set."""
        other = load_settings(overrides=overrides, base=to_toml(self.settings))
        return preview_labels(self.seen, Calibrator(other.calibration, self.own), other.smoothing)

    def half_life(self, seconds: float) -> tuple[str, ...]:
        """The options for another half-life; other forms of smoothing, which contradict it, are put out of use."""
        others = ("alpha", "ema_past_weight")
        used = [f"smoothing.{name}=0" for name in others if getattr(self.settings.smoothing, name)]
        return (*used, f"smoothing.half_life_s={seconds:g}")

    def tried(
        self, effect: str, measure: Callable[[IntArray], float], *attempts: tuple[str, ...]
    ) -> tuple[Change, ...]:
        """What each attempt would do to a measure, those that do nothing left out, the most effective first."""
        before = measure(self.seen.label)
        found = []
        for overrides in attempts:
            after = measure(self.labels_with(*overrides))
            if abs(after - before) > _LEAST_EFFECT * max(1.0, before):
                options = " ".join(f"--set {_quoted(override)}" for override in overrides)
                found.append(Change(f"fertrack rescore {self.faces.run} {options}", effect, before, after))
        return tuple(sorted(found, key=lambda change: change.after))


def diagnose(db: Database, run: int | str) -> Diagnosis:
    """Look for known symptoms in a stored run and preview what changes would come to; nothing is changed.

    Raises:
        RunNotFoundError: no such run is stored.
        EvaluationError: the run's record does not say how it was calibrated.
    """
    faces = load_run_faces(db, run)
    facts = queries.run_facts(db, faces.run)
    try:
        own = ClassifierCalibration.from_record(facts.calibration)
    except ValueError as error:
        raise EvaluationError(f"run {faces.run} does not say how it was calibrated: process the video again") from error
    stored = _Run(db, faces, load_settings(base=facts.config_toml), own)
    findings = []
    for symptom in SYMPTOMS:
        enough = len(stored.seen.label) >= _LEAST_FACES or symptom.name in ("no_face", "lag")
        for evidence, changes in _CHECKS[symptom.name](stored) if enough else ():
            findings.append(Finding(symptom.name, symptom.seen, evidence, symptom.cause, symptom.change, changes))
    shown = {finding.symptom for finding in findings}
    return Diagnosis(
        run=faces.run,
        faces=len(stored.seen.label),
        findings=tuple(findings),
        prior=_prior(stored) if len(stored.seen.label) >= _LEAST_FACES else None,
        passed=tuple(symptom.name for symptom in SYMPTOMS if symptom.name not in shown),
    )


_Found = Iterator[tuple[str, tuple[Change, ...]]]


def _no_face(run: _Run) -> _Found:
    if not len(run.seen.label):
        yield f"{len(run.faces.label)} faces in {len(run.faces.frames)} frames, none followed", ()


def _one_expression(run: _Run) -> _Found:
    label, share = signs.commonest(run.seen.label)
    if share < signs.ONE_EXPRESSION:
        return
    network = float((run.seen.logits.argmax(axis=1) == label).mean())
    odd = signs.landmark_misfit(run.seen)
    evidence = f"{EXPRESSIONS[label]} in {share:.0%} of the labels, in {network:.0%} of the network's own answers"
    if odd > signs.ODD_LANDMARKS:
        evidence += f"; landmarks lie {odd:.0%} of the eye distance from where a face has them: aligned wrongly?"
    temperature = Calibrator(run.settings.calibration, run.own).describe()["temperature"]

    def measure(labels: IntArray) -> float:
        return float((labels[labels >= 0] == label).mean()) if (labels >= 0).any() else 0.0

    yield (
        evidence,
        run.tried(
            f"share of {EXPRESSIONS[label]} in the labels",
            measure,
            ("calibration.prior_strength=1.0",),
            ("calibration.prior_strength=0.0",),
            (f"calibration.temperature={min(1.5 * temperature, 20.0):.2f}",),
        ),
    )


def _many_uncertain(run: _Run) -> _Found:
    share = signs.uncertain_share(run.seen.label)
    if share < signs.MANY_UNCERTAIN:
        return
    temperature = Calibrator(run.settings.calibration, run.own).describe()["temperature"]
    yield (
        f"{share:.0%} of the faces are uncertain",
        run.tried(
            "share uncertain",
            signs.uncertain_share,
            ("calibration.thresholds={}", "calibration.fallback_threshold=0.3"),
            run.half_life(0.1),
            (f"calibration.temperature={max(0.75 * temperature, 0.05):.2f}",),
        ),
    )


def _confused_pair(run: _Run) -> _Found:
    corrected = _corrections(run)
    for pair in signs.PAIRS:
        names = " and ".join(EXPRESSIONS[k] for k in pair)
        changes: tuple[Change, ...] = ()
        if corrected is not None:
            taken = signs.taken_for_each_other(corrected.estimates, corrected.labels, pair)
            if taken < signs.OFTEN_CONFUSED:
                continue
            base = run.settings.calibration.model_copy(update={"bias_profile": None})
            fit = fit_bias(corrected.logits, corrected.labels, Calibrator(base, run.own), groups=corrected.groups)
            evidence = f"{taken:.0%} of the faces that you labelled {names} were taken for the other"
            if not fit.refused:
                changes = (
                    Change(
                        f"fertrack bias fit {run.faces.run}",
                        "macro-F1, held out",
                        fit.macro_f1_before,
                        fit.macro_f1_after,
                    ),
                )
        else:
            torn = signs.torn_between(run.seen.smoothed, pair)
            if torn < signs.OFTEN_TORN:
                continue
            evidence = f"{torn:.0%} of the faces are torn between {names}"

            def swaps(labels: IntArray, pair: tuple[int, int] = pair) -> float:
                return signs.swaps_per_minute(run.seen, labels, pair)

            changes = run.tried(f"{names} swapped, per minute", swaps, ("smoothing.hysteresis_margin=0.15",))
        yield evidence, changes


def _flicker(run: _Run) -> _Found:
    def measure(labels: IntArray) -> float:
        return signs.changes_per_minute(run.seen, labels)

    rate = measure(run.seen.label)
    if rate < signs.FLICKER_PER_MINUTE:
        return
    yield (
        f"{rate:.0f} changes of label per minute and person",
        run.tried(
            "changes per minute and person",
            measure,
            run.half_life(0.8),
            ("smoothing.hysteresis_margin=0.15",),
        ),
    )


def _lag(run: _Run) -> _Found:
    if len(run.faces.lag_s) and (late_s := float(np.percentile(run.faces.lag_s, 95))) >= signs.LAG_S:
        yield f"in one frame of twenty what is shown is {late_s:.2f} s old or older", ()


def _small_faces(run: _Run) -> _Found:
    small = signs.small(run.seen)
    if small.mean() >= signs.MANY_FACES:
        yield (
            f"{small.mean():.0%} of the faces are narrower than {signs.SMALL_PX:g} px",
            (
                Change(
                    f"--set detection.min_face_px={signs.SMALL_PX:g}",
                    "faces analysed",
                    float(len(small)),
                    float((~small).sum()),
                ),
            ),
        )


def _turned_faces(run: _Run) -> _Found:
    turned = signs.turned(run.seen)
    if turned.mean() >= signs.MANY_FACES:
        yield (
            f"{turned.mean():.0%} of the faces are turned far to the side",
            run.tried(
                "share uncertain",
                signs.uncertain_share,
                ("calibration.thresholds={}", "calibration.fallback_threshold=0.6"),
            ),
        )


_CHECKS: dict[str, Callable[[_Run], _Found]] = {
    "no_face": _no_face,
    "one_expression": _one_expression,
    "many_uncertain": _many_uncertain,
    "confused_pair": _confused_pair,
    "flicker": _flicker,
    "lag": _lag,
    "small_faces": _small_faces,
    "turned_faces": _turned_faces,
}


def _corrections(run: _Run) -> CorrectedFaces | None:
    try:
        return corrected_faces(run.db, run.faces.run)
    except EvaluationError:
        return None


def _prior(run: _Run) -> PriorSuggestion:
    calibrator = Calibrator(run.settings.calibration, run.own)
    shares = estimate_shares(calibrator.probabilities(run.seen.logits), calibrator.assumed_shares)
    rounded = [max(round(float(share), 3), 0.001) for share in shares]
    named = {name: round(share / sum(rounded), 4) for name, share in zip(EXPRESSIONS, rounded, strict=True)}
    table = "{ " + ", ".join(f"{name} = {share}" for name, share in named.items()) + " }"
    overrides = ("calibration.prior_strength=1.0", f"calibration.target_prior={table}")
    after = run.labels_with(*overrides)
    return PriorSuggestion(
        shares=named,
        assumed=by_expression(calibrator.assumed_shares),
        command=f"fertrack rescore {run.faces.run} " + " ".join(f"--set {_quoted(each)}" for each in overrides),
        labels_changed=float((after != run.seen.label).mean()),
    )


def _quoted(override: str) -> str:
    return f"'{override}'" if "{" in override else override
