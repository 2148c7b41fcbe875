"""Labelled sets to learn from: RAF-DB, folders of class sub-folders, CSV, npz; images are read when needed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fertrack.errors import ConfigError, EvaluationError
from fertrack.evaluation.datasets.formats import is_rafdb
from fertrack.evaluation.datasets.open import LabelledSet, read_labelled
from fertrack.evaluation.expression.classify import MAX_UNREADABLE, landmarks_of
from fertrack.protocols import Detector
from fertrack.training.landmark_cache import cached_landmarks
from fertrack.types import EXPRESSIONS, FloatArray, Image, IntArray

__all__ = ["LabelledImages", "MixedImages", "read_learned"]

logger = logging.getLogger(__name__)

_TEST_PART = "PublicTest"


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Some images of a labelled set, which need not be of one size.

    Attributes:
        labelled: the set.
        rows: int64 (N,), which of its images, in order.
        colour: whether they are wanted as uint8 (H, W, 3), BGR; else uint8 (H, W).
    """

    labelled: LabelledSet
    rows: IntArray
    colour: bool

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Image]:
        return map(self._image, self.rows.tolist())

    def __getitem__(self, chosen: slice | IntArray) -> LabelledImages:
        """Some of them, in that order; nothing is read yet."""
        return LabelledImages(self.labelled, np.asarray(self.rows[chosen]), self.colour)

    def digest(self) -> bytes:
        """Digest of these images: that of the set, and the selection from it."""
        return self.labelled.digest().encode() + self.rows.tobytes()

    def _image(self, row: int) -> Image:
        image = self.labelled.image(row)
        return image if self.colour else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class MixedImages:
    """Images of several sources as one.

    Attributes:
        parts: the sources' images.
        part: int64 (N,), which source each is of.
        rows: int64 (N,), which of that source's images.
    """

    parts: tuple[Image | LabelledImages, ...]
    part: IntArray
    rows: IntArray

    @classmethod
    def of(cls, parts: Sequence[Image | LabelledImages]) -> MixedImages:
        """All images of all sources, one source after the other."""
        part = np.repeat(np.arange(len(parts)), [len(each) for each in parts])
        rows = [np.arange(len(each)) for each in parts]
        return cls(tuple(parts), part, np.concatenate(rows) if rows else np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Image]:
        for part, row in zip(self.part.tolist(), self.rows.tolist(), strict=True):
            yield next(iter(self.parts[part][np.array([row])]))

    def __getitem__(self, chosen: slice | IntArray) -> MixedImages:
        """Some of them, in that order; nothing is read yet."""
        return MixedImages(self.parts, np.asarray(self.part[chosen]), np.asarray(self.rows[chosen]))

    def digest(self) -> bytes:
        """Digest of these images: those of the sources, and the selection from them."""
        of_parts = [each.tobytes() if isinstance(each, np.ndarray) else each.digest() for each in self.parts]
        hashed = b"".join(hashlib.sha256(content).digest() for content in of_parts)
        return hashed + self.part.tobytes() + self.rows.tobytes()


def read_learned(
    path: Path,
    detector: Detector,
    cache: Path,
    *,
    split: str = "",
    only: Mapping[str, Collection[str]] | None = None,
    colour: bool = False,
) -> tuple[LabelledImages, FloatArray, FloatArray, IntArray]:
    """A labelled set with landmarks.

    Args:
        path: the set.
        detector: finds the landmarks.
        cache: folder where the landmarks are kept, so that they are searched for once.
        split: which part of it.
        only: column of a CSV file -> values of rows to learn from.
        colour: whether the images are wanted in colour.

    Returns:
        The images, their landmarks float32 (N, 5, 2), px, targets float32 (N, 7) and labels int64 (N,).

    Raises:
        EvaluationError: the set cannot be read.
        ConfigError: the part that would be learned from is the one to test with, no face is found, or more than a tenth
            of the images cannot be read.
    """
    path = path.expanduser()
    labelled = read_labelled(path, split=split or ("train" if is_rafdb(path) else ""), only=only)
    if not split and labelled.kind.endswith(_TEST_PART):
        raise ConfigError(f"data.split: say which part of {path} to learn from, such as Training")
    one_hot = np.eye(len(EXPRESSIONS), dtype=np.float32)[labelled.labels]
    targets = labelled.votes if labelled.has_votes else one_hot
    kept = cache / f"landmarks-{hashlib.sha256(labelled.digest().encode()).hexdigest()[:16]}.npy"
    landmarks = cached_landmarks(kept, len(labelled), lambda: _landmarks(labelled, detector))
    read = np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2)))
    _tell_unreadable(labelled, len(read))
    return LabelledImages(labelled, read, colour), landmarks[read], targets[read], labelled.labels[read]


def _tell_unreadable(labelled: LabelledSet, readable: int) -> None:
    missing = len(labelled) - readable
    if missing > MAX_UNREADABLE * len(labelled):
        raise ConfigError(
            f"{missing} of the {len(labelled)} pictures of {labelled.name} cannot be read: copy or unpack the set "
            "again, or remove them"
        )
    if missing:
        logger.warning("%d of %d pictures cannot be read, and are left out", missing, len(labelled))


def _landmarks(labelled: LabelledSet, detector: Detector) -> FloatArray:
    """Where no face is found, the mean landmarks of the others stand in, as shares of the face's box or image.

    Images that cannot be read have NaN.
    """
    logger.info("finding landmarks in %d pictures", len(labelled))
    landmarks = np.full((len(labelled), 5, 2), np.nan, np.float32)
    corner, size = np.full((2, len(labelled), 1, 2), np.nan, np.float32)
    for row in range(len(labelled)):
        try:
            image, box = labelled.image(row), labelled.xyxy[row]
        except EvaluationError:
            continue
        landmarks[row] = landmarks_of(image, detector, box)
        whole = np.array((0, 0, image.shape[1], image.shape[0]), np.float32)
        left_top, right_bottom = np.split(box if np.isfinite(box).all() else whole, 2)
        corner[row], size[row] = left_top, right_bottom - left_top
    found = np.isfinite(landmarks).all(axis=(1, 2))
    if not found.any():
        raise ConfigError(f"no face is found in any picture of {labelled.name}: its pictures must show a face each")
    lacking = ~found & np.isfinite(size).all(axis=(1, 2))
    logger.info("%d pictures without a face found get the average landmarks", int(lacking.sum()))
    mean = ((landmarks - corner) / size)[found].mean(axis=0)
    landmarks[lacking] = (corner + mean * size)[lacking]
    return landmarks
