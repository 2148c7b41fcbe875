"""MPEG-TS: a clock that jumps ahead goes on where it was, sound with it; a gap that can be believed is kept."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fertrack.sources import FileSource, InputConfig
from fertrack.sources.timing import PresentationClock
from tests.footage.test_sound import annotate, assert_in_sync
from tests.support.flash_and_beep import make_clip
from tests.support.video_factory import make_video, number_of


def joined(path: Path, starts_s: tuple[float, ...], n: int = 25, **options: object) -> Path:
    """Clips of ``n`` pictures at 25 a second, one after the other, with clocks that start at ``starts_s``."""
    parts = [
        make_video(path.with_name(f"{i}{path.suffix}"), n=n, fps=25, clock_start_s=start_s, **options)
        for i, start_s in enumerate(starts_s)
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def read(path: Path, **options: object) -> tuple[FileSource, list[tuple[int, float]]]:
    with FileSource(path, InputConfig.model_validate(options)) as source:
        return source, [(number_of(frame.image), frame.timestamp_s) for frame in source]


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_jump_of_the_clock_is_no_time(tmp_path: Path, b_frames: int) -> None:
    source, frames = read(joined(tmp_path / "jump.ts", (0, 1000, 5000), b_frames=b_frames))
    times = np.array([time_s for _, time_s in frames])
    assert [number for number, _ in frames] == list(range(25)) * 3
    assert times - times[0] == pytest.approx(np.arange(75) / 25, abs=1e-3)
    (note,) = source.notes
    assert "jump.ts: the clock jumps ahead by 99" in note
    assert "and 1 times more" in note
    assert "input.max_gap_s" in note


def test_a_part_after_the_jump_is_the_same_as_in_the_whole(tmp_path: Path) -> None:
    path = joined(tmp_path / "jump.ts", (0, 1000), b_frames=0)
    _, whole = read(path)
    _, part = read(path, from_s=1.2, to_s=1.5)
    assert part == [frame for frame in whole if 1.2 <= frame[1] < 1.5] != []


def test_a_gap_that_can_be_believed_is_kept(tmp_path: Path) -> None:
    path = joined(tmp_path / "pause.ts", (0, 31), b_frames=0)
    source, frames = read(path)
    assert frames[25][1] - frames[24][1] == pytest.approx(30.04, abs=0.1)
    assert source.notes == []
    source, frames = read(path, max_gap_s=10.0)
    assert frames[25][1] - frames[24][1] == pytest.approx(0.04, abs=1e-3)
    assert len(source.notes) == 1


def test_other_formats_have_gaps_of_any_length(tmp_path: Path) -> None:
    path = make_video(tmp_path / "gap.mkv", vfr_pts=[0, 40, 2_000_000], time_base=Fraction(1, 1000), b_frames=0)
    source, frames = read(path)
    assert [time_s for _, time_s in frames] == [0.0, 0.04, 2000.0]
    assert source.notes == []


@pytest.mark.parametrize("second_s", [1000.0, 0.0], ids=["ahead", "back"])
@pytest.mark.parametrize("codec", ["aac", "mp2"])
def test_sound_jumps_with_the_pictures(tmp_path: Path, codec: str, second_s: float) -> None:
    parts = [
        make_clip(tmp_path / f"{i}.ts", (0.4, 1.2), 2.0, codec=codec, clock_start_s=start_s)
        for i, start_s in enumerate((0.0, second_s))
    ]
    clip = tmp_path / "in.ts"
    clip.write_bytes(b"".join(part.read_bytes() for part in parts))
    third = make_clip(tmp_path / "2.ts", (0.4, 1.2), 2.0, codec=codec, clock_start_s=2.0)
    straight = tmp_path / "straight.ts"
    straight.write_bytes(parts[0].read_bytes() + third.read_bytes())
    annotate(clip, tmp_path / "out.mp4")
    assert_in_sync(tmp_path / "out.mp4", straight, count=4, exact_s=0.05)


@pytest.mark.parametrize(
    ("stamps", "times", "jumps"),
    [
        ([0, 10, 20, 100_020, 100_030], [0.0, 0.1, 0.2, 0.3, 0.4], [(0.3, 999.9)]),
        ([0, 10, 5_000, 5_010], [0.0, 0.1, 50.0, 50.1], []),
        ([500, 510, 0, 10], [5.0, 5.1, 5.2, 5.3], [(5.2, -5.2)]),
        ([0, 10, 5, 30], [0.0, 0.1, 0.11, 0.3], []),
    ],
)
def test_the_rule_of_the_clock(stamps: list[int], times: list[float], jumps: list[tuple[float, float]]) -> None:
    clock = PresentationClock(Fraction(1, 100), 10, max_gap_s=60.0)
    assert [clock.stamp(stamp) for stamp in stamps] == pytest.approx(times)
    assert [(round(at_s, 6), round(by_s, 6)) for at_s, by_s in clock.jumps] == jumps
