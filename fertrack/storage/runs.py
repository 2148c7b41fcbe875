"""Facts stored about runs: the list of runs, and one run's record."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from fertrack.expression.calibration import CalibrationRecord
from fertrack.sinks.config import VideoOutputConfig
from fertrack.storage.engine import Database
from fertrack.storage.facts import run_status
from fertrack.storage.models import Run, Source
from fertrack.storage.queries.column_docs import note_columns
from fertrack.storage.recordings import STATED, Recording, runs_stated, stated_of

__all__ = [
    "RunRecord",
    "add_notes",
    "fail_run_of",
    "runs",
    "runs_by_source",
    "runs_of_same_video",
]


def runs_by_source(connection: sa.Connection) -> dict[Path, int]:
    """The first run that was made from each file, links followed."""
    found: dict[Path, int] = {}
    statement = sa.select(Run.id, Source.path).join(Source).where(Source.path != "").order_by(Run.id)
    for row in connection.execute(statement):
        found.setdefault(Path(row.path).resolve(), row.id)
    return found


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


def fail_run_of(db: Database, pid: int, error: str) -> int:
    """End the run that a process of this machine was writing when it ended by itself: as failed, with the reason.

    Returns:
        The number of the run; 0 if it was writing none.

    Raises:
        StorageError: it could not be written.
    """
    theirs = sa.and_(Run.pid == pid, Run.host == socket.gethostname(), Run.status == "running")
    with db.writing() as connection:
        run = connection.scalar(sa.select(sa.func.max(Run.id)).where(theirs))
        if run is not None:
            values = {"status": "failed", "error": error, "ended_at": dt.datetime.now(dt.UTC)}
            connection.execute(sa.update(Run).where(Run.id == run).values(**values))
    return int(run or 0)


_RUN_UNITS = {"started_at": "UTC", "ended_at": "UTC", "video_s": "s", "elapsed_s": "s"}


def runs(db: Database, stated: str = "") -> pd.DataFrame:
    """All runs, oldest first.

    Args:
        db: the open database.
        stated: only the runs of which this was stated, see ``recordings.runs_stated``; empty: all.

    Returns:
        Columns run, source, path, status, started_at, ended_at (UTC), frames, faces, track_count, dropped,
        decode_failures, video_s, elapsed_s, detector, classifier, config_digest, fertrack_version, error, notes
        (joined by "; "), participant, session, condition (as stated; empty where nothing was). A run whose process is
        gone without having ended it has status "crashed".
    """
    statement = sa.select(Run.__table__, Source.name.label("source"), Source.path).join(Source).order_by(Run.id)
    with db.reading() as connection:
        rows = connection.execute(statement).mappings().all()
        recordings = stated_of(connection)
        wanted = set(runs_stated(connection, db.name, stated)) if stated else {row["id"] for row in rows}
    rows = [row for row in rows if row["id"] in wanted]
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
            **{name: np.array([row[name] for row in rows], np.int64) for name in ("frames", "faces")},
            "track_count": np.array([row["tracks"] for row in rows], np.int64),
            **{name: np.array([row[name] for row in rows], np.int64) for name in ("dropped", "decode_failures")},
            **{name: np.array([row[name] for row in rows], np.float64) for name in ("video_s", "elapsed_s")},
            **{
                name: pd.Series([row[name] for row in rows], dtype="str")
                for name in ("detector", "classifier", "config_digest", "fertrack_version", "error")
            },
            "notes": pd.Series(["; ".join(row["notes"]) for row in rows], dtype="str"),
            **{
                name: pd.Series([getattr(recordings.get(row["id"], Recording()), name) for row in rows], dtype="str")
                for name in STATED
            },
        }
    )
    table.attrs["units"] = dict(_RUN_UNITS)
    return note_columns(table)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """With what a run is made: everything needed to explain its numbers later.

    Attributes:
        config_toml: the whole configuration as TOML; passwords in URLs are masked when it is stored.
        config_digest: its SHA-256.
        detector: fingerprint of the detector.
        classifier: fingerprint of the classifier.
        calibration: the calibration in force; None: not known.
        fertrack_version: version of the program.
        purpose: what the analysis is for; empty if not stated.
        consent: on what consent; empty if not stated.
        privacy_override: "medical" or "safety" where a prohibition was lifted for that reason, else empty.
        retention_days: days after its end when the run may be deleted; None: kept.
        recording: what is stated about the recording, and what it holds.
        video: the annotated video that is written meanwhile, known from the start whatever happens; None: none.
        video_config: with what it is drawn.
    """

    config_toml: str
    config_digest: str
    detector: str
    classifier: str
    calibration: CalibrationRecord | None = None
    fertrack_version: str = ""
    purpose: str = ""
    consent: str = ""
    privacy_override: str = ""
    retention_days: int | None = None
    recording: Recording = field(default_factory=Recording)
    video: Path | None = None
    video_config: VideoOutputConfig = field(default_factory=VideoOutputConfig)
