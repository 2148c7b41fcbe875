"""Files with several videos or programmes: which one is read is said, and another can be chosen, with its sound."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fertrack.errors import VideoOpenError
from fertrack.sources import FileSource, InputConfig
from fertrack.sources.programmes import programmes
from tests.footage.test_sound import annotate
from tests.support.flash_and_beep import beeps, flashes, make_clip

SIZES = ((128, 96), (64, 48))


def two_videos(path: Path) -> Path:
    with av.open(str(path), "w") as output:
        streams = []
        for width, height in SIZES:
            stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append(stream)
        for i in range(4):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(np.full((stream.height, stream.width, 3), 90, np.uint8), "bgr24")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode(None))
    return path


def chosen(path: Path, stream: str = "") -> tuple[tuple[int, int], list[str]]:
    with FileSource(path, InputConfig(stream=stream)) as source:
        assert len(list(source)) > 0
    return (source.info.width, source.info.height), source.notes


@pytest.mark.parametrize("name", ["two.mkv", "two.mp4", "two.ts"])
def test_a_second_video_is_mentioned_and_can_be_chosen(tmp_path: Path, name: str) -> None:
    path = two_videos(tmp_path / name)
    size, (note,) = chosen(path)
    assert size == SIZES[0]
    assert f"{name}: video 1 (128x96 h264" in note
    assert "there is also 2 (64x48 h264" in note
    assert "--set input.stream=2" in note
    assert chosen(path, "1")[0] == SIZES[0]
    size, (note,) = chosen(path, "2")
    assert size == SIZES[1]
    assert "video 2 (64x48 h264" in note
    assert InputConfig.model_validate({"stream": 2}).stream == "2", "as TOML has it"


@pytest.mark.parametrize("which", ["3", "0", "program 7"])
def test_a_video_that_is_not_there_is_refused(tmp_path: Path, which: str) -> None:
    path = two_videos(tmp_path / "two.mkv")
    with pytest.raises(
        VideoOpenError, match=rf"two\.mkv has no video '{which}' .* there is 1 \(128x96 h264\), 2 \(64x48"
    ):
        chosen(path, which)


def test_one_video_beside_a_cover_picture_is_not_called_several(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", (0.4,), 1.0)
    covered = tmp_path / "covered.mp4"
    with av.open(str(path)) as source, av.open(str(covered), "w") as output:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
        cover = output.add_stream("png", rate=1)
        assert isinstance(cover, av.VideoStream)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        output.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")))
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    assert chosen(covered) == ((64, 48), [])


# ---------------------------------------------------------------- programmes of a transport stream


def two_programmes(tmp_path: Path) -> Path:
    """Two broadcasts in one transport stream: programme 101 beeps at 0.4 s, 202 at 1.2 s."""
    contents = []
    for number, (moment, pids) in {101: (0.4, (0x1100, 0x200)), 202: (1.2, (0x1200, 0x300))}.items():
        path = make_clip(
            tmp_path / f"{number}.ts",
            (moment,),
            2.0,
            muxer={
                "mpegts_service_id": str(number),
                "mpegts_pmt_start_pid": str(pids[0]),
                "mpegts_start_pid": str(pids[1]),
            },
        )
        contents.append(path.read_bytes())
    table = association_table({101: 0x1100, 202: 0x1200})
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(table if is_pat(packet) else packet for packet in interleaved(*contents)))
    return both


def is_pat(packet: bytes) -> bool:
    return int.from_bytes(packet[1:3], "big") & 0x1FFF == 0


def interleaved(*contents: bytes) -> Iterator[bytes]:
    """Packets of all, each stream's at its own share of the way."""
    packets = [
        (at / len(content), content[at : at + 188]) for content in contents for at in range(0, len(content), 188)
    ]
    for _, packet in sorted(packets, key=lambda packet: packet[0]):
        if int.from_bytes(packet[1:3], "big") & 0x1FFF != 0x11:  # service names, of one programme each
            yield packet


def association_table(maps: dict[int, int]) -> bytes:
    """A packet with a PAT."""
    entries = b"".join(number.to_bytes(2, "big") + (0xE000 | pid).to_bytes(2, "big") for number, pid in maps.items())
    section = bytes([0x00]) + (0xB000 | len(entries) + 9).to_bytes(2, "big") + b"\x00\x01\xc1\x00\x00" + entries
    return (b"\x47\x40\x00\x10\x00" + section + crc32_mpeg(section).to_bytes(4, "big")).ljust(188, b"\xff")


def crc32_mpeg(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


def test_programmes_are_told_apart_and_chosen_with_their_own_sound(tmp_path: Path) -> None:
    both = two_programmes(tmp_path)
    assert programmes(both) == {0x200: 101, 0x201: 101, 0x300: 202, 0x301: 202}
    _, (note,) = chosen(both)
    assert "1 (64x48 h264, program 101)" in note
    assert "2 (64x48 h264, program 202)" in note
    for stream, moment in (("program 101", 0.4), ("program 202", 1.2), ("2", 1.2)):
        target = tmp_path / f"{stream}.mp4"
        notes = annotate(both, target, input_config=InputConfig(stream=stream))
        assert flashes(target) == pytest.approx([moment], abs=0.1)
        assert beeps(target) == pytest.approx(flashes(target), abs=0.04)
        assert any("audio track" in note for note in notes)


def test_a_file_that_is_no_transport_stream_has_no_programmes(tmp_path: Path) -> None:
    assert programmes(two_videos(tmp_path / "two.mkv")) == {}
    assert programmes(tmp_path / "missing.ts") == {}
    (tmp_path / "noise.ts").write_bytes(bytes([0x47, *[0x40] * 187]) * 20)
    assert programmes(tmp_path / "noise.ts") == {}
