"""Inference on labelled images: with detector and alignment in the loop, or taking them as crops.

With the detector, each image goes the way a frame of video goes. An image whose longer side is under 128 px is a
face cut out tightly; the detector is shown it enlarged to 160 px with a black margin of 32 px, while the crop is cut
from the image itself. Of several faces the one that overlaps the labelled box most is taken, or the surest where no
box is given.

Without the detector, the image (or its labelled box, grown to a square about its centre) is taken to be aligned
already, and resized to the classifier's crop: averaged over areas when it shrinks, bilinear when it grows. An image
that is not square is cut to the square in its middle. A classifier that looks at landmarks gets them mapped as the
crop was, as in the pipeline; without the detector it takes them to lie where its template has them.

Each image's file is read once, when its turn comes. ``classify_readable`` leaves out those that cannot be read, and
gives up as soon as they are more than a tenth of the set.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from fertrack.detectors.config import DetectionConfig
from fertrack.errors import EvaluationError
from fertrack.evaluation.datasets.open import LabelledSet, read_labelled
from fertrack.imaging.alignment import align_faces
from fertrack.imaging.geometry import iou_matrix
from fertrack.models.bundle import ClassifierBundle
from fertrack.pipeline.analyzer import crop_logits
from fertrack.protocols import Classifier, Detector
from fertrack.types import EXPRESSIONS, BoolArray, Detections, FloatArray, Image, IntArray

__all__ = [
    "MAX_UNREADABLE",
    "Answers",
    "NotFound",
    "answers_of",
    "as_crop",
    "classify_readable",
    "classify_set",
    "detection_for",
    "landmarks_of",
]

NotFound = Literal["leave-out", "average"]
"""Treatment of images in which the detector finds no face: no answer, or an answer with average landmarks."""

_TIGHT_PX = 128
_ENLARGED_PX = 160
_PADDING_PX = 32
_BATCH = 32
MAX_UNREADABLE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Estimates for a labelled set. Row i is image i.

    Attributes:
        logits: float32 (N, 7), uncalibrated; NaN where there is no answer.
        found: bool (N,), a face was found; all True without a detector.
        with_detector: whether detector and alignment were in the loop.
        detect_s: time spent on detecting and aligning (or resizing), seconds.
        classify_s: time the classifier took, seconds.
        classifier: its fingerprint.
        detector: its fingerprint; empty without one.
    """

    logits: FloatArray
    found: BoolArray
    with_detector: bool
    detect_s: float
    classify_s: float
    classifier: str
    detector: str = ""

    @property
    def answered(self) -> BoolArray:
        """Mask of the images that have an estimate, bool (N,)."""
        return np.asarray(np.isfinite(self.logits).all(axis=1), np.bool_)


def classify_set(
    labelled: LabelledSet,
    classifier: Classifier,
    detector: Detector | None = None,
    *,
    not_found: NotFound = "leave-out",
    on_image: Callable[[int], None] | None = None,
    unreadable: list[int] | None = None,
) -> Answers:
    """Run a classifier on every image; see the top of this module for how.

    Args:
        labelled: the images.
        classifier: answers.
        detector: finds the faces; None takes the images as aligned crops.
        not_found: what becomes of images without a face found. "average" lays the mean landmarks of the others of the
            same size over them, or takes the image as a crop where there is no other.
        on_image: called with the number of images done.
        unreadable: is given the rows of images that cannot be read, which have no answer then; None: they are errors.

    Raises:
        EvaluationError: an image cannot be read (or more than a tenth of them, if ``unreadable`` is given), or the
            box given for its face lies outside it.
        ModelError: the network failed.
    """
    logits = np.full((len(labelled), len(EXPRESSIONS)), np.nan, np.float32)
    landmarks = np.full((len(labelled), 5, 2), np.nan, np.float32)
    sizes = np.zeros((len(labelled), 2), np.int64)
    detect_s = classify_s = 0.0
    for start in range(0, len(labelled), _BATCH):
        crops, rows = [], []
        for row in range(start, min(start + _BATCH, len(labelled))):
            image = _read(labelled, row, unreadable)
            if image is None:
                continue
            _check_box(labelled, row, image)
            began = time.perf_counter()
            if detector is None:
                crops.append(as_crop(image, labelled.xyxy[row], classifier.crop_size))
                rows.append(row)
            else:
                sizes[row] = image.shape[:2]
                landmarks[row] = landmarks_of(image, detector, labelled.xyxy[row])
                if np.isfinite(landmarks[row]).all():
                    crops.append(_aligned(image, landmarks[row], classifier))
                    rows.append(row)
            detect_s += time.perf_counter() - began
            if on_image:
                on_image(row + 1)
        if rows:
            began = time.perf_counter()
            stacked = np.stack(crops)
            logits[rows] = crop_logits(classifier, stacked, landmarks[rows]) if detector else classifier.logits(stacked)
            classify_s += time.perf_counter() - began
    found = np.isfinite(landmarks).all(axis=(1, 2)) if detector else np.ones(len(labelled), np.bool_)
    if detector and not_found == "average":
        _stand_in(labelled, landmarks, sizes, logits, classifier)
    return Answers(
        logits,
        np.asarray(found, np.bool_),
        detector is not None,
        detect_s,
        classify_s,
        classifier.fingerprint,
        detector.fingerprint if detector else "",
    )


def classify_readable(
    labelled: LabelledSet,
    classifier: Classifier,
    detector: Detector | None = None,
    *,
    not_found: NotFound = "leave-out",
    on_image: Callable[[int], None] | None = None,
) -> tuple[LabelledSet, Answers]:
    """Run as ``classify_set`` does, on the images that can be read.

    Returns:
        The set without the others, which its ``left_out`` counts and names, and the answers for what is in it.

    Raises:
        EvaluationError: more than a tenth of the images cannot be read, or a box lies outside its image.
        ModelError: the network failed.
    """
    rows: list[int] = []
    answers = classify_set(labelled, classifier, detector, not_found=not_found, on_image=on_image, unreadable=rows)
    if not rows:
        return labelled, answers
    kept = replace(answers, logits=np.delete(answers.logits, rows, 0), found=np.delete(answers.found, rows))
    return labelled.without_unreadable(rows), kept


def answers_of(bundle: ClassifierBundle, pictures: Path) -> tuple[LabelledSet, Answers]:
    """Labelled images that can be read, and a bundle's estimates for them with the default detector in the loop.

    Average landmarks stand in where no face is found: those images count too, as they would for a network alone.

    Raises:
        EvaluationError: the images cannot be read.
        WeightsError: the detector's weights are missing.
        ModelError: the network is not what the bundle says, or failed.
    """
    from fertrack.classifiers import build_classifier
    from fertrack.classifiers.config import ClassificationConfig
    from fertrack.detectors import build_detector

    labelled = read_labelled(pictures)
    detector = build_detector(detection_for(labelled, DetectionConfig()))
    classifier = build_classifier(ClassificationConfig(), bundle)
    return classify_readable(labelled, classifier, detector, not_found="average")


def as_crop(image: Image, xyxy: FloatArray, size_px: int) -> Image:
    """Crop from an image that is an aligned face already, resized to the classifier's size.

    Args:
        image: uint8 (H, W, 3), BGR.
        xyxy: (4,), box of the face, px; NaN for the whole image.
        size_px: side of the crop, px.

    Returns:
        uint8 (size_px, size_px, 3).
    """
    height, width = image.shape[:2]
    if np.isfinite(xyxy).all():
        centre_x, centre_y = (xyxy[0] + xyxy[2]) / 2, (xyxy[1] + xyxy[3]) / 2
        side = max(float(xyxy[2] - xyxy[0]), float(xyxy[3] - xyxy[1]), 1.0)
    else:
        centre_x, centre_y, side = width / 2, height / 2, float(min(height, width))
    left, top, square = round(float(centre_x) - side / 2), round(float(centre_y) - side / 2), max(1, round(side))
    # Where the square leaves the image, its border goes on.
    columns = np.clip(np.arange(left, left + square), 0, width - 1)
    rows = np.clip(np.arange(top, top + square), 0, height - 1)
    cut = image[np.ix_(rows, columns)]
    way = cv2.INTER_AREA if square > size_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(cut, (size_px, size_px), interpolation=way), np.uint8)


def _read(labelled: LabelledSet, row: int, unreadable: list[int] | None) -> Image | None:
    """The image; None, and its row noted, if it cannot be read and that is to be noted."""
    try:
        return labelled.image(row)
    except EvaluationError as error:
        if unreadable is None:
            raise
        unreadable.append(row)
        if len(unreadable) > MAX_UNREADABLE * len(labelled):
            first = labelled.paths[unreadable[0]]
            raise EvaluationError(
                f"more than a tenth of the {len(labelled)} images of {labelled.name} cannot be read, the first of "
                f"them {first}: copy or unpack the set again, or remove them"
            ) from error
        return None


def _check_box(labelled: LabelledSet, row: int, image: Image) -> None:
    left, top, right, bottom = labelled.xyxy[row].tolist()
    height, width = image.shape[:2]
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        which = labelled.paths[row] if labelled.paths else f"{labelled.name}, image {row}"
        raise EvaluationError(
            f"{which} is {width} x {height} px, and the box given for its face, ({left:g}, {top:g}) to ({right:g}, "
            f"{bottom:g}), lies outside it: boxes are px of the image itself"
        )


def landmarks_of(image: Image, detector: Detector, xyxy: FloatArray) -> FloatArray:
    """Five landmarks of the labelled face, px of the image, float32 (5, 2); NaN if no face is found.

    Args:
        image: uint8 (H, W, 3), BGR.
        detector: finds the faces.
        xyxy: (4,), box of the face, px; NaN if none is given.
    """
    longer = max(image.shape[:2])
    if longer >= _TIGHT_PX:
        return _chosen(detector.detect([image])[0], xyxy)
    scale = longer / _ENLARGED_PX
    size = (round(image.shape[1] / scale), round(image.shape[0] / scale))
    enlarged = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    pad = _PADDING_PX
    padded = cv2.copyMakeBorder(enlarged, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    faces = detector.detect([np.asarray(padded, np.uint8)])[0]
    # Pixel centres: px j of the enlarged image lies at (j + 1/2) * scale - 1/2 of the original.
    points: FloatArray = (_chosen(faces, xyxy / scale + pad) - pad + 0.5) * scale - 0.5
    return points.astype(np.float32)


def _chosen(faces: Detections, xyxy: FloatArray) -> FloatArray:
    best = 0  # score-sorted
    if len(faces) and np.isfinite(xyxy).all():
        overlap = iou_matrix(faces.xyxy, xyxy[None])[:, 0]
        best = int(overlap.argmax())
        if not overlap[best] > 0.0:
            return np.full((5, 2), np.nan, np.float32)
    points: FloatArray = faces.landmarks[best] if len(faces) else np.full((5, 2), np.nan, np.float32)
    return points


def _aligned(image: Image, landmarks: FloatArray, classifier: Classifier) -> Image:
    crop: Image = align_faces(image, landmarks[None], classifier.template, classifier.crop_size)[0]
    return crop


def _stand_in(
    labelled: LabelledSet,
    landmarks: FloatArray,
    sizes: IntArray,
    logits: FloatArray,
    classifier: Classifier,
) -> None:
    """Answers for images without a face found, from the mean landmarks of the others of the same size."""
    found = np.isfinite(landmarks).all(axis=(1, 2))
    read = sizes.all(axis=1)  # an unreadable image has no size
    for row in np.flatnonzero(read & ~found).tolist():
        alike = found & (sizes == sizes[row]).all(axis=1)
        image = labelled.image(row)
        if alike.any():
            mean = landmarks[alike].mean(axis=0, dtype=np.float64).astype(np.float32)
            crop = _aligned(image, mean, classifier)
            logits[row] = crop_logits(classifier, crop[None], mean[None])[0]
        else:
            crop = as_crop(image, labelled.xyxy[row], classifier.crop_size)
            logits[row] = classifier.logits(crop[None])[0]


def detection_for(labelled: LabelledSet, config: DetectionConfig) -> DetectionConfig:
    """Options of the detector for labelled images: those that were set, else some for faces known to be there.

    Images that are faces already need only landmarks, so the detector may be unsure; enlarged ones are 224 px wide.
    """
    unset: dict[str, float | int] = {}
    if config.score_threshold is None:
        unset["score_threshold"] = 0.1
    if config.long_side is None and len(labelled) and _first_side_px(labelled) < _TIGHT_PX:
        unset["long_side"] = _ENLARGED_PX + 2 * _PADDING_PX
    return config.model_copy(update=unset)


def _first_side_px(labelled: LabelledSet) -> int:
    """Longer side of the first image that can be read; 0 if so many cannot that the set will be refused."""
    for row in range(int(MAX_UNREADABLE * len(labelled)) + 1):
        with suppress(EvaluationError):
            return int(max(labelled.image(row).shape[:2]))
    return 0
