"""The images a network learns from: votes as soft targets, our own landmarks, no twins of test images."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from fertrack.errors import ConfigError, reason_of
from fertrack.evaluation.datasets.ferplus import find_landmarks, load_ferplus, select_voted, twins_among
from fertrack.protocols import Detector
from fertrack.training.config import DataConfig
from fertrack.training.labelled_images import LabelledImages, MixedImages, read_learned
from fertrack.training.landmark_cache import cached_landmarks
from fertrack.types import EXPRESSIONS, BoolArray, FloatArray, Image, IntArray

__all__ = [
    "TrainingImages",
    "crop_template",
    "is_fer2013",
    "is_labelled_set",
    "load_images",
    "subset",
    "tested_images",
    "voted_images",
]

logger = logging.getLogger(__name__)

_FACE_IN_PICTURE = ((0.3640, 0.4491), (0.6346, 0.4476), (0.5002, 0.6030), (0.3890, 0.7614), (0.6131, 0.7601))
"""Where the average FER2013 image has its five landmarks, shares of its side."""


_CALLED = {"angry": "anger", "happy": "happiness", "sad": "sadness"}
"""FER2013's own words where they differ from ours."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingImages:
    """Labelled images with landmarks.

    Attributes:
        images: uint8 (N, 48, 48), grey, or images of a labelled set, of any size.
        landmarks: float32 (N, 5, 2), px of the image.
        targets: float32 (N, 7), what the network is to say, in the order of ``EXPRESSIONS``; rows sum to 1.
        labels: int64 (N,), the expression with most votes.
        chances: float64 (N,), how often each is drawn, summing to 1; None: by class count.
        shifts: float32 (N, 7), logarithms of the class shares that are drawn where an image comes from: added to the
            logits while it is learned, they make the network speak at equal shares whatever its sources' are (logit
            adjustment: Menon et al. 2021, arXiv 2007.07314); None: it is to speak at the shares drawn.
        cut_out: bool (N,), the face is cut out on black; None: no face is.
    """

    images: Image | LabelledImages | MixedImages
    landmarks: FloatArray
    targets: FloatArray
    labels: IntArray
    chances: FloatArray | None = None
    shifts: FloatArray | None = None
    cut_out: BoolArray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def draw_probabilities(self, balance: float) -> FloatArray:
        """float64 (N,): how often each image is drawn; by class count ** -balance, summing to 1."""
        if self.chances is not None:
            return self.chances
        counts = np.bincount(self.labels, minlength=len(EXPRESSIONS)).astype(np.float64)
        weights = counts[self.labels] ** -balance
        return np.asarray(weights / weights.sum())

    def digest(self) -> str:
        """SHA-256 of the images and labels."""
        pictures = self.images.tobytes() if isinstance(self.images, np.ndarray) else self.images.digest()
        return hashlib.sha256(pictures + self.labels.tobytes()).hexdigest()

    def class_shares(self, balance: float) -> FloatArray:
        """float64 (7,): the class shares that a network trained on such draws has seen: its training prior."""
        if self.shifts is not None:
            return np.full(len(EXPRESSIONS), 1 / len(EXPRESSIONS))
        return np.asarray(self.draw_probabilities(balance) @ self.targets.astype(np.float64))


def crop_template(size_px: int, zoom: float) -> FloatArray:
    """float32 (5, 2): where the landmarks lie in the crop, px: the average FER2013 face, enlarged around the nose."""
    points = np.array(_FACE_IN_PICTURE, np.float64)
    centre = np.array((0.5, 0.6))
    return np.asarray(((points - centre) * zoom + centre) * size_px, np.float32)


def load_images(
    config: DataConfig, detector: Detector, cache: Path, *, colour: bool = False
) -> tuple[TrainingImages, TrainingImages]:
    """Images to learn from, and images kept apart to follow the run by.

    Of FER2013, images of which an exact or near twin is in the test split are left out.

    Args:
        config: which images.
        detector: finds the landmarks.
        cache: folder where the landmarks are kept, so that they are searched for once.
        colour: whether images of a labelled set are wanted in colour.

    Raises:
        ConfigError: the images cannot be read, or there are too few for ``config.validation``.
        EvaluationError: a labelled set cannot be read.
    """
    path = Path(config.path)
    if is_labelled_set(path):
        pictures = TrainingImages(*read_learned(path, detector, cache, split=config.split, colour=colour))
    else:
        pictures = voted_images(path, config.fer2013_share, detector, cache)
    if config.validation >= len(pictures):
        raise ConfigError(
            f"data.validation keeps {config.validation} pictures apart, but {path} has only {len(pictures)}: lower it"
        )
    order = np.random.default_rng(0).permutation(len(pictures))
    kept, learned = np.sort(order[: config.validation]), np.sort(order[config.validation :])
    return subset(pictures, learned), subset(pictures, kept)


def is_fer2013(config: DataConfig) -> bool:
    """Whether a run learns from FER2013 with FER+ votes."""
    return not config.sources and not is_labelled_set(Path(config.path))


def is_labelled_set(path: Path) -> bool:
    """Whether it is anything but an npz file of FER2013 with FER+ votes."""
    if path.suffix.lower() != ".npz":
        return True
    try:
        with np.load(path, allow_pickle=False) as stored:
            return "labels" in stored.files and "ferplus_votes" not in stored.files
    except (OSError, ValueError, EOFError, BadZipFile):
        return False


def voted_images(path: Path, fer2013_share: float, detector: Detector, cache: Path) -> TrainingImages:
    """FER2013's training images without twins of its test images.

    Args:
        path: npz file with FER+ votes.
        fer2013_share: share of FER2013's own label in the target.
        detector: finds the landmarks.
        cache: folder where they are kept.

    Raises:
        ConfigError: the file cannot be read as such.
    """
    voted, tested = load_ferplus(path, "Training"), load_ferplus(path, "PublicTest")
    fresh = ~twins_among(voted.images, tested.images)
    own_labels = np.eye(len(EXPRESSIONS), dtype=np.float32)[_fer2013_labels(path)]
    targets = (1 - fer2013_share) * voted.votes + fer2013_share * own_labels
    kept = cache / f"landmarks-{hashlib.sha256(voted.images.tobytes()).hexdigest()[:16]}.npy"
    landmarks = cached_landmarks(kept, len(voted), lambda: _landmarks(voted.images, detector))
    everything = TrainingImages(voted.images, landmarks, targets.astype(np.float32), voted.labels)
    pictures = subset(everything, np.flatnonzero(fresh))
    logger.info("%d pictures, %d left out as twins of test pictures", len(pictures), int((~fresh).sum()))
    return pictures


def tested_images(path: Path, detector: Detector, cache: Path) -> tuple[Image, FloatArray]:
    """FER2013's PublicTest images uint8 (N, 48, 48) and their landmarks (N, 5, 2), which are never learned from."""
    tested = load_ferplus(path, "PublicTest")
    kept = cache / f"landmarks-{hashlib.sha256(tested.images.tobytes()).hexdigest()[:16]}.npy"
    return tested.images, cached_landmarks(kept, len(tested), lambda: _landmarks(tested.images, detector))


def _fer2013_labels(path: Path) -> IntArray:
    """FER2013's own labels of the images ``load_ferplus`` takes from the training split, as expressions."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            rows = np.flatnonzero(stored["split"] == stored["split_names"].tolist().index("Training"))
            chosen = select_voted(
                rows, stored["ferplus_votes"][rows].astype(np.int64), stored["ferplus_vote_names"].tolist()
            ).images
            place = np.array([EXPRESSIONS.index(_CALLED.get(name, name)) for name in stored["class_names"].tolist()])
            return np.asarray(place[stored["labels"][chosen]], np.int64)
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as FER2013 pictures with FER+ votes: {reason_of(error)}") from error


def subset(pictures: TrainingImages, rows: IntArray) -> TrainingImages:
    """Some of the images, in the order of ``rows``; how they are drawn is no longer said."""
    return TrainingImages(
        pictures.images[rows],
        pictures.landmarks[rows],
        pictures.targets[rows],
        np.asarray(pictures.labels[rows]),
        cut_out=None if pictures.cut_out is None else pictures.cut_out[rows],
    )


def _landmarks(images: Image, detector: Detector) -> FloatArray:
    logger.info("finding landmarks in %d pictures", len(images))
    return find_landmarks(images, detector)[0]
