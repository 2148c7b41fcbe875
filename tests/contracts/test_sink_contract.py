"""The contract of every sink: ``fertrack.protocols.Sink``.

Sinks are found by folder: every class of ``fertrack/sinks`` and ``fertrack/live`` that can be written to and finished
needs an entry in ``SINKS``.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fertrack.live
import fertrack.sinks
from fertrack.embedders.appearance import AppearanceEmbedder
from fertrack.live.display import LatestResult, MeteredSink
from fertrack.live.latency import Meter
from fertrack.live.people import PeopleSink
from fertrack.protocols import Sink
from fertrack.sinks.config import VideoOutputConfig
from fertrack.sinks.database import DatabaseSink
from fertrack.sinks.reid import ReidSink
from fertrack.sinks.thumbnails import ThumbnailSink
from fertrack.sinks.video import AnnotatedVideoSink
from fertrack.storage.engine import Database, open_database
from tests.support.storage_scenes import INFO, RECORD, result, summary

SIZE = replace(INFO, width=640, height=480, path="")
RESULTS = [result(0, 0.0, [(1, "anger", 0.5)]), result(1, 0.04), result(2, 0.08, [(1, "anger", 0.5), (2, "fear", 0.6)])]

SINKS: dict[str, Callable[[Database, Path], Sink]] = {
    "DatabaseSink": lambda database, _: DatabaseSink(database, SIZE, RECORD),
    "AnnotatedVideoSink": lambda _, folder: AnnotatedVideoSink(
        folder / "out.mp4", SIZE, VideoOutputConfig(audio=False)
    ),
    "ReidSink": lambda _database, _folder: ReidSink(AppearanceEmbedder()),
    "ThumbnailSink": lambda _database, _folder: ThumbnailSink(),
    "MeteredSink": lambda _database, _folder: MeteredSink("age", Meter()),
    "LatestResult": lambda _database, _folder: LatestResult(
        lambda _index: 0.0, Meter(), on_result=lambda _shown: None, on_finish=lambda: None
    ),
    "PeopleSink": lambda _database, _folder: PeopleSink(),
}


@pytest.fixture(params=SINKS)
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sink]:
    with open_database(tmp_path / "a.db", create=True) as database:
        yield SINKS[request.param](database, tmp_path)


def write_all(sink: Sink) -> None:
    image = np.full((SIZE.height, SIZE.width, 3), 90, np.uint8)
    image.flags.writeable = False
    for each in RESULTS:
        sink.write(each, image if sink.needs_image else None)


def test_every_sink_is_here() -> None:
    found = set()
    for package in (fertrack.sinks, fertrack.live):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for name, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                methods = ("__enter__", "__exit__", "write", "finish", "needs_image")
                if kind.__module__ == module.name and all(hasattr(kind, method) for method in methods):
                    found.add(name)
    assert found == set(SINKS)


def test_it_has_what_the_seam_asks_for(sink: Sink) -> None:
    assert isinstance(sink, Sink)
    assert sink.name
    assert isinstance(sink.needs_image, bool)
    assert sink.notes == []


def test_it_takes_frames_with_and_without_faces_and_says_what_it_took(sink: Sink) -> None:
    with sink as entered:
        assert entered is sink
        write_all(sink)
        sink.finish(summary(RESULTS))
    assert all(isinstance(note, str) for note in sink.notes)
    n = len(RESULTS)
    assert sink.work_ms is None or len(sink.work_ms) in (0, n, n + 1), "one a frame, and one of the end"


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_a_run_without_a_frame_is_finished_too(sink: Sink, status: str) -> None:
    with sink:
        sink.finish(summary([], status))


def test_what_ends_a_run_goes_through_it(sink: Sink) -> None:
    def run() -> None:
        with sink:
            write_all(sink)
            raise KeyError("elsewhere")

    with pytest.raises(KeyError, match="elsewhere"):
        run()
