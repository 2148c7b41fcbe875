"""Writes one run, batch by batch. Each batch is one transaction: whatever ends the process, what it holds is kept."""

from __future__ import annotations

import datetime as dt
import logging
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from fertrack.errors import StorageError
from fertrack.storage.connection import mask_passwords
from fertrack.storage.engine import Database
from fertrack.storage.models import CUT, AnalysisRow, EventRow, Face, FrameRow, Run, Source, StageTiming, TrackRow
from fertrack.storage.packing import pack_rows
from fertrack.storage.queries.episode_store import store_episodes
from fertrack.storage.readable import box_columns, probability_columns, quality_column
from fertrack.storage.recordings import RecordingRow
from fertrack.storage.runs import RunRecord
from fertrack.storage.unfinished import clear_rows, store_analysed
from fertrack.storage.written_files import DrawnVideo, store_output
from fertrack.types import UNCONFIRMED, FloatArray, FrameFaces, FrameResult, IntArray, RunSummary, VideoInfo

__all__ = ["RunWriter", "label_probability"]

logger = logging.getLogger(__name__)


class _TrackSpan(NamedTuple):
    first_frame: int
    last_frame: int
    first_s: float
    last_s: float
    faces: int


class RunWriter:
    """Adds a run and then its frames, in batches. The only writer of its run.

    Args:
        db: the open database.
        info: the source.
        record: with what the run is made.
        resume: number of a run that was cut off and is written anew, see ``storage.unfinished``; 0: a new run.

    Attributes:
        run_id: number of the run.

    Raises:
        StorageError: the run cannot be written.
    """

    def __init__(self, db: Database, info: VideoInfo, record: RunRecord, *, resume: int = 0) -> None:
        self._db = db
        self._started = time.perf_counter()
        self._frames = self._faces = 0
        self._first_s = self._last_s = 0.0
        self._tracks: dict[int, _TrackSpan] = {}
        now = dt.datetime.now(dt.UTC)
        values: dict[str, Any] = {
            "status": "running",
            "error": "",
            "notes": [],
            "heartbeat_at": now,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "fertrack_version": record.fertrack_version,
            "config_toml": mask_passwords(record.config_toml),
            "config_digest": record.config_digest,
            "detector": record.detector,
            "classifier": record.classifier,
            "calibration": record.calibration.to_json() if record.calibration else {},
            "purpose": record.purpose,
            "consent": record.consent,
            "privacy_override": record.privacy_override,
            "retention_days": record.retention_days,
            "width": info.width,
            "height": info.height,
            "fps": info.fps,
            "frame_count": info.frame_count,
            "duration_s": info.duration_s,
            "time_base": str(info.time_base),
            "rotation": info.rotation,
            "has_audio": info.has_audio,
            "codec": info.codec,
            "frames": 0,
            "faces": 0,
            "tracks": 0,
            "dropped": 0,
            "decode_failures": 0,
            "video_s": 0.0,
            "elapsed_s": 0.0,
        }
        with db.writing() as connection:
            if resume:
                self.run_id = resume
                clear_rows(connection, resume)
                connection.execute(sa.update(Run).where(Run.id == resume).values(**values, ended_at=None))
            else:
                values |= {"source_id": _source_id(connection, info), "started_at": now}
                self.run_id = _inserted_id(connection, sa.insert(Run).values(**values))
                stated = {"run_id": self.run_id, **asdict(record.recording)}
                connection.execute(sa.insert(RecordingRow).values(stated))
            if record.video is not None:
                store_output(connection, self.run_id, record.video, DrawnVideo(record.video_config), digest="")

    def write(self, results: Sequence[FrameResult], analysed: Sequence[FrameFaces] = (), position: int = 0) -> None:
        """Store frames with their faces and tracks, in one transaction.

        Args:
            results: the frames.
            analysed: what the networks saw of frames up to these or later ones, by which the run can be resumed.
            position: number of frames of the run before ``analysed``.

        Raises:
            StorageError: nothing of this batch was written; everything before it was.
        """
        if analysed and not results:
            with self._db.writing() as connection:
                store_analysed(connection, self.run_id, position, analysed)
        if not results:
            return
        touched = self._touched_tracks(results)
        first_s, last_s = self._first_s if self._frames else results[0].timestamp_s, results[-1].timestamp_s
        frames, faces = self._frames + len(results), self._faces + sum(len(result.faces) for result in results)
        progress = {
            "heartbeat_at": dt.datetime.now(dt.UTC),
            "frames": frames,
            "faces": faces,
            "tracks": len(self._tracks.keys() | touched.keys()),
            "video_s": last_s - first_s,
            "elapsed_s": time.perf_counter() - self._started,
        }
        with self._db.writing() as connection:
            connection.execute(sa.insert(FrameRow), [_frame_row(self.run_id, result) for result in results])
            self._write_tracks(connection, touched)
            face_rows = _face_rows(self.run_id, results)
            if face_rows:
                connection.execute(sa.insert(Face), face_rows)
            event_rows = _event_rows(self.run_id, results)
            if event_rows:
                connection.execute(sa.insert(EventRow), event_rows)
            analysis_rows = _analysis_rows(self.run_id, results)
            if analysis_rows:
                connection.execute(sa.insert(AnalysisRow), analysis_rows)
            if analysed:
                store_analysed(connection, self.run_id, position, analysed)
            connection.execute(sa.update(Run).where(Run.id == self.run_id).values(**progress))
        self._frames, self._faces, self._first_s, self._last_s = frames, faces, first_s, last_s
        self._tracks.update(touched)

    def finish(self, summary: RunSummary) -> None:
        """Store the end of the run, its summary, its time per stage, and its episodes.

        Raises:
            StorageError: this was not written; the rows before it were.
        """
        now = dt.datetime.now(dt.UTC)
        names = ("status", "frames", "faces", "tracks", "dropped", "decode_failures", "video_s", "elapsed_s", "error")
        ending = {name: getattr(summary, name) for name in names}
        timings = [
            {
                "run_id": self.run_id,
                "position": position,
                **{name: getattr(stage, name) for name in _TIMINGS},
            }
            for position, stage in enumerate(summary.stages)
        ]
        with self._db.writing() as connection:
            connection.execute(
                sa.update(Run)
                .where(Run.id == self.run_id)
                .values(**ending, notes=list(summary.notes), ended_at=now, heartbeat_at=now)
            )
            if timings:
                connection.execute(sa.insert(StageTiming), timings)
        try:  # apart: that the run has ended must be stored even where there is no room for more
            with self._db.writing() as connection:
                store_episodes(connection, self.run_id)
        except StorageError as error:
            logger.warning("run %d: its episodes are computed whenever they are asked for: %s", self.run_id, error)

    def so_far(self, status: str, error: str = "") -> RunSummary:
        """Summary of the rows written, for a run whose own is missing or claims more than was stored."""
        return RunSummary(
            status=status,
            frames=self._frames,
            faces=self._faces,
            tracks=len(self._tracks),
            dropped=0,
            decode_failures=0,
            elapsed_s=time.perf_counter() - self._started,
            video_s=self._last_s - self._first_s,
            error=error,
        )

    def _touched_tracks(self, results: Sequence[FrameResult]) -> dict[int, _TrackSpan]:
        touched: dict[int, _TrackSpan] = {}
        for result in results:
            frame, time_s = result.frame_index, result.timestamp_s
            for number in result.track_ids.tolist():
                if number == UNCONFIRMED:
                    continue
                span = touched.get(number) or self._tracks.get(number)
                touched[number] = (
                    _TrackSpan(span.first_frame, frame, span.first_s, time_s, span.faces + 1)
                    if span
                    else _TrackSpan(frame, frame, time_s, time_s, 1)
                )
        return touched

    def _write_tracks(self, connection: sa.Connection, touched: dict[int, _TrackSpan]) -> None:
        new = [
            {"run_id": self.run_id, "number": number, **span._asdict()}
            for number, span in touched.items()
            if number not in self._tracks
        ]
        longer = [
            {"key": number, **{f"new_{name}": value for name, value in span._asdict().items()}}
            for number, span in touched.items()
            if number in self._tracks
        ]
        if new:
            connection.execute(sa.insert(TrackRow), new)
        if longer:
            connection.execute(
                sa.update(TrackRow)
                .where(TrackRow.run_id == self.run_id, TrackRow.number == sa.bindparam("key"))
                .values({name: sa.bindparam(f"new_{name}") for name in _TrackSpan._fields}),
                longer,
            )


def label_probability(smoothed: FloatArray, labels: IntArray) -> FloatArray:
    """Smoothed probability of each face's label; of its most likely expression where the label is below 0.

    Hysteresis can hold a label that is not the most likely expression by a hair, so this is not always the maximum.

    Args:
        smoothed: float32 (N, 7).
        labels: int64 (N,), index into ``EXPRESSIONS``, -1 or -2.
    """
    if not len(labels):
        return np.empty(0, np.float32)
    column = np.where(labels < 0, smoothed.argmax(axis=1), labels)
    return np.take_along_axis(smoothed, column[:, None], axis=1)[:, 0]


_TIMINGS = ("stage", "frames", "total_s", "mean_ms", "p50_ms", "p95_ms", "max_ms", "p99_ms")


def _source_id(connection: sa.Connection, info: VideoInfo) -> int:
    path = mask_passwords(info.path)
    known = connection.scalar(sa.select(Source.id).where(Source.path == path, Source.name == info.name))
    if known is not None:
        return known
    return _inserted_id(connection, sa.insert(Source).values(name=info.name, path=path))


def _inserted_id(connection: sa.Connection, statement: sa.Insert) -> int:
    key = connection.execute(statement).inserted_primary_key
    return int(key[0]) if key is not None else 0


def _frame_row(run_id: int, result: FrameResult) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "frame_index": result.frame_index,
        "time_s": result.timestamp_s,
        "read_us": round(result.ms.read * 1e3),
        "detect_us": round(result.ms.detect * 1e3),
        "align_us": round(result.ms.align * 1e3),
        "classify_us": round(result.ms.classify * 1e3),
        "track_us": round(result.track_ms * 1e3),
        "queue_depth": None if result.ms.waiting < 0 else result.ms.waiting,
    }


def _analysis_rows(run_id: int, results: Sequence[FrameResult]) -> list[dict[str, Any]]:
    return [
        {
            "run_id": run_id,
            "frame_index": result.frame_index,
            "classified": result.request.classify,
            "detect_every": result.request.detect_every,
            "long_side": result.request.long_side,
            "classify_hz": result.request.classify_hz,
        }
        for result in results
        if result.request.detect_every
    ]


def _event_rows(run_id: int, results: Sequence[FrameResult]) -> list[dict[str, Any]]:
    return [
        {
            "run_id": run_id,
            "frame_index": result.frame_index,
            "kind": CUT,
            "time_s": result.timestamp_s,
            "details": {},
        }
        for result in results
        if result.is_cut
    ]


def _face_rows(run_id: int, results: Sequence[FrameResult]) -> list[dict[str, Any]]:
    results = [result for result in results if len(result.faces)]
    if not results:
        return []
    counts = [len(result.faces) for result in results]
    labels = np.concatenate([result.labels for result in results])
    smoothed = np.concatenate([result.smoothed for result in results])
    probabilities = np.concatenate([result.probabilities for result in results])
    score = np.concatenate([result.faces.detections.score for result in results])
    xyxy = np.concatenate([result.faces.detections.xyxy for result in results])
    columns = {
        "frame_index": np.repeat([result.frame_index for result in results], counts).tolist(),
        "face_index": [row for count in counts for row in range(count)],
        "track": [
            None if number == UNCONFIRMED else number for result in results for number in result.track_ids.tolist()
        ],
        "label": labels.tolist(),
        # SQLite takes NaN for NULL, which these columns refuse; the vectors keep it
        "probability": np.nan_to_num(label_probability(smoothed, labels), nan=0.0).tolist(),
        "score": np.nan_to_num(score, nan=0.0).tolist(),
        "xyxy": pack_rows(xyxy),
        "landmarks": pack_rows(np.concatenate([result.faces.detections.landmarks for result in results])),
        "logits": pack_rows(np.concatenate([result.faces.logits for result in results])),
        "probabilities": pack_rows(probabilities),
        "smoothed": pack_rows(smoothed),
        **box_columns(xyxy),
        **probability_columns(smoothed, probabilities),
        **quality_column(np.concatenate([result.faces.quality for result in results])),
    }
    names = tuple(columns)
    return [{"run_id": run_id, **dict(zip(names, row, strict=True))} for row in zip(*columns.values(), strict=True)]
