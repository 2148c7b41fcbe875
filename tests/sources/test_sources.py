"""Choosing the reader, expanding what a person types, and the rules of order and time behind every source."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import pytest
from pydantic import ValidationError

import fertrack.sources
from fertrack.errors import VideoOpenError
from fertrack.sources import FileSource, ImageFolderSource, InputConfig, expand_inputs, open_source
from fertrack.sources.frame_order import ByCount, ByRank, ByTime
from fertrack.sources.timing import PresentationClock
from tests.support.video_factory import make_video, picture


def still(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), picture(0))
    return path


# ---------------------------------------------------------------- open_source


def test_the_reader_is_chosen_by_what_is_there(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", n=2)
    image = still(tmp_path / "stills" / "a.PNG")
    with open_source(str(video), InputConfig(rotate=90)) as source:
        assert isinstance(source, FileSource)
        assert source.info.rotation == 90
    with open_source(image) as source:
        assert isinstance(source, ImageFolderSource)
        assert source.info.frame_count == 1
        assert source.info.path == str(image)
    with open_source(image.parent) as source:
        assert isinstance(source, ImageFolderSource)
        assert source.info.name == "stills"


@pytest.mark.parametrize("name", ["absent.mp4", "absent.png", "absent"])
def test_a_missing_path_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(VideoOpenError, match=rf"{tmp_path}/{name} does not exist: check the spelling"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("location", ["rtsp://user:secret@camera/1", "https://example.org/a.mp4", "HTTP://x"])
def test_addresses_are_refused_without_showing_their_password(location: str) -> None:
    for refuse in (lambda: open_source(location), lambda: expand_inputs([location])):
        with pytest.raises(VideoOpenError, match=r"only files and folders .* 'fertrack live'") as refused:
            refuse()
        assert "secret" not in str(refused.value)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "clip.mp4", n=2)
    with pytest.raises(VideoOpenError, match=r"has no images in it .* or the videos in it by name"):
        open_source(tmp_path)


# ---------------------------------------------------------------- expand_inputs


def test_globs_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("clip10.mp4", "clip2.mp4", "clip1.mkv", "notes.txt", "[odd] name.mp4", "deep/er/clip3.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    still(tmp_path / "stills" / "a.png")

    def names(*patterns: str) -> list[str]:
        return [str(path.relative_to(tmp_path)) for path in expand_inputs([f"{tmp_path}/{p}" for p in patterns])]

    assert names("clip2.mp4") == ["clip2.mp4"]
    assert names("clip*.mp4") == ["clip2.mp4", "clip10.mp4"]
    assert names("clip*") == ["clip1.mkv", "clip2.mp4", "clip10.mp4"]
    assert names("*") == ["[odd] name.mp4", "clip1.mkv", "clip2.mp4", "clip10.mp4", "stills"]
    assert names("*.txt") == ["notes.txt"]  # asked for by suffix
    assert names("**/clip3*") == ["deep/er/clip3.mp4"]
    assert names("stills", "clip10.mp4") == ["stills", "clip10.mp4"]
    assert names("clip10.mp4", "clip*.mp4") == ["clip10.mp4", "clip2.mp4"]  # once each
    assert names("[odd] name.mp4") == ["[odd] name.mp4"]
    monkeypatch.chdir(tmp_path)
    assert expand_inputs(["clip1?.mp4"]) == [Path("clip10.mp4")]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_inputs(["~/clip1.mkv"]) == [tmp_path / "clip1.mkv"]


def test_patterns_that_match_nothing_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(VideoOpenError, match=r"nothing matches .*/\*\.mp4"):
        expand_inputs([f"{tmp_path}/*.mp4"])
    with pytest.raises(VideoOpenError, match=r"nothing matches .*/\*: check"):
        expand_inputs([f"{tmp_path}/*"])
    with pytest.raises(VideoOpenError, match=r"absent\.mp4 does not exist"):
        expand_inputs([str(tmp_path / "absent.mp4")])
    with pytest.raises(VideoOpenError, match="no input was named"):
        expand_inputs([])


# ---------------------------------------------------------------- options and names


@pytest.mark.parametrize(
    "options",
    [{"rotate": 45}, {"from_s": -1}, {"rate_hz": 0}, {"to_s": 0}, {"image_fps": 0}, {"prefetch": 0}, {"nonsense": 1}],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        InputConfig.model_validate(options)


def test_degrees_may_come_as_text_from_a_command_line() -> None:
    assert InputConfig.model_validate({"rotate": "90"}).rotate == 90
    with pytest.raises(ValidationError):
        InputConfig.model_validate({"rotate": "45"})


def test_importing_loads_no_video_library() -> None:
    probe = "import sys, fertrack.sources; sys.exit(len({'av', 'cv2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_every_public_name_is_there() -> None:
    assert all(getattr(fertrack.sources, name) is not None for name in fertrack.sources.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = fertrack.sources.nonsense


# ---------------------------------------------------------------- clock


def clock(interval_ticks: int = 40, origin_ticks: int = 0) -> PresentationClock:
    return PresentationClock(Fraction(1, 1000), interval_ticks, origin_ticks)


def times(ticks: list[int | None], clock_: PresentationClock) -> list[float]:
    return [clock_.stamp(tick) for tick in ticks]


def test_stamps_are_taken_as_they_are() -> None:
    assert times([-80, 0, 7, 5000], clock()) == [-0.08, 0.0, 0.007, 5.0]
    assert times([9000, 9040], clock(origin_ticks=9000)) == [0.0, 0.04]
    assert clock().notes("a.mp4") == []


def test_equal_and_backward_stamps_move_one_tick_on() -> None:
    c = clock()
    assert times([0, 40, 40, 40, 30, 80], c) == [0.0, 0.04, 0.041, 0.042, 0.043, 0.08]
    assert c.notes("a.mp4") == ["a.mp4: 3 pictures are not stamped later than the one before; they were moved"]


def test_a_clock_that_starts_again_goes_on() -> None:
    c = clock()
    assert times([60_000, 60_040, 0, 40, 95, 60_000], c) == [60.0, 60.04, 60.08, 60.12, 60.175, 120.08]
    assert c.repaired == 1


def test_missing_stamps_are_one_interval_apart() -> None:
    c = clock()
    assert times([None, None, 100, None, 110], c) == [0.0, 0.04, 0.1, 0.14, 0.141]
    assert c.missing == 3


# ---------------------------------------------------------------- order


def test_pictures_are_paired_by_stamp_whatever_is_lost() -> None:
    order = ByTime()
    for pts in (0, 30, 10, 20, 60, 40, 50):  # decode order
        order.sent(pts, None)
    assert [order.placed(pts, None) for pts in (0, 20, 30, 40)] == [(0, 0), (2, 20), (3, 30), (4, 40)]
    assert order.lost == 1
    order.ended()
    assert order.lost == 3


def test_pictures_before_the_part_read_are_not_lost() -> None:
    order = ByTime(count_from=100)
    order.skip(5)
    for pts in (50, 90, 100, 110):
        order.sent(pts, None)
    assert order.placed(110, None) == (8, 110)
    assert order.lost == 1


def test_a_picture_that_was_not_announced_still_gets_the_next_number() -> None:
    order = ByTime()
    order.sent(0, None)
    order.sent(20, None)
    assert [order.placed(pts, dts) for pts, dts in ((0, 0), (10, 10), (None, 15), (20, 20))] == [
        (0, 0),
        (1, 10),
        (2, 15),
        (3, 20),
    ]
    assert order.lost == 0


def test_pictures_are_paired_by_rank_where_only_decode_order_is_stamped() -> None:
    order = ByRank()
    for dts in range(6):
        order.sent(None, dts)
    order.failed(None, 2)
    assert [order.placed(pts, None) for pts in (1, 4, 2, 3)] == [(0, 0), (1, 1), (3, 3), (4, 4)]
    assert order.lost == 1
    assert [order.placed(None, None) for _ in range(2)] == [(5, 5), (6, None)]
    order.ended()
    assert order.lost == 1


def test_pictures_are_counted_where_packets_are_not_pictures() -> None:
    order = ByCount()
    order.sent(0, 0)
    order.failed(0, 0)
    assert [order.placed(7, 3), order.placed(None, 4)] == [(0, 7), (1, 4)]
    order.ended()
    assert order.lost == 1
