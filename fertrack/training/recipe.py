"""A recipe: one configuration file whose stages are runs of their own, each beginning with what earlier ones left.

``[[stages]]`` hold what differs from the rest of the file. ``"@name"`` in ``start``, ``teacher.bundles`` or
``finish.average_with`` stands for what the stage of that name made.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fertrack.errors import ConfigError, reason_of
from fertrack.training.config import TrainConfig, checked_train_config

__all__ = ["BUNDLE", "load_recipe"]

BUNDLE = "bundle"
"""Folder of the finished classifier inside a run's folder."""

_STAGES = "stages"


def load_recipe(path: Path, folder: Path | None = None) -> tuple[tuple[TrainConfig, Path], ...]:
    """Read a training configuration with stages or without.

    Args:
        path: TOML file.
        folder: of the run, or of the stages' runs; None: ``fertrack-out/training/<name>``.

    Returns:
        Each stage's configuration and folder, in order; of a file without stages there is one.

    Raises:
        ConfigError: the file cannot be read, is no TOML, has unknown or impossible values, or a stage refers to one
            that does not come before it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a training configuration: {reason_of(error)}") from error
    stages = content.pop(_STAGES, None)
    root = folder or Path("fertrack-out/training") / str(content.get("name", ""))
    if stages is None:
        return ((checked_train_config(content, path), root),)
    if not (isinstance(stages, list) and stages and all(isinstance(stage, dict) for stage in stages)):
        raise ConfigError(f"{path}: stages must be tables, one [[stages]] or more")
    runs: dict[str, tuple[TrainConfig, Path]] = {}
    for stage in stages:
        merged = _merged(content, stage)
        name = str(merged.get("name", ""))
        if "name" not in stage or name in runs:
            raise ConfigError(f"{path}: stages: each stage needs a name of its own")
        bundles = {f"@{earlier}": str(at / BUNDLE) for earlier, (_, at) in runs.items()}
        runs_at = {f"@{earlier}": str(at) for earlier, (_, at) in runs.items()}
        config = checked_train_config(merged, f"{path}, stage {name}")
        runs[name] = _resolved(config, bundles, runs_at, f"{path}, stage {name}"), root / name
    return tuple(runs.values())


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables in tables are merged, all else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _resolved(config: TrainConfig, bundles: Mapping[str, str], runs: Mapping[str, str], where: str) -> TrainConfig:
    def one(name: str, known: Mapping[str, str]) -> str:
        if not name.startswith("@"):
            return name
        if name not in known:
            before = f"those before it are {', '.join(known)}" if known else "there is none before it"
            raise ConfigError(f"{where}: {name} is no stage that comes before this one: {before}")
        return known[name]

    teacher = config.teacher.model_copy(
        update={"bundles": tuple(one(name, bundles) for name in config.teacher.bundles)}
    )
    finish = config.finish.model_copy(
        update={"average_with": tuple(one(name, runs) for name in config.finish.average_with)}
    )
    return config.model_copy(update={"start": one(config.start, bundles), "teacher": teacher, "finish": finish})
