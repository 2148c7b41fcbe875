"""What is hidden cannot be brought back, and what is beside it stays as it was."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from fertrack.anonymise import mosaic as concealment
from fertrack.anonymise.mosaic import CELLS, black_out, pixelate


def noise(seed: int = 0, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)


def enlarged(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    middle, half = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), (box[2] - box[0]) / 2 * concealment.ENLARGED
    return int(middle[0] - half), int(middle[1] - half), int(middle[0] + half), int(middle[1] + half)


def test_only_the_means_of_a_few_cells_are_left() -> None:
    """Two pictures that agree in the means of the cells, and in nothing else, become the same."""
    box = (100, 60, 160, 120)
    left, top, right, _ = enlarged(box)
    first = noise(1)
    second = first.copy()
    cell = (right - left) // CELLS
    for row in range(CELLS):
        for column in range(CELLS):
            part = second[top + row * cell : top + (row + 1) * cell, left + column * cell : left + (column + 1) * cell]
            part[:] = part[::-1, ::-1].copy()
    assert np.abs(first[80:100, 120:140].astype(int) - second[80:100, 120:140]).mean() > 40
    for image in (first, second):
        pixelate(image, np.array([box]))
    inside = (slice(70, 110), slice(110, 150))
    assert np.abs(first[inside].astype(int) - second[inside]).max() <= 2


def test_the_box_is_covered_to_its_corners_and_what_is_far_away_stays() -> None:
    image = noise()
    original = image.copy()
    pixelate(image, np.array([[100, 60, 160, 120]], np.float32))
    changed = (image != original).any(axis=2)
    assert changed[60:120, 100:160].mean() > 0.98
    for corner in ((61, 101), (61, 158), (118, 101), (118, 158)):
        assert changed[corner[0] - 1 : corner[0] + 2, corner[1] - 1 : corner[1] + 2].any()
    changed[enlarged((100, 60, 160, 120))[1] - 2 : 142, 80:182] = False
    assert not changed.any()


@pytest.mark.parametrize(
    "box",
    [(-30, -30, 20, 20), (300, 220, 400, 300), (0, 0, 320, 240), (5, 5, 6, 6), (10, 10, 10, 10), (160, 60, 100, 120)],
)
def test_boxes_at_the_border_of_any_size_and_turned_round(box: tuple[int, int, int, int]) -> None:
    image = noise()
    pixelate(image, np.array([box], np.float32))
    left, right = sorted((max(box[0], 0), min(box[2], 320)))
    if right - left > 15:
        top, bottom = max(box[1], 0), min(box[3], 240)
        patch = image[top:bottom, left:right].astype(int)
        assert np.abs(np.diff(patch, axis=1)).mean() < 8, "neighbouring px are alike"


def test_nothing_to_hide_changes_nothing() -> None:
    image = noise()
    original = image.copy()
    pixelate(image, np.array([[np.nan, 0, 10, 10], [500, 500, 600, 600], [-90, -90, -50, -50]]))
    pixelate(image, np.empty((0, 4)))
    black_out(image, np.empty((0, 4)))
    assert (image == original).all()


def test_overlapping_faces_are_each_made_of_the_picture_itself() -> None:
    boxes = np.array([[100, 60, 160, 120], [130, 60, 190, 120]], np.float32)
    one_way, other_way = noise(), noise()
    pixelate(one_way, boxes)
    pixelate(other_way, boxes[::-1])
    alone = noise()
    pixelate(alone, boxes[1:])
    assert (one_way[80:100, 150:180] == alone[80:100, 150:180]).all()
    assert (one_way[80:100, 100:110] == other_way[80:100, 100:110]).all()


def test_a_blotted_label_is_one_colour() -> None:
    image = noise()
    black_out(image, np.array([[10, 10, 100, 30], [-5, 200, 50, 500]], np.float32))
    for part in (image[10:30, 10:100], image[200:240, 0:50]):
        assert len(np.unique(part.reshape(-1, 3), axis=0)) == 1


def test_examples_in_docstrings_run() -> None:
    outcome = doctest.testmod(concealment)
    assert (outcome.failed, outcome.attempted > 0) == (0, True)
