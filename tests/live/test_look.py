"""What a live schedule asks of a look: no estimates, another input size; and who recognises faces meanwhile."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fertrack
from fertrack.detectors.centerface import Options, build
from fertrack.embedders import build_embedder, can_recognise
from fertrack.errors import ModelError
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig, SmoothingConfig
from fertrack.expression.fold import ExpressionFold
from fertrack.live import LiveSession
from fertrack.live.options import LiveOptions
from fertrack.pipeline.analyzer import FaceAnalyzer
from fertrack.reid.config import LinkingConfig
from fertrack.sinks.reid import ReidSink
from fertrack.sinks.reidentifier import Reidentifier
from fertrack.testing import FakeClassifier, FakeDetector, ScenePerson, SyntheticScene
from fertrack.types import EXPRESSIONS, AnalysisRequest, FloatArray, Frame, FrameResult, Image
from tests.support.live_scenes import PAIR, SETTINGS, LiveScene, live_pipeline
from tests.support.paths import REPOSITORY

CALIBRATOR = Calibrator(CalibrationConfig(thresholds={}), ClassifierCalibration.uncalibrated("test"))
FEAR = np.zeros((1, 7), np.float32)
FEAR[0, EXPRESSIONS.index("fear")] = 6.0
NONE = np.full((1, 7), np.nan, np.float32)
ONE = np.array([1])


class _CountingClassifier(FakeClassifier):
    calls = 0

    def logits(self, crops: Image) -> FloatArray:
        self.calls += 1
        return super().logits(crops)


# Faces without an estimate -----------------------------------------------------------------------------------------


def test_a_look_without_estimates_finds_the_same_faces() -> None:
    classifier = _CountingClassifier()
    analyzer = FaceAnalyzer(FakeDetector(PAIR), classifier)
    frames = [Frame(5, 0.1, PAIR.image(5)), Frame(5, 0.1, PAIR.image(5), request=AnalysisRequest(classify=False))]
    asked, spared = analyzer.analyse(frames)
    assert_array_equal(asked.faces.detections.xyxy, spared.faces.detections.xyxy)
    assert np.isnan(spared.faces.logits).all()
    assert classifier.calls == 1
    assert not np.isnan(asked.faces.logits).any()
    assert spared.request == AnalysisRequest(classify=False)


def test_a_track_keeps_its_estimate_until_the_next_one() -> None:
    fold = ExpressionFold(CALIBRATOR, SmoothingConfig())
    known = fold.update(0.0, ONE, FEAR)
    kept = fold.update(0.1, ONE, NONE)
    assert_array_equal(kept.smoothed, known.smoothed)
    assert_array_equal(kept.labels, known.labels)
    assert np.isnan(kept.probabilities).all(), "of this frame alone nothing is known"


def test_frames_without_an_estimate_do_not_change_what_comes_after() -> None:
    anger = np.roll(FEAR, 4, axis=1)
    with_gaps, without = ExpressionFold(CALIBRATOR, SmoothingConfig()), ExpressionFold(CALIBRATOR, SmoothingConfig())
    for fold in (with_gaps, without):
        fold.update(0.0, ONE, FEAR)
    with_gaps.update(0.1, ONE, NONE)
    with_gaps.update(0.2, ONE, NONE)
    last, expected = with_gaps.update(0.3, ONE, anger), without.update(0.3, ONE, anger)
    assert_array_equal(last.smoothed, expected.smoothed)
    assert_array_equal(last.labels, expected.labels)


def test_a_track_never_estimated_or_long_ago_is_uncertain() -> None:
    fold = ExpressionFold(CALIBRATOR, SmoothingConfig(reset_after_s=2.0))
    for time_s, again in ((0.0, FEAR), (2.5, NONE)):
        found = fold.update(time_s, ONE, again)
    assert found.labels.tolist() == [-1]
    assert found.smoothed[0] == pytest.approx(1 / 7)
    new = fold.update(2.6, np.array([7, -1]), np.repeat(NONE, 2, axis=0))
    assert new.labels.tolist() == [-1, -1]
    assert new.smoothed[0] == pytest.approx(1 / 7)


def test_what_is_remembered_of_tracks_does_not_grow() -> None:
    fold = ExpressionFold(CALIBRATOR, SmoothingConfig())
    for number in range(3000):
        fold.update(number * 0.1, np.array([number]), FEAR)
    assert len(fold._last) < 400


# Input size --------------------------------------------------------------------------------------------------------


def test_another_input_size_is_the_same_as_a_detector_built_for_it() -> None:
    image = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8)
    large = build(Options(long_side=640, score_threshold=0.01))
    analyzer = FaceAnalyzer(large, FakeClassifier())
    assert analyzer.resizable
    small = build(Options(long_side=320, score_threshold=0.01)).detect([image])[0]
    (looked,) = analyzer.analyse([Frame(0, 0.0, image, request=AnalysisRequest(long_side=320))])
    assert_array_equal(looked.faces.detections.xyxy, small.xyxy)
    (own,) = analyzer.analyse([Frame(0, 0.0, image)])
    assert_array_equal(own.faces.detections.xyxy, large.detect([image])[0].xyxy)
    assert not FaceAnalyzer(FakeDetector(PAIR), FakeClassifier()).resizable


# Recognition beside the picture ------------------------------------------------------------------------------------


@pytest.mark.skipif(not can_recognise(), reason="face recognition is not installed")
def test_a_process_of_its_own_gives_the_same_vectors_and_lets_others_go_on() -> None:
    apart, here = build_embedder(recognise=True, in_subprocess=True), build_embedder(recognise=True)
    try:
        crops = np.random.default_rng(0).integers(0, 255, (2, apart.crop_size, apart.crop_size, 3), np.uint8)
        assert apart.fingerprint == here.fingerprint
        assert_array_equal(apart.template, here.template)
        assert_array_equal(apart.embed(crops), here.embed(crops))
        assert apart.embed(crops[:0]).shape[0] == 0
        with pytest.raises(ValueError, match="crops must be"):
            apart.embed(crops[:, :10])
        with pytest.raises(TypeError, match="uint8"):
            apart.embed(crops.astype(np.float32))  # type: ignore[arg-type]
        apart._child.kill()  # type: ignore[attr-defined]
        with pytest.raises(ModelError, match="ended unexpectedly"):
            apart.embed(crops)
    finally:
        apart.close()  # type: ignore[attr-defined]
    apart.close()  # type: ignore[attr-defined]


class _SlowEmbedder:
    """Everybody looks the same, after some time."""

    crop_size = 32
    template = FakeClassifier().template
    fingerprint = "slow"
    recognises = True
    in_subprocess = True

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def embed(self, crops: Image) -> FloatArray:
        assert self.go_on.wait(30.0)
        return np.ones((len(crops), 4), np.float32)


class _Recorder:
    name, needs_image, notes, work_ms = "seen", True, (), ()

    def __init__(self) -> None:
        self.results: list[tuple[FrameResult, Image | None]] = []

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, result: FrameResult, image: Image | None) -> None:
        self.results.append((result, image))

    def finish(self, _summary: object) -> None:
        pass


def test_the_frame_loop_does_not_wait_for_recognition() -> None:
    seen = _Recorder()
    live_pipeline().run(LiveScene(frames=60), [seen])  # type: ignore[list-item]
    embedder = _SlowEmbedder()
    sink = ReidSink(embedder, LinkingConfig(min_quality=0.0), live=True)
    with sink:
        started = time.monotonic()
        for result, image in seen.results:
            sink.write(result, image)
        assert time.monotonic() - started < 10.0
        assert sink.persons == {}, "nobody has answered yet"
        embedder.go_on.set()
        last, image = seen.results[-1]
        deadline_s = time.monotonic() + 10.0
        while len(sink.persons) < 2 and time.monotonic() < deadline_s:
            sink.write(last, image)
            time.sleep(0.01)
    assert sorted(sink.persons) == [1, 2]
    assert len(set(sink.persons.values())) == 2, "two who are seen together are two, however alike"


class _AllAlike(_SlowEmbedder):
    in_subprocess = False

    def embed(self, crops: Image) -> FloatArray:
        return np.ones((len(crops), 4), np.float32) / 2


def test_somebody_known_from_an_earlier_run_is_called_by_name_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LinkingConfig(method="face", across=True, store_embeddings=True, min_quality=0.0)
    settings = SETTINGS.model_copy(update={"linking": config})
    monkeypatch.setattr(
        "fertrack.live.resources.build_reidentifier", lambda config, live: Reidentifier(_AllAlike(), config)
    )
    scene = SyntheticScene((ScenePerson((60, 100)),), frame_count=100, fps=PAIR.fps)

    def names_seen(name: str) -> set[str]:
        seen = set()
        source = LiveScene(scene)
        with LiveSession(
            settings, options=LiveOptions(out=tmp_path), source=source, pipeline=live_pipeline(scene)
        ) as live:
            deadline_s = time.monotonic() + 15.0
            while time.monotonic() < deadline_s and not live.ended:
                seen |= {person.name for person in live.state().persons}
                if live.state().time_s > 2.0 and (not name or name in seen):
                    break
                time.sleep(0.02)
            if not name:
                live.rename(1, "Ana")
        assert live.error is None
        return seen

    assert names_seen("") == {"P1"}
    assert "Ana" in names_seen("Ana")


# The example -------------------------------------------------------------------------------------------------------


def test_the_five_lines_of_the_guide_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = (REPOSITORY / "fertrack" / "guide" / "live.md").read_text(encoding="utf-8")
    example = next(block for block in text.split("```python\n")[1:] if "open_live" in block).partition("```")[0]
    opened = fertrack.open_live

    def instead(_location: int) -> object:
        return opened(settings=SETTINGS, source=LiveScene(frames=60), pipeline=live_pipeline())

    monkeypatch.setattr(fertrack, "open_live", instead, raising=False)
    exec(compile(example, "live.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith("ID 1 happiness") for line in lines)
    assert not any("ID -1" in line for line in lines), "faces that are not followed yet"
