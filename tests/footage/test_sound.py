"""Lip sync from start to end: flashes and beeps of the source stay together in the annotated video."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from fertrack.sinks import video
from fertrack.sinks.config import VideoOutputConfig
from fertrack.sinks.video import AnnotatedVideoSink
from fertrack.sources import InputConfig, open_source
from fertrack.types import Faces, FrameResult, RunSummary
from tests.support.flash_and_beep import beeps, flashes, make_clip

MAX_APART_S = 0.04
MOMENTS = (0.4, 1.2, 2.0, 2.8, 3.6)


def annotate(
    source_path: Path, target: Path, codec: str = "h264", input_config: InputConfig | None = None
) -> list[str]:
    """Copy a clip through the sink of annotated videos; returns its notes."""
    source = open_source(source_path, input_config)
    with source, AnnotatedVideoSink(target, source.info, VideoOutputConfig(codec=codec)) as sink:
        for frame in source:
            nobody = np.empty(0, np.int64)
            none = np.empty((0, 7), np.float32)
            result = FrameResult(
                frame.index,
                frame.timestamp_s,
                Faces.empty(),
                nobody,
                np.empty((0, 4), np.float32),
                none,
                none,
                nobody,
                frame.index,
            )
            sink.write(result, frame.image)
        sink.finish(RunSummary("complete", 0, 0, 0, 0, 0, 0.0, 0.0))
    return sink.notes


def assert_in_sync(path: Path, source: Path, count: int = len(MOMENTS), exact_s: float = 0.0015) -> None:
    """Flashes are where they were in the source, up to a shift of all of them, and each has its beep."""
    lit, before = np.array(flashes(path)), np.array(flashes(source))
    assert len(lit) == count
    assert lit - lit[0] == pytest.approx(before - before[0], abs=exact_s)
    assert beeps(path) == pytest.approx(lit, abs=MAX_APART_S)


def sound_of(path: Path) -> tuple[str, int]:
    """Codec and channels."""
    with av.open(str(path)) as container:
        codec = container.streams.audio[0].codec_context
        return codec.codec.canonical_name, codec.layout.nb_channels


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


HOLES = ((0.6, 1.1), (1.4, 1.9), (2.3, 2.7))


@pytest.mark.parametrize(
    ("source", "codec", "target", "expected"),
    [
        ("in.mkv", "pcm_s16le", "out.mp4", "aac"),
        ("in.mkv", "aac", "out.mp4", "aac"),
        ("in.mp4", "aac", "out.webm", "opus"),
        ("in.ts", "mp2", "out.mp4", "aac"),
        ("in.mkv", "flac", "out.mp4", "aac"),
    ],
)
def test_holes_in_the_sound_do_not_move_what_follows(
    tmp_path: Path, source: str, codec: str, target: str, expected: str
) -> None:
    clip = make_clip(tmp_path / source, MOMENTS, 4.0, codec=codec, holes_s=HOLES)
    notes = annotate(clip, tmp_path / target, "vp9" if target.endswith("webm") else "h264")
    assert_in_sync(tmp_path / target, clip)
    assert sound_of(tmp_path / target)[0] == expected
    if expected != codec:
        assert any("the sound has gaps, 1." in note and "they are silent" in note for note in notes)


@pytest.mark.parametrize("codec", ["ac3", "eac3", "alac", "mp2", "pcm_s16le"])
def test_an_mp4_carries_only_sound_that_browsers_play(tmp_path: Path, codec: str) -> None:
    clip = make_clip(tmp_path / "in.mkv", MOMENTS, 4.0, codec=codec)
    notes = annotate(clip, tmp_path / "out.mp4")
    assert sound_of(tmp_path / "out.mp4") == ("aac", 2)
    assert_in_sync(tmp_path / "out.mp4", clip)
    assert [note.split(",")[0] for note in notes] == [f"the sound was encoded anew ({codec} to aac)"]


@pytest.mark.parametrize(("first", "second"), [("stereo", "mono"), ("mono", "stereo")])
@pytest.mark.parametrize(
    ("codec", "target"), [("aac", "out.mp4"), ("mp2", "out.mp4"), ("ac3", "out.mp4"), ("aac", "out.mkv")]
)
def test_a_change_of_channels_loses_no_sound(tmp_path: Path, codec: str, target: str, first: str, second: str) -> None:
    parts = [
        make_clip(tmp_path / f"{layout}.ts", (0.4, 1.2), 2.0, codec=codec, layout=layout, clock_start_s=start_s)
        for layout, start_s in ((first, 0.0), (second, 2.0))
    ]
    clip = joined(tmp_path / "in.ts", *parts)
    notes = annotate(clip, tmp_path / target)
    assert_in_sync(tmp_path / target, clip, count=4)
    assert sound_of(tmp_path / target)[1] == (2 if first == "stereo" else 1)
    if codec == "aac":
        assert any("because it changes on the way" in note for note in notes)


@pytest.mark.parametrize(
    ("codec", "target"), [("aac", "out.webm"), ("ac3", "out.mp4"), ("flac", "out.mp4"), ("aac", "out.mp4")]
)
def test_a_damaged_packet_costs_its_own_sound_only(tmp_path: Path, codec: str, target: str) -> None:
    clip = make_clip(tmp_path / "in.mkv", MOMENTS, 4.0, codec=codec)
    content = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        packets = [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(audio=0) if p.size]
    random = np.random.default_rng(3)
    for time_s, packet in packets:
        if 1.5 < time_s < 1.7 and len(packet) > 8:
            place = content.find(packet)
            content[place + 4 : place + len(packet)] = random.integers(0, 256, len(packet) - 4, np.uint8).tobytes()
    clip.write_bytes(content)
    annotate(clip, tmp_path / target, "vp9" if target.endswith("webm") else "h264")
    assert flashes(tmp_path / target) == pytest.approx(MOMENTS, abs=0.002)
    heard = beeps(tmp_path / target)
    for moment in MOMENTS:  # noise may sound like a beep in between
        assert min(abs(at - moment) for at in heard) < MAX_APART_S


def test_the_default_audio_track_is_kept(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", MOMENTS, 4.0, silent_tracks=1, default_track=1)
    assert annotate(clip, tmp_path / "out.mp4") == ["the sound is that of audio track 2 of 2"]
    assert_in_sync(tmp_path / "out.mp4", clip)


def test_a_readable_track_is_kept_where_the_first_cannot_be_read(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", MOMENTS, 4.0, silent_tracks=1, default_track=0)
    content = clip.read_bytes()
    clip.write_bytes(content.replace(b"A_AAC", b"A_XYZ", 1))
    assert annotate(clip, tmp_path / "out.mp4") == ["the sound is that of audio track 2 of 2"]
    assert_in_sync(tmp_path / "out.mp4", clip)
    clip.write_bytes(content.replace(b"A_AAC", b"A_XYZ"))
    assert annotate(clip, tmp_path / "none.mp4") == ["the sound cannot be read, so the annotated video has none"]


def test_ordinary_sound_is_copied_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "in.mp4", MOMENTS, 4.0)
    opened = []
    original = video.Soundtrack
    monkeypatch.setattr(video, "Soundtrack", lambda *args, **kwargs: opened.append(1) or original(*args, **kwargs))
    assert annotate(clip, tmp_path / "out.mp4") == []
    assert opened == [1]
    assert_in_sync(tmp_path / "out.mp4", clip)
    with av.open(str(clip)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        assert [bytes(p) for p in before.demux(audio=0)] == [bytes(p) for p in after.demux(audio=0)]
