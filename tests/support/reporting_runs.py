"""Small real databases for the reporting tests: scripted persons, stored through ``DatabaseSink``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import sqlalchemy as sa

from fertrack.expression.calibration import CalibrationRecord, Calibrator, ClassifierCalibration
from fertrack.expression.config import CalibrationConfig
from fertrack.sinks.database import DatabaseSink, RunRecord
from fertrack.storage.engine import Database
from fertrack.storage.models import Person, TrackRow
from fertrack.types import EXPRESSIONS, Detections, Faces, FrameResult, RunSummary, StageStats, VideoInfo

CALIBRATED = ClassifierCalibration(
    classifier="test-classifier",
    calibrated=True,
    training_prior=(0.1438, 0.0634, 0.0334, 0.2194, 0.1571, 0.1151, 0.2678),
    prior_strength=0.7,
    temperature=0.566,
)


@dataclass(frozen=True)
class ScriptedPerson:
    """Who is seen in [from, to) stretches, showing (from_s, expression or "uncertain") in turn."""

    seen_s: Sequence[tuple[float, float]]
    script: Sequence[tuple[float, str]] = ((0.0, "neutral"),)
    name: str = ""
    confirmed: bool = True

    def is_seen(self, time_s: float) -> bool:
        return any(start <= time_s < end for start, end in self.seen_s)

    def shows(self, time_s: float) -> str:
        return [name for start_s, name in self.script if start_s <= time_s][-1]


@dataclass(frozen=True)
class ScriptedRun:
    """Everything about a run that the report shows."""

    persons: Sequence[ScriptedPerson] = ()
    frames: int = 50
    cuts: tuple[int, ...] = ()
    fps: float = 25.0
    first_s: float = 0.0
    source_name: str = "clip.mp4"
    status: str = "complete"
    error: str = ""
    dropped: int = 0
    decode_failures: int = 0
    notes: tuple[str, ...] = ()
    calibration: CalibrationRecord | None = field(
        default_factory=lambda: Calibrator(CalibrationConfig(), CALIBRATED).record
    )
    config_toml: str = '[input]\nfrom_s = 0.0\n\n[detection]\nname = "centerface"\n'


def store_run(db: Database, run: ScriptedRun) -> int:
    """Store a scripted run and give its number."""
    info = VideoInfo(run.source_name, 640, 360, run.fps, run.frames, path=f"/videos/{run.source_name}")
    record = RunRecord(
        config_toml=run.config_toml,
        config_digest="c0ffee" * 10,
        detector="centerface sha256:09189dea",
        classifier="test-classifier sha256:01da7798",
        calibration=run.calibration,
        fertrack_version="0.1.0",
    )
    faces = 0
    with DatabaseSink(db, info, record) as sink:
        for index in range(run.frames):
            result = _result(run, index)
            faces += len(result.faces)
            sink.write(result)
        sink.finish(_summary(run, faces, sum(person.confirmed for person in run.persons)))
        number = sink.run_id
    _name_persons(db, number, {i + 1: p.name for i, p in enumerate(run.persons) if p.name and p.confirmed})
    return number


def _result(run: ScriptedRun, index: int) -> FrameResult:
    time_s = run.first_s + index / run.fps
    seen = [(i + 1, person) for i, person in enumerate(run.persons) if person.is_seen(time_s)]
    n = len(seen)
    xyxy = np.array([(50 * i, 40, 50 * i + 44.25, 100) for i, _ in seen], np.float32).reshape(n, 4)
    landmarks = np.tile(np.float32(60), (n, 5, 2))
    detections = Detections(xyxy, np.full(n, 0.98765, np.float32), landmarks)
    probabilities = np.full((n, len(EXPRESSIONS)), 0.05, np.float32)
    labels = np.full(n, -1, np.int64)
    for row, (_, person) in enumerate(seen):
        shown = person.shows(time_s)
        if shown == "uncertain":
            probabilities[row] = 1 / len(EXPRESSIONS)
        else:
            probabilities[row, EXPRESSIONS.index(shown)] = 0.7
            labels[row] = EXPRESSIONS.index(shown) if person.confirmed else -1
    return FrameResult(
        frame_index=index,
        timestamp_s=time_s,
        faces=Faces(detections, np.log(probabilities)),
        track_ids=np.array([i if person.confirmed else -1 for i, person in seen], np.int64),
        track_xyxy=xyxy,
        probabilities=probabilities,
        smoothed=probabilities.copy(),
        labels=labels,
        is_cut=index in run.cuts,
    )


def _summary(run: ScriptedRun, faces: int, tracks: int) -> RunSummary:
    video_s = run.frames / run.fps
    stages = tuple(
        StageStats(stage, run.frames, run.frames * ms / 1000, ms, 0.9 * ms, 1.5 * ms, 4 * ms)
        for stage, ms in (("read", 4.0), ("detect", 30.0), ("classify", 2.0), ("store", 0.5))
    )
    return RunSummary(
        run.status,
        run.frames,
        faces,
        tracks,
        run.dropped,
        run.decode_failures,
        video_s / 2,
        video_s,
        stages,
        run.notes,
        run.error,
    )


def _name_persons(db: Database, run: int, names: Mapping[int, str]) -> None:
    with db.session() as session, session.begin():
        for track, name in names.items():
            person = Person(display_name=name, created_at=sa.func.now(), number=track)
            session.add(person)
            session.flush()
            session.execute(
                sa.update(TrackRow).where(TrackRow.run_id == run, TrackRow.number == track).values(person_id=person.id)
            )
