"""The contract of every source: ``fertrack.protocols.VideoSource``.

Sources are found by folder: every class of ``fertrack/sources`` that can be iterated and closed needs an entry in
``SOURCES``, or in ``ELSEWHERE`` with the reason.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

import fertrack.sources
from fertrack.benchmarks.loopback.clip import encode_clip
from fertrack.benchmarks.loopback.mjpeg import MjpegServer
from fertrack.benchmarks.loopback.show import Show
from fertrack.protocols import VideoSource
from fertrack.sources.buffered import Buffered
from fertrack.sources.file import FileSource
from fertrack.sources.images import ImageFolderSource
from fertrack.sources.realtime import RealtimeFile
from fertrack.sources.stream.network import StreamSource
from fertrack.testing import ScenePerson, SceneSource, SyntheticScene
from tests.support.video_factory import make_video

FRAMES = 6


def clip(folder: Path) -> Path:
    return make_video(folder / "clip.mp4", 12, 25, (128, 96))


def images(folder: Path) -> Path:
    import cv2

    for index in range(FRAMES):
        assert cv2.imwrite(str(folder / f"{index}.png"), np.full((96, 128, 3), 20 * index, np.uint8))
    return folder


@contextmanager
def served(folder: Path) -> Iterator[VideoSource]:
    show = Show(encode_clip(clip(folder), "mjpeg", fps=25.0))
    with MjpegServer(show, 0) as server, StreamSource(server.address) as source:
        yield source


SOURCES: dict[str, Callable[[Path], VideoSource]] = {
    "FileSource": lambda folder: FileSource(clip(folder)),
    "ImageFolderSource": lambda folder: ImageFolderSource(images(folder)),
    "RealtimeFile": lambda folder: RealtimeFile(clip(folder)),
    "Buffered": lambda folder: Buffered(FileSource(clip(folder)), 2),
    "SceneSource": lambda _folder: SceneSource(SyntheticScene((ScenePerson((60, 60)),), frame_count=FRAMES)),
}
ELSEWHERE = {"CameraSource": "needs a camera"}
ALL = [*SOURCES, "StreamSource"]


@pytest.fixture(params=ALL)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VideoSource]:
    with ExitStack() as stack:
        if request.param == "StreamSource":
            yield stack.enter_context(served(tmp_path))
        else:
            yield stack.enter_context(SOURCES[request.param](tmp_path))


def test_every_source_is_here() -> None:
    found = set()
    for module in pkgutil.walk_packages(fertrack.sources.__path__, "fertrack.sources."):
        for name, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            is_ours = kind.__module__ == module.name and not name.startswith("_") and not inspect.isabstract(kind)
            if is_ours and all(hasattr(kind, method) for method in ("__iter__", "__enter__", "close")):
                found.add(name)
    assert found - {"SceneSource"} == {*ALL, *ELSEWHERE} - {"SceneSource"}


def test_it_has_what_the_seam_asks_for(source: VideoSource) -> None:
    assert isinstance(source, VideoSource)
    assert source.info.name
    assert (source.info.width, source.info.height) > (0, 0)
    assert (source.decode_failures, source.dropped) == (0, 0)
    assert isinstance(source.notes, list)


def test_frames_are_in_order_and_of_the_announced_size(source: VideoSource) -> None:
    frames = list(itertools.islice(source, FRAMES))
    assert len(frames) == FRAMES
    assert [frame.index for frame in frames] == list(range(FRAMES))
    times = [frame.timestamp_s for frame in frames]
    assert times[0] >= 0.0
    assert all(earlier < later for earlier, later in itertools.pairwise(times))
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert frame.image.shape == (source.info.height, source.info.width, 3)


def test_it_can_be_closed_at_any_time_and_more_than_once(source: VideoSource) -> None:
    frames = iter(source)
    next(frames)
    closer = threading.Thread(target=source.close)
    closer.start()
    closer.join(timeout=20.0)
    assert not closer.is_alive()
    assert sum(1 for _ in itertools.islice(frames, 100)) < 100, "it ends, without an error"
    source.close()
