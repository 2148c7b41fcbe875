"""Faces that pass before others and go on in their boxes: nobody goes on with another's ID."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import cv2
import numpy as np
import pytest

from fertrack.imaging.surroundings import SURROUNDINGS_LENGTH, surroundings
from fertrack.tracking.appearance import Appearance
from fertrack.tracking.tracker import SortTracker
from fertrack.types import Detections, FloatArray, Image

FPS = 25.0
SIZE = (640, 360)
HIDDEN = 0.55
"""Share of a face that is covered from which on no detector finds it."""
Places = Mapping[str, tuple[float, float]]
"""Across, and half the height of the face, px; the farthest first."""
Paths = Mapping[str, tuple[tuple[float, float], ...]]
"""Times and places across; somebody is there from the first to the last of them."""


@lru_cache
def head(name: str, half: int) -> tuple[Image, FloatArray]:
    """Hair, face and shoulders in colours of their own, and what of the picture they cover."""
    rng = np.random.default_rng(sum(map(ord, name)))
    width, height = int(2.2 * half), 3 * half
    image, cover = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32)
    middle = (width // 2, height // 2)
    for centre, axes in (
        ((middle[0], int(0.95 * height)), (width // 2, int(0.9 * half))),
        ((middle[0], middle[1] - half // 6), (int(0.95 * half), int(1.25 * half))),
        (middle, (int(0.75 * half), half)),
    ):
        colour = tuple(int(level) for level in rng.integers(20, 230, 3))
        cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1)
        cv2.ellipse(cover, centre, axes, 0, 0, 360, 1.0, -1)
    for side in (-1, 1):
        cv2.circle(image, (middle[0] + side * half // 3, middle[1] - half // 4), half // 9, (20, 20, 20), -1)
    return image, cover[:, :, None]


@lru_cache
def room() -> Image:
    coarse = np.random.default_rng(5).integers(40, 190, (6, 10, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


@lru_cache
def noise(number: int) -> FloatArray:
    return np.random.default_rng(number).integers(-6, 7, (SIZE[1], SIZE[0], 3)).astype(np.float32)


def filmed(places: Places, frame: int) -> tuple[Image, list[str], FloatArray]:
    """A noisy picture, and the faces that a detector finds in it."""
    rng = np.random.default_rng(frame)
    image, boxes = room().astype(np.float32), dict[str, FloatArray]()
    for name, (x, half) in places.items():
        shown, cover = head(name, round(half))
        left, top = int(x - shown.shape[1] / 2), int(180 - shown.shape[0] / 2)
        part = image[top : top + shown.shape[0], left : left + shown.shape[1]]
        part += cover * (shown - part)
        boxes[name] = np.array([x - 0.8 * half, 180 - half, x + 0.8 * half, 180 + half], np.float32)
    order = list(boxes)
    found = [
        name
        for place, name in enumerate(order)
        if all(covered(boxes[name], boxes[nearer]) < HIDDEN for nearer in order[place + 1 :])
    ]
    noisy = np.clip(image + noise(frame % 4), 0, 255).astype(np.uint8)
    jitter = rng.normal(0, 0.8, (len(found), 4))
    return noisy, found, (np.array([boxes[name] for name in found]).reshape(-1, 4) + jitter).astype(np.float32)


def covered(box: FloatArray, by: FloatArray) -> float:
    inside = np.clip(np.minimum(box[2:], by[2:]) - np.maximum(box[:2], by[:2]), 0, None)
    return float(inside.prod() / (box[2:] - box[:2]).prod())


def seen_as(paths: Paths, *, seconds: float = 6.0, watch: bool = True) -> dict[str, list[int]]:
    """The IDs that each person had, in order of time."""
    tracker, rows = SortTracker(), list[tuple[str, int]]()
    for frame in range(round(seconds * FPS)):
        places = {
            name: (float(np.interp(frame / FPS, *zip(*path, strict=True))), 40.0 + 2 * nearness)
            for nearness, (name, path) in enumerate(paths.items())
            if path[0][0] <= frame / FPS <= path[-1][0]
        }
        image, found, boxes = filmed(places, frame)
        faces = Detections(boxes, np.full(len(found), 0.9, np.float32), np.zeros((len(found), 5, 2), np.float32))
        update = tracker.update(faces, frame, frame / FPS, surroundings(image, boxes) if watch else None)
        rows += zip(found, update.keys.tolist(), strict=True)
    had: dict[str, list[int]] = {}
    for name, key in rows:
        public = tracker.track_id(key)
        if public > 0 and had.setdefault(name, [])[-1:] != [public]:
            had[name].append(public)
    return had


def turns_back(stands: str, passes: str) -> Paths:
    """Somebody steps before another, who goes away behind, and turns back: out of where the other was seen last."""
    return {stands: ((0, 320), (2.7, 320)), passes: ((0, 80), (2.1, 320), (2.8, 320), (6, 90))}


def stops_and_goes_on(stands: str, passes: str) -> Paths:
    return {stands: ((0, 320), (3.2, 320)), passes: ((0, 80), (2.2, 315), (3.7, 322), (6, 560))}


def walks_along(stands: str, passes: str) -> Paths:
    return {stands: ((0, 150), (3.4, 348)), passes: ((0, 60), (2.2, 275), (6, 502))}


def crosses(stands: str, passes: str) -> Paths:
    return {
        stands: ((0, 500), (2.5, 325), (3.5, 315), (6, 120)),
        passes: ((0, 140), (2.5, 315), (3.5, 325), (6, 520)),
    }


def both_turn_back(stands: str, passes: str) -> Paths:
    return {
        stands: ((0, 500), (2.5, 325), (3.3, 325), (6, 520)),
        passes: ((0, 140), (2.5, 315), (3.3, 315), (6, 120)),
    }


@pytest.mark.parametrize("meet", [turns_back, stops_and_goes_on, walks_along, crosses, both_turn_back])
def test_nobody_goes_on_with_the_id_of_whom_they_covered(meet: Callable[[str, str], Paths]) -> None:
    assert seen_as(meet("anna", "bo")) == {"anna": [2], "bo": [1]}


def test_without_the_pictures_the_one_who_turns_back_takes_the_others_id() -> None:
    """The fault that this is about; if boxes alone told the two apart, the test above would say nothing."""
    assert seen_as(turns_back("anna", "bo"), watch=False) == {"anna": [2], "bo": [1, 2]}


def test_after_a_meeting_a_face_far_away_is_not_looked_at() -> None:
    memory, rng = Appearance(), np.random.default_rng(0)
    boxes = np.array([[100, 100, 140, 150], [142, 100, 182, 150]], np.float64)
    looks = rng.random((2, SURROUNDINGS_LENGTH)).astype(np.float32)
    for row in (0, 1):
        memory.remember([row], boxes[row : row + 1], looks[row : row + 1], 0.0)
    memory.remember([0, 1], boxes, looks, 0.04)
    assert memory.barred([0], boxes[:1], looks[1:], 0.08).tolist() == [[True]]  # type: ignore[union-attr]  # it is another
    assert memory.barred([0], boxes[:1] + 600, looks[1:], 0.08) is None


def test_two_who_look_alike_are_not_cut() -> None:
    """Where nothing can be told, nothing is done: names of the same letters have the same head."""
    assert seen_as({"abc": ((0, 320), (4, 320)), "cba": ((0, 80), (2, 240), (4, 90))}, seconds=4) == {
        "abc": [2],
        "cba": [1],
    }
