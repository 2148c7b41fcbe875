"""Live sources for tests: a scripted scene that comes at its own pace, with outages and other troubles."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from fertrack.config import Settings
from fertrack.errors import VideoReadError
from fertrack.expression.calibration import Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig
from fertrack.pipeline.analyzer import FaceAnalyzer
from fertrack.pipeline.pipeline import Pipeline
from fertrack.sources.stream.status import StreamStatus
from fertrack.testing import FakeClassifier, FakeDetector, ScenePerson, SyntheticScene
from fertrack.types import Detections, Frame, Image, VideoInfo

FPS = 50.0
PAIR = SyntheticScene(
    (
        ScenePerson((60, 100), (40, 0), script=((0.0, "happiness"),)),
        ScenePerson((250, 160), script=((0.0, "sadness"),)),
    ),
    frame_count=100,
    fps=FPS,
)

SETTINGS = Settings.model_validate(
    {
        "linking": {"method": "off"},
        "privacy": {"purpose": "test"},
        "storage": {"flush_s": 0.2},
        "calibration": {"thresholds": {}, "fallback_threshold": 0.3},
    }
)


class LiveScene:
    """A scene in real time; by default over and over, until it is closed.

    Args:
        scene: what is shown.
        frames: so many, then it ends; None: without end.
        gaps_s: seconds that the source is away before a frame, by its number.
        breaks: raises after the last frame instead of ending.
    """

    def __init__(
        self,
        scene: SyntheticScene = PAIR,
        *,
        frames: int | None = None,
        gaps_s: Mapping[int, float] | None = None,
        breaks: bool = False,
    ) -> None:
        self.info = VideoInfo(name="scene", width=scene.width, height=scene.height, fps=scene.fps)
        self.decode_failures = self.dropped = 0
        self.notes: list[str] = []
        self.status = StreamStatus("connecting")
        self.closed = threading.Event()
        self.started_monotonic_s = 0.0
        self.given = 0
        self._scene = scene
        self._frames = frames
        self._gaps_s = dict(gaps_s or {})
        self._breaks = breaks

    def __iter__(self) -> Iterator[Frame]:
        due_s = self.started_monotonic_s = time.monotonic()
        reconnects = 0
        while self._frames is None or self.given < self._frames:
            if self.given in self._gaps_s:
                self.status = StreamStatus("reconnecting", 1, "scene does not answer", reconnects)
                due_s += self._gaps_s[self.given]
                reconnects += 1
            if self.closed.wait(max(0.0, due_s - time.monotonic())):
                return
            self.status = StreamStatus("live", reconnects=reconnects)
            image = self._scene.image(self.given % self._scene.frame_count)
            yield Frame(self.given, time.monotonic() - self.started_monotonic_s, image)
            self.given += 1
            due_s += 1 / self._scene.fps
        if self._breaks:
            raise VideoReadError("scene: the camera is gone")

    def close(self) -> None:
        self.closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class PatientScene(LiveScene):
    """A scene on a clock of its own: the next frame comes when the last one was analysed, however long that takes.

    Args:
        scene: what is shown, once.
        detector: tells when a frame was analysed.
    """

    def __init__(self, scene: SyntheticScene, detector: TellingDetector) -> None:
        super().__init__(scene, frames=scene.frame_count)
        self._analysed = detector.analysed

    def __iter__(self) -> Iterator[Frame]:
        self.status = StreamStatus("live")
        self.started_monotonic_s = time.monotonic() - self._scene.frame_count / self._scene.fps  # all of it is past
        for index in range(self._scene.frame_count):
            self.given = index
            yield Frame(index, self._scene.time_s(index), self._scene.image(index))
            while not self._analysed.acquire(timeout=0.05):
                if self.closed.is_set():
                    return


class TellingDetector(FakeDetector):
    """Tells of every image that it has seen."""

    def __init__(self, scene: SyntheticScene) -> None:
        super().__init__(scene)
        self.analysed = threading.Semaphore(0)

    def detect(self, images: list[Image]) -> list[Detections]:  # type: ignore[override]
        found = super().detect(images)
        self.analysed.release(len(images))
        return found


class SlowDetector(FakeDetector):
    """Takes its time, and keeps no lock meanwhile, as a network does."""

    def __init__(self, scene: SyntheticScene, seconds: float) -> None:
        super().__init__(scene)
        self._seconds = seconds

    def detect(self, images: list[Image]) -> list[Detections]:  # type: ignore[override]
        time.sleep(self._seconds * len(images))
        return super().detect(images)


def live_pipeline(
    scene: SyntheticScene = PAIR,
    *,
    look_s: float = 0.0,
    settings: Settings = SETTINGS,
    detector: FakeDetector | None = None,
) -> Pipeline:
    detector = detector or (SlowDetector(scene, look_s) if look_s else FakeDetector(scene))
    return Pipeline(
        FaceAnalyzer(detector, FakeClassifier()),
        Calibrator(
            CalibrationConfig(thresholds={}, fallback_threshold=0.3), ClassifierCalibration.uncalibrated("test")
        ),
        tracking=settings.tracking,
        live=True,
    )
