"""Tracks whose face abruptly becomes another face: layouts of a video call that change without a cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import cv2
import numpy as np
import pytest

from fertrack.imaging.surroundings import SURROUNDINGS_LENGTH, difference, surroundings
from fertrack.tracking.appearance import Appearance
from fertrack.tracking.tracker import SortTracker
from fertrack.types import Detections, Image

FPS = 25.0
SWITCH = 75
"""Frame at which the layout changes: at 3 s."""
Tile = tuple[int, int, int, int]
Layout = Mapping[str, Tile]
"""Who is in which tile: left, top, width, height, px."""

LEFT, RIGHT = (0, 90, 320, 180), (320, 90, 320, 180)
THREE = [(0, 60, 213, 240), (213, 60, 213, 240), (426, 60, 214, 240)]
HALF = [(0, 0, 320, 360), (320, 0, 320, 360)]


@lru_cache
def portrait(name: str, size: tuple[int, int]) -> Image:
    """A room, and somebody in it: textures that stay the same for a name."""
    rng = np.random.default_rng(sum(map(ord, name)))
    coarse = rng.integers(30, 226, (6, 8, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    centre, side = (size[0] // 2, size[1] // 2), size[1] // 5
    skin = tuple(int(v) for v in rng.integers(90, 230, 3))
    cv2.ellipse(picture, centre, (side, int(1.2 * side)), 0, 0, 360, skin, -1)
    for eye in (-1, 1):
        cv2.circle(picture, (centre[0] + eye * side // 2, centre[1] - side // 3), max(side // 6, 1), (20, 20, 20), -1)
    return np.asarray(picture, np.uint8)


def filmed(layout: Layout, frame: int) -> tuple[Image, list[tuple[str, tuple[float, ...]]]]:
    """A picture of the call with noise and small motion, and the faces in it."""
    rng = np.random.default_rng(frame)
    image = np.full((360, 640, 3), 32, np.uint8)
    faces = []
    for name, (left, top, width, height) in layout.items():
        sway = round(2 * np.sin(frame / 9 + len(name)))
        shown = np.roll(portrait(name, (width, height)), sway, axis=1).astype(np.int16)
        shown = shown + rng.integers(-5, 6, shown.shape, dtype=np.int16)
        image[top : top + height, left : left + width] = np.clip(shown, 0, 255).astype(np.uint8)
        x, y, side = left + width / 2 + sway, top + height / 2, height / 5
        faces.append((name, (x - side, y - 1.2 * side, x + side, y + 1.2 * side)))
    return image, faces


def seen_as(layout_at: Callable[[int], Layout], frames: int = 115, *, watch: bool = True) -> dict[str, list[int]]:
    """The IDs that each person had, in order of time, unconfirmed rows left out."""
    tracker, had = SortTracker(), dict[str, list[int]]()
    rows: list[tuple[str, int]] = []
    for frame in range(frames):
        image, faces = filmed(layout_at(frame), frame)
        boxes = np.array([box for _, box in faces], np.float32).reshape(-1, 4)
        found = Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros((len(boxes), 5, 2), np.float32))
        update = tracker.update(found, frame, frame / FPS, surroundings(image, boxes) if watch else None)
        rows += [(name, int(key)) for (name, _), key in zip(faces, update.keys, strict=True)]
    for name, key in rows:
        public = tracker.track_id(key)
        if public > 0 and (not had.get(name) or had[name][-1] != public):
            had.setdefault(name, []).append(public)
    return had


def nobody_shares(had: dict[str, list[int]]) -> bool:
    given = [public for ids in had.values() for public in set(ids)]
    return len(set(given)) == len(given)


def changes(before: Layout, after: Layout) -> Callable[[int], Layout]:
    return lambda frame: before if frame < SWITCH else after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"anna": LEFT, "bo": RIGHT}, {"bo": LEFT, "anna": RIGHT}),
        (
            dict(zip(("anna", "bo", "chris"), THREE, strict=True)),
            dict(zip(("bo", "chris", "anna"), THREE, strict=True)),
        ),
        (dict(zip(("anna", "bo"), HALF, strict=True)), dict(zip(("bo", "anna"), HALF, strict=True))),
        ({"anna": LEFT, "bo": RIGHT}, {"anna": LEFT, "chris": RIGHT}),
        ({"anna": (0, 0, 640, 360)}, {"bo": (0, 0, 640, 360)}),
        ({"anna": (0, 0, 640, 360)}, {"anna": LEFT, "bo": RIGHT}),
        ({"anna": LEFT, "bo": RIGHT}, {"bo": (0, 0, 640, 360)}),
    ],
    ids=["two tiles", "three tiles", "half pictures", "one replaced", "speakers", "speaker to gallery", "to speaker"],
)
def test_nobody_takes_anothers_id_when_the_layout_changes(before: Layout, after: Layout) -> None:
    assert nobody_shares(seen_as(changes(before, after)))


def test_without_the_pictures_ids_stay_with_the_tiles() -> None:
    """The fault that this is about; if boxes alone tell the two apart, the test above says nothing."""
    layout = changes({"anna": LEFT, "bo": RIGHT}, {"bo": LEFT, "anna": RIGHT})
    assert not nobody_shares(seen_as(layout, watch=False))


def test_a_tile_that_did_not_change_keeps_its_id() -> None:
    had = seen_as(changes({"anna": LEFT, "bo": RIGHT}, {"anna": LEFT, "chris": RIGHT}))
    assert had == {"anna": [1], "bo": [2], "chris": [3]}


def test_a_camera_off_and_on_again_is_the_same_person() -> None:
    both: Layout = {"anna": LEFT, "bo": RIGHT}
    had = seen_as(lambda frame: {"anna": LEFT} if 75 <= frame < 105 else both)
    assert had == {"anna": [1], "bo": [2]}


def test_somebody_else_after_a_name_card_is_not() -> None:
    def layout(frame: int) -> Layout:
        if frame < 75:
            return {"anna": LEFT, "bo": RIGHT}
        return {"anna": LEFT} if frame < 100 else {"anna": LEFT, "chris": RIGHT}

    assert seen_as(layout) == {"anna": [1], "bo": [2], "chris": [3]}


def test_a_lamp_switched_on_is_no_other_face() -> None:
    tracker = SortTracker()
    for frame in range(100):
        image, faces = filmed({"anna": LEFT, "bo": RIGHT}, frame)
        lit = np.clip(image.astype(np.float32) * (1.0 if frame < 50 else 1.25) + (frame >= 50) * 10, 0, 255)
        boxes = np.array([box for _, box in faces], np.float32)
        found = Detections(boxes, np.full(2, 0.9, np.float32), np.zeros((2, 5, 2), np.float32))
        update = tracker.update(found, frame, frame / FPS, surroundings(lit.astype(np.uint8), boxes))
    assert update.track_ids.tolist() == [1, 2]


def test_one_odd_picture_does_not_end_a_track() -> None:
    tracker = SortTracker()
    for frame in range(60):
        image, faces = filmed({"chris" if frame == 40 else "anna": LEFT}, frame)
        boxes = np.array([box for _, box in faces], np.float32)
        found = Detections(boxes, np.full(1, 0.9, np.float32), np.zeros((1, 5, 2), np.float32))
        update = tracker.update(found, frame, frame / FPS, surroundings(image, boxes))
    assert update.track_ids.tolist() == [1]


def test_faces_that_overlap_are_not_judged() -> None:
    memory, box = Appearance(), np.array([[100.0, 100, 140, 150]])
    rng = np.random.default_rng(0)
    mine, other = rng.random((2, 1, SURROUNDINGS_LENGTH)).astype(np.float32)
    memory.remember([1], box, mine, 0.0)
    barred = memory.barred([1], box, other, 0.04)
    assert barred is not None
    assert barred.tolist() == [[True]]
    near = np.concatenate([box, box + 30])
    assert memory.barred([1], near, np.concatenate([other, other]), 0.04) is None


def test_a_flat_picture_says_nothing() -> None:
    flat, face = np.full((1, SURROUNDINGS_LENGTH), 0.5, np.float32), portrait("anna", (100, 100))
    look = surroundings(face, np.array([[25, 25, 75, 75]], np.float32))
    assert difference(look[0], flat).tolist() == [0.0]
    assert difference(look[0], look).tolist() == pytest.approx([0.0], abs=1e-5)


def test_a_box_outside_the_picture_has_no_surroundings() -> None:
    boxes = np.array([[-500, -500, -450, -450], [10, 10, 40, 40], [np.nan] * 4], np.float32)
    looks = surroundings(portrait("anna", (100, 100)), boxes)
    assert np.isnan(looks[0]).all()
    assert np.isnan(looks[2]).all()
    assert ((looks[1] >= 0) & (looks[1] <= 1)).all()
