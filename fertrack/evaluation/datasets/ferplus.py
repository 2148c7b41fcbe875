"""FER2013's images with the FER+ raters' votes, as a labelled set.

Images: ICML 2013 challenge (Goodfellow et al. 2013). Votes: Barsoum et al. (2016), ten raters an image.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import cv2
import numpy as np

from fertrack.errors import ConfigError
from fertrack.protocols import Detector
from fertrack.types import EXPRESSIONS, BoolArray, FloatArray, Image, IntArray

__all__ = ["VotedImages", "find_landmarks", "load_ferplus", "select_voted", "twins_among"]

_ENLARGED_PX = 160
_PADDING_PX = 32
"""A detector wants more than 48 px and some margin; black, so that no second face appears at the border."""

_MIN_VOTES = 4

_ARRAYS = ("images", "split", "split_names", "ferplus_votes", "ferplus_vote_names")


@dataclass(frozen=True, slots=True, eq=False)
class VotedImages:
    """Images whose votes agree enough on one of the seven expressions.

    Attributes:
        images: uint8 (N, 48, 48), grey.
        labels: int64 (N,), index into ``EXPRESSIONS``: the expression with most votes.
        votes: float32 (N, 7), shares of the votes for the seven.
        tied: bool (N,), another of the seven has as many votes; the first in the file's order was taken.
    """

    images: Image
    labels: IntArray
    votes: FloatArray
    tied: BoolArray

    def __len__(self) -> int:
        return len(self.labels)


def load_ferplus(path: Path, split: str = "PublicTest") -> VotedImages:
    """Read one split.

    An image counts if contempt, unknown or "not a face" did not get most votes and the seven expressions have at
    least four votes together; of expressions with equally many votes the first in the file's order is the label.

    Args:
        path: npz file with ``images``, ``split``, ``split_names``, ``ferplus_votes`` and ``ferplus_vote_names``.
        split: "Training" or "PublicTest".

    Raises:
        ConfigError: the file cannot be read or is of another kind, or nothing in it is of that split.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            contents = {name: stored[name] for name in _ARRAYS}
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{path} cannot be read as FER2013 images with FER+ votes: {reason}") from error
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, BadZipFile, zlib.error) as error:
        raise ConfigError(
            f"{path} cannot be read as FER2013 images with FER+ votes: it is no npz file with the arrays "
            f"{', '.join(_ARRAYS)}, or it is damaged"
        ) from error
    images, votes, names = contents["images"], contents["ferplus_votes"], contents["ferplus_vote_names"].tolist()
    _check_arrays(path, images, votes, names, contents["split"])
    parts = contents["split_names"].tolist()
    rows = np.flatnonzero(contents["split"] == parts.index(split)) if split in parts else np.empty(0, np.int64)
    if not len(rows):
        there = [name for number, name in enumerate(parts) if (contents["split"] == number).any()]
        raise ConfigError(f"{path} has no images of the part {split!r}: its parts are {', '.join(there)}")
    return select_voted(images[rows], votes[rows].astype(np.int64), names)


def _check_arrays(path: Path, images: Any, votes: Any, names: list[str], split: Any) -> None:
    missing = [name for name in EXPRESSIONS if name not in names]
    if missing:
        raise ConfigError(f"{path}: ferplus_vote_names must name all seven expressions; missing: {', '.join(missing)}")
    if images.dtype != np.uint8 or images.ndim != 3 or 0 in images.shape[1:]:
        raise ConfigError(f"{path}: images must be uint8 (N, H, W), got {images.dtype} {images.shape}")
    if votes.dtype.kind not in "iu" or votes.shape != (len(images), len(names)) or split.shape != (len(images),):
        raise ConfigError(
            f"{path}: with {len(images)} images, ferplus_votes must be whole numbers ({len(images)}, {len(names)}) and "
            f"split ({len(images)},), got {votes.dtype} {votes.shape} and {split.shape}"
        )


def select_voted(images: Any, votes: IntArray, names: list[str]) -> VotedImages:
    """The images whose votes agree enough, by the rules of ``load_ferplus``.

    Args:
        images: array of N images (or of anything that stands for them, such as row numbers).
        votes: int64 (N, C), votes for each of ``names``; -1 where nobody voted.
        names: of the C columns, the seven expressions among them.
    """
    seven = [names.index(name) for name in EXPRESSIONS]
    most = votes.max(axis=1)
    first = votes.argmax(axis=1)
    counts = (most > 0) & np.isin(first, seven) & (votes[:, seven].sum(axis=1) >= _MIN_VOTES)
    place = np.full(len(names), -1)
    place[seven] = np.arange(len(seven))
    of_seven = votes[counts][:, seven]
    return VotedImages(
        images=images[counts],
        labels=place[first[counts]],
        votes=(of_seven / of_seven.sum(axis=1, keepdims=True)).astype(np.float32),
        tied=(of_seven == of_seven.max(axis=1, keepdims=True)).sum(axis=1) > 1,
    )


def find_landmarks(images: Image, detector: Detector) -> tuple[FloatArray, BoolArray]:
    """The five landmarks of face images.

    The detector sees each image enlarged and padded. Where it finds no face, the landmarks of the average face of
    the set stand in, so that no image is left out.

    Args:
        images: uint8 (N, H, W), grey, one face filling each.
        detector: finds the landmarks.

    Returns:
        Landmarks float32 (N, 5, 2), px of the image itself, and bool (N,): whether a face was found.
    """
    landmarks = np.full((len(images), 5, 2), np.nan, np.float32)
    pad = _PADDING_PX
    for row, image in enumerate(images):
        enlarged = cv2.resize(_in_colour(image), (_ENLARGED_PX, _ENLARGED_PX), interpolation=cv2.INTER_CUBIC)
        padded = cv2.copyMakeBorder(enlarged, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
        faces = detector.detect([np.asarray(padded, np.uint8)])[0]
        if len(faces):
            # Pixel centres: px j of the enlarged image lies at (j + 1/2) * scale - 1/2 of the original.
            scale = image.shape[0] / _ENLARGED_PX
            landmarks[row] = (faces.landmarks[0] - pad + 0.5) * scale - 0.5
    found = np.asarray(np.isfinite(landmarks).all(axis=(1, 2)), np.bool_)
    if found.any():
        landmarks[~found] = landmarks[found].mean(axis=0)
    return landmarks, found


def _in_colour(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)


def twins_among(images: Image, others: Image, *, correlation: float = 0.99) -> BoolArray:
    """Mask of the images that are also, exactly or nearly, among others.

    Args:
        images: uint8 (N, H, W).
        others: uint8 (M, H, W).
        correlation: of 16 x 16 thumbnails; above it, two images are the same.

    Returns:
        bool (N,).
    """
    known, twins = _thumbnails(others), np.zeros(len(images), np.bool_)
    for start in range(0, len(images), 256):
        alike = _thumbnails(images[start : start + 256]) @ known.T
        twins[start : start + 256] = (alike > correlation).any(axis=1)
    return twins


def _thumbnails(images: Image) -> FloatArray:
    small = np.array([cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA) for image in images], np.float32)
    flat = small.reshape(len(images), 256)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
    return flat
