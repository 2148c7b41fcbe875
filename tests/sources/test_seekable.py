"""Images of a video from any time on: the right one first, and all that follow."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import pytest

from fertrack.errors import VideoOpenError
from fertrack.sources.seekable import SeekableVideo
from tests.support.video_factory import make_video, number_of, picture


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi", "clip.gif"])
@pytest.mark.parametrize("index", [0, 1, 17, 29])
def test_the_image_of_a_time_comes_first(tmp_path: Path, name: str, index: int) -> None:
    codec = {"clip.gif": {"codec": "gif", "pix_fmt": "rgb8"}, "clip.avi": {"b_frames": 0}}.get(name, {})
    with SeekableVideo(make_video(tmp_path / name, 30, 10, **codec)) as video:
        list(itertools.islice(video.images_from(2.0), 3))  # whatever was read before
        time_s, image = next(video.images_from(index / 10))
        assert number_of(image) == index
        assert time_s == pytest.approx(index / 10, abs=0.02)


def test_all_that_follow_come_in_order(tmp_path: Path) -> None:
    with SeekableVideo(make_video(tmp_path / "clip.mp4", 30, 10)) as video:
        assert [number_of(image) for _, image in video.images_from(2.1)] == list(range(21, 30))
        assert list(video.images_from(99.0)) == []


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture(number))
    with SeekableVideo(tmp_path) as video:
        assert [number_of(image) for _, image in video.images_from(2.0)] == [2, 3]


def test_what_cannot_be_read_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(VideoOpenError, match=r"none\.mp4"):
        SeekableVideo(tmp_path / "none.mp4")
