"""Heads cut out of real single-person clips, with the box our detector sees on them: the cast of composed scenes.

Each head is resampled so that its face is ``FACE_PX`` high and stays in the middle of a crop, while turning, talking
and nodding as it did in the clip. The face box was found on the whole, uncovered image, so it is known exactly
wherever the head is laid, however it is covered there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fertrack.errors import EvaluationError
from fertrack.protocols import Detector
from fertrack.sources import open_source
from fertrack.types import Detections, FloatArray, Image

__all__ = ["CLIPS", "CROP_H", "CROP_W", "FACE_PX", "Actor", "Clip", "load_actor"]

FACE_PX = 128
"""Height of the face in a crop, px."""
CROP_W, CROP_H = 208, 256
"""Size of a crop, px: room for hair and chin, and for the head to move in."""
_FACE_CENTRE = (104.0, 136.0)
_HEAD_AXES = (84.0, 108.0)
_SOFT_PX = 10.0
_STEADY_FRAMES = 15
_MIN_FRAMES = 25


@dataclass(frozen=True, slots=True)
class Clip:
    """Segment of a video that shows one person.

    Attributes:
        file: name of the video.
        first: first frame; None: from the first on that shows one face, and as long as the following do.
        count: frames taken, at most.
    """

    file: str
    first: int | None = 0
    count: int = 120


CLIPS: dict[str, Clip] = {
    "bun": Clip("liveportrait_d0.mp4", count=78),
    "earrings": Clip("liveportrait_d3.mp4"),
    "surprised": Clip("liveportrait_d10.mp4"),
    "glasses": Clip("liveportrait_d13.mp4"),
    "sweater": Clip("liveportrait_d18.mp4"),
    "redhead": Clip("liveportrait_s18.mp4"),
    "outdoors": Clip("liveportrait_s20.mp4"),
    "neutral": Clip("pyfeat_single_face.mp4", count=72),
    "laughing": Clip("pyfeat_WolfgangLanger_Pexels.mp4", first=260),
}
"""The clips that the scripts were written for: nine different people."""


@dataclass(frozen=True, slots=True, eq=False)
class Actor:
    """One person's head, frame by frame.

    Attributes:
        heads: uint8 (F, CROP_H, CROP_W, 3), BGR.
        alpha: float32 (F, CROP_H, CROP_W), 0 to 1: how much of each pixel is the head.
        boxes: float32 (F, 4), xyxy px in the crop: the face as our detector sees it.
    """

    heads: Image
    alpha: FloatArray
    boxes: FloatArray

    def at(self, frame: int) -> int:
        """The crop to show at a frame of a scene: to and fro through the clip, so that the head never jumps."""
        last = len(self.heads) - 1
        if not last:
            return 0
        place = frame % (2 * last)
        return min(place, 2 * last - place)


def load_actor(clip: Clip, folder: Path, detector: Detector) -> Actor:
    """Cut the head out of a clip.

    Args:
        clip: which frames of which video.
        folder: where the videos are.
        detector: finds the face in each whole frame.

    Raises:
        VideoOpenError: the video is missing.
        EvaluationError: no face or more than one plausible face was found, in one of the frames that are named, or,
            where none are, in so many that too few are left.
    """
    pictures: list[Image] = []
    faces: list[FloatArray] = []
    with open_source(folder / clip.file) as source:
        for frame in source:
            if len(pictures) == clip.count:
                break
            if clip.first is not None and frame.index < clip.first:
                continue
            try:
                face = _only_face(detector.detect([frame.image])[0], clip, frame.index)
            except EvaluationError:
                if clip.first is not None:
                    raise
                if len(pictures) >= _MIN_FRAMES:
                    break
                pictures, faces = [], []
                continue
            pictures.append(frame.image)
            faces.append(face)
    if not pictures and clip.first is not None:
        raise EvaluationError(f"{clip.file} has no frame {clip.first}")
    if clip.first is None and len(pictures) < _MIN_FRAMES:
        raise EvaluationError(f"{clip.file} shows exactly one face in fewer than {_MIN_FRAMES} frames in a row")
    boxes = np.array(faces, np.float32)
    centres = _steady(((boxes[:, :2] + boxes[:, 2:]) / 2).astype(np.float32))
    heights = _steady(boxes[:, 3:] - boxes[:, 1:2])
    cut = [
        _cut_out(picture, box, centre, float(height[0]))
        for picture, box, centre, height in zip(pictures, boxes, centres, heights, strict=True)
    ]
    return Actor(
        np.stack([head for head, _, _ in cut]),
        np.stack([alpha for _, alpha, _ in cut]),
        np.stack([box for _, _, box in cut]),
    )


def _only_face(found: Detections, clip: Clip, index: int) -> FloatArray:
    sure = found.xyxy[found.score >= 0.5]
    if not len(sure):
        raise EvaluationError(f"{clip.file}, frame {index}: no face was found; choose other frames")
    sizes = np.prod(sure[:, 2:] - sure[:, :2], axis=1)
    if (sizes > 0.25 * sizes.max()).sum() > 1:
        raise EvaluationError(f"{clip.file}, frame {index}: more than one face was found; choose other frames")
    box: FloatArray = sure[sizes.argmax()]
    return box


def _steady(values: FloatArray) -> FloatArray:
    """Running mean: the crop follows the person through the frame, not the head's every nod."""
    half = _STEADY_FRAMES // 2
    padded = np.pad(values.astype(np.float64), ((half, half), (0, 0)), mode="edge")
    sums = np.cumsum(np.vstack([np.zeros(values.shape[1]), padded]), axis=0)
    means: FloatArray = ((sums[_STEADY_FRAMES:] - sums[:-_STEADY_FRAMES]) / _STEADY_FRAMES).astype(np.float32)
    return means


def _cut_out(
    picture: Image, box: FloatArray, centre: FloatArray, height: float
) -> tuple[Image, FloatArray, FloatArray]:
    scale = FACE_PX / height
    if scale < 0.45:  # a small crop of a large image: average its pixels instead of picking some
        step = 0.5 / scale
        size = (round(picture.shape[1] / step), round(picture.shape[0] / step))
        shrink = np.array([size[0] / picture.shape[1], size[1] / picture.shape[0]], np.float32)
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        return _cut_out(picture, box * np.tile(shrink, 2), centre * shrink, height * float(shrink[1]))
    shift = np.array(_FACE_CENTRE, np.float32) - scale * centre
    to_crop = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
    head = cv2.warpAffine(picture, to_crop, (CROP_W, CROP_H), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones(picture.shape[:2], np.float32), to_crop, (CROP_W, CROP_H))
    across, down = np.meshgrid(np.arange(CROP_W) - _FACE_CENTRE[0], np.arange(CROP_H) - (_FACE_CENTRE[1] - 12))
    inward_px = (1.0 - np.hypot(across / _HEAD_AXES[0], down / _HEAD_AXES[1])) * min(_HEAD_AXES)
    alpha = np.clip(inward_px / _SOFT_PX, 0, 1).astype(np.float32) * inside
    placed = (box.reshape(2, 2) * scale + shift).reshape(4)
    return np.asarray(head, np.uint8), np.asarray(alpha, np.float32), placed.astype(np.float32)
