"""The whole pipeline without weights: scripted scenes, and a detector and a classifier that read them exactly.

A ``SyntheticScene`` draws persons as coloured ovals on known paths. Each image carries its frame number as a row of
black and white blocks, and each oval carries its expression as its colour, so that ``FakeDetector`` and
``FakeClassifier`` stay pure functions of pixels, even after a lossy codec.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from fertrack.imaging.alignment import DEFAULT_TEMPLATE
from fertrack.types import EXPRESSIONS, Detections, FloatArray, Frame, Image, VideoInfo

__all__ = ["FakeClassifier", "FakeDetector", "ScenePerson", "SceneSource", "SyntheticScene"]

_BITS = 16
_BLOCK_PX = 8
_COLOURS = np.array(
    [(0, 255, 255), (255, 0, 255), (0, 160, 0), (0, 128, 255), (255, 0, 0), (0, 0, 255), (128, 128, 128)], np.float32
)
"""BGR colour of an oval, by expression."""


@dataclass(frozen=True, slots=True)
class ScenePerson:
    """One person of a scene.

    Attributes:
        start_xy: centre at time 0, px.
        velocity_xy: px per second.
        size_px: height of the face; its width is 0.8 of it.
        script: (from_s, expression) pairs in time order.
        visible_s: (from, to) pairs during which the person is seen; empty = always.
    """

    start_xy: tuple[float, float]
    velocity_xy: tuple[float, float] = (0.0, 0.0)
    size_px: float = 60.0
    script: tuple[tuple[float, str], ...] = ((0.0, "neutral"),)
    visible_s: tuple[tuple[float, float], ...] = ()

    def is_visible(self, time_s: float) -> bool:
        """Whether the person is seen at a time."""
        return not self.visible_s or any(start <= time_s < end for start, end in self.visible_s)

    def box(self, time_s: float) -> FloatArray:
        """Face box at a time: float32 (4,), xyxy, px, not clipped."""
        x, y = (start + speed * time_s for start, speed in zip(self.start_xy, self.velocity_xy, strict=True))
        half_w, half_h = 0.4 * self.size_px, 0.5 * self.size_px
        return np.array([x - half_w, y - half_h, x + half_w, y + half_h], np.float32)

    def expression(self, time_s: float) -> int:
        """Index of the scripted expression at a time."""
        current = self.script[0][1]
        for start_s, expression in self.script:
            if start_s <= time_s:
                current = expression
        return EXPRESSIONS.index(current)


@dataclass(frozen=True, slots=True)
class SyntheticScene:
    """A scripted video: persons on straight paths over a grey background.

    Attributes:
        persons: who is in it.
        frame_count: number of frames, at most 65535.
        fps: constant frame rate.
        width: px.
        height: px.
    """

    persons: tuple[ScenePerson, ...]
    frame_count: int = 50
    fps: float = 25.0
    width: int = 320
    height: int = 240

    def time_s(self, index: int) -> float:
        """Presentation time of a frame."""
        return index / self.fps

    def truth(self, index: int) -> tuple[Detections, list[int]]:
        """Ground truth of a frame: detections, and the person (position in ``persons``) of each row."""
        time_s = self.time_s(index)
        seen = [i for i, person in enumerate(self.persons) if person.is_visible(time_s)]
        boxes = np.array([self.persons[i].box(time_s) for i in seen], np.float32).reshape(-1, 4)
        limits = np.array([self.width, self.height, self.width, self.height], np.float32)
        inside = [k for k, box in enumerate(boxes) if box[0] < limits[0] and box[1] < limits[1] and min(box[2:]) > 0]
        boxes, seen = boxes[inside], [seen[k] for k in inside]
        unit = DEFAULT_TEMPLATE / np.float32(224)
        landmarks = boxes[:, None, :2] + unit[None] * (boxes[:, 2:] - boxes[:, :2])[:, None]
        clipped = np.clip(boxes, 0, limits)
        score = np.linspace(0.99, 0.9, max(len(seen), 1), dtype=np.float32)[: len(seen)]
        return Detections(clipped, score, landmarks.astype(np.float32)), seen

    def image(self, index: int) -> Image:
        """Image of a frame: uint8 (height, width, 3), BGR."""
        picture = np.full((self.height, self.width, 3), 60, np.uint8)
        time_s = self.time_s(index)
        for person in self.persons:
            if person.is_visible(time_s):
                x1, y1, x2, y2 = person.box(time_s).tolist()
                centre, axes = ((x1 + x2) / 2, (y1 + y2) / 2), (x2 - x1, y2 - y1)
                cv2.ellipse(picture, (centre, axes, 0.0), _COLOURS[person.expression(time_s)].tolist(), -1)
        for bit in range(_BITS):
            left = bit * _BLOCK_PX
            picture[:_BLOCK_PX, left : left + _BLOCK_PX] = 255 if index >> bit & 1 else 0
        return picture


class SceneSource:
    """A ``VideoSource`` that yields a scene's frames without any codec between."""

    def __init__(self, scene: SyntheticScene) -> None:
        self.scene = scene
        self.info = VideoInfo(
            name="scene",
            width=scene.width,
            height=scene.height,
            fps=scene.fps,
            frame_count=scene.frame_count,
            duration_s=scene.frame_count / scene.fps,
        )
        self.decode_failures = 0
        self.dropped = 0
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.scene.frame_count):
            yield Frame(index, self.scene.time_s(index), self.scene.image(index))

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class FakeDetector:
    """Finds exactly the persons a scene's image shows, by reading the frame number from its pixels."""

    def __init__(self, scene: SyntheticScene) -> None:
        self.scene = scene
        self.fingerprint = "fake-detector"

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """The scripted detections of each image."""
        return [self.scene.truth(self._frame_index(image))[0] for image in images]

    def smallest_face_px(self, width: int, height: int) -> float:
        """Every face is found."""
        return 1.0

    @staticmethod
    def _frame_index(image: Image) -> int:
        middle = _BLOCK_PX // 2
        return sum(1 << bit for bit in range(_BITS) if image[middle, bit * _BLOCK_PX + middle].mean() > 127)


class FakeClassifier:
    """Reads the scripted expression from the colour at the middle of the crop.

    Args:
        confidence: logit of the scripted expression; all others are 0.
    """

    def __init__(self, confidence: float = 4.0) -> None:
        self.crop_size = 32
        self.template: FloatArray = DEFAULT_TEMPLATE * np.float32(32 / 224)
        self.fingerprint = "fake-classifier"
        self._confidence = confidence

    def logits(self, crops: Image) -> FloatArray:
        """float32 (N, 7)."""
        middle = crops[:, 12:20, 12:20].reshape(len(crops), -1, 3).mean(axis=1, dtype=np.float32)
        nearest = np.square(middle[:, None] - _COLOURS[None]).sum(axis=2).argmin(axis=1)
        logits = np.zeros((len(crops), len(EXPRESSIONS)), np.float32)
        logits[np.arange(len(crops)), nearest] = self._confidence
        return logits
