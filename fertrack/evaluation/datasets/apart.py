"""Faces kept apart from learning: whole persons, chosen by their names, so that training and judging agree on them."""

from __future__ import annotations

import zlib

import numpy as np

from fertrack.errors import EvaluationError
from fertrack.evaluation.datasets.labelled_set import LabelledSet
from fertrack.types import BoolArray

__all__ = ["kept_apart"]

_STEPS = 1000


def kept_apart(labelled: LabelledSet, share: float) -> BoolArray:
    """Mask of the images that training never sees, bool (N,).

    A person's images go together; an image of nobody in particular goes by its file's name. The choice depends on
    these names alone: not on the order, nor on what else is in the set.

    Args:
        labelled: images with subjects or files.
        share: of the persons, about; 0: none, 1: all.

    Raises:
        EvaluationError: a part is wanted of images that have neither subjects nor files.
    """
    if share in (0.0, 1.0):
        return np.full(len(labelled), share == 1.0)
    if not (labelled.paths or labelled.subjects):
        raise EvaluationError(f"{labelled.name} names neither persons nor files: no part of it can be kept apart")
    subjects = labelled.subjects or ("",) * len(labelled)
    files = [path.name for path in labelled.paths] or [""] * len(labelled)
    names = [subject or file for subject, file in zip(subjects, files, strict=True)]
    return np.array([zlib.crc32(name.encode()) % _STEPS < share * _STEPS for name in names], np.bool_)
