"""Lost tracks that new ones continue, by motion and size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from fertrack.tracking.rejoin import Ends, rejoin
from fertrack.tracking.tracker import SortTracker, TrackerConfig
from fertrack.types import Detections

Face = tuple[float, float]
"""Left edge and side, px."""


def detections(faces: Iterable[Face]) -> Detections:
    xyxy = np.array([[x, 100, x + side, 100 + side] for x, side in faces], np.float32).reshape(-1, 4)
    return Detections(xyxy, np.full(len(xyxy), 0.9, np.float32), np.zeros((len(xyxy), 5, 2), np.float32))


def final_ids(frames: Iterable[Iterable[Face]], **options: float) -> list[int]:
    tracker = SortTracker(TrackerConfig(**options))  # type: ignore[arg-type]
    for index, faces in enumerate(frames):
        update = tracker.update(detections(faces), index)
    return update.track_ids.tolist()


def ends(*tracks: tuple[int, float, float, float, float]) -> Ends:
    """Ends of tracks: ID, time, x, side, speed."""
    table = np.array(tracks, np.float64).reshape(-1, 5)
    zero = np.zeros(len(table))
    return Ends(
        np.arange(len(table)),
        table[:, 0].astype(np.int64),
        table[:, 1],
        np.stack([table[:, 2], zero], axis=1),
        np.stack([table[:, 3], table[:, 3]], axis=1),
        np.stack([table[:, 4], zero], axis=1),
    )


GONE: list[list[Face]] = [[(100, 40)]] * 20


def test_a_face_covered_for_a_second_has_its_id_again() -> None:
    gap: list[list[Face]] = [[]] * 35
    assert final_ids([*GONE, *gap, *[[(150, 42)]] * 5]) == [1]
    assert final_ids([*GONE, *gap, *[[(150, 42)]] * 5], rejoin_s=0.0) == [2]


@pytest.mark.parametrize(
    ("back", "expected"),
    [((150, 42), 1), ((400, 40), 2), ((100, 90), 2)],
    ids=["near", "too far away", "much larger"],
)
def test_only_what_can_be_the_same_face_has_it(back: Face, expected: int) -> None:
    assert final_ids([*GONE, *[[]] * 35, *[[back]] * 5]) == [expected]


def test_not_after_a_longer_time() -> None:
    assert final_ids([*GONE, *[[]] * 70, *[[(100, 40)]] * 5]) == [2]


def test_two_that_come_back_share_no_id() -> None:
    faces = final_ids([*GONE, *[[]] * 35, *[[(90, 40), (150, 40)]] * 5])
    assert sorted(faces) == [1, 2]


def test_a_track_still_waiting_gives_its_id_away_and_ends() -> None:
    """The newcomer begins out of reach, but comes back from where the lost one went."""
    leaving: list[list[Face]] = [[(100.0 + 6 * i, 40)] for i in range(20)]
    back: list[list[Face]] = [[(320.0 + 8 * i, 40)] for i in range(8)]
    tracker = SortTracker(TrackerConfig(reach=0.0))
    for index, faces in enumerate([*leaving, *[[]] * 12, *back]):
        update = tracker.update(detections(faces), index)
    assert update.track_ids.tolist() == [1]
    assert [track.id for track in tracker.tracks] == [1]


def test_it_is_judged_by_the_mean_speed_of_both() -> None:
    lost = ends((7, 0.0, 0.0, 40.0, 100.0))
    assert rejoin(lost, ends((-1, 1.0, 100.0, 40.0, 100.0)), 2.0) == [(0, 0)]
    assert rejoin(lost, ends((-1, 1.0, 100.0, 40.0, -400.0)), 2.0) == []


def test_the_likeliest_pair_is_made_first() -> None:
    lost = ends((1, 0.0, 0.0, 40.0, 0.0), (2, 0.0, 60.0, 40.0, 0.0))
    begun = ends((-1, 0.5, 50.0, 40.0, 0.0), (-1, 0.5, 10.0, 40.0, 0.0))
    assert sorted(rejoin(lost, begun, 2.0)) == [(0, 1), (1, 0)]


def test_nothing_continues_what_ended_after_it_began() -> None:
    assert rejoin(ends((1, 1.0, 0.0, 40.0, 0.0)), ends((-1, 1.0, 0.0, 40.0, 0.0)), 2.0) == []
