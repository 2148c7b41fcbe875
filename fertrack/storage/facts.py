"""Facts about one run: its number, settings, end, and time per stage."""

from __future__ import annotations

import datetime as dt
import difflib
import os
import socket
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError, StorageError
from fertrack.expression.calibration import CalibrationRecord, ClassifierCalibration
from fertrack.storage.models import FrameRow, Rescore, Run, Source, StageTiming
from fertrack.storage.recordings import Recording, stated_of
from fertrack.types import RunSummary, StageStats, VideoInfo

__all__ = ["CRASHED", "RunFacts", "find_run", "load_facts", "load_stages", "process_exists", "run_status"]

CRASHED = "crashed"
"""Status shown for a run that is stored as "running" but whose process is gone."""

_SILENCE = dt.timedelta(minutes=5)
_FRAME_STAGES = ("read", "detect", "align", "classify", "track")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Facts about one run: source, networks, end and summary.

    Attributes:
        id: number of the run.
        source_name: short name of the source.
        source_path: absolute path or masked URL; empty if it has neither.
        status: "complete", "interrupted", "failed", "running", or "crashed" (its process is gone).
        started_at: aware, UTC.
        config_toml: the configuration in force, as TOML; after rescoring, the one it was rescored with.
        config_digest: its SHA-256.
        detector: fingerprint.
        classifier: fingerprint.
        calibration: the calibration in force; None where the run does not say how it was calibrated.
        summary: counts, times, notes and error; of a run that has not ended, as of its last batch.
        info: width, height, rotation and so on, as the source gave them.
        fertrack_version: the program that made the run.
        ended_at: aware, UTC; None if it has not ended.
        rescored_at: when its labels were last recomputed; None if never.
        purpose: what the analysis is for; empty if not stated.
        consent: on what consent; empty if not stated.
        privacy_override: "medical" or "safety" where a prohibition was lifted for that reason, else empty.
        retention_days: days after its end when `fertrack privacy purge` deletes the run; None: never.
        recording: what was stated about the recording.
    """

    id: int
    source_name: str
    source_path: str
    status: str
    started_at: dt.datetime
    config_toml: str
    config_digest: str
    detector: str
    classifier: str
    calibration: CalibrationRecord | None
    summary: RunSummary
    info: VideoInfo
    fertrack_version: str
    ended_at: dt.datetime | None = None
    rescored_at: dt.datetime | None = None
    purpose: str = ""
    consent: str = ""
    privacy_override: str = ""
    retention_days: int | None = None
    recording: Recording = field(default_factory=Recording)

    @property
    def own_calibration(self) -> ClassifierCalibration:
        """Calibration that the run's classifier brought along.

        Raises:
            StorageError: the run does not say how it was calibrated.
        """
        if self.calibration is None:
            raise StorageError(f"run {self.id} does not say how it was calibrated: process the video again")
        return self.calibration.classifier


_LARGEST_KEY = 2**31
"""Runs are numbered from 1; a larger number is nobody's, and may be too large for the database's integers."""


def find_run(connection: sa.Connection, database: str, run: int | str) -> int:
    """The number of a stored run.

    Args:
        connection: an open connection.
        database: the database's name, for messages.
        run: a number, as int or text, or "last" for the newest run.

    Raises:
        RunNotFoundError: no such run is stored.
    """
    text = str(run).strip()
    if text == "last":
        newest = connection.scalar(sa.select(sa.func.max(Run.id)))
        if newest is None:
            raise RunNotFoundError(f"there are no runs in {database} yet: `fertrack process` makes one")
        return int(newest)
    if (
        text.isdecimal()
        and int(text) < _LARGEST_KEY
        and connection.scalar(sa.select(Run.id).where(Run.id == int(text))) is not None
    ):
        return int(text)
    stored = connection.execute(sa.select(sa.func.count(), sa.func.min(Run.id), sa.func.max(Run.id))).one()
    if not stored[0]:
        raise RunNotFoundError(f"there are no runs in {database} yet: `fertrack process` makes one")
    if difflib.get_close_matches(text.lower(), ["last"], cutoff=0.6):
        raise RunNotFoundError(f"no run {text!r}: did you mean 'last'?")
    known = f"run {stored[1]} is" if stored[0] == 1 else f"{stored[0]} runs, {stored[1]} to {stored[2]}, are"
    raise RunNotFoundError(f"no run {text} in {database}: {known} stored there (`fertrack runs` lists them)")


def load_facts(connection: sa.Connection, run: int) -> RunFacts:
    """Everything known about a stored run, given by its number."""
    statement = sa.select(Run.__table__, Source.name.label("source"), Source.path).join(Source).where(Run.id == run)
    row = connection.execute(statement).mappings().one()
    rescored_at = connection.scalar(sa.select(sa.func.max(Rescore.rescored_at)).where(Rescore.run_id == run))
    status = run_status(row, dt.datetime.now(dt.UTC))
    return RunFacts(
        id=run,
        source_name=row["source"],
        source_path=row["path"],
        status=status,
        summary=_summary(row, status, load_stages(connection, run)),
        info=_info(row),
        rescored_at=rescored_at,
        recording=stated_of(connection, [run]).get(run, Recording()),
        calibration=_calibration(row),
        **{
            name: row[name]
            for name in (
                "started_at",
                "ended_at",
                "config_toml",
                "config_digest",
                "detector",
                "classifier",
                "fertrack_version",
                "purpose",
                "consent",
                "privacy_override",
                "retention_days",
            )
        },
    )


def _calibration(row: sa.RowMapping) -> CalibrationRecord | None:
    try:
        return CalibrationRecord.from_json(row["calibration"])
    except ValueError:
        return None


def load_stages(connection: sa.Connection, run: int) -> tuple[StageStats, ...]:
    """Time per stage; of a run that was not finished, what its stored frames say."""
    return _stored_timings(connection, run) or _measured_timings(connection, run)


def run_status(row: sa.RowMapping, now: dt.datetime) -> str:
    """The stored status; "crashed" where a run says it is running but its process is gone."""
    if row["status"] != "running":
        return str(row["status"])
    gone = row["host"] == socket.gethostname() and not process_exists(row["pid"])
    return CRASHED if gone or now - row["heartbeat_at"] > _SILENCE else "running"


def process_exists(pid: int) -> bool:
    """Whether a process of this number runs on this machine; True where that cannot be told."""
    if os.name != "posix":  # there, signal 0 would be a real signal
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists, and is another user's
        return True
    return True


def _summary(row: sa.RowMapping, status: str, stages: tuple[StageStats, ...]) -> RunSummary:
    names = ("frames", "faces", "tracks", "dropped", "decode_failures", "elapsed_s", "video_s", "error")
    return RunSummary(status=status, stages=stages, notes=tuple(row["notes"]), **{name: row[name] for name in names})


def _info(row: sa.RowMapping) -> VideoInfo:
    names = ("width", "height", "fps", "frame_count", "rotation", "path", "duration_s", "has_audio", "codec")
    return VideoInfo(name=row["source"], time_base=Fraction(row["time_base"]), **{name: row[name] for name in names})


def _stored_timings(connection: sa.Connection, run: int) -> tuple[StageStats, ...]:
    names = ("stage", "frames", "total_s", "mean_ms", "p50_ms", "p95_ms", "max_ms", "p99_ms")
    statement = (
        sa.select(*(getattr(StageTiming, name) for name in names))
        .where(StageTiming.run_id == run)
        .order_by(StageTiming.position)
    )
    return tuple(StageStats(*row) for row in connection.execute(statement))


def _measured_timings(connection: sa.Connection, run: int) -> tuple[StageStats, ...]:
    columns = [getattr(FrameRow, f"{stage}_us") for stage in _FRAME_STAGES]
    rows = connection.execute(sa.select(*columns).where(FrameRow.run_id == run)).all()
    if not rows:
        return ()
    ms = np.array(rows, np.float64) / 1e3
    p50, p95, p99 = np.percentile(ms, [50, 95, 99], axis=0)
    return tuple(
        StageStats(
            stage,
            len(ms),
            float(ms[:, i].sum() / 1e3),
            float(ms[:, i].mean()),
            float(p50[i]),
            float(p95[i]),
            float(ms[:, i].max()),
            float(p99[i]),
        )
        for i, stage in enumerate(_FRAME_STAGES)
    )
