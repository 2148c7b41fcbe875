"""Writes a fitted calibration: as a TOML file for ``--config`` and as an HTML and JSON report."""

from __future__ import annotations

import json
import math
import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import tomli_w

from fertrack.evaluation.expression.figures import CURVES_NOTE, coverage_svg, reliability_svg
from fertrack.evaluation.expression.page import facts_html, page_html, table_html, write_text
from fertrack.evaluation.expression.scores import INTERVALS_NOTE, MEASURES, ExpressionScores
from fertrack.expression.config import CalibrationConfig
from fertrack.tuning.calibration_fit import CalibrationFit
from fertrack.tuning.precision_targets import PrecisionTarget
from fertrack.types import EXPRESSIONS

__all__ = [
    "TARGET_COLUMNS",
    "calibration_toml",
    "fit_facts",
    "fit_json",
    "fitted_on",
    "shortfalls",
    "target_rows",
    "write_calibration",
    "write_fit_report",
]

TARGET_COLUMNS = ("expression", "pictures", "threshold", "precision, fitted", "held out", "target")


def calibration_toml(config: CalibrationConfig, comment: str, record: Mapping[str, Any] | None = None) -> str:
    """A configuration file with nothing but ``[calibration]``: what is set, under a comment.

    Args:
        config: the values.
        comment: what they are, for people; wrapped.
        record: where they come from, for programs: a table ``[record]``, which changes nothing.
    """
    lines = [line for part in comment.splitlines() for line in textwrap.wrap(part, 116) or [""]]
    head = "\n".join(f"# {line}".rstrip() for line in lines)
    values = config.model_dump(mode="json", exclude_defaults=True)
    # What an earlier file or a run's own configuration may have set must not be added to what was fitted, nor stay
    # switched off: everything that changes a probability is said.
    neutral = {
        "scale": dict.fromkeys(EXPRESSIONS, 1.0),
        "bias_profile": dict.fromkeys(EXPRESSIONS, 0.0),
        "target_prior": dict.fromkeys(EXPRESSIONS, 1 / len(EXPRESSIONS)),
    }
    switches = dict.fromkeys(("use_temperature", "use_prior", "use_bias", "use_thresholds"), True)
    values = {**neutral, **switches, **values}
    return f"{head}\n\n{tomli_w.dumps({'calibration': values} | ({'record': record} if record else {}))}"


def write_calibration(
    fit: CalibrationFit, path: Path, *, data: str, data_sha256: str, overwrite: bool = False
) -> CalibrationConfig:
    """Write the values where ``--config`` reads them; returns them as written.

    Raises:
        OutputExistsError: something is already there and ``overwrite`` is False.
        ReportError: it cannot be written.
    """
    config = fit.config()
    record = {"fitted_on": data, "data_sha256": data_sha256, **_targets_record(fit)}
    after = fit.after.measures
    comment = (
        f"Calibration of {fit.classifier}, written by `fertrack models calibrate`.\n"
        f"Fitted on {data}: {fit.after.faces} faces ({fit.options.kind}, at {fit.options.shares} class shares; "
        f"thresholds for a precision of {fit.options.precision:g}).\n"
        f"Held out, {fit.options.folds} folds: accuracy {after['accuracy']}, calibration error {after['ece']} "
        f"(before: {fit.before.measures['ece']}), negative log-likelihood {after['nll']}."
    )
    if short := shortfalls(fit):
        comment = "\n".join([comment, "Mind:", *(f"- {each}." for each in short)])
    write_text(path, calibration_toml(config, comment, record), overwrite=overwrite)
    return config


def fitted_on(path: Path) -> str:
    """Labelled faces that a calibration file was fitted on, as it states; empty if it does not, or is none."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return str(content["record"]["fitted_on"]) if "temperature" in content["calibration"] else ""
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, KeyError, TypeError):
        return ""


_MAY_RISE = {"ece": 0.01, "nll": 0.0, "nll_equal_shares": 0.01}
"""How far a measure may rise without being told: binned, or far from what was fitted, it wavers."""


def shortfalls(fit: CalibrationFit) -> list[str]:
    """Expressions with too few images or too many errors to reach their target, a sentence each; for people."""
    edge = (
        f"the temperature {fit.values.temperature:.3g} is at the edge of what is searched: images all answered "
        "rightly, or wrongly, do not tell it"
    )
    missed = [target.sentence() for target in fit.targets if target.problems]
    return [edge] * fit.temperature_at_edge + _rises(fit) + missed


def _rises(fit: CalibrationFit) -> list[str]:
    """Measures in which the calibration in force did better, held out, than the fitted one."""
    before, after = fit.before.measures, fit.after.measures
    return [
        f"{MEASURES[name]}: {after[name].value:.3f} held out, but {before[name].value:.3f} with the calibration in "
        "force, which may be the better one, or was fitted on such images"
        for name, least in _MAY_RISE.items()
        if after[name].value - before[name].value > least
    ]


def target_rows(fit: CalibrationFit) -> list[list[Any]]:
    """Result for each expression's target precision, as a table with ``TARGET_COLUMNS``."""
    return [
        [each.expression, each.pictures, each.threshold, each.fitted, each.held_out, _verdict(each)]
        for each in fit.targets
    ]


def _verdict(target: PrecisionTarget) -> str:
    met = "met where fitted; held out below it, within chance" if target.held_out < target.wanted else "met"
    return ", ".join(target.problems) or met


def _targets_record(fit: CalibrationFit) -> dict[str, Any]:
    """The targets, for the file; what is not known is left out."""
    targets: dict[str, Any] = {}
    for each in fit.targets:
        row: dict[str, Any] = {"pictures": each.pictures, "labels_held_out": each.given}
        known = {"precision_fitted": each.fitted, "precision_held_out": each.held_out}
        row |= {name: round(value, 4) for name, value in known.items() if not math.isnan(value)}
        targets[each.expression] = row | {"problems": list(each.problems)}
    return {"precision_wanted": fit.options.precision, "targets": targets} if targets else {}


def fit_facts(fit: CalibrationFit) -> dict[str, str]:
    """Facts about a fit, for people."""

    def named(values: tuple[float, ...]) -> str:
        return ", ".join(f"{name} {value:.3g}" for name, value in zip(EXPRESSIONS, values, strict=True))

    temperatures = ", ".join(f"{each.temperature:.3f}" for each in fit.folds)
    facts = {
        "classifier": fit.classifier,
        "fitted": f"{fit.options.kind}, at {fit.options.shares} class shares",
        "prior strength": f"{fit.strength:g}" + (" (chosen here)" if fit.options.strength is None else ""),
        "temperature": f"{fit.values.temperature:.3f} (folds: {temperatures})",
        f"thresholds for precision {fit.options.precision:g}": named(fit.values.thresholds),
    }
    if fit.options.kind == "vector":
        facts["scale"] = named(fit.values.scale)
    if fit.options.kind != "temperature":
        facts["bias"] = named(fit.values.bias)
    return facts


def fit_json(fit: CalibrationFit) -> dict[str, Any]:
    """Everything but the probabilities, as plain JSON values."""
    record = {name: getattr(fit, name) for name in ("classifier", "strength", "training_prior")}
    parts = {name: asdict(getattr(fit, name)) for name in ("values", "options", "raw", "before", "after")}
    targets = [asdict(each) | {"sentence": each.sentence()} for each in fit.targets]
    return {
        **record,
        **parts,
        "targets": targets,
        "folds": [asdict(each) for each in fit.folds],
        "expressions": list(EXPRESSIONS),
    }


def write_fit_report(
    fit: CalibrationFit, folder: Path, facts: dict[str, str], *, overwrite: bool = False
) -> list[Path]:
    """Write ``calibration.html`` and ``calibration.json``; returns their paths.

    Args:
        fit: what was fitted.
        folder: where they go.
        facts: what the faces are, for people.
        overwrite: replace files that are there.

    Raises:
        OutputExistsError: one is already there and ``overwrite`` is False.
        ReportError: one cannot be written.
    """
    from fertrack.evaluation.expression.report import plain

    text = json.dumps(plain({**fit_json(fit), "facts": facts}), indent=1, allow_nan=False) + "\n"
    return [
        write_text(folder / "calibration.html", _html(fit, facts), overwrite=overwrite),
        write_text(folder / "calibration.json", text, overwrite=overwrite),
    ]


def _html(fit: CalibrationFit, facts: dict[str, str]) -> str:
    stages = {"as trained": fit.raw, "before": fit.before, "after, held out": fit.after}
    measures = [name for name in MEASURES if name in fit.after.measures]
    body = [
        facts_html({**facts, **fit_facts(fit)}),
        "<h2>What it is worth</h2>",
        table_html(
            ["measure", *stages],
            [[MEASURES[name], *(scores.measures[name] for scores in stages.values())] for name in measures],
        ),
        f'<p class="note">Held out: {fit.options.folds} folds, each judged with values fitted on the others. '
        '"Before" is the calibration that was in force; where it was fitted on the same images, it is flattered. '
        f"{INTERVALS_NOTE}</p>",
        reliability_svg({name: scores.reliability for name, scores in stages.items()}, "Reliability"),
        coverage_svg({name: scores.coverage for name, scores in stages.items()}, "Accuracy against coverage"),
        f'<p class="note">{CURVES_NOTE}</p>',
        "<h2>Each expression, held out</h2>",
        table_html(
            [
                "expression",
                "pictures",
                "recall",
                "precision",
                "threshold",
                "recall of its label",
                "precision of its label",
            ],
            _class_rows(fit.after, fit.values.thresholds),
        ),
    ]
    if fit.targets:
        body += [
            f"<h2>Thresholds for a precision of {fit.options.precision:g}</h2>",
            f'<p class="note">At {fit.options.shares} class shares, those of the fit.</p>',
            table_html(TARGET_COLUMNS, target_rows(fit)),
            *(f'<p class="note">{escape(each)}.</p>' for each in shortfalls(fit)),
        ]
    return page_html(f"Calibration of {fit.classifier}", body)


def _class_rows(scores: ExpressionScores, thresholds: tuple[float, ...]) -> list[list[Any]]:
    return [
        [row.expression, row.pictures, row.recall, row.precision, limit, row.labelled, row.labelled_precision]
        for row, limit in zip(scores.classes, thresholds, strict=True)
    ]
