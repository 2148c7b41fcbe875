"""The annotated video: times, colours, sound, containers, and what is left after every kind of trouble."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fertrack.errors import ConfigError, OutputExistsError, VideoWriteError
from fertrack.sinks.draft import VideoDraft, remains_of
from fertrack.sinks.finalise import cut_after_last_fragment
from fertrack.sinks.video import AnnotatedVideoSink, VideoOutputConfig
from fertrack.sources import InputConfig, open_source
from fertrack.types import Detections, Faces, FrameResult, Image, RunSummary, VideoInfo
from tests.support.paths import REPOSITORY
from tests.support.video_factory import make_video

NO_SOUND = VideoOutputConfig(audio=False)


def nothing(index: int, timestamp_s: float) -> FrameResult:
    """A frame's result without faces."""
    return FrameResult(
        index,
        timestamp_s,
        Faces.empty(),
        np.zeros(0, np.int64),
        np.zeros((0, 4), np.float32),
        np.zeros((0, 7), np.float32),
        np.zeros((0, 7), np.float32),
        np.zeros(0, np.int64),
    )


def one_face(index: int, timestamp_s: float, label: int = 3) -> FrameResult:
    box = np.float32([[10, 30, 60, 80]])
    smoothed = np.full((1, 7), 0.1, np.float32)
    return FrameResult(
        index,
        timestamp_s,
        Faces(
            Detections(box, np.ones(1, np.float32), np.tile(np.float32([[20, 40]]), (1, 5, 1))),
            np.zeros((1, 7), np.float32),
        ),
        np.array([1]),
        box,
        smoothed,
        smoothed,
        np.array([label]),
    )


def summary(status: str = "complete") -> RunSummary:
    return RunSummary(status, 0, 0, 0, 0, 0, 0.0, 0.0)


def write_video(
    path: Path,
    times: Sequence[float],
    info: VideoInfo,
    config: VideoOutputConfig = NO_SOUND,
    images: Iterator[Image] | None = None,
) -> AnnotatedVideoSink:
    rng = np.random.default_rng(5)
    with AnnotatedVideoSink(path, info, config) as sink:
        for index, time_s in enumerate(times):
            noise = rng.integers(0, 255, (info.height, info.width, 3), np.uint8)
            sink.write(nothing(index, time_s), next(images) if images else noise)
        sink.finish(summary())
    return sink


def annotate(
    source_path: Path,
    target: Path,
    config: VideoOutputConfig | None = None,
    part: InputConfig | None = None,
    status: str = "complete",
) -> tuple[list[float], AnnotatedVideoSink]:
    """Copy a real file through the sink; returns the times of the frames it was given."""
    times = []
    source = open_source(source_path, part or InputConfig())
    with source, AnnotatedVideoSink(target, source.info, config) as sink:
        for frame in source:
            sink.write(nothing(frame.index, frame.timestamp_s), frame.image)
            times.append(frame.timestamp_s)
        sink.finish(summary(status))
    return times, sink


def picture_times(path: Path) -> list[Fraction]:
    with av.open(path) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def pictures(path: Path) -> list[Image]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def sound_packets(path: Path) -> list[tuple[float, float, bytes]]:
    """(start, end, content) of each packet of the first audio stream, seconds."""
    with av.open(path) as container:
        return [
            (float(p.pts * p.time_base), float((p.pts + p.duration) * p.time_base), bytes(p))
            for p in container.demux(audio=0)
            if p.size
        ]


def sound_codec(path: Path) -> str:
    with av.open(path) as container:
        return container.streams.audio[0].codec_context.codec.canonical_name


def make_sound_video(path: Path, codec: str, *, video_start_s: float = 0.0, onset_s: float = 1.0) -> Path:
    """Three seconds at 25 fps whose video may start late; its sound is silent, then a 1 kHz tone from ``onset_s``."""
    with av.open(path, "w") as output:
        video = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = video.time_base = Fraction(1, 12800)
        audio = output.add_stream(codec, rate=48_000)
        audio.layout = "mono"
        for i in range(75):
            time_s = i / 25
            if time_s >= video_start_s:
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 3 * i, np.uint8), "bgr24")
                frame.pts, frame.time_base = i * 512, Fraction(1, 12800)
                output.mux(video.encode(frame))
        seconds = np.arange(3 * 48_000) / 48_000
        wave = np.where(seconds >= onset_s, 0.5 * np.sin(2 * np.pi * 1000 * seconds), 0).astype(np.float32)
        sample_format = audio.codec_context.format.name
        for start in range(0, len(wave), 960):
            piece = wave[None, start : start + 960]
            if sample_format.startswith("s"):
                integers = {"s16": np.int16, "s32": np.int32}[sample_format[:3]]
                piece = (piece * np.float32(np.iinfo(integers).max * 0.99)).astype(integers)
            frame = av.AudioFrame.from_ndarray(piece, sample_format, "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
            output.mux(audio.encode(frame))
        output.mux(audio.encode(None))
        output.mux(video.encode(None))
    return path


def tone_onset_s(path: Path) -> float:
    """When the sound gets loud, on the file's clock."""
    with av.open(path) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(float)
            if frame.format.name.startswith("s16"):
                samples /= 32767
            loud = np.flatnonzero(np.abs(samples).max(axis=0) > 0.2)
            if loud.size:
                return float(frame.pts * frame.time_base) + loud[0] / frame.sample_rate
    raise AssertionError("there is no tone")


# ---- times ----


@pytest.mark.parametrize("time_base", [Fraction(1, 90_000), Fraction(1, 1000), Fraction(1001, 30_000)])
def test_times_are_the_sources_to_the_tick(tmp_path: Path, time_base: Fraction) -> None:
    ticks = [round(0.852 / time_base)]
    for step_s in [0.040, 0.033, 0.120, 0.041, 0.500, 0.033, 0.034] * 4:
        ticks.append(ticks[-1] + max(1, round(step_s / time_base)))
    expected = [tick * time_base for tick in ticks]
    path = tmp_path / "out.mp4"
    # The source says when its video starts only through its file; here, 0.852 s in, it counts as a part from there.
    info = VideoInfo("x", 64, 48, fps=25.0, time_base=time_base)
    sink = write_video(path, [float(t) for t in expected], info)
    assert picture_times(path) == [t - expected[0] for t in expected]
    assert sink.notes == [f"the annotated video starts at {float(expected[0]):.2f} s of x; its own time is 0"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_variable_rate_and_late_start_of_a_file_are_kept(tmp_path: Path, suffix: str) -> None:
    stamps = [852, 892, 925, 1045, 1086, 1600, 1633, 1700, 1733]
    source = make_video(tmp_path / "in.mkv", n=9, vfr_pts=stamps, time_base=Fraction(1, 1000))
    target = tmp_path / f"out{suffix}"
    annotate(source, target)
    assert picture_times(target) == [Fraction(stamp, 1000) for stamp in stamps]


def test_duration_is_the_sources(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", n=30, fps=30)
    for part in (InputConfig(), InputConfig(rate_hz=3.0)):
        target = tmp_path / f"{part.rate_hz}.mp4"
        annotate(source, target, part=part)
        with av.open(target) as container:
            video = container.streams.video[0]
            assert float(video.duration * video.time_base) == pytest.approx(1.0, abs=0.001)


def test_times_that_do_not_advance_are_moved_by_a_tick(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write_video(path, [0.0, 0.04, 0.04, 0.03, 0.08], VideoInfo("x", 64, 48, fps=25.0, time_base=Fraction(1, 1000)))
    assert picture_times(path) == [Fraction(t, 1000) for t in (0, 40, 41, 42, 80)]


@pytest.mark.parametrize("time_base", [Fraction(1, 10_000_000), Fraction(1, 10**12), Fraction(5, 1)])
def test_unusual_clocks(tmp_path: Path, time_base: Fraction) -> None:
    path = tmp_path / "out.mp4"
    write_video(path, [0.0, 5.0, 10.0], VideoInfo("x", 64, 48, time_base=time_base))
    assert [float(t) for t in picture_times(path)] == pytest.approx([0.0, 5.0, 10.0], abs=1e-4)


def test_times_before_zero_are_moved_to_zero(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write_video(path, [-0.08, -0.04, 0.0], VideoInfo("x", 64, 48, fps=25.0))
    assert [float(t) for t in picture_times(path)] == pytest.approx([0.0, 0.04, 0.08])


# ---- pictures ----


def test_mp4_is_h264_yuv420p_with_its_index_in_front(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write_video(path, [i / 25 for i in range(10)], VideoInfo("x", 64, 48, fps=25.0))
    with av.open(path) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
    content = path.read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")
    assert b"moof" not in content
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize(
    ("name", "codec", "expected"),
    [
        ("out.webm", "vp9", "vp9"),
        ("out.mp4", "vp9", "vp9"),
        ("out.mkv", "h264", "h264"),
        ("out.MOV", "h264", "h264"),
        ("out.webm", "av1", "av1"),
        ("out.mp4", "av1", "av1"),
    ],
)
def test_codecs_and_containers(tmp_path: Path, name: str, codec: str, expected: str) -> None:
    path = tmp_path / name
    times = [i / 25 for i in range(12)]
    write_video(path, times, VideoInfo("x", 96, 64, fps=25.0), VideoOutputConfig(codec=codec, preset="ultrafast"))
    with av.open(path) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == expected
    assert [float(t) for t in picture_times(path)] == pytest.approx(times, abs=0.001)


@pytest.mark.parametrize(
    ("size", "codec", "expected"),
    [((17, 33), "h264", (18, 34)), ((1, 1), "h264", (16, 16)), ((1, 1), "vp9", (16, 16)), ((3, 40), "av1", (16, 40))],
)
def test_odd_and_tiny_pictures_are_extended(
    tmp_path: Path, size: tuple[int, int], codec: str, expected: tuple[int, int]
) -> None:
    path = tmp_path / "out.mkv"
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:, -1] = 255
    info = VideoInfo("x", *size, fps=25.0)
    write_video(path, [0.0, 0.04], info, VideoOutputConfig(codec=codec), iter([image, image]))
    decoded = pictures(path)
    assert len(decoded) == 2
    assert decoded[0].shape[1::-1] == expected
    assert decoded[0][:, -1].min() > 200  # the last column is repeated, not black


@pytest.mark.parametrize("lines", [360, 720])
def test_colours_survive(tmp_path: Path, lines: int) -> None:
    """Decoded as the file's tags say, saturated patches come back; with the other matrix they would be far off."""
    patches = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255), (255, 0, 255), (255, 255, 0), (255, 255, 255)]
    image = np.zeros((lines, 7 * 64, 3), np.uint8)
    for i, colour in enumerate(patches):
        image[:, 64 * i : 64 * (i + 1)] = colour
    path = tmp_path / "out.mp4"
    info = VideoInfo("x", 7 * 64, lines, fps=25.0)
    write_video(path, [0.0, 0.04], info, VideoOutputConfig(crf=5), iter([image, image]))
    with av.open(path) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        tags = (codec.color_range, codec.colorspace, codec.color_primaries, codec.color_trc)
        assert tags == ((1, 1, 1, 1) if lines == 720 else (1, 6, 6, 6))
        frame = next(container.decode(video=0))
        tagged = {1: "ITU709", 6: "ITU601"}[frame.colorspace]
        right, wrong = (
            frame.reformat(format="bgr24", src_colorspace=matrix, src_color_range="MPEG").to_ndarray().astype(int)
            for matrix in (tagged, {"ITU709": "ITU601", "ITU601": "ITU709"}[tagged])
        )
    centres = [64 * i + 32 for i in range(7)]
    assert np.abs(right[lines // 2, centres] - patches).max() <= 6
    assert np.abs(wrong[lines // 2, centres] - patches).max() > 20


def test_drawn_in_the_file_and_not_on_the_callers_picture(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    image = np.full((120, 320, 3), 90, np.uint8)
    config = VideoOutputConfig(crf=10, debug_overlay=True)
    with AnnotatedVideoSink(path, VideoInfo("x", 320, 120, fps=25.0), config, names={1: "Ирина"}) as sink:
        sink.write(one_face(0, 0.0), image)
        sink.write(one_face(1, 0.04), image)
        sink.finish(summary())
        assert len(sink.work_ms) > 0
    assert (image == 90).all()
    decoded = pictures(path)[0].astype(int)
    assert np.abs(decoded[60, 10] - 90).max() > 40  # the box
    header = decoded[:16, :80]
    assert ((header[:, :, 0] < 100) & (header[:, :, 2] > 180)).any()  # yellow letters


def test_pictures_of_another_size_are_fitted_in(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    tall = np.full((96, 32, 3), 200, np.uint8)
    write_video(
        path,
        [0.0, 0.04],
        VideoInfo("x", 64, 48, fps=25.0),
        VideoOutputConfig(crf=5),
        iter([np.full((48, 64, 3), 200, np.uint8), tall]),
    )
    first, second = pictures(path)
    assert first.min() > 180
    assert second[:, 30:34].min() > 180
    assert second[:, :20].max() < 40
    assert second[:, 44:].max() < 40


# ---- sound ----


def test_sound_is_copied_bit_by_bit_and_in_time(tmp_path: Path) -> None:
    source = make_sound_video(tmp_path / "in.mp4", "aac", video_start_s=0.8)
    target = tmp_path / "out.mp4"
    times, sink = annotate(source, target)
    assert times[0] == 0.8
    assert picture_times(target) == picture_times(source)
    before, after = sound_packets(source), sound_packets(target)
    assert [p[2] for p in before] == [p[2] for p in after]
    assert [p[0] for p in after] == pytest.approx([p[0] for p in before], abs=0.0002)
    assert sink.notes == []


@pytest.mark.parametrize(
    ("codec", "source", "target", "config", "expected"),
    [
        ("libmp3lame", "in.mkv", "out.mp4", VideoOutputConfig(), "mp3"),
        ("pcm_s16le", "in.mov", "out.mov", VideoOutputConfig(), "pcm_s16le"),
        ("pcm_s16le", "in.mov", "out.mp4", VideoOutputConfig(), "aac"),
        ("aac", "in.mp4", "out.webm", VideoOutputConfig(codec="vp9"), "opus"),
        ("aac", "in.mp4", "out.mkv", VideoOutputConfig(), "aac"),
        ("libopus", "in.mkv", "out.webm", VideoOutputConfig(codec="vp9"), "opus"),
        ("aac", "in.ts", "out.mp4", VideoOutputConfig(), "aac"),
    ],
)
def test_sound_in_every_container(
    tmp_path: Path, codec: str, source: str, target: str, config: VideoOutputConfig, expected: str
) -> None:
    path = make_sound_video(tmp_path / source, codec)
    _, sink = annotate(path, tmp_path / target, config)
    assert sound_codec(tmp_path / target) == expected
    source_codec = sound_codec(path)
    notes = [] if expected == source_codec else [f"the sound was encoded anew ({source_codec} to {expected})"]
    assert [note.split(",")[0] for note in sink.notes] == notes
    offset_s = tone_onset_s(path) - float(picture_times(path)[0])
    kept_s = tone_onset_s(tmp_path / target) - float(picture_times(tmp_path / target)[0])
    assert kept_s == pytest.approx(offset_s, abs=0.012)
    packets = sound_packets(tmp_path / target)
    assert packets[-1][1] - packets[0][0] == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("name", ["out.mp4", "out.webm"])
def test_sound_is_cut_to_the_part(tmp_path: Path, name: str) -> None:
    source = make_sound_video(tmp_path / "in.mp4", "aac", onset_s=1.0)
    config = VideoOutputConfig(codec="vp9" if name.endswith("webm") else "h264")
    times, sink = annotate(source, tmp_path / name, config, InputConfig(from_s=0.6, to_s=2.0))
    assert (times[0], times[-1]) == (0.6, 1.96)
    assert [float(t) for t in picture_times(tmp_path / name)] == pytest.approx([t - 0.6 for t in times], abs=0.001)
    packets = sound_packets(tmp_path / name)
    assert packets[0][0] == pytest.approx(0.0, abs=0.03)
    assert packets[-1][1] == pytest.approx(1.4, abs=0.05)
    assert tone_onset_s(tmp_path / name) == pytest.approx(0.4, abs=0.012)
    assert sink.notes[0] == "the annotated video starts at 0.60 s of in.mp4; its own time is 0"


def test_sound_ends_with_the_pictures_when_a_run_is_interrupted(tmp_path: Path) -> None:
    source = make_sound_video(tmp_path / "in.mp4", "aac")
    annotate(source, tmp_path / "out.mp4", part=InputConfig(to_s=1.0), status="interrupted")
    assert sound_packets(tmp_path / "out.mp4")[-1][1] == pytest.approx(1.0, abs=0.05)
    assert len(picture_times(tmp_path / "out.mp4")) == 25


def test_sound_can_be_left_out(tmp_path: Path) -> None:
    source = make_sound_video(tmp_path / "in.mp4", "aac")
    annotate(source, tmp_path / "out.mp4", VideoOutputConfig(audio=False))
    with av.open(tmp_path / "out.mp4") as container:
        assert not container.streams.audio


def test_a_source_that_vanished_costs_only_the_sound(tmp_path: Path) -> None:
    source_path = make_sound_video(tmp_path / "in.mp4", "aac")
    source = open_source(source_path)
    with source, AnnotatedVideoSink(tmp_path / "out.mp4", source.info) as sink:
        for frame in source:
            sink.write(nothing(frame.index, frame.timestamp_s), frame.image)
        source_path.write_bytes(b"something else by now")
        sink.finish(summary())
    assert len(picture_times(tmp_path / "out.mp4")) == 75
    assert len(sink.notes) == 1
    assert "sound" in sink.notes[0]


def test_damaged_sound_is_kept_as_far_as_it_goes(tmp_path: Path) -> None:
    source = make_sound_video(tmp_path / "in.mkv", "aac")
    content = bytearray(source.read_bytes())
    packets = [p[2] for p in sound_packets(source)]
    for packet in packets[100:]:
        place = content.find(packet)
        content[place : place + len(packet)] = b"\xff" * len(packet)
    source.write_bytes(content)
    target = tmp_path / "out.webm"
    _, sink = annotate(source, target, VideoOutputConfig(codec="vp9"))
    assert len(picture_times(target)) == 75
    assert tone_onset_s(target) == pytest.approx(1.0, abs=0.03)
    assert sound_packets(target)[-1][1] > 2.0
    assert sink.notes == [
        "the sound was encoded anew (aac to opus), for the file to carry it",
        "the sound has gaps, 0.1 s in all: they are silent",
    ]


def test_sound_that_starts_again_goes_on(tmp_path: Path) -> None:
    """Two recordings joined byte by byte: the second one's clock starts again at 0."""
    source = make_sound_video(tmp_path / "in.ts", "mp2", onset_s=0.0)
    source.write_bytes(source.read_bytes() * 2)
    annotate(source, tmp_path / "out.mkv")
    packets = sound_packets(tmp_path / "out.mkv")
    starts = [p[0] for p in packets]
    assert starts == sorted(starts)
    assert packets[-1][1] == pytest.approx(6.0, abs=0.2)
    assert float(picture_times(tmp_path / "out.mkv")[-1]) == pytest.approx(6.0, abs=0.2)


# ---- refusals ----


def test_encoder_that_cannot_be_set_up(tmp_path: Path) -> None:
    with (
        pytest.raises(VideoWriteError, match=r"h264 encoder cannot be set up for 20000x16 pictures"),
        AnnotatedVideoSink(tmp_path / "out.mp4", VideoInfo("x", 20_000, 16)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "codec", "says"),
    [("out.webm", "h264", r"\.mp4 or \.mov or \.mkv"), ("out.mov", "vp9", "h264"), ("out.avi", "h264", "kind of file")],
)
def test_codec_that_does_not_go_into_the_container(tmp_path: Path, name: str, codec: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        AnnotatedVideoSink(tmp_path / name, VideoInfo("x", 64, 48), VideoOutputConfig(codec=codec))


def test_options_that_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="0 to 51"):
        VideoOutputConfig(crf=60)
    with pytest.raises(ConfigError, match=r"\.webm"):
        VideoOutputConfig(codec="vp9", container="mov")
    assert VideoOutputConfig(codec="vp9", crf=60).suffix == ".webm"
    assert VideoOutputConfig().suffix == ".mp4"
    assert VideoOutputConfig(container="mkv").suffix == ".mkv"


def test_font_that_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"video\.font"):
        AnnotatedVideoSink(tmp_path / "out.mp4", VideoInfo("x", 64, 48), VideoOutputConfig(font="/no/such.ttf"))


def test_existing_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        AnnotatedVideoSink(path, VideoInfo("x", 64, 48))
    path.unlink()
    sink = AnnotatedVideoSink(path, VideoInfo("x", 64, 48))
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError), sink:
        pass
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with AnnotatedVideoSink(path, VideoInfo("x", 64, 48, fps=25.0)) as sink:
        sink.write(nothing(0, 0.0), np.zeros((48, 64, 3), np.uint8))
        path.write_bytes(b"precious")
        with pytest.raises(OutputExistsError, match=r"out\.part\.mp4"):
            sink.finish(summary())
    assert path.read_bytes() == b"precious"
    assert len(picture_times(tmp_path / "out.part.mp4")) == 1


def test_overwrite_replaces_once_there_is_something_to_replace_it_with(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    info = VideoInfo("x", 64, 48, fps=25.0)
    with AnnotatedVideoSink(path, info, overwrite=True) as sink:
        sink.finish(summary("failed"))
    assert path.read_bytes() == b"old"
    assert sink.notes == ["no frame was written, so there is no annotated video"]
    with AnnotatedVideoSink(path, info, overwrite=True) as sink:
        sink.write(nothing(0, 0.0), np.zeros((48, 64, 3), np.uint8))
        sink.finish(summary())
    assert len(picture_times(path)) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(VideoWriteError, match="another folder"),
        AnnotatedVideoSink(tmp_path / "file" / "out.mp4", VideoInfo("x", 64, 48)),
    ):
        pass


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that not even root can write to")
def test_read_only_folder() -> None:
    with (
        pytest.raises(VideoWriteError, match=r"/proc/self/out\.mp4 cannot be written"),
        AnnotatedVideoSink(Path("/proc/self/out.mp4"), VideoInfo("x", 64, 48)),
    ):
        pass


def test_misuse(tmp_path: Path) -> None:
    info = VideoInfo("x", 64, 48)
    with pytest.raises(ValueError, match="size"):
        AnnotatedVideoSink(tmp_path / "out.mp4", VideoInfo("x", 0, 0))
    sink = AnnotatedVideoSink(tmp_path / "out.mp4", info)
    with pytest.raises(ValueError, match="not open"):
        sink.write(nothing(0, 0.0), np.zeros((48, 64, 3), np.uint8))
    with sink, pytest.raises(ValueError, match="made of pictures"):
        sink.write(nothing(0, 0.0), None)
    sink.finish(summary())  # nothing to be done any more
    assert list(tmp_path.iterdir()) == []


# ---- trouble while writing ----


def write_all(sink: AnnotatedVideoSink, results: Iterator[FrameResult], image: Image) -> None:
    for result in results:
        sink.write(result, image)


def test_without_frames_no_file_is_left(tmp_path: Path) -> None:
    with AnnotatedVideoSink(tmp_path / "out.mp4", VideoInfo("x", 64, 48)) as sink:
        sink.finish(summary())
    assert list(tmp_path.iterdir()) == []
    assert sink.notes == ["no frame was written, so there is no annotated video"]


def test_without_finish_what_was_written_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with AnnotatedVideoSink(path, VideoInfo("x", 64, 48, fps=25.0)) as sink:
        for i in range(20):
            sink.write(nothing(i, i / 25), np.zeros((48, 64, 3), np.uint8))
    assert len(picture_times(path)) == 20
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("queue_size", [1, 4])
def test_error_in_the_thread_reaches_the_caller_once_and_nothing_hangs(tmp_path: Path, queue_size: int) -> None:
    path = tmp_path / "out.mp4"
    image = np.zeros((120, 320, 3), np.uint8)
    config = VideoOutputConfig(queue_size=queue_size)
    with AnnotatedVideoSink(path, VideoInfo("x", 320, 120, fps=25.0), config) as sink:
        for i in range(30):
            sink.write(one_face(i, i / 25), image)
        broken = iter([one_face(i, i / 25, label=99) for i in range(30, 100)])  # no such expression: drawing fails
        with pytest.raises(VideoWriteError, match=r"beyond 1\.2 s"):
            write_all(sink, broken, image)
        sink.write(one_face(100, 4.0), image)  # taken and dropped
        sink.finish(summary("failed"))
    assert not [t for t in threading.enumerate() if t.name == "fertrack-video"]
    assert 0 < len(picture_times(path)) <= 30
    assert list(tmp_path.iterdir()) == [path]


def test_error_in_the_last_frames_is_told_at_the_end(tmp_path: Path) -> None:
    image = np.zeros((120, 320, 3), np.uint8)
    with AnnotatedVideoSink(tmp_path / "out.mp4", VideoInfo("x", 320, 120, fps=25.0)) as sink:
        sink.write(one_face(0, 0.0, label=99), image)
        with pytest.raises(VideoWriteError, match="could not be written"):
            sink.finish(summary())
    assert list(tmp_path.iterdir()) == []


def test_error_that_nobody_asked_for_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with AnnotatedVideoSink(tmp_path / "out.mp4", VideoInfo("x", 320, 120, fps=25.0)) as sink:
        sink.write(one_face(0, 0.0, label=99), np.zeros((120, 320, 3), np.uint8))
    assert "could not be written" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_interrupt_while_finishing_keeps_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.mp4"

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt  # as Ctrl-C does while the finished file is put together

    monkeypatch.setattr("fertrack.sinks.video.write_finished", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_video(path, [i / 25 for i in range(20)], VideoInfo("x", 64, 48, fps=25.0))
    assert len(picture_times(path)) == 20
    assert list(tmp_path.iterdir()) == [path]


def test_finishing_that_fails_keeps_the_pictures(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    (tmp_path / "out.mux.mp4").mkdir()  # where the finished file would be put together
    with AnnotatedVideoSink(path, VideoInfo("x", 64, 48, fps=25.0)) as sink:
        for i in range(20):
            sink.write(nothing(i, i / 25), np.zeros((48, 64, 3), np.uint8))
        with pytest.raises(VideoWriteError, match=r"all its pictures are kept, without sound, as .*out\.mp4"):
            sink.finish(summary())
    assert len(picture_times(path)) == 20
    assert not (tmp_path / "out.part.mp4").exists()


SINK_QUEUE = VideoOutputConfig().queue_size + 1

SCRIPT = """
    import os, resource, signal, sys
    from pathlib import Path
    import numpy as np
    from fertrack.errors import VideoWriteError
    from fertrack.sinks.video import AnnotatedVideoSink, VideoOutputConfig
    from fertrack.types import VideoInfo
    from tests.sinks.test_video import nothing, summary

    path, what = Path(sys.argv[1]), sys.argv[2]
    codec = "vp9" if path.suffix == ".webm" else "h264"
    if what == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    rng = np.random.default_rng(0)
    with AnnotatedVideoSink(path, VideoInfo("x", 160, 120, fps=25.0), VideoOutputConfig(codec=codec)) as sink:
        try:
            for i in range(400):
                noise = rng.integers(0, 255, (120, 160, 3), np.uint8)
                sink.write(nothing(i, i / 25), noise * 0 if "still" in what else noise)
                if "killed" in what and i == 200:
                    os.kill(os.getpid(), signal.SIGKILL)
        except VideoWriteError as error:
            print(error)
        sink.finish(summary("failed"))
"""


def run_script(path: Path, what: str) -> subprocess.CompletedProcess[str]:
    root = REPOSITORY
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(path), what],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"},
        timeout=120,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="the limit on file sizes that stands for a full disk is POSIX")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm"])
def test_disk_full_leaves_a_video_that_plays_up_to_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    finished = run_script(path, "full")
    assert finished.returncode == 0, finished.stderr
    assert "could not be written beyond" in finished.stdout
    assert "File too large" in finished.stdout
    assert list(tmp_path.iterdir()) == [path]
    assert 5 < len(picture_times(path)) < 400  # decodes to its end without an error


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("what", ["killed", "killed, still"])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm"])
def test_killed_program_leaves_a_part_that_plays_to_its_last_second(tmp_path: Path, name: str, what: str) -> None:
    """A still scene is a few bytes a frame: they must not wait in memory until there are many."""
    finished = run_script(tmp_path / name, what)
    assert finished.returncode == -signal.SIGKILL
    part = VideoDraft(tmp_path / name).path
    assert list(tmp_path.iterdir()) == [part]
    if part.suffix == ".mp4":
        cut_after_last_fragment(part)
    assert picture_times(part)[-1] >= (200 - SINK_QUEUE) / 25 - 1.0


def written(path: Path, count: int, **options: bool) -> AnnotatedVideoSink:
    """A video of some frames, open still."""
    sink = AnnotatedVideoSink(path, VideoInfo("x", 64, 48, fps=25.0), **options)
    sink.__enter__()
    for i in range(count):
        sink.write(nothing(i, i / 25), np.zeros((48, 64, 3), np.uint8))
    return sink


@pytest.mark.skipif(sys.platform == "win32", reason="Windows itself refuses to replace a file that is open")
def test_two_runs_never_write_one_video(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    first = written(path, 20)
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match=r"is being written by another run: wait until"):
            written(path, 0, overwrite=overwrite)
    first.finish(summary())
    first.__exit__(None, None, None)
    assert len(picture_times(path)) == 20
    assert list(tmp_path.iterdir()) == [path]
    written(path, 3, overwrite=True).finish(summary())
    assert len(picture_times(path)) == 3


def test_what_a_killed_run_left_stays_until_there_is_a_complete_video(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "out.mp4"
    assert run_script(path, "killed").returncode < 0
    left = (tmp_path / "out.part.mp4").read_bytes()
    failed = written(path, 0)
    assert failed._draft.set_aside == tmp_path / "out.cut-off.mp4"
    failed.__exit__(None, None, None)  # at once
    assert "stays as out.cut-off.mp4 until this one is complete" in caplog.text
    assert list(tmp_path.iterdir()) == [tmp_path / "out.cut-off.mp4"]
    assert (tmp_path / "out.cut-off.mp4").read_bytes() == left
    assert run_script(path, "killed").returncode < 0
    again = written(path, 5)
    assert remains_of(path) == [tmp_path / "out.cut-off-2.mp4", tmp_path / "out.cut-off.mp4"]
    again.finish(summary())
    assert list(tmp_path.iterdir()) == [path]


def test_cutting_keeps_whole_fragments_only(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    whole = b"\0\0\0\x10ftyp--------" + b"\0\0\0\x0cmoof----" + b"\0\0\0\x0cmdat----"
    path.write_bytes(whole + b"\0\0\0\x0cmoof----" + b"\0\0\0\x20mdat----")
    assert cut_after_last_fragment(path)
    assert path.read_bytes() == whole
    wide = b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x14----"
    path.write_bytes(whole + wide + b"\0\0\0\0rest")
    assert cut_after_last_fragment(path)
    assert path.read_bytes() == whole + wide
    path.write_bytes(b"\0\0\0\x10ftyp--------")
    assert not cut_after_last_fragment(path)


# ---- real videos ----


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("fr_short_hamilton_clip.mp4", "out.mp4"),
        ("fr_short_hamilton_clip.mp4", "out.webm"),
        ("pyfeat_face_noface.mov", "out.mp4"),
        ("pyfeat_single_face.mp4", "out.mp4"),
        ("intel_head-pose-face-detection-female-and-male.gif", "out.mp4"),
    ],
)
def test_real_videos_keep_times_and_sound(shared_data: Path, tmp_path: Path, name: str, target: str) -> None:
    source, path = shared_data / "video" / name, tmp_path / target
    config = VideoOutputConfig(codec="vp9" if target.endswith("webm") else "h264", preset="ultrafast")
    times, _ = annotate(source, path, config)
    tolerance = 0.0006 if target.endswith("webm") else 1e-9
    assert [float(t) for t in picture_times(path)] == pytest.approx(times, abs=tolerance)
    with av.open(source) as before, av.open(path) as after:
        assert bool(after.streams.audio) == bool(before.streams.audio)
        if before.streams.audio:
            assert after.duration == pytest.approx(before.duration, abs=45_000)
    if name.endswith("gif"):
        return
    start, end = (sound_packets(source)[i][i and 1] for i in (0, -1))
    kept_start, kept_end = (sound_packets(path)[i][i and 1] for i in (0, -1))
    assert kept_start == pytest.approx(start, abs=0.02)
    assert kept_end == pytest.approx(end, abs=0.03)
