"""Streams without times: the rate is the one their own headers name, or what is asked for; never FFmpeg's guess."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from fertrack.errors import VideoOpenError
from fertrack.sources import FileSource, InputConfig
from tests.support.video_factory import damage, make_video, number_of

H265 = {"codec": "libx265", "options": {"x265-params": "log-level=none", "preset": "ultrafast", "crf": "4"}}
MPEG2 = {"codec": "mpeg2video", "options": {"b": "4M"}, "container": "mpeg2video"}
MJPEG = {"codec": "mjpeg", "pix_fmt": "yuvj420p"}


def read(path: Path, **options: object) -> tuple[FileSource, list[tuple[int, float]]]:
    """Number drawn and time of every picture."""
    with FileSource(path, InputConfig.model_validate(options)) as source:
        return source, [(number_of(frame.image), frame.timestamp_s) for frame in source]


@pytest.mark.parametrize(
    ("name", "fps", "options"),
    [
        ("slow.h264", 12, {}),
        ("half.h264", Fraction(25, 2), {}),
        ("slower.h264", Fraction(15, 2), {}),
        ("ntsc.h264", Fraction(30_000, 1001), {}),
        ("fast.h264", 60, {"b_frames": 0}),
        ("slow.hevc", 12, H265),
        ("fast.m2v", 50, MPEG2),
        ("interlaced.h264", 25, {"options": {"preset": "ultrafast", "crf": "4", "x264-params": "interlaced=1"}}),
    ],
)
def test_the_rate_in_the_headers_is_used_and_said(
    tmp_path: Path, name: str, fps: Fraction | int, options: dict[str, object]
) -> None:
    source, frames = read(make_video(tmp_path / name, n=15, fps=fps, **options))
    assert [number for number, _ in frames] == list(range(15))
    assert [time_s for _, time_s in frames] == pytest.approx([float(i / fps) for i in range(15)], abs=1e-4)
    assert source.info.fps == pytest.approx(float(fps))
    rate = f"{source.info.fps:g}"
    deinterlaced = [f"{name}: 15 pictures are interlaced; deinterlaced"] if name.startswith("interlaced") else []
    assert source.notes == [
        f"{name}: the video carries no times: {rate} pictures a second are assumed, as its headers say; "
        "if that is wrong, set the rate: --set input.fps=RATE",
        *deinterlaced,
    ]


def test_without_a_rate_25_is_assumed_and_the_remedy_named(tmp_path: Path) -> None:
    source, frames = read(make_video(tmp_path / "camera.mjpeg", n=6, fps=10, **MJPEG))
    assert frames == [(i, pytest.approx(i / 25)) for i in range(6)]
    assert source.notes == [
        "camera.mjpeg: the video carries no times: 25 pictures a second are assumed, as nothing says otherwise; if "
        "that is wrong, set the rate: --set input.fps=RATE"
    ]


@pytest.mark.parametrize(
    ("name", "options"), [("camera.mjpeg", MJPEG), ("wrong.h264", {}), ("plain.h264", {"b_frames": 0})]
)
@pytest.mark.parametrize("fps", [10.0, 12.5, 29.97])
def test_the_rate_asked_for_is_used(tmp_path: Path, name: str, options: dict[str, object], fps: float) -> None:
    path = make_video(tmp_path / name, n=12, fps=24, **options)
    source, frames = read(path, fps=fps)
    assert frames == [(i, pytest.approx(i / fps, abs=1e-6)) for i in range(12)]
    assert source.info.fps == pytest.approx(fps)
    assert "as input.fps says" in source.notes[0]
    _, part = read(path, fps=fps, from_s=5 / fps - 0.001, to_s=8 / fps - 0.001)
    assert [number for number, _ in part] == [5, 6, 7]


def test_a_lost_picture_leaves_a_gap_in_time(tmp_path: Path) -> None:
    path = make_video(tmp_path / "camera.mjpeg", n=10, fps=10, **MJPEG)
    damage(path, [4], keep=20)
    source, frames = read(path, fps=10.0)
    assert frames == [(i, pytest.approx(i / 10)) for i in range(10) if i != 4]
    assert source.decode_failures == 1


def test_a_rate_for_a_video_with_times_is_refused(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", n=3)
    with pytest.raises(VideoOpenError, match=r"clip\.mp4 carries times of its own: leave out input\.fps"):
        FileSource(path, InputConfig(fps=12.0))
