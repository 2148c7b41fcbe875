"""Face crops to compare an exported classifier on: a built-in sample, or a user's labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fertrack.errors import MissingExtraError, VideoOpenError
from fertrack.imaging.alignment import align_faces
from fertrack.types import EXPRESSIONS, BoolArray, FloatArray, Image, IntArray

__all__ = ["FaceSample", "builtin_sample", "labelled_sample"]

_VARIANTS = 60
_TEXTURES = 40
_MAX_CALIBRATION_FACES = 300

_LANDMARKS_XY = {
    # left eye, right eye, nose, left and right mouth corner (as seen), px in the portrait
    "astronaut": ((89, 95), (127, 98), (110, 119), (87, 133), (125, 137)),
    "hopper": ((98, 174), (193, 165), (149, 219), (113, 260), (195, 253)),
}


@dataclass(frozen=True, slots=True, eq=False)
class FaceSample:
    """Aligned faces.

    Attributes:
        name: what they are, for the report.
        crops: uint8 (N, S, S, 3), BGR.
        labels: int64 (N,), index into ``EXPRESSIONS``; (0,) where the expressions are not known.
    """

    name: str
    crops: Image
    labels: IntArray

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def labelled(self) -> bool:
        """Whether the expressions are known."""
        return len(self.labels) == len(self.crops) > 0

    def halves(self) -> tuple[FaceSample, FaceSample]:
        """Two parts without a face in common: some to find ranges by (at most 300), the others to be compared on."""
        step = max(2, len(self) // _MAX_CALIBRATION_FACES)
        first = np.arange(len(self)) % step == 0
        return self._only(first), self._only(~first)

    def _only(self, rows: BoolArray) -> FaceSample:
        return FaceSample(self.name, self.crops[rows], self.labels[rows] if self.labelled else self.labels)


def builtin_sample(template: FloatArray, size_px: int) -> FaceSample:
    """Public-domain portraits turned, moved, lit and flipped in many ways, and textures that are no faces.

    Where the packages that ship the portraits are not installed (``fertrack[demo]``), it is textures only, and its name
    says so. The same on every machine.

    Args:
        template: float32 (5, 2), where the landmarks shall lie in a crop, px.
        size_px: S, side of the crops, px.
    """
    random = np.random.default_rng(0)
    faces, people = [], []
    for name, points in _LANDMARKS_XY.items():
        picture = _portrait(name)
        if picture is not None:
            people.append(name)
            faces += list(_variants(picture, np.array(points, np.float32), template, size_px, random))
    textures = [_texture(size_px, random) for _ in range(_TEXTURES)]
    what = f"{len(people)} public-domain portraits in {len(faces)} variants, and " if people else ""
    return FaceSample(
        f"built-in sample: {what}{_TEXTURES} textures", np.stack([*faces, *textures]), np.empty(0, np.int64)
    )


def labelled_sample(
    data: Path, template: FloatArray, size_px: int, *, split: str = "", on_image: Callable[[int], None] | None = None
) -> FaceSample:
    """Sample of a user's labelled images, with the default detector and the alignment in the loop.

    Args:
        data: folder of class sub-folders, CSV or npz file (see ``fertrack.evaluation.datasets.open``).
        template: float32 (5, 2), where the landmarks shall lie in a crop, px.
        size_px: S, side of the crops, px.
        split: which part, for data that has parts.
        on_image: called with the number of images done.

    Raises:
        EvaluationError: the data cannot be read, or no face is found in it.
        WeightsError: the detector's weights are missing.
    """
    from fertrack.detectors.centerface import Options, build
    from fertrack.errors import EvaluationError
    from fertrack.evaluation.datasets.open import read_labelled
    from fertrack.evaluation.expression.classify import classify_set

    pictures = read_labelled(data, split=split)
    collector = _Collector(template, size_px)
    # The images are said to be faces: what is asked of the detector are landmarks, so it may be unsure.
    small = len(pictures) and max(pictures.image(0).shape[:2]) < 128
    detector = build(Options(long_side=224 if small else 640, score_threshold=0.1, precision="fp32"))
    answers = classify_set(pictures, collector, detector, not_found="average", on_image=on_image)
    if not answers.found.any():
        raise EvaluationError(f"no face is found in any of the {len(pictures)} images of {data}")
    crops = np.stack([collector.crops[int(place)] for place in answers.logits[:, 0]])
    return FaceSample(f"{pictures.name} ({pictures.kind})", crops, pictures.labels)


class _Collector:
    """Takes the place of a classifier and keeps the crops; its first "logit" is the crop's number."""

    fingerprint = "collector"

    def __init__(self, template: FloatArray, size_px: int) -> None:
        self.template = template
        self.crop_size = size_px
        self.crops: list[Image] = []

    def logits(self, crops: Image) -> FloatArray:
        numbers = np.zeros((len(crops), len(EXPRESSIONS)), np.float32)
        numbers[:, 0] = np.arange(len(self.crops), len(self.crops) + len(crops))
        self.crops += list(crops)
        return numbers


def _portrait(name: str) -> Image | None:
    from fertrack.demo import portrait

    try:
        return portrait(name)
    except (MissingExtraError, VideoOpenError):
        return None


def _variants(
    picture: Image, points: FloatArray, template: FloatArray, size_px: int, random: np.random.Generator
) -> Iterator[Image]:
    middle = points.mean(axis=0)
    for _ in range(_VARIANTS):
        angle, scale = random.uniform(-0.25, 0.25), random.uniform(0.85, 1.15)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shift = random.uniform(-0.08, 0.08, 2) * np.ptp(points[:, 0])
        moved = ((points - middle) @ turn.T + middle + shift).astype(np.float32)
        crop = align_faces(picture, moved[None], template, size_px)[0].astype(np.float32)
        crop = (crop - 128) * random.uniform(0.5, 1.5) + 128 + random.uniform(-50, 50)
        if random.random() < 0.3:
            crop = cv2.GaussianBlur(crop, (0, 0), random.uniform(0.5, 2.0)).astype(np.float32)
        if random.random() < 0.5:
            crop = crop[:, ::-1]
        yield np.clip(crop, 0, 255).astype(np.uint8)


def _texture(size_px: int, random: np.random.Generator) -> Image:
    """Blurred noise of random coarseness, contrast and brightness, grey."""
    noise = random.uniform(0, 1, (size_px, size_px)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), random.uniform(0.5, 6.0))
    spread = (soft - soft.mean()) / soft.std() * random.uniform(20, 80) + random.uniform(60, 190)
    return np.repeat(np.clip(spread, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
