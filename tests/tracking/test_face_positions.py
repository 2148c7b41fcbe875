"""Where a face may be while it is not detected: interpolated, held, carried on; and whose an unclaimed face is."""

from __future__ import annotations

import numpy as np
import pytest

from fertrack.tracking.face_positions import NOBODY, FacePaths, Sightings, with_unclaimed


def walking(times_s: list[float], subject: int = 1, speed: float = 100.0, left: float = 0.0) -> Sightings:
    """Somebody of 40 px who walks to the right."""
    times = np.array(times_s)
    x = left + speed * times
    xyxy = np.stack([x, np.full_like(x, 50.0), x + 40, np.full_like(x, 90.0)], axis=1)
    return Sightings(np.full(len(times), subject), times, xyxy)


def covers(outer: np.ndarray, inner: np.ndarray) -> bool:
    return bool((outer[:2] <= inner[:2] + 1e-9).all() and (outer[2:] >= inner[2:] - 1e-9).all())


def test_a_sighting_is_where_it_was_seen() -> None:
    seen = walking([0.0, 0.1, 0.2])
    boxes, subjects = FacePaths(seen).at(0.1)
    assert boxes.tolist() == [seen.xyxy[1].tolist()]
    assert subjects.tolist() == [1]


def test_in_a_gap_the_box_moves_along_and_is_larger() -> None:
    paths = FacePaths(walking([0.0, 0.04, 1.0, 1.04]))
    for time_s in (0.1, 0.5, 0.9):
        (box,), _ = paths.at(time_s)
        (true,) = walking([time_s]).xyxy
        assert covers(box, true)
        assert box[2] - box[0] > 40
    assert len(paths.at(0.5)[0]) == 1, "one subject has one box"


@pytest.mark.parametrize("time_s", [0.6, 0.8, 1.0, 3.2, 3.5])
def test_before_and_after_the_box_is_held_and_carried_on(time_s: float) -> None:
    seen = walking([1.2, 1.3, 1.4, 2.8, 2.9, 3.0], speed=60.0)
    (box,), _ = FacePaths(seen).at(time_s)
    (true,) = walking([time_s], speed=60.0).xyxy
    assert covers(box, true), "somebody who goes on as before"
    stands = seen.xyxy[0 if time_s < 2 else -1]
    assert covers(box, stands), "somebody who stops"


def test_long_gone_is_gone_and_long_gaps_are_not_bridged() -> None:
    paths = FacePaths(walking([1.0, 1.1, 5.0, 5.1]))
    assert [len(paths.at(t)[0]) for t in (-0.5, 0.5, 1.6, 3.0, 4.5, 5.9, 6.5)] == [0, 1, 1, 0, 1, 1, 0]


def test_nothing_is_held_across_a_cut() -> None:
    paths = FacePaths(walking([0.0, 0.5, 1.0, 1.5]), cuts_s=[0.75])
    assert [len(paths.at(t)[0]) for t in (0.0, 0.74, 0.75, 1.0)] == [1, 1, 1, 1]
    before, after = paths.at(0.74)[0][0], paths.at(0.75)[0][0]
    assert before[0] < after[0]
    only = FacePaths(walking([0.0, 0.5]), cuts_s=[0.75])
    assert [len(only.at(t)[0]) for t in (0.7, 0.75, 0.8)] == [1, 0, 0]


def test_unclaimed_faces_are_hidden_too_each_for_itself() -> None:
    seen = walking([1.0, 1.1], NOBODY).plus(walking([1.0, 1.1], NOBODY, left=200.0))
    assert len(FacePaths(seen).at(1.0)[0]) == 2
    assert len(FacePaths(seen).hidden(1.5)) == 2


def test_who_is_left_clear_is_not_hidden_by_an_unclaimed_copy_of_the_same_face() -> None:
    clear, copy = walking([0.0, 0.1]), walking([0.0], NOBODY, left=3.0)
    beside = walking([0.0], NOBODY, left=35.0)
    paths = FacePaths(clear.plus(copy).plus(beside))
    assert paths.hidden(0.0, clear=[1]).tolist() == [beside.xyxy[0].tolist()]
    assert len(paths.hidden(0.0)) == 3


def test_boxes_that_are_not_finite_do_not_spoil_the_path() -> None:
    seen = walking([0.0, 0.1, 0.2])
    seen.xyxy[1] = np.nan
    (box,), _ = FacePaths(seen).at(0.1)
    assert np.isfinite(box).all()
    assert covers(box, walking([0.1]).xyxy[0])
    assert len(FacePaths(Sightings.empty()).at(0.0)[0]) == 0


def test_an_unclaimed_face_belongs_to_whoever_is_about_there() -> None:
    one, other = walking([0.0, 0.1, 0.4, 0.5]), walking([0.0, 0.1, 0.4, 0.5], 2, left=150.0)
    stray = walking([0.25, 0.9, 4.0], NOBODY).plus(walking([0.25], NOBODY, left=300.0))
    likely = with_unclaimed(one.plus(other).plus(stray))
    assert likely[:8].tolist() == [1] * 4 + [2] * 4
    assert likely[8:].tolist() == [1, 1, NOBODY, NOBODY]


def test_an_unclaimed_face_that_goes_on_is_one_path() -> None:
    """Seen in every picture, it needs no more room than it takes; what is elsewhere is another's."""
    seen = walking([0.0, 0.04, 0.08, 0.12], NOBODY).plus(walking([0.0, 0.04, 0.08, 0.12], NOBODY, left=300.0))
    boxes, subjects = FacePaths(seen).at(0.08)
    assert sorted(boxes[:, 0].tolist()) == [8.0, 308.0]
    assert subjects.tolist() == [NOBODY, NOBODY]
    (box,) = FacePaths(walking([0.0, 0.08], NOBODY)).at(0.04)[0]
    assert covers(box, walking([0.04]).xyxy[0])
