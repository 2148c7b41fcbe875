"""AVI stamps pictures in decode order only: packets that come to nothing must not move what follows."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from fertrack.sources import FileSource
from fertrack.sources.frame_order import ByRank
from tests.support.video_factory import make_video, number_of

VOP = b"\0\0\1\xb6"


def read(path: Path) -> tuple[list[tuple[int, int, int]], FileSource]:
    """Index, time in frames and number drawn of every picture."""
    with FileSource(path) as source:
        return [(f.index, round(f.timestamp_s * 25, 3), number_of(f.image)) for f in source], source


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def written(source: Path, target: Path, packets: list[bytes]) -> Path:
    """An AVI file of these packets, stamped 0, 1, 2, ... frames."""
    with av.open(str(source)) as original, av.open(str(target), "w") as output:
        stream = output.add_stream_from_template(original.streams.video[0])
        for number, content in enumerate(packets):
            packet = av.Packet(content)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, 25), stream
            output.mux(packet)
    return target


def not_coded(packet: bytes) -> bytes:
    """The same MPEG-4 picture, as "nothing is coded: show the one before on"; for the first second of a video."""
    start = packet.rindex(VOP)
    return VOP + bytes([0x40 | packet[start + 4] & 0x3F, packet[start + 5] & 0xC0 | 0x0F])


def packed(packets: list[bytes]) -> list[bytes]:
    """As DivX writes B pictures: in one packet with the picture they need, and an empty one in their place."""
    start = packets[0].rindex(VOP)
    result = [packets[0][:start] + b"\0\0\1\xb2DivX503b1393p" + packets[0][start:]]
    for packet in packets[1:]:
        if packet[4] >> 6 == 2:
            empty = not_coded(result[-1])
            result[-1] += packet
            result.append(empty)
        else:
            result.append(packet)
    return result


def test_pictures_that_are_not_coded_keep_their_place_in_time(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.avi", n=20, fps=25, codec="mpeg4", b_frames=0, gop=1, options={"b": "4M"})
    packets = [not_coded(p) if 5 <= i < 9 else p for i, p in enumerate(packets_of(clip))]
    frames, source = read(written(clip, tmp_path / "gaps.avi", packets))
    assert frames == [(i, i, i) for i in range(20) if not 5 <= i < 9]
    assert [note for note in source.notes if "4 pictures are not coded" in note] == source.notes != []


def test_divx_packed_pictures_are_all_shown_at_their_times(tmp_path: Path) -> None:
    options = {"b": "4M", "sc_threshold": "1000000000"}
    clip = make_video(tmp_path / "clip.avi", n=21, fps=25, codec="mpeg4", b_frames=1, gop=100, options=options)
    frames, source = read(written(clip, tmp_path / "packed.avi", packed(packets_of(clip))))
    assert frames == [(i, i, i) for i in range(21)]
    assert source.notes == []


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize(("codec", "options"), [("libx264", None), ("mpeg2video", {"b": "4M"})])
def test_a_file_that_begins_inside_a_group_of_pictures_keeps_its_times(
    tmp_path: Path, codec: str, options: dict[str, str] | None, b_frames: int
) -> None:
    clip = make_video(tmp_path / "clip.avi", n=30, fps=25, codec=codec, b_frames=b_frames, gop=12, options=options)
    frames, source = read(written(clip, tmp_path / "late.avi", packets_of(clip)[3:]))
    assert frames == [(i, i, i + 3) for i in range(9, 27)]
    assert any("9 pictures are not coded, or come before the first key picture" in note for note in source.notes)


def test_a_file_cut_off_in_the_middle_is_told(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.avi", n=100, fps=25, b_frames=0)
    whole, source = read(clip)
    assert (len(whole), source.notes) == (100, [])
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    frames, source = read(clip)
    assert frames == [(i, i, i) for i in range(len(frames))]
    assert source.notes == [f"clip.avi: the file ends early: {len(frames)} of about 100 frames could be read"]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        # Each event: picture types sent to the decoder, and which sent packets come out of it then.
        ([(0, [0]), (1, [1]), (2, []), (3, [3])], {0: 0, 1: 1, 3: 3}),  # no reordering: 2 is not coded
        ([(0, []), (1, [0]), (2, []), (3, [1]), (4, [3]), (None, [4])], {0: 0, 1: 1, 3: 3, 4: 4}),  # one held back
        ([(0, []), (1, [0]), (2, [2]), (3, [1]), (4, [4]), (None, [3])], {0: 0, 2: 1, 1: 2, 4: 3, 3: 4}),  # B pictures
    ],
)
def test_ranks_pass_over_what_came_to_nothing(
    events: list[tuple[int | None, list[int]]], expected: dict[int, int]
) -> None:
    order = ByRank()
    held = 0 if events[0][1] else 1
    places: dict[int, int | None] = {}
    place: Callable[[int], tuple[int, int | None]] = lambda sent: order.placed(None, sent)  # noqa: E731
    for sent, out in events:
        if sent is not None:
            order.sent(None, sent)
        order.returned(out, 0 if sent is None else held)
        for packet in out:
            places[packet] = place(packet)[1]
    assert places == expected
