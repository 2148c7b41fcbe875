"""Sets of faces that classifiers are judged by, and what a bundle answers for them.

Sets that a network may have learned from (``LEARNED``) count with the persons kept apart only. Landmarks are searched
for once and kept, so that another bundle costs seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fertrack.classifiers import build_classifier
from fertrack.classifiers.config import ClassificationConfig
from fertrack.detectors import build_detector
from fertrack.detectors.config import DetectionConfig
from fertrack.errors import EvaluationError
from fertrack.evaluation.datasets.apart import kept_apart
from fertrack.evaluation.datasets.open import LabelledSet, read_labelled
from fertrack.evaluation.expression.classify import detection_for, landmarks_of
from fertrack.imaging.alignment import align_faces
from fertrack.models.bundle import ClassifierBundle
from fertrack.pipeline.analyzer import crop_logits
from fertrack.training.landmark_cache import cached_landmarks
from fertrack.types import FloatArray

__all__ = ["LEARNED", "FaceSet", "read_sets", "set_logits"]

LEARNED: Mapping[str, float] = {
    "affectnet7_masked": 0.2,
    "taiwan_faces": 0.2,
    "rafd": 0.2,
    "bu3dfe_bosphorus_web": 0.2,
}
"""Sets to learn from -> share of their persons (of their images, where nobody is named) that is kept apart."""

_FERPLUS = "FER+ PublicTest"
_AT_ONCE = 128


@dataclass(frozen=True, slots=True, eq=False)
class FaceSet:
    """Faces to judge by.

    Attributes:
        name: for the table.
        labelled: the images.
        landmarks: float32 (N, 5, 2), px of each image; the mean of the others where no face was found.
        apart: whether others of the set may have been learned from.
    """

    name: str
    labelled: LabelledSet
    landmarks: FloatArray
    apart: bool = False


def read_sets(ferplus: Path | None, faces: Path | None, cache: Path) -> list[FaceSet]:
    """FER+'s PublicTest and every folder with a ``labels.csv`` of images.

    Raises:
        EvaluationError: a set cannot be read.
        WeightsError: the detector's weights are missing.
    """
    found = [] if ferplus is None else [_face_set(_FERPLUS, read_labelled(ferplus, split="PublicTest"), cache)]
    for listed in sorted(faces.glob("*/labels.csv")) if faces else ():
        name = listed.parent.name
        if not (listed.parent / "images").is_dir():  # clips are judged as clips
            continue
        labelled = read_labelled(listed)
        share = LEARNED.get(name)
        if share is not None:
            labelled = labelled.some(np.flatnonzero(kept_apart(labelled, share)))
        found.append(_face_set(name, labelled, cache, apart=share is not None))
    if not found:
        raise EvaluationError("there is nothing to judge by: name FER+ pictures, or a folder of labelled sets")
    return found


def _face_set(name: str, labelled: LabelledSet, cache: Path, *, apart: bool = False) -> FaceSet:
    detector = build_detector(detection_for(labelled, DetectionConfig()))

    def find() -> FloatArray:
        rows = range(len(labelled))
        return np.stack([landmarks_of(labelled.image(row), detector, labelled.xyxy[row]) for row in rows])

    seen_by = f"{labelled.digest()} {detector.fingerprint}"
    kept = cache / f"faces-{hashlib.sha256(seen_by.encode()).hexdigest()[:16]}.npy"
    landmarks = cached_landmarks(kept, len(labelled), find).copy()
    seen = np.isfinite(landmarks).all(axis=(1, 2))
    if not seen.any():
        raise EvaluationError(f"no face is found in any picture of {labelled.name}: its pictures must show a face each")
    landmarks[~seen] = landmarks[seen].mean(axis=0)
    return FaceSet(name, labelled, landmarks, apart)


def set_logits(faces: FaceSet, bundle: ClassifierBundle) -> FloatArray:
    """Uncalibrated logits float32 (N, 7) of a set's faces, cropped as at run time."""
    classifier = build_classifier(ClassificationConfig(), bundle)
    template, size = classifier.template, classifier.crop_size
    parts = []
    for start in range(0, len(faces.labelled), _AT_ONCE):
        rows = range(start, min(start + _AT_ONCE, len(faces.labelled)))
        points = faces.landmarks[rows.start : rows.stop]
        crops = [align_faces(faces.labelled.image(row), points[[at]], template, size)[0] for at, row in enumerate(rows)]
        parts.append(crop_logits(classifier, np.stack(crops), points))
    return np.concatenate(parts)
