"""Soft targets from finished classifiers: what they agree on says more about a picture than ten votes do.

Hinton et al. 2015, arXiv 1503.02531, at temperature 1: the votes are soft already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import log_softmax, softmax

from fertrack.classifiers.onnx import OnnxClassifier
from fertrack.models.bundle import ClassifierBundle
from fertrack.training.augment import crop_faces
from fertrack.training.pictures import Pictures
from fertrack.types import FloatArray

__all__ = ["taught", "teachers_view"]

_AT_ONCE = 512


def taught(pictures: Pictures, teachers: Sequence[ClassifierBundle], share: float, prior: FloatArray) -> Pictures:
    """The pictures with targets of which a share is what the teachers say.

    Args:
        pictures: to learn from.
        teachers: finished classifiers; with none, the pictures stay as they are.
        share: of the teachers' answer in the target, the rest is the target as it was.
        prior: float64 (7,), class shares that the answers are to assume.

    Raises:
        ModelError: a teacher cannot be run.
    """
    if not teachers:
        return pictures
    said = np.mean([teachers_view(pictures, teacher, prior) for teacher in teachers], axis=0)
    return replace(pictures, targets=np.asarray((1 - share) * pictures.targets + share * said, np.float32))


def teachers_view(pictures: Pictures, teacher: ClassifierBundle, prior: FloatArray) -> FloatArray:
    """A classifier's probabilities for plain crops, as they are and mirrored: their mean, float64 (N, 7).

    Uncalibrated, with the class shares of the teacher's own training exchanged for ``prior``.
    """
    classifier = OnnxClassifier(teacher)
    own = np.asarray(teacher.calibration.training_prior, np.float64)
    shift = np.log(np.asarray(prior, np.float64)) - np.log(own)
    parts = []
    for start in range(0, len(pictures), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        crops = crop_faces(pictures.images[rows], pictures.landmarks[rows], classifier.template, classifier.crop_size)
        both = [
            log_softmax(classifier.logits(np.ascontiguousarray(np.repeat(view[..., None], 3, axis=3))), axis=1)
            for view in (crops, crops[:, :, ::-1])
        ]
        parts.append(softmax(np.mean(both, axis=0) + shift, axis=1))
    return np.concatenate(parts)
