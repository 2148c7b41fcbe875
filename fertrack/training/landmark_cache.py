"""Landmarks of the images that are learned from, searched for once and kept beside the runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fertrack.types import FloatArray

__all__ = ["cached_landmarks"]


def cached_landmarks(path: Path, count: int, find: Callable[[], FloatArray]) -> FloatArray:
    """Read landmarks back, or find and keep them.

    Args:
        path: where they are kept; a file that cannot be read, or of other images, is replaced.
        count: number of images N.
        find: finds them, float32 (N, 5, 2), px.
    """
    try:
        kept = np.asarray(np.load(path, allow_pickle=False), np.float32)
    except (OSError, ValueError, EOFError):
        kept = np.empty(0, np.float32)
    if kept.shape == (count, 5, 2):
        return kept
    landmarks = find()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npy")  # a crash in between leaves no half file
    np.save(part, landmarks)
    part.replace(path)
    return landmarks
