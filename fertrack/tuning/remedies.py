"""Remedies: the effect of other settings on a stored run's labels. Nothing is stored.

Settings are tried on the stored logits. A remedy makes the symptom better and neither brings nor worsens any
other problem that labels can show: see ``label_checks``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from fertrack.config import Settings, load_settings, to_toml
from fertrack.expression.calibration import Calibrator, ClassifierCalibration, by_expression
from fertrack.storage.queries.run_faces import RunFaces, preview_labels
from fertrack.storage.stored_run import StoredRun
from fertrack.tuning import checks
from fertrack.tuning.checks import UNCERTAIN_SHARE, Measure, is_worse, label_checks
from fertrack.tuning.diagnosis import Change, Effect
from fertrack.types import EXPRESSIONS, BoolArray, IntArray

__all__ = ["Attempt", "DiagnosedRun", "quoted"]

_MIN_GAIN = 0.1
"""A symptom must fall by this share of itself."""

_MIN_RELIEF = 0.03
"""Or by this share of its limit, where it is none any more then."""

_WORTH_TELLING = 0.1
"""Share of its limit by which something must change to be mentioned."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Options to try together.

    Attributes:
        overrides: as after ``--set``.
        restores: they are the classifier's own values. Labels made with others say little about what is normal, so
            then only the uncertain are compared.
    """

    overrides: tuple[str, ...]
    restores: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class DiagnosedRun:
    """A run as the checks see it: only faces of confirmed tracks.

    Attributes:
        stored: the run in the database.
        faces: all.
        settings: those in force.
        own: the classifier's own calibration.
        seen: faces of confirmed tracks.
        estimated: which of those have an estimate of their own, bool (N,); a live run leaves some out.
        calibrator: what is in force.
    """

    stored: StoredRun
    faces: RunFaces
    settings: Settings
    own: ClassifierCalibration
    seen: RunFaces = field(init=False)
    estimated: BoolArray = field(init=False)
    calibrator: Calibrator = field(init=False)

    def __post_init__(self) -> None:
        seen = checks.confirmed_only(self.faces)
        object.__setattr__(self, "seen", seen)
        object.__setattr__(self, "estimated", ~np.isnan(seen.logits).any(axis=1))
        object.__setattr__(self, "calibrator", Calibrator(self.settings.calibration, self.own))

    @property
    def temperature(self) -> float:
        """The temperature in force."""
        return self.calibrator.record.temperature

    def labels_with(self, overrides: Iterable[str]) -> IntArray:
        """Labels of the confirmed faces, were these options set."""
        other = self._settings_with(overrides)
        return preview_labels(self.seen, Calibrator(other.calibration, self.own), other.smoothing)

    def half_life(self, seconds: float) -> Attempt:
        """Another half-life."""
        return Attempt((*self._smoothing_on(), f"smoothing.half_life_s={seconds:g}"))

    def hysteresis(self, margin: float) -> Attempt:
        """Effects of a stronger hysteresis."""
        return Attempt((*self._smoothing_on(), f"smoothing.hysteresis_margin={margin:g}"))

    def threshold(self, least: float) -> Attempt:
        """One threshold for every expression."""
        on = () if self.settings.calibration.use_thresholds else ("calibration.use_thresholds=true",)
        if self.settings.calibration.thresholds:  # options are laid over the run's: an empty table would change nothing
            return Attempt((*on, f"calibration.thresholds={_table([least] * len(EXPRESSIONS))}"))
        return Attempt((*on, "calibration.thresholds={}", f"calibration.fallback_threshold={least:g}"))

    def sharpness(self, factor: float) -> Attempt:
        """The temperature in force times a factor: above 1 flatter, below 1 sharper."""
        on = () if self.settings.calibration.use_temperature else ("calibration.use_temperature=true",)
        return Attempt((*on, f"calibration.temperature={min(max(factor * self.temperature, 0.05), 20.0):.2f}"))

    def prior(self, strength: float) -> Attempt:
        """Another strength of the prior correction."""
        on = () if self.settings.calibration.use_prior else ("calibration.use_prior=true",)
        return Attempt((*on, f"calibration.prior_strength={strength:.1f}"))

    def own_values(self) -> tuple[Attempt, ...]:
        """The classifier's own values in place of others, each and all together; none where they are in force."""
        parts = [options for options in (self._own_temperature(), self._own_prior(), self._own_thresholds()) if options]
        if len(parts) > 1:
            parts.append(tuple(option for options in parts for option in options))
        # Values that were fitted on labelled faces are no less the classifier's than the bundle's.
        restores = not self.settings.calibration.is_fitted
        return tuple(Attempt(options, restores) for options in parts)

    def departures(self) -> tuple[str, ...]:
        """In words, what is set otherwise than the classifier has it."""
        found = []
        if self._own_temperature():
            found.append(f"the temperature is {self.temperature:.3g}, the classifier's own {self.own.temperature:.3g}")
            if self.calibrator.record.scale is not None:
                found.append("logits are scaled")
        if self._own_prior():
            found.append("the prior is not the classifier's own")
        if self._own_thresholds():
            off = not self.settings.calibration.use_thresholds
            found.append("thresholds are switched off" if off else "thresholds are not the classifier's own")
        return tuple(found)

    def tried(
        self, measure: Measure, attempts: Iterable[Attempt], others: Iterable[Measure] | None = None
    ) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
        """Effects of the attempts: those that help, the most effective first, and those that do not.

        Args:
            measure: of the symptom.
            attempts: each is tried alone.
            others: what must not get worse; None: every problem that labels can show.
        """
        before = measure.of(self.seen.label)
        compared = tuple(
            each
            for each in (label_checks(self.seen).values() if others is None else others)
            if each.name != measure.name
        )
        helping: list[Change] = []
        useless: list[Change] = []
        attempts, restored = tuple(attempts), False
        for attempt in dict.fromkeys(attempts):
            if self._settings_with(attempt.overrides) == self.settings:
                continue
            labels = self.labels_with(attempt.overrides)
            effects = [Effect(each.name, each.of(self.seen.label), each.of(labels), each.limit) for each in compared]
            harm = tuple(each for each in effects if is_worse(each) and _counts(each, attempt))
            after = measure.of(labels)
            change = Change(
                command=self._command(attempt),
                effect=measure.name,
                before=before,
                after=after,
                also=tuple(each for each in effects if each not in harm and _is_worth_telling(each)),
                worse=harm,
            )
            (helping if _is_better(measure, before, after) and not harm else useless).append(change)
            restored = restored or (attempt.restores and change in helping)
        if restored:  # then the classifier's own values are the remedy, and others hide what is wrong
            own = {self._command(attempt) for attempt in attempts if attempt.restores}
            helping = [change for change in helping if change.command in own]
        return _without_needless(sorted(helping, key=lambda each: each.after)), tuple(useless)

    def _command(self, attempt: Attempt) -> str:
        options = " ".join(f"--set {quoted(override)}" for override in attempt.overrides)
        return f"fertrack rescore {self.faces.run} {options}"

    def _settings_with(self, overrides: Iterable[str]) -> Settings:
        return load_settings(overrides=tuple(overrides), base=to_toml(self.settings))

    def _smoothing_on(self) -> tuple[str, ...]:
        return () if self.settings.smoothing.enabled else ("smoothing.enabled=true",)

    def _own_temperature(self) -> tuple[str, ...]:
        apart = max(self.temperature / self.own.temperature, self.own.temperature / self.temperature)
        is_scaled = self.calibrator.record.scale is not None
        if apart < 1.1 and not is_scaled:
            return ()
        on = () if self.settings.calibration.use_temperature else ("calibration.use_temperature=true",)
        scale = (f"calibration.scale={_table([1.0] * len(EXPRESSIONS))}",) if is_scaled else ()
        return (*on, f"calibration.temperature={self.own.temperature:.4g}", *scale)

    def _own_prior(self) -> tuple[str, ...]:
        force, equal = self.calibrator.record, (1 / len(EXPRESSIONS),) * len(EXPRESSIONS)
        options: tuple[str, ...] = ()
        if abs(force.prior_strength - self.own.prior_strength) > 0.05:
            on = () if self.settings.calibration.use_prior else ("calibration.use_prior=true",)
            options = (*on, f"calibration.prior_strength={self.own.prior_strength:g}")
        for name, now, own in (
            ("training_prior", force.training_prior, self.own.training_prior),
            ("target_prior", force.target_prior, equal),
        ):
            if not np.allclose(now, own, atol=1e-3):
                options = (*options, f"calibration.{name}={_table(own)}")
        return options

    def _own_thresholds(self) -> tuple[str, ...]:
        if np.allclose(self.calibrator.thresholds, self.own.thresholds, atol=0.02):
            return ()
        on = () if self.settings.calibration.use_thresholds else ("calibration.use_thresholds=true",)
        return (*on, f"calibration.thresholds={_table(self.own.thresholds)}")


def quoted(override: str) -> str:
    """An option as a shell wants it."""
    return f"'{override}'" if "{" in override else override


def _is_better(measure: Measure, before: float, after: float) -> bool:
    gain = before - after
    relieved = after < measure.limit <= before and gain > _MIN_RELIEF * measure.limit
    return relieved or gain >= max(_MIN_GAIN * before, 1e-3)


def _without_needless(helping: list[Change]) -> tuple[Change, ...]:
    """Leaves out several settings together where some of them alone do about as much."""

    def is_needless(change: Change) -> bool:
        parts = set(change.command.split(" --set ")[1:])
        return any(
            parts > set(other.command.split(" --set ")[1:])
            and other.after - change.after < _MIN_GAIN * max(other.after, 1e-3)
            for other in helping
        )

    return tuple(change for change in helping if not is_needless(change))


def _counts(effect: Effect, attempt: Attempt) -> bool:
    return effect.name == UNCERTAIN_SHARE or not attempt.restores


def _is_worth_telling(effect: Effect) -> bool:
    return abs(effect.after - effect.before) > _WORTH_TELLING * effect.limit


def _table(values: Iterable[float]) -> str:
    named = by_expression(values, 4)
    rest = round(1.0 - sum(list(named.values())[:-1]), 4)
    # Shares that sum to 1 still do so once rounded.
    if abs(rest - named[EXPRESSIONS[-1]]) < 0.001:
        named[EXPRESSIONS[-1]] = rest
    return "{ " + ", ".join(f"{name} = {value:g}" for name, value in named.items()) + " }"
