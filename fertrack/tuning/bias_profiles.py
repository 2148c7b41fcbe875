"""Bias profiles: numbered files in a folder, each with its biases, their origin and their effect.

A profile is a configuration file (``--config FILE`` takes it) that sets ``calibration.bias_profile`` and nothing
else that changes a number. Nothing is ever overwritten: a new fit is a new version.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomli_w

from fertrack.config import Settings, digest, load_settings, to_toml
from fertrack.errors import ConfigError, EvaluationError
from fertrack.evaluation.expression.page import write_text
from fertrack.expression.calibration import Calibrator, by_expression
from fertrack.expression.config import CalibrationConfig
from fertrack.storage.engine import Database
from fertrack.storage.facts import RunFacts
from fertrack.storage.rescore import RescoreReport, previous_config, rescore
from fertrack.tuning.bias_fit import BiasFit
from fertrack.types import EXPRESSIONS

__all__ = ["BiasProfile", "apply_profile", "find_profile", "profiles", "save_profile", "undo_rescore"]

_FILE = re.compile(r"bias-v(\d+)\.toml")


@dataclass(frozen=True, slots=True)
class BiasProfile:
    """A stored profile.

    Attributes:
        version: its number.
        path: its file.
        classifier: name and version of the classifier it is for.
        fitted_on: which labelled faces it was learned from.
        made_at: when, UTC.
        moments: labelled moments it was learned from.
        macro_f1_before: of held-out faces, without it.
        macro_f1_after: of held-out faces, with it.
        bias: by expression.
    """

    version: int
    path: Path
    classifier: str
    fitted_on: str
    made_at: dt.datetime
    moments: int
    macro_f1_before: float
    macro_f1_after: float
    bias: dict[str, float]


def save_profile(
    folder: Path, fit: BiasFit, *, classifier: str, fitted_on: str, data_sha256: str, now: dt.datetime | None = None
) -> BiasProfile:
    """Write a fit as the next version.

    Raises:
        EvaluationError: the fit was refused.
        ReportError: the file cannot be written.
    """
    if fit.refused:
        raise EvaluationError(f"no profile was made: {fit.refused}")
    version = max((int(match[1]) for path in _files(folder) if (match := _FILE.fullmatch(path.name))), default=0) + 1
    bias = by_expression(fit.bias, 4)
    record = {
        "version": version,
        "fitted_on": fitted_on,
        "data_sha256": data_sha256,
        "made_at": now or dt.datetime.now(dt.UTC).replace(microsecond=0),
        "moments": dict(zip(EXPRESSIONS, fit.moments, strict=True)),
        "macro_f1_before": round(fit.macro_f1_before, 4),
        "macro_f1_after": round(fit.macro_f1_after, 4),
        "macro_f1_gain_95": [round(fit.macro_f1_gain.low, 4), round(fit.macro_f1_gain.high, 4)],
        "mean_recall_gain_95": [round(fit.recall_gain.low, 4), round(fit.recall_gain.high, 4)],
        "confusions": [asdict(each) for each in fit.confusions],
    }
    text = tomli_w.dumps({"calibration": {"classifier": classifier, "bias_profile": bias}, "record": record})
    path = folder / f"bias-v{version}.toml"
    head = "# Bias profile, written by `fertrack models bias fit`; macro-F1 before and after is of faces held out.\n\n"
    write_text(path, head + text, overwrite=False)
    return find_profile(folder, version)


def profiles(folder: Path) -> list[BiasProfile]:
    """All profiles of a folder, oldest first.

    Raises:
        EvaluationError: a file is none.
    """
    return sorted((_read(path) for path in _files(folder)), key=lambda profile: profile.version)


def find_profile(folder: Path, version: int) -> BiasProfile:
    """One profile.

    Raises:
        EvaluationError: there is no such version, or its file is none.
    """
    path = folder / f"bias-v{version}.toml"
    if not path.is_file():
        known = ", ".join(str(profile.version) for profile in profiles(folder)) or "none"
        raise EvaluationError(f"there is no bias profile {version} in {folder}: known are {known}")
    return _read(path)


def apply_profile(db: Database, run: int | str, profile: BiasProfile | None) -> RescoreReport:
    """Rescore a run with a profile, or with none, all else as in force.

    Raises:
        RunNotFoundError: no such run is stored.
        ConfigError: the profile is for another classifier.
        StorageError: the database cannot be written.
    """
    with db.run(run) as stored:
        facts = stored.facts
    settings = load_settings(base=facts.config_toml)
    changes: dict[str, Any] = {"bias_profile": profile.bias if profile else None}
    if profile is not None:
        changes["classifier"] = profile.classifier
    calibration = CalibrationConfig.model_validate(settings.calibration.model_dump() | changes)
    return _rescore(db, facts, settings.model_copy(update={"calibration": calibration}))


def undo_rescore(db: Database, run: int | str) -> RescoreReport:
    """Rescore a run with what was in force before the last change of its calibration or smoothing.

    Raises:
        RunNotFoundError: no such run is stored.
        EvaluationError: nothing was changed, or all changes are undone.
        StorageError: the database cannot be written.
    """
    with db.run(run) as stored:
        facts, before = stored.facts, previous_config(stored)
    if before is None:
        raise EvaluationError(f"run {facts.id} is as it was made: there is nothing to undo")
    # Word for word, so that it is recognised as a step back.
    return _rescore(db, facts, load_settings(base=before), before)


def _rescore(db: Database, facts: RunFacts, settings: Settings, config_toml: str = "") -> RescoreReport:
    return rescore(
        db,
        facts.id,
        Calibrator(settings.calibration, facts.own_calibration),
        settings.smoothing,
        config_toml=config_toml or to_toml(settings),
        config_digest=digest(settings),
    )


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("bias-v*.toml") if _FILE.fullmatch(path.name)] if folder.is_dir() else []


def _read(path: Path) -> BiasProfile:
    try:
        calibration = load_settings([path]).calibration
        record: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["record"]
        bias = calibration.bias_profile
        if bias is None or calibration.classifier is None:
            raise EvaluationError(f"{path} is no bias profile: calibration.bias_profile or classifier is missing")
        return BiasProfile(
            version=int(record["version"]),
            path=path,
            classifier=calibration.classifier,
            fitted_on=str(record["fitted_on"]),
            made_at=record["made_at"],
            moments=sum(record["moments"].values()),
            macro_f1_before=float(record["macro_f1_before"]),
            macro_f1_after=float(record["macro_f1_after"]),
            bias={name: float(value) for name, value in bias.items()},
        )
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise EvaluationError(f"{path} is no bias profile: {error}") from error
