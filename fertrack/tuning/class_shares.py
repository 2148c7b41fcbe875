"""A stored run's own class shares, estimated from its faces, as a suggestion; or why there is none.

The estimate (``fertrack.expression.calibration.estimate_shares``) is right only for calibrated probabilities: with any
others it takes the classifier's errors for the world's shares, and would make more of them.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from fertrack.expression.calibration import by_expression, estimate_shares, in_order
from fertrack.tuning.checks import is_worse, label_checks
from fertrack.tuning.diagnosis import Effect, PriorSuggestion
from fertrack.tuning.remedies import DiagnosedRun, quoted
from fertrack.types import EXPRESSIONS

__all__ = ["suggest_shares"]

_MIN_MOMENTS = 10
_ALREADY = 0.005


def suggest_shares(run: DiagnosedRun, symptoms: Collection[str]) -> tuple[PriorSuggestion | None, str]:
    """The class shares under which a run's faces are most likely.

    Args:
        run: with at least one estimate.
        symptoms: names of those that were found in it.

    Returns:
        The suggestion, and an empty reason; or None, and why there is none.
    """
    if unsound := _unsound(run, symptoms):
        return None, unsound
    if _moments(run) < _MIN_MOMENTS:
        return None, f"there are only {_moments(run)} moments (seconds of one person) to estimate them from"
    calibrator = run.calibrator
    shares = estimate_shares(calibrator.probabilities(run.seen.logits[run.estimated]), calibrator.assumed_shares)
    if np.abs(shares - np.asarray(calibrator.assumed_shares)).max() < _ALREADY:
        return None, "they are those that it assumes already"
    rounded = [max(round(float(share), 3), 0.001) for share in shares]
    named = {name: round(share / sum(rounded), 4) for name, share in zip(EXPRESSIONS, rounded, strict=True)}
    table = "{ " + ", ".join(f"{name} = {share}" for name, share in named.items()) + " }"
    overrides = ("calibration.prior_strength=1.0", f"calibration.target_prior={table}")
    after = run.labels_with(overrides)
    effects = [
        Effect(each.name, each.of(run.seen.label), each.of(after), each.limit)
        for each in label_checks(run.seen).values()
    ]
    harm = [f"{each.name} {each.before:.3g} → {each.after:.3g}" for each in effects if is_worse(each)]
    if harm:
        return None, f"the estimated shares would bring another trouble: {', '.join(harm)}"
    return PriorSuggestion(
        shares=named,
        assumed=by_expression(calibrator.assumed_shares),
        command=f"fertrack rescore {run.faces.run} " + " ".join(f"--set {quoted(each)}" for each in overrides),
        labels_changed=float((after != run.seen.label).mean()),
        moments=_moments(run),
    ), ""


def _moments(run: DiagnosedRun) -> int:
    """Seconds in which a person has an estimate: frames of one second show much the same."""
    seen = run.seen
    which = np.stack([seen.track, np.floor(seen.time_s).astype(np.int64)], axis=1)[run.estimated]
    return len(np.unique(which, axis=0))


def _unsound(run: DiagnosedRun, symptoms: Collection[str]) -> str:
    force, by_hand = run.calibrator.record, _set_by_hand(run)
    if not force.calibrated:
        return (
            "the classifier is not calibrated (`fertrack models calibrate`), so its probabilities do not tell class "
            "shares"
        )
    if by_hand:
        return f"set by hand, not fitted: {', '.join(by_hand)}; such probabilities do not tell class shares"
    if "misaligned" in symptoms:
        return "faces are aligned wrongly"
    if "one_expression" in symptoms:
        return "with one expression everywhere, it cannot tell the people's share from the classifier's fault"
    return ""


def _set_by_hand(run: DiagnosedRun) -> tuple[str, ...]:
    """Options that shift the probabilities away from those fitted on labelled faces.

    A whole calibration for a named classifier, as ``fertrack models calibrate`` writes it, was fitted; whoever changes
    its temperature, scale or bias afterwards leaves no trace, and is believed.
    """
    config, force, own = run.settings.calibration, run.calibrator.record, run.own
    is_fitted = config.is_fitted
    moved = {
        "temperature": not is_fitted and abs(force.temperature / own.temperature - 1.0) > 0.01,
        "temperature switched off": is_fitted and not config.use_temperature,
        "scale": not is_fitted and force.scale is not None,
        "training prior": not is_fitted and not np.allclose(force.training_prior, own.training_prior, atol=1e-3),
        "bias": not is_fitted
        and not np.allclose(in_order(config.bias or {}, 0.0), own.biases)
        and config.bias is not None,
        "bias switched off": not config.use_bias and (is_fitted or any(own.biases)),
        "bias profile": any((config.bias_profile or {}).values()),
    }
    return tuple(name for name, is_moved in moved.items() if is_moved)
