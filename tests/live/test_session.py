"""Live runs from start to end: nothing waits, nothing grows, and every way of ending leaves everything complete."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

import fertrack
from fertrack.config import Settings
from fertrack.errors import (
    ConfigError,
    ModelError,
    OutputExistsError,
    StorageError,
    VideoOpenError,
    VideoWriteError,
)
from fertrack.gui.figures import connection, figures
from fertrack.imaging.overlay import draw_result
from fertrack.imaging.track_labels import person_bgr
from fertrack.live import LiveSession
from fertrack.live.budget import Costs
from fertrack.live.config import LiveConfig
from fertrack.live.display import Display
from fertrack.live.options import LiveOptions
from fertrack.live.state import LiveState, LiveView
from fertrack.reid.config import LinkingConfig
from fertrack.sinks.config import VideoOutputConfig
from fertrack.sinks.encoder import VideoEncoder
from fertrack.sinks.finalise import write_finished
from fertrack.sources import StreamConfig, StreamSource
from fertrack.storage.engine import open_database
from fertrack.storage.models import AnalysisRow
from fertrack.storage.rescore import rescore
from fertrack.testing import FakeDetector, ScenePerson, SyntheticScene
from fertrack.types import Detections, Image
from fertrack.web.numbers import numbers
from tests.support import queries
from tests.support.live_scenes import (
    FPS,
    PAIR,
    SETTINGS,
    LiveScene,
    PatientScene,
    TellingDetector,
    live_pipeline,
)
from tests.support.queries import outputs
from tests.support.stream_servers import Script, mjpeg_server

LONG = 60.0


def session(out: Path, source: LiveScene | None = None, *, look_s: float = 0.0, **options: object) -> LiveSession:
    return LiveSession(
        SETTINGS,
        options=LiveOptions(out=out, **options),
        source=source or LiveScene(),
        pipeline=live_pipeline(look_s=look_s),
    )


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it does not happen"
        time.sleep(0.01)


def picture_times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0) if frame.time is not None]


# What is seen and stored -------------------------------------------------------------------------------------------


def test_a_run_shows_stores_and_sums_up(tmp_path: Path) -> None:
    states: list[LiveState] = []
    with session(tmp_path, duration_s=1.5) as live:
        number = -1
        while not live.wait(0.0):
            view = live.view(number, 0.2)
            if view is not None:
                assert view.number > number
                assert view.image.shape == (PAIR.height, PAIR.width, 3)
                assert not view.image.flags.writeable
                assert view.pred_index <= view.frame_index
                number = view.number
            states.append(live.state())
        assert live.view(number, 0.0) is None
    summary = live.summary
    assert live.error is None
    assert summary is not None
    assert (summary.status, summary.tracks, summary.persons) == ("complete", 2, 2)
    assert summary.analysed + summary.dropped == summary.frames
    assert summary.displayed > 20
    assert summary.latency_ms is not None
    assert summary.age_ms is not None
    assert 0.0 < summary.latency_ms.p50 <= summary.latency_ms.p95 <= summary.latency_ms.p99 < 1000.0
    assert 0.0 < summary.age_ms.p50 < 1000.0
    best = max(states, key=lambda state: len(state.persons))
    assert json.loads(json.dumps(asdict(best)))["persons"][0]["person"] == 1
    assert {person.label for person in best.persons} == {"happiness", "sadness"}
    assert (best.status.state, best.running, best.recording, best.source) == ("live", True, None, "scene")
    assert best.time_s >= max(person.last_seen_s for person in best.persons)
    assert (live.state().status.state, live.state().running) == ("ended", False)
    with open_database(tmp_path / "fertrack.db") as database:
        facts = queries.run_facts(database, "last")
        assert facts.summary.status == "complete"
        assert facts.summary.frames == summary.analysed
        assert facts.summary.dropped == summary.dropped
        timeline = queries.timeline(database, "last")
        stages = queries.stage_timings(database, "last").set_index("stage")
    assert set(timeline["label"]) <= {"happiness", "sadness", "uncertain"}
    assert timeline["time_s"].between(0.0, 2.5).all()
    for stage, measured in (("latency", summary.latency_ms), ("age", summary.age_ms)):
        assert stages.loc[stage, ["p50_ms", "p95_ms", "p99_ms"]].tolist() == pytest.approx(
            [measured.p50, measured.p95, measured.p99], rel=1e-3
        )


def test_boxes_follow_their_faces_between_two_results(tmp_path: Path) -> None:
    """A face that crosses the picture, looked at five times a second: its box is where it is, not where it was."""
    scene = SyntheticScene((ScenePerson((20, 120), (100, 0), size_px=80),), frame_count=100, fps=FPS)
    pipeline = live_pipeline(scene, look_s=0.2)
    moved: list[float] = []
    late: list[float] = []
    with LiveSession(
        SETTINGS,
        options=LiveOptions(out=tmp_path, store=False, fixed=True),
        source=LiveScene(scene, frames=100),
        pipeline=pipeline,
    ) as live:
        number = -1
        while not live.wait(0.0):
            view = live.view(number, 0.1)
            if view is None:
                continue
            number = view.number
            columns = np.flatnonzero((view.image[115:125] == person_bgr(1)).all(axis=2).all(axis=0))
            if view.captured_s > 1.2 and len(columns):
                real_x = scene.persons[0].box(view.captured_s)[0]
                moved.append(float(columns[0] - real_x))
                late.append(100.0 * view.result_age_ms / 1e3)
    assert len(moved) > 10
    assert np.median(np.abs(moved)) < 0.35 * np.median(late), "a box left where it was is 100 px a second late"


def test_slow_analysis_neither_delays_the_display_nor_builds_up(tmp_path: Path) -> None:
    with session(tmp_path, look_s=0.25, store=False, fixed=True) as live:
        until(lambda: live.state().time_s > 3.0)
        state = live.state()
    summary = live.summary
    assert summary is not None
    assert summary.results_hz < 5.0
    assert summary.display_fps > 3 * summary.results_hz
    assert state.dropped > 30
    latency = np.array(live.meters["latency"].values)
    assert latency.max() < 1500.0
    assert np.median(latency[-4:]) < np.median(latency[:4]) + 250.0, "the last result is as late as the first"
    shown = np.array(live.meters["display"].values)
    assert np.median(shown) < 100.0, "a picture is shown when it is captured, whatever analysis does"


def test_results_that_are_too_old_to_be_drawn_are_measured_and_shown_as_old(tmp_path: Path) -> None:
    """On a machine that needs seconds for a look, its faces are hidden, and the age is told all the same."""
    views: list[LiveView] = []
    with session(tmp_path, look_s=1.7, fixed=True, duration_s=4.5) as live:
        while not live.wait(0.0):
            view = live.view(views[-1].number if views else -1, 0.2)
            if view is not None:
                views.append(replace(view, image=view.image[:1]))
    summary = live.summary
    assert summary is not None
    assert summary.latency_ms is not None
    assert summary.age_ms is not None
    assert summary.latency_ms.p50 > 1650.0
    assert summary.age_ms.p50 > 1650.0
    assert summary.age_ms.p99 > summary.age_ms.p50 + 500.0, "not cut off where faces are hidden"
    known = [view for view in views if view.pred_index >= 0]
    assert known
    assert all(view.result_age_ms > 1650.0 for view in known)
    assert views[-1].pred_index >= 0, "a result that is old is not 'no result yet'"
    with open_database(tmp_path / "fertrack.db") as database:
        stages = queries.stage_timings(database, "last").set_index("stage")
    assert stages.loc["age", "p50_ms"] == pytest.approx(summary.age_ms.p50, rel=1e-3)
    assert stages.loc["latency", "p50_ms"] == pytest.approx(summary.latency_ms.p50, rel=1e-3)


def test_what_was_never_measured_is_absent_and_not_zero(tmp_path: Path) -> None:
    """The only result comes when nothing is displayed any more."""
    with session(tmp_path, LiveScene(frames=10), look_s=1.0) as live:
        assert live.wait(LONG)
    summary = live.summary
    assert summary is not None
    assert summary.analysed >= 1
    assert (summary.latency_ms, summary.age_ms) == (None, None)
    state = live.state()
    assert (state.latency_ms, state.age_ms) == (None, None)
    assert numbers(state)["age_ms"] == {"p50": None, "p95": None, "p99": None}
    assert ("Age of result", "–") in figures(state)
    with open_database(tmp_path / "fertrack.db") as database:
        stages = set(queries.stage_timings(database, "last")["stage"])
    assert "detect" in stages
    assert not stages & {"age", "latency"}, "the time it took to store nothing is no age"


def test_results_too_few_to_follow_anyone_are_said_and_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with session(tmp_path, look_s=1.3, fixed=True) as live:
        until(lambda: bool(live.state().notice))
        said = live.state()
        assert connection(said) == said.notice
        until(lambda: len(live.meters["results"]) >= 5)
    assert live.summary is not None
    assert "results a second are too few to follow anyone" in said.notice
    assert caplog.text.count("too few to follow anyone") == 1
    with open_database(tmp_path / "fertrack.db") as database:
        assert said.notice in queries.run_facts(database, "last").summary.notes


def test_frames_that_the_source_left_out_are_frames_that_were_dropped(tmp_path: Path) -> None:
    source = LiveScene()
    source.dropped = 500
    with session(tmp_path, source, store=False) as live:
        until(lambda: len(live.meters["results"]) > 5)
        state = live.state()
    assert live.summary is not None
    assert state.dropped >= 500
    assert state.frames >= 500 + 6
    assert state.frames - state.dropped <= live.summary.analysed
    assert live.summary.frames - live.summary.dropped == live.summary.analysed


def test_what_is_found_out_at_the_end_is_noted_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that are missing in the recording are known only after the run's rows are complete."""
    encode = VideoEncoder.encode

    def slowly(self: VideoEncoder, time_s: float) -> None:
        time.sleep(0.15)
        encode(self, time_s)

    monkeypatch.setattr(VideoEncoder, "encode", slowly)
    with session(tmp_path, record=tmp_path / "a.mp4", duration_s=1.5) as live:
        assert live.wait(LONG)
    assert live.summary is not None
    assert live.summary.record_dropped > 0
    with open_database(tmp_path / "fertrack.db") as database:
        notes = queries.run_facts(database, "last").summary.notes
    assert f"{live.summary.record_dropped} displayed frames are not in the recording: the encoder was too slow" in notes
    assert notes == live.summary.notes


def test_faces_without_an_estimate_leave_rows_that_say_so(tmp_path: Path) -> None:
    live = session(tmp_path, duration_s=1.5)
    live.start()
    live._monitor.schedule.budget = type(live._monitor.schedule.budget)(2, 0, 4.0)
    live._monitor.schedule._controller = None
    live.wait(LONG)
    assert live.error is None
    with open_database(tmp_path / "fertrack.db") as database:
        before = queries.timeline(database, "last")
        with database.reading() as connection:
            looks = connection.execute(AnalysisRow.__table__.select().order_by(AnalysisRow.frame_index)).all()
        pipeline = live_pipeline()
        rescore(database, "last", pipeline.calibrator, pipeline.smoothing)
        after = queries.timeline(database, "last")
    assert {row.detect_every for row in looks} == {2}
    assert {row.classify_hz for row in looks} == {4.0}
    asked = np.array([row.classified for row in looks])
    assert 0 < asked.sum() < len(asked) - 3
    settled = before[before["time_s"] > 0.8]
    assert set(settled["label"]) == {"happiness", "sadness"}, "a face keeps its label until the next estimate"
    assert after.equals(before), "rescoring what has no estimate changes nothing"


# Ways to end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stop", "duration", "source ends", "with"])
def test_however_it_ends_the_run_is_complete_and_the_recording_plays(tmp_path: Path, how: str) -> None:
    source = LiveScene(frames=60 if how == "source ends" else None)
    live = session(tmp_path, source, record=tmp_path / "shown.mp4", duration_s=1.2 if how == "duration" else None)
    with live:
        if how == "stop":
            until(lambda: live.state().time_s > 1.0 and live.state().results_hz > 0.0)
            threading.Thread(target=live.stop).start()
        elif how == "with":
            until(lambda: live.state().time_s > 1.0 and live.state().results_hz > 0.0)
        if how != "with":
            assert live.wait(LONG)
    assert live.ended
    assert source.closed.is_set()
    assert live.summary is not None
    assert live.summary.status == "complete"
    assert live.summary.recordings == (str(tmp_path / "shown.mp4"),)
    assert not list(tmp_path.glob("*.part.*"))
    times = picture_times(tmp_path / "shown.mp4")
    assert times[0] == 0.0
    assert len(times) + live.summary.record_dropped >= live.summary.displayed - 1
    assert (np.diff(times) > 0).all()
    assert times[-1] == pytest.approx(live.summary.duration_s, abs=0.3)
    with open_database(tmp_path / "fertrack.db") as database:
        assert queries.run_facts(database, "last").summary.status == "complete"
        (recorded,) = outputs(database)
    assert (recorded.kind, recorded.path) == ("video", tmp_path / "shown.mp4")
    assert recorded.made.offset_s == pytest.approx(0.0, abs=0.2)


@pytest.mark.parametrize("how", ["stop", "duration"])
def test_outages_are_noted_with_the_run_however_it_ends(tmp_path: Path, how: str) -> None:
    """The notes that a source makes when it is closed belong to the run, too."""
    config = StreamConfig(longest_lag_s=30, backoff_start_s=0.04, backoff_max_s=0.2, stall_timeout_s=20)
    with mjpeg_server(Script(cut_after=25, fps=50)) as address:
        source = StreamSource(address, config)
        live = session(tmp_path, source, duration_s=4.0 if how == "duration" else None)  # type: ignore[arg-type]
        with live:
            if how == "stop":
                until(lambda: live.state().reconnects >= 2)
                live.stop()
            assert live.wait(LONG)
    assert live.summary is not None
    assert live.summary.reconnects >= 2
    with open_database(tmp_path / "fertrack.db") as database:
        notes = queries.run_facts(database, "last").summary.notes
    assert any("the connection was lost and made again" in note for note in notes)
    assert set(notes) <= set(live.summary.notes)


def test_a_source_that_breaks_off_leaves_everything_and_says_so(tmp_path: Path) -> None:
    with session(tmp_path, LiveScene(frames=60, breaks=True), record=tmp_path / "shown.mp4") as live:
        assert live.wait(LONG)
    assert live.summary is not None
    assert (live.summary.status, live.summary.error) == ("interrupted", "scene: the camera is gone")
    assert any("broke off" in note for note in live.summary.notes)
    assert len(picture_times(tmp_path / "shown.mp4")) > 10
    with open_database(tmp_path / "fertrack.db") as database:
        assert queries.run_facts(database, "last").summary.status == "interrupted"


def test_a_recording_has_the_real_intervals(tmp_path: Path) -> None:
    """The source pauses in the middle: the last picture is shown again meanwhile, and recorded once."""
    source = LiveScene(frames=75, gaps_s={40: 1.5})
    seen = set()
    shown: list[LiveView] = []
    with session(tmp_path, source, record=tmp_path / "shown.mkv", store=False) as live:
        while not live.wait(0.02):
            seen.add(live.state().status.state)
            view = live.view(shown[-1].number if shown else -1, 0.0)
            shown += [view] if view is not None else []
    times = np.array(picture_times(tmp_path / "shown.mkv"))
    assert {"live", "reconnecting"} <= seen
    assert live.summary is not None
    assert times[-1] == pytest.approx(75 / FPS + 1.5, abs=0.4), "as long as it was in life"
    steps = np.diff(times)
    assert steps.max() == pytest.approx(1.5, abs=0.25), "nothing is recorded that was not captured"
    assert np.median(steps) == pytest.approx(1 / FPS, abs=0.015)
    indices = [view.frame_index for view in shown]
    assert max(indices.count(index) for index in indices) >= 2, "shown again, with what is wrong"


@pytest.mark.parametrize(("away_s", "ids"), [(0.4, 2), (7.0, 4)])
def test_identities_outlive_an_outage_shorter_than_max_age(tmp_path: Path, away_s: float, ids: int) -> None:
    """Lost tracks are taken up again for some seconds, ``rejoin_s``."""
    still = SyntheticScene((ScenePerson((60, 100)), ScenePerson((250, 160))), frame_count=100, fps=FPS)
    source = LiveScene(still, frames=100, gaps_s={50: away_s})
    with LiveSession(
        SETTINGS, options=LiveOptions(out=tmp_path, store=False), source=source, pipeline=live_pipeline(still)
    ) as live:
        live.wait(LONG)
    assert live.summary is not None
    assert live.summary.tracks == ids


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    process = psutil.Process()
    threads, files, children = threading.active_count(), len(process.open_files()), process.children()
    for _ in range(3):
        with session(tmp_path, record=tmp_path / "shown.mp4", overwrite=True) as live:
            live.view(timeout_s=5.0)
    assert threading.active_count() == threads
    assert len(process.open_files()) == files
    assert process.children() == children


def test_stopping_before_the_first_picture(tmp_path: Path) -> None:
    with session(tmp_path, LiveScene(gaps_s={0: LONG})) as live:
        assert live.view(timeout_s=0.1) is None
        assert live.state().status.state in ("connecting", "reconnecting")
        with pytest.raises(VideoWriteError, match="no frame"):
            live.start_recording()
    assert live.error is None
    assert live.summary is not None
    assert (live.summary.frames, live.summary.run) == (0, None)


@pytest.mark.parametrize("duration_s", [None, 0.001])
def test_ending_before_the_first_result_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, duration_s: float | None
) -> None:
    """Stopped when there is a picture, and nothing of it was analysed; or with hardly any time at all."""
    live = session(tmp_path, record=tmp_path / "shown.mp4", duration_s=duration_s)
    start = Display.start

    def stopped_meanwhile(display: Display) -> None:
        live.stop()
        start(display)

    if duration_s is None:
        monkeypatch.setattr(Display, "start", stopped_meanwhile)
    with live:
        assert live.wait(LONG)
    assert live.error is None
    assert live.summary is not None
    assert live.summary.run is not None
    assert live.summary.status == ("interrupted" if duration_s is None else "complete")
    with open_database(tmp_path / "fertrack.db") as database:
        assert queries.run_facts(database, "last").summary.status == live.summary.status


def test_a_source_without_pictures_is_an_error(tmp_path: Path) -> None:
    with session(tmp_path, LiveScene(frames=0)) as live:
        live.wait(LONG)
    assert isinstance(live.error, VideoOpenError)
    assert "no frame came" in live.state().error
    assert live.summary is None


def test_an_error_of_the_database_ends_the_run_and_is_told(tmp_path: Path) -> None:
    live = session(tmp_path, record=tmp_path / "shown.mp4")
    with live:
        until(lambda: live.state().time_s > 0.5)
        (tmp_path / "fertrack.db").chmod(0o444)
        with open_database(tmp_path / "fertrack.db") as database, database.writing() as connection:
            connection.exec_driver_sql("DROP TABLE looks")
        assert live.wait(LONG)
    assert live.error is not None
    assert "looks" in str(live.error)
    assert len(picture_times(tmp_path / "shown.mp4")) > 5


class Broken(FakeDetector):
    """Sees faces for a while, then fails as a network does."""

    def detect(self, images: list[Image]) -> list[Detections]:  # type: ignore[override]
        self.looks = getattr(self, "looks", 0) + 1
        if self.looks > 20:
            raise ModelError("the detector broke")
        return super().detect(images)


def test_a_failed_run_leaves_its_recording_and_names_to_be_found(tmp_path: Path) -> None:
    """Whoever is erased later is taken out of these as well."""
    pipeline = live_pipeline()
    pipeline.analyzer.detector = Broken(PAIR)
    live = LiveSession(
        SETTINGS,
        options=LiveOptions(out=tmp_path, record=tmp_path / "shown.mp4"),
        source=LiveScene(),
        pipeline=pipeline,
    )
    with live:
        until(lambda: len(live.state().persons) == 2 or live.ended)
        live.rename(1, "Ana")
        assert live.wait(LONG)
    assert isinstance(live.error, ModelError)
    assert len(picture_times(tmp_path / "shown.mp4")) > 5
    with open_database(tmp_path / "fertrack.db") as database:
        assert queries.run_facts(database, "last").summary.status == "failed"
        (recorded,) = outputs(database)
        assert "Ana" in queries.persons(database, "last")["person"].tolist()
    assert recorded.path == tmp_path / "shown.mp4"
    assert recorded.made.offset_s == pytest.approx(0.0, abs=0.5)


def test_a_recording_is_known_while_the_run_goes_on(tmp_path: Path) -> None:
    """A program that is killed leaves a recording, too."""
    with session(tmp_path, record=tmp_path / "shown.mp4") as live:
        until(lambda: live.state().time_s > 0.5)
        with open_database(tmp_path / "fertrack.db") as database:
            until(lambda: len(outputs(database)) == 1)
        live.stop_recording()
        live.start_recording(tmp_path / "b.mp4")
        with open_database(tmp_path / "fertrack.db") as database:
            until(lambda: len(outputs(database)) == 2)
            later = outputs(database)[1]
    assert later.made.offset_s > 0.4


def test_what_really_went_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linking has nothing to be stored for, and no run to be stored with."""

    def fail(*_: object, **__: object) -> None:
        raise StorageError("disk is full")

    settings = SETTINGS.model_copy(update={"linking": LinkingConfig(method="appearance")})
    monkeypatch.setattr("fertrack.sinks.database.RunWriter", fail)
    with LiveSession(settings, options=LiveOptions(out=tmp_path), source=LiveScene(), pipeline=live_pipeline()) as live:
        live.wait(LONG)
    assert isinstance(live.error, StorageError)
    assert str(live.error) == "disk is full"


def test_an_error_on_closing_does_not_leave_anybody_waiting(tmp_path: Path) -> None:
    class Stuck(LiveScene):
        def close(self) -> None:
            super().close()
            raise OSError("no such device")

    with session(tmp_path, Stuck(frames=20)) as live:
        assert live.wait(LONG)
    assert "no such device" in str(live.error)


def test_pictures_that_cannot_be_drawn_are_said_and_end_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(range(1000))

    def sometimes(*arguments: object, **options: object) -> None:
        if next(drawn) % 2 == 0:
            raise ValueError("no such letter")
        draw_result(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("fertrack.live.display.draw_result", sometimes)
    with session(tmp_path, duration_s=1.5, record=tmp_path / "shown.mp4") as live:
        assert live.wait(LONG)
    assert live.summary is not None
    assert live.summary.displayed > 10
    assert any("could not be displayed: ValueError: no such letter" in note for note in live.summary.notes)
    assert picture_times(tmp_path / "shown.mp4")[-1] > 1.0


# Recording and names -----------------------------------------------------------------------------------------------


def test_recordings_begin_and_end_at_any_time(tmp_path: Path) -> None:
    with session(tmp_path, store=False) as live:
        live.view(timeout_s=5.0)
        path = live.start_recording()
        assert path.parent == tmp_path
        assert live.state().recording == str(path)
        with pytest.raises(VideoWriteError, match="in progress"):
            live.start_recording(tmp_path / "other.mp4")
        began = live.state().displayed
        until(lambda: live.state().displayed > began + 15)
        assert live.stop_recording() == path
        assert live.stop_recording() is None
        assert live.state().recording is None
        assert len(picture_times(path)) >= 10
        with pytest.raises(OutputExistsError):
            live.start_recording(path)
        live.start_recording(tmp_path / "second.mp4")
        began = live.state().displayed
        until(lambda: live.state().displayed > began + 5)
    assert live.summary is not None
    assert live.summary.recordings == (str(path), str(tmp_path / "second.mp4"))
    with pytest.raises(VideoWriteError, match="has ended"):
        live.start_recording(tmp_path / "third.mp4")


def test_a_recording_that_is_being_completed_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped on the page, and the run right after it."""
    begun, go_on = threading.Event(), threading.Event()

    def slowly(*arguments: object, **options: object) -> None:
        begun.set()
        go_on.wait(20.0)
        write_finished(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("fertrack.live.recorder.write_finished", slowly)
    with session(tmp_path, record=tmp_path / "shown.mp4") as live:
        until(lambda: live.state().displayed > 10)
        on_page = threading.Thread(target=live.stop_recording)
        on_page.start()
        assert begun.wait(20.0)
        live.stop()
        assert not live.wait(1.0)
        with open_database(tmp_path / "fertrack.db") as database:
            until(lambda: queries.run_facts(database, "last").summary.status == "complete", 20.0)
        go_on.set()
    on_page.join()
    assert live.summary is not None
    assert live.summary.recordings == (str(tmp_path / "shown.mp4"),)
    with open_database(tmp_path / "fertrack.db") as database:
        assert [each.path.name for each in outputs(database)] == ["shown.mp4"]


def test_after_a_recording_that_failed_another_can_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = VideoEncoder.encode

    def full(self: VideoEncoder, timestamp_s: float) -> None:
        if self.frames > 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        encode(self, timestamp_s)

    monkeypatch.setattr(VideoEncoder, "encode", full)
    with session(tmp_path, record=tmp_path / "first.mp4") as live:
        until(lambda: live.state().displayed > 0)
        until(lambda: live.state().recording is None)
        monkeypatch.setattr(VideoEncoder, "encode", encode)
        assert live.start_recording(tmp_path / "second.mp4") == tmp_path / "second.mp4"
        began = live.state().displayed
        until(lambda: live.state().displayed > began + 10)
    assert live.summary is not None
    assert str(tmp_path / "second.mp4") in live.summary.recordings
    assert any("No space left" in note for note in live.summary.notes)


@pytest.mark.parametrize("target", ["clip.mp4", "linked.mp4", "draft.mp4"])
def test_a_recording_never_replaces_what_is_read(tmp_path: Path, target: str) -> None:
    """Neither by its name, nor by another name of the file, nor by what is written meanwhile."""
    clip = tmp_path / ("draft.part.mp4" if target == "draft.mp4" else "clip.mp4")
    clip.write_bytes(b"a video")
    (tmp_path / "linked.mp4").symlink_to(clip)
    path = tmp_path / target
    live = LiveSession(
        SETTINGS,
        str(clip),
        LiveOptions(out=tmp_path, record=path, overwrite=True),
        source=LiveScene(),
        pipeline=live_pipeline(),
    )
    with pytest.raises(OutputExistsError, match="being read"):
        live.start()
    source = LiveScene()
    source.info = replace(source.info, path=str(clip))
    with session(tmp_path, source, overwrite=True) as live:
        until(lambda: live.state().displayed > 0)
        with pytest.raises(OutputExistsError, match="being read"):
            live.start_recording(path)
    assert clip.read_bytes() == b"a video"


def test_faces_that_are_to_be_hidden_are_not_recorded(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(
        update={
            "video": VideoOutputConfig(anonymise=True),
            "privacy": SETTINGS.privacy.model_copy(update={"thumbnails": True}),
        }
    )
    wishes, pipeline = LiveOptions(out=tmp_path, duration_s=1.0), live_pipeline()
    recorded = replace(wishes, record=tmp_path / "shown.mp4")
    with pytest.raises(ConfigError, match="anonymise"):
        LiveSession(settings, options=recorded, source=LiveScene(), pipeline=pipeline).start()
    with LiveSession(settings, options=wishes, source=LiveScene(), pipeline=pipeline) as live:
        until(lambda: live.state().displayed > 0)
        with pytest.raises(ConfigError, match="anonymise"):
            live.start_recording()
        assert live.wait(LONG)
    assert not list(tmp_path.glob("*.mp4"))
    assert live.summary is not None
    assert any("thumbnails" in note for note in live.summary.notes)


def test_the_budget_asks_for_no_more_pictures_than_are_ever_displayed(tmp_path: Path) -> None:
    """Else a fast machine would give up analysis for pictures that must not be shown."""
    settings = SETTINGS.model_copy(update={"live": LiveConfig(display_fps=25.0, most_display_fps=15.0)})
    with LiveSession(
        settings, options=LiveOptions(out=tmp_path, store=False), source=LiveScene(), pipeline=live_pipeline()
    ) as live:
        controller = live._monitor.schedule._controller
        assert controller is not None
        found = [controller.update(Costs(5.0, 1.0, 1.0, 50.0, 15.0), float(second)) for second in range(8)]
    assert {budget.detect_every for budget in found} == {1}


def test_a_stop_that_comes_before_the_start_is_heeded(tmp_path: Path) -> None:
    live = session(tmp_path)
    live.stop()
    with live:
        assert live.wait(LONG)
    assert live.error is None


def test_names_given_live_are_stored(tmp_path: Path) -> None:
    with session(tmp_path) as live:
        until(lambda: len(live.state().persons) == 2)
        live.rename(1, "Ana")
        assert [person.name for person in live.state().persons] == ["Ana", "P2"]
        with pytest.raises(ValueError, match="no person"):
            live.rename(9, "Nobody")
    with open_database(tmp_path / "fertrack.db") as database:
        assert "Ana" in queries.persons(database, "last")["person"].tolist()


def test_numbers_seen_live_find_the_same_persons_in_the_database(tmp_path: Path) -> None:
    """2 goes and comes back as P3, until that is known; who comes after that is P4, and stays P4."""
    scene = SyntheticScene(
        (
            ScenePerson((60, 60), script=((0.0, "happiness"),)),
            ScenePerson((250, 60), script=((0.0, "sadness"),), visible_s=((0.0, 1.2), (2.2, 6.0))),
            ScenePerson((60, 180), script=((0.0, "fear"),), visible_s=((3.2, 6.0),)),
        ),
        frame_count=96,
        fps=20.0,
    )
    linking = LinkingConfig(method="appearance", min_quality=0.0)
    settings = SETTINGS.model_copy(
        update={
            "linking": linking,
            "live": LiveConfig(fixed=True),
            "tracking": SETTINGS.tracking.model_copy(update={"max_age": 3, "max_age_s": 0.0, "rejoin_s": 0.0}),
        }
    )
    detector = TellingDetector(scene)
    live = LiveSession(
        settings,
        options=LiveOptions(out=tmp_path),
        source=PatientScene(scene, detector),
        pipeline=live_pipeline(scene, settings=settings, detector=detector),
    )
    seen: set[tuple[int, int | None]] = set()
    live.listen(lambda _: seen.update((one.person, one.track) for one in live.state().persons), lambda: None)
    with live:
        assert live.wait(LONG)
    summary = live.summary
    assert summary is not None
    assert {(1, 1), (2, 2), (2, 3), (4, 4)} <= seen
    with open_database(tmp_path / "fertrack.db") as database:
        stored = queries.persons(database, "last").set_index("person")["track_ids"]
        notes = queries.run_facts(database, "last").summary.notes
    assert stored.to_dict() == {"P1": (1,), "P2": (2, 3), "P4": (4,)}
    assert summary.persons == 3
    assert any("P3 is P2" in note for note in summary.notes)
    assert notes == summary.notes, "whoever looks at the run later reads it, too"


def test_an_unusable_recording_is_refused_before_anything_begins(tmp_path: Path) -> None:
    (tmp_path / "shown.mp4").touch()
    source = LiveScene()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        session(tmp_path, source, record=tmp_path / "shown.mp4").start()
    assert not (tmp_path / "fertrack.db").exists()


def test_a_purpose_can_be_required(tmp_path: Path) -> None:
    settings = Settings.model_validate({"privacy": {"require_purpose": True}})
    with pytest.raises(ConfigError, match="purpose"):
        LiveSession(settings, options=LiveOptions(out=tmp_path), source=LiveScene(), pipeline=live_pipeline()).start()


@pytest.mark.parametrize("options", [{"duration_s": 0.0}, {"record": Path("a.mp4"), "display": False}])
def test_misuse(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be above 0|needs display"):
        LiveOptions(**options)  # type: ignore[arg-type]


# open_live ---------------------------------------------------------------------------------------------------------


def test_open_live_gives_the_newest_result_and_ends_with_its_loop() -> None:
    source = LiveScene()
    seen = []
    for result in fertrack.open_live(settings=SETTINGS, source=source, pipeline=live_pipeline()):
        seen.append(result.frame_index)
        if len(seen) == 5:
            break
        time.sleep(0.15)
    assert source.closed.is_set()
    assert seen[-1] - seen[0] >= 3 * 4, "what came meanwhile is left out"


def test_open_live_ends_with_its_source_its_block_or_close() -> None:
    every = list(fertrack.open_live(settings=SETTINGS, source=LiveScene(frames=30), pipeline=live_pipeline()))
    assert 0 < len(every) <= 30
    source = LiveScene()
    with fertrack.open_live(settings=SETTINGS, source=source, pipeline=live_pipeline()) as results:
        assert next(results).frame_index >= 0
    assert source.closed.is_set()
    assert list(results) == []
    with pytest.raises(VideoOpenError, match="no frame"):
        list(fertrack.open_live(settings=SETTINGS, source=LiveScene(frames=0), pipeline=live_pipeline()))
