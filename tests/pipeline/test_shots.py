"""Shot cuts: found where a shot begins, and nowhere else: not at flashes, pans, glitches, black frames or lamps."""

from __future__ import annotations

import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from fertrack.pipeline.config import ShotConfig
from fertrack.pipeline.shots import SIGNATURE_LENGTH, CutDetector, difference, signature
from fertrack.types import Faces, FrameFaces, Image

FPS = 25.0


def scenery(seed: int, *, width: int = 320, height: int = 180) -> Image:
    """A picture with structure and colours of its own: smooth blobs, a different one per seed."""
    noise = np.random.default_rng(seed).uniform(0, 255, (6, 10, 3)).astype(np.float32)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def cuts(pictures: list[Image], *, fps: float = FPS, config: ShotConfig | None = None) -> list[int]:
    """Positions at which the detector sees a shot begin; also checks that every frame passes, once, in order."""
    detector = CutDetector(config)
    passed = []
    for index, picture in enumerate(pictures):
        looked = FrameFaces(index, index / fps, Faces.empty(), signature=signature(picture))
        released = detector.push(looked)
        assert len(released) <= 2
        passed += released
        assert len(passed) >= index, "at most one frame waits"
    passed += detector.flush()
    assert [frame.frame_index for frame, _ in passed] == list(range(len(pictures)))
    return [frame.frame_index for frame, is_cut in passed if is_cut]


def grainy(picture: Image, count: int, *, seed: int = 7) -> list[Image]:
    rng = np.random.default_rng(seed)
    return [(picture + rng.normal(0, 4, picture.shape)).clip(0, 255).astype(np.uint8) for _ in range(count)]


A, B = scenery(1), scenery(2)


def test_a_signature_is_small_and_says_what_the_picture_is_like() -> None:
    found = signature(A)
    assert found.dtype == np.float32
    assert found.shape == (SIGNATURE_LENGTH,)
    assert SIGNATURE_LENGTH < 512
    assert found[144:].sum() == pytest.approx(1.0)
    luma = cv2.cvtColor(A, cv2.COLOR_BGR2GRAY).mean() / 255
    assert found[:144].mean() == pytest.approx(luma, abs=0.02)
    assert signature(np.zeros((1, 1, 3), np.uint8)).shape == (SIGNATURE_LENGTH,)


def test_difference_is_zero_for_the_same_picture_and_symmetric() -> None:
    a, b = signature(A), signature(B)
    same = difference(a, a)
    assert same.total == pytest.approx(0.0, abs=1e-5)
    assert same.change == 0.0
    there, back = difference(a, b), difference(b, a)
    assert there.total == pytest.approx(back.total, abs=1e-5)
    assert there.structure > 0.5
    assert 0.2 < there.colour <= 1.0


def test_a_cut_is_found_at_the_first_frame_of_the_new_shot() -> None:
    assert cuts(grainy(A, 12) + grainy(B, 9) + grainy(A, 10)) == [12, 21]


def test_a_cut_is_found_at_the_second_frame_of_a_video() -> None:
    assert cuts(grainy(A, 1) + grainy(B, 5)) == [1]


def test_one_shot_has_no_cut() -> None:
    assert cuts(grainy(A, 60)) == []


@pytest.mark.parametrize("odd", [B, np.full_like(A, 255), np.zeros_like(A)], ids=["glitch", "white", "black"])
def test_one_odd_picture_is_no_cut(odd: Image) -> None:
    assert cuts([*grainy(A, 10), odd, *grainy(A, 10)]) == []


def test_a_cut_right_after_a_glitch_is_found_where_it_is() -> None:
    assert cuts([*grainy(A, 10), scenery(5), *grainy(B, 10)]) == [11]


def test_a_lamp_switched_on_is_no_cut() -> None:
    bright = (A.astype(np.float32) * 0.5 + 110).astype(np.uint8)
    assert cuts(grainy(A, 10) + grainy(bright, 10)) == []


def test_black_between_two_shots_is_a_cut_and_black_within_one_is_none() -> None:
    black = [np.zeros_like(A)] * 6
    assert cuts(grainy(A, 10) + black + grainy(A, 10)) == []
    assert cuts(grainy(A, 10) + black + grainy(B, 10)) == [16]


def test_a_suspect_followed_by_black_or_by_the_end_does_not_wait_for_ever() -> None:
    assert cuts(grainy(A, 10) + [B] + [np.zeros_like(A)] * 5) == []
    assert cuts([*grainy(A, 10), B]) == []


def test_a_fast_pan_is_no_cut() -> None:
    wide = cv2.resize(scenery(3), (1600, 180))
    assert cuts([wide[:, x : x + 320] for x in range(0, 1280, 20)]) == []


def test_somebody_who_appears_at_once_is_no_cut() -> None:
    with_person = A.copy()
    cv2.ellipse(with_person, ((160.0, 90.0), (70.0, 100.0), 0.0), (120, 160, 220), -1)
    assert cuts(grainy(A, 10) + grainy(with_person, 10)) == []


def test_motion_that_never_rests_is_no_cut_and_a_real_one_in_it_is() -> None:
    def restless(seed: int, count: int) -> list[Image]:
        """Half of the picture is different in every frame, as in a crowd sampled once a second."""
        base, pictures = scenery(seed), []
        for step in range(count):
            picture = base.copy()
            picture[:, 160:] = scenery(1000 * seed + step)[:, 160:]
            pictures.append(picture)
        return pictures

    assert cuts(restless(1, 30), fps=1.0) == []
    assert cuts([*grainy(A, 15), *grainy(B, 15)], fps=1.0) == [15]


def test_many_dropped_frames_ask_for_more_evidence_than_one_step() -> None:
    half = A.copy()
    half[:, 140:] = scenery(9)[:, 140:]
    near = signature(A), signature(half)
    assert 0.4 < difference(*near).total < 0.85

    def found(gap_s: float) -> bool:
        detector = CutDetector()
        times = [*(i / FPS for i in range(10)), 9 / FPS + gap_s, 10 / FPS + gap_s]
        released = []
        for index, time_s in enumerate(times):
            released += detector.push(FrameFaces(index, time_s, Faces.empty(), signature=near[index >= 10]))
        return any(is_cut for _, is_cut in released)

    assert found(1 / FPS)
    assert not found(2.0)


def test_nothing_is_found_where_nothing_is_looked_for() -> None:
    assert cuts(grainy(A, 5) + grainy(B, 5), config=ShotConfig(enabled=False)) == []
    detector = CutDetector()
    unsigned = [FrameFaces(i, i / FPS, Faces.empty()) for i in range(3)]
    assert [detector.push(frame) for frame in unsigned] == [[(frame, False)] for frame in unsigned]


def test_the_threshold_decides() -> None:
    video = grainy(A, 10) + grainy(B, 10)
    assert cuts(video, config=ShotConfig(threshold=2.0)) == []
    with pytest.raises(ValidationError):
        ShotConfig(threshold=0.0)


def test_a_signature_of_a_720p_picture_is_cheap() -> None:
    picture = scenery(4, width=1280, height=720)
    times = []
    for _ in range(30):
        started = time.perf_counter()
        signature(picture)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.6e-3, "0.1 ms on an idle core"


NO_CUTS = (
    "mrsingh_crowd.mp4",
    "intel_face-demographics-walking-and-pause.gif",
    "intel_head-pose-face-detection-male.gif",
    "liveportrait_d3.mp4",
    "liveportrait_s20.mp4",
    "composite_5faces.mp4",
)


def read(path: Path, rate_hz: float = 0.0) -> list[FrameFaces]:
    looked: list[FrameFaces] = []
    next_s = float("-inf")
    with av.open(str(path)) as container:
        for index, picture in enumerate(container.decode(video=0)):
            time_s = float(picture.time or 0.0)
            if rate_hz and time_s < next_s - 1e-6:
                continue
            next_s = time_s + 1.0 / rate_hz if rate_hz else 0.0
            found = signature(picture.to_ndarray(format="bgr24"))
            looked.append(FrameFaces(index, time_s, Faces.empty(), signature=found))
    return looked


def found_in(looked: list[FrameFaces]) -> list[int]:
    detector = CutDetector()
    passed = [pair for frame in looked for pair in detector.push(frame)] + detector.flush()
    return [frame.frame_index for frame, is_cut in passed if is_cut]


@pytest.mark.shared
def test_the_cuts_of_a_real_video_are_found_exactly(shared_data: Path) -> None:
    looked = read(shared_data / "video" / "fr_short_hamilton_clip.mp4")
    assert found_in(looked) == [20, 82, 211], "seen by eye: each is the first frame of a new shot"
    assert found_in(looked[::3]) == [21, 84, 213], "the first sampled frame of each shot"
    assert found_in(read(shared_data / "video" / "pyfeat_face_noface.mov")) == [73], "after one black frame"


@pytest.mark.shared
@pytest.mark.parametrize("name", NO_CUTS)
def test_real_videos_without_cuts_have_none(shared_data: Path, name: str) -> None:
    looked = read(shared_data / "video" / name)
    assert found_in(looked) == []
    assert found_in(looked[::5]) == [], "sampled at about 5 a second"
