"""Cuts between pieces of real clips, put one after another at random: nearly all are found, and nothing else."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from fertrack.pipeline.shots import CutDetector, signature
from fertrack.types import Faces, FloatArray, FrameFaces

pytestmark = pytest.mark.shared

CLIPS = {
    "liveportrait_d0.mp4": 78,
    "liveportrait_d3.mp4": 120,
    "liveportrait_d10.mp4": 120,
    "liveportrait_s20.mp4": 120,
    "mrsingh_crowd.mp4": 150,
    "intel_face-demographics-walking-and-pause.gif": 41,
    "intel_head-pose-face-detection-male.gif": 62,
}
"""Clips without cuts, two of them before much the same grey wall, and how many frames are taken."""


@pytest.fixture(scope="module")
def signatures(shared_data: Path) -> dict[str, list[FloatArray]]:
    found: dict[str, list[FloatArray]] = {}
    for name, count in CLIPS.items():
        with av.open(str(shared_data / "video" / name)) as container:
            frames = zip(range(count), container.decode(video=0), strict=False)
            found[name] = [signature(frame.to_ndarray(format="bgr24")) for _, frame in frames]
    return found


def montage(signatures: dict[str, list[FloatArray]], rng: np.random.Generator) -> tuple[list[FloatArray], list[int]]:
    """Twelve pieces of 1 to 3 s, and the frames with which each but the first begins."""
    pieces: list[FloatArray] = []
    cuts: list[int] = []
    previous = ""
    for _ in range(12):
        name = str(rng.choice([name for name in signatures if name != previous]))
        clip = signatures[name]
        length = min(len(clip), int(rng.integers(25, 75)))
        start = int(rng.integers(0, len(clip) - length + 1))
        cuts += [len(pieces)] if pieces else []
        pieces += clip[start : start + length]
        previous = name
    return pieces, cuts


@pytest.mark.parametrize("step", [1, 5], ids=["25 fps", "5 fps"])
def test_precision_and_recall(signatures: dict[str, list[FloatArray]], step: int) -> None:
    rng = np.random.default_rng(20)
    right = wrong = missed = 0
    for _ in range(15):
        pieces, cuts = montage(signatures, rng)
        detector = CutDetector()
        passed = []
        for index in range(0, len(pieces), step):
            passed += detector.push(FrameFaces(index, index / 25, Faces.empty(), signature=pieces[index]))
        found = {frame.frame_index for frame, is_cut in [*passed, *detector.flush()] if is_cut}
        true = {-(-cut // step) * step for cut in cuts}
        right, wrong, missed = right + len(found & true), wrong + len(found - true), missed + len(true - found)
    assert right + missed == 165
    assert right / (right + missed) >= 0.97
    assert wrong <= 1
