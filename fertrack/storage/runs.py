"""What is stored about each run: the list of runs, one run's facts, and its times per stage."""

from __future__ import annotations

import datetime as dt
import difflib
import os
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.errors import RunNotFoundError
from fertrack.storage.engine import Database
from fertrack.storage.models import FrameRow, Rescore, Run, Source, StageTiming
from fertrack.storage.queries.column_docs import note_columns
from fertrack.types import RunSummary, StageStats, VideoInfo

__all__ = [
    "CRASHED",
    "RunFacts",
    "RunRecord",
    "add_notes",
    "find_run",
    "resolve_run",
    "run_facts",
    "run_of_source",
    "run_status",
    "runs",
    "runs_of_same_video",
    "stage_timings",
]


def run_of_source(connection: sa.Connection, path: Path) -> int | None:
    """A run that was made from this file, links followed; None if none was."""
    wanted = os.path.realpath(path)
    statement = sa.select(Run.id, Source.path).join(Source).where(Source.path != "").order_by(Run.id)
    for row in connection.execute(statement):
        if os.path.realpath(row.path) == wanted:
            return int(row.id)
    return None


def runs_of_same_video(connection: sa.Connection, run: int, without: Collection[int]) -> list[int]:
    """Other runs with tracks whose source is the same file, or one of the same name, size and length.

    Cameras and streams, whose path is their name, show something else each time.

    Args:
        connection: an open connection.
        run: number of the run.
        without: numbers of runs to be passed over, the run itself among them.
    """
    columns = (Source.name, Source.path, Run.width, Run.height, Run.frame_count)
    statement = sa.select(Run.id, *columns, Run.tracks).join(Source).order_by(Run.id)
    rows = connection.execute(statement).all()
    own = next(row for row in rows if row.id == run)
    if own.path == own.name:
        return []

    def is_same(row: Any) -> bool:
        sizes = [(each.name, each.width, each.height, each.frame_count) for each in (own, row)]
        return bool(own.path and row.path == own.path) or (own.frame_count > 0 and sizes[0] == sizes[1])

    return [row.id for row in rows if row.id not in without and row.tracks and is_same(row)]


def add_notes(db: Database, run: int, notes: Sequence[str]) -> None:
    """Add to a run's notes those of ``notes`` that are not among them.

    Args:
        db: the open database.
        run: its number.
        notes: sentences, in order.

    Raises:
        StorageError: they could not be written.
    """
    with db.writing() as connection:
        stored = list(connection.execute(sa.select(Run.notes).where(Run.id == run)).scalar_one())
        stored += [note for note in dict.fromkeys(notes) if note not in stored]
        connection.execute(sa.update(Run).where(Run.id == run).values(notes=stored))


CRASHED = "crashed"
"""Status shown for a run that is stored as "running" but whose process is gone."""

_SILENCE = dt.timedelta(minutes=5)
_FRAME_STAGES = ("read", "detect", "align", "classify", "track")
_RUN_UNITS = {"started_at": "UTC", "ended_at": "UTC", "video_s": "s", "elapsed_s": "s"}
_TIMING_UNITS = {"total_s": "s", "mean_ms": "ms", "p50_ms": "ms", "p95_ms": "ms", "p99_ms": "ms", "max_ms": "ms"}


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run: what was read, with what, how it ended and what it came to.

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
        calibration: what ``Calibrator.describe`` said of the calibration in force.
        summary: counts, times, notes and error; of a run that has not ended, as of its last batch.
        info: width, height, rotation and so on, as the source gave them.
        fertrack_version: the program that made the run.
        ended_at: aware, UTC; None if it has not ended.
        rescored_at: when its labels were last recomputed; None if never.
        purpose: what the analysis is for; empty if not stated.
        consent: on what consent; empty if not stated.
        privacy_override: "medical" or "safety" where a prohibition was lifted for that reason, else empty.
        retention_days: days after its end when `fertrack privacy purge` deletes the run; None: never.
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
    calibration: dict[str, Any]
    summary: RunSummary
    info: VideoInfo
    fertrack_version: str
    ended_at: dt.datetime | None = None
    rescored_at: dt.datetime | None = None
    purpose: str = ""
    consent: str = ""
    privacy_override: str = ""
    retention_days: int | None = None


def resolve_run(db: Database, run: int | str) -> int:
    """The number of a stored run.

    Args:
        db: the open database.
        run: a number, as int or text, or "last" for the newest run.

    Raises:
        RunNotFoundError: no such run is stored.
    """
    with db.reading() as connection:
        return find_run(connection, db.name, run)


def runs(db: Database) -> pd.DataFrame:
    """All runs, oldest first.

    Returns:
        Columns run, source, path, status, started_at, ended_at (UTC), frames, faces, tracks, dropped,
        decode_failures, video_s, elapsed_s, detector, classifier, config_digest, fertrack_version, error, notes
        (joined by "; "). A run whose process is gone without having ended it has status "crashed".
    """
    statement = sa.select(Run.__table__, Source.name.label("source"), Source.path).join(Source).order_by(Run.id)
    with db.reading() as connection:
        rows = connection.execute(statement).mappings().all()
    now = dt.datetime.now(dt.UTC)
    table = pd.DataFrame(
        {
            "run": np.array([row["id"] for row in rows], np.int64),
            **{name: pd.Series([row[name] for row in rows], dtype="str") for name in ("source", "path")},
            "status": pd.Series([run_status(row, now) for row in rows], dtype="str"),
            **{
                name: pd.Series(pd.to_datetime([row[name] for row in rows], utc=True)).dt.as_unit("us")
                for name in ("started_at", "ended_at")
            },
            **{
                name: np.array([row[name] for row in rows], np.int64)
                for name in ("frames", "faces", "tracks", "dropped", "decode_failures")
            },
            **{name: np.array([row[name] for row in rows], np.float64) for name in ("video_s", "elapsed_s")},
            **{
                name: pd.Series([row[name] for row in rows], dtype="str")
                for name in ("detector", "classifier", "config_digest", "fertrack_version", "error")
            },
            "notes": pd.Series(["; ".join(row["notes"]) for row in rows], dtype="str"),
        }
    )
    table.attrs["units"] = dict(_RUN_UNITS)
    return note_columns(table)


def run_facts(db: Database, run: int | str) -> RunFacts:
    """Everything known about one run.

    Raises:
        RunNotFoundError: no such run is stored.
    """
    with db.reading() as connection:
        number = find_run(connection, db.name, run)
        row = (
            connection.execute(
                sa.select(Run.__table__, Source.name.label("source"), Source.path).join(Source).where(Run.id == number)
            )
            .mappings()
            .one()
        )
        stages = _stored_timings(connection, number) or _measured_timings(connection, number)
        rescored_at = connection.scalar(sa.select(sa.func.max(Rescore.rescored_at)).where(Rescore.run_id == number))
    status = run_status(row, dt.datetime.now(dt.UTC))
    return RunFacts(
        id=number,
        source_name=row["source"],
        source_path=row["path"],
        status=status,
        summary=_summary(row, status, stages),
        info=_info(row),
        rescored_at=rescored_at,
        **{
            name: row[name]
            for name in (
                "started_at",
                "ended_at",
                "config_toml",
                "config_digest",
                "detector",
                "classifier",
                "calibration",
                "fertrack_version",
                "purpose",
                "consent",
                "privacy_override",
                "retention_days",
            )
        },
    )


def stage_timings(db: Database, run: int | str) -> pd.DataFrame:
    """Time per stage of one run.

    Returns:
        Columns stage, frames, total_s, mean_ms, p50_ms, p95_ms, p99_ms (NaN in older runs), max_ms. Of a run that was
        not finished, what its stored frames say: without the stages that write. Of a live run, "latency" and "age" are
        no work but waiting: see ``StageTiming``.

    Raises:
        RunNotFoundError: no such run is stored.
    """
    with db.reading() as connection:
        number = find_run(connection, db.name, run)
        stages = _stored_timings(connection, number) or _measured_timings(connection, number)
    table = pd.DataFrame(
        {
            "stage": pd.Series([stage.stage for stage in stages], dtype="str"),
            "frames": np.array([stage.frames for stage in stages], np.int64),
            **{name: np.array([getattr(stage, name) for stage in stages], np.float64) for name in _TIMING_UNITS},
        }
    )
    table.attrs.update(run=number, units=dict(_TIMING_UNITS))
    return note_columns(table)


_LARGEST_KEY = 2**31
"""Runs are numbered from 1; a larger number is nobody's, and may be too large for the database's integers."""


def find_run(connection: sa.Connection, database: str, run: int | str) -> int:
    """As ``resolve_run``, on a connection that is already open."""
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


def run_status(row: sa.RowMapping, now: dt.datetime) -> str:
    """The stored status; "crashed" where a run says it is running but its process is gone."""
    if row["status"] != "running":
        return str(row["status"])
    gone = row["host"] == socket.gethostname() and not _process_exists(row["pid"])
    return CRASHED if gone or now - row["heartbeat_at"] > _SILENCE else "running"


def _process_exists(pid: int) -> bool:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """With what a run is made: everything needed to explain its numbers later.

    Attributes:
        config_toml: the whole configuration as TOML; passwords in URLs are masked when it is stored.
        config_digest: its SHA-256.
        detector: fingerprint of the detector.
        classifier: fingerprint of the classifier.
        calibration: what ``Calibrator.describe`` says.
        fertrack_version: version of the program.
        purpose: what the analysis is for; empty if not stated.
        consent: on what consent; empty if not stated.
        privacy_override: "medical" or "safety" where a prohibition was lifted for that reason, else empty.
        retention_days: days after its end when the run may be deleted; None: kept.
        video: path of the annotated video that is written meanwhile, known from the start whatever happens; or empty.
        video_options: with what it is drawn, as ``storage.outputs`` keeps it.
    """

    config_toml: str
    config_digest: str
    detector: str
    classifier: str
    calibration: dict[str, Any] = field(default_factory=dict)
    fertrack_version: str = ""
    purpose: str = ""
    consent: str = ""
    privacy_override: str = ""
    retention_days: int | None = None
    video: str = ""
    video_options: dict[str, Any] = field(default_factory=dict)
