"""Interlaced video: whole pictures by default, one for one and at the same times; progressive video is not touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fertrack.sources import FileSource, InputConfig, deinterlace
from fertrack.sources.stream.network import StreamSource
from fertrack.types import Image
from tests.support.stream_servers import folder_server
from tests.support.video_factory import make_video

SIZE = (160, 96)
SPEED = 12
"""Of the bar, px a picture."""


def moving(half: int, size: tuple[int, int]) -> Image:
    """A bright bar with soft edges on grey, at a time in half pictures."""
    x = np.arange(size[0])
    centre = 30 + SPEED * half / 2
    bar = 60 + 150 / (1 + np.exp((np.abs(x - centre) - 14) * 0.9))
    return np.repeat(np.repeat(bar[None, :, None], size[1], 0), 3, 2).astype(np.uint8)


def progressive(number: int, size: tuple[int, int]) -> Image:
    return moving(2 * number, size)


def woven(number: int, size: tuple[int, int]) -> Image:
    """Bottom field first, as PyAV has x264 flag it: odd lines at the time, even lines half a picture later."""
    image = progressive(number, size)
    image[::2] = moving(2 * number + 1, size)[::2]
    return image


def x264(extra: str) -> dict[str, Any]:
    return {"options": {"preset": "ultrafast", "crf": "4", "x264-params": extra}}


INTERLACED: dict[str, dict[str, Any]] = {
    "broadcast.ts": x264("tff=1"),
    "camera.mp4": {**x264("tff=1"), "b_frames": 0},
    "disc.mkv": x264("tff=1"),
}


def read(path: Path, **options: object) -> tuple[list[Image], list[float], FileSource]:
    with FileSource(path, InputConfig.model_validate(options)) as source:
        frames = list(source)
    return [frame.image for frame in frames], [frame.timestamp_s for frame in frames], source


def combing(image: Image) -> float:
    """Mean difference of neighbouring lines, levels: 0 for upright bars that are whole."""
    return float(np.abs(np.diff(image[:, :, 1].astype(int), axis=0)).mean())


@pytest.mark.parametrize("name", INTERLACED)
def test_interlaced_pictures_become_whole_at_the_same_times(tmp_path: Path, name: str) -> None:
    path = make_video(tmp_path / name, n=9, fps=25, size=SIZE, draw=woven, **INTERLACED[name])
    combed, times, source = read(path, deinterlace=False)
    assert min(map(combing, combed)) > 5
    assert source.notes == [f"{name}: 9 pictures are interlaced; analysed as they are: input.deinterlace is off"]
    whole, same_times, source = read(path)
    assert same_times == times
    assert len(whole) == 9
    assert max(map(combing, whole)) < 1
    for number, image in enumerate(whole):
        assert np.abs(image.astype(int) - progressive(number, SIZE)).mean() < 3, "the first field's time"
    assert source.notes == [f"{name}: 9 pictures are interlaced; deinterlaced"]


def test_dv_is_deinterlaced(tmp_path: Path) -> None:
    path = make_video(tmp_path / "tape.avi", n=3, fps=25, size=(720, 576), codec="dvvideo", draw=woven, options={})
    whole, _, source = read(path)
    combed, _, _ = read(path, deinterlace=False)
    assert max(map(combing, whole)) < min(map(combing, combed)) / 3
    assert any("3 pictures are interlaced; deinterlaced" in note for note in source.notes)


def test_a_part_and_a_rate_give_the_same_pictures_as_the_whole(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", n=20, fps=25, size=SIZE, draw=woven, gop=5, **x264("tff=1"))
    whole, times, _ = read(path)
    part, part_times, _ = read(path, from_s=0.4, to_s=0.6)
    assert part_times == [time_s for time_s in times if 0.4 <= time_s < 0.6]
    for image, time_s in zip(part[1:], part_times[1:], strict=True):  # the first has no neighbour before it
        assert np.array_equal(image, whole[times.index(time_s)])
    some, some_times, _ = read(path, rate_hz=5)
    assert some_times == [time_s for time_s in times if round(time_s * 25) % 5 == 0]
    assert np.array_equal(some[1], whole[5])


@pytest.mark.parametrize("options", [x264("tff=0"), {"codec": "mpeg2video", "options": {"b": "8M"}}])
def test_progressive_video_never_meets_the_filter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    def refuse() -> None:
        raise AssertionError("a filter was set up")

    path = make_video(tmp_path / "plain.mkv", n=5, fps=25, size=SIZE, draw=progressive, **options)
    monkeypatch.setattr(deinterlace, "Graph", refuse)
    images, _, source = read(path)
    assert len(images) == 5
    assert source.notes == []


def test_a_video_that_turns_interlaced_and_changes_size_is_read_to_its_end(tmp_path: Path) -> None:
    parts: list[tuple[Callable[[int, tuple[int, int]], Image], str, tuple[int, int]]] = [
        (progressive, "tff=0", SIZE),
        (woven, "tff=1", SIZE),
        (woven, "tff=1", (96, 96)),
    ]
    contents = [
        make_video(tmp_path / f"{i}.h264", n=6, fps=25, size=size, draw=draw, b_frames=0, **x264(extra)).read_bytes()
        for i, (draw, extra, size) in enumerate(parts)
    ]
    path = tmp_path / "all.h264"
    path.write_bytes(b"".join(contents))
    images, times, source = read(path)
    assert len(images) == 18
    assert times == pytest.approx([i / 25 for i in range(18)])
    assert max(map(combing, images[:12])) < 1
    assert any("12 pictures are interlaced; deinterlaced" in note for note in source.notes)


@pytest.mark.parametrize("on", [True, False])
def test_interlaced_network_streams_are_deinterlaced_and_it_is_said_once(tmp_path: Path, on: bool) -> None:
    make_video(tmp_path / "a.mkv", n=9, fps=25, size=SIZE, draw=woven, **x264("tff=1"))
    with (
        folder_server(tmp_path) as (address, _),
        StreamSource(f"{address}/a.mkv", None, InputConfig(deinterlace=on)) as source,
    ):
        frames = list(source)
    assert len(frames) == 9
    times = [frame.timestamp_s for frame in frames]
    assert times == sorted(times)
    if on:
        assert max(combing(frame.image) for frame in frames) < 1
    else:
        assert min(combing(frame.image) for frame in frames) > 5
    how = "deinterlaced" if on else "shown as they are: input.deinterlace is off"
    assert source.notes == [f"{source.info.name}: pictures are interlaced; {how}"]
