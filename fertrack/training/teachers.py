"""Soft targets from finished classifiers: what they agree on says more about an image than ten votes do.

Hinton et al. 2015, arXiv 1503.02531, at temperature 1: the votes are soft already. A teacher looks either once at the
plain image, or at every crop that the pupil sees, however disturbed (Beyer et al. 2022, arXiv 2106.05237).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import log_softmax, softmax

from fertrack.classifiers.onnx import OnnxClassifier
from fertrack.models.bundle import ClassifierBundle
from fertrack.training.augment import crop_faces
from fertrack.training.images import TrainingImages
from fertrack.types import FloatArray, Image

__all__ = ["WatchingTeachers", "taught", "teachers_view"]

_AT_ONCE = 512
_TINY = 1e-12


def taught(
    pictures: TrainingImages, teachers: Sequence[ClassifierBundle], share: float, prior: FloatArray
) -> TrainingImages:
    """The images with targets of which a share is what the teachers say.

    Args:
        pictures: to learn from.
        teachers: finished classifiers; with none, the images stay as they are.
        share: of the teachers' answer in the target, the rest is the target as it was.
        prior: float64 (7,), class shares that the answers are to assume.

    Raises:
        ModelError: a teacher cannot be run.
    """
    if not teachers:
        return pictures
    said = np.mean([teachers_view(pictures, teacher, prior) for teacher in teachers], axis=0)
    if pictures.shifts is not None:
        said = softmax(np.log(np.maximum(said, _TINY)) + pictures.shifts, axis=1)
    return replace(pictures, targets=np.asarray((1 - share) * pictures.targets + share * said, np.float32))


def teachers_view(pictures: TrainingImages, teacher: ClassifierBundle, prior: FloatArray) -> FloatArray:
    """A classifier's probabilities for plain crops, as they are and mirrored: their mean, float64 (N, 7).

    Uncalibrated, with the class shares of the teacher's own training exchanged for ``prior``.
    """
    classifier = OnnxClassifier(teacher)
    shift = _shift(teacher, prior)
    parts = []
    for start in range(0, len(pictures), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        crops = crop_faces(pictures.images[rows], pictures.landmarks[rows], classifier.template, classifier.crop_size)
        both = [log_softmax(classifier.logits(_coloured(view)), axis=1) for view in (crops, crops[:, :, ::-1])]
        parts.append(softmax(np.mean(both, axis=0) + shift, axis=1))
    return np.concatenate(parts)


class WatchingTeachers:
    """Finished classifiers that are asked about the very crops a pupil learns from.

    A teacher that looks at faces cropped in another way gets them cropped again, what lies outside repeated.

    Args:
        teachers: at least one.
        prior: float64 (7,), class shares that the answers are to assume.
        template: float32 (5, 2), where the landmarks lie in the pupil's crops, px.

    Raises:
        ModelError: a teacher cannot be run.
    """

    def __init__(self, teachers: Sequence[ClassifierBundle], prior: FloatArray, template: FloatArray) -> None:
        self._classifiers = [OnnxClassifier(teacher) for teacher in teachers]
        self._shifts = [_shift(teacher, prior) for teacher in teachers]
        self._template = template

    def __call__(self, crops: Image, shifts: FloatArray | None = None) -> FloatArray:
        """The teachers' mean probabilities, float32 (N, 7), for crops uint8 (N, S, S), or (N, S, S, 3) BGR.

        ``shifts``, float32 (N, 7), is added to their logits: the class shares drawn where each crop comes from.
        """
        more = 0.0 if shifts is None else shifts
        landmarks = np.broadcast_to(self._template, (len(crops), 5, 2))
        said = []
        for classifier, shift in zip(self._classifiers, self._shifts, strict=True):
            same = classifier.crop_size == crops.shape[1] and np.allclose(
                classifier.template, self._template, atol=0.01
            )
            seen = crops if same else crop_faces(crops, landmarks, classifier.template, classifier.crop_size)
            said.append(softmax(classifier.logits(_coloured(seen)) + shift + more, axis=1))
        return np.asarray(np.mean(said, axis=0), np.float32)


def _shift(teacher: ClassifierBundle, prior: FloatArray) -> FloatArray:
    """Offset to a teacher's logits that exchanges its training's class shares for others."""
    own = np.asarray(teacher.calibration.training_prior, np.float64)
    return np.asarray(np.log(np.asarray(prior, np.float64)) - np.log(own))


def _coloured(crops: Image) -> Image:
    return np.ascontiguousarray(crops if crops.ndim == 4 else np.repeat(crops[..., None], 3, axis=3))
