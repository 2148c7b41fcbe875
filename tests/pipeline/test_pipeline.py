"""The frame loop: same rows whatever the schedule, IDs for first rows, and endings that keep what was done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import cv2
import numpy as np
import pytest

from fertrack.errors import StorageError, VideoReadError
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig
from fertrack.pipeline.analyzer import FaceAnalyzer
from fertrack.pipeline.config import EngineConfig, ShotConfig
from fertrack.pipeline.pipeline import Pipeline, Progress
from fertrack.pipeline.scheduler import analyse_in_order
from fertrack.testing import FakeClassifier, FakeDetector, ScenePerson, SceneSource, SyntheticScene
from fertrack.tracking.tracker import TrackerConfig
from fertrack.types import EXPRESSIONS, Frame, FrameResult, Image, RunSummary

TWO_PEOPLE = SyntheticScene(
    (
        ScenePerson((60, 80), (40, 0), script=((0.0, "happiness"), (1.0, "anger"))),
        ScenePerson((240, 160), (-40, 0), script=((0.0, "sadness"),), visible_s=((0.4, 2.0),)),
    ),
    frame_count=50,
)


class Collector:
    """A sink that keeps everything, and can be told to fail."""

    def __init__(
        self, name: str = "collect", *, needs_image: bool = False, fail_at: int = -1, fail_finish: bool = False
    ):
        self.name = name
        self.needs_image = needs_image
        self.notes: list[str] = []
        self.work_ms: tuple[float, ...] = ()
        self.results: list[FrameResult] = []
        self.images: list[Image | None] = []
        self.summary: RunSummary | None = None
        self.closed = False
        self._fail_at = fail_at
        self._fail_finish = fail_finish

    def __enter__(self) -> Self:
        return self

    def write(self, result: FrameResult, image: Image | None) -> None:
        if result.frame_index == self._fail_at:
            raise StorageError("the disk is full")
        self.results.append(result)
        self.images.append(image)

    def finish(self, summary: RunSummary) -> None:
        self.summary = summary
        if self._fail_finish:
            raise StorageError("cannot be finished")

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.closed = True


class BreakingSource(SceneSource):
    """A source that breaks, or waits, at a frame."""

    def __init__(self, scene: SyntheticScene, at: int, error: BaseException) -> None:
        super().__init__(scene)
        self._at, self._error = at, error

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            if frame.index == self._at:
                raise self._error
            yield frame


def pipeline_for(
    scene: SyntheticScene, *, live: bool = False, engine: EngineConfig | None = None, shots: ShotConfig | None = None
) -> Pipeline:
    calibrator = Calibrator(CalibrationConfig(), ClassifierCalibration.uncalibrated("fake"))
    return Pipeline(
        FaceAnalyzer(FakeDetector(scene), FakeClassifier()),
        calibrator,
        tracking=TrackerConfig(min_hits=3),
        shots=shots,
        engine=engine or EngineConfig(workers=2),
        live=live,
    )


def rows(results: list[FrameResult]) -> list[tuple[object, ...]]:
    return [
        (
            r.frame_index,
            r.timestamp_s,
            *(getattr(r, c).tobytes() for c in ("track_ids", "track_xyxy", "smoothed", "labels")),
        )
        for r in results
    ]


def test_two_people_get_two_tracks_and_their_scripted_expressions() -> None:
    sink = Collector()
    summary = pipeline_for(TWO_PEOPLE).run(SceneSource(TWO_PEOPLE), [sink])
    assert (summary.status, summary.frames, summary.faces, summary.tracks) == ("complete", 50, 90, 2)
    assert summary.video_s == pytest.approx(2.0)
    assert sink.summary == summary
    assert sink.closed
    assert [r.frame_index for r in sink.results] == list(range(50))
    first = [EXPRESSIONS[r.labels[0]] for r in sink.results]
    assert first[5] == "happiness"
    assert first[-1] == "anger"


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (3, 1), (2, 4), (4, 7)])
def test_rows_do_not_depend_on_the_schedule(workers: int, batch: int) -> None:
    reference, other = Collector(), Collector()
    pipeline_for(TWO_PEOPLE, engine=EngineConfig(workers=1)).run(SceneSource(TWO_PEOPLE), [reference])
    pipeline_for(TWO_PEOPLE, engine=EngineConfig(workers=workers, batch=batch)).run(SceneSource(TWO_PEOPLE), [other])
    assert rows(reference.results) == rows(other.results)


def test_offline_a_tracks_first_rows_carry_its_id() -> None:
    offline, live = Collector(), Collector()
    pipeline_for(TWO_PEOPLE).run(SceneSource(TWO_PEOPLE), [offline])
    pipeline_for(TWO_PEOPLE, live=True).run(SceneSource(TWO_PEOPLE), [live])
    assert all((r.track_ids > 0).all() for r in offline.results)
    assert offline.results[10].track_ids.tolist() == [1, 2]  # the second person's first frame is frame 10
    assert live.results[10].track_ids.tolist() == [1, -1]
    assert live.results[12].track_ids.tolist() == [1, 2]


def test_a_track_too_short_to_be_confirmed_stays_unconfirmed() -> None:
    scene = SyntheticScene((ScenePerson((100, 100), visible_s=((0.2, 0.28),)),), frame_count=20)
    sink = Collector()
    summary = pipeline_for(scene).run(SceneSource(scene), [sink])
    assert summary.tracks == 0
    assert [r.track_ids.tolist() for r in sink.results if len(r.faces)] == [[-1], [-1]]
    assert sink.results[5].labels.tolist() == [-1]
    np.testing.assert_array_equal(sink.results[5].track_xyxy, sink.results[5].faces.detections.xyxy)


def test_only_sinks_that_draw_get_pixels() -> None:
    drawing, storing = Collector(needs_image=True), Collector()
    pipeline_for(TWO_PEOPLE).run(SceneSource(TWO_PEOPLE), [drawing, storing])
    assert all(image is not None and not image.flags.writeable for image in drawing.images)
    assert storing.images == [None] * 50


def test_stop_ends_the_run_as_interrupted_with_everything_so_far() -> None:
    pipeline, sink = pipeline_for(TWO_PEOPLE), Collector()

    def stop_at_20(progress: Progress) -> None:
        if progress.frames == 20:
            pipeline.stop()

    summary = pipeline.run(SceneSource(TWO_PEOPLE), [sink], on_progress=stop_at_20)
    assert summary.status == "interrupted"
    assert 20 <= summary.frames < 50
    assert len(sink.results) == summary.frames
    assert pipeline.run(SceneSource(TWO_PEOPLE), []).status == "complete"  # a stop does not outlive its run


def test_a_source_that_breaks_fails_the_run_and_keeps_every_frame_before() -> None:
    sink = Collector()
    with pytest.raises(VideoReadError, match="the cable was pulled"):
        pipeline_for(TWO_PEOPLE, engine=EngineConfig(workers=1)).run(
            BreakingSource(TWO_PEOPLE, 30, VideoReadError("the cable was pulled")), [sink]
        )
    assert sink.summary is not None
    assert (sink.summary.status, sink.summary.error) == ("failed", "the cable was pulled")
    assert len(sink.results) == sink.summary.frames == 30
    assert sink.closed


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (3, 1), (4, 7)])
def test_what_was_read_before_a_source_broke_does_not_depend_on_the_schedule(workers: int, batch: int) -> None:
    sink = Collector()
    broken = BreakingSource(TWO_PEOPLE, 30, VideoReadError("the cable was pulled"))
    with pytest.raises(VideoReadError):
        pipeline_for(TWO_PEOPLE, engine=EngineConfig(workers=workers, batch=batch)).run(broken, [sink])
    assert [result.frame_index for result in sink.results] == list(range(30))


def test_an_error_of_the_caller_is_not_hidden_by_finishing() -> None:
    sink = Collector()

    def refuse(progress: Progress) -> None:
        if progress.frames == 20:
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        pipeline_for(TWO_PEOPLE).run(SceneSource(TWO_PEOPLE), [sink], on_progress=refuse)
    assert sink.summary is not None
    assert sink.summary.status == "failed"
    assert len(sink.results) >= 20


def test_ctrl_c_is_passed_on_after_the_sinks_are_finished() -> None:
    sink = Collector()
    with pytest.raises(KeyboardInterrupt):
        pipeline_for(TWO_PEOPLE).run(BreakingSource(TWO_PEOPLE, 30, KeyboardInterrupt()), [sink])
    assert sink.summary is not None
    assert sink.summary.status == "interrupted"


def test_a_sink_that_fails_does_not_take_the_others_with_it() -> None:
    broken, healthy = Collector("broken", fail_at=10), Collector("healthy")
    with pytest.raises(StorageError, match="the disk is full"):
        pipeline_for(TWO_PEOPLE).run(SceneSource(TWO_PEOPLE), [healthy, broken])
    assert healthy.summary is not None
    assert (healthy.summary.status, healthy.summary.error) == ("failed", "the disk is full")
    assert len(healthy.results) == 11
    assert broken.closed
    assert healthy.closed


def test_a_sink_that_cannot_be_finished_is_recorded_by_those_after_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    first, second, last = Collector("first", fail_finish=True), Collector("second", fail_finish=True), Collector("last")
    with pytest.raises(StorageError, match="cannot be finished"):
        pipeline_for(TWO_PEOPLE).run(SceneSource(TWO_PEOPLE), [first, second, last])
    assert last.summary is not None
    assert last.summary.status == "failed"
    assert "second could not be finished either" in caplog.text


def test_a_source_without_frames_is_an_error() -> None:
    scene = SyntheticScene((), frame_count=0)
    with pytest.raises(VideoReadError, match="no frame could be decoded"):
        pipeline_for(scene).run(SceneSource(scene), [])


def test_a_video_without_faces_is_a_valid_empty_result_that_says_so() -> None:
    scene = SyntheticScene((), frame_count=5)
    summary = pipeline_for(scene).run(SceneSource(scene), [])
    assert (summary.status, summary.frames, summary.faces) == ("complete", 5, 0)
    assert any("no face was found in 5 frames" in note for note in summary.notes)


def test_every_stage_is_timed() -> None:
    summary = pipeline_for(TWO_PEOPLE).run(SceneSource(TWO_PEOPLE), [Collector("store")])
    stages = {stage.stage: stage for stage in summary.stages}
    assert list(stages) == ["read", "detect", "align", "classify", "track", "store"]
    assert all(stage.frames == 50 and stage.p50_ms <= stage.p95_ms <= stage.max_ms for stage in stages.values())


def test_what_a_sink_has_to_say_reaches_the_summary_and_the_sinks_after_it() -> None:
    first, last = Collector("video"), Collector("store")
    first.notes.append("the sound was re-encoded")
    first.work_ms = (10.0, 30.0)
    summary = pipeline_for(TWO_PEOPLE).run(SceneSource(TWO_PEOPLE), [first, last])
    assert "the sound was re-encoded" in summary.notes
    assert last.summary is not None
    assert "the sound was re-encoded" in last.summary.notes
    (video,) = (stage for stage in summary.stages if stage.stage == "video")
    assert (video.frames, video.mean_ms) == (2, 20.0)


class CountingSource(SceneSource):
    """Remembers how many frames were taken from it."""

    taken = 0

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            self.taken += 1
            yield frame


def test_frames_in_flight_are_bounded() -> None:
    source = CountingSource(TWO_PEOPLE)
    analyzer = FaceAnalyzer(FakeDetector(TWO_PEOPLE), FakeClassifier())
    looked = analyse_in_order(analyzer, source, EngineConfig(workers=2, batch=3), keep_images=False)
    next(looked)
    assert source.taken <= 9
    looked.close()


def test_closing_early_waits_for_what_was_started() -> None:
    class SlowDetector(FakeDetector):
        def detect(self, images):  # type: ignore[no-untyped-def]  # signature as in the base class
            time.sleep(0.02)
            return super().detect(images)

    analyzer = FaceAnalyzer(SlowDetector(TWO_PEOPLE), FakeClassifier())
    looked = analyse_in_order(analyzer, SceneSource(TWO_PEOPLE), EngineConfig(workers=4), keep_images=False)
    next(looked)
    looked.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fertrack-analyse")]


def test_an_empty_batch_is_nothing() -> None:
    assert FaceAnalyzer(FakeDetector(TWO_PEOPLE), FakeClassifier()).analyse([]) == []


class CutScene(SceneSource):
    """Two shots of the same persons in the same places; only what is behind them changes, at frame 25."""

    CUT = 25

    def __iter__(self) -> Iterator[Frame]:
        grounds = [
            cv2.resize(np.random.default_rng(seed).uniform(0, 200, (4, 6, 3)).astype(np.uint8), (320, 240))
            for seed in (1, 2)
        ]
        for frame in super().__iter__():
            ground = grounds[frame.index >= self.CUT]
            behind = (frame.image == 60).all(axis=2, keepdims=True)
            yield Frame(frame.index, frame.timestamp_s, np.where(behind, ground, frame.image))


def ids_of(results: list[FrameResult], frames: range) -> set[int]:
    return {number for result in results if result.frame_index in frames for number in result.track_ids.tolist()}


@pytest.mark.parametrize("live", [False, True])
def test_no_track_is_carried_across_a_cut(live: bool) -> None:
    sink = Collector()
    pipeline_for(TWO_PEOPLE, live=live).run(CutScene(TWO_PEOPLE), [sink])
    assert [result.frame_index for result in sink.results] == list(range(50))
    assert [result.frame_index for result in sink.results if result.is_cut] == [CutScene.CUT]
    before, after = ids_of(sink.results, range(25)) - {-1}, ids_of(sink.results, range(25, 50)) - {-1}
    assert before == {1, 2}
    assert after == {3, 4}
    first = sink.results[CutScene.CUT].track_ids.tolist()
    assert first == ([-1, -1] if live else [3, 4]), "offline, the new tracks own their first frame too"


def test_a_track_that_was_still_tentative_at_a_cut_never_gets_an_id() -> None:
    late = SyntheticScene((ScenePerson((160, 120), visible_s=((23 / 25, 2.0),)),), frame_count=50)
    sink = Collector()
    pipeline_for(late).run(CutScene(late), [sink])
    ids = {result.frame_index: result.track_ids.tolist() for result in sink.results}
    assert (ids[23], ids[24]) == ([-1], [-1])
    assert ids[25] == [1]


def test_cuts_are_not_looked_for_when_switched_off() -> None:
    sink = Collector()
    pipeline_for(TWO_PEOPLE, shots=ShotConfig(enabled=False)).run(CutScene(TWO_PEOPLE), [sink])
    assert not any(result.is_cut for result in sink.results)
    assert ids_of(sink.results, range(50)) - {-1} == {1, 2}
