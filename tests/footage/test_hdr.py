"""HDR is converted to SDR, for the analysis and in the annotated video; untagged pictures are taken as players do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc

from fertrack.sinks.config import VideoOutputConfig, container_for
from fertrack.sinks.encoder import VideoEncoder
from fertrack.sources import FileSource

PQ, HLG, SDR = int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67), int(ColorTrc.BT709)
BT2020 = int(ColorPrimaries.BT2020)
SIZE = (64, 48)


def pq(nits: float) -> float:
    """SMPTE ST 2084: share of full scale for a luminance, cd/m²."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    y = (nits / 10_000) ** m1
    return ((c1 + c2 * y) / (1 + c3 * y)) ** m2


def clip_of_greys(path: Path, shares: Sequence[float], transfer: int, *, primaries: int | None) -> Path:
    """Columns of grey, each of a share of full scale, 10 bit, limited range."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx265", rate=25, options={"x265-params": "log-level=none", "crf": "1"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p10le"
        codec = stream.codec_context
        codec.color_range, codec.color_trc, codec.colorspace = 1, transfer, 1 if transfer == SDR else 9
        if primaries is not None:
            codec.color_primaries = primaries
        for i in range(3):
            frame = av.VideoFrame(*SIZE, "yuv420p10le")
            for number, plane in enumerate(frame.planes):
                line = np.full((plane.height, plane.line_size // 2), 512, np.uint16)
                for column, share in enumerate(shares if number == 0 else ()):
                    width = SIZE[0] // len(shares)
                    line[:, column * width : (column + 1) * width] = round(64 + 876 * share)
                plane.update(line.tobytes())
            frame.pts = i
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def greys_of(path: Path, count: int) -> tuple[list[int], list[str]]:
    """Level in the middle of each column, and what was noted."""
    with FileSource(path) as source:
        images = [frame.image for frame in source]
    width = SIZE[0] // count
    middles = [images[-1][SIZE[1] // 2, width // 2 + width * column].astype(int) for column in range(count)]
    assert max(np.ptp(middle) for middle in middles) <= 3, "grey stays grey"
    return [int(middle[1]) for middle in middles], source.notes


def test_pq_is_converted_with_reference_white_as_white(tmp_path: Path) -> None:
    shares = [pq(nits) for nits in (0.01, 5, 40, 203)]
    greys, notes = greys_of(clip_of_greys(tmp_path / "pq.mkv", shares, PQ, primaries=BT2020), 4)
    assert greys[0] < 12
    # a display of 203 cd/m² with BT.1886's curve; without conversion the last one is read as 148
    assert greys[1:] == pytest.approx([255 * (nits / 203) ** (1 / 2.4) for nits in (5, 40, 203)], abs=3)
    assert notes == ["pq.mkv: the video is HDR; it is analysed and drawn converted to SDR"]


def test_hlg_is_converted_even_if_it_names_no_primaries(tmp_path: Path) -> None:
    greys, notes = greys_of(clip_of_greys(tmp_path / "hlg.mkv", [0.0, 0.75], HLG, primaries=None), 2)
    assert greys[0] < 12
    assert greys[1] > 235, "HLG's reference white; as read without conversion it is 191"
    assert any("converted to SDR" in note for note in notes)


def test_sdr_of_ten_bits_is_left_as_it_is(tmp_path: Path) -> None:
    greys, notes = greys_of(clip_of_greys(tmp_path / "sdr.mkv", [0.25, 0.5], SDR, primaries=1), 2)
    assert greys == pytest.approx([64, 128], abs=2)
    assert notes == []


# ---------------------------------------------------------------- pictures that name no matrix


@pytest.mark.parametrize(("lines", "matrix"), [(720, 1), (576, 6)], ids=["HD as BT.709", "SD as BT.601"])
def test_untagged_colours_do_not_shift_from_source_to_annotated_video(tmp_path: Path, lines: int, matrix: int) -> None:
    size = (64, lines)
    planes = (120, 108, 152)
    clip = tmp_path / "untagged.mp4"
    with av.open(str(clip), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "1"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame(*size, "yuv420p")
        for plane, level in zip(frame.planes, planes, strict=True):
            plane.update(bytes([level]) * plane.buffer_size)
        frame.pts = 0
        output.mux([*stream.encode(frame), *stream.encode(None)])
    target = tmp_path / "out.mp4"
    config = VideoOutputConfig(crf=1)
    with FileSource(clip) as source:
        (image,) = [frame.image for frame in source]
        encoder = VideoEncoder(target, source.info, config, container_for(target, "h264"))
        encoder.fill(image)
        encoder.encode(0.0)
        encoder.close()
    with av.open(str(target)) as container:
        drawn = next(container.decode(video=0))
        assert drawn.colorspace == matrix, "tagged as what the source was taken for"
        for plane, level in zip(drawn.planes, planes, strict=True):
            values = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width]
            assert values.mean() == pytest.approx(level, abs=1.5)
