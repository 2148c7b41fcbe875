"""Video files: exact times and ordinals, upright pixels in the right colours, any part of the file."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
from av.stream import Disposition

import fertrack.sources.file
from fertrack.errors import ConfigError, VideoOpenError, VideoReadError
from fertrack.protocols import VideoSource
from fertrack.sources import FileSource, InputConfig
from fertrack.sources.pixels import Orientation
from fertrack.types import Frame
from tests.support.video_factory import (
    CODEC_TOLERANCE,
    CORNERS_BGR,
    corners_of,
    damage,
    make_video,
    number_of,
    picture,
)


def read(path: Path, **options: object) -> tuple[FileSource, list[Frame]]:
    with FileSource(path, InputConfig.model_validate(options)) as source:
        return source, list(source)


def assert_upright(frame: Frame) -> None:
    found = corners_of(frame.image)
    for corner, colour in CORNERS_BGR.items():
        assert np.abs(np.subtract(found[corner], colour)).max() <= CODEC_TOLERANCE, (corner, found)


# ---------------------------------------------------------------- times and ordinals


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b_frames.mp4", {}),
        ("keyframes.mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("b_frames.avi", {}),  # stamps decode order only
        ("packed.avi", {"codec": "mpeg4", "options": {"b": "4M"}}),
        ("sound.ts", {"audio": True}),
        ("program.mpg", {"codec": "mpeg2video", "options": {"b": "4M"}}),
        ("bare.h264", {}),  # no stamps at all
        ("lossless.mkv", {"codec": "ffv1"}),
        ("web8.webm", {"codec": "libvpx", "audio": True}),
        ("web9.webm", {"codec": "libvpx-vp9"}),
        ("flash.flv", {}),
        ("interlaced.ts", {"options": {"preset": "ultrafast", "crf": "10", "x264-params": "interlaced=1"}}),
    ],
)
def test_every_container_gives_all_pictures_in_order_at_their_times(
    tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    source, frames = read(make_video(tmp_path / name, n=26, fps=25, **options))
    assert [number_of(frame.image) for frame in frames] == list(range(26))
    assert [frame.index for frame in frames] == list(range(26))
    start = frames[0].timestamp_s
    assert start <= 0.1
    assert [frame.timestamp_s - start for frame in frames] == pytest.approx([i / 25 for i in range(26)], abs=5e-4)
    assert source.decode_failures == source.dropped == 0
    assert source.info.fps == pytest.approx(25)
    assert source.info.has_audio == bool(options.get("audio"))
    assert isinstance(source, VideoSource)


def test_gif(tmp_path: Path) -> None:
    source, frames = read(make_video(tmp_path / "a.gif", n=8, fps=10, codec="gif", pix_fmt="rgb8"))
    assert [number_of(frame.image) for frame in frames] == list(range(8))
    assert [frame.timestamp_s for frame in frames] == [i / 10 for i in range(8)]
    assert source.info.codec == "gif"
    assert not source.notes


def test_variable_frame_rate_is_exact(tmp_path: Path) -> None:
    stamps = [0, 1001, 1500, 6000, 6001, 90_000, 90_090, 200_001]
    path = make_video(tmp_path / "vfr.mp4", vfr_pts=stamps, time_base=Fraction(1, 90_000))
    source, frames = read(path)
    assert [frame.timestamp_s for frame in frames] == [stamp / 90_000 for stamp in stamps]
    assert source.info.time_base == Fraction(1, 90_000)


def test_time_is_the_containers_own(tmp_path: Path) -> None:
    late = make_video(
        tmp_path / "late.mkv", vfr_pts=[852, 885, 919], time_base=Fraction(1, 1000), b_frames=0, audio=True
    )
    assert [frame.timestamp_s for frame in read(late)[1]] == [0.852, 0.885, 0.919]


def test_formats_whose_clock_starts_anywhere_start_at_zero_and_keep_the_distance_to_the_sound(tmp_path: Path) -> None:
    stamps = [90_000, 93_600, 97_200]  # one second after the sound
    path = make_video(
        tmp_path / "late.ts",
        vfr_pts=stamps,
        time_base=Fraction(1, 90_000),
        b_frames=0,
        audio=True,
        audio_s=2,
        clock_start_s=36_000,
    )
    with av.open(str(path)) as container:
        assert container.start_time > 36_000e6 - 1e6
        sound = next(iter(container.decode(audio=0)))
        origin = container.start_time / 1e6
    times = [frame.timestamp_s for frame in read(path)[1]]
    assert times[0] - (sound.time - origin) == pytest.approx(1.0, abs=0.03)  # the encoder primes 1024 samples
    assert np.diff(times) == pytest.approx([0.04, 0.04])


def test_missing_stamps_are_filled_in_and_said_once(tmp_path: Path) -> None:
    source, frames = read(make_video(tmp_path / "bare.h264", n=9, fps=20))
    assert [frame.timestamp_s for frame in frames] == pytest.approx([i / 20 for i in range(9)])
    assert [note for note in source.notes if "carries no times" in note] == source.notes
    assert len(source.notes) == 1


def test_joined_clips_go_on_in_time(tmp_path: Path) -> None:
    parts = [make_video(tmp_path / f"{i}.ts", n=50, fps=25, b_frames=0).read_bytes() for i in range(2)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(parts))
    source, frames = read(joined)
    times = [frame.timestamp_s for frame in frames]
    assert len(frames) == 100
    assert all(later > earlier for earlier, later in itertools.pairwise(times))
    assert times[-1] == pytest.approx(99 / 25, abs=0.1)
    assert any("not stamped later" in note for note in source.notes)


# ---------------------------------------------------------------- pixels


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_metadata_is_honoured_and_can_be_overridden(tmp_path: Path, rotation: int) -> None:
    path = make_video(tmp_path / "phone.mp4", n=3, size=(96, 128), rotation=rotation)
    source, frames = read(path)
    assert (source.info.width, source.info.height, source.info.rotation) == (96, 128, rotation)
    assert frames[0].image.shape == (128, 96, 3)
    assert_upright(frames[0])
    source, as_stored = read(path, rotate=0)
    assert source.info.rotation == 0
    for turn in (90, 180, 270):
        source, turned = read(path, rotate=turn)
        assert source.info.rotation == turn
        assert turned[1].image.shape[:2] == (source.info.height, source.info.width)
        expected = np.rot90(as_stored[1].image, -turn // 90)
        assert np.array_equal(turned[1].image, expected)


def test_a_mirrored_picture_is_mirrored_back(tmp_path: Path) -> None:
    def mirror(stream: av.VideoStream) -> None:
        stream.set_display_matrix([-65536, 0, 0, 0, 65536, 0, 128 * 65536, 0, 1 << 30])

    def mirrored(number: int, size: tuple[int, int]) -> np.ndarray:
        return picture(number, size)[:, ::-1]

    path = make_video(tmp_path / "selfie.mp4", n=2, setup=mirror, draw=mirrored)
    _, frames = read(path)
    assert_upright(frames[1])
    assert number_of(frames[1].image) == 1


@pytest.mark.parametrize(("counter_clockwise", "clockwise"), [(0, 0), (-90, 90), (90, 270), (-180, 180), (179, 180)])
def test_rotation_is_found_beside_side_data_of_an_unknown_kind(counter_clockwise: int, clockwise: int) -> None:
    class Picture:
        rotation = counter_clockwise

        @property
        def side_data(self) -> object:
            raise ValueError("30 is not a valid Type")  # what PyAV says of such a picture

    assert Orientation.of(Picture()) == Orientation.clockwise(clockwise)


def test_images_are_contiguous_bgr_bytes(tmp_path: Path) -> None:
    _, frames = read(make_video(tmp_path / "odd.mp4", n=2, size=(125, 97), pix_fmt="yuv444p"))
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image.flags.c_contiguous
    assert_upright(frames[0])
    assert frames[0].read_ms > 0


@pytest.mark.parametrize("matrix", [1, 6, 9], ids=["BT.709", "BT.601", "BT.2020"])
@pytest.mark.parametrize("value_range", [1, 2], ids=["limited", "full"])
def test_colours_follow_the_streams_matrix_and_range(tmp_path: Path, matrix: int, value_range: int) -> None:
    # a wrong matrix is off by 10 to 30 levels here, a wrong range by 16 to 20
    _, frames = read(make_video(tmp_path / "c.mp4", n=2, pix_fmt="yuv444p", colour=(matrix, value_range)))
    assert_upright(frames[0])


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    def wide(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    source, frames = read(make_video(tmp_path / "hdv.mp4", n=2, size=(144, 108), setup=wide))
    assert (source.info.width, source.info.height) == (192, 108)
    assert frames[0].image.shape == (108, 192, 3)
    assert_upright(frames[0])


def test_pictures_that_change_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    parts = [make_video(tmp_path / f"{w}.h264", n=4, size=(w, w * 3 // 4), fps=25).read_bytes() for w in (128, 256)]
    joined = tmp_path / "switch.h264"
    joined.write_bytes(b"".join(parts))
    source, frames = read(joined)
    assert [frame.image.shape for frame in frames] == [(96, 128, 3)] * 8
    assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 3] * 2
    assert any("4 pictures change size or shape; shown whole at 128x96" in note for note in source.notes)


def test_hdr_is_said(tmp_path: Path) -> None:
    def hlg(stream: av.VideoStream) -> None:
        stream.codec_context.color_trc = 18

    source, _ = read(make_video(tmp_path / "hlg.mp4", n=2, setup=hlg))
    assert any("HDR" in note for note in source.notes)


@pytest.mark.parametrize("damaged", [False, True])
def test_threads_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool) -> None:
    path = make_video(tmp_path / "a.mp4", n=24, size=(320, 240), gop=1 if damaged else 12, b_frames=2)
    if damaged:
        damage(path, [5, 6], noise=True, keep=40)
    one, frames_one = read(path)
    monkeypatch.setattr("fertrack.sources.file.LARGE_FRAME_PX", 0)  # as 4K is: frame threads, conversion on all cores
    monkeypatch.setattr("fertrack.sources.pixels.LARGE_FRAME_PX", 0)
    several, frames_several = read(path)
    assert [(f.index, f.timestamp_s) for f in frames_one] == [(f.index, f.timestamp_s) for f in frames_several]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames_one, frames_several, strict=True))
    assert one.decode_failures == several.decode_failures == 2 * damaged


@pytest.mark.parametrize("side", [1, 2])
def test_a_tiny_video(tmp_path: Path, side: int) -> None:
    source, frames = read(make_video(tmp_path / "tiny.mkv", n=3, size=(side, side), codec="ffv1", pix_fmt="bgr0"))
    assert [frame.image.shape for frame in frames] == [(side, side, 3)] * 3
    assert (source.info.width, source.info.height) == (side, side)


def test_8k(tmp_path: Path) -> None:
    path = make_video(tmp_path / "8k.mov", n=2, size=(7680, 4320), codec="mjpeg", pix_fmt="yuvj420p")
    source, frames = read(path)
    assert [number_of(frame.image) for frame in frames] == [0, 1]
    assert frames[1].image.shape == (4320, 7680, 3)
    assert source.info.width == 7680


# ---------------------------------------------------------------- parts of a file


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("closed.mp4", {}),
        ("open.mp4", {"options": {"preset": "fast", "crf": "10", "x264-params": "open-gop=1:bframes=3:keyint=12"}}),
        (
            "leading.mkv",
            {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "log-level=none:keyint=12"}},
        ),
        ("a.avi", {}),
        ("b.ts", {}),
        ("c.webm", {"codec": "libvpx"}),
    ],
)
@pytest.mark.parametrize("window", [(0.5, 1.5), (1.31, None), (0.0, 0.7), (1.999, None)])
def test_a_part_is_the_same_pictures_as_in_the_whole(
    tmp_path: Path, name: str, options: dict[str, object], window: tuple[float, float | None]
) -> None:
    path = make_video(tmp_path / name, n=60, fps=25, **options)
    _, whole = read(path)
    from_s, to_s = window
    source, part = read(path, from_s=from_s, to_s=to_s)
    expected = [f for f in whole if f.timestamp_s >= from_s and (to_s is None or f.timestamp_s < to_s)]
    assert [(f.index, f.timestamp_s) for f in part] == [(f.index, f.timestamp_s) for f in expected]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(part, expected, strict=True))
    assert source.decode_failures == 0
    assert source.notes == []


def test_what_lies_before_the_part_is_not_decoded(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", n=60, fps=25, gop=10, b_frames=0)
    damage(path, range(5, 38))  # also the key frames at 10, 20 and 30
    source, frames = read(path, from_s=1.7)
    assert [frame.index for frame in frames] == list(range(43, 60))
    assert [number_of(frame.image) for frame in frames] == list(range(43, 60))
    assert source.decode_failures == 0


def test_key_frames_far_apart_do_not_fill_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fertrack.sources.file, "_HELD_BYTES", 2000)
    _, frames = read(make_video(tmp_path / "a.mp4", n=60, fps=25, gop=100), from_s=2.0)
    assert [number_of(frame.image) for frame in frames] == [f.index for f in frames] == list(range(50, 60))


def test_a_start_after_the_end_is_refused_before_reading(tmp_path: Path) -> None:
    path = make_video(tmp_path / "short.mp4", n=25, fps=25)
    with pytest.raises(VideoOpenError, match=r"short\.mp4 ends at 1\.00 s, before the start asked for \(7 s\)"):
        FileSource(path, InputConfig(from_s=7))


def test_a_part_without_pictures_is_an_error_at_the_end(tmp_path: Path) -> None:
    bare = make_video(tmp_path / "bare.h264", n=25, fps=25)  # its length is not known before
    with pytest.raises(VideoOpenError, match=r"no picture between 7 s and the end \(it ends at 1\.00 s\)"):
        read(bare, from_s=7)
    gap = make_video(tmp_path / "gap.mp4", vfr_pts=[0, 1, 90], time_base=Fraction(1, 10))
    with pytest.raises(VideoOpenError, match="no picture between 2 s and 3 s"):
        read(gap, from_s=2, to_s=3)


def test_a_part_that_ends_before_it_starts_is_refused() -> None:
    for to_s in (5.0, 4.0):
        with pytest.raises(ConfigError, match=r"from_s = 5 is not before input\.to_s"):
            InputConfig(from_s=5, to_s=to_s)


@pytest.mark.parametrize("name", ["a.mp4", "rounded.mkv"])
@pytest.mark.parametrize(("rate_hz", "step"), [(5, 6), (10, 3), (15, 2), (30, 1), (100, 1), (0.5, 60), (7.5, 4)])
def test_a_rate_takes_the_pictures_on_the_grid(tmp_path: Path, name: str, rate_hz: float, step: int) -> None:
    _, frames = read(make_video(tmp_path / name, n=70, fps=30), rate_hz=rate_hz)
    assert [frame.index for frame in frames] == list(range(0, 70, step))
    assert [number_of(frame.image) for frame in frames] == list(range(0, 70, step))


def test_a_rate_goes_by_time_not_by_count(tmp_path: Path) -> None:
    # seconds: 0, .01 .. .05 (dense), then .31, .35, .4, 1.0, 1.05, 2.5
    stamps = [100, 101, 102, 103, 104, 105, 131, 135, 140, 200, 205, 350]
    path = make_video(tmp_path / "vfr.mp4", vfr_pts=stamps, time_base=Fraction(1, 100))
    _, frames = read(path, rate_hz=10)  # ticks at 1.0, 1.1, ... from the first picture's 1.0 s
    assert [frame.timestamp_s for frame in frames] == [1.0, 1.31, 1.4, 2.0, 3.5]
    _, frames = read(path, rate_hz=10, from_s=1.03)  # the grid starts at the first picture of the part
    assert [frame.timestamp_s for frame in frames] == [1.03, 1.31, 1.35, 2.0, 2.05, 3.5]


# ---------------------------------------------------------------- lifetime


def test_a_source_is_read_once(tmp_path: Path) -> None:
    source, _ = read(make_video(tmp_path / "a.mp4", n=3))
    with pytest.raises(ValueError, match="was read before"):
        iter(source)


def test_closing_ends_the_iteration_and_can_be_repeated(tmp_path: Path) -> None:
    source = FileSource(make_video(tmp_path / "a.mp4", n=30))
    frames = iter(source)
    assert next(frames).index == 0
    source.close()
    source.close()
    assert list(frames) == []
    unread = FileSource(tmp_path / "a.mp4")
    unread.close()
    assert list(unread) == []


def test_closing_from_another_thread_while_reading(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", n=300)
    for delay_s in (0.0, 0.003, 0.01, 0.02):
        source = FileSource(path)
        closer = threading.Timer(delay_s, source.close)
        closer.start()
        indices = [frame.index for frame in source]
        closer.join()
        assert indices == list(range(len(indices)))
        assert source.notes == []  # stopping is not a damaged file


def test_reading_is_lazy_and_memory_stays_flat(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", n=240, size=(640, 480), b_frames=0)
    process = psutil.Process()
    with FileSource(path) as source:
        rss = [process.memory_info().rss for frame in source if frame.index % 20 == 10]
    assert max(rss) - rss[1] < 30e6  # all pictures together would be 221 MB


def test_pictures_that_cannot_be_converted_are_a_read_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "a.mp4", n=3)
    source = FileSource(path)

    def refuse(*_: object) -> None:
        raise av.error.OSError(5, "no such conversion")

    monkeypatch.setattr(source._converter, "convert", refuse)
    with source, pytest.raises(VideoReadError, match=r"a\.mp4: a 128x96 yuv420p picture cannot be converted"):
        list(source)


# ---------------------------------------------------------------- damage


def test_lost_pictures_are_counted_skipped_and_leave_a_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_video(tmp_path / "a.mp4", n=30, gop=1, b_frames=0)
    damage(path, [4, 5, 20])
    with caplog.at_level(logging.DEBUG, "fertrack"):
        source, frames = read(path)
    good = [i for i in range(30) if i not in (4, 5, 20)]
    assert [frame.index for frame in frames] == [number_of(frame.image) for frame in frames] == good
    assert [frame.timestamp_s for frame in frames] == [float(Fraction(i, 30)) for i in good]
    assert source.decode_failures == 3
    assert [r.levelname for r in caplog.records if "cannot be decoded" in r.message] == ["INFO", "DEBUG", "DEBUG"]
    assert source.notes == []


def test_pictures_decoded_with_errors_are_skipped(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", n=30, gop=1, b_frames=0, options={"preset": "ultrafast", "crf": "0"})
    damage(path, [7, 11], noise=True, keep=60)
    source, frames = read(path)
    assert [frame.index for frame in frames] == [i for i in range(30) if i not in (7, 11)]
    assert source.decode_failures == 2


@pytest.mark.parametrize("name", ["a.avi", "a.webm"])
def test_damage_where_pictures_cannot_be_told_by_their_stamps(tmp_path: Path, name: str) -> None:
    codec = {"a.avi": "libx264", "a.webm": "libvpx"}[name]
    path = make_video(tmp_path / name, n=30, gop=1, b_frames=0, codec=codec)
    damage(path, [9], keep=3)
    source, frames = read(path)
    assert source.decode_failures == 1
    assert [number_of(frame.image) for frame in frames] == [i for i in range(30) if i != 9]
    assert [frame.timestamp_s for frame in frames] == pytest.approx([i / 30 for i in range(30) if i != 9], abs=5e-4)


def test_damage_at_the_start_is_survived(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", n=30, gop=10, b_frames=0)
    damage(path, range(10))
    source, frames = read(path)
    assert [frame.index for frame in frames] == list(range(10, 30))
    assert source.decode_failures == 10


@pytest.mark.parametrize(
    ("name", "options"), [("a.mp4", {"faststart": True}), ("a.mkv", {}), ("a.mov", {"faststart": True})]
)
def test_a_file_cut_in_the_middle_is_read_as_far_as_it_goes(
    tmp_path: Path, name: str, options: dict[str, bool]
) -> None:
    path = make_video(tmp_path / name, n=120, fps=25, gop=10, audio=False, **options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    source, frames = read(path)
    n = len(frames)
    assert 30 < n < 90
    assert [number_of(frame.image) for frame in frames] == [f.index for f in frames] == list(range(n))
    assert source.notes == [f"{name}: the file ends early: {n} of about 120 frames could be read"]


def test_a_part_before_the_cut_says_nothing_of_it(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", n=120, fps=25, gop=10, faststart=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source, frames = read(path, to_s=1.0)
    assert len(frames) == 25
    assert source.notes == []


def test_a_read_error_ends_the_file_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FileSource(make_video(tmp_path / "a.mp4", n=60, b_frames=0))
    packets = source._container.demux(source._stream)

    class FailingContainer:
        def demux(self, _: object) -> object:
            yield from itertools.islice(packets, 20)
            raise av.error.OSError(5, "Input/output error")

        def close(self) -> None:
            source_container.close()

    source_container = source._container
    monkeypatch.setattr(source, "_container", FailingContainer())
    with source:
        frames = list(source)
    assert [number_of(frame.image) for frame in frames] == list(range(20))
    assert source.notes == ["a.mp4: the file ends early: 20 of about 60 frames could be read"]


# ---------------------------------------------------------------- refusals


def refusal(path: Path) -> str:
    with pytest.raises(VideoOpenError) as refused:
        FileSource(path)
    message = str(refused.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_refusals_say_what_is_wrong(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("Dear diary, today I renamed a text file.\n" * 50)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    cut = make_video(tmp_path / "cut.mp4", n=60)  # the index is at the end, and goes with it
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    assert "does not exist" in refusal(tmp_path / "absent.mp4")
    assert "is not a file" in refusal(tmp_path)
    assert "its format is unknown" in refusal(text)
    assert "is a text file, not a video" in refusal(text.rename(tmp_path / "text.txt"))
    assert "empty (0 bytes)" in refusal(empty)
    assert "cut off before its index was written" in refusal(cut)


def test_a_file_with_sound_only_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as output:
        cover = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        sound = output.add_stream("aac", rate=48_000)
        sound.layout = "mono"
        image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "bgr24")
        image.pts = 0
        output.mux(cover.encode(image))
        output.mux(cover.encode(None))
        for i in range(20):
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            tone.sample_rate, tone.pts = 48_000, i * 1024
            output.mux(sound.encode(tone))
        output.mux(sound.encode(None))
    assert "no video in it, only sound" in refusal(path)


@pytest.mark.parametrize("name", ["zero.mp4", "zero.mkv"])
def test_a_video_without_pictures_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        sound = output.add_stream("aac", rate=48_000)
        sound.layout = "mono"
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        tone.sample_rate, tone.pts = 48_000, 0
        output.mux(sound.encode(tone))
        output.mux(sound.encode(None))
    refusal(path)


def test_a_video_of_which_nothing_can_be_decoded_is_refused(tmp_path: Path) -> None:
    path = make_video(tmp_path / "noise.mp4", n=10)
    damage(path, range(10))
    assert "no pictures in it, or none that can be decoded" in refusal(path)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "secret.mp4", n=2)

    def forbid(*_: object, **__: object) -> None:
        raise av.error.PermissionError(13, "Permission denied")

    monkeypatch.setattr(av, "open", forbid)  # the superuser, who may run this, may read everything
    assert "check its permissions" in refusal(path)


# ---------------------------------------------------------------- real videos

REAL = {  # file: (decoded frames, first time)
    "fr_short_hamilton_clip.mp4": (275, 10214 / 11988),
    "pyfeat_single_face.mp4": (72, 0.0),
    "pyfeat_face_noface.mov": (169, 0.0),
    "pyfeat_no_face.mp4": (95, 0.0),
    "pyfeat_WolfgangLanger_Pexels.mp4": (472, 0.0),
    "intel_classroom.gif": (45, 0.0),
    "intel_face-demographics-walking-and-pause.gif": (41, 0.0),
    "intel_head-pose-face-detection-female-and-male.gif": (56, 0.0),
    "intel_head-pose-face-detection-male.gif": (62, 0.0),
    "intel_asl_book.mkv": (109, 0.033),
    "liveportrait_d0.mp4": (78, 0.0),
    "liveportrait_s18.mp4": (282, 0.0),
    "liveportrait_s20.mp4": (297, 0.0),
    "composite_5faces.mp4": (300, 0.0),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_videos_give_every_picture(shared_data: Path, name: str) -> None:
    source, frames = read(shared_data / "video" / name)
    count, first_s = REAL[name]
    assert [frame.index for frame in frames] == list(range(count))
    assert frames[0].timestamp_s == pytest.approx(first_s, abs=1e-6)
    assert all(b.timestamp_s > a.timestamp_s for a, b in itertools.pairwise(frames))
    assert frames[0].image.shape == (source.info.height, source.info.width, 3)
    assert source.decode_failures == 0
    assert source.notes == []


@pytest.mark.shared
def test_a_real_variable_rate_video_keeps_its_stamps(shared_data: Path) -> None:
    path = shared_data / "video" / "pyfeat_face_noface.mov"
    with av.open(str(path)) as container:
        stamps = sorted(float(p.pts * p.time_base) for p in container.demux(video=0) if p.pts is not None)
    _, frames = read(path)
    assert [frame.timestamp_s for frame in frames] == stamps
    assert len({round(b - a, 4) for a, b in itertools.pairwise(stamps)}) > 2  # it does vary
    _, sampled = read(path, rate_hz=5)
    gaps = np.diff([frame.timestamp_s for frame in sampled])
    assert len(sampled) == 32  # 6.36 s at 5 a second
    assert gaps.min() > 0.1


@pytest.mark.shared
def test_720p_is_read_faster_than_it_plays(shared_data: Path) -> None:
    with FileSource(shared_data / "video" / "liveportrait_s18.mp4", InputConfig(to_s=3)) as source:
        started = time.perf_counter()
        read_ms = [frame.read_ms for frame in source]
        elapsed_ms = (time.perf_counter() - started) * 1e3
    assert np.median(read_ms) < 1000 / 30
    assert sum(read_ms) <= elapsed_ms


def test_a_packet_of_a_stream_that_was_not_named_at_first_is_passed_over(tmp_path: Path) -> None:
    source = FileSource(make_video(tmp_path / "v.mp4", n=12))
    container = source._container

    class Growing:
        """A container as PyAV has it where a stream begins later: such a packet is an IndexError."""

        calls = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(container, name)

        def demux(self, stream: Any) -> Iterator[Any]:
            Growing.calls += 1
            for number, packet in enumerate(container.demux(stream)):
                yield packet
                if Growing.calls == 1 and number == 3:
                    raise IndexError("list index out of range")

    source._container = Growing()  # type: ignore[assignment]  # as above
    with source:
        assert [number_of(frame.image) for frame in source] == list(range(12))
    assert Growing.calls == 2
