"""The annotated video of a run: whom it shows, and when it is drawn again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fertrack.errors import VideoOpenError
from fertrack.outputs import products
from fertrack.reid.linker import LinkPlan, PlannedPerson
from fertrack.render import RenderResult
from fertrack.sinks.video import VideoOutputConfig
from fertrack.storage.engine import open_database
from fertrack.storage.people.links import store_plan
from fertrack.storage.written_files import DrawnVideo, outputs
from fertrack.types import RunSummary, VideoInfo
from tests.support.reporting_runs import ScriptedPerson, ScriptedRun, store_run

TWO = ScriptedRun([ScriptedPerson([(0, 1)]), ScriptedPerson([(1.5, 2)])])
SUMMARY = RunSummary("complete", 50, 0, 0, 0, 0, 2.0, 1.0)


@pytest.mark.parametrize(
    ("plan", "linked", "drawn_again"),
    [([(1,), (2,)], True, False), ([(1, 2)], True, True), ([], False, False)],
)
def test_the_video_is_drawn_again_only_where_somebody_came_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: list[tuple[int, ...]], linked: bool, drawn_again: bool
) -> None:
    drawn: list[Any] = []

    def render(_database: Any, run: int, path: Path, *_: Any, **options: Any) -> RenderResult:
        drawn.append((run, path, options["overwrite"]))
        return RenderResult(path, 50, 0.1, ("drawn",))

    monkeypatch.setattr("fertrack.render.render_run", render)
    with open_database(tmp_path / "runs.db", create=True) as database:
        run = store_run(database, TWO)
        store_plan(database, run, LinkPlan(tuple(map(PlannedPerson, plan)), ()), embedder="none")
        path = tmp_path / "a.mp4"
        video = products.AnnotatedVideo(
            path, VideoInfo("a", 640, 360, 25.0), VideoOutputConfig(), overwrite=False, linked=linked
        )
        path.touch()
        notes = video.complete(database, run, SUMMARY)
        with database.reading() as connection:
            recorded = outputs(connection, [run])
    assert drawn == ([(run, path, True)] if drawn_again else [])
    assert list(notes) == (["drawn"] if drawn_again else [])
    if not drawn_again:
        assert [file.made.persons for file in recorded if isinstance(file.made, DrawnVideo)] == [linked]


def test_a_video_that_cannot_be_drawn_again_says_who_is_who(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def render(*_: Any, **__: Any) -> RenderResult:
        raise VideoOpenError("run 1 was not of a video file, so it cannot be drawn again")

    monkeypatch.setattr("fertrack.render.render_run", render)
    with open_database(tmp_path / "runs.db", create=True) as database:
        run = store_run(database, TWO)
        store_plan(database, run, LinkPlan((PlannedPerson((1, 2)),), ()), embedder="none")
        path = tmp_path / "a.mp4"
        video = products.AnnotatedVideo(
            path, VideoInfo("a", 640, 360, 25.0), VideoOutputConfig(), overwrite=False, linked=True
        )
        path.touch()
        (note,) = video.complete(database, run, SUMMARY)
    assert "(P2 is P1)" in note
