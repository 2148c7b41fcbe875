"""Pictures that change size or pixel aspect within a file keep their proportions, in one size with black bars."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from fertrack.sources import FileSource, RealtimeFile
from fertrack.sources.pixels import fitted
from fertrack.types import Image
from tests.support.video_factory import make_video

SIDE = 48
"""Of the white square in the middle of every picture, px as shown."""


def square(aspect: Fraction) -> Callable[[int, tuple[int, int]], Image]:
    """Draws pictures that show a white square when their pixels have that aspect."""

    def draw(number: int, size: tuple[int, int]) -> Image:
        shown = np.full((size[1], round(size[0] * aspect), 3), 90, np.uint8)
        left, top = (shown.shape[1] - SIDE) // 2, (shown.shape[0] - SIDE) // 2
        shown[top : top + SIDE, left : left + SIDE] = 250
        return np.ascontiguousarray(cv2.resize(shown, size, interpolation=cv2.INTER_AREA))

    return draw


def with_aspect(aspect: Fraction) -> Callable[[av.VideoStream], None]:
    def set_aspect(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = aspect

    return set_aspect


def part(path: Path, size: tuple[int, int], aspect: Fraction = Fraction(1), **options: object) -> Path:
    return make_video(path, n=5, fps=25, size=size, setup=with_aspect(aspect), draw=square(aspect), **options)


def measured(image: Image) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height of the white square, and of what is not black."""
    grey = image[:, :, 1].astype(int)
    white, shown = np.argwhere(grey > 170), np.argwhere(grey > 45)
    return tuple(np.ptp(white, axis=0)[::-1] + 1), tuple(np.ptp(shown, axis=0)[::-1] + 1)


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(p.read_bytes() for p in parts))
    return path


def remuxed(path: Path, *parts: Path) -> Path:
    """One stream of the packets of several, as a browser records a turned phone."""
    with av.open(str(path), "w") as output:
        stream, at = None, 0
        for name in parts:
            with av.open(str(name)) as container:
                source = container.streams.video[0]
                stream = stream or output.add_stream_from_template(source)
                for packet in container.demux(source):
                    if packet.size:
                        packet.pts = packet.dts = at
                        packet.time_base, packet.stream = Fraction(1, 25), stream
                        output.mux(packet)
                        at += 1
    return path


VP8 = {"codec": "libvpx"}
MPEG2 = {"codec": "mpeg2video", "options": {"b": "4M"}, "b_frames": 2}
SQUARE = Fraction(1)
WIDE = Fraction(4, 3)

CASES = {
    "aspect.ts": ([((144, 96), WIDE, {}), ((144, 96), SQUARE, {})], (192, 96), (144, 96), joined),
    "B pictures.mpg": ([((128, 96), WIDE, MPEG2), ((128, 96), SQUARE, MPEG2)], (171, 96), (128, 96), joined),
    "aspect back.ts": ([((144, 96), SQUARE, {}), ((144, 96), WIDE, {})], (144, 96), (144, 72), joined),
    "turned.h264": ([((192, 96), SQUARE, {}), ((96, 192), SQUARE, {})], (192, 96), (48, 96), joined),
    "turned.ts": ([((96, 144), SQUARE, {}), ((144, 96), SQUARE, {})], (96, 144), (96, 64), joined),
    "turned.webm": ([((192, 96), SQUARE, VP8), ((96, 192), SQUARE, VP8)], (192, 96), (48, 96), remuxed),
    "larger.ts": ([((96, 64), SQUARE, {}), ((192, 128), SQUARE, {})], (96, 64), (96, 64), joined),
}


def clip(tmp_path: Path, name: str) -> tuple[Path, tuple[int, int], tuple[int, int]]:
    forms, size, second, join = CASES[name]
    parts = [part(tmp_path / f"{number}{Path(name).suffix}", *form[:2], **form[2]) for number, form in enumerate(forms)]
    return join(tmp_path / name, *parts), size, second


@pytest.mark.parametrize("name", CASES)
def test_proportions_are_kept(tmp_path: Path, name: str) -> None:
    path, size, second = clip(tmp_path, name)
    with FileSource(path) as source:
        images = [frame.image for frame in source]
    assert (source.info.width, source.info.height) == size
    assert {image.shape for image in images} == {(size[1], size[0], 3)}
    assert len(images) == 10
    for image in images[:5]:
        white, shown = measured(image)
        assert shown == size
        assert white == pytest.approx((SIDE, SIDE), abs=2)
    for image in images[5:]:
        white, shown = measured(image)
        assert shown == pytest.approx(second, abs=2)
        assert white[0] == pytest.approx(white[1], abs=2), "a square stays one"
    assert any(f"5 pictures change size or shape; shown whole at {size[0]}x{size[1]}" in n for n in source.notes)


def test_proportions_are_kept_when_a_file_is_played_live(tmp_path: Path) -> None:
    path, size, _ = clip(tmp_path, "turned.ts")
    with RealtimeFile(path) as source:
        images = [frame.image for frame in source]
    assert {image.shape for image in images} == {(size[1], size[0], 3)}
    white, _ = measured(images[-1])
    assert white[0] == pytest.approx(white[1], abs=2)
    assert any("change size or shape" in note for note in source.notes)


@pytest.mark.parametrize(
    ("size", "into", "place"),
    [
        ((1920, 1080), (1280, 720), (0, 0, 1280, 720)),
        ((720, 1280), (1280, 720), (437, 0, 405, 720)),
        ((640, 480), (853, 480), (106, 0, 640, 480)),
        ((1366, 768), (1280, 720), (0, 0, 1280, 720)),  # within a pixel of the same shape: no bars
        ((5000, 10), (64, 48), (0, 23, 64, 1)),
    ],
)
def test_where_a_picture_goes(size: tuple[int, int], into: tuple[int, int], place: tuple[int, int, int, int]) -> None:
    assert fitted(size, into) == place
