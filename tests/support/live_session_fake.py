"""A live session without camera or network: pictures that move, two people, and what it was asked written down."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fertrack.errors import OutputExistsError
from fertrack.live.state import (
    BudgetState,
    LivePerson,
    LiveState,
    LiveSummary,
    LiveView,
    Percentiles,
)
from fertrack.sources.stream.status import StreamStatus
from fertrack.storage.people.persons import check_name
from fertrack.types import EXPRESSIONS

SUMMARY = LiveSummary(
    status="complete",
    run=7,
    database="/tmp/study/fertrack.db",
    frames=300,
    analysed=120,
    displayed=290,
    dropped=180,
    decode_failures=0,
    reconnects=1,
    faces=200,
    tracks=2,
    persons=2,
    duration_s=72.4,
    display_fps=29.0,
    results_hz=12.0,
    latency_ms=Percentiles(80, 120, 150),
    age_ms=Percentiles(60, 110, 140),
    recordings=("/tmp/study/live <1>.mp4",),
)


def probabilities(label: str, share: float) -> dict[str, float]:
    rest = (1 - share) / (len(EXPRESSIONS) - 1)
    return {name: share if name == label else rest for name in EXPRESSIONS}


@dataclass
class FakeSession:
    """As ``fertrack.live.LiveSession``; time goes by itself from the moment it is made."""

    fps: float = 25.0
    shape: tuple[int, int] = (180, 320)
    run_s: float = math.inf
    closing_s: float = 0.0
    summary_at_end: LiveSummary = SUMMARY
    picture: Callable[[int], np.ndarray] | None = None
    connection: StreamStatus = field(default_factory=lambda: StreamStatus("live"))
    names: dict[int, str] = field(default_factory=lambda: {1: "P1", 2: "P2"})
    labels: Mapping[int, str] = field(default_factory=lambda: {1: "happiness", 2: "uncertain"})
    recording: str | None = None
    notice: str = ""
    refuse_recording: bool = False
    answer_s: float = 0.0
    views: int = 0
    waiting: int = 0
    stops: int = 0

    def __post_init__(self) -> None:
        self.began_s = time.monotonic()
        self._stop = threading.Event()
        self._stopped_s = math.inf
        self._lock = threading.Lock()

    @property
    def now_s(self) -> float:
        return time.monotonic() - self.began_s

    @property
    def summary(self) -> LiveSummary | None:
        return self.summary_at_end if self.wait(0) else None

    @property
    def error(self) -> None:
        return None

    def wait(self, timeout_s: float | None = None) -> bool:
        until_s = self.now_s + (math.inf if timeout_s is None else timeout_s)
        while not (over := self.now_s >= min(self.run_s, self._stopped_s + self.closing_s)) and self.now_s < until_s:
            time.sleep(0.005)
        return over

    def stop(self) -> None:
        with self._lock:
            self.stops += 1
            self._stopped_s = min(self._stopped_s, self.now_s)
        self._stop.set()

    def view(self, after: int = -1, timeout_s: float = 1.0) -> LiveView | None:
        until_s = self.now_s + timeout_s
        self.waiting += 1
        while (number := int(self.now_s * self.fps)) <= after:
            if self.now_s >= until_s:
                return None
            self._stop.wait(0.005)
        with self._lock:
            self.views += 1
        return LiveView(number, self._image(number), number, number - 2, 60.0, number / self.fps)

    def _image(self, number: int) -> np.ndarray:
        if self.picture is not None:
            return self.picture(number)
        height, width = self.shape
        image = np.full((height, width, 3), 40, np.uint8)
        left = (4 * number) % (width - 40)
        image[height // 3 : height // 3 + 40, left : left + 40] = (200, 180, 90)
        return image

    def state(self) -> LiveState:
        now_s = self.now_s
        return LiveState(
            source="camera 0",
            status=self.connection,
            running=not self._stop.is_set(),
            error="",
            recording=self.recording,
            time_s=now_s,
            display_fps=25 + math.sin(3 * now_s),
            results_hz=11 + math.sin(now_s),
            latency_ms=Percentiles(80 + 5 * math.sin(4 * now_s), 120, 150),
            age_ms=Percentiles(60 + 9 * math.sin(5 * now_s), 110, 140),
            frames=int(30 * now_s),
            dropped=int(18 * now_s),
            displayed=int(25 * now_s),
            reconnects=self.connection.reconnects,
            budget=BudgetState(detect_every=3, long_side=640, classify_hz=10.0),
            persons=tuple(self._persons(now_s)),
            notice=self.notice,
        )

    def _persons(self, now_s: float) -> Iterator[LivePerson]:
        for person, label in self.labels.items():
            share = 0.7 + 0.2 * math.sin(now_s + person)
            certain = label != "uncertain"
            shown = probabilities(label if certain else "sadness", share if certain else 0.31)
            yield LivePerson(
                track=10 + person,
                person=person,
                name=self.names[person],
                label=label,
                certain=certain,
                probability=max(shown.values()),
                probabilities=shown,
                visible=True,
                last_seen_s=now_s,
                strip=((0.0, label, share),),
            )

    def start_recording(self, path: Path | None = None) -> Path:
        if self.refuse_recording:
            raise OutputExistsError("live.mp4 exists: move it away first")
        self.recording = str(path or "/tmp/study/live <1>.mp4")
        self._stop.wait(self.answer_s)
        return Path(self.recording)

    def stop_recording(self) -> None:
        self.recording = None

    def rename(self, person: int, name: str) -> None:
        check_name(name)
        if person not in self.names:
            raise ValueError(f"nobody is person {person}")
        self.names[person] = name

    def connect(self, state: str, **changes: object) -> None:
        """Change how the connection is."""
        self.connection = replace(self.connection, state=state, **changes)
