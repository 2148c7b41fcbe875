"""Labelled images in npz files: FER2013 with FER+ votes, or any images and labels; nothing in them is unpickled."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from fertrack.errors import ConfigError, EvaluationError
from fertrack.evaluation.datasets.ferplus import load_ferplus
from fertrack.evaluation.datasets.labelled_set import LabelledSet, expression_index, no_part
from fertrack.types import EXPRESSIONS

__all__ = ["read_npz"]

_TEST_PART = "PublicTest"


def read_npz(path: Path, split: str = "") -> LabelledSet:
    """FER2013 with FER+ votes, or any ``images`` and ``labels`` with ``class_names``.

    Raises:
        EvaluationError: it cannot be read, or its arrays are others.
    """
    stored = _arrays(path)
    if not stored:
        return _voted_npz(path, split or _TEST_PART)
    missing = [name for name in ("images", "labels") if name not in stored]
    if missing:
        raise EvaluationError(
            f"{path} has no array {' and no array '.join(missing)}: images and labels are needed, class_names if the "
            f"labels are not indices into {', '.join(EXPRESSIONS)}"
        )
    images, labels = stored["images"], stored["labels"]
    grey, colour = images.ndim == 3, images.ndim == 4 and images.shape[3] == 3
    sides = images.shape[1:3]
    if images.dtype != np.uint8 or not (grey or colour) or 0 in sides or labels.shape != (len(images),):
        raise EvaluationError(
            f"{path}: images must be uint8 (N, H, W) or (N, H, W, 3) BGR with labels (N,), "
            f"got {images.dtype} {images.shape} with {labels.shape}"
        )
    names = [str(name) for name in stored.get("class_names", np.array(EXPRESSIONS)).reshape(-1)]
    if labels.dtype.kind == "U":  # words in the place of indices
        words, labels = np.unique(labels, return_inverse=True)
        names = words.tolist()
    if labels.dtype.kind not in "iu" or (labels.size and not 0 <= labels.min() <= labels.max() < len(names)):
        raise EvaluationError(
            f"{path}: labels must be indices into the {len(names)} class_names (whole numbers from 0), or words"
        )
    chosen = np.ones(len(images), np.bool_)
    if split:
        part_names = [str(name) for name in stored.get("split_names", np.empty(0)).reshape(-1)]
        if split not in part_names:
            raise no_part(path, split, part_names)
        parts = stored.get("split", np.empty(0))
        if parts.shape != (len(images),):
            raise EvaluationError(f"{path}: split must be ({len(images)},) as labels are, got {parts.shape}")
        chosen = np.asarray(parts == part_names.index(split), np.bool_)
    ours = np.array([expression_index(name) for name in names], np.int64)[labels]
    keep = chosen & (ours >= 0)
    return LabelledSet(
        path.name,
        "npz" + (f", {split}" if split else ""),
        ours[keep],
        images=images[keep],
        left_out={"of other classes": n} if (n := int((chosen & (ours < 0)).sum())) else {},
    )


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an npz file, by name; none of one with FER+ votes, which is read by its own rules."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            names = [] if "ferplus_votes" in stored.files else stored.files
            return {name: np.asarray(stored[name]) for name in names}
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile, zlib.error) as error:
        raise EvaluationError(
            f"{path} cannot be read as labelled images: it is no npz file of plain arrays, or it is damaged"
        ) from error


def _voted_npz(path: Path, split: str) -> LabelledSet:
    try:
        voted = load_ferplus(path, split)
    except ConfigError as error:
        raise EvaluationError(str(error)) from error
    kind = f"FER2013 with FER+ votes, {split}"
    return LabelledSet(path.name, kind, voted.labels, images=voted.images, votes=voted.votes, tied=voted.tied)
