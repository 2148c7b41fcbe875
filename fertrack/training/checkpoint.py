"""A training run's state on disk, complete or not at all."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from fertrack.errors import ModelError
from fertrack.training.config import TrainConfig

__all__ = ["CHECKPOINT", "load_averaged", "load_checkpoint", "save_checkpoint", "saved_config"]

CHECKPOINT = "checkpoint.pt"

_MAY_DIFFER = {
    "schedule": {"epochs", "decay_share", "calm_share", "threads", "device"},
    "finish": {"calibrate", "average_with"},
}
"""What may be changed between two parts of a run: how long it goes on, and what it runs on."""

_UNREADABLE = (OSError, RuntimeError, EOFError, KeyError, ValueError, TypeError, pickle.UnpicklingError)


def save_checkpoint(folder: Path, config: TrainConfig, state: dict[str, Any]) -> None:
    """Write the state; a crash in between leaves the one before."""
    part = folder / f"{CHECKPOINT}.part"
    torch.save({"config": config.model_dump_json(), **state}, part)
    part.replace(folder / CHECKPOINT)


def load_checkpoint(folder: Path, config: TrainConfig) -> dict[str, Any]:
    """Read the state back; only tensors and plain values are read, nothing in the file is run.

    Raises:
        ModelError: unreadable, or of another configuration.
    """
    path = folder / CHECKPOINT
    try:
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
        saved = TrainConfig.model_validate_json(state["config"])
    except _UNREADABLE as error:
        raise ModelError(f"{path} is no checkpoint of a training run: remove it to begin anew") from error
    changed = _differences(saved, config)
    if changed:
        raise ModelError(f"{path} was trained with another {changed}: train in another folder, or set it back to go on")
    return state


def saved_config(folder: Path) -> TrainConfig | None:
    """Configuration that a checkpoint was saved with; None if it cannot be read."""
    try:
        state = dict(torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True))
        return TrainConfig.model_validate_json(state["config"])
    except _UNREADABLE:
        return None


def load_averaged(folder: Path) -> dict[str, Any]:
    """The averaged weights of another run.

    Raises:
        ModelError: the folder holds no readable checkpoint.
    """
    path = folder / CHECKPOINT
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True)["averaged"])
    except _UNREADABLE as error:
        raise ModelError(f"{path} is no checkpoint of a training run: train that one first") from error


def _differences(saved: TrainConfig, config: TrainConfig) -> str:
    before, now = saved.model_dump(), config.model_dump()
    for section, keys in _MAY_DIFFER.items():
        for key in keys:
            before[section].pop(key)
            now[section].pop(key)
    names = [
        f"{section}.{key}"
        for section, values in now.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if before[section].get(key) != value
    ]
    return ", ".join(names)
